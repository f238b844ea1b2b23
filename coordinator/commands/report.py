"""`hopback-coordinator report`: transparency, participants and refusers, scorecards; as tables, CSV or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coordinator.commands.frame import config_option, now, opened_engine
from coordinator.commands.registry import provider_id
from coordinator.commands.reporting import (
    form_of,
    form_options,
    show_participants,
    show_scorecards,
    show_transparency,
)
from protos.program import Commands


@click.group(cls=Commands)
def report() -> None:
    """Reports about tracebacks of a period. No telephone number stands in any of them.

    \b
    hopback-coordinator report transparency --quarter 2026Q3 --format csv --out 2026Q3.csv
    hopback-coordinator report participants --since 2026-01-01
    hopback-coordinator report scorecard birch --since 2026-10-01 --format json
    """


@report.command("transparency")
@form_options
@config_option
def transparency_report(config_path: Path, **asked: Any) -> None:
    """Who originated, let in, passed on and delivered the calls that were traced; how long it took; who was silent."""
    from coordinator.reports.figures import transparency
    from coordinator.reports.reader import persons_between, provider_names
    from coordinator.reports.way_reader import ways_between

    form = form_of(**asked)
    with opened_engine(config_path) as (_, engine):
        names = provider_names(engine)
        ways, persons = ways_between(engine, *form.period), persons_between(engine, *form.period)
        found = transparency(ways, persons, *form.period, now())
    show_transparency(found, names, form)


@report.command("participants")
@form_options
@config_option
def participants_report(config_path: Path, **asked: Any) -> None:
    """Who answers and who doesn't, how often, and for which reasons."""
    from coordinator.reports.figures import participants
    from coordinator.reports.reader import persons_between, provider_names
    from coordinator.reports.way_reader import ways_between

    form = form_of(**asked)
    with opened_engine(config_path) as (_, engine):
        names = provider_names(engine)
        found = participants(ways_between(engine, *form.period), persons_between(engine, *form.period), now())
    show_participants(found, names, form)


@report.command("scorecard")
@click.argument("provider", default="")
@form_options
@config_option
def scorecard_report(provider: str, config_path: Path, **asked: Any) -> None:
    """How PROVIDER, or everybody, answered: figures with the questions behind them (in JSON), and the label."""
    from coordinator.commands.stir import examiner_of
    from coordinator.reports.figures import scorecards
    from coordinator.reports.reader import persons_between, provider_names
    from coordinator.reports.way_reader import ways_between

    form = form_of(**asked)
    wanted = provider_id(provider) if provider else None
    with opened_engine(config_path) as (loaded, engine):
        names, improper = provider_names(engine), examiner_of(loaded, engine).improper(*form.period)
        ways, persons = ways_between(engine, *form.period), persons_between(engine, *form.period)
        every = scorecards(ways, persons, now(), improper=improper)
    cards = [card for card in every if wanted in (None, card.provider)]
    if wanted is not None and not cards and wanted not in names:
        raise click.UsageError(f"{wanted} is not in the registry: see `hopback-coordinator registry list`")
    show_scorecards(cards, names, form, one=wanted is not None)
