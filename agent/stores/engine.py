"""The port between a store and its database: columns with their kinds, what is sought, rows as columns of text.

An engine knows how its database writes a statement and nothing about calls. It gives rows as text, times with a zone
as ISO 8601 with Z, others as their wall clock shows; a fraction of zero is left out, as most switches don't have one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Final, Protocol

Value = str | int | Decimal | float | datetime
"""A bound parameter, in the type of the column that it is compared with."""


class Kind(Enum):
    """What a column's values are."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number with a fraction"
    INSTANT = "time with zone"
    LOCAL = "time without zone"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class StoreColumn:
    """A column of the table; `declared` is its type in the database's own words."""

    name: str
    kind: Kind
    declared: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Absent:
    """A column that must hold nothing: null or one of the values that stand for never."""

    column: StoreColumn
    never: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """One search: any of these called numbers, and a time from `low` to `high` (None: at any time)."""

    called: tuple[Value, ...]
    low: Value | None
    high: Value | None


@dataclass(frozen=True, slots=True)
class Sought:
    """Searches over one pair of columns; rows count only where the `absent` columns hold nothing."""

    called: StoreColumn
    time: StoreColumn | None
    absent: tuple[Absent, ...]
    spans: tuple[Span, ...]


Table = Mapping[str, Sequence[str | None]]
"""Columns of text of equal length, by name."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What `check-config` says of a table: `warnings` of what is slow or unsafe, with what to do about it."""

    warnings: tuple[str, ...] = ()
    facts: tuple[str, ...] = field(default=())


class Engine(Protocol):
    """A database's table.

    Every method raises `StoreError` when the table can't be read now, `StoreSetupError` when waiting won't help.
    """

    batch: int
    """Questions that go well into one statement."""

    def columns(self) -> Mapping[str, StoreColumn]:
        """The table's columns, by name."""
        ...

    def rows(self, select: Sequence[StoreColumn], sought: Sequence[Sought], limit: int) -> Table:
        """The columns `select` of the rows that fit any of the searches, perhaps several times each.

        Raises:
            TooManyRowsError: there are more than `limit`.
        """
        ...

    def newest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, bounds: Sequence[Value]) -> Table:
        """The `count` rows with the highest `by` that is at least the first of `bounds` which leaves any, else of all.

        `bounds` keep the search short where no index serves it: partitions and blocks of old rows are not read.
        """
        ...

    def oldest(self, select: Sequence[StoreColumn], by: StoreColumn, count: int, never: Sequence[Value]) -> Table:
        """The `count` rows with the lowest `by`; null and `never` don't count."""
        ...

    def estimate(self) -> int:
        """How many rows the table has, as its statistics know it."""
        ...

    def advise(self, sought: Sequence[Sought], select: Sequence[StoreColumn]) -> Advice:
        """How the database would look this up, and what the account may do that it need not."""
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...


_ZERO_FRACTION: Final = re.compile(r"\.0+$")


def shown_time(text: str, *, instant: bool) -> str:
    """A time as databases print it, without a fraction of zero, with Z where it has its zone."""
    if "." in text:
        text = _ZERO_FRACTION.sub("", text)
    return text + "Z" if instant else text
