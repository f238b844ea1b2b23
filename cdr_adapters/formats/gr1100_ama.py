"""AMA call records of North American switches in BAF, the Bellcore AMA format, after Telcordia GR-1100-CORE.

Read: the call structures of `_ama_tables.py` with their modules. Others are rejected with their code, until
`options.structures` says what stands in them; a record with a module that nobody described is rejected too, since the
trunk may stand behind it (`options.modules` gives its length). Records about forwarding, counts, clocks and tape labels
are passed over. How records lie in a file: `_ama_files.py`. `row` is the position of a record's first octet, from 1.

**The year.** A date holds one digit of it. The date meant is the last one with that digit up to the day on which the
file was made, or the next day: the one in the file's AMADNS header, or the one that `options.as_of` gives. A file
without either is refused. Times are the switch's local ones: set zone.

Columns are the fields of `_ama_tables.FIELDS` as digits without sign, and those that the reader makes of them:

- `called`, `called_sent`, `calling`: the terminating number; where a toll-free number was dialled, that one, and the
  terminating number as sent. International numbers have `+`.
- `carrier_connected`: carrier connect date and time, when the trunk to or from the carrier was seized.
- `answered`: connect date and time of a call that was answered. `ended`: those of one that was not; its connect time is
  read as the latest time at which the attempt can have begun.
- `incoming_trunk_group`, `incoming_trunk_member`, `outgoing_...`: trunk identification modules by their routing
  indicator. Without such: the trunk group to a carrier is the incoming one for call type 119 (terminating access) and
  the outgoing one for 110 (originating access), and neither for others. Four digits each: a switch's own numbers, so
  that records of several switches (`recording_office_id`) need a source each.
- `outcome`, `lrn` (of the terminating party), `flagged` (`1`: the switch suspects an error), `structure_code`.

A record says no call id. Long calls have several records, all with the call's own connect time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from cdr_adapters import raw
from cdr_adapters.formats import _ama_tables as tables
from cdr_adapters.formats._ama_files import AmaRecord, begins_records, header_date, records
from cdr_adapters.records import RAW_LIMIT, RecordBuffer
from cdr_adapters.stream import read_blocks, read_head

SUMMARY = "Telcordia GR-1100 AMA records (BAF): call structures, carrier access, trunk modules"
GRADE = raw.Grade.DOCUMENTATION

_LOCAL = "%Y-%m-%dT%H:%M:%S.%f"
COLUMNS: dict[str, Any] = {
    "called_in": "called",
    "called_out": "called_sent",
    "calling": "calling",
    "seizure": {"column": "carrier_connected", "format": _LOCAL, "resolution": "100ms"},
    "answer": {"column": "answered", "format": _LOCAL, "resolution": "100ms"},
    "release": {"column": "ended", "format": _LOCAL, "resolution": "100ms"},
    "ingress_trunk": "incoming_trunk_group",
    "egress_trunk": "outgoing_trunk_group",
    "leg": "call_type",
    "disposition": "outcome",
}


def _known_fields(structures: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for code, fields in structures.items():
        unknown = [name for name in fields if name not in tables.FIELDS]
        if unknown:
            raise ValueError(f"structure {code}: unknown field {unknown[0]!r}; known are {', '.join(tables.FIELDS)}")
    return structures


_StructureCode = Annotated[str, Field(pattern=r"^[0-9]{4}$")]
_ModuleCode = Annotated[str, Field(pattern=r"^[0-9]{3}$")]


class Options(raw.Options):
    """Options of GR-1100 files.

    Attributes:
        as_of: the day on which the files were made, at the latest: it settles which year a digit means. `modified`
            takes the day when a file was last written, by the machine that reads it.
        structures: more call structures: code, and names of the fields behind it.
        modules: more modules: code, and octets with the code.
    """

    as_of: date | Literal["modified"] | None = None
    structures: Annotated[dict[_StructureCode, tuple[str, ...]], AfterValidator(_known_fields)] = Field(
        default_factory=dict
    )
    modules: dict[_ModuleCode, Annotated[int, Field(ge=2, le=4096)]] = Field(default_factory=dict)


_INCOMING, _OUTGOING = frozenset("1357"), frozenset("2468")
_CARRIER_TRUNK = {"119": "incoming", "110": "outgoing"}
_ANSWERED = frozenset("023")  # table 9: detected, answered attempt, simulated
_CONNECTED = "001"
_TERMINATING_PARTY = "002"
_TERMINATING = ("overseas_indicator", "terminating_npa", "terminating_number")
_NEEDED = frozenset(
    (
        *(*_TERMINATING, "dialed_npa", "dialed_number", "connect_date", "connect_time"),
        *("carrier_connect_date", "carrier_connect_time", "trunk_group_number"),
    )
)
"""Where half a number is worse than none."""
_SIGN, _UNUSED = "c", "f"


class _RecordError(ValueError):
    """A record that can't be read; the message says why."""


def _digits(text: str, needed: bool) -> str | None:
    """A field's digits; None when the switch left it unset: by its sign, or by other values than 0 to 9.

    Raises:
        _RecordError: its last half octet is no sign, so that the structure can't be the one that its code says; or a
            needed field has some digits and some other values.
    """
    body = text[:-1]
    if text[-1] not in (_SIGN, _UNUSED):
        raise _RecordError("a field without a sign at its end")
    if text[-1] == _SIGN and body.isdecimal():
        return body
    if needed and text[-1] == _SIGN and any(digit.isdecimal() for digit in body.lstrip("0")):
        raise _RecordError("a number with something else than digits in it")
    return None


def _fields(text: str, names: tuple[str, ...]) -> tuple[dict[str, str | None], int]:
    """The fields in `text` (hexadecimal digits), and how many of its digits they take."""
    found: dict[str, str | None] = {}
    at = 0
    for name in names:
        after = at + 2 * tables.FIELDS[name]
        field = text[at:after]
        if len(field) < after - at:
            raise _RecordError("the record ends within its structure")
        found[name] = _digits(field, name in _NEEDED)
        at = after
    return found, at


@cache
def _all_digits(names: tuple[str, ...]) -> re.Pattern[str]:
    """What the fields of a structure look like when all of them hold digits, which is nearly always."""
    return re.compile("".join(f"([0-9]{{{2 * tables.FIELDS[name] - 1}}}){_SIGN}" for name in names))


def _set_trunk(record: dict[str, str | None], side: str, group: str, member: str | None) -> None:
    before = record.get(f"{side}_trunk_group")
    if before not in (None, group):
        raise _RecordError(f"two {side} trunk groups")
    record[f"{side}_trunk_group"] = group
    if member is not None:
        record[f"{side}_trunk_member"] = member


def _read_modules(record: dict[str, str | None], text: str, lengths: Mapping[str, int]) -> None:
    at = 0
    end = len(text)
    while at < end:
        code = text[at : at + 4]
        if code[3:] != _SIGN:
            raise _RecordError("something else than a module stands behind the structure")
        module = code[:3]
        if module == tables.LAST_MODULE:
            return
        if module not in lengths:
            raise _RecordError(f"module {module} is not known: give its length in options.modules")
        after = at + 2 * lengths[module]
        if after > end:
            raise _RecordError("the record ends within a module")
        contents = text[at + 4 : after]
        if module == tables.TRUNK_MODULE and (trunk := _digits(contents, True)) is not None:
            if trunk[0] in _INCOMING:
                _set_trunk(record, "incoming", trunk[1:5], trunk[5:9])
            elif trunk[0] in _OUTGOING:
                _set_trunk(record, "outgoing", trunk[1:5], trunk[5:9])
        elif module == tables.CARRIER_MODULE:
            record |= _fields(contents, tables.CARRIER_FIELDS)[0]
        elif module == tables.PORTABILITY_MODULE and contents[:3] == _TERMINATING_PARTY:
            lrn = _digits(contents[4:16], False)
            record["lrn"] = lrn[-10:] if lrn else None
        at = after


@lru_cache(maxsize=4096)
def _date_of(digits: str, as_of: date) -> str:
    """`YMMDD` as an ISO date, the last one with that digit up to the day after `as_of`; it need not exist."""
    tomorrow = as_of + timedelta(days=1)
    year = tomorrow.year - (tomorrow.year - int(digits[0])) % 10
    if f"{year:04d}{digits[1:]}" > tomorrow.strftime("%Y%m%d"):
        year -= 10
    return f"{year:04d}-{digits[1:3]}-{digits[3:5]}"


def _moment(day: str | None, time: str | None, as_of: date) -> str | None:
    """A date (`YMMDD`) and a time (`hhmmsst`) as ISO 8601; None when one of them was left unset."""
    if day is None or time is None or day == "00000":
        return None
    return f"{_date_of(day, as_of)}T{time[:2]}:{time[2:4]}:{time[4:6]}.{time[6]}"


def _terminating(record: Mapping[str, str | None]) -> str | None:
    """The terminating number (tables 15 to 17)."""
    indicator, area, number = (record.get(name) for name in _TERMINATING)
    if indicator is None or area is None or number is None:
        return None
    digits = area + number
    if indicator in "29":  # neither of the North American plan nor international: service and operator codes
        raise _RecordError(f"a terminating number of no numbering plan (overseas indicator {indicator})")
    if indicator in "345678":  # an international number of 7 to 12 digits
        length = int(indicator) + 4
        if digits[:-length].strip("0"):
            raise _RecordError("the terminating number is longer than its indicator says")
        return "+" + digits[-length:]
    length = int(digits[:2])  # significant digits; none for the ten of the North American plan
    if length > 10:
        raise _RecordError("the terminating number has more than ten digits")
    number = digits[-(length or 10) :]
    return (number.removeprefix("000") if not length else number) if number.strip("0") else None


def _national(area: str | None, number: str | None) -> str | None:
    """A number of tables 13 and 14."""
    if number is None or not number.strip("0"):
        return None
    return number if area is None or not area.strip("0") else area + number


class _Reader:
    """Reads records by the structures and modules of one source."""

    def __init__(self, options: Options, as_of: date) -> None:
        self._structures = {**tables.STRUCTURES, **options.structures}
        self._modules = {**tables.MODULES, **options.modules}
        self._as_of = as_of

    def record(self, data: bytes) -> dict[str, str | None] | None:
        """The columns of one record; None for one that is no call.

        Raises:
            _RecordError: it can't be read.
        """
        text = data.hex()
        if text[:2] not in ("aa", "ab") or text[7:8] != _SIGN or not text[2:7].isdecimal():
            raise _RecordError("no hexadecimal identifier and structure code")
        code = text[3:7]
        names = self._structures.get(code)
        if names is None:
            if code in tables.NO_CALLS:
                return None
            raise _RecordError(f"structure code {code} is not known: give its fields in options.structures")
        record: dict[str, str | None]
        if (plain := _all_digits(names).match(text, 8)) is not None:
            record, behind = dict(zip(names, plain.groups(), strict=True)), plain.end()
        else:
            record, used = _fields(text[8:], names)
            behind = 8 + used
        record["structure_code"] = code
        record["flagged"] = "1" if text[:2] == "ab" else "0"
        if text[2] == "4":
            _read_modules(record, text[behind:], self._modules)
        elif text[2] != "0":
            raise _RecordError("a structure code that says neither modules nor none")
        elif len(text) > behind:
            raise _RecordError("something stands behind the structure")
        self._finish(record)
        return record

    def _finish(self, record: dict[str, str | None]) -> None:
        get = record.get
        terminating = _terminating(record)
        dialled = _national(get("dialed_npa"), get("dialed_number"))
        record["called"] = dialled or terminating
        record["called_sent"] = terminating if dialled else None
        record["calling"] = _national(get("originating_npa"), get("originating_number"))
        answered = get("called_party_off_hook") in _ANSWERED if get("called_party_off_hook") else None
        if get("completion_indicator") is not None:
            answered = get("completion_indicator") == _CONNECTED
        record["outcome"] = None if answered is None else "answered" if answered else "unanswered"
        connected = _moment(get("connect_date"), get("connect_time"), self._as_of)
        record["answered" if answered else "ended"] = connected
        record["carrier_connected"] = _moment(get("carrier_connect_date"), get("carrier_connect_time"), self._as_of)
        side = _CARRIER_TRUNK.get(get("call_type") or "")
        group = get("trunk_group_number")
        if side and group and group[1:].strip("0") and get(f"{side}_trunk_group") is None:
            record[f"{side}_trunk_group"] = group[1:]


def identify(head: raw.Head) -> bool:
    """A record descriptor word, AA or AB, and a structure code, behind an AMADNS header or not; several in a row."""
    data = head.data
    if not begins_records(data, 28 if header_date(data) else 0):
        return False
    seen = 0
    try:
        for _ in records(head.path, iter((data,))):
            seen += 1
            if seen >= _ENOUGH:
                break
    except raw.AdapterError:
        pass  # the head may end within a record
    return seen > 0


_ENOUGH = 16


def _file_date(path: Path, options: Options) -> date:
    if isinstance(options.as_of, date):
        return options.as_of
    if options.as_of == "modified":
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    found = header_date(read_head(path).data)
    if found is None:
        raise raw.AdapterError(
            f"{path}: AMA dates hold one digit of the year, and this file doesn't say when it was made: set "
            "options.as_of to that day, such as 2026-11-22, or to 'modified'"
        )
    return found


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    reader = _Reader(options, _file_date(path, options))
    buffer = RecordBuffer(columns)
    try:
        for found in records(path, read_blocks(path)):
            _take(found, reader, columns, buffer)
            if buffer.full:
                yield buffer.take()
    except raw.AdapterError:
        if not buffer.empty:
            yield buffer.take()
        raise
    if not buffer.empty:
        yield buffer.take()


def _take(found: AmaRecord, reader: _Reader, columns: frozenset[str] | None, buffer: RecordBuffer) -> None:
    try:
        record = reader.record(found.data)
    except _RecordError as error:
        buffer.reject(found.row, str(error), found.data[: RAW_LIMIT // 2].hex())
        return
    if record is None:
        buffer.skip()
    else:
        # a record has forty columns, and a batch many records
        buffer.add(found.row, record if columns is None else {name: record.get(name) for name in columns})
