"""Commands and agents that the lab starts: whenever an interrupt comes, none is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from deploy.lab import fleet

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def gone(pid: int) -> bool:
    """Whether a process has ended and was waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Interrupted(subprocess.Popen[Any]):
    """A child in whose first moment its parent is interrupted: it exists, and nobody holds it yet."""

    last: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        Interrupted.last = self.pid
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_between_a_childs_start_and_its_being_known_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        fleet.run(SLEEP)
    assert gone(Interrupted.last)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_while_a_command_runs_ends_it_before_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[int] = []

    def interrupted(child: subprocess.Popen[str]) -> None:
        children.append(child.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fleet.run(SLEEP)
    assert gone(children[0])


def test_a_command_gives_what_it_printed_and_says_what_it_complained_of() -> None:
    assert fleet.run([sys.executable, "-c", "print('well')"]) == "well\n"
    with pytest.raises(fleet.FleetError, match="ended with 3: not so"):
        fleet.run([sys.executable, "-c", "import sys; sys.stderr.write('not so'); sys.exit(3)"])
