"""`hopback-agent audit`: what a compliance officer sees of the log, and that no number is in it unless asked for."""

from __future__ import annotations

import csv
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result

from agent.audit.book import AuditBook, Case
from agent.audit.layout import LOG_DIRECTORY
from agent.audit.log import AuditLog
from agent.audit.present import cell
from agent.audit.sealing import AuditKey
from agent.index.keys import Keys
from hopback.v1 import audit_pb2 as pb
from protos.merkle import leaf_hash, root_by_path
from tests.agent.audit.books import CAMPAIGN, LAB, Clock, answered, authority, case, party, reply
from tests.agent.commandline import CONFIG, agent, said
from tests.index.calls import UNSYNCED
from tests.protos.evidence_kit import BIRCH

ROOT_KEY = "ab" * 32
NUMBER = "+12025550143"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A provider whose log holds two questions of one coordinator, and one of another a day later."""
    (tmp_path / "root.key").write_text(ROOT_KEY)
    (tmp_path / "root.key").chmod(0o600)
    (tmp_path / "ca.crt").write_bytes((authority().directory / "ca.crt").read_bytes())
    (tmp_path / "agent.toml").write_text(CONFIG)
    owner, clock = party("birch"), Clock()
    key = AuditKey(Keys.from_root(bytes.fromhex(ROOT_KEY)).audit_secret())
    log = AuditLog.open(tmp_path / "audit" / LOG_DIRECTORY, UNSYNCED)
    book = AuditBook(log, owner.signer, owner.certificate, BIRCH, key, clock)
    book.started(bytes(32))
    answered(book, 0, 1)
    clock.now += timedelta(days=1)
    other = Case(*case(2)[:3], "=cmd|' /C calc'!A0")
    book.intent([other], "hopback://coordinator/other")
    book.answers([reply(2)._replace(case=other)], "hopback://coordinator/other")
    book.sync()
    (tmp_path / "last.checkpoint").write_bytes(book.checkpoint().SerializeToString())
    log.close()
    return tmp_path / "agent.toml"


def told(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, said(result)
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


class TestList:
    def test_says_when_who_what_and_what_was_disclosed(self, config: Path) -> None:
        result = agent("audit", "list", config)
        assert result.exit_code == 0
        for part in ("2026-11-20 18:00:00Z", "answered", "lab", CAMPAIGN, "UPSTREAM", "the upstream provider: cedar"):
            assert part in result.stdout
        assert "agent started" in result.stdout

    def test_is_newest_first(self, config: Path) -> None:
        entries = told(agent("audit", "list", config, "--json"))
        assert [entry["entry"] for entry in entries] == [6, 5, 4, 3, 2, 1, 0]

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            (["--day", "2026-11-20"], [4, 3, 2, 1, 0]),
            (["--day", "2026-11-21"], [6, 5]),
            (["--since", "2026-11-21"], [6, 5]),
            (["--until", "2026-11-19"], []),
            (["--campaign", CAMPAIGN], [4, 3, 2, 1]),
            (["--coordinator", "other"], [6, 5]),
            (["--coordinator", LAB], [4, 3, 2, 1]),
            (["--coordinator", "lab", "--day", "2026-11-21"], []),
            (["--limit", "2"], [6, 5]),
        ],
    )
    def test_is_filtered(self, config: Path, filters: list[str], expected: list[int]) -> None:
        assert [entry["entry"] for entry in told(agent("audit", "list", config, "--json", *filters))] == expected

    def test_refuses_a_day_that_is_none(self, config: Path) -> None:
        assert agent("audit", "list", config, "--day", "yesterday").exit_code == 2
        assert agent("audit", "list", config, "--day", "2026-11-20", "--since", "2026-11-20").exit_code == 2

    def test_that_is_not_there_is_no_empty_log(self, config: Path) -> None:
        config.write_text(config.read_text() + '[audit]\ndirectory = "elsewhere"\n')
        result = agent("audit", "list", config)
        assert result.exit_code == 69
        assert "there is no audit log" in said(result)


class TestNumbers:
    @pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["show", "2"], ["show", "2", "--json"]])
    def test_are_shown_only_where_asked_for(self, config: Path, command: list[str]) -> None:
        assert "5550143" not in agent("audit", command[0], config, *command[1:]).output
        assert NUMBER in agent("audit", command[0], config, *command[1:], "--show-numbers").output

    def test_need_the_key(self, config: Path) -> None:
        (config.parent / "root.key").unlink()
        result = agent("audit", "list", config, "--show-numbers")
        assert result.exit_code == 78
        without = agent("audit", "list", config)
        assert without.exit_code == 0
        assert "sealed: the root key shows it" in without.stdout

    def test_are_not_opened_by_another_key(self, config: Path) -> None:
        (config.parent / "root.key").write_text("cd" * 32)
        result = agent("audit", "list", config)
        assert result.exit_code == 78
        assert "another root key" in said(result)

    def test_are_nowhere_in_the_directory(self, config: Path) -> None:
        contents = [path.read_bytes() for path in (config.parent / "audit").rglob("*") if path.is_file()]
        assert any(contents)
        for data in contents:
            assert b"2025550143" not in data
            assert (12025550143).to_bytes(8, "little") not in data


class TestShow:
    def test_finds_by_number_question_and_digest(self, config: Path) -> None:
        asked = case(1)
        for which in (str(asked.asked.question.question_id), asked.sha256.hex()):
            entries = told(agent("audit", "show", config, which, "--json"))
            assert [entry["entry"] for entry in entries] == [2, 4]
        assert [entry["entry"] for entry in told(agent("audit", "show", config, "3", "--json"))] == [3]

    def test_says_which_record_was_matched(self, config: Path) -> None:
        assert "switch-1:today.csv:0" in agent("audit", "show", config, "3").stdout

    @pytest.mark.parametrize("which", ["7", "nonsense", "ab" * 32, "8b0c3c7e-2f11-4f0e-9d53-6f2a53a4dfff"])
    def test_says_that_there_is_none(self, config: Path, which: str) -> None:
        assert agent("audit", "show", config, which).exit_code == 2


class TestProve:
    def test_shows_the_path_to_the_signed_root(self, config: Path) -> None:
        result = agent("audit", "prove", config, "3", "--json", "--out", config.parent / "x.proof")
        assert result.exit_code == 0
        proof = pb.ProveAnswerResponse.FromString((config.parent / "x.proof").read_bytes())
        found = json.loads(result.stdout)
        [one] = proof.entries
        assert root_by_path(leaf_hash(one.entry), 3, found["size"], one.path).hex() == found["root"]  # type: ignore[union-attr]
        assert "3" in agent("audit", "prove", config, "3").stdout


class TestVerify:
    def test_says_that_the_log_is_whole(self, config: Path) -> None:
        result = agent("audit", "verify", config, "--checkpoint", config.parent / "last.checkpoint")
        assert result.exit_code == 0, said(result)
        assert "Whole: 7 entries, 3 checkpoints" in result.stdout

    def test_names_the_first_broken_byte(self, config: Path) -> None:
        path = config.parent / "audit" / LOG_DIRECTORY / "entries"
        data = bytearray(path.read_bytes())
        data[200] ^= 1
        path.write_bytes(data)
        result = agent("audit", "verify", config)
        assert result.exit_code == 1
        assert "entry 1, byte" in said(result)
        broken = json.loads(agent("audit", "verify", config, "--json").stdout)
        assert broken["whole"] is False
        assert broken["entry"] == 1

    def test_finds_a_log_that_was_put_back_by_what_somebody_else_kept(self, config: Path) -> None:
        directory = config.parent / "audit" / LOG_DIRECTORY
        for name in ("entries", "checkpoints", "tree", "places"):
            os.truncate(directory / name, 0)
        for path in directory.iterdir():
            path.unlink()
        owner = party("birch")
        key = AuditKey(Keys.from_root(bytes.fromhex(ROOT_KEY)).audit_secret())
        book = AuditBook(AuditLog.open(directory, UNSYNCED), owner.signer, owner.certificate, BIRCH, key, Clock())
        answered(book, 0)
        book.log.close()
        assert agent("audit", "verify", config).exit_code == 0
        result = agent("audit", "verify", config, "--checkpoint", config.parent / "last.checkpoint")
        assert result.exit_code == 1
        assert "entries are missing, for a signed checkpoint covers 7" in said(result)

    def test_works_without_the_key(self, config: Path) -> None:
        (config.parent / "root.key").unlink()
        result = agent("audit", "verify", config)
        assert result.exit_code == 0
        assert "Without the root key" in result.stdout


class TestExport:
    def test_writes_a_line_an_entry_oldest_first(self, config: Path) -> None:
        out = config.parent / "out.csv"
        assert agent("audit", "export", config, "--out", out).exit_code == 0
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["entry"] for row in rows] == [str(index) for index in range(7)]
        assert rows[3]["disclosed"] == "the upstream provider: cedar"
        assert "5550143" not in out.read_text()
        assert out.stat().st_mode & 0o777 == 0o600

    def test_holds_no_formula(self, config: Path) -> None:
        out = config.parent / "out.csv"
        agent("audit", "export", config, "--out", out, "--show-numbers")
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows[5]["campaign"].startswith("'=cmd")
        assert rows[5]["called"] == "'" + NUMBER
        assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "\x1b=1"])
    def test_quotes_whatever_a_spreadsheet_would_execute(self, text: str) -> None:
        assert cell(text)[0] == "'"

    @pytest.mark.parametrize("text", ["", "lab", "1042", "2026-11-20T18:00:00+00:00", "a=b"])
    def test_leaves_other_text_alone(self, text: str) -> None:
        assert cell(text) == text
