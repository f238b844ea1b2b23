"""Each defence that is switched off turns a test red. A sample runs always, the whole list at night."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutations.catalogue import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
PACKAGES = ("protos", "cdr_adapters", "agent", "coordinator", "deploy", "tests", "docs", "benchmarks")
SAMPLE = 4
"""So many run always, drawn by the catalogue's own length: a new defence shifts which."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product to break."""
    place = tmp_path_factory.mktemp("mutated")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "stubs"))
    shutil.copy(ROOT / "pyproject.toml", place)
    shutil.copy(ROOT / "README.md", place)
    return place


def fails_without(defence: Mutation, copy: Path) -> bool:
    """Whether the tests of a defence fail without it."""
    file = copy / defence.path
    whole = file.read_text()
    file.write_text(whole.replace(defence.before, defence.after))
    try:
        run = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", "0", defence.tests]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CI"))}
        done = subprocess.run(run, cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
    finally:
        file.write_text(whole)
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    return done.returncode == 1


@pytest.mark.parametrize("defence", MUTATIONS, ids=lambda defence: defence.name)
def test_a_defence_stands_where_the_catalogue_says(defence: Mutation) -> None:
    assert (ROOT / defence.path).read_text().count(defence.before) == 1
    assert defence.before != defence.after


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "defence", random.Random(len(MUTATIONS)).sample(MUTATIONS, SAMPLE), ids=lambda defence: defence.name
)
def test_a_defence_of_the_sample_is_missed_when_it_is_gone(defence: Mutation, copy: Path) -> None:
    assert fails_without(defence, copy), f"no test of {defence.tests} goes red when {defence.name}"


@pytest.mark.nightly
@pytest.mark.timeout(300)
@pytest.mark.parametrize("defence", MUTATIONS, ids=lambda defence: defence.name)
def test_every_defence_is_missed_when_it_is_gone(defence: Mutation, copy: Path) -> None:
    assert fails_without(defence, copy), f"no test of {defence.tests} goes red when {defence.name}"


def test_the_tests_pass_while_all_defences_stand(copy: Path) -> None:
    """A test that is red anyway would show nothing."""
    nothing = Mutation("nothing", "protos/signing.py", "import enum\n", "import enum\n", "tests/protos/test_signing.py")
    assert not fails_without(nothing, copy)
