"""Tasks in the database: put, read, answered, matched, given up, withdrawn.

Implements `coordinator.tasks.ports.PersonsDesk`.

Every change names the version that it starts from, within one transaction with its history: of two that come at once,
one is refused and nothing is half done. What a provider may see is decided in the query: a task of another provider
is not found. SQLite and PostgreSQL alike.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, and_, delete, func, insert, not_, or_, select, update
from sqlalchemy.exc import IntegrityError

from coordinator.deadlines.schedule import schedule
from coordinator.ports import Registry
from coordinator.store.models import TracebackRow
from coordinator.store.task_models import task_attestations, task_history, task_links, task_notices, tasks
from coordinator.store.writing import writing
from coordinator.tasks.answers import NAMES_UPSTREAM, PersonsAnswer, read_answer
from coordinator.tasks.ports import Deadlines, PersonsResult
from coordinator.tasks.rows import new_row, notice_row, result_at, task_at
from coordinator.tasks.task import HEARS, Asked, Kind, State, Task, notices
from coordinator.tasks.tokens import new_token, token_digest
from protos.e164 import E164
from protos.identity import ProviderId, parse_provider_id
from protos.types import Outcome

COORDINATOR = "coordinator"
_USED = "this link was used already, or the question was answered or taken back"
DEFAULT_LINK_LIFETIME = timedelta(days=30)

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


class LinkError(TaskError):
    """The link is none, is used, revoked or expired."""


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


class TaskDesk:
    """The tasks of one coordinator. Times are passed in; `random` makes the tokens."""

    def __init__(
        self,
        engine: Engine,
        deadlines: Deadlines,
        registry: Registry,
        *,
        link_lifetime: timedelta = DEFAULT_LINK_LIFETIME,
        make_token: Callable[[], str] = new_token,
    ) -> None:
        self._engine = engine
        self._deadlines = deadlines
        self._registry = registry
        self._lifetime = link_lifetime
        self._make_token = make_token

    # Putting and taking back

    def ask(self, asked: Asked, now: datetime) -> uuid.UUID:
        """Put a question to a person; the same question again is the same task, with its first clock."""
        calendar, rule = self._deadlines.of(asked.provider)
        plan = schedule(now, calendar, rule)
        try:
            with writing(self._engine) as connection:
                if connection.execute(select(tasks.c.id).where(tasks.c.id == asked.task_id)).first() is None:
                    connection.execute(insert(tasks), new_row(asked, plan))
                    connection.execute(insert(task_notices), [notice_row(asked, notice) for notice in notices(plan)])
                    due = f"due {plan.due:%Y-%m-%d %H:%M} UTC"
                    note_history(connection, asked.task_id, now, "asked", COORDINATOR, due)
        except IntegrityError:
            if self.find(str(asked.task_id)) != [asked.task_id]:  # no second one that put it at the same time
                raise
        return asked.task_id

    def withdraw(self, task_id: uuid.UUID, by: str, reason: str, now: datetime) -> bool:
        """Take a question back; False where it was answered or taken back already.

        Raises:
            NoSuchTaskError: there is no such task.
        """
        with writing(self._engine) as connection:
            task = task_at(_row(connection, task_id))
            if task.state not in (State.OPEN, State.GIVEN_UP, State.MATCHING):
                return False
            self._change(connection, task, state=State.WITHDRAWN.value)
            _revoke(connection, task_id, now)
            note_history(connection, task_id, now, "withdrawn", by, reason)
        return True

    def give_up_overdue(self, now: datetime, limit: int = 1000) -> int:
        """Close the open tasks whose time is up, so that their chains hear of it; how many."""
        query = select(tasks).where(tasks.c.state == State.OPEN.value, tasks.c.gives_up < now)
        query = query.order_by(tasks.c.gives_up).limit(limit)
        with self._engine.connect() as connection:
            overdue = [task_at(row) for row in connection.execute(query).mappings()]
        done = 0
        for task in overdue:
            with writing(self._engine) as connection:
                if not self._try_change(connection, task, state=State.GIVEN_UP.value, result_at=now, taken_at=None):
                    continue  # answered meanwhile
                note_history(connection, task.id, now, "given_up", COORDINATOR, "the provider is non-responsive here")
                done += 1
        return done

    # Answering

    def new_link(self, task_id: uuid.UUID, now: datetime) -> str:
        """A token that answers this task once; only its digest is stored.

        Raises:
            NoSuchTaskError, NotOpenError: there is nothing to answer.
        """
        token = self._make_token()
        digest = token_digest(token)
        assert digest is not None  # noqa: S101  it is of our own making
        with writing(self._engine) as connection:
            task = task_at(_row(connection, task_id))
            if not task.state.takes_answer:
                raise NotOpenError(f"the task is {task.state.value}: it takes no answer")
            connection.execute(
                insert(task_links),
                {
                    "token_sha256": digest,
                    "task_id": task_id,
                    "provider": task.asked.provider,
                    "made_at": now,
                    "expires": now + self._lifetime,
                },
            )
        return token

    def open_link(self, token: str, now: datetime) -> Task:
        """The task that a link leads to; looking at it uses nothing up.

        Raises:
            LinkError: the link is none, or of no use any more.
        """
        with self._engine.connect() as connection:
            return _linked(connection, token, now)

    def answer_by_link(self, token: str, fields: Mapping[str, str], by: str, now: datetime) -> State:
        """Record the answer of who holds the link; the link, and every other one to the task, is used up.

        Raises:
            LinkError: the link is none, or of no use any more.
            AnswerError: the fields are no answer; the link is still good.
            NotOpenError: somebody else was quicker.
        """
        with writing(self._engine) as connection:
            task = _linked(connection, token, now, lock=True)
            link = task_links.c.token_sha256 == token_digest(token)
            used = update(task_links).where(link, task_links.c.used_at.is_(None), task_links.c.revoked_at.is_(None))
            if connection.execute(used.values(used_at=now)).rowcount != 1:
                raise LinkError(_USED)
            return self._record(connection, task, fields, f"{by} (by link)", now)

    def answer_signed_in(
        self, provider: ProviderId, task_id: uuid.UUID, fields: Mapping[str, str], by: str, now: datetime
    ) -> State:
        """Record the answer of a person who is signed in for `provider`.

        Raises:
            NoSuchTaskError: there is no such task for this provider.
            AnswerError, NotOpenError: as in `answer_by_link`.
        """
        with writing(self._engine) as connection:
            task = task_at(_row(connection, task_id, provider))
            return self._record(connection, task, fields, by, now)

    def _record(self, connection: Connection, task: Task, fields: Mapping[str, str], by: str, now: datetime) -> State:
        if not task.state.takes_answer:
            raise NotOpenError(f"the task is {task.state.value}: it takes no further answer")
        answer = read_answer(fields, task.asked, self._registry, now)
        state = State.MATCHING if answer.needs_match else State.ANSWERED
        self._change(
            connection,
            task,
            state=state.value,
            answered_at=now,
            answered_by=by,
            outcome=answer.outcome.name,
            upstream=answer.upstream,
            upstream_name=answer.upstream_name,
            handover=answer.handover.name,
            ask_called=answer.ask_called,
            time_correction_s=answer.time_correction // timedelta(seconds=1),
            refusal=answer.refusal.name,
            note=answer.note,
            result_at=now if state is State.ANSWERED else None,
            taken_at=None,
        )
        _revoke(connection, task.id, now)
        late = now > task.plan.due
        detail = _said(answer) + (f", {_late(now - task.plan.due)} late" if late else "")
        note_history(connection, task.id, now, "answered", by, detail)
        return state

    def match(self, task_id: uuid.UUID, upstream: ProviderId, by: str, now: datetime) -> None:
        """An operator says which provider the typed name is.

        Raises:
            NoSuchTaskError, NotOpenError: there is no name to match.
            TaskError: `upstream` is not in the registry, or is the provider itself.
        """
        with writing(self._engine) as connection:
            task = task_at(_row(connection, task_id))
            if task.state is not State.MATCHING:
                raise NotOpenError(f"the task is {task.state.value}: there is no name to match")
            if self._registry.provider(upstream) is None:
                raise TaskError(f"{upstream} is not in the registry: add it first")
            if upstream == task.asked.provider:
                raise TaskError(f"{upstream} is the provider that answered: it can't be its own upstream")
            self._change(
                connection,
                task,
                state=State.ANSWERED.value,
                upstream=upstream,
                matched_by=by,
                result_at=now,
                taken_at=None,
            )
            note_history(connection, task_id, now, "matched", by, f"{task.upstream_name!r} is {upstream}")

    # What tracebacks take

    def results(self, limit: int = 100) -> Sequence[PersonsResult]:
        """What was not taken yet, oldest first; what must be attested before it is of use comes when it is."""
        with self._engine.connect() as connection:
            return [result_at(row) for row in connection.execute(untaken_results(limit)).mappings()]

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

    def attest(self, result: PersonsResult, kept: bytes, by: str, now: datetime) -> None:
        """Keep the answer as `by`, an approver, sealed it; who may is for the caller to check.

        Raises:
            NoSuchTaskError, NotOpenError: the answer is not the one that was sealed any more, or was used already.
        """
        with writing(self._engine) as connection:
            row = _row(connection, result.task_id, lock=True)
            if row["version"] != result.version or row["taken_at"] is not None:
                raise NotOpenError("the task has moved on meanwhile: look at it again")
            connection.execute(delete(task_attestations).where(task_attestations.c.task_id == result.task_id))
            sealed = {"task_id": result.task_id, "kept": kept, "attested_by": by, "at": now}
            connection.execute(insert(task_attestations), sealed)
            self._change(connection, task_at(row), result_at=row["result_at"])
            note_history(connection, result.task_id, now, "attested", by)

    def void_attestation(self, task_id: uuid.UUID, reason: str, now: datetime) -> None:
        """Drop an attestation that is of no use, so that another can be given."""
        with writing(self._engine) as connection:
            gone = delete(task_attestations).where(task_attestations.c.task_id == task_id)
            if connection.execute(gone).rowcount:
                note_history(connection, task_id, now, "attestation_void", COORDINATOR, reason)

    def taken(self, results: Iterable[PersonsResult], now: datetime) -> None:
        """These are in their chains; those that have changed since come again."""
        with writing(self._engine) as connection:
            for result in results:
                connection.execute(
                    update(tasks)
                    .where(tasks.c.id == result.task_id, tasks.c.version == result.version)
                    .values(taken_at=now)
                )

    # Looking

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
    ) -> list[Task]:
        """Tasks by when they are due, of one provider or traceback or of all, in these states or in any.

        `to_attest` adds to these states the answers that an approver is to attest.
        """
        query = _STANDING.order_by(tasks.c.due, tasks.c.id).limit(limit)
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

    def _change(self, connection: Connection, task: Task, **values: Any) -> None:
        if not self._try_change(connection, task, **values):
            raise NotOpenError("somebody else has changed this task meanwhile: look at it again")

    def _try_change(self, connection: Connection, task: Task, **values: Any) -> bool:
        change = update(tasks).where(tasks.c.id == task.id, tasks.c.version == task.version)
        return connection.execute(change.values(version=task.version + 1, **values)).rowcount == 1


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


def note_history(
    connection: Connection, task_id: uuid.UUID, at: datetime, what: str, by: str, detail: str = ""
) -> None:
    """Add to a task's history, within the caller's transaction, which has changed or locked the task."""
    last = connection.execute(select(func.max(task_history.c.number)).where(task_history.c.task_id == task_id)).scalar()
    entry = {"task_id": task_id, "number": (last or 0) + 1, "at": at, "what": what, "by": by, "detail": detail}
    connection.execute(insert(task_history), entry)


def _revoke(connection: Connection, task_id: uuid.UUID, now: datetime) -> None:
    still = (task_links.c.task_id == task_id, task_links.c.used_at.is_(None), task_links.c.revoked_at.is_(None))
    connection.execute(update(task_links).where(*still).values(revoked_at=now))


def _linked(connection: Connection, token: str, now: datetime, *, lock: bool = False) -> Task:
    """The link's task; with `lock` nobody else answers it meanwhile, and all take their locks in one order."""
    digest = token_digest(token)
    query = select(task_links).where(task_links.c.token_sha256 == digest)
    link = connection.execute(query).mappings().first() if digest is not None else None
    if link is None:
        raise LinkError("this link leads nowhere: it may have been cut in the letter; copy the whole of it")
    if link["used_at"] is not None or link["revoked_at"] is not None:
        raise LinkError(_USED)
    if link["expires"] <= now:
        raise LinkError("this link has expired: ask for a new one")
    return task_at(_row(connection, link["task_id"], link["provider"], lock=lock))


def _row(
    connection: Connection, task_id: uuid.UUID, provider: ProviderId | None = None, *, lock: bool = False
) -> RowMapping:
    query = select(tasks).where(tasks.c.id == task_id)
    return _found(connection, query.with_for_update() if lock else query, provider)


def _found(connection: Connection, query: Select[Any], provider: ProviderId | None) -> RowMapping:
    if provider is not None:
        query = query.where(tasks.c.provider == provider)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NoSuchTaskError("there is no such task")
    return row


def _said(answer: PersonsAnswer) -> str:
    words = answer.outcome.name.lower()
    if answer.upstream is not None:
        return f"{words}: {answer.upstream}"
    if answer.outcome in NAMES_UPSTREAM:
        return f"{words}: {answer.upstream_name!r}, to be matched"
    return words


def _late(by: timedelta) -> str:
    hours = by / timedelta(hours=1)
    return f"{hours:.1f} h" if hours >= 1 else f"{by // timedelta(minutes=1)} min"


__all__ = ["DEFAULT_LINK_LIFETIME", "LinkError", "NoSuchTaskError", "NotOpenError", "TaskDesk", "TaskError", "TaskView"]
