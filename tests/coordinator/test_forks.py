"""A chain that forked: kept with both branches, read back as it was, shown, and counted by what stands."""

from __future__ import annotations

from rich.console import Console
from sqlalchemy import Engine

from coordinator.present.chains import traceback_json, whole
from coordinator.present.explain import explain
from coordinator.present.explain_again import explain_forks
from coordinator.reports.figures import scorecards
from coordinator.reports.way_reader import ways_of
from coordinator.reports.ways import Way
from coordinator.running.driver import Driver
from coordinator.store.sql_store import opened
from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.disputes import Settled, forks
from protos.types import Answer, Handover, Outcome
from tests.coordinator.fakes import JumpingClock, NamedProviders, Notes, ScriptedAgents
from tests.coordinator.make import NOW, provider, says, submitted, upstream

DENIAL = says("birch", Outcome.NOT_FOUND, handover=Handover.NOT_MINE)
FINE = says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
AGAIN = [upstream("ginkgo", "birch"), upstream("ginkgo", "alder")]
"""What ginkgo says first, and when it is asked once more."""


async def traced(engine: Engine, ginkgo: list[Answer], birch: Answer = DENIAL) -> tuple[Traceback, Traceback, Way]:
    """The traceback as it was driven, as it is loaded, and its way."""
    agents = ScriptedAgents(ginkgo=list(ginkgo), birch=[birch], alder=[FINE])
    with opened(engine) as store:
        [kept] = store.submit([submitted()], NOW)
        driver = Driver(
            store=store,
            registry=NamedProviders("ginkgo", "birch", "alder"),
            agents=agents,
            clock=JumpingClock(),
            watcher=Notes(),
        )
        done = await driver.drive(kept)
        loaded = store.load(done.id)
    assert loaded is not None
    [way] = ways_of(engine, [done.id])
    return done, loaded.traceback, way


def picture(traceback: Traceback) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(whole(traceback))
    return captured.get()


class TestThatWasSettled:
    async def test_is_loaded_with_both_branches(self, either_engine: Engine) -> None:
        done, loaded, _ = await traced(either_engine, AGAIN)
        assert loaded == done
        assert [hop.provider for hop in loaded.hops] == ["ginkgo", "birch", "ginkgo", "alder"]
        assert (loaded.status, loaded.origin) == (Status.ORIGIN_FOUND, "alder")

    async def test_counts_those_who_took_part_alone(self, either_engine: Engine) -> None:
        _, _, way = await traced(either_engine, AGAIN)
        assert way.providers == ("ginkgo", "alder")
        assert way.disputed is None
        denied = {card.provider: {f.name: len(f.facts) for f in card.figures} for card in scorecards([way], [], NOW)}
        assert denied[provider("birch")]["denied"] == 0

    async def test_shows_both_branches(self, either_engine: Engine) -> None:
        _, loaded, _ = await traced(either_engine, AGAIN)
        shown = picture(loaded)
        assert all(label in shown for label in ("1a", "2a", "1b", "2b"))
        assert "ginkgo names alder now, and the chain goes on from there" in " ".join(shown.split())
        as_json = traceback_json(loaded)
        assert [hop["provider"] for hop in as_json["hops"]] == ["ginkgo", "alder"]
        [fork] = as_json["forks"]
        assert (fork["between"], fork["settled"]) == (["ginkgo", "birch"], "changed")
        assert [hop["provider"] for hop in fork["denied"]] == ["ginkgo", "birch"]


class TestThatStands:
    async def test_is_a_dispute_between_the_two_and_accuses_nobody(self, either_engine: Engine) -> None:
        done, loaded, way = await traced(either_engine, AGAIN[:1])
        assert loaded == done
        assert (loaded.status, forks(loaded)[0].settled) == (Status.DISPUTED, Settled.STANDS)
        assert way.providers == ("ginkgo",)
        assert way.disputed is not None
        assert [hop.provider for hop in way.disputed] == ["ginkgo", "birch"]
        assert "both were asked once more" in explain(loaded).means
        assert "nobody is accused" in explain(loaded).means
        assert "both keep to what they said" in explain_forks(loaded)[0]

    async def test_though_the_one_that_named_has_nothing_more_to_say(self, either_engine: Engine) -> None:
        _, loaded, way = await traced(either_engine, [AGAIN[0], says("ginkgo", Outcome.AMBIGUOUS)])
        assert loaded.status is Status.DISPUTED
        assert way.providers == ("ginkgo",)
        assert way.disputed is not None
        assert {hop.provider for hop in way.disputed} == {"ginkgo", "birch"}
        assert "birch denies having handed it to ginkgo" in explain(loaded).means

    async def test_is_told_from_a_denial_that_names_another(self, either_engine: Engine) -> None:
        denial = upstream("birch", "alder", handover=Handover.NOT_MINE)
        _, loaded, way = await traced(either_engine, AGAIN[:1], denial)
        assert loaded.status is Status.DISPUTED
        assert way.providers == ("ginkgo",)
