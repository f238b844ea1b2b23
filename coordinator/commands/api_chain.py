"""A chain that came over the wire, drawn as `hopback-coordinator show` draws one that lies here.

To a provider, which sees its own hops alone, it is drawn as a list of what it was asked and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordinator.callers import Role
from coordinator.commands.api_words import in_reach
from coordinator.commands.tables import table
from coordinator.present.chains import Said, chain_table, fork_line, number, status_style, took_words, words_of
from coordinator.present.explain import TITLES
from coordinator.tracing.chain import Problem, Status
from hopback.v1 import traceback_pb2 as pb
from protos.codec import from_unix_ms
from protos.printable import printable
from protos.types import Handover, Outcome, RefusalReason

_MS, _US = timedelta(milliseconds=1), timedelta(microseconds=1)


def drawn(view: pb.TracebackView, role: Role | None, *, show_numbers: bool) -> RenderableType:
    """Everything about one traceback that its caller may see, for somebody of this role."""
    heading = Text.assemble(
        ("Traceback ", "bold"),
        (view.traceback_id[:8], "bold"),
        f"   called {number(view.called_number, show=show_numbers)}   at {second(view.at_unix_ms)} UTC",
    )
    if not view.means:  # a provider's
        rows = [(hop.named_by, _said(hop).words, _took(hop), second(hop.ended_unix_ms)) for hop in view.hops]
        status = Text(view.status.capitalize(), style="bold cyan" if view.status == "open" else "bold green")
        return Group(heading, table(("Named by", "Answer", "Took", "Answered (UTC)"), rows, right=("Took",)), status)
    status_ = Status(view.status)
    title = TITLES[status_].capitalize()
    return Group(
        heading,
        _hops(view.hops),
        *(fork_line(printable(line)) for line in view.forks),
        words_of(status_, title, in_reach(view.means, role), f"Next: {in_reach(view.next, role)}"),
    )


def _hops(hops: Sequence[pb.HopView]) -> Table:
    drawing = chain_table()
    for hop in hops:
        said = _said(hop)
        cells = (hop.label, hop.role, hop.provider, said.words + said.shift, _took(hop))
        drawing.add_row(*(Text(cell) for cell in cells), style="dim" if hop.superseded else "")
    return drawing


def _said(hop: pb.HopView) -> Said:
    return Said(
        problem=Problem(hop.problem) if hop.problem else None,
        outcome=Outcome[hop.outcome] if hop.outcome else None,
        upstream=hop.upstream or None,
        refusal=RefusalReason[hop.refusal] if hop.refusal else RefusalReason.UNSPECIFIED,
        named_by=hop.named_by or None,
        handover=Handover[hop.handover] if hop.handover else Handover.UNSPECIFIED,
        called_changed=hop.called_changed,
        time_correction=hop.time_correction_ms * _MS,
        moved_by=hop.moved_ms * _MS,
        word=hop.word,
    )


def _took(hop: pb.HopView) -> str:
    problem = Problem(hop.problem) if hop.problem else None
    return took_words(hop.took_us * _US if hop.ended_unix_ms else None, problem)


def listed(views: Sequence[pb.TracebackView], *, show_numbers: bool) -> Table:
    """One line a traceback."""
    called = ("Called",) if show_numbers else ()
    fixed = ("Id", *called, "At (UTC)", "Status")
    drawing = table((*fixed, "Found", "Campaign"), (), whole=fixed)
    for view in views:
        known = view.status in {status.value for status in Status}
        status = (
            Text(TITLES[Status(view.status)], style=status_style(Status(view.status))) if known else Text(view.status)
        )
        cells = (view.traceback_id[:8], *(view.called_number for _ in called), second(view.at_unix_ms))
        drawing.add_row(*map(Text, cells), status, Text(view.found), Text(view.campaign))
    return drawing


def second(unix_ms: int) -> str:
    """A time for people, in UTC; empty for 0."""
    return f"{from_unix_ms(unix_ms):%Y-%m-%d %H:%M:%S}" if unix_ms else ""


def minute(unix_ms: int) -> str:
    """The same without seconds."""
    return second(unix_ms)[:-3]
