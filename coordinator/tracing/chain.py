"""What a traceback is: a call, the hops so far, a status. Values only; `tracing.traceback` says how they change.

A hop is one provider's part in the call path. The first is the terminating provider's, each next one was named by the
answer before it. A traceback is in one of five phases (submitted, asking, waiting, with a person, closed), a function
of its status.

The hops stand in the order in which they were asked. Where a provider denies what the one before it said, that one is
asked once more, and the chain goes on from its second answer: so a hop's *place* in the call path is one more than the
place of the hop before it, or after a denial one less. `standing` are the hops that make the chain as it is now; the
others are the branch that was denied, and stay.

A provider that found several calls may be asked once more, naming sister calls that are certainly not the one meant
(`coordinator.tracing.elimination`). That is the same place again, and the later answer stands.

A provider that gave one record for two calls is asked once more, too, however far the chain has come by then
(`tracing.contests`). The hop that asks so carries what speaks against the answer before it, and its place; what
was found further up stays, and stands no more.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from coordinator.tracing.signed import Contest
from protos.e164 import E164
from protos.identity import ProviderId
from protos.orders import MOST_HOPS
from protos.types import WINDOW_CAP, Answer, Handover, Outcome, Question, RefusalReason
from protos.values import value

DEFAULT_WINDOW = timedelta(seconds=60)
DEFAULT_HOP_LIMIT = 15


class Phase(enum.Enum):
    """What a traceback needs next: to be started, an answer, time, a person's answer, or nothing."""

    SUBMITTED = "submitted"
    ASKING = "asking"
    WAITING = "waiting"
    PERSON = "person"
    CLOSED = "closed"

    @property
    def rests(self) -> bool:
        """Whether nothing is to be done until somebody says something new."""
        return self is Phase.CLOSED or self is Phase.PERSON


class Status(enum.Enum):
    """Where a traceback stands. Values are stable: they are stored, and shown in JSON."""

    phase: Phase
    """The phase that this status belongs to."""

    SUBMITTED = "submitted"
    ASKING = "asking"
    RETRYING = "retrying"
    NOT_YET_AVAILABLE = "not_yet_available"
    AWAITING_PERSON = "awaiting_person"
    ORIGIN_FOUND = "origin_found"
    GATEWAY_FOUND = "gateway_found"
    NOT_FOUND = "not_found"
    RECORDS_EXPIRED = "records_expired"
    AMBIGUOUS = "ambiguous"
    UNMAPPED = "unmapped"
    DISPUTED = "disputed"
    NO_AGENT = "no_agent"
    NEEDS_HUMAN = "needs_human"
    REFUSED = "refused"
    LOOP = "loop"
    HOP_LIMIT = "hop_limit"
    NON_RESPONSIVE = "non_responsive"
    BAD_ANSWER = "bad_answer"
    ORDER_EXPIRED = "order_expired"
    WINDOW_SPENT = "window_spent"
    CANCELLED = "cancelled"

    @property
    def reopenable(self) -> bool:
        """Whether asking the last provider again can change the result."""
        return self in _REOPENABLE


_PHASES = {
    Status.SUBMITTED: Phase.SUBMITTED,
    Status.ASKING: Phase.ASKING,
    Status.RETRYING: Phase.WAITING,
    Status.NOT_YET_AVAILABLE: Phase.WAITING,
    Status.AWAITING_PERSON: Phase.PERSON,
}
for _status in Status:
    _status.phase = _PHASES.get(_status, Phase.CLOSED)  # asked for several times a step: kept, not looked up

_REOPENABLE = frozenset(
    {
        Status.AWAITING_PERSON,
        Status.UNMAPPED,
        Status.DISPUTED,
        Status.NO_AGENT,
        Status.NEEDS_HUMAN,
        Status.REFUSED,
        Status.NON_RESPONSIVE,
        Status.BAD_ANSWER,
    }
)


class Role(enum.Enum):
    """A provider's part in one call path."""

    TERMINATING = "terminating"
    INTERMEDIATE = "intermediate"
    ORIGINATING = "originating"
    GATEWAY = "gateway"


class Problem(enum.Enum):
    """Why a hop has no usable answer. Values are stable: they are stored, and shown in JSON."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    BAD_ANSWER = "bad_answer"
    DECLINED = "declined"
    NO_AGENT = "no_agent"
    UNREGISTERED = "unregistered"
    CONTESTED = "contested"


@value
class Call:
    """The call to trace, as the order gives it.

    `at` is the seizure time at the terminating provider, aware UTC in whole milliseconds, as times travel.
    `order_sha256` is the digest of the approved order under which it is traced, `expires` until when that counts; both
    are None in a trial alone, where agents answer unsigned questions.
    """

    called: E164
    at: datetime
    terminating: ProviderId
    calling: E164 | None = None
    window: timedelta = DEFAULT_WINDOW
    hop_limit: int = DEFAULT_HOP_LIMIT
    order_sha256: bytes | None = None
    expires: datetime | None = None

    def __post_init__(self) -> None:
        if self.at.utcoffset() != timedelta(0):
            raise ValueError("a call's time must be aware and in UTC")
        if self.at.microsecond % 1000:
            raise ValueError("a call's time must be in whole milliseconds")
        if not timedelta(milliseconds=1) <= self.window <= WINDOW_CAP:
            raise ValueError(f"a window must lie between 1 ms and {WINDOW_CAP.seconds} s")
        if self.hop_limit < 1:
            raise ValueError("a hop limit must be 1 at least")
        if (self.order_sha256 is None) != (self.expires is None):
            raise ValueError("a call has an order with its end, or neither")
        if self.order_sha256 is not None and self.hop_limit > MOST_HOPS:
            raise ValueError(f"no order allows more than {MOST_HOPS} hops")


@value
class Hop:
    """One provider's part: what it was asked, what it answered or what went wrong, and when.

    Attributes:
        round: how often this hop was asked anew (another question id), counted from 1.
        failures: attempts in a row that reached no answer, over all rounds since the last answer; made with this or
            with other questions to the same agent.
        silent_since: when the first of them had failed; stays beside the answer that ended the silence.
        asked: when the question of this round was first put.
        ended: when the answer came, or the last attempt failed.
        detail: the problem in words for the coordinator's operator; never holds numbers of subscribers.
        contest: why it was asked once more, where the answer before it was given for another call, too.
    """

    question: Question
    asked: datetime
    round: int = 1
    failures: int = 0
    silent_since: datetime | None = None
    ended: datetime | None = None
    answer: Answer | None = None
    problem: Problem | None = None
    detail: str = ""
    contest: Contest | None = None

    @property
    def provider(self) -> ProviderId:
        """The provider that was asked."""
        return self.question.target

    @property
    def took(self) -> timedelta | None:
        """From first asking to the answer or the last failure; None while it is open."""
        return None if self.ended is None else max(self.ended - self.asked, timedelta(0))


@value
class Traceback:
    """The tracing of one call: the call, the hops so far (terminating provider first), the status.

    `due` is set in phase WAITING: when the last hop is to be asked again; and in phase PERSON: when the person's answer
    is due.
    """

    id: uuid.UUID
    call: Call
    hops: tuple[Hop, ...] = ()
    status: Status = Status.SUBMITTED
    due: datetime | None = None

    @property
    def origin(self) -> ProviderId | None:
        """The originating provider, once it is found."""
        return self.hops[-1].provider if self.status is Status.ORIGIN_FOUND else None

    @property
    def gateway(self) -> ProviderId | None:
        """The gateway provider, once it is found."""
        return self.hops[-1].provider if self.status is Status.GATEWAY_FOUND else None

    @property
    def open_question(self) -> Question | None:
        """The one question that an answer is awaited for."""
        return self.hops[-1].question if self.status.phase is Phase.ASKING else None


# Outcomes that rest on the provider's complete records: only with these does a denied handover make a dispute.
FINDINGS = frozenset(
    {
        Outcome.UPSTREAM,
        Outcome.ORIGINATED_HERE,
        Outcome.FOREIGN_UPSTREAM,
        Outcome.NOT_FOUND,
        Outcome.AMBIGUOUS,
        Outcome.UNMAPPED,
        Outcome.NOT_RECORDED,
    }
)


def denies(question: Question, answer: Answer | None) -> bool:
    """Whether the provider asked says that it has no part in what the provider that named it says."""
    if question.named_by is None or answer is None or answer.upstream == answer.provider:
        return False
    if answer.outcome is Outcome.REFUSED:
        return answer.refusal is RefusalReason.UNKNOWN_PROVIDER
    return answer.outcome is Outcome.NOT_FOUND or (answer.handover is Handover.NOT_MINE and answer.outcome in FINDINGS)


def eliminates(question: Question) -> bool:
    """Whether the question names sister calls that are certainly not the one it asks for."""
    return question.authority is not None and bool(question.authority.sisters)


def places(hops: Sequence[Hop]) -> list[int]:
    """The place of each hop in the call path, counted from 0."""
    found: list[int] = []
    for position, hop in enumerate(hops):
        if hop.contest is not None:
            found.append(hop.contest.place)
        else:
            found.append(place_after(hops[:position], found) if position else 0)
    return found


def place_after(hops: Sequence[Hop], known: Sequence[int] | None = None) -> int:
    """The place of the hop that comes after these, which are at the places `known`."""
    if not hops:
        return 0
    last = hops[-1]
    answer, authority = last.answer, last.question.authority
    place = known[-1] if known else authority.position if authority else places(hops)[-1]
    if denies(last.question, answer) and not eliminates(last.question) and last.contest is None:
        return place - 1
    return place + 1 if answer is not None and answer.outcome is Outcome.UPSTREAM else place


def standing(hops: Sequence[Hop]) -> tuple[int, ...]:
    """The positions of the hops that make the chain as it is now, one for each place up to the last hop's."""
    return standing_at(places(hops))


def standing_at(every: Sequence[int]) -> tuple[int, ...]:
    """The same from the places."""
    if not every:
        return ()
    latest = {place: position for position, place in enumerate(every) if place <= every[-1]}
    return tuple(latest[place] for place in sorted(latest))


def place_before(hops: Sequence[Hop], position: int) -> Hop | None:
    """The hop whose answer named the provider at `position`; None for the terminating provider's."""
    every = places(hops[: position + 1])
    named = [at for at in range(position) if every[at] == every[position] - 1]
    return hops[named[-1]] if named else None


def moved_by(hops: Sequence[Hop], position: int) -> timedelta:
    """By how much the question at `position` asks for another time than its naming gives: what clocks differ by."""
    before = place_before(hops, position)
    if before is None or before.answer is None:
        return timedelta(0)
    return hops[position].question.at - before.question.at - before.answer.time_correction


def is_second_look(hops: Sequence[Hop], position: int) -> bool:
    """Whether the hop at `position` asks once more at a place because the hop before it was a denial."""
    if position < 1 or hops[position].contest is not None:
        return False
    every = places(hops[: position + 1])
    return every[position] < every[position - 1]


def is_contested(traceback: Traceback) -> bool:
    """Whether the chain ends at a provider that gave one record for two calls, and nothing has settled it."""
    if traceback.status is not Status.AMBIGUOUS or not traceback.hops:
        return False
    last = traceback.hops[-1]
    return last.contest is not None and (last.answer is None or last.answer.outcome is not Outcome.AMBIGUOUS)


def role(traceback: Traceback, position: int) -> Role:
    """The part of hop number `position` (from 0), as far as the answers so far tell."""
    hop = traceback.hops[position]
    answer = hop.answer
    last = position == len(traceback.hops) - 1
    disputed = (traceback.status is Status.DISPUTED and last) or (not last and denies(hop.question, answer))
    if answer is not None and not disputed:
        if answer.outcome is Outcome.ORIGINATED_HERE:
            return Role.ORIGINATING
        if answer.outcome is Outcome.FOREIGN_UPSTREAM:
            return Role.GATEWAY
    return Role.TERMINATING if hop.question.named_by is None else Role.INTERMEDIATE
