"""The 24-hour rule, and what hangs on it: when an answer is due, when to remind, escalate and give up.

Follows 47 CFR 64.1200(n)(1): an answer within 24 hours; a request outside business hours counts as received at the next
opening; the clock stands still on days off. All of it is an `AnswerRule` that a consortium may set otherwise.

Reminders and escalations are read by people, so they fall into business hours: one that would not is moved to the next
opening, a reminder whose next opening is too late to the last open minute before the answer is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.deadlines.calendar import BusinessCalendar

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """How long an answer may take. All durations are of the clock that stands still on days off.

    Attributes:
        within: from when the request counts as received until the answer is due.
        reminders: from when it counts as received until each reminder; each less than `within`.
        escalations: from when the answer was due until each escalation to the next contact.
        gives_up: from when the answer was due until the provider is non-responsive.
    """

    within: timedelta = 24 * _HOUR
    reminders: tuple[timedelta, ...] = (12 * _HOUR, 20 * _HOUR)
    escalations: tuple[timedelta, ...] = (timedelta(0), 12 * _HOUR)
    gives_up: timedelta = 24 * _HOUR

    def __post_init__(self) -> None:
        if self.within <= timedelta(0):
            raise ValueError("the time to answer within must be longer than nothing")
        if any(not timedelta(0) < reminder < self.within for reminder in self.reminders):
            raise ValueError("a reminder must come after the request and before the answer is due")
        if any(escalation < timedelta(0) for escalation in self.escalations) or self.gives_up < timedelta(0):
            raise ValueError("escalations and giving up come no earlier than when the answer is due")


FEDERAL_RULE = AnswerRule()


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens when with one request. Instants in UTC, each tuple in order and without repetition.

    `received` is when it was put, `counts_from` when it counts as received; `gives_up` is when the provider becomes
    non-responsive.
    """

    received: datetime
    counts_from: datetime
    due: datetime
    reminders: tuple[datetime, ...]
    escalations: tuple[datetime, ...]
    gives_up: datetime


def schedule(received: datetime, calendar: BusinessCalendar, rule: AnswerRule = FEDERAL_RULE) -> Schedule:
    """The schedule of a request that was put at `received`.

    Raises:
        ValueError: the time is naive or out of range, or the calendar has no business day (ClosedForGoodError).
    """
    counts_from = calendar.counted_from(received)
    due = calendar.runs_out(counts_from, rule.within)
    reminders = {_reminder(calendar, counts_from, after, due) for after in rule.reminders}
    escalations = {calendar.counted_from(calendar.runs_out(due, after)) for after in rule.escalations}
    return Schedule(
        received=received.astimezone(counts_from.tzinfo),
        counts_from=counts_from,
        due=due,
        reminders=tuple(sorted(at for at in reminders if at is not None)),
        escalations=tuple(sorted(escalations)),
        gives_up=calendar.runs_out(due, rule.gives_up),
    )


def _reminder(calendar: BusinessCalendar, counts_from: datetime, after: timedelta, due: datetime) -> datetime | None:
    opening = calendar.counted_from(calendar.runs_out(counts_from, after))
    return opening if opening < due else calendar.last_open(due, after=counts_from)
