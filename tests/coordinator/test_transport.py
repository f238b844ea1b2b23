"""Requests reach an agent and answers come back: the same over a port of the agent's and over a stream of its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from agent.handlers import Handlers
from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups.transport import GrpcTransport, Switchboard
from coordinator.tracing.ports import (
    DIAL_OUT,
    AgentError,
    AttemptTimedOutError,
    BadAnswerError,
    DeclinedError,
    Provider,
    UnreachableError,
)
from protos.errors import Fault, FaultError
from protos.live import Live
from protos.types import ErrorReason
from tests.coordinator.fake_agent import tls
from tests.coordinator.make import provider
from tests.coordinator.transports import (
    COORDINATOR,
    coordinator_files,
    dialing,
    listening,
    provider_files,
    reached,
    switchboard,
)
from tests.faults.proxy import Direction, Kind, NetworkFault, Stage, proxy

ASK = "/hopback.v1.HopService/Ask"
PATIENT = timedelta(seconds=10)
BIRCH = provider("birch")
WAYS = pytest.mark.parametrize("way", ["listens", "dials out"])


async def backwards(request: bytes, asker: tuple[str, ...]) -> bytes:
    return request[::-1]


ECHO: Handlers = {ASK: backwards}


def failing(fault: Fault) -> Handlers:
    async def fail(request: bytes, asker: tuple[str, ...]) -> bytes:
        raise FaultError(fault)

    return {ASK: fail}


@WAYS
class TestARequest:
    async def test_reaches_the_agent_and_its_answer_comes_back(self, way: str, authority: LabAuthority) -> None:
        async with reached(way, authority, ECHO) as birch:
            assert await birch.transport.call(birch.entry, ASK, b"question", PATIENT) == b"noitseuq"

    async def test_is_known_to_the_agent_as_the_coordinators_whose_certificate_asks(
        self, way: str, authority: LabAuthority
    ) -> None:
        async def who(request: bytes, asker: tuple[str, ...]) -> bytes:
            return " ".join(asker).encode()

        async with reached(way, authority, {ASK: who}) as birch:
            assert await birch.transport.call(birch.entry, ASK, b"", PATIENT) == COORDINATOR.encode()

    async def test_waits_for_no_other(self, way: str, authority: LabAuthority) -> None:
        gate = asyncio.Event()

        async def slow_or_fast(request: bytes, asker: tuple[str, ...]) -> bytes:
            if request == b"slow":
                await gate.wait()
            return request

        async with reached(way, authority, {ASK: slow_or_fast}) as birch:
            slow = asyncio.create_task(birch.transport.call(birch.entry, ASK, b"slow", PATIENT))
            fast = [birch.transport.call(birch.entry, ASK, b"%d" % n, PATIENT) for n in range(50)]
            assert await asyncio.gather(*fast) == [b"%d" % n for n in range(50)]
            gate.set()
            assert await slow == b"slow"

    async def test_of_many_megabytes_arrives_whole(self, way: str, authority: LabAuthority) -> None:
        async with reached(way, authority, ECHO) as birch:
            large = bytes(range(256)) * 4096 * 10
            assert await birch.transport.call(birch.entry, ASK, large, PATIENT) == large[::-1]

    async def test_that_takes_too_long_times_out_and_the_next_one_is_answered(
        self, way: str, authority: LabAuthority
    ) -> None:
        async def once(request: bytes, asker: tuple[str, ...]) -> bytes:
            if request == b"never":
                await asyncio.Event().wait()
            return request

        async with reached(way, authority, {ASK: once}) as birch:
            with pytest.raises(AttemptTimedOutError, match=r"within 0\.1 s"):
                await birch.transport.call(birch.entry, ASK, b"never", timedelta(milliseconds=100))
            assert await birch.transport.call(birch.entry, ASK, b"now", PATIENT) == b"now"

    async def test_for_which_the_agent_has_no_method_is_a_bad_answer(self, way: str, authority: LabAuthority) -> None:
        async with reached(way, authority, ECHO) as birch:
            with pytest.raises(BadAnswerError):
                await birch.transport.call(birch.entry, "/hopback.v1.HopService/Other", b"", PATIENT)

    @pytest.mark.parametrize(
        ("reason", "error"),
        [
            (ErrorReason.NOT_A_COORDINATOR, DeclinedError),
            (ErrorReason.REVOKED, DeclinedError),
            (ErrorReason.ORDER_REQUIRED, DeclinedError),
            (ErrorReason.SIGNATURE, BadAnswerError),
            (ErrorReason.MALFORMED, BadAnswerError),
            (ErrorReason.AUDIT_UNAVAILABLE, UnreachableError),
            (ErrorReason.STORE_UNAVAILABLE, UnreachableError),
        ],
    )
    async def test_that_is_not_taken_fails_by_the_reason(
        self, way: str, authority: LabAuthority, reason: ErrorReason, error: type[AgentError]
    ) -> None:
        async with reached(way, authority, failing(Fault(reason, "no record of +12025550143 \x1b[2J"))) as birch:
            with pytest.raises(error) as caught:
                await birch.transport.call(birch.entry, ASK, b"", PATIENT)
        assert "2025550143" not in caught.value.detail
        assert caught.value.detail.isprintable()

    async def test_on_which_the_agent_breaks_down_may_be_tried_again_and_tells_nothing(
        self, way: str, authority: LabAuthority
    ) -> None:
        async def break_down(request: bytes, asker: tuple[str, ...]) -> bytes:
            raise RuntimeError("synthetic: +12025550143")

        async with reached(way, authority, {ASK: break_down}) as birch:
            with pytest.raises(UnreachableError, match="the agent failed") as caught:
                await birch.transport.call(birch.entry, ASK, b"", PATIENT)
        assert "2025550143" not in caught.value.detail


class TestAProviderThatIsReachedBothWays:
    async def test_is_asked_over_its_stream_while_that_stands_and_over_its_port_otherwise(
        self, authority: LabAuthority
    ) -> None:
        async def by_port(request: bytes, asker: tuple[str, ...]) -> bytes:
            return b"port"

        async def by_stream(request: bytes, asker: tuple[str, ...]) -> bytes:
            return b"stream"

        async with (
            listening(authority, {ASK: by_port}) as endpoint,
            GrpcTransport(coordinator_files(authority)) as channels,
            switchboard(authority) as (dialed, address),
        ):
            both = Switchboard(channels, dialed)
            entry = Provider(BIRCH, "Birch", f"{DIAL_OUT} {endpoint}")
            async with dialing(authority, address, {ASK: by_stream}):
                await dialed.arrival(BIRCH)
                assert await both.call(entry, ASK, b"", PATIENT) == b"stream"
            assert await both.call(entry, ASK, b"", PATIENT) == b"port"

    async def test_without_a_stream_or_a_port_is_unreachable(self, authority: LabAuthority) -> None:
        async with GrpcTransport(coordinator_files(authority)) as channels, switchboard(authority) as (dialed, _):
            both = Switchboard(channels, dialed)
            with pytest.raises(UnreachableError, match="no agent of birch has called in"):
                await both.call(Provider(BIRCH, "Birch", DIAL_OUT), ASK, b"", PATIENT)
            with pytest.raises(UnreachableError):
                await both.call(Provider(BIRCH, "Birch", None), ASK, b"", PATIENT)


class TestAConnectionThatTakesTime:
    async def test_is_waited_for_not_begun_again(self, authority: LabAuthority) -> None:
        async with (
            listening(authority, ECHO) as endpoint,
            proxy(endpoint) as way,
            GrpcTransport(coordinator_files(authority)) as transport,
        ):
            way.strike(NetworkFault(Kind.DELAY, Direction.BACK, Stage.HANDSHAKE))
            entry = Provider(BIRCH, "Birch", way.endpoint)
            assert await transport.call(entry, ASK, b"late", PATIENT) == b"etal"
            assert way.connections == 1


class TestAConnectionThatDiedUnnoticed:
    async def test_costs_one_attempt_and_the_next_one_goes_over_another(self, authority: LabAuthority) -> None:
        async with (
            listening(authority, ECHO) as endpoint,
            proxy(endpoint) as way,
            GrpcTransport(coordinator_files(authority)) as transport,
        ):
            entry = Provider(BIRCH, "Birch", way.endpoint)
            assert await transport.call(entry, ASK, b"before", PATIENT) == b"erofeb"
            way.strike(NetworkFault(Kind.BLACK_HOLE, Direction.THERE, Stage.AT_ONCE))
            way.mend()
            with pytest.raises(AttemptTimedOutError):
                await transport.call(entry, ASK, b"lost", timedelta(milliseconds=200))
            assert await transport.call(entry, ASK, b"after", PATIENT) == b"retfa"
            assert way.connections == 2

    async def test_is_told_from_a_slow_agent_by_nobody_so_that_calls_under_way_on_it_may_end(
        self, authority: LabAuthority
    ) -> None:
        gate = asyncio.Event()

        async def wait(request: bytes, asker: tuple[str, ...]) -> bytes:
            if request == b"slow":
                await gate.wait()
            elif request == b"slower":
                await asyncio.Event().wait()
            return request

        async with listening(authority, {ASK: wait}) as endpoint:
            entry = Provider(BIRCH, "Birch", endpoint)
            async with GrpcTransport(coordinator_files(authority)) as transport:
                assert await transport.call(entry, ASK, b"first", PATIENT) == b"first"
                slow = asyncio.create_task(transport.call(entry, ASK, b"slow", PATIENT))
                with pytest.raises(AttemptTimedOutError):
                    await transport.call(entry, ASK, b"slower", timedelta(seconds=1))
                gate.set()
                assert await slow == b"slow"


class TestATransportThatIsClosed:
    async def test_ends_calls_under_way_as_unreachable_and_cancels_nobody(self, authority: LabAuthority) -> None:
        started = asyncio.Event()

        async def wait(request: bytes, asker: tuple[str, ...]) -> bytes:
            started.set()
            await asyncio.Event().wait()
            return request

        async with listening(authority, {ASK: wait}) as endpoint:
            transport = GrpcTransport(coordinator_files(authority))
            under_way = asyncio.create_task(transport.call(Provider(BIRCH, "Birch", endpoint), ASK, b"", PATIENT))
            await started.wait()
            await transport.close()
            with pytest.raises(UnreachableError, match="closed on this side"):
                await under_way


class TestACoordinatorsNewCertificate:
    async def test_is_used_for_every_later_call_while_those_under_way_end_undisturbed(
        self, authority: LabAuthority
    ) -> None:
        started, gate = asyncio.Event(), asyncio.Event()

        async def wait(request: bytes, asker: tuple[str, ...]) -> bytes:
            if request == b"slow":
                started.set()
                await gate.wait()
            return b" ".join(uri.encode() for uri in asker)

        async with listening(authority, {ASK: wait}) as endpoint:
            entry = Provider(BIRCH, "Birch", endpoint)
            ours = Live(coordinator_files(authority))
            async with GrpcTransport(ours) as transport:
                slow = asyncio.create_task(transport.call(entry, ASK, b"slow", PATIENT))
                await started.wait()
                later = authority.issue_coordinator("later", Path(authority.directory) / "transports")
                ours.replace(tls(later))  # of another name, so that who is asked can tell
                assert await transport.call(entry, ASK, b"", PATIENT) == b"hopback://coordinator/later"
                gate.set()
                assert await slow == b"hopback://coordinator/lab"
                assert not transport._left

    async def test_on_both_sides_under_load_loses_no_call(self, authority: LabAuthority) -> None:
        """Certificates of both sides change again and again while calls run over a port and over a stream."""

        async def answer(request: bytes, asker: tuple[str, ...]) -> bytes:
            await asyncio.sleep(0)
            return request

        handlers = {ASK: answer}
        ours, theirs = Live(coordinator_files(authority)), Live(provider_files(authority, "birch"))
        done, more = asyncio.Event(), asyncio.Semaphore(0)
        answered = 0
        async with (
            listening(authority, handlers, live=theirs) as endpoint,
            GrpcTransport(ours) as channels,
            switchboard(authority, ours) as (dialed, address),
            dialing(theirs, address, handlers),
        ):
            await dialed.arrival(BIRCH)
            both = Switchboard(channels, dialed)

            async def load(endpoint: str, number: int) -> None:
                nonlocal answered
                while not done.is_set():
                    request = b"%d" % number
                    assert await both.call(Provider(BIRCH, "Birch", endpoint), ASK, request, PATIENT) == request
                    answered += 1
                    more.release()

            tasks = [asyncio.create_task(load(way, n)) for n in range(8) for way in (endpoint, DIAL_OUT)]
            for _ in range(10):
                theirs.replace(provider_files(authority, "birch"))
                ours.replace(coordinator_files(authority))
                for _ in range(100):
                    await more.acquire()
            done.set()
            await asyncio.gather(*tasks)
        assert answered >= 1000
