"""The scheduler: claims as there are places, keeps its leases, lets go, takes over; nobody holds back anybody else.

Time is virtual and everything else is real: store, leases, driver, lanes. So hours pass in a second, and always alike.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from coordinator.lookups.batching import LaneTerms
from coordinator.present.live import Silent
from coordinator.running.driver import Driver, Rested
from coordinator.running.leases import Keeper
from coordinator.running.limits import Limits
from coordinator.running.scheduler import Chosen, Everything, Scheduler, SchedulerTerms
from coordinator.runtime import SystemClock
from coordinator.store.engine import open_engine
from coordinator.store.sql_store import SqlStore, opened
from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.patience import Patience
from coordinator.tracing.ports import (
    AttemptTimedOutError,
    Change,
    Clock,
    Kept,
    Lease,
    Provider,
    Reply,
    UnreachableError,
)
from coordinator.tracing.priorities import Priority
from protos.codec import digest, encode_answer
from protos.e164 import parse_e164
from protos.types import Outcome, Question
from tests.coordinator import databases
from tests.coordinator.make import NOW, call, provider, says, upstream
from tests.coordinator.virtual_time import VirtualClock, in_virtual_time

SECOND = timedelta(seconds=1)
LEASE = 15 * SECOND


@dataclass
class Industry:
    """Agents in this process: how each behaves, and which way each call took.

    A call's path is told by the last digits of its number; an agent that is not named is well and answers in 20 ms.
    """

    paths: list[list[str]]
    dead: set[str] = field(default_factory=set)
    hung: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    messages: Counter[str] = field(default_factory=Counter)
    asked: list[Question] = field(default_factory=list)
    before_answering: Callable[[Provider], Awaitable[None]] | None = None

    def provider(self, name: str) -> Provider:
        return Provider(provider(name), name, "in.this.process:1")

    async def ask(self, at: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        [reply] = await self.ask_many(at, [(question, exact)], timeout)
        return reply

    async def ask_many(self, at: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta) -> list[Reply]:
        self.messages[at.id] += 1
        self.asked += [question for question, _ in asked]
        if at.id in self.dead:
            await asyncio.sleep(0.001)
            raise UnreachableError("refused")
        if at.id in self.hung:
            await asyncio.sleep(timeout.total_seconds())
            raise AttemptTimedOutError("silence")
        await asyncio.sleep(5.0 if at.id in self.slow else 0.02)
        if self.before_answering is not None:
            await self.before_answering(at)
        return [self._reply(at, question, exact) for question, exact in asked]

    def _reply(self, at: Provider, question: Question, exact: bytes) -> Reply:
        path = self.paths[int(question.called[-4:]) % len(self.paths)]
        place = path.index(at.id)
        last = place == len(path) - 1
        answer = says(at.id, Outcome.ORIGINATED_HERE) if last else upstream(at.id, path[place + 1])
        return Reply(answer, encode_answer(answer, digest(exact)))

    def traceback(self, number: int) -> Traceback:
        path = self.paths[number % len(self.paths)]
        one = replace(call(terminating=path[0]), called=parse_e164(f"+1202555{number:04}"))
        return Traceback(uuid.UUID(int=number + 1), one)


def chain() -> Industry:
    return Industry([["ginkgo", "birch", "alder"]])


class Process:
    """One coordinator: a store with connections of its own, a driver, a scheduler."""

    def __init__(
        self,
        url: str,
        industry: Industry,
        name: str = "one",
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock, self.industry = clock or VirtualClock(), industry
        self.store = SqlStore(open_engine(url))
        self.rested: list[tuple[Rested, datetime]] = []
        self.driver = Driver(
            store=self.store,
            registry=industry,
            agents=industry,
            clock=self.clock,
            watcher=Silent(),
            limits=limits or Limits(patience=Patience(jitter=0.0)),
        )
        self.keeper = Keeper(self.store, self.clock, name, LEASE)
        self.scheduler = self.over(Everything(self.store))

    def over(self, source: Everything | Chosen, **terms: object) -> Scheduler:
        self.scheduler = Scheduler(
            driver=self.driver,
            source=source,
            keeper=self.keeper,
            clock=self.clock,
            terms=SchedulerTerms(**terms),  # type: ignore[arg-type]
            rested=lambda rested: self.rested.append((rested, self.clock.now())),
        )
        return self.scheduler

    async def until(self, count: int, within: timedelta = timedelta(hours=1)) -> None:
        """Run until so many are closed here."""
        await self.through(lambda: self.closed() >= count, within)

    async def through(self, done: Callable[[], bool], within: timedelta = timedelta(hours=1)) -> None:
        running, until = asyncio.create_task(self.scheduler.run()), self.clock.now() + within
        while not done() and not running.done() and self.clock.now() < until:
            await asyncio.sleep(0.1)
        self.scheduler.stop()
        await running
        self.store.close()

    def closed(self) -> int:
        return sum(rested.due is None and not rested.lost for rested, _ in self.rested)


@pytest.fixture
def url(sqlite_engine: Engine) -> str:
    return sqlite_engine.url.render_as_string()


@pytest.fixture
def office(url: str) -> Iterator[SqlStore]:
    """For submitting, and for looking."""
    with opened(open_engine(url)) as store:
        yield store


def submit(office: SqlStore, industry: Industry, count: int, at: datetime = NOW) -> list[Kept]:
    return office.submit([industry.traceback(number) for number in range(count)], at)


class TestAScheduler:
    def test_traces_everything_that_is_due(self, url: str, office: SqlStore) -> None:
        industry = chain()
        submit(office, industry, 50)
        in_virtual_time(lambda: Process(url, industry).until(50))
        assert office.counts() == {Status.ORIGIN_FOUND: 50}
        assert office.open_ids() == []
        assert industry.messages["birch"] < 10  # together, not one by one

    def test_finds_what_is_submitted_while_it_runs(self, url: str, office: SqlStore) -> None:
        industry = chain()

        async def later() -> None:
            process = Process(url, industry)
            asyncio.get_running_loop().call_later(7, submit, office, industry, 3, NOW)
            await process.until(3)
            assert all(at < NOW + 8 * SECOND for _, at in process.rested)

        in_virtual_time(later)
        assert office.counts() == {Status.ORIGIN_FOUND: 3}

    def test_claims_no_more_than_it_has_places_for(self, url: str, office: SqlStore) -> None:
        industry, driven = chain(), []
        submit(office, industry, 500)

        async def run() -> None:
            process = Process(url, industry, limits=Limits(concurrent=40))
            process.over(Everything(process.store), block=40)

            async def count(_: Provider) -> None:
                driven.append(process.driver.driven_count)

            industry.before_answering = count
            await process.until(500)

        in_virtual_time(run)
        assert office.counts() == {Status.ORIGIN_FOUND: 500}
        assert max(driven) <= 60

    def test_waits_in_the_store_for_what_is_due_later(self, url: str, office: SqlStore) -> None:
        industry = chain()
        submit(office, industry, 2, at=NOW + timedelta(minutes=10))

        async def run() -> None:
            process = Process(url, industry)
            await process.until(2, within=timedelta(minutes=20))
            assert all(at >= NOW + timedelta(minutes=10) for _, at in process.rested)

        in_virtual_time(run)
        assert office.counts() == {Status.ORIGIN_FOUND: 2}

    def test_keeps_its_leases_while_an_answer_takes_long(self, url: str, office: SqlStore) -> None:
        """Nobody takes over what another process is still about, however long that takes."""
        industry = chain()
        submit(office, industry, 10)

        async def linger(_: Provider) -> None:
            await asyncio.sleep(20)

        industry.before_answering = linger

        async def run() -> None:
            limits = Limits(attempt_timeout=60 * SECOND)
            one, two = Process(url, industry, "one", limits), Process(url, industry, "two", limits)
            both = lambda: one.closed() + two.closed() >= 10  # noqa: E731
            await asyncio.gather(one.through(both), two.through(both))
            assert {one.closed(), two.closed()} == {0, 10}
            assert not any(rested.lost for rested, _ in one.rested + two.rested)

        in_virtual_time(run)
        assert len(industry.asked) == 30

    def test_that_falls_silent_is_succeeded_within_a_lease(self, url: str, office: SqlStore) -> None:
        industry = chain()
        submit(office, industry, 5)

        async def run() -> None:
            one = Process(url, industry, "one")
            silent = asyncio.create_task(one.scheduler.run())
            await asyncio.sleep(0.03)  # in the middle of the first hop
            one.driver.close()  # as if killed: nothing is let go, nothing renewed, nothing claimed
            one.scheduler._turn = asyncio.Event().wait  # type: ignore[assignment]
            one.scheduler.look()
            two = Process(url, industry, "two")
            await two.until(5)
            assert NOW + LEASE <= two.rested[-1][1] < NOW + LEASE + 2 * SECOND
            silent.cancel()
            await asyncio.gather(silent, return_exceptions=True)
            one.store.close()

        in_virtual_time(run)
        assert office.counts() == {Status.ORIGIN_FOUND: 5}
        ids = {(question.target, question.called): question.question_id for question in industry.asked}
        assert len(ids) == len({question.question_id for question in industry.asked}) == 15

    def test_that_is_stopped_leaves_everything_to_others_at_once(self, url: str, office: SqlStore) -> None:
        industry = chain()
        industry.slow = {"birch"}
        submit(office, industry, 5)

        async def run() -> None:
            one = Process(url, industry, "one")
            one.over(Everything(one.store), grace=SECOND)
            await one.through(lambda: True)
            industry.slow = set()
            two = Process(url, industry, "two")
            await two.until(5)
            assert two.rested[-1][1] < NOW + 3 * SECOND

        in_virtual_time(run)

    def test_gives_up_what_another_process_took_while_it_slept(self, url: str, office: SqlStore) -> None:
        industry = chain()
        [kept] = submit(office, industry, 1)

        async def run() -> None:
            one = Process(url, industry, "one")

            async def take_over(_: Provider) -> None:
                industry.before_answering = None
                later = Lease("two", one.clock.now() + LEASE, one.clock.now() + 2 * LEASE)
                assert len(await office.claim(later, 1)) == 1

            industry.before_answering = take_over
            await one.through(lambda: bool(one.rested))
            assert [rested.lost for rested, _ in one.rested] == [True]

        in_virtual_time(run)
        loaded = office.load(kept.traceback.id)
        assert loaded is not None
        assert loaded.traceback.hops[0].answer is None  # the late answer was not written

    def test_raises_what_the_store_raises_and_drives_nothing_more(self, url: str, office: SqlStore) -> None:
        industry = chain()
        submit(office, industry, 3)

        async def run() -> None:
            one = Process(url, industry)

            async def save(changes: Sequence[Change]) -> set[int]:
                raise OSError("no space left on device")

            one.store.save = save  # type: ignore[method-assign]
            with pytest.raises(OSError, match="no space"):
                await one.until(3)
            one.store.close()

        in_virtual_time(run)
        assert industry.asked == []


class TestACommandsOwnTracebacks:
    def test_are_traced_and_no_others(self, url: str, office: SqlStore) -> None:
        industry = chain()
        submitted_ = submit(office, industry, 10)
        mine = [kept.traceback.id for kept in submitted_[:4]]

        async def run() -> None:
            process = Process(url, industry)
            await process.over(Chosen(process.store, process.store.load, mine, lambda _: None)).run()
            process.store.close()
            assert {rested.kept.traceback.id for rested, _ in process.rested} == set(mine)

        in_virtual_time(run)
        assert office.counts() == {Status.ORIGIN_FOUND: 4, Status.SUBMITTED: 6}

    def test_are_watched_where_a_service_is_quicker(self, url: str, office: SqlStore) -> None:
        industry, elsewhere = chain(), list[Kept]()
        ids = [kept.traceback.id for kept in submit(office, industry, 6)]

        async def run() -> None:
            service, command = Process(url, industry, "service"), Process(url, industry, "command")
            running = asyncio.create_task(service.until(6))
            await asyncio.sleep(0.03)
            await command.over(Chosen(command.store, command.store.load, ids, elsewhere.append)).run()
            command.store.close()
            await running

        in_virtual_time(run)
        assert {kept.traceback.id for kept in elsewhere} == set(ids)
        assert {kept.traceback.status for kept in elsewhere} == {Status.ORIGIN_FOUND}

    def test_are_taken_over_from_a_service_that_falls_silent(self, url: str, office: SqlStore) -> None:
        industry = chain()
        ids = [kept.traceback.id for kept in submit(office, industry, 2)]

        async def run() -> None:
            await office.claim(Lease("silent", NOW, NOW + LEASE), 2)
            command = Process(url, industry, "command")
            await command.over(Chosen(command.store, command.store.load, ids, lambda _: None)).run()
            command.store.close()
            assert command.closed() == 2
            assert NOW + LEASE <= command.rested[-1][1] < NOW + LEASE + 2 * SECOND

        in_virtual_time(run)


class TestADeadProvider:
    def test_makes_its_tracebacks_non_responsive_and_holds_up_no_other(self, url: str, office: SqlStore) -> None:
        industry = Industry([["ginkgo", "dead"], ["ginkgo", "alder"]], dead={"dead"})
        submit(office, industry, 200)

        async def run() -> None:
            process = Process(url, industry)
            await process.until(200)
            found = [at for rested, at in process.rested if rested.kept.traceback.status is Status.ORIGIN_FOUND]
            assert max(found) < NOW + SECOND
            given_up = [at for rested, at in process.rested if rested.kept.traceback.status is Status.NON_RESPONSIVE]
            assert min(given_up) >= NOW + Patience().unanswered

        in_virtual_time(run)
        assert office.counts() == {Status.ORIGIN_FOUND: 100, Status.NON_RESPONSIVE: 100}
        assert industry.messages["dead"] < 45  # one in half a minute

    def test_that_was_down_for_ten_minutes_has_cost_nobody_a_traceback_and_few_messages(
        self, url: str, office: SqlStore
    ) -> None:
        industry = Industry([["ginkgo", "alder"]], dead={"alder"})
        submit(office, industry, 500)
        away = timedelta(minutes=10)

        async def run() -> None:
            process = Process(url, industry)
            asyncio.get_running_loop().call_later(away.total_seconds(), industry.dead.clear)
            asyncio.get_running_loop().call_later(
                away.total_seconds() - 1, lambda: down.append(industry.messages["alder"])
            )
            await process.until(500)
            assert max(at for _, at in process.rested) < NOW + away + timedelta(seconds=40)  # the breaker's last pause

        down: list[int] = []
        in_virtual_time(run)
        assert office.counts() == {Status.ORIGIN_FOUND: 500}
        assert down[0] < 35

    def test_that_comes_back_wakes_those_that_another_process_has_left_to_wait(
        self, url: str, office: SqlStore
    ) -> None:
        industry = Industry([["ginkgo", "alder"]], dead={"alder"})
        submit(office, industry, 100)

        async def run() -> None:
            first = Process(url, industry, "first")
            await first.through(lambda: len(first.rested) >= 90)
            industry.dead.clear()
            second, began = Process(url, industry, "second"), first.clock.now()
            await second.until(100)
            assert max(at for _, at in second.rested) < began + 2 * SECOND

        in_virtual_time(run)
        assert office.counts() == {Status.ORIGIN_FOUND: 100}

    def test_that_comes_back_is_asked_on(self, url: str, office: SqlStore) -> None:
        industry = Industry([["ginkgo", "alder"]], dead={"alder"})
        submit(office, industry, 50)
        limits = Limits(patience=Patience(attempts=10, jitter=0.0))

        async def run() -> None:
            process = Process(url, industry, limits=limits)
            asyncio.get_running_loop().call_later(5, industry.dead.clear)
            await process.until(50)

        in_virtual_time(run)
        assert office.counts() == {Status.ORIGIN_FOUND: 50}

    def test_fills_neither_the_places_nor_the_memory_of_a_process(self, url: str, office: SqlStore) -> None:
        industry = Industry([["hung", "alder"]] * 9 + [["ginkgo", "alder"]], hung={"hung"})
        submit(office, industry, 1500)
        most = []

        async def run() -> None:
            lane = LaneTerms(in_flight=1, largest=50, room=50)
            process = Process(url, industry, limits=Limits(concurrent=100, most=400, lane=lane))

            async def count(_: Provider) -> None:
                most.append(process.driver.driven_count)

            industry.before_answering = count
            healthy = lambda: office.counts()[Status.ORIGIN_FOUND] == 150  # noqa: E731
            await process.through(healthy, within=timedelta(minutes=30))

        in_virtual_time(run)
        assert office.counts()[Status.ORIGIN_FOUND] == 150
        assert max(most) <= 400


class TestPriorities:
    def test_a_threat_to_life_overtakes_a_campaign(self, url: str, office: SqlStore) -> None:
        industry = chain()
        submit(office, industry, 2000)
        urgent = replace(industry.traceback(9000), id=uuid.UUID(int=9_999_999))

        async def run() -> None:
            limits = Limits(concurrent=50, lane=LaneTerms(largest=10, in_flight=1))
            process = Process(url, industry, limits=limits)
            process.over(Everything(process.store), block=50)
            urgently = {"priority": lambda _: Priority.THREAT_TO_LIFE}
            asyncio.get_running_loop().call_later(1, lambda: office.submit([urgent], NOW + SECOND, **urgently))  # type: ignore[arg-type]
            await process.until(2001)
            at = {rested.kept.traceback.id: at for rested, at in process.rested}
            assert at[urgent.id] < NOW + 2 * SECOND
            assert max(at.values()) > NOW + 3 * SECOND

        in_virtual_time(run)


def p99(times: Sequence[timedelta]) -> timedelta:
    return sorted(times)[int(len(times) * 0.99)]


class Sickness:
    """The same campaign among a hundred healthy providers, and with 30 of them dead (half silent) and 20 slow."""

    def __init__(self, calls: int, over_s: float) -> None:
        chance = random.Random(4)
        names = [f"provider-{number:02}" for number in range(100)]
        self.paths = [chance.sample(names, 3) for _ in range(calls)]
        self.sick = chance.sample(names, 50)
        numbers = [number for number, path in enumerate(self.paths) if not set(path) & set(self.sick)]
        self.healthy = {uuid.UUID(int=number + 1): number for number in numbers}
        self.arrivals = sorted(chance.uniform(0, over_s) for _ in range(calls))

    def well(self) -> Industry:
        return Industry(self.paths)

    def sickly(self) -> Industry:
        return Industry(self.paths, set(self.sick[:15]), set(self.sick[15:30]), set(self.sick[30:]))

    async def took(self, url: str, industry: Industry, clock: Clock, concurrent: int = 100) -> list[timedelta]:
        """How long the tracebacks whose paths are healthy take, from submission to the end."""
        process = Process(url, industry, limits=Limits(concurrent=concurrent), clock=clock)
        office, loop, start = SqlStore(open_engine(url)), asyncio.get_running_loop(), clock.now()
        for number, after in enumerate(self.arrivals):
            at = start + timedelta(seconds=after)
            loop.call_later(after, office.submit, [industry.traceback(number)], at)

        def at_rest() -> list[tuple[Rested, datetime]]:
            return [(rested, at) for rested, at in process.rested if rested.kept.traceback.id in self.healthy]

        await process.through(lambda: len(at_rest()) == len(self.healthy))
        office.close()
        assert {rested.kept.traceback.status for rested, _ in at_rest()} == {Status.ORIGIN_FOUND}
        submitted_at = {one: start + timedelta(seconds=self.arrivals[number]) for one, number in self.healthy.items()}
        return [at - submitted_at[rested.kept.traceback.id] for rested, at in at_rest()]


def test_with_a_third_dead_and_a_fifth_slow_the_healthy_paths_take_no_more_than_twice_as_long(
    tmp_path: Path, sqlite_template: Path
) -> None:
    campaign = Sickness(500, 30.0)

    def trace(industry: Industry, name: str) -> list[timedelta]:
        with databases.in_sqlite(tmp_path / f"{name}.db", sqlite_template) as engine:
            return in_virtual_time(campaign.took, engine.url.render_as_string(), industry, VirtualClock())

    well, sickly = trace(campaign.well(), "well"), trace(campaign.sickly(), "sickly")
    assert len(well) == len(sickly) > 40
    assert p99(sickly) <= 2 * p99(well)


@pytest.mark.nightly
def test_with_a_third_dead_and_a_fifth_slow_the_healthy_paths_take_no_more_than_twice_as_long_by_the_clock(
    tmp_path: Path, sqlite_template: Path
) -> None:
    campaign = Sickness(1000, 40.0)

    def trace(industry: Industry, name: str) -> list[timedelta]:
        with databases.in_sqlite(tmp_path / f"{name}.db", sqlite_template) as engine:
            return asyncio.run(campaign.took(engine.url.render_as_string(), industry, SystemClock(), 1000))

    well, sickly = trace(campaign.well(), "well"), trace(campaign.sickly(), "sickly")
    print(f"p99 of {len(well)} healthy paths: {p99(well)} among the well, {p99(sickly)} among the sick")
    assert p99(sickly) <= 2 * p99(well)
