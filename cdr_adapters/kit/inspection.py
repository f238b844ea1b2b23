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

from cdr_adapters.columns import ColumnMapper
from cdr_adapters.kit.number_forms import FormCounter
from cdr_adapters.kit.ports import Side, Trunks
from cdr_adapters.raw import RawBatch
from cdr_adapters.schema import CALLS, Batch, Rejected
from protos.e164 import masked

ROWS_SHOWN = 20
"""Row numbers that are kept for each reason of rejection."""
FORMS_OF = 1_000_000
"""Of so many records the forms of numbers are counted; it takes longer than all the rest."""

NUMBERS = ("called_in", "called_out", "calling")
_PEERS = ("ingress_trunk", "ingress_address", "egress_trunk", "egress_address")
_TIMES = ("seizure_earliest", "seizure_latest", "answer", "release")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_PEERS = 1000


@dataclass(slots=True)
class Rejects:
    """The rejects of one reason and detail."""

    count: int = 0
    rows: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Route:
    """How many calls came in (went out) by one trunk and address, and when: the trunk map is dated."""

    calls: int
    earliest: datetime
    latest: datetime


@dataclass(slots=True)
class Inspection:
    """What was found.

    Attributes:
        calls: rows of the canonical table; `twice` of them are second readings of a local time that occurred twice.
        rejected: by reason and detail.
        earliest, latest: the ends of all seizure intervals; `future`: calls whose seizure lies after `now`.
        widest: the longest seizure interval: how much the records leave open of when a call was set up.
        answered_early: calls whose answer lies before their seizure.
        peers: for each of the trunk and address columns, how many calls each value has.
        routes: for each side, the pairs of trunk and address.
        filled: for each canonical column, in how many rows it has a value.
        forms: for each number column, how its numbers are written.
        dominating: the called number of more than a third of all calls, if there is one, and of how many at least.
        sample: the first calls, as columns' text.
    """

    now: datetime
    calls: int = 0
    twice: int = 0
    skipped: int = 0
    rejected: dict[tuple[str, str], Rejects] = field(default_factory=dict)
    earliest: datetime | None = None
    latest: datetime | None = None
    widest: timedelta = timedelta(0)
    future: int = 0
    answered_early: int = 0
    peers: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _PEERS})
    routes: dict[Side, dict[tuple[str | None, str | None], Route]] = field(
        default_factory=lambda: {"ingress": {}, "egress": {}}
    )
    filled: Counter[str] = field(default_factory=Counter)
    forms: dict[str, FormCounter] = field(default_factory=lambda: {name: FormCounter() for name in NUMBERS})
    forms_of: int = 0
    sample: list[dict[str, Any]] = field(default_factory=list)
    _candidates: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """How many records the file has."""
        return self.calls - self.twice + self.skipped + self.rejects

    @property
    def rejects(self) -> int:
        """How many records could not be read."""
        return sum(rejects.count for rejects in self.rejected.values())

    @property
    def dominating(self) -> tuple[str, int] | None:
        """The called number that more than a third of all calls have, and at least how many have it."""
        if not self._candidates:
            return None
        number, count = self._candidates.most_common(1)[0]
        return (number, count) if count * 3 > self.calls else None

    def unmapped(self, trunks: Trunks) -> dict[Side, list[tuple[str | None, str | None, int]]]:
        """Trunks and addresses that the map can't place at some time of their calls, most calls first."""
        lacking: dict[Side, list[tuple[str | None, str | None, int]]] = {"ingress": [], "egress": []}
        for side, routes in self.routes.items():
            for (trunk, address), route in sorted(routes.items(), key=lambda item: -item[1].calls):
                if not all(trunks.knows(side, trunk, address, at) for at in (route.earliest, route.latest)):
                    lacking[side].append((trunk, address, route.calls))
        return lacking

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
            "earliest": iso(self.earliest),
            "latest": iso(self.latest),
            "widest_seizure_s": self.widest.total_seconds(),
            "peers": {name: dict(counts.most_common()) for name, counts in self.peers.items() if counts},
            "number_formats": {name: dict(c.counts.most_common()) for name, c in self.forms.items() if c.counts},
            "filled": {name: self.filled[name] for name in sorted(self.filled)},
            "sample": [{name: _plain(value) for name, value in call.items()} for call in self.sample],
        }


def iso(time: datetime | None) -> str | None:
    """A moment in UTC, to the millisecond."""
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value


class Inspector:
    """Goes through batches once and gathers what they hold; the first `sample` calls are kept."""

    def __init__(self, *, now: datetime, sample: int, show_numbers: bool) -> None:
        self.found = Inspection(now)
        self._sample = sample
        self._show_numbers = show_numbers

    def add_raw(self, raw: RawBatch, mapper: ColumnMapper) -> None:
        """Count in which forms the numbers are written that `raw` brings."""
        found = self.found
        if found.forms_of >= FORMS_OF:
            return
        records = mapper.chosen(raw.columns)
        found.forms_of += records.num_rows
        for name in NUMBERS:
            written = mapper.texts(records, name)
            if written is not None:
                counts = pc.value_counts(written)
                found.forms[name].add((entry["values"].as_py(), entry["counts"].as_py()) for entry in counts)

    def add(self, batch: Batch) -> None:
        """Count what the mapping made of a batch."""
        found, calls = self.found, batch.calls
        found.skipped += batch.skipped
        _count_rejects(found, batch.rejected)
        if not calls.num_rows:
            return
        found.calls += calls.num_rows
        found.twice += _second_readings(calls)
        _time(found, calls)
        for name in calls.schema.names:
            found.filled[name] += calls.num_rows - calls.column(name).null_count
        for name in _PEERS:
            _count_values(found.peers[name], calls.column(name))
        _count_routes(found, calls)
        _weigh_numbers(found, calls)
        if len(found.sample) < self._sample:
            first = calls.slice(0, self._sample - len(found.sample)).to_pylist()
            found.sample += [_shown(call, self._show_numbers) for call in first]


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
    for name in CALLS.names:
        if name not in ("row", *_TIMES):
            one, other = (pc.fill_null(part.column(name), "") for part in (before, after))
            same = pc.and_(same, pc.equal(one, other))
    times = [part.column("seizure_earliest").cast(pa.int64()) for part in (before, after)]
    return int(pc.and_(same, pc.greater_equal(pc.subtract(times[1], times[0]), _LEAST_SHIFT_MS)).true_count)


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _time(found: Inspection, calls: pa.RecordBatch) -> None:
    first, last = (calls.column(name).cast(pa.int64()) for name in ("seizure_earliest", "seizure_latest"))
    earliest, latest = _moment(pc.min(first).as_py()), _moment(pc.max(last).as_py())
    found.earliest = earliest if found.earliest is None else min(found.earliest, earliest)
    found.latest = latest if found.latest is None else max(found.latest, latest)
    found.widest = max(found.widest, timedelta(milliseconds=pc.max(pc.subtract(last, first)).as_py()))
    if latest > found.now:
        now = (found.now - _EPOCH) // timedelta(milliseconds=1)
        found.future += int(pc.greater(first, now).true_count)
    answer = calls.column("answer").cast(pa.int64())
    found.answered_early += int(pc.less(answer, first).true_count)


def _count_values(counts: Counter[str], values: pa.StringArray) -> None:
    for entry in pc.value_counts(values.drop_null()):
        value = entry["values"].as_py()
        if value in counts or len(counts) < _MOST_PEERS:
            counts[value] += entry["counts"].as_py()


def _count_routes(found: Inspection, calls: pa.RecordBatch) -> None:
    table = pa.Table.from_batches([calls])
    sides: tuple[Side, ...] = ("ingress", "egress")
    for side in sides:
        names = [f"{side}_trunk", f"{side}_address"]
        grouped = table.select([*names, "row", "seizure_earliest", "seizure_latest"]).group_by(names)
        routes = found.routes[side]
        for entry in grouped.aggregate(
            [("row", "count"), ("seizure_earliest", "min"), ("seizure_latest", "max")]
        ).to_pylist():
            key = (entry[names[0]], entry[names[1]])
            if key == (None, None):
                continue
            route = routes.get(key)
            if route is None:
                if len(routes) < _MOST_PEERS:
                    routes[key] = Route(entry["row_count"], entry["seizure_earliest_min"], entry["seizure_latest_max"])
                continue
            route.calls += entry["row_count"]
            route.earliest = min(route.earliest, entry["seizure_earliest_min"])
            route.latest = max(route.latest, entry["seizure_latest_max"])


_CANDIDATES = 16


def _weigh_numbers(found: Inspection, calls: pa.RecordBatch) -> None:
    """Keep those that can still be the most frequent number (Misra and Gries): counts are lower bounds."""
    counts = pc.value_counts(pc.coalesce(calls.column("called_in"), calls.column("called_out")))
    order = pc.array_sort_indices(counts.field("counts"), order="descending")[:_CANDIDATES]
    for entry in counts.take(order):
        found._candidates[entry["values"].as_py()] += entry["counts"].as_py()
    if len(found._candidates) > _CANDIDATES:
        ranked = found._candidates.most_common()
        less = ranked[_CANDIDATES][1]
        found._candidates = Counter({number: count - less for number, count in ranked if count > less})


def _shown(call: dict[str, Any], show_numbers: bool) -> dict[str, Any]:
    if not show_numbers:
        for name in NUMBERS:
            if call[name] is not None:
                call[name] = masked(call[name])
    return call
