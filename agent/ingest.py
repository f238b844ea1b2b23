"""From a source file to segments: once per content, all of it or nothing, bad rows counted and kept aside.

A file is known by its content, not by its name: delivered again or renamed, it is not indexed again. A file that has
grown begins with what is indexed already; then its new segments take the place of the old ones. Contents are known per
source, because two sources may read one file with different eyes. A mapping that has changed reads it anew.

Refuses a file that changes under its reader in any other way than by growing. One file's failure is reported and does
not keep the others from being indexed; a disk that refuses ends all.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.index.files import Files
from agent.index.keys import Keys
from agent.index.layout import REJECTS, floor_ms, time_of
from agent.index.manifest import SourceEntry
from agent.index.rows import AdapterContractError
from agent.index.writer import ROWS_PER_RUN, IndexWriter, PendingSource, restated

if TYPE_CHECKING:
    from cdr_adapters.mapping import SourceMapping, TrunkFormats
    from cdr_adapters.schema import Batch, RejectReason

Read = Callable[[Path, "SourceMapping", "TrunkFormats"], Iterator["Batch"]]
"""How a source file is read, as by `cdr_adapters.read.read_source`; by default in a process of its own."""
Progress = Callable[[Path, int], None]
"""Told after every batch: the file, and how many call legs of it were read so far."""

_CHUNK: Final = 1 << 20
_SUPERSEDED_KEPT: Final = 100


class FileStatus(enum.Enum):
    """What became of a file."""

    INDEXED = "indexed"
    ALREADY_INDEXED = "already indexed"
    """Its content was known, under this name or another; nothing was done."""
    REPLACED = "replaced"
    """It had grown, or the mapping had changed; what it brought before was taken out."""
    REPAIRED = "repaired"
    """Its content was known, but its segments were broken; they were made anew."""
    FAILED = "failed"
    """It could not be read; nothing of it was indexed."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file.

    Attributes:
        path, status: as named.
        calls: call legs indexed now.
        rejected: rows that could not be read, by reason; rejects: where they are kept, raw, None without any.
        skipped: rows that the mapping leaves out on purpose.
        earliest, latest: first and last possible seizure time of what was indexed now.
        problem: why it failed, and what to do; empty otherwise.
    """

    path: Path
    status: FileStatus
    calls: int = 0
    rejected: Mapping[RejectReason, int] = field(default_factory=dict)
    rejects: Path | None = None
    skipped: int = 0
    earliest: datetime | None = None
    latest: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of the files of one source, in the order in which they were given."""

    source: str
    files: tuple[FileReport, ...]

    @property
    def calls(self) -> int:
        """Call legs indexed now."""
        return sum(file.calls for file in self.files)

    @property
    def skipped(self) -> int:
        """Rows left out on purpose."""
        return sum(file.skipped for file in self.files)

    @property
    def rejected(self) -> Mapping[RejectReason, int]:
        """Rows that could not be read, by reason."""
        total: Counter[RejectReason] = Counter()
        for file in self.files:
            total.update(file.rejected)
        return total

    @property
    def failed(self) -> tuple[FileReport, ...]:
        """Files of which nothing was indexed, because they could not be read."""
        return tuple(file for file in self.files if file.status is FileStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A file's size and content, and what its content was when it had the sizes asked for."""

    size: int
    content: str
    beginnings: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a file: its status to be, and the entries whose place it takes."""

    status: FileStatus
    replaces: tuple[SourceEntry, ...] = ()


def mapping_digest(mapping: SourceMapping, formats: TrunkFormats) -> str:
    """Tells whether a file would be read as before. Not the path: where a file lies does not change what is in it."""
    said = {
        "mapping": mapping.model_dump(mode="json", exclude={"path", "name"}),
        "ingress": dict(formats.ingress),
        "egress": dict(formats.egress),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def decide(known: Sequence[SourceEntry], file: str, found: Fingerprint, mapping: str) -> Decision:
    """What to do with a file, given what is indexed of its source. Pure.

    Args:
        known: the entries of the source.
        file: the file's name; it matters only for files that were empty, since every file begins with nothing.
        found: with the beginnings at the sizes of all `known`.
        mapping: digest of the mapping.
    """
    for entry in known:
        if found.content in entry.superseded:
            # an older and shorter copy of what is indexed
            return Decision(FileStatus.ALREADY_INDEXED)
        if entry.content == found.content:
            if entry.mapping == mapping:
                return Decision(FileStatus.ALREADY_INDEXED, (entry,))
            return Decision(FileStatus.REPLACED, (entry,))
    grown = tuple(
        entry
        for entry in known
        if found.beginnings.get(entry.size) == entry.content and (entry.size > 0 or entry.file == file)
    )
    return Decision(FileStatus.REPLACED, grown) if grown else Decision(FileStatus.INDEXED)


def fingerprint(path: Path, sizes: Iterable[int], keys: Keys) -> Fingerprint:
    """Read the file once for its content and for its beginnings of these sizes.

    Raises:
        OSError: it can't be read.
    """
    hasher = hashlib.sha256()
    beginnings: dict[int, str] = {}
    size = 0
    with path.open("rb", buffering=0) as stream:
        for boundary in [*sorted(set(sizes)), None]:
            while boundary is None or size < boundary:
                chunk = stream.read(_CHUNK if boundary is None else min(_CHUNK, boundary - size))
                if not chunk:
                    break
                hasher.update(chunk)
                size += len(chunk)
            if boundary == size:
                beginnings[size] = keys.content_id(hasher.digest())
    return Fingerprint(size, keys.content_id(hasher.digest()), beginnings)


def ingest(
    paths: Iterable[Path],
    mapping: SourceMapping,
    formats: TrunkFormats,
    directory: Path,
    keys: Keys,
    now: datetime,
    *,
    complete_from: datetime | None = None,
    complete_until: datetime | None = None,
    again: bool = False,
    progress: Progress | None = None,
    read: Read | None = None,
    files: Files | None = None,
    rows_per_run: int = ROWS_PER_RUN,
) -> IngestReport:
    """Index the files of one source.

    Args:
        paths: the files; a directory is refused. mapping, formats: how to read them. directory, keys: the index.
        now: aware; remembered as the time of indexing.
        complete_from, complete_until: aware; the operator's word that the source has all records from and until then,
            where that says more than the records themselves do.
        again: read files anew that are indexed already, for instance with a newer adapter.
        progress, read, files, rows_per_run: see `Progress`, `Read`, `Files`, `IndexWriter`.

    Raises:
        IndexBusyError, IndexCorruptError, UnknownVersionError, WrongKeyError: the index can't be written to.
        IndexWriteError: the disk refused; the files before the one that failed are indexed.
        ValueError: a naive time.
    """
    with ExitStack() as stack:
        source = _Source(
            mapping,
            formats,
            mapping_digest(mapping, formats),
            floor_ms(now),
            None if complete_from is None else floor_ms(complete_from),
            None if complete_until is None else floor_ms(complete_until),
            again,
            progress or _silent,
            read or _isolated(stack),
        )
        writer = IndexWriter(directory, keys, files, rows_per_run)
        with writer.writing(), writer:
            return IngestReport(mapping.name, tuple(_ingest_file(path, source, writer) for path in paths))


def _silent(path: Path, calls: int) -> None:
    del path, calls


def _isolated(stack: ExitStack) -> Read:
    """Reads in a process of its own, which no file can take down with it; it starts with the first file."""
    from cdr_adapters.isolated import Worker

    return stack.enter_context(Worker()).read_source


@dataclass(frozen=True, slots=True)
class _Source:
    mapping: SourceMapping
    formats: TrunkFormats
    digest: str
    now_ms: int
    complete_from_ms: int | None
    complete_until_ms: int | None
    again: bool
    progress: Progress
    read: Read

    def stated(self, entry: SourceEntry) -> SourceEntry:
        return restated(entry, self.complete_from_ms, self.complete_until_ms)


def _ingest_file(path: Path, source: _Source, writer: IndexWriter) -> FileReport:
    known = [entry for entry in writer.manifest.entries if entry.source == source.mapping.name]
    try:
        status = path.stat()
        found = fingerprint(path, (entry.size for entry in known), writer.keys)
    except OSError as error:
        return FileReport(path, FileStatus.FAILED, problem=f"{path}: can't be read ({error.strerror or error})")
    decision = decide(known, path.name, found, source.digest)
    if decision.status is FileStatus.ALREADY_INDEXED:
        if not all(map(writer.sound, decision.replaces)):
            decision = Decision(FileStatus.REPAIRED, decision.replaces)
        elif not source.again or not decision.replaces:
            return _already_indexed(path, source, decision, writer)
        else:
            decision = Decision(FileStatus.REPLACED, decision.replaces)
    return _index(path, status, source, found, decision, writer)


def _already_indexed(path: Path, source: _Source, decision: Decision, writer: IndexWriter) -> FileReport:
    for entry in decision.replaces:
        stated = source.stated(entry)
        if stated != entry:
            writer.restate(entry, stated)
    return FileReport(path, FileStatus.ALREADY_INDEXED)


def _index(
    path: Path, before: os.stat_result, source: _Source, found: Fingerprint, decision: Decision, writer: IndexWriter
) -> FileReport:
    from cdr_adapters.raw import AdapterError

    pending = writer.begin(source.mapping.name)
    try:
        rejected, skipped = _read_into(pending, path, source)
        if not _unchanged(path, before, found, writer.keys):
            pending.abort()
            problem = f"{path}: changed while it was being read; index it again when it is at rest"
            return FileReport(path, FileStatus.FAILED, problem=problem)
        segments, rejects = pending.finish()
    except (AdapterError, AdapterContractError) as error:
        pending.abort()
        return FileReport(path, FileStatus.FAILED, problem=_problem(path, error))
    except Exception:
        pending.abort()
        raise
    entry = SourceEntry(
        source=source.mapping.name,
        file=path.name,
        size=found.size,
        content=found.content,
        mapping=source.digest,
        indexed_ms=source.now_ms,
        records=pending.records,
        earliest_ms=pending.earliest_ms,
        latest_ms=pending.latest_ms,
        superseded=_superseded(decision.replaces, found.content),
        skipped=skipped,
        rejected={reason.value: count for reason, count in rejected.items()},
        rejects=rejects,
        segments=segments,
    )
    for old in decision.replaces:
        entry = restated(entry, old.complete_from_ms, old.complete_until_ms)
    writer.commit(decision.replaces, source.stated(entry))
    return FileReport(
        path,
        decision.status,
        calls=pending.records,
        rejected=rejected,
        rejects=None if rejects is None else writer.directory / REJECTS / rejects,
        skipped=skipped,
        earliest=None if pending.earliest_ms is None else time_of(pending.earliest_ms),
        latest=None if pending.latest_ms is None else time_of(pending.latest_ms),
    )


def _problem(path: Path, error: Exception) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def _read_into(pending: PendingSource, path: Path, source: _Source) -> tuple[Counter[RejectReason], int]:
    rejected: Counter[RejectReason] = Counter()
    skipped = 0
    for batch in source.read(path, source.mapping, source.formats):
        pending.add(batch.calls)
        pending.reject(batch.rejected)
        rejected.update(row.reason for row in batch.rejected)
        skipped += batch.skipped
        source.progress(path, pending.records)
    return rejected, skipped


def _unchanged(path: Path, before: os.stat_result, found: Fingerprint, keys: Keys) -> bool:
    """Whether the file still is, or still begins with, what was fingerprinted. One that grew is indexed again later."""
    try:
        after = path.stat()
        if (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns):
            return True
        return fingerprint(path, [found.size], keys).beginnings.get(found.size) == found.content
    except OSError:
        return False


def _superseded(replaced: Iterable[SourceEntry], content: str) -> tuple[str, ...]:
    names = dict.fromkeys(name for entry in replaced for name in (*entry.superseded, entry.content) if name != content)
    return tuple(names)[-_SUPERSEDED_KEPT:]
