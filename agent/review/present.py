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


def table(matters: Sequence[tuple[Matter, Decided | None]], now: datetime) -> RenderableType:
    """Held answers, one a line."""
    if not matters:
        return Text("Nothing waits for a person.")
    shown = Table(title="Held answers")
    for heading in ("id", "clock", "campaign", "called", "call time (UTC)", "would say", "held because", "state"):
        shown.add_column(heading)
    for matter, decided in matters:
        late = decided is None and matter.due - now < SOON
        shown.add_row(
            matter.short,
            Text(left(matter, now) if decided is None else "", style="red" if late else ""),
            Text(matter.campaign),
            matter.called,
            f"{matter.at:%Y-%m-%d %H:%M:%S}",
            _short(matter),
            matter.reason.value,
            State.WAITING.value if decided is None else f"{decided.state.value} by {decided.operator}",
        )
    return shown


def explained(matter: Matter, decided: Decided | None, now: datetime) -> RenderableType:
    """One held answer with all that led to it."""
    facts = Table(show_header=False, box=None)
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


def _short(matter: Matter) -> str:
    upstream = matter.proposed.upstream
    return matter.proposed.outcome.name + (f" {upstream}" if upstream else "")
