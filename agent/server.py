"""The agent on the network: gRPC over mutual TLS, one service, answers from the event loop itself.

The caller is who its certificate says (URI subject alternative name), never who a message says. Messages are taken as
bytes and parsed here, so that whatever arrives is a question or a fault of `protos.errors`; an unforeseen failure is
reported to the caller without its text, which might hold a number.

A search takes microseconds, less than handing it to a thread would; a batch gives way to other calls after every
`SLICE` questions. Only where records lie in a database, lookups wait for it in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from agent.defects import place_of
from agent.explain import NOWHERE, unplaced
from agent.index.errors import IndexCorruptError, IndexUnusableError
from agent.journal import Journal
from agent.service import Consultation, Desk
from hopback.v1 import lookup_pb2 as pb
from protos import codec, codec_batch
from protos.codec import ContractError
from protos.errors import Fault, trailing_metadata
from protos.identity import ProviderId, coordinators_among
from protos.tls import TlsFiles, peer_uris, server_credentials
from protos.types import Answer, ErrorReason, Outcome, Question

SERVICE: Final = "hopback.v1.CdrLookupService"
SLICE: Final = 256
"""Questions of a batch that are answered in one go."""
SLICE_IN_THREADS: Final = 10_000
"""The same where lookups have threads: a statement's way costs more than what it asks."""

_MOST_ADMITTED: Final = 1000
"""Certificates of coordinators that are remembered."""

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a second agent on this port must fail, not take every other call
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_concurrent_streams", 1000),
)

log = structlog.get_logger()
T = TypeVar("T")
Context = Any
"""grpc.aio.ServicerContext[bytes, bytes]; the stubs know no handlers of raw bytes."""


class CannotListenError(OSError):
    """The address can't be listened on; the message says why."""


class _FaultError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and for whom the agent listens; port 0 takes a free one."""

    address: str
    tls: TlsFiles
    coordinators: frozenset[str]
    reflection: bool = False


class AgentServer:
    """One agent's server. `start` it inside a running event loop, then `stop` it."""

    def __init__(
        self,
        desk: Desk,
        listening: Listening,
        journal: Journal | None = None,
        on_broken: Callable[[Path], None] | None = None,
    ) -> None:
        """`on_broken` is told of files of the index that could not be read."""
        self._desk, self._threads = desk, desk.threads
        self._listening = listening
        self._journal = journal
        self._on_broken = on_broken
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._admitted: set[tuple[tuple[bytes, ...], tuple[bytes, ...]]] = set()

    async def start(self) -> str:
        """Start serving; returns the address with the port that is really listened on.

        Raises:
            CannotListenError: the address is taken, or no address of this machine.
        """
        server = grpc.aio.server(options=_OPTIONS)
        handlers = {"Lookup": self._handler(self._lookup), "LookupBatch": self._handler(self._lookup_batch)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._listening.reflection:
            from grpc_reflection.v1alpha import reflection

            services = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(services, server)
        address = self._listening.address
        try:
            port = server.add_secure_port(address, server_credentials(self._listening.tls))
        except RuntimeError:
            raise CannotListenError(
                f"can't listen on {address}: the port is taken, or the address is none of this machine's"
            ) from None
        await server.start()
        for service in ("", SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server = server
        return f"{address.rpartition(':')[0]}:{port}"

    async def stop(self, grace_s: float = 5.0) -> None:
        """Take no new calls, let those under way end within `grace_s` seconds."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace_s)
            self._server = None

    def _handler(self, method: Callable[[bytes], Awaitable[bytes]]) -> Any:
        async def handle(request: bytes, context: Context) -> bytes:
            try:
                self._admit(context)
                return await method(request)
            except _FaultError as error:
                fault = error.fault
            except ContractError as error:
                fault = Fault.of(error)
            except IndexUnusableError as error:
                log.error("records_unavailable", error=str(error))  # noqa: TRY400 (the text says it all)
                if self._on_broken is not None and isinstance(error, IndexCorruptError):
                    self._on_broken(error.path)
                fault = Fault(ErrorReason.STORE_UNAVAILABLE, "the records can't be read now; try again later")
            except Exception as error:
                await _abort_unforeseen(error, context)
            log.warning("question_not_taken", reason=fault.reason.name, fields=fault.fields, peer=context.peer())
            await context.abort(fault.code, fault.message, trailing_metadata(fault))
            raise AssertionError("abort always raises")

        return grpc.unary_unary_rpc_method_handler(handle)

    def _admit(self, context: Context) -> None:
        proved = context.auth_context()
        # what one certificate proved, another proves that says the same: it need not be read again for every call
        said = tuple(proved.get("ssl_tls_version", ())), tuple(proved.get("peer_uri", ()))
        if said in self._admitted:
            return
        if not self._listening.coordinators.intersection(coordinators_among(peer_uris(proved))):
            raise _FaultError(
                Fault(
                    ErrorReason.NOT_A_COORDINATOR,
                    "this agent does not know the coordinator that the client's certificate names",
                )
            )
        if len(self._admitted) < _MOST_ADMITTED:
            self._admitted.add(said)

    async def _lookup(self, request: bytes) -> bytes:
        exact = codec.exact_question(request)
        question = codec.decode_question(exact)
        _check_target(question, self._desk.terms.me)
        if self._threads is None:
            consultation = self._desk.consult(question)
        else:
            consultation = await self._threads.run(lambda: self._desk.consult(question))
        self._note((consultation,))
        return codec.encode_response(consultation.answer, codec.digest(exact))

    async def _lookup_batch(self, request: bytes) -> bytes:
        envelope = codec.parse(pb.LookupBatchRequest(), request)
        codec.check(envelope)
        exact = envelope.batch
        questions = codec_batch.decode_questions(exact)
        _check_target(questions[0], self._desk.terms.me)
        answers: list[Answer] = []
        size = SLICE if self._threads is None else SLICE_IN_THREADS
        for start in range(0, len(questions), size):
            answers += await self._answer(questions[start : start + size])
            await asyncio.sleep(0)
        encoded = codec_batch.encode_answers(answers, codec.digest(exact), self._desk.terms.me)
        return pb.LookupBatchResponse(batch=encoded).SerializeToString()

    async def _answer(self, questions: Sequence[Question]) -> list[Answer]:
        if self._threads is None:
            consultations = self._desk.consult_many(questions)
        else:
            consultations = await self._threads.run(lambda: self._desk.consult_many(questions))
        self._note(consultations)
        return [consultation.answer for consultation in consultations]

    def _note(self, consultations: Sequence[Consultation]) -> None:
        """Tell the operator what only the operator may know."""
        if self._journal is not None:
            self._keep(self._journal, consultations)
        for consultation in consultations:
            if consultation.answer.outcome not in NOWHERE:
                continue
            recorded = consultation.answer.outcome is not Outcome.NOT_RECORDED
            for gap in unplaced(consultation):
                log.warning("trunk_not_mapped" if recorded else "upstream_not_recorded", **gap)

    def _keep(self, journal: Journal, consultations: Sequence[Consultation]) -> None:
        try:
            journal.keep(consultations, self._desk.clock())
        except OSError as error:
            # An explanation is a convenience of the operator; an answer is owed.
            log.error("explanation_not_kept", error=str(error))  # noqa: TRY400 (the text says it all)


def _check_target(question: Question, me: ProviderId) -> None:
    if question.target != me:
        raise _FaultError(Fault(ErrorReason.WRONG_TARGET, "the question is addressed to another provider", ("target",)))


async def _abort_unforeseen(error: Exception, context: Context) -> NoReturn:
    """Report a defect of ours: where it happened to the log, nothing but that it did to the caller."""
    log.error("lookup_failed", error=type(error).__name__, place=place_of(error))
    await context.abort(grpc.StatusCode.INTERNAL, "the agent failed; its operator's log says where")
    raise AssertionError("abort always raises")
