"""`python -m deploy.lab`: demo, generate, evaluate, accuracy."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from deploy.lab.ingredients import ALL, Ingredient, UnknownIngredientError, parse_ingredient


def _console() -> Console:
    """A terminal as wide as it is, up to what reads well; anything else gets plain lines."""
    console = Console(highlight=False)
    return Console(highlight=False, width=min(console.width, 116) if console.is_terminal else 116)


class _Ingredient(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4, here from 8.1
    name = "INGREDIENT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Ingredient:
        try:
            return parse_ingredient(str(value))
        except UnknownIngredientError as error:
            self.fail(str(error), param, ctx)


def _chosen(without: tuple[Ingredient, ...], only: tuple[Ingredient, ...]) -> frozenset[Ingredient]:
    if without and only:
        raise click.UsageError("--without and --only exclude each other")
    return frozenset(only) if only else ALL - set(without)


_calls = click.option("--calls", type=click.IntRange(1, 200_000), default=1000, show_default=True)
_seed = click.option("--seed", type=int, default=1, show_default=True)
_without = click.option("--without", type=_Ingredient(), multiple=True, help="Leave this pitfall out; repeatable.")
_only = click.option("--only", type=_Ingredient(), multiple=True, help="Put in this pitfall alone; repeatable.")
_now = click.option(
    "--now",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    help="The lab's present, UTC; the default is now. The same seed and present give the same lab.",
)


def _must_be_empty(directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()):
        raise click.UsageError(f"{directory} is not empty: a lab gets a directory of its own")


def _present(now: datetime | None) -> datetime:
    return now.replace(tzinfo=UTC) if now is not None else datetime.now(UTC)


class _Commands(click.Group):
    """Takes in `accuracy`, which is a module of its own, when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "accuracy"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "accuracy":
            from deploy.lab.accuracy import main as accuracy

            return accuracy
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A whole industry to try hopback on, with known truth."""


@main.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Leave the lab in this directory.")
@_seed
def demo(keep: Path | None, seed: int) -> None:
    """Trace robocalls through a small industry of agents, and explain every step."""
    from deploy.lab import demo as demonstration
    from deploy.lab.fleet import FleetError

    if keep is not None:
        _must_be_empty(keep)
    try:
        sys.exit(demonstration.main(_console(), keep, seed))
    except KeyboardInterrupt:
        raise click.Abort from None
    except FleetError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where to; made if need be."
)
@_calls
@_seed
@_without
@_only
@_now
@click.option(
    "--list", "show_list", is_flag=True, is_eager=True, expose_value=False, callback=lambda c, _p, v: _list(c, v)
)
def generate(
    out: Path,
    calls: int,
    seed: int,
    without: tuple[Ingredient, ...],
    only: tuple[Ingredient, ...],
    now: datetime | None,
) -> None:
    """Write a lab: every provider's records and agent.toml, a coordinator, the calls to trace, and the truth."""
    from deploy.lab import build
    from deploy.lab.fleet import FleetError, command, run
    from deploy.lab.people import People
    from deploy.lab.planner import generate as plan
    from deploy.lab.roster import build as build_industry

    _must_be_empty(out)
    industry = build_industry(seed, _present(now), _chosen(without, only))
    try:
        run([*command("hopback-coordinator"), "init", str(out / "coordinator")])
    except FleetError as error:
        raise click.ClickException(str(error)) from None
    people = People.of(out / "coordinator")
    lab = build.write(out, industry, plan(industry, calls), people=people, port=build.FIRST_PORT)
    rows = sum(len(source.expected) for own in lab.sources.values() for source in own)
    click.echo(f"""\
{out}: {len(lab.truths):,} calls, {rows:,} records at {len(lab.sources)} providers. Next:
  {out}/start                     index all, and run all agents until Ctrl-C
  hopback-coordinator import {out}/calls.csv --config {out}/coordinator/coordinator.toml \\
      --submit-key {out}/coordinator/people/ann.key --approve-key {out}/coordinator/people/bob.key
  less {out}/truth.jsonl          the answer sheet""")


def _list(context: click.Context, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    for ingredient in Ingredient:
        click.echo(f"{ingredient.value:<20}{ingredient.summary}")
    context.exit()


@main.command()
@_calls
@_seed
@_without
@_only
@_now
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there, as JSON.")
def evaluate(
    calls: int,
    seed: int,
    without: tuple[Ingredient, ...],
    only: tuple[Ingredient, ...],
    now: datetime | None,
    out: Path | None,
) -> None:
    """Trace every call of a generated lab in this process, and say how often it was right."""
    import tempfile

    from deploy.lab import build, figures
    from deploy.lab.evaluate import close_offices, judged, open_offices, trace_all
    from deploy.lab.judge import summary
    from deploy.lab.people import People
    from deploy.lab.planner import generate as plan
    from deploy.lab.roster import build as build_industry

    industry = build_industry(seed, _present(now), _chosen(without, only))
    with tempfile.TemporaryDirectory(prefix="hopback-lab-") as name:
        people = People.made(Path(name) / "coordinator", industry.calendar.now)
        lab = build.write(Path(name), industry, plan(industry, calls), people=people)
        offices = open_offices(lab)
        try:
            verdicts = judged(trace_all(lab, offices))
        finally:
            close_offices(offices)
    counted = summary(verdicts)
    if out is not None:
        out.write_text(json.dumps(counted, indent=1) + "\n")
    figures.show(_console(), counted, verdicts)
    sys.exit(1 if counted["wrong_hops"] else 0)


if __name__ == "__main__":
    main()
