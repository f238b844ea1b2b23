"""The manifest: which source files are indexed, which segments count, and under which root key. Encoding is pure.

A log. The first line says what it is; every other line is a commit: what is taken out and what is put in, as JSON, with
a checksum in front. What no commit names does not count, and a commit counts when its line is whole. A writer appends
and flushes; now and then it writes the state as one commit into a new log, which takes the old one's place. A reader
takes up what was appended since it last looked.

A line that breaks off at the end is one that was being written: readers pass it over, the next writer cuts it off.
Anything else that does not fit its checksum is refused, an unknown version before anything else.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any, Final

from agent.index.coverage import Coverage, SourceCoverage
from agent.index.errors import IndexCorruptError, UnknownVersionError, WrongKeyError
from agent.index.keys import Keys
from agent.index.layout import time_of

FORMAT: Final = "hopback index"
VERSION: Final = 2
REMEDY: Final = "delete the index directory and index the sources again"

_SUM = 8
"""Hex digits of a line's CRC-32; a space and the JSON follow."""


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment that counts.

    Attributes:
        name: file name within the segments' directory.
        size: bytes of the file.
        sha256: digest of its footer, in hex; the footer in turn vouches for every page.
        source: name of the source that its rows are of. day: their UTC day, as days since 1970-01-01.
        rows: index rows in it.
        earliest_ms, latest_ms: least and greatest earliest seizure time of its rows.
        longest_ms: the longest seizure interval of its rows.
        files: numbers of the source files whose rows are in it.
    """

    name: str
    size: int
    sha256: str
    source: str
    day: int
    rows: int
    earliest_ms: int
    latest_ms: int
    longest_ms: int
    files: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One source file that is indexed.

    Attributes:
        number: given once, in the order of indexing.
        source: name of the source in the configuration; file: name of the file when it was indexed.
        size: bytes of it; content: keyed name of its content; stamp: of the file as it was found (device, inode,
            modified, in ns), so that a file at rest is not read again.
        mapping: digest of the mapping by which it was read.
        indexed_ms: when.
        records: call legs in it; earliest_ms, latest_ms: first and last possible seizure time, None without records.
        complete_from_ms, complete_until_ms: what the operator stated.
        skipped: records skipped by the mapping's own rule; rejected: counts by reason.
        rejects: names of the files of rejected rows.
    """

    number: int
    source: str
    file: str
    size: int
    content: str
    mapping: str
    indexed_ms: int
    records: int
    earliest_ms: int | None
    latest_ms: int | None
    stamp: tuple[int, int, int] | None = None
    complete_from_ms: int | None = None
    complete_until_ms: int | None = None
    skipped: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    rejects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    """One step from a state to the next: what is taken out, by number and name, then what is put in."""

    remove_files: tuple[int, ...] = ()
    remove_segments: tuple[str, ...] = ()
    add_files: tuple[FileEntry, ...] = ()
    add_segments: tuple[SegmentEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The state of an index at one moment; `generation` counts the commits, `sources` says what the files cover."""

    key_check: str
    generation: int = 0
    files: Mapping[int, FileEntry] = field(default_factory=dict)
    segments: Mapping[str, SegmentEntry] = field(default_factory=dict)
    sources: Mapping[str, SourceCoverage] = field(default_factory=dict)

    def require_key(self, keys: Keys, path: Path) -> None:
        """Refuse other keys than those that the index was made with.

        Raises:
            WrongKeyError: naming the manifest's `path`.
        """
        if self.key_check != keys.check.hex():
            raise WrongKeyError(path)

    def after(self, commits: Iterable[Commit]) -> Manifest:
        """The state after these commits.

        Raises:
            KeyError: a commit takes out what is not there.
        """
        files, segments, sources = dict(self.files), dict(self.segments), dict(self.sources)
        generation = self.generation
        shrunk: set[str] = set()
        for commit in commits:
            generation += 1
            shrunk.update(files.pop(number).source for number in commit.remove_files)
            for name in commit.remove_segments:
                del segments[name]
            segments |= {entry.name: entry for entry in commit.add_segments}
            for entry in commit.add_files:
                files[entry.number] = entry
                held = sources.get(entry.source)
                sources[entry.source] = _coverage(entry) if held is None else _joined(held, _coverage(entry))
        for source in shrunk:
            entries = [_coverage(entry) for entry in files.values() if entry.source == source]
            sources.pop(source, None)
            if entries:
                sources[source] = reduce(_joined, entries)
        return Manifest(self.key_check, generation, files, segments, sources)

    def next_file_number(self) -> int:
        """The number for the next source file."""
        return max(self.files, default=0) + 1

    def coverage(self) -> Coverage:
        """What the sources cover, see `Coverage`."""
        return Coverage(tuple(self.sources[name] for name in sorted(self.sources)))


def _coverage(entry: FileEntry) -> SourceCoverage:
    """What one file covers."""
    start = [ms for ms in (entry.earliest_ms, entry.complete_from_ms) if ms is not None]
    until = [ms for ms in (entry.latest_ms, entry.complete_until_ms) if ms is not None]
    return SourceCoverage(
        source=entry.source,
        earliest=None if entry.earliest_ms is None else time_of(entry.earliest_ms),
        latest=None if entry.latest_ms is None else time_of(entry.latest_ms),
        covered_from=time_of(min(start)) if start else None,
        watermark=time_of(max(until)) if until else None,
        records=entry.records,
        files=1,
    )


def _joined(one: SourceCoverage, other: SourceCoverage) -> SourceCoverage:
    """What two sets of files of one source cover together."""

    def least(*times: datetime | None) -> datetime | None:
        return min((time for time in times if time is not None), default=None)

    def greatest(*times: datetime | None) -> datetime | None:
        return max((time for time in times if time is not None), default=None)

    return SourceCoverage(
        source=one.source,
        earliest=least(one.earliest, other.earliest),
        latest=greatest(one.latest, other.latest),
        covered_from=least(one.covered_from, other.covered_from),
        watermark=greatest(one.watermark, other.watermark),
        records=one.records + other.records,
        files=one.files + other.files,
    )


def encode_header(manifest: Manifest) -> bytes:
    """The first line of a log that goes on from this state's generation."""
    return _line(
        {"format": FORMAT, "version": VERSION, "key_check": manifest.key_check, "generation": manifest.generation}
    )


def encode_commit(commit: Commit) -> bytes:
    """The line of a commit."""
    return _line({name: value for name, value in asdict(commit).items() if value})


def encode_snapshot(manifest: Manifest) -> bytes:
    """A log that consists of this state alone."""
    state = Commit(add_files=tuple(manifest.files.values()), add_segments=tuple(manifest.segments.values()))
    return encode_header(replace(manifest, generation=manifest.generation - 1)) + encode_commit(state)


def _line(said: Mapping[str, Any]) -> bytes:
    text = json.dumps(said, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken up of a log: the state, and how many bytes of the log are whole lines."""

    manifest: Manifest
    length: int


def decode(data: bytes, path: Path) -> Taken:
    """The state that a log describes, read from its beginning; `path` is for messages.

    Raises:
        UnknownVersionError: another format version.
        IndexCorruptError: anything else that was not written so, but for a last line that breaks off.
    """
    first, ended, _ = data.partition(b"\n")
    said = _said(first) if ended else None
    if said is None or said.get("format") != FORMAT or not isinstance(said.get("version"), int):
        _refuse_other_versions(first, path)
        raise IndexCorruptError(path, "not a manifest of an index, or its first line is altered", REMEDY)
    if said["version"] != VERSION:
        raise UnknownVersionError(path, said["version"], VERSION)
    try:
        empty = Manifest(str(said["key_check"]), int(said["generation"]))
    except (ValueError, TypeError, KeyError) as error:
        raise IndexCorruptError(path, f"its first line is not what version {VERSION} says ({error})", REMEDY) from None
    begin = len(first) + 1
    taken = decode_more(empty, data[begin:], path)
    return Taken(taken.manifest, begin + taken.length)


def _refuse_other_versions(first: bytes, path: Path) -> None:
    """The manifest of version 1 began with plain JSON."""
    try:
        said = json.loads(first)
    except ValueError:
        return
    if isinstance(said, dict) and said.get("format") == FORMAT and isinstance(said.get("version"), int):
        raise UnknownVersionError(path, said["version"], VERSION)


def decode_more(manifest: Manifest, data: bytes, path: Path) -> Taken:
    """The state after what was appended to a log.

    Raises:
        IndexCorruptError: a line is altered, or takes out what is not there.
    """
    commits = []
    length = 0
    while (end := data.find(b"\n", length)) >= 0:
        said = _said(data[length:end])
        if said is None:
            raise IndexCorruptError(path, "altered: a line does not fit its checksum", REMEDY)
        commits.append(_commit(said, path))
        length = end + 1
    try:
        return Taken(manifest.after(commits) if commits else manifest, length)
    except KeyError as error:
        raise IndexCorruptError(path, f"altered: it takes out {error}, which is not there", REMEDY) from None


def _said(line: bytes) -> dict[str, Any] | None:
    """What a line says; None when it does not fit its checksum."""
    try:
        if line[_SUM : _SUM + 1] != b" " or int(line[:_SUM], 16) != zlib.crc32(line[_SUM + 1 :]):
            return None
        said = json.loads(line[_SUM + 1 :])
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _commit(said: dict[str, Any], path: Path) -> Commit:
    try:
        return Commit(
            remove_files=tuple(said.get("remove_files", ())),
            remove_segments=tuple(said.get("remove_segments", ())),
            add_files=tuple(_file(entry) for entry in said.get("add_files", ())),
            add_segments=tuple(_segment(entry) for entry in said.get("add_segments", ())),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise IndexCorruptError(path, f"a commit is not what version {VERSION} says ({error})", REMEDY) from None


def _segment(said: dict[str, Any]) -> SegmentEntry:
    return SegmentEntry(**{**said, "files": tuple(said["files"])})


def _file(said: dict[str, Any]) -> FileEntry:
    stamp = said["stamp"]
    return FileEntry(**{**said, "stamp": None if stamp is None else tuple(stamp), "rejects": tuple(said["rejects"])})
