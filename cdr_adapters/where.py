"""Which records of a source are calls: what a mapping's `where` wants of the columns as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.text_bytes import Mask, is_true
from cdr_adapters.text_columns import TEXT, column_of


@dataclass(frozen=True, slots=True)
class Where:
    """What `where` wants, by the name of the column."""

    conditions: Mapping[str, _Condition]

    @classmethod
    def of(cls, where: Mapping[str, str | list[str]]) -> Where:
        """The conditions of a mapping: a text or several, of which `!text` is one that must not be there."""
        return cls({name: _Condition.of(wanted) for name, wanted in where.items()})

    @property
    def used(self) -> frozenset[str]:
        """The columns that are looked at."""
        return frozenset(self.conditions)

    def chosen(self, table: pa.RecordBatch) -> Mask | None:
        """Which rows fit; None when all do."""
        chosen: Mask | None = None
        for name, condition in self.conditions.items():
            fits = condition.fits(column_of(table, name))
            chosen = fits if chosen is None else chosen & fits
        return None if chosen is None or chosen.all() else chosen


@dataclass(frozen=True, slots=True)
class _Condition:
    """What `where` wants of one column: one of `any_of` (when there are any) and none of `none_of`."""

    any_of: pa.Array
    none_of: pa.Array

    @classmethod
    def of(cls, wanted: str | list[str]) -> _Condition:
        texts = [wanted] if isinstance(wanted, str) else wanted
        return cls(
            pa.array([text for text in texts if not text.startswith("!")], TEXT),
            pa.array([text[1:] for text in texts if text.startswith("!")], TEXT),
        )

    def fits(self, values: pa.StringArray) -> Mask:
        """Which values are as wanted; an absent one is looked at as an empty text."""
        texts = pc.fill_null(values, "") if values.null_count else values
        fits: Mask = np.ones(len(values), np.bool_)
        if len(self.any_of):
            fits &= _is_in(texts, self.any_of)
        if len(self.none_of):
            fits &= ~_is_in(texts, self.none_of)
        return fits


def _is_in(texts: pa.StringArray, wanted: pa.Array) -> Mask:
    return is_true(pc.equal(texts, wanted[0]) if len(wanted) == 1 else pc.is_in(texts, value_set=wanted))
