"""The manifest: which source files are indexed, which segments count, and under which root key. Encoding is pure.

A log. The first line says what it is; every other line is a commit: what is taken out and what is put in, as JSON, with
a checksum in front. What no commit names does not count, and a commit counts when its line is whole. A writer appends
and flushes; now and then it writes the state as one commit into a new log, which takes the old one's place. A reader
takes up what was appended since it last looked.

A line at the end that breaks off, or has a run of zeros where the disk had not written yet when the power went, is one
that was being written: readers pass it over, the next writer cuts it off. Anything else that does not fit its checksum
is refused, an unknown version before anything else.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
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
_UNWRITTEN = bytes(8)
"""What a file system gives for parts of a file that it had made longer, but not written, when the power went."""


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
    """One source file that is indexed. When it has grown, another entry of the same number takes its place.

    Attributes:
        number: given once, in the order of indexing.
        source: name of the source in the configuration; file: name of the file when it was last met.
        size: bytes of it, unpacked; content: keyed name of them; head: of the first 4096.
        mapping: digest of the mapping by which it was read.
        indexed_ms: when.
        records: call legs in it; earliest_ms, latest_ms: first and last possible seizure time, None without records.
        stamps: of the file as it was met (device, inode, time of its last change in ns, bytes on disk), under one name
            or several, so that a file at rest is not read again.
        superseded: names of the contents that it had before it grew to this one.
        skipped: records skipped by the mapping's own rule; expired: by the retention; rejected: counts by reason.
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
    head: str = ""
    stamps: tuple[Stamp, ...] = ()
    superseded: tuple[str, ...] = ()
    skipped: int = 0
    expired: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    rejects: tuple[str, ...] = ()


Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Stated:
    """What the operator, or who follows its files, says of a source: it has all records from and until then."""

    source: str
    from_ms: int | None
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Loss:
    """A segment that was found broken and moved aside: rows of that time are missing until its files are read again.

    Attributes:
        segment: its name. source: that its rows were of. from_ms, to_ms: the time that they touched.
        files: numbers of the source files that have to be read again. reason: what was wrong with it.
    """

    segment: str
    source: str
    from_ms: int
    to_ms: int
    files: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One step from a state to the next: what is taken out, by number and name, then what is put in.

    What is put in takes the place of what has its number, source or name.
    """

    remove_files: tuple[int, ...] = ()
    remove_segments: tuple[str, ...] = ()
    remove_losses: tuple[str, ...] = ()
    remove_stated: tuple[str, ...] = ()
    add_files: tuple[FileEntry, ...] = ()
    add_segments: tuple[SegmentEntry, ...] = ()
    add_losses: tuple[Loss, ...] = ()
    add_stated: tuple[Stated, ...] = ()


@dataclass(frozen=True, slots=True)
class _Extent:
    """What the files of a source span: it grows with files that are put in, and is counted anew when one goes."""

    records: int = 0
    files: int = 0
    earliest_ms: int | None = None
    latest_ms: int | None = None

    def with_file(self, entry: FileEntry) -> _Extent:
        return _Extent(
            self.records + entry.records,
            self.files + 1,
            _least(self.earliest_ms, entry.earliest_ms),
            _greatest(self.latest_ms, entry.latest_ms),
        )

    def without(self, entry: FileEntry) -> _Extent:
        """Right as long as another entry that spans all that this one did is put in after it."""
        return replace(self, records=self.records - entry.records, files=self.files - 1)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The state of an index at one moment.

    Attributes:
        key_check: tells the root key. generation: counts the commits.
        files: by number. segments: by name. losses: by name of the segment. stated: by source.
        extents: what the files of each source span.
    """

    key_check: str
    generation: int = 0
    files: Mapping[int, FileEntry] = field(default_factory=dict)
    segments: Mapping[str, SegmentEntry] = field(default_factory=dict)
    losses: Mapping[str, Loss] = field(default_factory=dict)
    stated: Mapping[str, Stated] = field(default_factory=dict)
    extents: Mapping[str, _Extent] = field(default_factory=dict)

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
        files, segments, extents = dict(self.files), dict(self.segments), dict(self.extents)
        losses, stated = dict(self.losses), dict(self.stated)
        generation = self.generation
        shrunk: set[str] = set()
        for commit in commits:
            generation += 1
            for name in commit.remove_segments:
                del segments[name]
            for name in commit.remove_losses:
                del losses[name]
            for name in commit.remove_stated:
                del stated[name]
            shrunk.update(files.pop(number).source for number in commit.remove_files)
            for entry in commit.add_files:
                old = files.get(entry.number)
                extent = extents.get(entry.source, _Extent())
                if old is not None:
                    extent = extent.without(old)
                    if not _spans(entry, old):
                        shrunk.add(entry.source)
                files[entry.number] = entry
                extents[entry.source] = extent.with_file(entry)
            segments |= {segment.name: segment for segment in commit.add_segments}
            losses |= {loss.segment: loss for loss in commit.add_losses}
            stated |= {said.source: said for said in commit.add_stated}
        for source in shrunk:
            extents.pop(source, None)
        for entry in files.values() if shrunk else ():
            if entry.source in shrunk:
                extents[entry.source] = extents.get(entry.source, _Extent()).with_file(entry)
        return Manifest(self.key_check, generation, files, segments, losses, stated, extents)

    def coverage(self) -> Coverage:
        """What the sources cover, see `Coverage`."""
        return Coverage(tuple(self._covered(name) for name in sorted({*self.extents, *self.stated})))

    def _covered(self, source: str) -> SourceCoverage:
        extent = self.extents.get(source, _Extent())
        said = self.stated.get(source, Stated(source, None, None))
        losses = sorted((loss.from_ms, loss.to_ms) for loss in self.losses.values() if loss.source == source)
        return SourceCoverage(
            source=source,
            earliest=_time(extent.earliest_ms),
            latest=_time(extent.latest_ms),
            covered_from=_time(_least(extent.earliest_ms, said.from_ms)),
            watermark=_time(_greatest(extent.latest_ms, said.until_ms)),
            records=extent.records,
            files=extent.files,
            lost=tuple((time_of(begin), time_of(end)) for begin, end in losses),
        )


def _least(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _greatest(*times: int | None) -> int | None:
    return max((time for time in times if time is not None), default=None)


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else time_of(ms)


def _spans(entry: FileEntry, other: FileEntry) -> bool:
    """Whether `entry` is of the same source and spans all the time that `other` did."""
    return (
        entry.source == other.source
        and _least(entry.earliest_ms, other.earliest_ms) == entry.earliest_ms
        and _greatest(entry.latest_ms, other.latest_ms) == entry.latest_ms
    )


def encode_header(manifest: Manifest) -> bytes:
    """The first line of a log that goes on from this state's generation."""
    return _line(
        {"format": FORMAT, "version": VERSION, "key_check": manifest.key_check, "generation": manifest.generation}
    )


def encode_commit(commit: Commit) -> bytes:
    """The line of a commit."""
    said: dict[str, Any] = {}
    for part in fields(Commit):
        value = getattr(commit, part.name)
        if value:
            said[part.name] = value if part.name.startswith("remove") else [_plain(entry) for entry in value]
    return _line(said)


def encode_snapshot(manifest: Manifest) -> bytes:
    """A log that consists of this state alone."""
    state = Commit(
        add_files=tuple(manifest.files.values()),
        add_segments=tuple(manifest.segments.values()),
        add_losses=tuple(manifest.losses.values()),
        add_stated=tuple(manifest.stated.values()),
    )
    return encode_header(replace(manifest, generation=manifest.generation - 1)) + encode_commit(state)


def _plain(entry: FileEntry | SegmentEntry | Loss | Stated) -> dict[str, Any]:
    """An entry as JSON has it; what is empty or unknown is left out."""
    values = ((part.name, getattr(entry, part.name)) for part in fields(entry))
    return {name: value for name, value in values if value not in (None, (), {})}


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
        line = data[length:end]
        said = _said(line)
        if said is None:
            if end + 1 == len(data) and _UNWRITTEN in line:
                break
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
        parts: dict[str, Any] = {name: tuple(said.get(name, ())) for name in _REMOVED}
        parts |= {name: tuple(make(entry) for entry in said.get(name, ())) for name, make in _ADDED.items()}
        return Commit(**parts)
    except (ValueError, TypeError, KeyError) as error:
        raise IndexCorruptError(path, f"a commit is not what version {VERSION} says ({error})", REMEDY) from None


def _segment(said: dict[str, Any]) -> SegmentEntry:
    return SegmentEntry(**{**said, "files": tuple(said.get("files", ()))})


def _loss(said: dict[str, Any]) -> Loss:
    return Loss(**{**said, "files": tuple(said.get("files", ()))})


def _stated(said: dict[str, Any]) -> Stated:
    return Stated(said["source"], said.get("from_ms"), said.get("until_ms"))


def _file(said: dict[str, Any]) -> FileEntry:
    lists = {name: tuple(said.get(name, ())) for name in ("superseded", "rejects")}
    stamps = tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in said.get("stamps", ()))
    times = {name: said.get(name) for name in ("earliest_ms", "latest_ms")}
    return FileEntry(**{**said, **lists, **times, "stamps": stamps})


_REMOVED: Final = tuple(part.name for part in fields(Commit) if part.name.startswith("remove"))
_ADDED: Final[Mapping[str, Callable[[dict[str, Any]], Any]]] = {
    "add_files": _file,
    "add_segments": _segment,
    "add_losses": _loss,
    "add_stated": _stated,
}
