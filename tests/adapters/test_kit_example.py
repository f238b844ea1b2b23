"""The adapter that docs/adapters.md shows: installed as a third party's would be, used, and tested by its own tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "adapter"
PAGE = (ROOT / "docs" / "adapters.md").read_text()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory on the import path, into which the example's distribution was installed, with its entry point."""
    source = tmp_path_factory.mktemp("source") / "adapter"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    target = tmp_path_factory.mktemp("site")
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", *install, "--target", str(target), str(source)], check=True)
    return target


def run(installed: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=EXAMPLE,
        env={**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"},
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def kit(installed: Path, *arguments: str, code: int = 0) -> str:
    return run(installed, "-m", "agent.kit", *arguments, code=code)


def test_it_is_a_format_like_all_others(installed: Path) -> None:
    assert "Bluebird switches, release 3" in kit(installed, "formats", "bluebird")
    assert kit(installed, "identify", "samples/calls.log") == "bluebird\n"


def test_its_file_is_inspected_and_looked_up(installed: Path) -> None:
    found = json.loads(kit(installed, "inspect", "samples/calls.log", "--json"))
    assert (found["calls"], found["skipped"]) == (3, 1)
    assert [(entry["detail"], entry["rows"]) for entry in found["rejected"]] == [("not a record of release 3", [3])]
    asked = ("--called", "+12025550144", "--at", "2026-11-20T15:03:00Z", "--json")
    told = json.loads(kit(installed, "lookup", "samples/calls.log", *asked))
    assert told["upstream"]["came_in_by"] == [{"trunk": "BIRCH-1", "address": None}]


def test_it_is_read_as_its_golden_says(installed: Path) -> None:
    kit(installed, "test", "samples/calls.log", "--expect", "samples/calls.golden")


def test_its_own_tests_pass(installed: Path) -> None:
    told = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml", ".")
    assert " passed" in told
    assert "failed" not in told


def test_a_change_of_its_reader_is_seen_by_its_golden(installed: Path, tmp_path: Path) -> None:
    changed = tmp_path / "site"
    shutil.copytree(installed, changed)
    module = changed / "hopback_bluebird.py"
    module.write_text(module.read_text().replace('"ingress_trunk": "from"', '"ingress_trunk": "to"'))
    told = kit(changed, "test", "samples/calls.log", "--expect", "samples/calls.golden", code=1)
    assert "? ingress_trunk" in told


@pytest.mark.parametrize("file", ["hopback_bluebird.py", "test_bluebird.py"])
def test_the_page_shows_it_as_it_is(file: str) -> None:
    assert f"```python\n{(EXAMPLE / file).read_text()}```" in PAGE
