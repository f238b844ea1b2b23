"""The house of the design: four floors, imports only downwards, and nothing heavy at the agent's start."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    "protos": {"protos", "hopback", "buf"},
    "cdr_adapters": {"cdr_adapters", "protos", "hopback"},
    "agent": {"agent", "cdr_adapters", "protos", "hopback"},
    "coordinator": {"coordinator", "protos", "hopback"},
}
OURS = set(FLOORS) | {"hopback", "buf", "tests", "deploy", "benchmarks"}


def modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """The same with the top-level names alone."""
    yield from ((line, name.partition(".")[0]) for line, name in modules(path))


def sources(floor: str) -> list[Path]:
    return [path for path in sorted((ROOT / floor).rglob("*.py")) if "stubs" not in path.relative_to(ROOT).parts]


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_go_only_downwards(floor: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {floor} must not import {name}"
        for path in sources(floor)
        for line, name in imported(path)
        if name in OURS - FLOORS[floor]
    ]
    assert sources(floor)
    assert wrong == []


TRACING = {
    *(
        "__future__",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "itertools",
        "statistics",
    ),
    *("typing", "uuid", "protos", "hopback"),
}
"""All that the heart of the coordinator may know beside itself: no file, no socket, no database, no chance."""


def test_the_heart_of_the_coordinator_knows_nothing_of_the_world() -> None:
    inside = sorted((ROOT / "coordinator" / "tracing").glob("*.py"))
    found = {
        f"{path.name}: {name}"
        for path in inside
        for _, name in modules(path)
        if name.partition(".")[0] not in TRACING and not name.startswith("coordinator.tracing.")
    }
    assert len(inside) > 10
    assert found == set()


EXTRAS = {
    "protos": (),
    "cdr_adapters": ("agent", "pcap", "testing"),
    "agent": ("agent", "postgresql", "mysql", "clickhouse"),
    "coordinator": ("coordinator", "postgresql", "timestamp"),
    "deploy": ("agent", "coordinator", "pcap", "dev"),
    "benchmarks": ("agent", "coordinator", "pcap", "postgresql", "mysql", "clickhouse", "dev"),
    "tests": ("agent", "coordinator", "pcap", "postgresql", "mysql", "clickhouse", "dev"),
}
"""What each folder may count on having been installed beside the base distribution."""


def declared(*extras: str) -> set[str]:
    """Names of the distributions that pyproject.toml asks for, with the build's own for its hook."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *(project["project"]["optional-dependencies"][e] for e in extras)]
    return {re.split(r"[\[<>=~! ]", wanted)[0].lower() for one in lists for wanted in one}


@pytest.mark.parametrize("folder", EXTRAS)
def test_whatever_is_imported_is_declared(folder: str) -> None:
    known, there = declared(*EXTRAS[folder]), packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(folder)
        if path.name != "build_stubs.py"  # runs in the build's own environment
        for _, name in imported(path)
        if name not in OURS | sys.stdlib_module_names
        and not known.intersection(distribution.lower() for distribution in there.get(name, ()))
    }
    assert undeclared == set()


def test_whatever_is_declared_for_running_is_imported() -> None:
    there = packages_distributions()
    used = {
        distribution.lower()
        for floor in FLOORS
        for path in sources(floor)
        for _, name in imported(path)
        for distribution in there.get(name, ())
    }
    assert declared("agent", "coordinator", "pcap", "postgresql", "mysql", "clickhouse") - used == {
        "tzdata"
    }  # read by zoneinfo, imported by nobody


def test_the_check_itself_sees_an_import_inside_a_function(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from agent.match import match\n    return match\n")
    assert list(imported(module)) == [(2, "agent")]


@pytest.mark.parametrize("module", ["agent.cli", "agent.server", "coordinator.cli", "cdr_adapters.cli"])
def test_no_command_pulls_in_pandas_or_pyshark_when_it_starts(module: str) -> None:
    script = f"import sys, {module}; print([m for m in ('pandas', 'pyshark', 'fastapi') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"


def test_every_module_opens_with_what_it_does() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for floor in FLOORS
        for path in sources(floor)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_generated_stubs_are_not_kept_in_the_repository() -> None:
    run = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert [name for name in run.stdout.split() if "_pb2" in name] == []
