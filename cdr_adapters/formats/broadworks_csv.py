"""BroadWorks application server call detail records in CSV, releases 14 and later.

The first line names version and encoding; then a record a line, between commas. There are no quotes: a comma within a
value is written `\\,`, a backslash `\\\\`. The first 47 columns stand where all specifications have them; behind them
only those of release 18 are known by position (`userId`, `trunkGroupName`). What stands elsewhere can be asked for by
its position, from "1", or `options.columns` names the columns. A file whose first record is a line of column names (an
export) is read by these. A record whose type, direction or start time isn't where it belongs is rejected.

Only records of calls are records (Normal, Long Duration, Interim); the marks Start, End and Failover are skipped.
Columns have the specification's names; those put together here say which side a value is of, see `_broadworks`. Times
are GMT; the user's zone (`userTimeZone`) doesn't count.

After the 'BroadWorks Accounting Call Detail Record Interface Specification'; tested on a file of release 14.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.formats import _broadworks
from cdr_adapters.formats._broadworks import CALLS, MARKS, NEEDED
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding, read_head, read_lines

SUMMARY = "BroadWorks CDRs in CSV, releases 14 and later: by position or by a line of column names"
GRADE = raw.Grade.REAL_FILES
COLUMNS = _broadworks.COLUMNS
ZONE = _broadworks.ZONE

FIRST = (
    *("recordId", "serviceProvider", "type", "userNumber", "groupNumber", "direction", "callingNumber"),
    *("callingPresentationIndicator", "calledNumber", "startTime", "userTimeZone", "answerIndicator", "answerTime"),
    *("releaseTime", "terminationCause", "networkType", "carrierIdentificationCode", "dialedDigits", "callCategory"),
    *("networkCallType", "networkTranslatedNumber", "networkTranslatedGroup", "releasingParty", "route"),
    *("networkCallID", "codec", "accessDeviceAddress", "accessCallID", "spare29", "failoverCorrelationId", "spare31"),
    *("group", "department", "accountCode", "authorizationCode", "originalCalledNumber"),
    *("originalCalledPresentationIndicator", "originalCalledReason", "redirectingNumber"),
    *("redirectingPresentationIndicator", "redirectingReason", "chargeIndicator", "typeOfNetwork"),
    *("voicePortalCalling.invocationTime", "localCallId", "remoteCallId", "callingPartyCategory"),
)
"""The columns that have the same position in all releases."""
LATER = {"18": {"userId": 121, "trunkGroupName": 135}}
"""Columns that have a known position in one release only."""

_BATCH_ROWS = 16384
_CHARACTERS = 32 << 20
_MAX_COLUMNS = 2000
_FIRST_LINE = re.compile(r"version=(?P<release>[0-9]{1,3})\S* encoding=(?P<encoding>[A-Za-z0-9_.-]{1,40})", re.ASCII)
_POSITION = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_DIRECTIONS = "|Originating|Terminating"
_TIME = r"[0-9]{14}(?:\.[0-9]{1,3})?"


class Options(raw.Options):
    """Options of BroadWorks CSV.

    `columns` names the columns from the left, for a release that moved them. `encoding` is by default what the file's
    first line says, or else ISO-8859-1.
    """

    columns: (
        Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=5, max_length=_MAX_COLUMNS)] | None
    ) = None
    encoding: Encoding | None = None


def split(line: str) -> list[str]:
    """A line's values."""
    if "\\" not in line:
        return line.split(",")
    hidden = line.replace("\\\\", "\x00").replace("\\,", "\x01")
    return [value.replace("\x01", ",").replace("\x00", "\\") for value in hidden.split(",")]


def _is_header(values: Sequence[str]) -> bool:
    names = {value.strip() for value in values}
    return {"calledNumber", "startTime"} <= names and bool({"direction", "type", "recordId"} & names)


def _first_line(path: Path) -> re.Match[str] | None:
    return _FIRST_LINE.match(read_head(path).data[:200].removeprefix(codecs.BOM_UTF8).decode("latin-1"))


def _known_encoding(path: Path, name: str) -> str:
    try:
        return Options(encoding=name).encoding or name
    except ValueError:
        raise raw.AdapterError(f"{path}: its encoding {name!r} isn't known; set options.encoding") from None


class _Layout:
    """Which column is which, and which are wanted."""

    def __init__(self, at: dict[str, int], columns: frozenset[str] | None) -> None:
        self.at = at
        needed = {*NEEDED, "type", "startTime"}
        names = set(at) if columns is None else {name for name in at if name in columns or name in needed}
        by_position = {name: int(name) - 1 for name in columns or () if _POSITION.fullmatch(name) and name not in at}
        places = {name: at[name] for name in names} | by_position
        self.names = tuple(places)
        self.cut: itemgetter[Any] = itemgetter(*places.values())
        self.width = max(places.values()) + 1


class _Buffer:
    """Records until there are enough for a batch."""

    def __init__(self, columns: frozenset[str] | None) -> None:
        self._columns = columns
        self._clear()

    def _clear(self) -> None:
        self._values: list[tuple[str, ...]] = []
        self._lines: list[str] = []
        self._numbers: list[int] = []
        self._rejected: list[Rejected] = []
        self._size = 0
        self.skipped = 0

    def add(self, number: int, values: list[str], layout: _Layout, line: str) -> None:
        if len(values) < layout.width:
            values += [""] * (layout.width - len(values))
        self._values.append(layout.cut(values))
        self._numbers.append(number)
        self._lines.append(line)
        self._size += len(line)

    def reject(self, number: int, detail: str, line: str) -> None:
        self._rejected.append(Rejected(number, RejectReason.MALFORMED_ROW, detail, line[:RAW_LIMIT]))

    @property
    def full(self) -> bool:
        rows = max(len(self._values), len(self._rejected))
        return rows >= _BATCH_ROWS or self._size >= _CHARACTERS

    def take(self, layout: _Layout | None) -> raw.RawBatch:
        table: dict[str, pa.StringArray] = {}
        rows = len(self._values)
        good = np.ones(rows, np.bool_)
        if layout is not None and rows:
            lists = zip(*self._values, strict=True)
            arrays = (pa.array(values, pa.string()) for values in lists)
            table = {name: pc.utf8_trim_whitespace(a) for name, a in zip(layout.names, arrays, strict=True)}
            for name, pattern in (("direction", _DIRECTIONS), ("startTime", _TIME)):
                if name in table:
                    good &= pc.match_substring_regex(table[name], f"^(?:{pattern})$").to_numpy(zero_copy_only=False)
            for at in np.flatnonzero(~good):
                detail = "direction or start time isn't where it belongs; set options.columns"
                self.reject(self._numbers[at], detail, self._lines[at])
            keep = pa.array(good)
            table = {name: values.filter(keep) for name, values in table.items()}
            rows = int(np.count_nonzero(good))
            table |= _broadworks.derived(table, rows)
        shown = {name: a for name, a in table.items() if self._columns is None or name in self._columns}
        batch = raw.RawBatch(
            raw.string_batch(shown, rows),
            pa.array(self._numbers, pa.int64()).filter(pa.array(good)),
            tuple(sorted(self._rejected, key=lambda reject: reject.row)),
            self.skipped,
        )
        self._clear()
        return batch


def _layout(names: Sequence[str], columns: frozenset[str] | None) -> _Layout:
    at: dict[str, int] = {}
    for index, name in enumerate(names):
        at.setdefault(name.strip(), index)
    return _Layout(at, columns)


_RECORD_ID = re.compile(r"[0-9A-Za-z]{1,40}[0-9]{14}\.[0-9]{3,4}[0-9]?-?[0-9]*", re.ASCII)


def identify(head: raw.Head) -> bool:
    """The line with the version and a record, or a line of the specification's column names."""
    lines = head.lines(10)
    if not lines:
        return False
    if _FIRST_LINE.match(lines[0]):
        return len(lines) == 1 or bool({*split(lines[1])[2:3]} & (CALLS | MARKS)) or _is_header(split(lines[1]))
    if _is_header(lines[0].split(",")):
        return True
    values = split(lines[0])
    return len(values) > 40 and values[2] in CALLS | MARKS and _RECORD_ID.fullmatch(values[0]) is not None


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    first = _first_line(path)
    fixed = {name: index for index, name in enumerate(FIRST)}
    if first is not None:
        fixed |= {name: at - 1 for name, at in LATER.get(first["release"], {}).items()}
    encoding = options.encoding or ("latin-1" if first is None else _known_encoding(path, first["encoding"]))
    layout = _Layout(fixed, columns) if options.columns is None else _layout(options.columns, columns)
    begun = options.columns is not None
    buffer = _Buffer(columns)
    for number, line in read_lines(path, encoding):
        if len(line) > MAX_LINE:
            buffer.reject(number, "the line is too long", line)
            continue
        if not line or line.isspace():
            continue
        if number == 1 and _FIRST_LINE.match(line):
            buffer.skipped += 1
            continue
        values = split(line)
        if not begun and _is_header(values) and len(values) <= _MAX_COLUMNS:
            layout = _layout(values, columns)
            begun = True
            buffer.skipped += 1
            continue
        begun = True
        at = layout.at.get("type", -1)
        kind = values[at].strip() if 0 <= at < len(values) else "" if at >= 0 else "Normal"
        if kind in MARKS:
            buffer.skipped += 1
        elif kind not in CALLS:
            buffer.reject(number, "no type of record where it belongs; set options.columns", line)
        elif len(values) > _MAX_COLUMNS:
            buffer.reject(number, f"more than {_MAX_COLUMNS} columns", line)
        else:
            buffer.add(number, values, layout, line)
        if buffer.full:
            yield buffer.take(layout)
    yield buffer.take(layout)
