"""The two sides of a call in records of one leg each: a value under the name of the side that its leg is on.

A gateway that writes one record a leg writes the peer's address, the trunk and the called number of either side into
the same columns, and the leg's direction into another. What is upstream on the incoming leg is downstream on the
outgoing one; a mapping that doesn't tell them apart names the wrong provider. So a reader of such records offers each
column NAME also as `incoming:NAME`, `outgoing:NAME` and `unsaid:NAME` (the record has no direction, or one that isn't
known), null on all other legs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

INCOMING, OUTGOING, UNSAID = "incoming", "outgoing", "unsaid"

_NULL = pa.nulls(1, pa.string())[0]


@dataclass(frozen=True)
class Sides:
    """Which column says the direction of a leg, and by which words (small letters)."""

    column: str
    words: Mapping[str, str]

    def needed(self, columns: frozenset[str] | None) -> frozenset[str] | None:
        """The file's own columns that `columns` are made of."""
        if columns is None:
            return None
        bare = frozenset(_bare(name) for name in columns)
        return bare if bare == columns else bare | {self.column}

    def split(self, found: pa.RecordBatch, columns: frozenset[str] | None) -> pa.RecordBatch:
        """`found` with the wanted columns of one side besides."""
        wanted = sorted(name for name in columns or () if _bare(name) != name)
        if not wanted:
            return found
        arrays = {name: found.column(name) for name in found.schema.names}
        side = self._side(arrays.get(self.column), found.num_rows)
        for name in wanted:
            prefix, _, of = name.partition(":")
            values = arrays.get(of)
            if values is None:
                arrays[name] = pa.nulls(found.num_rows, pa.string())
            else:
                arrays[name] = pc.if_else(pc.equal(side, prefix), values, _NULL)
        return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))

    def _side(self, directions: pa.StringArray | None, rows: int) -> pa.StringArray:
        if directions is None:
            return pa.array([UNSAID] * rows, pa.string())
        encoded = pc.fill_null(directions, "").dictionary_encode()
        sides = [self.words.get(text.as_py().strip().lower(), UNSAID) for text in encoded.dictionary]
        return pa.array(sides, pa.string()).take(encoded.indices)


def _bare(name: str) -> str:
    prefix, colon, of = name.partition(":")
    return of if colon and prefix in (INCOMING, OUTGOING, UNSAID) else name
