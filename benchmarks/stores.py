"""`python -m benchmarks.stores [--rows N]`: lookups pushed down into the real servers, beside a plain statement.

Each server holds the same synthetic calls of 30 days, with the index that `check-config` prints. The peer is the same
server's own answer to the bare statement of one lookup by the same driver, so that what the mapping layer costs is
seen: a store can't be faster than its database. Answers are counted: every call that is asked for is found.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from agent.index.reader import Query
from agent.stores.settings import StoreTable
from agent.stores.store import Store
from protos.e164 import E164
from tests.stores import servers
from tests.stores.loaded import store

FIRST = datetime(2026, 10, 20, tzinfo=UTC)
DAYS = 30
REACH = timedelta(minutes=4)
COLUMNS = {
    "called_in": {"column": "dialled", "format": "11d"},
    "seizure": {"column": "start", "format": "iso8601"},
    "ingress_trunk": "tg_in",
    "egress_trunk": "tg_out",
    "call_id": "callid",
}
Call = tuple[str, datetime]


def calls(rows: int) -> Iterator[tuple[str, datetime, str, str, str]]:
    """Synthetic calls; numbers of the fictitious 555."""
    rng = random.Random(1)
    for number in range(rows):
        at = FIRST + timedelta(milliseconds=rng.randrange(DAYS * 86_400_000))
        at = at.replace(microsecond=0)
        yield (
            f"1{rng.randint(201, 989)}555{rng.randint(0, 9999):04}",
            at,
            f"IN-{number % 97}",
            f"OUT-{number % 89}",
            f"c{number}",
        )


def sample(rows: int, count: int) -> list[Call]:
    """Some of the calls, in no order."""
    chosen = set(random.Random(2).sample(range(rows), count))
    found = [(called, at) for number, (called, at, *_) in enumerate(calls(rows)) if number in chosen]
    random.Random(3).shuffle(found)
    return found


def settings(engine: str, **where: Any) -> StoreTable:
    """The store over the table `calls`."""
    table = {} if engine == "parquet" else {"table": "calls"}
    more = {"statement_timeout": "60s", "max_rows": 500_000}
    return StoreTable.model_validate({"name": "bench", "engine": engine, "columns": COLUMNS, **table, **more, **where})


def median_ms(work: Callable[[], object], runs: int) -> float:
    """The median time of some runs."""
    times = []
    for _ in range(runs):
        begin = perf_counter()
        work()
        times.append(perf_counter() - begin)
    return statistics.median(times) * 1000


def measured(name: str, made: Store, asked: list[Call], bare: Callable[[Call], object] | None) -> None:
    """Print what lookups cost."""
    queries = [Query(E164(f"+{called}"), None, at - REACH, at + REACH) for called, at in asked]
    found = made.find_many(queries)
    if not all(found):
        raise SystemExit(f"{name}: {sum(not legs for legs in found)} of {len(found)} calls were not found")
    turns = iter(queries * 10)
    single = median_ms(lambda: made.find(*_parts(next(turns))), 300)
    line = f"{name:12} single {single:7.2f} ms"
    if bare is not None:
        each = iter(asked * 10)
        line += f" (bare statement {median_ms(lambda: bare(next(each)), 300):.2f} ms)"
    for size in (1000, 10_000):
        some = queries[:size]
        took = median_ms(lambda some=some: made.find_many(some), 5)  # type: ignore[misc]
        line += f"   batch of {size:,} {took:8.1f} ms = {len(some) / took * 1000:8,.0f}/s"
    click.echo(line)
    made.close()


def _parts(query: Query) -> tuple[Any, ...]:
    return query.called, query.calling, query.earliest, query.latest


def in_postgresql(directory: Path, rows: int, asked: list[Call], stack: ExitStack) -> None:
    """PostgreSQL, on its socket."""
    import psycopg

    server = stack.enter_context(servers.postgresql(directory))
    target = f"host={server.socket} port={server.port} user=postgres dbname=postgres"
    with psycopg.connect(target, autocommit=True) as admin:
        admin.execute(
            "create table calls (dialled varchar(20), start timestamptz, tg_in text, tg_out text, callid text)"
        )
        with admin.cursor().copy("copy calls from stdin") as copy:
            for row in calls(rows):
                copy.write_row(row)
        admin.execute("create index on calls (dialled, start)")
        admin.execute("vacuum analyze calls")
        text = "select * from calls where dialled = any(%s::text[]) and start between %s and %s"

        def bare(call: Call) -> object:
            return admin.execute(
                text, ([call[0], f"+{call[0]}"], call[1] - REACH, call[1] + REACH), prepare=True
            ).fetchall()

        made = settings("postgresql", host=server.socket, port=server.port, database="postgres", user="postgres")
        measured("PostgreSQL", store(made), asked, bare)


def in_mariadb(directory: Path, rows: int, asked: list[Call], stack: ExitStack) -> None:
    """MariaDB, on its socket."""
    import pymysql

    server = stack.enter_context(servers.mariadb(directory))
    admin = pymysql.connect(unix_socket=server.socket, user="root", autocommit=False)
    with admin.cursor() as cursor:
        cursor.execute("set time_zone = '+00:00'")
        cursor.execute("create database cdr")
        cursor.execute("use cdr")
        cursor.execute(
            "create table calls (dialled varchar(20), start timestamp, tg_in varchar(20), tg_out varchar(20), "
            "callid varchar(40))"
        )
        some: list[tuple[Any, ...]] = []
        for row in calls(rows):
            some.append((row[0], f"{row[1]:%Y-%m-%d %H:%M:%S}", *row[2:]))
            if len(some) == 10_000:
                cursor.executemany("insert into calls values (%s, %s, %s, %s, %s)", some)
                some = []
        if some:
            cursor.executemany("insert into calls values (%s, %s, %s, %s, %s)", some)
        admin.commit()
        cursor.execute("create index hopback_dialled on calls (dialled, start)")
        cursor.execute("analyze table calls")
        text = "select * from calls where dialled in (%s, %s) and start between %s and %s"

        def bare(call: Call) -> object:
            cursor.execute(text, (call[0], f"+{call[0]}", call[1] - REACH, call[1] + REACH))
            return cursor.fetchall()

        made = settings("mysql", host=server.socket, user="root", database="cdr")
        measured("MariaDB", store(made), asked, bare)
    admin.close()


def in_clickhouse(directory: Path, rows: int, asked: list[Call], stack: ExitStack) -> None:
    """ClickHouse, over the loopback."""
    from clickhouse_driver import Client

    server = stack.enter_context(servers.clickhouse(directory))
    admin = Client("127.0.0.1", port=server.port)
    admin.execute(
        "create table calls (dialled String, start DateTime, tg_in String, tg_out String, callid String) "
        "engine = MergeTree partition by toYYYYMM(start) order by (dialled, start)"
    )
    admin.execute("insert into calls values", calls(rows))
    admin.execute("optimize table calls final")
    text = "select * from calls where dialled in %(c)s and start >= toDateTime(%(a)s) and start <= toDateTime(%(b)s)"

    def bare(call: Call) -> object:
        low, high = (int((call[1] + way).timestamp()) for way in (-REACH, REACH))
        return admin.execute(text, {"c": (call[0], f"+{call[0]}"), "a": low, "b": high})

    measured("ClickHouse", store(settings("clickhouse", host="127.0.0.1", port=server.port)), asked, bare)
    admin.disconnect()


def in_parquet(directory: Path, rows: int, asked: list[Call], stack: ExitStack) -> None:
    """Parquet files, one a day, in a local directory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    del stack
    directory.mkdir()
    days: dict[int, list[tuple[Any, ...]]] = {}
    for row in calls(rows):
        days.setdefault((row[1] - FIRST).days, []).append(row)
    names = ("dialled", "start", "tg_in", "tg_out", "callid")
    types = (pa.string(), pa.timestamp("s", tz="UTC"), pa.string(), pa.string(), pa.string())
    for day, some in days.items():
        arrays = [pa.array(column, kind) for column, kind in zip(zip(*sorted(some), strict=True), types, strict=True)]
        pq.write_table(pa.table(arrays, names=list(names)), directory / f"{day:02}.parquet", row_group_size=50_000)
    measured("Parquet", store(settings("parquet", path=str(directory))), asked, None)


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
def main(rows: int) -> None:
    """Measure lookups in every store."""
    asked = sample(rows, 10_000)
    click.echo(f"{rows:,} calls of {DAYS} days")
    with tempfile.TemporaryDirectory(prefix="hb", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        for number, measure in enumerate((in_postgresql, in_mariadb, in_clickhouse, in_parquet)):
            with ExitStack() as stack:
                measure(Path(name) / f"s{number}", rows, asked, stack)


if __name__ == "__main__":
    main()
