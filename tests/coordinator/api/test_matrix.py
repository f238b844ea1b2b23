"""Role by method by tenant: every cell, from the service's own descriptor; a method without a row fails."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from sqlalchemy import Engine

from coordinator.api.callers import ALLOWED, SERVICE, Caller, Role, caller_of, caller_uri
from coordinator.api.service import RefusedError
from hopback.v1 import traceback_pb2 as pb
from protos.identity import InvalidIdentityError
from tests.coordinator.api.house import LISTED, Made, make
from tests.coordinator.parties import Parties

METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name[SERVICE.rpartition(".")[2]].methods]

OWN = {
    Role.REQUESTER: "ann",
    Role.APPROVER: "bob",
    Role.ANALYST: "una",
    Role.AUDITOR: "otto",
    Role.PROVIDER: "birch",
}
"""For each role somebody who has a part in ann's traceback."""
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


async def call(made: Made, caller: Caller, method: str) -> Any:
    """One call about ann's traceback and the task of elm, as it comes over the wire."""
    admitted = made.api.admitted(method, [caller_uri(caller.role, caller.name)])
    traceback = str(made.tracebacks["ann"])
    match method:
        case "Submit":
            return await made.api.submit(admitted, pb.SubmitRequest(order_sha256=[made.fresh]))
        case "Get":
            return await made.api.get(admitted, pb.GetRequest(traceback_id=traceback))
        case "List":
            return await made.api.list(admitted, pb.ListRequest())
        case "Watch":
            return [state async for state in made.api.watch(admitted, pb.WatchRequest(traceback_id=traceback))]
        case "Cancel":
            return await made.api.cancel(admitted, pb.CancelRequest(traceback_id=traceback, reason="test"))
        case "ListTasks":
            return await made.api.list_tasks(admitted, pb.ListTasksRequest())
        case "AnswerTask":
            request = pb.AnswerTaskRequest(task_id=str(made.task), outcome="not_found", person="Kim")
            return await made.api.answer_task(admitted, request)
    raise AssertionError(f"no test knows how to call {method}")


def test_every_method_has_a_row() -> None:
    assert sorted(ALLOWED) == sorted(METHODS)


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
    [(role, method) for role in OTHERS for method in ("Get", "Watch", "Cancel") if role in ALLOWED[method]],
)
async def test_somebody_without_a_part_in_it_sees_nothing_not_even_that_it_is_there(
    made: Made, role: Role, method: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        await call(made, Caller(role, OTHERS[role]), method)
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    missing = pb.GetRequest(traceback_id=str(uuid.UUID(int=1)))
    with pytest.raises(RefusedError) as none_at_all:
        await made.api.get(Caller(role, OTHERS[role]), missing)
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
    for name, expected in (("elm", 1), ("birch", 0)):
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
            made.api.admitted("List", ["hopback://analyst/mallory"])
        assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
