"""The client of the agents: one gRPC channel an agent, over mutual TLS, kept open.

Whoever answers must prove to be the provider that was asked: the channel pins the provider's name in the certificate
(`protos.identity`), wherever the endpoint leads, and the answer must carry the digest of the question's exact bytes and
the provider's id. What comes back is either a checked answer or one of the four errors of `coordinator.ports`; nothing
that another company's machine sends can raise anything else. Its words are cut, stripped of control characters and of
anything that could be a telephone number before they reach a terminal or a database.

A provider may have several agents over the same records. They are asked in turn, so that each has its share; one that
can't be reached, breaks off or can't read its records now is passed over for the next within the same attempt, and
left alone for `REST_S`. Asking twice is harmless: a lookup changes nothing, and only one answer is taken.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Final

import grpc
from google.protobuf.message import Message

from coordinator.ports import (
    AgentError,
    AttemptTimedOutError,
    BadAnswerError,
    DeclinedError,
    Exchange,
    Provider,
    Reply,
    UnreachableError,
)
from hopback.v1 import lookup_pb2 as pb
from protos.codec import ContractError, check, decode_answer, digest, encode_answer, exact_answer, parse
from protos.codec_batch import decode_answers, encode_questions
from protos.errors import read_fault
from protos.identity import ProviderId
from protos.printable import printable
from protos.tls import TlsFiles, channel_credentials, provider_channel_options
from protos.types import ErrorReason, Question

LOOKUP: Final = "/hopback.v1.CdrLookupService/Lookup"
LOOKUP_BATCH: Final = "/hopback.v1.CdrLookupService/LookupBatch"

# After a lost connection gRPC itself waits before it tries again; the machine's own pauses decide here, so be quick.
_CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

# What the agent says about the question; anything else that it says about itself is a failure that may pass.
_DECLINED: Final = frozenset({ErrorReason.NOT_A_COORDINATOR})
_NOT_TAKEN: Final = frozenset(
    {ErrorReason.MALFORMED, ErrorReason.INVALID_FIELD, ErrorReason.WRONG_TARGET, ErrorReason.BATCH_COLUMNS}
)
_NUMBER: Final = re.compile(r"\d(?:[\s().-]?\d){6,}")
_LONGEST_WORDS: Final = 200
_ADDRESS_REPEATED: Final = re.compile(r"^.*last error: \w+: \S+ (?:Failed to connect to remote host: )?")


_Method = Callable[..., Awaitable[bytes]]


REST_S: Final = 5.0
"""So long one that failed is asked only if all others failed, too."""


@dataclass(slots=True)
class _Line:
    """An open channel to one of a provider's agents; `rests_until` by the clock of `time.monotonic`."""

    endpoint: str
    channel: grpc.aio.Channel
    lookup: _Method
    lookup_batch: _Method
    rests_until: float = 0.0


@dataclass(slots=True)
class _Lines:
    """Channels to all agents of a provider, in the registry's order; `turn` counts questions."""

    endpoints: tuple[str, ...]
    lines: list[_Line]
    turn: int = 0

    def in_turn(self, now: float) -> list[_Line]:
        """All of them: first those in good standing, a different one first each time."""
        start = self.turn % len(self.lines)
        self.turn += 1
        order = self.lines[start:] + self.lines[:start]
        return sorted(order, key=lambda line: line.rests_until > now)


class GrpcAgents:
    """Implements `coordinator.ports.AgentClient`. Use as an async context manager; `close` ends all channels."""

    def __init__(self, files: TlsFiles) -> None:
        self._credentials = channel_credentials(files)
        self._lines: dict[str, _Lines] = {}

    async def __aenter__(self) -> GrpcAgents:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all channels; questions in flight fail as unreachable."""
        lines, self._lines = self._lines, {}
        for some in lines.values():
            await _end(some)

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        """One attempt at one question.

        Raises:
            AgentError: UnreachableError, AttemptTimedOutError, BadAnswerError or DeclinedError.
        """
        request = pb.LookupRequest(question=exact)
        received = await self._call(lambda line: line.lookup, request, provider, timeout)
        got = received
        try:
            got = exact_answer(received)
            answer = decode_answer(got, question_sha256=digest(exact), expected=question.target)
        except ContractError as error:
            raise BadAnswerError(printable(str(error)), got) from None
        return Reply(answer, got)

    async def ask_many(
        self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
    ) -> list[Reply]:
        """One attempt at many questions in one message; the earliest of their deadlines holds for all.

        Raises:
            AgentError: as `ask`, for all of them.
        """
        deadline = min(question.deadline for question, _ in asked)
        sent = encode_questions([replace(question, deadline=deadline) for question, _ in asked])
        sha256 = digest(sent)
        received = await self._call(
            lambda line: line.lookup_batch, pb.LookupBatchRequest(batch=sent), provider, timeout
        )
        response = pb.LookupBatchResponse()
        try:
            check(parse(response, received))
            answers = decode_answers(response.batch, batch_sha256=sha256, expected=provider.id, count=len(asked))
        except ContractError as error:
            raise BadAnswerError(printable(str(error)), response.batch or received) from None
        batch = Exchange(provider.id, sha256, sent, response.batch)
        return [
            Reply(answer, encode_answer(answer, digest(exact)), batch)
            for answer, (_, exact) in zip(answers, asked, strict=True)
        ]

    async def _call(
        self, method: Callable[[_Line], _Method], request: Message, provider: Provider, timeout: timedelta
    ) -> bytes:
        """The answer of the first agent in turn that gives one; what the last one failed with, where none does."""
        ends = monotonic() + timeout.total_seconds()
        lines = (await self._open(provider)).in_turn(monotonic())
        for number, line in enumerate(lines, 1):
            left = timedelta(seconds=max(ends - monotonic(), 0.0))
            try:
                return bytes(await method(line)(request, timeout=left.total_seconds()))
            except grpc.aio.AioRpcError as error:
                failed = failure(error, replace(provider, endpoint=line.endpoint), timeout)
            except grpc.aio.UsageError:  # the channel was closed meanwhile
                failed = UnreachableError("the connection was closed on this side")
            if isinstance(failed, UnreachableError | AttemptTimedOutError):
                line.rests_until = monotonic() + REST_S
            if not isinstance(failed, UnreachableError) or number == len(lines) or monotonic() >= ends:
                raise failed from None
        raise UnreachableError(f"{provider.id} has no agent")

    async def _open(self, provider: Provider) -> _Lines:
        endpoints = provider.endpoints
        if not endpoints:
            raise UnreachableError(f"{provider.id} has no agent")
        known = self._lines.get(provider.id)
        if known is not None and known.endpoints == endpoints:
            return known
        opened = _Lines(endpoints, [self._line(provider.id, endpoint) for endpoint in endpoints])
        self._lines[provider.id] = opened
        if known is not None:
            await _end(known)
        return opened

    def _line(self, provider: ProviderId, endpoint: str) -> _Line:
        channel = grpc.aio.secure_channel(
            endpoint, self._credentials, options=(*_CHANNEL_OPTIONS, *provider_channel_options(provider))
        )
        lookup = channel.unary_unary(LOOKUP, pb.LookupRequest.SerializeToString, None)
        lookup_batch = channel.unary_unary(LOOKUP_BATCH, pb.LookupBatchRequest.SerializeToString, None)
        return _Line(endpoint, channel, lookup, lookup_batch)


async def _end(some: _Lines) -> None:
    for line in some.lines:
        await line.channel.close(None)


def failure(error: grpc.aio.AioRpcError, provider: Provider, timeout: timedelta) -> AgentError:
    """What a failed call means for the traceback."""
    fault = read_fault(error)
    if fault is not None:
        message = _harmless(fault.message)
        if fault.reason in _DECLINED:
            return DeclinedError(message)
        if fault.reason in _NOT_TAKEN:
            return BadAnswerError(f"the agent could not take the question ({fault.reason.name}): {message}")
        return UnreachableError(f"the agent can't answer now ({fault.reason.name}): {message}")
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return AttemptTimedOutError(f"no answer from {provider.endpoint} within {timeout.total_seconds():.3g} s")
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnreachableError(_no_connection(provider, details))
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return DeclinedError(_harmless(details))
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return BadAnswerError(f"{provider.endpoint} speaks gRPC, but not hopback.v1: {_harmless(details)}")
    return UnreachableError(f"the agent failed ({code.name}): {_harmless(details)}")


def _harmless(words: str) -> str:
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
