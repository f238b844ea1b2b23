"""An agent over real mutual TLS whose answers come from a dict, signed or not; nothing of the real agent is in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from coordinator.authority.lab_ca import Credentials, LabAuthority
from coordinator.tracing.ports import Provider
from hopback.v1 import evidence_pb2 as evidence
from hopback.v1 import lookup_pb2 as pb
from protos import envelopes, hops
from protos.codec import decode_question, digest, encode_answer, unix_ms
from protos.codec_batch import decode_questions, encode_answers
from protos.errors import Fault, trailing_metadata
from protos.hops import Asked
from protos.identity import ProviderId
from protos.merkle import EMPTY_ROOT
from protos.signing import Domain
from protos.tls import TlsFiles, read_tls_files, server_credentials
from protos.types import Answer, Question, RecordCoverage
from tests.coordinator.make import provider
from tests.coordinator.parties import Party, party_of

Behaviour = Answer | Fault | bytes | Callable[[Question], Answer | Awaitable[Answer]]
"""An answer, a gRPC error with a reason, raw bytes in place of a response, or a function of the question."""


def tls(credentials: Credentials) -> TlsFiles:
    return read_tls_files(credentials.certificate, credentials.key, credentials.roots, datetime.now(UTC))


@dataclass
class FakeAgent:
    """What one provider answers, and what it was asked."""

    name: str
    behaviour: Behaviour
    asked: list[Question] = field(default_factory=list)
    calls: int = 0
    endpoint: str = ""
    signs: Party | None = None
    tells_apart: bool = False
    """Whether calls at different times are different calls to it, all answered."""

    @property
    def entry(self) -> Provider:
        return Provider(provider(self.name), self.name.title(), self.endpoint)

    async def answer(self, question: Question) -> Answer:
        assert not isinstance(self.behaviour, Fault | bytes)
        if isinstance(self.behaviour, Answer):
            return self.behaviour
        result = self.behaviour(question)
        return result if isinstance(result, Answer) else await result

    async def lookup(self, raw: bytes, context: Any) -> bytes:
        self.calls += 1
        await self._misbehave(context)
        if isinstance(self.behaviour, bytes):
            return self.behaviour
        exact = pb.LookupRequest.FromString(raw).question
        question = decode_question(exact)
        self.asked.append(question)
        answer = encode_answer(await self.answer(question), digest(exact))
        return pb.LookupResponse(answer=answer).SerializeToString()

    async def lookup_batch(self, raw: bytes, context: Any) -> bytes:
        self.calls += 1
        await self._misbehave(context)
        if isinstance(self.behaviour, bytes):
            return self.behaviour
        exact = pb.LookupBatchRequest.FromString(raw).batch
        questions = decode_questions(exact)
        self.asked.extend(questions)
        answers = [await self.answer(question) for question in questions]
        batch = encode_answers(answers, digest(exact), provider(self.name))
        return pb.LookupBatchResponse(batch=batch).SerializeToString()

    async def ask(self, raw: bytes, context: Any) -> bytes:
        """Signed questions: what they say is answered, whatever stands beside them."""
        self.calls += 1
        await self._misbehave(context)
        if isinstance(self.behaviour, bytes):
            return self.behaviour
        assert self.signs is not None
        asked = envelopes.decode_requests(raw).asked
        self.asked.extend(one.question for one in asked)
        answers = [await self.answer(one.question) for one in asked]
        return signed_response(asked, answers, self.signs, provider(self.name), tells_apart=self.tells_apart)

    async def _misbehave(self, context: Any) -> None:
        if isinstance(self.behaviour, Fault):
            fault = self.behaviour
            await context.abort(fault.code, fault.message, trailing_metadata(fault))


async def never(question: Question) -> Answer:
    """Slower than any deadline; ends with the server."""
    await asyncio.Event().wait()
    raise AssertionError


def signed_response(
    asked: Sequence[Asked], answers: Sequence[Answer], party: Party, name: ProviderId, *, tells_apart: bool = False
) -> bytes:
    """A serialised AskResponse with these answers, signed by `party`."""
    now = datetime.now(UTC)
    parts = [
        hops.answer_parts(
            answer,
            one.question,
            digest(one.exact),
            hops.Finding(RecordCoverage.COMPLETE, digest(one.exact), now),
            digest(one.exact + b"salt"),
            unix_ms(one.question.at).to_bytes(16, "big") if tells_apart else b"",
        )
        for one, answer in zip(asked, answers, strict=True)
    ]
    seal, _ = party.signer.seal(Domain.ANSWER, [one.leaf for one in parts])
    message = evidence.Checkpoint(provider=name, size=0, root=EMPTY_ROOT, at_unix_ms=unix_ms(now)).SerializeToString()
    checkpoint = evidence.SignedCheckpoint(
        checkpoint=message, seals=[party.signer.seal(Domain.CHECKPOINT, [message])[0].to_message()]
    )
    return envelopes.encode_responses(parts, seal, party.certificate, checkpoint)


@asynccontextmanager
async def served(
    agent: FakeAgent,
    authority: LabAuthority,
    *,
    certificate_of: str | None = None,
    service: str = "hopback.v1.CdrLookupService",
    hop_service: str = "hopback.v1.HopService",
) -> AsyncIterator[None]:
    """Serve `agent` on a free port of the loopback, under its own certificate or under another provider's."""
    out = Path(authority.directory) / "agents"
    credentials = authority.issue_provider(certificate_of or agent.name, out)
    agent.signs = party_of(authority.issue_provider_evidence(certificate_of or agent.name, out))
    server = grpc.aio.server()
    handlers = {
        "Lookup": grpc.unary_unary_rpc_method_handler(agent.lookup),
        "LookupBatch": grpc.unary_unary_rpc_method_handler(agent.lookup_batch),
    }
    hop_handlers = {"Ask": grpc.unary_unary_rpc_method_handler(agent.ask)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(service, handlers),
            grpc.method_handlers_generic_handler(hop_service, hop_handlers),
        )
    )
    port = server.add_secure_port(agent.endpoint or "127.0.0.1:0", server_credentials(tls(credentials)))
    agent.endpoint = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)
