"""The frame of the command-line programs: all three are installed together, what they need comes with the extras.

A program whose extra was left out says which one to install; nobody has to read a stack for that.
"""

from __future__ import annotations

from typing import Any, Final

import click

OURS: Final = frozenset({"agent", "cdr_adapters", "coordinator", "protos", "hopback", "buf"})
_SENTENCE: Final = 1000  # characters: none is cut


class ExtraMissing(click.ClickException):
    """A dependency of an optional part is not installed (EX_UNAVAILABLE)."""

    exit_code = 69


class Commands(click.Group):
    """A group that lists its commands with their whole first sentence, wrapped where the terminal is narrow."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line or two for each command."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, one.get_short_help_str(_SENTENCE)) for name, one in found if one is not None and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Program(Commands):
    """A group of commands that need one extra of the distribution.

    `configured` shows a command with its configuration, for whoever says --config before the command.
    """

    def __init__(self, *arguments: Any, extra: str, configured: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._extra, self._configured = extra, configured

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What stands before the command."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise self._placed(error) from None

    def _placed(self, error: click.NoSuchOption) -> click.UsageError:
        """The same error, or where --config belongs."""
        before = error.ctx is not None and isinstance(error.ctx.command, click.Group)
        if not (self._configured and before and error.option_name == "--config"):
            return error
        return click.UsageError(f"the configuration is named after the command: {self._configured}", error.ctx)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for.

        Raises:
            ExtraMissing: a module that is not this project's own is not installed.
        """
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise self._placed(error) from None
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if not missing or missing in OURS:
                raise
            raise ExtraMissing(f"{missing} is not installed: pip install 'hopback[{self._extra}]'") from None
