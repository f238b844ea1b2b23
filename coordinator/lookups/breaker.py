"""When a provider's agent may be asked: not while it is down, not faster than it wants, not more a day than agreed.

Pure values: time is passed in, and what looks like chance derives from the provider's id: a run can be repeated.

A circuit breaker opens after `failures` messages in a row that reached no answer, and closes with the first answer.
While it is open nothing is sent, until its pause is over; then one message goes out to see. Each further failure
doubles the pause, up to a cap. The pause varies a little from provider to provider, so that agents that went down
together are not all tried at the same moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from coordinator.tracing.chance import scatter


@dataclass(frozen=True, slots=True)
class BreakerTerms:
    """After how many failures in a row nothing is sent, and for how long at first and at most; `scatter` widens it."""

    failures: int = 3
    pause: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(seconds=30)
    scatter: float = 0.2


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether one provider's agent is worth a message. `failed` counts messages without an answer, in a row."""

    provider: str
    terms: BreakerTerms = BreakerTerms()
    failed: int = 0
    opens_again: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has opened and no answer has closed it since."""
        return self.opens_again is not None

    def blocked_until(self, now: datetime) -> datetime | None:
        """Until when nothing may be sent; None when something may be."""
        return self.opens_again if self.opens_again is not None and now < self.opens_again else None

    def after_answer(self) -> Breaker:
        """The agent is there."""
        return self if self.failed == 0 else replace(self, failed=0, opens_again=None)

    def after_failure(self, now: datetime) -> Breaker:
        """A message reached no answer."""
        failed, terms = self.failed + 1, self.terms
        if failed < terms.failures:
            return replace(self, failed=failed)
        doubled: int = 2 ** min(failed - terms.failures, 30)
        pause = min(terms.pause * doubled, terms.longest)
        pause += pause * terms.scatter * scatter(f"{self.provider} {failed}")
        return replace(self, failed=failed, opens_again=now + pause)


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a provider may be asked: so many questions a second, with as many saved up at most as one second brings.

    None as `per_second` sets no bound.
    """

    per_second: float | None = None
    saved: float = 0.0
    since: datetime | None = None

    def granted(self, wanted: int, now: datetime) -> int:
        """How many of `wanted` questions may go now."""
        return wanted if self.per_second is None else min(wanted, int(self._by(now)))

    def after(self, sent: int, now: datetime) -> Rate:
        """When so many have gone."""
        return self if self.per_second is None else replace(self, saved=self._by(now) - sent, since=now)

    def next(self, now: datetime) -> datetime:
        """When another question may go."""
        if self.per_second is None:
            return now
        return now + timedelta(seconds=max(1 - self._by(now), 0.0) / self.per_second, microseconds=1)

    def _by(self, now: datetime) -> float:
        if self.per_second is None or self.since is None:
            return max(self.per_second or 0.0, 1.0)
        brought = (now - self.since).total_seconds() * self.per_second
        return min(self.saved + brought, max(self.per_second, 1.0))


@dataclass(frozen=True, slots=True)
class Budget:
    """How many questions a provider may be asked a day (UTC). None as `per_day` sets no bound."""

    per_day: int | None = None
    spent: int = 0
    day: datetime | None = None

    def granted(self, wanted: int, now: datetime) -> int:
        """How many of `wanted` questions may go now."""
        return wanted if self.per_day is None else max(min(wanted, self.per_day - self._on(now)), 0)

    def after(self, sent: int, now: datetime) -> Budget:
        """When so many have gone."""
        return self if self.per_day is None else replace(self, spent=self._on(now) + sent, day=_day(now))

    def next(self, now: datetime) -> datetime:
        """When another question may go."""
        return now if self.granted(1, now) else _day(now) + timedelta(days=1)

    def _on(self, now: datetime) -> int:
        return self.spent if self.day == _day(now) else 0


def _day(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
