"""Call records of 3GPP TS 32.298, in files after TS 32.297 and without; no real file was at hand, all is synthetic.

Records are built in two ways, so that writer and reader share no mistake: typed as octets from the tables of
TS 32.298 V17 (5.1.2, 5.1.3), TS 24.008 10.5.4.7 and TS 32.297 V14 (6.1), and encoded by asn1tools from hopback's own
subset of the ASN.1.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.formats import _ber
from cdr_adapters.formats._bcd import semi_octets, telephone_number, time_stamp
from cdr_adapters.formats.threegpp_ber import identify
from cdr_adapters.identify import claimants
from cdr_adapters.raw import AdapterError, RawBatch
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import read_head
from tests.adapters.formats.exports import Call, read
from tests.adapters.reading import memory_peak_below, raw_rows, written

NAME = "threegpp_ber"

# incGatewayRecord [3] of TS 32.298 5.1.2.2.4 with a field that hopback doesn't know in the middle and one at the end
GATEWAY = bytes.fromhex(
    "A3 59"
    "80 01 03"  # recordType incGatewayRecord
    "81 07 91 21 20 55 05 41 F3"  # callingNumber: international, E.164, +12025550143
    "82 07 91 21 20 55 05 91 F9"  # calledNumber: +12025550199
    "83 07 91 21 20 55 05 01 F0"  # recordingEntity: +12025550100
    "A4 08 81 06 49 4E 54 47 30 31"  # mscIncomingTKGP: tkgpName INTG01
    "A5 04 80 02 01 2C"  # mscOutgoingTKGP: tkgpNumber 300
    "86 09 26 11 21 18 23 27 2D 05 00"  # seizureTime: 2026-11-21 18:23:27 -05:00
    "87 09 26 11 21 18 23 39 2D 05 00"  # answerTime
    "89 01 3C"  # callDuration
    "8A 01 05"  # dataVolume: not in the subset
    "8B 01 00"  # causeForTerm
    "AC 03 82 01 10"  # diagnostics: itu-tQ767Cause 16
    "8D 03 0A 0B 0C"  # callReference
    "B6 00"  # reasonForServiceChange, emptied: not in the subset
)
# mGCFRecord [67] of TS 32.298 5.1.3.1.5
MGCF = bytes.fromhex(
    "BF 43 7B"
    "80 01 43"  # recordType mGCFRecord
    "82 06 49 4E 56 49 54 45"  # sIP-Method INVITE
    "A6 1C 80 0C 73 69 70 3A 61 40 62 2E 74 65 73 74"  # calling: sip:a@b.test
    "81 0C 74 65 6C 3A 2B 31 32 30 32 35 35 35"  # and tel:+1202555
    "A7 12 81 10 74 65 6C 3A 2B 31 32 30 32 35 35 35 30 31 39 39"  # called: tel:+12025550199
    "89 09 26 11 21 23 23 27 2B 00 00"  # serviceRequestTimeStamp
    "8A 09 26 11 21 23 23 39 2B 00 00"  # serviceDeliveryStartTimeStamp
    "AE 0C 80 04 6F 31 2E 75 81 04 74 31 2E 75"  # IOIs o1.u and t1.u
    "93 05 69 63 69 64 31"  # iMS-Charging-Identifier icid1
    "B5 02 30 00"  # list-Of-SDP-Media-Components: not in the subset
    "9F 25 02 01 F4"  # serviceRequestTimeStampFraction 500
    "BF 50 07 80 05 54 47 2D 31 37"  # trunkGroupID: incoming TG-17
)


@cache
def specification() -> Any:
    import asn1tools

    text = files("cdr_adapters.formats").joinpath("_threegpp_32298.asn").read_text("ascii")
    return asn1tools.compile_string(text, "ber")


def encoded(kind: str, **values: Any) -> bytes:
    """A record as asn1tools writes it; recordType is filled in."""
    types = {"termCAMELRecord": 17, "mMTRFRecord": 88}
    kinds = [record.name for record in specification().types["CallRecord"].type.members]
    tags = {record.name: record.tag for record in specification().types["CallRecord"].type.members}
    assert kind in kinds
    number = tags[kind][-1] & (0x1F if len(tags[kind]) == 1 else 0x7F)
    fields = {name.replace("_", "-"): value for name, value in values.items()}
    return bytes(specification().encode("CallRecord", (kind, {"recordType": types.get(kind, number), **fields})))


def stamp(text: str, offset: str = "2B0000") -> bytes:
    """`260102030405` as a TimeStamp."""
    return bytes.fromhex(text + offset)


def number(digits: str, ton_npi: int = 0x91) -> bytes:
    """A BCDDirectoryNumber."""
    padded = digits + "f" * (len(digits) % 2)
    return bytes([ton_npi]) + bytes(int(padded[i + 1] + padded[i], 16) for i in range(0, len(padded), 2))


def tlv(tag: str, contents: bytes) -> bytes:
    """An element of definite length."""
    size = len(contents)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes.fromhex(tag) + length + contents


def indefinite(tag: str, contents: bytes) -> bytes:
    return bytes.fromhex(tag) + b"\x80" + contents + b"\x00\x00"


A, B, C = "+12025550143", "+12025550199", "+15715550100"
CALLING, CALLED, ROUTED = (number(digits[1:]) for digits in (A, B, C))
SEIZED = stamp("261121232327")
GROUP = ("tkgpName", "INTG01")


def gateway(**values: Any) -> bytes:
    return encoded("incGatewayRecord", **{"calledNumber": CALLED, "seizureTime": SEIZED, **values})


def with_file_header(*records: bytes, length: int | None = None, routing: bytes = b"", private: bytes = b"") -> bytes:
    """A file of TS 32.297 6.1.1: its header and the records, which have theirs."""
    size = 52 + len(routing) + len(private)
    body = b"".join(records)
    return (
        (size + len(body) if length is None else length).to_bytes(4, "big")
        + size.to_bytes(4, "big")
        + b"\xa3\xa3"  # highest and lowest release and version: 8.3
        + bytes.fromhex("BAAD 5800 BAAD 7800")  # opened, last record: 21 November, 11:21 +00:00; 11:23
        + len(records).to_bytes(4, "big")
        + (7).to_bytes(4, "big")  # sequence number
        + b"\x00"  # closed normally
        + b"\xff\xff\xff\xff" + bytes(10) + b"\xff\xff\xc0\x00\x02\x01"  # node address
        + b"\x00"  # no records lost
        + len(routing).to_bytes(2, "big") + routing
        + len(private).to_bytes(2, "big") + private
        + body
    )  # fmt: skip


def with_record_header(record: bytes, encoding: int = 1, release: int = 5, counts_itself: bool = False) -> bytes:
    """A record of TS 32.297 6.1.2: length, release and version, encoding and TS number (6: 32.250), extension."""
    rest = bytes([release << 5 | 3, encoding << 5 | 6]) + (b"\x07" if release == 7 else b"")
    length = len(record) + (2 + len(rest) if counts_itself else 0)
    return length.to_bytes(2, "big") + rest + record


def in_blocks(records: Sequence[bytes], size: int = 2048, filler: bytes = b"\x00") -> bytes:
    blocks, block = b"", b""
    for record in records:
        if len(block) + len(record) > size:
            blocks += block + filler * (size - len(block))
            block = b""
        block += record
    return blocks + block + filler * (size - len(block))


DATA_FILE = tlv(
    "30",
    tlv("A0", tlv("80", SEIZED) + tlv("81", CALLED))
    + tlv("A1", GATEWAY + gateway(callReference=b"\x01") + encoded("mtCallRecord", servedMSISDN=CALLED))
    + tlv("A2", tlv("80", SEIZED) + tlv("84", b"\x03")),
)

SAMPLES = [
    GATEWAY + MGCF,
    DATA_FILE,
    in_blocks([GATEWAY, MGCF] * 12),
    with_file_header(with_record_header(GATEWAY), with_record_header(MGCF, release=7)),
    indefinite("30", indefinite("A3", GATEWAY[2:]) + MGCF),
]
MAPPING: dict[str, Any] = {}


def rows_of(tmp_path: Path, content: bytes, **options: Any) -> list[dict[str, str | None]]:
    """The records of a file without a reject."""
    rows, rejected, _ = raw_rows(written(tmp_path, content), NAME, options)
    assert rejected == []
    return [{name: value for name, value in fields.items() if value is not None} for _, fields in rows]


def read_until_error(path: Path, **options: Any) -> tuple[list[int], list[Rejected], str]:
    """Rows, rejects, and the message of the error that ended it."""
    rows: list[int] = []
    rejected: list[Rejected] = []
    batches = adapter(NAME).read(path, options, None)
    try:
        for batch in batches:
            rows += batch.rows.to_pylist()
            rejected += batch.rejected
    except AdapterError as error:
        return rows, rejected, str(error)
    return rows, rejected, ""


def calls_of(path: Path, **mapping: Any) -> tuple[list[Call], list[Rejected], int]:
    """Canonical call legs by the format's own mapping."""
    return read(path, NAME, mapping)


class TestARecordTypedFromTheStandard:
    def test_of_a_gateway_gives_its_fields_by_their_names(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path, GATEWAY) == [
            {
                "recordType": "incGatewayRecord",
                "callingNumber": "+12025550143",
                "calledNumber": "+12025550199",
                "recordingEntity": "+12025550100",
                "mscIncomingTKGP": "INTG01",
                "mscOutgoingTKGP": "300",
                "seizureTime": "2026-11-21T18:23:27-05:00",
                "answerTime": "2026-11-21T18:23:39-05:00",
                "callDuration": "60",
                "causeForTerm": "0",
                "diagnostics": "16",
                "callReference": "0a0b0c",
                "call_id": "+12025550100:0a0b0c",
                "called": "+12025550199",
                "calling": "+12025550143",
                "outcome": "answered",
            }
        ]

    def test_of_an_mgcf_gives_its_trunk_and_its_fractions(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path, MGCF) == [
            {
                "recordType": "mGCFRecord",
                "sIP-Method": "INVITE",
                "list-Of-Calling-Party-Address": "tel:+1202555",
                "called-Party-Address": "tel:+12025550199",
                "serviceRequestTimeStamp": "2026-11-21T23:23:27.500+00:00",
                "serviceDeliveryStartTimeStamp": "2026-11-21T23:23:39+00:00",
                "interOperatorIdentifiers.originatingIOI": "o1.u",
                "interOperatorIdentifiers.terminatingIOI": "t1.u",
                "iMS-Charging-Identifier": "icid1",
                "serviceRequestTimeStampFraction": "500",
                "trunkGroupID.incoming": "TG-17",
                "call_id": "icid1",
                "called": "tel:+12025550199",
                "called_sent": "tel:+12025550199",
                "calling": "tel:+1202555",
                "outcome": "answered",
            }
        ]

    def test_becomes_a_call_by_the_format_s_own_mapping(self, tmp_path: Path) -> None:
        (cs, ims), rejected, _ = calls_of(written(tmp_path, GATEWAY + MGCF))
        assert rejected == []
        assert (cs["called_in"], cs["calling"]) == ("+12025550199", "+12025550143")
        assert cs["seizure_earliest"] == datetime(2026, 11, 21, 23, 23, 27, tzinfo=UTC)
        assert cs["seizure_latest"] == datetime(2026, 11, 21, 23, 23, 28, tzinfo=UTC)
        assert cs["answer"] == datetime(2026, 11, 21, 23, 23, 39, tzinfo=UTC)
        assert (cs["ingress_trunk"], cs["egress_trunk"], cs["leg"]) == ("INTG01", "300", "incGatewayRecord")
        assert (cs["disposition"], cs["call_id"], cs["row"]) == ("answered", "+12025550100:0a0b0c", 1)
        assert (ims["ingress_trunk"], ims["egress_trunk"], ims["call_id"]) == ("TG-17", None, "icid1")
        assert ims["seizure_earliest"] == datetime(2026, 11, 21, 23, 23, 27, 500_000, tzinfo=UTC)
        assert ims["row"] == len(GATEWAY) + 1

    def test_with_the_fields_in_any_order_is_the_same(self, tmp_path: Path) -> None:
        parts, at = [], 2
        while at < len(GATEWAY):
            after = _ber.element(GATEWAY, at, len(GATEWAY))[3]
            parts.append(GATEWAY[at:after])
            at = after
        assert rows_of(tmp_path, tlv("A3", b"".join(reversed(parts)))) == rows_of(tmp_path, GATEWAY)

    def test_with_indefinite_lengths_is_the_same(self, tmp_path: Path) -> None:
        trunk = indefinite("A4", bytes.fromhex("81 06 49 4E 54 47 30 31"))
        record = indefinite("A3", GATEWAY[2:].replace(bytes.fromhex("A4 08 81 06 49 4E 54 47 30 31"), trunk))
        assert rows_of(tmp_path, record + GATEWAY) == rows_of(tmp_path, GATEWAY) * 2

    def test_with_lengths_in_more_octets_than_needed_is_the_same(self, tmp_path: Path) -> None:
        contents = GATEWAY[2:].replace(b"\x80\x01\x03", b"\x80\x83\x00\x00\x01\x03", 1)
        record = b"\xa3\x84" + len(contents).to_bytes(4, "big") + contents
        assert rows_of(tmp_path, record) == rows_of(tmp_path, GATEWAY)

    def test_may_have_strings_in_pieces(self, tmp_path: Path) -> None:
        pieces = tlv("A2", tlv("04", CALLED[:3]) + tlv("04", CALLED[3:]))
        [row] = rows_of(tmp_path, tlv("A3", b"\x80\x01\x03" + pieces))
        assert row["calledNumber"] == "+12025550199"


class TestWhereTheNumbersStand:
    @pytest.mark.parametrize(
        ("kind", "fields", "called", "sent", "calling"),
        [
            ("moCallRecord", {"calledNumber": CALLED, "callingNumber": CALLING}, B, None, A),
            ("moCallRecord", {"calledNumber": CALLED, "servedMSISDN": CALLING, "translatedNumber": ROUTED}, B, C, A),
            ("mtCallRecord", {"servedMSISDN": CALLED, "callingNumber": CALLING}, B, None, A),
            ("roamingRecord", {"servedMSISDN": CALLED, "roamingNumber": ROUTED}, B, C, None),
            ("mMTRFRecord", {"servedMSISDN": CALLED}, B, None, None),
            ("incGatewayRecord", {"calledNumber": CALLED, "callingNumber": CALLING}, B, None, A),
            ("outGatewayRecord", {"calledNumber": CALLED}, B, None, None),
            ("transitRecord", {"calledNumber": CALLED, "callingNumber": CALLING}, B, None, A),
            ("termCAMELRecord", {"calledNumber": CALLED, "servedMSISDN": CALLING}, B, None, None),
            ("tFRecord", {"called-Party-Address": ("iSDN-E164", B[1:])}, B, B, None),
            ("bGCFRecord", {"called-Party-Address": ("tEL-URI", f"tel:{B}")}, f"tel:{B}", f"tel:{B}", None),
            ("aSRecord", {"requested-Party-Address": ("tEL-URI", f"tel:{B}")}, f"tel:{B}", None, None),
            (
                "sCSCFRecord",
                {
                    "called-Party-Address": ("sIP-URI", f"sip:{C}@ims.test"),
                    "requested-Party-Address": ("tEL-URI", f"tel:{B}"),
                    "list-Of-Calling-Party-Address": [("sIP-URI", "sip:a@ims.test"), ("iSDN-E164", A[1:])],
                },
                f"tel:{B}",
                f"sip:{C}@ims.test",
                A,
            ),
        ],
    )
    def test_depends_on_the_type_of_record(
        self, tmp_path: Path, kind: str, fields: dict[str, Any], called: str, sent: str | None, calling: str | None
    ) -> None:
        [row] = rows_of(tmp_path, encoded(kind, **fields))
        assert (row["called"], row.get("called_sent"), row.get("calling")) == (called, sent, calling)

    def test_an_originating_record_without_a_called_number_has_none(self, tmp_path: Path) -> None:
        path = written(tmp_path, encoded("moCallRecord", servedMSISDN=CALLING, seizureTime=SEIZED))
        calls, rejected, _ = calls_of(path)
        assert (calls, [reject.reason for reject in rejected]) == ([], [RejectReason.NO_CALLED_NUMBER])


class TestNumbers:
    @pytest.mark.parametrize(
        ("octets", "text"),
        [
            ("91 21 20 55 05 91 F9", "+12025550199"),  # international, E.164
            ("90 21 20 55 05 91 F9", "+12025550199"),  # international, plan unknown
            ("A1 02 52 55 10 99", "2025550199"),  # national
            ("81 10 21 20 55 05 91 F9", "0112025550199"),  # unknown: as dialled
            ("21 80 02 52 55 10 99", "2025550199"),  # octet 3a: presentation allowed
            ("11 A3 21 20 55 05 91 F9", "+12025550199"),  # octet 3a: presentation restricted
            ("98 21 20 55", "120255"),  # international by type, but of another plan (national, 8)
            ("81 1A B2 FF", "*12#"),  # A is a star, B a gate
            ("91", None),
            ("", None),
        ],
    )  # fmt: skip
    def test_have_type_and_plan_before_their_digits(self, octets: str, text: str | None) -> None:
        assert telephone_number(bytes.fromhex(octets)) == text

    def test_with_a_filler_before_the_end_are_none(self) -> None:
        assert semi_octets(bytes.fromhex("21 F0 55 05")) == "120f5550"

    def test_are_rejected_when_they_are_none(self, tmp_path: Path) -> None:
        path = written(tmp_path, gateway(calledNumber=bytes.fromhex("91 21 F0 55 05 91 F9")))
        calls, rejected, _ = calls_of(path)
        assert (calls, [reject.reason for reject in rejected]) == ([], [RejectReason.BAD_CALLED_NUMBER])


class TestTimes:
    @pytest.mark.parametrize(
        ("octets", "text"),
        [
            ("26 11 21 18 23 27 2D 05 00", "2026-11-21T18:23:27-05:00"),
            ("00 01 01 00 00 00 2B 05 30", "2000-01-01T00:00:00+05:30"),
            ("00 00 00 00 00 00 2B 00 00", None),
            ("FF FF FF FF FF FF FF FF FF", None),
        ],
    )
    def test_are_local_with_their_offset(self, octets: str, text: str | None) -> None:
        assert time_stamp(bytes.fromhex(octets)) == text

    @pytest.mark.parametrize("octets", ["26 11 21 18 23 27 2D 05", "26 11 21 18 23 27 00 05 00", "26"])
    def test_of_another_form_reject_their_record(self, tmp_path: Path, octets: str) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, gateway(seizureTime=bytes.fromhex(octets)) + GATEWAY), NAME)
        assert len(rows) == 1
        assert [(reject.row, reject.detail) for reject in rejected] == [
            (1, "incGatewayRecord: no time stamp of TS 32.298")
        ]

    def test_that_no_clock_shows_reject_their_call(self, tmp_path: Path) -> None:
        path = written(
            tmp_path, gateway(seizureTime=stamp("261321232327")) + gateway(seizureTime=stamp("2A1121232327"))
        )
        calls, rejected, _ = calls_of(path)
        assert (calls, [reject.reason for reject in rejected]) == ([], [RejectReason.BAD_TIME] * 2)

    def test_of_a_transit_record_have_names_of_their_own(self, tmp_path: Path) -> None:
        record = encoded(
            "transitRecord", calledNumber=CALLED, seizureTimestamp=SEIZED, releaseTimestamp=stamp("261121232400")
        )
        [call], _, _ = calls_of(written(tmp_path, record))
        assert call["seizure_earliest"] == datetime(2026, 11, 21, 23, 23, 27, tzinfo=UTC)
        assert call["release"] == datetime(2026, 11, 21, 23, 24, tzinfo=UTC)
        assert call["disposition"] == "unanswered"


class TestTheUpstream:
    def test_is_the_incoming_trunk_group(self, tmp_path: Path) -> None:
        for kind in ("incGatewayRecord", "outGatewayRecord", "transitRecord", "roamingRecord", "mtCallRecord"):
            [row] = rows_of(tmp_path, encoded(kind, mscIncomingTKGP=GROUP, mscOutgoingTKGP=("tkgpNumber", 300)))
            assert (row["mscIncomingTKGP"], row["mscOutgoingTKGP"]) == ("INTG01", "300")

    def test_is_the_inbound_neighbour_at_a_border(self, tmp_path: Path) -> None:
        record = encoded(
            "iBCFRecord",
            called_Party_Address=("tEL-URI", "tel:+12025550199"),
            serviceRequestTimeStamp=SEIZED,
            nNI_Information=[
                {"sessionDirection": "outbound", "neighbourNodeAddress": ("iPTextV4Address", "192.0.2.9")},
                {"sessionDirection": "inbound", "neighbourNodeAddress": ("iPBinV4Address", bytes([198, 51, 100, 7]))},
            ],
        )
        [call], _, _ = calls_of(written(tmp_path, record))
        assert (call["ingress_address"], call["egress_address"]) == ("198.51.100.7", "192.0.2.9")

    def test_is_read_from_a_single_neighbour_too(self, tmp_path: Path) -> None:
        neighbour = {
            "sessionDirection": "inbound",
            "neighbourNodeAddress": ("iPBinV6Address", bytes.fromhex("20010db8" + "00" * 11 + "01")),
        }
        [row] = rows_of(tmp_path, encoded("sCSCFRecord", nNI_Information=neighbour))
        assert row["nNI-Information.inbound"] == "2001:db8::1"
        one = tlv("BF52", tlv("80", b"\x52") + tlv("BF2E", tlv("80", b"\0") + tlv("A3", tlv("82", b"192.0.2.9"))))
        [row] = rows_of(tmp_path, one)  # as a release wrote it that had no list
        assert row["nNI-Information.inbound"] == "192.0.2.9"

    def test_is_never_an_originating_operator(self, tmp_path: Path) -> None:
        record = encoded(
            "sCSCFRecord",
            called_Party_Address=("tEL-URI", "tel:+12025550199"),
            serviceRequestTimeStamp=SEIZED,
            interOperatorIdentifiers=[{"originatingIOI": "a.test"}, {"originatingIOI": "b.test"}],
        )
        path = written(tmp_path, record)
        [call], _, _ = calls_of(path)
        assert (call["ingress_trunk"], call["ingress_address"]) == (None, None)
        columns = {
            "called_in": "called",
            "seizure": {"column": "serviceRequestTimeStamp", "format": "iso8601"},
            "ingress_trunk": "interOperatorIdentifiers.originatingIOI",
        }
        [call], _, _ = calls_of(path, columns=columns)  # unless the operator's mapping says so
        assert call["ingress_trunk"] == "a.test,b.test"

    def test_is_not_recorded_by_a_mobile_originated_record_without_a_trunk(self, tmp_path: Path) -> None:
        [call], _, _ = calls_of(written(tmp_path, encoded("moCallRecord", calledNumber=CALLED, seizureTime=SEIZED)))
        assert call["ingress_trunk"] is None


class TestRecordsThatAreNoCalls:
    def test_of_the_standard_are_passed_over(self, tmp_path: Path) -> None:
        sms, mrfc = tlv("A6", tlv("80", b"\x06")), tlv("BF42", tlv("80", b"\x42"))
        rows, rejected, skipped = raw_rows(written(tmp_path, GATEWAY + sms + mrfc + GATEWAY), NAME)
        assert (len(rows), rejected, skipped) == (2, [], 2)

    def test_of_nobody_are_rejected(self, tmp_path: Path) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, tlv("BF8114", b"\x80\x01\x64") + GATEWAY), NAME)
        assert len(rows) == 1
        assert [(reject.row, reject.reason, reject.detail) for reject in rejected] == [
            (1, RejectReason.MALFORMED_ROW, "tag BF8114 is no record of TS 32.298 that hopback knows")
        ]

    @pytest.mark.parametrize("record", [GATEWAY.replace(b"\x80\x01\x03", b"\x80\x01\x04", 1), tlv("A3", GATEWAY[5:])])
    def test_whose_type_contradicts_the_tag_are_rejected(self, tmp_path: Path, record: bytes) -> None:
        rows, rejected, _ = raw_rows(written(tmp_path, record + GATEWAY), NAME)
        assert len(rows) == 1
        assert [reject.detail for reject in rejected] == ["incGatewayRecord: recordType says something else"]

    def test_because_of_their_method_are_left_out_by_the_mapping(self, tmp_path: Path) -> None:
        record = encoded("sCSCFRecord", sIP_Method="REGISTER", serviceRequestTimeStamp=SEIZED)
        calls, rejected, skipped = calls_of(written(tmp_path, record + MGCF + GATEWAY))
        assert (len(calls), rejected, skipped) == (2, [], 1)


class TestPartialRecords:
    def test_are_joined_by_their_call_id(self, tmp_path: Path) -> None:
        parts = [gateway(callReference=b"\x0a", recordingEntity=CALLING, sequenceNumber=part) for part in (1, 2)]
        calls, _, _ = calls_of(written(tmp_path, b"".join(parts)))
        assert [call["call_id"] for call in calls] == ["+12025550143:0a"] * 2

    def test_that_continue_without_a_setup_time_are_passed_over(self, tmp_path: Path) -> None:
        later = encoded("incGatewayRecord", calledNumber=CALLED, answerTime=SEIZED, sequenceNumber=2)
        session = encoded("iBCFRecord", serviceDeliveryStartTimeStamp=SEIZED, recordSequenceNumber=3)
        calls, rejected, skipped = calls_of(written(tmp_path, GATEWAY + later + session))
        assert (len(calls), rejected, skipped) == (1, [], 2)

    def test_that_begin_without_a_setup_time_are_kept(self, tmp_path: Path) -> None:
        first = encoded("incGatewayRecord", calledNumber=CALLED, answerTime=SEIZED, sequenceNumber=1)
        [call], _, _ = calls_of(written(tmp_path, first))
        assert call["seizure_earliest"] == datetime(2026, 11, 21, 23, 20, 27, tzinfo=UTC)


class TestFiles:
    def test_of_records_within_lists_give_the_records(self, tmp_path: Path) -> None:
        body = GATEWAY + MGCF
        for content in (
            tlv("30", body),
            tlv("31", body),
            indefinite("30", body),
            tlv("30", tlv("A1", body)),
            indefinite("30", tlv("A0", tlv("80", SEIZED)) + indefinite("A1", body) + tlv("A2", tlv("80", SEIZED))),
        ):
            assert len(rows_of(tmp_path, content)) == 2

    def test_of_a_list_with_header_and_trailer_tell_them_from_records(self, tmp_path: Path) -> None:
        rows, rejected, skipped = raw_rows(written(tmp_path, DATA_FILE), NAME)
        assert [fields["recordType"] for _, fields in rows] == ["incGatewayRecord", "incGatewayRecord", "mtCallRecord"]
        assert (rejected, skipped) == ([], 0)

    @pytest.mark.parametrize("filler", [b"\x00", b"\xff"])
    def test_of_blocks_are_read_without_their_fillers(self, tmp_path: Path, filler: bytes) -> None:
        content = in_blocks([GATEWAY, MGCF] * 40, filler=filler)
        assert len(content) > 2048
        assert len(rows_of(tmp_path, content)) == 80

    def test_compressed_are_the_same(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path, gzip.compress(GATEWAY + MGCF)) == rows_of(tmp_path, GATEWAY + MGCF)

    def test_are_the_same_whole_or_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from cdr_adapters import stream
        from cdr_adapters.formats import threegpp_ber

        for sample in SAMPLES:
            path = written(tmp_path, sample)
            whole = raw_rows(path, NAME)
            with monkeypatch.context() as context:
                context.setattr(threegpp_ber, "read_blocks", lambda path: stream.read_blocks(path, 7))
                assert raw_rows(path, NAME) == whole

    def test_of_nothing_but_fillers_have_no_records(self, tmp_path: Path) -> None:
        assert rows_of(tmp_path, bytes(4096)) == rows_of(tmp_path, b"") == []


class TestFilesOfTs32297:
    @pytest.mark.parametrize("release", [1, 5, 7])
    @pytest.mark.parametrize("counts_itself", [False, True])
    def test_have_a_header_before_each_record(self, tmp_path: Path, release: int, counts_itself: bool) -> None:
        records = [with_record_header(record, 1, release, counts_itself) for record in (GATEWAY, MGCF, GATEWAY)]
        content = with_file_header(*records, routing=b"abc", private=b"xyzzy")
        rows, rejected, _ = raw_rows(written(tmp_path, content), NAME)
        assert rejected == []
        assert [fields["recordType"] for _, fields in rows] == ["incGatewayRecord", "mGCFRecord", "incGatewayRecord"]
        assert rows[0][0] == 61  # a header of 60 octets
        assert len(rows_of(tmp_path, b"".join(records))) == 3  # without the file's header

    def test_typed_from_the_standard(self, tmp_path: Path) -> None:
        header = bytes.fromhex(
            "00000093 00000034"  # file length, header length
            "A3 A3"  # highest and lowest release and version
            "BAAD5800 BAAD7800"  # opened and last appended: month 11, day 21, 11:21 and 11:23, +00:00
            "00000001 00000007 00"  # number of records, sequence number, closed normally
            "FFFFFFFF 00000000000000000000FFFFC0000201 00"  # node address, no lost records
            "0000 0000"  # no routeing filter, no private extension
        )
        assert len(header) == 52
        record = bytes.fromhex("005B A3 26") + GATEWAY  # release 8, BER, TS 32.250
        assert len(rows_of(tmp_path, header + record)) == 1

    def test_lose_only_the_record_that_is_wrong(self, tmp_path: Path) -> None:
        records = [GATEWAY, b"\xa3\x7f" + GATEWAY[2:], GATEWAY[:30], GATEWAY + b"\x80\x00", GATEWAY]
        content = b"".join(with_record_header(record) for record in records)
        rows, rejected, _ = raw_rows(written(tmp_path, content), NAME)
        assert [row for row, _ in rows] == [1, len(content) - len(GATEWAY) - 3]
        assert [reject.detail for reject in rejected] == [
            "an element is longer than what it stands in",
            "an element is longer than what it stands in",
            "the record is shorter than its header says",
        ]

    def test_in_another_encoding_are_rejected(self, tmp_path: Path) -> None:
        content = with_file_header(with_record_header(GATEWAY, encoding=2), with_record_header(GATEWAY))
        rows, rejected, _ = raw_rows(written(tmp_path, content), NAME)
        assert len(rows) == 1
        assert [reject.detail for reject in rejected] == ["the record header says another encoding than BER"]

    def test_that_are_cut_off_say_so(self, tmp_path: Path) -> None:
        content = with_file_header(*[with_record_header(GATEWAY)] * 3)
        for cut in (1, 50, len(GATEWAY) + 2, len(GATEWAY) + 4):
            rows, _, error = read_until_error(written(tmp_path, content[:-cut]))
            assert len(rows) == 2
            assert "cut off" in error

    def test_that_lack_whole_records_say_so(self, tmp_path: Path) -> None:
        records = [with_record_header(GATEWAY)] * 3
        whole = with_file_header(*records)
        rows, _, error = read_until_error(written(tmp_path, whole[: -len(records[0])]))
        assert len(rows) == 2
        assert f"has {len(whole) - len(records[0])} of the {len(whole)} octets" in error
        assert read_until_error(written(tmp_path, with_file_header(*records, length=0xFFFFFFFF)))[2] == ""


class TestLies:
    def test_about_a_record_s_length_end_the_file_after_what_was_right(self, tmp_path: Path) -> None:
        content = GATEWAY * 2 + b"\xa3\x84\x7f\xff\xff\xff" + GATEWAY[2:] + GATEWAY
        rows, rejected, error = read_until_error(written(tmp_path, content))
        assert rows == [1, len(GATEWAY) + 1]
        assert [reject.row for reject in rejected] == [2 * len(GATEWAY) + 1]
        assert f"octet {2 * len(GATEWAY) + 1} can't be delimited" in error

    def test_about_a_record_s_length_cost_a_block_where_there_are_blocks(self, tmp_path: Path) -> None:
        blocks = in_blocks([GATEWAY] * 66)  # 22 in a block
        assert len(blocks) == 3 * 2048
        at = 2048 + 5 * len(GATEWAY)
        content = blocks[:at] + b"\xa3\x84\x7f\xff\xff\xff" + blocks[at + 6 :]
        rows, rejected, error = read_until_error(written(tmp_path, content))
        assert (len(rows), [reject.row for reject in rejected], error) == (22 + 5 + 22, [at + 1], "")
        first = b"\xa3\x84\x7f\xff\xff\xff" + blocks[6:]  # before any filler was seen
        assert "options.block_size" in read_until_error(written(tmp_path, first))[2]
        rows, _, error = read_until_error(written(tmp_path, first), block_size=2048)
        assert (len(rows), error) == (44, "")

    def test_about_a_record_s_length_end_the_file_where_fillers_are_no_blocks(self, tmp_path: Path) -> None:
        block = (GATEWAY + bytes(5) + GATEWAY).ljust(2048, b"\x00")  # the first filler ends within it
        lie = b"\xa3\x84\x7f\xff\xff\xff".ljust(2048, b"\x00")
        rows, rejected, error = read_until_error(written(tmp_path, block + lie + GATEWAY))
        assert (rows, [reject.row for reject in rejected]) == ([1, len(GATEWAY) + 6], [2049])
        assert "can't be delimited" in error

    def test_about_a_field_s_length_cost_the_record(self, tmp_path: Path) -> None:
        lie = GATEWAY.replace(b"\x8d\x03", b"\x8d\x7f")
        trunk = GATEWAY.replace(b"\xa4\x08\x81\x06", b"\xa4\x08\x81\x07")
        rows, rejected, _ = raw_rows(written(tmp_path, lie + trunk + GATEWAY), NAME)
        assert [row for row, _ in rows] == [2 * len(GATEWAY) + 1]
        assert [(reject.row, reject.detail) for reject in rejected] == [
            (1, "incGatewayRecord: an element is longer than what it stands in"),
            (len(GATEWAY) + 1, "incGatewayRecord: an element is longer than what it stands in"),
        ]

    def test_of_a_list_that_should_be_longer_are_told(self, tmp_path: Path) -> None:
        rows, _, error = read_until_error(written(tmp_path, tlv("30", GATEWAY * 3)[: -len(GATEWAY)]))
        assert len(rows) == 2
        assert "cut off" in error

    @pytest.mark.parametrize(
        "bomb",
        [
            b"\x30\x80" * 200_000,
            b"\xa3\x80" * 200_000,
            b"\x30\x84\x00\xff\xff\xff" * 100_000,
            b"\xa3\x80" + b"\xa5\x80" * 200_000,
            tlv("A3", b"\x80\x01\x03" + indefinite("A4", b"\xa0\x80" * 2_000)),
            tlv("A3", b"\x80\x01\x03" + tlv("A2", b"\x24\x80" * 2_000)),
        ],
    )
    def test_by_depth_end_in_a_reject(self, tmp_path: Path, bomb: bytes) -> None:
        with memory_peak_below(16 << 20):
            rows, rejected, _ = read_until_error(written(tmp_path, GATEWAY + bomb))
        assert rows == [1]
        assert len(rejected) == 1

    def test_by_depth_cost_the_record_even_when_every_end_is_there(self, tmp_path: Path) -> None:
        def nested(depth: int) -> bytes:
            return tlv("A3", GATEWAY[2:] + b"\xbe\x80" * depth + b"\x00\x00" * depth)

        rows, rejected, _ = raw_rows(written(tmp_path, nested(32) + nested(33) + GATEWAY), NAME)
        assert len(rows) == 2
        assert [reject.detail for reject in rejected] == ["incGatewayRecord: elements are nested too deep"]

    @pytest.mark.parametrize(
        ("field", "detail"),
        [
            (tlv("A4", tlv("80", b"\x01") + tlv("81", b"A")), "something stands behind the alternative of a choice"),
            (tlv("A2", tlv("0C", b"\x91\x21")), "a string in pieces that are no octet strings"),
            (tlv("A4", b""), "an element is cut off"),
        ],
    )
    def test_by_structure_cost_the_record(self, tmp_path: Path, field: bytes, detail: str) -> None:
        _, rejected, _ = raw_rows(written(tmp_path, tlv("A3", b"\x80\x01\x03" + field)), NAME)
        assert [reject.detail for reject in rejected] == [f"incGatewayRecord: {detail}"]

    def test_by_endless_integers_cost_the_record(self, tmp_path: Path) -> None:
        record = tlv("A3", b"\x80\x01\x03" + tlv("89", b"\x7f" * 5_000))
        rows, rejected, _ = raw_rows(written(tmp_path, record + tlv("A3", b"\x80\x00") + GATEWAY), NAME)
        assert len(rows) == 1
        assert {reject.detail for reject in rejected} == {"incGatewayRecord: an integer of no or of too many octets"}
        assert all(len(reject.raw) <= 4096 for reject in rejected)

    def test_a_record_of_a_mebibyte_is_read_and_a_longer_one_is_none(self, tmp_path: Path) -> None:
        fields = GATEWAY[2:]
        filler = b"\xbe\x83" + ((1 << 20) - len(fields) - 5).to_bytes(3, "big")
        whole = b"\xa3\x83\x10\x00\x00" + fields + filler + bytes((1 << 20) - len(fields) - 5)
        assert len(rows_of(tmp_path, whole + GATEWAY)) == 2
        longer = b"\xa3\x83\x10\x00\x01" + whole[5:] + b"\x00"
        assert "longer than a mebibyte" in read_until_error(written(tmp_path, longer))[2]


class TestIdentify:
    @pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
    def test_claims_its_own(self, tmp_path: Path, sample: bytes) -> None:
        assert claimants(written(tmp_path, sample)) == (NAME,)

    def test_claims_a_file_whose_head_ends_within_a_record(self, tmp_path: Path) -> None:
        assert claimants(written(tmp_path, GATEWAY * 2000)) == (NAME,)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x00" * 5000,
            b"\xa3\x59\x80\x01\x04" + GATEWAY[5:],
            tlv("30", tlv("02", b"\x01") + tlv("30", b"")),  # a certificate begins like this
            tlv("61", tlv("64", b"")),  # TAP3
            b"\xa0" * 100,
            b"0123456789" * 10,
            tlv("A6", tlv("80", b"\x06")),
        ],
    )
    def test_claims_nothing_else(self, tmp_path: Path, content: bytes) -> None:
        assert not identify(read_head(written(tmp_path, content)))


def _values(compiled: Any) -> st.SearchStrategy[Any]:
    """Values of a compiled type."""
    from asn1tools.codecs import ber

    match compiled:
        case ber.Integer():
            return st.integers(-(2**63), 2**63 - 1)
        case ber.Enumerated():
            return st.sampled_from(sorted(compiled.data_to_value))
        case ber.OctetString():
            return st.binary(max_size=200)
        case ber.StringType():
            return st.text(st.characters(max_codepoint=127), max_size=200)
        case ber.Sequence() | ber.Set():
            optional = {member.name: _values(member) for member in compiled.root_members if member.optional}
            required = {member.name: _values(member) for member in compiled.root_members if not member.optional}
            return st.fixed_dictionaries(required, optional=optional)
        case ber.Choice():
            return st.one_of([st.tuples(st.just(member.name), _values(member)) for member in compiled.members])
        case ber.ExplicitTag():
            return _values(compiled.inner)
        case ber.SequenceOf():
            return st.lists(_values(compiled.element_type), max_size=3)
    raise AssertionError(compiled)


UNKNOWN = ("9F8201", "BF8202", "DF55", "40")


class TestTheTablesAgreeWithAsn1tools:
    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_on_every_record_that_it_writes(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(specification().types["CallRecord"].type.members))
        value = data.draw(_values(kind))
        record = bytes(specification().encode("CallRecord", (kind.name, value)))
        assert specification().decode("CallRecord", record) == (kind.name, value)
        read = _ber.reader_of(kind)
        tag, start, stop, after = _ber.element(record, 0, len(record))
        assert (tag, after) == (int.from_bytes(kind.tag, "big"), len(record))
        assert read(record, start, stop) == value

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_and_where_asn1tools_would_stop_at_what_it_doesn_t_know(self, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(specification().types["CallRecord"].type.members))
        value = data.draw(_values(kind))
        record = bytes(specification().encode("CallRecord", (kind.name, value)))
        _, at, stop, _ = _ber.element(record, 0, len(record))
        contents = b""
        while at < stop:
            after = _ber.element(record, at, stop)[3]
            contents += record[at:after] + tlv(data.draw(st.sampled_from(UNKNOWN)), data.draw(st.binary(max_size=200)))
            at = after
        assert _ber.reader_of(kind)(contents, 0, len(contents)) == value


def _batches(path: Path) -> list[RawBatch]:
    return list(adapter(NAME).read(path, {}, frozenset({"called", "seizureTime", "mscIncomingTKGP"})))


def test_only_the_columns_asked_for_are_made(tmp_path: Path) -> None:
    [batch] = _batches(written(tmp_path, GATEWAY))
    assert batch.columns.to_pylist() == [
        {"called": "+12025550199", "mscIncomingTKGP": "INTG01", "seizureTime": "2026-11-21T18:23:27-05:00"}
    ]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(GATEWAY * 33_000))
    batches = adapter(NAME).read(path, {}, frozenset({"called"}))
    with memory_peak_below(24 << 20):
        assert sum(len(batch.rows) for batch in batches) == 33_000
