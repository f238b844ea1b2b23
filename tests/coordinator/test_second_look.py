"""A person named an upstream that denies it: the person is asked to look again, once, by a task with its own clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from coordinator.present.explain import explain
from coordinator.tasks.attesting import attest, attester, draft, question_of
from coordinator.tasks.task import Kind, State, Task
from coordinator.tracing.chain import Phase, Problem, Status, Traceback, places, standing
from coordinator.tracing.disputes import Settled, disputes, forks
from coordinator.tracing.events import Answered, GivenUp, LeftToPerson, NoAgent, PersonAnswered, Started
from coordinator.tracing.signed import AttestedAnswer
from coordinator.tracing.traceback import UNATTESTED, advance, hears_person
from protos.types import Answer, Handover, Outcome
from tests.coordinator.fakes import NamedProviders, ScriptedAgents
from tests.coordinator.make import CALLED, NOW, provider, says, submitted, upstream
from tests.coordinator.parties import Drawer, InProcess, Parties, order, signed_agents, traceback_of
from tests.coordinator.people import People
from tests.coordinator.test_calendar import at

HOUR = timedelta(hours=1)
MONDAY = at("2026-11-23T10:00").astimezone(UTC)
NAMED = upstream("elm", "birch", handover=Handover.CONFIRMED)
DENIAL = says("birch", Outcome.NOT_FOUND, handover=Handover.NOT_MINE)
FINE = says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)


# The machine


def said(traceback: Traceback, answer: Answer) -> Traceback:
    """After this answer to the open question, by an agent or, at elm, by a person."""
    identity = traceback.hops[-1].question.question_id
    if traceback.hops[-1].provider != "elm":
        return advance(traceback, Answered(identity, answer, NOW))[0]
    return advance(waits(traceback), PersonAnswered(identity, answer, NOW))[0]


def waits(traceback: Traceback) -> Traceback:
    """Elm has no agent, and its person is asked."""
    identity = traceback.hops[-1].question.question_id
    traceback, _ = advance(traceback, NoAgent(identity, NOW))
    return advance(traceback, LeftToPerson(identity, NOW, NOW + 24 * HOUR))[0]


def denied() -> Traceback:
    """ginkgo names elm, its person names birch, and that denies it."""
    traceback, _ = advance(submitted(), Started(NOW))
    for answer in (upstream("ginkgo", "elm"), NAMED, DENIAL):
        traceback = said(traceback, answer)
    return traceback


class TestADenial:
    def test_of_what_a_person_said_asks_that_person_once_more(self) -> None:
        before = denied()
        assert (before.hops[-1].provider, before.status) == ("elm", Status.ASKING)
        assert before.hops[-1].question.question_id != before.hops[1].question.question_id
        ended, _ = advance(before, NoAgent(before.hops[-1].question.question_id, NOW))
        assert (ended.status, Kind.of(ended)) == (Status.NO_AGENT, Kind.SECOND_LOOK)
        waiting = waits(before)
        assert (waiting.status.phase, waiting.due) == (Phase.PERSON, NOW + 24 * HOUR)
        assert forks(waiting)[0].settled is Settled.OPEN

    def test_asks_nobody_where_the_registry_knows_the_one_that_named_no_more(self) -> None:
        before = denied()
        gone = NoAgent(before.hops[-1].question.question_id, NOW, registered=False)
        ended, _ = advance(before, gone)
        assert (ended.status, ended.hops[-1].problem) == (Status.DISPUTED, Problem.UNREGISTERED)
        assert not hears_person(ended)

    def test_goes_on_where_the_person_names_another_now(self) -> None:
        done = said(said(denied(), upstream("elm", "alder")), FINE)
        assert (done.status, done.origin, disputes(done)) == (Status.ORIGIN_FOUND, "alder", ())
        assert [done.hops[position].provider for position in standing(done.hops)] == ["ginkgo", "elm", "alder"]
        assert forks(done)[0].settled is Settled.CHANGED

    def test_stands_where_the_person_says_the_same_and_so_does_the_other(self) -> None:
        stands = said(said(denied(), NAMED), DENIAL)
        assert stands.status is Status.DISPUTED
        assert [hop.answer for hop in stands.hops[1:]] == [NAMED, DENIAL, NAMED, DENIAL]
        assert disputes(stands)[0].between == ("elm", "birch")
        assert not hears_person(stands)

    @pytest.mark.parametrize("outcome", [Outcome.NOT_FOUND, Outcome.RECORDS_EXPIRED, Outcome.REFUSED])
    def test_stands_where_the_person_finds_nothing_more(self, outcome: Outcome) -> None:
        stands = said(denied(), says("elm", outcome))
        assert stands.status is Status.DISPUTED
        assert disputes(stands)

    def test_stands_while_the_person_is_silent_and_a_late_answer_counts(self) -> None:
        waiting = waits(denied())
        silent, _ = advance(waiting, GivenUp(waiting.hops[-1].question.question_id, NOW + 48 * HOUR))
        assert (silent.status, disputes(silent)[0].between) == (Status.DISPUTED, ("elm", "birch"))
        assert hears_person(silent)
        late = PersonAnswered(silent.hops[-1].question.question_id, upstream("elm", "alder"), NOW + 72 * HOUR)
        again, _ = advance(silent, late)
        assert (again.status, again.hops[-1].provider) == (Status.ASKING, "alder")

    @given(st.lists(st.sampled_from(["birch", "alder", "cedar", "none"]), max_size=12), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_never_asks_a_person_more_than_three_times_at_one_place(self, names: list[str], denies: bool) -> None:
        traceback = denied()
        for name in names:
            if traceback.status is not Status.ASKING:
                break
            target = traceback.hops[-1].provider
            handover = Handover.NOT_MINE if denies and target not in ("elm", "ginkgo") else Handover.CONFIRMED
            named = name if name != target else "oak"
            outcome = Outcome.NOT_FOUND if name == "none" else Outcome.UPSTREAM
            answer = Answer(
                provider=target,
                outcome=outcome,
                upstream=None if name == "none" else provider(named),
                handover=handover,
            )
            traceback = said(traceback, answer)
        every = places(traceback.hops)
        assert all(every.count(place) <= 3 for place in every)
        assert len([hop for hop in traceback.hops if hop.provider == "elm"]) <= 3
        assert len({hop.question.question_id for hop in traceback.hops}) == len(traceback.hops)


# With people, over both databases


def agents() -> ScriptedAgents:
    return ScriptedAgents(ginkgo=[upstream("ginkgo", "elm")], birch=[DENIAL], alder=[FINE])


def registered() -> NamedProviders:
    return NamedProviders("ginkgo", "birch", "alder", without_agent=("elm",))


@pytest.fixture
def people(either_engine: Engine) -> Iterator[People]:
    house = People(either_engine, agents(), registered(), MONDAY)
    house.submit(submitted())
    yield house
    house.store.close()


BIRCH = {"outcome": "upstream", "upstream": "birch", "handover": "confirmed"}
ALDER = BIRCH | {"upstream": "alder"}


async def asked_again(house: People) -> Task:
    """The task of the second look, put two hours after the first one was answered."""
    await house.work()
    house.answer(BIRCH)
    house.clock.advance(2 * HOUR)
    await house.work()
    await house.work()
    return house.task(State.OPEN)


class TestThePerson:
    async def test_gets_a_second_task_with_a_clock_of_its_own(self, people: People) -> None:
        task = await asked_again(people)
        assert (task.asked.provider, task.asked.kind, task.asked.position) == ("elm", Kind.SECOND_LOOK, 3)
        assert (task.plan.received, task.plan.due) == (MONDAY + 2 * HOUR, MONDAY + 26 * HOUR)
        assert people.traceback().due == task.plan.due
        words = explain(people.traceback())
        assert "A person at elm is asked once more, because birch denies the handover" in words.means
        assert CALLED not in f"{words}"
        assert [one.asked.kind for one in people.desk.list()].count(Kind.NO_AGENT) == 1

    async def test_who_names_another_lets_the_chain_go_on(self, people: People) -> None:
        await asked_again(people)
        people.answer(ALDER)
        await people.work()
        assert (people.traceback().status, people.traceback().origin) == (Status.ORIGIN_FOUND, "alder")

    async def test_who_says_the_same_again_leaves_a_dispute_and_is_asked_no_third_time(self, people: People) -> None:
        await asked_again(people)
        people.answer(BIRCH)
        for _ in range(3):
            await people.work()
        assert people.traceback().status is Status.DISPUTED
        assert len(people.desk.list()) == 2
        assert people.desk.list(states=[State.OPEN, State.MATCHING]) == []

    async def test_who_is_silent_is_given_up_by_the_calendar_and_may_answer_late(self, people: People) -> None:
        task = await asked_again(people)
        people.clock.advance(task.plan.gives_up - people.clock.now() + HOUR)
        await people.work()
        assert people.traceback().status is Status.DISPUTED
        people.answer(ALDER)
        await people.work()
        assert people.traceback().status is Status.ORIGIN_FOUND

    async def test_who_types_a_name_late_is_matched_by_an_operator(self, people: People) -> None:
        task = await asked_again(people)
        people.clock.advance(task.plan.gives_up - people.clock.now() + HOUR)
        await people.work()
        assert people.answer({"outcome": "upstream", "upstream_name": "Alder Voice"}) is State.MATCHING
        assert not await people.work()
        people.desk.match(task.id, provider("alder"), "olga", people.clock.now())
        await people.work()
        assert people.traceback().status is Status.ORIGIN_FOUND


class TestUnderAnOrder:
    async def test_what_nobody_attests_ends_with_its_order_and_is_not_the_providers_failing(
        self, either_engine: Engine, tmp_path: Path
    ) -> None:
        parties = Parties(tmp_path / "ca")
        [granted] = parties.granted(order())
        wire = InProcess(parties, {"ginkgo": lambda _: upstream("ginkgo", "elm")})
        house = People(either_engine, signed_agents(parties, wire, Drawer(granted)), registered(), NOW)
        house.submit(traceback_of(granted))
        await house.work()
        house.answer(BIRCH)
        expires = house.traceback().call.expires
        assert expires is not None
        house.clock.advance(expires - NOW - timedelta(minutes=1))
        assert not (await house.work()).unattested
        assert house.traceback().status is Status.AWAITING_PERSON
        house.clock.advance(timedelta(minutes=1))
        done = await house.work()
        assert (done.unattested, done.given_up) == (1, 0)
        ended = house.traceback()
        assert (ended.status, ended.hops[-1].provider, ended.hops[-1].detail) == (
            Status.ORDER_EXPIRED,
            "elm",
            UNATTESTED,
        )
        assert not (await house.work()).unattested
        assert house.desk.list(states=(State.OPEN,), to_attest=True) == []
        house.store.close()

    async def test_what_is_said_at_the_second_look_is_attested_too(self, either_engine: Engine, tmp_path: Path) -> None:
        parties = Parties(tmp_path / "ca")
        [granted] = parties.granted(order())
        wire = InProcess(
            parties, {"ginkgo": lambda _: upstream("ginkgo", "elm"), "birch": lambda _: DENIAL, "alder": lambda _: FINE}
        )
        house = People(either_engine, signed_agents(parties, wire, Drawer(granted)), registered(), NOW)
        house.submit(traceback_of(granted))
        for upstream_named in ("birch", "alder"):
            await house.work()
            task = house.task(State.OPEN)
            house.answer(BIRCH | {"upstream": upstream_named})
            assert not (await house.work()).taken
            result = house.desk.answer_of(task.id)
            question = question_of(house.traceback(), result)
            held = attest(draft(result, question), parties.people["bob"])
            assert held.kept is not None
            name = attester(held, result, question, granted.order, parties.persons)
            house.desk.attest(result, held.kept, name, NOW)
            await house.work()
        done = house.traceback()
        assert done.status is Status.ORIGIN_FOUND
        assert [hop.provider for hop in done.hops] == ["ginkgo", "elm", "birch", "elm", "alder"]
        assert [isinstance(hop.answer, AttestedAnswer) for hop in done.hops] == [False, True, False, True, False]
        house.store.close()
