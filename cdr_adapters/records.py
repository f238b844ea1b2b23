"""Gathers records that come one at a time into batches of columns, for formats that are read record by record.

Fast where it matters: records are kept as they come, dicts or sequences of values, and turned into columns by pyarrow,
a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from cdr_adapters.raw import TEXT, RawBatch, string_batch
from cdr_adapters.schema import Rejected, RejectReason

BATCH_ROWS = 16384
RAW_LIMIT = 4096
"""How much of a broken record is kept aside, in characters."""

_BATCH_SIZE = 32 << 20
_WEIGHED = 16


class RecordBuffer:
    """Records, rejects and skipped lines until there are enough for a batch.

    With a `header`, all records have its columns and may come by position; it may be set later, before the first
    record. One buffer takes records either by name or by position.
    """

    def __init__(self, columns: frozenset[str] | None, header: tuple[str, ...] | None = None) -> None:
        self._columns = columns
        self.wanted: tuple[str, ...] = ()
        """The columns of the header that somebody wants, in its order."""
        self.header = header
        self._records: list[dict[str, str | None]] = []
        self._values: list[Sequence[str | None]] = []
        self._rows: list[int] = []
        self._rejected: list[Rejected] = []
        self._skipped = 0
        self._size = 0

    @property
    def header(self) -> tuple[str, ...] | None:
        """Every column that the source has, when all its records have the same ones."""
        return self._header

    @header.setter
    def header(self, header: tuple[str, ...] | None) -> None:
        self._header = header
        self.wanted = tuple(
            name for name in dict.fromkeys(header or ()) if self._columns is None or name in self._columns
        )

    def add(self, row: int, record: dict[str, str | None]) -> None:
        """One record, by column name."""
        self._rows.append(row)
        self._records.append(record)
        if not len(self._rows) % _WEIGHED:
            self._weigh(record.values())

    def add_values(self, row: int, values: Sequence[str | None]) -> None:
        """One record by position: a value for each of the `wanted` columns, no more and no less."""
        self._rows.append(row)
        self._values.append(values)
        if not len(self._rows) % _WEIGHED:
            self._weigh(values)

    def _weigh(self, values: Iterable[str | None]) -> None:
        """Records of many kilobytes make smaller batches; to weigh one of some is enough to see that."""
        self._size += _WEIGHED * sum(len(value) for value in values if value)

    def reject(self, row: int, detail: str, raw: str) -> None:
        """A record that can't be split into columns."""
        self._rejected.append(Rejected(row, RejectReason.MALFORMED_ROW, detail, raw[:RAW_LIMIT]))

    def skip(self, count: int = 1) -> None:
        """Lines that are no records."""
        self._skipped += count

    @property
    def full(self) -> bool:
        """Whether it is time to `take`."""
        return (
            len(self._rows) >= BATCH_ROWS
            or self._size >= _BATCH_SIZE
            or len(self._rejected) >= BATCH_ROWS
            or self._skipped >= 1 << 20
        )

    def take(self) -> RawBatch:
        """Everything so far as a batch; the buffer is empty afterwards."""
        if self._values:
            columns = columns_of_values(self._values, self.wanted)
        elif self._header is not None:
            columns = columns_of_records(self._records, self.wanted)
        elif self._columns is not None:
            columns = columns_of_records(self._records, sorted(self._columns))
        else:
            names = dict.fromkeys(name for record in self._records for name in record)
            columns = columns_of_records(self._records, list(names))
        batch = RawBatch(
            string_batch(columns, len(self._rows)),
            pa.array(self._rows, pa.int64()),
            tuple(self._rejected),
            self._skipped,
            self.header,
        )
        self._records, self._values, self._rows, self._rejected, self._skipped = [], [], [], [], 0
        self._size = 0
        return batch

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not (self._rows or self._rejected or self._skipped)


def columns_of_values(
    records: Sequence[Sequence[str | None]], names: Sequence[str]
) -> dict[str, list[str | None] | pa.Array]:
    """The columns of records by position, each of which has a value for every name."""
    return {name: pa.array(values, TEXT) for name, values in zip(names, zip(*records, strict=True), strict=True)}


def columns_of_records(
    records: Sequence[dict[str, str | None]], names: Sequence[str]
) -> dict[str, list[str | None] | pa.Array]:
    """The columns `names` of records by name; null where a record has no such field.

    Raises:
        pyarrow.ArrowException, UnicodeEncodeError: a value is no text.
    """
    if not names or not records:
        return {name: [] for name in names}
    fields = pa.array(records, pa.struct([pa.field(name, TEXT) for name in names]))
    return dict(zip(names, fields.flatten(), strict=True))


def batches(buffer: RecordBuffer, steps: Callable[[], Iterator[None]]) -> Iterator[RawBatch]:
    """Run a reader that fills `buffer`, one step at a time, and yield a batch whenever it is full."""
    for _ in steps():
        if buffer.full:
            yield buffer.take()
    if not buffer.empty or buffer.header is not None:
        yield buffer.take()
