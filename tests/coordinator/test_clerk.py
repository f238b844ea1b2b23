"""A hop that no agent answers becomes a person's task; the answer goes on with the chain: once, and also late."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, insert, select, text

from coordinator.present.chains import outcome_words, traceback_json
from coordinator.present.explain import explain
from coordinator.pseudonyms import Pseudonyms
from coordinator.reports.figures import Participant, Scorecard, participants, scorecards
from coordinator.reports.reader import persons_between
from coordinator.reports.way_reader import ways_between
from coordinator.retention import retire
from coordinator.store.engine import open_engine
from coordinator.store.sql_store import SqlStore
from coordinator.store.task_models import task_attestations
from coordinator.tasks.task import State
from coordinator.tracing.chain import Phase, Status
from coordinator.tracing.events import Cancelled
from coordinator.tracing.ports import Change
from coordinator.tracing.signed import SaidAnswer
from coordinator.tracing.traceback import advance
from protos.types import Outcome
from tests.coordinator.fakes import NamedProviders, ScriptedAgents
from tests.coordinator.make import CALLED, ID, TOLL_FREE, provider, says, submitted, upstream
from tests.coordinator.people import UPSTREAM, People, registry
from tests.coordinator.test_calendar import at

NOW = at("2026-11-23T10:00").astimezone(UTC)  # a Monday
HOUR = timedelta(hours=1)


def agents() -> ScriptedAgents:
    return ScriptedAgents(ginkgo=[upstream("ginkgo", "elm")], alder=[says("alder", Outcome.ORIGINATED_HERE)])


@pytest.fixture
def people(either_engine: Engine) -> Iterator[People]:
    house = People(either_engine, agents(), registry(), NOW)
    house.submit(submitted())
    yield house
    house.store.close()


class TestAHopWithoutAnAgent:
    async def test_becomes_a_task_and_the_chain_waits_for_a_person_with_a_clock(self, people: People) -> None:
        assert (await people.work()).put == 1
        traceback, task = people.traceback(), people.task()
        assert (traceback.status, traceback.status.phase) == (Status.AWAITING_PERSON, Phase.PERSON)
        assert (task.asked.provider, task.asked.named_by, task.state) == ("elm", "ginkgo", State.OPEN)
        assert traceback.due == task.plan.due == NOW + 24 * HOUR
        words = explain(traceback)
        assert "elm" in words.means
        assert "2026-11-24 15:00 UTC" in words.means
        assert CALLED not in f"{words}"

    async def test_becomes_one_task_however_many_rounds_there_are(self, people: People) -> None:
        await people.work()
        assert [(await people.work()).put for _ in range(3)] == [0, 0, 0]
        assert len(people.desk.list()) == 1

    async def test_is_nobodys_while_it_waits(self, people: People) -> None:
        await people.work()
        assert await people.store.next_due() is None
        assert people.store.open_ids() == []

    async def test_whose_task_was_withdrawn_is_left_alone(self, people: People) -> None:
        await people.drive()
        [identity] = people.clerk._left()
        assert identity == ID
        await people.clerk.round()
        assert people.desk.withdraw(people.task().id, "olga", "asked in person", NOW)
        assert not await people.clerk.round()

    async def test_of_a_chain_that_ended_long_ago_is_left_alone(self, people: People) -> None:
        await people.drive()
        people.clock.advance(73 * HOUR)
        assert not await people.clerk.round()
        assert people.desk.list() == []

    async def test_can_be_asked_again_when_it_has_an_agent_now(self, people: People) -> None:
        await people.work()
        [kept] = await people.store.claim_these(people.lease(), [ID], closed_too=True)
        everybody = NamedProviders("ginkgo", "elm", "alder")
        script = ScriptedAgents(elm=[upstream("elm", "alder")], alder=[says("alder", Outcome.ORIGINATED_HERE)])
        later = People(people.engine, script, everybody, NOW, people.store)
        assert (await later.driver.drive(kept, reopen=True)).status is Status.ORIGIN_FOUND
        assert (await later.clerk.round()).withdrawn == 1


class TestAnAnswer:
    async def test_that_names_an_upstream_continues_the_chain(self, people: People) -> None:
        await people.work()
        people.clock.advance(3 * HOUR)
        assert people.answer(UPSTREAM) is State.ANSWERED
        assert (await people.work()).taken == 1
        traceback = people.traceback()
        assert traceback.status is Status.ORIGIN_FOUND
        assert [hop.provider for hop in traceback.hops] == ["ginkgo", "elm", "alder"]
        assert isinstance(traceback.hops[1].answer, SaidAnswer)
        assert not isinstance(traceback.hops[0].answer, SaidAnswer)
        assert traceback.hops[2].question.named_by == "elm"

    async def test_is_said_to_be_a_persons_and_counts_once_with_what_persons_answered(self, people: People) -> None:
        await people.work()
        people.clock.advance(3 * HOUR)
        people.answer(UPSTREAM)
        await people.work()
        said, _, elm = counted(people)
        assert [hop["word"] for hop in said["hops"]] == ["agent", "person", "agent"]
        assert "a person there said so" in outcome_words(people.traceback().hops[1])
        assert (elm.figure("asked").count, elm.figure("persons_answered").count) == (0, 1)
        assert (elm.latency.median, elm.persons_latency.median) == (None, 3 * HOUR)
        [took_part] = [one for one in counted(people)[1] if one.provider == "elm"]
        assert (took_part.asked, took_part.answered) == (1, 1)

    async def test_that_ends_the_chain_ends_it(self, people: People) -> None:
        await people.work()
        people.answer({"outcome": "originated_here", "handover": "confirmed"})
        await people.work()
        assert (people.traceback().status, people.traceback().origin) == (Status.ORIGIN_FOUND, "elm")

    async def test_that_denies_the_handover_is_a_dispute_when_both_keep_to_what_they_said(self, people: People) -> None:
        for _ in range(2):  # who named it is asked once more, then the person
            await people.work()
            people.answer({**UPSTREAM, "handover": "denied"})
            await people.work()
        assert people.traceback().status is Status.DISPUTED
        assert [hop.provider for hop in people.traceback().hops] == ["ginkgo", "elm", "ginkgo", "elm"]

    async def test_with_a_typed_name_waits_for_an_operator_who_matches_it(self, people: People) -> None:
        await people.work()
        assert people.answer({"outcome": "upstream", "upstream_name": "Alder Voice Inc."}) is State.MATCHING
        people.clock.advance(100 * HOUR)
        assert not await people.work()
        assert people.traceback().status is Status.AWAITING_PERSON
        people.desk.match(people.task().id, provider("alder"), "olga", people.clock.now())
        await people.work()
        assert people.traceback().status is Status.ORIGIN_FOUND

    async def test_through_a_link_is_taken_too(self, people: People) -> None:
        await people.work()
        token = people.desk.new_link(people.task().id, NOW)
        people.desk.answer_by_link(token, UPSTREAM, "by link", NOW)
        await people.work()
        assert people.traceback().status is Status.ORIGIN_FOUND

    async def test_to_a_chain_that_was_cancelled_changes_nothing_and_is_taken(self, people: People) -> None:
        await people.work()
        await _cancel(people)
        people.answer(UPSTREAM)
        assert (await people.clerk.round()).taken == 0
        assert people.traceback().status is Status.CANCELLED
        assert people.desk.results() == []


async def _cancel(people: People) -> None:
    [kept] = await people.store.claim_these(people.lease(), [ID], closed_too=True)
    after, _ = advance(kept.traceback, Cancelled(NOW, "by hand"))
    assert not await people.store.save([Change(kept.traceback, after, kept.version, NOW, fence=kept.fence)])


class TestATaskThatIsNeededNoMore:
    async def test_is_withdrawn(self, people: People) -> None:
        await people.work()
        await _cancel(people)
        assert (await people.clerk.round()).withdrawn == 1
        assert people.task().state is State.WITHDRAWN


class TestAPersonWhoDoesNotAnswer:
    async def test_is_given_up_by_the_business_calendar(self, people: People) -> None:
        await people.work()
        plan = people.task().plan
        people.clock.advance(plan.gives_up - NOW)
        assert not await people.work()
        people.clock.advance(timedelta(seconds=1))
        assert (await people.work()).given_up == 1
        assert people.traceback().status is Status.NON_RESPONSIVE
        assert "did not answer in time" in explain(people.traceback()).means

    async def test_and_answers_late_reopens_the_chain(self, people: People) -> None:
        await people.work()
        people.clock.advance(people.task().plan.gives_up - NOW + HOUR)
        await people.work()
        assert people.traceback().status is Status.NON_RESPONSIVE
        people.clock.advance(24 * HOUR)
        people.answer(UPSTREAM)
        await people.work()
        assert people.traceback().status is Status.ORIGIN_FOUND
        assert "late" in people.desk.view(people.task().id).history[-1].detail

    async def test_over_a_weekend_and_a_holiday_has_until_the_clock_has_run(self, either_engine: Engine) -> None:
        friday = at("2026-11-25T15:00").astimezone(UTC)  # the Wednesday before Thanksgiving
        house = People(either_engine, agents(), registry(), friday)
        house.submit(submitted())
        await house.work()
        assert house.traceback().due == at("2026-11-27T15:00")
        house.store.close()


class TestAnAgentThatHoldsItsAnswer:
    @pytest.fixture
    def held(self, either_engine: Engine) -> Iterator[People]:
        holds = says("birch", Outcome.NEEDS_HUMAN, retry_after_s=3600)
        script = ScriptedAgents(
            ginkgo=[upstream("ginkgo", "birch")],
            birch=[holds, holds, upstream("birch", "alder")],
            alder=[says("alder", Outcome.ORIGINATED_HERE)],
        )
        house = People(either_engine, script, registry(), NOW)
        house.submit(submitted())
        yield house
        house.store.close()

    async def test_is_no_persons_task_at_first(self, held: People) -> None:
        assert not await held.work()
        assert held.traceback().status is Status.NEEDS_HUMAN

    async def test_for_long_is_one_and_is_asked_again_until_it_is_released(self, held: People) -> None:
        await held.work()
        held.clock.advance(HOUR)
        done = await held.work()
        assert (done.put, done.asked_again) == (1, 1)
        task = held.task()
        await held.work()  # held still: the same task, the same clock
        assert (held.traceback().status, held.traceback().due) == (Status.AWAITING_PERSON, task.plan.due)
        held.clock.advance(HOUR)
        await held.work()
        await held.work()
        assert held.traceback().status is Status.ORIGIN_FOUND
        assert [(one.id, one.plan.due) for one in held.desk.list()] == [(task.id, task.plan.due)]
        await held.work()
        assert held.task().state is State.WITHDRAWN

    async def test_until_its_people_are_given_up_keeps_what_it_said(self, held: People) -> None:
        await held.work()
        held.clock.advance(HOUR)
        await held.work()
        await held.work()
        held.clock.advance(held.task().plan.gives_up - held.clock.now() + HOUR)
        await held.clerk.round()
        traceback = held.traceback()
        assert traceback.status is Status.NON_RESPONSIVE
        assert traceback.hops[-1].answer == says("birch", Outcome.NEEDS_HUMAN, retry_after_s=3600)

    async def test_when_nobody_needs_it_any_more_keeps_what_it_said(self, held: People) -> None:
        await held.work()
        held.clock.advance(HOUR)
        await held.work()
        await held.work()
        await _cancel(held)
        traceback = held.traceback()
        assert traceback.status is Status.CANCELLED
        assert traceback.hops[-1].answer == says("birch", Outcome.NEEDS_HUMAN, retry_after_s=3600)


class DyingStore(SqlStore):
    """Raises before or after its n-th durable step, as if the process were killed there."""

    def __init__(self, engine: Engine, step: int, *, after: bool) -> None:
        super().__init__(engine)
        self._left, self._after = step, after

    def _step(self, *, after: bool) -> None:
        if self._after is after:
            if self._left == 0:
                raise KilledError
            self._left -= 1

    async def save(self, changes: Sequence[Change]) -> set[int]:
        self._step(after=False)
        stale = await super().save(changes)
        self._step(after=True)
        return stale

    async def claim_these(self, *args: object, **kwargs: object) -> list:  # type: ignore[type-arg]
        self._step(after=False)
        claimed = await super().claim_these(*args, **kwargs)  # type: ignore[arg-type]
        self._step(after=True)
        return claimed

    async def let_go(self, fences: Mapping[UUID, int], due: datetime) -> None:
        self._step(after=False)
        await super().let_go(fences, due)
        self._step(after=True)


class KilledError(Exception):
    """The process is no more."""


class TestAClerkThatDies:
    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("step", range(5))
    async def test_anywhere_leaves_everything_to_another_and_nothing_is_done_twice(
        self, either_engine: Engine, step: int, after: bool
    ) -> None:
        script = agents()
        first = People(either_engine, script, registry(), NOW)
        first.submit(submitted())
        await first.drive()
        own = open_engine(either_engine.url.render_as_string(hide_password=False))
        mortal = People(own, script, registry(), NOW, DyingStore(own, step, after=after))
        died = await _dies(mortal)
        mortal.store.close()
        second = People(either_engine, script, registry(), NOW, first.store)
        second.clock.advance(timedelta(seconds=20))
        for _ in range(3):
            await second.work()
            if second.desk.list(states=[State.OPEN]):
                second.answer(UPSTREAM)
        assert died
        traceback = second.traceback()
        assert traceback.status is Status.ORIGIN_FOUND
        assert [hop.provider for hop in traceback.hops] == ["ginkgo", "elm", "alder"]
        assert len(second.desk.list()) == 1
        assert second.desk.results() == []
        assert len({question.question_id for question in script.asked}) == len(_of(script)) == 2
        first.store.close()


async def _dies(mortal: People) -> bool:
    """Put the task, have it answered, take the answer: until death."""
    try:
        await mortal.clerk.round()
        mortal.answer(UPSTREAM)
        await mortal.clerk.round()
    except KilledError:
        return True
    return False


def _of(script: ScriptedAgents) -> Collection[str]:
    return {question.target for question in script.asked}


def counted(people: People) -> tuple[dict[str, Any], list[Participant], Scorecard]:
    """The chain as JSON, who took part, and elm's scorecard."""
    period, now = (NOW - 999 * HOUR, NOW + 999 * HOUR), people.clock.now()
    ways, persons = list(ways_between(people.engine, *period)), persons_between(people.engine, *period)
    [elm] = [card for card in scorecards(ways, persons, now) if card.provider == "elm"]
    return traceback_json(people.traceback()), participants(ways, persons, now), elm


class TestRetention:
    async def test_keeps_whose_word_an_answer_is(self, people: People) -> None:
        await people.work()
        people.answer(UPSTREAM)
        await people.work()
        before = counted(people)
        later = NOW + timedelta(days=600)
        assert retire(people.engine, Pseudonyms(b"k" * 32), later, later, clean=False).tracebacks == 1
        after = counted(people)
        assert [hop["word"] for hop in after[0]["hops"]] == ["agent", "person", "agent"]
        assert after[1:] == before[1:]

    async def test_leaves_no_number_behind_in_a_persons_answer_or_an_attestation(self, people: People) -> None:
        await people.work()
        people.answer({**UPSTREAM, "ask_called": TOLL_FREE})
        await people.work()
        sealed = {"task_id": people.task().id, "kept": TOLL_FREE.encode(), "attested_by": "bob", "at": NOW}
        with people.engine.begin() as connection:
            connection.execute(insert(task_attestations), sealed)
        assert people.traceback().status is Status.ORIGIN_FOUND
        later = NOW + timedelta(days=600)
        assert retire(people.engine, Pseudonyms(b"k" * 32), later, later, clean=False).tracebacks == 1
        with people.engine.connect() as connection:
            assert connection.execute(select(task_attestations)).all() == []
            kept = connection.execute(text("SELECT answer FROM hops WHERE answer IS NOT NULL")).scalars().all()
        assert kept
        assert not [one for one in kept if TOLL_FREE.encode() in bytes(one)]
