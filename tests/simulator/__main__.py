"""`python -m tests.simulator`: the coordinator against a whole industry; see `make simulate`."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.simulator.simulation import Report, Terms, shown, simulate


@click.command()
@click.option("--providers", default=40, show_default=True, help="Providers in the industry.")
@click.option("--calls", default=30, show_default=True, help="Calls to trace, all submitted at once.")
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--seeds", default=1, show_default=True, help="How many seeds, one after the other.")
@click.option("--kills", default=3, show_default=True, help="How often a coordinator is killed.")
@click.option("--coordinators", default=2, show_default=True, help="Coordinators over the one database.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a seed.")
def main(providers: int, calls: int, seed: int, seeds: int, kills: int, coordinators: int, as_json: bool) -> None:
    """Trace CALLS through PROVIDERS of all habits over a bad network, and compare with the truth.

    The same seed does the same, to the byte. Exit code 1: something happened that must never happen.

    \b
    python -m tests.simulator --providers 7000 --calls 100000
    python -m tests.simulator --seeds 300
    """
    terms = Terms(providers, calls, kills, coordinators, calm_after=timedelta(minutes=20))
    begun = time.perf_counter()
    reports = []
    console = Console(stderr=True)
    for number in track(range(seed, seed + seeds), "simulating", console=console, disable=as_json or seeds == 1):
        report = simulate(number, terms)
        reports.append(report)
        if as_json:
            click.echo(json.dumps(shown(report)))
    if not as_json:
        Console().print(_table(reports, time.perf_counter() - begun))
        for report in reports:
            for line in report.broken[:10]:
                click.echo(f"seed {report.seed}: {line}")
    sys.exit(any(report.broken for report in reports))


def _table(reports: list[Report], took: float) -> Table:
    statuses = sum((report.statuses for report in reports), Counter())
    total = sum(statuses.values())
    table = Table(title=f"{len(reports)} seeds, {total:,} calls, {took:.1f} s", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    for status, count in statuses.most_common():
        table.add_row(status.value.replace("_", " "), f"{count:,}")
    table.add_section()
    table.add_row("searches", f"{sum(report.searches for report in reports):,}")
    table.add_row("messages", f"{sum(sum(report.fates.values()) for report in reports):,}")
    table.add_row("coordinators killed", f"{sum(report.kills for report in reports):,}")
    table.add_row("[bold]must never happen, and did", f"{sum(len(report.broken) for report in reports):,}")
    return table


if __name__ == "__main__":
    main()
