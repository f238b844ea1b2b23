"""Questions wait in lanes, one a provider; what is due for the same provider at the same time travels in one message.

A question that comes alone goes out alone and at once. While as many messages to a provider are unanswered as may be,
further questions for it gather and go out together: the busier the provider, the larger the batches, without waiting
on purpose. Whose turn it is in a lane, `coordinator.tracing.priorities` says; whether the provider may be asked now,
`coordinator.lookups.breaker`. What may not be asked now, or finds its lane full, is not kept here but handed back as
`Postponed`, so that a provider that is slow or dead holds nothing but its own few places.

While an agent answers nobody, a few questions stay in its lane, to go out and see when the breaker lets them; all
others are handed back as `Silent`, however many there are. The first answer, and the first after a silence, is told on
(`back`), so that those who wait for it need not sleep on.

A batch stands or falls as a whole, but one bad answer must not spoil the others' chains: when the answers of a batch
can't be used, its halves are asked again, down to the question that is at fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from coordinator.lookups.alarms import Alarms
from coordinator.lookups.breaker import Breaker, BreakerTerms, Budget, Rate
from coordinator.tracing.ports import (
    AgentClient,
    AgentError,
    AttemptTimedOutError,
    BadAnswerError,
    BatchClient,
    Clock,
    Provider,
    Reply,
    UnreachableError,
)
from coordinator.tracing.priorities import FairQueue, Priority
from protos.identity import ProviderId
from protos.types import Question


@dataclass(frozen=True, slots=True)
class LaneTerms:
    """How one provider is asked.

    Attributes:
        in_flight: messages that may be unanswered at the same time.
        largest: questions in one message at most.
        room: questions that may wait; further ones are postponed by `pause`.
        slow: when a message is unanswered for this long, no question waits for the next one: all are postponed.
        rate: questions a second; None for no bound.
        budget: questions a day; None for no bound.
    """

    in_flight: int = 2
    largest: int = 1000
    room: int = 4000
    pause: timedelta = timedelta(seconds=1)
    slow: timedelta = timedelta(seconds=2)
    rate: float | None = None
    budget: int | None = None
    breaker: BreakerTerms = field(default_factory=BreakerTerms)


@dataclass(frozen=True, slots=True)
class Postponed:
    """The question was not asked; it may be at `until`, at once where that has passed."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Silent:
    """The question was not asked: the agent answers nobody; `attempts` in a row ended like the last one, `error`."""

    attempts: int
    error: AgentError


Ending = Reply | AgentError | Postponed | Silent
"""What becomes of a question."""


_PROBES: Final = 8
"""So many questions wait with a silent agent, to see whether it is back: one may be withdrawn, or too old by then."""


@dataclass(slots=True)
class Asked:
    """A question on its way, its exact bytes, and who hears what became of it, and when (once)."""

    question: Question
    exact: bytes
    priority: Priority
    tell: Callable[[Ending, datetime], None]


@dataclass(slots=True)
class _Lane:
    provider: Provider
    terms: LaneTerms
    breaker: Breaker
    rate: Rate
    budget: Budget
    waiting: FairQueue[Asked] = field(default_factory=FairQueue)
    sent_at: list[datetime] = field(default_factory=list)
    scheduled: bool = False
    alarm: datetime | None = None
    error: AgentError | None = None
    is_back: bool = False

    @property
    def may_be_sent(self) -> int:
        """How many messages may be unanswered: one, to see, while the agent seems to be down."""
        return 1 if self.breaker.is_open else self.terms.in_flight


class Lanes:
    """Puts questions to agents."""

    def __init__(
        self,
        client: AgentClient,
        clock: Clock,
        alarms: Alarms,
        *,
        attempt_timeout: timedelta,
        failed: Callable[[Exception], None],
        terms: LaneTerms | None = None,
        of: Mapping[ProviderId, LaneTerms] | None = None,
        back: Callable[[ProviderId], None] = lambda _: None,
    ) -> None:
        """`failed` hears of defects, `back` of agents that answer first, or again.

        `of` has the terms of those providers whose terms differ from `terms`."""
        self._failed = failed
        self._client = client
        self._batches = client if isinstance(client, BatchClient) else None
        self._clock = clock
        self._alarms = alarms
        self._timeout = attempt_timeout
        self._terms = terms or LaneTerms()
        self._of = of or {}
        self._back = back
        self._lanes: dict[ProviderId, _Lane] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def put(self, provider: Provider, asked: Asked) -> None:
        """Ask as soon as it may be."""
        lane = self._lanes.get(provider.id)
        if lane is None:
            lane = self._lanes[provider.id] = self._lane(provider)
        lane.provider = provider
        if lane.breaker.is_open:
            if len(lane.waiting) >= _PROBES:
                self._silence(lane, [asked])
                return
        elif len(lane.sent_at) >= lane.may_be_sent:
            now = self._clock.now()
            if len(lane.waiting) >= lane.terms.room or now - lane.sent_at[0] >= lane.terms.slow:
                asked.tell(Postponed(now + lane.terms.pause), now)
                return
        lane.waiting.put(asked, asked.priority)
        self._schedule(lane)

    def close(self) -> None:
        """Send nothing more; whatever is on its way is given up, and nobody is told."""
        self._lanes.clear()
        for task in self._sending:
            task.cancel()

    def _lane(self, provider: Provider) -> _Lane:
        terms = self._of.get(provider.id, self._terms)
        breaker = Breaker(provider.id, terms.breaker)
        return _Lane(provider, terms, breaker, Rate(terms.rate), Budget(terms.budget))

    def _schedule(self, lane: _Lane) -> None:
        """Send at the end of this turn of the loop, so that whatever else is due in it goes along."""
        if len(lane.sent_at) < lane.may_be_sent and lane.waiting and not lane.scheduled:
            lane.scheduled = True
            asyncio.get_running_loop().call_soon(self._send, lane)

    def _send(self, lane: _Lane) -> None:
        try:
            self._send_what_may_go(lane)
        except Exception as error:
            self._failed(error)

    def _send_what_may_go(self, lane: _Lane) -> None:
        lane.scheduled = False
        now = self._clock.now()
        if lane.breaker.is_open and len(lane.waiting) > _PROBES:
            probes = lane.waiting.take(_PROBES)
            self._silence(lane, lane.waiting.take(len(lane.waiting)))
            for asked in probes:
                lane.waiting.put(asked, asked.priority)
        if (blocked := lane.breaker.blocked_until(now)) is not None:
            self._wake(lane, blocked)
            return
        wanted = min(len(lane.waiting), lane.terms.largest)
        if wanted and not lane.budget.granted(1, now):
            for asked in lane.waiting.take(len(lane.waiting)):
                asked.tell(Postponed(lane.budget.next(now)), now)
            return
        granted = lane.rate.granted(lane.budget.granted(wanted, now), now)
        if not granted:
            self._wake(lane, lane.rate.next(now))
            return
        batch, alone = [], []
        for asked in lane.waiting.take(granted):
            left = asked.question.deadline - now
            if left <= timedelta(0):
                asked.tell(Postponed(now), now)
            elif left < self._timeout / 2 or self._batches is None:  # its early deadline would hold for the whole batch
                alone.append(asked)
            else:
                batch.append(asked)
        sent = len(batch) + len(alone)
        lane.rate, lane.budget = lane.rate.after(sent, now), lane.budget.after(sent, now)
        for some in (batch, *([asked] for asked in alone)):
            if some:
                lane.sent_at.append(now)
                task = asyncio.create_task(self._carry(lane, some, now))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
        self._schedule(lane)

    def _silence(self, lane: _Lane, many: Iterable[Asked]) -> None:
        """The agent answers nobody: these are not put."""
        now, error = self._clock.now(), lane.error or UnreachableError("")
        for asked in many:
            asked.tell(Silent(lane.breaker.failed, error), now)

    def _answers(self, lane: _Lane) -> None:
        lane.breaker, lane.error = lane.breaker.after_answer(), None
        if not lane.is_back:
            lane.is_back = True
            self._back(lane.provider.id)

    def _is_silent(self, lane: _Lane, error: AgentError) -> None:
        lane.breaker, lane.error = lane.breaker.after_failure(self._clock.now()), error.with_traceback(None)
        if lane.breaker.is_open:
            lane.is_back = False

    def _wake(self, lane: _Lane, time: datetime) -> None:
        if lane.alarm is None:
            lane.alarm = time

            def ring() -> None:
                lane.alarm = None
                self._schedule(lane)

            self._alarms.at(time, ring)

    async def _carry(self, lane: _Lane, batch: Sequence[Asked], sent_at: datetime) -> None:
        try:
            await self._put(lane, batch)
        except Exception as error:
            self._failed(error)
        finally:
            lane.sent_at.remove(sent_at)
            self._schedule(lane)

    async def _put(self, lane: _Lane, batch: Sequence[Asked]) -> None:
        timeout = min(self._timeout, min(asked.question.deadline for asked in batch) - self._clock.now())
        replies: Sequence[Ending]
        try:
            if len(batch) == 1 or self._batches is None:
                (asked,) = batch
                replies = [await self._client.ask(lane.provider, asked.question, asked.exact, timeout)]
            else:
                put = [(asked.question, asked.exact) for asked in batch]
                replies = await self._batches.ask_many(lane.provider, put, timeout)
        except (UnreachableError, AttemptTimedOutError) as error:
            self._is_silent(lane, error)
            replies = _failed(batch, error)
        except BadAnswerError as error:
            self._answers(lane)
            if len(batch) > 1:
                half = len(batch) // 2
                await self._put(lane, batch[:half])
                await self._put(lane, batch[half:])
                return
            replies = _failed(batch, error)
        except AgentError as error:
            self._answers(lane)
            replies = _failed(batch, error)
        else:
            self._answers(lane)
        now = self._clock.now()
        for asked, reply in zip(batch, replies, strict=True):
            asked.tell(reply, now)


def _failed(batch: Sequence[Asked], error: AgentError) -> list[Ending]:
    """The same for all; without its traceback, whose frames hold the request, and this very error."""
    return [error.with_traceback(None)] * len(batch)
