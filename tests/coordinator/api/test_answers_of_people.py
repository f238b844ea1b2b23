"""A person's answer, given to the service over the network, goes on with the chain to its origin.

All of it is the real thing: `serve` with its clerk, signed questions over mutual TLS to agents (which answer from a
script), an order that two persons signed, callers with certificates at the command line.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from coordinator import serving
from coordinator.authority.lab_ca import LabAuthority
from coordinator.cli import main
from coordinator.config import load
from coordinator.registry.book import RegistryBook
from coordinator.running import clerking
from coordinator.serve import Addresses
from coordinator.store.engine import engine_for
from coordinator.store.orders import OrderBook
from coordinator.tasks.desk import TaskDesk
from deploy.lab.people import People
from protos.types import Handover, Outcome
from tests.coordinator.fake_agent import FakeAgent, served
from tests.coordinator.make import says, upstream
from tests.coordinator.parties import order

ACCESS = '\n[listen]\naddress = "127.0.0.1:0"\n[access]\nanalysts = ["una"]\nauditors = ["otto"]\n'
PATIENCE_S = 30.0


@dataclass
class Desk:
    """A coordinator that serves, seen from outside."""

    home: Path
    address: str

    async def host(self, *arguments: str, code: int = 0) -> Result:
        """One command on the coordinator's machine."""
        config = ["--config", str(self.home / "coordinator.toml")]
        done = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, *config])
        assert done.exit_code == code, done.output
        return done

    async def call(self, role: str, name: str, *arguments: str, code: int = 0) -> Result:
        """One command of somebody with a certificate, over the network."""
        issued = LabAuthority.open(self.home / "ca").issue_caller(role, name, self.home / "callers")
        line = ["api", "--server", self.address, "--certificate", str(issued.certificate), "--key", str(issued.key)]
        done = await asyncio.to_thread(
            CliRunner().invoke, main, [*line, "--roots", str(self.home / "ca" / "ca.crt"), *arguments]
        )
        assert done.exit_code == code, done.output
        return done

    async def json(self, role: str, name: str, *arguments: str) -> Any:
        return json.loads((await self.call(role, name, *arguments, "--json")).stdout)

    async def submitted(self) -> str:
        """A traceback under an order that ann submitted and bob approved."""
        now = datetime.now(UTC).replace(microsecond=0)
        with engine_for(load(self.home / "coordinator.toml").store_url) as engine:
            one = order(at=now - timedelta(hours=3), issued=now, expires=now + timedelta(hours=72))
            [call] = People.of(self.home).keep(OrderBook(engine), [replace(one, coordinator="lab")], now)
        assert call.order_sha256 is not None
        [result] = await self.json("requester", "ann", "submit", call.order_sha256.hex())
        return str(result["traceback_id"])

    async def until(self, traceback: str, there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The traceback, when it has come so far."""
        seen: dict[str, Any] = {}
        async with asyncio.timeout(PATIENCE_S):
            while not (seen and there(seen)):
                seen = await self.json("analyst", "una", "show", traceback)
        return seen

    async def until_status(self, traceback: str, status: str) -> dict[str, Any]:
        return await self.until(traceback, lambda seen: seen["status"] == status)

    async def waiting(self, traceback: str) -> str:
        """The open task of elm."""
        await self.until_status(traceback, "awaiting_person")
        [task] = [one for one in await self.json("provider", "elm", "tasks") if one["state"] == "waiting"]
        return str(task["task_id"])

    async def attest(self, task: str) -> None:
        key = str(self.home / "people" / "bob.key")
        await self.host("tasks", "attest", task, "--key", key, "--yes")


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """ginkgo's agent names elm, which has none; alder's agent answers for the origin."""
    monkeypatch.setattr(clerking, "ROUND_S", 0.05)
    home = tmp_path / "lab"
    assert CliRunner().invoke(main, ["init", str(home)]).exit_code == 0
    config = home / "coordinator.toml"
    config.write_text(config.read_text() + ACCESS)
    authority = LabAuthority.open(home / "ca")
    ginkgo = FakeAgent("ginkgo", upstream("ginkgo", "elm"))
    alder = FakeAgent("alder", says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED))
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    structlog.reset_defaults()
    async with served(ginkgo, authority), served(alder, authority), AsyncExitStack() as stack:
        rows = [f"ginkgo,Ginkgo,{ginkgo.endpoint}", f"alder,Alder Voice,{alder.endpoint}", "elm,Elm,", "fir,Fir,"]
        registry = home / "registry.csv"
        registry.write_text("\n".join(["id,name,endpoint", *rows, ""]))
        imported = ["registry", "import", str(registry), "--config", str(config)]
        assert CliRunner().invoke(main, imported).exit_code == 0
        logged = stack.enter_context(capture_logs())
        running = asyncio.create_task(serving.serve(load(config), started.set_result, stop))
        await asyncio.wait((running, started), return_when=asyncio.FIRST_COMPLETED)
        addresses: Addresses = await started
        yield Desk(home, addresses.address)
        stop.set()
        await running
        assert "+1" not in f"{logged}"


ANSWER = ("--handover", "confirmed", "--person", "Kim")


async def test_with_a_typed_name_goes_on_when_it_is_matched_and_attested(desk: Desk) -> None:
    traceback = await desk.submitted()
    task = await desk.waiting(traceback)
    said = ("answer", task, "--outcome", "upstream", "--upstream", "Alder Voice Inc.", *ANSWER)
    assert await desk.json("provider", "fir", "tasks") == []
    assert "not found" in (await desk.call("provider", "fir", *said, code=1)).output
    assert "permission denied" in (await desk.call("auditor", "otto", *said, code=1)).output
    assert "permission denied" in (await desk.call("requester", "ann", *said, code=1)).output
    vague = await desk.call("provider", "elm", "answer", task, "--outcome", "refused", "--person", "Kim", code=1)
    assert "refusal: say why" in vague.output

    assert (await desk.json("provider", "elm", *said))["state"] == "answered"
    assert (await desk.json("analyst", "una", "show", traceback))["status"] == "awaiting_person"
    assert "permission denied" in (await desk.call("provider", "elm", "match", task, "alder", code=1)).output
    await desk.call("analyst", "una", "match", task, "alder")
    await desk.attest(task)
    done = await desk.until_status(traceback, "origin_found")
    assert done["found"] == "alder"
    assert [(hop["provider"], hop["upstream"]) for hop in done["hops"]] == [
        ("ginkgo", "elm"),
        ("elm", "alder"),
        ("alder", ""),
    ]


async def test_by_a_link_counts_once_and_for_its_own_task_alone(desk: Desk) -> None:
    traceback, other = await desk.submitted(), None
    task = await desk.waiting(traceback)
    other = await desk.submitted()
    await desk.until_status(other, "awaiting_person")
    [others] = [one["task_id"] for one in await desk.json("provider", "elm", "tasks") if one["task_id"] != task]
    token = (await desk.host("tasks", "link", task)).stdout.strip().rpartition("#")[2]
    said = ("--outcome", "upstream", "--upstream", "alder", *ANSWER, "--token")

    for role, name, asked, given in (
        ("provider", "elm", task, "A" * 43),
        ("provider", "elm", task, token[:-4] + "AAAA"),
        ("provider", "elm", others, token),
        ("analyst", "una", others, token),
    ):
        refused = await desk.call(role, name, "answer", asked, *said, given, code=1)
        assert "failed precondition" in refused.output
    strangers = await desk.call("provider", "fir", "answer", task, *said, token, code=1)
    assert "failed precondition: this link doesn't answer this task" in strangers.output

    assert (await desk.json("provider", "elm", "answer", task, *said, token))["state"] == "answered"
    again = await desk.call("provider", "elm", "answer", task, *said, token, code=1)
    assert "failed precondition" in again.output
    await desk.attest(task)
    assert (await desk.until_status(traceback, "origin_found"))["found"] == "alder"
    assert (await desk.json("analyst", "una", "show", other))["status"] == "awaiting_person"


async def test_that_comes_late_reopens_the_chain(desk: Desk) -> None:
    traceback = await desk.submitted()
    task = await desk.waiting(traceback)
    with engine_for(load(desk.home / "coordinator.toml").store_url) as engine:
        book = RegistryBook(engine)
        assert TaskDesk(engine, book, book).give_up_overdue(datetime.now(UTC) + timedelta(days=14)) == 1
    assert (await desk.until_status(traceback, "non_responsive"))["found"] == ""
    said = ("answer", task, "--outcome", "upstream", "--upstream", "alder", "--note", "found it", *ANSWER)
    assert (await desk.json("provider", "elm", *said))["state"] == "answered"
    await desk.attest(task)
    assert (await desk.until_status(traceback, "origin_found"))["found"] == "alder"
