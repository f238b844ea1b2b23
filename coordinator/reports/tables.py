"""Reports as tables for files: a header, a line a provider, cells that no spreadsheet takes for formulas. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from coordinator.reports.figures import FIGURES, Part, Participant, Scorecard, Transparency
from protos.identity import ProviderId

_MS = timedelta(milliseconds=1)


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: text that could begin one gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return (
        f"'{text}"
        if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and not isinstance(value, int | float)
        else text
    )


Names = Mapping[ProviderId, str]


def transparency_rows(report: Transparency, names: Names) -> list[Sequence[object]]:
    """The report as a table, a line a provider, the header first."""
    header = ("provider", "name", *(name for name in Part.__dataclass_fields__ if name != "provider"))
    return [header, *((p.provider, names.get(p.provider, ""), *_values(p)) for p in report.parts)]


def participant_rows(found: Iterable[Participant], names: Names) -> list[Sequence[object]]:
    """Participants and refusers as a table, the header first."""
    header = ("provider", "name", "kind", "asked", "answered", "reasons")
    return [
        header,
        *(
            (
                one.provider,
                names.get(one.provider, ""),
                "participant" if one.takes_part else "refuser",
                one.asked,
                one.answered,
                "; ".join(f"{why.replace('_', ' ')} ({count})" for why, count in one.reasons),
            )
            for one in found
        ),
    ]


def scorecard_rows(cards: Iterable[Scorecard], names: Names) -> list[Sequence[object]]:
    """Scorecards as a table, the header first; durations in milliseconds and hours."""
    every = list(cards)
    figures = [name for name in FIGURES if not every or any(name in card.counts for card in every)]
    header = (
        "provider",
        "name",
        *figures,
        "latency_p50_ms",
        "latency_p95_ms",
        "persons_p50_h",
        "non_cooperative",
        "why",
    )
    return [
        header,
        *(
            (
                card.provider,
                names.get(card.provider, ""),
                *(card.counts.get(name) for name in figures),
                milliseconds(card.latency.median),
                milliseconds(card.latency.p95),
                _hours(card.persons_latency.median),
                "yes" if card.label.non_cooperative else "no",
                card.label.reason,
            )
            for card in every
        ),
    ]


def _values(part: Part) -> Iterable[int]:
    read: Callable[[str], int] = lambda name: getattr(part, name)  # noqa: E731
    return (read(name) for name in Part.__dataclass_fields__ if name != "provider")


def milliseconds(duration: timedelta | None) -> float | None:
    """A duration for programs."""
    return None if duration is None else round(duration / _MS, 3)


def _hours(duration: timedelta | None) -> float | None:
    return None if duration is None else round(duration / timedelta(hours=1), 2)
