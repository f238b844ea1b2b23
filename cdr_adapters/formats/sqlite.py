"""Tables and queries of SQLite databases, opened for reading only.

The option `table` names a table or view, `query` gives a SELECT of one's own; without either, the error lists the
tables. Rows are known by their rowid where there is one. The write-ahead log of a live database is honoured; a database
in a directory that can't be written is read as it lies.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote

import pyarrow as pa
from pydantic import Field, model_validator

from cdr_adapters import raw
from cdr_adapters.records import BATCH_ROWS

SUMMARY = "SQLite databases: a table or a query"
GRADE = raw.Grade.REAL_FILES

_MAGIC = b"SQLite format 3\x00"


class Options(raw.Options):
    """Options of SQLite databases."""

    table: Annotated[str, Field(min_length=1)] | None = None
    query: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.table is not None and self.query is not None:
            raise ValueError("set table or query, not both")
        return self


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return _decoded(value) if isinstance(value, bytes) else str(value)


def _connect(path: Path) -> sqlite3.Connection:
    log = path.with_name(path.name + "-wal")
    has_log = log.exists() and log.stat().st_size > 0
    modes = ["mode=ro"] if has_log else ["mode=ro", "mode=ro&immutable=1"]
    for mode in modes:
        # batches may be asked for from another thread than the first one was
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True, check_same_thread=False)
        try:
            connection.text_factory = _decoded
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            connection.close()
            if mode == modes[-1]:
                raise
        else:
            return connection
    raise AssertionError("unreachable")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _select(connection: sqlite3.Connection, path: Path, options: Options) -> tuple[sqlite3.Cursor, bool]:
    """The cursor, and whether its first column is the rowid."""
    if options.query is not None:
        return connection.execute(options.query), False
    there = dict(connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')").fetchall())
    listed = ", ".join(sorted(there)) or "none"
    if options.table is None:
        raise raw.AdapterError(f"{path}: say which table, options = {{ table = ... }}; there are: {listed}")
    if options.table not in there:
        raise raw.AdapterError(f"{path} has no table {options.table!r}; it has: {listed}")
    table = _quoted(options.table)
    if there[options.table] == "table":
        with contextlib.suppress(sqlite3.OperationalError):  # a table without rowid
            return connection.execute(f"SELECT rowid, * FROM {table}"), True  # noqa: S608 - quoted, and there
    return connection.execute(f"SELECT * FROM {table}"), False  # noqa: S608 - quoted, and there


def identify(head: raw.Head) -> bool:
    """SQLite's own mark."""
    return head.data.startswith(_MAGIC)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    try:
        with path.open("rb") as file:
            if not file.read(len(_MAGIC)).startswith(_MAGIC):
                raise raw.AdapterError(f"{path} is no SQLite database (a compressed one must be unpacked first)")
        with contextlib.closing(_connect(path)) as connection:
            cursor, has_rowid = _select(connection, path, options)
            yield from _batches(cursor, has_rowid, columns)
    except (OSError, sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
        raise raw.AdapterError(f"{path}: can't be read: {error}") from None


def _batches(cursor: sqlite3.Cursor, has_rowid: bool, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    names = [str(description[0]) for description in cursor.description or ()]
    first = 1 if has_rowid else 0
    header = tuple(dict.fromkeys(names[first:]))
    wanted = {name: names.index(name, first) for name in header if columns is None or name in columns}
    number = 1
    while True:
        records = cursor.fetchmany(BATCH_ROWS)
        if not records and number > 1:
            return
        fields: dict[str, list[str | None] | pa.Array] = {
            name: [_text(record[at]) for record in records] for name, at in wanted.items()
        }
        if has_rowid:
            rows = pa.array([record[0] for record in records], pa.int64())
        else:
            rows = pa.array(range(number, number + len(records)), pa.int64())
        number += max(len(records), 1)
        yield raw.RawBatch(raw.string_batch(fields, len(records)), rows, header=header)
