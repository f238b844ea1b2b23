"""Tracebacks and the registry in SQL.

Writing: `save` returns when the change is written. Changes that arrive while a transaction is being written share the
next one, so that many tracebacks cost few flushes; a thread of its own writes them, so that the event loop goes on. A
change that comes alone is written at once, without the detour over that thread, which would cost more than the flush.
A change that names another version than the stored one is refused alone, without harm to those beside it.

What is written survives the death of the process at any moment. What has a result or a wait in it is flushed to disk
as well, and with it all that came before. A step between two questions is not flushed by itself (SQLite:
synchronous=NORMAL for that transaction), because ten flushes would make up most of a chain's time: after a power cut
such a step may be missing, and is taken again, with the same question under the same id.

Reading is synchronous, for commands that show things and for taking up what is open.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, bindparam, delete, func, insert, select

from coordinator.chain import Call, Hop, Phase, Problem, Status, Traceback
from coordinator.ports import Change, Kept, Provider, StaleTracebackError
from coordinator.store.models import HopRow, ProviderRow, TracebackRow
from coordinator.store.steps import Steps
from protos.codec import decode_answer, decode_question, digest
from protos.e164 import parse_e164
from protos.identity import parse_provider_id

_MS = timedelta(milliseconds=1)
_OPEN = tuple(status.value for status in Status if status.phase is not Phase.CLOSED)

_FLUSHED, _WRITTEN = "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of a list of tracebacks; `found` is the originating or gateway provider."""

    id: uuid.UUID
    called: str
    at: datetime
    terminating: str
    status: Status
    due: datetime | None
    found: str | None
    hop_count: int
    submitted_at: datetime


class SqlStore:
    """Implements `coordinator.ports.Store` over an engine whose tables are current."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._steps = Steps(engine.dialect)
        self._waiting: list[tuple[Change, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    def close(self) -> None:
        """Let the last transaction end, and release the database."""
        self._thread.shutdown(wait=True)
        self._disconnect()
        self._engine.dispose()

    # Writing, while tracebacks are driven

    async def save(self, change: Change) -> None:
        """Return when `change` is written, and flushed where it has a result.

        Raises:
            StaleTracebackError: the stored version is another one; nothing of this change was written.
            sqlalchemy.exc.SQLAlchemyError: the database can't be written.
        """
        idle = self._writer is None or self._writer.done()
        if idle and not _is_result(change):  # nobody to wait for, and nothing to wait for
            if self._write([change]):
                raise StaleTracebackError
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if idle:
            self._writer = asyncio.create_task(self._write_waiting())
        await done

    async def _write_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            changes = [change for change, _ in group]
            try:
                if len(changes) == 1:
                    stale = self._write(changes)
                else:
                    stale = await loop.run_in_executor(self._thread, self._write, changes)
            except Exception as error:
                for _, done in group:
                    if not done.cancelled():
                        done.set_exception(error)
                continue
            for index, (_, done) in enumerate(group):
                if done.cancelled():
                    continue
                if index in stale:
                    done.set_exception(StaleTracebackError())
                else:
                    done.set_result(None)

    def _write(self, changes: list[Change]) -> set[int]:
        """Write all in one transaction; the indices of those that were refused as stale. Never runs twice at a time."""
        stale = set()
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            if self._engine.dialect.name == "sqlite":
                flushed = any(map(_is_result, changes))
                driver_connection: Any = self._connection.connection.driver_connection
                driver_connection.execute(_FLUSHED if flushed else _WRITTEN)
            with self._connection.begin():
                for index, change in enumerate(changes):
                    if not self._steps.write(self._connection, change):
                        stale.add(index)
        except BaseException:
            self._disconnect()
            raise
        return stale

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # Submitting and reading

    def submit(self, tracebacks: Iterable[Traceback], at: datetime) -> list[Kept]:
        """Store new tracebacks, all or none."""
        kept = [Kept(traceback, 0) for traceback in tracebacks]
        if kept:
            with self._engine.begin() as connection:
                connection.execute(insert(TracebackRow), [_new_row(entry.traceback, at) for entry in kept])
        return kept

    def load(self, traceback_id: uuid.UUID) -> Kept | None:
        """The traceback with this id, None when there is none."""
        with self._engine.connect() as connection:
            return _load(connection, traceback_id)

    def find(self, prefix: str, limit: int = 10) -> list[uuid.UUID]:
        """Ids that begin with `prefix` (hexadecimal digits and hyphens), at most `limit`."""
        digits = "".join(character for character in prefix.lower() if character in "0123456789abcdef")[:32]
        if len(digits) != len(prefix.replace("-", "")) or not digits:
            return []
        low, high = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
        query = select(TracebackRow.id).where(TracebackRow.id.between(low, high)).order_by(TracebackRow.id).limit(limit)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def recent(self, limit: int) -> list[Summary]:
        """The tracebacks submitted last, newest first."""
        columns = [getattr(TracebackRow, name) for name in Summary.__dataclass_fields__]
        query = select(*columns).order_by(TracebackRow.submitted_at.desc(), TracebackRow.id).limit(limit)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [Summary(**{**row, "status": Status(row["status"])}) for row in rows]

    def counts(self) -> Counter[Status]:
        """How many tracebacks stand where."""
        query = select(TracebackRow.status, func.count()).group_by(TracebackRow.status)
        with self._engine.connect() as connection:
            return Counter({Status(status): count for status, count in connection.execute(query)})

    def open_tracebacks(self) -> Iterator[Kept]:
        """Those that are not closed, first submitted first."""
        query = select(TracebackRow.id).where(TracebackRow.status.in_(_OPEN)).order_by(TracebackRow.submitted_at)
        with self._engine.connect() as connection:
            for traceback_id in connection.execute(query).scalars().all():
                kept = _load(connection, traceback_id)
                if kept is not None:
                    yield kept

    # The registry

    def providers(self) -> list[Provider]:
        """All of the registry, by id."""
        query = select(ProviderRow).order_by(ProviderRow.id)
        with self._engine.connect() as connection:
            return [
                Provider(
                    id=parse_provider_id(row["id"]),
                    name=row["name"],
                    endpoint=row["endpoint"],
                    country=row["country"],
                    role=row["role"],
                )
                for row in connection.execute(query).mappings()
            ]

    def put_providers(self, providers: Iterable[Provider], at: datetime) -> None:
        """Add these to the registry, in the place of those with the same ids, all or none."""
        rows = [
            {
                "id": provider.id,
                "name": provider.name,
                "endpoint": provider.endpoint,
                "country": provider.country,
                "role": provider.role,
                "added_at": at,
            }
            for provider in providers
        ]
        if not rows:
            return
        with self._engine.begin() as connection:
            connection.execute(
                delete(ProviderRow).where(ProviderRow.id == bindparam("the_id")),
                [{"the_id": row["id"]} for row in rows],
            )
            connection.execute(insert(ProviderRow), rows)


def _is_result(change: Change) -> bool:
    """Whether the change ends in something other than the next question, and must be flushed."""
    return change.after.status.phase is not Phase.ASKING


@contextmanager
def opened(engine: Engine) -> Iterator[SqlStore]:
    """A store that is closed at the end of the block."""
    store = SqlStore(engine)
    try:
        yield store
    finally:
        store.close()


def _new_row(traceback: Traceback, at: datetime) -> dict[str, Any]:
    call = traceback.call
    return {
        "id": traceback.id,
        "called": call.called,
        "at": call.at,
        "terminating": call.terminating,
        "calling": call.calling,
        "window_ms": call.window // _MS,
        "hop_limit": call.hop_limit,
        "status": traceback.status.value,
        "due": traceback.due,
        "found": None,
        "hop_count": len(traceback.hops),
        "version": 0,
        "submitted_at": at,
        "changed_at": at,
    }


def _load(connection: Connection, traceback_id: uuid.UUID) -> Kept | None:
    row = connection.execute(select(TracebackRow).where(TracebackRow.id == traceback_id)).mappings().first()
    if row is None:
        return None
    query = select(HopRow).where(HopRow.traceback_id == traceback_id).order_by(HopRow.position, HopRow.round)
    latest = {hop["position"]: _hop(hop) for hop in connection.execute(query).mappings()}
    call = Call(
        called=parse_e164(row["called"]),
        at=row["at"],
        terminating=parse_provider_id(row["terminating"]),
        calling=parse_e164(row["calling"]) if row["calling"] else None,
        window=row["window_ms"] * _MS,
        hop_limit=row["hop_limit"],
    )
    traceback = Traceback(
        id=traceback_id,
        call=call,
        hops=tuple(latest[position] for position in sorted(latest)),
        status=Status(row["status"]),
        due=row["due"],
    )
    return Kept(traceback, row["version"])


def _hop(row: RowMapping) -> Hop:
    question = decode_question(row["question"])
    answer = None
    if row["outcome"] is not None:
        answer = decode_answer(row["answer"], question_sha256=digest(row["question"]), expected=question.target)
    return Hop(
        question=question,
        asked=row["asked_at"],
        round=row["round"],
        failures=row["failures"],
        ended=row["ended_at"],
        answer=answer,
        problem=Problem(row["problem"]) if row["problem"] else None,
        detail=row["detail"],
    )
