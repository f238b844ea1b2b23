"""VOS3000's e_cdr tables and web API: column names as in the database of 2.1.x. All is synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.formats.exports import DOWNSTREAM, NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import written

COLUMNS = {
    "callere164": "12025550199",
    "calleraccesse164": "2025550199",
    "calleee164": "12025550143",
    "calleeaccesse164": "12025550143",
    "callerip": "198.51.100.20",
    "callergatewayid": "GW-IN",
    "callertogatewaye164": "12025550199",
    "calleeip": "203.0.113.5",
    "calleegatewayid": "GW-OUT",
    "calleetogatewaye164": "+12025550143",
    "starttime": "1795303407250",
    "stoptime": "1795303421000",
    "holdtime": "7",
    "endreason": "-9",
    "flowno": "88",
    "softswitchcallid": "c1",
}
API = {
    "flowNo": 88,
    "callerE164": "12025550199",
    "callerAccessE164": "2025550199",
    "calleeE164": "12025550143",
    "calleeAccessE164": "12025550143",
    "calleeGateway": "GW-OUT",
    "start": 1795303407250,
    "stop": 1795303421000,
    "holdTime": 0,
}


def table(values: dict[str, str], delimiter: str = ",") -> str:
    return delimiter.join(values) + "\n" + delimiter.join(values.values()) + "\n"


SAMPLES: list[bytes] = [table(COLUMNS).encode(), json.dumps({"retCode": 0, "infoCdrs": [API]}).encode()]
MAPPING: dict[str, Any] = {}


def test_a_row_of_the_table_has_both_sides(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, SAMPLES[0], "vos3000")
    assert some(call, *NUMBERS) == ("+12025550143", "+12025550143", "+12025550199")
    assert some(call, *UPSTREAM) == ("GW-IN", "198.51.100.20")
    assert some(call, *DOWNSTREAM) == ("GW-OUT", "203.0.113.5")
    assert some(call, "seizure_earliest", "release") == (utc("2026-11-21 23:23:27.250"), utc("2026-11-21 23:23:41"))
    assert some(call, "call_id", "disposition") == ("c1", "answered")


def test_the_api_without_the_callers_gateway_has_no_upstream(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, SAMPLES[1], "vos3000")
    assert some(call, *UPSTREAM, "egress_trunk") == (None, None, "GW-OUT")
    assert some(call, "called_in", "disposition") == ("+12025550143", "unanswered")
    assert call["seizure_earliest"] == utc("2026-11-21 23:23:27.250")


def test_a_technical_prefix_is_taken_off_by_the_mapping_and_never_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, table({**COLUMNS, "calleeaccesse164": "9912025550143", "calleetogatewaye164": ""}, "\t"))
    assert read(path, "vos3000")[0] == []
    columns = {
        "called_in": {"column": "calleeaccesse164", "format": "tech:99:11d"},
        "seizure": {"column": "starttime", "format": "epoch_ms"},
    }
    [call], _, _ = read(path, "vos3000", {"columns": columns})
    assert call["called_in"] == "+12025550143"


@pytest.mark.parametrize("time", ["2026-11-21 18:23:27", "1795303407"])
def test_a_time_in_another_notation_is_read_by_zone_or_rejected(tmp_path: Path, time: str) -> None:
    path = written(tmp_path, table({**COLUMNS, "starttime": time}))
    assert len(read(path, "vos3000")[1]) == 1
    calls, rejected, _ = read(path, "vos3000", {"zone": "America/New_York"})
    if "-" in time:
        assert calls[0]["seizure_earliest"] == utc("2026-11-21 23:23:27")
    else:
        assert "check the unit" in rejected[0].detail
