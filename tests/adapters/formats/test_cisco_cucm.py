"""CUCM CDR and CMR files after the "Call Detail Records Administration Guide". Synthetic, and one reduced file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import identify
from cdr_adapters.raw import AdapterError
from tests.adapters.formats.exports import DOWNSTREAM, NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

COLUMNS = {
    "cdrRecordType": ("INTEGER", "1"),
    "globalCallID_callManagerId": ("INTEGER", "1"),
    "globalCallID_callId": ("INTEGER", "5001"),
    "origLegCallIdentifier": ("INTEGER", "111"),
    "dateTimeOrigination": ("INTEGER", "1795303407"),
    "origIpAddr": ("INTEGER", "342111174"),
    "callingPartyNumber": ("VARCHAR(50)", '"2025550199"'),
    "originalCalledPartyNumber": ("VARCHAR(50)", '"12025550143"'),
    "finalCalledPartyNumber": ("VARCHAR(50)", '"12025550143"'),
    "finalCalledPartyNumberPartition": ("VARCHAR(50)", '"PSTN, all"'),
    "destIpAddr": ("INTEGER", "93372619"),
    "dateTimeConnect": ("INTEGER", "1795303414"),
    "dateTimeDisconnect": ("INTEGER", "1795303421"),
    "origDeviceName": ("VARCHAR(129)", '"SIP-TRUNK-IN"'),
    "destDeviceName": ("VARCHAR(129)", '"SIP-TRUNK-OUT"'),
    "globalCallId_ClusterID": ("VARCHAR(50)", '"StandAloneCluster"'),
    "duration": ("INTEGER", "7"),
}
Column = tuple[str, tuple[str, str]]


def address(text: str) -> str:
    """An IPv4 address as CUCM writes it: a signed integer, lowest byte first."""
    return str(int.from_bytes(bytes(map(int, text.split("."))), "little", signed=True))


def table(columns: list[Column], *rows: dict[str, str], types: bool = True) -> str:
    lines = [",".join(f'"{name}"' for name, _ in columns)]
    lines += [",".join(kind for _, (kind, _) in columns)] if types else []
    lines += [",".join(row.get(name, value) for name, (_, value) in columns) for row in rows or ({},)]
    return "\n".join(lines) + "\n"


CALL = {"origIpAddr": address("198.51.100.20"), "destIpAddr": address("203.0.113.205")}
SAMPLES: list[bytes] = [table(list(COLUMNS.items()), CALL, {**CALL, "dateTimeConnect": "0"}).encode()]
MAPPING: dict[str, Any] = {}


class TestACall:
    def test_is_read_by_the_names_of_its_columns(self, tmp_path: Path) -> None:
        [call] = calls_of(tmp_path, table(list(COLUMNS.items()), CALL), "cisco_cucm")
        assert some(call, *NUMBERS) == ("+12025550143", "+12025550143", "+12025550199")
        assert some(call, *UPSTREAM) == ("SIP-TRUNK-IN", "198.51.100.20")
        assert some(call, *DOWNSTREAM) == ("SIP-TRUNK-OUT", "203.0.113.205")
        assert some(call, "seizure_earliest", "answer", "release") == (
            utc("2026-11-21 23:23:27"),
            utc("2026-11-21 23:23:34"),
            utc("2026-11-21 23:23:41"),
        )
        assert some(call, "call_id", "disposition") == ("1:5001:StandAloneCluster", "answered")

    def test_is_the_same_in_any_order_of_columns(self, tmp_path: Path) -> None:
        [expected] = calls_of(tmp_path, table(list(COLUMNS.items()), CALL), "cisco_cucm")
        columns = [*COLUMNS.items(), ("aLaterReleasesColumn", ("INTEGER", "3"))]
        for seed in range(3):
            random.Random(seed).shuffle(columns)
            assert calls_of(tmp_path, table(columns, CALL), "cisco_cucm") == [expected]

    def test_has_its_address_as_text_where_the_release_writes_it(self, tmp_path: Path) -> None:
        columns = [*COLUMNS.items(), ("origIpv4v6Addr", ("VARCHAR(64)", '"2001:db8::20"'))]
        [call] = calls_of(tmp_path, table(columns, CALL), "cisco_cucm")
        assert call["ingress_address"] == "2001:db8::20"
        columns[-1] = ("origIpv4v6Addr", ("VARCHAR(64)", '""'))
        [call] = calls_of(tmp_path, table(columns, CALL), "cisco_cucm")
        assert call["ingress_address"] == "198.51.100.20"

    @pytest.mark.parametrize("text", ["198.51.100.20", "10.0.0.5", "203.0.113.205"])
    def test_has_an_address_that_was_a_signed_integer(self, tmp_path: Path, text: str) -> None:
        [call] = calls_of(tmp_path, table(list(COLUMNS.items()), {"origIpAddr": address(text)}), "cisco_cucm")
        assert call["ingress_address"] == text

    def test_without_an_address_has_none(self, tmp_path: Path) -> None:
        [call] = calls_of(tmp_path, table(list(COLUMNS.items()), {"origIpAddr": "0"}), "cisco_cucm")
        assert call["ingress_address"] is None

    def test_that_nobody_answered_is_a_call_all_the_same(self, tmp_path: Path) -> None:
        [call] = calls_of(tmp_path, table(list(COLUMNS.items()), {**CALL, "dateTimeConnect": "0"}), "cisco_cucm")
        assert some(call, "answer", "disposition") == (None, "unanswered")

    def test_has_several_legs_under_one_id(self, tmp_path: Path) -> None:
        forwarded = {**CALL, "finalCalledPartyNumber": '"12025550177"'}
        first, second = calls_of(tmp_path, table(list(COLUMNS.items()), CALL, forwarded), "cisco_cucm")
        assert first["call_id"] == second["call_id"]
        assert (first["called_out"], second["called_out"]) == ("+12025550143", "+12025550177")
        assert first["called_in"] == second["called_in"]


class TestAFile:
    def test_without_the_line_of_types_loses_no_row(self, tmp_path: Path) -> None:
        assert len(calls_of(tmp_path, table(list(COLUMNS.items()), CALL, types=False), "cisco_cucm")) == 1

    def test_of_management_records_is_recognised_and_refused_with_the_reason(self, tmp_path: Path) -> None:
        path = written(
            tmp_path,
            '"cdrRecordType","globalCallID_callManagerId","globalCallID_callId","nodeId","directoryNum","dateTimeStamp",'
            '"numberPacketsSent"\nINTEGER,INTEGER,INTEGER,INTEGER,VARCHAR(50),INTEGER,INTEGER\n2,1,5001,1,"1",2,3\n',
        )
        assert identify(path) == "cisco_cucm"
        with pytest.raises(AdapterError, match=r"CMR file: quality of media streams, no called numbers.*CDR files"):
            read(path, "cisco_cucm")

    def test_skips_management_records_between_calls(self, tmp_path: Path) -> None:
        path = written(tmp_path, table(list(COLUMNS.items()), CALL, {**CALL, "cdrRecordType": "2"}))
        calls, rejected, skipped = read(path, "cisco_cucm")
        assert (len(calls), rejected, skipped) == (1, [], 1)


@needs_samples
def test_the_sample_gives_its_known_answer() -> None:
    path = SHARED_SAMPLES / "cisco_cucm_cdr/unknown__test_fixture__reduced_columns.csv"
    assert identify(path) == "cisco_cucm"
    rows, rejected, _ = raw_rows(path, "cisco_cucm")
    assert not rejected
    [(line, row)] = rows
    assert line == 3
    assert (row["finalCalledPartyNumber"], row["callingPartyNumber"]) == ("7002", "7001")
    assert (row["dateTimeOrigination"], row["origDeviceName"], row["origIpAddr"]) == (
        "1693900000",
        "SEP001122334455",
        "10.0.0.5",
    )
    derived = raw_rows(path, "cisco_cucm", columns=frozenset(["originAddress", "destinationAddress"]))[0][0][1]
    assert derived == {"originAddress": "10.0.0.5", "destinationAddress": "10.0.0.6"}
