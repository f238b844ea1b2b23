"""From columns of text to the canonical schema: one source's mapping, applied to whole batches.

Every record ends as a call leg (two for a local time that occurred twice), as a reject with row and reason, or as
skipped by the mapping's `where`; nothing else happens to a record. A reject's detail names the column, never its value.
Null in the canonical table always means that the source did not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.addresses import canonical_address
from cdr_adapters.mapping import (
    CalledColumn,
    Columns,
    ColumnSpec,
    DispositionColumn,
    SourceMapping,
    TimeColumn,
    TrunkFormats,
)
from cdr_adapters.numbers import normalise
from cdr_adapters.raw import AdapterError, RawBatch
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import CALLS, Batch, Rejected, RejectReason
from cdr_adapters.time_columns import read_times
from cdr_adapters.times import Status
from cdr_adapters.trunk_formats import FormatOf, normalise_by_trunk

_MS = timedelta(milliseconds=1)
_TEXT = pa.string()
_NULL = pa.nulls(1, _TEXT)[0]  # pa.scalar would import pandas

Mask: TypeAlias = npt.NDArray[np.bool_]
Milliseconds: TypeAlias = npt.NDArray[np.int64]

_TIME_REJECTS = {
    Status.WRONG_FORMAT: (RejectReason.BAD_TIME, "is not in the format {format!r}"),
    Status.OUT_OF_RANGE: (RejectReason.BAD_TIME, "is outside 1990 to 2100 when read as {format!r}: check the unit"),
    Status.NO_ZONE: (RejectReason.BAD_TIME, "has no zone, and the source has none: set zone"),
    Status.UNKNOWN_ABBREVIATION: (
        RejectReason.BAD_TIME,
        "has a zone abbreviation that the zone doesn't use then: set abbreviations",
    ),
    Status.SKIPPED: (RejectReason.TIME_SKIPPED_BY_DST, "lies in the hour that the zone's clocks skipped"),
}


class _Rejects:
    """Which rows of a batch are rejected and why; the first reason stays."""

    def __init__(self, rows: int) -> None:
        self.mask: Mask = np.zeros(rows, np.bool_)
        self._why: list[tuple[Mask, RejectReason, str]] = []

    def add(self, rows: Mask, reason: RejectReason, detail: str) -> None:
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


def _some(mask: pa.BooleanArray) -> Mask:
    result: Mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return result


def _without_blanks(values: pa.StringArray) -> pa.StringArray:
    blank = pc.equal(values, "")
    return pc.if_else(blank, _NULL, values) if blank.true_count else values


@dataclass(frozen=True, slots=True)
class _Seizure:
    earliest: Milliseconds
    latest: Milliseconds
    again_earliest: Milliseconds
    again_latest: Milliseconds
    repeated: Mask


class ColumnMapper:
    """One source's mapping, ready to be applied.

    Raises:
        AdapterError: a pattern that the vectorised engine (RE2) doesn't know, such as one with a lookahead.
    """

    def __init__(self, mapping: SourceMapping, columns: Columns, formats: TrunkFormats) -> None:
        self._source = mapping.name
        self._columns = columns
        self._where = {name: _Condition.of(wanted) for name, wanted in mapping.where.items()}
        self._zone = ZoneInfo(mapping.zone) if mapping.zone else None
        self._offset = mapping.clock_offset // _MS
        self._max_setup = mapping.max_setup // _MS
        self._ingress = FormatOf(formats.ingress)
        self._egress = FormatOf(formats.egress)
        for name, spec in columns.specs.items():
            if spec.pattern is not None:
                self._check_pattern(name, spec.pattern)
        if self._zone is None and any(time.is_naive for time in columns.times):
            raise AdapterError(f"source {self._source!r}: its times don't say their zone; set zone")

    def _check_pattern(self, name: str, pattern: str) -> None:
        try:
            pc.replace_substring_regex(pa.array([""]), _whole(pattern), r"\1")
        except pa.ArrowInvalid as error:
            raise AdapterError(f"source {self._source!r}: pattern of {name}: {error}") from None

    @property
    def used(self) -> frozenset[str]:
        """The source columns that the mapping needs."""
        specs = self._columns.specs.values()
        return frozenset(self._where).union(*(spec.used for spec in specs))

    def check_header(self, header: tuple[str, ...]) -> None:
        """Refuse a mapping that names columns which the source doesn't have.

        Raises:
            AdapterError: naming the columns, and those that there are.
        """
        there = set(header)
        missing = sorted(set(self._where) - there)
        for spec in self._columns.specs.values():
            if not there.intersection(spec.column):
                missing.append(" or ".join(spec.column))
            if isinstance(spec, TimeColumn) and spec.fraction_column and spec.fraction_column not in there:
                missing.append(spec.fraction_column)
        if missing:
            raise AdapterError(
                f"source {self._source!r} has no column {', '.join(missing)}; it has: {', '.join(header)}"
            )

    def apply(self, raw: RawBatch) -> Batch:
        """The call legs in `raw`."""
        if raw.header is not None:
            self.check_header(raw.header)
        table, rows, skipped = raw.columns, raw.rows, raw.skipped
        chosen = self._chosen(table)
        if chosen is not None:
            skipped += int(len(chosen) - np.count_nonzero(chosen))
            keep = pa.array(chosen)
            table, rows = table.filter(keep), rows.filter(keep)
        rejects = _Rejects(table.num_rows)
        columns = self._texts(table, rejects)
        seizure = self._seizure(table, rejects)
        self._numbers(table, columns, rejects)
        calls = self._assemble(columns, seizure, rows, rejects.mask)
        rejected = rejects.records(table, rows) if rejects.mask.any() else ()
        return Batch(calls, (*raw.rejected, *rejected), skipped)

    def _chosen(self, table: pa.RecordBatch) -> Mask | None:
        """Which rows fit `where`; None when all do."""
        chosen: Mask | None = None
        for name, condition in self._where.items():
            fits = condition.fits(_column(table, name))
            chosen = fits if chosen is None else chosen & fits
        return None if chosen is None or chosen.all() else chosen

    def _value(self, table: pa.RecordBatch, spec: ColumnSpec) -> pa.StringArray:
        """The raw text of one canonical value; null where there is none."""
        found = [_without_blanks(_column(table, name)) for name in spec.column]
        value = found[0] if len(found) == 1 else pc.coalesce(*found)
        if spec.pattern is None:
            return value
        fits = pc.match_substring_regex(value, spec.pattern)
        cut = pc.replace_substring_regex(value, _whole(spec.pattern), r"\1")
        return _without_blanks(pc.if_else(fits, cut, _NULL))

    def _texts(self, table: pa.RecordBatch, rejects: _Rejects) -> dict[str, pa.Array]:
        columns: dict[str, pa.Array] = {}
        for name in ("ingress_trunk", "egress_trunk", "call_id"):
            spec = getattr(self._columns, name)
            columns[name] = _nulls(table) if spec is None else self._value(table, spec)
        for name in ("ingress_address", "egress_address"):
            spec = getattr(self._columns, name)
            columns[name] = _nulls(table) if spec is None else self._addresses(table, spec, name, rejects)
        spec = self._columns.disposition
        columns["disposition"] = _nulls(table) if spec is None else _dispositions(self._value(table, spec), spec)
        return columns

    def _addresses(self, table: pa.RecordBatch, spec: ColumnSpec, name: str, rejects: _Rejects) -> pa.StringArray:
        encoded = self._value(table, spec).dictionary_encode()
        canonical = pa.array([canonical_address(text.as_py()) for text in encoded.dictionary], _TEXT)
        addresses = canonical.take(encoded.indices)
        bad = _some(pc.and_(pc.is_null(addresses), pc.is_valid(encoded.indices)))
        rejects.add(bad, RejectReason.BAD_ADDRESS, f"{name}: not an IP address")
        return addresses

    def _numbers(self, table: pa.RecordBatch, columns: dict[str, pa.Array], rejects: _Rejects) -> None:
        """Fill in the numbers. A called number as received must be readable; as sent it may be a subscriber's name."""
        there: Mask = np.zeros(table.num_rows, np.bool_)
        bad: Mask = np.zeros(table.num_rows, np.bool_)
        for name, formats in (("called_in", self._ingress), ("called_out", self._egress)):
            spec: CalledColumn | None = getattr(self._columns, name)
            if spec is None:
                columns[name] = _nulls(table)
                continue
            texts = self._value(table, spec)
            if spec.format == "trunk":
                side = "ingress" if name == "called_in" else "egress"
                numbers = normalise_by_trunk(texts, formats, columns[f"{side}_trunk"], columns[f"{side}_address"])
            else:
                numbers = normalise(texts, spec.format)
            columns[name] = numbers
            readable = _some(pc.is_valid(numbers))
            unreadable = ~readable & _some(pc.is_valid(texts))
            if unreadable.any():
                unreadable &= _some(pc.not_equal(pc.utf8_trim_whitespace(texts), ""))
            if name == "called_in":
                rejects.add(unreadable, RejectReason.BAD_CALLED_NUMBER, f"called_in: no number in format {spec.format}")
            bad |= unreadable
            there |= readable
        rejects.add(~there & bad, RejectReason.BAD_CALLED_NUMBER, "called_out: not a number in its format")
        rejects.add(~there, RejectReason.NO_CALLED_NUMBER, "no called number")
        calling = self._columns.calling
        columns["calling"] = (
            _nulls(table) if calling is None else normalise(self._value(table, calling), calling.format)
        )

    def _seizure(self, table: pa.RecordBatch, rejects: _Rejects) -> _Seizure:
        """The interval in which each seizure lies, from its own time or else from the earliest later one."""
        rows = table.num_rows
        zeros = np.zeros(rows, np.int64)
        result = _Seizure(zeros, zeros.copy(), zeros.copy(), zeros.copy(), np.zeros(rows, np.bool_))
        open_: Mask = np.ones(rows, np.bool_)
        if self._columns.seizure is not None:
            open_ &= ~self._read_time(table, "seizure", self._columns.seizure, open_, 0, result, rejects)
        later = [(name, spec) for name in ("answer", "release") if (spec := getattr(self._columns, name)) is not None]
        for name, spec in later:
            if not open_.any():
                break
            open_ &= ~self._read_time(table, name, spec, open_, self._max_setup, result, rejects)
        rejects.add(open_, RejectReason.NO_TIME, "no time")
        return result

    def _read_time(
        self,
        table: pa.RecordBatch,
        name: str,
        spec: TimeColumn,
        wanted: Mask,
        lead: int,
        result: _Seizure,
        rejects: _Rejects,
    ) -> Mask:
        """Read one time column for the `wanted` rows into `result`; True where it holds something, good or bad."""
        if not wanted.all():
            table = table.filter(pa.array(wanted))
        at = np.flatnonzero(wanted)
        fraction = _column(table, spec.fraction_column) if spec.fraction_column else None
        times = read_times(self._value(table, spec), spec, self._zone, fraction)
        settled: Mask = (times.status == Status.OK) | (times.status == Status.REPEATED)
        first, second = times.first - self._offset, times.second - self._offset
        result.earliest[at] = first - lead
        result.latest[at] = first + times.step
        result.again_earliest[at] = second - lead
        result.again_latest[at] = second + times.step
        result.repeated[at] = times.status == Status.REPEATED
        present: Mask = np.zeros(len(wanted), np.bool_)
        present[at] = times.status != Status.ABSENT
        if not settled.all():
            for status, (reason, detail) in _TIME_REJECTS.items():
                rows: Mask = np.zeros(len(wanted), np.bool_)
                rows[at] = times.status == status
                rejects.add(rows, reason, f"{name}: {detail.format(format=spec.format)}")
        return present

    def _assemble(
        self, columns: dict[str, pa.Array], seizure: _Seizure, rows: pa.Int64Array, rejected: Mask
    ) -> pa.RecordBatch:
        earliest, latest = seizure.earliest, seizure.latest
        columns["row"] = rows
        again = seizure.repeated & ~rejected
        if again.any():
            # a time that occurred twice is two rows, one after the other
            each = np.sort(np.concatenate((np.flatnonzero(~rejected), np.flatnonzero(again))))
            is_second = np.concatenate(([False], each[1:] == each[:-1]))
            earliest = np.where(is_second, seizure.again_earliest[each], earliest[each])
            latest = np.where(is_second, seizure.again_latest[each], latest[each])
            columns = {name: column.take(pa.array(each)) for name, column in columns.items()}
        elif rejected.any():
            earliest, latest = earliest[~rejected], latest[~rejected]
            kept = pa.array(~rejected)
            columns = {name: column.filter(kept) for name, column in columns.items()}
        time = CALLS.field("seizure_earliest").type
        columns["seizure_earliest"] = pa.array(earliest).cast(time)
        columns["seizure_latest"] = pa.array(latest).cast(time)
        return pa.RecordBatch.from_arrays([columns[name] for name in CALLS.names], schema=CALLS)


def _whole(pattern: str) -> str:
    """`pattern` with all the text around its match, so that replacing it by the first group leaves only that."""
    return rf"^(?s:.*?)(?:{pattern})(?s:.*)$"


def _nulls(table: pa.RecordBatch) -> pa.StringArray:
    return pa.nulls(table.num_rows, _TEXT)


def _column(table: pa.RecordBatch, name: str) -> pa.StringArray:
    """A column of the batch; all null when its records happen not to have it."""
    at = table.schema.get_field_index(name)
    return _nulls(table) if at < 0 else table.column(at)


@dataclass(frozen=True, slots=True)
class _Condition:
    """What `where` wants of one column: one of `any_of` (when there are any) and none of `none_of`."""

    any_of: pa.Array
    none_of: pa.Array

    @classmethod
    def of(cls, wanted: str | list[str]) -> _Condition:
        texts = [wanted] if isinstance(wanted, str) else wanted
        return cls(
            pa.array([text for text in texts if not text.startswith("!")], _TEXT),
            pa.array([text[1:] for text in texts if text.startswith("!")], _TEXT),
        )

    def fits(self, values: pa.StringArray) -> Mask:
        texts = pc.fill_null(values, "") if values.null_count else values
        fits: Mask = np.ones(len(values), np.bool_)
        if len(self.any_of):
            fits &= _is_in(texts, self.any_of)
        if len(self.none_of):
            fits &= ~_is_in(texts, self.none_of)
        return fits


def _is_in(texts: pa.StringArray, wanted: pa.Array) -> Mask:
    return _some(pc.equal(texts, wanted[0]) if len(wanted) == 1 else pc.is_in(texts, value_set=wanted))


def _dispositions(values: pa.StringArray, spec: DispositionColumn) -> pa.StringArray:
    words: Mapping[str, str] = spec.values or {word: word for word in ("answered", "unanswered", "failed")}
    encoded = values.dictionary_encode()
    translated = [words.get(text.as_py(), words.get("*")) for text in encoded.dictionary]
    return pa.array(translated, _TEXT).take(encoded.indices)
