"""A program whose extra was left out says so; a defect of our own stays one."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from protos.program import Program


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
