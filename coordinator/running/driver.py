"""The loop that does what the state machine wants: asks, waits, writes down, tells; for thousands at once.

It decides nothing about a chain: `coordinator.tracing.traceback` does. What it adds is order and bounds:

- Every change is durable before the command that follows from it is carried out, so that a crash at any point leaves
  a traceback that any process takes up where it was. Changes that come while others are being written are written
  together with the next ones, in one transaction.
- There is no task a traceback. One that asks is an entry in a provider's lane (`lookups.batching`), one that waits
  is an alarm. Neither keeps another from moving on.
- One that would wait for longer than `Limits.longest_nap`, or that can't be asked now, is let go: the store knows when
  it is due. One that waits for a silent agent goes on as soon as that answers anybody here (`running.comebacks`).
- A write that is refused (another process has claimed the traceback) ends the driving of that one here.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.lookups.alarms import Alarms
from coordinator.lookups.batching import Asked, Ending, Lanes, Postponed, Silent
from coordinator.running.comebacks import Comebacks
from coordinator.running.limits import Limits
from coordinator.running.unanswered import Unanswered
from coordinator.tracing.chain import Problem, Status, Traceback
from coordinator.tracing.events import (
    AgentBack,
    AgentSilent,
    AgentUnreachable,
    Answered,
    Ask,
    BadAnswer,
    Command,
    Declined,
    Event,
    NoAgent,
    Reopened,
    RetryDue,
    Started,
    TimedOut,
    WaitUntil,
)
from coordinator.tracing.offsets import observation
from coordinator.tracing.ports import (
    AgentClient,
    AttemptTimedOutError,
    BadAnswerError,
    Change,
    Clock,
    Clocks,
    DeclinedError,
    Exchange,
    Kept,
    Registry,
    Reply,
    Store,
    UnreachableError,
    Watcher,
)
from coordinator.tracing.priorities import Priority
from coordinator.tracing.signed import encode_question
from coordinator.tracing.traceback import advance
from protos.identity import ProviderId
from protos.types import Answer, Outcome, Question


@dataclass(frozen=True, slots=True)
class Rested:
    """A traceback that is no longer driven here.

    Attributes:
        due: when it is to go on; None when it is closed, or lost.
        freed: the store says already that nobody drives it; else whoever claimed it must let it go.
        lost: another process has taken it over; `kept` is the last state known here.
    """

    kept: Kept
    due: datetime | None = None
    freed: bool = False
    lost: bool = False


@dataclass(slots=True)
class _Active:
    traceback: Traceback
    version: int
    fence: int
    priority: Priority
    rested: Callable[[Rested], None]
    driven: bool = True
    wake: Callable[[], None] | None = None
    asked: int = 0

    @property
    def kept(self) -> Kept:
        return Kept(self.traceback, self.version, self.fence, self.priority)


@dataclass(slots=True)
class _Step:
    """A change that is being written, and what follows when it is: a question, a wait, or neither."""

    active: _Active
    change: Change
    question: Question | None
    due: datetime | None


class Driver:
    """Carries tracebacks on until each is closed or has to wait. `close` it at the end."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        agents: AgentClient,
        clock: Clock,
        watcher: Watcher,
        limits: Limits | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """Without `clocks` no question's time is moved by what is known of neighbours' clocks."""
        self._store = store
        self._clocks = clocks
        self._registry = registry
        self._clock = clock
        self._watcher = watcher
        self._limits = limits or Limits()
        self._alarms = Alarms(clock, self._fail)
        self._lanes = Lanes(
            agents,
            clock,
            self._alarms,
            attempt_timeout=self._limits.attempt_timeout,
            failed=self._fail,
            terms=self._limits.lane,
            of=dict(self._limits.lanes),
            back=self._came_back,
        )
        self._comebacks = Comebacks(store, clock, self._tell, self._fail)
        self._active: dict[uuid.UUID, _Active] = {}
        self._napping = 0
        self._unanswered = Unanswered(clock.now())
        self._steps: list[_Step] = []
        self._writer: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        """What the store, or the client of the agents, could not do; nothing is driven any more then."""
        self._told: set[Callable[[], object]] = set()

    @property
    def places(self) -> int:
        """How many more tracebacks may be taken now."""
        busy = len(self._active) - self._napping - self._unanswered.slow(self._clock.now())
        return min(self._limits.concurrent - busy, self._limits.most - len(self._active))

    @property
    def driven_count(self) -> int:
        """How many are driven here."""
        return len(self._active)

    def fence_of(self, traceback_id: uuid.UUID) -> int | None:
        """The fence under which this one is driven here, None if it is not."""
        active = self._active.get(traceback_id)
        return None if active is None else active.fence

    @property
    def driven(self) -> dict[uuid.UUID, int]:
        """The fences of all that are driven here, by id."""
        return {active.traceback.id: active.fence for active in self._active.values()}

    def close(self) -> None:
        """Drive nothing any more. What was not written is as if it had not happened."""
        for active in self._active.values():
            active.driven = False
        self._active.clear()
        self._steps.clear()
        self._alarms.close()
        self._lanes.close()
        for task in self._under_way():
            task.cancel()

    async def stop(self) -> None:
        """Close, and return when nothing is being written any more."""
        ending = self._under_way()
        self.close()
        if ending:
            await asyncio.wait(ending)

    def _under_way(self) -> list[asyncio.Task[None]]:
        return [*self._comebacks.under_way, *([] if self._writer is None else [self._writer])]

    def take(self, kept: Kept, rested: Callable[[Rested], None], *, reopen: bool = False) -> None:
        """Carry this one on, new or taken up again; `rested` hears of it once, when it is no longer driven here.

        With `reopen` the last provider of a closed one is asked again, where that can help.
        """
        if self.failure is not None:
            raise self.failure
        active = _Active(kept.traceback, kept.version, kept.fence, kept.priority, rested)
        self._forget(kept.traceback.id)  # one of an earlier claim
        self._active[kept.traceback.id] = active
        now = self._clock.now()
        self._happens(active, Reopened(now) if reopen else Started(now))

    def lose(self, traceback_id: uuid.UUID) -> None:
        """Another process has taken this one over."""
        active = self._active.get(traceback_id)
        if active is not None:
            self._watcher.lost(active.traceback)
            self._rest(active, Rested(active.kept, lost=True))

    async def drive(self, kept: Kept, *, reopen: bool = False) -> Traceback:
        """Carry one traceback on; return it closed, waiting, or as another process took it.

        Raises:
            Exception: whatever the store raises; the traceback can be taken up again.
        """
        done: asyncio.Future[Rested] = asyncio.get_running_loop().create_future()

        def came(rested: Rested | None = None) -> None:
            if not done.done():
                if rested is None:
                    done.set_exception(self.failure or RuntimeError("the driver was closed"))
                else:
                    done.set_result(rested)

        def failed() -> None:
            if self.failure is not None:
                came()

        with self.telling(failed):
            self.take(kept, came, reopen=reopen)
            try:
                return (await done).kept.traceback
            finally:
                self._forget(kept.traceback.id)

    async def drive_all(self, many: Iterable[Kept]) -> AsyncIterator[Traceback]:
        """Carry many on together; yields each as it comes to rest, in no particular order.

        Raises:
            Exception: whatever the store raises; none is driven any more then, and all can be taken up again.
        """
        rested: list[Rested] = []
        news = asyncio.Event()

        waiting, under_way = iter(many), 0
        following = next(waiting, None)
        with self.telling(news.set):
            while following is not None or under_way:
                while following is not None and (self.places > 0 or not under_way):
                    self.take(following, rested.append)
                    under_way += 1
                    following = next(waiting, None)
                await news.wait()
                news.clear()
                if self.failure is not None:
                    raise self.failure
                come, rested[:] = rested[:], []
                for one in come:
                    under_way -= 1
                    yield one.kept.traceback

    @contextmanager
    def telling(self, tell: Callable[[], object]) -> Iterator[None]:
        """Call `tell` when there may be places again, or nothing can be driven any more (see `failure`)."""
        self._told.add(tell)
        try:
            yield
        finally:
            self._told.discard(tell)

    def _tell(self) -> None:
        for tell in tuple(self._told):
            tell()

    # From an event to what follows from it

    def _happens(
        self, active: _Active, event: Event, received: bytes | None = None, batch: Exchange | None = None
    ) -> None:
        before = active.traceback
        after, commands = advance(before, event, self._limits.patience)
        question, due = _reading(commands)
        # One that rests was claimed because a process died; a step that changes nothing gives it back.
        if after is before and not (isinstance(event, Started) and before.status.phase.rests):
            self._follow(active, question, due, freed=False)
            return
        asked = None if question is None else encode_question(question)
        held = due is not None and self._naps(due, after)
        change = Change(before, after, active.version, event.at, received, batch, active.fence, asked, held)
        self._steps.append(_Step(active, change, question, due))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._steps:
                steps, self._steps = self._steps, []
                stale = await self._store.save([step.change for step in steps])
                self._unanswered.is_now(self._clock.now())
                for index, step in enumerate(steps):
                    if not step.active.driven:
                        continue  # given up meanwhile
                    if index in stale:
                        self.lose(step.change.after.id)
                    else:
                        self._written(step)
        except Exception as error:
            self._fail(error)
        finally:
            self._writer = None

    def _written(self, step: _Step) -> None:
        active, after = step.active, step.change.after
        active.traceback = after
        active.version += 1
        self._watcher.changed(after)
        self._observe(step)
        if (waits_for := _waits_for(after)) is not None:
            self._comebacks.rests(waits_for, step.change.at)
        self._follow(active, step.question, step.due, freed=step.change.frees, exact=step.change.asked)

    def _follow(
        self,
        active: _Active,
        question: Question | None,
        due: datetime | None,
        *,
        freed: bool,
        exact: bytes | None = None,
    ) -> None:
        if question is not None:
            self._ask(active, question, encode_question(question) if exact is None else exact)
        elif due is not None and not freed and due <= (now := self._clock.now()):
            self._happens(active, RetryDue(now))  # let go, it would be claimed again at once, and again
        elif due is not None and not freed and self._naps(due, active.traceback):
            self._nap(active, due, lambda: self._happens(active, RetryDue(self._clock.now())))
        else:
            self._rest(active, Rested(active.kept, due, freed))

    def _ask(self, active: _Active, question: Question, exact: bytes) -> None:
        provider = self._registry.provider(question.target)
        if provider is None or provider.endpoint is None:
            registered = provider is not None
            self._happens(active, NoAgent(question.question_id, self._clock.now(), registered=registered))
            return
        active.asked = self._unanswered.put()

        def tell(ending: Ending, at: datetime) -> None:
            self._hears(active, question, exact, ending, at)

        self._lanes.put(provider, Asked(question, exact, active.priority, tell))

    def _hears(self, active: _Active, question: Question, exact: bytes, ending: Ending, at: datetime) -> None:
        """Every way in which an attempt can end is an event, but for one: it was not made."""
        self._unanswered.ended(active.asked)
        if not active.driven:
            return
        identity = question.question_id
        match ending:
            case Reply():
                answered = Answered(identity, ending.answer, at, self._shift(ending.answer))
                self._happens(active, answered, ending.exact, ending.batch)
            case Postponed():
                self._postpone(active, question, exact, ending.until)
            case Silent(attempts, error):
                problem = Problem.TIMED_OUT if isinstance(error, AttemptTimedOutError) else Problem.UNREACHABLE
                self._happens(active, AgentSilent(identity, at, attempts, problem, error.detail))
            case UnreachableError():
                self._happens(active, AgentUnreachable(identity, at, ending.detail))
            case AttemptTimedOutError():
                self._happens(active, TimedOut(identity, at, ending.detail))
            case BadAnswerError():
                self._happens(active, BadAnswer(identity, at, ending.detail), ending.received)
            case DeclinedError():
                self._happens(active, Declined(identity, at, ending.detail))

    def _shift(self, answer: Answer) -> timedelta:
        if self._clocks is None or answer.outcome is not Outcome.UPSTREAM or answer.upstream is None:
            return timedelta(0)
        return self._clocks.shift(answer.provider, answer.upstream)

    def _observe(self, step: _Step) -> None:
        """Learn from an answer that is durable now."""
        position = len(step.change.before.hops) - 1
        if self._clocks is None or step.change.received is None or position < 1:
            return
        after = step.change.after
        seen = observation(after, position)
        if seen is not None:
            self._clocks.observed(after.hops[position].question.question_id, seen, step.change.at)

    def _postpone(self, active: _Active, question: Question, exact: bytes, until: datetime) -> None:
        """Ask later: the same question, as long as its answer can still be of use."""

        def again() -> None:
            if self._clock.now() < question.deadline:
                self._ask(active, question, exact)
            else:
                self._happens(active, Started(self._clock.now()))

        if until <= self._clock.now():
            again()
        elif self._naps(until, active.traceback):
            self._nap(active, until, again)
        else:
            self._rest(active, Rested(active.kept, until))

    # Napping, resting, failing

    def _naps(self, until: datetime, traceback: Traceback) -> bool:
        """Whether a wait is slept through here, holding the lease."""
        silence = self._limits.silence
        if silence is not None and traceback.status is Status.RETRYING:
            since = traceback.hops[-1].silent_since
            if since is None or until - since > silence:
                return False
        there_is_room = self._napping < self._limits.concurrent
        return there_is_room and until - self._clock.now() <= self._limits.longest_nap

    def _nap(self, active: _Active, until: datetime, then: Callable[[], None]) -> None:
        def wake() -> None:
            if active.driven and active.wake is wake:
                self._awake(active)
                then()

        self._napping += 1
        active.wake = wake
        self._alarms.at(until, wake)
        self._tell()

    def _awake(self, active: _Active) -> None:
        self._napping -= active.wake is not None
        active.wake = None

    def _came_back(self, provider: ProviderId) -> None:
        """An agent answers, for the first time here or again: nobody need wait for it any more."""
        for active in list(self._active.values()):
            if active.wake is not None and _waits_for(active.traceback) == provider:
                self._awake(active)
                self._happens(active, AgentBack(self._clock.now()))
        self._comebacks.came_back(provider)

    def _rest(self, active: _Active, rested: Rested) -> None:
        self._forget(active.traceback.id)
        active.rested(rested)
        self._tell()

    def _forget(self, traceback_id: uuid.UUID) -> None:
        active = self._active.pop(traceback_id, None)
        if active is not None:
            active.driven = False
            self._awake(active)

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
            self.close()
            self._tell()


def _waits_for(traceback: Traceback) -> ProviderId | None:
    return traceback.hops[-1].provider if traceback.status is Status.RETRYING else None


def _reading(commands: tuple[Command, ...]) -> tuple[Question | None, datetime | None]:
    """The question to put now, or the time to wait for; neither when the traceback is closed."""
    for command in commands:
        if isinstance(command, Ask):
            return command.question, None
        if isinstance(command, WaitUntil):
            return None, command.time
    return None, None
