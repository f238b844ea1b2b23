"""The loop that does what the state machine wants: asks, waits, writes down, tells.

It decides nothing about a chain: `coordinator.traceback` does. What it adds is order and bounds: every change is
durable before the command that follows from it is carried out, so that a crash at any point leaves a traceback that
`drive` takes up where it was; at most `Limits.concurrent` tracebacks are active at once; none of those that only wait
holds a place; one that would wait for longer than `Limits.longest_nap` is left in the store with its due time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from coordinator.chain import Traceback
from coordinator.ports import (
    AgentClient,
    AttemptTimedOutError,
    BadAnswerError,
    Change,
    Clock,
    DeclinedError,
    Exchange,
    Kept,
    Registry,
    StaleTracebackError,
    Store,
    UnreachableError,
    Watcher,
)
from coordinator.traceback import (
    AgentUnreachable,
    Answered,
    Ask,
    BadAnswer,
    Command,
    Declined,
    Event,
    NoAgent,
    Patience,
    Reopened,
    RetryDue,
    Started,
    TimedOut,
    WaitUntil,
    advance,
)
from protos.codec import encode_question
from protos.types import Question

_Received = tuple[bytes | None, Exchange | None]
_NOTHING: _Received = (None, None)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one driver.

    Attributes:
        concurrent: how many tracebacks ask or write at the same time.
        attempt_timeout: how long one attempt at a question may take.
        longest_nap: waits up to this are slept through; longer ones leave the traceback to a later run.
    """

    concurrent: int = 256
    attempt_timeout: timedelta = timedelta(seconds=10)
    longest_nap: timedelta = timedelta(seconds=30)
    patience: Patience = field(default_factory=Patience)


class Driver:
    """Carries tracebacks on until each is closed or has to wait."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        agents: AgentClient,
        clock: Clock,
        watcher: Watcher,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._agents = agents
        self._clock = clock
        self._watcher = watcher
        self._limits = limits or Limits()
        self._places = asyncio.Semaphore(self._limits.concurrent)

    async def drive(self, kept: Kept, *, reopen: bool = False) -> Traceback:
        """Carry one traceback on, new or taken up again; return it closed, waiting, or as another process took it.

        With `reopen` the last provider of a closed one is asked again, where that can help.
        """
        happens: type[Reopened | Started | RetryDue] = Reopened if reopen else Started
        while True:
            try:
                async with self._places:  # the hop's time counts from here: waiting for a place is not the provider's
                    kept, due = await self._until_it_rests(kept, happens(self._clock.now()))
            except StaleTracebackError:
                self._watcher.lost(kept.traceback)
                return kept.traceback
            if due is None or due - self._clock.now() > self._limits.longest_nap:
                return kept.traceback
            await self._clock.sleep_until(due)
            happens = RetryDue

    async def drive_all(self, many: Iterable[Kept], *, reopen: bool = False) -> AsyncIterator[Traceback]:
        """Carry many on together; yields each as it comes to rest, in no particular order.

        Raises:
            Exception: whatever the store raises; the others are cancelled then, and can be taken up again.
        """
        tasks = [asyncio.create_task(self.drive(kept, reopen=reopen)) for kept in many]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_it_rests(self, kept: Kept, event: Event) -> tuple[Kept, datetime | None]:
        """Feed events until the machine asks nothing more now; the due time is set when it wants to wait."""
        received = _NOTHING
        while True:
            kept, commands = await self._step(kept, event, received)
            question, due = _reading(commands)
            if question is None:
                return kept, due
            event, received = await self._ask(question)

    async def _step(self, kept: Kept, event: Event, received: _Received) -> tuple[Kept, tuple[Command, ...]]:
        before = kept.traceback
        after, commands = advance(before, event, self._limits.patience)
        if after is not before:
            await self._store.save(Change(before, after, kept.version, event.at, *received))
            kept = Kept(after, kept.version + 1)
            self._watcher.changed(after)
        return kept, commands

    async def _ask(self, question: Question) -> tuple[Event, _Received]:
        """One attempt; every way it can end is an event."""
        provider = self._registry.provider(question.target)
        if provider is None or provider.endpoint is None:
            return NoAgent(question.question_id, self._clock.now(), registered=provider is not None), _NOTHING
        exact = encode_question(question)
        timeout = min(self._limits.attempt_timeout, question.deadline - self._clock.now())
        try:
            reply = await self._agents.ask(provider, question, exact, timeout)
        except UnreachableError as error:
            return AgentUnreachable(question.question_id, self._clock.now(), error.detail), _NOTHING
        except AttemptTimedOutError as error:
            return TimedOut(question.question_id, self._clock.now(), error.detail), _NOTHING
        except BadAnswerError as error:
            return BadAnswer(question.question_id, self._clock.now(), error.detail), (error.received, None)
        except DeclinedError as error:
            return Declined(question.question_id, self._clock.now(), error.detail), _NOTHING
        return Answered(question.question_id, reply.answer, self._clock.now()), (reply.exact, reply.batch)


def _reading(commands: tuple[Command, ...]) -> tuple[Question | None, datetime | None]:
    """The question to put now, or the time to wait for; neither when the traceback is closed."""
    question = next((command.question for command in commands if isinstance(command, Ask)), None)
    due = next((command.time for command in commands if isinstance(command, WaitUntil)), None)
    return question, due
