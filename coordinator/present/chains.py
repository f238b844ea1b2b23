"""A traceback as people and programs see it: a table of hops, a status in plain words, JSON.

For people numbers are masked unless asked for, and every text from a file or another company is shown as text, never as
markup. JSON holds the requester's own order in full: keys are stable, times are ISO 8601 in UTC with milliseconds, an
absent value is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from coordinator.present.explain import TITLES, explain
from coordinator.present.explain_again import explain_contests, explain_forks, explain_sisters
from coordinator.tracing.chain import Hop, Phase, Problem, Status, Traceback, moved_by, role, standing
from coordinator.tracing.disputes import disputes, forks, hop_labels
from coordinator.tracing.elimination import sisters_named
from coordinator.tracing.ports import Provider
from coordinator.tracing.signed import AGENT, ATTESTED, PERSON, AttestedAnswer, SignedAnswer, word_of
from protos.e164 import masked
from protos.types import Handover, Outcome, RefusalReason

if TYPE_CHECKING:
    from coordinator.store.sql_store import Summary

_GOOD = frozenset({Status.ORIGIN_FOUND, Status.GATEWAY_FOUND})
_ALARMING = frozenset({Status.DISPUTED, Status.LOOP, Status.BAD_ANSWER})


def traceback_json(traceback: Traceback) -> dict[str, Any]:
    """The JSON object of one traceback, with everything in it."""
    call, words = traceback.call, explain(traceback)
    return {
        "id": str(traceback.id),
        "called": call.called,
        "at": _iso(call.at),
        "calling": call.calling,
        "terminating": call.terminating,
        "window_ms": call.window // timedelta(milliseconds=1),
        "hop_limit": call.hop_limit,
        "status": traceback.status.value,
        "means": words.means,
        "next": words.next,
        "origin": traceback.origin,
        "gateway": traceback.gateway,
        "due": _iso(traceback.due) if traceback.due else None,
        "order_sha256": call.order_sha256.hex() if call.order_sha256 else None,
        "disputes": [{"between": list(one.between), "what": one.what} for one in disputes(traceback)],
        "forks": _forks_json(traceback),
        "contests": list(explain_contests(traceback)),
        "hops": [_hop_json(traceback, position) for position in standing(traceback.hops)],
    }


def _forks_json(traceback: Traceback) -> list[dict[str, Any]]:
    """Each fork with the branch that was denied; the other one is in "hops"."""
    stands = standing(traceback.hops)
    return [
        {
            "place": fork.place + 1,
            "between": [traceback.hops[fork.named].provider, traceback.hops[fork.denied].provider],
            "settled": fork.settled.value,
            "means": means,
            "denied": [_hop_json(traceback, one) for one in (fork.named, fork.denied) if one not in stands],
        }
        for fork, means in zip(forks(traceback), explain_forks(traceback), strict=True)
    ]


def summary_json(summary: Summary) -> dict[str, Any]:
    """The JSON object of one line of a list."""
    return {
        "id": str(summary.id),
        "called": summary.called,
        "at": _iso(summary.at),
        "terminating": summary.terminating,
        "status": summary.status.value,
        "origin": summary.found if summary.status is Status.ORIGIN_FOUND else None,
        "gateway": summary.found if summary.status is Status.GATEWAY_FOUND else None,
        "due": _iso(summary.due) if summary.due else None,
        "hops": summary.hop_count,
        "submitted_at": _iso(summary.submitted_at),
    }


def _hop_json(traceback: Traceback, position: int) -> dict[str, Any]:
    hop = traceback.hops[position]
    question, answer = hop.question, hop.answer
    return {
        "provider": hop.provider,
        "role": role(traceback, position).value,
        "named_by": question.named_by,
        "outcome": answer.outcome.name if answer else None,
        "upstream": answer.upstream if answer else None,
        "handover": answer.handover.name if answer and question.named_by else None,
        "refusal": answer.refusal.name if answer and answer.outcome is Outcome.REFUSED else None,
        "problem": hop.problem.value if hop.problem else None,
        "detail": hop.detail or None,
        "asked_called": question.called,
        "at": _iso(question.at),
        "ask_called": answer.ask_called if answer else None,
        "time_shift_s": moved_by(traceback.hops, position) // timedelta(seconds=1),
        "time_correction_s": answer.time_correction // timedelta(seconds=1) if answer else 0,
        "sisters": [str(sister) for sister in sisters_named(question)],
        "contested": hop.contest is not None,
        "question_id": str(question.question_id),
        "round": hop.round,
        "signed": isinstance(answer, SignedAnswer) and not isinstance(answer, AttestedAnswer),
        "word": word_of(answer) if answer else None,
        "took_ms": round(hop.took / timedelta(milliseconds=1), 3) if hop.took is not None else None,
    }


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(text: str | None, *, show: bool) -> str:
    """A telephone number for people: masked unless `show`."""
    if text is None:
        return ""
    return text if show else masked(text)


def counted(count: int, noun: str) -> str:
    """`1 call`, `1,200 calls`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def took(hop: Hop) -> str:
    """How long a hop took, for people; empty while it is open, and where nobody could be asked."""
    return took_words(hop.took, hop.problem)


def took_words(duration: timedelta | None, problem: Problem | None) -> str:
    """The same of a duration."""
    if duration is None or problem in (Problem.NO_AGENT, Problem.UNREGISTERED, Problem.CONTESTED):
        return ""
    return lasted(duration)


def lasted(duration: timedelta) -> str:
    """A duration as people say it: `24.7 ms`, `298 ms`, `2.2 s`, `206 s`, `36 min`, `5.3 h`, `2.1 days`."""
    unit, name = next(((unit, name) for unit, name, most in _UNITS if duration < most * unit), (_DAY, "days"))
    value = duration / unit
    return f"{value:.1f} {name}" if value < (100 if name == "ms" else 10) else f"{value:,.0f} {name}"


_UNITS = (
    (timedelta(milliseconds=1), "ms", 1000),
    (timedelta(seconds=1), "s", 600),
    (timedelta(minutes=1), "min", 120),
    (timedelta(hours=1), "h", 48),
)
"""A unit, and how many of it people don't count any more."""
_DAY = timedelta(days=1)

_PROBLEMS = {
    Problem.UNREACHABLE: "not reachable",
    Problem.TIMED_OUT: "no answer in time",
    Problem.BAD_ANSWER: "no valid answer",
    Problem.DECLINED: "doesn't accept this coordinator",
    Problem.NO_AGENT: "has no agent",
    Problem.UNREGISTERED: "not in the registry",
    Problem.CONTESTED: "contested, not asked once more",
}
_OUTCOMES = {
    Outcome.UPSTREAM: "came from {upstream}",
    Outcome.ORIGINATED_HERE: "placed by a customer of this provider",
    Outcome.FOREIGN_UPSTREAM: "came from abroad, from {upstream}",
    Outcome.NOT_FOUND: "not in complete records",
    Outcome.RECORDS_EXPIRED: "records no longer kept",
    Outcome.NOT_YET_AVAILABLE: "records not in yet",
    Outcome.AMBIGUOUS: "several calls fit, names none",
    Outcome.UNMAPPED: "trunk is not in its map",
    Outcome.NOT_RECORDED: "upstream not recorded",
    Outcome.NEEDS_HUMAN: "held for approval by a person",
    Outcome.REFUSED: "refused ({refusal})",
}


_WORDS = {PERSON: "a person there said so", ATTESTED: "a person there said so, an approver attests it"}


@dataclass(frozen=True, slots=True)
class Said:
    """What came of one hop, as far as words say it; `named_by` is None where nobody named this provider."""

    problem: Problem | None = None
    outcome: Outcome | None = None
    upstream: str | None = None
    refusal: RefusalReason = RefusalReason.UNSPECIFIED
    named_by: str | None = None
    handover: Handover = Handover.UNSPECIFIED
    called_changed: bool = False
    time_correction: timedelta = timedelta(0)
    moved_by: timedelta = timedelta(0)
    word: str = AGENT
    without: tuple[str, ...] = ()
    """Tracebacks of the sister calls that were left out."""

    @property
    def words(self) -> str:
        """A few words."""
        if self.problem is not None:
            return _PROBLEMS[self.problem] + self._left_out
        if self.outcome is None:
            return "asking ..." + self._left_out
        refusal = self.refusal.name.lower().replace("_", " ")
        notes = [_OUTCOMES[self.outcome].format(upstream=self.upstream, refusal=refusal)]
        if self.named_by is not None and self.handover is not Handover.UNSPECIFIED:
            agrees = self.handover is Handover.CONFIRMED
            notes.append(f"{'confirms' if agrees else 'denies'} the handover to {self.named_by}")
        if self.called_changed:
            notes.append("called number changed here")
        if self.word in _WORDS:
            notes.append(_WORDS[self.word])
        if self.time_correction:
            notes.append(f"clock differs by {self.time_correction // timedelta(seconds=1):+d} s")
        return "; ".join(notes) + self._left_out

    @property
    def _left_out(self) -> str:
        return f"; asked without the sister calls {', '.join(self.without)}" if self.without else ""

    @property
    def shift(self) -> str:
        """That the time asked for was moved, and why; empty where it wasn't."""
        seconds = self.moved_by // timedelta(seconds=1)
        return f"; asked {seconds:+d} s, as its clock differs from that of {self.named_by}" if seconds else ""


def _said(hop: Hop, moved: timedelta = timedelta(0)) -> Said:
    answer = hop.answer
    without = tuple(str(sister)[:8] for sister in sisters_named(hop.question))
    if answer is None:
        return Said(hop.problem, named_by=hop.question.named_by, moved_by=moved, without=without)
    return Said(
        problem=hop.problem,
        outcome=answer.outcome,
        upstream=answer.upstream,
        refusal=answer.refusal,
        named_by=hop.question.named_by,
        handover=answer.handover,
        called_changed=answer.ask_called is not None,
        time_correction=answer.time_correction,
        moved_by=moved,
        word=word_of(answer),
        without=without,
    )


def outcome_words(hop: Hop) -> str:
    """What came of one hop, in a few words."""
    return _said(hop).words


def hop_line(traceback: Traceback, position: int) -> str:
    """One hop as one line, for output that is no terminal."""
    hop = traceback.hops[position]
    label = f"{hop_labels(traceback)[position]:>3}"
    parts = (label, f"{role(traceback, position).value:<12}", f"{hop.provider:<20}", outcome_words(hop))
    return "  ".join((*parts, took(hop))).rstrip()


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def chain_table(*, show_numbers: bool = False) -> Table:
    """The columns of a chain, without rows."""
    table = _table()
    table.add_column("Hop", justify="right")
    table.add_column("Role", no_wrap=True)
    table.add_column("Provider", overflow="fold", max_width=28)
    if show_numbers:
        table.add_column("Asked for", no_wrap=True)
    table.add_column("Outcome", overflow="fold")
    table.add_column("Took", justify="right", no_wrap=True)
    return table


def hops_table(traceback: Traceback, *, show_numbers: bool = False) -> Table:
    """The table of hops, terminating provider first."""
    table = chain_table(show_numbers=show_numbers)
    labels, stands = hop_labels(traceback), standing(traceback.hops)
    for position, hop in enumerate(traceback.hops):
        cells = [labels[position], role(traceback, position).value, hop.provider]
        if show_numbers:
            cells.append(hop.question.called)
        said = _said(hop, moved_by(traceback.hops, position))
        cells += [said.words + said.shift, took(hop)]
        table.add_row(*(Text(cell) for cell in cells), style="" if position in stands else "dim")
    return table


def forks_words(traceback: Traceback) -> list[RenderableType]:
    """A line for each fork, for each hop that was asked again without sister calls, and for each contested one."""
    lines = (*explain_forks(traceback), *explain_sisters(traceback), *explain_contests(traceback))
    return [fork_line(line) for line in lines]


def fork_line(line: str) -> RenderableType:
    """A sentence on a fork."""
    return Padding(Text(line, style="yellow"), (0, 0, 0, 2), expand=False)


def status_style(status: Status) -> str:
    """The colour of a status."""
    if status in _GOOD:
        return "bold green"
    if status in _ALARMING:
        return "bold red"
    return "bold yellow" if status.phase is Phase.CLOSED else "bold cyan"


def status_words(traceback: Traceback, task: str = "") -> RenderableType:
    """The status, what it means and what to do next, of which `task` knows more where there is one."""
    title, means, following = status_lines(traceback)
    return words_of(traceback.status, title, means, task or following)


def words_of(status: Status, title: str, means: str, following: str) -> RenderableType:
    """The same from their texts."""
    return Group(
        Text(title, style=status_style(status)),
        Padding(Text(means), (0, 0, 0, 2), expand=False),
        Padding(Text(following), (0, 0, 0, 2), expand=False),
    )


def status_lines(traceback: Traceback) -> tuple[str, str, str]:
    """The same as three lines of plain text."""
    words = explain(traceback)
    return words.title.capitalize(), words.means, f"Next: {words.next}"


def heading(traceback: Traceback, *, show_numbers: bool = False) -> Text:
    """Which call this is."""
    call = traceback.call
    text = Text.assemble(
        ("Traceback ", "bold"),
        (str(traceback.id)[:8], "bold"),
        f"   called {number(call.called, show=show_numbers)}   at {call.at:%Y-%m-%d %H:%M:%S} UTC",
    )
    if show_numbers and call.calling:
        text.append(f"   calling {call.calling}")
    return text


def whole(traceback: Traceback, *, show_numbers: bool = False, task: str = "") -> RenderableType:
    """Everything about one traceback; `task` says of the task that it waits for what is to be done."""
    return Group(
        heading(traceback, show_numbers=show_numbers),
        hops_table(traceback, show_numbers=show_numbers),
        *forks_words(traceback),
        status_words(traceback, task),
    )


def summary_table(counts: Counter[Status]) -> Table:
    """How many tracebacks ended how, most frequent first."""
    table = _table()
    table.add_column("Status")
    table.add_column("Calls", justify="right")
    table.add_column("Share", justify="right")
    total = sum(counts.values())
    for status, count in counts.most_common():
        table.add_row(Text(TITLES[status], style=status_style(status)), f"{count:,}", f"{100 * count / total:.1f} %")
    return table


def list_table(summaries: Iterable[Summary], *, show_numbers: bool = False) -> Table:
    """One line a traceback, within 80 columns: a masked number tells nothing, who delivered the call does."""
    table = _table()
    call = "Called" if show_numbers else "Terminating"
    for name in ("Id", call, "At (UTC)", "Hops", "Status", "Found"):
        justify: JustifyMethod = "right" if name == "Hops" else "left"
        table.add_column(name, no_wrap=name not in ("Terminating", "Found"), overflow="fold", justify=justify)
    for summary in summaries:
        table.add_row(
            str(summary.id)[:8],
            Text(summary.called if show_numbers else summary.terminating),
            f"{summary.at:%Y-%m-%d %H:%M:%S}",
            str(summary.hop_count),
            Text(TITLES[summary.status], style=status_style(summary.status)),
            Text(summary.found or ""),
        )
    return table


def registry_table(providers: Iterable[Provider]) -> Table:
    """One line a provider."""
    table = _table()
    for name in ("Id", "Name", "Agent", "Country", "Role"):
        table.add_column(name, overflow="fold")
    for provider in providers:
        agent = Text(provider.endpoint) if provider.endpoint else Text("none: ask a person", style="yellow")
        table.add_row(
            Text(provider.id), Text(provider.name), agent, Text(provider.country or ""), Text(provider.role or "")
        )
    return table
