"""One call, traced alone: `python -m benchmarks.one_call URL CERT KEY ROOTS CALLED AT TERMINATING ID=ENDPOINT...`.

What a command does that traces one call and ends, with the coordinator's own parts and nothing else.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from coordinator.lookups.agents import GrpcAgents
from coordinator.present.live import Silent
from coordinator.registry import RegistrySnapshot
from coordinator.running.driver import Driver
from coordinator.runtime import SystemClock
from coordinator.store.engine import open_engine, require_current
from coordinator.store.sql_store import opened
from coordinator.tracing.chain import Call, Status, Traceback
from coordinator.tracing.ports import Provider
from protos.e164 import parse_e164
from protos.identity import parse_provider_id
from protos.tls import read_tls_files


async def trace(url: str, files: list[str], call: Call, providers: list[Provider]) -> None:
    """Trace it, and fail unless its origin is found."""
    engine, clock = open_engine(url), SystemClock()
    require_current(engine)
    certificate, key, roots = map(Path, files)
    tls = read_tls_files(certificate, key, roots, datetime.now(UTC))
    with opened(engine) as store:
        async with GrpcAgents(tls) as agents:
            registry = RegistrySnapshot(providers)
            driver = Driver(store=store, registry=registry, agents=agents, clock=clock, watcher=Silent())
            (kept,) = store.submit([Traceback(uuid.uuid4(), call)], clock.now())
            traced = await driver.drive(kept)
            driver.close()
    if traced.status is not Status.ORIGIN_FOUND:
        sys.exit(f"the chain ended {traced.status.value}")


if __name__ == "__main__":
    url, *rest = sys.argv[1:]
    files, (called, at, terminating), agents = rest[:3], rest[3:6], rest[6:]
    providers = [
        Provider(parse_provider_id(name), name, endpoint)
        for name, _, endpoint in (one.partition("=") for one in agents)
    ]
    call = Call(parse_e164(called), datetime.fromisoformat(at), parse_provider_id(terminating))
    asyncio.run(trace(url, files, call, providers))
