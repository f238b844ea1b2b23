"""Role by method by tenant: every cell, from the service's own descriptor; a method without a row fails."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from sqlalchemy import Engine

from coordinator.api.rpc import RefusedError
from coordinator.callers import ALLOWED, ORDERS, REGISTRY, REPORTS, SERVICE, Caller, Role, caller_of, caller_uri
from coordinator.ordering.orders import OrderSet
from coordinator.registry.changes import parse_change
from coordinator.store.orders import known_set
from hopback.v1 import order_pb2 as orders
from hopback.v1 import registry_pb2 as registry
from hopback.v1 import report_pb2 as report
from hopback.v1 import traceback_pb2 as pb
from protos.identity import InvalidIdentityError, ProviderId
from protos.orders import encode_order
from protos.signing import Domain
from tests.coordinator.api.house import LISTED, Made, make
from tests.coordinator.make import NOW
from tests.coordinator.parties import Parties, order
from tests.coordinator.stir.sti import identity, sti

SERVICES = {SERVICE: pb, REPORTS: report, REGISTRY: registry, ORDERS: orders}
METHODS = {
    method.name: service
    for service, module in SERVICES.items()
    for method in module.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods
}
"""Every method of the coordinator's own services, from their descriptors; no two of one name."""

OWN = {
    Role.REQUESTER: "ann",
    Role.APPROVER: "bob",
    Role.ANALYST: "una",
    Role.AUDITOR: "otto",
    Role.PROVIDER: "birch",
}
"""For each role somebody who has a part in ann's traceback."""
NAMING = {
    **dict.fromkeys(("Get", "Watch", "Cancel", "ExportBundle"), "traceback"),
    **dict.fromkeys(("AnswerTask", "MatchTask"), "task"),
    "GetProvider": "provider",
    **dict.fromkeys(("GetOrderSet", "SignOrderSet"), "set of orders"),
}
"""Methods that name one thing, and what."""
OTHERS = {Role.REQUESTER: "abe", Role.APPROVER: "eve", Role.PROVIDER: "fir"}
"""For each role somebody who has none in it; analysts and auditors have a part in everything."""


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def made(sqlite_engine: Engine, parties: Parties, tmp_path: Any) -> AsyncIterator[Made]:
    house = await make(sqlite_engine, parties, tmp_path)
    yield house
    house.store.close()


Call = Callable[[Made, Caller], Awaitable[Any]]
PERIOD = report.Period(since_unix_ms=1, until_unix_ms=4_000_000_000_000)


async def every(stream: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in stream]


def traceback(made: Made) -> str:
    return str(made.tracebacks["ann"])


def signature(made: Made, caller: Caller) -> orders.SignOrderSetRequest:
    """The caller's own: the submitter's once more, or an approval that is waited for."""
    kind = {Role.REQUESTER: Domain.ORDER, Role.APPROVER: Domain.APPROVAL}.get(caller.role, Domain.ORDER)
    seal = made.people[caller.name if caller.name in made.people else "ann"].seal_tree(kind, made.submitted.tree)
    number = orders.SIGNATURE_KIND_SUBMISSION if kind is Domain.ORDER else orders.SIGNATURE_KIND_APPROVAL
    return orders.SignOrderSetRequest(set_id=str(made.submitted.id), kind=number, seal=seal.to_message())


async def some_drafts() -> AsyncIterator[orders.DraftOrdersRequest]:
    made = order(submitter="ann", campaign="drafted", expires=NOW + timedelta(hours=40))
    yield orders.DraftOrdersRequest(orders=[encode_order(made)])


async def decided(made: Made, caller: Caller) -> Any:
    change = parse_change(ProviderId("birch"), "name", "Birch Tel")
    proposal = made.house.registry.propose(change, "ute", "", NOW)
    request = registry.DecideProposalRequest(proposal_id=str(proposal), confirm=True)
    return await made.registry.decide_proposal(caller, request)


CALLS: dict[str, Call] = {
    "Submit": lambda made, who: made.api.submit(who, pb.SubmitRequest(order_sha256=[made.fresh])),
    "Get": lambda made, who: made.api.get(who, pb.GetRequest(traceback_id=traceback(made))),
    "List": lambda made, who: made.api.list(who, pb.ListRequest(with_hops=True)),
    "Watch": lambda made, who: every(made.api.watch(who, pb.WatchRequest(traceback_id=traceback(made)))),
    "Cancel": lambda made, who: made.api.cancel(who, pb.CancelRequest(traceback_id=traceback(made), reason="test")),
    "ListTasks": lambda made, who: made.api.list_tasks(who, pb.ListTasksRequest()),
    "AnswerTask": lambda made, who: made.api.answer_task(
        who, pb.AnswerTaskRequest(task_id=str(made.task), outcome="not_found", person="Kim")
    ),
    "MatchTask": lambda made, who: made.api.match_task(
        who, pb.MatchTaskRequest(task_id=str(made.typed), provider="alder")
    ),
    "ExportBundle": lambda made, who: every(
        made.api.export_bundle(who, pb.ExportBundleRequest(traceback_id=traceback(made)))
    ),
    "Transparency": lambda made, who: made.reports.transparency(who, report.TransparencyRequest(period=PERIOD)),
    "Participants": lambda made, who: made.reports.participants(who, report.ParticipantsRequest(period=PERIOD)),
    "Scorecards": lambda made, who: every(
        made.reports.scorecards(who, report.ScorecardsRequest(period=PERIOD, facts=True))
    ),
    "ListProviders": lambda made, who: made.registry.list_providers(who, registry.ListProvidersRequest()),
    "GetProvider": lambda made, who: made.registry.get_provider(who, registry.GetProviderRequest(provider=made.birch)),
    "SuggestProviders": lambda made, who: made.registry.suggest_providers(
        who, registry.SuggestProvidersRequest(name="Birch")
    ),
    "ListProposals": lambda made, who: made.registry.list_proposals(who, registry.ListProposalsRequest(all=True)),
    "ProposeChange": lambda made, who: made.registry.propose_change(
        who, registry.ProposeChangeRequest(provider="birch", kind="name", value="Birch Tel")
    ),
    "DecideProposal": decided,
    "DraftOrders": lambda made, who: made.order_desk.draft_orders(who, some_drafts()),
    "ListOrderSets": lambda made, who: made.order_desk.list_order_sets(who, orders.ListOrderSetsRequest()),
    "GetOrderSet": lambda made, who: every(
        made.order_desk.get_order_set(who, orders.GetOrderSetRequest(set_id=str(made.submitted.id)))
    ),
    "SignOrderSet": lambda made, who: made.order_desk.sign_order_set(who, signature(made, who)),
    "AttachIdentities": lambda made, who: made.order_desk.attach_identities(
        who,
        orders.AttachIdentitiesRequest(
            identities=[orders.OrderIdentity(order_sha256=made.fresh, header=identity(sti().signer("birch", "709J")))]
        ),
    ),
}
"""One call of each method, about what is ann's: her traceback, the tasks of elm, her orders, and the provider birch."""


async def call(made: Made, caller: Caller, method: str) -> Any:
    """One call as it comes over the wire."""
    return await CALLS[method](made, made.door.admitted(method, [caller_uri(caller.role, caller.name)]))


def test_every_method_has_a_row_and_a_call_and_is_mounted(made: Made) -> None:
    assert set(METHODS) == set(ALLOWED) == set(CALLS)
    mounted = {method: service for service, methods in made.services().items() for method in methods}
    assert mounted == METHODS
    assert sum(len(methods) for methods in made.services().values()) == len(METHODS), "no name twice"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("role", Role)
async def test_a_role_may_call_what_its_row_says_and_nothing_else(made: Made, role: Role, method: str) -> None:
    name = "elm" if role is Role.PROVIDER and method == "AnswerTask" else OWN[role]
    if role in ALLOWED[method]:
        try:
            await call(made, Caller(role, name), method)
        except RefusedError as error:
            # The one state in which a closed traceback can't be cancelled: the role may, the traceback can't.
            assert (method, error.code) == ("Cancel", grpc.StatusCode.FAILED_PRECONDITION)  # noqa: PT017
    else:
        with pytest.raises(RefusedError) as refused:
            await call(made, Caller(role, name), method)
        assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("role", "method"),
    [(role, method) for role in OTHERS for method in ALLOWED if role in ALLOWED[method] and method in NAMING],
)
async def test_somebody_without_a_part_in_it_sees_nothing_not_even_that_it_is_there(
    made: Made, role: Role, method: str
) -> None:
    made.submitted = known_set(made.house.book, made.sets["warranty"])  # approved by bob: eve has no part in it
    with pytest.raises(RefusedError) as refused:
        await call(made, Caller(role, OTHERS[role]), method)
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    assert str(refused.value) == f"there is no such {NAMING[method]}"
    made.tracebacks["ann"], made.task, made.typed = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)
    made.submitted, made.birch = OrderSet.of([encode_order(order())]), "oak"
    with pytest.raises(RefusedError) as none_at_all:
        await call(made, Caller(role, OTHERS[role]), method)
    assert str(none_at_all.value) == str(refused.value)


async def test_lists_hold_ones_own_alone(made: Made) -> None:
    seen = {}
    for role, name in [*OWN.items(), *OTHERS.items()]:
        listed = await made.api.list(Caller(role, name), pb.ListRequest())
        seen[role, name] = {view.campaign for view in listed.tracebacks}
    assert seen[Role.ANALYST, "una"] == seen[Role.AUDITOR, "otto"] == {"warranty", "bank"}
    assert seen[Role.REQUESTER, "ann"] == seen[Role.APPROVER, "bob"] == {"warranty"}
    assert seen[Role.REQUESTER, "abe"] == seen[Role.APPROVER, "eve"] == {"bank"}
    assert seen[Role.PROVIDER, "birch"] == {"warranty", "bank"}
    assert seen[Role.PROVIDER, "fir"] == set()


async def test_tasks_are_ones_own_alone(made: Made) -> None:
    for name, expected in (("elm", 2), ("birch", 0)):
        tasks = await made.api.list_tasks(Caller(Role.PROVIDER, name), pb.ListTasksRequest())
        assert len(tasks.tasks) == expected
    request = pb.AnswerTaskRequest(task_id=str(made.task), outcome="not_found", person="Kim")
    with pytest.raises(RefusedError) as refused:
        await made.api.answer_task(Caller(Role.PROVIDER, "birch"), request)
    assert refused.value.code is grpc.StatusCode.NOT_FOUND


async def test_a_requester_submits_her_own_orders_alone_and_each_once(made: Made) -> None:
    ann, abe = Caller(Role.REQUESTER, "ann"), Caller(Role.REQUESTER, "abe")
    request = pb.SubmitRequest(order_sha256=[made.fresh, made.unapproved, bytes(32), made.orders["ann"], made.fresh])
    fresh, unapproved, unknown, old, again = (await made.api.submit(ann, request)).results
    assert fresh.traceback_id
    assert not fresh.existing
    assert "lacks approval" in unapproved.refused
    assert unknown.refused == "there is no such order"
    assert old.existing
    assert old.traceback_id == str(made.tracebacks["ann"])
    assert again.existing
    assert again.traceback_id == fresh.traceback_id
    (others,) = (await made.api.submit(abe, pb.SubmitRequest(order_sha256=[made.fresh]))).results
    assert others.refused == "there is no such order"


async def test_what_was_submitted_can_be_cancelled_once(made: Made) -> None:
    ann = Caller(Role.REQUESTER, "ann")
    (result,) = (await made.api.submit(ann, pb.SubmitRequest(order_sha256=[made.fresh]))).results
    request = pb.CancelRequest(traceback_id=result.traceback_id, reason="a mistake")
    with pytest.raises(RefusedError):
        await made.api.cancel(Caller(Role.REQUESTER, "abe"), request)
    assert (await made.api.cancel(ann, request)).traceback.status == "cancelled"
    with pytest.raises(RefusedError) as refused:
        await made.api.cancel(ann, request)
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


class TestWhoCalls:
    @pytest.mark.parametrize("role", Role)
    def test_is_the_certificates_one_uri(self, role: Role) -> None:
        assert caller_of([caller_uri(role, OWN[role])], LISTED) == Caller(role, OWN[role])

    @pytest.mark.parametrize(
        "uris",
        [
            [],
            ["hopback://analyst/mallory"],
            ["hopback://analyst/una", "hopback://requester/ann"],
            ["hopback://coordinator/lab"],
            ["https://analyst/una"],
            ["hopback://analyst/Una"],
            ["hopback://analyst/una/../otto"],
            ["hopback://provider/"],
        ],
    )
    def test_is_nobody_otherwise(self, uris: list[str]) -> None:
        assert caller_of(uris, LISTED) is None

    def test_has_a_name_in_the_form_of_an_id(self) -> None:
        with pytest.raises(InvalidIdentityError):
            caller_uri(Role.ANALYST, "no name")

    async def test_is_told_apart_from_what_a_role_may_do(self, made: Made) -> None:
        with pytest.raises(RefusedError) as refused:
            made.door.admitted("List", ["hopback://analyst/mallory"])
        assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
