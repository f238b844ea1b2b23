"""What the demonstration says: plain words for somebody who sees a traceback for the first time.

Rich in a terminal, plain text elsewhere. Numbers are shown in full here: they are invented, every one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from deploy.lab.build import Lab
from deploy.lab.fleet import Fleet
from deploy.lab.judge import Judged, Verdict
from deploy.lab.stories import Story

if TYPE_CHECKING:
    from deploy.lab.demo import Bundled, Ledger, Told
    from deploy.lab.hybrid import Continued

_GOOD, _HONEST, _BAD = "bold green", "bold yellow", "bold red"
_STATUS_STYLE = {"origin_found": _GOOD, "gateway_found": _GOOD, "disputed": _BAD}


def opening(console: Console) -> None:
    """What this is about."""
    console.print()
    console.print(Rule(Text("hopback: who handed you this call?", style="bold")))
    _say(
        console,
        "A robocall's caller ID is usually false. The only way to its source is the way it took: the provider that "
        "delivered it knows which provider handed it over, that one knows who handed it to them, and so on back. "
        "Each keeps its records at home, beside an agent that answers this one question. The coordinator asks the "
        "agents one after the other.",
    )


def industry(console: Console, lab: Lab) -> None:
    """The providers, and in what shape their records are."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="The industry, invented", title_justify="left")
    for heading in ("Provider", "Mostly", "Keeps its call records as", "Clock"):
        table.add_column(heading, overflow="fold")
    for provider in lab.industry.providers.values():
        first = provider.switches[0]
        seconds = first.offset.total_seconds()
        clock = first.zone + (f", {seconds:+g} s" if seconds else "")
        own = lab.sources.get(provider.id, ())
        formats = ", ".join(dict.fromkeys(_FORMATS[source.format] for source in own))
        table.add_row(
            provider.id, provider.role.value, formats or Text("(runs no agent)", style="yellow"), clock if own else ""
        )
    console.print(Padding(table, (1, 0, 0, 0)))
    on = sorted(lab.industry.ingredients, key=lambda i: i.value)
    _say(console, f"{len(lab.truths):,} calls went through it, with {len(on)} kinds of trouble in them, among them: ")
    for ingredient in on[:: max(1, len(on) // 6)][:6]:
        console.print(Text(f"    · {ingredient.summary}", style="dim"))


_FORMATS = {
    "delimited": "delimited text",
    "sqlite": "SQLite database",
    "sqldump": "PostgreSQL dump",
    "kamailio_syslog": "proxy's syslog",
    "kamailio_dbtext": "db_text tables",
    "radius_detail": "RADIUS detail",
}


def ready(console: Console, lab: Lab, records: Mapping[str, int], fleet: Fleet) -> None:
    """How much is indexed and running."""
    slowest = max(fleet.started_in.values(), default=0.0)
    _say(
        console,
        f"{len(fleet.addresses)} agents are running, each a process of its own, reached over mutual TLS; together they "
        f"hold {sum(records.values()):,} records of {len(lab.truths):,} calls. The slowest was ready after "
        f"{slowest:.1f} s.",
    )


def orders(console: Console, shown: Mapping[str, Any], typed: Sequence[str]) -> None:
    """Who says that these calls may be traced, and who approved it."""
    console.print()
    console.print(Rule(Text("Before anybody is asked", style="bold cyan"), align="left"))
    by = {one["as"]: one["person"] for one in shown["signatures"]}
    _say(
        console,
        f"No agent answers a coordinator for the asking. {by['submitter'].title()} certifies the complaints and signs "
        f"an order for each call; {by['approver'].title()} looks at them and approves. Each has a key of their own, "
        "which every agent has been told; the coordinator's own key is worth nothing without theirs.",
    )
    for line in typed:
        console.print(Text(f"  $ hopback-coordinator {line}", style="dim"), soft_wrap=True)
    count, until = len(shown["orders"]), datetime.fromisoformat(shown["orders"][0]["expires"])
    _say(
        console,
        f"{count} orders, {shown['state']}: each for one call, 60 s around its time, valid until "
        f"{until:%d %B %H:%M} UTC. Beyond that an agent answers nothing, whoever asks.",
    )


def before(console: Console, number: int, story: Story, command_line: str) -> None:
    """A story's heading, and what really happened."""
    console.print()
    console.print(Rule(Text(f"{number}  {story.title}", style="bold cyan"), align="left"))
    _say(console, story.happened, style="italic")
    truth = story.truth
    shown = f"it showed {truth.calling}" if truth.calling else "it showed no number"
    _say(
        console,
        f"All the called person knows: {truth.called} rang at {truth.at:%H:%M:%S} UTC on {truth.at:%d %B}, "
        f"{shown}; {truth.terminating} is the provider of that line.",
    )
    console.print(Text(f"  $ {command_line}", style="dim"), soft_wrap=True)


def after(console: Console, story: Story, traceback: Mapping[str, Any], judged: Judged) -> None:
    """The chain, hop by hop; how it ended; whether that is true; what to learn from it."""
    _chain(console, traceback)
    console.print(_verdict(judged))
    _say(console, story.moral)


def people(console: Console, done: Continued, judged: Judged) -> None:
    """What people did where the chain had to wait, and the chain after it."""
    for act in done.acts:
        _say(console, act.told)
        console.print(Text(f"  $ {act.typed}", style="dim"), soft_wrap=True)
    console.print()
    _chain(console, done.traceback)
    console.print(_verdict(judged))


def _chain(console: Console, traceback: Mapping[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("Asked", no_wrap=True)
    table.add_column("Question", overflow="fold")
    table.add_column("Answer", overflow="fold")
    table.add_column("Took", justify="right", no_wrap=True, style="dim")
    for position, hop in enumerate(traceback["hops"]):
        earlier = traceback["hops"][position - 1] if position else None
        table.add_row(
            str(position + 1),
            Text(hop["provider"], style="bold"),
            _question(hop, earlier),
            _answer(hop),
            _took(hop["took_ms"]) if hop["took_ms"] is not None and hop["outcome"] else "",
        )
    console.print(Padding(table, (0, 0, 0, 2)))
    status = traceback["status"]
    ended = Text(status.replace("_", " ").upper(), style=_STATUS_STYLE.get(status, _HONEST))
    console.print(Padding(ended.append(f"  {traceback['means']}", style="default not bold"), (0, 2, 0, 2)))


def _took(milliseconds: float) -> str:
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:,.0f} s"


def _question(hop: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> Text:
    text = Text()
    at = datetime.fromisoformat(hop["at"])
    if earlier is None:
        return text.append(f"Who handed you the call to {hop['asked_called']} at {at:%H:%M:%S}?")
    text.append(f"{hop['named_by']} says you handed it ")
    if hop["asked_called"] != earlier["asked_called"]:
        text.append("a call to ").append(hop["asked_called"], style="bold magenta")
    else:
        text.append("this call")
    if hop["at"] != earlier["at"]:
        text.append(" at ").append(f"{at:%H:%M:%S}", style="bold magenta")
    return text.append(". Who handed it to you?")


def _answer(hop: Mapping[str, Any]) -> Text:
    outcome, handover = hop["outcome"], hop["handover"]
    if outcome is None:
        words = {"no_agent": "(has no agent to ask)"}.get(hop["problem"], f"({hop['problem']})")
        return Text(words, style="yellow")
    text = Text("Yes. " if handover == "CONFIRMED" else "No, not I. " if handover == "NOT_MINE" else "")
    match outcome:
        case "UPSTREAM":
            text.append(hop["upstream"], style="bold").append(" did.")
        case "FOREIGN_UPSTREAM":
            text.append("A foreign carrier: ").append(hop["upstream"], style="bold").append(".")
        case "ORIGINATED_HERE":
            text.append("A customer of mine placed it.", style="bold")
        case "AMBIGUOUS":
            text.append("Several calls fit, from different providers: I name none.", style="yellow")
        case "NOT_FOUND":
            text.append("My records of that time are complete, and it is not in them.", style="red")
        case "UNMAPPED":
            text.append("I have it, but my map does not know the trunk it came on.", style="yellow")
        case "NOT_RECORDED":
            text.append("I have it, but my records do not say where it came from.", style="yellow")
        case "RECORDS_EXPIRED":
            text.append("I no longer keep records that old.", style="yellow")
        case _:
            text.append(outcome.replace("_", " ").lower())
    if hop["ask_called"]:
        text.append(" Ask there for ").append(hop["ask_called"], style="bold magenta").append(".")
    if hop["time_correction_s"]:
        text.append(" Look ").append(f"{hop['time_correction_s']:+d} s", style="bold magenta").append(" from there.")
    return text


def _verdict(judged: Judged) -> Text:
    match judged.verdict:
        case Verdict.TRACED:
            return Text("  ✔ True: every hop is the one that the call really took.", style="green")
        case Verdict.STOPPED_RIGHTLY:
            return Text("  ✔ True: this is where an honest tracing must stop.", style="green")
        case _:
            return Text(f"  ✘ NOT TRUE: {judged.why}", style=_BAD)


def ledger(console: Console, told: Sequence[Told], sums: Ledger) -> None:
    """What the coordinator learnt, and what it did not."""
    console.print()
    console.print(Rule(Text("What the coordinator learnt, and what it did not", style="bold cyan"), align="left"))
    asked = [hop for one in told for hop in one.traceback["hops"]]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    crossed = Counter[str]()
    for hop in asked:
        crossed["an outcome"] += hop["outcome"] is not None
        crossed["an upstream provider's id"] += hop["upstream"] is not None
        crossed["a called number, because it had changed"] += hop["ask_called"] is not None
        crossed["a time correction in whole seconds"] += bool(hop["time_correction_s"])
        crossed["a handover confirmed or denied"] += hop["handover"] in ("CONFIRMED", "NOT_MINE")
    table.add_row(
        "It asked",
        f"{sums.questions} questions: a called number, a time, a window, who named the one asked, "
        "and the caller ID as a hint.",
    )
    table.add_row("It was told", "\n".join(f"{count:>3} × {what}" for what, count in crossed.items() if count))
    table.add_row(
        "It did not see",
        f"any of the {sums.records:,} records. The agents looked at {sums.looked_at} of them to find the answers, at "
        "home; not one left.",
    )
    table.add_row(
        "Checked",
        f"its database ({sums.database_bytes / 1024:,.0f} KB) was searched for {sums.secrets:,} trunk names, customer "
        f"accounts, peer addresses and call ids of the providers: {len(sums.leaked)} found.",
    )
    table.add_row(
        "All of it signed",
        f"{sums.signed} answers of {sums.questions} bear their provider's signature. Each stood in that provider's "
        f"audit log before it left: {sums.entries} entries in {sums.logs} logs, all verified from the files alone. "
        + ("What a person said in place of an agent, an approver attested." if sums.signed < sums.questions else ""),
    )
    table.add_row(
        "Nobody can ask", "for what nobody complained of: to search or list calls is not a question there is."
    )
    console.print(Padding(table, (0, 0, 0, 2)))


def evidence(console: Console, made: Bundled) -> None:
    """What a court gets: one file, and what it proves by itself."""
    console.print()
    console.print(Rule(Text("What a court gets", style="bold cyan"), align="left"))
    for typed in made.typed:
        console.print(Text(f"  $ {typed}", style="dim"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(
        "One file",
        f"of {made.kilobytes:.0f} KB: the order, every question and answer as exact bytes, certificates, proofs from "
        "the providers' logs, a page, a PDF and JSON for readers. Verified offline, against keys that one has oneself:",
    )
    chosen = [what for what in made.proven if not what.startswith("hop") or "logged" in what]
    table.add_row(f"{len(made.proven)} proven", "\n".join(chosen))
    table.add_row(f"{len(made.not_proven)} not proven", "\n".join(made.not_proven))
    console.print(Padding(table, (1, 0, 0, 2)))


def closing(console: Console, told: Sequence[Told], seconds: float, kept: Path | None) -> None:
    """How it went, and what to do next."""
    right = sum(one.judged.verdict.right for one in told)
    style = _GOOD if right == len(told) else _BAD
    console.print()
    console.print(Rule(style="dim"))
    line = Text("  ").append(f"{right} of {len(told)} tracebacks ended as they should", style=style)
    console.print(line.append(f", in {seconds:.0f} s from nothing. All agents have been stopped."))
    if kept is None:
        _say(console, "Keep the lab to play with it:  make demo KEEP=DIR", style="dim")
    else:
        _say(
            console,
            f"The lab is in {kept}. Start its agents again with the script `start` in there, then:",
            style="dim",
        )
        example = f"hopback-coordinator list --config {kept}/coordinator/coordinator.toml"
        console.print(Text(f"  {example}", style="dim"), soft_wrap=True)


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Padding(Text(text, style=style), (1, 2, 0, 2)))
