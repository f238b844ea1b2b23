"""Tables for people: text from files and other companies is shown as text, never as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """A table with a line a row; columns named in `right` are set to the right, those in `whole` never broken."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        made.add_column(name, overflow="fold", justify="right" if name in right else "left", no_wrap=name in whole)
    for row in rows:
        made.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    return made


def minute(at: datetime | None) -> str:
    """A time for people, in UTC; empty for none."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def iso(at: datetime | None) -> str | None:
    """A time for programs."""
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
