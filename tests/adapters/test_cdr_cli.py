"""`hopback-cdr`: what an engineer sees of a file, and how each mistake is told. All content is synthetic."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.kit import main
from tests.adapters.commandline import run
from tests.adapters.reading import written

MAPPING = """
format = "delimited"
zone = "America/New_York"
clock_offset = "47s"
where = { method = "!BYE" }
[columns]
called_in = { column = "called", format = "trunk" }
calling = "caller"
seizure = { column = "start", format = "%Y-%m-%d %H:%M:%S" }
ingress_trunk = "trunk"
ingress_address = "peer"
call_id = "id"
egress_trunk = "out"
[trunk_formats.ingress]
TG2 = "tech:77501:11d"
"""
TABLE = """id,method,called,caller,start,trunk,peer,out
1,INVITE,2025550143,2025550199,2026-11-21 23:23:27,TG1,198.51.100.10,
2,BYE,,2025550199,2026-11-21 23:24:27,,,
3,INVITE,7750112025550144,anonymous,2026-11-21 23:25:27,TG2,198.51.100.20,
4,INVITE,12025550145,,2026-11-21 23:26:27,TG2,198.51.100.20,
5,INVITE,2025550143,,2026-11-01 01:30:00,TG1,198.51.100.10,
6,INVITE,2025550143,,soon,TG1,198.51.100.10,
7,INVITE
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, TABLE, "calls.csv")


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    return written(tmp_path, MAPPING, "switch.toml")


def as_json(*arguments: object) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class TestFormats:
    def test_are_listed_with_their_grade(self) -> None:
        listed = {entry["name"]: entry for entry in as_json("formats")}
        assert listed["sqlite"]["grade"] == "generic"
        assert {"delimited", "jsonl", "radius_detail", "sip_pcap", "sqldump"} <= listed.keys()
        result = run("formats")
        assert "radius_detail" in result.stdout
        assert result.exit_code == 0


class TestIdentify:
    def test_says_the_format(self, file: Path) -> None:
        assert run("identify", file).stdout == "delimited\n"
        assert as_json("identify", file)["format"] == "delimited"

    def test_ends_with_65_when_nobody_claims_the_file(self, tmp_path: Path) -> None:
        result = run("identify", written(tmp_path, "prose\n"))
        assert (result.exit_code, result.stdout) == (65, "")
        assert "no format claims it" in result.stderr

    def test_ends_with_2_for_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert run("identify", tmp_path / "none").exit_code == 2


class TestInspect:
    def test_accounts_for_every_record(self, file: Path, mapping: Path) -> None:
        found = as_json("inspect", file, "--mapping", mapping)
        assert (found["records"], found["calls"], found["read_twice"], found["skipped"]) == (7, 4, 1, 1)
        assert found["rejected"] == [
            {
                "reason": "bad-called-number",
                "detail": "called_in: no number in its trunk's format (auto where trunk_formats say none)",
                "count": 1,
                "rows": [5],
            },
            {
                "reason": "bad-time",
                "detail": "seizure: is not in the format '%Y-%m-%d %H:%M:%S'",
                "count": 1,
                "rows": [7],
            },
            {"reason": "malformed-row", "detail": "2 values instead of 8", "count": 1, "rows": [8]},
        ]
        assert (found["earliest"], found["latest"]) == ("2026-11-01T05:29:13.000Z", "2026-11-22T04:24:41.000Z")
        assert found["peers"]["ingress_trunk"] == {"TG1": 3, "TG2": 1}

    def test_shows_a_table_with_rejects_trunks_and_what_is_never_filled(self, file: Path, mapping: Path) -> None:
        result = run("inspect", file, "--mapping", mapping)
        assert result.exit_code == 0
        for shown in (
            "delimited, 7 records",
            "calls 4, 1 of them second readings",
            f"zone America/New_York, from {mapping}; clock 47 s fast",
            "rejected 3",
            "malformed-row",
            "mapped, but without a value in any call: egress_trunk",
            "TG2",
            "2026-11-22 04:22:40.000",
        ):
            assert shown in result.stdout

    def test_masks_numbers_unless_asked_not_to(self, file: Path, mapping: Path) -> None:
        inspect = ("inspect", file, "--mapping", mapping)
        for output in (run(*inspect).output, json.dumps(as_json(*inspect))):
            assert "55501" not in output
        assert "+12025550144" in run(*inspect, "--show-numbers").stdout
        numbers = [call["called_in"] for call in as_json(*inspect, "--show-numbers")["sample"]]
        assert numbers == ["+12025550143", "+12025550144", "+12025550143", "+12025550143"]

    def test_lets_nothing_in_a_file_steer_the_terminal(self, tmp_path: Path, mapping: Path) -> None:
        values = TABLE.replace("TG1", "TG\x1b[2J1").replace("soon", "\x1b]0;soon\x07")
        headings = TABLE.replace("called", "\x1b[2Jcalled")
        for text, expected in ((values, "TG [2J1"), (headings, "it has: id, method,  [2Jcalled")):
            result = CliRunner().invoke(
                main, ["inspect", str(written(tmp_path, text, "x.csv")), "--mapping", str(mapping)], color=True
            )
            assert expected in result.output
            assert "\x1b" not in result.output
            assert "\x07" not in result.output

    def test_shows_as_many_calls_as_asked_for(self, file: Path, mapping: Path) -> None:
        assert len(as_json("inspect", file, "--mapping", mapping, "--limit", 1)["sample"]) == 1
        assert as_json("inspect", file, "--mapping", mapping, "--limit", 0)["sample"] == []

    @pytest.mark.parametrize(
        ("text", "code", "says"),
        [
            (MAPPING.replace("zone", "zoned"), 78, "zoned: unknown key"),
            (MAPPING.replace("delimited", "nonesuch"), 78, "there is no format 'nonesuch'"),
            (MAPPING.replace('"trunk"\n', '"trunks"\n', 1), 65, "has no column trunks; it has: id, method"),
            (MAPPING.replace("delimited", "sqlite"), 65, "is no SQLite database"),
        ],
    )
    def test_tells_whether_the_mapping_or_the_file_is_wrong(
        self, tmp_path: Path, file: Path, text: str, code: int, says: str
    ) -> None:
        result = run("inspect", file, "--mapping", written(tmp_path, text, "wrong.toml"))
        assert (result.exit_code, result.stdout) == (code, "")
        assert says in result.stderr

    def test_needs_a_mapping_for_formats_whose_columns_mean_anything(self, file: Path) -> None:
        result = run("inspect", file)
        assert result.exit_code == 78
        assert f"hopback-cdr init {file}" in result.stderr

    def test_of_a_header_alone_says_so(self, tmp_path: Path, mapping: Path) -> None:
        result = run("inspect", written(tmp_path, TABLE.splitlines()[0]), "--mapping", mapping)
        assert "0 records" in result.stdout
        assert result.exit_code == 0


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("agent.kit", {"pyarrow", "pandas", "pyshark", "phonenumbers", "rich", "pydantic"}),
        ("cdr_adapters.mapping", {"pyarrow", "pandas", "pyshark", "phonenumbers", "rich"}),
        ("cdr_adapters.read", {"pandas", "pyshark", "phonenumbers", "rich"}),
    ],
)
def test_importing_a_module_loads_only_what_it_needs_at_once(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
