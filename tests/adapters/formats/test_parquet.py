"""Parquet files: every type becomes text and loses nothing. All content is synthetic."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from tests.adapters.reading import raw_rows, written


def packed(columns: dict[str, Any], **how: Any) -> bytes:
    target = io.BytesIO()
    parquet.write_table(pa.table(columns), target, **how)
    return target.getvalue()


START = datetime.datetime(2026, 11, 21, 23, 23, 27, 123000, tzinfo=datetime.UTC)
MAPPING: dict[str, Any] = {
    "columns": {
        "called_in": "called",
        "calling": "caller.number",
        "seizure": {"column": "start", "format": "iso8601"},
        "ingress_trunk": "trunk",
        "call_id": "id",
    }
}
SAMPLES = [
    packed(
        {
            "id": pa.array([1, 2]),
            "called": pa.array([12025550143, 12025550144]),
            "caller": pa.array([{"number": "+12025550199", "name": "x"}, None]),
            "start": pa.array([START, START], pa.timestamp("ms", "UTC")),
            "trunk": pa.array(["T1", "T2"]).dictionary_encode(),
        }
    )
]
NAIVE = START.replace(tzinfo=None)


def texts(values: pa.Array, directory: Path) -> list[str | None]:
    rows, _, _ = raw_rows(written(directory, packed({"x": values})), "parquet")
    return [fields["x"] for _, fields in rows]


class TestValues:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (pa.array([12025550143, None]), ["12025550143", None]),
            (pa.array([2**63 + 5], pa.uint64()), ["9223372036854775813"]),
            (
                pa.array([12025550143.0, 1795321361.7793882, 0.1, None]),
                ["12025550143", "1795321361.7793882", "0.1", None],
            ),
            (pa.array([1e300, float("nan")]), ["1e+300", "nan"]),
            (pa.array([decimal.Decimal("12025550143.50")]), ["12025550143.50"]),
            (pa.array([True, False]), ["true", "false"]),
            (pa.array([START], pa.timestamp("ms", "UTC")), ["2026-11-21 23:23:27.123Z"]),
            (pa.array([START], pa.timestamp("us", "America/New_York")), ["2026-11-21 23:23:27.123000Z"]),
            (pa.array([NAIVE], pa.timestamp("ms")), ["2026-11-21 23:23:27.123"]),
            (pa.array([1795303407123456789], pa.timestamp("ns", "UTC")), ["2026-11-21 23:23:27.123456789Z"]),
            (pa.array([START.date()]), ["2026-11-21"]),
            (pa.array([START.time()], pa.time64("us")), ["23:23:27.123000"]),
            (pa.array([b"\xff1", None]), ["\ufffd1", None]),
            (pa.array([b"\xff1", None]).view(pa.string()), ["\ufffd1", None]),
            (pa.array([b"\xff1"], pa.large_binary()).view(pa.large_string()), ["\ufffd1"]),
            (pa.array([b"abcd"], pa.binary(4)), ["abcd"]),
            (pa.array(["a", "b", "a", None]).dictionary_encode(), ["a", "b", "a", None]),
            (pa.array(["x"], pa.large_string()), ["x"]),
            (pa.nulls(2), [None, None]),
            (pa.array([[1, 2], None]), ["[1, 2]", None]),
        ],
    )
    def test_become_text_without_loss(self, tmp_path: Path, values: pa.Array, expected: list[str | None]) -> None:
        assert texts(values, tmp_path) == expected

    def test_within_others_are_named_by_their_path(self, tmp_path: Path) -> None:
        columns = {
            "s": [{"a": {"b": 1}, "l": ["x", "y"]}, None, {"a": None, "l": []}],
            "l": [[{"d": "1"}, {"d": "2"}], [], None],
            "x.y": ["p", "q", "r"],
        }
        path = written(tmp_path, packed(columns, row_group_size=2))
        wanted = frozenset({"s.a.b", "s.l.1", "l.1.d", "x.y", "s.a.c", "l.x", "none"})
        rows, _, _ = raw_rows(path, "parquet", columns=wanted)
        assert rows == [
            (1, {"l.1.d": "2", "s.a.b": "1", "s.l.1": "y", "x.y": "p"}),
            (2, {"l.1.d": None, "s.a.b": None, "s.l.1": None, "x.y": "q"}),
            (3, {"l.1.d": None, "s.a.b": None, "s.l.1": None, "x.y": "r"}),
        ]
        assert list(raw_rows(path, "parquet")[0][0][1]) == ["s.a.b", "s.l", "l", "x.y"]

    def test_give_the_calls_that_the_mapping_says(self, tmp_path: Path) -> None:
        source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "parquet", **MAPPING})
        (batch,) = read_source(written(tmp_path, SAMPLES[0]), source, TrunkFormats())
        first = batch.calls.to_pylist()[0]
        assert (first["called_in"], first["calling"], first["ingress_trunk"]) == ("+12025550143", "+12025550199", "T1")
        assert first["seizure_earliest"] == START

    def test_of_a_column_that_is_not_there_are_missed_aloud(self, tmp_path: Path) -> None:
        columns = MAPPING["columns"] | {"calling": "caller.none"}
        source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "parquet", "columns": columns})
        with pytest.raises(AdapterError, match=r"no column caller\.none; it has: id, called, caller\.number"):
            list(read_source(written(tmp_path, SAMPLES[0]), source, TrunkFormats()))


class TestFiles:
    def test_are_known_by_their_mark(self, tmp_path: Path) -> None:
        assert claimants(written(tmp_path, SAMPLES[0])) == ("parquet",)

    def test_may_be_packed_and_have_many_row_groups(self, tmp_path: Path) -> None:
        data = packed({"x": [str(number) for number in range(50_000)]}, row_group_size=7000)
        rows, _, _ = raw_rows(written(tmp_path, gzip.compress(data)), "parquet")
        assert rows == [(number + 1, {"x": str(number)}) for number in range(50_000)]

    def test_without_rows_still_say_their_columns(self, tmp_path: Path) -> None:
        assert raw_rows(written(tmp_path, packed({"x": pa.array([], pa.string())})), "parquet") == ([], [], 0)

    def test_that_are_cut_or_something_else_are_errors(self, tmp_path: Path) -> None:
        data = SAMPLES[0]
        for content in (data[:-9], data[: len(data) // 2], b"PAR1", b"id,called\n", b""):
            with pytest.raises(AdapterError, match="can't be read as Parquet"):
                raw_rows(written(tmp_path, content), "parquet")

    def test_that_are_damaged_within_are_errors(self, tmp_path: Path) -> None:
        data = bytearray(packed({"x": [f"{number:08}" for number in range(1000)]}, compression="zstd"))
        data[40:60] = bytes(20)
        with pytest.raises(AdapterError, match="damaged after row 0"):
            raw_rows(written(tmp_path, bytes(data)), "parquet")
