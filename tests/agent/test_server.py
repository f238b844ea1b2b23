"""The agent's server over real mutual TLS: who may ask, what is refused before a record is read, what an error says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agent.handlers import Handlers, reading_records
from agent.journal import Journal
from agent.lookups import SERVICE, SLICE, UnsignedLookups
from agent.notes import Notes
from agent.server import AgentServer, CannotListenError, Listening
from coordinator.authority.lab_ca import LabAuthority
from hopback.v1 import lookup_pb2 as pb
from protos import codec, codec_batch
from protos.e164 import parse_e164
from protos.errors import Fault, read_fault
from protos.identity import ProviderId
from protos.tls import TlsFiles, channel_credentials, provider_channel_options
from protos.types import Answer, ErrorReason, Outcome, Question, RefusalReason
from tests.agent.provider import (
    ALDER,
    BIRCH,
    CALLED,
    CEDAR,
    LEG,
    OTHER,
    UNREADABLE,
    FakeRecords,
    desk,
    question,
    some_records,
    tls,
)

LAB = "hopback://coordinator/lab"


@dataclass(frozen=True)
class Parties:
    """Certificates of everybody in these tests."""

    birch: TlsFiles
    lab: TlsFiles
    other_coordinator: TlsFiles
    cedar: TlsFiles
    stranger: TlsFiles


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    one = LabAuthority.create(tmp_path_factory.mktemp("ca"))
    another = LabAuthority.create(tmp_path_factory.mktemp("other-ca"))
    return Parties(
        birch=tls(one.issue_provider("birch")),
        lab=tls(one.issue_coordinator("lab")),
        other_coordinator=tls(one.issue_coordinator("other")),
        cedar=tls(one.issue_provider("cedar")),
        stranger=tls(another.issue_coordinator("lab")),
    )


def lookups(records: FakeRecords, journal: Journal | None = None) -> Handlers:
    """The unsigned methods, as a trial serves them."""
    asked = desk(records)
    handlers = UnsignedLookups(asked, Notes(journal, asked.clock)).handlers()
    return {name: reading_records(handler) for name, handler in handlers.items()}


@asynccontextmanager
async def serving(
    parties: Parties, records: FakeRecords, *, journal: Journal | None = None, reflection: bool = False
) -> AsyncIterator[str]:
    listening = Listening("127.0.0.1:0", parties.birch, frozenset([LAB]), reflection)
    server = AgentServer(lookups(records, journal), listening)
    address = await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


@asynccontextmanager
async def channel(address: str, files: TlsFiles, to: ProviderId = BIRCH) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.secure_channel(
        address, channel_credentials(files), options=provider_channel_options(to)
    ) as opened:
        yield opened


async def send(opened: grpc.aio.Channel, method: str, request: bytes) -> bytes:
    """The raw response to raw bytes."""
    call: Any = opened.unary_unary
    answered: bytes = await call(f"/{SERVICE}/{method}")(request, timeout=10)
    return answered


async def ask(opened: grpc.aio.Channel, asked: Question) -> Answer:
    exact = codec.encode_question(asked)
    response = pb.LookupResponse()
    response.ParseFromString(await send(opened, "Lookup", pb.LookupRequest(question=exact).SerializeToString()))
    return codec.decode_answer(response.answer, question_sha256=codec.digest(exact), expected=asked.target)


async def ask_many(opened: grpc.aio.Channel, asked: list[Question]) -> list[Answer]:
    exact = codec_batch.encode_questions(asked)
    response = pb.LookupBatchResponse()
    response.ParseFromString(await send(opened, "LookupBatch", pb.LookupBatchRequest(batch=exact).SerializeToString()))
    return codec_batch.decode_answers(
        response.batch, batch_sha256=codec.digest(exact), expected=BIRCH, count=len(asked)
    )


async def refused(opened: grpc.aio.Channel, method: str, request: bytes) -> tuple[grpc.StatusCode, Fault | None, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(opened, method, request)
    return caught.value.code(), read_fault(caught.value), caught.value.details() or ""


def envelope(asked: Question) -> bytes:
    return pb.LookupRequest(question=codec.encode_question(asked)).SerializeToString()


def batch_envelope(asked: list[Question]) -> bytes:
    return pb.LookupBatchRequest(batch=codec_batch.encode_questions(asked)).SerializeToString()


class TestACoordinatorThatIsTrusted:
    async def test_gets_an_answer_bound_to_its_question(self, parties: Parties) -> None:
        async with serving(parties, some_records()) as address, channel(address, parties.lab) as opened:
            answer = await ask(opened, question())
        assert answer == Answer(BIRCH, Outcome.UPSTREAM, upstream=ALDER)

    async def test_gets_for_a_batch_what_it_gets_one_by_one(self, parties: Parties) -> None:
        asked = [
            question(),
            question(called=OTHER, named_by=CEDAR),
            question(named_by=ProviderId("stranger")),
            question(window=timedelta(seconds=300)),
            question(called=parse_e164("+12025550100")),
        ]
        async with serving(parties, some_records()) as address, channel(address, parties.lab) as opened:
            assert await ask_many(opened, asked) == [await ask(opened, one) for one in asked]

    async def test_gets_a_batch_longer_than_one_slice_whole_and_in_order(self, parties: Parties) -> None:
        asked = [question(called=CALLED if i % 2 else OTHER) for i in range(2 * SLICE + 1)]
        async with serving(parties, some_records()) as address, channel(address, parties.lab) as opened:
            outcomes = [answer.outcome for answer in await ask_many(opened, asked)]
        assert outcomes == [Outcome.UPSTREAM if i % 2 else Outcome.ORIGINATED_HERE for i in range(len(asked))]

    async def test_gets_refusals_as_answers_not_as_errors(self, parties: Parties) -> None:
        records = some_records()
        async with serving(parties, records) as address, channel(address, parties.lab) as opened:
            answer = await ask(opened, question(window=timedelta(seconds=121)))
        assert answer == Answer(BIRCH, Outcome.REFUSED, refusal=RefusalReason.WINDOW_TOO_WIDE)
        assert records.reads == 0

    async def test_gets_what_was_indexed_after_a_restart(self, parties: Parties) -> None:
        records = some_records()
        for _ in range(2):
            async with serving(parties, records) as address, channel(address, parties.lab) as opened:
                assert (await ask(opened, question())).upstream == ALDER


class TestWhoMayNotAsk:
    @pytest.mark.parametrize("who", ["cedar", "other_coordinator", "birch"])
    async def test_another_party_of_the_same_authority_is_told_so(self, parties: Parties, who: str) -> None:
        records = some_records()
        async with serving(parties, records) as address, channel(address, getattr(parties, who)) as opened:
            for method, request in (("Lookup", envelope(question())), ("LookupBatch", batch_envelope([question()]))):
                code, fault, _ = await refused(opened, method, request)
                assert code is grpc.StatusCode.PERMISSION_DENIED
                assert fault is not None
                assert fault.reason is ErrorReason.NOT_A_COORDINATOR
        assert records.reads == 0

    @pytest.mark.parametrize("who", ["cedar", "other_coordinator", "birch"])
    async def test_nor_after_a_coordinator_was_let_in(self, parties: Parties, who: str) -> None:
        records = some_records()
        async with serving(parties, records) as address:
            for _ in range(2):
                async with channel(address, parties.lab) as opened:
                    assert (await ask(opened, question())).upstream == ALDER
                read = records.reads
                async with channel(address, getattr(parties, who)) as opened:
                    code, _, _ = await refused(opened, "Lookup", envelope(question()))
                assert code is grpc.StatusCode.PERMISSION_DENIED
                assert records.reads == read

    async def test_nor_a_coordinator_over_an_older_tls_than_it_was_let_in_by(self, parties: Parties) -> None:
        class Call:
            def __init__(self, version: bytes) -> None:
                self.proved = {"ssl_tls_version": [version], "peer_uri": [LAB.encode()]}

            def auth_context(self) -> dict[str, list[bytes]]:
                return self.proved

        server = AgentServer(lookups(some_records()), Listening("127.0.0.1:0", parties.birch, frozenset([LAB])))
        for _ in range(2):
            server._admit(Call(b"TLSv1.3"))
            with pytest.raises(Exception, match="does not know the coordinator"):
                server._admit(Call(b"TLSv1.2"))

    async def test_a_party_of_another_authority_gets_no_connection(self, parties: Parties) -> None:
        foreign = replace(parties.stranger, roots=parties.lab.roots)
        async with serving(parties, some_records()) as address, channel(address, foreign) as opened:
            code, fault, _ = await refused(opened, "Lookup", envelope(question()))
        assert (code, fault) == (grpc.StatusCode.UNAVAILABLE, None)

    async def test_a_party_without_a_certificate_gets_no_connection(self, parties: Parties) -> None:
        anonymous = grpc.ssl_channel_credentials(root_certificates=parties.lab.roots)
        async with (
            serving(parties, some_records()) as address,
            grpc.aio.secure_channel(address, anonymous, options=provider_channel_options(BIRCH)) as opened,
        ):
            code, fault, _ = await refused(opened, "Lookup", envelope(question()))
        assert (code, fault) == (grpc.StatusCode.UNAVAILABLE, None)

    async def test_a_party_without_tls_gets_no_connection(self, parties: Parties) -> None:
        async with serving(parties, some_records()) as address, grpc.aio.insecure_channel(address) as opened:
            code, _, _ = await refused(opened, "Lookup", envelope(question()))
        assert code is grpc.StatusCode.UNAVAILABLE

    async def test_a_client_that_expects_another_provider_does_not_talk_to_this_one(self, parties: Parties) -> None:
        records = some_records()
        async with serving(parties, records) as address, channel(address, parties.lab, to=CEDAR) as opened:
            code, _, _ = await refused(opened, "Lookup", envelope(question()))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert records.reads == 0


BAD_ENVELOPES = [
    ("Lookup", b"\xff\xff", ErrorReason.MALFORMED),
    ("Lookup", b"", ErrorReason.INVALID_FIELD),
    ("Lookup", pb.LookupRequest(question=b"\xff").SerializeToString(), ErrorReason.MALFORMED),
    (
        "Lookup",
        pb.LookupRequest(question=pb.Question(called_number="5550143").SerializeToString()).SerializeToString(),
        ErrorReason.INVALID_FIELD,
    ),
    ("Lookup", pb.LookupRequest(question=b"a" * 4097).SerializeToString(), ErrorReason.INVALID_FIELD),
    ("LookupBatch", b"\xff\xff", ErrorReason.MALFORMED),
    ("LookupBatch", b"", ErrorReason.INVALID_FIELD),
    (
        "LookupBatch",
        pb.LookupBatchRequest(
            batch=pb.QuestionBatch(
                target="birch", question_ids=bytes(16), called_numbers=[12025550143], deadline_unix_ms=1
            ).SerializeToString()
        ).SerializeToString(),
        ErrorReason.BATCH_COLUMNS,
    ),
]


class TestAMessageThatIsNoQuestion:
    @pytest.mark.parametrize(("method", "request_bytes", "reason"), BAD_ENVELOPES)
    async def test_is_refused_with_its_reason_before_any_record_is_read(
        self, parties: Parties, method: str, request_bytes: bytes, reason: ErrorReason
    ) -> None:
        records = some_records()
        async with serving(parties, records) as address, channel(address, parties.lab) as opened:
            code, fault, details = await refused(opened, method, request_bytes)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert fault is not None
        assert fault.reason is reason
        assert fault.message == details
        assert "5550143" not in details
        assert records.reads == 0

    async def test_names_the_fields_that_break_a_rule(self, parties: Parties) -> None:
        broken = pb.Question(target="birch", called_number="+12025550143", at_unix_ms=1, deadline_unix_ms=1)
        request = pb.LookupRequest(question=broken.SerializeToString()).SerializeToString()
        async with serving(parties, some_records()) as address, channel(address, parties.lab) as opened:
            _, fault, _ = await refused(opened, "Lookup", request)
        assert fault is not None
        assert set(fault.fields) == {"question_id", "window_ms"}

    async def test_but_for_another_provider_is_refused_as_such(self, parties: Parties) -> None:
        records = some_records()
        elsewhere = question(target=CEDAR)
        async with serving(parties, records) as address, channel(address, parties.lab) as opened:
            for method, request in (("Lookup", envelope(elsewhere)), ("LookupBatch", batch_envelope([elsewhere]))):
                code, fault, _ = await refused(opened, method, request)
                assert code is grpc.StatusCode.FAILED_PRECONDITION
                assert fault is not None
                assert fault.reason is ErrorReason.WRONG_TARGET
        assert records.reads == 0

    async def test_whatever_it_is_gets_an_answer_or_a_coded_fault(self, parties: Parties) -> None:
        good = envelope(question())

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            st.sampled_from(["Lookup", "LookupBatch"]),
            st.binary(max_size=60)
            | st.tuples(st.integers(0, len(good) - 1), st.integers(1, 255)).map(
                lambda change: good[: change[0]] + bytes([good[change[0]] ^ change[1]]) + good[change[0] + 1 :]
            ),
        )
        def fuzz(method: str, request: bytes) -> None:
            requests.append((method, request))

        requests: list[tuple[str, bytes]] = []
        fuzz()
        async with serving(parties, some_records()) as address, channel(address, parties.lab) as opened:
            for method, request in requests:
                try:
                    await send(opened, method, request)
                except grpc.aio.AioRpcError as error:
                    fault = read_fault(error)
                    assert fault is not None, error.details()  # noqa: PT017 (an answer is as good)
                    assert fault.code is error.code()  # noqa: PT017 (an answer is as good)


class TestAFailureOfOurs:
    async def test_to_read_the_records_is_said_without_saying_where_they_are(self, parties: Parties) -> None:
        broken = FakeRecords({}, broken=UNREADABLE)
        async with serving(parties, broken) as address, channel(address, parties.lab) as opened:
            code, fault, details = await refused(opened, "Lookup", envelope(question()))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert fault is not None
        assert fault.reason is ErrorReason.STORE_UNAVAILABLE
        assert "secret" not in details

    async def test_that_nobody_foresaw_is_reported_without_its_text(self, parties: Parties) -> None:
        broken = FakeRecords({}, broken=KeyError("+12025550143"))
        async with serving(parties, broken) as address, channel(address, parties.lab) as opened:
            code, fault, details = await refused(opened, "Lookup", envelope(question()))
        assert (code, fault) == (grpc.StatusCode.INTERNAL, None)
        assert "555" not in details

    async def test_to_keep_an_explanation_stops_no_answer(self, parties: Parties, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "kept")
        (tmp_path / "kept").rmdir()
        async with (
            serving(parties, some_records(), journal=journal) as address,
            channel(address, parties.lab) as opened,
        ):
            assert (await ask(opened, question())).upstream == ALDER

    async def test_to_listen_is_said_before_anything_is_served(self, parties: Parties) -> None:
        async with serving(parties, some_records()) as address:
            second = AgentServer(lookups(some_records()), Listening(address, parties.birch, frozenset([LAB])))
            with pytest.raises(CannotListenError, match="port is taken"):
                await second.start()


async def test_an_explanation_of_every_answer_is_kept_when_the_operator_wants_it(
    parties: Parties, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "kept")
    async with serving(parties, some_records(), journal=journal) as address, channel(address, parties.lab) as opened:
        await ask(opened, question())
        await ask_many(opened, [question(), question(called=OTHER)])
    (file,) = (tmp_path / "kept").iterdir()
    assert [json.loads(line)["verdict"] for line in file.read_text().splitlines()] == ["found"] * 3


async def test_a_trunk_that_is_not_mapped_is_told_to_the_operator_and_to_nobody_else(parties: Parties) -> None:
    records = FakeRecords({CALLED: [LEG._replace(ingress_trunk="IN-NEW")]})
    async with serving(parties, records) as address, channel(address, parties.lab) as opened:
        with capture_logs() as logs:
            answer = await ask(opened, question())
    assert answer == Answer(BIRCH, Outcome.UNMAPPED)
    (told,) = [entry for entry in logs if entry["event"] == "trunk_not_mapped"]
    assert (told["trunk"], told["source"], told["row"]) == ("IN-NEW", "acc", 7)


async def test_a_call_whose_upstream_is_not_recorded_is_no_fault_of_the_trunk_map(parties: Parties) -> None:
    records = FakeRecords({CALLED: [LEG._replace(ingress_trunk=None, ingress_address=None)]})
    async with serving(parties, records) as address, channel(address, parties.lab) as opened:
        with capture_logs() as logs:
            answer = await ask(opened, question())
    assert answer == Answer(BIRCH, Outcome.NOT_RECORDED)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["upstream_not_recorded"]


async def check(opened: grpc.aio.Channel, service: str) -> int:
    call: Any = opened.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    status: int = (await call(health_pb2.HealthCheckRequest(service=service))).status
    return status


async def test_health_is_serving_for_the_agent_and_its_service(parties: Parties) -> None:
    async with serving(parties, some_records()) as address, channel(address, parties.lab) as opened:
        for service in ("", SERVICE):
            assert await check(opened, service) == health_pb2.HealthCheckResponse.SERVING


async def services_by_reflection(opened: grpc.aio.Channel) -> set[str]:
    from grpc_reflection.v1alpha import reflection_pb2

    call: Any = opened.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    found: set[str] = set()
    async for response in call(iter([reflection_pb2.ServerReflectionRequest(list_services="")])):
        found |= {service.name for service in response.list_services_response.service}
    return found


class TestReflection:
    async def test_is_off_unless_configured(self, parties: Parties) -> None:
        async with serving(parties, some_records()) as address, channel(address, parties.lab) as opened:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await services_by_reflection(opened)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async def test_lists_the_service_when_configured(self, parties: Parties) -> None:
        async with (
            serving(parties, some_records(), reflection=True) as address,
            channel(address, parties.lab) as opened,
        ):
            assert SERVICE in await services_by_reflection(opened)


async def test_calls_under_way_are_answered_while_the_agent_stops(parties: Parties) -> None:
    records = some_records()
    server = AgentServer(lookups(records), Listening("127.0.0.1:0", parties.birch, frozenset([LAB])))
    address = await server.start()
    async with channel(address, parties.lab) as opened:
        await check(opened, SERVICE)

        async def stop_once_it_reads() -> None:
            while records.reads == 0:
                await asyncio.sleep(0)
            await server.stop(10)

        asked = [question() for _ in range(20 * SLICE)]
        answers, _ = await asyncio.gather(ask_many(opened, asked), stop_once_it_reads())
    assert {answer.upstream for answer in answers} == {ALDER}
