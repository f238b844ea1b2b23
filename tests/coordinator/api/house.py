"""A coordinator with two requesters' orders, traced through three providers and one that a person answers for."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from coordinator.api.orders import OrderApi
from coordinator.api.registry import RegistryApi
from coordinator.api.reports import ReportApi
from coordinator.api.rpc import Door, Handlers
from coordinator.api.service import House, TracebackApi
from coordinator.callers import ORDERS, REGISTRY, REPORTS, SERVICE, Role
from coordinator.campaigns.book import CampaignBook
from coordinator.evidence.notary import Notary
from coordinator.ordering.orders import OrderSet, sign
from coordinator.registry.book import RegistryBook
from coordinator.reports.views import ReportViews
from coordinator.running.driver import Driver
from coordinator.running.leases import LENGTH
from coordinator.stir.book import IdentityBook
from coordinator.store.order_views import OrderViews
from coordinator.store.orders import OrderBook, known_set
from coordinator.store.sql_store import SqlStore
from coordinator.store.views import Views
from coordinator.tasks.desk import TaskDesk
from coordinator.tasks.task import Asked, Kind
from coordinator.tracing.ports import Lease, Provider
from protos import hops
from protos.codec import digest
from protos.orders import Order, Persons, encode_order
from protos.signing import Domain, Signer
from protos.types import Answer, Handover, Outcome
from tests.coordinator.fakes import JumpingClock, NamedProviders, Notes
from tests.coordinator.make import CALLED, NOW, T0, provider, says, upstream
from tests.coordinator.parties import Behaviour, Drawer, InProcess, Parties, order, signed_agents
from tests.coordinator.test_tasks import OneOffice

LISTED = {
    Role.REQUESTER: ("ann", "abe"),
    Role.APPROVER: ("bob", "eve"),
    Role.ANALYST: ("una", "ute"),
    Role.AUDITOR: ("otto",),
}


NAMES = ("alder", "birch", "cedar", "elm", "fir", "ginkgo")
ENDPOINTS = {name: f"192.0.2.{place}:7443" for place, name in enumerate(("alder", "birch", "ginkgo"), start=1)}


@dataclass
class Made:
    """The house, and what is in it."""

    door: Door
    api: TracebackApi
    reports: ReportApi
    registry: RegistryApi
    order_desk: OrderApi
    house: House
    store: SqlStore
    clock: JumpingClock
    orders: dict[str, bytes]
    """By submitter: the digest of an approved order that is traced."""
    fresh: bytes
    """An approved order of ann's that nobody submitted yet."""
    unapproved: bytes
    tracebacks: dict[str, uuid.UUID]
    task: uuid.UUID
    typed: uuid.UUID
    """A task whose answer names somebody by a name that is to be matched."""
    sets: dict[str, uuid.UUID]
    """Sets of orders by campaign."""
    submitted: OrderSet
    """A set of ann's that waits for approval."""
    people: dict[str, Signer]
    birch: str = "birch"
    """A provider in the registry."""

    def services(self) -> dict[str, Handlers]:
        """What a server mounts."""
        return {
            SERVICE: self.api.methods(),
            REPORTS: self.reports.methods(),
            REGISTRY: self.registry.methods(),
            ORDERS: self.order_desk.methods(),
        }


async def make(
    engine: Engine, parties: Parties, directory: Path, behaviours: dict[str, Behaviour] | None = None
) -> Made:
    """Everything, traced to its end."""
    del directory
    clock = JumpingClock()
    store, book = SqlStore(engine), OrderBook(engine)
    people = parties.people | {"abe": Signer(Ed25519PrivateKey.from_private_bytes(b"abe".ljust(32)))}
    persons = Persons(
        {name: people[name].public for name in ("ann", "abe")}, {name: people[name].public for name in ("bob", "eve")}
    )
    keep = _Keeper(book, people)
    orders = {
        "ann": keep.order(order(submitter="ann", campaign="warranty")),
        "abe": keep.order(order(submitter="abe", campaign="bank", at=T0 + timedelta(hours=1)), approver="eve"),
    }
    fresh = keep.order(order(submitter="ann", campaign="later", at=T0 + timedelta(hours=2)))
    unapproved = keep.order(order(submitter="ann", campaign="never", at=T0 + timedelta(hours=3)), approver=None)
    (waiting,) = book.sets_of(unapproved)
    registry = NamedProviders("ginkgo", "birch", "alder", without_agent=("elm",))
    desk = TaskDesk(engine, OneOffice(), registry)
    house = House(
        name="lab",
        store=store,
        views=Views(engine),
        book=book,
        tasks=desk,
        persons=persons,
        registry=RegistryBook(engine),
        clock=clock.now,
        owner="api",
        notary=notary(engine, parties, persons, clock),
    )
    store.put_providers([Provider(provider(name), name.title(), ENDPOINTS.get(name)) for name in NAMES], NOW)
    door = Door(LISTED)
    api = TracebackApi(house, door)
    made = Made(
        door=door,
        api=api,
        reports=ReportApi(door, engine, ReportViews(engine), clock.now),
        registry=RegistryApi(door, house.registry, clock.now),
        order_desk=OrderApi(
            door,
            "lab",
            book,
            OrderViews(engine, persons),
            CampaignBook(engine),
            IdentityBook(engine),
            persons,
            clock.now,
        ),
        house=house,
        store=store,
        clock=clock,
        orders=orders,
        fresh=fresh,
        unapproved=unapproved,
        tracebacks={},
        task=uuid.UUID(int=0),
        typed=uuid.UUID(int=0),
        sets=keep.sets,
        submitted=known_set(book, waiting),
        people=people,
    )
    drawer = Drawer(*book.granted(orders.values()).values())
    agents = signed_agents(parties, InProcess(parties, behaviours or honest(), checks=False), drawer)
    from coordinator.callers import Caller
    from hopback.v1 import traceback_pb2 as pb

    for name, sha256 in orders.items():
        response = await api.submit(Caller(Role.REQUESTER, name), pb.SubmitRequest(order_sha256=[sha256]))
        made.tracebacks[name] = uuid.UUID(response.results[0].traceback_id)
    driver = Driver(store=store, registry=registry, agents=agents, clock=clock, watcher=Notes())
    for kept in await store.claim(Lease("test", clock.now(), clock.now() + LENGTH), 10):
        await driver.drive(kept)
    kept_hop = store.load(made.tracebacks["ann"])
    assert kept_hop is not None
    question = replace(kept_hop.traceback.hops[-1].question, target=provider("elm"), question_id=uuid.UUID(int=9))
    made.task = desk.ask(Asked.from_question(made.tracebacks["ann"], 3, question, Kind.NO_AGENT), clock.now())
    other = replace(question, question_id=uuid.UUID(int=10))
    made.typed = desk.ask(Asked.from_question(made.tracebacks["abe"], 3, other, Kind.NO_AGENT), clock.now())
    said = {"outcome": "upstream", "upstream_name": "Cedar Networks"}
    desk.answer_signed_in(provider("elm"), made.typed, said, "Kim", clock.now())
    return made


def notary(engine: Engine, parties: Parties, persons: Persons, clock: JumpingClock) -> Notary:
    """What makes bundles in this house; no agent can be asked."""
    roots = (parties.authority.directory / "ca.crt").read_bytes()
    return Notary(
        engine=engine,
        name="lab",
        persons=persons,
        signer=lambda: parties.coordinator.signer,
        roots=lambda: roots,
        provider=RegistryBook(engine).provider,
        clock=clock.now,
    )


def always(answer: Answer) -> Behaviour:
    """A provider that answers everything with this."""

    def answers(asked: hops.Asked) -> Answer:
        del asked
        return answer

    return answers


def honest() -> dict[str, Behaviour]:
    """ginkgo names birch, birch names alder, alder originated."""
    return {
        "ginkgo": always(upstream("ginkgo", "birch")),
        "birch": always(upstream("birch", "alder", handover=Handover.CONFIRMED)),
        "alder": always(says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)),
    }


class _Keeper:
    def __init__(self, book: OrderBook, people: dict[str, Signer]) -> None:
        self._book, self._people = book, people
        self.sets: dict[str, uuid.UUID] = {}

    def order(self, one: Order, approver: str | None = "bob") -> bytes:
        """Keep an order with its signatures; returns its digest."""
        made = replace(
            one, order_id=uuid.uuid5(uuid.NAMESPACE_OID, one.campaign), salt=digest(one.campaign.encode())[:16]
        )
        exact = encode_order(made)
        orders = sign(OrderSet.of([exact]), Domain.ORDER, self._people[one.submitter])
        if approver is not None:
            orders = sign(orders, Domain.APPROVAL, self._people[approver])
        self._book.add(orders, NOW)
        self.sets[one.campaign] = orders.id
        for signature, person in zip(orders.signatures, (one.submitter, approver), strict=False):
            self._book.sign(orders.id, signature, person or "", NOW)
        return digest(exact)


__all__ = ["CALLED", "LISTED", "Made", "always", "honest", "make"]
