"""Records in JSON as web APIs give them, recognised by their fields: objects, an array of them, or pages that hold one.

Where a page holds its records (`value`, `calls`, `data.calls`) is found by a few names known beforehand. A field may be
asked for in any spelling (`Call Id`, `call_id`, `callId`), a nested one by its path (see `formats.jsonl`). A record's
row is its place in the file, from 1. What can't be read is rejected as `json_documents` says.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from cdr_adapters import presets, raw
from cdr_adapters.formats import jsonl
from cdr_adapters.json_documents import Broken, records, scan
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.stream import read_head, read_text

_SPACE = " \t\r\n"
_MAX_PLANS = 1000
_MAX_DEPTH = 4


def page_path(text: str, lists: Sequence[str]) -> tuple[str, ...]:
    """Under which names the page that `text` begins holds its records; nothing when it is no page.

    Only the names in `lists` are followed; a field before them that has no end within `text` ends the search.
    """
    path: tuple[str, ...] = ()
    candidate = _skipped(text, 0)
    while text[candidate : candidate + 1] == "{" and len(path) < _MAX_DEPTH:
        try:
            found = _listed(text, candidate + 1, lists)
        except (ValueError, StopIteration, RecursionError):
            return ()
        if found is None:
            return ()
        name, candidate = found
        path = (*path, name)
    return path if text[candidate : candidate + 1] == "[" else ()


def _skipped(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at


def _listed(text: str, at: int, lists: Sequence[str]) -> tuple[str, int] | None:
    """The first field from `at` on that has one of these names and holds an array or an object, and where that begins.

    Raises:
        ValueError, StopIteration, RecursionError: the object breaks off before it.
    """
    while True:
        name, at = scan(text, _skipped(text, at))
        at = _skipped(text, at)
        if not isinstance(name, str) or text[at : at + 1] != ":":
            return None
        at = _skipped(text, at + 1)
        if name in lists and text[at : at + 1] in ("[", "{"):
            return name, at
        _, at = scan(text, at)
        at = _skipped(text, at)
        if text[at : at + 1] != ",":
            return None
        at += 1


@dataclass(frozen=True)
class JsonExport:
    """Records of an API that their fields give away.

    Attributes:
        signature: fields that every record has; of several spellings of one name, one.
        lists: names under which a page holds its records, or the page within.
        known: the format's columns under their stable names.
        refused: fields that show that the file holds something else, and what: as in `presets.Headed`.
    """

    signature: Sequence[str | tuple[str, ...]]
    lists: Sequence[str] = ()
    known: Sequence[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    def identify(self, head: raw.Head) -> bool:
        """The first record has the fields of this format."""
        text = _text_of(head)
        if text[:1] not in ("{", "["):
            return False
        first = next(records((text,), page_path(text, self.lists)), None)
        return isinstance(first, dict) and presets.Headed(self.signature).fits(list(first))

    def read(self, path: Path, options: presets.Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        """See `raw.ReaderModule.read`."""
        pages = page_path(_text_of(read_head(path)), self.lists)
        pieces = _decoded(path, options.encoding)
        fields = _Fields(
            columns,
            {presets.fold(name): name for name in reversed(self.known)},
            {presets.fold(name): f"{path}: a record has {name}: {why}" for name, why in self.refused.items()},
        )
        buffer = RecordBuffer(columns)

        def steps() -> Iterator[None]:
            for number, record in zip(count(1), records(pieces, pages)):
                if isinstance(record, Broken):
                    buffer.reject(number, record.detail, record.text)
                else:
                    buffer.add(number, fields.of(record))
                yield

        return batches(buffer, steps)


def _text_of(head: raw.Head) -> str:
    return head.data.decode("utf-8-sig", "replace").lstrip(_SPACE)


def _decoded(path: Path, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for block in read_text(path, encoding):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


class _Fields:
    """Where the wanted columns are in records; the same for all records with the same fields."""

    def __init__(self, columns: frozenset[str] | None, known: Mapping[str, str], refused: Mapping[str, str]) -> None:
        self._columns = columns
        self._known = known
        self._refused = refused
        self._plans: dict[tuple[str, ...], dict[str, str]] = {}

    def of(self, record: dict[str, Any]) -> dict[str, str | None]:
        """The columns of a record.

        Raises:
            AdapterError: it is something that the format refuses.
        """
        keys = tuple(record)
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._plan(record)
            if len(self._plans) < _MAX_PLANS:
                self._plans[keys] = plan
        if self._columns is None:
            return {plan.get(name, name): value for name, value in jsonl.fields_of(record, None).items()}
        return {
            name: value
            # most fields are plain text of the record itself
            if (value := record.get(path)).__class__ is str and value.isascii()
            else jsonl.fields_of(record, frozenset((path,)))[path]
            for name, path in plan.items()
        }

    def _plan(self, record: Mapping[str, Any]) -> dict[str, str]:
        """For wanted columns: the field that each is; for all columns: the stable name of each field."""
        for name in record:
            if (reason := self._refused.get(presets.fold(name))) is not None:
                raise raw.AdapterError(reason)
        if self._columns is None:
            return {name: self._known.get(presets.fold(name), name) for name in record}
        at = {presets.fold(name): name for name in reversed(list(record))}
        return {name: name if name in record else at.get(presets.fold(name), name) for name in self._columns}


@dataclass(frozen=True)
class Either:
    """A format that comes as a table with a header and as JSON; a file's first character shows which one it is."""

    table: presets.Headed
    json: JsonExport

    def identify(self, head: raw.Head) -> bool:
        """One of the two claims the file."""
        return self.json.identify(head) or self.table.identify(head)

    def read(self, path: Path, options: presets.Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        """See `raw.ReaderModule.read`."""
        is_json = next((text[0] for text in map(str.lstrip, _decoded(path, options.encoding)) if text), "") in "{["
        return (self.json if is_json else self.table).read(path, options, columns)
