"""The service over gRPC and mutual TLS, through the command line: who is who, what each sees, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
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
    """A coordinator's service that listens, and the certificates of those who call."""

    made: Made
    parties: Parties
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


@pytest.fixture
async def running(sqlite_engine: Engine, tmp_path: Path) -> AsyncIterator[Running]:
    # The network's certificates are judged by the real clock.
    parties = Parties(tmp_path / "ca", datetime.now().astimezone())
    made = await make(sqlite_engine, Parties(tmp_path / "evidence"), tmp_path)
    files = Live(tls(parties.authority.issue_coordinator("lab")))
    server = CoordinatorServer(files, "127.0.0.1:0", made.services())
    address = (await server.start()).address
    yield Running(made, parties, address)
    await server.stop(0)
    made.store.close()


async def test_each_sees_what_is_his(running: Running) -> None:
    assert {one["campaign"] for one in await running.json("analyst", "una", "list")} == {"warranty", "bank"}
    assert [one["campaign"] for one in await running.json("requester", "ann", "list")] == ["warranty"]
    assert await running.json("provider", "fir", "list") == []
    shown = await running.json("requester", "ann", "show", str(running.made.tracebacks["ann"]))
    assert [hop["provider"] for hop in shown["hops"]] == ["ginkgo", "birch", "alder"]
    assert shown["found"] == "alder"
    own = await running.json("provider", "birch", "show", str(running.made.tracebacks["ann"]))
    assert [(hop["provider"], hop["named_by"], hop["upstream"]) for hop in own["hops"]] == [
        ("birch", "ginkgo", "alder")
    ]
    assert own["found"] == ""


async def test_people_see_a_table_with_masked_numbers(running: Running) -> None:
    shown = await running.run("analyst", "una", "show", str(running.made.tracebacks["ann"]))
    assert "ginkgo" in shown.stdout
    assert "Origin found" in shown.stdout
    assert "1  terminating   ginkgo    came from birch" in shown.stdout
    assert (
        "3  originating   alder     placed by a customer of this provider; confirms the handover to birch"
        in shown.stdout
    )
    assert "5550" not in shown.stdout
    numbers = await running.run("analyst", "una", "list", "--show-numbers")
    assert "5550" in numbers.stdout.replace("\n", "")


async def test_a_watch_ends_when_nothing_can_change(running: Running) -> None:
    states = (await running.run("auditor", "otto", "watch", str(running.made.tracebacks["ann"]), "--json")).stdout
    assert [json.loads(line)["status"] for line in states.splitlines()] == ["origin_found"]


async def test_tasks_are_listed_and_answered(running: Running) -> None:
    answered, task = sorted(await running.json("provider", "elm", "tasks"), key=lambda one: one["state"])
    assert (answered["upstream_name"], task["state"]) == ("Cedar Networks", "waiting")
    arguments = ("answer", task["task_id"], "--outcome", "upstream", "--upstream", "alder", "--person", "Kim")
    assert (await running.json("provider", "elm", *arguments))["state"] == "answered"
    again = await running.run("provider", "elm", *arguments, code=1)
    assert "failed precondition" in again.output


async def test_what_a_role_may_not_is_refused_in_words(running: Running) -> None:
    ann = str(running.made.tracebacks["ann"])
    refused = await running.run("auditor", "otto", "cancel", ann, "--reason", "y", code=1)
    assert "permission denied: the role auditor may not call Cancel" in refused.output
    unknown = await running.run("analyst", "mallory", "list", code=1)
    assert "unauthenticated" in unknown.output
    malformed = await running.run("analyst", "una", "show", "no-id", code=2)
    assert "'no-id' is no id of a traceback" in malformed.output
    nobodys = await running.run("provider", "fir", "show", ann[:8], code=2)
    assert "no traceback that you may see begins" in nobodys.output
    assert "not found" in (await running.run("provider", "fir", "show", ann, code=1)).output


async def test_a_submission_is_made_over_it(running: Running) -> None:
    made = running.made
    (result,) = await running.json("requester", "ann", "submit", made.fresh.hex())
    assert result["traceback_id"]
    refused = await running.run("requester", "ann", "submit", made.unapproved.hex(), code=65)
    assert "lacks approval" in refused.output
    cancelled = await running.json("requester", "ann", "cancel", result["traceback_id"], "--reason", "a mistake")
    assert cancelled["status"] == "cancelled"
