"""`hopback-coordinator campaign`: calls in bulk, and what their chains have in common."""

from __future__ import annotations

import csv
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.frame import (
    BAD_DATA,
    BadData,
    config_option,
    json_option,
    now,
    opened_engine,
    opened_store,
    show_rich,
    snapshot,
    write_json,
)
from coordinator.commands.registry import operator_option
from coordinator.commands.tables import iso, minute, table
from protos.program import Commands

if TYPE_CHECKING:
    from coordinator.campaigns.book import CampaignBook
    from coordinator.campaigns.common import Findings, Share
    from coordinator.tracing.chain import Call, Traceback
    from coordinator.tracing.sisters import Doubt, Suggestion

MOST_SHOWN = 10


@click.group(cls=Commands)
def campaign() -> None:
    """Campaigns: many calls of one script, traced one by one, laid over each other.

    \b
    hopback-coordinator campaign import auto-warranty calls.parquet --untraced fresh.csv
    hopback-coordinator order new --file fresh.csv --campaign auto-warranty ...
    hopback-coordinator campaign show auto-warranty
    """


@campaign.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), help="Where the ending doesn't tell.")
@click.option("--description", default="", help="What is said in these calls.")
@click.option("--untraced", type=click.Path(dir_okay=False, path_type=Path), help="Write the calls still to be traced.")
@operator_option
@json_option
@config_option
def import_campaign(
    name: str,
    file: Path,
    form: str | None,
    description: str,
    untraced: Path | None,
    operator: str,
    as_json: bool,
    config_path: Path,
) -> None:
    """Add the calls of FILE to campaign NAME: CSV, JSON lines or Parquet; called, at, terminating[, ...].

    Further columns: calling, window, identity (the call's Identity header, STIR/SHAKEN). Reports of one call (same
    called number and terminating provider, times within the window, caller IDs that don't contradict) are one call.
    Every row that is none is named with its line and the reason; then the exit code is 65.
    """
    from coordinator.campaigns.files import read_reports
    from coordinator.ordering.intake import CallsFileError, Intake, RejectedCall
    from coordinator.present.chains import counted

    _named(name)
    with opened_store(config_path) as (loaded, store):
        registry, defaults = snapshot(store), loaded.config.trace
    with opened_engine(config_path) as (_, engine):
        intake = Intake(registry, now(), defaults.window, defaults.hop_limit)
        try:
            rows = list(read_reports(file, intake, form))
        except CallsFileError as error:
            raise BadData(f"{file}: {error}") from None
        rejected = [row for row in rows if isinstance(row, RejectedCall)]
        reports = [row for row in rows if not isinstance(row, RejectedCall)]
        book = _book(engine)
        taken = book.take(name, description, reports, operator, now())
        still = book.untraced(name)
    for row in rejected:
        click.echo(f"{file}:{row.line}: {'; '.join(row.problems)}", err=True)
    if untraced is not None:
        _write(untraced, still)
    counts = {
        "new": len(taken.new),
        "repeated": taken.repeated,
        "rejected": len(rejected),
        "untraced": len(still),
    }
    if as_json:
        write_json(counts)
    else:
        click.echo(
            f"{counted(counts['new'], 'new call')}, {counted(counts['repeated'], 'report')} of calls that are there, "
            f"{counted(counts['rejected'], 'row')} rejected; of {name}, {counts['untraced']:,} are still to be traced."
        )
    if rejected:
        sys.exit(BAD_DATA)


@campaign.command("list")
@json_option
@config_option
def list_campaigns(as_json: bool, config_path: Path) -> None:
    """List the campaigns, and how far they are."""
    with opened_engine(config_path) as (_, engine):
        found = _book(engine).summaries()
    if as_json:
        names = ("name", "description", "calls", "reports", "traced", "finished")
        write_json([{key: getattr(one, key) for key in names} | {"created_at": iso(one.created_at)} for one in found])
    elif found:
        rows = [
            (
                one.name,
                minute(one.created_at),
                f"{one.calls:,}",
                f"{one.traced:,}",
                f"{one.finished:,}",
                one.description,
            )
            for one in found
        ]
        numbers = ("Calls", "Traced", "Finished")
        show_rich(table(("Campaign", "Since (UTC)", *numbers, "Description"), rows, right=numbers))
    else:
        click.echo("No campaigns yet: `hopback-coordinator order new --campaign NAME`, or `campaign import NAME FILE`.")


@campaign.command("show")
@click.argument("name")
@click.option("--untraced", type=click.Path(dir_okay=False, path_type=Path), help="Write the calls still to be traced.")
@json_option
@config_option
def show_campaign(name: str, untraced: Path | None, as_json: bool, config_path: Path) -> None:
    """Show what the chains of campaign NAME have in common: the common upstream, origins, gateways, supply."""
    from coordinator.campaigns.common import findings
    from coordinator.commands.stir import examiner_of
    from coordinator.present.explain import TITLES
    from coordinator.present.stir import recurring_rows, signer_rows, survey_json, survey_lines

    with opened_engine(config_path) as (loaded, engine):
        book = _book(engine)
        one = next((summary for summary in book.summaries() if summary.name == name), None)
        if one is None:
            raise click.UsageError(f"no campaign is called {name!r}: see `hopback-coordinator campaign list`")
        found = findings(book.paths(name))
        signed = examiner_of(loaded, engine).survey(book.tracebacks(name))
        if untraced is not None:
            _write(untraced, book.untraced(name))
    if as_json:
        write_json(
            {"name": name, "calls": one.calls, "reports": one.reports, **_json_of(found), "stir": survey_json(signed)}
        )
        return
    click.echo(f"{name}: {one.calls:,} calls, {found.calls:,} traced, {found.finished:,} to the end.")
    if one.calls > one.traced:
        click.echo(f"{one.calls - one.traced:,} still to be traced: write them with --untraced FILE, and order them.")
    if found.nearest_common_upstream:
        click.echo(f"Common upstream: every path leads through {', then '.join(found.common)}.")
    elif found.finished:
        click.echo("Common upstream: none; the paths have nobody in common.")
    if len(found.tail) > 1:
        click.echo(f"They share their end: {' <- '.join(found.tail)}")
    for title, shares in (
        ("Origins", found.origins),
        ("Gateways", found.gateways),
        ("Foreign carriers", found.foreign),
        ("Through", found.through),
    ):
        if shares:
            show_rich(table((title, "Calls", "Share"), _share_rows(shares), right=("Calls", "Share")))
    if found.supply:
        rows = [(up, down, f"{count:,}") for up, down, count in found.supply[:MOST_SHOWN]]
        show_rich(table(("Supplied by", "To", "Calls"), rows, right=("Calls",)))
    if found.stopped:
        ends = [(TITLES[status], provider, f"{count:,}") for status, provider, count in found.stopped[:MOST_SHOWN]]
        show_rich(table(("Stopped as", "At", "Calls"), ends, right=("Calls",)))
        click.echo(f"Which: `hopback-coordinator list --campaign {shlex.quote(name)} --status STATUS`; then `show ID`.")
    if signed.headers:
        click.echo("\n".join(survey_lines(signed)))
        columns = ("Signer", "Calls", "A", "B", "C", "Verified", "Agrees", "Revoked")
        show_rich(table(columns, signer_rows(signed, MOST_SHOWN), right=columns[1:]))
    if signed.recurring:
        recurring = recurring_rows(signed, MOST_SHOWN)
        show_rich(table(("Signer", "Origid", "Calls", "Found at"), recurring, right=("Calls",)))


@campaign.command("suggest")
@click.argument("name")
@json_option
@config_option
def suggest_in_campaign(name: str, as_json: bool, config_path: Path) -> None:
    """Say what sister calls of campaign NAME suggest about hops that found several calls and named nobody.

    A suggestion is for an analyst, who may ask that provider by hand. It is no answer: no chain goes on from it. What
    sister calls settle for certain is asked by itself, and not in this list. Calls that may be one and the same,
    reported twice, are named.
    """
    from coordinator.tracing.elimination import repeated
    from coordinator.tracing.sisters import Suggestion, suggest

    with opened_store(config_path) as (_, store), opened_engine(config_path) as (_, engine):
        ids = _book(engine).tracebacks(name)
        found = [kept.traceback for kept in map(store.load, ids) if kept is not None]
    open_ones = [one for one in found if one.status.value == "ambiguous"]
    told = [(one, suggest(one, found)) for one in open_ones]
    same = {one.id: [str(other) for other in repeated(one, found)] for one in open_ones}
    if as_json:
        write_json([_suggestion_json(one, said) | {"perhaps_same": same[one.id]} for one, said in told])
        return
    if not told:
        click.echo(f"No call of {name} ends at a provider that found several calls.")
    for one, said in told:
        words = said.words if isinstance(said, Suggestion) else f"nothing: {said.value}."
        click.echo(f"{str(one.id)[:8]}  {words}")
        if same[one.id]:
            others = ", ".join(other[:8] for other in same[one.id])
            click.echo(f"{'':8}  Perhaps the same call, reported twice: {others}.")


def _suggestion_json(one: Traceback, said: Suggestion | Doubt) -> dict[str, Any]:
    from coordinator.tracing.sisters import Suggestion

    if not isinstance(said, Suggestion):
        return {"id": str(one.id), "suggested": None, "doubt": said.value, "facts": []}
    facts = [{"id": str(fact.traceback_id), "at": iso(fact.at), "upstream": fact.upstream} for fact in said.facts]
    return {"id": str(one.id), "provider": said.provider, "suggested": said.upstream, "doubt": None, "facts": facts}


def _book(engine: Any) -> CampaignBook:
    from coordinator.campaigns.book import CampaignBook

    return CampaignBook(engine)


def _named(name: str) -> None:
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise click.UsageError("a campaign's name is 1 to 200 printable characters")


def _write(path: Path, calls: list[tuple[Call, str]]) -> None:
    """The calls as `order new --file` reads them; telephone numbers stand in it, so that nobody else may read it."""
    try:
        path.touch(mode=0o600)
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["called", "at", "terminating", "calling", "window", "identity"])
            for call, identity in calls:
                window = f"{call.window.total_seconds():.3f}".rstrip("0").rstrip(".")
                rows.writerow([call.called, iso(call.at), call.terminating, call.calling or "", f"{window}s", identity])
    except OSError as error:
        raise BadData(f"{path} can't be written: {error.strerror}") from None


def _share_rows(shares: tuple[Share, ...]) -> list[tuple[str, str, str]]:
    return [(one.who, f"{one.paths:,}", f"{100 * one.share:.0f} %") for one in shares[:MOST_SHOWN]]


def _json_of(found: Findings) -> dict[str, Any]:
    def shares(some: tuple[Share, ...]) -> list[dict[str, Any]]:
        return [{"provider": one.who, "calls": one.paths, "share": round(one.share, 4)} for one in some]

    return {
        "traced": found.calls,
        "finished": found.finished,
        "nearest_common_upstream": found.nearest_common_upstream,
        "common": list(found.common),
        "tail": list(found.tail),
        "origins": shares(found.origins),
        "gateways": shares(found.gateways),
        "foreign": shares(found.foreign),
        "through": shares(found.through),
        "supply": [{"upstream": up, "downstream": down, "calls": count} for up, down, count in found.supply],
        "stopped": [{"status": status.value, "at": at, "calls": count} for status, at, count in found.stopped],
        "hops": [{"hops": hops, "calls": count} for hops, count in found.hops],
    }
