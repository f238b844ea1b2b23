"""From source files to segments: once per content, all of a file or nothing, bad rows counted and kept aside.

A file is known by its content, not by its name: delivered again, renamed or compressed, it is not indexed again. A file
that has grown begins with what is indexed already; where a line is a record, only what is new in it is read. The index
is a set of rows: what is read twice, in whatever files, is found once. Contents are known per source, because two
sources may read one file with different eyes.

A source whose mapping has changed has wrong rows: they are replaced when all files that they came from are read again
in one go. When some of these are gone, nothing is done before the operator says whether to keep or to forget the rows.

Refuses a file that changes under its reader in any other way than by growing. One file's failure is reported and does
not keep the others from being indexed; a disk that refuses ends all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.index.files import Files
from agent.index.keys import Keys
from agent.index.layout import DAY_MS, SEGMENTS, floor_ms
from agent.index.manifest import Commit, Stated
from agent.index.packing import ROWS_PER_RUN
from agent.index.quarantine import problem_of, set_aside
from agent.index.writer import IndexWriter
from agent.intake import Prepare, Progress, Read, Source
from agent.intake_report import FileReport, FileStatus, IngestReport, OldRows
from agent.renewal import Renewal

if TYPE_CHECKING:
    from cdr_adapters.mapping import SourceMapping, TrunkFormats

__all__ = [
    "FileReport",
    "FileStatus",
    "IngestReport",
    "OldRows",
    "Progress",
    "Read",
    "ingest",
    "mapping_digest",
    "state",
]

FILES_PER_COMMIT: Final = 256
_CHECKED_BYTES: Final = 256 << 20
"""So much of a source's segments is read for broken pages before its files are looked at; `verify` reads all."""


def mapping_digest(mapping: SourceMapping, formats: TrunkFormats) -> str:
    """Tells whether a file would be read as before. Not the path: where a file lies does not change what is in it."""
    said = {
        "mapping": mapping.model_dump(mode="json", exclude={"path", "name"}),
        "ingress": dict(formats.ingress),
        "egress": dict(formats.egress),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


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
    old_rows: OldRows = OldRows.REFUSE,
    retention: timedelta | None = None,
    following: bool = False,
    progress: Progress | None = None,
    read: Read | None = None,
    files: Files | None = None,
    rows_per_run: int = ROWS_PER_RUN,
    files_per_commit: int = FILES_PER_COMMIT,
    patience_s: float = 0.0,
) -> IngestReport:
    """Index the files of one source.

    Args:
        paths: the files; a directory is refused. mapping, formats: how to read them. directory, keys: the index.
        now: aware; remembered as the time of indexing.
        complete_from, complete_until: aware; the operator's word that the source has all records from and until then,
            where that says more than the records themselves do.
        again: read files anew that are indexed already, for instance with a newer adapter.
        old_rows: see `OldRows`.
        retention: records that are older are left out.
        following: files may be written to at this moment: the last line of one counts when it has an end.
        progress, read, files, rows_per_run, patience_s: see `Progress`, `Read`, `Files`, `Packer`, `IndexWriter`.
        files_per_commit: so many small files begin to count together.

    Raises:
        IndexBusyError, IndexCorruptError, UnknownVersionError, WrongKeyError: the index can't be written to.
        IndexWriteError: the disk refused; files that were reported before by an earlier call are untouched.
        ValueError: a naive time.
    """
    with ExitStack() as stack:
        writer = IndexWriter(directory, keys, files, patience_s)
        reader, prepare = _isolated(stack, mapping.format) if read is None else (read, _nothing)
        source = Source(
            mapping=mapping,
            formats=formats,
            digest=mapping_digest(mapping, formats),
            now_ms=floor_ms(now),
            first_day=-(1 << 31) if retention is None else floor_ms(now - retention) // DAY_MS,
            following=following,
            progress=progress or _silent,
            read=reader,
            prepare=prepare,
            rows_per_run=rows_per_run,
            files_per_commit=files_per_commit,
            pool=stack.enter_context(ThreadPoolExecutor(1, "sort-rows")) if files is None else None,
        )
        stated = Stated(
            mapping.name,
            None if complete_from is None else floor_ms(complete_from),
            None if complete_until is None else floor_ms(complete_until),
        )
        with writer.writing(), writer:
            if not following:
                _set_aside_broken(writer, mapping.name)
            reports = Renewal(source, writer, again=again, old_rows=old_rows).run(list(paths))
            if not any(report.status is FileStatus.FAILED for report in reports.values()):
                state(writer, stated)
            return IngestReport(mapping.name, tuple(reports[number] for number in sorted(reports)))


def state(writer: IndexWriter, said: Stated) -> None:
    """Remember what was stated of a source, where that reaches further than what was stated before.

    Raises:
        OSError: the disk refuses.
    """
    known = writer.manifest.stated.get(said.source, Stated(said.source, None, None))
    starts = [ms for ms in (known.from_ms, said.from_ms) if ms is not None]
    ends = [ms for ms in (known.until_ms, said.until_ms) if ms is not None]
    further = Stated(said.source, min(starts, default=None), max(ends, default=None))
    if further != known:
        writer.commit(Commit(add_stated=(further,)))


def _silent(path: Path, calls: int) -> None:
    del path, calls


def _nothing() -> None:
    pass


def _isolated(stack: ExitStack, format_name: str) -> tuple[Read, Prepare]:
    """Reads in a process of its own, which no file can take down with it; it starts with the first file."""
    from cdr_adapters.isolated import Worker
    from cdr_adapters.without_pandas import settle_without_pandas

    settle_without_pandas()
    worker = stack.enter_context(Worker())
    return worker.read_packed, lambda: worker.prepare(format_name)


def _set_aside_broken(writer: IndexWriter, source: str) -> None:
    """Put broken segments of a source aside, as far as they are found quickly, so that their files are read again."""
    entries = [entry for entry in writer.manifest.segments.values() if entry.source == source]
    broken, budget = [], _CHECKED_BYTES
    for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
        budget -= entry.size
        path = writer.directory / SEGMENTS / entry.name
        problem = problem_of(path, entry, writer.secrets, thorough=budget >= 0)
        if problem is not None:
            broken.append((entry, problem))
    set_aside(writer, broken)
