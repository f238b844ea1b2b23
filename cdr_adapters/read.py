"""From a file and its mapping to call legs: the one function that the agent and the command line read records by."""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from cdr_adapters import registry
from cdr_adapters.archives import Member, members
from cdr_adapters.columns import ColumnMapper
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError, RawBatch
from cdr_adapters.schema import Batch
from protos.printable import printable

_MAPPERS = 2
"""Batches that are mapped at a time; with those read ahead, memory holds a few batches whatever the file's size."""


def check_source(mapping: SourceMapping, formats: TrunkFormats) -> None:
    """Everything about a mapping that can be checked without a file: its format, the format's options, its patterns.

    Raises:
        AdapterError: saying what is wrong.
    """
    mapping = registry.completed(mapping)
    registry.adapter(mapping.format).check_options(mapping.options)
    ColumnMapper(mapping, formats)


def read_source(path: Path, mapping: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
    """The call legs in `path`, a batch at a time; memory does not grow with the file.

    An archive reads as its files one after another: rows are numbered in each of them, rejects say which it was.

    Raises:
        AdapterError: the file can't be read as the mapping says. Batches that came before it are right, but not all.
    """
    mapping = registry.completed(mapping)
    mapper = ColumnMapper(mapping, formats)
    pending: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(_MAPPERS, "map-columns") as pool, closing(_raw_batches(path, mapping, mapper.used)) as raws:
        # the columns' work is done outside the interpreter's lock, beside the reader's and the consumer's
        for member, raw in raws:
            pending.append(pool.submit(_mapped, mapper, raw, member))
            if len(pending) > _MAPPERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _raw_batches(
    path: Path, mapping: SourceMapping, columns: frozenset[str]
) -> Generator[tuple[Member | None, RawBatch]]:
    """What the format's reader yields for a file, or for one file of an archive after the other, and for which."""
    adapter = registry.adapter(mapping.format)
    with closing(members(path)) as files:
        for file in files:
            member = file if isinstance(file, Member) else None
            with _named(member):
                for raw in adapter.read(file, mapping.options, columns):
                    yield member, raw


def _mapped(mapper: ColumnMapper, raw: RawBatch, member: Member | None) -> Batch:
    with _named(member):
        batch = mapper.apply(raw)
    if member is None or not batch.rejected:
        return batch
    within = printable(member.name_in_archive)
    return replace(batch, rejected=tuple(replace(row, detail=f"{within}: {row.detail}") for row in batch.rejected))


@contextmanager
def _named(member: Member | None) -> Iterator[None]:
    """Errors about a file in an archive say which one it is."""
    try:
        yield
    except AdapterError as error:
        if member is None or str(member) in str(error):
            raise
        raise AdapterError(f"{member}: {error}") from None


def source_files(pattern: str, directory: Path) -> list[Path]:
    """The files that a source's `path` means, sorted by name: one file, all files of a directory, or a glob's matches.

    `pattern` is relative to `directory`, or absolute. Hidden files, such as those being written by many a transfer
    program, are left out.

    Raises:
        AdapterError: there is nothing of that name.
    """
    whole = directory / pattern
    if whole.is_file():
        return [whole]
    # Path.glob knows no absolute patterns
    matches = [] if whole.is_dir() else glob.glob(str(whole), recursive=True)  # noqa: PTH207
    found = list(whole.iterdir()) if whole.is_dir() else [Path(name) for name in matches]
    files = sorted(path for path in found if path.is_file() and not path.name.startswith("."))
    if not files and not whole.is_dir() and not glob.has_magic(pattern):
        raise AdapterError(f"{whole}: no such file or directory")
    return files
