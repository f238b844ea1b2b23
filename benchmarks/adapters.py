"""How fast files become call legs, and how much memory that takes whatever their size.

Everything goes through `read_source`, whole: numbers normalised, times in UTC, addresses canonical. Delimited text is
measured against pyarrow's own parser reading the same file, all columns as strings, which is the least that any reader
in this process could do; text formats against Python's csv module splitting their lines, which does nothing with them.
"""

from __future__ import annotations

import csv
import itertools
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv
from rich.console import Console

from benchmarks.measure import Figure
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from tests.adapters.hostile.seeds import Seed, seed_of
from tests.adapters.test_testing_plugin import SPLITS

RUNS = 5
ROWS = 500_000
RECORDS = 100_000
SMALL, LARGE = 200 << 20, 2000 << 20

HEADER = (
    "record_id,session_id,switch,ingress_trunk,ingress_address,egress_trunk,egress_address,calling_in,calling_out,"
    "called_in,called_out,setup_time,answer_time,release_time,duration,cause,sip_code,codec,packets_sent,"
    "packets_received,jitter,loss,mos,rate_plan,price,note"
)
MAPPING = {
    "name": "bench",
    "path": "x",
    "format": "delimited",
    "zone": "America/New_York",
    "columns": {
        "called_in": {"column": "called_in", "format": "trunk"},
        "called_out": "called_out",
        "calling": "calling_in",
        "seizure": {"column": "setup_time", "format": "%Y-%m-%d %H:%M:%S.%f"},
        "ingress_trunk": "ingress_trunk",
        "ingress_address": "ingress_address",
        "egress_trunk": "egress_trunk",
        "egress_address": "egress_address",
        "call_id": "session_id",
        "disposition": {"column": "sip_code", "values": {"200": "answered", "487": "unanswered", "*": "failed"}},
    },
}


def _number(rng: random.Random) -> str:
    return f"1{rng.randrange(201, 990)}555{rng.randrange(10_000):04d}"


def _row(rng: random.Random, number: int) -> str:
    start = datetime(2026, 11, 10, tzinfo=UTC) + timedelta(milliseconds=137 * number)
    called, calling, seconds = _number(rng), _number(rng), rng.randrange(600)
    answered = start + timedelta(seconds=4)
    times = [f"{time:%Y-%m-%d %H:%M:%S.%f}"[:-3] for time in (start, answered, answered + timedelta(seconds=seconds))]
    columns = (
        number,
        f"{rng.getrandbits(64):016x}@192.0.2.{number % 250}",
        f"sw{number % 4}",
        f"IN{number % 60:03d}",
        f"198.51.100.{number % 200}",
        f"OUT{number % 40:03d}",
        f"203.0.113.{number % 120}",
        calling,
        f"+{calling}",
        f"77501#{called[1:]}",
        f"+{called}",
        *times,
        seconds,
        16,
        (200, 487, 503)[number % 3],
        "G711U",
        seconds * 50,
        seconds * 50 - 3,
        f"0.{number % 90:02d}",
        "0.0",
        f"4.{number % 40:02d}",
        f"RP{number % 9}",
        f"0.00{number % 90:02d}",
        "",
    )
    return ",".join(map(str, columns))


FORMATS = TrunkFormats(ingress={f"IN{trunk:03d}": "tech:77501#:10d" for trunk in range(60)})


def _written(path: Path, rows: int) -> None:
    rng = random.Random(3)
    with path.open("w") as file:
        file.write(HEADER + "\n")
        file.writelines(_row(rng, number) + "\n" for number in range(rows))


def _rate(read: Callable[[], int], expected: int) -> float:
    start = perf_counter()
    found = read()
    taken = perf_counter() - start
    if found != expected:
        raise AssertionError(f"{found} of {expected} records")
    return expected / taken


def _calls(path: Path, mapping: SourceMapping, formats: TrunkFormats) -> int:
    return sum(batch.calls.num_rows for batch in read_source(path, mapping, formats))


def delimited_vs_pyarrow_csv(console: Console) -> Figure:
    """Records a second of delimited text through `read_source`, over those of pyarrow's bare parser."""
    mapping = SourceMapping.model_validate(MAPPING)
    strings = arrow_csv.ConvertOptions(column_types=dict.fromkeys(HEADER.split(","), pa.string()))
    with tempfile.TemporaryDirectory(prefix="hopback-bench-") as work:
        path = Path(work) / "records.csv"
        console.print(f"delimited_vs_pyarrow_csv: writing {ROWS:,} records ...")
        _written(path, ROWS)

        def ours() -> int:
            return _calls(path, mapping, FORMATS)

        def peer() -> int:
            return int(arrow_csv.read_csv(path, convert_options=strings).num_rows)

        ours(), peer()
        pairs = [(_rate(ours, ROWS), _rate(peer, ROWS)) for _ in range(2 * RUNS + 1)]
        size = path.stat().st_size
    ratios = tuple(mine / other for mine, other in pairs)
    mine, other = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    text = (
        f"pyarrow.csv.read_csv, strings: {other:,.0f} records/s, {other * size / ROWS / 1e6:,.0f} MB/s "
        f"(ours {mine:,.0f} records/s)"
    )
    return Figure(statistics.median(ratios), "times", text, ratios)


# --- formats of text


def _grown(sample: bytes, split: Any, least: int) -> tuple[bytes, int] | None:
    """A file with at least so many of the sample's records, their numbers changed; and how often they are in it."""
    parts = split(sample)
    if parts is None or not parts[1]:
        return None
    head, records = parts
    times = least // len(records) + 1
    block = b"".join(records)

    def changed(turn: int) -> bytes:
        return re.sub(rb"(?<=555)01\d\d", b"%04d" % (turn * 37 % 10_000), block)

    return head + b"".join(map(changed, range(times))), times


def _text_files() -> Iterator[tuple[str, Seed, bytes, int]]:
    """Every text format whose records stand one after the other, each with a grown file."""
    for name, splits in SPLITS.items():
        seed = seed_of(name)
        index, split = next(iter(splits.items()))
        if (grown := _grown(seed.samples[index], split, RECORDS)) is not None:
            yield name, seed, *grown


DOCUMENTS = frozenset({"freeswitch_json", "kazoo_json"})
"""Formats whose records are documents of several kilobytes each: measured, but no row formats."""


def text_records_per_s(console: Console) -> Figure:
    """Records a second of the slowest format of rows of text; the runs are those of every format."""
    rates: dict[str, float] = {}
    peers: list[float] = []
    with tempfile.TemporaryDirectory(prefix="hopback-bench-") as work:
        path = Path(work) / "records"
        for name, seed, data, times in _text_files():
            path.write_bytes(data)
            found = [0]

            def ours(mapping: SourceMapping = seed.mapping, formats: TrunkFormats = seed.formats) -> int:
                return sum(
                    batch.calls.num_rows + len(batch.rejected) + batch.skipped
                    for batch in read_source(path, mapping, formats)
                )

            def peer() -> int:
                with path.open(encoding="utf-8", errors="replace", newline="") as file:
                    return sum(1 for _ in csv.reader(file, quoting=csv.QUOTE_NONE))

            runs = []
            for _ in range(3):
                start = perf_counter()
                found[0] = ours()
                runs.append(found[0] / (perf_counter() - start))
                start = perf_counter()
                lines = peer()
                peers.append(lines / (perf_counter() - start))
            if found[0] < times:
                raise AssertionError(f"{name}: {found[0]} records of {times}")
            rates[name] = statistics.median(runs)
            console.print(f"text_records_per_s: {name} {rates[name]:,.0f}")
    slowest = min(rates.keys() - DOCUMENTS, key=rates.__getitem__)
    listed = ", ".join(f"{name} {rate:,.0f}" for name, rate in sorted(rates.items(), key=lambda item: item[1]))
    peer_text = f"csv.reader alone: {statistics.median(peers):,.0f} lines/s; slowest is {slowest}; all: {listed}"
    return Figure(rates[slowest], "records/s", peer_text, tuple(rates.values()))


# --- memory

_READ = """
import resource, sys
from pathlib import Path
from benchmarks.adapters import FORMATS, MAPPING
from cdr_adapters.mapping import SourceMapping
from cdr_adapters.read import read_source
mapping = SourceMapping.model_validate(MAPPING)
calls = sum(batch.calls.num_rows for batch in read_source(Path(sys.argv[1]), mapping, FORMATS))
print(calls, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def _peak(path: Path) -> int:
    """Peak memory of a process that reads the file, in MB."""
    run = subprocess.run([sys.executable, "-c", _READ, str(path)], capture_output=True, text=True, check=True)
    calls, peak = map(int, run.stdout.split())
    if not calls:
        raise AssertionError("no calls were read")
    return peak


def adapter_rss_mb(console: Console) -> Figure:
    """Peak memory of reading two gigabytes of delimited text; the same as of reading a tenth of it."""
    with tempfile.TemporaryDirectory(prefix="hopback-bench-") as work:
        path = Path(work) / "records.csv"
        peaks = []
        for size in (SMALL, LARGE):
            console.print(f"adapter_rss_mb: writing {size >> 20} MB ...")
            _written(path, 50_000)
            head, _, body = path.read_bytes().partition(b"\n")
            with path.open("wb") as file:
                file.write(head + b"\n")
                for _ in itertools.repeat(None, size // len(body)):
                    file.write(body)
            peaks.append(_peak(path))
    small, large = peaks
    peer = f"{SMALL >> 20} MB of the same records: {small} MB; of {LARGE >> 20} MB: {large} MB"
    return Figure(float(large), "MB", peer, (float(small), float(large)))
