"""How soon the product, with its own terms, gets over a connection that died unnoticed: within half a minute."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from agent import dialout
from coordinator import serve
from coordinator.lookups import transport
from coordinator.tracing.chain import Status
from tests.faults.cases import RECOVERY_S
from tests.faults.line import PRODUCT, line
from tests.faults.proxy import Direction, Kind, NetworkFault, Stage


@pytest.mark.parametrize(
    "options", [dialout._OPTIONS, serve._OPTIONS, transport._CHANNEL_OPTIONS], ids=["agent", "serve", "transport"]
)
def test_whoever_sends_pings_says_how_long_the_answer_may_take(options: tuple[tuple[str, int], ...]) -> None:
    """gRPC for its part would wait a minute, whatever `keepalive_timeout_ms` says."""
    said = dict(options)
    assert said["grpc.http2.ping_timeout_ms"] == said["grpc.keepalive_timeout_ms"] <= 10_000


def test_an_agent_dials_again_within_half_a_minute_however_long_it_could_not() -> None:
    said = dict(dialout._OPTIONS)
    finds_out_s = (said["grpc.keepalive_time_ms"] + said["grpc.http2.ping_timeout_ms"]) / 1000
    assert finds_out_s + dialout.Pauses().first < RECOVERY_S
    assert dialout.OPENING_S + dialout.Pauses().longest < RECOVERY_S


@pytest.mark.nightly
@pytest.mark.parametrize("way", ["port", "stream", "relay"])
@pytest.mark.parametrize("kind", [Kind.BLACK_HOLE, Kind.HALF_OPEN])
@pytest.mark.parametrize("direction", Direction)
async def test_a_call_is_traced_half_a_minute_after_its_connection_died_at_once_or_reopened(
    way: str, kind: Kind, direction: Direction, tmp_path: Path
) -> None:
    async with line(tmp_path, hops=1, calls=5, ways=[way], limits=PRODUCT) as made:
        [agent] = made.agents.values()
        network = made.inside if way == "relay" else agent.network
        network.strike(NetworkFault(kind, direction, Stage.AT_ONCE))
        network.mend()
        died = monotonic()
        (traced,) = made.submit()
        traceback = await traced
        while traceback.status is Status.NON_RESPONSIVE:
            traceback = await (await made.reopen(traceback))
        made.check(traceback)
        assert monotonic() - died < RECOVERY_S
