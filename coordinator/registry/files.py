"""Reading a registry file: which provider has which agent. And a snapshot of the registry, to look providers up.

A registry file is CSV with a header or a JSON array of objects, fields `id`, `name`, `endpoint` (host:port of the
agent, of several over the same records with blanks between; empty where a person must be asked), optional `country`
(ISO 3166-1 alpha-2) and `role`. Every row stands for itself: a bad one is rejected with its line and the reason, the
good ones are taken. Refused: unknown columns (a misspelt "endpoint" would silently make a provider one without agent),
an id twice in a file, and, unless replacing is asked for, an id that is known already.

An entry says where to ask, not who answers: the agent must prove its id by certificate.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coordinator.tracing.ports import DIAL_OUT, Provider
from protos.identity import InvalidIdentityError, ProviderId, parse_provider_id

FIELDS = ("id", "name", "endpoint", "country", "role")
_REQUIRED = ("id", "name")
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_ROLE = re.compile(r"[a-z][a-z_-]{0,31}", re.ASCII)
_HOST = re.compile(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)
_LONGEST_NAME = 200
_MOST_ENDPOINTS = 8


class RegistryFileError(Exception):
    """The file as a whole is no registry file."""


class _RowError(ValueError):
    """One row is no provider."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was not taken: line in the file (CSV) or number of the entry (JSON), from 1, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a registry file holds."""

    providers: tuple[Provider, ...]
    rejected: tuple[RejectedRow, ...]


class RegistrySnapshot:
    """The registry as it was read at the start of a run. Implements `coordinator.tracing.ports.Registry`."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._by_id = {provider.id: provider for provider in providers}

    def provider(self, provider: ProviderId) -> Provider | None:
        """The entry of `provider`, None when there is none."""
        return self._by_id.get(provider)


def read_registry(text: str, *, known: Iterable[ProviderId] = (), replace: bool = False) -> Reading:
    """The providers of a registry file; `known` ids are duplicates unless `replace`.

    Raises:
        RegistryFileError: it is neither a JSON array nor CSV with the columns of a registry.
    """
    rows = _json_rows(text) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text)
    taken = {} if replace else dict.fromkeys(known, "is in the registry already: use --replace to change it")
    providers, rejected = [], []
    for line, row in rows:
        try:
            provider = _provider(row, taken)
        except _RowError as error:
            rejected.append(RejectedRow(line, str(error)))
        else:
            taken[provider.id] = f"stands in line {line} already"
            providers.append(provider)
    return Reading(tuple(providers), tuple(rejected))


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    header = [name.strip().lower() for name in next(reader, [])]
    unknown = [name for name in header if name not in FIELDS]
    missing = [name for name in _REQUIRED if name not in header]
    if unknown or missing or len(set(header)) != len(header):
        what = f"it lacks {', '.join(missing)}" if missing else f"{', '.join(unknown) or 'a column twice'} is not known"
        raise RegistryFileError(f"the first line must name the columns id,name,endpoint[,country][,role]: {what}")
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                yield reader.line_num, {"": f"{len(cells)} fields where the header names {len(header)}"}
            else:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise RegistryFileError(f"line {reader.line_num} is no CSV: {error}") from None


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise RegistryFileError(f"it is no JSON: {error}") from None
    if not isinstance(entries, list):
        raise RegistryFileError("JSON must be an array of objects with the fields id, name, endpoint")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            yield number, {"": "it is no object"}
        else:
            unknown = sorted(set(entry) - set(FIELDS))
            yield number, {"": f"unknown field {unknown[0]!r}"} if unknown else entry


def _provider(row: Mapping[str, Any], taken: Mapping[ProviderId, str]) -> Provider:
    if "" in row:
        raise _RowError(row[""])
    values = {field: _text(field, row.get(field)) for field in FIELDS}
    try:
        provider = parse_provider_id(values["id"])
    except InvalidIdentityError as error:
        raise _RowError(str(error)) from None
    if provider in taken:
        raise _RowError(f"{provider} {taken[provider]}")
    name = values["name"]
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise _RowError(f"name must be 1 to {_LONGEST_NAME} printable characters")
    country, role = values["country"], values["role"]
    if country and not _COUNTRY.fullmatch(country):
        raise _RowError(f"country {country!r} is no two-letter code such as US")
    if role and not _ROLE.fullmatch(role):
        raise _RowError(f"role {role!r} is no word in lower case such as intermediate")
    return Provider(provider, name, _endpoint(values["endpoint"]), country or None, role or None)


def _text(field: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _RowError(f"{field} must be text")
    return value.strip()


def _endpoint(text: str) -> str | None:
    try:
        return parse_endpoints(text)
    except RegistryFileError as error:
        raise _RowError(str(error)) from None


def parse_endpoints(text: str) -> str | None:
    """Endpoints `host:port`, or `dial-out`, with single blanks between; None for no text.

    Raises:
        RegistryFileError: one is none, stands there twice, or they are too many.
    """
    some = text.split()
    if len(some) > _MOST_ENDPOINTS:
        raise RegistryFileError(
            f"{len(some)} endpoints are too many: at most {_MOST_ENDPOINTS}, or a name that stands for all"
        )
    if len(set(some)) < len(some):
        raise RegistryFileError("an endpoint is there twice")
    for one in some:
        if one == DIAL_OUT:
            continue
        host, _, port = one.rpartition(":")
        if not _HOST.fullmatch(host) or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise RegistryFileError(
                f"endpoint {one!r} is no host:port such as agent.example.net:7443 or [2001:db8::7]:7443; "
                f"{DIAL_OUT} stands for an agent that opens no port, several have blanks between them"
            )
    return " ".join(some) or None
