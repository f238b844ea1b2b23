"""From a file and its mapping to call legs: the one function that the agent and the command line read records by."""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cdr_adapters import registry
from cdr_adapters.columns import ColumnMapper
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.schema import Batch

_MAPPERS = 2
"""Batches that are mapped at a time; with those read ahead, memory holds a few batches whatever the file's size."""


def check_source(mapping: SourceMapping, formats: TrunkFormats) -> None:
    """Everything about a mapping that can be checked without a file: its format, the format's options, its patterns.

    Raises:
        AdapterError: saying what is wrong.
    """
    adapter = registry.adapter(mapping.format)
    adapter.check_options(mapping.options)
    ColumnMapper(registry.completed(mapping), formats)


def read_source(path: Path, mapping: SourceMapping, formats: TrunkFormats) -> Iterator[Batch]:
    """The call legs in `path`, a batch at a time; memory does not grow with the file.

    Raises:
        AdapterError: the file can't be read as the mapping says. Batches that came before it are right, but not all.
    """
    mapper = ColumnMapper(registry.completed(mapping), formats)
    pending: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(_MAPPERS, "map-columns") as pool:
        # the columns' work is done outside the interpreter's lock, beside the reader's and the consumer's
        for raw in registry.adapter(mapping.format).read(path, mapping.options, mapper.used):
            pending.append(pool.submit(mapper.apply, raw))
            if len(pending) > _MAPPERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


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
