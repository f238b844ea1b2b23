"""Watching: a terminal shows the chain growing, a pipe gets one plain line a hop, JSON is disturbed by nothing."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from rich.console import Console

from coordinator.present.chains import lasted
from coordinator.present.live import ChainLines, GrowingChain, Silent
from coordinator.tracing.chain import Traceback
from coordinator.tracing.events import Answered, RetryDue, Started, TimedOut
from coordinator.tracing.traceback import advance
from protos.types import Outcome
from tests.coordinator.make import CALLED, NOW, says, submitted, upstream


def story() -> list[Traceback]:
    """A chain of two hops; the second provider is slow at first."""
    steps = [advance(submitted(), Started(NOW))[0]]

    def then(event: object) -> None:
        steps.append(advance(steps[-1], event)[0])  # type: ignore[arg-type]

    then(Answered(steps[-1].hops[-1].question.question_id, upstream("ginkgo", "birch"), NOW))
    then(TimedOut(steps[-1].hops[-1].question.question_id, NOW))
    then(RetryDue(NOW.replace(second=5)))
    then(Answered(steps[-1].hops[-1].question.question_id, says("birch", Outcome.ORIGINATED_HERE), NOW))
    return steps


def test_a_pipe_gets_one_line_for_every_hop_that_ended_and_for_every_failed_attempt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watcher = ChainLines()
    for step in story():
        watcher.changed(step)
    lines = capsys.readouterr().out.splitlines()
    assert ["came from birch" in lines[0], "no answer in time" in lines[1], "placed by" in lines[2]] == [True] * 3
    assert len(lines) == 3


def test_a_terminal_shows_every_state_of_the_chain_without_its_number() -> None:
    screen = io.StringIO()
    with GrowingChain(Console(file=screen, force_terminal=True, width=100), show_numbers=False) as watcher:
        for step in story():
            watcher.changed(step)
    shown = screen.getvalue()
    assert shown.index("asking ...") < shown.index("came from birch") < shown.index("placed by a customer")
    assert CALLED[1:] not in shown


def test_a_traceback_that_another_process_took_over_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    ChainLines().lost(submitted())
    assert "Another process" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 ms"),
        (0.0247, "24.7 ms"),
        (0.298, "298 ms"),
        (2.2, "2.2 s"),
        (206.42067, "206 s"),
        (2160, "36 min"),
        (19_080, "5.3 h"),
        (181_440, "2.1 days"),
        (10**9, "11,574 days"),
    ],
)
def test_durations_are_told_as_people_say_them(seconds: float, said: str) -> None:
    assert lasted(timedelta(seconds=seconds)) == said


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    Silent().changed(submitted())
    Silent().lost(submitted())
    assert capsys.readouterr().out == ""
