"""What a traceback's state machine hears of the world, and what it wants of it: events and commands. Pure values.

Whatever happens reaches the machine as an event that carries its own time (aware UTC); whatever the machine wants done
is a command. An event about a question that is not the open one changes nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.tracing.chain import Problem, Status
from coordinator.tracing.signed import Contest, SisterNaming
from protos.types import Answer, Question
from protos.values import value

# What happened, and when.


@value
class Started:
    """A driver took the traceback up, for the first time or after a restart."""

    at: datetime


@value
class Answered:
    """An answer came to the question, checked to be one: right provider, right digest, every field in range.

    `shift` is by how much the clock of the upstream that it names is known to be ahead of the answering provider's
    (`coordinator.tracing.offsets`).
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
class AgentSilent:
    """The question was not put: the agent answers nobody just now. So many attempts in a row reached no answer."""

    question_id: uuid.UUID
    at: datetime
    attempts: int
    problem: Problem
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AgentBack:
    """The agent of the last provider answers again."""

    at: datetime


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
class SistersKnown:
    """Calls are known that are certainly not the one about which the last provider found several."""

    at: datetime
    sisters: tuple[SisterNaming, ...]


@dataclass(frozen=True, slots=True)
class Contested:
    """A provider on the way gave the record of its answer for another call, too, or did so (`tracing.contests`).

    `sisters` is that other call, where it may be named to the provider.
    """

    at: datetime
    contest: Contest
    sisters: tuple[SisterNaming, ...] = ()


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
class Unattested:
    """The order has ended, and no approver had attested what the person said: it can be used no more."""

    question_id: uuid.UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody who may, wants no more asked; `reason` holds no number of a subscriber."""

    at: datetime
    reason: str = ""


Event = (
    Started | Answered | AgentUnreachable | TimedOut | AgentSilent | AgentBack | BadAnswer | Declined | NoAgent
    | RetryDue | Reopened | LeftToPerson | PersonAnswered | GivenUp | SistersKnown | Contested | Cancelled
    | Unattested
)  # fmt: skip


# What the machine wants done.


@value
class Ask:
    """Put this question to `question.target`; one of Answered ... NoAgent comes back."""

    question: Question


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Send RetryDue at this time."""

    time: datetime


@value
class Finish:
    """Nothing more will be asked; tell whoever waits for the result."""

    status: Status


Command = Ask | WaitUntil | Finish
