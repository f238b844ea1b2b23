"""RADIUS accounting as FreeRADIUS writes it to a detail file, with the attributes of VoIP gateways.

A record is a line with the date (column `header`: the server's local time), lines `Attribute = value`, and an empty
line. Columns are the attributes; one that occurs several times holds its values one a line. Strings lose their quotes
and escapes. A record with a line that is no attribute, or without an attribute, is rejected whole. After FreeRADIUS 3.2
(rlm_detail, its dictionaries for Cisco and Acme), RFC 2866, Cisco's "RADIUS VSA Voice Implementation Guide".

A vendor's attribute that repeats its own name (`h323-call-origin = "h323-call-origin=answer"`) loses it. A pair in
`Cisco-AVPair` has a column of its own: `Cisco-AVPair.call-id`. More columns are made of what there is:

- `call-origin`: the leg's direction (`h323-call-origin`): answer is the incoming leg, originate the outgoing one. As
  the peer is upstream on the one and downstream on the other, see `sides` for columns such as
  `incoming:h323-remote-address`. `NAS-IP-Address` and `h323-gw-id` are the gateway itself, and are never mapped.
- `event-time`: seconds since 1970 when it happened: `Timestamp` (when the server got it) less `Acct-Delay-Time`; and
  `stop-time` of a Stop or Failed record, `start-time` of a Start from a SIP server, which sends it at the answer (a
  gateway may send it at the setup, and then has `h323-setup-time`).
- `outcome`: answered, unanswered or failed, from `Sip-Response-Code`, else from `Acct-Session-Time`.

Times of h323 attributes are `HH:MM:SS.mmm ZZZ Www Mmm dd yyyy` (Oracle: month in capitals, no weekday). They lose the
mark that a gateway puts before them, `*` when its clock was never set and `.` when it had lost its server. An
abbreviation that has more than one meaning needs `abbreviations` in the mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import raw
from cdr_adapters.formats._detail_blocks import Block, blocks
from cdr_adapters.presets import Derived
from cdr_adapters.sides import INCOMING, OUTGOING, Sides
from cdr_adapters.stream import Encoding

SUMMARY = "RADIUS accounting detail files (FreeRADIUS): h323 and Acme attributes, SIP servers"
GRADE = raw.Grade.REAL_FILES


class Options(raw.Options):
    """Options of detail files."""

    encoding: Encoding = "utf-8"


_TEXT = pa.string()
_NULL = pa.nulls(1, _TEXT)[0]
_PAIRS = "Cisco-AVPair"
_SIDES = Sides("call-origin", {"answer": INCOMING, "originate": OUTGOING})


def _event_time(timestamp: pa.StringArray, delay: pa.StringArray) -> pa.StringArray:
    seconds, late = _whole(timestamp), pc.fill_null(_whole(delay), 0)
    return pc.cast(pc.subtract(seconds, late), _TEXT)


def _whole(texts: pa.StringArray) -> pa.Int64Array:
    fits = pc.match_substring_regex(texts, "^[0-9]{1,12}$")
    return pc.cast(pc.if_else(fits, texts, _NULL), pa.int64())


def _stop_time(timestamp: pa.StringArray, delay: pa.StringArray, status: pa.StringArray) -> pa.StringArray:
    stopped = pc.is_in(status, value_set=pa.array(("Stop", "2", "Failed", "15"), _TEXT))
    return pc.if_else(stopped, _event_time(timestamp, delay), _NULL)


def _start_time(
    timestamp: pa.StringArray, delay: pa.StringArray, status: pa.StringArray, *setups: pa.StringArray
) -> pa.StringArray:
    started = pc.is_in(status, value_set=pa.array(("Start", "1"), _TEXT))
    by_server = pc.and_(started, pc.is_null(pc.coalesce(*setups)))
    return pc.if_else(by_server, _event_time(timestamp, delay), _NULL)


_OUTCOMES = {"200": "answered", "408": "unanswered", "480": "unanswered", "486": "unanswered", "487": "unanswered"}


def _outcome(code: pa.StringArray, length: pa.StringArray, status: pa.StringArray) -> pa.StringArray:
    encoded = code.dictionary_encode()
    words = [_OUTCOMES.get(text, "failed" if text[:1] in "3456" else None) for text in encoded.dictionary.to_pylist()]
    by_code = pa.array(words, _TEXT).take(encoded.indices)
    none = pc.equal(length, "0")
    by_length = pc.if_else(none, "unanswered", pc.if_else(pc.is_valid(_whole(length)), "answered", _NULL))
    stopped = pc.is_in(status, value_set=pa.array(("Stop", "2"), _TEXT))
    by_status = pc.if_else(pc.is_in(status, value_set=pa.array(("Failed", "15"), _TEXT)), "failed", _NULL)
    return pc.coalesce(by_code, pc.if_else(stopped, by_length, _NULL), by_status)


_TIMES = ("Timestamp", "Acct-Delay-Time")
_MADE = {
    "call-origin": Derived(("h323-call-origin", f"{_PAIRS}.h323-call-origin"), lambda *values: pc.coalesce(*values)),
    "event-time": Derived(_TIMES, _event_time),
    "start-time": Derived((*_TIMES, "Acct-Status-Type", "h323-setup-time", f"{_PAIRS}.h323-setup-time"), _start_time),
    "stop-time": Derived((*_TIMES, "Acct-Status-Type"), _stop_time),
    "outcome": Derived(("Sip-Response-Code", "Acct-Session-Time", "Acct-Status-Type"), _outcome),
}


def identify(head: raw.Head) -> bool:
    """A line at the margin, then attributes, among them one that every accounting record has (RFC 2866 5.1)."""
    lines = head.lines(200)
    if len(lines) < 2 or lines[0][:1].isspace():
        return False
    first = lines[1 : next((i for i, line in enumerate(lines[1:], 1) if not line[:1].isspace()), len(lines))]
    block = Block("\n".join((lines[0], *first)).encode("utf-8", "replace"), 1)
    return len(block.rows) == 1 and bool({"Acct-Status-Type", "Acct-Session-Id"}.intersection(block.names))


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    wanted = _SIDES.needed(columns)
    for number, text in blocks(path, options.encoding):
        block = Block(text, number)
        found = raw.string_batch({name: _column(block, name) for name in _names(block, wanted)}, len(block.rows))
        found = _SIDES.split(found, columns)
        if columns is not None:
            found = found.select([name for name in found.schema.names if name in columns])
        yield raw.RawBatch(_with_length(found, len(block.rows)), block.rows)
        for rejected in block.rejected():
            yield raw.RawBatch(raw.string_batch({}, 0), pa.array([], pa.int64()), rejected)


def _names(block: Block, wanted: frozenset[str] | None) -> list[str]:
    return ["header", *block.names] if wanted is None else sorted(wanted)


def _with_length(found: pa.RecordBatch, rows: int) -> pa.RecordBatch:
    return found if found.num_columns else raw.string_batch({}, rows)


def _column(block: Block, name: str) -> pa.StringArray:
    if name == "header":
        return block.headers
    made = _MADE.get(name)
    if made is not None and name not in block.names:
        return made.make(*(_column(block, of) for of in made.columns))
    pair = name.removeprefix(f"{_PAIRS}.")
    values = block.values(name) if pair == name else block.values(_PAIRS, pair)
    return pc.ascii_ltrim(values, ".*") if pair.startswith("h323-") and pair.endswith("-time") else values


def _time(*columns: str) -> dict[str, Any]:
    layouts = ["%H:%M:%S.%f %Z %a %b %d %Y", "%H:%M:%S.%f %Z %b %d %Y", "%H:%M:%S %Z %a %b %d %Y", "epoch_s"]
    return {"column": columns, "format": layouts}


WHERE = {
    "Acct-Status-Type": ["!Interim-Update", "!Alive", "!Accounting-On", "!Accounting-Off", "!3", "!7", "!8"],
    "Sip-Method": ["!BYE", "!Bye"],
}
COLUMNS: dict[str, Any] = {
    "called_in": ["incoming:Called-Station-Id", "unsaid:Called-Station-Id"],
    "called_out": ["outgoing:Called-Station-Id", "Acme-Egress-Final-Routing-Number"],
    "calling": "Calling-Station-Id",
    "seizure": _time("h323-setup-time", f"{_PAIRS}.h323-setup-time"),
    "answer": _time("h323-connect-time", f"{_PAIRS}.h323-connect-time", "start-time"),
    "release": _time("h323-disconnect-time", f"{_PAIRS}.h323-disconnect-time", "stop-time"),
    "ingress_trunk": [
        "Acme-Originating-Trunk-Group",
        "Acme-Ingress-Realm",
        f"{_PAIRS}.in-trunkgroup-label",
    ],
    "ingress_address": {
        "column": [
            "Acme-Ingress-Remote-Addr",
            "incoming:h323-remote-address",
            f"incoming:{_PAIRS}.h323-remote-address",
        ],
        "bad": "null",
    },
    "egress_trunk": [
        "Acme-Terminating-Trunk-Group",
        "Acme-Egress-Realm",
        f"{_PAIRS}.out-trunkgroup-label",
    ],
    "egress_address": {
        "column": [
            "Acme-Egress-Remote-Addr",
            "outgoing:h323-remote-address",
            f"outgoing:{_PAIRS}.h323-remote-address",
        ],
        "bad": "null",
    },
    "call_id": ["h323-conf-id", f"{_PAIRS}.h323-conf-id", "Acct-Session-Id"],
    "leg": "call-origin",
    "disposition": "outcome",
}
