"""Killed in the middle: what was begun is kept, and `resume` ends every traceback once, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from coordinator.authority.lab_ca import LabAuthority
from coordinator.cli import main
from protos.types import Answer, Outcome, Question
from tests.coordinator.fake_agent import FakeAgent, served
from tests.coordinator.make import says, upstream

CALLS = 12


async def command(directory: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from coordinator.cli import main; main()", *arguments),
        env={**os.environ, "HOPBACK_COORDINATOR_CONFIG": str(directory / "coordinator.toml")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.slow
async def test_a_killed_import_is_resumed_and_every_call_traced_once(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["init", str(tmp_path)]).exit_code == 0
    config = tmp_path / "coordinator.toml"
    config.write_text(config.read_text().replace('lease = "15s"', 'lease = "1s"'))
    authority = LabAuthority.open(tmp_path / "ca")
    stuck, go_on = asyncio.Event(), asyncio.Event()

    async def holds_some(question: Question) -> Answer:
        if int(question.called[-1]) % 2 and not go_on.is_set():
            stuck.set()
            await go_on.wait()
        return says("alder", Outcome.ORIGINATED_HERE)

    ginkgo, alder = FakeAgent("ginkgo", upstream("ginkgo", "alder")), FakeAgent("alder", holds_some)
    async with served(ginkgo, authority), served(alder, authority):
        registry, calls = tmp_path / "registry.csv", tmp_path / "calls.csv"
        registry.write_text(f"id,name,endpoint\nginkgo,Ginkgo,{ginkgo.endpoint}\nalder,Alder,{alder.endpoint}\n")
        calls.write_text(
            "called,at,terminating\n"
            + "".join(f"+120255501{i:02},2026-11-20T18:03:{i:02}Z,ginkgo\n" for i in range(CALLS))
        )
        people = tmp_path / "people"
        keys = ("--submit-key", str(people / "ann.key"), "--approve-key", str(people / "bob.key"))
        process = await command(tmp_path, "registry", "import", str(registry))
        assert await process.wait() == 0

        process = await command(tmp_path, "import", str(calls), *keys)
        await stuck.wait()
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL

        go_on.set()
        process = await command(tmp_path, "resume", "--json")
        output, _ = await process.communicate()
        resumed = [json.loads(line) for line in output.splitlines()]
        assert resumed
        assert {one["origin"] for one in resumed} == {"alder"}

        process = await command(tmp_path, "list", "--json", "--limit", "100")
        output, _ = await process.communicate()
        listed = json.loads(output)
        assert len(listed) == CALLS
        assert {one["status"] for one in listed} == {"origin_found"}
    # whatever was asked again after the kill was the same question under the same id
    for agent in (ginkgo, alder):
        assert len({question.question_id for question in agent.asked}) == CALLS
