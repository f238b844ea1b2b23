"""Two agents over the same records stand behind one provider's name: one is killed, and no answer is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups.agents import GrpcAgents
from coordinator.tracing.ports import Provider
from protos.codec import encode_question
from protos.e164 import parse_e164
from protos.identity import ProviderId
from protos.tls import read_tls_files
from protos.types import Outcome, Question
from tests.stores.loaded import InPostgreSql
from tests.stores.tables import Table

ROOT = Path(__file__).parents[2]
BIRCH, ALDER, CEDAR = map(ProviderId, ("birch", "alder", "cedar"))
HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
CALLS = 600
TRUNKS = """
[[trunks]]
name = "IN-ALDER"
direction = "ingress"
party = "provider:alder"
[[trunks]]
name = "IN-CEDAR"
direction = "ingress"
party = "provider:cedar"
"""


def called(number: int) -> str:
    return f"+1202555{number:04}"


def upstream(number: int) -> ProviderId:
    return (ALDER, CEDAR)[number % 2]


def records() -> Table:
    """A call a second, from two neighbours in turn, and one of now, until when the table is whole."""
    rows = [(called(n), HOUR + timedelta(seconds=n), f"IN-{upstream(n).upper()}") for n in range(CALLS)]
    rows.append(("+12025559999", datetime.now(UTC), "IN-ALDER"))
    rows.append(("+12025559999", HOUR - timedelta(hours=1), "IN-ALDER"))
    mapping = {
        "columns": {
            "called_in": "dialled",
            "seizure": {"column": "start", "format": "iso8601"},
            "ingress_trunk": "trunk",
        }
    }
    columns = {"dialled": "text", "start": "instant", "trunk": "text"}
    return Table("switch", columns, tuple(rows), mapping, (("dialled", "start"),))


def question(number: int) -> Question:
    now = datetime.now(UTC)
    return Question(
        question_id=UUID(int=number + 1),
        target=BIRCH,
        called=parse_e164(called(number)),
        at=HOUR + timedelta(seconds=number),
        window=timedelta(seconds=30),
        named_by=None,
        calling=None,
        deadline=now + timedelta(seconds=60),
    )


@contextmanager
def agent(
    directory: Path, authority: LabAuthority, tables: str, environment: dict[str, str]
) -> Iterator[tuple[str, int]]:
    """A real agent in a process of its own: its address and process id."""
    directory.mkdir()
    authority.issue_provider(BIRCH, directory)
    config = directory / "agent.toml"
    config.write_text(
        '[provider]\nid = "birch"\n'
        '[listen]\naddress = "127.0.0.1:0"\ncertificate = "birch.crt"\nkey = "birch.key"\nroots = "ca.crt"\n'
        'coordinators = ["hopback://coordinator/lab"]\n[trial]\nunsigned_lookups = true\n'
        f"{tables}{TRUNKS}"
    )
    ready, log = directory / "ready", directory / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.cli", "run", str(config), "--ready-file", str(ready)],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, **environment},
        )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield ready.read_text().strip(), process.pid
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def in_a_database(in_postgresql: InPostgreSql) -> tuple[str, dict[str, str]]:
    in_postgresql.admin.execute("drop table if exists switch")
    in_postgresql.fill(records())
    return (
        f"""[index]
directory = "none"
[[stores]]
name = "switch"
engine = "postgresql"
host = "{in_postgresql.server.socket}"
port = {in_postgresql.server.port}
database = "postgres"
user = "reader"
table = "switch"
[stores.columns]
called_in = "dialled"
seizure = {{ column = "start", format = "iso8601" }}
ingress_trunk = "trunk"
""",
        {},
    )


@pytest.fixture
def in_shared_segments(tmp_path: Path) -> tuple[str, dict[str, str]]:
    table, environment = records(), {"HOPBACK_ROOT_KEY": "ab" * 32}
    file = table.file(tmp_path)
    tables = f"""[index]
directory = "{tmp_path}/shared"
[[sources]]
name = "switch"
path = "{file}"
format = "delimited"
options = {{ header = true }}
[sources.columns]
called_in = "dialled"
seizure = {{ column = "start", format = "iso8601" }}
ingress_trunk = "trunk"
"""
    config = tmp_path / "index.toml"
    listen = 'address = "127.0.0.1:0"\ncertificate = "x"\nkey = "x"\nroots = "x"\ncoordinators = ["hopback://coordinator/lab"]'
    config.write_text(f'[provider]\nid = "birch"\n[listen]\n{listen}\n{tables}{TRUNKS}')
    subprocess.run(
        [sys.executable, "-m", "agent.cli", "index", str(config)],
        cwd=ROOT,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    return tables, environment


@pytest.mark.slow
@pytest.mark.parametrize("where", ["in_a_database", "in_shared_segments"])
async def test_one_is_killed_and_no_answer_is_lost(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tables, environment = request.getfixturevalue(where)
    authority = LabAuthority.create(tmp_path / "ca")
    mine = authority.issue_coordinator("lab", tmp_path / "coordinator")
    with ExitStack() as stack:
        pairs = [stack.enter_context(agent(tmp_path / name, authority, tables, environment)) for name in ("one", "two")]
        provider = Provider(BIRCH, "Birch", " ".join(address for address, _ in pairs))
        files = read_tls_files(mine.certificate, mine.key, mine.roots, datetime.now(UTC))
        answered: dict[int, tuple[Outcome, ProviderId | None]] = {}
        async with GrpcAgents(files) as agents:

            async def ask(number: int) -> None:
                asked = question(number)
                reply = await agents.ask(provider, asked, encode_question(asked), timedelta(seconds=30))
                answered[number] = reply.answer.outcome, reply.answer.upstream
                if number == CALLS // 3:
                    os.kill(pairs[0][1], signal.SIGKILL)  # others are under way at it

            line = asyncio.Semaphore(16)

            async def in_line(number: int) -> None:
                async with line:
                    await ask(number)

            await asyncio.gather(*(in_line(number) for number in range(CALLS)))
            batch = [(asked, encode_question(asked)) for asked in map(question, range(CALLS))]
            replies = await agents.ask_many(provider, batch, timedelta(seconds=30))
    assert answered == {number: (Outcome.UPSTREAM, upstream(number)) for number in range(CALLS)}
    assert [reply.answer.upstream for reply in replies] == [upstream(number) for number in range(CALLS)]


def test_check_config_and_lookup_work_on_a_store(in_a_database: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    from click.testing import CliRunner

    from agent.cli import main

    LabAuthority.create(tmp_path / "ca").issue_provider(BIRCH, tmp_path)
    config = tmp_path / "agent.toml"
    listen = 'address = "127.0.0.1:0"\ncertificate = "birch.crt"\nkey = "birch.key"\nroots = "ca.crt"\n'
    coordinators = 'coordinators = ["hopback://coordinator/lab"]\n[trial]\nunsigned_lookups = true\n'
    config.write_text(f'[provider]\nid = "birch"\n[listen]\n{listen}{coordinators}{in_a_database[0]}{TRUNKS}')
    checked = CliRunner().invoke(main, ["check-config", str(config), "--json"])
    assert checked.exit_code == 0, checked.output
    (told,) = json.loads(checked.stdout)["stores"]
    assert "50 of 50 sampled calls found again" in told["facts"]
    assert told["warnings"] == []
    asked = ["--called", called(7), "--at", (HOUR + timedelta(seconds=7)).isoformat(), "--json"]
    looked = CliRunner().invoke(main, ["lookup", str(config), *asked])
    assert looked.exit_code == 0, looked.output
    assert '"upstream": "cedar"' in looked.output
    config.write_text(config.read_text().replace('user = "reader"', 'user = "nobody-there"'))
    refused = CliRunner().invoke(main, ["check-config", str(config)])
    assert refused.exit_code == 78
    assert "stores[1](switch)" in refused.output
