"""Questions and answers as exact bytes: what goes in comes out, and what the schema forbids is never taken."""

from __future__ import annotations

import string
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import protovalidate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopback.v1 import lookup_pb2 as pb
from protos import codec
from protos.codec import ContractError
from protos.e164 import parse_e164
from protos.identity import parse_provider_id
from protos.types import Answer, ErrorReason, Handover, Outcome, Question, RefusalReason

BIRCH, CEDAR = parse_provider_id("birch"), parse_provider_id("cedar")
WHEN = datetime(2026, 11, 20, 17, 3, 21, 500_000, tzinfo=UTC)
QUESTION = Question(
    question_id=UUID("8b0c3c7e-2f11-4f0e-9d53-6f2a53a4d111"),
    target=BIRCH,
    called=parse_e164("+12025550143"),
    at=WHEN,
    window=timedelta(seconds=60),
    named_by=CEDAR,
    calling=parse_e164("+12025550199"),
    deadline=WHEN + timedelta(minutes=1),
)
DIGEST = codec.digest(codec.encode_question(QUESTION))
ANSWER = Answer(
    BIRCH,
    Outcome.UPSTREAM,
    upstream=CEDAR,
    ask_called=parse_e164("+18005550199"),
    time_correction=timedelta(seconds=-3),
    handover=Handover.CONFIRMED,
)


class TestThereAndBack:
    def test_a_question(self) -> None:
        assert codec.decode_question(codec.encode_question(QUESTION)) == QUESTION

    def test_an_answer(self) -> None:
        exact = codec.encode_answer(ANSWER, DIGEST)
        assert codec.decode_answer(exact, question_sha256=DIGEST, expected=BIRCH) == ANSWER

    def test_envelopes(self) -> None:
        assert codec.exact_question(pb.LookupRequest(question=b"q").SerializeToString()) == b"q"
        assert codec.exact_answer(pb.LookupResponse(answer=b"a").SerializeToString()) == b"a"


class TestBinding:
    def test_an_answer_to_another_question_is_refused(self) -> None:
        exact = codec.encode_answer(ANSWER, codec.digest(b"another question"))
        with pytest.raises(ContractError) as refused:
            codec.decode_answer(exact, question_sha256=DIGEST, expected=BIRCH)
        assert refused.value.reason is ErrorReason.WRONG_TARGET

    def test_an_answer_of_another_provider_is_refused(self) -> None:
        exact = codec.encode_answer(ANSWER, DIGEST)
        with pytest.raises(ContractError) as refused:
            codec.decode_answer(exact, question_sha256=DIGEST, expected=CEDAR)
        assert refused.value.reason is ErrorReason.WRONG_TARGET


class TestEnvelopes:
    @pytest.mark.parametrize("payload", [b"", b"x" * 4097])
    def test_an_empty_or_oversized_one_is_refused_by_its_rule(self, payload: bytes) -> None:
        with pytest.raises(ContractError) as refused:
            codec.exact_question(pb.LookupRequest(question=payload).SerializeToString())
        assert refused.value.fields == ("question",)
        with pytest.raises(ContractError):
            codec.exact_answer(pb.LookupResponse(answer=payload).SerializeToString())

    def test_signatures_are_held_to_their_rules(self) -> None:
        bad = pb.LookupRequest(question=b"q", signatures=[pb.Signature()])
        with pytest.raises(ContractError):
            codec.exact_question(bad.SerializeToString())
        good = pb.LookupRequest(question=b"q", signatures=[pb.Signature(key_id="k", algorithm="a", value=b"v")])
        assert codec.exact_question(good.SerializeToString()) == b"q"

    def test_what_is_no_protobuf_is_malformed(self) -> None:
        with pytest.raises(ContractError) as refused:
            codec.exact_question(b"\xff\xff")
        assert refused.value.reason is ErrorReason.MALFORMED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("question_id", "8b0c3c7e2f114f0e9d536f2a53a4d111"),
        ("question_id", "{8b0c3c7e-2f11-4f0e-9d53-6f2a53a4d11}"),
        ("question_id", "8b0c3c7e-2f11-4f0e-9d53-6f2a53a4d111\n"),
        ("target", "Birch"),
        ("called_number", "2025550143"),
        ("called_number", "+12025550143\n"),
        ("called_number", "+1202555014٣"),
        ("at_unix_ms", 0),
        ("at_unix_ms", 253402300800000),
        ("window_ms", 0),
        ("window_ms", 300001),
        ("named_by", "-"),
        ("calling_number", "anonymous"),
        ("deadline_unix_ms", 0),
    ],
)
def test_a_field_that_breaks_its_rule_is_named_and_its_value_is_not(field: str, value: str | int) -> None:
    message = pb.Question.FromString(codec.encode_question(QUESTION))
    setattr(message, field, value)
    with pytest.raises(ContractError) as refused:
        codec.decode_question(message.SerializeToString())
    assert refused.value.reason is ErrorReason.INVALID_FIELD
    assert refused.value.fields == (field,)
    if isinstance(value, str):
        assert len(value) < 2 or value.strip() not in str(refused.value)


_text = st.one_of(
    st.sampled_from(["", "birch", "cedar", "b", "+12025550143", "+0", "8b0c3c7e-2f11-4f0e-9d53-6f2a53a4d111"]),
    st.text(string.printable, max_size=40),
    st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True),
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", fullmatch=True),
    st.uuids().map(str),
)
_questions = st.builds(
    pb.Question,
    question_id=st.one_of(st.uuids().map(str), _text),
    target=_text,
    called_number=_text,
    at_unix_ms=st.one_of(st.integers(0, 10**13), st.integers(0, 2**64 - 1)),
    window_ms=st.one_of(st.integers(0, 300_001), st.integers(0, 2**32 - 1)),
    named_by=_text,
    calling_number=_text,
    deadline_unix_ms=st.one_of(st.integers(0, 10**13), st.integers(0, 2**64 - 1)),
)
_answers = st.builds(
    pb.Answer,
    question_sha256=st.just(DIGEST),
    provider=st.just("birch"),
    outcome=st.integers(0, 12),
    upstream=_text,
    ask_called_number=_text,
    time_correction_s=st.integers(-302, 302),
    handover=st.integers(0, 4),
    retry_after_s=st.integers(0, 2**32 - 1),
    refusal=st.integers(0, 9),
)


def keeps_its_rules(message: pb.Question | pb.Answer) -> bool:
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError:
        return False
    return True


class TestTheSchemaIsTheLaw:
    @given(_questions)
    def test_a_question_is_taken_exactly_when_it_keeps_the_rules(self, message: pb.Question) -> None:
        try:
            codec.decode_question(message.SerializeToString())
        except ContractError:
            assert not keeps_its_rules(message)
        else:
            assert keeps_its_rules(message)

    @given(_answers)
    def test_no_answer_is_taken_that_breaks_a_rule(self, message: pb.Answer) -> None:
        try:
            codec.decode_answer(message.SerializeToString(), question_sha256=DIGEST, expected=BIRCH)
        except ContractError:
            return
        assert keeps_its_rules(message)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_value_or_the_one_error(self, data: bytes) -> None:
        for read in (codec.decode_question, codec.exact_question, codec.exact_answer):
            with suppress(ContractError):
                read(data)


def outcome_of(read: Callable[[bytes], bytes], data: bytes) -> bytes | ErrorReason:
    try:
        return read(data)
    except ContractError as error:
        return error.reason


def by_parsing(data: bytes) -> bytes:
    message = codec.parse(pb.LookupRequest(), data)
    codec.check(message)
    return message.question


_values = st.builds(
    Answer,
    provider=st.sampled_from([BIRCH, CEDAR]),
    outcome=st.sampled_from([Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM]),
    upstream=st.from_regex(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", fullmatch=True).map(parse_provider_id),
    ask_called=st.one_of(st.none(), st.just(parse_e164("+18005550199"))),
    time_correction=st.integers(-300, 300).map(lambda s: timedelta(seconds=s)),
    handover=st.sampled_from(Handover),
    retry_after=st.integers(0, 2**32 - 1).map(lambda s: timedelta(seconds=s)),
) | st.builds(
    Answer,
    provider=st.sampled_from([BIRCH, CEDAR]),
    outcome=st.sampled_from([Outcome.NOT_FOUND, Outcome.REFUSED, Outcome.AMBIGUOUS]),
    handover=st.sampled_from(Handover),
    refusal=st.sampled_from(RefusalReason),
)


class TestWhatIsNotParsed:
    @given(
        st.binary(max_size=300)
        | st.binary(max_size=300).map(lambda q: pb.LookupRequest(question=q).SerializeToString())
    )
    def test_the_question_of_an_envelope_is_that_which_parsing_finds(self, data: bytes) -> None:
        assert outcome_of(codec.exact_question, data) == outcome_of(by_parsing, data)

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 129, 4096, 4097])
    def test_whatever_its_size(self, size: int) -> None:
        data = pb.LookupRequest(question=bytes(size)).SerializeToString()
        assert outcome_of(codec.exact_question, data) == outcome_of(by_parsing, data)

    def test_nor_is_a_second_field_taken_for_none(self) -> None:
        data = pb.LookupRequest(question=b"one").SerializeToString() * 2
        assert codec.exact_question(data) == b"one" == by_parsing(data)
        data += pb.LookupRequest(question=b"another").SerializeToString()
        assert codec.exact_question(data) == b"another"

    @given(_values, st.sampled_from([DIGEST, bytes(32), b"short", b""]))
    def test_an_answer_is_encoded_as_the_library_does_it(self, answer: Answer, digest: bytes) -> None:
        by_library = pb.Answer(
            question_sha256=digest,
            provider=answer.provider,
            outcome=answer.outcome.value,  # type: ignore[arg-type]
            upstream=answer.upstream or "",
            ask_called_number=answer.ask_called or "",
            time_correction_s=answer.time_correction // timedelta(seconds=1),
            handover=answer.handover.value,  # type: ignore[arg-type]
            retry_after_s=answer.retry_after // timedelta(seconds=1),
            refusal=answer.refusal.value,  # type: ignore[arg-type]
        ).SerializeToString(deterministic=True)
        assert codec.encode_answer(answer, digest) == by_library
        assert codec.encode_response(answer, digest) == pb.LookupResponse(answer=by_library).SerializeToString()
