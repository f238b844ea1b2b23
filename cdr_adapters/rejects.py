"""Which rows of a batch become no call legs, and why: the first reason found stays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.text_bytes import Mask


class Rejects:
    """The rejects of one batch; `mask` says which rows they are."""

    def __init__(self, rows: int) -> None:
        self.mask: Mask = np.zeros(rows, np.bool_)
        self._why: list[tuple[Mask, RejectReason, str]] = []

    def add(self, rows: Mask, reason: RejectReason, detail: str) -> None:
        """Reject these rows, unless they are already. `detail` names the column, never its value."""
        new = rows & ~self.mask
        if new.any():
            self.mask |= new
            self._why.append((new, reason, detail))

    def records(self, raw: pa.RecordBatch, rows: pa.Int64Array) -> tuple[Rejected, ...]:
        """The rejects in the order of the rows, each with the text of its columns."""
        reason_at = {int(at): (reason, detail) for mask, reason, detail in self._why for at in np.flatnonzero(mask)}
        order = sorted(reason_at)
        texts = raw.take(pa.array(order, pa.int64())).to_pylist()
        return tuple(
            Rejected(rows[at].as_py(), *reason_at[at], raw=_line(text)) for at, text in zip(order, texts, strict=True)
        )


def _line(fields: Mapping[str, str | None]) -> str:
    """A record's columns as one text, for the quarantine file."""
    return "\t".join(f"{name}={value}" for name, value in fields.items() if value)[:RAW_LIMIT]
