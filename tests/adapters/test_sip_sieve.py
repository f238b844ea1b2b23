"""What is left out of a capture before anybody dissects it: only what surely sets up no call and ends none."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr_adapters.sip.sieve import Sieve
from tests.adapters.sip_bytes import (
    DOWNSTREAM,
    OWN,
    T0,
    UPSTREAM,
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
)

RTP = bytes([0x80, 0x00]) + bytes(170)
RTCP = bytes([0x81, 200]) + bytes(30)
V6 = ("2001:db8:b::50", "2001:db8:c::60")

KEPT = {
    "an INVITE": udp(UPSTREAM, OWN, invite()),
    "an INVITE over IPv6": udp(*V6, invite()),
    "a re-INVITE": udp(UPSTREAM, OWN, invite(to_tag="b2")),
    "a BYE": udp(UPSTREAM, OWN, request("BYE")),
    "a final response to INVITE": udp(OWN, UPSTREAM, response(200)),
    "a refusal": udp(OWN, UPSTREAM, response(503)),
    "a HEP copy": udp(UPSTREAM, OWN, hep3(UPSTREAM, OWN, invite()), ports=(9060, 9060)),
    "RTP over TCP": tcp(UPSTREAM, OWN, 1, RTP),
    "an OPTIONS over TCP, behind which an INVITE may stand": tcp(UPSTREAM, OWN, 1, request("OPTIONS")),
    "the first fragment of a REGISTER": udp_fragments(UPSTREAM, OWN, request("REGISTER") + bytes(600))[0],
    "a later fragment": udp_fragments(UPSTREAM, OWN, invite() + RTP * 9)[-1],
    "a tunnel that looks like RTP": udp(UPSTREAM, OWN, RTP, ports=(4789, 4789)),
    "compressed signalling": udp(UPSTREAM, OWN, bytes([0xF8]) + RTP),
    "a packet in a packet": ip("192.0.2.1", "192.0.2.2", 4, udp(UPSTREAM, OWN, RTP)[14:]),
    "an ARP": bytes(12) + b"\x08\x06" + bytes(28),
    "nearly nothing": b"\x00" * 9,
    "a datagram whose length lies": udp(UPSTREAM, OWN, RTP)[:-20],
}
LEFT_OUT = {
    "RTP": udp(UPSTREAM, OWN, RTP, ports=(20000, 30000)),
    "RTCP": udp(UPSTREAM, OWN, RTCP, ports=(20001, 30001)),
    "RTP over IPv6": udp(*V6, RTP),
    "RTP in a VLAN": udp(UPSTREAM, OWN, RTP)[:12] + b"\x81\x00\x00\x07" + udp(UPSTREAM, OWN, RTP)[12:],
    "an ACK": udp(UPSTREAM, OWN, request("ACK")),
    "a REGISTER": udp(UPSTREAM, OWN, request("REGISTER")),
    "an OPTIONS": udp(UPSTREAM, OWN, request("OPTIONS")),
    "a CANCEL, after which a 487 says the same": udp(UPSTREAM, OWN, request("CANCEL")),
    "a provisional response": udp(OWN, UPSTREAM, response(180)),
    "a response to a REGISTER": udp(OWN, UPSTREAM, response(200, method="REGISTER")),
}
FRAMES = {**KEPT, **LEFT_OUT}
FILES: list[Callable[[list[tuple[int, bytes]]], bytes]] = [pcap, pcapng]


def timed(frames: list[bytes]) -> list[tuple[int, bytes]]:
    return [(T0 + n, frame) for n, frame in enumerate(frames)]


def sieved(data: bytes, size: int = 1 << 20) -> tuple[Sieve, bytes]:
    def blocks() -> Iterator[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    sieve = Sieve()
    return sieve, b"".join(sieve.through(blocks()))


class TestWhatIsLeftOut:
    @pytest.mark.parametrize("file", FILES)
    @pytest.mark.parametrize("name", KEPT)
    def test_whatever_might_tell_of_a_call_passes(
        self, file: Callable[[list[tuple[int, bytes]]], bytes], name: str
    ) -> None:
        data = file(timed([KEPT[name]]))
        assert sieved(data)[1] == data

    @pytest.mark.parametrize("file", FILES)
    @pytest.mark.parametrize("name", LEFT_OUT)
    def test_what_surely_tells_of_none_does_not(
        self, file: Callable[[list[tuple[int, bytes]]], bytes], name: str
    ) -> None:
        assert sieved(file(timed([LEFT_OUT[name]])))[1] == file([])

    def test_unless_it_was_captured_in_part(self) -> None:
        data = pcap(timed([LEFT_OUT["a response to a REGISTER"]]), snapshot=100)
        assert sieved(data)[1] == data

    @pytest.mark.parametrize(
        ("link", "head"),
        [(113, bytes(14) + b"\x08\x00"), (276, b"\x08\x00" + bytes(18)), (101, b""), (12, b""), (228, b"")],
    )
    def test_on_other_link_layers_too(self, link: int, head: bytes) -> None:
        packets = [head + frame[14:] for frame in (LEFT_OUT["RTP"], KEPT["an INVITE"])]
        data = bytearray(pcap(timed(packets)))
        data[20:24] = struct.pack("<I", link)
        only = bytearray(pcap([timed(packets)[1]]))
        only[20:24] = data[20:24]
        assert sieved(bytes(data))[1] == only

    def test_on_an_unknown_link_layer_all_passes(self) -> None:
        data = bytearray(pcap(timed(list(LEFT_OUT.values()))))
        data[20:24] = struct.pack("<I", 147)
        assert sieved(bytes(data))[1] == data


class TestOrderAndNumbers:
    @given(st.lists(st.sampled_from(sorted(FRAMES)), max_size=30), st.sampled_from(FILES), st.integers(1, 5000))
    def test_the_others_keep_order_and_numbers_however_the_bytes_come(
        self, names: list[str], file: Callable[[list[tuple[int, bytes]]], bytes], size: int
    ) -> None:
        frames = timed([FRAMES[name] for name in names])
        sieve, left = sieved(file(frames), size)
        kept = [number for number, name in enumerate(names) if name in KEPT]
        assert left == file([frames[number] for number in kept])
        assert [sieve.frame(n + 1) for n in range(len(kept))] == [number + 1 for number in kept]

    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("nanoseconds", [False, True])
    def test_in_either_byte_order_and_resolution(self, order: str, nanoseconds: bool) -> None:
        magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
        data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
        records = [
            struct.pack(f"{order}IIII", 1, 2, len(frame), len(frame)) + frame
            for frame in (LEFT_OUT["RTP"], KEPT["an INVITE"])
        ]
        assert sieved(data + b"".join(records))[1] == data + records[1]


class TestDamage:
    @pytest.mark.parametrize("file", FILES)
    def test_a_capture_cut_short_stays_cut_short(self, file: Callable[[list[tuple[int, bytes]]], bytes]) -> None:
        frames = timed([LEFT_OUT["RTP"], KEPT["an INVITE"], LEFT_OUT["RTP"]])
        data = file(frames)
        tail = data[len(file(frames[:2])) : -10]
        assert sieved(data[:-10])[1] == file(frames[1:2]) + tail

    def test_from_a_length_that_lies_on_everything_passes_and_is_counted_on(self) -> None:
        good, lie = pcap(timed([LEFT_OUT["RTP"], KEPT["an INVITE"]])), struct.pack("<IIII", 1, 1, 1 << 30, 1 << 30)
        rest = lie + pcap(timed([LEFT_OUT["RTP"]]))[24:]
        sieve, left = sieved(good + rest, 64)
        assert left == pcap([timed([LEFT_OUT["RTP"], KEPT["an INVITE"]])[1]]) + rest
        assert [sieve.frame(n) for n in (1, 2, 3)] == [2, 3, 4]

    @pytest.mark.parametrize("length", [0, 8, 13, 1 << 30])
    def test_so_it_does_in_a_pcapng(self, length: int) -> None:
        good = pcapng(timed([KEPT["an INVITE"]]))
        rest = struct.pack("<II", 6, length) + bytes(60) + pcapng(timed([LEFT_OUT["RTP"]]))
        assert sieved(good + rest)[1] == good + rest

    def test_blocks_that_nobody_here_knows_end_the_sieving(self) -> None:
        unknown = struct.pack("<II", 0x0BAD, 16) + bytes(4) + struct.pack("<I", 16)
        data = pcapng([]) + unknown + pcapng(timed([LEFT_OUT["RTP"]]))
        assert sieved(data)[1] == data

    @given(st.binary(max_size=300), st.integers(1, 64))
    def test_what_is_no_capture_passes(self, data: bytes, size: int) -> None:
        assert sieved(b"x" + data, size)[1] == b"x" + data

    @given(st.data())
    def test_of_a_damaged_one_no_bytes_are_invented(self, data: st.DataObject) -> None:
        whole = bytearray(data.draw(st.sampled_from(FILES))(timed(list(FRAMES.values()))))
        for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
            whole[at] = data.draw(st.integers(0, 255))
        _, left = sieved(bytes(whole), data.draw(st.integers(1, 3000)))
        rest = iter(whole)
        assert all(byte in rest for byte in left)  # a subsequence


class TestWhatItLetsThrough:
    def test_is_a_small_part_of_a_capture_beside_a_media_gateway(self) -> None:
        frames = [KEPT["an INVITE"], *[LEFT_OUT["RTP"]] * 1000, KEPT["a BYE"], udp(OWN, DOWNSTREAM, RTP)]
        assert len(sieved(pcap(timed(frames)))[1]) < 2000
