"""Agents that open no port: they call here, hold a stream open (DialOutService), and are asked over it.

`DialedAgents` is both ends of that on this side: the service that takes the streams, and the `Transport` that puts
requests on them. Whose stream it is says the client's certificate alone. A provider's streams, of several agents or
of one that has come back, share its requests in turn; one that did not answer in time is asked after all others until
something comes over it, so that a connection that died unnoticed costs one attempt. Every stream has its own queue:
an agent that reads slowly holds back nobody else.

A request is answered at most once: its id is forgotten with the first response, with the end of its time, and with the
stream, whatever comes later is dropped. A stream that ends, for whatever reason, fails what was under way on it as
unreachable; asking again is harmless. Refused: a certificate that is no provider's, revoked ones, more streams than
`MOST_STREAMS` a provider (the oldest goes), messages that don't parse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from time import monotonic
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from coordinator.lookups.transport import LARGEST_MESSAGE, REST_S, failure_of_fault, harmless
from coordinator.tracing.ports import AgentError, AttemptTimedOutError, BadAnswerError, Provider, UnreachableError
from hopback.v1 import enrolment_pb2 as pb
from protos.errors import Fault, fault_of, trailing_metadata
from protos.identity import ProviderId, providers_among
from protos.printable import printable
from protos.tls import PeerSerials, peer_uris
from protos.types import ErrorReason

SERVICE: Final = "hopback.v1.DialOutService"
ACCEPTED: Final = "hopback-accepted"
"""In the initial metadata of a stream that stands; one that is refused has none."""
MOST_STREAMS: Final = 8
"""Streams of one provider."""
MOST_UNDER_WAY: Final = 1000
"""Requests on one stream that wait for their responses."""
GREETING_S: Final = 10.0
"""How long whoever calls may take to greet, in seconds."""

_EOF: Final[object] = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs do not know it

log = structlog.get_logger()
Context = Any
"""grpc.aio.ServicerContext[bytes, bytes]; the stubs know no handlers of raw bytes."""
Refusal = Callable[[ProviderId, int | None], str | None]
"""Why a provider with a certificate of this serial number is not let in; None when it may come in."""


def _nobody_is_refused(provider: ProviderId, serial: int | None) -> str | None:
    del provider, serial
    return None


@dataclass(slots=True, eq=False)
class _Stream:
    """One agent's stream; `rests_until` by the clock of `time.monotonic`, endless while nothing comes over it."""

    provider: ProviderId
    serial: int | None
    version: str
    outbox: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    waiting: dict[int, asyncio.Future[bytes]] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    requests: int = 0
    leaving: bool = False
    rests_until: float = 0.0

    async def ask(self, method: str, request: bytes, timeout_s: float) -> bytes:
        """The response; TimeoutError when none comes in time, an AgentError when the stream ends or the agent fails."""
        if len(self.waiting) >= MOST_UNDER_WAY:
            raise UnreachableError(f"{len(self.waiting)} requests wait for an answer of {self.provider} already")
        self.requests += 1
        number = self.requests
        response = self.waiting[number] = asyncio.get_running_loop().create_future()
        message = pb.ServeResponse(
            request_id=number, method=method, request=request, timeout_ms=max(int(timeout_s * 1000), 1)
        )
        self.outbox.put_nowait(message.SerializeToString())
        try:
            async with asyncio.timeout(timeout_s):
                received: bytes = await response
                return received
        finally:
            self.waiting.pop(number, None)
            if self.leaving and not self.waiting:
                self.answered.set()

    def take(self, message: pb.ServeRequest) -> None:
        """What the agent sent: a response, or that it leaves. Whatever it is, the connection lives."""
        self.rests_until = 0.0
        if message.HasField("hello"):
            self.leaving = True
            if not self.waiting:
                self.answered.set()
            return
        response = self.waiting.pop(message.request_id, None)
        if response is None or response.done():
            return  # it came too late, or twice
        if message.WhichOneof("what") == "response":
            response.set_result(message.response)
        else:
            response.set_exception(_failed(message.fault))

    def end(self) -> None:
        """Nothing more comes over it."""
        self.leaving = True
        self.ended.set()
        for response in self.waiting.values():
            if not response.done():
                response.set_exception(UnreachableError(f"the agent of {self.provider} hung up"))


class DialedAgents:
    """The streams that stand now. Implements `coordinator.lookups.transport.Transport`."""

    def __init__(self, refused: Refusal = _nobody_is_refused) -> None:
        self._refused = refused
        self._streams: dict[ProviderId, list[_Stream]] = {}
        self._turns: dict[ProviderId, int] = {}
        self._serials = PeerSerials()
        self._arrived = asyncio.Condition()
        self._closed = False

    def handlers(self) -> dict[str, Any]:
        """The methods of the service, for a server that insists on client certificates."""
        return {"Serve": grpc.stream_stream_rpc_method_handler(self._serve)}

    def connected(self) -> dict[ProviderId, int]:
        """How many streams each provider holds."""
        return {provider: len(streams) for provider, streams in self._streams.items() if streams}

    async def arrival(self, provider: ProviderId, streams: int = 1) -> None:
        """Return as soon as `provider` holds so many streams."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.connected().get(provider, 0) >= streams)

    def close(self) -> None:
        """End all streams and take no new ones; what is under way fails as unreachable."""
        self._closed = True
        for streams in self._streams.values():
            for stream in streams:
                stream.end()

    def review(self) -> None:
        """End the streams of those who are refused by now."""
        for stream in [stream for streams in self._streams.values() for stream in streams]:
            if (problem := self._refused(stream.provider, stream.serial)) is not None:
                log.warning("agent_cut_off", provider=stream.provider, reason=problem)
                stream.end()

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """The response of the first stream in turn that gives one.

        Raises:
            AgentError: see `coordinator.lookups.transport.Transport.call`.
        """
        if len(request) > LARGEST_MESSAGE:
            raise BadAnswerError(f"a request of {len(request)} bytes is more than an agent takes")
        ends = monotonic() + timeout.total_seconds()
        failed: AgentError = UnreachableError(
            f"no agent of {provider.id} has called in: it may be restarting or cut off"
        )
        for stream in self._in_turn(provider.id):
            left = ends - monotonic()
            if left <= 0:
                break
            try:
                return await stream.ask(method, request, left)
            except TimeoutError:
                stream.rests_until = inf
                raise AttemptTimedOutError(
                    f"no answer from the agent of {provider.id}, which has called in, "
                    f"within {timeout.total_seconds():.3g} s"
                ) from None
            except UnreachableError as error:
                stream.rests_until = monotonic() + REST_S
                failed = error
        raise failed

    def _in_turn(self, provider: ProviderId) -> list[_Stream]:
        streams = [stream for stream in self._streams.get(provider, ()) if not stream.leaving]
        if not streams:
            return []
        turn = self._turns.get(provider, 0)
        self._turns[provider] = turn + 1
        start, now = turn % len(streams), monotonic()
        return sorted(streams[start:] + streams[:start], key=lambda stream: stream.rests_until > now)

    async def _serve(self, requests: Any, context: Context) -> None:
        del requests  # read by context.read, beside which nothing else may read
        provider, serial = await self._admitted(context)
        stream = _Stream(provider, serial, await _greeting(context))
        self._add(stream)
        log.info("agent_called_in", provider=provider, version=stream.version)
        tasks = [
            asyncio.create_task(work)
            for work in (_read(stream, context), _write(stream, context), stream.answered.wait(), stream.ended.wait())
        ]
        try:
            async with self._arrived:
                self._arrived.notify_all()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stream.end()
            self._streams[provider].remove(stream)
            for task in tasks:
                task.cancel()
            failures = [e for e in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(e, Exception)]
            log.info("agent_hung_up", provider=provider)
        if any(isinstance(failure, DecodeError) for failure in failures):
            await _abort(context, Fault(ErrorReason.MALFORMED, "the bytes don't parse as hopback.v1.ServeRequest"))
        if self._closed or self._refused(provider, serial):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this coordinator ends the stream; call again")

    async def _admitted(self, context: Context) -> tuple[ProviderId, int | None]:
        proved = context.auth_context()
        providers, serial = providers_among(peer_uris(proved)), self._serials.of(proved)
        if len(providers) != 1:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the client's certificate names no provider")
        if (problem := self._refused(providers[0], serial)) is not None:
            log.warning("agent_refused", provider=providers[0], reason=problem)
            await _abort(context, Fault(ErrorReason.REVOKED, problem))
        if self._closed:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this coordinator is stopping; call again")
        await context.send_initial_metadata(((ACCEPTED, "1"),))
        return providers[0], serial

    def _add(self, stream: _Stream) -> None:
        streams = self._streams.setdefault(stream.provider, [])
        staying = [other for other in streams if not other.leaving]
        if len(staying) >= MOST_STREAMS:
            staying[0].end()
        streams.append(stream)


async def _greeting(context: Context) -> str:
    try:
        async with asyncio.timeout(GREETING_S):
            first = await context.read()
        message = pb.ServeRequest.FromString(b"" if first is _EOF else first)
    except (TimeoutError, DecodeError):
        message = pb.ServeRequest()
    if not message.HasField("hello"):
        await _abort(context, Fault(ErrorReason.MALFORMED, "a stream begins with a greeting"))
    return printable(message.hello.version, 64)


async def _read(stream: _Stream, context: Context) -> None:
    while (received := await context.read()) is not _EOF:
        stream.take(pb.ServeRequest.FromString(received))


async def _write(stream: _Stream, context: Context) -> None:
    while True:
        await context.write(await stream.outbox.get())


async def _abort(context: Context, fault: Fault) -> None:
    await context.abort(fault.code, fault.message, trailing_metadata(fault))


def _failed(status: bytes) -> AgentError:
    """What an agent's failure, as google.rpc.Status, means for the traceback; it may hold anything."""
    fault = fault_of(status)
    if fault is not None:
        return failure_of_fault(fault)
    read = status_pb2.Status()
    try:
        read.ParseFromString(status)
    except DecodeError:
        return BadAnswerError("the agent failed, and what it says of it does not parse")
    if read.code == grpc.StatusCode.UNIMPLEMENTED.value[0]:
        return BadAnswerError(f"the agent does not know what it is asked for: {harmless(read.message)}")
    return UnreachableError(f"the agent failed: {harmless(read.message)}")
