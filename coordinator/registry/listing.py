"""Taking the Robocall Mitigation Database's listing into the registry.

A filing belongs to the provider that holds its number or its FRN. A filing of nobody's makes a provider of its own,
without an agent, whose id is its number in small letters, unless that is not wanted. Names are added as aliases, and
a business name that is another one now makes a former name of the old one; nothing is taken away but by its end: a
filing that an import misses is marked as gone, its number stays the provider's. A number or FRN that two providers
would hold is left where it is, and the filing is told as a conflict.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Table, insert, select, update

from coordinator.registry.aliases import AliasKind
from coordinator.registry.rmd import RmdReading, RmdRow
from coordinator.store.models import ProviderRow
from coordinator.store.registry_models import provider_aliases, provider_details, rmd_filings
from coordinator.store.writing import writing
from protos.identity import ProviderId, parse_provider_id

SOURCE = "RMD listing"
_providers: Any = ProviderRow.__table__


@dataclass(slots=True)
class ImportReport:
    """What an import did, in filings; `conflicts` are lines with what speaks against them."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    unknown: int = 0
    gone: int = 0
    providers_added: int = 0
    conflicts: list[tuple[int, str]] = field(default_factory=list)


class _Book:
    """What the registry holds, in memory for the length of an import, and what is to be added to it in one go."""

    def __init__(self, connection: Connection) -> None:
        self.names = {row.id: row.name for row in connection.execute(select(_providers.c.id, _providers.c.name))}
        self.holders: dict[tuple[str, str], str] = {}
        self.aliases: set[tuple[str, str, str]] = set()
        self.periods: Counter[tuple[str, str, str]] = Counter()
        columns = provider_aliases.c
        query = select(columns.provider, columns.kind, columns.value, columns.valid_to)
        for provider, kind, value, valid_to in connection.execute(query):
            self.periods[provider, kind, value] += 1
            if valid_to is None:
                self.aliases.add((provider, kind, value))
                if AliasKind(kind).is_number:
                    self.holders[kind, value] = provider
        self.filings: dict[str, RowMapping] = {
            row["key"]: row for row in connection.execute(select(rmd_filings)).mappings()
        }
        self._added: dict[Table, list[dict[str, Any]]] = {}

    def add(self, table: Table, row: dict[str, Any]) -> None:
        """Have a row added."""
        self._added.setdefault(table, []).append(row)

    def write(self, connection: Connection) -> None:
        """Add all rows, providers first."""
        for table in (_providers, provider_details, provider_aliases, rmd_filings):
            if rows := self._added.pop(table, None):
                connection.execute(insert(table), rows)


def import_listing(engine: Engine, reading: RmdReading, by: str, now: datetime, *, create: bool = True) -> ImportReport:
    """Take a whole listing in, all or nothing.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database failed; nothing was taken.
    """
    report = ImportReport()
    with writing(engine) as connection:
        book = _Book(connection)
        for row in reading.rows:
            _take(connection, book, row, by, now, report, create=create)
        here = {row.key for row in reading.rows}
        for key in sorted(key for key, old in book.filings.items() if key not in here and old["gone_at"] is None):
            connection.execute(update(rmd_filings).where(rmd_filings.c.key == key).values(gone_at=now))
            report.gone += 1
        book.write(connection)
    return report


def _take(
    connection: Connection, book: _Book, row: RmdRow, by: str, now: datetime, report: ImportReport, *, create: bool
) -> None:
    numbers = [(AliasKind.RMD, row.number), (AliasKind.FRN, row.frn)]
    holders = {
        book.holders[kind.value, value] for kind, value in numbers if value and (kind.value, value) in book.holders
    }
    provider: ProviderId | None = None
    if len(holders) > 1:
        report.conflicts.append(
            (row.line, f"its number and its FRN are of two providers: {', '.join(sorted(holders))}")
        )
    elif holders:
        provider = parse_provider_id(holders.pop())
    elif create:
        provider = _create(book, row, now, report)
    if provider is None and len(holders) < 2:
        report.unknown += 1
    if provider is not None:
        _name(book, provider, row, by, now, report)
    _keep(connection, book, row, provider, now, report)


def _create(book: _Book, row: RmdRow, now: datetime, report: ImportReport) -> ProviderId | None:
    wanted = row.key.lower()
    if wanted in book.names:
        report.conflicts.append((row.line, f"the id {wanted} is a provider's whose number it is not"))
        return None
    provider = parse_provider_id(wanted)
    book.add(_providers, {"id": provider, "name": row.business_name, "added_at": now})
    details = {"provider": provider, "roles": " ".join(row.roles), "reach": "person", "deadlines": "{}"}
    book.add(provider_details, details)
    book.names[provider] = row.business_name
    report.providers_added += 1
    return provider


def _name(book: _Book, provider: ProviderId, row: RmdRow, by: str, now: datetime, report: ImportReport) -> None:
    """Add what the filing says the provider is known by, as far as it is new and nobody else's."""
    wanted: list[tuple[AliasKind, str]] = [(AliasKind.NAME, row.business_name)]
    wanted += [(AliasKind.RMD, row.number)] if row.number else []
    wanted += [(AliasKind.FRN, frn) for frn in (row.frn, *row.other_frns) if frn]
    wanted += [(AliasKind.OCN, ocn) for ocn in row.ocns]
    wanted += [(AliasKind.DBA, name) for name in row.dbas]
    wanted += [(AliasKind.FORMER, name) for name in row.former]
    old = book.filings.get(row.key)
    if old is not None and old["business_name"] != row.business_name:
        wanted.append((AliasKind.FORMER, old["business_name"]))
    for kind, value in dict.fromkeys(wanted):
        if (provider, kind.value, value) in book.aliases:
            continue
        holder = book.holders.get((kind.value, value)) if kind.is_number else None
        if holder is not None and holder != provider:
            report.conflicts.append((row.line, f"{kind.value.upper()} {value} is {holder}'s"))
            continue
        place = (provider, kind.value, value)
        book.periods[place] += 1
        alias = {"provider": provider, "kind": kind.value, "value": value, "number": book.periods[place]}
        book.add(provider_aliases, alias | {"source": SOURCE, "added_at": now, "added_by": by})
        book.aliases.add(place)
        if kind.is_number:
            book.holders[kind.value, value] = provider


def _keep(
    connection: Connection,
    book: _Book,
    row: RmdRow,
    provider: ProviderId | None,
    now: datetime,
    report: ImportReport,
) -> None:
    values: dict[str, Any] = {
        "provider": provider,
        "frn": row.frn,
        "business_name": row.business_name,
        "country": row.country,
        "foreign_provider": row.foreign,
        "roles": " ".join(row.roles),
        "implementation": row.implementation,
        "updated": row.updated.isoformat() if row.updated else None,
        "recertified": row.recertified.isoformat() if row.recertified else None,
    }
    old = book.filings.get(row.key)
    if old is None:
        book.add(rmd_filings, {"key": row.key, **values, "first_seen": now, "last_seen": now})
        report.added += 1
        return
    same = old["gone_at"] is None and all(old[name] == value for name, value in values.items())
    connection.execute(
        update(rmd_filings).where(rmd_filings.c.key == row.key).values(**values, last_seen=now, gone_at=None)
    )
    report.unchanged += same
    report.changed += not same
