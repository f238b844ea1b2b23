"""Agents that open no port: who they are, what happens when the wire breaks, and that nothing is answered twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups import dialout
from coordinator.lookups.dialout import MOST_STREAMS, SERVICE, DialedAgents
from coordinator.serve import CoordinatorServer
from coordinator.tracing.ports import (
    DIAL_OUT,
    AgentError,
    AttemptTimedOutError,
    BadAnswerError,
    Provider,
    UnreachableError,
)
from hopback.v1 import enrolment_pb2 as pb
from protos.errors import read_fault
from protos.identity import ProviderId
from protos.live import Live
from protos.tls import TlsFiles, channel_credentials, coordinator_channel_options
from protos.types import ErrorReason
from tests.coordinator.make import provider
from tests.coordinator.transports import COORDINATOR, coordinator_files, dialing, provider_files, switchboard
from tests.faults.proxy import Direction, Kind, NetworkFault, Stage, proxy

ASK = "/hopback.v1.HopService/Ask"
PATIENT = timedelta(seconds=10)
BIRCH, ALDER = provider("birch"), provider("alder")
ENTRY, OTHER = Provider(BIRCH, "Birch", DIAL_OUT), Provider(ALDER, "Alder", DIAL_OUT)


def answering(with_what: bytes) -> Any:
    async def answer(request: bytes, asker: tuple[str, ...]) -> bytes:
        return with_what

    return {ASK: answer}


async def until_gone(dialed: DialedAgents, who: ProviderId) -> None:
    while who in dialed.connected():
        await asyncio.sleep(0)


@asynccontextmanager
async def raw_stream(
    authority: LabAuthority, endpoint: str, files: TlsFiles | None = None, coordinator: str = COORDINATOR
) -> AsyncIterator[Any]:
    """A stream as an agent of another make, or a hostile one, might open it."""
    shown = files or provider_files(authority, "birch")
    async with grpc.aio.secure_channel(
        endpoint, channel_credentials(shown), options=coordinator_channel_options(coordinator)
    ) as channel:
        call: Any = channel.stream_stream(f"/{SERVICE}/Serve", None, None)
        yield call()


HELLO = pb.ServeRequest(hello=pb.ServeHello(version="test")).SerializeToString()


class TestWhoAnAgentIs:
    async def test_says_its_certificate_alone(self, authority: LabAuthority) -> None:
        async with (
            switchboard(authority) as (dialed, address),
            dialing(authority, address, answering(b"birch"), "birch"),
            dialing(authority, address, answering(b"alder"), "alder"),
        ):
            await dialed.arrival(BIRCH)
            await dialed.arrival(ALDER)
            assert await dialed.call(ENTRY, ASK, b"", PATIENT) == b"birch"
            assert await dialed.call(OTHER, ASK, b"", PATIENT) == b"alder"

    async def test_is_no_provider_with_a_coordinators_certificate(self, authority: LabAuthority) -> None:
        async with (
            switchboard(authority) as (dialed, address),
            raw_stream(authority, address, coordinator_files(authority)) as stream,
        ):
            assert await stream.code() is grpc.StatusCode.PERMISSION_DENIED
            assert dialed.connected() == {}

    async def test_of_another_root_never_gets_a_stream(self, authority: LabAuthority, tmp_path: Path) -> None:
        stranger = LabAuthority.create(tmp_path)
        theirs = provider_files(stranger, "birch")
        async with switchboard(authority) as (dialed, address), raw_stream(authority, address, theirs) as stream:
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE
            assert dialed.connected() == {}

    async def test_that_is_revoked_never_gets_a_stream_and_loses_the_one_it_has(self, authority: LabAuthority) -> None:
        reason: dict[ProviderId, str] = {}
        dialed = DialedAgents(lambda provider, serial: reason.get(provider) if serial else "no serial number")
        server = CoordinatorServer(Live(coordinator_files(authority)), "127.0.0.1:0", {SERVICE: dialed.handlers()})
        address = (await server.start()).address
        async with dialing(authority, address, answering(b"x")):
            await dialed.arrival(BIRCH)
            reason[BIRCH] = "its certificate is revoked"
            dialed.review()
            with pytest.raises(UnreachableError):
                await dialed.call(ENTRY, ASK, b"", PATIENT)
            async with raw_stream(authority, address) as stream:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stream.read()
            fault = read_fault(caught.value)
            assert fault is not None
            assert fault.reason is ErrorReason.REVOKED
            await until_gone(dialed, BIRCH)
        await server.stop(0)


class TestAnAgent:
    async def test_calls_nobody_who_is_another_coordinator(self, authority: LabAuthority) -> None:
        async with (
            switchboard(authority) as (dialed, address),
            proxy(address) as line,
            dialing(authority, line.endpoint, answering(b"x"), coordinator="hopback://coordinator/other") as agent,
        ):
            while line.connections < 2 and not agent.serving.is_set():
                await asyncio.sleep(0)
            assert not agent.serving.is_set()
            assert dialed.connected() == {}

    async def test_calls_nobody_whose_root_it_has_not_pinned(self, authority: LabAuthority, tmp_path: Path) -> None:
        stranger = LabAuthority.create(tmp_path)
        async with (
            switchboard(stranger) as (dialed, address),
            proxy(address) as line,
            dialing(authority, line.endpoint, answering(b"x")) as agent,
        ):
            while line.connections < 2 and not agent.serving.is_set():
                await asyncio.sleep(0)
            assert not agent.serving.is_set()
            assert dialed.connected() == {}


class TestABrokenWire:
    async def test_in_the_middle_of_a_request_is_a_clean_error_and_the_next_request_is_answered(
        self, authority: LabAuthority
    ) -> None:
        started = asyncio.Event()

        async def answer(request: bytes, asker: tuple[str, ...]) -> bytes:
            if request == b"cut":
                started.set()
                await asyncio.Event().wait()
            return request

        async with (
            switchboard(authority) as (dialed, address),
            proxy(address) as line,
            dialing(authority, line.endpoint, {ASK: answer}) as agent,
        ):
            await dialed.arrival(BIRCH)
            under_way = asyncio.create_task(dialed.call(ENTRY, ASK, b"cut", PATIENT))
            await started.wait()
            line.hang_up()
            with pytest.raises(UnreachableError, match="hung up"):
                await under_way
            await agent.serving.wait()
            await dialed.arrival(BIRCH)
            assert await dialed.call(ENTRY, ASK, b"again", PATIENT) == b"again"

    async def test_again_and_again_doubles_nothing_and_ends_nothing(self, authority: LabAuthority) -> None:
        """Whoever asks again when told to asks until it has its answer: every answer is to its own request."""
        handled: Counter[bytes] = Counter()

        async def answer(request: bytes, asker: tuple[str, ...]) -> bytes:
            handled[request] += 1
            await asyncio.sleep(0)
            return request[::-1]

        async with (
            switchboard(authority) as (dialed, address),
            proxy(address) as line,
            dialing(authority, line.endpoint, {ASK: answer}),
        ):
            await dialed.arrival(BIRCH)
            attempts: Counter[bytes] = Counter()
            answered = asyncio.Semaphore(0)

            async def persist(request: bytes) -> bytes:
                while True:
                    await dialed.arrival(BIRCH)
                    attempts[request] += 1
                    try:
                        got = await dialed.call(ENTRY, ASK, request, PATIENT)
                        answered.release()
                        return got
                    except UnreachableError:
                        continue

            async def cutting() -> None:
                for _ in range(5):
                    for _ in range(30):
                        await answered.acquire()
                    line.hang_up()

            asked = [b"%d" % n for n in range(300)]
            places = asyncio.Semaphore(20)

            async def in_turn(request: bytes) -> bytes:
                async with places:
                    return await persist(request)

            cutter = asyncio.create_task(cutting())
            got = await asyncio.gather(*(in_turn(request) for request in asked))
            await cutter
        assert got == [request[::-1] for request in asked]
        assert line.connections >= 5
        assert all(handled[request] <= attempts[request] for request in asked)

    async def test_that_only_goes_silent_costs_one_timeout_and_then_another_stream_is_asked(
        self, authority: LabAuthority
    ) -> None:
        async with (
            switchboard(authority) as (dialed, address),
            proxy(address) as line,
            dialing(authority, line.endpoint, answering(b"silent")),
        ):
            await dialed.arrival(BIRCH)
            line.strike(NetworkFault(Kind.BLACK_HOLE, Direction.THERE, Stage.AT_ONCE))
            async with dialing(authority, address, answering(b"sound")):
                await dialed.arrival(BIRCH, 2)
                results = Counter()  # type: Counter[object]
                for _ in range(6):
                    try:
                        results[await dialed.call(ENTRY, ASK, b"", timedelta(milliseconds=300))] += 1
                    except AttemptTimedOutError:
                        results["timeout"] += 1
            assert results == {"timeout": 1, b"sound": 5}

    async def test_at_a_coordinator_that_restarts_is_mended_by_itself(self, authority: LabAuthority) -> None:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(AsyncExitStack())
            dialed, address = await first.enter_async_context(switchboard(authority))
            agent = await stack.enter_async_context(dialing(authority, address, answering(b"x")))
            await dialed.arrival(BIRCH)
            await first.aclose()
            with pytest.raises(UnreachableError):
                await dialed.call(ENTRY, ASK, b"", PATIENT)
            again, _ = await stack.enter_async_context(switchboard(authority, address=address))
            await again.arrival(BIRCH)
            await agent.serving.wait()
            assert await again.call(ENTRY, ASK, b"", PATIENT) == b"x"


class TestSeveralAgentsOfOneProvider:
    async def test_are_asked_in_turn(self, authority: LabAuthority) -> None:
        async with (
            switchboard(authority) as (dialed, address),
            dialing(authority, address, answering(b"one")),
            dialing(authority, address, answering(b"other")),
        ):
            await dialed.arrival(BIRCH, 2)
            got = Counter([await dialed.call(ENTRY, ASK, b"", PATIENT) for _ in range(6)])
        assert got == {b"one": 3, b"other": 3}

    async def test_answer_for_each_other_when_one_goes(self, authority: LabAuthority) -> None:
        async with switchboard(authority) as (dialed, address), dialing(authority, address, answering(b"stays")):
            async with dialing(authority, address, answering(b"goes")):
                await dialed.arrival(BIRCH, 2)
            assert {await dialed.call(ENTRY, ASK, b"", PATIENT) for _ in range(4)} == {b"stays"}

    async def test_hold_so_many_streams_at_most_the_newest(self, authority: LabAuthority) -> None:
        async with switchboard(authority) as (dialed, address), AsyncExitStack() as stack:
            streams = []
            for number in range(MOST_STREAMS + 1):
                stream = await stack.enter_async_context(raw_stream(authority, address))
                await stream.write(HELLO)
                await stream.initial_metadata()
                if number < MOST_STREAMS:
                    await dialed.arrival(BIRCH, number + 1)
                streams.append(stream)
            assert await streams[0].code() is grpc.StatusCode.OK
            await dialed.arrival(BIRCH, MOST_STREAMS)
            assert dialed.connected() == {BIRCH: MOST_STREAMS}


class TestASlowAgent:
    async def test_holds_back_nobody_else(self, authority: LabAuthority) -> None:
        gate = asyncio.Event()

        async def wait(request: bytes, asker: tuple[str, ...]) -> bytes:
            await gate.wait()
            return request

        async with (
            switchboard(authority) as (dialed, address),
            dialing(authority, address, {ASK: wait}, "birch"),
            dialing(authority, address, answering(b"quick"), "alder"),
        ):
            await dialed.arrival(BIRCH)
            await dialed.arrival(ALDER)
            slow = [asyncio.create_task(dialed.call(ENTRY, ASK, b"%d" % n, PATIENT)) for n in range(200)]
            assert [await dialed.call(OTHER, ASK, b"", PATIENT) for _ in range(20)] == [b"quick"] * 20
            assert not any(task.done() for task in slow)
            gate.set()
            assert await asyncio.gather(*slow) == [b"%d" % n for n in range(200)]

    async def test_that_reads_nothing_fills_no_memory(
        self, authority: LabAuthority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dialout, "MOST_UNDER_WAY", 10)
        async with switchboard(authority) as (dialed, address), raw_stream(authority, address) as stream:
            await stream.write(HELLO)
            await dialed.arrival(BIRCH)
            waiting = [asyncio.create_task(dialed.call(ENTRY, ASK, b"", PATIENT)) for _ in range(10)]
            await asyncio.sleep(0)
            with pytest.raises(UnreachableError, match="wait for an answer"):
                await dialed.call(ENTRY, ASK, b"", PATIENT)
            stream.cancel()
            assert {type(e) for e in await asyncio.gather(*waiting, return_exceptions=True)} == {UnreachableError}


def _response(number: int) -> bytes:
    return pb.ServeRequest(request_id=number, response=b"x").SerializeToString()


class TestWhatAnAgentSends:
    async def asked(self, stream: Any) -> pb.ServeResponse:
        return pb.ServeResponse.FromString(await stream.read())

    async def test_twice_or_to_nothing_that_was_asked_is_dropped(self, authority: LabAuthority) -> None:
        async with switchboard(authority) as (dialed, address), raw_stream(authority, address) as stream:
            await stream.write(HELLO)
            await dialed.arrival(BIRCH)
            for body in (b"first", b"second"):
                call = asyncio.create_task(dialed.call(ENTRY, ASK, b"", PATIENT))
                asked = await self.asked(stream)
                for answer, number in ((b"stray", 999), (body, asked.request_id), (b"double", asked.request_id)):
                    await stream.write(pb.ServeRequest(request_id=number, response=answer).SerializeToString())
                assert await call == body

    async def test_after_its_time_is_dropped(self, authority: LabAuthority) -> None:
        async with switchboard(authority) as (dialed, address), raw_stream(authority, address) as stream:
            await stream.write(HELLO)
            await dialed.arrival(BIRCH)
            with pytest.raises(AttemptTimedOutError):
                await dialed.call(ENTRY, ASK, b"early", timedelta(milliseconds=50))
            late = await self.asked(stream)
            call = asyncio.create_task(dialed.call(ENTRY, ASK, b"now", PATIENT))
            now = await self.asked(stream)
            for number, body in ((late.request_id, b"late"), (now.request_id, b"right")):
                await stream.write(pb.ServeRequest(request_id=number, response=body).SerializeToString())
            assert await call == b"right"

    async def test_without_a_greeting_first_is_refused(self, authority: LabAuthority) -> None:
        async with switchboard(authority) as (dialed, address), raw_stream(authority, address) as stream:
            await stream.write(pb.ServeRequest(request_id=1, response=b"x").SerializeToString())
            assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert dialed.connected() == {}

    async def test_that_does_not_parse_ends_its_stream_and_no_other(self, authority: LabAuthority) -> None:
        async with (
            switchboard(authority) as (dialed, address),
            dialing(authority, address, answering(b"sound"), "alder"),
            raw_stream(authority, address) as stream,
        ):
            await dialed.arrival(ALDER)
            await stream.write(HELLO)
            await dialed.arrival(BIRCH)
            await stream.write(b"\xff\xff\xff")
            assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert await dialed.call(OTHER, ASK, b"", PATIENT) == b"sound"

    async def test_in_place_of_a_reason_is_an_error_of_ours_and_never_anything_else(
        self, authority: LabAuthority
    ) -> None:
        async with switchboard(authority) as (dialed, address), raw_stream(authority, address) as stream:
            await stream.write(HELLO)
            await dialed.arrival(BIRCH)
            for fault in (b"", b"\xff\xff", b"\x08\x0c", b"\x12\x14no record +12025550143"):
                call = asyncio.create_task(dialed.call(ENTRY, ASK, b"", PATIENT))
                asked = await self.asked(stream)
                await stream.write(pb.ServeRequest(request_id=asked.request_id, fault=fault).SerializeToString())
                with pytest.raises((UnreachableError, BadAnswerError)) as caught:
                    await call
                assert "2025550143" not in caught.value.detail

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(messages=st.lists(st.one_of(st.binary(max_size=60), st.builds(_response, st.integers(0, 3))), max_size=5))
    async def test_of_any_kind_gives_a_response_or_an_error(
        self, authority: LabAuthority, messages: list[bytes]
    ) -> None:
        stream = dialout._Stream(BIRCH, 1, "test")
        call = asyncio.create_task(stream.ask(ASK, b"", 5.0))
        await asyncio.sleep(0)
        for message in messages:
            try:
                stream.take(pb.ServeRequest.FromString(message))
            except Exception as error:
                assert type(error).__name__ == "DecodeError"  # noqa: PT017
        stream.end()
        with suppress(AgentError):
            assert isinstance(await call, bytes)


class TestAnAgentsNewCertificate:
    async def test_takes_effect_without_a_request_lost(self, authority: LabAuthority) -> None:
        live = Live(provider_files(authority, "birch"))
        started, gate = asyncio.Event(), asyncio.Event()

        async def wait(request: bytes, asker: tuple[str, ...]) -> bytes:
            if request == b"slow":
                started.set()
                await gate.wait()
            return request

        seen: list[int | None] = []

        def remember(provider: ProviderId, serial: int | None) -> str | None:
            seen.append(serial)
            return None

        dialed = DialedAgents(remember)
        server = CoordinatorServer(Live(coordinator_files(authority)), "127.0.0.1:0", {SERVICE: dialed.handlers()})
        address = (await server.start()).address
        async with dialing(live, address, {ASK: wait}):
            await dialed.arrival(BIRCH)
            slow = asyncio.create_task(dialed.call(ENTRY, ASK, b"slow", PATIENT))
            await started.wait()
            live.replace(provider_files(authority, "birch"))
            await dialed.arrival(BIRCH, 2)
            for n in range(10):
                assert await dialed.call(ENTRY, ASK, b"%d" % n, PATIENT) == b"%d" % n
            gate.set()
            assert await slow == b"slow"
            while dialed.connected() != {BIRCH: 1}:
                await asyncio.sleep(0)
        assert len(set(seen)) == 2
        dialed.close()
        await server.stop(0)
