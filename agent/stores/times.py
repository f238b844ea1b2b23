"""Bounds of time as a column writes them, so that the database compares its own column with two constants.

A search is never narrower than the question: where a column's clock cuts off, where local time runs back in autumn or
rows say their own zones, the bounds lie further out, and what lies between is sorted out by the mapping layer. A
column whose order is not that of time (day before month, a weekday in front) can't be searched by time; then the
number alone is searched for, and the inspection says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

from agent.stores.engine import Kind, StoreColumn, Value
from agent.stores.errors import StoreSetupError
from cdr_adapters.column_specs import EPOCH_FORMATS, TimeColumn
from cdr_adapters.times import DAY_MS, JULIAN_EPOCH, PER_SECOND, SINCE, step_of_directives

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (wall clocks)
_MS: Final = timedelta(milliseconds=1)
_FURTHEST: Final = timedelta(hours=15) // _MS
"""No clock on a wall is further from UTC."""
_SECOND: Final = 1000
_STRIDE: Final = timedelta(days=7) // _MS
_HOUR: Final = 3_600_000

_FIELDS: Final = ("Yy", "m", "d", "H", "M", "S")
_DIRECTIVE: Final = re.compile(r"%(.)")
_NEVER_TEXTS: Final = ("", "0", "0000-00-00 00:00:00", "0000-00-00T00:00:00", "NULL", "\\N")

Which = Literal["low", "high"]


@dataclass(frozen=True, slots=True)
class Axis:
    """How moments are written in one column.

    Attributes:
        column: the column.
        step: what its clock cuts off, at most, ms.
        ahead: what its values are ahead of UTC by the mapping's shift and clock offset, ms.
        low, high: a bound (ms since 1970 UTC, `ahead` added) as the column writes it, rounded outwards; None where the
            column can't be searched by time.
        never: values that stand for "no time".
        why: why it can't be searched, for people.
    """

    column: StoreColumn
    step: int
    ahead: int
    low: Callable[[int], Value] | None
    high: Callable[[int], Value] | None
    never: tuple[Value, ...]
    why: str = ""

    @property
    def searchable(self) -> bool:
        """Whether the column's order is that of time."""
        return self.low is not None

    def bounds(self, low_ms: int, high_ms: int) -> tuple[Value, Value] | tuple[None, None]:
        """The interval of moments as the column writes it, ends included."""
        if self.low is None or self.high is None:
            return None, None
        return self.low(low_ms + self.ahead - self.step), self.high(high_ms + self.ahead)


def axis(store: str, name: str, column: StoreColumn, spec: TimeColumn, zone: ZoneInfo | None, offset: int) -> Axis:
    """How the times of a column are searched.

    Args:
        store, name: of the store and the canonical time, for messages.
        column, spec: the column, and what the mapping says of it.
        zone: the store's zone. offset: its clock's offset, ms.

    Raises:
        StoreSetupError: a column without zone in a store without one; a format that the column's type can't have.
    """
    step = _step(spec)
    ahead = offset - spec.shift // _MS
    if spec.fraction_column is not None:
        step += _SECOND
    kind = column.kind
    if kind in (Kind.INSTANT, Kind.LOCAL) and "iso8601" not in spec.format and not _shows_native(spec):
        raise StoreSetupError(
            store, f"columns.{name}: {column.name!r} is a {column.declared}: write format = 'iso8601' for it"
        )
    if kind is Kind.INSTANT:
        return Axis(column, step, ahead, _instant, lambda ms: _instant(ms + 1), (_EPOCH,))
    if len(spec.format) > 1:
        return _unsearchable(column, step, ahead, "it has several formats")
    one = spec.format[0]
    if one in EPOCH_FORMATS:
        return _counted(column, step, ahead, one)
    own_zone = spec.zone_column is not None or "%z" in one or "%Z" in one
    if kind is Kind.LOCAL or kind is Kind.TEXT or kind is Kind.INTEGER:
        if zone is None and not own_zone and (kind is not Kind.TEXT or one != "iso8601"):
            raise StoreSetupError(
                store,
                f"columns.{name}: {column.name!r} is a {column.declared}, which doesn't say its zone: set zone, such "
                "as zone = 'UTC'",
            )
        wall = _Wall(None if own_zone or zone is None else zone)
        if kind is Kind.LOCAL:
            return Axis(
                column,
                step,
                ahead,
                lambda ms: wall.naive(ms, "low"),
                lambda ms: wall.naive(ms, "high"),
                (_NAIVE_EPOCH,),
            )
        return _written(column, step, ahead, one, wall)
    return _unsearchable(column, step, ahead, f"a {column.declared} has no order of time in format {one!r}")


def _shows_native(spec: TimeColumn) -> bool:
    return all(one in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f") for one in spec.format)


def _step(spec: TimeColumn) -> int:
    if spec.resolution is not None:
        return spec.resolution // _MS
    steps = [
        60_000 if one == "iso8601" else _SECOND if one in EPOCH_FORMATS else step_of_directives(_DIRECTIVE.findall(one))
        for one in spec.format
    ]
    return max(*steps, _SECOND)


def _unsearchable(column: StoreColumn, step: int, ahead: int, why: str) -> Axis:
    never: tuple[Value, ...] = _NEVER_TEXTS if column.kind is Kind.TEXT else ()
    return Axis(column, step, ahead, None, None, never, why)


def _instant(ms: int) -> datetime:
    return _EPOCH + ms * _MS


def _counted(column: StoreColumn, step: int, ahead: int, unit: str) -> Axis:
    """Counts since an epoch, as numbers or as texts of digits (of equal length: their order is that of time)."""
    if unit == "julian":
        if column.kind is Kind.NUMBER:
            return Axis(column, step, ahead, lambda ms: _julian(ms - 1), lambda ms: _julian(ms + 1), (0,))
        return _unsearchable(column, step, ahead, "Julian days are searched as numbers only")
    per_second, since = PER_SECOND[unit], SINCE.get(unit, 0)

    def count(ms: int) -> int:
        return ms * per_second // 1000 + since

    if column.kind in (Kind.INTEGER, Kind.NUMBER):
        return Axis(column, step, ahead, count, lambda ms: count(ms + 1) + 1, (0,))
    if column.kind is Kind.TEXT:
        return Axis(
            column, step, ahead, lambda ms: str(count(ms)), lambda ms: str(count(ms + 1) + 1), ("", "0", "NULL", "\\N")
        )
    return _unsearchable(column, step, ahead, f"a {column.declared} can't hold {unit}")


def _julian(ms: int) -> Decimal:
    return Decimal(ms) / DAY_MS + Decimal(str(JULIAN_EPOCH))


class _Wall:
    """Moments as clocks on the wall show them; without a zone, as any clock may."""

    def __init__(self, zone: ZoneInfo | None) -> None:
        self._zone = zone

    def shown(self, ms: int, which: Which) -> int:
        """What the clock shows, in ms since 1970 by the wall; the extreme of what it may show up to a week around.

        Where the clocks change near a bound, both readings count: never narrower than the question.
        """
        if self._zone is None:
            return ms - _FURTHEST if which == "low" else ms + _FURTHEST
        if len({self._offset(at) for at in (ms - _STRIDE, ms, ms + _STRIDE)}) == 1:
            return ms + self._offset(ms)
        near = [self._offset(ms + hours * _HOUR) for hours in range(-26, 27)]
        return ms + (min(near) if which == "low" else max(near))

    def _offset(self, ms: int) -> int:
        local = (_EPOCH + ms * _MS).astimezone(self._zone)
        return (local.utcoffset() or timedelta(0)) // _MS

    def naive(self, ms: int, which: Which) -> datetime:
        return _NAIVE_EPOCH + (self.shown(ms, which) + (1 if which == "high" else 0)) * _MS


def _written(column: StoreColumn, step: int, ahead: int, one: str, wall: _Wall) -> Axis:
    """Local times as texts (or as numbers of their digits), where the order of the texts is that of time."""
    if one == "iso8601":
        if column.kind is not Kind.TEXT:
            return _unsearchable(column, step, ahead, "ISO 8601 is no number")
        day = timedelta(days=1)
        return Axis(
            column,
            step,
            ahead,
            # values may have a blank or a T, a zone or none: only their days are compared
            lambda ms: f"{_NAIVE_EPOCH + (ms - _FURTHEST) * _MS:%Y-%m-%d}",
            lambda ms: f"{_NAIVE_EPOCH + (ms + _FURTHEST) * _MS + day:%Y-%m-%d}",
            _NEVER_TEXTS,
        )
    pattern = _prefix_in_order(one)
    if pattern is None:
        return _unsearchable(column, step, ahead, f"the order of texts in format {one!r} is not that of time")
    if column.kind is Kind.INTEGER and re.search(r"[^0-9YymdHMS%]", pattern):
        return _unsearchable(column, step, ahead, f"format {one!r} is no number")
    low_pattern, unit = pattern, _unit_of(pattern)

    def text(ms: int, which: Which) -> str:
        wall_ms = wall.shown(ms, which)
        # rounded outwards to what the pattern shows
        wall_ms = wall_ms // unit * unit if which == "low" else (wall_ms // unit + 1) * unit
        return (_NAIVE_EPOCH + wall_ms * _MS).strftime(low_pattern)

    if column.kind is Kind.INTEGER:
        return Axis(column, step, ahead, lambda ms: int(text(ms, "low")), lambda ms: int(text(ms, "high")), (0,))
    never = dict.fromkeys((*_NEVER_TEXTS, _NAIVE_EPOCH.strftime(pattern)))
    return Axis(column, step, ahead, lambda ms: text(ms, "low"), lambda ms: text(ms, "high"), tuple(never))


def _unit_of(pattern: str) -> int:
    if "%S" in pattern:
        return _SECOND
    return 60_000 if "%M" in pattern else 3_600_000


def _prefix_in_order(pattern: str) -> str | None:
    """The part of a pattern whose texts lie in the order of time: year, month, day, hour, perhaps minute and second.

    What comes after it is below a second, or a zone. None where the order is another one.
    """
    found = list(_DIRECTIVE.finditer(pattern))
    letters = [match[1] for match in found]
    if letters.count("%"):
        return None
    for count in range(min(len(letters), len(_FIELDS)), 3, -1):
        if all(letter in field for letter, field in zip(letters, _FIELDS[:count], strict=False)):
            return pattern[: found[count - 1].end()]
    return None
