"""The index at the limit of the machine: lookups, bytes, cold reads and memory, beside what else could hold the calls.

All of it works on one set of calls (`benchmarks.records`), which is made once a run; runs alternate with the peer's on
the same lookups, each run has lookups of its own, and every answer is compared. What is timed of ours ends with the
time, trunks and place of every match in columns; of the peers, with their rows in the memory of the client.
"""

from __future__ import annotations

import atexit
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
from rich.console import Console

from agent.index import Index
from agent.index.batch import Hits
from agent.index.days import DaySecrets
from agent.index.keys import I64, U64, Keys
from agent.index.layout import DAY_MS
from agent.index.rows import DISPOSITION_SHIFT
from agent.index.segment import Hit
from benchmarks.measure import Figure
from benchmarks.peers import Day, Lmdb, Parquet, PostgreSql, Row, Sqlite, signed, size_of
from benchmarks.records import FIRST_DAY, ROUTES, SIZE, Calls, Wanted, write_index

ROOT: Final = bytes(range(32))
RUNS: Final = 7
SINGLES: Final = 2_000
_NUMBER: Final = {route: number for number, route in enumerate(ROUTES)}


class Lab:
    """The calls, the index of them, and the peers that were asked for; all gone when the process ends."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.work = Path(tempfile.mkdtemp(prefix="hopback-bench-"))
        atexit.register(self.close)
        self.calls = Calls(SIZE)
        self.keys = Keys.from_root(ROOT)
        self.directory = self.work / "index"
        self._peers: dict[str, Any] = {}
        self._say(f"indexing {SIZE:,} calls")
        write_index(self.directory, self.keys, self.calls)
        self.secrets = DaySecrets(self.directory, self.keys)
        self.index = Index.open(self.directory, self.keys)
        self.index.verify()

    def _say(self, what: str) -> None:
        self.console.print(f"index: {what} …")

    def close(self) -> None:
        """Stop and remove all."""
        for peer in self._peers.values():
            getattr(peer, "close", lambda: None)()
        self._peers.clear()
        shutil.rmtree(self.work, ignore_errors=True)

    def peer(self, make: Callable[[], Any], name: str) -> Any:
        """A peer with the calls in it."""
        if name not in self._peers:
            self._say(f"loading {name}")
            self._peers[name] = peer = make()
            peer.load(self.days())
        return self._peers[name]

    @property
    def postgresql(self) -> PostgreSql:
        peer: PostgreSql = self.peer(PostgreSql, "PostgreSQL")
        return peer

    @property
    def sqlite(self) -> Sqlite:
        peer: Sqlite = self.peer(lambda: Sqlite(self.work), "SQLite")
        return peer

    @property
    def lmdb(self) -> Lmdb:
        peer: Lmdb = self.peer(lambda: Lmdb(self.work), "LMDB")
        return peer

    @property
    def parquet(self) -> Parquet:
        peer: Parquet = self.peer(lambda: Parquet(self.work), "Parquet")
        return peer

    def days(self) -> Iterator[Day]:
        """The calls as the peers keep them: under the same pseudonyms, in order."""
        for day, rows in self.calls.days():
            cipher = self.secrets.day(day)
            pseudonym = cipher.called_column(rows.called)
            order = np.lexsort((rows.earliest, pseudonym))
            yield Day(
                pseudonym=pseudonym[order],
                time=rows.earliest[order],
                ingress=rows.ingress[order].astype(np.int64),
                egress=rows.egress[order].astype(np.int64),
                calling=cipher.calling_column(rows.calling)[order].astype(np.int64),
                call_ref=(rows.call_ref[order] & np.uint64(0xFFFFFF)).astype(np.int64),
                flags=(rows.flags[order] >> np.uint8(DISPOSITION_SHIFT)).astype(np.int64),
            )

    def hashed(self, called: int, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """The probes of a lookup for a peer: one for each day that it touches, hashed as the index does."""
        for day in range(low // DAY_MS, high // DAY_MS + 1):
            if FIRST_DAY <= day < FIRST_DAY + 30:
                yield self.secrets.day(day).called(called), low, high

    def probes(self, wanted: Wanted) -> tuple[list[int], list[int], list[int], list[int]]:
        """A batch for a peer: number of the lookup, pseudonym, first and last time; hashed before anything is timed."""
        found = [
            (number, pseudonym, low, high)
            for number, lookup in enumerate(wanted.rows())
            for pseudonym, low, high in self.hashed(*lookup)
        ]
        numbers, pseudonyms, low, high = zip(*found, strict=True)
        return list(numbers), signed(np.array(pseudonyms, np.uint64)).tolist(), list(low), list(high)


@cache
def lab(console: Console) -> Lab:
    """The lab of this process."""
    return Lab(console)


def _columns(index: Index, hits: Hits) -> tuple[I64, I64, U64]:
    """Of every match: the lookup, the time, and the codes of its trunks and profile."""
    return hits.search, index.ms_of(hits), (hits.word >> np.uint64(16)) & np.uint64(0xFFFFFFFF)


def _rows(hits: Hits, columns: tuple[I64, I64, U64]) -> list[tuple[int, int, int, int]]:
    """The same with trunks as the peers number them; not timed."""
    found = []
    for number, time, code, slot in zip(*(c.tolist() for c in columns), hits.slot.tolist(), strict=True):
        segment = hits.segments[slot]
        dictionary, bits = segment.dictionary(), segment.header.ingress_bits
        egress, _, _ = dictionary.profiles[code >> bits]
        ingress = dictionary.ingress[code & ((1 << bits) - 1)]
        found.append((number, time, _NUMBER[ingress], _NUMBER[dictionary.egress[egress]]))
    return sorted(found)


def _batch(console: Console, size: int) -> Figure:
    here, peer = lab(console), lab(console).postgresql
    index = here.index

    def ours(wanted: Wanted) -> tuple[float, Any]:
        start = perf_counter()
        hits = index.hits_many(wanted.called, wanted.low, wanted.high)
        columns = _columns(index, hits)
        return perf_counter() - start, (hits, columns)

    def theirs(probes: Any) -> tuple[float, Any]:
        start = perf_counter()
        rows = peer.find_many(probes)
        return perf_counter() - start, rows

    warm = here.calls.wanted(size, 0)
    probes = here.probes(warm)
    taken = {}
    for name, statement in peer.batch_statements():
        peer.batch_sql = statement
        taken[name] = min(theirs(probes)[0] for _ in range(3))
        ours(warm)
    faster = min(taken, key=lambda name: taken[name])
    peer.batch_sql = dict(peer.batch_statements())[faster]
    mine, other, ratios = [], [], []
    for run in range(1, RUNS + 1):
        times: tuple[list[float], list[float]] = [], []
        for part in range(max(1, 20_000 // size)):
            wanted = here.calls.wanted(size, 100 * run + part)
            probes = here.probes(wanted)
            for _ in range(2):  # the second time both have it in the caches
                seconds, found = ours(wanted)
                times[0].append(seconds)
                seconds, rows = theirs(probes)
                times[1].append(seconds)
            if _rows(*found) != sorted(rows):
                raise AssertionError(f"{peer.name} gives other answers")
        mine.append(statistics.median(times[0]))
        other.append(statistics.median(times[1]))
        ratios.append(other[-1] / mine[-1])
    ms, peer_ms = 1000 * statistics.median(mine), 1000 * statistics.median(other)
    what = f"PostgreSQL {peer.version}, covering b-tree, {faster}: {peer_ms:.2f} ms a batch, ours {ms:.3f} ms"
    return Figure(statistics.median(ratios), "times", what, tuple(ratios))


def batch_1000_vs_postgresql(console: Console) -> Figure:
    """How many times faster a batch of 1,000 lookups over 30 days is."""
    return _batch(console, 1000)


def batch_100000_vs_postgresql(console: Console) -> Figure:
    """How many times faster a batch of 100,000 lookups over 30 days is."""
    return _batch(console, 100_000)


def _single(console: Console, peer: Any, what: str) -> Figure:
    """p50 of a lookup, hashing included on both sides; the peer is asked through its fastest interface."""
    here = lab(console)
    index = here.index

    def theirs(called: int, low: int, high: int) -> list[Row]:
        return [row for probe in here.hashed(called, low, high) for row in peer.find(probe)]

    def p50(find: Callable[[int, int, int], Any], wanted: list[tuple[int, int, int]]) -> float:
        taken = []
        for called, low, high in wanted:
            start = perf_counter()
            find(called, low, high)
            taken.append(perf_counter() - start)
        return statistics.median(taken)

    mine, other, ratios = [], [], []
    for run in range(RUNS):
        wanted = here.calls.wanted(SINGLES, 10_000 + run).rows()
        for number, lookup in enumerate(wanted):
            if sorted(map(_row, index.hits(*lookup))) != sorted(theirs(*lookup)):
                raise AssertionError(f"{peer.name} gives another answer to lookup {number}")
        mine.append(min(p50(index.hits, wanted) for _ in range(2)))
        other.append(min(p50(theirs, wanted) for _ in range(2)))
        ratios.append(other[-1] / mine[-1])
    us, peer_us = 1e6 * statistics.median(mine), 1e6 * statistics.median(other)
    return Figure(statistics.median(ratios), "times", f"{what}: {peer_us:.2f} us, ours {us:.2f} us", tuple(ratios))


def _row(hit: Hit) -> Row:
    segment, place, ms, word = hit
    record = segment.record(place, word)
    return segment.header.day * DAY_MS + ms, _NUMBER[record.ingress], _NUMBER[record.egress]


def single_vs_postgresql(console: Console) -> Figure:
    """How many times faster one lookup is than PostgreSQL's prepared statement."""
    peer = lab(console).postgresql
    return _single(console, peer, f"PostgreSQL {peer.version}, prepared, covering b-tree, unix socket")


def single_vs_sqlite(console: Console) -> Figure:
    """How many times faster one lookup is than SQLite's."""
    peer = lab(console).sqlite
    return _single(console, peer, f"SQLite {peer.version}, WITHOUT ROWID, mapped")


def single_vs_lmdb(console: Console) -> Figure:
    """How many times faster one lookup is than LMDB's."""
    peer = lab(console).lmdb
    return _single(console, peer, f"LMDB {peer.version}, one cursor kept open")


def bytes_per_call(console: Console) -> Figure:
    """Bytes on disk for each call, all files of the index included."""
    here = lab(console)
    ours = size_of(here.directory) / SIZE
    some = Calls(min(SIZE, 3_000_000), translated=0.05)
    directory = here.work / "translated"
    write_index(directory, here.keys, some)
    translated = size_of(directory) / some.size
    shutil.rmtree(directory)
    peers: list[Any] = [here.postgresql, here.sqlite, here.lmdb, here.parquet]
    held = ", ".join(f"{peer.name} {peer.size() / SIZE:.1f}" for peer in peers)
    return Figure(ours, "bytes", f"{held}; with 5 % translated numbers ours {translated:.2f}", (ours,))
