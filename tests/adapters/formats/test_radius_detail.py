"""RADIUS detail files: blocks of lines read at once as if one by one; h323 and Acme attributes on the right side.

After FreeRADIUS 3.2 (rlm_detail), RFC 2866, Cisco's RADIUS VSA guide, Oracle's accounting guide (RADIUS form).
Synthetic, and the lab's own file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.formats._detail_blocks import Block, blocks
from cdr_adapters.registry import adapter
from tests.adapters.formats.exports import DOWNSTREAM, NUMBERS, UPSTREAM, Call, calls_of, read, some, utc
from tests.adapters.reading import raw_rows, written
from tests.shared import SIPLAB, needs_siplab

_ATTRIBUTE = re.compile(r"[ \t\v\f\r]([ \t]{0,15})([A-Za-z0-9][A-Za-z0-9._:-]{0,127}) (?:=|:=|\+=) (.*)", re.DOTALL)


def record(*attributes: str, header: str = "Sat Nov 21 16:23:41 2026") -> str:
    return "\n".join((header, *(f"\t{attribute}" for attribute in attributes), "", ""))


def h323(*more: str, origin: str = "answer", **values: str) -> str:
    """A Stop record of one leg as a Cisco gateway sends it; the keywords replace values."""
    said = {
        "setup": "15:23:27.250 PST Sat Nov 21 2026",
        "connect": "15:23:34.000 PST Sat Nov 21 2026",
        "disconnect": "15:23:41.000 PST Sat Nov 21 2026",
        "called": "12025550143",
        "remote": "198.51.100.20",
        "length": "7",
        "status": "Stop",
    } | values
    return record(
        f"Acct-Status-Type = {said['status']}",
        'Acct-Session-Id = "00000001"',
        f'h323-setup-time = "h323-setup-time={said["setup"]}"',
        f'h323-connect-time = "h323-connect-time={said["connect"]}"',
        f'h323-disconnect-time = "h323-disconnect-time={said["disconnect"]}"',
        f'h323-call-origin = "h323-call-origin={origin}"',
        f'h323-remote-address = "h323-remote-address={said["remote"]}"',
        'h323-conf-id = "h323-conf-id=CA615B46 D96B11E2 8F499C9C 52CD806F"',
        'h323-gw-id = "h323-gw-id=192.0.2.1"',
        "NAS-IP-Address = 192.0.2.1",
        'Calling-Station-Id = "2025550199"',
        f'Called-Station-Id = "{said["called"]}"',
        f"Acct-Session-Time = {said['length']}",
        "Acct-Delay-Time = 0",
        "Timestamp = 1795303421",
        *more,
    )


ACME = record(
    "Acct-Status-Type = Stop",
    "NAS-IP-Address = 192.0.2.1",
    'Acct-Session-Id = "SD1-1"',
    "Calling-Station-Id = \"'NAME' <sip:2025550199@198.51.100.20:5060;user=phone>;tag=1\"",
    'Called-Station-Id = "<sip:12025550143@192.0.2.1:5060;user=phone>"',
    'h323-setup-time = "15:23:27.250 PST NOV 21 2026"',
    'h323-connect-time = "15:23:34.000 PST NOV 21 2026"',
    'h323-disconnect-time = "15:23:41.000 PST NOV 21 2026"',
    "Acct-Session-Time = 7",
    'Acme-Egress-Realm = "core"',
    'Acme-Ingress-Realm = "peer-a"',
    'Acme-Ingress-Local-Addr = "192.0.2.1:5060"',
    'Acme-Ingress-Remote-Addr = "198.51.100.20:5060"',
    'Acme-Egress-Local-Addr = "192.0.2.2:5060"',
    'Acme-Egress-Remote-Addr = "203.0.113.5:5060"',
    'Acme-Egress-Final-Routing-Number = "sip:+12025550143@203.0.113.5"',
    "Timestamp = 1795303421",
)
SIP = record(
    "Acct-Status-Type = Start",
    "Sip-Response-Code = 200",
    "Sip-Method = INVITE",
    'Acct-Session-Id = "1@example.net"',
    'Calling-Station-Id = "2025550199"',
    'Called-Station-Id = "12025550143"',
    "Acct-Delay-Time = 5",
    "NAS-IP-Address = 192.0.2.1",
    "Timestamp = 1795303419",
)

SAMPLES: list[bytes] = [(h323() + h323(origin="originate", remote="203.0.113.5")).encode(), ACME.encode(), SIP.encode()]
MAPPING: dict[str, Any] = {}


def only(directory: Path, text: str, **mapping: Any) -> Call:
    [call] = calls_of(directory, text, "radius_detail", **mapping)
    return call


class TestALegOfACiscoGateway:
    def test_that_came_in_names_the_upstream_and_one_that_went_out_the_downstream(self, tmp_path: Path) -> None:
        incoming, outgoing = calls_of(tmp_path, SAMPLES[0], "radius_detail")
        assert some(incoming, *NUMBERS) == ("+12025550143", None, "+12025550199")
        assert some(incoming, *UPSTREAM, *DOWNSTREAM) == (None, "198.51.100.20", None, None)
        assert some(outgoing, *NUMBERS) == (None, "+12025550143", "+12025550199")
        assert some(outgoing, *UPSTREAM, *DOWNSTREAM) == (None, None, None, "203.0.113.5")
        assert incoming["call_id"] == outgoing["call_id"] == "CA615B46 D96B11E2 8F499C9C 52CD806F"
        assert (incoming["leg"], outgoing["leg"]) == ("answer", "originate")

    def test_without_a_direction_names_nobody_and_never_the_gateway_itself(self, tmp_path: Path) -> None:
        for origin in ("callback", ""):
            call = only(tmp_path, h323(origin=origin))
            assert some(call, "called_in", *UPSTREAM, *DOWNSTREAM) == ("+12025550143", None, None, None, None)

    @pytest.mark.parametrize("mark", ["", "*", "."])
    def test_has_its_times_whatever_mark_the_clock_has(self, tmp_path: Path, mark: str) -> None:
        call = only(tmp_path, h323(setup=f"{mark}15:23:27.250 PST Sat Nov 21 2026"))
        assert some(call, "seizure_earliest", "answer", "release") == (
            utc("2026-11-21 23:23:27.250"),
            utc("2026-11-21 23:23:34"),
            utc("2026-11-21 23:23:41"),
        )

    def test_may_say_all_in_pairs(self, tmp_path: Path) -> None:
        text = re.sub(r"\th323-([a-z-]+) = ", r"\tCisco-AVPair = ", h323())
        assert text.count("Cisco-AVPair") == 7
        assert only(tmp_path, text) == only(tmp_path, h323())

    def test_may_leave_out_the_repeated_names(self, tmp_path: Path) -> None:
        assert only(tmp_path, re.sub(r'"h323-[a-z-]+=', '"', h323())) == only(tmp_path, h323())

    def test_has_its_trunk_groups_from_pairs(self, tmp_path: Path) -> None:
        pairs = ('Cisco-AVPair = "in-trunkgroup-label=TG-IN"', 'Cisco-AVPair = "out-trunkgroup-label=TG-OUT"')
        assert some(only(tmp_path, h323(*pairs)), "ingress_trunk", "egress_trunk") == ("TG-IN", "TG-OUT")

    def test_in_a_zone_with_two_meanings_needs_the_mapping(self, tmp_path: Path) -> None:
        path = written(tmp_path, h323(setup="14:48:32.000 EET Mon Dec 26 2005"))
        calls, [reject], _ = read(path, "radius_detail")
        assert (calls, "set abbreviations" in reject.detail) == ([], True)
        time = {
            "column": "h323-setup-time",
            "format": "%H:%M:%S.%f %Z %a %b %d %Y",
            "abbreviations": {"EET": "+02:00"},
        }
        columns = {"called_in": "Called-Station-Id", "seizure": time}
        assert read(path, "radius_detail", {"columns": columns})[0][0]["seizure_earliest"] == utc("2005-12-26 12:48:32")

    @pytest.mark.parametrize(
        ("values", "disposition"),
        [
            ({"length": "0"}, "unanswered"),
            ({"length": "7"}, "answered"),
            ({"status": "Failed"}, "failed"),
            ({"length": "x"}, None),
            ({"status": "Start"}, None),
        ],
    )
    def test_says_how_it_ended(self, tmp_path: Path, values: dict[str, str], disposition: str | None) -> None:
        assert only(tmp_path, h323(**values))["disposition"] == disposition

    def test_that_starts_has_not_been_answered_by_that(self, tmp_path: Path) -> None:
        text = re.sub(r"\th323-(?:dis)?connect-time = .*\n", "", h323(status="Start"))
        assert some(only(tmp_path, text), "seizure_earliest", "answer") == (utc("2026-11-21 23:23:27.250"), None)

    def test_that_reports_meanwhile_is_no_call_setup(self, tmp_path: Path) -> None:
        text = "".join(h323(status=status) for status in ("Interim-Update", "Alive", "Accounting-On", "3"))
        assert read(written(tmp_path, text), "radius_detail") == ([], [], 4)


class TestASession:
    def test_of_an_oracle_controller_has_both_sides(self, tmp_path: Path) -> None:
        call = only(tmp_path, ACME)
        assert some(call, *NUMBERS) == ("+12025550143", "+12025550143", "+12025550199")
        assert some(call, *UPSTREAM, *DOWNSTREAM) == ("peer-a", "198.51.100.20", "core", "203.0.113.5")
        assert some(call, "seizure_earliest", "answer") == (utc("2026-11-21 23:23:27.250"), utc("2026-11-21 23:23:34"))
        assert some(call, "call_id", "disposition") == ("SD1-1", "answered")

    def test_of_a_sip_server_is_known_by_its_answer_less_the_delay(self, tmp_path: Path) -> None:
        call = only(tmp_path, SIP)
        assert some(call, "answer", "seizure_latest") == (utc("2026-11-21 23:23:34"), utc("2026-11-21 23:23:35"))
        assert some(call, "disposition", *UPSTREAM) == ("answered", None, None)

    @pytest.mark.parametrize(("code", "disposition"), [("487", "unanswered"), ("503", "failed"), ("302", "failed")])
    def test_of_a_sip_server_that_failed(self, tmp_path: Path, code: str, disposition: str) -> None:
        text = SIP.replace("= Start", "= Failed").replace("= 200", f"= {code}")
        assert some(only(tmp_path, text), "disposition", "release") == (disposition, utc("2026-11-21 23:23:34"))

    def test_of_a_sip_server_has_no_setup_in_its_bye(self, tmp_path: Path) -> None:
        text = SIP.replace("= Start", "= Stop").replace("= INVITE", "= BYE")
        assert read(written(tmp_path, text), "radius_detail") == ([], [], 1)


def by_hand(text: str) -> tuple[list[tuple[int, dict[str, str]]], list[int]]:
    """The good records and the numbers of the bad ones, line by line: what the reader must find in whole blocks."""
    good: list[tuple[int, dict[str, str]]] = []
    bad: list[int] = []
    group: list[tuple[int, str]] = []
    for number, line in enumerate([*text.replace("\r\n", "\n").split("\n"), ""], 1):
        if line.strip(" \t\v\f\r"):
            group.append((number, line))
            continue
        if group:
            fields = attributes(group)
            if fields is None:
                bad.append(group[0][0])
            else:
                good.append((group[0][0], fields))
        group = []
    return good, bad


def attributes(group: list[tuple[int, str]]) -> dict[str, str] | None:
    (_, header), *lines = group
    if header[0] in " \t\v\f\r" or not lines or len(lines) > 2000:
        return None
    fields = {"header": header.strip()}
    for _, line in lines:
        match = _ATTRIBUTE.fullmatch(line)
        value = None if match is None else unquoted(match[3])
        if match is None or value is None:
            return None
        value = value.removeprefix(f"{match[2]}=")
        if match[2].startswith("h323-") and match[2].endswith("-time"):
            value = value.lstrip(".*")
        fields[match[2]] = f"{fields[match[2]]}\n{value}" if match[2] in fields else value
    return fields


def unquoted(text: str) -> str | None:
    if text[:1] not in ('"', "'"):
        return text
    if len(text) < 2 or text[-1] != text[0]:
        return None
    escapes = {"n": "\n", "r": "\r", "t": "\t"}
    return re.sub(
        r"\\([0-7]{3}|.)",
        lambda m: chr(int(m[1], 8)) if len(m[1]) == 3 else escapes.get(m[1], m[1]),
        text[1:-1],
        flags=re.DOTALL,
    )


_LINES = st.one_of(
    st.sampled_from(
        [
            "",
            "Sat Nov 21 16:23:41 2026",
            "\tA = b",
            "\tA = c",
            "\tB := 1",
            "\tB += 2",
            '\tC-x = "a = \\"b\\"\\t\\101"',
            "\tC-x = 'a'",
            '\tD = "',
            '\tD = ""',
            "\tD = ",
            "\tD =",
            "\tA=b",
            "  \tE = f",
            " \t ",
            "\t",
            "\th323-setup-time = *12:00",
            '\th323-setup-time = "h323-setup-time=.12:00"',
            "\t-bad = 1",
            "\tü = 1",
            "\tF = ü\\n",
        ]
    ),
    st.text(alphabet='\t =A"\\:é', max_size=6),
)


class TestBlocksOfLines:
    @given(st.lists(_LINES, max_size=14), st.booleans(), st.sampled_from(["\n", "\r\n"]))
    @settings(max_examples=250, deadline=None)
    def test_give_what_a_reading_line_by_line_gives(self, lines: list[str], ended: bool, end: str) -> None:
        text = end.join(lines) + (end if ended else "")
        block = Block(text.replace("\r\n", "\n").encode(), 1)
        good, bad = by_hand(text)
        assert block.rows.to_pylist() == [row for row, _ in good]
        assert [reject.row for some in block.rejected() for reject in some] == bad
        found = {name: block.values(name).to_pylist() for name in block.names}
        headers = block.headers.to_pylist()
        for at, (_, fields) in enumerate(good):
            values = {name: found[name][at] for name in found if found[name][at] is not None}
            expected = {name: value for name, value in fields.items() if name != "header"}
            marks = {name: value.lstrip(".*") if name == "h323-setup-time" else value for name, value in values.items()}
            assert marks == expected
            assert headers[at] == fields["header"]

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    @pytest.mark.parametrize("gap", ["", " \t"])
    def test_may_end_anywhere_in_the_file(self, tmp_path: Path, end: str, gap: str) -> None:
        count = 20_000
        text = "".join(f"Sat Nov 21 16:23:41 2026{end}\tA = {n:0200}{end}\tB = x{end}{gap}{end}" for n in range(count))
        path = written(tmp_path, text)
        assert len(list(blocks(path, "utf-8"))) > 1, "or the test shows nothing"
        rows, rejected, _ = raw_rows(path, "radius_detail")
        assert not rejected
        assert [row for row, _ in rows] == list(range(1, 4 * count, 4))
        assert [int(fields["A"] or "") for _, fields in rows] == list(range(count))

    def test_of_nothing_but_broken_records_are_rejected_some_at_a_time(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a\n\n" * 50_000)
        found = [len(batch.rejected) for batch in adapter("radius_detail").read(path, {}, None)]
        assert sum(found) == 50_000
        assert max(found) < 20_000

    def test_without_end_are_given_up_and_the_next_record_is_read(self, tmp_path: Path) -> None:
        endless = "Sat Nov 21 16:23:41 2026\n" + "\tA = b\n" * 1_600_000 + "\n"
        rows, rejected, _ = raw_rows(written(tmp_path, endless + record("A = c")), "radius_detail")
        assert [fields["A"] for _, fields in rows] == ["c"]
        assert [reject.row for reject in rejected] == [1]
        assert rows[0][0] == endless.count("\n") + 1


class TestColumns:
    def test_that_nobody_wants_cost_nothing_and_those_that_are_not_there_are_null(self, tmp_path: Path) -> None:
        path = written(tmp_path, record("A = b") + record("C = d"))
        rows, _, _ = raw_rows(path, "radius_detail", columns=frozenset(["A", "none", "Cisco-AVPair.x", "incoming:A"]))
        assert rows == [
            (1, {"A": "b", "Cisco-AVPair.x": None, "incoming:A": None, "none": None}),
            (4, {"A": None, "Cisco-AVPair.x": None, "incoming:A": None, "none": None}),
        ]

    def test_of_one_pair_hold_all_its_values(self, tmp_path: Path) -> None:
        path = written(tmp_path, record('Cisco-AVPair = "x=1"', 'Cisco-AVPair = "y=2"', 'Cisco-AVPair = "x=3"'))
        rows, _, _ = raw_rows(path, "radius_detail", columns=frozenset(["Cisco-AVPair", "Cisco-AVPair.x"]))
        assert rows == [(1, {"Cisco-AVPair": "x=1\ny=2\nx=3", "Cisco-AVPair.x": "1\n3"})]


@needs_siplab
def test_the_labs_file_needs_no_mapping() -> None:
    path = SIPLAB / "ivy/ivy_radius.detail"
    calls, rejected, skipped = read(path, "radius_detail")
    assert not rejected
    text = path.read_text()
    assert len(calls) == text.count("Sip-Method = INVITE")
    assert skipped == text.count("Sip-Method = BYE")
    assert sum(call["answer"] is not None for call in calls) == text.count("Acct-Status-Type = Start")
    assert {some(call, *UPSTREAM) for call in calls} == {(None, None)}, "its server recorded its own address only"
