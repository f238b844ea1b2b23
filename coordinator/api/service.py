"""TracebackService: tracebacks, tasks and evidence for people and their programs; `rpc` says how every call goes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import grpc
import structlog

from coordinator.api.rpc import Door, Handlers, RefusedError, malformed, not_now, not_there, read_uuid
from coordinator.callers import SERVICE, Caller, Role
from coordinator.config import ConfigError
from coordinator.deadlines.standing import Standing
from coordinator.evidence.notary import Notary
from coordinator.ordering.orders import call_of, start_problem
from coordinator.registry.book import RegistryBook
from coordinator.store.evidence import NoEvidenceError
from coordinator.store.orders import OrderBook
from coordinator.store.pages import BadPageError, Place, place_of, token_of
from coordinator.store.sql_store import SqlStore
from coordinator.store.views import Views
from coordinator.tasks.answers import AnswerError
from coordinator.tasks.desk import LinkError, NoSuchTaskError, NotOpenError, TaskDesk, TaskError
from coordinator.tasks.task import State, Task
from coordinator.tracing.chain import Phase, Traceback
from coordinator.tracing.events import Cancelled
from coordinator.tracing.ports import Change, Lease
from coordinator.tracing.priorities import Priority
from coordinator.tracing.traceback import advance
from hopback.v1 import traceback_pb2 as pb
from protos.codec import digest, from_unix_ms, unix_ms
from protos.identity import ProviderId
from protos.orders import Granted, Persons
from protos.signing import SealChecker

WATCHED_EVERY_S: Final = 0.5
_CANCEL_LEASE: Final = timedelta(seconds=15)

_PART: Final = 256 * 1024
"""Bytes of a bundle in one message."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class House:
    """What the service stands on; `priority_of` ranks new tracebacks, without `notary` no bundles are made."""

    name: str
    store: SqlStore
    views: Views
    book: OrderBook
    tasks: TaskDesk
    registry: RegistryBook
    persons: Persons
    clock: Callable[[], datetime]
    owner: str
    priority_of: Callable[[Granted], Priority] = lambda granted: Priority.REST  # noqa: ARG005
    wake: Callable[[], None] = lambda: None
    notary: Notary | None = None


class TracebackApi:
    """Implements the service; each method takes a caller and a message, and gives a message or raises RefusedError."""

    def __init__(self, house: House, door: Door) -> None:
        self._house = house
        self._door = door
        self._submitting = asyncio.Lock()

    # Tracebacks

    async def submit(self, caller: Caller, request: pb.SubmitRequest) -> pb.SubmitResponse:
        """Begin tracebacks under approved orders; one order is one traceback, however often it is submitted."""
        house, now = self._house, self._house.clock()
        async with self._submitting:  # else two could both find that an order was never submitted
            results, fresh = await self._door.apart(lambda: self._startable(caller, request.order_sha256, now))
            new = {Traceback(identity, call_of(one.order, one.sha256)): one for identity, one in fresh.items()}
            house.store.submit(new, now, priority=lambda traceback: house.priority_of(new[traceback]))
        house.wake()
        return pb.SubmitResponse(results=results)

    def _startable(
        self, caller: Caller, wanted: Sequence[bytes], now: datetime
    ) -> tuple[list[pb.Submitted], dict[uuid.UUID, Granted]]:
        """What becomes of each order, and those of which a traceback is to be made; each is looked at once."""
        house, seals = self._house, SealChecker()
        known: dict[bytes, pb.Submitted] = {}
        fresh: dict[uuid.UUID, Granted] = {}
        results: list[pb.Submitted] = []
        granted = house.book.granted(set(wanted))
        for sha256 in wanted:
            if sha256 in known:
                again = pb.Submitted.FromString(known[sha256].SerializeToString())
                again.existing = bool(again.traceback_id)
                results.append(again)
                continue
            order = granted.get(sha256)
            if order is None or (caller.role is Role.REQUESTER and order.order.submitter != caller.name):
                result = pb.Submitted(refused="there is no such order")
            elif problem := start_problem(order, house.persons, seals, house.name, now):
                result = pb.Submitted(refused=problem)
            else:
                identity = traceback_id_of(sha256)
                existing = house.store.load(identity) is not None
                result = pb.Submitted(traceback_id=str(identity), existing=existing)
                if not existing:
                    fresh[identity] = order
            known[sha256] = result
            results.append(result)
        return results, fresh

    async def get(self, caller: Caller, request: pb.GetRequest) -> pb.GetResponse:
        """One traceback as far as the caller may see it."""
        seen = self._house.views.get(caller, read_uuid(request.traceback_id))
        if seen is None:
            raise not_there("traceback")
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
                since=from_unix_ms(request.since_unix_ms) if request.since_unix_ms else None,
                until=from_unix_ms(request.until_unix_ms) if request.until_unix_ms else None,
                with_hops=request.with_hops,
            )
        except BadPageError as error:
            raise malformed(error) from None
        return pb.ListResponse(tracebacks=views, next_page_token=token)

    async def watch(self, caller: Caller, request: pb.WatchRequest) -> AsyncIterator[pb.WatchResponse]:
        """The traceback now and whenever it changes for this caller, until nothing of it can."""
        last = b""
        while True:
            seen = self._house.views.get(caller, read_uuid(request.traceback_id))
            if seen is None:
                raise not_there("traceback")
            state = seen.view.SerializeToString(deterministic=True)
            if state != last:
                yield pb.WatchResponse(traceback=seen.view)
            if not seen.open:
                return
            last = state
            await asyncio.sleep(WATCHED_EVERY_S)

    async def cancel(self, caller: Caller, request: pb.CancelRequest) -> pb.CancelResponse:
        """Close a traceback for good."""
        house, identity = self._house, read_uuid(request.traceback_id)
        if house.views.get(caller, identity) is None:
            raise not_there("traceback")
        now, kept = house.clock(), house.store.load(identity)
        with_person = kept is not None and kept.traceback.status.phase is Phase.PERSON
        lease = Lease(house.owner, now, now + _CANCEL_LEASE)
        claimed = await house.store.claim_these(lease, [identity], early=True, closed_too=with_person)
        if not claimed:
            kept = house.store.load(identity)
            if kept is not None and kept.traceback.status.phase is Phase.CLOSED:
                raise not_now("it is closed already")
            raise RefusedError(grpc.StatusCode.ABORTED, "a provider is being asked just now: try again")
        kept = claimed[0]
        reason = f"cancelled by {caller.role.value} {caller.name}: {request.reason}"
        after, _ = advance(kept.traceback, Cancelled(now, reason))
        change = Change(kept.traceback, after, kept.version, now, fence=kept.fence)
        if await house.store.save([change]):
            raise RefusedError(grpc.StatusCode.ABORTED, "it has moved on meanwhile: try again")
        seen = house.views.get(caller, identity)
        if seen is None:
            raise not_there("traceback")
        return pb.CancelResponse(traceback=seen.view)

    # Tasks

    async def list_tasks(self, caller: Caller, request: pb.ListTasksRequest) -> pb.ListTasksResponse:
        """Tasks by when they are due: a provider's own, or all."""
        states = (State.OPEN, State.GIVEN_UP, State.MATCHING) if request.open_only else ()
        provider = ProviderId(caller.name) if caller.role is Role.PROVIDER else None
        size = request.page_size or 100
        attests = caller.role is not Role.PROVIDER
        try:
            after = place_of(request.page_token)
        except BadPageError as error:
            raise malformed(error) from None
        page = self._house.tasks.list(provider=provider, states=states, to_attest=attests, limit=size, after=after)
        last = Place(page[-1].plan.due, page[-1].id) if len(page) == size else None
        now = self._house.clock()
        return pb.ListTasksResponse(tasks=[_task(task, now, caller) for task in page], next_page_token=token_of(last))

    async def answer_task(self, caller: Caller, request: pb.AnswerTaskRequest) -> pb.AnswerTaskResponse:
        """Record a person's answer; a name that is no provider id waits for an operator to match it."""
        house, identity, now = self._house, read_uuid(request.task_id), self._house.clock()
        fields, by = _fields(request), f"{request.person} ({caller.role.value} {caller.name})"
        try:
            if request.token:
                linked = house.tasks.open_link(request.token, now)
                others = caller.role is Role.PROVIDER and linked.asked.provider != caller.name
                if linked.id != identity or others:
                    raise not_now("this link doesn't answer this task")
                house.tasks.answer_by_link(request.token, fields, by, now)
            else:
                provider = ProviderId(caller.name)
                if caller.role is Role.ANALYST:
                    provider = house.tasks.view(identity).task.asked.provider
                house.tasks.answer_signed_in(provider, identity, fields, by, now)
            view = house.tasks.view(identity, ProviderId(caller.name) if caller.role is Role.PROVIDER else None)
        except NoSuchTaskError:
            raise not_there("task") from None
        except AnswerError as error:
            raise malformed(f"this is no answer: {error}") from None
        except (LinkError, NotOpenError) as error:
            raise not_now(error) from None
        house.wake()
        response = pb.AnswerTaskResponse(task=_task(view.task, now, caller))
        typed = view.task.upstream_name
        if view.task.state is State.MATCHING and typed and caller.role is Role.ANALYST:
            found = await self._door.apart(lambda: house.registry.index().suggest(typed, now))
            response.suggestions.extend(one.provider for one in found)
        return response

    async def match_task(self, caller: Caller, request: pb.MatchTaskRequest) -> pb.MatchTaskResponse:
        """Say which provider a typed name means; what had been suggested is kept with it."""
        house, identity, now = self._house, read_uuid(request.task_id), self._house.clock()
        picked = ProviderId(request.provider)
        try:
            typed = house.tasks.view(identity).task.upstream_name or ""
            shown = await self._door.apart(lambda: house.registry.index().suggest(typed, now))
            house.tasks.match(identity, picked, caller.name, now)
            house.registry.record_match(typed, picked, caller.name, now, shown, f"task {identity}")
            view = house.tasks.view(identity)
        except NoSuchTaskError:
            raise not_there("task") from None
        except TaskError as error:
            raise not_now(error) from None
        house.wake()
        return pb.MatchTaskResponse(task=_task(view.task, now, caller))

    # Evidence

    async def export_bundle(
        self, caller: Caller, request: pb.ExportBundleRequest
    ) -> AsyncIterator[pb.ExportBundleResponse]:
        """The evidence of a closed traceback, as `hopback-coordinator bundle` writes it."""
        house, identity = self._house, read_uuid(request.traceback_id)
        seen = house.views.get(caller, identity)
        if seen is None:
            raise not_there("traceback")
        if seen.open:
            raise not_now("it is under way: its evidence is not complete before it is closed")
        if house.notary is None:
            raise not_now("this coordinator has no online key to seal a bundle with")
        notary, missing = house.notary, list[str]()
        try:
            evidence = await self._door.apart(lambda: notary.collect(identity))
            if not request.without_logs:
                missing = await notary.add_log_proofs(evidence)
            data = await self._door.apart(lambda: notary.sealed(evidence))
        except NoEvidenceError as error:
            raise not_now(f"no bundle of it: {error}") from None
        except ConfigError as error:
            log.warning("no_bundle", error=str(error))
            raise not_now("this coordinator's online key can't be used now: tell its operator") from None
        first = pb.ExportBundleResponse(data=data[:_PART], size=len(data), sha256=digest(data), without_proof=missing)
        yield first
        for start in range(_PART, len(data), _PART):
            yield pb.ExportBundleResponse(data=data[start : start + _PART])

    # Mounting

    def methods(self) -> Handlers:
        """Handlers by name of the method."""
        door = self._door
        return {
            "Submit": door.unary("Submit", pb.SubmitRequest, self.submit),
            "Get": door.unary("Get", pb.GetRequest, self.get),
            "List": door.unary("List", pb.ListRequest, self.list),
            "Watch": door.streaming("Watch", pb.WatchRequest, self.watch),
            "Cancel": door.unary("Cancel", pb.CancelRequest, self.cancel),
            "ListTasks": door.unary("ListTasks", pb.ListTasksRequest, self.list_tasks),
            "AnswerTask": door.unary("AnswerTask", pb.AnswerTaskRequest, self.answer_task),
            "MatchTask": door.unary("MatchTask", pb.MatchTaskRequest, self.match_task),
            "ExportBundle": door.streaming("ExportBundle", pb.ExportBundleRequest, self.export_bundle),
        }


def traceback_id_of(order_sha256: bytes) -> uuid.UUID:
    """The traceback of an order: the same one, however often the order is submitted.

    It derives from the order's digest, which nobody can guess without the order (`salt`).
    """
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{SERVICE} {order_sha256.hex()}")


def _task(task: Task, now: datetime, caller: Caller) -> pb.TaskView:
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
        upstream_name=(task.upstream_name or "") if task.state is State.MATCHING else "",
        why=asked.kind.value,
        to_attest=task.to_attest and caller.role is not Role.PROVIDER,
    )


def _standing(standing: Standing) -> str:
    """What an open task is called: a provider that is late is not yet non-responsive."""
    if standing.non_responsive:
        return "non_responsive"
    return "delinquent" if standing.delinquent else "waiting"


def _fields(request: pb.AnswerTaskRequest) -> dict[str, str]:
    """The answer as a form's fields (`coordinator.tasks.answers`)."""
    upstream = "upstream" if _is_id(request.upstream) else "upstream_name"
    seized = request.seized_at_unix_ms
    return {
        "outcome": request.outcome.lower(),
        upstream: request.upstream,
        "handover": request.handover,
        "ask_called": request.ask_called,
        "seized_at": from_unix_ms(seized).isoformat() if seized else "",
        "refusal": request.refusal,
        "note": request.note,
    }


def _is_id(text: str) -> bool:
    from protos.identity import InvalidIdentityError, parse_provider_id

    try:
        parse_provider_id(text)
    except InvalidIdentityError:
        return False
    return True
