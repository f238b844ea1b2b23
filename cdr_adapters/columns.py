"""From columns of text to the canonical schema: one source's mapping, applied to whole batches.

Every record ends as a call leg (two for a local time that occurred twice), as a reject with row and reason, or as
skipped by the mapping's `where`; nothing else happens to a record. A reject's detail names the column, never its value.
Null in the canonical table always means that the source did not say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, reduce
from typing import TypeAlias
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
from cdr_adapters.rejects import Mask, Rejects
from cdr_adapters.schema import CALLS, DISPOSITIONS, PACKED, Batch, RejectReason
from cdr_adapters.text_bytes import TextBytes
from cdr_adapters.time_columns import read_times
from cdr_adapters.trunk_formats import FormatOf, read_by_trunk

_MS = timedelta(milliseconds=1)
_TEXT = pa.string()
_NULL = pa.nulls(1, _TEXT)[0]  # pa.scalar would import pandas

_DIGITS_OF_A_NUMBER = 7
_UNANSWERED = ("unanswered", "failed", "route-advanced")

_Texts: TypeAlias = pa.StringArray | pa.DictionaryArray
"""Texts, or their places among the words that occur."""


def _some(mask: pa.BooleanArray) -> Mask:
    result: Mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return result


def _without_blanks(values: pa.StringArray) -> pa.StringArray:
    if not values.null_count and (TextBytes.of(values).lengths > 0).all():
        return values
    blank = pc.equal(values, "")
    return pc.if_else(blank, _NULL, values) if blank.true_count else values


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
        self._where = {name: _Condition.of(wanted) for name, wanted in mapping.where.items()}
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
        chosen = self._chosen(table)
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
        mask = self._chosen(table)
        return table if mask is None else table.filter(pa.array(mask))

    def texts(self, table: pa.RecordBatch, name: str) -> pa.StringArray | None:
        """What the records have for the canonical column `name`, not yet read; None when it isn't mapped."""
        spec = self._columns.specs.get(name)
        return None if spec is None else self._value(table, spec)

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
        if len(found) == 1:
            value = found[0]
        elif spec.join is None:
            value = pc.coalesce(*found)
        else:
            value = reduce(partial(_joined, spec.join), found)
        return _first_cut(value, spec.pattern) if spec.pattern else value

    def _texts(self, table: pa.RecordBatch, rejects: Rejects) -> dict[str, pa.Array]:
        columns: dict[str, pa.Array] = {}
        for name in ("ingress_trunk", "egress_trunk", "call_id", "leg", "origid", "verstat"):
            spec: TextColumn | None = getattr(self._columns, name)
            if name in self._schema.names:
                columns[name] = _nulls(table) if spec is None else self._text(table, spec, name)
        for name in ("ingress_address", "egress_address"):
            address: AddressColumn | None = getattr(self._columns, name)
            columns[name] = _nulls(table) if address is None else self._addresses(table, address, name, rejects)
        closed: tuple[tuple[str, DispositionColumn | AttestationColumn | None, tuple[str, ...]], ...] = (
            ("disposition", self._columns.disposition, DISPOSITIONS),
            ("attestation", self._columns.attestation, ("A", "B", "C")),
        )
        for name, one_of, words in closed:
            if name not in self._schema.names:
                continue
            values = _nulls(table) if one_of is None else self._value(table, one_of)
            columns[name] = values if one_of is None else _translated(values, one_of.values, words)
        return columns

    def _text(self, table: pa.RecordBatch, spec: TextColumn, name: str) -> _Texts:
        values = self._value(table, spec)
        if pa.types.is_dictionary(self._schema.field(name).type):
            encoded = values.dictionary_encode()
            values = _words(encoded.indices, _trimmed(encoded.dictionary))
        else:
            values = _trimmed(values)
        return _translated(values, spec.values, None) if spec.values else values

    def _addresses(self, table: pa.RecordBatch, spec: AddressColumn, name: str, rejects: Rejects) -> _Texts:
        texts = self._text(table, spec, name)
        encoded = texts.dictionary_encode()
        distinct = encoded.dictionary.to_pylist()
        found = [None if text is None else canonical_address(text, spec.format) for text in distinct]
        if spec.bad == "reject" and None in found:
            no_address = pa.array([address is None for address in found], pa.bool_()).take(encoded.indices)
            rejects.add(_some(no_address), RejectReason.BAD_ADDRESS, f"{name}: not an IP address")
        if name == "ingress_address" and self._own:
            found = [None if self._own.hold(address) else address for address in found]
        if found == distinct:
            return texts
        return _words(encoded.indices, pa.array([address or None for address in found], _TEXT))

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
            unreadable = ~readable & _some(pc.is_valid(texts))
            if unreadable.any():
                unreadable &= _some(pc.not_equal(pc.utf8_trim_whitespace(texts), ""))
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
            texts = _as(dispositions, _TEXT)
            never = _some(pc.is_in(texts, value_set=pa.array(_UNANSWERED, _TEXT)))
            if answer is not None:
                never = never | (~answer.present & ~_some(pc.equal(texts, "answered")))
            return never

        return call_times(seizure, answer, release, length, unanswered, self._limits, rejects)

    def _moments(self, table: pa.RecordBatch, name: str) -> Moments | None:
        spec: TimeColumn | None = getattr(self._columns, name)
        if spec is None:
            return None
        fraction = _column(table, spec.fraction_column) if spec.fraction_column else None
        zones = _column(table, spec.zone_column) if spec.zone_column else None
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
        again = times.repeated & ~rejected
        each: npt.NDArray[np.int64] | None = None
        is_second: Mask = np.zeros(0, np.bool_)
        if again.any():
            # a time that occurred twice is two rows, one after the other
            each = np.sort(np.concatenate((np.flatnonzero(~rejected), np.flatnonzero(again))))
            is_second = np.concatenate(([False], each[1:] == each[:-1]))
        elif rejected.any():
            each = np.flatnonzero(~rejected)
            is_second = np.zeros(len(each), np.bool_)
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
            [_as(columns[field.name], field.type) for field in self._schema], schema=self._schema
        )


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column as texts, or as their places in a list where they are wanted so."""
    if column.type == kind:
        return column
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    return column.dictionary_encode() if pa.types.is_dictionary(kind) else column.dictionary_decode()


def _words(places: pa.Int32Array, words: pa.StringArray) -> pa.DictionaryArray:
    """Texts by their places among words; null where the word is."""
    if words.null_count:
        known = pa.array(np.arange(len(words), dtype=np.int32), mask=_some(pc.is_null(words)))
        places = known.take(places)
    return pa.DictionaryArray.from_arrays(places, words)


def _heading(name: str) -> str:
    """A column's name for a message; where a file's first line is no header after all, it may hold numbers."""
    return name if sum(character.isdigit() for character in name) < _DIGITS_OF_A_NUMBER else "(a number)"


def _said(spec: CalledColumn) -> str:
    if spec.format == "trunk":
        return "its trunk's format (auto where trunk_formats say none)"
    return f"format {spec.format}"


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


def _joined(between: str, left: pa.StringArray, right: pa.StringArray) -> pa.StringArray:
    """Both texts with `between` in the middle; where one is null, the other."""
    # not null_handling="skip": it gives no rows at all where all of them are null
    both = pc.binary_join_element_wise(left, right, pa.array([between], _TEXT)[0])
    return pc.coalesce(both, left, right) if left.null_count or right.null_count else both


def _cut(value: pa.StringArray, pattern: str) -> pa.StringArray:
    """The first group of `pattern` where it matches, else null."""
    fits = pc.match_substring_regex(value, pattern)
    cut = pc.replace_substring_regex(value, _whole(pattern), r"\1")
    return _without_blanks(pc.if_else(fits, cut, _NULL))


def _first_cut(values: pa.StringArray, patterns: Sequence[str]) -> pa.StringArray:
    """What the first of `patterns` that matches cuts out of each value; each one looks only at what is left."""
    found = _cut(values, patterns[0])
    for pattern in patterns[1:]:
        if found.null_count == values.null_count:
            break
        found = pc.coalesce(found, _cut(pc.if_else(pc.is_null(found), values, _NULL), pattern))
    return found


def _trimmed(values: pa.StringArray) -> pa.StringArray:
    """The values without spaces around them (tables pad their names); null where nothing is left."""
    octets = TextBytes.of(values)
    begin, end = (int(octets.start[0]), int(octets.end[-1])) if len(octets) else (0, 0)
    if not np.any(octets.data[begin:end] <= ord(" ")):
        return values
    return _without_blanks(pc.utf8_trim_whitespace(values))


def _folded(word: str) -> str:
    return word.strip().casefold()


def _translated(values: _Texts, table: Mapping[str, str], words: tuple[str, ...] | None) -> pa.DictionaryArray:
    """The values by a translation table; what it doesn't name stays if it is one of `words` (None: whatever it is).

    A word that isn't there as it stands is looked for without regard to case and spaces around it.
    """
    folded = {_folded(name): meaning for name, meaning in reversed(list(table.items()))}
    known = {_folded(word): word for word in words or () if not table}

    def meaning(text: str | None) -> str | None:
        if text is None:
            return None
        if text in table:
            return table[text] or None
        if (said := folded.get(_folded(text))) is not None:
            return said or None
        if "*" in table:
            return table["*"] or None
        return text if words is None else known.get(_folded(text))

    encoded = values.dictionary_encode()
    meanings = [meaning(text) for text in encoded.dictionary.to_pylist()]
    places = encoded.indices
    if table.get("") and places.null_count:
        places = places.fill_null(len(meanings))
        meanings.append(table[""])
    return _words(places, pa.array(meanings, _TEXT))
