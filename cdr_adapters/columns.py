"""From columns of text to the canonical schema: one source's mapping, applied to whole batches.

Every record ends as a call leg (two for a local time that occurred twice), as a reject with row and reason, or as
skipped by the mapping's `where`; nothing else happens to a record. A reject's detail names the column, never its value.
Null in the canonical table always means that the source did not say.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial, reduce
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.addresses import Networks, canonical_address
from cdr_adapters.call_times import CallTimes, Limits, Moments, call_times, read_lengths
from cdr_adapters.column_specs import (
    AddressColumn,
    AttestationColumn,
    CalledColumn,
    ColumnSpec,
    DispositionColumn,
    TextColumn,
    TimeColumn,
)
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.number_columns import Numbers, array_of_numbers, read_numbers, texts_of_numbers
from cdr_adapters.raw import AdapterError, RawBatch
from cdr_adapters.rejects import Rejects
from cdr_adapters.schema import CALLS, DISPOSITIONS, PACKED, Batch, RejectReason
from cdr_adapters.text_bytes import Mask, is_true
from cdr_adapters.text_columns import (
    TEXT,
    Texts,
    as_kind,
    column_of,
    first_cut,
    joined,
    nulls,
    translated,
    trimmed,
    whole,
    without_blanks,
    worded,
)
from cdr_adapters.time_columns import read_times
from cdr_adapters.trunk_formats import FormatOf, read_by_trunk
from cdr_adapters.where import Where

_MS = timedelta(milliseconds=1)
_DIGITS_OF_A_NUMBER = 7
_UNANSWERED = ("unanswered", "failed", "route-advanced")


class ColumnMapper:
    """One source's mapping, ready to be applied; `packed` says in which form the call legs are wanted.

    Raises:
        AdapterError: a pattern that the vectorised engine (RE2) doesn't know, such as one with a lookahead.
    """

    def __init__(self, mapping: SourceMapping, formats: TrunkFormats, *, packed: bool = False) -> None:
        self._schema = PACKED if packed else CALLS
        if mapping.columns is None:
            raise AdapterError(f"source {mapping.name!r}: it has no columns")
        self._source = mapping.name
        self._columns = mapping.columns
        self._where = Where.of(mapping.where)
        self._zone = ZoneInfo(mapping.zone) if mapping.zone else None
        self._offset = mapping.clock_offset // _MS
        self._limits = Limits(mapping.max_setup // _MS, mapping.max_call // _MS)
        self._own = Networks(mapping.own_addresses)
        self._ingress = FormatOf(formats.ingress)
        self._egress = FormatOf(formats.egress)
        for name, spec in self._columns.specs.items():
            for pattern in spec.pattern:
                self._check_pattern(name, pattern)
        naive = next((time for time in self._columns.times if time.is_naive), None)
        if self._zone is None and naive is not None:
            raise AdapterError(
                f"source {self._source!r}: times of format {naive.said_format} don't say their zone: set zone, such "
                "as 'America/New_York', in the mapping or by --zone"
            )

    def _check_pattern(self, name: str, pattern: str) -> None:
        try:
            pc.replace_substring_regex(pa.array([""]), whole(pattern), r"\1")
        except pa.ArrowInvalid as error:
            raise AdapterError(f"source {self._source!r}: pattern of {name}: {error}") from None

    @property
    def used(self) -> frozenset[str]:
        """The source columns that the mapping needs."""
        specs = self._columns.specs.values()
        return self._where.used.union(*(spec.used for spec in specs))

    def check_header(self, header: tuple[str, ...]) -> None:
        """Refuse a mapping that names columns which the source doesn't have.

        Raises:
            AdapterError: naming the columns, and those that there are.
        """
        there = set(header)
        missing = sorted(self._where.used - there)
        for spec in self._columns.specs.values():
            if spec.join is not None:
                missing += sorted(set(spec.column) - there)
            elif not there.intersection(spec.column):
                missing.append(" or ".join(spec.column))
            missing += [name for name in spec.used if name not in spec.column and name not in there]
        if missing:
            known = ", ".join(map(_heading, header))
            raise AdapterError(f"source {self._source!r} has no column {', '.join(missing)}; it has: {known}")

    def apply(self, raw: RawBatch) -> Batch:
        """The call legs in `raw`."""
        if raw.header is not None:
            self.check_header(raw.header)
        table, rows, skipped = raw.columns, raw.rows, raw.skipped
        chosen = self._where.chosen(table)
        if chosen is not None:
            skipped += int(len(chosen) - np.count_nonzero(chosen))
            keep = pa.array(chosen)
            table, rows = table.filter(keep), rows.filter(keep)
        rejects = Rejects(table.num_rows)
        columns = self._texts(table, rejects)
        times = self._times(table, columns["disposition"], rejects)
        numbers = self._numbers(table, columns, rejects)
        calls = self._assemble(columns, numbers, times, rows, rejects.mask)
        rejected = rejects.records(table, rows) if rejects.mask.any() else ()
        return Batch(calls, (*raw.rejected, *rejected), skipped)

    def chosen(self, table: pa.RecordBatch) -> pa.RecordBatch:
        """The records of `table` that `where` takes for calls."""
        mask = self._where.chosen(table)
        return table if mask is None else table.filter(pa.array(mask))

    def texts(self, table: pa.RecordBatch, name: str) -> pa.StringArray | None:
        """What the records have for the canonical column `name`, not yet read; None when it isn't mapped."""
        spec = self._columns.specs.get(name)
        return None if spec is None else self._value(table, spec)

    def _value(self, table: pa.RecordBatch, spec: ColumnSpec) -> pa.StringArray:
        """The raw text of one canonical value; null where there is none."""
        found = [without_blanks(column_of(table, name)) for name in spec.column]
        if len(found) == 1:
            value = found[0]
        elif spec.join is None:
            value = pc.coalesce(*found)
        else:
            value = reduce(partial(joined, spec.join), found)
        return first_cut(value, spec.pattern) if spec.pattern else value

    def _texts(self, table: pa.RecordBatch, rejects: Rejects) -> dict[str, pa.Array]:
        columns: dict[str, pa.Array] = {}
        for name in ("ingress_trunk", "egress_trunk", "call_id", "leg", "origid", "verstat"):
            spec: TextColumn | None = getattr(self._columns, name)
            if name in self._schema.names:
                columns[name] = nulls(table) if spec is None else self._text(table, spec, name)
        for name in ("ingress_address", "egress_address"):
            address: AddressColumn | None = getattr(self._columns, name)
            columns[name] = nulls(table) if address is None else self._addresses(table, address, name, rejects)
        closed: tuple[tuple[str, DispositionColumn | AttestationColumn | None, tuple[str, ...]], ...] = (
            ("disposition", self._columns.disposition, DISPOSITIONS),
            ("attestation", self._columns.attestation, ("A", "B", "C")),
        )
        for name, one_of, words in closed:
            if name not in self._schema.names:
                continue
            values = nulls(table) if one_of is None else self._value(table, one_of)
            columns[name] = values if one_of is None else translated(values, one_of.values, words)
        return columns

    def _text(self, table: pa.RecordBatch, spec: TextColumn, name: str) -> Texts:
        values = self._value(table, spec)
        if pa.types.is_dictionary(self._schema.field(name).type):
            encoded = values.dictionary_encode()
            values = worded(encoded.indices, trimmed(encoded.dictionary))
        else:
            values = trimmed(values)
        return translated(values, spec.values, None) if spec.values else values

    def _addresses(self, table: pa.RecordBatch, spec: AddressColumn, name: str, rejects: Rejects) -> Texts:
        texts = self._text(table, spec, name)
        encoded = texts.dictionary_encode()
        distinct = encoded.dictionary.to_pylist()
        found = [None if text is None else canonical_address(text, spec.format) for text in distinct]
        if spec.bad == "reject" and None in found:
            no_address = pa.array([address is None for address in found], pa.bool_()).take(encoded.indices)
            rejects.add(is_true(no_address), RejectReason.BAD_ADDRESS, f"{name}: not an IP address")
        if name == "ingress_address" and self._own:
            found = [None if self._own.hold(address) else address for address in found]
        if found == distinct:
            return texts
        return worded(encoded.indices, pa.array([address or None for address in found], TEXT))

    def _numbers(self, table: pa.RecordBatch, columns: dict[str, pa.Array], rejects: Rejects) -> dict[str, Numbers]:
        """The numbers. A called number as received must be readable; as sent it may be a subscriber's name."""
        found: dict[str, Numbers] = {}
        there: Mask = np.zeros(table.num_rows, np.bool_)
        bad: Mask = np.zeros(table.num_rows, np.bool_)
        for name, formats in (("called_in", self._ingress), ("called_out", self._egress)):
            spec: CalledColumn | None = getattr(self._columns, name)
            if spec is None:
                continue
            texts = self._value(table, spec)
            if spec.format == "trunk":
                side = "ingress" if name == "called_in" else "egress"
                numbers = read_by_trunk(texts, formats, columns[f"{side}_trunk"], columns[f"{side}_address"])
            else:
                numbers = read_numbers(texts, spec.format)
            found[name] = numbers
            readable = numbers != 0
            if readable.all():
                there[:] = True
                continue
            unreadable = ~readable & is_true(pc.is_valid(texts))
            if unreadable.any():
                unreadable &= is_true(pc.not_equal(pc.utf8_trim_whitespace(texts), ""))
            if name == "called_in":
                rejects.add(unreadable, RejectReason.BAD_CALLED_NUMBER, f"called_in: no number in {_said(spec)}")
            bad |= unreadable
            there |= readable
        rejects.add(~there & bad, RejectReason.BAD_CALLED_NUMBER, "called_out: not a number in its format")
        rejects.add(~there, RejectReason.NO_CALLED_NUMBER, "no called number")
        calling = self._columns.calling
        if calling is not None:
            found["calling"] = read_numbers(self._value(table, calling), calling.format)
        return found

    def _times(self, table: pa.RecordBatch, dispositions: pa.StringArray, rejects: Rejects) -> CallTimes:
        """The times of all rows."""
        seizure, answer, release = (self._moments(table, name) for name in ("seizure", "answer", "release"))
        spec = self._columns.duration
        length = None if spec is None else read_lengths(self._value(table, spec), spec)

        def unanswered() -> Mask:
            # made here, for pa.array imports pandas
            texts = as_kind(dispositions, TEXT)
            never = is_true(pc.is_in(texts, value_set=pa.array(_UNANSWERED, TEXT)))
            if answer is not None:
                never = never | (~answer.present & ~is_true(pc.equal(texts, "answered")))
            return never

        return call_times(seizure, answer, release, length, unanswered, self._limits, rejects)

    def _moments(self, table: pa.RecordBatch, name: str) -> Moments | None:
        spec: TimeColumn | None = getattr(self._columns, name)
        if spec is None:
            return None
        fraction = column_of(table, spec.fraction_column) if spec.fraction_column else None
        zones = column_of(table, spec.zone_column) if spec.zone_column else None
        times = read_times(self._value(table, spec), spec, self._zone, fraction, zones)
        return Moments.of(name, spec.said_format, times, self._offset)

    def _assemble(
        self,
        columns: dict[str, pa.Array],
        numbers: dict[str, Numbers],
        times: CallTimes,
        rows: pa.Int64Array,
        rejected: Mask,
    ) -> pa.RecordBatch:
        columns["row"] = rows
        first, second = times.first, times.second
        moments = {
            "seizure_earliest": (first.earliest, second.earliest, None),
            "seizure_latest": (first.latest, second.latest, None),
            "answer": (first.answer, second.answer, ~times.answered),
            "release": (first.release, second.release, ~times.released),
        }
        each, is_second = _readings(times.repeated & ~rejected, rejected)
        if each is not None:
            taken = pa.array(each)
            columns = {name: column.take(taken) for name, column in columns.items()}
        for name, (one, other, missing) in moments.items():
            if name not in self._schema.names:
                continue
            if missing is not None and missing.all():
                columns[name] = pa.nulls(len(columns["row"]), CALLS.field(name).type)
                continue
            if each is not None:
                one = np.where(is_second, other[each], one[each])
                missing = None if missing is None else missing[each]
            columns[name] = pa.array(one, mask=missing).cast(CALLS.field(name).type)
        for name in ("called_in", "called_out", "calling"):
            kind = self._schema.field(name).type
            if name not in numbers:
                columns[name] = pa.nulls(len(columns["row"]), kind)
                continue
            chosen = numbers[name] if each is None else numbers[name][each]
            columns[name] = texts_of_numbers(chosen) if pa.types.is_string(kind) else array_of_numbers(chosen)
        return pa.RecordBatch.from_arrays(
            [as_kind(columns[field.name], field.type) for field in self._schema], schema=self._schema
        )


def _readings(again: Mask, rejected: Mask) -> tuple[npt.NDArray[np.int64] | None, Mask]:
    """Which records become rows, and which of these rows are a record's second reading; None where each is one row.

    A time that occurred twice (`again`) is two rows, one after the other.
    """
    if again.any():
        each = np.sort(np.concatenate((np.flatnonzero(~rejected), np.flatnonzero(again))))
        return each, np.concatenate(([False], each[1:] == each[:-1]))
    if rejected.any():
        each = np.flatnonzero(~rejected)
        return each, np.zeros(len(each), np.bool_)
    return None, np.zeros(0, np.bool_)


def _heading(name: str) -> str:
    """A column's name for a message; where a file's first line is no header after all, it may hold numbers."""
    return name if sum(character.isdigit() for character in name) < _DIGITS_OF_A_NUMBER else "(a number)"


def _said(spec: CalledColumn) -> str:
    if spec.format == "trunk":
        return "its trunk's format (auto where trunk_formats say none)"
    return f"format {spec.format}"
