"""Which sets of orders each caller sees, page by page, and whose reports are made of what, on both databases."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from coordinator.callers import Caller, Role
from coordinator.ordering.orders import OrderSet, sign
from coordinator.reports import way_reader
from coordinator.reports.views import ReportViews
from coordinator.store.order_views import OrderViews
from coordinator.store.orders import OrderBook
from protos.codec import digest
from protos.orders import Persons, encode_order
from protos.signing import Domain, Signer
from tests.coordinator.databases import put_traceback
from tests.coordinator.make import NOW, T0
from tests.coordinator.parties import order

PEOPLE = {name: Signer(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32))) for name in ("ann", "bob", "eve")}
PERSONS = Persons(
    {"ann": PEOPLE["ann"].public, "bob": PEOPLE["bob"].public}, {n: PEOPLE[n].public for n in ("bob", "eve")}
)
DAY = timedelta(days=1)


class Desk:
    """Sets of orders with some signatures."""

    def __init__(self, engine: Engine) -> None:
        self.book, self.views = OrderBook(engine), OrderViews(engine, PERSONS)
        self._numbers = count()

    def put(self, *approvers: str, submitter: str = "ann", submitted: bool = True, campaign: str = "one") -> uuid.UUID:
        at = NOW + next(self._numbers) * timedelta(seconds=1)
        made = OrderSet.of([encode_order(replace(order(submitter=submitter), campaign=campaign))])
        self.book.add(made, at)
        signers = [(submitter, Domain.ORDER)] if submitted else []
        for name, domain in (*signers, *((name, Domain.APPROVAL) for name in approvers)):
            self.book.sign(made.id, sign(made, domain, PEOPLE[name]).signatures[-1], name, at)
        return made.id

    def seen(self, role: Role, name: str, later: timedelta = timedelta(0)) -> set[uuid.UUID]:
        return {one.id for one in self.views.page(Caller(role, name), NOW + later)[0]}


@pytest.fixture
def desk(either_engine: Engine) -> Desk:
    return Desk(either_engine)


class TestAnApprover:
    def test_sees_what_waits_for_a_decision(self, desk: Desk) -> None:
        waits = desk.put()
        assert desk.seen(Role.APPROVER, "bob") == desk.seen(Role.APPROVER, "eve") == {waits}

    def test_sees_no_draft_that_nobody_submitted(self, desk: Desk) -> None:
        draft = desk.put(submitted=False)
        assert desk.seen(Role.APPROVER, "bob") == set()
        assert desk.views.get(Caller(Role.APPROVER, "bob"), draft, NOW) is None

    def test_sees_no_more_what_others_have_decided_but_what_he_approved(self, desk: Desk) -> None:
        done = desk.put("bob")
        assert desk.seen(Role.APPROVER, "eve") == set()
        assert desk.seen(Role.APPROVER, "bob") == desk.seen(Role.APPROVER, "bob", 9 * DAY) == {done}

    def test_sees_nothing_of_his_own_and_nothing_that_has_expired(self, desk: Desk) -> None:
        desk.put(submitter="bob")
        assert desk.seen(Role.APPROVER, "bob") == set()
        assert desk.seen(Role.APPROVER, "eve", 9 * DAY) == set()

    def test_who_approves_no_more_has_decided_nothing(self, desk: Desk, either_engine: Engine) -> None:
        waits = desk.put("bob")
        fewer = Persons(PERSONS.submitters, {"eve": PEOPLE["eve"].public})
        views = OrderViews(either_engine, fewer)
        assert {one.id for one in views.page(Caller(Role.APPROVER, "eve"), NOW)[0]} == {waits}


def test_others_see_their_own_or_all(desk: Desk) -> None:
    anns, bobs = desk.put(submitted=False), desk.put(submitter="bob")
    assert desk.seen(Role.REQUESTER, "ann") == {anns}
    assert desk.seen(Role.REQUESTER, "bob") == {bobs}
    assert desk.seen(Role.ANALYST, "una") == desk.seen(Role.AUDITOR, "otto") == {anns, bobs}
    with pytest.raises(ValueError, match="sees no orders"):
        desk.seen(Role.PROVIDER, "birch")


def test_pages_hold_every_set_once_newest_first(desk: Desk) -> None:
    made = [desk.put(campaign=f"number-{number}") for number in range(5)]
    token, found = "", []
    while True:
        page, token = desk.views.page(Caller(Role.AUDITOR, "otto"), NOW, size=2, token=token)
        found += [one.id for one in page]
        if not token:
            break
    assert found == made[::-1]


class TestAReport:
    def test_counts_what_its_caller_may_see(self, either_engine: Engine, desk: Desk) -> None:
        for number, name in enumerate(("ann", "bob"), start=1):
            orders = desk.book.load(desk.put(submitter=name))
            assert orders is not None
            put_traceback(either_engine, uuid.UUID(int=number), order_sha256=digest(orders.exact[0]))
        views = ReportViews(either_engine)

        def count_of(role: Role, name: str) -> int:
            return len(list(views.ways(Caller(role, name), T0, NOW + DAY)))

        assert count_of(Role.AUDITOR, "otto") == 2
        assert count_of(Role.REQUESTER, "ann") == count_of(Role.REQUESTER, "bob") == 1
        assert count_of(Role.REQUESTER, "abe") == 0

    @pytest.mark.parametrize("block", [1, 2, 3, 7])
    def test_holds_each_chain_once_in_order_however_few_are_read_at_a_time(
        self, either_engine: Engine, monkeypatch: pytest.MonkeyPatch, block: int
    ) -> None:
        monkeypatch.setattr(way_reader, "BLOCK", block)
        for number in range(6):  # two at a time were submitted together
            put_traceback(either_engine, uuid.UUID(int=6 - number), submitted_at=T0 + number // 2 * DAY)
        found = ReportViews(either_engine).ways(Caller(Role.AUDITOR, "otto"), T0, T0 + 2 * DAY)
        assert [way.traceback_id.int for way in found] == [5, 6, 3, 4]
