"""`hopback-coordinator`: trace calls, look at tracebacks, keep the registry.

Output for people goes to standard output, with telephone numbers masked unless --show-numbers is given; with --json,
standard output holds JSON alone. Progress, rejected rows and errors go to standard error.

Exit codes: 0 done (whatever a traceback found), 2 wrong usage, 65 bad data (the good rows are done), 74 the database
failed, 78 bad configuration, 130 interrupted (what was begun is kept; `resume` goes on with it).

Heavy imports happen inside the commands, so that --help is quick.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.api import api
from coordinator.commands.authority import authority
from coordinator.commands.campaign import campaign
from coordinator.commands.checkpoints import checkpoints
from coordinator.commands.enrolment import enrolment
from coordinator.commands.evidence import bundle, verify
from coordinator.commands.frame import (
    Misconfigured,
    config_option,
    find_traceback,
    json_option,
    loaded_config,
    numbers_option,
    office_of,
    opened_store,
    show_rich,
    write_json,
)
from coordinator.commands.key import key
from coordinator.commands.lab import init, lab_cert
from coordinator.commands.order import order
from coordinator.commands.registry import registry
from coordinator.commands.report import report
from coordinator.commands.retention import retention
from coordinator.commands.run import run
from coordinator.commands.serve import serve
from coordinator.commands.stir import examiner_of, stir
from coordinator.commands.tasks import task_json, task_of, tasks
from coordinator.commands.trace import import_calls, trace
from protos.program import Program

if TYPE_CHECKING:
    from coordinator.tracing.chain import Status


@click.group(
    cls=Program,
    extra="coordinator",
    configured="hopback-coordinator run --config coordinator.toml",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="hopback")
def main() -> None:
    """Trace illegal robocalls back to where they came from, by asking each provider's agent in turn.

    \b
    hopback-coordinator init lab && cd lab
    hopback-coordinator registry import providers.csv
    hopback-coordinator order new --file calls.csv --campaign auto-warranty --evidence complaint.wav --certify "..."
    hopback-coordinator order submit 5f1c2a7e --key ann.key
    hopback-coordinator order approve 5f1c2a7e --key bob.key
    hopback-coordinator trace --set 5f1c2a7e
    hopback-coordinator list
    hopback-coordinator show 6d2b5e1e

    \b
    Shell completion (or zsh_source, fish_source):
    eval "$(_HOPBACK_COORDINATOR_COMPLETE=bash_source hopback-coordinator)"
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # gRPC's own log lines would tear up the display


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
            if not wanted and not as_json:
                click.echo("No traceback is open; `hopback-coordinator list` says where they stand.")
                return
            office.trace_many(wanted, as_json=as_json)


@main.command()
@click.argument("traceback_id", metavar="ID")
@json_option
@numbers_option
@config_option
def retry(traceback_id: str, as_json: bool, show_numbers: bool, config_path: Path) -> None:
    """Ask the last provider of a closed traceback again, once what was in the way is mended."""
    from coordinator.present.explain import TITLES

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
    """Show one traceback, and what its call's Identity header says of it; the beginning of its id is enough."""
    from coordinator.commands.turns import turn_lines
    from coordinator.present.chains import traceback_json, whole
    from coordinator.present.stir import block
    from coordinator.stir.written import as_json as check_json

    with opened_store(config_path) as (loaded, store):
        found = find_traceback(store, traceback_id).traceback
        check = examiner_of(loaded, store.engine).check(found)
    waits = task_of(config_path, found.id)
    if as_json:
        task = task_json(waits[0]) if waits else None
        write_json(traceback_json(found) | {"task": task, "stir": check_json(check) if check else None})
    else:
        task_words = "\n".join(turn_lines(*waits)) if waits else ""
        show_rich(whole(found, show_numbers=show_numbers, task=task_words))
        if check is not None:
            show_rich(block(check))


@main.command("list")
@click.option("--status", "status_name", default="", help="Only those that stand so, such as disputed.")
@click.option("--campaign", default="", help="Only those of this campaign.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@json_option
@numbers_option
@config_option
def list_tracebacks(
    status_name: str, campaign: str, limit: int, as_json: bool, show_numbers: bool, config_path: Path
) -> None:
    """List the latest tracebacks, newest first, and how many stand where.

    \b
    hopback-coordinator list --campaign auto-warranty
    hopback-coordinator list --campaign auto-warranty --status disputed
    """
    from coordinator.present.chains import list_table, summary_json
    from coordinator.present.explain import TITLES

    status = _status_called(status_name)
    with opened_store(config_path) as (_, store):
        summaries = store.recent(limit, status, campaign)
        counts = store.counts(campaign)
    if as_json:
        write_json([summary_json(summary) for summary in summaries])
    elif not summaries:
        click.echo("None." if counts else "No tracebacks yet: start one with `hopback-coordinator trace`.")
    else:
        show_rich(list_table(summaries, show_numbers=show_numbers))
        total = sum(counts.values()) if status is None else counts[status]
        if total > len(summaries):
            click.echo(f"{len(summaries):,} of {total:,}; see more with --limit.")
        if status is None:
            click.echo(", ".join(f"{TITLES[one]} {count:,}" for one, count in counts.most_common()).capitalize() + ".")


def _status_called(name: str) -> Status | None:
    """The status of this name, as JSON or as people have it; None for none."""
    from coordinator.present.explain import TITLES
    from coordinator.tracing.chain import Status

    if not name:
        return None
    named = {status.value: status for status in Status} | {title: status for status, title in TITLES.items()}
    if name.lower() not in named:
        raise click.BadParameter("one of " + ", ".join(status.value for status in Status), param_hint="--status")
    return named[name.lower()]


for command in (init, lab_cert, order, trace, import_calls, run):
    main.add_command(command)
main.add_command(api)
main.add_command(bundle)
main.add_command(verify)
main.add_command(registry)
main.add_command(tasks)
main.add_command(checkpoints)
main.add_command(campaign)
main.add_command(report)
main.add_command(retention)
main.add_command(stir)
for command in (authority, enrolment, key, serve):
    main.add_command(command)
