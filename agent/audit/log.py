"""Writing an audit log: entries are appended, made durable, and covered by checkpoints, in this order and no other.

One process writes. Entries and checkpoints are written at once, so that they outlive this process; `sync` makes the
entries outlive a loss of power, and only what it has seen to be durable may be signed (`durable`): a checkpoint can
never promise an entry that a crash takes away. When the disk refuses anything, nobody knows what is on it: the log
then refuses everything until it is opened again.

Opening takes what is there. A torn end that no checkpoint covers was never acknowledged: it is moved aside. Where what
a checkpoint covers is missing or altered, opening is refused. To stay fast whatever the size, opening reads the last
`UNSYNCED` entries and trusts the tree before them as far as the last checkpoint's root agrees with it;
`agent.audit.verify` reads every byte.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.audit import records
from agent.audit.errors import AuditBrokenError, AuditBusyError, AuditUnavailableError
from agent.audit.layout import (
    CERTIFICATES,
    CHECKPOINTS,
    ENTRIES,
    FRAME,
    HEADER_SIZE,
    LARGEST_ENTRY,
    LOCK,
    PLACE,
    PLACES,
    SLOT,
    TREE,
    WITNESSED,
    frame,
    frames,
    leaves_in,
    node_place,
    nodes_before,
    slot,
)
from agent.audit.reader import AuditReader, Growth, facts, root_of, size_and_root
from agent.index.files import Files, OsFiles, publish
from protos.merkle import HASH_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

UNSYNCED: Final = 16384
"""Entries for which `tree` and `places` may not be durable; so many are derived anew at opening."""
UNSYNCED_CHECKPOINTS: Final = 64
"""Checkpoints that may not be durable, though they outlive the process."""
_READ_BYTES: Final = 4 * 1024 * 1024


class AuditLog(AuditReader):
    """One log, opened for writing. Make one with `AuditLog.open`; `append` and `sync` may be called by two threads.

    Attributes:
        durable: size and root of what is known to outlive a loss of power.
        moved_aside: bytes of torn ends that were found at opening.
    """

    def __init__(self, directory: Path, files: Files) -> None:
        super().__init__(directory)
        self.durable: tuple[int, bytes] = (0, b"")
        self.moved_aside = 0
        self._files = files
        self._lock_fd = -1
        self._append_fds: dict[str, int] = {}
        self._grown = Growth(0, [])
        self._end = HEADER_SIZE
        self._unsynced = self._unsynced_checkpoints = 0
        self._problem: str | None = None
        self._writing = threading.Lock()

    @classmethod
    def open(cls, directory: Path, files: Files | None = None) -> AuditLog:
        """The log in `directory`, which is made where there is none.

        Raises:
            AuditBusyError: another process writes to it.
            AuditBrokenError: what a checkpoint covers, or a file's frame, is not what it was.
            AuditUnavailableError: the disk refuses.
        """
        log = cls(directory, files or OsFiles())
        try:
            log._files.make_directory(directory)
            log._take_lock()
            log._make_missing()
            log._take_over()
        except OSError as error:
            log._release()
            raise AuditUnavailableError(Path(error.filename or directory), str(error.strerror or error)) from None
        except BaseException:
            log._release()
            raise
        return log

    def close(self) -> None:
        """Make all durable that can be, and let go of the directory."""
        try:
            if self._problem is None and self._append_fds:
                with suppress(AuditUnavailableError):
                    self.sync()
                    self._guarded(self._sync_rest)
        finally:
            self._release()

    @property
    def problem(self) -> str | None:
        """Why nothing can be logged, None when all is well."""
        return self._problem

    def append(self, entries: Sequence[bytes], known: Sequence[tuple[int, int]] | None = None) -> int:
        """Add entries; returns the index of the first. They outlive this process, not a loss of power: see `sync`.

        Args:
            entries: serialised AuditEntries, 1 to 8192 bytes each.
            known: what `agent.audit.reader.facts` says of each, where the caller knows it.

        Raises:
            AuditUnavailableError: the disk refuses, or refused before.
        """
        if any(not 0 < len(entry) <= LARGEST_ENTRY for entry in entries):
            raise ValueError(f"an entry has 1 to {LARGEST_ENTRY} bytes")
        if known is None:
            known = [facts(entry) for entry in entries]
        with self._writing:
            first = self.size
            for start in range(0, len(entries), UNSYNCED):
                some = entries[start : start + UNSYNCED]
                self._guarded(lambda some=some, at=start: self._append(some, known[at : at + UNSYNCED]))  # type: ignore[misc]
            return first

    def sync(self) -> int:
        """Make durable what was appended before; returns how many entries that are.

        Raises:
            AuditUnavailableError: the disk refuses, or refused before.
        """
        if self._problem is not None:
            raise AuditUnavailableError(self.directory, self._problem)
        with self._writing:
            size, peaks = self.size, list(self._grown.peaks)
        if size != self.durable[0]:
            self._guarded(lambda: self._files.fsync(self._append_fds[ENTRIES]))
            with self._writing:
                if size > self.durable[0]:
                    self.durable = size, root_of(peaks)
                due = self._unsynced > UNSYNCED // 2 or self._unsynced_checkpoints >= UNSYNCED_CHECKPOINTS // 2
                if due:
                    self._guarded(self._sync_rest)
        return size

    def keep_checkpoint(self, signed: bytes) -> None:
        """Keep a checkpoint (a serialised SignedCheckpoint) before it leaves.

        Raises:
            AuditUnavailableError: the disk refuses, or refused before.
        """
        with self._writing:
            if self._unsynced_checkpoints >= UNSYNCED_CHECKPOINTS:
                self._guarded(self._sync_rest)
            self._guarded(lambda: self._files.write(self._append_fds[CHECKPOINTS], slot(signed)))
            self._unsynced_checkpoints += 1

    def keep_certificate(self, der: bytes) -> None:
        """Keep the certificate of a key before it signs its first checkpoint.

        Raises:
            AuditUnavailableError: the disk refuses, or refused before.
        """
        with self._writing:
            path = self.directory / CERTIFICATES
            if der not in records.read(path)[0]:
                self._guarded(lambda: records.append(self._files, path, frame(der)))

    def keep_witnessed(self, record: bytes) -> None:
        """Keep, durably, what this provider is about to sign as a witness.

        Raises:
            AuditUnavailableError: the disk refuses, or refused before.
        """
        with self._writing:
            self._guarded(lambda: records.append(self._files, self.directory / WITNESSED, frame(record)))

    def witnessed(self) -> list[bytes]:
        """What `keep_witnessed` kept, oldest first."""
        return records.read(self.directory / WITNESSED)[0]

    # Writing

    def _append(self, entries: Sequence[bytes], known: Sequence[tuple[int, int]]) -> None:
        if self._unsynced + len(entries) > UNSYNCED:
            self._sync_rest()
        hash_, pack_frame, pack_place, add = sha256, FRAME.pack, PLACE.pack, self._grown.add
        end = self._end
        written: list[bytes] = []
        nodes: list[bytes] = []
        places: list[bytes] = []
        write, more_nodes, more_places = written.append, nodes.extend, places.append
        for entry, (key, at_ms) in zip(entries, known, strict=True):
            hashed, size = hash_(b"\x00" + entry).digest(), len(entry)
            write(pack_frame(size, hashed[:8]))
            write(entry)
            more_nodes(add(hashed))
            more_places(pack_place(end, key, at_ms))
            end += 12 + size
        for name, pieces in ((ENTRIES, written), (TREE, nodes), (PLACES, places)):
            self._files.write(self._append_fds[name], b"".join(pieces))
        self._end = end
        self._unsynced += len(entries)
        self.size += len(entries)
        self._places_in_file = self.size

    def _sync_rest(self) -> None:
        for name in (CHECKPOINTS, TREE, PLACES):
            self._files.fsync(self._append_fds[name])
        self._unsynced = self._unsynced_checkpoints = 0

    def _guarded(self, write: Callable[[], object]) -> None:
        if self._problem is not None:
            raise AuditUnavailableError(self.directory, self._problem)
        try:
            write()
        except OSError as error:
            self._problem = str(error.strerror or error)
            raise AuditUnavailableError(self.directory, self._problem) from None

    # Opening

    def _take_lock(self) -> None:
        self._lock_fd = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AuditBusyError(self.directory / LOCK) from None

    def _make_missing(self) -> None:
        """Make what a new log consists of, `entries` last: where that is there, the others must be, too."""
        there = {name: (self.directory / name).exists() for name in (ENTRIES, CHECKPOINTS, CERTIFICATES, WITNESSED)}
        for name, exists in there.items():
            path = self.directory / name
            if there[ENTRIES] and not exists:
                raise AuditBrokenError(path, "it is gone")
            if not there[ENTRIES] and exists and path.stat().st_size > HEADER_SIZE:
                raise AuditBrokenError(self.directory / ENTRIES, f"it is gone, but {name} is there")
        if not there[ENTRIES]:
            for name in (CHECKPOINTS, CERTIFICATES, WITNESSED, ENTRIES):
                records.make(self._files, self.directory / name)
        for name in (TREE, PLACES):
            if not (self.directory / name).exists():
                publish(self._files, self.directory / name, [])
        self._files.fsync_directory(self.directory)

    def _take_over(self) -> None:
        self._open_files()
        for name in (CERTIFICATES, WITNESSED):
            _, end = records.read(self.directory / name)
            self.moved_aside += records.cut(self._files, self.directory / name, end)
        signed = self._last_signed()
        self._derive(signed)
        for name in (ENTRIES, TREE, PLACES, CHECKPOINTS):
            self._append_fds[name] = self._files.append_to(self.directory / name)
        self._files.fsync(self._append_fds[ENTRIES])  # a killed process may have left them to the page cache
        self._sync_rest()
        self.durable = self.size, self.root()

    def _last_signed(self) -> tuple[int, bytes] | None:
        """Size and root of the last checkpoint, after torn ones at the end were moved aside."""
        count = self.checkpoints
        good = count
        for number in range(max(0, count - 2 * UNSYNCED_CHECKPOINTS), count):
            if self.checkpoint(number) is None:
                good = number
                break
        self.moved_aside += records.cut(self._files, self.directory / CHECKPOINTS, HEADER_SIZE + good * SLOT)
        if good == 0:
            if count:
                raise AuditBrokenError(self.directory / CHECKPOINTS, "the checkpoint was altered", 0, HEADER_SIZE)
            return None
        said = size_and_root(self.checkpoint(good - 1) or b"")
        if said is None:
            raise AuditBrokenError(
                self.directory / CHECKPOINTS, "it is no checkpoint", good - 1, HEADER_SIZE + (good - 1) * SLOT
            )
        return said

    def _derive(self, signed: tuple[int, bytes] | None) -> None:
        """Find the end of the entries; compare them with what was signed; then make tree and places fit them."""
        trusted = min(os.fstat(self._fds[PLACES]).st_size // PLACE.size, leaves_in(os.fstat(self._fds[TREE]).st_size))
        for start in dict.fromkeys((max(0, trusted - UNSYNCED), 0)):
            derived = self._derive_from(start, signed)
            if derived is not None and (signed is None or derived.signed_root == signed[1]):
                break
        else:
            raise self._broken(derived, signed[0] if signed else 0)
        self._replace_end(TREE, nodes_before(start) * HASH_SIZE, derived.nodes)
        self._replace_end(PLACES, start * PLACE.size, derived.places)
        self.moved_aside += records.cut(self._files, self.directory / ENTRIES, derived.end)
        self._grown, self._end = derived.grown, derived.end
        self.size = self._places_in_file = derived.grown.size

    def _derive_from(self, start: int, signed: tuple[int, bytes] | None) -> _Derived | None:
        """What follows from the entries from `start` on; None when no entry begins where `places` says."""
        self.size = self._places_in_file = start  # so far tree and places are taken at their word
        derived = _Derived(start, self._place(start - 1)[0] if start else HEADER_SIZE, Growth(start, self.peaks(start)))
        if signed is not None and signed[0] <= start:
            derived.signed_root = self.root(signed[0])
        for offset, entry, hashed in self._from(derived.end):
            if derived.skip_first:
                derived.skip_first = False
            else:
                derived.add(offset, entry, hashed)
            derived.end = offset + FRAME.size + len(entry)
            if signed is not None and derived.grown.size == signed[0]:
                derived.signed_root = derived.grown.root()
        return None if derived.skip_first else derived

    def _from(self, at: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Every whole record from a byte of `entries` on: where it begins, entry, leaf hash."""
        while data := os.pread(self._fds[ENTRIES], _READ_BYTES, at):
            begins = at
            for offset, entry, hashed in frames(data, 0, LARGEST_ENTRY):
                yield begins + offset, entry, hashed
                at = begins + offset + FRAME.size + len(entry)
            if at == begins:
                return

    def _broken(self, derived: _Derived | None, covered: int) -> AuditBrokenError:
        """What to say of entries that are not those of the last checkpoint."""
        path = self.directory / ENTRIES
        if derived is None or covered > derived.grown.size:
            size = derived.grown.size if derived else 0
            end = derived.end if derived else HEADER_SIZE
            problem = f"entries are missing or altered, for a signed checkpoint covers {covered}"
            return AuditBrokenError(path, problem, size, end)
        problem = f"the first {covered} entries are not those that a signed checkpoint covers"
        for index in range(min(covered, derived.grown.size)):
            begin = node_place(0, index)
            if os.pread(self._fds[TREE], HASH_SIZE, begin) != derived.nodes[begin : begin + HASH_SIZE]:
                return AuditBrokenError(path, problem, index, PLACE.unpack_from(derived.places, index * PLACE.size)[0])
        return AuditBrokenError(path, problem)

    def _replace_end(self, name: str, begin: int, derived: bytes | bytearray) -> None:
        size = os.fstat(self._fds[name]).st_size
        if size == begin + len(derived) and os.pread(self._fds[name], len(derived) + 1, begin) == derived:
            return
        descriptor = self._files.append_to(self.directory / name)
        try:
            self._files.truncate(descriptor, begin)
            self._files.write(descriptor, memoryview(derived))
            self._files.fsync(descriptor)
        finally:
            self._files.close(descriptor)

    def _release(self) -> None:
        super().close()
        fds, self._append_fds = self._append_fds, {}
        for descriptor in (*fds.values(), *([self._lock_fd] if self._lock_fd >= 0 else [])):
            with suppress(OSError):
                os.close(descriptor)
        self._lock_fd = -1


class _Derived:
    """What follows from the entries from one of them on: tree nodes and places, as they stand in the files.

    To see that an entry begins where `places` says, the one before the first is read, too, and left out.
    """

    __slots__ = ("end", "grown", "nodes", "places", "signed_root", "skip_first")

    def __init__(self, start: int, end: int, grown: Growth) -> None:
        self.end = end
        self.grown = grown
        self.nodes = bytearray()
        self.places = bytearray()
        self.signed_root: bytes | None = None
        self.skip_first = start > 0

    def add(self, offset: int, entry: bytes, hashed: bytes) -> None:
        """Go on with one entry."""
        for node in self.grown.add(hashed):
            self.nodes += node
        self.places += PLACE.pack(offset, *facts(entry))


@contextmanager
def opened(directory: Path, files: Files | None = None) -> Iterator[AuditLog]:
    """`AuditLog.open` for the length of a block."""
    log = AuditLog.open(directory, files)
    try:
        yield log
    finally:
        log.close()
