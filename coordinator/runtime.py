"""Putting a coordinator together from its configuration: database, registry, certificates, clock, driver.

The only place where the driver's ports meet what really stands behind them. Commands that only show
things never import gRPC.
"""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from coordinator.config import ConfigError, LoadedConfig
from coordinator.store.engine import StoreError, engine_for, require_current
from coordinator.store.sql_store import SqlStore, opened
from coordinator.tracing.chain import Traceback
from coordinator.tracing.ports import Kept, Registry, Watcher
from protos.identity import coordinator_uri

if TYPE_CHECKING:
    from protos.renewal import Party
    from protos.tls import TlsFiles


def settle_memory() -> None:
    """For processes that drive thousands of tracebacks: collect garbage rarely.

    What is loaded by now stays, and need not be walked again; and of what comes and goes nearly nothing is in circles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(300_000, 20, 50)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present time, aware UTC."""
        return datetime.now(UTC)

    async def sleep_until(self, time: datetime) -> None:
        """Sleep, by the wall clock as it was at the start."""
        await asyncio.sleep(max((time - self.now()).total_seconds(), 0.0))


@contextmanager
def open_store(loaded: LoadedConfig) -> Iterator[SqlStore]:
    """The store of this configuration, its tables checked.

    Raises:
        ConfigError: there is no such database, or its tables are not this version's.
    """
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(engine_for(loaded.store_url))
            require_current(engine)
        except StoreError as error:
            raise ConfigError(loaded.file, [f"store.url: {error}"]) from None
        yield stack.enter_context(opened(engine))


def tls_files(loaded: LoadedConfig, now: datetime) -> TlsFiles:
    """Certificate, key and roots of this configuration, checked at `now`.

    Raises:
        ConfigError: a file can't be used, or the certificate is not this coordinator's.
    """
    from protos.tls import TlsFilesError, read_tls_files

    table, config_file = loaded.config.tls, loaded.file
    try:
        files = read_tls_files(loaded.path(table.certificate), loaded.path(table.key), loaded.path(table.roots), now)
    except TlsFilesError as error:
        raise ConfigError(config_file, [f"tls: {problem}" for problem in error.problems]) from None
    expected = coordinator_uri(loaded.config.coordinator.name)
    if expected not in files.uris:
        named = ", ".join(files.uris) or "nobody"
        raise ConfigError(
            config_file, [f"tls.certificate: it names {named}, not {expected}, which coordinator.name asks for"]
        )
    return files


async def carry_on(
    claimed: Iterable[Kept],
    ids: Sequence[uuid.UUID] = (),
    *,
    owner: str,
    loaded: LoadedConfig,
    party: Party,
    store: SqlStore,
    registry: Registry,
    watcher: Watcher,
    reopen: bool = False,
) -> AsyncIterator[Traceback]:
    """Drive the tracebacks that `owner` has claimed, and those with these ids; yields each as it comes to rest.

    Those that another process drives are watched, and taken over if it falls silent. `reopen` asks the last provider
    of closed ones again.
    """
    from coordinator.online import agents_of
    from coordinator.running.driver import Driver, Rested
    from coordinator.running.leases import Keeper
    from coordinator.running.offset_book import OffsetBook
    from coordinator.running.scheduler import Chosen, Scheduler

    clock, limits = SystemClock(), loaded.config.limits
    at_rest: asyncio.Queue[Traceback | None] = asyncio.Queue()

    def came_to_rest(rested: Rested) -> None:
        if rested.lost:
            source.watch(rested.kept.traceback.id)
        else:
            at_rest.put_nowait(rested.kept.traceback)

    async with agents_of(loaded, party) as agents:
        clocks = OffsetBook(store.engine)
        driver = Driver(
            store=store,
            registry=registry,
            agents=agents,
            clock=clock,
            watcher=watcher,
            limits=replace(limits.driver, silence=limits.foreground),
            clocks=clocks,
        )
        source = Chosen(store, store.load, ids, lambda kept: at_rest.put_nowait(kept.traceback), claimed=claimed)
        scheduler = Scheduler(
            driver=driver,
            source=source,
            keeper=Keeper(store, clock, owner, limits.lease),
            clock=clock,
            rested=came_to_rest,
            reopen=reopen,
        )
        running = asyncio.create_task(scheduler.run())
        running.add_done_callback(lambda _: at_rest.put_nowait(None))
        try:
            while (traceback := await at_rest.get()) is not None:
                yield traceback
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            clocks.flush()
