"""Which of the files of a source are indexed already, whatever they are called now, and what is new in them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.fingerprint import HEAD, Beginning, Contents, Fingerprint, fingerprint, stamp_of
from agent.index.keys import Keys
from agent.index.manifest import FileEntry, Manifest, Stamp
from agent.intake_report import FileStatus
from agent.slices import heading_lines

if TYPE_CHECKING:
    from cdr_adapters.mapping import SourceMapping

_OPEN_LINE_NS: Final = 3_600_000_000_000
"""A last line without an end is half a line, unless nothing was written to the file for so long."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a file: its status to be, and the entries of which it is the continuation or the same."""

    status: FileStatus
    entries: tuple[FileEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was met: what it is, and what is to be read of it (`size` bytes, named `content`)."""

    path: Path
    status: os.stat_result
    print: Fingerprint
    part: Beginning

    @property
    def is_whole(self) -> bool:
        return self.part.size == self.print.whole.size

    def continues(self, entry: FileEntry) -> Beginning | None:
        """The file's beginning that is the entry's content; None when it does not begin so."""
        if entry.size == 0 and entry.file != self.path.name:
            return None  # every file begins with nothing
        if entry.content == self.print.whole.content:
            return self.print.whole
        beginning = self.print.beginnings.get(entry.size)
        return beginning if beginning is not None and beginning.content == entry.content else None


class Known:
    """What is indexed of a source, to be asked for files that were met before."""

    def __init__(self, manifest: Manifest, keys: Keys, mapping: SourceMapping, *, following: bool) -> None:
        self._contents = Contents(keys)
        self._nothing = self._contents.name(b"", 0)
        self._has_lines = following and heading_lines(mapping) is not None
        self.entries: dict[int, FileEntry] = {}
        self._by_stamp: dict[Stamp, int] = {}
        self._by_head: dict[str, set[int]] = {}
        self._by_content: dict[str, int] = {}
        for entry in manifest.files.values():
            if entry.source == mapping.name:
                self.put(entry)

    def put(self, entry: FileEntry) -> None:
        self.entries[entry.number] = entry
        self._by_head.setdefault(entry.head if entry.size >= HEAD else "", set()).add(entry.number)
        for stamp in entry.stamps:
            self._by_stamp[stamp] = entry.number
        for content in (*entry.superseded, entry.content):
            self._by_content[self._named(content, entry.file)] = entry.number

    def remove(self, number: int) -> None:
        entry = self.entries.pop(number)
        self._by_head[entry.head if entry.size >= HEAD else ""].discard(number)
        for stamp in entry.stamps:
            self._by_stamp.pop(stamp, None)
        for content in (*entry.superseded, entry.content):
            self._by_content.pop(self._named(content, entry.file), None)

    def _named(self, content: str, file: str) -> str:
        """What tells a content: two empty files are not the same file."""
        return content if content != self._nothing else f"{content} {file}"

    def at_rest(self, status: os.stat_result) -> FileEntry | None:
        """The entry of a file that has not changed since it was met; None when it has to be read to know."""
        return self.entries.get(self._by_stamp.get(stamp_of(status), -1))

    def look(self, path: Path, status: os.stat_result) -> Found:
        """Read a file to know what it is.

        Raises:
            AdapterError: it can't be read.
        """

        def sizes(head: str) -> set[int]:
            numbers = self._by_head.get(head, set()) | self._by_head.get("", set())
            return {self.entries[number].size for number in numbers}

        found = fingerprint(path, sizes, self._contents)
        half_a_line = self._has_lines and not found.packed and time.time_ns() - status.st_mtime_ns < _OPEN_LINE_NS
        return Found(path, status, found, found.lines if half_a_line else found.whole)

    def decide(self, found: Found) -> Decision:
        """What to do with a file."""
        for content in (found.print.whole.content, found.part.content):
            known = self._by_content.get(self._named(content, found.path.name))
            if known is not None:
                # the same, but for a line that is not whole yet; or an older and shorter copy of what is indexed
                return Decision(FileStatus.ALREADY_INDEXED, (self.entries[known],))
        grown = self.continued(found)
        return Decision(FileStatus.REPLACED, grown) if grown else Decision(FileStatus.INDEXED)

    def continued(self, found: Found) -> tuple[FileEntry, ...]:
        """The entries that the file continues, the longest first."""
        numbers = self._by_head.get(found.print.head, set()) | self._by_head.get("", set())
        entries = [self.entries[number] for number in numbers if found.continues(self.entries[number]) is not None]
        return tuple(sorted(entries, key=lambda entry: -entry.size))

    def require_still(self, found: Found) -> None:
        """Refuse a file that is no longer, and no longer begins with, what was found. One that grew is met again later.

        Raises:
            AdapterError: it has changed, or can't be read any more.
        """
        from cdr_adapters.raw import AdapterError

        if not self._is_still(found):
            raise AdapterError(f"{found.path}: changed while it was being read; index it again when it is at rest")

    def _is_still(self, found: Found) -> bool:
        from cdr_adapters.raw import AdapterError

        try:
            after = found.path.stat()
            if stamp_of(after) == stamp_of(found.status) and after.st_mtime_ns == found.status.st_mtime_ns:
                return True
            size = found.part.size
            now = fingerprint(found.path, lambda _: (size,), self._contents).beginnings.get(size)
        except (OSError, AdapterError):
            return False
        return now is not None and now.content == found.part.content
