"""`hopback-coordinator checkpoints`: what agents signed about their audit logs, and whether it hangs together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.commands.frame import Failed, config_option, json_option, now, opened_engine, show_rich, write_json
from coordinator.commands.tables import minute, table
from protos.program import Commands

if TYPE_CHECKING:
    from coordinator.audits.checkpoints import Alarm, Seen
    from coordinator.config import LoadedConfig
    from coordinator.store.checkpoints import SqlCheckpoints
    from protos.identity import ProviderId

ALARMED = 1


@click.group(cls=Commands)
def checkpoints() -> None:
    """What agents signed about their audit logs: every log only ever grows, and shows everybody the same."""


@checkpoints.command("list")
@click.option("--provider", help="Those of this provider alone.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the newest one of --provider there, for `hopback-agent audit verify --checkpoint`.",
)
@json_option
@config_option
def list_checkpoints(provider: str | None, limit: int, out: Path | None, as_json: bool, config_path: Path) -> None:
    """List kept checkpoints, newest first, and every alarm.

    \b
    hopback-coordinator checkpoints list --provider birch --out birch.checkpoint
    """
    from coordinator.store.checkpoints import SqlCheckpoints

    if out is not None and provider is None:
        raise click.UsageError("--out needs --provider: a file holds one provider's checkpoint.")
    with opened_engine(config_path) as (_, engine):
        store, who = SqlCheckpoints(engine), _provider(provider)
        found, alarms = store.of(who, limit), store.alarms(who)
        if out is not None:
            newest = store.newest(who) if who else None
            if newest is None:
                why = (
                    "is proven yet: `hopback-coordinator checkpoints check` asks for the proofs" if found else "is kept"
                )
                raise Failed(f"no checkpoint of {provider} {why}")
            out.write_bytes(newest.exact)
        if as_json:
            told = [_checkpoint_json(store, one) for one in found]
            write_json({"checkpoints": told, "alarms": [_alarm_json(alarm) for alarm in alarms]})
            return
        if not found:
            click.echo("No checkpoints yet: they come with the agents' answers.")
        else:
            _show_checkpoints(store, found)
        _show_alarms(alarms)


@checkpoints.command()
@json_option
@config_option
def check(as_json: bool, config_path: Path) -> None:
    """Ask every agent for its checkpoint and the proofs that tie it to what is kept; have it witnessed.

    Exit codes: 0 every log only grew, 1 there are alarms. An agent that can't be reached is named, and is no alarm.

    \b
    hopback-coordinator checkpoints check
    """
    import asyncio

    from coordinator.store.checkpoints import SqlCheckpoints

    with opened_engine(config_path) as (loaded, engine):
        unreached = asyncio.run(_round(loaded, engine))
        store = SqlCheckpoints(engine)
        newest = [one for name in store.providers() if (one := store.newest(name)) is not None]
        alarms = store.alarms()
        if as_json:
            told = [_checkpoint_json(store, one) for one in newest]
            rest = {"alarms": [_alarm_json(alarm) for alarm in alarms], "not_reached": list(unreached)}
            write_json({"checkpoints": told, **rest})
        else:
            _show_checkpoints(store, newest)
            for name in unreached:
                click.echo(f"{name}: not reached, or it sent no good checkpoint.")
            _show_alarms(alarms)
            if not alarms:
                click.echo("No log contradicts what it said before.")
    if alarms:
        sys.exit(ALARMED)


async def _round(loaded: LoadedConfig, engine: Any) -> list[ProviderId]:
    from coordinator.online import online_key, watch_over, way_to_agents
    from coordinator.runtime import tls_files
    from protos.live import Live

    _, _, roots = online_key(loaded, now())
    async with way_to_agents(loaded, Live(tls_files(loaded, now()))) as transport:
        return await watch_over(loaded, engine, transport, roots, quiet=True).round()


def _provider(text: str | None) -> ProviderId | None:
    from protos.identity import InvalidIdentityError, parse_provider_id

    try:
        return None if text is None else parse_provider_id(text)
    except InvalidIdentityError as error:
        raise click.UsageError(f"{error}.") from None


def _checkpoint_json(store: SqlCheckpoints, one: Seen) -> dict[str, Any]:
    return {
        "provider": one.provider,
        "size": one.size,
        "root": one.root.hex(),
        "at": one.at.isoformat(),
        "received": one.received.isoformat(),
        "linked": one.linked,
        "witnesses": [witness.witness for witness in store.witnesses(one.sha256)],
        "checkpoint": one.exact.hex(),
        "certificate": one.certificate.hex(),
    }


def _alarm_json(alarm: Alarm) -> dict[str, Any]:
    return {
        "provider": alarm.provider,
        "kind": alarm.kind.value,
        "detail": alarm.detail,
        "raised": alarm.raised.isoformat(),
        "first": alarm.first.exact.hex(),
        "second": alarm.second.exact.hex(),
        "certificates": [alarm.first.certificate.hex(), alarm.second.certificate.hex()],
    }


def _show_checkpoints(store: SqlCheckpoints, found: Any) -> None:
    rows = []
    for one in found:
        names = ", ".join(witness.witness for witness in store.witnesses(one.sha256))
        linked = "yes" if one.linked else "not yet"
        rows.append((one.provider, f"{one.size:,}", one.root.hex()[:16], minute(one.at), linked, names or "-"))
    columns = ("Provider", "Entries", "Root", "Signed (UTC)", "Proven", "Witnesses")
    click.echo("Checkpoints of audit logs")
    show_rich(table(columns, rows, right=("Entries",), whole=columns[1:5]))


def _show_alarms(alarms: Any) -> None:
    for alarm in alarms:
        told = f"ALARM {alarm.provider} {alarm.kind.value} ({alarm.raised:%Y-%m-%d %H:%M:%SZ}): {alarm.detail}"
        click.secho(told, fg="red", bold=True)
