"""HopService.Ask: from the bytes that a coordinator sent to the bytes that it gets, whatever way they came.

Envelope, gate, intent in the audit log, search, disclosure, answer, log, disk, signature: in this order and no other.
What can't be taken is a `ContractError` or `FaultError` with its reason; everything about one question is a signed
answer. Every answer has one size, every answer stands in the log before it leaves, and nothing is answered while the
log can't be written.

A batch is worked off in slices, so that others are served between them. A search that has begun is ended and logged
even where whoever asked has hung up meanwhile: the same question then gets that answer, and is not searched again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

import structlog

from agent.audit.book import AuditBook, Case, Opening, Reply, read_entry
from agent.audit.errors import AuditError
from agent.audit.sealing import AuditKey
from agent.call_tags import CallTags
from agent.committing import GroupCommit
from agent.gate.envelope import Envelope
from agent.gate.gate import Gate, Passage, Session, Verdict
from agent.index.coverage import CoverageState
from agent.quiet import Quiet
from agent.review.disclosing import Disclosing, Leaving
from agent.service import Consultation, Desk, SisterAnswers
from protos.envelopes import Requests, decode_requests, encode_responses
from protos.errors import Fault, FaultError
from protos.evidence_key import EvidenceKey
from protos.hops import Asked, Finding, Parts, answer_parts, decode_parts
from protos.identity import ProviderId
from protos.live import Live
from protos.orders import Granted
from protos.signing import Domain
from protos.types import NAMING_UPSTREAM, Answer, ErrorReason, Outcome, RecordCoverage, RefusalReason

ASK: Final = "/hopback.v1.HopService/Ask"
SLICE: Final = 256
"""Questions of a batch that are answered in one go."""
SLICE_IN_THREADS: Final = 10_000
"""The same where lookups have threads: a statement's way costs more than what it asks."""
DECODED_AT_ONCE: Final = 64 * 1024
"""Bytes of an envelope that are decoded on the spot; a larger one is decoded in a thread."""
FLUSH_AFTER_S: Final = 0.2
"""Seconds in which questions are gathered before the gate's memory writes them."""
ENDING_S: Final = 5.0
"""How long searches under way may take to end, in seconds, when the agent stops."""

_SALT: Final = 16
_LONGEST_RECORD: Final = 2048

_COVERAGE: Final = {
    None: RecordCoverage.UNSPECIFIED,
    CoverageState.COVERED: RecordCoverage.COMPLETE,
    CoverageState.NOT_YET: RecordCoverage.NOT_YET,
    CoverageState.GAP: RecordCoverage.GAP,
    CoverageState.EXPIRED: RecordCoverage.EXPIRED,
}

log = structlog.get_logger()

Noted = Callable[[Sequence[Consultation]], None]
"""Tells the operator what only the operator may know."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """With what an agent signs and logs: its key for evidence, its audit book, the key of the book's sealed parts."""

    key: Live[EvidenceKey]
    book: AuditBook
    sealing: AuditKey = field(repr=False)


class AskHandler:
    """Answers signed questions for one provider, on one event loop."""

    def __init__(
        self,
        desk: Desk,
        gate: Gate,
        evidence: Evidence,
        disclosing: Disclosing,
        tags: CallTags,
        noted: Noted | None = None,
    ) -> None:
        self._desk = desk
        self._disclosing = disclosing
        self._gate = gate
        self._memory = gate.memory
        self._evidence = evidence
        self._book = evidence.book
        self._tags = tags
        self._noted = noted
        self._me: ProviderId = desk.terms.me
        self._disk = GroupCommit(evidence.book.sync)
        self._found: dict[bytes, asyncio.Future[Parts]] = {}
        self._searches: set[asyncio.Task[list[Parts]]] = set()
        self._flushing: asyncio.Future[None] | None = None
        self._flush_due: asyncio.TimerHandle | None = None
        self._quiet = Quiet()

    @property
    def works(self) -> bool:
        """Whether anything can be answered: the audit log can be written."""
        return self._book.log.problem is None

    async def ask(self, request: bytes, asker_uris: tuple[str, ...]) -> bytes:
        """The serialised AskResponse to a serialised AskRequest; `asker_uris` are what the caller's certificate says.

        Raises:
            protos.codec.ContractError: the envelope can't be taken.
            protos.errors.FaultError: the audit log can't be written.
            agent.index.errors.IndexUnusableError: the records can't be read.
        """
        if len(request) <= DECODED_AT_ONCE:
            return await self._ask(decode_requests(request), asker_uris)
        with self._quiet.batch():
            return await self._ask(await asyncio.to_thread(decode_requests, request), asker_uris)

    async def _ask(self, requests: Requests, asker_uris: tuple[str, ...]) -> bytes:
        now = self._memory.now(self._desk.clock())
        session = self._gate.take(requests, asker_uris, now)
        parts: list[Parts] = []
        size = SLICE if self._desk.threads is None else SLICE_IN_THREADS
        try:
            self._refuse_unless_logged()
            for start in range(0, len(requests.asked), size):
                if start:
                    await asyncio.sleep(0)
                parts += await self._answer(session, requests.asked[start : start + size], now)
            durable = self._disk.begin()
            # signed while the disk writes; nothing leaves before that is done
            key = self._evidence.key.current
            seal, _ = key.signer.seal(Domain.ANSWER, [one.leaf for one in parts])
            await durable
            response = encode_responses(parts, seal, key.certificate, self._book.checkpoint())
        except AuditError as error:
            log.error("audit_unavailable", error=str(error))  # noqa: TRY400 (the text says it all)
            raise _audit_unavailable() from None
        self._flush_later()
        return response

    async def close(self) -> None:
        """Let what is under way end, and write what the gate remembers."""
        if self._searches:
            _, slow = await asyncio.wait(self._searches, timeout=ENDING_S)
            for search in slow:
                search.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        if self._flush_due is not None:
            self._flush_due.cancel()
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        self._disk.close()
        self._memory.close()
        self._disclosing.store.close()

    # One slice

    async def _answer(self, session: Session, asked: Sequence[Asked], now: datetime) -> list[Parts]:
        orders = session.envelope.requests.orders
        cases = [_case(one, orders.get(one.authority.order_sha256)) for one in asked]
        verdicts = session.judge(cases, now)
        passed = [case for case, verdict in zip(cases, verdicts, strict=True) if verdict is Passage.SEARCH]
        found = dict(zip((case.sha256 for case in passed), await self._search(session, passed, now), strict=True))
        refused: list[Reply] = []
        repeated: list[Reply] = []
        parts: list[Parts] = []
        for case, verdict in zip(cases, verdicts, strict=True):
            if verdict is Passage.SEARCH:
                parts.append(found[case.sha256])
            elif verdict in (Passage.REPEAT, Passage.WAIT):
                repeated.append(await self._again(case, found))
                parts.append(repeated[-1].parts)
            else:
                refused.append(self._refusal(case, verdict, now))
                parts.append(refused[-1].parts)
        asker = session.envelope.asker
        if refused:
            self._book.refused(refused, asker)
        if repeated:
            self._book.replayed(repeated, asker)
        self._memory.passed(now)
        self._memory.take_up(self._book.log.size)
        return parts

    async def _search(self, session: Session, cases: Sequence[Case], now: datetime) -> list[Parts]:
        """The answers to questions that passed the gate, as they stand in the log."""
        if not cases:
            return []
        searching = self._searched(session, cases, now)
        if self._desk.threads is None:
            return await searching  # it never waits: nobody can hang up meanwhile
        loop = asyncio.get_running_loop()
        self._found.update((case.question_id, loop.create_future()) for case in cases)
        task = loop.create_task(searching)
        self._searches.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, search: asyncio.Task[list[Parts]]) -> None:
        self._searches.discard(search)
        if not search.cancelled():
            search.exception()  # whoever still waits for it hears of it

    async def _searched(self, session: Session, cases: Sequence[Case], now: datetime) -> list[Parts]:
        """Log the intents, search, log the answers."""
        ids = [case.question_id for case in cases]
        asker = session.envelope.asker
        first: int | None = None
        try:
            self._book.intent(cases, asker)
            attested = session.to_be_reviewed(cases)
            leaving, tags = await self._leaving(cases, session.envelope, now, attested)
            replies = self._replies(cases, leaving, tags, now)
            first = self._book.answers(replies, asker)
        except BaseException:
            for one in ids:
                self._end_wait(one, None)
            raise
        finally:
            self._memory.settle(ids, first)
        for one, reply in zip(ids, replies, strict=True):
            self._end_wait(one, reply.parts)
        return [reply.parts for reply in replies]

    async def _leaving(
        self,
        cases: Sequence[Case],
        envelope: Envelope,
        now: datetime,
        attested: Collection[bytes],
    ) -> tuple[list[Leaving], dict[bytes, bytes]]:
        """What leaves of each answer: of a search, unless a person decided about the matter before.

        And the tags of calls that can be told from others, by the digests of their questions.
        """
        self._disclosing.take_decisions()
        standing = self._disclosing.standing(cases)
        open_cases = [case for case in cases if case.sha256 not in standing] if standing else cases
        if not open_cases:
            return [standing[case.sha256] for case in cases], {}
        consultations = await self._consult([case.asked for case in open_cases], now)
        salts = os.urandom(_SALT * len(consultations))
        found = [
            (consultation, _opening(consultation, salts[_SALT * number : _SALT * (number + 1)]))
            for number, consultation in enumerate(consultations)
        ]
        leaving = self._disclosing.disclose(open_cases, found, envelope.asker, now, attested)
        if self._noted is not None:
            self._noted(consultations)
        tags = self._tags_of(open_cases, consultations, leaving, envelope.coordinator)
        if not standing:
            return leaving, tags
        disclosed = iter(leaving)
        return [standing.get(case.sha256) or next(disclosed) for case in cases], tags

    def _tags_of(
        self, cases: Sequence[Case], found: Sequence[Consultation], leaving: Sequence[Leaving], coordinator: str
    ) -> dict[bytes, bytes]:
        tags = {}
        for case, consultation, one in zip(cases, found, leaving, strict=True):
            if consultation.decision is None or one.answer.outcome not in NAMING_UPSTREAM:
                continue
            tag = self._tags.of(coordinator, consultation.question.called, consultation.decision)
            if tag is not None:
                tags[case.sha256] = tag
        return tags

    async def _consult(self, asked: Sequence[Asked], now: datetime) -> list[Consultation]:
        questions = [one.question for one in asked]
        sisters = self._sisters(asked)
        threads = self._desk.threads
        if threads is None:
            return self._desk.search(questions, now, sisters)
        return await threads.run(lambda: self._desk.search(questions, now, sisters))

    def _sisters(self, asked: Sequence[Asked]) -> SisterAnswers:
        """What this provider has answered about the sister calls that these questions name; the gate saw it, too."""
        found = {}
        for one in asked:
            if one.authority.sisters:
                answers = (self._gate.rules.answered(sister.question_id) for sister in one.authority.sisters)
                found[one.question.question_id] = [answered for answered in answers if answered is not None]
        return found

    def _end_wait(self, question_id: bytes, parts: Parts | None) -> None:
        waiting = self._found.pop(question_id, None)
        if waiting is None or waiting.done():
            return
        if parts is None:
            waiting.cancel()
        else:
            waiting.set_result(parts)

    def _replies(
        self, cases: Sequence[Case], leaving: Sequence[Leaving], tags: Mapping[bytes, bytes], now: datetime
    ) -> list[Reply]:
        """A call that can't be told from others has a tag, too: a random one, which compares with none."""
        salts = os.urandom(80 * len(cases))
        replies = []
        for number, (case, (answer, opening, coverage)) in enumerate(zip(cases, leaving, strict=True)):
            salt = salts[80 * number : 80 * number + 80]
            commitment = salt[:32] if opening is None else sha256(opening.salt + opening.record).digest()
            finding = Finding(_COVERAGE[coverage], commitment, now)
            tag = tags.get(case.sha256) or salt[64:]
            parts = answer_parts(answer, case.asked.question, case.sha256, finding, salt[32:64], tag)
            replies.append(Reply(case, answer, parts, opening))
        return replies

    def _refusal(self, case: Case, verdict: Verdict, now: datetime) -> Reply:
        if isinstance(verdict, RefusalReason):
            answer, coverage = Answer(self._me, Outcome.REFUSED, refusal=verdict), RecordCoverage.UNSPECIFIED
        else:
            answer, coverage = Answer(self._me, Outcome.RECORDS_EXPIRED), RecordCoverage.EXPIRED
        finding = Finding(coverage, os.urandom(32), now)
        return Reply(case, answer, answer_parts(answer, case.asked.question, case.sha256, finding, os.urandom(32)))

    async def _again(self, case: Case, found: dict[bytes, Parts]) -> Reply:
        """What was answered before to the same question."""
        question_id = case.question_id
        parts = found.get(case.sha256)
        if parts is None and (waiting := self._found.get(question_id)) is not None:
            try:
                parts = await asyncio.shield(waiting)
            except asyncio.CancelledError:
                if not waiting.cancelled():
                    raise
        if parts is None:
            parts = self._stored(question_id)
        answer, _ = decode_parts(parts, case.asked, self._me)
        return Reply(case, answer, parts)

    def _stored(self, question_id: bytes) -> Parts:
        entry = self._memory.recall([question_id])[question_id].entry
        if entry < 0:
            raise FaultError(
                Fault(ErrorReason.STORE_UNAVAILABLE, "the records could not be read just now; try again later")
            )
        opened = read_entry(self._book.log, entry, self._book.log.entry(entry), self._evidence.sealing).opened
        assert opened is not None  # noqa: S101 (an answer's entry has a sealed part)
        return Parts(opened.naming, opened.finding)

    # Around it

    def _refuse_unless_logged(self) -> None:
        if not self.works:
            raise _audit_unavailable()

    def _flush_later(self) -> None:
        """Write what the gate remembers, not in the way of the answers: the log has it already."""
        if self._flush_due is None:
            self._flush_due = asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = None
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().run_in_executor(None, self._memory.flush)
        else:
            self._flush_later()


def _case(asked: Asked, granted: Granted | None) -> Case:
    campaign = "" if granted is None else granted.order.campaign
    return Case(asked, sha256(asked.exact).digest(), asked.question.question_id.bytes, campaign)


def _opening(consultation: Consultation, salt: bytes) -> Opening | None:
    record = matched_record(consultation)
    return None if record is None else Opening(salt, record)


def matched_record(consultation: Consultation) -> bytes | None:
    """What the answer's commitment is to: source and row of every record of the call, None where none was matched."""
    decision = consultation.decision
    if decision is None or not decision.instances:
        return None
    rows = [f"{leg.source}:{leg.row}" for instance in decision.instances for leg in instance.rows]
    record = "\n".join(rows).encode()
    return record if len(record) <= _LONGEST_RECORD else b"sha256:" + sha256(record).hexdigest().encode()


def _audit_unavailable() -> FaultError:
    return FaultError(
        Fault(ErrorReason.AUDIT_UNAVAILABLE, "the agent's audit log can't be written: nothing is answered")
    )
