"""`make demo`: a small industry, its agents as processes, robocalls traced from the phone that rang to their source.

The path is the real one: native files are indexed by `hopback-agent index`, agents are `hopback-agent run` processes
behind mutual TLS on loopback ports, every call is ordered by one person and approved by another, the tracing is
`hopback-coordinator trace`. Nothing here knows a short cut; the truth chooses the calls and is compared with what came
out. Whatever happens, an interrupt too, no process and no file is left behind.
"""

from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from deploy.lab import build, hybrid, narration
from deploy.lab.build import Lab
from deploy.lab.fleet import INTERRUPTS, Fleet, command, run
from deploy.lab.ingredients import ALL, Ingredient
from deploy.lab.judge import Judged, judge, judge_finished
from deploy.lab.people import People
from deploy.lab.planner import generate
from deploy.lab.roster import SMALL
from deploy.lab.roster import build as build_industry
from deploy.lab.scoring import SeenHop
from deploy.lab.stories import Story, choose
from deploy.lab.truth import Truth
from deploy.lab.workplace import workplace

CALLS = 900
SEED = 1
KEPT_FOR = timedelta(days=548)
_NOTHING_HELD: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Told:
    """A story, the traceback that came of it (the coordinator's JSON), and whether it is right."""

    story: Story
    traceback: Mapping[str, Any]
    judged: Judged


def main(console: Console, keep: Path | None = None, seed: int = SEED) -> int:
    """Run the demonstration; 0 when every traceback ended as it should. `keep` is a directory to leave the lab in.

    Raises:
        FleetError: an agent or the coordinator failed; its own words are in the message.
    """
    began = time.monotonic()
    with _interruptible(), workplace(keep, "hopback-demo-") as work:
        narration.opening(console)
        with console.status("Inventing an industry, its calls and its call records …"):
            lab, people = _set_up(work, seed, None if keep is None else build.FIRST_PORT)
        narration.industry(console, lab)
        fleet = Fleet(lab.configs)
        records: dict[str, int] = {}
        with console.status("Each agent indexes its own provider's records …"):
            _index(fleet, lab, records)
        with console.status("Starting the agents …"):
            fleet.__enter__()
        try:
            _register(lab, fleet.addresses, people.config, work)
            narration.ready(console, lab, records, fleet)
            stories = choose(lab.truths, lab.traffic)
            orders = _orders(console, stories, people, work)
            told = _trace_all(console, lab, stories, orders, people.config)
            told = [_continued(console, lab, people, one) for one in told]
            narration.ledger(console, told, _ledger(lab, told, records, people.config))
            narration.evidence(console, _evidence(told, people, work))
        finally:
            fleet.stop()
        narration.closing(console, told, time.monotonic() - began, work if keep else None)
    return 0 if all(one.judged.verdict.right for one in told) else 1


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let every interrupt end the run as Ctrl-C does, so that everything is cleaned up."""

    def stop(signum: int, frame: FrameType | None) -> None:
        del frame
        raise KeyboardInterrupt(signal.Signals(signum).name)

    before = {signum: signal.signal(signum, stop) for signum in INTERRUPTS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _set_up(work: Path, seed: int, port: int | None) -> tuple[Lab, People]:
    """The lab on disk, and the people of a coordinator whose lab authority issued the certificates.

    A lab that is kept has fixed ports, so that `start` in it and the coordinator's registry go on agreeing.
    """
    home = work / "coordinator"
    run([*command("hopback-coordinator"), "init", str(home)])
    industry = build_industry(seed, datetime.now(UTC), ALL - {Ingredient.LATE_RECORDS}, SMALL)
    people = People.of(home)
    lab = build.write(work, industry, generate(industry, CALLS), people=people, port=port, explain=True)
    return lab, people


def _index(fleet: Fleet, lab: Lab, records: dict[str, int]) -> None:
    """Index all; every operator states that its files are complete for as long as records are kept."""
    now = lab.industry.calendar.now
    stated = ("--complete-from", (now - KEPT_FOR).isoformat(), "--complete-until", now.isoformat())

    def done(name: str, report: str) -> None:
        records[name] = _calls_in(json.loads(report))

    fleet.index(*stated, done=done)


def _calls_in(report: Any) -> int:
    """Call legs indexed, out of the index command's JSON."""
    sources = report["sources"] if isinstance(report, dict) else report
    return sum(int(source["calls"]) for source in sources)


def _register(lab: Lab, addresses: Mapping[str, str], coordinator: Path, work: Path) -> None:
    rows = [
        f"{provider.id},{provider.id.title()},{addresses.get(provider.id, '')}\n"
        for provider in lab.industry.providers.values()
    ]
    (work / "registry.csv").write_text("".join(["id,name,endpoint\n", *rows]))
    run(
        [
            *command("hopback-coordinator"),
            "registry",
            "import",
            str(work / "registry.csv"),
            "--config",
            str(coordinator),
        ]
    )


def _orders(console: Console, stories: Sequence[Story], people: People, work: Path) -> list[str]:
    """An order for every story's call, submitted by one person and approved by another; their ids."""
    calls, complaint = work / "complaints.csv", work / "complaints.txt"
    with calls.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["called", "at", "calling", "terminating"])
        rows.writerows([s.truth.called, _stated(s.truth), s.truth.calling or "", s.truth.terminating] for s in stories)
    complaint.write_text("Complaints about robocalls, invented for the demonstration.\n")
    submit, approve = people.keys[1], people.keys[3]
    config = ("--config", str(people.config))
    drafting = ["order", "new", "--file", str(calls), "--campaign", "demonstration", "--evidence", complaint.name]
    drafting += ["--certify", "I have spoken to the people who were called.", "--json"]
    drafted = json.loads(run([*command("hopback-coordinator"), *drafting, *config]))
    signing = [["order", "submit", drafted["set"], "--key", submit], ["order", "approve", drafted["set"], "--yes"]]
    signing[1] += ["--key", approve]
    for one in signing:
        run([*command("hopback-coordinator"), *one, *config])
    shown = json.loads(run([*command("hopback-coordinator"), "order", "show", drafted["set"], "--json", *config]))
    typed = [
        f'order new --file {calls.name} --campaign demonstration --evidence {complaint.name} --certify "..."',
        f"order submit {drafted['set'][:8]} --key {Path(submit).name}",
        f"order approve {drafted['set'][:8]} --key {Path(approve).name}",
    ]
    narration.orders(console, shown, typed)
    return [str(one["order"]) for one in shown["orders"]]


def _trace_all(
    console: Console, lab: Lab, stories: Sequence[Story], orders: Sequence[str], coordinator: Path
) -> list[Told]:
    """Trace every story's call and tell it; while one is told, the next are being traced."""
    told = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        try:
            running = [pool.submit(run, [*_asking(order), "--config", str(coordinator)]) for order in orders]
            for number, (story, order, done) in enumerate(zip(stories, orders, running, strict=True), 1):
                narration.before(console, number, story, f"hopback-coordinator trace --order {order[:8]}")
                with console.status("Tracing …"):
                    traceback = json.loads(done.result())
                one = Told(story, traceback, judge(story.truth, traceback["status"], _seen(lab, traceback)))
                narration.after(console, story, traceback, one.judged)
                told.append(one)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return told


def _continued(console: Console, lab: Lab, people: People, one: Told) -> Told:
    """The same, once a person has answered where it stood at a provider without an agent."""
    if one.traceback["status"] != "no_agent":
        return one
    with console.status("People answer …"):
        done = hybrid.go_on(lab, people, one.story.truth, one.traceback)
    finished = judge_finished(one.story.truth, done.traceback["status"], _seen(lab, done.traceback, done.held))
    narration.people(console, done, finished)
    return Told(one.story, done.traceback, finished)


def _asking(order: str) -> list[str]:
    """The command that traces the call of an order."""
    return [*command("hopback-coordinator"), "trace", "--order", order, "--json"]


def _stated(truth: Truth) -> str:
    """When the call was, as the person that was called says."""
    return truth.at.isoformat().replace("+00:00", "Z")


def _seen(lab: Lab, traceback: Mapping[str, Any], held: Mapping[str, str] = _NOTHING_HELD) -> list[SeenHop]:
    """The hops for the judge. Which records an agent took is its operator's to know; it is read from what he keeps.

    Where an answer was held, by provider, records were read for the question that was held and not for the last one.
    """
    return [
        SeenHop(
            provider=hop["provider"],
            outcome=hop["outcome"].lower() if hop["outcome"] else None,
            upstream=hop["upstream"],
            upstream_party=explained.get("came_from"),
            instances=_calls_of(lab, hop["provider"], explained),
        )
        for hop in traceback["hops"]
        for kept in [explanations(lab, hop["provider"])]
        for explained in [kept.get(hop["question_id"]) or kept.get(held.get(hop["provider"], ""), {})]
    ]


def explanations(lab: Lab, provider: str) -> dict[str, dict[str, Any]]:
    """What an agent kept for its own operator, by question id."""
    if provider not in lab.configs:
        return {}
    kept = (lab.configs[provider].parent / "explanations").glob("*.jsonl")
    entries = (json.loads(line) for file in kept for line in file.read_text().splitlines())
    return {entry["question_id"]: entry for entry in entries}


def _calls_of(lab: Lab, provider: str, explained: Mapping[str, Any]) -> frozenset[str] | None:
    """The true calls behind the records that an agent took; None where there is no agent."""
    from agent.index.build import short_refs
    from agent.index.keys import Keys

    if provider not in lab.configs:
        return None
    if "calls" not in explained:
        return frozenset()
    key = bytes.fromhex((lab.configs[provider].parent / "root.key").read_text())
    passages = [p for p in lab.traffic.passages if p.provider == provider]
    calls: dict[str, set[str]] = {}  # two calls may share a reference: 24 bits tell those of one number apart
    refs = short_refs(Keys.from_root(key).call_refs([p.record_id for p in passages]))
    for ref, passage in zip(refs.tolist(), passages, strict=True):
        calls.setdefault(f"{ref:016x}", set()).add(passage.call)
    taken = {record["call_ref"] for call in explained["calls"] if call["taken"] for record in call["records"]}
    return frozenset(call for ref in taken for call in calls.get(ref, ()))


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is where at the end: records at the agents, those looked at, what the coordinator holds, what is logged."""

    records: int
    looked_at: int
    questions: int
    secrets: int
    leaked: tuple[str, ...]
    database_bytes: int
    signed: int
    logs: int
    entries: int


def _ledger(lab: Lab, told: Sequence[Told], records: Mapping[str, int], coordinator: Path) -> Ledger:
    """Count what was touched, and search the coordinator's database for what it must not hold."""
    looked_at = {
        (name, record["source"], record["row"])
        for name in lab.configs
        for explained in explanations(lab, name).values()
        for call in explained.get("calls", ())
        for record in call["records"]
    }
    held = b"".join(path.read_bytes() for path in sorted(coordinator.parent.glob("coordinator.db*")))
    secrets = _secrets(lab)
    signed = [hop for one in told for hop in one.traceback["hops"] if hop["signed"] and hop["provider"] in lab.configs]
    asked = sorted({hop["provider"] for hop in signed})
    with ThreadPoolExecutor(max_workers=2) as pool:
        verify = [*command("hopback-agent"), "audit", "verify", "--json"]
        logs = list(pool.map(lambda name: json.loads(run([*verify, str(lab.configs[name])])), asked))
    return Ledger(
        records=sum(records.values()),
        looked_at=len(looked_at),
        questions=sum(1 for one in told for hop in one.traceback["hops"] if hop["outcome"]),
        secrets=len(secrets),
        leaked=tuple(sorted(secret for secret in secrets if secret.encode() in held)),
        database_bytes=len(held),
        signed=len(signed),
        logs=sum(log["whole"] for log in logs),
        entries=sum(log["entries"] for log in logs),
    )


@dataclass(frozen=True, slots=True)
class Bundled:
    """One traceback's evidence as a file, and what anybody can verify of it offline."""

    typed: tuple[str, str]
    kilobytes: float
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]


def _evidence(told: Sequence[Told], people: People, work: Path) -> Bundled:
    """Bundle the longest chain that found its source, and verify the file against roots and keys of one's own."""
    found = [one.traceback for one in told if one.traceback["origin"] or one.traceback["gateway"]]
    longest = max(found, key=lambda traceback: len(traceback["hops"]))
    short = longest["id"][:8]
    file = work / f"{short}.zip"
    program = command("hopback-coordinator")
    run([*program, "bundle", longest["id"], "--out", str(file), "--config", str(people.config)])
    persons = {**people.orders.submitters, **people.orders.approvers}
    trusted = [text for name, key in persons.items() for text in ("--person", f"{name}={key}")]
    roots = str(people.home / "ca" / "ca.crt")
    verified = json.loads(run([*program, "verify", "--roots", roots, *trusted, "--json", str(file)]))
    by_standing: dict[str, list[str]] = {}
    for statement in verified["statements"]:
        by_standing.setdefault(statement["standing"], []).append(statement["what"])
    shown = " ".join(f"--person {name}=ed25519:..." for name in persons)
    return Bundled(
        typed=(f"hopback-coordinator bundle {short}", f"hopback-coordinator verify --roots ca.crt {shown} {file.name}"),
        kilobytes=file.stat().st_size / 1024,
        proven=tuple(by_standing.get("proven", ())),
        not_proven=tuple(by_standing.get("not proven", ())),
    )


def _secrets(lab: Lab) -> set[str]:
    """What never leaves a provider: its trunk names, customers' accounts, peers' addresses, call ids."""
    trunks = lab.industry.trunks
    names = {name for t in trunks for name in (t.ingress_name, t.egress_name, t.sender_address, t.receiver_address)}
    accounts = {t.sender.name for t in trunks if t.sender.kind.value == "customer"}
    ids = {passage.record_id for passage in lab.traffic.passages}
    return {secret for secret in names | accounts | ids if len(secret) >= 6}
