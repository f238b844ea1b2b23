"""The frame of the command-line programs: all three are installed together, what they need comes with the extras.

A program whose extra was left out says which one to install; nobody has to read a stack for that.
"""

from __future__ import annotations

from typing import Any, Final

import click

OURS: Final = frozenset({"agent", "cdr_adapters", "coordinator", "protos", "hopback", "buf"})


class ExtraMissing(click.ClickException):
    """A dependency of an optional part is not installed (EX_UNAVAILABLE)."""

    exit_code = 69


class Program(click.Group):
    """A group of commands that need one extra of the distribution."""

    def __init__(self, *arguments: Any, extra: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._extra = extra

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for.

        Raises:
            ExtraMissing: a module that is not this project's own is not installed.
        """
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if not missing or missing in OURS:
                raise
            raise ExtraMissing(f"{missing} is not installed: pip install 'hopback[{self._extra}]'") from None
