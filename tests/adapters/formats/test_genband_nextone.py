"""GENBAND Q20 and NexTone MSX CDRs, after the field list of 'Accounting - Q-SBC CDR' (SBC Core 10.0).

All is synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats.genband_nextone import NAMES
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected
from cdr_adapters.stream import read_head
from tests.adapters.reading import raw_rows, written

VALUES = {
    "start_time": "2026-11-20 18:57:52",
    "start_time_epoch": "1795201072",
    "call_duration": "000:00:30",
    "call_source": "203.0.113.20",
    "call_dest": "192.0.2.30",
    "called_party_on_dest": "12025550143",
    "called_party_from_src": "2025550143",
    "call_type": "IV",
    "call_id": "in-1@203.0.113.20",
    "call_hold_time": "000:00:05",
    "call_source_regid": "carrier-a",
    "call_dest_regid": "carrier-b",
    "isdn_cause_code": "16",
    "ani": "2025550199",
    "call_duration_s": "30",
    "protocol": "sip",
    "cdr_type": "end1",
    "caller_trunk_group": "tg-a",
    "msw_id": "msx1",
}


def line(**changes: str) -> str:
    """One record."""
    return ";".join({**VALUES, **changes}.get(name, "") for name in NAMES)


CHECKSUM = "0123456789abcdef0123456789abcdef"
SAMPLES: list[bytes] = [f"{line(cdr_type='start1')}\n{line()}\n{line(cdr_type='end2')}\n{CHECKSUM}\n".encode()]
MAPPING: dict[str, Any] = {}


def calls(path: Path, **keys: Any) -> tuple[list[dict[str, Any]], list[Rejected], int]:
    mapping = SourceMapping.model_validate({"name": "msx", "path": "x", "format": "genband_nextone", **keys})
    found = list(read_source(path, mapping, TrunkFormats()))
    return (
        [call for batch in found for call in batch.calls.to_pylist()],
        [reject for batch in found for reject in batch.rejected],
        sum(batch.skipped for batch in found),
    )


class TestARecord:
    def test_of_the_leg_that_came_in_names_the_upstream(self, tmp_path: Path) -> None:
        [call], rejected, _ = calls(written(tmp_path, line() + "\n"))
        assert not rejected
        expected = {
            "called_in": "+12025550143",
            "called_out": "+12025550143",
            "calling": "+12025550199",
            "ingress_trunk": "carrier-a",
            "ingress_address": "203.0.113.20",
            "egress_trunk": "carrier-b",
            "egress_address": "192.0.2.30",
            "call_id": "in-1@203.0.113.20",
            "leg": "ingress",
            "disposition": "answered",
        }
        assert {name: call[name] for name in expected} == expected
        assert call["seizure_earliest"].isoformat() == "2026-11-20T18:57:52+00:00"

    def test_of_the_leg_that_went_out_is_left_out(self, tmp_path: Path) -> None:
        """Its source is the device itself."""
        text = "\n".join(line(cdr_type=kind, call_source="198.51.100.1") for kind in ("start2", "end2"))
        assert calls(written(tmp_path, text)) == ([], [], 2)

    def test_without_a_registered_source_has_its_trunk_group(self, tmp_path: Path) -> None:
        [call], _, _ = calls(written(tmp_path, line(call_source_regid="")))
        assert call["ingress_trunk"] == "tg-a"

    @pytest.mark.parametrize(
        ("seconds", "cause", "outcome"),
        [
            ("30", "16", "answered"),
            ("0", "16", "unanswered"),
            ("0", "17", "unanswered"),
            ("0", "34", "failed"),
            ("0", "", None),
            ("", "16", None),
            ("00", "19", "unanswered"),
        ],
    )
    def test_ended_as_duration_and_cause_say(
        self, tmp_path: Path, seconds: str, cause: str, outcome: str | None
    ) -> None:
        [call], _, _ = calls(written(tmp_path, line(call_duration_s=seconds, isdn_cause_code=cause)))
        assert call["disposition"] == outcome


class TestPositions:
    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"cdr_type": "start3"}, "column 39 is no type of record"),
            ({"start_time_epoch": "2026-11-20"}, "column 2 is no epoch time"),
            ({"start_time_epoch": "¹²³⁴⁵⁶⁷⁸⁹⁰"}, "column 2 is no epoch time"),
            ({"call_source": "msx1"}, "column 4 is no address"),
        ],
    )
    def test_that_do_not_fit_are_refused_with_what_to_do(
        self, tmp_path: Path, changes: dict[str, str], problem: str
    ) -> None:
        found, [reject], _ = calls(written(tmp_path, f"{line(**changes)}\n"))
        assert not found
        assert problem in reject.detail
        assert "options.names" in reject.detail

    def test_a_column_more_is_refused(self, tmp_path: Path) -> None:
        found, rejected, _ = calls(written(tmp_path, "x;" + line()))
        assert (found, len(rejected)) == ([], 1)

    def test_may_be_given(self, tmp_path: Path) -> None:
        [call], _, _ = calls(written(tmp_path, "x;" + line()), options={"names": ["x", *NAMES]})
        assert call["ingress_address"] == "203.0.113.20"

    def test_must_have_what_proves_a_record(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="lacks 'cdr_type'"):
            raw_rows(written(tmp_path, line()), "genband_nextone", {"names": ["a", "b"]})

    def test_a_later_release_may_append_columns(self, tmp_path: Path) -> None:
        rows, _, _ = raw_rows(written(tmp_path, line() + ";new"), "genband_nextone", columns=frozenset({"50", "ani"}))
        assert rows[0][1] == {"50": "new", "ani": "2025550199"}

    def test_checksum_and_remarks_are_skipped(self, tmp_path: Path) -> None:
        text = f"# file 1\n{line()}\n{CHECKSUM}\nrubbish\n"
        found, [reject], skipped = calls(written(tmp_path, text))
        assert (len(found), reject.row, skipped) == (1, 4, 2)


class TestIdentify:
    def test_claims_its_own(self, tmp_path: Path) -> None:
        assert adapter("genband_nextone").identify(read_head(written(tmp_path, SAMPLES[0])))

    @pytest.mark.parametrize("text", ["a;b;c\n1;2;3\n", ";" * 60 + "\n", f"{CHECKSUM}\n", "start1\n"])
    def test_leaves_others_alone(self, tmp_path: Path, text: str) -> None:
        assert not adapter("genband_nextone").identify(read_head(written(tmp_path, text)))
