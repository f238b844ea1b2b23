"""Lookups that find nothing in the page cache: how often the disk is read, and how long that takes.

Again and again the files are dropped from the page cache, and ours from the page tables of this process; what a peer
keeps in a cache of its own, such as the upper pages of its tree, it may keep. Each run begins with an empty one. Faults
are those that the kernel counts as read from disk.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from rich.console import Console

from agent.index import Index
from agent.index.layout import DAY_MS, SEGMENTS
from benchmarks.index import lab
from benchmarks.measure import Figure
from benchmarks.peers import PageCache, Row
from benchmarks.records import DAYS, FIRST_DAY, SIZE

LOOKUPS: Final = 200
TOGETHER: Final = 20
"""So many lookups lie between two emptyings of the cache, which itself costs, and hardly share a page."""
RUNS: Final = 5

_MADVISE = ctypes.CDLL(None, use_errno=True).madvise
_MADVISE.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def cold_faults_per_lookup(console: Console) -> Figure:
    """Page faults with disk reads for each lookup."""
    here = lab(console)
    sqlite, postgresql = here.sqlite, here.postgresql
    p50: dict[str, list[float]] = {"ours": [], sqlite.name: [], postgresql.name: []}
    faults = []

    def by(peer: Any) -> Callable[[int, int, int], Any]:
        def find(called: int, low: int, high: int) -> list[Row]:
            return [row for probe in here.hashed(called, low, high) for row in peer.find(probe)]

        return find

    for run in range(RUNS):
        wanted = here.calls.wanted(LOOKUPS, 50_000 + run).rows()
        index = Index.open(here.directory, here.keys)
        for day in range(FIRST_DAY, FIRST_DAY + DAYS):
            index.hits(1, day * DAY_MS, day * DAY_MS)  # the days' secrets are read once, and no part of a lookup
        cache = PageCache(here.directory / SEGMENTS)
        times, found, count = _times(index.hits, wanted, partial(_drop, cache))
        p50["ours"].append(statistics.median(times))
        faults.append(count / len(wanted))
        index.close()
        cache.close()
        sqlite.reopen(mapped=False)  # what is mapped can't be dropped
        cache = PageCache(sqlite.path)
        times, theirs, _ = _times(by(sqlite), wanted, cache.drop)
        _require(theirs, found)
        p50[sqlite.name].append(statistics.median(times))
        sqlite.reopen()
        cache.close()
        postgresql.stop()
        cache = PageCache(postgresql.directory)
        postgresql.start()
        postgresql.find((0, 0, 0))  # connected, and the statement prepared
        times, theirs, _ = _times(by(postgresql), wanted, cache.drop)
        _require(theirs, found)
        p50[postgresql.name].append(statistics.median(times))
        cache.close()
    what = ", ".join(f"{name} {1e6 * statistics.median(runs):,.0f} us" for name, runs in p50.items())
    return Figure(statistics.median(faults), "faults", f"p50 of a cold lookup among {SIZE:,}: {what}", tuple(faults))


def _times(
    find: Callable[[int, int, int], Any], wanted: list[tuple[int, int, int]], drop: Callable[[], None]
) -> tuple[list[float], list[int], int]:
    """Seconds of each lookup, how many rows it found, and the faults with disk reads of all."""
    times, found, faults = [], [], 0
    for number, lookup in enumerate(wanted):
        if number % TOGETHER == 0:
            drop()
        before = _faults()
        start = perf_counter()
        rows = find(*lookup)
        times.append(perf_counter() - start)
        faults += _faults() - before
        found.append(len(rows))
    return times, found, faults


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def _require(theirs: list[int], ours: list[int]) -> None:
    if theirs != ours or not any(ours):
        raise AssertionError("a peer finds another number of rows")


def _drop(cache: PageCache) -> None:
    """Take the segments out of the page tables of this process and out of the page cache."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(".seg"):
            begin, end = (int(address, 16) for address in line.split(" ", 1)[0].split("-"))
            if _MADVISE(begin, end - begin, mmap.MADV_DONTNEED):
                raise OSError(ctypes.get_errno(), "madvise")
    cache.drop()
