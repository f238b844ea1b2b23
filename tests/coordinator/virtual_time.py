"""Time that passes only when nothing else is to be done: a day takes as long as what happens in it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tests.coordinator.make import NOW

T = TypeVar("T")


class _Impatient(selectors.DefaultSelector):
    """Instead of waiting for a timer it tells the loop that its time has come."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("every task waits for something that no timer brings")
        ready = super().select(0)
        if not ready and timeout > 0:
            self.passed += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.passed

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Do it at once: time would go on while a thread works, as much as the machine is slow."""
        del executor
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class VirtualClock:
    """The coordinator's clock over a VirtualLoop."""

    def now(self) -> datetime:
        return NOW + timedelta(microseconds=round(asyncio.get_running_loop().time() * 1e6))

    async def sleep_until(self, time: datetime) -> None:
        await asyncio.sleep(max((time - self.now()).total_seconds(), 0.0) + 1e-6)


def in_virtual_time(work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run it to its end."""

    async def run() -> T:
        return await work(*arguments)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())
