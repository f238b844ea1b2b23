"""What a traceback needs from the world: a clock, a store, a registry, agents, and somebody who watches.

Protocols and the few values that cross them, no behaviour. The driver knows these and nothing behind them, so that
tests put plain Python in their place and none has to fake a network or a database.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, runtime_checkable

from coordinator.tracing.chain import Phase, Traceback
from coordinator.tracing.offsets import Observation
from coordinator.tracing.priorities import Priority
from protos.identity import ProviderId
from protos.types import Answer, Question
from protos.values import value

DIAL_OUT: Final = "dial-out"
"""Stands in place of host:port: the agent opens no port and calls this coordinator (`coordinator.lookups.dialout`)."""


class Clock(Protocol):
    """Time, so that nothing reads it behind a test's back."""

    def now(self) -> datetime:
        """The present time, aware UTC."""
        ...

    async def sleep_until(self, time: datetime) -> None:
        """Return at `time`, at once when it has passed."""
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider as the registry knows it.

    `endpoint` is `host:port` of its agent, None where it has none; several agents over the same records are told with
    blanks between: any of them may be asked.
    """

    id: ProviderId
    name: str
    endpoint: str | None = None
    country: str | None = None
    role: str | None = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where any of its agents listens; empty where it has none."""
        return tuple((self.endpoint or "").split())


class Registry(Protocol):
    """Who is who."""

    def provider(self, provider: ProviderId) -> Provider | None:
        """The entry of `provider`, None when there is none."""
        ...


class AgentError(Exception):
    """An agent gave no usable answer. `detail` is for the operator and holds no subscriber's number."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnreachableError(AgentError):
    """The question could not be delivered, or the agent failed on it; trying again may help."""


class AttemptTimedOutError(AgentError):
    """No answer came in time; trying again may help."""


class BadAnswerError(AgentError):
    """What came back is no answer to the question; trying again won't help. `received` are its bytes, as they came."""

    def __init__(self, detail: str, received: bytes | None = None) -> None:
        super().__init__(detail)
        self.received = received


class DeclinedError(AgentError):
    """The agent doesn't accept this coordinator."""


@value
class Exchange:
    """The exact bytes of a batch of questions and of its answers; `sha256` is the digest of what was sent."""

    provider: ProviderId
    sha256: bytes
    sent: bytes
    received: bytes


@value
class Reply:
    """A checked answer, and the exact bytes in which it came.

    Where it came in a batch, `exact` restates the answer as if it had come singly, and `batch` is what travelled.
    """

    answer: Answer
    exact: bytes
    batch: Exchange | None = None


class AgentClient(Protocol):
    """Puts one question to one provider's agent, once."""

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        """The answer to `question`, whose exact bytes are `exact`.

        Raises:
            AgentError: one of its four kinds.
        """
        ...


@runtime_checkable
class BatchClient(AgentClient, Protocol):
    """A client that can also put many questions at once."""

    async def ask_many(
        self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
    ) -> list[Reply]:
        """The answers to these questions (each with its exact bytes when sent singly), in their order.

        Raises:
            AgentError: one of its four kinds, for all of them.
        """
        ...


@value
class Kept:
    """A traceback as the store has it.

    `version` counts its changes, `fence` how often it was claimed: whoever writes must name both as they are stored.
    """

    traceback: Traceback
    version: int
    fence: int = 0
    priority: Priority = Priority.REST


@value
class Change:
    """One step of a traceback, to be written as one: what it was (at `version`, claimed as `fence`), what it is now.

    Attributes:
        received: the exact bytes of the answer that caused it, or of what came in place of one.
        batch: the batch in which they came.
        asked: the exact bytes of the question that is open now; None where they are to be made.
        held: the writer keeps its lease although the traceback waits now.
    """

    before: Traceback
    after: Traceback
    version: int
    at: datetime
    received: bytes | None = None
    batch: Exchange | None = None
    fence: int = 0
    asked: bytes | None = None
    held: bool = False

    @property
    def frees(self) -> bool:
        """Whether the lease ends with this step: nothing more is to be done, or nothing now."""
        phase = self.after.status.phase
        return phase.rests or (phase is Phase.WAITING and not self.held)


class Store(Protocol):
    """Keeps tracebacks through restarts."""

    async def save(self, changes: Sequence[Change]) -> Collection[int]:
        """Return when the changes are durable, but for those at the indices that are given back.

        Those are stale: version or fence is not the stored one, since somebody else has taken the traceback over.
        Nothing of them is written, and no other suffers from it.
        """
        ...

    async def wake(self, provider: ProviderId, now: datetime) -> int:
        """Let those go on at once that wait for the silent agent of `provider` and are nobody's; how many."""
        ...


@value
class Lease:
    """Who may drive what is claimed now, and until when nobody else may."""

    owner: str
    now: datetime
    until: datetime


class Leases(Protocol):
    """Who drives what: a traceback is claimed by one process at a time, and by another when that falls silent.

    Every claim raises the traceback's fence, so that a former owner's writes are refused from then on.
    """

    async def claim(self, lease: Lease, places: int) -> list[Kept]:
        """At most `places` tracebacks that are due and nobody's, by `tracing.priorities`; now this owner's."""
        ...

    async def claim_these(
        self, lease: Lease, ids: Sequence[uuid.UUID], *, closed_too: bool = False, early: bool = False
    ) -> list[Kept]:
        """Those of `ids` that are nobody's; with `early` also those that are not due yet."""
        ...

    async def renew(self, lease: Lease, fences: Mapping[uuid.UUID, int]) -> Collection[uuid.UUID]:
        """Hold on to these, claimed with these fences, until `lease.until`; gives those that were lost meanwhile."""
        ...

    async def let_go(self, fences: Mapping[uuid.UUID, int], due: datetime) -> None:
        """Others may claim these from `due` on; those that were lost meanwhile stay as they are."""
        ...

    async def next_due(self) -> datetime | None:
        """When the next traceback can be claimed, in the past if one can be now; None when all are closed."""
        ...


class Clocks(Protocol):
    """What is known of how far neighbours' clocks are apart (`coordinator.tracing.offsets`)."""

    def shift(self, named_by: ProviderId, provider: ProviderId) -> timedelta:
        """By how much to move the time of a question to `provider`, which `named_by` names; zero where unknown."""
        ...

    def observed(self, question_id: uuid.UUID, seen: Observation, at: datetime) -> None:
        """The answer to this question showed that."""
        ...


class Watcher(Protocol):
    """Hears of everything that happens, for showing it; must not block."""

    def changed(self, traceback: Traceback) -> None:
        """The traceback has moved on, and that is stored."""
        ...

    def lost(self, traceback: Traceback) -> None:
        """Another process has taken the traceback over; this is the last state known here."""
        ...
