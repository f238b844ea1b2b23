"""`hopback-coordinator checkpoints` over real mutual TLS: what is kept, what agents are asked, what is an alarm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agent.answering import audit_handlers
from agent.audit.book import AuditBook
from agent.audit.log import AuditLog
from agent.audit.service import AuditService
from agent.audit.witness import Witness
from agent.server import AgentServer, Listening
from coordinator.authority.lab_ca import LabAuthority
from coordinator.cli import main
from coordinator.store.checkpoints import SqlCheckpoints
from coordinator.store.engine import open_engine
from protos.certificates import PinnedRoots
from protos.identity import parse_provider_id, provider_uri
from protos.signing import read_signer
from protos.tls import read_tls_files
from tests.agent.audit.books import KEY, LAB, answered, certificate_in
from tests.index.calls import UNSYNCED

NAMES = ("birch", "cedar", "elm")


def now() -> datetime:
    return datetime.now(UTC)


class Industry:
    """Three agents with logs, and a coordinator that knows them."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.books: dict[str, AuditBook] = {}

    async def run(self, *arguments: str) -> Result:
        """One command, beside the agents."""
        environment = {"HOPBACK_COORDINATOR_CONFIG": str(self.directory / "coordinator.toml"), "COLUMNS": "200"}
        return await asyncio.to_thread(CliRunner().invoke, main, ["checkpoints", *arguments], env=environment)

    def book(self, name: str, directory: str) -> AuditBook:
        """The book of an agent over the log in a directory of this name."""
        signer = read_signer(self.directory / f"{name}-evidence.key")
        certificate = certificate_in(self.directory / f"{name}-evidence.crt")
        log = AuditLog.open(self.directory / directory, UNSYNCED)
        self.stack.callback(log.close)
        return AuditBook(log, signer, certificate, parse_provider_id(name), KEY, now)

    async def serve(self, name: str, book: AuditBook, address: str = "127.0.0.1:0") -> tuple[AgentServer, str]:
        """An agent's port, with nothing but its audit service."""
        roots = PinnedRoots.from_pem((self.directory / "ca.crt").read_bytes())
        certificate, key, trusted = (self.directory / file for file in (f"{name}.crt", f"{name}.key", "ca.crt"))
        tls = read_tls_files(certificate, key, trusted, now())
        server = AgentServer(
            audit_handlers(AuditService(book, Witness(book, roots, now))), Listening(address, tls, frozenset({LAB}))
        )
        return server, await server.start()


@pytest.fixture
async def industry(tmp_path: Path) -> AsyncIterator[Industry]:
    result = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert result.exit_code == 0, result.output
    authority = LabAuthority.open(tmp_path / "ca")
    async with AsyncExitStack() as stack:
        industry = Industry(tmp_path, stack)
        lines = ["id,name,endpoint"]
        for name in NAMES:
            authority.issue_provider(name, tmp_path)
            authority.issue_evidence(provider_uri(parse_provider_id(name)), f"{name}-evidence", tmp_path)
            industry.books[name] = industry.book(name, name)
            answered(industry.books[name], 0)
            server, endpoint = await industry.serve(name, industry.books[name])
            stack.push_async_callback(server.stop, 0)
            lines.append(f"{name},{name},{endpoint}")
        lines.append("fir,fir,127.0.0.1:1")
        (tmp_path / "registry.csv").write_text("\n".join(lines))
        environment = {"HOPBACK_COORDINATOR_CONFIG": str(tmp_path / "coordinator.toml")}
        done = CliRunner().invoke(main, ["registry", "import", str(tmp_path / "registry.csv")], env=environment)
        assert done.exit_code == 0, done.output
        yield industry


def told(result: Result) -> Any:
    return json.loads(result.stdout)


async def test_check_fetches_proves_and_has_witnessed(industry: Industry) -> None:
    result = await industry.run("check")
    assert result.exit_code == 0, result.output
    assert "No log contradicts what it said before." in result.stdout
    assert "fir: not reached" in result.stdout
    answered(industry.books["birch"], 1)
    found = told(await industry.run("check", "--json"))
    birch = next(one for one in found["checkpoints"] if one["provider"] == "birch")
    assert birch["linked"] is True
    assert found["not_reached"] == ["fir"]
    listed = told(await industry.run("list", "--provider", "birch", "--json"))["checkpoints"]
    assert [one["size"] for one in listed] == [birch["size"], 2]
    assert birch["size"] > 3
    assert sorted(listed[1]["witnesses"]) == ["cedar", "elm"]


async def test_a_log_that_was_put_back_is_an_alarm_with_its_evidence(industry: Industry) -> None:
    answered(industry.books["birch"], 1, 2)
    assert (await industry.run("check")).exit_code == 0
    fork = industry.book("birch", "birch-restored")
    answered(fork, 7)
    industry.books["birch"]._signed = None
    industry.books["birch"].log.durable = fork.log.durable  # what the agent signs and proves now is another history
    result = await industry.run("check")
    assert result.exit_code == 1
    assert "ALARM birch shrunk" in result.stdout
    [*alarms] = told(await industry.run("list", "--json"))["alarms"]
    assert {alarm["provider"] for alarm in alarms} == {"birch"}
    assert all(alarm["first"] != alarm["second"] for alarm in alarms)


async def test_list_writes_what_a_provider_verifies_itself_by(industry: Industry) -> None:
    assert "No checkpoints yet" in (await industry.run("list")).stdout
    await industry.run("check")
    out = industry.directory / "birch.checkpoint"
    result = await industry.run("list", "--provider", "birch", "--out", str(out))
    assert result.exit_code == 0
    assert "birch" in result.stdout
    engine = open_engine(f"sqlite:///{industry.directory / 'coordinator.db'}")
    newest = SqlCheckpoints(engine).newest(parse_provider_id("birch"))
    engine.dispose()
    assert newest is not None
    assert out.read_bytes() == newest.exact


@pytest.mark.parametrize("arguments", [["--out", "x"], ["--provider", "No Provider"]])
async def test_list_refuses_what_can_not_be(industry: Industry, arguments: list[str]) -> None:
    assert (await industry.run("list", *arguments)).exit_code == 2


async def test_list_says_when_there_is_none_to_write(industry: Industry) -> None:
    result = await industry.run("list", "--provider", "birch", "--out", str(industry.directory / "x"))
    assert result.exit_code == 1
    assert "no checkpoint of birch" in result.output
