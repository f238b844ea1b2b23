"""Gathers records that come one at a time into batches of columns, for formats that are read line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa

from cdr_adapters.raw import RawBatch, string_batch
from cdr_adapters.schema import Rejected, RejectReason

BATCH_ROWS = 16384
RAW_LIMIT = 4096
"""How much of a broken record is kept aside, in characters."""


class RecordBuffer:
    """Records, rejects and skipped lines until there are enough for a batch."""

    def __init__(self, columns: frozenset[str] | None, header: tuple[str, ...] | None = None) -> None:
        self._columns = columns
        self.header = header
        self._records: list[Mapping[str, str | None]] = []
        self._rows: list[int] = []
        self._rejected: list[Rejected] = []
        self._skipped = 0

    def add(self, row: int, record: Mapping[str, str | None]) -> None:
        """One record, by column name."""
        self._rows.append(row)
        self._records.append(record)

    def reject(self, row: int, detail: str, raw: str) -> None:
        """A record that can't be split into columns."""
        self._rejected.append(Rejected(row, RejectReason.MALFORMED_ROW, detail, raw[:RAW_LIMIT]))

    def skip(self) -> None:
        """A line that is no record."""
        self._skipped += 1

    @property
    def full(self) -> bool:
        """Whether it is time to `take`."""
        return len(self._records) >= BATCH_ROWS or len(self._rejected) >= BATCH_ROWS or self._skipped >= 1 << 20

    def take(self) -> RawBatch:
        """Everything so far as a batch; the buffer is empty afterwards."""
        if self._columns is not None:
            names = sorted(self._columns if self.header is None else self._columns.intersection(self.header))
        elif self.header is not None:
            names = list(self.header)
        else:
            names = list(dict.fromkeys(name for record in self._records for name in record))
        columns: dict[str, list[str | None] | pa.Array] = {
            name: [record.get(name) for record in self._records] for name in names
        }
        batch = RawBatch(
            string_batch(columns, len(self._rows)),
            pa.array(self._rows, pa.int64()),
            tuple(self._rejected),
            self._skipped,
            self.header,
        )
        self._records, self._rows, self._rejected, self._skipped = [], [], [], 0
        return batch

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not (self._records or self._rejected or self._skipped)


def batches(buffer: RecordBuffer, steps: Callable[[], Iterator[None]]) -> Iterator[RawBatch]:
    """Run a reader that fills `buffer`, one step at a time, and yield a batch whenever it is full."""
    for _ in steps():
        if buffer.full:
            yield buffer.take()
    if not buffer.empty or buffer.header is not None:
        yield buffer.take()
