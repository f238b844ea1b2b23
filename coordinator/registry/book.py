"""The registry in the database: who is who, beside which agent or whom to ask it is reached.

Reading gives whole entries, the holder of a number at a time, suggestions for a typed name, and what tasks need of a
provider: whom to write to (`coordinator.tasks.ports.Contacts`) and which clock runs (`Deadlines`). Writing goes
through changes: one operator proposes, another confirms, and a change whose ground has moved meanwhile is stale and
not applied.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, Table, delete, func, insert, select, update

from coordinator.deadlines.calendar import BusinessCalendar
from coordinator.deadlines.schedule import AnswerRule
from coordinator.deadlines.settings import DeadlinesTable
from coordinator.ports import Provider
from coordinator.registry.aliases import Alias, AliasKind
from coordinator.registry.changes import Change, ChangeKind
from coordinator.registry.names import fold
from coordinator.registry.suggest import NameIndex, Suggestion
from coordinator.store.models import ProviderRow
from coordinator.store.registry_models import (
    name_matches,
    provider_aliases,
    provider_certificates,
    provider_contacts,
    provider_details,
    registry_changes,
)
from coordinator.store.writing import writing
from coordinator.tasks.task import NoticeKind
from protos.identity import ProviderId, parse_provider_id

_providers: Any = ProviderRow.__table__


class RegistryError(Exception):
    """What was asked for can't be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom a letter goes to. `level` is 0 for invitations and reminders, else the first escalation that is heard of."""

    email: str
    level: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """Everything that the registry knows of one provider."""

    provider: Provider
    roles: tuple[str, ...]
    reach: str
    deadlines: Mapping[str, Any]
    aliases: tuple[Alias, ...]
    contacts: tuple[Contact, ...]
    certificates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change, who wants it and why, and what became of it."""

    id: uuid.UUID
    change: Change
    before: str
    reason: str
    state: str
    proposed_by: str
    proposed_at: datetime
    decided_by: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Match:
    """Which provider a typed name was matched to; `suggested` are ids with scores, best first."""

    typed: str
    provider: ProviderId
    picked_by: str
    picked_at: datetime
    suggested: tuple[tuple[str, float], ...]
    about: str


class RegistryBook:
    """The registry of one coordinator: `coordinator.ports.Registry`, and the `Contacts` and `Deadlines` of tasks.

    `deadlines` are those of a provider that has none of its own.
    """

    def __init__(self, engine: Engine, deadlines: DeadlinesTable | None = None) -> None:
        self._engine = engine
        self._deadlines = deadlines or DeadlinesTable()

    # Reading

    def provider(self, provider: ProviderId) -> Provider | None:
        """The provider and its agent, None when it is not registered."""
        with self._engine.connect() as connection:
            return _provider(connection, provider)

    def entry(self, provider: ProviderId) -> Entry | None:
        """Everything about `provider`, None when it is not registered."""
        with self._engine.connect() as connection:
            entry = _provider(connection, provider)
            if entry is None:
                return None
            details = _first(connection, _of(provider_details, provider))
            contacts = connection.execute(_of(provider_contacts, provider)).mappings().all()
            certificates = connection.execute(
                _of(provider_certificates, provider).where(provider_certificates.c.revoked_at.is_(None))
            ).mappings()
            return Entry(
                provider=entry,
                roles=tuple(details["roles"].split()) if details else tuple((entry.role or "").split()),
                reach=details["reach"] if details else ("agent" if entry.endpoint else "person"),
                deadlines=json.loads(details["deadlines"]) if details else {},
                aliases=tuple(_aliases(connection, provider)),
                contacts=tuple(
                    sorted(
                        (Contact(row["email"], row["level"], row["name"]) for row in contacts),
                        key=lambda one: (one.level, one.email),
                    )
                ),
                certificates=tuple(sorted(row["sha256"] for row in certificates)),
            )

    def holder(self, kind: AliasKind, value: str, at: datetime) -> ProviderId | None:
        """Whose number that was at `at`; None for nobody's."""
        query = select(provider_aliases).where(provider_aliases.c.kind == kind.value, provider_aliases.c.value == value)
        with self._engine.connect() as connection:
            held = [alias for alias in map(_alias, connection.execute(query).mappings()) if alias.holds_at(at)]
        return held[0].provider if held else None

    def aliases(self) -> list[Alias]:
        """All aliases, and every provider's name as one."""
        with self._engine.connect() as connection:
            stored = list(_aliases(connection, None))
            named = connection.execute(select(_providers.c.id, _providers.c.name)).all()
        known = {(alias.provider, alias.value) for alias in stored if not alias.kind.is_number}
        names = (Alias(parse_provider_id(row.id), AliasKind.NAME, row.name) for row in named)
        return stored + [alias for alias in names if (alias.provider, alias.value) not in known]

    def index(self) -> NameIndex:
        """The registry, to be searched by what humans type."""
        with self._engine.connect() as connection:
            ids = [parse_provider_id(text) for text in connection.execute(select(_providers.c.id)).scalars()]
        return NameIndex(self.aliases(), ids)

    def recipients(self, provider: ProviderId, kind: NoticeKind, number: int) -> Sequence[str]:
        """Whom a letter about a task goes to: the traceback contacts, and whom an escalation has reached."""
        with self._engine.connect() as connection:
            rows = connection.execute(_of(provider_contacts, provider)).mappings().all()
        reached = number if kind is NoticeKind.ESCALATION else 0
        return sorted({row["email"] for row in rows if row["level"] <= reached})

    def of(self, provider: ProviderId) -> tuple[BusinessCalendar, AnswerRule]:
        """The provider's business calendar and the rule of answers."""
        with self._engine.connect() as connection:
            details = _first(connection, _of(provider_details, provider))
        own = json.loads(details["deadlines"]) if details else {}
        table = self._deadlines.with_own(own) if own else self._deadlines
        return table.calendar(), table.rule()

    # Changing

    def propose(self, change: Change, by: str, reason: str, now: datetime) -> uuid.UUID:
        """Put a change down for another operator to confirm.

        Raises:
            RegistryError: it would change nothing, or can't be.
        """
        identity = uuid.uuid4()
        with writing(self._engine) as connection:
            before = _before(connection, change)
            _check(connection, change, before, now)
            row = {
                "id": identity,
                "provider": change.provider,
                "kind": change.kind.value,
                "value": change.value,
                "before": before,
                "reason": reason,
                "state": "open",
                "proposed_by": by,
                "proposed_at": now,
            }
            connection.execute(insert(registry_changes), row)
        return identity

    def confirm(self, proposal: uuid.UUID, by: str, now: datetime) -> Proposal:
        """Apply a change that another operator proposed.

        Raises:
            RegistryError: there is none, it is decided, it is one's own, or what it would change has changed.
        """
        stale = False
        with writing(self._engine) as connection:
            found = self._open(connection, proposal)
            if found.proposed_by.casefold() == by.casefold():
                raise RegistryError(f"{by} has proposed this: another operator must confirm it")
            stale = _before(connection, found.change) != found.before
            if not stale:
                _check(connection, found.change, found.before, now)
                _apply(connection, found.change, f"{found.proposed_by}, {by}", now)
            _decide(connection, proposal, "stale" if stale else "confirmed", by, now)
        if stale:
            raise RegistryError("what this would change has changed since it was proposed: propose it anew")
        return found

    def reject(self, proposal: uuid.UUID, by: str, now: datetime) -> None:
        """Drop a proposal; its proposer may do so, too.

        Raises:
            RegistryError: there is none, or it is decided.
        """
        with writing(self._engine) as connection:
            self._open(connection, proposal)
            _decide(connection, proposal, "rejected", by, now)

    def proposals(self, *, only_open: bool = True, limit: int = 200) -> list[Proposal]:
        """Proposals, newest first."""
        query = select(registry_changes).order_by(registry_changes.c.proposed_at.desc(), registry_changes.c.id)
        if only_open:
            query = query.where(registry_changes.c.state == "open")
        with self._engine.connect() as connection:
            return [_proposal(row) for row in connection.execute(query.limit(limit)).mappings()]

    def _open(self, connection: Connection, proposal: uuid.UUID) -> Proposal:
        query = select(registry_changes).where(registry_changes.c.id == proposal).with_for_update()
        row = _first(connection, query)
        if row is None:
            raise RegistryError("there is no such proposal")
        if row["state"] != "open":
            raise RegistryError(f"this proposal is {row['state']} already")
        return _proposal(row)

    def apply(self, change: Change, by: str, now: datetime) -> None:
        """Make a change at once, for the set-up of a registry and where one operator is enough.

        Raises:
            RegistryError: it would change nothing, or can't be.
        """
        with writing(self._engine) as connection:
            _check(connection, change, _before(connection, change), now)
            _apply(connection, change, by, now)

    # Typed names

    def record_match(
        self, typed: str, provider: ProviderId, by: str, now: datetime, suggested: Iterable[Suggestion], about: str
    ) -> None:
        """Keep who matched what, and what had been suggested."""
        shown = json.dumps([[one.provider, one.score] for one in suggested])
        row = {
            "id": uuid.uuid4(),
            "typed": typed,
            "folded": fold(typed).joined,
            "provider": provider,
            "picked_by": by,
            "picked_at": now,
            "suggested": shown,
            "about": about,
        }
        with writing(self._engine) as connection:
            connection.execute(insert(name_matches), row)

    def matches(self, typed: str | None = None, limit: int = 100) -> list[Match]:
        """What was matched before, newest first; of names like `typed` alone where one is given."""
        query = select(name_matches).order_by(name_matches.c.picked_at.desc(), name_matches.c.id).limit(limit)
        if typed is not None:
            query = query.where(name_matches.c.folded == fold(typed).joined)
        with self._engine.connect() as connection:
            return [
                Match(
                    typed=row["typed"],
                    provider=parse_provider_id(row["provider"]),
                    picked_by=row["picked_by"],
                    picked_at=row["picked_at"],
                    suggested=tuple((one, score) for one, score in json.loads(row["suggested"])),
                    about=row["about"],
                )
                for row in connection.execute(query).mappings()
            ]


def _of(table: Table, provider: ProviderId) -> Select[Any]:
    return select(table).where(table.c.provider == provider)


def _first(connection: Connection, query: Select[Any]) -> RowMapping | None:
    return connection.execute(query).mappings().first()


def _provider(connection: Connection, provider: ProviderId) -> Provider | None:
    row = _first(connection, select(_providers).where(_providers.c.id == provider))
    if row is None:
        return None
    return Provider(provider, row["name"], row["endpoint"], row["country"], row["role"])


def _alias(row: RowMapping) -> Alias:
    return Alias(
        provider=parse_provider_id(row["provider"]),
        kind=AliasKind(row["kind"]),
        value=row["value"],
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        source=row["source"],
    )


def _aliases(connection: Connection, provider: ProviderId | None) -> Iterable[Alias]:
    query = select(provider_aliases)
    if provider is not None:
        query = query.where(provider_aliases.c.provider == provider)
    columns = provider_aliases.c
    query = query.order_by(columns.provider, columns.kind, columns.value, columns.number)
    return [_alias(row) for row in connection.execute(query).mappings()]


def _proposal(row: RowMapping) -> Proposal:
    return Proposal(
        id=row["id"],
        change=Change(parse_provider_id(row["provider"]), ChangeKind(row["kind"]), row["value"]),
        before=row["before"],
        reason=row["reason"],
        state=row["state"],
        proposed_by=row["proposed_by"],
        proposed_at=row["proposed_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
    )


def _decide(connection: Connection, proposal: uuid.UUID, state: str, by: str, now: datetime) -> None:
    this = update(registry_changes).where(registry_changes.c.id == proposal)
    connection.execute(this.values(state=state, decided_by=by, decided_at=now))


# What a change replaces, whether it can be, and how it is made


def _before(connection: Connection, change: Change) -> str:
    """What `change` would replace, as text; empty where there is nothing."""
    entry = _provider(connection, change.provider)
    details = _first(connection, _of(provider_details, change.provider))
    match change.kind:
        case ChangeKind.ADD | ChangeKind.NAME:
            return entry.name if entry else ""
        case ChangeKind.ENDPOINT:
            return (entry.endpoint if entry else None) or ""
        case ChangeKind.ROLES | ChangeKind.REACH | ChangeKind.DEADLINES:
            return str(details[change.kind.value]) if details else ""
        case ChangeKind.ALIAS | ChangeKind.END_ALIAS:
            kind, value = _alias_of(change)
            held = [a for a in _aliases(connection, change.provider) if (a.kind, a.value) == (kind, value)]
            return "held" if any(alias.valid_to is None for alias in held) else ""
        case ChangeKind.CONTACT | ChangeKind.END_CONTACT | ChangeKind.ESCALATION | ChangeKind.END_ESCALATION:
            return "there" if _first(connection, _contact_query(change)) else ""
        case ChangeKind.CERTIFICATE | ChangeKind.END_CERTIFICATE:
            row = _first(
                connection,
                _of(provider_certificates, change.provider).where(provider_certificates.c.sha256 == change.value),
            )
            return "" if row is None else "revoked" if row["revoked_at"] else "accepted"


_ENDS = {
    ChangeKind.END_ALIAS: "held",
    ChangeKind.END_CONTACT: "there",
    ChangeKind.END_ESCALATION: "there",
    ChangeKind.END_CERTIFICATE: "accepted",
}


def _check(connection: Connection, change: Change, before: str, now: datetime) -> None:
    registered = _provider(connection, change.provider) is not None
    if registered == (change.kind is ChangeKind.ADD):
        raise RegistryError(f"{change.provider} is {'' if registered else 'not '}in the registry")
    if change.kind in _ENDS:
        if before != _ENDS[change.kind]:
            raise RegistryError(
                f"{change.provider} has no such {change.kind.value.removeprefix('end-')}: {change.value}"
            )
    elif before == "revoked":
        raise RegistryError("a certificate that was revoked is not accepted again: issue a new one")
    elif before in (change.value, "held", "there", "accepted"):
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
        if _alias(row).overlaps(wanted):
            raise RegistryError(
                f"{wanted.kind.value.upper()} {wanted.value} is {row['provider']}'s: end it there first"
            )


def _apply(connection: Connection, change: Change, by: str, now: datetime) -> None:
    provider, value = change.provider, change.value
    this = update(_providers).where(_providers.c.id == provider)
    match change.kind:
        case ChangeKind.ADD:
            connection.execute(insert(_providers), {"id": provider, "name": value, "added_at": now})
        case ChangeKind.NAME:
            old = _provider(connection, provider)
            connection.execute(this.values(name=value))
            if old is not None:
                put_alias(connection, Alias(provider, AliasKind.FORMER, old.name, None, now, "renamed"), by, now)
        case ChangeKind.ENDPOINT:
            connection.execute(this.values(endpoint=value or None))
        case ChangeKind.ROLES | ChangeKind.REACH | ChangeKind.DEADLINES:
            put_details(connection, provider, **{change.kind.value: value})
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
    if _first(connection, _of(provider_details, provider)) is None:
        entry = _provider(connection, provider)
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
    return _of(provider_contacts, change.provider).where(columns.email == email, columns.level == level)
