"""The values that both sides mean the same by: a question, an answer, their outcomes.

Plain frozen dataclasses, built once at the boundary from checked input; inside, no bare strings stand for numbers,
times or providers. `codec` turns them into the exact bytes that travel.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from protos.e164 import E164
from protos.identity import ProviderId
from protos.values import value

WINDOW_CAP = timedelta(seconds=300)
"""No question may ask for records further than this from its time; providers may set less."""


class Outcome(enum.Enum):
    """What an agent can answer. Values equal those of `hopback.v1.Outcome`."""

    UPSTREAM = 1
    ORIGINATED_HERE = 2
    FOREIGN_UPSTREAM = 3
    NOT_FOUND = 4
    RECORDS_EXPIRED = 5
    NOT_YET_AVAILABLE = 6
    AMBIGUOUS = 7
    UNMAPPED = 8
    NEEDS_HUMAN = 9
    REFUSED = 10
    NOT_RECORDED = 11


class Handover(enum.Enum):
    """The two-sided check: did this provider hand the call to the one that named it?"""

    UNSPECIFIED = 0
    CONFIRMED = 1
    NOT_MINE = 2


class RefusalReason(enum.Enum):
    """Why an agent would not answer a well-formed question."""

    UNSPECIFIED = 0
    WINDOW_TOO_WIDE = 1
    TIME_IN_FUTURE = 2
    RECORDS_GAP = 3
    UNKNOWN_PROVIDER = 4
    DEADLINE_PASSED = 5
    POLICY = 6
    ORDER_MISSING = 7
    ORDER_INVALID = 8
    ORDER_SIGNATURE = 9
    ORDER_NOT_APPROVED = 10
    ORDER_EXPIRED = 11
    OUTSIDE_ORDER = 12
    NOT_NAMED = 13
    NAMING_SIGNATURE = 14
    LIFETIME = 15
    REPLAY = 16
    BUDGET = 17
    DENIED = 18
    SISTERS = 19


class RecordCoverage(enum.Enum):
    """What a provider's records say of the time asked for."""

    UNSPECIFIED = 0
    COMPLETE = 1
    NOT_YET = 2
    GAP = 3
    EXPIRED = 4


class ErrorReason(enum.Enum):
    """Why a message could not be taken as a question at all."""

    UNSPECIFIED = 0
    MALFORMED = 1
    INVALID_FIELD = 2
    NOT_A_COORDINATOR = 3
    WRONG_TARGET = 4
    BATCH_COLUMNS = 5
    STORE_UNAVAILABLE = 6
    ORDER_REQUIRED = 7
    SIGNATURE = 8
    AUDIT_UNAVAILABLE = 9
    REVOKED = 10


@dataclass(frozen=True, slots=True)
class Sister:
    """Another call of the campaign: the digest of its naming, and the question with it that the target answered."""

    naming_sha256: bytes
    question_id: UUID


@value
class Authority:
    """By what right a question is asked: the order, and what proves that the target was named, by their digests.

    `naming_sha256` is None when the target is the terminating provider; `position` counts hops from 0 there; `issued`
    is aware UTC; `nonce` is 16 bytes; `sisters` are calls that are certainly not the one that is asked for.
    """

    order_sha256: bytes
    naming_sha256: bytes | None
    position: int
    issued: datetime
    nonce: bytes
    sisters: tuple[Sister, ...] = ()


@value
class Question:
    """Who handed you this call?

    `at` is aware UTC; `window` is the half-width of the interval searched; `named_by` is the downstream provider that
    said the call came from `target`, None when `target` is the terminating provider; `authority` is None in a trial's
    unsigned lookup alone.
    """

    question_id: UUID
    target: ProviderId
    called: E164
    at: datetime
    window: timedelta
    named_by: ProviderId | None
    calling: E164 | None
    deadline: datetime
    authority: Authority | None = None

    def __post_init__(self) -> None:
        if self.at.tzinfo is UTC is self.deadline.tzinfo:
            return
        if self.at.utcoffset() != timedelta(0) or self.deadline.utcoffset() != timedelta(0):
            raise ValueError("a question's times must be aware and in UTC")


NAMING_UPSTREAM = (Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM)
"""Outcomes that name who handed the call over."""


@value
class Answer:
    """One hop's answer, with nothing about the call beyond what the next question needs.

    `ask_called` is the called number before translation here, None when unchanged; `time_correction` is in whole
    seconds, zero when the question's time served.
    """

    provider: ProviderId
    outcome: Outcome
    upstream: ProviderId | None = None
    ask_called: E164 | None = None
    time_correction: timedelta = timedelta(0)
    handover: Handover = Handover.UNSPECIFIED
    retry_after: timedelta = timedelta(0)
    refusal: RefusalReason = RefusalReason.UNSPECIFIED

    def __post_init__(self) -> None:
        names_upstream = self.outcome in NAMING_UPSTREAM
        if names_upstream != (self.upstream is not None):
            raise ValueError(f"an answer {self.outcome.name} with upstream {self.upstream!r} contradicts itself")
        if (self.ask_called is not None or self.time_correction) and not names_upstream:
            raise ValueError(f"an answer {self.outcome.name} may carry neither number nor time")
