"""XML billing records of Metaswitch Perimeta, and of its twin in Cisco routers, CUBE (SP).

A `call` element is a record; one that the file breaks off in is a reject, and those before it are calls. Columns are
named by element and attribute: `call.starttime`, `party.orig.phone`, `adjacency.term.name`, `connect.time`. Of an
attribute that comes twice with different values (a call that was routed on has several far adjacencies) none counts.
The upstream is the adjacency of type orig; signalling addresses aren't recorded. `outcome` says only what the record
does: a call that was connected was answered. Times are milliseconds (or seconds) since 1970, UTC.

A file that declares entities is refused. After the appendix 'XML Billing Schema' of the Cisco Unified Border Element
(SP Edition) configuration guide; tried on files built after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdr_adapters import raw
from cdr_adapters.formats._xml_records import Element, Torn, xml_records
from cdr_adapters.records import RecordBuffer
from cdr_adapters.stream import Encoding

SUMMARY = "Metaswitch Perimeta and Cisco CUBE (SP) XML billing records"
GRADE = raw.Grade.DOCUMENTATION

_TIME = ["epoch_ms", "epoch_s"]
COLUMNS: dict[str, Any] = {
    "called_in": "party.term.phone",
    "called_out": "party.term.editphone",
    "calling": ["party.orig.phone", "party.orig.editphone"],
    "seizure": {"column": "call.starttime", "format": _TIME},
    "answer": {"column": "connect.time", "format": _TIME},
    "release": {"column": ["call.endtime", "disconnect.time", "release.time"], "format": _TIME},
    "ingress_trunk": ["adjacency.orig.name", "adjacency.orig.account"],
    "egress_trunk": ["adjacency.term.name", "adjacency.term.account"],
    "call_id": ["call.billingid", "call.id"],
    "disposition": "outcome",
}


class Options(raw.Options):
    """Options of XML billing records. `encoding` counts for more than what the file declares."""

    encoding: Encoding | None = None


def _fields(call: Element) -> dict[str, str | None]:
    """A record's values by column name."""
    fields: dict[str, str | None] = {f"call.{name}": value for name, value in call.attributes.items()}
    for element in call.children:
        attributes = dict(element.attributes)
        side = attributes.pop("type", "").strip().lower()
        name = f"{element.name}.{side}" if side else element.name
        for attribute, value in attributes.items():
            key = f"{name}.{attribute}"
            fields[key] = value if fields.get(key, value) == value else None
        if element.text.strip() and not element.children:
            fields.setdefault(name, element.text.strip())
    fields["outcome"] = "answered" if (fields.get("connect.time") or "").strip("0 ") else None
    return fields


def identify(head: raw.Head) -> bool:
    """The root element, with its calls."""
    text = head.data[:4096].decode("utf-16" if head.data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1", "replace")
    return re.match(r"\ufeff?(?:ï»¿)?\s*(?:<[?!][^>]*>\s*){0,9}<(?:\w{1,20}:)?recordfile[\s>]", text) is not None


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    buffer = RecordBuffer(columns)
    for found in xml_records(path, "call", options.encoding):
        if isinstance(found, Torn):
            buffer.reject(found.line, found.detail, found.raw)
        elif "starttime" not in found[1].attributes:
            buffer.reject(found[0], "a call without a start time", "")
        else:
            buffer.add(found[0], _fields(found[1]))
        if buffer.full:
            yield buffer.take()
    yield buffer.take()
