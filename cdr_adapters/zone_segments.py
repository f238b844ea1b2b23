"""When a zone's clocks are how far from UTC: local time cut into segments, for whole columns of times at once.

Between two changes of the clocks the offset is one; at a change there is a segment of local times that were skipped, or
one of those that occurred twice. Python's zoneinfo doesn't tell the changes, so they are found: the offset is compared
every three hours, and a change is cornered to the second. No zone has changed twice within three hours since 1990.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

_STRIDE: Final = 3 * 3600
_HOUR_MS: Final = 3_600_000


class _Change(NamedTuple):
    """At `at` (UTC seconds) the offset (seconds) or the abbreviation became another."""

    at: int
    before: int
    after: int
    name_after: str | None


def _shown(zone: tzinfo, at: int) -> tuple[int, str | None]:
    local = datetime.fromtimestamp(at, zone)
    return (local.utcoffset() or timedelta(0)) // timedelta(seconds=1), local.tzname()


@lru_cache(maxsize=4096)
def _changes(zone: tzinfo, year: int) -> tuple[_Change, ...]:
    """The changes within a year of UTC."""
    begin, end = (int(datetime(y, 1, 1, tzinfo=UTC).timestamp()) for y in (year, year + 1))
    found = []
    before = _shown(zone, begin)
    for low in range(begin, end, _STRIDE):
        high = min(low + _STRIDE, end)
        after = _shown(zone, high)
        if after != before:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _shown(zone, middle) == before else (low, middle)
            found.append(_Change(high, before[0], after[0], after[1]))
        before = after
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Segments:
    """Local time in segments: segment i begins at `begins[i - 1]`, the first one at any time before.

    `first` and `second` are the offsets in ms; they differ where the local time occurred twice; `skipped` are
    segments that no clock showed; `names` are the abbreviations, None in all but ordinary segments.
    """

    begins: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    skipped: npt.NDArray[np.bool_]
    names: tuple[str | None, ...]

    def at(self, local: npt.NDArray[np.int64]) -> npt.NDArray[np.intp] | int:
        """The segment of each local time (ms): one number where all lie in one."""
        if not len(self.begins):
            return 0
        least, most = np.searchsorted(self.begins, [local.min(), local.max()], "right").tolist()
        return int(least) if least == most else np.searchsorted(self.begins, local, "right")


@lru_cache(maxsize=256)
def segments(zone: tzinfo, first_year: int, last_year: int) -> Segments:
    """The segments of local time from the beginning of one year to the end of another."""
    changes = [change for year in range(first_year - 1, last_year + 2) for change in _changes(zone, year)]
    offset, name = _shown(zone, int(datetime(first_year - 1, 1, 1, tzinfo=UTC).timestamp()))
    begins: list[int] = []
    first, second, skipped, names = [offset], [offset], [False], [name]
    for change in changes:
        begins += [change.at + min(change.before, change.after), change.at + max(change.before, change.after)]
        first += [change.before, change.after]
        second += [change.after, change.after]
        skipped += [change.after > change.before, False]
        names += [None, change.name_after]
    return Segments(
        np.array(begins, np.int64) * 1000,
        np.array(first, np.int64) * 1000,
        np.array(second, np.int64) * 1000,
        np.array(skipped, np.bool_),
        tuple(names),
    )
