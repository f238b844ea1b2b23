"""A store says what it can't do: a database that is away, slow or overfull is never an absence of records."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import tomllib
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from agent.index.coverage import CoverageState
from agent.index.reader import Query
from agent.legs import TooMany
from agent.stores.errors import ConnectionLostError, StoreError, StoreSetupError, TooManyRowsError, harmless
from agent.stores.inspection import look_at
from agent.stores.merged import Merged
from agent.stores.pool import Pool
from agent.stores.secrets import Password, password_of, variable_of
from agent.stores.settings import StoreTable
from agent.stores.spelling import in_all, spellings
from agent.stores.store import Store
from agent.stores.threads import BusyError, LookupThreads
from cdr_adapters.numbers import number_of
from protos.e164 import E164
from protos.types import Outcome
from tests.agent.provider import FakeRecords, desk, question, some_records
from tests.stores.loaded import NOW, InClickHouse, InMariaDb, InPostgreSql, store
from tests.stores.tables import CHANGE, NUMBERS, Table, walls

DAY = timedelta(days=1)
COLUMNS = {"dialled": "text", "start": "instant", "trunk": "text"}
MAPPING = {
    "columns": {
        "called_in": "dialled",
        "seizure": {"column": "start", "format": "iso8601"},
        "ingress_trunk": "trunk",
    }
}


def simple(name: str, *times: datetime, **more: Any) -> Table:
    rows = tuple((NUMBERS[0], time, "IN-A") for time in times)
    return Table(name, COLUMNS, rows, {**MAPPING, **more}, (("dialled", "start"),))


@pytest.fixture
def closing() -> Iterator[list[Store]]:
    stores: list[Store] = []
    yield stores
    for one in stores:
        one.close()


class TestSpellings:
    @pytest.mark.parametrize("form", ["auto", "10d", "11d", "e164", "00e164", "011e164", "tech:99#:11d", "tech:7:auto"])
    @pytest.mark.parametrize("number", NUMBERS)
    def test_mean_the_number_that_was_asked_for(self, number: E164, form: str) -> None:
        assert spellings(number, form)
        assert {number_of(text, form) for text in spellings(number, form)} == {number}

    def test_are_all_that_a_north_american_number_has_in_a_column_of_any_format(self) -> None:
        assert set(spellings(NUMBERS[0], "auto")) == {
            "2025550143",
            "12025550143",
            "+12025550143",
            "01112025550143",
            "0012025550143",
        }

    def test_stand_in_the_templates_that_say_how(self) -> None:
        assert in_all(NUMBERS[0], ["10d"], ["{}", "sip:{}@203.0.113.5"]) == (
            "2025550143",
            "+12025550143",
            "sip:2025550143@203.0.113.5",
            "sip:+12025550143@203.0.113.5",
        )


class TestSettings:
    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"path": "s3://x"}, "path is nothing that engine 'postgresql' knows"),
            ({"table": None}, "missing table"),
            ({"engine": "parquet", "table": None}, "missing path"),
            ({"engine": "parquet", "path": "x", "host": "h"}, "table, host"),
            ({"password": "x"}, "Extra inputs"),
            ({"written": {"called_in": ["sip:"]}}, "write {} once"),
            ({"written": {"called_out": ["{}"]}}, "called_out is not mapped"),
            ({"zone": "Nowhere"}, "no time zone"),
            ({"complete_from": "2026-01-01T00:00:00"}, "has no zone"),
        ],
    )
    def test_that_contradict_themselves_are_refused(self, change: dict[str, Any], why: str) -> None:
        with pytest.raises(ValueError, match=why):
            StoreTable.model_validate({"name": "s", "engine": "postgresql", "table": "t", **MAPPING, **change})

    def test_connections_to_other_hosts_are_verified_unless_told_otherwise(self) -> None:
        def mode(**where: Any) -> str:
            return StoreTable.model_validate(
                {"name": "s", "engine": "mysql", "table": "t", **MAPPING, **where}
            ).tls_mode

        assert [mode(), mode(host="/run/x"), mode(host="db.example"), mode(host="db.example", tls="off")] == [
            "off",
            "off",
            "verify",
            "off",
        ]


class TestPassword:
    def test_comes_from_a_file_that_nobody_else_can_read(self, tmp_path: Path) -> None:
        file = tmp_path / "p"
        file.write_text("secret\n")
        file.chmod(0o600)
        found = password_of("s", file, {})
        assert found is not None
        assert found.reveal() == "secret"
        assert "secret" not in repr(found)
        file.chmod(0o644)
        with pytest.raises(StoreSetupError, match="chmod 600"):
            password_of("s", file, {})

    def test_comes_from_the_environment_or_a_credential(self, tmp_path: Path) -> None:
        (tmp_path / "ware-house.password").write_text("one")
        (tmp_path / "ware-house.password").chmod(0o440)
        environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        assert _revealed(password_of("ware-house", None, environment)) == "one"
        assert variable_of("ware-house") == "HOPBACK_STORE_PASSWORD_WARE_HOUSE"
        environment["HOPBACK_STORE_PASSWORD_WARE_HOUSE"] = "two"
        assert _revealed(password_of("ware-house", None, environment)) == "two"
        assert password_of("other", None, environment) is None

    def test_that_is_configured_but_missing_is_not_no_password(self, tmp_path: Path) -> None:
        with pytest.raises(StoreSetupError, match="can't be read"):
            password_of("s", tmp_path / "nowhere", {})

    def test_is_in_no_message_when_it_is_wrong(
        self, in_clickhouse: InClickHouse, monkeypatch: pytest.MonkeyPatch, closing: list[Store]
    ) -> None:
        monkeypatch.setenv("HOPBACK_STORE_PASSWORD_SECRETS", "not this one")
        made = in_clickhouse.settings(simple("secrets"), user="guarded")
        closing.append(store(made))
        with pytest.raises(StoreError) as caught:
            closing[0].coverage()
        assert "not this one" not in str(caught.value)


def _revealed(password: Password | None) -> str:
    assert password is not None
    return password.reveal()


class TestMessages:
    def test_hold_no_numbers(self) -> None:
        said = 'invalid input syntax for type bigint: "+1 202 555 0143"\nLINE 1: ...'
        assert harmless(said) == 'invalid input syntax for type bigint: "+(number)"'


class TestADatabaseThatIsAway:
    def test_raises_and_is_no_absence(self, closing: list[Store]) -> None:
        made = StoreTable.model_validate(
            {"name": "s", "engine": "postgresql", "table": "t", "host": "127.0.0.1", "port": 1, **MAPPING}
        )
        closing.append(store(made))
        with pytest.raises(StoreError, match="can't be reached"):
            closing[0].find(NUMBERS[0], None, CHANGE, CHANGE)
        with pytest.raises(StoreError, match="can't be reached"):
            closing[0].coverage()

    def test_is_found_again_when_its_connections_were_cut(
        self, in_postgresql: InPostgreSql, closing: list[Store]
    ) -> None:
        closing.append(store(in_postgresql.fill(simple("cut", CHANGE))))
        assert closing[0].find(NUMBERS[0], None, CHANGE, CHANGE)
        in_postgresql.admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'hopback-agent'"
        )
        assert closing[0].find(NUMBERS[0], None, CHANGE, CHANGE)

    def test_is_found_again_in_mariadb_too(self, in_mariadb: InMariaDb, closing: list[Store]) -> None:
        closing.append(store(in_mariadb.fill(simple("cut", CHANGE))))
        assert closing[0].find(NUMBERS[0], None, CHANGE, CHANGE)
        with in_mariadb.admin.cursor() as cursor:
            cursor.execute("select id from information_schema.processlist where user = 'reader'")
            for (number,) in cursor.fetchall():
                cursor.execute(f"kill {number}")
        assert closing[0].find(NUMBERS[0], None, CHANGE, CHANGE)

    def test_a_table_that_is_not_there_is_a_mistake(
        self, in_postgresql: InPostgreSql, in_mariadb: InMariaDb, in_clickhouse: InClickHouse, closing: list[Store]
    ) -> None:
        for place in (in_postgresql, in_mariadb, in_clickhouse):
            closing.append(store(place.settings(simple("nowhere"))))
            with pytest.raises(StoreSetupError, match=r"nowhere|table"):
                closing[-1].find(NUMBERS[0], None, CHANGE, CHANGE)


class TestADatabaseThatIsSlow:
    def test_is_given_up_on(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        in_postgresql.fill(simple("slow", CHANGE))
        in_postgresql.admin.execute(
            "create view waits as select dialled, start, trunk from slow, lateral (select pg_sleep(20)) x; "
            "grant select on waits to reader"
        )
        closing.append(store(in_postgresql.settings(simple("waits"), statement_timeout="100ms")))
        with pytest.raises(StoreError, match=r"longer than 0\.1 s"):
            closing[0].find(NUMBERS[0], None, CHANGE, CHANGE)

    def test_is_given_up_on_in_mariadb_too(self, in_mariadb: InMariaDb, closing: list[Store]) -> None:
        in_mariadb.fill(simple("slow", CHANGE))
        in_mariadb.run("create view waits as select dialled, start, if(sleep(20), trunk, trunk) trunk from slow")
        closing.append(store(in_mariadb.settings(simple("waits"), statement_timeout="100ms")))
        with pytest.raises(StoreError, match=r"longer than 0\.1 s|can't be reached"):
            closing[0].find(NUMBERS[0], None, CHANGE, CHANGE)


class TestTooManyRows:
    def test_are_not_cut_off_but_answered_ambiguous(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        times = [CHANGE + timedelta(seconds=n) for n in range(12)]
        in_postgresql.fill(simple("many", *times))
        closing.append(store(in_postgresql.settings(simple("many"), max_rows=10)))
        (one,) = closing
        assert isinstance(one.find(NUMBERS[0], None, times[0], times[-1]), TooMany)
        assert len(one.find(NUMBERS[0], None, times[1], times[8])) == 8 + 1  # a second's call touches its neighbour

    def test_of_a_batch_are_fetched_in_parts(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        times = [CHANGE + timedelta(minutes=n) for n in range(12)]
        in_postgresql.fill(simple("parts", *times))
        closing.append(store(in_postgresql.settings(simple("parts"), max_rows=3)))
        found = closing[0].find_many([Query(NUMBERS[0], None, time, time) for time in times])
        assert [len(legs) for legs in found] == [1] * 12

    def test_make_the_answer_ambiguous(self) -> None:
        class Full(FakeRecords):
            def find(self, *_: object) -> Any:
                return TooMany()

        assert desk(Full({})).consult(question()).answer.outcome is Outcome.AMBIGUOUS


class TestMerged:
    def test_gives_the_legs_of_all_and_the_coverage_of_each(self) -> None:
        asked = question()
        both = Merged([some_records(), some_records()])
        one = some_records().find(asked.called, None, asked.at - DAY, asked.at + DAY)
        assert both.find(asked.called, None, asked.at - DAY, asked.at + DAY) == [*one, *one]
        assert len(both.coverage().sources) == 2

    def test_is_as_unreadable_as_any_of_its_parts(self) -> None:
        broken = some_records()
        broken.broken = StoreError("s", "away")
        with pytest.raises(StoreError):
            Merged([some_records(), broken]).find_many([Query(NUMBERS[0], None, CHANGE, CHANGE)])

    def test_has_too_many_where_one_has(self) -> None:
        class Full(FakeRecords):
            def find(self, *_: object) -> Any:
                return TooMany()

        merged = Merged([some_records(), Full({})])
        assert isinstance(merged.find(NUMBERS[0], None, CHANGE, CHANGE), TooMany)


class TestCoverage:
    def test_ends_so_long_ago_as_rows_may_be_late(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        in_postgresql.fill(simple("late", CHANGE))
        closing.append(store(in_postgresql.settings(simple("late"), lag="5m", complete_from=CHANGE - 9 * DAY)))
        (covered,) = closing[0].coverage().sources
        assert (covered.covered_from, covered.watermark) == (CHANGE - 9 * DAY, NOW - timedelta(minutes=5))

    def test_begins_where_rows_may_be_gone(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        in_postgresql.fill(simple("kept", NOW - 90 * DAY, NOW - timedelta(minutes=1)))
        closing.append(store(in_postgresql.settings(simple("kept"), retention="30d")))
        coverage = closing[0].coverage()
        assert coverage.sources[0].covered_from == NOW - 30 * DAY
        assert coverage.state(NOW - 31 * DAY, NOW - 30 * DAY, NOW, 365 * DAY) is CoverageState.GAP

    def test_does_not_reach_into_the_future_with_a_clock_that_is_wrong(
        self, in_postgresql: InPostgreSql, closing: list[Store]
    ) -> None:
        in_postgresql.fill(simple("ahead", NOW - DAY, NOW + 9 * DAY))
        closing.append(store(in_postgresql.settings(simple("ahead"))))
        assert closing[0].coverage().sources[0].watermark == NOW

    def test_of_an_empty_table_is_none(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        closing.append(store(in_postgresql.fill(simple("empty"))))
        (covered,) = closing[0].coverage().sources
        assert covered.watermark is None
        assert closing[0].coverage().state(NOW - DAY, NOW, NOW, 9 * DAY) is CoverageState.NOT_YET


class TestWhatCheckConfigSays:
    def test_an_index_that_serves_lookups_leaves_nothing_to_say(
        self, in_postgresql: InPostgreSql, in_mariadb: InMariaDb, closing: list[Store]
    ) -> None:
        for place in (in_postgresql, in_mariadb):
            closing.append(store(place.fill(simple("served", CHANGE))))
            found = look_at(closing[-1], NOW)
            assert (found.problem, found.warnings) == (None, ())
            assert "1 of 1 sampled calls found again" in found.facts

    def test_a_full_scan_is_told_with_the_index_to_create(
        self, in_postgresql: InPostgreSql, in_mariadb: InMariaDb, closing: list[Store]
    ) -> None:
        for place, create in (
            (in_postgresql, 'CREATE INDEX CONCURRENTLY ON "bare" ("dialled", "start");'),
            (in_mariadb, "CREATE INDEX `hopback_dialled` ON `cdr`.`bare` (`dialled`, `start`);"),
        ):
            closing.append(store(place.fill(simple("bare", CHANGE), index=False)))
            (warning,) = look_at(closing[-1], NOW).warnings
            assert create in warning
            sql = warning[warning.index("CREATE") :].replace("CONCURRENTLY ", "")
            if place is in_postgresql:
                in_postgresql.admin.execute(sql.encode())
            else:
                in_mariadb.run(sql)
            assert look_at(closing[-1], NOW).warnings == ()

    def test_an_index_by_time_alone_does_not_serve(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        made = in_postgresql.fill(simple("timed", CHANGE), index=False)
        in_postgresql.admin.execute("create index on timed (start)")
        closing.append(store(made))
        assert "no index serves lookups by dialled" in look_at(closing[0], NOW).warnings[0]

    def test_an_account_that_may_write_is_told(
        self, in_postgresql: InPostgreSql, in_mariadb: InMariaDb, in_clickhouse: InClickHouse, closing: list[Store]
    ) -> None:
        table = simple("writable", CHANGE)
        for place, user, why in (
            (in_postgresql, "postgres", "superuser"),
            (in_mariadb, "writer", "may ALL PRIVILEGES"),
            (in_clickhouse, "default", "may write"),
        ):
            place.fill(table)
            closing.append(store(place.settings(table, user=user)))
            assert any(why in warning for warning in look_at(closing[-1], NOW).warnings)

    def test_even_such_an_account_writes_nothing(
        self, in_postgresql: InPostgreSql, in_mariadb: InMariaDb, in_clickhouse: InClickHouse, closing: list[Store]
    ) -> None:
        table = simple("untouched", CHANGE)
        for place, user, name in (
            (in_postgresql, "postgres", "untouched"),
            (in_mariadb, "writer", "cdr.untouched"),
            (in_clickhouse, "default", "default.untouched"),
        ):
            place.fill(table)
            closing.append(store(place.settings(table, user=user)))
            with pytest.raises(StoreError, match=r"(?i)read.?only"):
                closing[-1].engine._run(f"insert into {name} (dialled) select 'x'")  # type: ignore[attr-defined]

    def test_an_account_that_may_set_nothing_serves_in_clickhouse(
        self, in_clickhouse: InClickHouse, closing: list[Store]
    ) -> None:
        table = simple("strict", CHANGE)
        in_clickhouse.fill(table)
        closing.append(store(in_clickhouse.settings(table, user="strict")))
        assert closing[0].find(NUMBERS[0], None, CHANGE, CHANGE)

    def test_clickhouse_is_told_what_order_would_serve(self, in_clickhouse: InClickHouse, closing: list[Store]) -> None:
        closing.append(store(in_clickhouse.fill(simple("ordered", CHANGE))))
        (warning,) = look_at(closing[0], NOW).warnings
        assert "ORDER BY (`dialled`, `start`)" in warning
        in_clickhouse.admin.execute(
            "create table sorted (dialled String, start DateTime, trunk String) "
            "engine = MergeTree order by (dialled, start)"
        )
        in_clickhouse.admin.execute("insert into sorted values", [(NUMBERS[0], CHANGE, "IN-A")])
        closing.append(store(in_clickhouse.settings(simple("sorted"))))
        assert look_at(closing[1], NOW).warnings == ()

    def test_numbers_that_lookups_would_miss_are_told(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        table = Table("missed", COLUMNS, (("(202) 555-0143", CHANGE, "IN-A"),), MAPPING, (("dialled", "start"),))
        closing.append(store(in_postgresql.fill(table)))
        assert "1 are not found again" in look_at(closing[0], NOW).warnings[0]

    def test_times_without_zone_need_one(self, in_postgresql: InPostgreSql, closing: list[Store]) -> None:
        table = walls(1)
        made = in_postgresql.fill(Table("zoneless", table.columns, table.rows, table.mapping, ()))
        closing.append(store(made.model_copy(update={"zone": None})))
        found = look_at(closing[0], NOW)
        assert found.problem is not None

    def test_a_pattern_needs_to_say_how_numbers_are_written(
        self, in_postgresql: InPostgreSql, closing: list[Store]
    ) -> None:
        in_postgresql.fill(simple("cut_out", CHANGE))
        columns = {**MAPPING["columns"], "called_in": {"column": "dialled", "pattern": "([0-9]+)"}}
        closing.append(store(in_postgresql.settings(simple("cut_out", columns=columns))))
        assert "say in [stores.written]" in str(look_at(closing[0], NOW).problem)


class TestPool:
    def test_uses_no_more_connections_than_it_may(self) -> None:
        inside, gate = threading.Semaphore(0), threading.Event()
        pool = Pool("s", 1, 0.05, object, lambda _: None)

        def hold(_: object) -> None:
            inside.release()
            gate.wait(5)

        thread = threading.Thread(target=pool.run, args=(hold,))
        thread.start()
        inside.acquire()
        with pytest.raises(StoreError, match="busy"):
            pool.run(lambda _: None)
        gate.set()
        thread.join()
        pool.run(lambda _: None)

    def test_tries_once_more_when_an_idle_connection_was_dead(self) -> None:
        numbers = count()
        closed: list[int] = []
        pool = Pool("s", 2, 1, lambda: next(numbers), closed.append)
        pool.run(lambda _: None)

        def first_is_dead(connection: int) -> int:
            if connection == 0:
                raise ConnectionLostError("gone")
            return connection

        assert pool.run(first_is_dead) == 1
        assert closed == [0]

    def test_does_not_try_for_ever(self) -> None:
        pool = Pool("s", 2, 1, object, lambda _: None)

        def dead(_: object) -> None:
            raise ConnectionLostError("gone")

        with pytest.raises(StoreError, match="gone"):
            pool.run(dead)

    def test_keeps_no_connection_that_failed_in_any_way(self) -> None:
        closed: list[object] = []
        pool = Pool("s", 2, 1, object, closed.append)

        def full(_: object) -> None:
            raise TooManyRowsError

        with pytest.raises(TooManyRowsError):
            pool.run(full)
        assert len(closed) == 1


class TestThreads:
    async def test_keep_the_event_loop_free(self) -> None:
        threads, gate = LookupThreads(1, 1), threading.Event()
        waiting = asyncio.create_task(threads.run(lambda: gate.wait(5)))
        await asyncio.sleep(0)  # the loop goes on meanwhile
        gate.set()
        assert await waiting
        threads.close()

    async def test_take_no_more_than_may_wait(self) -> None:
        threads, gate = LookupThreads(1, 1), threading.Event()
        some = [asyncio.create_task(threads.run(lambda: gate.wait(5))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await threads.run(lambda: None)
        gate.set()
        await asyncio.gather(*some)
        assert await threads.run(lambda: 7) == 7
        threads.close()


def test_the_page_about_stores_shows_tables_that_are_taken() -> None:
    page = (Path(__file__).parents[2] / "docs" / "stores.md").read_text()
    tables = [
        table
        for block in re.findall(r"```toml\n(.*?)```", page, re.S)
        for table in tomllib.loads(block).get("stores", [])
    ]
    assert {StoreTable.model_validate(table).engine for table in tables} == {"postgresql", "parquet"}


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.stores.opened import engine_of

    for engine, module, extra in (
        ("postgresql", "psycopg", "hopback[postgresql]"),
        ("mysql", "pymysql", "hopback[mysql]"),
        ("clickhouse", "clickhouse_driver", "hopback[clickhouse]"),
    ):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        made = StoreTable.model_validate({"name": "s", "engine": engine, "table": "t", **MAPPING})
        with pytest.raises(StoreSetupError, match=extra.replace("[", r"\[")):
            engine_of(made, os.environ).columns()
