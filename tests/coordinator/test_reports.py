"""Reports: figures with the questions behind them, roles as the answers tell them, cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from coordinator.deadlines.cooperation import RequestFact
from coordinator.deadlines.schedule import schedule
from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import parse_change
from coordinator.reports.figures import (
    FIGURES,
    PersonFact,
    participants,
    scorecards,
    spread,
    transparency,
)
from coordinator.reports.tables import safe_cell, scorecard_rows, transparency_rows
from coordinator.reports.ways import HopFact, Way
from coordinator.tasks.desk import TaskDesk
from coordinator.tracing.chain import Problem, Status
from protos.types import Outcome, RefusalReason
from tests.coordinator.house import House
from tests.coordinator.make import CALLED, provider
from tests.coordinator.test_calendar import OFFICE, at
from tests.coordinator.test_campaigns import call, traced
from tests.coordinator.test_tasks import ASKED, UPSTREAM, OneOffice

T = at("2026-09-01T10:00").astimezone(UTC)
LATER = T + timedelta(days=30)
MS = timedelta(milliseconds=1)
NAMES = {provider("birch"): "Birch Telecom"}


def hop(name: str, outcome: Outcome | None, *, problem: Problem | None = None, ms: int = 10, key: int = 0) -> HopFact:
    ended = T + ms * MS
    return HopFact(provider(name), uuid.UUID(int=key), T, ended, outcome, problem, 1)


def way(status: Status, *hops: HopFact, foreign: str | None = None, refusal: RefusalReason | None = None) -> Way:
    named = provider(foreign) if foreign else None
    return Way(uuid.uuid4(), status, T, T + 500 * MS, hops, named, refusal)


UP = Outcome.UPSTREAM
ORIGIN = way(Status.ORIGIN_FOUND, hop("ginkgo", UP), hop("birch", UP, ms=30), hop("alder", Outcome.ORIGINATED_HERE))
GATEWAY = way(Status.GATEWAY_FOUND, hop("ginkgo", UP), hop("yew", Outcome.FOREIGN_UPSTREAM), foreign="abroad")
DISPUTED = way(Status.DISPUTED, hop("ginkgo", UP, key=1), hop("birch", Outcome.NOT_FOUND, key=2))
SILENT = way(Status.NON_RESPONSIVE, hop("ginkgo", UP), hop("elm", None, problem=Problem.TIMED_OUT, key=3))
REFUSED = way(Status.REFUSED, hop("ginkgo", UP), hop("oak", Outcome.REFUSED, key=4), refusal=RefusalReason.POLICY)
NOBODY = way(Status.NO_AGENT, hop("ginkgo", UP), hop("fir", None, problem=Problem.NO_AGENT))
WAYS = [ORIGIN, GATEWAY, DISPUTED, SILENT, REFUSED, NOBODY]


def person(name: str, fate: str, n: int = 0) -> PersonFact:
    """a(nswered), l(ate), r(efused), n(ot answered)."""
    plan = schedule(T + timedelta(days=n), OFFICE)
    answered = {"n": None, "l": plan.due + timedelta(hours=2)}.get(fate, plan.received + timedelta(hours=1))
    refusal = RefusalReason.RECORDS_GAP if fate == "r" else None
    return PersonFact(provider(name), RequestFact(f"{name}{n}", plan, answered, refused=fate == "r"), refusal)


PERSONS = [person("fir", fate, n) for n, fate in enumerate("alnnnn")]


CARDS = {card.provider: card for card in scorecards(WAYS, PERSONS, LATER)}
FOUND = {one.provider: one for one in participants(WAYS, [*PERSONS, person("ash", "r")], LATER)}


class TestAScorecard:
    def test_counts_what_agents_answered_and_holds_the_questions(self) -> None:
        ginkgo, birch = CARDS[provider("ginkgo")], CARDS[provider("birch")]
        assert (ginkgo.figure("asked").count, ginkgo.figure("answered").count) == (6, 6)
        assert birch.figure("not_found").facts == (str(uuid.UUID(int=2)),)

    def test_counts_a_dispute_on_both_sides(self) -> None:
        assert CARDS[provider("ginkgo")].figure("named_disputed").facts == (str(uuid.UUID(int=1)),)
        assert CARDS[provider("birch")].figure("denied").facts == (str(uuid.UUID(int=2)),)

    def test_tells_silence_and_refusal_apart(self) -> None:
        assert CARDS[provider("elm")].figure("silent").facts == (str(uuid.UUID(int=3)),)
        assert CARDS[provider("oak")].figure("refused").facts == (str(uuid.UUID(int=4)),)
        assert CARDS[provider("elm")].figure("refused").count == 0

    def test_does_not_count_a_provider_as_asked_that_has_no_agent(self) -> None:
        assert CARDS[provider("fir")].figure("asked").count == 0

    def test_counts_what_persons_answered_and_labels_by_stated_metrics(self) -> None:
        fir = CARDS[provider("fir")]
        counts = {name: fir.figure(name).count for name in FIGURES if name.startswith("persons")}
        assert counts == {
            "persons_asked": 6,
            "persons_answered": 2,
            "persons_late": 1,
            "persons_non_responsive": 4,
            "persons_waiting": 0,
        }
        assert fir.label.non_cooperative
        assert "unanswered share" in fir.label.reason
        assert not CARDS[provider("elm")].label.non_cooperative  # an agent that was down is no person who kept silent

    def test_says_how_long_answers_took(self) -> None:
        birch = CARDS[provider("birch")]
        assert (birch.latency.median, birch.latency.p95) == (10 * MS, 30 * MS)
        assert CARDS[provider("elm")].latency.median is None

    @settings(max_examples=60, deadline=None)
    @given(st.permutations(WAYS))
    def test_does_not_depend_on_the_order_of_the_chains(self, ways: Sequence[Way]) -> None:
        def counts(some: Sequence[Way]) -> list[list[int]]:
            return [[figure.count for figure in card.figures] for card in scorecards(some, PERSONS, LATER)]

        assert counts(ways) == counts(WAYS)


class TestTransparency:
    REPORT = transparency(WAYS, PERSONS, T, LATER, LATER)

    def part(self, name: str) -> dict[str, int]:
        [found] = [part for part in self.REPORT.parts if part.provider == name]
        return {key: getattr(found, key) for key in type(found).__dataclass_fields__ if key != "provider"}

    def test_says_who_did_what(self) -> None:
        nothing = dict.fromkeys(self.part("alder"), 0)
        assert self.part("alder") == nothing | {"originating": 1}
        assert self.part("yew") == nothing | {"gateway": 1}
        assert self.part("birch") == nothing | {"transit": 1, "disputed": 1}
        assert self.part("ginkgo") == nothing | {"terminating": 6, "disputed": 1}
        assert self.part("elm") == nothing | {"transit": 1, "non_responsive": 1}
        assert self.part("oak") == nothing | {"transit": 1, "refused": 1}
        assert self.part("fir") == nothing | {"transit": 1, "non_responsive": 4}

    def test_says_how_many_how_long_and_over_how_many_providers(self) -> None:
        report = self.REPORT
        assert (report.tracebacks, report.finished, report.mean_hops) == (6, 2, 2.5)
        assert report.to_completion.median == 500 * MS
        assert report.foreign == (("abroad", 1),)

    def test_of_a_provider_that_is_visited_twice_counts_the_call_once(self) -> None:
        twice = replace(ORIGIN, hops=(*ORIGIN.hops[:2], hop("ginkgo", UP), ORIGIN.hops[2]))
        [ginkgo] = [p for p in transparency([twice], [], T, LATER, LATER).parts if p.provider == "ginkgo"]
        assert (ginkgo.terminating, ginkgo.transit) == (1, 0)

    def test_of_nothing_is_empty(self) -> None:
        report = transparency([], [], T, LATER, LATER)
        assert (report.tracebacks, report.parts, report.mean_hops, report.to_completion.median) == (0, (), None, None)


class TestParticipantsAndRefusers:
    def test_are_told_apart_by_whether_they_ever_answered(self) -> None:
        taking_part = {name for name, one in FOUND.items() if one.takes_part}
        assert taking_part == {"ginkgo", "birch", "alder", "yew", "fir"}
        assert set(FOUND) - taking_part == {"elm", "oak", "ash"}

    def test_come_with_counts_and_reasons(self) -> None:
        assert FOUND[provider("oak")].reasons == (("refused: policy", 1),)
        assert FOUND[provider("ash")].reasons == (("refused: records_gap", 1),)
        assert FOUND[provider("elm")].reasons == (("timed_out", 1),)
        fir = FOUND[provider("fir")]
        assert (fir.asked, fir.answered, fir.reasons) == (6, 2, (("nobody_answered", 4),))

    def test_are_not_judged_by_questions_that_still_wait(self) -> None:
        assert participants([], [person("fir", "n")], T) == []


class TestSpread:
    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
    def test_names_durations_that_occurred_with_half_and_a_twentieth_above(self, ms: list[int]) -> None:
        found = spread(n * MS for n in ms)
        assert found.median is not None
        assert found.p95 is not None
        assert {found.median // MS, found.p95 // MS} <= set(ms)
        assert sum(n * MS <= found.median for n in ms) * 2 >= len(ms)
        assert sum(n * MS <= found.p95 for n in ms) * 100 >= 95 * len(ms)
        assert sum(n * MS > found.p95 for n in ms) * 20 <= len(ms)


class TestCells:
    @pytest.mark.parametrize("text", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
    def test_that_a_spreadsheet_would_run_are_text(self, text: str) -> None:
        assert safe_cell(text) == f"'{text}"

    @pytest.mark.parametrize(("value", "cell"), [("Birch", "Birch"), (None, ""), (-2, "-2"), (0.5, "0.5"), ("", "")])
    def test_of_other_kinds_stay_as_they_are(self, value: object, cell: str) -> None:
        assert safe_cell(value) == cell

    def test_of_a_row_are_as_many_as_the_header_names(self) -> None:
        for rows in (
            transparency_rows(TestTransparency.REPORT, NAMES),
            scorecard_rows(CARDS.values(), NAMES),
        ):
            assert {len(row) for row in rows} == {len(rows[0])}


class TestTheCommands:
    @pytest.fixture
    def house(self, sqlite_engine: Engine, tmp_path: Path) -> House:
        book = RegistryBook(sqlite_engine)
        book.apply(parse_change(provider("alder"), "add", '=HYPERLINK("x")'), "setup", T)
        for n, names in enumerate((("ginkgo", "birch", "alder"), ("oak", "alder"))):
            traced(sqlite_engine, call(n), *names, now=T + timedelta(hours=n))
        traced(sqlite_engine, call(9), "ginkgo", now=T + timedelta(days=60))
        desk = TaskDesk(sqlite_engine, OneOffice(), book)
        first = one_task(desk, sqlite_engine)
        desk.answer_signed_in(provider("elm"), first, UPSTREAM, "ann", T + timedelta(hours=3))
        return House(tmp_path)

    def test_report_a_quarter_as_json(self, house: House) -> None:
        found = house.json_of("report", "transparency", "--quarter", "2026Q3", "--format", "json")
        assert (found["tracebacks"], found["finished"], found["mean_hops"]) == (3, 2, 2.5)
        assert (found["since"], found["until"]) == ("2026-07-01T00:00:00.000Z", "2026-10-01T00:00:00.000Z")
        [alder] = [one for one in found["providers"] if one["provider"] == "alder"]
        assert (alder["originating"], alder["name"]) == (2, '=HYPERLINK("x")')

    def test_report_as_csv_that_no_spreadsheet_runs(self, house: House, tmp_path: Path) -> None:
        out = tmp_path / "out.csv"
        house.run("report", "transparency", "--quarter", "2026Q3", "--format", "csv", "--out", str(out))
        [alder] = [row for row in csv.DictReader(io.StringIO(out.read_text())) if row["provider"] == "alder"]
        assert alder["name"] == '\'=HYPERLINK("x")'
        assert not any(
            cell.startswith(("=", "+", "-", "@")) for row in csv.reader(io.StringIO(out.read_text())) for cell in row
        )

    def test_report_without_any_telephone_number(self, house: House) -> None:
        for command in ("transparency", "participants", "scorecard"):
            for form in ("table", "csv", "json"):
                assert CALLED[2:] not in house.run("report", command, "--format", form).output

    def test_give_the_facts_behind_a_providers_figures(self, house: House) -> None:
        [card] = house.json_of("report", "scorecard", "elm", "--quarter", "2026Q3", "--format", "json")
        assert card["figures"]["persons_answered"] == {"count": 1, "questions": [str(ASKED.task_id)]}
        assert {metric["name"] for metric in card["metrics"]} >= {"unanswered_share", "late_share"}
        assert "elm" in house.run("report", "scorecard", "elm").stdout

    def test_tell_participants(self, house: House) -> None:
        found = house.json_of("report", "participants", "--since", "2026-09-01", "--format", "json")
        assert [one["provider"] for one in found if one["takes_part"]] == ["alder", "birch", "elm", "ginkgo", "oak"]

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--quarter", "2026Q5"),
            ("--quarter", "2026Q3", "--since", "2026-01-01"),
            ("--since", "yesterday"),
            ("--since", "2026-07-01T00:00"),
            ("--since", "2026-07-02", "--until", "2026-07-01"),
        ],
    )
    def test_refuse_a_period_that_is_none(self, house: House, arguments: tuple[str, ...]) -> None:
        house.run("report", "transparency", *arguments, code=2)


def one_task(desk: TaskDesk, engine: Engine) -> uuid.UUID:
    """A task of a traceback that is there."""
    identity = traced(engine, call(77), "ginkgo", "elm", status=Status.NO_AGENT, now=T + timedelta(hours=2))
    return desk.ask(replace(ASKED, traceback_id=identity), datetime(2026, 9, 1, 15, 0, tzinfo=UTC))
