"""What `report` and `api report` share: the period, the form, where to, the drawing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coordinator.commands.frame import BadData, now, show_rich
from coordinator.commands.tables import iso, table

if TYPE_CHECKING:
    from coordinator.reports.figures import Participant, Scorecard, Spread, Transparency
    from protos.identity import ProviderId

F = TypeVar("F", bound=Callable[..., Any])
Names = Mapping["ProviderId", str]
Period = tuple[datetime, datetime]
SHOWN = ("provider", "asked", "answered", "silent", "refused", "denied", "latency_p50_ms", "people", "non_cooperative")
"""Columns of a scorecard that fit a terminal."""
_HEADINGS = {
    "latency_p50_ms": "median",
    "latency_p95_ms": "19 of 20 within",
    "persons_p50_h": "persons median",
    "non_cooperative": "label",
    "originating": "origin",
    "terminating": "term.",
    "non_responsive": "silent",
}
_QUARTER = re.compile(r"([0-9]{4})[qQ]([1-4])")


@dataclass(frozen=True, slots=True)
class Form:
    """What was asked for: the period, the form, and the file, None for standard output."""

    period: Period
    form: str
    out: Path | None

    @property
    def for_people(self) -> bool:
        """Whether it is drawn in the terminal."""
        return self.form == "table" and self.out is None


def period_options(function: F) -> F:
    """The period, for lists."""
    for option in reversed(
        (
            click.option("--since", default="", help="First day, such as 2026-07-01 (UTC); or a time with its zone."),
            click.option("--until", default="", help="The day after the last one; the default is now."),
        )
    ):
        function = option(function)
    return function


def form_options(function: F) -> F:
    """The period, the form, and where to: `form_of` reads them."""
    function = period_options(function)
    for option in reversed(
        (
            click.option("--quarter", default="", help="A quarter of a year, such as 2026Q3."),
            click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table"),
            click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
            click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file."),
        )
    ):
        function = option(function)
    return function


def form_of(quarter: str, since: str, until: str, form: str, out: Path | None, *, as_json: bool) -> Form:
    """What was asked for; a period that is none ends the command."""
    return Form(period_of(quarter, since, until), "json" if as_json else form, out)


def show_transparency(found: Transparency, names: Names, form: Form) -> None:
    """The report of a period."""
    from coordinator.reports.tables import transparency_rows

    rows = transparency_rows(found, names)
    _put(form, rows, lambda: _transparency_json(found, rows))
    if form.for_people:
        for line in _whole(found):
            click.echo(line)


def _whole(found: Transparency) -> Iterator[str]:
    """What the report says of all calls together."""
    from coordinator.present.chains import counted, lasted
    from coordinator.present.explain import TITLES

    if not found.tracebacks:
        return
    median = found.to_completion.median
    yield (
        f"{counted(found.tracebacks, 'traceback')}, {found.finished:,} to the end"
        + (f", in {lasted(median)} (median), over {found.mean_hops:.1f} providers (mean)" if median else "")
        + "."
    )
    yield ", ".join(f"{TITLES[status]} {count:,}" for status, count in found.by_status).capitalize() + "."


def show_participants(found: Sequence[Participant], names: Names, form: Form) -> None:
    """Participants and refusers."""
    from coordinator.reports.tables import participant_rows

    _put(
        form,
        participant_rows(found, names),
        lambda: [
            {
                "provider": one.provider,
                "name": names.get(one.provider),
                "takes_part": one.takes_part,
                "asked": one.asked,
                "answered": one.answered,
                "reasons": dict(one.reasons),
            }
            for one in found
        ],
    )


def show_scorecards(cards: Sequence[Scorecard], names: Names, form: Form, *, one: bool) -> None:
    """Scorecards; of `one` provider all figures, line by line."""
    from coordinator.reports.tables import scorecard_rows

    rows = scorecard_rows(cards, names)
    if form.for_people and cards:
        columns = [name for name in SHOWN if name in rows[0] or name == "people"]
        if one:
            columns = [str(name) for name in rows[0][1:]]
        named = [
            dict(zip(map(str, rows[0]), row, strict=True))
            | {"latency_p50_ms": card.latency.median, "latency_p95_ms": card.latency.p95}
            | {"persons_p50_h": card.persons_latency.median}
            for card, row in zip(cards, rows[1:], strict=True)
        ]
        headings = [_HEADINGS.get(name, name.replace("_", " ")) for name in columns]
        cells = [[_shown(row, name) for name in columns] for row in named]
        if one:
            show_rich(table(("provider", str(rows[1][0])), list(zip(headings, cells[0], strict=True))))
        else:
            show_rich(table(headings, cells, right=headings[1:-2], whole=headings[1:]))
        return
    _put(form, rows, lambda: [_card_json(card, names.get(card.provider)) for card in cards])


def _shown(row: Mapping[str, object], name: str) -> object:
    """A cell of a scorecard for people."""
    from coordinator.present.chains import lasted

    value = row.get(name)
    if isinstance(value, timedelta):
        return lasted(value)
    if name == "people":  # asked, and what came of it
        asked, silent = row["persons_asked"], row["persons_non_responsive"]
        said = f"{row['persons_answered']} of {asked}" if asked else ""
        return f"{said}, {silent} silent" if silent else said
    if name == "non_cooperative":
        return "non-cooperative" if value == "yes" else ""
    return value


def _is_number(cell: object) -> bool:
    return isinstance(cell, int | float)


def period_of(quarter: str, since: str, until: str) -> Period:
    """From a time until before another one; what is none ends the command."""
    if quarter and (since or until):
        raise click.UsageError("give either --quarter or --since and --until")
    if quarter:
        match = _QUARTER.fullmatch(quarter)
        if match is None or int(match[1]) < 2000:
            raise click.UsageError(f"--quarter {quarter!r} is none such as 2026Q3")
        year, first = int(match[1]), 3 * int(match[2]) - 2
        following = (year + 1, 1) if first == 10 else (year, first + 3)
        return datetime(year, first, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC)
    start = _day("--since", since) if since else datetime(2000, 1, 1, tzinfo=UTC)
    end = _day("--until", until) if until else now()
    if start >= end:
        raise click.UsageError("the period ends before it begins")
    return start, end


def _day(option: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{option} {text!r} is no day such as 2026-07-01") from None
    if time.tzinfo is None and len(text) > 10:
        raise click.UsageError(f"{option}: a time needs its zone, such as 2026-07-01T00:00:00Z")
    return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)


def _put(form: Form, rows: Sequence[Sequence[object]], as_json: Callable[[], Any]) -> None:
    out = form.out
    if form.form == "json":
        import json

        text = json.dumps(as_json(), ensure_ascii=False, indent=2) + "\n"
    elif form.form == "csv" or out is not None:
        text = _csv(rows)
    elif not rows[1:]:
        click.echo(f"Nothing between {form.period[0]:%Y-%m-%d %H:%M} and {form.period[1]:%Y-%m-%d %H:%M} UTC.")
        return
    else:
        headings = [_HEADINGS.get(str(name), str(name).replace("_", " ")) for name in rows[0]]
        numbers = [name for name, cell in zip(headings, rows[1] if rows[1:] else (), strict=False) if _is_number(cell)]
        show_rich(table(headings, rows[1:], right=numbers, whole=numbers))
        return
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise BadData(f"{out} can't be written: {error.strerror}") from None


def _csv(rows: Sequence[Sequence[object]]) -> str:
    from coordinator.reports.tables import safe_cell

    buffer = io.StringIO()
    csv.writer(buffer).writerows([safe_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _spread_json(found: Spread) -> dict[str, Any]:
    from coordinator.reports.tables import milliseconds

    return {"count": found.count, "p50_ms": milliseconds(found.median), "p95_ms": milliseconds(found.p95)}


def _transparency_json(found: Transparency, rows: Sequence[Sequence[object]]) -> dict[str, Any]:
    return {
        "since": iso(found.since),
        "until": iso(found.until),
        "tracebacks": found.tracebacks,
        "finished": found.finished,
        "by_status": {status.value: count for status, count in found.by_status},
        "to_completion": _spread_json(found.to_completion),
        "mean_hops": found.mean_hops,
        "hops": {str(hops): count for hops, count in found.hops},
        "providers": [dict(zip(map(str, rows[0]), row, strict=True)) for row in rows[1:]],
        "foreign": dict(found.foreign),
    }


def _card_json(card: Scorecard, name: str | None) -> dict[str, Any]:
    judged = card.label
    return {
        "provider": card.provider,
        "name": name,
        "figures": {figure.name: {"count": figure.count, "questions": list(figure.facts)} for figure in card.figures},
        "latency": _spread_json(card.latency),
        "persons_latency": _spread_json(card.persons_latency),
        "non_cooperative": judged.non_cooperative,
        "why": judged.reason,
        "metrics": [
            {
                "name": metric.name,
                "value": metric.value,
                "limit": metric.limit,
                "breached": metric.breached,
                "tasks": list(metric.facts),
            }
            for metric in judged.metrics
        ],
    }
