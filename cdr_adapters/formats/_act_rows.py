"""Lines of comma separated fields in which quoted groups hold commas of their own, split many at a time.

Lines are cut at their quotes first, so that what stands outside can be cut at every comma. Lines that are built alike
(the same fields quoted, the same number of fields between them) are split together; all others are left to the caller,
line by line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_FEW = 4
"""Fewer lines that are built alike aren't worth vector operations."""
_MOST_QUOTES = 64


def split(line: str) -> list[str] | None:
    """A line's fields, quoted ones without their quotes; None when a quote isn't closed, or stands within a field."""
    if '"' not in line:
        return line.split(",")
    pieces = line.split('"')
    if len(pieces) % 2 == 0:
        return None
    fields = pieces[0].split(",")
    for group, behind in zip(pieces[1::2], pieces[2::2], strict=True):
        more = behind.split(",")
        if fields[-1].strip() or more[0].strip():
            return None
        fields[-1] = group
        fields += more[1:]
    return fields


@dataclass(frozen=True, slots=True)
class Alike:
    """Lines that are built alike.

    Attributes:
        at: their positions in the array that was split.
        width: how many fields each has.
        outside: for each piece outside of quotes, its first field, how many parts it has, and the parts of all lines.
        groups: the quoted fields by their number, from 0.
    """

    at: Positions
    width: int
    outside: Sequence[tuple[int, int, pa.StringArray]]
    groups: Mapping[int, pa.StringArray]

    def field(self, number: int) -> pa.StringArray:
        """One field of all lines, from 0; empty where the lines are shorter."""
        if number >= self.width:
            return pa.array([""] * len(self.at), pa.string())
        if number in self.groups:
            return self.groups[number]
        first, parts, flat = next(piece for piece in reversed(self.outside) if piece[0] <= number)
        return flat.take(pa.array(np.arange(number - first, len(flat), parts)))


def alike(lines: pa.StringArray, rows: Positions) -> tuple[list[Alike], Positions]:
    """Some of the lines, by how they are built; and those that have to be looked at one by one."""
    chosen = lines if len(rows) == len(lines) else lines.take(pa.array(rows))
    lists = pc.split_pattern(chosen, '"')
    counts = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    found: list[Alike] = []
    alone: list[Positions] = []
    for count in np.unique(counts):
        some = np.flatnonzero(counts == count)
        if len(some) < _FEW or count % 2 == 0 or count > _MOST_QUOTES:
            alone.append(rows[some])
            continue
        flat = (lists if len(some) == len(chosen) else lists.take(pa.array(some))).flatten()
        pieces = [flat.take(pa.array(np.arange(j, len(flat), count))) for j in range(count)]
        for same, commas in _by_commas(pieces[::2]):
            part = None if len(same) < _FEW else _built(rows[some[same]], pieces, same, commas)
            if part is None:
                alone.append(rows[some[same]])
            else:
                found.append(part)
    return found, np.sort(np.concatenate([np.zeros(0, np.int64), *alone]))


def _by_commas(outside: Sequence[pa.StringArray]) -> Iterator[tuple[Positions, list[int]]]:
    """Lines with the same number of commas in each piece, and these numbers."""
    table = np.stack([pc.count_substring(piece, ",").to_numpy(zero_copy_only=False) for piece in outside], axis=1)
    numbers, which = np.unique(table, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    bounds = np.searchsorted(which.ravel()[order], np.arange(len(numbers) + 1))
    for index, commas in enumerate(numbers.tolist()):
        yield order[bounds[index] : bounds[index + 1]], commas


def _built(at: Positions, pieces: Sequence[pa.StringArray], same: Positions, commas: Sequence[int]) -> Alike | None:
    """The lines `same` of the pieces; None when one has text beside a quote."""
    take = pa.array(same)
    outside: list[tuple[int, int, pa.StringArray]] = []
    groups: dict[int, pa.StringArray] = {}
    first = 0
    for index, count in enumerate(commas):
        text = pieces[2 * index].take(take)
        parts = count + 1
        flat = pc.split_pattern(text, ",").flatten()
        beside = [0] if index else []
        if index + 1 < len(commas):
            beside.append(count)
            groups[first + count] = pieces[2 * index + 1].take(take)
            if index and not count:  # two quoted texts with nothing in between
                return None
        for part in beside:
            blank = flat.take(pa.array(np.arange(part, len(flat), parts)))
            if pc.sum(pc.binary_length(pc.utf8_trim_whitespace(blank))).as_py():
                return None
        outside.append((first, parts, flat))
        first += count
    return Alike(at, first + 1, outside, groups)
