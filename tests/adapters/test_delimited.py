"""Delimited text: one line is one record, whatever the delimiter, the quoting, the encoding and the damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.formats import delimited
from cdr_adapters.raw import AdapterError
from cdr_adapters.schema import RejectReason
from cdr_adapters.stream import MAX_LINE
from tests.adapters.reading import memory_peak_below, raw_rows, written

TABLE = "id,called,peer\n1,2025550143,198.51.100.10\n2,+12025550144,198.51.100.20\n"


class TestALineIsARecord:
    def test_with_a_header_line(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, TABLE), "delimited")
        assert rows == [
            (2, {"id": "1", "called": "2025550143", "peer": "198.51.100.10"}),
            (3, {"id": "2", "called": "+12025550144", "peer": "198.51.100.20"}),
        ]
        assert not rejected

    def test_without_one_under_given_names(self, tmp_path: Path) -> None:
        path = written(tmp_path, "INVITE|2025550143|200\nBYE||200\n")
        options = {"delimiter": "|", "header": False, "names": ["method", "called", "code"]}
        rows, _, _ = raw_rows(path, "delimited", options)
        assert rows[1] == (2, {"method": "BYE", "called": "", "code": "200"})

    def test_without_names_under_their_positions(self, tmp_path: Path) -> None:
        path = written(tmp_path, "INVITE|2025550143\n")
        assert raw_rows(path, "delimited", {"delimiter": "|", "header": False})[0] == [
            (1, {"1": "INVITE", "2": "2025550143"})
        ]

    def test_numbers_stay_text(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(written(tmp_path, "a,b\n+12025550143,007\n"), "delimited")
        assert rows == [(2, {"a": "+12025550143", "b": "007"})]

    def test_only_wanted_columns_are_read(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(written(tmp_path, TABLE), "delimited", columns=frozenset({"called", "nowhere"}))
        assert rows[0] == (2, {"called": "2025550143"})

    def test_quotes_hold_delimiters(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(written(tmp_path, 'a,b\n"x, y","say ""no"""\n'), "delimited")
        assert rows == [(2, {"a": "x, y", "b": 'say "no"'})]

    def test_without_quoting_a_quote_is_a_character(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(written(tmp_path, 'a,b\n"x,y\n'), "delimited", {"quote": ""})
        assert rows == [(2, {"a": '"x', "b": "y"})]

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("last", ["", "end"])
    def test_line_ends_and_a_missing_last_one_do_not_matter(self, tmp_path: Path, end: str, last: str) -> None:
        text = "a,b\n1,2\n3,4\n".replace("\n", end)
        path = written(tmp_path, text if last else text.removesuffix(end))
        assert [row for row, _ in raw_rows(path, "delimited")[0]] == [2, 3]

    def test_empty_lines_are_no_records_but_count_as_lines(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, "\na,b\n\n1,2\n \n,\n3,4\n\n"), "delimited")
        assert [row for row, _ in rows] == [4, 6, 7]
        assert [reject.row for reject in rejected] == [5], "a line of blanks is not empty"

    def test_lines_before_the_header_may_be_skipped(self, tmp_path: Path) -> None:
        path = written(tmp_path, "# made by a switch\nversion,7,x\na,b\n1,2\n")
        assert raw_rows(path, "delimited", {"skip_lines": 2})[0] == [(4, {"a": "1", "b": "2"})]

    def test_values_may_be_trimmed(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a, b\n1 , 2\n")
        assert raw_rows(path, "delimited", {"trim": True})[0] == [(2, {"a": "1", "b": "2"})]

    def test_a_name_that_occurs_twice_is_told_apart(self, tmp_path: Path) -> None:
        assert raw_rows(written(tmp_path, "a,a,\n1,2,3\n"), "delimited")[0] == [(2, {"a": "1", "a.2": "2", "3": "3"})]

    def test_a_quoted_line_end_is_part_of_a_value_only_when_said(self, tmp_path: Path) -> None:
        path = written(tmp_path, 'a,b\n1,"x\ny"\n2,z\n')
        rows, rejected, _ = raw_rows(path, "delimited")
        assert [row for row, _ in rows] == [4]
        assert [reject.row for reject in rejected] == [2, 3]
        rows, rejected, _ = raw_rows(path, "delimited", {"multiline": True})
        assert rows == [(2, {"a": "1", "b": "x\ny"}), (4, {"a": "2", "b": "z"})]
        assert not rejected

    @pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
    def test_compression_is_seen_through(self, tmp_path: Path, compress: Any) -> None:
        assert len(raw_rows(written(tmp_path, compress(TABLE.encode())), "delimited")[0]) == 2

    @pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, tmp_path: Path, mark: str) -> None:
        rows, _, _ = raw_rows(written(tmp_path, TABLE.encode(mark)), "delimited")
        assert rows[0][1]["id"] == "1"

    def test_other_encodings_are_named(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a,b\né,1\n".encode("latin-1"))
        assert raw_rows(path, "delimited", {"encoding": "latin-1"})[0][0][1]["a"] == "é"

    def test_bad_bytes_cost_no_record(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, b"a,b\n\xff\xfe,1\n\x00,2\n"), "delimited")
        assert [fields["b"] for _, fields in rows] == ["1", "2"]
        assert not rejected

    def test_more_than_one_block_is_one_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = [f"{index},2025550143" for index in range(500)]
        lines[123], lines[321] = "short", '"open,1'
        path = written(tmp_path, "a,b\n" + "\n".join(lines))
        whole = raw_rows(path, "delimited")
        monkeypatch.setattr(delimited, "_BLOCK", 97)
        assert raw_rows(path, "delimited") == whole
        assert [reject.row for reject in whole[1]] == [125, 323]


class TestDamage:
    def test_a_line_of_another_width_is_rejected_with_its_number(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, "a,b\n1,2\n3\n4,5,6\n7,8\n"), "delimited")
        assert [row for row, _ in rows] == [2, 5]
        assert [(reject.row, reject.reason, reject.detail, reject.raw) for reject in rejected] == [
            (3, RejectReason.MALFORMED_ROW, "1 values instead of 2", "3"),
            (4, RejectReason.MALFORMED_ROW, "3 values instead of 2", "4,5,6"),
        ]

    def test_an_unclosed_quote_swallows_no_other_line(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, 'a,b\n1,"x\n2,y\n3,"z"\n'), "delimited")
        assert [row for row, _ in rows] == [3, 4]
        assert [reject.row for reject in rejected] == [2]

    def test_an_overlong_line_is_rejected_and_the_next_one_read(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a,b\n1," + "x" * (3 * MAX_LINE) + "\n2,y\n")
        rows, rejected, _ = raw_rows(path, "delimited")
        assert rows[-1] == (3, {"a": "2", "b": "y"})
        assert [reject.row for reject in rejected] == ([2] if len(rows) == 1 else [])

    def test_a_line_without_end_is_rejected_in_bounded_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delimited, "_BLOCK", 1 << 16)
        path = written(tmp_path, gzip.compress(b"a,b\n1," + b"x" * (40 << 20) + b"\n2,y\n"))
        with memory_peak_below(16 << 20):
            rows, rejected, _ = raw_rows(path, "delimited")
        assert rows == [(3, {"a": "2", "b": "y"})]
        assert [(reject.row, len(reject.raw)) for reject in rejected] == [(2, 4096)]

    @pytest.mark.parametrize(
        "content", [b"\x1f\x8bbroken", gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-20], b"BZh9broken"]
    )
    def test_a_broken_archive_is_an_error_with_the_files_name(self, tmp_path: Path, content: bytes) -> None:
        path = written(tmp_path, content)
        with pytest.raises(AdapterError, match="can't be read") as caught:
            raw_rows(path, "delimited")
        assert str(path) in str(caught.value)

    def test_a_directory_or_nothing_at_all_is_an_error(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "none.csv"):
            with pytest.raises(AdapterError, match="can't be read"):
                raw_rows(path, "delimited")

    def test_an_empty_file_has_no_records(self, tmp_path: Path) -> None:
        for content in ("", "\n\n", "a,b\n", "a,b"):
            assert raw_rows(written(tmp_path, content), "delimited") == ([], [], 0)

    def test_a_header_that_cannot_be_split_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="line 1 can't be split"):
            raw_rows(written(tmp_path, '"a,b\n1,2\n'), "delimited")


_CELL = st.text('ab1+,"\r\n \x00é|', max_size=6)
_TEXT = st.one_of(
    st.binary(max_size=300),
    st.text('a1,"\n\r ;|', max_size=200).map(str.encode),
    st.lists(st.lists(_CELL, min_size=1, max_size=4).map(",".join), max_size=12).map(
        lambda rows: "\n".join(rows).encode()
    ),
)


class TestFastAndSlow:
    @given(_TEXT, st.booleans(), st.integers(1, 64))
    @settings(max_examples=100, deadline=None)
    def test_every_well_quoted_line_is_the_same_record_to_both_parsers_whatever_stands_around_it(
        self, tmp_path_factory: pytest.TempPathFactory, text: bytes, header: bool, block: int
    ) -> None:
        path = written(tmp_path_factory.mktemp("fuzz"), text)
        fast, slow, pieces = (
            _read(path, header, fast=fast, block=size)
            for fast, size in ((True, 1 << 20), (False, 1 << 20), (True, block))
        )
        for other in (fast, pieces) if b"\r" not in text else (fast,):  # a lone \r ends a line only within a block
            assert {row: fields for row, fields in other.items() if row in slow} == slow
            assert all(badly_quoted(text, row) for row in other.keys() - slow.keys())


def _read(path: Path, header: bool, *, fast: bool, block: int) -> dict[int, dict[str, str | None]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_BLOCK", block)
        if not fast:
            patch.setattr(delimited, "_parse_fast", lambda *_: None)
        try:
            return dict(raw_rows(path, "delimited", {"header": header})[0])
        except AdapterError:
            return {}


def badly_quoted(text: bytes, row: int) -> bool:
    """Whether a line has a quote where strict CSV has none: such a line may be read or rejected."""
    lines = (
        text.decode("utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace").encode().splitlines()
    )
    return b'"' in lines[row - 1] and delimited.Options().split(lines[row - 1].decode("utf-8", "replace")) is None
