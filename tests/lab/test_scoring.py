"""What counts as right, wrong and incomplete: the accuracy figures are worth what this is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.lab.scoring import SeenHop, TrueCall, TrueHop, Verdict, percentile, score, summary

TRUTH = TrueCall("c1", ("loop",), "id-1", (TrueHop("ginkgo", "birch", "provider"), TrueHop("birch", "cA1", "customer")))
FIRST = SeenHop("ginkgo", "upstream", "birch", "provider:birch", frozenset({"id-1"}))
LAST = SeenHop("birch", "originated_here", None, "customer:cA1", frozenset({"id-1"}))


def test_the_true_path_to_the_true_customer_is_right() -> None:
    assert score(TRUTH, "origin_found", [FIRST, LAST]).verdict is Verdict.RIGHT


@pytest.mark.parametrize(
    "lie",
    [
        replace(FIRST, upstream="cedar"),
        replace(FIRST, outcome="originated_here", upstream=None),
        replace(FIRST, outcome="foreign_upstream"),
        replace(FIRST, provider="hazel"),
        replace(FIRST, instances=frozenset({"id-2"})),
        replace(FIRST, instances=frozenset()),
    ],
)
def test_any_untrue_hop_is_wrong_even_with_a_happy_end(lie: SeenHop) -> None:
    scored = score(TRUTH, "origin_found", [lie, LAST])
    assert (scored.verdict, scored.wrong_hops) == (Verdict.WRONG, 1)


def test_the_wrong_customer_of_the_right_provider_is_wrong() -> None:
    scored = score(TRUTH, "origin_found", [FIRST, replace(LAST, upstream_party="customer:cA9")])
    assert scored.verdict is Verdict.WRONG


def test_a_customer_whom_the_lab_knows_by_another_name_is_judged_by_the_call_s_own_record() -> None:
    known = {"customer:cA1", "customer:cA9"}
    renamed = replace(LAST, upstream_party="customer:account-7011")
    assert score(TRUTH, "origin_found", [FIRST, renamed], known).verdict is Verdict.RIGHT
    another = replace(renamed, instances=frozenset({"id-2"}))
    assert score(TRUTH, "origin_found", [FIRST, another], known).verdict is Verdict.WRONG
    assert score(TRUTH, "origin_found", [FIRST, replace(LAST, upstream_party="customer:cA9")], known).wrong_hops == 1


def test_records_without_call_ids_are_judged_by_the_answer_and_counted_as_such() -> None:
    blind = replace(FIRST, instances=None)
    right = score(TRUTH, "origin_found", [blind, LAST])
    assert (right.verdict, right.by_answer_alone) == (Verdict.RIGHT, 1)
    assert score(TRUTH, "origin_found", [replace(blind, upstream="cedar"), LAST]).verdict is Verdict.WRONG
    assert summary([right])["by_answer_alone"] == 1


def test_calls_that_can_not_be_told_apart_are_right_when_the_true_one_is_among_them() -> None:
    both = replace(FIRST, instances=frozenset({"id-1", "id-2"}))
    assert score(TRUTH, "origin_found", [both, LAST]).verdict is Verdict.RIGHT


def test_an_honest_stop_is_incomplete_and_not_wrong() -> None:
    stopped = SeenHop("birch", "ambiguous", None, None, frozenset())
    scored = score(TRUTH, "ambiguous", [FIRST, stopped])
    assert (scored.verdict, scored.status) == (Verdict.INCOMPLETE, "ambiguous")


def test_a_hop_beyond_the_true_source_is_wrong() -> None:
    beyond = SeenHop("alder", "originated_here", None, "customer:x", frozenset({"id-1"}))
    assert score(TRUTH, "origin_found", [FIRST, LAST, beyond]).verdict is Verdict.WRONG


def test_the_summary_counts_each_call_once_and_each_wrong_hop() -> None:
    wrong = score(TRUTH, "origin_found", [replace(FIRST, upstream="x"), replace(LAST, provider="y")])
    right = score(TRUTH, "origin_found", [FIRST, LAST])
    counted = summary([wrong, right])
    assert (counted["calls"], counted["right"], counted["wrong_hops"]) == (2, 1, 2)
    assert counted["by_special"]["loop"] == {"calls": 2, "right": 1, "wrong": 1, "incomplete": 0}


def test_percentiles_of_nothing_are_nothing() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([3, 1, 2], 0.5) == 2
