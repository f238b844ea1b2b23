"""A file's records twice over: as the reader gives them, and as the mapping understands them.

What the agent reads is only the second; who checks a mapping needs both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from cdr_adapters import registry
from cdr_adapters.archives import members
from cdr_adapters.columns import ColumnMapper
from cdr_adapters.kit.subject import Subject
from cdr_adapters.mapping import SourceMapping
from cdr_adapters.raw import RawBatch
from cdr_adapters.schema import Batch


def mapper_of(subject: Subject) -> ColumnMapper:
    """The mapping, ready to be applied.

    Raises:
        AdapterError: it can't be applied to any file: no columns, a pattern that RE2 doesn't know.
    """
    return ColumnMapper(completed_mapping(subject), subject.mapping.formats)


def raw_batches(subject: Subject, columns: frozenset[str] | None) -> Iterator[RawBatch]:
    """The records as the reader gives them; `columns` as in `raw.ReaderModule.read`.

    Raises:
        AdapterError: the file can't be read as the mapping says.
    """
    source = subject.mapping.source
    adapter = registry.adapter(source.format)
    options: dict[str, Any] = source.options
    with closing(members(subject.path)) as files:
        for file in files:
            yield from adapter.read(file, options, columns)


def completed_mapping(subject: Subject) -> SourceMapping:
    """The mapping with what its format brings where it is silent."""
    return registry.completed(subject.mapping.source)


def both(subject: Subject, mapper: ColumnMapper) -> Iterator[tuple[RawBatch, Batch]]:
    """Each batch as the reader gives it, and what the mapping makes of it.

    Raises:
        AdapterError: the file can't be read as the mapping says.
    """
    for raw in raw_batches(subject, mapper.used):
        yield raw, mapper.apply(raw)
