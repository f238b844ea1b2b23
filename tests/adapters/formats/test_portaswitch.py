"""PortaBilling's xDR records after Appendix D of its manual (MR100) and its API. All is synthetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.adapters.formats.exports import NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import written

XDR: dict[str, Any] = {
    "i_xdr": 5,
    "account_id": "carrier-a",
    "CLI": "12025550199",
    "CLD": "12025550143",
    "charged_quantity": 7,
    "charged_amount": "0.01",
    "connect_time": "2026-11-21 18:23:34",
    "unix_connect_time": 1795303414,
    "disconnect_time": "2026-11-21 18:23:41",
    "unix_disconnect_time": 1795303421,
    "disconnect_cause": "16",
    "h323_conf_id": "AAAAAAAA BBBBBBBB CCCCCCCC DDDDDDDD",
    "bill_status": "O",
}
CSV = ";".join(XDR) + "\n" + ";".join(str(value) for value in XDR.values()) + "\n"

SAMPLES: list[bytes] = [json.dumps({"xdr_list": [XDR], "total": 1}).encode(), CSV.encode()]
MAPPING: dict[str, Any] = {}


def test_an_xdr_knows_when_the_call_was_answered(tmp_path: Path) -> None:
    for sample in SAMPLES:
        [call] = calls_of(tmp_path, sample, "portaswitch")
        assert some(call, *NUMBERS) == ("+12025550143", None, "+12025550199")
        assert some(call, "answer", "release") == (utc("2026-11-21 23:23:34"), utc("2026-11-21 23:23:41"))
        assert call["seizure_earliest"] < call["answer"]
        assert call["call_id"] == XDR["h323_conf_id"]


def test_the_charged_account_is_the_upstream_only_when_the_operator_vouches_for_it(tmp_path: Path) -> None:
    for sample in SAMPLES:
        path = written(tmp_path, sample)
        assert some(read(path, "portaswitch")[0][0], *UPSTREAM) == (None, None)
        [call], _, _ = read(path, "portaswitch", {"options": {"charged": "caller"}})
        assert some(call, *UPSTREAM) == ("carrier-a", None)


def test_written_times_need_the_sources_zone(tmp_path: Path) -> None:
    without = {name: value for name, value in XDR.items() if not name.startswith("unix")}
    path = written(tmp_path, json.dumps([without]))
    assert len(read(path, "portaswitch")[1]) == 1
    [call], _, _ = read(path, "portaswitch", {"zone": "America/New_York"})
    assert call["answer"] == utc("2026-11-21 23:23:34")
