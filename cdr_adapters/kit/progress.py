"""How far a large file is read, on the terminal of somebody who waits; nothing where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LARGE = 16 << 20
"""Files of fewer bytes are read before anybody could see how far."""


@contextmanager
def progress(path: Path, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A callback that takes the count of records so far; it shows on standard error, if that is a terminal."""
    if quiet or not sys.stderr.isatty() or (path.is_file() and path.stat().st_size < LARGE):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    screen = Console(stderr=True, markup=False, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(f"{path.name}: reading")
        yield lambda count: bar.update(task, description=f"{path.name}: {count:,} records")
