"""`hopback-coordinator serve`: the coordinator as a process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.commands.frame import Failed, config_option, loaded_config, misconfigured

if TYPE_CHECKING:
    from coordinator.serve import Addresses


@click.command()
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the addresses there, one a line, once they are listened on; removed at the end.",
)
@click.option("--log", "log_form", type=click.Choice(["console", "json"]), default="console", show_default=True)
@config_option
def serve(ready_file: Path | None, log_form: str, config_path: Path) -> None:
    """As `run`, and beside it serve agents that dial out, enrol and renew, until SIGTERM or Ctrl-C.

    \b
    hopback-coordinator serve --config /etc/hopback/coordinator.toml
    """
    import asyncio
    import signal

    from coordinator.commands.run import configure_log
    from coordinator.config import ConfigError
    from coordinator.serve import CannotListenError
    from coordinator.serving import serve as run

    loaded = loaded_config(config_path)
    configure_log(log_form)

    def started(addresses: Addresses) -> None:
        both = [address for address in (addresses.address, addresses.enrolment_address) if address is not None]
        if ready_file is not None:
            hidden = ready_file.with_name(f".{ready_file.name}.new")
            hidden.write_text("".join(f"{address}\n" for address in both))
            hidden.replace(ready_file)
        click.echo(f"hopback-coordinator {loaded.config.coordinator.name} serves on {', '.join(both)}")

    async def serving() -> None:
        stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        await run(loaded, started, stop)

    try:
        asyncio.run(serving())
    except ConfigError as error:
        raise misconfigured(error) from None
    except CannotListenError as error:
        raise Failed(str(error)) from None
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
