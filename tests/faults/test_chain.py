"""Whatever happens to the network of a chain of five agents, in whatever order: every call is traced, once, rightly.

Half of the agents listen, half dial out; each has a network of its own. What happens when, a seed decides: it is the
name of the test, and replays the same faults in the same order; when a byte meets one, the machine decides.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from coordinator.tracing.chain import Status, Traceback
from tests.faults.agents import found_out_soon
from tests.faults.cases import RECOVERY_S
from tests.faults.line import Line, line
from tests.faults.proxy import Direction, Kind, NetworkFault, Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = 12
MOST = 4
"""So many tracebacks are begun at a step, and so many attempts end before the next, at most."""


SEEDS = range(6)
MANY_SEEDS = range(1000, 1100)


async def five_hops(work: Path, seeds: int) -> AsyncIterator[Line]:
    with found_out_soon():
        async with line(work, hops=5, calls=seeds * STEPS * MOST + 1, ways=["port", "stream"]) as made:
            yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    async for made in five_hops(tmp_path_factory.mktemp("line"), len(SEEDS)):
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def long_chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    async for made in five_hops(tmp_path_factory.mktemp("line"), len(MANY_SEEDS)):
        yield made


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_call_is_traced_through_any_faults(chain: Line, seed: int) -> None:
    await storm(chain, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", MANY_SEEDS)
async def test_every_call_is_traced_through_any_faults_of_many(long_chain: Line, seed: int) -> None:
    await storm(long_chain, seed)


async def storm(chain: Line, seed: int) -> None:
    """One fault after the other, several at a time, while calls are traced; then a whole network."""
    chance = random.Random(seed)
    agents = list(chain.agents.values())
    traced: list[asyncio.Future[Traceback]] = []
    try:
        for _ in range(STEPS):
            traced += chain.submit(chance.randint(1, MOST))
            agent = chance.choice(agents)
            fault = NetworkFault(chance.choice(list(Kind)), chance.choice(list(Direction)), chance.choice(list(Stage)))
            print(f"seed {seed}: {agent.me} suffers {fault}")
            agent.network.strike(fault)
            if chance.random() < 0.5:
                agent.network.hang_up()
            await chain.attempts(chance.randint(1, MOST), traced)
            if chance.random() < 0.5:
                chance.choice(agents).network.mend()
    finally:
        for agent in agents:
            agent.network.mend()
    async with asyncio.timeout(RECOVERY_S):
        for traceback in await asyncio.gather(*traced):
            while traceback.status is Status.NON_RESPONSIVE:
                traceback = await (await chain.reopen(traceback))
            chain.check_chain(traceback)
    chain.check_searches()
    chain.check_attempts()
