"""Agents as processes, as providers run them: index the records, start, serve, stop. Leaves nothing running.

Every agent is the real `hopback-agent` with a configuration file of its own, in a process group of its own, so that
an interrupt or a failure of the parent takes all of them along.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class FleetError(RuntimeError):
    """An agent did not index, start or stay up; the message has the end of what it said."""


def command(name: str) -> list[str]:
    """The command line of one of the product's own programs, from the environment that runs this."""
    return [str(Path(sys.executable).parent / name)]


def run(args: Sequence[str], *, cwd: Path | None = None) -> str:
    """Run a command to its end and give what it printed.

    Raises:
        FleetError: it failed.
    """
    child: subprocess.Popen[str] | None = None
    try:
        with _interrupts_held():
            child = subprocess.Popen(args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said, complaint = child.communicate()
    except BaseException:
        if child is not None:
            with child:  # which waits for it and closes its pipes
                child.kill()
        raise
    if child.returncode != 0:
        why = (complaint or said).strip()[-2000:]
        raise FleetError(f"{' '.join(map(str, args))} ended with {child.returncode}: {why}")
    return said


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let an interrupt wait until what is begun here is known by name: a child that nobody knows would be left running.

    Only the main thread is ever interrupted, so any other goes on as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {one: signal.signal(one, lambda came, _frame: held.append(came)) for one in INTERRUPTS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for came in held:
            signal.raise_signal(came)


class Fleet:
    """Several agents, by provider: `with Fleet(configs) as fleet: fleet.addresses["birch"]`."""

    def __init__(self, configs: Mapping[str, Path]) -> None:
        self._configs = dict(configs)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.addresses: dict[str, str] = {}
        self.started_in: dict[str, float] = {}

    def index(self, *extra: str, done: Callable[[str, str], None] = lambda _name, _report: None) -> None:
        """Index every agent's sources, two at a time; `done` hears of each provider with the report as JSON.

        Raises:
            FleetError: one of them failed.
        """

        def one(item: tuple[str, Path]) -> tuple[str, str]:
            name, config = item
            return name, run([*command("hopback-agent"), "index", str(config), "--json", *extra])

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
            for name, report in pool.map(one, self._configs.items()):
                done(name, report)

    def __enter__(self) -> Self:
        try:
            for name, config in self._configs.items():
                self._start(name, config)
            for name, config in self._configs.items():
                self._await_ready(name, config)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def process(self, name: str) -> int:
        """The id of a running agent's process."""
        return self._processes[name].pid

    def home(self, name: str) -> Path:
        """The directory of an agent's configuration, which its files lie in."""
        return self._configs[name].parent

    def kill(self, name: str) -> None:
        """End one agent by SIGKILL."""
        process = self._processes[name]
        process.kill()
        process.wait()

    def revive(self, name: str) -> None:
        """Start an agent that was killed, and return when it serves; on the same port where its configuration says one.

        Raises:
            FleetError: it did not start.
        """
        self._start(name, self._configs[name])
        self._await_ready(name, self._configs[name])

    def stop(self) -> None:
        """End all agents: politely, then not."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes.clear()

    def _start(self, name: str, config: Path) -> None:
        ready = _ready_file(config)
        ready.unlink(missing_ok=True)
        with (config.parent / "agent.log").open("wb") as log, _interrupts_held():
            self._processes[name] = subprocess.Popen(
                [*command("hopback-agent"), "run", str(config), "--ready-file", str(ready)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.started_in[name] = -time.monotonic()

    def _await_ready(self, name: str, config: Path) -> None:
        ready, deadline = _ready_file(config), time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            if self._processes[name].poll() is not None:
                raise FleetError(f"agent {name} ended at once: {_tail(config)}")
            if time.monotonic() > deadline:
                raise FleetError(f"agent {name} was not ready after {START_TIMEOUT_S:.0f} s: {_tail(config)}")
            time.sleep(0.01)
        self.started_in[name] += time.monotonic()
        self.addresses[name] = ready.read_text().strip()


def _ready_file(config: Path) -> Path:
    return config.parent / "ready"


def _tail(config: Path) -> str:
    return (config.parent / "agent.log").read_text(errors="replace").strip()[-2000:]
