"""Whatever the network and the providers do: no traceback is lost, no innocent shown, no question searched twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.tracing.chain import Status
from tests.simulator.loop import TICK_S, NothingWillHappenError, VirtualClock, run
from tests.simulator.simulation import REGISTRY, SEEDS, Terms, simulate
from tests.simulator.world import PEACEFUL, Habit, Mix, draw

BLOCKS = 10
EACH = len(SEEDS) // BLOCKS


class TestTheVirtualLoop:
    def test_passes_a_day_in_no_time(self) -> None:
        async def main() -> timedelta:
            clock = VirtualClock()
            begun = clock.now()
            await clock.sleep_until(begun + timedelta(days=1))
            return clock.now() - begun

        assert run(main()) == timedelta(days=1)

    @given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=5))
    @settings(max_examples=50, deadline=None)
    def test_wakes_nobody_too_early_and_everybody_in_the_end(self, pauses: list[float]) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            for pause in pauses:
                until = loop.time() + pause
                await asyncio.sleep(pause)
                assert until - 1e-6 <= loop.time() <= until + 2 * TICK_S
            await asyncio.sleep(5e-9)

        run(main())

    def test_says_when_nothing_will_ever_happen(self) -> None:
        async def main() -> None:
            await asyncio.get_running_loop().create_future()

        with pytest.raises(NothingWillHappenError):
            run(main())

    def test_does_what_is_given_to_a_thread_by_itself_and_later(self) -> None:
        async def main() -> list[str]:
            done: list[str] = []
            working = asyncio.create_task(asyncio.to_thread(done.append, "in a thread"))
            await asyncio.sleep(0)
            done.append("meanwhile")
            await working
            return done

        assert run(main()) == ["meanwhile", "in a thread"]

    def test_gives_back_what_goes_wrong_in_a_thread(self) -> None:
        async def main() -> None:
            await asyncio.to_thread(int, "no number")

        with pytest.raises(ValueError, match="no number"):
            run(main())


class TestAnIndustry:
    def test_is_the_same_for_the_same_seed(self) -> None:
        assert draw(5, 40, 30) == draw(5, 40, 30)
        assert draw(5, 40, 30) != draw(6, 40, 30)

    def test_has_every_habit_among_the_seeds_of_ci(self) -> None:
        seen = {party.habit for seed in range(100) for party in draw(seed, 40, 30).parties.values()}
        assert seen == set(Habit)


class TestASeed:
    @pytest.mark.parametrize("block", range(BLOCKS))
    def test_breaks_nothing(self, block: int) -> None:
        broken = [
            f"seed {seed}: {line}" for seed in range(block * EACH, (block + 1) * EACH) for line in simulate(seed).broken
        ]
        assert broken == []

    @pytest.mark.parametrize("seed", [1, 7, 42])
    def test_does_the_same_again_to_the_byte(self, seed: int) -> None:
        one, other = simulate(seed), simulate(seed)
        assert one.digest == other.digest
        assert one.statuses == other.statuses

    def test_differs_from_another_one(self) -> None:
        assert simulate(1).digest != simulate(2).digest

    def test_traces_every_call_where_all_are_honest_and_nothing_goes_wrong(self) -> None:
        peace = Terms(providers=60, calls=200, kills=0, calm_after=timedelta(0), mix=PEACEFUL)
        report = simulate(3, peace)
        assert report.broken == []
        assert set(report.statuses) <= {Status.ORIGIN_FOUND, Status.GATEWAY_FOUND, Status.AMBIGUOUS}
        assert report.reached["all of it"] >= 198

    def test_tells_calls_by_their_sisters_and_never_wrongly(self) -> None:
        twins = Terms(providers=60, calls=20, twins=60, kills=2, mix=PEACEFUL)
        report = simulate(4, twins)
        assert report.broken == []
        assert report.counts["calls told by their sisters"] >= 5

    def test_claims_nothing_of_a_record_that_was_given_for_two_calls(self) -> None:
        lossy = Terms(providers=60, calls=10, twins=20, lost=15, kills=2, mix=PEACEFUL)
        report = simulate(6, lossy)
        assert report.broken == []
        assert report.statuses[Status.AMBIGUOUS] >= 30  # both of each pair
        assert report.counts["chains taken back as contested"] > 0

    @pytest.mark.parametrize("habit", [Habit.NAMES_AN_INNOCENT, Habit.DENIES, Habit.NAMES_ITSELF, Habit.LOOPS])
    def test_shows_no_innocent_however_many_lie(self, habit: Habit) -> None:
        report = simulate(11, Terms(providers=60, calls=200, kills=1, mix=Mix({habit: 400})))
        assert report.broken == []

    @pytest.mark.nightly
    @pytest.mark.timeout(3600)
    def test_at_the_scale_of_the_registry_breaks_nothing(self) -> None:
        report = simulate(1, REGISTRY)
        assert report.broken == []
        assert report.statuses.total() == 100_000
