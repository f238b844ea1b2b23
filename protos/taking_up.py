"""Certificates, keys and roots that somebody else renews on disk, taken up by a process that runs.

Another process of this party renews them, or a person puts them there. Several files can't be replaced at one stroke,
so that whoever looks may see a new key beside the old certificate, or half a file: what lies there is used when it is
whole (`protos.renewal.Party.read`) and was found the same twice in a row. What can't be used is told in the log, once,
and what is in use stays in use. Nothing on disk is touched: finishing a renewal is for whoever began it.

Who looks also says when it is late: a certificate with three quarters of its life behind it is told every day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from protos.renewal import Party, PartyFiles, RenewalError, is_late

EVERY: Final = timedelta(seconds=10)
"""How often the files are looked at."""
REMINDED_EVERY: Final = timedelta(days=1)


class TakingUp:
    """Looks at the files of a party. `run` it until it is cancelled."""

    def __init__(
        self,
        party: Party,
        clock: Callable[[], datetime],
        sleep: Callable[[timedelta], Awaitable[None]] | None = None,
        log: Any = None,
    ) -> None:
        self._party, self._clock = party, clock
        self._sleep, self._log = sleep or _sleep, log or structlog.get_logger()
        self._seen: object = None
        self._weighed: object = _mark(party.files)
        self._reminded: datetime | None = None

    async def run(self) -> None:
        """Look, wait, look; ends only by being cancelled."""
        while True:
            await self.look()
            await self._sleep(EVERY)

    async def look(self) -> None:
        """Look once: take up what is new and settled, say what can't be used, and what will soon expire."""
        now = self._clock()
        found = await asyncio.to_thread(self._read, now)
        mark = found if isinstance(found, str) else _mark(found)
        settled, self._seen = mark == self._seen, mark
        if settled and mark != self._weighed:
            self._weighed = mark
            self._weigh(found)
        self._remind(now)

    def _read(self, now: datetime) -> PartyFiles | str:
        """What lies on disk, or why it can't be used."""
        try:
            return self._party.read(now)
        except RenewalError as error:
            return str(error)

    def _weigh(self, found: PartyFiles | str) -> None:
        if isinstance(found, str):
            self._log.warning("certificates_not_taken_up", reason=found)
        elif _mark(found) != _mark(self._party.files):
            self._party.use(found)
            valid_to = min(life.valid_to for life in self._party.lives())
            self._log.info("certificates_taken_up", valid_to=f"{valid_to:%Y-%m-%d}")

    def _remind(self, now: datetime) -> None:
        lives = self._party.lives()
        if is_late(lives, now) and (self._reminded is None or now >= self._reminded + REMINDED_EVERY):
            self._reminded = now
            left = min(life.valid_to for life in lives) - now
            reason = (
                f"nobody has renewed {self._party.places.tls.certificate} or {self._party.places.evidence.certificate}"
            )
            self._log.error("certificates_not_renewed", reason=reason, days_left=left.days)


def _mark(files: PartyFiles) -> object:
    """The same for the same files; a certificate stands for its key, which was checked."""
    return files.tls.certificate, files.tls.roots, files.evidence.certificate, files.roots


async def _sleep(length: timedelta) -> None:
    await asyncio.sleep(length.total_seconds())
