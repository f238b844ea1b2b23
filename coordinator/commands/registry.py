"""`hopback-coordinator registry`: who is who, and where to ask."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from coordinator.commands.frame import (
    BAD_DATA,
    BadData,
    config_option,
    json_option,
    now,
    opened_store,
    show_rich,
    text_of,
    write_json,
)


@click.group()
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

    with opened_store(config_path) as (_, store):
        known = [provider.id for provider in store.providers()]
        try:
            reading = read_registry(text_of(file), known=known, replace=replace)
        except RegistryFileError as error:
            raise BadData(f"{file}: {error}") from None
        store.put_providers(reading.providers, now())
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

    with opened_store(config_path) as (_, store):
        providers = store.providers()
    if as_json:
        write_json(
            [{name: getattr(p, name) for name in ("id", "name", "endpoint", "country", "role")} for p in providers]
        )
    elif providers:
        show_rich(registry_table(providers))
    else:
        click.echo("The registry is empty: fill it with `hopback-coordinator registry import FILE`.")
