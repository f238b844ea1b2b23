"""The coordinator as a service: claims whatever is due, traces it, and goes on until it is told to stop.

Any number of these may run over one PostgreSQL database, on as many machines; over one SQLite file as many as are on
its machine. What the database can't take now is tried again, at growing intervals; meanwhile nothing is asked, and
another process takes over when the leases end. The registry is read again every `REGISTRY_S` seconds. Beside it works
the clerk between chains and people (`coordinator.running.clerking`), whoever looks for sister calls
(`running.eliminating`), and whoever looks for records that were given for two calls (`running.contesting`).

The log names events and counts, never a number of a subscriber.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from coordinator.config import LoadedConfig
from coordinator.present.live import Silent
from coordinator.registry import RegistrySnapshot
from coordinator.running.clerking import clerking
from coordinator.running.contesting import Contester
from coordinator.running.driver import Driver, Rested
from coordinator.running.eliminating import Eliminator
from coordinator.running.leases import Keeper, owner_name
from coordinator.running.offset_book import OffsetBook
from coordinator.running.scheduler import Everything, Scheduler, SchedulerTerms
from coordinator.runtime import SystemClock, settle_memory
from coordinator.store.sql_store import SqlStore
from coordinator.tracing.chain import Phase, Traceback
from coordinator.tracing.chance import scatter
from coordinator.tracing.ports import AgentClient, Clock, Provider
from protos.identity import ProviderId

REGISTRY_S: Final = 10.0
REPORT_S: Final = 60.0
_FIRST_PAUSE: Final = timedelta(seconds=0.5)
_LONGEST_PAUSE: Final = timedelta(seconds=30)

log = structlog.get_logger()


class LiveRegistry:
    """The registry, read again now and then. Implements `coordinator.tracing.ports.Registry`."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._snapshot = RegistrySnapshot(store.providers())

    def provider(self, provider: ProviderId) -> Provider | None:
        """The entry of `provider` as it was read last."""
        return self._snapshot.provider(provider)

    async def keep_reading(self) -> None:
        """Read it again every `REGISTRY_S` seconds; what can't be read now stays as it was."""
        while True:
            await asyncio.sleep(REGISTRY_S)
            with suppress(SQLAlchemyError):
                self._snapshot = RegistrySnapshot(await asyncio.to_thread(self._store.providers))


class Tally:
    """What became of the tracebacks, for the log."""

    def __init__(self) -> None:
        self.notice: Callable[[Traceback], None] = lambda traceback: None  # noqa: ARG005
        self._closed: Counter[str] = Counter()
        self._left = 0
        self._lost = 0

    def count(self, rested: Rested) -> None:
        """One more is no longer driven here."""
        self.notice(rested.kept.traceback)
        if rested.lost:
            self._lost += 1
        elif rested.kept.traceback.status.phase is Phase.CLOSED:
            self._closed[rested.kept.traceback.status.value] += 1
        else:
            self._left += 1

    async def keep_reporting(self) -> None:
        """Tell the log every `REPORT_S` seconds."""
        while True:
            await asyncio.sleep(REPORT_S)
            self.report()

    def report(self) -> None:
        """Tell the log, if there is anything to tell, and begin anew."""
        if self._closed or self._left or self._lost:
            log.info("traced", closed=dict(self._closed), waiting=self._left, taken_over_by_others=self._lost)
        self._closed, self._left, self._lost = Counter(), 0, 0


class Daemon:
    """Drives everything that is due in `store`, over `agents`."""

    def __init__(self, loaded: LoadedConfig, store: SqlStore, agents: AgentClient, clock: Clock | None = None) -> None:
        self._loaded = loaded
        self._store = store
        self._agents = agents
        self._clock = clock or SystemClock()
        self._stopping = asyncio.Event()
        self._scheduler: Scheduler | None = None
        self.tally = Tally()

    def stop(self) -> None:
        """End in good order: claim nothing more, let go of what is driven."""
        self._stopping.set()
        if self._scheduler is not None:
            self._scheduler.stop()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Go on until `stop`; `ready` is called when everything is there."""
        owner, failures = owner_name(), 0
        registry = LiveRegistry(self._store)
        beside = [asyncio.create_task(work) for work in (registry.keep_reading(), self.tally.keep_reporting())]
        settle_memory()
        log.info("coordinating", owner=owner)
        people = ExitStack()
        try:
            working = people.enter_context(clerking(self._loaded, self._store, owner, self._clock.now))
            beside.append(asyncio.create_task(working.keep_working()))
            self.tally.notice = working.clerk.notice
            beside.append(asyncio.create_task(self._eliminator(owner).keep_working()))
            beside.append(asyncio.create_task(self._contester(owner).keep_working()))
            ready()
            while not self._stopping.is_set():
                try:
                    await self._drive(owner, registry)
                    failures = 0
                except SQLAlchemyError as error:
                    failures += 1
                    pause = self._pause(owner, failures)
                    reason = str(getattr(error, "orig", None) or type(error).__name__).strip()
                    log.error("database_failed", error=reason, again_in_s=pause)  # noqa: TRY400 (the text says it all)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), pause)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            people.close()
            self.tally.report()
            log.info("stopped", owner=owner)

    def _eliminator(self, owner: str) -> Eliminator:
        limits = self._loaded.config.limits
        patience = limits.driver.patience
        return Eliminator(
            self._store.engine, self._store, self._clock.now, f"{owner} sisters", lease=limits.lease, patience=patience
        )

    def _contester(self, owner: str) -> Contester:
        limits = self._loaded.config.limits
        patience = limits.driver.patience
        return Contester(
            self._store.engine, self._store, self._clock.now, f"{owner} contests", lease=limits.lease, patience=patience
        )

    async def _drive(self, owner: str, registry: LiveRegistry) -> None:
        limits = self._loaded.config.limits
        clocks = OffsetBook(self._store.engine)
        driver = Driver(
            store=self._store,
            registry=registry,
            agents=self._agents,
            clock=self._clock,
            watcher=Silent(),
            limits=limits.driver,
            clocks=clocks,
        )
        self._scheduler = Scheduler(
            driver=driver,
            source=Everything(self._store),
            keeper=Keeper(self._store, self._clock, owner, limits.lease),
            clock=self._clock,
            terms=SchedulerTerms(block=limits.block),
            rested=self.tally.count,
        )
        if self._stopping.is_set():
            self._scheduler.stop()
        await self._scheduler.run()
        clocks.flush()

    @staticmethod
    def _pause(owner: str, failures: int) -> float:
        """Seconds until the database is tried again: doubled after each failure, scattered over processes."""
        doubled: int = 2 ** min(failures - 1, 10)
        longest = min(_FIRST_PAUSE * doubled, _LONGEST_PAUSE)
        return round(longest.total_seconds() * (0.75 + 0.25 * scatter(f"{owner} {failures}")), 2)
