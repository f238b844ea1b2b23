"""Days off by rule: the eleven legal public holidays of the United States, and rules that a configuration adds.

Follows 5 U.S.C. 6103(a) for the days, and 6103(b) with Executive Order 11582 for their observance: of a holiday that
falls on a Saturday the Friday before is a day off too, of one on a Sunday the Monday after. So 31 December may be a day
off because of the next New Year's Day. Inauguration Day is a holiday of the capital's area alone and not among them.
A rule counts from the year in which it became law.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import MINYEAR, date, timedelta

_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_SATURDAY, _SUNDAY = 5, 6

MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
_FIXED = re.compile(rf"({'|'.join(MONTHS)}) ([0-9]{{1,2}})( exactly)?")
_NTH = re.compile(rf"({'|'.join(_ORDINALS)}) ({'|'.join(WEEKDAYS)}) of ({'|'.join(MONTHS)})")


class HolidayError(ValueError):
    """A text that should be a holiday rule is none."""


@dataclass(frozen=True, slots=True)
class FixedHoliday:
    """The same date every year; `moves`: where it falls on a weekend, the neighbouring weekday is a day off too."""

    month: int
    day: int
    moves: bool = True
    since: int = MINYEAR

    def days(self, year: int) -> tuple[date, ...]:
        """The days off that belong to `year`; one may lie in a neighbouring year. None in a year without that date."""
        try:
            day = date(year, self.month, self.day)
        except ValueError:  # 29 February
            return ()
        if year < self.since:
            return ()
        observed = {_SATURDAY: day - _DAY, _SUNDAY: day + _DAY}.get(day.weekday())
        return (day, observed) if observed is not None and self.moves else (day,)


@dataclass(frozen=True, slots=True)
class WeekdayHoliday:
    """The nth weekday (Monday is 0) of a month; `nth` is -1 for the last."""

    nth: int
    weekday: int
    month: int
    since: int = MINYEAR

    def days(self, year: int) -> tuple[date, ...]:
        """The day off in `year`, none before the rule was law."""
        if year < self.since:
            return ()
        first = date(year, self.month, 1)
        day = first + _DAY * ((self.weekday - first.weekday()) % 7) + _WEEK * (self.nth - 1 if self.nth > 0 else 3)
        if self.nth < 0 and (day + _WEEK).month == self.month:
            day += _WEEK
        return (day,)


Holiday = FixedHoliday | WeekdayHoliday


US_FEDERAL: tuple[Holiday, ...] = (
    FixedHoliday(1, 1, since=1870),  # New Year's Day
    WeekdayHoliday(3, 0, 1, since=1986),  # Birthday of Martin Luther King, Jr.
    WeekdayHoliday(3, 0, 2, since=1971),  # Washington's Birthday
    WeekdayHoliday(-1, 0, 5, since=1971),  # Memorial Day
    FixedHoliday(6, 19, since=2021),  # Juneteenth National Independence Day
    FixedHoliday(7, 4, since=1870),  # Independence Day
    WeekdayHoliday(1, 0, 9, since=1894),  # Labor Day
    WeekdayHoliday(2, 0, 10, since=1971),  # Columbus Day
    FixedHoliday(11, 11, since=1978),  # Veterans Day; in October from 1971 to 1977
    WeekdayHoliday(4, 3, 11, since=1942),  # Thanksgiving Day
    FixedHoliday(12, 25, since=1870),  # Christmas Day
)

SETS: dict[str, tuple[Holiday, ...]] = {"us-federal": US_FEDERAL, "none": ()}
"""Sets of rules by the names that a configuration uses."""


def days_off(rules: tuple[Holiday, ...], year: int) -> frozenset[date]:
    """The days off that lie in `year`, also those that belong to the year before or after."""
    every = (day for rule in rules for y in (year - 1, year, year + 1) for day in rule.days(y))
    return frozenset(day for day in every if day.year == year)


def parse_holiday(text: str) -> Holiday:
    """A rule from words: `july 4`, `december 24 exactly` (not moved off a weekend), `last monday of may`.

    Raises:
        HolidayError: it is no such rule.
    """
    words = " ".join(text.lower().split())
    if match := _NTH.fullmatch(words):
        return WeekdayHoliday(_ORDINALS[match[1]], WEEKDAYS.index(match[2]), MONTHS.index(match[3]) + 1)
    if match := _FIXED.fullmatch(words):
        month, day = MONTHS.index(match[1]) + 1, int(match[2])
        try:
            date(2000, month, day)
        except ValueError:
            raise HolidayError(f"{text!r} is no day of that month") from None
        return FixedHoliday(month, day, moves=match[3] is None)
    raise HolidayError(f"{text!r} is no holiday: write it as 'july 4', 'december 24 exactly' or 'last monday of may'")
