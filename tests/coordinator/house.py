"""A coordinator for tests of commands that need no agents: configuration, database, one command at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from coordinator.cli import main

CONFIG = """
[coordinator]
name = "lab"
[tls]
certificate = "lab.crt"
key = "lab.key"
roots = "ca.crt"
"""


class House:
    """Commands run in a directory, as a person would."""

    def __init__(self, directory: Path, config: str = "") -> None:
        self.directory = directory
        self.file = directory / "coordinator.toml"
        self.file.write_text(CONFIG + config)

    def configure(self, text: str) -> None:
        """Add to the configuration."""
        self.file.write_text(self.file.read_text() + text)

    def run(self, *arguments: str, code: int = 0) -> Result:
        """One command, which must end with `code`."""
        environment = {"HOPBACK_COORDINATOR_CONFIG": str(self.file)}
        result = CliRunner().invoke(main, arguments, env=environment)
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments: str) -> Any:
        """The JSON that one command writes."""
        return self.json_of(*arguments, "--json")

    def json_of(self, *arguments: str) -> Any:
        """The same of a command that is told otherwise to write JSON."""
        return json.loads(self.run(*arguments).stdout)
