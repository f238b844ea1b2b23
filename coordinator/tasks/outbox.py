"""The outbox: letters are put down with the fact that they are due, and sent at least once under one Message-ID each.

A notice that is due becomes letters in one transaction with its being done: after a crash it is either still due or
in the outbox, never lost. Who becomes a contact while a task is open gets the letter that the others had. A letter is
claimed for a while by raising its number of attempts, sent, and marked.
Whoever dies in between leaves a claim that ends; the letter is then sent again under the same Message-ID, by which
mail systems know it for the same. A letter that the server refuses for good is failed at once; other failures are
tried again, later and later.

The link's token is made when a letter is sent, so that the outbox holds none. Of a letter that is sent again every link
works until one is used.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import Connection, Engine, Select, insert, select, update

from coordinator.store.task_models import letters, task_notices, tasks
from coordinator.store.writing import writing
from coordinator.tasks.desk import NotOpenError, TaskDesk
from coordinator.tasks.history import note_history
from coordinator.tasks.letters import Sender, letter
from coordinator.tasks.ports import Contacts, Deadlines, Mailer, MailError
from coordinator.tasks.task import Notice, NoticeKind, State, to_send
from coordinator.tracing.ports import Registry
from protos.identity import ProviderId

CLAIM = timedelta(minutes=5)
MOST_ATTEMPTS = 12
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=4)
_TELLS = frozenset({State.OPEN.value})


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one round of sending did, in letters."""

    sent: int = 0
    delayed: int = 0
    failed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class MailRoom:
    """What letters are made of: `link` holds the place of the token, `domain` ends every Message-ID."""

    link: str | None
    domain: str
    sender: Sender


def pause_after(attempts: int) -> timedelta:
    """How long to wait after that many failed attempts."""
    doubled: int = 2 ** min(attempts - 1, 30)
    return min(_FIRST_PAUSE * doubled, _LONGEST_PAUSE)


class Outbox:
    """Queues what is due, and sends what is queued."""

    def __init__(
        self,
        engine: Engine,
        desk: TaskDesk,
        *,
        contacts: Contacts,
        deadlines: Deadlines,
        registry: Registry,
        room: MailRoom,
    ) -> None:
        self._engine = engine
        self._desk = desk
        self._contacts = contacts
        self._deadlines = deadlines
        self._registry = registry
        self._room = room

    def queue_due(self, now: datetime, limit: int = 1000) -> int:
        """Put the letters of all notices that are due into the outbox; how many. About closed tasks nothing is sent."""
        query = (
            select(task_notices.c.task_id, task_notices.c.kind, task_notices.c.number, task_notices.c.due)
            .where(task_notices.c.done_at.is_(None), task_notices.c.due <= now)
            .order_by(task_notices.c.task_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            due = connection.execute(query).all()
        queued = 0
        for task_id, some in groupby(due, key=lambda row: row.task_id):
            notices = [Notice(NoticeKind(row.kind), row.number, row.due) for row in some]
            with writing(self._engine) as connection:
                queued += self._queue(connection, task_id, notices, now)
        return queued

    def _queue(self, connection: Connection, task_id: uuid.UUID, due: list[Notice], now: datetime) -> int:
        row = connection.execute(
            select(tasks.c.state, tasks.c.provider).where(tasks.c.id == task_id).with_for_update()
        ).one()
        mine = [notice for notice in due if _mark_done(connection, task_id, notice, now)]
        if row.state not in _TELLS:
            return 0
        queued = 0
        for notice in to_send(mine):
            recipients = sorted(set(self._contacts.recipients(row.provider, notice.kind, notice.number)))
            if not recipients:
                note_history(connection, task_id, now, "nobody_to_tell", "coordinator", notice.kind.value)
            told = set(connection.execute(_told(task_id, notice)).scalars())
            fresh = [recipient for recipient in recipients if recipient not in told]
            for recipient in fresh:
                connection.execute(insert(letters), _letter_row(task_id, notice, recipient, now))
            if fresh:
                detail = f"{notice.kind.value} {notice.number}, to {len(fresh)}"
                note_history(connection, task_id, now, "queued", "coordinator", detail)
            queued += len(fresh)
        return queued

    def deliver(self, mailer: Mailer, now: datetime, limit: int = 100) -> Delivery:
        """Try every letter whose time has come, once."""
        query = select(letters.c.id, letters.c.attempts).where(letters.c.state == "queued", letters.c.next_at <= now)
        with self._engine.connect() as connection:
            waiting = connection.execute(query.order_by(letters.c.next_at, letters.c.id).limit(limit)).all()
        fates = [self._deliver(mailer, row.id, row.attempts, now) for row in waiting]
        return Delivery(*(fates.count(fate) for fate in ("sent", "delayed", "failed", "dropped")))

    def _deliver(self, mailer: Mailer, letter_id: uuid.UUID, attempts: int, now: datetime) -> str:
        with writing(self._engine) as connection:
            claim = update(letters).where(
                letters.c.id == letter_id, letters.c.attempts == attempts, letters.c.state == "queued"
            )
            if connection.execute(claim.values(attempts=attempts + 1, next_at=now + CLAIM)).rowcount != 1:
                return "elsewhere"
            row = connection.execute(select(letters).where(letters.c.id == letter_id)).mappings().one()
        try:
            link = self._link_to(row["task_id"], now)
        except NotOpenError as error:
            return self._close(letter_id, attempts + 1, "dropped", now, str(error))
        task = self._desk.view(row["task_id"]).task
        entry = self._registry.provider(task.asked.provider)
        calendar, _ = self._deadlines.of(task.asked.provider)
        written = letter(
            task,
            NoticeKind(row["kind"]),
            provider_name=entry.name if entry else task.asked.provider,
            link=link,
            zone=calendar.zone,
            sender=self._room.sender,
            now=now,
        )
        try:
            mailer.send(
                to=row["recipient"],
                subject=written.subject,
                body=written.body,
                message_id=f"<{letter_id}@{self._room.domain}>",
                at=row["queued_at"],
            )
        except MailError as error:
            if error.permanent or attempts + 1 >= MOST_ATTEMPTS:
                return self._close(letter_id, attempts + 1, "failed", now, error.detail)
            with writing(self._engine) as connection:
                later = update(letters).where(letters.c.id == letter_id, letters.c.attempts == attempts + 1)
                connection.execute(later.values(next_at=now + pause_after(attempts + 1), detail=error.detail))
            return "delayed"
        return self._close(letter_id, attempts + 1, "sent", now, "")

    def _link_to(self, task_id: uuid.UUID, now: datetime) -> str | None:
        """A link that answers the task, None where people can open none.

        Raises:
            NotOpenError: there is nothing to answer.
        """
        if self._room.link is not None:
            return self._room.link.replace("{token}", self._desk.new_link(task_id, now))
        state = self._desk.view(task_id).task.state
        if not state.takes_answer:
            raise NotOpenError(f"the task is {state.value}: it takes no answer")
        return None

    def _close(self, letter_id: uuid.UUID, attempts: int, state: str, now: datetime, detail: str) -> str:
        with writing(self._engine) as connection:
            mine = update(letters).where(letters.c.id == letter_id, letters.c.attempts == attempts)
            sent_at = now if state == "sent" else None
            if connection.execute(mine.values(state=state, sent_at=sent_at, detail=detail)).rowcount == 1:
                row = connection.execute(select(letters).where(letters.c.id == letter_id)).mappings().one()
                connection.execute(select(tasks.c.id).where(tasks.c.id == row["task_id"]).with_for_update())
                said = f"{row['kind']} {row['number']}" + (f": {detail}" if detail else "")
                note_history(connection, row["task_id"], now, f"mail_{state}", "coordinator", said)
        return state


def tell_newcomers(connection: Connection, provider: ProviderId, level: int) -> None:
    """Somebody more is to be written to: what was sent about open tasks is due once more, for who had it not.

    Within the caller's transaction, which has put the contact down; `level` 0 is invited, others join an escalation.
    """
    mine = select(tasks.c.id).where(tasks.c.provider == provider, tasks.c.state.in_(_TELLS))
    locked = mine.order_by(tasks.c.id).with_for_update()  # a round that queues just now is waited for, or waits
    open_tasks = list(connection.execute(locked).scalars())
    kind = NoticeKind.ESCALATION if level else NoticeKind.INVITATION
    this = update(task_notices).where(task_notices.c.kind == kind.value, task_notices.c.number == (level or 1))
    for task_id in open_tasks:
        connection.execute(this.where(task_notices.c.task_id == task_id).values(done_at=None))


def _told(task_id: uuid.UUID, notice: Notice) -> Select[str]:
    columns = letters.c
    told = select(columns.recipient).where(columns.task_id == task_id, columns.kind == notice.kind.value)
    return told.where(columns.number == notice.number)


def _mark_done(connection: Connection, task_id: uuid.UUID, notice: Notice, now: datetime) -> bool:
    this = update(task_notices).where(
        task_notices.c.task_id == task_id,
        task_notices.c.kind == notice.kind.value,
        task_notices.c.number == notice.number,
        task_notices.c.done_at.is_(None),
    )
    return connection.execute(this.values(done_at=now)).rowcount == 1


def _letter_row(task_id: uuid.UUID, notice: Notice, recipient: str, now: datetime) -> dict[str, object]:
    return {
        "id": uuid.uuid5(task_id, f"{notice.kind.value} {notice.number} {recipient}"),
        "task_id": task_id,
        "kind": notice.kind.value,
        "number": notice.number,
        "recipient": recipient,
        "state": "queued",
        "queued_at": now,
        "next_at": now,
        "attempts": 0,
        "detail": "",
    }


@dataclass(frozen=True, slots=True)
class UnsentLetter:
    """A letter that waits, or was given up; `detail` is what went wrong last."""

    task_id: uuid.UUID
    state: str
    attempts: int
    detail: str


def unsent_letters(engine: Engine) -> list[UnsentLetter]:
    """The letters that were not sent, oldest first."""
    query = select(letters.c.task_id, letters.c.state, letters.c.attempts, letters.c.detail)
    query = query.where(letters.c.state.in_(["queued", "failed"])).order_by(letters.c.queued_at, letters.c.id)
    with engine.connect() as connection:
        return [UnsentLetter(*row) for row in connection.execute(query)]
