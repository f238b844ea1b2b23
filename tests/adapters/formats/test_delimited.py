"""Delimited text through a mapping, as the sweeps over all formats read it; its reader's own tests stand a floor above.

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
from cdr_adapters.schema import RejectReason
from tests.adapters.reading import written

MAPPING: dict[str, Any] = {
    "zone": "America/New_York",
    "columns": {
        "called_in": {"column": "called", "format": "auto"},
        "calling": "calling",
        "seizure": {"column": "start", "format": "iso8601"},
        "ingress_trunk": "trunk",
        "call_id": "id",
    },
}
SAMPLES: list[bytes] = [
    b"id,called,calling,start,trunk\n"
    b"1,2025550143,2025550199,2026-11-21T18:23:27,TG1\n"
    b'2,+12025550144,,2026-11-21T23:24:27Z,"TG2, old"\n'
    b"3,sip:12025550145@192.0.2.7,anonymous,2026-11-21 18:25:27.250,TG1\n",
    "\ufeffid,called,calling,start,trunk\r\n9,2025550146,2025550198,2026-11-21T18:26:27,TG3\r\n".encode("utf-16-le"),
]


def read(path: Path, **table: Any) -> tuple[list[dict[str, Any]], list[RejectReason]]:
    source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "delimited", **MAPPING, **table})
    batches = list(read_source(path, source, TrunkFormats()))
    rejects = [reject.reason for batch in batches for reject in batch.rejected]
    return [call for batch in batches for call in batch.calls.to_pylist()], rejects


class TestATable:
    def test_gives_the_calls_that_the_mapping_says(self, tmp_path: Path) -> None:
        calls, rejects = read(written(tmp_path, SAMPLES[0]))
        assert [call["called_in"] for call in calls] == ["+12025550143", "+12025550144", "+12025550145"]
        assert [call["ingress_trunk"] for call in calls] == ["TG1", "TG2, old", "TG1"]
        assert f"{calls[0]['seizure_earliest']:%Y-%m-%d %H:%M:%S}" == "2026-11-21 23:23:27"
        assert rejects == []

    def test_in_utf_16_is_known_by_its_mark(self, tmp_path: Path) -> None:
        calls, rejects = read(written(tmp_path, SAMPLES[1]))
        assert [(call["called_in"], call["calling"]) for call in calls] == [("+12025550146", "+12025550198")]
        assert rejects == []

    def test_is_claimed_as_delimited_text_by_no_special_format(self, tmp_path: Path) -> None:
        assert claimants(written(tmp_path, SAMPLES[0])) == ("delimited",)

    def test_loses_no_row_to_a_bad_one(self, tmp_path: Path) -> None:
        calls, rejects = read(written(tmp_path, SAMPLES[0] + b"4,2025550147\n5,nobody,,2026-11-21T18:27:27,TG1\n"))
        assert len(calls) == 3
        assert sorted(reason.value for reason in rejects) == ["bad-called-number", "malformed-row"]

    def test_without_a_column_that_the_mapping_names_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="has no column called; it has: id, callee"):
            read(written(tmp_path, SAMPLES[0].replace(b"id,called", b"id,callee")))
