"""A provider's audit log for tests: keys of a lab's root, cases and replies, all synthetic and the same every time."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.audit.book import AuditBook, Case, Opening, Reply
from agent.audit.log import AuditLog
from agent.audit.sealing import AuditKey
from agent.audit.verify import Trust
from agent.index.files import Files
from coordinator.authority.lab_ca import LabAuthority
from protos.certificates import PinnedRoots
from protos.codec import digest
from protos.hops import Asked, answer_parts, encode_question
from protos.identity import parse_provider_id, provider_uri
from protos.signing import Signer, read_signer
from protos.types import Answer, Authority, Handover, Outcome
from tests.index.calls import UNSYNCED
from tests.protos.evidence_kit import BIRCH, CEDAR, FINDING, FIRST, NOW, bytes_of

KEY = AuditKey(bytes_of("audit key", 32))
LAB = "hopback://coordinator/lab"
CAMPAIGN = "auto-warranty-2026-11"


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = NOW
    step: timedelta = field(default=timedelta(0))

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


@dataclass(frozen=True)
class Party:
    """A provider's signing key and its certificate (DER)."""

    name: str
    signer: Signer
    certificate: bytes


@cache
def authority() -> LabAuthority:
    """The root of all parties of the tests."""
    return LabAuthority.create(scratch(), clock=lambda: NOW)


def scratch() -> Path:
    """A directory that goes when the tests have run."""
    path = Path(tempfile.mkdtemp(prefix="hopback-audit-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def party(name: str) -> Party:
    """A provider with an evidence certificate of the tests' root."""
    issued = authority().issue_evidence(provider_uri(parse_provider_id(name)), name)
    return Party(name, read_signer(issued.key), certificate_in(issued.certificate))


def certificate_in(path: Path) -> bytes:
    """The certificate (DER) in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


@cache
def roots() -> PinnedRoots:
    """What everybody in the tests pins."""
    return PinnedRoots.from_pem((authority().directory / "ca.crt").read_bytes())


def trust(provider: str = "birch") -> Trust:
    """Whose log is expected."""
    return Trust(parse_provider_id(provider), roots(), KEY)


def case(number: int) -> Case:
    """The question of this number, under an order of its own for every ten."""
    question = replace(
        FIRST,
        question_id=UUID(int=number + 1),
        target=BIRCH,
        authority=Authority(bytes_of(f"order {number // 10}", 32), None, 0, NOW, bytes_of(f"nonce {number}", 16)),
    )
    exact = encode_question(question)
    assert question.authority is not None
    return Case(Asked(exact, question, question.authority), digest(exact), question.question_id.bytes, CAMPAIGN)


def reply(number: int) -> Reply:
    """The answer to it: the call came from cedar."""
    asked = case(number)
    answer = Answer(BIRCH, Outcome.UPSTREAM, upstream=CEDAR, handover=Handover.UNSPECIFIED)
    parts = answer_parts(answer, asked.asked.question, asked.sha256, FINDING, bytes_of(f"salts {number}", 32))
    return Reply(asked, answer, parts, Opening(bytes_of(f"salt {number}", 16), b"switch-1:today.csv:%d" % number))


def book_of(
    directory: Path,
    provider: str = "birch",
    clock: Callable[[], datetime] | None = None,
    files: Files = UNSYNCED,
) -> AuditBook:
    """The book of a provider over the log in `directory`, which is opened, or made."""
    owner = party(provider)
    log = AuditLog.open(directory, files)
    try:
        return AuditBook(log, owner.signer, owner.certificate, parse_provider_id(provider), KEY, clock or Clock())
    except BaseException:
        log.close()
        raise


def answered(book: AuditBook, *numbers: int) -> bytes:
    """Ask and answer these, and give the checkpoint that leaves with the answers (serialised)."""
    book.intent([case(number) for number in numbers], LAB)
    book.answers([reply(number) for number in numbers], LAB)
    book.sync()
    return book.checkpoint().SerializeToString(deterministic=True)
