"""Chains and people on one database: a driver over fake agents, the desk of tasks, and the clerk between the two."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Engine

from coordinator.deadlines.calendar import BusinessCalendar
from coordinator.deadlines.schedule import FEDERAL_RULE, AnswerRule
from coordinator.present.live import Silent
from coordinator.running.driver import Driver
from coordinator.store.sql_store import SqlStore
from coordinator.tasks.clerk import Clerk, ClerkTerms, Round
from coordinator.tasks.desk import TaskDesk
from coordinator.tasks.task import State, Task
from coordinator.tracing.chain import Traceback
from coordinator.tracing.ports import AgentClient, Lease
from protos.identity import ProviderId
from tests.coordinator.fakes import JumpingClock, NamedProviders
from tests.coordinator.make import ID, provider
from tests.coordinator.test_calendar import OFFICE

LEASE = timedelta(seconds=15)


class OneOffice:
    """The same calendar and rule for everybody."""

    def of(self, provider: ProviderId) -> tuple[BusinessCalendar, AnswerRule]:
        return OFFICE, FEDERAL_RULE


class People:
    """One coordinator process; `again` is what another one finds after this one died."""

    def __init__(
        self,
        engine: Engine,
        agents: AgentClient,
        registry: NamedProviders,
        now: datetime,
        store: SqlStore | None = None,
    ) -> None:
        self.engine = engine
        self.agents = agents
        self.registry = registry
        self.clock = JumpingClock(now)
        self.store = store or SqlStore(engine)
        self.desk = TaskDesk(engine, OneOffice(), registry)
        terms = ClerkTerms(lease=LEASE, sweep_every=timedelta(0))
        self.clerk = Clerk(
            engine,
            self.store,
            self.desk,
            self.clock.now,
            "clerk",
            terms=terms,
        )
        self.driver = Driver(store=self.store, registry=registry, agents=agents, clock=self.clock, watcher=Silent())

    def lease(self) -> Lease:
        return Lease("driver", self.clock.now(), self.clock.now() + LEASE)

    def submit(self, traceback: Traceback) -> None:
        self.store.submit([traceback], self.clock.now())

    async def drive(self) -> None:
        """Carry on whatever is due, until nothing is."""
        while claimed := await self.store.claim(self.lease(), 100):
            async for _ in self.driver.drive_all(claimed):
                pass

    async def work(self) -> Round:
        """Driver and clerk in turn, once; what the clerk did."""
        await self.drive()
        done = await self.clerk.round()
        await self.drive()
        return done

    def traceback(self, identity: uuid.UUID = ID) -> Traceback:
        kept = self.store.load(identity)
        assert kept is not None
        return kept.traceback

    def task(self, *states: State) -> Task:
        [task] = self.desk.list(states=states)
        return task

    def answer(self, fields: Mapping[str, str], by: str = "pat@elm.example") -> State:
        """The person at the provider answers the open task."""
        task = self.task(State.OPEN, State.GIVEN_UP)
        return self.desk.answer_signed_in(task.asked.provider, task.id, fields, by, self.clock.now())


def registry() -> NamedProviders:
    """ginkgo and alder have agents, elm between them has none."""
    return NamedProviders("ginkgo", "birch", "alder", without_agent=("elm",))


UPSTREAM = {"outcome": "upstream", "upstream": "alder", "handover": "confirmed"}

__all__ = ["UPSTREAM", "People", "provider", "registry"]
