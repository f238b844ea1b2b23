"""From a file and its mapping to call legs: the one function that the agent and the command line read records by."""

from __future__ import annotations

import glob
from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pyarrow as pa

from cdr_adapters import registry
from cdr_adapters.archives import Member, members
from cdr_adapters.columns import ColumnMapper
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import TEXT, AdapterError, RawBatch, string_batch
from cdr_adapters.records import BATCH_ROWS
from cdr_adapters.schema import Batch, Rejected
from protos.printable import printable

_MOST_TOGETHER = 1024
_NO_NAME = ""
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


def read_source(path: Path, mapping: SourceMapping, formats: TrunkFormats, *, packed: bool = False) -> Iterator[Batch]:
    """The call legs in `path`, a batch at a time; memory does not grow with the file. `packed` gives them for an index.

    An archive reads as its files one after another: rows are numbered in each of them, rejects say which it was.

    Raises:
        AdapterError: the file can't be read as the mapping says. Batches that came before it are right, but not all.
    """
    mapping = registry.completed(mapping)
    mapper = ColumnMapper(mapping, formats, packed=packed)
    pending: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(_MAPPERS, "map-columns") as pool, closing(_raw_batches(path, mapping, mapper.used)) as raws:
        # the columns' work is done outside the interpreter's lock, beside the reader's and the consumer's
        for group in _groups(raws):
            pending.append(pool.submit(_mapped, mapper, group))
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


_Group = list[tuple[Member | None, RawBatch]]
"""Raw batches that are mapped together, each with the file of an archive that it is from."""


def _groups(raws: Iterator[tuple[Member | None, RawBatch]]) -> Iterator[_Group]:
    """Batch by batch; those of many small files in an archive (a switch may write one a call) together."""
    group: _Group = []
    rows = 0
    for member, raw in raws:
        group.append((member, raw))
        rows += raw.columns.num_rows
        if member is None or rows >= BATCH_ROWS or len(group) >= _MOST_TOGETHER:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _mapped(mapper: ColumnMapper, group: _Group) -> Batch:
    (member, raw), *others = group
    if not others:
        with _named(member):
            batch = mapper.apply(raw)
        return batch if member is None else replace(batch, rejected=tuple(_within(member, batch.rejected)))
    for member, raw in group:
        with _named(member):
            if raw.header is not None:
                mapper.check_header(raw.header)
    # a row's number says nothing without its file: until all is mapped, its place in the batch stands for both
    lengths = [raw.columns.num_rows for _, raw in group]
    rows = pa.concat_arrays([raw.rows for _, raw in group])
    columns = pa.concat_tables([_table(raw) for _, raw in group], promote_options="default").combine_chunks()
    whole = columns.to_batches()[0] if len(rows) else string_batch({}, 0)
    batch = mapper.apply(RawBatch(whole, pa.array(range(len(rows)), pa.int64())))
    ends = list(accumulate(lengths))
    rejected = [reject for member, raw in group for reject in _within(member, raw.rejected)]
    for reject in batch.rejected:
        member, _ = group[bisect_right(ends, reject.row)]
        rejected += _within(member, (replace(reject, row=rows[reject.row].as_py()),))
    at = batch.calls.schema.get_field_index("row")
    calls = batch.calls.set_column(at, batch.calls.schema.field(at), rows.take(batch.calls.column(at)))
    return Batch(calls, tuple(rejected), batch.skipped + sum(raw.skipped for _, raw in group))


def _table(raw: RawBatch) -> pa.Table:
    """The columns, with one that is empty: a table of no columns would have no length."""
    names = raw.columns.schema.names if raw.columns.num_columns else []
    arrays = [*raw.columns.columns[: len(names)], pa.nulls(len(raw.rows), TEXT)]
    return pa.Table.from_arrays(arrays, names=[*names, _NO_NAME])


def _within(member: Member | None, rejected: Iterable[Rejected]) -> Iterator[Rejected]:
    """The rejects, which say the file of an archive that they are from."""
    for reject in rejected:
        name = "" if member is None else f"{printable(member.name_in_archive)}: "
        yield replace(reject, detail=f"{name}{reject.detail}")


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
