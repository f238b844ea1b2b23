"""Columns of texts, worked on as a whole: cut out by patterns, joined, trimmed, put into other words.

Arrow arrays in, Arrow arrays out; null stays null, and what is empty becomes null: the source did not say. A pattern is
of RE2, and its first group is what is cut out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.text_bytes import TextBytes, is_true

TEXT = pa.string()
_NULL = pa.nulls(1, TEXT)[0]  # pa.scalar would import pandas

Texts: TypeAlias = pa.StringArray | pa.DictionaryArray
"""Texts, or their places among the words that occur."""


def nulls(table: pa.RecordBatch) -> pa.StringArray:
    """A column of texts for these records, of which no source says anything."""
    return pa.nulls(table.num_rows, TEXT)


def column_of(table: pa.RecordBatch, name: str) -> pa.StringArray:
    """A column of the batch; all null when its records happen not to have it."""
    at = table.schema.get_field_index(name)
    return nulls(table) if at < 0 else table.column(at)


def without_blanks(values: pa.StringArray) -> pa.StringArray:
    """The values, null where they are empty."""
    if not values.null_count and (TextBytes.of(values).lengths > 0).all():
        return values
    blank = pc.equal(values, "")
    return pc.if_else(blank, _NULL, values) if blank.true_count else values


def as_kind(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column as texts, or as their places in a list where they are wanted so."""
    if column.type == kind:
        return column
    if column.null_count == len(column):
        return pa.nulls(len(column), kind)
    return column.dictionary_encode() if pa.types.is_dictionary(kind) else column.dictionary_decode()


def worded(places: pa.Int32Array, words: pa.StringArray) -> pa.DictionaryArray:
    """Texts by their places among words; null where the word is."""
    if words.null_count:
        known = pa.array(np.arange(len(words), dtype=np.int32), mask=is_true(pc.is_null(words)))
        places = known.take(places)
    return pa.DictionaryArray.from_arrays(places, words)


def whole(pattern: str) -> str:
    """`pattern` with all the text around its match, so that replacing it by the first group leaves only that."""
    return rf"^(?s:.*?)(?:{pattern})(?s:.*)$"


def joined(between: str, left: pa.StringArray, right: pa.StringArray) -> pa.StringArray:
    """Both texts with `between` in the middle; where one is null, the other."""
    # not null_handling="skip": it gives no rows at all where all of them are null
    both = pc.binary_join_element_wise(left, right, pa.array([between], TEXT)[0])
    return pc.coalesce(both, left, right) if left.null_count or right.null_count else both


def _cut(value: pa.StringArray, pattern: str) -> pa.StringArray:
    """The first group of `pattern` where it matches, else null."""
    fits = pc.match_substring_regex(value, pattern)
    cut = pc.replace_substring_regex(value, whole(pattern), r"\1")
    return without_blanks(pc.if_else(fits, cut, _NULL))


def first_cut(values: pa.StringArray, patterns: Sequence[str]) -> pa.StringArray:
    """What the first of `patterns` that matches cuts out of each value; each one looks only at what is left."""
    found = _cut(values, patterns[0])
    for pattern in patterns[1:]:
        if found.null_count == values.null_count:
            break
        found = pc.coalesce(found, _cut(pc.if_else(pc.is_null(found), values, _NULL), pattern))
    return found


def trimmed(values: pa.StringArray) -> pa.StringArray:
    """The values without spaces around them (tables pad their names); null where nothing is left."""
    octets = TextBytes.of(values)
    begin, end = (int(octets.start[0]), int(octets.end[-1])) if len(octets) else (0, 0)
    if not np.any(octets.data[begin:end] <= ord(" ")):
        return values
    return without_blanks(pc.utf8_trim_whitespace(values))


def _folded(word: str) -> str:
    return word.strip().casefold()


def translated(values: Texts, table: Mapping[str, str], words: tuple[str, ...] | None) -> pa.DictionaryArray:
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
    return worded(places, pa.array(meanings, TEXT))
