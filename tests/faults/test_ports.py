"""Every network fault, both ways, at every stage of a question to an agent that listens.

Each case breaks the network, lets the coordinator meet it, mends the network, and asks for three things: every
attempt ended in time, the call is traced to its true origin within `RECOVERY_S`, and no question was searched twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.cases import CASES, Case, undergo, undergo_every_envelope_twice
from tests.faults.line import Line, line

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def birch(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    async with line(tmp_path_factory.mktemp("line"), hops=1, calls=2 * len(CASES)) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_costs_time_and_nothing_else(birch: Line, case: Case) -> None:
    await undergo(birch, case)


async def test_an_envelope_that_comes_twice_is_searched_once_and_answered_alike(birch: Line) -> None:
    await undergo_every_envelope_twice(birch)
