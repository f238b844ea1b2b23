"""SQL dumps through a mapping, as the sweeps over all formats read them; the reader's own tests stand a floor above.

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
from tests.adapters.formats.sql_tables import as_dump, as_mysql
from tests.adapters.reading import written

COLUMNS = ("id", "called", "calling", "start", "trunk")
ROWS = (
    (1, "2025550143", "2025550199", "2026-11-21 18:23:27", "TG1"),
    (2, "+12025550144", None, "2026-11-21 18:24:27", "TG2"),
)
MAPPING: dict[str, Any] = {
    "zone": "America/New_York",
    "options": {"table": "calls"},
    "columns": {
        "called_in": "called",
        "calling": "calling",
        "seizure": {"column": "start", "format": "iso8601"},
        "ingress_trunk": "trunk",
        "call_id": "id",
    },
}
SAMPLES: list[bytes] = [as_dump(calls=(COLUMNS, ROWS)), as_mysql(calls=(COLUMNS, ROWS))]


def read(path: Path, **table: Any) -> list[dict[str, Any]]:
    source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "sqldump", **MAPPING, **table})
    return [call for batch in read_source(path, source, TrunkFormats()) for call in batch.calls.to_pylist()]


class TestADump:
    def test_of_any_database_gives_the_same_calls(self, tmp_path: Path) -> None:
        postgresql, mysql = (read(written(tmp_path, sample)) for sample in SAMPLES)
        assert [(call["called_in"], call["calling"], call["ingress_trunk"]) for call in mysql] == [
            ("+12025550143", "+12025550199", "TG1"),
            ("+12025550144", None, "TG2"),
        ]
        assert [{**call, "row": 0} for call in postgresql] == [{**call, "row": 0} for call in mysql]

    @pytest.mark.parametrize("sample", SAMPLES, ids=["PostgreSQL", "MySQL"])
    def test_is_claimed_by_no_special_format(self, tmp_path: Path, sample: bytes) -> None:
        assert claimants(written(tmp_path, sample)) == ("sqldump",)

    def test_of_other_tables_is_an_error_that_lists_them(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="calls"):
            read(written(tmp_path, SAMPLES[0]), options={"table": "acc"})
