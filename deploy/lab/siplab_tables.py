"""The tables of a provider's store in a lab: what lies where, in which format, with which columns and rows.

A lab is small, so a table holds all its rows; they are read by the very adapters that the agent will read them by.
Records of several shapes in one file (one a transaction, one a call) become a table each. What a column means is
`deploy.lab.siplab_columns`' business. Whole SIP messages are no call records, and no table here.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cdr_adapters import registry
from cdr_adapters.raw import AdapterError
from cdr_adapters.stream import read_head, read_lines

SETUP = ("start_time", "start_local", "start", "setup_time", "seizure_time", "begin_time", "connect_time")
METHOD = ("method", "Sip-Method", "sip_method")
_MESSAGE = ("msg", "message", "sip_msg")
_STATEMENT = re.compile(r"\s*(?:COPY|(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO)\s+([\w.`\"]+)", re.IGNORECASE)
_HEADING = re.compile(r"[A-Za-z_][\w .()/-]*")
_ALL = "!"
"""As a condition of a mapping's `where`: anything but nothing."""


class LabError(Exception):
    """The lab directory is not of the shape that can be read here; says what is missing."""


@dataclass(frozen=True)
class Table:
    """One table of a store: where it is, how it is read, its columns and rows; an absent value is the empty text.

    `where` tells its rows from those of other tables in the same file.
    """

    name: str
    path: Path
    format: str
    options: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    where: Mapping[str, Any] = field(default_factory=dict)

    def values(self, column: str) -> list[str]:
        """The values of a column, in the order of rows, without empty ones."""
        at = self.columns.index(column)
        return [row[at] for row in self.rows if row[at]]

    def first(self, names: Iterable[str]) -> str | None:
        """The first of `names` that is a column with values in it."""
        return next((name for name in names if name in self.columns and self.values(name)), None)

    def only(self, rows: Sequence[tuple[str, ...]], name: str, where: Mapping[str, Any]) -> Table:
        """The part of the table that `where` chooses, under a name of its own."""
        return replace(self, name=name, rows=tuple(rows), where={**self.where, **where})


def store_files(home: Path, store: Mapping[str, Any]) -> list[Path]:
    """The files of a store: those that it names (files, directories, patterns, `<pid>` for whatever), else all."""
    named = [re.sub(r"<[^>]*>", "*", str(name)).rstrip("/") for name in store.get("files", ())]
    found = [path for name in named for path in home.glob(name)]
    files = {file for path in found for file in (path.rglob("*") if path.is_dir() else [path])}
    if not files and home.is_dir():
        files = set(home.rglob("*"))
    return sorted(file for file in files if file.is_file() and not file.name.startswith("."))


def tables_of(path: Path, store: Mapping[str, Any]) -> Iterator[Table]:
    """The tables in a file that may hold calls.

    Raises:
        LabError: it can't be read, or its columns have no names.
    """
    try:
        for table in _tables_of(path, store):
            if table.rows and not set(_MESSAGE) & set(table.columns):
                yield from _by_shape(table)
    except (AdapterError, sqlite3.Error, UnicodeDecodeError) as error:
        raise LabError(f"{path}: {error}") from None


_NAMED = ("sqlite", "sqldump", "jsonl", "kamailio_dbtext", "kamailio_syslog", "radius_detail")
"""Formats whose columns have names in the file itself, so that content tells what they are."""


def _tables_of(path: Path, store: Mapping[str, Any]) -> Iterator[Table]:
    head = read_head(path)
    known = [name for name in _NAMED if registry.adapter(name).identify(head)]
    if known == ["sqlite"]:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as db:
            names = db.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
            ).fetchall()
        yield from (_read(str(name), path, "sqlite", {"table": name}) for (name,) in names)
    elif known == ["sqldump"]:
        statements = (match[1] for _, line in read_lines(path, "utf-8") if (match := _STATEMENT.match(line)))
        for name in dict.fromkeys(re.sub(r'[`"]', "", text).rpartition(".")[2] for text in statements):
            yield _read(name, path, "sqldump", {"table": name})
    elif len(known) == 1:
        yield _read(re.sub(r"\W+", "_", path.stem), path, known[0], {})
    else:
        yield _delimited(path, store)


def _read(name: str, path: Path, format_: str, options: Mapping[str, Any]) -> Table:
    records = [
        {key: value or "" for key, value in record.items()}
        for batch in registry.adapter(format_).read(path, options, None)
        for record in batch.columns.to_pylist()
    ]
    columns = tuple(dict.fromkeys(key for record in records for key in record))
    rows = tuple(tuple(record.get(column, "") for column in columns) for record in records)
    return Table(name, path, format_, options, columns, rows)


def _delimited(path: Path, store: Mapping[str, Any]) -> Table:
    first = next((line for _, line in read_lines(path, "utf-8") if line.strip()), "")
    delimiter = max("|,;\t", key=first.count)
    names = _described(path, store, first.count(delimiter) + 1)
    if names is None and not all(_HEADING.fullmatch(cell.strip(' "')) for cell in first.split(delimiter)):
        raise LabError(f"{path}: it has no line with the columns' names, and the store's description has none either")
    return _read(
        path.stem, path, "delimited", {"delimiter": delimiter, **({"names": names, "header": False} if names else {})}
    )


def _described(path: Path, store: Mapping[str, Any], width: int) -> list[str] | None:
    """The names of a file's columns, if the store's description has them: `columns_acc` is for acc_129.log."""
    lists = {
        key.removeprefix("columns_"): [name for name in re.split(r"[|,;\s]+", str(text)) if name]
        for key, text in store.items()
        if key.startswith("columns")
    }
    stem = re.sub(r"[_.-]?\d+$", "", path.stem)
    if stem in lists:
        return lists[stem]
    fitting = [names for names in lists.values() if len(names) == width]
    return fitting[0] if len(fitting) == 1 else None


def _by_shape(table: Table) -> Iterator[Table]:
    """One table for each kind of record: lines of a log tell theirs, else those with a setup time are of another."""
    if "kind" in table.columns and table.format == "kamailio_syslog":
        at = table.columns.index("kind")
        kinds = {kind: [row for row in table.rows if row[at] == kind] for kind in sorted(set(table.values("kind")))}
        parts = [table.only(rows, kind, {"kind": kind}) for kind, rows in kinds.items()]
    else:
        parts = [table]
    for part in parts:
        setup, method = part.first(SETUP), part.first(METHOD)
        if setup is None or method is None:
            yield part
            continue
        at = part.columns.index(setup)
        calls = [row for row in part.rows if row[at]]
        others = [row for row in part.rows if not row[at]]
        if not others:
            yield part
            continue
        yield part.only(others, f"{part.name}_acc", {setup: ""})
        yield part.only(calls, f"{part.name}_cdr", {setup: _ALL})
