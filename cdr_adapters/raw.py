"""What a format reader yields and what it is: the protocol between readers and the mapping layer.

A reader knows how a file is written and nothing about what its columns mean; it yields columns of text as they stand
in the file. `columns.py` knows what they mean and nothing about files. A reader is a module (see `ReaderModule`); the
registry finds it by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cdr_adapters.schema import Rejected
from protos.printable import printable


class AdapterError(Exception):
    """A source can't be read as configured. The message says what, where, and what to do; it holds no numbers.

    The only exception that a reader or the mapping layer raises about a file, whatever bytes are in it. What it quotes
    of a file (headings, names of tables) can't steer a terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Grade(Enum):
    """How far a format's reader has been tried."""

    REAL_FILES = "tested on real files"
    DOCUMENTATION = "from documentation"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A run of records as text.

    Attributes:
        columns: string columns named as in the source; null where a record has no such field.
        rows: int64, as long as `columns`: line number (from 1), row id or frame number of each record.
        rejected: records that could not even be split into columns.
        skipped: records that the format itself marks as no call (never by the mapping's `where`).
        header: every column that the source has, when all its records have the same ones; None when each record
            brings its own. A mapping that names a column outside a header is wrong, and is told so.
    """

    columns: pa.RecordBatch
    rows: pa.Int64Array
    rejected: tuple[Rejected, ...] = ()
    skipped: int = 0
    header: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What `identify` may look at.

    Attributes:
        path: where the file lies; its name proves nothing.
        data: the first bytes, decompressed, at most `HEAD_SIZE`.
        complete: whether `data` is the whole file, so that its last line is not cut.
    """

    path: Path
    data: bytes
    complete: bool

    def lines(self, limit: int = 50) -> list[str]:
        """The first whole lines that hold anything, undecodable bytes replaced; at most `limit`."""
        text = self.data.decode("utf-8-sig", "replace")
        lines = text.splitlines()
        if not self.complete and len(lines) > 1:
            lines.pop()
        return [line for line in lines if line.strip()][:limit]


HEAD_SIZE = 1 << 16


class Options(BaseModel):
    """Base of a reader's own options; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReaderModule(Protocol):
    """What a reader's module must have at its top level. Heavy imports belong inside its functions.

    A module may also have, for files of this format that always mean the same: `COLUMNS`, the [columns] table as in
    TOML; `WHERE`, the rows that are calls; `ZONE`, the zone of times that don't say theirs, only where the standard or
    the vendor guarantees it. A mapping that sets one of them replaces it as a whole (`registry.completed`).
    """

    SUMMARY: str
    """One line for `hopback-cdr formats`."""
    GRADE: Grade
    Options: type[Any]
    """A subclass of `raw.Options`."""

    def identify(self, head: Head) -> bool:
        """Whether the file is surely of this format; never raises."""

    def read(self, path: Path, options: Any, columns: frozenset[str] | None) -> Iterator[RawBatch]:
        """The file's records. `columns` are those that the mapping uses (None: all); others may be left out.

        Raises:
            AdapterError: the file can't be read as this format.
        """


TEXT = pa.string()


def string_batch(columns: Mapping[str, list[str | None] | pa.Array], rows: int) -> pa.RecordBatch:
    """A record batch of string columns from lists, each `rows` long."""
    arrays = [value if isinstance(value, pa.Array) else pa.array(value, TEXT) for value in columns.values()]
    schema = pa.schema([pa.field(name, TEXT) for name in columns])
    if not arrays:  # a batch without columns still has a length
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
