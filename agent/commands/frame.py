"""What every command of `hopback-agent` has in common: its arguments, its exit codes, how it says that it failed.

Results go to standard output, everything else to standard error. What a command needs is imported when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console

    from agent.config import AgentConfig
    from cdr_adapters.mapping import SourceMapping

EXIT_DATA: Final = 65
EXIT_UNAVAILABLE: Final = 69
EXIT_DEFECT: Final = 70
EXIT_CONFIG: Final = 78
ENV_TRACEBACK: Final = "HOPBACK_TRACEBACK"
_PIPED_WIDTH: Final = 160

CONFIG = click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")


@contextmanager
def failures() -> Iterator[None]:
    """Turn the failures that a person can do something about into messages and exit codes."""
    from agent.audit.errors import AuditError
    from agent.defects import place_of
    from agent.index.errors import IndexUnusableError
    from agent.mistakes import ConfigError

    try:
        yield
    except ConfigError as error:
        from agent.display import mistakes

        screen = console(stderr=True)
        count = len(error.mistakes)
        screen.print(f"{error.source}: {count} mistake{'s' if count > 1 else ''}", markup=False)
        screen.print(mistakes(error.mistakes))
        sys.exit(EXIT_CONFIG)
    except (IndexUnusableError, AuditError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if os.environ.get(ENV_TRACEBACK):
            raise
        fail(
            f"a defect of hopback-agent: {type(error).__name__} at {place_of(error)}. Please report it. "
            f"With {ENV_TRACEBACK}=1 the whole trace is shown; it may hold parts of call records.",
            EXIT_DEFECT,
        )


def fail(message: str, code: int = EXIT_UNAVAILABLE) -> NoReturn:
    """End with a message."""
    console(stderr=True).print(message, style="red", markup=False)
    sys.exit(code)


def console(*, stderr: bool = False) -> Console:
    """Where to print."""
    from rich.console import Console

    screen = Console(stderr=stderr, highlight=False, soft_wrap=stderr)
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen.width = _PIPED_WIDTH  # a file or a pipe has no width; tables folded at 80 would be unreadable there
    return screen


def chosen_sources(config: AgentConfig, names: tuple[str, ...]) -> list[SourceMapping]:
    """The sources that are named, or all.

    Raises:
        click.UsageError: one is not there. ConfigError: there are none at all.
    """
    from agent.mistakes import ConfigError, Mistake

    known = {source.name: source for source in config.sources}
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(
            f"no source {', '.join(unknown)} in the configuration; there are: {', '.join(known) or 'none'}."
        )
    if not known:
        raise ConfigError("configuration", [Mistake("sources", "there are none: add one for what the switch writes")])
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())
