"""What the mapping layer's tests share: a mapping from keywords, records from dictionaries, calls as dictionaries."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cdr_adapters.columns import ColumnMapper
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import RawBatch, string_batch
from cdr_adapters.schema import CALLS, Batch, RejectReason

T = "1795321360"  # 2026-11-22 04:22:40 UTC


def mapper(formats: TrunkFormats | None = None, **table: Any) -> ColumnMapper:
    """A mapper of `called` and `start` (epoch_s); more columns, or None instead of these, by `columns`."""
    columns = {"called_in": "called", "seizure": {"column": "start", "format": "epoch_s"}} | table.pop("columns", {})
    columns = {name: column for name, column in columns.items() if column is not None}
    source = SourceMapping.model_validate(
        {"name": "test", "path": "x", "format": "delimited", "columns": columns, **table}
    )
    return ColumnMapper(source, formats or TrunkFormats())


def records(*rows: dict[str, str | None], header: tuple[str, ...] | None = None) -> RawBatch:
    """Records as a reader yields them, numbered from 1."""
    names = dict.fromkeys(name for row in rows for name in row)
    table = string_batch({name: [row.get(name) for row in rows] for name in names}, len(rows))
    return RawBatch(table, pa.array(range(1, len(rows) + 1), pa.int64()), header=header)


def calls(batch: Batch) -> list[dict[str, Any]]:
    """The calls of a batch, after checking that it is in the canonical schema."""
    batch.calls.validate(full=True)
    assert batch.calls.schema == CALLS
    rows: list[dict[str, Any]] = batch.calls.to_pylist()
    return rows


def one(applied: ColumnMapper, **record: str | None) -> dict[str, Any]:
    """The one call that one record to a fictitious number becomes."""
    [row] = calls(applied.apply(records({"called": "2025550143", **record})))
    return row


def interval(row: dict[str, Any]) -> tuple[str, str]:
    """The seizure interval, as times of day."""
    return tuple(f"{row[name]:%H:%M:%S.%f}"[:-3] for name in ("seizure_earliest", "seizure_latest"))  # type: ignore[return-value]


def reasons(batch: Batch) -> list[tuple[int, RejectReason]]:
    """Rows and reasons of the rejects."""
    return [(reject.row, reject.reason) for reject in batch.rejected]
