"""Other processes of a coordinator reach agents that dial out, and nobody else does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from agent.handlers import Handlers
from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups.dialout import SERVICE as DIAL_OUT_SERVICE
from coordinator.lookups.dialout import DialedAgents
from coordinator.lookups.relay import CALL, SERVICE, Relay, RelayTransport
from coordinator.serve import CoordinatorServer
from coordinator.tracing.ports import (
    DIAL_OUT,
    AgentError,
    AttemptTimedOutError,
    BadAnswerError,
    DeclinedError,
    Provider,
    UnreachableError,
)
from hopback.v1 import relay_pb2 as pb
from protos.errors import Fault, FaultError
from protos.live import Live
from protos.tls import TlsFiles, channel_credentials, coordinator_channel_options
from protos.types import ErrorReason
from tests.coordinator.fake_agent import tls
from tests.coordinator.make import provider
from tests.coordinator.transports import COORDINATOR, coordinator_files, dialing, provider_files

ASK = "/hopback.v1.HopService/Ask"
PATIENT = timedelta(seconds=10)
BIRCH = provider("birch")
ENTRY = Provider(BIRCH, "Birch", DIAL_OUT)


async def answer(request: bytes, asker: tuple[str, ...]) -> bytes:
    if request == b"never":
        await asyncio.Event().wait()
    if request in _REASONS:
        raise FaultError(Fault(_REASONS[request], "synthetic, +12025550143"))
    return request[::-1]


_REASONS = {
    b"declined": ErrorReason.NOT_A_COORDINATOR,
    b"bad": ErrorReason.SIGNATURE,
    b"away": ErrorReason.AUDIT_UNAVAILABLE,
}


@asynccontextmanager
async def relayed(
    authority: LabAuthority, handlers: Handlers, revoked: str | None = None
) -> AsyncIterator[tuple[str, RelayTransport]]:
    dialed = DialedAgents()
    relay = Relay(COORDINATOR, dialed, lambda _: revoked)
    services = {DIAL_OUT_SERVICE: dialed.handlers(), SERVICE: relay.handlers()}
    server = CoordinatorServer(Live(coordinator_files(authority)), "127.0.0.1:0", services)
    address = (await server.start()).address
    async with dialing(authority, address, handlers):
        await dialed.arrival(BIRCH)
        async with RelayTransport(address, COORDINATOR, coordinator_files(authority)) as transport:
            yield address, transport
    dialed.close()
    await server.stop(0)


class TestARequestByWayOfServe:
    async def test_is_answered(self, authority: LabAuthority) -> None:
        async with relayed(authority, {ASK: answer}) as (_, transport):
            large = bytes(range(256)) * 4096 * 8
            assert await transport.call(ENTRY, ASK, large, PATIENT) == large[::-1]

    @pytest.mark.parametrize(
        ("request_bytes", "error"),
        [(b"declined", DeclinedError), (b"bad", BadAnswerError), (b"away", UnreachableError)],
    )
    async def test_fails_as_it_would_at_once(
        self, authority: LabAuthority, request_bytes: bytes, error: type[AgentError]
    ) -> None:
        async with relayed(authority, {ASK: answer}) as (_, transport):
            with pytest.raises(error) as caught:
                await transport.call(ENTRY, ASK, request_bytes, PATIENT)
        assert "2025550143" not in caught.value.detail

    async def test_times_out(self, authority: LabAuthority) -> None:
        async with relayed(authority, {ASK: answer}) as (_, transport):
            with pytest.raises(AttemptTimedOutError):
                await transport.call(ENTRY, ASK, b"never", timedelta(milliseconds=100))

    async def test_for_a_provider_that_has_not_called_in_is_unreachable(self, authority: LabAuthority) -> None:
        async with relayed(authority, {ASK: answer}) as (_, transport):
            with pytest.raises(UnreachableError, match="no agent of alder has called in"):
                await transport.call(Provider(provider("alder"), "Alder", DIAL_OUT), ASK, b"", PATIENT)

    async def test_is_unreachable_where_nobody_serves(self, authority: LabAuthority) -> None:
        async with RelayTransport("127.0.0.1:1", COORDINATOR, coordinator_files(authority)) as transport:
            with pytest.raises(UnreachableError, match="hopback-coordinator serve"):
                await transport.call(ENTRY, ASK, b"", PATIENT)

    async def test_that_serve_itself_refuses_is_unreachable_and_never_declined_by_the_agent(
        self, authority: LabAuthority
    ) -> None:
        async with relayed(authority, {ASK: answer}, revoked="its certificate is revoked") as (_, transport):
            with pytest.raises(UnreachableError, match="coordinator's own processes"):
                await transport.call(ENTRY, ASK, b"", PATIENT)

    async def test_times_out_where_serve_says_nothing(self, authority: LabAuthority) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:  # connections stand in its queue
            address = f"127.0.0.1:{nobody.getsockname()[1]}"
            async with RelayTransport(address, COORDINATOR, coordinator_files(authority)) as transport:
                with pytest.raises(AttemptTimedOutError, match="hopback-coordinator serve"):
                    await transport.call(ENTRY, ASK, b"", timedelta(milliseconds=50))


class TestAnybodyElse:
    async def refused(self, address: str, shown: TlsFiles) -> grpc.StatusCode:
        request = pb.CallRequest(provider="birch", method=ASK, request=b"x", timeout_ms=1000).SerializeToString()
        options = coordinator_channel_options(COORDINATOR)
        async with grpc.aio.secure_channel(address, channel_credentials(shown), options=options) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(CALL, None, None)(request)
        return caught.value.code()

    async def test_a_provider_or_another_coordinator_is_refused(self, authority: LabAuthority) -> None:
        other = tls(authority.issue_coordinator("other", Path(authority.directory) / "transports"))
        asked: list[bytes] = []

        async def note(request: bytes, asker: tuple[str, ...]) -> bytes:
            asked.append(request)
            return b""

        async with relayed(authority, {ASK: note}) as (address, _):
            for shown in (provider_files(authority, "birch"), other):
                assert await self.refused(address, shown) is grpc.StatusCode.PERMISSION_DENIED
        assert asked == []

    async def test_a_revoked_certificate_of_our_own_is_refused(self, authority: LabAuthority) -> None:
        async with relayed(authority, {ASK: answer}, revoked="its certificate is revoked") as (address, _):
            assert await self.refused(address, coordinator_files(authority)) is grpc.StatusCode.PERMISSION_DENIED

    async def test_whoever_sends_nonsense_is_told_so(self, authority: LabAuthority) -> None:
        options = coordinator_channel_options(COORDINATOR)
        credentials = channel_credentials(coordinator_files(authority))
        async with (
            relayed(authority, {ASK: answer}) as (address, _),
            grpc.aio.secure_channel(address, credentials, options=options) as channel,
        ):
            for nonsense in (b"", b"\xff\xff", pb.CallRequest(provider="../x", timeout_ms=1).SerializeToString()):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(CALL, None, None)(nonsense)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
