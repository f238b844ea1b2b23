"""Channel event logs of Asterisk (cel_custom): the events of a call folded into its legs.

A line is an event of a channel; the events of a call have the linkedid in common, which is the uniqueid of the channel
on which it came in. The call begins with that channel's CHAN_START: its time is the seizure, its name the upstream. A
`Local/` channel is no leg, but the dialplan talking to itself. For every channel that the call went out on there is one
record, at the line of its CHAN_START; for a call that went nowhere one, at the line of its own. All other lines are
counted as skipped, for they are events and no calls. A call whose first channel has no CHAN_START in the file (it began
in the file before) has a reject instead, at its first line.

Columns: linkedid, uniqueid, exten (the extension of the first channel; its ciddnid, or the first number that it had
later, where it started as `s`), cidnum, context, accountcode, channel, dstchannel, start, answer and end (of the leg),
outcome: answered, unanswered, failed, or route-advanced for a leg that failed before the next one was tried.

Which column is which, eventtype, eventtime, ..., the sample mapping of cel_custom.conf says, with or without its
literal in the second place; any other mapping goes into the option `template`, like that of cdr_custom. A line that
doesn't begin so is rejected. eventtime is in seconds since 1970 unless cel.conf has a dateformat; then it is local and
the source needs a zone. Where too many calls are open at a time (more than some hundred thousand), the one of which
nothing was heard for longest is closed as it stands, so that memory is bounded. After the CEL specification of Asterisk
12 and later and the events of 1.8 to 11.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import model_validator

from cdr_adapters import raw
from cdr_adapters.formats import _asterisk
from cdr_adapters.formats._asterisk_template import TemplateOptions
from cdr_adapters.records import RAW_LIMIT, RecordBuffer
from cdr_adapters.stream import MAX_LINE, read_lines

SUMMARY = "Asterisk channel event logs (cel_custom), folded into calls"
GRADE = raw.Grade.REAL_FILES

_TIME = {"format": ["epoch_s", "iso8601"]}
COLUMNS = {
    "called_in": "exten",
    "calling": "cidnum",
    "seizure": {"column": "start", **_TIME},
    "answer": {"column": "answer", **_TIME},
    "release": {"column": "end", **_TIME},
    "ingress_trunk": {"column": "channel", "pattern": _asterisk.CHANNEL},
    "egress_trunk": {"column": "dstchannel", "pattern": _asterisk.CHANNEL},
    "call_id": "linkedid",
    "disposition": "outcome",
}

HEADER = (
    *("linkedid", "uniqueid", "exten", "cidnum", "context", "accountcode", "channel", "dstchannel"),
    *("start", "answer", "end", "outcome"),
)

_CID = ("cidname", "cidnum", "cidani", "cidrdnis", "ciddnid")
_SAMPLE = (
    *("eventtype", "eventtime", *_CID, "exten", "context", "channame", "appname", "appdata", "amaflags"),
    *("accountcode", "uniqueid", "linkedid", "bridgepeer", "userfield", "userdeftype", "eventextra"),
)
_NAMES = {
    **{f"cid_{name.removeprefix('cid')}": name for name in _CID},
    **{"acctcode": "accountcode", "peer": "bridgepeer", "extra": "eventextra", "eventenum": "eventtype"},
}
"""Other names of the same fields: those of the functions and of cel_custom's list of fields."""

_EVENTS = frozenset(
    (
        *("CHAN_START", "CHAN_END", "ANSWER", "HANGUP", "BRIDGE_ENTER", "BRIDGE_EXIT", "BRIDGE_START", "BRIDGE_END"),
        *("BRIDGE_UPDATE", "CONF_ENTER", "CONF_EXIT", "CONF_START", "CONF_END", "APP_START", "APP_END", "PARK_START"),
        *("PARK_END", "BLINDTRANSFER", "ATTENDEDTRANSFER", "TRANSFER", "PICKUP", "FORWARD", "3WAY_START", "3WAY_END"),
        *("HOOKFLASH", "LINKEDID_END", "LOCAL_OPTIMIZE", "LOCAL_OPTIMIZE_BEGIN", "USER_DEFINED", "STREAM_BEGIN"),
        *("STREAM_END", "DTMF"),
    )
)
_TIMES = re.compile(r"[0-9]{9,10}(?:\.[0-9]+)?|[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.]{5,}", re.ASCII)
_UNIQUE = re.compile(r"(?:\S+-)?[0-9]{9,10}\.[0-9]+", re.ASCII)
_CAUSE = re.compile(r'(?:"hangupcause"\s*:\s*"?)?([0-9]{1,3})(?=[",}\s]|$)', re.ASCII)
_REFUSED = frozenset(("16", "17", "18", "19", "21", "26", "31", "0"))
"""Causes of Q.850 with which the other side, or the caller, ended it; any other is a failure on the way."""
_HELD = 64 << 20
"""So many characters of open calls are kept; then the oldest one is closed."""
_CHANNELS = 1000


class Options(TemplateOptions):
    """Options of channel event logs: `template` is cel_custom's mapping, with its separator and quote."""

    @model_validator(mode="after")
    def _whole(self) -> Options:
        missing = {"eventtype", "eventtime", "channame", "uniqueid", "linkedid"} - set(self.names() or _SAMPLE)
        if missing:
            raise ValueError(f"template: without {', '.join(sorted(missing))} no call can be put together")
        return self

    def names(self) -> tuple[str, ...] | None:
        """The fields that the template says; None without one."""
        columns = super().names()
        return None if columns is None else tuple(_NAMES.get(name, name) for name in columns)

    def split(self, line: str) -> list[str] | None:
        """The values of a line; None when its quotes don't match."""
        try:
            return next(csv.reader([line], delimiter=self.delimiter, quotechar=self.quote, strict=True), [])
        except csv.Error:
            return None


def event_of(values: list[str], names: tuple[str, ...] | None) -> dict[str, str] | None:
    """An event by the names of its fields; None when it is none, or not in the order of the sample mapping."""
    if names is None:
        literal = len(values) == len(_SAMPLE) + 1
        values = [values[0], *values[2:]] if literal else values
        if not 18 <= len(values) <= len(_SAMPLE):
            return None
        names = _SAMPLE
    elif len(values) != len(names):
        return None
    event = dict(zip(names, values, strict=False))
    is_event = event["eventtype"] in _EVENTS or (event.get("userdeftype") and _UNIQUE.fullmatch(event["uniqueid"]))
    return event if is_event and _TIMES.fullmatch(event["eventtime"]) else None


@dataclass
class _Leg:
    """One channel of a call: what its events said."""

    line: int
    channel: str
    start: str
    answer: str = ""
    end: str = ""
    cause: str = ""

    @property
    def outcome(self) -> str:
        if self.answer:
            return "answered"
        return "unanswered" if not self.cause or self.cause in _REFUSED else "failed"


@dataclass
class _Call:
    """A call: the channel that it came in on and those that it went out on, by their uniqueids."""

    line: int
    text: str
    events: int = 0
    size: int = 0
    first: _Leg | None = None
    said: dict[str, str] = field(default_factory=dict)
    outgoing: dict[str, _Leg] = field(default_factory=dict)

    def add(self, line: int, event: dict[str, str]) -> None:
        """One more event."""
        self.events += 1
        kind, unique, channel = event["eventtype"], event["uniqueid"], event["channame"]
        if unique == event["linkedid"]:
            if self.first is None and kind == "CHAN_START":
                self.first = _Leg(line, channel, event["eventtime"])
            self._learn(event)
            leg = self.first
        else:
            if kind == "CHAN_START" and not channel.startswith("Local/") and len(self.outgoing) < _CHANNELS:
                self.outgoing.setdefault(unique, _Leg(line, channel, event["eventtime"]))
            leg = self.outgoing.get(unique)
        if leg is None:
            return
        if kind == "ANSWER":
            leg.answer = leg.answer or event["eventtime"]
        elif kind in ("HANGUP", "CHAN_END"):
            leg.end = leg.end or event["eventtime"]
            cause = _CAUSE.search(event.get("eventextra", "")) if kind == "HANGUP" else None
            leg.cause = leg.cause or (cause[1] if cause else "")

    @property
    def weight(self) -> int:
        """Grows with what is kept of the call."""
        return len(self.outgoing) + len(self.said) + (self.first is not None) + len(self.said.get("exten", ""))

    def _learn(self, event: dict[str, str]) -> None:
        """What is known of the call once a later event of its first channel says so."""
        for name in ("cidnum", "context", "accountcode"):
            if event.get(name):
                self.said.setdefault(name, event[name])
        if not self.said.get("cidnum") and event.get("cidani"):
            self.said["cidnum"] = event["cidani"]
        for name in ("exten", "ciddnid"):
            number = event.get(name, "")
            if number and (not self.said.get("exten") or (not _has_digit(self.said["exten"]) and _has_digit(number))):
                self.said["exten"] = number

    def records(self, linkedid: str) -> Iterator[tuple[int, dict[str, str | None]]]:
        """One record for each leg, with its line; none when the call's beginning is missing."""
        first = self.first
        if first is None:
            return
        legs = sorted(self.outgoing.items(), key=lambda item: item[1].line)
        for number, (unique, leg) in enumerate(legs or [(linkedid, first)]):
            outcome = leg.outcome
            if outcome == "failed" and any(later.start >= (leg.end or leg.start) for _, later in legs[number + 1 :]):
                outcome = "route-advanced"
            record = {
                **dict.fromkeys(HEADER, ""),
                **self.said,
                "linkedid": linkedid,
                "uniqueid": unique,
                "channel": first.channel,
                "dstchannel": leg.channel if legs else "",
                "start": first.start,
                "answer": leg.answer,
                "end": leg.end,
                "outcome": outcome,
            }
            yield leg.line, {name: value or None for name, value in record.items()}


def _has_digit(text: str) -> bool:
    return any(letter.isdecimal() for letter in text)


def identify(head: raw.Head) -> bool:
    """Nearly all lines are events in the order of the sample mapping."""
    options = Options()
    lines = [line for line in head.lines(20) if len(line) <= MAX_LINE]
    found = [event_of(values, None) for line in lines if (values := options.split(line))]
    events = [event for event in found if event is not None]
    return len(events) * 10 >= len(lines) * 8 and any(event["eventtype"] in _EVENTS for event in events)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    names = options.names()
    buffer = RecordBuffer(columns, HEADER)
    calls: dict[str, _Call] = {}
    held = 0

    def close(linkedid: str) -> None:
        nonlocal held
        call = calls.pop(linkedid)
        held -= call.size
        told = 0
        if call.first is None:
            buffer.reject(call.line, "the events of a call whose beginning is not in the file", call.text)
            told = 1
        for line, record in call.records(linkedid):
            buffer.add(line, record)
            told += 1
        for _ in range(call.events - told):
            buffer.skip()

    for number, line in read_lines(path, options.encoding):
        if not line or line.isspace():
            continue
        values = options.split(line) if len(line) <= MAX_LINE else None
        event = None if not values else event_of(values, names)
        if event is None or not event["linkedid"]:
            buffer.reject(number, _NO_EVENT if values else "quotes don't match, or the line is too long", line)
        else:
            # to the end of the order: the first one is that of which nothing was heard for longest
            call = calls.pop(event["linkedid"], None) or _Call(number, line[:RAW_LIMIT])
            calls[event["linkedid"]] = call
            before = call.weight
            call.add(number, event)
            if call.weight != before or call.events == 1:
                call.size += len(line)
                held += len(line)
            if event["eventtype"] == "LINKEDID_END":
                close(event["linkedid"])
            while held > _HELD:
                close(next(iter(calls)))
        if buffer.full:
            yield buffer.take()
    for linkedid in list(calls):
        close(linkedid)
        if buffer.full:
            yield buffer.take()
    yield buffer.take()


_NO_EVENT = (
    "no event in the order of cel_custom.conf's sample: give the mapping of cel_custom.conf as the option template"
)
