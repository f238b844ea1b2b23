"""The few operations by which an index changes the disk, as a seam.

Everything durable goes through here, so that a test can stop the world before any one of them, and so that the
order write, fsync, rename, fsync of the directory is visible in one place (`publish`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from agent.index.layout import hidden


class Files(Protocol):
    """What the writer needs from a file system. Every operation may raise OSError."""

    def create(self, path: Path) -> int:
        """Open a new file for writing, mode 0600, truncating what a crash left there; returns its descriptor."""
        ...

    def reopen(self, path: Path) -> int:
        """Open a file that is there, to write over it from its beginning; returns its descriptor."""
        ...

    def append_to(self, path: Path) -> int:
        """Open a file that is there, to write at its end; returns its descriptor."""
        ...

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Write all of `data`, where the last write ended."""
        ...

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file off after `size` bytes."""
        ...

    def fsync(self, descriptor: int) -> None:
        """Return when the content is durable."""
        ...

    def close(self, descriptor: int) -> None:
        """Close the descriptor; says nothing about durability."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Atomically give `old` the name `new`, replacing what has it."""
        ...

    def fsync_directory(self, directory: Path) -> None:
        """Return when the names in `directory` are durable."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is gone already is no error."""
        ...

    def make_directory(self, path: Path) -> None:
        """Create a directory, mode 0700, and missing parents; one that exists is no error."""
        ...


class OsFiles:
    """The operating system's files."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def reopen(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def append_to(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def fsync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def publish(files: Files, path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file so that it has its name only when it is whole: hidden, fsynced, renamed, directory fsynced."""
    concealed = hidden(path)
    descriptor = files.create(concealed)
    try:
        for piece in pieces:
            files.write(descriptor, piece)
        files.fsync(descriptor)
    finally:
        files.close(descriptor)
    files.rename(concealed, path)
    files.fsync_directory(path.parent)
