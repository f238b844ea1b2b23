"""The property that everything else is for: with every pitfall on, no hop is ever wrong, and nearly all are found.

Run on the real adapters, index, matcher and coordinator, by `deploy.lab.evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.tracing.chain import Call
from deploy.lab import build
from deploy.lab.evaluate import Office, close_offices, judged, open_offices, trace_all
from deploy.lab.ingredients import ALL, Ingredient
from deploy.lab.judge import Verdict, summary
from deploy.lab.people import People
from deploy.lab.planner import generate
from deploy.lab.roster import build as build_industry
from protos.e164 import parse_e164

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Offices = dict[str, Office]


@contextmanager
def opened(
    directory: Path, seed: int, calls: int, ingredients: frozenset[Ingredient] = ALL
) -> Iterator[tuple[build.Lab, Offices]]:
    industry = build_industry(seed, NOW, ingredients)
    people = People.made(directory / "coordinator", NOW)
    lab = build.write(directory, industry, generate(industry, calls), people=people)
    offices = open_offices(lab)
    try:
        yield lab, offices
    finally:
        close_offices(offices)


@pytest.fixture(scope="module")
def hundreds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[build.Lab, Offices]]:
    with opened(tmp_path_factory.mktemp("lab") / "hundreds", 11, 300) as lab:
        yield lab


def test_with_every_pitfall_on_no_hop_is_wrong_and_98_of_100_calls_end_right(
    hundreds: tuple[build.Lab, Offices],
) -> None:
    traced = trace_all(*hundreds)
    figures = summary(judged(traced))
    wrong = [f"{one.judged.call}: {one.judged.why}" for one in traced if one.judged.verdict is Verdict.WRONG]
    assert (figures["wrong_hops"], wrong) == (0, [])
    assert figures["right"] >= 0.98 * figures["calls"]
    assert figures["traced"] >= 0.85 * figures["calls"]  # the rest must stop: no agent, expired, unmapped, alike ...


@pytest.mark.parametrize("seconds", [-2, 2])
def test_asked_two_seconds_off_no_hop_is_wrong(hundreds: tuple[build.Lab, Offices], seconds: int) -> None:
    lab, offices = hundreds

    def off(call: Call) -> Call:
        return replace(call, at=call.at + timedelta(seconds=seconds))

    assert summary(judged(trace_all(lab, offices, off)))["wrong_hops"] == 0


@pytest.mark.parametrize("claimed", [None, parse_e164("+19995550100")])
def test_asked_without_or_with_a_wrong_calling_number_no_hop_is_wrong(
    hundreds: tuple[build.Lab, Offices], claimed: str | None
) -> None:
    lab, offices = hundreds

    def doubtful(call: Call) -> Call:
        return replace(call, calling=None if claimed is None else parse_e164(claimed))

    assert summary(judged(trace_all(lab, offices, doubtful)))["wrong_hops"] == 0


def test_with_no_pitfall_on_every_call_is_traced(tmp_path: Path) -> None:
    with opened(tmp_path / "plain", 4, 120, frozenset()) as (lab, offices):
        figures = summary(judged(trace_all(lab, offices)))
    assert (figures["traced"], figures["wrong_hops"]) == (120, 0)


@pytest.mark.nightly
@pytest.mark.parametrize("ingredient", list(Ingredient), ids=lambda i: i.value)
def test_each_pitfall_alone_costs_no_wrong_hop(tmp_path: Path, ingredient: Ingredient) -> None:
    with opened(tmp_path / "one", 6, 100, frozenset({ingredient})) as (lab, offices):
        figures = summary(judged(trace_all(lab, offices)))
    assert (figures["right"], figures["wrong_hops"]) == (100, 0)


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_scale_no_hop_is_wrong_and_98_of_100_calls_end_right(tmp_path: Path, seed: int) -> None:
    with opened(tmp_path / "thousands", seed, 5000) as (lab, offices):
        figures = summary(judged(trace_all(lab, offices)))
    assert figures["wrong_hops"] == 0
    assert figures["right"] >= 0.98 * figures["calls"]
