"""`hopback-coordinator`: trace calls, look at tracebacks, keep the registry.

Output for people goes to standard output, with telephone numbers masked unless --show-numbers is given; with --json,
standard output holds JSON alone. Progress, rejected rows and errors go to standard error.

Exit codes: 0 done (whatever a traceback found), 2 wrong usage, 65 bad data (the good rows are done), 74 the database
failed, 78 bad configuration, 130 interrupted (what was begun is kept; `resume` goes on with it).

Heavy imports happen inside the commands, so that --help is quick.
"""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import click

from coordinator.commands.frame import (
    BAD_DATA,
    BadData,
    Misconfigured,
    config_option,
    find_traceback,
    json_option,
    loaded_config,
    now,
    numbers_option,
    office_of,
    opened_store,
    show_rich,
    text_of,
    write_json,
)
from coordinator.commands.registry import registry
from protos.program import Program


@click.group(
    cls=Program, extra="coordinator", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="hopback")
def main() -> None:
    """Trace illegal robocalls back to where they came from, by asking each provider's agent in turn.

    \b
    hopback-coordinator init lab && cd lab
    hopback-coordinator registry import providers.csv
    hopback-coordinator trace --called +12025550143 --at 2026-11-20T18:03:11Z --terminating ginkgo
    hopback-coordinator import calls.csv
    hopback-coordinator list
    hopback-coordinator show 6d2b5e1e

    \b
    Shell completion (or zsh_source, fish_source):
    eval "$(_HOPBACK_COORDINATOR_COMPLETE=bash_source hopback-coordinator)"
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # gRPC's own log lines would tear up the display


@main.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--name", default="lab", show_default=True, help="Name in the coordinator's certificate.")
def init(directory: Path, name: str) -> None:
    """Make a coordinator in DIRECTORY: configuration, database, and a lab authority for trying it out.

    \b
    hopback-coordinator init lab
    """
    from coordinator.config import FILE_NAME, TEMPLATE
    from coordinator.lab_ca import LabAuthority, LabAuthorityError
    from coordinator.store.engine import StoreError, engine_for, migrate
    from protos.identity import InvalidIdentityError, parse_provider_id

    try:
        parse_provider_id(name)
    except InvalidIdentityError as error:
        raise click.BadParameter(str(error), param_hint="--name") from None
    file = directory / FILE_NAME
    if file.exists():
        raise Misconfigured(f"{file} exists already; remove it, or choose another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        authority = LabAuthority.create(directory / "ca")
        authority.issue_coordinator(name, directory)
        database = directory / "coordinator.db"
        database.touch(mode=0o600)  # telephone numbers stand in it; what SQLite puts beside it takes this mode too
        with engine_for(f"sqlite:///{database.resolve()}") as engine:
            migrate(engine)
        file.write_text(TEMPLATE.format(name=name), encoding="utf-8")
    except (OSError, LabAuthorityError, StoreError) as error:
        raise Misconfigured(str(error)) from None
    made = (
        (file, "the configuration; read its comments"),
        (database, "tracebacks and the registry"),
        (directory / f"coordinator-{name}.crt", f"this coordinator's certificate: hopback://coordinator/{name}"),
        (directory / "ca", "the lab authority, for trying out only: its key is not protected"),
    )
    width = max(len(str(path)) for path, _ in made)
    for path, what in made:
        click.echo(f"{path!s:<{width}}  {what}")
    click.echo("""
Next, in that directory:
  hopback-coordinator lab-cert birch --out birch      a certificate for the agent of provider birch
  hopback-coordinator registry import providers.csv   who has which agent: id,name,endpoint
  hopback-coordinator trace --called +1... --at 2026-11-20T18:03:11Z --terminating birch""")


@main.command("lab-cert")
@click.argument("provider")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where to; the default is ./PROVIDER.")
@config_option
def lab_cert(provider: str, out: Path | None, config_path: Path) -> None:
    """Issue a certificate of the lab authority for PROVIDER, for trying out only.

    \b
    hopback-coordinator lab-cert birch --out ../birch
    """
    from coordinator.lab_ca import LabAuthority, LabAuthorityError
    from protos.identity import InvalidIdentityError

    loaded = loaded_config(config_path)
    try:
        authority = LabAuthority.open(loaded.path("ca"))
        issued = authority.issue_provider(provider, out or Path(provider))
    except InvalidIdentityError as error:
        raise click.BadParameter(str(error), param_hint="PROVIDER") from None
    except LabAuthorityError as error:
        raise Misconfigured(str(error)) from None
    click.echo(f"For trying out only, valid for 90 days:\n  {issued.certificate}\n  {issued.key}\n  {issued.roots}")


@main.command()
@config_option
def migrate(config_path: Path) -> None:
    """Bring the database to this version's tables; nothing is lost, and a second time does nothing."""
    from coordinator.store.engine import StoreError, engine_for
    from coordinator.store.engine import migrate as run

    loaded = loaded_config(config_path)
    try:
        with engine_for(loaded.store_url) as engine:
            run(engine)
    except StoreError as error:
        raise Misconfigured(f"{loaded.file}: store.url: {error}") from None
    click.echo("The database is up to date.")


@main.command()
@click.option("--called", required=True, help="Called number, E.164: +12025550143.")
@click.option("--at", required=True, help="When the call was set up, with zone: 2026-11-20T18:03:11Z.")
@click.option("--terminating", required=True, help="Id of the provider that delivered the call.")
@click.option("--calling", default="", help="Number shown as caller: a hint that is often false.")
@click.option("--window", default="", help="How far records may lie from --at, either side, e.g. 60s; 300s at most.")
@click.option("--hop-limit", type=click.IntRange(1, 50), help="How many providers may be asked at most.")
@json_option
@numbers_option
@config_option
def trace(
    called: str,
    at: str,
    terminating: str,
    calling: str,
    window: str,
    hop_limit: int | None,
    as_json: bool,
    show_numbers: bool,
    config_path: Path,
) -> None:
    """Trace one call, and watch the chain grow.

    \b
    hopback-coordinator trace --called +12025550143 --at 2026-11-20T18:03:11Z --terminating ginkgo
    hopback-coordinator trace --called +12025550143 --at 2026-11-20T13:03:11-05:00 --terminating ginkgo \\
        --calling +12025550199 --json
    """
    from coordinator.chain import Traceback
    from coordinator.intake import Intake, IntakeError

    with opened_store(config_path) as (loaded, store):
        office, defaults = office_of(loaded, store), loaded.config.trace
        intake = Intake(office.registry, now(), defaults.window, hop_limit or defaults.hop_limit)
        fields = {"called": called, "at": at, "terminating": terminating, "calling": calling, "window": window}
        try:
            call = intake.call(fields)
        except IntakeError as error:
            problems = [f"--{problem}" for problem in error.problems]
            raise click.UsageError("\n  ".join(["this call can't be traced:", *problems])) from None
        [kept] = store.submit([Traceback(uuid.uuid4(), call)], now(), lease=office.lease())
        office.trace_one(kept, as_json=as_json, show_numbers=show_numbers)


@main.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@config_option
def import_calls(file: Path, as_json: bool, config_path: Path) -> None:
    """Trace every call of FILE: CSV with a header, columns called, at, terminating and, if you like, calling, window.

    Each row that can't be traced is named with its line and the reason, the others are traced, and the exit code is
    65. With --json every finished traceback is one line of JSON, with the line of FILE that it came from.

    \b
    called,at,terminating,calling
    +12025550143,2026-11-20T18:03:11Z,ginkgo,+12025550199
    """
    from coordinator.chain import Traceback
    from coordinator.intake import CallsFileError, Intake, RejectedCall, read_calls

    with opened_store(config_path) as (loaded, store):
        office, defaults = office_of(loaded, store), loaded.config.trace
        intake = Intake(office.registry, now(), defaults.window, defaults.hop_limit)
        try:
            rows = list(read_calls(text_of(file), intake))
        except CallsFileError as error:
            raise BadData(f"{file}: {error}") from None
        rejected = [row for row in rows if isinstance(row, RejectedCall)]
        for row in rejected:
            click.echo(f"{file}:{row.line}: {'; '.join(row.problems)}", err=True)
        calls = {uuid.uuid4(): row for row in rows if not isinstance(row, RejectedCall)}
        store.submit((Traceback(identity, call) for identity, (_, call) in calls.items()), now())
        lines = {identity: line for identity, (line, _) in calls.items()}
        office.trace_many(list(calls), as_json=as_json, lines=lines, rejected=len(rejected))
    if rejected:
        sys.exit(BAD_DATA)


@main.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@json_option
@numbers_option
@config_option
def resume(ids: tuple[str, ...], as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Go on with open tracebacks, all or those named: after an interruption, or when records were not in yet."""
    with opened_store(config_path) as (loaded, store):
        named = [find_traceback(store, name) for name in ids]
        office = office_of(loaded, store)
        if len(named) == 1:
            office.trace_one(named[0], claimed=False, as_json=as_json, show_numbers=show_numbers)
        else:
            wanted = [kept.traceback.id for kept in named] if ids else store.open_ids()
            office.trace_many(wanted, as_json=as_json)


@main.command()
@click.argument("traceback_id", metavar="ID")
@json_option
@numbers_option
@config_option
def retry(traceback_id: str, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Ask the last provider of a closed traceback again, once what was in the way is mended."""
    from coordinator.explain import TITLES

    with opened_store(config_path) as (loaded, store):
        kept = find_traceback(store, traceback_id)
        status = kept.traceback.status
        if not status.reopenable:
            raise click.UsageError(f"asking again can't help where the status is {TITLES[status]!r}")
        office = office_of(loaded, store)
        mine = office.reopen(kept.traceback.id)
        if mine is None:
            raise click.UsageError("another process is asking already: see `hopback-coordinator show`")
        office.trace_one(mine, as_json=as_json, show_numbers=show_numbers, reopen=True)


@main.command()
@click.argument("traceback_id", metavar="ID")
@json_option
@numbers_option
@config_option
def show(traceback_id: str, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Show one traceback; the first characters of its id are enough."""
    from coordinator.present import traceback_json, whole

    with opened_store(config_path) as (_, store):
        found = find_traceback(store, traceback_id).traceback
    if as_json:
        write_json(traceback_json(found))
    else:
        show_rich(whole(found, show_numbers=show_numbers))


@main.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@json_option
@numbers_option
@config_option
def list_tracebacks(limit: int, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """List the latest tracebacks, newest first."""
    from coordinator.present import list_table, summary_json

    with opened_store(config_path) as (_, store):
        summaries = store.recent(limit)
        total = sum(store.counts().values())
    if as_json:
        write_json([summary_json(summary) for summary in summaries])
    elif not summaries:
        click.echo("No tracebacks yet: start one with `hopback-coordinator trace`.")
    else:
        show_rich(list_table(summaries, show_numbers=show_numbers))
        if total > len(summaries):
            click.echo(f"{len(summaries)} of {total}; see more with --limit.")


main.add_command(registry)
