"""`hopback-coordinator retention`: tracebacks that were closed long ago lose their telephone numbers."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

from coordinator.commands.frame import (
    Failed,
    Misconfigured,
    config_option,
    json_option,
    loaded_config,
    now,
    opened_engine,
    write_json,
)
from protos.program import Commands


@click.group(cls=Commands)
def retention() -> None:
    """Take the telephone numbers out of what was closed long ago.

    \b
    hopback-coordinator retention new-key
    hopback-coordinator retention run          from cron, once a day
    """


@retention.command("new-key")
@config_option
def new_key(config_path: Path) -> None:
    """Make the key of the pseudonyms, in the file that [retention] key_file names; one that is there is kept."""
    loaded = loaded_config(config_path)
    path = loaded.path(loaded.config.retention.key_file)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    except FileExistsError:
        raise Failed(f"{path} exists already: under another key old numbers would get other pseudonyms") from None
    except OSError as error:
        raise Failed(f"{path} can't be written: {error.strerror}") from None
    click.echo(f"{path}: keep it apart from the database; who has both can tell the numbers.")


@retention.command("run")
@click.option("--keep-space", is_flag=True, help="Don't clean the database's files; numbers may be left in them.")
@json_option
@config_option
def run(keep_space: bool, as_json: bool, config_path: Path) -> None:
    """Replace the numbers of old tracebacks by pseudonyms, and remove the bytes that hold them.

    What is old enough says [retention] pseudonymise_after, counted from a traceback's last change. The evidence of what
    is retired ends here: export the bundles that you need before.
    """
    from dataclasses import asdict

    from coordinator.commands.stir import examiner_of
    from coordinator.config_tables import private_text
    from coordinator.pseudonyms import Pseudonyms, parse_key
    from coordinator.retention import retire

    at = now()
    with opened_engine(config_path) as (loaded, engine):
        table = loaded.config.retention
        try:
            pseudonyms = Pseudonyms(parse_key(private_text(loaded.path(table.key_file))))
        except ValueError as error:
            hint = "make one with `hopback-coordinator retention new-key`"
            raise Misconfigured(f"{loaded.file}: retention.key_file: {error}; {hint}") from None
        before, examiner = at - table.pseudonymise_after, examiner_of(loaded, engine)
        done = retire(engine, pseudonyms, before, at, clean=not keep_space, examine=examiner.to_keep)
    if as_json:
        write_json(asdict(done))
        return
    click.echo(
        f"{done.tracebacks:,} tracebacks and {done.campaign_calls:,} calls of campaigns have pseudonyms now; removed: "
        f"{done.envelopes:,} envelopes, {done.order_sets:,} sets of orders."
    )
    if done.deferred:
        click.echo(f"{done.deferred:,} tracebacks wait for a task, or for others that travelled with them.")
    if not done.cleaned and not keep_space:
        click.echo(
            "The database is in use: run this again while nobody works, so that its files are cleaned.", err=True
        )
