"""A disk that stops the world, or refuses, before any one of its operations; and what a power cut leaves of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tests.index.calls import UNSYNCED

DEADLY = ("kill", "torn", "power")
REFUSING = ("EIO", "ENOSPC", "EIO for ever", "ENOSPC for ever")


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, no cleaning up either."""


class FaultyFiles:
    """The operating system's files until step `fatal`; then what `fault` says. Knows what was fsynced.

    Attributes:
        steps: the operations so far. fired: whether the fault has happened.
    """

    def __init__(self, fatal: int, fault: str) -> None:
        self._os = UNSYNCED
        self._fatal = fatal
        self._fault = fault
        self.steps: list[str] = []
        self.fired = False
        self._names: dict[int, Path] = {}
        self._unsynced: set[Path] = set()
        self._grown: dict[Path, int] = {}
        self._undo: list[tuple[Path, Path | None, Path, bytes | None]] = []

    def _step(self, name: str) -> None:
        if self.fired and self._fault in DEADLY:
            raise Killed
        self.steps.append(name)
        if len(self.steps) - 1 == self._fatal:
            self.fired = True
            if self._fault in DEADLY and (self._fault != "torn" or name != "write"):
                raise Killed
        if self._fault in REFUSING and self.fired:
            again = len(self.steps) - 1 > self._fatal
            if not again or ("for ever" in self._fault and self._takes_space(name)):
                number = getattr(errno, self._fault.split()[0])
                raise OSError(number, os.strerror(number))

    def _takes_space(self, name: str) -> bool:
        """A full disk still removes and cuts; a broken one does nothing."""
        return self._fault.startswith("EIO") or name in ("create", "write", "fsync", "make directory")

    def create(self, path: Path) -> int:
        self._step("create")
        descriptor = self._os.create(path)
        self._names[descriptor] = path
        self._unsynced.add(path)
        return descriptor

    def reopen(self, path: Path) -> int:
        self._step("reopen")
        descriptor = self._os.reopen(path)
        self._names[descriptor] = path
        return descriptor

    def append_to(self, path: Path) -> int:
        self._step("append to")
        descriptor = self._os.append_to(path)
        self._names[descriptor] = path
        self._grown[path] = path.stat().st_size
        return descriptor

    def truncate(self, descriptor: int, size: int) -> None:
        self._step("truncate")
        self._os.truncate(descriptor, size)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        fired = self.fired
        try:
            self._step("write")
        except OSError:
            self._os.write(descriptor, data[: len(data) // 2])  # what there was room for
            raise
        if self.fired and not fired and self._fault == "torn":
            self._os.write(descriptor, data[: len(data) // 2])
            raise Killed
        self._os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._step("fsync")
        self._os.fsync(descriptor)
        path = self._names[descriptor]
        self._unsynced.discard(path)
        if path in self._grown:
            self._grown[path] = path.stat().st_size

    def close(self, descriptor: int) -> None:
        self._os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        self._step("rename")
        replaced = new.read_bytes() if new.exists() else None
        self._os.rename(old, new)
        self._undo.append((new.parent, old, new, replaced))
        self._grown.pop(new, None)
        if old in self._unsynced:
            self._unsynced.remove(old)
            self._unsynced.add(new)

    def fsync_directory(self, directory: Path) -> None:
        self._step("fsync directory")
        self._os.fsync_directory(directory)
        self._undo = [step for step in self._undo if step[0] != directory]

    def unlink(self, path: Path) -> None:
        self._step("unlink")
        if path.exists():
            self._undo.append((path.parent, None, path, path.read_bytes()))
        self._os.unlink(path)

    def make_directory(self, path: Path) -> None:
        self._step("make directory")
        self._os.make_directory(path)

    def power_cut(self) -> None:
        """Take back what was not made durable: names whose directory was not fsynced, content that was not."""
        for path in self._unsynced:
            if path.exists():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        for path, durable in self._grown.items():
            if path.exists():
                os.truncate(path, durable + (path.stat().st_size - durable) // 2)
        for _, old, new, content in reversed(self._undo):
            if old is not None:
                new.rename(old)
            if content is not None:
                new.write_bytes(content)
