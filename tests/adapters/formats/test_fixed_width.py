"""Fixed-width text: columns by place, by a ruler, in lines or in records without line ends. All content is synthetic.

The layouts of the rulers are those of SQL*Plus, psql and mysql; the one by place is a wholesale carrier's.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from cdr_adapters.stream import MAX_LINE
from tests.adapters.reading import memory_peak_below, raw_rows, written
from tests.shared import SAMPLES as SHARED
from tests.shared import needs_samples

PLACES: dict[str, Any] = {
    "type": "1-3",
    "number": {"start": 4, "width": 7},
    "start": "15-28",
    "calling": "29-49",
    "called": "50-64",
}
CARRIER = "\n".join(
    (
        "HDR0001ABC    20261122",
        "CDR0000010  0 20261121232327+12025550199         12025550143    0042",
        "CDR0000020  0 20261121232328                     12025550144",
        "TRL000002",
        "",
    )
)
MAPPING: dict[str, Any] = {
    "zone": "America/New_York",
    "where": {"type": "CDR"},
    "options": {"columns": PLACES},
    "columns": {
        "called_in": "called",
        "calling": "calling",
        "seizure": {"column": "start", "format": "%Y%m%d%H%M%S"},
        "call_id": "number",
    },
}
SAMPLES = [CARRIER.encode()]

SQLPLUS = """ID  CALLED       STARTED
--- ------------ -------------------
1   12025550143  2026-11-21 23:23:27
2   12025550144
"""
PSQL = (
    " id |   called    | note \n----+-------------+------\n  1 | 12025550143 | a|b\n  2 | 12025550144 | \n(2 rows)\n\n"
)
MYSQL = """+----+-------------+
| id | called      |
+----+-------------+
|  1 | 12025550143 |
|  2 | 12025550144 |
+----+-------------+
"""


class TestByPlace:
    def test_places_count_from_one_and_blanks_around_a_value_are_no_part_of_it(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, CARRIER), "fixed_width", {"columns": PLACES})
        assert [row for row, _ in rows] == [1, 2, 3, 4]
        assert rows[1][1] == {
            "type": "CDR",
            "number": "0000010",
            "start": "20261121232327",
            "calling": "+12025550199",
            "called": "12025550143",
        }
        assert rows[3][1] == {"type": "TRL", "number": "000002", "start": "", "calling": "", "called": ""}
        assert not rejected

    def test_the_mapping_tells_header_and_trailer_from_calls(self, tmp_path: Path) -> None:
        source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "fixed_width", **MAPPING})
        (batch,) = read_source(written(tmp_path, CARRIER), source, TrunkFormats())
        assert [(call["called_in"], call["calling"], call["row"]) for call in batch.calls.to_pylist()] == [
            ("+12025550143", "+12025550199", 2),
            ("+12025550144", None, 3),
        ]
        assert batch.skipped == 2

    def test_only_wanted_columns_are_read(self, tmp_path: Path) -> None:
        wanted = frozenset({"called", "nowhere"})
        rows, _, _ = raw_rows(written(tmp_path, CARRIER), "fixed_width", {"columns": PLACES}, wanted)
        assert rows[1] == (2, {"called": "12025550143"})

    def test_places_are_characters_whatever_they_take_in_bytes(self, tmp_path: Path) -> None:
        for encoding in ("utf-8", "latin-1", "utf-16", "cp037"):
            path = written(tmp_path, "Zoë 12025550143\n".encode(encoding))
            options = {"columns": {"name": "1-4", "called": "5-15"}, "encoding": encoding}
            assert raw_rows(path, "fixed_width", options)[0] == [(1, {"name": "Zoë", "called": "12025550143"})]

    def test_lines_may_be_skipped_and_empty_ones_are_no_records(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a title\r\n\r\n12025550143\r\n   \r\n12025550144")
        options = {"columns": {"called": "1-11"}, "skip_lines": 1}
        assert raw_rows(path, "fixed_width", options)[0] == [
            (3, {"called": "12025550143"}),
            (5, {"called": "12025550144"}),
        ]

    def test_a_line_of_another_length_than_said_is_rejected_for_its_number_may_be_cut(self, tmp_path: Path) -> None:
        path = written(tmp_path, "A12025550143\nA1202555\nA12025550143 x\n")
        rows, rejected, _ = raw_rows(path, "fixed_width", {"columns": {"called": "2-12"}, "length": 12})
        assert rows == [(1, {"called": "12025550143"})]
        assert [(reject.row, reject.reason, reject.detail) for reject in rejected] == [
            (2, RejectReason.MALFORMED_ROW, "not 12 characters long"),
            (3, RejectReason.MALFORMED_ROW, "not 12 characters long"),
        ]

    def test_a_line_without_end_is_rejected_in_bounded_memory(self, tmp_path: Path) -> None:
        path = written(tmp_path, gzip.compress(b"x" * (30 << 20) + b"\n12025550143\n"))
        with memory_peak_below(32 << 20):
            rows, rejected, _ = raw_rows(path, "fixed_width", {"columns": {"called": "1-11"}})
        assert rows == [(2, {"called": "12025550143"})]
        assert [(reject.row, reject.detail) for reject in rejected] == [(1, "the line is too long")]

    @needs_samples
    def test_a_real_file_of_a_wholesale_carrier(self) -> None:
        path = SHARED / "generic_fixed_width" / "cgrates__cgrates__filefwv_content.fwv"
        options = {"columns": {"type": "1-3", "number": "4-10", "start": "15-28", "called": "50-64"}}
        rows, rejected, _ = raw_rows(path, "fixed_width", options)
        assert rows[1] == (
            2,
            {"type": "CDR", "number": "0000010", "start": "20120708181506", "called": "0040123123120"},
        )
        assert (len(rows), rejected) == (35, [])


class TestWithoutLineEnds:
    def test_records_are_cut_every_so_many_characters(self, tmp_path: Path) -> None:
        path = written(tmp_path, "A12025550143B12025550144")
        options = {"columns": {"kind": "1", "called": "2-12"}, "record_length": 12}
        assert raw_rows(path, "fixed_width", options)[0] == [
            (1, {"kind": "A", "called": "12025550143"}),
            (2, {"kind": "B", "called": "12025550144"}),
        ]

    def test_a_last_one_that_is_cut_is_rejected(self, tmp_path: Path) -> None:
        options = {"columns": {"called": "2-12"}, "record_length": 12}
        rows, rejected, _ = raw_rows(written(tmp_path, "A12025550143B1202555"), "fixed_width", options)
        assert [row for row, _ in rows] == [1]
        assert [(reject.row, reject.detail) for reject in rejected] == [(2, "cut off: not 12 characters long")]
        assert raw_rows(written(tmp_path, "A12025550143\x1a\0\0"), "fixed_width", options)[1] == []

    def test_many_of_them_are_one_file(self, tmp_path: Path) -> None:
        path = written(tmp_path, "".join(f"é{number:011}" for number in range(200_000)))
        rows, _, _ = raw_rows(path, "fixed_width", {"columns": {"called": "2-12"}, "record_length": 12})
        assert rows == [(number + 1, {"called": f"{number:011}"}) for number in range(200_000)]


class TestByARuler:
    @pytest.mark.parametrize(
        ("text", "first"), [(SQLPLUS, 3), (PSQL, 3), (MYSQL, 4)], ids=["SQL*Plus", "psql", "mysql"]
    )
    def test_the_dashes_say_where_the_columns_are(self, tmp_path: Path, text: str, first: int) -> None:
        rows, _, _ = raw_rows(written(tmp_path, text), "fixed_width")
        assert [row for row, _ in rows] == [first, first + 1]
        assert [list(fields.values())[:2] for _, fields in rows] == [["1", "12025550143"], ["2", "12025550144"]]

    def test_a_value_may_hold_the_bar_that_parts_columns(self, tmp_path: Path) -> None:
        assert raw_rows(written(tmp_path, PSQL), "fixed_width")[0][0][1]["note"] == "a|b"

    def test_a_line_with_something_between_the_columns_is_rejected(self, tmp_path: Path) -> None:
        _, rejected, _ = raw_rows(written(tmp_path, PSQL), "fixed_width")
        assert [(reject.row, reject.detail, reject.raw) for reject in rejected] == [
            (5, "something between the columns", "(2 rows)")
        ]
        path = written(tmp_path, SQLPLUS + "3   120255501430000 2026-11-21 23:23:27\n")
        assert [reject.row for reject in raw_rows(path, "fixed_width")[1]] == [5], (
            "a number that is too wide is not cut"
        )

    def test_a_ruler_that_is_repeated_is_no_record(self, tmp_path: Path) -> None:
        path = written(tmp_path, SQLPLUS + SQLPLUS.splitlines()[1] + "\n3   12025550145\n")
        assert [row for row, _ in raw_rows(path, "fixed_width")[0]] == [3, 4, 6]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "1 12025550143\n",
            "a b\n",
            "-----\nx\n",
            "a a\n-- --\n",
            "  b\n- -\n",
            "--- ---\n1 2\n",
            "+-+-+\n|a|b|\n",
        ],
    )
    def test_without_one_the_columns_must_be_said(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(AdapterError, match="say where its columns are"):
            raw_rows(written(tmp_path, text), "fixed_width")

    @pytest.mark.parametrize("text", [SQLPLUS, PSQL, MYSQL])
    def test_such_a_table_is_claimed(self, tmp_path: Path, text: str) -> None:
        assert claimants(written(tmp_path, text)) == ("fixed_width",)

    @pytest.mark.parametrize(
        "text", [CARRIER, "a,b\n--,--\n1,2\n", "a b\n-- --\nxxxxxx\nyyyyyy\nzzzzzz\nwwwwwww\n", "# --- ---\n"]
    )
    def test_other_text_is_not(self, tmp_path: Path, text: str) -> None:
        assert "fixed_width" not in claimants(written(tmp_path, text))


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"columns": {"a": "x"}}, "no range of characters: write it as '50-64'"),
            ({"columns": {"a": "5-4"}}, "no range of characters"),
            ({"columns": {"a": "0-4"}}, "greater than or equal to 1"),
            ({"columns": {"a": {"start": 1}}}, "width: Field required"),
            ({"columns": {"a": {"start": 1, "end": 2}}}, "unknown key"),
            ({"record_length": 5}, "record_length needs columns"),
            ({"columns": {"a": "1-2"}, "record_length": 5, "length": 5}, "without length and skip_lines"),
            ({"columns": {"a": "1-2"}, "length": MAX_LINE + 1}, "less than or equal"),
        ],
    )
    def test_that_make_no_sense_are_refused(self, tmp_path: Path, options: dict[str, Any], says: str) -> None:
        with pytest.raises(AdapterError, match=says):
            raw_rows(written(tmp_path, CARRIER), "fixed_width", options)
