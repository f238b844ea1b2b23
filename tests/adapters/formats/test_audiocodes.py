"""AudioCodes CDRs and SDRs, after the Mediant user's manuals 6.6 to 7.4.

All but the sample in ../shared is synthetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats._audiocodes_fields import DEFAULT
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected
from cdr_adapters.stream import read_head
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples


def titles_of(text: str) -> list[str]:
    return text.split(" ")


# titles as the devices write them
V66 = [
    *titles_of("SBCReportType EPTyp SIPCallId SessionId Orig SourceIp SourcePort DestIp DestPort TransportType SrcURI"),
    *titles_of("SrcURIBeforeMap DstURI DstURIBeforeMap Durat TrmSd TrmReason TrmReasonCategory SetupTime ConnectTime"),
    *titles_of("ReleaseTime RedirectReason RedirectURINum RedirectURINumBeforeMap TxSigIPDiffServ"),
    *("IPGroup (description)", "SrdId (name)", "SIPInterfaceId", "ProxySetId", "IpProfileId (name)"),
    *("MediaRealmId (name)", "DirectMedia", "SIPTrmReason"),
]
V74 = [
    *(title.replace("Durat", "Duration").replace("(description)", "(name)") for title in V66),
    *titles_of("SIPTermDesc Caller Callee Trigger LegId VoiceAIConnectorName"),
]
GATEWAY = titles_of(
    "GWReportType Cid SessionId Trunk BChan ConId TG EPTyp Orig SourceIp DestIp SrcTON SrcNPI SrcPhoneNum "
    "SrcNumBeforeMap DstTON DstNPI DstPhoneNum DstNumBeforeMap Durat SIPCallId SetupTime ConnectTime ReleaseTime "
    "IPG(description) TrmReasonCategory"
)
SESSION = titles_of(
    "RecordType ProductName SeqNum SessionId SetupTime ConnectTime ReleaseTime IngressCallSourceIp "
    "IngressCallSourcePort IngressCallDestIp IngressIPGroup IngressCallingUserName IngressCalledUserName "
    "IngressCalledUserNameBeforeManip IngressCalledHostName IngressSIPTermReason EgressCallSourceIp EgressCallDestIp "
    "EgressIPGroup EgressCalledUserName"
)

IN = {
    "SBCReportType": "CALL_END",
    "EPTyp": "SBC",
    "SIPCallId": "in-1@203.0.113.20",
    "SessionId": "c62532:22:625",
    "Orig": "RMT",
    "SourceIp": "203.0.113.20",
    "SourcePort": "5060",
    "DestIp": "198.51.100.1",
    "DestPort": "5060",
    "SrcURI": "12025550199@198.51.100.1",
    "SrcURIBeforeMap": "+12025550199@203.0.113.20",
    "DstURI": "12025550143@198.51.100.1",
    "DstURIBeforeMap": "+12025550143@198.51.100.1",
    "Durat": "30",
    "SetupTime": "18:57:52.320  UTC Fri Nov 20 2026",
    "ConnectTime": "18:57:59.616  UTC Fri Nov 20 2026",
    "ReleaseTime": "18:58:29.657  UTC Fri Nov 20 2026",
    "IPGroup": "CARRIER_A",
    "SIPTrmReason": "BYE",
    "TrmReasonCategory": "NORMAL_CALL_CLEAR",
    "LegId": "1",
}
OUT = IN | {
    "SIPCallId": "out-1@198.51.100.2",
    "Orig": "LCL",
    "SourceIp": "198.51.100.2",
    "DestIp": "192.0.2.30",
    "DstURI": "2025550143@192.0.2.30",
    "IPGroup": "CARRIER_B",
    "LegId": "2",
}
UNANSWERED = {"ConnectTime": "", "SIPTrmReason": "486"}
FROM_TDM = {
    "GWReportType": "CALL_END",
    "EPTyp": "ISDN",
    "SessionId": "17",
    "TG": "3",
    "Orig": "LCL",
    "SourceIp": "198.51.100.1",
    "DestIp": "192.0.2.30",
    "SrcPhoneNum": "2025550199",
    "DstPhoneNum": "2025550143",
    "DstNumBeforeMap": "912025550143",
    "SetupTime": IN["SetupTime"],
    "ReleaseTime": IN["ReleaseTime"],
    "IPG": "1 (CARRIER_B)",
}
SDR = {
    "RecordType": "STOP",
    "SessionId": "c62532:22:625",
    "SetupTime": IN["SetupTime"],
    "ConnectTime": IN["ConnectTime"],
    "ReleaseTime": IN["ReleaseTime"],
    "IngressCallSourceIp": "203.0.113.20",
    "IngressCallDestIp": "198.51.100.1",
    "IngressIPGroup": "CARRIER_A",
    "IngressCallingUserName": "+12025550199",
    "IngressCalledUserName": "12025550143",
    "IngressCalledUserNameBeforeManip": "+12025550143",
    "EgressCallSourceIp": "198.51.100.2",
    "EgressCallDestIp": "192.0.2.30",
    "EgressIPGroup": "CARRIER_B",
    "EgressCalledUserName": "2025550143",
}


def values(titles: Sequence[str], of: Mapping[str, str]) -> list[str]:
    return [of.get(title.split("(")[0].strip().replace("Duration", "Durat"), "") for title in titles]


def bars(fields: Sequence[str], prefix: str = "") -> str:
    return prefix + "|".join(f"{text:<20}" for text in fields)


def syslog(titles: Sequence[str], *records: Mapping[str, str], prefix: str = "") -> str:
    """Titles and records between bars."""
    return "\n".join([bars(titles, prefix), *(bars(values(titles, record), prefix) for record in records)]) + "\n"


def stored(titles: Sequence[str], *records: Mapping[str, str]) -> str:
    """Titles and records between commas."""
    return "\n".join(",".join(line) for line in [titles, *(values(titles, record) for record in records)]) + "\n"


PREFIX = "<142>Nov 20 18:58:30 198.51.100.9 [S=1205] |"
MEDIA = "MediaReportType|SIPCallId|SessionId|Cid\nMEDIA_END|x|c62532:22:625|10\n"
SAMPLES: list[bytes] = [
    (syslog(V74, IN, OUT, IN | UNANSWERED) + MEDIA).encode(),
    syslog(V66, IN, prefix=PREFIX).encode(),
    stored(SESSION, SDR, SDR | {"RecordType": "ATTEMPT"}).encode(),
    syslog(GATEWAY, FROM_TDM).encode(),
]
MAPPING: dict[str, Any] = {}


def calls(path: Path, **keys: Any) -> tuple[list[dict[str, Any]], list[Rejected]]:
    mapping = SourceMapping.model_validate({"name": "sbc", "path": "x", "format": "audiocodes", **keys})
    found = list(read_source(path, mapping, TrunkFormats()))
    return [call for batch in found for call in batch.calls.to_pylist()], [r for batch in found for r in batch.rejected]


class TestTheLegThatCameIn:
    @pytest.mark.parametrize("titles", [V66, V74], ids=["6.6", "7.4"])
    @pytest.mark.parametrize("prefix", ["", "[S=12] |", PREFIX, "|"])
    def test_names_the_upstream(self, tmp_path: Path, titles: list[str], prefix: str) -> None:
        [call], rejected = calls(written(tmp_path, syslog(titles, IN, prefix=prefix)))
        assert not rejected
        expected = {
            "called_in": "+12025550143",
            "called_out": None,
            "calling": "+12025550199",
            "ingress_trunk": "CARRIER_A",
            "ingress_address": "203.0.113.20",
            "egress_trunk": None,
            "egress_address": None,
            "call_id": "c62532:22:625",
            "leg": "ingress",
            "disposition": "answered",
        }
        assert {name: call[name] for name in expected} == expected
        assert call["seizure_earliest"].isoformat() == "2026-11-20T18:57:52.320000+00:00"
        assert call["release"].isoformat() == "2026-11-20T18:58:29.657000+00:00"

    def test_the_leg_that_went_out_does_not(self, tmp_path: Path) -> None:
        [call], _ = calls(written(tmp_path, syslog(V74, OUT)))
        assert (call["ingress_trunk"], call["ingress_address"], call["called_in"]) == (None, None, None)
        assert (call["egress_trunk"], call["egress_address"]) == ("CARRIER_B", "192.0.2.30")
        assert (call["called_out"], call["leg"]) == ("+12025550143", "egress")

    def test_nor_does_a_leg_of_which_nobody_says_who_began_it(self, tmp_path: Path) -> None:
        found, rejected = calls(written(tmp_path, syslog(V74, IN | {"Orig": ""})))
        assert not found
        assert "no called number" in rejected[0].detail

    def test_both_share_the_session(self, tmp_path: Path) -> None:
        found, _ = calls(written(tmp_path, syslog(V74, IN, OUT)))
        assert [call["leg"] for call in found] == ["ingress", "egress"]
        assert len({call["call_id"] for call in found}) == 1


class TestTitles:
    def test_may_stand_in_any_order(self, tmp_path: Path) -> None:
        [call], _ = calls(written(tmp_path, syslog(V74[:1] + V74[:0:-1], IN)))
        assert call["ingress_address"] == "203.0.113.20"

    def test_may_change_within_a_file(self, tmp_path: Path) -> None:
        text = syslog(V66, IN) + MEDIA + syslog(V74, IN, OUT) + syslog(V66, IN)
        rows, rejected, skipped = raw_rows(written(tmp_path, text), "audiocodes")
        assert (len(rows), rejected, skipped) == (4, [], 5)
        assert sorted(row for row, _ in rows) == [2, 6, 7, 9]

    def test_have_one_name_whatever_the_release(self, tmp_path: Path) -> None:
        for titles in (V66, V74):
            [(_, fields)], _, _ = raw_rows(written(tmp_path, syslog(titles, IN)), "audiocodes")
            assert set(fields) >= {"Duration", "IPGroup", "SrdId", "IpProfileId"}

    @pytest.mark.parametrize("titles", [V66, V74], ids=["6.6", "7.4"])
    def test_are_not_needed_when_nobody_customised_the_device(self, tmp_path: Path, titles: list[str]) -> None:
        text = syslog(titles, IN).split("\n", 1)[1]
        [call], rejected = calls(written(tmp_path, text))
        assert not rejected
        assert call["ingress_address"] == "203.0.113.20"

    def test_else_a_record_without_them_is_rejected(self, tmp_path: Path) -> None:
        text = syslog(V74[:1] + V74[:0:-1], IN).split("\n", 1)[1]
        found, [reject] = calls(written(tmp_path, text))
        assert not found
        assert "set options.columns" in reject.detail

    def test_can_be_given(self, tmp_path: Path) -> None:
        titles = V74[:1] + V74[:0:-1]
        text = syslog(titles, IN).split("\n", 1)[1]
        [call], _ = calls(written(tmp_path, text), options={"columns": titles})
        assert call["ingress_address"] == "203.0.113.20"

    def test_may_leave_out_the_kind_of_record(self, tmp_path: Path) -> None:
        """Customised: only what billing wants."""
        titles = ["SessionId", "Orig", "SourceIp", "DestIp", "DstURI", "SrcURI", "SetupTime", "ReleaseTime", "IPGroup"]
        [call], rejected = calls(written(tmp_path, stored(titles, IN)))
        assert not rejected
        assert (call["ingress_address"], call["ingress_trunk"]) == ("203.0.113.20", "CARRIER_A")

    @pytest.mark.parametrize("count", [5, 38, 40, 600])
    def test_must_be_as_many_as_the_values(self, tmp_path: Path, count: int) -> None:
        line = "|".join((values(V74, IN) + ["x"] * 600)[:count])
        found, [reject] = calls(written(tmp_path, syslog(V74) + line + "\n"))
        assert not found
        assert f"{count} values, and titles have 39" in reject.detail

    def test_default_order_is_the_devices(self) -> None:
        assert [title.partition(" ")[0] for title in V74] == list(DEFAULT)

    @pytest.mark.parametrize("options", [{"delimiter": "x"}, {"columns": ["a"]}, {"header": True}])
    def test_options_that_do_not_fit_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(AdapterError):
            adapter("audiocodes").check_options(options)


class TestStoredOnTheDevice:
    def test_between_commas(self, tmp_path: Path) -> None:
        [call], rejected = calls(written(tmp_path, stored(V74, IN)))
        assert not rejected
        assert call["ingress_address"] == "203.0.113.20"

    def test_a_quoted_value_may_hold_commas(self, tmp_path: Path) -> None:
        [call], rejected = calls(written(tmp_path, stored(V74, IN | {"Caller": '"Caller, Example"'})))
        assert not rejected
        assert call["ingress_trunk"] == "CARRIER_A"


class TestSessionRecords:
    @pytest.mark.parametrize("write", [syslog, stored])
    def test_are_of_both_legs(self, tmp_path: Path, write: Any) -> None:
        [call], rejected = calls(written(tmp_path, write(SESSION, SDR)))
        assert not rejected
        expected = {
            "called_in": "+12025550143",
            "called_out": "+12025550143",
            "calling": "+12025550199",
            "ingress_trunk": "CARRIER_A",
            "ingress_address": "203.0.113.20",
            "egress_trunk": "CARRIER_B",
            "egress_address": "192.0.2.30",
            "call_id": "c62532:22:625",
            "disposition": "answered",
        }
        assert {name: call[name] for name in expected} == expected

    def test_of_a_failed_attempt(self, tmp_path: Path) -> None:
        failed = SDR | {"RecordType": "ATTEMPT", "ConnectTime": "", "IngressSIPTermReason": "503"}
        busy = failed | {"IngressSIPTermReason": "486"}
        found, _ = calls(written(tmp_path, syslog(SESSION, failed, busy)))
        assert [call["disposition"] for call in found] == ["failed", "unanswered"]

    def test_a_title_that_another_could_be_is_not_chosen(self, tmp_path: Path) -> None:
        titles = [*SESSION, "IngressRemoteIp"]
        [call], _ = calls(written(tmp_path, syslog(titles, SDR | {"IngressRemoteIp": "203.0.113.99"})))
        assert (call["ingress_address"], call["ingress_trunk"]) == (None, "CARRIER_A")


class TestGateways:
    def test_a_call_from_the_tdm_side_came_in_on_its_trunk_group(self, tmp_path: Path) -> None:
        found, rejected = calls(written(tmp_path, syslog(GATEWAY, FROM_TDM | {"DstNumBeforeMap": "2025550143"})))
        assert not rejected
        assert (found[0]["ingress_trunk"], found[0]["ingress_address"]) == ("3", None)
        assert found[0]["egress_address"] == "192.0.2.30"

    def test_a_call_from_the_ip_side_came_from_its_source(self, tmp_path: Path) -> None:
        from_ip = FROM_TDM | {"Orig": "RMT", "SourceIp": "203.0.113.20", "DstNumBeforeMap": "2025550143"}
        [call], _ = calls(written(tmp_path, syslog(GATEWAY, from_ip)))
        assert (call["ingress_address"], call["egress_trunk"], call["egress_address"]) == ("203.0.113.20", "3", None)


class TestOutcome:
    @pytest.mark.parametrize(
        ("changes", "outcome"),
        [
            ({}, "answered"),
            ({"SBCReportType": "CALL_START", "ConnectTime": "", "SIPTrmReason": ""}, None),
            ({"SBCReportType": "CALL_CONNECT"}, "answered"),
            (UNANSWERED, "unanswered"),
            (UNANSWERED | {"SIPTrmReason": "CANCEL"}, "unanswered"),
            (UNANSWERED | {"SIPTrmReason": "404"}, "failed"),
            (UNANSWERED | {"SIPTrmReason": "", "TrmReasonCategory": "NO_ANSWER"}, "unanswered"),
            (UNANSWERED | {"SIPTrmReason": "", "TrmReasonCategory": "GENERAL_FAILED"}, "failed"),
            (UNANSWERED | {"SIPTrmReason": "BYE"}, None),
        ],
    )
    def test_of_a_leg(self, tmp_path: Path, changes: dict[str, str], outcome: str | None) -> None:
        [call], _ = calls(written(tmp_path, syslog(V74, IN | changes)))
        assert call["disposition"] == outcome

    def test_media_and_other_dialogs_are_no_calls(self, tmp_path: Path) -> None:
        text = syslog(V74, IN | {"SBCReportType": "DIALOG_END"}) + MEDIA + "Nov 20 booted\n"
        assert raw_rows(written(tmp_path, text), "audiocodes") == ([], [], 5)


@needs_samples
class TestARealDevice:
    FILE = SHARED_SAMPLES / "audiocodes_syslog" / "unknown__ODP.CoreLib.UnitTest__ReportParserUnitTest.log"

    def test_names_the_upstream(self) -> None:
        rows, rejected, skipped = raw_rows(self.FILE, "audiocodes")
        assert (len(rows), rejected, skipped) == (3, [], 3)
        [came_in] = [fields for _, fields in rows if fields["Leg"] == "ingress"]
        assert came_in["CalledIn"] == "2001@10.0.1.11"
        assert came_in["SetupTime"] == "18:57:52.320 UTC Mon Dec 05 2022"
        assert (came_in["IngressIp"], came_in["IngressGroup"]) == ("10.0.1.1", "LAN")
        assert came_in["SessionId"] == "c62532:22:625"
        assert {fields["EgressIp"] for _, fields in rows if fields["Leg"] == "egress"} == {"10.0.2.12"}

    def test_is_claimed(self) -> None:
        assert adapter("audiocodes").identify(read_head(self.FILE))


class TestIdentify:
    @pytest.mark.parametrize("sample", SAMPLES)
    def test_claims_its_own(self, tmp_path: Path, sample: bytes) -> None:
        assert adapter("audiocodes").identify(read_head(written(tmp_path, sample)))

    @pytest.mark.parametrize(
        "text", ["SessionId,SetupTime,Called\n1,2,3\n", "INVITE|a|2025550143||\n", "CALL_START|\n", MEDIA]
    )
    def test_leaves_others_alone(self, tmp_path: Path, text: str) -> None:
        assert not adapter("audiocodes").identify(read_head(written(tmp_path, text)))
