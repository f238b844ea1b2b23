"""SQL dumps: the COPY blocks and INSERT statements of pg_dump, the INSERT statements of mysqldump and of sqlite3 .dump.

The option `table` says whose rows, with or without its schema. Column names come from the COPY or INSERT statement,
else from CREATE TABLE. A row is known by the number of the line on which it begins. Backslashes in strings are escapes
in COPY blocks, in strings marked E and in dumps of MySQL; elsewhere they are backslashes. Everything else in the dump
is left unread; nothing is executed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.stream import MAX_LINE, Encoding, read_text

SUMMARY = "SQL dumps: COPY and INSERT of PostgreSQL, MySQL/MariaDB and SQLite"
GRADE = raw.Grade.GENERIC

_ROW_LIMIT = 1 << 18
_ROW_LINES = 1000
_UTF8_LONGEST = 4

_NAME = r"(?:[A-Za-z_][\w$]*|\"[^\"]{1,255}\"|`[^`]{1,255}`|\[[^\]]{1,255}\])"
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


def copy_value(text: str) -> str | None:
    """One value of a line of a COPY block."""
    if text == "\\N":
        return None
    return _COPY_ESCAPE.sub(_copy_unescape, text) if "\\" in text else text


class _Rows:
    """How rows of one list of columns become values of the wanted columns.

    Attributes:
        width: how many values a row has.
        is_foreign: whether a column isn't among those of the first statement.
        pick: takes the wanted ones out of a row's values; null for one that the statement doesn't have.
        plain: a row of numbers, NULL and strings without escapes, as nearly all are, which `plain_values` can take;
            what doesn't fit is left to `_RowPattern`, which knows everything.
    """

    _MOST = 200

    def __init__(self, columns: tuple[str, ...], header: tuple[str, ...], wanted: tuple[str, ...]) -> None:
        self.width = len(columns)
        self.is_foreign = not set(columns) <= set(header)
        at = [columns.index(name) if name in columns else None for name in wanted]
        known = [index for index in at if index is not None]
        self.pick: Callable[[Sequence[str | None]], Sequence[str | None]] = (
            itemgetter(*known)
            if len(known) == len(at) > 1
            else lambda values: [None if index is None else values[index] for index in at]
        )
        values = [_PLAIN_VALUE if index in known else _PLAIN_VALUE_UNREAD for index in range(self.width)]
        fits = known == sorted(set(known)) and len(known) == len(at) and 0 < self.width <= self._MOST
        self.plain = re.compile(rf"[\s,]*+(\({','.join(values)}\))") if fits and not self.is_foreign else _NEVER

    @staticmethod
    def plain_values(match: re.Match[str]) -> list[str | None]:
        """The wanted values of a row that fits `plain`."""
        pieces = iter(match.groups()[1:])
        return [
            text if text is not None else None if bare in ("NULL", "null") else bare
            for text, bare in zip(pieces, pieces, strict=True)
        ]


_NEVER = re.compile(r"(?!)")
_PLAIN_VALUE = r"\s*+(?:'([^'\\]*+)'(?!')|([-+.\w]*+))\s*+"
_PLAIN_VALUE_UNREAD = r"\s*+(?:'[^'\\]*+'(?!')|[-+.\w]*+)\s*+"


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


class _Lines:
    """The dump's lines with their numbers. One that is longer than `MAX_LINE` comes cut; its rest can be asked for."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._pieces = self._cut(read_text(path, encoding))
        self._next = next(self._pieces, None)

    @staticmethod
    def _cut(blocks: Iterator[bytes]) -> Iterator[tuple[int, str, bool]]:
        """Pieces with the number of their line, and whether they go on with the line of the piece before."""
        number, rest, goes_on = 1, b"", False
        for block in blocks:
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield number, line.removesuffix(b"\r").decode("utf-8", "replace"), goes_on
                number, goes_on = number + 1, False
            if len(rest) > MAX_LINE:
                keep = len(rest) - _UTF8_LONGEST  # a character may be cut in two
                yield number, rest[:keep].decode("utf-8", "replace"), goes_on
                rest, goes_on = rest[keep:], True
        if rest or goes_on:
            yield number, rest.decode("utf-8", "replace"), goes_on

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return self

    def __next__(self) -> tuple[int, str]:
        while self._next is not None and self._next[2]:
            self._next = next(self._pieces, None)
        if self._next is None:
            raise StopIteration
        number, line, _ = self._next
        self._next = next(self._pieces, None)
        return number, line

    def rest(self) -> str | None:
        """More of the line that came last; None when that is all of it."""
        if self._next is None or not self._next[2]:
            return None
        _, piece, _ = self._next
        self._next = next(self._pieces, None)
        return piece


class _Dump:
    """The state of reading one dump."""

    def __init__(self, table: str, buffer: RecordBuffer) -> None:
        self._table = table
        self._buffer = buffer
        self._mysql = False
        self._created: tuple[str, ...] = ()
        self._known: dict[tuple[str, ...], _Rows] = {}
        self.tables: dict[str, None] = {}
        self.found = False

    def read(self, lines: _Lines) -> Iterator[None]:
        """Go through the dump; yields whenever the buffer is full."""
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

    def _rows(self, listed: str | None, width: int) -> _Rows:
        """How to take a statement's rows; a source's columns must not change on the way."""
        columns = _names(listed) if listed else self._created or tuple(str(i) for i in range(1, width + 1))
        if self._buffer.header is None:
            self._buffer.header = columns
        if columns not in self._known:
            self._known[columns] = _Rows(columns, self._buffer.header, self._buffer.wanted)
        return self._known[columns]

    def _reject(self, number: int, rows: _Rows, width: int, text: str) -> None:
        detail = "a statement with other columns than the first one"
        if width != rows.width:
            detail = f"{width} values instead of {rows.width}"
        self._buffer.reject(number, detail, text)

    def _row(self, number: int, rows: _Rows, values: list[str | None] | None, text: str) -> None:
        if values is None:
            self._buffer.reject(number, "a value that is no literal", text)
        elif len(values) != rows.width or rows.is_foreign:
            self._reject(number, rows, len(values), text)
        else:
            self._buffer.add_values(number, rows.pick(values))

    def _create(self, match: re.Match[str], line: str, lines: _Lines) -> None:
        wanted = self._wanted(match["table"])
        body = line[match.end() :]
        text = [body]
        while not body.rstrip().endswith(";") and len(text) < _ROW_LINES:
            _, body = next(lines, (0, ";"))
            text.append(body[:_ROW_LIMIT])
        if wanted:
            self._created = _created_columns("\n".join(text))

    def _copy(self, match: re.Match[str], lines: _Lines) -> Iterator[None]:
        wanted = self._wanted(match["table"])
        buffer = self._buffer
        rows: _Rows | None = None
        for number, line in lines:
            if line == "\\.":
                return
            if not wanted:
                continue
            values: list[str] = line.split("\t")
            rows = rows or self._rows(match["columns"], len(values))
            if len(line) > MAX_LINE:
                buffer.reject(number, "the line is too long", line)
            elif len(values) != rows.width or rows.is_foreign:
                self._reject(number, rows, len(values), line)
            elif "\\" in line:
                buffer.add_values(number, [None if text is None else copy_value(text) for text in rows.pick(values)])
            else:
                buffer.add_values(number, rows.pick(values))
            if buffer.full:
                yield
        if wanted:
            raise raw.AdapterError(f"the dump ends within the rows of {self._table!r}: it is cut off")

    def _insert(self, match: re.Match[str], number: int, line: str, lines: _Lines) -> Iterator[None]:
        wanted = self._wanted(match["table"])
        dialect = _DIALECTS[self._mysql or match["table"].startswith("`")]
        buffer = self._buffer
        rows: _Rows | None = None
        text, position, started, waited = line, match.end(), number, 0
        while True:
            while rows is not None and (plain := rows.plain.match(text, position)) is not None:
                buffer.add_values(started, rows.plain_values(plain))
                position, waited, started = plain.end(), 0, number
                if buffer.full:
                    yield
            while position < len(text) and (text[position].isspace() or text[position] == ","):
                position += 1
            if position < len(text):
                row = dialect.row.match(text, position)
                if row is not None:
                    if wanted:
                        values = dialect.values(row[1])
                        rows = rows or self._rows(match["columns"], len(values or ()))
                        self._row(started, rows, values, row[0])
                        if buffer.full:
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
                    buffer.reject(started, "a row without end", text[position:])
                return
            if (more := lines.rest()) is not None:
                text, position = text[position:] + more, 0
                continue
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
            yield from dump.read(_Lines(path, options.encoding))
        except raw.AdapterError as error:
            raise raw.AdapterError(str(error) if str(path) in str(error) else f"{path}: {error}") from None

    yield from batches(buffer, steps)
    if not dump.found:
        listed = ", ".join(sorted(dump.tables)) or "none"
        raise raw.AdapterError(f"{path} has no table {options.table!r}; it has: {listed}")
