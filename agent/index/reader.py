"""Finding the legs of a called number in an index directory.

A search works on one state of the index, the one that the manifest described when the search began; indexing, in this
or another process, changes nothing under it. Whether there is a newer state costs one `stat` a search.

Never answers from a directory that it could not read whole: that raises, and an empty list means that nothing is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from agent.index import manifest as manifests
from agent.index.coverage import Coverage
from agent.index.errors import IndexCorruptError
from agent.index.keys import I64, U64, Keys
from agent.index.layout import DAY_MS, MANIFEST, SEGMENTS, ceil_ms, floor_ms
from agent.index.manifest import Manifest, SegmentEntry
from agent.index.segment import Segment
from agent.legs import Leg
from protos.e164 import E164, to_int

_NOTHING = Coverage(())
_FEW = 48
"""Below this many queries, one after the other is faster than columns."""


@dataclass(frozen=True, slots=True)
class Query:
    """One search: the called number, the calling number as a hint, and the interval, aware UTC, ends included."""

    called: E164
    calling: E164 | None
    earliest: datetime
    latest: datetime


@dataclass(frozen=True, slots=True)
class _State:
    """One state of the index. `by_day` has the segments with rows of a day; `longest_ms` is the longest interval."""

    coverage: Coverage = _NOTHING
    generation: int = -1
    segments: dict[str, Segment] = field(default_factory=dict)
    by_day: dict[int, tuple[Segment, ...]] = field(default_factory=dict)
    first_ms: int = 0
    last_ms: int = -1
    longest_ms: int = 0


class Index:
    """An index directory, open for reading. Safe to share between threads."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        self._directory = directory
        self._keys = keys
        self._path = directory / MANIFEST
        self._manifest_name = os.fspath(self._path)
        self._state = _State()
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._held = -1

    @classmethod
    def open(cls, directory: Path, keys: Keys) -> Index:
        """Open the index; serves at once what was indexed, and later what is indexed while it is open.

        A directory that is not there yet is an index without sources.

        Raises:
            IndexCorruptError, UnknownVersionError, WrongKeyError: see there.
        """
        index = cls(directory, keys)
        index.refresh()
        return index

    def close(self) -> None:
        """Let go of the files. A later search opens them again."""
        with self._lock:
            self._state, self._seen = _State(), None
            self._hold(-1)

    def __del__(self) -> None:
        self._hold(-1)

    def refresh(self) -> bool:
        """Take up what was indexed since; every search does this itself. Returns whether anything changed.

        Raises:
            IndexUnusableError: the new state can't be read; the old one is not served in its place.
        """
        try:
            status = os.stat(self._manifest_name)  # noqa: PTH116 (twice as fast as Path.stat, and done for every search)
        except FileNotFoundError:
            self._require_new()
            return False
        if (status.st_ino, status.st_mtime_ns, status.st_size) == self._seen:
            return False
        with self._lock:
            return self._load()

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> list[Leg]:
        """All legs of `called` whose seizure interval touches [`earliest`, `latest`], ordered by time.

        Raises:
            IndexUnusableError: the index can't be read; never an empty list then.
            ValueError: a naive time, or `latest` before `earliest`.
        """
        self.refresh()
        return self._find(self._state, called, calling, earliest, latest)

    def find_many(self, queries: Sequence[Query]) -> list[list[Leg]]:
        """What `find` gives for each query, in their order, at a fraction of the cost, all from one state.

        Raises:
            IndexUnusableError, ValueError: as `find`, for the whole batch.
        """
        self.refresh()
        state = self._state
        if len(queries) < _FEW:
            return [self._find(state, q.called, q.calling, q.earliest, q.latest) for q in queries]
        return self._find_many(state, queries)

    def _find(
        self, state: _State, called: E164, calling: E164 | None, earliest: datetime, latest: datetime
    ) -> list[Leg]:
        # a row has whole milliseconds: it touches the interval when it touches the whole ones within
        from_ms, to_ms = ceil_ms(earliest), floor_ms(latest)
        if latest < earliest:
            raise ValueError("the interval ends before it begins")
        number = to_int(called)
        hint = to_int(calling) if calling is not None else 0
        low, high = max(from_ms - state.longest_ms, state.first_ms), min(to_ms, state.last_ms)
        legs: list[Leg] = []
        for day in range(low // DAY_MS, high // DAY_MS + 1):
            segments = state.by_day.get(day)
            if segments is None:
                continue
            cipher = self._keys.day(day)
            pseudonym = cipher.called(number)
            begin, end = max(low, day * DAY_MS), min(high, day * DAY_MS + DAY_MS - 1)
            for segment in segments:
                for position, at_ms, record in segment.search(day, pseudonym, begin, end):
                    if at_ms + record[1] >= from_ms:
                        legs.append(segment.leg(position, at_ms, record, cipher.calling(hint) if hint else 0))
        return _in_order(legs)

    def _find_many(self, state: _State, queries: Sequence[Query]) -> list[list[Leg]]:
        from_ms = np.array([ceil_ms(query.earliest) for query in queries], np.int64)
        to_ms = np.array([floor_ms(query.latest) for query in queries], np.int64)
        if any(query.latest < query.earliest for query in queries):
            raise ValueError("the interval of a query ends before it begins")
        called = np.array([to_int(query.called) for query in queries], np.uint64)
        calling = np.array([to_int(query.calling) if query.calling else 0 for query in queries], np.uint64)
        low = np.maximum(from_ms - state.longest_ms, state.first_ms)
        high = np.minimum(to_ms, state.last_ms)
        # from here on a search is a query on one day
        which, days = _days(low // DAY_MS, high // DAY_MS)
        low, high = np.maximum(low[which], days * DAY_MS), np.minimum(high[which], days * DAY_MS + (DAY_MS - 1))
        segments = {segment: None for day in np.unique(days).tolist() for segment in state.by_day.get(day, ())}
        pseudonyms, hints = self._pseudonyms(days, called[which], calling[which])
        found: list[list[Leg]] = [[] for _ in queries]
        for segment in segments:
            first_day, last_day = segment.entry.earliest_ms // DAY_MS, segment.entry.latest_ms // DAY_MS
            part = slice(*np.searchsorted(days, [first_day, last_day + 1]).tolist())
            hits = segment.search_many(days[part], pseudonyms[part], low[part], high[part])
            query, hint = which[part][hits.search], hints[part][hits.search]
            columns = (query, from_ms[query], hint, hits.position, hits.at_ms, hits.records)
            for number, touching, pseudonym, position, at_ms, record in zip(
                *(c.tolist() for c in columns), strict=True
            ):
                if at_ms + record[1] >= touching:
                    found[number].append(segment.leg(position, at_ms, record, pseudonym))
        return [_in_order(legs) for legs in found]

    def _pseudonyms(self, days: I64, called: U64, calling: U64) -> tuple[U64, U64]:
        """Pseudonyms of called and calling numbers on their days, which are in ascending order."""
        pseudonyms, hints = np.empty(len(days), np.uint64), np.empty(len(days), np.uint64)
        some_days, begins = np.unique(days, return_index=True)
        for day, (begin, end) in zip(some_days.tolist(), pairwise([*begins.tolist(), len(days)]), strict=True):
            cipher = self._keys.day(day)
            pseudonyms[begin:end] = cipher.called_column(called[begin:end])
            hints[begin:end] = cipher.calling_column(calling[begin:end])
        return pseudonyms, hints

    def coverage(self) -> Coverage:
        """What the index can answer for, per source.

        Raises:
            IndexUnusableError: the index can't be read.
        """
        self.refresh()
        return self._state.coverage

    def verify(self) -> None:
        """Check every byte of every segment, also those that were good before.

        Raises:
            IndexUnusableError: naming the first file that is broken.
        """
        self.refresh()
        for segment in self._state.segments.values():
            segment.verify()

    def _require_new(self) -> None:
        if self._seen is not None:
            raise IndexCorruptError(self._path, "the manifest has vanished", "restore it, or index the sources again")
        if any((self._directory / SEGMENTS).glob("*.seg")):
            raise IndexCorruptError(
                self._path,
                "the manifest is missing, though there are segments",
                manifests.REMEDY,
            )

    def _hold(self, descriptor: int) -> None:
        """Keep the manifest that was read open, so that its inode is not given to another one."""
        if self._held >= 0:
            os.close(self._held)
        self._held = descriptor

    def _load(self) -> bool:
        while True:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                status = os.fstat(descriptor)
                manifest = manifests.decode(_read_all(descriptor), self._path)
                manifest.require_key(self._keys, self._path)
                state = self._open_segments(manifest)
            except FileNotFoundError as error:
                os.close(descriptor)
                current = os.stat(self._path)  # noqa: PTH116 (as above)
                if (current.st_ino, current.st_mtime_ns) == (status.st_ino, status.st_mtime_ns):
                    raise IndexCorruptError(Path(error.filename), "the manifest names it, but it is missing") from None
                continue  # replaced while it was read, and the replaced segments removed
            except BaseException:
                os.close(descriptor)
                raise
            self._hold(descriptor)
            changed = state.generation != self._state.generation
            self._state = state
            self._seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            return changed

    def _open_segments(self, manifest: Manifest) -> _State:
        segments = {entry.name: self._segment(entry) for entry in manifest.segments()}
        by_day: dict[int, list[Segment]] = {}
        entries = [segment.entry for segment in segments.values()]
        for segment in segments.values():
            for day in range(segment.entry.earliest_ms // DAY_MS, segment.entry.latest_ms // DAY_MS + 1):
                by_day.setdefault(day, []).append(segment)
        return _State(
            coverage=manifest.coverage(),
            generation=manifest.generation,
            segments=segments,
            by_day={day: tuple(some) for day, some in by_day.items()},
            first_ms=min((entry.earliest_ms for entry in entries), default=0),
            last_ms=max((entry.latest_ms for entry in entries), default=-1),
            longest_ms=max((entry.longest_ms for entry in entries), default=0),
        )

    def _segment(self, entry: SegmentEntry) -> Segment:
        held = self._state.segments.get(entry.name)
        if held is not None and held.entry == entry:
            return held
        return Segment(self._directory / SEGMENTS / entry.name, entry, self._keys)


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _days(first: I64, last: I64) -> tuple[I64, I64]:
    """Every day of every query's range of days: which query, and the day; ordered by day."""
    counts = np.maximum(last - first + 1, 0)
    which = np.repeat(np.arange(len(first)), counts)
    days = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + first[which]
    order = np.argsort(days, kind="stable")
    return which[order], days[order]


def _in_order(legs: list[Leg]) -> list[Leg]:
    """By time, and each leg once: the same record of a source that was delivered again, longer, is one record."""
    if len(legs) < 2:
        return legs
    return sorted(dict.fromkeys(legs), key=lambda leg: (leg.earliest, leg.latest, leg.source, leg.row))
