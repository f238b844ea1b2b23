"""One provider's handlers behind either transport: an agent that listens, and one that dials out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from agent.dialout import DialOut, Pauses
from agent.handlers import Handlers
from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups.dialout import SERVICE, DialedAgents
from coordinator.lookups.transport import GrpcTransport, Transport
from coordinator.serve import CoordinatorServer
from coordinator.tracing.ports import DIAL_OUT, Provider
from protos.errors import FaultError, trailing_metadata
from protos.live import Live
from protos.tls import TlsFiles, peer_uris, server_credentials
from tests.coordinator.fake_agent import tls
from tests.coordinator.make import provider

COORDINATOR = "hopback://coordinator/lab"


async def at_once(seconds: float) -> None:
    """In place of a pause."""
    await asyncio.sleep(0)


def provider_files(authority: LabAuthority, name: str) -> TlsFiles:
    return tls(authority.issue_provider(name, Path(authority.directory) / "transports"))


def coordinator_files(authority: LabAuthority) -> TlsFiles:
    return tls(authority.issue_coordinator("lab", Path(authority.directory) / "transports"))


@dataclass
class Reached:
    """A provider, and the transport that reaches it."""

    transport: Transport
    entry: Provider


@asynccontextmanager
async def listening(
    authority: LabAuthority, handlers: Handlers, name: str = "birch", live: Live[TlsFiles] | None = None
) -> AsyncIterator[str]:
    """The endpoint of an agent that listens."""

    def handler(method: str) -> Any:
        async def handle(request: bytes, context: Any) -> bytes:
            try:
                return await handlers[method](request, tuple(peer_uris(context.auth_context())))
            except FaultError as error:
                await context.abort(error.fault.code, error.fault.message, trailing_metadata(error.fault))
                raise

        return grpc.unary_unary_rpc_method_handler(handle)

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 << 20)])
    services: dict[str, dict[str, Any]] = {}
    for method in handlers:
        _, service, short = method.split("/")
        services.setdefault(service, {})[short] = handler(method)
    for service, methods in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    credentials = server_credentials(live or provider_files(authority, name))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def switchboard(
    authority: LabAuthority, live: Live[TlsFiles] | None = None, address: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[DialedAgents, str]]:
    """A coordinator that takes streams, and its address."""
    dialed = DialedAgents()
    files = live or Live(coordinator_files(authority))
    server = CoordinatorServer(files, address, {SERVICE: dialed.handlers()})
    addresses = await server.start()
    try:
        yield dialed, addresses.address
    finally:
        dialed.close()
        await server.stop(1)


@asynccontextmanager
async def dialing(
    shown: LabAuthority | Live[TlsFiles],
    endpoint: str,
    handlers: Handlers,
    name: str = "birch",
    coordinator: str = COORDINATOR,
) -> AsyncIterator[DialOut]:
    """An agent that dials out, as the provider of this name or with these files."""
    live = Live(provider_files(shown, name)) if isinstance(shown, LabAuthority) else shown
    agent = DialOut(endpoint, coordinator, live, handlers, Pauses(rng=random.Random(1)), sleep=at_once)
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def reached(way: str, authority: LabAuthority, handlers: Handlers) -> AsyncIterator[Reached]:
    """The provider birch by one of the two ways: "listens" or "dials out"."""
    birch = provider("birch")
    async with AsyncExitStack() as stack:
        if way == "listens":
            endpoint = await stack.enter_async_context(listening(authority, handlers))
            transport = await stack.enter_async_context(GrpcTransport(coordinator_files(authority)))
            yield Reached(transport, Provider(birch, "Birch", endpoint))
        else:
            dialed, address = await stack.enter_async_context(switchboard(authority))
            await stack.enter_async_context(dialing(authority, address, handlers))
            await dialed.arrival(birch)
            yield Reached(dialed, Provider(birch, "Birch", DIAL_OUT))
