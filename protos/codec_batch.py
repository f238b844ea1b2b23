"""Exact bytes of a batch of questions and of its answers, as packed columns, and back.

A batch goes to one provider and has one deadline. Its columns have equal length, numbers travel as integers, provider
ids once each; a sub-message per question would cost an order of magnitude more time on both sides (see lookup.proto).

What comes from outside is either values of `protos.types` or a `ContractError`: BATCH_COLUMNS when columns differ in
length or an index points nowhere, INVALID_FIELD when one value breaks the rule of its single counterpart. A batch is
taken whole or not at all: a question that can't be read would leave an answer that belongs to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from enum import Enum
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message

from hopback.v1 import lookup_pb2 as pb
from protos.codec import ContractError, check, from_unix_ms, parse, unix_ms
from protos.e164 import E164, from_int, to_int
from protos.identity import ProviderId, parse_provider_id
from protos.types import WINDOW_CAP, Answer, ErrorReason, Handover, Outcome, Question, RefusalReason

MAX_BATCH = 50_000
"""Questions that surely fit into one batch's bytes (4,000,000), whatever they say."""
MAX_PROVIDERS = 10_000
"""Distinct providers that one batch may name."""

_ID = 16
_MS = timedelta(milliseconds=1)
_S = timedelta(seconds=1)
_LAST_MS = 253402300799999
_MAX_CORRECTION_S = 300
_NONE = timedelta(0)

T = TypeVar("T")
V = TypeVar("V")
E = TypeVar("E", bound=Enum)


def encode_questions(questions: Sequence[Question]) -> bytes:
    """The exact bytes of a batch of questions.

    Raises:
        ValueError: no question, more than MAX_BATCH, more than MAX_PROVIDERS providers named, or questions with
            different targets or deadlines.
    """
    if not 1 <= len(questions) <= MAX_BATCH:
        raise ValueError(f"a batch holds 1 to {MAX_BATCH} questions, not {len(questions)}: split it")
    first = questions[0]
    if any(q.target != first.target or q.deadline != first.deadline for q in questions):
        raise ValueError("the questions of a batch go to one provider and have one deadline: make one batch for each")
    providers = _Directory()
    named_by = [providers.index(q.named_by) for q in questions]
    if len(providers.names) > MAX_PROVIDERS:
        raise ValueError(f"a batch names at most {MAX_PROVIDERS} providers, not {len(providers.names)}: split it")
    return pb.QuestionBatch(
        target=first.target,
        question_ids=b"".join(q.question_id.bytes for q in questions),
        called_numbers=[to_int(q.called) for q in questions],
        at_unix_ms=[unix_ms(q.at) for q in questions],
        window_ms=[q.window // _MS for q in questions],
        named_by=named_by,
        calling_numbers=[to_int(q.calling) if q.calling else 0 for q in questions],
        providers=providers.names,
        deadline_unix_ms=unix_ms(first.deadline),
    ).SerializeToString(deterministic=True)


def decode_questions(data: bytes) -> list[Question]:
    """The questions in `data`, in order.

    Raises:
        ContractError: MALFORMED, INVALID_FIELD or BATCH_COLUMNS.
    """
    message = pb.QuestionBatch()
    check(parse(message, data))
    count = len(message.called_numbers)
    if len(message.question_ids) != _ID * count:
        raise ContractError(
            ErrorReason.BATCH_COLUMNS,
            f"question_ids holds {len(message.question_ids)} bytes for {count} questions, not {_ID} each",
            ("question_ids",),
        )
    _same_length(message, count, ("at_unix_ms", "window_ms", "named_by", "calling_numbers"))
    target = parse_provider_id(message.target)
    deadline = from_unix_ms(min(message.deadline_unix_ms, _LAST_MS))
    ids = message.question_ids
    _within(message.at_unix_ms, 1, _LAST_MS, "at_unix_ms")
    _within(message.window_ms, 1, WINDOW_CAP // _MS, "window_ms")
    named_by = _lookup(message.named_by, [parse_provider_id(name) for name in message.providers], "named_by")
    called = _each(from_int, message.called_numbers, "called_numbers")
    calling = _each(_number_or_none, message.calling_numbers, "calling_numbers")
    return [
        Question(
            question_id=UUID(bytes=ids[i * _ID : i * _ID + _ID]),
            target=target,
            called=called[i],
            at=from_unix_ms(at),
            window=window * _MS,
            named_by=named_by[i],
            calling=calling[i],
            deadline=deadline,
        )
        for i, (at, window) in enumerate(zip(message.at_unix_ms, message.window_ms, strict=True))
    ]


def encode_answers(answers: Sequence[Answer], batch_sha256: bytes, provider: ProviderId) -> bytes:
    """The exact bytes of the answers of `provider`, in the order of the questions whose batch has that digest.

    Raises:
        ValueError: no answer, or one of another provider.
    """
    if not answers or any(answer.provider != provider for answer in answers):
        raise ValueError("a batch holds at least one answer, and answers of one provider alone")
    providers = _Directory()
    upstreams = [providers.index(a.upstream) for a in answers]
    return pb.AnswerBatch(
        batch_sha256=batch_sha256,
        provider=provider,
        outcomes=[a.outcome.value for a in answers],  # type: ignore[misc]
        upstreams=upstreams,
        ask_called_numbers=[to_int(a.ask_called) if a.ask_called else 0 for a in answers],
        time_corrections_s=[a.time_correction // _S for a in answers],
        handovers=[a.handover.value for a in answers],  # type: ignore[misc]
        retry_after_s=[a.retry_after // _S for a in answers],
        refusals=[a.refusal.value for a in answers],  # type: ignore[misc]
        providers=providers.names,
    ).SerializeToString(deterministic=True)


def decode_answers(data: bytes, *, batch_sha256: bytes, expected: ProviderId, count: int) -> list[Answer]:
    """The `count` answers in `data`, if they belong to this batch and come from the provider that was asked.

    Raises:
        ContractError: MALFORMED, INVALID_FIELD, BATCH_COLUMNS (also when the count differs), or WRONG_TARGET.
    """
    message = pb.AnswerBatch()
    check(parse(message, data))
    if message.batch_sha256 != batch_sha256 or message.provider != expected:
        raise ContractError(ErrorReason.WRONG_TARGET, "the answers belong to another batch or another provider")
    columns = ("outcomes", "upstreams", "ask_called_numbers", "time_corrections_s", "handovers")
    _same_length(message, count, (*columns, "retry_after_s", "refusals"))
    _within(message.time_corrections_s, -_MAX_CORRECTION_S, _MAX_CORRECTION_S, "time_corrections_s")
    names = _each(parse_provider_id, message.providers, "providers")
    upstreams = _lookup(message.upstreams, names, "upstreams")
    outcomes = _enums(Outcome, message.outcomes, "outcomes")
    handovers = _enums(Handover, message.handovers, "handovers")
    refusals = _enums(RefusalReason, message.refusals, "refusals")
    numbers = _each(_number_or_none, message.ask_called_numbers, "ask_called_numbers")
    try:
        return [
            Answer(
                provider=expected,
                outcome=outcomes[i],
                upstream=upstreams[i],
                ask_called=numbers[i],
                time_correction=correction * _S if correction else _NONE,
                handover=handovers[i],
                retry_after=retry * _S if retry else _NONE,
                refusal=refusals[i],
            )
            for i, (correction, retry) in enumerate(zip(message.time_corrections_s, message.retry_after_s, strict=True))
        ]
    except ValueError as error:
        raise ContractError(ErrorReason.INVALID_FIELD, str(error), ("outcomes",)) from None


class _Directory:
    """Distinct provider ids in order of first use, pointed at from 1; 0 is none."""

    def __init__(self) -> None:
        self._indices: dict[ProviderId, int] = {}

    def index(self, provider: ProviderId | None) -> int:
        return 0 if provider is None else self._indices.setdefault(provider, len(self._indices) + 1)

    @property
    def names(self) -> list[str]:
        return list(self._indices)


def _same_length(message: Message, count: int, columns: tuple[str, ...]) -> None:
    wrong = tuple(name for name in columns if len(getattr(message, name)) != count)
    if wrong:
        raise ContractError(
            ErrorReason.BATCH_COLUMNS, f"the columns {', '.join(wrong)} don't have {count} entries", wrong
        )


def _within(column: Iterable[int], low: int, high: int, name: str) -> None:
    if min(column, default=low) < low or max(column, default=high) > high:
        raise ContractError(ErrorReason.INVALID_FIELD, f"{name} must lie within {low} and {high}", (name,))


def _lookup(indices: Sequence[int], providers: Sequence[ProviderId], name: str) -> list[ProviderId | None]:
    table: list[ProviderId | None] = [None, *providers]
    try:
        return [table[index] for index in indices]
    except IndexError:
        raise ContractError(
            ErrorReason.BATCH_COLUMNS, f"{name} points beyond the {len(providers)} providers of the batch", (name,)
        ) from None


def _each(parse: Callable[[T], V], column: Iterable[T], name: str) -> list[V]:
    try:
        return [parse(value) for value in column]
    except ValueError:
        raise ContractError(ErrorReason.INVALID_FIELD, f"{name} breaks its rule", (name,)) from None


def _enums(kind: type[E], column: Iterable[int], name: str) -> list[E]:
    members = {member.value: member for member in kind}
    try:
        return [members[value] for value in column]
    except KeyError:
        raise ContractError(ErrorReason.INVALID_FIELD, f"{name} holds an unknown value", (name,)) from None


def _number_or_none(digits: int) -> E164 | None:
    return from_int(digits) if digits else None
