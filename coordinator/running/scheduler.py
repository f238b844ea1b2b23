"""Which tracebacks this process drives now: claimed in blocks from the store, as fast as there are places for them.

The store knows of all tracebacks, this process only of those that it drives: it can have a million open ones. Several
processes may run over the same store; each claims what is due and nobody's, keeps its leases, and lets go of what has
to wait. What one of them leaves behind when it is killed, another one claims when the lease is over.

`Scheduler.run` goes on until it is told to stop, or until its `Source` has no more to give. It raises what the store
raises; then nothing is driven any more, and a new scheduler can take everything up again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from coordinator.running.driver import Driver, Rested
from coordinator.running.leases import Keeper
from coordinator.tracing.ports import Clock, Kept, Lease, Leases


@dataclass(frozen=True, slots=True)
class SchedulerTerms:
    """How tracebacks are claimed.

    Attributes:
        block: how many in one claim at most.
        poll: how long to wait before asking the store again when it had nothing.
        gather: how long to let places gather before they are filled, unless there are enough for half a block.
        grace: how long tracebacks that are driven may go on after `stop`.
    """

    block: int = 1000
    poll: timedelta = timedelta(milliseconds=500)
    gather: timedelta = timedelta(milliseconds=100)
    grace: timedelta = timedelta(seconds=3)


class Source(Protocol):
    """Where tracebacks come from."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing will come any more."""
        ...

    async def claim(self, lease: Lease, places: int) -> list[Kept]:
        """At most so many, claimed."""
        ...

    async def next_due(self) -> datetime | None:
        """When it may have another one; None when that is not known."""
        ...


class Everything:
    """Whatever is due in the store."""

    exhausted = False

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    async def claim(self, lease: Lease, places: int) -> list[Kept]:
        """See `Source`."""
        return await self._leases.claim(lease, places)

    async def next_due(self) -> datetime | None:
        """See `Source`."""
        return await self._leases.next_due()


class Chosen:
    """Certain tracebacks, whoever drives them: claimed where that can be done, watched where another process does.

    `elsewhere` hears of those that came to rest in other hands.
    """

    def __init__(
        self,
        leases: Leases,
        load: Callable[[uuid.UUID], Kept | None],
        ids: Sequence[uuid.UUID],
        elsewhere: Callable[[Kept], None],
        *,
        claimed: Iterable[Kept] = (),
    ) -> None:
        self._leases = leases
        self._load = load
        self._elsewhere = elsewhere
        self._claimed = deque(claimed)
        self._wanted = deque(ids)

    @property
    def exhausted(self) -> bool:
        """See `Source`."""
        return not self._wanted and not self._claimed

    async def claim(self, lease: Lease, places: int) -> list[Kept]:
        """See `Source`."""
        given = [self._claimed.popleft() for _ in range(min(places, len(self._claimed)))]
        wanted = [self._wanted.popleft() for _ in range(min(places - len(given), len(self._wanted)))]
        if wanted:
            claimed = await self._leases.claim_these(lease, wanted, early=True)
            given += claimed
            ours = {kept.traceback.id for kept in claimed}
            for identity in wanted:
                if identity not in ours:
                    self._look_at(identity)
        return given

    def watch(self, identity: uuid.UUID) -> None:
        """Another process has this one now."""
        self._wanted.append(identity)

    def _look_at(self, identity: uuid.UUID) -> None:
        kept = self._load(identity)
        if kept is not None and kept.traceback.status.phase.rests:
            self._elsewhere(kept)
        elif kept is not None:
            self._wanted.append(identity)

    async def next_due(self) -> datetime | None:
        """See `Source`."""
        return None


class Scheduler:
    """Feeds a driver from a source."""

    def __init__(
        self,
        *,
        driver: Driver,
        source: Source,
        keeper: Keeper,
        clock: Clock,
        terms: SchedulerTerms | None = None,
        rested: Callable[[Rested], object] = lambda _: None,
        reopen: bool = False,
    ) -> None:
        """`rested` hears of every traceback that is no longer driven here; `reopen` asks in closed ones once more."""
        self._driver = driver
        self._source = source
        self._keeper = keeper
        self._clock = clock
        self._terms = terms or SchedulerTerms()
        self._rested = rested
        self._reopen = reopen
        self._news = asyncio.Event()
        self._stopping = False
        self._nothing_until = self._gathers_until = clock.now()

    def stop(self) -> None:
        """Claim nothing more, and end soon."""
        self._stopping = True
        self._news.set()

    def look(self) -> None:
        """Something may have become due: ask the store now."""
        self._nothing_until = self._clock.now()
        self._news.set()

    async def run(self) -> None:
        """Claim and drive until `stop`, or until nothing more comes.

        Raises:
            Exception: whatever the store raises.
        """
        failed = False
        try:
            with self._driver.telling(self._news.set):
                while not self._stopping and not (self._source.exhausted and not self._driver.driven_count):
                    await self._turn()
                await self._finish()
        except Exception:
            failed = True  # the store, perhaps: the leases run out by themselves
            raise
        finally:
            driven = self._driver.driven
            await self._driver.stop()
            if not failed:
                await self._keeper.let_go_of_all(driven)

    async def _turn(self) -> None:
        self._news.clear()
        await self._keep()
        claims_at = self._when_to_claim()
        if claims_at is not None and claims_at <= self._clock.now():
            await self._claim()
        else:
            await self._pause(claims_at)

    async def _keep(self) -> None:
        if self._driver.failure is not None:
            raise self._driver.failure
        for lost in await self._keeper.renew(self._driver.fence_of):
            self._driver.lose(lost)
        await self._keeper.let_go()

    def _when_to_claim(self) -> datetime | None:
        """Now, where there are enough places; later, while there are few or the store has nothing; None: never."""
        if self._source.exhausted:
            return None
        now, places = self._clock.now(), min(self._driver.places, self._terms.block)
        gathered = now if places >= self._terms.block // 2 else self._gathers_until
        if places <= 0:  # those that are slow give their places free in time
            gathered = now + self._terms.gather
        return max(gathered, self._nothing_until)

    async def _claim(self) -> None:
        """Fill the places that there are."""
        now, places = self._clock.now(), min(self._driver.places, self._terms.block)
        lease = self._keeper.lease()
        claimed = await self._source.claim(lease, places)
        self._keeper.hold(claimed, lease)
        for kept in claimed:
            self._driver.take(kept, self._came_to_rest, reopen=self._reopen)
        self._gathers_until = now + self._terms.gather
        if len(claimed) < places:  # that was all; look again when something is due, or may have been submitted
            soon = now + self._terms.poll
            due = await self._source.next_due()
            self._nothing_until = soon if due is None or due <= now else min(due, soon)

    def _came_to_rest(self, rested: Rested) -> None:
        if rested.due is not None and not rested.freed and not rested.lost:
            self._keeper.free(rested.kept, rested.due)
        self._rested(rested)

    async def _pause(self, until: datetime | None) -> None:
        """Until that time, or until there are places again, or leases are to be renewed."""
        if self._news.is_set():
            return
        times = [time for time in (until, self._keeper.next_renewal) if time is not None]
        news = asyncio.create_task(self._news.wait())
        sleep = asyncio.create_task(self._clock.sleep_until(min(times))) if times else None
        waited = [news] if sleep is None else [news, sleep]
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waited:
                task.cancel()

    async def _finish(self) -> None:
        """Let what is driven go on for a while, then leave it to others."""
        until = self._clock.now() + self._terms.grace
        while self._driver.driven_count and self._clock.now() < until:
            self._news.clear()
            await self._keep()
            await self._pause(until)
