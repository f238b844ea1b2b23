"""Breaker, rate and budget: when a provider may be asked. Values with the time passed in."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.lookups.breaker import Breaker, BreakerTerms, Budget, Rate
from tests.coordinator.make import NOW

SECOND = timedelta(seconds=1)
TERMS = BreakerTerms(failures=3, pause=SECOND, longest=8 * SECOND, scatter=0.0)


def failed(breaker: Breaker, times: int) -> Breaker:
    for _ in range(times):
        breaker = breaker.after_failure(NOW)
    return breaker


class TestABreaker:
    def test_stays_closed_for_a_few_failures(self) -> None:
        breaker = failed(Breaker("birch", TERMS), 2)
        assert not breaker.is_open
        assert breaker.blocked_until(NOW) is None

    def test_opens_after_so_many_in_a_row(self) -> None:
        breaker = failed(Breaker("birch", TERMS), 3)
        assert breaker.is_open
        assert breaker.blocked_until(NOW) == NOW + SECOND

    def test_lets_something_through_when_its_pause_is_over_and_stays_open_until_an_answer(self) -> None:
        breaker = failed(Breaker("birch", TERMS), 3)
        assert breaker.blocked_until(NOW + SECOND) is None
        assert breaker.is_open
        assert not breaker.after_answer().is_open

    def test_starts_counting_anew_after_an_answer(self) -> None:
        assert not failed(failed(Breaker("birch", TERMS), 2).after_answer(), 2).is_open

    def test_doubles_its_pause_up_to_the_longest(self) -> None:
        pauses = [failed(Breaker("birch", TERMS), times).blocked_until(NOW) for times in range(3, 9)]
        assert pauses == [NOW + seconds * SECOND for seconds in (1, 2, 4, 8, 8, 8)]

    def test_of_one_provider_opens_again_at_another_moment_than_that_of_another(self) -> None:
        terms = BreakerTerms(failures=1, pause=SECOND, scatter=0.2)
        times = {failed(Breaker(f"provider-{number}", terms), 1).blocked_until(NOW) for number in range(50)}
        assert len(times) == 50
        assert all(time is not None and NOW + SECOND <= time <= NOW + 1.2 * SECOND for time in times)


class TestARate:
    def test_that_is_none_grants_everything(self) -> None:
        assert Rate().granted(10_000, NOW) == 10_000

    @settings(max_examples=60, deadline=None)
    @given(
        per_second=st.floats(0.1, 500),
        steps=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 3_000)), min_size=1, max_size=60),
    )
    def test_is_never_exceeded_over_any_stretch_of_time(self, per_second: float, steps: list[tuple[int, int]]) -> None:
        rate, now, sent = Rate(per_second), NOW, 0
        for wanted, later_ms in steps:
            granted = rate.granted(wanted, now)
            rate, sent = rate.after(granted, now), sent + granted
            now += timedelta(milliseconds=later_ms)
        passed = (now - NOW).total_seconds()
        assert sent <= passed * per_second + max(per_second, 1.0) + 1e-6

    @settings(max_examples=60, deadline=None)
    @given(per_second=st.floats(0.1, 500), spent=st.integers(0, 500))
    def test_grants_one_at_the_time_that_it_names(self, per_second: float, spent: int) -> None:
        rate = Rate(per_second)
        rate = rate.after(rate.granted(spent, NOW), NOW)
        assert rate.granted(1, rate.next(NOW)) == 1


class TestABudget:
    def test_that_is_none_grants_everything(self) -> None:
        assert Budget().granted(10_000, NOW) == 10_000

    def test_is_for_a_day(self) -> None:
        budget = Budget(per_day=10)
        budget = budget.after(budget.granted(7, NOW), NOW)
        assert budget.granted(7, NOW) == 3
        budget = budget.after(3, NOW)
        assert budget.granted(1, NOW) == 0
        assert budget.granted(7, budget.next(NOW)) == 7
        assert budget.next(NOW).time().isoformat() == "00:00:00"
