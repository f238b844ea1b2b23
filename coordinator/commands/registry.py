"""`hopback-coordinator registry`: who is who, by which names and numbers, where to ask, and who changes that."""

from __future__ import annotations

import getpass
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.frame import (
    BAD_DATA,
    BadData,
    Failed,
    config_option,
    json_option,
    now,
    opened_engine,
    opened_store,
    show_rich,
    text_of,
    write_json,
)
from coordinator.commands.tables import iso, minute, table
from protos.program import Commands

if TYPE_CHECKING:
    from coordinator.config import LoadedConfig
    from coordinator.registry.book import Entry, Proposal, RegistryBook
    from coordinator.registry.changes import Change
    from protos.identity import ProviderId


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this user
        return "operator"


operator_option = click.option("--as", "operator", default=_user, help="Who you are; the default is your login.")


@click.group(cls=Commands)
def registry() -> None:
    """Who is who: providers, their agents, numbers, names and contacts.

    \b
    hopback-coordinator registry import providers.csv
    hopback-coordinator registry import-rmd listing.csv
    hopback-coordinator registry suggest "Birch Telecom LLC"
    hopback-coordinator registry propose birch contact noc@birch.example --reason "by phone, 22 Nov"
    hopback-coordinator registry confirm 3f2a --as pete
    """


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
    from coordinator.present.chains import counted
    from coordinator.registry import RegistryFileError, read_registry

    with opened_store(config_path) as (loaded, store):
        known = [provider.id for provider in store.providers()]
        if loaded.config.registry.two_operators:
            _one_is_not_enough()
        try:
            reading = read_registry(text_of(file), known=known, replace=replace)
        except RegistryFileError as error:
            raise BadData(f"{file}: {error}") from None
        store.put_providers(reading.providers, now())
    for rejected in reading.rejected:
        click.echo(f"{file}:{rejected.line}: {rejected.reason}", err=True)
    replaced = len({one.id for one in reading.providers} & set(known))
    said = [f"{counted(len(reading.providers) - replaced, 'provider')} added"]
    said += [f"{replaced:,} replaced"] if replaced else []
    click.echo(", ".join([*said, f"{counted(len(reading.rejected), 'row')} rejected."]))
    if reading.rejected:
        sys.exit(BAD_DATA)


@registry.command("import-rmd")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--known-only", is_flag=True, help="Make no providers of filings that are nobody's.")
@operator_option
@json_option
@config_option
def import_rmd(file: Path, known_only: bool, operator: str, as_json: bool, config_path: Path) -> None:
    """Take in FILE, the listing of the Robocall Mitigation Database as the FCC publishes it (CSV).

    A filing belongs to the provider that holds its number or FRN; of any other one a provider without agent is made.
    Filings that are missing since the last listing are marked as gone. Bad rows and conflicts are named with their
    lines, and the exit code is 65.
    """
    from coordinator.registry.listing import import_listing
    from coordinator.registry.rmd import RmdFileError, read_rmd

    with opened_engine(config_path) as (_, engine):
        try:
            reading = read_rmd(text_of(file))
        except RmdFileError as error:
            raise BadData(f"{file}: {error}") from None
        report = import_listing(engine, reading, operator, now(), create=not known_only)
    for rejected in reading.rejected:
        click.echo(f"{file}:{rejected.line}: {'; '.join(rejected.problems)}", err=True)
    for line, why in report.conflicts:
        click.echo(f"{file}:{line}: {why}", err=True)
    names = ("added", "changed", "unchanged", "gone", "unknown", "providers_added")
    counts = {name: getattr(report, name) for name in names}
    counts |= {"rejected": len(reading.rejected), "conflicts": len(report.conflicts)}
    if as_json:
        write_json(counts)
    else:
        said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        click.echo(f"Filings: {said or 'none'}.")
    if reading.rejected or report.conflicts:
        sys.exit(BAD_DATA)


@registry.command("list")
@json_option
@config_option
def registry_list(as_json: bool, config_path: Path) -> None:
    """Show the registry."""
    from coordinator.present.chains import registry_table
    from coordinator.registry import FIELDS

    with opened_store(config_path) as (_, store):
        providers = store.providers()
    if as_json:
        write_json([{name: getattr(one, name) for name in FIELDS} for one in providers])
    elif providers:
        show_rich(registry_table(providers))
    else:
        click.echo("The registry is empty: fill it with `hopback-coordinator registry import FILE`.")


@registry.command()
@click.argument("provider")
@json_option
@config_option
def show(provider: str, as_json: bool, config_path: Path) -> None:
    """Show everything about PROVIDER: its id, or one of its numbers."""
    with _book(config_path) as (_, book):
        entry = _entry(book, provider)
    if as_json:
        write_json(_entry_json(entry))
        return
    one, at = entry.provider, now()
    rows: list[tuple[str, object]] = [
        ("name", one.name),
        ("reached by", f"{entry.reach.replace('_', '-')}{f' at {one.endpoint}' if one.endpoint else ''}"),
        ("country", one.country),
        ("roles", " ".join(entry.roles)),
        *((f"deadlines.{key}", value) for key, value in sorted(entry.deadlines.items())),
        *(
            (alias.kind.value, alias.value + ("" if alias.holds_at(at) else "  (at another time)"))
            for alias in entry.aliases
        ),
        *((f"escalation {c.level}" if c.level else "contact", c.email) for c in entry.contacts),
        *(("certificate", digest) for digest in entry.certificates),
    ]
    show_rich(table((one.id, ""), [row for row in rows if row[1] not in (None, "")]))


@registry.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 100), default=8, show_default=True, help="How many at most.")
@json_option
@config_option
def suggest(name: str, limit: int, as_json: bool, config_path: Path) -> None:
    """Suggest which providers a typed NAME or number may mean, best first. To pick is up to you."""
    with _book(config_path) as (_, book):
        found = book.index().suggest(name, now(), limit)
        before = book.matches(name, 5)
    if as_json:
        keys = ("provider", "score", "alias", "why")
        write_json(
            {
                "suggestions": [{key: getattr(one, key) for key in keys} for one in found],
                "matched_before": [{"provider": m.provider, "by": m.picked_by, "at": iso(m.picked_at)} for m in before],
            }
        )
        return
    if found:
        rows = [(f"{one.score:.2f}", one.provider, one.alias, one.why) for one in found]
        show_rich(table(("Score", "Provider", "Known as", "Why"), rows, right=("Score",)))
    else:
        click.echo("Nobody in the registry is called anything like that.")
    for match in before:
        click.echo(f"{minute(match.picked_at)}  {match.picked_by} took this name for {match.provider}")


@registry.command()
@click.argument("provider")
@click.argument("kind")
@click.argument("value")
@click.option("--reason", default="", help="Why, for who confirms it.")
@operator_option
@config_option
def propose(provider: str, kind: str, value: str, reason: str, operator: str, config_path: Path) -> None:
    """Propose a change of PROVIDER, for another operator to confirm.

    \b
    KIND           VALUE
    add            NAME                        a new provider
    name           NAME
    endpoint       HOST:PORT ...               of its agent; "" for none
    roles          WORD ...
    reach          agent | dial_out | person
    deadlines      '{"zone": "America/Denver"}'
    alias          KIND:VALUE                  rmd, frn, ocn, spc, name, dba, former; end-alias
    contact        ADDRESS                     end-contact
    escalation     LEVEL:ADDRESS               end-escalation
    certificate    SHA-256                     end-certificate
    """
    with _book(config_path) as (_, book), _refusals():
        identity = book.propose(_change(provider, kind, value), operator, reason, now())
    click.echo(f"Proposed. Another operator confirms it: hopback-coordinator registry confirm {str(identity)[:8]}")


@registry.command()
@click.argument("proposal", metavar="ID")
@operator_option
@config_option
def confirm(proposal: str, operator: str, config_path: Path) -> None:
    """Confirm a change that another operator has proposed; the first characters of its ID are enough."""
    with _book(config_path) as (_, book), _refusals():
        done = book.confirm(_proposal(book, proposal), operator, now())
    click.echo(f"Done: {_said(done.change)}")


@registry.command()
@click.argument("proposal", metavar="ID")
@operator_option
@config_option
def reject(proposal: str, operator: str, config_path: Path) -> None:
    """Drop a proposal."""
    with _book(config_path) as (_, book), _refusals():
        book.reject(_proposal(book, proposal), operator, now())
    click.echo("Rejected.")


@registry.command()
@click.option("--all", "every", is_flag=True, help="Also those that are decided.")
@json_option
@config_option
def proposals(every: bool, as_json: bool, config_path: Path) -> None:
    """List the changes that wait for confirmation."""
    with _book(config_path) as (_, book):
        found = book.proposals(only_open=not every)
    if as_json:
        write_json([_proposal_json(one) for one in found])
    elif found:
        rows = [
            (str(one.id)[:8], one.state, minute(one.proposed_at), one.proposed_by, _said(one.change), one.reason)
            for one in found
        ]
        show_rich(table(("Id", "State", "Proposed (UTC)", "By", "Change", "Reason"), rows))
    else:
        click.echo("Nothing waits for confirmation.")


@registry.command()
@click.argument("provider")
@click.argument("alias", metavar="KIND:VALUE")
@click.option("--end", is_flag=True, help="It holds no longer.")
@operator_option
@config_option
def alias(provider: str, alias: str, end: bool, operator: str, config_path: Path) -> None:
    """Give PROVIDER a number or name, or end one, at once; with two_operators it must be proposed.

    \b
    hopback-coordinator registry alias birch frn:0012345678
    hopback-coordinator registry alias birch "dba:Birch Voice"
    """
    with _book(config_path) as (loaded, book), _refusals():
        if loaded.config.registry.two_operators:
            _one_is_not_enough()
        change = _change(provider, "end-alias" if end else "alias", alias)
        book.apply(change, operator, now())
    click.echo(f"Done: {_said(change)}")


@contextmanager
def _book(config_path: Path) -> Iterator[tuple[LoadedConfig, RegistryBook]]:
    from coordinator.registry.book import RegistryBook

    with opened_engine(config_path) as (loaded, engine):
        yield loaded, RegistryBook(engine, loaded.config.deadlines)


@contextmanager
def _refusals() -> Iterator[None]:
    from coordinator.registry.changes import ChangeError
    from coordinator.registry.changing import RegistryError

    try:
        yield
    except ChangeError as error:
        raise click.UsageError(str(error)) from None
    except RegistryError as error:
        raise Failed(str(error)) from None


def _one_is_not_enough() -> None:
    raise Failed(
        "[registry] two_operators is set: propose the change with `hopback-coordinator registry propose`, "
        "and have another operator confirm it"
    )


def _change(provider: str, kind: str, value: str) -> Change:
    from coordinator.registry.changes import parse_change

    return parse_change(provider_id(provider), kind, value)


def provider_id(text: str) -> ProviderId:
    """The id that was typed; what is none ends the command."""
    from protos.identity import InvalidIdentityError, parse_provider_id

    try:
        return parse_provider_id(text)
    except InvalidIdentityError as error:
        raise click.UsageError(str(error)) from None


def _entry(book: RegistryBook, text: str) -> Entry:
    from coordinator.registry.aliases import AliasError, parse_alias

    at = now()
    try:
        kind, value = parse_alias(text)
    except AliasError:
        provider = provider_id(text)
    else:
        held = book.holder(kind, value, at) if kind.is_number else None
        if held is None:
            raise click.UsageError(f"nobody holds that {kind.value}: see `hopback-coordinator registry suggest`")
        provider = held
    entry = book.entry(provider)
    if entry is None:
        raise click.UsageError(f"{provider} is not in the registry: see `hopback-coordinator registry suggest`")
    return entry


def _proposal(book: RegistryBook, prefix: str) -> uuid.UUID:
    found = [one.id for one in book.proposals(only_open=False, limit=10_000) if str(one.id).startswith(prefix.lower())]
    if len(found) != 1 or not prefix:
        what = "no proposal begins" if not found else "several proposals begin"
        raise click.UsageError(f"{what} with {prefix!r}: see `hopback-coordinator registry proposals`")
    return found[0]


def _said(change: Change) -> str:
    return f"{change.provider}: {change.kind.value} {change.value}".rstrip()


def _proposal_json(one: Proposal) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "provider": one.change.provider,
        "kind": one.change.kind.value,
        "value": one.change.value,
        "before": one.before,
        "reason": one.reason,
        "state": one.state,
        "proposed_by": one.proposed_by,
        "proposed_at": iso(one.proposed_at),
        "decided_by": one.decided_by,
        "decided_at": iso(one.decided_at),
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    one = entry.provider
    return {
        "id": one.id,
        "name": one.name,
        "endpoint": one.endpoint,
        "country": one.country,
        "roles": list(entry.roles),
        "reach": entry.reach,
        "deadlines": dict(entry.deadlines),
        "aliases": [
            {
                "kind": alias.kind.value,
                "value": alias.value,
                "valid_from": iso(alias.valid_from),
                "valid_to": iso(alias.valid_to),
                "source": alias.source,
            }
            for alias in entry.aliases
        ],
        "contacts": [{"email": c.email, "escalation": c.level or None} for c in entry.contacts],
        "certificates": list(entry.certificates),
    }
