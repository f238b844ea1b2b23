"""Times as switches write them, turned into UTC.

Understood: seconds, milliseconds, microseconds and nanoseconds since 1970 (with decimal fractions), Gregorian seconds
(since the year 0, as Erlang's calendar counts: unix = gregorian - 62167219200), Julian days (the astronomers' day
count, unix = (jd - 2440587.5) * 86400), ISO 8601, and strptime patterns. One text at a time; `time_columns` does the
same for whole columns. Zero, 1970-01-01 00:00:00 and the year 1 are what programs write for "never": absent.

Refused: a naive time without a zone, a zone abbreviation that neither the configuration nor the zone explains, a date
without a time of day, anything outside 1990 to 2100 (a wrong unit looks like that). A local time that the clocks
skipped in spring is no time; one that they passed twice in autumn has two readings, and both are given.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import IntEnum
from zoneinfo import ZoneInfo

from cdr_adapters.column_specs import TimeColumn
from cdr_adapters.zones import offset_of_abbreviation

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the origin of naive local times
MS = timedelta(milliseconds=1)
DAY_MS = 86_400_000
JULIAN_EPOCH = 2440587.5
"""The Julian day of 1970-01-01 00:00 UTC."""
GREGORIAN_EPOCH = 62_167_219_200
"""The Gregorian second of 1970-01-01 00:00 UTC, as Erlang's calendar module counts from the year 0."""
EARLIEST_MS = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * 1000
LATEST_MS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1000
_TEXT_LIMIT = 128


class Status(IntEnum):
    """What became of a time."""

    OK = 0
    ABSENT = 1
    WRONG_FORMAT = 2
    OUT_OF_RANGE = 3
    NO_ZONE = 4
    UNKNOWN_ABBREVIATION = 5
    SKIPPED = 6
    REPEATED = 7
    """Two readings: the local time occurred twice."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One time: `first` and, when REPEATED, `second` in ms since 1970 UTC; `step` is what the clock cuts off, in ms."""

    status: Status
    first: int = 0
    second: int = 0
    step: int = 0


_ABSENT = frozenset(("0", "0000-00-00 00:00:00", "0000-00-00T00:00:00", "NULL", "\\N"))
_NUMBER = re.compile(r"[0-9]{1,19}(?:\.[0-9]{0,15})?", re.ASCII)
PER_SECOND = {"epoch_s": 1, "gregorian_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}
SINCE = {"gregorian_s": GREGORIAN_EPOCH}
"""The second from which a format counts, where that isn't 1970."""


def _in_range(first: int, step: int) -> Reading:
    if first == 0:
        return Reading(Status.ABSENT)
    if not EARLIEST_MS <= first < LATEST_MS:
        return Reading(Status.OUT_OF_RANGE)
    return Reading(Status.OK, first, first, step)


def _epoch(text: str, unit: str) -> Reading:
    whole, _, fraction = text.partition(".")
    per_second = PER_SECOND[unit]
    if per_second == 1:
        ms = (int(whole) - SINCE.get(unit, 0)) * 1000 + int((fraction + "000")[:3])
        return _in_range(ms, 1 if fraction.strip("0") else 1000)
    return _in_range(int(whole) * 1000 // per_second, 1)


def read_local(naive: datetime, zone: tzinfo, step: int) -> Reading:
    """A local time as UTC; see PEP 495 for what the two folds mean."""
    earlier = naive.replace(tzinfo=zone, fold=0).utcoffset()
    later = naive.replace(tzinfo=zone, fold=1).utcoffset()
    if earlier is None or later is None or earlier < later:
        return Reading(Status.SKIPPED)
    first, second = (_ms(naive - earlier), _ms(naive - later))
    reading = _in_range(first, step)
    if reading.status is not Status.OK or first == second:
        return reading
    return Reading(Status.REPEATED, first, second, step)


def _ms(naive: datetime) -> int:
    return (naive - EPOCH) // MS


def offset_said(name: str, spec: TimeColumn, zone: tzinfo | None) -> timedelta | None:
    """The offset that an abbreviation means at any time; None where the source's zone has to tell it by the season."""
    said = spec.abbreviations.get(name) or spec.abbreviations.get(name.upper())
    if said is not None:
        sign = -1 if said[0] == "-" else 1
        return sign * timedelta(hours=int(said[1:3]), minutes=int(said[4:]))
    return offset_of_abbreviation(name.upper(), zone if isinstance(zone, ZoneInfo) else None)


def _abbreviated(naive: datetime, name: str, spec: TimeColumn, zone: tzinfo | None, step: int) -> Reading:
    """A local time with a zone abbreviation: the configuration explains it, or the zone itself uses it at that time."""
    offset = offset_said(name, spec, zone)
    if offset is not None:
        return _in_range(_ms(naive - offset), step)
    for fold in (0, 1):
        local = naive.replace(tzinfo=zone, fold=fold)
        if (
            zone is not None
            and (local.tzname() or "").upper() == name.upper()
            and (offset_now := local.utcoffset()) is not None
        ):
            # a skipped time bears the name of one side, but no clock showed it
            back = (local.astimezone(UTC)).astimezone(zone)
            if back.replace(tzinfo=None, fold=0) != naive:
                return Reading(Status.SKIPPED)
            return _in_range(_ms(naive - offset_now), step)
    return Reading(Status.UNKNOWN_ABBREVIATION)


def _parsed(text: str, pattern: str) -> datetime | None:
    try:
        return datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is the configuration's
    except (ValueError, OverflowError, re.error):
        return None


_TOKEN = re.compile(r"[A-Za-z]{1,6}")


def _with_abbreviation(text: str, pattern: str) -> tuple[datetime, str] | None:
    """Try each word of `text` as the one that %Z stands for; strptime itself knows no zones."""
    marked = pattern.replace("%Z", "\x00")
    for token in _TOKEN.finditer(text):
        candidate = text[: token.start()] + "\x00" + text[token.end() :]
        if (naive := _parsed(candidate, marked)) is not None:
            return naive, token[0]
    return None


def step_of_directives(directives: Collection[str]) -> int:
    """What a clock with these fields cuts off, in ms."""
    if "f" in directives:
        return 1
    if "S" in directives:
        return 1000
    return 60_000 if "M" in directives else 3_600_000


_DIRECTIVE = re.compile("%(.)", re.DOTALL)


def _by_pattern(text: str, pattern: str, spec: TimeColumn, zone: tzinfo | None) -> Reading:
    pattern = pattern.replace("%e", "%d")
    step = step_of_directives(_DIRECTIVE.findall(pattern))
    if "%Z" in pattern:
        found = _with_abbreviation(text, pattern)
        if found is None:
            return Reading(Status.WRONG_FORMAT)
        naive, name = found
        return Reading(Status.ABSENT) if _is_never(naive) else _abbreviated(naive, name, spec, zone, step)
    value = _parsed(text, pattern)
    return Reading(Status.WRONG_FORMAT) if value is None else _zoned(value, zone, step)


def _is_never(naive: datetime) -> bool:
    return naive == EPOCH or naive.year == 1


def _zoned(value: datetime, zone: tzinfo | None, step: int) -> Reading:
    if _is_never(value.replace(tzinfo=None)):
        return Reading(Status.ABSENT)
    offset = value.utcoffset()
    if offset is not None:
        return _in_range(_ms(value.replace(tzinfo=None) - offset), step)
    return Reading(Status.NO_ZONE) if zone is None else read_local(value, zone, step)


_ISO_SHAPE = re.compile(
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}:?[0-9]{2}(?P<second>:?[0-9]{2}(?P<fraction>[.,][0-9]+)?)?"
    r"(?:Z| ?[-+][0-9]{2}(?::?[0-9]{2})?)?",
    re.ASCII,
)


def _iso(text: str, zone: tzinfo | None) -> Reading:
    shape = _ISO_SHAPE.fullmatch(text)
    if shape is None:
        return Reading(Status.WRONG_FORMAT)
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return Reading(Status.WRONG_FORMAT)
    return _zoned(value, zone, 1 if shape["fraction"] else 1000 if shape["second"] else 60_000)


def time_of(text: str, spec: TimeColumn, zone: tzinfo | None) -> Reading:
    """What `text` means in the formats and zone of its column, before shift, fraction and clock offset."""
    text = text.strip()
    if not text or text in _ABSENT:
        return Reading(Status.ABSENT)
    if len(text) > _TEXT_LIMIT:
        return Reading(Status.WRONG_FORMAT)
    told = Reading(Status.WRONG_FORMAT)
    for time_format in spec.format:
        reading = _in_format(text, time_format, spec, zone)
        if reading.status not in UNFIT:
            return reading
        if told.status is Status.WRONG_FORMAT:
            told = reading
    return told


UNFIT = (Status.WRONG_FORMAT, Status.OUT_OF_RANGE)
"""What lets the next format have its try. The first one that could read it at all says why it couldn't."""


def _in_format(text: str, time_format: str, spec: TimeColumn, zone: tzinfo | None) -> Reading:
    try:
        if time_format == "iso8601":
            return _iso(text, zone)
        if time_format not in (*PER_SECOND, "julian"):
            return _by_pattern(text, time_format, spec, zone)
        if _NUMBER.fullmatch(text) is None:
            return Reading(Status.WRONG_FORMAT)
        if not float(text):
            return Reading(Status.ABSENT)
        if time_format == "julian":
            return _in_range(round((float(text) - JULIAN_EPOCH) * DAY_MS), 1000)
        return _epoch(text, time_format)
    except OverflowError:  # a year 1 or 9999 moved over the edge by its offset
        return Reading(Status.OUT_OF_RANGE)
