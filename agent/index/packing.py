"""From call legs, batch by batch, to segments of one source: runs of rows in memory, then on disk, then merged.

Memory holds two runs at most, the one that fills and the one that is being sorted and written, in a thread beside; a
run that is full becomes one segment for each of its days, under a hidden name and not yet durable. At the end the runs
of a day are merged. Nothing of this counts before the manifest says so.

Many small files share a run, so that they don't bring a segment each. The rows of a file are apart until it was read to
its end, and go without a trace when it could not be; so a run on disk is always of one file alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from agent.index.arena import Arena
from agent.index.build import contents
from agent.index.compaction import MOST_ROWS, merged
from agent.index.layout import DAY_MS, SEGMENTS, hidden
from agent.index.manifest import SegmentEntry
from agent.index.rows import Route, Routes, RowBuffer, Rows, rows_of
from agent.index.segment import Segment
from agent.index.segment_format import Content
from agent.index.writer import IndexWriter

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_RUN: Final = 500_000
"""Rows of a run, at about 250 bytes each at the worst moment."""


class FileRows:
    """What was packed of one file.

    Attributes:
        number: of the file. records: call legs in it; expired: those of them that were too old to be packed.
        earliest_ms, latest_ms: first and last possible seizure time of the others, None without any.
        days: the days on which they begin.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.records = 0
        self.expired = 0
        self.earliest_ms: int | None = None
        self.latest_ms: int | None = None
        self.days: set[int] = set()

    def take(self, rows: Rows) -> None:
        """Count rows in."""
        first, latest = int(rows.earliest.min()), int(rows.latest.max())
        self.earliest_ms = first if self.earliest_ms is None else min(first, self.earliest_ms)
        self.latest_ms = latest if self.latest_ms is None else max(latest, self.latest_ms)
        self.days.update(rows.days())


class Packer:
    """Packs the rows of files of one source. `finish` gives segments, `abandon` leaves nothing."""

    def __init__(
        self,
        writer: IndexWriter,
        source: str,
        first_day: int,
        rows_per_run: int = ROWS_PER_RUN,
        pool: ThreadPoolExecutor | None = None,
        *,
        together: bool = False,
    ) -> None:
        """Rows of days before `first_day` are left out. Runs are sorted and written in `pool`, of one thread; at once
        when there is none.

        `together` says that all files count or none: then a run on disk may be of several, and no file be dropped.
        """
        self._writer = writer
        self._source = source
        self._first_day = first_day
        self._rows_per_run = rows_per_run
        self._pool = pool
        self.together = together
        self._routes = Routes()
        self._filling, self._spare = RowBuffer(), RowBuffer()
        self._settled = 0  # rows of files that were ended; behind them are those of the present file
        self._file: FileRows | None = None
        self._days: dict[int, set[int]] = {}
        self._writing: Future[None] | None = None
        self._runs: list[SegmentEntry] = []

    @property
    def is_full(self) -> bool:
        """Whether what is in memory is enough for a run."""
        return len(self._filling) >= self._rows_per_run

    @property
    def has_runs(self) -> bool:
        """Whether some rows are on disk, or on their way there."""
        return bool(self._runs) or self._writing is not None

    def begin_file(self, number: int) -> FileRows:
        """The rows that come now are of this file."""
        self._file = FileRows(number)
        return self._file

    def add(self, calls: pa.RecordBatch) -> None:
        """Take in a batch of canonical call legs of the present file.

        Raises:
            AdapterContractError: the batch breaks the canonical schema.
        """
        file = self._present()
        file.records += calls.num_rows
        if calls.num_rows == 0:
            return
        rows = rows_of(calls, self._writer.keys, self._routes)
        kept = rows.earliest >= self._first_day * DAY_MS
        if not kept.all():
            file.expired += calls.num_rows - len(np.unique(rows.row[kept]))
            rows = rows.take(np.flatnonzero(kept))
        if len(rows):
            file.take(rows)
            self._filling.extend(rows)

    def _present(self) -> FileRows:
        if self._file is None:
            raise RuntimeError("begin a file first")
        return self._file

    def end_file(self) -> None:
        """The present file was read to its end."""
        file, self._file = self._present(), None
        for day in file.days:
            self._days.setdefault(day, set()).add(file.number)
        self._settled = len(self._filling)

    def drop_file(self) -> None:
        """The present file could not be read: forget its rows, those of runs too.

        Raises:
            OSError: the disk refuses to remove its runs; the next writer will.
        """
        if self.together:
            raise RuntimeError("these files count together, or none of them")
        self._file = None
        self._filling.cut(self._settled)
        self._discard_runs()

    def abandon(self) -> None:
        """Forget all rows.

        Raises:
            OSError: the disk refuses to remove what was written of them; the next writer will.
        """
        self._filling.cut(0)
        self._settled, self._days = 0, {}
        self._discard_runs()

    def _discard_runs(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None and not writing.cancel():
            writing.exception()
        runs, self._runs = self._runs, []
        self._writer.remove_written(runs)

    def spill(self) -> None:
        """Make a run of what is in memory of the present file; no rows of other files may be there.

        Raises:
            OSError: the disk refuses. DaySecretError: the secret of a day can't be read.
        """
        if self._settled and not self.together:
            raise RuntimeError("a run on disk is of one file: finish those that were ended first")
        self._collect()
        self._write(self._unfinished_day())

    def _unfinished_day(self) -> npt.NDArray[np.bool_] | None:
        """Which rows are of the last day, when they are few beside the others; None when there are none such.

        Most switches write calls in the order of time: the rest of that day is still to come, and in the next run it
        needs no merging with this one.
        """
        earliest = self._filling.rows().earliest
        last = earliest >= int(earliest.max()) // DAY_MS * DAY_MS
        return last if 2 * np.count_nonzero(last) <= len(last) else None

    def _write(self, but: npt.NDArray[np.bool_] | None) -> None:
        """Have a run made of what is in memory but these rows; the one before it is written."""
        rows = self._filling.rows()
        self._filling, self._spare = self._spare, self._filling
        self._filling.cut(0)
        self._settled = 0
        if but is not None and but.any():
            self._filling.extend(rows.take(np.flatnonzero(but)))
            rows = rows.take(np.flatnonzero(~but))
        routes = self._routes.all()
        if self._pool is not None:
            self._writing = self._pool.submit(self._written, rows, routes)
        else:
            self._written(rows, routes)

    def _written(self, rows: Rows, routes: list[Route]) -> None:
        secrets = self._writer.secrets
        for day in rows.days():
            secrets.create(day)
        for content in contents(rows, routes, self._source, secrets):
            self._runs.append(self._writer.write_hidden(content))
            if self._pool is not None:
                self._writer.settle(self._runs[-1])  # beside the reading: at the end somebody waits for it

    def _collect(self) -> None:
        """Wait for the run that is being written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def finish(self) -> tuple[SegmentEntry, ...]:
        """The segments of all files that were ended, durable under their names.

        Raises:
            OSError: the disk refuses. DaySecretError: the secret of a day can't be read.
        """
        self._collect()
        if self._settled:
            self._write(np.arange(len(self._filling)) >= self._settled)
            self._collect()
        days, self._days = self._days, {}
        for group in _mergeable(self._runs):
            whole = self._writer.write_hidden(self._merged(group))
            self._runs = [whole, *(entry for entry in self._runs if entry not in group)]
            self._writer.remove_written(group)
        self._runs.sort(key=lambda entry: entry.name)
        self._writer.show(self._runs)
        ready, self._runs = self._runs, []
        return tuple(replace(entry, files=tuple(sorted(days.get(entry.day, ())))) for entry in ready)

    def _merged(self, group: Sequence[SegmentEntry]) -> Content:
        arena = Arena(max(1 << 32, 2 * sum(entry.size for entry in group)))
        directory = self._writer.directory / SEGMENTS
        return merged(
            [Segment(hidden(directory / entry.name), entry, self._writer.secrets, arena) for entry in group],
            self._writer.secrets,
        )


def _mergeable(runs: Sequence[SegmentEntry]) -> list[list[SegmentEntry]]:
    """Runs of one day to be merged, as many at a time as memory has room for."""
    groups: list[list[SegmentEntry]] = []
    for entry in sorted(runs, key=lambda entry: (entry.day, entry.name)):
        last = groups[-1] if groups else []
        if last and last[0].day == entry.day and sum(other.rows for other in last) + entry.rows <= MOST_ROWS:
            last.append(entry)
        else:
            groups.append([entry])
    return [group for group in groups if len(group) > 1]
