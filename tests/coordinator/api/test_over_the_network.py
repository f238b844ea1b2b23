"""The service over gRPC and mutual TLS, through the command line: who is who, what each sees, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from coordinator.callers import Caller
from hopback.v1 import traceback_pb2 as pb
from tests.coordinator.api.network import Running, started


@pytest.fixture
async def running(sqlite_engine: Engine, tmp_path: Path) -> AsyncIterator[Running]:
    async with started(sqlite_engine, tmp_path) as found:
        yield found


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


async def test_a_watch_outlives_a_restart_and_shows_no_state_twice(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = running.made
    (result,) = await running.json("requester", "ann", "submit", made.fresh.hex())
    watched, seen = asyncio.Event(), made.api.watch

    async def watch(caller: Caller, request: pb.WatchRequest) -> AsyncIterator[pb.WatchResponse]:
        async for state in seen(caller, request):
            yield state
            watched.set()

    monkeypatch.setattr(made.api, "watch", watch)
    await running.restart()
    watching = asyncio.create_task(
        running.run("requester", "ann", "watch", result["traceback_id"], "--json", "--patience", "20s")
    )
    await watched.wait()
    await running.restart()
    await running.run("requester", "ann", "cancel", result["traceback_id"][:8], "--reason", "a mistake")
    states = [json.loads(line)["status"] for line in (await watching).stdout.splitlines()]
    assert states == ["submitted", "cancelled"]


async def test_without_patience_a_coordinator_that_is_away_is_told_at_once(running: Running) -> None:
    await running.server.stop(0)
    line = ("watch", str(running.made.tracebacks["ann"]), "--patience", "0s")
    away = await running.run("analyst", "una", *line, code=1)
    assert away.output.startswith("Error: unavailable")
    assert "trying again" not in away.output


class TestAnExport:
    async def test_is_the_bundle_that_the_coordinator_itself_would_write(
        self, running: Running, tmp_path: Path
    ) -> None:
        made, file = running.made, tmp_path / "one.zip"
        ann = made.tracebacks["ann"]
        line = ("export", "bundle", str(ann)[:8], "--out", str(file), "--without-logs")
        shown = await running.run("requester", "ann", *line)
        notary = made.house.notary
        assert notary is not None
        assert file.read_bytes() == notary.sealed(notary.collect(ann))
        assert f"{len(file.read_bytes()):,} bytes" in shown.stdout
        assert file.stat().st_mode & 0o077 == 0
        with_logs = await running.run("auditor", "otto", "export", "bundle", str(ann), "--out", str(file))
        assert "No proof from the log of alder" in with_logs.stderr

    async def test_is_not_made_of_what_is_under_way(self, running: Running, tmp_path: Path) -> None:
        (result,) = await running.json("requester", "ann", "submit", running.made.fresh.hex())
        file = tmp_path / "one.zip"
        line = ("export", "bundle", result["traceback_id"], "--out", str(file))
        refused = await running.run("requester", "ann", *line, code=1)
        assert "failed precondition: it is under way" in refused.output
        assert not file.exists()

    async def test_is_not_written_where_it_did_not_arrive_whole(
        self, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("coordinator.api.service.digest", lambda data: bytes(32))  # noqa: ARG005
        file = tmp_path / "one.zip"
        ann = str(running.made.tracebacks["ann"])
        broken = await running.run("analyst", "una", "export", "bundle", ann, "--out", str(file), code=1)
        assert "did not arrive whole" in broken.output
        assert not file.exists()

    async def test_of_many_is_a_line_each_page_after_page(
        self, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("coordinator.commands.api_export._PAGE", 1)
        written = (await running.run("auditor", "otto", "export", "tracebacks")).stdout
        found = [json.loads(line) for line in written.splitlines()]
        assert {one["campaign"] for one in found} == {"warranty", "bank"}
        assert [hop["provider"] for hop in found[0]["hops"]] == ["ginkgo", "birch", "alder"]
        file = tmp_path / "many.csv"
        line = ("export", "tracebacks", "--format", "csv", "--out", str(file))
        await running.run("requester", "ann", *line)
        header, row = file.read_text().splitlines()
        assert header.startswith("id,submitted_at,status,called,")
        assert row.endswith("warranty,alder,3,ginkgo < birch < alder")
        assert ",'+1" in row, "no spreadsheet takes it for a formula"
        assert file.stat().st_mode & 0o077 == 0
        none = await running.run("auditor", "otto", "export", "tracebacks", "--until", "2020-01-01")
        assert none.stdout == ""

    async def test_of_a_provider_holds_its_own_hops(self, running: Running) -> None:
        written = (await running.run("provider", "birch", "export", "tracebacks", "--campaign", "bank")).stdout
        (one,) = [json.loads(line) for line in written.splitlines()]
        assert [hop["provider"] for hop in one["hops"]] == ["birch"]
        assert (one["found"], one["terminating"], one["means"]) == ("", "", "")


class TestAReport:
    async def test_is_the_one_that_the_coordinator_itself_makes(self, running: Running) -> None:
        found = await running.json("auditor", "otto", "report", "transparency")
        assert (found["tracebacks"], found["finished"], found["hops"]) == (2, 2, {"3": 2})
        assert found["providers"][0] == {
            "provider": "alder", "name": "Alder", "originating": 2, "gateway": 0, "transit": 0, "terminating": 0,
            "non_responsive": 0, "refused": 0, "disputed": 0,
        }  # fmt: skip
        anns = await running.json("requester", "ann", "report", "transparency")
        assert anns["tracebacks"] == 1

    async def test_names_who_takes_part(self, running: Running) -> None:
        found = await running.json("analyst", "una", "report", "participants")
        assert {one["provider"]: one["answered"] for one in found} == {"alder": 2, "birch": 2, "ginkgo": 2, "elm": 1}
        refused = await running.run("requester", "ann", "report", "participants", code=1)
        assert "permission denied" in refused.output

    async def test_of_a_provider_is_its_own_scorecard_with_the_facts(self, running: Running) -> None:
        (own,) = await running.json("provider", "birch", "report", "scorecard")
        assert own["provider"] == "birch"
        assert own["figures"]["answered"]["count"] == len(own["figures"]["answered"]["questions"]) == 2
        assert "denied" not in own["figures"]
        every = await running.json("analyst", "una", "report", "scorecard")
        (birch,) = [card for card in every if card["provider"] == "birch"]
        assert birch["figures"]["denied"] == {"count": 0, "questions": []}
        assert await running.json("provider", "birch", "report", "scorecard", "alder") == []
        shown = (await running.run("provider", "birch", "report", "scorecard")).stdout
        assert "answered" in shown


class TestTheRegistry:
    async def test_is_listed_shown_and_searched(self, running: Running) -> None:
        listed = await running.json("requester", "ann", "registry", "list")
        assert [one["provider"] for one in listed] == ["alder", "birch", "cedar", "elm", "fir", "ginkgo"]
        assert "192.0.2" not in json.dumps(listed)
        shown = await running.json("provider", "birch", "registry", "show", "birch")
        assert shown["endpoint"] == "192.0.2.2:7443"
        assert "not found" in (await running.run("provider", "birch", "registry", "show", "alder", code=1)).output
        found = await running.json("analyst", "una", "registry", "suggest", "Birsch")
        assert found["suggestions"][0]["provider"] == "birch"

    async def test_changes_by_two_analysts_alone(self, running: Running) -> None:
        line = ("registry", "propose", "birch", "name", "Birch Tel", "--reason", "renamed")
        proposed = await running.json("analyst", "una", *line)
        short = proposed["proposal_id"][:8]
        own = await running.run("analyst", "una", "registry", "confirm", short, code=1)
        assert "another operator must confirm it" in own.output
        assert short in (await running.run("auditor", "otto", "registry", "proposals")).stdout
        assert (
            "permission denied" in (await running.run("auditor", "otto", "registry", "confirm", short, code=1)).output
        )
        await running.run("analyst", "ute", "registry", "confirm", short)
        assert (await running.json("analyst", "una", "registry", "show", "birch"))["provider"]["name"] == "Birch Tel"
        wrong = await running.run("analyst", "una", "registry", "propose", "birch", "colour", "green", code=1)
        assert "invalid argument: 'colour' can't be changed" in wrong.output

    async def test_a_typed_name_is_matched_by_a_person_who_saw_what_was_suggested(self, running: Running) -> None:
        typed = str(running.made.typed)
        assert "to be matched: Cedar" in (await running.run("analyst", "una", "tasks")).stdout
        assert (await running.json("analyst", "una", "match", typed[:8], "alder"))["state"] == "answered"
        again = await running.run("analyst", "una", "match", typed, "alder", code=1)
        assert "there is no name to match" in again.output
        (kept,) = running.made.house.registry.matches("Cedar Networks")
        assert (kept.provider, kept.picked_by, kept.about) == ("alder", "una", f"task {typed}")
        assert kept.suggested[0][0] == "cedar"
