"""From a file of calls to tracebacks, over the network and by the command line, with keys that never travel."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import Engine

from coordinator.campaigns.book import CampaignBook
from tests.coordinator.api.network import Running, started

CALLS = """called,at,terminating,calling,window
+12025550171,{early},ginkgo,,60s
+12025550171,{near},ginkgo,,60s
+12025550172,{early},nobody,,60s
+1202,{early},ginkgo,,60s
+12025550173,{early},ginkgo,+12025550199,60s
"""


@pytest.fixture
async def running(sqlite_engine: Engine, tmp_path: Path) -> AsyncIterator[Running]:
    async with started(sqlite_engine, tmp_path, present=True) as found:
        yield found


def key_of(running: Running, name: str, directory: Path) -> str:
    """A person's key for orders as a file."""
    private = running.made.people[name]._key
    file = directory / f"{name}-orders.key"
    file.touch(mode=0o600)
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(file)


def calls(directory: Path) -> str:
    at = datetime.now().astimezone() - timedelta(hours=2)
    file = directory / "calls.csv"
    file.write_text(CALLS.format(early=at.isoformat(), near=(at + timedelta(seconds=20)).isoformat()))
    return str(file)


WORDS = ("--campaign", "over-there", "--evidence", "ab" * 32, "--certify", "I have listened to it.")


class TestAnImport:
    async def test_names_every_bad_row_and_makes_one_order_of_several_reports(
        self, running: Running, tmp_path: Path
    ) -> None:
        result = await running.run("requester", "ann", "import", calls(tmp_path), *WORDS, code=65)
        assert "2 orders; 5 rows, 1 of a call that is there already, 2 rejected" in result.stdout
        assert "calls.csv:4: terminating: 'nobody' is not in the registry" in result.stderr
        assert "calls.csv:5: called" in result.stderr
        assert "5550" not in result.output
        assert [one.calls for one in CampaignBook(running.engine).summaries() if one.name == "over-there"] == [2]

    async def test_sends_nothing_in_a_dry_run(self, running: Running, tmp_path: Path) -> None:
        line = ("import", calls(tmp_path), *WORDS, "--dry-run", "--json")
        found = json.loads((await running.run("requester", "ann", *line, code=65)).stdout)
        assert (found["orders"], found["repeated"], [row["line"] for row in found["rejected"]]) == (2, 1, [4, 5])
        assert CampaignBook(running.engine).summaries() == []

    async def test_says_what_is_missing(self, running: Running, tmp_path: Path) -> None:
        result = await running.run("requester", "ann", "import", calls(tmp_path), code=2)
        for option in ("--campaign", "--certify", "--evidence"):
            assert f"{option}: missing" in result.output

    async def test_is_for_oneself_unless_an_analyst_does_it(self, running: Running, tmp_path: Path) -> None:
        others = await running.run("requester", "ann", "import", calls(tmp_path), *WORDS, "--submitter", "abe", code=1)
        assert "to be submitted by abe, not by ann" in others.output
        unsaid = await running.run("analyst", "una", "import", calls(tmp_path), *WORDS, code=2)
        assert "--submitter" in unsaid.output
        await running.run("analyst", "una", "import", calls(tmp_path), *WORDS, "--submitter", "abe", code=65)
        (made,) = [one for one in await running.json("requester", "abe", "order", "list") if one["state"] == "draft"]
        assert made["campaigns"] == ["over-there"]


async def test_orders_go_from_a_file_to_tracebacks(running: Running, tmp_path: Path) -> None:
    ann, bob, abe = (key_of(running, name, tmp_path) for name in ("ann", "bob", "abe"))
    line = ("import", calls(tmp_path), *WORDS, "--sign-with", ann, "--json")
    found = json.loads((await running.run("requester", "ann", *line, code=65)).stdout)
    assert (found["orders"], found["state"]) == (2, "submitted")
    name = found["set"][:8]
    # Nobody can begin it, sign with another's key, or approve what she submitted.
    early = await running.run("requester", "ann", "submit", "--set", name, code=65)
    assert "2 refused" in early.stdout
    assert "lacks approval" in early.stdout
    wrong = await running.run("approver", "bob", "order", "approve", name, "--key", abe, "--yes", code=1)
    assert "a key that orders.approvers" in wrong.output
    own = await running.run("approver", "bob", "order", "approve", name, "--key", ann, "--yes", code=65)
    assert "another person must approve them" in own.output
    eve = await running.run(
        "approver", "bob", "order", "approve", name, "--key", key_of(running, "eve", tmp_path), "--yes", code=1
    )
    assert "this is the signature of eve" in eve.output
    # The approver sees what waits for him, and what he signs.
    assert name in {one["set_id"][:8] for one in await running.json("approver", "bob", "order", "list")}
    approved = await running.run("approver", "bob", "order", "approve", name, "--key", bob, "--yes")
    assert "I have listened to it." in approved.stdout
    assert "it is approved" in approved.stdout
    assert "5550" not in approved.output
    begun = await running.run("requester", "ann", "submit", "--set", name)
    assert "2 begun, 0 were begun before, 0 refused" in begun.stdout
    again = await running.run("requester", "ann", "submit", "--set", name)
    assert "0 begun, 2 were begun before" in again.stdout
    listed = await running.json("requester", "ann", "list", "--campaign", "over-there")
    assert {one["status"] for one in listed} == {"submitted"}


async def test_an_answer_that_is_another_set_is_not_signed(running: Running, tmp_path: Path) -> None:
    """A coordinator that shows one set of orders under the name of another gets no signature."""
    known, views = running.made.submitted.id, running.made.order_desk.views
    other = running.made.sets["warranty"]
    shown = views.get

    def lying(caller: object, set_id: object, now: object) -> object:
        return shown(caller, other if set_id == known else set_id, now)  # type: ignore[arg-type]

    views.get = lying  # type: ignore[method-assign,assignment]
    key = key_of(running, "ann", tmp_path)
    refused = await running.run("requester", "ann", "order", "submit", str(known), "--key", key, code=65)
    assert "another set of orders" in refused.output


async def test_nobody_signs_what_was_not_shown(running: Running, tmp_path: Path) -> None:
    drafted = await running.run("requester", "ann", "import", calls(tmp_path), *WORDS, "--json", code=65)
    name, key = json.loads(drafted.stdout)["set"], key_of(running, "ann", tmp_path)
    line = ("requester", "ann", "order", "submit", name, "--key", key)
    unasked = await running.run(*line, code=1)
    assert "I have listened to it." in unasked.stdout
    assert "Do you certify and submit these orders?" in unasked.stdout
    assert "--yes" in (await running.run(*line, "--json", code=2)).output
    assert (await running.json("requester", "ann", "order", "show", name))["state"] == "draft"
    submitted = await running.run(*line, "--yes")
    assert "I have listened to it." in submitted.stdout
    assert "it is submitted" in submitted.stdout
