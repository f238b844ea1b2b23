"""The state machine under an order: by what right it asks, how far, how long; and that it never asks beyond."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.events import Answered, Reopened, RetryDue, Started, TimedOut
from coordinator.tracing.patience import Patience
from coordinator.tracing.signed import SignedAnswer, encode_question, signed_answer
from coordinator.tracing.traceback import advance
from protos.codec import digest
from protos.hops import QUESTION_LIFE, Asked, Finding, answer_parts
from protos.orders import Order
from protos.signing import Domain
from protos.types import Answer, Authority, Outcome, Question, RecordCoverage
from tests.coordinator.make import ID, NOW, T0, TOLL_FREE, provider, says, upstream
from tests.coordinator.parties import Parties, order, traceback_of

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


def begun(parties: Parties, granted_order: Order | None = None, traceback_id: uuid.UUID = ID) -> Traceback:
    [granted] = parties.granted(granted_order or order())
    return advance(traceback_of(granted, traceback_id), Started(NOW))[0]


def opened(traceback: Traceback) -> Question:
    assert traceback.open_question is not None
    return traceback.open_question


def right(traceback: Traceback) -> Authority:
    authority = opened(traceback).authority
    assert authority is not None
    return authority


def signed(parties: Parties, question: Question, answer: Answer) -> SignedAnswer:
    """`answer` as its provider signs it."""
    exact = encode_question(question)
    sha256 = digest(exact)
    parts = answer_parts(answer, question, sha256, Finding(RecordCoverage.COMPLETE, bytes(32), NOW), sha256)
    [proof] = parties.of(answer.provider).signer.prove(Domain.ANSWER, [parts.leaf])
    assert question.authority is not None
    found = signed_answer(parts, proof, Asked(exact, question, question.authority))
    assert isinstance(found, SignedAnswer)
    return found


def answered(parties: Parties, traceback: Traceback, *answers: Answer) -> Traceback:
    for answer in answers:
        question = opened(traceback)
        said = signed(parties, question, answer)
        traceback, _ = advance(traceback, Answered(question.question_id, said, NOW + SECOND))
    return traceback


class TestByWhatRight:
    def test_the_terminating_provider_is_asked_under_the_order_alone(self, parties: Parties) -> None:
        traceback = begun(parties)
        authority = right(traceback)
        assert authority.order_sha256 == traceback.call.order_sha256
        assert (authority.naming_sha256, authority.position, authority.issued) == (None, 0, NOW)

    def test_a_named_provider_is_asked_with_the_naming_of_the_very_answer_that_named_it(self, parties: Parties) -> None:
        traceback = answered(parties, begun(parties), upstream("ginkgo", "birch"))
        answer = traceback.hops[0].answer
        assert isinstance(answer, SignedAnswer)
        assert right(traceback).naming_sha256 == digest(answer.parts.naming)
        assert right(traceback).position == 1

    def test_an_answer_that_nobody_signed_leads_nowhere(self, parties: Parties) -> None:
        traceback = begun(parties)
        ended, _ = advance(
            traceback, Answered(opened(traceback).question_id, upstream("ginkgo", "birch"), NOW + SECOND)
        )
        assert ended.status is Status.BAD_ANSWER

    def test_nonces_follow_from_traceback_and_question_and_are_never_the_same(self, parties: Parties) -> None:
        one = [begun(parties), answered(parties, begun(parties), upstream("ginkgo", "birch"))]
        other = begun(parties, traceback_id=uuid.UUID(int=9))
        nonces = [right(traceback).nonce for traceback in (*one, other)]
        assert len(set(nonces)) == 3
        assert all(len(nonce) == 16 for nonce in nonces)

    def test_equal_ids_mean_equal_bytes(self, parties: Parties) -> None:
        """A step that is taken again after a crash, a little later, asks the very same."""
        before = begun(parties)
        said = signed(parties, opened(before), upstream("ginkgo", "birch"))
        steps = [
            advance(before, Answered(opened(before).question_id, said, NOW + later))[0]
            for later in (SECOND, 20 * SECOND)
        ]
        assert encode_question(opened(steps[0])) == encode_question(opened(steps[1]))

    def test_another_answer_leads_to_another_id(self, parties: Parties) -> None:
        one = opened(answered(parties, begun(parties), upstream("ginkgo", "birch")))
        other = opened(answered(parties, begun(parties), upstream("ginkgo", "birch", correction_s=-1)))
        assert one.question_id != other.question_id


class TestHowFar:
    def test_the_window_is_the_orders_where_the_time_is(self, parties: Parties) -> None:
        assert opened(begun(parties, order(window=90 * SECOND))).window == 90 * SECOND

    @pytest.mark.parametrize("moved", [-40, 25])
    def test_the_window_loses_what_the_time_has_moved(self, parties: Parties, moved: int) -> None:
        question = opened(answered(parties, begun(parties), upstream("ginkgo", "birch", correction_s=moved)))
        assert (question.at, question.window) == (T0 + moved * SECOND, (60 - abs(moved)) * SECOND)

    def test_the_window_grows_again_when_the_time_moves_back(self, parties: Parties) -> None:
        there_and_back = [upstream("ginkgo", "birch", correction_s=-40), upstream("birch", "alder", correction_s=40)]
        assert opened(answered(parties, begun(parties), *there_and_back)).window == 60 * SECOND

    @pytest.mark.parametrize("moved", [-60, 60, 200])
    def test_the_chain_is_closed_when_nothing_of_the_window_is_left(self, parties: Parties, moved: int) -> None:
        closed = answered(parties, begun(parties), upstream("ginkgo", "birch", correction_s=moved))
        assert (closed.status, len(closed.hops)) == (Status.WINDOW_SPENT, 1)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.integers(-45, 45), min_size=1, max_size=6), st.integers(1, 300))
    def test_no_question_ever_reaches_outside_the_order(self, parties: Parties, moves: list[int], window: int) -> None:
        traceback = begun(parties, order(window=window * SECOND))
        for number, moved in enumerate(moves):
            if traceback.open_question is None:
                break
            here = opened(traceback).target
            traceback = answered(parties, traceback, upstream(here, f"p{number}", correction_s=moved))
        for hop in traceback.hops:
            assert abs(hop.question.at - T0) + hop.question.window <= window * SECOND
            assert hop.question.window > timedelta(0)

    def test_the_hop_limit_is_the_orders(self, parties: Parties) -> None:
        limited = begun(parties, order(hop_limit=2))
        assert answered(parties, limited, upstream("ginkgo", "birch"), upstream("birch", "alder")).status is (
            Status.HOP_LIMIT
        )

    def test_the_number_is_as_named(self, parties: Parties) -> None:
        question = opened(answered(parties, begun(parties), upstream("ginkgo", "birch", ask_called=TOLL_FREE)))
        assert question.called == TOLL_FREE


class TestHowLong:
    def test_no_question_lives_longer_than_the_protocol_allows(self) -> None:
        with pytest.raises(ValueError, match="10 minutes"):
            Patience(question_lifetime=QUESTION_LIFE + SECOND)

    def test_no_question_lives_longer_than_the_order(self, parties: Parties) -> None:
        short = order(expires=NOW + 30 * SECOND)
        assert opened(begun(parties, short)).deadline == NOW + 30 * SECOND

    def test_nothing_is_asked_under_an_order_that_has_expired(self, parties: Parties) -> None:
        old = order(issued=NOW - timedelta(hours=2), expires=NOW)
        closed = begun(parties, old)
        assert (closed.status, closed.hops) == (Status.ORDER_EXPIRED, ())

    def test_the_next_hop_is_not_asked_once_the_order_has_expired(self, parties: Parties) -> None:
        traceback = begun(parties, order(expires=NOW + 30 * SECOND))
        said = signed(parties, opened(traceback), upstream("ginkgo", "birch"))
        late, _ = advance(traceback, Answered(opened(traceback).question_id, said, NOW + 30 * SECOND))
        assert (late.status, len(late.hops)) == (Status.ORDER_EXPIRED, 1)

    def test_nobody_is_asked_again_once_the_order_has_expired(self, parties: Parties) -> None:
        traceback = begun(parties, order(expires=NOW + 30 * SECOND))
        waiting, _ = advance(traceback, TimedOut(opened(traceback).question_id, NOW + 20 * SECOND))
        assert advance(waiting, RetryDue(NOW + 31 * SECOND))[0].status is Status.ORDER_EXPIRED
        refused = answered(parties, begun(parties, order(expires=NOW + 30 * SECOND)), says("ginkgo", Outcome.UNMAPPED))
        assert advance(refused, Reopened(NOW + 31 * SECOND))[0].status is Status.ORDER_EXPIRED

    def test_a_question_that_is_asked_anew_is_issued_anew_under_the_same_naming(self, parties: Parties) -> None:
        traceback = answered(parties, begun(parties), upstream("ginkgo", "birch"))
        failed, _ = advance(traceback, TimedOut(opened(traceback).question_id, NOW + SECOND))
        later = opened(traceback).deadline + SECOND
        anew, _ = advance(failed, RetryDue(later))
        assert right(anew).issued == later
        assert right(anew).naming_sha256 == right(traceback).naming_sha256
        assert right(anew).nonce != right(traceback).nonce


def test_a_call_has_an_order_with_its_end_or_neither(parties: Parties) -> None:
    call = begun(parties).call
    with pytest.raises(ValueError, match="or neither"):
        replace(call, expires=None)
    with pytest.raises(ValueError, match="32 hops"):
        replace(call, hop_limit=33)


def test_the_answering_provider_is_the_one_that_was_asked(parties: Parties) -> None:
    traceback = begun(parties)
    said = replace(signed(parties, opened(traceback), upstream("ginkgo", "birch")), provider=provider("oak"))
    ended, _ = advance(traceback, Answered(opened(traceback).question_id, said, NOW))
    assert ended.status is Status.BAD_ANSWER
