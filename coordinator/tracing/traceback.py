"""The state machine of one traceback: `advance(traceback, event) -> (traceback, commands)`.

The theory. A traceback is a chain of hops. Each hop is one question to one provider ("who handed you this call?"), and
its answer either names the next provider to ask, or ends the chain, or asks for patience. Everything that affects what
happens next is in `Traceback`; whatever happens in the world reaches the machine as an `Event` that carries its own
time; whatever the machine wants from the world is a `Command`. There is no clock, no network, no store and no chance in
here: question ids derive from what is asked, so that a machine that is run again asks the same by the same ids.

A traceback is in one of five phases, a function of its status:

    SUBMITTED --Started--> ASKING --Answered(UPSTREAM)--> ASKING (the next hop)
                             |  ^---Answered(NOT_YET_AVAILABLE), Unreachable, TimedOut, Silent---> WAITING
                             |                                              WAITING --RetryDue, AgentBack--> ASKING
                             +--any other answer, NoAgent, BadAnswer, Declined, patience exhausted---> CLOSED
    CLOSED --Reopened--> ASKING   (only where asking the last provider again can help)
    CLOSED --SistersKnown--> ASKING   (only where it is ambiguous)
    CLOSED, PERSON --Contested--> ASKING   (the provider whose record was given for two calls)
    CLOSED --LeftToPerson--> PERSON   (where no agent answers) --PersonAnswered--> as Answered, also late, when CLOSED
                             PERSON --GivenUp, Unattested--> CLOSED

At most one question is open, always the last hop's. An event about any other question is stale (a late or repeated
message) and changes nothing; so does an event that the phase has no use for. Therefore `advance` is total: it never
raises, and repeating an event is harmless. `Started` is also how a traceback is taken up again after a restart: the
open question is asked once more with the same id and bytes, or anew when its deadline has passed.

What is never inferred: a provider that was named and knows nothing of the call is not "not found", it is a dispute; an
answer that denies the handover ends its branch whatever else it says; a question that was already asked is a loop.

A dispute is looked into before it stands: the provider that named the one who denies is asked once more, by a question
with an id of its own, since it may have answered from records that were not complete. Where it names another now, or
the call as its own, the chain goes on from there; where it names the same, that one is asked again, too; where neither
has anything new to say, the traceback closes as disputed. Nobody is asked for a second look twice at one place, and
what was answered on the first branch stays (`tracing.chain.standing`). Where no agent can be asked once more, a
person is; who stays silent keeps to what was said, and a late answer still counts.

A provider that found several calls is asked once more, too, when sister calls are known that are certainly not the one
meant (`tracing.elimination`): at the same place, by a question with an id of its own that names them. Where nothing
comes of that, the traceback is as ambiguous as before.

A provider that gave one record for two calls (`tracing.contests`) is asked once more as well, from wherever the
chain has come to, and once more when it has said something else of the other call. The chain goes on only if its answer
is of another record than that one; else it ends there, ambiguous.

Disputes, too, are: a provider that names itself, one that says it has no trunk to its neighbour that named it, and one
that claims to have originated a call although it is registered as one that originates none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from coordinator.tracing.chain import (
    Hop,
    Phase,
    Problem,
    Status,
    Traceback,
    denies,
    eliminates,
    is_contested,
    is_second_look,
    place_after,
    places,
    standing,
)
from coordinator.tracing.contests import given_for_another, may_be_asked_again, may_be_contested
from coordinator.tracing.elimination import may_be_asked
from coordinator.tracing.events import (
    AgentBack,
    AgentSilent,
    AgentUnreachable,
    Answered,
    Ask,
    BadAnswer,
    Cancelled,
    Command,
    Contested,
    Declined,
    Event,
    Finish,
    GivenUp,
    LeftToPerson,
    NoAgent,
    PersonAnswered,
    Reopened,
    RetryDue,
    SistersKnown,
    Started,
    TimedOut,
    Unattested,
    WaitUntil,
)
from coordinator.tracing.patience import DEFAULT_PATIENCE, Patience
from coordinator.tracing.questions import (
    Draft,
    expired,
    first_draft,
    question_of,
    same_draft,
    same_instance,
    upstream_draft,
)
from coordinator.tracing.signed import SignedAnswer
from protos.types import Answer, Outcome, Question

UNATTESTED = "a person there answered, and no approver attested it in time"
"""What a hop says whose order ended before an approver had attested the answer."""

Step = tuple[Traceback, tuple[Command, ...]]


def advance(traceback: Traceback, event: Event, patience: Patience = DEFAULT_PATIENCE) -> Step:
    """The traceback after `event`, and what to do now; an event that doesn't fit changes nothing and wants nothing."""
    handler = TRANSITIONS.get((traceback.status.phase, type(event)))
    if handler is None:
        return traceback, ()
    question_id = getattr(event, "question_id", None)
    if question_id is not None and question_id != traceback.hops[-1].question.question_id:
        return traceback, ()
    return handler(traceback, event, patience)


# What an answer leads to, as the terminating provider's and as a named upstream's; None: ask the upstream that it
# names. NOT_YET_AVAILABLE alone leads into phase WAITING.
AFTER: Mapping[Outcome, tuple[Status | None, Status | None]] = {
    Outcome.UPSTREAM: (None, None),
    Outcome.ORIGINATED_HERE: (Status.ORIGIN_FOUND, Status.ORIGIN_FOUND),
    Outcome.FOREIGN_UPSTREAM: (Status.GATEWAY_FOUND, Status.GATEWAY_FOUND),
    Outcome.NOT_FOUND: (Status.NOT_FOUND, Status.DISPUTED),
    Outcome.RECORDS_EXPIRED: (Status.RECORDS_EXPIRED, Status.RECORDS_EXPIRED),
    Outcome.NOT_YET_AVAILABLE: (Status.NOT_YET_AVAILABLE, Status.NOT_YET_AVAILABLE),
    Outcome.AMBIGUOUS: (Status.AMBIGUOUS, Status.AMBIGUOUS),
    Outcome.UNMAPPED: (Status.UNMAPPED, Status.UNMAPPED),
    Outcome.NOT_RECORDED: (Status.UNMAPPED, Status.UNMAPPED),
    Outcome.NEEDS_HUMAN: (Status.NEEDS_HUMAN, Status.NEEDS_HUMAN),
    Outcome.REFUSED: (Status.REFUSED, Status.REFUSED),
}


# Outcomes that make the provider the source of the call, and what a provider that is none says by them.
_NO_SOURCE: Mapping[Outcome, str] = {
    Outcome.ORIGINATED_HERE: "claims to have originated the call, but is registered as one that originates none",
    Outcome.FOREIGN_UPSTREAM: "claims to be the gateway, but is registered as one that brings in no calls",
}


# What a second look may end with and change nothing.
_UNRESOLVED = frozenset(
    {
        Status.NOT_FOUND,
        Status.RECORDS_EXPIRED,
        Status.AMBIGUOUS,
        Status.UNMAPPED,
        Status.NO_AGENT,
        Status.REFUSED,
        Status.NON_RESPONSIVE,
        Status.BAD_ANSWER,
        Status.ORDER_EXPIRED,
    }
)


def _ask(traceback: Traceback, hop: Hop, *, position: int) -> Step:
    """Put the question of `hop`, which becomes the last one."""
    hops = (*traceback.hops[:position], hop)
    return Traceback(traceback.id, traceback.call, hops, Status.ASKING), (Ask(hop.question),)


def _ask_new(traceback: Traceback, draft: Draft, at: datetime, patience: Patience) -> Step:
    """Append a hop that was not asked before.

    It inherits the life of the hop before it while that leaves time enough. A step that is taken again after a crash, a
    little later, therefore leads to the very same question.
    """
    if expired(traceback.call, at):
        return _close(traceback, Status.ORDER_EXPIRED)
    position = len(traceback.hops)
    issued, deadline = at, at + patience.question_lifetime
    if traceback.hops:
        before = traceback.hops[-1].question
        if before.deadline - at >= patience.question_lifetime / 2:
            deadline = before.deadline
            issued = before.authority.issued if before.authority else at
    question = question_of(traceback, position, 1, draft, issued, deadline)
    return _ask(traceback, Hop(question=question, asked=at, contest=draft.contest), position=position)


def _ask_anew(
    traceback: Traceback, at: datetime, patience: Patience, *, failures: int = 0, silent_since: datetime | None = None
) -> Step:
    """Ask the last hop in a new round: another question id, another life, the same question otherwise."""
    if expired(traceback.call, at):
        return _close(traceback, Status.ORDER_EXPIRED)
    position = len(traceback.hops) - 1
    last = traceback.hops[position]
    draft, deadline = same_draft(last.question), at + patience.question_lifetime
    draft.contest = last.contest
    question = question_of(traceback, position, last.round + 1, draft, at, deadline)
    return _ask(
        traceback,
        Hop(
            question=question,
            asked=at,
            round=last.round + 1,
            failures=failures,
            silent_since=silent_since,
            contest=last.contest,
        ),
        position=position,
    )


def _ask_still(traceback: Traceback, at: datetime, patience: Patience) -> Step:
    """Ask the last hop's question again while it lives, with the same id and bytes; else in a new round."""
    last = traceback.hops[-1]
    if at >= last.question.deadline:
        return _ask_anew(traceback, at, patience, failures=last.failures, silent_since=last.silent_since)
    again = replace(last, ended=None, problem=None, detail="")
    return _ask(traceback, again, position=len(traceback.hops) - 1)


def _with_last(traceback: Traceback, **changes: Any) -> Traceback:
    return replace(traceback, hops=(*traceback.hops[:-1], replace(traceback.hops[-1], **changes)))


def _close(traceback: Traceback, status: Status) -> Step:
    """Nothing more is asked; where another look leads nowhere, it is as disputed, or ambiguous, as before."""
    if status in _UNRESOLVED and traceback.hops:
        if is_second_look(traceback.hops, len(traceback.hops) - 1):
            to_a_person = status is Status.NO_AGENT and traceback.hops[-1].problem is Problem.NO_AGENT
            status = Status.NO_AGENT if to_a_person else Status.DISPUTED
        elif _asks_once_more(traceback.hops[-1]) and status is not Status.UNMAPPED:
            status = Status.AMBIGUOUS
    return replace(traceback, status=status, due=None), (Finish(status),)


def _asks_once_more(hop: Hop) -> bool:
    """Whether it is asked of a provider whose answer was ambiguous, or is contested."""
    return eliminates(hop.question) or hop.contest is not None


def _wait(traceback: Traceback, status: Status, until: datetime) -> Step:
    return replace(traceback, status=status, due=until), (WaitUntil(until),)


def _on_first_start(traceback: Traceback, event: Started, patience: Patience) -> Step:
    return _ask_new(traceback, first_draft(traceback.call), event.at, patience)


def _on_restart_asking(traceback: Traceback, event: Started, patience: Patience) -> Step:
    return _ask_still(traceback, event.at, patience)


def _on_restart_waiting(traceback: Traceback, event: Started, patience: Patience) -> Step:
    del patience
    return traceback, (WaitUntil(traceback.due or event.at),)


def _on_answer(traceback: Traceback, event: Answered, patience: Patience) -> Step:
    answer, question = event.answer, traceback.hops[-1].question
    if answer.provider != question.target:
        return _on_bad_answer(
            traceback, BadAnswer(event.question_id, event.at, "answers for another provider"), patience
        )
    if question.authority is not None and not isinstance(answer, SignedAnswer):
        return _on_bad_answer(traceback, BadAnswer(event.question_id, event.at, "is not signed"), patience)
    return _after_answer(traceback, event, patience)


def _after_answer(traceback: Traceback, event: Answered, patience: Patience) -> Step:
    """What follows from an answer that counts."""
    answer, question = event.answer, traceback.hops[-1].question
    last = traceback.hops[-1]
    last = Hop(
        question=question,
        asked=last.asked,
        round=last.round,
        silent_since=last.silent_since,
        ended=event.at,
        answer=answer,
        contest=last.contest,
    )
    traceback = Traceback(traceback.id, traceback.call, (*traceback.hops[:-1], last), traceback.status, traceback.due)
    named = question.named_by is not None
    if denies(question, answer):
        if _asks_once_more(last):  # it had the call before: what it says now is none of its neighbour's doing
            return _close(traceback, Status.AMBIGUOUS)
        return _dispute(traceback, event.at, patience)
    contradiction = _contradiction(answer)
    if contradiction:
        return _close(_with_last(traceback, detail=contradiction), Status.DISPUTED)
    if last.contest is not None and given_for_another(answer, last.contest):
        return _close(traceback, Status.AMBIGUOUS)
    status = AFTER[answer.outcome][named]
    if status is Status.NOT_YET_AVAILABLE:
        pause = min(answer.retry_after or patience.not_yet_pause, patience.not_yet_cap)
        return _wait(traceback, status, event.at + pause)
    if status is not None:
        return _close(traceback, status)
    return _ask_upstream(traceback, question, answer, event, patience)


def _contradiction(answer: Answer) -> str:
    """In what an answer contradicts itself or the registry, in words; empty where it doesn't."""
    if answer.upstream == answer.provider:
        return "names itself as its upstream"
    if isinstance(answer, SignedAnswer) and not answer.originates and answer.outcome in _NO_SOURCE:
        return _NO_SOURCE[answer.outcome]
    return ""


def _dispute(traceback: Traceback, at: datetime, patience: Patience) -> Step:
    """The last hop denies what the one before it said: ask that one once more, unless that was done already."""
    hops, every = traceback.hops, places(traceback.hops)
    place, last = every[-1] - 1, len(hops) - 1
    if place < 0 or is_second_look(hops, last) or expired(traceback.call, at):
        return _close(traceback, Status.DISPUTED)
    if any(every[position] == place and is_second_look(hops, position) for position in range(last)):
        return _close(traceback, Status.DISPUTED)
    before = hops[standing(hops)[place]]
    return _ask_new(traceback, same_draft(before.question), at, patience)


def _ask_upstream(
    traceback: Traceback, question: Question, answer: Answer, event: Answered, patience: Patience
) -> Step:
    """The next hop, re-anchored by this answer, unless it was asked already or the chain is as long as it may be."""
    if answer.upstream is None:  # excluded by Answer itself
        return _close(traceback, Status.BAD_ANSWER)
    draft = upstream_draft(traceback.call, question, answer, answer.upstream, event.shift)
    if draft is None:
        return _close(traceback, Status.WINDOW_SPENT)
    asked_before = {position for position, hop in enumerate(traceback.hops) if same_instance(draft, hop.question)}
    if asked_before and not asked_before.isdisjoint(standing(traceback.hops)):
        return _close(traceback, Status.LOOP)
    if place_after(traceback.hops) >= traceback.call.hop_limit:
        return _close(traceback, Status.HOP_LIMIT)
    return _ask_new(traceback, draft, event.at, patience)


def _on_failure(traceback: Traceback, event: AgentUnreachable | TimedOut, patience: Patience) -> Step:
    failures = traceback.hops[-1].failures + 1
    problem = Problem.TIMED_OUT if isinstance(event, TimedOut) else Problem.UNREACHABLE
    traceback, since = _silent(traceback, event, failures, problem)
    if patience.is_spent(failures, since, event.at):
        return _close(traceback, Status.NON_RESPONSIVE)
    return _wait(traceback, Status.RETRYING, event.at + patience.pause_after(failures, str(traceback.id)))


def _on_silent(traceback: Traceback, event: AgentSilent, patience: Patience) -> Step:
    """As after an attempt of its own; but others look whether the agent is back, so that it can rest."""
    failures = max(traceback.hops[-1].failures, event.attempts)
    traceback, since = _silent(traceback, event, failures, event.problem)
    if patience.is_spent(failures, since, event.at):
        return _close(traceback, Status.NON_RESPONSIVE)
    if expired(traceback.call, event.at):
        return _close(traceback, Status.ORDER_EXPIRED)
    due, expires = patience.looks_again(since, event.at, str(traceback.id)), traceback.call.expires
    return _wait(traceback, Status.RETRYING, due if expires is None else min(due, expires))


def _silent(
    traceback: Traceback, event: AgentUnreachable | TimedOut | AgentSilent, failures: int, problem: Problem
) -> tuple[Traceback, datetime]:
    """With what is known of the silence of its last provider, and since when that lasts."""
    last = traceback.hops[-1]
    since = event.at if last.silent_since is None else last.silent_since
    changes = {"failures": failures, "silent_since": since, "ended": event.at}
    return _with_last(traceback, **changes, problem=problem, detail=event.detail), since


def _on_bad_answer(traceback: Traceback, event: BadAnswer, patience: Patience) -> Step:
    del patience
    changed = _with_last(traceback, ended=event.at, problem=Problem.BAD_ANSWER, detail=event.detail)
    return _close(changed, Status.BAD_ANSWER)


def _on_declined(traceback: Traceback, event: Declined, patience: Patience) -> Step:
    del patience
    changed = _with_last(traceback, ended=event.at, problem=Problem.DECLINED, detail=event.detail)
    return _close(changed, Status.REFUSED)


def _on_no_agent(traceback: Traceback, event: NoAgent, patience: Patience) -> Step:
    del patience
    problem = Problem.NO_AGENT if event.registered else Problem.UNREGISTERED
    return _close(_with_last(traceback, ended=event.at, problem=problem), Status.NO_AGENT)


def _on_retry_due(traceback: Traceback, event: RetryDue, patience: Patience) -> Step:
    if traceback.due is not None and event.at < traceback.due:
        return traceback, (WaitUntil(traceback.due),)
    if traceback.status is Status.NOT_YET_AVAILABLE:
        return _ask_anew(traceback, event.at, patience)
    return _ask_still(traceback, event.at, patience)


def _on_agent_back(traceback: Traceback, event: AgentBack, patience: Patience) -> Step:
    if traceback.status is not Status.RETRYING:
        return traceback, () if traceback.due is None else (WaitUntil(traceback.due),)
    return _ask_still(traceback, event.at, patience)


def _on_reopened(traceback: Traceback, event: Reopened, patience: Patience) -> Step:
    if not traceback.status.reopenable and not is_contested(traceback):
        return traceback, ()
    return _ask_anew(traceback, event.at, patience)


def _on_sisters_known(traceback: Traceback, event: SistersKnown, patience: Patience) -> Step:
    if not may_be_asked(traceback, event.sisters) or expired(traceback.call, event.at):
        return traceback, ()
    draft = same_draft(traceback.hops[-1].question)
    draft.sisters = event.sisters
    return _ask_new(traceback, draft, event.at, patience)


def _on_contested(traceback: Traceback, event: Contested, patience: Patience) -> Step:
    """Take the chain back to the provider, and ask it once more while that may be done."""
    contest, hops = event.contest, traceback.hops
    if not may_be_contested(traceback, contest):
        return traceback, ()
    draft = same_draft(hops[standing(hops)[contest.place]].question)
    draft.sisters, draft.contest = event.sisters, contest
    if may_be_asked_again(traceback, contest) and not expired(traceback.call, event.at):
        return _ask_new(traceback, draft, event.at, patience)
    question = question_of(traceback, len(hops), 1, draft, event.at, event.at)  # which nobody is asked
    last = Hop(question=question, asked=event.at, ended=event.at, problem=Problem.CONTESTED, contest=contest)
    return _close(replace(traceback, hops=(*hops, last)), Status.AMBIGUOUS)


# Statuses in which a person can be asked, or is, so that an answer is of use.
_HEARS_PERSON = frozenset({Status.AWAITING_PERSON, Status.NO_AGENT, Status.NEEDS_HUMAN, Status.NON_RESPONSIVE})


def hears_person(traceback: Traceback) -> bool:
    """Whether the answer of a person at the last provider is of use, be it late: also to a second look given up."""
    if traceback.status is not Status.DISPUTED:
        return traceback.status in _HEARS_PERSON
    last = traceback.hops[-1]
    given_up = last.answer is None and last.problem is Problem.NO_AGENT
    return given_up and is_second_look(traceback.hops, len(traceback.hops) - 1)


def _on_left_to_person(traceback: Traceback, event: LeftToPerson, patience: Patience) -> Step:
    del patience
    if traceback.status not in _HEARS_PERSON:
        return traceback, ()
    return replace(traceback, status=Status.AWAITING_PERSON, due=event.due), ()


def _on_person_answered(traceback: Traceback, event: PersonAnswered, patience: Patience) -> Step:
    """As an agent's answer; what isn't signed at all leads no further, for no agent would take it for evidence."""
    answer, question = event.answer, traceback.hops[-1].question
    if not hears_person(traceback) or answer.provider != question.target:
        return traceback, ()
    signed = isinstance(answer, SignedAnswer)
    if answer.outcome is Outcome.UPSTREAM and question.authority is not None and not signed:
        return traceback, ()
    heard = Answered(event.question_id, answer, event.at)
    return _after_answer(replace(traceback, due=None), heard, patience)


def _on_given_up(traceback: Traceback, event: GivenUp, patience: Patience) -> Step:
    del patience
    return _close(_with_last(traceback, ended=event.at, detail="the person who was asked"), Status.NON_RESPONSIVE)


def _on_unattested(traceback: Traceback, event: Unattested, patience: Patience) -> Step:
    """The provider has answered: that nobody attested it is none of its doing."""
    del patience
    if not expired(traceback.call, event.at):
        return traceback, ()
    return _close(_with_last(traceback, ended=event.at, detail=UNATTESTED), Status.ORDER_EXPIRED)


def _on_cancelled(traceback: Traceback, event: Cancelled, patience: Patience) -> Step:
    del patience
    if traceback.hops:
        traceback = _with_last(traceback, ended=event.at, detail=event.reason)
    return _close(traceback, Status.CANCELLED)


TRANSITIONS: Mapping[tuple[Phase, type], Callable[[Traceback, Any, Patience], Step]] = {
    (Phase.SUBMITTED, Started): _on_first_start,
    (Phase.ASKING, Started): _on_restart_asking,
    (Phase.ASKING, Answered): _on_answer,
    (Phase.ASKING, AgentUnreachable): _on_failure,
    (Phase.ASKING, TimedOut): _on_failure,
    (Phase.ASKING, AgentSilent): _on_silent,
    (Phase.ASKING, BadAnswer): _on_bad_answer,
    (Phase.ASKING, Declined): _on_declined,
    (Phase.ASKING, NoAgent): _on_no_agent,
    (Phase.WAITING, Started): _on_restart_waiting,
    (Phase.WAITING, RetryDue): _on_retry_due,
    (Phase.WAITING, AgentBack): _on_agent_back,
    (Phase.CLOSED, Reopened): _on_reopened,
    (Phase.CLOSED, SistersKnown): _on_sisters_known,
    (Phase.CLOSED, Contested): _on_contested,
    (Phase.CLOSED, LeftToPerson): _on_left_to_person,
    (Phase.CLOSED, PersonAnswered): _on_person_answered,
    (Phase.PERSON, PersonAnswered): _on_person_answered,
    (Phase.PERSON, GivenUp): _on_given_up,
    (Phase.PERSON, Reopened): _on_reopened,
    (Phase.PERSON, Contested): _on_contested,
    (Phase.PERSON, Unattested): _on_unattested,
    (Phase.PERSON, Cancelled): _on_cancelled,
    (Phase.SUBMITTED, Cancelled): _on_cancelled,
    (Phase.ASKING, Cancelled): _on_cancelled,
    (Phase.WAITING, Cancelled): _on_cancelled,
}
"""The whole machine. A pair that is not in here changes nothing."""
