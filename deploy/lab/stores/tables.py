"""Switches that make CDRs: delimited files of every habit, with and without header, in seconds, milliseconds and text.

Each layout is a list of columns; the row a record becomes and the [sources.columns] table of the agent's configuration
both come from it, so that neither can drift from the other.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.lab.stores.records import (
    DISPOSITIONS,
    Record,
    a_call,
    an_attempt,
    calling_text,
    daily,
    epoch_s,
    epoch_us,
    expected,
    local,
)
from deploy.lab.stores.source import Log, Source

Cell = Callable[[Log, Record], str]
Pick = Callable[[Record], datetime | None]


@dataclass(frozen=True)
class Layout:
    """One switch's delimited file: its columns in order, each with how it is filled; which of them mean what.

    `meaning` is the [sources.columns] table; without `header` its columns are counted from 1 there.
    """

    stem: str
    suffix: str
    cells: tuple[tuple[str, Cell], ...]
    meaning: dict[str, Any]
    delimiter: str = ","
    header: bool = True
    zone: bool = False
    each_attempt: bool = False
    out: bool = False
    trunks: bool = True
    egress: bool = True
    address: bool = True
    disposition: bool = True


def _text(pattern: str, pick: Pick) -> Cell:
    def cell(log: Log, record: Record) -> str:
        time = pick(record)
        return "" if time is None else local(log.switch.reads(time), log.switch.zone, pattern)

    return cell


def _number(count: Callable[[datetime], int | str], pick: Pick) -> Cell:
    def cell(log: Log, record: Record) -> str:
        time = pick(record)
        return "" if time is None else str(count(log.switch.reads(time)))

    return cell


def _plain(pick: Callable[[Record], str]) -> Cell:
    return lambda _log, record: pick(record)


def _calling(log: Log, record: Record) -> str:
    return calling_text(log, record.passage.calling)


def _iso_ms(reading: datetime) -> str:
    return reading.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seized(record: Record) -> datetime | None:
    return record.passage.seized


def _answered(record: Record) -> datetime | None:
    return record.answered


def _ended(record: Record) -> datetime | None:
    return record.ended


_ID = _plain(lambda r: r.passage.record_id)
_IN, _OUT = _plain(lambda r: r.received), _plain(lambda r: r.sent)
_IN_E164 = _plain(lambda r: r.passage.called)
_OUT_E164 = _plain(lambda r: r.attempt.called if r.attempt else "")
_IN_TRUNK, _OUT_TRUNK = _plain(lambda r: r.in_trunk), _plain(lambda r: r.out_trunk)
_IN_ADDRESS, _OUT_ADDRESS = _plain(lambda r: r.in_address), _plain(lambda r: r.out_address)
_CODE = _plain(lambda r: str(r.code))
_SIP = {"column": "sip_code", "values": DISPOSITIONS}

SOFTSWITCH = Layout(
    stem="cdr",
    suffix=".csv",
    cells=(
        ("call_id", _ID),
        ("setup_time", _number(_iso_ms, _seized)),
        ("connect_time", _number(_iso_ms, _answered)),
        ("disconnect_time", _number(_iso_ms, _ended)),
        ("from_number", _calling),
        ("dialled", _IN),
        ("sent", _OUT),
        ("ingress_tg", _IN_TRUNK),
        ("ingress_ip", _IN_ADDRESS),
        ("egress_tg", _OUT_TRUNK),
        ("sip_code", _CODE),
    ),
    meaning={
        "called_in": {"column": "dialled", "format": "trunk"},
        "called_out": {"column": "sent", "format": "trunk"},
        "calling": {"column": "from_number"},
        "seizure": {"column": "setup_time", "format": "iso8601"},
        "answer": {"column": "connect_time", "format": "iso8601"},
        "release": {"column": "disconnect_time", "format": "iso8601"},
        "ingress_trunk": {"column": "ingress_tg"},
        "ingress_address": {"column": "ingress_ip"},
        "egress_trunk": {"column": "egress_tg"},
        "call_id": {"column": "call_id"},
        "disposition": _SIP,
    },
    each_attempt=True,
    out=True,
)
"""A softswitch: a row for every carrier tried, UTC with milliseconds."""

_US = "%m/%d/%Y %H:%M:%S"
HEADERLESS = Layout(
    stem="gw",
    suffix=".txt",
    cells=(
        ("1", _ID),
        ("2", _text(_US, _seized)),
        ("3", _text(_US, _answered)),
        ("4", _text(_US, _ended)),
        ("5", _calling),
        ("6", _IN),
        ("7", _IN_TRUNK),
        ("8", _IN_ADDRESS),
        ("9", _CODE),
    ),
    meaning={
        "called_in": {"column": "6", "format": "trunk"},
        "calling": {"column": "5"},
        "seizure": {"column": "2", "format": _US, "resolution": "1s"},
        "answer": {"column": "3", "format": _US, "resolution": "1s"},
        "ingress_trunk": {"column": "7"},
        "ingress_address": {"column": "8"},
        "call_id": {"column": "1"},
        "disposition": {"column": "9", "values": DISPOSITIONS},
    },
    delimiter=";",
    header=False,
    zone=True,
    egress=False,
)
"""A gateway: no header, local time, and not a word of where calls went."""

_ISO = "%Y-%m-%d %H:%M:%S"
SWITCH = Layout(
    stem="switch",
    suffix=".csv",
    cells=(
        ("RecordId", _ID),
        ("Setup", _text(_ISO, _seized)),
        ("Answer", _text(_ISO, _answered)),
        ("Release", _text(_ISO, _ended)),
        ("Calling", _calling),
        ("CalledIn", _IN),
        ("CalledOut", _OUT),
        ("TrunkIn", _IN_TRUNK),
        ("TrunkOut", _OUT_TRUNK),
        ("Cause", _CODE),
    ),
    meaning={
        "called_in": {"column": "CalledIn", "format": "trunk"},
        "called_out": {"column": "CalledOut", "format": "trunk"},
        "calling": {"column": "Calling"},
        "seizure": {"column": "Setup", "format": _ISO, "resolution": "1s"},
        "release": {"column": "Release", "format": _ISO, "resolution": "1s"},
        "ingress_trunk": {"column": "TrunkIn"},
        "egress_trunk": {"column": "TrunkOut"},
        "call_id": {"column": "RecordId"},
        "disposition": {"column": "Cause", "values": DISPOSITIONS},
    },
    zone=True,
    each_attempt=True,
    out=True,
    address=False,
)
"""One of several switches of one network: local time, a row for every carrier tried."""

BILLING = Layout(
    stem="billing",
    suffix=".csv",
    cells=(
        ("id", _ID),
        ("connect", _number(epoch_s, _answered)),
        ("disconnect", _number(epoch_s, _ended)),
        ("ani", _calling),
        ("dnis", _IN_E164),
        ("in_tg", _IN_TRUNK),
        ("remote_ip", _IN_ADDRESS),
        ("out_tg", _OUT_TRUNK),
        ("sip_code", _CODE),
    ),
    meaning={
        "called_in": {"column": "dnis", "format": "e164"},
        "calling": {"column": "ani"},
        "answer": {"column": "connect", "format": "epoch_s", "resolution": "1s"},
        "release": {"column": "disconnect", "format": "epoch_s", "resolution": "1s"},
        "ingress_trunk": {"column": "in_tg"},
        "ingress_address": {"column": "remote_ip"},
        "egress_trunk": {"column": "out_tg"},
        "call_id": {"column": "id"},
        "disposition": _SIP,
    },
)
"""A billing extract: numbers already normalised, no setup time, no called number as sent."""

TSV = Layout(
    stem="calls",
    suffix=".tsv",
    cells=(
        ("uuid", _ID),
        ("start_sec", _number(epoch_s, _seized)),
        ("start_usec", _number(lambda t: t.microsecond, _seized)),
        ("end_sec", _number(epoch_s, _ended)),
        ("clid", _calling),
        ("did", _IN),
        ("did_out", _OUT),
        ("src_tg", _IN_TRUNK),
        ("dst_tg", _OUT_TRUNK),
        ("src_ip", _IN_ADDRESS),
        ("sip_code", _CODE),
    ),
    meaning={
        "called_in": {"column": "did", "format": "trunk"},
        "called_out": {"column": "did_out", "format": "trunk"},
        "calling": {"column": "clid"},
        "seizure": {"column": "start_sec", "format": "epoch_s", "fraction_column": "start_usec", "fraction_unit": "us"},
        "release": {"column": "end_sec", "format": "epoch_s", "resolution": "1s"},
        "ingress_trunk": {"column": "src_tg"},
        "egress_trunk": {"column": "dst_tg"},
        "ingress_address": {"column": "src_ip"},
        "call_id": {"column": "uuid"},
        "disposition": _SIP,
    },
    delimiter="\t",
    out=True,
)
"""A transit switch that also translates toll-free numbers: seconds and microseconds apart."""

LOCAL = Layout(
    stem="pbx",
    suffix=".csv",
    cells=(
        ("callid", _ID),
        ("calldate", _text(_ISO, _seized)),
        ("answerdate", _text(_ISO, _answered)),
        ("enddate", _text(_ISO, _ended)),
        ("src", _calling),
        ("dst", _IN),
        ("dst_out", _OUT),
        ("in_trunk", _IN_TRUNK),
        ("in_ip", _IN_ADDRESS),
        ("out_trunk", _OUT_TRUNK),
        ("sip_code", _CODE),
    ),
    meaning={
        "called_in": {"column": "dst", "format": "trunk"},
        "called_out": {"column": "dst_out", "format": "trunk"},
        "calling": {"column": "src"},
        "seizure": {"column": "calldate", "format": _ISO, "resolution": "1s"},
        "answer": {"column": "answerdate", "format": _ISO, "resolution": "1s"},
        "release": {"column": "enddate", "format": _ISO, "resolution": "1s"},
        "ingress_trunk": {"column": "in_trunk"},
        "ingress_address": {"column": "in_ip"},
        "egress_trunk": {"column": "out_trunk"},
        "call_id": {"column": "callid"},
        "disposition": _SIP,
    },
    zone=True,
    out=True,
)
"""An access provider: local time to the second."""

ADDRESSES = Layout(
    stem="sbc",
    suffix=".csv",
    cells=(
        ("sid", _ID),
        ("setup_us", _number(epoch_us, _seized)),
        ("end_us", _number(epoch_us, _ended)),
        ("from", _calling),
        ("ruri_in", _IN),
        ("ruri_out", _OUT_E164),
        ("src", _IN_ADDRESS),
        ("dst", _OUT_ADDRESS),
        ("sip_code", _CODE),
    ),
    meaning={
        "called_in": {"column": "ruri_in", "format": "trunk"},
        "called_out": {"column": "ruri_out", "format": "e164"},
        "calling": {"column": "from"},
        "seizure": {"column": "setup_us", "format": "epoch_us"},
        "release": {"column": "end_us", "format": "epoch_us"},
        "ingress_address": {"column": "src"},
        "egress_address": {"column": "dst"},
        "call_id": {"column": "sid"},
        "disposition": _SIP,
    },
    out=True,
    trunks=False,
)
"""A session border controller that knows peers by address alone."""


def writer(layout: Layout) -> Callable[[Log, Path], list[Source]]:
    """The writer of a layout."""

    def write(log: Log, directory: Path) -> list[Source]:
        records = an_attempt(log) if layout.each_attempt else a_call(log)
        names = [name for name, _ in layout.cells]
        header = _line(names, layout.delimiter) if layout.header else ""
        rows = ((r.written, _line([fill(log, r) for _, fill in layout.cells], layout.delimiter)) for r in records)
        path = daily(log, directory, layout.stem, layout.suffix, rows, header)
        return [
            Source(
                name=f"{log.prefix}{layout.stem}",
                path=path,
                format="delimited",
                options={"delimiter": layout.delimiter, "header": layout.header},
                zone=log.switch.zone if layout.zone else None,
                clock_offset=log.clock_offset,
                columns=layout.meaning,
                expected=tuple(
                    expected(
                        r,
                        out=layout.out,
                        trunks=layout.trunks,
                        egress=layout.egress,
                        address=layout.address,
                        disposition=layout.disposition,
                    )
                    for r in records
                ),
            )
        ]

    return write


def _line(cells: Sequence[str], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(cells)
    return text.getvalue()
