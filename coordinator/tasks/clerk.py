"""The clerk between chains and people: puts to a person what no agent answers, and brings the answer into its chain.

In rounds, each of which may end anywhere and be taken up by any process:

- A chain that ended because its last provider has no agent, or holds its answer for longer than `review_after`, becomes
  a task; from then on it waits for a person, with a clock. A provider whose agent holds the answer is asked again now
  and then, for what its person releases comes from there.
- Tasks whose time is up are given up, and their chains are non-responsive.
- A chain whose answer no approver has attested when its order ends, ends with it.
- What came of tasks goes into the chains: claimed under a lease like everything that changes a traceback, and marked
  as taken afterwards. What was in its chain already when a process died changes nothing the second time.
- Tasks that their chains no longer need are withdrawn.

What a person answered decides nothing here: `coordinator.tracing.traceback` does.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Engine, Select, and_, exists, not_, or_, select, text

from coordinator.store.models import FOR_PEOPLE, TracebackRow
from coordinator.store.steps import Chains, Steps
from coordinator.store.task_models import tasks
from coordinator.tasks.desk import COORDINATOR, TaskDesk
from coordinator.tasks.ports import PersonsResult
from coordinator.tasks.task import HEARS, Asked, Kind, State
from coordinator.tracing.chain import Phase, Status, Traceback
from coordinator.tracing.events import Event, GivenUp, LeftToPerson, PersonAnswered, Reopened, Unattested
from coordinator.tracing.patience import Patience
from coordinator.tracing.signed import decode_answer, encode_question, keep_said, said_answer
from coordinator.tracing.traceback import hears_person
from protos.codec import ContractError
from protos.types import Outcome

_HEARS = tuple(status.value for status in HEARS)
_WAITING = (State.OPEN.value, State.MATCHING.value)
_CLOSED = tuple(status.value for status in Status if status.phase is Phase.CLOSED)

_HELD = (
    select(TracebackRow.id, TracebackRow.version)
    .join(tasks, TracebackRow.id == tasks.c.traceback_id)
    .where(
        tasks.c.state == State.OPEN.value,
        tasks.c.kind == Kind.REVIEW.value,
        TracebackRow.status == Status.AWAITING_PERSON.value,
    )
)
_NEEDLESS = (
    select(tasks.c.id)
    .join(TracebackRow, TracebackRow.id == tasks.c.traceback_id)
    .where(
        tasks.c.state.in_(_WAITING),
        or_(
            and_(TracebackRow.status.in_(_CLOSED), TracebackRow.status.not_in(_HEARS)),
            TracebackRow.hop_count > tasks.c.position + 1,
        ),
    )
)


@dataclass(frozen=True, slots=True)
class ClerkTerms:
    """How the clerk works.

    Attributes:
        review_after: how long an agent may hold an answer before its people are written to.
        reach: chains that ended longer ago are left alone: no order lives so long.
        lease: for how long a chain is claimed while it takes an answer.
        block: how many of each kind in one round.
        sweep_every: how often all chains are looked through for those that nobody gave notice of, and all tasks for
            those that their chains no longer need.
    """

    review_after: timedelta = timedelta(hours=1)
    reach: timedelta = timedelta(hours=72)
    lease: timedelta = timedelta(seconds=15)
    block: int = 500
    sweep_every: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did."""

    put: int = 0
    given_up: int = 0
    taken: int = 0
    asked_again: int = 0
    withdrawn: int = 0
    unattested: int = 0

    def __bool__(self) -> bool:
        return any((self.put, self.given_up, self.taken, self.asked_again, self.withdrawn, self.unattested))


class Clerk:
    """Works over one database, beside any number of others."""

    def __init__(
        self,
        engine: Engine,
        chains: Chains,
        desk: TaskDesk,
        now: Callable[[], datetime],
        owner: str,
        *,
        patience: Patience | None = None,
        terms: ClerkTerms | None = None,
    ) -> None:
        self._engine = engine
        self._chains = chains
        self._desk = desk
        self._now = now
        self._patience = patience or Patience()
        self._terms = terms or ClerkTerms()
        self._steps = Steps(chains, now, owner, self._terms.lease, self._patience)
        self._noticed: set[uuid.UUID] = set()
        self._sweeps_at: datetime | None = None
        self._asked_again_at: dict[tuple[uuid.UUID, int], datetime] = {}  # of held answers, by traceback and version

    def notice(self, traceback: Traceback) -> None:
        """This one came to rest here: if a person is to be asked, the next round does it."""
        if traceback.status is Status.NO_AGENT:
            self._noticed.add(traceback.id)

    async def round(self) -> Round:
        """Do what is to be done now.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database failed; another round goes on.
        """
        taken = await self.take_results()  # an answer that came goes before its being given up
        given_up = await asyncio.to_thread(self._desk.give_up_overdue, self._now())
        taken += await self.take_results()
        sweeping = self._sweeps_at is None or self._now() >= self._sweeps_at
        unattested = await self.end_unattested() if sweeping else 0
        put = await self.put(await self._to_put(sweeping=sweeping))
        again = await self.ask_again()
        return Round(put, given_up, taken, again, await self.withdraw() if sweeping else 0, unattested)

    # From chains to people

    async def _to_put(self, *, sweeping: bool) -> Sequence[uuid.UUID]:
        noticed = list(self._noticed)
        self._noticed.clear()
        if not sweeping:
            return noticed
        self._sweeps_at = self._now() + self._terms.sweep_every
        return list(dict.fromkeys([*noticed, *await asyncio.to_thread(self._left)]))

    async def put(self, chains: Sequence[uuid.UUID]) -> int:
        """Make tasks of what no agent answers, of these chains; how many."""
        count = 0
        for identity in chains:
            kept = self._chains.load(identity)
            if kept is None or not kept.traceback.hops or (kind := Kind.of(kept.traceback)) is None:
                continue
            due = await asyncio.to_thread(self._task_for, kept.traceback, kind)
            count += bool(await self._steps.take(identity, partial(self._left_event, due)))
        return count

    def _left_event(self, due: datetime, traceback: Traceback) -> Event | None:
        if Kind.of(traceback) is None:
            return None
        return LeftToPerson(traceback.hops[-1].question.question_id, self._now(), due)

    def _left(self) -> list[uuid.UUID]:
        with self._engine.connect() as connection:
            return list(connection.execute(left_to_people(self._now(), self._terms)).scalars())

    def _task_for(self, traceback: Traceback, kind: Kind) -> datetime:
        """When the answer is due: a task that this hop has already keeps its clock, though it was asked anew."""
        position = len(traceback.hops) - 1
        question = traceback.hops[position].question
        query = select(tasks.c.due).where(
            tasks.c.traceback_id == traceback.id,
            tasks.c.position == position,
            tasks.c.provider == question.target,
            tasks.c.state.in_(_WAITING),
        )
        with self._engine.connect() as connection:
            due: datetime | None = connection.execute(query).scalars().first()
        if due is not None:
            return due
        asked = Asked.from_question(traceback.id, position, question, kind)
        return self._desk.view(self._desk.ask(asked, self._now())).task.plan.due

    # From people to chains

    async def take_results(self) -> int:
        """Bring what came of tasks into their chains; how many of them changed by it."""
        count = 0
        for result in await asyncio.to_thread(self._desk.results, self._terms.block):
            moved = await self._take(result)
            if moved is None:
                continue  # somebody drives the chain just now
            count += moved
            await asyncio.to_thread(self._desk.taken, [result], self._now())
        return count

    async def _take(self, result: PersonsResult) -> bool | None:
        """Whether it changed its chain; None where it has to be tried again."""
        kept = self._chains.load(result.traceback_id)
        if kept is None:
            return False
        if result.attestation is not None:
            try:
                self._event(kept.traceback, result)
            except ContractError:
                reason = "the question was asked anew since it was attested"
                await asyncio.to_thread(self._desk.void_attestation, result.task_id, reason, self._now())
                return None
        return await self._steps.take(
            result.traceback_id,
            lambda traceback: self._event(traceback, result),
            lambda traceback: _bytes_of(traceback, result),
        )

    def _event(self, traceback: Traceback, result: PersonsResult) -> Event | None:
        """What the result is to the chain as it stands; None where it is nothing any more."""
        hop = traceback.hops[-1] if len(traceback.hops) == result.position + 1 else None
        if hop is None or hop.provider != result.provider or not hears_person(traceback):
            return None
        question, at = hop.question, self._now()
        if result.answer is None:
            return GivenUp(question.question_id, at)
        if result.attestation is not None:
            exact = encode_question(question)
            return PersonAnswered(question.question_id, decode_answer(result.attestation, exact, question), at)
        if result.review and question.authority is not None:
            return Reopened(at)  # the agent can sign what its person released; nobody else can
        return PersonAnswered(question.question_id, said_answer(result.answer), at)

    async def end_unattested(self) -> int:
        """End the chains whose orders ended while an answer waited to be attested; how many."""
        count = 0
        for task in await asyncio.to_thread(self._desk.never_attested, self._now(), self._terms.block):
            count += bool(await self._steps.take(task.asked.traceback_id, self._unattested))
        return count

    def _unattested(self, traceback: Traceback) -> Event | None:
        if traceback.status is not Status.AWAITING_PERSON:
            return None
        return Unattested(traceback.hops[-1].question.question_id, self._now())

    async def ask_again(self) -> int:
        """Ask agents that hold an answer, when they said that it may have been released; how many."""

        def held() -> list[tuple[uuid.UUID, int]]:
            with self._engine.connect() as connection:
                return [(row.id, row.version) for row in connection.execute(_HELD)]

        count, now, every = 0, self._now(), await asyncio.to_thread(held)
        known = {one: self._asked_again_at[one] for one in every if one in self._asked_again_at}
        self._asked_again_at = known
        for identity, version in every:
            if now < known.get((identity, version), now):
                continue  # not read again before its time: there may be thousands
            step = partial(self._again, version)
            count += bool(await self._steps.take(identity, step))
        return count

    def _again(self, version: int, traceback: Traceback) -> Event | None:
        answer, ended = traceback.hops[-1].answer, traceback.hops[-1].ended
        if answer is None or ended is None or answer.outcome is not Outcome.NEEDS_HUMAN:
            return None
        if traceback.status is not Status.AWAITING_PERSON:
            return None
        again_at = ended + (answer.retry_after or self._patience.not_yet_pause)
        self._asked_again_at[traceback.id, version] = again_at
        return Reopened(self._now()) if again_at <= self._now() else None

    async def withdraw(self) -> int:
        """Take back the tasks that their chains no longer need; how many."""

        def take_back() -> int:
            with self._engine.connect() as connection:
                needless = list(connection.execute(_NEEDLESS.limit(self._terms.block)).scalars())
            now, why = self._now(), "the chain needs it no more"
            return sum(self._desk.withdraw(task, COORDINATOR, why, now) for task in needless)

        return await asyncio.to_thread(take_back)


def left_to_people(now: datetime, terms: ClerkTerms) -> Select[uuid.UUID]:
    """The chains that ended where a person is to be asked, or an answer is held for long; the oldest first.

    One whose task was withdrawn is left alone.
    """
    hop = and_(tasks.c.traceback_id == TracebackRow.id, tasks.c.position == TracebackRow.hop_count - 1)
    put = exists().where(hop, tasks.c.state.in_(_WAITING))
    withdrawn = exists().where(hop, tasks.c.state == State.WITHDRAWN.value)
    held_long = or_(TracebackRow.changed_at <= now - terms.review_after, put)
    return (
        select(TracebackRow.id)
        .where(
            text(FOR_PEOPLE),
            or_(TracebackRow.status == Status.NO_AGENT.value, held_long),
            TracebackRow.changed_at > now - terms.reach,
            not_(withdrawn),
        )
        .order_by(TracebackRow.changed_at)
        .limit(terms.block)
    )


def _bytes_of(traceback: Traceback, result: PersonsResult) -> bytes | None:
    """What is kept of the answer with its hop."""
    if result.answer is None:
        return None
    if result.attestation is not None:
        return result.attestation
    question = traceback.hops[-1].question
    if result.review and question.authority is not None:
        return None
    return keep_said(said_answer(result.answer), encode_question(question))
