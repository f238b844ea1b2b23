"""What people hand in: exact numbers, times with a zone, known providers; everything else is refused in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.ordering.intake import (
    CallsFileError,
    Intake,
    IntakeError,
    RejectedCall,
    parse_duration,
    parse_time,
    parse_window,
    read_calls,
)
from coordinator.registry import RegistrySnapshot
from coordinator.tracing.chain import Call
from coordinator.tracing.ports import Provider
from tests.coordinator.make import CALLED, CALLING, NOW, T0, provider

INTAKE = Intake(RegistrySnapshot([Provider(provider("ginkgo"), "Ginkgo")]), NOW)
GOOD = {"called": CALLED, "at": "2026-11-20T18:03:11Z", "terminating": "ginkgo"}


class TestACall:
    def test_needs_called_number_time_and_terminating_provider(self) -> None:
        assert INTAKE.call(GOOD) == Call(CALLED, T0, provider("ginkgo"))

    def test_may_have_a_calling_number_and_a_window(self) -> None:
        call = INTAKE.call({**GOOD, "calling": CALLING, "window": "5m"})
        assert (call.calling, call.window) == (CALLING, timedelta(minutes=5))

    def test_is_refused_with_everything_that_is_wrong(self) -> None:
        with pytest.raises(IntakeError) as caught:
            INTAKE.call({"called": "12025550143", "at": "yesterday", "calling": "x", "window": "1y"})
        assert [problem.split(":")[0] for problem in caught.value.problems] == [
            *("called", "at", "terminating", "calling", "window")
        ]

    @settings(max_examples=100, deadline=None)
    @given(st.dictionaries(st.sampled_from(["called", "at", "terminating", "calling", "window"]), st.text(max_size=40)))
    def test_of_any_text_is_refused_without_its_numbers_being_repeated(self, fields: dict[str, str]) -> None:
        secret = "2025550143"  # a synthetic number that people might put anywhere
        with pytest.raises(IntakeError) as caught:
            INTAKE.call({key: f"{value}{secret}" for key, value in fields.items()})
        assert all(secret not in problem for problem in caught.value.problems)


class TestATime:
    @pytest.mark.parametrize(
        "text", ["2026-11-20T18:03:11Z", "2026-11-20 18:03:11+00:00", "2026-11-20T13:03:11-05:00", "20261120T180311Z"]
    )
    def test_is_taken_with_any_zone_and_becomes_utc(self, text: str) -> None:
        assert parse_time(text, NOW) == T0
        assert parse_time(text, NOW).tzinfo is UTC

    def test_is_cut_to_whole_milliseconds(self) -> None:
        assert parse_time("2026-11-20T18:03:11.123987Z", NOW) == T0 + timedelta(milliseconds=123)

    def test_may_be_now_but_not_later(self) -> None:
        assert parse_time(NOW.isoformat(), NOW) == NOW
        with pytest.raises(ValueError, match="future"):
            parse_time((NOW + timedelta(seconds=1)).isoformat(), NOW)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("2026-11-20T18:03:11", "no zone"),
            ("2026-11-20", "no zone"),
            ("1999-12-31T23:59:59Z", "before 2000"),
            ("0001-01-01T00:00:00+23:59", "not a time"),
            ("2026-02-30T00:00:00Z", "not a time"),
            ("1795284191", "not a time"),
            ("", "not a time"),
        ],
    )
    def test_is_refused_rather_than_guessed(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            parse_time(text, NOW)


class TestADuration:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("60s", 60), ("0.5s", 0.5), ("500ms", 0.5), ("5m", 300), ("24h", 86400), ("2d", 172800)]
    )
    def test_has_a_unit(self, text: str, seconds: float) -> None:
        assert parse_duration(text) == timedelta(seconds=seconds)

    @pytest.mark.parametrize("text", ["60", "s", "-5s", "1e9s", "5 s", "5min", "", "９s"])
    def test_is_refused_otherwise(self, text: str) -> None:
        with pytest.raises(ValueError, match="no duration"):
            parse_duration(text)

    @pytest.mark.parametrize(("text", "why"), [("301s", "wider"), ("0s", "empty"), ("1d", "wider")])
    def test_is_no_window_beyond_the_protocols_cap_or_of_no_width(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            parse_window(text)


class TestAFileOfCalls:
    def test_yields_every_call_with_its_line(self) -> None:
        text = f"at,called,terminating\n{GOOD['at']},{CALLED},ginkgo\n\n{GOOD['at']},{CALLED},ginkgo\n"
        assert [row[0] for row in read_calls(text, INTAKE) if not isinstance(row, RejectedCall)] == [2, 4]

    def test_takes_cells_with_blanks_around_them(self) -> None:
        text = f"Called, At , Terminating\n {CALLED} , {GOOD['at']} , ginkgo \n"
        assert list(read_calls(text, INTAKE)) == [(2, Call(CALLED, T0, provider("ginkgo")))]

    def test_is_refused_when_a_column_is_missing_or_unknown(self) -> None:
        for header in ("called,at", "called,at,terminating,callling"):
            with pytest.raises(CallsFileError):
                list(read_calls(header + "\n", INTAKE))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.text(alphabet='ab1,+:"\n\r \x00', max_size=30), max_size=8))
    def test_of_any_content_accounts_for_every_row_or_is_refused(self, rows: list[str]) -> None:
        text = "called,at,terminating\n" + "\n".join(rows)
        try:
            outcomes = list(read_calls(text, INTAKE))
        except CallsFileError:
            return
        assert all(isinstance(outcome, RejectedCall) and outcome.problems for outcome in outcomes)


def test_the_present_time_is_passed_in_not_read() -> None:
    past = Intake(INTAKE.registry, datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(IntakeError, match="future"):
        past.call(GOOD)
