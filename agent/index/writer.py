"""Changing an index directory, one source file at a time, so that every moment leaves the old state or the new one.

Segments and rejected rows are written hidden, fsynced and renamed; then the manifest that names them, in the same way;
then what it no longer names is removed. A process that dies on the way leaves files that no manifest names: the next
writer removes them. One process writes at a time; readers are never in its way.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from agent.index import manifest as manifests
from agent.index import segment_format
from agent.index.arena import Arena
from agent.index.build import contents
from agent.index.errors import IndexBusyError, IndexCorruptError, IndexUnusableError, IndexWriteError
from agent.index.files import Files, OsFiles, publish
from agent.index.keys import Keys
from agent.index.layout import HIDDEN, LOCK, MANIFEST, REJECTS, SEGMENTS, hidden, rejects_name, segment_name
from agent.index.manifest import Manifest, SegmentEntry, SourceEntry
from agent.index.rows import Routes, Rows, concatenate, rows_of
from agent.index.segment import Segment

if TYPE_CHECKING:
    import pyarrow as pa

    from cdr_adapters.schema import Rejected

ROWS_PER_RUN = 2_000_000
"""Rows held in memory before they become segments, at about 300 bytes each at the worst moment."""


class IndexWriter:
    """The one writer of an index directory; a context manager. Not for use by several threads.

    Attributes:
        manifest: the state as it is on disk.
    """

    def __init__(
        self, directory: Path, keys: Keys, files: Files | None = None, rows_per_run: int = ROWS_PER_RUN
    ) -> None:
        self.directory = directory
        self.keys = keys
        self._files = files or OsFiles()
        self._rows_per_run = rows_per_run
        self._lock = -1
        self.manifest = Manifest(keys.check.hex())

    def __enter__(self) -> IndexWriter:
        """Take the lock, create the directory if need be, remove what an interrupted writer left.

        Raises:
            IndexBusyError: another process writes.
            WrongKeyError, IndexCorruptError, UnknownVersionError: there is an index, not usable with these keys.
            OSError: the disk refuses.
        """
        for part in (self.directory, self.directory / SEGMENTS, self.directory / REJECTS):
            self._files.make_directory(part)
        self._lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take_over()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        os.close(self._lock)
        self._lock = -1

    def _take_over(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IndexBusyError(self.directory / LOCK) from None
        path = self.directory / MANIFEST
        if path.exists():
            self.manifest = manifests.decode(path.read_bytes(), path)
            self.manifest.require_key(self.keys, path)
            self._remove_strays()
        elif any((self.directory / SEGMENTS).glob("*.seg")):
            raise IndexCorruptError(path, "the manifest is missing, though there are segments", manifests.REMEDY)
        else:
            # an empty one first: from here on, segments without a manifest are a fault and not a beginning
            self._files.fsync_directory(self.directory.parent)
            self._files.fsync_directory(self.directory)
            publish(self._files, path, [manifests.encode(self.manifest)])

    def _remove_strays(self) -> None:
        segments = {segment.name for segment in self.manifest.segments()}
        rejects = {entry.rejects for entry in self.manifest.entries}
        for part, named in ((SEGMENTS, segments), (REJECTS, rejects)):
            for path in sorted((self.directory / part).iterdir()):
                if path.name not in named:
                    self._files.unlink(path)
        for path in sorted(self.directory.glob(f"{HIDDEN}*")):
            self._files.unlink(path)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the disk refuses within the block into IndexWriteError."""
        try:
            yield
        except OSError as error:
            raise IndexWriteError(self.directory, error.strerror or str(error)) from error

    def begin(self, source: str) -> PendingSource:
        """Begin to take in one source file; nothing counts before `commit`."""
        return PendingSource(
            self.directory, self.keys, self._files, source, self.manifest.generation + 1, self._rows_per_run
        )

    def commit(self, removed: tuple[SourceEntry, ...], added: SourceEntry | None) -> None:
        """Make the next state count: without `removed`, with `added`. When this returns, it is durable.

        Raises:
            OSError: the disk refuses; then the state on disk is the old one or, if only the last fsync failed, may
                be the new one: this writer must not go on.
        """
        self._publish(self.manifest.successor(removed, added))
        for entry in removed:
            for segment in entry.segments:
                self._files.unlink(self.directory / SEGMENTS / segment.name)
            if entry.rejects is not None:
                self._files.unlink(self.directory / REJECTS / entry.rejects)

    def restate(self, entry: SourceEntry, stated: SourceEntry) -> None:
        """Change what is said of an entry and keep its segments; durable when this returns."""
        self._publish(self.manifest.successor((entry,), stated))

    def _publish(self, manifest: Manifest) -> None:
        publish(self._files, self.directory / MANIFEST, [manifests.encode(manifest)])
        self.manifest = manifest

    def sound(self, entry: SourceEntry) -> bool:
        """Whether every byte of the entry's segments is as it was written."""
        for segment in entry.segments:
            try:
                Segment(self.directory / SEGMENTS / segment.name, segment, self.keys, Arena()).verify_pages()
            except (IndexUnusableError, FileNotFoundError):
                return False
        return True


class PendingSource:
    """Rows of one source file on their way into segments. In memory there is one run of rows at a time."""

    def __init__(
        self, directory: Path, keys: Keys, files: Files, source: str, generation: int, rows_per_run: int
    ) -> None:
        self._segments_in = directory / SEGMENTS
        self._rejects_path = directory / REJECTS / rejects_name(generation)
        self._keys = keys
        self._files = files
        self._source = source
        self._generation = generation
        self._rows_per_run = rows_per_run
        self._run: list[Rows] = []
        self._in_run = 0
        self._routes = Routes()
        self._segments: list[SegmentEntry] = []
        self._rejects = -1
        self.records = 0
        self.earliest_ms: int | None = None
        self.latest_ms: int | None = None

    def add(self, calls: pa.RecordBatch) -> None:
        """Take in a batch of canonical call legs.

        Raises:
            AdapterContractError: the batch breaks the canonical schema.
            OSError: the disk refuses.
        """
        if calls.num_rows == 0:
            return
        rows = rows_of(calls, self._keys, self._routes)
        first, last = int(rows.earliest.min()), int(rows.latest.max())
        self.earliest_ms = first if self.earliest_ms is None else min(first, self.earliest_ms)
        self.latest_ms = last if self.latest_ms is None else max(last, self.latest_ms)
        self.records += calls.num_rows
        self._run.append(rows)
        self._in_run += len(rows)
        if self._in_run >= self._rows_per_run:
            self._flush()

    def reject(self, rejected: Iterable[Rejected]) -> None:
        """Keep rows that could not be read, with their raw text, for a person to look at; mode 0600.

        Raises:
            OSError: the disk refuses.
        """
        lines = [
            json.dumps({"row": r.row, "reason": r.reason.value, "detail": r.detail, "raw": r.raw}, ensure_ascii=False)
            for r in rejected
        ]
        if not lines:
            return
        if self._rejects < 0:
            self._rejects = self._files.create(hidden(self._rejects_path))
        self._files.write(self._rejects, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))

    def finish(self) -> tuple[tuple[SegmentEntry, ...], str | None]:
        """Write what is left; returns the segments and the name of the file of rejected rows, if any. All is durable.

        Raises:
            OSError: the disk refuses.
        """
        self._flush()
        if self._rejects < 0:
            return tuple(self._segments), None
        self._files.fsync(self._rejects)
        descriptor, self._rejects = self._rejects, -1
        self._files.close(descriptor)
        self._files.rename(hidden(self._rejects_path), self._rejects_path)
        self._files.fsync_directory(self._rejects_path.parent)
        return tuple(self._segments), self._rejects_path.name

    def abort(self) -> None:
        """Remove what was written, as far as the disk lets; the next writer removes the rest."""
        if self._rejects >= 0:
            descriptor, self._rejects = self._rejects, -1
            self._files.close(descriptor)
        names = [self._segments_in / segment.name for segment in self._segments]
        for path in (*names, self._rejects_path):
            for name in (path, hidden(path)):
                self._files.unlink(name)

    def _flush(self) -> None:
        if not self._run:
            return
        rows = concatenate(self._run)
        self._run, self._in_run = [], 0
        for content in contents(rows, self._routes.all(), self._source, self._keys):
            name = segment_name(content.day, self._generation, len(self._segments))
            entry, pieces = segment_format.encode(name, content, salt=secrets.randbits(32))
            self._segments.append(entry)
            publish(self._files, self._segments_in / name, pieces)


def restated(entry: SourceEntry, complete_from_ms: int | None, complete_until_ms: int | None) -> SourceEntry:
    """The entry with what the operator states now, where that reaches further than what was stated before."""
    starts = [ms for ms in (entry.complete_from_ms, complete_from_ms) if ms is not None]
    ends = [ms for ms in (entry.complete_until_ms, complete_until_ms) if ms is not None]
    return replace(entry, complete_from_ms=min(starts, default=None), complete_until_ms=max(ends, default=None))
