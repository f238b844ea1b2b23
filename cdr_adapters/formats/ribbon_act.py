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
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from cdr_adapters import raw
from cdr_adapters.formats._act_positions import CONTRADICTION, KINDS, PAIR, POSITIONS, PROOF, Kind
from cdr_adapters.formats._act_rows import Mask, Positions, alike, split
from cdr_adapters.formats._line_blocks import line_blocks
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding, read_head

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

_LINES = 8192
_MAX_FIELDS = 2000
_POSITION = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_OTHER_RECORD = re.compile(r"[A-Z][A-Z_ ]{2,30}", re.ASCII)
_FILE_LINE = re.compile(r"Sonus Networks|.*ACT[0-9]{14}", re.ASCII)
_STAMP = re.compile(r"ACT((?:19|20)[0-9]{12})", re.ASCII)
_OFFSET = re.compile(r"GMT([-+])([0-9]{2}):?([0-9]{2})", re.ASCII)
_NEAR = timedelta(minutes=45)
_SUMMER = timedelta(hours=1)


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


_CALL_ID = "^SIP,([^,]+)(?:,.*)?$"
_REQUEST_URI = "^SIP,(?:[^,]*,){3,}?((?i:sips?|tel):[^,]*)(?:,.*)?$"
"""The first URI behind call id, From and To."""
_FROM_GROUP: Mapping[str, tuple[str, str]] = {
    "Ingress_Call_ID": ("Ingress_Protocol_Variant_Specific_Data", _CALL_ID),
    "Egress_Call_ID": ("Egress_Protocol_Variant_Specific_Data", _CALL_ID),
    "Ingress_Request_URI": ("Ingress_Protocol_Variant_Specific_Data", _REQUEST_URI),
    "Egress_Request_URI": ("Egress_Protocol_Variant_Specific_Data", _REQUEST_URI),
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
    for name, pattern in CONTRADICTION.items():
        yield name, ~_matches(columns[name], pattern)
    own, peer = (_matches(columns[name], "") for name in PAIR)
    yield PAIR[1], ~own | peer


class _Plan:
    """Which fields are wanted, and where each kind of record has them."""

    def __init__(self, options: Options, columns: frozenset[str] | None) -> None:
        self.wanted = columns
        known = dict.fromkeys(name for kind in KINDS for name in options.at[kind])
        if columns is None:
            self.names = list(known)
        else:
            needed = {part for name in columns for part in _PARTS.get(name, (name,))} | {*PROOF, *CONTRADICTION}
            self.names = sorted(name for name in needed if name in known or _POSITION.fullmatch(name))
        self.places: Mapping[str, Mapping[str, int]] = {
            kind: {
                name: options.at[kind].get(name, int(name) - 1 if _POSITION.fullmatch(name) else _MAX_FIELDS)
                for name in self.names
            }
            for kind in KINDS
        }
        """A field that a kind of record doesn't have has a place that no record has."""


class _Run:
    """The records in some lines."""

    def __init__(self, first: int, lines: pa.StringArray, plan: _Plan, times: str | None) -> None:
        self._first = first
        self._lines = lines
        self._plan = plan
        self._times = times
        self._at: list[Positions] = []
        self._parts: list[dict[str, pa.StringArray]] = []
        self._rejected: list[Rejected] = []
        self._skipped = 0

    def read(self) -> raw.RawBatch:
        heads = pc.split_pattern(pc.utf8_slice_codeunits(self._lines, 0, 64), ",", max_splits=1)
        starts = heads.offsets.to_numpy(zero_copy_only=False)[:-1]
        kinds = pc.utf8_trim_whitespace(heads.flatten().take(pa.array(starts - heads.offsets[0].as_py())))
        for kind in KINDS:
            rows = np.flatnonzero(pc.equal(kinds, kind).to_numpy(zero_copy_only=False))
            if len(rows):
                self._records(kind, rows.astype(np.int64))
        others = pc.invert(pc.is_in(kinds, value_set=pa.array(KINDS)))
        self._others(np.flatnonzero(others.to_numpy(zero_copy_only=False)), kinds)
        return self._batch()

    def _records(self, kind: Kind, rows: Positions) -> None:
        places = self._plan.places[kind]
        long = (pc.binary_length(self._lines).to_numpy(zero_copy_only=False) > MAX_LINE)[rows]
        together, alone = alike(self._lines, rows[~long])
        alone = np.concatenate((alone, rows[long]))
        for part in together:
            if part.width > _MAX_FIELDS:
                alone = np.concatenate((alone, part.at))
                continue
            self._at.append(part.at)
            self._parts.append({name: part.field(place) for name, place in places.items()})
        kept: list[int] = []
        values: list[list[str]] = []
        for row in np.sort(alone).tolist():
            line = self._lines[row].as_py()
            fields = split(line) if len(line) <= MAX_LINE else None
            if fields is None or len(fields) > _MAX_FIELDS:
                self._reject(row, "quotes don't match, or the line is too long")
            else:
                kept.append(row)
                values.append([fields[place] if place < len(fields) else "" for place in places.values()])
        self._at.append(np.array(kept, np.int64))
        columns = zip(*values, strict=True) if values else ((),) * len(places)
        self._parts.append({name: pa.array(of, pa.string()) for name, of in zip(places, columns, strict=True)})

    def _others(self, rows: Positions, kinds: pa.StringArray) -> None:
        """Lines that are no records of calls."""
        for row in rows.tolist():
            kind = kinds[row].as_py()
            line = self._lines[row].as_py()
            if _OTHER_RECORD.fullmatch(kind) or line.startswith("#!") or _FILE_LINE.match(line[:256]):
                self._skipped += 1
            elif line.strip():
                self._reject(row, "no kind of record (START, STOP, ATTEMPT, INTERMEDIATE)")

    def _reject(self, row: int, detail: str) -> None:
        line = self._lines[row].as_py()
        self._rejected.append(Rejected(self._first + row, RejectReason.MALFORMED_ROW, detail, line[:RAW_LIMIT]))

    def _batch(self) -> raw.RawBatch:
        at = np.concatenate([np.zeros(0, np.int64), *self._at])
        order = np.argsort(at, kind="stable")
        empty = pa.array([], pa.string())
        columns = {}
        for name in self._plan.names:
            values = pa.concat_arrays([empty, *(part[name] for part in self._parts)])
            columns[name] = pc.utf8_trim_whitespace(values.take(pa.array(order)))
        at = at[order]
        good: Mask = np.ones(len(at), np.bool_)
        for name, fits in _proofs(columns):
            for row in at[good & ~fits].tolist():
                self._reject(row, f"{name} doesn't stand where it does in the documents; set options.positions")
            good &= fits
        keep = pa.array(good)
        rows = int(np.count_nonzero(good))
        table = {name: column.filter(keep) for name, column in columns.items()}
        self._derive(table, rows)
        wanted = self._plan.wanted
        shown = table if wanted is None else {name: table[name] for name in sorted(wanted & table.keys())}
        return raw.RawBatch(
            raw.string_batch(shown, rows),
            pa.array(at[good] + self._first, pa.int64()),
            tuple(sorted(self._rejected, key=lambda reject: reject.row)),
            self._skipped,
        )

    def _derive(self, table: dict[str, pa.StringArray], rows: int) -> None:
        wanted = _PARTS.keys() if self._plan.wanted is None else self._plan.wanted & _PARTS.keys()
        null = pa.nulls(rows, pa.string())
        for name in wanted:
            parts = [table[part] for part in _PARTS[name]]
            if name in ("Start_Time", "Disconnect_Time"):
                date, time = parts
                whole = pc.and_(pc.greater(pc.binary_length(date), 0), pc.greater(pc.binary_length(time), 0))
                table[name] = pc.if_else(whole, pc.binary_join_element_wise(date, time, " "), null)
            elif name == "Time_Zone":
                zone = {"gmt": "GMT"}.get(self._times or "", self._times)
                table[name] = parts[0] if self._times == "local" else pa.array([zone] * rows, pa.string())
            elif name == "outcome":
                table[name] = _per_distinct(_outcome, *parts)
            else:
                pattern = _FROM_GROUP[name][1]
                fits = pc.match_substring_regex(parts[0], pattern)
                table[name] = pc.if_else(fits, pc.replace_substring_regex(parts[0], pattern, r"\1"), null)


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


def _told_times(path: Path, options: Options) -> str | None:
    """In which zone the times are: as the options say, or as the file's first line and first record tell."""
    if options.times is not None:
        return options.times
    opened: datetime | None = None
    for line in read_head(path).lines():
        kind = line.partition(",")[0].strip()
        if kind in KINDS:
            fields = split(line) or []
            written = _written(fields, options.at[kind])
            return None if opened is None or written is None else times_by_file(opened, written, fields[4].strip())
        if opened is None and _FILE_LINE.match(line):
            opened = file_time(line)
    return None


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    plan = _Plan(options, columns)
    times = _told_times(path, options)
    for first, lines in line_blocks(path, options.encoding):
        for start in range(0, len(lines), _LINES):
            yield _Run(first + start, lines.slice(start, _LINES), plan, times).read()
