"""Keeps the list of revoked certificates up to date: from a file, and from whoever gives the list out.

What is fetched is checked (`protos.revocation`) before it is used, used before it is written, and written whole, so
that the next start begins with it. Whatever goes wrong leaves the list in use as it is; the log tells how old that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from protos.key_pairs import write_whole
from protos.renewal import RenewalError
from protos.revocation import LARGEST_LIST, ListAge, RevocationError, Revocations

log = structlog.get_logger()


class ListKeeper:
    """Reads and fetches lists into `revocations`. `read` it once, then `run` it until it is cancelled."""

    def __init__(
        self,
        revocations: Revocations,
        path: Path | None,
        fetch: Callable[[], Awaitable[bytes]] | None,
        clock: Callable[[], datetime],
        every: timedelta,
        changed: Callable[[], None] = lambda: None,
        sleep: Callable[[timedelta], Awaitable[None]] | None = None,
    ) -> None:
        """`changed` is called after each list that says something new."""
        self._revocations, self._path, self._fetch = revocations, path, fetch
        self._clock, self._every, self._changed = clock, every, changed
        self._sleep = sleep or _sleep

    def read(self) -> None:
        """Use the list in the file, where there is one that counts."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                self._take(file.read(LARGEST_LIST + 1))
        except FileNotFoundError:
            if self._fetch is None:
                log.warning("revocation_list_missing", file=str(self._path))
        except OSError as error:
            log.warning("revocation_list_unreadable", file=str(self._path), reason=error.strerror)
        except RevocationError as error:
            log.warning("revocation_list_refused", file=str(self._path), reason=str(error))

    async def update(self) -> None:
        """Get the list once."""
        if self._fetch is None:
            await asyncio.to_thread(self.read)
        else:
            await self._update(self._fetch)
        now = self._clock()
        age, issued = self._revocations.age(now), self._revocations.issued
        if age is not ListAge.FRESH:
            since = "never" if issued is None else f"{issued:%Y-%m-%dT%H:%M:%SZ}"
            tell = log.warning if age is ListAge.OLD else log.error
            tell("revocation_list_old", age=age.value, issued=since)

    async def run(self) -> None:
        """Get the list, wait, get the list; ends only by being cancelled."""
        while True:
            await self.update()
            await self._sleep(self._every)

    async def _update(self, fetch: Callable[[], Awaitable[bytes]]) -> None:
        try:
            der = await fetch()
            if self._take(der) and self._path is not None:
                await asyncio.to_thread(write_whole, self._path, der, secret=False)
        except (RenewalError, RevocationError) as error:
            log.warning("revocation_list_not_had", reason=str(error))
        except OSError as error:
            log.warning("revocation_list_not_kept", reason=error.strerror)

    def _take(self, der: bytes) -> bool:
        new = self._revocations.take(der, self._clock())
        if new:
            self._changed()
        return new


async def _sleep(length: timedelta) -> None:
    await asyncio.sleep(length.total_seconds())
