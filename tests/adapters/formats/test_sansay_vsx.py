"""Sansay VSX records after the vendor's layout (VSXi CDR Specification; CDR Interface 1.15). All is synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats.sansay_vsx import NAMES
from tests.adapters.formats.exports import DOWNSTREAM, NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import written


def row(**values: str) -> str:
    fields = {
        "Record Sequence Number": "002452502",
        "Version Number": "V1.15",
        "Record Type": "R",
        "Connection Type": "WithMedia",
        "Session ID": "181-1071459514@198.51.100.30",
        "Release Cause": "0001",
        "Start Time of Date": "Sat Nov 21 15:23:27 2026",
        "Answer Time of Date": "Sat Nov 21 15:23:34 2026",
        "Release Time of Date": "Sat Nov 21 15:23:41 2026",
        "Minutes West of Greenwich Mean Time": "480",
        "Release Cause from Protocol Stack": 'say "BYE"',
        "First Release Dialog": "T",
        "Origination Trunk ID": "000200",
        "Origination Source Number": "2025550199",
        "Origination Source Host Name": "198.51.100.20",
        "Origination Destination Number": "12025550143",
        "Origination Destination Host Name": "198.51.100.30",
        "Termination Trunk ID": "000300",
        "Termination Source Host Name": "198.51.100.31",
        "Termination Destination Number": "+12025550143",
        "Termination Destination Host Name": "203.0.113.5",
        "Final Route Indication": "F",
    }
    unknown = set(values) - set(NAMES)
    assert not unknown
    return ";".join({**fields, **values}.get(name, "") for name in NAMES)


SAMPLES: list[bytes] = [
    "\n".join(
        (
            row(),
            row(**{"Final Route Indication": "I", "Release Cause": "0405", "Termination Trunk ID": "000299"}),
            "002452503;V1.15;A;audit",
            row(**{"Release Cause": "0002", "Answer Time of Date": "Wed Dec 31 16:00:00 1969"}),
            "",
        )
    ).encode()
]
MAPPING: dict[str, Any] = {}


class TestACall:
    def test_has_both_sides_and_times_in_utc_by_its_own_minutes(self, tmp_path: Path) -> None:
        [call] = calls_of(tmp_path, row() + "\n", "sansay_vsx")
        assert some(call, *NUMBERS) == ("+12025550143", "+12025550143", "+12025550199")
        assert some(call, *UPSTREAM) == ("000200", "198.51.100.20")
        assert some(call, *DOWNSTREAM) == ("000300", "203.0.113.5")
        assert some(call, "seizure_earliest", "answer", "release") == (
            utc("2026-11-21 23:23:27"),
            utc("2026-11-21 23:23:34"),
            utc("2026-11-21 23:23:41"),
        )
        assert some(call, "call_id", "disposition") == ("181-1071459514@198.51.100.30", "answered")

    def test_in_summer_is_as_far_west_as_its_row_says(self, tmp_path: Path) -> None:
        text = row(**{"Start Time of Date": "Thu Jul  9 16:23:27 2026", "Minutes West of Greenwich Mean Time": "420"})
        [call] = calls_of(tmp_path, text, "sansay_vsx")
        assert call["seizure_earliest"] == utc("2026-07-09 23:23:27")

    def test_east_of_greenwich_has_negative_minutes(self, tmp_path: Path) -> None:
        [call] = calls_of(tmp_path, row(**{"Minutes West of Greenwich Mean Time": "-120"}), "sansay_vsx")
        assert call["seizure_earliest"] == utc("2026-11-21 13:23:27")

    @pytest.mark.parametrize(
        ("mark", "cause", "disposition"),
        [
            ("F", "0001", "answered"),
            ("F", "0002", "unanswered"),
            ("F", "4", "unanswered"),
            ("F", "0402", "failed"),
            ("I", "0405", "route-advanced"),
            ("I", "0001", "route-advanced"),
        ],
    )
    def test_says_how_it_ended(self, tmp_path: Path, mark: str, cause: str, disposition: str) -> None:
        text = row(**{"Final Route Indication": mark, "Release Cause": cause})
        assert calls_of(tmp_path, text, "sansay_vsx")[0]["disposition"] == disposition

    def test_that_was_never_answered_has_no_answer_time(self, tmp_path: Path) -> None:
        text = row(**{"Answer Time of Date": "Wed Dec 31 16:00:00 1969", "Release Cause": "0003"})
        assert calls_of(tmp_path, text, "sansay_vsx")[0]["answer"] is None

    def test_from_a_host_name_has_its_trunk_and_no_address(self, tmp_path: Path) -> None:
        text = row(**{"Origination Source Host Name": "sbc.example.net"})
        assert some(calls_of(tmp_path, text, "sansay_vsx")[0], *UPSTREAM) == ("000200", None)


class TestRows:
    def test_of_an_audit_are_skipped(self, tmp_path: Path) -> None:
        calls, rejected, skipped = read(written(tmp_path, SAMPLES[0]), "sansay_vsx")
        assert (len(calls), rejected, skipped) == (3, [], 1)

    @pytest.mark.parametrize(
        ("broken", "detail"),
        [
            ({"Record Type": "X"}, "version and record type don't stand in columns 2 and 3"),
            ({"Start Time of Date": "1795303407"}, "no start time in column 7"),
            ({"Minutes West of Greenwich Mean Time": "PST"}, "no minutes west of Greenwich in column 10"),
            ({"Final Route Indication": "9001"}, "no mark of the attempt (F or I) in column 52"),
        ],
    )
    def test_of_another_layout_are_rejected_with_what_to_do(
        self, tmp_path: Path, broken: dict[str, str], detail: str
    ) -> None:
        calls, [reject], _ = read(written(tmp_path, row(**broken)), "sansay_vsx")
        assert calls == []
        assert reject.detail == f"{detail}: give this release's columns with the option names"

    def test_of_another_layout_are_read_by_names(self, tmp_path: Path) -> None:
        names = ["Node", *NAMES]
        calls, rejected, _ = read(written(tmp_path, "vsx1;" + row()), "sansay_vsx", {"options": {"names": names}})
        assert (calls[0]["ingress_trunk"], rejected) == ("000200", [])
