"""Who may call what: every method of every service, by role, addressee and state of the order, over real mutual TLS.

The rows come from the service descriptors: a method that nobody wrote a row for fails the first test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
import pytest

import hopback.v1
from agent.answering import audit_handlers
from agent.ask import ASK
from agent.audit.service import AuditService
from agent.audit.witness import Witness
from agent.handlers import reading_records, refuse_unsigned
from agent.lookups import LOOKUP, LOOKUP_BATCH, UnsignedLookups
from agent.notes import Notes
from agent.server import AgentServer, Listening
from coordinator.authority.lab_ca import LabAuthority
from hopback.v1 import audit_pb2 as audit
from hopback.v1 import lookup_pb2 as lookup
from protos import codec, codec_batch
from protos.errors import read_fault
from protos.hops import Asked
from protos.identity import coordinator_uri
from protos.orders import Granted
from protos.tls import TlsFiles, channel_credentials, provider_channel_options
from protos.types import Outcome, Question
from tests.agent.authority import LAB, Kit, asked, person
from tests.agent.gate.gated import Clock, Gated
from tests.agent.provider import ALDER, BIRCH, CALL_TIME, CALLED, CEDAR, tls

AGENTS = {
    ASK: "answers signed questions",
    LOOKUP: "serves trials",
    LOOKUP_BATCH: "serves trials",
    "/hopback.v1.AuditService/LatestCheckpoint": "shows the log",
    "/hopback.v1.AuditService/ProveConsistency": "shows the log",
    "/hopback.v1.AuditService/ProveAnswer": "shows the log",
    "/hopback.v1.AuditService/Witness": "signs other logs",
}
"""What an agent serves."""

COORDINATORS = {
    "/hopback.v1.DialOutService/Serve",
    "/hopback.v1.EnrolmentService/Enrol",
    "/hopback.v1.EnrolmentService/Renew",
    "/hopback.v1.EnrolmentService/Revocations",
    "/hopback.v1.OrderService/AttachIdentities",
    "/hopback.v1.OrderService/DraftOrders",
    "/hopback.v1.OrderService/GetOrderSet",
    "/hopback.v1.OrderService/ListOrderSets",
    "/hopback.v1.OrderService/SignOrderSet",
    "/hopback.v1.RegistryService/DecideProposal",
    "/hopback.v1.RegistryService/GetProvider",
    "/hopback.v1.RegistryService/ListProposals",
    "/hopback.v1.RegistryService/ListProviders",
    "/hopback.v1.RegistryService/ProposeChange",
    "/hopback.v1.RegistryService/SuggestProviders",
    "/hopback.v1.RelayService/Call",
    "/hopback.v1.ReportService/Participants",
    "/hopback.v1.ReportService/Scorecards",
    "/hopback.v1.ReportService/Transparency",
    "/hopback.v1.TracebackService/AnswerTask",
    "/hopback.v1.TracebackService/Cancel",
    "/hopback.v1.TracebackService/ExportBundle",
    "/hopback.v1.TracebackService/Get",
    "/hopback.v1.TracebackService/List",
    "/hopback.v1.TracebackService/ListTasks",
    "/hopback.v1.TracebackService/MatchTask",
    "/hopback.v1.TracebackService/Submit",
    "/hopback.v1.TracebackService/Watch",
}
"""What the coordinator serves, and no agent."""

ROLES = ("the coordinator", "another coordinator", "a provider", "itself", "a stranger", "nobody")
TENANTS = ("this provider", "another provider", "another coordinator's order")
STATES = ("granted", "missing", "not submitted", "not approved", "approved by its submitter", "expired", "to come")

REFUSED = {
    "missing": "ORDER_MISSING",
    "not submitted": "ORDER_SIGNATURE",
    "not approved": "ORDER_NOT_APPROVED",
    "approved by its submitter": "ORDER_NOT_APPROVED",
    "expired": "ORDER_EXPIRED",
    "to come": "ORDER_EXPIRED",
}


def methods() -> set[str]:
    """Every method that the contract has."""
    found = set()
    for path in Path(next(iter(hopback.v1.__path__))).glob("*_pb2.py"):
        module = import_module(f"hopback.v1.{path.stem}")
        for service in module.DESCRIPTOR.services_by_name.values():
            found |= {f"/{service.full_name}/{method.name}" for method in service.methods}
    return found


def test_every_method_of_the_contract_has_a_row() -> None:
    assert methods() == set(AGENTS) | COORDINATORS


@dataclass(frozen=True)
class World:
    """Everybody's certificates, and what they may bring."""

    kit: Kit
    files: dict[str, TlsFiles]
    clock: Clock


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    now = datetime.now(UTC).replace(microsecond=0)
    kit = Kit(tmp_path_factory.mktemp("kit") / "ca", clock=lambda: now)
    other = LabAuthority.create(tmp_path_factory.mktemp("other"))
    files = {
        "the coordinator": tls(kit.authority.issue_coordinator("lab")),
        "another coordinator": tls(kit.authority.issue_coordinator("other")),
        "a provider": tls(kit.authority.issue_provider("cedar")),
        "itself": tls(kit.authority.issue_provider("birch")),
        "a stranger": tls(other.issue_coordinator("lab")),
    }
    return World(kit, files, Clock(now))


@asynccontextmanager
async def serving(world: World, directory: Path, *, trial: bool) -> AsyncIterator[tuple[str, Gated]]:
    gated = Gated(world.kit, directory, clock=world.clock)
    witness = Witness(gated.book, world.kit.roots, world.clock)
    handlers = {ASK: reading_records(gated.handler.ask), LOOKUP: refuse_unsigned, LOOKUP_BATCH: refuse_unsigned}
    handlers |= audit_handlers(AuditService(gated.book, witness))
    if trial:
        handlers |= UnsignedLookups(gated.desk, Notes(None, world.clock)).handlers()
    server = AgentServer(handlers, Listening("127.0.0.1:0", world.files["itself"], frozenset([LAB])))
    address = await server.start()
    try:
        yield address, gated
    finally:
        await server.stop(0)
        await gated.close()


@asynccontextmanager
async def channel(world: World, address: str, role: str) -> AsyncIterator[grpc.aio.Channel]:
    if role == "nobody":
        credentials = grpc.ssl_channel_credentials(root_certificates=world.files["itself"].roots)
    else:
        credentials = channel_credentials(world.files[role])
    async with grpc.aio.secure_channel(address, credentials, options=provider_channel_options(BIRCH)) as opened:
        yield opened


async def outcome(opened: grpc.aio.Channel, method: str, request: bytes) -> str | bytes:
    """The response, or why there is none: the reason of the fault, else the status."""
    caller: Any = opened.unary_unary
    call = caller(method)
    try:
        response: bytes = await call(request, timeout=10)
    except grpc.aio.AioRpcError as error:
        fault = read_fault(error)
        return error.code().name if fault is None else fault.reason.name
    return response


def order_in(world: World, state: str, coordinator: str) -> Granted:
    kit, now = world.kit, world.clock.now
    times = {
        "expired": {"issued": now - timedelta(hours=72), "expires": now},
        "to come": {"issued": now + timedelta(hours=1), "expires": now + timedelta(hours=2)},
    }
    order = kit.order(coordinator=coordinator, **times.get(state, {}))
    if state == "not submitted":
        return kit.grant([order], submitter=person("mallory"))[0]
    if state == "not approved":
        return kit.grant([order], approvers=(person("mallory"),))[0]
    if state == "approved by its submitter":
        return kit.grant([order], approvers=(person("ann"),))[0]
    return kit.grant([order])[0]


def ask_request(world: World, role: str, tenant: str, state: str) -> tuple[bytes, Asked]:
    kit = world.kit
    granted = order_in(world, state, "other" if tenant == "another coordinator's order" else "lab")
    question = kit.ask(granted, target=CEDAR if tenant == "another provider" else BIRCH)
    sealed_by = {
        "the coordinator": kit.lab,
        "another coordinator": kit.party(coordinator_uri("other")),
        "a provider": kit.provider(CEDAR),
        "itself": kit.provider(BIRCH),
    }.get(role, kit.lab)
    orders = [] if state == "missing" else [granted]
    return kit.envelope([question], orders, by=sealed_by), asked(question)


def expected(role: str, tenant: str, state: str) -> str:
    """What a cell of the matrix must come to."""
    if role in ("a stranger", "nobody"):
        return "UNAVAILABLE"
    if role != "the coordinator":
        return "NOT_A_COORDINATOR"
    if tenant == "another provider":
        return "WRONG_TARGET"
    if state == "missing":
        return REFUSED[state]
    if tenant == "another coordinator's order":
        return "ORDER_INVALID"
    return REFUSED.get(state, "UPSTREAM")


@pytest.mark.parametrize("role", ROLES)
async def test_ask_gives_data_in_one_cell_alone(world: World, tmp_path: Path, role: str) -> None:
    wrong = {}
    cells = 0
    async with (
        serving(world, tmp_path / "agent", trial=True) as (address, gated),
        channel(world, address, role) as opened,
    ):
        for tenant, state in product(TENANTS, STATES):
            request, one = ask_request(world, role, tenant, state)
            reads = gated.records.reads
            got = await outcome(opened, ASK, request)
            if isinstance(got, bytes):
                ((answer, _),) = gated.check(got, [one])
                got = answer.refusal.name if answer.outcome is Outcome.REFUSED else answer.outcome.name
            cells += 1
            due = expected(role, tenant, state)
            if got != due or (gated.records.reads > reads) != (due == "UPSTREAM"):
                wrong[tenant, state] = got
    assert wrong == {}
    assert cells == len(TENANTS) * len(STATES)


def unsigned(target: Any) -> dict[str, bytes]:
    now = datetime.now(UTC)
    question = Question(
        UUID(int=1),
        target,
        CALLED,
        CALL_TIME,
        timedelta(seconds=60),
        None,
        None,
        now + timedelta(minutes=1),
    )
    return {
        LOOKUP: lookup.LookupRequest(question=codec.encode_question(question)).SerializeToString(),
        LOOKUP_BATCH: lookup.LookupBatchRequest(batch=codec_batch.encode_questions([question])).SerializeToString(),
    }


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("trial", [True, False], ids=["trial", "no trial"])
async def test_unsigned_lookups_are_for_trials_and_for_the_coordinator(
    world: World, tmp_path: Path, role: str, trial: bool
) -> None:
    async with serving(world, tmp_path / "agent", trial=trial) as (address, gated):
        async with channel(world, address, role) as opened:
            for target in (BIRCH, CEDAR):
                for method, request in unsigned(target).items():
                    got = await outcome(opened, method, request)
                    due = expected(role, "this provider", "granted")
                    if due != "UPSTREAM":
                        assert got == due
                    elif not trial:
                        assert got == "ORDER_REQUIRED"
                    elif target == CEDAR:
                        assert got == "WRONG_TARGET"
                    else:
                        assert isinstance(got, bytes)
                        assert ALDER.encode() in got
        assert gated.records.reads == (2 if trial and role == "the coordinator" else 0)


def audit_requests() -> dict[str, bytes]:
    service = "/hopback.v1.AuditService/"
    return {
        service + "LatestCheckpoint": audit.LatestCheckpointRequest().SerializeToString(),
        service + "ProveConsistency": audit.ProveConsistencyRequest(first=0).SerializeToString(),
        service + "ProveAnswer": audit.ProveAnswerRequest(question_sha256=bytes(32)).SerializeToString(),
        service + "Witness": audit.WitnessRequest().SerializeToString(),
    }


@pytest.mark.parametrize("role", ROLES)
async def test_the_log_is_shown_to_the_coordinator_alone(world: World, tmp_path: Path, role: str) -> None:
    async with serving(world, tmp_path / "agent", trial=False) as (address, gated):
        async with channel(world, address, role) as opened:
            for method, request in audit_requests().items():
                got = await outcome(opened, method, request)
                due = expected(role, "this provider", "granted")
                if due != "UPSTREAM":
                    assert got == due, method
                else:
                    assert isinstance(got, bytes) or got == "INVALID_FIELD", method
        assert gated.records.reads == 0


@pytest.mark.parametrize("role", ROLES)
async def test_an_agent_serves_nothing_else(world: World, tmp_path: Path, role: str) -> None:
    async with serving(world, tmp_path / "agent", trial=True) as (address, _), channel(world, address, role) as opened:
        for method in sorted((methods() - set(AGENTS)) | {"/hopback.v1.HopService/Tell", "/hopback.v1.Admin/Do"}):
            assert await outcome(opened, method, b"") in ("UNIMPLEMENTED", "UNAVAILABLE"), method
