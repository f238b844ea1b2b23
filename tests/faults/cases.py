"""The cases of the matrix, and what it is to undergo one."""

from __future__ import annotations

import asyncio
import enum
import itertools
from dataclasses import dataclass
from typing import Final

from coordinator.tracing.chain import Traceback
from protos.envelopes import decode_responses
from tests.faults.agents import Agent
from tests.faults.line import Line, first
from tests.faults.proxy import Direction, Kind, NetworkFault, Proxy, Stage

RECOVERY_S: Final = 30.0
"""So long after the network is whole again, at most, a call is traced to its end."""


class Phase(enum.Enum):
    """How far a question is when the fault meets it."""

    CONNECT = "connecting"
    HANDSHAKE = "TLS handshake"
    SETTINGS = "HTTP/2 settings"
    REQUEST = "request"
    WORKING = "agent works"
    RESPONSE = "response"


_STAGES: Final = {
    Phase.CONNECT: Stage.CONNECT,
    Phase.HANDSHAKE: Stage.HANDSHAKE,
    Phase.SETTINGS: Stage.SETTINGS,
    Phase.REQUEST: Stage.STANDING,
    Phase.WORKING: Stage.AT_ONCE,
    Phase.RESPONSE: Stage.STANDING,
}
_AT_CONNECT: Final = (Kind.DELAY, Kind.RESET, Kind.BLACK_HOLE, Kind.CUT)
"""What there is to go wrong before a byte was said."""
_LETS_PASS: Final = (Kind.DELAY, Kind.SLOW_LORIS, Kind.DUPLICATE, Kind.DROP)
"""What an answer may get through."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one phase, as the tests name it."""

    kind: Kind
    phase: Phase
    direction: Direction

    def __str__(self) -> str:
        return f"{self.phase.value}, {self.direction.value}: {self.kind.value}"

    @property
    def fault(self) -> NetworkFault:
        """What the proxy is told; once the question is there, nothing more goes there that could meet it."""
        stage = _STAGES[self.phase]
        if self.phase is Phase.RESPONSE and self.direction is Direction.THERE:
            stage = Stage.AT_ONCE
        return NetworkFault(self.kind, self.direction, stage)

    @property
    def meets_bytes(self) -> bool:
        """Whether something is sure to be on its way."""
        late = self.phase in (Phase.WORKING, Phase.RESPONSE) and self.direction is Direction.THERE
        return not (late and self.kind in _LETS_PASS)


CASES: Final = [
    Case(kind, phase, direction)
    for phase, direction, kind in itertools.product(Phase, Direction, Kind)
    if phase is not Phase.CONNECT or (direction is Direction.THERE and kind in _AT_CONNECT)
]


async def undergo(line: Line, case: Case, way: Proxy | None = None) -> None:
    """Trace a call while the network of the last agent, or this one, fails, and once it is whole again."""
    agent = line.agents[line.path[-1]]
    way, records, loop = way or agent.network, agent.records, asyncio.get_running_loop()
    began, broken = asyncio.Event(), asyncio.Event()
    line.wires.ended.clear()
    way.struck.clear()

    def strike() -> None:
        records.ends = lambda: None
        line.wires.ended.clear()  # an attempt that ended before, on a slow machine, is none that the fault met
        way.strike(case.fault)
        broken.set()

    try:
        if case.phase is Phase.WORKING:
            records.may_go_on.clear()
            records.began = lambda: loop.call_soon_threadsafe(began.set)
        elif case.phase is Phase.RESPONSE:
            records.ends = lambda: loop.call_soon_threadsafe(strike)
        else:
            way.strike(case.fault)
            if case.phase is not Phase.REQUEST:
                way.hang_up()

        (traced,) = line.submit()
        if case.phase is Phase.WORKING:
            await began.wait()
            strike()
            if case.kind in _LETS_PASS:
                records.may_go_on.set()
        elif case.phase is Phase.RESPONSE:
            await asyncio.wait_for(broken.wait(), RECOVERY_S)
        await _met(line, way, case, traced)
        way.mend()
        if not records.may_go_on.is_set():
            await _asked_again(agent, traced)
            records.may_go_on.set()
        line.check(await asyncio.wait_for(traced, RECOVERY_S))
        line.check_attempts()
    finally:
        way.mend()
        records.began = records.ends = lambda: None
        records.may_go_on.set()


async def undergo_every_envelope_twice(line: Line) -> None:
    """Trace a call while each envelope is sent twice: both come while the records are searched, one search answers."""
    agent = line.agents[line.path[-1]]
    agent.arrivals = 0
    agent.records.may_go_on.clear()
    line.wires.twice = True
    try:
        (traced,) = line.submit()
        while agent.arrivals < 2 and not traced.done():
            agent.arrived.clear()
            await first(agent.arrived, traced)
        agent.records.may_go_on.set()
        line.check(await asyncio.wait_for(traced, RECOVERY_S))
    finally:
        line.wires.twice = False
        agent.records.may_go_on.set()
    (pair,) = line.wires.pairs
    line.wires.pairs.clear()
    one, other = (decode_responses(received, 1).parts for received in pair)
    assert one == other


async def _met(line: Line, way: Proxy, case: Case, traced: asyncio.Future[Traceback]) -> None:
    """Return when the fault has done what it can: an attempt ended, or the call is traced all the same."""
    if case.meets_bytes:
        await asyncio.wait_for(way.struck.wait(), RECOVERY_S)
        line.wires.ended.clear()
    await first(line.wires.ended, traced)


async def _asked_again(agent: Agent, traced: asyncio.Future[Traceback]) -> None:
    """Return when the same question came a second time, while the first one is still looked up."""
    agent.arrived.clear()
    await first(agent.arrived, traced)
