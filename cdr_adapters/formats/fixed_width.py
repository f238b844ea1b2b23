"""Fixed-width text: every value at its place in the line, or in a record of fixed length without line ends.

The option `columns` says what stands where, in characters counted from 1 as guides do: `{ called = "50-64" }` or
`{ called = { start = 50, width = 15 } }`; a column that begins behind the end of a line is empty. Without it the places
come from a ruler, a line of dashes below (or, as mysql prints it, around) the names; then a line with something between
the columns is rejected. `length` rejects lines of any other length: a line that is cut within a number would otherwise
be a shorter number. Header and trailer lines are told apart by `where` on a column of theirs. Blanks around values are
no part of them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cdr_adapters import raw
from cdr_adapters.formats._line_blocks import line_blocks
from cdr_adapters.records import BATCH_ROWS, RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding, read_head, read_text
from cdr_adapters.text_bytes import is_true

SUMMARY = "Fixed-width text: columns by their places, or by a ruler of dashes"
GRADE = raw.Grade.GENERIC

_MOST_COLUMNS = 2000
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?", re.ASCII)


class Place(BaseModel):
    """Where a value stands: from `start`, counted from 1, over `width` characters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Annotated[int, Field(ge=1, le=MAX_LINE)]
    width: Annotated[int, Field(ge=1, le=MAX_LINE)]

    @model_validator(mode="before")
    @classmethod
    def _range(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = _RANGE.fullmatch(value)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"{value!r} is no range of characters: write it as '50-64'")
        return {"start": int(match[1]), "width": int(match[2] or match[1]) - int(match[1]) + 1}


class Options(raw.Options):
    """Options of fixed-width text.

    `columns`: see the module. `skip_lines` stand before the data. `length`: how long every line must be.
    `record_length`: cut the text every so many characters instead of at line ends.
    """

    columns: Annotated[dict[Annotated[str, Field(min_length=1)], Place], Field(max_length=_MOST_COLUMNS)] = Field(
        default_factory=dict
    )
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0
    length: Annotated[int, Field(ge=1, le=MAX_LINE)] | None = None
    record_length: Annotated[int, Field(ge=1, le=MAX_LINE)] | None = None
    encoding: Encoding = "utf-8"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.record_length is not None and not self.columns:
            raise ValueError("record_length needs columns")
        if self.record_length is not None and (self.length is not None or self.skip_lines):
            raise ValueError("record_length goes without length and skip_lines")
        return self


@dataclass(frozen=True, slots=True)
class _Ruled:
    """A layout that a ruler gives: the ruler, where columns begin and end (from 0), and the first line of data."""

    ruler: str
    names: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    first_row: int

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """What lies between and around the columns."""
        edges = [0, *(edge for span in self.spans for edge in span)]
        return tuple((start, end) for start, end in zip(edges[::2], edges[1::2], strict=False) if end > start)


_RULER = re.compile(r"(?=.*[-=])[-=+| ]{3,}")
_DASHES = re.compile(r"[-=]+")
_RULER_LINES = 20
_FOOTERS = 2
_GAP = r"^[ |]*$"


def _ruled(lines: list[str], skipped: int) -> _Ruled | None:
    """The layout of the first lines, when there is a ruler among them, `skipped` of them aside."""
    for index, line in enumerate(lines[skipped:_RULER_LINES], skipped):
        ruler = line.rstrip()
        spans = tuple(match.span() for match in _DASHES.finditer(ruler))
        if _RULER.fullmatch(ruler) is None or len(spans) < 2:
            continue
        boxed = ruler.startswith("+")  # as mysql does it: a ruler, the names, the ruler again
        at = index + 1 if boxed else index - 1
        if not skipped <= at < len(lines) or (boxed and lines[at + 1 : at + 2] != [line]):
            return None
        names = [lines[at][start:end].strip(" |") for start, end in spans]
        if not all(names) or len(set(names)) != len(names):
            return None
        return _Ruled(ruler, tuple(names), spans, at + 3 if boxed else index + 2)
    return None


def _lines_of(head: raw.Head) -> list[str]:
    """The first lines, empty ones too, as the reader numbers them."""
    return [line.rstrip("\r") for line in head.data.decode("utf-8-sig", "replace").split("\n")]


def identify(head: raw.Head) -> bool:
    """There is a ruler, and what stands below it keeps to the columns."""
    lines = _lines_of(head)
    ruled = _ruled(lines, 0)
    if ruled is None or "\0" in "".join(lines[:_RULER_LINES]):
        return False
    below = [line for line in lines[ruled.first_row - 1 : ruled.first_row + 20] if line.strip()]
    if not head.complete and len(below) > 1:
        below.pop()
    fits = [all(re.fullmatch(_GAP, line[start:end]) for start, end in ruled.gaps) for line in below]
    # below a table there may be a line or two that say how long it was
    return any(fits) and fits.count(False) <= max(len(fits) // 5, _FOOTERS)


@dataclass(frozen=True, slots=True)
class _Layout:
    header: tuple[str, ...]
    wanted: dict[str, tuple[int, int]]
    gaps: tuple[tuple[int, int], ...] = ()
    ruler: str = ""
    first_row: int = 1
    length: int | None = None


def _layout(path: Path, options: Options, columns: frozenset[str] | None) -> _Layout:
    if options.columns:
        spans = {name: (place.start - 1, place.start - 1 + place.width) for name, place in options.columns.items()}
        layout = _Layout(tuple(spans), spans, first_row=options.skip_lines + 1, length=options.length)
    else:
        head = read_head(path)
        if codecs.lookup(options.encoding).name not in ("utf-8", "utf-16"):
            head = raw.Head(path, head.data.decode(options.encoding, "replace").encode("utf-8"), head.complete)
        ruled = _ruled(_lines_of(head), options.skip_lines)
        if ruled is None:
            raise raw.AdapterError(
                f"{path}: say where its columns are, options = {{ columns = {{ called = '50-64', ... }} }}: "
                "there is no ruler (a line of dashes below the names) in its first lines"
            )
        spans = dict(zip(ruled.names, ruled.spans, strict=True))
        layout = _Layout(ruled.names, spans, ruled.gaps, ruled.ruler, ruled.first_row, options.length)
    wanted = {name: span for name, span in layout.wanted.items() if columns is None or name in columns}
    return _Layout(layout.header, wanted, layout.gaps, layout.ruler, layout.first_row, layout.length)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    layout = _layout(path, options, columns)
    if options.record_length is not None:
        yield from _cut_records(path, options.encoding, options.record_length, layout)
        return
    for first, lines in line_blocks(path, options.encoding):
        numbers = np.arange(first, first + len(lines))
        yield _batch(lines, numbers, layout)


def _batch(lines: pa.StringArray, numbers: np.ndarray[Any, Any], layout: _Layout) -> raw.RawBatch:
    """The records among some lines."""
    lengths = pc.utf8_length(lines).to_numpy(zero_copy_only=False)
    record = (lengths > 0) & (numbers >= layout.first_row)
    if layout.ruler:
        record &= ~is_true(pc.equal(pc.utf8_rtrim_whitespace(lines), layout.ruler))
    record &= ~is_true(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(lines)), 0))
    reasons: dict[int, str] = {}

    def reject(rows: np.ndarray[Any, Any], reason: str) -> None:
        nonlocal record
        for at in np.flatnonzero(rows & record).tolist():
            reasons[at] = reason
        record = record & ~rows

    reject(lengths > MAX_LINE, "the line is too long")
    if layout.length is not None:
        reject(lengths != layout.length, f"not {layout.length} characters long")
    for start, end in layout.gaps:
        between = pc.utf8_slice_codeunits(lines, start, end)
        reject(~is_true(pc.match_substring_regex(between, _GAP)), "something between the columns")
    rejected = tuple(
        Rejected(int(numbers[at]), RejectReason.MALFORMED_ROW, reasons[at], lines[at].as_py()[:RAW_LIMIT])
        for at in sorted(reasons)
    )
    kept = lines if record.all() else lines.filter(pa.array(record))
    fields: dict[str, list[str | None] | pa.Array] = {
        name: pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(kept, start, end))
        for name, (start, end) in layout.wanted.items()
    }
    rows = pa.array(numbers[record], pa.int64())
    return raw.RawBatch(raw.string_batch(fields, len(kept)), rows, rejected, header=layout.header)


def _cut_records(path: Path, encoding: str, length: int, layout: _Layout) -> Iterator[raw.RawBatch]:
    """Records without line ends; line ends that stand between them all the same are passed over."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    number, rest = 1, ""
    for block in read_text(path, encoding):
        text = rest + decoder.decode(block)
        size = len(text) // length * length
        records = [text[start:end] for start, end in pairwise(range(0, size + 1, length))]
        rest = text[size:]
        for start in range(0, len(records), BATCH_ROWS):
            some = records[start : start + BATCH_ROWS]
            yield _batch(pa.array(some, raw.TEXT), np.arange(number, number + len(some)), layout)
            number += len(some)
    rest += decoder.decode(b"", final=True)
    if rest.strip("\r\n\x1a\0 "):
        cut = Rejected(number, RejectReason.MALFORMED_ROW, f"cut off: not {length} characters long", rest[:RAW_LIMIT])
        empty = raw.string_batch({name: [] for name in layout.wanted}, 0)
        yield raw.RawBatch(empty, pa.array([], pa.int64()), (cut,), header=layout.header)
