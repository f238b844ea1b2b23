"""An event loop whose time is not the world's: whenever nothing is left to do now, it is at once the next timer's time.

A day of waiting takes no time, and two runs of the same program do the same things in the same order. Nothing outside
may be waited for: no sockets. What is given to a thread is done here, a little later. A loop in which nothing will ever
happen again says so.

Time passes in ticks, as it does for a loop that is busy: what comes within one is seen together.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

BEGIN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
"""A Tuesday before a holiday, in the United States before offices open."""
TICK_S = 0.01


class NothingWillHappenError(RuntimeError):
    """Every task waits for something that no timer brings."""


class _Selector(selectors.SelectSelector):
    """Selects nothing, and passes the time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise NothingWillHappenError("every task waits for something that no timer brings")
        if timeout > 0:
            self.ticks += max(math.ceil(timeout / TICK_S - 1e-6), 1)  # however little is left to wait
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._passing = _Selector()
        super().__init__(self._passing)

    def time(self) -> float:
        """Seconds since the loop was made, as they pass in it."""
        return self._passing.ticks * TICK_S

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Do it in the next turn of the loop, unless whoever wanted it is gone by then.

        What somebody has a thread of his own for is done at once: he holds something that others wait for.
        """
        done: asyncio.Future[T] = self.create_future()

        def work() -> None:
            if not done.done():
                try:
                    done.set_result(func(*args))
                except Exception as error:
                    done.set_exception(error)

        if executor is None:
            self.call_soon(work)
        else:
            work()
        return done


class VirtualClock:
    """Implements `coordinator.tracing.ports.Clock` by the loop's time."""

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
