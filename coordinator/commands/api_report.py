"""`hopback-coordinator api report`: the reports of `report`, of what one's role may see."""

from __future__ import annotations

from typing import Any

import click

from coordinator.callers import REPORTS
from coordinator.commands.api_line import Line, patience_option
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

    A requester's is made of its own tracebacks, a provider has its own scorecard alone.

    \b
    hopback-coordinator api report transparency --quarter 2026Q3 --format csv --out 2026Q3.csv
    hopback-coordinator api report participants --since 2026-01-01
    hopback-coordinator api report scorecard birch --since 2026-10-01 --json
    """


@report.command("transparency")
@form_options
@patience_option
@click.pass_obj
def transparency_report(line: Line, /, **asked: Any) -> None:
    """Who originated, let in, passed on and delivered the calls that were traced; how long it took; who was silent."""
    from coordinator.api.report_messages import period_message, transparency_of
    from hopback.v1 import report_pb2 as pb

    form = form_of(**asked)
    request = pb.TransparencyRequest(period=period_message(*form.period))
    found = line.patiently(lambda: line.call(REPORTS, "Transparency", request, pb.TransparencyResponse, long=True))
    show_transparency(*transparency_of(found), form)


@report.command("participants")
@form_options
@patience_option
@click.pass_obj
def participants_report(line: Line, /, **asked: Any) -> None:
    """Who answers and who doesn't, how often, and for which reasons."""
    from coordinator.api.report_messages import participants_of, period_message
    from hopback.v1 import report_pb2 as pb

    form = form_of(**asked)
    request = pb.ParticipantsRequest(period=period_message(*form.period))
    found = line.patiently(lambda: line.call(REPORTS, "Participants", request, pb.ParticipantsResponse, long=True))
    show_participants(*participants_of(found), form)


@report.command("scorecard")
@click.argument("provider", default="")
@form_options
@patience_option
@click.pass_obj
def scorecard_report(line: Line, /, provider: str, **asked: Any) -> None:
    """How PROVIDER, or everybody, answered: figures with the questions behind them (in JSON), and the label."""
    from coordinator.api.report_messages import period_message, scorecards_of
    from hopback.v1 import report_pb2 as pb

    form = form_of(**asked)
    request = pb.ScorecardsRequest(
        period=period_message(*form.period),
        provider=provider_id(provider) if provider else "",
        facts=form.form == "json",
    )
    messages = line.patiently(lambda: list(line.stream(REPORTS, "Scorecards", request, pb.ScorecardsResponse)))
    cards, names = scorecards_of(messages)
    if not cards and form.for_people:
        click.echo("Nobody that you may see was asked anything in that time.")
        return
    show_scorecards(cards, names, form, one=bool(provider) or len(cards) == 1)
