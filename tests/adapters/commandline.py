"""`hopback-cdr` as it is called from a pipe, for tests of its commands."""

from __future__ import annotations

from click.testing import CliRunner, Result

from agent.kit import main


def run(*arguments: object) -> Result:
    """What came of it; a pipe is as wide as it takes, whatever terminal the tests run in."""
    return CliRunner(env={"COLUMNS": None}).invoke(main, [str(argument) for argument in arguments])
