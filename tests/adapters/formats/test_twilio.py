"""Twilio's Call resource (API 2010-04-01): JSON pages and CSV. All is synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.formats.exports import NUMBERS, calls_of, read, some, utc
from tests.adapters.reading import written

CALL: dict[str, Any] = {
    "sid": "CAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "parent_call_sid": None,
    "account_sid": "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "date_created": "Sat, 21 Nov 2026 23:23:26 +0000",
    "from": "+12025550199",
    "to": "+12025550143",
    "trunk_sid": "TKaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "direction": "inbound",
    "status": "completed",
    "start_time": "Sat, 21 Nov 2026 23:23:27 +0000",
    "end_time": "Sat, 21 Nov 2026 23:23:41 +0000",
    "duration": "7",
    "price": None,
    "subresource_uris": {"notifications": "/x"},
}
CHILD = {**CALL, "sid": "CAb", "parent_call_sid": CALL["sid"], "direction": "outbound-dial", "to": "+12025550144"}
CSV = (
    '"Call Sid","From","To","Direction","Status","Start Time","End Time","Duration","Price"\n'
    '"CAa","+12025550199","+12025550143","inbound","no-answer","2026-11-21T23:23:27Z","2026-11-21T23:23:41Z","0",""\n'
)

SAMPLES: list[bytes] = [json.dumps({"page": 0, "calls": [CALL, CHILD]}, indent=4).encode(), CSV.encode()]
MAPPING: dict[str, Any] = {}


def test_a_call_and_the_leg_that_it_made_share_their_id(tmp_path: Path) -> None:
    parent, child = calls_of(tmp_path, SAMPLES[0], "twilio")
    assert some(parent, *NUMBERS) == ("+12025550143", None, "+12025550199")
    assert some(parent, "seizure_earliest", "release") == (utc("2026-11-21 23:23:27"), utc("2026-11-21 23:23:41"))
    assert some(parent, "leg", "disposition") == ("inbound", "answered")
    assert parent["call_id"] == child["call_id"] == CALL["sid"]
    assert child["leg"] == "outbound-dial"


def test_the_consoles_table_is_read_too(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, SAMPLES[1], "twilio")
    assert some(call, "called_in", "disposition", "call_id") == ("+12025550143", "unanswered", "CAa")
    assert call["seizure_earliest"] == utc("2026-11-21 23:23:27")


def test_a_call_that_was_never_dialled_has_the_time_when_it_was_made(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, json.dumps({"calls": [{**CALL, "start_time": None, "status": "failed"}]}), "twilio")
    assert some(call, "seizure_earliest", "disposition") == (utc("2026-11-21 23:23:26"), "failed")


@pytest.mark.parametrize("called", ["client:alice", "sip:alice@example.net"])
def test_a_call_to_no_number_is_rejected(tmp_path: Path, called: str) -> None:
    calls, rejected, _ = read(written(tmp_path, json.dumps({"calls": [{**CALL, "to": called}]})), "twilio")
    assert (calls, [reject.row for reject in rejected]) == ([], [1])
