"""Taking the Robocall Mitigation Database's listing into the registry.

A filing belongs to the provider that holds its number or its FRN. A filing of nobody's makes a provider of its own,
without an agent, whose id is its number in small letters, unless that is not wanted. Names are added as aliases, and
a business name that is another one now makes a former name of the old one; nothing is taken away but by its end: a
filing that an import misses is marked as gone, its number stays the provider's. A number or FRN that two providers
would hold is left where it is, and the filing is told as a conflict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from coordinator.registry.aliases import Alias, AliasKind
from coordinator.registry.changing import put_alias, put_details
from coordinator.registry.rmd import RmdReading, RmdRow
from coordinator.store.models import ProviderRow
from coordinator.store.registry_models import provider_aliases, rmd_filings
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
    """What the registry holds, in memory for the length of an import."""

    def __init__(self, connection: Connection) -> None:
        self.names = {row.id: row.name for row in connection.execute(select(_providers.c.id, _providers.c.name))}
        self.holders: dict[tuple[str, str], str] = {}
        self.aliases: set[tuple[str, str, str]] = set()
        query = select(provider_aliases.c.provider, provider_aliases.c.kind, provider_aliases.c.value)
        for provider, kind, value in connection.execute(query.where(provider_aliases.c.valid_to.is_(None))):
            self.aliases.add((provider, kind, value))
            if AliasKind(kind).is_number:
                self.holders[kind, value] = provider
        self.filings: dict[str, RowMapping] = {
            row["key"]: row for row in connection.execute(select(rmd_filings)).mappings()
        }


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
        provider = _create(connection, book, row, now, report)
    if provider is None and len(holders) < 2:
        report.unknown += 1
    if provider is not None:
        _name(connection, book, provider, row, by, now, report)
    _keep(connection, book, row, provider, now, report)


def _create(connection: Connection, book: _Book, row: RmdRow, now: datetime, report: ImportReport) -> ProviderId | None:
    wanted = row.key.lower()
    if wanted in book.names:
        report.conflicts.append((row.line, f"the id {wanted} is a provider's whose number it is not"))
        return None
    provider = parse_provider_id(wanted)
    connection.execute(insert(_providers), {"id": provider, "name": row.business_name, "added_at": now})
    put_details(connection, provider, roles=" ".join(row.roles), reach="person")
    book.names[provider] = row.business_name
    report.providers_added += 1
    return provider


def _name(
    connection: Connection, book: _Book, provider: ProviderId, row: RmdRow, by: str, now: datetime, report: ImportReport
) -> None:
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
        put_alias(connection, Alias(provider, kind, value, None, None, SOURCE), by, now)
        book.aliases.add((provider, kind.value, value))
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
        connection.execute(insert(rmd_filings), {"key": row.key, **values, "first_seen": now, "last_seen": now})
        report.added += 1
        return
    same = old["gone_at"] is None and all(old[name] == value for name, value in values.items())
    connection.execute(
        update(rmd_filings).where(rmd_filings.c.key == row.key).values(**values, last_seen=now, gone_at=None)
    )
    report.unchanged += same
    report.changed += not same
