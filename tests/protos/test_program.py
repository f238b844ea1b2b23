"""A program whose extra was left out says so; a defect of our own stays one."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from protos.program import Commands, Program


def run(missing: str) -> Result:
    @click.group(cls=Program, extra="agent")
    def program() -> None: ...

    @program.command()
    def work() -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    return CliRunner().invoke(program, ["work"])


@pytest.mark.parametrize("module", ["numpy", "numpy.linalg"])
def test_a_missing_dependency_names_the_extra_to_install(module: str) -> None:
    result = run(module)
    assert result.exit_code == 69
    assert result.output == "Error: numpy is not installed: pip install 'hopback[agent]'\n"


def test_a_missing_module_of_our_own_is_a_defect_and_shown_as_one() -> None:
    assert isinstance(run("agent.nowhere").exception, ModuleNotFoundError)


@pytest.mark.parametrize(
    "line", [("--config", "x.toml", "work"), ("--config=x.toml", "work"), ("more", "--config", "x")]
)
def test_a_configuration_before_the_command_is_told_where_it_belongs(line: tuple[str, ...]) -> None:
    @click.group(cls=Program, extra="agent", configured="program work --config x.toml")
    def program() -> None: ...

    @program.group()
    def more() -> None: ...

    @program.command()
    def work() -> None: ...

    said = CliRunner().invoke(program, line)
    assert said.exit_code == 2
    assert "is named after the command: program work --config x.toml" in said.output
    for unknown in (("--other", "work"), ("work", "--config", "x")):
        assert "No such option" in CliRunner().invoke(program, unknown).output


def test_help_lists_every_command_with_its_whole_first_sentence() -> None:
    @click.group(cls=Commands)
    def program() -> None: ...

    @program.command()
    def work() -> None:
        """Do what is to be done, whatever it is, wherever it lies, and say at the end what came of all of it.

        More.
        """

    said = CliRunner().invoke(program, ["--help"], terminal_width=60).output
    assert "say at the end what came of all of it." in " ".join(said.split())
    assert "More" not in said
