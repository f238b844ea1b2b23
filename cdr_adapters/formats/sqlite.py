"""Tables and queries of SQLite databases, opened for reading only.

The option `table` names a table or view, `query` gives a SELECT of one's own; without either, the error lists the
tables. Rows are known by their rowid where there is one. The write-ahead log of a live database is honoured; a database
in a directory that can't be written is read as it lies; a compressed one is unpacked into a private copy. A value of
more than 1 MB is no part of a record: it ends the reading.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote

import pyarrow as pa
from pydantic import Field, model_validator

from cdr_adapters import raw
from cdr_adapters.archives import real_file
from cdr_adapters.records import BATCH_ROWS
from cdr_adapters.stream import MAX_LINE, read_head

SUMMARY = "SQLite databases: a table or a query"
GRADE = raw.Grade.GENERIC

_FETCHED = 256
_BATCH_SIZE = 32 << 20
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


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _column(values: tuple[object, ...]) -> pa.Array:
    """Values of any type as text; pyarrow takes those that are text at once, all others are looked at one by one."""
    try:
        return pa.array(values, raw.TEXT)
    except (pa.ArrowException, OverflowError):
        return pa.array([_text(value) for value in values], raw.TEXT)


def _connect(path: Path) -> sqlite3.Connection:
    log = path.with_name(path.name + "-wal")
    has_log = log.exists() and log.stat().st_size > 0
    modes = ["mode=ro"] if has_log else ["mode=ro", "mode=ro&immutable=1"]
    for mode in modes:
        # batches may be asked for from another thread than the first one was
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True, check_same_thread=False)
        try:
            connection.text_factory = bytes
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_LINE)
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


@dataclass(frozen=True, slots=True)
class _Selected:
    """What is read.

    Attributes:
        cursor: yields the rows; the first value is the rowid when `has_rowid`.
        header: every column that there is.
        names: the columns in the rows' order, without the rowid; not all of `header` when only some are wanted.
    """

    cursor: sqlite3.Cursor
    has_rowid: bool
    header: tuple[str, ...]
    names: tuple[str, ...]


def _names(cursor: sqlite3.Cursor) -> tuple[str, ...]:
    return tuple(_text(description[0]) or "" for description in cursor.description or ())


def _select(connection: sqlite3.Connection, path: Path, options: Options, columns: frozenset[str] | None) -> _Selected:
    if options.query is not None:
        cursor = connection.execute(options.query)
        return _Selected(cursor, False, _names(cursor), _names(cursor))
    rows = connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    there = {_text(name) or "": _text(kind) for name, kind in rows}
    listed = ", ".join(sorted(there)) or "none"
    if options.table is None:
        raise raw.AdapterError(f"{path}: say which table, options = {{ table = ... }}; there are: {listed}")
    if options.table not in there:
        raise raw.AdapterError(f"{path} has no table {options.table!r}; it has: {listed}")
    table = _quoted(options.table)
    header = _names(connection.execute(f"SELECT * FROM {table} LIMIT 0"))  # noqa: S608 - quoted, and there
    names = tuple(name for name in header if columns is None or name in columns)
    wanted = ", ".join(map(_quoted, names)) or "NULL"
    if there[options.table] == "table":
        with contextlib.suppress(sqlite3.OperationalError):  # a table without rowid
            cursor = connection.execute(f"SELECT rowid, {wanted} FROM {table}")  # noqa: S608 - quoted, and there
            return _Selected(cursor, True, header, names)
    cursor = connection.execute(f"SELECT {wanted} FROM {table}")  # noqa: S608 - quoted, and there
    return _Selected(cursor, False, header, names)


def identify(head: raw.Head) -> bool:
    """SQLite's own mark."""
    return head.data.startswith(_MAGIC)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    if not read_head(path).data.startswith(_MAGIC):
        raise raw.AdapterError(f"{path} is no SQLite database")
    try:
        with real_file(path) as file, contextlib.closing(_connect(file)) as connection:
            yield from _batches(_select(connection, path, options, columns), columns)
    except (OSError, sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
        raise raw.AdapterError(f"{path}: can't be read: {error}") from None


def _batches(selected: _Selected, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    header = tuple(dict.fromkeys(selected.header))
    first = 1 if selected.has_rowid else 0
    wanted = {name: selected.names.index(name) + first for name in header if name in selected.names}
    if columns is not None:
        wanted = {name: at for name, at in wanted.items() if name in columns}
    number = 1
    while True:
        pieces: list[pa.RecordBatch] = []
        rows: list[int] = []
        while len(rows) < BATCH_ROWS and sum(piece.nbytes for piece in pieces) < _BATCH_SIZE:
            records = selected.cursor.fetchmany(_FETCHED)
            if not records:
                break
            values = list(zip(*records, strict=True))
            fields: dict[str, list[str | None] | pa.Array] = {name: _column(values[at]) for name, at in wanted.items()}
            pieces.append(raw.string_batch(fields, len(records)))
            start = number + len(rows)
            rows.extend(values[0] if selected.has_rowid else range(start, start + len(records)))
        if not pieces and number > 1:
            return
        whole = pa.concat_batches(pieces) if pieces else raw.string_batch({name: [] for name in wanted}, 0)
        yield raw.RawBatch(whole, pa.array(rows, pa.int64()), header=header)
        number += max(len(rows), 1)
