"""The streams of agents that dial out, shared with this coordinator's other processes (RelayService).

Agents dial one process, `serve`. Others that trace (`run`, `trace`, `resume`, on this machine or another) reach these
agents through it. Only this coordinator itself may: the caller's certificate must name it. What is carried is signed by
the online key and covered by orders like everything else, so that the relay adds no right that its caller lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import grpc
import grpc.aio

from coordinator.lookups.transport import LARGEST_MESSAGE, ChannelOptions, GrpcTransport, Transport, harmless
from coordinator.tracing.ports import (
    AgentError,
    AttemptTimedOutError,
    BadAnswerError,
    DeclinedError,
    Provider,
    UnreachableError,
)
from hopback.v1 import relay_pb2 as pb
from protos.codec import ContractError, check, parse
from protos.errors import Fault, trailing_metadata
from protos.identity import ProviderId
from protos.live import Live
from protos.tls import PeerSerials, TlsFiles, coordinator_channel_options, peer_uris

SERVICE: Final = "hopback.v1.RelayService"
CALL: Final = f"/{SERVICE}/Call"
ON_TOP: Final = timedelta(seconds=1)
"""How much longer than the agent's time the way through the relay may take."""

_KINDS: Final[dict[pb.CallFailureKind, type[AgentError]]] = {
    pb.CALL_FAILURE_KIND_UNREACHABLE: UnreachableError,
    pb.CALL_FAILURE_KIND_TIMED_OUT: AttemptTimedOutError,
    pb.CALL_FAILURE_KIND_BAD_ANSWER: BadAnswerError,
    pb.CALL_FAILURE_KIND_DECLINED: DeclinedError,
}


class Relay:
    """The service, over the streams that this process holds."""

    def __init__(self, me: str, dialled: Transport, revoked: Callable[[int | None], str | None]) -> None:
        """`me` is this coordinator's URI; `revoked` says why a certificate of this serial number counts no longer."""
        self._me, self._dialled, self._revoked = me, dialled, revoked
        self._serials = PeerSerials()

    def handlers(self) -> dict[str, Any]:
        """The methods, for a server that insists on client certificates."""
        return {"Call": grpc.unary_unary_rpc_method_handler(self._call)}

    async def _call(self, request: bytes, context: Any) -> bytes:
        proved = context.auth_context()
        if peer_uris(proved) != [self._me] or self._revoked(self._serials.of(proved)) is not None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this is for the coordinator's own processes")
        asked = pb.CallRequest()
        try:
            check(parse(asked, request))
        except ContractError as error:
            fault = Fault.of(error)
            await context.abort(fault.code, fault.message, trailing_metadata(fault))
        provider = Provider(ProviderId(asked.provider), asked.provider)
        timeout = timedelta(milliseconds=asked.timeout_ms)
        try:
            response = await self._dialled.call(provider, asked.method, asked.request, timeout)
        except AgentError as error:
            kind = next(kind for kind, known in _KINDS.items() if isinstance(error, known))
            failure = pb.CallFailure(kind=kind, detail=error.detail)
            return pb.CallResponse(failure=failure).SerializeToString()
        return pb.CallResponse(response=response).SerializeToString()


class RelayTransport:
    """Reaches agents that dial out through the process that holds their streams. Use as an async context manager."""

    def __init__(self, address: str, me: str, files: TlsFiles | Live[TlsFiles]) -> None:
        """`address` is where `serve` listens, `me` the URI of this coordinator, which it is as well."""
        self._serve = Provider(ProviderId("serve"), "serve", address)
        largest = ("grpc.max_receive_message_length", LARGEST_MESSAGE + 64 * 1024)
        options: ChannelOptions = (largest, *coordinator_channel_options(me))
        self._channels = GrpcTransport(files, lambda _: options)

    async def __aenter__(self) -> RelayTransport:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._channels.close()

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """The response by way of `serve`.

        Raises:
            AgentError: see `coordinator.lookups.transport.Transport.call`.
        """
        timeout_ms = max(int(timeout.total_seconds() * 1000), 1)
        asked = pb.CallRequest(provider=provider.id, method=method, request=request, timeout_ms=timeout_ms)
        try:
            received = await self._channels.call(self._serve, CALL, asked.SerializeToString(), timeout + ON_TOP)
            response = parse(pb.CallResponse(), received)
        except AgentError as error:  # whatever `serve` says of itself, the agent has declined nothing
            kind = AttemptTimedOutError if isinstance(error, AttemptTimedOutError) else UnreachableError
            raise kind(
                f"{provider.id} dials out, and `hopback-coordinator serve`, which it dials, can't be reached at "
                f"{self._serve.endpoint}: {error.detail}"
            ) from None
        except ContractError as error:
            raise UnreachableError(f"{self._serve.endpoint} is no relay of this version: {error}") from None
        if response.WhichOneof("what") == "response":
            return response.response
        raise _KINDS.get(response.failure.kind, UnreachableError)(harmless(response.failure.detail))
