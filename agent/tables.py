"""Tables on a terminal: texts of files and configuration are shown as they are, never read as markup.

Where the terminal is narrow, the widest columns give way: times break between day and hour, words only at last.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from protos.printable import printable

_GAP = 2  # between columns
_LEAST = 6  # characters that every column keeps


class FittingTable(Table):
    """A table that fits the terminal: the widest columns give way, at spaces first, within words at last."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Set the columns' widths, then draw."""
        cells = [[column.header, *column.cells] for column in self.columns]
        texts = [[str(cell) for cell in column] for column in cells]
        widths = [max(cell_len(line) for text in column for line in text.split("\n")) for column in texts]
        words = [max((cell_len(word) for text in column for word in text.split()), default=0) for column in texts]
        over = sum(widths) + _GAP * (len(widths) - 1) - options.max_width
        for least in (words, [_LEAST] * len(words)):
            while over > 0 and (wide := [n for n, width in enumerate(widths) if width > least[n]]):
                widths[max(wide, key=widths.__getitem__)] -= 1
                over -= 1
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)


def new_table(title: str, *columns: str, numbers: Sequence[str] = ()) -> FittingTable:
    """An empty table; the columns in `numbers` are set right."""
    made = FittingTable(
        title=title, title_justify="left", title_style="bold", header_style="dim", pad_edge=False, box=None
    )
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
