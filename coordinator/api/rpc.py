"""The way that every call of the coordinator's own services goes, whichever service and method it is.

Who calls (the certificate), may that role call this method (`callers.ALLOWED`), are the message's rules kept; then the
method answers, from queries that leave out what this caller may not see. What a caller may not see does not exist for
it: the same NOT_FOUND, whether there is none or none for it.

Errors are gRPC statuses: UNAUTHENTICATED (nobody that is known), PERMISSION_DENIED (not this method), INVALID_ARGUMENT,
NOT_FOUND, FAILED_PRECONDITION (not in this state), ABORTED (somebody else was quicker: try again), UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc
import structlog
from google.protobuf.message import Message
from sqlalchemy.exc import SQLAlchemyError

from coordinator.api.callers import ALLOWED, Caller, Role, caller_of
from protos.codec import ContractError, check, parse
from protos.tls import PeerSerials, peer_uris

AT_ONCE: Final = 2
"""Long pieces of work at a time, each in a thread, so that no report holds up the tracing."""

log = structlog.get_logger()
M = TypeVar("M", bound=Message)
T = TypeVar("T")
Context = Any
Handlers = Mapping[str, Any]
"""grpc.RpcMethodHandler by name of the method."""


class RefusedError(Exception):
    """A call that is not served; `code` says why for machines, the text for people. No text holds a number."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def malformed(error: object) -> RefusedError:
    """What was sent is no such thing; the text says why."""
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def not_there(what: str) -> RefusedError:
    """There is none, or none for this caller."""
    return RefusedError(grpc.StatusCode.NOT_FOUND, f"there is no such {what}")


def not_now(error: object) -> RefusedError:
    """Not in this state."""
    return RefusedError(grpc.StatusCode.FAILED_PRECONDITION, str(error))


def read_uuid(text: str) -> uuid.UUID:
    """An id of a message.

    Raises:
        RefusedError: it is none.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise malformed("this is no id") from None


@dataclass(frozen=True, slots=True)
class Door:
    """Lets callers in and wraps methods as gRPC's handlers.

    Attributes:
        listed: the names that count for each role.
        revoked: why a certificate of this serial number counts no longer, None while it does.
    """

    listed: Mapping[Role, Collection[str]]
    revoked: Callable[[int | None], str | None] = lambda _: None
    _serials: PeerSerials = field(default_factory=PeerSerials)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def admitted(self, method: str, uris: Collection[str]) -> Caller:
        """Who calls, if that role may call this method.

        Raises:
            RefusedError: UNAUTHENTICATED or PERMISSION_DENIED.
        """
        caller = caller_of(uris, self.listed)
        if caller is None:
            raise RefusedError(
                grpc.StatusCode.UNAUTHENTICATED, "the client's certificate names nobody that this coordinator knows"
            )
        if caller.role not in ALLOWED.get(method, frozenset()):
            raise RefusedError(grpc.StatusCode.PERMISSION_DENIED, f"the role {caller.role.value} may not call {method}")
        return caller

    def _caller(self, method: str, proved: Mapping[str, Iterable[bytes]]) -> Caller:
        caller = self.admitted(method, peer_uris(proved))
        if (why := self.revoked(self._serials.of(proved))) is not None:
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, f"the client's certificate does not count: {why}")
        return caller

    async def apart(self, work: Callable[[], T]) -> T:
        """Do what takes long in a thread; few such at a time."""
        async with self._places:
            return await asyncio.to_thread(work)

    def unary(self, name: str, kind: type[M], method: Callable[[Caller, M], Awaitable[Message]]) -> Any:
        """One message, one answer."""

        async def handle(data: bytes, context: Context) -> bytes:
            async with _answering(context):
                caller = self._caller(name, context.auth_context())
                return (await method(caller, read(kind(), data))).SerializeToString()
            raise AssertionError("abort always raises")

        return grpc.unary_unary_rpc_method_handler(handle)

    def streaming(self, name: str, kind: type[M], method: Callable[[Caller, M], AsyncIterator[Message]]) -> Any:
        """One message, many answers."""

        async def handle(data: bytes, context: Context) -> AsyncIterator[bytes]:
            async with _answering(context):
                caller = self._caller(name, context.auth_context())
                async for answer in method(caller, read(kind(), data)):
                    yield answer.SerializeToString()

        return grpc.unary_stream_rpc_method_handler(handle)

    def collecting(
        self, name: str, kind: type[M], method: Callable[[Caller, AsyncIterator[M]], Awaitable[Message]]
    ) -> Any:
        """Many messages, one answer."""

        async def handle(stream: AsyncIterator[bytes], context: Context) -> bytes:
            async with _answering(context):
                caller = self._caller(name, context.auth_context())
                return (await method(caller, _each(kind, stream))).SerializeToString()
            raise AssertionError("abort always raises")

        return grpc.stream_unary_rpc_method_handler(handle)


async def _each(kind: type[M], stream: AsyncIterator[bytes]) -> AsyncIterator[M]:
    async for data in stream:
        yield read(kind(), data)


def read(message: M, data: bytes) -> M:
    """A message whose rules are kept.

    Raises:
        RefusedError: it is none, or they aren't.
    """
    try:
        check(parse(message, data))
    except ContractError as error:
        raise malformed(error) from None
    return message


@asynccontextmanager
async def _answering(context: Context) -> AsyncIterator[None]:
    """What a method raises becomes the call's status."""
    try:
        yield
    except RefusedError as error:
        await context.abort(error.code, str(error))
    except SQLAlchemyError as error:
        _told("store_failed", error)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the coordinator's database can't be used now; try again")


def _told(event: str, error: Exception) -> None:
    """To the log alone, and without the text, which may hold what was to be written."""
    log.error(event, error=type(error).__name__)
