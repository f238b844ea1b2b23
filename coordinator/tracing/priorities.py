"""Whose turn it is: threats to life first, then ongoing campaigns, then young calls, then the rest, and nobody starves.

Seven places of eight go by priority, and among equals to whoever has waited longest. Every eighth goes to whoever has
waited longest of all, so that a steady stream of urgent calls slows the others down but can't stop them: whoever has
n before it in age is served after at most 8 n + 8 places. The same rule holds where tracebacks are claimed from the
store (`coordinator.store`) and where questions wait for one provider (`FairQueue`).
"""

from __future__ import annotations

import enum
from collections import deque
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")

YOUNG = timedelta(days=10)
"""Records of older calls are expiring already, or will be there tomorrow, too."""

BY_AGE_EVERY = 8
"""One place of so many goes by age alone."""


class Priority(enum.IntEnum):
    """How urgent a traceback is. Values are stable: they are stored."""

    THREAT_TO_LIFE = 0
    ONGOING_CAMPAIGN = 1
    YOUNG_CALL = 2
    REST = 3


def priority_of(
    call_at: datetime, now: datetime, *, threat_to_life: bool = False, ongoing_campaign: bool = False
) -> Priority:
    """The priority of a call that was set up at `call_at` and is submitted at `now`."""
    if threat_to_life:
        return Priority.THREAT_TO_LIFE
    if ongoing_campaign:
        return Priority.ONGOING_CAMPAIGN
    return Priority.YOUNG_CALL if now - call_at < YOUNG else Priority.REST


def places_by_age(places: int, given: int) -> int:
    """How many of the next `places` go by age alone, after `given` places were given."""
    return (given + places) // BY_AGE_EVERY - given // BY_AGE_EVERY


class FairQueue(Generic[T]):
    """What waits, by priority and age."""

    def __init__(self) -> None:
        self._waiting: tuple[deque[tuple[int, T]], ...] = tuple(deque() for _ in Priority)
        self._came = 0
        self._given = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, one: T, priority: Priority) -> None:
        """Let it wait behind those of its priority."""
        self._waiting[priority].append((self._came, one))
        self._came += 1
        self._length += 1

    def take(self, places: int) -> list[T]:
        """Whose turn it is, at most `places`; they no longer wait."""
        places = min(places, self._length)
        by_age = places_by_age(places, self._given)
        taken = [self._oldest().popleft()[1] for _ in range(by_age)]
        for waiting in self._waiting:
            while waiting and len(taken) < places:
                taken.append(waiting.popleft()[1])
        self._given += places
        self._length -= places
        return taken

    def _oldest(self) -> deque[tuple[int, T]]:
        return min((waiting for waiting in self._waiting if waiting), key=lambda waiting: waiting[0][0])
