"""What a benchmark gives back, and how two things are timed so that neither profits from the moment."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One result.

    Attributes:
        value: the median over the runs, in `unit`.
        peer: what it was measured against, in words, with the peer's own figure.
        runs: the value of every run.
    """

    value: float
    unit: str
    peer: str
    runs: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self)


async def timed(action: Callable[[], Awaitable[object]], times: int) -> list[float]:
    """Seconds that each of `times` calls takes, one after the other."""
    taken = []
    for _ in range(times):
        start = perf_counter()
        await action()
        taken.append(perf_counter() - start)
    return taken


def ratio_of_medians(ours: list[list[float]], peers: list[list[float]], peer: str, unit: str) -> Figure:
    """Median of ours over median of the peer's, run by run; runs were taken alternately."""
    runs = tuple(statistics.median(a) / statistics.median(b) for a, b in zip(ours, peers, strict=True))
    pooled = statistics.median(time for run in peers for time in run)
    return Figure(statistics.median(runs), unit, f"{peer} (p50 {pooled * 1000:.3f} ms)", runs)
