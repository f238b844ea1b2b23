"""Coordinator processes: driver, scheduler, clerk and outbox over one database; killed, cut off from it, started anew.

A process that is killed does nothing more: what it would write afterwards, also while it is torn down, doesn't reach
the database. One that is cut off waits for its database longer than its leases last, and then goes on with what it
held: what it writes of that must be refused, and it is looked whether it was.
"""

from __future__ import annotations

import asyncio
import uuid
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from coordinator.present.live import Silent
from coordinator.running.contesting import Contester
from coordinator.running.driver import Driver, Rested
from coordinator.running.eliminating import Eliminator
from coordinator.running.leases import Keeper
from coordinator.running.limits import Limits
from coordinator.running.scheduler import Everything, Scheduler, SchedulerTerms
from coordinator.store.engine import engine_for
from coordinator.store.sql_store import SqlStore, opened
from coordinator.store.sqlite_writer import text_time
from coordinator.tasks.clerk import Clerk, ClerkTerms
from coordinator.tasks.desk import TaskDesk
from coordinator.tasks.letters import Sender
from coordinator.tasks.outbox import MailRoom, Outbox
from coordinator.tasks.ports import Mailer
from coordinator.tasks.tokens import new_token
from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.ports import Change, Kept, Lease, Registry
from protos.codec import digest
from protos.identity import ProviderId
from tests.simulator.journal import Journal
from tests.simulator.loop import VirtualClock
from tests.simulator.network import Agents
from tests.simulator.people import LINK, Offices
from tests.simulator.world import Lot, World

_LETTERS = 1000
_LONGEST_IDLE = timedelta(days=1)
_HELD_AGAIN = timedelta(hours=6, minutes=1)
_MOST_CLAIMS = 100
"""No traceback has reason to change hands as often as that."""
_OVERDUE_AGAIN = timedelta(minutes=10)

_CLERK_NEXT = """
SELECT min(time) FROM (
    SELECT min(gives_up) AS time FROM tasks WHERE state = 'open'
    UNION ALL SELECT min(due) FROM task_notices WHERE done_at IS NULL
    UNION ALL SELECT min(next_at) FROM letters WHERE state = 'queued'
)"""
_ANY_HELD = "SELECT EXISTS (SELECT 1 FROM tasks WHERE state = 'open' AND kind = 'review')"


class Killed(Exception):  # noqa: N818 (no error: it is what kills)
    """The process is dead; nothing of it reaches the database any more."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What a process suffers.

    Attributes:
        dies_at: at which use of the store it dies: before it or, where that is odd, after it.
        cut_off_at, cut_off_for: at which write it can't reach the database any more, and for how long.
    """

    dies_at: int | None = None
    cut_off_at: int | None = None
    cut_off_for: timedelta = timedelta(0)


class Mortal:
    """A process's view of its store: through it goes what the process does while it lives, and can reach it."""

    def __init__(self, store: SqlStore, house: House, harm: Harm, die: Callable[[], None]) -> None:
        self._store = store
        self._journal = house.journal
        self._places = house.places
        self._die = die
        self._clock = VirtualClock()
        self._harm = harm
        self._uses = self._saves = 0
        self._cut_until: datetime | None = None
        self.dead = False

    async def _reached(self) -> SqlStore:
        if self._cut_until is not None and self._clock.now() < self._cut_until:
            await self._clock.sleep_until(self._cut_until)
        self._uses += 1
        if self._uses == self._harm.dies_at and not self._uses % 2:
            self._die()
        if self.dead:
            raise Killed
        return self._store

    def _left(self) -> None:
        if self._uses == self._harm.dies_at:
            self._die()
            raise Killed

    async def save(self, changes: Sequence[Change]) -> Collection[int]:
        self._saves += 1
        if self._saves == self._harm.cut_off_at:
            self._cut_until = self._clock.now() + self._harm.cut_off_for
            self._journal.counts["coordinators cut off from the database"] += 1
        store = await self._reached()
        claimed_since = self._claimed_since(changes) if self._cut_until is not None else set()
        stale = await store.save(changes)
        for index in claimed_since - set(stale):
            self._journal.breaks(f"what a former owner wrote of {changes[index].after.id} was taken")
        if claimed_since:
            self._journal.counts["writes of former owners refused"] += len(claimed_since)
        self._left()
        return stale

    def _claimed_since(self, changes: Sequence[Change]) -> set[int]:
        """Which of these are of tracebacks that another process has claimed."""
        with self._store.engine.connect() as connection:
            ask = "SELECT fence FROM tracebacks WHERE id = ?"
            fences = [connection.exec_driver_sql(ask, (change.after.id.hex,)).scalar() for change in changes]
        return {index for index, fence in enumerate(fences) if fence != changes[index].fence}

    async def claim(self, lease: Lease, places: int) -> list[Kept]:
        claimed = await (await self._reached()).claim(lease, places)
        self._places.given(claimed, places)
        self._left()
        return claimed

    async def claim_these(
        self, lease: Lease, ids: Sequence[uuid.UUID], *, closed_too: bool = False, early: bool = False
    ) -> list[Kept]:
        claimed = await (await self._reached()).claim_these(lease, ids, closed_too=closed_too, early=early)
        self._left()
        return claimed

    async def renew(self, lease: Lease, fences: Mapping[uuid.UUID, int]) -> Collection[uuid.UUID]:
        return await (await self._reached()).renew(lease, fences)

    async def let_go(self, fences: Mapping[uuid.UUID, int], due: datetime) -> None:
        await (await self._reached()).let_go(fences, due)

    async def wake(self, provider: ProviderId, now: datetime) -> int:
        return await (await self._reached()).wake(provider, now)

    async def next_due(self) -> datetime | None:
        return await (await self._reached()).next_due()

    def load(self, traceback_id: uuid.UUID) -> Kept | None:
        if self.dead:
            raise Killed
        return self._store.load(traceback_id)


class Places:
    """Whether whoever waits for its first place gets one in time, and nobody is given places for nothing.

    One place of eight goes by age (`tracing.priorities`), so that whoever has n before it in age has one after
    8 n + 8; each process counts for itself, and a new one anew.
    """

    def __init__(self, journal: Journal, waited: Mapping[uuid.UUID, timedelta]) -> None:
        """How long each of them has waited when the run begins."""
        self._journal = journal
        ages = sorted(waited.values())
        self._before = {identity: len(ages) - bisect_left(ages, age) - 1 for identity, age in waited.items()}
        self._claims: Counter[uuid.UUID] = Counter()
        self._given = 0
        self.processes = 0

    def given(self, claimed: Sequence[Kept], places: int) -> None:
        """A process has claimed these for so many places."""
        for kept in claimed:
            self._claims[kept.traceback.id] += 1
            if self._claims[kept.traceback.id] == _MOST_CLAIMS:
                self._journal.breaks(f"{kept.traceback.id} is claimed and let go of without end")
            before = self._before.pop(kept.traceback.id, None)
            if before is not None and self._given > 8 * (before + 1 + self.processes) + places:
                self._journal.breaks(
                    f"{kept.traceback.id} had {before} before it, and starved until {self._given} places were given"
                )
        self._given += len(claimed)


@dataclass(frozen=True, slots=True)
class House:
    """What all processes share: the database, and the world outside; a round of a clerk comes within `round_s`."""

    url: str
    world: World
    journal: Journal
    registry: Registry
    agents: Agents
    mailer: Mailer
    places: Places
    limits: Limits
    scheduling: SchedulerTerms
    round_s: float
    twins: bool = False
    """Whether there are sister calls to look for."""


class Process:
    """One coordinator process, at work from the beginning."""

    def __init__(self, house: House, number: int, stack: ExitStack, harm: Harm) -> None:
        """Its database is closed with `stack`."""
        self._house = house
        self._clock = VirtualClock()
        self._lot_of = f"{house.world.seed} process {number}"
        self._rounds = 0
        self._bell = asyncio.Event()
        self._ending = False
        self._engine = stack.enter_context(engine_for(house.url))
        self.store = Mortal(stack.enter_context(opened(self._engine)), house, harm, self.die)
        house.places.processes += 1
        driver = Driver(
            store=self.store,
            registry=house.registry,
            agents=house.agents,
            clock=self._clock,
            watcher=Silent(),
            limits=house.limits,
        )
        self._scheduler = Scheduler(
            driver=driver,
            source=Everything(self.store),
            keeper=Keeper(self.store, self._clock, f"process {number}"),
            clock=self._clock,
            terms=house.scheduling,
            rested=self._rested,
        )
        self._clerk, self._outbox = self._clerking(self._engine, number)
        self._eliminator = Eliminator(self._engine, self.store, self._clock.now, f"sisters {number}")
        self._contester = Contester(self._engine, self.store, self._clock.now, f"contests {number}")
        self._tasks = [asyncio.create_task(self._scheduler.run()), asyncio.create_task(self._keep_clerking())]

    def _clerking(self, engine: Engine, number: int) -> tuple[Clerk, Outbox]:
        house, offices, made = self._house, Offices(self._house.world), 0

        def random(size: int) -> bytes:
            nonlocal made
            made += 1
            return digest(f"{self._lot_of} token {made}".encode())[:size]

        desk = TaskDesk(engine, offices, house.registry, make_token=lambda: new_token(random))
        clerk = Clerk(engine, self.store, desk, self._clock.now, f"clerk {number}", terms=ClerkTerms())
        room = MailRoom(LINK, "traceback.example", Sender("The simulated consortium"))
        outbox = Outbox(engine, desk, contacts=offices, deadlines=offices, registry=house.registry, room=room)
        return clerk, outbox

    @property
    def failure(self) -> BaseException | None:
        """The defect that has ended it, if one has."""
        for task in self._tasks:
            if task.done() and not self.store.dead:
                return task.exception() or RuntimeError("it ended by itself")
        return None

    def look(self) -> None:
        """Something may have happened in the database."""
        self._bell.set()

    def take_up(self) -> None:
        """There are chains to be driven."""
        self._scheduler.look()

    def die(self) -> None:
        """It does nothing more."""
        self.store.dead = True
        self._ending = True
        for task in self._tasks:
            task.cancel()

    async def bury(self) -> None:
        """What was killed is gone."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """It ends in good order."""
        self._scheduler.stop()
        self._ending = True  # who is rung for at that very moment doesn't hear that it is cancelled
        self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _rested(self, rested: Rested) -> None:
        traceback = rested.kept.traceback
        self._clerk.notice(traceback)
        if traceback.status is Status.NO_AGENT or self._has_twin(traceback):
            self.look()
        elif traceback.status is Status.NEEDS_HUMAN:
            asyncio.get_running_loop().call_later(ClerkTerms().review_after.total_seconds() + 1, self.look)

    def _has_twin(self, traceback: Traceback) -> bool:
        call = traceback.call
        return self._house.twins and len(self._house.world.passages_of(call.called, call.at, call.window)) > 1

    async def _keep_clerking(self) -> None:
        """Round after round, as `coordinator.running.clerking` does, but for rounds in which nothing can be to do."""
        while not self._ending:
            self._rounds += 1
            lot = Lot(self._lot_of, "round", self._rounds)
            await asyncio.sleep(lot.between(0.0, self._house.round_s))
            self._bell.clear()
            done = await self._clerk.round()
            now = self._clock.now()
            letters = await asyncio.to_thread(self._outbox.queue_due, now)
            await asyncio.to_thread(self._outbox.deliver, self._house.mailer, now, _LETTERS)
            contested = await self._contester.round() if self._house.twins else ()
            settled = await self._eliminator.round() if self._house.twins else ()
            self._house.journal.counts["chains taken back as contested"] += len(contested)
            if done.taken or done.asked_again or settled or contested:
                self._scheduler.look()
            with suppress(TimeoutError):
                until = self._next(more=bool(done or letters))
                async with asyncio.timeout((until - self._clock.now()).total_seconds()):
                    await self._bell.wait()

    def _next(self, *, more: bool) -> datetime:
        """When there may be something to do; what is due already is done soon where there may be `more` of it."""
        now = self._clock.now()
        with self._engine.connect() as connection:
            due = text_time(connection.exec_driver_sql(_CLERK_NEXT).scalar())
            held = connection.exec_driver_sql(_ANY_HELD).scalar()
        latest = now + (_HELD_AGAIN if held else _LONGEST_IDLE)
        if due is None:
            return latest
        return min(latest, due if due > now else now if more else now + _OVERDUE_AGAIN)
