"""SIP captures from bytes to raw columns, through tshark: transports, damage, directories, what is refused."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import shutil
import ssl
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdr_adapters.formats.sip_pcap import COLUMNS
from cdr_adapters.mapping import SourceMapping, TrunkFormats
from cdr_adapters.raw import AdapterError, Head, RawBatch
from cdr_adapters.read import read_source
from cdr_adapters.registry import adapter
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.sip.calls import COLUMN_NAMES
from tests.adapters.sip_bytes import (
    DOWNSTREAM,
    OWN,
    T0,
    UPSTREAM,
    hep2,
    hep3,
    invite,
    ip,
    pcap,
    pcapng,
    request,
    response,
    tcp,
    udp,
    udp_fragments,
    write,
)
from tests.adapters.sip_tls import tls_frames

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
SIP = adapter("sip_pcap")
IDENTITY = (
    "Identity: eyJhbGciOiJFUzI1NiJ9"
    ".eyJhdHRlc3QiOiJBIiwib3JpZ2lkIjoiMTIzZTQ1NjctZTg5Yi0xMmQzLWE0NTYtNDI2NjU1NDQwMDAwIn0"
    ".c2ln;info=<https://cert.example.org/a.pem>"
)
PADDING = tuple(f"X-Padding-{n}: {'x' * 60}" for n in range(20))


SAMPLES: list[bytes] = [pcap([(T0, udp(UPSTREAM, OWN, invite())), (T0 + 1, udp(OWN, UPSTREAM, response(200)))])]
SAMPLES += [pcapng([(T0, udp(UPSTREAM, OWN, invite())), (T0 + 1, tcp(OWN, DOWNSTREAM, 1, invite(call_id="c2")))])]
MAPPING: dict[str, Any] = {"options": {"own_addresses": [OWN]}}


def read(path: Path, columns: frozenset[str] | None = None, **options: Any) -> list[RawBatch]:
    return list(SIP.read(path, {"own_addresses": [OWN], **options}, columns))


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [
        {"row": row, **{name: value for name, value in values.items() if value is not None}}
        for batch in read(path, **options)
        for row, values in zip(batch.rows.to_pylist(), batch.columns.to_pylist(), strict=True)
    ]


def row(path: Path, **options: Any) -> dict[str, Any]:
    (only,) = rows(path, **options)
    return only


def rejected(path: Path, **options: Any) -> list[Rejected]:
    return [reject for batch in read(path, **options) for reject in batch.rejected]


def calls(path: Path, source_own: Sequence[str] = (), columns: Any = None, **options: Any) -> list[dict[str, Any]]:
    """The canonical call legs, by the format's own mapping."""
    table: dict[str, Any] = {"name": "x", "path": "x", "format": "sip_pcap", "options": options}
    if columns is not None:
        table["columns"] = columns
    mapping = SourceMapping.model_validate(table | {"own_addresses": list(source_own)})
    return [call for batch in read_source(path, mapping, TrunkFormats()) for call in batch.calls.to_pylist()]


def answered_call(start_us: int = T0, **kwargs: Any) -> list[tuple[int, bytes]]:
    """One call through a proxy, from UPSTREAM to DOWNSTREAM, answered."""
    ours, theirs = f"{OWN};branch=z9hG4bK-9", "203.0.113.21;branch=z9hG4bK-1"
    frames = [
        udp(UPSTREAM, OWN, invite(vias=(theirs,), **kwargs)),
        udp(OWN, DOWNSTREAM, invite(vias=(ours, theirs), **{**kwargs, "called": "+12025550143"})),
        udp(DOWNSTREAM, OWN, response(200, vias=(ours, theirs))),
        udp(OWN, UPSTREAM, response(200, vias=(theirs,))),
    ]
    return [(start_us + 1000 * n, frame) for n, frame in enumerate(frames)]


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("captures/a.pcap", data)
    return buffer.getvalue()


def tarred(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.pcap")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
    "zip": zipped,
    "tar": tarred,
}
ANSWERED = {
    "row": 1,
    "called_in": "12025550143",
    "called_out": "+12025550143",
    "calling": "+12125550178",
    "time": "1795321361.847327",
    "answer_time": "1795321361.850327",
    "ingress_address": UPSTREAM,
    "egress_address": DOWNSTREAM,
    "sent_from": UPSTREAM,
    "sent_to": OWN,
    "call_id": "call-1@203.0.113.21",
    "call_id_out": "call-1@203.0.113.21",
    "leg": "ingress+egress",
    "disposition": "answered",
    "sip_code": "200",
    "sip_code_upstream": "200",
}


@needs_tshark
class TestFiles:
    @pytest.mark.parametrize("name", ["a.pcap", "a.pcap.gz"])
    def test_a_pcap_plain_or_gzipped(self, tmp_path: Path, name: str) -> None:
        assert row(write(tmp_path / name, answered_call())) == ANSWERED

    @pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
    def test_a_capture_packed_in_whatever_way(self, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
        path = tmp_path / "a"
        path.write_bytes(pack(pcap(answered_call())))
        (call,) = calls(path, own_addresses=[OWN])
        assert (call["ingress_address"], call["egress_address"]) == (UPSTREAM, DOWNSTREAM)

    def test_a_pcapng_with_nanoseconds(self, tmp_path: Path) -> None:
        path = tmp_path / "a.pcapng.gz"
        path.write_bytes(gzip.compress(pcapng(answered_call())))
        assert row(path) == ANSWERED

    def test_a_name_beginning_with_a_dash_is_no_option(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "-c0.pcap", answered_call())
        monkeypatch.chdir(tmp_path)
        assert row(Path("-c0.pcap")) == ANSWERED

    def test_only_the_columns_asked_for_are_made(self, tmp_path: Path) -> None:
        (batch,) = read(write(tmp_path / "a.pcap", answered_call()), frozenset({"time", "called_in", "other"}))
        assert (batch.columns.schema.names, batch.header) == (["called_in", "time"], COLUMN_NAMES)

    def test_a_capture_without_calls_is_empty(self, tmp_path: Path) -> None:
        assert rows(write(tmp_path / "a.pcap", [(T0, udp(UPSTREAM, OWN, b"\0" * 172))])) == []

    def test_it_is_read_inside_a_running_event_loop(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pcap", answered_call())

        async def inside() -> dict[str, Any]:
            return row(path)

        assert asyncio.run(inside()) == ANSWERED


@needs_tshark
class TestTransports:
    def test_a_tcp_message_in_segments_out_of_order(self, tmp_path: Path) -> None:
        message = invite(transport="TCP", extra=PADDING)
        parts = [(1, message[:500]), (1001, message[1000:]), (501, message[500:1000])]
        frames = [(T0 + n, tcp(UPSTREAM, OWN, seq, part)) for n, (seq, part) in enumerate(parts)]
        seen = row(write(tmp_path / "a.pcap", frames))
        assert (seen["called_in"], seen["ingress_address"], seen["row"]) == ("12025550143", UPSTREAM, 3)

    def test_several_messages_in_one_tcp_segment_are_told_apart(self, tmp_path: Path) -> None:
        segment = (
            invite(call_id="c1", to_tag="b2")
            + invite(call_id="c2", called="12025550144")
            + response(200, call_id="c9")
            + invite(call_id="c3", called="12025550145", vias=("203.0.113.22;branch=z9hG4bK-3",))
        )
        seen = rows(write(tmp_path / "a.pcap", [(T0, tcp(UPSTREAM, OWN, 1, segment))]))
        assert [(r["call_id"], r["called_in"]) for r in seen] == [("c2", "12025550144"), ("c3", "12025550145")]

    @pytest.mark.parametrize(("src", "own"), [(UPSTREAM, OWN), ("2001:db8:b::50", "2001:db8:c::60")])
    def test_a_fragmented_datagram(self, tmp_path: Path, src: str, own: str) -> None:
        fragments = udp_fragments(src, own, invite(extra=PADDING))
        assert len(fragments) > 2
        frames = [(T0 + n, fragment) for n, fragment in enumerate(fragments)]
        seen = row(write(tmp_path / "a.pcap", frames), own_addresses=[own])
        assert (seen["called_in"], seen["ingress_address"]) == ("12025550143", src)

    def test_ipv6(self, tmp_path: Path) -> None:
        frame = udp("2001:db8:b::50", "2001:db8:c::60", invite())
        assert row(write(tmp_path / "a.pcap", [(T0, frame)]), own_addresses=["2001:db8:c::/64"])["ingress_address"] == (
            "2001:db8:b::50"
        )

    def test_in_a_tunnel_the_inner_addresses_count(self, tmp_path: Path) -> None:
        inner = udp(UPSTREAM, OWN, invite())[14:]
        frame = ip("192.0.2.1", "192.0.2.2", 4, inner)
        assert row(write(tmp_path / "a.pcap", [(T0, frame)]))["ingress_address"] == UPSTREAM

    def test_another_port_than_5060_has_to_be_named(self, tmp_path: Path) -> None:
        over_udp = udp(UPSTREAM, OWN, invite(call_id="c1"), ports=(7060, 7060))
        over_tcp = tcp(UPSTREAM, OWN, 1, invite(call_id="c2", called="12025550144"), ports=(40000, 7060))
        path = write(tmp_path / "a.pcap", [(T0, over_udp), (T0, over_tcp)])
        assert [r["call_id"] for r in rows(path, sip_ports=[7060])] == ["c1", "c2"]

    def test_own_machines_may_be_told_by_port(self, tmp_path: Path) -> None:
        frame = udp("127.0.0.1", "127.0.0.1", invite(), ports=(5070, 5060))
        path = write(tmp_path / "a.pcap", [(T0, frame)])
        assert row(path, own_addresses=["127.0.0.1:5060"])["ingress_address"] == "127.0.0.1"
        assert rows(path, own_addresses=["127.0.0.1"]) == []


COLLECTOR = ("192.0.2.10", "192.0.2.20")


@needs_tshark
class TestHep:
    """Copies on the way to a collector: who sent the copy to whom, and when, is nobody's call."""

    def test_the_inner_addresses_and_times_count(self, tmp_path: Path) -> None:
        frames = [udp(*COLLECTOR, hep(UPSTREAM, OWN, invite()), ports=(40000, 9060)) for hep in (hep3, hep2)]
        path = write(tmp_path / "a.pcap", [(T0 + 10**9, frame) for frame in frames])
        seen = row(path)
        assert (seen["ingress_address"], seen["time"], seen["row"]) == (UPSTREAM, "1795321361.847327", 1)

    def test_a_copy_beside_the_message_itself_is_the_same_message(self, tmp_path: Path) -> None:
        copy = udp(OWN, COLLECTOR[1], hep3(UPSTREAM, OWN, invite()), ports=(40000, 9060))
        frames = [(T0, udp(UPSTREAM, OWN, invite())), (T0 + 1, copy)]
        assert row(write(tmp_path / "a.pcap", frames))["ingress_address"] == UPSTREAM

    def test_in_fragments_and_in_tcp_segments(self, tmp_path: Path) -> None:
        packets = [hep3(UPSTREAM, OWN, invite(call_id=f"c{n}", extra=PADDING)) for n in range(3)]
        fragments = udp_fragments(*COLLECTOR, packets[0], ports=(40000, 9060))
        stream = packets[1] + packets[2]
        segments = [
            tcp(*COLLECTOR, at + 1, stream[at : at + 700], ports=(40001, 9060)) for at in range(0, len(stream), 700)
        ]
        path = write(tmp_path / "a.pcap", [(T0 + n, frame) for n, frame in enumerate([*fragments, *segments])])
        assert [(r["call_id"], r["ingress_address"]) for r in rows(path)] == [
            ("c0", UPSTREAM),
            ("c1", UPSTREAM),
            ("c2", UPSTREAM),
        ]

    def test_another_port_has_to_be_named(self, tmp_path: Path) -> None:
        frame = udp(*COLLECTOR, hep3(UPSTREAM, OWN, invite()), ports=(40000, 9999))
        path = write(tmp_path / "a.pcap", [(T0, frame)])
        assert rows(path) == []
        assert len(rows(path, hep_ports=[9999])) == 1

    def test_a_broken_copy_is_one_reject(self, tmp_path: Path) -> None:
        frames = [hep3(UPSTREAM, OWN, invite(), without=[3]), hep3(UPSTREAM, OWN, invite())[:90], b"something else"]
        path = write(tmp_path / "a.pcap", [(T0, udp(*COLLECTOR, frame, ports=(40000, 9060))) for frame in frames])
        assert rows(path) == []
        assert [(reject.row, reject.detail) for reject in rejected(path)] == [
            (1, "a HEP packet doesn't say between whom its message passed"),
            (2, "a HEP packet is cut off, or its length is wrong"),
        ]


@needs_tshark
class TestTls:
    def capture(self, tmp_path: Path, version: ssl.TLSVersion) -> tuple[Path, Path]:
        messages = [
            (True, invite(transport="TLS", extra=PADDING)),
            (False, response(200)),
            (True, request("BYE")),
        ]
        frames, secrets = tls_frames(UPSTREAM, OWN, messages, tmp_path, version)
        return write(tmp_path / "a.pcap", [(T0 + n, frame) for n, frame in enumerate(frames)]), secrets

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_with_the_keys_it_is_sip(self, tmp_path: Path, version: ssl.TLSVersion) -> None:
        path, secrets = self.capture(tmp_path, version)
        seen = row(path, tls_keys=str(secrets))
        assert (seen["called_in"], seen["ingress_address"], seen["disposition"]) == (
            "12025550143",
            UPSTREAM,
            "answered",
        )
        assert "release_time" in seen
        assert rejected(path, tls_keys=str(secrets)) == []

    def test_without_them_it_gives_no_calls_and_says_why(self, tmp_path: Path) -> None:
        path, _ = self.capture(tmp_path, ssl.TLSVersion.TLSv1_3)
        assert rows(path) == []
        (reject,) = rejected(path)
        assert reject.detail == "TLS on port 5061 could not be read: set tls_keys to a file of its keys (SSLKEYLOGFILE)"

    def test_with_the_keys_of_other_connections_too(self, tmp_path: Path) -> None:
        path, _ = self.capture(tmp_path, ssl.TLSVersion.TLSv1_3)
        other = tmp_path / "other"
        other.write_text("")
        (reject,) = rejected(path, tls_keys=str(other))
        assert reject.detail == "TLS on port 5061 could not be read: tls_keys has no keys for it"

    def test_keys_that_are_not_there_are_an_error(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pcap", answered_call())
        with pytest.raises(AdapterError, match=r"option tls_keys: .*/gone is no file"):
            read(path, tls_keys=str(tmp_path / "gone"))


@needs_tshark
class TestWhatIsNoCall:
    """Captures in which nobody set up a call give no rows, no rejects, and need no own_addresses."""

    RTP = bytes([0x80, 0]) + bytes(170)

    @pytest.mark.parametrize(
        "frames",
        [
            [],
            [udp(UPSTREAM, OWN, RTP, ports=(20000, 30000))] * 20,
            [udp(UPSTREAM, OWN, invite().replace(b"INVITE", method)) for method in (b"REGISTER", b"OPTIONS")],
            [
                tcp(UPSTREAM, OWN, 1, invite().replace(b"INVITE", b"REGISTER")),
                tcp(OWN, UPSTREAM, 1, response(200, method="REGISTER")),
            ],
            [udp(OWN, UPSTREAM, response(200, method="OPTIONS")), udp(OWN, UPSTREAM, response(200))],
            [udp(UPSTREAM, OWN, b"\r\n\r\n"), udp(UPSTREAM, OWN, b"hello"), udp(UPSTREAM, OWN, b"")],
            [ip(DOWNSTREAM, OWN, 1, struct.pack(">BBHI", 3, 3, 0, 0) + udp(OWN, DOWNSTREAM, invite())[14:])],
            [
                udp(UPSTREAM, OWN, invite(to_tag="b2")),
                udp(UPSTREAM, OWN, request("BYE")),
                udp(OWN, UPSTREAM, response(180)),
            ],
        ],
        ids=["empty", "rtp", "register", "register over tcp", "responses", "garbage", "icmp", "in a dialog"],
    )
    def test_it_gives_nothing(self, tmp_path: Path, frames: list[bytes]) -> None:
        path = write(tmp_path / "a.pcap", [(T0 + n, frame) for n, frame in enumerate(frames)])
        for own in ([OWN], []):
            assert rows(path, own_addresses=own) == []
            assert rejected(path, own_addresses=own) == []


@needs_tshark
class TestDamage:
    def test_a_capture_cut_short_gives_what_was_read_and_one_reject(self, tmp_path: Path) -> None:
        path = tmp_path / "cut.pcap"
        path.write_bytes(pcap(answered_call() + answered_call(T0 + 10**6))[:-100])
        assert row(path)["sip_code"] == "200"
        (reject,) = rejected(path)
        assert reject.reason is RejectReason.MALFORMED_ROW
        assert "cut.pcap breaks off after frame 7: appears to have been cut short" in reject.detail

    def test_so_does_a_gzip_stream_cut_short(self, tmp_path: Path) -> None:
        path = tmp_path / "cut.pcap.gz"
        frames = [
            f
            for n in range(40)
            for f in answered_call(T0 + n * 10**6, extra=(f"X-Salt: {sha256(bytes([n])).hexdigest()}",))
        ]
        path.write_bytes(gzip.compress(pcap(frames))[:-300])
        assert rows(path)
        assert "breaks off" in rejected(path)[0].detail

    def test_an_empty_file_is_one_reject(self, tmp_path: Path) -> None:
        (tmp_path / "a.pcap").touch()
        assert "the file is empty" in rejected(tmp_path / "a.pcap")[0].detail

    def test_an_invite_that_cannot_be_read_is_set_aside_with_its_frame(self, tmp_path: Path) -> None:
        bad = invite().replace(b"Call-ID:", b"X-Gone:")
        path = write(tmp_path / "a.pcap", [*answered_call(), (T0 + 5000, udp(UPSTREAM, OWN, bad))])
        (reject,) = rejected(path)
        assert (reject.row, reject.reason, reject.detail) == (5, RejectReason.MALFORMED_ROW, "INVITE without call-id")
        assert reject.raw.startswith("INVITE sip:12025550143@")
        assert len(rows(path)) == 1

    def test_packets_captured_in_part_are_read_when_their_header_is_whole(self, tmp_path: Path) -> None:
        (tmp_path / "a.pcap").write_bytes(pcap(answered_call(body=b"v=0" * 99), snapshot=400))
        assert row(tmp_path / "a.pcap") == ANSWERED

    def test_and_set_aside_with_the_cure_when_it_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "a.pcap").write_bytes(pcap([(T0, udp(UPSTREAM, OWN, invite()))], snapshot=200))
        (reject,) = rejected(tmp_path / "a.pcap")
        assert "only 200 of 304 bytes captured: capture whole packets, tcpdump -s 0" in reject.detail

    @pytest.mark.parametrize("length", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
    def test_a_record_whose_length_lies_costs_no_call_before_it(self, tmp_path: Path, length: int) -> None:
        lie = struct.pack("<IIII", T0 // 10**6, 0, length, length) + b"\x00" * 40
        path = tmp_path / "a.pcap"
        path.write_bytes(pcap(answered_call()) + lie + pcap(answered_call(T0 + 10**6, call_id="c2"))[24:])
        assert rows(path)[0] == ANSWERED
        assert length < 2 or "breaks off after frame 4" in rejected(path)[0].detail

    @pytest.mark.parametrize("length", [0, 8, 13, 16, 0x10000000, 0xFFFFFFFC])
    def test_neither_does_a_block_of_a_pcapng_that_lies(self, tmp_path: Path, length: int) -> None:
        path = tmp_path / "a.pcapng"
        path.write_bytes(pcapng(answered_call()) + struct.pack("<II", 6, length) + bytes(40))
        assert row(path) == ANSWERED
        assert "breaks off after frame 4" in rejected(path)[0].detail

    @pytest.mark.slow
    def test_a_bomb_is_bounded_in_time_and_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.pcap.gz"
        with gzip.open(path, "wb", compresslevel=9) as bomb:
            bomb.write(pcap(answered_call()))
            for _ in range(400):
                bomb.write(bytes(1 << 20))
        assert path.stat().st_size < 1 << 20
        with pytest.raises(AdapterError, match="not read within 15 s|bomb|tshark was ended"):
            read(path, time_limit="15s", memory_mb=600)

    def test_a_file_that_is_no_capture_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a.pcap").write_text("INVITE sip:12025550143@198.51.100.60 SIP/2.0\n")
        with pytest.raises(AdapterError, match=r"a\.pcap can't be read as a capture"):
            read(tmp_path / "a.pcap")

    def test_a_time_limit_is_kept(self, tmp_path: Path) -> None:
        with pytest.raises(AdapterError, match="not read within 0 s"):
            read(write(tmp_path / "a.pcap", answered_call()), time_limit="0s")

    @pytest.mark.slow
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=12),
        st.integers(0, 10**6),
        st.booleans(),
    )
    def test_any_damage_ends_as_rows_or_as_the_one_error(
        self, tmp_path: Path, flips: list[tuple[int, int]], length: int, as_pcapng: bool
    ) -> None:
        frames = [*answered_call(), *[(T0, tcp(UPSTREAM, OWN, 1, invite(call_id="c2")))]]
        data = bytearray(pcapng(frames * 3) if as_pcapng else pcap(frames * 3))
        for at, value in flips:
            data[at % len(data)] ^= value
        path = tmp_path / "damaged.pcap"
        path.write_bytes(data if length % 3 else data[: length % len(data)])
        with suppress(AdapterError):
            read(path)


GATEWAY = "198.51.100.61"


@needs_tshark
class TestWhenNobodySaysWhichAddressesAreOurs:
    """No upstream is named unless the capture proves where it was taken."""

    def read(self, tmp_path: Path, frames: list[bytes]) -> tuple[list[dict[str, Any]], list[str]]:
        path = write(tmp_path / "a.pcap", [(T0 + 1000 * n, frame) for n, frame in enumerate(frames)])
        return rows(path, own_addresses=[]), [reject.detail for reject in rejected(path, own_addresses=[])]

    def sides(self, tmp_path: Path, frames: list[bytes]) -> list[tuple[str | None, str | None]]:
        found, notes = self.read(tmp_path, frames)
        assert bool(notes) == any(row["leg"] == "unknown" for row in found)
        return [(row.get("ingress_address"), row.get("egress_address")) for row in found]

    def hop(self, src: str, dst: str, *vias: str, **kwargs: Any) -> bytes:
        return udp(src, dst, invite(vias=[f"{via};branch=z9hG4bK-{via}" for via in vias], **kwargs))

    def test_the_one_machine_that_all_calls_passed_through_is_ours(self, tmp_path: Path) -> None:
        through = [
            self.hop(UPSTREAM, OWN, "up"),
            self.hop(OWN, DOWNSTREAM, "us", "up"),
            self.hop("192.0.2.40", OWN, "other", call_id="c2", called="12025550144"),
        ]
        assert self.sides(tmp_path, through) == [(UPSTREAM, DOWNSTREAM), ("192.0.2.40", None)]

    def test_so_is_a_b2bua_that_makes_new_call_ids(self, tmp_path: Path) -> None:
        through = [self.hop(UPSTREAM, OWN, "up"), self.hop(OWN, DOWNSTREAM, "us", call_id="c2", called="2025550143")]
        assert self.sides(tmp_path, through) == [(UPSTREAM, DOWNSTREAM)]

    def test_the_sender_of_calls_seen_on_one_side_only_may_be_ourselves(self, tmp_path: Path) -> None:
        found, (note,) = self.read(tmp_path, [self.hop(OWN, DOWNSTREAM, "us")])
        (only,) = found
        assert (only["called_in"], only["leg"], only["time"]) == ("12025550143", "unknown", "1795321361.847327")
        assert "ingress_address" not in only
        assert "egress_address" not in only
        assert (only["sent_from"], only["sent_to"]) == (OWN, DOWNSTREAM)
        assert note.endswith(f"(INVITEs from {OWN} to {DOWNSTREAM}): set own_addresses")

    def test_many_calls_to_one_address_prove_nothing(self, tmp_path: Path) -> None:
        many = [self.hop(f"192.0.2.{n}", OWN, f"h{n}", call_id=f"c{n}", called=f"120255501{n}") for n in range(10, 20)]
        assert self.sides(tmp_path, many) == [(None, None)] * 10

    def test_a_border_with_two_addresses_is_left_open(self, tmp_path: Path) -> None:
        through = [self.hop(UPSTREAM, OWN, "up"), self.hop(GATEWAY, DOWNSTREAM, "us", "up")]
        assert self.sides(tmp_path, through) == [(None, None), (None, None)]

    def test_a_gateway_before_a_switch_is_left_open(self, tmp_path: Path) -> None:
        through = [
            self.hop(UPSTREAM, OWN, "up"),
            self.hop(OWN, GATEWAY, "us", "up"),
            self.hop(GATEWAY, OWN, "switch", "us", "up"),
            self.hop(OWN, DOWNSTREAM, "us2", "switch", "us", "up"),
        ]
        assert set(self.sides(tmp_path, through)) == {(None, None)}

    def test_a_call_that_comes_back_from_where_it_went_is_left_open(self, tmp_path: Path) -> None:
        through = [self.hop(OWN, DOWNSTREAM, "us"), self.hop(DOWNSTREAM, OWN, "down", "us")]
        assert set(self.sides(tmp_path, through)) == {(None, None)}

    def test_a_chain_of_providers_is_left_open(self, tmp_path: Path) -> None:
        through = [
            self.hop(UPSTREAM, OWN, "up"),
            self.hop(OWN, DOWNSTREAM, "us", "up"),
            self.hop(DOWNSTREAM, "192.0.2.80", "down", "us", "up"),
        ]
        assert set(self.sides(tmp_path, through)) == {(None, None)}

    def test_machines_on_one_host_are_told_apart_by_port(self, tmp_path: Path) -> None:
        host = "2001:db8::1"
        through = [
            udp(host, host, invite(vias=("up;branch=z9hG4bK-1",)), ports=(5080, 5060)),
            udp(host, host, invite(vias=("us;branch=z9hG4bK-2", "up;branch=z9hG4bK-1")), ports=(5060, 5090)),
        ]
        assert self.sides(tmp_path, through) == [(host, host)]

    def test_a_capture_without_calls_needs_no_addresses(self, tmp_path: Path) -> None:
        register = udp(UPSTREAM, OWN, invite().replace(b"INVITE", b"REGISTER"))
        assert self.read(tmp_path, [register]) == ([], [])

    def test_whoever_knows_that_all_came_in_can_say_so(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pcap", [(T0, self.hop(UPSTREAM, OWN, "up"))])
        table = {"called_in": "called_in", "seizure": COLUMNS["seizure"], "ingress_address": "sent_from"}
        (call,) = calls(path, columns=table)
        assert call["ingress_address"] == UPSTREAM


@needs_tshark
class TestThroughAMapping:
    def test_the_canonical_columns(self, tmp_path: Path) -> None:
        ours, theirs = f"{OWN};branch=z9hG4bK-9", "203.0.113.21;branch=z9hG4bK-1"
        extra = (IDENTITY, "P-Asserted-Identity: <tel:+12125550178;verstat=TN-Validation-Passed>")
        frames = [
            udp(UPSTREAM, OWN, invite(vias=(theirs,), extra=extra)),
            udp(OWN, DOWNSTREAM, invite(vias=(ours, theirs), called="+12025550144")),
            udp(DOWNSTREAM, OWN, response(200, vias=(ours, theirs))),
            udp(OWN, UPSTREAM, response(200, vias=(theirs,))),
            udp(UPSTREAM, OWN, request("BYE")),
        ]
        path = write(tmp_path / "a.pcap", [(T0 + n * 10**6, frame) for n, frame in enumerate(frames)])
        (call,) = calls(path, own_addresses=[OWN])
        at = datetime(2026, 11, 22, 4, 22, 41, 847000, UTC)
        assert {name: value for name, value in call.items() if value is not None} == {
            "called_in": "+12025550143",
            "called_out": "+12025550144",
            "calling": "+12125550178",
            "seizure_earliest": at,
            "seizure_latest": at + timedelta(milliseconds=1),
            "answer": at + timedelta(seconds=3),
            "release": at + timedelta(seconds=4),
            "ingress_address": UPSTREAM,
            "egress_address": DOWNSTREAM,
            "call_id": "call-1@203.0.113.21",
            "leg": "ingress+egress",
            "disposition": "answered",
            "attestation": "A",
            "origid": "123e4567-e89b-12d3-a456-426655440000",
            "verstat": "TN-Validation-Passed",
            "row": 1,
        }

    @pytest.mark.parametrize(
        ("code", "disposition"),
        [(200, "answered"), (408, "unanswered"), (486, "unanswered"), (487, "unanswered"), (503, "failed")],
    )
    def test_how_a_call_ended(self, tmp_path: Path, code: int, disposition: str) -> None:
        frames = [udp(UPSTREAM, OWN, invite()), udp(OWN, UPSTREAM, response(code))]
        path = write(tmp_path / "a.pcap", [(T0 + n, frame) for n, frame in enumerate(frames)])
        assert [call["disposition"] for call in calls(path, own_addresses=[OWN])] == [disposition]

    def test_an_attempt_after_which_another_was_made_is_a_route_advance(self, tmp_path: Path) -> None:
        theirs = "203.0.113.21;branch=z9hG4bK-1"
        frames = [udp(UPSTREAM, OWN, invite(vias=(theirs,)))]
        for n, (to, code) in enumerate([(DOWNSTREAM, 503), ("192.0.2.80", 486)]):
            ours = f"{OWN};branch=z9hG4bK-9{n}"
            frames += [udp(OWN, to, invite(vias=(ours, theirs))), udp(to, OWN, response(code, vias=(ours, theirs)))]
        path = write(tmp_path / "a.pcap", [(T0 + n, frame) for n, frame in enumerate(frames)])
        assert [(call["egress_address"], call["disposition"]) for call in calls(path, own_addresses=[OWN])] == [
            (DOWNSTREAM, "route-advanced"),
            ("192.0.2.80", "unanswered"),
        ]

    def test_the_sources_own_addresses_are_the_captures(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pcap", [(T0, udp(UPSTREAM, OWN, invite()))])
        assert calls(path, source_own=[OWN])[0]["ingress_address"] == UPSTREAM

    def test_our_own_gateway_is_never_the_upstream(self, tmp_path: Path) -> None:
        through = [
            udp(OWN, GATEWAY, invite(call_id="inside")),
            udp(GATEWAY, DOWNSTREAM, invite(call_id="out", called="12025550144")),
        ]
        path = write(tmp_path / "a.pcap", [(T0 + n, frame) for n, frame in enumerate(through)])
        (call,) = calls(path, source_own=["198.51.100.60/31"])
        assert (call["ingress_address"], call["egress_address"]) == (None, DOWNSTREAM)


@needs_tshark
class TestDirectory:
    def test_a_call_that_goes_on_in_the_next_file_is_one_call(self, tmp_path: Path) -> None:
        frames = answered_call()
        write(tmp_path / "b.pcap", frames[:1])
        write(tmp_path / "a.pcap.gz", frames[1:])
        (tmp_path / "README").write_text("captures of today")
        assert row(tmp_path) == ANSWERED
        assert read(tmp_path)[-1].skipped == 1

    def test_rows_of_later_files_are_numbered_by_file_and_frame(self, tmp_path: Path) -> None:
        write(tmp_path / "a.pcap", answered_call())
        write(tmp_path / "b.pcap", answered_call(T0 + 10**6, call_id="c2"))
        assert [r["row"] for r in rows(tmp_path)] == [1, 1_000_000_001]

    def test_interfaces_captured_side_by_side_are_merged(self, tmp_path: Path) -> None:
        frames = answered_call()
        write(tmp_path / "access.pcap", [frames[0], frames[3]])
        write(tmp_path / "core.pcap", frames[1:3])
        assert row(tmp_path) == ANSWERED


class TestOptions:
    def refusal(self, **options: Any) -> str:
        with pytest.raises(AdapterError) as refused:
            SIP.check_options(options)
        return str(refused.value)

    def test_each_wrong_value_is_named(self) -> None:
        assert "'sbc.example.net' is no IP address" in self.refusal(own_addresses=["sbc.example.net"])
        assert "sip_ports" in self.refusal(own_addresses=[OWN], sip_ports=[70000])
        assert "time_limit" in self.refusal(own_addresses=[OWN], time_limit=5)
        assert "memory_mb" in self.refusal(own_addresses=[OWN], memory_mb=1)

    def test_an_unknown_option_is_refused(self) -> None:
        assert "own_address: unknown key" in self.refusal(own_addresses=[OWN], own_address=OWN)

    def test_without_tshark_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(AdapterError, match="apt-get install tshark"):
            read(write(tmp_path / "a.pcap", answered_call()))

    @needs_tshark
    def test_own_addresses_that_fit_nothing_are_doubted(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.pcap", answered_call())
        (reject,) = rejected(path, own_addresses=["192.0.2.99"])
        assert "none of the 2 INVITEs was to or from own_addresses (192.0.2.99)" in reject.detail


class TestIdentify:
    def head(self, data: bytes) -> Head:
        return Head(Path("x"), data, complete=True)

    def test_captures_are_claimed_and_nothing_else(self) -> None:
        assert SIP.identify(self.head(pcap([])))
        assert SIP.identify(self.head(pcapng([])))
        assert not SIP.identify(self.head(b""))
        assert not SIP.identify(self.head(invite()))


def test_nothing_heavy_is_imported_to_offer_the_format() -> None:
    code = "import sys, cdr_adapters.formats.sip_pcap; sys.exit(bool({'pyshark', 'lxml', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
