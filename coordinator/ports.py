"""What a traceback needs from the world: a clock, a store, a registry, agents, and somebody who watches.

Protocols and the few values that cross them, no behaviour. The driver knows these and nothing behind them, so that
tests put plain Python in their place and none has to fake a network or a database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from coordinator.chain import Traceback
from protos.identity import ProviderId
from protos.types import Answer, Question


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


@dataclass(frozen=True, slots=True)
class Exchange:
    """The exact bytes of a batch of questions and of its answers; `sha256` is the digest of what was sent."""

    provider: ProviderId
    sha256: bytes
    sent: bytes
    received: bytes


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Kept:
    """A traceback as the store has it; `version` counts its changes and guards against two writers."""

    traceback: Traceback
    version: int


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a traceback, to be written as one: what it was (at `version`), what it is now.

    `received` are the exact bytes of the answer that caused it, or of what came in place of one; `batch` is the batch
    in which they came.
    """

    before: Traceback
    after: Traceback
    version: int
    at: datetime
    received: bytes | None = None
    batch: Exchange | None = None


class StaleTracebackError(Exception):
    """Somebody else has advanced this traceback since it was read; nothing was written."""


class Store(Protocol):
    """Keeps tracebacks through restarts."""

    async def save(self, change: Change) -> None:
        """Return when the change is durable.

        Raises:
            StaleTracebackError: `change.version` is not the stored one.
        """
        ...


class Watcher(Protocol):
    """Hears of everything that happens, for showing it; must not block."""

    def changed(self, traceback: Traceback) -> None:
        """The traceback has moved on, and that is stored."""
        ...

    def lost(self, traceback: Traceback) -> None:
        """Another process has taken the traceback over; this is the last state known here."""
        ...
