"""`python -m tests.simulator`: the coordinator against a whole industry; see `make simulate`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from coordinator.runtime import settle_memory
from tests.simulator.report import Report, shown, table
from tests.simulator.simulation import REGISTRY, Terms, simulate, usual_terms

MANY = 5000


@click.command()
@click.option("--providers", type=int, help="Providers in the industry.  [default: 40]")
@click.option("--calls", type=int, help="Calls to trace.  [default: 30]")
@click.option("--seed", default=1, show_default=True, help="The first seed.")
@click.option("--seeds", default=1, show_default=True, help="How many seeds, one after the other.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a seed.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write here all that happened, of the last seed.")
def main(providers: int | None, calls: int | None, seed: int, seeds: int, as_json: bool, trace: Path | None) -> None:
    """Trace CALLS through PROVIDERS of all habits over a bad network, and compare with the truth.

    The same seed does the same, to the byte; without PROVIDERS and CALLS it does what it does in CI. Exit code 1:
    something happened that must never happen.

    \b
    python -m tests.simulator --providers 7000 --calls 100000
    python -m tests.simulator --seeds 300
    python -m tests.simulator --seed 42 --trace 42.txt
    """
    own = None
    if providers is not None or calls is not None:
        own = replace(REGISTRY if (calls or 0) >= MANY else Terms(), providers=providers or 40, calls=calls or 30)
    begun, reports = time.perf_counter(), []
    settle_memory()
    for number in range(seed, seed + seeds):
        report = _shown_running(number, own or usual_terms(number), keep_trace=trace is not None, quiet=as_json)
        reports.append(report)
        if as_json:
            click.echo(json.dumps(shown(report)))
    if trace is not None:
        trace.write_bytes(reports[-1].trace)
    if not as_json:
        Console().print(table(reports, time.perf_counter() - begun))
        for report in reports:
            for line in report.broken[:10]:
                click.echo(f"seed {report.seed}: {line}")
    sys.exit(any(report.broken for report in reports))


def _shown_running(seed: int, terms: Terms, *, keep_trace: bool, quiet: bool) -> Report:
    """Run one seed, with a bar of how many calls are closed where somebody watches."""
    columns = (
        TextColumn("seed {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[passed]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
        bar = bars.add_task(str(seed), total=terms.calls, passed="")

        def progress(closed: int, passed: timedelta) -> None:
            hours = passed / timedelta(hours=1)
            bars.update(bar, completed=closed, passed=f"{hours:.1f} h in the run")

        return simulate(seed, terms, keep_trace=keep_trace, progress=progress)


if __name__ == "__main__":
    main()
