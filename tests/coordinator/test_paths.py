"""Chains that cross a provider twice, run in circles, or change their number on the way; and how wide they ask."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.tracing.chain import Call, Phase, Status, Traceback, standing
from coordinator.tracing.events import Answered, Started
from coordinator.tracing.questions import LOOP_TOLERANCE
from coordinator.tracing.traceback import advance
from protos.e164 import E164, parse_e164
from protos.types import Answer, Handover, Outcome, Question
from tests.coordinator.make import CALLED, ID, NOW, T0, TOLL_FREE, provider, says, upstream

SECOND = timedelta(seconds=1)
FORWARDED = parse_e164("+12025550177")
NAMES = [f"p{number}" for number in range(6)]

STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-3, 3)), min_size=1, max_size=12)
"""Whom each provider names, and by how much it corrects the time."""


def begun(*, hop_limit: int = 15, window: timedelta = 60 * SECOND) -> Traceback:
    call = Call(called=CALLED, at=T0, terminating=provider(NAMES[0]), hop_limit=hop_limit, window=window)
    return advance(Traceback(ID, call), Started(NOW))[0]


def open_question(traceback: Traceback) -> Question:
    assert traceback.open_question is not None
    return traceback.open_question


def answered(traceback: Traceback, *answers: Answer) -> Traceback:
    for answer in answers:
        traceback, _ = advance(traceback, Answered(open_question(traceback).question_id, answer, NOW))
    return traceback


def agreed(by: str, named: str, *, ask_called: E164 | None = None, correction_s: int = 0) -> Answer:
    handover = Handover.UNSPECIFIED if by == NAMES[0] else Handover.CONFIRMED
    return upstream(by, named, ask_called=ask_called, correction_s=correction_s, handover=handover)


def instance(question: Question) -> tuple[object, ...]:
    return question.target, question.called, question.named_by


def walked(steps: list[tuple[str, int]]) -> Traceback:
    """Each provider that is asked names the next one, and says by how much the question was off, in seconds."""
    traceback = begun()
    for named, correction_s in steps:
        if traceback.status.phase is Phase.CLOSED:
            break
        target = open_question(traceback).target
        traceback = answered(traceback, agreed(target, named, correction_s=correction_s))
    return traceback


class TestALoop:
    @given(STEPS)
    @settings(max_examples=100, deadline=None)
    def test_is_never_walked_twice_and_everything_else_is_followed(self, steps: list[tuple[str, int]]) -> None:
        traceback = walked(steps)
        questions = [hop.question for hop in traceback.hops]
        for at, one in enumerate(questions):
            for other in questions[:at]:
                assert instance(one) != instance(other) or abs(one.at - other.at) > LOOP_TOLERANCE
        if traceback.status is Status.LOOP:  # and what closed it was indeed asked before
            last = traceback.hops[-1]
            assert last.answer is not None
            named_at = last.question.at + last.answer.time_correction
            again = (last.answer.upstream, last.question.called, last.provider)
            assert any(instance(one) == again and abs(one.at - named_at) <= LOOP_TOLERANCE for one in questions)

    @given(st.permutations(NAMES[1:]), st.integers(1, 4))
    @settings(max_examples=50, deadline=None)
    def test_is_not_seen_in_a_second_visit_over_another_neighbour(self, order: list[str], back: int) -> None:
        """A call crosses a provider again, handed over by somebody else: the chain goes on to its end."""
        path = [NAMES[0], *order[: back + 1], NAMES[0], order[back + 1 :][0] if order[back + 1 :] else "p9"]
        chain = [agreed(here, there) for here, there in pairwise(path)]
        origin = says(path[-1], Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
        done = answered(begun(), *chain, origin)
        assert (done.status, done.origin) == (Status.ORIGIN_FOUND, path[-1])
        assert [done.hops[position].provider for position in standing(done.hops)] == path

    @given(st.integers(2, 15))
    @settings(max_examples=20, deadline=None)
    def test_of_two_who_name_each_other_ends_after_each_was_asked_at_most_twice(self, hop_limit: int) -> None:
        traceback = begun(hop_limit=hop_limit)
        while traceback.status.phase is not Phase.CLOSED:
            target = open_question(traceback).target
            traceback = answered(traceback, agreed(target, "p1" if target == "p0" else "p0"))
        assert traceback.status in (Status.LOOP, Status.HOP_LIMIT)
        assert len(traceback.hops) <= 3


class TestANumberThatChanges:
    def test_is_followed_through_two_translations(self) -> None:
        """The call was dialled toll-free, then forwarded: each upstream is asked for the number that it handed over."""
        chain = [
            agreed("p0", "p1", ask_called=FORWARDED),
            agreed("p1", "p2"),
            agreed("p2", "p3", ask_called=TOLL_FREE),
            agreed("p3", "p4"),
        ]
        traceback = answered(begun(), *chain)
        assert [hop.question.called for hop in traceback.hops] == [CALLED, FORWARDED, FORWARDED, TOLL_FREE, TOLL_FREE]
        done = answered(traceback, says("p4", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED))
        assert done.origin == "p4"

    def test_makes_a_second_visit_of_what_would_be_a_loop(self) -> None:
        chain = [agreed("p0", "p1"), agreed("p1", "p2"), agreed("p2", "p1", ask_called=TOLL_FREE), agreed("p1", "p2")]
        question = open_question(answered(begun(), *chain))
        assert (question.target, question.called) == ("p2", TOLL_FREE)

    def test_that_changes_back_is_a_loop_where_the_same_is_asked_again(self) -> None:
        chain = [
            agreed("p0", "p1"),
            agreed("p1", "p2", ask_called=TOLL_FREE),
            agreed("p2", "p1"),
            agreed("p1", "p2", ask_called=TOLL_FREE),
        ]
        assert answered(begun(), *chain).status is Status.LOOP


class TestEveryQuestion:
    @given(STEPS)
    @settings(max_examples=50, deadline=None)
    def test_has_an_id_of_its_own(self, steps: list[tuple[str, int]]) -> None:
        traceback = walked(steps)
        ids = [hop.question.question_id for hop in traceback.hops]
        assert len(set(ids)) == len(ids)
