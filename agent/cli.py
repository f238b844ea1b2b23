"""`hopback-agent`: from a provider's call records to answers.

Every command ends with 0, or with 2 (the command line is wrong), 78 (the configuration is), 65 (the records are), 69
(the index can't be read or written, or the address can't be listened on) or 70 (a defect of the program), after saying
what is wrong and what to do; `verify` with 1 when it finds the index broken.
Results go to standard output, everything else to standard error. What a command needs is imported when it runs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agent.commands.audit import audit
from agent.commands.frame import AS_JSON, CONFIG, EXIT_CONFIG, EXIT_DATA, chosen_sources, console, fail, failures
from agent.commands.identity import enrol, identity
from agent.commands.insight import coverage, segments, stats, trunks
from agent.commands.maintain import maintain as maintain_command
from agent.commands.review import review
from agent.commands.verify import verify
from agent.commands.watch import watch
from agent.params import Duration, Moment, Number, Provider
from protos.program import Program

if TYPE_CHECKING:
    from rich.console import Console

    from agent.config import AgentConfig
    from agent.service import Desk
    from protos.e164 import E164
    from protos.identity import ProviderId

_WAIT_FOR_WRITER_S: Final = 60.0
_FOR_ONE_QUESTION: Final = timedelta(minutes=1)


@click.group(
    cls=Program,
    extra="agent",
    configured="hopback-agent run agent.toml",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="hopback")
def main() -> None:
    """The agent beside a provider's call records: it answers who handed a call over, and nothing else.

    \b
    hopback-agent init /etc/hopback --provider birch
    hopback-agent check-config /etc/hopback/agent.toml
    hopback-agent index /etc/hopback/agent.toml
    hopback-agent lookup /etc/hopback/agent.toml --called +12025550143 --at 2026-11-20T15:00:00Z
    hopback-agent run /etc/hopback/agent.toml

    \b
    Shell completion (or zsh_source, fish_source):
    eval "$(_HOPBACK_AGENT_COMPLETE=bash_source hopback-agent)"
    """


@main.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--provider", type=Provider(), default="example", show_default=True, help="This provider's id.")
def init(directory: Path, provider: ProviderId) -> None:
    """Write a commented agent.toml and a fresh root key into DIRECTORY; nothing is overwritten.

    \b
    hopback-agent init /etc/hopback --provider birch
    """
    from importlib.resources import files

    from agent.index.root_key import create_root_key_file

    config, key = directory / "agent.toml", directory / "root.key"
    if there := [str(path) for path in (config, key) if path.exists()]:
        raise click.UsageError(f"There is {' and '.join(there)} already: choose another directory, or move it away.")
    template = files("agent").joinpath("template.toml").read_text("utf-8")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        create_root_key_file(key)
        with config.open("x", encoding="utf-8") as file:
            file.write(template.replace("{provider}", provider))
    except OSError as error:
        raise click.UsageError(f"{error.filename or directory} can't be written: {error.strerror}.") from None
    click.echo(f"{config}: complete it, then run: hopback-agent check-config {config}")
    click.echo(f"{key}: the index's root key. Keep a copy elsewhere; without it the index is worthless.")


@main.command("check-config")
@CONFIG
@AS_JSON
def check_config(config: Path, as_json: bool) -> None:
    """Say everything that is wrong with CONFIG, or what it comes to: identity, sources, trunks, coverage.

    \b
    hopback-agent check-config /etc/hopback/agent.toml
    """
    with failures():
        from agent import display
        from agent.config import load
        from agent.inspection import inspect
        from agent.mistakes import ConfigError

        loaded = load(config)
        found = inspect(loaded, os.environ, datetime.now(UTC))
        if as_json:
            click.echo(json.dumps(display.inspection_json(loaded, found), indent=2))
            sys.exit(EXIT_CONFIG if found.mistakes else 0)
        if found.mistakes:
            raise ConfigError(str(config), found.mistakes)
        console().print(display.inspection(loaded, found))


@main.command()
@CONFIG
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--complete-until",
    type=Moment(past=True),
    help="The sources have all records until then; by default until their last call.",
)
@click.option(
    "--complete-from",
    type=Moment(past=True),
    help="The sources have all records from then on; by default from their first call.",
)
@click.option("--again", is_flag=True, help="Read files anew that are indexed already.")
@click.option(
    "--old-rows",
    type=click.Choice(["refuse", "keep", "forget"]),
    default="refuse",
    show_default=True,
    help="What becomes of rows that should be read anew when some of their files are gone.",
)
@AS_JSON
def index(
    config: Path,
    sources: tuple[str, ...],
    complete_until: datetime | None,
    complete_from: datetime | None,
    again: bool,
    old_rows: str,
    as_json: bool,
) -> None:
    """Index the files of all sources in CONFIG, or of each SOURCE named; a running agent serves them at once.

    Files that are indexed already are left alone; of one that has grown only new lines are read where lines are
    records. Rows that can't be read are counted by reason and kept aside. What is older than the retention is
    destroyed.

    \b
    hopback-agent index /etc/hopback/agent.toml
    hopback-agent index /etc/hopback/agent.toml switch-1 --complete-until 2026-11-22T06:00:00Z
    """
    with failures():
        from agent import display
        from agent.config import load
        from agent.ingest import OldRows, ingest
        from agent.inspection import read_keys
        from agent.maintenance import maintain
        from agent.places import PlaceError, all_files

        loaded = load(config)
        chosen = chosen_sources(loaded, sources)
        keys = read_keys(loaded)
        errors = console(stderr=True)
        reports = []
        empty = False
        with ExitStack() as stack, _progress(errors, quiet=as_json) as told:
            for source in chosen:
                try:
                    files = stack.enter_context(all_files(source))
                except PlaceError as error:
                    fail(f"{source.name}: {error}")
                if not files:
                    errors.print(f"{source.name}: no file matches {source.path}", style="yellow", markup=False)
                    empty = True
                report = ingest(
                    files,
                    source,
                    loaded.formats(),
                    loaded.index.directory,
                    keys,
                    datetime.now(UTC),
                    complete_from=complete_from,
                    complete_until=complete_until,
                    again=again,
                    old_rows=OldRows(old_rows),
                    retention=loaded.index.retention,
                    progress=told,
                    patience_s=_WAIT_FOR_WRITER_S,
                )
                stack.close()
                reports.append(report)
            maintain(loaded.index.directory, keys, datetime.now(UTC), loaded.index.retention)
        if as_json:
            click.echo(json.dumps(display.ingest_json(reports), indent=2))
        else:
            console().print(display.ingest_table(reports))
        failed = [file for report in reports for file in report.failed]
        if as_json:
            for file in failed:
                errors.print(file.problem, style="red", markup=False)
        if failed or empty:
            sys.exit(EXIT_DATA)


@main.command()
@CONFIG
@click.option("--called", type=Number(), required=True, help="The number that was called.")
@click.option("--at", type=Moment(past=True), required=True, help="When the call was set up, with zone.")
@click.option("--named-by", type=Provider(), help="The downstream provider; leave out if the call ended here.")
@click.option("--calling", type=Number(), help="The caller ID, as a hint.")
@click.option("--window", type=Duration(), default="60s", show_default=True, help="How far a record may lie off.")
@AS_JSON
def lookup(
    config: Path,
    called: E164,
    at: datetime,
    named_by: ProviderId | None,
    calling: E164 | None,
    window: timedelta,
    as_json: bool,
) -> None:
    """Answer one question here and explain it: records considered, why this one, what would be disclosed.

    The explanation is for you alone; of all this the coordinator sees only the last line.

    \b
    hopback-agent lookup agent.toml --called +12025550143 --at 2026-11-20T15:00:00Z
    hopback-agent lookup agent.toml --called +12025550143 --at 2026-11-20T10:00:00-05:00 --named-by cedar
    """
    with failures():
        from uuid import uuid4

        from agent import display
        from agent.config import load
        from agent.explain import explanation
        from protos.types import WINDOW_CAP, Question

        if window > WINDOW_CAP:
            raise click.BadParameter("the protocol's cap is 300s.", param_hint="--window")
        loaded = load(config)
        now = datetime.now(UTC)
        question = Question(
            question_id=uuid4(),
            target=loaded.me,
            called=called,
            at=at,
            window=window,
            named_by=named_by,
            calling=calling,
            deadline=now + _FOR_ONE_QUESTION,
        )
        found = _desk(loaded).consult(question)
        if as_json:
            click.echo(json.dumps(explanation(found, now), indent=2))
        else:
            console().print(display.consultation(found))


@main.command()
@CONFIG
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write host:port there once questions are answered; removed at the end.",
)
def run(config: Path, ready_file: Path | None) -> None:
    """Answer questions until SIGTERM or SIGINT. Prints one line when it serves.

    \b
    hopback-agent run /etc/hopback/agent.toml
    """
    with failures():
        import asyncio

        from agent.answering import open_answering
        from agent.config import load
        from agent.identity import open_identity
        from agent.inspection import read_keys, signed_mistakes
        from agent.journal import Journal
        from agent.mistakes import ConfigError
        from agent.notes import Notes
        from agent.run import configure_log, serve
        from agent.upkeep import Upkeep

        loaded = load(config)
        if mistakes := signed_mistakes(loaded):
            raise ConfigError(str(config), mistakes)
        configure_log(loaded.log.format, loaded.log.level)
        desk = _desk(loaded)
        identity = open_identity(loaded, desk.clock)
        notes = Notes(Journal(loaded.explain.directory) if loaded.keeps_explanations else None, desk.clock)

        async def serving() -> None:
            command = [sys.executable, "-P", "-m", "agent.cli", "maintain", str(config.resolve())]
            # an agent of stores alone keeps nothing on its disk
            kept = loaded.sources or not loaded.stores
            upkeep = Upkeep(command, loaded.index.upkeep.total_seconds()) if kept else None
            on_broken = None if upkeep is None else upkeep.suspect
            answering = open_answering(
                loaded,
                lambda: read_keys(loaded),
                desk,
                notes,
                is_revoked=identity.is_revoked,
                on_broken=on_broken,
            )
            evidence = None if answering.evidence is None else answering.evidence.key
            try:
                ways, beside = (
                    identity.ways(answering.handlers),
                    [*identity.beside(evidence, answering.roots), answering.follow_decisions()],
                )
                await serve(loaded.me, answering.handlers, ways, ready_file, upkeep, beside)
            finally:
                await answering.close()

        asyncio.run(serving())


def _desk(config: AgentConfig) -> Desk:
    from agent.service import Desk, Terms
    from agent.stores.opened import open_records

    def now() -> datetime:
        return datetime.now(UTC)

    terms = Terms(
        me=config.me,
        trunks=config.trunk_map(),
        matching=config.match_settings(),
        window_cap=config.match.window_cap,
        retention=config.retention(),
        sources=frozenset(source.name for source in config.all_sources()),
    )
    opened = open_records(config, os.environ, now)
    click.get_current_context().call_on_close(opened.close)
    return Desk(terms, opened.records, now, opened.threads)


@contextmanager
def _progress(console: Console, *, quiet: bool) -> Iterator[Any]:
    """A callback that shows how many calls of which file are read; nothing is shown where nobody looks."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("reading")
        yield lambda path, calls: progress.update(task, description=f"{path.name}: {calls:,} calls")


for command in (audit, review, maintain_command, verify, stats, segments, trunks, coverage, watch, enrol, identity):
    main.add_command(command)


if __name__ == "__main__":
    main()
