"""Telnyx's detail records (sip-trunking) and CDR reports. All is synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.adapters.formats.exports import NUMBERS, calls_of, read, some, utc
from tests.adapters.reading import written

RECORD: dict[str, Any] = {
    "record_type": "sip-trunking",
    "cli": "+12025550199",
    "cld": "+12025550143",
    "direction": "inbound",
    "started_at": "2026-11-21T23:23:27Z",
    "finished_at": "2026-11-21T23:23:41Z",
    "call_sec": 7,
    "connection_id": "123",
    "connection_name": "own-sbc",
    "sip_call_id": "1@example.net",
    "telnyx_session_id": "s-1",
}
REPORT = (
    "Direction,Originating Number,Terminating Number,Start Timestamp(UTC),Answer Timestamp(UTC),End Timestamp(UTC),"
    "Connection Name,Billing Group\n"
    "inbound,+12025550199,+12025550143,2026-11-21T23:23:27Z,2026-11-21T23:23:34Z,2026-11-21T23:23:41Z,own-sbc,\n"
)

SAMPLES: list[bytes] = [json.dumps({"data": [RECORD], "meta": {"page_number": 1}}).encode(), REPORT.encode()]
MAPPING: dict[str, Any] = {}


def test_a_detail_record_is_a_call(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, SAMPLES[0], "telnyx")
    assert some(call, *NUMBERS) == ("+12025550143", None, "+12025550199")
    assert some(call, "seizure_earliest", "release") == (utc("2026-11-21 23:23:27"), utc("2026-11-21 23:23:41"))
    assert some(call, "call_id", "leg") == ("s-1", "inbound")


def test_a_report_is_read_whatever_columns_were_chosen(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, REPORT, "telnyx")
    assert some(call, "called_in", "answer") == ("+12025550143", utc("2026-11-21 23:23:34"))
    few = "\n".join(",".join(line.split(",")[1:4]) for line in REPORT.splitlines())
    [same], _, _ = read(written(tmp_path, few), "telnyx")
    assert some(same, "called_in", "seizure_earliest") == some(call, "called_in", "seizure_earliest")


def test_a_report_whose_times_do_not_say_their_zone_needs_the_sources(tmp_path: Path) -> None:
    path = written(tmp_path, REPORT.replace("T", " ").replace("Z,", ",").replace(" imestamp", "Timestamp"))
    assert len(read(path, "telnyx")[1]) == 1
