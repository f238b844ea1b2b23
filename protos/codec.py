"""Exact bytes of questions and answers, and back, with every field rule of the .proto checked on the way in.

What comes from outside is either a value of `protos.types` or a `ContractError` with a machine-readable reason, never
anything else. Questions and answers are bound by the SHA-256 digest of the question's exact bytes.

The rules stand in the schema, and protovalidate says which one a message breaks. Most break none, and the values that
are built from a message anyway take nothing that the rules forbid (a test holds them to that); so the rules' engine is
asked only about messages of which no value can be built.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeVar
from uuid import UUID, SafeUUID

import protovalidate
from google.protobuf.message import DecodeError, Message

from hopback.v1 import lookup_pb2 as pb
from protos.e164 import E164, parse_e164
from protos.identity import ProviderId, parse_provider_id
from protos.types import WINDOW_CAP, Answer, ErrorReason, Handover, Outcome, Question, RefusalReason

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_S = timedelta(seconds=1)
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", re.ASCII)
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_SAFETY = SafeUUID.unknown
_set = object.__setattr__
_LAST_MS = 253402300799999
"""The last millisecond of the year 9999."""
_WIDEST_S = WINDOW_CAP // timedelta(seconds=1)
_WIDEST_MS = WINDOW_CAP // _MS
_LARGEST_SINGLE = 4096
_FIRST_FIELD = 0x0A
"""The tag of a first field that is bytes; below 128 its length is one byte."""
_ONE_BYTE = 128
_DIGEST = 32
_DIGEST_FIELD = bytes((_FIRST_FIELD, _DIGEST))

known_provider_id = lru_cache(4096)(parse_provider_id)
"""As `parse_provider_id`: the same few stand in every question."""

M = TypeVar("M", bound=Message)


class ContractError(ValueError):
    """The bytes are not what the contract says; `reason` is for machines, `fields` names the offending fields."""

    def __init__(self, reason: ErrorReason, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.fields = fields


def unix_ms(time: datetime) -> int:
    """Milliseconds since the epoch, rounded down; `time` must be aware."""
    return (time - _EPOCH) // _MS


def from_unix_ms(ms: int) -> datetime:
    """The aware UTC time of `ms` milliseconds since the epoch."""
    return _EPOCH + ms * _MS


shared_time = lru_cache(4096)(from_unix_ms)
"""As `from_unix_ms`, for times that many messages have in common: when something was issued, when it ends."""


def digest(exact: bytes) -> bytes:
    """SHA-256 of the exact bytes of a question or batch."""
    return hashlib.sha256(exact).digest()


def _field_name(violation: protovalidate.Violation) -> str:
    path = violation.proto.field
    return ".".join(element.field_name for element in path.elements) if path else "message"


def check(message: Message) -> None:
    """Apply the field rules of the .proto.

    Raises:
        ContractError: INVALID_FIELD, naming the fields (never their values).
    """
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        fields = tuple(dict.fromkeys(_field_name(violation) for violation in error.violations))
        rules = "; ".join(f"{name}: {v.proto.message}" for name, v in zip(fields, error.violations, strict=False))
        raise ContractError(ErrorReason.INVALID_FIELD, f"invalid field: {rules}", fields) from None


def parse(message: M, data: bytes) -> M:
    """Fill `message` from bytes; its rules are not checked yet.

    Raises:
        ContractError: MALFORMED.
    """
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise ContractError(
            ErrorReason.MALFORMED, f"not a {message.DESCRIPTOR.name}: the bytes don't parse as protobuf"
        ) from None
    return message


def exact_question(envelope: bytes) -> bytes:
    """The exact bytes of the question in a serialised LookupRequest.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD.
    """
    # Nothing but a question of up to 127 bytes, as nearly always: where it lies needs no parsing.
    if 2 < len(envelope) < 2 + _ONE_BYTE and envelope[0] == _FIRST_FIELD and envelope[1] == len(envelope) - 2:
        return envelope[2:]
    message = parse(pb.LookupRequest(), envelope)
    if message.signatures or not 0 < len(message.question) <= _LARGEST_SINGLE:
        check(message)
    return message.question


def exact_answer(envelope: bytes) -> bytes:
    """The exact bytes of the answer in a serialised LookupResponse.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD.
    """
    message = parse(pb.LookupResponse(), envelope)
    if message.signatures or not 0 < len(message.answer) <= _LARGEST_SINGLE:
        check(message)
    return message.answer


def broken(message: Message, error: ValueError, name: str = "outcome") -> ContractError:
    """What to say of a message of which no value can be built: the rules that it breaks, else what the value said.

    `name` is of the field where no rule says which.
    """
    try:
        check(message)
    except ContractError as by_rule:
        return by_rule
    return ContractError(ErrorReason.INVALID_FIELD, f"invalid {name}: {error}", (name,))


def _uuid(text: str) -> UUID:
    if _UUID.fullmatch(text) is None:  # UUID() takes other forms too
        raise ValueError("not a UUID in its canonical form")
    return _made(text)


def canonical_uuid(text: str) -> UUID:
    """The UUID in its one canonical form: 36 characters, lower case.

    Raises:
        ValueError: it is none, or written otherwise.
    """
    if _CANONICAL_UUID.fullmatch(text) is None:
        raise ValueError("an id must be a UUID in its canonical form")
    return _made(text)


def _made(text: str) -> UUID:
    return uuid_of(int(text.replace("-", ""), 16))


def uuid_of(number: int) -> UUID:
    """The UUID of this number, which has 128 bits."""
    # As it is unpickled: the constructor weighs six ways to say one, and takes as long as all the rest of a question.
    uuid = UUID.__new__(UUID)
    _set(uuid, "int", number)
    _set(uuid, "is_safe", _SAFETY)
    return uuid


def within(value: int, least: int, most: int) -> int:
    """This value, if it is one of these.

    Raises:
        ValueError: it is not.
    """
    if not least <= value <= most:
        raise ValueError("out of range")
    return value


def encode_question(question: Question) -> bytes:
    """The exact bytes of one question."""
    return pb.Question(
        question_id=str(question.question_id),
        target=question.target,
        called_number=question.called,
        at_unix_ms=unix_ms(question.at),
        window_ms=question.window // _MS,
        named_by=question.named_by or "",
        calling_number=question.calling or "",
        deadline_unix_ms=unix_ms(question.deadline),
    ).SerializeToString(deterministic=True)


def decode_question(data: bytes) -> Question:
    """The question in `data`.

    Raises:
        ContractError: MALFORMED or INVALID_FIELD.
    """
    message = parse(pb.Question(), data)
    named_by, calling = message.named_by, message.calling_number
    at_ms, window_ms, deadline_ms = message.at_unix_ms, message.window_ms, message.deadline_unix_ms
    if not (0 < at_ms <= _LAST_MS and 0 < window_ms <= _WIDEST_MS and deadline_ms > 0):
        raise broken(message, ValueError("out of range"))
    try:
        return Question(
            _uuid(message.question_id),
            known_provider_id(message.target),
            parse_e164(message.called_number),
            _EPOCH + at_ms * _MS,
            window_ms * _MS,
            known_provider_id(named_by) if named_by else None,
            parse_e164(calling) if calling else None,
            _EPOCH + (deadline_ms if deadline_ms <= _LAST_MS else _LAST_MS) * _MS,
        )
    except ValueError as error:
        raise broken(message, error) from None


def encode_answer(answer: Answer, question_sha256: bytes) -> bytes:
    """The exact bytes of one answer, bound to the question by its digest."""
    if len(question_sha256) != _DIGEST:
        return pb.Answer(question_sha256=question_sha256).SerializeToString() + _said(answer)[1]
    return _DIGEST_FIELD + question_sha256 + _said(answer)[1]


def encode_response(answer: Answer, question_sha256: bytes) -> bytes:
    """A serialised LookupResponse with the exact bytes of one answer, unsigned."""
    before, after = _said(answer)
    if before and len(question_sha256) == _DIGEST:
        return before + question_sha256 + after
    return pb.LookupResponse(answer=encode_answer(answer, question_sha256)).SerializeToString()


def _said(answer: Answer) -> tuple[bytes, bytes]:
    """What stands around the digest of the question: the same few, unless a number is among it.

    Before it what begins the response (empty where the answer is too long for a length of one byte) and its own tag,
    after it all other fields.
    """
    around = _around if answer.ask_called is None else _around.__wrapped__
    return around(
        answer.provider,
        answer.outcome._value_,
        answer.upstream,
        answer.ask_called,
        answer.time_correction,
        answer.handover._value_,
        answer.retry_after,
        answer.refusal._value_,
    )


@lru_cache(4096)
def _around(
    provider: ProviderId,
    outcome: int,
    upstream: ProviderId | None,
    ask_called: E164 | None,
    time_correction: timedelta,
    handover: int,
    retry_after: timedelta,
    refusal: int,
) -> tuple[bytes, bytes]:
    after = pb.Answer(
        provider=provider,
        outcome=outcome,  # type: ignore[arg-type]
        upstream=upstream or "",
        ask_called_number=ask_called or "",
        time_correction_s=time_correction // _S,
        handover=handover,  # type: ignore[arg-type]
        retry_after_s=retry_after // _S,
        refusal=refusal,  # type: ignore[arg-type]
    ).SerializeToString(deterministic=True)
    size = len(_DIGEST_FIELD) + _DIGEST + len(after)
    return bytes((_FIRST_FIELD, size)) + _DIGEST_FIELD if size < _ONE_BYTE else b"", after


def decode_answer(data: bytes, *, question_sha256: bytes, expected: ProviderId) -> Answer:
    """The answer in `data`, if it is one to this question and from the provider that was asked.

    Raises:
        ContractError: MALFORMED, INVALID_FIELD, or WRONG_TARGET (it answers another question, or for another provider).
    """
    message = parse(pb.Answer(), data)
    if message.question_sha256 != question_sha256 or message.provider != expected:
        check(message)
        raise ContractError(ErrorReason.WRONG_TARGET, "the answer belongs to another question or another provider")
    try:
        return Answer(
            provider=expected,
            outcome=Outcome(message.outcome),
            upstream=parse_provider_id(message.upstream) if message.upstream else None,
            ask_called=parse_e164(message.ask_called_number) if message.ask_called_number else None,
            time_correction=timedelta(seconds=within(message.time_correction_s, -_WIDEST_S, _WIDEST_S)),
            handover=Handover(message.handover),
            retry_after=timedelta(seconds=message.retry_after_s),
            refusal=RefusalReason(message.refusal),
        )
    except ValueError as error:
        raise broken(message, error) from None
