"""NetSapiens' CDR fields after "CDR Field Mappings" (docs.ns-api.com, v44): API v2 and v1. All is synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.adapters.formats.exports import DOWNSTREAM, NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import written

V2 = {
    "domain": "example.net",
    "call-start-datetime": "2026-11-21T23:23:27+00:00",
    "call-answer-datetime": "2026-11-21T23:23:34+00:00",
    "call-disconnect-datetime": "2026-11-21T23:23:41+00:00",
    "call-orig-call-id": "0_1@198.51.100.20",
    "call-orig-ip-address": "198.51.100.20",
    "call-orig-match-uri": "sip:*@198.51.100.20",
    "call-orig-from-user": "2025550199",
    "call-orig-request-user": "12025550143",
    "call-term-to-uri": "sip:+12025550143@203.0.113.5",
    "call-term-ip-address": "203.0.113.5",
    "call-term-match-uri": "sip:*@203.0.113.5",
}
V1 = (
    "time_start,time_answer,time_release,orig_callid,orig_ip,orig_match,orig_from_user,orig_req_user,term_to_uri,"
    "term_ip,term_match\n"
    "1795303407,1795303414,1795303421,0_1@198.51.100.20,198.51.100.20,sip:*@198.51.100.20,2025550199,12025550143,"
    "sip:+12025550143@203.0.113.5,203.0.113.5,sip:*@203.0.113.5\n"
)

SAMPLES: list[bytes] = [json.dumps([V2]).encode(), V1.encode()]
MAPPING: dict[str, Any] = {}


def test_both_versions_tell_the_same_call(tmp_path: Path) -> None:
    [new], [old] = (calls_of(tmp_path, sample, "netsapiens") for sample in SAMPLES)
    assert {**new, "row": 0} == {**old, "row": 0}
    assert some(new, *NUMBERS) == ("+12025550143", "+12025550143", "+12025550199")
    assert some(new, *UPSTREAM) == ("sip:*@198.51.100.20", "198.51.100.20")
    assert some(new, *DOWNSTREAM) == ("sip:*@203.0.113.5", "203.0.113.5")
    assert some(new, "seizure_earliest", "answer") == (utc("2026-11-21 23:23:27"), utc("2026-11-21 23:23:34"))


def test_a_table_of_version_2_is_read_like_its_json(tmp_path: Path) -> None:
    text = ",".join(name.replace("-", "_") for name in V2) + "\n" + ",".join(V2.values()) + "\n"
    [call], [same] = calls_of(tmp_path, text, "netsapiens"), calls_of(tmp_path, SAMPLES[0], "netsapiens")
    assert {**call, "row": 0} == {**same, "row": 0}


def test_times_without_zone_need_the_sources(tmp_path: Path) -> None:
    path = written(tmp_path, V1.replace("1795303407", "2026-11-21 23:23:27").replace("1795303414", ""))
    calls, [reject], _ = read(path, "netsapiens")
    assert (calls, "set zone" in reject.detail) == ([], True)
    assert read(path, "netsapiens", {"zone": "UTC"})[0][0]["seizure_earliest"] == utc("2026-11-21 23:23:27")
