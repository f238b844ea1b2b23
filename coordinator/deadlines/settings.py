"""Calendars and rules from a configuration: one table for all providers, and one for each that differs.

    [deadlines]                                a provider's own table has the same keys and wins key by key
    zone = "America/New_York"
    hours = "08:00-17:30"                      "00:00-24:00" is all day
    workdays = ["monday", ..., "friday"]
    holidays = "us-federal"                    or "none"
    more_holidays = ["december 24 exactly"]    rules, see coordinator.deadlines.holidays
    closed = ["2026-11-27"]                    dates
    open = []
    within = "24h"
    reminders = ["12h", "20h"]
    escalations = ["0h", "12h"]
    gives_up = "24h"

Unknown keys are refused; every problem is named with its key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from coordinator.deadlines.calendar import BusinessCalendar
from coordinator.deadlines.holidays import SETS, WEEKDAYS, Holiday, parse_holiday
from coordinator.deadlines.schedule import FEDERAL_RULE, AnswerRule

_HOURS = re.compile(r"([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,5})(m|h)", re.ASCII)


def _zone(value: Any) -> Any:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError(f"{value!r} is no zone such as America/New_York") from None


def _hours(value: Any) -> Any:
    if isinstance(value, tuple):
        return value
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} are no hours such as 08:00-17:30")
    closes = time(0) if match[2] == "24:00" else time.fromisoformat(match[2])
    return time.fromisoformat(match[1]), closes


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no duration such as 24h or 90m")
    return int(match[1]) * (timedelta(hours=1) if match[2] == "h" else timedelta(minutes=1))


def _rule(value: Any) -> Any:
    return parse_holiday(value) if isinstance(value, str) else value


def _date(value: Any) -> Any:
    return date.fromisoformat(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Date = Annotated[date, BeforeValidator(_date)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class DeadlinesTable(BaseModel):
    """The keys above, as they stand in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    zone: Annotated[ZoneInfo, BeforeValidator(_zone)] = ZoneInfo("America/New_York")
    hours: Annotated[tuple[time, time], BeforeValidator(_hours)] = (time(8), time(17, 30))
    workdays: Annotated[tuple[Weekday, ...], Field(min_length=1)] = (
        *("monday", "tuesday", "wednesday", "thursday", "friday"),
    )
    holidays: Literal["us-federal", "none"] = "us-federal"
    more_holidays: tuple[Annotated[Holiday, BeforeValidator(_rule)], ...] = ()
    closed: tuple[Date, ...] = ()
    open: tuple[Date, ...] = ()
    within: Duration = FEDERAL_RULE.within
    reminders: tuple[Duration, ...] = FEDERAL_RULE.reminders
    escalations: tuple[Duration, ...] = FEDERAL_RULE.escalations
    gives_up: Duration = FEDERAL_RULE.gives_up

    @model_validator(mode="after")
    def _consistent(self) -> DeadlinesTable:
        self.calendar()
        self.rule()
        return self

    def calendar(self) -> BusinessCalendar:
        """The business calendar.

        Raises:
            ValueError: hours or days contradict each other.
        """
        return BusinessCalendar(
            zone=self.zone,
            opens=self.hours[0],
            closes=self.hours[1],
            workdays=frozenset(WEEKDAYS.index(day) for day in self.workdays),
            holidays=SETS[self.holidays] + self.more_holidays,
            closed=frozenset(self.closed),
            open=frozenset(self.open),
        )

    def rule(self) -> AnswerRule:
        """The rule of answers; reminders that nobody set are those of the default that come in time.

        Raises:
            ValueError: its times contradict each other.
        """
        set_by_hand = "reminders" in self.model_fields_set
        reminders = tuple(after for after in self.reminders if set_by_hand or after < self.within)
        return AnswerRule(self.within, reminders, self.escalations, self.gives_up)

    def with_own(self, own: Mapping[str, Any]) -> DeadlinesTable:
        """This table with a provider's own keys in place of these.

        Raises:
            pydantic.ValidationError: a key is not known, or its value can't be.
        """
        return DeadlinesTable.model_validate({**self.model_dump(exclude_unset=True), **own})
