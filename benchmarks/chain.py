"""A traceback over ten providers, each an agent process behind mutual TLS, against one empty call on the same machine.

What is timed is the real thing: the coordinator's driver with its durable store on disk, ten questions to ten agents,
each looked up among ten thousand records. The peer is a gRPC health check over mutual TLS from the same event loop to
the same agents: after each chain, each agent gets one. So both find the agents as they are found in earnest, idle since
their last question; a check that is repeated in a tight loop finds one process warm in the processor's caches, takes
less, and is printed beside it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import tempfile
import uuid
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console

from benchmarks.line import Line, line
from benchmarks.measure import Figure, ratio_of_medians, timed
from coordinator.lookups.agents import GrpcAgents
from coordinator.registry import RegistrySnapshot
from coordinator.running.driver import Driver
from coordinator.runtime import SystemClock
from coordinator.store.engine import migrate, open_engine
from coordinator.store.sql_store import SqlStore
from coordinator.tracing.chain import Call, Status, Traceback
from protos.tls import channel_credentials, provider_channel_options

HOPS = 10
RECORDS = 10_000
RUNS = 5
CHAINS_A_RUN = 40


class _Silent:
    """A watcher that shows nothing."""

    def changed(self, traceback: Traceback) -> None:
        del traceback

    def lost(self, traceback: Traceback) -> None:
        raise AssertionError(f"another process took over {traceback.id}")


def chain10_vs_empty_call(console: Console) -> Figure:
    """p50 of a ten-hop traceback over p50 of an empty call."""
    with tempfile.TemporaryDirectory(prefix="hopback-bench-") as name:
        console.print(f"chain10_vs_empty_call: indexing {HOPS} providers of {RECORDS} records …")
        with line(Path(name), HOPS, RECORDS) as here:
            return asyncio.run(_measure(Path(name), here))


async def _measure(work: Path, here: Line) -> Figure:
    engine = open_engine(f"sqlite:///{work / 'coordinator.db'}")
    migrate(engine)
    store = SqlStore(engine)
    credentials = channel_credentials(here.tls)
    channels = [
        grpc.aio.secure_channel(one.endpoint or "", credentials, options=provider_channel_options(one.id))
        for one in here.providers
    ]
    checks = itertools.cycle(health_pb2_grpc.HealthStub(channel).Check for channel in channels)
    one_check = health_pb2_grpc.HealthStub(channels[0]).Check
    waiting = iter(random.Random(10).sample(here.calls, RUNS * CHAINS_A_RUN))
    async with GrpcAgents(here.tls) as agents:
        clock = SystemClock()
        registry = RegistrySnapshot(here.providers)
        driver = Driver(store=store, registry=registry, agents=agents, clock=clock, watcher=_Silent())

        async def trace() -> None:
            called, at = next(waiting)
            asked = Traceback(uuid.uuid4(), Call(called, at, here.terminating))
            (kept,) = store.submit([asked], clock.now())
            traced = await driver.drive(kept)
            if traced.status is not Status.ORIGIN_FOUND or len(traced.hops) != HOPS:
                raise AssertionError(f"the chain ended {traced.status.value} after {len(traced.hops)} hops")

        async def empty() -> None:
            await next(checks)(health_pb2.HealthCheckRequest())

        async def empty_in_a_loop() -> None:
            await one_check(health_pb2.HealthCheckRequest())

        chains: list[list[float]] = [[] for _ in range(RUNS)]
        empties: list[list[float]] = [[] for _ in range(RUNS)]
        await timed(empty, 5 * HOPS)
        for run in range(RUNS):
            for _ in range(CHAINS_A_RUN):
                chains[run] += await timed(trace, 1)
                empties[run] += await timed(empty, HOPS)
        warm = statistics.median(await timed(empty_in_a_loop, 1000))
    for channel in channels:
        await channel.close(None)
    store.close()
    chain = statistics.median(time for run in chains for time in run)
    peer = f"empty gRPC call over mutual TLS (in a tight loop: p50 {warm * 1000:.3f} ms, {chain / warm:.1f} times)"
    return ratio_of_medians(chains, empties, peer, "times")
