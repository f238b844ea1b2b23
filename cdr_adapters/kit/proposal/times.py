"""In which formats a column's values are times, told by reading them; day and month are never guessed apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from cdr_adapters.column_specs import EPOCH_FORMATS, TimeColumn
from cdr_adapters.times import Status, time_of

_DATES: Final = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %b %Y",
    "%b %d %Y",
    "%b %d, %Y",
)
_CLOCKS: Final = (
    "%H:%M:%S",
    "%H:%M:%S.%f",
    "%H:%M",
    "%I:%M:%S %p",
    "%I:%M:%S.%f %p",
    "%I:%M %p",
    "%H:%M:%S %z",
    "%H:%M:%S.%f %z",
    "%H:%M:%S %Z",
    "%H:%M:%S.%f %Z",
)
_WHOLE: Final = (
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M%S.%f",
    "%Y%m%d %H%M%S",
    "%Y%m%d%H%M%S%z",
    "%y%m%d%H%M%S",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %Z %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %Z",
    "%H:%M:%S.%f %Z %a %b %d %Y",
    "%H:%M:%S.%f %Z %b %d %Y",
    "%H:%M:%S.%f  %Z %a %b %d %Y",
    "%d-%b-%y %I.%M.%S.%f %p",
    "%d/%b/%Y:%H:%M:%S %z",
    "%b %d %Y %H:%M:%S %Z",
)
_PATTERNS: Final = (*_WHOLE, *(f"{date} {clock}" for date in _DATES for clock in _CLOCKS))
FORMATS: Final = ("iso8601", *EPOCH_FORMATS, *_PATTERNS)
"""Formats that are tried, in this order."""
DATE_FORMATS: Final = _DATES
CLOCK_FORMATS: Final = _CLOCKS

_DIGITS: Final = {"%Y%m%d%H%M%S": 14, "%y%m%d%H%M%S": 12}
"""strptime takes fewer digits too, and would read many a telephone number."""
_HALF_DAY: Final = re.compile(r"\b[ap]m\b", re.IGNORECASE)
_EARLIEST: Final = datetime(1995, 1, 1, tzinfo=UTC)
_AHEAD: Final = timedelta(days=2)
_PROBES: Final = 5
ENOUGH: Final = 0.95
"""Of all values that aren't empty, so many must be times."""


@dataclass(frozen=True, slots=True)
class TimeFit:
    """A format that fits a column.

    Attributes:
        share: of the values that aren't empty or nought.
        naive: whether some values don't say their zone.
    """

    format: str
    share: float
    naive: bool


@lru_cache(maxsize=512)
def spec_of(time_format: str) -> TimeColumn:
    """A time column of that format."""
    return TimeColumn(column=("x",), format=(time_format,))


def read_as(text: str, time_format: str) -> tuple[Status, datetime | None]:
    """A value in a format, naive ones as if they were UTC."""
    from zoneinfo import ZoneInfo

    zone = None if "%Z" in time_format else ZoneInfo("UTC")
    reading = time_of(text, spec_of(time_format), zone)
    if reading.status in (Status.OK, Status.REPEATED):
        return reading.status, datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=reading.first)
    return reading.status, None


def _fits(text: str, time_format: str, now: datetime) -> bool | None:
    """Whether a value is such a time; None when it is empty or nought."""
    wanted = next((n for begin, n in _DIGITS.items() if time_format.startswith(begin)), 0)
    if wanted and (len(text) < wanted or not text[:wanted].isdigit()):
        return False
    status, moment = read_as(text, time_format)
    if status is Status.ABSENT:
        return None
    if moment is None:
        return status is Status.UNKNOWN_ABBREVIATION and _HALF_DAY.search(text) is None
    return _EARLIEST <= moment <= now + _AHEAD


def fits(values: Sequence[str], now: datetime) -> list[TimeFit]:
    """The formats in which nearly all of `values` (distinct ones) are times, in the order of `FORMATS`."""
    found = []
    for time_format in FORMATS:
        told = [_fits(text, time_format, now) for text in values[:_PROBES]]
        if not any(told) or False in told[:1]:
            continue
        told += [_fits(text, time_format, now) for text in values[_PROBES:]]
        said = [one for one in told if one is not None]
        share = sum(said) / len(said)
        if share >= ENOUGH:
            found.append(TimeFit(time_format, share, _is_naive(time_format, values)))
    return _without_echoes(found)


def _is_naive(time_format: str, values: Sequence[str]) -> bool:
    if time_format != "iso8601":
        return spec_of(time_format).is_naive
    return any(time_of(text, spec_of("iso8601"), None).status is Status.NO_ZONE for text in values)


def _without_echoes(found: list[TimeFit]) -> list[TimeFit]:
    """Without patterns that say the same as one before them: ISO times fit several."""
    if found and (found[0].format == "iso8601" or found[0].format in EPOCH_FORMATS):
        return found[:1]
    return found


def are_ambiguous(found: Sequence[TimeFit], values: Sequence[str]) -> bool:
    """Whether two formats fit and read one of the values as different times: day and month could be either."""
    best = max(fit.share for fit in found)
    rivals = [fit.format for fit in found if fit.share >= best]
    return any(len({read_as(text, rival)[1] for rival in rivals}) > 1 for text in values)
