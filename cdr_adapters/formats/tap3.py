"""Roaming settlement files after GSMA TD.57 (TAP3, releases 3.9 to 3.12): voice calls, and what they can't tell.

**A TAP file can't name an upstream.** It says what one network charges another for its visitors: who called, whom, when
the call was answered, never where it came in. And the network that receives a file did not carry the calls in it. So
index only files that you send, and only for lack of the switches' own records: a call found here has the outcome
"upstream not recorded", and calls that were not answered are not here at all.

Read: mobile originated and terminated calls of a transfer batch. Other events are passed over; a notification has none.
Rejected, one by one: a call whose UTC offset code the file doesn't explain. The start of a call event is the answer
time. Numbers are international ones without `+`, as the standard has them. Columns: `called` (calledNumber, or the
visitor's MSISDN), `calling`, `dialledDigits`, `callEventStartTimeStamp` (ISO 8601 with the offset of its code),
`totalCallEventDuration` (seconds), `callReference`, `event`, and of the file: `sender`, `recipient`,
`fileSequenceNumber`. `row` is the position of an event's first octet, from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cdr_adapters import raw
from cdr_adapters.formats import _ber
from cdr_adapters.formats._window import Window
from cdr_adapters.records import RAW_LIMIT, RecordBuffer
from cdr_adapters.stream import read_blocks

SUMMARY = "TAP3 roaming files (GSMA TD.57): voice calls; upstream never recorded"
GRADE = raw.Grade.DOCUMENTATION

COLUMNS: dict[str, Any] = {
    "called_in": {"column": "called", "format": "e164"},
    "calling": {"column": "calling", "format": "e164"},
    "answer": {"column": "callEventStartTimeStamp", "format": "iso8601"},
    "call_id": "callReference",
    "leg": "event",
    "disposition": "outcome",
}

MAX_RECORD = 1 << 20
"""Longest event or group, in octets."""

_ASN1 = "_tap3.asn"
_BATCH, _EVENTS = 0x61, 0x63
_NOTIFICATION, _CONTROL, _NETWORK = 0x62, 0x64, 0x66
_ORIGINATED, _TERMINATED = 0x69, 0x6A
_MAX_HEADER = 10


class Options(raw.Options):
    """TAP3 files have no options."""


@cache
def _readers() -> Mapping[str, _ber.Reader]:
    """What reads the groups of a file, by the names of their types."""
    import asn1tools

    text = files("cdr_adapters.formats").joinpath(_ASN1).read_text("ascii")
    types = asn1tools.compile_string(text, "ber").types
    wanted = ("MobileOriginatedCall", "MobileTerminatedCall", "BatchControlInfo", "NetworkInfo")
    return {name: _ber.reader_of(types[name].type) for name in wanted}


def _digits(data: bytes | None) -> str | None:
    """A BCDString: the high half of an octet first, one filler at the end."""
    return data.hex().rstrip("f") or None if data else None


def _text(data: bytes | None) -> str | None:
    return data.decode("ascii", "replace").strip() or None if data else None


def _offset(data: bytes | None) -> str | None:
    """`+0200` as `+02:00`."""
    text = _text(data)
    if text is None or len(text) != 5 or text[0] not in "+-" or not text[1:].isdecimal():
        return None
    return f"{text[:3]}:{text[3:]}"


class _RecordError(ValueError):
    """A call that can't be read; the message says why."""


@dataclass(slots=True)
class _Batch:
    """What a file says once, for all of its calls."""

    facts: dict[str, str | None] = field(default_factory=dict)
    offsets: dict[int, str] = field(default_factory=dict)

    def control(self, info: Mapping[str, Any]) -> None:
        """Keep what the batch control information says."""
        self.facts = {name: _text(info.get(name)) for name in ("sender", "recipient", "fileSequenceNumber")}

    def network(self, info: Mapping[str, Any]) -> None:
        """Keep the UTC offsets by their codes."""
        for one in info.get("utcTimeOffsetInfo", ()):
            code, offset = one.get("utcTimeOffsetCode"), _offset(one.get("utcTimeOffset"))
            if code is not None and offset is not None:
                self.offsets[code] = offset

    def moment(self, time: Mapping[str, Any]) -> str | None:
        """A local time stamp with the offset of its code; None when there is none."""
        local = _text(time.get("localTimeStamp"))
        if local is None:
            return None
        offset = self.offsets.get(time.get("utcTimeOffsetCode", -1))
        if offset is None:
            raise _RecordError("its UTC offset code is not in the file's network information")
        if len(local) != 14 or not (local.isascii() and local.isdecimal()):
            raise _RecordError("a local time stamp that is not CCYYMMDDhhmmss")
        return f"{local[:4]}-{local[4:6]}-{local[6:8]}T{local[8:10]}:{local[10:12]}:{local[12:]}{offset}"

    def call(self, name: str, event: Mapping[str, Any]) -> dict[str, str | None]:
        """The columns of one call."""
        basic = event.get("basicCallInformation", {})
        subscriber: Mapping[str, Any] = (basic.get("chargeableSubscriber") or (None, {}))[1]
        msisdn = _digits(subscriber.get("msisdn"))
        destination = basic.get("destination", {})
        originated = name == "MobileOriginatedCall"
        number = _digits(destination.get("calledNumber"))
        caller = _digits(basic.get("callOriginator", {}).get("callingNumber"))
        reference = event.get("locationInformation", {}).get("networkLocation", {}).get("callReference")
        duration = basic.get("totalCallEventDuration")
        return {
            "event": name,
            "called": number if originated else msisdn,
            "calling": msisdn if originated else caller,
            "dialledDigits": _text(destination.get("dialledDigits")),
            "callEventStartTimeStamp": self.moment(basic.get("callEventStartTimeStamp", {})),
            "totalCallEventDuration": None if duration is None else str(duration),
            "callReference": reference.hex() if reference else None,
            "outcome": "answered",
            **self.facts,
        }


def _groups(path: Path, window: Window) -> Iterator[tuple[int, int, bytes, int, int]]:
    """The groups and events of a file: row, tag, and contents as data, start and stop.

    Raises:
        AdapterError: the file is cut off, or something that is no element stands in it.
    """
    ends = 0
    entered: set[int] = set()
    while window.have(1):
        if window.data[window.at] == 0:  # the end of a group of indefinite length, or filler
            window.at += 1
            continue
        row = window.row
        window.have(_MAX_HEADER)
        at = window.at
        try:
            tag, start, length = _ber.header(window.data, at, len(window.data))
            if tag in (_BATCH, _EVENTS):
                _enter(tag, entered)
                ends = max(ends, 0 if length is None else row - 1 + start - at + length)
                window.skip(start - at)
                continue
            size, after = _extent(window, start - at, length)
        except _ber.BerError as error:
            raise raw.AdapterError(f"{path}: at octet {row}: {error}; nothing behind it can be found") from None
        begin = window.at + start - at
        window.at = begin + after
        yield row, tag, window.data, begin, begin + size
    if window.row <= ends:
        raise raw.AdapterError(f"{path}: cut off: its batch should be longer")


def _enter(tag: int, entered: set[int]) -> None:
    if tag in entered:
        raise _ber.BerError("a group within itself")
    entered.add(tag)


def _extent(window: Window, header: int, length: int | None) -> tuple[int, int]:
    """Octets of an element's contents, and of them with what ends them; the window holds them afterwards."""
    if length is None:
        window.have(header + MAX_RECORD)
        begin = window.at + header
        size = _ber.end_of_contents(window.data, begin, min(len(window.data), begin + MAX_RECORD)) - begin
        return size, size + 2
    if length > MAX_RECORD or not window.have(header + length):
        raise _ber.BerError("an element is cut off, or says that it is longer than it is")
    return length, length


def identify(head: raw.Head) -> bool:
    """A transfer batch that begins with batch control information with a sender, or a notification with one."""
    data = head.data
    try:
        tag, at, _ = _ber.header(data, 0, len(data))
        if tag == _BATCH:
            tag, at, _ = _ber.header(data, at, len(data))
        elif tag != _NOTIFICATION:
            return False
        return tag in (_CONTROL, _NOTIFICATION) and _ber.header(data, at, len(data))[0] == _SENDER
    except _ber.BerError:
        return False


_SENDER = 0x5F8144


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    del options
    buffer = RecordBuffer(columns)
    batch = _Batch()
    try:
        for row, tag, data, start, stop in _groups(path, Window(read_blocks(path))):
            try:
                _take(row, tag, (data, start, stop), batch, buffer)
            except ValueError as error:
                buffer.reject(row, str(error), data[start : min(stop, start + RAW_LIMIT // 2)].hex())
            if buffer.full:
                yield buffer.take()
    except raw.AdapterError:
        if not buffer.empty:
            yield buffer.take()
        raise
    if not buffer.empty:
        yield buffer.take()


def _take(row: int, tag: int, contents: tuple[bytes, int, int], batch: _Batch, buffer: RecordBuffer) -> None:
    readers = _readers()
    if tag == _CONTROL:
        batch.control(readers["BatchControlInfo"](*contents))
    elif tag == _NETWORK:
        batch.network(readers["NetworkInfo"](*contents))
    elif tag in (_ORIGINATED, _TERMINATED):
        name = "MobileOriginatedCall" if tag == _ORIGINATED else "MobileTerminatedCall"
        buffer.add(row, batch.call(name, readers[name](*contents)))
    elif tag not in _OTHER_GROUPS:
        buffer.skip()


_OTHER_GROUPS = frozenset((_NOTIFICATION, 0x65, 0x68, 0x6F))
"""Notification, accounting, message descriptions, audit: no events."""
