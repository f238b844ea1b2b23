"""The desk refuses before it reads, answers what the records say, and keeps what led to it for the operator."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.explain import disclosed, explanation, in_words
from agent.index.coverage import Coverage, CoverageState
from agent.index.errors import IndexUnusableError
from agent.journal import Journal
from agent.legs import Leg
from agent.service import expected_coverage
from protos.e164 import E164
from protos.identity import ProviderId
from protos.types import Answer, Handover, Outcome, Question, RefusalReason
from tests.agent.provider import (
    ALDER,
    CALL_TIME,
    CALLED,
    CALLING,
    CEDAR,
    COVERAGE,
    COVERED,
    LEG,
    NOW,
    OTHER,
    UNREADABLE,
    FakeRecords,
    desk,
    question,
    some_records,
)

MS = timedelta(milliseconds=1)


class TestWhatIsAnswered:
    def test_names_the_upstream_of_a_call_that_ended_here(self) -> None:
        answer = desk(some_records()).consult(question()).answer
        assert (answer.outcome, answer.upstream) == (Outcome.UPSTREAM, ALDER)

    def test_confirms_the_handover_to_the_one_that_named_us_and_keeps_the_customer_secret(self) -> None:
        answer = desk(some_records()).consult(question(called=OTHER, named_by=CEDAR)).answer
        assert (answer.outcome, answer.upstream) == (Outcome.ORIGINATED_HERE, None)
        assert answer.handover is Handover.CONFIRMED

    def test_says_not_found_only_where_records_cover_the_time(self) -> None:
        absent = question(called=CALLING)
        assert desk(some_records()).consult(absent).answer.outcome is Outcome.NOT_FOUND
        uncovered = desk(FakeRecords({}, Coverage(()))).consult(absent).answer
        assert (uncovered.outcome, uncovered.refusal) == (Outcome.REFUSED, RefusalReason.RECORDS_GAP)

    def test_the_edge_of_the_window_does_not_tear_a_calls_rows_apart(self) -> None:
        later = CALL_TIME + timedelta(seconds=65)
        redial = LEG._replace(ingress_trunk="IN-CUSTOMER", call_ref=0xDEF, earliest=later, latest=later, row=8)
        its_reply = redial._replace(earliest=later - timedelta(seconds=120), latest=later + timedelta(seconds=9), row=9)
        answer = desk(FakeRecords({CALLED: [LEG, redial, its_reply]})).consult(question()).answer
        assert (answer.outcome, answer.upstream) == (Outcome.UPSTREAM, ALDER)

    def test_many_questions_get_the_answers_that_each_gets_alone(self) -> None:
        asked = [
            question(),
            question(called=OTHER, named_by=CEDAR),
            question(named_by=ProviderId("stranger")),
            question(called=CALLING),
        ]
        alone = [desk(some_records()).consult(q).answer for q in asked]
        assert [c.answer for c in desk(some_records()).consult_many(asked)] == alone

    def test_records_that_cannot_be_read_are_never_an_answer(self) -> None:
        broken = FakeRecords({}, broken=UNREADABLE)
        with pytest.raises(IndexUnusableError):
            desk(broken).consult(question())


REFUSED = [
    (question(deadline=NOW - MS), RefusalReason.DEADLINE_PASSED),
    (question(window=timedelta(seconds=120) + MS), RefusalReason.WINDOW_TOO_WIDE),
    (question(at=NOW + timedelta(seconds=5) + MS), RefusalReason.TIME_IN_FUTURE),
    (question(named_by=ProviderId("stranger")), RefusalReason.UNKNOWN_PROVIDER),
]


@pytest.mark.parametrize(("asked", "reason"), REFUSED, ids=lambda value: getattr(value, "name", ""))
def test_a_question_is_refused_before_any_record_is_read(asked: Question, reason: RefusalReason) -> None:
    records = some_records()
    answer = desk(records).consult(asked).answer
    assert (answer.outcome, answer.refusal) == (Outcome.REFUSED, reason)
    assert records.reads == 0


@pytest.mark.parametrize(
    "asked",
    [
        question(deadline=NOW),
        question(window=timedelta(seconds=120)),
        question(at=NOW + timedelta(seconds=5)),
        question(named_by=CEDAR),
    ],
)
def test_a_question_at_the_very_limit_is_searched(asked: Question) -> None:
    records = some_records()
    desk(records).consult(asked)
    assert records.reads > 0


class TestWhatAnAbsenceMeans:
    def test_a_configured_source_that_was_never_indexed_leaves_everything_open(self) -> None:
        both = expected_coverage(COVERAGE, frozenset({"acc", "other-switch"}))
        assert both.state(CALL_TIME, CALL_TIME, NOW, timedelta(days=548)) is CoverageState.NOT_YET

    def test_a_source_that_is_no_longer_configured_holds_nothing_up(self) -> None:
        retired = replace(COVERED, source="retired", watermark=NOW - timedelta(days=50))
        left = expected_coverage(Coverage((COVERED, retired)), frozenset({"acc"}))
        assert left.state(CALL_TIME, CALL_TIME, NOW, timedelta(days=548)) is CoverageState.COVERED

    def test_records_that_arrive_during_the_search_do_not_make_it_an_absence(self) -> None:
        class Arriving(FakeRecords):
            def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> list[Leg]:
                found = super().find(called, calling, earliest, latest)
                self.covers = COVERAGE
                return found

        answer = desk(Arriving({}, Coverage(()))).consult(question()).answer
        assert answer.outcome is not Outcome.NOT_FOUND

    def test_without_configured_sources_whatever_is_indexed_counts(self) -> None:
        assert expected_coverage(COVERAGE, frozenset()) == COVERAGE


class TestAnExplanation:
    def test_says_which_record_was_taken_which_not_and_why(self) -> None:
        another = LEG._replace(call_ref=1, row=9)
        records = FakeRecords({CALLED: [LEG, another]})
        told = explanation(desk(records).consult(question()), NOW)
        assert told["verdict"] == "found"
        assert told["came_from"] == "provider:alder"
        assert {call["records"][0]["row"] for call in told["calls"]} == {7, 9}
        assert all(call["why"] for call in told["calls"])

    def test_names_calls_by_pseudonym_and_holds_no_number(self) -> None:
        asked = question(calling=CALLING)
        text = json.dumps(explanation(desk(some_records()).consult(asked), NOW))
        assert "0000000000000abc" in text
        assert "202555" not in text

    def test_of_a_refusal_says_that_nothing_was_read(self) -> None:
        told = explanation(desk(some_records()).consult(question(named_by=ProviderId("stranger"))), NOW)
        assert "calls" not in told
        assert "no trunk leads to" in told["in_words"]

    def test_lists_exactly_what_leaves(self) -> None:
        answer = desk(some_records()).consult(question()).answer
        assert disclosed(answer) == {"provider": "birch", "outcome": "UPSTREAM", "upstream": "alder"}

    @pytest.mark.parametrize("outcome", [o for o in Outcome if "UPSTREAM" not in o.name])
    def test_has_words_for_every_outcome(self, outcome: Outcome) -> None:
        assert in_words(Answer(ALDER, outcome))


class TestTheJournal:
    def test_keeps_one_line_a_question_for_the_operator_alone(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "kept")
        here = desk(some_records())
        journal.keep([here.consult(question())], NOW)
        journal.keep(here.consult_many([question(), question(called=OTHER)]), NOW)
        (file,) = (tmp_path / "kept").iterdir()
        assert file.name == "explanations-2026-11-22.jsonl"
        assert file.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert [line["disclosed"]["outcome"] for line in lines] == ["UPSTREAM"] * 2 + ["ORIGINATED_HERE"]
        assert "202555" not in file.read_text()

    def test_says_so_when_it_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "kept").write_text("a file where a directory should be")
        with pytest.raises(OSError, match="exists"):
            Journal(tmp_path / "kept")
