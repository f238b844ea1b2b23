"""Tasks in the database: put, answered, matched, attested, given up, withdrawn.

Every change names the version that it starts from, within one transaction with its history: of two that come at once,
one is refused and nothing is half done. How tasks are looked at, `coordinator.tasks.looking` says. SQLite and
PostgreSQL alike.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from coordinator.deadlines.schedule import schedule
from coordinator.store.task_models import task_attestations, task_notices, tasks
from coordinator.store.writing import writing
from coordinator.tasks.answers import NAMES_UPSTREAM, PersonsAnswer, read_answer
from coordinator.tasks.history import note_history
from coordinator.tasks.links import LinkError, keep, linked, revoke, use
from coordinator.tasks.looking import NoSuchTaskError, NotOpenError, TaskError, Tasks, TaskView, task_row
from coordinator.tasks.ports import Deadlines, PersonsResult
from coordinator.tasks.rows import new_row, notice_row, task_at
from coordinator.tasks.task import Asked, State, Task, notices
from coordinator.tasks.tokens import new_token
from coordinator.tracing.ports import Registry
from protos.identity import ProviderId

COORDINATOR = "coordinator"
DEFAULT_LINK_LIFETIME = timedelta(days=30)


class TaskDesk(Tasks):
    """The tasks of one coordinator, to be worked at. Times are passed in; `make_token` makes the tokens."""

    def __init__(
        self,
        engine: Engine,
        deadlines: Deadlines,
        registry: Registry,
        *,
        link_lifetime: timedelta = DEFAULT_LINK_LIFETIME,
        make_token: Callable[[], str] = new_token,
    ) -> None:
        super().__init__(engine)
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
            task = task_at(task_row(connection, task_id))
            if task.state not in (State.OPEN, State.GIVEN_UP, State.MATCHING):
                return False
            self._change(connection, task, state=State.WITHDRAWN.value)
            revoke(connection, task_id, now)
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
        with writing(self._engine) as connection:
            task = task_at(task_row(connection, task_id))
            if not task.state.takes_answer:
                raise NotOpenError(f"the task is {task.state.value}: it takes no answer")
            keep(connection, token, task, now, now + self._lifetime)
        return token

    def open_link(self, token: str, now: datetime) -> Task:
        """The task that a link leads to; looking at it uses nothing up.

        Raises:
            LinkError: the link is none, or of no use any more.
        """
        with self._engine.connect() as connection:
            return linked(connection, token, now)

    def answer_by_link(self, token: str, fields: Mapping[str, str], by: str, now: datetime) -> State:
        """Record the answer of who holds the link; the link, and every other one to the task, is used up.

        Raises:
            LinkError: the link is none, or of no use any more.
            AnswerError: the fields are no answer; the link is still good.
            NotOpenError: somebody else was quicker.
        """
        with writing(self._engine) as connection:
            task = linked(connection, token, now, lock=True)
            use(connection, token, now)
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
            task = task_at(task_row(connection, task_id, provider))
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
        revoke(connection, task.id, now)
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
            task = task_at(task_row(connection, task_id))
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

    def attest(self, result: PersonsResult, kept: bytes, by: str, now: datetime) -> None:
        """Keep the answer as `by`, an approver, sealed it; who may is for the caller to check.

        Raises:
            NoSuchTaskError, NotOpenError: the answer is not the one that was sealed any more, or was used already.
        """
        with writing(self._engine) as connection:
            row = task_row(connection, result.task_id, lock=True)
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

    def _change(self, connection: Connection, task: Task, **values: Any) -> None:
        if not self._try_change(connection, task, **values):
            raise NotOpenError("somebody else has changed this task meanwhile: look at it again")

    def _try_change(self, connection: Connection, task: Task, **values: Any) -> bool:
        change = update(tasks).where(tasks.c.id == task.id, tasks.c.version == task.version)
        return connection.execute(change.values(version=task.version + 1, **values)).rowcount == 1


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
