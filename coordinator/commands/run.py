"""`hopback-coordinator run`: trace whatever is submitted, until the signal to stop.

Exit codes: 0 stopped by SIGTERM or SIGINT, 74 the database can't be used at the start, 78 bad configuration. What is
under way when it is stopped, or killed, another process goes on with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.frame import config_option, now, opened_store

if TYPE_CHECKING:
    from coordinator.config import LoadedConfig
    from coordinator.store.sql_store import SqlStore
    from protos.renewal import Party


@click.command()
@click.option("--ready-file", type=click.Path(dir_okay=False, path_type=Path), help="Written when it is at work.")
@click.option("--log", "log_form", type=click.Choice(["console", "json"]), default="console", show_default=True)
@config_option
def run(ready_file: Path | None, log_form: str, config_path: Path) -> None:
    """Trace whatever is submitted, until SIGTERM or Ctrl-C. Any number may run over one PostgreSQL database.

    \b
    hopback-coordinator run --config /etc/hopback/coordinator.toml
    """
    import asyncio

    from coordinator.party import party_of

    configure_log(log_form)
    with opened_store(config_path) as (loaded, store):
        asyncio.run(_run(loaded, store, party_of(loaded, now()), ready_file))


async def _run(loaded: LoadedConfig, store: SqlStore, party: Party, ready_file: Path | None) -> None:
    import asyncio
    import os
    import signal

    from coordinator.online import agents_of
    from coordinator.running.daemon import Daemon

    async with agents_of(loaded, party, fetch=True) as agents:
        daemon = Daemon(loaded, store, agents)
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, daemon.stop)

        def ready() -> None:
            if ready_file is not None:
                ready_file.write_text(f"{os.getpid()}\n", encoding="utf-8")

        try:
            await daemon.run(ready)
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


def configure_log(form: str) -> None:
    """Log to standard error, for people or as JSON."""
    import sys

    import structlog

    from coordinator.commands.library_log import listen_to_libraries

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer()
            if form == "json"
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    listen_to_libraries()
