"""A transaction that reads and then writes, on SQLite as on PostgreSQL.

SQLite refuses a transaction that has read and wants to write after somebody else has written in between, without
waiting. So it takes the write lock at its start, and waits its turn there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is committed at the end of the block, rolled back on an error."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("COMMIT")  # of the empty one that the engine has begun
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
