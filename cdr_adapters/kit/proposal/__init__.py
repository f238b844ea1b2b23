"""A mapping proposed from a file itself: what is in it, how sure each guess is, and why.

Nothing that decides who is named is guessed: which number is the called one and on which side of a call a trunk stands
is written only when the columns' names say so and their contents agree; the zone only when the file proves it. All else
is left to the person, commented out with the candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import compress
from pathlib import Path
from typing import Any

from cdr_adapters import registry
from cdr_adapters.column_specs import Columns
from cdr_adapters.kit.inspection import Inspection, Inspector
from cdr_adapters.kit.proposal.guess import Guess, Sure
from cdr_adapters.kit.proposal.layout import Layout, layout_of, sample_of
from cdr_adapters.kit.proposal.profile import Profile
from cdr_adapters.kit.proposal.rest import (
    as_mapping,
    called_format,
    disposition_guess,
    duration_guess,
    where_guess,
)
from cdr_adapters.kit.proposal.roles import (
    TimeColumn,
    named,
    number_guesses,
    peer_guesses,
    text_guesses,
    time_columns,
    time_guesses,
)
from cdr_adapters.kit.proposal.toml_text import mapping_text
from cdr_adapters.kit.proposal.zones import zone_column, zone_guess
from cdr_adapters.kit.reading import both, mapper_of
from cdr_adapters.kit.subject import Subject, mapping_of, source_name
from cdr_adapters.mapping import MappingError
from cdr_adapters.raw import AdapterError

__all__ = ["Guess", "Proposal", "Sure", "propose"]

TRIED_RECORDS = 5000


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed for a file.

    Attributes:
        format: the format's name. `records`: how many of the file's records were looked at.
        guesses: in the order of the mapping file.
        toml: the mapping file.
        missing: what keeps it from being complete, in words; empty when it can be used.
        tried: what the proposed mapping makes of the first records; None when it is not complete.
    """

    format: str
    records: int
    guesses: tuple[Guess, ...]
    toml: str
    missing: tuple[str, ...]
    tried: Inspection | None

    @property
    def complete(self) -> bool:
        """Whether the mapping can be used as it is."""
        return not self.missing

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "format": self.format,
            "records": self.records,
            "complete": self.complete,
            "missing": list(self.missing),
            "guesses": [
                {
                    "key": guess.key,
                    "sure": guess.sure.value,
                    "value": guess.value if guess.written else None,
                    "why": guess.why,
                    "candidates": list(guess.candidates),
                }
                for guess in self.guesses
            ],
            "tried": None
            if self.tried is None
            else {"calls": self.tried.calls, "rejected": self.tried.rejects, "skipped": self.tried.skipped},
            "toml": self.toml,
        }


def propose(
    path: Path, shown: str, now: datetime, wanted_format: str | None = None, options: Mapping[str, Any] | None = None
) -> Proposal:
    """Look at the first records of a file and say how to read them.

    Raises:
        AdapterError: the file can't be read, or nothing about it looks like records.
    """
    layout = layout_of(path, wanted_format, options or {})
    adapter = registry.adapter(layout.format)
    if adapter.default_columns is not None:
        guesses, records = _of_known_format(path, layout, now)
    else:
        columns, records = sample_of(path, layout)
        guesses = [*layout.guesses, *_guesses(columns, now)]
    return _finished(path, shown, layout, guesses, records, now)


def _guesses(sample: Mapping[str, list[str | None]], now: datetime) -> list[Guess]:
    where = where_guess(named([Profile(name, values, now) for name, values in sample.items()]))
    if where is not None and where.written:
        # what other rows hold in these columns says nothing about calls
        ((key, wanted),) = where.value.items()
        chosen = [value == wanted for value in sample[key]]
        sample = {name: list(compress(values, chosen)) for name, values in sample.items()}
    profiles = [Profile(name, values, now) for name, values in sample.items()]
    columns = named(profiles)
    by_name = {profile.name: profile for profile in profiles}
    zone_in_row = zone_column(profiles)
    times = time_columns(columns, now)
    numbers = _with_formats(number_guesses(columns), peers := peer_guesses(columns), by_name)
    told_times = time_guesses(times, zone_in_row)
    kept = {
        guess.key.partition(".")[2]: time
        for guess in told_times
        if guess.written and (time := _time_behind(guess, times)) is not None
    }
    rest = [where, _zone(told_times, times, profiles, zone_in_row)]
    ends = [duration_guess(columns, kept), disposition_guess(columns)]
    return [
        *(guess for guess in rest if guess is not None),
        *(guess for guess in numbers if guess.key.startswith("columns.")),
        *told_times,
        *peers,
        *text_guesses(columns),
        *(guess for guess in ends if guess is not None),
        *(guess for guess in numbers if not guess.key.startswith("columns.")),
    ]


def _time_behind(guess: Guess, times: list[TimeColumn]) -> TimeColumn | None:
    column = guess.value["column"] if guess.value else guess.candidates[0]["column"] if guess.candidates else ()
    wanted = tuple(column) if isinstance(column, list) else (column,)
    return next((time for time in times if time.names == wanted), None)


def _with_formats(numbers: list[Guess], peers: list[Guess], by_name: Mapping[str, Profile]) -> list[Guess]:
    """The number guesses with the format that reads them, and the formats of trunks if they differ."""
    told: list[Guess] = []
    trunk = next((by_name[g.value["column"]] for g in peers if g.key == "columns.ingress_trunk" and g.written), None)
    for guess in numbers:
        if not guess.key.startswith("columns.called") or not guess.written:
            told.append(guess)
            continue
        profile = by_name[guess.value["column"]]
        chosen, why, trunks = called_format(profile, trunk if guess.key.endswith("_in") else None)
        told.append(replace(guess, value={**guess.value, "format": chosen}, why=f"{guess.why}; {why}"))
        if trunks is not None:
            told.append(trunks)
    return told


def _zone(
    told: list[Guess], times: list[TimeColumn], profiles: list[Profile], in_row: tuple[Profile, str, Sure, str] | None
) -> Guess | None:
    """The source's zone, where times need one."""
    naive = [time for guess in told if (time := _time_behind(guess, times)) is not None and time.naive]
    if not naive:
        return None
    if in_row is not None and in_row[2] is not Sure.UNSURE:
        return None
    guess = zone_guess(naive[0].profile, naive[0].format, profiles)
    if in_row is not None and guess.value is None:
        return replace(guess, why=f"{guess.why}. {in_row[0].name} {in_row[3]}: zone_column and zone_unit could say it")
    return guess


def _of_known_format(path: Path, layout: Layout, now: datetime) -> tuple[list[Guess], int]:
    """What is left to say of a format that brings its own columns: options that its reader asks for, and the zone."""
    guesses = list(layout.guesses)
    defaults = registry.adapter(layout.format).defaults
    try:
        columns, records = sample_of(path, layout)
    except AdapterError as error:
        told = str(error).removeprefix(f"{path}: ")
        return [*guesses, Guess("options", Sure.UNSURE, f"the reader asks for more: {told}")], 0
    spec = next((time for time in (defaults.columns.times if defaults.columns else ()) if time.is_naive), None)
    if spec is not None and defaults.zone is None:
        profiles = [Profile(name, values, now) for name, values in columns.items()]
        local = next((p for p in profiles if p.name in spec.column and p.counts), None)
        fitting = [one for one in spec.format if local is not None and "%z" not in one]
        if local is not None and fitting:
            guesses.append(zone_guess(local, fitting[0], profiles))
    return guesses, records


def _finished(path: Path, shown: str, layout: Layout, guesses: list[Guess], records: int, now: datetime) -> Proposal:
    table = as_mapping(guesses)
    if isinstance(table.get("options"), dict) or layout.options:
        table["options"] = dict(layout.options)
    missing = [guess.key for guess in guesses if guess.key == "zone" and not guess.written]
    tried: Inspection | None = None
    try:
        mapping = mapping_of(table, None, source_name(path))
        subject = Subject(path, shown, mapping, "the proposal", None)
        inspector = Inspector(now=now, sample=5, show_numbers=False)
        for _, batch in both(subject, mapper_of(subject)):
            inspector.add(batch)
            if inspector.found.records >= TRIED_RECORDS:
                break
        tried = inspector.found if not missing else None
    except (MappingError, AdapterError) as error:
        missing = [guess.key.rpartition(".")[2] for guess in guesses if guess.sure is Sure.UNSURE and _is_needed(guess)]
        missing = missing or [str(error)]
    own = registry.adapter(layout.format).default_columns if "columns" not in table else None
    head = [f"Proposed by hopback-cdr init from {Path(shown).name}, from {records:,} of its records. Check every line."]
    if tried is not None:
        head.append(
            f"Tried on the first records: {tried.calls:,} calls, {tried.rejects:,} rejected, {tried.skipped:,} skipped."
        )
    else:
        head.append(f"NOT COMPLETE. To be settled: {', '.join(missing)}.")
    return Proposal(
        layout.format,
        records,
        tuple(guesses),
        mapping_text(head, guesses, layout.options, _own_columns(own)),
        tuple(missing),
        tried,
    )


def _own_columns(columns: Columns | None) -> list[str]:
    """What the format's own columns are, for the comment under a mapping that leaves them as they are."""
    if columns is None:
        return []
    return [f"{name}: {' or '.join(spec.column)}" for name, spec in columns.specs.items()]


def _is_needed(guess: Guess) -> bool:
    return guess.key in ("columns.called_in", "columns.seizure", "columns.answer", "columns.release", "zone", "options")
