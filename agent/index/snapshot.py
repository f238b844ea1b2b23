"""What an index directory says at this moment: the segments that count, mapped, and how that is kept up to date.

A state is whole and never changes; what follows is another state. Who searches holds the state that there was when it
began, and with it the files, even if they are removed meanwhile.

Whether there is news costs a look at one word, which the writer raises after each commit; at most once a second the
manifest itself is looked at, should that word fail to tell, as on a shared disk. Only what was appended is taken up.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns
from typing import Final

import numpy as np

from agent.index import manifest as manifests
from agent.index.arena import Arena, keep_freed_memory
from agent.index.batch import Table
from agent.index.coverage import Coverage
from agent.index.days import DaySecrets
from agent.index.errors import IndexCorruptError
from agent.index.keys import I64, DayKeys, Keys
from agent.index.layout import GENERATION, MANIFEST, SEGMENTS
from agent.index.manifest import Manifest, SegmentEntry
from agent.index.segment import Segment

_NOTHING: Final = Coverage(())
_LOOK_EVERY_NS: Final = 1_000_000_000
_NEVER: Final = -1
_NO_WORD: Final = memoryview(bytes(8)).cast("Q")


Day = tuple[DayKeys, tuple[Segment, ...]]
"""One thread's ciphers of a day, and the segments with rows of it."""


class Ciphers(threading.local):
    """Each thread's own ciphers of the days of a state, as far as they were needed; None for days without rows."""

    def __init__(self) -> None:
        self.known: dict[int, Day | None] = {}


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """One state of an index.

    Attributes:
        generation: the number of its last commit. segments: by name. by_day: those with rows of a day.
        reach: for each day, the longest seizure interval of its rows, in ms. longest_ms: the greatest of them.
        first_ms, last_ms: least and greatest earliest seizure time; nothing lies between when there are no rows.
        ciphers: they go with the state, so that no thread that is idle keeps its files mapped.
    """

    coverage: Coverage = _NOTHING
    generation: int = -1
    segments: Mapping[str, Segment] = field(default_factory=dict)
    by_day: Mapping[int, tuple[Segment, ...]] = field(default_factory=dict)
    reach: Mapping[int, int] = field(default_factory=dict)
    table: Table | None = None
    first_ms: int = 0
    last_ms: int = -1
    longest_ms: int = 0
    ciphers: Ciphers = field(default_factory=Ciphers)

    def reaches(self, days: I64) -> I64:
        """The longest seizure interval of each of these days, in ms; 0 for days without rows."""
        if not len(days):
            return days
        first = int(days.min())
        known = np.zeros(int(days.max()) - first + 1, np.int64)
        for day, reach in self.reach.items():
            if 0 <= day - first < len(known):
                known[day - first] = reach
        return known.take(days - first)


class Follower:
    """Follows an index directory. Safe to share between threads.

    Attributes:
        state: the last one that was taken up. arena: where its segments are mapped. days: the directory's day secrets.
        word, seen, look_again: there is no news as long as `word[0]` is `seen` and the monotonic clock (ns) is before
            `look_again`; so a search need not call `refresh`.
    """

    def __init__(self, directory: Path, keys: Keys) -> None:
        keep_freed_memory()
        self.state = State()
        self.arena = Arena()
        self.days = DaySecrets(directory, keys)
        self._directory = directory
        self._keys = keys
        self._path = directory / MANIFEST
        self._manifest: Manifest | None = None
        self._lock = threading.Lock()
        self._log: _Log | None = None
        self.word = _NO_WORD
        self.seen = _NEVER
        self.look_again = 0

    def close(self) -> None:
        """Let go of the files. A later `refresh` opens them again."""
        with self._lock:
            self.state, self._manifest, self._log = State(), None, None
            self.word, self.look_again = _NO_WORD, 0

    def refresh(self) -> bool:
        """Take up what was committed since. Returns whether anything changed.

        Raises:
            IndexUnusableError: the new state can't be read; the old one is not served in its place.
        """
        if self.word[0] == self.seen and monotonic_ns() < self.look_again:
            return False
        with self._lock:
            return self._look()

    def look(self) -> bool:
        """The same, without trusting the word."""
        with self._lock:
            return self._look()

    def _look(self) -> bool:
        """Whether the log is another one or has grown, and if so, take it up."""
        seen = _NEVER if self.word is _NO_WORD else self.word[0]
        generation = self.state.generation
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._require_new()
            return False
        if self._log is None or self._log.inode != status.st_ino or self._log.length > status.st_size:
            self._load()
        elif status.st_size > self._log.length:
            self._take_up(self._log)
        if self.word is _NO_WORD:
            self.word = _mapped_word(self._directory / GENERATION)
        self.seen = seen
        self.look_again = monotonic_ns() + _LOOK_EVERY_NS
        return self.state.generation != generation

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
                if not log.is_current(taken.length):
                    continue  # replaced or gone on while it was read, and segments removed that it named
                raise IndexCorruptError(Path(error.filename), "the manifest names it, but it is missing") from None
            log.length = taken.length
            self._log, self._manifest, self.state = log, taken.manifest, state
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
        self._manifest, self.state = taken.manifest, state

    def _open_segments(self, manifest: Manifest) -> State:
        segments = {entry.name: self._segment(entry) for entry in manifest.segments.values()}
        by_day: dict[int, list[Segment]] = {}
        for segment in segments.values():
            by_day.setdefault(segment.header.day, []).append(segment)
        entries = [segment.entry for segment in segments.values()]
        days = {day: tuple(some) for day, some in sorted(by_day.items())}
        return State(
            coverage=manifest.coverage(),
            generation=manifest.generation,
            segments=segments,
            by_day=days,
            reach={day: max(segment.header.longest_ms for segment in some) for day, some in days.items()},
            table=Table(self.arena, days) if days else None,
            first_ms=min((entry.earliest_ms for entry in entries), default=0),
            last_ms=max((entry.latest_ms for entry in entries), default=-1),
            longest_ms=max((entry.longest_ms for entry in entries), default=0),
        )

    def _segment(self, entry: SegmentEntry) -> Segment:
        held = self.state.segments.get(entry.name)
        if held is not None and held.entry == entry:
            return held
        return Segment(self._directory / SEGMENTS / entry.name, entry, self.days, self.arena)


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

    def is_current(self, length: int) -> bool:
        """Whether it still has its name, and no whole line beyond `length` bytes."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        more = os.pread(self._descriptor, max(status.st_size - length, 0), length)
        return status.st_ino == self.inode and b"\n" not in more


def _mapped_word(path: Path) -> memoryview:
    """The file's first eight bytes as they are at any moment; when it is not there, a word that nobody has seen."""
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)).cast("Q")
    except (OSError, ValueError):
        return _NO_WORD
