"""`python -m benchmarks.growth [SIZE...]`: how lookups, memory and opening grow with the number of calls.

An index of its own for each size, asked by a process of its own, so that memory is that of this index alone. Lookups
are drawn over all thirty days; what is printed is the median of several runs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Final

from rich.console import Console
from rich.table import Table

from agent.index import Index
from agent.index.keys import Keys
from benchmarks.index import ROOT
from benchmarks.peers import size_of
from benchmarks.records import Calls, write_index

SIZES: Final = (1_000_000, 10_000_000, 100_000_000)
RUNS: Final = 5


def main() -> None:
    """Build, ask and print, one size after the other."""
    if sys.argv[1:2] == ["--ask"]:
        print(*_ask(Path(sys.argv[2]), int(sys.argv[3])))
        return
    sizes = [int(text) for text in sys.argv[1:]] or SIZES
    table = Table("calls", "bytes a call", "opened in", "one lookup", "1,000 together", "100,000 together", "memory")
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="hopback-bench-") as name:
            directory = Path(name) / "index"
            write_index(directory, Keys.from_root(ROOT), Calls(size))
            held = size_of(directory) / size
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.growth", "--ask", str(directory), str(size)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        opened, one, some, many, memory = map(float, done.stdout.split())
        table.add_row(
            f"{size:,}",
            f"{held:.2f}",
            f"{opened * 1e3:.0f} ms",
            f"{one * 1e6:.2f} us",
            f"{some * 1e3:.3f} ms",
            f"{many * 1e3:.1f} ms",
            f"{memory:.0f} MB",
        )
    Console().print(table)


def _ask(directory: Path, size: int) -> tuple[float, ...]:
    """Seconds to open, of one lookup, of 1,000 and of 100,000 together; and memory for the directories, in MB."""
    before = _own_memory()
    start = perf_counter()
    index = Index.open(directory, Keys.from_root(ROOT))
    opened = perf_counter() - start
    memory = _own_memory() - before
    index.verify()
    calls = Calls(size)
    ones, batches = [], {1000: list[float](), 100_000: list[float]()}
    for run in range(RUNS):
        taken = []
        for called, low, high in calls.wanted(4000, run).rows():
            start = perf_counter()
            index.hits(called, low, high)
            taken.append(perf_counter() - start)
        ones.append(statistics.median(taken))
        for count, times in batches.items():
            for part in range(1 + 10_000 // count):
                wanted = calls.wanted(count, 100 * run + part)
                start = perf_counter()
                index.hits_many(wanted.called, wanted.low, wanted.high)
                times.append(perf_counter() - start)
    return opened, statistics.median(ones), *(statistics.median(times) for times in batches.values()), memory


def _own_memory() -> float:
    """Resident memory in MB without what is mapped from files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024


if __name__ == "__main__":
    main()
