"""The driver: asks what the machine wants, writes first, waits as told, keeps many going, survives a restart."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from coordinator.running.driver import Driver, Rested
from coordinator.running.limits import Limits
from coordinator.tracing.chain import Problem, Status, Traceback
from coordinator.tracing.events import Ask, Started, TimedOut
from coordinator.tracing.patience import Patience
from coordinator.tracing.ports import (
    AttemptTimedOutError,
    BadAnswerError,
    DeclinedError,
    Kept,
    Provider,
    UnreachableError,
)
from coordinator.tracing.traceback import advance
from protos.codec import decode_answer, digest, encode_question
from protos.types import Outcome, Question
from tests.coordinator.fakes import JumpingClock, MemoryStore, NamedProviders, Notes, ScriptedAgents
from tests.coordinator.make import NOW, says, submitted, upstream
from tests.coordinator.virtual_time import VirtualClock, in_virtual_time

ORIGIN = says("alder", Outcome.ORIGINATED_HERE)


class World:
    """A driver with everything around it."""

    clock: JumpingClock | VirtualClock

    def __init__(self, agents: ScriptedAgents, registry: NamedProviders | None = None, limits: Limits | None = None):
        self.jumping = JumpingClock()
        self.clock, self.store, self.notes, self.agents = self.jumping, MemoryStore(), Notes(), agents
        self.registry = registry or NamedProviders("ginkgo", "birch", "alder")
        self.limits = limits or Limits()
        self.driver = self.new_driver()

    def new_driver(self) -> Driver:
        return Driver(
            store=self.store,
            registry=self.registry,
            agents=self.agents,
            clock=self.clock,
            watcher=self.notes,
            limits=self.limits,
        )

    async def trace(self) -> Traceback:
        return await self.driver.drive(Kept(submitted(), 0))


def chain() -> ScriptedAgents:
    return ScriptedAgents(ginkgo=[upstream("ginkgo", "birch")], birch=[upstream("birch", "alder")], alder=[ORIGIN])


async def test_a_chain_is_followed_from_the_terminating_provider_to_the_origin() -> None:
    world = World(chain())
    done = await world.trace()
    assert done.origin == "alder"
    assert [question.target for question in world.agents.asked] == ["ginkgo", "birch", "alder"]


async def test_every_question_is_durable_before_it_is_asked() -> None:
    world = World(chain())

    def stored(question: Question) -> None:
        assert world.store.last(submitted().id).open_question == question

    world.agents.before_asking = stored
    await world.trace()


async def test_every_answer_is_kept_in_the_bytes_in_which_it_came() -> None:
    world = World(chain())
    done = await world.trace()
    received = [change.received for change in world.store.changes if change.received is not None]
    for hop, exact in zip(done.hops, received, strict=True):
        sha256 = digest(encode_question(hop.question))
        assert decode_answer(exact, question_sha256=sha256, expected=hop.provider) == hop.answer


async def test_every_change_is_told_to_the_watcher() -> None:
    world = World(chain())
    await world.trace()
    assert world.notes.changes == [change.after for change in world.store.changes]


class TestAProviderWithoutAnAgent:
    async def test_is_left_to_a_person(self) -> None:
        done = await World(chain(), NamedProviders("ginkgo", without_agent=("birch",))).trace()
        assert (done.status, done.hops[-1].problem) == (Status.NO_AGENT, Problem.NO_AGENT)

    async def test_is_told_from_one_that_the_registry_does_not_know(self) -> None:
        done = await World(chain(), NamedProviders("ginkgo")).trace()
        assert (done.status, done.hops[-1].problem) == (Status.NO_AGENT, Problem.UNREGISTERED)


class TestAnAgentInTrouble:
    async def test_that_comes_back_costs_a_pause_and_no_hop(self) -> None:
        agents = ScriptedAgents(
            ginkgo=[UnreachableError("connection refused"), says("ginkgo", Outcome.ORIGINATED_HERE)]
        )
        world = World(agents, limits=Limits(patience=Patience(jitter=0.0)))
        assert (await world.trace()).origin == "ginkgo"
        assert world.jumping.slept == [timedelta(milliseconds=500)]
        assert agents.asked[0] == agents.asked[1]

    @pytest.mark.parametrize(
        ("error", "problem"),
        [(UnreachableError("refused"), Problem.UNREACHABLE), (AttemptTimedOutError("10 s"), Problem.TIMED_OUT)],
    )
    async def test_that_stays_away_is_non_responsive_after_the_last_attempt(
        self, error: Exception, problem: Problem
    ) -> None:
        agents = ScriptedAgents(ginkgo=[error])
        limits = Limits(patience=Patience(unanswered=timedelta(0)))
        done = await World(agents, limits=limits).trace()
        assert (done.status, done.hops[-1].problem, len(agents.asked)) == (Status.NON_RESPONSIVE, problem, 3)

    async def test_that_answers_nonsense_is_not_asked_again_and_its_bytes_are_kept(self) -> None:
        world = World(ScriptedAgents(ginkgo=[BadAnswerError("not an Answer", b"\xff\xff")]))
        done = await world.trace()
        assert (done.status, len(world.agents.asked)) == (Status.BAD_ANSWER, 1)
        assert world.store.changes[-1].received == b"\xff\xff"

    async def test_that_declines_this_coordinator_is_refusing(self) -> None:
        done = await World(ScriptedAgents(ginkgo=[DeclinedError("not a coordinator")])).trace()
        assert done.status is Status.REFUSED


class TestWaiting:
    async def test_for_records_is_slept_through_when_it_is_short(self) -> None:
        agents = ScriptedAgents(
            ginkgo=[
                says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=20),
                says("ginkgo", Outcome.ORIGINATED_HERE),
            ]
        )
        world = World(agents)
        assert (await world.trace()).origin == "ginkgo"
        assert world.jumping.slept == [timedelta(seconds=20)]

    async def test_for_records_is_left_to_a_later_run_when_it_is_long(self) -> None:
        world = World(ScriptedAgents(ginkgo=[says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=3600)]))
        parked = await world.trace()
        assert parked.status is Status.NOT_YET_AVAILABLE
        assert parked.due == NOW + timedelta(seconds=3600)
        assert world.jumping.slept == []


class TestManyAtOnce:
    async def test_are_all_finished_within_the_bound(self) -> None:
        world = World(chain(), limits=Limits(concurrent=3))
        many = [Kept(replace(submitted(), id=uuid.UUID(int=i)), 0) for i in range(20)]
        done = [traceback async for traceback in world.driver.drive_all(many)]
        assert {traceback.id for traceback in done} == {kept.traceback.id for kept in many}
        assert {traceback.origin for traceback in done} == {"alder"}
        assert 1 < world.agents.most_running <= 3

    def test_are_not_held_back_by_one_that_waits(self) -> None:
        async def trace() -> list[Status]:
            agents = chain()
            agents._scripts["dead"] = [UnreachableError("refused")]
            limits = Limits(concurrent=1, patience=Patience(unanswered=timedelta(0)))
            world = World(agents, NamedProviders("ginkgo", "birch", "alder", "dead"), limits)
            world.clock = VirtualClock()
            dead = replace(submitted(terminating="dead"), id=uuid.UUID(int=1))
            many = [Kept(dead, 0), *(Kept(replace(submitted(), id=uuid.UUID(int=i)), 0) for i in range(2, 5))]
            return [traceback.status async for traceback in world.new_driver().drive_all(many)]

        statuses = in_virtual_time(trace)
        assert statuses == [Status.ORIGIN_FOUND] * 3 + [Status.NON_RESPONSIVE]

    def test_go_on_when_they_are_due_though_as_many_wait_as_may_be(self) -> None:
        async def trace() -> list[Rested]:
            agents = chain()
            agents._scripts["dead"] = [UnreachableError("refused")]
            world = World(agents, NamedProviders("ginkgo", "birch", "alder", "dead"), Limits(concurrent=1))
            world.clock = VirtualClock()
            driver, rested = world.new_driver(), list[Rested]()
            dead = replace(submitted(terminating="dead"), id=uuid.UUID(int=1))
            driver.take(Kept(dead, 0), rested.append)
            await world.clock.sleep_until(NOW + timedelta(milliseconds=100))  # it waits now
            asking, (ask, *_) = advance(submitted(), Started(NOW - timedelta(seconds=5)))
            assert isinstance(ask, Ask)
            failed, _ = advance(asking, TimedOut(ask.question.question_id, NOW - timedelta(seconds=2)))
            world.store.versions[failed.id] = 2
            driver.take(Kept(failed, 2), rested.append)
            await world.clock.sleep_until(NOW + timedelta(milliseconds=200))
            await driver.stop()
            return rested

        [done] = in_virtual_time(trace)
        assert (done.due, done.kept.traceback.status) == (None, Status.ORIGIN_FOUND)


class TestARestart:
    @pytest.mark.parametrize("crash_after", range(5))
    async def test_after_any_step_ends_with_the_same_chain_and_the_same_questions(self, crash_after: int) -> None:
        whole = World(chain())
        expected = await whole.trace()
        world = World(chain())
        world.store.fail_after = crash_after
        if crash_after < len(whole.store.changes):
            with pytest.raises(OSError, match="no space"):
                await world.trace()
        else:
            await world.trace()
        world.store.fail_after = None
        changes = world.store.changes
        last = changes[-1].after if changes else submitted()
        done = await world.new_driver().drive(Kept(last, len(changes)))
        assert done == expected
        assert len({question.question_id for question in world.agents.asked}) == len(expected.hops)

    async def test_of_a_closed_traceback_asks_nothing(self) -> None:
        world = World(chain())
        done = await world.trace()
        asked = len(world.agents.asked)
        assert await world.new_driver().drive(Kept(done, len(world.store.changes))) == done
        assert len(world.agents.asked) == asked


async def test_a_traceback_that_another_process_advanced_is_let_go() -> None:
    world = World(chain())
    world.store.versions[submitted().id] = 7
    left = await world.trace()
    assert left == submitted()
    assert world.notes.losses == [submitted()]
    assert world.agents.asked == []


async def test_a_store_that_fails_stops_everything_before_a_question_is_asked() -> None:
    world = World(chain())
    world.store.fail_after = 0
    with pytest.raises(OSError, match="no space"):
        _ = [done async for done in world.driver.drive_all([Kept(submitted(), 0)])]
    assert world.agents.asked == []


class TestADefect:
    async def test_of_the_client_ends_everything_and_says_so(self) -> None:
        world = World(ScriptedAgents(ginkgo=[ZeroDivisionError("a defect")]))
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await world.trace()

    async def test_in_what_is_made_of_an_answer_ends_everything_and_says_so(self) -> None:
        world = World(chain())

        def fail(traceback: Traceback) -> None:
            raise ZeroDivisionError("a defect")

        world.notes.changed = fail  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await world.trace()

    async def test_at_the_end_of_a_nap_ends_everything_and_says_so(self) -> None:
        world = World(ScriptedAgents(ginkgo=[UnreachableError("refused")]))
        calls = iter([world.registry.provider("ginkgo")])

        def once(provider: str) -> Provider | None:
            try:
                return next(calls)
            except StopIteration:
                raise ZeroDivisionError("a defect") from None

        world.registry.provider = once  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError, match="a defect"):
            await world.trace()
