"""Threads for lookups that wait for a database, so that the event loop never does; and no more of them than can help.

A question that finds all threads taken waits in line; one that finds the line full is refused at once, as records that
can't be read now: the coordinator asks again later, or another agent of the same provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.index.errors import IndexUnusableError

T = TypeVar("T")


class BusyError(IndexUnusableError):
    """More lookups wait than may."""


class LookupThreads:
    """`threads` lookups at a time and `waiting` in line. For one event loop."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "lookup")
        self._most = threads + waiting
        self._under_way = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, in a thread.

        Raises:
            BusyError: too many wait already.
        """
        if self._under_way >= self._most:
            raise BusyError(f"{self._under_way} lookups wait for the stores already")
        self._under_way += 1
        try:
            return await asyncio.wrap_future(self._pool.submit(work))
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """Take no more; what is under way ends by itself, within the statement timeout."""
        self._pool.shutdown(wait=False, cancel_futures=True)
