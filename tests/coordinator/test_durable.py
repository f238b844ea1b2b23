"""A million open tracebacks in the store, and a coordinator over them: what it holds, and how fast it goes on."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest
from sqlalchemy import Engine

from coordinator.present.live import Silent
from coordinator.running.driver import Driver
from coordinator.running.leases import Keeper, owner_name
from coordinator.running.scheduler import Everything, Scheduler, SchedulerTerms
from coordinator.runtime import SystemClock, settle_memory
from coordinator.store.engine import open_engine
from coordinator.store.sql_store import SqlStore, opened
from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.ports import Provider
from coordinator.tracing.priorities import Priority
from protos.e164 import parse_e164
from protos.types import Question
from tests.coordinator.crash import HOPS, PATH, Agents, Registry
from tests.coordinator.make import call

OPEN = 1_000_000
BLOCK = 20_000
MB = 1024


class ForgetfulAgents(Agents):
    """They answer, and remember nothing of it."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))

    def _note(self, provider: Provider, question: Question) -> None:
        pass


def calls() -> Iterator[Traceback]:
    base = call(terminating=PATH[0])
    for number in range(OPEN):
        yield Traceback(uuid.uuid4(), replace(base, called=parse_e164(f"+1202555{number % 10_000:04}")))


def coordinate(url: str, seconds: float, told: SimpleQueue[tuple[float, int, int]]) -> None:
    """Trace for so long; tells the most memory that this process had, in MB, how many it closed, and had at once."""

    async def run() -> tuple[int, int]:
        store, clock, closed, most = SqlStore(open_engine(url)), SystemClock(), 0, 0

        def rested(_: object) -> None:
            nonlocal closed, most
            closed += 1
            most = max(most, driver.driven_count)

        settle_memory()
        driver = Driver(store=store, registry=Registry(), agents=ForgetfulAgents(), clock=clock, watcher=Silent())
        keeper = Keeper(store, clock, owner_name())
        terms = SchedulerTerms(grace=timedelta(0))
        scheduler = Scheduler(
            driver=driver, source=Everything(store), keeper=keeper, clock=clock, terms=terms, rested=rested
        )
        asyncio.get_running_loop().call_later(seconds, scheduler.stop)
        await scheduler.run()
        store.close()
        return closed, most

    closed, most = asyncio.run(run())
    told.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB, closed, most))


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_million_open_tracebacks_leave_a_coordinator_below_500_mb(either_engine: Engine) -> None:
    with opened(either_engine) as store:
        everything = calls()
        while block := list(islice(everything, BLOCK)):
            store.submit(block, SystemClock().now(), priority=lambda one: Priority(one.id.int % 4))
    context = multiprocessing.get_context("spawn")
    told: SimpleQueue[tuple[float, int, int]] = context.SimpleQueue()
    url = either_engine.url.render_as_string(hide_password=False)
    process = context.Process(target=coordinate, args=(url, 20.0, told))
    process.start()
    process.join()
    memory, closed, most = told.get()
    assert memory < 500
    assert closed > 1000
    assert most <= 20_000
    with opened(open_engine(url)) as store:
        counts = store.counts()
    assert counts[Status.ORIGIN_FOUND] == closed
    assert sum(counts.values()) == OPEN
    print(f"{memory:.0f} MB, {closed} closed in 20 s, {most} at once, {HOPS} hops each")
