"""Every network fault, both ways, at every stage of a stream by which an agent that opens no port is asked.

The caller is the agent here: what comes `back` is the question, what goes `there` its answer. Asked for is what is
asked for of ports (`test_ports`); beyond it, that the agent finds out by itself that its stream is dead, and dials
again.
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
        async with line(tmp_path_factory.mktemp("line"), hops=1, calls=2 * len(CASES), ways=["stream"]) as made:
            yield made


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_costs_time_and_nothing_else(birch: Line, case: Case) -> None:
    await undergo(birch, case)


async def test_an_envelope_that_comes_twice_is_searched_once_and_answered_alike(birch: Line) -> None:
    await undergo_every_envelope_twice(birch)
