"""Two coordinators over one PostgreSQL, killed again and again, and the agents too: nothing is lost, nothing doubled.

Everything is as in earnest: processes of the real programs, mutual TLS, orders that persons signed, durable answers. A
campaign comes in waves. A wave is under way when somebody is killed; the rest of it is done by those who live, while
the dead are started again for the next wave.
"""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from benchmarks.line import Line, line
from protos.e164 import E164
from tests.coordinator import databases
from tests.coordinator.pair import LEASE, Coordinator, Pair, pair, until
from tests.stores.servers import Server

Pairs = Callable[[int], AbstractContextManager[Pair]]
Calls = Iterator[tuple[E164, datetime]]

SLACK_S = 5.0
"""What a machine that does much else may add to a lease."""

TRIES = 5
SEVERAL = 5
"""Tracebacks that are not all over between looking and killing."""


@pytest.fixture(scope="module")
def line_of_agents(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Line, Calls]]:
    """Agents of a line, on ports that stay theirs when they are started again, and the calls that nobody traced yet."""
    hops, records = request.param
    with line(tmp_path_factory.mktemp("line"), hops, records) as here:
        for one in here.providers:
            config = here.fleet.home(one.id) / "agent.toml"
            assert one.endpoint is not None
            config.write_text(config.read_text().replace("127.0.0.1:0", one.endpoint))
        yield here, iter(here.calls)


@pytest.fixture
def pairs(line_of_agents: tuple[Line, Calls], postgresql_server: Server, tmp_path: Path) -> Pairs:
    """Makes the two coordinators, over a database of their own."""

    @contextmanager
    def made(rate: int) -> Iterator[Pair]:
        here, calls = line_of_agents
        with databases.in_postgresql(postgresql_server) as engine, pair(here, calls, engine, tmp_path, rate) as two:
            yield two

    return made


def kill_in_waves(
    two: Pair, who: Sequence[Coordinator], waves: int, size: int, seed: int, *, agents_too: bool = False
) -> int:
    """In each wave the one of `who` dies that drives the most; how many tracebacks the dead were driving."""
    chance = random.Random(seed)
    orphans = 0
    for _ in range(waves):
        agent, left = chance.choice(two.line.path), chance.randrange(size // 2, size)
        two.submit(size)
        until(partial(is_under_way, two, who, left), "the wave is under way")
        victim = busiest(two, who)
        if agents_too:
            two.line.fleet.kill(agent)
        pid = victim.kill()
        orphans += two.driven_by(pid)
        took = until(partial(is_idle, two, pid), "taken over")
        assert took < LEASE.total_seconds() + SLACK_S
        victim.start()
        if agents_too:
            two.line.fleet.revive(agent)
        until(lambda: not two.open_count(), "the wave is closed")
        until(partial(is_ready, victim), "back at work")
    return orphans


def is_under_way(two: Pair, who: Sequence[Coordinator], left: int) -> bool:
    """Whether at most so many are open, and one of `who` drives several of them; or the whole wave is over already."""
    still_open = two.open_count()
    return not still_open or (still_open <= left and two.driven_by(busiest(two, who).pid) >= SEVERAL)


def busiest(two: Pair, who: Sequence[Coordinator]) -> Coordinator:
    return max(who, key=lambda one: two.driven_by(one.pid))


def is_idle(two: Pair, pid: int) -> bool:
    return two.driven_by(pid) == 0


def is_ready(one: Coordinator) -> bool:
    return one.ready


def put_one_to_sleep(two: Pair, size: int) -> Coordinator:
    """A wave in which one process is stopped for longer than its lease, and goes on when others have taken over.

    Where it had just ended all that it drove, there is another wave.
    """
    for _ in range(TRIES):
        two.submit(size)
        until(partial(is_under_way, two, two.coordinators, size), "the wave is under way")
        sleeper = busiest(two, two.coordinators)
        sleeper.send(signal.SIGSTOP)
        orphans = two.driven_by(sleeper.pid)
        until(partial(is_idle, two, sleeper.pid), "taken over")
        sleeper.send(signal.SIGCONT)
        until(lambda: not two.open_count(), "the wave is closed")
        if orphans:
            return sleeper
    raise AssertionError("nobody was put to sleep while it drove something")


def gave_up(one: Coordinator) -> bool:
    """Whether a coordinator was refused: others had taken over what it drove, or the server ended its transaction."""
    lines = one.log.read_text().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]  # gRPC's core has a tongue of its own
    return any(event.get("taken_over_by_others") or event["event"] == "database_failed" for event in events)


def end_well(two: Pair) -> None:
    for one in two.coordinators:
        one.send(signal.SIGTERM)
    for one in two.coordinators:
        assert one.wait() == 0
        assert "+1" not in one.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("line_of_agents", [(3, 700)], indirect=True)
def test_whoever_is_killed_or_sleeps_beyond_its_lease_no_call_is_lost_or_doubled(pairs: Pairs) -> None:
    with pairs(30) as two:
        assert any(kill_in_waves(two, two.coordinators, 1, 50, seed) for seed in range(TRIES))
        sleeper = put_one_to_sleep(two, 60)
        two.assert_every_call_was_traced_once()
        two.assert_searched_once()

        kill_in_waves(two, [one for one in two.coordinators if one is not sleeper], 1, 50, seed=2, agents_too=True)
        end_well(two)
        two.assert_every_call_was_traced_once()
        two.assert_searched_once(agents_died=True)
        assert gave_up(sleeper)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("line_of_agents", [(5, 9000)], indirect=True)
@pytest.mark.parametrize("agents_too", [False, True])
def test_thousands_of_calls_outlive_tens_of_kills(pairs: Pairs, agents_too: bool) -> None:
    with pairs(100) as two:
        assert kill_in_waves(two, two.coordinators, 30, 140, seed=3, agents_too=agents_too) > 0
        end_well(two)
        two.assert_every_call_was_traced_once()
        two.assert_searched_once(agents_died=agents_too)
