"""Tables with known columns: a header is recognised in any spelling, positions only where the row proves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.compute as pc
import pytest

from cdr_adapters import presets, raw
from cdr_adapters.raw import AdapterError, RawBatch
from cdr_adapters.stream import read_head
from tests.adapters.reading import written

SWITCH = presets.Headed(
    signature=["Call Id", ("Called Number", "DNIS"), "Trunk In"],
    known=["Call Id", "Called Number", "Trunk In", "Start"],
    absent=["Invoice"],
    derived={"Where": presets.Derived(("Trunk In", "Start"), lambda *parts: pc.coalesce(*parts))},
    refused={"Packets Lost": "quality records, no calls"},
    below=lambda values: set("".join(values)) <= {"-"},
)


def _prove(at: Mapping[str, int]) -> presets.Check:
    kind = at["type"]

    def check(values: Sequence[str]) -> str | None:
        if values[kind] == "A":
            return presets.SKIP
        return None if values[kind] == "R" else f"column {kind + 1} is no record type"

    return check


ROWS = presets.Positional(names=["type", "called", "start"], at_least=2, prove=_prove, delimiter=";")


def rows_of(batches: list[RawBatch]) -> list[dict[str, str | None]]:
    return [row for batch in batches for row in batch.columns.to_pylist()]


def headed(path: Path, text: str, columns: set[str] | None = None, **options: object) -> list[RawBatch]:
    source = presets.Options.model_validate(options)
    return list(SWITCH.read(written(path, text.encode()), source, None if columns is None else frozenset(columns)))


class TestAHeader:
    @pytest.mark.parametrize(
        "header",
        [
            "Call Id,Called Number,Trunk In,Start",
            "start;TRUNK_IN;called-number;CallID",
            '\ufeff"trunk in"\tDNIS\t"call id"',
            "Report for November\n\nCall Id,Called Number,Trunk In",
        ],
    )
    def test_is_recognised_in_any_spelling_order_and_delimiter(self, tmp_path: Path, header: str) -> None:
        assert SWITCH.identify(read_head(written(tmp_path, f"{header}\n1,2,3\n".encode())))

    @pytest.mark.parametrize("header", ["Call Id,Called Number,Start", "Call Id,DNIS,Trunk In,Invoice", "1,2,3"])
    def test_that_lacks_a_name_or_is_another_formats_is_not_claimed(self, tmp_path: Path, header: str) -> None:
        assert not SWITCH.identify(read_head(written(tmp_path, f"{header}\n1,2,3,4\n".encode())))

    def test_gives_columns_their_stable_names(self, tmp_path: Path) -> None:
        batches = headed(tmp_path, "extra;start;TRUNK_IN;called-number;CallID\nx;t0;tg1;2025550143;a\n")
        assert rows_of(batches) == [
            {"extra": "x", "Start": "t0", "Trunk In": "tg1", "Called Number": "2025550143", "Call Id": "a"}
        ]
        assert [batch.rows.to_pylist() for batch in batches] == [[2]]

    def test_answers_to_the_names_in_the_file_too(self, tmp_path: Path) -> None:
        text = "CallID,DNIS,TRUNK_IN\na,2025550143,tg1\n"
        assert rows_of(headed(tmp_path, text, {"CallID", "Trunk In"})) == [{"CallID": "a", "Trunk In": "tg1"}]

    def test_may_lack_what_the_format_knows(self, tmp_path: Path) -> None:
        [batch] = headed(tmp_path, "Call Id,DNIS,Trunk In\na,2025550143,tg1\n", {"Call Id", "Start"})
        assert rows_of([batch]) == [{"Call Id": "a"}]
        assert batch.header is not None
        assert "Start" in batch.header
        assert "Stop" not in batch.header

    def test_has_columns_that_are_made_of_others(self, tmp_path: Path) -> None:
        [batch] = headed(tmp_path, "Call Id,DNIS,Trunk In\na,2,tg1\nb,3,tg2\n", {"Where", "Call Id"})
        assert [row["Where"] for row in rows_of([batch])] == ["tg1", "tg2"]
        assert batch.header is not None
        assert "Where" in batch.header

    def test_with_two_columns_for_one_name_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="CallID and call_id could both be 'Call Id'"):
            headed(tmp_path, "CallID,call_id,DNIS,Trunk In\na,b,2,3\n", {"Call Id"})

    def test_of_something_else_is_claimed_and_refused_with_the_reason(self, tmp_path: Path) -> None:
        text = "Call Id,DNIS,Trunk In,packets_lost\n1,2,3,4\n"
        assert SWITCH.identify(read_head(written(tmp_path, text)))
        with pytest.raises(AdapterError, match="the header has Packets Lost: quality records, no calls"):
            headed(tmp_path, text)

    def test_is_kept_apart_from_the_line_below_it(self, tmp_path: Path) -> None:
        batches = headed(tmp_path, "Call Id,DNIS,Trunk In\n\n---,---,---\na,2,3\n", {"Call Id"})
        assert rows_of(batches) == [{"Call Id": "a"}]
        assert batches[0].rows.to_pylist() == [4]

    def test_with_another_choice_of_columns_is_read_when_the_format_is_named(self, tmp_path: Path) -> None:
        assert rows_of(headed(tmp_path, "Start,Called Number\nt0,2025550143\n", {"Start"})) == [{"Start": "t0"}]

    def test_that_is_missing_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="expected: Call Id, Called Number or DNIS, Trunk In"):
            headed(tmp_path, "a,2025550143,tg1\n")

    def test_can_be_given(self, tmp_path: Path) -> None:
        names = ["Called Number", "Call Id"]
        batches = headed(tmp_path, "title\n2025550143|a\n", {"Call Id"}, names=names, delimiter="|", skip_lines=1)
        assert rows_of(batches) == [{"Call Id": "a"}]

    def test_alone_is_no_record_and_an_empty_file_nothing(self, tmp_path: Path) -> None:
        assert rows_of(headed(tmp_path, "Call Id,DNIS,Trunk In\n")) == []
        assert headed(tmp_path, "\n\n") == []

    def test_in_utf_16_is_read(self, tmp_path: Path) -> None:
        path = written(tmp_path, "Call Id\tDNIS\tTrunk In\na\t2\t3\n".encode("utf-16"))
        assert rows_of(list(SWITCH.read(path, presets.Options(), frozenset({"DNIS"})))) == [{"DNIS": "2"}]

    def test_a_row_of_another_width_is_rejected(self, tmp_path: Path) -> None:
        [batch] = headed(tmp_path, "Call Id,DNIS,Trunk In\na,2\nb,2,3\n", {"Call Id"})
        assert [(reject.row, reject.detail) for reject in batch.rejected] == [(2, "2 values instead of 3")]


def positional(path: Path, text: str, columns: set[str] | None = None, **options: object) -> list[RawBatch]:
    wanted = None if columns is None else frozenset(columns)
    return list(ROWS.read(written(path, text.encode()), presets.PositionalOptions.model_validate(options), wanted))


class TestPositions:
    def test_give_their_names_to_columns_of_rows_that_prove_their_layout(self, tmp_path: Path) -> None:
        [batch] = positional(tmp_path, 'R;"2025;550143";t0;more\nA;x\n\nR;2\n')
        assert rows_of([batch]) == [
            {"type": "R", "called": "2025;550143", "start": "t0", "4": "more"},
            {"type": "R", "called": "2", "start": None, "4": None},
        ]
        assert batch.rows.to_pylist() == [1, 4]
        assert batch.skipped == 1

    @pytest.mark.parametrize(
        ("row", "detail"),
        [
            ("X;2;t0", "column 1 is no record type"),
            ("R", "1 values instead of 2 at least"),
            ('R;"2;t0', "quotes don't match, or the line is too long"),
        ],
    )
    def test_of_a_row_that_proves_nothing_are_not_guessed(self, tmp_path: Path, row: str, detail: str) -> None:
        [batch] = positional(tmp_path, f"{row}\n")
        assert [(reject.row, reject.detail) for reject in batch.rejected] == [(1, detail)]

    def test_can_be_asked_for_by_number(self, tmp_path: Path) -> None:
        [batch] = positional(tmp_path, "R;2;t0\n", {"2", "9"})
        assert rows_of([batch]) == [{"2": "2", "9": None}]

    def test_an_unknown_name_is_no_column(self, tmp_path: Path) -> None:
        [batch] = positional(tmp_path, "R;2;t0\n", {"called", "colled"})
        assert batch.header is not None
        assert "colled" not in batch.header

    def test_of_another_release_are_given_as_names(self, tmp_path: Path) -> None:
        [batch] = positional(tmp_path, "1;R;2\n1;X;2\n", {"called"}, names=["sequence", "type", "called"])
        assert rows_of([batch]) == [{"called": "2"}]
        assert [reject.detail for reject in batch.rejected] == ["column 2 is no record type"]
        [batch] = positional(tmp_path, "1;2\n", names=["start", "called", "type"])
        assert [reject.detail for reject in batch.rejected] == ["2 values are too few for this layout"]
        with pytest.raises(AdapterError, match="option names lacks 'type'"):
            positional(tmp_path, "1;2\n", names=["called", "start"])

    def test_that_never_move_are_checked_as_they_are_and_other_lines_skipped(self, tmp_path: Path) -> None:
        rows = presets.Positional(
            ["kind", "called"],
            at_least=2,
            check=lambda values: None if values[0] == "R" else "no record",
            skip=lambda values: values[0].startswith("#"),
        )
        path = written(tmp_path, "R,1\n# sum\nX,2\n")
        [batch] = rows.read(path, presets.PositionalOptions(), None)
        assert (rows_of([batch]), batch.skipped) == ([{"kind": "R", "called": "1"}], 1)
        assert [reject.detail for reject in batch.rejected] == ["no record"]

    def test_are_recognised_by_their_rows(self, tmp_path: Path) -> None:
        assert ROWS.identify(read_head(written(tmp_path, b"A;x\nR;2;t0\nR;3;t0\n")))
        assert not ROWS.identify(read_head(written(tmp_path, b"A;x\nA;y\n")))
        assert not ROWS.identify(read_head(written(tmp_path, b"R;2\nB;3\nB;4\n")))


def test_options_unknown_are_refused() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        presets.Options.model_validate({"delimitre": ","})
    assert issubclass(presets.Options, raw.Options)
