"""TracebackService: what people and their programs want of a coordinator, over gRPC and mutual TLS.

Every call goes the same way: who calls (the certificate), may that role call this method (`callers.ALLOWED`), are the
message's rules kept, and then the store's own queries leave out what this caller may not see. What a caller may not see
does not exist for it: the same NOT_FOUND, whether there is none or none for it.

Errors are gRPC statuses: UNAUTHENTICATED (nobody that is known), PERMISSION_DENIED (not this method), INVALID_ARGUMENT,
NOT_FOUND, FAILED_PRECONDITION (not in this state), ABORTED (somebody else was quicker: try again), UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn, TypeVar

import grpc
import structlog
from google.protobuf.message import Message
from sqlalchemy.exc import SQLAlchemyError

from coordinator.api.callers import ALLOWED, SERVICE, Caller, Role, caller_of
from coordinator.chain import Phase, Traceback
from coordinator.deadlines.standing import Standing
from coordinator.events import Cancelled
from coordinator.orders import call_of, start_problem
from coordinator.ports import Change, Lease
from coordinator.priorities import Priority
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import SqlStore
from coordinator.store.views import BadPageError, Views
from coordinator.tasks.answers import AnswerError
from coordinator.tasks.desk import LinkError, NoSuchTaskError, NotOpenError, TaskDesk
from coordinator.tasks.task import State, Task
from coordinator.traceback import advance
from hopback.v1 import traceback_pb2 as pb
from protos.codec import ContractError, check, parse, unix_ms
from protos.identity import ProviderId
from protos.orders import Granted, Persons
from protos.signing import SealChecker
from protos.tls import peer_uris

WATCHED_EVERY_S: Final = 0.5
_CANCEL_LEASE: Final = timedelta(seconds=15)

log = structlog.get_logger()
M = TypeVar("M", bound=Message)
Context = Any


class RefusedError(Exception):
    """A call that is not served; `code` says why for machines, the text for people. No text holds a number."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class House:
    """What the service stands on.

    `priority_of` ranks new tracebacks; `listed` are the names that count for each role.
    """

    name: str
    store: SqlStore
    views: Views
    book: OrderBook
    tasks: TaskDesk
    persons: Persons
    listed: Mapping[Role, Collection[str]]
    clock: Callable[[], datetime]
    owner: str
    priority_of: Callable[[Granted], Priority] = lambda granted: Priority.REST  # noqa: ARG005
    wake: Callable[[], None] = lambda: None


class TracebackApi:
    """Implements the service; each method takes a caller and a message, and gives a message or raises RefusedError."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._seals = SealChecker()

    # Tracebacks

    async def submit(self, caller: Caller, request: pb.SubmitRequest) -> pb.SubmitResponse:
        """Begin tracebacks under approved orders; one order is one traceback, however often it is submitted."""
        house, now = self._house, self._house.clock()
        granted = house.book.granted(set(request.order_sha256))
        results: list[pb.Submitted] = []
        fresh: dict[uuid.UUID, Granted] = {}
        for sha256 in request.order_sha256:
            order = granted.get(sha256)
            if order is None or (caller.role is Role.REQUESTER and order.order.submitter != caller.name):
                results.append(pb.Submitted(refused="there is no such order"))
                continue
            identity = traceback_id_of(sha256)
            problem = start_problem(order, house.persons, self._seals, house.name, now)
            if problem is not None:
                results.append(pb.Submitted(refused=problem))
            elif identity in fresh or house.store.load(identity) is not None:
                results.append(pb.Submitted(traceback_id=str(identity), existing=True))
            else:
                fresh[identity] = order
                results.append(pb.Submitted(traceback_id=str(identity)))
        new = {Traceback(identity, call_of(one.order, one.sha256)): one for identity, one in fresh.items()}
        house.store.submit(new, now, priority=lambda traceback: house.priority_of(new[traceback]))
        house.wake()
        return pb.SubmitResponse(results=results)

    async def get(self, caller: Caller, request: pb.GetRequest) -> pb.GetResponse:
        """One traceback as far as the caller may see it."""
        seen = self._house.views.get(caller, _uuid(request.traceback_id))
        if seen is None:
            raise _not_there()
        return pb.GetResponse(traceback=seen.view)

    async def list(self, caller: Caller, request: pb.ListRequest) -> pb.ListResponse:
        """A page of tracebacks that the caller may see, newest first."""
        try:
            views, token = self._house.views.page(
                caller,
                status=request.status,
                campaign=request.campaign,
                size=request.page_size,
                token=request.page_token,
            )
        except BadPageError as error:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        return pb.ListResponse(tracebacks=views, next_page_token=token)

    async def watch(self, caller: Caller, request: pb.WatchRequest) -> AsyncIterator[pb.WatchResponse]:
        """The traceback now and whenever it changes for this caller, until nothing of it can."""
        last = b""
        while True:
            seen = self._house.views.get(caller, _uuid(request.traceback_id))
            if seen is None:
                raise _not_there()
            state = seen.view.SerializeToString(deterministic=True)
            if state != last:
                yield pb.WatchResponse(traceback=seen.view)
            if not seen.open:
                return
            last = state
            await asyncio.sleep(WATCHED_EVERY_S)

    async def cancel(self, caller: Caller, request: pb.CancelRequest) -> pb.CancelResponse:
        """Close a traceback for good."""
        house, identity = self._house, _uuid(request.traceback_id)
        if house.views.get(caller, identity) is None:
            raise _not_there()
        now, kept = house.clock(), house.store.load(identity)
        with_person = kept is not None and kept.traceback.status.phase is Phase.PERSON
        lease = Lease(house.owner, now, now + _CANCEL_LEASE)
        claimed = await house.store.claim_these(lease, [identity], early=True, closed_too=with_person)
        if not claimed:
            kept = house.store.load(identity)
            if kept is not None and kept.traceback.status.phase is Phase.CLOSED:
                raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "it is closed already")
            raise RefusedError(grpc.StatusCode.ABORTED, "a provider is being asked just now: try again")
        kept = claimed[0]
        reason = f"cancelled by {caller.role.value} {caller.name}: {request.reason}"
        after, _ = advance(kept.traceback, Cancelled(now, reason))
        change = Change(kept.traceback, after, kept.version, now, fence=kept.fence)
        if await house.store.save([change]):
            raise RefusedError(grpc.StatusCode.ABORTED, "it has moved on meanwhile: try again")
        seen = house.views.get(caller, identity)
        if seen is None:
            raise _not_there()
        return pb.CancelResponse(traceback=seen.view)

    # Tasks

    async def list_tasks(self, caller: Caller, request: pb.ListTasksRequest) -> pb.ListTasksResponse:
        """Tasks by when they are due: a provider's own, or all."""
        states = (State.OPEN, State.GIVEN_UP, State.MATCHING) if request.open_only else ()
        provider = ProviderId(caller.name) if caller.role is Role.PROVIDER else None
        size = request.page_size or 100
        if request.page_token and not request.page_token.isascii():
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "this page token is none that was given out")
        skip = _skip(request.page_token)
        tasks = self._house.tasks.list(provider=provider, states=states, limit=skip + size + 1)
        page = tasks[skip : skip + size]
        more = str(skip + size) if len(tasks) > skip + size else ""
        now = self._house.clock()
        return pb.ListTasksResponse(tasks=[_task(task, now) for task in page], next_page_token=more)

    async def answer_task(self, caller: Caller, request: pb.AnswerTaskRequest) -> pb.AnswerTaskResponse:
        """Record a person's answer; a name that is no provider id waits for an operator to match it."""
        house, identity, now = self._house, _uuid(request.task_id), self._house.clock()
        fields = {"outcome": request.outcome.lower()}
        if request.upstream:
            fields["upstream" if _is_id(request.upstream) else "upstream_name"] = request.upstream
        by = f"{request.person} ({caller.role.value} {caller.name})"
        try:
            if request.token:
                house.tasks.answer_by_link(request.token, fields, by, now)
            else:
                provider = ProviderId(caller.name)
                if caller.role is Role.ANALYST:
                    provider = house.tasks.view(identity).task.asked.provider
                house.tasks.answer_signed_in(provider, identity, fields, by, now)
            view = house.tasks.view(identity, ProviderId(caller.name) if caller.role is Role.PROVIDER else None)
        except NoSuchTaskError:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, "there is no such task") from None
        except AnswerError as error:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"this is no answer: {error}") from None
        except (LinkError, NotOpenError) as error:
            raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, str(error)) from None
        house.wake()
        return pb.AnswerTaskResponse(task=_task(view.task, now))

    # Mounting

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Handlers by name of the method."""
        unary: dict[str, tuple[type[Message], Callable[[Caller, Any], Awaitable[Message]]]] = {
            "Submit": (pb.SubmitRequest, self.submit),
            "Get": (pb.GetRequest, self.get),
            "List": (pb.ListRequest, self.list),
            "Cancel": (pb.CancelRequest, self.cancel),
            "ListTasks": (pb.ListTasksRequest, self.list_tasks),
            "AnswerTask": (pb.AnswerTaskRequest, self.answer_task),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._unary(name, kind, method))
            for name, (kind, method) in unary.items()
        }
        handlers["Watch"] = grpc.unary_stream_rpc_method_handler(self._watching)
        return handlers

    def _unary(self, name: str, kind: type[Message], method: Callable[[Caller, Any], Awaitable[Message]]) -> Any:
        async def handle(data: bytes, context: Context) -> bytes:
            try:
                caller = self.admitted(name, peer_uris(context.auth_context()))
                return (await method(caller, _message(kind(), data))).SerializeToString()
            except RefusedError as error:
                await context.abort(error.code, str(error))
            except SQLAlchemyError as error:
                await _unavailable(error, context)
            raise AssertionError("abort always raises")

        return handle

    async def _watching(self, data: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            caller = self.admitted("Watch", peer_uris(context.auth_context()))
            async for state in self.watch(caller, _message(pb.WatchRequest(), data)):
                yield state.SerializeToString()
        except RefusedError as error:
            await context.abort(error.code, str(error))
        except SQLAlchemyError as error:
            await _unavailable(error, context)

    def admitted(self, method: str, uris: Collection[str]) -> Caller:
        """Who calls, if that role may call this method.

        Raises:
            RefusedError: UNAUTHENTICATED or PERMISSION_DENIED.
        """
        caller = caller_of(uris, self._house.listed)
        if caller is None:
            raise RefusedError(
                grpc.StatusCode.UNAUTHENTICATED, "the client's certificate names nobody that this coordinator knows"
            )
        if caller.role not in ALLOWED.get(method, frozenset()):
            raise RefusedError(grpc.StatusCode.PERMISSION_DENIED, f"the role {caller.role.value} may not call {method}")
        return caller


def traceback_id_of(order_sha256: bytes) -> uuid.UUID:
    """The traceback of an order: the same one, however often the order is submitted.

    It derives from the order's digest, which nobody can guess without the order (`salt`).
    """
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{SERVICE} {order_sha256.hex()}")


def _task(task: Task, now: datetime) -> pb.TaskView:
    asked = task.asked
    state = {State.ANSWERED: "answered", State.MATCHING: "answered", State.WITHDRAWN: "withdrawn"}.get(task.state)
    return pb.TaskView(
        task_id=str(task.id),
        provider=asked.provider,
        called_number=asked.called,
        at_unix_ms=unix_ms(asked.at),
        window_ms=asked.window // timedelta(milliseconds=1),
        named_by=asked.named_by or "",
        state=state or _standing(task.standing(now)),
        due_unix_ms=unix_ms(task.plan.due),
    )


def _standing(standing: Standing) -> str:
    """What an open task is called: a provider that is late is not yet non-responsive."""
    if standing.non_responsive:
        return "non_responsive"
    return "delinquent" if standing.delinquent else "waiting"


def _message(message: M, data: bytes) -> M:
    try:
        check(parse(message, data))
    except ContractError as error:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
    return message


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "this is no id") from None


def _skip(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal() or len(token) > 9:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "this page token is none that was given out")
    return int(token)


def _is_id(text: str) -> bool:
    from protos.identity import InvalidIdentityError, parse_provider_id

    try:
        parse_provider_id(text)
    except InvalidIdentityError:
        return False
    return True


def _not_there() -> RefusedError:
    return RefusedError(grpc.StatusCode.NOT_FOUND, "there is no such traceback")


async def _unavailable(error: SQLAlchemyError, context: Context) -> NoReturn:
    log.error("store_failed", error=type(error).__name__)
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the coordinator's database can't be used now; try again")
    raise AssertionError("abort always raises")
