"""Killed with SIGKILL, in a process of its own, before and after every durable step: nothing is lost, nothing doubled.

Many cases run at the same time, each over a database of its own: what takes long is waiting for leases to end.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import pytest
from sqlalchemy import Engine, func, select, text

from coordinator.runtime import SystemClock
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import opened
from coordinator.tracing.chain import Status, Traceback
from protos.e164 import parse_e164
from tests.coordinator import databases
from tests.coordinator.crash import HOPS, KILLED, PATH, STOPPED, Point, process, searches
from tests.coordinator.make import call
from tests.coordinator.parties import Parties, order

STEPS = 1 + 1 + HOPS  # the claim, the first question, one step for each answer
AT_ONCE = 6
ONE_LOOKS = threading.Lock()
"""Starting a process looks at how all others ended, and how one ended can be read once."""
T = TypeVar("T")


class Case:
    """One database, its agents, and processes that live and die over it; without `parties` it is all a trial."""

    def __init__(self, engine: Engine, directory: Path, processes: ForkServerContext, parties: Parties | None) -> None:
        self.engine, self.agents, self._processes, self._parties = engine, directory, processes, parties
        self._url = engine.url.render_as_string(hide_password=False)

    def submit(self, count: int) -> None:
        now = SystemClock().now().replace(microsecond=0)
        numbers = [parse_e164(f"+1202555{number:04}") for number in range(count)]
        if self._parties is None:
            calls = [replace(call(terminating=PATH[0]), called=number) for number in numbers]
        else:
            base = order(terminating=PATH[0], issued=now, expires=now + timedelta(hours=1))
            orders = [replace(base, order_id=uuid.uuid4(), called=number) for number in numbers]
            calls = self._parties.keep(OrderBook(self.engine), orders, now)
        with opened(self.engine) as store:
            store.submit([Traceback(uuid.uuid4(), one) for one in calls], now)

    def start(self, point: Point | None = None) -> ForkServerProcess:
        parties = None if self._parties is None else self._parties.authority.directory
        child = self._processes.Process(target=process, args=(self._url, self.agents, parties, point))
        with ONE_LOOKS:
            child.start()
        return child

    def run(self, point: Point | None = None) -> int:
        child = self.start(point)
        assert wait([child.sentinel], 60)
        with ONE_LOOKS:
            child.join()
        assert child.exitcode is not None
        return child.exitcode

    def open_count(self) -> int:
        with opened(self.engine) as store:
            return len(store.open_ids())

    def assert_all_traced_once(self, count: int) -> None:
        with self.engine.connect() as connection:
            rows = connection.execute(select(TracebackRow.status, TracebackRow.found, TracebackRow.hop_count)).all()
            hops = connection.execute(select(func.count()).select_from(HopRow)).scalar()
            leases = connection.execute(select(TracebackRow.owner, TracebackRow.claimable)).all()
        assert [tuple(row) for row in rows] == [(Status.ORIGIN_FOUND.value, PATH[-1], HOPS)] * count
        assert hops == HOPS * count
        assert [tuple(row) for row in leases] == [(None, None)] * count
        found = searches(self.agents)
        assert set(found.values()) == {1}
        assert len(found) == HOPS * count


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Makes processes quickly: forked from one that has imported everything and done nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.coordinator.crash"])
    return context


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    """Everybody who signs, with their keys in files."""
    made = Parties(tmp_path_factory.mktemp("parties"), SystemClock().now())
    for name in PATH:
        made.of(name)
    return made


Cases = Callable[..., AbstractContextManager[Case]]


@pytest.fixture(params=["sqlite", "postgresql"])
def cases(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    sqlite_template: Path,
    processes: ForkServerContext,
    parties: Parties,
) -> Iterator[Cases]:
    """Makes cases over SQLite or PostgreSQL; a database of PostgreSQL is emptied for the next case."""
    empty: SimpleQueue[Engine] = SimpleQueue()
    with ExitStack() as stack:
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            for _ in range(AT_ONCE):
                empty.put(stack.enter_context(databases.in_postgresql(server)))
        else:
            stack.enter_context(
                databases.in_sqlite(tmp_path / "first.db", sqlite_template)
            )  # the template is there now

        @contextmanager
        def case(*, trial: bool = False) -> Iterator[Case]:
            signing = None if trial else parties
            directory = tmp_path / uuid.uuid4().hex[:8]
            directory.mkdir()
            if request.param == "sqlite":
                with databases.in_sqlite(directory / "coordinator.db", sqlite_template) as engine:
                    yield Case(engine, directory, processes, signing)
                return
            engine = empty.get()
            try:
                yield Case(engine, directory, processes, signing)
            finally:
                with engine.begin() as connection:
                    connection.execute(text("TRUNCATE tracebacks CASCADE"))
                empty.put(engine)

        yield case


def each(points: Iterable[T], check: Callable[[T], None]) -> None:
    """Check all of them, several at a time; what fails says for which."""

    def named(point: T) -> None:
        try:
            check(point)
        except AssertionError as error:
            raise AssertionError(f"{point}: {error}") from error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(named, points))


def points(steps: int = STEPS) -> list[Point]:
    return [Point(step, after=after) for step in range(steps) for after in (False, True)]


@pytest.mark.slow
class TestAProcessThatIsKilled:
    """Ten hops, each by a signed question under an order."""

    def test_at_any_durable_step_leaves_a_traceback_that_another_ends(self, cases: Cases) -> None:
        def check(point: Point) -> None:
            with cases() as case:
                case.submit(1)
                assert case.run(point) == KILLED
                assert case.run() == STOPPED
                case.assert_all_traced_once(1)

        each(points(), check)

    def test_while_it_takes_over_leaves_it_to_a_third(self, cases: Cases) -> None:
        def check(point: Point) -> None:
            with cases() as case:
                case.submit(1)
                assert case.run(Point(6, after=True)) == KILLED
                assert case.run(point) == KILLED
                assert case.run() == STOPPED
                case.assert_all_traced_once(1)

        each(points(STEPS - 6), check)

    @pytest.mark.parametrize("trial", [False, True])
    def test_again_and_again_makes_no_difference_to_many(self, cases: Cases, trial: bool) -> None:
        with cases(trial=trial) as case:
            case.submit(40)
            for step in (1, 1, 2, 2, 3):
                assert case.run(Point(step, after=step % 2 == 0)) == KILLED
            assert case.run() == STOPPED
            case.assert_all_traced_once(40)

    def test_at_the_very_last_step_has_done_everything(self, cases: Cases) -> None:
        with cases() as case:
            case.submit(1)
            assert case.run(Point(STEPS - 1, after=True)) == KILLED
            case.assert_all_traced_once(1)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
def test_two_coordinators_of_which_one_is_killed_again_and_again_lose_and_double_nothing(
    cases: Cases, seed: int
) -> None:
    chance, count, kills = random.Random(seed), 3000, 0
    with cases() as case:
        case.submit(count)
        steady, victim = case.start(), case.start()
        while case.open_count():
            time.sleep(chance.uniform(0.05, 0.4))
            if victim.is_alive():
                victim.kill()
                victim.join()
                assert victim.exitcode == -signal.SIGKILL
                kills += 1
            victim = case.start()
        for one in (steady, victim):
            one.join(60)
            assert one.exitcode == STOPPED
        assert kills > 2
        case.assert_all_traced_once(count)
