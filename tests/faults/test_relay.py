"""Every network fault, both ways, at every stage of a question to an agent that has dialled another process than asks.

`run` asks, `serve` holds the stream, and either of the two ways may fail: the one between them, where what goes `there`
is the question, and the agent's own, where it is the answer. Asked for is what is asked for of ports (`test_ports`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.agents import found_out_soon
from tests.faults.cases import CASES, Case, undergo, undergo_every_envelope_twice
from tests.faults.line import Line, line

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def birch(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    with found_out_soon():
        async with line(tmp_path_factory.mktemp("line"), hops=1, calls=3 * len(CASES), ways=["relay"]) as made:
            yield made


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_between_the_processes_costs_time_and_nothing_else(birch: Line, case: Case) -> None:
    await undergo(birch, case, birch.inside)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_of_the_agents_network_costs_time_and_nothing_else(birch: Line, case: Case) -> None:
    await undergo(birch, case)


async def test_an_envelope_that_comes_twice_is_searched_once_and_answered_alike(birch: Line) -> None:
    await undergo_every_envelope_twice(birch)
