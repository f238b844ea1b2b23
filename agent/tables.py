"""Tables on a terminal: texts of files and configuration are shown as they are, never read as markup."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from protos.printable import printable


def new_table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are set right."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim", pad_edge=False, box=None)
    for column in columns:
        made.add_column(column, overflow="fold", justify="right" if column in numbers else "left")
    return made


def row(to: Table, *cells: object) -> None:
    """Values out of files come this way: what could steer a terminal is taken out, line by line."""
    lines = ("-" if cell is None else "\n".join(map(printable, str(cell).split("\n"))) for cell in cells)
    to.add_row(*map(Text, lines))


def time_text(time: datetime | None) -> str | None:
    """A time as people read it, UTC; None for none."""
    return None if time is None else f"{time:%Y-%m-%d %H:%M:%SZ}"


def iso(time: datetime | None) -> str | None:
    """A time as machines read it; None for none."""
    return None if time is None else time.isoformat()


def spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    """The parts with an empty line between each two."""
    return [item for part in parts for item in (part, Text(""))][:-1]
