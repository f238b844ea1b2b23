"""What sister calls of a campaign may suggest about a hop that named nobody; what is false they never suggest."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from coordinator.store.sql_store import SqlStore
from coordinator.tracing.chain import Call, Status, Traceback
from coordinator.tracing.events import Answered, Started
from coordinator.tracing.ports import Change, Lease
from coordinator.tracing.sisters import FEWEST, NEAR, Doubt, Suggestion, suggest
from coordinator.tracing.traceback import advance
from protos.codec import digest, encode_answer, encode_question
from protos.types import Answer, Handover, Outcome
from tests.coordinator.house import House
from tests.coordinator.make import CALLED, CALLING, NOW, T0, provider, says, upstream
from tests.simulator.world import PEACEFUL, draw

MINUTE = timedelta(minutes=1)
ORIGIN = says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
CHAIN = (upstream("ginkgo", "birch"), upstream("birch", "alder", handover=Handover.CONFIRMED), ORIGIN)
STOPPED = (upstream("ginkgo", "birch"), says("birch", Outcome.AMBIGUOUS))
CALL = Call(called=CALLED, at=T0, terminating=provider("ginkgo"), calling=CALLING)


def traced(call: Call, *answers: Answer, key: int = 0) -> Traceback:
    traceback, _ = advance(Traceback(uuid.UUID(int=key), call), Started(NOW))
    for answer in answers:
        assert traceback.open_question is not None
        traceback, _ = advance(traceback, Answered(traceback.open_question.question_id, answer, NOW))
    return traceback


def sister(key: int, minutes: float, *answers: Answer, **changes: object) -> Traceback:
    call = replace(CALL, **{"at": T0 + minutes * MINUTE, **changes})  # type: ignore[arg-type]  # fields by name
    return traced(call, *(answers or CHAIN), key=key)


AMBIGUOUS = traced(CALL, *STOPPED, key=99)
AROUND = [*range(-20, -20 + FEWEST // 2), *range(5, 5 + FEWEST - FEWEST // 2)]


def sisters(**changes: object) -> list[Traceback]:
    return [sister(key, minutes, **changes) for key, minutes in enumerate(AROUND)]


class TestASuggestion:
    def test_is_made_where_all_sister_calls_around_it_came_from_one_upstream(self) -> None:
        suggestion = suggest(AMBIGUOUS, sisters())
        assert isinstance(suggestion, Suggestion)
        assert (suggestion.provider, suggestion.upstream) == ("birch", "alder")
        assert [fact.traceback_id.int for fact in suggestion.facts] == list(range(FEWEST))
        assert "no answer" in suggestion.words

    def test_changes_nothing_in_the_chain(self) -> None:
        before = replace(AMBIGUOUS)
        suggest(AMBIGUOUS, sisters())
        assert before == AMBIGUOUS
        assert AMBIGUOUS.status is Status.AMBIGUOUS

    def test_holds_no_telephone_number(self) -> None:
        suggestion = suggest(AMBIGUOUS, sisters())
        assert isinstance(suggestion, Suggestion)
        assert "555" not in suggestion.words


OTHER = (
    upstream("ginkgo", "birch"),
    upstream("birch", "cedar", handover=Handover.CONFIRMED),
    says("cedar", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED),
)
HERE = (upstream("ginkgo", "birch"), says("birch", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED))
UNCONFIRMED = (*CHAIN[:2], says("alder", Outcome.ORIGINATED_HERE))
UNFINISHED = (*CHAIN[:2], says("alder", Outcome.UNMAPPED, handover=Handover.CONFIRMED))
ELSEWHERE = (
    upstream("ginkgo", "dogwood"),
    upstream("dogwood", "birch", handover=Handover.CONFIRMED),
    *CHAIN[1:],
)


class TestNothingIsSuggested:
    @pytest.mark.parametrize(
        "one_more", [OTHER, HERE, UNCONFIRMED, UNFINISHED], ids=["another", "origin", "unconfirmed", "unfinished"]
    )
    def test_where_one_alone_contradicts(self, one_more: tuple[Answer, ...]) -> None:
        assert suggest(AMBIGUOUS, [*sisters(), sister(50, 2, *one_more)]) is Doubt.DISAGREE

    def test_from_too_few(self) -> None:
        assert suggest(AMBIGUOUS, sisters()[1:]) is Doubt.TOO_FEW
        assert suggest(AMBIGUOUS, sisters()[1:] * 3) is Doubt.TOO_FEW

    def test_from_calls_too_far_away(self) -> None:
        beyond = NEAR / MINUTE + 1
        assert suggest(AMBIGUOUS, [sister(k, m * beyond) for k, m in enumerate([-1, 1] * FEWEST)]) is Doubt.TOO_FEW

    def test_from_calls_of_one_side_alone(self) -> None:
        assert suggest(AMBIGUOUS, [sister(k, -m - 1) for k, m in enumerate(range(FEWEST))]) is Doubt.ONE_SIDED

    def test_from_calls_with_another_calling_number_or_none(self) -> None:
        assert suggest(AMBIGUOUS, sisters(calling=None)) is Doubt.TOO_FEW
        assert suggest(traced(replace(CALL, calling=None), *STOPPED), sisters(calling=None)) is Doubt.NO_CALLING_NUMBER

    def test_from_calls_that_another_neighbour_handed_on(self) -> None:
        assert suggest(AMBIGUOUS, [sister(k, m, *ELSEWHERE) for k, m in enumerate(AROUND)]) is Doubt.TOO_FEW

    def test_about_a_chain_that_did_not_end_ambiguous(self) -> None:
        assert suggest(sister(70, 0), sisters()) is Doubt.NOT_AMBIGUOUS


class TestTheTruth:
    """Over industries drawn at random: calls of one originator pattern take routes that depend on the hour."""

    @given(st.integers(0, 10_000), st.integers(FEWEST, 40), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_is_never_contradicted_where_routes_hold_between_the_calls_around(
        self, seed: int, calls: int, several: bool
    ) -> None:
        chance = Random(seed)
        world = draw(seed, 40, 30, PEACEFUL)
        path = next(one.path for one in world.passages if len(set(one.path)) == len(one.path) > 2)
        place = chance.randrange(len(path) - 1)
        other = chance.choice([name for name in world.parties if name not in path])
        change = chance.uniform(-40, 40)  # at this minute the provider turns to another route, if it has several

        def way(minutes: float) -> tuple[str, ...]:
            turned = several and minutes >= change
            return (*path[: place + 1], other) if turned else path

        def answers(way: tuple[str, ...]) -> list[Answer]:
            said = [
                upstream(here, there, handover=Handover.CONFIRMED if at else Handover.UNSPECIFIED)
                for at, (here, there) in enumerate(pairwise(way))
            ]
            return [*said, says(way[-1], Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)]

        call = replace(CALL, terminating=path[0])
        times = [chance.uniform(-40, 40) for _ in range(calls)]
        others = [
            traced(replace(call, at=_ms(minutes)), *answers(way(minutes)), key=key) for key, minutes in enumerate(times)
        ]
        stopped = [*answers(way(0.0))[:place], _ambiguous(path[place], named=place > 0)]
        suggestion = suggest(traced(call, *stopped, key=99), others)
        if isinstance(suggestion, Suggestion):
            assert suggestion.upstream == way(0.0)[place + 1]
        else:  # and that is not for never suggesting anything
            near = [minutes for minutes in times if abs(minutes) <= NEAR / MINUTE]
            assert several or len(near) < FEWEST or min(near) > 0 or max(near) < 0


def _ms(minutes: float) -> datetime:
    return T0 + timedelta(milliseconds=round(minutes * 60_000))


def _ambiguous(name: str, *, named: bool) -> Answer:
    return says(name, Outcome.AMBIGUOUS, handover=Handover.CONFIRMED if named else Handover.UNSPECIFIED)


class TestTheCommand:
    @pytest.fixture
    def house(self, sqlite_engine: Engine, tmp_path: Path) -> House:
        """A coordinator whose campaign was traced: ten sister calls to their origin, one that stopped at birch."""
        house = House(tmp_path)
        (tmp_path / "p.csv").write_text("id,name\nginkgo,G\n")
        house.run("registry", "import", str(tmp_path / "p.csv"))
        rows = [f"{CALLED},{(T0 + minutes * MINUTE).isoformat()},ginkgo,{CALLING},5s" for minutes in [*AROUND, 0]]
        (tmp_path / "calls.csv").write_text("\n".join(["called,at,terminating,calling,window", *rows]) + "\n")
        house.run("campaign", "import", "warranty", str(tmp_path / "calls.csv"))
        store = SqlStore(sqlite_engine)
        for traceback, answers in [*((one, CHAIN) for one in sisters()), (AMBIGUOUS, STOPPED)]:
            keep(store, traceback, answers)
        store.close()
        return house

    def test_tells_the_analyst_and_says_that_it_is_no_answer(self, house: House) -> None:
        assert "came from alder. This is no answer" in house.run("campaign", "suggest", "warranty").stdout
        (told,) = house.json("campaign", "suggest", "warranty")
        assert (told["suggested"], told["provider"], len(told["facts"])) == ("alder", "birch", FEWEST)

    def test_says_when_there_is_nothing_to_suggest(self, house: House) -> None:
        assert "No call of bank ends" in house.run("campaign", "suggest", "bank").stdout


def keep(store: SqlStore, traceback: Traceback, answers: tuple[Answer, ...]) -> None:
    """Store a traceback as a driver would, step by step."""

    async def steps() -> None:
        store.submit([Traceback(traceback.id, traceback.call)], NOW)
        lease = Lease("test", NOW, NOW + MINUTE)
        [kept] = await store.claim_these(lease, [traceback.id])
        before, version, said = kept.traceback, kept.version, iter(answers)
        event: Started | Answered = Started(NOW)
        while True:
            after, _ = advance(before, event)
            received = None
            if isinstance(event, Answered):
                exact = encode_question(before.hops[-1].question)
                received = encode_answer(event.answer, digest(exact))
            assert not await store.save([Change(before, after, version, NOW, received, fence=kept.fence)])
            before, version = after, version + 1
            if after.open_question is None:
                return
            event = Answered(after.open_question.question_id, next(said), NOW)

    asyncio.run(steps())
