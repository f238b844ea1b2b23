"""Lines of text as Arrow columns: for formats whose lines are cut at a literal separator, many lines at a time.

A block of the file becomes one array of lines without their ends; a separator cuts them into as many columns as most
lines have. What doesn't fit is told apart by its position, for the reader to look at it one by one. No line is longer
than `MAX_LINE`: an overlong one comes cut, so that its reader can reject it, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.stream import MAX_LINE, read_text

_BLOCK = 4 << 20


def line_blocks(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, pa.StringArray]]:
    """The file's lines in blocks, each with the number of its first line, from 1; undecodable bytes become U+FFFD.

    A line of more than `MAX_LINE` bytes comes cut to a little more than that.

    Raises:
        AdapterError: the file can't be read.
    """
    number = 1
    rest = b""
    for block in read_text(path, encoding, _BLOCK):
        cut = block.rfind(b"\n") + 1
        if not cut:
            rest = (rest + block)[: MAX_LINE + 1]
            continue
        if len(rest) > MAX_LINE:  # the tail of a line whose middle is gone
            end = block.find(b"\n") + 1
            yield number, _lines(rest + b"\n")
            number += 1
            rest, whole = b"", block[end:cut]
        else:
            whole = rest + block[:cut]
        rest = block[cut:]
        if whole:
            lines = _lines(whole)
            yield number, lines
            number += len(lines)
    if rest:
        yield number, _lines(rest + b"\n")


def _lines(block: bytes) -> pa.StringArray:
    """The lines of `block`, which ends with a line end."""
    if not block.isascii():
        block = block.decode("utf-8", "replace").encode("utf-8")
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")).astype(np.int32) + 1
    offsets = np.concatenate((np.zeros(1, np.int32), ends))
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))
    return pc.utf8_rtrim(lines, characters="\r\n")


@dataclass(frozen=True, slots=True)
class Pieces:
    """Lines that were cut into the same number of pieces.

    Attributes:
        at: the position of each of these lines in the array that was cut.
        columns: one array for each piece, as long as `at`.
    """

    at: npt.NDArray[np.int64]
    columns: list[pa.StringArray]

    def where(self, keep: npt.NDArray[np.bool_]) -> Pieces:
        """Only the lines for which `keep` is true."""
        if keep.all():
            return self
        mask = pa.array(keep)
        return Pieces(self.at[keep], [column.filter(mask) for column in self.columns])


def cut(lines: pa.StringArray, separator: str, limit: int) -> Iterator[Pieces]:
    """`lines` cut at every `separator`, by the number of pieces; lines of more than `limit` pieces are left out.

    `lines` has no nulls.
    """
    if not len(lines):
        return
    lists = pc.split_pattern(lines, separator)
    widths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    for width in np.unique(widths[widths <= limit]):
        at = np.flatnonzero(widths == width)
        part = lists if len(at) == len(lists) else lists.take(pa.array(at))
        flat = part.flatten()
        yield Pieces(at, [flat.take(pa.array(np.arange(j, len(flat), width))) for j in range(width)])
