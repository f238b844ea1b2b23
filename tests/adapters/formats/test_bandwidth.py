"""Bandwidth's billing detail records and Insights calls, after their descriptions. All is synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.adapters.formats.exports import NUMBERS, calls_of, some, utc

BDR = (
    "AccountNumber,CallStartDateTime,CallEndDateTime,CallType,CallSource,CallDestination,Duration,PerMinRate,CallID,"
    "BdrID,SourceIP,DestinationIP,LRN\n"
    "1234567,2026/11/21 11:23:34 PM,2026/11/21 11:23:41 PM,INTERSTATE,12025550199,2025550143,12,0.0115,58,59,"
    "198.51.100.20,203.0.113.5,12025550100\n"
)
CALL: dict[str, Any] = {
    "callId": "c-1",
    "startTime": "2026-11-21T23:23:27Z",
    "endTime": "2026-11-21T23:23:41Z",
    "duration": 7,
    "callingNumber": "+12025550199",
    "calledNumber": "+12025550143",
    "callDirection": "inbound",
    "callResult": "completed",
    "sipResponseCode": "200",
    "subAccountName": "Default",
    "attestationIndicator": "A",
}

SAMPLES: list[bytes] = [BDR.encode(), json.dumps({"data": {"totalCount": 1, "calls": [CALL]}}).encode()]
MAPPING: dict[str, Any] = {}


def test_a_billed_calls_time_is_taken_as_its_answer_in_utc(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, BDR, "bandwidth")
    assert some(call, *NUMBERS) == ("+12025550143", None, "+12025550199")
    assert call["answer"] == utc("2026-11-21 23:23:34")
    assert call["seizure_earliest"] == utc("2026-11-21 23:20:34")
    assert call["seizure_latest"] == utc("2026-11-21 23:23:35")


def test_an_insights_call_has_its_start_and_attestation(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, SAMPLES[1], "bandwidth")
    assert some(call, "seizure_earliest", "attestation", "disposition", "call_id", "leg") == (
        utc("2026-11-21 23:23:27"),
        "A",
        "answered",
        "c-1",
        "inbound",
    )
