"""A traceback over ten providers, each an agent process behind mutual TLS, against one empty call on the same machine.

What is timed is the real thing: the coordinator's driver with its durable store on disk, ten questions to ten agents,
each looked up among ten thousand records. The peer is a gRPC health check over mutual TLS from the same event loop to
the same agents: after each chain, each agent gets one. So both find the agents as they are found in earnest, idle since
their last question; a check that is repeated in a tight loop finds one process warm in the processor's caches, takes
less, and is printed beside it.
"""

from __future__ import annotations

import asyncio
import csv
import itertools
import random
import statistics
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import tomlkit
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console

from agent.index.root_key import create_root_key_file
from benchmarks.measure import Figure, ratio_of_medians, timed
from coordinator.agents import GrpcAgents
from coordinator.chain import Call, Status, Traceback
from coordinator.driver import Driver
from coordinator.lab_ca import LabAuthority
from coordinator.ports import Provider
from coordinator.registry import RegistrySnapshot
from coordinator.runtime import SystemClock
from coordinator.store.engine import migrate, open_engine
from coordinator.store.sql_store import SqlStore
from deploy.lab.fleet import Fleet
from protos.e164 import E164, parse_e164
from protos.identity import parse_provider_id
from protos.tls import TlsFiles, channel_credentials, provider_channel_options, read_tls_files

HOPS = 10
RECORDS = 10_000
RUNS = 5
CHAINS_A_RUN = 40
PATH = [f"hop{number:02d}" for number in range(1, HOPS + 1)]  # from the originating provider to the terminating one
START = datetime(2026, 11, 10, 12, tzinfo=UTC)


class _Silent:
    """A watcher that shows nothing."""

    def changed(self, traceback: Traceback) -> None:
        del traceback

    def lost(self, traceback: Traceback) -> None:
        raise AssertionError(f"another process took over {traceback.id}")


def chain10_vs_empty_call(console: Console) -> Figure:
    """p50 of a ten-hop traceback over p50 of an empty call."""
    with tempfile.TemporaryDirectory(prefix="hopback-bench-") as name:
        work = Path(name)
        console.print(f"chain10_vs_empty_call: indexing {HOPS} providers of {RECORDS} records …")
        calls = _write_records(work)
        authority = LabAuthority.create(work / "authority")
        configs = {provider: _write_agent(work, authority, position) for position, provider in enumerate(PATH)}
        files = authority.issue_coordinator("lab", work / "coordinator")
        fleet = Fleet(configs)
        fleet.index("--complete-until", datetime.now(UTC).isoformat())
        with fleet:
            tls = read_tls_files(files.certificate, files.key, files.roots, datetime.now(UTC))
            return asyncio.run(_measure(work, tls, fleet.addresses, calls))


def _write_records(work: Path) -> list[tuple[E164, datetime]]:
    random_ = random.Random(10)
    rows = []
    for number in range(RECORDS):
        called = f"+1202555{number % 100:04d}" if number % 7 == 0 else f"+1{random_.randrange(2, 10)}02555{number:04d}"
        rows.append((called, START + timedelta(seconds=20 * number), f"+1305555{random_.randrange(10_000):04d}"))
    for position, provider in enumerate(PATH):
        (work / provider).mkdir()
        with (work / provider / "cdr.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["start", "called", "calling", "in", "out", "id"])
            for number, (called, at, calling) in enumerate(rows):
                setup = (at + timedelta(milliseconds=3 * position)).isoformat(timespec="milliseconds")
                writer.writerow([setup, called, calling, "I1", "O1", f"{provider}-{number}"])
    return [(parse_e164(called), at) for called, at, _ in random_.sample(rows, RUNS * CHAINS_A_RUN)]


def _write_agent(work: Path, authority: LabAuthority, position: int) -> Path:
    provider = PATH[position]
    home = work / provider
    issued = authority.issue_provider(provider, home)
    create_root_key_file(home / "root.key")
    upstream = f"provider:{PATH[position - 1]}" if position else "customer:7011"
    downstream = f"provider:{PATH[position + 1]}" if position + 1 < HOPS else "subscribers"
    settings = {
        "provider": {"id": provider},
        "listen": {
            "address": "127.0.0.1:0",
            "certificate": issued.certificate.name,
            "key": issued.key.name,
            "roots": issued.roots.name,
            "coordinators": ["hopback://coordinator/lab"],
        },
        "trial": {"unsigned_lookups": True},
        "index": {"directory": "index", "root_key_file": "root.key"},
        "sources": [
            {
                "name": "cdr",
                "path": "cdr.csv",
                "format": "delimited",
                "columns": {
                    "called_in": {"column": "called"},
                    "calling": {"column": "calling"},
                    "seizure": {"column": "start", "format": "iso8601"},
                    "ingress_trunk": {"column": "in"},
                    "egress_trunk": {"column": "out"},
                    "call_id": {"column": "id"},
                },
            }
        ],
        "trunks": [
            {"name": "I1", "direction": "ingress", "party": upstream},
            {"name": "O1", "direction": "egress", "party": downstream},
        ],
    }
    config = home / "agent.toml"
    config.write_text(tomlkit.dumps(settings))
    return config


async def _measure(
    work: Path, tls: TlsFiles, addresses: Mapping[str, str], calls: Sequence[tuple[E164, datetime]]
) -> Figure:
    engine = open_engine(f"sqlite:///{work / 'coordinator.db'}")
    migrate(engine)
    store = SqlStore(engine)
    providers = [Provider(parse_provider_id(name), name, address) for name, address in addresses.items()]
    terminating = PATH[-1]
    channels = [
        grpc.aio.secure_channel(
            address, channel_credentials(tls), options=provider_channel_options(parse_provider_id(name))
        )
        for name, address in addresses.items()
    ]
    checks = itertools.cycle(health_pb2_grpc.HealthStub(channel).Check for channel in channels)
    one_check = health_pb2_grpc.HealthStub(channels[0]).Check
    waiting = iter(calls)
    async with GrpcAgents(tls) as agents:
        clock = SystemClock()
        driver = Driver(
            store=store, registry=RegistrySnapshot(providers), agents=agents, clock=clock, watcher=_Silent()
        )

        async def trace() -> None:
            called, at = next(waiting)
            asked = Traceback(uuid.uuid4(), Call(called, at, parse_provider_id(terminating)))
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
