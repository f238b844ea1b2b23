"""Many alarms, one sleeper: whoever wants to be called at a time says so, and one task sleeps until the next."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

from coordinator.tracing.ports import Clock

Ring = Callable[[], None]


class Alarms:
    """Calls at given times, by the clock that is passed in; `failed` hears what a call raises, and of no call more."""

    def __init__(self, clock: Clock, failed: Callable[[Exception], None]) -> None:
        self._clock = clock
        self._failed = failed
        self._set: list[tuple[datetime, int, Ring]] = []
        self._order = itertools.count()
        self._sleeper: asyncio.Task[None] | None = None
        self._sleeps_until: datetime | None = None

    def at(self, time: datetime, ring: Ring) -> None:
        """Call `ring` at `time`, soon where that has passed."""
        heapq.heappush(self._set, (time, next(self._order), ring))
        if self._sleeper is None or self._sleeper.done():
            self._sleeper = asyncio.create_task(self._sleep())
        elif self._sleeps_until is not None and time < self._sleeps_until:
            self._sleeper.cancel()
            self._sleeper = asyncio.create_task(self._sleep())

    def close(self) -> None:
        """Call nobody any more."""
        self._set.clear()
        if self._sleeper is not None:
            self._sleeper.cancel()

    async def _sleep(self) -> None:
        while self._set:
            time = self._set[0][0]
            if time > self._clock.now():
                self._sleeps_until = time
                await self._clock.sleep_until(time)
                self._sleeps_until = None
                continue
            _, _, ring = heapq.heappop(self._set)
            try:
                ring()
            except Exception as error:
                self._set.clear()
                self._failed(error)
