"""The lab's industry and its calls: deterministic, complete, and every ingredient really switchable."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from deploy.lab import build, truth
from deploy.lab.dialing import UnwritableNumberError, subscribers, wire
from deploy.lab.industry import PartyKind, calendar
from deploy.lab.ingredients import ALL, Ingredient, UnknownIngredientError, parse_ingredient
from deploy.lab.planner import generate
from deploy.lab.roster import SMALL
from deploy.lab.roster import build as build_industry
from deploy.lab.stories import KINDS
from deploy.lab.truth import Truth
from protos.e164 import parse_e164

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CALLS = 800


def truths_of(seed: int = 1, calls: int = CALLS, ingredients: frozenset[Ingredient] = ALL) -> list[Truth]:
    industry = build_industry(seed, NOW, ingredients)
    return truth.tell(industry, generate(industry, calls))


class TestDeterminism:
    def test_the_same_seed_gives_the_same_files_and_the_same_truth(self, tmp_path: Path) -> None:
        for name in ("one", "other"):
            industry = build_industry(7, NOW)
            build.write(tmp_path / name, industry, generate(industry, 120))
        secret = {".crt", ".key"}
        written = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
        compared = [path for path in written if path.suffix not in secret or path.name == "root.key"]
        assert len(compared) > 40
        assert all((tmp_path / "one" / p).read_bytes() == (tmp_path / "other" / p).read_bytes() for p in compared)

    def test_another_seed_gives_another_industry(self) -> None:
        assert truths_of(1, 50) != truths_of(2, 50)

    def test_a_lab_is_never_written_over_another(self, tmp_path: Path) -> None:
        industry = build_industry(1, NOW)
        build.write(tmp_path, industry, generate(industry, 10))
        with pytest.raises(ValueError, match="holds a lab already"):
            build.write(tmp_path, industry, generate(industry, 10))


class TestIngredients:
    def test_with_all_of_them_on_each_one_occurs(self) -> None:
        met = {name for told in truths_of() for name in told.ingredients}
        assert met == {ingredient.value for ingredient in Ingredient}

    @pytest.mark.parametrize("off", list(Ingredient), ids=lambda i: i.value)
    def test_one_that_is_off_is_absent_from_the_truth(self, off: Ingredient) -> None:
        met = {name for told in truths_of(calls=300, ingredients=ALL - {off}) for name in told.ingredients}
        assert off.value not in met

    def test_with_none_of_them_every_call_is_plain_and_traceable(self) -> None:
        told = truths_of(ingredients=frozenset())
        assert {name for one in told for name in one.ingredients} == set()
        assert {one.ending.status for one in told} == {"origin_found"}

    def test_one_alone_can_be_asked_for(self) -> None:
        told = truths_of(ingredients=frozenset({Ingredient.TOLL_FREE}))
        assert {name for one in told for name in one.ingredients} == {"toll-free"}

    def test_each_has_a_line_of_explanation(self) -> None:
        assert all(len(ingredient.summary) > 20 for ingredient in Ingredient)

    def test_a_misspelt_one_is_refused_with_the_list_of_those_that_exist(self) -> None:
        assert parse_ingredient("loop") is Ingredient.LOOP
        with pytest.raises(UnknownIngredientError, match="several-switches"):
            parse_ingredient("lop")


class TestCalls:
    def test_paths_have_one_to_ten_hops(self) -> None:
        assert {len(told.hops) for told in truths_of(calls=2000)} == set(range(1, 11))

    def test_every_hop_but_the_last_is_followed_by_its_upstream(self) -> None:
        for told in truths_of():
            assert all(here.upstream == there.provider for here, there in pairwise(told.hops))
            assert told.hops[-1].kind in ("customer", "foreign_carrier")
            assert told.hops[0].provider == told.terminating

    def test_a_person_knows_the_time_in_whole_seconds_and_not_before_the_call(self) -> None:
        industry = build_industry(1, NOW)
        traffic = generate(industry, 200)
        for ride, told in zip(traffic.rides, truth.tell(industry, traffic), strict=True):
            assert told.at.microsecond == 0
            assert timedelta(0) <= ride.rang_at - told.at < timedelta(seconds=1)

    def test_no_call_lies_in_the_future_and_only_expired_ones_are_old(self) -> None:
        for told in truths_of():
            assert told.at < NOW
            assert told.at > NOW - timedelta(days=61)
            assert told.at > NOW - timedelta(days=30) or "records-expired" in told.ingredients

    def test_time_runs_along_the_way(self) -> None:
        for ride in generate(build_industry(1, NOW), 300).rides:
            assert all(a.seized < b.seized < b.finished < a.finished for a, b in pairwise(ride.way))

    def test_no_call_id_is_used_by_two_providers(self) -> None:
        users: dict[str, set[str]] = {}
        for passage in generate(build_industry(1, NOW), 500).passages:
            users.setdefault(passage.record_id, set()).add(passage.provider)
        assert all(len(providers) == 1 for providers in users.values())

    def test_a_call_that_crosses_a_provider_twice_has_it_twice_on_its_path(self) -> None:
        looped = [told for told in truths_of() if "loop" in told.ingredients]
        assert looped
        assert all(len({h.provider for h in told.hops}) < len(told.hops) for told in looped)

    def test_failed_attempts_leave_records_with_switches_that_are_not_on_the_path(self) -> None:
        traffic = generate(build_industry(3, NOW), 400)
        ways = {(p.call, p.visit) for ride in traffic.rides for p in ride.way}
        assert any((p.call, p.visit) not in ways and p.code == 503 for p in traffic.passages)


class TestEndings:
    def test_each_obstacle_gives_its_own_ending_at_the_provider_in_the_way(self) -> None:
        endings = {
            "unmapped-trunk": ("unmapped", "osprey"),
            "no-agent": ("no_agent", "fulmar"),
            "records-expired": ("records_expired", "lapwing"),
            "named-by-mistake": ("disputed", "lapwing"),
        }
        seen = set()
        for told in truths_of(calls=2000):
            for name, (status, provider) in endings.items():
                if name in told.ingredients:
                    assert (told.ending.status, told.ending.provider) == (status, provider)
                    seen.add(name)
        assert seen == set(endings)

    def test_a_foreign_carrier_makes_a_gateway_and_a_customer_an_origin(self) -> None:
        for told in truths_of():
            if told.ending.status in ("origin_found", "gateway_found"):
                assert (told.hops[-1].kind == "foreign_carrier") == (told.ending.status == "gateway_found")
                assert told.ending.provider == told.hops[-1].provider

    def test_twins_that_nothing_tells_apart_may_end_as_ambiguous_and_few_others_may(self) -> None:
        told = truths_of(calls=3000)
        twins = [one for one in told if "indistinguishable" in one.ingredients]
        others = [one for one in told if "indistinguishable" not in one.ingredients]
        assert sum(bool(one.also) for one in twins) > len(twins) * 0.9
        assert sum(bool(one.also) for one in others) < len(others) * 0.03


class TestCalendar:
    def test_the_repeated_hour_is_the_last_one_in_new_york(self) -> None:
        assert calendar(NOW).fall_back == datetime(2026, 11, 1, 6, tzinfo=UTC)
        assert calendar(datetime(2027, 6, 1, tzinfo=UTC)).fall_back == datetime(2026, 11, 1, 6, tzinfo=UTC)

    def test_a_naive_date_is_refused(self) -> None:
        with pytest.raises(ValueError, match="aware"):
            calendar(datetime(2026, 11, 22))  # noqa: DTZ001


class TestNumbers:
    @pytest.mark.parametrize(
        ("called_format", "dialled"),
        [
            ("10d", "2025550143"),
            ("11d", "12025550143"),
            ("e164", "+12025550143"),
            ("00e164", "0012025550143"),
            ("011e164", "01112025550143"),
            ("tech:0155#:e164", "0155#+12025550143"),
            ("tech:9931:10d", "99312025550143"),
        ],
    )
    def test_a_trunk_s_format_decides_what_is_dialled(self, called_format: str, dialled: str) -> None:
        assert wire(parse_e164("+12025550143"), called_format) == dialled

    def test_a_foreign_number_can_t_be_dialled_with_ten_digits(self) -> None:
        with pytest.raises(UnwritableNumberError):
            wire(parse_e164("+442079460123"), "10d")

    def test_all_numbers_are_reserved_for_fiction(self) -> None:
        assert all(number[5:10] == "55501" for number in subscribers(3000))


def test_a_small_roster_has_enough_for_a_demonstration() -> None:
    industry = build_industry(1, NOW, roster=SMALL)
    met = {name for told in truth.tell(industry, generate(industry, 600)) for name in told.ingredients}
    assert {"toll-free", "route-advance", "foreign-gateway", "indistinguishable", "named-by-mistake", "no-agent"} <= met


def test_a_roster_with_unknown_names_is_refused() -> None:
    with pytest.raises(ValueError, match="dodo"):
        build_industry(1, NOW, roster={"dodo", "godwit"})


def test_the_truth_is_written_a_call_a_line(tmp_path: Path) -> None:
    told = truths_of(calls=30)
    truth.write(tmp_path / "truth.jsonl", told)
    lines = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert [line["call"] for line in lines] == [one.call for one in told]
    assert {line["hops"][0]["provider"] for line in lines} <= set(build_industry(1, NOW).providers)


def test_customers_are_never_named_as_providers() -> None:
    industry = build_industry(1, NOW)
    customers = {t.sender.name for t in industry.trunks if t.sender.kind is PartyKind.CUSTOMER}
    assert not customers & set(industry.providers)


def test_the_documentation_lists_every_ingredient_with_its_own_words() -> None:
    text = (Path(__file__).parents[2] / "docs" / "demo.md").read_text()
    assert all(f"| `{i.value}` | {i.summary} |" in text for i in Ingredient)


def test_the_documentation_lists_every_story_of_the_demonstration() -> None:
    text = (Path(__file__).parents[2] / "docs" / "demo.md").read_text()
    assert all(f"| {kind.title} | " in text for kind in KINDS)
