"""BroadWorks CDRs in XML: after the 'BroadWorks Accounting Call Detail Record Interface Specification'.

All but the sample in ../shared is synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected
from cdr_adapters.stream import read_head
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

HEAD = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE broadWorksCDR>\n<broadWorksCDR version="19.0">\n'
TAIL = "</broadWorksCDR>\n"


def mark(kind: str) -> str:
    return f"<cdrData><headerModule><type>{kind}</type></headerModule></cdrData>\n"


def record(kind: str = "Normal", direction: str = "Terminating", **changes: str) -> str:
    """One record; a Terminating one to +1 202 555 0143."""
    basic = {
        "userNumber": "+12025550143",
        "direction": direction,
        "callingNumber": "+12025550199",
        "calledNumber": "+12025550143",
        "startTime": "20261120202952.193",
        "answerIndicator": "Yes",
        "answerTime": "20261120203015.470",
        "releaseTime": "20261120203021.732",
        "terminationCause": "016",
        **changes,
    }
    inside = "".join(f"<{name}>{value}</{name}>\n" for name, value in basic.items() if value)
    return (
        f"<cdrData>\n<headerModule><recordId><eventCounter>7</eventCounter></recordId>"
        f"<serviceProvider>Example_sp</serviceProvider><type>{kind}</type></headerModule>\n"
        f"<basicModule>\n{inside}</basicModule>\n"
        "<centrexModule><group>Example_gp</group><trunkGroupName>Example_gp/PBX1</trunkGroupName>"
        "<conference><startTime>20261120203016.000</startTime></conference></centrexModule>\n"
        "<ipModule><route>gw1.example.net</route><networkCallID>BW1@198.51.100.10</networkCallID>"
        "<accessDeviceAddress>203.0.113.50</accessDeviceAddress></ipModule>\n</cdrData>\n"
    )


SAMPLES: list[bytes] = [
    (HEAD + mark("Start") + record() + record(direction="Originating") + mark("End") + TAIL).encode(),
    (HEAD + record() + record())[:-200].encode(),
]
MAPPING: dict[str, Any] = {}


def calls(path: Path, **keys: Any) -> tuple[list[dict[str, Any]], list[Rejected]]:
    mapping = SourceMapping.model_validate({"name": "as", "path": "x", "format": "broadworks_xml", **keys})
    found = list(read_source(path, mapping, TrunkFormats()))
    return [call for batch in found for call in batch.calls.to_pylist()], [r for batch in found for r in batch.rejected]


class TestARecord:
    def test_of_a_call_that_came_in_names_the_route(self, tmp_path: Path) -> None:
        [call], rejected = calls(written(tmp_path, HEAD + record() + TAIL))
        assert not rejected
        expected = {
            "called_in": "+12025550143",
            "calling": "+12025550199",
            "ingress_trunk": "gw1.example.net",
            "ingress_address": None,
            "egress_trunk": "Example_gp/PBX1",
            "egress_address": "203.0.113.50",
            "call_id": "BW1@198.51.100.10",
            "leg": "Terminating",
            "disposition": "answered",
            "row": 4,
        }
        assert {name: call[name] for name in expected} == expected
        assert call["seizure_earliest"].isoformat() == "2026-11-20T20:29:52.193000+00:00"

    def test_of_a_call_that_was_placed_here_names_the_users_trunk_group(self, tmp_path: Path) -> None:
        [call], _ = calls(written(tmp_path, HEAD + record(direction="Originating") + TAIL))
        assert (call["ingress_trunk"], call["ingress_address"]) == ("Example_gp/PBX1", "203.0.113.50")
        assert call["egress_trunk"] == "gw1.example.net"

    def test_that_both_sides_fit_names_neither(self, tmp_path: Path) -> None:
        [call], _ = calls(written(tmp_path, HEAD + record(direction="", callingNumber="+12025550143") + TAIL))
        assert (call["leg"], call["ingress_trunk"], call["egress_trunk"]) == (None, None, None)

    def test_of_a_service_has_its_name_before_it(self, tmp_path: Path) -> None:
        [(_, fields)], _, _ = raw_rows(written(tmp_path, HEAD + record() + TAIL), "broadworks_xml")
        assert fields["startTime"] == "20261120202952.193"
        assert fields["conference.startTime"] == "20261120203016.000"
        assert fields["recordId.eventCounter"] == "7"

    def test_marks_are_skipped(self, tmp_path: Path) -> None:
        text = HEAD + mark("Start") + mark("Failover") + mark("End") + TAIL
        assert raw_rows(written(tmp_path, text), "broadworks_xml") == ([], [], 3)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (mark("Strange"), "no type of record"),
            (mark("Normal"), "no start time"),
            (record(startTime="soon"), "no start time"),
            ("<cdrData/>\n", "no type of record"),
            (record(callingNumber="<b"), "no XML"),
            (record(callingNumber="&x;"), "no XML"),
        ],
    )
    def test_that_is_none_is_rejected_and_the_next_one_read(self, tmp_path: Path, text: str, problem: str) -> None:
        found, [reject] = calls(written(tmp_path, HEAD + text + record() + TAIL))
        assert len(found) == 1
        assert reject.row == 4
        assert problem in reject.detail


class TestATruncatedFile:
    @pytest.mark.parametrize("cut", [15, 100, 500, 700])
    def test_gives_the_records_before_the_torn_one(self, tmp_path: Path, cut: int) -> None:
        text = (HEAD + record() + record())[:-cut]
        found, [reject] = calls(written(tmp_path, text))
        assert len(found) == 1
        assert reject.row == HEAD.count("\n") + record().count("\n") + 1
        assert "truncated" in reject.detail

    def test_whose_records_are_whole_has_no_reject(self, tmp_path: Path) -> None:
        assert [len(part) for part in calls(written(tmp_path, HEAD + record() + "<cdr"))] == [1, 0]


class TestEntities:
    @pytest.mark.parametrize("inside", ['<!ENTITY a "x">', '<!ENTITY a SYSTEM "file:///etc/hostname">'])
    def test_are_refused(self, tmp_path: Path, inside: str) -> None:
        text = (
            HEAD.replace("broadWorksCDR>\n<", f"broadWorksCDR [{inside}]>\n<", 1) + record(callingNumber="&a;") + TAIL
        )
        with pytest.raises(AdapterError, match="declares entities"):
            calls(written(tmp_path, text))

    def test_the_declared_encoding_counts(self, tmp_path: Path) -> None:
        text = (HEAD + record() + TAIL).replace("gw1.example.net", "größe")
        [call], _ = calls(written(tmp_path, text.encode("latin-1")))
        assert call["ingress_trunk"] == "größe"


@needs_samples
class TestARealFile:
    FILE = SHARED_SAMPLES / "broadworks_xml" / "cgrates__cgrates__filexml_it_test_cdrXmlBroadsoft.xml"

    def test_tells_both_calls(self) -> None:
        rows, rejected, skipped = raw_rows(self.FILE, "broadworks_xml")
        assert (len(rows), rejected, skipped) == (2, [], 2)
        placed, got = (fields for _, fields in rows)
        assert (placed["CalledIn"], placed["EgressName"]) == ("+4915117174963", "gw04.cgrates.org")
        assert placed["IngressName"] == "CGR_GROUP/CGR_GROUP_TRUNK30"
        assert got["recordId.eventCounter"] == "0002183386"
        assert (got["CalledIn"], got["callingNumber"]) == ("1001", "+4986517174964")
        assert got["startTime"] == "20160419210006.909"
        assert (got["IngressName"], got["trunkGroupName"]) == ("gw01.cgrates.org", "CGR_GROUP/CGR_GROUP_TRUNK65")
        assert got["networkCallID"] == "108352493719420162306@172.31.250.150"

    def test_is_mapped(self) -> None:
        found, _ = calls(self.FILE)
        assert found[0]["seizure_earliest"].isoformat() == "2016-04-19T21:00:05.247000+00:00"
        assert (found[0]["ingress_trunk"], found[0]["egress_trunk"]) == (
            "CGR_GROUP/CGR_GROUP_TRUNK30",
            "gw04.cgrates.org",
        )

    def test_truncated_still_tells_the_first(self, tmp_path: Path) -> None:
        whole = self.FILE.read_bytes()
        rows, rejected, _ = raw_rows(written(tmp_path, whole[: whole.rindex(b"<ipModule>")]), "broadworks_xml")
        assert (len(rows), len(rejected)) == (1, 1)

    def test_is_claimed(self) -> None:
        assert adapter("broadworks_xml").identify(read_head(self.FILE))


class TestIdentify:
    @pytest.mark.parametrize("text", [HEAD, HEAD + record(), "<broadWorksCDR version='1'>", "\ufeff" + HEAD])
    def test_claims_its_own(self, tmp_path: Path, text: str) -> None:
        assert adapter("broadworks_xml").identify(read_head(written(tmp_path, text)))

    @pytest.mark.parametrize("text", ["<cdrData/>", "<cdr><broadWorksCDR/></cdr>", "broadWorksCDR", ""])
    def test_leaves_others_alone(self, tmp_path: Path, text: str) -> None:
        assert not adapter("broadworks_xml").identify(read_head(written(tmp_path, text)))
