"""Signed questions and answers: what goes in comes out, one size for every answer, and nothing else is taken."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopback.v1 import evidence_pb2 as evidence
from hopback.v1 import hop_pb2 as pb
from hopback.v1 import lookup_pb2 as lookup
from protos import envelopes, hops
from protos.codec import ContractError, digest
from protos.e164 import parse_e164
from protos.envelopes import LARGEST_QUESTION
from protos.hops import Asked, Parts, answer_parts, decode_parts
from protos.identity import ProviderId
from protos.part_bytes import PART_SIZE
from protos.signing import Domain, SealChecker
from protos.types import Answer, ErrorReason, Handover, Outcome, RefusalReason, Sister
from tests.protos.evidence_kit import (
    ANSWER,
    BIRCH,
    CALL_TAG,
    FINDING,
    FIRST,
    FIRST_EXACT,
    GINKGO,
    GINKGO_KEY,
    GRANTED,
    NAMED,
    ONLINE,
    PARTS,
    SECOND,
    SECOND_EXACT,
    bytes_of,
    named,
)

ASKED = hops.decode_question(FIRST_EXACT)
QUESTIONS = [FIRST_EXACT, SECOND_EXACT]
SEAL = ONLINE.seal(Domain.QUESTION, QUESTIONS)[0]
REQUEST = envelopes.encode_requests(QUESTIONS, SEAL, [GRANTED], [NAMED], [b"certificate"])
CHECKPOINT = evidence.SignedCheckpoint(checkpoint=b"checkpoint", seals=[SEAL.to_message()])

names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", fullmatch=True).map(ProviderId)
salts = st.binary(min_size=32, max_size=32)


@st.composite
def answers(draw: st.DrawFn, provider: ProviderId = GINKGO) -> Answer:
    outcome = draw(st.sampled_from(Outcome))
    named = outcome in (Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM)
    return Answer(
        provider,
        outcome,
        upstream=draw(names) if named else None,
        ask_called=ANSWER.ask_called if named and draw(st.booleans()) else None,
        time_correction=timedelta(seconds=draw(st.integers(-300, 300))) if named else timedelta(0),
        handover=draw(st.sampled_from(Handover)),
        retry_after=timedelta(seconds=draw(st.integers(0, 2**32 - 1))),
        refusal=draw(st.sampled_from(RefusalReason)),
    )


class TestAQuestion:
    def test_travels_as_exact_bytes(self) -> None:
        assert hops.decode_question(FIRST_EXACT).question == FIRST
        assert hops.decode_question(SECOND_EXACT).question == SECOND

    def test_names_at_most_four_sisters_and_stays_small(self) -> None:
        name = ProviderId("a" * 63)
        sisters = tuple(
            Sister(bytes_of(f"naming {n}", 32), UUID(bytes=bytes_of(f"question {n}", 16))) for n in range(5)
        )
        longest = replace(SECOND, target=name, named_by=name, called=parse_e164("+123456789012345"))
        assert SECOND.authority is not None
        for count in range(5):
            question = replace(longest, authority=replace(SECOND.authority, sisters=sisters[:count]))
            exact = hops.encode_question(question)
            assert hops.decode_question(exact).question == question
            assert len(exact) <= LARGEST_QUESTION
        with pytest.raises(ContractError):
            hops.decode_question(
                hops.encode_question(replace(longest, authority=replace(SECOND.authority, sisters=sisters)))
            )

    @pytest.mark.parametrize("bent", [lookup.Sister(), lookup.Sister(naming_sha256=bytes(32), question_id=bytes(15))])
    def test_with_a_sister_out_of_form_is_refused(self, bent: lookup.Sister) -> None:
        message = lookup.Question.FromString(SECOND_EXACT)
        message.sisters.append(bent)
        with pytest.raises(ContractError) as refused:
            hops.decode_question(message.SerializeToString())
        assert refused.value.reason is ErrorReason.INVALID_FIELD

    def test_without_authority_is_refused(self) -> None:
        from protos.codec import encode_question

        with pytest.raises(ContractError):
            hops.decode_question(encode_question(replace(FIRST, authority=None)))
        with pytest.raises(ValueError, match="authority"):
            hops.encode_question(replace(FIRST, authority=None))

    @given(st.integers(0, len(FIRST_EXACT) - 1), st.integers(1, 255))
    @settings(max_examples=150, deadline=None)
    def test_with_any_byte_changed_is_another_one_or_refused(self, place: int, change: int) -> None:
        bent = bytearray(FIRST_EXACT)
        bent[place] ^= change
        with suppress(ContractError):
            assert hops.decode_question(bytes(bent)).question != FIRST


class TestAnAnswer:
    @given(answers(), salts)
    @settings(max_examples=150, deadline=None)
    def test_travels_whole_and_in_one_size(self, answer: Answer, salts: bytes) -> None:
        parts = answer_parts(answer, FIRST, digest(FIRST_EXACT), FINDING, salts)
        assert (len(parts.naming), len(parts.finding)) == (PART_SIZE, PART_SIZE)
        got, finding = decode_parts(parts, ASKED, GINKGO)
        # A number that is asked for unchanged is no change.
        expected = replace(answer, ask_called=None) if answer.ask_called == FIRST.called else answer
        assert (got, finding) == (expected, FINDING)

    @given(names, names, st.integers(0, 2))
    @settings(max_examples=100, deadline=None)
    def test_has_its_size_whatever_the_names(self, provider: ProviderId, upstream: ProviderId, drop: int) -> None:
        answer = Answer(provider, Outcome.UPSTREAM, upstream=upstream, ask_called=ANSWER.ask_called)
        parts = answer_parts(answer, FIRST, bytes(32), FINDING, bytes(32))
        assert len(parts.naming) == len(parts.finding) == PART_SIZE
        del drop

    def test_is_bound_to_the_question_the_order_and_the_provider(self) -> None:
        for asked, expected in (
            (hops.decode_question(SECOND_EXACT), GINKGO),
            (ASKED, BIRCH),
            (replace(ASKED, authority=replace(ASKED.authority, order_sha256=bytes(32))), GINKGO),
        ):
            with pytest.raises(ContractError) as refused:
                decode_parts(PARTS, asked, expected)
            assert refused.value.reason is ErrorReason.WRONG_TARGET

    def test_can_not_be_put_together_from_two(self) -> None:
        other = answer_parts(
            Answer(GINKGO, Outcome.NOT_FOUND), FIRST, digest(FIRST_EXACT), FINDING, bytes_of("other", 32)
        )
        with pytest.raises(ContractError):
            decode_parts(Parts(other.naming, PARTS.finding), ASKED, GINKGO)
        with pytest.raises(ContractError):
            decode_parts(Parts(PARTS.naming, other.finding), ASKED, GINKGO)
        assert Parts(other.naming, PARTS.finding).leaf != PARTS.leaf

    def test_proves_its_naming_without_the_rest(self) -> None:
        assert NAMED.leaf == PARTS.leaf
        assert NAMED.proof.covers(NAMED.leaf)
        assert SealChecker().is_good(NAMED.proof.seal, Domain.ANSWER, GINKGO_KEY.public)
        assert NAMED.naming.upstream == BIRCH
        assert NAMED.naming.called == ANSWER.ask_called
        assert NAMED.naming.at == FIRST.at + ANSWER.time_correction
        assert NAMED.naming.call_tag == CALL_TAG

    def test_that_names_nobody_has_no_call_tag(self) -> None:
        parts = answer_parts(
            Answer(GINKGO, Outcome.AMBIGUOUS), FIRST, digest(FIRST_EXACT), FINDING, bytes(32), CALL_TAG
        )
        assert hops.decode_naming(parts.naming).call_tag == b""
        tagged = evidence.Naming.FromString(parts.naming)
        tagged.call_tag = CALL_TAG
        with pytest.raises(ContractError):
            hops.decode_naming(tagged.SerializeToString())

    @pytest.mark.parametrize("size", [1, 15, 17, 40])
    def test_with_a_call_tag_of_another_size_is_refused(self, size: int) -> None:
        naming = evidence.Naming.FromString(PARTS.naming)
        naming.call_tag = bytes(size)
        with pytest.raises(ContractError):
            hops.decode_naming(naming.SerializeToString())

    @given(st.integers(0, PART_SIZE - 1), st.integers(1, 255), st.booleans())
    @settings(max_examples=200, deadline=None)
    def test_with_any_byte_changed_is_another_leaf_or_refused(self, place: int, change: int, first: bool) -> None:
        bent = bytearray(PARTS.naming if first else PARTS.finding)
        bent[place] ^= change
        parts = replace(PARTS, **{"naming" if first else "finding": bytes(bent)})
        assert not NAMED.proof.covers(parts.leaf)
        with suppress(ContractError):
            decode_parts(parts, ASKED, GINKGO)

    @pytest.mark.parametrize("size", [0, PART_SIZE - 1, PART_SIZE + 1])
    def test_of_another_size_is_refused(self, size: int) -> None:
        for name in ("naming", "finding"):
            with pytest.raises(ContractError):
                decode_parts(replace(PARTS, **{name: getattr(PARTS, name)[:size].ljust(size, b"\0")}), ASKED, GINKGO)


class TestCallTags:
    def test_tell_two_calls_apart_only_where_they_compare(self) -> None:
        assert hops.tell_apart(b"same key" + b"call one", b"same key" + b"call two") is True
        assert hops.tell_apart(b"same key" + b"call one", b"same key" + b"call one") is False
        assert hops.tell_apart(b"same key" + b"call one", b"other ke" + b"call two") is None

    @pytest.mark.parametrize("other", [b"", b"same key", b"same key" + b"call one" + b"x"])
    def test_of_another_size_compare_with_none(self, other: bytes) -> None:
        assert hops.tell_apart(b"same key" + b"call one", other) is None
        assert hops.tell_apart(other, other[:0]) is None


class TestEnvelopes:
    def test_carry_a_naming_more_for_each_sister_that_a_question_names(self) -> None:
        assert SECOND.authority is not None
        other = named(answer_parts(ANSWER, FIRST, digest(FIRST_EXACT), FINDING, bytes_of("sister", 32)))
        sister = Sister(digest(other.exact), FIRST.question_id)
        exact = hops.encode_question(replace(SECOND, authority=replace(SECOND.authority, sisters=(sister,))))
        seal = ONLINE.seal(Domain.QUESTION, [exact])[0]
        requests = envelopes.decode_requests(envelopes.encode_requests([exact], seal, [GRANTED], [NAMED, other], []))
        assert set(requests.namings) == {digest(PARTS.naming), sister.naming_sha256}
        with pytest.raises(ContractError):
            envelopes.decode_requests(envelopes.encode_requests([SECOND_EXACT], seal, [GRANTED], [NAMED, other], []))

    def test_of_questions_carry_what_these_name_by_digest(self) -> None:
        requests = envelopes.decode_requests(REQUEST)
        assert [asked.exact for asked in requests.asked] == QUESTIONS
        assert requests.orders == {GRANTED.sha256: GRANTED}
        assert requests.namings == {digest(PARTS.naming): NAMED}
        assert requests.seal == SEAL
        assert requests.certificates == (b"certificate",)

    def test_of_answers_have_a_size_that_depends_on_their_number_alone(self) -> None:
        sizes = set()
        for outcome in Outcome:
            named = outcome in (Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM)
            answer = Answer(GINKGO, outcome, upstream=BIRCH if named else None)
            parts = answer_parts(answer, FIRST, digest(FIRST_EXACT), FINDING, bytes(32))
            seal = GINKGO_KEY.seal(Domain.ANSWER, [parts.leaf])[0]
            sent = envelopes.encode_responses([parts], seal, b"certificate", CHECKPOINT)
            assert envelopes.decode_responses(sent, 1).parts == (parts,)
            sizes.add(len(sent))
        assert len(sizes) == 1

    @pytest.mark.parametrize("count", [1, 3])
    def test_of_answers_are_what_the_library_serialises(self, count: int) -> None:
        parts = [answer_parts(Answer(GINKGO, Outcome.NOT_FOUND), FIRST, bytes(32), FINDING, bytes(32))] * count
        seal = GINKGO_KEY.seal(Domain.ANSWER, [one.leaf for one in parts])[0]
        message = pb.AskResponse(
            answers=[pb.HopAnswer(naming=one.naming, finding=one.finding) for one in parts],
            seal=seal.to_message(),
            certificate=b"certificate",
            checkpoint=CHECKPOINT,
        )
        expected = message.SerializeToString(deterministic=True)
        assert envelopes.encode_responses(parts, seal, b"certificate", CHECKPOINT) == expected
        with pytest.raises(ValueError, match="256 bytes each"):
            envelopes.encode_responses([*parts, hops.Parts(bytes(256), bytes(255))], seal, b"certificate", CHECKPOINT)

    def test_with_another_number_of_answers_are_refused(self) -> None:
        seal = GINKGO_KEY.seal(Domain.ANSWER, [PARTS.leaf])[0]
        sent = envelopes.encode_responses([PARTS], seal, b"certificate", CHECKPOINT)
        with pytest.raises(ContractError):
            envelopes.decode_responses(sent, 2)
        unsealed = pb.AskResponse.FromString(sent)
        unsealed.ClearField("seal")
        with pytest.raises(ContractError):
            envelopes.decode_responses(unsealed.SerializeToString(), 1)

    def test_with_more_than_questions_can_need_are_refused(self) -> None:
        message = pb.AskRequest.FromString(REQUEST)
        for field in ("orders", "namings", "seals"):
            bloated = pb.AskRequest()
            bloated.CopyFrom(message)
            entries = getattr(bloated, field)
            entries.extend([entries[0]] * 9)
            with pytest.raises(ContractError):
                envelopes.decode_requests(bloated.SerializeToString())

    def test_with_a_proof_that_points_nowhere_are_refused(self) -> None:
        message = pb.AskRequest.FromString(REQUEST)
        message.namings[0].proof.seal = 99
        with pytest.raises(ContractError):
            envelopes.decode_requests(message.SerializeToString())

    @given(st.binary(max_size=400))
    @settings(max_examples=100, deadline=None)
    def test_of_any_bytes_are_refused_in_words(self, data: bytes) -> None:
        with pytest.raises(ContractError):
            envelopes.decode_requests(data)
        with pytest.raises(ContractError):
            envelopes.decode_responses(data, 1)

    @given(st.data())
    @settings(max_examples=200, deadline=None)
    def test_with_bytes_changed_are_read_or_refused(self, data: st.DataObject) -> None:
        bent = bytearray(REQUEST)
        for _ in range(data.draw(st.integers(1, 4))):
            bent[data.draw(st.integers(0, len(bent) - 1))] = data.draw(st.integers(0, 255))
        with suppress(ContractError):
            assert all(isinstance(asked, Asked) for asked in envelopes.decode_requests(bytes(bent)).asked)
