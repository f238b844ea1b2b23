"""Canonical call legs as a Parquet, CSV or JSON lines file, for tools that know no switch.

Columns are those of `cdr_adapters.schema.CALLS`; times are UTC. Memory does not grow with the file. The output appears
under its name only when it is whole, and readable by its owner alone: these are call records.

CSV is made so that a spreadsheet runs nothing that stood in a switch's records: a text that begins like a formula gets
an apostrophe before it. Telephone numbers stay as they are: a plus and digits are no formula.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.kit.inspection import NUMBERS
from cdr_adapters.raw import AdapterError
from cdr_adapters.schema import CALLS

Target = Literal["parquet", "csv", "jsonl"]
Write = Callable[[pa.RecordBatch], None]

_ISO: Final = "%Y-%m-%dT%H:%M:%SZ"
_FORMULA: Final = "^[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]"
"""How what a spreadsheet would run begins (OWASP, CSV Injection); in full width too."""


def convert(batches: Iterable[pa.RecordBatch], to: Target, out: Path | None) -> int:
    """Write the calls in `batches`, and say how many. `out` None is standard output.

    Raises:
        AdapterError: the output can't be written.
    """
    calls = 0
    with _opened(out) as file, _WRITERS[to](file) as write:
        for batch in batches:
            if batch.num_rows:
                write(batch)
                calls += batch.num_rows
    return calls


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".partial")
    except OSError as error:
        raise AdapterError(f"{out} can't be written: {error.strerror}") from None
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    except OSError as error:
        raise AdapterError(f"{out} can't be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Write]:
    from pyarrow import parquet

    with parquet.ParquetWriter(file, CALLS, compression="zstd") as writer:
        yield writer.write_batch


@contextmanager
def _csv(file: IO[bytes]) -> Iterator[Write]:
    from pyarrow import csv

    schema = pa.schema([pa.field(f.name, pa.int64() if f.name == "row" else pa.string()) for f in CALLS])
    options = csv.WriteOptions(include_header=True, quoting_style="needed")
    with csv.CSVWriter(file, schema, write_options=options) as writer:
        yield lambda batch: writer.write_batch(_texts(batch, schema, safe=True))


@contextmanager
def _jsonl(file: IO[bytes]) -> Iterator[Write]:
    schema = pa.schema([pa.field(f.name, pa.int64() if f.name == "row" else pa.string()) for f in CALLS])

    def write(batch: pa.RecordBatch) -> None:
        rows = _texts(batch, schema, safe=False).to_pylist()
        file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())

    yield write


_WRITERS: Final = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}


def _texts(batch: pa.RecordBatch, schema: pa.Schema, *, safe: bool) -> pa.RecordBatch:
    """The batch with its times as ISO 8601; when `safe`, with nothing that a spreadsheet would run."""
    columns = []
    for field in CALLS:
        column = batch.column(field.name)
        if pa.types.is_timestamp(field.type):
            column = pc.strftime(column, format=_ISO)
        elif safe and pa.types.is_string(field.type) and field.name not in NUMBERS:
            dangerous = pc.match_substring_regex(column, _FORMULA)
            if dangerous.true_count:
                column = pc.if_else(dangerous, pc.binary_join_element_wise("'", column, ""), column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)
