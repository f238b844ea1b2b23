"""The client of agents in a trial: unsigned questions to a provider, and its answers checked.

Agents answer these only where they are told to (`[trial] unsigned_lookups`): for trials and measurements. What counts
is asked and answered signed, by the client in `coordinator.lookups.asking`.

An answer must carry the digest of the question's exact bytes and the id of the provider that was asked. What comes back
is either a checked answer or one of the four errors of `tracing.ports`; nothing that another company's machine
sends can raise anything else. How bytes reach an agent is told in `coordinator.lookups.transport`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from coordinator.lookups.transport import GrpcTransport, Transport
from coordinator.tracing.ports import BadAnswerError, Exchange, Provider, Reply
from hopback.v1 import lookup_pb2 as pb
from protos.codec import ContractError, check, decode_answer, digest, encode_answer, exact_answer, parse
from protos.codec_batch import decode_answers, encode_questions
from protos.printable import printable
from protos.tls import TlsFiles
from protos.types import Question

LOOKUP: Final = "/hopback.v1.CdrLookupService/Lookup"
LOOKUP_BATCH: Final = "/hopback.v1.CdrLookupService/LookupBatch"


class GrpcAgents:
    """Implements `tracing.ports.AgentClient`. Use as an async context manager; `close` ends all channels."""

    def __init__(self, files: TlsFiles, transport: Transport | None = None) -> None:
        """Asks over channels with these certificates, or over `transport`, which whoever made it closes."""
        self._channels = GrpcTransport(files)
        self._transport = transport or self._channels

    async def __aenter__(self) -> GrpcAgents:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all channels; questions in flight fail as unreachable."""
        await self._channels.close()

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        """One attempt at one question.

        Raises:
            AgentError: UnreachableError, AttemptTimedOutError, BadAnswerError or DeclinedError.
        """
        request = pb.LookupRequest(question=exact).SerializeToString()
        received = await self._transport.call(provider, LOOKUP, request, timeout)
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
        request = pb.LookupBatchRequest(batch=sent).SerializeToString()
        received = await self._transport.call(provider, LOOKUP_BATCH, request, timeout)
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
