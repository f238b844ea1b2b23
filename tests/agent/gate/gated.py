"""An agent behind its gate, in one process and without a network: what it is asked and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from agent.answered import answered_before
from agent.ask import AskHandler, Evidence
from agent.audit.book import AuditBook
from agent.audit.log import AuditLog
from agent.audit.sealing import AuditKey
from agent.call_tags import CallTags
from agent.evidence_config import Mode
from agent.gate.checks import AttestedNamings, Rules
from agent.gate.gate import Gate
from agent.gate.limits import Limits
from agent.gate.memory import Memory
from agent.index.files import OsFiles
from agent.review.disclosing import Disclosing
from agent.review.store import ReviewStore
from agent.service import Desk
from protos.envelopes import Responses, decode_responses
from protos.evidence_key import EvidenceKey, read_evidence_key
from protos.hops import Asked, Finding, Named, decode_parts
from protos.identity import provider_uri
from protos.live import Live
from protos.merkle import tree_of
from protos.orders import Granted, Persons
from protos.signing import Domain, SealChecker
from protos.types import Answer, Question
from tests.agent.authority import LAB, PERSONS, Kit, Party, asked
from tests.agent.provider import BIRCH, NOW, FakeRecords, desk, some_records

SECRET = bytes(range(32))
LIMITS = Limits()


@dataclass
class Clock:
    """A clock that tests move."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class QuietFiles(OsFiles):
    """Files that are not forced to the disk: what tests of other things need not wait for."""

    def fsync(self, descriptor: int) -> None:
        """Nothing."""

    def fsync_directory(self, directory: Path) -> None:
        """Nothing."""


class Gated:
    """Birch's agent: asked in process; its records count how often they are read."""

    def __init__(
        self,
        kit: Kit,
        directory: Path,
        records: FakeRecords | None = None,
        *,
        limits: Limits = LIMITS,
        persons: Persons = PERSONS,
        clock: Clock | None = None,
        retention: timedelta = timedelta(days=548),
        mode: Mode = Mode.AUTOMATIC,
        review_key: bytes = SECRET,
        files: OsFiles | None = None,
        attested: AttestedNamings = AttestedNamings.REVIEW,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.kit = kit
        self.directory = directory
        self.clock = clock or Clock()
        self.records = records or some_records()
        self.revoked: set[int] = set()
        base = desk(self.records, timedelta(seconds=300))
        self.desk = Desk(replace(base.terms, retention=retention), self.records, self.clock)
        self.memory = Memory.open(directory / "gate.sqlite", SECRET, limits)
        self.log = AuditLog.open(directory / "log", files or QuietFiles())
        sealing = AuditKey(SECRET)
        rules = Rules(
            me=BIRCH,
            persons=persons,
            neighbours=base.terms.trunks.neighbours(),
            limits=limits,
            is_revoked=lambda certified: certified.serial in self.revoked,
            attested=attested,
            answered=answered_before(self.memory, self.log, sealing, BIRCH),
        )
        self.key = evidence_key(kit)
        self.book = AuditBook(
            self.log,
            self.key.signer,
            self.key.certificate,
            BIRCH,
            sealing,
            lambda: self.memory.now(self.clock()),
        )
        self.memory.catch_up(self.book.recent(self.memory.taken_up))
        self.gate = Gate(rules, kit.roots, self.memory, retention)
        self.reviews = ReviewStore(directory / "review.sqlite", AuditKey(review_key))
        self.disclosing = Disclosing(mode, base.terms.matching, self.reviews, self.book)
        evidence = Evidence(Live(self.key), self.book, sealing)
        self.handler = AskHandler(self.desk, self.gate, evidence, self.disclosing, CallTags(SECRET))
        self._seals = SealChecker()

    async def close(self) -> None:
        """End as an agent ends."""
        await self.handler.close()
        self.log.close()

    async def send(self, request: bytes, uris: Sequence[str] = (LAB,)) -> bytes:
        """The raw response to raw bytes."""
        return await self.handler.ask(request, tuple(uris))

    async def ask(
        self,
        questions: Sequence[Question],
        orders: Sequence[Granted],
        namings: Sequence[Named] = (),
        *,
        by: Party | None = None,
        uris: Sequence[str] = (LAB,),
    ) -> list[Answer]:
        """The answers to these questions, every signature and binding checked."""
        response = await self.send(self.kit.envelope(questions, orders, namings, by=by), uris)
        return [answer for answer, _ in self.check(response, [asked(one) for one in questions])]

    async def ask_one(self, question: Question, granted: Granted, named: Named | None = None) -> Answer:
        """The answer to one question."""
        (answer,) = await self.ask([question], [granted], [] if named is None else [named])
        return answer

    def check(self, response: bytes, questions: Sequence[Asked]) -> list[tuple[Answer, Finding]]:
        """The answers in a response, if they are properly signed."""
        responses: Responses = decode_responses(response, len(questions))
        certified = self.kit.roots.certified(responses.certificate)
        assert certified.uri == provider_uri(BIRCH)
        assert responses.seal.root == tree_of(one.leaf for one in responses.parts).root
        assert self._seals.is_good(responses.seal, Domain.ANSWER, certified.key)
        return [decode_parts(one, two, BIRCH) for one, two in zip(responses.parts, questions, strict=True)]


def evidence_key(kit: Kit) -> EvidenceKey:
    """Birch's key for evidence."""
    files = kit.provider(BIRCH).files
    return read_evidence_key(files.certificate, files.key, kit.roots, provider_uri(BIRCH), kit.clock())
