"""The bytes of a column of strings, for work on millions of short texts without an object for each.

Arrow keeps a column's texts in one run of bytes, text after text. Texts of one length are rows of a matrix in it; texts
of several lengths are gathered into one matrix per length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Octets: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]
Positions: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TextBytes:
    """Text i is `data[start[i]:end[i]]`; an absent one is empty."""

    data: Octets
    start: Positions
    end: Positions

    @classmethod
    def of(cls, values: pa.StringArray) -> TextBytes:
        """The bytes of a column; nothing is copied unless some are null."""
        if values.null_count:
            values = pc.fill_null(values, "")
        _, offsets, data = values.buffers()
        if offsets is None or not len(values):
            empty = np.zeros(0, np.int32)
            return cls(np.zeros(0, np.uint8), empty, empty)
        ends = np.frombuffer(offsets, np.int32, len(values) + 1, 4 * values.offset)
        octets = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8, int(ends[-1]))
        return cls(octets, ends[:-1], ends[1:])

    def __len__(self) -> int:
        return len(self.start)

    @property
    def lengths(self) -> Positions:
        """The length of each text in bytes."""
        return self.end - self.start

    def matrix(self, start: Positions, width: int) -> Octets:
        """A matrix with the `width` bytes from each of these starts, all of which lie within the texts."""
        if not len(start) or not width:
            return np.zeros((len(start), width), np.uint8)
        first = int(start[0])
        if len(self.data) >= first + len(start) * width and (
            len(start) == 1 or (int(start[-1]) - first == (len(start) - 1) * width and (np.diff(start) == width).all())
        ):
            return self.data[first : first + len(start) * width].reshape(len(start), width)
        every = np.ndarray((len(self.data) - width + 1,), np.dtype(f"V{width}"), self.data, strides=(1,))
        return every[start].view(np.uint8).reshape(len(start), width)

    def begin(self, *leads: bytes) -> list[Mask]:
        """For each lead, which texts begin with it. Each text is at least as long as the longest lead."""
        width = max(map(len, leads))
        head = self.matrix(self.start, width)
        if width > 8:
            return [(head[:, : len(lead)] == np.frombuffer(lead, np.uint8)).all(axis=1) for lead in leads]
        word = "<u4" if width <= 4 else "<u8"
        room = np.zeros((len(self), 4 if width <= 4 else 8), np.uint8)
        room[:, :width] = head
        number = room.view(word).ravel()
        kind = number.dtype.type
        return [(number & kind((1 << 8 * len(lead)) - 1)) == kind(int.from_bytes(lead, "little")) for lead in leads]


def is_true(mask: pa.BooleanArray) -> Mask:
    """A mask as numpy; null is false."""
    result: Mask = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return result
