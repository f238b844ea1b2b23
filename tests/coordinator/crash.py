"""A coordinator that kills its own process at a given durable step, and fake agents that remember what was asked.

The agents stand in a directory, so that they outlive every process: whoever asks appends the question's id to a file,
and an id that stands there already is answered without a search, as an agent does. So `searches` counts what reached
an agent's records, whatever was killed in between. They are asked as in earnest, by signed questions under orders, and
check what they are shown; or, in a trial, without.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import psycopg  # noqa: F401  imported once, before processes are forked
import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

from coordinator.lookups.asking import SignedAgents
from coordinator.present.live import Silent
from coordinator.running.driver import Driver
from coordinator.running.leases import Keeper, owner_name
from coordinator.running.limits import Limits
from coordinator.running.scheduler import Everything, Scheduler, SchedulerTerms
from coordinator.runtime import SystemClock
from coordinator.store.engine import open_engine
from coordinator.store.orders import OrderBook
from coordinator.store.sql_store import SqlStore
from coordinator.tracing.ports import AgentClient, Change, Kept, Lease, Provider, Reply
from protos.codec import digest, encode_answer
from protos.hops import Asked
from protos.types import Answer, Outcome, Question
from tests.coordinator.make import provider, says, upstream
from tests.coordinator.parties import InProcess, Parties

HOPS = 10
T = TypeVar("T")
PATH = [f"hop{number:02}" for number in range(HOPS)]
LEASE = timedelta(milliseconds=600)
STOPPED, KILLED = 0, -signal.SIGKILL


def answer_of(name: str) -> Answer:
    position = PATH.index(name)
    return says(name, Outcome.ORIGINATED_HERE) if position == HOPS - 1 else upstream(name, PATH[position + 1])


class Registry:
    def provider(self, name: str) -> Provider:
        return Provider(provider(name), name.title(), "in.this.process:1")


class Agents:
    """All agents of the path; `directory` is what they remember."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def ask_many(
        self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
    ) -> list[Reply]:
        await asyncio.sleep(0)
        return [self._reply(provider, question, exact) for question, exact in asked]

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        await asyncio.sleep(0)
        return self._reply(provider, question, exact)

    def _note(self, provider: Provider, question: Question) -> None:
        note(self._directory, provider, question)

    def _reply(self, provider: Provider, question: Question, exact: bytes) -> Reply:
        self._note(provider, question)
        answer = answer_of(provider.id)
        return Reply(answer, encode_answer(answer, digest(exact)))


def note(directory: Path, provider: Provider, question: Question) -> None:
    with (directory / f"{provider.id}.asked").open("ab") as file:
        file.write(question.question_id.bytes + question.called.encode().ljust(16))


class SignedAgentsOfThePath(InProcess):
    """The same agents, asked in envelopes; they check order, naming, place and every signature."""

    def __init__(self, parties: Parties, directory: Path) -> None:
        super().__init__(parties, {name: partial(_answered, name) for name in PATH})
        self._directory = directory

    async def call(self, entry: Provider, method: str, request: bytes, timeout: timedelta) -> bytes:
        await asyncio.sleep(0)
        self.now = datetime.now(UTC)
        received = await super().call(entry, method, request, timeout)
        for asked in self.asked:
            note(self._directory, entry, asked.question)
        self.asked.clear()
        return received


def _answered(name: str, asked: Asked) -> Answer:
    del asked
    return answer_of(name)


def searches(directory: Path) -> Counter[tuple[str, str]]:
    """How often each provider's records were searched for each called number: once for every question id."""
    found: Counter[tuple[str, str]] = Counter()
    for name in PATH:
        journal = directory / f"{name}.asked"
        raw = journal.read_bytes() if journal.exists() else b""
        records = {raw[start : start + 32] for start in range(0, len(raw), 32)}
        found.update((name, record[16:].decode().strip()) for record in records)
    return found


@dataclass(frozen=True)
class Point:
    """Die before or after the durable step of that number, from 0."""

    step: int
    after: bool


class MortalStore(SqlStore):
    """Counts what it makes durable, and kills its process at the point."""

    def __init__(self, url: str, point: Point | None) -> None:
        super().__init__(open_engine(url))
        self._point = point
        self.steps = 0

    async def save(self, changes: Sequence[Change]) -> set[int]:
        return await self._durable(super().save(changes))

    async def claim(self, lease: Lease, places: int) -> list[Kept]:
        due = await self.next_due()
        if due is None or due > lease.now:
            return []
        return await self._durable(super().claim(lease, places))

    async def _durable(self, work: Awaitable[T]) -> T:
        step, self.steps = self.steps, self.steps + 1  # its own, though another one may be under way
        self._die_at(Point(step, after=False))
        result = await work
        self._die_at(Point(step, after=True))
        return result

    def _die_at(self, here: Point) -> None:
        if self._point == here:
            os.kill(os.getpid(), signal.SIGKILL)


def client(store: SqlStore, agents: Path, parties: Path | None) -> AgentClient:
    """Of the agents; without `parties` it asks unsigned."""
    if parties is None:
        return Agents(agents)
    known, book = Parties(parties), OrderBook(store.engine)
    return SignedAgents(
        SignedAgentsOfThePath(known, agents),
        signer=known.coordinator.signer,
        certificate=known.coordinator.certificate,
        roots=known.roots,
        orders=book,
        certificates=book,
        clock=SystemClock().now,
    )


async def coordinate(url: str, agents: Path, parties: Path | None, point: Point | None) -> None:
    """Trace whatever is due until nothing is open, or until death at `point`."""
    store, clock = MortalStore(url, point), SystemClock()
    try:
        driver = Driver(
            store=store,
            registry=Registry(),
            agents=client(store, agents, parties),
            clock=clock,
            watcher=Silent(),
            limits=Limits(),
        )
        scheduler = Scheduler(
            driver=driver,
            source=Everything(store),
            keeper=Keeper(store, clock, owner_name(), LEASE),
            clock=clock,
            terms=SchedulerTerms(poll=timedelta(milliseconds=20), grace=timedelta(0), block=200),
        )
        running = asyncio.create_task(scheduler.run())
        while store.open_ids() and not running.done():
            await asyncio.sleep(0.02)
        scheduler.stop()
        await running
    finally:
        store.close()


def process(url: str, agents: Path, parties: Path | None, point: Point | None) -> None:
    """The whole life of a process."""
    asyncio.run(coordinate(url, agents, parties, point))
