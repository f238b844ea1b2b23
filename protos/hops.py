"""Signed questions and answers as exact bytes, and back; `protos.envelopes` carries them.

An answer is signed in two parts: the naming, which the named upstream provider gets to see, and the finding, which
stays with the coordinator. The signed leaf is the digest of the one followed by the digest of the other, so that a
naming can be shown to be signed without the rest. Both have one size whatever they say, hence every answer has.

What comes from outside is either a value or a `ContractError`. Here it is read, and bound to the question by digests;
whose signature counts is for `protos.signing`, `protos.certificates` and `protos.orders` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from hopback.v1 import evidence_pb2 as evidence
from hopback.v1 import lookup_pb2 as lookup
from protos.codec import (
    ContractError,
    broken,
    canonical_uuid,
    digest,
    from_unix_ms,
    known_provider_id,
    parse,
    shared_time,
    unix_ms,
    within,
)
from protos.e164 import E164, parse_e164
from protos.identity import ProviderId
from protos.merkle import HASH_SIZE
from protos.part_bytes import PART_SIZE, finding_bytes, naming_bytes
from protos.shapes import Shapes
from protos.signing import Proof
from protos.types import (
    WINDOW_CAP,
    Answer,
    Authority,
    ErrorReason,
    Handover,
    Outcome,
    Question,
    RecordCoverage,
    RefusalReason,
    Sister,
)
from protos.values import value

MOST_SISTERS: Final = 4
"""Other calls that one question may name."""
COMPARABLE: Final = 8
"""Bytes at the beginning of call tags that must agree, or the tags say nothing of each other."""
QUESTION_LIFE: Final = timedelta(minutes=10)
_ZERO: Final = timedelta(0)
_MS: Final = timedelta(milliseconds=1)
_S: Final = timedelta(seconds=1)
_LAST_MS: Final = 253402300799999
_WIDEST_MS: Final = WINDOW_CAP // _MS


@value
class Naming:
    """That `provider` says the call of an order came from `upstream`, and what to ask there; None where it doesn't.

    `call_tag` is 16 bytes by which answered calls are told apart, empty where there is none (`tell_apart`).
    """

    order_sha256: bytes
    provider: ProviderId
    upstream: ProviderId | None
    called: E164 | None
    at: datetime | None
    call_tag: bytes = b""


@value
class Named:
    """A naming with what proves it: `exact` is the naming, `finding_sha256` stands for the part that isn't shown."""

    naming: Naming
    exact: bytes = field(repr=False)
    finding_sha256: bytes
    proof: Proof

    @property
    def leaf(self) -> bytes:
        """What the downstream signed."""
        return digest(self.exact) + self.finding_sha256


@value
class Finding:
    """What an answer says besides the naming; `answered` is aware UTC, `record_commitment` 32 bytes."""

    coverage: RecordCoverage
    record_commitment: bytes
    answered: datetime


@value
class Parts:
    """One answer in its two exact parts."""

    naming: bytes = field(repr=False)
    finding: bytes = field(repr=False)
    leaf: bytes = field(init=False, repr=False, compare=False)
    """What is signed: the digest of the one, and that of the other."""

    def __post_init__(self) -> None:
        leaf = sha256(self.naming).digest() + sha256(self.finding).digest()
        object.__setattr__(self, "leaf", leaf)  # kept: it is needed where they are checked, and again for what follows

    @property
    def naming_sha256(self) -> bytes:
        """By what questions name the naming."""
        return self.leaf[:HASH_SIZE]

    @property
    def finding_sha256(self) -> bytes:
        """What stands for the finding where that isn't shown."""
        return self.leaf[HASH_SIZE:]


@value
class Asked:
    """One question of an envelope: its exact bytes, and what they say."""

    exact: bytes = field(repr=False)
    question: Question
    authority: Authority


# Questions


def encode_question(question: Question) -> bytes:
    """The exact bytes of a question, with the authority by which it is asked."""
    authority = question.authority
    if authority is None:
        raise ValueError("a signed question needs an authority")
    return lookup.Question(
        question_id=str(question.question_id),
        target=question.target,
        called_number=question.called,
        at_unix_ms=unix_ms(question.at),
        window_ms=question.window // _MS,
        named_by=question.named_by or "",
        calling_number=question.calling or "",
        deadline_unix_ms=unix_ms(question.deadline),
        order_sha256=authority.order_sha256,
        naming_sha256=authority.naming_sha256 or b"",
        issued_unix_ms=unix_ms(authority.issued),
        nonce=authority.nonce,
        position=authority.position,
        sisters=[
            lookup.Sister(naming_sha256=sister.naming_sha256, question_id=sister.question_id.bytes)
            for sister in authority.sisters
        ],
    ).SerializeToString(deterministic=True)


def decode_question(exact: bytes) -> Asked:
    """The question in `exact`, with its authority.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD; a question without authority is invalid.
    """
    known = _QUESTIONS.find(exact)
    if known is None:
        asked = _parsed_question(exact)
        if not asked.authority.sisters:  # which are no other question's
            question = asked.question
            rest = question.target, question.window, question.named_by, asked.authority.position
            _QUESTIONS.keep(exact, rest)
        return asked
    try:
        return _question_of_shape(exact, *known)
    except ValueError:
        return _parsed_question(exact)  # which says what is wrong with it


_QUESTIONS: Final[Shapes[tuple[ProviderId, timedelta, ProviderId | None, int]]] = Shapes(
    lookup.Question,
    "question_id",
    "called_number",
    "at_unix_ms",
    "calling_number",
    "deadline_unix_ms",
    "order_sha256",
    "naming_sha256",
    "issued_unix_ms",
    "nonce",
)


def _question_of_shape(
    exact: bytes, rest: tuple[ProviderId, timedelta, ProviderId | None, int], values: tuple[Any, ...]
) -> Asked:
    target, window, named_by, position = rest
    question_id, called, at_ms, calling, deadline_ms, order_sha256, naming_sha256, issued_ms, nonce = values
    if not (0 < issued_ms <= _LAST_MS and 0 < at_ms <= _LAST_MS and 0 < deadline_ms <= _LAST_MS):
        raise ValueError("out of range")
    authority = Authority(order_sha256, naming_sha256 or None, position, shared_time(issued_ms), nonce)
    question = Question(
        canonical_uuid(str(question_id, "ascii")),
        target,
        parse_e164(str(called, "ascii")),
        from_unix_ms(at_ms),
        window,
        named_by,
        parse_e164(str(calling, "ascii")) if calling else None,
        shared_time(deadline_ms),
        authority,
    )
    return Asked(exact, question, authority)


def _parsed_question(exact: bytes) -> Asked:
    message = parse(lookup.Question(), exact)
    naming_sha256, named_by, calling = message.naming_sha256, message.named_by, message.calling_number
    at_ms, window_ms, position = message.at_unix_ms, message.window_ms, message.position
    issued_ms, deadline_ms = message.issued_unix_ms, message.deadline_unix_ms
    try:
        if not (
            0 <= position <= 32
            and 0 < issued_ms <= _LAST_MS
            and 0 < at_ms <= _LAST_MS
            and 0 < window_ms <= _WIDEST_MS
            and 0 < deadline_ms <= _LAST_MS
        ):
            raise ValueError("out of range")  # noqa: TRY301 (one place says it all)
        authority = Authority(
            _sized(message.order_sha256, 32),
            _sized(naming_sha256, 32) if naming_sha256 else None,
            position,
            shared_time(issued_ms),
            _sized(message.nonce, 16),
            _sisters(message.sisters) if message.sisters else (),
        )
        question = Question(
            canonical_uuid(message.question_id),
            known_provider_id(message.target),
            parse_e164(message.called_number),
            from_unix_ms(at_ms),
            window_ms * _MS,
            known_provider_id(named_by) if named_by else None,
            parse_e164(calling) if calling else None,
            shared_time(deadline_ms),
            authority,
        )
    except ValueError as error:
        raise broken(message, error, "question") from None
    return Asked(exact, question, authority)


# Answers


def answer_parts(
    answer: Answer, question: Question, question_sha256: bytes, finding: Finding, salts: bytes, call_tag: bytes = b""
) -> Parts:
    """The exact parts of `answer` to `question`; `salts` are 32 random bytes, `call_tag` goes with a name alone.

    The naming says called number and time to ask the upstream for as they are, not as changes to a question that the
    upstream never sees.
    """
    if question.authority is None:
        raise ValueError("only a question under an order has a signed answer")
    order_sha256, provider, upstream = question.authority.order_sha256, answer.provider, answer.upstream
    called, at_ms, tag = "", 0, b""
    if upstream is not None:
        tag = call_tag
        called, at_ms = answer.ask_called or question.called, unix_ms(question.at + answer.time_correction)
    said = (
        provider,
        answer.outcome._value_,
        answer.handover._value_,
        answer.refusal._value_,
        answer.retry_after,
        finding.coverage._value_,
    )
    answered_ms = unix_ms(finding.answered)
    return Parts(
        naming_bytes(order_sha256, provider, upstream, called, at_ms, salts[:16], tag),
        finding_bytes(question_sha256, said, finding.record_commitment, answered_ms, salts[16:32]),
    )


def decode_parts(
    parts: Parts, asked: Asked, expected: ProviderId, make: Callable[..., Answer] = Answer
) -> tuple[Answer, Finding]:
    """The answer in its parts, if it is one to this question and from the provider that was asked.

    `make` is called with the fields of an `Answer`, for who wants more than one.

    Raises:
        ContractError: MALFORMED, INVALID_FIELD, or WRONG_TARGET (another question's, order's or provider's).
    """
    if len(parts.naming) != PART_SIZE or len(parts.finding) != PART_SIZE:
        raise ContractError(ErrorReason.INVALID_FIELD, "an answer's parts must have one size", ("naming", "finding"))
    message = parse(evidence.Finding(), parts.finding)
    naming = decode_naming(parts.naming)
    question = asked.question
    bound = message.question_sha256 == digest(asked.exact) and naming.order_sha256 == asked.authority.order_sha256
    if not bound or message.provider != expected or naming.provider != expected:
        raise ContractError(ErrorReason.WRONG_TARGET, "the answer belongs to another question or another provider")
    try:
        _sized(message.salt, 16)
        answer = make(
            provider=expected,
            outcome=Outcome(message.outcome),
            upstream=naming.upstream,
            ask_called=naming.called if naming.called != question.called else None,
            time_correction=_correction(naming.at, question.at),
            handover=Handover(message.handover),
            retry_after=timedelta(seconds=message.retry_after_s),
            refusal=RefusalReason(message.refusal),
        )
        finding = Finding(
            coverage=RecordCoverage(message.coverage),
            record_commitment=_sized(message.record_commitment, 32),
            answered=from_unix_ms(within(message.answered_unix_ms, 1, _LAST_MS)),
        )
    except ValueError as error:
        raise broken(message, error, "finding") from None
    return answer, finding


def decode_naming(exact: bytes) -> Naming:
    """The naming in `exact`.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD.
    """
    known = _NAMINGS.find(exact)
    if known is None:
        naming = _parsed_naming(exact)
        if naming.upstream is not None:
            _NAMINGS.keep(exact, (naming.provider, naming.upstream))
        return naming
    (provider, upstream), (order_sha256, called, at_ms, _, call_tag) = known
    try:
        at = from_unix_ms(within(at_ms, 1, _LAST_MS))
        return Naming(order_sha256, provider, upstream, parse_e164(str(called, "ascii")), at, call_tag)
    except ValueError:
        return _parsed_naming(exact)  # which says what is wrong with it


_NAMINGS: Final[Shapes[tuple[ProviderId, ProviderId]]] = Shapes(
    evidence.Naming, "order_sha256", "called_number", "at_unix_ms", "salt", "call_tag"
)


def _parsed_naming(exact: bytes) -> Naming:
    message = parse(evidence.Naming(), exact)
    upstream, called, at_ms, tag = message.upstream, message.called_number, message.at_unix_ms, message.call_tag
    try:
        _sized(message.salt, 16)
        order_sha256, provider = _sized(message.order_sha256, 32), known_provider_id(message.provider)
        if upstream:
            at = from_unix_ms(within(at_ms, 1, _LAST_MS))
            tag = _sized(tag, 16) if tag else b""
            return Naming(order_sha256, provider, known_provider_id(upstream), parse_e164(called), at, tag)
        if called or at_ms or tag:
            raise ValueError("a naming that names nobody asks for nothing")  # noqa: TRY301 (one place says it all)
        return Naming(order_sha256, provider, None, None, None)
    except ValueError as error:
        raise broken(message, error, "naming") from None


def tell_apart(one: bytes, other: bytes) -> bool | None:
    """Whether two call tags of one provider mean two calls, both answered.

    False where they may mean one and the same; None where they don't compare, so that nothing is known.
    """
    if len(one) != len(other) or not one or one[:COMPARABLE] != other[:COMPARABLE]:
        return None
    return one != other


def _sisters(messages: Iterable[lookup.Sister]) -> tuple[Sister, ...]:
    found = tuple(
        Sister(_sized(message.naming_sha256, 32), UUID(bytes=_sized(message.question_id, 16))) for message in messages
    )
    if len(found) > MOST_SISTERS:
        raise ValueError("a question names too many sisters")
    return found


def _correction(asked_next: datetime | None, asked: datetime) -> timedelta:
    if asked_next is None or asked_next == asked:  # nearly always
        return _ZERO
    correction = asked_next - asked
    if correction % _S or abs(correction) > WINDOW_CAP:
        raise ValueError("a time correction is out of form")
    return correction


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"{size} bytes expected")
    return value
