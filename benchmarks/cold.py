"""Lookups that find nothing in the page cache: how often the disk is read, and how long that takes.

Before each run the files are dropped from the page cache and from the processes' page tables; each lookup is of a call
of its own, so that hardly one finds what another brought. Faults are those that the kernel counted as read from disk.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from rich.console import Console

from agent.index import Index
from agent.index.layout import DAY_MS, SEGMENTS
from benchmarks.index import Lab, lab
from benchmarks.measure import Figure
from benchmarks.peers import forget
from benchmarks.records import DAYS, FIRST_DAY, SIZE

LOOKUPS: Final = 400
RUNS: Final = 5

_MADVISE = ctypes.CDLL(None, use_errno=True).madvise
_MADVISE.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def cold_faults_per_lookup(console: Console) -> Figure:
    """Page faults with disk reads for each lookup of a call that there is."""
    here = lab(console)
    sqlite, postgresql = here.sqlite, here.postgresql
    taken: dict[str, list[float]] = {"ours": [], sqlite.name: [], postgresql.name: []}
    faults = []

    def by(peer: Any) -> Callable[[int, int, int], Any]:
        return lambda called, low, high: [peer.find(probe) for probe in here.hashed(called, low, high)]

    for run in range(RUNS):
        wanted = here.calls.wanted(LOOKUPS, 50_000 + run).rows()
        index = Index.open(here.directory, here.keys)
        for day in range(FIRST_DAY, FIRST_DAY + DAYS):
            index.hits(1, day * DAY_MS, day * DAY_MS)  # the days' secrets are read once, and no part of a lookup
        _drop(here)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        times = _times(index.hits, wanted)
        faults.append((resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before) / len(wanted))
        taken["ours"].append(statistics.median(times))
        index.close()
        sqlite.reopen()
        taken[sqlite.name].append(statistics.median(_times(by(sqlite), wanted)))
        postgresql.stop()
        forget(postgresql.directory)
        postgresql.start()
        postgresql.find((0, 0, 0))  # connected, and the statement prepared
        taken[postgresql.name].append(statistics.median(_times(by(postgresql), wanted)))
    p50 = {name: f"{1e6 * statistics.median(runs):,.0f} us" for name, runs in taken.items()}
    what = ", ".join(f"{name} {value}" for name, value in p50.items())
    return Figure(statistics.median(faults), "faults", f"p50 of a cold lookup among {SIZE:,}: {what}", tuple(faults))


def _times(find: Callable[[int, int, int], Any], wanted: list[tuple[int, int, int]]) -> list[float]:
    times = []
    for lookup in wanted:
        start = perf_counter()
        find(*lookup)
        times.append(perf_counter() - start)
    return times


def _drop(here: Lab) -> None:
    """Take the segments out of the page tables of this process and out of the page cache."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(".seg"):
            begin, end = (int(address, 16) for address in line.split(" ", 1)[0].split("-"))
            if _MADVISE(begin, end - begin, mmap.MADV_DONTNEED):
                raise OSError(ctypes.get_errno(), "madvise")
    forget(here.directory / SEGMENTS)
