"""`hopback-coordinator run`: traces what others submit, ends in good order, gets over a database that fails."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from coordinator.authority.lab_ca import LabAuthority
from coordinator.cli import main
from coordinator.config import FILE_NAME, load
from coordinator.running.daemon import Daemon
from coordinator.store.engine import open_engine
from coordinator.store.sql_store import SqlStore, opened
from coordinator.tracing.chain import Status
from coordinator.tracing.ports import Change, Provider
from protos.types import Outcome
from tests.coordinator.fake_agent import FakeAgent, served
from tests.coordinator.fakes import ScriptedAgents
from tests.coordinator.make import NOW, provider, says, submitted, upstream
from tests.coordinator.test_interruption import command

CALLS = 12


@pytest.mark.slow
async def test_a_service_traces_what_a_command_submitted_and_was_killed_over(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["init", str(tmp_path)]).exit_code == 0
    config = tmp_path / "coordinator.toml"
    config.write_text(config.read_text().replace('lease = "15s"', 'lease = "1s"'))
    authority = LabAuthority.open(tmp_path / "ca")
    stuck, go_on = asyncio.Event(), asyncio.Event()

    async def held(_: object) -> object:
        stuck.set()
        await go_on.wait()
        return says("alder", Outcome.ORIGINATED_HERE)

    ginkgo, alder = FakeAgent("ginkgo", upstream("ginkgo", "alder")), FakeAgent("alder", held)  # type: ignore[arg-type]
    async with served(ginkgo, authority), served(alder, authority):
        registry, calls = tmp_path / "registry.csv", tmp_path / "calls.csv"
        registry.write_text(f"id,name,endpoint\nginkgo,Ginkgo,{ginkgo.endpoint}\nalder,Alder,{alder.endpoint}\n")
        calls.write_text(
            "called,at,terminating\n"
            + "".join(f"+120255501{i:02},2026-11-20T18:03:{i:02}Z,ginkgo\n" for i in range(CALLS))
        )
        process = await command(tmp_path, "registry", "import", str(registry))
        assert await process.wait() == 0
        people = tmp_path / "people"
        keys = ("--submit-key", str(people / "ann.key"), "--approve-key", str(people / "bob.key"))
        killed = await command(tmp_path, "import", str(calls), *keys)
        await stuck.wait()
        killed.send_signal(signal.SIGKILL)
        assert await killed.wait() == -signal.SIGKILL

        go_on.set()
        service = await command(tmp_path, "run", "--log", "json")
        with opened(open_engine(load(config).store_url)) as store:
            while store.open_ids():
                await asyncio.sleep(0.1)
            assert store.counts() == {Status.ORIGIN_FOUND: CALLS}
        service.send_signal(signal.SIGTERM)
        _, errors = await service.communicate()
        assert service.returncode == 0
        events = [json.loads(line) for line in errors.splitlines()]
        assert [event["event"] for event in events] == ["coordinating", "traced", "stopped"]
        assert b"+1202" not in errors
    for agent in (ginkgo, alder):
        assert len({question.question_id for question in agent.asked}) == CALLS


class FailingStore(SqlStore):
    """Fails as often as it is told to."""

    failures = 0

    async def save(self, changes: Sequence[Change]) -> set[int]:
        if self.failures:
            self.failures -= 1
            raise OperationalError("UPDATE", {}, Exception("database is locked"))
        return await super().save(changes)


@pytest.fixture
def store(sqlite_engine: Engine) -> Iterator[FailingStore]:
    store = FailingStore(sqlite_engine)
    store.put_providers([Provider(provider("ginkgo"), "Ginkgo", "192.0.2.1:7443")], NOW)
    yield store
    store.close()


async def test_a_database_that_fails_is_tried_again_until_it_is_well(store: FailingStore, tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["init", str(tmp_path / "lab")]).exit_code == 0
    file = tmp_path / "lab" / FILE_NAME
    file.write_text(file.read_text().replace('lease = "15s"', 'lease = "1s"'))
    structlog.reset_defaults()
    store.failures = 2
    store.submit([replace(submitted(), id=uuid.UUID(int=number)) for number in range(1, 4)], NOW)
    daemon = Daemon(load(file), store, ScriptedAgents(ginkgo=[says("ginkgo", Outcome.ORIGINATED_HERE)]))
    with capture_logs() as logs:
        running = asyncio.create_task(daemon.run())
        while store.open_ids() and not running.done():
            await asyncio.sleep(0.05)
        daemon.stop()
        await running
    assert store.counts() == {Status.ORIGIN_FOUND: 3}
    failed = [entry for entry in logs if entry["event"] == "database_failed"]
    assert [entry["error"] for entry in failed] == ["database is locked"] * 2
    assert failed[0]["again_in_s"] < failed[1]["again_in_s"]


async def test_a_service_that_is_stopped_before_it_began_ends(store: FailingStore, tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["init", str(tmp_path / "lab")]).exit_code == 0
    daemon = Daemon(load(tmp_path / "lab" / FILE_NAME), store, ScriptedAgents())
    daemon.stop()
    await asyncio.wait_for(daemon.run(), 10)
