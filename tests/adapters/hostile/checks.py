"""What must hold of whatever comes of a file: canonical calls with right numbers and times, rejects with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cdr_adapters import registry
from cdr_adapters.archives import members
from cdr_adapters.raw import RawBatch
from cdr_adapters.read import read_source
from cdr_adapters.schema import CALLS, Batch, RejectReason
from hopback.testing.reading import check_call, check_raw
from tests.adapters.hostile.seeds import Seed

_LONGEST_DETAIL = 2000
_LOOKED_AT = 2000
"""Calls of a batch that are looked at one by one; the schema is checked for all."""
_LONGEST_RAW = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many calls, rejects and skipped records a file gave."""

    calls: int = 0
    rejected: int = 0
    skipped: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.calls + other.calls, self.rejected + other.rejected, self.skipped + other.skipped)

    @property
    def records(self) -> int:
        return self.calls + self.rejected + self.skipped


def checked(batches: Iterable[Batch]) -> Outcome:
    """Go through all batches and check each.

    Raises:
        AssertionError: something that must hold doesn't. AdapterError: what the reading raised.
    """
    total = Outcome()
    for batch in batches:
        batch.calls.validate(full=True)
        assert batch.calls.schema == CALLS
        for call in batch.calls.slice(0, _LOOKED_AT).to_pylist():
            check_call(call)
        for reject in batch.rejected:
            assert isinstance(reject.reason, RejectReason)
            assert reject.detail.isprintable(), "a reason goes to logs and screens"
            assert len(reject.detail) <= _LONGEST_DETAIL
            assert len(reject.raw) <= _LONGEST_RAW
        assert batch.skipped >= 0
        total += Outcome(batch.calls.num_rows, len(batch.rejected), batch.skipped)
    return total


def raw_records(path: Path, seed: Seed) -> int:
    """How many records the reader of a format finds in a file, those that it rejects or skips among them.

    Raises:
        AssertionError: something that must hold of a reader's batches doesn't. AdapterError: it can't be read.
    """
    mapping = registry.completed(seed.mapping)
    adapter = registry.adapter(seed.format)
    count = 0
    with closing(members(path)) as files:
        for file in files:
            for batch in adapter.read(file, mapping.options, None):
                check_raw(batch)
                count += _records(batch)
    return count


def _records(batch: RawBatch) -> int:
    return int(batch.columns.num_rows) + len(batch.rejected) + batch.skipped


def read_in_process(path: Path, seed: Seed) -> Outcome:
    """Read a file to its end, and check what comes.

    Raises:
        AssertionError: something that must hold doesn't. AdapterError: the file can't be read.
    """
    return checked(read_source(path, seed.mapping, seed.formats))
