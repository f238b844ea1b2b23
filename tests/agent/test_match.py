"""Which call does a question mean, and when must the answer be that none can be told?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.instances import Fit, Instance, _grouped
from agent.legs import Leg
from agent.match import Decision, Verdict, _decide_alone, _decide_among, match
from agent.match_settings import MatchSettings
from agent.trunks import TrunkMap, Unknown, ends_here, leads_to, parse_party
from protos.e164 import E164
from protos.types import Question
from tests.agent.calls import CALLED, TOLL_FREE, TRUNKS, at, leg, question, trunk

SHOWS_EGRESS = MatchSettings(sources_with_egress=frozenset({"cdr"}))
SHOWS_NONE = MatchSettings()


def decide(
    question: Question,
    *legs: Leg,
    elsewhere: dict[E164, Sequence[Leg]] | None = None,
    settings: MatchSettings = SHOWS_EGRESS,
) -> Decision:
    def find(called: E164) -> Sequence[Leg]:
        return legs if called == CALLED else (elsewhere or {}).get(called, ())

    return match(question, legs, TRUNKS, find, settings)


class TestTheCalledNumber:
    def test_a_single_record_that_went_to_the_asking_side_names_its_ingress(self) -> None:
        decision = decide(question(), leg(ingress="in-birch", egress="out-elm"))
        assert decision.verdict is Verdict.FOUND
        assert decision.upstream == parse_party("provider:birch")
        assert decision.handed_over is True

    def test_no_record_is_not_found(self) -> None:
        assert decide(question()).verdict is Verdict.NOT_FOUND

    def test_a_record_in_which_another_number_was_sent_downstream_is_not_the_call(self) -> None:
        assert decide(question(), leg(sent_as_asked=False)).verdict is Verdict.NOT_FOUND

    def test_at_the_terminating_provider_the_number_as_received_counts_too(self) -> None:
        decision = decide(question(named_by=None), leg(sent_as_asked=False, egress="out-homes"))
        assert decision.verdict is Verdict.FOUND

    def test_a_translated_number_is_what_the_upstream_must_be_asked_for(self) -> None:
        assert decide(question(), leg(called_in=TOLL_FREE)).called_in == TOLL_FREE


class TestWhereTheCallWent:
    def test_of_two_upstreams_the_record_that_went_to_the_asking_side_decides(self) -> None:
        decision = decide(question(), leg(ingress="in-alder", egress="out-fir"), leg(ingress="in-birch"))
        assert decision.upstream == parse_party("provider:birch")

    def test_a_call_that_went_only_to_somebody_else_is_denied(self) -> None:
        decision = decide(question(), leg(egress="out-fir"))
        assert decision.verdict is Verdict.NOT_FOUND
        assert decision.handed_over is False

    def test_a_route_advanced_call_fits_the_side_of_each_of_its_attempts(self) -> None:
        attempts = (leg(egress="out-fir", call=7, disposition="failed"), leg(0.4, egress="out-elm", call=7))
        for asking in ("elm", "fir"):
            assert decide(question(named_by=asking), *attempts).handed_over is True

    def test_the_terminating_provider_prefers_what_reached_its_subscriber_to_what_failed(self) -> None:
        failed = leg(ingress="in-elm", egress=None, disposition="failed")
        rang = leg(0.3, ingress="in-birch", egress="out-homes")
        assert decide(question(named_by=None), failed, rang).upstream == parse_party("provider:birch")

    def test_a_call_that_failed_on_all_routes_is_still_traced_from_where_it_is_said_to_end(self) -> None:
        decision = decide(question(named_by=None), leg(ingress="in-customer", egress="out-fir", disposition="failed"))
        assert decision.upstream == parse_party("customer:7011")

    def test_without_any_recorded_egress_the_match_stands_but_the_handover_is_not_confirmed(self) -> None:
        decision = decide(question(), leg(egress=None))
        assert decision.verdict is Verdict.FOUND
        assert decision.handed_over is None

    def test_a_nearer_record_of_unknown_egress_and_a_distant_one_that_fits_are_ambiguous(self) -> None:
        decision = decide(question(), leg(0, ingress="in-alder", egress=None), leg(40, ingress="in-birch"))
        assert decision.verdict is Verdict.AMBIGUOUS

    def test_that_one_call_is_known_to_have_come_to_the_asking_side_is_nothing_against_one_of_which_it_is_not(
        self,
    ) -> None:
        unknown = leg(0, ingress="in-alder", egress=None)
        known = leg(0.5, ingress="in-birch", egress="out-elm")
        assert decide(question(), unknown, known).verdict is Verdict.AMBIGUOUS
        assert decide(question(), unknown, known, settings=SHOWS_NONE).verdict is Verdict.AMBIGUOUS

    def test_where_egress_is_recorded_a_call_that_says_nothing_of_it_nor_of_its_fate_yields_to_one_that_does(
        self,
    ) -> None:
        nowhere = leg(0, ingress="in-alder", egress=None, disposition=None)
        known = leg(0.5, ingress="in-birch", egress="out-elm")
        assert decide(question(), nowhere, known).upstream == parse_party("provider:birch")

    def test_a_failed_call_with_the_claimed_calling_number_contradicts_a_delivered_one_without_it(self) -> None:
        failed = leg(0, ingress="in-alder", egress=None, disposition="failed", calling=True)
        rang = leg(2, ingress="in-birch", egress="out-homes", calling=False)
        assert decide(question(named_by=None, calling=CALLED), failed, rang).verdict is Verdict.AMBIGUOUS

    def test_a_failed_call_at_the_asked_time_contradicts_a_delivered_one_that_is_further_off(self) -> None:
        failed = leg(0, ingress="in-alder", egress=None, disposition="failed")
        rang = leg(9, ingress="in-birch", egress="out-homes")
        assert decide(question(named_by=None), failed, rang).verdict is Verdict.AMBIGUOUS

    def test_where_no_egress_is_ever_recorded_a_rejected_call_counts_like_an_answered_one(self) -> None:
        rejected = leg(0, ingress="in-alder", egress=None, disposition="failed")
        answered = leg(20, ingress="in-birch", egress=None)
        decision = decide(question(), rejected, answered, settings=SHOWS_NONE)
        assert decision.upstream == parse_party("provider:alder")

    def test_where_egress_is_recorded_a_call_that_failed_without_one_was_never_handed_on(self) -> None:
        decision = decide(question(), leg(0, egress=None, disposition="failed"))
        assert (decision.verdict, decision.handed_over) == (Verdict.NOT_FOUND, False)


class TestTime:
    def test_the_nearest_call_is_taken_when_the_next_one_is_clearly_further(self) -> None:
        decision = decide(question(), leg(0.5, ingress="in-birch"), leg(9, ingress="in-alder"))
        assert decision.upstream == parse_party("provider:birch")

    @pytest.mark.parametrize("apart", [0, 1, 2, 3, 4.9])
    def test_a_rival_with_another_upstream_within_the_margin_is_ambiguous(self, apart: float) -> None:
        decision = decide(question(), leg(0, ingress="in-birch"), leg(apart, ingress="in-alder"))
        assert decision.verdict is Verdict.AMBIGUOUS

    def test_rivals_that_agree_on_the_upstream_give_that_upstream(self) -> None:
        decision = decide(question(), leg(0), leg(1))
        assert decision.upstream == parse_party("provider:birch")
        assert len(decision.instances) == 2

    def test_two_own_customers_as_rivals_are_ambiguous_though_both_are_ours(self) -> None:
        decision = decide(question(), leg(0, ingress="in-customer"), leg(1, ingress="in-shop"))
        assert decision.verdict is Verdict.AMBIGUOUS

    def test_nothing_outside_the_window_is_a_match(self) -> None:
        assert decide(question(window=30), leg(31)).verdict is Verdict.NOT_FOUND

    def test_a_call_just_beyond_the_window_is_still_the_rival_of_one_just_inside(self) -> None:
        inside, beyond = leg(9, ingress="in-birch"), leg(11, ingress="in-alder")
        assert decide(question(window=10), inside, beyond).verdict is Verdict.AMBIGUOUS

    def test_a_question_that_is_off_by_some_seconds_can_not_tell_calls_apart_by_fewer(self) -> None:
        before, after = leg(-8, ingress="in-birch"), leg(15, ingress="in-alder")
        assert decide(question(), before, after).verdict is Verdict.AMBIGUOUS
        assert decide(question(-6), before, after).upstream == parse_party("provider:birch")

    def test_a_distant_record_for_which_only_the_called_number_speaks_is_not_taken_for_the_call(self) -> None:
        assert decide(question(), leg(9)).verdict is Verdict.FOUND
        assert decide(question(), leg(11)).verdict is Verdict.AMBIGUOUS

    def test_a_record_that_knows_only_the_answer_time_fits_any_setup_before_it(self) -> None:
        decision = decide(question(0), leg(25, setup=180, ingress="in-birch"))
        assert decision.verdict is Verdict.FOUND

    def test_two_answer_times_can_not_be_ranked_so_that_different_upstreams_are_ambiguous(self) -> None:
        decision = decide(question(), leg(5, setup=180, ingress="in-birch"), leg(25, setup=180, ingress="in-alder"))
        assert decision.verdict is Verdict.AMBIGUOUS

    def test_a_setup_time_in_one_row_sharpens_the_answer_time_in_another_of_the_same_call(self) -> None:
        early = (leg(3, setup=180, call=1), leg(0, call=1))
        late = (leg(33, setup=180, call=2, ingress="in-alder"), leg(30, call=2, ingress="in-alder"))
        assert decide(question(30), *early, *late).upstream == parse_party("provider:alder")


class TestTheCallingNumber:
    def test_it_chooses_among_rivals(self) -> None:
        rivals = leg(0, ingress="in-birch", calling=False), leg(1, ingress="in-alder", calling=True)
        assert decide(question(calling=CALLED), *rivals).upstream == parse_party("provider:alder")

    def test_it_does_not_unmake_the_only_call_that_fits(self) -> None:
        assert decide(question(calling=CALLED), leg(0, calling=False)).verdict is Verdict.FOUND

    def test_matching_no_rival_it_decides_nothing(self) -> None:
        rivals = leg(0, ingress="in-birch", calling=False), leg(1, ingress="in-alder", calling=False)
        assert decide(question(calling=CALLED), *rivals).verdict is Verdict.AMBIGUOUS

    def test_against_time_it_is_a_contradiction_not_a_proof(self) -> None:
        near, far = leg(0, ingress="in-birch", calling=False), leg(30, ingress="in-alder", calling=True)
        assert decide(question(calling=CALLED), near, far).verdict is Verdict.AMBIGUOUS

    @pytest.mark.parametrize("calling", [False, None])
    def test_a_distant_record_is_taken_for_the_call_only_when_it_matches(self, calling: bool | None) -> None:
        assert decide(question(calling=CALLED), leg(40, calling=calling)).verdict is Verdict.AMBIGUOUS
        assert decide(question(calling=CALLED), leg(40, calling=True)).verdict is Verdict.FOUND

    def test_it_does_not_choose_between_two_passes_of_one_call_that_got_another_number_on_its_way(self) -> None:
        first = leg(0, ingress="in-birch", egress=None, calling=False, call=5)
        second = leg(0.1, ingress="in-alder", egress=None, calling=True, call=5)
        assert decide(question(calling=CALLED), first, second, settings=SHOWS_NONE).verdict is Verdict.AMBIGUOUS

    def test_what_speaks_for_one_pass_or_attempt_of_a_call_speaks_for_all_of_them(self) -> None:
        failed = leg(0, ingress="in-alder", egress=None, calling=False, call=5, disposition="failed")
        rang = leg(0.3, ingress="in-birch", egress="out-homes", calling=True, call=5)
        other = leg(1, ingress="in-elm", egress="out-homes", calling=True)
        both = decide(question(named_by=None, calling=CALLED), failed, rang, other)
        assert both.verdict is Verdict.AMBIGUOUS
        alone = decide(question(named_by=None, calling=CALLED), failed, rang)
        assert alone.upstream == parse_party("provider:birch")

    def test_a_call_that_is_near_and_has_it_is_not_doubted_for_a_distant_one_without(self) -> None:
        near = leg(0, ingress="in-birch", egress=None, calling=True)
        distant = leg(40, ingress="in-alder", egress="out-elm", calling=False)
        assert decide(question(calling=CALLED), near, distant).upstream == parse_party("provider:birch")

    def test_it_does_not_choose_a_call_that_came_back_from_the_side_that_asks(self) -> None:
        first = leg(0, ingress="in-birch", egress=None, calling=False)
        back = leg(0.1, ingress="in-elm", egress=None, calling=True)
        assert decide(question(calling=CALLED), first, back, settings=SHOWS_NONE).verdict is Verdict.AMBIGUOUS

    def test_matching_both_rivals_it_decides_nothing(self) -> None:
        rivals = leg(0, ingress="in-birch", calling=True), leg(1, ingress="in-alder", calling=True)
        assert decide(question(calling=CALLED), *rivals).verdict is Verdict.AMBIGUOUS


class TestInstances:
    def test_the_same_call_passing_twice_is_two_instances_told_apart_by_the_asking_side(self) -> None:
        first = leg(0, ingress="in-birch", egress="out-fir", call=5)
        second = leg(0.01, ingress="in-alder", egress="out-elm", call=5)
        assert decide(question(named_by="elm"), first, second).upstream == parse_party("provider:alder")
        assert decide(question(named_by="fir"), first, second).upstream == parse_party("provider:birch")

    def test_a_call_tried_over_two_routes_by_its_upstream_is_ambiguous_where_both_went_on_alike(self) -> None:
        decision = decide(question(), leg(0, ingress="in-birch", call=5), leg(0.5, ingress="in-alder", call=5))
        assert decision.verdict is Verdict.AMBIGUOUS

    def test_a_reused_call_id_does_not_make_two_calls_one(self) -> None:
        decision = decide(question(), leg(0, call=3), leg(40, call=3))
        assert len(decision.instances) == 1
        assert decision.instances[0].earliest == decision.instances[0].latest == question().at

    def test_an_answer_time_belongs_to_the_last_setup_before_it(self) -> None:
        first = leg(0, call=3), leg(5, setup=180, call=3, egress="out-fir")
        second = leg(40, call=3), leg(45, setup=180, call=3, egress="out-elm")
        decision = decide(question(39), *first, *second)
        assert {row.latest for row in decision.instances[0].rows} == {question(40).at, question(45).at}

    def test_a_trunk_that_was_reassigned_meanwhile_is_whose_it_was_when_the_call_came(self) -> None:
        dated = TrunkMap.from_entries(
            [
                trunk("in-x", "provider:birch", valid_to=at(10)),
                trunk("in-x", "provider:alder", valid_from=at(10)),
                trunk("out-elm", "provider:elm"),
            ]
        )
        rows = leg(5, ingress="in-x", call=3), leg(20, setup=180, ingress="in-x", call=3)
        decision = match(question(5), rows, dated, lambda _: rows)
        assert decision.upstream == parse_party("provider:birch")

    def test_rows_that_only_together_know_the_egress_are_one_call(self) -> None:
        decision = decide(question(), leg(0, egress=None, call=3), leg(0, egress="out-elm", call=3))
        assert decision.handed_over is True
        assert len(decision.instances) == 1

    def test_a_row_that_does_not_say_where_the_call_came_in_belongs_to_the_pass_that_left_where_it_left(self) -> None:
        told, silent = leg(0, ingress="in-birch", call=3), leg(0, ingress=None, call=3)
        assert decide(question(), told, silent).upstream == parse_party("provider:birch")

    def test_such_a_row_that_left_elsewhere_or_does_not_say_is_a_pass_of_its_own(self) -> None:
        told = leg(0, ingress="in-birch", egress="out-fir", call=3)
        silent = leg(0, ingress=None, egress="out-elm", call=3)
        assert decide(question(named_by="elm"), told, silent).upstream is Unknown.NOT_RECORDED
        mute = leg(0, ingress=None, egress=None, call=3)
        assert decide(question(named_by="fir"), told, mute).verdict is Verdict.AMBIGUOUS

    def test_how_a_call_came_and_how_it_went_may_stand_in_two_rows(self) -> None:
        """A capture that was rotated in between, or two captures of the two sides."""
        came = leg(0, ingress="in-birch", egress=None, call=3, disposition=None)
        went = leg(0.1, ingress=None, egress="out-elm", call=3)
        decision = decide(question(named_by="elm"), came, went)
        assert (decision.upstream, decision.handed_over) == (parse_party("provider:birch"), True)

    def test_but_not_when_two_came_in_under_that_call_id(self) -> None:
        came = [leg(0, ingress=trunk, egress=None, call=3, disposition=None) for trunk in ("in-birch", "in-alder")]
        went = leg(0.1, ingress=None, egress="out-elm", call=3)
        assert decide(question(named_by="elm"), *came, went).upstream not in (
            parse_party("provider:birch"),
            parse_party("provider:alder"),
        )

    def test_nor_when_they_are_another_call_s(self) -> None:
        came = leg(0, ingress="in-birch", egress=None, call=3, disposition=None)
        for seconds, call in ((0.1, 4), (30, 3)):
            went = leg(seconds, ingress=None, egress="out-elm", call=call)
            assert decide(question(seconds, named_by="elm"), came, went).upstream is Unknown.NOT_RECORDED


class TestTheUpstream:
    def test_an_unmapped_trunk_is_never_our_customer(self) -> None:
        assert decide(question(), leg(ingress="in-mystery")).upstream is Unknown.UNMAPPED

    def test_a_record_without_ingress_says_so(self) -> None:
        assert decide(question(), leg(ingress=None)).upstream is Unknown.NOT_RECORDED

    def test_an_unmapped_rival_is_as_good_a_rival_as_any(self) -> None:
        assert decide(question(), leg(0), leg(1, ingress="in-mystery")).verdict is Verdict.AMBIGUOUS


class TestInternalTrunks:
    def test_an_internal_trunk_is_followed_to_where_the_call_came_in(self) -> None:
        entered = leg(-0.2, ingress="in-birch", egress="out-east")
        left = leg(0, ingress="in-west", egress="out-elm")
        decision = decide(question(), entered, left)
        assert decision.upstream == parse_party("provider:birch")
        assert decision.handed_over is True

    def test_it_is_followed_through_a_translation_of_the_number(self) -> None:
        entered = leg(-0.2, ingress="in-birch", egress="out-east")
        left = leg(0, ingress="in-west", egress="out-elm", called_in=TOLL_FREE)
        decision = decide(question(), left, elsewhere={TOLL_FREE: [entered]})
        assert decision.upstream == parse_party("provider:birch")
        assert decision.called_in == TOLL_FREE

    def test_a_missing_inner_leg_names_nobody(self) -> None:
        assert decide(question(), leg(0, ingress="in-west")).upstream is Unknown.UNMAPPED

    def test_two_inner_legs_with_different_upstreams_are_ambiguous(self) -> None:
        inner = leg(-0.2, ingress="in-birch", egress="out-east"), leg(-0.1, ingress="in-alder", egress="out-east")
        assert decide(question(), *inner, leg(0, ingress="in-west")).verdict is Verdict.AMBIGUOUS

    def test_a_leg_that_came_from_west_is_not_continued_by_one_that_went_to_west(self) -> None:
        passing = leg(0, ingress="in-birch", egress="out-east"), leg(0.05, ingress="in-west", egress="out-elm")
        looping = leg(0.1, ingress="in-alder", egress="out-west"), leg(0.15, ingress="in-east", egress="out-homes")
        assert decide(question(0.05), *passing, *looping).upstream == parse_party("provider:birch")

    def test_the_calling_number_does_not_choose_inside_when_it_contradicts_the_leg_that_went_out(self) -> None:
        first = leg(0, ingress="in-birch", egress="out-east", calling=False)
        out = leg(0.05, ingress="in-west", egress="out-elm", calling=False)
        again = leg(0.1, ingress="in-elm", egress="out-east", calling=True)
        decision = decide(question(0.05, calling=CALLED), first, out, again)
        assert decision.verdict is Verdict.AMBIGUOUS

    def test_the_calling_number_chooses_inside_when_it_tells_the_leg_that_went_out_from_all_others(self) -> None:
        one = leg(0, ingress="in-birch", egress="out-east", calling=True), leg(0.1, ingress="in-west", calling=True)
        other = leg(0, ingress="in-alder", egress="out-east", calling=False), leg(0.1, ingress="in-west", calling=False)
        assert decide(question(calling=CALLED), *one, *other).upstream == parse_party("provider:birch")

    @pytest.mark.parametrize("back_from", ["in-elm", "in-alder"])
    def test_it_does_not_choose_inside_when_a_call_passed_twice_and_got_it_within_this_network(
        self, back_from: str
    ) -> None:
        first = leg(0, ingress="in-birch", egress="out-east", calling=False)
        out = leg(0.05, ingress="in-west", egress="out-elm", calling=True)
        again = leg(0.1, ingress=back_from, egress="out-east", calling=True)
        out_again = leg(0.15, ingress="in-west", egress="out-fir", calling=True)
        decision = decide(question(calling=CALLED), first, out, again, out_again)
        assert decision.verdict is Verdict.AMBIGUOUS

    def test_it_does_not_choose_inside_a_call_that_came_back_from_the_side_that_asks(self) -> None:
        first = leg(0, ingress="in-birch", egress="out-east", calling=False)
        out = leg(0.05, ingress="in-west", egress="out-elm", calling=True)
        back = leg(0.1, ingress="in-elm", egress="out-east", calling=True)
        assert decide(question(calling=CALLED), first, out, back).verdict is Verdict.AMBIGUOUS

    def test_inner_legs_that_lead_in_a_circle_name_nobody(self) -> None:
        circle = leg(-0.2, ingress="in-west", egress="out-east"), leg(-0.1, ingress="in-west", egress="out-east")
        assert decide(question(), *circle, leg(0, ingress="in-west")).upstream is Unknown.UNMAPPED


_legs = st.builds(
    leg,
    st.floats(-70, 70),
    ingress=st.sampled_from(["in-birch", "in-alder", "in-customer", "in-mystery", None]),
    egress=st.sampled_from(["out-elm", "out-fir", "out-homes", None]),
    call=st.integers(1, 3),
    calling=st.sampled_from([True, False, None]),
    setup=st.sampled_from([0, 1, 180]),
    disposition=st.sampled_from(["answered", "failed", None]),
)


class TestWhateverTheRecords:
    @given(st.lists(_legs, max_size=6), st.sampled_from(["elm", None]))
    def test_the_order_of_records_does_not_matter(self, legs: list[Leg], named_by: str | None) -> None:
        one, other = (decide(question(named_by=named_by), *order) for order in (legs, legs[::-1]))
        assert (one.verdict, one.upstream, one.handed_over) == (other.verdict, other.upstream, other.handed_over)

    @given(st.lists(_legs, min_size=1, max_size=6))
    def test_an_upstream_is_never_named_while_an_equal_rival_names_another(self, legs: list[Leg]) -> None:
        decision = decide(question(), *legs)
        if decision.verdict is Verdict.FOUND:
            twin = decision.instances[0].rows[0]
            other = "in-alder" if twin.ingress_trunk != "in-alder" else "in-birch"
            # as well spoken for as the call that was found: what speaks for one pass of a call speaks for all of them
            refs = {row.call_ref for call in decision.instances for row in call.rows}
            spoken_for = any(row.calling_matches for row in legs if row.call_ref in refs) or twin.calling_matches
            rival = leg(ingress=other, egress="out-elm", calling=spoken_for, call=99)
            rival = _at_same_time(rival, decision)
            beside = decide(question(), *legs, rival)
            assert beside.verdict is Verdict.AMBIGUOUS or beside.upstream != decision.upstream


def _at_same_time(rival: Leg, decision: Decision) -> Leg:

    call = decision.instances[0]
    return rival._replace(earliest=call.earliest, latest=call.latest)


class TestARecordThatHardlyKnowsItsTime:
    """Of an answered call of which only the end is recorded: it began at any time up to `max_call` before."""

    DAY = 24 * 3600.0

    def test_is_the_call_only_if_the_calling_number_says_so(self) -> None:
        assert decide(question(), leg(60, setup=self.DAY)).verdict is Verdict.AMBIGUOUS
        spoken_for = decide(question(), leg(60, setup=self.DAY, calling=True))
        assert spoken_for.upstream == parse_party("provider:birch")

    def test_gives_way_to_none_that_came_by_somebody_else(self) -> None:
        exact = leg(0, ingress="in-alder", call=1)
        assert decide(question(), exact, leg(60, setup=self.DAY, call=2)).verdict is Verdict.AMBIGUOUS

    def test_is_told_its_time_by_another_row_of_the_call(self) -> None:
        rows = leg(0, ingress=None, call=3), leg(60, setup=self.DAY, call=3)
        assert decide(question(), *rows).upstream == parse_party("provider:birch")

    def test_one_that_knows_the_answer_is_trusted_as_ever(self) -> None:
        assert decide(question(), leg(60, setup=180)).upstream == parse_party("provider:birch")


class TestOneCallAlone:
    @given(
        off=st.sampled_from([0, 1, 9, 10, 11, 59, 60, 61, 400]),
        span=st.sampled_from([0, 1, 599, 600, 601, 90_000]),
        fit=st.sampled_from(list(Fit)),
        calling=st.sampled_from([None, True, False]),
        named=st.booleans(),
    )
    def test_is_decided_by_the_short_way_as_by_the_long_one(
        self, off: int, span: int, fit: Fit, calling: bool | None, named: bool
    ) -> None:
        asked = question()
        begin = asked.at + timedelta(seconds=off)
        upstream = parse_party("provider:birch")
        found = Instance((leg(),), upstream, None, begin, begin + timedelta(seconds=span), fit, calling)
        named_by = asked.named_by if named else None
        window = timedelta(seconds=60)
        short = _decide_alone(asked.at, window, found, SHOWS_EGRESS, named_by)
        assert short == _decide_among(asked.at, window, [found], SHOWS_EGRESS, named_by)

    @given(
        off=st.sampled_from([-60, -11, 0, 1, 11, 61, 400]),
        setup=st.sampled_from([0, 2, 180, 90_000]),
        ingress=st.sampled_from(["in-birch", "in-alder", "nowhere", None]),
        egress=st.sampled_from(["out-elm", "out-fir", "out-homes", "nowhere", None]),
        disposition=st.sampled_from(["answered", "failed", None]),
        calling=st.sampled_from([None, True, False]),
        sent=st.booleans(),
        named_by=st.sampled_from(["elm", "fir", None]),
        shows=st.booleans(),
    )
    def test_one_row_is_matched_by_the_short_way_as_by_the_long_one(
        self,
        off: int,
        setup: int,
        ingress: str | None,
        egress: str | None,
        disposition: str | None,
        calling: bool | None,
        sent: bool,
        named_by: str | None,
        shows: bool,
    ) -> None:
        settings = SHOWS_EGRESS if shows else MatchSettings()
        asked = question(named_by=named_by)
        row = leg(
            off,
            setup=setup,
            ingress=ingress,
            egress=egress,
            disposition=disposition,
            calling=calling,
            sent_as_asked=sent,
        )
        wanted = ends_here if asked.named_by is None else leads_to(asked.named_by)
        found = [i for i in _grouped([row], TRUNKS, wanted, settings) if named_by is None or sent]
        long = _decide_among(asked.at, asked.window, found, settings, asked.named_by)
        assert decide(asked, row, settings=settings) == long

    def test_no_row_is_matched_by_the_short_way_as_by_the_long_one(self) -> None:
        asked = question()
        long = _decide_among(asked.at, asked.window, [], SHOWS_EGRESS, asked.named_by)
        assert decide(asked) == long
