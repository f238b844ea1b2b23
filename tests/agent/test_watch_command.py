"""`hopback-agent watch` as a service runs it: a process of its own, beside whoever answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.config import load
from agent.mistakes import ConfigError
from tests.agent.commandline import HEAD, agent, call, provider, said, told


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return provider(tmp_path, "east", "west")


class Process:
    """The command as a process; ended when the test ends."""

    def __init__(self, config: Path, *args: str) -> None:
        self.ready = config.parent / "ready"
        command = [sys.executable, "-m", "agent.cli", "watch", str(config), "--ready-file", str(self.ready), *args]
        environment = os.environ | {"HOPBACK_AGENT__WATCH__EVERY": "1s", "HOPBACK_AGENT__LOG__FORMAT": "json"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self._killer = threading.Timer(90, self.process.kill)
        self._killer.start()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; whatever goes wrong, the process is killed in the end."""
        pause = threading.Event()
        while not holds():
            assert self.process.poll() is None, self.process.communicate()
            pause.wait(0.05)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, list[dict[str, object]]]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        self._killer.cancel()
        return self.process.returncode, [json.loads(line) for line in errors.splitlines()]

    def close(self) -> None:
        self._killer.cancel()
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def watching(config: Path) -> Iterator[Process]:
    process = Process(config)
    yield process
    process.close()


def calls(config: Path) -> int:
    total: int = told("stats", config)["total"]["calls"]
    return total


class TestTheProcess:
    def test_indexes_what_comes_and_ends_in_good_order(self, config: Path, watching: Process) -> None:
        watching.until(watching.ready.exists)
        path = config.parent / "east" / "a.csv"
        path.write_text(HEAD + call(1, 1))
        watching.until(lambda: calls(config) == 1)
        with path.open("a") as file:
            file.write(call(2, 2))
        (config.parent / "west" / "b.csv").write_text(HEAD + call(3, 3))
        watching.until(lambda: calls(config) == 3)
        code, events = watching.end()
        assert code == 0
        assert sorted(str(event["file"]) for event in events if event["event"] == "indexed") == [
            "a.csv",
            "a.csv",
            "b.csv",
        ]
        assert "5550" not in json.dumps(events)
        assert not watching.ready.exists()
        assert agent("verify", config).exit_code == 0


class TestOnce:
    def test_indexes_what_is_there_and_ends(self, config: Path) -> None:
        (config.parent / "east" / "a.csv").write_text(HEAD + call(1, 1))
        assert agent("watch", config, "--once").exit_code == 0
        assert calls(config) == 1

    def test_says_that_a_file_could_not_be_read(self, config: Path) -> None:
        (config.parent / "east" / "a.csv").write_text("quite,different\n1,2\n")
        (config.parent / "east" / "b.csv").write_text(HEAD + call(1, 1))
        assert agent("watch", config, "--once").exit_code == 65
        assert calls(config) == 1

    def test_follows_only_the_sources_that_are_named(self, config: Path) -> None:
        for source in ("east", "west"):
            (config.parent / source / "a.csv").write_text(HEAD + call(1, 1))
        assert agent("watch", config, "west", "--once").exit_code == 0
        assert set(told("stats", config)["sources"]) == {"west"}
        assert agent("watch", config, "nonsense", "--once").exit_code == 2


class TestItsConfiguration:
    def test_has_a_rhythm_and_lags(self, config: Path) -> None:
        config.write_text(config.read_text() + '[watch]\nevery = "2s"\nlag = { east = "5m" }\n')
        assert load(config).watch.lag["east"].total_seconds() == 300

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('lag = { eastt = "5m" }', "there is no source 'eastt': did you mean 'east'?"),
            ('lag = { east = "-5m" }', "must not be negative"),
            ('every = "0s"', "must be 1s or more"),
            ('remote_every = "10ms"', "must be 1s or more"),
            ('evry = "10s"', "did you mean 'every'?"),
        ],
    )
    def test_is_refused_where_it_can_hardly_be_meant(self, config: Path, text: str, says: str) -> None:
        config.write_text(config.read_text() + f"[watch]\n{text}\n")
        with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
            load(config)

    def test_is_checked_before_anything_is_read(self, config: Path) -> None:
        config.write_text("nonsense")
        assert agent("watch", config, "--once").exit_code == 78


def test_help_comes_with_an_example() -> None:
    assert "hopback-agent watch /etc/hopback/agent.toml" in said(agent("watch", "--help"))
