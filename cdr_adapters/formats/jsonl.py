"""JSON: one object a line, an array of objects, objects written over several lines, or pages with an array of objects.

A column of a nested object is named by its path, `variables.sip_req_user`, an element of an array by its index,
`callflow.0.destination`. Numbers stay the text that they are in the file, so that no digit is lost.

Lines: what stands before the object, such as a syslog header, is passed over; a line without an object is rejected; a
record's row is its line. Where the first line is no whole object but the file begins with one, or with an array, it is
a document, as with the option `records`, which says where pages hold theirs; there a record's row is its place, from 1.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.json_documents import Broken, records, scan
from cdr_adapters.records import BATCH_ROWS, RAW_LIMIT, columns_of_records
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding, read_head, read_lines, read_text

SUMMARY = "JSON: an object a line (also behind a syslog header), an array or pages of objects; fields by their path"
GRADE = raw.Grade.GENERIC

_MAX_DEPTH = 16
_BATCH_SIZE = 16 << 20
_SPACE = " \t\r\n"


class Options(raw.Options):
    """Options of JSON.

    `records`: the path of the array that holds the records, such as `value` or `data.calls`, when they lie in one.
    """

    records: Annotated[str, Field(pattern=r"^[^.]+(\.[^.]+)*$")] | None = None
    encoding: Encoding = "utf-8"


class JsonRecordError(ValueError):
    """A text is no JSON object."""


def parse_object(text: str) -> dict[str, Any]:
    """The object in `text`, its numbers as text.

    Raises:
        JsonRecordError: it is no object, or nested too deeply.
    """
    try:
        value, end = scan(text, len(text) - len(text.lstrip(_SPACE)))
    except (ValueError, StopIteration, RecursionError):
        raise JsonRecordError("not JSON") from None
    if end != len(text) and text[end:].strip(_SPACE):
        raise JsonRecordError("not JSON")
    if not isinstance(value, dict):
        raise JsonRecordError("not a JSON object")
    return value


def text_of(value: object) -> str | None:
    """A JSON leaf as text; None for null, objects and arrays."""
    if isinstance(value, bool):
        return "true" if value else "false"
    # a lone surrogate (\ud800) is valid JSON and no text
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


def _at(value: object, path: str) -> object:
    """The value at a dotted path; a key that holds dots itself wins over the path."""
    if isinstance(value, dict):
        if path in value:
            return value[path]
        key, _, rest = path.partition(".")
        return _at(value[key], rest) if rest and key in value else None
    if isinstance(value, list):
        index, _, rest = path.partition(".")
        if index.isdecimal() and len(index) < 5 and int(index) < len(value):
            return _at(value[int(index)], rest) if rest else value[int(index)]
    return None


def _leaves(value: object, path: str, depth: int, into: dict[str, str | None]) -> None:
    if isinstance(value, dict):
        inner: list[tuple[str, object]] = list(value.items())
    elif isinstance(value, list):
        inner = [(str(index), item) for index, item in enumerate(value)]
    else:
        into[path] = text_of(value)
        return
    if depth < _MAX_DEPTH:
        for key, item in inner:
            name = key.encode("utf-8", "replace").decode("utf-8")
            _leaves(item, f"{path}.{name}" if path else name, depth + 1, into)


def fields_of(record: dict[str, Any], columns: frozenset[str] | None) -> dict[str, str | None]:
    """The wanted fields of an object by path; all its leaves when `columns` is None."""
    if columns is not None:
        return {name: text_of(_at(record, name)) for name in columns}
    leaves: dict[str, str | None] = {}
    _leaves(record, "", 0, leaves)
    return leaves


class _Gathered:
    """Objects until there are enough for a batch."""

    def __init__(self, columns: frozenset[str] | None) -> None:
        self._columns = columns
        self._objects: list[dict[str, Any]] = []
        self._rows: list[int] = []
        self._rejected: list[Rejected] = []
        self._size = 0

    def add(self, row: int, record: dict[str, Any], size: int) -> None:
        self._rows.append(row)
        self._objects.append(record)
        self._size += size

    def reject(self, row: int, detail: str, text: str) -> None:
        self._rejected.append(Rejected(row, RejectReason.MALFORMED_ROW, detail, text[:RAW_LIMIT]))

    @property
    def full(self) -> bool:
        return len(self._rows) >= BATCH_ROWS or len(self._rejected) >= BATCH_ROWS or self._size >= _BATCH_SIZE

    def take(self) -> raw.RawBatch:
        if self._columns is None:
            leaves = [fields_of(record, None) for record in self._objects]
            columns = columns_of_records(leaves, list(dict.fromkeys(name for record in leaves for name in record)))
        else:
            columns = _columns(self._objects, sorted(self._columns))
        batch = raw.RawBatch(
            raw.string_batch(columns, len(self._rows)), pa.array(self._rows, pa.int64()), tuple(self._rejected)
        )
        self._objects, self._rows, self._rejected, self._size = [], [], [], 0
        return batch


def _columns(objects: list[dict[str, Any]], names: list[str]) -> dict[str, list[str | None] | pa.Array]:
    """The wanted columns; by pyarrow where they are texts of the outermost object, as they mostly are."""
    plain = [name for name in names if "." not in name]
    columns: dict[str, list[str | None] | pa.Array] = {}
    try:
        columns.update(columns_of_records(objects, plain))
    except (pa.ArrowException, UnicodeEncodeError):
        columns.update({name: [text_of(record.get(name)) for record in objects] for name in plain})
    for name in names:
        if name not in columns:
            columns[name] = [text_of(_at(record, name)) for record in objects]
    return columns


def identify(head: raw.Head) -> bool:
    """Every line begins an object, and the first one is whole and valid; or a document begins with a valid object."""
    lines = head.lines()
    if lines and all(line.lstrip().startswith("{") for line in lines):
        try:
            parse_object(lines[0])
        except JsonRecordError:
            pass
        else:
            return True
    first = _first_of_document(head)
    return first is not None and isinstance(first, dict)


def _first_of_document(head: raw.Head) -> dict[str, Any] | Broken | None:
    """The first record of a file that is an array, or objects over several lines; None when it is neither."""
    text = head.data.decode("utf-8-sig", "replace").lstrip(_SPACE)
    if text[:1] == "[":
        return next(records((text,)), None)
    if text[:1] == "{":
        try:
            record, end = scan(text, 0)
        except (ValueError, StopIteration, RecursionError):
            return None
        return record if "\n" in text[:end] else None
    return None


def _is_document(head: raw.Head) -> bool:
    """Whether a file without the option `records` is to be read as a document and not by its lines."""
    lines = head.lines(1)
    if not lines:
        return False
    try:
        parse_object(lines[0])
    except JsonRecordError:
        return isinstance(_first_of_document(head), dict)
    return False


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    gathered = _Gathered(columns)
    if options.records is not None:
        parts = options.records.split(".")
        return _read_document(records(_decoded(path, options), parts), gathered, path, options)
    if _is_document(read_head(path)):
        return _read_document(records(_decoded(path, options)), gathered, path, options)
    return _read_lines(path, options, gathered)


def _decoded(path: Path, options: Options) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for block in read_text(path, options.encoding):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _read_document(
    found: Iterable[dict[str, Any] | Broken], gathered: _Gathered, path: Path, options: Options
) -> Iterator[raw.RawBatch]:
    number = 0
    for number, record in enumerate(found, 1):
        if isinstance(record, Broken):
            gathered.reject(number, record.detail, record.text)
        else:
            gathered.add(number, record, 0)
        if gathered.full:
            yield gathered.take()
    if number == 0 and options.records is not None:
        raise raw.AdapterError(f"{path}: there is no array with anything in it at {options.records!r}")
    yield gathered.take()


def _read_lines(path: Path, options: Options, gathered: _Gathered) -> Iterator[raw.RawBatch]:
    for number, line in read_lines(path, options.encoding):
        size = len(line)
        if size > MAX_LINE:
            gathered.reject(number, "the line is too long", line)
            continue
        try:
            record, end = scan(line, 0 if line[:1] == "{" else max(line.find("{"), 0))
        except (ValueError, StopIteration, RecursionError):
            if line and not line.isspace():
                gathered.reject(number, "not JSON", line)
        else:
            if not isinstance(record, dict):
                gathered.reject(number, "not a JSON object", line)
            elif end != size and line[end:].strip(_SPACE):
                gathered.reject(number, "not JSON", line)
            else:
                gathered.add(number, record, size)
        if gathered.full:
            yield gathered.take()
    yield gathered.take()
