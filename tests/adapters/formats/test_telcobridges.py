"""TelcoBridges text CDRs after "Text Call Detail Records" (docs.telcobridges.com). All is synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.adapters.formats.exports import DOWNSTREAM, NUMBERS, UPSTREAM, calls_of, read, some, utc
from tests.adapters.reading import raw_rows, written

INCOMING = (
    "END,SessionId='a939d169 299ffcd0 00000000 00000000',LegId='0x1',StartTime='1795303407',ConnectedTime='1795303414',"
    "EndTime='1795303421',Calling='2025550199',Called='12025550143',NAP='NAP_IN',Direction='incoming'"
)
OUTGOING = INCOMING.replace("0x1", "0x2").replace("NAP_IN", "NAP_OUT").replace("incoming", "outgoing")
SAMPLES: list[bytes] = [f"{INCOMING.replace('END', 'BEG', 1)}\n{INCOMING}\n{OUTGOING}\n".encode()]
MAPPING: dict[str, Any] = {}


def test_the_trunk_is_upstream_on_the_incoming_leg_and_downstream_on_the_other(tmp_path: Path) -> None:
    _, one, other = calls_of(tmp_path, SAMPLES[0], "telcobridges")
    assert some(one, *NUMBERS) == ("+12025550143", None, "+12025550199")
    assert some(one, *UPSTREAM, *DOWNSTREAM) == ("NAP_IN", None, None, None)
    assert some(other, *NUMBERS) == (None, "+12025550143", "+12025550199")
    assert some(other, *UPSTREAM, *DOWNSTREAM) == (None, None, "NAP_OUT", None)
    assert one["call_id"] == other["call_id"] == "a939d169 299ffcd0 00000000 00000000"
    assert some(one, "seizure_earliest", "answer") == (utc("2026-11-21 23:23:27"), utc("2026-11-21 23:23:34"))


def test_a_template_without_direction_names_no_upstream(tmp_path: Path) -> None:
    [call] = calls_of(tmp_path, INCOMING.replace(",Direction='incoming'", ""), "telcobridges")
    assert some(call, "called_in", *UPSTREAM) == ("+12025550143", None, None)


def test_a_variable_is_found_in_any_order_quotes_and_spelling(tmp_path: Path) -> None:
    line = (
        'StatusType="End", nap = NAP_IN, DIRECTION=Incoming, CalledNumber="12025550143", start_time=1795303407, '
        "SessionId=s1, Note='a, b'"
    )
    [(_, row)], _, _ = raw_rows(written(tmp_path, line), "telcobridges")
    assert row["Note"] == "a, b"
    [call] = calls_of(tmp_path, line, "telcobridges")
    assert some(call, "called_in", "ingress_trunk", "call_id") == ("+12025550143", "NAP_IN", "s1")


def test_an_update_is_no_call_setup(tmp_path: Path) -> None:
    calls, rejected, skipped = read(written(tmp_path, INCOMING.replace("END", "UPD", 1)), "telcobridges")
    assert (calls, rejected, skipped) == ([], [], 1)


@pytest.mark.parametrize(
    "line",
    ["END,SessionId='a", "END,a,b,c", "END", "x" * 200, "END,Called='1'", "END,SessionId=" + " " * 200_000 + "'"],
)
def test_a_line_that_is_no_record_is_rejected(tmp_path: Path, line: str) -> None:
    rows, [reject], _ = raw_rows(written(tmp_path, line), "telcobridges")
    assert (rows, reject.row) == ([], 1)


@pytest.mark.parametrize("value", ["", "a, b", "x=1", "a b", "=", "Called='2'", "ü"])
def test_the_quotes_make_no_difference(tmp_path: Path, value: str) -> None:
    single, double = (f"END,SessionId={q}s{q},Note={q}{value}{q},LegId={q}1{q}" for q in "'\"")
    [(_, expected)], _, _ = raw_rows(written(tmp_path, double), "telcobridges")
    assert expected["Note"] == value
    rows, rejected, _ = raw_rows(written(tmp_path, single), "telcobridges")
    if "'" in value:
        assert (rows, len(rejected)) == ([], 1)
    else:
        assert rows == [(1, expected)]
