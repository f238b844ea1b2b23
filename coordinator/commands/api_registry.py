"""`hopback-coordinator api registry`: who is who, and changes that one analyst proposes and another confirms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from coordinator.callers import REGISTRY
from coordinator.commands.api_line import Line, plain, whole_id
from coordinator.commands.frame import json_option, show_rich, write_json
from coordinator.commands.registry import provider_id
from coordinator.commands.tables import table
from protos.program import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordinator.tracing.ports import Provider
    from hopback.v1 import registry_pb2 as pb


@click.group(cls=Commands)
def registry() -> None:
    """Who is who: look providers up, say who may be meant, change what is known with another analyst.

    \b
    hopback-coordinator api registry list
    hopback-coordinator api registry suggest "Birch Telecom LLC"
    hopback-coordinator api registry propose birch contact noc@birch.example --reason "by phone, 22 Nov"
    hopback-coordinator api registry confirm 3f2a
    """


@registry.command("list")
@json_option
@click.pass_obj
def list_providers(line: Line, as_json: bool) -> None:
    """List who is who."""
    found = list(_providers(line))
    if as_json:
        write_json([plain(one) for one in found])
        return
    rows = [(one.provider, one.name, "yes" if one.has_agent else "no", one.country, one.role) for one in found]
    show_rich(table(("Id", "Name", "Agent", "Country", "Role"), rows))


@registry.command()
@click.argument("provider")
@json_option
@click.pass_obj
def show(line: Line, provider: str, as_json: bool) -> None:
    """Show everything about PROVIDER: its id, or one of its numbers, such as frn:0012345678."""
    from coordinator.commands.api_chain import minute
    from hopback.v1 import registry_pb2 as pb

    found = line.call(REGISTRY, "GetProvider", pb.GetProviderRequest(provider=provider), pb.GetProviderResponse)
    if as_json:
        write_json(plain(found))
        return
    one = found.provider
    rows: list[tuple[str, str]] = [
        ("name", one.name),
        ("reached by", found.reach.replace("_", "-") + (f" at {found.endpoint}" if found.endpoint else "")),
        ("country", one.country),
        ("roles", " ".join(found.roles)),
        *((f"deadlines.{key}", str(value)) for key, value in sorted(json.loads(found.deadlines_json or "{}").items())),
        *(
            (
                alias.kind,
                alias.value + (f"  (until {minute(alias.valid_to_unix_ms)})" if alias.valid_to_unix_ms else ""),
            )
            for alias in found.aliases
        ),
        *((f"escalation {one.level}" if one.level else "contact", one.email) for one in found.contacts),
        *(("certificate", sha256) for sha256 in found.certificate_sha256),
    ]
    show_rich(table((one.provider, ""), [row for row in rows if row[1]]))


@registry.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 100), default=8, show_default=True, help="How many at most.")
@json_option
@click.pass_obj
def suggest(line: Line, name: str, limit: int, as_json: bool) -> None:
    """Suggest which providers a typed NAME or number may mean, best first. To pick is up to you: `api match`."""
    from coordinator.commands.api_chain import minute
    from hopback.v1 import registry_pb2 as pb

    request = pb.SuggestProvidersRequest(name=name, limit=limit)
    found = line.call(REGISTRY, "SuggestProviders", request, pb.SuggestProvidersResponse)
    if as_json:
        write_json(plain(found))
        return
    if found.suggestions:
        rows = [(f"{one.score:.2f}", one.provider, one.alias, one.why) for one in found.suggestions]
        show_rich(table(("Score", "Provider", "Known as", "Why"), rows, right=("Score",)))
    else:
        click.echo("Nobody in the registry is called anything like that.")
    for one in found.matched_before:
        click.echo(f"{minute(one.picked_unix_ms)}  {one.picked_by} took this name for {one.provider}")


@registry.command()
@click.argument("provider")
@click.argument("kind")
@click.argument("value")
@click.option("--reason", default="", help="Why, for who confirms it.")
@json_option
@click.pass_obj
def propose(line: Line, provider: str, kind: str, value: str, reason: str, as_json: bool) -> None:
    """Propose a change of PROVIDER, for another analyst to confirm.

    KIND and VALUE are those of `hopback-coordinator registry propose --help`.

    \b
    hopback-coordinator api registry propose birch alias "dba:Birch Voice"
    hopback-coordinator api registry propose birch endpoint 192.0.2.7:7443 --reason "moved"
    """
    from hopback.v1 import registry_pb2 as pb

    request = pb.ProposeChangeRequest(provider=provider_id(provider), kind=kind, value=value, reason=reason)
    found = line.call(REGISTRY, "ProposeChange", request, pb.ProposeChangeResponse)
    if as_json:
        write_json(plain(found))
    else:
        short = found.proposal_id[:8]
        click.echo(f"Proposed. Another analyst confirms it: hopback-coordinator api registry confirm {short}")


@registry.command()
@click.option("--all", "every", is_flag=True, help="Also those that are decided.")
@json_option
@click.pass_obj
def proposals(line: Line, every: bool, as_json: bool) -> None:
    """List the changes that wait for confirmation."""
    from coordinator.commands.api_chain import minute

    found = _proposals(line, every=every)
    if as_json:
        write_json([plain(one) for one in found])
    elif found:
        rows = [
            (
                one.proposal_id[:8],
                one.state,
                minute(one.proposed_unix_ms),
                one.proposed_by,
                f"{one.provider}: {one.kind} {one.value}".rstrip(),
                one.reason,
            )
            for one in found
        ]
        show_rich(table(("Id", "State", "Proposed (UTC)", "By", "Change", "Reason"), rows, whole=("Id", "State", "By")))
    else:
        click.echo("Nothing waits for confirmation.")


@registry.command()
@click.argument("proposal", metavar="ID")
@click.pass_obj
def confirm(line: Line, proposal: str) -> None:
    """Confirm a change that another analyst has proposed."""
    _decide(line, proposal, confirm=True)
    click.echo("Done.")


@registry.command()
@click.argument("proposal", metavar="ID")
@click.pass_obj
def reject(line: Line, proposal: str) -> None:
    """Drop a proposal."""
    _decide(line, proposal, confirm=False)
    click.echo("Rejected.")


def known_providers(line: Line) -> list[Provider]:
    """The registry as far as one may list it, for checking what is handed in."""
    from coordinator.tracing.ports import Provider
    from protos.identity import parse_provider_id

    return [
        Provider(parse_provider_id(one.provider), one.name, None, one.country or None, one.role or None)
        for one in _providers(line)
    ]


def _providers(line: Line) -> Iterator[pb.ProviderView]:
    from hopback.v1 import registry_pb2 as pb

    for page in line.pages(REGISTRY, "ListProviders", pb.ListProvidersRequest(), pb.ListProvidersResponse):
        yield from page.providers


def _proposals(line: Line, *, every: bool) -> list[pb.ProposalView]:
    from hopback.v1 import registry_pb2 as pb

    request = pb.ListProposalsRequest(all=every, limit=1000)
    return list(line.call(REGISTRY, "ListProposals", request, pb.ListProposalsResponse).proposals)


def _decide(line: Line, text: str, *, confirm: bool) -> None:
    from hopback.v1 import registry_pb2 as pb

    identity = whole_id(text, "proposal", lambda: (one.proposal_id for one in _proposals(line, every=True)))
    request = pb.DecideProposalRequest(proposal_id=identity, confirm=confirm)
    line.call(REGISTRY, "DecideProposal", request, pb.DecideProposalResponse)
