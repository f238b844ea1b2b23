"""Perimeta and CUBE (SP) XML billing: after the appendix 'XML Billing Schema' of Cisco's guide. All is synthetic."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected
from cdr_adapters.stream import read_head
from tests.adapters.reading import memory_peak_below, written

CONNECT = '<connect time="1795201079616"/>'
CALL = """  <call starttime="1795201072320" endtime="1795201109657" duration="37337" billingid="b-1">
    <party type="orig" phone="2025550199"/>
    <party type="term" phone="12025550143" editphone="+12025550143"/>
    <adjacency type="orig" name="carrier-a" account="acct-a"/>
    <adjacency type="term" name="carrier-b" account="acct-b"/>
    {connect}
    <disconnect time="1795201109650" reason="0"/>
    <QoS><gate><flowinfo><local address="198.51.100.1"/><remote address="203.0.113.21"/></flowinfo></gate></QoS>
  </call>
"""
CALL, UNANSWERED = CALL.format(connect=CONNECT), CALL.format(connect="")
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<recordfile sbc="198.51.100.1">\n'
TAIL = "</recordfile>\n"
SAMPLES: list[bytes] = [f"{HEAD}{CALL}{UNANSWERED}{TAIL}".encode()]
MAPPING: dict[str, Any] = {}


def calls(path: Path, **keys: Any) -> tuple[list[dict[str, Any]], list[Rejected]]:
    mapping = SourceMapping.model_validate({"name": "sbc", "path": "x", "format": "metaswitch_perimeta", **keys})
    found = list(read_source(path, mapping, TrunkFormats()))
    return [call for batch in found for call in batch.calls.to_pylist()], [r for batch in found for r in batch.rejected]


class TestACall:
    def test_names_the_adjacency_that_it_came_from(self, tmp_path: Path) -> None:
        [call], rejected = calls(written(tmp_path, HEAD + CALL + TAIL))
        assert not rejected
        expected = {
            "called_in": "+12025550143",
            "called_out": "+12025550143",
            "calling": "+12025550199",
            "ingress_trunk": "carrier-a",
            "ingress_address": None,
            "egress_trunk": "carrier-b",
            "call_id": "b-1",
            "disposition": "answered",
            "row": 3,
        }
        assert {name: call[name] for name in expected} == expected
        assert call["seizure_earliest"].isoformat() == "2026-11-20T18:57:52.320000+00:00"
        assert call["answer"].isoformat() == "2026-11-20T18:57:59.616000+00:00"
        assert call["release"].isoformat() == "2026-11-20T18:58:29.657000+00:00"

    def test_that_was_not_connected_was_not_answered(self, tmp_path: Path) -> None:
        [call], _ = calls(written(tmp_path, HEAD + UNANSWERED + TAIL))
        assert (call["answer"], call["disposition"]) == (None, None)

    def test_may_have_times_in_seconds(self, tmp_path: Path) -> None:
        text = UNANSWERED.replace("1795201072320", "1795201072").replace("1795201109657", "1795201109")
        [call], _ = calls(written(tmp_path, HEAD + text + TAIL))
        assert call["seizure_earliest"].isoformat() == "2026-11-20T18:57:52+00:00"

    def test_without_an_adjacency_does_not_name_one(self, tmp_path: Path) -> None:
        text = CALL.replace('<adjacency type="orig" name="carrier-a" account="acct-a"/>', "")
        [call], _ = calls(written(tmp_path, HEAD + text + TAIL))
        assert call["ingress_trunk"] is None

    def test_with_two_far_adjacencies_names_neither(self, tmp_path: Path) -> None:
        text = CALL.replace("    <disconnect", '    <adjacency type="term" name="carrier-c"/>\n    <disconnect')
        [call], _ = calls(written(tmp_path, HEAD + text + TAIL))
        assert (call["ingress_trunk"], call["egress_trunk"]) == ("carrier-a", "acct-b")

    def test_may_close_itself(self, tmp_path: Path) -> None:
        found, rejected = calls(
            written(tmp_path, HEAD + '<call starttime="1795201072320" note="a>b/>"/>' + CALL + TAIL)
        )
        assert [call["row"] for call in found] == [3]
        assert "no called number" in rejected[0].detail

    def test_without_a_start_is_rejected(self, tmp_path: Path) -> None:
        found, [reject] = calls(written(tmp_path, HEAD + CALL.replace(" starttime=", " begintime=") + TAIL))
        assert (found, reject.row) == ([], 3)


class TestATruncatedFile:
    @pytest.mark.parametrize("cut", [10, 40, 400, len(CALL) - 3, len(CALL) + len(TAIL) - 12])
    def test_gives_the_calls_before_the_torn_one(self, tmp_path: Path, cut: int) -> None:
        """Whatever is missing at the end of a file with two calls."""
        whole = HEAD + CALL + CALL + TAIL
        found, rejected = calls(written(tmp_path, whole[:-cut]))
        assert len(found) == (2 if cut < len(TAIL) else 1)
        assert [reject.row for reject in rejected] == ([] if len(found) == 2 else [12])

    def test_may_end_anywhere(self, tmp_path: Path) -> None:
        whole = HEAD + CALL + TAIL
        for end in range(0, len(whole), 7):
            found, rejected = calls(written(tmp_path, whole[:end]))
            assert len(found) + len(rejected) <= 1
            assert len(found) == (end >= len(HEAD + CALL.rstrip()))

    def test_that_was_begun_anew_loses_only_the_torn_call(self, tmp_path: Path) -> None:
        text = HEAD + CALL[:200] + HEAD + CALL + TAIL
        found, [reject] = calls(written(tmp_path, text))
        assert len(found) == 1
        assert "isn't closed" in reject.detail


class TestBrokenXml:
    @pytest.mark.parametrize(
        "inside", ["<party", "&unknown;", "<a>" * 100 + "</a>" * 100, "</party>", "<x/>" * 3000, '<a b="1" b="2"/>']
    )
    def test_is_rejected_and_the_next_call_read(self, tmp_path: Path, inside: str) -> None:
        broken = CALL.replace("    <disconnect", f"    {inside}<disconnect")
        found, [reject] = calls(written(tmp_path, HEAD + broken + CALL + TAIL))
        assert [call["call_id"] for call in found] == ["b-1"]
        assert reject.row == 3

    @pytest.mark.parametrize(
        "declared",
        [
            '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">',
            '<!ENTITY a SYSTEM "file:///etc/hostname">',
            '<!ENTITY % p "x">',
        ],
    )
    def test_a_file_that_declares_entities_is_refused(self, tmp_path: Path, declared: str) -> None:
        text = f"<?xml version='1.0'?><!DOCTYPE recordfile [{declared}]>{HEAD.splitlines()[1]}{CALL}{TAIL}"
        with pytest.raises(AdapterError, match="declares entities"):
            calls(written(tmp_path, text))

    def test_a_document_type_without_entities_is_not(self, tmp_path: Path) -> None:
        text = f"<?xml version='1.0'?><!DOCTYPE recordfile>{HEAD.splitlines()[1]}{CALL}{TAIL}"
        assert len(calls(written(tmp_path, text))[0]) == 1

    def test_a_record_without_end_takes_bounded_memory(self, tmp_path: Path) -> None:
        path = written(tmp_path, HEAD + CALL[:100] + "x" * (20 << 20) + CALL + TAIL)
        with memory_peak_below(24 << 20):
            found, rejected = calls(path)
        assert len(found) == 1
        assert rejected

    def test_a_file_without_records_is_refused_before_it_fills_memory(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="no call element"):
            calls(written(tmp_path, HEAD + "<x/>" * (1 << 20)))


class TestEncodings:
    def test_utf_16_is_read(self, tmp_path: Path) -> None:
        text = (HEAD + CALL + TAIL).replace(' encoding="UTF-8"', "")
        found, rejected = calls(written(tmp_path, codecs.BOM_UTF16_LE + text.encode("utf-16-le")))
        assert (len(found), rejected) == (1, [])

    @pytest.mark.parametrize("name", ["ISO-8859-1", "windows-1252", "utf-8", "US-ASCII"])
    def test_declared_ones_are_read(self, tmp_path: Path, name: str) -> None:
        text = HEAD.replace("UTF-8", name) + CALL.replace("carrier-a", "träger" if name[0] != "U" else "a") + TAIL
        [call], rejected = calls(written(tmp_path, text.encode(name)))
        assert not rejected
        assert call["ingress_trunk"] == ("träger" if name[0] != "U" else "a")

    def test_one_that_nobody_knows_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="encoding 'klingon'"):
            calls(written(tmp_path, HEAD.replace("UTF-8", "klingon") + CALL))


class TestIdentify:
    @pytest.mark.parametrize(
        "text", [HEAD + CALL + TAIL, HEAD, "<recordfile sbc='1'><!-- x -->", "<!-- x --><recordfile>"]
    )
    def test_claims_its_own(self, tmp_path: Path, text: str) -> None:
        assert adapter("metaswitch_perimeta").identify(read_head(written(tmp_path, text)))

    @pytest.mark.parametrize(
        "text", ["<call starttime='1'/>", "<xml><recordfile/></xml>", "recordfile", "", "<recordfiles/>"]
    )
    def test_leaves_others_alone(self, tmp_path: Path, text: str) -> None:
        assert not adapter("metaswitch_perimeta").identify(read_head(written(tmp_path, text)))
