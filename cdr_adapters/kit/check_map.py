"""Everything about a mapping that can be checked, without a file and with one, each finding with its line.

A mistake keeps the mapping from being used. A doubt doesn't, but whoever wrote the mapping should know of it: that no
column says where a call came in, that a trunk's number format is never applied. With a file, the mapping is tried on
its first records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cdr_adapters import registry
from cdr_adapters.columns import ColumnMapper
from cdr_adapters.kit.inspection import Inspection, Inspector
from cdr_adapters.kit.subject import Subject, mapping_of, source_name
from cdr_adapters.kit.toml_lines import TomlFile, read_toml
from cdr_adapters.kit.warnings import warnings
from cdr_adapters.mapping import MappingError, MappingFile
from cdr_adapters.raw import AdapterError

TRIED_RECORDS: Final = 20_000
_PATTERN_OF: Final = re.compile(r"pattern of (?P<name>\w+):")
_SAID_BY_TRYING: Final = ("neither ingress_trunk", "call_id is not mapped")
_NO_COLUMN: Final = re.compile(r"has no column (?P<missing>.+); it has: (?P<there>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong or doubtful; `line` is None where no line of the mapping is to blame."""

    is_mistake: bool
    line: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One source of a mapping file.

    Attributes:
        name: the source's.
        mapping: None when mistakes keep it from being built.
        tried: what the first records of the file came to; None without a file.
        unused: columns of the file that the mapping doesn't use.
    """

    name: str
    mapping: MappingFile | None
    findings: tuple[Finding, ...]
    tried: Inspection | None = None
    unused: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether there is no mistake."""
        return not any(finding.is_mistake for finding in self.findings)


def check(file: Path, records: Path | None, now: datetime | None = None) -> list[Checked]:
    """Check a mapping, or every source of an agent's configuration; `records` is tried with each source.

    Raises:
        MappingError: the file can't be read, or is no TOML.
        AdapterError: `records` can't be read at all.
    """
    document = read_toml(file)
    sources = document.table.get("sources")
    if not isinstance(sources, list):
        return [_check(document, document.table, (), source_name(file), records, now)]
    return [
        _check(document, table, ("sources", number), f"source {number + 1}", records, now)
        for number, table in enumerate(sources)
        if isinstance(table, dict)
    ]


def _check(
    document: TomlFile,
    table: Mapping[str, Any],
    prefix: tuple[str | int, ...],
    name: str,
    records: Path | None,
    now: datetime | None,
) -> Checked:
    name = str(table.get("name", name))

    def mistake(text: str, *keys: str) -> Finding:
        return Finding(is_mistake=True, line=document.line_of((*prefix, *keys)), text=text)

    try:
        mapping = mapping_of(table, document, source_name(document.path), prefix)
    except MappingError as error:
        return Checked(name, None, tuple(_told(str(error).removeprefix(f"{document.path}: "))))
    found = list(_against_format(mapping, mistake))
    doubts = [] if found else list(_doubts(mapping, document, prefix))
    if records is None or found:
        return Checked(name, mapping, (*found, *doubts))
    return _with_file(name, mapping, records, mistake, doubts, now or datetime.now(UTC))


def _told(text: str) -> Iterator[Finding]:
    """The findings in a `MappingError`'s text."""
    for part in re.split(r"; (?=line \d+: )", text):
        match = re.fullmatch(r"line (\d+): (.*)", part, re.DOTALL)
        yield Finding(True, int(match[1]), match[2]) if match else Finding(True, None, part)


def _against_format(mapping: MappingFile, mistake: Any) -> Iterator[Finding]:
    source = mapping.source
    try:
        adapter = registry.adapter(source.format)
    except AdapterError as error:
        yield mistake(f"format: {error}{_close(source.format, registry.names())}", "format")
        return
    try:
        adapter.check_options(source.options)
    except AdapterError as error:
        yield mistake(f"options: {error}", "options")
    try:
        completed = registry.completed(source)
        ColumnMapper(completed, mapping.formats)
    except AdapterError as error:
        named = _PATTERN_OF.search(str(error))
        yield mistake(str(error), "columns", *([named["name"]] if named else []))


def _close(word: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _doubts(mapping: MappingFile, document: TomlFile, prefix: tuple[str | int, ...]) -> Iterator[Finding]:
    source = registry.completed(mapping.source)
    columns = source.columns
    if columns is None:
        return

    def doubt(text: str, *keys: str) -> Finding:
        return Finding(is_mistake=False, line=document.line_of((*prefix, *keys)) if keys else None, text=text)

    specs = columns.specs
    if columns.ingress_trunk is None and columns.ingress_address is None:
        yield doubt("neither ingress_trunk nor ingress_address: every answer will be that the upstream is not recorded")
    if columns.seizure is None and columns.duration is None:
        later = "answer" if columns.answer is not None else "release"
        yield doubt(
            f"only {later} is mapped: the setup time is known to within max_setup or max_call; map seizure or duration "
            "if a column has it",
            "columns",
            later,
        )
    if "calling" not in specs:
        yield doubt("calling is not mapped: two calls to one number at the same time can't be told apart by it")
    if "call_id" not in specs:
        yield doubt("call_id is not mapped: rows of one call (legs, failed routes) can't be joined")
    for side, formats, called in (
        ("ingress", mapping.formats.ingress, columns.called_in),
        ("egress", mapping.formats.egress, columns.called_out),
    ):
        if formats and (called is None or called.format != "trunk"):
            name = "called_in" if side == "ingress" else "called_out"
            yield doubt(
                f"the formats of {side} trunks are never applied: give {name} the format 'trunk'", "trunk_formats", side
            )


def _with_file(
    name: str, mapping: MappingFile, records: Path, mistake: Any, doubts: list[Finding], now: datetime
) -> Checked:
    from cdr_adapters.kit.reading import both, completed_mapping, mapper_of, raw_batches

    subject = Subject(records, str(records), mapping, "mapping", None)
    inspector = Inspector(now=now, sample=0, show_numbers=False)
    mapper = mapper_of(subject)
    header: tuple[str, ...] | None = None
    try:
        for raw, batch in both(subject, mapper):
            header = raw.header or header
            inspector.add_raw(raw, mapper)
            inspector.add(batch)
            if inspector.found.records >= TRIED_RECORDS:
                break
    except AdapterError as error:
        missing = _NO_COLUMN.search(str(error))
        if missing is None:
            raise
        there = missing["there"].split(", ")
        close = "".join(_close(one, there) for one in re.split(", | or ", missing["missing"]))
        return Checked(name, mapping, (mistake(f"{error}{close}", "columns"), *doubts))
    if header is None:
        first = next(raw_batches(subject, None), None)
        header = tuple(first.columns.schema.names) if first is not None else ()
    source = completed_mapping(subject)
    seen = [Finding(False, None, text) for text in warnings(inspector.found, source, show_numbers=False)]
    return Checked(
        name,
        mapping,
        (*(doubt for doubt in doubts if not doubt.text.startswith(_SAID_BY_TRYING)), *seen),
        inspector.found,
        tuple(column for column in header if column not in mapper.used),
    )


def as_json(file: Path, records: str | None, checked: Sequence[Checked]) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "mapping": str(file),
        "file": records,
        "usable": all(source.usable for source in checked),
        "sources": [
            {
                "name": source.name,
                "mistakes": [{"line": f.line, "text": f.text} for f in source.findings if f.is_mistake],
                "doubts": [{"line": f.line, "text": f.text} for f in source.findings if not f.is_mistake],
                "tried": None if source.tried is None else source.tried.as_json(),
                "unused_columns": list(source.unused),
            }
            for source in checked
        ],
    }
