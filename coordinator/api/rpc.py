"""The way that every call of the coordinator's own services goes, whichever service and method it is.

Who calls (the certificate), may that role call this method (`callers.ALLOWED`), are the message's rules kept; then the
method answers, from queries that leave out what this caller may not see. What a caller may not see does not exist for
it: the same NOT_FOUND, whether there is none or none for it.

One caller never takes the places of all: each may have so many calls open at a time, and long work of one caller is
done one piece after the other. Whether its certificate still counts is asked again before every message of a stream.

Errors are gRPC statuses: UNAUTHENTICATED (nobody that is known), PERMISSION_DENIED (not this method), INVALID_ARGUMENT,
NOT_FOUND, FAILED_PRECONDITION (not in this state), RESOURCE_EXHAUSTED (too much for one caller), ABORTED (somebody else
was quicker: try again), UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import grpc
import structlog
from google.protobuf.message import Message
from sqlalchemy.exc import SQLAlchemyError

from coordinator.callers import ALLOWED, Caller, Role, caller_of
from protos.codec import ContractError, check, parse
from protos.printable import is_plain
from protos.tls import PeerSerials, peer_uris

AT_ONCE: Final = 2
"""Long pieces of work at a time, each in a thread, so that no report holds up the tracing."""
MOST_OPEN: Final = 64
"""Calls that one caller may have open; each that watches reads the database twice a second."""
MOST_COLLECTED: Final = 2
"""Of these, those that send many messages, which are kept until the last one has come."""

_calling: ContextVar[Caller | None] = ContextVar("calling", default=None)
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
    _turns: WeakValueDictionary[Caller | None, asyncio.Semaphore] = field(default_factory=WeakValueDictionary)
    _open: Counter[tuple[Caller, bool]] = field(default_factory=Counter)

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
        self._still(proved)
        return caller

    def _still(self, proved: Mapping[str, Iterable[bytes]]) -> None:
        if (why := self.revoked(self._serials.of(proved))) is not None:
            raise RefusedError(grpc.StatusCode.UNAUTHENTICATED, f"the client's certificate does not count: {why}")

    @contextmanager
    def _let_in(self, method: str, context: Context, *, collects: bool = False) -> Iterator[Caller]:
        caller = self._caller(method, context.auth_context())
        taken = [(caller, False), (caller, True)] if collects else [(caller, False)]
        if any(self._open[one] >= (MOST_COLLECTED if one[1] else MOST_OPEN) for one in taken):
            raise RefusedError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "you have too many calls open: end some, then call again"
            )
        self._open.update(taken)
        _calling.set(caller)
        try:
            yield caller
        finally:
            self._open.subtract(taken)
            for one in taken:
                if not self._open[one]:
                    del self._open[one]

    async def apart(self, work: Callable[[], T]) -> T:
        """Do what takes long in a thread; few such at a time, and one of each caller."""
        caller = _calling.get()
        turn = self._turns.setdefault(caller, asyncio.Semaphore(AT_ONCE if caller is None else 1))
        async with turn, self._places:
            return await asyncio.to_thread(work)

    def unary(self, name: str, kind: type[M], method: Callable[[Caller, M], Awaitable[Message]]) -> Any:
        """One message, one answer."""

        async def handle(data: bytes, context: Context) -> bytes:
            async with _answering(context):
                with self._let_in(name, context) as caller:
                    return (await method(caller, read(kind(), data))).SerializeToString()
            raise AssertionError("abort always raises")

        return grpc.unary_unary_rpc_method_handler(handle)

    def streaming(self, name: str, kind: type[M], method: Callable[[Caller, M], AsyncIterator[Message]]) -> Any:
        """One message, many answers."""

        async def handle(data: bytes, context: Context) -> AsyncIterator[bytes]:
            async with _answering(context):
                with self._let_in(name, context) as caller:
                    async for answer in method(caller, read(kind(), data)):
                        self._still(context.auth_context())
                        yield answer.SerializeToString()

        return grpc.unary_stream_rpc_method_handler(handle)

    def collecting(
        self, name: str, kind: type[M], method: Callable[[Caller, AsyncIterator[M]], Awaitable[Message]]
    ) -> Any:
        """Many messages, one answer."""

        async def handle(stream: AsyncIterator[bytes], context: Context) -> bytes:
            async def each() -> AsyncIterator[M]:
                async for data in stream:
                    self._still(context.auth_context())
                    yield read(kind(), data)

            async with _answering(context):
                with self._let_in(name, context, collects=True) as caller:
                    return (await method(caller, each())).SerializeToString()
            raise AssertionError("abort always raises")

        return grpc.stream_unary_rpc_method_handler(handle)


def read(message: M, data: bytes) -> M:
    """A message whose rules are kept, and whose texts steer no terminal, letter or table that they come into.

    Raises:
        RefusedError: it is none, or they aren't, or one does.
    """
    try:
        check(parse(message, data))
    except ContractError as error:
        raise malformed(error) from None
    if (name := _not_plain(message)) is not None:
        raise malformed(f"{name}: control characters and invisible ones are not taken")
    return message


def _not_plain(message: Message) -> str | None:
    """The first field whose text is not plain."""
    for descriptor, value in message.ListFields():
        if descriptor.type not in (descriptor.TYPE_STRING, descriptor.TYPE_MESSAGE):
            continue
        for one in [value] if isinstance(value, str | Message) else value:
            name = _not_plain(one) if isinstance(one, Message) else None if is_plain(one) else str(descriptor.name)
            if name is not None:
                return name
    return None


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
