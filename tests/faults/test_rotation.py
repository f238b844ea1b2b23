"""Keys and certificates of everybody change, for TLS and for evidence, while calls are traced over ten agents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from coordinator.chain import Traceback
from tests.faults.line import PRODUCT, Line, line

ROUNDS = 2
AT_A_TIME = 3


async def load(chain: Line, done: asyncio.Event) -> Sequence[Traceback]:
    """Trace one call after the other, so many at a time."""

    async def one_by_one() -> list[Traceback]:
        traced = []
        while not done.is_set():
            (traceback,) = chain.submit()
            traced.append(await traceback)
        return traced

    return [one for some in await asyncio.gather(*(one_by_one() for _ in range(AT_A_TIME))) for one in some]


async def test_no_attempt_fails_while_everybody_renews(tmp_path: Path) -> None:
    async with line(tmp_path, hops=10, calls=1000, ways=["port", "stream"], limits=PRODUCT) as chain:
        done = asyncio.Event()
        loading = asyncio.create_task(load(chain, done))
        serials = {agent.tls.current.certificate for agent in chain.agents.values()}
        for _ in range(ROUNDS):
            for name in chain.path:
                over = chain.wires.over
                await chain.renew(name)
                while chain.wires.over < over + AT_A_TIME:
                    chain.wires.ended.clear()
                    await chain.wires.ended.wait()
            await chain.renew_coordinator()
        done.set()
        for traceback in await loading:
            chain.check_chain(traceback)
        chain.check_searches()
        chain.check_attempts()
        assert chain.wires.failures == []
        assert serials.isdisjoint(agent.tls.current.certificate for agent in chain.agents.values())
