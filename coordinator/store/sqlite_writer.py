"""What the coordinator writes while it drives, in SQLite: one file, one writer at a time.

Statements run on the driver's own connection, whole lists of rows at once: an ORM, or even SQLAlchemy's own execution,
would take longer than the database does. Every transaction begins as a writer's (BEGIN IMMEDIATE), so that it waits for
another process at its beginning and never fails in its middle. Ids are stored as SQLAlchemy's `Uuid` stores them there
(32 hexadecimal digits), times as its `DateTime` does (UTC without a zone).
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from coordinator.store.rows import ADDED, SUBMITTED, Packing, Row, kept
from coordinator.tracing.ports import Change, Kept, Lease
from coordinator.tracing.priorities import Priority, places_by_age
from protos.identity import ProviderId

_ADVANCE: Final = (
    "UPDATE tracebacks SET status = ?4, due = ?5, found = ?6, hop_count = ?7, changed_at = ?8,"
    " waits_for = ?9, version = version + 1 WHERE id = ?1 AND version = ?2 AND fence = ?3"
)
_FREE: Final = (
    "UPDATE tracebacks SET status = ?4, due = ?5, found = ?6, hop_count = ?7, changed_at = ?8,"
    " waits_for = ?9, version = version + 1, owner = NULL, claimable = ?10"
    " WHERE id = ?1 AND version = ?2 AND fence = ?3"
)
_END: Final = (
    "UPDATE hops SET outcome = ?4, problem = ?5, detail = ?6, failures = ?7, ended_at = ?8,"
    " answer = coalesce(?9, answer), batch = CASE WHEN ?9 IS NULL THEN batch ELSE ?10 END, silent_since = ?11"
    " WHERE traceback_id = ?1 AND position = ?2 AND round = ?3"
)
_ADD: Final = f"INSERT INTO hops ({', '.join(ADDED)}) VALUES ({', '.join('?' * len(ADDED))})"  # noqa: S608
_BATCH: Final = "INSERT OR IGNORE INTO batches (sha256, provider, sent, received) VALUES (?, ?, ?, ?)"
_SUBMIT: Final = f"INSERT INTO tracebacks ({', '.join(SUBMITTED)}) VALUES ({', '.join('?' * len(SUBMITTED))})"  # noqa: S608

_COLUMNS: Final = (
    *("id", "called", "at", "terminating", "calling", "window_ms", "hop_limit", "status", "due"),
    *("hop_count", "version", "fence", "priority", "order_sha256", "expires"),
)
_CLAIM: Final = (
    "UPDATE tracebacks SET owner = ?1, claimable = ?2, fence = fence + 1"  # noqa: S608
    f" WHERE id IN ({{}}) RETURNING {', '.join(_COLUMNS)}"
)
_OLDEST: Final = "SELECT id FROM tracebacks WHERE claimable <= ?3 ORDER BY claimable LIMIT ?4"
_FIRST: Final = "SELECT id FROM tracebacks WHERE priority = ?5 AND claimable <= ?3 ORDER BY claimable LIMIT ?4"
_HOPS: Final = (
    "SELECT traceback_id, position, round, failures, question, answer, outcome, problem, detail, asked_at, ended_at,"
    " sisters, contested, silent_since FROM hops WHERE traceback_id = ? ORDER BY position, round"
)
_RENEW: Final = "UPDATE tracebacks SET claimable = ?1 WHERE id = ?3 AND fence = ?4 AND owner = ?2"
_LET_GO: Final = "UPDATE tracebacks SET owner = NULL, claimable = ?1 WHERE id = ?2 AND fence = ?3 AND owner IS NOT NULL"
_ASLEEP: Final = "waits_for = ?2 AND owner IS NULL AND claimable > ?1"
ANYBODY_ASLEEP: Final = f"SELECT 1 FROM tracebacks WHERE {_ASLEEP} LIMIT 1"  # noqa: S608
WAKE: Final = f"UPDATE tracebacks SET due = ?1, claimable = ?1 WHERE {_ASLEEP}"  # noqa: S608
"""Whether anybody waits for the silent agent of a provider, and letting them all go on; by the index of those."""

_NEXT_DUE: Final = "SELECT claimable FROM tracebacks WHERE claimable IS NOT NULL ORDER BY claimable LIMIT 1"


def time_text(time: datetime | None) -> str | None:
    """A time as it is stored.

    Raises:
        ValueError: it says no zone.
    """
    if time is None:
        return None
    if time.tzinfo is not UTC:
        if time.tzinfo is None:
            raise ValueError("a naive time can't be stored: it says nothing without a zone")
        time = time.astimezone(UTC)
    return time.replace(tzinfo=None).isoformat(" ", "microseconds")


def text_time(text: str | None) -> datetime | None:
    """The inverse of `time_text`."""
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def _packing() -> Packing:
    """Most steps that are written together happened at the same few times: each is put into words once."""
    last: datetime | None = None
    words: str | None = None

    def text(time: datetime | None) -> str | None:
        nonlocal last, words
        if time is None:
            return None
        if time is not last:
            last, words = time, time_text(time)
        return words

    return Packing(id=lambda one: one.hex, time=text)


class SqliteWriter:
    """Writes over one connection of its own, opened when it is first needed. For one thread at a time."""

    in_threads: Final = False
    """Writing is computing here, but for a flushed commit: a thread would only take turns with the event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pooled: Any = None
        self._flushes: bool | None = None
        self._given = 0

    def close(self) -> None:
        """Give the connection back."""
        pooled, self._pooled, self._flushes = self._pooled, None, None
        if pooled is not None:
            pooled.close()

    def save(self, changes: Sequence[Change], *, flush: bool) -> set[int]:
        """Write these in one transaction but for those that are stale, whose indices are given back.

        Raises:
            sqlalchemy.exc.DBAPIError: the database refused; nothing is written.
        """
        with self._transaction(flush=flush) as database:
            return self._write(database, changes)

    def saving(self, changes: Sequence[Change]) -> Callable[[], set[int]]:
        """`save`, flushed: writes, and leaves the commit, which waits for the disk, to be done in any thread.

        Raises:
            sqlalchemy.exc.DBAPIError: as `save`; so does what is given back.
        """
        with self._refusals():
            database = self._begun(flush=True)
            stale = self._write(database, changes)

        def commit() -> set[int]:
            with self._refusals():
                database.execute("COMMIT")
            return stale

        return commit

    def _write(self, database: sqlite3.Connection, changes: Sequence[Change]) -> set[int]:
        packing = _packing()
        packed = packing.packed(changes)
        stale: set[int] = set()
        if not self._all(database, _ADVANCE, packed.advanced) or not self._all(database, _FREE, packed.freed):
            database.execute("ROLLBACK")
            database.execute("BEGIN IMMEDIATE")
            stale = _one_by_one(database, packing, changes)
            packed = packing.packed(change for index, change in enumerate(changes) if index not in stale)
        if packed.batches:
            rows = [(one.sha256, one.provider, one.sent, one.received) for one in packed.batches.values()]
            database.executemany(_BATCH, rows)
        if packed.ended:
            database.executemany(_END, packed.ended)
        if packed.added:
            database.executemany(_ADD, packed.added)
        return stale

    def submit(self, rows: Callable[[Packing], Sequence[Row]]) -> None:
        """Add new tracebacks, all or none."""
        with self._transaction() as database:
            database.executemany(_SUBMIT, rows(_packing()))

    def claim(self, lease: Lease, places: int) -> list[Kept]:
        """See `coordinator.tracing.ports.Leases`."""
        owner, now, until = lease.owner, time_text(lease.now), time_text(lease.until)
        by_age = places_by_age(places, self._given)
        with self._transaction(flush=False) as database:
            oldest = _CLAIM.format(_OLDEST)
            rows = database.execute(oldest, (owner, until, now, by_age)).fetchall() if by_age else []
            for priority in Priority:
                if len(rows) < places:
                    first = (owner, until, now, places - len(rows), int(priority))
                    rows += database.execute(_CLAIM.format(_FIRST), first).fetchall()
            claimed = _kept(database, rows)
        self._given += len(claimed)
        return claimed

    def claim_these(self, lease: Lease, ids: Sequence[uuid.UUID], *, closed_too: bool, early: bool) -> list[Kept]:
        """See `coordinator.tracing.ports.Leases`."""
        free = "claimable <= ?3" + (" OR (owner IS NULL AND claimable IS NOT NULL)" if early else "")
        free += " OR claimable IS NULL" if closed_too else ""
        claim = _CLAIM.format("?4").replace(" RETURNING", f" AND ({free}) RETURNING")
        rows: list[Row] = []
        with self._transaction(flush=False) as database:
            for identity in ids:
                values = (lease.owner, time_text(lease.until), time_text(lease.now), identity.hex)
                rows += database.execute(claim, values).fetchall()
            return _kept(database, rows)

    def renew(self, lease: Lease, fences: Mapping[uuid.UUID, int]) -> set[uuid.UUID]:
        """See `coordinator.tracing.ports.Leases`."""
        until, lost = time_text(lease.until), set()
        rows = [(until, lease.owner, identity.hex, fence) for identity, fence in fences.items()]
        with self._transaction(flush=False) as database:
            if not self._all(database, _RENEW, rows):
                lost = {
                    identity
                    for identity, row in zip(fences, rows, strict=True)
                    if database.execute(_RENEW, row).rowcount != 1
                }
        return lost

    def let_go(self, fences: Mapping[uuid.UUID, int], due: datetime) -> None:
        """See `coordinator.tracing.ports.Leases`."""
        text = time_text(due)
        with self._transaction(flush=False) as database:
            database.executemany(_LET_GO, [(text, identity.hex, fence) for identity, fence in fences.items()])

    def wake(self, provider: ProviderId, now: datetime) -> int:
        """See `coordinator.tracing.ports.Store`."""
        values = (time_text(now), provider)
        with self._refusals():
            if self._database().execute(ANYBODY_ASLEEP, values).fetchone() is None:
                return 0
        with self._transaction(flush=False) as database:
            return database.execute(WAKE, values).rowcount

    def next_due(self) -> datetime | None:
        """See `coordinator.tracing.ports.Leases`."""
        with self._refusals():
            row = self._database().execute(_NEXT_DUE).fetchone()
        return text_time(row[0]) if row else None

    @staticmethod
    def _all(database: sqlite3.Connection, statement: str, rows: Sequence[Row]) -> bool:
        """Run it for all rows; whether every one was met."""
        return not rows or database.executemany(statement, rows).rowcount == len(rows)

    def _database(self) -> sqlite3.Connection:
        if self._pooled is None:
            self._pooled = self._engine.raw_connection()
        database: sqlite3.Connection = self._pooled.driver_connection
        return database

    @contextmanager
    def _transaction(self, *, flush: bool = True) -> Iterator[sqlite3.Connection]:
        with self._refusals():
            database = self._begun(flush=flush)
            yield database
            database.execute("COMMIT")

    def _begun(self, *, flush: bool) -> sqlite3.Connection:
        database = self._database()
        if flush is not self._flushes:
            database.execute(f"PRAGMA synchronous = {'FULL' if flush else 'NORMAL'}")
            self._flushes = flush
        database.execute("BEGIN IMMEDIATE")
        return database

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self.close()  # with it whatever was not committed
            raise DBAPIError.instance("", None, error, sqlite3.Error) from error
        except BaseException:
            self.close()
            raise


def _one_by_one(database: sqlite3.Connection, packing: Packing, changes: Sequence[Change]) -> set[int]:
    """Advance the tracebacks of those changes that are not stale; the indices of those that are."""
    stale = set()
    for index, change in enumerate(changes):
        packed = packing.packed([change])
        statement, (row,) = (_FREE, packed.freed) if packed.freed else (_ADVANCE, packed.advanced)
        if database.execute(statement, row).rowcount != 1:
            stale.add(index)
    return stale


def _kept(database: sqlite3.Connection, rows: Sequence[Row]) -> list[Kept]:
    many = []
    for values in rows:
        row = dict(zip(_COLUMNS, values, strict=True))
        hops = database.execute(_HOPS, (row["id"],)).fetchall() if row["hop_count"] else []
        row |= {"id": uuid.UUID(hex=row["id"]), "at": text_time(row["at"]), "due": text_time(row["due"])}
        row["expires"] = text_time(row["expires"])
        many.append(kept(row, map(_hop, hops)))
    return many


def _hop(row: Row) -> dict[str, Any]:
    _, position, round_, failures, question, answer, outcome, problem, detail, asked_at, ended_at, *rest = row
    return {
        "position": position,
        "round": round_,
        "failures": failures,
        "question": question,
        "answer": answer,
        "outcome": outcome,
        "problem": problem,
        "detail": detail,
        "asked_at": text_time(asked_at),
        "ended_at": text_time(ended_at),
        "sisters": rest[0],
        "contested": rest[1],
        "silent_since": text_time(rest[2]),
    }
