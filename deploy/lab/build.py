"""A lab on disk: every provider's records in its own format, its agent's configuration, and beside them the truth.

    DIR/lab.json            seed, date, ingredients
    DIR/truth.jsonl         the answer sheet: for scorers and people, never for an agent or the coordinator
    DIR/calls.csv           the calls as persons have them: called, at (whole seconds, UTC), calling, terminating
    DIR/registry.csv        id, name and endpoint of every provider, for `hopback-coordinator registry import`
    DIR/start               a script: index all, fill the registry, run all agents until Ctrl-C
    DIR/agents/NAME/        agent.toml, records, root.key, certificates; `hopback-agent index|run agent.toml` from there
    DIR/coordinator/people/ the keys of ann, who submits orders, and bob, who approves them

The certificates come from the lab authority of a coordinator (`hopback-coordinator init`), where there is one; so do
the two persons whose orders the agents take.

What goes into agent.toml is what that provider knows of itself: its trunks, its zones, the known error of its clocks.
"""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from deploy.lab import truth as truths
from deploy.lab.industry import Flaw, Industry, PartyKind, Provider, Trunk
from deploy.lab.people import COORDINATOR, People
from deploy.lab.siplab import to_toml
from deploy.lab.stores import WRITERS
from deploy.lab.stores.source import MAX_SETUP, Log, Source
from deploy.lab.traffic import Traffic
from deploy.lab.truth import Truth
from protos.identity import coordinator_uri

FIRST_PORT = 7600
"""Of a lab that people start themselves."""

SETTLED = MAX_SETUP + timedelta(minutes=3)
"""A late provider's files hold every call set up this long before their last row: no call of the lab lasts longer."""


@dataclass(frozen=True)
class Lab:
    """A generated lab: the industry, what happened, the truth about it, and where each provider's files lie."""

    directory: Path
    industry: Industry
    traffic: Traffic
    truths: tuple[Truth, ...]
    sources: Mapping[str, tuple[Source, ...]]
    people: People | None = None

    @property
    def configs(self) -> dict[str, Path]:
        """Every agent's configuration file, by provider."""
        return {name: self.directory / "agents" / name / "agent.toml" for name in self.sources}

    def complete_until(self, provider: str) -> datetime:
        """Until when this provider can vouch for its files: what its operator tells `hopback-agent index`."""
        times = self.industry.calendar
        return times.rotated - SETTLED if self.industry.providers[provider].late else times.now

    def complete_from(self, provider: str) -> datetime:
        """Since when this provider has kept records without a gap."""
        return self.industry.calendar.now - self.industry.providers[provider].retention


def write(
    directory: Path,
    industry: Industry,
    traffic: Traffic,
    *,
    people: People | None = None,
    port: int | None = None,
    explain: bool = False,
) -> Lab:
    """Write everything below `directory`.

    `people` issue the agents' certificates and sign orders (None: the agents can't serve); `port` is the first of the
    agents' ports (None: each takes a free one); `explain` lets the agents keep explanations for their own operators.

    Raises:
        ValueError: the directory holds a lab already.
    """
    if (directory / "agents").exists():
        raise ValueError(f"{directory} holds a lab already: choose another directory, or remove it")
    directory.mkdir(parents=True, exist_ok=True)
    told = tuple(truths.tell(industry, traffic))
    sources: dict[str, tuple[Source, ...]] = {}
    endpoints: dict[str, str] = {}
    for provider in industry.providers.values():
        endpoints[provider.id] = ""
        if not provider.has_agent:
            continue
        home = directory / "agents" / provider.id
        home.mkdir(parents=True)
        sources[provider.id] = tuple(write_records(industry, traffic, provider, home))
        address = f"127.0.0.1:{port + len(sources) - 1 if port is not None else 0}"
        endpoints[provider.id] = address if port is not None else ""
        tables = agent_tables(industry, provider, sources[provider.id], address)
        if people is not None:
            tables |= people.tables(provider.id, home)
        if explain:
            tables["explain"] = {"keep": True, "directory": "explanations"}
        (home / "agent.toml").write_text(to_toml(tables))
        _root_key(home / "root.key", industry.seed, provider.id)
    truths.write(directory / "truth.jsonl", told)
    _calls(directory / "calls.csv", told)
    _registry(directory / "registry.csv", endpoints)
    about = {
        "seed": industry.seed,
        "now": industry.calendar.now.isoformat(),
        "calls": len(told),
        "passages": len(traffic.passages),
        "ingredients": sorted(i.value for i in industry.ingredients),
        "endings": truths.endings(told),
    }
    (directory / "lab.json").write_text(json.dumps(about, indent=1) + "\n")
    lab = Lab(directory, industry, traffic, told, sources, people)
    _start_script(lab)
    return lab


def write_records(industry: Industry, traffic: Traffic, provider: Provider, home: Path) -> list[Source]:
    """Write one provider's records, every switch's in its own files."""
    times, several = industry.calendar, len(provider.switches) > 1
    made: list[Source] = []
    for switch in provider.switches:
        own = tuple(p for p in traffic.passages if (p.provider, p.switch) == (provider.id, switch.name))
        log = Log(
            provider=provider,
            switch=switch,
            passages=own,
            ingredients=industry.ingredients,
            kept_from=times.now - provider.retention,
            written_until=times.rotated if provider.late else times.now,
            prefix=f"{switch.name}-" if several else "",
        )
        made += WRITERS[provider.store](log, home)
    return made


def agent_tables(industry: Industry, provider: Provider, sources: tuple[Source, ...], address: str) -> dict[str, Any]:
    """One agent's whole configuration, as data for TOML."""
    days = provider.retention // timedelta(days=1)
    return {
        "provider": {"id": provider.id},
        "listen": {
            "address": address,
            "certificate": f"{provider.id}.crt",
            "key": f"{provider.id}.key",
            "roots": "ca.crt",
            "coordinators": [coordinator_uri(COORDINATOR)],
        },
        "index": {"directory": "index", "root_key_file": "root.key", "retention": f"{days}d"},
        "sources": [source.table() for source in sources],
        "trunks": list(_trunk_tables(industry, provider)),
    }


def _trunk_tables(industry: Industry, provider: Provider) -> list[dict[str, Any]]:
    made = []
    for trunk in industry.trunks:
        if trunk.receiver.name == provider.id and trunk.flaw is not Flaw.UNMAPPED:
            made.append(_ingress(trunk))
        if trunk.sender.name == provider.id:
            made.append(_egress(trunk))
    return made


def _ingress(trunk: Trunk) -> dict[str, Any]:
    table: dict[str, Any] = {
        "name": trunk.ingress_name,
        "addresses": [trunk.sender_address],
        "direction": "ingress",
        "party": f"{trunk.sender.kind.value}:{trunk.believed or trunk.sender.name}",
        "called_format": trunk.called_format,
    }
    if trunk.internal:
        table["party"] = f"internal:{trunk.sender.switch}"
    if trunk.valid_from is not None:
        table["valid_from"] = trunk.valid_from
    if trunk.valid_to is not None:
        table["valid_to"] = trunk.valid_to
    return table


def _egress(trunk: Trunk) -> dict[str, Any]:
    party = "subscribers" if trunk.receiver.kind is PartyKind.SUBSCRIBERS else f"provider:{trunk.receiver.name}"
    return {
        "name": trunk.egress_name,
        "addresses": [trunk.receiver_address],
        "direction": "egress",
        "party": f"internal:{trunk.receiver.switch}" if trunk.internal else party,
        "called_format": trunk.called_format,
    }


def _start_script(lab: Lab) -> None:
    """What an operator of each provider would type, one after the other."""
    lines = [
        "#!/usr/bin/env bash",
        "# Indexes every provider's records, fills the coordinator's registry, runs all agents until Ctrl-C.",
        'set -euo pipefail; cd "$(dirname "$0")"; trap \'kill $(jobs -p) 2>/dev/null; wait\' EXIT',
        f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
    ]
    for name in lab.configs:
        stated = f"--complete-from {lab.complete_from(name):%Y-%m-%dT%H:%M:%SZ}"
        stated += f" --complete-until {lab.complete_until(name):%Y-%m-%dT%H:%M:%SZ}"
        lines.append(f"hopback-agent index agents/{name}/agent.toml {stated}")
    lines.append("hopback-coordinator registry import registry.csv --replace --config coordinator/coordinator.toml")
    lines += [f"hopback-agent run agents/{name}/agent.toml &" for name in lab.configs]
    script = lab.directory / "start"
    script.write_text("\n".join([*lines, "wait"]) + "\n")
    script.chmod(0o755)


def _root_key(path: Path, seed: int, provider: str) -> None:
    path.touch(mode=0o600)
    path.write_text(Random(f"{seed}:key:{provider}").randbytes(32).hex() + "\n")


def _calls(path: Path, told: tuple[Truth, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["called", "at", "calling", "terminating"])
        rows.writerows([t.called, t.at.isoformat(), t.calling or "", t.terminating] for t in told)


def _registry(path: Path, endpoints: Mapping[str, str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["id", "name", "endpoint"])
        rows.writerows([name, name.title(), endpoint] for name, endpoint in endpoints.items())
