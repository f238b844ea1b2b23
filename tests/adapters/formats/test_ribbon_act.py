"""Ribbon (Sonus) ACT files: after 'CDR Field Descriptions' of SBC Core 6.2 to 12.0; the real ones are a GSX's.

All but the samples in ../shared is synthetic.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats._act_positions import POSITIONS, Kind
from cdr_adapters.formats.ribbon_act import times_by_file
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected
from cdr_adapters.stream import read_head
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

WIDTHS: dict[Kind, int] = {"START": 172, "STOP": 223, "ATTEMPT": 186, "INTERMEDIATE": 120}
INGRESS = (
    '"SIP,in-1@203.0.113.20,%22Example%22<sip:+12025550199@203.0.113.20>;tag=1,;tag=2,0,,,,'
    'sip:+12025550143@198.51.100.1:5060;dtg=CARRIER_A,,,,sip:+12025550199@203.0.113.20:5060"'
)
EGRESS = (
    '"SIP,out-1@198.51.100.2,;tag=3,;tag=4,0,,,,'
    'sip:+12025550143;npdi;rn=+15715550100@192.0.2.30:5060;user=phone,,,,sip:+12025550199@198.51.100.2:5060"'
)
VALUES = {
    "Gateway_Name": "GSX1",
    "Accounting_ID": "0x0001042B00000012",
    "Node_Time_Zone": "GMT-08:00-Pacific(US)",
    "Start_Time_MM_DD_YYYY": "11/20/2026",
    "Start_Time_HH_MM_SS_s": "17:02:12.5",
    "Disconnect_Time_MM_DD_YYYY": "11/20/2026",
    "Disconnect_Time_HH_MM_SS_s": "17:02:20.7",
    "Call_Service_Duration": "306",
    "Call_Disconnect_Reason": "16",
    "Service_Delivered": "VoIP",
    "Call_Direction": "IP-TO-IP",
    "Calling_Number": "2025550199",
    "Called_Number": "2025550143",
    "Route_Selected": "GSX1:CARRIER_B",
    "Egress_Local_Signaling_IP_Address": "198.51.100.2",
    "Egress_Remote_Signaling_IP_Address": "192.0.2.30",
    "Ingress_Trunk_Group_Name": "CARRIER_A",
    "Ingress_IP_Circuit_End_Point": "198.51.100.1:5004/203.0.113.21:5002",
    "Egress_IP_Circuit_End_Point": "198.51.100.2:5004/:0",
    "Ingress_Protocol_Variant_Specific_Data": INGRESS,
    "Egress_Protocol_Variant_Specific_Data": EGRESS,
    "Dialed_Number": "12025550143",
    "Egress_Trunk_Group_Name": "CARRIER_B",
    "Global_Call_ID_GCID": "0x00020002",
    "Ingress_Local_Signaling_IP_Address": "198.51.100.1",
    "Ingress_Remote_Signaling_IP_Address": "203.0.113.20",
    "Final_Attempt_Indicator": "1",
}
HEADER = "Sonus Networks, Inc.00000000FF600000000000000060V09.02.01R001 0000000000000000ACT20261120170200000000000000"


def record(kind: Kind, **changes: str) -> str:
    """One record of a kind, with its fields where the documents have them."""
    fields = [""] * WIDTHS[kind]
    for name, position in POSITIONS[kind].items():
        fields[position - 1] = kind if name == "Record_Type" else {**VALUES, **changes}.get(name, "")
    return ",".join(fields)


def spaced(line: str) -> str:
    """With a space behind every comma outside of quotes."""
    pieces = line.split('"')
    pieces[::2] = [piece.replace(",", ", ") for piece in pieces[::2]]
    return '"'.join(pieces)


SAMPLES: list[bytes] = [
    f"{HEADER}\nREBOOT,GSX1,0,11/20/2026\n{record('START')}\n{record('STOP')}\n".encode(),
    "\n".join(
        (record("ATTEMPT", Final_Attempt_Indicator="0"), record("INTERMEDIATE"), spaced(record("STOP")))
    ).encode(),
]
MAPPING: dict[str, Any] = {"options": {"times": "gmt"}}
GMT = {"times": "gmt"}


def calls(path: Path, **options: Any) -> tuple[list[dict[str, Any]], list[Rejected]]:
    mapping = SourceMapping.model_validate({"name": "gsx", "path": "x", "format": "ribbon_act", "options": options})
    found = list(read_source(path, mapping, TrunkFormats()))
    return [call for batch in found for call in batch.calls.to_pylist()], [r for batch in found for r in batch.rejected]


def one(tmp_path: Path, line: str, **options: Any) -> dict[str, Any]:
    """The one call that is in this line."""
    [call], rejected = calls(written(tmp_path, line + "\n"), **{**GMT, **options})
    assert not rejected
    return call


class TestEveryKindOfRecord:
    @pytest.mark.parametrize("kind", ["START", "STOP", "ATTEMPT"])
    @pytest.mark.parametrize("style", [str, spaced])
    def test_gives_the_call(self, tmp_path: Path, kind: Kind, style: Callable[[str], str]) -> None:
        call = one(tmp_path, style(record(kind)))
        expected = {
            "called_in": "+12025550143",
            "called_out": "+12025550143",
            "calling": "+12025550199",
            "ingress_trunk": "CARRIER_A",
            "ingress_address": "203.0.113.20",
            "egress_trunk": "CARRIER_B",
            "egress_address": "192.0.2.30",
            "call_id": "GSX1/0x0001042B00000012",
        }
        assert {name: call[name] for name in expected} == expected
        assert call["seizure_earliest"].isoformat() == "2026-11-20T17:02:12.500000+00:00"

    def test_an_intermediate_record_is_one_of_the_same_call(self, tmp_path: Path) -> None:
        call = one(tmp_path, record("INTERMEDIATE"))
        assert (call["called_in"], call["ingress_trunk"]) == ("+12025550143", "CARRIER_A")
        assert (call["call_id"], call["ingress_address"]) == ("GSX1/0x0001042B00000012", None)

    def test_records_about_the_gateway_and_the_file_are_skipped(self, tmp_path: Path) -> None:
        lines = [HEADER, "REBOOT,GSX1", "SOFTWARE CHANGE,GSX1,V9", "EVENT,GSX1", "#!begin x~link", record("STOP")]
        rows, rejected, skipped = raw_rows(written(tmp_path, "\n".join(lines)), "ribbon_act")
        assert (len(rows), rejected, skipped) == (1, [], 5)

    def test_start_and_stop_share_gateway_and_accounting_id(self, tmp_path: Path) -> None:
        found, _ = calls(written(tmp_path, f"{record('START')}\n{record('STOP')}\n"), **GMT)
        assert {call["call_id"] for call in found} == {"GSX1/0x0001042B00000012"}

    @pytest.mark.parametrize(("kind", "more"), [("STOP", 72), ("ATTEMPT", 90), ("START", 80)])
    def test_later_releases_append_fields(self, tmp_path: Path, kind: Kind, more: int) -> None:
        assert one(tmp_path, record(kind) + ",x" * more)["ingress_address"] == "203.0.113.20"

    def test_a_short_record_lacks_what_it_lacks(self, tmp_path: Path) -> None:
        line = ",".join(record("STOP", Ingress_Protocol_Variant_Specific_Data="").split(",")[:60])
        call = one(tmp_path, line)
        assert (call["ingress_trunk"], call["ingress_address"]) == ("CARRIER_A", None)

    @pytest.mark.parametrize("junk", ["PAUSE!,GSX1", "stop,GSX1", "STOP,GSX1", '"STOP', f'{record("STOP")}"'])
    def test_what_is_no_record_is_rejected(self, tmp_path: Path, junk: str) -> None:
        found, rejected = calls(written(tmp_path, f"{junk}\n{record('STOP')}\n"), **GMT)
        assert [reject.row for reject in rejected] == [1]
        assert len(found) == 1


class TestPositions:
    @pytest.mark.parametrize("at", [11, 25, 33, 36, 52, 60, 69, 90, 125])
    def test_a_record_with_a_field_more_in_between_is_rejected(self, tmp_path: Path, at: int) -> None:
        """A release that moved what stands behind: nothing of it is taken for something else."""
        fields = next(csv.reader([record("STOP")]))
        quoted = [f'"{field}"' if "," in field else field for field in [*fields[: at - 1], "7", *fields[at - 1 :]]]
        found, [reject] = calls(written(tmp_path, ",".join(quoted)), **GMT)
        assert not found
        assert "set options.positions" in reject.detail

    def test_may_be_configured(self, tmp_path: Path) -> None:
        fields = next(csv.reader([record("STOP")]))
        quoted = [f'"{field}"' if "," in field else field for field in [*fields[:123], "7", *fields[123:]]]
        moved = {"STOP": {"Ingress_Local_Signaling_IP_Address": 126, "Ingress_Remote_Signaling_IP_Address": 127}}
        assert one(tmp_path, ",".join(quoted), positions=moved)["ingress_address"] == "203.0.113.20"

    def test_a_field_may_be_said_not_to_be_there(self, tmp_path: Path) -> None:
        gone = {"STOP": {"Ingress_Local_Signaling_IP_Address": 0, "Ingress_Remote_Signaling_IP_Address": 0}}
        assert one(tmp_path, record("STOP"), positions=gone)["ingress_address"] is None

    def test_any_field_can_be_asked_for_by_its_position(self, tmp_path: Path) -> None:
        columns = frozenset({"21", "999", "Call_Disconnect_Reason"})
        rows, _, _ = raw_rows(written(tmp_path, record("STOP")), "ribbon_act", columns=columns)
        assert rows[0][1] == {"21": "2025550143", "999": "", "Call_Disconnect_Reason": "16"}


class TestNumbers:
    def test_the_number_before_translation_is_the_one_that_was_called(self, tmp_path: Path) -> None:
        """Behind a translation the called number may be a routing number."""
        line = record("STOP", Called_Number="5715550100", Called_Number_Before_Translation_1="2025550143")
        call = one(tmp_path, line)
        assert (call["called_in"], call["called_out"]) == ("+12025550143", "+12025550143")

    def test_without_sip_to_the_next_hop_the_number_sent_is_not_recorded(self, tmp_path: Path) -> None:
        line = record("STOP", Egress_Protocol_Variant_Specific_Data='"ISUP,1,2,3"')
        assert one(tmp_path, line)["called_out"] is None

    def test_call_ids_are_in_the_protocol_data(self, tmp_path: Path) -> None:
        columns = frozenset({"Ingress_Call_ID", "Egress_Call_ID", "Ingress_Request_URI"})
        rows, _, _ = raw_rows(written(tmp_path, record("START")), "ribbon_act", columns=columns)
        assert rows[0][1] == {
            "Ingress_Call_ID": "in-1@203.0.113.20",
            "Egress_Call_ID": "out-1@198.51.100.2",
            "Ingress_Request_URI": "sip:+12025550143@198.51.100.1:5060;dtg=CARRIER_A",
        }


class TestOutcome:
    @pytest.mark.parametrize(
        ("kind", "changes", "outcome"),
        [
            ("STOP", {}, "answered"),
            ("START", {}, "answered"),
            ("ATTEMPT", {}, "unanswered"),
            ("ATTEMPT", {"Call_Disconnect_Reason": "17"}, "unanswered"),
            ("ATTEMPT", {"Call_Disconnect_Reason": "21"}, "failed"),
            ("ATTEMPT", {"Call_Disconnect_Reason": "41", "Final_Attempt_Indicator": "0"}, "route-advanced"),
            ("ATTEMPT", {"Call_Disconnect_Reason": "41", "Final_Attempt_Indicator": ""}, "failed"),
            ("ATTEMPT", {"Call_Disconnect_Reason": ""}, None),
        ],
    )
    def test_of_a_record(self, tmp_path: Path, kind: Kind, changes: dict[str, str], outcome: str | None) -> None:
        assert one(tmp_path, record(kind, **changes))["disposition"] == outcome


class TestTheZone:
    def test_is_not_assumed(self, tmp_path: Path) -> None:
        found, [reject] = calls(written(tmp_path, record("STOP")))
        assert not found
        assert "zone" in reject.detail

    @pytest.mark.parametrize(
        ("times", "utc"),
        [
            ("gmt", "2026-11-20T17:02:12.500000+00:00"),
            ("local", "2026-11-21T01:02:12.500000+00:00"),
            ("America/Denver", "2026-11-21T00:02:12.500000+00:00"),
        ],
    )
    def test_is_what_the_options_say(self, tmp_path: Path, times: str, utc: str) -> None:
        assert one(tmp_path, record("STOP"), times=times)["seizure_earliest"].isoformat() == utc

    def test_of_a_gateway_has_its_summer_time(self, tmp_path: Path) -> None:
        july = {"Start_Time_MM_DD_YYYY": "07/20/2026", "Disconnect_Time_MM_DD_YYYY": "07/20/2026"}
        call = one(tmp_path, record("STOP", **july), times="local")
        assert call["seizure_earliest"].isoformat() == "2026-07-21T00:02:12.500000+00:00"

    @pytest.mark.parametrize("times", ["utc", "Mars/Phobos", "/", ""])
    def test_must_be_one(self, times: str) -> None:
        with pytest.raises(AdapterError, match="neither gmt nor local"):
            adapter("ribbon_act").check_options({"times": times})

    @pytest.mark.parametrize(
        ("stamp", "utc"),
        [
            ("20261121010150", "2026-11-21T01:02:12.500000+00:00"),
            ("20261120090150", "2026-11-20T17:02:12.500000+00:00"),
        ],
    )
    def test_follows_from_the_line_about_the_file_where_the_two_differ(
        self, tmp_path: Path, stamp: str, utc: str
    ) -> None:
        header = HEADER.replace("20261120170200", stamp)
        [call], rejected = calls(written(tmp_path, f"{header}\n{record('STOP')}\n"))
        assert not rejected
        assert call["seizure_earliest"].isoformat() == utc

    @pytest.mark.parametrize(
        ("opened", "zone", "times"),
        [
            ("2026-11-21 01:00:00", "GMT-08:00-Pacific(US)", "local"),
            ("2026-11-20 09:00:00", "GMT-08:00-Pacific(US)", "gmt"),
            ("2026-11-20 16:58:00", "GMT-08:00-Pacific(US)", None),
            ("2026-11-20 12:00:00", "GMT-08:00-Pacific(US)", None),
            ("2026-11-20 08:30:00", "GMT+09:00-Tokyo", None),
            ("2026-11-20 07:10:00", "GMT+09:00-Tokyo", None),
            ("2026-11-20 07:55:00", "GMT+09:00-Tokyo", "local"),
            ("2026-11-20 16:58:00", "GMT+00:00-London", None),
            ("2026-11-20 16:58:00", "somewhere", None),
        ],
    )
    def test_is_told_by_nothing_less(self, opened: str, zone: str, times: str | None) -> None:
        written_at = datetime.fromisoformat("2026-11-20 17:02:20")
        assert times_by_file(datetime.fromisoformat(opened), written_at, zone) == times


@needs_samples
class TestRealRecords:
    FILE = SHARED_SAMPLES / "ribbon_sonus_act" / "cjnielsen77__ribbon-cdr-parser__start_stop_attempt.ACT"

    def test_name_the_upstream(self) -> None:
        found, rejected = calls(self.FILE, times="local")
        assert not rejected
        start, stop, attempt = found
        for call in (start, stop):
            assert call["called_in"] == "+15307520014"
            assert call["seizure_earliest"].isoformat() == "2013-02-23T01:02:12.500000+00:00"
            assert (call["ingress_trunk"], call["ingress_address"]) == ("NBS_TRUSTED_ABCASX1", "10.158.10.170")
            assert call["egress_trunk"] == "NBSPUBSIP_ON_SIF93"
        assert start["call_id"] == stop["call_id"] != attempt["call_id"]
        assert (attempt["called_in"], attempt["calling"]) == ("+15307520014", "+15307520010")
        assert (attempt["ingress_trunk"], attempt["ingress_address"]) == ("NBSPUBSIP_ON_SIF93", "10.158.140.130")
        assert attempt["disposition"] == "failed"

    def test_are_claimed(self) -> None:
        assert adapter("ribbon_act").identify(read_head(self.FILE))


class TestIdentify:
    @pytest.mark.parametrize("sample", SAMPLES)
    def test_claims_its_own(self, tmp_path: Path, sample: bytes) -> None:
        assert adapter("ribbon_act").identify(read_head(written(tmp_path, sample)))

    @pytest.mark.parametrize("text", ["STOP,a,b,c\n", "Sonus Networks\n", "START,GSX1,0x1,1,GMT,11/20/2026\n", "\n"])
    def test_leaves_others_alone(self, tmp_path: Path, text: str) -> None:
        assert not adapter("ribbon_act").identify(read_head(written(tmp_path, text)))
