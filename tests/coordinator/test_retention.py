"""Retention: after it no plain number is on the disk, and what was found is still told."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, event, insert, select, text, update

from coordinator.campaigns.book import CampaignBook
from coordinator.pseudonyms import Pseudonyms, is_pseudonym, parse_key, without_numbers
from coordinator.registry.book import RegistryBook
from coordinator.reports.figures import scorecards
from coordinator.reports.way_reader import ways_between
from coordinator.retention import retire
from coordinator.store.models import BatchRow, HopRow, TracebackRow
from coordinator.store.order_models import OrderRow, OrderSetRow
from coordinator.store.sql_store import SqlStore, opened
from coordinator.tasks.desk import TaskDesk
from coordinator.tracing.chain import Call, Traceback
from protos.e164 import E164, parse_e164
from protos.types import Outcome
from tests.coordinator.databases import emptied_postgresql
from tests.coordinator.fakes import ScriptedAgents
from tests.coordinator.house import House
from tests.coordinator.make import CALLED, CALLING, NOW, T0, TOLL_FREE, provider, says, submitted, upstream
from tests.coordinator.test_campaigns import one
from tests.coordinator.test_store import driver
from tests.coordinator.test_tasks import ASKED, REGISTRY, OneOffice
from tests.stores.servers import Server

KEY = Pseudonyms(bytes(range(32)))
YEARS = timedelta(days=800)
BEFORE = NOW + timedelta(days=200)
NUMBERS = (CALLED, CALLING, TOLL_FREE)
numbers = st.integers(10**9, 10**14).map(lambda n: parse_e164(f"+{n}"))


class TestAPseudonym:
    @settings(max_examples=100, deadline=None)
    @given(numbers, numbers)
    def test_is_the_same_for_the_same_number_and_another_for_another(self, number: E164, other: E164) -> None:
        assert KEY.of(number) == KEY.of(number)
        assert (KEY.of(number) == KEY.of(other)) == (number == other)
        assert is_pseudonym(KEY.of(number))
        assert KEY.of(KEY.of(number)) == KEY.of(number)

    def test_is_another_under_another_key(self) -> None:
        assert Pseudonyms(bytes(32)).of(CALLED) != KEY.of(CALLED)

    def test_is_no_number_that_anybody_has(self) -> None:
        assert KEY.of(CALLED).startswith("+999")
        assert not is_pseudonym(CALLED)
        assert KEY.of_any(None) is None

    def test_needs_a_whole_key(self) -> None:
        assert parse_key("ab" * 32) == b"\xab" * 32
        for text_ in ("", "ab" * 31, "xy" * 32):
            with pytest.raises(ValueError, match="64 hexadecimal"):
                parse_key(text_)
        with pytest.raises(ValueError, match="32 bytes"):
            Pseudonyms(b"short")

    def test_does_not_show_its_key(self) -> None:
        assert "key" not in repr(KEY)


@pytest.fixture
def store(either_engine: Engine) -> Iterator[SqlStore]:
    with opened(either_engine) as store:
        yield store


async def traced(store: SqlStore, traceback: Traceback | None = None) -> Traceback:
    """A traceback as the driver leaves it, over a provider that translates the number."""
    [kept] = store.submit([traceback or submitted()], NOW)
    agents = ScriptedAgents(
        ginkgo=[upstream("ginkgo", "birch", ask_called=TOLL_FREE)],
        birch=[says("birch", Outcome.NOT_YET_AVAILABLE, retry_after_s=5), upstream("birch", "alder")],
        alder=[says("alder", Outcome.ORIGINATED_HERE)],
    )
    return await driver(store, agents).drive(kept)


def everything(engine: Engine) -> str:
    """Every row of every table, bytes as text."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        else:
            query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            names = connection.execute(text(query)).scalars().all()
        rows = [row for name in sorted(names) for row in connection.execute(text(f"SELECT * FROM {name}"))]
    return "\n".join(sorted(" ".join(map(_as_text, row)) for row in rows))


def _as_text(cell: object) -> str:
    return bytes(cell).decode("latin-1") if isinstance(cell, bytes | memoryview) else str(cell)


def order_rows(engine: Engine, expires: object, sha256: bytes = b"\x01" * 32) -> None:
    """A set of one order, whose bytes hold the number."""
    identity = uuid.uuid4()
    with engine.begin() as connection:
        connection.execute(
            insert(OrderSetRow), {"id": identity, "root": b"r" * 32, "size": 1, "submitter": "ann", "drafted_at": NOW}
        )
        connection.execute(
            insert(OrderRow),
            {
                "sha256": sha256,
                "set_id": identity,
                "position": 0,
                "order_id": uuid.uuid4(),
                "exact": CALLED.encode(),
                "path": b"",
                "campaign": "warranty",
                "expires": expires,
            },
        )


def batch_row(engine: Engine, *ids: uuid.UUID) -> None:
    """An envelope that the first hops of these tracebacks travelled in."""
    with engine.begin() as connection:
        connection.execute(
            insert(BatchRow),
            {"sha256": b"\x07" * 32, "provider": "ginkgo", "sent": CALLED.encode(), "received": CALLING.encode()},
        )
        for identity in ids:
            first = update(HopRow).where(HopRow.traceback_id == identity, HopRow.position == 0)
            connection.execute(first.values(batch=b"\x07" * 32))


class TestAnOldTraceback:
    async def test_has_no_number_left_in_any_table(self, store: SqlStore, either_engine: Engine) -> None:
        done = await traced(store)
        batch_row(either_engine, done.id)
        order_rows(either_engine, NOW)
        desk = TaskDesk(either_engine, OneOffice(), REGISTRY)
        task = desk.ask(replace(ASKED, traceback_id=done.id), NOW)
        fields = {"outcome": "upstream", "upstream": "alder", "ask_called": TOLL_FREE, "note": f"call {CALLED} back"}
        desk.answer_signed_in(provider("elm"), task, fields, "ann", NOW)
        CampaignBook(either_engine).take("warranty", "", one(Call(CALLED, T0, provider("ginkgo"), CALLING)), "x", NOW)
        assert all(number[1:] in everything(either_engine) for number in NUMBERS)
        report = retire(either_engine, KEY, BEFORE, NOW + YEARS)
        assert (report.tracebacks, report.deferred, report.campaign_calls) == (1, 0, 1)
        assert (report.envelopes, report.order_sets, report.cleaned) == (1, 1, True)
        left = everything(either_engine)
        assert not any(number[1:] in left for number in NUMBERS)

    async def test_is_still_shown_with_its_chain_and_pseudonyms(self, store: SqlStore, either_engine: Engine) -> None:
        done = await traced(store)
        retire(either_engine, KEY, BEFORE, NOW + YEARS)
        loaded = store.load(done.id)
        assert loaded is not None
        shown = loaded.traceback
        assert (shown.status, shown.origin, len(shown.hops)) == (done.status, "alder", 3)
        assert (shown.call.called, shown.call.calling) == (KEY.of(CALLED), KEY.of(CALLING))
        assert [hop.question.called for hop in shown.hops] == [KEY.of(CALLED), KEY.of(TOLL_FREE), KEY.of(TOLL_FREE)]
        for before, after in zip(done.hops, shown.hops, strict=True):
            assert before.answer is not None
            assert after.answer == replace(before.answer, ask_called=KEY.of_any(before.answer.ask_called))
            assert (after.asked, after.ended, after.question.at) == (before.asked, before.ended, before.question.at)

    async def test_counts_in_reports_as_before(self, store: SqlStore, either_engine: Engine) -> None:
        await traced(store)
        period = (NOW - YEARS, NOW + YEARS)
        before = scorecards(ways_between(either_engine, *period), [], NOW)
        retire(either_engine, KEY, BEFORE, NOW + YEARS)
        assert scorecards(ways_between(either_engine, *period), [], NOW) == before

    async def test_is_retired_once(self, store: SqlStore, either_engine: Engine) -> None:
        await traced(store)
        retire(either_engine, KEY, BEFORE, NOW + YEARS)
        before = everything(either_engine)
        assert retire(either_engine, KEY, BEFORE, NOW + YEARS).tracebacks == 0
        assert everything(either_engine) == before

    async def test_can_no_longer_be_written_by_who_held_it(self, store: SqlStore, either_engine: Engine) -> None:
        done = await traced(store)
        held = store.load(done.id)
        retire(either_engine, KEY, BEFORE, NOW + YEARS)
        now = store.load(done.id)
        assert held is not None
        assert now is not None
        assert now.version > held.version

    async def test_has_no_number_left_in_what_people_wrote(self, store: SqlStore, either_engine: Engine) -> None:
        written = ("+1 (202) 555-0143", "2025550143", "202_555_0143", "\uff12\uff10\uff12 555 0143")
        said = " or ".join(written)
        done = await traced(store)
        desk = TaskDesk(either_engine, OneOffice(), REGISTRY)
        task = desk.ask(replace(ASKED, traceback_id=done.id), NOW)
        typed = f"Birch Telecom, {said}"
        fields = {"outcome": "upstream", "upstream_name": typed}
        desk.answer_signed_in(provider("elm"), task, fields, f"ann, {said}", NOW)
        desk.match(task, provider("alder"), "olga", NOW)
        other = desk.ask(replace(ASKED, traceback_id=done.id, question_id=uuid.uuid4()), NOW)
        desk.withdraw(other, "olga", f"the owner of {said} asks for it", NOW)
        RegistryBook(either_engine).record_match(typed, provider("alder"), "olga", NOW, (), f"task {task}")
        book = CampaignBook(either_engine)
        book.take("warranty", f"call {said} back", one(Call(CALLED, T0, provider("ginkgo"), CALLING)), "x", NOW)
        with either_engine.begin() as connection:
            connection.execute(update(HopRow).values(detail=f"cancelled by requester ann: {said} is a friend's"))
        assert all(text_ in everything(either_engine) for text_ in written)
        retire(either_engine, KEY, BEFORE, NOW + YEARS)
        left = everything(either_engine)
        assert not any(text_ in left for text_ in written)
        assert "cancelled by requester ann: (number)" in left
        assert "answered" in left
        assert f"due {desk.view(task).task.plan.due:%Y-%m-%d %H:%M} UTC" in left

    async def test_has_no_number_left_in_an_order_of_a_set_that_another_one_still_needs(
        self, store: SqlStore, either_engine: Engine
    ) -> None:
        done = await traced(store)
        store.submit([replace(submitted(), id=uuid.UUID(int=5))], NOW)
        order_rows(either_engine, NOW)
        with either_engine.begin() as connection:
            row = dict(connection.execute(select(OrderRow.__table__)).mappings().one())
            other = {"sha256": b"\x02" * 32, "position": 1, "order_id": uuid.uuid4(), "exact": b"another's number"}
            connection.execute(insert(OrderRow), row | other)
            for traceback, sha256 in ((done.id, b"\x01" * 32), (uuid.UUID(int=5), b"\x02" * 32)):
                this = update(TracebackRow).where(TracebackRow.id == traceback)
                connection.execute(this.values(order_sha256=sha256))
        report = retire(either_engine, KEY, BEFORE, NOW + YEARS)
        assert (report.tracebacks, report.order_sets) == (1, 0)
        with either_engine.connect() as connection:
            assert connection.execute(select(OrderRow.exact)).scalars().all() == [b"another's number"]


class TestWhatCouldBeANumber:
    @pytest.mark.parametrize(
        "text_", ["+12025550143", "(202) 555-0143", "202 / 555 / 0143", "555-0143", "2\t0 2555 0143"]
    )
    def test_is_taken_out_of_words(self, text_: str) -> None:
        assert without_numbers(f"ask {text_}, please") == "ask (number), please"

    @pytest.mark.parametrize("text_", ["by 24 hours", "202 is 555 not 0143", "47 CFR 64.1200(n)", "2026-10", ""])
    def test_is_not_every_digit(self, text_: str) -> None:
        assert without_numbers(text_) == text_

    @settings(max_examples=100, deadline=None)
    @given(
        numbers,
        st.lists(st.sampled_from(["", " ", "-", ".", " (", ") ", "/", "\u2011", "\u00a0"]), min_size=15, max_size=15),
    )
    def test_is_a_number_however_it_is_written(self, number: E164, gaps: list[str]) -> None:
        written = "".join(map("".join, zip(number[1:], gaps, strict=False)))
        assert not any(character.isdigit() for character in without_numbers(written))


class TestWhatIsKept:
    async def test_is_everything_younger(self, store: SqlStore, either_engine: Engine) -> None:
        await traced(store)
        order_rows(either_engine, NOW)
        before = everything(either_engine)
        report = retire(either_engine, KEY, NOW - timedelta(days=1), NOW)
        assert (report.tracebacks, report.order_sets, report.deferred) == (0, 0, 0)
        assert everything(either_engine) == before

    async def test_is_what_is_still_open_however_old(self, store: SqlStore, either_engine: Engine) -> None:
        store.submit([submitted()], NOW)
        assert retire(either_engine, KEY, BEFORE, NOW + YEARS).tracebacks == 0

    async def test_is_what_a_task_still_waits_for(self, store: SqlStore, either_engine: Engine) -> None:
        done = await traced(store)
        desk = TaskDesk(either_engine, OneOffice(), REGISTRY)
        task = desk.ask(replace(ASKED, traceback_id=done.id), NOW)
        report = retire(either_engine, KEY, BEFORE, NOW + YEARS)
        assert (report.tracebacks, report.deferred) == (0, 1)
        desk.withdraw(task, "olga", "", NOW)
        assert retire(either_engine, KEY, BEFORE, NOW + YEARS).tracebacks == 1

    async def test_is_what_travelled_with_a_younger_one(self, store: SqlStore, either_engine: Engine) -> None:
        done = await traced(store)
        other = await traced(store, replace(submitted(), id=uuid.UUID(int=5)))
        batch_row(either_engine, done.id, other.id)
        with either_engine.begin() as connection:
            young = update(TracebackRow).where(TracebackRow.id == other.id)
            connection.execute(young.values(changed_at=BEFORE + timedelta(days=1)))
        report = retire(either_engine, KEY, BEFORE, NOW + YEARS)
        assert (report.tracebacks, report.deferred, report.envelopes) == (0, 1, 0)
        report = retire(either_engine, KEY, BEFORE + timedelta(days=2), NOW + YEARS)
        assert (report.tracebacks, report.deferred, report.envelopes) == (2, 0, 1)

    async def test_is_an_order_that_still_counts_or_whose_traceback_has_its_numbers(
        self, store: SqlStore, either_engine: Engine
    ) -> None:
        done = await traced(store)
        order_rows(either_engine, BEFORE + timedelta(days=1))
        order_rows(either_engine, NOW, sha256=b"\x02" * 32)
        with either_engine.begin() as connection:
            open_ = update(TracebackRow).where(TracebackRow.id == done.id)
            connection.execute(open_.values(order_sha256=b"\x02" * 32, status="asking"))
        assert retire(either_engine, KEY, BEFORE, NOW + YEARS).order_sets == 0

    async def test_is_the_call_of_a_campaign_whose_traceback_has_its_numbers(
        self, store: SqlStore, either_engine: Engine
    ) -> None:
        store.submit([submitted()], NOW)
        book = CampaignBook(either_engine)
        book.take("warranty", "", one(Call(CALLED, T0, provider("ginkgo"), CALLING)), "x", NOW)
        assert retire(either_engine, KEY, BEFORE, NOW + YEARS).campaign_calls == 0
        assert len(book.paths("warranty")) == 1


class TestTheDisk:
    async def test_holds_no_plain_number_afterwards(self, sqlite_engine: Engine, tmp_path: Path) -> None:
        def on_disk() -> bytes:
            return b"".join(file.read_bytes() for file in sorted(tmp_path.glob("coordinator.db*")))

        with opened(sqlite_engine) as store:
            done = await traced(store)
            batch_row(sqlite_engine, done.id)
            order_rows(sqlite_engine, NOW)
        assert all(number[1:].encode() in on_disk() for number in NUMBERS)
        report = retire(sqlite_engine, KEY, BEFORE, NOW + YEARS)
        assert report.cleaned
        assert not any(number[1:].encode() in on_disk() for number in NUMBERS)

    def test_is_cleaned_of_what_was_deleted_at_any_time_before(self, sqlite_engine: Engine, tmp_path: Path) -> None:
        with sqlite_engine.begin() as connection:
            connection.execute(text("PRAGMA secure_delete = OFF"))
            row = {"sha256": b"\x09" * 32, "provider": "ginkgo", "sent": CALLED.encode() * 3000, "received": b""}
            connection.execute(insert(BatchRow), row)
        with sqlite_engine.begin() as connection:
            connection.execute(delete(BatchRow))
        files = sorted(tmp_path.glob("coordinator.db*"))
        assert any(CALLED[1:].encode() in file.read_bytes() for file in files)
        retire(sqlite_engine, KEY, BEFORE, NOW + YEARS)
        assert not any(CALLED[1:].encode() in file.read_bytes() for file in files if file.exists())

    async def test_still_holds_them_where_it_was_not_cleaned(self, sqlite_engine: Engine, tmp_path: Path) -> None:
        with opened(sqlite_engine) as store:
            await traced(store)
        assert not retire(sqlite_engine, KEY, BEFORE, NOW + YEARS, clean=False).cleaned
        files = b"".join(file.read_bytes() for file in tmp_path.glob("coordinator.db*"))
        assert CALLED[1:].encode() in files  # so that the test above can see

    async def test_is_said_to_be_unclean_while_somebody_reads(self, sqlite_engine: Engine) -> None:
        event.listen(sqlite_engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout = 0"))  # no time to lose
        with opened(sqlite_engine) as store:
            await traced(store)
        with sqlite_engine.connect() as reading:
            reading.execute(select(TracebackRow.id)).all()
            assert not retire(sqlite_engine, KEY, BEFORE, NOW + YEARS).cleaned

    async def test_of_postgresql_holds_none_in_what_its_planner_remembers(self, postgresql_server: Server) -> None:
        with emptied_postgresql(postgresql_server) as engine:
            await self._remembers_nothing(engine)

    async def _remembers_nothing(self, postgresql_engine: Engine) -> None:
        def remembered() -> str:
            query = "SELECT concat_ws(' ', most_common_vals::text, histogram_bounds::text) FROM pg_stats"
            with postgresql_engine.connect() as connection:
                return " ".join(connection.execute(text(f"{query} WHERE schemaname = 'public'")).scalars())

        with opened(postgresql_engine) as store:
            for number in range(3):
                await traced(store, replace(submitted(), id=uuid.UUID(int=number + 1)))
        with postgresql_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE tracebacks"))
        assert CALLED[1:] in remembered()
        retire(postgresql_engine, KEY, BEFORE, NOW + YEARS)
        assert CALLED[1:] not in remembered()


class TestTheCommands:
    @pytest.fixture
    def house(self, sqlite_engine: Engine, tmp_path: Path) -> House:
        return House(tmp_path)

    def test_make_a_key_once_that_nobody_else_may_read(self, house: House) -> None:
        house.run("retention", "new-key")
        key = house.directory / "retention.key"
        assert key.stat().st_mode & 0o777 == 0o600
        before = key.read_text()
        assert "exists already" in house.run("retention", "new-key", code=1).output
        assert key.read_text() == before

    async def test_retire_what_the_configuration_calls_old(self, house: House, sqlite_engine: Engine) -> None:
        with opened(sqlite_engine) as store:
            await traced(store)
        house.run("retention", "new-key")
        assert house.json("retention", "run")["tracebacks"] == 0
        with sqlite_engine.begin() as connection:
            connection.execute(update(TracebackRow).values(changed_at=NOW - YEARS))
        found = house.json("retention", "run")
        assert (found["tracebacks"], found["cleaned"]) == (1, True)
        assert "0 tracebacks" in house.run("retention", "run").stdout

    def test_refuse_a_key_that_is_none_or_that_others_may_read(self, house: House) -> None:
        assert "new-key" in house.run("retention", "run", code=78).output
        key = house.directory / "retention.key"
        key.write_text("ab" * 32)
        key.chmod(0o644)
        assert "read by others" in house.run("retention", "run", code=78).output
        key.chmod(0o600)
        house.run("retention", "run")
