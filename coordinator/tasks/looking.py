"""Tasks as they can be looked at: one, many, and what chains have not taken yet. Nothing is changed in here.

What a provider may see is decided in the query: a task of another provider is not found. SQLite and PostgreSQL alike.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, and_, not_, or_, select

from coordinator.store.models import TracebackRow
from coordinator.store.pages import Place, newer
from coordinator.store.task_models import task_attestations, task_history, tasks
from coordinator.tasks.ports import PersonsResult
from coordinator.tasks.rows import result_at, task_at
from coordinator.tasks.task import HEARS, Kind, State, Task
from protos.e164 import E164
from protos.identity import ProviderId, parse_provider_id
from protos.types import Outcome

_UNATTESTED = and_(
    tasks.c.state == State.ANSWERED.value,
    tasks.c.kind != Kind.REVIEW.value,
    tasks.c.outcome == Outcome.UPSTREAM.name,
    TracebackRow.order_sha256.is_not(None),
    task_attestations.c.task_id.is_(None),
)
_TO_ATTEST = and_(
    _UNATTESTED,
    tasks.c.taken_at.is_(None),
    TracebackRow.status.in_([status.value for status in HEARS]),
    TracebackRow.hop_count == tasks.c.position + 1,
)
_STANDING = (
    select(tasks, _TO_ATTEST.label("to_attest"))
    .outerjoin(TracebackRow, TracebackRow.id == tasks.c.traceback_id)
    .outerjoin(task_attestations, task_attestations.c.task_id == tasks.c.id)
)


class TaskError(Exception):
    """What was asked for can't be done; the message says why, and holds no number of a subscriber."""


class NoSuchTaskError(TaskError):
    """There is no such task, or not for this provider."""


class NotOpenError(TaskError):
    """The task takes no answer any more, or not that one."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Something that happened to a task."""

    at: datetime
    what: str
    by: str
    detail: str


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task with what was answered and what happened; `answer` is None before, `result` where it can't be used yet."""

    task: Task
    outcome: Outcome | None
    upstream: ProviderId | None
    ask_called: E164 | None
    note: str
    matched_by: str | None
    history: tuple[HistoryEntry, ...]


class Tasks:
    """The tasks of one coordinator, to be looked at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def results(self, limit: int = 100) -> Sequence[PersonsResult]:
        """What was not taken yet, oldest first; what must be attested before it is of use comes when it is."""
        with self._engine.connect() as connection:
            return [result_at(row) for row in connection.execute(untaken_results(limit)).mappings()]

    def never_attested(self, now: datetime, limit: int = 500) -> list[Task]:
        """Whose chains still wait for an approver to attest the answer, though their orders have ended."""
        query = _STANDING.where(_TO_ATTEST, TracebackRow.expires <= now).order_by(tasks.c.result_at).limit(limit)
        with self._engine.connect() as connection:
            return [task_at(row) for row in connection.execute(query).mappings()]

    def answer_of(self, task_id: uuid.UUID) -> PersonsResult:
        """What was answered, whether or not it was taken.

        Raises:
            NoSuchTaskError, NotOpenError: there is no answer that could be used.
        """
        query = (
            select(tasks, task_attestations.c.kept.label("attestation"))
            .outerjoin(task_attestations, task_attestations.c.task_id == tasks.c.id)
            .where(tasks.c.id == task_id)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NoSuchTaskError("there is no such task")
        if row["state"] != State.ANSWERED.value:
            raise NotOpenError(f"the task is {row['state']}: there is no answer to attest")
        return result_at(row)

    def find(self, prefix: str, limit: int = 5) -> list[uuid.UUID]:
        """Ids of tasks that begin with `prefix`, hexadecimal digits and hyphens."""
        digits = "".join(character for character in prefix.lower() if character in "0123456789abcdef")[:32]
        if not digits or len(digits) != len(prefix.replace("-", "")):
            return []
        low, high = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
        with self._engine.connect() as connection:
            query = select(tasks.c.id).where(tasks.c.id.between(low, high)).order_by(tasks.c.id).limit(limit)
            return list(connection.execute(query).scalars())

    def view(self, task_id: uuid.UUID, provider: ProviderId | None = None) -> TaskView:
        """One task with its history; of `provider` alone where one is given.

        Raises:
            NoSuchTaskError: there is none.
        """
        query = select(task_history).where(task_history.c.task_id == task_id).order_by(task_history.c.number)
        with self._engine.connect() as connection:
            row = _found(connection, _STANDING.where(tasks.c.id == task_id), provider)
            past = tuple(
                HistoryEntry(entry["at"], entry["what"], entry["by"], entry["detail"])
                for entry in connection.execute(query).mappings()
            )
        return TaskView(
            task=task_at(row),
            outcome=Outcome[row["outcome"]] if row["outcome"] else None,
            upstream=parse_provider_id(row["upstream"]) if row["upstream"] else None,
            ask_called=E164(row["ask_called"]) if row["ask_called"] else None,
            note=row["note"],
            matched_by=row["matched_by"],
            history=past,
        )

    def list(
        self,
        *,
        provider: ProviderId | None = None,
        traceback_id: uuid.UUID | None = None,
        states: Iterable[State] = (),
        to_attest: bool = False,
        limit: int = 100,
        after: Place | None = None,
    ) -> list[Task]:
        """Tasks by when they are due, of one provider or traceback or of all, in these states or in any.

        With `after` from the one that comes after this place on.
        `to_attest` adds to these states the answers that an approver is to attest.
        """
        query = _STANDING.order_by(tasks.c.due, tasks.c.id).limit(limit)
        if after is not None:
            query = query.where(newer(tasks.c.due, tasks.c.id, after))
        if provider is not None:
            query = query.where(tasks.c.provider == provider)
        if traceback_id is not None:
            query = query.where(tasks.c.traceback_id == traceback_id)
        wanted = [state.value for state in states]
        if wanted:
            stands = tasks.c.state.in_(wanted)
            query = query.where(or_(stands, _TO_ATTEST) if to_attest else stands)
        with self._engine.connect() as connection:
            return [task_at(row) for row in connection.execute(query).mappings()]


@cache
def untaken_results(limit: int) -> Select[Any]:
    """What no chain has taken yet, oldest first, but for what is still to be attested."""
    return (
        select(tasks, task_attestations.c.kept.label("attestation"))
        .outerjoin(TracebackRow, TracebackRow.id == tasks.c.traceback_id)
        .outerjoin(task_attestations, task_attestations.c.task_id == tasks.c.id)
        .where(tasks.c.result_at.is_not(None), tasks.c.taken_at.is_(None), not_(_UNATTESTED))
        .order_by(tasks.c.result_at, tasks.c.id)
        .limit(limit)
    )


def task_row(
    connection: Connection, task_id: uuid.UUID, provider: ProviderId | None = None, *, lock: bool = False
) -> RowMapping:
    """The row of a task, of `provider` alone where one is given; with `lock` nobody else changes it meanwhile.

    Raises:
        NoSuchTaskError: there is none.
    """
    query = select(tasks).where(tasks.c.id == task_id)
    return _found(connection, query.with_for_update() if lock else query, provider)


def _found(connection: Connection, query: Select[Any], provider: ProviderId | None) -> RowMapping:
    if provider is not None:
        query = query.where(tasks.c.provider == provider)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NoSuchTaskError("there is no such task")
    return row
