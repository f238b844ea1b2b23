"""How many questions wait for an answer, and how many of them for long: those who wait for long hold back nobody."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final

_SLOW_S: Final = 1
"""A question that is unanswered for longer is slow."""


class Unanswered:
    """Counts questions by the second in which they were put."""

    def __init__(self, now: datetime) -> None:
        self._by_second: Counter[int] = Counter()
        self._second = _second(now)

    def is_now(self, now: datetime) -> None:
        """What is put from here on is put at `now`."""
        self._second = _second(now)

    def put(self) -> int:
        """One more was put; the second, by which it is called when it has ended."""
        self._by_second[self._second] += 1
        return self._second

    def ended(self, second: int) -> None:
        """One of those that were put in that second waits no more."""
        self._by_second[second] -= 1
        if not self._by_second[second]:
            del self._by_second[second]

    def slow(self, now: datetime) -> int:
        """How many have waited for long."""
        fresh = _second(now) - _SLOW_S
        return sum(count for second, count in self._by_second.items() if second < fresh)


def _second(now: datetime) -> int:
    return int(now.timestamp())
