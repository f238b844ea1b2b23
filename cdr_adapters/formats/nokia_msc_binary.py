"""Call records of Nokia MSCs (DX 200) in their fixed binary blocks.

A record begins with its length (two octets, the low one first), its type (two BCD digits), and a header that all have;
releases add fields at the end, so that what is read keeps its place. Read: mobile originated and terminated calls
(MOC, MTC), forwarded ones (FORW), calls to roamers (ROAM), calls from and to other networks (POC, PTC), unsuccessful
attempts (UCA). Short messages, location updates, supplementary services, IN data and the like are passed over.
Rejected, one by one: types of calls whose fields are not known (PBX, CAMEL, SIP, devices), and records whose fields
don't look like theirs: a type of number that doesn't exist, a time that no clock shows. `row` is the position of a
record's first octet, from 1.

After the field lists of Nokia's CDR documentation for format types 01 to 04, 11, 12 and 17. Columns have its names;
`called`, `called_sent` and `calling` are made of the numbers that the type has and their types of number: international
ones have `+`. A forwarded call was called at the forwarding number and sent to the other. Circuit groups are the
exchange's own numbers, so that records of several exchanges (`exchange_id`) need a source each. Times are local: set
zone. A call that only passes through has a POC record with the circuit group that it came in on and a PTC record with
the other one; `call_id` (exchange, call reference and its time) joins them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdr_adapters import raw
from cdr_adapters.records import RAW_LIMIT, RecordBuffer
from cdr_adapters.stream import read_blocks

SUMMARY = "Nokia MSC (DX 200) binary call records: MOC, MTC, FORW, ROAM, POC, PTC, UCA"
GRADE = raw.Grade.DOCUMENTATION

_LOCAL = "%Y-%m-%dT%H:%M:%S"
COLUMNS: dict[str, Any] = {
    "called_in": "called",
    "called_out": "called_sent",
    "calling": "calling",
    "seizure": {"column": ["in_channel_allocated_time", "start_time"], "format": _LOCAL},
    "answer": {"column": "charging_start_time", "format": _LOCAL},
    "release": {"column": ["charging_end_time", "release_time"], "format": _LOCAL},
    "ingress_trunk": "in_circuit_group",
    "egress_trunk": "out_circuit_group",
    "call_id": "call_id",
    "leg": "record_type",
    "disposition": "outcome",
}


class Options(raw.Options):
    """Nokia's records have no options."""


@dataclass(frozen=True, slots=True)
class _Number:
    """Where a number stands: its digits (first octet, octets) and its type."""

    digits: int
    size: int
    ton: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the fields of one type of record stand, in octets from its beginning."""

    name: str
    calling: _Number
    called: _Number
    times: dict[str, int]
    reference_time: int
    sent: _Number | None = None
    incoming: int | None = None
    outgoing: int | None = None


def _charged(at: int) -> dict[str, int]:
    """The three times that stand in a row."""
    return {"in_channel_allocated_time": at, "charging_start_time": at + 7, "charging_end_time": at + 14}


_LAYOUTS = {
    0x01: _Layout("MOC", _Number(44, 10, 177), _Number(73, 12, 72), _charged(129), 204, outgoing=117),
    0x02: _Layout("MTC", _Number(28, 10, 133), _Number(54, 12, 134), _charged(98), 166, incoming=68),
    0x03: _Layout(
        "FORW",
        _Number(78, 10, 154),
        _Number(37, 12, 153),
        _charged(104),
        164,
        sent=_Number(65, 12, 130),
        incoming=88,
        outgoing=92,
    ),
    0x04: _Layout(
        "ROAM",
        _Number(28, 10, 120),
        _Number(46, 12, 121),
        _charged(84),
        136,
        sent=_Number(58, 12, 119),
        incoming=70,
        outgoing=74,
    ),
    0x11: _Layout("POC", _Number(29, 12, 28), _Number(42, 12, 41), _charged(58), 118, incoming=54),
    0x12: _Layout("PTC", _Number(29, 12, 28), _Number(42, 12, 41), _charged(58), 123, outgoing=54),
    0x17: _Layout(
        "UCA",
        _Number(45, 10, 44),
        _Number(56, 12, 55),
        {"start_time": 78, "release_time": 85, "in_channel_allocated_time": 160},
        117,
        incoming=68,
        outgoing=131,
    ),
}
"""By the octet that holds the type's two digits."""

_OTHER_CALLS = {
    0x13: "PBX-originated",
    0x14: "PBX-terminated",
    0x20: "device-originated",
    0x24: "CAMEL-originated",
    0x25: "CAMEL-terminated",
    0x30: "SIP-originated",
    0x31: "SIP-terminated",
}
_NO_CALLS = frozenset(
    (
        *(0x00, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x15, 0x16, 0x18, 0x19),
        *(0x22, 0x23, 0x26, 0x27, 0x28, 0x29, 0x32, 0x33, 0x35),
    )
)
_LABELS = (0x00, 0x10)
"""Header and trailer of a block: they share no more than length and type with others."""

_HEADER = 25
_SHORTEST_LABEL = 23
_LONGEST = 2048
_LAST_STATUS = 2
_LAST_TON = 0x1F
_TON_UNSET = 0xFF
_INTERNATIONAL = (0x05, 0x0E)
_SWAPPED = bytes((byte & 15) << 4 | byte >> 4 for byte in range(256))
_SYMBOLS = str.maketrans({"b": "*", "c": "#"})
_AHEAD = _LONGEST + _HEADER
_FILLED = re.compile(rb"[^\xff]")


class _RecordError(ValueError):
    """A record that can't be read; the message says why."""


def _text_of(data: bytes, number: _Number) -> str | None:
    ton = data[number.ton]
    if ton > _LAST_TON and ton != _TON_UNSET:
        raise _RecordError("a type of number that doesn't exist")
    digits = data[number.digits : number.digits + number.size].translate(_SWAPPED).hex().rstrip("f").translate(_SYMBOLS)
    return ("+" + digits if ton in _INTERNATIONAL else digits) if digits else None


def _group(data: bytes, at: int | None) -> str | None:
    """A circuit group: two octets of BCD digits, the low ones first."""
    if at is None:
        return None
    text = data[at : at + 2][::-1].hex()
    if text == "ffff":
        return None
    if not text.isdecimal():
        raise _RecordError("a circuit group that is no number")
    return str(int(text))


def _moment(data: bytes, at: int) -> str | None:
    """A time: seconds, minutes, hours, day, month, and the year's low and high half."""
    text = data[at : at + 7][::-1].hex()
    if text in ("f" * 14, "0" * 14):
        return None
    if not text.isdecimal() or not ("19" <= text[:2] <= "20" and "01" <= text[4:6] <= "12" and text[8:10] < "24"):
        raise _RecordError("a time that no clock shows")
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:10]}:{text[10:12]}:{text[12:]}"


def _record(data: bytes) -> dict[str, str | None] | None:
    """The columns of one record; None for one that is no call.

    Raises:
        _RecordError: it can't be read.
    """
    kind = data[2]
    layout = _LAYOUTS.get(kind)
    if layout is None:
        if kind in _NO_CALLS:
            return None
        raise _RecordError(f"record type {kind:02x} ({_OTHER_CALLS[kind]} call): its fields are not known")
    last = max(
        layout.calling.ton, layout.called.ton, layout.reference_time + 6, *(at + 6 for at in layout.times.values())
    )
    if len(data) <= last:
        raise _RecordError(f"a {layout.name} record that is too short")
    record: dict[str, str | None] = {
        "record_type": layout.name,
        "exchange_id": data[15:25].translate(_SWAPPED).hex().rstrip("f"),
        "call_reference": data[10:15].hex(),
        "call_reference_time": _moment(data, layout.reference_time),
        "calling": _text_of(data, layout.calling),
        "called": _text_of(data, layout.called),
        "called_sent": None if layout.sent is None else _text_of(data, layout.sent),
        "in_circuit_group": _group(data, layout.incoming),
        "out_circuit_group": _group(data, layout.outgoing),
    }
    for name, at in layout.times.items():
        record[name] = _moment(data, at)
    record["call_id"] = ":".join(
        record[name] or "" for name in ("exchange_id", "call_reference", "call_reference_time")
    )
    record["outcome"] = "answered" if record.get("charging_start_time") else "unanswered"
    return record


def _begins_record(data: bytes, at: int) -> bool:
    """Whether a record begins at `at`: a length, a type that exists, a number in BCD, a status that exists."""
    length = int.from_bytes(data[at : at + 2], "little")
    kind = data[at + 2] if at + 2 < len(data) else 0xFF
    if length > _LONGEST:
        return False
    if kind in _LABELS:
        return length >= _SHORTEST_LABEL
    if kind not in _LAYOUTS and kind not in _OTHER_CALLS and kind not in _NO_CALLS:
        return False
    return (
        length >= _HEADER
        and at + _HEADER <= len(data)
        and data[at + 3 : at + 7].hex().isdecimal()
        and data[at + 7] <= _LAST_STATUS
    )


def _records(path: Path, blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """The records of a file with the positions of their first octets, from 1; FF octets between them are passed over.

    Raises:
        AdapterError: the file is cut off, or something stands where a record should begin.
    """
    data, base, at, more = b"", 0, 0, True
    while True:
        while more and len(data) - at < _AHEAD:
            block = next(blocks, b"")
            more = bool(block)
            base += at
            data, at = data[at:] + block, 0
        if at < len(data) and not _begins_record(data, at):
            found = _FILLED.search(data, at)
            if found is None:
                at = len(data)
            elif found.start() > at and not _begins_record(data, found.start()):
                at = found.start() - 1  # a length may begin with FF too
            else:
                at = found.start()
            if at == len(data) and more:
                continue
        if at == len(data):
            return
        row = base + at + 1
        if not _begins_record(data, at):
            raise raw.AdapterError(f"{path}: no Nokia record begins at octet {row}")
        stop = at + int.from_bytes(data[at : at + 2], "little")
        if stop > len(data):
            raise raw.AdapterError(f"{path}: cut off in the record at octet {row}")
        yield row, data[at:stop]
        at = stop


def identify(head: raw.Head) -> bool:
    """Records one behind the other by their lengths, at least one of them a call whose fields look like a call's."""
    if not _begins_record(head.data, 0):
        return False
    calls = 0
    try:
        for seen, (_, data) in enumerate(_records(head.path, iter((head.data,))), 1):
            calls += _record(data) is not None
            if seen >= _ENOUGH:
                break
    except _RecordError:
        return False
    except raw.AdapterError:
        return calls > 0 and not head.complete
    return calls > 0


_ENOUGH = 16


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    del options
    buffer = RecordBuffer(columns)
    try:
        for row, data in _records(path, read_blocks(path)):
            try:
                record = _record(data)
            except _RecordError as error:
                buffer.reject(row, str(error), data[: RAW_LIMIT // 2].hex())
            else:
                if record is None:
                    buffer.skip()
                else:
                    buffer.add(row, record)
            if buffer.full:
                yield buffer.take()
    except raw.AdapterError:
        if not buffer.empty:
            yield buffer.take()
        raise
    if not buffer.empty:
        yield buffer.take()
