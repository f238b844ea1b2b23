"""One write to the disk for all who wait: group commit.

What `begin` gives is done when everything that was appended before its call is durable. While one write is under way,
those who come share the next one. The write itself runs in a thread, so that the event loop goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class GroupCommit:
    """Shares the calls of `sync` (which blocks) among those who wait. For one event loop."""

    def __init__(self, sync: Callable[[], object]) -> None:
        self._sync = sync
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-sync")
        self._under_way = False
        self._waiting: list[asyncio.Future[None]] = []

    def begin(self) -> asyncio.Future[None]:
        """Begin a write, or join the next: done when all that was appended before is durable, or with its error.

        Who gives up waiting gives up for itself alone.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if not self._under_way:
            self._write()
        return waiter

    def close(self) -> None:
        """End the thread, after what it does."""
        self._thread.shutdown()

    def _write(self) -> None:
        waiters, self._waiting = self._waiting, []
        self._under_way = True
        written = asyncio.get_running_loop().run_in_executor(self._thread, self._sync)
        written.add_done_callback(lambda written: self._written(written, waiters))

    def _written(self, written: asyncio.Future[object], waiters: list[asyncio.Future[None]]) -> None:
        self._under_way = False
        error = asyncio.CancelledError() if written.cancelled() else written.exception()
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            elif isinstance(error, asyncio.CancelledError):
                waiter.cancel()
            else:
                waiter.set_exception(error)
        if self._waiting:
            self._write()
