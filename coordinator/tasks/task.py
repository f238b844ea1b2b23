"""What a task is: one question to a person at one provider, its clock, its answer. Values, no IO.

    OPEN ----answer----> ANSWERED
      |  \\--answer with a typed name--> MATCHING --an operator matches it to an id--> ANSWERED
      |---time is up--> GIVEN_UP ---a late answer---> ANSWERED or MATCHING
      \\--the chain needs it no more--> WITHDRAWN

The provider has answered when its person did, also while the name that was typed is still to be matched: the clock of
the rule is the provider's, not the operator's. A second answer is refused: an answer is evidence.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.deadlines.schedule import Schedule
from coordinator.deadlines.standing import Standing, standing
from coordinator.tracing.chain import Status, Traceback, is_second_look
from protos.e164 import E164
from protos.identity import ProviderId
from protos.types import Question

HEARS = (
    *(Status.AWAITING_PERSON, Status.NO_AGENT, Status.NEEDS_HUMAN, Status.NON_RESPONSIVE),
    Status.DISPUTED,  # of a second look that was given up
)
"""Where a chain may stand that still takes a person's answer."""

_NAMESPACE = uuid.UUID("6c0a4f0e-8a35-5d0e-9d5c-0f1f6a1d2b7e")


class Kind(enum.Enum):
    """Why a person is asked. Values are stable: they are stored, and shown in JSON.

    NO_AGENT: no agent answers there. REVIEW: its agent holds the answer. SECOND_LOOK: no agent answers there, and the
    provider that a person named says that it did not hand the call over.
    """

    NO_AGENT = "no_agent"
    REVIEW = "review"
    SECOND_LOOK = "second_look"

    @staticmethod
    def of(traceback: Traceback) -> Kind | None:
        """Why a person is asked where this chain ended; None where nobody is."""
        if traceback.status is Status.NEEDS_HUMAN:
            return Kind.REVIEW
        if traceback.status is not Status.NO_AGENT:
            return None
        again = is_second_look(traceback.hops, len(traceback.hops) - 1)
        return Kind.SECOND_LOOK if again else Kind.NO_AGENT


class State(enum.Enum):
    """Where a task stands. Values are stable."""

    OPEN = "open"
    MATCHING = "matching"
    ANSWERED = "answered"
    GIVEN_UP = "given_up"
    WITHDRAWN = "withdrawn"

    @property
    def takes_answer(self) -> bool:
        """Whether an answer is still of use."""
        return self in (State.OPEN, State.GIVEN_UP)


class NoticeKind(enum.Enum):
    """What a letter is for. Values are stable."""

    INVITATION = "invitation"
    REMINDER = "reminder"
    ESCALATION = "escalation"


@dataclass(frozen=True, slots=True)
class Notice:
    """A letter that is to be sent at `due`; `number` counts from 1 within its kind."""

    kind: NoticeKind
    number: int
    due: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person is asked: who handed you this call?

    `position` is the hop's place in the chain. `named_by` is None for the terminating provider.
    """

    traceback_id: uuid.UUID
    position: int
    question_id: uuid.UUID
    kind: Kind
    provider: ProviderId
    called: E164
    at: datetime
    window: timedelta
    named_by: ProviderId | None

    @staticmethod
    def from_question(traceback_id: uuid.UUID, position: int, question: Question, kind: Kind) -> Asked:
        """The same question, as a person gets it; the purported calling number doesn't go along."""
        return Asked(
            traceback_id=traceback_id,
            position=position,
            question_id=question.question_id,
            kind=kind,
            provider=question.target,
            called=question.called,
            at=question.at,
            window=question.window,
            named_by=question.named_by,
        )

    @property
    def task_id(self) -> uuid.UUID:
        """The id of its task: one question is one task, however often it is put."""
        return uuid.uuid5(_NAMESPACE, str(self.question_id))


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands. `version` counts its changes and guards against two writers.

    `to_attest` says that its chain waits for an approver to attest the answer, `taken` that the chain has the answer.
    """

    id: uuid.UUID
    asked: Asked
    state: State
    plan: Schedule
    version: int
    answered_at: datetime | None = None
    answered_by: str | None = None
    upstream_name: str | None = None
    taken: bool = False
    to_attest: bool = False

    def standing(self, now: datetime) -> Standing:
        """Waiting, delinquent, non-responsive: see `coordinator.deadlines.standing`."""
        return standing(self.plan, self.answered_at, now)


def notices(plan: Schedule) -> tuple[Notice, ...]:
    """Everything that is to be sent about a task with this schedule, unless it is answered before."""
    return (
        Notice(NoticeKind.INVITATION, 1, plan.received),
        *(Notice(NoticeKind.REMINDER, n, due) for n, due in enumerate(plan.reminders, start=1)),
        *(Notice(NoticeKind.ESCALATION, n, due) for n, due in enumerate(plan.escalations, start=1)),
    )


def to_send(due: Iterable[Notice]) -> tuple[Notice, ...]:
    """Of notices that are due, those that are worth sending now.

    After a time without anybody sending, one letter a kind is enough: nobody is helped by three reminders at once. An
    overdue reminder is pointless beside an escalation, for its recipients hear of that as well.
    """
    latest: dict[NoticeKind, Notice] = {}
    for notice in sorted(due, key=lambda one: one.number):
        latest[notice.kind] = notice
    if NoticeKind.ESCALATION in latest:
        latest.pop(NoticeKind.REMINDER, None)
    return tuple(latest.values())
