"""Call and session detail records of AudioCodes Mediant devices, from syslog or stored on the device.

Lines of values between vertical bars (syslog, whatever stands before the first of them: a syslog header, `[S=12]`), or
between commas (local storage). The device repeats the line of titles from time to time; it says which column is which,
whatever release and customising made of them. Before the first one, and in files without, `options.columns` counts,
then the order of a device that nobody customised where the record shows it (see `_audiocodes_fields.DEFAULT`). A record
with another number of values than its titles is rejected.

CALL_START, CALL_CONNECT and CALL_END are all records of a leg; the two legs of a call share `SessionId`. Session
detail records (START, STOP, ATTEMPT, INTERMEDIATE) are of both legs; which of their columns is which follows from the
words in its title, and what two titles could be is left out. Reports on media and on other dialogs are skipped. Columns
have the titles of release 7.4 whatever the file's are, and those put together here say which side a value is of: `Leg`,
`CalledIn`, `CalledOut`, `Calling`, `IngressIp`, `IngressGroup`, `EgressIp`, `EgressGroup`, `outcome`. So the device's
own address is never the upstream: a record of the outgoing leg alone doesn't name one.

Times say `UTC`, or what TimeZoneFormat makes of it. A device whose clock is set to local time by an offset
(NTPServerUTCOffset) still writes `UTC` unless told otherwise: then map seizure, answer and release with
`abbreviations = { UTC = "-05:00" }`.

After the Mediant user's manuals 6.6 to 7.4; tested on a device's syslog.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.formats import _audiocodes_fields as fields_of
from cdr_adapters.formats._audiocodes_fields import (
    CALL_RECORDS,
    DEFAULT,
    OTHER_RECORDS,
    SESSION_RECORDS,
    is_header,
    is_media_header,
    looks_like_default,
    name_of,
    session_columns,
)
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines

SUMMARY = "AudioCodes Mediant CDRs and SDRs: syslog and local storage, releases 6.x and 7.x"
GRADE = raw.Grade.REAL_FILES

_TIMES = ["%H:%M:%S.%f %Z %a %b %d %Y", "%H:%M:%S %Z %a %b %d %Y"]
COLUMNS: dict[str, Any] = {
    "called_in": "CalledIn",
    "called_out": "CalledOut",
    "calling": "Calling",
    "seizure": {"column": "SetupTime", "format": _TIMES},
    "answer": {"column": "ConnectTime", "format": _TIMES},
    "release": {"column": "ReleaseTime", "format": _TIMES},
    "ingress_trunk": "IngressGroup",
    "ingress_address": {"column": "IngressIp", "bad": "null"},
    "egress_trunk": "EgressGroup",
    "egress_address": {"column": "EgressIp", "bad": "null"},
    "call_id": ["SessionId", "SIPCallId"],
    "leg": "Leg",
    "disposition": "outcome",
}

_BATCH_ROWS = 16384
_CHARACTERS = 32 << 20
_MAX_COLUMNS = 500
_TABLES = 64
_TEXT = pa.string()
_RECORDS = CALL_RECORDS | SESSION_RECORDS | OTHER_RECORDS


class Options(raw.Options):
    """Options of AudioCodes records.

    `columns` gives the titles for a file without them. `delimiter` is what stands between values; without it, what
    stands between the titles.
    """

    columns: (
        Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=5, max_length=_MAX_COLUMNS)] | None
    ) = None
    delimiter: Annotated[str, Field(pattern=r"^[,;|\t]$")] | None = None
    encoding: Encoding = "utf-8"


# --- a line ---------------------------------------------------------------------------------------------------------


def _values(line: str, delimiter: str) -> list[str]:
    if delimiter != "|" and '"' in line:
        try:
            return next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            return []
    return line.split(delimiter)


_FIRST_TITLE = re.compile(r"(?:sbc|gw|media)?reporttype|recordtype|cdrtype", re.ASCII)


def _begun(values: list[str]) -> list[str]:
    """Values without what stands before a record: in syslog, everything up to the bar that has a record behind it."""
    first = values[0].split()
    if first and (first[-1] in _RECORDS or _FIRST_TITLE.fullmatch(fields_of.fold(first[-1]))):
        values[0] = first[-1]
        return values
    return values[1:] if "[S=" in values[0] or not first or _follows_a_header(values) else values


def _follows_a_header(values: Sequence[str]) -> bool:
    behind = values[1].strip() if len(values) > 1 else ""
    return behind in _RECORDS or _FIRST_TITLE.fullmatch(fields_of.fold(behind)) is not None


# --- records with the same titles -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Table:
    """Records with the same titles."""

    titles: tuple[str, ...]
    names: tuple[str, ...]
    width: int
    is_session: bool
    meanings: Mapping[str, str]
    cut: itemgetter[Any]
    wanted: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, titles: tuple[str, ...], columns: frozenset[str] | None) -> _Table:
        names: dict[str, int] = {}
        for index, title in enumerate(titles):
            names.setdefault(name_of(title) or str(index + 1), index)
        meanings = session_columns(titles)
        is_session = "RecordType" in names or (bool(meanings) and "Orig" not in names)
        meanings = {what: name_of(title) for what, title in meanings.items()} if is_session else {}
        needed = {*_NEEDED, *meanings.values(), *(columns or ())}
        wanted = tuple(names) if columns is None else tuple(name for name in names if name in needed)
        wanted += tuple(name for name in names if name not in wanted)[: max(0, 2 - len(wanted))]  # itemgetter's tuple
        cut = itemgetter(*(names[name] for name in wanted))
        return cls(titles, tuple(names), len(titles), is_session, meanings, cut, wanted)

    def take(self, columns: frozenset[str] | None) -> raw.RawBatch:
        rows = len(self.rows)
        lists = list(zip(*self.rows, strict=True))
        table = {
            name: pc.utf8_trim_whitespace(pa.array(values, _TEXT))
            for name, values in zip(self.wanted, lists, strict=True)
        }
        sides = _Sides(table, rows)
        told = sides.of_session(self.meanings) if self.is_session else sides.of_leg()
        table |= {name: values for name, values in told.items() if values is not None}
        for name in ("SetupTime", "ConnectTime", "ReleaseTime"):
            if name in table:
                table[name] = pc.replace_substring_regex(table[name], " {2,}", " ")
        shown = {name: values for name, values in table.items() if columns is None or name in columns}
        batch = raw.RawBatch(raw.string_batch(shown, rows), pa.array(self.numbers, pa.int64()))
        self.rows, self.numbers = [], []
        return batch


_NEEDED = (
    *("SBCReportType", "GWReportType", "RecordType", "EPTyp", "Orig", "SourceIp", "DestIp", "IPGroup", "IPG", "TG"),
    *("SrcURI", "SrcURIBeforeMap", "DstURI", "DstURIBeforeMap"),
    *("SrcPhoneNum", "SrcNumBeforeMap", "DstPhoneNum", "DstNumBeforeMap"),
    *("SetupTime", "ConnectTime", "ReleaseTime", "SIPTrmReason", "TrmReasonCategory", "SessionId", "SIPCallId"),
)


class _Sides:
    """What the columns of some records mean, by the side of the call that they are of."""

    def __init__(self, table: Mapping[str, pa.StringArray], rows: int) -> None:
        self._table = table
        self._null = pa.nulls(rows, _TEXT)

    def _first(self, *names: str) -> pa.StringArray:
        """The first of some columns that holds something."""
        found = [self._table[name] for name in names if name in self._table]
        blank = [pc.if_else(pc.equal(values, ""), self._null, values) for values in found]
        return pc.coalesce(*blank) if blank else self._null

    def of_leg(self) -> dict[str, pa.StringArray]:
        """Of records of one leg each, or of a gateway's."""
        null = self._null
        came_in = pc.fill_null(pc.equal(self._first("Orig"), "RMT"), False)
        went_out = pc.fill_null(pc.equal(self._first("Orig"), "LCL"), False)
        is_sbc = pc.fill_null(pc.equal(self._first("EPTyp"), "SBC"), "GWReportType" not in self._table)
        by_tdm = pc.and_(went_out, pc.invert(is_sbc))
        to_tdm = pc.and_(came_in, pc.invert(is_sbc))
        group = self._first("IPGroup", "IPG")
        trunk = self._first("TG")
        received = self._first("DstURIBeforeMap", "DstNumBeforeMap", "DstURI", "DstPhoneNum")
        sent = self._first("DstURI", "DstPhoneNum")
        caller = self._first("SrcURIBeforeMap", "SrcNumBeforeMap", "SrcURI", "SrcPhoneNum")
        return {
            "Leg": pc.if_else(is_sbc, pc.if_else(came_in, "ingress", pc.if_else(went_out, "egress", null)), null),
            "CalledIn": pc.if_else(pc.or_(came_in, by_tdm), received, null),
            "CalledOut": pc.if_else(pc.or_(went_out, to_tdm), sent, null),
            "Calling": caller,
            "IngressIp": pc.if_else(came_in, self._first("SourceIp"), null),
            "IngressGroup": pc.if_else(came_in, group, pc.if_else(by_tdm, trunk, null)),
            "EgressIp": pc.if_else(went_out, self._first("DestIp"), null),
            "EgressGroup": pc.if_else(went_out, group, pc.if_else(to_tdm, trunk, null)),
            "outcome": self._outcome(self._first("SBCReportType", "GWReportType"), self._first("SIPTrmReason")),
        }

    def of_session(self, meanings: Mapping[str, str]) -> dict[str, pa.StringArray]:
        """Of session records; `meanings` says which column holds what."""

        def column(what: str) -> pa.StringArray:
            return self._first(meanings[what]) if what in meanings else self._null

        times = {name: column(name) for name in ("SetupTime", "ConnectTime", "ReleaseTime") if name in meanings}
        return {
            "Leg": self._null,
            "CalledIn": column("IngressCalled"),
            "CalledOut": column("EgressCalled"),
            "Calling": column("IngressCalling"),
            "IngressIp": column("IngressIp"),
            "IngressGroup": column("IngressGroup"),
            "EgressIp": column("EgressIp"),
            "EgressGroup": column("EgressGroup"),
            **times,
            "outcome": self._outcome(self._first("RecordType"), column("IngressReason")),
        }

    def _outcome(self, report: pa.StringArray, reason: pa.StringArray) -> pa.StringArray:
        connected = pc.if_else(pc.is_valid(self._first("ConnectTime")), "1", "")
        texts = [pc.fill_null(values, "") for values in (report, connected, reason, self._first("TrmReasonCategory"))]
        keys = pc.binary_join_element_wise(*texts, "|").dictionary_encode()
        outcomes = []
        for key in keys.dictionary.to_pylist():
            kind, answered, why, category = key.split("|") if key.count("|") == 3 else ("", "", "", "")
            outcomes.append(fields_of.outcome(kind, bool(answered), why, category))
        return pa.array(outcomes, _TEXT).take(keys.indices)


# --- the file -------------------------------------------------------------------------------------------------------


class _File:
    """The records of a file while its lines come in."""

    def __init__(self, options: Options, columns: frozenset[str] | None) -> None:
        self._options = options
        self._columns = columns
        self._delimiter = options.delimiter or "|"
        self._tables: dict[tuple[str, ...], _Table] = {}
        self._current: dict[str, _Table] = {}
        if options.columns is not None:
            self._use(options.columns)
        self._rejected: list[Rejected] = []
        self._skipped = 0
        self._size = 0
        self._count = 0

    def _use(self, titles: Sequence[str]) -> None:
        key = tuple(title.strip() for title in titles)
        if key not in self._tables:
            self._tables[key] = _Table.of(key, self._columns)
        table = self._tables[key]
        family = "session" if table.is_session else "gateway" if "GWReportType" in table.names else "call"
        self._current[family] = table

    def add(self, number: int, line: str) -> None:
        """One line."""
        if len(line) > MAX_LINE:
            self._reject(number, "the line is too long", line)
            return
        values = self._split(line)
        if values is None:
            self._skipped += bool(line.strip())
            return
        kind = values[0].strip()
        if kind in OTHER_RECORDS:
            self._skipped += 1
        elif kind in CALL_RECORDS or kind in SESSION_RECORDS or self._is_customised(values):
            self._record(number, kind, values, line)
        elif is_header(values):
            self._use(values)
            self._skipped += 1
        elif is_media_header(values):
            self._skipped += 1
        else:
            self._reject(number, "neither a record nor a line of titles", line)

    def _split(self, line: str) -> list[str] | None:
        """A line's values; None when it has nothing to do with records."""
        if self._options.delimiter is None and not self._current and self._delimiter not in line:
            values = _values(line, ",")
            if is_header(values):
                self._delimiter = ","
            else:
                return None
        if self._delimiter not in line:
            return None
        values = _values(line, self._delimiter)
        return _begun(values) if self._delimiter == "|" and values else values or None

    def _is_customised(self, values: Sequence[str]) -> bool:
        """Whether a record's first value isn't its kind, because the operator wants other columns."""
        return any(
            len(values) == table.width and table.names[0] not in ("SBCReportType", "GWReportType", "RecordType")
            for table in self._current.values()
        ) and not is_header(values)

    def _record(self, number: int, kind: str, values: list[str], line: str) -> None:
        of_gateway = len(values) > 1 and values[1].strip() not in ("SBC", "")
        families = ["session", "call", "gateway"] if kind in SESSION_RECORDS else ["call", "gateway", "session"]
        if kind in CALL_RECORDS and of_gateway and "gateway" in self._current:
            families = ["gateway", "call"]
        there = [self._current[family] for family in families if family in self._current]
        table = next((table for table in there if table.width == len(values)), None)
        if table is None and not there and looks_like_default([value.strip() for value in values]):
            self._use(DEFAULT[: len(values)])
            table = self._current.pop("call")
        if table is None:
            told = f"titles have {there[0].width}" if there else "no titles came before; set options.columns"
            self._reject(number, f"{len(values)} values, and {told}", line)
            return
        table.rows.append(table.cut(values))
        table.numbers.append(number)
        self._count += 1
        self._size += len(line)

    def _reject(self, number: int, detail: str, line: str) -> None:
        self._rejected.append(Rejected(number, RejectReason.MALFORMED_ROW, detail, line[:RAW_LIMIT]))

    @property
    def full(self) -> bool:
        """Whether it is time to `take`."""
        rows = max(self._count, len(self._rejected))
        return rows >= _BATCH_ROWS or self._size >= _CHARACTERS or len(self._tables) > _TABLES

    def take(self) -> Iterator[raw.RawBatch]:
        """Everything so far."""
        for table in self._tables.values():
            if table.rows:
                yield table.take(self._columns)
        if len(self._tables) > _TABLES:
            self._tables = {table.titles: table for table in self._current.values()}
        yield raw.RawBatch(raw.string_batch({}, 0), pa.array([], pa.int64()), tuple(self._rejected), self._skipped)
        self._rejected, self._skipped, self._size, self._count = [], 0, 0, 0


_CERTAIN = re.compile(r"(?:^|\|)\s*(?:CALL_START|CALL_CONNECT|CALL_END)\s*\|\s*SBC\s*\|", re.ASCII)


def identify(head: raw.Head) -> bool:
    """A line of titles, or an SBC's record of a call between bars."""
    for line in head.lines(50):
        if _CERTAIN.search(line):
            return True
        for delimiter in "|,":
            values = _values(line, delimiter)
            if len(values) > 8 and is_header(_begun(values) if delimiter == "|" else values):
                titles = {name_of(value) for value in values}
                if titles & {"SBCReportType", "GWReportType", "RecordType"} or {"Orig", "SIPCallId"} <= titles:
                    return True
    return False


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    file = _File(options, columns)
    for number, line in read_lines(path, options.encoding):
        file.add(number, line)
        if file.full:
            yield from file.take()
    yield from file.take()
