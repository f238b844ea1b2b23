"""Rows of any SQL database: the source is a small TOML file that says where the database is and what to ask it.

    url_env = "CDR_DATABASE_URL"      # the variable that holds the URL, or url = "postgresql+psycopg://reader@db/cdr"
    query = "SELECT call_id, called, calling, start_time, trunk FROM cdr WHERE start_time >= current_date - 2"

URLs are SQLAlchemy's; its driver must be installed (psycopg for PostgreSQL, PyMySQL for MySQL and MariaDB). A URL with
a password belongs into the variable; no message shows it. The transaction is read-only where the database knows such,
rows come through a cursor on the server where the driver has one, and become text as in other typed sources: no digit
is lost, times are ISO 8601. A record's row is its place in the answer, from 1.

A file is indexed once for its content, and this file's content is the question, not the answer: ask again with another
question, or index it again on purpose.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cdr_adapters import raw
from cdr_adapters.formats._cells import text_of
from cdr_adapters.mapping import describe
from cdr_adapters.records import RecordBuffer
from cdr_adapters.stream import read_head

if TYPE_CHECKING:
    import sqlalchemy

SUMMARY = "Rows of any SQL database, through a TOML file with its URL and a query"
GRADE = raw.Grade.GENERIC

_FETCHED: Final = 1024
_MOST_TOML: Final = 1 << 16


class Options(raw.Options):
    """Options of databases: none; the file says it all."""


class Question(BaseModel):
    """What the file says: `url`, or `url_env`, the environment variable that holds it; `query`, one SELECT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(min_length=1)] | None = None
    url_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    query: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("set url or url_env, one of them")
        return self


def identify(head: raw.Head) -> bool:
    """A TOML file with the keys of a question."""
    return head.complete and _question(head) is not None


def _question(head: raw.Head) -> Question | None:
    try:
        return Question.model_validate(tomllib.loads(head.data.decode("utf-8-sig")))
    except (ValueError, RecursionError):  # no text, no TOML, or TOML about something else
        return None


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    del options
    import sqlalchemy

    question = _read_question(path)
    url = _url(path, question)
    try:
        engine = sqlalchemy.create_engine(url, **_how(path, url))
    except ImportError as error:
        raise raw.AdapterError(f"{path}: the driver {error.name!r} of {url.drivername} is not installed") from None
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        raise raw.AdapterError(f"{path}: {_reason(error, url)}") from None
    try:
        with engine.connect() as connection, contextlib.closing(_asked(connection, question)) as result:
            yield from _batches(result, columns)
    except (sqlalchemy.exc.SQLAlchemyError, OSError, ValueError, OverflowError) as error:
        raise raw.AdapterError(f"{path}: {_reason(error, url)}") from None
    finally:
        engine.dispose()


def _read_question(path: Path) -> Question:
    head = read_head(path)
    if not head.complete:
        raise raw.AdapterError(f"{path} is too long for a file with a URL and a query")
    try:
        return Question.model_validate(tomllib.loads(head.data.decode("utf-8-sig")))
    except ValidationError as error:
        raise raw.AdapterError(f"{path}: {describe(error)}") from None
    except (ValueError, RecursionError):
        raise raw.AdapterError(f"{path} is no TOML file with url_env (or url) and query") from None


def _url(path: Path, question: Question) -> sqlalchemy.URL:
    import sqlalchemy

    text = question.url
    if question.url_env is not None:
        text = os.environ.get(question.url_env)
        if not text:
            raise raw.AdapterError(f"{path}: the environment variable {question.url_env} is not set")
    try:
        return sqlalchemy.make_url(text or "")
    except (sqlalchemy.exc.SQLAlchemyError, ValueError):
        where = question.url_env or "url"
        raise raw.AdapterError(
            f"{path}: what {where} holds is no URL such as postgresql+psycopg://reader@host/database"
        ) from None


def _how(path: Path, url: sqlalchemy.URL) -> dict[str, Any]:
    """How to connect: anew, and to SQLite so that it can neither write nor make a database."""
    import sqlalchemy

    how: dict[str, Any] = {"poolclass": sqlalchemy.NullPool, "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        if url.query:
            raise raw.AdapterError(f"{path}: write a SQLite database's URL as sqlite:////its/path")
        how["creator"] = partial(_sqlite, url.database)
    return how


def _sqlite(database: str | None) -> sqlite3.Connection:
    """A database that is there, or without a name an empty one in memory."""
    name = ":memory:" if database is None else f"file:{quote(str(Path(database).absolute()))}?mode=ro"
    # rows may be asked for from another thread than the first ones were
    connection = sqlite3.connect(name, uri=True, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    # another database that a query attaches could be made by that
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
    )
    return connection


def _asked(connection: sqlalchemy.Connection, question: Question) -> sqlalchemy.CursorResult[Any]:
    """The rows, while they come."""
    import sqlalchemy

    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection = connection.execution_options(postgresql_readonly=True)
    elif dialect in ("mysql", "mariadb"):
        connection.execute(sqlalchemy.text("SET SESSION TRANSACTION READ ONLY"))
        connection.commit()
    # as it stands: a colon in a query is no parameter
    result = connection.execution_options(stream_results=True, max_row_buffer=_FETCHED, no_parameters=True)
    answer = result.exec_driver_sql(question.query)
    if not answer.returns_rows:
        raise sqlalchemy.exc.InvalidRequestError("the query gives no rows; write a SELECT")
    return answer


def _batches(result: sqlalchemy.CursorResult[Any], columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    names = list(map(str, result.keys()))
    header = tuple(dict.fromkeys(names))
    buffer = RecordBuffer(columns, header)
    at = [names.index(name) for name in buffer.wanted]
    number = 0
    while rows := result.fetchmany(_FETCHED):
        for row in rows:
            number += 1
            buffer.add_values(number, [text_of(row[index]) for index in at])
        if buffer.full:
            yield buffer.take()
    yield buffer.take()


def _reason(error: Exception, url: sqlalchemy.URL) -> str:
    """What went wrong, in the database's words, without the password should they hold it."""
    original = getattr(error, "orig", None) or error
    text = str(original).strip().partition("\n")[0] or type(original).__name__
    for secret in filter(None, (url.password, *(str(value) for value in url.query.values()))):
        text = text.replace(str(secret), "***")
    return f"the database says: {text}"
