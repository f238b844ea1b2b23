"""TAP3 roaming files after GSMA TD.57; no real file was at hand, all is synthetic.

One batch is typed as octets from the standard's tags; others are encoded by asn1tools from hopback's own subset.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from cdr_adapters.identify import claimants
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected, RejectReason
from tests.adapters.reading import memory_peak_below, raw_rows, written

NAME = "tap3"


def tlv(tag: str, contents: bytes) -> bytes:
    size = len(contents)
    length = bytes([size]) if size < 128 else b"\x83" + size.to_bytes(3, "big")
    return bytes.fromhex(tag) + length + contents


def indefinite(tag: str, contents: bytes) -> bytes:
    return bytes.fromhex(tag) + b"\x80" + contents + b"\x00\x00"


# TransferBatch [APPLICATION 1], typed from the tags of TD.57
CONTROL = tlv("64", tlv("5F8144", b"USAXX") + tlv("5F8136", b"GBRXX") + tlv("5F6D", b"00042"))
NETWORK = tlv(
    "66",
    tlv(
        "7F816A",
        tlv("7F8169", tlv("5F8168", b"\x00") + tlv("5F8167", b"-0500"))
        + tlv("7F8169", tlv("5F8168", b"\x01") + tlv("5F8167", b"+0530")),
    ),
)
SUBSCRIBER = tlv("7F832B", tlv("7F8147", tlv("5F8101", bytes(8)) + tlv("5F8118", bytes.fromhex("12025550143F"))))
STARTED = tlv("7F2C", tlv("50", b"20261121182339") + tlv("5F8168", b"\x00"))
ORIGINATED = tlv(
    "69",
    tlv(
        "7F8113",
        SUBSCRIBER
        + tlv("7F59", tlv("5F8317", bytes.fromhex("12025550199F")) + tlv("5F8217", b"2025550199"))
        + STARTED
        + tlv("5F815F", b"\x3c"),
    )
    + tlv("7F810A", tlv("7F811C", tlv("5F8138", b"\x01") + tlv("5F2D", b"\x0a\x0b")))
    + tlv("7F26", b""),  # basic services used: not in the subset
)
TERMINATED = tlv("6A", tlv("7F8119", SUBSCRIBER + tlv("7F29", tlv("5F8315", bytes.fromhex("15715550100F"))) + STARTED))
OTHER = tlv("6E", tlv("7F72", b""))  # a GPRS call
AUDIT = tlv("6F", tlv("5F2B", b"\x03"))


def batch(*events: bytes, network: bytes = NETWORK) -> bytes:
    return tlv("61", CONTROL + tlv("65", b"") + network + tlv("63", b"".join(events)) + AUDIT)


SAMPLES = [
    batch(ORIGINATED, OTHER, TERMINATED),
    indefinite("61", CONTROL + NETWORK + indefinite("63", ORIGINATED + indefinite("6A", TERMINATED[2:]))),
]
MAPPING: dict[str, Any] = {}


@cache
def specification() -> Any:
    import asn1tools

    return asn1tools.compile_string(files("cdr_adapters.formats").joinpath("_tap3.asn").read_text("ascii"), "ber")


def rows_of(tmp_path: Path, content: bytes) -> list[dict[str, str | None]]:
    """The calls of a file without a reject."""
    rows, rejected, _ = raw_rows(written(tmp_path, content), NAME)
    assert rejected == []
    return [fields for _, fields in rows]


def details(tmp_path: Path, content: bytes) -> list[str]:
    _, rejected, _ = raw_rows(written(tmp_path, content), NAME)
    return [reject.detail for reject in rejected]


def calls_of(path: Path) -> tuple[list[dict[str, Any]], list[Rejected], int]:
    """Canonical call legs by the format's own mapping."""
    source = SourceMapping.model_validate({"name": "tap", "path": "x", "format": NAME})
    calls: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    skipped = 0
    for one in read_source(path, source, TrunkFormats()):
        calls += one.calls.to_pylist()
        rejected += one.rejected
        skipped += one.skipped
    return calls, rejected, skipped


class TestABatch:
    def test_gives_its_calls(self, tmp_path: Path) -> None:
        originated, terminated = rows_of(tmp_path, batch(ORIGINATED, OTHER, TERMINATED))
        assert originated == {
            "event": "MobileOriginatedCall",
            "called": "12025550199",
            "calling": "12025550143",
            "dialledDigits": "2025550199",
            "callEventStartTimeStamp": "2026-11-21T18:23:39-05:00",
            "totalCallEventDuration": "60",
            "callReference": "0a0b",
            "outcome": "answered",
            "sender": "USAXX",
            "recipient": "GBRXX",
            "fileSequenceNumber": "00042",
        }
        assert (terminated["called"], terminated["calling"]) == ("12025550143", "15715550100")

    def test_has_no_upstream(self, tmp_path: Path) -> None:
        calls, rejected, skipped = calls_of(written(tmp_path, SAMPLES[0]))
        assert (rejected, skipped) == ([], 1)
        assert [call["called_in"] for call in calls] == ["+12025550199", "+12025550143"]
        for call in calls:
            assert call["ingress_trunk"] is call["ingress_address"] is call["egress_trunk"] is None

    def test_knows_when_a_call_was_answered_and_no_more(self, tmp_path: Path) -> None:
        call = calls_of(written(tmp_path, SAMPLES[0]))[0][0]
        assert call["answer"] == datetime(2026, 11, 21, 23, 23, 39, tzinfo=UTC)
        assert call["seizure_earliest"] == datetime(2026, 11, 21, 23, 20, 39, tzinfo=UTC)
        assert (call["disposition"], call["leg"]) == ("answered", "MobileOriginatedCall")

    def test_may_have_indefinite_lengths(self, tmp_path: Path) -> None:
        assert len(rows_of(tmp_path, SAMPLES[1])) == 2

    def test_encoded_by_asn1tools_is_read_the_same(self, tmp_path: Path) -> None:
        event = {
            "basicCallInformation": {
                "chargeableSubscriber": ("simChargeableSubscriber", {"msisdn": bytes.fromhex("12025550143f")}),
                "destination": {"calledNumber": bytes.fromhex("12025550199f"), "dialledDigits": b"2025550199"},
                "callEventStartTimeStamp": {"localTimeStamp": b"20261121182339", "utcTimeOffsetCode": 0},
                "totalCallEventDuration": 60,
            },
            "locationInformation": {"networkLocation": {"callReference": b"\x0a\x0b"}},
        }
        encoded = bytes(specification().encode("CallEvent", ("mobileOriginatedCall", event)))
        assert rows_of(tmp_path, batch(encoded)) == rows_of(tmp_path, batch(ORIGINATED))

    def test_that_is_a_notification_has_no_calls(self, tmp_path: Path) -> None:
        path = written(tmp_path, tlv("62", tlv("5F8144", b"USAXX")))
        assert raw_rows(path, NAME) == ([], [], 0)
        assert claimants(path) == (NAME,)


class TestTimes:
    def test_have_the_offset_of_their_code(self, tmp_path: Path) -> None:
        other = ORIGINATED.replace(b"\x5f\x81\x68\x01\x00", b"\x5f\x81\x68\x01\x01")
        assert rows_of(tmp_path, batch(other))[0]["callEventStartTimeStamp"] == "2026-11-21T18:23:39+05:30"

    @pytest.mark.parametrize("network", [b"", NETWORK.replace(b"-0500", b"-05h0")])
    def test_without_an_offset_reject_their_call(self, tmp_path: Path, network: bytes) -> None:
        assert details(tmp_path, batch(ORIGINATED, network=network)) == [
            "its UTC offset code is not in the file's network information"
        ]

    def test_of_another_form_reject_their_call(self, tmp_path: Path) -> None:
        content = batch(ORIGINATED.replace(b"20261121182339", b"2026112118233x"), TERMINATED)
        assert details(tmp_path, content) == ["a local time stamp that is not CCYYMMDDhhmmss"]

    def test_that_no_clock_shows_reject_their_call(self, tmp_path: Path) -> None:
        calls, rejected, _ = calls_of(written(tmp_path, batch(ORIGINATED.replace(b"20261121", b"20261321"))))
        assert (calls, [reject.reason for reject in rejected]) == ([], [RejectReason.BAD_TIME])


class TestBadFiles:
    def test_reject_a_call_whose_fields_lie_about_their_length(self, tmp_path: Path) -> None:
        lie = ORIGINATED.replace(b"\x5f\x81\x5f\x01", b"\x5f\x81\x5f\x7f")
        rows, rejected, _ = raw_rows(written(tmp_path, batch(lie, TERMINATED)), NAME)
        assert len(rows) == 1
        assert [reject.detail for reject in rejected] == ["an element is longer than what it stands in"]

    @pytest.mark.parametrize("cut", [1, 10, 100, len(AUDIT)])
    def test_that_are_cut_off_say_so(self, tmp_path: Path, cut: int) -> None:
        content = batch(*[ORIGINATED] * 5)[:-cut]
        with pytest.raises(AdapterError, match=r"octet|cut off"):
            raw_rows(written(tmp_path, content), NAME)

    @pytest.mark.parametrize(
        "bomb", [b"\x61\x80" * 100_000, b"\x63\x80" * 100_000, b"\x69\x80" * 100_000, b"\x69\x84\x7f\xff\xff\xff"]
    )
    def test_by_depth_or_length_are_refused_after_what_was_right(self, tmp_path: Path, bomb: bytes) -> None:
        content = indefinite("61", CONTROL + NETWORK + indefinite("63", ORIGINATED + bomb))
        batches = adapter(NAME).read(written(tmp_path, content), {}, None)
        with memory_peak_below(16 << 20):
            assert len(next(batches).rows) == 1
            with pytest.raises(AdapterError, match="nothing behind it can be found"):
                next(batches)

    def test_are_the_same_whole_or_in_pieces(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from cdr_adapters import stream
        from cdr_adapters.formats import tap3

        for sample in SAMPLES:
            path = written(tmp_path, sample)
            whole = raw_rows(path, NAME)
            with monkeypatch.context() as context:
                context.setattr(tap3, "read_blocks", lambda path: stream.read_blocks(path, 7))
                assert raw_rows(path, NAME) == whole


class TestIdentify:
    @pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
    def test_claims_its_own(self, tmp_path: Path, sample: bytes) -> None:
        assert claimants(written(tmp_path, sample)) == (NAME,)

    @pytest.mark.parametrize(
        "content", [b"", b"a", b"abc,def\n1,2\n", tlv("61", b""), tlv("61", tlv("64", b"")), b"\x61\x80"]
    )
    def test_claims_nothing_else(self, tmp_path: Path, content: bytes) -> None:
        assert NAME not in claimants(written(tmp_path, content))
