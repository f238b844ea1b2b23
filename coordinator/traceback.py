"""The state machine of one traceback: `advance(traceback, event) -> (traceback, commands)`.

The theory. A traceback is a chain of hops. Each hop is one question to one provider ("who handed you this call?"), and
its answer either names the next provider to ask, or ends the chain, or asks for patience. Everything that affects what
happens next is in `Traceback`; whatever happens in the world reaches the machine as an `Event` that carries its own
time; whatever the machine wants from the world is a `Command`. There is no clock, no network, no store and no chance in
here: question ids derive from what is asked, so that a machine that is run again asks the same by the same ids.

A traceback is in one of five phases, a function of its status:

    SUBMITTED --Started--> ASKING --Answered(UPSTREAM)--> ASKING (the next hop)
                             |  ^---Answered(NOT_YET_AVAILABLE), Unreachable, TimedOut---> WAITING --RetryDue--> ASKING
                             +--any other answer, NoAgent, BadAnswer, Declined, patience exhausted---> CLOSED
    CLOSED --Reopened--> ASKING   (only where asking the last provider again can help)
    CLOSED --LeftToPerson--> PERSON   (where no agent answers) --PersonAnswered--> as Answered, also late, when CLOSED
                             PERSON --GivenUp--> CLOSED

At most one question is open, always the last hop's. An event about any other question is stale (a late or repeated
message) and changes nothing; so does an event that the phase has no use for. Therefore `advance` is total: it never
raises, and repeating an event is harmless. `Started` is also how a traceback is taken up again after a restart: the
open question is asked once more with the same id and bytes, or anew when its deadline has passed.

Every answered hop re-anchors the next question: its called number is the answer's `ask_called`, or stays; its time
moves by `time_correction`, and by what the clocks of the two providers are known to differ, where the order's window
leaves room for that; the provider that answered becomes `named_by`; the calling number stays the order's.

A call that is traced under an order is asked for by signed questions alone. Each says by what right: the order by its
digest, and the signed answer that named its target by the digest of its naming. Its window is what the order's window
leaves where the time has moved, so that no record outside the order is ever asked for; its life ends with the order's
at the latest. Where nothing is left of either, the chain is closed and says so.

What is never inferred: a provider that was named and knows nothing of the call is not "not found", it is a dispute; an
answer that denies the handover ends its branch whatever else it says; a question that was already asked is a loop.

A dispute is looked into before it stands: the provider that named the one who denies is asked once more, by a question
with an id of its own, since it may have answered from records that were not complete. Where it names another now, or
the call as its own, the chain goes on from there; where it names the same, that one is asked again, too; where neither
has anything new to say, the traceback closes as disputed. Nobody is asked for a second look twice at one place, and
what was answered on the first branch stays (`coordinator.chain.standing`).
Disputes, too, are: a provider that names itself, one that says it has no trunk to its neighbour that named it, and one
that claims to have originated a call although it is registered as one that originates none.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from coordinator.chain import (
    Call,
    Hop,
    Phase,
    Problem,
    Status,
    Traceback,
    denies,
    is_second_look,
    place_after,
    places,
    standing,
)
from coordinator.chance import scatter
from coordinator.signed import SignedAnswer, SignedQuestion
from protos.codec import digest, unix_ms
from protos.hops import QUESTION_LIFE
from protos.types import Answer, Authority, Outcome, Question

LOOP_TOLERANCE = timedelta(seconds=5)
"""Two questions to one provider, for one number, named by one neighbour, this close in time, are the same question."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a hop is worth asking.

    Attributes:
        attempts: how many attempts without an answer make a provider non-responsive.
        backoff, backoff_cap: pause after the first failed attempt; it doubles from one to the next, up to the cap.
        question_lifetime: after this the answer to a question is of no use, and the next attempt is a new question.
        jitter: by which share of itself that pause may be longer, so that what failed together isn't retried together.
        not_yet_pause, not_yet_cap: pause after NOT_YET_AVAILABLE when the provider names none, and the longest one.
    """

    attempts: int = 3
    backoff: timedelta = timedelta(milliseconds=500)
    backoff_cap: timedelta = timedelta(seconds=30)
    jitter: float = 0.2
    question_lifetime: timedelta = timedelta(minutes=2)
    not_yet_pause: timedelta = timedelta(minutes=15)
    not_yet_cap: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        if self.question_lifetime > QUESTION_LIFE:
            raise ValueError(f"a question lives for {QUESTION_LIFE // timedelta(minutes=1)} minutes at most")

    def pause_after(self, failures: int, seed: str = "") -> timedelta:
        """How long to wait after that many failed attempts in a row; a little differs from `seed` to `seed`."""
        doubled: int = 2 ** min(failures - 1, 30)
        return min(self.backoff * doubled, self.backoff_cap) * (1 + self.jitter * scatter(f"{seed} {failures}"))


DEFAULT_PATIENCE = Patience()


# Events: what happened, and when. `at` is aware UTC.


@dataclass(frozen=True, slots=True)
class Started:
    """A driver took the traceback up, for the first time or after a restart."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer came to the question, checked to be one: right provider, right digest, every field in range.

    `shift` is by how much the clock of the upstream that it names is known to be ahead of the answering provider's
    (`coordinator.offsets`).
    """

    question_id: uuid.UUID
    answer: Answer
    at: datetime
    shift: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class AgentUnreachable:
    """The question could not be delivered, or the agent failed without an answer; trying again may help."""

    question_id: uuid.UUID
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No answer came within the time of one attempt."""

    question_id: uuid.UUID
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """What came is no answer to this question: unreadable, out of range, of another provider or to another question."""

    question_id: uuid.UUID
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Declined:
    """The agent would not even take the question: it doesn't accept this coordinator."""

    question_id: uuid.UUID
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NoAgent:
    """The registry names no agent for the provider, or doesn't know the provider at all."""

    question_id: uuid.UUID
    at: datetime
    registered: bool = True


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The time of the last WaitUntil has come."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Reopened:
    """A person wants the last provider of a closed traceback asked again."""

    at: datetime


@dataclass(frozen=True, slots=True)
class LeftToPerson:
    """The open question was put to a person at the provider, who should answer until `due`."""

    question_id: uuid.UUID
    at: datetime
    due: datetime


@dataclass(frozen=True, slots=True)
class PersonAnswered:
    """A person at the provider answered; what names an upstream under an order is attested (`AttestedAnswer`)."""

    question_id: uuid.UUID
    answer: Answer
    at: datetime


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The person's time is up. An answer that comes later still counts."""

    question_id: uuid.UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody who may, wants no more asked; `reason` holds no number of a subscriber."""

    at: datetime
    reason: str = ""


Event = (
    Started | Answered | AgentUnreachable | TimedOut | BadAnswer | Declined | NoAgent | RetryDue | Reopened
    | LeftToPerson | PersonAnswered | GivenUp | Cancelled
)  # fmt: skip


# Commands: what the machine wants done.


@dataclass(frozen=True, slots=True)
class Ask:
    """Put this question to `question.target`; one of Answered ... NoAgent comes back."""

    question: Question


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Send RetryDue at this time."""

    time: datetime


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing more will be asked; tell whoever waits for the result."""

    status: Status


Command = Ask | WaitUntil | Finish
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


_FIXED = 0xF << 76 | 0x3 << 62
_VERSION_8 = 0x8 << 76 | 0x2 << 62

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


def _question(
    traceback: Traceback, position: int, round_: int, draft: Question, issued: datetime, deadline: datetime
) -> Question:
    """`draft` with its life and authority, and an id that follows from whatever makes its bytes.

    Equal ids mean equal bytes: order and traceback belong together for good, and what else a question says follows from
    the naming that leads to it.
    """
    call = traceback.call
    before = traceback.hops[position - 1] if position else None
    shifted = (
        before is not None
        and before.answer is not None
        and draft.at != before.question.at + (before.answer.time_correction)
    )
    if call.order_sha256 is None or call.expires is None:
        deadline = _whole_ms(deadline)
        moved = f" at {draft.at.isoformat()}" if shifted else ""
        identity = uuid.uuid5(traceback.id, f"hop {position} round {round_} until {deadline.isoformat()}{moved}")
        return Question(
            question_id=identity,
            target=draft.target,
            called=draft.called,
            at=draft.at,
            window=draft.window,
            named_by=draft.named_by,
            calling=draft.calling,
            deadline=deadline,
        )
    issued, deadline = _whole_ms(issued), _whole_ms(min(deadline, call.expires))
    named = draft.named if isinstance(draft, SignedQuestion) else None
    naming = None if named is None else digest(named.parts.naming)
    own = traceback.id.bytes
    made = b"%b hop %d round %d from %d until %d by " % (own, position, round_, unix_ms(issued), unix_ms(deadline))
    if shifted:
        made += b"at %d " % unix_ms(draft.at)
    seed = digest(made + (naming or b"the order"))
    identity = _uuid8(seed)
    nonce = digest(b"hopback nonce" + own + identity.bytes)[:16]
    return SignedQuestion(
        question_id=identity,
        target=draft.target,
        called=draft.called,
        at=draft.at,
        window=draft.window,
        named_by=draft.named_by,
        calling=draft.calling,
        deadline=deadline,
        authority=Authority(call.order_sha256, naming, place_after(traceback.hops[:position]), issued, nonce),
        named=named,
    )


def _uuid8(seed: bytes) -> uuid.UUID:
    """A UUID of our own making (RFC 9562, section 5.8) from the first 16 bytes of a digest."""
    return uuid.UUID(int=int.from_bytes(seed[:16], "big") & ~_FIXED | _VERSION_8)


def _whole_ms(time: datetime) -> datetime:
    """A time as it travels."""
    beyond = time.microsecond % 1000
    return time.replace(microsecond=time.microsecond - beyond) if beyond else time


def _ask(traceback: Traceback, hop: Hop, *, position: int) -> Step:
    """Put the question of `hop`, which becomes the last one."""
    hops = (*traceback.hops[:position], hop)
    return Traceback(traceback.id, traceback.call, hops, Status.ASKING), (Ask(hop.question),)


def _ask_new(traceback: Traceback, draft: Question, at: datetime, patience: Patience) -> Step:
    """Append a hop that was not asked before.

    It inherits the life of the hop before it while that leaves time enough. A step that is taken again after a crash, a
    little later, therefore leads to the very same question.
    """
    if _expired(traceback.call, at):
        return _close(traceback, Status.ORDER_EXPIRED)
    position = len(traceback.hops)
    issued, deadline = at, at + patience.question_lifetime
    if traceback.hops:
        before = traceback.hops[-1].question
        if before.deadline - at >= patience.question_lifetime / 2:
            deadline = before.deadline
            issued = before.authority.issued if before.authority else at
    question = _question(traceback, position, 1, draft, issued, deadline)
    return _ask(traceback, Hop(question=question, asked=at), position=position)


def _ask_anew(traceback: Traceback, at: datetime, patience: Patience, *, failures: int) -> Step:
    """Ask the last hop in a new round: another question id, another life, the same question otherwise."""
    if _expired(traceback.call, at):
        return _close(traceback, Status.ORDER_EXPIRED)
    position = len(traceback.hops) - 1
    last = traceback.hops[position]
    question = _question(traceback, position, last.round + 1, last.question, at, at + patience.question_lifetime)
    return _ask(
        traceback,
        Hop(question=question, asked=at, round=last.round + 1, failures=failures),
        position=position,
    )


def _expired(call: Call, at: datetime) -> bool:
    """Whether no question may be asked any more: the least that a question can live is a millisecond."""
    return call.expires is not None and call.expires - at < timedelta(milliseconds=1)


def _ask_still(traceback: Traceback, at: datetime, patience: Patience) -> Step:
    """Ask the last hop's question again while it lives, with the same id and bytes; else in a new round."""
    last = traceback.hops[-1]
    if at >= last.question.deadline:
        return _ask_anew(traceback, at, patience, failures=last.failures)
    again = replace(last, ended=None, problem=None, detail="")
    return _ask(traceback, again, position=len(traceback.hops) - 1)


def _with_last(traceback: Traceback, **changes: Any) -> Traceback:
    return replace(traceback, hops=(*traceback.hops[:-1], replace(traceback.hops[-1], **changes)))


def _close(traceback: Traceback, status: Status) -> Step:
    """Nothing more is asked; a second look that leads nowhere leaves the dispute as it was."""
    if status in _UNRESOLVED and is_second_look(places(traceback.hops), len(traceback.hops) - 1):
        status = Status.DISPUTED
    return replace(traceback, status=status, due=None), (Finish(status),)


def _wait(traceback: Traceback, status: Status, until: datetime) -> Step:
    return replace(traceback, status=status, due=until), (WaitUntil(until),)


def _on_first_start(traceback: Traceback, event: Started, patience: Patience) -> Step:
    call = traceback.call
    draft = Question(
        question_id=traceback.id,
        target=call.terminating,
        called=call.called,
        at=call.at,
        window=call.window,
        named_by=None,
        calling=call.calling,
        deadline=event.at,
    )
    return _ask_new(traceback, draft, event.at, patience)


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
    last = Hop(question=question, asked=last.asked, round=last.round, ended=event.at, answer=answer)
    traceback = Traceback(traceback.id, traceback.call, (*traceback.hops[:-1], last), traceback.status, traceback.due)
    named = question.named_by is not None
    if denies(question, answer):
        return _dispute(traceback, event.at, patience)
    contradiction = _contradiction(answer)
    if contradiction:
        return _close(_with_last(traceback, detail=contradiction), Status.DISPUTED)
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
    if place < 0 or is_second_look(every, last) or _expired(traceback.call, at):
        return _close(traceback, Status.DISPUTED)
    if any(every[position] == place and is_second_look(every, position) for position in range(last)):
        return _close(traceback, Status.DISPUTED)
    before = hops[standing(hops)[place]]
    return _ask_new(traceback, before.question, at, patience)


def _ask_upstream(
    traceback: Traceback, question: Question, answer: Answer, event: Answered, patience: Patience
) -> Step:
    """The next hop, re-anchored by this answer, unless it was asked already or the chain is as long as it may be."""
    if answer.upstream is None:  # excluded by Answer itself
        return _close(traceback, Status.BAD_ANSWER)
    call, at = traceback.call, event.at
    next_at = _moved(call, question.at + answer.time_correction, event.shift)
    said: dict[str, Any] = {
        "question_id": question.question_id,
        "target": answer.upstream,
        "called": answer.ask_called or question.called,
        "at": next_at,
        "named_by": answer.provider,
        "calling": question.calling,
        "deadline": question.deadline,
    }
    draft: Question
    if isinstance(answer, SignedAnswer):
        window = call.window - abs(next_at - call.at)
        if window < timedelta(milliseconds=1):
            return _close(traceback, Status.WINDOW_SPENT)
        draft = SignedQuestion(**said, window=window, named=answer)
    else:
        draft = Question(**said, window=question.window)
    if any(_same_instance(draft, traceback.hops[position].question) for position in standing(traceback.hops)):
        return _close(traceback, Status.LOOP)
    if place_after(traceback.hops) >= traceback.call.hop_limit:
        return _close(traceback, Status.HOP_LIMIT)
    return _ask_new(traceback, draft, at, patience)


def _moved(call: Call, at: datetime, shift: timedelta) -> datetime:
    """The time to ask for, where clocks are known to differ by `shift`, if that leaves the question half its window."""
    if not shift:
        return at
    left = call.window - abs(at + shift - call.at)
    return at + shift if left >= (call.window - abs(at - call.at)) / 2 and left > timedelta(0) else at


def _same_instance(one: Question, other: Question) -> bool:
    """Whether both ask one provider for the same call instance.

    A call may cross a provider twice: then another neighbour names it, or the called number or the time differs.
    """
    return (
        one.target == other.target
        and one.called == other.called
        and one.named_by == other.named_by
        and abs(one.at - other.at) <= LOOP_TOLERANCE
    )


def _on_failure(traceback: Traceback, event: AgentUnreachable | TimedOut, patience: Patience) -> Step:
    failures = traceback.hops[-1].failures + 1
    traceback = _with_last(
        traceback,
        failures=failures,
        ended=event.at,
        problem=Problem.TIMED_OUT if isinstance(event, TimedOut) else Problem.UNREACHABLE,
        detail=event.detail,
    )
    if failures >= patience.attempts:
        return _close(traceback, Status.NON_RESPONSIVE)
    return _wait(traceback, Status.RETRYING, event.at + patience.pause_after(failures, str(traceback.id)))


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
        return _ask_anew(traceback, event.at, patience, failures=0)
    return _ask_still(traceback, event.at, patience)


def _on_reopened(traceback: Traceback, event: Reopened, patience: Patience) -> Step:
    if not traceback.status.reopenable:
        return traceback, ()
    return _ask_anew(traceback, event.at, patience, failures=0)


# Statuses in which a person can be asked, or is, so that an answer is of use.
_HEARS_PERSON = frozenset({Status.AWAITING_PERSON, Status.NO_AGENT, Status.NEEDS_HUMAN, Status.NON_RESPONSIVE})


def _on_left_to_person(traceback: Traceback, event: LeftToPerson, patience: Patience) -> Step:
    del patience
    if traceback.status not in _HEARS_PERSON:
        return traceback, ()
    return replace(traceback, status=Status.AWAITING_PERSON, due=event.due), ()


def _on_person_answered(traceback: Traceback, event: PersonAnswered, patience: Patience) -> Step:
    """As an agent's answer; what isn't signed at all leads no further, for no agent would take it for evidence."""
    answer, question = event.answer, traceback.hops[-1].question
    if traceback.status not in _HEARS_PERSON or answer.provider != question.target:
        return traceback, ()
    signed = isinstance(answer, SignedAnswer)
    if answer.outcome is Outcome.UPSTREAM and question.authority is not None and not signed:
        return traceback, ()
    heard = Answered(event.question_id, answer, event.at)
    return _after_answer(replace(traceback, due=None), heard, patience)


def _on_given_up(traceback: Traceback, event: GivenUp, patience: Patience) -> Step:
    del patience
    return _close(_with_last(traceback, ended=event.at, detail="the person who was asked"), Status.NON_RESPONSIVE)


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
    (Phase.ASKING, BadAnswer): _on_bad_answer,
    (Phase.ASKING, Declined): _on_declined,
    (Phase.ASKING, NoAgent): _on_no_agent,
    (Phase.WAITING, Started): _on_restart_waiting,
    (Phase.WAITING, RetryDue): _on_retry_due,
    (Phase.CLOSED, Reopened): _on_reopened,
    (Phase.CLOSED, LeftToPerson): _on_left_to_person,
    (Phase.CLOSED, PersonAnswered): _on_person_answered,
    (Phase.PERSON, PersonAnswered): _on_person_answered,
    (Phase.PERSON, GivenUp): _on_given_up,
    (Phase.PERSON, Reopened): _on_reopened,
    (Phase.PERSON, Cancelled): _on_cancelled,
    (Phase.SUBMITTED, Cancelled): _on_cancelled,
    (Phase.ASKING, Cancelled): _on_cancelled,
    (Phase.WAITING, Cancelled): _on_cancelled,
}
"""The whole machine. A pair that is not in here changes nothing."""
