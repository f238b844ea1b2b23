"""The house of `house.py` behind a real server, and callers with certificates who use the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from sqlalchemy import Engine

from coordinator.cli import main
from coordinator.serve import CoordinatorServer
from protos.live import Live
from tests.coordinator.api.house import Made, make
from tests.coordinator.fake_agent import tls
from tests.coordinator.parties import Parties


@dataclass
class Running:
    """A coordinator's services that listen, and the certificates of those who call."""

    made: Made
    engine: Engine
    parties: Parties
    server: CoordinatorServer
    address: str

    async def run(self, role: str, name: str, *arguments: str, code: int = 0) -> Result:
        """One command of somebody with a certificate."""
        issued = self.parties.authority.issue_caller(role, name)
        line = ["api", "--server", self.address, "--certificate", str(issued.certificate)]
        line += ["--key", str(issued.key), "--roots", str(issued.roots), *arguments]
        result = await asyncio.to_thread(CliRunner().invoke, main, line)
        assert result.exit_code == code, result.output
        return result

    async def json(self, role: str, name: str, *arguments: str) -> Any:
        """The JSON that it writes."""
        return json.loads((await self.run(role, name, *arguments, "--json")).stdout)

    async def restart(self) -> None:
        """Stop serving, and begin again at the same address, as another process would."""
        await self.server.stop(0)
        self.server = _server(self.made, self.parties, self.address)
        await self.server.start()


def _server(made: Made, parties: Parties, address: str) -> CoordinatorServer:
    return CoordinatorServer(Live(tls(parties.authority.issue_coordinator("lab"))), address, made.services())


@asynccontextmanager
async def started(engine: Engine, directory: Path, *, present: bool = False) -> AsyncIterator[Running]:
    """The house, served; with `present` its clock goes to the present time once everything is traced."""
    # The network's certificates are judged by the real clock.
    parties = Parties(directory / "ca", datetime.now(UTC))
    made = await make(engine, Parties(directory / "evidence"), directory)
    if present:
        made.clock.advance(datetime.now(UTC) - made.clock.now())
    server = _server(made, parties, "127.0.0.1:0")
    running = Running(made, engine, parties, server, (await server.start()).address)
    try:
        yield running
    finally:
        await running.server.stop(0)
        made.store.close()
