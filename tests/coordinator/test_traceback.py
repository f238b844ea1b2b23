"""The state machine as its specification: which event leads where, what is asked next, when it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.tracing.chain import FINDINGS, Phase, Problem, Role, Status, Traceback, places, role, standing
from coordinator.tracing.disputes import Settled, disputes, forks
from coordinator.tracing.events import (
    AgentBack,
    AgentSilent,
    AgentUnreachable,
    Answered,
    Ask,
    BadAnswer,
    Declined,
    Event,
    Finish,
    NoAgent,
    Reopened,
    RetryDue,
    Started,
    TimedOut,
    WaitUntil,
)
from coordinator.tracing.patience import Patience
from coordinator.tracing.traceback import AFTER, advance
from protos.types import Answer, Handover, Outcome, Question, RefusalReason
from tests.coordinator.make import (
    CALLED,
    CALLING,
    ID,
    NOW,
    T0,
    TOLL_FREE,
    provider,
    says,
    submitted,
    upstream,
)

SECOND = timedelta(seconds=1)


def asked(**changes: object) -> Traceback:
    """A traceback whose terminating provider has just been asked."""
    traceback, _ = advance(submitted(**changes), Started(NOW))
    return traceback


def open_question(traceback: Traceback) -> Question:
    assert traceback.open_question is not None
    return traceback.open_question


def answered(traceback: Traceback, *answers: Answer) -> Traceback:
    """`traceback` after these answers to its open questions, one after the other."""
    for answer in answers:
        traceback, _ = advance(traceback, Answered(open_question(traceback).question_id, answer, NOW + SECOND))
    return traceback


class TestTheFirstQuestion:
    def test_goes_to_the_terminating_provider_for_the_called_number_at_the_calls_time(self) -> None:
        question = open_question(asked())
        assert (question.target, question.called, question.at) == (provider("ginkgo"), CALLED, T0)

    def test_names_nobody_and_carries_the_calling_number_as_a_hint(self) -> None:
        question = open_question(asked())
        assert question.named_by is None
        assert question.calling == CALLING

    def test_has_an_id_that_follows_from_the_tracebacks_id_alone(self) -> None:
        assert open_question(asked()).question_id == open_question(asked()).question_id
        other, _ = advance(replace(submitted(), id=type(ID)(int=5)), Started(NOW))
        assert open_question(other).question_id != open_question(asked()).question_id


class TestAnAnswerThatNamesAnUpstream:
    def test_leads_to_a_question_to_that_provider_named_by_the_one_that_answered(self) -> None:
        question = open_question(answered(asked(), upstream("ginkgo", "birch")))
        assert question.target == "birch"
        assert question.named_by == "ginkgo"

    def test_leaves_called_number_time_window_and_hint_as_they_are_when_it_corrects_nothing(self) -> None:
        first = open_question(asked())
        second = open_question(answered(asked(), upstream("ginkgo", "birch")))
        assert (second.called, second.at, second.window, second.calling) == (
            first.called,
            first.at,
            first.window,
            first.calling,
        )

    def test_moves_the_next_questions_time_by_its_correction(self) -> None:
        question = open_question(answered(asked(), upstream("ginkgo", "birch", correction_s=-4)))
        assert question.at == T0 - 4 * SECOND

    def test_adds_up_the_corrections_hop_by_hop(self) -> None:
        chain = [upstream("ginkgo", "birch", correction_s=-4), upstream("birch", "alder", correction_s=3)]
        assert open_question(answered(asked(), *chain)).at == T0 - SECOND

    def test_asks_on_for_the_number_before_translation(self) -> None:
        chain = [upstream("ginkgo", "birch", ask_called=TOLL_FREE), upstream("birch", "alder")]
        assert open_question(answered(asked(), *chain)).called == TOLL_FREE


class TestAStepThatIsTakenAgain:
    """After a power cut the last step may be missing from the store; see coordinator/store/sql_store.py."""

    def next_question(self, *, later: timedelta) -> Question:
        event = Answered(open_question(asked()).question_id, upstream("ginkgo", "birch"), NOW + later)
        return open_question(advance(asked(), event)[0])

    def test_a_little_later_leads_to_the_very_same_question(self) -> None:
        assert self.next_question(later=20 * SECOND) == self.next_question(later=SECOND)

    def test_much_later_leads_to_a_question_with_another_id_because_its_deadline_differs(self) -> None:
        early, late = self.next_question(later=SECOND), self.next_question(later=100 * SECOND)
        assert late.deadline > early.deadline
        assert late.question_id != early.question_id


class TestAChainEnds:
    @pytest.mark.parametrize(
        ("outcome", "status"),
        [
            (Outcome.ORIGINATED_HERE, Status.ORIGIN_FOUND),
            (Outcome.FOREIGN_UPSTREAM, Status.GATEWAY_FOUND),
            (Outcome.RECORDS_EXPIRED, Status.RECORDS_EXPIRED),
            (Outcome.AMBIGUOUS, Status.AMBIGUOUS),
            (Outcome.UNMAPPED, Status.UNMAPPED),
            (Outcome.NOT_RECORDED, Status.UNMAPPED),
            (Outcome.NEEDS_HUMAN, Status.NEEDS_HUMAN),
            (Outcome.REFUSED, Status.REFUSED),
        ],
    )
    def test_with_the_status_of_the_answer_wherever_it_comes(self, outcome: Outcome, status: Status) -> None:
        assert answered(asked(), says("ginkgo", outcome)).status is status
        assert answered(asked(), upstream("ginkgo", "birch"), says("birch", outcome)).status is status

    def test_at_the_provider_whose_customer_placed_the_call(self) -> None:
        done = answered(asked(), upstream("ginkgo", "birch"), says("birch", Outcome.ORIGINATED_HERE))
        assert (done.origin, done.gateway) == ("birch", None)

    def test_at_the_gateway_when_a_foreign_carrier_handed_the_call_over(self) -> None:
        done = answered(asked(), upstream("ginkgo", "birch"), says("birch", Outcome.FOREIGN_UPSTREAM))
        assert (done.origin, done.gateway) == (None, "birch")

    def test_as_not_found_only_when_the_terminating_provider_knows_nothing_of_the_call(self) -> None:
        assert answered(asked(), says("ginkgo", Outcome.NOT_FOUND)).status is Status.NOT_FOUND

    def test_when_there_is_no_agent_to_ask(self) -> None:
        traceback = answered(asked(), upstream("ginkgo", "birch"))
        ended, commands = advance(traceback, NoAgent(open_question(traceback).question_id, NOW))
        assert (ended.status, ended.hops[-1].problem) == (Status.NO_AGENT, Problem.NO_AGENT)
        assert commands == (Finish(Status.NO_AGENT),)

    def test_when_the_registry_has_never_heard_of_the_upstream_which_is_told_apart(self) -> None:
        traceback = answered(asked(), upstream("ginkgo", "birch"))
        ended, _ = advance(traceback, NoAgent(open_question(traceback).question_id, NOW, registered=False))
        assert (ended.status, ended.hops[-1].problem) == (Status.NO_AGENT, Problem.UNREGISTERED)

    def test_as_refused_when_the_agent_does_not_accept_this_coordinator(self) -> None:
        traceback = asked()
        ended, _ = advance(traceback, Declined(open_question(traceback).question_id, NOW, "not accepted"))
        assert (ended.status, ended.hops[-1].problem) == (Status.REFUSED, Problem.DECLINED)

    def test_and_then_nothing_is_asked_whatever_comes(self) -> None:
        done = answered(asked(), says("ginkgo", Outcome.ORIGINATED_HERE))
        last = done.hops[-1].question.question_id
        for event in (
            Started(NOW),
            Answered(last, upstream("ginkgo", "birch"), NOW),
            TimedOut(last, NOW),
            RetryDue(NOW),
            Reopened(NOW),
        ):
            assert advance(done, event) == (done, ())

    def test_every_outcome_of_the_contract_is_provided_for(self) -> None:
        assert set(AFTER) == set(Outcome)


NAMED = upstream("ginkgo", "birch")
"""The naming that is denied below."""


def disputed_by(denial: Answer) -> Traceback:
    """A dispute that has been looked into: both were asked once more and keep to what they said."""
    return answered(asked(), NAMED, denial, NAMED, denial)


class TestADenial:
    """Asks both once more before it stands: the one that named may have had incomplete records."""

    DENIAL = says("birch", Outcome.NOT_FOUND, handover=Handover.NOT_MINE)

    def test_asks_the_one_that_named_once_more_by_a_question_with_another_id(self) -> None:
        again, first = open_question(answered(asked(), NAMED, self.DENIAL)), open_question(asked())
        assert again.question_id != first.question_id
        assert (again.target, again.called, again.at, again.window, again.named_by) == (
            first.target,
            first.called,
            first.at,
            first.window,
            first.named_by,
        )

    def test_keeps_the_branch_that_was_denied(self) -> None:
        forked = answered(asked(), NAMED, self.DENIAL)
        assert [hop.answer for hop in forked.hops] == [NAMED, self.DENIAL, None]
        assert places(forked.hops) == [0, 1, 0]
        assert standing(forked.hops) == (2,)

    def test_lets_the_chain_go_on_where_the_second_answer_names_another(self) -> None:
        fine = says("cedar", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
        done = answered(asked(), NAMED, self.DENIAL, upstream("ginkgo", "cedar"), fine)
        assert (done.status, done.origin) == (Status.ORIGIN_FOUND, "cedar")
        assert [done.hops[position].provider for position in standing(done.hops)] == ["ginkgo", "cedar"]
        [fork] = forks(done)
        assert (fork.place, fork.named, fork.denied, fork.again, fork.settled) == (0, 0, 1, 2, Settled.CHANGED)
        assert disputes(done) == ()

    def test_asks_the_one_that_denied_once_more_where_it_is_named_again(self) -> None:
        twice = answered(asked(), NAMED, self.DENIAL, NAMED)
        assert (open_question(twice).target, open_question(twice).named_by) == ("birch", "ginkgo")
        assert open_question(twice).question_id != twice.hops[1].question.question_id
        assert forks(twice)[0].settled is Settled.OPEN

    def test_is_settled_when_that_one_has_found_the_call_meanwhile(self) -> None:
        fine = says("birch", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
        done = answered(asked(), NAMED, self.DENIAL, NAMED, fine)
        assert (done.status, done.origin, disputes(done)) == (Status.ORIGIN_FOUND, "birch", ())
        assert forks(done)[0].settled is Settled.CHANGED

    def test_becomes_a_dispute_when_both_keep_to_what_they_said_and_all_four_answers_are_kept(self) -> None:
        stands = disputed_by(self.DENIAL)
        assert stands.status is Status.DISPUTED
        assert [hop.answer for hop in stands.hops] == [NAMED, self.DENIAL, NAMED, self.DENIAL]
        [dispute], [fork] = disputes(stands), forks(stands)
        assert dispute.between == ("ginkgo", "birch")
        assert fork.settled is Settled.STANDS

    @pytest.mark.parametrize(
        "nothing_new",
        [Outcome.NOT_FOUND, Outcome.AMBIGUOUS, Outcome.RECORDS_EXPIRED, Outcome.UNMAPPED, Outcome.REFUSED],
    )
    def test_becomes_a_dispute_when_the_second_look_shows_nothing(self, nothing_new: Outcome) -> None:
        stands = answered(asked(), NAMED, self.DENIAL, says("ginkgo", nothing_new))
        assert stands.status is Status.DISPUTED
        assert disputes(stands)[0].between == ("ginkgo", "birch")
        assert forks(stands)[0].settled is Settled.STANDS

    def test_becomes_a_dispute_when_the_one_that_named_answers_no_more(self) -> None:
        traceback = answered(asked(), NAMED, self.DENIAL)
        for _ in range(3):
            failed = AgentUnreachable(open_question(traceback).question_id, NOW + SECOND)
            traceback, _ = advance(traceback, failed, Patience(backoff=timedelta(0), unanswered=timedelta(0)))
            traceback, _ = advance(traceback, RetryDue(NOW + SECOND))
        assert traceback.status is Status.DISPUTED

    def test_waits_for_records_that_come_later(self) -> None:
        waiting = answered(asked(), NAMED, self.DENIAL, says("ginkgo", Outcome.NOT_YET_AVAILABLE))
        assert waiting.status is Status.NOT_YET_AVAILABLE

    def test_costs_no_place_in_the_hop_limit(self) -> None:
        fine = says("cedar", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
        done = answered(asked(hop_limit=2), NAMED, self.DENIAL, upstream("ginkgo", "cedar"), fine)
        assert done.status is Status.ORIGIN_FOUND

    def test_is_looked_into_once_at_one_place_so_that_nobody_is_asked_forever(self) -> None:
        other = says("cedar", Outcome.NOT_FOUND, handover=Handover.NOT_MINE)
        stands = answered(asked(), NAMED, self.DENIAL, upstream("ginkgo", "cedar"), other)
        assert stands.status is Status.DISPUTED
        assert disputes(stands)[0].between == ("ginkgo", "cedar")

    def test_by_a_second_look_is_no_reason_for_a_third(self) -> None:
        denial = says("alder", Outcome.NOT_FOUND, handover=Handover.NOT_MINE)
        chain = [NAMED, upstream("birch", "alder"), denial, says("birch", Outcome.NOT_FOUND)]
        assert answered(asked(), *chain).status is Status.DISPUTED

    def test_further_up_the_chain_goes_back_by_one_place_alone(self) -> None:
        denial = says("alder", Outcome.NOT_FOUND, handover=Handover.NOT_MINE)
        again = answered(asked(), NAMED, upstream("birch", "alder"), denial)
        assert (open_question(again).target, open_question(again).named_by) == ("birch", "ginkgo")
        assert places(again.hops) == [0, 1, 2, 1]
        assert standing(again.hops) == (0, 3)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["ginkgo", "birch", "alder", "cedar", "oak"]),
                st.sampled_from([Outcome.UPSTREAM, Outcome.NOT_FOUND, Outcome.ORIGINATED_HERE, Outcome.AMBIGUOUS]),
                st.sampled_from(Handover),
            ),
            max_size=60,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_never_lets_a_chain_grow_beyond_three_questions_a_place(
        self, said: list[tuple[str, Outcome, Handover]]
    ) -> None:
        traceback = asked(hop_limit=4)
        for other, outcome, handover in said:
            if traceback.open_question is None:
                break
            target = traceback.open_question.target
            answer = Answer(
                target, outcome, provider(other) if outcome is Outcome.UPSTREAM else None, handover=handover
            )
            traceback = answered(traceback, answer)
        every = places(traceback.hops)
        assert max(every) < 4
        assert all(every.count(place) <= 3 for place in every)
        assert [every[position] for position in standing(traceback.hops)] == list(range(every[-1] + 1))
        assert len({hop.question.question_id for hop in traceback.hops}) == len(traceback.hops)
        if traceback.status is Status.DISPUTED:
            assert disputes(traceback)


class TestADispute:
    def test_stands_when_a_named_provider_finds_nothing_and_every_answer_is_kept(self) -> None:
        disputed = disputed_by(says("birch", Outcome.NOT_FOUND))
        assert disputed.status is Status.DISPUTED
        outcomes = [hop.answer.outcome for hop in disputed.hops if hop.answer]
        assert outcomes == [Outcome.UPSTREAM, Outcome.NOT_FOUND] * 2

    @pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome in FINDINGS - {Outcome.UPSTREAM}])
    def test_stands_when_a_named_provider_denies_the_handover_whatever_it_found(self, outcome: Outcome) -> None:
        disputed = disputed_by(says("birch", outcome, handover=Handover.NOT_MINE))
        assert (disputed.status, disputed.origin, disputed.gateway) == (Status.DISPUTED, None, None)

    def test_ends_the_branch_even_when_the_denier_names_an_upstream(self) -> None:
        disputed = disputed_by(upstream("birch", "alder", handover=Handover.NOT_MINE))
        assert disputed.status is Status.DISPUTED
        assert {hop.provider for hop in disputed.hops} == {"ginkgo", "birch"}

    def test_shows_nobody_as_originating(self) -> None:
        disputed = disputed_by(says("birch", Outcome.ORIGINATED_HERE, handover=Handover.NOT_MINE))
        assert [role(disputed, position) for position in range(4)] == [Role.TERMINATING, Role.INTERMEDIATE] * 2

    def test_stands_when_a_provider_names_itself_and_the_answer_is_kept(self) -> None:
        disputed = answered(asked(), upstream("ginkgo", "ginkgo"))
        assert disputed.status is Status.DISPUTED
        assert disputed.hops[-1].answer == upstream("ginkgo", "ginkgo")

    def test_stands_when_a_named_provider_has_no_trunk_to_the_one_that_named_it(self) -> None:
        stranger = Answer(provider("birch"), Outcome.REFUSED, refusal=RefusalReason.UNKNOWN_PROVIDER)
        assert disputed_by(stranger).status is Status.DISPUTED

    def test_does_not_stand_on_any_other_refusal(self) -> None:
        refusal = Answer(provider("birch"), Outcome.REFUSED, refusal=RefusalReason.BUDGET)
        assert answered(asked(), upstream("ginkgo", "birch"), refusal).status is Status.REFUSED

    def test_can_be_looked_into_by_asking_again(self) -> None:
        disputed = disputed_by(says("birch", Outcome.NOT_FOUND))
        again, _ = advance(disputed, Reopened(NOW + SECOND))
        assert open_question(again).target == "birch"

    def test_does_not_stand_when_the_handover_is_confirmed(self) -> None:
        fine = says("birch", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
        assert answered(asked(), upstream("ginkgo", "birch"), fine).status is Status.ORIGIN_FOUND

    def test_does_not_stand_between_the_terminating_provider_and_nobody(self) -> None:
        odd = says("ginkgo", Outcome.ORIGINATED_HERE, handover=Handover.NOT_MINE)
        assert answered(asked(), odd).status is Status.ORIGIN_FOUND

    def test_does_not_stand_on_records_that_are_gone(self) -> None:
        gone = says("birch", Outcome.RECORDS_EXPIRED, handover=Handover.NOT_MINE)
        assert answered(asked(), upstream("ginkgo", "birch"), gone).status is Status.RECORDS_EXPIRED


class TestALoop:
    def test_is_the_same_provider_asked_for_the_same_call_by_the_same_neighbour(self) -> None:
        chain = [
            upstream("ginkgo", "birch"),
            upstream("birch", "dogwood"),
            upstream("dogwood", "birch"),
            upstream("birch", "dogwood"),
        ]
        looped = answered(asked(), *chain)
        assert looped.status is Status.LOOP
        assert [hop.provider for hop in looped.hops] == ["ginkgo", "birch", "dogwood", "birch"]

    def test_is_still_one_when_the_time_was_moved_by_a_few_seconds(self) -> None:
        chain = [
            upstream("ginkgo", "birch"),
            upstream("birch", "dogwood"),
            upstream("dogwood", "birch", correction_s=-1),
            upstream("birch", "dogwood", correction_s=-1),
        ]
        assert answered(asked(), *chain).status is Status.LOOP

    def test_is_not_a_second_visit_through_another_neighbour(self) -> None:
        chain = [upstream("ginkgo", "birch"), upstream("birch", "dogwood"), upstream("dogwood", "birch")]
        question = open_question(answered(asked(), *chain))
        assert (question.target, question.named_by) == ("birch", "dogwood")

    def test_is_not_a_second_visit_with_another_number(self) -> None:
        chain = [
            upstream("ginkgo", "birch"),
            upstream("birch", "dogwood"),
            upstream("dogwood", "birch", ask_called=TOLL_FREE),
            upstream("birch", "dogwood"),
        ]
        assert answered(asked(), *chain).status is Status.ASKING

    def test_is_not_another_time(self) -> None:
        chain = [
            upstream("ginkgo", "birch"),
            upstream("birch", "dogwood"),
            upstream("dogwood", "birch"),
            upstream("birch", "dogwood", correction_s=-40),
        ]
        assert answered(asked(), *chain).status is Status.ASKING


class TestTheHopLimit:
    def test_closes_a_chain_that_would_grow_past_it(self) -> None:
        stopped = answered(asked(hop_limit=2), upstream("ginkgo", "birch"), upstream("birch", "alder"))
        assert stopped.status is Status.HOP_LIMIT
        assert len(stopped.hops) == 2

    def test_leaves_a_chain_alone_that_ends_at_it(self) -> None:
        done = answered(asked(hop_limit=2), upstream("ginkgo", "birch"), says("birch", Outcome.ORIGINATED_HERE))
        assert done.status is Status.ORIGIN_FOUND


class TestAnAgentThatDoesNotAnswer:
    def test_is_asked_again_after_a_pause_that_doubles(self) -> None:
        patience = Patience(attempts=3, backoff=SECOND, jitter=0.0)
        traceback = asked()
        pauses = []
        for _ in range(2):
            failed = AgentUnreachable(traceback.hops[-1].question.question_id, NOW, "connection refused")
            traceback, commands = advance(traceback, failed, patience)
            assert traceback.status is Status.RETRYING
            assert isinstance(commands[0], WaitUntil)
            pauses.append(commands[0].time - NOW)
            traceback, commands = advance(traceback, RetryDue(commands[0].time), patience)
            assert isinstance(commands[0], Ask)
        assert pauses == [SECOND, 2 * SECOND]

    def test_is_not_asked_again_at_the_same_moment_as_all_others(self) -> None:
        patience = Patience(backoff=SECOND, jitter=0.2)
        pauses = {patience.pause_after(1, f"traceback {number}") for number in range(50)}
        assert len(pauses) == 50
        assert all(SECOND <= pause <= 1.2 * SECOND for pause in pauses)
        assert patience.pause_after(1, "the same") == patience.pause_after(1, "the same")

    def test_is_asked_the_same_question_to_the_byte_while_that_lives(self) -> None:
        first = open_question(asked())
        traceback, _ = advance(asked(), TimedOut(first.question_id, NOW))
        traceback, _ = advance(traceback, RetryDue(NOW + SECOND))
        assert open_question(traceback) == first

    def test_is_asked_anew_with_another_id_when_the_question_has_expired(self) -> None:
        first = open_question(asked())
        traceback, _ = advance(asked(), TimedOut(first.question_id, NOW))
        traceback, _ = advance(traceback, RetryDue(first.deadline))
        again = open_question(traceback)
        assert again.question_id != first.question_id
        assert again.deadline > first.deadline
        assert traceback.hops[-1].failures == 1

    PATIENCE = Patience(attempts=3, unanswered=timedelta(minutes=15), jitter=0.0)

    def failing(self, traceback: Traceback, minutes: float) -> Traceback:
        """After attempts that fail from now on until so many minutes later."""
        at, until = NOW, NOW + timedelta(minutes=minutes)
        while traceback.status.phase is not Phase.CLOSED and at <= until:
            question_id = traceback.hops[-1].question.question_id
            traceback, _ = advance(traceback, AgentUnreachable(question_id, at, "refused"), self.PATIENCE)
            if traceback.due is not None:
                at = traceback.due
                traceback, _ = advance(traceback, RetryDue(at), self.PATIENCE)
        return traceback

    def test_for_ten_minutes_is_asked_on_however_many_attempts_failed(self) -> None:
        traceback = self.failing(asked(), 10)
        assert traceback.status is Status.ASKING
        assert traceback.hops[-1].failures > 10 * self.PATIENCE.attempts / 3
        assert traceback.hops[-1].silent_since == NOW

    def test_is_non_responsive_only_when_it_was_silent_for_the_stated_time(self) -> None:
        last = self.failing(asked(), 60).hops[-1]
        assert self.failing(asked(), 60).status is Status.NON_RESPONSIVE
        assert (last.silent_since, last.problem) == (NOW, Problem.UNREACHABLE)
        assert last.ended is not None
        assert timedelta(minutes=15) <= last.ended - NOW < timedelta(minutes=16)

    def test_is_not_non_responsive_by_time_alone(self) -> None:
        traceback = asked()
        for minutes in (0, 20):
            at = NOW + timedelta(minutes=minutes)
            question_id = traceback.hops[-1].question.question_id
            traceback, _ = advance(traceback, TimedOut(question_id, at), self.PATIENCE)
            assert traceback.status is Status.RETRYING
            traceback, _ = advance(traceback, RetryDue(at + timedelta(minutes=1)), self.PATIENCE)

    def test_and_then_answers_leaves_behind_how_long_it_was_silent(self) -> None:
        traceback = self.failing(asked(), 10)
        question_id, at = traceback.hops[-1].question.question_id, NOW + timedelta(minutes=11)
        told, _ = advance(traceback, Answered(question_id, says("ginkgo", Outcome.ORIGINATED_HERE), at), self.PATIENCE)
        assert (told.status, told.hops[-1].failures) == (Status.ORIGIN_FOUND, 0)
        assert (told.hops[-1].silent_since, told.hops[-1].ended) == (NOW, at)

    def test_to_anybody_lets_one_rest_that_was_not_even_put(self) -> None:
        question_id = open_question(asked()).question_id
        silent = AgentSilent(question_id, NOW, 40, Problem.TIMED_OUT, "no answer within 10 s")
        traceback, commands = advance(asked(), silent, self.PATIENCE)
        assert (traceback.status, traceback.hops[-1].failures) == (Status.RETRYING, 40)
        assert commands == (WaitUntil(NOW + self.PATIENCE.looked_after),)

    def test_to_anybody_is_non_responsive_after_the_same_time(self) -> None:
        traceback, at = asked(), NOW
        for _ in range(3):
            question_id = traceback.hops[-1].question.question_id
            silent = AgentSilent(question_id, at, 40, Problem.UNREACHABLE)
            traceback, _ = advance(traceback, silent, self.PATIENCE)
            assert traceback.due is not None
            at = traceback.due
            traceback, _ = advance(traceback, RetryDue(at), self.PATIENCE)
        assert at == NOW + self.PATIENCE.unanswered
        last = AgentSilent(traceback.hops[-1].question.question_id, at, 41, Problem.UNREACHABLE)
        traceback, _ = advance(traceback, last, self.PATIENCE)
        assert (traceback.status, traceback.hops[-1].silent_since) == (Status.NON_RESPONSIVE, NOW)

    def test_is_waited_for_no_longer_than_the_order_lives(self) -> None:
        expires = NOW + timedelta(minutes=2)
        traceback = asked()
        traceback = replace(traceback, call=replace(traceback.call, order_sha256=bytes(32), expires=expires))
        silent = AgentSilent(open_question(traceback).question_id, NOW, 3, Problem.UNREACHABLE)
        traceback, commands = advance(traceback, silent, self.PATIENCE)
        assert commands == (WaitUntil(expires),)
        assert advance(traceback, RetryDue(expires), self.PATIENCE)[0].status is Status.ORDER_EXPIRED

    def test_and_is_back_is_asked_at_once(self) -> None:
        waiting, _ = advance(asked(), TimedOut(open_question(asked()).question_id, NOW), self.PATIENCE)
        asking, commands = advance(waiting, AgentBack(NOW + timedelta(milliseconds=1)), self.PATIENCE)
        assert (asking.status, isinstance(commands[0], Ask)) == (Status.ASKING, True)

    def test_is_no_reason_to_ask_one_early_that_waits_for_records(self) -> None:
        waiting = answered(asked(), says("ginkgo", Outcome.NOT_YET_AVAILABLE))
        assert advance(waiting, AgentBack(NOW + SECOND)) == (waiting, (WaitUntil(waiting.due),))  # type: ignore[arg-type]

    def test_is_non_responsive_after_the_last_attempt(self) -> None:
        traceback = asked()
        patience = Patience(attempts=2, unanswered=timedelta(0))
        for _ in range(2):
            question_id = traceback.hops[-1].question.question_id
            traceback, commands = advance(traceback, TimedOut(question_id, NOW), patience)
            if traceback.due is not None:
                traceback, commands = advance(traceback, RetryDue(traceback.due), patience)
        assert traceback.status is Status.NON_RESPONSIVE
        assert commands == (Finish(Status.NON_RESPONSIVE),)
        assert traceback.hops[-1].problem is Problem.TIMED_OUT

    def test_is_not_asked_before_its_time(self) -> None:
        traceback, commands = advance(asked(), TimedOut(open_question(asked()).question_id, NOW))
        early, again = advance(traceback, RetryDue(NOW))
        assert (early, again) == (traceback, commands)


class TestRecordsThatAreNotInYet:
    def test_are_waited_for_as_long_as_the_provider_says(self) -> None:
        waiting = answered(asked(), says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=600))
        assert waiting.status is Status.NOT_YET_AVAILABLE
        assert waiting.due == NOW + SECOND + timedelta(seconds=600)

    def test_are_waited_for_by_a_default_when_the_provider_says_nothing(self) -> None:
        waiting = answered(asked(), says("ginkgo", Outcome.NOT_YET_AVAILABLE))
        assert waiting.due == NOW + SECOND + Patience().not_yet_pause

    def test_are_never_waited_for_longer_than_the_cap(self) -> None:
        waiting = answered(asked(), says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=4_000_000_000))
        assert waiting.due == NOW + SECOND + Patience().not_yet_cap

    def test_are_asked_for_with_a_new_question_and_the_chain_goes_on(self) -> None:
        waiting = answered(asked(), says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=600))
        assert waiting.due is not None
        again, _ = advance(waiting, RetryDue(waiting.due))
        assert again.hops[-1].round == 2
        assert again.hops[-1].question.question_id != waiting.hops[-1].question.question_id
        assert answered(again, says("ginkgo", Outcome.ORIGINATED_HERE)).status is Status.ORIGIN_FOUND


class TestNonsense:
    def test_closes_the_chain_as_a_bad_answer_with_what_was_wrong(self) -> None:
        ended, _ = advance(asked(), BadAnswer(open_question(asked()).question_id, NOW, "not an Answer"))
        assert (ended.status, ended.hops[-1].problem, ended.hops[-1].detail) == (
            Status.BAD_ANSWER,
            Problem.BAD_ANSWER,
            "not an Answer",
        )

    def test_is_an_answer_for_another_provider(self) -> None:
        assert answered(asked(), says("birch", Outcome.ORIGINATED_HERE)).status is Status.BAD_ANSWER


class TestARestart:
    def test_asks_the_open_question_again_with_the_same_bytes(self) -> None:
        first = open_question(asked())
        resumed, commands = advance(asked(), Started(NOW + SECOND))
        assert commands == (Ask(first),)
        assert open_question(resumed) == first

    def test_asks_anew_when_the_open_question_has_expired(self) -> None:
        first = open_question(asked())
        resumed, _ = advance(asked(), Started(first.deadline))
        assert open_question(resumed).question_id != first.question_id
        assert len(resumed.hops) == 1

    def test_waits_on_where_it_was_waiting(self) -> None:
        waiting = answered(asked(), says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=600))
        resumed, commands = advance(waiting, Started(NOW + SECOND))
        assert resumed == waiting
        assert commands == (WaitUntil(waiting.due),)  # type: ignore[arg-type]


class TestReopening:
    def test_asks_the_last_provider_in_a_new_round(self) -> None:
        traceback = answered(asked(), upstream("ginkgo", "birch"))
        held, _ = advance(traceback, NoAgent(open_question(traceback).question_id, NOW))
        again, commands = advance(held, Reopened(NOW))
        assert again.status is Status.ASKING
        assert (again.hops[-1].provider, again.hops[-1].round, len(commands)) == ("birch", 2, 1)

    @pytest.mark.parametrize("outcome", [Outcome.ORIGINATED_HERE, Outcome.AMBIGUOUS, Outcome.RECORDS_EXPIRED])
    def test_is_refused_where_asking_again_cannot_help(self, outcome: Outcome) -> None:
        done = answered(asked(), says("ginkgo", outcome))
        assert advance(done, Reopened(NOW)) == (done, ())


class TestALateMessage:
    def test_about_an_earlier_question_changes_nothing(self) -> None:
        first = open_question(asked()).question_id
        moved_on = answered(asked(), upstream("ginkgo", "birch"))
        late = Answered(first, says("ginkgo", Outcome.NOT_FOUND), NOW)
        assert advance(moved_on, late) == (moved_on, ())

    def test_that_repeats_an_answer_changes_nothing(self) -> None:
        event = Answered(open_question(asked()).question_id, upstream("ginkgo", "birch"), NOW)
        once, _ = advance(asked(), event)
        assert advance(once, event) == (once, ())


class TestRoles:
    def test_follow_from_position_and_outcome(self) -> None:
        done = answered(
            asked(), upstream("ginkgo", "birch"), upstream("birch", "alder"), says("alder", Outcome.ORIGINATED_HERE)
        )
        assert [role(done, i) for i in range(3)] == [Role.TERMINATING, Role.INTERMEDIATE, Role.ORIGINATING]

    def test_name_the_gateway(self) -> None:
        done = answered(asked(), upstream("ginkgo", "birch"), says("birch", Outcome.FOREIGN_UPSTREAM))
        assert role(done, 1) is Role.GATEWAY


# Whatever happens.

NAMES = [provider(name) for name in ("ginkgo", "birch", "alder", "dogwood", "elm")]
NUMBERS = st.sampled_from([None, CALLED, TOLL_FREE])


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    outcome = draw(st.sampled_from([Outcome.UPSTREAM] * 12 + list(Outcome)))
    names_upstream = outcome in (Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM)
    return Answer(
        provider=draw(st.sampled_from(NAMES)),
        outcome=outcome,
        upstream=draw(st.sampled_from(NAMES)) if names_upstream else None,
        ask_called=draw(NUMBERS) if names_upstream else None,
        time_correction=timedelta(seconds=draw(st.integers(-300, 300))) if names_upstream else timedelta(0),
        handover=draw(st.sampled_from([Handover.UNSPECIFIED, Handover.CONFIRMED, Handover.NOT_MINE])),
        retry_after=timedelta(seconds=draw(st.integers(0, 2**32 - 1))),
    )


@st.composite
def next_event(draw: st.DrawFn, traceback: Traceback, clock_s: int) -> Event:
    """An event at second `clock_s`; mostly about the open question, as a driver sends it, but at times a stale one."""
    at = NOW + timedelta(seconds=clock_s)
    current = traceback.hops[-1].question if traceback.hops else None
    question_id = draw(st.sampled_from([current.question_id] * 9 + [ID])) if current else ID
    answer = draw(answers())
    if current is not None and draw(st.integers(0, 9)):
        answer = replace(answer, provider=current.target)
    kinds: list[Event] = [
        *[Answered(question_id, answer, at)] * 8,
        Started(at),
        AgentUnreachable(question_id, at),
        TimedOut(question_id, at),
        BadAnswer(question_id, at),
        Declined(question_id, at),
        NoAgent(question_id, at),
        *[RetryDue(at)] * 2,
    ]
    return draw(st.sampled_from(kinds))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 6))
def test_whatever_happens_the_machine_keeps_its_promises(data: st.DataObject, hop_limit: int) -> None:
    traceback = submitted(hop_limit=hop_limit)
    clock = 0
    traceback, _ = advance(traceback, Started(NOW))
    for _ in range(data.draw(st.integers(1, 25))):
        clock += data.draw(st.sampled_from([0, 1, 30, 3600, 90_000]))
        before = traceback
        traceback, commands = advance(before, data.draw(next_event(before, clock)))
        asks = [command for command in commands if isinstance(command, Ask)]
        # a finished one asks nothing and stays as it is
        if before.status.phase is Phase.CLOSED:
            assert (traceback, commands) == (before, ())
        # at most one question is open, and it is the last hop's
        assert len(asks) <= 1
        if asks:
            assert asks[0].question == traceback.open_question == traceback.hops[-1].question
        # hops never exceed the limit, and only ever grow at the end
        chain = [traceback.hops[position] for position in standing(traceback.hops)]
        assert len(chain) <= hop_limit
        assert [hop.provider for hop in traceback.hops][: len(before.hops)] == [hop.provider for hop in before.hops]
        # it asks, waits for a time, or is closed; nothing in between
        assert (traceback.due is not None) == (traceback.status.phase is Phase.WAITING)
        if commands and isinstance(commands[-1], Finish):
            assert traceback.status.phase is Phase.CLOSED
        # every hop of the chain but the last named the next one
        for this, following in pairwise(chain):
            assert this.answer is not None
            assert (this.answer.upstream, this.provider) == (following.provider, following.question.named_by)
        # no question is put twice under two ids: every hop is another question
        ids = [hop.question.question_id for hop in traceback.hops]
        assert len(set(ids)) == len(ids)
        # nobody is found without having said so
        if traceback.origin is not None:
            last = traceback.hops[-1].answer
            assert last is not None
            assert last.outcome is Outcome.ORIGINATED_HERE


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_fed_only_with_failures_and_times_the_machine_closes(data: st.DataObject) -> None:
    traceback, _ = advance(submitted(), Started(NOW))
    at = NOW
    while at <= NOW + 2 * Patience().unanswered:
        if traceback.status.phase is Phase.CLOSED:
            break
        question_id = traceback.hops[-1].question.question_id
        at += timedelta(seconds=data.draw(st.integers(0, 120)))
        failures: list[Event] = [AgentUnreachable(question_id, at), TimedOut(question_id, at)]
        traceback, _ = advance(traceback, data.draw(st.sampled_from(failures)))
        if traceback.due is not None:
            at = traceback.due
            traceback, _ = advance(traceback, RetryDue(at))
    assert traceback.status is Status.NON_RESPONSIVE
