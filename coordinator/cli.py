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
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from protos.program import Program

if TYPE_CHECKING:
    from rich.console import RenderableType

    from coordinator.config import ConfigError, LoadedConfig
    from coordinator.foreground import Office
    from coordinator.ports import Kept
    from coordinator.registry import RegistrySnapshot
    from coordinator.store.sql_store import SqlStore

BAD_DATA = 65


class Failed(click.ClickException):
    """An error that ends the command; several problems are listed one a line."""

    def __init__(self, *problems: str) -> None:
        super().__init__(problems[0] if len(problems) == 1 else "\n  " + "\n  ".join(problems))


class BadData(Failed):
    """What was handed in can't be used (EX_DATAERR)."""

    exit_code = BAD_DATA


class DatabaseFailed(Failed):
    """The database could not be read or written (EX_IOERR)."""

    exit_code = 74


class Misconfigured(Failed):
    """The configuration can't be used (EX_CONFIG)."""

    exit_code = 78


def _now() -> datetime:
    return datetime.now(UTC)


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("coordinator.toml"),
    show_default=True,
    envvar="HOPBACK_COORDINATOR_CONFIG",
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON; numbers stand in it in full.")
numbers_option = click.option("--show-numbers", is_flag=True, help="Show telephone numbers in full.")


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

    loaded = _loaded(config_path)
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

    loaded = _loaded(config_path)
    try:
        with engine_for(loaded.store_url) as engine:
            run(engine)
    except StoreError as error:
        raise Misconfigured(f"{loaded.file}: store.url: {error}") from None
    click.echo("The database is up to date.")


@main.group()
def registry() -> None:
    """Which provider has which agent."""


@registry.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Replace entries that are in the registry already.")
@config_option
def registry_import(file: Path, replace: bool, config_path: Path) -> None:
    """Add the providers of FILE: CSV with a header, or JSON; fields id, name, endpoint, country, role.

    An empty endpoint stands for a provider without an agent. Good rows are added, each bad one is named with its line;
    then the exit code is 65.

    \b
    id,name,endpoint,country,role
    ginkgo,Ginkgo Wireless,agents.ginkgo.example:7443,US,terminating
    elm,Elm Voice,,US,
    """
    from coordinator.present import counted
    from coordinator.registry import RegistryFileError, read_registry

    with _opened(config_path) as (_, store):
        known = [provider.id for provider in store.providers()]
        try:
            reading = read_registry(_text(file), known=known, replace=replace)
        except RegistryFileError as error:
            raise BadData(f"{file}: {error}") from None
        store.put_providers(reading.providers, _now())
    for rejected in reading.rejected:
        click.echo(f"{file}:{rejected.line}: {rejected.reason}", err=True)
    added, rejected_rows = counted(len(reading.providers), "provider"), counted(len(reading.rejected), "row")
    click.echo(f"{added} added, {rejected_rows} rejected.")
    if reading.rejected:
        sys.exit(BAD_DATA)


@registry.command("list")
@json_option
@config_option
def registry_list(as_json: bool, config_path: Path) -> None:
    """Show the registry."""
    from coordinator.present import registry_table

    with _opened(config_path) as (_, store):
        providers = store.providers()
    if as_json:
        _json([{name: getattr(p, name) for name in ("id", "name", "endpoint", "country", "role")} for p in providers])
    elif providers:
        _print(registry_table(providers))
    else:
        click.echo("The registry is empty: fill it with `hopback-coordinator registry import FILE`.")


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

    with _opened(config_path) as (loaded, store):
        office, defaults = _office(loaded, store), loaded.config.trace
        intake = Intake(office.registry, _now(), defaults.window, hop_limit or defaults.hop_limit)
        fields = {"called": called, "at": at, "terminating": terminating, "calling": calling, "window": window}
        try:
            call = intake.call(fields)
        except IntakeError as error:
            problems = [f"--{problem}" for problem in error.problems]
            raise click.UsageError("\n  ".join(["this call can't be traced:", *problems])) from None
        [kept] = store.submit([Traceback(uuid.uuid4(), call)], _now())
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

    with _opened(config_path) as (loaded, store):
        office, defaults = _office(loaded, store), loaded.config.trace
        intake = Intake(office.registry, _now(), defaults.window, defaults.hop_limit)
        try:
            rows = list(read_calls(_text(file), intake))
        except CallsFileError as error:
            raise BadData(f"{file}: {error}") from None
        rejected = [row for row in rows if isinstance(row, RejectedCall)]
        for row in rejected:
            click.echo(f"{file}:{row.line}: {'; '.join(row.problems)}", err=True)
        calls = {uuid.uuid4(): row for row in rows if not isinstance(row, RejectedCall)}
        many = store.submit((Traceback(identity, call) for identity, (_, call) in calls.items()), _now())
        lines = {identity: line for identity, (line, _) in calls.items()}
        office.trace_many(many, as_json=as_json, lines=lines, rejected=len(rejected))
    if rejected:
        sys.exit(BAD_DATA)


@main.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@json_option
@numbers_option
@config_option
def resume(ids: tuple[str, ...], as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Go on with open tracebacks, all or those named: after an interruption, or when records were not in yet."""
    with _opened(config_path) as (loaded, store):
        many = [_find(store, name) for name in ids] if ids else list(store.open_tracebacks())
        office = _office(loaded, store)
        if len(ids) == 1:
            office.trace_one(many[0], as_json=as_json, show_numbers=show_numbers)
        else:
            office.trace_many(many, as_json=as_json)


@main.command()
@click.argument("traceback_id", metavar="ID")
@json_option
@numbers_option
@config_option
def retry(traceback_id: str, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Ask the last provider of a closed traceback again, once what was in the way is mended."""
    from coordinator.explain import TITLES

    with _opened(config_path) as (loaded, store):
        kept = _find(store, traceback_id)
        status = kept.traceback.status
        if not status.reopenable:
            raise click.UsageError(f"asking again can't help where the status is {TITLES[status]!r}")
        _office(loaded, store).trace_one(kept, as_json=as_json, show_numbers=show_numbers, reopen=True)


@main.command()
@click.argument("traceback_id", metavar="ID")
@json_option
@numbers_option
@config_option
def show(traceback_id: str, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Show one traceback; the first characters of its id are enough."""
    from coordinator.present import traceback_json, whole

    with _opened(config_path) as (_, store):
        found = _find(store, traceback_id).traceback
    if as_json:
        _json(traceback_json(found))
    else:
        _print(whole(found, show_numbers=show_numbers))


@main.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@json_option
@numbers_option
@config_option
def list_tracebacks(limit: int, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """List the latest tracebacks, newest first."""
    from coordinator.present import list_table, summary_json

    with _opened(config_path) as (_, store):
        summaries = store.recent(limit)
        total = sum(store.counts().values())
    if as_json:
        _json([summary_json(summary) for summary in summaries])
    elif not summaries:
        click.echo("No tracebacks yet: start one with `hopback-coordinator trace`.")
    else:
        _print(list_table(summaries, show_numbers=show_numbers))
        if total > len(summaries):
            click.echo(f"{len(summaries)} of {total}; see more with --limit.")


# What the commands share


def _loaded(path: Path) -> LoadedConfig:
    from coordinator.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        raise _misconfigured(error) from None


def _misconfigured(error: ConfigError) -> Misconfigured:
    return Misconfigured(*(f"{error.path}: {problem}" for problem in error.problems))


@contextmanager
def _opened(config_path: Path) -> Iterator[tuple[LoadedConfig, SqlStore]]:
    """Configuration and store; what is wrong with either ends the command with its exit code."""
    from sqlalchemy.exc import SQLAlchemyError

    from coordinator.config import ConfigError, load
    from coordinator.runtime import open_store

    try:
        loaded = load(config_path)
        with open_store(loaded) as store:
            yield loaded, store
    except ConfigError as error:
        raise _misconfigured(error) from None
    except SQLAlchemyError as error:
        raise DatabaseFailed(f"the database failed: {getattr(error, 'orig', None) or type(error).__name__}") from None


def _office(loaded: LoadedConfig, store: SqlStore) -> Office:
    """Everything that a traceback is driven with; certificates are checked here, before anything is submitted."""
    from coordinator.foreground import Office
    from coordinator.runtime import tls_files

    return Office(loaded, store, _snapshot(store), tls_files(loaded, _now()))


def _snapshot(store: SqlStore) -> RegistrySnapshot:
    from coordinator.registry import RegistrySnapshot

    return RegistrySnapshot(store.providers())


def _find(store: SqlStore, name: str) -> Kept:
    """The traceback whose id begins with `name`."""
    found = store.find(name, limit=5)
    if not found:
        raise click.UsageError(f"no traceback has an id that begins with {name!r}: see `hopback-coordinator list`")
    if len(found) > 1:
        raise click.UsageError(f"several tracebacks begin with {name!r}: " + ", ".join(str(i)[:13] for i in found))
    kept = store.load(found[0])
    assert kept is not None  # noqa: S101  nothing deletes tracebacks
    return kept


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{file} can't be read as UTF-8 text: {error}") from None


def _print(renderable: RenderableType) -> None:
    from coordinator.live import console

    console().print(renderable)


def _json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
