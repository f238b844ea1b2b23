"""What an index can answer for: per source from when until when, and what an empty find then means.

An empty find is "searched, covered, absent" only when every source covers the whole interval that was searched. All
here is pure; the clock is passed in.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta


class CoverageState(enum.Enum):
    """What the index knows about an interval of time."""

    COVERED = "covered"
    """Every source has records before and is complete beyond it."""
    EXPIRED = "expired"
    """Some of it is older than the retention."""
    NOT_YET = "not-yet"
    """Some of it lies beyond the watermark of some source: records of that time may still come."""
    GAP = "gap"
    """Some of it lies before the first record of some source or was lost, or there are no sources at all."""


@dataclass(frozen=True, slots=True)
class SourceCoverage:
    """What one source covers.

    Attributes:
        source: the name of the source in the configuration.
        earliest, latest: the first and last time that a call of it can have been set up; None without records.
        covered_from: `earliest`, or what the operator stated, whichever is earlier; None when neither is known.
        watermark: `latest`, or what the operator stated, whichever is later; None when neither is known.
        records: call legs in it; files: source files that it came from.
        lost: times of which records are missing, because what held them was found broken, ends included.
    """

    source: str
    earliest: datetime | None
    latest: datetime | None
    covered_from: datetime | None
    watermark: datetime | None
    records: int
    files: int
    lost: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """What all sources of an index cover, ordered by name.

    What `state` asks for is worked out once: from when all sources of which it is known are covered, until when all are
    complete, whether it is unknown of some, and what was lost.
    """

    sources: tuple[SourceCoverage, ...]
    _from: datetime | None = field(init=False, repr=False, compare=False)
    _until: datetime | None = field(init=False, repr=False, compare=False)
    _open: bool = field(init=False, repr=False, compare=False)
    _lost: tuple[tuple[datetime, datetime], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = [source.covered_from for source in self.sources if source.covered_from is not None]
        marks = [source.watermark for source in self.sources if source.watermark is not None]
        object.__setattr__(self, "_from", max(starts, default=None))
        object.__setattr__(self, "_until", min(marks) if marks and len(marks) == len(self.sources) else None)
        object.__setattr__(self, "_open", len(starts) < len(self.sources))
        object.__setattr__(self, "_lost", tuple(lost for source in self.sources for lost in source.lost))

    def state(self, earliest: datetime, latest: datetime, now: datetime, retention: timedelta) -> CoverageState:
        """What is known of [`earliest`, `latest`] at `now` when records are kept for `retention`. All times aware.

        When several states hold, the one that lasts longest is given: waiting does not help against EXPIRED, nor
        against a GAP.
        """
        if earliest < now - retention:
            return CoverageState.EXPIRED
        if not self.sources:
            return CoverageState.GAP
        if self._from is not None and earliest < self._from:
            return CoverageState.GAP
        if self._lost and any(begin <= latest and earliest <= end for begin, end in self._lost):
            return CoverageState.GAP
        if self._until is None or latest > self._until:
            return CoverageState.NOT_YET
        return CoverageState.GAP if self._open else CoverageState.COVERED

    def watermark(self) -> datetime | None:
        """Until when all sources are complete; None when that is unknown for some."""
        return self._until
