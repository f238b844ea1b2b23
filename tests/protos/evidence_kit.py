"""Keys, an order and a hop for tests of evidence: synthetic, the same every time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protos.codec import digest
from protos.e164 import parse_e164
from protos.hops import Finding, Named, Naming, Parts, answer_parts, decode_naming, encode_question
from protos.identity import parse_provider_id
from protos.orders import Granted, Order, Persons, Purpose, encode_order
from protos.signing import Domain, Signer
from protos.types import Answer, Authority, Handover, Outcome, Question, RecordCoverage

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
BIRCH, CEDAR, GINKGO = (parse_provider_id(name) for name in ("birch", "cedar", "ginkgo"))


def bytes_of(text: str, size: int) -> bytes:
    """`size` bytes that look random and are always the same."""
    return sha256(text.encode()).digest()[:size]


def signer_of(name: str) -> Signer:
    """The signer of a party of the tests."""
    return Signer(Ed25519PrivateKey.from_private_bytes(bytes_of(f"key of {name}", 32)))


ANN, BOB, CAROL = signer_of("ann"), signer_of("bob"), signer_of("carol")
ONLINE, GINKGO_KEY, BIRCH_KEY = signer_of("coordinator lab"), signer_of("ginkgo"), signer_of("birch")
PERSONS = Persons({"ann": ANN.public}, {"bob": BOB.public, "carol": CAROL.public})

ORDER = Order(
    order_id=UUID("5a0d9c3e-6d0f-4f4b-8f43-0c6a0a3f1d01"),
    coordinator="lab",
    purpose=Purpose.UNLAWFUL_ROBOCALLS,
    legal_basis="47 U.S.C. 222(d)(2)",
    campaign="auto-warranty-2026-11",
    evidence_sha256=bytes_of("recording", 32),
    called=parse_e164("+12025550143"),
    at=NOW - timedelta(hours=1),
    window=timedelta(seconds=60),
    calling=parse_e164("+12025550199"),
    terminating=GINKGO,
    hop_limit=10,
    issued=NOW - timedelta(minutes=5),
    expires=NOW + timedelta(hours=71),
    submitter="ann",
    certification="I certify that this call is suspected to be unlawful.",
    salt=bytes_of("salt of the order", 16),
)


def grant(order: Order = ORDER, submitter: Signer = ANN, approvers: tuple[Signer, ...] = (BOB,)) -> Granted:
    """The order, signed."""
    exact = encode_order(order)
    (submission,) = submitter.prove(Domain.ORDER, [exact])
    approvals = tuple(approver.seal(Domain.APPROVAL, [exact])[0] for approver in approvers)
    return Granted(order, exact, submission, approvals)


GRANTED = grant()

FIRST = Question(
    question_id=UUID("8b0c3c7e-2f11-4f0e-9d53-6f2a53a4d111"),
    target=GINKGO,
    called=ORDER.called,
    at=ORDER.at,
    window=ORDER.window,
    named_by=None,
    calling=ORDER.calling,
    deadline=NOW + timedelta(minutes=2),
    authority=Authority(GRANTED.sha256, None, 0, NOW, bytes_of("nonce 0", 16)),
)
FIRST_EXACT = encode_question(FIRST)
ANSWER = Answer(
    GINKGO,
    Outcome.UPSTREAM,
    upstream=BIRCH,
    ask_called=parse_e164("+18005550199"),
    time_correction=timedelta(seconds=-3),
    handover=Handover.UNSPECIFIED,
)
FINDING = Finding(RecordCoverage.COMPLETE, bytes_of("commitment", 32), NOW + timedelta(milliseconds=7))
CALL_TAG = bytes_of("call", 16)
PARTS = answer_parts(ANSWER, FIRST, digest(FIRST_EXACT), FINDING, bytes_of("salts", 32), CALL_TAG)


def named(parts: Parts = PARTS, signer: Signer = GINKGO_KEY) -> Named:
    """What proves the naming in `parts`."""
    (proof,) = signer.prove(Domain.ANSWER, [parts.leaf])
    return Named(decode_naming(parts.naming), parts.naming, digest(parts.finding), proof)


NAMED = named()
NAMING: Naming = NAMED.naming

assert ANSWER.ask_called is not None
SECOND = replace(
    FIRST,
    question_id=UUID("8b0c3c7e-2f11-4f0e-9d53-6f2a53a4d112"),
    target=BIRCH,
    called=ANSWER.ask_called,
    at=FIRST.at + ANSWER.time_correction,
    window=timedelta(seconds=57),
    named_by=GINKGO,
    authority=Authority(GRANTED.sha256, digest(PARTS.naming), 1, NOW, bytes_of("nonce 1", 16)),
)
SECOND_EXACT = encode_question(SECOND)
