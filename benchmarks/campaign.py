"""A campaign of ten thousand calls over five providers, traced together, against the same calls traced one by one.

What is timed is the real thing, from handing the calls in until the last one is closed: the coordinator's scheduler
and its durable store (SQLite, and PostgreSQL with its default durability), five agent processes behind mutual TLS, each
with an index of all the calls; every question is signed, under an order of its own that two persons signed, and every
answer is signed and in the agent's audit log before it leaves; everything on two processor cores. The peer is the same
coordinator that is given the calls one at a time, as unsigned trials: by a command for each, as a person traces a call
(a process that starts, opens its database, connects to every agent, traces, and ends), and, printed beside it, by a
coordinator that goes on running.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console

from benchmarks.line import Line, line
from benchmarks.measure import Figure
from benchmarks.peers import PostgreSql
from coordinator.lookups.agents import GrpcAgents
from coordinator.lookups.asking import SignedAgents
from coordinator.lookups.transport import GrpcTransport
from coordinator.present.live import Silent
from coordinator.registry import RegistrySnapshot
from coordinator.running.driver import Driver, Rested
from coordinator.running.leases import Keeper, owner_name
from coordinator.running.scheduler import Everything, Scheduler
from coordinator.runtime import SystemClock, settle_memory
from coordinator.store.engine import migrate, open_engine
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import SqlStore, opened
from coordinator.tracing.chain import Call, Status, Traceback
from deploy.lab.people import SUBMITTER
from protos.certificates import PinnedRoots
from protos.e164 import E164
from protos.orders import Order, Purpose
from protos.signing import read_signer

HOPS: Final = 5
CALLS: Final = 10_000
RUNS: Final = 3
ONE_BY_ONE: Final = 100
BY_COMMAND: Final = 8
CORES: Final = 2

_DURABLE: Final = "\nlisten_addresses = ''\nshared_buffers = 256MB\n"
"""PostgreSQL flushes every commit unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Tracebacks a second: whole campaigns on each database, and one call after the other (on SQLite).

    `coordinator_us` and `agents_us` are microseconds of processor time for each hop of a campaign.
    """

    sqlite: tuple[float, ...]
    postgresql: tuple[float, ...]
    by_command: float
    one_by_one: float
    coordinator_us: float
    agents_us: float


def campaign_tracebacks_per_s(console: Console) -> Figure:
    """Tracebacks a second in a campaign; of the two databases the slower one counts."""
    measured = _measured(console)
    both = {"SQLite": measured.sqlite, "PostgreSQL": measured.postgresql}
    slower = min(both, key=lambda name: statistics.median(both[name]))
    said = ", ".join(f"{name} {statistics.median(runs):.0f}/s" for name, runs in both.items())
    peer = (
        f"{said}; processor time a hop: coordinator {measured.coordinator_us:.0f} us, agent {measured.agents_us:.0f} us"
    )
    return Figure(statistics.median(both[slower]), "tracebacks/s", peer, both[slower])


def campaign_vs_one_by_one(console: Console) -> Figure:
    """How many times as many tracebacks a second as one by one, on SQLite."""
    measured = _measured(console)
    runs = tuple(run / measured.by_command for run in measured.sqlite)
    running = statistics.median(measured.sqlite) / measured.one_by_one
    peer = (
        f"one command a call ({measured.by_command:.2f}/s); "
        f"one after the other in a running coordinator {measured.one_by_one:.0f}/s ({running:.0f} times)"
    )
    return Figure(statistics.median(runs), "times", peer, runs)


@cache
def _measured(console: Console) -> Measured:
    with _on_two_cores(), tempfile.TemporaryDirectory(prefix="hopback-bench-") as name:
        work = Path(name)
        console.print(f"campaign: indexing {HOPS} providers of {CALLS} records …")
        with line(work, HOPS, CALLS) as here:
            cpu: list[tuple[float, float]] = []
            sqlite = [_campaign(here, f"sqlite:///{work / f'{run}.db'}", cpu) for run in range(RUNS)]
            calls = random.Random(5).sample(here.calls, ONE_BY_ONE + BY_COMMAND)
            one_by_one = asyncio.run(_one_by_one(here, f"sqlite:///{work / 'one.db'}", calls[:ONE_BY_ONE]))
            by_command = _by_command(here, f"sqlite:///{work / 'command.db'}", calls[ONE_BY_ONE:])
            server = PostgreSql(_DURABLE)
            try:
                postgresql = [_campaign(here, _database(server, f"run{run}"), cpu) for run in range(RUNS)]
            finally:
                server.close()
        ours, agents = (statistics.median(some) for some in zip(*cpu, strict=True))
        return Measured(tuple(sqlite), tuple(postgresql), by_command, one_by_one, ours, agents)


@contextmanager
def _on_two_cores() -> Iterator[None]:
    """This process and those that it starts use two cores, however many there are."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:CORES])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _database(server: PostgreSql, name: str) -> str:
    server.create_database(name)
    return f"postgresql+psycopg://bench@/{name}?host={server.directory}"


def _tracebacks(here: Line, calls: Sequence[tuple[E164, datetime]]) -> list[Traceback]:
    """Without orders: for what is traced one by one, as a trial."""
    return [Traceback(uuid.uuid4(), Call(called, at, here.terminating)) for called, at in calls]


def _ordered(here: Line, book: OrderBook) -> list[Traceback]:
    """All calls, each under an order of its own; one person submitted them together, another one approved them."""
    now = datetime.now(UTC).replace(microsecond=0)
    orders = [
        Order(
            order_id=uuid.uuid4(),
            coordinator="lab",
            purpose=Purpose.UNLAWFUL_ROBOCALLS,
            legal_basis="47 U.S.C. 222(d)(2)",
            campaign="benchmark",
            evidence_sha256=os.urandom(32),
            called=called,
            at=at,
            window=timedelta(seconds=60),
            calling=None,
            terminating=here.terminating,
            hop_limit=10,
            issued=now,
            expires=now + timedelta(hours=72),
            submitter=SUBMITTER,
            certification="I certify that this call is suspected to be unlawful.",
            salt=os.urandom(16),
        )
        for called, at in here.calls
    ]
    return [Traceback(uuid.uuid4(), call) for call in here.people.keep(book, orders, now)]


def _campaign(here: Line, url: str, cpu: list[tuple[float, float]]) -> float:
    """Tracebacks a second; appends the microseconds of processor time that a hop took here and at an agent."""
    engine = open_engine(url)
    migrate(engine)
    book = OrderBook(engine)
    tracebacks = _ordered(here, book)
    with opened(engine) as store:
        settle_memory()
        started, used, agents = perf_counter(), process_time(), here.cpu_s
        asyncio.run(_together(here, store, book, tracebacks))
        took = perf_counter() - started
        hops = CALLS * HOPS / 1e6
        cpu.append(((process_time() - used) / hops, (here.cpu_s - agents) / hops))
        if store.counts() != {Status.ORIGIN_FOUND: CALLS}:
            raise AssertionError(f"not every call was traced to its origin: {store.counts()}")
    return CALLS / took


async def _together(here: Line, store: SqlStore, book: OrderBook, tracebacks: Sequence[Traceback]) -> None:
    clock, closed = SystemClock(), 0

    def rested(one: Rested) -> None:
        nonlocal closed
        closed += not one.lost
        if closed == CALLS:
            scheduler.stop()

    store.submit(tracebacks, clock.now())
    certificate = x509.load_pem_x509_certificate(here.evidence.certificate.read_bytes())
    async with GrpcTransport(here.tls) as transport:
        agents = SignedAgents(
            transport,
            signer=read_signer(here.evidence.key),
            certificate=certificate.public_bytes(Encoding.DER),
            roots=PinnedRoots.from_pem(here.evidence.roots.read_bytes()),
            orders=book,
            certificates=book,
            clock=clock.now,
        )
        scheduler = Scheduler(
            driver=Driver(
                store=store, registry=RegistrySnapshot(here.providers), agents=agents, clock=clock, watcher=Silent()
            ),
            source=Everything(store),
            keeper=Keeper(store, clock, owner_name()),
            clock=clock,
            rested=rested,
        )
        await scheduler.run()


async def _one_by_one(here: Line, url: str, calls: Sequence[tuple[E164, datetime]]) -> float:
    engine = open_engine(url)
    migrate(engine)
    with opened(engine) as store:
        async with GrpcAgents(here.tls) as agents:
            clock = SystemClock()
            driver = Driver(
                store=store, registry=RegistrySnapshot(here.providers), agents=agents, clock=clock, watcher=Silent()
            )
            took = 0.0
            for traceback in _tracebacks(here, calls):
                started = perf_counter()
                (kept,) = store.submit([traceback], clock.now())
                await driver.drive(kept)
                took += perf_counter() - started
            driver.close()
    return len(calls) / took


def _by_command(here: Line, url: str, calls: Sequence[tuple[E164, datetime]]) -> float:
    """Tracebacks a second when each is traced by a process of its own."""
    migrate(open_engine(url))
    agents = [f"{one.id}={one.endpoint}" for one in here.providers]
    files = [str(path) for path in (here.files.certificate, here.files.key, here.files.roots)]
    started = perf_counter()
    for called, at in calls:
        command = [sys.executable, "-m", "benchmarks.one_call", url, *files, called, at.isoformat(), here.terminating]
        subprocess.run([*command, *agents], check=True)
    return len(calls) / (perf_counter() - started)
