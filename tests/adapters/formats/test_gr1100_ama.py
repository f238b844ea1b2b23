"""AMA records of Telcordia GR-1100 (BAF); no real file was at hand, all is synthetic.

The first record is typed field by field after the printed example of Cisco's guide OL-3351-01, chapter 5 (structure
code 40625, call type 110, two trunk modules), with fictitious numbers; others are built from the tables.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr_adapters.formats import _ama_tables as tables
from cdr_adapters.formats._ama_files import header_date
from cdr_adapters.formats.gr1100_ama import _date_of
from cdr_adapters.identify import claimants
from cdr_adapters.raw import AdapterError
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected, RejectReason
from tests.adapters.formats.exports import Call, read
from tests.adapters.reading import memory_peak_below, raw_rows, written

NAME = "gr1100_ama"
AS_OF = {"as_of": "2026-11-22"}
MAPPING: dict[str, Any] = {"options": AS_OF, "zone": "America/New_York"}

INTERCONNECT = bytes.fromhex(
    "0063 0000"  # record descriptor word: 99 octets
    "AA"  # hexadecimal identifier
    "40625C"  # structure code 0625, modules follow
    "110C"  # 1: call type, interLATA originating
    "118C 0012345C 118C 0067890C"  # 2-5: sensor, recording office
    "61121C"  # 6: connect date, year 6, 21 November
    "00000C 0000000C 0C 0C 0C 000C"  # 7-12: indicators; called party off-hook detected
    "202C 5550143C"  # 13, 14: originating
    "0C 00571C 5550199C"  # 15-17: terminating, NPA dialled
    "1823272C 000000021C"  # 18, 19: connect 18:23:27.2, 2.1 seconds
    "00000C 61121C 1823260C 000000020C"  # 57, 6, 18, 19: carrier connect 18:23:26.0
    "010C 38004C 1C 0C 3C"  # 58, 83, 59, 85, 60: trunk group 8004, SS7 direct
    "104C 380030234C"  # trunk identification: direct incoming same network, group 8003, member 0234
    "104C 680042113C"  # tandem outgoing different network, group 8004, member 2113
    "000C"  # final module
)

DEFAULTS = {
    "call_type": "006",
    "connect_date": "61121",
    "overseas_indicator": "0",
    "originating_npa": "202",
    "originating_number": "5550143",
    "terminating_npa": "00571",
    "terminating_number": "5550199",
    "connect_time": "1823272",
    "elapsed_time": "000000600",
    "carrier_connect_date": "61121",
    "carrier_connect_time": "1823251",
    "trunk_group_number": "38004",
    "completion_indicator": "001",
    "dialed_npa": "800",
    "dialed_number": "5550123",
}


def packed(digits: str, sign: str = "c") -> bytes:
    return bytes.fromhex(digits + sign)


def field(name: str, digits: str | None = None) -> bytes:
    return packed((digits or DEFAULTS.get(name, "")).rjust(2 * tables.FIELDS[name] - 1, "0"))


def trunk(routing: int, group: int, member: int = 1) -> bytes:
    """Module 104."""
    return packed("104") + packed(f"{routing}{group:04d}{member:04d}")


def framed(body: bytes, leave_out: int = 0) -> bytes:
    return (len(body) + 4 - leave_out).to_bytes(2, "big") + b"\0\0" + body


def record(code: str, *modules: bytes, flag: bytes = b"\xaa", leave_out: int = 0, **fields: str) -> bytes:
    """A record of a structure; fields that aren't given have usual values or zeros."""
    body = flag + packed(("4" if modules else "0") + code)
    body += b"".join(field(name, fields.get(name)) for name in tables.STRUCTURES[code])
    if modules:
        body += b"".join(modules) + packed("000")
    return framed(body, leave_out)


def in_blocks(*blocks: bytes) -> bytes:
    return b"".join(framed(block) for block in blocks)


def file_header(made: str = "112226") -> bytes:
    """An AMADNS header: 28 octets, with the time (hhmm) in 12 bits and the date (mmddyy) in 20."""
    moment = (1305 << 20 | int(made)).to_bytes(4, "big")
    return b"\x1c" + bytes(8) + moment + moment + bytes(11)


SAMPLES = [
    INTERCONNECT + record("0001") + record("0653", call_type="119"),
    file_header() + INTERCONNECT + record("0360", call_type="141"),
    in_blocks(INTERCONNECT * 3, record("0500") * 2),
]


def rows_of(tmp_path: Path, content: bytes, **options: Any) -> list[dict[str, str | None]]:
    """The records of a file without a reject."""
    rows, rejected, _ = raw_rows(written(tmp_path, content), NAME, AS_OF | options)
    assert rejected == []
    return [fields for _, fields in rows]


def details(tmp_path: Path, content: bytes, **options: Any) -> list[str]:
    """Why the records of a file were rejected; the last one is a good one."""
    rows, rejected, _ = raw_rows(written(tmp_path, content + INTERCONNECT), NAME, AS_OF | options)
    assert len(rows) == 1
    return [reject.detail for reject in rejected]


def calls_of(path: Path, **mapping: Any) -> tuple[list[Call], list[Rejected], int]:
    """Canonical call legs by the format's own mapping."""
    return read(path, NAME, {**MAPPING, **mapping})


class TestTheRecordOfTheGuide:
    def test_gives_its_fields(self, tmp_path: Path) -> None:
        [row] = rows_of(tmp_path, INTERCONNECT)
        wanted = {
            "structure_code": "0625",
            "call_type": "110",
            "sensor_id": "0012345",
            "recording_office_id": "0067890",
            "called": "5715550199",
            "calling": "2025550143",
            "answered": "2026-11-21T18:23:27.2",
            "carrier_connected": "2026-11-21T18:23:26.0",
            "elapsed_time": "000000021",
            "incoming_trunk_group": "8003",
            "incoming_trunk_member": "0234",
            "outgoing_trunk_group": "8004",
            "outgoing_trunk_member": "2113",
            "ani_cpn_indicator": "3",
            "outcome": "answered",
            "flagged": "0",
        }
        assert {name: row[name] for name in wanted} == wanted

    def test_becomes_a_call_by_the_format_s_own_mapping(self, tmp_path: Path) -> None:
        [call], rejected, _ = calls_of(written(tmp_path, INTERCONNECT))
        assert rejected == []
        assert (call["called_in"], call["calling"]) == ("+15715550199", "+12025550143")
        assert call["seizure_earliest"] == datetime(2026, 11, 21, 23, 23, 26, tzinfo=UTC)
        assert call["seizure_latest"] == datetime(2026, 11, 21, 23, 23, 26, 100_000, tzinfo=UTC)
        assert call["answer"] == datetime(2026, 11, 21, 23, 23, 27, 200_000, tzinfo=UTC)
        assert (call["ingress_trunk"], call["egress_trunk"]) == ("8003", "8004")
        assert (call["leg"], call["disposition"], call["row"]) == ("110", "answered", 1)

    def test_needs_a_zone(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="set zone"):
            calls_of(written(tmp_path, INTERCONNECT), zone=None)


class TestEveryStructure:
    @pytest.mark.parametrize("code", sorted(tables.STRUCTURES))
    def test_is_read_with_modules_and_without(self, tmp_path: Path, code: str) -> None:
        plain, with_modules = rows_of(tmp_path, record(code) + record(code, trunk(5, 300)))
        assert plain["structure_code"] == with_modules["structure_code"] == code
        assert with_modules["incoming_trunk_group"] == "0300"
        has_number = "terminating_number" in tables.STRUCTURES[code]
        assert (plain["called"] is not None) == has_number

    def test_of_no_call_is_passed_over(self, tmp_path: Path) -> None:
        label = framed(b"\xaa" + packed("09013") + bytes(20))
        rows, rejected, skipped = raw_rows(written(tmp_path, INTERCONNECT + label + INTERCONNECT), NAME, AS_OF)
        assert (len(rows), rejected, skipped) == (2, [], 1)

    def test_that_is_not_known_is_rejected_with_its_code(self, tmp_path: Path) -> None:
        content = record("0001").replace(packed("00001"), packed("00502"))
        assert details(tmp_path, content) == ["structure code 0502 is not known: give its fields in options.structures"]

    def test_that_is_not_known_can_be_described(self, tmp_path: Path) -> None:
        content = record("0001").replace(packed("00001"), packed("00502"))
        [row] = rows_of(tmp_path, content, structures={"0502": list(tables.STRUCTURES["0001"])})
        assert (row["structure_code"], row["called"]) == ("0502", "5715550199")

    @pytest.mark.parametrize(
        "options", [{"structures": {"502": []}}, {"structures": {"0502": ["no_such_field"]}}, {"modules": {"104": 1}}]
    )
    def test_described_wrongly_is_refused(self, tmp_path: Path, options: dict[str, Any]) -> None:
        with pytest.raises(AdapterError, match="options of format 'gr1100_ama'"):
            rows_of(tmp_path, INTERCONNECT, **options)


class TestTheYear:
    @pytest.mark.parametrize(
        ("digits", "as_of", "meant"),
        [
            ("61121", date(2026, 11, 22), "2026-11-21"),
            ("61123", date(2026, 11, 22), "2026-11-23"),  # the switch's day may have begun already
            ("61124", date(2026, 11, 22), "2016-11-24"),
            ("51231", date(2026, 1, 2), "2025-12-31"),
            ("70101", date(2026, 12, 31), "2027-01-01"),
            ("70101", date(2026, 12, 30), "2017-01-01"),
            ("91231", date(2030, 1, 1), "2029-12-31"),
        ],
    )
    def test_is_the_last_one_with_that_digit(self, digits: str, as_of: date, meant: str) -> None:
        assert _date_of(digits, as_of) == meant

    @given(st.dates(date(2000, 1, 1), date(2090, 1, 1)), st.integers(0, 3600))
    def test_of_a_date_of_the_ten_years_before_is_found_again(self, as_of: date, days: int) -> None:
        day = date.fromordinal(as_of.toordinal() - days)
        assert _date_of(f"{day.year % 10}{day:%m%d}", as_of) == day.isoformat()

    def test_comes_from_the_file_s_own_header(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, file_header("112236") + INTERCONNECT), NAME)
        assert rejected == []
        assert (rows[0][0], rows[0][1]["answered"]) == (29, "2036-11-21T18:23:27.2")

    def test_comes_from_the_option_before_that(self, tmp_path: Path) -> None:
        [row] = rows_of(tmp_path, file_header("112236") + INTERCONNECT)
        assert row["answered"] == "2026-11-21T18:23:27.2"

    def test_comes_from_the_file_s_last_change_where_that_is_asked_for(self, tmp_path: Path) -> None:
        path = written(tmp_path, INTERCONNECT)
        moment = datetime(2016, 12, 1, tzinfo=UTC).timestamp()
        os.utime(path, (moment, moment))
        rows, _, _ = raw_rows(path, NAME, {"as_of": "modified"})
        assert rows[0][1]["answered"] == "2016-11-21T18:23:27.2"

    def test_is_never_guessed(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match=r"set options\.as_of"):
            raw_rows(written(tmp_path, INTERCONNECT), NAME)

    @pytest.mark.parametrize("header", [file_header("133226"), file_header()[:20], b"\x1d" + file_header()[1:]])
    def test_of_a_header_that_is_none_is_none(self, header: bytes) -> None:
        assert header_date(header + INTERCONNECT) is None
        assert header_date(file_header() + INTERCONNECT) == date(2026, 11, 22)


class TestNumbers:
    @pytest.mark.parametrize(
        ("indicator", "npa", "number", "called"),
        [
            ("0", "00571", "5550199", "5715550199"),
            ("1", "00571", "5550199", "5715550199"),
            ("0", "00000", "5550199", "5550199"),  # seven digits: which area is not said
            ("0", "07000", "5550199", "5550199"),  # the same, with its length
            ("8", "44207", "9460123", "+442079460123"),
            ("7", "03531", "5550199", "+35315550199"),
            ("0", "00000", "0000000", None),
        ],
    )
    def test_that_terminate_are_national_or_international(
        self, tmp_path: Path, indicator: str, npa: str, number: str, called: str | None
    ) -> None:
        content = record("0001", overseas_indicator=indicator, terminating_npa=npa, terminating_number=number)
        assert rows_of(tmp_path, content)[0]["called"] == called

    @pytest.mark.parametrize(
        ("indicator", "npa", "detail"),
        [
            ("3", "44207", "the terminating number is longer than its indicator says"),
            ("2", "00000", "a terminating number of no numbering plan (overseas indicator 2)"),
            ("9", "00000", "a terminating number of no numbering plan (overseas indicator 9)"),
            ("0", "11571", "the terminating number has more than ten digits"),
        ],
    )
    def test_that_contradict_their_indicator_are_rejected(
        self, tmp_path: Path, indicator: str, npa: str, detail: str
    ) -> None:
        assert details(tmp_path, record("0001", overseas_indicator=indicator, terminating_npa=npa)) == [detail]

    def test_of_seven_digits_are_no_called_numbers(self, tmp_path: Path) -> None:
        calls, rejected, _ = calls_of(written(tmp_path, record("0001", terminating_npa="00000")))
        assert (calls, [reject.reason for reject in rejected]) == ([], [RejectReason.BAD_CALLED_NUMBER])

    def test_that_are_toll_free_are_called_and_the_others_sent(self, tmp_path: Path) -> None:
        [call], _, _ = calls_of(written(tmp_path, record("0360", call_type="141")))
        assert (call["called_in"], call["called_out"]) == ("+18005550123", "+15715550199")

    def test_that_were_left_unset_are_absent(self, tmp_path: Path) -> None:
        number = field("originating_npa") + field("originating_number")
        unset = record("0001").replace(number, packed("aaa") + packed("aaaaaaa"))
        by_sign = record("0001").replace(number, packed("000", "f") + packed("0000000", "f"))
        assert [row["calling"] for row in rows_of(tmp_path, unset + by_sign)] == [None, None]

    def test_with_half_their_digits_are_rejected_when_they_matter(self, tmp_path: Path) -> None:
        half = record("0001").replace(packed("5550199"), packed("555aaaa"))
        assert details(tmp_path, half) == ["a number with something else than digits in it"]
        caller = record("0001").replace(packed("5550143"), packed("555aaaa"))
        assert rows_of(tmp_path, caller)[0]["calling"] is None

    def test_that_were_ported_have_their_routing_number(self, tmp_path: Path) -> None:
        ported = packed("720") + packed("002") + packed("07035550100") + packed("0" * 9) + packed("0" * 15)
        [row] = rows_of(tmp_path, record("0001", ported + packed("0110000")))
        assert row["lrn"] == "7035550100"


class TestTheTrunk:
    @pytest.mark.parametrize("routing", [1, 3, 5, 7])
    def test_that_came_in_is_told_by_the_routing_indicator(self, tmp_path: Path, routing: int) -> None:
        [row] = rows_of(tmp_path, record("0001", trunk(routing + 1, 17, 3), trunk(routing, 300, 4)))
        assert (row["incoming_trunk_group"], row["incoming_trunk_member"]) == ("0300", "0004")
        assert (row["outgoing_trunk_group"], row["outgoing_trunk_member"]) == ("0017", "0003")

    def test_of_a_routing_indicator_without_meaning_is_none(self, tmp_path: Path) -> None:
        row = rows_of(tmp_path, record("0001", trunk(9, 300)))[0]
        assert row.get("incoming_trunk_group") is row.get("outgoing_trunk_group") is None

    def test_to_a_carrier_came_in_for_terminating_access_only(self, tmp_path: Path) -> None:
        codes = {"119": ("8004", None), "110": (None, "8004"), "141": (None, None), "006": (None, None)}
        content = b"".join(record("0625", call_type=code) for code in codes)
        rows = rows_of(tmp_path, content)
        assert [(row.get("incoming_trunk_group"), row.get("outgoing_trunk_group")) for row in rows] == [*codes.values()]

    def test_of_a_module_counts_for_more(self, tmp_path: Path) -> None:
        [row] = rows_of(tmp_path, record("0625", trunk(1, 300), call_type="119"))
        assert row["incoming_trunk_group"] == "0300"

    def test_of_carrier_access_may_stand_in_a_module(self, tmp_path: Path) -> None:
        module = packed("021") + b"".join(field(name) for name in tables.CARRIER_FIELDS)
        assert len(module) == tables.MODULES["021"]
        [row] = rows_of(tmp_path, record("0500", module, call_type="110"))
        assert (row["outgoing_trunk_group"], row["carrier_connected"]) == ("8004", "2026-11-21T18:23:25.1")

    def test_that_is_not_recorded_is_none(self, tmp_path: Path) -> None:
        [call], _, _ = calls_of(written(tmp_path, record("0001")))
        assert (call["ingress_trunk"], call["egress_trunk"], call["ingress_address"]) == (None, None, None)

    def test_twice_and_different_is_rejected(self, tmp_path: Path) -> None:
        assert details(tmp_path, record("0001", trunk(1, 300), trunk(5, 301))) == ["two incoming trunk groups"]


class TestModules:
    def test_that_are_not_needed_are_passed_over(self, tmp_path: Path) -> None:
        others = [
            packed(code) + bytes(size - 2) for code, size in tables.MODULES.items() if code not in ("021", "104", "720")
        ]
        [row] = rows_of(tmp_path, record("0001", *others, trunk(1, 300)))
        assert row["incoming_trunk_group"] == "0300"

    def test_that_nobody_described_reject_the_record(self, tmp_path: Path) -> None:
        content = record("0001", packed("612") + bytes(20), trunk(1, 300))
        assert details(tmp_path, content) == ["module 612 is not known: give its length in options.modules"]
        [row] = rows_of(tmp_path, content, modules={"612": 22})
        assert row["incoming_trunk_group"] == "0300"

    @pytest.mark.parametrize(
        ("tail", "detail"),
        [
            (packed("104") + b"\x38", "the record ends within a module"),
            (b"\x10", "something else than a module stands behind the structure"),
            (b"\x10\x4d", "something else than a module stands behind the structure"),
        ],
    )
    def test_that_are_broken_reject_the_record(self, tmp_path: Path, tail: bytes, detail: str) -> None:
        body = record("0001")[4:].replace(packed("00001"), packed("40001"))
        assert details(tmp_path, framed(body + tail)) == [detail]


class TestAttempts:
    def test_that_were_not_answered_are_calls(self, tmp_path: Path) -> None:
        content = record("0625", called_party_off_hook="1") + record("0653", called_party_off_hook="1", call_type="119")
        calls, _, _ = calls_of(written(tmp_path, content))
        assert [call["disposition"] for call in calls] == ["unanswered"] * 2
        assert calls[0]["seizure_earliest"] == datetime(2026, 11, 21, 23, 23, 25, 100_000, tzinfo=UTC)
        assert calls[0]["answer"] is None

    def test_without_a_carrier_s_time_began_before_their_connect_time(self, tmp_path: Path) -> None:
        [call], _, _ = calls_of(written(tmp_path, record("0001", called_party_off_hook="1")))
        assert call["seizure_earliest"] == datetime(2026, 11, 21, 23, 20, 27, 200_000, tzinfo=UTC)
        assert call["seizure_latest"] >= datetime(2026, 11, 21, 23, 23, 27, 200_000, tzinfo=UTC)

    def test_have_a_completion_indicator_instead_in_some_structures(self, tmp_path: Path) -> None:
        content = record("0220") + record("0220", completion_indicator="007")
        assert [row["outcome"] for row in rows_of(tmp_path, content)] == ["answered", "unanswered"]

    def test_without_a_date_have_no_time(self, tmp_path: Path) -> None:
        calls, rejected, _ = calls_of(written(tmp_path, record("0001", connect_date="00000")))
        assert (calls, [reject.reason for reject in rejected]) == ([], [RejectReason.NO_TIME])


class TestFiles:
    @pytest.mark.parametrize("leave_out", [0, 2, 4])
    def test_may_count_lengths_in_three_ways(self, tmp_path: Path, leave_out: int) -> None:
        content = b"".join(record(code, leave_out=leave_out) for code in ("0001", "0625", "0500"))
        assert [row["structure_code"] for row in rows_of(tmp_path, content)] == ["0001", "0625", "0500"]

    def test_may_have_blocks(self, tmp_path: Path) -> None:
        assert len(rows_of(tmp_path, in_blocks(INTERCONNECT * 3, record("0001")))) == 4

    @pytest.mark.parametrize("zeros", [1, 2, 3, 4, 5, 1000])
    def test_may_be_filled_up_with_zeros(self, tmp_path: Path, zeros: int) -> None:
        content = INTERCONNECT * 2 + bytes(zeros) + record("0001") + bytes(zeros)
        assert len(rows_of(tmp_path, content)) == 3

    def test_show_records_that_the_switch_suspects(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path, record("0001", flag=b"\xab"))[0]["flagged"] == "1"

    def test_of_other_containers_are_rejected_piece_by_piece(self, tmp_path: Path) -> None:
        container = framed(b"DIRP header of a Nortel switch")
        rows, rejected, _ = raw_rows(written(tmp_path, INTERCONNECT + container + INTERCONNECT), NAME, AS_OF)
        assert len(rows) == 2
        assert [(reject.row, reject.detail) for reject in rejected] == [
            (len(INTERCONNECT) + 1, "no hexadecimal identifier and structure code")
        ]

    def test_are_the_same_whole_or_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from cdr_adapters import stream
        from cdr_adapters.formats import gr1100_ama

        for sample in SAMPLES:
            path = written(tmp_path, sample)
            whole = raw_rows(path, NAME, AS_OF)
            with monkeypatch.context() as context:
                context.setattr(gr1100_ama, "read_blocks", lambda path: stream.read_blocks(path, 7))
                assert raw_rows(path, NAME, AS_OF) == whole

    @pytest.mark.parametrize("cut", [1, 40, 96])
    def test_that_are_cut_off_say_so_after_what_was_right(self, tmp_path: Path, cut: int) -> None:
        batches = adapter(NAME).read(written(tmp_path, (INTERCONNECT * 3)[:-cut]), AS_OF, None)
        assert len(next(batches).rows) == 2
        with pytest.raises(AdapterError, match=r"cut off|no record"):
            next(batches)

    def test_that_lie_about_a_length_end_there(self, tmp_path: Path) -> None:
        content = INTERCONNECT * 2 + b"\x00\x20" + INTERCONNECT[2:] + INTERCONNECT
        batches = adapter(NAME).read(written(tmp_path, content), AS_OF, None)
        assert len(next(batches).rows) == 2
        with pytest.raises(AdapterError, match="no record of GR-1100 begins at octet"):
            next(batches)

    def test_whose_first_length_is_a_lie_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="doesn't end where another begins"):
            rows_of(tmp_path, b"\x00\x20" + INTERCONNECT[2:] + INTERCONNECT)

    def test_do_not_fill_memory(self, tmp_path: Path) -> None:
        path = written(tmp_path, INTERCONNECT * 20_000)
        batches = adapter(NAME).read(path, AS_OF, frozenset({"called"}))
        with memory_peak_below(40 << 20):
            assert sum(len(batch.rows) for batch in batches) == 20_000


class TestShapesThatContradictThemselves:
    def test_show_by_a_sign_in_the_wrong_place(self, tmp_path: Path) -> None:
        shifted = framed(b"\xaa" + packed("00001") + b"\x11" + record("0001")[8:])
        assert details(tmp_path, shifted) == ["a field without a sign at its end"]

    def test_show_by_an_end_within_the_structure(self, tmp_path: Path) -> None:
        assert details(tmp_path, framed(record("0001")[4:-3])) == ["the record ends within its structure"]

    def test_show_by_something_behind_it(self, tmp_path: Path) -> None:
        assert details(tmp_path, framed(record("0001")[4:] + b"\0")) == ["something stands behind the structure"]
        neither = record("0001").replace(packed("00001"), packed("10001"))
        assert details(tmp_path, neither) == ["a structure code that says neither modules nor none"]


class TestIdentify:
    @pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
    def test_claims_its_own(self, tmp_path: Path, sample: bytes) -> None:
        assert claimants(written(tmp_path, sample)) == (NAME,)
        assert claimants(written(tmp_path, sample + INTERCONNECT * 2000)) == (NAME,)

    @pytest.mark.parametrize(
        "content", [b"", bytes(100), INTERCONNECT[4:], b"\x00\x63\x00\x00\xa9" + INTERCONNECT[5:], b"id,called\n1,2\n"]
    )
    def test_claims_nothing_else(self, tmp_path: Path, content: bytes) -> None:
        assert NAME not in claimants(written(tmp_path, content))
