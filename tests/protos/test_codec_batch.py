"""A batch of questions or answers says the same as its single messages, and refuses what contradicts itself."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopback.v1 import lookup_pb2 as pb
from protos import codec, codec_batch
from protos.codec import ContractError
from protos.e164 import E164, from_int
from protos.identity import ProviderId
from protos.types import Answer, ErrorReason, Handover, Outcome, Question, RefusalReason

BIRCH = ProviderId("birch")
DEADLINE = datetime(2026, 11, 22, 12, 0, 1, tzinfo=UTC)
DIGEST = bytes(32)

ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True).map(ProviderId)
numbers: st.SearchStrategy[E164] = st.integers(10**6, 10**15 - 1).map(from_int)
times = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)
)
questions = st.builds(
    Question,
    question_id=st.uuids(),
    target=st.just(BIRCH),
    called=numbers,
    at=times,
    window=st.integers(1, 300_000).map(lambda ms: timedelta(milliseconds=ms)),
    named_by=st.none() | ids,
    calling=st.none() | numbers,
    deadline=st.just(DEADLINE),
)
plain_outcomes = [o for o in Outcome if o not in (Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM)]
answers = st.builds(
    Answer,
    provider=st.just(BIRCH),
    outcome=st.sampled_from(plain_outcomes),
    handover=st.sampled_from(Handover),
    retry_after=st.integers(0, 10**6).map(lambda s: timedelta(seconds=s)),
    refusal=st.sampled_from(RefusalReason),
) | st.builds(
    Answer,
    provider=st.just(BIRCH),
    outcome=st.sampled_from([Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM]),
    upstream=ids,
    ask_called=st.none() | numbers,
    time_correction=st.integers(-300, 300).map(lambda s: timedelta(seconds=s)),
    handover=st.sampled_from(Handover),
)
FAST = settings(max_examples=50, deadline=None)


@FAST
@given(st.lists(questions, min_size=1, max_size=20))
def test_questions_come_back_as_they_were_sent(batch: list[Question]) -> None:
    assert codec_batch.decode_questions(codec_batch.encode_questions(batch)) == batch


@FAST
@given(questions)
def test_a_question_means_the_same_alone_and_in_a_batch(question: Question) -> None:
    alone = codec.decode_question(codec.encode_question(question))
    assert codec_batch.decode_questions(codec_batch.encode_questions([question])) == [alone]


@FAST
@given(st.lists(answers, min_size=1, max_size=20))
def test_answers_come_back_as_they_were_sent(batch: list[Answer]) -> None:
    data = codec_batch.encode_answers(batch, DIGEST, BIRCH)
    assert codec_batch.decode_answers(data, batch_sha256=DIGEST, expected=BIRCH, count=len(batch)) == batch


@FAST
@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_of_questions_or_a_breach_of_contract(data: bytes) -> None:
    with suppress(ContractError):
        assert codec_batch.decode_questions(data)


@FAST
@given(st.lists(questions, min_size=1, max_size=4), st.data())
def test_a_batch_with_a_byte_changed_is_a_batch_or_a_breach_of_contract(batch: list[Question], data: Any) -> None:
    exact = bytearray(codec_batch.encode_questions(batch))
    exact[data.draw(st.integers(0, len(exact) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ContractError):
        assert codec_batch.decode_questions(bytes(exact))


@FAST
@given(st.lists(answers, min_size=1, max_size=4), st.data())
def test_answers_with_a_byte_changed_are_answers_or_a_breach_of_contract(batch: list[Answer], data: Any) -> None:
    exact = bytearray(codec_batch.encode_answers(batch, DIGEST, BIRCH))
    exact[data.draw(st.integers(0, len(exact) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ContractError):
        codec_batch.decode_answers(bytes(exact), batch_sha256=DIGEST, expected=BIRCH, count=len(batch))


def a_question_batch(**change: Any) -> bytes:
    """Two questions as columns, with some columns replaced."""
    columns: dict[str, Any] = {
        "target": "birch",
        "question_ids": bytes(32),
        "called_numbers": [12025550143, 12025550144],
        "at_unix_ms": [1, 2],
        "window_ms": [1, 300_000],
        "named_by": [0, 1],
        "calling_numbers": [0, 12025550145],
        "providers": ["cedar"],
        "deadline_unix_ms": 1,
    }
    return pb.QuestionBatch(**(columns | change)).SerializeToString()


def test_the_batch_that_the_refusals_start_from_is_sound() -> None:
    assert [q.named_by for q in codec_batch.decode_questions(a_question_batch())] == [None, "cedar"]


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"question_ids": bytes(31)}, ErrorReason.BATCH_COLUMNS, "question_ids"),
        ({"question_ids": bytes(48)}, ErrorReason.BATCH_COLUMNS, "question_ids"),
        ({"at_unix_ms": [1]}, ErrorReason.BATCH_COLUMNS, "at_unix_ms"),
        ({"window_ms": [1, 2, 3]}, ErrorReason.BATCH_COLUMNS, "window_ms"),
        ({"named_by": []}, ErrorReason.BATCH_COLUMNS, "named_by"),
        ({"calling_numbers": [0]}, ErrorReason.BATCH_COLUMNS, "calling_numbers"),
        ({"named_by": [0, 2]}, ErrorReason.BATCH_COLUMNS, "named_by"),
        ({"at_unix_ms": [0, 1]}, ErrorReason.INVALID_FIELD, "at_unix_ms"),
        ({"at_unix_ms": [1, 2**63]}, ErrorReason.INVALID_FIELD, "at_unix_ms"),
        ({"window_ms": [0, 1]}, ErrorReason.INVALID_FIELD, "window_ms"),
        ({"window_ms": [1, 300_001]}, ErrorReason.INVALID_FIELD, "window_ms"),
        ({"called_numbers": [0, 12025550143]}, ErrorReason.INVALID_FIELD, "called_numbers"),
        ({"called_numbers": [10**15, 12025550143]}, ErrorReason.INVALID_FIELD, "called_numbers"),
        ({"calling_numbers": [911, 0]}, ErrorReason.INVALID_FIELD, "calling_numbers"),
        ({"providers": ["Not An Id"]}, ErrorReason.INVALID_FIELD, "providers"),
        ({"target": ""}, ErrorReason.INVALID_FIELD, "target"),
        ({"deadline_unix_ms": 0}, ErrorReason.INVALID_FIELD, "deadline_unix_ms"),
        ({"called_numbers": []}, ErrorReason.INVALID_FIELD, "called_numbers"),
    ],
)
def test_a_batch_that_breaks_a_rule_is_refused_with_the_name_of_the_column(
    change: dict[str, Any], reason: ErrorReason, field: str
) -> None:
    with pytest.raises(ContractError) as caught:
        codec_batch.decode_questions(a_question_batch(**change))
    assert caught.value.reason is reason
    assert field in caught.value.fields


def test_no_refusal_repeats_a_number() -> None:
    with pytest.raises(ContractError) as caught:
        codec_batch.decode_questions(a_question_batch(called_numbers=[12025550143, 555014]))
    assert "555014" not in str(caught.value)


def an_answer_batch(**change: Any) -> bytes:
    """Two answers as columns, with some columns replaced."""
    columns: dict[str, Any] = {
        "batch_sha256": DIGEST,
        "provider": "birch",
        "outcomes": [1, 4],
        "upstreams": [1, 0],
        "ask_called_numbers": [0, 0],
        "time_corrections_s": [-1, 0],
        "handovers": [1, 0],
        "retry_after_s": [0, 0],
        "refusals": [0, 0],
        "providers": ["cedar"],
    }
    return pb.AnswerBatch(**(columns | change)).SerializeToString()


def test_the_answers_that_the_refusals_start_from_are_sound() -> None:
    decoded = codec_batch.decode_answers(an_answer_batch(), batch_sha256=DIGEST, expected=BIRCH, count=2)
    assert [a.upstream for a in decoded] == ["cedar", None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"batch_sha256": bytes(31) + b"\1"}, ErrorReason.WRONG_TARGET),
        ({"provider": "cedar"}, ErrorReason.WRONG_TARGET),
        ({"outcomes": [1]}, ErrorReason.BATCH_COLUMNS),
        ({"upstreams": [2, 0]}, ErrorReason.BATCH_COLUMNS),
        ({"refusals": []}, ErrorReason.BATCH_COLUMNS),
        ({"outcomes": [1, 0]}, ErrorReason.INVALID_FIELD),
        ({"outcomes": [1, 99]}, ErrorReason.INVALID_FIELD),
        ({"outcomes": [4, 4]}, ErrorReason.INVALID_FIELD),
        ({"handovers": [9, 0]}, ErrorReason.INVALID_FIELD),
        ({"time_corrections_s": [301, 0]}, ErrorReason.INVALID_FIELD),
        ({"providers": ["\x1b[31m"]}, ErrorReason.INVALID_FIELD),
        ({"ask_called_numbers": [1, 0]}, ErrorReason.INVALID_FIELD),
    ],
)
def test_answers_that_break_a_rule_are_refused(change: dict[str, Any], reason: ErrorReason) -> None:
    with pytest.raises(ContractError) as caught:
        codec_batch.decode_answers(an_answer_batch(**change), batch_sha256=DIGEST, expected=BIRCH, count=2)
    assert caught.value.reason is reason


def test_fewer_answers_than_questions_are_refused() -> None:
    with pytest.raises(ContractError, match="3 entries"):
        codec_batch.decode_answers(an_answer_batch(), batch_sha256=DIGEST, expected=BIRCH, count=3)


class TestTheSenderIsToldAtOnce:
    def of(self, **change: Any) -> Question:
        values: dict[str, Any] = {
            "question_id": UUID(int=1),
            "target": BIRCH,
            "called": from_int(12025550143),
            "at": DEADLINE,
            "window": timedelta(seconds=1),
            "named_by": None,
            "calling": None,
            "deadline": DEADLINE,
        }
        return Question(**(values | change))

    def test_when_a_batch_is_empty(self) -> None:
        with pytest.raises(ValueError, match="1 to"):
            codec_batch.encode_questions([])

    def test_when_a_batch_is_too_large(self) -> None:
        with pytest.raises(ValueError, match="split it"):
            codec_batch.encode_questions([self.of()] * (codec_batch.MAX_BATCH + 1))

    def test_when_the_questions_go_to_different_providers(self) -> None:
        with pytest.raises(ValueError, match="one provider"):
            codec_batch.encode_questions([self.of(), self.of(target=ProviderId("cedar"))])

    def test_when_it_names_more_providers_than_a_batch_may(self) -> None:
        many = [self.of(named_by=ProviderId(f"p{i}")) for i in range(codec_batch.MAX_PROVIDERS + 1)]
        with pytest.raises(ValueError, match="providers"):
            codec_batch.encode_questions(many)

    def test_and_the_largest_batch_fits_into_the_envelope(self) -> None:
        named = [ProviderId(f"{i:0>63}") for i in range(codec_batch.MAX_PROVIDERS)]
        most = [
            self.of(named_by=named[i % len(named)], calling=from_int(999999999999999), window=timedelta(seconds=300))
            for i in range(codec_batch.MAX_BATCH)
        ]
        assert len(codec_batch.encode_questions(most)) <= 4_000_000
