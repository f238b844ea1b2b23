"""The agent on the network: gRPC over mutual TLS, answers from the event loop itself.

The caller is who its certificate says (URI subject alternative name), never who a message says. Messages are taken as
bytes and go to the handlers (`agent.handlers`), so that whatever arrives is answered or told as a fault of
`protos.errors`; an unforeseen failure is reported to the caller without its text, which might hold a number.

Health is served for every service, and says NOT_SERVING from the moment in which the audit log could not be written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from agent.defects import place_of
from agent.handlers import Handler, Handlers
from protos.codec import ContractError
from protos.errors import Fault, FaultError, trailing_metadata
from protos.identity import coordinators_among
from protos.live import Live
from protos.tls import SERVER_OPTIONS, PeerSerials, TlsFiles, peer_uris, server_credentials
from protos.types import ErrorReason

LARGEST_MESSAGE: Final = 32 * 1024 * 1024
"""Bytes of a request or a response."""

_MOST_ADMITTED: Final = 1000
"""Certificates of coordinators that are remembered."""

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a second agent on this port must fail, not take every other call
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.max_concurrent_streams", 1000),
    *SERVER_OPTIONS,
)

log = structlog.get_logger()
Context = Any
"""grpc.aio.ServicerContext[bytes, bytes]; the stubs know no handlers of raw bytes."""


class CannotListenError(OSError):
    """The address can't be listened on; the message says why."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and for whom the agent listens; port 0 takes a free one.

    `revoked` says why a certificate of this serial number counts no longer, or None; without it none is revoked.
    """

    address: str
    tls: TlsFiles | Live[TlsFiles]
    coordinators: frozenset[str]
    reflection: bool = False
    revoked: Callable[[int | None], str | None] | None = None


class AgentServer:
    """One agent's server. `start` it inside a running event loop, then `stop` it."""

    def __init__(self, handlers: Handlers, listening: Listening) -> None:
        self._handlers = handlers
        self._listening = listening
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._healthy = True
        self._serials = PeerSerials()
        self._admitted: dict[tuple[tuple[bytes, ...], tuple[bytes, ...]], tuple[str, ...]] = {}

    async def start(self) -> str:
        """Start serving; returns the address with the port that is really listened on.

        Raises:
            CannotListenError: the address is taken, or no address of this machine.
        """
        server = grpc.aio.server(options=_OPTIONS)
        services: dict[str, dict[str, Any]] = defaultdict(dict)
        for name, handler in self._handlers.items():
            _, service, method = name.split("/")
            services[service][method] = self._handler(handler)
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items())
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._listening.reflection:
            from grpc_reflection.v1alpha import reflection

            reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        address = self._listening.address
        try:
            port = server.add_secure_port(address, server_credentials(self._listening.tls))
        except RuntimeError:
            raise CannotListenError(
                f"can't listen on {address}: the port is taken, or the address is none of this machine's"
            ) from None
        await server.start()
        for service in ("", *services):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server = server
        return f"{address.rpartition(':')[0]}:{port}"

    async def stop(self, grace_s: float = 5.0) -> None:
        """Take no new calls, let those under way end within `grace_s` seconds."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace_s)
            self._server = None

    def _handler(self, method: Handler) -> Any:
        async def handle(request: bytes, context: Context) -> bytes:
            try:
                return await method(request, self._admit(context))
            except FaultError as error:
                fault = error.fault
            except ContractError as error:
                fault = Fault.of(error)
            except Exception as error:
                await _abort_unforeseen(error, context)
            log.warning("question_not_taken", reason=fault.reason.name, fields=fault.fields, peer=context.peer())
            if fault.reason is ErrorReason.AUDIT_UNAVAILABLE and self._healthy:
                await self._fall_ill()
            await context.abort(fault.code, fault.message, trailing_metadata(fault))
            raise AssertionError("abort always raises")

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _fall_ill(self) -> None:
        self._healthy = False
        for service in ("", *{name.split("/")[1] for name in self._handlers}):
            await self._health.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)

    def _admit(self, context: Context) -> tuple[str, ...]:
        """The coordinators that the caller's certificate names, of those that may ask."""
        proved = context.auth_context()
        revoked = self._listening.revoked
        if revoked is not None and (problem := revoked(self._serials.of(proved))) is not None:
            raise FaultError(Fault(ErrorReason.REVOKED, problem))
        # what one certificate proved, another proves that says the same: it need not be read again for every call
        said = tuple(proved.get("ssl_tls_version", ())), tuple(proved.get("peer_uri", ()))
        known = self._admitted.get(said)
        if known is not None:
            return known
        uris = coordinators_among(peer_uris(proved))
        askers = tuple(uri for uri in uris if uri in self._listening.coordinators)
        if not askers:
            raise FaultError(
                Fault(
                    ErrorReason.NOT_A_COORDINATOR,
                    "this agent does not know the coordinator that the client's certificate names",
                )
            )
        if len(self._admitted) < _MOST_ADMITTED:
            self._admitted[said] = askers
        return askers


async def _abort_unforeseen(error: Exception, context: Context) -> NoReturn:
    """Report a defect of ours: where it happened to the log, nothing but that it did to the caller."""
    log.error("lookup_failed", error=type(error).__name__, place=place_of(error))
    await context.abort(grpc.StatusCode.INTERNAL, "the agent failed; its operator's log says where")
    raise AssertionError("abort always raises")
