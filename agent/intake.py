"""Files of one source on their way into the index: read, packed, and made to count; what they replace goes with that.

Small files begin to count together, a large one by itself. A file of which something can't be read is reported and
leaves nothing behind; a disk that refuses ends all, and what was not committed is removed as far as the disk lets.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.fingerprint import is_at_rest, stamp_of
from agent.index.layout import REJECTS, hidden, rejects_name, time_of
from agent.index.manifest import Commit, FileEntry, Loss, SegmentEntry
from agent.index.packing import FileRows, Packer
from agent.index.rows import AdapterContractError
from agent.index.writer import IndexWriter
from agent.intake_report import FileReport, FileStatus
from agent.known_files import Decision, Found, Known
from agent.slices import Slice, heading_lines

if TYPE_CHECKING:
    from cdr_adapters.mapping import SourceMapping, TrunkFormats
    from cdr_adapters.schema import Batch, Rejected, RejectReason

Read = Callable[[Path, "SourceMapping", "TrunkFormats"], Iterator["Batch"]]
"""How a source file is read, as by `cdr_adapters.read.read_source`; by default in a process of its own."""
Prepare = Callable[[], None]
"""Told when a file will probably have to be read, so that what reads it can get ready meanwhile."""
Progress = Callable[[Path, int], None]
"""Told after every batch: the file, and how many call legs of it were read so far."""

_SUPERSEDED_KEPT: Final = 100
_STAMPS_KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class Source:
    """How a source is read and packed; see `agent.ingest.ingest`. `digest` tells the mapping."""

    mapping: SourceMapping
    formats: TrunkFormats
    digest: str
    now_ms: int
    first_day: int
    following: bool
    progress: Progress
    read: Read
    prepare: Prepare
    rows_per_run: int
    files_per_commit: int
    pool: ThreadPoolExecutor | None

    def known(self, writer: IndexWriter) -> Known:
        """What is indexed of it."""
        return Known(writer.manifest, writer.keys, self.mapping, following=self.following)

    def packer(self, writer: IndexWriter, *, together: bool = False) -> Packer:
        """Packs its rows; see `Packer`."""
        return Packer(writer, self.mapping.name, self.first_day, self.rows_per_run, self.pool, together=together)


class Rejects:
    """The rejected rows of a file, raw, for a person to look at; mode 0600. Nothing is written while there are none."""

    def __init__(self, writer: IndexWriter, number: int) -> None:
        self._path = writer.directory / REJECTS / rejects_name(writer.manifest.generation + 1, number)
        self._files = writer.files
        self._descriptor = -1
        self.counts: Counter[RejectReason] = Counter()

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Keep them.

        Raises:
            OSError: the disk refuses.
        """
        lines = []
        for row in rejected:
            self.counts[row.reason] += 1
            told = {"row": row.row, "reason": row.reason.value, "detail": row.detail, "raw": row.raw}
            lines.append(json.dumps(told, ensure_ascii=False) + "\n")
        if lines:
            if self._descriptor < 0:
                self._descriptor = self._files.create(hidden(self._path))
            self._files.write(self._descriptor, "".join(lines).encode("utf-8", "backslashreplace"))

    def finish(self) -> tuple[str, ...]:
        """The name of the file with them, durable; none when there are none.

        Raises:
            OSError: the disk refuses.
        """
        if self._descriptor < 0:
            return ()
        self._files.fsync(self._descriptor)
        self._close()
        self._files.rename(hidden(self._path), self._path)
        self._files.fsync_directory(self._path.parent)
        return (self._path.name,)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        self._files.close(descriptor)

    def abandon(self) -> None:
        """Forget them.

        Raises:
            OSError: the disk refuses to remove the file; the next writer will.
        """
        if self._descriptor >= 0:
            self._close()
            self._files.unlink(hidden(self._path))


@dataclass(frozen=True, slots=True)
class Ready:
    """A file that was read to its end: what is to count of it, and what no longer."""

    number: int
    entry: FileEntry
    absorbed: tuple[int, ...]
    exclusive: bool
    report: FileReport


class Intake:
    """Reads files one after the other; small ones begin to count together, a large one by itself."""

    def __init__(self, source: Source, writer: IndexWriter, packer: Packer | None = None) -> None:
        self._source = source
        self._writer = writer
        self._packer = packer or source.packer(writer)
        self.known = source.known(writer)
        self._ready: list[Ready] = []
        self._restamped: dict[int, FileEntry] = {}
        self.reports: dict[int, FileReport] = {}

    @property
    def name(self) -> str:
        return self._source.mapping.name

    def run(self, paths: Iterable[tuple[int, Path]]) -> dict[int, FileReport]:
        """Index files; the reports by the numbers that were given with them.

        Raises:
            OSError: the disk refuses. DaySecretError: a day's secret can't be read.
        """
        try:
            for number, path in paths:
                report = self._take(number, path)
                if report is not None:
                    self.reports[number] = report
                if self._packer.is_full or self._packer.has_runs or len(self._ready) >= self._source.files_per_commit:
                    self.commit()
            self.commit()
        except BaseException:
            if self._writer.can_go_on:
                with suppress(OSError):
                    self._packer.abandon()
            raise
        return self.reports

    def _take(self, number: int, path: Path) -> FileReport | None:
        """Read a file if need be; its report, None when it comes with the commit."""
        from cdr_adapters.raw import AdapterError

        try:
            status = path.stat()
            entry = self.known.at_rest(status)
            if entry is not None and entry.number not in self._lossy():
                return FileReport(path, FileStatus.ALREADY_INDEXED)
            self._source.prepare()
            found = self.known.look(path, status)
        except OSError as error:
            return FileReport(path, FileStatus.FAILED, problem=f"{path}: can't be read ({error.strerror or error})")
        except AdapterError as error:
            return FileReport(path, FileStatus.FAILED, problem=_problem(path, error))
        decision = self.known.decide(found)
        if decision.status is FileStatus.ALREADY_INDEXED:
            (entry,) = decision.entries
            if entry.number in self._lossy() and found.continues(entry) is not None:
                decision = Decision(FileStatus.REPAIRED, decision.entries)
            else:
                self._restamp(found, entry)
                return FileReport(path, FileStatus.ALREADY_INDEXED)
        return self.read(number, found, decision)

    def _lossy(self) -> set[int]:
        """Numbers of files of which rows were lost."""
        ready = {done.entry.number for done in self._ready}
        return {n for loss in self._writer.manifest.losses.values() for n in loss.files} - ready

    def _restamp(self, found: Found, entry: FileEntry) -> None:
        """Remember how a file was met that is known, so that it need not be read to know it again."""
        if not found.is_whole or entry.content != found.print.whole.content:
            return
        if not is_at_rest(found.status, time.time_ns()):
            return
        stamps = (*entry.stamps, stamp_of(found.status))[-_STAMPS_KEPT:]
        stamped = replace(entry, file=found.path.name, stamps=stamps)
        self.known.remove(entry.number)
        self.known.put(stamped)
        for place, done in enumerate(self._ready):
            if done.entry.number == entry.number:
                self._ready[place] = replace(done, entry=stamped)
                return
        self._restamped[entry.number] = stamped

    def read(self, number: int, found: Found, decision: Decision, *, anew: bool = False) -> FileReport | None:
        """Read a file into the present run, all of it when that is to be `anew`; None when that went well.

        Raises:
            OSError: the disk refuses. DaySecretError: a day's secret can't be read.
        """
        from cdr_adapters.raw import AdapterError

        path = found.path
        base = decision.entries[0] if decision.entries else None
        grown = base if decision.status is FileStatus.REPLACED and not anew else None
        part = self._slice(found, grown)
        if part is not None and part.end <= part.begin and base is not None:
            return FileReport(path, FileStatus.ALREADY_INDEXED)
        file_number = self._writer.new_number() if base is None else base.number
        rows = self._packer.begin_file(file_number)
        rejects = Rejects(self._writer, file_number)
        try:
            skipped = self._read_rows(found, part, rows, rejects)
            self.known.require_still(found)
            names = rejects.finish()
        except (AdapterError, AdapterContractError) as error:
            rejects.abandon()
            if not self._packer.together:
                self._packer.drop_file()
            return FileReport(path, FileStatus.FAILED, problem=_problem(path, error))
        except BaseException:
            with suppress(OSError):
                rejects.abandon()
            raise
        self._packer.end_file()
        continued = base if part is not None and part.begin else None
        entry = self._entry(found, rows, rejects, names, skipped, decision, continued, file_number)
        for other in decision.entries:
            self.known.remove(other.number)
        self.known.put(entry)
        report = FileReport(
            path,
            decision.status,
            calls=rows.records - rows.expired,
            rejected=rejects.counts,
            rejects=self._writer.directory / REJECTS / names[0] if names else None,
            skipped=skipped + rows.expired,
            earliest=None if rows.earliest_ms is None else time_of(rows.earliest_ms),
            latest=None if rows.latest_ms is None else time_of(rows.latest_ms),
        )
        absorbed = tuple(other.number for other in decision.entries[1:])
        self._ready.append(Ready(number, entry, absorbed, continued is None, report))
        return None

    def _slice(self, found: Found, base: FileEntry | None) -> Slice | None:
        """What of the file to read; None for all of it."""
        heading = heading_lines(self._source.mapping)
        if heading is None or found.print.packed:
            return None
        if base is not None and base.mapping == self._source.digest and base.number not in self._lossy():
            before = found.continues(base)
            if before is not None and before.ends_line and before.lines >= heading:
                return Slice(before.size, found.part.size, before.lines, heading)
        hot = self._source.following and not is_at_rest(found.status, time.time_ns())
        return Slice(0, found.part.size, 0, heading) if hot or not found.is_whole else None

    def _read_rows(self, found: Found, part: Slice | None, rows: FileRows, rejects: Rejects) -> int:
        """Take in the file's rows; how many were skipped."""
        from cdr_adapters.raw import AdapterError

        source, packer = self._source, self._packer
        if part is None:
            batches = source.read(found.path, source.mapping, source.formats)
        else:
            batches = part.read(found.path, source.mapping, source.formats, source.read)
        skipped = 0
        while True:
            try:
                batch = next(batches, None)
            except OSError as error:
                where = f" {error.filename}" if error.filename else ""
                raise AdapterError(f"{found.path}: reading it failed ({error.strerror or error}{where})") from None
            if batch is None:
                return skipped
            packer.add(batch.calls)
            rejects.add(batch.rejected)
            skipped += batch.skipped
            source.progress(found.path, rows.records)
            if packer.is_full:
                if self._ready and not packer.together:
                    self.commit()
                if packer.is_full:
                    packer.spill()

    def _entry(
        self,
        found: Found,
        rows: FileRows,
        rejects: Rejects,
        names: tuple[str, ...],
        skipped: int,
        decision: Decision,
        continued: FileEntry | None,
        number: int,
    ) -> FileEntry:
        """What the manifest is to say of the file; `continued` is the entry whose rows stay, when only more came."""
        contents = dict.fromkeys(
            name for old in decision.entries for name in (*old.superseded, old.content) if name != found.part.content
        )
        rejected = Counter({reason.value: count for reason, count in rejects.counts.items()})
        entry = FileEntry(
            number=number,
            source=self.name,
            file=found.path.name,
            size=found.part.size,
            content=found.part.content,
            head=found.print.head,
            mapping=self._source.digest,
            indexed_ms=self._source.now_ms,
            records=rows.records - rows.expired,
            earliest_ms=rows.earliest_ms,
            latest_ms=rows.latest_ms,
            stamps=(stamp_of(found.status),) if found.is_whole and is_at_rest(found.status, time.time_ns()) else (),
            superseded=tuple(contents)[-_SUPERSEDED_KEPT:],
            skipped=skipped,
            expired=rows.expired,
            rejected=dict(rejected),
            rejects=names,
        )
        if continued is None:
            return entry
        starts = [ms for ms in (continued.earliest_ms, rows.earliest_ms) if ms is not None]
        ends = [ms for ms in (continued.latest_ms, rows.latest_ms) if ms is not None]
        return replace(
            entry,
            records=continued.records + entry.records,
            earliest_ms=min(starts, default=None),
            latest_ms=max(ends, default=None),
            skipped=continued.skipped + skipped,
            expired=continued.expired + entry.expired,
            rejected=dict(rejected + Counter(continued.rejected)),
            rejects=(*continued.rejects, *names),
        )

    def commit(self, removed: Removed | None = None) -> None:
        """Make what was read count.

        Raises:
            OSError: the disk refuses. DaySecretError: a day's secret can't be read.
        """
        ready, self._ready = self._ready, []
        restamped, self._restamped = self._restamped, {}
        segments = self._packer.finish()
        if not ready and not restamped and removed is None:
            return
        commit = self._commit(ready, restamped, segments, removed or Removed())
        try:
            self._writer.commit(commit)
        except OSError:
            if self._writer.can_go_on:
                with suppress(OSError):
                    self._writer.remove_written(segments)
            raise
        self.reports |= {done.number: done.report for done in ready}

    def _commit(
        self,
        ready: Sequence[Ready],
        restamped: Mapping[int, FileEntry],
        segments: tuple[SegmentEntry, ...],
        removed: Removed,
    ) -> Commit:
        manifest = self._writer.manifest
        renewed = {done.entry.number for done in ready if done.exclusive}
        into = {number: done.entry.number for done in ready for number in done.absorbed}
        gone = set(removed.segments)
        repointed = []
        for entry in manifest.segments.values():
            if entry.source != self.name or entry.name in gone:
                continue
            if entry.files and set(entry.files) <= renewed:
                gone.add(entry.name)
            elif not into.keys().isdisjoint(entry.files):
                repointed.append(_of_files(entry, into))
        resolved, shrunk = _resolved(manifest.losses.values(), renewed | removed.files | set(into))
        entries = {number: entry for number, entry in restamped.items() if number in manifest.files}
        entries |= {done.entry.number: done.entry for done in ready}
        entries = {number: entry for number, entry in entries.items() if number not in into}
        gone_files = (set(into) | removed.files) & set(manifest.files)
        return Commit(
            remove_files=tuple(sorted(gone_files)),
            remove_segments=tuple(sorted(gone)),
            remove_losses=resolved,
            add_files=tuple(entries.values()),
            add_segments=(*repointed, *(_of_files(entry, into) for entry in segments)),
            add_losses=shrunk,
        )


@dataclass(frozen=True, slots=True)
class Removed:
    """What is to go with a commit: files by number, segments by name."""

    files: frozenset[int] = frozenset()
    segments: frozenset[str] = frozenset()


def _of_files(entry: SegmentEntry, into: Mapping[int, int]) -> SegmentEntry:
    """The segment as one of the files into which some of its files went."""
    return replace(entry, files=tuple(sorted({into.get(number, number) for number in entry.files})))


def _resolved(losses: Iterable[Loss], files: set[int]) -> tuple[tuple[str, ...], tuple[Loss, ...]]:
    """Losses that are made good when these files were read again: those that are gone, and what is left of others."""
    gone, left = [], []
    for loss in losses:
        rest = tuple(number for number in loss.files if number not in files)
        if rest != loss.files:
            if rest:
                left.append(replace(loss, files=rest))
            else:
                gone.append(loss.segment)
    return tuple(gone), tuple(left)


def _problem(path: Path, error: Exception) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"
