"""One write to the disk for all who wait: group commit.

Whoever calls `commit` returns when everything that was appended before its call is durable. While one write is under
way, those who come share the next one. The write itself runs in a thread, so that the event loop goes on.
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
        self._current: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def commit(self) -> None:
        """Return when all that was appended before is durable; raises what `sync` raised."""
        if self._next is None:
            self._next = asyncio.create_task(self._write(self._current))
        # One who gives up must not take the write away from the others.
        await asyncio.shield(self._next)

    def close(self) -> None:
        """End the thread, after what it does."""
        self._thread.shutdown()

    async def _write(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._current, self._next = self._next, None
        await asyncio.get_running_loop().run_in_executor(self._thread, self._sync)
