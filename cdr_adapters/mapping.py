"""What one source of call records is: the [[sources]] table of an agent's configuration, checked.

Configuration, not code, says which column is what, in which zone, with which clock offset and which number format.
`column_specs` says what may be said of each column. Refused here, before any file is opened: unknown keys, zones
and own addresses that are none. What a mapping leaves out, its format may bring (`registry.completed`).
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from cdr_adapters.column_specs import CalledFormat, Columns
from cdr_adapters.durations import Duration, PositiveDuration


class MappingError(ValueError):
    """A mapping file is wrong; the message names the file and the key."""


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: write an IANA name such as 'America/New_York' or 'UTC'") from None
    return name


Zone = Annotated[str, AfterValidator(_check_zone)]


def _check_network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}: write an address or a network, such as 198.51.100.10 or 2001:db8::/64") from None
    return text


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceMapping(_Model):
    """One [[sources]] table. `path` is a file or glob, relative to the configuration file's directory.

    `max_setup` is the longest time from seizure to answer, `max_call` from seizure to release: how far before the
    answer, or before the end of a call that may have been answered, the seizure may lie where nothing else tells it.
    `own_addresses` are our own gateways: as the address that a call came from they tell nothing.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    path: Annotated[str, Field(min_length=1)]
    format: Annotated[str, Field(min_length=1)]
    options: dict[str, Any] = Field(default_factory=dict)
    where: dict[str, str | list[str]] = Field(default_factory=dict)
    zone: Zone | None = None
    clock_offset: Duration = timedelta(0)
    max_setup: PositiveDuration = timedelta(seconds=180)
    max_call: PositiveDuration = timedelta(hours=24)
    own_addresses: tuple[Annotated[str, AfterValidator(_check_network)], ...] = ()
    columns: Columns | None = None


@dataclass(frozen=True, slots=True)
class TrunkFormats:
    """How called numbers are written on each trunk: trunk group name, address or network -> called format."""

    ingress: Mapping[str, str] = field(default_factory=dict)
    egress: Mapping[str, str] = field(default_factory=dict)


def describe(error: ValidationError) -> str:
    """pydantic's findings as one line a finding: which key, what is wrong."""
    findings = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        findings.append(f"{key}: {message}" if key else message)
    return "; ".join(findings)


class _TrunkFormatTables(_Model):
    ingress: dict[str, CalledFormat] = Field(default_factory=dict)
    egress: dict[str, CalledFormat] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping on its own, for work with single files: the source, and the formats of its trunks."""

    source: SourceMapping
    formats: TrunkFormats


def load_mapping(path: Path) -> MappingFile:
    """Read a TOML file with the keys of one [[sources]] table at top level; `name` and `path` may be left out.

    [trunk_formats.ingress] and [trunk_formats.egress] may give the called format of each trunk.

    Raises:
        MappingError: the file can't be read, is no TOML, or breaks a rule.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MappingError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path} is no TOML: {error}") from None
    trunk_formats = table.pop("trunk_formats", {})
    table.setdefault("name", re.sub(r"[^A-Za-z0-9._-]", "_", path.stem).lstrip("._-")[:64] or "source")
    table.setdefault("path", "*")
    try:
        tables = _TrunkFormatTables.model_validate(trunk_formats)
        source = SourceMapping.model_validate(table)
    except ValidationError as error:
        raise MappingError(f"{path}: {describe(error)}") from None
    return MappingFile(source, TrunkFormats(tables.ingress, tables.egress))
