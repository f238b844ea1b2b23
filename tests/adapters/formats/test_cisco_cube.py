"""Cisco file accounting after "CDR Accounting for Cisco IOS Voice Gateways". All is synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats.cisco_cube import NAMES
from tests.adapters.formats.exports import DOWNSTREAM, NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import raw_rows, written

VALUES = {
    "unix_time": "1795303421",
    "call-id": "4320",
    "cdr-type": "1",
    "leg-type": "2",
    "h323-conf-id": "CA615B46 D96B11E2 8F499C9C 52CD806F",
    "peer-address": "8809",
    "h323-setup-time": "*15:23:27.250 PST Sat Nov 21 2026",
    "h323-connect-time": ".15:23:34.000 PST Sat Nov 21 2026",
    "h323-disconnect-time": "15:23:41.000 PST Sat Nov 21 2026",
    "h323-disconnect-cause": "10",
    "disconnect-text": '"normal call clearing (16)"',
    "h323-call-origin": "answer",
    "clid": "2025550199",
    "dnis": "12025550143",
}
DETAIL = {"peer-id": "100", "remote-media-address": "198.51.100.99", "in-trunkgroup-label": "TG-IN"}


def detailed(**values: str) -> str:
    columns = {**VALUES, **DETAIL, **{name.replace("_", "-"): value for name, value in values.items()}}
    return ",".join(columns.get(name, "") for name in NAMES) + "," * 18


def compact(origin: str) -> str:
    row = {**VALUES, "h323-call-origin": origin}
    # twelve fields for features follow, whatever the template
    feature = ["fn:TWC", "ft:06/21/2026 05:39:35.466", "", "12025550188", "frs:0", *[""] * 7]
    return ",".join((*(row.get(name, "") for name in NAMES[:23]), *feature))


SAMPLES: list[bytes] = [
    f"{detailed()}\n{detailed(h323_call_origin='originate', peer_id='200', in_trunkgroup_label='')}\n".encode(),
    f"{compact('answer')}\n{compact('originate')}\n".encode(),
]
MAPPING: dict[str, Any] = {}


class TestALeg:
    def test_that_came_in_tells_the_upstream(self, tmp_path: Path) -> None:
        incoming, outgoing = calls_of(tmp_path, SAMPLES[0], "cisco_cube")
        assert some(incoming, *NUMBERS) == ("+12025550143", None, "+12025550199")
        assert some(incoming, *UPSTREAM, *DOWNSTREAM) == ("TG-IN", None, None, None)
        assert some(outgoing, *NUMBERS) == (None, "+12025550143", "+12025550199")
        assert some(outgoing, *UPSTREAM, *DOWNSTREAM) == (None, None, "200", None)
        assert incoming["call_id"] == outgoing["call_id"] == VALUES["h323-conf-id"]
        assert (incoming["leg"], outgoing["leg"]) == ("answer", "originate")

    def test_without_a_trunk_group_came_in_by_its_dial_peer(self, tmp_path: Path) -> None:
        [call] = calls_of(tmp_path, detailed(in_trunkgroup_label=""), "cisco_cube")
        assert some(call, *UPSTREAM) == ("100", None)

    def test_of_the_compact_template_names_no_upstream(self, tmp_path: Path) -> None:
        incoming, outgoing = calls_of(tmp_path, SAMPLES[1], "cisco_cube")
        for call in (incoming, outgoing):
            assert some(call, *UPSTREAM, *DOWNSTREAM) == (None, None, None, None)
        assert some(incoming, "called_in", "called_out") == ("+12025550143", None)

    def test_has_times_with_marks_of_the_clock_and_a_zone(self, tmp_path: Path) -> None:
        [call] = calls_of(tmp_path, detailed(), "cisco_cube")
        assert some(call, "seizure_earliest", "answer", "release") == (
            utc("2026-11-21 23:23:27.250"),
            utc("2026-11-21 23:23:34"),
            utc("2026-11-21 23:23:41"),
        )

    def test_in_a_zone_with_two_meanings_needs_the_mapping(self, tmp_path: Path) -> None:
        path = written(tmp_path, detailed(h323_setup_time="15:23:27.250 EET Sat Nov 21 2026"))
        calls, [reject], _ = read(path, "cisco_cube")
        assert (calls, "set abbreviations" in reject.detail) == ([], True)


class TestARow:
    @pytest.mark.parametrize(
        ("broken", "detail"),
        [
            ({"unix_time": "now"}, "no system time and leg type"),
            ({"leg_type": "9"}, "no system time and leg type"),
            ({"h323_setup_time": "12025550143"}, "no setup time in column 8"),
            ({"h323_call_origin": "7"}, "no call origin in column 14"),
        ],
    )
    def test_of_another_layout_is_rejected(self, tmp_path: Path, broken: dict[str, str], detail: str) -> None:
        name = next(iter(broken)).replace("_", "-") if "unix_time" not in broken else "unix_time"
        text = detailed()
        values = text.split(",")
        values[NAMES.index(name)] = next(iter(broken.values()))
        rows, [reject], _ = raw_rows(written(tmp_path, ",".join(values)), "cisco_cube")
        assert rows == []
        assert reject.detail.startswith(detail)

    def test_too_short_for_either_template_is_rejected(self, tmp_path: Path) -> None:
        rows, [reject], _ = raw_rows(written(tmp_path, "1795303421,4320,1,2"), "cisco_cube")
        assert (rows, reject.detail) == ([], "4 values instead of 23 at least")
