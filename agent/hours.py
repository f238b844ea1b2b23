"""What the index has hour by hour: records of each source, hours in which they are missing, and how late they came.

A gap is an hour without any record in which others would lead one to expect `MANY` or more: the median of the records
in the same hour one day, one week and two weeks before and after, as far as these are covered; where fewer than two of
them are, the lesser of the nearest hours with records before and after. Quiet nights and Sundays are no gaps, an outage
of some hours or days is. Only whole hours between the beginning of coverage and the watermark count.

Lateness is told by file: when it was indexed, less the time of its last call. A file that grew is as late as what it
last brought; the calls before the last one in a file came later than that by the time between them.

Pure; times are hours since 1970 within, aware UTC outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, median_low
from typing import Final

import numpy as np

from agent.index.census import Calls
from agent.index.coverage import SourceCoverage
from agent.index.layout import ceil_ms, floor_ms, time_of
from agent.index.manifest import FileEntry

HOUR_MS: Final = 3_600_000
MANY: Final = 20
RULE: Final = (
    f"a gap is an hour without records where {MANY} or more were to be expected: the median of the same hour one day, "
    "one week and two weeks before and after, or, where fewer than two of these are covered, the lesser of the "
    "nearest hours with records before and after"
)
_LIKE_IT: Final = (-336, -168, -24, 24, 168, 336)
_LEAST_ALIKE: Final = 2


@dataclass(frozen=True, slots=True)
class Gap:
    """Hours without records, from `begin` until before `end`; `expected`: how many records there ought to be."""

    begin: datetime
    end: datetime
    expected: int


@dataclass(frozen=True, slots=True)
class Lateness:
    """How long after their last call files were indexed: the middle and the worst one of so many files."""

    files: int
    p50: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of a source. `is_gap`: no records, though many were to be expected."""

    begin: datetime
    records: int
    is_gap: bool
    lateness: Lateness | None


@dataclass(frozen=True, slots=True)
class SourceHours:
    """A source hour by hour.

    Attributes:
        covered: from when until when, and what was lost. hours: those asked for, from the first one with records on.
        gaps: those that touch the time asked for. lateness: of all its files; None when none has records.
    """

    covered: SourceCoverage
    hours: tuple[Hour, ...]
    gaps: tuple[Gap, ...]
    lateness: Lateness | None


def count_hours(calls: Iterable[Calls]) -> dict[str, Counter[int]]:
    """How many calls of each source began in each hour since 1970."""
    counts: dict[str, Counter[int]] = {}
    for some in calls:
        hours, numbers = np.unique(some.ms // HOUR_MS, return_counts=True)
        counts.setdefault(some.source, Counter()).update(dict(zip(hours.tolist(), numbers.tolist(), strict=True)))
    return counts


def source_hours(
    covered: SourceCoverage,
    counts: Mapping[int, int],
    files: Iterable[FileEntry],
    begin: datetime,
    end: datetime,
) -> SourceHours:
    """A source between `begin` and `end`, from its `counts` of all hours; `files` are its own."""
    late: dict[int, list[int]] = {}
    for entry in files:
        if entry.records and entry.latest_ms is not None:
            late.setdefault(entry.latest_ms // HOUR_MS, []).append(max(0, entry.indexed_ms - entry.latest_ms))
    gaps = tuple(gap for gap in _gaps(covered, counts) if gap.begin < end and begin < gap.end)
    missing = {hour for gap in gaps for hour in range(_hour(gap.begin), _hour(gap.end))}
    known = {*counts, *missing, *late}
    first = max(_hour(begin), min(known, default=0))
    last = min(-(-floor_ms(end) // HOUR_MS) - 1, max(known, default=-1))
    hours = tuple(
        Hour(time_of(hour * HOUR_MS), counts.get(hour, 0), hour in missing, _lateness(late.get(hour, ())))
        for hour in range(first, last + 1)
    )
    return SourceHours(covered, hours, gaps, _lateness([ms for some in late.values() for ms in some]))


def _hour(time: datetime) -> int:
    return floor_ms(time) // HOUR_MS


def _lateness(ms: Sequence[int]) -> Lateness | None:
    if not ms:
        return None
    return Lateness(len(ms), timedelta(milliseconds=median_low(ms)), timedelta(milliseconds=max(ms)))


def _gaps(covered: SourceCoverage, counts: Mapping[int, int]) -> tuple[Gap, ...]:
    if covered.covered_from is None or covered.watermark is None:
        return ()
    first = -(-ceil_ms(covered.covered_from) // HOUR_MS)
    end = floor_ms(covered.watermark) // HOUR_MS
    beside = _beside(counts, first, end)
    found: list[tuple[int, int, int]] = []
    for hour in range(first, end):
        if counts.get(hour):
            continue
        expected = _expected(hour, counts, range(first, end), beside)
        if expected < MANY:
            continue
        if found and found[-1][1] == hour:
            begin, _, before = found.pop()
            found.append((begin, hour + 1, before + expected))
        else:
            found.append((hour, hour + 1, expected))
    return tuple(Gap(time_of(begin * HOUR_MS), time_of(end * HOUR_MS), expected) for begin, end, expected in found)


def _beside(counts: Mapping[int, int], first: int, end: int) -> dict[int, int]:
    """For every empty hour, the lesser of the nearest ones with records before and after; 0 when one is not there."""
    beside: dict[int, int] = {}
    before, empty = 0, list[int]()
    for hour in range(first - 1, end + 1):
        count = counts.get(hour, 0)
        if count:
            beside.update(dict.fromkeys(empty, min(before, count)))
            before, empty = count, []
        else:
            empty.append(hour)
    return beside


def _expected(hour: int, counts: Mapping[int, int], covered: range, beside: Mapping[int, int]) -> int:
    alike = [counts.get(hour + away, 0) for away in _LIKE_IT if hour + away in covered]
    return int(median(alike)) if len(alike) >= _LEAST_ALIKE else beside.get(hour, 0)


def never_indexed(name: str) -> SourceCoverage:
    """What a source covers of which nothing is indexed."""
    return SourceCoverage(name, None, None, None, None, records=0, files=0)
