"""Binary call records of Nokia MSCs; the only public file has masked numbers, so all is synthetic.

Records are laid out octet by octet after the field lists of Nokia's CDR documentation (format types 01 to 04, 11, 12,
17: the positions stand in `PLACES`), with values in the encodings that it gives for them.
"""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected, RejectReason
from tests.adapters.reading import raw_rows, written

NAME = "nokia_msc_binary"
MAPPING: dict[str, Any] = {"zone": "America/New_York"}

# type -> octets of the record, and where each field begins
PLACES: dict[int, tuple[int, dict[str, int]]] = {
    0x01: (322, {"calling": 44, "calling_ton": 177, "called": 73, "called_ton": 72, "out": 117, "seized": 129}),
    0x02: (272, {"calling": 28, "calling_ton": 133, "called": 54, "called_ton": 134, "in": 68, "seized": 98}),
    0x03: (
        301,
        {"calling": 78, "calling_ton": 154, "called": 37, "called_ton": 153, "sent": 65, "sent_ton": 130}
        | {"in": 88, "out": 92, "seized": 104},
    ),
    0x04: (
        219,
        {"calling": 28, "calling_ton": 120, "called": 46, "called_ton": 121, "sent": 58, "sent_ton": 119}
        | {"in": 70, "out": 74, "seized": 84},
    ),
    0x11: (200, {"calling_ton": 28, "calling": 29, "called_ton": 41, "called": 42, "in": 54, "seized": 58}),
    0x12: (189, {"calling_ton": 28, "calling": 29, "called_ton": 41, "called": 42, "out": 54, "seized": 58}),
    0x17: (
        227,
        {"calling_ton": 44, "calling": 45, "called_ton": 55, "called": 56, "in": 68, "out": 131, "seized": 160},
    ),
}
INTERNATIONAL, NATIONAL = b"\x05", b"\x06"


def digits(text: str, size: int = 10) -> bytes:
    """A number: the low half of an octet first, filled up with FF."""
    text += "f" * (len(text) % 2)
    return bytes(int(text[i + 1] + text[i], 16) for i in range(0, len(text), 2)).ljust(size, b"\xff")


def moment(text: str) -> bytes:
    """`20261121182327` from the seconds to the year."""
    return bytes.fromhex(text)[::-1]


def group(number: int) -> bytes:
    return bytes.fromhex(f"{number:04d}")[::-1]


SEIZED = moment("20261121182327")
VALUES = {
    "calling": digits("12025550143"),
    "calling_ton": INTERNATIONAL,
    "called": digits("12025550199"),
    "called_ton": INTERNATIONAL,
    "sent": digits("15715550100"),
    "sent_ton": INTERNATIONAL,
    "in": group(500),
    "out": group(17),
    "seized": SEIZED,
}


def record(kind: int, length: int | None = None, **fields: bytes) -> bytes:
    """A record of a type, FF where nothing was set."""
    size, places = PLACES.get(kind, (60, {}))
    data = bytearray(b"\xff" * (length or size))
    data[:25] = (
        (length or size).to_bytes(2, "little")
        + bytes([kind])
        + b"\x03\x00\x00\x00"  # record number 3
        + b"\x00"  # status: normal
        + b"\xd7\x8d"  # check sum
        + b"\x31\x41\x24\x00\x00"  # call reference
        + digits("12025550100")  # exchange
    )
    for name, value in (VALUES | {name.rstrip("_"): value for name, value in fields.items()}).items():
        if name in places:
            data[places[name] : places[name] + len(value)] = value
    return bytes(data)


def label(kind: int) -> bytes:
    return (41).to_bytes(2, "little") + bytes([kind]) + b"\xaa" * 38


# a PSTN-originated call typed octet by octet: 200 octets
POC = bytes.fromhex(
    "C800 11 03000000 00 D78D"  # length, type, record number, status, check sum
    "3141240000 2120550501F0FFFFFFFF"  # call reference, exchange
    "00 00 00"  # intermediate record number, charging indicator, number of SS records
    "05 2120550541F3FFFFFFFFFFFF"  # calling: international, 12025550143
    "06 0252551099FFFFFFFFFFFFFF"  # called: national, 2025550199
    "0005 0100"  # in_circuit_group 500, circuit 1
    "27231821112620"  # in_channel_allocated_time: 18:23:27 on 21 November 2026
    "39231821112620"  # charging_start_time: 18:23:39
    "39241821112620"  # charging_end_time: 18:24:39
) + b"\xff" * 121  # fmt: skip

SAMPLES = [
    label(0x00) + POC + record(0x12) + label(0x10),
    record(0x01) + record(0x02) + record(0x03) + record(0x04) + record(0x17) + b"\xff" * 100 + POC,
]


def rows_of(tmp_path: Path, content: bytes) -> list[dict[str, str | None]]:
    """The records of a file without a reject."""
    rows, rejected, _ = raw_rows(written(tmp_path, content), NAME)
    assert rejected == []
    return [fields for _, fields in rows]


def details(tmp_path: Path, content: bytes) -> list[str]:
    """Why records were rejected; a good one follows them."""
    rows, rejected, _ = raw_rows(written(tmp_path, content + POC), NAME)
    assert len(rows) == 1
    return [reject.detail for reject in rejected]


def calls_of(path: Path, **mapping: Any) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Canonical call legs by the format's own mapping."""
    source = SourceMapping.model_validate({"name": "msc", "path": "x", "format": NAME, **MAPPING, **mapping})
    calls: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    for batch in read_source(path, source, TrunkFormats()):
        calls += batch.calls.to_pylist()
        rejected += batch.rejected
    return calls, rejected


class TestARecordTypedByItsPositions:
    def test_gives_its_fields(self, tmp_path: Path) -> None:
        assert len(POC) == 200
        [row] = rows_of(tmp_path, POC)
        assert {name: value for name, value in row.items() if value is not None} == {
            "record_type": "POC",
            "exchange_id": "12025550100",
            "call_reference": "3141240000",
            "calling": "+12025550143",
            "called": "2025550199",
            "in_circuit_group": "500",
            "in_channel_allocated_time": "2026-11-21T18:23:27",
            "charging_start_time": "2026-11-21T18:23:39",
            "charging_end_time": "2026-11-21T18:24:39",
            "call_id": "12025550100:3141240000:",
            "outcome": "answered",
        }

    def test_becomes_a_call_by_the_format_s_own_mapping(self, tmp_path: Path) -> None:
        [call], rejected = calls_of(written(tmp_path, POC))
        assert rejected == []
        assert (call["called_in"], call["calling"]) == ("+12025550199", "+12025550143")
        assert call["seizure_earliest"] == datetime(2026, 11, 21, 23, 23, 27, tzinfo=UTC)
        assert call["answer"] == datetime(2026, 11, 21, 23, 23, 39, tzinfo=UTC)
        assert call["release"] == datetime(2026, 11, 21, 23, 24, 39, tzinfo=UTC)
        assert (call["ingress_trunk"], call["egress_trunk"], call["leg"]) == ("500", None, "POC")
        assert call["disposition"] == "answered"

    def test_needs_a_zone(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="set zone"):
            calls_of(written(tmp_path, POC), zone=None)


class TestEveryType:
    @pytest.mark.parametrize(
        ("kind", "name", "incoming", "outgoing", "sent"),
        [
            (0x01, "MOC", None, "17", None),
            (0x02, "MTC", "500", None, None),
            (0x03, "FORW", "500", "17", "+15715550100"),
            (0x04, "ROAM", "500", "17", "+15715550100"),
            (0x11, "POC", "500", None, None),
            (0x12, "PTC", None, "17", None),
            (0x17, "UCA", "500", "17", None),
        ],
    )
    def test_has_its_fields_where_the_list_says(
        self, tmp_path: Path, kind: int, name: str, incoming: str | None, outgoing: str | None, sent: str | None
    ) -> None:
        for length in (None, 550):  # as documented, and of a release that added fields
            [row] = rows_of(tmp_path, record(kind, length))
            assert (row["record_type"], row["calling"], row["called"]) == (name, "+12025550143", "+12025550199")
            assert (row["in_circuit_group"], row["out_circuit_group"]) == (incoming, outgoing)
            assert (row["called_sent"], row["outcome"]) == (sent, "unanswered")
            assert row["in_channel_allocated_time"] == "2026-11-21T18:23:27"

    def test_of_an_unsuccessful_attempt_may_know_its_start_only(self, tmp_path: Path) -> None:
        data = bytearray(record(0x17, seized=b"\xff" * 7))
        data[78:85] = SEIZED
        [call], _ = calls_of(written(tmp_path, bytes(data)))
        assert call["seizure_earliest"] == datetime(2026, 11, 21, 23, 23, 27, tzinfo=UTC)
        assert call["disposition"] == "unanswered"

    def test_of_no_call_is_passed_over(self, tmp_path: Path) -> None:
        content = label(0x00) + record(0x08) + POC + record(0x16) + label(0x10)
        rows, rejected, skipped = raw_rows(written(tmp_path, content), NAME)
        assert ([row for row, _ in rows], rejected, skipped) == ([41 + 60 + 1], [], 4)

    def test_of_a_call_with_unknown_fields_is_rejected(self, tmp_path: Path) -> None:
        assert details(tmp_path, record(0x30)) == [
            "record type 30 (SIP-originated call): its fields are not known",
        ]

    def test_joins_the_two_sides_of_a_call(self, tmp_path: Path) -> None:
        incoming, outgoing = bytearray(record(0x11)), bytearray(record(0x12))
        incoming[118:125] = outgoing[123:130] = SEIZED
        calls, _ = calls_of(written(tmp_path, bytes(incoming + outgoing)))
        assert {call["call_id"] for call in calls} == {"12025550100:3141240000:2026-11-21T18:23:27"}


class TestRecordsThatDoNotLookLikeTheirs:
    @pytest.mark.parametrize(
        ("fields", "detail"),
        [
            ({"called_ton": b"\x77"}, "a type of number that doesn't exist"),
            ({"seized": moment("20261321182327")}, "a time that no clock shows"),
            ({"seized": moment("20261121242327")}, "a time that no clock shows"),
            ({"seized": moment("31261121182327")}, "a time that no clock shows"),
            ({"seized": b"\x2a" + SEIZED[1:]}, "a time that no clock shows"),
            ({"in_": b"\x0a\x00"}, "a circuit group that is no number"),
        ],
    )
    def test_are_rejected(self, tmp_path: Path, fields: dict[str, bytes], detail: str) -> None:
        bad = bytearray(record(0x11))
        size, places = PLACES[0x11]
        for name, value in fields.items():
            at = places[name.rstrip("_")]
            bad[at : at + len(value)] = value
        assert len(bad) == size
        assert details(tmp_path, bytes(bad)) == [detail]

    def test_because_they_are_too_short_are_rejected(self, tmp_path: Path) -> None:
        assert details(tmp_path, record(0x12, 100)) == ["a PTC record that is too short"]

    def test_with_letters_in_their_number_are_no_calls(self, tmp_path: Path) -> None:
        calls, rejected = calls_of(written(tmp_path, record(0x11, called=digits("b12c#"[:4]))))
        assert (calls, [reject.reason for reject in rejected]) == ([], [RejectReason.BAD_CALLED_NUMBER])

    def test_without_a_group_have_no_upstream(self, tmp_path: Path) -> None:
        bare = bytearray(record(0x11))
        bare[54:56] = b"\xff\xff"
        [call], _ = calls_of(written(tmp_path, bytes(bare)))
        assert call["ingress_trunk"] is None


class TestFiles:
    @pytest.mark.parametrize("filler", [1, 2, 3, 500])
    def test_may_be_filled_up(self, tmp_path: Path, filler: int) -> None:
        assert len(rows_of(tmp_path, POC + b"\xff" * filler + POC + b"\xff" * filler)) == 2

    def test_may_have_lengths_that_look_like_filler(self, tmp_path: Path) -> None:
        content = POC + b"\xff" * 9 + record(0x11, 255) + record(0x11, 0x1FF) + POC
        assert len(rows_of(tmp_path, content)) == 4

    def test_compressed_are_the_same(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path, gzip.compress(SAMPLES[0])) == rows_of(tmp_path, SAMPLES[0])

    def test_are_the_same_whole_or_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from cdr_adapters import stream
        from cdr_adapters.formats import nokia_msc_binary

        for sample in SAMPLES:
            path = written(tmp_path, sample)
            whole = raw_rows(path, NAME)
            with monkeypatch.context() as context:
                context.setattr(nokia_msc_binary, "read_blocks", lambda path: stream.read_blocks(path, 7))
                assert raw_rows(path, NAME) == whole

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (POC * 3 + POC[:-1], "cut off in the record at octet 601"),
            (POC * 3 + b"\xfe" + POC, "no Nokia record begins at octet 601"),
            (POC * 3 + b"\xff\xff" + POC[2:], "cut off in the record at octet 603"),
            (POC * 3 + b"\x01\x00" + POC[2:], "no Nokia record begins at octet 601"),
        ],
    )
    def test_that_break_off_say_so_after_what_was_right(self, tmp_path: Path, content: bytes, message: str) -> None:
        batches = adapter(NAME).read(written(tmp_path, content), {}, None)
        assert len(next(batches).rows) == 3
        with pytest.raises(AdapterError, match=message):
            next(batches)


class TestIdentify:
    @pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
    def test_claims_its_own(self, tmp_path: Path, sample: bytes) -> None:
        assert claimants(written(tmp_path, sample)) == (NAME,)
        assert claimants(written(tmp_path, sample + POC * 1000)) == (NAME,)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            bytes(200),
            b"\xff" * 200,
            POC[:150],
            POC + b"#" * 60,
            label(0x00) + label(0x10),
            record(0x08),
            b"a,b\n1,2\n",
        ],
    )
    def test_claims_nothing_else(self, tmp_path: Path, content: bytes) -> None:
        assert NAME not in claimants(written(tmp_path, content))
