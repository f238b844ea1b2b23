"""Held answers as tables and as JSON, for the person who decides about them: numbers are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.explain import in_words
from agent.review.held import Decided, Matter, State, answer_to_json
from agent.tables import row, spaced

SOON = timedelta(hours=4)


def left(matter: Matter, now: datetime) -> str:
    """How much of the legal clock is left."""
    rest = matter.due - now
    hours, minutes = divmod(int(abs(rest).total_seconds()) // 60, 60)
    text = f"{hours}h{minutes:02d}m"
    return f"over by {text}" if rest < timedelta(0) else text


def as_json(matter: Matter, decided: Decided | None, now: datetime, *, whole: bool = False) -> dict[str, Any]:
    """One held answer as JSON-ready data."""
    told: dict[str, Any] = {
        "id": matter.short,
        "state": State.WAITING.value if decided is None else decided.state.value,
        "campaign": matter.campaign,
        "asked_by": matter.asker,
        "received": matter.received.isoformat(),
        "due": matter.due.isoformat(),
        "left_s": int((matter.due - now).total_seconds()),
        "held_because": matter.reason.value,
        "called": matter.called,
        "at": matter.at.isoformat(),
        "named_by": matter.named_by,
        "proposed": answer_to_json(matter.proposed),
        "order_sha256": matter.order_sha256.hex(),
        "question_sha256": matter.question_sha256.hex(),
    }
    if decided is not None:
        told["decided"] = {
            "by": decided.operator,
            "at": decided.at.isoformat(),
            "note": decided.note,
            "answer": answer_to_json(decided.answer),
        }
    if whole:
        told["explanation"] = matter.explanation
    return told


def listing(matters: Sequence[tuple[Matter, Decided | None]], now: datetime) -> RenderableType:
    """Held answers, each as a heading with what is left of its clock, and what a person needs to decide about it."""
    if not matters:
        return Text("Nothing waits for a person.")
    return Group(*spaced([Group(*_entry(matter, decided, now)) for matter, decided in matters]))


def _entry(matter: Matter, decided: Decided | None, now: datetime) -> tuple[RenderableType, RenderableType]:
    heading = Text(matter.short, style="bold")
    if decided is None:
        late = matter.due - now < SOON
        clock = left(matter, now)
        heading.append(f"  {clock}" if clock.startswith("over") else f"  {clock} left", style="red" if late else "dim")
    else:
        heading.append(f"  {decided.state.value} by {decided.operator}", style="dim")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in (
        ("  call", f"to {matter.called} at {matter.at:%Y-%m-%d %H:%M:%S} UTC"),
        ("  campaign", matter.campaign),
        ("  would say" if decided is None else "  found", in_words(matter.proposed)),
        ("  held because", matter.reason.value),
    ):
        row(facts, name, value)
    return heading, facts


def explained(matter: Matter, decided: Decided | None, now: datetime) -> RenderableType:
    """One held answer with all that led to it."""
    facts = Table(show_header=False, box=None)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    rows = {
        "id": matter.short,
        "legal clock": left(matter, now),
        "received, due": f"{matter.received:%Y-%m-%d %H:%M:%S}, {matter.due:%Y-%m-%d %H:%M:%S} UTC",
        "asked by": matter.asker,
        "campaign": matter.campaign,
        "called": matter.called,
        "call time": f"{matter.at:%Y-%m-%d %H:%M:%S} UTC",
        "named by": matter.named_by or "nobody: the call ended here",
        "would say": in_words(matter.proposed),
        "held because": matter.reason.value,
        "order": matter.order_sha256.hex(),
    }
    if decided is not None:
        rows["decided"] = f"{decided.state.value} by {decided.operator}: {decided.note or 'no note'}"
    for name, value in rows.items():
        facts.add_row(name, Text(value))
    return Group(facts, Text("\nWhat led to it:"), Text(json.dumps(matter.explanation, indent=2)))
