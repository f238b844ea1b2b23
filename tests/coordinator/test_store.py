"""The store: what is saved is loaded, exact bytes are kept, two writers can't both win, schema and migrations agree."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, exc, insert, select, text

from coordinator.registry.book import RegistryBook
from coordinator.registry.changes import parse_change
from coordinator.running.driver import Driver
from coordinator.store.engine import StoreError, open_engine
from coordinator.store.models import Base, BatchRow, HopRow
from coordinator.store.sql_store import SqlStore, opened
from coordinator.store.sqlite_writer import SqliteWriter
from coordinator.tasks.task import NoticeKind
from coordinator.tracing.chain import Status
from coordinator.tracing.events import Answered, Started
from coordinator.tracing.ports import Change, Exchange, Kept, Provider, UnreachableError
from coordinator.tracing.traceback import advance
from protos.codec import digest, encode_answer, encode_question
from protos.types import Outcome
from tests.coordinator.fakes import JumpingClock, NamedProviders, Notes, ScriptedAgents
from tests.coordinator.make import NOW, T0, provider, says, submitted, upstream


@pytest.fixture
def engine(either_engine: Engine) -> Engine:
    return either_engine


@pytest.fixture
def store(engine: Engine) -> Iterator[SqlStore]:
    with opened(engine) as store:
        yield store


def driver(store: SqlStore, agents: ScriptedAgents) -> Driver:
    return Driver(
        store=store,
        registry=NamedProviders("ginkgo", "birch", "alder", without_agent=("elm",)),
        agents=agents,
        clock=JumpingClock(),
        watcher=Notes(),
    )


def chain() -> ScriptedAgents:
    return ScriptedAgents(
        ginkgo=[upstream("ginkgo", "birch", correction_s=-3)],
        birch=[UnreachableError("refused"), upstream("birch", "alder")],
        alder=[says("alder", Outcome.ORIGINATED_HERE)],
    )


class TestATraceback:
    async def test_is_loaded_as_it_was_saved(self, store: SqlStore) -> None:
        [kept] = store.submit([submitted()], NOW)
        done = await driver(store, chain()).drive(kept)
        loaded = store.load(done.id)
        assert loaded is not None
        assert loaded.traceback == done
        assert done.origin == "alder"

    @pytest.mark.parametrize("steps", range(1, 4))
    async def test_is_loaded_as_it_was_at_any_step(self, store: SqlStore, steps: int) -> None:
        [kept] = store.submit([submitted()], NOW)
        traceback, version = kept.traceback, kept.version
        events = [upstream("ginkgo", "birch"), says("birch", Outcome.NOT_YET_AVAILABLE, retry_after_s=60)]
        after, _ = advance(traceback, Started(NOW))
        assert await store.save([Change(traceback, after, version, NOW)]) == set()
        for version, answer in enumerate(events[: steps - 1], start=1):
            before, question = after, after.hops[-1].question
            exact = encode_answer(answer, digest(encode_question(question)))
            after, _ = advance(before, Answered(question.question_id, answer, NOW))
            assert await store.save([Change(before, after, version, NOW, exact)]) == set()
        assert store.load(traceback.id) == Kept(after, steps)

    async def test_keeps_earlier_rounds_beside_the_latest(self, store: SqlStore, engine: Engine) -> None:
        agents = ScriptedAgents(
            ginkgo=[
                says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=5),
                says("ginkgo", Outcome.ORIGINATED_HERE),
            ]
        )
        [kept] = store.submit([submitted()], NOW)
        done = await driver(store, agents).drive(kept)
        with engine.connect() as connection:
            rounds = connection.execute(select(HopRow.round, HopRow.outcome).order_by(HopRow.round)).all()
        assert [tuple(row) for row in rounds] == [(1, "NOT_YET_AVAILABLE"), (2, "ORIGINATED_HERE")]
        loaded = store.load(done.id)
        assert loaded is not None
        assert loaded.traceback == done

    async def test_has_the_exact_bytes_of_question_and_answer(self, store: SqlStore, engine: Engine) -> None:
        [kept] = store.submit([submitted()], NOW)
        done = await driver(store, chain()).drive(kept)
        with engine.connect() as connection:
            rows = connection.execute(select(HopRow.question, HopRow.answer).order_by(HopRow.position)).all()
        for hop, (question, answer) in zip(done.hops, rows, strict=True):
            assert question == encode_question(hop.question)
            assert hop.answer is not None
            assert answer == encode_answer(hop.answer, digest(question))

    def test_that_nobody_knows_is_none(self, store: SqlStore) -> None:
        assert store.load(uuid.UUID(int=9)) is None


class TestTwoWriters:
    async def test_the_one_that_comes_second_is_refused_and_writes_nothing(self, store: SqlStore) -> None:
        [kept] = store.submit([submitted()], NOW)
        after, _ = advance(kept.traceback, Started(NOW))
        late, _ = advance(kept.traceback, Started(NOW + timedelta(seconds=1)))
        assert await store.save([Change(kept.traceback, after, 0, NOW)]) == set()
        assert await store.save([Change(kept.traceback, late, 0, NOW)]) == {0}
        assert store.load(kept.traceback.id) == Kept(after, 1)

    async def test_a_refused_one_harms_no_other_in_the_same_transaction(self, store: SqlStore) -> None:
        many = [replace(submitted(), id=uuid.UUID(int=i)) for i in range(1, 6)]
        store.submit(many, NOW)
        changes = [Change(one, advance(one, Started(NOW))[0], 7 if one is many[2] else 0, NOW) for one in many]
        assert await store.save(changes) == {2}
        assert [store.load(one.id) == Kept(advance(one, Started(NOW))[0], 1) for one in many].count(True) == 4


class TestFlushing:
    @pytest.fixture
    def engine(self, sqlite_engine: Engine) -> Engine:
        return sqlite_engine

    async def statements(self, store: SqlStore, agents: ScriptedAgents) -> list[str]:
        """What the database is told while one traceback is driven."""
        said: list[str] = []
        [kept] = store.submit([submitted()], NOW)
        assert isinstance(store._writer, SqliteWriter)
        store._writer._database().set_trace_callback(said.append)
        await driver(store, agents).drive(kept)
        return [one for one in said if one.startswith("PRAGMA") or one == "COMMIT"]

    async def test_comes_with_every_result_and_not_between_two_questions(self, store: SqlStore) -> None:
        agents = ScriptedAgents(ginkgo=[upstream("ginkgo", "alder")], alder=[says("alder", Outcome.ORIGINATED_HERE)])
        assert await self.statements(store, agents) == [
            *("PRAGMA synchronous = NORMAL", "COMMIT", "COMMIT"),
            *("PRAGMA synchronous = FULL", "COMMIT"),
        ]

    async def test_comes_with_every_wait(self, store: SqlStore) -> None:
        agents = ScriptedAgents(ginkgo=[says("ginkgo", Outcome.NOT_YET_AVAILABLE, retry_after_s=3600)])
        assert (await self.statements(store, agents))[-2:] == ["PRAGMA synchronous = FULL", "COMMIT"]

    async def test_of_a_group_is_waited_for_while_the_loop_goes_on(
        self, store: SqlStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turned, saving = threading.Event(), SqliteWriter.saving
        seen_before: list[Status] = []

        def watched(writer: SqliteWriter, changes: Sequence[Change]) -> Callable[[], set[int]]:
            commit = saving(writer, changes)
            asyncio.get_running_loop().call_soon(turned.set)

            def waits() -> set[int]:
                assert turned.wait(10)
                seen_before.extend(store.counts())
                return commit()

            return waits

        monkeypatch.setattr(SqliteWriter, "saving", watched)
        many = [replace(submitted(), id=uuid.UUID(int=i)) for i in range(1, 4)]
        store.submit(many, NOW)
        assert await store.save([Change(one, advance(one, Started(NOW))[0], 0, NOW) for one in many]) == set()
        assert seen_before == [Status.SUBMITTED]  # nobody sees what is not flushed
        assert isinstance(store._writer, SqliteWriter)
        assert store._writer._database().execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert store.counts() == {Status.ASKING: 3}


class TestAFailingDatabase:
    async def test_fails_a_group_as_a_whole_and_takes_the_next_one(self, store: SqlStore, engine: Engine) -> None:
        many = [replace(submitted(), id=uuid.UUID(int=i)) for i in range(1, 4)]
        store.submit(many, NOW)
        changes = [Change(one, advance(one, Started(NOW))[0], 0, NOW) for one in many]
        rename(engine, "hops", "lost")
        with pytest.raises(exc.DBAPIError):
            await store.save(changes)
        rename(engine, "lost", "hops")
        assert store.counts() == {Status.SUBMITTED: 3}
        assert await store.save(changes) == set()

    async def test_fails_the_change_and_leaves_what_was_there(self, store: SqlStore, engine: Engine) -> None:
        [kept] = store.submit([submitted()], NOW)
        after, _ = advance(kept.traceback, Started(NOW))
        rename(engine, "hops", "lost")
        try:
            with pytest.raises(exc.DBAPIError):
                await store.save([Change(kept.traceback, after, 0, NOW)])
        finally:
            rename(engine, "lost", "hops")
        assert store.load(kept.traceback.id) == kept

    async def test_does_not_keep_the_store_from_writing_when_it_is_well_again(
        self, store: SqlStore, engine: Engine
    ) -> None:
        [kept] = store.submit([submitted()], NOW)
        after, _ = advance(kept.traceback, Started(NOW))
        rename(engine, "hops", "lost")
        with pytest.raises(exc.DBAPIError):
            await store.save([Change(kept.traceback, after, 0, NOW)])
        rename(engine, "lost", "hops")
        assert await store.save([Change(kept.traceback, after, 0, NOW)]) == set()


def rename(engine: Engine, table: str, name: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


class TestABatch:
    async def test_is_kept_once_for_all_answers_that_came_in_it(self, store: SqlStore, engine: Engine) -> None:
        batch = Exchange(provider("ginkgo"), digest(b"sent"), b"sent", b"received")
        many = [replace(submitted(), id=uuid.UUID(int=i)) for i in range(1, 4)]
        answer = says("ginkgo", Outcome.ORIGINATED_HERE)
        for kept in store.submit(many, NOW):
            asked, _ = advance(kept.traceback, Started(NOW))
            await store.save([Change(kept.traceback, asked, 0, NOW)])
            question = asked.hops[-1].question
            done, _ = advance(asked, Answered(question.question_id, answer, NOW))
            exact = encode_answer(answer, digest(encode_question(question)))
            await store.save([Change(asked, done, 1, NOW, exact, batch)])
        with engine.connect() as connection:
            assert connection.execute(select(BatchRow.sent, BatchRow.received)).all() == [(b"sent", b"received")]
            assert set(connection.execute(select(HopRow.batch)).scalars()) == {digest(b"sent")}


class TestLists:
    async def test_recent_ones_come_newest_first_with_where_they_stand(self, store: SqlStore) -> None:
        old = replace(submitted(), id=uuid.UUID(int=1))
        new = replace(submitted(), id=uuid.UUID(int=2))
        store.submit([old], NOW)
        [kept] = store.submit([new], NOW + timedelta(seconds=1))
        await driver(store, chain()).drive(kept)
        first, second = store.recent(10)
        assert (first.id, first.status, first.found, first.hop_count) == (new.id, Status.ORIGIN_FOUND, "alder", 3)
        assert (second.id, second.status, second.found, second.hop_count) == (old.id, Status.SUBMITTED, None, 0)
        assert [summary.id for summary in store.recent(1)] == [new.id]

    async def test_open_ones_are_those_that_are_not_closed(self, store: SqlStore) -> None:
        one, two = (replace(submitted(), id=uuid.UUID(int=i)) for i in (1, 2))
        kept, _ = store.submit([one, two], NOW)
        await driver(store, chain()).drive(kept)
        assert store.open_ids() == [two.id]
        assert store.counts() == {Status.ORIGIN_FOUND: 1, Status.SUBMITTED: 1}

    def test_an_id_is_found_by_its_beginning(self, store: SqlStore) -> None:
        store.submit([submitted()], NOW)
        identity = submitted().id
        assert store.find(str(identity)) == store.find(str(identity)[:11]) == store.find("6d2b") == [identity]

    @pytest.mark.parametrize("prefix", ["", "7", "zz", "%", "6d2b'; DROP TABLE hops", "f" * 40])
    def test_what_is_no_beginning_of_an_id_finds_nothing(self, store: SqlStore, prefix: str) -> None:
        store.submit([submitted()], NOW)
        assert store.find(prefix) == []


class TestTheRegistry:
    def test_gives_back_what_was_put_in_and_replaces_by_id(self, store: SqlStore) -> None:
        birch = Provider(provider("birch"), "Birch Telecom", "192.0.2.7:7443", "US", "intermediate")
        elm = Provider(provider("elm"), "Elm Voice")
        store.put_providers([elm, birch], NOW)
        assert store.providers() == [birch, elm]
        moved = replace(birch, endpoint="192.0.2.8:7443")
        store.put_providers([moved], NOW)
        assert store.providers() == [moved, elm]

    def test_keeps_what_else_is_known_of_a_provider_that_is_replaced(self, store: SqlStore) -> None:
        elm, book = Provider(provider("elm"), "Elm Voice"), RegistryBook(store.engine)
        store.put_providers([elm], NOW)
        book.apply(parse_change(elm.id, "contact", "noc@elm.example"), "olga", NOW)
        store.put_providers([replace(elm, name="Elm Voice LLC")], NOW)
        assert [one.name for one in store.providers()] == ["Elm Voice LLC"]
        assert book.recipients(elm.id, NoticeKind.INVITATION, 1) == ["noc@elm.example"]


class TestTimes:
    def test_come_back_aware_and_in_utc_whatever_the_zone_they_went_in_with(self, engine: Engine) -> None:
        berlin = timezone(timedelta(hours=1))
        with opened(engine) as store:
            store.submit([submitted()], NOW.astimezone(berlin))
            [summary] = store.recent(1)
        assert summary.submitted_at == NOW
        assert summary.at == T0
        assert summary.submitted_at.tzinfo is UTC

    def test_that_are_naive_are_refused(self, store: SqlStore) -> None:
        with pytest.raises(ValueError, match="naive"):
            store.submit([submitted()], datetime(2026, 1, 1))  # noqa: DTZ001


class TestTheDatabase:
    def test_flushes_to_disk_at_every_commit_and_enforces_foreign_keys(self, sqlite_engine: Engine) -> None:
        with sqlite_engine.connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
            assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1

    def test_refuses_a_hop_of_no_traceback(self, engine: Engine) -> None:
        row = {
            "traceback_id": uuid.UUID(int=1),
            "position": 0,
            "round": 1,
            "question_id": uuid.UUID(int=2),
            "provider": "birch",
            "question": b"",
            "detail": "",
            "failures": 0,
            "asked_at": NOW,
        }
        with pytest.raises(exc.IntegrityError), engine.begin() as connection:
            connection.execute(insert(HopRow), row)

    def test_says_of_every_field_what_it_holds(self) -> None:
        for table in Base.metadata.tables.values():
            assert table.comment
            assert [column.name for column in table.columns if not column.comment] == []


@pytest.mark.parametrize("url", ["", "coordinator.db", "oracle-of-delphi://x"])
def test_a_url_that_is_none_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///"):
        open_engine(url)
