"""What a format records of a call, as far as its own columns tell: whether the upstream, whether the zone of its times.

Derived from the columns that the format brings, so that it can't say anything else than what is read. A format without
columns of its own leaves both to the mapping.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cdr_adapters import registry
from cdr_adapters.column_specs import EPOCH_FORMATS, Columns, TimeColumn

BY_MAPPING = "your mapping says"
NOT_RECORDED = "not recorded"
SET_ZONE = "set zone"


@dataclass(frozen=True, slots=True)
class FormatFacts:
    """One line of `hopback-cdr formats`.

    Attributes:
        upstream: what names who handed the call over: trunk, address, both, or that nothing does.
        zone: how the zone of its times is known.
    """

    name: str
    grade: str
    summary: str
    upstream: str
    zone: str


def facts_of(name: str) -> FormatFacts:
    """What the format called `name` is.

    Raises:
        AdapterError: there is no such format, or it can't be loaded.
    """
    adapter = registry.adapter(name)
    columns = adapter.default_columns
    upstream = BY_MAPPING if columns is None else upstream_of(columns)
    zone = BY_MAPPING if columns is None else _zone_of(columns, adapter.defaults.zone)
    return FormatFacts(name, adapter.grade.value, adapter.summary, upstream, zone)


def markdown(facts: Iterable[FormatFacts]) -> str:
    """The formats as a table for documents."""
    rows = [f"| `{f.name}` | {f.summary} | {f.grade} | {f.upstream} | {f.zone} |" for f in facts]
    return "\n".join(("| name | what | grade | upstream | zone of times |", "|---|---|---|---|---|", *rows)) + "\n"


def upstream_of(columns: Columns) -> str:
    """What the columns have of the upstream."""
    there = [
        word
        for word, spec in (("trunk", columns.ingress_trunk), ("address", columns.ingress_address))
        if spec is not None
    ]
    return " and ".join(there) or NOT_RECORDED


def _zone_of(columns: Columns, zone: str | None) -> str:
    if any(time.is_naive for time in columns.times):
        return SET_ZONE if zone is None else f"always {zone}"
    return "in the row"


def how_zone_is_known(columns: Columns, zone: str | None, origin: str | None) -> str:
    """In words: what zone the times of these columns have, and who says so; `origin` is who gave `zone`."""
    said = list(dict.fromkeys(word for time in columns.times for word in _says(time)))
    told = f"zone {zone}, from {origin}" if zone is not None and origin is not None else f"zone {zone}" if zone else ""
    if not told:
        return f"times {' or '.join(said)}"
    return f"{told}; times {' or '.join(said)}" if said else told


def _says(time: TimeColumn) -> list[str]:
    if time.zone_column is not None:
        return [f"have their zone beside them, in {time.zone_column}"]
    words = []
    for one in time.format:
        if one in EPOCH_FORMATS:
            words.append("count from an epoch, which is UTC")
        elif "%z" in one:
            words.append("have their offset from UTC")
        elif "%Z" in one:
            words.append("have their zone's abbreviation")
        elif one == "iso8601":
            words.append("may have their offset from UTC")
    return words
