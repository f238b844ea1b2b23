"""What the readers' tests share: a file, its format and options, and the rows that come of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected

Row = tuple[int, dict[str, str | None]]


def raw_rows(
    path: Path, name: str, options: dict[str, Any] | None = None, columns: frozenset[str] | None = None
) -> tuple[list[Row], list[Rejected], int]:
    """All records with their row numbers, all rejects, and how many lines were skipped."""
    rows: list[Row] = []
    rejected: list[Rejected] = []
    skipped = 0
    for batch in adapter(name).read(path, options or {}, columns):
        batch.columns.validate(full=True)
        assert len(batch.rows) == batch.columns.num_rows
        rows += zip(batch.rows.to_pylist(), batch.columns.to_pylist(), strict=True)
        rejected += batch.rejected
        skipped += batch.skipped
    return rows, rejected, skipped


@contextmanager
def memory_peak_below(limit: int) -> Iterator[None]:
    """Fails when Python objects took more than `limit` bytes at a time within the block."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak:,} bytes"


def written(directory: Path, content: str | bytes, name: str = "records") -> Path:
    """A file with this content."""
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
