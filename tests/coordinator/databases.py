"""Empty databases with the coordinator's tables, SQLite and PostgreSQL: migrated once, then copied for each test."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Engine, insert, text

from coordinator.store.engine import migrate, open_engine
from coordinator.store.models import TracebackRow
from tests.coordinator.make import CALLED, ID, NOW, T0
from tests.stores.servers import Server

TEMPLATE = "hopback_template"
COMMON = "hopback_common"
_numbers = itertools.count(1)


def _url(server: Server, database: str) -> str:
    return f"postgresql+psycopg://postgres@/{database}?host={server.socket}&port={server.port}"


def prepare(server: Server) -> None:
    """Make the template on a fresh server."""
    with _admin(server) as admin, admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {TEMPLATE}"))
    engine = open_engine(_url(server, TEMPLATE))
    migrate(engine)
    engine.dispose()


@contextmanager
def _admin(server: Server) -> Iterator[Engine]:
    engine = open_engine(_url(server, "postgres")).execution_options(isolation_level="AUTOCOMMIT")
    try:
        yield engine
    finally:
        engine.dispose()


def in_postgresql(server: Server) -> AbstractContextManager[Engine]:
    """A database of its own, with all tables."""
    return _database(server, TEMPLATE)


@contextmanager
def emptied_postgresql(server: Server) -> Iterator[Engine]:
    """The one database for tests that need no more than one: all tables are there, and empty."""
    with _admin(server) as admin, admin.connect() as connection:
        there = connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": COMMON}).first()
        if there is None:
            connection.execute(text(f"CREATE DATABASE {COMMON} TEMPLATE {TEMPLATE}"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": COMMON}
        )
    engine = open_engine(_url(server, COMMON))
    try:
        with engine.begin() as connection:
            query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            names = connection.execute(text(query)).scalars().all()
            connection.execute(text(f"TRUNCATE {', '.join(names)}"))
        yield engine
    finally:
        engine.dispose()


def empty_postgresql(server: Server) -> AbstractContextManager[Engine]:
    """A database without tables."""
    return _database(server, "template0")


@contextmanager
def _database(server: Server, template: str) -> Iterator[Engine]:
    name = f"hopback_{next(_numbers)}"
    with _admin(server) as admin, admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine = open_engine(_url(server, name))
    try:
        yield engine
    finally:
        engine.dispose()
        with _admin(server) as admin, admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def in_sqlite(file: Path, template: Path) -> Iterator[Engine]:
    """A copy of the template, which is made when it is not there."""
    if not template.exists():
        engine = open_engine(f"sqlite:///{template}")
        migrate(engine)
        with engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        engine.dispose()
    file.write_bytes(template.read_bytes())
    engine = open_engine(f"sqlite:///{file}")
    try:
        yield engine
    finally:
        engine.dispose()


def put_traceback(engine: Engine, traceback_id: uuid.UUID = ID, **values: object) -> uuid.UUID:
    """A traceback's row and nothing more, for what refers to one."""
    with engine.begin() as connection:
        connection.execute(insert(TracebackRow), row(traceback_id, **values))
    return traceback_id


def row(traceback_id: uuid.UUID, **values: object) -> dict[str, object]:
    """The columns of a traceback's row; `values` in place of what they are else."""
    return {
        "id": traceback_id,
        "called": CALLED,
        "at": T0,
        "terminating": "ginkgo",
        "window_ms": 60_000,
        "hop_limit": 15,
        "status": "no_agent",
        "hop_count": 1,
        "version": 0,
        "submitted_at": NOW,
        "changed_at": NOW,
        **values,
    }
