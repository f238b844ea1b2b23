"""A line of real agents and a real coordinator in one process, with a network between them that can fail.

The coordinator is what `hopback-coordinator run` puts together: SQLite store, orders, signed questions, driver,
scheduler. Its patience is shorter, so that a test need not wait; what that is in earnest, `PRODUCT` has.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

from benchmarks.line import WrittenLine, written_line
from coordinator.authority.lab_ca import ROOT_CERTIFICATE, Credentials, LabAuthority
from coordinator.lookups.asking import SignedAgents
from coordinator.lookups.batching import LaneTerms
from coordinator.lookups.breaker import BreakerTerms
from coordinator.lookups.dialout import SERVICE, DialedAgents
from coordinator.lookups.relay import SERVICE as RELAY_SERVICE
from coordinator.lookups.relay import Relay, RelayTransport
from coordinator.lookups.transport import GrpcTransport, Switchboard, Transport
from coordinator.ordering.orders import OrderSet, call_of, sign
from coordinator.present.live import Silent
from coordinator.registry import RegistrySnapshot
from coordinator.running.driver import Driver, Rested
from coordinator.running.leases import Keeper, owner_name
from coordinator.running.limits import Limits
from coordinator.running.scheduler import Everything, Scheduler, SchedulerTerms
from coordinator.runtime import SystemClock
from coordinator.serve import CoordinatorServer
from coordinator.store.engine import migrate, open_engine
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import SqlStore, opened
from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.patience import Patience
from coordinator.tracing.ports import DIAL_OUT, AgentError, Provider
from deploy.lab.people import APPROVER, SUBMITTER
from hopback.v1 import audit_pb2 as audit
from protos.certificates import PinnedRoots
from protos.codec import digest
from protos.e164 import E164
from protos.evidence_key import read_evidence_key
from protos.identity import ProviderId
from protos.key_pairs import KeyPair, write_whole
from protos.live import Live
from protos.orders import Order, Purpose, encode_order
from protos.renewal import Party, Places
from protos.signing import Domain, read_signer
from protos.taking_up import TakingUp
from protos.tls import read_tls_files
from tests.faults.agents import LAB, Agent, agent
from tests.faults.proxy import Proxy, proxy

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


class Observed:
    """A transport that tells how each attempt ended, and after what time."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.ended = asyncio.Event()
        self.failures: list[AgentError] = []
        self.longest_over_s = 0.0
        self.over = 0
        """How many attempts have ended."""
        self.twice = False
        """Send every envelope twice at the same time, take the answer to the first, and keep both in `pairs`."""
        self.pairs: list[tuple[bytes, bytes]] = []

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """As the transport."""
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
            late_s = monotonic() - started - timeout.total_seconds()
            self.longest_over_s = max(self.longest_over_s, late_s)
            self.over += 1
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
        self.inside: Proxy
        """Between `run` and `serve`."""
        self.wires: Observed
        self.party: Party
        self.authority = written.people.authority
        self.roots = [(self.authority.directory / ROOT_CERTIFICATE).read_bytes()]
        self.looking: dict[str, TakingUp] = {}
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

    async def renew(self, name: ProviderId) -> None:
        """New keys and certificates for this provider's agent, for TLS and for evidence."""
        out = self.written.configs[name].parent
        await asyncio.to_thread(self.authority.issue_provider, name, out)
        await asyncio.to_thread(self.authority.issue_provider_evidence, name, out)
        await self.put(self.agents[name].party())

    async def renew_coordinator(self) -> None:
        """The same for the coordinator."""
        home = self.party.places.roots.parent
        await asyncio.to_thread(self.authority.issue_coordinator, "lab", home)
        await asyncio.to_thread(self.authority.issue_coordinator_evidence, "lab", home)
        await self.put(self.party)

    async def put(self, party: Party) -> None:
        """Write the roots that are pinned now beside its certificates, and have it take up all that lies there."""
        for path in {party.places.roots, party.places.evidence_roots}:
            write_whole(path, b"".join(self.roots), secret=False)
        looking = self.looking.setdefault(party.uri, TakingUp(party, _now))
        await looking.look()
        await looking.look()

    async def pin(self, *authorities: LabAuthority) -> None:
        """Have everybody trust the roots of these authorities, and of no others; certificates are made by the last."""
        self.authority = authorities[-1]
        self.roots = [(one.directory / ROOT_CERTIFICATE).read_bytes() for one in authorities]
        for party in self.parties:
            await self.put(party)

    @property
    def parties(self) -> list[Party]:
        """The coordinator, and all agents."""
        return [self.party, *(one.party() for one in self.agents.values())]

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

    async def attempts(self, count: int, traced: Sequence[asyncio.Future[Traceback]]) -> None:
        """Return when so many more attempts have ended, or all these tracebacks are at rest."""
        until = self.wires.over + count
        while self.wires.over < until and not all(one.done() for one in traced):
            self.wires.ended.clear()
            await first(self.wires.ended, next(one for one in traced if not one.done()))

    def check(self, traceback: Traceback) -> None:
        """It went the true way to its end, and no provider searched twice."""
        self.check_chain(traceback)
        self.check_searches()

    def check_chain(self, traceback: Traceback) -> None:
        """It went the true way to its end."""
        assert traceback.status is Status.ORIGIN_FOUND, (traceback.status, traceback.hops[-1].detail)
        assert tuple(hop.provider for hop in traceback.hops) == self.path

    def check_searches(self) -> None:
        """At most one intent, one search and one answer for every question that any agent ever got."""
        for one in self.agents.values():
            intents, answers = one.logged(audit.AUDIT_KIND_INTENT), one.logged(audit.AUDIT_KIND_ANSWER)
            assert set(intents.values()) <= {1}
            assert set(answers.values()) <= {1}
            assert one.records.searches.total() == intents.total()

    def check_attempts(self) -> None:
        """None hung, and none ended in another way than the four that there are."""
        assert self.wires.longest_over_s < SLACK_S
        assert self.driver.failure is None


async def first(event: asyncio.Event, traced: asyncio.Future[Traceback], most_s: float = 30.0) -> None:
    """Return when either has come, or after so many seconds."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(event.wait())
    both: list[asyncio.Future[Any]] = [waiting, traced]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=most_s)
    waiting.cancel()


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


def _coordinator(tls: Credentials, evidence: Credentials) -> Party:
    roots = PinnedRoots.from_pem(evidence.roots.read_bytes())
    key = read_evidence_key(evidence.certificate, evidence.key, roots, LAB, _now())
    files = read_tls_files(tls.certificate, tls.key, tls.roots, _now())
    pairs = KeyPair(tls.certificate, tls.key), KeyPair(evidence.certificate, evidence.key)
    return Party(LAB, Places(pairs[0], tls.roots, pairs[1], evidence.roots), Live(files), Live(key), roots)


@asynccontextmanager
async def line(
    work: Path, hops: int, calls: int, *, ways: Sequence[str] = ("port",), limits: Limits = IN_A_HURRY
) -> AsyncIterator[Line]:
    """`hops` agents that are reached by these ways in turn, and a running coordinator; all connections stand.

    By "port"; by "stream", where the process that they dial is the one that asks; or by "relay", where that is another.
    """
    written = written_line(work, hops, calls, _now().replace(microsecond=0) - timedelta(days=2))
    people, home = written.people, work / "coordinator"
    files = people.authority.issue_coordinator("lab", home)
    evidence = people.authority.issue_coordinator_evidence("lab", home)
    engine = open_engine(f"sqlite:///{work / 'coordinator.db'}")
    migrate(engine)
    async with AsyncExitStack() as stack:
        store, book, clock = stack.enter_context(opened(engine)), OrderBook(engine), SystemClock()
        made = Line(written, store, book)
        made.party = party = _coordinator(files, evidence)
        channels = await stack.enter_async_context(GrpcTransport(party.tls))
        dialed = DialedAgents()
        relay = Relay(LAB, dialed, lambda _: None)
        services = {SERVICE: dialed.handlers(), RELAY_SERVICE: relay.handlers()}
        server = CoordinatorServer(party.tls, "127.0.0.1:0", services)
        address = (await server.start()).address
        stack.push_async_callback(server.stop, 0)
        stack.callback(dialed.close)
        for config, way in zip(written.configs.values(), itertools.cycle(ways)):
            one = await stack.enter_async_context(agent(config, way, address))
            made.agents[one.me] = one
            if way != "port":
                await dialed.arrival(one.me)
        made.inside = await stack.enter_async_context(proxy(address))
        relayed = await stack.enter_async_context(RelayTransport(made.inside.endpoint, LAB, party.tls))
        made.wires = Observed(Switchboard(channels, relayed if "relay" in ways else dialed))
        signed = SignedAgents(
            made.wires,
            signer=party.evidence.current.signer,
            certificate=party.evidence.current.certificate,
            roots=party.roots,
            orders=book,
            certificates=book,
            clock=clock.now,
        )
        party.evidence.on_change(lambda key: signed.renew(key.signer, key.certificate))
        providers = [
            Provider(name, name, one.network.endpoint if one.way == "port" else DIAL_OUT)
            for name, one in made.agents.items()
        ]
        made.driver = Driver(
            store=store,
            registry=RegistrySnapshot(providers),
            agents=signed,
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
