"""A line of real agents and a real coordinator in one process, with a faulty network between them.

Each agent is what `hopback-agent run` puts together: configuration, index, trunks, gate, audit log on disk, server over
mutual TLS or a stream to the coordinator; only the records count how often they are searched, and can be held up. The
coordinator is what `hopback-coordinator run` puts together: SQLite store, orders, signed questions, driver, scheduler.
Its patience is shorter, so that a test need not wait; what that is in earnest, `PRODUCT` has.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.answering import Answering, open_answering
from agent.ask import ASK
from agent.config import AgentConfig, load
from agent.dialout import DialOut, Pauses
from agent.index.coverage import Coverage
from agent.index.keys import Keys
from agent.index.reader import Index, Query
from agent.ingest import ingest
from agent.inspection import read_keys, read_tls
from agent.legs import Leg
from agent.notes import Notes
from agent.server import AgentServer, Listening
from agent.service import Desk, Terms
from agent.stores.threads import LookupThreads
from benchmarks.line import WrittenLine, written_line
from coordinator.asking import SignedAgents
from coordinator.batching import LaneTerms
from coordinator.breaker import BreakerTerms
from coordinator.chain import Status, Traceback
from coordinator.dialout import SERVICE, DialedAgents
from coordinator.driver import Driver, Limits, Rested
from coordinator.leases import Keeper, owner_name
from coordinator.live import Silent
from coordinator.orders import OrderSet, call_of, sign
from coordinator.patience import Patience
from coordinator.ports import DIAL_OUT, AgentError, Provider
from coordinator.registry import RegistrySnapshot
from coordinator.runtime import SystemClock
from coordinator.scheduler import Everything, Scheduler, SchedulerTerms
from coordinator.serve import CoordinatorServer
from coordinator.store.engine import migrate, open_engine
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import SqlStore, opened
from coordinator.transport import GrpcTransport, Switchboard, Transport
from deploy.lab.people import APPROVER, SUBMITTER
from hopback.v1 import audit_pb2 as audit
from protos.certificates import PinnedRoots
from protos.codec import digest
from protos.e164 import E164
from protos.identity import ProviderId, coordinator_uri
from protos.live import Live
from protos.orders import Order, Purpose, encode_order
from protos.signing import Domain, read_signer
from protos.tls import TlsFiles, read_tls_files
from tests.faults.proxy import Proxy, proxy

LAB: Final = coordinator_uri("lab")
ATTEMPT: Final = timedelta(milliseconds=300)
SLACK_S: Final = 3.0
"""By how much an attempt may pass its deadline on a machine that is busy with other things."""
IN_A_HURRY: Final = Limits(
    attempt_timeout=ATTEMPT,
    patience=Patience(attempts=100, backoff=timedelta(milliseconds=20), backoff_cap=timedelta(milliseconds=100)),
    lane=LaneTerms(
        pause=timedelta(milliseconds=20),
        slow=timedelta(seconds=1),
        breaker=BreakerTerms(pause=timedelta(milliseconds=20), longest=timedelta(milliseconds=100)),
    ),
)
"""Gives up an attempt soon, and the provider never while a test lasts."""
PRODUCT: Final = Limits()


def _now() -> datetime:
    return datetime.now(UTC)


class HeldRecords:
    """An index that counts its searches by called number, and can be held up in the middle of one."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.searches: Counter[E164] = Counter()
        self.began: Callable[[], object] = lambda: None
        self.ends: Callable[[], object] = lambda: None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> Sequence[Leg]:
        """As the index."""
        [found] = self.find_many([Query(called, calling, earliest, latest)])
        return found

    def find_many(self, queries: Sequence[Query]) -> Sequence[Sequence[Leg]]:
        """As the index."""
        self.searches.update(query.called for query in queries)
        self.began()
        if not self.may_go_on.wait(60):
            raise AssertionError("nobody let the search go on")
        found = self.index.find_many(queries)
        self.ends()
        return found

    def coverage(self) -> Coverage:
        """As the index."""
        return self.index.coverage()


@dataclass
class Agent:
    """One provider's agent. `arrivals` counts questions that reached it; `way` is where the network can fail."""

    me: ProviderId
    config: AgentConfig
    records: HeldRecords
    answering: Answering
    tls: Live[TlsFiles]
    way: Proxy
    arrivals: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def counted(self, handlers: dict[str, Callable[..., object]]) -> None:
        """Count what arrives."""
        ask = self.answering.handlers[ASK]

        async def handle(request: bytes, askers: tuple[str, ...]) -> bytes:
            self.arrivals += 1
            self.arrived.set()
            return await ask(request, askers)

        handlers[ASK] = handle

    def logged(self, kind: int) -> Counter[bytes]:
        """How many entries of this kind the audit log has, by question id."""
        assert self.answering.evidence is not None
        book = self.answering.evidence.book
        return Counter(one.question_id for one in book.recent() if one.kind == kind)


class Observed:
    """A transport that tells how each attempt ended, and after what time."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.ended = asyncio.Event()
        self.failures: list[AgentError] = []
        self.longest_over_s = 0.0
        self.attempts = 0
        self.twice = False
        """Send every envelope twice at the same time, take the answer to the first, and keep both in `pairs`."""
        self.pairs: list[tuple[bytes, bytes]] = []

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """As the transport."""
        self.attempts += 1
        started = monotonic()
        try:
            if not self.twice:
                return await self.transport.call(provider, method, request, timeout)
            both = [asyncio.create_task(self.transport.call(provider, method, request, timeout)) for _ in range(2)]
            first, second = await asyncio.gather(*both)
            self.pairs.append((first, second))
            return first
        except AgentError as error:
            self.failures.append(error)
            raise
        finally:
            over = monotonic() - started - timeout.total_seconds()
            self.longest_over_s = max(self.longest_over_s, over)
            self.ended.set()


class Line:
    """Agents from the originating provider to the terminating one, and the coordinator that traces through them."""

    def __init__(self, written: WrittenLine, store: SqlStore, book: OrderBook) -> None:
        self.written = written
        self.store = store
        self._book = book
        self._calls = iter(written.calls)
        self._resting: dict[uuid.UUID, asyncio.Future[Traceback]] = {}
        self.agents: dict[ProviderId, Agent] = {}
        self.wires: Observed
        self.channels: GrpcTransport
        self.signed: SignedAgents
        self.tls: Live[TlsFiles]
        self.dialed: DialedAgents | None = None
        self.driver: Driver
        self.scheduler: Scheduler

    @property
    def path(self) -> tuple[ProviderId, ...]:
        """From the terminating provider to the originating one: the chain that is true."""
        return self.written.path[::-1]

    def submit(self, count: int = 1) -> list[asyncio.Future[Traceback]]:
        """Tracebacks of calls that were not traced before, each under an order of its own; done when they rest."""
        calls, now = [next(self._calls) for _ in range(count)], _now().replace(microsecond=0)
        made = OrderSet.of(encode_order(_order(called, at, self.path[0], now)) for called, at in calls)
        for name, domain in ((SUBMITTER, Domain.ORDER), (APPROVER, Domain.APPROVAL)):
            made = sign(made, domain, read_signer(self.written.people.home / "people" / f"{name}.key"))
        self._book.add(made, now)
        for signature, name in zip(made.signatures, (SUBMITTER, APPROVER), strict=True):
            self._book.sign(made.id, signature, name, now)
        tracebacks = [
            Traceback(uuid.uuid4(), call_of(order, digest(exact)))
            for order, exact in zip(made.orders, made.exact, strict=True)
        ]
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in tracebacks]
        self._resting |= {one.id: future for one, future in zip(tracebacks, futures, strict=True)}
        self.store.submit(tracebacks, _now())
        self.scheduler.look()
        return futures

    async def reopen(self, traceback: Traceback) -> asyncio.Future[Traceback]:
        """Ask the last provider of a closed traceback once more, as a person would have it; done when that rests."""
        lease = Keeper(self.store, SystemClock(), owner_name()).lease()
        [kept] = await self.store.claim_these(lease, [traceback.id], closed_too=True)
        self._resting[traceback.id] = future = asyncio.get_running_loop().create_future()
        self.driver.take(kept, self.rested, reopen=True)
        return future

    def rested(self, rested: Rested) -> None:
        """One is closed, or waits."""
        traceback = rested.kept.traceback
        if rested.due is None and not rested.lost and not self._resting[traceback.id].done():
            self._resting[traceback.id].set_result(traceback)

    def broke(self, running: asyncio.Task[None]) -> None:
        """The scheduler has ended: nobody waits for it any more."""
        error = None if running.cancelled() else running.exception()
        for future in self._resting.values():
            if not future.done():
                future.set_exception(error or AssertionError("the scheduler ended"))
                future.exception()

    async def warm(self) -> None:
        """Trace one call on whole ways, so that every connection stands."""
        (traced,) = self.submit()
        self.check(await asyncio.wait_for(traced, 30))

    def check(self, traceback: Traceback) -> None:
        """It went the true way to its end, and no provider searched twice, answered twice or was in doubt."""
        assert traceback.status is Status.ORIGIN_FOUND, (traceback.status, traceback.hops[-1].detail)
        assert tuple(hop.provider for hop in traceback.hops) == self.path
        self.check_searches()

    def check_searches(self) -> None:
        """At most one intent, one search and one answer for every question that any agent ever got."""
        for agent in self.agents.values():
            intents, answers = agent.logged(audit.AUDIT_KIND_INTENT), agent.logged(audit.AUDIT_KIND_ANSWER)
            assert set(intents.values()) <= {1}
            assert set(answers.values()) <= {1}
            assert agent.records.searches.total() == intents.total()

    def check_attempts(self) -> None:
        """None hung, and none ended in another way than the four that there are."""
        assert self.wires.longest_over_s < SLACK_S
        assert self.driver.failure is None


def _order(called: E164, at: datetime, terminating: ProviderId, now: datetime) -> Order:
    return Order(
        order_id=uuid.uuid4(),
        coordinator="lab",
        purpose=Purpose.UNLAWFUL_ROBOCALLS,
        legal_basis="47 U.S.C. 222(d)(2)",
        campaign="auto-warranty",
        evidence_sha256=os.urandom(32),
        called=called,
        at=at,
        window=timedelta(seconds=5),
        calling=None,
        terminating=terminating,
        hop_limit=12,
        issued=now,
        expires=now + timedelta(hours=72),
        submitter=SUBMITTER,
        certification="I certify that this call is suspected to be unlawful.",
        salt=os.urandom(16),
    )


@contextmanager
def _records(config: AgentConfig, keys: Keys) -> Iterator[HeldRecords]:
    for source in config.sources:
        report = ingest(
            [Path(source.path)], source, config.formats(), config.index.directory, keys, _now(), complete_until=_now()
        )
        assert not report.failed
    index = Index.open(config.index.directory, keys)
    try:
        yield HeldRecords(index)
    finally:
        index.close()


@asynccontextmanager
async def _agent(path: Path, way: str, coordinator: str) -> AsyncIterator[Agent]:
    """The agent of this configuration, listening or, where `coordinator` is an address, dialling that."""
    config = load(path)
    keys = read_keys(config)
    async with AsyncExitStack() as stack:
        records = stack.enter_context(_records(config, keys))
        threads = LookupThreads(8, 64)
        stack.callback(threads.close)
        terms = Terms(
            config.me, config.trunk_map(), config.match_settings(), config.match.window_cap, config.retention()
        )
        desk = Desk(terms, records, _now, threads)
        answering = open_answering(config, lambda: keys, desk, Notes(None, _now))
        stack.push_async_callback(answering.close)
        tls = Live(read_tls(config, _now()))
        network = await stack.enter_async_context(proxy(coordinator))
        agent = Agent(config.me, config, records, answering, tls, network)
        handlers = dict(answering.handlers)
        agent.counted(handlers)  # type: ignore[arg-type]
        if way == "port":
            server = AgentServer(handlers, Listening("127.0.0.1:0", tls, frozenset({LAB})))
            network.target = await server.start()
            stack.push_async_callback(server.stop, 0)
        else:
            pauses = Pauses(first=0.02, longest=0.1, rng=random.Random(config.me))
            dialing = asyncio.create_task(DialOut(network.endpoint, LAB, tls, handlers, pauses).run())
            stack.push_async_callback(_ended, dialing)
        yield agent


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def line(
    work: Path, hops: int, calls: int, *, way: str = "port", limits: Limits = IN_A_HURRY
) -> AsyncIterator[Line]:
    """`hops` agents that are reached by "port" or "stream", and a running coordinator, all connections standing."""
    written = written_line(work, hops, calls, _now().replace(microsecond=0) - timedelta(days=2))
    people, home = written.people, work / "coordinator"
    files = people.authority.issue_coordinator("lab", home)
    evidence = people.authority.issue_coordinator_evidence("lab", home)
    engine = open_engine(f"sqlite:///{work / 'coordinator.db'}")
    migrate(engine)
    async with AsyncExitStack() as stack:
        store, book, clock = stack.enter_context(opened(engine)), OrderBook(engine), SystemClock()
        made = Line(written, store, book)
        made.tls = Live(read_tls_files(files.certificate, files.key, files.roots, _now()))
        made.channels = await stack.enter_async_context(GrpcTransport(made.tls.current))
        address = ""
        transport: Transport = made.channels
        if way == "stream":
            made.dialed = dialed = DialedAgents()
            server = CoordinatorServer(made.tls, "127.0.0.1:0", {SERVICE: dialed.handlers()})
            address = (await server.start()).address
            stack.push_async_callback(server.stop, 0)
            stack.callback(dialed.close)
            transport = Switchboard(made.channels, dialed)
        for config in written.configs.values():
            agent = await stack.enter_async_context(_agent(config, way, address))
            made.agents[agent.me] = agent
        if made.dialed is not None:
            for name in written.path:
                await made.dialed.arrival(name)
        made.wires = Observed(transport)
        certificate = x509.load_pem_x509_certificate(evidence.certificate.read_bytes())
        made.signed = SignedAgents(
            made.wires,
            signer=read_signer(evidence.key),
            certificate=certificate.public_bytes(Encoding.DER),
            roots=PinnedRoots.from_pem(evidence.roots.read_bytes()),
            orders=book,
            certificates=book,
            clock=clock.now,
        )
        providers = [
            Provider(name, name, one.way.endpoint if way == "port" else DIAL_OUT) for name, one in made.agents.items()
        ]
        made.driver = Driver(
            store=store,
            registry=RegistrySnapshot(providers),
            agents=made.signed,
            clock=clock,
            watcher=Silent(),
            limits=limits,
        )
        made.scheduler = Scheduler(
            driver=made.driver,
            source=Everything(store),
            keeper=Keeper(store, clock, owner_name()),
            clock=clock,
            terms=SchedulerTerms(grace=timedelta(0), gather=timedelta(0)),
            rested=made.rested,
        )
        running = asyncio.create_task(made.scheduler.run())
        running.add_done_callback(made.broke)
        stack.push_async_callback(asyncio.wait, [running])
        stack.callback(made.scheduler.stop)
        await made.warm()
        yield made
