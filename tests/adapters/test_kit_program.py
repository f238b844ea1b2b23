"""`hopback-cdr` as a program: URLs, completion, progress, defects, and any bytes whatever the command."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from agent.kit import main
from cdr_adapters.kit import facts, inspection, show
from cdr_adapters.kit.progress import LARGE, progress
from cdr_adapters.kit.proposal import propose
from cdr_adapters.kit.proposal.guess import Guess, Sure
from cdr_adapters.raw import AdapterError
from cdr_adapters.registry import BUILT_IN
from tests.adapters.reading import written

MAPPING = """
format = "delimited"
[columns]
called_in = "called"
seizure = { column = "start", format = "iso8601" }
ingress_trunk = "trunk"
"""
TABLE = "called,start,trunk\n2025550143,2026-11-20T15:00:00Z,TG1\n2025550144,2026-11-20T15:01:00Z,TG2\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, TABLE, "calls.csv")


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    return written(tmp_path, MAPPING, "switch.toml")


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments])


class TestElsewhere:
    @pytest.mark.parametrize("command", ["identify", "inspect", "convert", "golden", "lookup", "init"])
    def test_every_command_takes_a_url(self, file: Path, mapping: Path, command: str) -> None:
        more: dict[str, list[str]] = {
            "inspect": ["--mapping", str(mapping)],
            "golden": ["--mapping", str(mapping)],
            "convert": ["--mapping", str(mapping), "--to", "csv"],
            "lookup": ["--mapping", str(mapping), "--called", "+12025550143", "--at", "2026-11-20T15:00:00Z"],
        }
        url = file.resolve().as_uri()
        result = run(command, url, *more.get(command, []))
        assert result.exit_code == 0, result.output

    def test_an_address_that_is_none_is_told(self) -> None:
        result = run("identify", "ftp://example.net/cdr.csv")
        assert result.exit_code == 65
        assert "URLs begin with" in result.stderr

    def test_archives_and_compressed_files_are_read_through(self, tmp_path: Path, mapping: Path) -> None:
        packed = written(tmp_path, gzip.compress(TABLE.encode()), "calls.csv.gz")
        archive = tmp_path / "calls.zip"
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("one.csv", TABLE)
            zipped.writestr("two.csv", TABLE.replace("TG1", "TG9"))
        assert json.loads(run("inspect", packed, "--mapping", mapping, "--json").stdout)["calls"] == 2
        told = json.loads(run("inspect", archive, "--mapping", mapping, "--json").stdout)
        assert told["calls"] == 4
        assert set(told["peers"]["ingress_trunk"]) == {"TG1", "TG2", "TG9"}
        ask = ("lookup", archive, "--mapping", mapping, "--called", "+12025550144", "--at", "2026-11-20T15:01:00Z")
        assert run(*ask).exit_code == 0

    def test_a_directory_of_anything_but_captures_is_refused(self, tmp_path: Path, file: Path) -> None:
        result = run("inspect", tmp_path)
        assert result.exit_code == 65
        assert "name one file" in result.stderr


class TestCompletion:
    def completed(self, words: str, position: int) -> list[str]:
        environment = {"_HOPBACK_CDR_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        done = subprocess.run(
            [sys.executable, "-c", "from agent.kit import main; main(prog_name='hopback-cdr')"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    def test_knows_the_formats_by_name(self) -> None:
        assert self.completed("hopback-cdr formats oracle", 2) == ["oracle_acme"]
        assert "sansay_vsx" in self.completed("hopback-cdr inspect x --format s", 4)

    def test_knows_zones_and_commands(self) -> None:
        assert "America/New_York" in self.completed("hopback-cdr inspect x --zone America/New", 4)
        assert {"inspect", "init", "identify"} <= set(self.completed("hopback-cdr i", 1))


class TestProgress:
    def test_shows_on_a_terminal_how_far_a_large_file_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = StringIO()
        shown.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stderr", shown)
        monkeypatch.setenv("TERM", "xterm")
        path = written(tmp_path, b"", "big.csv")
        with path.open("r+b") as file:
            file.truncate(LARGE + 1)
        with progress(path, quiet=False) as advance:
            advance(1_234_567)
        assert "1,234,567 records" in shown.getvalue()

    def test_keeps_still_for_small_files_and_machines(
        self, file: Path, mapping: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown = StringIO()
        shown.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stderr", shown)
        with progress(file, quiet=False) as advance:
            advance(2)
        with progress(Path("/"), quiet=True) as advance:
            advance(2)
        assert shown.getvalue() == ""


class TestDefects:
    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("+12025550143")

        monkeypatch.setattr(inspection.Inspector, "add", fail)

    def test_are_told_by_place_and_without_what_the_file_holds(self, broken: None, file: Path, mapping: Path) -> None:
        result = run("inspect", file, "--mapping", mapping)
        assert result.exit_code == 70
        assert "a defect of hopback-cdr: ZeroDivisionError at" in result.stderr
        assert "55501" not in result.output

    def test_are_shown_whole_on_request(self, broken: None, file: Path, mapping: Path) -> None:
        result = run("inspect", file, "--mapping", mapping, HOPBACK_TRACEBACK="1")
        assert isinstance(result.exception, ZeroDivisionError)


BROKEN = [
    b"",
    b"\x00" * 4096,
    b"\xff" * 300,
    b"SQLite format 3\x00",
    b"\x1f\x8b\x08",
    b'{"a":',
    b"<?xml",
    b"PK\x03\x04",
]
BROKEN_MAPPINGS = [b"\xff\xfe", b"a = ", b"[columns]\nx = 1\n", b"sources = 3\n", b"format = 3\n"]


class TestAnyBytes:
    @given(st.one_of(st.binary(max_size=600), st.text(alphabet="0123456789,;|\n\"' :-TZabc{}[]<>", max_size=600)))
    @settings(max_examples=120, deadline=None)
    def test_lead_to_a_proposal_that_is_toml_or_to_a_refusal(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes | str
    ) -> None:
        path = written(tmp_path_factory.mktemp("init"), content)
        with suppress(AdapterError):
            tomllib.loads(propose(path, "x", datetime(2026, 11, 22, tzinfo=UTC)).toml)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x00" * 4096,
            b"\xff" * 300,
            b"SQLite format 3\x00",
            b"\x1f\x8b\x08",
            b'{"a":',
            b"<?xml",
            b"PK\x03\x04",
        ],
    )
    @pytest.mark.parametrize("command", ["identify", "inspect", "init", "golden"])
    def test_end_every_command_with_a_message(self, tmp_path: Path, content: bytes, command: str) -> None:
        result = run(command, written(tmp_path, content))
        assert result.exit_code in (0, 65, 78), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)

    @pytest.mark.parametrize(
        "content", [b"\xff\xfe", b"a = ", b"[columns]\nx = 1\n", b"sources = 3\n", b"format = 3\n"]
    )
    def test_of_a_mapping_end_every_command_with_78(self, tmp_path: Path, file: Path, content: bytes) -> None:
        wrong = written(tmp_path, content, "wrong.toml")
        for arguments in (("inspect", file, "--mapping", wrong), ("check-map", wrong)):
            result = run(*arguments)
            assert result.exit_code == 78, result.output


class TestWidth:
    """What is shown fits the terminal: nothing is cut, no line is longer."""

    @pytest.mark.parametrize("width", [80, 140])
    def test_formats(self, width: int) -> None:
        shown = StringIO()
        show.formats(Console(file=shown, width=width), [facts.facts_of(name) for name in sorted(BUILT_IN)])
        assert max(map(len, shown.getvalue().splitlines())) <= width
        assert all(name in shown.getvalue() for name in BUILT_IN)

    @pytest.mark.parametrize("width", ["80", "140"])
    @pytest.mark.parametrize("command", ["inspect", "lookup", "init", "check-map"])
    def test_commands(self, file: Path, mapping: Path, command: str, width: str) -> None:
        arguments: dict[str, list[Any]] = {
            "inspect": [file, "--mapping", mapping],
            "lookup": [file, "--mapping", mapping, "--called", "+12025550143", "--at", "2026-11-20T15:00:00Z"],
            "init": [file, "--out", mapping.with_name("new.toml")],
            "check-map": [mapping, file],
        }
        result = run(command, *arguments[command], COLUMNS=width)
        assert result.exit_code == 0, result.output
        assert max(map(len, result.stdout.splitlines())) <= int(width)

    def test_a_guess_with_a_long_value_is_not_cut(self) -> None:
        from cdr_adapters.kit.proposal import Proposal

        guess = Guess(
            "columns.disposition", Sure.LIKELY, "why", {"column": "c", "values": {str(n): "failed" for n in range(40)}}
        )
        shown = StringIO()
        show.proposal(Console(file=shown, width=80), Proposal("x", 1, (guess,), "", ("zone",), None), None)
        assert "".join(shown.getvalue().split()).count('"failed"') == 40
