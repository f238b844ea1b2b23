"""Synthetic calls of thirty days, the same in every run, and an index of them as the agent writes it.

One call in twenty goes to one of a thousand popular numbers, as in a real network, where a campaign and a call centre
share the tables with everybody else. Numbers are those of nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from agent.index.build import contents
from agent.index.keys import I64, U64, Keys
from agent.index.layout import DAY_MS, floor_ms
from agent.index.manifest import Commit, FileEntry
from agent.index.rows import DISPOSITION_SHIFT, Route, Rows
from agent.index.writer import IndexWriter

SIZE: Final = int(os.environ.get("SIZE") or 10_000_000)
"""How many calls; 100 million with SIZE=100000000."""
DAYS: Final = 30
START: Final = datetime(2026, 6, 1, tzinfo=UTC)
FIRST_DAY: Final = floor_ms(START) // DAY_MS
SOURCE: Final = "switch"
INGRESS, EGRESS = 400, 300
WINDOW_MS: Final = 60_000

ROUTES: list[Route] = [(None, None)]
ROUTES += [(f"IN{n:03d}", f"192.0.2.{n % 250}") for n in range(INGRESS)]
ROUTES += [(f"OUT{n:03d}", f"198.51.100.{n % 250}") for n in range(EGRESS)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Lookups as columns: called number, and the interval in which the seizure lies, ms since 1970."""

    called: U64
    low: I64
    high: I64

    def __len__(self) -> int:
        return len(self.called)

    def rows(self) -> list[tuple[int, int, int]]:
        """One by one."""
        return list(zip(self.called.tolist(), self.low.tolist(), self.high.tolist(), strict=True))


class Calls:
    """The calls of thirty days, made day by day."""

    def __init__(self, size: int, translated: float = 0.0) -> None:
        self.size = size
        self._translated = translated
        random = np.random.default_rng(2026)
        self._numbers = random.integers(12_000_000_000, 20_000_000_000, max(size // 5, 10), np.uint64)
        self._popular = random.integers(12_000_000_000, 20_000_000_000, 1000, np.uint64)

    def days(self) -> Iterator[tuple[int, Rows]]:
        """Each day and its rows."""
        for number in range(DAYS):
            yield FIRST_DAY + number, self.day(number)

    def day(self, number: int) -> Rows:
        """The rows of one day, from 0."""
        random = np.random.default_rng((7, number))
        count = self.size * (number + 1) // DAYS - self.size * number // DAYS
        called = self._numbers[random.integers(0, len(self._numbers), count)]
        popular = np.flatnonzero(random.random(count) < 0.05)
        called[popular] = self._popular[random.integers(0, 1000, len(popular))]
        earliest = random.integers(0, DAY_MS, count) + (FIRST_DAY + number) * DAY_MS
        disposition = random.integers(1, 4, count).astype(np.uint8)
        rows = Rows(
            called=called,
            came_in=np.zeros(count, np.uint64),
            earliest=earliest,
            latest=earliest,
            calling=self._numbers[random.integers(0, len(self._numbers), count)],
            call_ref=random.integers(1, 2**63, count).astype(np.uint64),
            ingress=random.integers(1, INGRESS + 1, count).astype(np.uint32),
            egress=random.integers(INGRESS + 1, INGRESS + EGRESS + 1, count).astype(np.uint32),
            flags=disposition << np.uint8(DISPOSITION_SHIFT),
            row=np.arange(count).astype(np.uint64),
        )
        return rows if not self._translated else self._with_translated(rows, random)

    def _with_translated(self, rows: Rows, random: np.random.Generator) -> Rows:
        from agent.index.rows import FORM_IN, TRANSLATED, concatenate

        chosen = np.flatnonzero(random.random(len(rows)) < self._translated)
        came_in = rows.take(chosen)
        came_in.called[:] = 18_000_000_000 + random.integers(0, 9_000_000, len(chosen)).astype(np.uint64)
        came_in.flags[:] |= FORM_IN
        rows.came_in[chosen] = came_in.called
        rows.flags[chosen] |= TRANSLATED
        return concatenate([rows, came_in])

    def wanted(self, count: int, seed: int) -> Wanted:
        """Lookups over all days: seven in ten are of calls that there are, the others of any number."""
        random = np.random.default_rng((11, seed))
        day = np.sort(random.integers(0, DAYS, count))
        called, at = np.empty(count, np.uint64), np.empty(count, np.int64)
        for number in np.unique(day).tolist():
            rows, some = self._sample(number), np.flatnonzero(day == number)
            chosen = random.integers(0, len(rows[0]), len(some))
            called[some], at[some] = rows[0][chosen], rows[1][chosen]
        absent = np.flatnonzero(random.random(count) > 0.7)
        called[absent] = random.integers(12_000_000_000, 20_000_000_000, len(absent), np.uint64)
        order = random.permutation(count)
        return Wanted(called[order], at[order] - WINDOW_MS, at[order] + WINDOW_MS)

    def _sample(self, number: int) -> tuple[U64, I64]:
        if not hasattr(self, "_samples"):
            self._samples: dict[int, tuple[U64, I64]] = {}
        if number not in self._samples:
            rows = self.day(number)
            self._samples[number] = rows.called[:100_000].copy(), rows.earliest[:100_000].copy()
        return self._samples[number]


def write_index(directory: Path, keys: Keys, calls: Calls) -> None:
    """An index of the calls, a segment a day, as after compaction."""
    with IndexWriter(directory, keys) as writer:
        entries = []
        for day, rows in calls.days():
            writer.secrets.create(day)
            entries += [writer.write_hidden(content, [1]) for content in contents(rows, ROUTES, SOURCE, writer.secrets)]
        writer.show(entries)
        file = FileEntry(
            number=1,
            source=SOURCE,
            file="calls",
            size=calls.size,
            content="calls",
            mapping="none",
            indexed_ms=(FIRST_DAY + DAYS) * DAY_MS,
            records=calls.size,
            earliest_ms=FIRST_DAY * DAY_MS,
            latest_ms=(FIRST_DAY + DAYS) * DAY_MS - 1,
        )
        writer.commit(Commit(add_files=(file,), add_segments=tuple(entries)))
