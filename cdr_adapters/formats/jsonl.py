"""JSON lines: one object a line.

A column of a nested object is named by its path, `variables.sip_req_user`, an element of an array by its index,
`callflow.0.destination`. Numbers stay the text that they are in the file, so that no digit is lost. What stands before
the object, such as a syslog header, is passed over; a line without an object is rejected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdr_adapters import raw
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines

SUMMARY = "JSON lines: one object a line, nested fields by their path, also behind a syslog header"
GRADE = raw.Grade.GENERIC

_MAX_DEPTH = 16


class Options(raw.Options):
    """Options of JSON lines."""

    encoding: Encoding = "utf-8"


class JsonRecordError(ValueError):
    """A text is no JSON object."""


def parse_object(text: str) -> dict[str, Any]:
    """The object in `text`, its numbers as text.

    Raises:
        JsonRecordError: it is no object, or nested too deeply.
    """
    try:
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise JsonRecordError("not JSON") from None
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


def identify(head: raw.Head) -> bool:
    """Every line begins an object, and the first one is whole and valid."""
    lines = head.lines()
    if not lines or not all(line.lstrip().startswith("{") for line in lines):
        return False
    try:
        parse_object(lines[0])
    except JsonRecordError:
        return False
    return True


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    buffer = RecordBuffer(columns)

    def steps() -> Iterator[None]:
        for number, line in read_lines(path, options.encoding):
            if not line or line.isspace():
                continue
            if len(line) > MAX_LINE:
                buffer.reject(number, "the line is too long", line)
            else:
                try:
                    buffer.add(number, fields_of(parse_object(line[max(line.find("{"), 0) :]), columns))
                except JsonRecordError as error:
                    buffer.reject(number, str(error), line)
            yield

    return batches(buffer, steps)
