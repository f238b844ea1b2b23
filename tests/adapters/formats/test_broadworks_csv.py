"""BroadWorks CDRs in CSV: after the 'BroadWorks Accounting Call Detail Record Interface Specification'.

All but the sample in ../shared is synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats.broadworks_csv import FIRST, LATER
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected
from cdr_adapters.stream import read_head
from tests.adapters.reading import raw_rows, written
from tests.shared import SAMPLES as SHARED_SAMPLES
from tests.shared import needs_samples

HEAD = "version={} encoding=ISO-8859-1\n"
START = "460474845c4d1e20261120203000.1380-080000,,Start" + "," * 40 + "\n"
PLACED = {
    "recordId": "460475845c4d1e20261120202952.1930-080000",
    "serviceProvider": "Example_sp",
    "type": "Normal",
    "userNumber": "+12025550199",
    "groupNumber": "+12025550100",
    "direction": "Originating",
    "callingNumber": "+12025550199",
    "calledNumber": "2025550143",
    "startTime": "20261120202952.193",
    "userTimeZone": "0-080000",
    "answerIndicator": "Yes",
    "answerTime": "20261120203015.470",
    "releaseTime": "20261120203021.732",
    "terminationCause": "016",
    "dialedDigits": "92025550143",
    "networkTranslatedNumber": "+12025550143",
    "route": "192.0.2.30:5060",
    "networkCallID": "BW1@198.51.100.10",
    "accessDeviceAddress": "203.0.113.50",
    "group": "Example_gp",
    "localCallId": "2397541:0",
}
GOT = PLACED | {
    "userNumber": "+12025550143",
    "direction": "Terminating",
    "calledNumber": "+12025550143",
    "networkTranslatedNumber": "",
    "dialedDigits": "",
}
POSITIONS = {name: index + 1 for index, name in enumerate(FIRST)}


def line(record: dict[str, str], width: int = 192, positions: dict[str, int] | None = None) -> str:
    """One record, its values where the specification has them."""
    values = [""] * width
    for name, position in (positions or POSITIONS).items():
        values[position - 1] = record.get(name, "").replace("\\", "\\\\").replace(",", "\\,")
    return ",".join(values) + "\n"


def headed(names: list[str], *records: dict[str, str]) -> str:
    """An export with a line of names."""
    return "\n".join(",".join(values) for values in [names, *([r.get(n, "") for n in names] for r in records)]) + "\n"


SAMPLES: list[bytes] = [
    (HEAD.format("14.2") + START + line(PLACED) + line(GOT)).encode(),
    (HEAD.format("23.0") + line(PLACED, 448)).encode(),
    headed(list(PLACED), PLACED, GOT).encode(),
]
MAPPING: dict[str, Any] = {}


def calls(path: Path, **keys: Any) -> tuple[list[dict[str, Any]], list[Rejected]]:
    mapping = SourceMapping.model_validate({"name": "as", "path": "x", "format": "broadworks_csv", **keys})
    found = list(read_source(path, mapping, TrunkFormats()))
    return [call for batch in found for call in batch.calls.to_pylist()], [r for batch in found for r in batch.rejected]


class TestACallThatWasPlacedHere:
    @pytest.mark.parametrize(("version", "width"), [("14.2", 192), ("17.4", 250), ("20.0", 400), ("23.0", 448)])
    def test_comes_from_the_users_side_and_goes_out_by_the_route(
        self, tmp_path: Path, version: str, width: int
    ) -> None:
        [call], rejected = calls(written(tmp_path, HEAD.format(version) + START + line(PLACED, width)))
        assert not rejected
        expected = {
            "called_in": "+12025550143",
            "called_out": "+12025550143",
            "calling": "+12025550199",
            "ingress_trunk": "Example_gp",
            "ingress_address": "203.0.113.50",
            "egress_trunk": None,
            "egress_address": "192.0.2.30",
            "call_id": "BW1@198.51.100.10",
            "leg": "Originating",
            "disposition": "answered",
        }
        assert {name: call[name] for name in expected} == expected
        assert call["seizure_earliest"].isoformat() == "2026-11-20T20:29:52.193000+00:00"

    def test_has_its_trunk_group_where_the_release_is_known(self, tmp_path: Path) -> None:
        record = PLACED | {"trunkGroupName": "Example_gp/PBX1"}
        positions = POSITIONS | LATER["18"]
        for version, expected in (("18.0", "Example_gp/PBX1"), ("21.0", "Example_gp")):
            [call], _ = calls(written(tmp_path, HEAD.format(version) + line(record, 336, positions)))
            assert call["ingress_trunk"] == expected

    def test_the_number_that_the_network_got_counts_and_not_the_keys_that_were_pressed(self, tmp_path: Path) -> None:
        [call], _ = calls(written(tmp_path, line(PLACED | {"calledNumber": "5550143"})))
        assert call["called_in"] == "+12025550143"


class TestACallThatCameIn:
    @pytest.mark.parametrize(
        ("route", "trunk", "address"),
        [
            ("gw1.example.net", "gw1.example.net", None),
            ("192.0.2.30:5060", None, "192.0.2.30"),
            ("[2001:db8::30]:5060", None, "2001:db8::30"),
            ("Group", "Group", None),
            ("", None, None),
        ],
    )
    def test_comes_from_the_route(self, tmp_path: Path, route: str, trunk: str | None, address: str | None) -> None:
        [call], _ = calls(written(tmp_path, line(GOT | {"route": route})))
        assert (call["called_in"], call["called_out"]) == ("+12025550143", None)
        assert (call["ingress_trunk"], call["ingress_address"]) == (trunk, address)
        assert (call["egress_trunk"], call["egress_address"]) == ("Example_gp", "203.0.113.50")

    def test_without_a_direction_comes_from_where_the_user_is_not(self, tmp_path: Path) -> None:
        unsaid = [record | {"direction": ""} for record in (PLACED, GOT)]
        found, _ = calls(written(tmp_path, "".join(line(record) for record in unsaid)))
        assert [call["leg"] for call in found] == ["Originating", "Terminating"]

    def test_the_groups_number_is_the_users_too(self, tmp_path: Path) -> None:
        record = GOT | {"direction": "", "callingNumber": "+12025550111"}
        of_group = record | {"callingNumber": "+12025550100", "calledNumber": "+12025550122"}
        found, _ = calls(written(tmp_path, line(record) + line(of_group)))
        assert [call["leg"] for call in found] == ["Terminating", "Originating"]


class TestOutcome:
    @pytest.mark.parametrize(
        ("answered", "cause", "outcome"),
        [
            ("Yes", "016", "answered"),
            ("Yes-PostRedirection", "016", "answered"),
            ("No", "019", "unanswered"),
            ("No", "16", "unanswered"),
            ("No", "", "unanswered"),
            ("No", "034", "failed"),
            ("", "", None),
        ],
    )
    def test_of_a_call(self, tmp_path: Path, answered: str, cause: str, outcome: str | None) -> None:
        record = PLACED | {"answerIndicator": answered, "terminationCause": cause}
        [call], _ = calls(written(tmp_path, line(record)))
        assert call["disposition"] == outcome


class TestRecords:
    @pytest.mark.parametrize("kind", ["Normal", "Long Duration", "Interim"])
    def test_of_calls_are_read(self, tmp_path: Path, kind: str) -> None:
        assert len(calls(written(tmp_path, line(PLACED | {"type": kind})))[0]) == 1

    def test_marks_are_skipped(self, tmp_path: Path) -> None:
        text = HEAD.format("14.2") + START + START.replace("Start", "Failover") + START.replace("Start", "End")
        assert raw_rows(written(tmp_path, text), "broadworks_csv") == ([], [], 4)

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"type": "Strange"}, "no type of record"),
            ({"direction": "Sideways"}, "direction or start time isn't where it belongs"),
            ({"startTime": "yesterday"}, "direction or start time isn't where it belongs"),
        ],
    )
    def test_that_are_written_otherwise_are_refused(
        self, tmp_path: Path, changes: dict[str, str], problem: str
    ) -> None:
        found, [reject] = calls(written(tmp_path, line(PLACED | changes) + line(PLACED)))
        assert (len(found), reject.row) == (1, 1)
        assert problem in reject.detail
        assert "options.columns" in reject.detail

    def test_a_column_more_is_refused(self, tmp_path: Path) -> None:
        found, rejected = calls(written(tmp_path, "x," + line(PLACED)))
        assert (found, len(rejected)) == ([], 1)

    def test_commas_and_backslashes_are_escaped(self, tmp_path: Path) -> None:
        record = PLACED | {"serviceProvider": "Example\\, Inc., \\", "group": "a,b"}
        rows, _, _ = raw_rows(written(tmp_path, line(record)), "broadworks_csv")
        assert (rows[0][1]["serviceProvider"], rows[0][1]["group"]) == ("Example\\, Inc., \\", "a,b")
        assert rows[0][1]["IngressName"] == "a,b"


class TestColumns:
    def test_may_be_named_by_the_file(self, tmp_path: Path) -> None:
        names = sorted(PLACED)
        found, rejected = calls(written(tmp_path, headed([*names, "trunkGroupName"], PLACED, GOT)))
        assert not rejected
        assert [call["egress_address"] for call in found] == ["192.0.2.30", "203.0.113.50"]

    def test_may_be_given(self, tmp_path: Path) -> None:
        names = sorted(PLACED)
        text = headed(names, PLACED).split("\n", 1)[1]
        [call], _ = calls(written(tmp_path, text), options={"columns": names})
        assert call["ingress_trunk"] == "Example_gp"

    def test_can_be_asked_for_by_position(self, tmp_path: Path) -> None:
        columns = frozenset({"18", "400", "userNumber"})
        rows, _, _ = raw_rows(written(tmp_path, line(PLACED)), "broadworks_csv", columns=columns)
        assert rows[0][1] == {"18": "92025550143", "400": "", "userNumber": "+12025550199"}

    @needs_samples
    def test_stand_where_release_18_has_them(self) -> None:
        names = (SHARED_SAMPLES / "broadworks_csv" / "elmerfud__broadsoft_cdr__v18_cdr_csv.fieldnames.txt").read_text()
        told = names.split()
        assert tuple(told[: len(FIRST)]) == FIRST
        assert {name: told.index(name) + 1 for name in LATER["18"]} == LATER["18"]


class TestEncoding:
    def test_is_what_the_first_line_says(self, tmp_path: Path) -> None:
        for name in ("ISO-8859-1", "UTF-8"):
            text = HEAD.format("20.0").replace("ISO-8859-1", name) + line(PLACED | {"group": "Größe"})
            [call], _ = calls(written(tmp_path, text.encode(name)))
            assert call["ingress_trunk"] == "Größe"

    def test_that_nobody_knows_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="'klingon'"):
            calls(written(tmp_path, "version=20.0 encoding=klingon\n" + line(PLACED)))
        text = "version=20.0 encoding=klingon\n" + line(PLACED)
        assert len(calls(written(tmp_path, text), options={"encoding": "utf-8"})[0]) == 1


@needs_samples
class TestARealFile:
    FILE = SHARED_SAMPLES / "broadworks_csv" / "unknown__Strata8__bw_r14sp2.PSEUDONYMISED.csv"

    def test_names_both_sides(self) -> None:
        [call], rejected = calls(self.FILE)
        assert not rejected
        assert (call["called_in"], call["calling"]) == ("+19785550100", "+14255550133")
        assert call["seizure_earliest"].isoformat() == "2009-01-26T20:29:52.193000+00:00"
        assert (call["leg"], call["egress_address"]) == ("Originating", "10.0.13.30")
        assert (call["ingress_trunk"], call["ingress_address"]) == ("Example_gp", "10.0.11.50")
        assert call["call_id"] == "BW122952211260109-193381513@10.0.10.10"

    def test_is_claimed(self) -> None:
        assert adapter("broadworks_csv").identify(read_head(self.FILE))


class TestIdentify:
    @pytest.mark.parametrize("sample", [*SAMPLES, line(PLACED).encode(), HEAD.format("21").encode()])
    def test_claims_its_own(self, tmp_path: Path, sample: bytes) -> None:
        assert adapter("broadworks_csv").identify(read_head(written(tmp_path, sample)))

    @pytest.mark.parametrize("text", ["a,b,c\n1,2,3\n", "", "version=1\n", "," * 50 + "\n", "calledNumber,startTime\n"])
    def test_leaves_others_alone(self, tmp_path: Path, text: str) -> None:
        assert not adapter("broadworks_csv").identify(read_head(written(tmp_path, text)))
