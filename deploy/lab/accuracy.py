"""`make accuracy`: traces every call of a lab of real calls, however a person might ask; says how often it was right.

It sets up what a whole industry would: an agent per provider, configured from what that provider knows of itself
(`deploy.lab.siplab`) or from a hand-written configuration, each a process of its own behind mutual TLS, and the real
coordinator, asked through its command line under orders that one person submits and another approves. A person has the
called number, a time in whole seconds, and the calling number that the phone showed; that and nothing else goes in.
TRUTH.jsonl makes the list of calls (those three facts at the terminating side) and then belongs to the scorer alone.

The ways of asking: as a person would; two seconds early; two seconds late; without the calling number; with a wrong
one.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from agent.index.build import short_refs
from agent.index.keys import Keys
from agent.index.root_key import create_root_key_file, root_key_from
from cdr_adapters.numbers import number_of
from deploy.lab.fleet import Fleet, FleetError, command, run
from deploy.lab.people import People
from deploy.lab.scoring import Scored, SeenHop, Verdict, percentile, score, summary, true_call
from deploy.lab.siplab import agent_tables, to_toml, topology
from deploy.lab.siplab_tables import LabError
from deploy.lab.workplace import workplace

ROOT_KEY = "root.key"
WRONG_CALLING = "+19995550100"  # NPA 999 is not assigned: nobody's number


@dataclass(frozen=True)
class Way:
    """One way of asking about the same calls."""

    name: str
    meaning: str
    shift: timedelta = timedelta(0)
    calling: str | None = "as seen"


Results = list[tuple[Scored, float]]
"""Every call's verdict, with how long its traceback took in milliseconds."""

WAYS = (
    Way("as a person would", "called number, whole second, calling number as the phone showed it"),
    Way("2 s early", "the same, the time two seconds too early", shift=timedelta(seconds=-2)),
    Way("2 s late", "the same, the time two seconds too late", shift=timedelta(seconds=2)),
    Way("no calling number", "called number and time only", calling=None),
    Way("wrong calling number", "a calling number that nobody called from", calling=WRONG_CALLING),
)


_directory = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--lab", type=_directory, required=True, help="TOPOLOGY.json, TRUTH.jsonl, the stores, pcap/.")
@click.option("--config", type=_directory, help="Hand-written NAME.toml for single providers.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there, as JSON.")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Leave configurations and indexes there."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON instead of tables.")
def main(lab: Path, config: Path | None, out: Path | None, keep: Path | None, as_json: bool) -> None:
    """Trace every call of a lab of real calls, in every way a person might ask, and say how often it was right.

    Ends with 1 when any hop was wrong.
    """
    console = Console(stderr=as_json, highlight=False, width=None if sys.stdout.isatty() else 110)
    try:
        report = run_all(lab.resolve(), config and config.resolve(), keep, console)
    except (LabError, FleetError) as error:
        raise click.ClickException(str(error)) from None
    if out is not None:
        out.write_text(json.dumps(report, indent=1) + "\n")
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        _show(report, console)
    sys.exit(1 if any(figures["wrong_hops"] for figures in report["ways"].values()) else 0)


def run_all(lab: Path, config: Path | None, keep: Path | None, console: Console) -> dict[str, Any]:
    """Set the lab up, ask in all ways, tear it down; the report.

    Raises:
        LabError, FleetError: the lab can't be set up.
    """
    if not (lab / "TRUTH.jsonl").is_file():
        raise LabError(f"{lab} has no TRUTH.jsonl: without an answer sheet nothing can be scored")
    with workplace(keep, "hopback-accuracy-") as work:
        configs = build(lab, work, config, console.print)
        fleet = Fleet(configs)
        console.print(f"Indexing the records of {len(configs)} providers …")
        fleet.index("--complete-until", datetime.now(UTC).isoformat(), done=lambda name, _: console.print(f"  {name}"))
        with fleet:
            coordinator = _register(work, fleet.addresses)
            truths = [json.loads(line) for line in (lab / "TRUTH.jsonl").read_text().splitlines()]
            results = {way.name: _trace_all(way, truths, coordinator, work) for way in WAYS}
    return _report(results)


# --- agents and coordinator -------------------------------------------------------------------------------------------


def build(
    lab: Path, work: Path, handwritten: Path | None = None, note: Callable[[str], None] = lambda _: None
) -> dict[str, Path]:
    """Write every agent's configuration, key and certificates below `work`; the configuration files by provider.

    `handwritten` may hold NAME.toml for single providers: their [[sources]], [[trunks]] and [match] are taken from
    there, identity and addresses stay the lab's. Paths of sources in it count from that directory, else from the
    provider's directory in the lab, else from the lab.

    Raises:
        LabError: the lab has no topology, or a store that can't be mapped and no hand-written configuration for it; or
            a hand-written one is no TOML, or of no provider of the lab.
    """
    names = {provider["name"] for provider in topology(lab)}
    for file in sorted(handwritten.glob("*.toml")) if handwritten is not None else ():
        if file.stem not in names:
            raise LabError(f"{file}: the lab has no provider {file.stem}; there are: {', '.join(sorted(names))}")
    people = People.of(_coordinator_home(work))
    configs: dict[str, Path] = {}
    for provider in topology(lab):
        name = provider["name"]
        home = work / "agents" / name
        home.mkdir(parents=True, exist_ok=True)
        own = handwritten / f"{name}.toml" if handwritten is not None else None
        tables = _handwritten(own, lab, name) if own and own.is_file() else agent_tables(lab, provider, note)
        signing = people.tables(name, home)
        key = home / ROOT_KEY
        if not key.exists():
            create_root_key_file(key)
        settings: dict[str, Any] = {
            "provider": {"id": name},
            "listen": {
                "address": "127.0.0.1:0",
                "certificate": f"{name}.crt",
                "key": f"{name}.key",
                "roots": "ca.crt",
                "coordinators": ["hopback://coordinator/lab"],
            },
            "index": {"directory": "index", "root_key_file": str(key), "retention": "36500d"},
            "explain": {"keep": True, "directory": "decisions"},
        }
        configs[name] = home / "agent.toml"
        configs[name].write_text(to_toml(settings | signing | tables))
    return configs


def _handwritten(file: Path, lab: Path, name: str) -> dict[str, Any]:
    try:
        written = tomllib.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise LabError(f"{file} is no TOML: {error}") from None
    tables = {key: value for key, value in written.items() if key in ("sources", "trunks", "match")}
    for source in tables.get("sources", ()):
        path = str(source.get("path", ""))
        if path and not Path(path).is_absolute():
            bases = (file.parent, lab / name, lab)
            found = (base / path for base in bases if any(base.glob(path)))
            source["path"] = str(next(found, lab / name / path).resolve())
    return tables


def _coordinator_home(work: Path) -> Path:
    """The coordinator's directory, made by its own `init` when it is not there yet."""
    home = work / "coordinator"
    if not home.exists():
        run([*command("hopback-coordinator"), "init", str(home)])
        config = home / "coordinator.toml"
        # One traceback at a time: the time that each takes is a figure of the report.
        config.write_text(re.sub(r"(?m)^concurrent = \d+", "concurrent = 1", config.read_text()))
    return home


def _register(work: Path, addresses: Mapping[str, str]) -> Path:
    """Tell the coordinator where the agents are; its configuration file."""
    registry = work / "registry.csv"
    with registry.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "endpoint"])
        writer.writerows([name, name.title(), address] for name, address in addresses.items())
    config = _coordinator_home(work) / "coordinator.toml"
    run([*command("hopback-coordinator"), "registry", "import", str(registry), "--replace", "--config", str(config)])
    return config


# --- asking and scoring -----------------------------------------------------------------------------------------------


def _trace_all(
    way: Way, truths: Sequence[Mapping[str, Any]], coordinator: Path, work: Path
) -> list[tuple[Scored, float]]:
    calls = work / "calls.csv"
    with calls.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["called", "at", "calling", "terminating"])
        writer.writerows(_as_a_person_has_it(truth, way) for truth in truths)
    keys = People.of(coordinator.parent).keys
    ordered = ["--campaign", way.name, *keys]
    printed = run(
        [*command("hopback-coordinator"), "import", str(calls), "--json", *ordered, "--config", str(coordinator)]
    )
    tracebacks = sorted(map(json.loads, printed.splitlines()), key=lambda traceback: int(traceback["line"]))
    if [traceback["line"] for traceback in tracebacks] != list(range(2, len(truths) + 2)):
        raise LabError(f"{len(truths)} calls went in, {len(tracebacks)} tracebacks came out")
    logs = {
        name: DecisionLog(work / "agents" / name) for name in {h["provider"] for t in tracebacks for h in t["hops"]}
    }
    customers = _customers(truths)
    return [
        (_scored(truth, traceback, logs, customers), sum(hop["took_ms"] or 0.0 for hop in traceback["hops"]))
        for truth, traceback in zip(truths, tracebacks, strict=True)
    ]


def _as_a_person_has_it(truth: Mapping[str, Any], way: Way) -> tuple[str, str, str, str]:
    heard = datetime.fromisoformat(truth["time_at_terminating_utc"])
    second = datetime.fromtimestamp(math.floor(heard.timestamp()), UTC) + way.shift
    seen = number_of(truth["calling_at_terminating"], "auto")
    calling = (seen or "") if way.calling == "as seen" else (way.calling or "")
    return truth["called_at_terminating_e164"], second.isoformat(), calling, truth["terminating"]


class DecisionLog:
    """What one agent noted for its own operator: which records it matched, by question id."""

    def __init__(self, home: Path) -> None:
        self._keys = Keys.from_root(root_key_from(home / ROOT_KEY, {}))
        self._noted: dict[str, dict[str, Any]] = {}
        for file in sorted((home / "decisions").glob("*.jsonl")):
            self._noted |= {entry["question_id"]: entry for entry in map(json.loads, file.read_text().splitlines())}

    def seen(self, hop: Mapping[str, Any], call_id: str) -> SeenHop:
        """One hop of a traceback with the instances that its agent matched; the true call is known by its call id."""
        noted = self._noted.get(hop["question_id"], {})
        refs = {row["call_ref"] for call in noted.get("calls", ()) if call["taken"] for row in call["records"]}
        true_ref = f"{int(short_refs(self._keys.call_refs([call_id]))[0]):016x}"
        instances = frozenset(call_id if ref == true_ref else str(ref) for ref in refs if ref is not None)
        return SeenHop(
            provider=hop["provider"],
            outcome=(hop["outcome"] or "none").lower(),
            upstream=hop["upstream"],
            upstream_party=noted.get("came_from"),
            instances=None if refs == {None} else instances,
        )


def _customers(truths: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The customers by the names that the lab gives them, as parties of a trunk map."""
    hops = (hop for truth in truths for hop in truth["hops"])
    return frozenset(f"customer:{hop['upstream']}" for hop in hops if hop["upstream_kind"] == "customer")


def _scored(
    truth: Mapping[str, Any],
    traceback: Mapping[str, Any],
    logs: Mapping[str, DecisionLog],
    customers: frozenset[str],
) -> Scored:
    call_id = truth["sip_call_id_at_origin"]
    hops = [logs[hop["provider"]].seen(hop, call_id) for hop in traceback["hops"]]
    return score(true_call(truth), traceback["status"], hops, customers)


def _report(results: Mapping[str, Results]) -> dict[str, Any]:
    """The figures of the first way at the top, those of all ways under `ways`."""
    ways = {
        name: {
            **summary([scored for scored, _ in rows]),
            "p50_ms": round(percentile([ms for _, ms in rows], 0.5), 2),
            "p99_ms": round(percentile([ms for _, ms in rows], 0.99), 2),
            "misses": [
                {"call": s.call, "verdict": s.verdict.value, "why": s.why, "special": list(s.special)}
                for s, _ in rows
                if s.verdict is not Verdict.RIGHT
            ],
        }
        for name, rows in results.items()
    }
    return {**next(iter(ways.values())), "ways": ways}


def _show(report: Mapping[str, Any], console: Console) -> None:
    table = Table(title="How often was it right?", caption="scored by the call itself, not by the path alone")
    for heading in ("asked", "calls", "right", "", "wrong hops", "incomplete, honestly", "p50", "p99"):
        table.add_column(
            heading, justify="left" if heading in ("asked", "incomplete, honestly") else "right", no_wrap=True
        )
    for name, figures in report["ways"].items():
        table.add_row(
            name,
            str(figures["calls"]),
            str(figures["right"]),
            f"{figures['right'] / max(1, figures['calls']):.1%}",
            f"[bold red]{figures['wrong_hops']}[/]" if figures["wrong_hops"] else "0",
            ", ".join(f"{count} {status}" for status, count in sorted(figures["incomplete"].items())) or "none",
            f"{figures['p50_ms']:.1f} ms",
            f"{figures['p99_ms']:.1f} ms",
        )
    console.print(table)
    special = Table(title=f"Per special case, asked {WAYS[0].name}")
    for heading in ("special case", "calls", "right", "wrong", "incomplete"):
        special.add_column(heading, justify="left" if heading == "special case" else "right")
    for name, counts in report["by_special"].items():
        special.add_row(name, *(str(counts[key]) for key in ("calls", "right", "wrong", "incomplete")))
    console.print(special)
    if alone := report["by_answer_alone"]:
        console.print(f"{alone} hops were judged by the answer alone: the records bear no call ids.")
    for name, figures in report["ways"].items():
        for miss in figures["misses"]:
            if miss["verdict"] == Verdict.WRONG.value:
                console.print(f"[red]wrong[/] asked {name}: {miss['call']}: {miss['why']}")


if __name__ == "__main__":
    main()
