"""What the coordinator writes while it drives, in PostgreSQL: several processes on several machines at once.

Every statement takes whole columns as arrays (`unnest`), so that a thousand steps cost a handful of messages. Claims
pass over rows that another process is claiming at the same moment (FOR UPDATE SKIP LOCKED). A step names the version
and the fence that it starts from in the statement that writes it; if any of a group is refused, the group is taken
back, the rows that may still be written are locked, and those alone are written. A transaction that stands still is
ended by the server, so that what a frozen process has locked can be taken over.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from coordinator.store.rows import ADDED, ENDED, FREED, SUBMITTED, Packing, Row, kept
from coordinator.store.writing import idle_limit
from coordinator.tracing.ports import Change, Kept, Lease
from coordinator.tracing.priorities import Priority, places_by_age
from protos.identity import ProviderId

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

_TYPES: Final = {
    **dict.fromkeys(("id", "traceback_id", "question_id"), "uuid"),
    **dict.fromkeys(("version", "fence", "hop_count", "position", "round", "failures"), "integer"),
    **dict.fromkeys(("window_ms", "hop_limit", "priority"), "integer"),
    **dict.fromkeys(("due", "at", "changed_at", "claimable", "ended_at", "asked_at", "submitted_at"), "timestamptz"),
    **dict.fromkeys(("expires", "silent_since"), "timestamptz"),
    **dict.fromkeys(("question", "answer", "batch", "sha256", "sent", "received", "order_sha256"), "bytea"),
    **dict.fromkeys(("sisters", "contested"), "bytea"),
}
"""Types of columns; whatever is not named is text."""


def _columns(names: Sequence[str]) -> str:
    """`unnest(...)` of one array parameter a column."""
    arrays = ", ".join(f"%b::{_TYPES.get(name, 'text')}[]" for name in names)
    return f"unnest({arrays}) AS new ({', '.join(names)})"


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(names)} FROM {_columns(names)}"  # noqa: S608


_MATCH: Final = "tracebacks.id = new.id AND tracebacks.version = new.version AND tracebacks.fence = new.fence"
_SET: Final = (
    "status = new.status, due = new.due, found = new.found, hop_count = new.hop_count, changed_at = new.changed_at,"
    " waits_for = new.waits_for, version = new.version + 1"
)
_ADVANCE: Final = f"UPDATE tracebacks SET {_SET} FROM {_columns(FREED[:-1])} WHERE {_MATCH}"  # noqa: S608
_FREE: Final = (
    f"UPDATE tracebacks SET {_SET}, owner = NULL, claimable = new.claimable FROM {_columns(FREED)} WHERE {_MATCH}"  # noqa: S608
)
_LOCK: Final = (
    f"SELECT tracebacks.id FROM tracebacks, {_columns(('id', 'version', 'fence'))}"  # noqa: S608
    f" WHERE {_MATCH} FOR UPDATE OF tracebacks"
)
_END: Final = (
    "UPDATE hops SET outcome = new.outcome, problem = new.problem, detail = new.detail, failures = new.failures,"  # noqa: S608
    " ended_at = new.ended_at, answer = coalesce(new.answer, hops.answer),"
    " batch = CASE WHEN new.answer IS NULL THEN hops.batch ELSE new.batch END,"
    f" silent_since = new.silent_since FROM {_columns(ENDED)}"
    " WHERE hops.traceback_id = new.traceback_id AND hops.position = new.position AND hops.round = new.round"
)
_ADD: Final = _insert("hops", ADDED)
_BATCH: Final = _insert("batches", ("sha256", "provider", "sent", "received")) + " ON CONFLICT DO NOTHING"
_SUBMIT: Final = _insert("tracebacks", SUBMITTED)

_COLUMNS: Final = (
    *("id", "called", "at", "terminating", "calling", "window_ms", "hop_limit", "status", "due"),
    *("hop_count", "version", "fence", "priority", "order_sha256", "expires"),
)
_CLAIM: Final = (
    "WITH picked AS (SELECT id FROM tracebacks WHERE {} FOR UPDATE SKIP LOCKED)"  # noqa: S608
    " UPDATE tracebacks SET owner = %b, claimable = %b, fence = fence + 1 FROM picked WHERE tracebacks.id = picked.id"
    f" RETURNING {', '.join('tracebacks.' + name for name in _COLUMNS)}"
)
_OLDEST: Final = _CLAIM.format("claimable <= %b ORDER BY claimable LIMIT %b")
_FIRST: Final = _CLAIM.format("priority = %b AND claimable <= %b ORDER BY claimable LIMIT %b")
_HOP_COLUMNS: Final = (
    *("traceback_id", "position", "round", "failures", "question", "answer", "outcome", "problem", "detail"),
    *("asked_at", "ended_at", "sisters", "contested", "silent_since"),
)
_HOPS: Final = (
    f"SELECT {', '.join(_HOP_COLUMNS)} FROM hops"  # noqa: S608
    " WHERE traceback_id = ANY(%b::uuid[]) ORDER BY traceback_id, position, round"
)
_RENEW: Final = (
    f"UPDATE tracebacks SET claimable = %b FROM {_columns(('id', 'fence'))}"  # noqa: S608
    " WHERE tracebacks.id = new.id AND tracebacks.fence = new.fence AND owner = %b RETURNING tracebacks.id"
)
_LET_GO: Final = (
    f"UPDATE tracebacks SET owner = NULL, claimable = %b FROM {_columns(('id', 'fence'))}"  # noqa: S608
    " WHERE tracebacks.id = new.id AND tracebacks.fence = new.fence AND owner IS NOT NULL"
)
WAKE: Final = (
    "WITH asleep AS (SELECT id FROM tracebacks WHERE waits_for = %b AND owner IS NULL AND claimable > %b"
    " FOR UPDATE SKIP LOCKED)"
    " UPDATE tracebacks SET due = %b, claimable = %b FROM asleep WHERE tracebacks.id = asleep.id"
)
"""Letting all go on that wait for the silent agent of a provider; by the index of those."""

_NEXT_DUE: Final = "SELECT claimable FROM tracebacks WHERE claimable IS NOT NULL ORDER BY claimable LIMIT 1"


def _aware(time: datetime | None) -> datetime | None:
    if time is not None and time.tzinfo is None:
        raise ValueError("a naive time can't be stored: it says nothing without a zone")
    return time


_PACKING: Final = Packing(id=lambda one: one, time=_aware)


class _StaleError(Exception):
    """Not every row of a group was met."""


class PostgresqlWriter:
    """Writes over one connection of its own, opened when it is first needed. For one thread at a time."""

    in_threads: Final = True
    """Writing is waiting here, while the server computes: the event loop goes on meanwhile."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pooled: Any = None
        self._given = 0

    def close(self) -> None:
        """Give the connection back."""
        pooled, self._pooled = self._pooled, None
        if pooled is not None:
            pooled.close()

    def save(self, changes: Sequence[Change], *, flush: bool) -> set[int]:
        """Write these in one transaction but for those that are stale, whose indices are given back.

        Raises:
            sqlalchemy.exc.DBAPIError: the database refused; nothing is written.
        """
        try:
            with self._transaction(flush=flush) as cursor:
                self._write(cursor, changes)
        except _StaleError:
            with self._transaction(flush=flush) as cursor:
                keys = [(change.after.id, change.version, change.fence) for change in changes]
                cursor.execute(_LOCK, _arrays(keys), prepare=True)
                fresh = {row[0] for row in cursor.fetchall()}
                good = [change for change in changes if change.after.id in fresh]
                if good:
                    self._write(cursor, good)
            return {index for index, change in enumerate(changes) if change.after.id not in fresh}
        return set()

    def saving(self, changes: Sequence[Change]) -> Callable[[], set[int]]:
        """`save`, flushed; all of it is waiting."""
        return lambda: self.save(changes, flush=True)

    @staticmethod
    def _write(cursor: Cursor[Any], changes: Sequence[Change]) -> None:
        packed = _PACKING.packed(changes)
        for statement, rows in ((_ADVANCE, packed.advanced), (_FREE, packed.freed)):
            if rows and cursor.execute(statement, _arrays(rows), prepare=True).rowcount != len(rows):
                raise _StaleError
        batches = [(one.sha256, one.provider, one.sent, one.received) for one in packed.batches.values()]
        for statement, rows in ((_BATCH, batches), (_END, packed.ended), (_ADD, packed.added)):
            if rows:
                cursor.execute(statement, _arrays(rows), prepare=True)

    def submit(self, rows: Callable[[Packing], Sequence[Row]]) -> None:
        """Add new tracebacks, all or none."""
        packed = _arrays(rows(_PACKING))
        with self._transaction() as cursor:
            cursor.execute(_SUBMIT, packed)

    def claim(self, lease: Lease, places: int) -> list[Kept]:
        """See `coordinator.tracing.ports.Leases`."""
        by_age = places_by_age(places, self._given)
        with self._transaction(flush=False) as cursor:
            rows: list[Row] = []
            if by_age:
                rows += cursor.execute(_OLDEST, (lease.now, by_age, lease.owner, lease.until)).fetchall()
            for priority in Priority:
                if len(rows) < places:
                    values = (int(priority), lease.now, places - len(rows), lease.owner, lease.until)
                    rows += cursor.execute(_FIRST, values).fetchall()
            claimed = _kept(cursor, rows)
        self._given += len(claimed)
        return claimed

    def claim_these(self, lease: Lease, ids: Sequence[uuid.UUID], *, closed_too: bool, early: bool) -> list[Kept]:
        """See `coordinator.tracing.ports.Leases`."""
        free = "claimable <= %b" + (" OR (owner IS NULL AND claimable IS NOT NULL)" if early else "")
        free += " OR claimable IS NULL" if closed_too else ""
        claim = _CLAIM.format(f"id = ANY(%b::uuid[]) AND ({free})")
        with self._transaction(flush=False) as cursor:
            rows = cursor.execute(claim, (list(ids), lease.now, lease.owner, lease.until)).fetchall()
            return _kept(cursor, rows)

    def renew(self, lease: Lease, fences: Mapping[uuid.UUID, int]) -> set[uuid.UUID]:
        """See `coordinator.tracing.ports.Leases`."""
        with self._transaction(flush=False) as cursor:
            values = (lease.until, list(fences), list(fences.values()), lease.owner)
            return set(fences) - {row[0] for row in cursor.execute(_RENEW, values).fetchall()}

    def let_go(self, fences: Mapping[uuid.UUID, int], due: datetime) -> None:
        """See `coordinator.tracing.ports.Leases`."""
        with self._transaction(flush=False) as cursor:
            cursor.execute(_LET_GO, (due, list(fences), list(fences.values())))

    def wake(self, provider: ProviderId, now: datetime) -> int:
        """See `coordinator.tracing.ports.Store`."""
        with self._transaction(flush=False) as cursor:
            return cursor.execute(WAKE, (provider, now, now, now)).rowcount

    def next_due(self) -> datetime | None:
        """See `coordinator.tracing.ports.Leases`."""
        with self._transaction(flush=False) as cursor:
            row = cursor.execute(_NEXT_DUE).fetchone()
        return row[0] if row else None

    @contextmanager
    def _transaction(self, *, flush: bool = True) -> Iterator[Cursor[Any]]:
        import psycopg

        try:
            if self._pooled is None:
                self._pooled = self._engine.raw_connection()
                with self._pooled.driver_connection.transaction():
                    self._pooled.driver_connection.execute(f"SET {idle_limit()}")
            database: Connection[Any] = self._pooled.driver_connection
            with database.transaction(), database.cursor(binary=True) as cursor:
                if not flush:
                    cursor.execute("SET LOCAL synchronous_commit = off")
                yield cursor
        except _StaleError:
            raise
        except psycopg.Error as error:
            self.close()
            raise DBAPIError.instance("", None, error, psycopg.Error) from error
        except BaseException:
            self.close()
            raise


def _arrays(rows: Sequence[Row]) -> list[list[Any]]:
    """Rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)]


def _kept(cursor: Cursor[Any], rows: Sequence[Row]) -> list[Kept]:
    entries = [dict(zip(_COLUMNS, values, strict=True)) for values in rows]
    hops: dict[uuid.UUID, list[dict[str, Any]]] = {}
    if under_way := [entry["id"] for entry in entries if entry["hop_count"]]:
        for values in cursor.execute(_HOPS, (under_way,)).fetchall():
            hops.setdefault(values[0], []).append(dict(zip(_HOP_COLUMNS, values, strict=True)))
    return [kept(entry, hops.get(entry["id"], ())) for entry in entries]
