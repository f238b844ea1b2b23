"""Tables of db_text: columns by their definitions, acc's with the customary meaning.

After db_text of Kamailio 5.6. Synthetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants, identify
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from tests.adapters.reading import raw_rows, written

DEFINITION = (
    "id(int,auto) method(string) from_tag(string) to_tag(string) callid(string) sip_code(string) sip_reason(string) "
    "time(int) src_user(string,null) src_ip(string,null) dst_ouser(string,null)\n"
)
INVITE = "1:INVITE:a:b:1@203.0.113.21:200:OK:1795321364:2025550199:198.51.100.20:12025550143\n"
BYE = "2:BYE:a:b:1@203.0.113.21:200:OK:1795321400:::\n"

SAMPLES: list[bytes] = [(DEFINITION + INVITE + BYE).encode()]
MAPPING: dict[str, Any] = {}


def read(path: Path, **mapping: Any) -> list[dict[str, Any]]:
    source = SourceMapping.model_validate({"name": "x", "path": "x", "format": "kamailio_dbtext", **mapping})
    return [call for batch in read_source(path, source, TrunkFormats()) for call in batch.calls.to_pylist()]


def test_acc_needs_no_mapping(tmp_path: Path) -> None:
    path = written(tmp_path, DEFINITION + INVITE + BYE)
    assert identify(path) == "kamailio_dbtext"
    [call] = read(path)
    assert (call["called_in"], call["calling"], call["ingress_address"]) == (
        "+12025550143",
        "+12025550199",
        "198.51.100.20",
    )
    assert (call["answer"].timestamp(), call["disposition"], call["row"]) == (1795321364, "answered", 2)


def test_missed_calls_have_an_end_and_no_answer(tmp_path: Path) -> None:
    [call] = read(written(tmp_path, DEFINITION + INVITE.replace(":200:OK:", ":486:Busy Here:")))
    assert (call["answer"], call["release"].timestamp(), call["disposition"]) == (None, 1795321364, "unanswered")


def test_any_other_table_needs_one(tmp_path: Path) -> None:
    path = written(tmp_path, "id(int) who(string) when(int)\n1:12025550143:1795321364\n")
    with pytest.raises(AdapterError, match="has no column"):
        read(path)
    [call] = read(path, columns={"called_in": "who", "seizure": {"column": "when", "format": "epoch_s"}}, where={})
    assert call["called_in"] == "+12025550143"


def test_values_may_hold_colons_behind_a_backslash(tmp_path: Path) -> None:
    path = written(tmp_path, DEFINITION + INVITE.replace("12025550143", r"sip\:12025550143@192.0.2.1\:5060"))
    [(_, row)], _, _ = raw_rows(path, "kamailio_dbtext")
    assert row["dst_ouser"] == "sip:12025550143@192.0.2.1:5060"
    assert read(path)[0]["called_in"] == "+12025550143"


def test_a_row_of_another_width_is_rejected_and_the_next_is_read(tmp_path: Path) -> None:
    _, [reject], _ = raw_rows(written(tmp_path, DEFINITION + "1:INVITE\n" + INVITE), "kamailio_dbtext")
    assert (reject.row, reject.detail) == (2, "2 values instead of 11")


@pytest.mark.parametrize("content", ["id,method\n1,2\n", "id(int) x\n", "a:b:c\n"])
def test_no_other_text_is_claimed(tmp_path: Path, content: str) -> None:
    assert "kamailio_dbtext" not in claimants(written(tmp_path, content))
