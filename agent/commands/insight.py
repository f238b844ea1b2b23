"""`hopback-agent stats`, `segments`, `trunks` and `coverage`: what is in the index, as tables or as JSON.

They read, take no lock and hold no answer up. Shown are counts, times, names of files, trunks and addresses, for the
operator's own eyes; telephone numbers are not, and could not be.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.commands.frame import AS_JSON, CONFIG, chosen_sources, console, failures
from agent.params import Moment

if TYPE_CHECKING:
    from rich.console import RenderableType

    from agent.config import AgentConfig
    from agent.hours import Lateness, SourceHours
    from agent.index.manifest import Manifest
    from agent.index.snapshot import Follower
    from agent.routes_seen import RouteSeen
    from agent.stats import SegmentFacts, Stats, Totals

_HOURS_SHOWN: Final = timedelta(hours=24)


def _opened(config: AgentConfig) -> tuple[Follower, Manifest]:
    """The index as it is now, and its manifest, which may be a little newer."""
    from agent.index import manifest as manifests
    from agent.index.layout import MANIFEST
    from agent.index.manifest import Manifest
    from agent.index.snapshot import Follower
    from agent.inspection import read_keys

    keys = read_keys(config)
    follower = Follower(config.index.directory, keys)
    follower.refresh()
    path = config.index.directory / MANIFEST
    return follower, manifests.decode(path.read_bytes(), path).manifest if path.exists() else Manifest(keys.check.hex())


@click.command()
@CONFIG
@AS_JSON
def stats(config: Path, as_json: bool) -> None:
    """Say how large the index is: rows, days, segments, bytes a call, memory.

    \b
    hopback-agent stats /etc/hopback/agent.toml
    hopback-agent stats /etc/hopback/agent.toml --json
    """
    with failures():
        from agent.config import load
        from agent.stats import stats as stats_of

        loaded = load(config)
        follower, _ = _opened(loaded)
        found = stats_of(follower.state, loaded.index.directory)
        if as_json:
            click.echo(json.dumps(_stats_json(found), indent=2))
        else:
            console().print(_stats_table(found))


@click.command()
@CONFIG
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@AS_JSON
def segments(config: Path, sources: tuple[str, ...], as_json: bool) -> None:
    """List the segments of the index, by day: rows, bytes, times, how many source files they came from.

    \b
    hopback-agent segments /etc/hopback/agent.toml
    hopback-agent segments /etc/hopback/agent.toml switch-1 --json
    """
    with failures():
        from agent.config import load
        from agent.stats import segment_facts

        loaded = load(config)
        wanted = {source.name for source in chosen_sources(loaded, sources)} if sources else None
        follower, _ = _opened(loaded)
        facts = [fact for fact in segment_facts(follower.state) if wanted is None or fact.source in wanted]
        if as_json:
            click.echo(json.dumps([_segment_json(fact) for fact in facts], indent=2))
        else:
            console().print(_segments_table(facts))


@click.command()
@CONFIG
@click.option("--unmapped", "only_unmapped", is_flag=True, help="Only those that the trunk map does not know.")
@AS_JSON
def trunks(config: Path, only_unmapped: bool, as_json: bool) -> None:
    """List the trunks and addresses that indexed calls came in and went out by, and whom [[trunks]] names for them.

    With --unmapped only what the map does not know: questions about such calls are answered with UNMAPPED. A trunk that
    the map knows at some times only is listed with its calls of the other times.

    \b
    hopback-agent trunks /etc/hopback/agent.toml --unmapped
    hopback-agent trunks /etc/hopback/agent.toml --json
    """
    with failures():
        from agent.config import load
        from agent.index.census import calls_of
        from agent.routes_seen import routes_seen, unmapped

        loaded = load(config)
        follower, _ = _opened(loaded)
        seen = routes_seen(calls_of(follower), loaded.trunk_map())
        if only_unmapped:
            seen = unmapped(seen)
        if as_json:
            click.echo(json.dumps([_route_json(route) for route in seen], indent=2))
        else:
            console().print(_routes_table(seen, only_unmapped=only_unmapped))


@click.command()
@CONFIG
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--from", "begin", type=Moment(past=True), help="Show hours from then on; by default the last 24.")
@click.option("--until", type=Moment(past=False), help="Show hours until then; by default until now.")
@AS_JSON
def coverage(
    config: Path, sources: tuple[str, ...], begin: datetime | None, until: datetime | None, as_json: bool
) -> None:
    """Show what each source covers, hour by hour: records, gaps, and how late they came.

    A gap is an hour without records where at least 20 were to be expected: the median of the same hour one day, one
    week and two weeks before and after, or, where fewer than two of these are covered, the lesser of the nearest hours
    with records before and after. Lateness is that of files: when a file was indexed, less the time of its last call.

    \b
    hopback-agent coverage /etc/hopback/agent.toml
    hopback-agent coverage /etc/hopback/agent.toml switch-1 --from 2026-11-01T00:00:00Z --json
    """
    with failures():
        from agent.config import load
        from agent.hours import count_hours, never_indexed, source_hours
        from agent.index.census import calls_of

        loaded = load(config)
        follower, manifest = _opened(loaded)
        end = until or datetime.now(UTC)
        start = begin or end - _HOURS_SHOWN
        if start >= end:
            raise click.UsageError("--from must lie before --until.")
        indexed = {covered.source: covered for covered in follower.state.coverage.sources}
        configured = [source.name for source in loaded.sources]
        if sources:
            names = [source.name for source in chosen_sources(loaded, sources)]
        else:
            names = sorted({*configured, *indexed})
        counts = count_hours(calls for calls in calls_of(follower) if calls.source in names)
        found = [
            source_hours(
                indexed.get(name) or never_indexed(name),
                counts.get(name, {}),
                [entry for entry in manifest.files.values() if entry.source == name],
                start,
                end,
            )
            for name in names
        ]
        if as_json:
            click.echo(json.dumps(_coverage_json(found, configured), indent=2))
        else:
            console().print(_coverage_table(found, configured))


# --- how it is shown


def _bytes(size: int | None) -> str | None:
    if size is None:
        return None
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 10_000 or unit == "GB":
            return f"{size:,} {unit}"
        size = round(size / 1000)
    return None


def _a_call(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _totals_json(total: Totals) -> dict[str, Any]:
    from agent.tables import iso

    return {
        **asdict(total),
        "earliest": iso(total.earliest),
        "latest": iso(total.latest),
        "bytes_a_call": total.bytes_a_call,
    }


def _stats_json(found: Stats) -> dict[str, Any]:
    return {
        "generation": found.generation,
        "records": found.records,
        "files": found.files,
        "bytes_a_call": found.bytes_a_call,
        "segments_a_day": {"p50": found.segments_a_day[0], "max": found.segments_a_day[1]},
        "disk": found.disk,
        "memory": {"held_of_segments": found.total.in_memory, "resident": found.resident},
        "total": _totals_json(found.total),
        "sources": {source: _totals_json(total) for source, total in found.sources.items()},
    }


def _stats_table(found: Stats) -> RenderableType:
    from rich.console import Group

    from agent.tables import new_table, row, spaced, time_text

    total = found.total
    whole = new_table("Index", "", "", numbers=("",))
    whole.show_header = False
    rows: list[tuple[str, object]] = [
        ("records delivered", f"{found.records:,} in {found.files:,} files"),
        ("calls", f"{total.calls:,}"),
        ("rows", f"{total.rows:,}"),
        ("days", f"{total.days:,}"),
        ("segments", f"{total.segments:,}"),
        ("segments a day", f"{found.segments_a_day[0]:,}, at most {found.segments_a_day[1]:,}"),
        ("bytes a call", _a_call(found.bytes_a_call)),
        *((f"{kind} on disk", _bytes(size)) for kind, size in found.disk.items()),
        ("held in memory of segments", _bytes(total.in_memory)),
        ("memory of this process", _bytes(found.resident)),
        ("commits", f"{found.generation:,}"),
    ]
    for name, value in rows:
        row(whole, name, value)
    numbers = ("calls", "rows", "days", "segments", "bytes a call")
    by_source = new_table("Sources", "source", *numbers, "from", "to", numbers=numbers)
    for source, some in found.sources.items():
        span = time_text(some.earliest), time_text(some.latest)
        counts = (f"{count:,}" for count in (some.calls, some.rows, some.days, some.segments))
        row(by_source, source, *counts, _a_call(some.bytes_a_call), *span)
    return Group(*spaced([whole, by_source]))


def _segment_json(fact: SegmentFacts) -> dict[str, Any]:
    times = {"day": f"{fact.day:%Y-%m-%d}", "earliest": fact.earliest.isoformat(), "latest": fact.latest.isoformat()}
    return {**asdict(fact), **times}


def _segments_table(facts: list[SegmentFacts]) -> RenderableType:
    from agent.tables import new_table, row

    numbers = ("rows", "bytes", "files")
    table = new_table("Segments", "name", "source", *numbers, "calls from, to", numbers=numbers)
    for fact in facts:
        row(
            table,
            fact.name,
            fact.source,
            f"{fact.rows:,}",
            f"{fact.bytes:,}",
            f"{fact.files:,}",
            f"{fact.earliest:%H:%M:%SZ} {fact.latest:%H:%M:%SZ}",
        )
    return table


def _route_json(route: RouteSeen) -> dict[str, Any]:
    return {
        "direction": route.direction.value,
        "trunk": route.trunk,
        "address": route.address,
        "party": str(route.party),
        "calls": route.calls,
        "first": route.first.isoformat(),
        "last": route.last.isoformat(),
        "sources": list(route.sources),
    }


def _routes_table(seen: list[RouteSeen], *, only_unmapped: bool) -> RenderableType:
    from rich.text import Text

    from agent.tables import new_table, row, time_text

    if only_unmapped and not seen:
        return Text("Every trunk and address of the indexed calls is in the trunk map.", style="green")
    title = "Not in the trunk map" if only_unmapped else "Trunks and addresses"
    columns = "direction", "trunk or address", "party", "calls", "first", "last", "sources"
    table = new_table(title, *columns, numbers=("calls",))
    for route in seen:
        times = time_text(route.first), time_text(route.last)
        where = " ".join(part for part in (route.trunk, route.address) if part) or None
        row(table, route.direction.value, where, str(route.party), f"{route.calls:,}", *times, ", ".join(route.sources))
    return table


def _lateness_json(late: Lateness | None) -> dict[str, Any] | None:
    if late is None:
        return None
    return {"files": late.files, "p50_s": late.p50.total_seconds(), "max_s": late.longest.total_seconds()}


def _coverage_json(found: list[SourceHours], configured: list[str]) -> dict[str, Any]:
    from agent.hours import RULE
    from agent.tables import iso

    return {
        "rule": RULE,
        "sources": [
            {
                "source": source.covered.source,
                "configured": source.covered.source in configured,
                "records": source.covered.records,
                "files": source.covered.files,
                "covered_from": iso(source.covered.covered_from),
                "watermark": iso(source.covered.watermark),
                "lost": [{"from": iso(begin), "to": iso(end)} for begin, end in source.covered.lost],
                "lateness": _lateness_json(source.lateness),
                "gaps": [{"from": iso(gap.begin), "to": iso(gap.end), "expected": gap.expected} for gap in source.gaps],
                "hours": [
                    {
                        "hour": iso(hour.begin),
                        "records": hour.records,
                        "gap": hour.is_gap,
                        "lateness": _lateness_json(hour.lateness),
                    }
                    for hour in source.hours
                ],
            }
            for source in found
        ],
    }


def _span(time: timedelta) -> str:
    seconds = round(time.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 72 else f"{round(hours / 24)} d"


def _coverage_table(found: list[SourceHours], configured: list[str]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from agent.tables import new_table, row, spaced, time_text

    numbers = ("records", "files", "late p50", "late max")
    whole = new_table("Coverage", "source", "from", "complete until", *numbers, "state", numbers=numbers)
    notes: list[RenderableType] = []
    hours = new_table("Hours", "source", "hour", "records", "late p50", "late max", "", numbers=numbers)
    for source in found:
        covered = source.covered
        late = source.lateness
        states = [
            *(["not in the configuration"] if covered.source not in configured else []),
            *(["nothing indexed"] if covered.watermark is None and not covered.files else []),
            *([f"{len(source.gaps)} gaps"] if source.gaps else []),
            *([f"{len(covered.lost)} losses"] if covered.lost else []),
        ]
        row(
            whole,
            covered.source,
            time_text(covered.covered_from),
            time_text(covered.watermark),
            f"{covered.records:,}",
            f"{covered.files:,}",
            late and _span(late.p50),
            late and _span(late.longest),
            ", ".join(states) or "whole",
        )
        for gap in source.gaps:
            span = f"{time_text(gap.begin)} to {time_text(gap.end)}"
            notes.append(Text(f"{covered.source}: no records from {span}, expected {gap.expected:,}", style="yellow"))
        for begin, end in covered.lost:
            lost = f"{covered.source}: records from {time_text(begin)} to {time_text(end)} were lost: run verify"
            notes.append(Text(lost, style="red"))
        for hour in source.hours:
            late = hour.lateness
            spans = late and _span(late.p50), late and _span(late.longest)
            mark = "gap" if hour.is_gap else ""
            row(hours, covered.source, f"{hour.begin:%Y-%m-%d %H:00Z}", f"{hour.records:,}", *spans, mark)
    return Group(*spaced([whole, *([Group(*notes)] if notes else []), *([hours] if hours.row_count else [])]))
