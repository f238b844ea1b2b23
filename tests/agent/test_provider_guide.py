"""The provider's guide and the service units tell what is: their configuration loads, their commands exist."""

from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from agent.cli import main
from agent.config import load
from agent.trunks import Party, PartyKind
from coordinator.cli import main as coordinator

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/provider-guide.md").read_text("utf-8")
UNITS = sorted((ROOT / "deploy/systemd").glob("*.*"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_configuration_in_the_guide_loads(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "agent.toml").write_text(text)
    config = load(tmp_path / "agent.toml")
    known = {entry.party for entry in config.trunk_map().entries}
    assert Party(PartyKind.FOREIGN, "abroad-tel") in known


LINES = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("hopback-agent ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_in_the_guide_is_one_that_the_agent_takes(line: str) -> None:
    _, name, *args = shlex.split(line)
    command = main.commands[name]
    command.make_context(name, args)


def test_there_are_commands_in_the_guide() -> None:
    assert {shlex.split(line)[1] for line in COMMANDS} == set(main.commands)


PROGRAMS: dict[str, click.Group] = {"hopback-agent": main, "hopback-coordinator": coordinator}
"""What units may start."""


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_every_unit_is_well_formed_and_starts_a_command_that_exists(path: Path) -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.read(path)
    assert unit["Unit"]["Description"]
    if path.suffix == ".service":
        program, name, *args = shlex.split(unit["Service"]["ExecStart"])
        group = PROGRAMS[Path(program).name]
        assert isinstance(group.commands[name].make_context(name, args), click.Context)
        assert unit["Service"]["User"] == "hopback"


SERVING = ("hopback-agent.service", "hopback-coordinator.service", "hopback-coordinator-serve.service")


def test_units_that_hold_connections_are_closed_in_and_started_again_in_the_same_way() -> None:
    """What each may is said once: their [Service] differs in what is started and how long it may take to stop."""
    sections = []
    for name in SERVING:
        unit = ConfigParser(interpolation=None, strict=False)
        unit.read(ROOT / "deploy/systemd" / name)
        sections.append(
            {key: value for key, value in unit["Service"].items() if key not in ("execstart", "timeoutstopsec")}
        )
    assert sections[0] == sections[1] == sections[2]
    assert sections[0]["limitnofile"] == "65536"
    assert "78" in sections[0]["restartpreventexitstatus"].split()


def test_what_asks_through_serve_starts_after_it_and_does_without_it() -> None:
    unit = ConfigParser(interpolation=None, strict=False)
    unit.read(ROOT / "deploy/systemd/hopback-coordinator.service")
    assert "hopback-coordinator-serve.service" in unit["Unit"]["After"].split()
    assert not {"requires", "bindsto", "requisite"} & set(unit["Unit"])
