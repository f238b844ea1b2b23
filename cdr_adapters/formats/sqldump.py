"""SQL dumps: the COPY blocks and INSERT statements of pg_dump, the INSERT statements of mysqldump and of sqlite3 .dump.

The option `table` says whose rows, with or without its schema. Column names come from the COPY or INSERT statement,
else from CREATE TABLE. A row is known by the number of the line on which it begins. Backslashes in strings are escapes
in COPY blocks, in strings marked E and in dumps of MySQL; elsewhere they are backslashes. Everything else in the dump
is left unread; nothing is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines

SUMMARY = "SQL dumps: COPY and INSERT of PostgreSQL, MySQL/MariaDB and SQLite"
GRADE = raw.Grade.REAL_FILES

_ROW_LIMIT = 1 << 18
_ROW_LINES = 1000

_NAME = r"(?:[A-Za-z_][\w$]*|\"[^\"]+\"|`[^`]+`|\[[^\]]+\])"
_TABLE = rf"(?P<table>{_NAME}(?:\.{_NAME})?)"
_COPY = re.compile(rf"\s*COPY\s+{_TABLE}\s*(?:\((?P<columns>[^()]*)\))?\s+FROM\s+stdin\b[^;]*;\s*", re.IGNORECASE)
_INSERT = re.compile(
    rf"\s*(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO\s+{_TABLE}\s*(?:\((?P<columns>[^()]*)\))?\s*(?:VALUES|$)",
    re.IGNORECASE,
)
_CREATE = re.compile(rf"\s*CREATE\s+(?:\w+\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_TABLE}\s*\(", re.IGNORECASE)
_NO_COLUMN = frozenset(
    ("constraint", "primary", "unique", "key", "index", "foreign", "check", "fulltext", "spatial", "exclude", "like")
)
_PART = re.compile(rf"(?P<name>{_NAME})")

_COPY_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
_COPY_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_SQL_ESCAPE = re.compile(r"\\(.)|''", re.DOTALL)
_SQL_ESCAPED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}

# possessive quantifiers throughout: a broken row must not be tried in every way
_PLAIN_STRING = r"'(?:[^']++|'')*+'"
_ESCAPED_STRING = r"'(?:[^'\\]++|\\.|'')*+'"


class Options(raw.Options):
    """Options of SQL dumps."""

    table: Annotated[str, Field(min_length=1)] | None = None
    encoding: Encoding = "utf-8"


def _unquoted(name: str) -> str:
    return name[1:-1] if name[0] in '"`[' else name


def _names(columns: str) -> tuple[str, ...]:
    return tuple(_unquoted(name.strip()) for name in columns.split(",") if name.strip())


def _is_table(found: str, wanted: str) -> bool:
    """Whether `found`, as written in the dump, is the table that the options name."""
    parts = [_unquoted(match[0]) for match in re.finditer(_NAME, found)]
    return wanted in (parts[-1], ".".join(parts))


def _copy_unescape(match: re.Match[str]) -> str:
    octal, hexadecimal, other = match.groups()
    if octal is not None:
        return chr(int(octal, 8))
    return chr(int(hexadecimal, 16)) if hexadecimal is not None else _COPY_ESCAPED.get(other, other)


def copy_values(line: str) -> list[str | None]:
    """The values of one line of a COPY block."""
    values = line.split("\t")
    if "\\" not in line:
        return list(values)
    return [None if value == "\\N" else _COPY_ESCAPE.sub(_copy_unescape, value) for value in values]


class _RowPattern:
    """How rows and values look in one dialect of INSERT."""

    def __init__(self, escapes: bool) -> None:
        string = _ESCAPED_STRING if escapes else rf"(?:[eE]{_ESCAPED_STRING}|{_PLAIN_STRING})"
        self.escapes = escapes
        call = rf"\((?:[^()']++|{string})*+\)"
        self.row = re.compile(rf"\(((?:[^()']++|{string}|{call})*+)\)", re.DOTALL)
        self.value = re.compile(
            rf"\s*(?:(?P<mark>[A-Za-z_][\w]*\s*)?(?P<string>{string})(?:::[\w ]+)?|(?P<bare>[-+.\w]*))\s*(?P<end>,|\Z)",
            re.DOTALL,
        )

    def values(self, row: str) -> list[str | None] | None:
        """The values between a row's parentheses; None when one is no literal."""
        values: list[str | None] = []
        position = 0
        while True:
            match = self.value.match(row, position)
            if match is None:
                return None
            values.append(self._value(match))
            if not match["end"]:
                return values
            position = match.end()

    def _value(self, match: re.Match[str]) -> str | None:
        text = match["string"]
        if text is None:
            bare = match["bare"]
            return None if bare.upper() == "NULL" else bare
        escaped = self.escapes or text[0] in "eE" or (match["mark"] or "").strip() in ("E", "e")
        body = text[text.index("'") + 1 : -1]
        if escaped and "\\" in body:
            return _SQL_ESCAPE.sub(lambda m: "'" if m[1] is None else _SQL_ESCAPED.get(m[1], m[1]), body)
        return body.replace("''", "'")


_DIALECTS = {escapes: _RowPattern(escapes) for escapes in (False, True)}


class _Dump:
    """The state of reading one dump."""

    def __init__(self, table: str, buffer: RecordBuffer) -> None:
        self._table = table
        self._buffer = buffer
        self._mysql = False
        self._created: tuple[str, ...] = ()
        self.tables: dict[str, None] = {}
        self.found = False

    def read(self, lines: Iterator[tuple[int, str]]) -> Iterator[None]:
        """Go through the dump; yields after every row."""
        for number, line in lines:
            start = line.lstrip()[:8].upper()
            if start.startswith("COPY") and (match := _COPY.fullmatch(line)) is not None:
                yield from self._copy(match, lines)
            elif start.startswith(("INSERT", "REPLACE")) and (match := _INSERT.match(line)) is not None:
                yield from self._insert(match, number, line, lines)
            elif start.startswith("CREATE") and (match := _CREATE.match(line)) is not None:
                self._create(match, line, lines)
            elif "MySQL dump" in line or "MariaDB dump" in line:
                self._mysql = True

    def _wanted(self, table: str) -> bool:
        self.tables[".".join(_unquoted(match[0]) for match in re.finditer(_NAME, table))] = None
        wanted = _is_table(table, self._table)
        self.found = self.found or wanted
        return wanted

    def _columns(self, listed: str | None, width: int) -> tuple[str, ...]:
        """The columns of a statement's rows; a source's columns must not change on the way."""
        columns = _names(listed) if listed else self._created or tuple(str(i) for i in range(1, width + 1))
        if self._buffer.header is None:
            self._buffer.header = columns
        return columns

    def _row(self, number: int, columns: tuple[str, ...], values: list[str | None] | None, text: str) -> None:
        if values is None:
            self._buffer.reject(number, "a value that is no literal", text)
        elif len(values) != len(columns):
            self._buffer.reject(number, f"{len(values)} values instead of {len(columns)}", text)
        elif self._buffer.header is not None and not set(columns) <= set(self._buffer.header):
            self._buffer.reject(number, "a statement with other columns than the first one", text)
        else:
            self._buffer.add(number, dict(zip(columns, values, strict=True)))

    def _create(self, match: re.Match[str], line: str, lines: Iterator[tuple[int, str]]) -> None:
        wanted = self._wanted(match["table"])
        body = line[match.end() :]
        text = [body]
        while not body.rstrip().endswith(";") and len(text) < _ROW_LINES:
            _, body = next(lines, (0, ";"))
            text.append(body[:_ROW_LIMIT])
        if wanted:
            self._created = _created_columns("\n".join(text))

    def _copy(self, match: re.Match[str], lines: Iterator[tuple[int, str]]) -> Iterator[None]:
        wanted = self._wanted(match["table"])
        for number, line in lines:
            if line == "\\.":
                return
            if not wanted:
                continue
            values = copy_values(line) if len(line) <= MAX_LINE else None
            self._row(number, self._columns(match["columns"], len(values or ())), values, line)
            yield
        if wanted:
            raise raw.AdapterError(f"the dump ends within the rows of {self._table!r}: it is cut off")

    def _insert(self, match: re.Match[str], number: int, line: str, lines: Iterator[tuple[int, str]]) -> Iterator[None]:
        wanted = self._wanted(match["table"])
        dialect = _DIALECTS[self._mysql or match["table"].startswith("`")]
        text, position, started, waited = line, match.end(), number, 0
        while True:
            while position < len(text) and (text[position].isspace() or text[position] == ","):
                position += 1
            if position < len(text):
                row = dialect.row.match(text, position)
                if row is not None:
                    if wanted:
                        values = dialect.values(row[1])
                        self._row(started, self._columns(match["columns"], len(values or ())), values, row[0])
                        yield
                    position, waited, started = row.end(), 0, number
                    continue
                if text[position] == ";":
                    return
                if text[position : position + 6].upper() == "VALUES":
                    position += 6
                    continue
                if text[position] != "(":
                    if text.rstrip().endswith(";"):  # ON CONFLICT ... ;
                        return
                    position = len(text)
            waited += 1
            if waited > _ROW_LINES or len(text) - position > _ROW_LIMIT:
                if wanted:
                    self._buffer.reject(started, "a row without end", text[position:])
                    yield
                return
            following = next(lines, None)
            if following is None:
                if wanted:
                    raise raw.AdapterError(f"the dump ends within an INSERT into {self._table!r}: it is cut off")
                return
            if position >= len(text):
                text, started = following[1], following[0]
            else:
                text = f"{text[position:]}\n{following[1]}"
            number, position = following[0], 0


def _created_columns(body: str) -> tuple[str, ...]:
    """Column names of a CREATE TABLE, from after its opening parenthesis."""
    names: list[str] = []
    depth = 0
    at_start = True
    for token in re.finditer(rf"[(),;]|{_PLAIN_STRING}|{_NAME}|[^\s(),;'\"`\[]+", body):
        text = token[0]
        if text == "(":
            depth += 1
        elif text == ")":
            depth -= 1
            if depth < 0:
                break
        elif text == "," and depth == 0:
            at_start = True
            continue
        elif at_start and depth == 0 and _PART.fullmatch(text) and text.lower() not in _NO_COLUMN:
            names.append(_unquoted(text))
        at_start = False
    return tuple(names)


_STATEMENT = re.compile(
    r"\s*(?:INSERT\s+INTO|COPY\s+\S+.*FROM\s+stdin|CREATE\s+TABLE|BEGIN TRANSACTION)", re.IGNORECASE
)
_BEGINNINGS = ("-- PostgreSQL database dump", "-- MySQL dump", "-- MariaDB dump", "/*!40", "/*M!")


def identify(head: raw.Head) -> bool:
    """A dump program's first comment, or a statement that makes or fills a table."""
    lines = head.lines(200)
    return any(line.startswith(_BEGINNINGS) or _STATEMENT.match(line) for line in lines) and not any(
        "\0" in line for line in lines
    )


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    if options.table is None:
        raise raw.AdapterError(f"{path}: say whose rows, options = {{ table = ... }}, such as 'acc' or 'public.acc'")
    buffer = RecordBuffer(columns)
    dump = _Dump(options.table, buffer)

    def steps() -> Iterator[None]:
        try:
            yield from dump.read(read_lines(path, options.encoding))
        except raw.AdapterError as error:
            raise raw.AdapterError(str(error) if str(path) in str(error) else f"{path}: {error}") from None

    yield from batches(buffer, steps)
    if not dump.found:
        listed = ", ".join(sorted(dump.tables)) or "none"
        raise raw.AdapterError(f"{path} has no table {options.table!r}; it has: {listed}")
