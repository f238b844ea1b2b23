"""One run: coordinators over one database drive all calls through the industry; one of them is killed now and then.

Afterwards everything is compared with the truth. `Report.broken` lists what must never happen and did:

- a traceback that was submitted is lost, or still open when nothing can happen any more;
- a provider that had no part in the call is shown as its originator or gateway;
- a provider was searched twice for one question id, or asked two things under one id;
- a path of answers, each right, led elsewhere than the truth;
- a chain with a provider that lies about an innocent ended as if all agreed.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from coordinator.chain import Call, Phase, Status, Traceback, standing
from coordinator.driver import Driver, Limits
from coordinator.leases import Keeper
from coordinator.ports import Change, Kept, Lease, Provider
from coordinator.scheduler import Everything, Scheduler, SchedulerTerms
from coordinator.store.engine import engine_for, migrate
from coordinator.store.sql_store import SqlStore, opened
from protos.identity import ProviderId
from tests.simulator.loop import BEGIN, VirtualClock, run
from tests.simulator.network import Agents, BrokenRuleError
from tests.simulator.world import LIARS, MUTE, USUAL, Habit, Mix, Passage, World, draw

SHARED_MEMORY = Path("/dev/shm")
"""Where a database costs no disk; crashes of processes, not of machines, are simulated here."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is simulated: `kills` per run, the first `calm_after` full of faults, two coordinators at a time."""

    providers: int = 40
    calls: int = 30
    kills: int = 3
    coordinators: int = 2
    calm_after: timedelta = timedelta(minutes=20)
    poll: timedelta = timedelta(seconds=30)
    mix: Mix = USUAL


@dataclass
class Report:
    """What came of a run."""

    seed: int
    statuses: Counter[Status]
    broken: list[str]
    searches: int
    kills: int
    fates: Mapping[str, int]
    digest: str
    lasted: timedelta
    reached: Counter[str] = field(default_factory=Counter)


class Killed(Exception):  # noqa: N818 (no error: it is what kills)
    """The process is dead; nothing of it reaches the database any more."""


class _Mortal:
    """A process's view of its store: once it is dead, nothing goes through."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.dead = False

    def _alive(self) -> SqlStore:
        if self.dead:
            raise Killed
        return self._store

    async def save(self, changes: Sequence[Change]) -> Collection[int]:
        return await self._alive().save(changes)

    async def claim(self, lease: Lease, places: int) -> list[Kept]:
        return await self._alive().claim(lease, places)

    async def claim_these(
        self, lease: Lease, ids: Sequence[uuid.UUID], *, closed_too: bool = False, early: bool = False
    ) -> list[Kept]:
        return await self._alive().claim_these(lease, ids, closed_too=closed_too, early=early)

    async def renew(self, lease: Lease, fences: Mapping[uuid.UUID, int]) -> Collection[uuid.UUID]:
        return await self._alive().renew(lease, fences)

    async def let_go(self, fences: Mapping[uuid.UUID, int], due: datetime) -> None:
        await self._alive().let_go(fences, due)

    async def next_due(self) -> datetime | None:
        return await self._alive().next_due()


class _Registry:
    def __init__(self, world: World) -> None:
        self._entries = {
            party.id: Provider(party.id, party.id, None if party.habit is Habit.NO_AGENT else "agent:1")
            for party in world.parties.values()
        }

    def provider(self, provider: ProviderId) -> Provider | None:
        return self._entries.get(provider)


class _Nobody:
    def changed(self, traceback: Traceback) -> None: ...

    def lost(self, traceback: Traceback) -> None: ...


@dataclass
class _Process:
    """One coordinator process."""

    scheduler: Scheduler
    store: _Mortal
    task: asyncio.Task[None]

    async def kill(self) -> None:
        self.store.dead = True
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def simulate(seed: int, terms: Terms | None = None) -> Report:
    """Run one seed."""
    terms = terms or Terms()
    world = draw(seed, terms.providers, terms.calls, terms.mix)
    with ExitStack() as stack:
        where = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hopback-sim-", dir=where)))
        database = home / "coordinator.db"
        shutil.copy(_template(), database)
        return run(_run(world, terms, f"sqlite:///{database}"))


@cache
def _template() -> Path:
    """An empty database with all tables, made once a process."""
    path = Path(tempfile.mkdtemp(prefix="hopback-sim-")) / "template.db"
    with engine_for(f"sqlite:///{path}") as engine:
        migrate(engine)
    return path


async def _run(world: World, terms: Terms, url: str) -> Report:
    agents = Agents(world, calm_after=terms.calm_after)
    ids = {uuid.uuid5(uuid.NAMESPACE_OID, f"{world.seed} {n}"): one for n, one in enumerate(world.passages)}
    with ExitStack() as stack:
        store = stack.enter_context(opened(stack.enter_context(engine_for(url))))
        store.submit((Traceback(identity, _call(one)) for identity, one in ids.items()), BEGIN)
        kills = await _drive(world, terms, url, store, agents, stack)
        found = {identity: store.load(identity) for identity in ids}
        lasted = timedelta(seconds=asyncio.get_running_loop().time())
        return _judged(world, ids, found, agents, kills, lasted)


async def _drive(world: World, terms: Terms, url: str, store: SqlStore, agents: Agents, stack: ExitStack) -> int:
    """Until all are closed; returns how often a process was killed."""
    chance = Random(f"kills {world.seed}")
    times = sorted(chance.expovariate(1 / 8) for _ in range(terms.kills))  # most of it happens in the first seconds
    processes: list[_Process] = []
    born = 0
    clock = VirtualClock()

    def start() -> None:
        nonlocal born
        own = _Mortal(stack.enter_context(opened(stack.enter_context(engine_for(url)))))
        driver = Driver(
            store=own, registry=_Registry(world), agents=agents, clock=clock, watcher=_Nobody(), limits=Limits()
        )
        scheduler = Scheduler(
            driver=driver,
            source=Everything(own),
            keeper=Keeper(own, clock, f"process {born}"),
            clock=clock,
            terms=SchedulerTerms(poll=terms.poll),
        )
        processes.append(_Process(scheduler, own, asyncio.create_task(scheduler.run())))
        born += 1

    for _ in range(terms.coordinators):
        start()
    kills = 0
    last = BEGIN + timedelta(days=30)
    while set(store.counts()) - _CLOSED and clock.now() < last:
        now = asyncio.get_running_loop().time()
        if times and times[0] <= now:
            times.pop(0)
            await processes.pop(chance.randrange(len(processes))).kill()
            kills += 1
            start()
        for process in processes:
            if process.task.done():
                await process.task  # what ends a process by itself is a defect: raise it
        pause = 600.0 if now > 6 * 3600 else 5.0
        await asyncio.sleep(max(0.001, min(pause, times[0] - now)) if times else pause)
    for process in processes:
        process.scheduler.stop()
    await asyncio.gather(*(process.task for process in processes))
    return kills


_CLOSED = {status for status in Status if status.phase is Phase.CLOSED}


def _call(passage: Passage) -> Call:
    return Call(called=passage.called, at=passage.at, terminating=passage.path[0])


def _judged(
    world: World,
    ids: Mapping[uuid.UUID, Passage],
    found: Mapping[uuid.UUID, Kept | None],
    agents: Agents,
    kills: int,
    lasted: timedelta,
) -> Report:
    broken: list[str] = []
    statuses: Counter[Status] = Counter()
    reached: Counter[str] = Counter()
    end = hashlib.sha256(agents.trace.digest())
    for identity, passage in ids.items():
        kept = found[identity]
        if kept is None:
            broken.append(f"{identity} is lost")
            continue
        traceback = kept.traceback
        statuses[traceback.status] += 1
        end.update(f"{identity} {traceback.status.value} {[hop.provider for hop in traceback.hops]}".encode())
        problems = _problems(world, passage, traceback)
        broken += [f"{identity}: {problem}" for problem in problems]
        reached["whole path" if len(standing(traceback.hops)) == len(passage.path) else "part of it"] += 1
    broken += [
        f"{provider} searched {identity} {known.searches} times"
        for (provider, identity), known in agents.memory.items()
        if known.searches != 1
    ]
    fates = {fate.value: count for fate, count in sorted(agents.fates.items(), key=lambda item: item[0].value)}
    return Report(world.seed, statuses, broken, len(agents.memory), kills, fates, end.hexdigest(), lasted, reached)


def _problems(world: World, passage: Passage, traceback: Traceback) -> list[str]:
    """What must not be, of one traceback, by what truly happened."""
    problems = []
    if traceback.status.phase is not Phase.CLOSED:
        problems.append(f"is still {traceback.status.value}")
    asked = [traceback.hops[position].provider for position in standing(traceback.hops)]
    habits = [world.parties[name].habit for name in passage.path]
    source = traceback.origin or traceback.gateway
    liars = {name for name in passage.path if world.parties[name].habit in LIARS}
    if source is not None:
        if source not in passage.path:
            problems.append(f"{source} had no part in the call and is shown as its source")
        elif source != passage.path[-1] and world.parties[source].habit is not Habit.CLAIMS_ORIGIN:
            problems.append(f"{source} only passed the call on and is shown as its source")
        if tuple(asked) != passage.path[: len(asked)]:
            problems.append(f"the chain led over {asked}, the call over {passage.path}")
    honest = not liars and not MUTE & set(habits)
    if honest and traceback.status not in _TRUE_ENDS | _EXCUSED:
        problems.append(f"all told the truth, and it ended {traceback.status.value}")
    return problems


_TRUE_ENDS = frozenset({Status.ORIGIN_FOUND, Status.GATEWAY_FOUND})
_EXCUSED = frozenset({Status.NON_RESPONSIVE, Status.AMBIGUOUS})
"""An agent that is down for long, or whose records fit two calls, has not told anything."""


def shown(report: Report) -> dict[str, Any]:
    """A report for programs."""
    return {
        "seed": report.seed,
        "statuses": {
            status.value: count for status, count in sorted(report.statuses.items(), key=lambda i: i[0].value)
        },
        "reached": dict(report.reached),
        "searches": report.searches,
        "kills": report.kills,
        "messages": dict(report.fates),
        "simulated_s": round(report.lasted.total_seconds()),
        "digest": report.digest,
        "broken": report.broken,
    }


__all__ = ["BrokenRuleError", "Report", "Terms", "shown", "simulate"]
