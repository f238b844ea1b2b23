"""A provider's business calendar: when its office is open, and how a clock runs that stands still on days off.

Follows 47 CFR 64.1200(n)(1) in its terms: a business day is a workday that is no holiday; business hours are a part of
a business day; all times are local to the office that answers. The clock of the rule runs day and night on business
days and stands still on days off (a request of Friday 3 p.m. is due on Monday 3 p.m.); it starts in business hours.

Times are instants (aware, any zone in, UTC out). Local times are resolved by the zone's own rules: a time that a change
of clocks skips is taken with the offset before the change; of one that occurs twice, an opening is the first, a closing
the second. A day of 23 or 25 hours is as long as it is: what runs is real time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from coordinator.deadlines.holidays import US_FEDERAL, Holiday, days_off

_DAY = timedelta(days=1)
_ZERO = timedelta(0)
_MIDNIGHT = time(0)
_LONGEST_CLOSURE = 366
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class ClosedForGoodError(ValueError):
    """A calendar has no business day for more than a year, so that nothing could ever fall due."""


@dataclass(frozen=True, slots=True)
class BusinessCalendar:
    """When an office is open.

    Attributes:
        zone: the office's zone.
        opens, closes: local business hours, half open; a `closes` of midnight is the end of the day.
        workdays: weekdays with business hours, Monday is 0.
        holidays: rules of days off.
        closed: further days off.
        open: business days whatever weekday or holiday they are.
    """

    zone: ZoneInfo
    opens: time = time(8)
    closes: time = time(17, 30)
    workdays: frozenset[int] = frozenset(range(5))
    holidays: tuple[Holiday, ...] = US_FEDERAL
    closed: frozenset[date] = frozenset()
    open: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        if self.closes != _MIDNIGHT and self.closes <= self.opens:
            raise ValueError("an office must close after it opens")
        if not self.workdays or not self.workdays <= frozenset(range(7)):
            raise ValueError("workdays must be some of 0 (Monday) to 6 (Sunday)")
        if self.closed & self.open:
            raise ValueError(f"{min(self.closed & self.open)} can't be both closed and open")

    def is_business_day(self, day: date) -> bool:
        """Whether the office works on the local date `day`."""
        if day in self.open:
            return True
        return day.weekday() in self.workdays and day not in self.closed and day not in _off(self.holidays, day.year)

    def is_open(self, instant: datetime) -> bool:
        """Whether `instant` lies in business hours."""
        return self.counted_from(instant) == instant

    def counted_from(self, instant: datetime) -> datetime:
        """When a request that came at `instant` counts as received: at once in business hours, else when they begin.

        Raises:
            ValueError: the instant is naive or out of range.
            ClosedForGoodError: there is no next opening.
        """
        instant = _utc(instant)
        for day in self._days_from(instant):
            opens, closes = self._hours(day)
            if instant < closes and opens < closes and self.is_business_day(day):
                return max(instant, opens)
        raise ClosedForGoodError("the office is closed for more than a year: mend its calendar")

    def last_open(self, instant: datetime, after: datetime) -> datetime | None:
        """The latest whole minute in business hours before `instant` and after `after`, None where there is none."""
        instant, after = _utc(instant), _utc(after)
        day = instant.astimezone(self.zone).date() + _DAY
        while self._begin(day) + _DAY > after:
            opens, closes = self._hours(day)
            if self.is_business_day(day) and opens < closes:
                latest = min(instant, closes) - timedelta(minutes=1)
                if opens <= latest:
                    return latest if latest > after else None
            day -= _DAY
        return None

    def runs_out(self, start: datetime, running: timedelta) -> datetime:
        """When a clock that starts at `start` and runs on business days alone has run for `running`.

        Raises:
            ValueError: the instant is naive or out of range, or `running` is negative.
            ClosedForGoodError: the clock would stand still for more than a year.
        """
        if running < _ZERO:
            raise ValueError("a clock runs forwards")
        instant, left, still = _utc(start), running, 0
        if not left:
            return instant
        day = instant.astimezone(self.zone).date()
        while still <= _LONGEST_CLOSURE:
            end = self._begin(day + _DAY)
            if self.is_business_day(day):
                begin = max(instant, self._begin(day))
                if left <= end - begin:
                    return begin + left
                left -= max(end - begin, _ZERO)
                still = -1
            still += 1
            day += _DAY
        raise ClosedForGoodError("the office is closed for more than a year: mend its calendar")

    def _days_from(self, instant: datetime) -> Iterator[date]:
        first = instant.astimezone(self.zone).date()
        return (first + _DAY * n for n in range(_LONGEST_CLOSURE + 2))

    def _begin(self, day: date) -> datetime:
        return self._instant(day, _MIDNIGHT, last=False)

    def _hours(self, day: date) -> tuple[datetime, datetime]:
        closes = self._begin(day + _DAY) if self.closes == _MIDNIGHT else self._instant(day, self.closes, last=True)
        return self._instant(day, self.opens, last=False), closes

    def _instant(self, day: date, at: time, *, last: bool) -> datetime:
        first = datetime.combine(day, at, self.zone).astimezone(UTC)
        second = datetime.combine(day, at.replace(fold=1), self.zone).astimezone(UTC)
        return max(first, second) if last else first


@lru_cache(maxsize=4096)
def _off(rules: tuple[Holiday, ...], year: int) -> frozenset[date]:
    return days_off(rules, year)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("a naive time says nothing: give it a zone")
    if not _EARLIEST <= instant <= _LATEST:
        raise ValueError("a time between 1900 and 9000 is needed")
    return instant.astimezone(UTC)
