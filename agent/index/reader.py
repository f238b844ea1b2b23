"""Finding the legs of a called number in an index directory.

A search works on one state of the index, the one that the manifest described when the search began; indexing, in this
or another process, changes nothing under it. Whether there is a newer state costs one `stat` a search.

Never answers from a directory that it could not read whole: that raises, and an empty list means that nothing is there.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from time import monotonic_ns

import numpy as np

from agent.index import manifest as manifests
from agent.index.arena import Arena
from agent.index.batch import Hits, Searches, Table
from agent.index.coverage import Coverage
from agent.index.errors import IndexCorruptError
from agent.index.keys import I64, U64, Keys, number_blocks
from agent.index.layout import DAY_MS, GENERATION, MANIFEST, SEGMENTS, TIME_MASK, ceil_ms, floor_ms, time_of
from agent.index.manifest import Manifest, SegmentEntry
from agent.index.segment import Hit, Segment
from agent.legs import Leg
from protos.e164 import E164, to_int

_NOTHING = Coverage(())
_LOOK_EVERY_NS = 1_000_000_000
"""So often the manifest itself is looked at, should the word that tells of news fail to, as on a shared disk."""
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
    table: Table | None = None
    first_ms: int = 0
    last_ms: int = -1
    longest_ms: int = 0


class Index:
    """An index directory, open for reading. Safe to share between threads."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        self._directory = directory
        self._keys = keys
        self._path = directory / MANIFEST
        self._arena = Arena()
        self._state = _State()
        self._manifest: Manifest | None = None
        self._lock = threading.Lock()
        self._log: _Log | None = None
        self._news: memoryview | None = None
        self._news_seen = -1
        self._look_again = 0

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
            self._state, self._manifest, self._log, self._news, self._look_again = _State(), None, None, None, 0

    def refresh(self) -> bool:
        """Take up what was indexed since; every search does this itself. Returns whether anything changed.

        Raises:
            IndexUnusableError: the new state can't be read; the old one is not served in its place.
        """
        if self._news is not None and self._news[0] == self._news_seen and monotonic_ns() < self._look_again:
            return False
        with self._lock:
            return self._look()

    def _look(self) -> bool:
        """Whether the log is another one or has grown, and if so, take it up."""
        news = -1 if self._news is None else int(self._news[0])
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._require_new()
            return False
        generation = self._state.generation
        if self._log is None or self._log.inode != status.st_ino or self._log.length > status.st_size:
            self._load()
        elif status.st_size > self._log.length:
            self._take_up(self._log)
        if self._news is None:
            self._news = _mapped_word(self._directory / GENERATION)
        self._news_seen = news
        self._look_again = monotonic_ns() + _LOOK_EVERY_NS
        return self._state.generation != generation

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

    def hits(self, called: int, low_ms: int, high_ms: int) -> list[tuple[Segment, Hit]]:
        """Rows of a called number (as digits) whose earliest seizure time lies in the interval, ms since 1970.

        Raises:
            IndexUnusableError: the index can't be read.
        """
        self.refresh()
        return self._hits(self._state, called, low_ms, high_ms)

    def _hits(self, state: _State, called: int, low_ms: int, high_ms: int) -> list[tuple[Segment, Hit]]:
        day = low_ms // DAY_MS
        low_ms -= day * DAY_MS
        high_ms -= day * DAY_MS
        found = []
        while high_ms >= 0:
            segments = state.by_day.get(day)
            if segments is not None:
                pseudonym = self._keys.day(day).called(called)
                until = high_ms if high_ms < DAY_MS else DAY_MS - 1
                for segment in segments:
                    found += [(segment, hit) for hit in segment.search(pseudonym, low_ms, until)]
            day, low_ms, high_ms = day + 1, 0, high_ms - DAY_MS
        return found

    def _find(
        self, state: _State, called: E164, calling: E164 | None, earliest: datetime, latest: datetime
    ) -> list[Leg]:
        # a row has whole milliseconds: it touches the interval when it touches the whole ones within
        from_ms, to_ms = ceil_ms(earliest), floor_ms(latest)
        if latest < earliest:
            raise ValueError("the interval ends before it begins")
        hint = to_int(calling) if calling is not None else 0
        low, high = max(from_ms - state.longest_ms, state.first_ms), min(to_ms, state.last_ms)
        if low > high:
            return []
        legs = []
        for segment, hit in self._hits(state, to_int(called), low, high):
            leg = self._leg(segment, hit, hint, from_ms)
            if leg is not None:
                legs.append(leg)
        return _in_order(legs)

    def _leg(self, segment: Segment, hit: Hit, hint: int, from_ms: int) -> Leg | None:
        """The leg in a row; None when its seizure interval ends before `from_ms`."""
        place, ms, word = hit
        record = segment.record(place, word)
        day = segment.header.day
        earliest_ms = day * DAY_MS + ms
        if earliest_ms + record.span < from_ms:
            return None
        matches = None
        if hint and record.calling is not None:
            matches = self._keys.day(day).calling(hint) == record.calling
        return Leg(
            called_in=segment.came_in(place) if record.translated else None,
            sent_as_asked=not record.form_in,
            calling_matches=matches,
            earliest=time_of(earliest_ms),
            latest=time_of(earliest_ms + record.span),
            ingress_trunk=record.ingress[0],
            ingress_address=record.ingress[1],
            egress_trunk=record.egress[0],
            egress_address=record.egress[1],
            call_ref=record.call_ref,
            disposition=record.disposition,
            source=segment.header.source,
            row=segment.serial << 32 | segment.position(place),
        )

    def _find_many(self, state: _State, queries: Sequence[Query]) -> list[list[Leg]]:
        from_ms = np.array([ceil_ms(query.earliest) for query in queries], np.int64)
        to_ms = np.array([floor_ms(query.latest) for query in queries], np.int64)
        if any(query.latest < query.earliest for query in queries):
            raise ValueError("the interval of a query ends before it begins")
        called = np.array([to_int(query.called) for query in queries], np.uint64)
        low = np.maximum(from_ms - state.longest_ms, state.first_ms)
        high = np.minimum(to_ms, state.last_ms)
        hits = self._hits_many(state, called, low, high)
        found: list[list[Leg]] = [[] for _ in queries]
        if state.table is None:
            return found
        keys = self._arena.words.take(hits.place)
        segments = state.table.segments
        for number, slot, place, key, word in zip(
            hits.search.tolist(),
            hits.slot.tolist(),
            hits.place.tolist(),
            keys.tolist(),
            hits.word.tolist(),
            strict=True,
        ):
            calling = queries[number].calling
            hint = to_int(calling) if calling is not None else 0
            hit = (place, key & TIME_MASK, word)
            leg = self._leg(segments[slot], hit, hint, int(from_ms[number]))
            if leg is not None:
                found[number].append(leg)
        return [_in_order(legs) for legs in found]

    def hits_many(self, called: U64, low_ms: I64, high_ms: I64) -> Hits:
        """What `hits` finds for columns of called numbers and intervals, in no order.

        Raises:
            IndexUnusableError: the index can't be read.
        """
        self.refresh()
        state = self._state
        return self._hits_many(state, called, low_ms, high_ms)

    def _hits_many(self, state: _State, called: U64, low_ms: I64, high_ms: I64) -> Hits:
        first, last = low_ms // DAY_MS, high_ms // DAY_MS
        if state.table is None:
            nothing = np.empty(0, np.int64)
            return Hits(nothing, nothing, nothing, np.empty(0, np.uint64))
        if (first == last).all():
            order = _by_day(first)
            which = order
            days = first[order]
        else:
            which, days = _days(first, last)
        midnight = days * DAY_MS
        low = np.maximum(low_ms[which] - midnight, 0)
        high = np.minimum(high_ms[which] - midnight, DAY_MS - 1)
        hits = state.table.search(Searches(days, self._pseudonyms(state, days, called[which]), low, high))
        return Hits(which[hits.search], hits.slot, hits.place, hits.word)

    def _pseudonyms(self, state: _State, days: I64, called: U64) -> U64:
        """Pseudonyms of called numbers on their days, which are in ascending order; 0 on days without segments."""
        blocks = number_blocks(called)
        out = bytearray(len(blocks) + 15)
        source, target = memoryview(blocks), memoryview(out)
        changes = np.flatnonzero(days[1:] != days[:-1]) + 1
        begin = 0
        for end in [*changes.tolist(), len(days)]:
            day = int(days[begin])
            if day in state.by_day:
                self._keys.day(day).called_blocks(source[16 * begin : 16 * end], target[16 * begin : 16 * end + 15])
            begin = end
        pseudonyms: U64 = np.frombuffer(out, "<u8", 2 * len(days))[::2]
        return pseudonyms

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
            segment.verify_pages()

    def _require_new(self) -> None:
        if self._log is not None:
            raise IndexCorruptError(self._path, "the manifest has vanished", "restore it, or index the sources again")
        if any((self._directory / SEGMENTS).glob("*.seg")):
            raise IndexCorruptError(
                self._path,
                "the manifest is missing, though there are segments",
                manifests.REMEDY,
            )

    def _load(self) -> None:
        while True:
            try:
                log = _Log(self._path)
            except FileNotFoundError:
                self._require_new()
                return
            try:
                taken = manifests.decode(log.rest(), self._path)
                taken.manifest.require_key(self._keys, self._path)
                state = self._open_segments(taken.manifest)
            except FileNotFoundError as error:
                if not log.is_current():
                    continue  # replaced while it was read, and segments removed that it named
                raise IndexCorruptError(Path(error.filename), "the manifest names it, but it is missing") from None
            log.length = taken.length
            self._log, self._manifest, self._state = log, taken.manifest, state
            return

    def _take_up(self, log: _Log) -> None:
        manifest = self._manifest or Manifest("")
        taken = manifests.decode_more(manifest, log.rest(), self._path)
        if not taken.length:
            return
        try:
            state = self._open_segments(taken.manifest)
        except FileNotFoundError:
            self._load()  # removed by a later commit, or missing: the whole log tells
            return
        log.length += taken.length
        self._manifest, self._state = taken.manifest, state

    def _open_segments(self, manifest: Manifest) -> _State:
        segments = {entry.name: self._segment(entry) for entry in manifest.segments.values()}
        by_day: dict[int, list[Segment]] = {}
        for segment in segments.values():
            by_day.setdefault(segment.header.day, []).append(segment)
        entries = [segment.entry for segment in segments.values()]
        days = {day: tuple(some) for day, some in sorted(by_day.items())}
        return _State(
            coverage=manifest.coverage(),
            generation=manifest.generation,
            segments=segments,
            by_day=days,
            table=Table(self._arena, days) if days else None,
            first_ms=min((entry.earliest_ms for entry in entries), default=0),
            last_ms=max((entry.latest_ms for entry in entries), default=-1),
            longest_ms=max((entry.longest_ms for entry in entries), default=0),
        )

    def _segment(self, entry: SegmentEntry) -> Segment:
        held = self._state.segments.get(entry.name)
        if held is not None and held.entry == entry:
            return held
        return Segment(self._directory / SEGMENTS / entry.name, entry, self._keys, self._arena)


class _Log:
    """An open manifest; kept open so that its inode is not given to another one.

    Attributes:
        inode: its number. length: bytes of it that were taken up.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.inode = os.fstat(self._descriptor).st_ino
        self.length = 0

    def __del__(self) -> None:
        with suppress(AttributeError):
            os.close(self._descriptor)

    def rest(self) -> bytes:
        """All that was not taken up."""
        parts, at = [], self.length
        while part := os.pread(self._descriptor, 1 << 20, at):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def is_current(self) -> bool:
        """Whether it still has its name, and nothing more than when it was read."""
        try:
            return self._path.stat().st_ino == self.inode
        except FileNotFoundError:
            return False


def _mapped_word(path: Path) -> memoryview | None:
    """The file's first eight bytes as they are at any moment; None when it is not there."""
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)).cast("Q")
    except (OSError, ValueError):
        return None


def _days(first: I64, last: I64) -> tuple[I64, I64]:
    """Every day of every query's range of days: which query, and the day; ordered by day."""
    counts = np.maximum(last - first + 1, 0)
    which = np.repeat(np.arange(len(first)), counts)
    days = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + first[which]
    order = np.argsort(days, kind="stable")
    return which[order], days[order]


def _by_day(days: I64) -> I64:
    """The order of the days, found by their distance from the first: a radix sort where that is small."""
    first = int(days.min(initial=0))
    if int(days.max(initial=0)) - first < 2**15:
        return np.argsort((days - first).astype(np.int16), kind="stable")
    return np.argsort(days, kind="stable")


def _in_order(legs: list[Leg]) -> list[Leg]:
    """By time, and each leg once: a record that was delivered again is one record."""
    if len(legs) < 2:
        return legs
    return sorted(
        {replace(leg, row=0): leg for leg in legs}.values(), key=lambda leg: (leg.earliest, leg.latest, leg.source)
    )
