"""What the kit shows on a terminal: tables and sentences, from data that others gathered.

Texts out of files can't steer the terminal and are never read as markup. A pipe has no width; tables folded at 80 would
be unreadable there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdr_adapters.kit.check_map import Checked
from cdr_adapters.kit.facts import FormatFacts, how_zone_is_known
from cdr_adapters.kit.inspection import Inspection
from cdr_adapters.kit.proposal import Proposal
from cdr_adapters.kit.proposal.toml_text import value as toml_value
from cdr_adapters.kit.subject import Subject
from cdr_adapters.mapping import SourceMapping
from protos.printable import printable

_PIPED_WIDTH = 200
_NARROW = 110
_PEERS_SHOWN = 40
_FORMS_SHOWN = 12


def console(*, stderr: bool = False) -> Console:
    """Where to print."""
    screen = Console(stderr=stderr, markup=False, highlight=False)
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen.width = _PIPED_WIDTH
    return screen


def table(*headings: str, right: Sequence[str] = ()) -> Table:
    """A plain table; long values go on below, nothing is cut."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, overflow="fold", justify="right" if heading in right else "left")
    return made


def formats(screen: Console, facts: Iterable[FormatFacts]) -> None:
    """The formats, one a line; on a narrow screen the summary stands below."""
    if screen.width >= _NARROW:
        wide = table("format", "grade", "upstream", "zone of times", "what")
        for fact in facts:
            wide.add_row(fact.name, fact.grade, fact.upstream, fact.zone, fact.summary)
        screen.print(wide)
        return
    narrow = table("format", "grade", "upstream", "zone of times")
    for fact in facts:
        narrow.add_row(fact.name, fact.grade, fact.upstream, fact.zone)
    screen.print(narrow)
    screen.print("\nWhat each of them is: hopback-cdr formats NAME")


def format_in_detail(screen: Console, fact: FormatFacts, documentation: str) -> None:
    """One format: what it is, what it records, and what its module says of itself."""
    screen.print(fact.name, style="bold")
    screen.print(fact.summary)
    screen.print(f"grade: {fact.grade}\nupstream: {fact.upstream}\nzone of times: {fact.zone}\n")
    screen.print(Text(documentation))


def inspection(
    screen: Console,
    subject: Subject,
    source: SourceMapping,
    found: Inspection,
    suspicions: Sequence[str],
    unmapped: dict[Any, list[tuple[str | None, str | None, int]]] | None,
) -> None:
    """All that was found in a file; `source` is the mapping with what its format brings."""
    screen.print(f"{printable(subject.shown)}: {source.format}, {found.records:,} records", style="bold")
    screen.print(f"mapping: {subject.origin}")
    twice = f", {found.twice:,} of them second readings of a local time that occurred twice" if found.twice else ""
    skipped = f"; skipped {found.skipped:,} (not chosen by where, or no records)" if found.skipped else ""
    screen.print(f"calls {found.calls:,}{twice}{skipped}; rejected {found.rejects:,}")
    if found.earliest and found.latest:
        screen.print(f"times {found.earliest:%Y-%m-%d %H:%M:%S} to {found.latest:%Y-%m-%d %H:%M:%S} UTC")
    screen.print(zone(subject, source))
    for suspicion in suspicions:
        screen.print(Text.assemble(("look: ", "bold yellow"), printable(suspicion)))
    _rejects(screen, found)
    _forms(screen, found)
    _peers(screen, found)
    if unmapped is not None:
        _unmapped(screen, unmapped)
    _sample(screen, found)


def inspection_json(
    subject: Subject,
    source: SourceMapping,
    found: Inspection,
    suspicions: Sequence[str],
    unmapped: dict[Any, list[tuple[str | None, str | None, int]]] | None,
) -> dict[str, Any]:
    """The same for machines."""
    told: dict[str, Any] = {
        "file": subject.shown,
        "format": source.format,
        "mapping": subject.origin,
        "zone": zone(subject, source),
        **found.as_json(),
        "warnings": list(suspicions),
    }
    if unmapped is not None:
        told["unmapped"] = {
            side: [{"trunk": trunk, "address": address, "calls": calls} for trunk, address, calls in routes]
            for side, routes in unmapped.items()
        }
    return told


def proposal(screen: Console, proposed: Proposal, out: Path | None) -> None:
    """The guesses of a proposal, and what is left to do."""
    shown = table("key", "", "proposed", "why")
    for guess in proposed.guesses:
        style = {"sure": "green", "likely": "", "unsure": "bold yellow"}[guess.sure.value]
        what = toml_value(guess.value) if guess.written else f"{len(guess.candidates)} candidates"
        shown.add_row(guess.key, Text(guess.sure.value, style), printable(what), printable(guess.why))
    screen.print(shown)
    screen.print()
    if proposed.tried is not None:
        tried = proposed.tried
        screen.print(
            f"tried on the first records: {tried.calls:,} calls, {tried.rejects:,} rejected, {tried.skipped:,} skipped",
            style="green" if tried.calls and not tried.rejects else "yellow",
        )
    else:
        screen.print(printable(f"not complete; to be settled: {', '.join(proposed.missing)}"), style="bold yellow")
    if out is not None:
        screen.print(f"{out}: check every line; then hopback-cdr check-map {out} and the file")


def checked(screen: Console, mapping: Path, file: str | None, sources: Sequence[Checked]) -> None:
    """What is wrong and doubtful about a mapping, by line."""
    for source in sources:
        title = f"{mapping}: {source.name}" if len(sources) > 1 else str(mapping)
        mistakes = sum(finding.is_mistake for finding in source.findings)
        verdict = f"{mistakes} mistake{'s' if mistakes != 1 else ''}" if mistakes else "can be used"
        screen.print(f"{printable(title)}: {verdict}", style="bold red" if mistakes else "bold green")
        for finding in source.findings:
            word, style = ("mistake", "red") if finding.is_mistake else ("look", "yellow")
            where = f" line {finding.line}:" if finding.line else ""
            screen.print(Text.assemble((f"{word}:", style), where, " ", printable(finding.text)))
        if source.tried is not None:
            found = source.tried
            screen.print(
                f"tried on {printable(str(file))}: {found.records:,} records, {found.calls:,} calls, "
                f"{found.rejects:,} rejected, {found.skipped:,} skipped"
            )
            _rejects(screen, found)
        if source.unused:
            screen.print(printable(f"columns not used: {', '.join(source.unused)}"), style="dim")


def zone(subject: Subject, source: SourceMapping) -> str:
    """How the zone of the times is known, and the clock."""
    offset = source.clock_offset.total_seconds()
    clock = f"; clock {abs(offset):g} s {'fast' if offset > 0 else 'slow'}" if offset else ""
    origin = subject.zone_origin or (f"the standard of {source.format}" if source.zone else None)
    return (how_zone_is_known(source.columns, source.zone, origin) if source.columns else "") + clock


def _rejects(screen: Console, found: Inspection) -> None:
    if not found.rejected:
        return
    shown = table("rejected because", "records", "lines or rows", right=("records",))
    for (reason, detail), rejects in sorted(found.rejected.items(), key=lambda entry: -entry[1].count):
        more = ", ..." if rejects.count > len(rejects.rows) else ""
        rows = ", ".join(map(str, rejects.rows)) + more
        shown.add_row(Text.assemble((reason, "yellow"), f"  {printable(detail)}"), f"{rejects.count:,}", rows)
    screen.print()
    screen.print(shown)


def _forms(screen: Console, found: Inspection) -> None:
    shown = table("number", "written as", "records", right=("records",))
    for name, counter in found.forms.items():
        for form, count in counter.counts.most_common(_FORMS_SHOWN):
            shown.add_row(name, printable(form), f"{count:,}")
        if len(counter.counts) > _FORMS_SHOWN:
            shown.add_row(name, f"and {len(counter.counts) - _FORMS_SHOWN} other forms", "")
    if shown.row_count:
        screen.print()
        screen.print(shown)


def _peers(screen: Console, found: Inspection) -> None:
    shown = table("seen in", "value", "calls", right=("calls",))
    for name, counts in found.peers.items():
        for value, count in counts.most_common(_PEERS_SHOWN):
            shown.add_row(name, printable(value), f"{count:,}")
        if len(counts) > _PEERS_SHOWN:
            shown.add_row(name, f"and {len(counts) - _PEERS_SHOWN:,} more: see --json", "")
    if shown.row_count:
        screen.print()
        screen.print(shown)


def _unmapped(screen: Console, unmapped: dict[Any, list[tuple[str | None, str | None, int]]]) -> None:
    screen.print()
    if not any(unmapped.values()):
        screen.print("the trunk map knows every trunk and address that occurs", style="green")
        return
    shown = table("not in the trunk map", "trunk", "address", "calls", right=("calls",))
    for side, routes in unmapped.items():
        for trunk, address, calls in routes[:_PEERS_SHOWN]:
            shown.add_row(side, printable(trunk or ""), printable(address or ""), f"{calls:,}")
        if len(routes) > _PEERS_SHOWN:
            shown.add_row(side, f"and {len(routes) - _PEERS_SHOWN:,} more: see --json", "", "")
    screen.print(shown)


def _sample(screen: Console, found: Inspection) -> None:
    if not found.sample:
        return
    shown = table("row", "seized (UTC)", "within", "called", "calling", "came in", "went out", "end", right=("row",))
    for call in found.sample:
        earliest, latest = call["seizure_earliest"], call["seizure_latest"]
        time = f"{earliest:%Y-%m-%d %H:%M:%S}.{earliest.microsecond // 1000:03}"
        received, sent = call["called_in"], call["called_out"]
        called = f"{received} as {sent}" if received and sent and received != sent else received or sent or ""
        ends = (" ".join(filter(None, (call[f"{s}_trunk"], call[f"{s}_address"]))) for s in ("ingress", "egress"))
        came_in, went_out = (printable(end) for end in ends)
        within = f"{(latest - earliest).total_seconds():g} s"
        shown.add_row(
            str(call["row"]), time, within, called, call["calling"] or "", came_in, went_out, call["disposition"] or ""
        )
    screen.print()
    screen.print(shown)
