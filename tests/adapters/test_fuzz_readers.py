"""Whatever bytes a file holds, a reader gives batches and rejects or the one documented error, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import CALLS, RejectReason
from protos.e164 import parse_e164
from tests.adapters.reading import written
from tests.adapters.test_line_readers import ACC, CDR, DB_TEXT, NOISE, RADIUS
from tests.adapters.test_sql_readers import ACC as TABLE
from tests.adapters.test_sql_readers import MYSQL, POSTGRES, database

COLUMNS: dict[str, Any] = {
    "called_in": {"column": ["called", "Called-Station-Id", "ruri_in", "callee"], "format": "trunk"},
    "called_out": {"column": ["called", "dst"], "pattern": "([^;]*)"},
    "calling": ["caller", "Calling-Station-Id", "id"],
    "seizure": {"column": ["start_time", "time"], "format": "iso8601"},
    "answer": {"column": ["timestamp", "Timestamp", "time"], "format": "epoch_s"},
    "release": {"column": ["header", "time"], "format": "%a %b %d %H:%M:%S %Y"},
    "ingress_trunk": ["itrunk", "id"],
    "ingress_address": ["src_ip", "id"],
    "call_id": ["call_id", "callid", "id"],
    "disposition": {"column": ["code", "id"], "values": {"200": "answered", "*": "failed"}},
}


@cache
def _database() -> bytes:
    with TemporaryDirectory() as directory:
        return database(Path(directory), *TABLE).read_bytes()


SAMPLES: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "delimited": ({}, [b"id,called,time\n1,2025550143,2026-11-21T23:23:27\n2,+12025550144,1795321360\n"]),
    "jsonl": ({}, [b'{"id": 1, "called": "2025550143", "time": "2026-11-21T23:23:27Z"}\n{"id": 2}\n']),
    "kamailio_syslog": ({}, [f"{ACC}\n{NOISE}\n{CDR}\n".encode()]),
    "radius_detail": ({}, [RADIUS.encode() * 2]),
    "kamailio_dbtext": ({}, [(DB_TEXT.replace("uri", "called") + "1:INVITE:1795321362:2025550143\n").encode()]),
    "sqldump": ({"table": "acc"}, [POSTGRES.encode(), MYSQL.encode()]),
    "sqlite": ({"table": "acc"}, []),
}


def read_everything(path: Path, name: str, options: dict[str, Any]) -> None:
    """Read a file through its mapping, and check what must hold of whatever comes."""
    mapping = SourceMapping.model_validate(
        {
            "name": "fuzz",
            "path": "x",
            "format": name,
            "options": options,
            "zone": "America/New_York",
            "columns": COLUMNS,
        }
    )
    formats = TrunkFormats(ingress={"tg1": "tech:77501:11d", "1": "10d", "198.51.100.0/24": "e164"})
    with suppress(AdapterError):
        for batch in read_source(path, mapping, formats):
            batch.calls.validate(full=True)
            assert batch.calls.schema == CALLS
            for call in batch.calls.to_pylist():
                for number in (call["called_in"], call["called_out"], call["calling"]):
                    assert number is None or parse_e164(number)
                assert call["called_in"] or call["called_out"]
                assert call["seizure_earliest"] <= call["seizure_latest"]
            assert all(isinstance(reject.reason, RejectReason) for reject in batch.rejected)
            # lines count from 1; a database's row ids are what they are
            assert name == "sqlite" or all(reject.row > 0 for reject in batch.rejected)


def damaged(draw: st.DrawFn, sample: bytes) -> bytes:
    """A good file with a few bytes changed, put in, taken out, or its end cut off."""
    data = bytearray(sample)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        piece = draw(st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b"'", b"\\", b"\n", b"\x00", b"(", b";"])))
        data[at : at + draw(st.integers(0, 3))] = piece
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@st.composite
def contents(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """Any bytes, or a damaged sample."""
    if not samples or draw(st.integers(0, 3)) == 0:
        return draw(st.binary(max_size=400))
    return damaged(draw, draw(st.sampled_from(samples)))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "sqlite"])
class TestAnyBytes:
    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_are_read_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
    ) -> None:
        options, samples = SAMPLES[name]
        path = written(tmp_path_factory.mktemp("fuzz"), data.draw(contents(samples)))
        read_everything(path, name, options)

    def test_the_undamaged_samples_give_calls(self, tmp_path: Path, name: str) -> None:
        options, samples = SAMPLES[name]
        for sample in samples:
            read_everything(written(tmp_path, sample), name, options)


_VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(), st.binary())


class TestAnyDatabase:
    @given(st.lists(st.tuples(st.integers(0, 16_000), st.binary(min_size=1, max_size=6)), max_size=6), st.booleans())
    @settings(max_examples=80, deadline=None)
    @example([(18, b"\x02\x02")], False)
    def test_is_read_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], cut: bool
    ) -> None:
        data = bytearray(_database())
        for at, piece in changes:
            data[at % len(data) : at % len(data) + len(piece)] = piece
        path = written(tmp_path_factory.mktemp("fuzz"), bytes(data[: len(data) // 2] if cut else data))
        read_everything(path, "sqlite", {"table": "acc"})

    @given(
        st.lists(
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(), st.binary()), max_size=8
        )
    )
    @settings(max_examples=50, deadline=None)
    def test_values_of_any_type_are_text(self, tmp_path_factory: pytest.TempPathFactory, values: list[object]) -> None:
        path = tmp_path_factory.mktemp("fuzz") / "any.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE acc (id, called, time)")
        for value in values:
            try:
                connection.execute("INSERT INTO acc VALUES (?, ?, ?)", (value, value, value))
            except UnicodeEncodeError:  # SQLite takes no half surrogate pairs
                continue
        connection.commit()
        connection.close()
        read_everything(path, "sqlite", {"table": "acc"})


class TestIdentify:
    @given(st.data())
    @settings(max_examples=80, deadline=None)
    def test_never_fails_on_any_bytes(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        samples = [sample for _, some in SAMPLES.values() for sample in some]
        path = written(tmp_path_factory.mktemp("fuzz"), data.draw(contents(samples)))
        with suppress(AdapterError):  # a broken archive
            assert isinstance(claimants(path), tuple)
