"""Whose turn it is on a task, until when, and by which command it goes on: what analysts are told. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from coordinator.tasks.task import Kind, State, Task


@dataclass(frozen=True, slots=True)
class Turn:
    """Who has to do something now, in words, and how.

    Attributes:
        whose: provider, operator, approver, coordinator or nobody. Values are stable: they are shown in JSON.
        words: the same in a sentence, with the time where there is one; no full stop.
        next: what to do, empty where there is nothing.
    """

    whose: str
    words: str
    next: str


def turn_of(task: Task, now: datetime, untold: str = "") -> Turn:
    """Whose turn it is at `now`; `untold` is why nobody at the provider is written to, empty where somebody is."""
    command, short = "`hopback-coordinator tasks", str(task.id)[:8]
    match task.state:
        case State.OPEN | State.GIVEN_UP:
            return Turn("provider", _clock(task, now), _answering(task, untold))
        case State.MATCHING:
            return Turn(
                "operator",
                f"answered; an operator is to say who {task.upstream_name!r} is",
                f"{command} match {short} PROVIDER`; {command} show {short}` suggests whom.",
            )
        case State.ANSWERED if task.to_attest:
            return Turn(
                "approver",
                "answered; an approver, not the submitter, is to attest it before its order ends",
                f"{command} attest {short} --key KEY`; then the chain goes on.",
            )
        case State.ANSWERED if not task.taken:
            return Turn(
                "coordinator",
                "answered; its chain is to take it",
                "`run` and `serve` do that by themselves within seconds; without them "
                f"{command} run`, then `hopback-coordinator resume {str(task.asked.traceback_id)[:8]}`.",
            )
        case _:
            return Turn("nobody", task.state.value, "")


def _clock(task: Task, now: datetime) -> str:
    plan, provider = task.plan, task.asked.provider
    if task.state is State.GIVEN_UP or now > plan.gives_up:
        return f"{provider} is non-responsive since {plan.gives_up:%Y-%m-%d %H:%M} UTC; a late answer still counts"
    if now > plan.due:
        return (
            f"{provider} is overdue since {plan.due:%Y-%m-%d %H:%M} UTC, given up at {plan.gives_up:%Y-%m-%d %H:%M} UTC"
        )
    return f"{provider} has until {plan.due:%Y-%m-%d %H:%M} UTC to answer"


def _answering(task: Task, untold: str) -> str:
    if task.asked.kind is Kind.REVIEW:
        how = "Its own people let the answer go (`hopback-agent review`); `run` and `serve` ask for it again."
    else:
        handover = " --handover confirmed" if task.asked.named_by else ""
        how = (
            f"What it says by telephone: `hopback-coordinator tasks answer {str(task.id)[:8]} --outcome upstream "
            f"--upstream PROVIDER{handover}` (`--help` has what else it may say)."
        )
    return f"{how} Nobody there is written to: {untold}." if untold else how
