"""What a file of call records holds, told so that an engineer sees at a glance whether it was read right.

Counts and ranges only, in memory that does not grow with the file; of the calls themselves the first few. Numbers are
masked unless asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.schema import Batch, Rejected
from protos.e164 import masked

ROWS_SHOWN = 20
"""Row numbers that are kept for each reason of rejection."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = ("called_in", "called_out", "calling")
_PEERS = ("ingress_trunk", "ingress_address", "egress_trunk", "egress_address")
_MOST_PEERS = 1000


@dataclass(slots=True)
class Rejects:
    """The rejects of one reason and detail."""

    count: int = 0
    rows: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Inspection:
    """What was found.

    Attributes:
        calls: rows of the canonical table; `twice` of them are second readings of a local time that occurred twice.
        rejected: by reason and detail.
        earliest, latest: the ends of all seizure intervals.
        peers: for each of the trunk and address columns, how many calls each value has.
        filled: for each canonical column, in how many rows it has a value.
        sample: the first calls, as columns' text.
    """

    calls: int = 0
    twice: int = 0
    skipped: int = 0
    rejected: dict[tuple[str, str], Rejects] = field(default_factory=dict)
    earliest: datetime | None = None
    latest: datetime | None = None
    peers: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _PEERS})
    filled: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, Any]] = field(default_factory=list)

    @property
    def records(self) -> int:
        """How many records the file has."""
        return self.calls - self.twice + self.skipped + sum(rejects.count for rejects in self.rejected.values())

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "records": self.records,
            "calls": self.calls,
            "read_twice": self.twice,
            "skipped": self.skipped,
            "rejected": [
                {"reason": reason, "detail": detail, "count": rejects.count, "rows": rejects.rows}
                for (reason, detail), rejects in sorted(self.rejected.items())
            ],
            "earliest": _iso(self.earliest),
            "latest": _iso(self.latest),
            "peers": {name: dict(counts.most_common()) for name, counts in self.peers.items() if counts},
            "filled": {name: self.filled[name] for name in sorted(self.filled)},
            "sample": [{name: _plain(value) for name, value in call.items()} for call in self.sample],
        }


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    return _iso(value) if isinstance(value, datetime) else value


def inspect_batches(batches: Iterable[Batch], *, sample: int, show_numbers: bool) -> Inspection:
    """Go through all batches once; keep the first `sample` calls."""
    found = Inspection()
    for batch in batches:
        calls = batch.calls
        found.skipped += batch.skipped
        _count_rejects(found, batch.rejected)
        if not calls.num_rows:
            continue
        found.calls += calls.num_rows
        found.twice += _second_readings(calls)
        _widen(found, calls)
        for name in calls.schema.names:
            found.filled[name] += calls.num_rows - calls.column(name).null_count
        for name in _PEERS:
            _count_values(found.peers[name], calls.column(name))
        if len(found.sample) < sample:
            first = calls.slice(0, sample - len(found.sample)).to_pylist()
            found.sample += [_shown(call, show_numbers) for call in first]
    return found


def _count_rejects(found: Inspection, rejected: Iterable[Rejected]) -> None:
    for reject in rejected:
        entry = found.rejected.setdefault((reject.reason.value, reject.detail), Rejects())
        entry.count += 1
        if len(entry.rows) < ROWS_SHOWN:
            entry.rows.append(reject.row)


_LEAST_SHIFT_MS = 10 * 60 * 1000


def _second_readings(calls: pa.RecordBatch) -> int:
    """How many rows are the second reading of the row before: the same record, at a time moved by a change of clocks.

    The row number alone doesn't tell: a line of an SQL dump may hold many records.
    """
    if calls.num_rows < 2:
        return 0
    before, after = calls.slice(0, calls.num_rows - 1), calls.slice(1)
    same = pc.equal(before.column("row"), after.column("row"))
    if not same.true_count:
        return 0
    for name in ("called_in", "called_out", "calling", "call_id", "ingress_trunk", "egress_trunk"):
        one, other = (pc.fill_null(part.column(name), "") for part in (before, after))
        same = pc.and_(same, pc.equal(one, other))
    times = [part.column("seizure_earliest").cast(pa.int64()) for part in (before, after)]
    return int(pc.and_(same, pc.greater_equal(pc.subtract(times[1], times[0]), _LEAST_SHIFT_MS)).true_count)


def _widen(found: Inspection, calls: pa.RecordBatch) -> None:
    earliest = _EPOCH + timedelta(milliseconds=pc.min(calls.column("seizure_earliest").cast(pa.int64())).as_py())
    latest = _EPOCH + timedelta(milliseconds=pc.max(calls.column("seizure_latest").cast(pa.int64())).as_py())
    found.earliest = earliest if found.earliest is None else min(found.earliest, earliest)
    found.latest = latest if found.latest is None else max(found.latest, latest)


def _count_values(counts: Counter[str], values: pa.StringArray) -> None:
    for entry in pc.value_counts(values.drop_null()):
        value = entry["values"].as_py()
        if value in counts or len(counts) < _MOST_PEERS:
            counts[value] += entry["counts"].as_py()


def _shown(call: dict[str, Any], show_numbers: bool) -> dict[str, Any]:
    if not show_numbers:
        for name in _NUMBERS:
            if call[name] is not None:
                call[name] = masked(call[name])
    return call
