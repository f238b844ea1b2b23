"""What a traceback through a generated lab is worth: strict about hops, fair about what no software can mend."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from deploy.lab.judge import Verdict, judge, summary
from deploy.lab.scoring import SeenHop, TrueHop
from deploy.lab.truth import Ending, Truth
from protos.e164 import parse_e164

TRACEABLE = Truth(
    call="c1",
    called=parse_e164("+12025550143"),
    calling=None,
    at=datetime(2026, 11, 22, tzinfo=UTC),
    terminating="tern",
    hops=(
        TrueHop("tern", "godwit", "provider"),
        TrueHop("godwit", "jackdaw", "provider"),
        TrueHop("jackdaw", "c", "customer"),
    ),
    ingredients=("loop",),
    ending=Ending("origin_found", "jackdaw"),
    also=frozenset(),
)
TERN = SeenHop("tern", "upstream", "godwit", "provider:godwit", frozenset({"c1"}))
GODWIT = SeenHop("godwit", "upstream", "jackdaw", "provider:jackdaw", frozenset({"c1"}))
JACKDAW = SeenHop("jackdaw", "originated_here", None, "customer:c", frozenset({"c1"}))
MISLED = replace(TRACEABLE, ending=Ending("disputed", "lapwing"), misled="godwit")
WRONG_NAME = replace(GODWIT, upstream="lapwing", upstream_party="provider:lapwing")
DENIAL = SeenHop("lapwing", "not_found", None, None, frozenset())


def stopped(provider: str, outcome: str) -> SeenHop:
    return SeenHop(provider, outcome, None, None, frozenset())


class TestTraceable:
    def test_the_whole_true_path_is_traced(self) -> None:
        assert judge(TRACEABLE, "origin_found", [TERN, GODWIT, JACKDAW]).verdict is Verdict.TRACED

    def test_a_wrong_name_is_wrong(self) -> None:
        assert judge(TRACEABLE, "disputed", [TERN, WRONG_NAME, DENIAL]).verdict is Verdict.WRONG

    def test_the_true_name_from_another_call_s_record_is_wrong(self) -> None:
        lucky = replace(GODWIT, instances=frozenset({"c2"}))
        assert judge(TRACEABLE, "origin_found", [TERN, lucky, JACKDAW]).verdict is Verdict.WRONG

    @pytest.mark.parametrize("status", ["ambiguous", "not_found", "unmapped", "disputed"])
    def test_to_stop_without_need_is_incomplete(self, status: str) -> None:
        judged = judge(TRACEABLE, status, [TERN, stopped("godwit", status)])
        assert (judged.verdict, judged.verdict.right) == (Verdict.INCOMPLETE, False)


class TestObstacles:
    @pytest.mark.parametrize("status", ["unmapped", "no_agent", "records_expired", "not_yet_available"])
    def test_to_stop_where_and_as_the_truth_says_is_right(self, status: str) -> None:
        truth = replace(TRACEABLE, ending=Ending(status, "godwit"))
        assert judge(truth, status, [TERN, stopped("godwit", status)]).verdict is Verdict.STOPPED_RIGHTLY

    def test_to_stop_there_for_another_reason_is_incomplete(self) -> None:
        truth = replace(TRACEABLE, ending=Ending("unmapped", "godwit"))
        assert judge(truth, "not_found", [TERN, stopped("godwit", "not_found")]).verdict is Verdict.INCOMPLETE

    def test_to_stop_elsewhere_for_that_reason_is_incomplete(self) -> None:
        truth = replace(TRACEABLE, ending=Ending("unmapped", "godwit"))
        assert judge(truth, "unmapped", [stopped("tern", "unmapped")]).verdict is Verdict.INCOMPLETE

    def test_to_get_past_what_must_stop_it_is_not_right(self) -> None:
        truth = replace(TRACEABLE, ending=Ending("unmapped", "godwit"))
        assert judge(truth, "origin_found", [TERN, GODWIT, JACKDAW]).verdict is Verdict.INCOMPLETE

    def test_a_lie_before_the_right_stop_is_still_wrong(self) -> None:
        truth = replace(TRACEABLE, ending=Ending("unmapped", "godwit"))
        lie = replace(TERN, instances=frozenset({"c2"}))
        assert judge(truth, "unmapped", [lie, stopped("godwit", "unmapped")]).verdict is Verdict.WRONG


class TestAlike:
    ALIKE = replace(TRACEABLE, also=frozenset({Ending("ambiguous", "godwit")}))

    def test_to_say_ambiguous_where_nothing_tells_calls_apart_is_right(self) -> None:
        judged = judge(self.ALIKE, "ambiguous", [TERN, stopped("godwit", "ambiguous")])
        assert judged.verdict is Verdict.STOPPED_RIGHTLY

    def test_to_trace_it_truly_all_the_same_is_right(self) -> None:
        assert judge(self.ALIKE, "origin_found", [TERN, GODWIT, JACKDAW]).verdict is Verdict.TRACED

    def test_to_guess_the_other_one_is_wrong(self) -> None:
        guess = replace(GODWIT, upstream="osprey", instances=frozenset({"c2"}))
        assert judge(self.ALIKE, "origin_found", [TERN, guess]).verdict is Verdict.WRONG

    def test_to_say_ambiguous_elsewhere_is_incomplete(self) -> None:
        assert judge(self.ALIKE, "ambiguous", [stopped("tern", "ambiguous")]).verdict is Verdict.INCOMPLETE


class TestMisled:
    def test_a_wrong_name_out_of_a_wrong_map_is_excused_when_it_is_disputed(self) -> None:
        judged = judge(MISLED, "disputed", [TERN, WRONG_NAME, DENIAL])
        assert (judged.verdict, judged.wrong_hops) == (Verdict.STOPPED_RIGHTLY, 0)

    def test_it_is_wrong_when_the_chain_goes_on_from_there(self) -> None:
        astray = SeenHop("lapwing", "originated_here", None, "customer:x", frozenset({"c9"}))
        judged = judge(MISLED, "origin_found", [TERN, WRONG_NAME, astray])
        assert (judged.verdict, judged.wrong_hops) == (Verdict.WRONG, 2)

    def test_a_dispute_that_somebody_else_s_lie_brought_about_is_no_excuse(self) -> None:
        lie = replace(TERN, upstream="lapwing")
        assert judge(MISLED, "disputed", [lie, DENIAL]).verdict is Verdict.WRONG


def test_the_summary_keeps_what_was_traced_apart_from_what_stopped_rightly() -> None:
    unmapped = replace(TRACEABLE, ending=Ending("unmapped", "godwit"))
    counted = summary(
        [
            judge(TRACEABLE, "origin_found", [TERN, GODWIT, JACKDAW]),
            judge(unmapped, "unmapped", [TERN, stopped("godwit", "unmapped")]),
            judge(TRACEABLE, "ambiguous", [stopped("tern", "ambiguous")]),
            judge(TRACEABLE, "disputed", [TERN, WRONG_NAME, DENIAL]),
        ]
    )
    assert (counted["calls"], counted["right"], counted["traced"], counted["wrong_hops"]) == (4, 2, 1, 1)
    assert (counted["stopped_rightly"], counted["incomplete"]) == ({"unmapped": 1}, {"ambiguous": 1})
    assert counted["by_ingredient"]["loop"] == {"calls": 4, "right": 2, "wrong": 1, "incomplete": 1}
