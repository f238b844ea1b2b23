"""Opening the database, and checking that its tables are this version's.

SQLite runs in WAL mode with synchronous=FULL (what is committed survives a power cut; `sql_store` says where it relaxes
that) and enforces foreign keys. PostgreSQL serves several coordinators on several machines; it keeps its own defaults,
which flush every commit.

A database of an older version is refused until it is migrated, one of a newer version is refused outright.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

MIGRATIONS = Path(__file__).parent / "migrations"

_REVISION = re.compile(r'^(down_)?revision(?:: [^=]+)? = "([0-9]{4})"$', re.MULTILINE)


def _revisions() -> tuple[frozenset[str], str]:
    """All migrations, and the one that no other follows; read from their text, because Alembic takes long to import."""
    known: set[str] = set()
    followed: set[str] = set()
    for path in (MIGRATIONS / "versions").glob("v[0-9]*_*.py"):
        for down, revision in _REVISION.findall(path.read_text(encoding="utf-8")):
            (followed if down else known).add(revision)
    return frozenset(known), max(known - followed)


_KNOWN, HEAD = _revisions()
"""The newest migration, which this code is written for."""


class StoreError(Exception):
    """The database can't be used; the message says why and what to do."""


def open_engine(url: str) -> Engine:
    """An engine for the database at `url`, which is not touched yet.

    Raises:
        StoreError: the URL is none, or names a database that nothing here speaks.
    """
    try:
        engine = create_engine(_with_driver(make_url(url)))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(
            f"store.url can't be used: {error}; examples: sqlite:///coordinator.db, postgresql://user@host/hopback"
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin)
    else:
        event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _with_driver(url: URL) -> URL:
    """PostgreSQL is spoken by psycopg 3, however the URL is written."""
    plain = url.drivername in ("postgresql", "postgres")
    return url.set(drivername="postgresql+psycopg") if plain else url


@contextmanager
def engine_for(url: str) -> Iterator[Engine]:
    """`open_engine` for the length of a block; its connections are closed at the end.

    Raises:
        StoreError: see `open_engine`.
    """
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _set_up_sqlite(connection: Any, record: object) -> None:
    del record
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {pragma}")


def _set_up_postgresql(connection: Any, record: object) -> None:
    del record
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def schema_version(engine: Engine) -> str | None:
    """The migration that the database stands at, None for an empty one.

    Raises:
        StoreError: it can't be read, or holds other tables.
    """
    try:
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            if "alembic_version" in tables:
                return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DatabaseError as error:
        raise StoreError(f"the database can't be read: {error.orig}") from None
    if tables:
        raise StoreError(f"the database holds other tables ({', '.join(sorted(tables)[:3])}...): it is not hopback's")
    return None


def require_current(engine: Engine) -> None:
    """Raise StoreError unless the tables are this version's."""
    found = schema_version(engine)
    if found == HEAD:
        return
    if found is None:
        raise StoreError("the database is empty: run `hopback-coordinator init`, or `migrate` for the tables alone")
    if found not in _KNOWN:
        raise StoreError(f"the database is of a newer version (migration {found}, this is {HEAD}): update hopback")
    raise StoreError(f"the database is of an older version (migration {found}): run `hopback-coordinator migrate`")


def migrate(engine: Engine) -> None:
    """Create the tables, or bring them to this version; all of it or nothing.

    Raises:
        StoreError: the database is of a newer version, or not hopback's.
    """
    from alembic import command
    from alembic.config import Config

    found = schema_version(engine)
    if found is not None and found not in _KNOWN:
        require_current(engine)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # one at a time, whoever starts first
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('hopback migrations'))"))
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
