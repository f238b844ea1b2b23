"""How large an index is, and what serving it takes: rows, days, segments, bytes a call on disk and in memory.

Figures of the disk are sizes of files; figures of memory are those of a process that has the index open, without the
page cache, which the system takes back when it needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median_low
from typing import Final

from agent.index.layout import DAY_MS, DAYS, GENERATION, MANIFEST, PAGE, QUARANTINE, REJECTS, padded, time_of
from agent.index.segment import Segment
from agent.index.snapshot import State

_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """One segment; see `agent.index.manifest.SegmentEntry` and `agent.index.segment_format.Header`.

    Attributes:
        calls: rows but for those that are a second form of one. bytes: of its file. in_memory: of what is held of it.
    """

    name: str
    source: str
    day: datetime
    rows: int
    calls: int
    bytes: int
    in_memory: int
    earliest: datetime
    latest: datetime
    longest_ms: int
    files: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over segments."""

    segments: int
    days: int
    rows: int
    calls: int
    bytes: int
    in_memory: int
    earliest: datetime | None
    latest: datetime | None

    @property
    def bytes_a_call(self) -> float | None:
        """Of the segments alone; None without calls."""
        return self.bytes / self.calls if self.calls else None


@dataclass(frozen=True, slots=True)
class Stats:
    """An index in figures.

    Attributes:
        generation: number of the last commit. records: call legs as they were delivered, repetitions too. files: source
            files. total, sources: what the segments hold, in all and by source.
        segments_a_day: the middle and the greatest number of segments that a lookup within a day looks into.
        disk: bytes by kind of file: segments, manifest, secrets, rejects, quarantine.
        resident: bytes of memory of this process with the index open, without page cache; None where unknown.
    """

    generation: int
    records: int
    files: int
    total: Totals
    sources: dict[str, Totals]
    segments_a_day: tuple[int, int]
    disk: dict[str, int]
    resident: int | None

    @property
    def bytes_a_call(self) -> float | None:
        """On disk, with all that lookups need; None without calls."""
        needed = self.disk["segments"] + self.disk["manifest"] + self.disk["secrets"]
        return needed / self.total.calls if self.total.calls else None


def segment_facts(state: State) -> list[SegmentFacts]:
    """The segments that count, by name, which is by day."""
    return [_facts(state.segments[name]) for name in sorted(state.segments)]


def _facts(segment: Segment) -> SegmentFacts:
    entry, header = segment.entry, segment.header
    return SegmentFacts(
        name=entry.name,
        source=entry.source,
        day=time_of(entry.day * DAY_MS),
        rows=entry.rows,
        calls=entry.rows - header.translated,
        bytes=entry.size,
        in_memory=padded(4 * ((1 << header.bucket_bits) + 1)) + entry.size // PAGE,
        earliest=time_of(entry.earliest_ms),
        latest=time_of(entry.latest_ms),
        longest_ms=entry.longest_ms,
        files=len(entry.files),
    )


def totals(facts: Sequence[SegmentFacts]) -> Totals:
    """Sums over these segments."""
    return Totals(
        segments=len(facts),
        days=len({fact.day for fact in facts}),
        rows=sum(fact.rows for fact in facts),
        calls=sum(fact.calls for fact in facts),
        bytes=sum(fact.bytes for fact in facts),
        in_memory=sum(fact.in_memory for fact in facts),
        earliest=min((fact.earliest for fact in facts), default=None),
        latest=max((fact.latest for fact in facts), default=None),
    )


def stats(state: State, directory: Path) -> Stats:
    """The figures of an index that is open."""
    facts = segment_facts(state)
    a_day = Counter(fact.day for fact in facts)
    by_source: dict[str, list[SegmentFacts]] = {covered.source: [] for covered in state.coverage.sources}
    for fact in facts:
        by_source.setdefault(fact.source, []).append(fact)
    return Stats(
        generation=max(state.generation, 0),
        records=sum(covered.records for covered in state.coverage.sources),
        files=sum(covered.files for covered in state.coverage.sources),
        total=totals(facts),
        sources={source: totals(some) for source, some in sorted(by_source.items())},
        segments_a_day=(median_low(a_day.values()), max(a_day.values())) if a_day else (0, 0),
        disk={
            "segments": sum(fact.bytes for fact in facts),
            "manifest": _size([directory / MANIFEST, directory / GENERATION]),
            "secrets": _size((directory / DAYS).glob("*.key")),
            "rejects": _size((directory / REJECTS).glob("*.jsonl")),
            "quarantine": _size((directory / QUARANTINE).glob("*.seg")),
        },
        resident=_resident(),
    )


def _size(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # removed meanwhile, or not there yet
    return total


def _resident() -> int | None:
    """Memory of this process that is no page of a file, in bytes."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    said = {line.partition(":")[0]: line.split() for line in lines}
    return int(said["RssAnon"][1]) * 1024 if "RssAnon" in said else None
