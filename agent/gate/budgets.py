"""What was spent of a day's budgets: questions, questions of a campaign, seconds of a number. Pure.

A number's budget is the length of the union of all intervals that were looked at, so that asking again about the same
time costs nothing and asking about its neighbourhood costs what is new: a day's life of one subscriber can't be put
together from many small windows.

Days are UTC days, counted by a clock that never goes back (`agent.gate.memory`); a new day begins with nothing spent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter

from agent.gate.limits import Limits

_MS = 1000


class Budgets:
    """What one day's questions cost so far. Numbers are known by pseudonyms, intervals are in Unix milliseconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.day = -1
        self._questions = 0
        self._campaigns: Counter[str] = Counter()
        self._numbers: dict[bytes, list[tuple[int, int]]] = {}

    def begin(self, day: int) -> None:
        """Forget what was spent before `day` (days since 1970-01-01), if that is a later one."""
        if day > self.day:
            self.day = day
            self._questions = 0
            self._campaigns.clear()
            self._numbers.clear()

    def allow(self, number: bytes, first: int, last: int, campaign: str) -> bool:
        """Whether one more question about this interval of a number stays within all budgets."""
        limits = self._limits
        if self._questions >= limits.questions_per_day:
            return False
        if self._campaigns[campaign] >= limits.questions_per_campaign_per_day:
            return False
        spans = self._numbers.get(number)
        if spans is None:
            return last - first <= limits.seconds_per_number_per_day * _MS
        return _length(_joined(spans, first, last)) <= limits.seconds_per_number_per_day * _MS

    def spend(self, number: bytes, first: int, last: int, campaign: str) -> None:
        """Count a question, allowed or not."""
        self._questions += 1
        self._campaigns[campaign] += 1
        begun = [(first, last)]
        spans = self._numbers.setdefault(number, begun)
        if spans is not begun:
            self._numbers[number] = _joined(spans, first, last)


def _joined(spans: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """Sorted disjoint intervals, with one more taken in."""
    begin = bisect_left(spans, first, key=lambda span: span[1])
    end = bisect_right(spans, last, key=lambda span: span[0])
    if begin < end:
        first, last = min(first, spans[begin][0]), max(last, spans[end - 1][1])
    return [*spans[:begin], (first, last), *spans[end:]]


def _length(spans: list[tuple[int, int]]) -> int:
    return sum(last - first for first, last in spans)
