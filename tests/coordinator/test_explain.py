"""Plain words: every status has a sentence on what it means and one on what to do; none holds a telephone number."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from coordinator.present.chains import hop_line, outcome_words, status_lines, traceback_json, whole
from coordinator.present.explain import TITLES, explain
from coordinator.tracing.chain import Hop, Problem, Status, Traceback
from coordinator.tracing.events import Started
from coordinator.tracing.traceback import advance
from protos.types import Answer, Handover, Outcome, RefusalReason
from tests.coordinator.make import CALLED, NOW, TOLL_FREE, provider, says, submitted, upstream


def ended(status: Status, answer: Answer | None = None, problem: Problem | None = None) -> Traceback:
    """A traceback of two hops that stands at `status`."""
    first, _ = advance(submitted(), Started(NOW))
    question = first.hops[0].question
    named = replace(question, target=provider("birch"), named_by=provider("ginkgo"))
    hops = (
        Hop(question, NOW, ended=NOW, answer=upstream("ginkgo", "birch", ask_called=TOLL_FREE)),
        Hop(named, NOW, ended=NOW, answer=answer, problem=problem, detail="what went wrong" if problem else ""),
    )
    return Traceback(first.id, first.call, hops, status, NOW if status is Status.NOT_YET_AVAILABLE else None)


def render(traceback: Traceback, *, show_numbers: bool = False) -> str:
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(whole(traceback, show_numbers=show_numbers))
    return captured.get()


@pytest.mark.parametrize("status", Status)
def test_every_status_says_what_it_means_and_what_to_do_next(status: Status) -> None:
    outcome = Outcome.FOREIGN_UPSTREAM if status is Status.GATEWAY_FOUND else Outcome.NOT_FOUND
    names_upstream = status in (Status.LOOP, Status.HOP_LIMIT, Status.WINDOW_SPENT)
    words = explain(ended(status, upstream("birch", "oak") if names_upstream else says("birch", outcome)))
    assert words.title == TITLES[status]
    for sentence in (words.means, words.next):
        assert sentence.endswith(".")
        assert "None" not in sentence
        assert "{" not in sentence


@pytest.mark.parametrize("handover", [Handover.CONFIRMED, Handover.UNSPECIFIED])
def test_two_providers_are_said_to_agree_on_a_handover_only_where_both_say_so(handover: Handover) -> None:
    answer = says("birch", Outcome.ORIGINATED_HERE, handover=handover)
    agree = "ginkgo and birch agree" in explain(ended(Status.ORIGIN_FOUND, answer)).means
    assert agree == (handover is Handover.CONFIRMED)


def test_people_who_hold_their_agents_answer_are_not_said_to_have_no_agent() -> None:
    held = explain(ended(Status.AWAITING_PERSON, says("birch", Outcome.NEEDS_HUMAN)))
    assert "The agent of birch holds the answer" in held.means
    assert "no agent" in explain(ended(Status.AWAITING_PERSON, problem=Problem.NO_AGENT)).means


def test_an_upstream_that_is_not_recorded_is_no_hole_in_the_trunk_map() -> None:
    not_recorded = explain(ended(Status.UNMAPPED, says("birch", Outcome.NOT_RECORDED)))
    assert "upstream is not recorded" in not_recorded.means
    assert "trunk map" not in not_recorded.next
    assert "trunk map" in explain(ended(Status.UNMAPPED, says("birch", Outcome.UNMAPPED))).next


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_refusal_is_explained_by_its_reason(reason: RefusalReason) -> None:
    words = explain(ended(Status.REFUSED, Answer(provider("birch"), Outcome.REFUSED, refusal=reason)))
    assert "birch" in words.means
    assert "{" not in words.means + words.next


@pytest.mark.parametrize("status", [status for status in Status if status.reopenable])
def test_a_status_that_can_be_reopened_names_the_command_or_whom_to_ask(status: Status) -> None:
    assert re.search(r"retry|Ask", explain(ended(status, problem=Problem.NO_AGENT)).next)


def test_a_dispute_tells_a_denial_from_an_empty_search_and_names_both_sides() -> None:
    denial = upstream("birch", "oak", handover=Handover.NOT_MINE)
    assert "birch denies having handed it to ginkgo" in explain(ended(Status.DISPUTED, denial)).means
    empty = explain(ended(Status.DISPUTED, says("birch", Outcome.NOT_FOUND))).means
    assert "ginkgo says that the call came from birch; birch finds no such call" in empty


@pytest.mark.parametrize("problem", Problem)
def test_every_problem_of_a_hop_has_words(problem: Problem) -> None:
    traceback = ended(Status.NON_RESPONSIVE, problem=problem)
    assert outcome_words(traceback.hops[1]) in hop_line(traceback, 1)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_of_a_hop_has_words(outcome: Outcome) -> None:
    answer = upstream("birch", "alder") if outcome is Outcome.UPSTREAM else says("birch", outcome)
    assert outcome_words(ended(Status.ASKING, answer).hops[1])


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(list(Status)), st.sampled_from([*Outcome, None]), st.sampled_from([*Problem, None]))
def test_no_number_is_shown_unless_asked_for_and_all_of_it_in_json(
    status: Status, outcome: Outcome | None, problem: Problem | None
) -> None:
    if outcome is Outcome.UPSTREAM:
        answer: Answer | None = upstream("birch", "alder", ask_called=TOLL_FREE)
    else:
        answer = says("birch", outcome) if outcome else None
    traceback = ended(status, answer, problem)
    shown = render(traceback) + "\n".join(status_lines(traceback)) + hop_line(traceback, 0) + hop_line(traceback, 1)
    for number in (CALLED, TOLL_FREE):
        assert number[1:] not in shown
    assert CALLED in render(traceback, show_numbers=True)
    assert traceback_json(traceback)["called"] == CALLED


def test_a_table_fits_into_a_hundred_columns_whatever_the_names() -> None:
    long = "a" * 63
    answer = upstream("birch", long, correction_s=-300, handover=Handover.CONFIRMED)
    assert max(len(line.rstrip()) for line in render(ended(Status.LOOP, answer), show_numbers=True).splitlines()) <= 100


def test_text_of_others_is_never_taken_as_markup() -> None:
    traceback = ended(Status.BAD_ANSWER, problem=Problem.BAD_ANSWER)
    hop = replace(traceback.hops[1], detail="[bold]not[/bold] [link=https://example.invalid]me[/link]")
    assert "[bold]not[/bold]" in render(replace(traceback, hops=(traceback.hops[0], hop)))
