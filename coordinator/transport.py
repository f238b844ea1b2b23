"""How a request reaches a provider's agent and its answer comes back: bytes there, bytes back, one of four errors.

A `Transport` knows providers, methods and bytes, and nothing of what they mean (`coordinator.agents` does). This module
has the one that calls: a gRPC channel an agent, over mutual TLS, kept open. The one for agents that open no port and
call here instead is in `coordinator.dialout`; `Switchboard` chooses between the two by the registry.

Whoever answers must prove to be the provider that was asked: the channel pins the provider's name in the certificate
(`protos.identity`), wherever the endpoint leads. Nothing that another company's machine sends can raise anything but
an `AgentError`. Its words are cut, stripped of control characters and of anything that could be a telephone number
before they reach a terminal or a database.

A provider may have several agents over the same records. They are asked in turn, so that each has its share; one that
can't be reached, breaks off or can't read its records now is passed over for the next within the same attempt, and
left alone for `REST_S`. Asking twice is harmless: an agent answers the same bytes from its memory, and only one answer
is taken.

A connection can die without a word to either end (a firewall forgets it, a machine vanishes). Over one that gave no
answer in time nothing more is asked: the next attempt opens another, whatever was under way on the old one may end.

`GrpcTransport.renew` puts another certificate of this coordinator in place: calls under way end on the channels on
which they began, every later one uses a channel with the new certificate.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic
from typing import Final, Protocol

import grpc

from coordinator.ports import (
    DIAL_OUT,
    AgentError,
    AttemptTimedOutError,
    BadAnswerError,
    DeclinedError,
    Provider,
    UnreachableError,
)
from protos.errors import Fault, read_fault
from protos.identity import ProviderId
from protos.printable import printable
from protos.tls import TlsFiles, channel_credentials, provider_channel_options
from protos.types import ErrorReason

LARGEST_MESSAGE: Final = 32 * 1024 * 1024
"""Bytes; a batch of 10,000 answers has a third of it."""

REST_S: Final = 5.0
"""So long one that failed is asked only if all others failed, too."""

# After a lost connection gRPC itself waits before it tries again; the machine's own pauses decide here, so be quick.
_CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # in truth how long connecting may take, TLS included
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
)

# What the agent says about the question; anything else that it says about itself is a failure that may pass.
_DECLINED: Final = frozenset({ErrorReason.NOT_A_COORDINATOR, ErrorReason.REVOKED, ErrorReason.ORDER_REQUIRED})
_NOT_TAKEN: Final = frozenset(
    {
        ErrorReason.MALFORMED,
        ErrorReason.INVALID_FIELD,
        ErrorReason.WRONG_TARGET,
        ErrorReason.BATCH_COLUMNS,
        ErrorReason.SIGNATURE,
    }
)
_NUMBER: Final = re.compile(r"\d(?:[\s().-]?\d){6,}")
_LONGEST_WORDS: Final = 200
_ADDRESS_REPEATED: Final = re.compile(r"^.*last error: \w+: \S+ (?:Failed to connect to remote host: )?")


class Transport(Protocol):
    """Carries one request to one provider's agent, once, and the response back."""

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """The serialised response to the serialised `request` of `method`, such as "/hopback.v1.HopService/Ask".

        Raises:
            AgentError: UnreachableError, AttemptTimedOutError, BadAnswerError or DeclinedError.
        """
        ...


_Method = Callable[..., Awaitable[bytes]]


@dataclass(slots=True)
class _Line:
    """An open channel to one of a provider's agents; `rests_until` by the clock of `time.monotonic`."""

    endpoint: str
    channel: grpc.aio.Channel
    methods: dict[str, _Method] = field(default_factory=dict)
    rests_until: float = 0.0

    def method(self, name: str) -> _Method:
        """What calls the method of this name with bytes, and gives bytes."""
        known = self.methods.get(name)
        if known is None:
            known = self.methods[name] = self.channel.unary_unary(name, None, None)
        return known


@dataclass(slots=True, eq=False)
class _Lines:
    """Channels to all agents of a provider, in the registry's order.

    `turn` counts calls. `busy` is how many are under way: lines that are `retired` are closed when the last one ends.
    """

    endpoints: tuple[str, ...]
    lines: list[_Line]
    turn: int = 0
    busy: int = 0
    retired: bool = False

    def in_turn(self, now: float) -> list[_Line]:
        """All of them: first those in good standing, a different one first each time."""
        start = self.turn % len(self.lines)
        self.turn += 1
        order = self.lines[start:] + self.lines[:start]
        return sorted(order, key=lambda line: line.rests_until > now)

    async def end(self) -> None:
        """Close the channels; calls under way break off."""
        for line in self.lines:
            await line.channel.close(None)


class GrpcTransport:
    """Calls agents that listen. Use as an async context manager; `close` ends all channels."""

    def __init__(self, files: TlsFiles) -> None:
        self._credentials = channel_credentials(files)
        self._lines: dict[str, _Lines] = {}
        self._leaving: list[_Lines] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> GrpcTransport:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all channels; calls under way fail as unreachable."""
        every = [*self._lines.values(), *self._leaving]
        self._lines, self._leaving = {}, []
        for some in every:
            await some.end()
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def renew(self, files: TlsFiles) -> None:
        """From now on call with this certificate; calls under way end undisturbed."""
        self._credentials = channel_credentials(files)
        known, self._lines = self._lines, {}
        for some in known.values():
            await self._retire(some)

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """The answer of the first agent in turn that gives one; what the last one failed with, where none does.

        Raises:
            AgentError: see `Transport.call`.
        """
        some = await self._open(provider)
        some.busy += 1
        try:
            return await self._call(some, provider, method, request, timeout)
        finally:
            some.busy -= 1
            if some.retired and not some.busy and some in self._leaving:
                self._leaving.remove(some)
                await some.end()

    async def _call(self, some: _Lines, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        ends = monotonic() + timeout.total_seconds()
        lines = some.in_turn(monotonic())
        for number, line in enumerate(lines, 1):
            left, channel = max(ends - monotonic(), 0.0), line.channel
            try:
                return bytes(await line.method(method)(request, timeout=left))
            except grpc.aio.AioRpcError as error:
                failed = failure(error, replace(provider, endpoint=line.endpoint), timeout)
            except grpc.aio.UsageError:  # the channel was closed meanwhile
                failed = UnreachableError("the connection was closed on this side")
            if isinstance(failed, UnreachableError | AttemptTimedOutError):
                line.rests_until = monotonic() + REST_S
            if isinstance(failed, AttemptTimedOutError) and line.channel is channel:
                self._reopen(line, provider.id, timeout)
            if not isinstance(failed, UnreachableError) or number == len(lines) or monotonic() >= ends:
                raise failed from None
        raise UnreachableError(f"{provider.id} has no agent")

    async def _open(self, provider: Provider) -> _Lines:
        endpoints = tuple(endpoint for endpoint in provider.endpoints if endpoint != DIAL_OUT)
        if not endpoints:
            raise UnreachableError(f"{provider.id} has no agent that listens")
        known = self._lines.get(provider.id)
        if known is not None and known.endpoints == endpoints:
            return known
        opened = _Lines(endpoints, [self._line(provider.id, endpoint) for endpoint in endpoints])
        self._lines[provider.id] = opened
        if known is not None:
            await self._retire(known)
        return opened

    async def _retire(self, some: _Lines) -> None:
        some.retired = True
        if some.busy:
            self._leaving.append(some)
        else:
            await some.end()

    def _line(self, provider: ProviderId, endpoint: str) -> _Line:
        return _Line(endpoint, self._channel(provider, endpoint))

    def _channel(self, provider: ProviderId, endpoint: str) -> grpc.aio.Channel:
        options = (*_CHANNEL_OPTIONS, *provider_channel_options(provider))
        return grpc.aio.secure_channel(endpoint, self._credentials, options=options)

    def _reopen(self, line: _Line, provider: ProviderId, grace: timedelta) -> None:
        """Ask over another connection from now on; calls under way on the old one have `grace` to end."""
        closing = asyncio.create_task(line.channel.close(grace.total_seconds()))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        line.channel, line.methods = self._channel(provider, line.endpoint), {}


class Switchboard:
    """Calls providers by those that have dialled in where the registry says so, else or failing that by their ports."""

    def __init__(self, listening: Transport, dialled: Transport) -> None:
        self._listening = listening
        self._dialled = dialled

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """The response, by whichever way reaches an agent.

        Raises:
            AgentError: see `Transport.call`.
        """
        if DIAL_OUT not in provider.endpoints:
            return await self._listening.call(provider, method, request, timeout)
        ends = monotonic() + timeout.total_seconds()
        try:
            return await self._dialled.call(provider, method, request, timeout)
        except UnreachableError:
            left = timedelta(seconds=ends - monotonic())
            if len(provider.endpoints) == 1 or left <= timedelta(0):
                raise
        return await self._listening.call(provider, method, request, left)


def failure(error: grpc.aio.AioRpcError, provider: Provider, timeout: timedelta) -> AgentError:
    """What a failed call means for the traceback."""
    fault = read_fault(error)
    if fault is not None:
        return failure_of_fault(fault)
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return AttemptTimedOutError(f"no answer from {provider.endpoint} within {timeout.total_seconds():.3g} s")
    if code is grpc.StatusCode.UNAVAILABLE or details.startswith("Stream removed"):
        return UnreachableError(_no_connection(provider, details))
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return DeclinedError(harmless(details))
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return BadAnswerError(f"{provider.endpoint} speaks gRPC, but not hopback.v1: {harmless(details)}")
    return UnreachableError(f"the agent failed ({code.name}): {harmless(details)}")


def failure_of_fault(fault: Fault) -> AgentError:
    """What a reason that the agent gave means for the traceback."""
    message = harmless(fault.message)
    if fault.reason in _DECLINED:
        return DeclinedError(message)
    if fault.reason in _NOT_TAKEN:
        return BadAnswerError(f"the agent could not take the question ({fault.reason.name}): {message}")
    return UnreachableError(f"the agent can't answer now ({fault.reason.name}): {message}")


def harmless(words: str) -> str:
    """The other side's words, fit for a terminal, a log and a database."""
    return _NUMBER.sub("(number)", printable(words, _LONGEST_WORDS))


def _no_connection(provider: Provider, details: str) -> str:
    if "Hostname Verification Check failed" in details:
        return f"whoever listens at {provider.endpoint} shows another party's certificate, not that of {provider.id}"
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return f"the certificate shown at {provider.endpoint} is of no root that this coordinator trusts, or expired"
    if "WRONG_VERSION_NUMBER" in details:
        return f"whoever listens at {provider.endpoint} does not speak TLS: is it the port of {provider.id}'s agent?"
    if details.endswith("Socket closed"):
        return f"{provider.endpoint} closed the connection: does the agent trust the root of this coordinator?"
    reason = _ADDRESS_REPEATED.sub("", details)
    return f"no connection to {provider.endpoint}: {printable(reason, _LONGEST_WORDS)}"
