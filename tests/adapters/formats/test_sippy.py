"""Sippy's cdrs table and API after its description (getAccountCDRs, cdrs). All is synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants
from cdr_adapters.raw import AdapterError
from tests.adapters.formats.exports import DOWNSTREAM, NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import written

API = {
    "i_cdr": 77,
    "i_call": 5,
    "i_account": 12,
    "cli": "+12025550199",
    "cld": "12025550143",
    "cli_in": "2025550199",
    "cld_in": "0112025550143",
    "setup_time": "23:23:27.250 GMT Sat Nov 21 2026",
    "connect_time": "23:23:34.000 GMT Sat Nov 21 2026",
    "disconnect_time": "23:23:41.000 GMT Sat Nov 21 2026",
    "billed_duration": 7,
    "result": 0,
    "remote_ip": "198.51.100.20",
}
TABLE = (
    "i_cdr,i_call,i_account,result,cld,cli,cld_in,cli_in,setup_time,connect_time,disconnect_time,remote_ip\n"
    "77,5,12,-16,12025550143,+12025550199,2025550143,2025550199,2026-11-21 23:23:27.25+00,,2026-11-21 23:23:41+00,"
    "198.51.100.20\n"
)

SAMPLES: list[bytes] = [
    json.dumps({"result": "OK", "cdrs": [{**API, "cld_in": "2025550143"}]}).encode(),
    TABLE.encode(),
]
MAPPING: dict[str, Any] = {}


def test_a_call_has_the_number_as_received_and_as_sent(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, SAMPLES[0], "sippy")
    assert some(call, *NUMBERS) == ("+12025550143", "+12025550143", "+12025550199")
    assert some(call, *UPSTREAM, *DOWNSTREAM) == ("12", "198.51.100.20", None, None)
    assert some(call, "seizure_earliest", "answer") == (utc("2026-11-21 23:23:27.250"), utc("2026-11-21 23:23:34"))
    assert some(call, "call_id", "disposition") == ("5", "answered")


def test_the_table_is_read_the_same_in_any_order_and_spelling(tmp_path: Path) -> None:
    header, row = TABLE.splitlines()
    [call] = calls_of(tmp_path, TABLE, "sippy")
    assert some(call, "seizure_earliest", "disposition", "answer") == (
        utc("2026-11-21 23:23:27.250"),
        "unanswered",
        None,
    )
    turned = ";".join(reversed(header.upper().replace("_", " ").split(","))) + "\n"
    turned += ";".join(reversed(row.split(","))) + "\n"
    assert calls_of(tmp_path, turned, "sippy") == [call]


@pytest.mark.parametrize(("result", "disposition"), [("-17", "unanswered"), ("-34", "failed"), ("21", "failed")])
def test_the_result_says_how_it_ended(tmp_path: Path, result: str, disposition: str) -> None:
    [call] = calls_of(tmp_path, TABLE.replace(",-16,", f",{result},"), "sippy")
    assert call["disposition"] == disposition


def test_a_number_that_is_none_rejects_its_row(tmp_path: Path) -> None:
    calls, [reject], _ = read(written(tmp_path, json.dumps({**API, "cld_in": "abc"})), "sippy")
    assert (calls, reject.row) == ([], 1)


def test_a_time_without_zone_needs_the_sources(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE.replace("+00", ""))
    calls, [reject], _ = read(path, "sippy")
    assert (calls, "set zone" in reject.detail) == ([], True)
    assert read(path, "sippy", {"zone": "UTC"})[0][0]["seizure_earliest"] == utc("2026-11-21 23:23:27.250")


def test_a_leg_to_a_vendor_is_refused_for_its_address_is_downstream(tmp_path: Path) -> None:
    for text in (TABLE.replace("i_account", "i_connection"), json.dumps({**API, "i_connection": 3})):
        path = written(tmp_path, text)
        assert claimants(path) == ("sippy",)
        with pytest.raises(AdapterError, match="downstream; give the table cdrs"):
            read(path, "sippy")
