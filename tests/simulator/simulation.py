"""One run: coordinators over one database drive all calls through the industry, and people answer where no agent does.

Coordinators are killed, and cut off from their database, now and then. What must never happen is told in `invariants`;
a run ends when all is done, or as soon as something of it is seen.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random

from coordinator.ordering.orders import OrderSet
from coordinator.running.contesting import Contester
from coordinator.running.limits import Limits
from coordinator.running.scheduler import SchedulerTerms
from coordinator.store.engine import engine_for, migrate
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import opened
from coordinator.tracing.chain import Call, Status, Traceback, standing
from coordinator.tracing.ports import Provider
from protos.codec import digest
from protos.identity import ProviderId
from protos.orders import Order, encode_order
from tests.simulator.invariants import CLOSED, Truth, forgotten, found, mislabelled, unrecorded
from tests.simulator.journal import Journal
from tests.simulator.keys import Keys
from tests.simulator.loop import BEGIN, VirtualClock, run
from tests.simulator.network import Agents
from tests.simulator.people import Office, Taken, order_of
from tests.simulator.processes import Harm, House, Places, Process
from tests.simulator.report import Report
from tests.simulator.world import ABROAD, AGENTS, USUAL, VAST, Habit, Mix, Passage, World, draw

SHARED_MEMORY = Path("/dev/shm")
"""Where a database costs no disk; crashes of processes, not of machines, are simulated here."""

Progress = Callable[[int, timedelta], object]
"""Hears now and then how many tracebacks are closed, and how much time has passed in the run."""

_LAST = timedelta(days=30)
_CUT_S = (16.0, 24.0)
"""Longer than a lease; not so long that whoever takes over is done with everything by then."""
_LOOKS = (timedelta(minutes=30), timedelta(hours=6))
"""Between two looks at the invariants: at first, and after the first hours."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is simulated.

    Attributes:
        providers, calls: how many.
        kills: how often a coordinator is killed, half of them at some time, half at some use of its database.
        cuts: how many are cut off from their database for longer than their leases last.
        coordinators: how many there are at a time.
        calm_after: after this nothing goes wrong on the network.
        concurrent: how many tracebacks one of them drives at the same time.
        order_life: how long orders count.
        round_s: within how many seconds a clerk looks at what people did.
        twins: how often two calls of a campaign reach one number within seconds.
        lost: of how many of these the provider before they part has lost one of its two records.
    """

    providers: int = 40
    calls: int = 30
    kills: int = 3
    cuts: int = 2
    coordinators: int = 2
    calm_after: timedelta = timedelta(minutes=20)
    concurrent: int = 4000
    order_life: timedelta = timedelta(hours=72)
    round_s: float = 5.0
    twins: int = 0
    lost: int = 0
    mix: Mix = USUAL


USUALLY = Terms(calls=16)
AMONG_AGENTS = Terms(calls=20, kills=4, mix=AGENTS, twins=2, lost=1)
CROWDED = Terms(providers=30, calls=48, kills=1, concurrent=1, mix=AGENTS)
"""Few places for many calls: whose turn it is matters."""

REGISTRY = Terms(providers=7000, calls=100_000, kills=8, cuts=3, mix=VAST, round_s=600.0)
"""As many providers as are in the Robocall Mitigation Database, and more calls than they trace in twenty years."""

SEEDS = range(300)
"""What CI simulates."""


def usual_terms(seed: int) -> Terms:
    """What CI simulates with this seed."""
    return CROWDED if seed % 10 == 5 else AMONG_AGENTS if seed % 2 == 0 else USUALLY


def simulate(
    seed: int,
    terms: Terms | None = None,
    *,
    keep_trace: bool = False,
    progress: Progress = lambda closed, passed: None,  # noqa: ARG005
) -> Report:
    """Run one seed; with `keep_trace` the report has everything that happened in words."""
    terms = terms or usual_terms(seed)
    world = draw(seed, terms.providers, terms.calls, terms.mix, terms.twins, terms.lost)
    with ExitStack() as stack:
        where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hopback-sim-", dir=where)))
        database = home / "coordinator.db"
        shutil.copy(_template(), database)
        journal = Journal(keep=keep_trace)
        return run(_Run(world, terms, f"sqlite:///{database}", stack, journal, progress).whole())


@cache
def _template() -> Path:
    """An empty database with all tables, made once a process."""
    path = Path(tempfile.mkdtemp(prefix="hopback-sim-")) / "template.db"
    with engine_for(f"sqlite:///{path}") as engine:
        migrate(engine)
    return path


class _Registry:
    def __init__(self, world: World) -> None:
        self._entries = {
            party.id: Provider(party.id, party.id, None if party.habit is Habit.NO_AGENT else "agent:1")
            for party in world.parties.values()
        } | {ABROAD: Provider(ABROAD, "A carrier abroad")}

    def provider(self, provider: ProviderId) -> Provider | None:
        return self._entries.get(provider)


class _Run:
    """Everything that there is in one run, made inside its loop."""

    def __init__(
        self, world: World, terms: Terms, url: str, stack: ExitStack, journal: Journal, progress: Progress
    ) -> None:
        self._world = world
        self._terms = terms
        self._url = url
        self._stack = stack
        self._journal = journal
        self._progress = progress
        self._ids = {uuid.uuid5(uuid.NAMESPACE_OID, f"{world.seed} {n}"): one for n, one in enumerate(world.passages)}
        self._processes: list[Process] = []
        self._born = self._kills = self._acts = 0
        self._harms: list[Harm] = []

    async def whole(self) -> Report:
        """Submit, drive, judge."""
        self._clock = VirtualClock()
        asyncio.get_running_loop().set_exception_handler(self._failed)
        self._store = self._stack.enter_context(opened(self._stack.enter_context(engine_for(self._url))))
        keys, registry = Keys(self._world.seed), _Registry(self._world)
        orders = self._submit()
        self._agents = Agents(self._world, self._journal, keys, calm_after=self._terms.calm_after)
        self._office = Office(
            world=self._world,
            journal=self._journal,
            keys=keys,
            agents=self._agents,
            store=self._store,
            registry=registry,
            orders=orders,
            acted=self._somebody_acted,
            calm_after=self._terms.calm_after,
        )
        self._house = House(
            url=self._url,
            world=self._world,
            journal=self._journal,
            registry=registry,
            agents=self._agents,
            mailer=self._office,
            places=Places(self._journal, {identity: one.waited for identity, one in self._ids.items()}),
            limits=Limits(concurrent=self._terms.concurrent),
            scheduling=SchedulerTerms(poll=timedelta(hours=6)),
            round_s=self._terms.round_s,
            twins=self._terms.twins > 0,
        )
        await self._drive()
        return self._judged()

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """What nobody waits for has failed."""
        del loop
        self._journal.breaks(f"{context['message']}: {context.get('exception')!r}")

    def _submit(self) -> dict[uuid.UUID, Order]:
        """Store all calls, each by its age; the orders of those that stand under one."""
        orders = {
            identity: order_of(one, number, self._terms.order_life)
            for number, (identity, one) in enumerate(self._ids.items())
            if one.ordered
        }
        if self._terms.twins:  # by their campaigns calls find each other
            OrderBook(self._store.engine).add(OrderSet.of(map(encode_order, orders.values())), BEGIN)
        by_age: dict[timedelta, list[uuid.UUID]] = defaultdict(list)
        for identity, one in self._ids.items():
            by_age[one.waited].append(identity)
        for waited, ids in by_age.items():
            self._store.submit(
                (Traceback(identity, _call(self._ids[identity], orders.get(identity))) for identity in ids),
                BEGIN - waited,
                priority=lambda traceback: self._ids[traceback.id].priority,
            )
        return orders

    # Driving

    async def _drive(self) -> None:
        """Until all are closed, and nobody has anything to do."""
        chance = Random(f"harm {self._world.seed}")
        deaths = self._terms.kills // 2
        self._harms = [self._harm(chance, number, deaths) for number in range(max(deaths, self._terms.cuts))]
        for _ in range(self._terms.coordinators):
            self._start()
        for _ in range(self._terms.kills - deaths):
            asyncio.get_running_loop().call_later(chance.expovariate(1 / 8), self._kill_one, chance.random())
        looks_at = self._clock.now() + _LOOKS[0]
        while self._clock.now() < BEGIN + _LAST and not self._journal.broken:
            due = await self._store.next_due()
            done = due is None and not self._office.plans and self._is_done()
            if done and not await self._is_contested():
                break
            await self._mend()
            if self._clock.now() >= looks_at:
                self._look()
                looks_at = self._clock.now() + _LOOKS[self._clock.now() > BEGIN + _LOOKS[1]]
            now = self._clock.now()
            soon = now + timedelta(hours=1) if due is None else max(now + timedelta(seconds=5), due)
            await self._clock.sleep_until(min(soon, looks_at))
        for process in self._processes:
            await process.stop()

    def _harm(self, chance: Random, number: int, deaths: int) -> Harm:
        """What the process of this number suffers, if all goes on as it should."""
        return Harm(
            dies_at=chance.randrange(5, 120) if number < deaths else None,
            cut_off_at=chance.randrange(1, 30) if number < self._terms.cuts else None,
            cut_off_for=timedelta(seconds=chance.uniform(*_CUT_S)),
        )

    def _start(self) -> None:
        harm = self._harms[self._born] if self._born < len(self._harms) else Harm()
        self._processes.append(Process(self._house, self._born, self._stack, harm))
        self._born += 1

    def _somebody_acted(self) -> None:
        self._acts += 1
        first = self._acts % len(self._processes)
        for process in self._processes[first : first + 1] if self._acts % 4 else self._processes:
            process.look()

    def _kill_one(self, drawn: float) -> None:
        self._processes[int(drawn * len(self._processes))].die()

    async def _mend(self) -> None:
        """Start a process for each that was killed; say of those that ended otherwise that they did."""
        for process in tuple(self._processes):
            if process.store.dead:
                self._processes.remove(process)
                await process.bury()
                self._kills += 1
                self._start()
            elif process.failure is not None:
                self._journal.breaks(f"a coordinator ended by itself: {process.failure!r}")

    def _is_done(self) -> bool:
        statuses = self._store.counts()
        return not set(statuses) - CLOSED | set(statuses) & {Status.NO_AGENT, Status.NEEDS_HUMAN}

    async def _is_contested(self) -> bool:
        """Whether something of what was found is taken back: all processes look once more."""
        if not self._terms.twins:
            return False
        taken = await Contester(self._store.engine, self._store, self._clock.now, "the last look").round()
        self._journal.counts["chains taken back as contested"] += len(taken)
        for process in self._processes if taken else ():
            process.look()
            process.take_up()
        return bool(taken)

    def _look(self) -> None:
        for line in forgotten(self._store.engine, self._clock.now()):
            self._journal.breaks(line)
        counts = self._store.counts()
        closed = sum(count for status, count in counts.items() if status in CLOSED)
        self._progress(closed, self._clock.now() - BEGIN)

    # Judging

    def _judged(self) -> Report:
        journal, world, engine = self._journal, self._world, self._store.engine
        taken: dict[uuid.UUID, list[Taken]] = defaultdict(list)
        for answer in self._office.taken.values():
            taken[answer.task.asked.traceback_id].append(answer)
        truth = Truth(world, journal, self._agents, taken)
        statuses: Counter[Status] = Counter()
        reached: Counter[str] = Counter()
        searches = sum(known.answer is not None for known in self._agents.known.values())
        lost = set(self._ids)
        ended_early = bool(journal.broken)
        for one in found(engine):
            lost.discard(one.id)
            passage, traceback = self._ids[one.id], one.traceback
            statuses[traceback.status] += 1
            whole = len(standing(traceback.hops)) == len(passage.path)
            reached["all of it" if whole else "a part"] += 1
            journal.note(f"{one.id} {traceback.status.value} {' '.join(hop.provider for hop in traceback.hops)}")
            if not ended_early:
                for problem in truth.problems(passage, one):
                    journal.breaks(f"{one.id}: {problem}")
        for identity in sorted(lost):
            journal.breaks(f"{identity} is lost")
        if not ended_early:
            for problem in (*unrecorded(self._agents), *mislabelled(engine, world, self._clock.now())):
                journal.breaks(problem)
        return Report(
            seed=world.seed,
            statuses=statuses,
            broken=journal.broken,
            searches=searches,
            kills=self._kills,
            fates={fate.value: count for fate, count in sorted(self._agents.fates.items(), key=lambda i: i[0].value)},
            counts=dict(sorted(journal.counts.items())),
            digest=journal.digest,
            lasted=self._clock.now() - BEGIN,
            reached=reached,
            trace=journal.lines,
        )


def _call(passage: Passage, order: Order | None) -> Call:
    sha256 = None if order is None else digest(encode_order(order))
    expires = None if order is None else order.expires
    return Call(passage.called, passage.at, passage.path[0], order_sha256=sha256, expires=expires)


__all__ = ["Report", "Terms", "simulate", "usual_terms"]
