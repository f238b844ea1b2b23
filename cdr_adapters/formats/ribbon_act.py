"""Accounting records of Ribbon (Sonus) SBCs and GSX gateways: ACT files.

Lines of comma separated fields without header: START, STOP, ATTEMPT and INTERMEDIATE records, each with its own
positions (see `_act_positions`), after one line about the file. A group of sub-fields stands in double quotes, quotes
within are written `%22`; spaces after commas don't count. Records about the gateway (REBOOT, SWITCHOVER, ...) are
skipped. A row in which an address, a time or a media end point doesn't stand where the documents have it is rejected:
`options.positions` can say where they are in a release that moved them.

Columns are named as in the document 'CDR to VSA Mapping' (`Ingress_Trunk_Group_Name`); any field can also be asked for
by its position, from "1". Put together here are `Start_Time` and `Disconnect_Time` (date and time), `Time_Zone`,
`Ingress_Call_ID`, `Egress_Call_ID` and `Egress_Request_URI` (from the protocol data), and `outcome`: an ATTEMPT that
isn't the final one of its call is `route-advanced`. START, INTERMEDIATE and STOP of a call share gateway and accounting
id. The called number as received is the one before the first translation, so that it isn't a routing number.

**Time zone.** Every record names its gateway's zone (`GMT-08:00-Pacific(US)`), but older releases wrote times in GMT
all the same, and newer ones write the gateway's local time. `options.times` says which: `gmt`, `local`, or the name of
a zone where the gateway's isn't understood (`Europe/Amsterdam`). Without it, the file's first line tells, where its
time and that of the first record are as far apart as the zone is from GMT; else `Time_Zone` stays empty, and the
records are rejected for want of a zone. It is never assumed.

After 'CDR Field Descriptions' of SBC Core 6.2, 7.1, 10.1 and 12.0; tested on records of a GSX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from cdr_adapters import raw
from cdr_adapters.formats._act_positions import ADDRESS, KINDS, NO_ADDRESSES, PAIR, POSITIONS, PROOF, Kind
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines

SUMMARY = "Ribbon (Sonus) SBC and GSX accounting: START, STOP, ATTEMPT and INTERMEDIATE records of ACT files"
GRADE = raw.Grade.REAL_FILES

_TIME = {
    "format": ["%m/%d/%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S"],
    "resolution": "100ms",
    "zone_column": "Time_Zone",
    "zone_unit": "text",
}
COLUMNS: dict[str, Any] = {
    "called_in": ["Called_Number_Before_Translation_1", "Called_Number", "Dialed_Number"],
    "called_out": {"column": "Egress_Request_URI", "pattern": "(?i:sips?|tel):([^@;>]+)"},
    "calling": ["Calling_Number", "Incoming_Calling_Number"],
    "seizure": {"column": "Start_Time", **_TIME},
    "release": {"column": "Disconnect_Time", **_TIME},
    "duration": {"column": "Call_Service_Duration", "unit": "10ms", "counts": "from_answer"},
    "ingress_trunk": "Ingress_Trunk_Group_Name",
    "ingress_address": "Ingress_Remote_Signaling_IP_Address",
    "egress_trunk": "Egress_Trunk_Group_Name",
    "egress_address": "Egress_Remote_Signaling_IP_Address",
    "call_id": {"column": ["Gateway_Name", "Accounting_ID"], "join": "/"},
    "disposition": "outcome",
}

_BATCH_ROWS = 8192
_CHARACTERS = 32 << 20
_MAX_FIELDS = 2000
_POSITION = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_OTHER_RECORD = re.compile(r"[A-Z][A-Z_ ]{2,30}", re.ASCII)
_FILE_LINE = re.compile(r"Sonus Networks|.*ACT[0-9]{14}", re.ASCII)
_STAMP = re.compile(r"ACT((?:19|20)[0-9]{12})", re.ASCII)
_OFFSET = re.compile(r"GMT([-+])([0-9]{2}):?([0-9]{2})", re.ASCII)
_NEAR = timedelta(minutes=45)
_SUMMER = timedelta(hours=1)

Mask = npt.NDArray[np.bool_]


def _check_times(text: str) -> str:
    if text in ("gmt", "local"):
        return text
    try:
        ZoneInfo(text if "/" in text else "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text!r} is neither gmt nor local nor a zone such as 'America/Denver'") from None
    return text


class Options(raw.Options):
    """Options of ACT files.

    `times` says whether the records' times are GMT or the gateway's local time, or names their zone. `positions` moves
    fields, for each kind of record: `positions.STOP.Ingress_Trunk_Group_Name = 34`; one named with 0 isn't there.
    """

    times: Annotated[str, AfterValidator(_check_times)] | None = None
    positions: dict[Kind, dict[str, Annotated[int, Field(ge=0, le=_MAX_FIELDS)]]] = Field(default_factory=dict)
    encoding: Encoding = "utf-8"

    @cached_property
    def at(self) -> Mapping[Kind, Mapping[str, int]]:
        """Where the fields of each kind of record stand, from 0."""
        return {
            kind: {name: at - 1 for name, at in {**POSITIONS[kind], **self.positions.get(kind, {})}.items() if at}
            for kind in KINDS
        }


def split(line: str) -> list[str] | None:
    """A record's fields, groups of sub-fields without their quotes; None when a quote isn't closed."""
    if '"' not in line:
        return line.split(",")
    pieces = line.split('"')
    if len(pieces) % 2 == 0:
        return None
    fields = pieces[0].split(",")
    for group, behind in zip(pieces[1::2], pieces[2::2], strict=True):
        if fields[-1].strip():
            return None
        fields[-1] = group
        more = behind.split(",")
        if more[0].strip():
            return None
        fields += more[1:]
    return fields


# --- which zone the times are in ------------------------------------------------------------------------------------


def file_time(line: str) -> datetime | None:
    """The time in the line about the file, in a zone that it doesn't say."""
    match = _STAMP.search(line)
    try:
        return None if match is None else datetime.strptime(match[1], "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None


def times_by_file(opened: datetime, written: datetime, zone: str) -> Literal["gmt", "local"] | None:
    """Whether records are in GMT or local time, when the file's own time is in the other.

    `opened` is the time in the file's first line, `written` that at which its first record was written, a little
    later; `zone` is the gateway's. None when both are in the same zone, or too far apart to tell.
    """
    match = _OFFSET.match(zone)
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3])) * (-1 if match[1] == "-" else 1)
    if abs(offset) < 2 * _NEAR:
        return None
    ahead = written - opened
    local = any(timedelta(0) <= ahead - offset - summer <= _NEAR for summer in (timedelta(0), _SUMMER))
    gmt = any(timedelta(0) <= ahead + offset + summer <= _NEAR for summer in (timedelta(0), _SUMMER))
    return None if local == gmt else "local" if local else "gmt"


def _written(fields: list[str], at: Mapping[str, int]) -> datetime | None:
    """When a record was written: at the end of its call, or at its start."""
    for which in ("Disconnect_Time", "Start_Time"):
        date, time = (at.get(f"{which}_{part}", -1) for part in ("MM_DD_YYYY", "HH_MM_SS_s"))
        if min(date, time) >= 0 and max(date, time) < len(fields):
            text = f"{fields[date].strip()} {fields[time].strip().partition('.')[0]}"
            try:
                return datetime.strptime(text, "%m/%d/%Y %H:%M:%S")  # noqa: DTZ007
            except ValueError:
                continue
    return None


# --- columns --------------------------------------------------------------------------------------------------------

_UNANSWERED = ("16", "17", "18", "19", "20", "31")
"""Causes of an attempt that nobody answered (Q.850), the caller's own hanging up among them."""


def _outcome(kind: str, cause: str, final: str) -> str | None:
    if kind != "ATTEMPT":
        return "answered"
    if final == "0":
        return "route-advanced"
    return None if not cause else "unanswered" if cause in _UNANSWERED else "failed"


def _per_distinct(of: Callable[..., str | None], *columns: pa.StringArray) -> pa.StringArray:
    """`of` the columns' values, once for each combination."""
    keys = pc.binary_join_element_wise(*(pc.fill_null(column, "") for column in columns), "|").dictionary_encode()
    values = [
        of(*key.split("|")) if key.count("|") == len(columns) - 1 else None for key in keys.dictionary.to_pylist()
    ]
    return pa.array(values, pa.string()).take(keys.indices)


def _sub_field(group: str | None, index: int) -> str | None:
    if not group or not group.startswith("SIP,"):
        return None
    parts = group.split(",", index + 1)
    return parts[index] or None if len(parts) > index else None


def _request_uri(group: str | None) -> str | None:
    """The Request-URI in SIP protocol data: the first URI behind the From and To tags."""
    if not group or not group.startswith("SIP,"):
        return None
    return next((part for part in group.split(",")[4:] if part[:4].lower() in ("sip:", "sips", "tel:")), None)


_FROM_GROUP: Mapping[str, tuple[str, Callable[[str | None], str | None]]] = {
    "Ingress_Call_ID": ("Ingress_Protocol_Variant_Specific_Data", lambda group: _sub_field(group, 1)),
    "Egress_Call_ID": ("Egress_Protocol_Variant_Specific_Data", lambda group: _sub_field(group, 1)),
    "Ingress_Request_URI": ("Ingress_Protocol_Variant_Specific_Data", _request_uri),
    "Egress_Request_URI": ("Egress_Protocol_Variant_Specific_Data", _request_uri),
}
_PARTS: Mapping[str, tuple[str, ...]] = {
    "Start_Time": ("Start_Time_MM_DD_YYYY", "Start_Time_HH_MM_SS_s"),
    "Disconnect_Time": ("Disconnect_Time_MM_DD_YYYY", "Disconnect_Time_HH_MM_SS_s"),
    "Time_Zone": ("Node_Time_Zone",),
    "outcome": ("Record_Type", "Call_Disconnect_Reason", "Final_Attempt_Indicator"),
    **{name: (group,) for name, (group, _) in _FROM_GROUP.items()},
}
"""What each column that is put together here is made of."""


def _matches(values: pa.StringArray, pattern: str) -> Mask:
    result: Mask = pc.match_substring_regex(values, f"^(?:{pattern})$").to_numpy(zero_copy_only=False)
    return result


def _proofs(columns: Mapping[str, pa.StringArray]) -> Iterator[tuple[str, Mask]]:
    """For each field that tells whether a record has the positions, in which records it does."""
    for name, pattern in PROOF.items():
        yield name, _matches(columns[name], pattern)
    for name in NO_ADDRESSES:
        yield name, ~_matches(columns[name], ADDRESS)
    own, peer = (_matches(columns[name], "") for name in PAIR)
    yield PAIR[1], ~own | peer


class _Buffer:
    """Records until there are enough for a batch."""

    def __init__(self, options: Options, columns: frozenset[str] | None) -> None:
        self._wanted = columns
        known = dict.fromkeys(name for kind in KINDS for name in options.at[kind])
        if columns is None:
            names = list(known)
        else:
            needed = {part for name in columns for part in _PARTS.get(name, (name,))} | {*PROOF, *NO_ADDRESSES}
            names = sorted(name for name in needed if name in known or _POSITION.fullmatch(name))
        self._names = names
        self._cut: dict[str, tuple[int, itemgetter[Any]]] = {}
        for kind in KINDS:
            places = [options.at[kind].get(n, int(n) - 1 if _POSITION.fullmatch(n) else -1) for n in names]
            self._cut[kind] = (max(places) + 2, itemgetter(*places))  # one more, empty, for what a kind doesn't have
        self._clear()

    def _clear(self) -> None:
        self._values: list[tuple[str, ...]] = []
        self._lines: list[str] = []
        self._numbers: list[int] = []
        self._rejected: list[Rejected] = []
        self._size = 0
        self.skipped = 0

    def add(self, number: int, kind: str, fields: list[str], line: str) -> None:
        width, cut = self._cut[kind]
        fields += [""] * max(width - len(fields), 1)
        self._values.append(cut(fields))
        self._numbers.append(number)
        self._lines.append(line)
        self._size += len(line)

    def reject(self, number: int, detail: str, line: str) -> None:
        self._rejected.append(Rejected(number, RejectReason.MALFORMED_ROW, detail, line[:RAW_LIMIT]))

    @property
    def full(self) -> bool:
        rows = max(len(self._values), len(self._rejected), self.skipped >> 6)
        return rows >= _BATCH_ROWS or self._size >= _CHARACTERS

    def take(self, times: str | None) -> raw.RawBatch:
        rows = len(self._values)
        lists = list(zip(*self._values, strict=True)) or [()] * len(self._names)
        columns = {
            name: pc.utf8_trim_whitespace(pa.array(values, pa.string()))
            for name, values in zip(self._names, lists, strict=True)
        }
        good: Mask = np.ones(rows, np.bool_)
        for name, fits in _proofs(columns):
            for at in np.flatnonzero(good & ~fits):
                self.reject(
                    self._numbers[at],
                    f"{name} doesn't stand where it does in the documents; set options.positions",
                    self._lines[at],
                )
            good &= fits
        keep = pa.array(good)
        table = {name: column.filter(keep) for name, column in columns.items()}
        self._derive(table, int(np.count_nonzero(good)), times)
        shown = table if self._wanted is None else {name: table[name] for name in sorted(self._wanted & table.keys())}
        batch = raw.RawBatch(
            raw.string_batch(shown, int(np.count_nonzero(good))),
            pa.array(self._numbers, pa.int64()).filter(keep),
            tuple(sorted(self._rejected, key=lambda reject: reject.row)),
            self.skipped,
        )
        self._clear()
        return batch

    def _derive(self, table: dict[str, pa.StringArray], rows: int, times: str | None) -> None:
        wanted = _PARTS.keys() if self._wanted is None else self._wanted & _PARTS.keys()
        for name in wanted:
            parts = [table[part] for part in _PARTS[name]]
            if name in ("Start_Time", "Disconnect_Time"):
                date, time = parts
                whole = pc.and_(pc.greater(pc.binary_length(date), 0), pc.greater(pc.binary_length(time), 0))
                null = pa.nulls(rows, pa.string())
                table[name] = pc.if_else(whole, pc.binary_join_element_wise(date, time, " "), null)
            elif name == "Time_Zone":
                zone = {"gmt": "GMT"}.get(times or "", times)
                table[name] = parts[0] if times == "local" else pa.array([zone] * rows, pa.string())
            elif name == "outcome":
                table[name] = _per_distinct(_outcome, *parts)
            else:
                of = _FROM_GROUP[name][1]
                table[name] = pa.array([of(group) for group in parts[0].to_pylist()], pa.string())


def identify(head: raw.Head) -> bool:
    """The line about the file, or records of which each has its zone, date and time where every kind has them."""
    lines = head.lines(20)
    if lines and lines[0].startswith("Sonus Networks") and _STAMP.search(lines[0]):
        return True
    for line in lines:
        fields = [field.strip() for field in line.split(",", 8)]
        if fields[0] in KINDS and len(fields) == 9 and line.count(",") > 30:
            names = ("Accounting_ID", "Start_Time_MM_DD_YYYY", "Start_Time_HH_MM_SS_s")
            if all(re.fullmatch(PROOF[name], fields[POSITIONS["STOP"][name] - 1]) for name in names):
                return True
    return False


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    buffer = _Buffer(options, columns)
    times = options.times
    opened: datetime | None = None
    first = True
    for number, line in read_lines(path, options.encoding):
        if len(line) > MAX_LINE:
            buffer.reject(number, "the line is too long", line)
            continue
        kind = line.partition(",")[0].strip()
        if kind in POSITIONS:
            fields = split(line)
            if fields is None or len(fields) > _MAX_FIELDS:
                buffer.reject(number, "quotes don't match, or too many fields", line)
            else:
                if first and times is None and opened is not None and len(fields) > 6:
                    written = _written(fields, options.at[kind])  # type: ignore[index]
                    times = None if written is None else times_by_file(opened, written, fields[4].strip())
                first = False
                buffer.add(number, kind, fields, line)
        elif first and _FILE_LINE.match(line):
            opened = file_time(line)
            buffer.skipped += 1
        elif _OTHER_RECORD.fullmatch(kind) or line.startswith("#!"):
            buffer.skipped += 1
        elif line.strip():
            buffer.reject(number, "no kind of record (START, STOP, ATTEMPT, INTERMEDIATE)", line)
        if buffer.full:
            yield buffer.take(times)
    yield buffer.take(times)
