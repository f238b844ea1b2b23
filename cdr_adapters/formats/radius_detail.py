"""RADIUS accounting as FreeRADIUS writes it to a detail file.

A record is a line with the date (column `header`: the server's local time), lines `Attribute = value`, and an empty
line. Columns are the attributes; one that occurs several times holds its values one a line. Strings lose their quotes
and escapes. A record with a line that is no attribute, or without an attribute, is rejected whole. After FreeRADIUS 3.2
(rlm_detail); RFC 2866.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.records import RAW_LIMIT, RecordBuffer, batches
from cdr_adapters.stream import Encoding, read_lines

SUMMARY = "RADIUS accounting detail files (FreeRADIUS)"
GRADE = raw.Grade.REAL_FILES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_ATTRIBUTE = re.compile(rf"\s+(?P<name>{_NAME.pattern}) (?:[:+]?=) (?P<value>.*)", re.ASCII)
_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_MAX_ATTRIBUTES = 2000


class Options(raw.Options):
    """Options of detail files."""

    encoding: Encoding = "utf-8"


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code, 8)) if len(code) == 3 else _ESCAPED.get(code, code)


def value_of(text: str) -> str | None:
    """An attribute's value without quotes and escapes; None when its closing quote is missing."""
    quote = text[:1]
    if quote not in ('"', "'"):
        return text
    if len(text) < 2 or text[-1] != quote:
        return None
    body = text[1:-1]
    return _ESCAPE.sub(_unescape, body) if "\\" in body else body


@lru_cache(maxsize=4096)
def _name(key: str) -> str | None:
    """The attribute's name in what stands before the equals sign; names are few, and the same in every record."""
    return key.lstrip() if key[:1].isspace() and _NAME.fullmatch(key.lstrip()) else None


class _Record:
    """One record while its lines come in."""

    def __init__(self, number: int, header: str) -> None:
        self.number = number
        self.fields: dict[str, str | None] = {"header": header.strip()}
        self.problem = ""
        self._lines = [header]
        self._size = len(header)

    def add(self, line: str) -> None:
        if self._size < RAW_LIMIT:
            self._lines.append(line)
            self._size += len(line)
        key, equals, text = line.partition(" = ")
        name = _name(key)
        if name is None or not equals:  # another operator, or no attribute
            match = _ATTRIBUTE.fullmatch(line)
            name, text = (match["name"], match["value"]) if match else (None, "")
        value = value_of(text)
        if name is None or value is None:
            self.problem = self.problem or "a line that is no attribute"
        elif len(self.fields) > _MAX_ATTRIBUTES:
            self.problem = self.problem or "too many attributes"
        else:
            before = self.fields.get(name)
            # every further value makes a new string: the limit keeps a hostile record from costing its square
            if before is not None and len(before) > RAW_LIMIT:
                self.problem = self.problem or "too many values of one attribute"
            else:
                self.fields[name] = value if before is None else f"{before}\n{value}"

    @property
    def raw(self) -> str:
        return "\n".join(self._lines)

    def finish(self, buffer: RecordBuffer) -> None:
        if len(self.fields) < 2 and not self.problem:
            self.problem = "no attributes"
        if self.problem:
            buffer.reject(self.number, self.problem, self.raw)
        else:
            buffer.add(self.number, self.fields)


def identify(head: raw.Head) -> bool:
    """A line at the margin, then attributes, among them one that every accounting record has (RFC 2866 5.1)."""
    lines = head.lines(200)
    if len(lines) < 2 or lines[0][:1].isspace():
        return False
    first = lines[1 : next((i for i, line in enumerate(lines[1:], 1) if not line[:1].isspace()), len(lines))]
    names = {match["name"] for line in first if (match := _ATTRIBUTE.fullmatch(line))}
    return len(first) == sum(1 for line in first if _ATTRIBUTE.fullmatch(line)) and bool(
        names & {"Acct-Status-Type", "Acct-Session-Id"}
    )


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    buffer = RecordBuffer(columns)

    def steps() -> Iterator[None]:
        record: _Record | None = None
        for number, line in read_lines(path, options.encoding):
            if not line or line.isspace():
                if record is not None:
                    record.finish(buffer)
                    record = None
                    yield
            elif record is None:
                record = _Record(number, line)
                if line[0].isspace():
                    record.problem = "attributes without the line with the date before them"
            else:
                record.add(line)
        if record is not None:
            record.finish(buffer)
            yield

    return batches(buffer, steps)
