"""Leases: one process at a time drives a traceback, another takes over from a silent one, a stale owner is refused."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import DBAPIError

from coordinator.running.leases import Keeper, owner_name
from coordinator.store import writing
from coordinator.store.engine import open_engine
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.postgresql_writer import PostgresqlWriter
from coordinator.store.sql_store import SqlStore, opened
from coordinator.tracing.chain import Traceback
from coordinator.tracing.events import AgentUnreachable, Answered, Cancelled, RetryDue, Started
from coordinator.tracing.ports import Change, Kept, Lease
from coordinator.tracing.priorities import BY_AGE_EVERY, Priority
from coordinator.tracing.traceback import advance
from protos.codec import digest, encode_answer, encode_question
from protos.types import Outcome
from tests.coordinator import databases
from tests.coordinator.fakes import JumpingClock
from tests.coordinator.make import NOW, provider, says, submitted
from tests.stores.servers import Server

SECOND = timedelta(seconds=1)


@pytest.fixture
def store(either_engine: Engine) -> Iterator[SqlStore]:
    with opened(either_engine) as store:
        yield store


@contextmanager
def another(engine: Engine) -> Iterator[SqlStore]:
    """A store over the same database with connections of its own, as another process has them."""
    with opened(open_engine(engine.url.render_as_string(hide_password=False))) as store:
        yield store


@pytest.fixture
def other(either_engine: Engine) -> Iterator[SqlStore]:
    with another(either_engine) as store:
        yield store


def lease(owner: str, at: datetime = NOW) -> Lease:
    return Lease(owner, at, at + 15 * SECOND)


def many(count: int) -> list[Traceback]:
    return [replace(submitted(), id=uuid.UUID(int=number)) for number in range(1, count + 1)]


def ids(claimed: Sequence[Kept]) -> list[int]:
    return sorted(kept.traceback.id.int for kept in claimed)


def started(kept: Kept, at: datetime = NOW, **fields: object) -> Change:
    after, _ = advance(kept.traceback, Started(at))
    return Change(kept.traceback, after, kept.version, at, fence=kept.fence, **fields)  # type: ignore[arg-type]


class TestAClaim:
    async def test_takes_what_is_due_and_no_more_than_asked_for(self, store: SqlStore) -> None:
        store.submit(many(5), NOW)
        assert len(await store.claim(lease("one"), 3)) == 3

    async def test_takes_nothing_that_another_process_has(self, store: SqlStore, other: SqlStore) -> None:
        store.submit(many(5), NOW)
        one, two = await store.claim(lease("one"), 3), await other.claim(lease("two"), 5)
        assert sorted(ids(one) + ids(two)) == [1, 2, 3, 4, 5]

    async def test_takes_nothing_that_is_not_due_yet(self, store: SqlStore) -> None:
        store.submit(many(1), NOW + SECOND)
        assert await store.claim(lease("one"), 5) == []
        assert len(await store.claim(lease("one", NOW + SECOND), 5)) == 1

    async def test_gives_the_traceback_with_all_its_hops(self, store: SqlStore) -> None:
        store.submit(many(1), NOW)
        [kept] = await store.claim(lease("one"), 1)
        change = started(kept)
        await store.save([change])
        [again] = await store.claim(lease("two", NOW + 15 * SECOND), 1)
        assert again == Kept(change.after, 1, 2)

    async def test_at_the_same_moment_as_others_takes_everything_once(self, either_engine: Engine) -> None:
        with another(either_engine) as one, another(either_engine) as two, another(either_engine) as three:
            one.submit(many(60), NOW)
            stores = {"one": one, "two": two, "three": three}
            claims = [store.claim(lease(name), 7) for _ in range(3) for name, store in stores.items()]
            claimed = [number for some in await asyncio.gather(*claims) for number in ids(some)]
            claimed += ids(await one.claim(lease("one"), 60))
        assert sorted(claimed) == list(range(1, 61))

    async def test_waits_for_a_process_that_froze_in_a_transaction_no_longer_than_that_may_stand_still(
        self, postgresql_server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writing, "IDLE_MS", 200)
        with databases.emptied_postgresql(postgresql_server) as engine, another(engine) as store:
            store.submit(many(2), NOW)
            frozen = PostgresqlWriter(engine)
            with pytest.raises(DBAPIError), frozen._transaction() as cursor:  # noqa: PT012 (it ends by the error)
                cursor.execute("SELECT id FROM tracebacks FOR UPDATE")
                assert await store.claim(lease("two"), 5) == []
                while not (claimed := await store.claim(lease("two"), 5)):
                    await asyncio.sleep(0.02)
                cursor.execute("SELECT 1")
            assert ids(claimed) == [1, 2]
            frozen.close()

    async def test_of_a_certain_one_takes_it_before_it_is_due(self, store: SqlStore) -> None:
        one, two = many(2)
        store.submit([one, two], NOW + SECOND)
        assert await store.claim_these(lease("one"), [one.id]) == []
        assert ids(await store.claim_these(lease("one"), [one.id], early=True)) == [1]
        assert await store.claim_these(lease("two"), [one.id], early=True) == []

    async def test_of_a_closed_one_is_made_only_on_purpose(self, store: SqlStore) -> None:
        await closed(store)
        assert await store.claim(lease("two", NOW + timedelta(days=1)), 5) == []
        assert await store.claim_these(lease("two"), [uuid.UUID(int=1)], early=True) == []
        assert ids(await store.claim_these(lease("two"), [uuid.UUID(int=1)], closed_too=True)) == [1]

    async def test_can_be_made_with_the_submission(self, store: SqlStore, other: SqlStore) -> None:
        [kept] = store.submit(many(1), NOW, lease=lease("one"))
        assert await other.claim(lease("two"), 1) == []
        assert await store.save([started(kept)]) == set()


async def closed(store: SqlStore) -> Kept:
    store.submit(many(1), NOW)
    [kept] = await store.claim(lease("one"), 1)
    asked = started(kept)
    question = asked.after.hops[-1].question
    answer = says("ginkgo", Outcome.ORIGINATED_HERE)
    done, _ = advance(asked.after, Answered(question.question_id, answer, NOW))
    exact = encode_answer(answer, digest(encode_question(question)))
    assert await store.save([asked]) == set()
    assert await store.save([Change(asked.after, done, 1, NOW, exact, fence=kept.fence)]) == set()
    return Kept(done, 2, kept.fence)


class TestATakeOver:
    async def test_happens_when_the_lease_is_over_and_not_before(self, store: SqlStore, other: SqlStore) -> None:
        store.submit(many(1), NOW)
        await store.claim(lease("one"), 1)
        assert await other.claim(lease("two", NOW + 14 * SECOND), 1) == []
        [kept] = await other.claim(lease("two", NOW + 15 * SECOND), 1)
        assert kept.fence == 2

    async def test_happens_at_once_where_the_owner_has_let_go(self, store: SqlStore, other: SqlStore) -> None:
        store.submit(many(2), NOW)
        one, _ = await store.claim(lease("one"), 2)
        await store.let_go({one.traceback.id: one.fence}, NOW)
        assert ids(await other.claim(lease("two"), 5)) == ids([one])

    async def test_does_not_happen_while_the_lease_is_renewed(self, store: SqlStore, other: SqlStore) -> None:
        store.submit(many(1), NOW)
        [kept] = await store.claim(lease("one"), 1)
        assert await store.renew(lease("one", NOW + 10 * SECOND), {kept.traceback.id: kept.fence}) == set()
        assert await other.claim(lease("two", NOW + 24 * SECOND), 1) == []
        assert len(await other.claim(lease("two", NOW + 25 * SECOND), 1)) == 1

    async def test_refuses_the_former_owners_write(
        self, store: SqlStore, other: SqlStore, either_engine: Engine
    ) -> None:
        store.submit(many(1), NOW)
        [stale] = await store.claim(lease("one"), 1)
        [fresh] = await other.claim(lease("two", NOW + 15 * SECOND), 1)
        assert await store.save([started(stale)]) == {0}
        with either_engine.connect() as connection:
            assert connection.execute(select(HopRow)).all() == []
        assert await other.save([started(fresh)]) == set()

    async def test_refuses_the_former_owners_write_among_others_that_are_good(
        self, store: SqlStore, other: SqlStore
    ) -> None:
        store.submit(many(5), NOW)
        claimed = sorted(await store.claim(lease("one"), 5), key=lambda kept: kept.traceback.id)
        await other.claim_these(lease("two", NOW + 15 * SECOND), [claimed[1].traceback.id, claimed[3].traceback.id])
        assert await store.save([started(kept) for kept in claimed]) == {1, 3}
        assert [store.load(uuid.UUID(int=number)).version for number in range(1, 6)] == [1, 0, 1, 0, 1]  # type: ignore[union-attr]

    async def test_refuses_the_former_owners_renewal_and_says_which(self, store: SqlStore, other: SqlStore) -> None:
        store.submit(many(2), NOW)
        claimed = await store.claim(lease("one"), 2)
        lost = claimed[0].traceback.id
        await other.claim_these(lease("two", NOW + 15 * SECOND), [lost])
        fences = {kept.traceback.id: kept.fence for kept in claimed}
        assert await store.renew(lease("one", NOW + 16 * SECOND), fences) == {lost}

    async def test_is_not_undone_by_a_former_owner_that_lets_go(self, store: SqlStore, other: SqlStore) -> None:
        store.submit(many(1), NOW)
        [stale] = await store.claim(lease("one"), 1)
        await other.claim(lease("two", NOW + 15 * SECOND), 1)
        await store.let_go({stale.traceback.id: stale.fence}, NOW)
        assert await store.claim(lease("one", NOW + 16 * SECOND), 1) == []

    async def test_refuses_a_write_under_a_fence_that_was_never_given(self, store: SqlStore) -> None:
        store.submit(many(1), NOW)
        [kept] = await store.claim(lease("one"), 1)
        assert await store.save([started(replace(kept, fence=kept.fence + 1))]) == {0}


class TestAWait:
    async def test_frees_the_traceback_until_it_is_due(self, store: SqlStore, other: SqlStore) -> None:
        due = await self.waiting(store, held=False)
        assert await store.next_due() == due
        assert await other.claim(lease("two", due - SECOND), 1) == []
        [kept] = await other.claim(lease("two", due), 1)
        assert kept.traceback.due == due

    async def test_that_is_slept_through_keeps_the_lease(self, store: SqlStore, other: SqlStore) -> None:
        await self.waiting(store, held=True)
        assert await store.next_due() == NOW + 15 * SECOND
        assert await other.claim(lease("two", NOW + 14 * SECOND), 1) == []

    async def waiting(self, store: SqlStore, *, held: bool) -> datetime:
        store.submit(many(1), NOW)
        [kept] = await store.claim(lease("one"), 1)
        asked = started(kept)
        await store.save([asked])
        question = asked.after.hops[-1].question
        answer = says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=60)
        waits, _ = advance(asked.after, Answered(question.question_id, answer, NOW))
        exact = encode_answer(answer, digest(encode_question(question)))
        await store.save([Change(asked.after, waits, 1, NOW, exact, fence=kept.fence, held=held)])
        assert waits.due is not None
        return waits.due


class TestAnAgentThatIsBack:
    """`ginkgo` is, in all of them; what waits for it is due half a second from now."""

    async def test_lets_everybody_go_on_that_waits_for_it_and_nobody_else(
        self, store: SqlStore, other: SqlStore
    ) -> None:
        for number in (1, 2):
            await self.waiting(store, number)
        await self.waiting(store, 3, at="birch")
        assert await other.claim(lease("two"), 5) == []
        assert await store.wake(provider("ginkgo"), NOW) == 2
        claimed = await other.claim(lease("two"), 5)
        assert ids(claimed) == [1, 2]
        assert {kept.traceback.due for kept in claimed} == {NOW}

    async def test_wakes_nobody_twice(self, store: SqlStore) -> None:
        await self.waiting(store, 1)
        assert await store.wake(provider("ginkgo"), NOW) == 1
        assert await store.wake(provider("ginkgo"), NOW) == 0

    async def test_that_nobody_waits_for_wakes_nobody(self, store: SqlStore) -> None:
        await self.waiting(store, 1)
        assert await store.wake(provider("alder"), NOW) == 0
        assert await store.claim(lease("one"), 5) == []

    async def test_leaves_alone_what_a_process_sleeps_through_under_its_lease(
        self, store: SqlStore, other: SqlStore
    ) -> None:
        kept = await self.waiting(store, 1, held=True)
        assert await other.wake(provider("ginkgo"), NOW) == 0
        assert await other.claim(lease("two"), 5) == []
        assert await store.renew(lease("one", NOW + SECOND), {kept.traceback.id: kept.fence}) == set()

    async def test_wakes_no_closed_one(self, store: SqlStore) -> None:
        kept = await self.waiting(store, 1)
        closed, _ = advance(kept.traceback, Cancelled(NOW))
        assert await store.save([Change(kept.traceback, closed, kept.version, NOW, fence=kept.fence)]) == set()
        assert await store.wake(provider("ginkgo"), NOW) == 0
        assert await store.next_due() is None

    async def test_wakes_nobody_whom_its_answer_told_to_come_again_later(self, store: SqlStore) -> None:
        due = await TestAWait().waiting(store, held=False)
        assert await store.wake(provider("ginkgo"), NOW) == 0
        assert await store.next_due() == due

    async def test_wakes_nobody_who_has_been_answered_since(self, store: SqlStore) -> None:
        kept = await self.waiting(store, 1)
        asks, _ = advance(kept.traceback, RetryDue(NOW + SECOND))
        question = asks.hops[-1].question
        answer = says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=60)
        waits, _ = advance(asks, Answered(question.question_id, answer, NOW + SECOND))
        exact = encode_answer(answer, digest(encode_question(question)))
        await store.save([Change(kept.traceback, asks, kept.version, NOW + SECOND, fence=kept.fence)])
        await store.save([Change(asks, waits, kept.version + 1, NOW + SECOND, exact, fence=kept.fence)])
        assert await store.wake(provider("ginkgo"), NOW + SECOND) == 0
        assert await store.next_due() == waits.due

    async def test_takes_nothing_from_who_has_claimed_meanwhile_and_refuses_who_let_go(
        self, store: SqlStore, other: SqlStore
    ) -> None:
        left = await self.waiting(store, 1)
        await store.wake(provider("ginkgo"), NOW)
        [claimed] = await other.claim(lease("two"), 1)
        assert (claimed.version, claimed.fence) == (left.version, left.fence + 1)
        assert await store.wake(provider("ginkgo"), NOW) == 0
        closed, _ = advance(left.traceback, Cancelled(NOW))
        assert await store.save([Change(left.traceback, closed, left.version, NOW, fence=left.fence)]) == {0}
        assert await other.save([Change(left.traceback, closed, left.version, NOW, fence=claimed.fence)]) == set()

    async def waiting(self, store: SqlStore, number: int, at: str = "ginkgo", *, held: bool = False) -> Kept:
        """Written down as waiting for the silent agent of `at`."""
        store.submit([replace(submitted(terminating=provider(at)), id=uuid.UUID(int=number))], NOW)
        [kept] = await store.claim(lease("one"), 1)
        asked = started(kept)
        failed = AgentUnreachable(asked.after.hops[-1].question.question_id, NOW, "refused")
        waits, _ = advance(asked.after, failed)
        step = Change(asked.after, waits, kept.version + 1, NOW, fence=kept.fence, held=held)
        assert await store.save([asked]) == set()
        assert await store.save([step]) == set()
        return replace(kept, traceback=waits, version=kept.version + 2)


class TestPriority:
    async def test_goes_before_age(self, store: SqlStore) -> None:
        store.submit(many(20), NOW - SECOND)
        urgent = replace(submitted(), id=uuid.UUID(int=99))
        store.submit([urgent], NOW, priority=lambda _: Priority.THREAT_TO_LIFE)
        claimed = await store.claim(lease("one"), 3)
        assert 99 in ids(claimed)
        assert {kept.priority for kept in claimed} == {Priority.THREAT_TO_LIFE, Priority.REST}

    async def test_among_equals_whoever_has_waited_longest_comes_first(self, store: SqlStore) -> None:
        for number, traceback in enumerate(many(6)):
            store.submit([traceback], NOW - number * SECOND)
        assert ids(await store.claim(lease("one"), 2)) == [5, 6]

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        urgent=st.lists(st.integers(1, 20), min_size=20, max_size=20),
        block=st.integers(1, 12),
        old=st.integers(1, 4),
    )
    def test_never_starves_what_is_old(self, sqlite_engine: Engine, urgent: list[int], block: int, old: int) -> None:
        """However many threats to life come, `old` others are all served within 8 times as many places, and 8 more."""

        async def rounds(store: SqlStore) -> int:
            store.submit(many(old), NOW - timedelta(days=1))
            numbers, left, places = iter(range(1000, 100_000)), set(range(1, old + 1)), 0
            for number, come in enumerate(urgent * 50):
                coming = [replace(submitted(), id=uuid.UUID(int=next(numbers))) for _ in range(come + block)]
                store.submit(coming, NOW + number * SECOND, priority=lambda _: Priority.THREAT_TO_LIFE)
                claimed = await store.claim(lease("one", NOW + timedelta(hours=1)), block)
                places += len(claimed)
                left -= set(ids(claimed))
                if not left:
                    return places
            raise AssertionError("starved")

        with sqlite_engine.begin() as connection:
            connection.execute(TracebackRow.__table__.delete())  # type: ignore[attr-defined]
        with another(sqlite_engine) as store:
            assert asyncio.run(rounds(store)) <= BY_AGE_EVERY * old + BY_AGE_EVERY + block


class TestTheKeeper:
    async def test_renews_in_good_time_what_is_still_driven(self, store: SqlStore) -> None:
        clock = JumpingClock()
        keeper = Keeper(store, clock, "one", 15 * SECOND)
        store.submit(many(2), NOW)
        held = keeper.lease()
        claimed = await store.claim(held, 2)
        keeper.hold(claimed, held)
        driven = {claimed[0].traceback.id: claimed[0].fence}
        assert keeper.next_renewal == NOW + 5 * SECOND
        clock.advance(5 * SECOND)
        assert await keeper.renew(driven.get) == []
        assert keeper.next_renewal == NOW + 10 * SECOND
        [free] = await store.claim(lease("two", NOW + 15 * SECOND), 5)
        assert free.traceback.id == claimed[1].traceback.id

    async def test_says_what_was_lost(self, store: SqlStore, other: SqlStore) -> None:
        clock = JumpingClock()
        keeper = Keeper(store, clock, "one", 15 * SECOND)
        store.submit(many(1), NOW)
        held = keeper.lease()
        [kept] = await store.claim(held, 1)
        keeper.hold([kept], held)
        clock.advance(16 * SECOND)  # asleep
        await other.claim(lease("two", clock.now()), 1)
        assert await keeper.renew({kept.traceback.id: kept.fence}.get) == [kept.traceback.id]

    async def test_lets_go_of_all_at_the_end(self, store: SqlStore, other: SqlStore) -> None:
        keeper = Keeper(store, JumpingClock(), "one", 15 * SECOND)
        store.submit(many(3), NOW)
        claimed = await store.claim(keeper.lease(), 3)
        await keeper.let_go_of_all({kept.traceback.id: kept.fence for kept in claimed})
        assert ids(await other.claim(lease("two"), 5)) == [1, 2, 3]

    def test_no_two_processes_have_one_name(self) -> None:
        assert owner_name() != owner_name()


async def test_a_fence_that_was_raised_by_hand_is_as_good_as_any(store: SqlStore, either_engine: Engine) -> None:
    store.submit(many(1), NOW)
    [kept] = await store.claim(lease("one"), 1)
    with either_engine.begin() as connection:
        connection.execute(update(TracebackRow).values(fence=TracebackRow.fence + 1))
    assert await store.save([started(kept)]) == {0}
