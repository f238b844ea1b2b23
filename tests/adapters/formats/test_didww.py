"""DIDWW's CSV exports: API 2017-09-18 and 2026. All is synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.adapters.formats.exports import calls_of, some, utc

OLD = (
    "Date/Time (UTC),Source,DID,Destination,Duration (secs),Disconnect Initiator,Disconnect Code,Response,"
    "TollFree Amount (USD),Customer ID\n"
    "2026-11-21 23:23:27,12025550199,12025550143,sip:test@example.com,0,Destination,404,Not Found,0.000,\n"
)
NEW = (
    "Date/Time Start (UTC),Date/Time Connect (UTC),Date/Time End (UTC),Status,Source Number,Destination DID,"
    "Duration (sec),Disconnect Code,Voice IN Trunk,Destination,Call ID\n"
    "2026-11-21 23:23:27,2026-11-21 23:23:34,2026-11-21 23:23:41,ok,12025550199,12025550143,7,200,t1,sip:a@b,x1\n"
)

SAMPLES: list[bytes] = [OLD.encode(), NEW.encode()]
MAPPING: dict[str, Any] = {}


def test_the_number_called_is_the_did_not_where_it_was_sent(tmp_path: Path) -> None:
    [old], [new] = calls_of(tmp_path, OLD, "didww"), calls_of(tmp_path, NEW, "didww")
    for call in (old, new):
        assert some(call, "called_in", "called_out", "calling") == ("+12025550143", None, "+12025550199")
        assert call["seizure_earliest"] == utc("2026-11-21 23:23:27")
    assert (old["disposition"], new["disposition"]) == ("failed", "answered")
    assert some(new, "answer", "call_id") == (utc("2026-11-21 23:23:34"), "x1")
