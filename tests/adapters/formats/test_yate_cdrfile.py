"""Yate's cdrfile in its own four formats and in the operator's; legs joined by billid.

Formats after modules/cdrfile.cpp of Yate 6. Synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.formats._template_lines import Template
from cdr_adapters.formats.yate_cdrfile import FORMATS
from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.schema import RejectReason
from tests.adapters.reading import written

LEG = {
    "time": "1795321361.250",
    "billid": "1795000000-17",
    "chan": "sip/33",
    "address": "198.51.100.20:5060",
    "caller": "2025550199",
    "called": "12025550143",
    "billtime": "36.000",
    "ringtime": "2.500",
    "duration": "39.500",
    "direction": "incoming",
    "status": "answered",
    "reason": "",
}
REST = {**LEG, "chan": "sip/34", "address": "203.0.113.30:5060", "direction": "outgoing", "called": "12025550143"}
ALONE = {**REST, "billid": "1795000000-18"}
OUT = {f"out_leg.{name}": value for name, value in REST.items()}


def line(form: str, values: dict[str, str]) -> str:
    template = Template.of(form)
    filled = [values.get(name, "") for name in template.names]
    return "".join(text + value for text, value in zip(template.texts, [*filled, ""], strict=True)) + "\n"


SEPARATE, COMBINED = FORMATS[:2], FORMATS[2:]
SAMPLES: list[bytes] = [
    *((line(form, LEG) + line(form, REST)).encode() for form in SEPARATE),
    *((line(form, LEG | OUT)).encode() for form in COMBINED),
]
MAPPING: dict[str, Any] = {}


def read(path: Path, **mapping: Any) -> tuple[list[dict[str, Any]], list[Any], int]:
    source = SourceMapping.model_validate({"name": "x", "path": "x", "format": "yate_cdrfile", **mapping})
    batches = list(read_source(path, source, TrunkFormats()))
    return (
        [call for batch in batches for call in batch.calls.to_pylist()],
        [reject for batch in batches for reject in batch.rejected],
        sum(batch.skipped for batch in batches),
    )


@pytest.mark.parametrize("form", SEPARATE, ids=["tabs", "commas"])
class TestLegs:
    def test_that_came_in_name_the_other_side(self, tmp_path: Path, form: str) -> None:
        path = written(tmp_path, line(form, LEG) + line(form, REST))
        assert identify(path) == "yate_cdrfile"
        [call], rejected, skipped = read(path)
        assert (rejected, skipped) == ([], 1)
        assert (call["called_in"], call["calling"]) == ("+12025550143", "+12025550199")
        assert (call["ingress_address"], call["egress_address"]) == ("198.51.100.20", None)
        assert call["seizure_earliest"].timestamp() == 1795321361.25
        assert (call["call_id"], call["disposition"], call["leg"]) == ("1795000000-17", "answered", "A")

    def test_that_went_out_never_name_it_as_upstream(self, tmp_path: Path, form: str) -> None:
        calls, _, _ = read(written(tmp_path, line(form, REST) + line(form, LEG)), where={"direction": "outgoing"})
        assert [(call["ingress_address"], call["egress_address"]) for call in calls] == [(None, "203.0.113.30")]

    def test_that_went_out_alone_are_calls_that_began_here(self, tmp_path: Path, form: str) -> None:
        calls, _, skipped = read(written(tmp_path, line(form, LEG) + line(form, REST) + line(form, ALONE)))
        assert [(call["call_id"], call["ingress_address"]) for call in calls] == [
            ("1795000000-17", "198.51.100.20"),
            ("1795000000-18", None),
        ]
        assert skipped == 1


@pytest.mark.parametrize("form", COMBINED, ids=["tabs", "commas"])
def test_a_combined_line_names_both_sides(tmp_path: Path, form: str) -> None:
    path = written(tmp_path, line(form, LEG | OUT))
    assert identify(path) == "yate_cdrfile"
    [call], rejected, skipped = read(path)
    assert (rejected, skipped) == ([], 0)
    assert (call["ingress_address"], call["egress_address"]) == ("198.51.100.20", "203.0.113.30")


class TestTheOperatorsFormat:
    def test_names_the_columns(self, tmp_path: Path) -> None:
        form = "${billid};${direction};${time};${address};${called};${sip_from}"
        [call], _, _ = read(written(tmp_path, line(form, LEG)), options={"format": form})
        assert (call["called_in"], call["ingress_address"]) == ("+12025550143", "198.51.100.20")

    def test_that_does_not_tell_whose_the_address_is_gives_none(self, tmp_path: Path) -> None:
        form = "${time};${address};${called}"
        [call], _, _ = read(written(tmp_path, line(form, REST)), options={"format": form})
        assert (call["ingress_address"], call["egress_address"]) == (None, None)

    @pytest.mark.parametrize("form", ["", "${address}", "${time}${called}"])
    def test_that_can_t_be_read_is_refused(self, tmp_path: Path, form: str) -> None:
        with pytest.raises(AdapterError, match="format"):
            read(written(tmp_path, ""), options={"format": form})


class TestLines:
    @pytest.mark.parametrize("broken", [line(FORMATS[2], LEG), "x\ty\n", line(FORMATS[0], {**LEG, "time": "soon"})])
    def test_that_don_t_fit_the_format_are_rejected(self, tmp_path: Path, broken: str) -> None:
        good = line(FORMATS[0], LEG)
        calls, [reject], _ = read(written(tmp_path, good * 6 + broken + good))
        assert (len(calls), reject.row, reject.reason) == (7, 7, RejectReason.MALFORMED_ROW)


@pytest.mark.parametrize("content", ["1795321361.250,a,b\n", "\t".join("abcdefghijkl") + "\n", "1,2\n"])
def test_no_other_table_is_claimed(tmp_path: Path, content: str) -> None:
    assert "yate_cdrfile" not in claimants(written(tmp_path, content))
