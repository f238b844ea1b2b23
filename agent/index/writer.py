"""The one process that changes an index directory: it writes what is new, then says in the manifest that it counts.

Segments and rejected rows are written hidden, fsynced and renamed; then the manifest gets a line that names them, and
the line is fsynced; then what the manifest no longer names is removed. A process that dies on the way leaves files that
no manifest names: the next writer removes them. Readers are never in its way.

A line that could not be appended whole is cut off again. When even that fails, or the disk does not say that a line is
safe, nobody knows what is on it: this writer then refuses to go on, and the next one takes what it finds.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

from agent.index import manifest as manifests
from agent.index import segment_format
from agent.index.days import DaySecrets
from agent.index.errors import IndexBusyError, IndexCorruptError, IndexWriteError
from agent.index.files import Files, OsFiles, publish
from agent.index.keys import Keys
from agent.index.layout import (
    DAYS,
    GENERATION,
    HIDDEN,
    LOCK,
    MANIFEST,
    QUARANTINE,
    REJECTS,
    SEGMENTS,
    day_of_key_name,
    hidden,
    segment_name,
)
from agent.index.manifest import Commit, Manifest, SegmentEntry
from agent.index.segment_format import Content

LOG_MAY_HAVE: Final = 1 << 20
_LOG_MAY_GROW: Final = 4
"""A log of more bytes, and of so many times more than its state takes, is written anew."""
_LOOK_AGAIN_S: Final = 0.02


class IndexWriter:
    """The one writer of an index directory; a context manager. Not for use by several threads.

    Attributes:
        directory, keys: of the index. secrets: those of its days.
        manifest: the state as it is on disk.
        files: how the disk is changed.
        log_may_have: bytes that the manifest may have before it is written anew.
    """

    log_may_have = LOG_MAY_HAVE

    def __init__(self, directory: Path, keys: Keys, files: Files | None = None, patience_s: float = 0.0) -> None:
        """`patience_s` is how long another writer is waited for."""
        self.directory = directory
        self.keys = keys
        self.files = files or OsFiles()
        self.secrets = DaySecrets(directory, keys, self.files)
        self.manifest = Manifest(keys.check.hex())
        self._patience_s = patience_s
        self._lock = -1
        self._log = -1
        self._length = 0
        self._state_size = 0
        self._names = 0
        self._next_number = 1
        self._broken = ""
        self._unclean: OSError | None = None

    def __enter__(self) -> IndexWriter:
        """Take the lock, create the directory if need be, remove what an interrupted writer left.

        Raises:
            IndexBusyError: another process writes.
            WrongKeyError, IndexCorruptError, UnknownVersionError: there is an index, not usable with these keys.
            OSError: the disk refuses.
        """
        for part in (self.directory, *(self.directory / name for name in (SEGMENTS, DAYS, REJECTS, QUARANTINE))):
            self.files.make_directory(part)
        self._lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take_lock()
            self._take_over()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()
        if kind is None:
            self.require_clean()

    def _release(self) -> None:
        for descriptor in (self._log, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._log = self._lock = -1

    def _take_lock(self) -> None:
        until = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise IndexBusyError(self.directory / LOCK) from None
                time.sleep(_LOOK_AGAIN_S)
            else:
                return

    def _take_over(self) -> None:
        path = self.directory / MANIFEST
        if path.exists():
            data = path.read_bytes()
            taken = manifests.decode(data, path)
            taken.manifest.require_key(self.keys, path)
            self.manifest, self._length = taken.manifest, taken.length
            self._log = self.files.append_to(path)
            if taken.length < len(data):
                self.files.truncate(self._log, taken.length)
                self.files.fsync(self._log)
        elif any((self.directory / SEGMENTS).glob("*.seg")):
            raise IndexCorruptError(path, "the manifest is missing, though there are segments", manifests.REMEDY)
        else:
            # an empty one first: from here on, segments without a manifest are a fault and not a beginning
            self.files.fsync_directory(self.directory.parent)
            header = manifests.encode_header(self.manifest)
            publish(self.files, path, [header])
            self._log, self._length = self.files.append_to(path), len(header)
        self._state_size = self._length
        self._next_number = 1 + max(
            (
                *self.manifest.files,
                *(n for entry in self.manifest.segments.values() for n in entry.files),
                *(n for loss in self.manifest.losses.values() for n in loss.files),
            ),
            default=0,
        )
        self._remove_strays()
        self._tell()

    def _remove_strays(self) -> None:
        manifest = self.manifest
        rejects = {name for entry in manifest.files.values() for name in entry.rejects}
        for part, named in ((SEGMENTS, set(manifest.segments)), (REJECTS, rejects), (QUARANTINE, set(manifest.losses))):
            for path in sorted((self.directory / part).iterdir()):
                if part == SEGMENTS and path.name in manifest.losses:
                    self.files.rename(path, self.directory / QUARANTINE / path.name)
                elif path.name not in named:
                    self.files.unlink(path)
        for path in sorted([*self.directory.glob(f"{HIDDEN}*"), *(self.directory / DAYS).glob(f"{HIDDEN}*")]):
            self.files.unlink(path)
        needed = {entry.day for entry in manifest.segments.values()}
        for name in self.secrets.names():
            day = day_of_key_name(name)
            if day is None:
                self.files.unlink(self.directory / DAYS / name)
            elif day not in needed:
                self.secrets.destroy(day)

    def _tell(self) -> None:
        """Let readers know that there is something new; those that don't hear of it look by themselves, later."""
        path = self.directory / GENERATION
        word = self.manifest.generation.to_bytes(8, "little")
        if path.exists():
            descriptor = self.files.reopen(path)
            try:
                self.files.write(descriptor, word)
            finally:
                self.files.close(descriptor)
        else:
            publish(self.files, path, [word])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the disk refuses within the block into IndexWriteError."""
        try:
            yield
        except OSError as error:
            raise IndexWriteError(self.directory, error.strerror or str(error)) from error

    def new_number(self) -> int:
        """A number for a source file, never given before."""
        number, self._next_number = self._next_number, self._next_number + 1
        return number

    def new_name(self, day: int) -> str:
        """A name for a segment of a day."""
        self._names += 1
        return segment_name(day, self.manifest.generation + 1, self._names)

    @property
    def can_go_on(self) -> bool:
        """Whether what is on the disk is known; when it is not, nothing that a commit named may be removed."""
        return not self._broken

    def write_hidden(self, content: Content, files: Iterable[int] = ()) -> SegmentEntry:
        """Write a segment with rows of these source files under a hidden name, from which `show` frees it.

        Raises:
            OSError: the disk refuses.
        """
        name = self.new_name(content.day)
        entry, pieces = segment_format.encode(name, content, salt=secrets.randbits(32))
        path = hidden(self.directory / SEGMENTS / name)
        descriptor = self.files.create(path)
        try:
            for piece in pieces:
                self.files.write(descriptor, piece)
        except OSError:
            with suppress(OSError):
                self.files.unlink(path)
            raise
        finally:
            self.files.close(descriptor)
        return replace(entry, files=tuple(sorted(files)))

    def settle(self, entry: SegmentEntry) -> None:
        """Make what is in a hidden segment durable, ahead of `show`, which then has little to wait for.

        Raises:
            OSError: the disk refuses.
        """
        descriptor = self.files.reopen(hidden(self.directory / SEGMENTS / entry.name))
        try:
            self.files.fsync(descriptor)
        finally:
            self.files.close(descriptor)

    def show(self, entries: Iterable[SegmentEntry]) -> None:
        """Give hidden segments their names; they and their names are durable when this returns.

        Raises:
            OSError: the disk refuses.
        """
        entries = list(entries)
        paths = [self.directory / SEGMENTS / entry.name for entry in entries]
        for entry in entries:
            self.settle(entry)
        for path in paths:
            self.files.rename(hidden(path), path)
        if paths:
            self.files.fsync_directory(self.directory / SEGMENTS)

    def remove_written(self, entries: Iterable[SegmentEntry]) -> None:
        """Remove segments that no commit has named, hidden or not.

        Raises:
            OSError: the disk refuses; the next writer removes them.
        """
        for entry in entries:
            path = self.directory / SEGMENTS / entry.name
            self.files.unlink(hidden(path))
            self.files.unlink(path)

    def commit(self, commit: Commit) -> None:
        """Make the next state count. When this returns, it is durable.

        What it no longer names is then removed, as far as the disk lets: `require_clean` tells.

        Raises:
            OSError: the disk refuses; the old state counts, unless `can_go_on` is no longer true.
        """
        after = self.manifest.after([commit])
        line = manifests.encode_commit(commit)
        self._append(line)
        before, self.manifest, self._length = self.manifest, after, self._length + len(line)
        try:
            self._tell()
            self._remove_unnamed(before, commit)
            if self._length > max(_LOG_MAY_GROW * self._state_size, self.log_may_have):
                self.snapshot()
        except OSError as error:
            self._unclean = error

    def _append(self, line: bytes) -> None:
        if self._broken:
            raise OSError(errno.EIO, self._broken)
        try:
            self.files.write(self._log, line)
        except OSError:
            try:
                self.files.truncate(self._log, self._length)
            except OSError:
                self._broken = "the manifest could not be cut back to what it said before"
            raise
        try:
            self.files.fsync(self._log)
        except OSError:
            self._broken = "the disk does not say whether the manifest is safe"
            raise

    def _remove_unnamed(self, before: Manifest, commit: Commit) -> None:
        replaced = [*commit.remove_files, *(entry.number for entry in commit.add_files)]
        rejects = {name for number in replaced if number in before.files for name in before.files[number].rejects}
        rejects -= {name for entry in commit.add_files for name in entry.rejects}
        lost = {loss.segment for loss in commit.add_losses}
        for name in commit.remove_segments:
            path = self.directory / SEGMENTS / name
            if name in lost and path.exists():
                self.files.rename(path, self.directory / QUARANTINE / name)
            else:
                self.files.unlink(path)
        for name in commit.remove_losses:
            self.files.unlink(self.directory / QUARANTINE / name)
        for name in sorted(rejects):
            self.files.unlink(self.directory / REJECTS / name)
        days = {before.segments[name].day for name in commit.remove_segments}
        for day in sorted(days - {entry.day for entry in self.manifest.segments.values()} if days else ()):
            self.secrets.destroy(day)

    def snapshot(self) -> None:
        """Write the log anew: the state alone, and nothing of how it came about.

        Raises:
            OSError: the disk refuses; the old log goes on.
        """
        path = self.directory / MANIFEST
        data = manifests.encode_snapshot(self.manifest)
        try:
            publish(self.files, path, [data])
            log = self.files.append_to(path)
        except OSError:
            if not path.exists() or path.stat().st_ino != os.fstat(self._log).st_ino:
                # both logs say the same, but a line appended to this one would not be found
                self._broken = "the manifest was written anew, but could not be opened"
            raise
        os.close(self._log)
        self._log, self._length, self._state_size = log, len(data), len(data)

    def require_clean(self) -> None:
        """Refuse to end well when something that no longer counts could not be removed, or readers could not be told.

        Raises:
            IndexWriteError: the disk refused that; everything that was committed counts all the same.
        """
        error, self._unclean = self._unclean, None
        if error is not None:
            raise IndexWriteError(self.directory, error.strerror or str(error)) from error
