"""`hopback-agent` as an operator uses it: every command, and what each says when something is wrong."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from agent.cli import main
from agent.config import load
from agent.index.layout import MANIFEST
from coordinator.authority.lab_ca import LabAuthority
from hopback.v1 import lookup_pb2 as pb
from protos import codec
from protos.tls import channel_credentials, provider_channel_options
from protos.types import Answer, Outcome
from tests.agent.provider import ALDER, BIRCH, question, tls

HOUR_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
CALL = HOUR_AGO - timedelta(days=2)
CALLED, OTHER = "+12025550143", "+12025550144"

CONFIG = """
[provider]
id = "birch"

[listen]
address = "127.0.0.1:0"
certificate = "birch.crt"
key = "birch.key"
roots = "ca.crt"
coordinators = ["hopback://coordinator/lab"]
[trial]
unsigned_lookups = true

[index]
directory = "index"
root_key_file = "root.key"

[[sources]]
name = "acc"
path = "acc*.csv"
format = "delimited"
options = { delimiter = ",", header = true }
where = { method = "INVITE" }
[sources.columns]
called_in = { column = "dnis", format = "trunk" }
calling = { column = "ani" }
seizure = { column = "start", format = "epoch_s" }
ingress_trunk = { column = "in_tg" }
egress_trunk = { column = "out_tg" }
call_id = { column = "callid" }

[[trunks]]
name = "IN-ALDER"
direction = "ingress"
party = "provider:alder"
called_format = "10d"

[[trunks]]
name = "IN-CUSTOMER"
direction = "ingress"
party = "customer:7011"
called_format = "10d"

[[trunks]]
name = "OUT-CEDAR"
direction = "egress"
party = "provider:cedar"

[[trunks]]
name = "OUT-HOME"
direction = "egress"
party = "subscribers"
"""


def rows() -> str:
    """Synthetic records: a call from alder to a subscriber, one of a customer's to cedar, a BYE, a bad row."""
    at = int(CALL.timestamp())
    return (
        "callid,method,ani,dnis,start,in_tg,out_tg\n"
        f"a,INVITE,2025550199,2025550143,{at},IN-ALDER,OUT-HOME\n"
        f"a,BYE,2025550199,,{at + 9},IN-ALDER,OUT-HOME\n"
        f"b,INVITE,2025550198,2025550144,{at + 60},IN-CUSTOMER,OUT-CEDAR\n"
        f"c,INVITE,2025550197,2025550145,not a time,IN-ALDER,OUT-HOME\n"
        f"d,INVITE,2025550196,2025550146,{int(HOUR_AGO.timestamp())},IN-ALDER,OUT-HOME\n"
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LabAuthority:
    return LabAuthority.create(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def config(tmp_path: Path, authority: LabAuthority) -> Path:
    """A provider's directory as an operator has it before the first index."""
    authority.issue_provider("birch", tmp_path)
    (tmp_path / "acc1.csv").write_text(rows())
    (tmp_path / "root.key").write_text("ab" * 32)
    (tmp_path / "root.key").chmod(0o600)
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG)
    return path


def agent(*args: str | Path, env: dict[str, str] | None = None) -> Result:
    # Wide, so that no table breaks the words that a test looks for.
    return CliRunner().invoke(main, [str(arg) for arg in args], env={"COLUMNS": "250", "TERM": "dumb"} | (env or {}))


def said(result: Result) -> str:
    """All that was printed, with line breaks of the layout taken out."""
    return re.sub(r"\s+", " ", result.output)


def replaced(config: Path, old: str, new: str) -> Path:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    return config


class TestInit:
    def test_writes_a_configuration_that_loads_and_a_secret_key(self, tmp_path: Path) -> None:
        result = agent("init", tmp_path / "new", "--provider", "birch")
        assert result.exit_code == 0
        assert load(tmp_path / "new" / "agent.toml").me == BIRCH
        key = tmp_path / "new" / "root.key"
        assert re.fullmatch("[0-9a-f]{64}", key.read_text().strip())
        assert stat.S_IMODE(key.stat().st_mode) == 0o600

    def test_explains_every_key_with_examples_that_load(self, tmp_path: Path) -> None:
        agent("init", tmp_path)
        path = tmp_path / "agent.toml"
        path.write_text(re.sub(r"(?m)^#(?=[\[a-z])", "", path.read_text()))
        config = load(path)
        assert [source.name for source in config.sources] == ["switch-1"]
        assert config.trunk_map().neighbours() == {ALDER}

    def test_makes_another_key_each_time(self, tmp_path: Path) -> None:
        keys = set()
        for name in ("one", "two"):
            agent("init", tmp_path / name)
            keys.add((tmp_path / name / "root.key").read_text())
        assert len(keys) == 2

    @pytest.mark.parametrize("there", ["agent.toml", "root.key"])
    def test_overwrites_nothing(self, tmp_path: Path, there: str) -> None:
        (tmp_path / there).write_text("precious")
        result = agent("init", tmp_path)
        assert result.exit_code == 2
        assert there in result.output
        assert [path.name for path in tmp_path.iterdir()] == [there]
        assert (tmp_path / there).read_text() == "precious"

    def test_refuses_an_id_that_is_none(self, tmp_path: Path) -> None:
        result = agent("init", tmp_path, "--provider", "Birch Tel")
        assert result.exit_code == 2
        assert "lower case letters" in said(result)


class TestCheckConfig:
    def test_sums_up_a_sound_one(self, config: Path) -> None:
        result = agent("check-config", config)
        assert result.exit_code == 0
        for part in ("hopback://provider/birch", "acc", "delimited", "IN-ALDER", "provider:alder"):
            assert part in result.output

    def test_says_it_as_json_too(self, config: Path) -> None:
        told = json.loads(agent("check-config", config, "--json").stdout)
        assert told["provider"] == "birch"
        assert told["mistakes"] == []
        assert [Path(name).name for name in told["sources"][0]["files"]] == ["acc1.csv"]

    def test_shows_what_is_covered_once_indexed(self, config: Path) -> None:
        agent("index", config)
        (acc,) = json.loads(agent("check-config", config, "--json").stdout)["coverage"]
        assert acc["records"] == 3
        assert datetime.fromisoformat(acc["watermark"]) >= HOUR_AGO

    def test_names_every_mistake_at_once(self, config: Path) -> None:
        (config.parent / "root.key").chmod(0o644)
        (config.parent / "birch.key").unlink()
        replaced(config, 'format = "delimited"', 'format = "delimitted"')
        result = agent("check-config", config)
        assert result.exit_code == 78
        for part in ("3 mistakes", "chmod 600", "birch.key", "no format 'delimitted'"):
            assert part in said(result)

    def test_names_them_as_json_with_the_same_exit_code(self, config: Path) -> None:
        (config.parent / "ca.crt").unlink()
        result = agent("check-config", config, "--json")
        assert result.exit_code == 78
        assert "ca.crt" in json.loads(result.stdout)["mistakes"][0]

    def test_refuses_a_certificate_of_somebody_else(self, config: Path, authority: LabAuthority) -> None:
        authority.issue_provider("cedar", config.parent)
        replaced(config, "birch.crt", "cedar.crt")
        replaced(config, "birch.key", "cedar.key")
        result = agent("check-config", config)
        assert result.exit_code == 78
        assert "must carry the URI hopback://provider/birch" in said(result)

    def test_refuses_options_that_the_format_does_not_have(self, config: Path) -> None:
        result = agent("check-config", replaced(config, "header = true", "heder = true"))
        assert result.exit_code == 78
        assert "heder" in said(result)

    def test_refuses_a_root_key_that_the_index_was_not_made_with(self, config: Path) -> None:
        agent("index", config)
        result = agent("check-config", config, env={"HOPBACK_ROOT_KEY": "cd" * 32})
        assert result.exit_code == 78
        (config.parent / "root.key").write_text("cd" * 32)
        result = agent("check-config", config)
        assert result.exit_code == 78
        assert "not the one that this index was made with" in said(result)

    def test_warns_of_what_works_but_can_hardly_be_meant(self, config: Path) -> None:
        (config.parent / "acc1.csv").unlink()
        result = agent("check-config", config)
        assert result.exit_code == 0
        assert "no file matches" in said(result)

    def test_does_not_take_brackets_in_names_for_markup(self, config: Path) -> None:
        result = agent("check-config", replaced(config, '"IN-ALDER"', '"[red]IN[/red]"'))
        assert "[red]IN[/red]" in result.output


class TestIndex:
    def test_reports_what_it_read_rejected_and_skipped(self, config: Path) -> None:
        result = agent("index", config, "--json")
        assert result.exit_code == 0
        (report,) = json.loads(result.stdout)
        assert (report["source"], report["calls"], report["skipped"]) == ("acc", 3, 1)
        assert report["rejected"] == {"bad-time": 1}
        (file,) = report["files"]
        assert Path(file["rejects"]).exists()

    def test_shows_a_table_with_where_rejected_rows_lie(self, config: Path) -> None:
        result = agent("index", config)
        assert result.exit_code == 0
        assert "1 bad-time; kept in" in said(result)

    def test_leaves_alone_what_is_indexed_already(self, config: Path) -> None:
        agent("index", config)
        (report,) = json.loads(agent("index", config, "--json").stdout)
        assert [file["status"] for file in report["files"]] == ["already indexed"]

    def test_reads_only_the_sources_that_are_named(self, config: Path) -> None:
        source = CONFIG[CONFIG.index("[[sources]]") : CONFIG.index("[[trunks]]")]
        config.write_text(config.read_text() + source.replace("acc", "other"))
        (config.parent / "other1.csv").write_text(rows())
        reports = json.loads(agent("index", config, "other", "--json").stdout)
        assert [report["source"] for report in reports] == ["other"]

    def test_refuses_a_source_that_is_not_configured(self, config: Path) -> None:
        result = agent("index", config, "nonsense")
        assert result.exit_code == 2
        assert "there are: acc" in said(result)

    def test_says_when_a_source_has_no_files(self, config: Path) -> None:
        (config.parent / "acc1.csv").unlink()
        result = agent("index", config)
        assert result.exit_code == 65
        assert "no file matches" in said(result)

    def test_says_which_file_it_cannot_read_and_goes_on(self, config: Path) -> None:
        (config.parent / "acc0.csv").write_text("quite,different,columns\n1,2,3\n")
        result = agent("index", config, "--json")
        assert result.exit_code == 65
        assert "acc0.csv" in result.stderr
        (report,) = json.loads(result.stdout)
        assert report["calls"] == 3

    def test_takes_the_operators_word_for_how_far_records_are_complete(self, config: Path) -> None:
        until = HOUR_AGO + timedelta(minutes=30)
        agent("index", config, "--complete-until", until.isoformat())
        (acc,) = json.loads(agent("check-config", config, "--json").stdout)["coverage"]
        assert datetime.fromisoformat(acc["watermark"]) == until

    @pytest.mark.parametrize("time", ["2026-11-20T15:00:00", "yesterday", "2999-01-01T00:00:00Z"])
    def test_refuses_a_word_that_nobody_can_give(self, config: Path, time: str) -> None:
        assert agent("index", config, "--complete-until", time).exit_code == 2

    def test_needs_the_root_key(self, config: Path) -> None:
        (config.parent / "root.key").unlink()
        assert agent("index", config).exit_code == 78
        assert agent("index", config, env={"HOPBACK_ROOT_KEY": "ab" * 32}).exit_code == 78
        replaced(config, 'root_key_file = "root.key"', "")
        assert agent("index", config, env={"HOPBACK_ROOT_KEY": "ab" * 32}).exit_code == 0

    def test_takes_the_root_key_from_a_command(self, config: Path) -> None:
        key = (config.parent / "root.key").read_text().strip()
        replaced(config, 'root_key_file = "root.key"', f'root_key_command = ["echo", "{key}"]')
        (config.parent / "root.key").unlink()
        assert agent("index", config).exit_code == 0
        replaced(config, f'["echo", "{key}"]', '["false"]')
        result = agent("index", config)
        assert result.exit_code == 78
        assert "root_key_command (false) ended with status 1" in said(result)

    def test_needs_a_source(self, config: Path) -> None:
        config.write_text(CONFIG[: CONFIG.index("[[sources]]")])
        result = agent("index", config)
        assert result.exit_code == 78
        assert "sources: there are none" in said(result)


@pytest.fixture
def indexed(config: Path) -> Path:
    assert agent("index", config).exit_code == 0
    return config


class TestLookup:
    def test_names_the_upstream_and_says_why(self, indexed: Path) -> None:
        result = agent("lookup", indexed, "--called", CALLED, "--at", CALL.isoformat())
        assert result.exit_code == 0
        text = said(result)
        for part in ("UPSTREAM", "(alder)", "acc", "to the asking side", "Would be disclosed, and nothing else"):
            assert part in text

    def test_explains_as_json(self, indexed: Path) -> None:
        told = json.loads(agent("lookup", indexed, "--called", CALLED, "--at", CALL.isoformat(), "--json").stdout)
        assert told["disclosed"] == {"provider": "birch", "outcome": "UPSTREAM", "upstream": "alder"}
        (call,) = told["calls"]
        assert call["taken"]
        assert [record["source"] for record in call["records"]] == ["acc"]

    def test_shows_the_customer_to_the_operator_but_would_not_disclose_it(self, indexed: Path) -> None:
        at = (CALL + timedelta(seconds=60)).isoformat()
        told = json.loads(
            agent("lookup", indexed, "--called", OTHER, "--at", at, "--named-by", "cedar", "--json").stdout
        )
        assert told["came_from"] == "customer:7011"
        assert told["disclosed"] == {"provider": "birch", "outcome": "ORIGINATED_HERE", "handover": "CONFIRMED"}

    def test_says_whether_the_calling_number_matches(self, indexed: Path) -> None:
        at = CALL.isoformat()
        for calling, matches in (("+12025550199", True), ("+12025550111", False)):
            args = ("lookup", indexed, "--called", CALLED, "--at", at, "--calling", calling, "--json")
            (call,) = json.loads(agent(*args).stdout)["calls"]
            assert call["calling_matches"] is matches

    def test_takes_times_of_any_zone(self, indexed: Path) -> None:
        at = CALL.astimezone(datetime.now().astimezone().tzinfo).isoformat()
        assert "UPSTREAM" in agent("lookup", indexed, "--called", CALLED, "--at", at).output

    def test_shows_no_numbers(self, indexed: Path) -> None:
        for extra in ((), ("--json",)):
            result = agent("lookup", indexed, "--called", CALLED, "--at", CALL.isoformat(), *extra)
            assert "202555" not in result.output

    def test_says_not_found_and_that_nothing_was_there(self, indexed: Path) -> None:
        result = agent("lookup", indexed, "--called", "+12025550100", "--at", (CALL + timedelta(hours=1)).isoformat())
        assert result.exit_code == 0
        assert "NOT_FOUND" in result.output

    def test_refuses_a_provider_that_is_no_neighbour(self, indexed: Path) -> None:
        args = ("lookup", indexed, "--called", CALLED, "--at", CALL.isoformat(), "--named-by", "stranger")
        assert "no trunk leads to" in said(agent(*args))

    @pytest.mark.parametrize(
        ("option", "value", "hint"),
        [
            ("--called", "2025550143", "write '+', the country code"),
            ("--called", "+1 202 555 0143", "write '+', the country code"),
            ("--called", "+१२०२५५५०१४३", "write '+', the country code"),
            ("--called", "", "write '+', the country code"),
            ("--calling", "anonymous", "write '+', the country code"),
            ("--at", "2026-11-20T15:00:00", "has no zone"),
            ("--at", "2999-01-01T00:00:00Z", "lies in the future"),
            ("--at", "noon", "write it as"),
            ("--window", "60", "write a number and a unit"),
            ("--window", "-1s", "more than nothing"),
            ("--window", "301s", "cap is 300s"),
            ("--named-by", "Cedar", "lower case letters"),
        ],
    )
    def test_refuses_what_is_no_question_and_says_what_to_write(
        self, indexed: Path, option: str, value: str, hint: str
    ) -> None:
        asked = {"--called": CALLED, "--at": CALL.isoformat()} | {option: value}
        result = agent("lookup", indexed, *(part for pair in asked.items() for part in pair))
        assert result.exit_code == 2
        assert hint in said(result)
        assert "555 0143" not in result.output

    def test_never_takes_a_broken_index_for_an_absence(self, indexed: Path) -> None:
        for segment in (indexed.parent / "index" / "segments").rglob("*"):
            segment.write_bytes(b"torn")
        result = agent("lookup", indexed, "--called", CALLED, "--at", CALL.isoformat())
        assert result.exit_code == 69
        assert "NOT_FOUND" not in result.output


class TestADefectOfTheProgram:
    @pytest.fixture
    def defect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise KeyError(CALLED)

        monkeypatch.setattr("agent.ingest.ingest", fail)

    @pytest.mark.usefixtures("defect")
    def test_is_told_by_its_place_and_without_its_text(self, config: Path) -> None:
        result = agent("index", config)
        assert result.exit_code == 70
        assert "KeyError at" in said(result)
        assert "test_cli.py:" in said(result)
        assert "202555" not in result.output

    @pytest.mark.usefixtures("defect")
    def test_is_shown_whole_when_asked_for(self, config: Path) -> None:
        result = agent("index", config, env={"HOPBACK_TRACEBACK": "1"})
        assert isinstance(result.exception, KeyError)


@pytest.mark.parametrize("command", ["check-config", "index", "run"])
def test_every_command_refuses_a_bad_configuration_with_all_its_mistakes(config: Path, command: str) -> None:
    replaced(config, 'id = "birch"', 'id = "Birch"')
    replaced(config, "[index]", "[indx]")
    result = agent(command, config)
    assert result.exit_code == 78
    for part in ("provider.id", "did you mean 'index'", "index: missing"):
        assert part in said(result)


@pytest.mark.parametrize("command", ["", "init", "check-config", "index", "lookup", "run"])
def test_help_comes_with_an_example(command: str) -> None:
    result = agent(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"hopback-agent {command}".strip() in result.output


def ask(address: str, authority: LabAuthority, directory: Path) -> Answer:
    """One question over the network, as the coordinator asks it."""
    files = tls(authority.issue_coordinator("lab", directory / "coordinator"))
    asked = question(at=CALL, deadline=datetime.now(UTC) + timedelta(seconds=10))
    exact = codec.encode_question(asked)
    with grpc.secure_channel(address, channel_credentials(files), options=provider_channel_options(BIRCH)) as channel:
        call = channel.unary_unary(
            "/hopback.v1.CdrLookupService/Lookup",
            request_serializer=pb.LookupRequest.SerializeToString,
            response_deserializer=pb.LookupResponse.FromString,
        )
        response = call(pb.LookupRequest(question=exact), timeout=10)
    return codec.decode_answer(response.answer, question_sha256=codec.digest(exact), expected=BIRCH)


class Process:
    """`hopback-agent run` as a process of its own; ended when the test ends."""

    def __init__(self, config: Path, *args: str) -> None:
        command = [sys.executable, "-m", "agent.cli", "run", str(config), *args]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # Whatever goes wrong in a test, the process does not outlive it for long.
        self._watch = threading.Timer(60, self.process.kill)
        self._watch.start()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self.process.kill()
        self.process.communicate()

    def address(self) -> str:
        """Waits for the line that says where it serves."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "serves on" in line, self.process.communicate()[1]
        return line.split()[-1]

    def end(self, signum: int) -> int:
        self.process.send_signal(signum)
        return self.process.wait(10)


class TestRun:
    def test_serves_what_was_indexed_before_it_started(self, indexed: Path, authority: LabAuthority) -> None:
        for _ in range(2):
            with Process(indexed) as process:
                answer = ask(process.address(), authority, indexed.parent)
                assert (answer.outcome, answer.upstream) == (Outcome.UPSTREAM, ALDER)
                assert process.end(signal.SIGTERM) == 0

    def test_serves_what_is_indexed_while_it_runs(self, config: Path, authority: LabAuthority) -> None:
        with Process(config) as process:
            address = process.address()
            assert ask(address, authority, config.parent).outcome is Outcome.NOT_YET_AVAILABLE
            assert agent("index", config).exit_code == 0
            assert ask(address, authority, config.parent).outcome is Outcome.UPSTREAM

    def test_writes_its_address_to_the_ready_file_and_takes_it_away_at_the_end(self, indexed: Path) -> None:
        ready = indexed.parent / "ready"
        with Process(indexed, "--ready-file", str(ready)) as process:
            address = process.address()
            assert ready.read_text() == f"{address}\n"
            assert not address.endswith(":0")
            assert process.end(signal.SIGINT) == 0
        assert not ready.exists()

    def test_keeps_explanations_when_told_to(self, indexed: Path, authority: LabAuthority) -> None:
        replaced(indexed, "[[sources]]", "[explain]\nkeep = true\n[[sources]]")
        with Process(indexed) as process:
            ask(process.address(), authority, indexed.parent)
        (file,) = (indexed.parent / "explanations").iterdir()
        assert json.loads(file.read_text())["disclosed"]["upstream"] == ALDER

    def test_leaves_no_number_in_logs_explanations_or_index(self, indexed: Path, authority: LabAuthority) -> None:
        replaced(indexed, "[[sources]]", '[explain]\nkeep = true\n[log]\nlevel = "debug"\nformat = "json"\n[[sources]]')
        replaced(indexed, 'name = "IN-ALDER"', 'name = "IN-OTHER"')  # so that there is something to log
        with Process(indexed) as process:
            assert ask(process.address(), authority, indexed.parent).outcome is Outcome.UNMAPPED
            process.process.send_signal(signal.SIGTERM)
            output, log = process.process.communicate()
        assert "trunk_not_mapped" in log
        written = [path for path in indexed.parent.rglob("*") if path.is_file() and path.suffix != ".csv"]
        kept = {path: path.read_bytes() for path in written if "reject" not in str(path.relative_to(indexed.parent))}
        assert len(kept) > 5
        digits = int(CALLED[1:])
        forms = b"202555", digits.to_bytes(8, "little"), digits.to_bytes(8, "big"), digits.to_bytes(5, "big")
        found = [str(path) for path, data in kept.items() if any(form in data for form in forms)]
        assert found == []
        assert "202555" not in output + log

    def test_says_when_its_address_is_taken(self, indexed: Path) -> None:
        with Process(indexed) as first:
            replaced(indexed, "127.0.0.1:0", first.address())
            result = agent("run", indexed)
        assert result.exit_code == 69
        assert "the port is taken" in said(result)

    def test_refuses_to_start_with_an_expired_certificate(self, indexed: Path, tmp_path: Path) -> None:
        old = LabAuthority.create(tmp_path / "old", clock=lambda: datetime.now(UTC) - timedelta(days=91))
        old.issue_provider("birch", indexed.parent)
        result = agent("run", indexed)
        assert result.exit_code == 78
        assert "expired at" in said(result)

    def test_refuses_to_start_on_a_broken_index(self, indexed: Path) -> None:
        (indexed.parent / "index" / MANIFEST).write_bytes(b"{")
        result = agent("run", indexed)
        assert result.exit_code == 69


def test_starting_pulls_in_neither_pandas_nor_pyshark_nor_pyarrow() -> None:
    script = (
        "import sys, agent.cli, agent.config, agent.inspection, agent.run, agent.server, agent.index.reader;"
        "print([m for m in ('pandas', 'pyshark', 'pyarrow') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_command_itself_starts_without_what_only_some_commands_need() -> None:
    script = "import sys, agent.cli; print([m for m in ('grpc', 'pydantic', 'numpy', 'rich') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
