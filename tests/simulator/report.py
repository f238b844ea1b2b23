"""What came of a run: for tests, for programs, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rich.table import Table

from coordinator.tracing.chain import Status


@dataclass
class Report:
    """What came of a run.

    Attributes:
        broken: what must never happen, and did.
        fates: what became of messages to agents, in messages.
        counts: what people did, and the like.
        digest: of everything that happened, in its order, and of how it ended.
        trace: the same in words, where it was kept.
        lasted: how long it took in its own time.
    """

    seed: int
    statuses: Counter[Status]
    broken: list[str]
    searches: int
    kills: int
    fates: Mapping[str, int]
    counts: Mapping[str, int]
    digest: str
    lasted: timedelta
    reached: Counter[str] = field(default_factory=Counter)
    trace: bytes = field(default=b"", repr=False)


def shown(report: Report) -> dict[str, Any]:
    """A report for programs."""
    statuses = sorted(report.statuses.items(), key=lambda item: item[0].value)
    return {
        "seed": report.seed,
        "statuses": {status.value: count for status, count in statuses},
        "reached": dict(report.reached),
        "searches": report.searches,
        "kills": report.kills,
        "messages": dict(report.fates),
        "happened": dict(report.counts),
        "simulated_s": round(report.lasted.total_seconds()),
        "digest": report.digest,
        "broken": report.broken,
    }


def table(reports: Sequence[Report], took_s: float) -> Table:
    """Reports for people, summed up."""
    statuses = sum((report.statuses for report in reports), Counter[Status]())
    calls, broken = statuses.total(), sum(len(report.broken) for report in reports)
    longest = max(report.lasted for report in reports)
    shape = Table(
        title=f"{calls:,} calls, {_seeds(reports)}: {_days(longest)} in {took_s:.0f} s",
        title_justify="left",
        show_header=False,
    )
    shape.add_column("what")
    shape.add_column("count", justify="right")
    shape.add_column("share", justify="right")

    def rows(title: str, some: Mapping[str, int], of: int | None = None) -> None:
        shape.add_section()
        shape.add_row(f"[bold]{title}", "", "")
        for name, count in some.items():
            shape.add_row(f"  {name}", f"{count:,}", f"{count / of:.1%}" if of else "")

    rows("how they ended", {s.value.replace("_", " "): count for s, count in statuses.most_common()}, calls)
    rows("how much of the path", sum((report.reached for report in reports), Counter[str]()), calls)
    fates = sum((Counter(report.fates) for report in reports), Counter[str]())
    rows("messages to agents", dict(fates.most_common()), fates.total())
    happened = sum((Counter(report.counts) for report in reports), Counter[str]())
    happened["searches of agents"] = sum(report.searches for report in reports)
    happened["coordinators killed"] = sum(report.kills for report in reports)
    rows("what else happened", dict(sorted(happened.items())))
    shape.add_section()
    colour = "red" if broken else "green"
    shape.add_row(f"[bold {colour}]must never happen, and did", f"[bold {colour}]{broken:,}", "")
    return shape


def _seeds(reports: Sequence[Report]) -> str:
    first, last = reports[0].seed, reports[-1].seed
    return f"seed {first}" if first == last else f"seeds {first} to {last}"


def _days(lasted: timedelta) -> str:
    return f"{lasted / timedelta(days=1):.1f} days" if lasted > timedelta(days=1) else f"{lasted}"
