"""What of a decision may leave the provider?"""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest

from agent.answer import answer, interval_to_cover
from agent.index.coverage import CoverageState
from agent.legs import Leg
from agent.match import match
from agent.match_settings import MatchSettings
from protos.types import Answer, Handover, Outcome, Question, RefusalReason
from tests.agent.calls import ME, TOLL_FREE, TRUNKS, at, leg, question


def say(question: Question, *legs: Leg, coverage: CoverageState = CoverageState.COVERED) -> Answer:
    return answer(question, match(question, legs, TRUNKS, lambda _: legs), coverage, ME)


class TestOutcomes:
    @pytest.mark.parametrize(
        ("ingress", "outcome", "upstream"),
        [
            ("in-birch", Outcome.UPSTREAM, "birch"),
            ("in-onda", Outcome.FOREIGN_UPSTREAM, "onda-es"),
            ("in-customer", Outcome.ORIGINATED_HERE, None),
            ("in-mystery", Outcome.UNMAPPED, None),
            (None, Outcome.NOT_RECORDED, None),
        ],
    )
    def test_the_ingress_party_decides_the_outcome(
        self, ingress: str | None, outcome: Outcome, upstream: str | None
    ) -> None:
        said = say(question(), leg(ingress=ingress))
        assert (said.outcome, said.upstream) == (outcome, upstream)

    def test_absence_is_said_only_of_covered_time(self) -> None:
        assert say(question()).outcome is Outcome.NOT_FOUND
        assert say(question(), coverage=CoverageState.NOT_YET).outcome is Outcome.NOT_YET_AVAILABLE
        assert say(question(), coverage=CoverageState.EXPIRED).outcome is Outcome.RECORDS_EXPIRED
        gap = say(question(), coverage=CoverageState.GAP)
        assert (gap.outcome, gap.refusal) == (Outcome.REFUSED, RefusalReason.RECORDS_GAP)

    def test_expired_records_are_not_disclosed_even_if_they_are_still_there(self) -> None:
        said = say(question(), leg(), coverage=CoverageState.EXPIRED)
        assert (said.outcome, said.upstream) == (Outcome.RECORDS_EXPIRED, None)

    def test_a_call_is_not_named_while_a_rival_may_still_come_in(self) -> None:
        assert say(question(), leg(), coverage=CoverageState.NOT_YET).outcome is Outcome.NOT_YET_AVAILABLE

    @pytest.mark.parametrize(("off", "reach"), [(1, 6), (8, 16)])
    def test_a_found_call_needs_coverage_only_where_a_rival_could_lie(self, off: float, reach: float) -> None:
        asked = question()
        decision = match(asked, [leg(off)], TRUNKS, lambda _: ())
        assert interval_to_cover(asked, decision, MatchSettings()) == (at(-reach), at(reach))

    def test_an_absence_needs_the_whole_window(self) -> None:
        asked = question(window=60)
        assert interval_to_cover(asked, match(asked, [], TRUNKS, lambda _: ()), MatchSettings()) == (at(-60), at(60))


class TestTheTwoSidedCheck:
    def test_a_recorded_handover_is_confirmed(self) -> None:
        assert say(question(), leg(egress="out-elm")).handover is Handover.CONFIRMED

    def test_complete_records_without_it_deny_it(self) -> None:
        assert say(question(), leg(egress="out-fir")).handover is Handover.NOT_MINE

    def test_records_that_do_not_say_neither_confirm_nor_deny(self) -> None:
        assert say(question(), leg(egress=None)).handover is Handover.UNSPECIFIED

    def test_nobody_named_the_terminating_provider_so_there_is_nothing_to_confirm(self) -> None:
        assert say(question(named_by=None), leg(egress="out-homes")).handover is Handover.UNSPECIFIED
        assert say(question(named_by=None)).handover is Handover.UNSPECIFIED


class TestWhatLeaves:
    def test_the_number_only_when_it_changed_here(self) -> None:
        assert say(question(), leg()).ask_called is None
        assert say(question(), leg(called_in=TOLL_FREE)).ask_called == TOLL_FREE

    def test_no_number_with_an_origin(self) -> None:
        assert say(question(), leg(ingress="in-customer", called_in=TOLL_FREE)).ask_called is None

    @pytest.mark.parametrize(("off", "said"), [(0, 0), (1.4, 0), (-1.4, 0), (2.2, 2), (-2.6, -3), (7.5, 8)])
    def test_time_is_corrected_in_whole_seconds_and_only_when_it_was_off(self, off: float, said: int) -> None:
        assert say(question(), leg(off)).time_correction == timedelta(seconds=said)

    def test_an_answer_time_does_not_correct_a_setup_time(self) -> None:
        assert say(question(), leg(25, setup=180)).time_correction == timedelta(0)

    def test_calls_that_can_not_be_told_apart_do_not_correct_the_time(self) -> None:
        assert say(question(), leg(2), leg(3)).time_correction == timedelta(0)

    def test_ambiguity_discloses_nothing(self) -> None:
        said = say(question(), leg(0, ingress="in-birch"), leg(1, ingress="in-alder"))
        assert said == Answer(ME, Outcome.AMBIGUOUS)

    def test_an_answer_has_no_field_for_anything_else(self) -> None:
        assert {f.name for f in fields(Answer)} == {
            "provider",
            "outcome",
            "upstream",
            "ask_called",
            "time_correction",
            "handover",
            "retry_after",
            "refusal",
        }
