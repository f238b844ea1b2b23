"""BroadWorks call detail records in XML: `cdrData` elements, whole files and those still being written.

Each `cdrData` is a record; one that the file breaks off in is a reject, and those before it are calls. Columns are
named as in CSV (see `broadworks_csv`): an element of a module by its own name (`calledNumber`, `route`), one of a
service or a list with that one's name before it (`conference.startTime`); the first value of a name counts. Only
records of calls are records (Normal, Long Duration, Interim); Start, End and Failover are skipped. Columns that say
which side a value is of are put together as for CSV, see `_broadworks`. Times are GMT.

A file that declares entities is refused. After the 'BroadWorks Accounting Call Detail Record Interface Specification';
tested on a file of release 19.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.formats import _broadworks
from cdr_adapters.formats._broadworks import CALLS, MARKS, NEEDED
from cdr_adapters.formats._xml_records import Element, Torn, xml_records
from cdr_adapters.records import RecordBuffer
from cdr_adapters.stream import Encoding

SUMMARY = "BroadWorks CDRs in XML, truncated files too"
GRADE = raw.Grade.REAL_FILES
COLUMNS = _broadworks.COLUMNS
ZONE = _broadworks.ZONE

_TIME = re.compile(r"[0-9]{14}(?:\.[0-9]{1,3})?", re.ASCII)


class Options(raw.Options):
    """Options of BroadWorks XML. `encoding` counts for more than what the file declares."""

    encoding: Encoding | None = None


def _fields(record: Element) -> dict[str, str | None]:
    """A record's values by column name."""
    fields: dict[str, str | None] = {}
    for module in record.children:
        stack = [(module, "")]
        while stack:
            element, prefix = stack.pop()
            if not element.children:
                fields.setdefault(f"{prefix}{element.name}", element.text.strip())
            inside = "" if element.name.endswith("Module") else f"{element.name}."
            stack += [(child, inside) for child in reversed(element.children)]
    return fields


def identify(head: raw.Head) -> bool:
    """The root element, and nothing but a declaration and comments before it."""
    text = head.data[:4096].decode("utf-16" if head.data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1", "replace")
    return re.match(r"\ufeff?(?:ï»¿)?\s*(?:<[?!][^>]*>\s*){0,9}<broadWorksCDR[\s>]", text) is not None


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    buffer = RecordBuffer(None if columns is None else columns | NEEDED)
    for found in xml_records(path, "cdrData", options.encoding):
        if isinstance(found, Torn):
            buffer.reject(found.line, found.detail, found.raw)
            continue
        line, record = found
        fields = _fields(record)
        kind = fields.get("type")
        if kind in MARKS:
            buffer.skip()
        elif kind not in CALLS:
            buffer.reject(line, "no type of record (Normal, Long Duration, Interim)", "")
        elif _TIME.fullmatch(fields.get("startTime") or "") is None:
            buffer.reject(line, "no start time", "")
        else:
            buffer.add(line, fields)
        if buffer.full:
            yield _with_sides(buffer.take(), columns)
    yield _with_sides(buffer.take(), columns)


def _with_sides(batch: raw.RawBatch, columns: frozenset[str] | None) -> raw.RawBatch:
    table = dict(zip(batch.columns.schema.names, batch.columns.columns, strict=True))
    table |= _broadworks.derived(table, batch.columns.num_rows)
    shown = {name: values for name, values in table.items() if columns is None or name in columns}
    return replace(batch, columns=raw.string_batch(shown, batch.columns.num_rows))
