"""An agent that opens no port: it calls the coordinator, holds a stream open, and is asked over it (DialOutService).

What arrives over the stream goes to the same handlers as what arrives at a port. Both ends are known by their
certificates: the coordinator must prove the name that the configuration pins, and takes this provider's id from the
certificate that is shown here. Who asks is therefore that coordinator, for every request of the stream.

A stream that ends is opened again, after a pause that doubles up to `Pauses.longest` and is drawn at random within its
upper half, so that a coordinator which restarts does not meet all agents in the same second. When this agent's
certificate is renewed, the next stream is opened with it before the old one is left, and the old one ends when all that
came over it is answered: no request is lost.

Refused: methods that nobody handles here, requests beyond `AT_ONCE` at the same time (they wait, and the coordinator's
writing with them). A handler that fails unforeseen is reported without its text, which might hold a number.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from agent.defects import place_of
from agent.handlers import Handlers
from hopback.v1 import enrolment_pb2 as pb
from protos.codec import ContractError
from protos.errors import Fault, FaultError, read_fault, status_of
from protos.live import Live
from protos.printable import printable
from protos.tls import TlsFiles, channel_credentials, coordinator_channel_options

SERVE: Final = "/hopback.v1.DialOutService/Serve"
ACCEPTED: Final = "hopback-accepted"
"""In the initial metadata of a stream that the coordinator has accepted."""
AT_ONCE: Final = 64
"""Requests of one stream that are handled at the same time."""
STOOD_S: Final = 30.0
"""A stream that held so long in seconds, or was asked, stood; one that ends sooner counts as a failure."""
OPENING_S: Final = 10.0
"""How long the coordinator may take to accept a stream, in seconds."""
LARGEST_MESSAGE: Final = 32 * 1024 * 1024
"""Bytes of a request."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE + 64 * 1024),
    ("grpc.keepalive_time_ms", 10_000),  # a way that died unnoticed is found out within 15 s
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # gRPC waits for the longer of the two, and that is a minute by default
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection, with the new certificate
)

log = structlog.get_logger()


@dataclass(slots=True)
class Pauses:
    """How long to wait before calling again, in seconds; each is longer, until a stream stood."""

    first: float = 0.5
    longest: float = 15.0
    rng: random.Random = field(default_factory=random.SystemRandom)
    failures: int = 0

    def next(self) -> float:
        """The pause after one more failure."""
        most = min(self.first * 2.0 ** min(self.failures, 30), self.longest)
        self.failures += 1
        return most * self.rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """A stream stood."""
        self.failures = 0


class DialOut:
    """Holds a stream to one coordinator. `run` it until it is cancelled."""

    def __init__(
        self,
        endpoint: str,
        coordinator: str,
        tls: Live[TlsFiles],
        handlers: Handlers,
        pauses: Pauses | None = None,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        """`endpoint` is host:port, `coordinator` the URI that whoever listens there must prove to be."""
        self._endpoint, self._coordinator = endpoint, coordinator
        self._tls, self._handlers = tls, handlers
        self._pauses, self._sleep = pauses or Pauses(), sleep
        self._renewed = asyncio.Event()
        self._held: _Held | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.serving = asyncio.Event()
        """Set while the coordinator can ask."""
        tls.on_change(lambda _: self._renewed.set())

    async def run(self) -> None:
        """Call, serve, call again; ends only by being cancelled."""
        try:
            while True:
                self._renewed.clear()
                called_in = await self._call_in()
                if called_in:
                    await self._until(self._renewed.wait())
                if self._held is None or not called_in:  # where a new certificate finds no way, the old stream stands
                    await self._until(self._sleep(self._pauses.next()))
        finally:
            self.serving.clear()
            every = [*self._leaving, *([self._held.task] if self._held is not None else [])]
            for task in every:
                task.cancel()
            await asyncio.gather(*every, return_exceptions=True)

    async def _call_in(self) -> bool:
        """Hold a new stream, and leave the one before it once the new one stands."""
        stream = await self._open()
        if stream is None:
            return False
        if self._held is not None:
            self._held.stream.leave()
            self._leaving.add(self._held.task)
            self._held.task.add_done_callback(self._left)
        self._held = _Held(stream, asyncio.create_task(stream.hold()))
        self.serving.set()
        log.info("called_in", coordinator=self._coordinator, endpoint=self._endpoint)
        return True

    async def _until(self, other: Coroutine[Any, Any, object]) -> None:
        """Return when `other` does, or earlier when the stream ends."""
        waiting: asyncio.Task[Any] = asyncio.create_task(other)
        held = self._held
        try:
            await asyncio.wait((waiting, held.task) if held else (waiting,), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])  # never its result: whoever stops this agent meanwhile must be heard
        if held is not None and held.task.done():
            self._held = None
            self.serving.clear()
            log.warning("stream_ended", endpoint=self._endpoint, reason=_why(held.task))
            if held.stream.stood():
                self._pauses.reset()

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        _seen(task)

    async def _open(self) -> _Stream | None:
        """A stream that the coordinator has accepted; None, with a line in the log, when it can't be had."""
        options = (*_OPTIONS, *coordinator_channel_options(self._coordinator))
        channel = grpc.aio.secure_channel(self._endpoint, channel_credentials(self._tls.current), options=options)
        stream = _Stream(channel, self._handlers, (self._coordinator,))
        try:
            async with asyncio.timeout(OPENING_S):
                await stream.greet()
            return stream
        except TimeoutError:
            log.warning("can_not_call_in", endpoint=self._endpoint, reason=f"no answer within {OPENING_S:.0f} s")
        except grpc.aio.AioRpcError as error:
            log.warning("can_not_call_in", endpoint=self._endpoint, reason=_reason(error))
        except BaseException:
            await channel.close(None)
            raise
        await channel.close(None)
        return None


class _Stream:
    """One stream, on a connection of its own."""

    def __init__(self, channel: grpc.aio.Channel, handlers: Handlers, asker: tuple[str, ...]) -> None:
        self._channel = channel
        self._handlers = handlers
        self._asker = asker
        self._places = asyncio.Semaphore(AT_ONCE)
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = asyncio.get_running_loop().time()
        self._asked = False
        method: Any = channel.stream_stream(SERVE, None, None)
        self._call: Any = method()

    async def greet(self) -> None:
        """Return when the coordinator has accepted.

        Raises:
            grpc.aio.AioRpcError: it refuses, or can't be reached.
        """
        with suppress(asyncio.InvalidStateError, grpc.aio.UsageError):  # the call has ended: its status says why
            await self._send(pb.ServeRequest(hello=pb.ServeHello(version=_version())))
        accepted = await self._call.initial_metadata()
        if ACCEPTED not in dict(accepted or ()):
            code, details = await self._call.code(), await self._call.details()
            raise grpc.aio.AioRpcError(code, accepted, await self._call.trailing_metadata(), details, None)

    async def hold(self) -> None:
        """Answer what is asked until the stream ends.

        Raises:
            grpc.aio.AioRpcError: it broke, or the coordinator ended it with a reason.
        """
        try:
            async for received in self._call:
                self._asked = True
                await self._places.acquire()
                task = asyncio.create_task(self._answer(received))
                self._tasks.add(task)
                task.add_done_callback(self._answered)
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._call.cancel()
            await self._channel.close(None)

    def stood(self) -> bool:
        """Whether it did what it was opened for: it was asked, or held for a while."""
        return self._asked or asyncio.get_running_loop().time() - self._opened >= STOOD_S

    def leave(self) -> None:
        """Ask for no more; the coordinator ends the stream when all that it sent is answered."""
        task = asyncio.create_task(self._send(pb.ServeRequest(hello=pb.ServeHello(version=_version()))))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        _seen(task)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._places.release()
        self._done(task)

    async def _answer(self, received: bytes) -> None:
        try:
            asked = pb.ServeResponse.FromString(received)
        except DecodeError:
            return  # nobody could say what this answers
        answer = pb.ServeRequest(request_id=asked.request_id)
        try:
            async with asyncio.timeout(asked.timeout_ms / 1000):
                answer.response = await self._handle(asked.method, asked.request)
        except TimeoutError:
            return  # nobody waits any more
        except FaultError as error:
            answer.fault = status_of(error.fault)
        except ContractError as error:
            answer.fault = status_of(Fault.of(error))
        except _UnknownMethodError:
            answer.fault = _status(grpc.StatusCode.UNIMPLEMENTED, "this agent has no such method")
        except Exception as error:
            log.error("request_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            answer.fault = _status(grpc.StatusCode.INTERNAL, "the agent failed; its operator's log says where")
        await self._send(answer)

    async def _handle(self, method: str, request: bytes) -> bytes:
        handler = self._handlers.get(method)
        if handler is None:
            raise _UnknownMethodError
        return await handler(request, self._asker)

    async def _send(self, message: pb.ServeRequest) -> None:
        async with self._writing:
            await self._call.write(message.SerializeToString())


class _UnknownMethodError(Exception):
    """Nobody handles it."""


def _status(code: grpc.StatusCode, message: str) -> bytes:
    return bytes(status_pb2.Status(code=code.value[0], message=message).SerializeToString())


@dataclass(frozen=True, slots=True)
class _Held:
    """The stream over which the coordinator asks now, and what holds it."""

    stream: _Stream
    task: asyncio.Task[None]


def _seen(task: asyncio.Task[None]) -> None:
    """What a task failed with is of no interest: the stream's end says why."""
    if not task.cancelled():
        task.exception()


def _why(task: asyncio.Task[None]) -> str:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, grpc.aio.AioRpcError):
        return _reason(error)
    return "the coordinator ended it" if error is None else type(error).__name__


def _reason(error: grpc.aio.AioRpcError) -> str:
    fault = read_fault(error)
    if fault is not None:
        return f"{fault.reason.name}: {fault.message}"
    details = error.details() or ""
    if "Hostname Verification Check failed" in details:
        return "whoever listens there shows another party's certificate, not the coordinator's"
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return "the certificate shown there is of no root that this agent trusts, or expired"
    return f"{error.code().name}: {printable(details, 200)}"


def _version() -> str:
    try:
        return version("hopback")
    except PackageNotFoundError:
        return "unknown"
