"""Two calls of a campaign to one number, within seconds: a coordinator, and those whom it asks about both.

Cedar, a provider of these tests, names birch for both calls and tells them apart. Birch is a real agent with a gate, an
audit log and records of both: the first came from a customer of its own, the second from alder.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from sqlalchemy import Engine

from agent.legs import Leg
from coordinator.lookups.asking import SignedAgents
from coordinator.ordering.orders import OrderSet, Signature
from coordinator.present.live import Silent
from coordinator.running.contesting import Contester
from coordinator.running.driver import Driver
from coordinator.running.eliminating import Eliminator
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import SqlStore
from coordinator.tracing.chain import Traceback
from coordinator.tracing.ports import Lease, Provider
from protos.hops import Asked
from protos.identity import ProviderId, coordinator_uri, provider_uri
from protos.signing import Domain
from protos.types import Answer
from tests.agent.gate.gated import Gated
from tests.agent.provider import LEG, FakeRecords
from tests.coordinator.make import CALLED, NOW, T0, provider
from tests.coordinator.parties import Behaviour, InProcess, Parties, order, traceback_of

SECOND = timedelta(seconds=1)
OF_A_CUSTOMER = LEG._replace(ingress_trunk="IN-CUSTOMER", egress_trunk="OUT-CEDAR", call_ref=1, earliest=T0, latest=T0)
OF_ALDER = OF_A_CUSTOMER._replace(
    ingress_trunk="IN-ALDER", call_ref=2, row=8, earliest=T0 + 5 * SECOND, latest=T0 + 5 * SECOND
)


def always(answer: Answer) -> Behaviour:
    """One answer to every question."""
    return lambda asked: answer  # noqa: ARG005


def by_time(asked: Asked) -> bytes:
    """Cedar tells calls apart by their times."""
    return b"cedar 1 " + int(asked.question.at.timestamp() * 1000).to_bytes(8, "big")


@dataclass
class WithBirch(InProcess):
    """Agents of the tests, but for birch, which is a real one."""

    birch: Gated | None = None

    async def call(self, entry: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        if entry.id != "birch" or self.birch is None:
            return await super().call(entry, method, request, timeout)
        self.envelopes.append(request)
        return await self.birch.handler.ask(request, (coordinator_uri("lab"),))


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        return NOW

    async def sleep_until(self, time: datetime) -> None:
        raise AssertionError(f"nothing waits, but this does until {time}")


class Registry:
    """Everybody has an agent."""

    def provider(self, name: ProviderId) -> Provider:
        return Provider(name, name, "somewhere:1")


@dataclass
class House:
    """A coordinator with its database, and those whom it asks."""

    engine: Engine
    parties: Parties
    agents: WithBirch
    tracebacks: list[uuid.UUID] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store, self.book = SqlStore(self.engine), OrderBook(self.engine)

    async def trace(self, seconds: float, **changes: object) -> Traceback:
        """A call at that time is ordered and traced to where it comes to rest."""
        at = T0 + timedelta(seconds=seconds)
        [granted] = self.parties.granted(
            order(**{"at": at, "calling": None, "terminating": provider("cedar"), **changes})
        )
        made = OrderSet.of([granted.exact])
        self.book.add(made, NOW)
        self.book.sign(made.id, Signature(Domain.ORDER, granted.submission.seal), "ann", NOW)
        self.book.sign(made.id, Signature(Domain.APPROVAL, granted.approvals[0]), "bob", NOW)
        traceback = traceback_of(granted, uuid.uuid4())
        self.store.submit([traceback], NOW)
        self.tracebacks.append(traceback.id)
        return await self.drive(traceback.id)

    async def drive(self, identity: uuid.UUID) -> Traceback:
        """Carry it on."""
        [kept] = await self.store.claim_these(self.lease, [identity])
        return await self.driver.drive(kept)

    @property
    def driver(self) -> Driver:
        """A new one."""
        signed = SignedAgents(
            self.agents,
            signer=self.parties.coordinator.signer,
            certificate=self.parties.coordinator.certificate,
            roots=self.parties.roots,
            orders=self.book,
            certificates=self.book,
            clock=lambda: NOW,
        )
        return Driver(store=self.store, registry=Registry(), agents=signed, clock=Clock(), watcher=Silent())

    @property
    def lease(self) -> Lease:
        """One for a while."""
        return Lease("driver", NOW, NOW + timedelta(minutes=1))

    async def reopen(self, identity: uuid.UUID) -> Traceback:
        """A person has its last provider asked again."""
        [kept] = await self.store.claim_these(self.lease, [identity], closed_too=True)
        return await self.driver.drive(kept, reopen=True)

    def load(self, identity: uuid.UUID) -> Traceback:
        """As it is kept."""
        kept = self.store.load(identity)
        assert kept is not None
        return kept.traceback

    @property
    def eliminator(self) -> Eliminator:
        """A new one."""
        return Eliminator(self.engine, self.store, lambda: NOW, "eliminator")

    async def contest(self) -> list[Traceback]:
        """Look for records that were given twice, and carry on what is asked again; as long as there is any."""
        found: dict[uuid.UUID, Traceback] = {}
        contester = Contester(self.engine, self.store, lambda: NOW, "contester")
        while taken := await contester.round():
            for identity in taken:
                found[identity] = self.load(identity)
                if not found[identity].status.phase.rests:
                    found[identity] = await self.drive(identity)
        return list(found.values())

    async def settle(self) -> list[Traceback]:
        """Look for sisters, and carry on what is asked again."""
        return [await self.drive(identity) for identity in await self.eliminator.round()]


def files_of_birch(parties: Parties) -> SimpleNamespace:
    """Birch's key for evidence, as its agent wants it; to be made once."""
    return SimpleNamespace(files=parties.authority.issue_evidence(provider_uri(provider("birch")), "birch-agent"))


def birch_of(parties: Parties, files: SimpleNamespace, directory: Path, *legs: Leg) -> Gated:
    """Birch's agent, with these records."""
    kit = SimpleNamespace(roots=parties.roots, clock=lambda: NOW, provider=lambda name: files)  # noqa: ARG005
    records = FakeRecords({CALLED: list(legs)})
    return Gated(kit, directory / "birch", records, persons=parties.persons)  # type: ignore[arg-type]  # all it needs
