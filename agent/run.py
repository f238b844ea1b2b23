"""An agent's life as a process: start, say that it serves, wait for the signal, end in good order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from agent.defects import place_of
from agent.dialout import DialOut
from agent.handlers import Handlers
from agent.server import AgentServer, Listening
from agent.upkeep import Upkeep
from protos.identity import ProviderId

COLLECT_AFTER: Final = (20_000, 20, 50)
"""When garbage is collected: a batch makes a million values that live until its end, and no cycles."""
GRACE_S: Final = 3.0
"""How long calls under way may take to end, in seconds."""


log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ways:
    """How questions come: at a port, over a stream to the coordinator at the address `called`, or both."""

    listening: Listening | None
    dial_out: DialOut | None = None
    called: str = ""


def configure_log(form: Literal["console", "json"], level: str) -> None:
    """Log to standard error, as lines for people or as JSON."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer()
            if form == "json"
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def serve(
    me: ProviderId,
    handlers: Handlers,
    ways: Ways,
    ready_file: Path | None,
    upkeep: Upkeep | None = None,
    beside: Sequence[Coroutine[Any, Any, None]] = (),
) -> None:
    """Serve until SIGTERM or SIGINT, with `upkeep` and what else is to run beside it.

    Raises:
        agent.server.CannotListenError: the address can't be listened on.
        OSError: the ready file can't be written.
    """
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, asked_to_stop.set)
    server = None if ways.listening is None else AgentServer(handlers, ways.listening)
    tasks = [_kept_running(work) for work in beside]
    try:
        address = ways.called if server is None else await server.start()
        gc.collect()
        tasks += [] if upkeep is None else [_kept_running(upkeep.run())]
        gc.set_threshold(*COLLECT_AFTER)
        gc.freeze()  # what is loaded by now stays: collections need not walk it, nor drag it through the caches
        if ways.dial_out is not None:
            tasks.append(_kept_running(ways.dial_out.run()))
            if server is None and not await _first(ways.dial_out.serving, asked_to_stop):
                return
        if ready_file is not None:
            announce(ready_file, address)
        print(f"hopback-agent {me} serves on {address}", flush=True)
        await asked_to_stop.wait()
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if server is not None:
            await server.stop(GRACE_S)


def _kept_running(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """What runs beside the service; should it end by a defect, the log says so and questions are answered on."""
    task = asyncio.create_task(work)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("stopped_working", error=type(error).__name__, place=place_of(error))


async def _first(one: asyncio.Event, other: asyncio.Event) -> bool:
    """Wait for either; True when it is the first."""
    waits = [asyncio.create_task(event.wait()) for event in (one, other)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    return one.is_set()


def announce(ready_file: Path, address: str) -> None:
    """Write the address whole or not at all: whoever waits for the file reads it at once."""
    hidden = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
    hidden.write_text(f"{address}\n")
    hidden.replace(ready_file)
