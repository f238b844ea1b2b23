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

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from coordinator.deadlines.calendar import BusinessCalendar
from coordinator.deadlines.schedule import AnswerRule
from coordinator.deadlines.settings import DeadlinesTable
from coordinator.registry.aliases import Alias, AliasKind
from coordinator.registry.changes import Change, ChangeKind
from coordinator.registry.changing import (
    RegistryError,
    alias_at,
    aliases_of,
    before,
    check,
    first,
    make,
    provider_at,
    provider_of,
    rows_of,
)
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
from coordinator.tracing.ports import Provider
from protos.identity import ProviderId, parse_provider_id

_providers: Any = ProviderRow.__table__


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
    """The registry of one coordinator: `tracing.ports.Registry`, and the `Contacts` and `Deadlines` of tasks.

    `deadlines` are those of a provider that has none of its own.
    """

    def __init__(self, engine: Engine, deadlines: DeadlinesTable | None = None) -> None:
        self._engine = engine
        self._deadlines = deadlines or DeadlinesTable()

    # Reading

    def provider(self, provider: ProviderId) -> Provider | None:
        """The provider and its agent, None when it is not registered."""
        with self._engine.connect() as connection:
            return provider_at(connection, provider)

    def providers(self, *, after: str = "", limit: int = 1000) -> list[Provider]:
        """Who is who by id, from the first id behind `after`."""
        query = select(_providers).where(_providers.c.id > after).order_by(_providers.c.id).limit(limit)
        with self._engine.connect() as connection:
            return [provider_of(row) for row in connection.execute(query).mappings()]

    def entry(self, provider: ProviderId) -> Entry | None:
        """Everything about `provider`, None when it is not registered."""
        with self._engine.connect() as connection:
            entry = provider_at(connection, provider)
            if entry is None:
                return None
            details = first(connection, rows_of(provider_details, provider))
            contacts = connection.execute(rows_of(provider_contacts, provider)).mappings().all()
            certificates = connection.execute(
                rows_of(provider_certificates, provider).where(provider_certificates.c.revoked_at.is_(None))
            ).mappings()
            return Entry(
                provider=entry,
                roles=tuple(details["roles"].split()) if details else tuple((entry.role or "").split()),
                reach=details["reach"] if details else ("agent" if entry.endpoint else "person"),
                deadlines=json.loads(details["deadlines"]) if details else {},
                aliases=tuple(aliases_of(connection, provider)),
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
            held = [alias for alias in map(alias_at, connection.execute(query).mappings()) if alias.holds_at(at)]
        return held[0].provider if held else None

    def aliases(self) -> list[Alias]:
        """All aliases, and every provider's name as one."""
        with self._engine.connect() as connection:
            stored = list(aliases_of(connection, None))
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
            rows = connection.execute(rows_of(provider_contacts, provider)).mappings().all()
        reached = number if kind is NoticeKind.ESCALATION else 0
        return sorted({row["email"] for row in rows if row["level"] <= reached})

    def of(self, provider: ProviderId) -> tuple[BusinessCalendar, AnswerRule]:
        """The provider's business calendar and the rule of answers."""
        with self._engine.connect() as connection:
            details = first(connection, rows_of(provider_details, provider))
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
            replaced = before(connection, change)
            check(connection, change, replaced, now)
            row = {
                "id": identity,
                "provider": change.provider,
                "kind": change.kind.value,
                "value": change.value,
                "before": replaced,
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
            stale = before(connection, found.change) != found.before
            if not stale:
                check(connection, found.change, found.before, now)
                make(connection, found.change, f"{found.proposed_by}, {by}", now)
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
        row = first(connection, query)
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
            check(connection, change, before(connection, change), now)
            make(connection, change, by, now)

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
