"""What tracebacks and tasks know of each other, and what tasks need from the world.

A traceback puts a hop to a person (`coordinator.tasks.desk.TaskDesk`: `ask`), and later takes what came of it
(`results`, then `taken`): at least once each, so that taking must bear repetition, as `tracing.traceback.advance`
does: an answer to a question that is no longer open changes nothing. An answer turns into `Answered` with
`PersonsResult.answer`; being given up into a closed chain that a later answer reopens.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from coordinator.deadlines.calendar import BusinessCalendar
from coordinator.deadlines.schedule import AnswerRule
from coordinator.tasks.task import NoticeKind
from protos.identity import ProviderId
from protos.types import Answer


@dataclass(frozen=True, slots=True)
class PersonsResult:
    """Something that a traceback is to take: an answer, or (None) that the provider was given up as non-responsive.

    `review` says that the provider's agent holds the answer, `attestation` is the answer as an approver sealed it
    (`coordinator.tracing.signed.keep`).

    `question_id` is the question that the hop waits with. `late` says that the answer came after it was due.
    `version` goes back with `taken`.
    """

    task_id: uuid.UUID
    version: int
    traceback_id: uuid.UUID
    position: int
    question_id: uuid.UUID
    provider: ProviderId
    answer: Answer | None
    at: datetime
    late: bool
    by: str | None
    review: bool = False
    attestation: bytes | None = field(default=None, repr=False)


class Contacts(Protocol):
    """Whom to write to."""

    def recipients(self, provider: ProviderId, kind: NoticeKind, number: int) -> Sequence[str]:
        """E-mail addresses for that letter; an escalation's `number` says how far up."""
        ...


class Deadlines(Protocol):
    """Which clock runs for a provider."""

    def of(self, provider: ProviderId) -> tuple[BusinessCalendar, AnswerRule]:
        """Its business calendar and the rule of answers."""
        ...


class MailError(Exception):
    """A letter was not taken. `permanent`: trying again won't help. The message names no recipient."""

    def __init__(self, detail: str, *, permanent: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.permanent = permanent


class Mailer(Protocol):
    """Sends one letter."""

    def send(self, *, to: str, subject: str, body: str, message_id: str, at: datetime) -> None:
        """Return when the server has taken it.

        Raises:
            MailError: it has not, as far as is known.
        """
        ...
