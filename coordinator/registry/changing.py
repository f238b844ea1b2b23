"""Rows of the registry: reading them, and making a change within the caller's transaction.

A change is checked against what is there: nobody gets a number that another provider holds, nothing is ended that is
not there, and a certificate that was revoked stays revoked. `before` tells what a change would replace, by which a
proposal is known to be stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Table, delete, func, insert, select, update

from coordinator.registry.aliases import Alias, AliasKind
from coordinator.registry.changes import Change, ChangeKind
from coordinator.store.models import ProviderRow
from coordinator.store.registry_models import (
    provider_aliases,
    provider_certificates,
    provider_contacts,
    provider_details,
)
from coordinator.tasks.outbox import tell_newcomers
from coordinator.tracing.ports import DIAL_OUT, Provider
from protos.identity import ProviderId, parse_provider_id

_providers: Any = ProviderRow.__table__


class RegistryError(Exception):
    """What was asked for can't be done; the message says why."""


def rows_of(table: Table, provider: ProviderId) -> Select[Any]:
    return select(table).where(table.c.provider == provider)


def first(connection: Connection, query: Select[Any]) -> RowMapping | None:
    return connection.execute(query).mappings().first()


def provider_at(connection: Connection, provider: ProviderId) -> Provider | None:
    row = first(connection, select(_providers).where(_providers.c.id == provider))
    return None if row is None else provider_of(row)


def provider_of(row: RowMapping) -> Provider:
    return Provider(parse_provider_id(row["id"]), row["name"], row["endpoint"], row["country"], row["role"])


def alias_at(row: RowMapping) -> Alias:
    return Alias(
        provider=parse_provider_id(row["provider"]),
        kind=AliasKind(row["kind"]),
        value=row["value"],
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        source=row["source"],
    )


def aliases_of(connection: Connection, provider: ProviderId | None) -> Iterable[Alias]:
    query = select(provider_aliases)
    if provider is not None:
        query = query.where(provider_aliases.c.provider == provider)
    columns = provider_aliases.c
    query = query.order_by(columns.provider, columns.kind, columns.value, columns.number)
    return [alias_at(row) for row in connection.execute(query).mappings()]


def before(connection: Connection, change: Change) -> str:
    """What `change` would replace, as text; empty where there is nothing."""
    entry = provider_at(connection, change.provider)
    details = first(connection, rows_of(provider_details, change.provider))
    match change.kind:
        case ChangeKind.ADD | ChangeKind.NAME:
            return entry.name if entry else ""
        case ChangeKind.ENDPOINT:
            return (entry.endpoint if entry else None) or ""
        case ChangeKind.ROLES | ChangeKind.REACH | ChangeKind.DEADLINES:
            return str(details[change.kind.value]) if details else ""
        case ChangeKind.ALIAS | ChangeKind.END_ALIAS:
            kind, value = _alias_of(change)
            held = [a for a in aliases_of(connection, change.provider) if (a.kind, a.value) == (kind, value)]
            return "held" if any(alias.valid_to is None for alias in held) else ""
        case ChangeKind.CONTACT | ChangeKind.END_CONTACT | ChangeKind.ESCALATION | ChangeKind.END_ESCALATION:
            return "there" if first(connection, _contact_query(change)) else ""
        case ChangeKind.CERTIFICATE | ChangeKind.END_CERTIFICATE:
            row = first(
                connection,
                rows_of(provider_certificates, change.provider).where(provider_certificates.c.sha256 == change.value),
            )
            return "" if row is None else "revoked" if row["revoked_at"] else "accepted"


_ENDS = {
    ChangeKind.END_ALIAS: "held",
    ChangeKind.END_CONTACT: "there",
    ChangeKind.END_ESCALATION: "there",
    ChangeKind.END_CERTIFICATE: "accepted",
}


def check(connection: Connection, change: Change, replaced: str, now: datetime) -> None:
    registered = provider_at(connection, change.provider) is not None
    if registered == (change.kind is ChangeKind.ADD):
        raise RegistryError(f"{change.provider} is {'' if registered else 'not '}in the registry")
    if change.kind in _ENDS:
        if replaced != _ENDS[change.kind]:
            raise RegistryError(
                f"{change.provider} has no such {change.kind.value.removeprefix('end-')}: {change.value}"
            )
    elif replaced == "revoked":
        raise RegistryError("a certificate that was revoked is not accepted again: issue a new one")
    elif replaced in (change.value, "held", "there", "accepted"):
        raise RegistryError(f"{change.provider} has that {change.kind.value} already")
    if change.kind is ChangeKind.ALIAS:
        kind, value = _alias_of(change)
        if kind.is_number:
            require_free(connection, Alias(change.provider, kind, value, valid_from=now))


def require_free(connection: Connection, wanted: Alias) -> None:
    """Raise RegistryError where another provider holds that number at a time at which `wanted` would."""
    query = select(provider_aliases).where(
        provider_aliases.c.kind == wanted.kind.value,
        provider_aliases.c.value == wanted.value,
        provider_aliases.c.provider != wanted.provider,
    )
    for row in connection.execute(query).mappings():
        if alias_at(row).overlaps(wanted):
            raise RegistryError(
                f"{wanted.kind.value.upper()} {wanted.value} is {row['provider']}'s: end it there first"
            )


def make(connection: Connection, change: Change, by: str, now: datetime) -> None:
    provider, value = change.provider, change.value
    this = update(_providers).where(_providers.c.id == provider)
    match change.kind:
        case ChangeKind.ADD:
            connection.execute(insert(_providers), {"id": provider, "name": value, "added_at": now})
        case ChangeKind.NAME:
            old = provider_at(connection, provider)
            connection.execute(this.values(name=value))
            if old is not None:
                put_alias(connection, Alias(provider, AliasKind.FORMER, old.name, None, now, "renamed"), by, now)
        case ChangeKind.ENDPOINT:
            connection.execute(this.values(endpoint=value or None))
        case ChangeKind.ROLES | ChangeKind.REACH | ChangeKind.DEADLINES:
            put_details(connection, provider, **{change.kind.value: value})
            if change.kind is ChangeKind.REACH and value == "dial_out":
                connection.execute(this.values(endpoint=DIAL_OUT))
        case ChangeKind.ALIAS:
            kind, text = _alias_of(change)
            put_alias(
                connection, Alias(provider, kind, text, now if kind.is_number else None, None, "by hand"), by, now
            )
        case ChangeKind.END_ALIAS:
            kind, text = _alias_of(change)
            end_alias(connection, provider, kind, text, now)
        case ChangeKind.CONTACT | ChangeKind.ESCALATION:
            level, email = _contact_of(change)
            purpose = "escalation" if level else "traceback"
            row = {
                "provider": provider,
                "email": email,
                "purpose": purpose,
                "level": level,
                "name": "",
                "added_at": now,
            }
            connection.execute(insert(provider_contacts), row)
            tell_newcomers(connection, provider, level)
        case ChangeKind.END_CONTACT | ChangeKind.END_ESCALATION:
            level, email = _contact_of(change)
            columns = provider_contacts.c
            connection.execute(
                delete(provider_contacts).where(
                    columns.provider == provider, columns.email == email, columns.level == level
                )
            )
        case ChangeKind.CERTIFICATE:
            connection.execute(insert(provider_certificates), {"provider": provider, "sha256": value, "added_at": now})
        case ChangeKind.END_CERTIFICATE:
            columns = provider_certificates.c
            one = update(provider_certificates).where(columns.provider == provider, columns.sha256 == value)
            connection.execute(one.values(revoked_at=now))


def put_alias(connection: Connection, alias: Alias, by: str, now: datetime) -> None:
    """Add a period to an alias, within the caller's transaction."""
    columns = provider_aliases.c
    same = (columns.provider == alias.provider, columns.kind == alias.kind.value, columns.value == alias.value)
    last = connection.execute(select(func.max(columns.number)).where(*same)).scalar()
    row = {
        "provider": alias.provider,
        "kind": alias.kind.value,
        "value": alias.value,
        "number": (last or 0) + 1,
        "valid_from": alias.valid_from,
        "valid_to": alias.valid_to,
        "source": alias.source,
        "added_at": now,
        "added_by": by,
    }
    connection.execute(insert(provider_aliases), row)


def end_alias(connection: Connection, provider: ProviderId, kind: AliasKind, value: str, now: datetime) -> None:
    """End an alias at `now`, within the caller's transaction."""
    columns = provider_aliases.c
    still = (
        columns.provider == provider,
        columns.kind == kind.value,
        columns.value == value,
        columns.valid_to.is_(None),
    )
    connection.execute(update(provider_aliases).where(*still).values(valid_to=now))


def put_details(connection: Connection, provider: ProviderId, **values: str) -> None:
    """Set some of a provider's details, within the caller's transaction."""
    if first(connection, rows_of(provider_details, provider)) is None:
        entry = provider_at(connection, provider)
        reach = "agent" if entry and entry.endpoint else "person"
        row = {"provider": provider, "roles": (entry.role if entry else None) or "", "reach": reach, "deadlines": "{}"}
        connection.execute(insert(provider_details), row)
    connection.execute(update(provider_details).where(provider_details.c.provider == provider).values(**values))


def _alias_of(change: Change) -> tuple[AliasKind, str]:
    kind, _, value = change.value.partition(":")
    return AliasKind(kind), value


def _contact_of(change: Change) -> tuple[int, str]:
    if change.kind in (ChangeKind.CONTACT, ChangeKind.END_CONTACT):
        return 0, change.value
    level, _, email = change.value.partition(":")
    return int(level), email


def _contact_query(change: Change) -> Select[Any]:
    level, email = _contact_of(change)
    columns = provider_contacts.c
    return rows_of(provider_contacts, change.provider).where(columns.email == email, columns.level == level)
