"""A coordinator with two requesters' orders, traced through three providers and one that a person answers for."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from coordinator.api.callers import Role
from coordinator.api.service import House, TracebackApi
from coordinator.driver import Driver
from coordinator.leases import LENGTH
from coordinator.orders import OrderSet, sign
from coordinator.ports import Lease
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import SqlStore
from coordinator.store.views import Views
from coordinator.tasks.desk import TaskDesk
from coordinator.tasks.task import Asked, Kind
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
    Role.ANALYST: ("una",),
    Role.AUDITOR: ("otto",),
}


@dataclass
class Made:
    """The house, and what is in it."""

    api: TracebackApi
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
    registry = NamedProviders("ginkgo", "birch", "alder", without_agent=("elm",))
    desk = TaskDesk(engine, OneOffice(), registry)
    house = House(
        name="lab",
        store=store,
        views=Views(engine),
        book=book,
        tasks=desk,
        persons=persons,
        listed=LISTED,
        clock=clock.now,
        owner="api",
    )
    api = TracebackApi(house)
    made = Made(api, house, store, clock, orders, fresh, unapproved, {}, uuid.UUID(int=0))
    drawer = Drawer(*book.granted(orders.values()).values())
    agents = signed_agents(parties, InProcess(parties, behaviours or honest(), checks=False), drawer)
    from coordinator.api.callers import Caller
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
    return made


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
        for signature, person in zip(orders.signatures, (one.submitter, approver), strict=False):
            self._book.sign(orders.id, signature, person or "", NOW)
        return digest(exact)


__all__ = ["CALLED", "LISTED", "Made", "always", "honest", "make"]
