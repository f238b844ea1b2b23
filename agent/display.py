"""What the agent's commands show on a terminal: tables and sentences, made from data that others decided on.

Texts from files and configuration are shown as they are, never read as markup. Telephone numbers are not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.config import AgentConfig
from agent.explain import disclosed, explanation, in_words
from agent.inspection import Inspection
from agent.mistakes import Mistake
from agent.service import Consultation
from agent.tables import iso, new_table, row, spaced, time_text
from protos.types import Outcome

if TYPE_CHECKING:
    from agent.index.coverage import Coverage
    from agent.ingest import IngestReport

_GOOD = frozenset({Outcome.UPSTREAM, Outcome.ORIGINATED_HERE, Outcome.FOREIGN_UPSTREAM})
_COVERS = {"covered": "complete", "gap": "not complete: some source has a gap there"}


def mistakes(found: Iterable[Mistake], style: str = "red") -> RenderableType:
    """One line a mistake."""
    return Group(*(Text.assemble((mistake.where, style), ": ", mistake.what) for mistake in found))


def coverage_table(coverage: Coverage) -> Table:
    """What each source covers."""
    table = new_table("Coverage", "source", "records", "files", "from", "complete until")
    for source in coverage.sources:
        covered = time_text(source.covered_from), time_text(source.watermark)
        row(table, source.source, f"{source.records:,}", source.files, *covered)
    return table


def inspection(config: AgentConfig, found: Inspection) -> RenderableType:
    """The summary of a configuration."""
    parts: list[RenderableType] = []
    if found.tls is not None:
        who = new_table("Identity", "provider", "certificate", "valid until", "listens on")
        row(who, config.me, ", ".join(found.tls.uris), time_text(found.tls.valid_to), _reached(config))
        parts.append(who)
    sources = new_table("Sources", "name", "format", "files", "path")
    for facts in found.sources:
        row(sources, facts.name, facts.format, len(facts.files), facts.path)
    stores = new_table("Stores", "name", "engine", "table or path", "facts")
    for store, told in zip(config.stores, found.stores, strict=True):
        row(stores, store.name, store.engine, store.table or store.path, "; ".join(told.facts))
    trunks = new_table("Trunks", "name or addresses", "direction", "party", "called format", "from", "to")
    for trunk in config.trunks:
        label = trunk.name or ", ".join(trunk.addresses)
        validity = time_text(trunk.valid_from), time_text(trunk.valid_to)
        row(trunks, label, trunk.direction.value, trunk.party, trunk.called_format, *validity)
    parts += [sources, *([stores] if config.stores else []), trunks]
    if found.coverage is not None and found.coverage.sources:
        parts.append(coverage_table(found.coverage))
    elif found.coverage is not None:
        parts.append(Text("Nothing is indexed yet: run `hopback-agent index` or `hopback-agent watch`.", "yellow"))
    if found.warnings:
        parts.append(mistakes(found.warnings, "yellow"))
    return Group(*spaced(parts))


def _reached(config: AgentConfig) -> str:
    """Where questions come from."""
    calls = None if config.dial_out is None else f"calls {config.dial_out.coordinator}"
    return ", ".join(way for way in (config.listen.address, calls) if way)


def ingest_table(reports: Sequence[IngestReport]) -> RenderableType:
    """What became of each file, and where its rejected rows are kept."""
    table = new_table("Indexed", "source", "file", "status", "calls", "rejected", "skipped", "from", "to")
    notes: list[RenderableType] = []
    for report in reports:
        for file in report.files:
            rejected = sum(file.rejected.values())
            span = time_text(file.earliest), time_text(file.latest)
            counts = f"{file.calls:,}", f"{rejected:,}", f"{file.skipped:,}"
            row(table, report.source, file.path.name, file.status.value, *counts, *span)
            if file.problem:
                notes.append(Text(file.problem, style="red"))
            if rejected:
                reasons = ", ".join(f"{count:,} {reason.value}" for reason, count in file.rejected.items())
                notes.append(Text(f"{file.path.name}: rejected {reasons}; kept in {file.rejects}", style="yellow"))
    return Group(*spaced([table, *([Group(*notes)] if notes else [])]))


def ingest_json(reports: Sequence[IngestReport]) -> list[dict[str, Any]]:
    """The same for machines."""
    return [
        {
            "source": report.source,
            "calls": report.calls,
            "skipped": report.skipped,
            "rejected": {reason.value: count for reason, count in report.rejected.items()},
            "files": [
                {
                    "path": str(file.path),
                    "status": file.status.value,
                    "calls": file.calls,
                    "skipped": file.skipped,
                    "rejected": {reason.value: count for reason, count in file.rejected.items()},
                    "rejects": _path(file.rejects),
                    "earliest": iso(file.earliest),
                    "latest": iso(file.latest),
                    "problem": file.problem,
                }
                for file in report.files
            ],
        }
        for report in reports
    ]


def inspection_json(config: AgentConfig, found: Inspection) -> dict[str, Any]:
    """A configuration's summary for machines."""
    return {
        "provider": config.me,
        "mistakes": [str(mistake) for mistake in found.mistakes],
        "warnings": [str(warning) for warning in found.warnings],
        "certificate": found.tls and {"uris": found.tls.uris, "valid_to": iso(found.tls.valid_to)},
        "sources": [
            {"name": facts.name, "format": facts.format, "files": [str(file) for file in facts.files]}
            for facts in found.sources
        ],
        "stores": [
            {"name": told.name, "problem": told.problem, "warnings": told.warnings, "facts": told.facts}
            for told in found.stores
        ],
        "trunks": len(config.trunks),
        "coverage": found.coverage
        and [
            {
                "source": source.source,
                "records": source.records,
                "covered_from": iso(source.covered_from),
                "watermark": iso(source.watermark),
            }
            for source in found.coverage.sources
        ],
    }


def consultation(found: Consultation) -> RenderableType:
    """The answer, what of it would leave this provider, and which records led to it."""
    told = explanation(found, found.question.at)
    style = "bold green" if found.answer.outcome in _GOOD else "bold yellow"
    parts: list[RenderableType] = [Text(in_words(found.answer), style=style)]
    if "verdict" in told:
        covered = " to ".join(str(time_text(time)) for time in found.covered or ())
        covers = _COVERS.get(told["coverage"], told["coverage"])
        parts.append(Text(f"The records say: {told['verdict']}. Of {covered} they are {covers}."))
        calls = new_table("Calls considered", "", "source", "seizure", "off by", "came from", "went", "calling", "why")
        for call in told["calls"]:
            row(calls, *_call(call))
        parts.append(calls if told["calls"] else Text("No record of that number lies in the window."))
        parts += [Text(f"Followed inside this network over {_records(rows)}.") for rows in told["followed_inside"]]
    would = ", ".join(f"{key} = {value}" for key, value in disclosed(found.answer).items())
    parts.append(Text.assemble(("Would be disclosed, and nothing else: ", "bold"), would))
    return Group(*spaced(parts))


def _call(call: dict[str, Any]) -> tuple[object, ...]:
    matches = {True: "matches", False: "differs", None: None}[call["calling_matches"]]
    why = call["why"] + (" (number changed here)" if call["number_changed_here"] else "")
    return (
        "taken" if call["taken"] else "not",
        ", ".join(dict.fromkeys(row["source"] for row in call["records"])),
        _interval(*(datetime.fromisoformat(time) for time in call["seizure"])),
        f"{call['distance_s']:g} s",
        call["came_from"],
        call["went"].removeprefix("went "),
        matches,
        why,
    )


def _interval(earliest: datetime, latest: datetime) -> str:
    """When the call may have been set up: a line for each end, the date once where it is the same."""

    def ticks(time: datetime) -> str:
        return f"{time:%H:%M:%S}" + (f".{time.microsecond // 1000:03}" if time.microsecond else "") + "Z"

    first = f"{earliest:%Y-%m-%d} {ticks(earliest)}"
    if earliest == latest:
        return first
    return f"{first}\nto {ticks(latest) if latest.date() == earliest.date() else f'{latest:%Y-%m-%d} {ticks(latest)}'}"


def _records(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{row['source']}:{row['row']}" for row in rows)


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)
