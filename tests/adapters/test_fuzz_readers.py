"""Whatever bytes a file holds, a reader gives calls, rejects or the one documented error, and nothing else.

Every registered format is read from damaged copies of the files that its own tests bring. What is tried in `make check`
is the same each time, so that a failure is about a change; `make nightly` tries other files every night.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdr_adapters import registry
from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import HEAD_SIZE, AdapterError, Head
from tests.adapters.hostile.checks import raw_records, read_in_process
from tests.adapters.hostile.mutations import damaged
from tests.adapters.hostile.seeds import Seed, seed_of
from tests.adapters.reading import written

CHECK, NIGHTLY = 30, 3000
SLOW = {"sip_pcap": 15}
"""Formats whose files take that many times as long as others': a program has to be started for each."""

SOON = timedelta(seconds=20)
"""More than any file of some kilobytes may take, on a busy machine."""


def _settings(name: str, examples: int, *, repeatable: bool) -> settings:
    return settings(
        max_examples=max(examples // SLOW.get(name, 1), 3),
        derandomize=repeatable,
        database=None,
        deadline=SOON,
        print_blob=not repeatable,
        suppress_health_check=list(HealthCheck),
    )


def _foreign(name: str) -> list[bytes]:
    """Files of other formats, to mix in: those that come after it in the list."""
    names = registry.names()
    at = names.index(name)
    return [sample for other in (names[at + 1 :] + names[:at])[:4] for sample in seed_of(other).samples]


def read_and_account(path: Path, seed: Seed) -> None:
    """Read a file, and see that no record was lost between the reader and the mapping, none made up."""
    with suppress(AdapterError):
        outcome = read_in_process(path, seed)
        found = raw_records(path, seed)
        # a time in the hour that is repeated when clocks go back makes one record two possible calls
        assert found <= outcome.records <= found + outcome.calls


def identify_it(data: bytes, path: Path) -> None:
    """Every format says yes or no; the file as a whole is of some formats or can't be read."""
    head = Head(path, data[:HEAD_SIZE], len(data) <= HEAD_SIZE)
    for name in registry.names():
        assert registry.adapter(name).identify(head) in (True, False)
    with suppress(AdapterError):  # a broken archive
        assert isinstance(claimants(path), tuple)


def sweep(name: str, directory: Path, examples: int, *, repeatable: bool) -> None:
    """Read damaged samples of a format."""
    seed = seed_of(name)
    foreign = _foreign(name)

    @_settings(name, examples, repeatable=repeatable)
    @given(damaged(seed.samples, foreign) | st.binary(max_size=300))
    def check(data: bytes) -> None:
        path = written(directory, data)
        read_and_account(path, seed)
        identify_it(data, path)

    check()


@pytest.mark.parametrize("name", registry.names())
class TestEveryFormat:
    def test_reads_its_undamaged_samples(self, tmp_path: Path, name: str) -> None:
        """Otherwise nothing below tests anything."""
        seed = seed_of(name)
        assert sum(read_in_process(written(tmp_path, sample), seed).calls for sample in seed.samples)

    def test_reads_or_refuses_damaged_files(self, tmp_path: Path, name: str) -> None:
        sweep(name, tmp_path, CHECK, repeatable=True)

    @pytest.mark.nightly
    @pytest.mark.timeout(3600)
    def test_reads_or_refuses_many_damaged_files(self, tmp_path: Path, name: str) -> None:
        sweep(name, tmp_path, NIGHTLY, repeatable=False)


COLUMNS: dict[str, Any] = {
    "called_in": {"column": ["called", "id"], "format": "trunk"},
    "called_out": {"column": ["called", "id"], "pattern": "([^;]*)"},
    "calling": ["caller", "id"],
    "seizure": {"column": ["time"], "format": "iso8601"},
    "answer": {"column": ["time"], "format": "epoch_s"},
    "release": {"column": ["time"], "format": "%a %b %d %H:%M:%S %Y"},
    "ingress_trunk": "id",
    "ingress_address": "id",
    "call_id": "id",
    "disposition": {"column": "id", "values": {"200": "answered", "*": "failed"}},
}
ANY_TABLE = Seed(
    "sqlite",
    (),
    SourceMapping.model_validate(
        {
            "name": "fuzz",
            "path": "x",
            "format": "sqlite",
            "options": {"table": "acc"},
            "zone": "America/New_York",
            "columns": COLUMNS,
        }
    ),
    TrunkFormats(ingress={"tg1": "tech:77501:11d", "1": "10d", "198.51.100.0/24": "e164"}),
)


def _table(path: Path, values: list[object]) -> Path:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE acc (id, called, time)")
    for value in values:
        with suppress(UnicodeEncodeError):  # SQLite takes no half surrogate pairs
            connection.execute("INSERT INTO acc VALUES (?, ?, ?)", (value, value, value))
    connection.commit()
    connection.close()
    return path


class TestAnyDatabase:
    @given(st.lists(st.tuples(st.integers(0, 16_000), st.binary(min_size=1, max_size=6)), max_size=6), st.booleans())
    @settings(max_examples=60, deadline=SOON, derandomize=True, database=None)
    @example([(18, b"\x02\x02")], False)
    def test_is_read_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], cut: bool
    ) -> None:
        directory = tmp_path_factory.mktemp("fuzz")
        data = bytearray(_table(directory / "calls.db", ["2025550143", 1795321360, None]).read_bytes())
        for at, piece in changes:
            data[at % len(data) : at % len(data) + len(piece)] = piece
        read_and_account(written(directory, bytes(data[: len(data) // 2] if cut else data)), ANY_TABLE)

    @given(
        st.lists(
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(), st.binary()), max_size=8
        )
    )
    @settings(max_examples=40, deadline=SOON, derandomize=True, database=None)
    def test_values_of_any_type_are_text(self, tmp_path_factory: pytest.TempPathFactory, values: list[object]) -> None:
        read_and_account(_table(tmp_path_factory.mktemp("fuzz") / "any.db", values), ANY_TABLE)
