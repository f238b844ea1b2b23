"""JSON through a mapping, as the sweeps over all formats read it; its reader's own tests stand a floor above.

All content is synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.reading import written

MAPPING: dict[str, Any] = {
    "columns": {
        "called_in": "leg.called",
        "calling": "leg.calling",
        "seizure": {"column": "start", "format": "epoch_ms"},
        "ingress_address": {"column": "leg.from", "bad": "null"},
        "call_id": "id",
    },
}
SAMPLES: list[bytes] = [
    b'{"id": "a1", "start": 1795321360250, "leg": {"called": "2025550143", "from": "192.0.2.7:5060"}}\n'
    b'{"id": "a2", "start": 1795321361250, "leg": {"called": "+12025550144", "calling": "2025550199", "from": null}}\n',
    b'[\n  {"id": "b1", "start": 1795321362250, "leg": {"called": "2025550145", "codecs": ["PCMU", "PCMA"]}},\n'
    b'  {"id": "b2", "start": 1795321363250, "leg": {"called": "2025550146", "from": "[2001:db8::7]:5060"}}\n]\n',
]


def read(path: Path) -> tuple[list[dict[str, Any]], list[RejectReason]]:
    source = SourceMapping.model_validate({"name": "cdr", "path": "x", "format": "jsonl", **MAPPING})
    batches = list(read_source(path, source, TrunkFormats()))
    rejects = [reject.reason for batch in batches for reject in batch.rejected]
    return [call for batch in batches for call in batch.calls.to_pylist()], rejects


class TestObjects:
    @pytest.mark.parametrize("sample", SAMPLES, ids=["a line each", "an array"])
    def test_give_the_calls_that_the_mapping_says(self, tmp_path: Path, sample: bytes) -> None:
        calls, rejects = read(written(tmp_path, sample))
        assert len(calls) == 2
        assert all(call["called_in"].startswith("+120255501") for call in calls)
        assert {call["ingress_address"] for call in calls} in ({"192.0.2.7", None}, {"2001:db8::7", None})
        assert rejects == []

    @pytest.mark.parametrize("sample", SAMPLES, ids=["a line each", "an array"])
    def test_are_claimed_by_no_special_format(self, tmp_path: Path, sample: bytes) -> None:
        assert claimants(written(tmp_path, sample)) == ("jsonl",)

    def test_that_are_cut_off_are_rejects(self, tmp_path: Path) -> None:
        for sample in SAMPLES:
            calls, rejects = read(written(tmp_path, sample[:-20]))
            assert len(calls) == 1
            assert rejects == [RejectReason.MALFORMED_ROW]

    def test_of_something_else_are_rejects_and_no_calls(self, tmp_path: Path) -> None:
        for other in (b'{"fruit": "pear"}\n', b"pear,17\n"):
            calls, rejects = read(written(tmp_path, other))
            assert (calls, len(rejects)) == ([], 1)
