"""An event loop whose time is not the world's: whenever nothing is left to do now, it is at once the next timer's time.

A day of waiting takes no time, and two runs of the same program do the same things in the same order. Nothing outside
may be waited for: no sockets, no threads. A loop in which nothing will ever happen again says so.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

BEGIN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class NothingWillHappenError(RuntimeError):
    """Every task waits for something that no timer brings."""


class _Selector(selectors.SelectSelector):
    """Selects nothing, and passes the time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise NothingWillHappenError("every task waits for something that no timer brings")
        self.passed += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._passing = _Selector()
        super().__init__(self._passing)

    def time(self) -> float:
        """Seconds since the loop was made, as they pass in it."""
        return self._passing.passed


class VirtualClock:
    """Implements `coordinator.ports.Clock` by the loop's time."""

    def now(self) -> datetime:
        """The present time, aware UTC, in whole microseconds."""
        return BEGIN + timedelta(seconds=asyncio.get_running_loop().time())

    async def sleep_until(self, time: datetime) -> None:
        """Sleep until then."""
        await asyncio.sleep(max((time - self.now()).total_seconds(), 0.0))


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns, run in a virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
