"""From a CSV file with numbers written in seven ways to records that can be searched, on disk, on two cores.

The peer is DuckDB, which does the same in SQL: it reads the file, brings called and calling numbers to E.164, refuses
what is none, and writes the same columns as Parquet, sorted by called number and time. Neither is told anything about
the file that the other is not. Both end with everything on disk. That both hold the same calls is checked: as many, and
the same ones for a sample of numbers.

And how long lookups take while the same file is indexed beside them, against lookups at rest.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
from rich.console import Console

from agent.index.keys import Keys
from agent.index.reader import Index, Query
from agent.ingest import ingest
from benchmarks.measure import Figure
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from protos.e164 import parse_e164

RECORDS: Final = min(int(os.environ.get("SIZE") or 10_000_000), 100_000_000)
RUNS: Final = 3
CORES: Final = 2
BLOCK: Final = 500_000
DAYS: Final = 30
START_MS: Final = 1_780_272_000_000
SAMPLE: Final = 300
ROOT: Final = bytes(range(32))

MAPPING: Final = SourceMapping.model_validate(
    {
        "name": "switch",
        "path": "calls.csv",
        "format": "delimited",
        "zone": "UTC",
        "columns": {
            "called_in": {"column": "called"},
            "calling": {"column": "calling"},
            "seizure": {"column": "start", "format": "iso8601"},
            "ingress_trunk": {"column": "in_tg"},
            "egress_trunk": {"column": "out_tg"},
            "call_id": {"column": "callid"},
            "disposition": {"column": "code", "values": {"200": "answered", "487": "unanswered", "*": "failed"}},
        },
    }
)

_NUMBER = """
    case when {0} like '+%' then {0}
         when {0} like '011%' then '+' || substr({0}, 4)
         when {0} like '00%' then '+' || substr({0}, 3)
         when length({0}) = 11 and {0} like '1%' then '+' || {0}
         when length({0}) = 10 then '+1' || {0} end"""
_DIGITS = (
    "regexp_replace(split_part(split_part(regexp_replace({0}, '^(sips?|tel):', ''), '@', 1), ';', 1), "
    "'[-. ()]', '', 'g')"
)
_SQL = f"""
copy (
    with plain as (
        select {_DIGITS.format("called")} as called_digits, {_DIGITS.format("calling")} as calling_digits,
               start, in_tg, out_tg, code, callid
        from read_csv('{{source}}', all_varchar = true, header = true)
    ), numbers as (
        select {_NUMBER.format("called_digits")} as called, {_NUMBER.format("calling_digits")} as calling,
               epoch_ms(start::timestamp) as seizure, in_tg, out_tg, callid,
               case code when '200' then 'answered' when '487' then 'unanswered' else 'failed' end as disposition
        from plain
    )
    select called, calling, seizure, in_tg as ingress_trunk, out_tg as egress_trunk,
           hash(callid) & 16777215 as call_ref, disposition
    from numbers
    where regexp_full_match(called, '[+][1-9][0-9]{{{{6,14}}}}')
      and (calling is null or regexp_full_match(calling, '[+][1-9][0-9]{{{{6,14}}}}'))
    order by called, seizure
) to '{{target}}' (format parquet)"""  # noqa: S608 (our own text and paths)


def ingest_vs_duckdb(console: Console) -> Figure:
    """How many times as fast as DuckDB."""
    with _two_cores(), tempfile.TemporaryDirectory(prefix="hopback-bench-") as name:
        work = Path(name)
        source = work / "calls.csv"
        console.print(f"ingest_vs_duckdb: writing {RECORDS:,} records, {CORES} cores …")
        write_calls(source, RECORDS)
        ours, peers = [], []
        for _ in range(RUNS):
            ours.append(_indexed(source, work / "index"))
            peers.append(_in_duckdb(source, work / "sorted.parquet"))
        _require_same(work / "index", work / "sorted.parquet")
        runs = tuple(peer / own for own, peer in zip(ours, peers, strict=True))
        rate = RECORDS / statistics.median(ours)
        peer = f"DuckDB to sorted Parquet ({statistics.median(peers):.1f} s; hopback {rate:,.0f} records/s)"
        return Figure(statistics.median(runs), "times", peer, runs)


@contextmanager
def _two_cores() -> Iterator[None]:
    """This process and its children on two cores, whatever the machine has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:CORES]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def write_calls(path: Path, records: int, seed: int = 1) -> None:
    """A file of calls in the order in which a switch writes them; all numbers are 555 ones, which nobody has."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    rng = np.random.default_rng(seed)
    schema = pa.schema([(column, pa.string()) for column in ("start", "called", "calling", "in_tg", "out_tg", "code")])
    schema = schema.append(pa.field("callid", pa.string()))
    plain = pyarrow.csv.WriteOptions(quoting_style="none")
    with pyarrow.csv.CSVWriter(path, schema, write_options=plain) as writer:
        for begin in range(0, records, BLOCK):
            count = min(BLOCK, records - begin)
            ended = np.sort(rng.integers(0, DAYS * 86_400_000 * count // records, count))
            ended += DAYS * 86_400_000 * begin // records
            seizure = START_MS + np.maximum(ended - rng.integers(0, 300_000, count), 0)
            columns = [
                pc.strftime(pa.array(seizure, pa.timestamp("ms")), format="%Y-%m-%d %H:%M:%S"),
                _written(rng, count),
                _written(rng, count),
                _numbered("TGIN", rng.integers(1, 400, count)),
                _numbered("TGOUT", rng.integers(1, 300, count)),
                pa.array(np.array(["200", "487", "404"])[rng.integers(0, 3, count)]),
                pc.binary_join_element_wise(
                    pa.array(np.arange(begin, begin + count)).cast(pa.string()), "a1b2@sw1", "-"
                ),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _numbered(prefix: str, numbers: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(pa.scalar(prefix), pa.array(numbers).cast(pa.string()), "")


def _written(rng: np.random.Generator, count: int) -> Any:
    """Numbers, each written in one of the ways in which switches do."""
    import pyarrow as pa
    import pyarrow.compute as pc

    npa = (rng.integers(2, 10, count) * 100 + 2 + rng.integers(0, 8, count)).astype("U3")
    line = np.minimum(rng.integers(0, 10_000, count), rng.integers(0, 10_000, count)) + 10_000
    last = np.array([f"{n % 10_000:04d}" for n in range(10_000, 20_000)])[line - 10_000]
    ways = rng.integers(0, 7, count)
    before = np.array(["+1", "1", "", "(", "", "01144", "sip:+1"])[ways]
    between = np.array(["555", "555", "555", ") 555-", "-555-", "555", "555"])[ways]
    after = np.array(["", "", "", "", "", "", "@198.51.100.7;user=phone"])[ways]
    parts = [pa.array(part) for part in (before, npa, between, last, after)]
    return pc.binary_join_element_wise(*parts, "")


def _indexed(source: Path, directory: Path) -> float:
    shutil.rmtree(directory, ignore_errors=True)
    begin = perf_counter()
    report = ingest([source], MAPPING, TrunkFormats(), directory, Keys.from_root(ROOT), datetime.now(UTC))
    taken = perf_counter() - begin
    if report.failed or report.calls != RECORDS:
        raise AssertionError(f"{report.calls} of {RECORDS} calls were indexed: {report.failed} {report.rejected}")
    return taken


def _in_duckdb(source: Path, target: Path) -> float:
    """In a process of its own, as the agent's reader has one; its start is not counted."""
    import duckdb

    target.unlink(missing_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"set threads = {CORES}")
        connection.execute("set enable_progress_bar = false")
        begin = perf_counter()
        connection.execute(_SQL.format(source=source, target=target))
        descriptor = os.open(target, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        return perf_counter() - begin


def _require_same(directory: Path, parquet: Path) -> None:
    """Both hold the same calls."""
    import duckdb

    with duckdb.connect() as connection:
        (count,) = connection.execute(f"select count(*) from '{parquet}'").fetchone() or (0,)  # noqa: S608 (our path)
        if count != RECORDS:
            raise AssertionError(f"DuckDB has {count} of {RECORDS} calls")
        sample = f"select called, seizure from '{parquet}' using sample {SAMPLE} rows (reservoir, 1)"  # noqa: S608
        chosen = connection.execute(sample).fetchall()
        around = f"select seizure, ingress_trunk, egress_trunk, disposition from '{parquet}' where called = ? and seizure between ? and ? order by all"  # noqa: S608, E501
        index = Index.open(directory, Keys.from_root(ROOT))
        for called, ms in chosen:
            theirs = set(connection.execute(around, [called, ms - 60_000, ms + 60_000]).fetchall())
            begin, end = (datetime.fromtimestamp(edge / 1000, UTC) for edge in (ms - 60_000, ms + 60_000))
            legs = index.find(parse_e164(called), None, begin, end)
            own = {
                (round(leg.earliest.timestamp() * 1000), leg.ingress_trunk, leg.egress_trunk, leg.disposition)
                for leg in legs
            }
            if own != theirs:
                raise AssertionError(f"at {begin}: {len(own)} calls, DuckDB has {len(theirs)}")


def lookup_p99_while_ingesting(console: Console) -> Figure:
    """p99 of single lookups while a file is indexed and segments are merged beside them, over p99 at rest."""
    records = min(RECORDS, 1_000_000)
    with tempfile.TemporaryDirectory(prefix="hopback-bench-") as name:
        work = Path(name)
        console.print(f"lookup_p99_while_ingesting: writing two files of {records:,} records …")
        write_calls(work / "first.csv", records, seed=1)
        write_calls(work / "second.csv", records, seed=2)
        _feed(work, "first.csv").wait()
        index = Index.open(work / "index", Keys.from_root(ROOT))
        random_ = random.Random(1)
        queries = [_some_query(random_) for _ in range(20_000)]
        idle, busy = [], []
        for _ in range(RUNS):
            idle += _latencies(index, queries)
        feeding = _feed(work, "second.csv")
        while feeding.poll() is None:
            busy += _latencies(index, queries[:2000])
        if feeding.returncode:
            raise AssertionError("the file was not indexed")
        quiet, loud = (statistics.quantiles(times, n=100)[98] for times in (idle, busy))
        peer = f"at rest (p99 {quiet * 1e6:.1f} us, p50 {statistics.median(idle) * 1e6:.1f} us; {len(busy):,} lookups)"
        return Figure(loud / quiet, "times", peer, (loud / quiet,))


def _feed(work: Path, name: str) -> subprocess.Popen[bytes]:
    """Index a file and merge segments, in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime\n"
        "from agent.ingest import ingest; from agent.maintenance import maintain\n"
        "from agent.index.keys import Keys; from benchmarks.ingest import MAPPING, ROOT\n"
        "from cdr_adapters.mapping import TrunkFormats\n"
        "work, keys, now = Path(sys.argv[1]), Keys.from_root(ROOT), datetime.now(UTC)\n"
        "report = ingest([work / sys.argv[2]], MAPPING, TrunkFormats(), work / 'index', keys, now)\n"
        "maintain(work / 'index', keys, now, None); sys.exit(bool(report.failed))\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(work), name])


def _some_query(random_: random.Random) -> Query:
    npa, line = f"{random_.randrange(2, 10)}0{random_.randrange(2, 10)}", f"{random_.randrange(10_000):04d}"
    at = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(seconds=random_.randrange(DAYS * 86_400))
    return Query(parse_e164(f"+1{npa}555{line}"), None, at - timedelta(minutes=1), at + timedelta(minutes=1))


def _latencies(index: Index, queries: list[Query]) -> list[float]:
    taken = []
    for query in queries:
        begin = perf_counter()
        index.find(query.called, query.calling, query.earliest, query.latest)
        taken.append(perf_counter() - begin)
    return taken
