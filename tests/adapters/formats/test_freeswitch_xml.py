"""Documents of mod_xml_cdr: the same legs as in JSON, also where FreeSWITCH wrote what is no XML.

After the sample of the FreeSWITCH documentation (developer.signalwire.com, Configuration/CDR) and mod_xml_cdr of
release 1.10. Synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.read import read_source
from cdr_adapters.stream import MAX_LINE
from tests.adapters.formats.freeswitch_legs import A_LEG, B_LEG, UNANSWERED, as_json, as_xml
from tests.adapters.reading import memory_peak_below, raw_rows, written

POSTED = f"cdr={quote(as_xml(A_LEG), safe='')}"
ENCODED_VALUES = as_xml({name: quote(value, safe="+-_./") for name, value in A_LEG.items()})

SAMPLES: list[bytes] = [
    as_xml(A_LEG, UNANSWERED).encode(),
    as_xml(A_LEG, escape=False).encode(),
    ENCODED_VALUES.encode(),
    POSTED.encode(),
]
MAPPING: dict[str, Any] = {}


def read(path: Path, format_: str = "freeswitch_xml", **mapping: Any) -> tuple[list[dict[str, Any]], list[Any], int]:
    source = SourceMapping.model_validate({"name": "x", "path": "x", "format": format_, **mapping})
    batches = list(read_source(path, source, TrunkFormats()))
    return (
        [call for batch in batches for call in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
        sum(batch.skipped for batch in batches),
    )


class TestADocument:
    @pytest.mark.parametrize("leg", [A_LEG, UNANSWERED])
    def test_says_the_same_as_in_json(self, tmp_path: Path, leg: dict[str, str]) -> None:
        xml, json = written(tmp_path, as_xml(leg), "xml"), written(tmp_path, as_json(leg), "json")
        assert read(xml) == read(json, "freeswitch_json")
        assert len(read(xml)[0]) == 1

    def test_says_the_same_where_values_were_not_escaped(self, tmp_path: Path) -> None:
        malformed = written(tmp_path, as_xml(A_LEG, escape=False))
        assert read(malformed) == read(written(tmp_path, as_xml(A_LEG), "well-formed"))
        [(_, row)], _, _ = raw_rows(malformed, "freeswitch_xml", columns=frozenset({"sip_full_from"}))
        assert row["sip_full_from"] == A_LEG["sip_full_from"]

    @pytest.mark.parametrize("content", [ENCODED_VALUES, POSTED, f"uuid=a_1&{POSTED}"])
    def test_says_the_same_percent_encoded(self, tmp_path: Path, content: str) -> None:
        path = written(tmp_path, content)
        assert read(path) == read(written(tmp_path, as_xml(A_LEG), "plain"))
        assert identify(path) == "freeswitch_xml"

    def test_of_a_b_leg_is_skipped(self, tmp_path: Path) -> None:
        assert read(written(tmp_path, as_xml(A_LEG, B_LEG)))[2] == 1
        by_profile = {name: value for name, value in B_LEG.items() if name not in ("originating_leg_uuid", "direction")}
        path = written(tmp_path, as_xml(by_profile, originator=True))
        assert read(path)[2] == 1
        assert read(path, where={})[0][0]["ingress_address"] is None


class TestEntities:
    def test_of_xml_are_resolved(self, tmp_path: Path) -> None:
        leg = {**A_LEG, "note": "&lt;&gt;&amp;&quot;&apos;&#43;&#x2B;"}
        [(_, row)], _, _ = raw_rows(
            written(tmp_path, as_xml(leg, escape=False)), "freeswitch_xml", {"encoded": False}, frozenset({"note"})
        )
        assert row["note"] == "<>&\"'++"

    def test_of_a_document_s_own_are_left_alone(self, tmp_path: Path) -> None:
        bomb = '<!DOCTYPE cdr [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">]>\n'
        leg = {**A_LEG, "note": "&b;&x;&eacute;"}
        [(_, row)], rejected, _ = raw_rows(
            written(tmp_path, bomb + as_xml(leg, escape=False)), "freeswitch_xml", columns=frozenset({"note"})
        )
        assert (row["note"], rejected) == ("&b;&x;&eacute;", [])


class TestFiles:
    def test_hold_documents_one_behind_the_other(self, tmp_path: Path) -> None:
        path = written(tmp_path, "\n".join([as_xml(A_LEG)] * 1500))
        calls, rejected, _ = read(path)
        assert ([call["row"] for call in calls], rejected) == (list(range(1, 1501)), [])

    def test_that_break_off_have_a_reject_at_their_end(self, tmp_path: Path) -> None:
        calls, [reject], _ = read(written(tmp_path, as_xml(A_LEG) + as_xml(A_LEG)[:-30]))
        assert ([call["row"] for call in calls], reject.row) == ([1], 2)
        assert "cut off" in reject.detail

    def test_with_a_document_cut_off_go_on_with_the_next(self, tmp_path: Path) -> None:
        calls, [reject], _ = read(written(tmp_path, as_xml(A_LEG)[:700] + as_xml(A_LEG)))
        assert ([call["row"] for call in calls], reject.row) == ([2], 1)

    def test_with_a_document_without_variables_have_a_reject(self, tmp_path: Path) -> None:
        calls, [reject], _ = read(written(tmp_path, "<cdr><x>1</x></cdr>" + as_xml(A_LEG)))
        assert ([call["row"] for call in calls], reject.row) == ([2], 1)

    def test_with_an_endless_document_are_refused_in_bounded_memory(self, tmp_path: Path) -> None:
        path = written(tmp_path, "<cdr><variables>" + "x" * (12 * MAX_LINE) + as_xml(A_LEG))
        with memory_peak_below(32 << 20):
            calls, rejected, _ = read(path)
        assert (len(calls), [reject.detail for reject in rejected]) == (1, ["too long"])

    @pytest.mark.parametrize(
        "content",
        [
            "<cdr><variables>" + "".join(f"<a{n}>" for n in range(100_000)) + "</variables></cdr>",
            "<cdr>" + "<a " * 300_000 + "</cdr>",
            "<cdr></cdr>" * 60_000,
            "<cdr " * 60_000,
        ],
    )
    def test_that_were_made_to_be_slow_are_not(self, tmp_path: Path, content: str) -> None:
        assert read(written(tmp_path, content))[0] == []

    def test_with_marks_cut_by_the_reader_s_blocks_are_whole(self, tmp_path: Path) -> None:
        document = as_xml(A_LEG)
        for shift in range(0, 12):
            filler = "<!--" + "x" * ((1 << 20) - len(document) - 7 + shift) + "-->"
            calls, rejected, _ = read(written(tmp_path, document + filler + document))
            assert ([call["row"] for call in calls], rejected) == ([1, 2], [])


class TestIdentify:
    def test_claims_its_documents(self, tmp_path: Path) -> None:
        for content in (as_xml(A_LEG), as_xml(A_LEG, escape=False)):
            assert identify(written(tmp_path, content)) == "freeswitch_xml"

    @pytest.mark.parametrize("content", ["<cdr><a/></cdr>", "<broadWorksCDR><cdrData/></broadWorksCDR>", "cdr=%3Cx%3E"])
    def test_claims_no_other_xml(self, tmp_path: Path, content: str) -> None:
        assert "freeswitch_xml" not in claimants(written(tmp_path, content))
