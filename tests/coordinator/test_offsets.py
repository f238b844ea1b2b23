"""What is learned of neighbours' clocks: from many that agree, bounded, in words; and what a question does with it."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from coordinator.present.chains import hop_line, traceback_json
from coordinator.running.offset_book import OffsetBook
from coordinator.store.offset_models import clock_observations
from coordinator.tracing.chain import Call, Traceback, moved_by
from coordinator.tracing.events import Answered, Started
from coordinator.tracing.offsets import FARTHEST, FEWEST, LATEST, SMALLEST, SPREAD, Observation, observation, offset
from coordinator.tracing.traceback import advance
from protos.types import Handover, Outcome, Question
from tests.coordinator.make import CALLED, ID, NOW, T0, provider, says, submitted, upstream

SECOND = timedelta(seconds=1)
GINKGO, BIRCH = provider("ginkgo"), provider("birch")

SECONDS = st.integers(-400, 400)


class TestWhatIsLearned:
    def test_is_the_median_of_many_that_agree(self) -> None:
        learned = offset([47, 7, 7, 8, 7, 6, 7, 7, 7, 8, 7])
        assert (learned.shift, learned.observed) == (7 * SECOND, 11)
        assert "7 s ahead" in learned.why

    @pytest.mark.parametrize(
        ("seen", "why"),
        [
            ([], "no call"),
            ([7] * (FEWEST - 1), "too few"),
            ([5, 20] * FEWEST, "disagree"),
            ([45] * FEWEST, "must be put right"),
            ([1] * FEWEST, "agree"),
        ],
    )
    def test_is_nothing_where_it_would_not_be_sure_and_says_why(self, seen: list[int], why: str) -> None:
        learned = offset(seen)
        assert learned.shift == timedelta(0)
        assert why in learned.why

    def test_follows_a_clock_that_was_put_right(self) -> None:
        assert offset([7] * LATEST + [0] * LATEST).shift == timedelta(0)

    @given(st.lists(SECONDS, max_size=2 * LATEST))
    @settings(max_examples=100, deadline=None)
    def test_is_bounded_whatever_was_seen(self, seen: list[int]) -> None:
        learned = offset(seen)
        assert learned.shift == timedelta(0) or SMALLEST <= abs(learned.shift) <= FARTHEST
        if learned.shift:
            assert learned.spread <= SPREAD
            assert learned.observed >= FEWEST

    @given(st.integers(-30, 30), st.lists(SECONDS, max_size=6), st.randoms(use_true_random=False))
    @settings(max_examples=100, deadline=None)
    def test_is_not_changed_by_a_minority_whatever_it_says(self, true: int, wild: list[int], chance: object) -> None:
        seen = [true] * 20 + wild
        chance.shuffle(seen)  # type: ignore[attr-defined]  # a random.Random, which hypothesis doesn't say
        assert offset(seen).shift == (true * SECOND if abs(true) >= 2 else timedelta(0))

    @given(st.lists(SECONDS, min_size=1, max_size=LATEST))
    @settings(max_examples=50, deadline=None)
    def test_is_the_same_in_whatever_order_it_was_seen(self, seen: list[int]) -> None:
        assert offset(seen) == offset(sorted(seen))


def question_of(traceback: Traceback) -> Question:
    assert traceback.open_question is not None
    return traceback.open_question


def traced(*, shift_s: int, window_s: int = 60, correction_s: int = 0) -> Traceback:
    """Birch is asked, which ginkgo named, when its clock is known to be ahead by that much."""
    call = Call(called=CALLED, at=T0, terminating=GINKGO, window=window_s * SECOND)
    traceback, _ = advance(Traceback(id=ID, call=call), Started(NOW))
    answer = upstream("ginkgo", "birch", correction_s=correction_s)
    answered = Answered(question_of(traceback).question_id, answer, NOW, shift_s * SECOND)
    return advance(traceback, answered)[0]


class TestAQuestion:
    def test_asks_for_the_time_that_the_upstreams_clock_showed(self) -> None:
        assert question_of(traced(shift_s=7)).at == T0 + 7 * SECOND
        assert question_of(traced(shift_s=-7, correction_s=2)).at == T0 - 5 * SECOND

    def test_keeps_to_the_naming_where_the_window_leaves_no_room(self) -> None:
        assert question_of(traced(shift_s=7, window_s=10)).at == T0

    def test_has_another_id_when_it_asks_for_another_time(self) -> None:
        assert question_of(traced(shift_s=7)).question_id != question_of(traced(shift_s=0)).question_id
        assert question_of(traced(shift_s=7)) == question_of(traced(shift_s=7))

    @given(st.integers(-30, 30), st.integers(-59, 59), st.integers(1, 300))
    @settings(max_examples=100, deadline=None)
    def test_never_leaves_the_orders_window(self, shift_s: int, correction_s: int, window_s: int) -> None:
        question = question_of(traced(shift_s=shift_s, window_s=window_s, correction_s=correction_s))
        named_at = T0 + correction_s * SECOND
        assert question.at == named_at or abs(question.at - T0) < window_s * SECOND

    def test_shows_that_it_was_moved_and_why(self) -> None:
        moved = traced(shift_s=7)
        assert moved_by(moved.hops, 1) == 7 * SECOND
        assert traceback_json(moved)["hops"][1]["time_shift_s"] == 7
        assert "time_shift_s" in traceback_json(traced(shift_s=0))["hops"][1]
        assert hop_line(moved, 1)


class TestAnObservation:
    def observed(self, shift_s: int, correction_s: int, handover: Handover = Handover.CONFIRMED) -> Observation | None:
        traceback = traced(shift_s=shift_s)
        answer = upstream("birch", "alder", correction_s=correction_s, handover=handover)
        after, _ = advance(traceback, Answered(question_of(traceback).question_id, answer, NOW))
        return observation(after, 1)

    def test_is_how_far_the_record_lay_from_the_naming_whatever_was_asked_for(self) -> None:
        assert self.observed(0, 7) == self.observed(7, 0) == Observation(GINKGO, BIRCH, 7)

    def test_is_none_where_the_handover_is_not_agreed_on(self) -> None:
        assert self.observed(0, 7, Handover.UNSPECIFIED) is None

    def test_is_none_of_an_answer_that_compares_no_times(self) -> None:
        traceback = traced(shift_s=0)
        origin = says("birch", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
        after, _ = advance(traceback, Answered(question_of(traceback).question_id, origin, NOW))
        assert observation(after, 1) is None

    def test_is_none_of_the_terminating_provider_whom_nobody_named(self) -> None:
        traceback, _ = advance(submitted(), Started(NOW))
        answer = upstream("ginkgo", "birch", correction_s=7)
        after, _ = advance(traceback, Answered(question_of(traceback).question_id, answer, NOW))
        assert observation(after, 0) is None


class TestTheBook:
    def test_knows_in_the_next_process_what_was_seen_in_this_one(self, either_engine: Engine) -> None:
        book = OffsetBook(either_engine)
        for number in range(FEWEST):
            book.observed(uuid.UUID(int=number), Observation(GINKGO, BIRCH, 7), NOW + number * SECOND)
        assert book.shift(GINKGO, BIRCH) == 7 * SECOND
        book.flush()
        again = OffsetBook(either_engine)
        assert again.shift(GINKGO, BIRCH) == 7 * SECOND
        assert again.shift(BIRCH, GINKGO) == timedelta(0)

    def test_keeps_the_latest_of_a_pair_alone(self, either_engine: Engine) -> None:
        book = OffsetBook(either_engine)
        for number in range(LATEST + 20):
            book.observed(uuid.UUID(int=number), Observation(GINKGO, BIRCH, number), NOW + number * SECOND)
        book.flush()
        with either_engine.connect() as connection:
            assert connection.execute(select(func.count(), func.min(clock_observations.c.seconds))).one() == (
                LATEST,
                20,
            )

    def test_takes_the_same_answer_once(self, either_engine: Engine) -> None:
        for _ in range(2):
            book = OffsetBook(either_engine)
            book.observed(ID, Observation(GINKGO, BIRCH, 7), NOW)
            book.flush()
        with either_engine.connect() as connection:
            assert connection.execute(select(func.count()).select_from(clock_observations)).scalar_one() == 1
