"""CdrLookupService: questions without an order, for trials and for measuring; who asks has been identified before.

A search takes microseconds, less than handing it to a thread would; a batch gives way to other calls after every
`SLICE` questions. Only where records lie in a database, lookups wait for it in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from agent.handlers import Handlers
from agent.notes import Notes
from agent.service import Desk
from hopback.v1 import lookup_pb2 as pb
from protos import codec, codec_batch
from protos.errors import Fault, FaultError
from protos.identity import ProviderId
from protos.types import Answer, ErrorReason, Question

SERVICE: Final = "hopback.v1.CdrLookupService"
LOOKUP: Final = f"/{SERVICE}/Lookup"
LOOKUP_BATCH: Final = f"/{SERVICE}/LookupBatch"
SLICE: Final = 256
"""Questions of a batch that are answered in one go."""
SLICE_IN_THREADS: Final = 10_000
"""The same where lookups have threads: a statement's way costs more than what it asks."""


class UnsignedLookups:
    """Answers questions for one provider, whatever right they are asked by."""

    def __init__(self, desk: Desk, notes: Notes) -> None:
        self._desk, self._threads = desk, desk.threads
        self._note = notes

    def handlers(self) -> Handlers:
        """The service's methods."""
        return {LOOKUP: self._lookup, LOOKUP_BATCH: self._lookup_batch}

    async def _lookup(self, request: bytes, askers: tuple[str, ...]) -> bytes:  # noqa: ARG002 (any known coordinator)
        exact = codec.exact_question(request)
        question = codec.decode_question(exact)
        _check_target(question, self._desk.terms.me)
        if self._threads is None:
            consultation = self._desk.consult(question)
        else:
            consultation = await self._threads.run(lambda: self._desk.consult(question))
        self._note((consultation,))
        return codec.encode_response(consultation.answer, codec.digest(exact))

    async def _lookup_batch(self, request: bytes, askers: tuple[str, ...]) -> bytes:  # noqa: ARG002 (see above)
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


def _check_target(question: Question, me: ProviderId) -> None:
    if question.target != me:
        raise FaultError(Fault(ErrorReason.WRONG_TARGET, "the question is addressed to another provider", ("target",)))
