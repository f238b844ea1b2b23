"""How a request reaches a provider's agent and its answer comes back: bytes there, bytes back, one of four errors.

A `Transport` knows providers, methods and bytes, and nothing of what they mean (`lookups.agents` does). This module
has the one that calls: a gRPC channel an agent, over mutual TLS, kept open. The one for agents that open no port and
call here instead is in `coordinator.lookups.dialout`; `Switchboard` chooses between the two by the registry.

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

This coordinator's certificate and roots may change at any time (`protos.live`): calls under way end on the channels on
which they began, every later one uses a channel with the new files. What nobody calls over any more gRPC closes itself
after half an hour of idleness.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Final, Protocol

import grpc

from coordinator.lookups.connections import ClosedHereError, Connection, Line, Lines
from coordinator.tracing.ports import (
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
from protos.live import Live
from protos.printable import printable
from protos.tls import TlsFiles, channel_credentials, provider_channel_options
from protos.types import ErrorReason

LARGEST_MESSAGE: Final = 32 * 1024 * 1024
"""Bytes; a batch of 10,000 answers has a third of it."""

ChannelOptions = Sequence[tuple[str, str | int]]

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


class GrpcTransport:
    """Calls agents that listen. Use as an async context manager; `close` ends all connections."""

    def __init__(
        self,
        files: TlsFiles | Live[TlsFiles],
        options: Callable[[ProviderId], ChannelOptions] = provider_channel_options,
    ) -> None:
        """A `Live` is looked at before every call.

        `options` are further ones of a provider's channels: the name that whoever answers must prove, above all.
        """
        self._tls = files if isinstance(files, Live) else Live(files)
        self._shown = self._tls.current
        self._credentials = channel_credentials(self._shown)
        self._options = options
        self._lines: dict[ProviderId, Lines] = {}
        self._left: set[Connection] = set()

    async def __aenter__(self) -> GrpcTransport:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections; calls under way fail as unreachable."""
        every = [*self._left, *(line.connection for some in self._lines.values() for line in some.lines)]
        self._lines, self._left = {}, set()
        for connection in every:
            await connection.end()

    async def call(self, provider: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        """The answer of the first agent in turn that gives one; what the last one failed with, where none does.

        Raises:
            AgentError: see `Transport.call`.
        """
        ends = monotonic() + timeout.total_seconds()
        lines = (await self._open(provider)).in_turn(monotonic())
        for number, line in enumerate(lines, 1):
            if line.connection.shown is not self._tls.current:
                await self._reconnect(provider.id, line)
            connection = line.connection
            try:
                return await self._over(connection, method, request, max(ends - monotonic(), 0.0))
            except grpc.aio.AioRpcError as error:
                failed = failure(error, replace(provider, endpoint=line.endpoint), timeout)
            except ClosedHereError:
                failed = UnreachableError("the connection was closed on this side")
            if isinstance(failed, UnreachableError | AttemptTimedOutError):
                line.rests_until = monotonic() + REST_S
            if isinstance(failed, AttemptTimedOutError) and line.connection is connection:
                await self._reconnect(provider.id, line)
            if not isinstance(failed, UnreachableError) or number == len(lines) or monotonic() >= ends:
                raise failed from None
        raise UnreachableError(f"{provider.id} has no agent")

    async def _over(self, connection: Connection, method: str, request: bytes, timeout_s: float) -> bytes:
        try:
            return await connection.call(method, request, timeout_s)
        finally:
            if connection in self._left and not connection.busy:
                self._left.discard(connection)
                await connection.end()

    async def _open(self, provider: Provider) -> Lines:
        endpoints = tuple(endpoint for endpoint in provider.endpoints if endpoint != DIAL_OUT)
        if not endpoints:
            raise UnreachableError(f"{provider.id} has no agent that listens")
        known = self._lines.get(provider.id)
        if known is not None and known.endpoints == endpoints:
            return known
        opened = Lines(endpoints, [Line(endpoint, self._connection(provider.id, endpoint)) for endpoint in endpoints])
        self._lines[provider.id] = opened
        for line in () if known is None else known.lines:
            await self._leave(line.connection)
        return opened

    async def _reconnect(self, provider: ProviderId, line: Line) -> None:
        """Ask over another connection from now on."""
        old, line.connection = line.connection, self._connection(provider, line.endpoint)
        await self._leave(old)

    async def _leave(self, connection: Connection) -> None:
        if connection.busy:
            self._left.add(connection)
        else:
            await connection.end()

    def _connection(self, provider: ProviderId, endpoint: str) -> Connection:
        if self._shown is not self._tls.current:
            self._shown = self._tls.current
            self._credentials = channel_credentials(self._shown)
        options = (*_CHANNEL_OPTIONS, *self._options(provider))
        return Connection(grpc.aio.secure_channel(endpoint, self._credentials, options=options), self._shown)


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
