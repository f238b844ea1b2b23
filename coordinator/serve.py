"""The coordinator's own gRPC server: services plug in as tables of methods, certificates change under running calls.

It listens at two addresses, because one port of gRPC either insists on a client's certificate or never asks for one:

    address             mutual TLS                whoever has a certificate: renewal, agents that dial out, consumers
    enrolment_address   the server's TLS alone    whoever has none yet: enrolment with a token, the revocation list

What a caller may do is for the service to decide, from the certificate (`protos.tls.peer_uris`). The second port takes
small messages only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from coordinator.lookups.transport import LARGEST_MESSAGE
from protos.live import Live
from protos.tls import SERVER_OPTIONS, TlsFiles, open_server_credentials, server_credentials

Methods = Mapping[str, Any]
"""Handlers (grpc.RpcMethodHandler) by name of the method."""

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a second server on this port must fail, not take every other call
    ("grpc.max_concurrent_streams", 1000),
    # An agent that dials out stands behind NAT: pings keep the way open, and find out when nobody is at its end.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # gRPC waits for the longer of the two, and that is a minute by default
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    *SERVER_OPTIONS,
)
_FOR_ANYBODY: Final = 64 * 1024
"""Bytes of a message from somebody who has no certificate."""
_OPEN_OPTIONS: Final = (  # who has no certificate has no long business here
    ("grpc.max_receive_message_length", _FOR_ANYBODY),
    ("grpc.max_connection_idle_ms", 30_000),
    ("grpc.max_connection_age_ms", 120_000),
    ("grpc.max_connection_age_grace_ms", 10_000),
)


class CannotListenError(OSError):
    """The address can't be listened on; the message says why."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server listens, with the ports that are really listened on."""

    address: str
    enrolment_address: str | None


class CoordinatorServer:
    """`start` it inside a running event loop, then `stop` it; port 0 takes a free one."""

    def __init__(
        self,
        tls: Live[TlsFiles],
        address: str,
        services: Mapping[str, Methods],
        enrolment_address: str | None = None,
        open_services: Mapping[str, Methods] | None = None,
    ) -> None:
        """Services by full name, for those with a certificate and, `open_services`, for those without."""
        self._tls = tls
        self._address, self._services = address, services
        self._enrolment_address, self._open_services = enrolment_address, open_services or {}
        self._servers: list[grpc.aio.Server] = []
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]

    async def start(self) -> Addresses:
        """Start serving.

        Raises:
            CannotListenError: an address is taken, or none of this machine's.
        """
        try:
            options = (("grpc.max_receive_message_length", LARGEST_MESSAGE + _FOR_ANYBODY),)
            address = await self._listen(self._address, server_credentials(self._tls), self._services, options)
            open_address = self._enrolment_address
            if open_address is not None:
                credentials = open_server_credentials(self._tls)
                open_address = await self._listen(open_address, credentials, self._open_services, _OPEN_OPTIONS)
        except BaseException:
            await self.stop(0)
            raise
        for service in ("", *self._services, *self._open_services):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return Addresses(address, open_address)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Take no new calls, let those under way end within `grace_s` seconds."""
        servers, self._servers = self._servers, []
        if servers:
            await self._health.enter_graceful_shutdown()
        for server in servers:
            await server.stop(grace_s)

    async def _listen(
        self,
        address: str,
        credentials: grpc.ServerCredentials,
        services: Mapping[str, Methods],
        options: tuple[tuple[str, int], ...],
    ) -> str:
        server = grpc.aio.server(options=(*_OPTIONS, *options))
        for name, methods in services.items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, dict(methods)),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        try:
            port = server.add_secure_port(address, credentials)
        except RuntimeError:
            raise CannotListenError(
                f"can't listen on {address}: the port is taken, or the address is none of this machine's"
            ) from None
        await server.start()
        self._servers.append(server)
        return f"{address.rpartition(':')[0]}:{port}"
