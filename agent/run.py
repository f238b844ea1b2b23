"""An agent's life as a process: start, say that it serves, wait for the signal, end in good order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import structlog

from agent.handlers import Handlers
from agent.server import AgentServer, Listening
from agent.upkeep import Upkeep
from protos.identity import ProviderId

GRACE_S: Final = 3.0
"""How long calls under way may take to end, in seconds."""


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
    me: ProviderId, handlers: Handlers, listening: Listening, ready_file: Path | None, upkeep: Upkeep | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, with `upkeep` beside it.

    Raises:
        agent.server.CannotListenError: the address can't be listened on.
        OSError: the ready file can't be written.
    """
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, asked_to_stop.set)
    server = AgentServer(handlers, listening)
    address = await server.start()
    gc.collect()
    beside = None if upkeep is None else asyncio.create_task(upkeep.run())
    gc.freeze()  # what is loaded by now stays: collections need not walk it, nor drag it through the caches
    try:
        if ready_file is not None:
            announce(ready_file, address)
        print(f"hopback-agent {me} serves on {address}", flush=True)
        await asked_to_stop.wait()
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        if beside is not None:
            beside.cancel()
            with suppress(asyncio.CancelledError):
                await beside
        await server.stop(GRACE_S)


def announce(ready_file: Path, address: str) -> None:
    """Write the address whole or not at all: whoever waits for the file reads it at once."""
    hidden = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
    hidden.write_text(f"{address}\n")
    hidden.replace(ready_file)
