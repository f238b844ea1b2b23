"""The demonstration, run as people run it: it tells true stories, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.lab import truth
from deploy.lab.ingredients import ALL, Ingredient
from deploy.lab.planner import generate
from deploy.lab.roster import SMALL
from deploy.lab.roster import build as build_industry
from deploy.lab.stories import KINDS, choose

ROOT = Path(__file__).parents[2]
PROC = Path("/proc")


@contextmanager
def demonstration(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.lab", "demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def still_running(temporary: Path) -> list[str]:
    """Command lines of processes that work in the demonstration's directory."""
    found = []
    for entry in PROC.glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if str(temporary) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_lab_of_its_size_has_a_call_for_every_story(seed: int) -> None:
    industry = build_industry(seed, datetime(2026, 11, 22, 12, tzinfo=UTC), ALL - {Ingredient.LATE_RECORDS}, SMALL)
    traffic = generate(industry, 900)
    stories = choose(truth.tell(industry, traffic), traffic)
    assert [story.title for story in stories] == [kind.title for kind in KINDS]
    assert len({story.truth.call for story in stories}) == len(KINDS)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_traces_every_story_truly_and_leaves_nothing(tmp_path: Path) -> None:
    with demonstration(tmp_path) as process:
        said, _ = process.communicate(timeout=280)
    assert process.returncode == 0, said
    assert f"{len(KINDS)} of {len(KINDS)} tracebacks ended as they should" in said
    assert all(kind.title in said for kind in KINDS)
    assert all(word in said for word in ("ORIGIN FOUND", "GATEWAY FOUND", "AMBIGUOUS", "DISPUTED", "NO AGENT"))
    assert "hopback-coordinator tasks attest" in said
    assert said.count("✔ True: every hop") >= 5  # four stories, and the one that people helped to its end
    assert "call ids of the providers: 0 found" in " ".join(said.split())
    assert "\x1b" not in said  # plain where there is no terminal
    assert list(tmp_path.iterdir()) == []
    assert still_running(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)])
def test_interrupted_with_all_agents_running_it_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    with demonstration(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "agents are running" in line:
                break
        assert still_running(tmp_path)
        process.send_signal(how)
        process.stdout.read()
        assert process.wait() != 0
    assert list(tmp_path.iterdir()) == []
    assert still_running(tmp_path) == []
