"""Reading an audit log: entries, roots, proofs, checkpoints, and where a question stands. Changes nothing on disk.

Works beside the one process that writes: what was there at opening is what is read, also where that process left off
in the middle of a record. Nothing is believed that does not fit: an entry is compared with its leaf hash, a proof with
the root that it should lead to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError

from agent.audit import records
from agent.audit.errors import AuditBrokenError, AuditError
from agent.audit.layout import (
    CERTIFICATES,
    CHECKPOINTS,
    ENTRIES,
    FRAME,
    HEADER_SIZE,
    LARGEST_ENTRY,
    PLACE,
    PLACES,
    SLOT,
    TREE,
    key_of,
    leaves_in,
    node_place,
    unframe,
)
from hopback.v1 import audit_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos.merkle import (
    HASH_SIZE,
    consistency_path,
    inclusion_path,
    is_consistent,
    node_hash,
    range_hash,
    root_by_path,
)

AT_ONCE: Final = 65536
"""Entries, or places of entries, that are read in one go at most."""
_READ_BYTES: Final = 4 * 1024 * 1024


_FURTHEST: Final = 2**62
"""Offsets beyond this are none: no file is as long, and the system takes no larger ones."""


class AuditReader:
    """One log, opened for reading. Make one with `open`; use it as a context manager.

    Attributes:
        directory: where it lies.
        size: how many entries it has.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.size = 0
        self._fds: dict[str, int] = {}
        self._kept_nodes: dict[int, bytes] = {}  # by place in `tree`, where that file does not have them yet
        self._kept_places: list[tuple[int, int, int]] = []
        self._places_in_file = 0

    @classmethod
    def open(cls, directory: Path) -> AuditReader:
        """The log in `directory`, as it is now.

        Raises:
            AuditError: there is none, or AuditBrokenError: its files don't hang together.
        """
        reader = cls(directory)
        try:
            reader._open_files()
            reader._take_end()
        except FileNotFoundError as error:
            reader.close()
            raise AuditError(f"{error.filename}: there is no audit log, or a part of it is gone") from None
        except BaseException:
            reader.close()
            raise
        return reader

    def __enter__(self) -> AuditReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        fds, self._fds = self._fds, {}
        for descriptor in fds.values():
            os.close(descriptor)

    # Entries

    def entry(self, index: int) -> bytes:
        """The exact bytes of an entry.

        Raises:
            AuditBrokenError: they are not what they were.
        """
        offset = self._place(index)[0]
        data = os.pread(self._fds[ENTRIES], FRAME.size + LARGEST_ENTRY, offset)
        found = unframe(data, 0, LARGEST_ENTRY)
        if found is None or found[1] != self.node(0, index):
            raise AuditBrokenError(self.directory / ENTRIES, "the entry was altered", index, offset)
        return found[0]

    def entries(self, first: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Entries with their indexes, from `first` up to `end`, in order.

        Raises:
            AuditBrokenError: one was altered.
        """
        end = self.size if end is None else min(end, self.size)
        if first >= end:
            return
        at, held, begins = self._place(first)[0], b"", 0
        for index in range(first, end):
            found = unframe(held, at - begins, LARGEST_ENTRY)
            if found is None:
                begins, held = at, os.pread(self._fds[ENTRIES], _READ_BYTES, at)
                found = unframe(held, 0, LARGEST_ENTRY)
            if found is None:
                raise AuditBrokenError(self.directory / ENTRIES, "the entry was altered", index, at)
            yield index, found[0]
            at += FRAME.size + len(found[0])

    def find(self, question_sha256: bytes) -> list[int]:
        """Which entries are about a question, oldest first."""
        return [
            index
            for index in self._where(1, key_of(question_sha256), key_of(question_sha256))
            if pb.AuditEntry.FromString(self.entry(index)).question_sha256 == question_sha256
        ]

    def between(self, earliest_ms: int, latest_ms: int) -> Iterator[int]:
        """Which entries are of a time, both ends included, oldest first; clocks may have jumped."""
        return self._where(2, earliest_ms, latest_ms)

    def _where(self, column: int, least: int, most: int) -> Iterator[int]:
        for first in range(0, self._places_in_file, AT_ONCE):
            count = min(AT_ONCE, self._places_in_file - first)
            data = os.pread(self._fds[PLACES], count * PLACE.size, first * PLACE.size)
            column_of = np.frombuffer(data, "<u8").reshape(-1, 3)[:, column]
            for found in np.flatnonzero((column_of >= np.uint64(least)) & (column_of <= np.uint64(most))):
                yield first + int(found)
        for index, place in enumerate(self._kept_places, self._places_in_file):
            if least <= place[column] <= most:
                yield index

    def _place(self, index: int) -> tuple[int, int, int]:
        if not 0 <= index < self.size:
            raise IndexError(f"no entry {index} among {self.size}")
        if index >= self._places_in_file:
            return self._kept_places[index - self._places_in_file]
        data = os.pread(self._fds[PLACES], PLACE.size, index * PLACE.size)
        if len(data) != PLACE.size:
            raise AuditBrokenError(self.directory / PLACES, "it was cut off", index, index * PLACE.size)
        offset, key, at_ms = PLACE.unpack(data)
        if offset > _FURTHEST:
            raise AuditBrokenError(self.directory / PLACES, "it points beyond any file", index, index * PLACE.size)
        return offset, key, at_ms

    # Tree

    def node(self, level: int, index: int) -> bytes:
        """The hash over the 2^level entries from index * 2^level on, all of which there are."""
        place = node_place(level, index)
        kept = self._kept_nodes.get(place)
        if kept is not None:
            return kept
        hashed = os.pread(self._fds[TREE], HASH_SIZE, place)
        if len(hashed) != HASH_SIZE:
            raise AuditBrokenError(self.directory / TREE, "it was cut off", byte=place)
        return hashed

    def root(self, size: int | None = None) -> bytes:
        """The Merkle tree hash of the first `size` entries, by default of all."""
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise IndexError(f"a log of {self.size} entries has no {size}")
        return range_hash(0, size, self.node)

    def inclusion(self, index: int, size: int) -> bytes:
        """The path from an entry to the root of the first `size` entries.

        Raises:
            AuditBrokenError: the tree's nodes don't lead there.
        """
        path = inclusion_path(index, size, self.node)
        if root_by_path(self.node(0, index), index, size, path) != self.root(size):
            raise AuditBrokenError(self.directory / TREE, "its nodes contradict each other", index)
        return path

    def consistency(self, old: int, new: int) -> bytes:
        """The proof that the first `new` entries begin with the first `old`.

        Raises:
            AuditBrokenError: the tree's nodes don't lead there.
        """
        path = consistency_path(old, new, self.node)
        if not is_consistent(old, self.root(old), new, self.root(new), path):
            raise AuditBrokenError(self.directory / TREE, "its nodes contradict each other")
        return path

    # Checkpoints

    @property
    def checkpoints(self) -> int:
        """How many checkpoints are kept."""
        return max(0, os.fstat(self._fds[CHECKPOINTS]).st_size - HEADER_SIZE) // SLOT

    def checkpoint(self, number: int) -> bytes | None:
        """A kept checkpoint (a serialised SignedCheckpoint), from 0; None where its slot holds none."""
        found = unframe(os.pread(self._fds[CHECKPOINTS], SLOT, HEADER_SIZE + number * SLOT), 0, SLOT)
        return None if found is None else found[0]

    def checkpoint_of(self, size: int) -> bytes | None:
        """The latest kept checkpoint of exactly this size, None where none was signed."""
        low, high = 0, self.checkpoints
        while low < high:
            middle = (low + high) // 2
            if self._size_signed(middle) <= size:
                low = middle + 1
            else:
                high = middle
        return self.checkpoint(low - 1) if low and self._size_signed(low - 1) == size else None

    def _size_signed(self, number: int) -> int:
        data = self.checkpoint(number)
        size = None if data is None else size_and_root(data)
        if size is None:
            raise AuditBrokenError(
                self.directory / CHECKPOINTS, "the checkpoint was altered", number, HEADER_SIZE + number * SLOT
            )
        return size[0]

    def certificates(self) -> list[bytes]:
        """The certificates (DER) of the keys that signed checkpoints."""
        return records.read(self.directory / CERTIFICATES)[0]

    # Opening

    def _open_files(self) -> None:
        for name in (ENTRIES, CHECKPOINTS, TREE, PLACES):
            path = self.directory / name
            if name in (TREE, PLACES) and not path.exists():
                path = Path(os.devnull)  # what follows from the entries can be made anew
            self._fds[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        for name in (ENTRIES, CHECKPOINTS):
            records.check_header(self.directory / name, os.pread(self._fds[name], HEADER_SIZE, 0))

    def _take_end(self) -> None:
        """Take what the files have, and hold in memory what follows from entries that they don't have yet."""
        places = os.fstat(self._fds[PLACES]).st_size // PLACE.size
        self._places_in_file = self.size = min(places, leaves_in(os.fstat(self._fds[TREE]).st_size))
        end = HEADER_SIZE
        if self.size:
            last = self.size - 1
            offset = self._place(last)[0]
            found = unframe(os.pread(self._fds[ENTRIES], FRAME.size + LARGEST_ENTRY, offset), 0, LARGEST_ENTRY)
            if found is None or found[1] != self.node(0, last):
                self._places_in_file = self.size = 0  # they lead nowhere: all is made anew
            else:
                end = offset + FRAME.size + len(found[0])
        grown = Growth(self.size, self.peaks(self.size))
        begins, held, at = end, b"", end
        while True:
            found = unframe(held, at - begins, LARGEST_ENTRY)
            if found is None:
                begins, held = at, os.pread(self._fds[ENTRIES], _READ_BYTES, at)
                found = unframe(held, 0, LARGEST_ENTRY)
            if found is None:
                break
            place = node_place(0, self.size)
            for hashed in grown.add(found[1]):
                self._kept_nodes[place] = hashed
                place += HASH_SIZE
            self._kept_places.append((at, *facts(found[0])))
            self.size += 1
            at += FRAME.size + len(found[0])

    def peaks(self, size: int) -> list[bytes]:
        """The roots of the complete subtrees that make up the first `size` entries, the largest first."""
        found, first = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                found.append(self.node(level, first >> level))
                first += 1 << level
        return found


class Growth:
    """A tree that grows leaf by leaf and holds its peaks alone."""

    __slots__ = ("peaks", "size")

    def __init__(self, size: int, peaks: list[bytes]) -> None:
        self.size = size
        self.peaks = peaks

    def add(self, hashed: bytes) -> list[bytes]:
        """The nodes that are complete with this leaf, the leaf's own hash first."""
        made = [hashed]
        size, peaks = self.size, self.peaks
        while size & 1:
            hashed = sha256(b"\x01" + peaks.pop() + hashed).digest()  # spelt out: a call costs as much as the hash
            made.append(hashed)
            size >>= 1
        peaks.append(hashed)
        self.size += 1
        return made

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far."""
        return root_of(self.peaks)


def root_of(peaks: list[bytes]) -> bytes:
    """The Merkle tree hash over complete subtrees, the largest first."""
    if not peaks:
        return range_hash(0, 0, _no_node)
    hashed = peaks[-1]
    for peak in peaks[-2::-1]:
        hashed = node_hash(peak, hashed)
    return hashed


def _no_node(level: int, index: int) -> bytes:
    raise IndexError(f"no node {index} at level {level} of an empty tree")


def facts(entry: bytes) -> tuple[int, int]:
    """What `places` keeps of an entry: the key of its question, and its time in ms; zeros where it is none."""
    try:
        message = pb.AuditEntry.FromString(entry)
    except DecodeError:  # the log takes any bytes; `agent.audit.verify` says what is no entry
        return 0, 0
    return key_of(message.question_sha256), message.at_unix_ms


def size_and_root(signed: bytes) -> tuple[int, bytes] | None:
    """What a serialised SignedCheckpoint says, nothing of it checked; None when it is none."""
    try:
        said = evidence.Checkpoint.FromString(evidence.SignedCheckpoint.FromString(signed).checkpoint)
    except DecodeError:
        return None
    return said.size, said.root
