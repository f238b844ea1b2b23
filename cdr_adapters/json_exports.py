"""Records in JSON as web APIs give them: one object a line, an array of objects, or pages that wrap such an array.

A page is an object in which one of a few names known beforehand (`value`, `calls`, `infoCdrs`) holds the records; pages
may follow each other in one file, pretty-printed or not. The text is read a piece at a time, so that memory holds a few
records, not the file. Numbers stay the text that they are, so that no digit is lost; a nested field is named by its
path (see `formats.jsonl`). A record's row is its number in the file, from 1: a page may stand on one line.

Refused: a record longer than `MAX_LINE` or nested too deeply, and what isn't JSON. Inside an array there is no way to
tell where the next record would begin: then the rest of the document is given up, in one reject that says so; between
records that stand on their own the next line is tried.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cdr_adapters import presets, raw
from cdr_adapters.formats import jsonl
from cdr_adapters.records import BATCH_ROWS, RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, read_text

_SPACE = re.compile(r"[ \t\r\n\x1e]*")
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_MAX_WRAPPERS = 4


class _BrokenError(ValueError):
    """The text is no JSON from here on."""


class _Text:
    """The part of a document that is in memory, and how far it was read; `line` is where that is, from 1."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._text = ""
        self._counted = 0
        self.at = 0
        self._line = 1

    @property
    def line(self) -> int:
        self._line += self._text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

    def more(self) -> bool:
        """Read on; False at the end."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._line = self.line
        self._text = self._text[self.at :] + piece
        self.at = self._counted = 0
        return True

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self._text):
                return self._text[self.at]
            if not self.more():
                return ""

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise _BrokenError
        self.at += 1

    def value(self) -> Any:
        """The value that begins here.

        Raises:
            _BrokenError: none does, it is too long, or nested too deeply.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self.at)
            except RecursionError:
                raise _BrokenError from None
            except ValueError:
                if len(self._text) - self.at > MAX_LINE or not self.more():
                    raise _BrokenError from None
                continue
            # a number may go on in the next piece
            if end == len(self._text) and self._text[-1] not in '"}]' and self.more():
                continue
            if end - self.at > MAX_LINE:
                raise _BrokenError
            self.at = end
            return value

    def value_in_memory(self) -> Any:
        """The value that begins here, when all of it has been read already; None when it hasn't, or is none."""
        try:
            value, end = _DECODER.raw_decode(self._text, self.at)
        except (ValueError, RecursionError):
            return None
        if end - self.at > MAX_LINE:
            return None
        self.at = end
        return value

    def skip_line(self) -> str:
        """Go to the next line; the beginning of what was passed over."""
        passed = self._text[self.at : self.at + RAW_LIMIT]
        while True:
            end = self._text.find("\n", self.at)
            if end >= 0:
                self.at = end + 1
                break
            self.at = len(self._text)
            if not self.more():
                break
            passed = passed or self._text[:RAW_LIMIT]
        return passed.partition("\n")[0]

    @property
    def beginning(self) -> str:
        return self._text[self.at : self.at + RAW_LIMIT]


@dataclass(frozen=True, slots=True)
class _Found:
    """A record, or what stood in its place."""

    record: dict[str, Any] | None
    detail: str = ""
    text: str = ""


def _records(pieces: Iterable[str], lists: frozenset[str]) -> Iterator[_Found]:
    """Every record of a document, in order."""
    text = _Text(pieces)
    while start := text.peek():
        line = text.line
        try:
            if start == "[":
                yield from _elements(text)
            elif start == "{":
                yield from _object(text, lists, 0)
            else:
                yield _Found(None, "not a JSON object", text.skip_line())
        except _BrokenError:
            if text.line > line:
                yield _Found(None, "not JSON, or cut off: what follows in the file is not read", text.beginning)
                return
            # a record that stands on its own: the next may be good
            yield _Found(None, "not JSON, or nested too deeply, or too long", text.skip_line())


def _element(value: object) -> _Found:
    return _Found(value) if isinstance(value, dict) else _Found(None, "not a JSON object", str(value)[:RAW_LIMIT])


def _elements(text: _Text) -> Iterator[_Found]:
    text.take("[")
    while text.peek() != "]":
        yield _element(text.value())
        if text.peek() != "]":
            text.take(",")
    text.take("]")


def _inside(value: dict[str, Any], lists: frozenset[str], depth: int) -> Iterator[_Found]:
    """The records of a page that was read whole; of a record itself, that one."""
    inner = next((value[name] for name in value if name in lists and isinstance(value[name], (list, dict))), None)
    if isinstance(inner, list):
        return map(_element, inner)
    if isinstance(inner, dict) and depth < _MAX_WRAPPERS:
        return _inside(inner, lists, depth + 1)
    return iter((_Found(value),))


def _object(text: _Text, lists: frozenset[str], depth: int) -> Iterator[_Found]:
    """A record, or a page with records in it, which come while it is read."""
    if depth == 0 and (whole := text.value_in_memory()) is not None:
        yield from _inside(whole, lists, 0)
        return
    text.take("{")
    fields: dict[str, Any] = {}
    is_page = False
    while text.peek() != "}":
        name = text.value()
        if not isinstance(name, str):
            raise _BrokenError
        text.take(":")
        start = text.peek()
        if name in lists and start == "[":
            is_page = True
            yield from _elements(text)
        elif name in lists and start == "{" and depth < _MAX_WRAPPERS:
            is_page = True
            yield from _object(text, lists, depth + 1)
        else:
            fields[name] = text.value()
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if not is_page:
        yield _Found(fields)


def _decoded(blocks: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for block in blocks:
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


@dataclass(frozen=True)
class JsonExport:
    """Records of an API that their fields give away.

    Attributes:
        signature: fields that every record has; of several spellings of one name, one.
        lists: names under which a page holds its records.
        known: the format's columns under their stable names.
        refused: fields that show that the file holds something else, and what: as in `presets.Headed`.
    """

    signature: Sequence[str | tuple[str, ...]]
    lists: Sequence[str] = ()
    known: Sequence[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    def identify(self, head: raw.Head) -> bool:
        """The first record has the fields of this format."""
        data = head.data.decode("utf-8-sig", "replace")
        if data.lstrip()[:1] not in ("{", "["):
            return False
        first = next(_records(iter((data,)), frozenset(self.lists)), None)
        if first is None or first.record is None:
            return False
        return presets.Headed(self.signature).fits(list(first.record))

    def read(self, path: Path, options: presets.Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        """See `raw.ReaderModule.read`."""
        gathered = _Gathered(
            columns,
            {presets.fold(name): name for name in reversed(self.known)},
            {presets.fold(name): f"{path}: a record has {name}: {why}" for name, why in self.refused.items()},
        )
        pieces = _decoded(read_text(path, options.encoding))
        for number, found in enumerate(_records(pieces, frozenset(self.lists)), 1):
            if found.record is None:
                gathered.rejected.append(Rejected(number, RejectReason.MALFORMED_ROW, found.detail, found.text))
            else:
                gathered.add(number, found.record)
            if gathered.full:
                yield gathered.take()
        yield gathered.take()


class _Gathered:
    """Records until there are enough for a batch."""

    def __init__(self, columns: frozenset[str] | None, known: dict[str, str], refused: dict[str, str]) -> None:
        self._columns = columns
        self._known = known
        self._refused = refused
        self._plans: dict[tuple[str, ...], dict[str, str]] = {}
        self._records: list[dict[str, str | None]] = []
        self._rows: list[int] = []
        self.rejected: list[Rejected] = []

    def add(self, number: int, record: dict[str, Any]) -> None:
        keys = tuple(record)
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._plan(record)
            if len(self._plans) < 1000:
                self._plans[keys] = plan
        if self._columns is None:
            leaves = jsonl.fields_of(record, None)
            self._records.append({plan.get(name, name): value for name, value in leaves.items()})
        else:
            paths = jsonl.fields_of(record, frozenset(plan.values()))
            self._records.append({name: paths[path] for name, path in plan.items()})
        self._rows.append(number)

    def _plan(self, record: dict[str, Any]) -> dict[str, str]:
        """For wanted columns: where each is in such a record; for all columns: the stable name of each field."""
        for name in record:
            if (reason := self._refused.get(presets.fold(name))) is not None:
                raise raw.AdapterError(reason)
        if self._columns is None:
            return {name: self._known.get(presets.fold(name), name) for name in record}
        at = {presets.fold(name): name for name in reversed(record)}
        return {name: name if name in record else at.get(presets.fold(name), name) for name in self._columns}

    @property
    def full(self) -> bool:
        return len(self._records) >= BATCH_ROWS or len(self.rejected) >= BATCH_ROWS

    def take(self) -> raw.RawBatch:
        names = (
            list(dict.fromkeys(name for record in self._records for name in record))
            if self._columns is None
            else sorted(self._columns)
        )
        columns: dict[str, list[str | None] | pa.Array] = {
            name: [record.get(name) for record in self._records] for name in names
        }
        batch = raw.RawBatch(
            raw.string_batch(columns, len(self._rows)), pa.array(self._rows, pa.int64()), tuple(self.rejected)
        )
        self._records, self._rows, self.rejected = [], [], []
        return batch


@dataclass(frozen=True)
class Either:
    """A format that comes as a table with a header and as JSON; a file's first character shows which one it is."""

    table: presets.Headed
    json: JsonExport

    def identify(self, head: raw.Head) -> bool:
        """One of the two claims the file."""
        return self.json.identify(head) or self.table.identify(head)

    def read(self, path: Path, options: presets.Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        """See `raw.ReaderModule.read`."""
        is_json = _first_character(path, options.encoding) in ("{", "[")
        return (self.json if is_json else self.table).read(path, options, columns)


def _first_character(path: Path, encoding: str) -> str:
    for block in read_text(path, encoding):
        if text := block.decode("utf-8", "replace").lstrip():
            return text[0]
    return ""
