"""Workbooks: sheets, headers, and cells of every type as text. All content is synthetic."""

from __future__ import annotations

import datetime
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from tests.adapters.reading import raw_rows, written

START = datetime.datetime(2026, 11, 21, 23, 23, 27, 123000)  # noqa: DTZ001 - a sheet's times have no zone


def book(*sheets: list[tuple[int, list[Any]]]) -> bytes:
    """A workbook with the sheets Sheet1, Sheet2, ...; each has rows at the places given, from 1."""
    target = io.BytesIO()
    workbook = xlsxwriter.Workbook(target, {"in_memory": True, "remove_timezone": True})
    formats = {
        datetime.datetime: workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"}),
        datetime.date: workbook.add_format({"num_format": "yyyy-mm-dd"}),
        datetime.time: workbook.add_format({"num_format": "hh:mm:ss"}),
    }
    for rows in sheets:
        sheet = workbook.add_worksheet()
        for row, cells in rows:
            for column, cell in enumerate(cells):
                if cell is not None:
                    sheet.write(row - 1, column, cell, formats.get(type(cell)))
    workbook.close()
    return target.getvalue()


MAPPING: dict[str, Any] = {
    "zone": "America/New_York",
    "columns": {
        "called_in": "Called number",
        "calling": "Calling number",
        "seizure": {"column": "Start", "format": "iso8601"},
        "ingress_trunk": "Trunk",
    },
}
SAMPLES = [
    book(
        [
            (1, ["Called number", "Calling number", "Start", "Trunk"]),
            (2, [12025550143, "+12025550199", START, "T1"]),
            (3, ["12025550144", None, START, "T2"]),
        ]
    )
]
TITLED = book([(2, ["A month's calls"]), (4, ["called", None, "called"]), (5, [12025550143, 1, "x"]), (8, ["y"])])


class TestCells:
    @pytest.mark.parametrize(
        ("cell", "text"),
        [
            (12025550143, "12025550143"),
            (12025550143.0, "12025550143"),
            (0.1, "0.1"),
            (45000.25, "45000.25"),
            ("0012025550143", "0012025550143"),
            (True, "true"),
            (START, "2026-11-21T23:23:27.123000"),
            (START.date(), "2026-11-21"),
            (datetime.time(1, 2, 3), "01:02:03"),
            ("=2+2", "0"),  # what the cell last showed: this writer has worked nothing out
            ('=WEBSERVICE("http://192.0.2.1/")', "0"),
            ("' OR 1=1", "' OR 1=1"),
        ],
    )
    def test_become_text_without_loss(self, tmp_path: Path, cell: Any, text: str) -> None:
        rows, _, _ = raw_rows(written(tmp_path, book([(1, ["x"]), (2, [cell])])), "excel")
        assert rows == [(2, {"x": text})]

    def test_give_the_calls_that_the_mapping_says(self, tmp_path: Path) -> None:
        source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "excel", **MAPPING})
        (batch,) = read_source(written(tmp_path, SAMPLES[0]), source, TrunkFormats())
        assert [(call["called_in"], call["calling"], call["row"]) for call in batch.calls.to_pylist()] == [
            ("+12025550143", "+12025550199", 2),
            ("+12025550144", None, 3),
        ]


class TestRows:
    def test_have_the_sheets_numbers_and_empty_ones_are_none(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(written(tmp_path, TITLED), "excel", {"header_row": 4})
        assert rows == [
            (5, {"called": "12025550143", "B": "1", "called.C": "x"}),
            (8, {"called": "y", "B": "", "called.C": ""}),
        ]

    def test_the_first_that_is_not_empty_names_the_columns(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(written(tmp_path, TITLED), "excel")
        assert rows[0] == (4, {"A month's calls": "called", "B": "", "C": "called"})

    def test_columns_have_their_letters_or_given_names_without_a_header(self, tmp_path: Path) -> None:
        path = written(tmp_path, book([(1, [12025550143, None, "T1"])]))
        assert raw_rows(path, "excel", {"header": False})[0] == [(1, {"A": "12025550143", "B": "", "C": "T1"})]
        options = {"header": False, "names": ["called", "calling"]}
        assert raw_rows(path, "excel", options, frozenset({"called", "C"}))[0] == [
            (1, {"called": "12025550143", "C": "T1"})
        ]

    def test_many_of_them_are_several_batches(self, tmp_path: Path) -> None:
        path = written(tmp_path, book([(1, ["x"]), *((number, [number]) for number in range(2, 20_000))]))
        rows, _, _ = raw_rows(path, "excel")
        assert [row for row, _ in rows] == list(range(2, 20_000))


class TestSheets:
    TWO = book([(1, ["a"]), (2, ["x"])], [], [(1, ["b"]), (2, ["y"])])

    @pytest.mark.parametrize(("sheet", "fields"), [("Sheet1", {"a": "x"}), ("Sheet3", {"b": "y"}), (3, {"b": "y"})])
    def test_are_chosen_by_name_or_number(self, tmp_path: Path, sheet: str | int, fields: dict[str, str]) -> None:
        assert raw_rows(written(tmp_path, self.TWO), "excel", {"sheet": sheet})[0] == [(2, fields)]

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({}, r"say which sheet.*there are: Sheet1, Sheet2, Sheet3"),
            ({"sheet": "calls"}, "has no sheet 'calls'; it has: Sheet1, Sheet2, Sheet3"),
            ({"sheet": 4}, "has no sheet 4; it has 3"),
        ],
    )
    def test_must_be_there_and_be_chosen_when_several_hold_something(
        self, tmp_path: Path, options: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(AdapterError, match=says):
            raw_rows(written(tmp_path, self.TWO), "excel", options)

    def test_one_that_is_empty_has_no_records(self, tmp_path: Path) -> None:
        assert raw_rows(written(tmp_path, book([])), "excel") == ([], [], 0)


class TestFiles:
    def test_are_known_by_what_is_in_them(self, tmp_path: Path) -> None:
        assert claimants(written(tmp_path, SAMPLES[0])) == ("excel",)

    def test_may_be_packed(self, tmp_path: Path) -> None:
        assert len(raw_rows(written(tmp_path, gzip.compress(SAMPLES[0])), "excel")[0]) == 2

    def test_of_opendocument_are_as_good(self, tmp_path: Path) -> None:
        content = (
            '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
            'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
            'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
            '<table:table table:name="calls"><table:table-row>'
            '<table:table-cell office:value-type="string"><text:p>called</text:p></table:table-cell></table:table-row>'
            '<table:table-row><table:table-cell office:value-type="float" office:value="12025550143"/>'
            "</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"
        )
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
            archive.writestr("META-INF/manifest.xml", "<manifest/>")
            archive.writestr("content.xml", content)
        path = written(tmp_path, target.getvalue())
        assert claimants(path) == ("excel",)
        assert raw_rows(path, "excel")[0] == [(2, {"called": "12025550143"})]

    @pytest.mark.parametrize(
        "content", [b"", b"id,called\n", b"PK\x03\x04broken", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1broken"]
    )
    def test_that_are_something_else_or_broken_are_errors(self, tmp_path: Path, content: bytes) -> None:
        with pytest.raises(AdapterError):
            raw_rows(written(tmp_path, content), "excel")

    def test_that_are_cut_are_errors(self, tmp_path: Path) -> None:
        for size in (100, len(SAMPLES[0]) // 2, len(SAMPLES[0]) - 10):
            with pytest.raises(AdapterError, match="cut off"):
                raw_rows(written(tmp_path, SAMPLES[0][:size]), "excel")

    def test_whose_cells_lie_immensely_far_apart_are_refused_beforehand(self, tmp_path: Path) -> None:
        """The table between two such cells would take hundreds of gigabytes, and end the process that asks for it."""
        rows: list[tuple[int, list[Any]]] = [(1, ["x"]), (1_048_576, [None] * 16_383 + ["y"])]
        with pytest.raises(AdapterError, match="spans 1,048,576 rows by 16,384 columns"):
            raw_rows(written(tmp_path, book(rows)), "excel")

    def test_that_are_bombs_are_refused_beforehand(self, tmp_path: Path) -> None:
        source = zipfile.ZipFile(io.BytesIO(SAMPLES[0]))
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry in source.infolist():
                archive.writestr(entry.filename, source.read(entry))
            archive.writestr("xl/sharedStrings2.xml", bytes(300 << 20))
        with pytest.raises(AdapterError, match="bomb"):
            raw_rows(written(tmp_path, target.getvalue()), "excel")
