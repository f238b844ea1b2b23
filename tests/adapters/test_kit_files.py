"""What the kit writes: converted records, goldens and what differs from them, checked mappings. All synthetic."""

from __future__ import annotations

import csv
import io
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from cdr_adapters.kit.check_map import check
from cdr_adapters.kit.convert import convert
from cdr_adapters.kit.golden import NoGoldenError, parse_golden
from cdr_adapters.kit.mapping_file import MappingFile, mapping_of, source_name
from cdr_adapters.kit.toml_lines import read_toml
from cdr_adapters.mapping import MappingError
from cdr_adapters.schema import CALLS
from tests.adapters.commandline import run
from tests.adapters.reading import written

MAPPING = """# which calls came over the wire
format = "delimited"
zone = "UTC"

[columns]
called_in = { column = "called", format = "auto" }
calling = "caller"
seizure = { column = "start", format = "%Y-%m-%d %H:%M:%S" }
ingress_trunk = "trunk"
call_id = "id"
"""
TABLE = """id,called,caller,start,trunk
a1,2025550143,2025550199,2026-11-21 23:23:27,TG1
a2,2025550144,,2026-11-21 23:24:27,=cmd|' /C calc'!A0
a3,nobody,,2026-11-21 23:25:27,TG2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, TABLE, "calls.csv")


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    return written(tmp_path, MAPPING, "switch.toml")


class TestConvert:
    def test_into_parquet_keeps_the_canonical_columns(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        out = tmp_path / "calls.parquet"
        result = run("convert", file, "--mapping", mapping, "--to", "parquet", "--out", out)
        assert result.exit_code == 0, result.output
        table = parquet.read_table(out)
        assert table.schema.equals(CALLS)
        assert table.column("called_in").to_pylist() == ["+12025550143", "+12025550144"]
        assert "2 calls" in result.stderr
        assert "1 records were rejected" in result.stderr

    def test_into_csv_runs_nothing_in_a_spreadsheet(self, file: Path, mapping: Path) -> None:
        result = run("convert", file, "--mapping", mapping, "--to", "csv")
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert [row["ingress_trunk"] for row in rows] == ["TG1", "'=cmd|' /C calc'!A0"]
        assert rows[0]["called_in"] == "+12025550143"
        assert rows[0]["seizure_earliest"] == "2026-11-21T23:23:27.000Z"

    @pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\uff1d"])
    def test_marks_whatever_begins_like_a_formula(self, tmp_path: Path, mapping: Path, begin: str) -> None:
        file = written(tmp_path, TABLE.replace("TG1", f"{begin}SUM(A1)"), "evil.csv")
        rows = list(csv.DictReader(io.StringIO(run("convert", file, "--mapping", mapping, "--to", "csv").stdout)))
        assert rows[0]["ingress_trunk"] == f"'{begin}SUM(A1)"

    @pytest.mark.parametrize("value", ["\t=1", "\r=1"])
    def test_marks_what_a_spreadsheet_would_trim_to_a_formula(self, tmp_path: Path, value: str) -> None:
        time = datetime(2026, 11, 20, 15, tzinfo=UTC)
        row = {
            "called_in": "+12025550143",
            "seizure_earliest": time,
            "seizure_latest": time,
            "call_id": value,
            "row": 1,
        }
        batch = pa.RecordBatch.from_pylist([row], schema=CALLS)
        convert([batch], "csv", tmp_path / "out.csv")
        with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
            (told,) = csv.DictReader(file)
        assert told["call_id"] == f"'{value}"

    def test_into_json_lines_tells_what_is_not_there(self, file: Path, mapping: Path) -> None:
        rows = [
            json.loads(line)
            for line in run("convert", file, "--mapping", mapping, "--to", "jsonl").stdout.split("\n")[:-1]
        ]
        assert [row["row"] for row in rows] == [2, 3]
        assert rows[1]["calling"] is None
        assert set(rows[0]) == set(CALLS.names)

    def test_leaves_nothing_behind_when_the_file_breaks_off(self, tmp_path: Path, mapping: Path) -> None:
        import gzip

        broken = written(tmp_path, gzip.compress((TABLE + "x" * 5000).encode())[:-8], "cut.csv.gz")
        out = tmp_path / "calls.csv"
        result = run("convert", broken, "--mapping", mapping, "--to", "csv", "--out", out)
        assert result.exit_code == 65
        assert not out.exists()
        assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []

    def test_replaces_no_file_unless_told_to(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        out = written(tmp_path, "mine", "calls.csv.out")
        convert = ("convert", file, "--mapping", mapping, "--to", "csv", "--out", out)
        assert run(*convert).exit_code == 2
        assert out.read_text() == "mine"
        assert run(*convert, "--force").exit_code == 0
        assert out.read_text().startswith("called_in,") or '"called_in"' in out.read_text()

    def test_writes_for_its_owner_alone(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        out = tmp_path / "calls.jsonl"
        run("convert", file, "--mapping", mapping, "--to", "jsonl", "--out", out)
        assert stat.S_IMODE(out.stat().st_mode) == 0o600

    def test_tells_machines_how_many(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        out = tmp_path / "calls.csv.out"
        ask = ("convert", file, "--mapping", mapping, "--to", "csv", "--json")
        told = json.loads(run(*ask, "--out", out).stdout)
        assert (told["calls"], told["rejected"]) == (2, 1)
        assert run(*ask).exit_code == 2

    def test_needs_a_place_for_parquet(self, file: Path, mapping: Path) -> None:
        assert run("convert", file, "--mapping", mapping, "--to", "parquet").exit_code == 2


class TestGolden:
    def golden(self, tmp_path: Path, file: Path, mapping: Path, *more: str) -> Path:
        out = tmp_path / "calls.golden"
        result = run("golden", file, "--mapping", mapping, "--out", out, *more)
        assert result.exit_code == 0, result.output
        return out

    def test_shows_a_line_a_record_with_numbers_masked(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        text = self.golden(tmp_path, file, mapping).read_text()
        lines = text.splitlines()
        assert lines[1] == "# delimited: 2 calls, 1 rejected, 0 skipped"
        assert lines[2].startswith("row 2  call  seizure=2026-11-21T23:23:27.000Z/1s  called_in=+1…(11 digits)#")
        assert "ingress_trunk=TG1" in lines[2]
        assert lines[4].startswith("row 4  reject  bad-called-number")
        assert "55501" not in text

    def test_is_the_same_every_time(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        assert self.golden(tmp_path, file, mapping).read_text() == run("golden", file, "--mapping", mapping).stdout

    def test_of_the_same_file_holds(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        golden = self.golden(tmp_path, file, mapping)
        result = run("test", file, "--mapping", mapping, "--expect", golden)
        assert (result.exit_code, result.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("before", "after", "says"),
        [
            ("2025550143", "2025550153", "? called_in"),  # one digit of a masked number
            ("23:23:27", "23:23:28", "? seizure"),
            ("TG1", "TG3", "? ingress_trunk"),
            ("nobody", "2025550145", "? reject"),
            ("a3,nobody,,2026-11-21 23:25:27,TG2\n", "", "- row 4"),
        ],
    )
    def test_of_another_reading_is_a_difference_that_says_what(
        self, tmp_path: Path, file: Path, mapping: Path, before: str, after: str, says: str
    ) -> None:
        golden = self.golden(tmp_path, file, mapping)
        file.write_text(TABLE.replace(before, after))
        result = run("test", file, "--mapping", mapping, "--expect", golden)
        assert result.exit_code == 1
        assert any(line.startswith(says) for line in result.stdout.splitlines()), result.stdout
        assert "55501" not in result.output
        told = json.loads(run("test", file, "--mapping", mapping, "--expect", golden, "--json").stdout)
        assert told["same"] is False

    def test_may_show_numbers_that_are_nobodys(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        golden = self.golden(tmp_path, file, mapping, "--show-numbers")
        assert "called_in=+12025550143" in golden.read_text()
        assert run("test", file, "--mapping", mapping, "--expect", golden).exit_code == 0

    def test_comes_as_data_too(self, file: Path, mapping: Path) -> None:
        told = json.loads(run("golden", file, "--mapping", mapping, "--json").stdout)
        assert told["lines"][0] == "# delimited: 2 calls, 1 rejected, 0 skipped"

    def test_is_not_overwritten(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        golden = self.golden(tmp_path, file, mapping)
        assert run("golden", file, "--mapping", mapping, "--out", golden).exit_code == 2

    @pytest.mark.parametrize("text", ["", "row 1 call", "# hopback-cdr golden 2, numbers shown"])
    def test_must_be_one(self, tmp_path: Path, file: Path, mapping: Path, text: str) -> None:
        with pytest.raises(NoGoldenError):
            parse_golden(text)
        result = run("test", file, "--mapping", mapping, "--expect", written(tmp_path, text, "x.golden"))
        assert result.exit_code == 65


class TestCheckMap:
    def checked(self, tmp_path: Path, text: str, file: Path | None = None) -> Any:
        arguments = ["check-map", written(tmp_path, text, "m.toml"), *([file] if file else []), "--json"]
        result = run(*arguments)
        assert result.exit_code in (0, 78), result.output
        told = json.loads(result.stdout)
        assert told["usable"] == (result.exit_code == 0)
        return told["sources"][0]

    def test_finds_nothing_wrong_with_a_good_one(self, tmp_path: Path, file: Path) -> None:
        source = self.checked(tmp_path, MAPPING, file)
        assert source["mistakes"] == []
        assert source["tried"]["calls"] == 2

    @pytest.mark.parametrize(
        ("before", "after", "line", "says"),
        [
            ('calling = "caller"', 'caling = "caller"', 7, "columns.caling: unknown key; did you mean 'calling'?"),
            ('zone = "UTC"', 'zone = "UTC+5"', 3, "'UTC+5' is no time zone"),
            ('zone = "UTC"\n', "", 4, "don't say their zone"),
            ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %I:%M:%S", 8, "%I without %p"),
            ('format = "delimited"', 'format = "delimted"', 2, "did you mean 'delimited'?"),
            ('zone = "UTC"', 'zone = "UTC"\noptions = { delimter = ";" }', 4, "delimter"),
            ('"trunk"', '{ column = "trunk", pattern = "(?=x)(y)" }', 9, "pattern of ingress_trunk"),
            ('format = "auto"', 'format = "12d"', 6, "is no called format"),
            ('"trunk"\n', '"trunk"\n[trunk_formats.ingress]\nTG1 = "tech:x"\n', 11, "TG1"),
        ],
    )
    def test_names_the_line_of_each_mistake(
        self, tmp_path: Path, before: str, after: str, line: int, says: str
    ) -> None:
        (mistake, *_) = self.checked(tmp_path, MAPPING.replace(before, after))["mistakes"]
        assert (mistake["line"], says in mistake["text"]) == (line, True), mistake

    def test_names_every_mistake_at_once(self, tmp_path: Path) -> None:
        text = MAPPING.replace('calling = "caller"', 'caling = "caller"').replace('"auto"', '"12d"')
        assert [mistake["line"] for mistake in self.checked(tmp_path, text)["mistakes"]] == [6, 7]

    def test_of_no_toml_names_the_line(self, tmp_path: Path) -> None:
        result = run("check-map", written(tmp_path, 'format = "delimited"\nzone = UTC\n', "m.toml"))
        assert result.exit_code == 78
        assert "line 2" in result.stderr

    def test_says_which_column_the_file_has_instead(self, tmp_path: Path, file: Path) -> None:
        source = self.checked(tmp_path, MAPPING.replace('"caller"', '"callr"'), file)
        assert "did you mean 'caller'?" in source["mistakes"][0]["text"]

    def test_doubts_what_can_not_be_right(self, tmp_path: Path, file: Path) -> None:
        text = MAPPING.replace('ingress_trunk = "trunk"\n', "").replace("seizure", "answer")
        doubts = " ".join(doubt["text"] for doubt in self.checked(tmp_path, text)["doubts"])
        assert "upstream is not recorded" in doubts
        assert "only answer is mapped" in doubts
        source = self.checked(tmp_path, text, file)
        assert "trunk" in source["unused_columns"]

    def test_of_trunk_formats_that_nothing_applies(self, tmp_path: Path) -> None:
        text = MAPPING + '[trunk_formats.ingress]\nTG1 = "10d"\n'
        (doubt,) = [d for d in self.checked(tmp_path, text)["doubts"] if "never applied" in d["text"]]
        assert doubt["line"] == 11

    def test_shows_the_same_to_a_person(self, tmp_path: Path, file: Path, mapping: Path) -> None:
        result = run("check-map", mapping, file)
        assert result.exit_code == 0
        assert "can be used" in result.stdout
        assert "3 records, 2 calls, 1 rejected" in result.stdout
        wrong = run("check-map", written(tmp_path, MAPPING.replace("calling", "caling"), "w.toml"))
        assert wrong.exit_code == 78
        assert "mistake: line 7: columns.caling: unknown key" in wrong.stdout

    def test_checks_every_source_of_an_agents_configuration(self, tmp_path: Path) -> None:
        table = MAPPING.replace("[columns]", "[sources.columns]")
        text = f'[[sources]]\nname = "one"\npath = "x"\n{table}\n[[sources]]\nname = "two"\npath = "y"\n{table}'
        text = text.replace("caller", "caller", 1)
        broken = text[:-60] + text[-60:].replace("call_id", "callid")
        one, two = check(written(tmp_path, broken, "agent.toml"), None)
        assert (one.name, one.usable) == ("one", True)
        assert (two.name, two.usable) == ("two", False)
        assert two.findings[0].line is not None
        assert two.findings[0].line > 15


class TestLines:
    def test_of_values_over_several_lines_are_where_they_begin(self, tmp_path: Path) -> None:
        text = 'a = 1\n\nb = [\n  "x",\n  "y",\n]\n# c follows\nc = """\nline\n"""\n[t.u]\n"d e" = { f = 2 }\n'
        file = read_toml(written(tmp_path, text, "x.toml"))
        lines = [file.line_of(keys) for keys in (("a",), ("b",), ("c",), ("t", "u", "d e", "f"), ("nothing",))]
        assert lines == [1, 3, 8, 12, None]

    def test_of_a_table_in_a_list_is_its_own(self, tmp_path: Path) -> None:
        file = read_toml(written(tmp_path, "[[s]]\na = 1\n[[s]]\na = 2\nb = 3\n", "x.toml"))
        assert [file.line_of(("s", 0, "a")), file.line_of(("s", 1, "a")), file.line_of(("s", 1, "b"))] == [2, 4, 5]

    def test_of_what_is_no_toml_is_in_the_message(self, tmp_path: Path) -> None:
        with pytest.raises(MappingError, match="line 2: no TOML"):
            read_toml(written(tmp_path, "a = 1\nb = = 2\n", "x.toml"))


def load_mapping(path: Path) -> MappingFile:
    file = read_toml(path)
    return mapping_of(file.table, file, source_name(path))


class TestAMappingFile:
    def test_has_the_keys_of_a_source_at_top_level(self, tmp_path: Path) -> None:
        path = tmp_path / "my switch.toml"
        path.write_text(
            'format = "delimited"\n[columns]\ncalled_in = { column = "dnis", format = "trunk" }\n'
            'seizure = { column = "start", format = "epoch_s" }\n'
            '[trunk_formats.ingress]\nTG1 = "tech:77501:11d"\n"198.51.100.0/24" = "10d"\n'
        )
        mapping = load_mapping(path)
        assert mapping.source.name == "my_switch"
        assert mapping.formats.ingress == {"TG1": "tech:77501:11d", "198.51.100.0/24": "10d"}
        assert mapping.formats.egress == {}

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("format = ", "no TOML: Invalid value"),
            ('format = "delimited"\ncolumn = {}', "column: unknown key"),
            ('[trunk_formats.ingress]\nTG1 = "9d"', "ingress.TG1: '9d' is no called format"),
        ],
    )
    def test_that_is_wrong_is_refused_with_its_name(self, tmp_path: Path, text: str, says: str) -> None:
        path = tmp_path / "m.toml"
        path.write_text(text)
        with pytest.raises(MappingError, match=says) as caught:
            load_mapping(path)
        assert str(path) in str(caught.value)

    def test_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MappingError, match="No such file"):
            load_mapping(tmp_path / "none.toml")
