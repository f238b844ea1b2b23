"""From a mapping and a table's columns to what must be asked of the database for a question. Pure.

A record counts by its seizure; where that isn't recorded by its answer, else by its release, each as far from the
seizure as a setup or a call may be long. So a table is searched by each called-number column and each time column that
may stand for the seizure. The rows that come back are a superset: the mapping layer decides what they mean.

Refused: a called number that is cut out of a column by a pattern or joined from several, unless `written` says how it
stands there; a column that the table doesn't have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from agent.index.layout import ceil_ms, floor_ms
from agent.index.reader import Query
from agent.stores.engine import Absent, Kind, Sought, Span, StoreColumn, Value
from agent.stores.errors import StoreSetupError
from agent.stores.spelling import BARE, in_all
from agent.stores.times import Axis, axis
from cdr_adapters.column_specs import CalledColumn, TimeColumn
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from protos.e164 import E164

_MS: Final = timedelta(milliseconds=1)
_ROUNDED: Final = 2000
"""How much a duration may be rounded, and then some, ms."""


@dataclass(frozen=True, slots=True)
class CalledKey:
    """A column by which called numbers are searched: how they are written there."""

    column: StoreColumn
    formats: tuple[str, ...]
    written: tuple[str, ...]

    def values(self, number: E164) -> tuple[Value, ...]:
        """All that may stand in the column for `number`, in the column's type."""
        texts = in_all(number, self.formats, self.written)
        if self.column.kind is Kind.TEXT:
            return texts
        # a number has no leading zero and no sign, so that "011..." can't be told in it
        whole = [int(text) for text in texts if text.isdigit() and text[0] != "0"]
        return tuple(whole if self.column.kind is Kind.INTEGER else map(Decimal, whole))


@dataclass(frozen=True, slots=True)
class TimeKey:
    """A time column by which rows are searched, and how far from the seizure it may lie.

    `before` and `after` in ms: rows with a time from `before` before the question's interval to `after` after it. Rows
    count only where the columns in `absent` hold no time.
    """

    axis: Axis
    before: int
    after: int
    absent: tuple[Absent, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a store is asked for, whatever the question.

    `select` are the columns that the mapping needs; `warnings` are what `check-config` says of the mapping.
    """

    select: tuple[StoreColumn, ...]
    called: tuple[CalledKey, ...]
    times: tuple[TimeKey, ...]
    warnings: tuple[str, ...]

    def sought(self, queries: Sequence[Query]) -> list[Sought]:
        """What to search for these questions: one entry for each pair of columns."""
        intervals = [(ceil_ms(query.earliest), floor_ms(query.latest)) for query in queries]
        found = []
        for key in self.called:
            numbers = [key.values(query.called) for query in queries]
            for time in self.times:
                spans = tuple(
                    Span(values, *time.axis.bounds(low - time.before, high + time.after))
                    for values, (low, high) in zip(numbers, intervals, strict=True)
                    if values
                )
                column = time.axis.column if time.axis.searchable else None
                if spans:
                    found.append(Sought(key.column, column, time.absent, spans))
        return found


def plan(
    mapping: SourceMapping,
    formats: TrunkFormats,
    written: Mapping[str, Sequence[str]],
    used: frozenset[str],
    columns: Mapping[str, StoreColumn],
) -> Plan:
    """What to ask a table for.

    Args:
        mapping: of the store. formats: called formats by trunk. written: templates, by canonical called column.
        used: source columns that the mapping needs. columns: what the table has.

    Raises:
        StoreSetupError: the table can't be searched as the mapping says.
    """
    store = mapping.name
    missing = sorted(name for name in used if name not in columns)
    if missing:
        raise StoreSetupError(
            store, f"the table has no column {', '.join(missing)}; it has: {', '.join(sorted(columns))}"
        )
    warnings: list[str] = []
    called = [
        key
        for name, by_trunk in (("called_in", formats.ingress), ("called_out", formats.egress))
        for key in _called(store, name, getattr(mapping.columns, name), by_trunk, written, columns)
    ]
    times = _times(mapping, columns, warnings)
    return Plan(tuple(columns[name] for name in sorted(used)), tuple(called), tuple(times), tuple(warnings))


def _called(
    store: str,
    name: str,
    spec: CalledColumn | None,
    by_trunk: Mapping[str, str],
    written: Mapping[str, Sequence[str]],
    columns: Mapping[str, StoreColumn],
) -> list[CalledKey]:
    if spec is None:
        return []
    if spec.join is not None and len(spec.column) > 1:
        raise StoreSetupError(
            store,
            f"columns.{name}: a number joined from several columns can't be searched by: add a generated column that "
            "holds all of it, with an index, and map that",
        )
    if spec.pattern and name not in written:
        raise StoreSetupError(
            store,
            f"columns.{name}: a number that a pattern cuts out can't be searched by: say in [stores.written] how it "
            f"stands in the column, such as {name} = ['sip:{{}}@203.0.113.5'], or map a column that holds it alone",
        )
    some = tuple(dict.fromkeys((*sorted(set(by_trunk.values())), "auto"))) if spec.format == "trunk" else (spec.format,)
    templates = tuple(written.get(name, BARE))
    keys = []
    for column in (columns[one] for one in spec.column):
        if column.kind not in (Kind.TEXT, Kind.INTEGER, Kind.NUMBER):
            raise StoreSetupError(
                store,
                f"columns.{name}: {column.name!r} is a {column.declared}; numbers are searched in texts or integers",
            )
        keys.append(CalledKey(column, some, templates))
    return keys


def _times(mapping: SourceMapping, columns: Mapping[str, StoreColumn], warnings: list[str]) -> list[TimeKey]:
    """The columns that may tell a row's seizure, in the order in which they do."""
    said = mapping.columns
    if said is None:
        raise StoreSetupError(mapping.name, "it has no columns")
    setup, call = mapping.max_setup // _MS, mapping.max_call // _MS
    far = call + setup + _ROUNDED
    # an answer and a release with the time since seizure may contradict each other: then all between them counts
    apart = far if said.release is not None and said.duration is not None else 0
    reach = {"seizure": (0, 0), "answer": (apart, max(setup, apart)), "release": (_ROUNDED, far)}
    found: list[TimeKey] = []
    absent: tuple[Absent, ...] = ()
    for name, (before, after) in reach.items():
        spec: TimeColumn | None = getattr(said, name)
        if spec is None:
            continue
        if spec.join is not None and len(spec.column) > 1:
            raise StoreSetupError(
                mapping.name,
                f"columns.{name}: a time joined from several columns can't be searched by: add a generated column that "
                "holds all of it, and map that",
            )
        for column in (columns[one] for one in spec.column):
            zone = ZoneInfo(mapping.zone) if mapping.zone else None
            there = axis(mapping.name, name, column, spec, zone, mapping.clock_offset // _MS)
            if spec.pattern:
                there = Axis(column, there.step, there.ahead, None, None, there.never, "a pattern cuts it out")
            if not there.searchable:
                warnings.append(
                    f"columns.{name}: {column.name!r} can't be searched by time ({there.why}): every lookup reads all "
                    "rows of the number; map a column whose order is that of time"
                )
            found.append(TimeKey(there, before, after, absent))
            if not column.nullable and column.kind in (Kind.INSTANT, Kind.LOCAL):
                return found  # every row has this time
            absent = (*absent, Absent(column, there.never))
    return found
