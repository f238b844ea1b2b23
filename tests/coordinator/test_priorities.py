"""Priorities: the urgent first, nobody starves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.tracing.priorities import BY_AGE_EVERY, FairQueue, Priority, places_by_age, priority_of
from tests.coordinator.make import NOW


class TestThePriorityOfACall:
    @pytest.mark.parametrize(("days", "priority"), [(9, Priority.YOUNG_CALL), (10, Priority.REST)])
    def test_is_higher_while_it_is_younger_than_ten_days(self, days: int, priority: Priority) -> None:
        assert priority_of(NOW - timedelta(days=days), NOW) is priority

    def test_of_an_ongoing_campaign_is_higher_than_that_of_a_young_call(self) -> None:
        assert priority_of(NOW, NOW, ongoing_campaign=True) is Priority.ONGOING_CAMPAIGN < Priority.YOUNG_CALL

    def test_of_a_threat_to_life_is_the_highest_whatever_else_it_is(self) -> None:
        old = NOW - timedelta(days=300)
        assert priority_of(old, NOW, threat_to_life=True, ongoing_campaign=True) is min(Priority)


priorities = st.sampled_from(Priority)


class TestAFairQueue:
    def test_gives_the_urgent_first_and_among_equals_whoever_came_first(self) -> None:
        queue: FairQueue[str] = FairQueue()
        for one, priority in (("a", Priority.REST), ("b", Priority.REST), ("c", Priority.THREAT_TO_LIFE)):
            queue.put(one, priority)
        assert queue.take(5) == ["c", "a", "b"]

    def test_gives_no_more_than_it_has(self) -> None:
        queue: FairQueue[int] = FairQueue()
        assert queue.take(3) == []
        queue.put(1, Priority.REST)
        assert queue.take(0) == []
        assert (queue.take(3), len(queue)) == ([1], 0)

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.one_of(priorities, st.integers(1, 9)), max_size=80))
    def test_gives_everything_once(self, steps: list[Priority | int]) -> None:
        queue: FairQueue[int] = FairQueue()
        put = taken = 0
        given_: set[int] = set()
        for step in steps:
            if isinstance(step, Priority):
                queue.put(put, step)
                put += 1
            else:
                some = queue.take(step)
                taken += len(some)
                given_ |= set(some)
            assert len(queue) == put - taken == put - len(given_)

    @settings(max_examples=80, deadline=None)
    @given(before=st.lists(priorities, max_size=30), takes=st.lists(st.integers(1, 20), min_size=300, max_size=300))
    def test_serves_whoever_waits_however_many_more_urgent_ones_come(
        self, before: list[Priority], takes: list[int]
    ) -> None:
        """With n before it in age, after at most 8 n + 8 places."""
        queue: FairQueue[int] = FairQueue()
        for number, priority in enumerate(before):
            queue.put(number, priority)
        me, places = len(before), 0
        queue.put(me, Priority.REST)
        for take in takes:
            for _ in range(take):
                queue.put(me + 1, Priority.THREAT_TO_LIFE)
            some = queue.take(take)
            if me in some:
                assert places < BY_AGE_EVERY * len(before) + BY_AGE_EVERY
                return
            places += take
        raise AssertionError("starved")


@given(st.lists(st.integers(0, 50), max_size=50))
def test_every_eighth_place_goes_by_age_however_places_are_cut(blocks: list[int]) -> None:
    given_ = by_age = 0
    for places in blocks:
        by_age += places_by_age(places, given_)
        given_ += places
    assert by_age == given_ // BY_AGE_EVERY
