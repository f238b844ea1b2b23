"""The figures of an evaluation as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.lab.judge import Judged, Verdict


def show(console: Console, counted: Mapping[str, Any], judged: Sequence[Judged]) -> None:
    """Right, wrong and incomplete in all and by ingredient, then every wrong hop in words."""
    calls, right = counted["calls"], counted["right"]
    head = Text(f"{right:,} of {calls:,} calls right ({right / max(1, calls):.1%}), ")
    wrong = counted["wrong_hops"]
    head.append(f"{wrong} wrong hops", style="bold red" if wrong else "bold green")
    console.print(head)
    console.print(f"  traced to the source: {counted['traced']:,}")
    stopped = ", ".join(f"{count} {status}" for status, count in sorted(counted["stopped_rightly"].items()))
    console.print(f"  stopped where they must: {stopped or 'none'}")
    incomplete = ", ".join(f"{count} {status}" for status, count in sorted(counted["incomplete"].items()))
    console.print(f"  stopped without need: {incomplete or 'none'}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("ingredient", "calls", "right", "wrong", "incomplete"):
        table.add_column(heading, justify="left" if heading == "ingredient" else "right")
    for name, counts in counted["by_ingredient"].items():
        table.add_row(name, *(f"{counts[key]:,}" for key in ("calls", "right", "wrong", "incomplete")))
    console.print(table)
    for one in judged:
        if one.verdict is Verdict.WRONG:
            console.print(Text(f"wrong: {one.call}: {one.why}", style="red"))
