"""A transaction that reads and then writes, on SQLite as on PostgreSQL.

SQLite refuses a transaction that has read and wants to write after somebody else has written in between, without
waiting. So it takes the write lock at its start, and waits its turn there. PostgreSQL ends a transaction that stands
still: a process that froze in one, or whose machine is gone, would else hold its rows for hours against all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

IDLE_MS = 5000
"""The longest pause between two statements of a transaction that writes."""


def idle_limit() -> str:
    """PostgreSQL's setting for that, to be SET."""
    return f"idle_in_transaction_session_timeout = {IDLE_MS}"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is committed at the end of the block, rolled back on an error."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("COMMIT")  # of the empty one that the engine has begun
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SET LOCAL {idle_limit()}")
        yield connection
