"""Parquet files, whichever program wrote them; every value becomes text.

A column within a struct is named by its path, `caller.number`, an element of a list by its index, `legs.0.trunk`; a
column whose own name holds dots wins. Integers and decimals keep all digits, integral floating point numbers are
written as integers, times in ISO 8601: with `Z` when the column says that it is UTC (or the zone's offset), without a
zone when it says that it isn't. A record's row is its place in the file, from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import raw
from cdr_adapters.archives import real_file
from cdr_adapters.formats._cells import text_of
from cdr_adapters.records import BATCH_ROWS

if TYPE_CHECKING:
    from pyarrow import parquet

SUMMARY = "Parquet: columns by name, nested ones by their path"
GRADE = raw.Grade.GENERIC

_MAGIC = b"PAR1"
_MOST_LEAVES = 5000
_MOST_ELEMENTS = 64
_DAMAGE = (pa.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError)
"""What comes of broken files."""


class Options(raw.Options):
    """Options of Parquet: none."""


def identify(head: raw.Head) -> bool:
    """Parquet's own mark."""
    return head.data.startswith(_MAGIC)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    from pyarrow import parquet

    del options
    with real_file(path) as file:
        try:
            source = parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
            schema = source.schema_arrow
            header = _header(schema)
        except _DAMAGE as error:
            raise raw.AdapterError(f"{path} can't be read as Parquet: {_first_line(error)}") from None
        with source:
            if columns is None:
                names = list(header)
            else:
                names = sorted(name for name in columns if _steps(schema, name) is not None)
            yield from _batches(path, source, names, tuple(dict.fromkeys((*header, *names))))


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _batches(
    path: Path, source: parquet.ParquetFile, names: list[str], header: tuple[str, ...]
) -> Iterator[raw.RawBatch]:
    tops = sorted({(_steps(source.schema_arrow, name) or [name])[0] for name in names})
    number = 1
    try:
        for batch in source.iter_batches(BATCH_ROWS, columns=tops, use_threads=False):
            batch.validate()
            rows = pa.array(range(number, number + batch.num_rows), pa.int64())
            number += batch.num_rows
            fields: dict[str, list[str | None] | pa.Array] = {name: _texts(_column(batch, name)) for name in names}
            yield raw.RawBatch(raw.string_batch(fields, batch.num_rows), rows, header=header)
    except _DAMAGE as error:
        raise raw.AdapterError(f"{path}: damaged after row {number - 1}: {_first_line(error)}") from None
    if number == 1:
        empty = raw.string_batch({name: [] for name in names}, 0)
        yield raw.RawBatch(empty, pa.array([], pa.int64()), header=header)


# --- names and places


def _header(schema: pa.Schema) -> tuple[str, ...]:
    """The paths of all leaves; those below a list without an index, for there may be any number of elements."""
    leaves: list[str] = []

    def walk(path: str, kind: pa.DataType) -> None:
        if len(leaves) >= _MOST_LEAVES:
            raise ValueError(f"more than {_MOST_LEAVES} columns")
        if pa.types.is_struct(kind):
            for field in kind:
                walk(f"{path}.{field.name}", field.type)
        else:
            leaves.append(path)

    for field in schema:
        walk(field.name, field.type)
    return tuple(dict.fromkeys(leaves))


def _steps(schema: pa.Schema, name: str) -> list[str] | None:
    """The parts of a path, the outermost column first; None when there is no such column."""
    if schema.get_field_index(name) >= 0:
        return [name]
    first, _, rest = name.partition(".")
    while rest:
        at = schema.get_field_index(first)
        if at >= 0 and _reaches(schema.field(at).type, rest):
            return [first, *rest.split(".")]
        part, _, rest = rest.partition(".")
        first = f"{first}.{part}"
    return None


def _reaches(kind: pa.DataType, path: str) -> bool:
    step, _, rest = path.partition(".")
    if pa.types.is_struct(kind):
        at = kind.get_field_index(step)
        if at < 0:
            return False
        inner = kind.field(at).type
    elif _is_list(kind) and step.isdecimal() and int(step) < _MOST_ELEMENTS:
        inner = kind.value_type
    else:
        return False
    return not rest or _reaches(inner, rest)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    steps = _steps(batch.schema, name) or [name]
    values = batch.column(steps[0])
    for step in steps[1:]:
        if pa.types.is_struct(values.type):
            values = pc.struct_field(values, [step])
        else:
            wanted = int(step)
            lengths = pc.fill_null(pc.list_value_length(values), 0)
            enough = pc.greater(lengths, wanted)
            # null lists and short ones have no such element; list_element refuses them
            filled = pc.list_element(values.filter(enough), wanted)
            places = pc.subtract(pc.cumulative_sum(enough.cast(pa.int64())), 1)
            values = filled.take(pc.if_else(enough, places, pa.scalar(None, pa.int64())))
    return values


# --- values


def _texts(values: pa.Array) -> pa.StringArray:
    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        return _texts(values.storage)
    if pa.types.is_dictionary(kind):
        return _texts(values.dictionary).take(values.indices)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _checked(values)
    if pa.types.is_nested(kind):
        texts = [None if value is None else json.dumps(value, default=text_of) for value in values.to_pylist()]
        return pa.array(texts, raw.TEXT)
    if pa.types.is_timestamp(kind):
        return _times(values)
    if pa.types.is_floating(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([text_of(value) for value in values.to_pylist()], raw.TEXT)
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([text_of(value) for value in values.to_pylist()], raw.TEXT)
    try:
        return values.cast(raw.TEXT)
    except pa.ArrowException:
        return pa.array([text_of(value) for value in values.to_pylist()], raw.TEXT)


def _checked(values: pa.Array) -> pa.StringArray:
    """Strings as they stand; their bad bytes, which Parquet's writer may not have looked at, replaced."""
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        kind = pa.large_binary() if pa.types.is_large_string(values.type) else pa.binary()
        return pa.array([text_of(value) for value in values.view(kind).to_pylist()], raw.TEXT)
    return values.cast(raw.TEXT)


def _times(values: pa.Array) -> pa.StringArray:
    """Timestamps in ISO 8601; those of any zone as UTC, which is the same moment."""
    zone = values.type.tz
    if zone:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    return values.cast(raw.TEXT)
