"""Records in JSON: lines, arrays and pages, in pieces of any size; what is broken is rejected, never half read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdr_adapters import json_exports, presets
from cdr_adapters.json_exports import JsonExport
from cdr_adapters.raw import AdapterError, RawBatch
from cdr_adapters.stream import read_head
from tests.adapters.reading import memory_peak_below, written

EXPORT = JsonExport(signature=["callId", ("to", "called")], lists=["calls", "data"], known=["Call Id", "To"])


def read(path: Path, text: str | bytes, columns: set[str] | None = None) -> list[RawBatch]:
    wanted = None if columns is None else frozenset(columns)
    return list(EXPORT.read(written(path, text), presets.Options(), wanted))


def rows_of(batches: list[RawBatch]) -> list[dict[str, str | None]]:
    return [row for batch in batches for row in batch.columns.to_pylist()]


def rejects_of(batches: list[RawBatch]) -> list[tuple[int, str]]:
    return [(reject.row, reject.detail) for batch in batches for reject in batch.rejected]


A = {"callId": "a", "to": "+12025550143", "n": 1234567890123456789.50, "from": {"number": "1"}, "legs": [{"ip": "x"}]}
B = {"callId": "b", "to": "+12025550144"}


class TestRecords:
    @pytest.mark.parametrize(
        "text",
        [
            f"{json.dumps(A)}\n\n{json.dumps(B)}\n",
            f"{json.dumps(A)}{json.dumps(B)}",
            json.dumps([A, B]),
            json.dumps({"calls": [A, B], "page": 1}, indent=2),
            json.dumps({"calls": [A]}, indent=2) + "\n" + json.dumps({"next": None, "calls": [B]}),
            json.dumps({"data": {"total": 2, "calls": [A, B]}}),
            json.dumps({"data": "ok", "calls": [A, B]}),
        ],
        ids=["lines", "joined", "array", "page", "pages", "page in a page", "a word and a page"],
    )
    def test_are_found_in_lines_arrays_and_pages(self, tmp_path: Path, text: str) -> None:
        batches = read(tmp_path, text, {"callId", "to"})
        assert rows_of(batches) == [
            {"callId": "a", "to": "+12025550143"},
            {"callId": "b", "to": "+12025550144"},
        ]
        assert [batch.rows.to_pylist() for batch in batches] == [[1, 2]]
        assert EXPORT.identify(read_head(written(tmp_path, text)))

    def test_are_columns_by_path_in_any_spelling_with_every_digit(self, tmp_path: Path) -> None:
        text = (
            '{"call_id": "a", "n": 1234567890123456789.50, "from": {"number": "1"}, "ok": true, "legs": [{"ip": "x"}]}'
        )
        assert rows_of(read(tmp_path, text, {"Call Id", "n", "from.number", "ok", "legs.0.ip", "none"})) == [
            {
                "Call Id": "a",
                "n": "1234567890123456789.50",
                "from.number": "1",
                "ok": "true",
                "legs.0.ip": "x",
                "none": None,
            }
        ]
        assert rows_of(read(tmp_path, text)) == [
            {"Call Id": "a", "n": "1234567890123456789.50", "from.number": "1", "ok": "true", "legs.0.ip": "x"}
        ]

    def test_of_something_else_are_refused_with_the_reason(self, tmp_path: Path) -> None:
        export = JsonExport(["callId"], refused={"vendor": "legs to vendors"})
        with pytest.raises(AdapterError, match="a record has vendor: legs to vendors"):
            list(export.read(written(tmp_path, '{"callId": "a", "Vendor": "b"}'), presets.Options(), None))

    def test_without_the_fields_of_the_format_are_not_claimed(self, tmp_path: Path) -> None:
        for text in ('{"callId": 1}', '["callId", "to"]', '{"calls": []}', "callId,to", "", '{"callId'):
            assert not EXPORT.identify(read_head(written(tmp_path, text)))

    def test_of_a_large_page_take_little_memory(self, tmp_path: Path) -> None:
        page = '{"calls": [' + ",\n".join(json.dumps(B) for _ in range(60_000)) + ',\n{"callId": "z"}]}'
        path = written(tmp_path, page)
        with memory_peak_below(16 << 20):
            rows = sum(batch.columns.num_rows for batch in EXPORT.read(path, presets.Options(), frozenset(["callId"])))
        assert rows == 60_001


class TestWhereAPageHoldsItsRecords:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ('{"calls": [', ("calls",)),
            (' {"n": 1, "x": {"calls": []},\n"data" : {"total": 2, "calls": [{"a', ("data", "calls")),
            ('{"calls": "none", "data": []', ("data",)),
            ('{"callId": "a", "to": "b"}', ()),
            ('{"data": {"callId": "a"}}', ()),
            ('{"long": "no end', ()),
            ('{"data": {"long": [1, 2', ()),
            ("[1, 2]", ()),
            ('{"calls", []', ()),
            ("", ()),
        ],
    )
    def test_is_told_by_known_names_only(self, text: str, path: tuple[str, ...]) -> None:
        assert json_exports.page_path(text, ("calls", "data")) == path

    def test_that_cannot_be_told_makes_no_record_of_it(self, tmp_path: Path) -> None:
        page = json.dumps({"note": "x" * (1 << 17), "calls": [A]})
        assert not EXPORT.identify(read_head(written(tmp_path, page)))


class TestWhatIsBroken:
    def test_in_a_line_of_its_own_costs_that_line(self, tmp_path: Path) -> None:
        batches = read(tmp_path, '{"callId": "a"}\n{"callId": }\n{"callId": "c"}\n', {"callId"})
        assert rows_of(batches) == [{"callId": "a"}, {"callId": "c"}]
        assert rejects_of(batches) == [(2, "not JSON, or cut off, or too long")]

    def test_in_a_page_costs_the_rest_and_says_so(self, tmp_path: Path) -> None:
        batches = read(tmp_path, '{"calls": [\n{"callId": "a"},\n{"callId": "b"', {"callId"})
        assert rows_of(batches) == [{"callId": "a"}]
        assert rejects_of(batches) == [(2, "not JSON, or cut off, or too long; the file is not read from here on")]

    def test_an_element_that_is_no_object_is_rejected(self, tmp_path: Path) -> None:
        batches = read(tmp_path, '[1, {"callId": "a"}, "x"]', {"callId"})
        assert rows_of(batches) == [{"callId": "a"}]
        assert rejects_of(batches) == [(1, "not a JSON object"), (3, "not a JSON object")]

    def test_in_depth_is_bounded(self, tmp_path: Path) -> None:
        assert json_exports.page_path('{"data": ' * 100_000, ("data",)) == ()
        batches = read(tmp_path, '{"a": ' * 100_000 + '\n{"callId": "a"}\n', {"callId"})
        assert rows_of(batches) == [{"callId": "a"}]


class TestAFormatThatComesAsTableAndAsJson:
    BOTH = json_exports.Either(presets.Headed(signature=["Call Id", "To"], known=["Call Id", "To"]), EXPORT)

    @pytest.mark.parametrize("text", ["to,call_id\n+12025550143,a\n", '\n[{"callId": "a", "to": "+12025550143"}]'])
    def test_is_read_the_same(self, tmp_path: Path, text: str) -> None:
        path = written(tmp_path, text)
        assert self.BOTH.identify(read_head(path))
        assert rows_of(list(self.BOTH.read(path, presets.Options(), frozenset(["Call Id", "To"])))) == [
            {"Call Id": "a", "To": "+12025550143"}
        ]

    def test_an_empty_file_has_no_records(self, tmp_path: Path) -> None:
        path = written(tmp_path, "")
        assert not self.BOTH.identify(read_head(path))
        assert rows_of(list(self.BOTH.read(path, presets.Options(), None))) == []
