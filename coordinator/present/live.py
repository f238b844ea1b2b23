"""Showing tracebacks while they move: one chain growing in a terminal, plain lines elsewhere, a bar for many.

Watchers of the driver (`coordinator.tracing.ports.Watcher`): they only show; what they are told is stored already.
"""

from __future__ import annotations

from types import TracebackType

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from coordinator.present.chains import heading, hop_line, hops_table
from coordinator.tracing.chain import Phase, Traceback

_WIDE = 120
_LOST = "Another process has taken this traceback over."


def console(*, stderr: bool = False) -> Console:
    """A terminal as wide as it is; anything else as wide as a log line may be."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDE)


class Silent:
    """Shows nothing."""

    def changed(self, traceback: Traceback) -> None:
        """Nothing to show."""

    def lost(self, traceback: Traceback) -> None:
        """Nothing to show."""


class ChainLines:
    """One line for each hop as it ends, for logs and pipes."""

    def __init__(self) -> None:
        self._shown = 0

    def changed(self, traceback: Traceback) -> None:
        """Print the hops that have ended since the last time."""
        ended = len(traceback.hops) - (traceback.status.phase is Phase.ASKING)
        for position in range(self._shown, ended):
            click.echo(hop_line(traceback, position))
        if traceback.status.phase is not Phase.WAITING:
            self._shown = max(self._shown, ended)

    def lost(self, traceback: Traceback) -> None:
        """Say so."""
        del traceback
        click.echo(_LOST)


class GrowingChain:
    """The table of hops, redrawn as it grows; use as a context manager around the run."""

    def __init__(self, console: Console, *, show_numbers: bool) -> None:
        self._show_numbers = show_numbers
        self._live = Live(console=console, transient=True, refresh_per_second=12)

    def __enter__(self) -> GrowingChain:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def changed(self, traceback: Traceback) -> None:
        """Redraw."""
        shown = self._show_numbers
        self._live.update(
            Group(heading(traceback, show_numbers=shown), hops_table(traceback, show_numbers=shown)), refresh=True
        )

    def lost(self, traceback: Traceback) -> None:
        """Say so."""
        del traceback
        self._live.console.print(_LOST)


def progress_bar(console: Console) -> Progress:
    """A bar for many tracebacks; it vanishes when it is done, and draws nothing where there is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
