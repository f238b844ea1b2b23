"""SQLite databases through a mapping, as the sweeps over all formats read them; the reader's own tests stand a floor
above.

All content is synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from tests.adapters.formats.sql_tables import as_database
from tests.adapters.reading import written

MAPPING: dict[str, Any] = {
    "options": {"table": "calls"},
    "columns": {
        "called_in": "called",
        "calling": "calling",
        "seizure": {"column": "start", "format": "julian"},
        "ingress_trunk": "trunk",
        "call_id": "id",
    },
}
SAMPLES: list[bytes] = [
    as_database(
        calls=(
            ("id", "called", "calling", "start", "trunk"),
            [
                (1, "2025550143", "2025550199", 2461366.6824016203, "TG1"),
                (2, 12025550144, None, 2461366.6824016203, b"TG2"),
            ],
        ),
        others=(("id",), [(1,)]),
    )
]


def read(path: Path, **table: Any) -> list[dict[str, Any]]:
    source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "sqlite", **MAPPING, **table})
    return [call for batch in read_source(path, source, TrunkFormats()) for call in batch.calls.to_pylist()]


class TestADatabase:
    def test_gives_the_calls_that_the_mapping_says_whatever_their_type(self, tmp_path: Path) -> None:
        calls = read(written(tmp_path, SAMPLES[0]))
        assert [(call["called_in"], call["calling"], call["ingress_trunk"], call["row"]) for call in calls] == [
            ("+12025550143", "+12025550199", "TG1", 1),
            ("+12025550144", None, "TG2", 2),
        ]
        assert f"{calls[0]['seizure_earliest']:%Y-%m-%d %H:%M:%S}" == "2026-11-22 04:22:39"

    def test_is_claimed_by_no_special_format(self, tmp_path: Path) -> None:
        assert claimants(written(tmp_path, SAMPLES[0])) == ("sqlite",)

    def test_of_several_tables_asks_which(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="calls, others"):
            read(written(tmp_path, SAMPLES[0]), options={})
