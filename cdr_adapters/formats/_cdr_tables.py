"""Tables of call records in SQL databases, known by their columns: SQLite files, SQL dumps, exports with a header.

A table is of a format when it has all columns of one of the format's shapes, whatever it is called. Every such table in
a database is read, one after the other, or the one that the option `table` names; rows of a SQLite database have their
rowids, those of a second table are numbered on from the highest of the first. In a dump the tables are looked for in
its first 64 KiB, where dump programs define them; a table that is defined later must be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from cdr_adapters import presets, raw
from cdr_adapters.column_specs import Columns
from cdr_adapters.formats import delimited, sqldump, sqlite
from cdr_adapters.formats.delimited import Character
from cdr_adapters.stream import MAX_LINE, Encoding, read_head

_SQLITE = b"SQLite format 3\x00"
_NAME = r"[`\"\[]?(?:\w+[`\"\]]?\.[`\"\[]?)?(\w+)[`\"\]]?"
_DEFINITION = re.compile(rf"\bCREATE\s+(?:\w+\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}\s*\(", re.IGNORECASE)
_LISTED = re.compile(
    rf"^\s*(?:COPY|(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO)\s+{_NAME}\s*\(([^()]*)\)", re.IGNORECASE | re.MULTILINE
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_DELIMITERS = ",;\t|"
_LONGEST_DEFINITION = 1 << 14
_BEGINNINGS = ("--", "/*", "\\", "create", "copy", "insert", "replace", "begin", "pragma", "set", "drop", "lock", "use")


class Options(raw.Options):
    """Options of tables: which one, where there are several; `delimiter` is that of an export."""

    table: Annotated[str, Field(min_length=1)] | None = None
    delimiter: Character | None = None
    encoding: Encoding = "utf-8"


def names_of(columns: Mapping[str, Any]) -> frozenset[str]:
    """Every column that a [columns] table names."""
    return frozenset[str]().union(*(spec.used for spec in Columns.model_validate(columns).specs.values()))


def _definitions(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """The tables that a text defines or fills, with all words of the definition in small letters."""
    for match in _DEFINITION.finditer(text):
        depth, end = 1, match.end()
        while depth and end < min(len(text), match.end() + _LONGEST_DEFINITION):
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        yield match[1], frozenset(word.lower() for word in _WORD.findall(text, match.end(), end))
    for match in _LISTED.finditer(text):
        yield match[1], frozenset(word.lower() for word in _WORD.findall(match[2]))


@dataclass(frozen=True)
class Shape:
    """Columns, in small letters, that make a table one of a format's; `table`: only if its name begins so.

    An export has lost the table's name: it is known by shapes that need none.
    """

    columns: frozenset[str]
    table: str = ""


@dataclass(frozen=True)
class CdrTables:
    """A format of tables.

    Attributes:
        shapes: what tables of this format look like.
        known: the columns that the format's default mapping may name.
        one_of: columns of which a table has at least one, or it says nothing of the called number.
    """

    shapes: Sequence[Shape]
    known: Sequence[str]
    one_of: tuple[str, ...] = ()

    def _fits(self, table: str, columns: frozenset[str]) -> bool:
        if self.one_of and columns.isdisjoint(self.one_of):
            return False
        return any(shape.columns <= columns and table.lower().startswith(shape.table) for shape in self.shapes)

    def _tables(self, text: str) -> list[str]:
        return list(dict.fromkeys(name for name, columns in _definitions(text) if self._fits(name, columns)))

    def _is_header(self, line: str) -> bool:
        """Whether a line is the header of an export; its names are those of the table, letter for letter."""
        for delimiter in _DELIMITERS:
            names = delimited.Options(delimiter=delimiter).split(line) if delimiter in line else None
            columns = frozenset(name.strip().lower() for name in names or ())
            if self._fits("", columns):
                return True
        return False

    def identify(self, head: raw.Head) -> bool:
        """A table of this format is defined or filled at the file's beginning, or a header has its columns."""
        if head.data.startswith(_SQLITE):
            return bool(self._tables(head.data.decode("latin-1")))
        text = head.data.decode("utf-8-sig", "replace")
        if text.lstrip()[:8].lower().startswith(_BEGINNINGS):
            return bool(self._tables(text))
        return any(len(line) <= MAX_LINE and self._is_header(line) for line in head.lines(1))

    def read(self, path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        """See `raw.ReaderModule.read`."""
        head = read_head(path)
        text = head.data.decode("utf-8-sig", "replace")
        if head.data.startswith(_SQLITE):
            batches = self._database(path, options, columns)
        elif options.table is not None or text.lstrip()[:8].lower().startswith(_BEGINNINGS):
            batches = self._dump(path, text, options, columns)
        else:
            export = presets.Headed(tuple(sorted(self.shapes[0].columns)), self.known)
            chosen = presets.Options(delimiter=options.delimiter, encoding=options.encoding)
            batches = export.read(path, chosen, columns)
        for batch in batches:
            header = tuple(dict.fromkeys((*(batch.header or ()), *self.known)))
            yield replace(batch, header=header)

    def _database(self, path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        offset = 0
        for table in self._named(path, options, self._tables_of_database(path)):
            highest = offset
            for batch in sqlite.read(path, sqlite.Options(table=table), columns):
                rows = pc.add(batch.rows, offset)
                highest = max(highest, pc.max(rows).as_py() or 0)
                yield replace(batch, rows=rows)
            offset = highest

    def _tables_of_database(self, path: Path) -> list[str]:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
        batches = sqlite.read(path, sqlite.Options(query=query), None)
        found = [(row["name"], row["sql"]) for batch in batches for row in batch.columns.to_pylist()]
        return [name for name, definition in found if name and definition and self._tables(definition)]

    def _dump(self, path: Path, text: str, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        for table in self._named(path, options, self._tables(text)):
            yield from sqldump.read(path, sqldump.Options(table=table, encoding=options.encoding), columns)

    def _named(self, path: Path, options: Options, found: list[str]) -> list[str]:
        if options.table is not None:
            return [options.table]
        if not found:
            expected = ", ".join(sorted(self.shapes[0].columns))
            raise raw.AdapterError(
                f"{path}: at its beginning no table with the columns {expected} is defined: name it, "
                "options = { table = ... }"
            )
        return found


_JULIAN = r"^24[0-9]{5}(?:\.[0-9]+)?$"
_JULIAN_EPOCH = 2440587.5


def whole_seconds(batch: raw.RawBatch, names: Sequence[str]) -> raw.RawBatch:
    """`batch` with Julian days in the columns `names` as seconds since 1970.

    Kamailio's db_sqlite writes the Julian day of a second that it has cut off, less half a second: that second is told.
    """
    table = batch.columns
    found: dict[str, list[str | None] | pa.Array] = {name: table.column(name) for name in table.schema.names}
    for name in names:
        if name not in found or not table.num_rows:
            continue
        column = table.column(name)
        is_julian = pc.fill_null(pc.match_substring_regex(column, _JULIAN), False)
        if not is_julian.true_count:
            continue
        days = pc.cast(pc.if_else(is_julian, column, "0"), pa.float64())
        seconds = pc.round(pc.add(pc.multiply(pc.subtract(days, _JULIAN_EPOCH), 86400.0), 0.5))
        texts = pc.cast(pc.cast(seconds, pa.int64()), raw.TEXT)
        found[name] = pc.if_else(is_julian, texts, column)
    return replace(batch, columns=raw.string_batch(found, table.num_rows))
