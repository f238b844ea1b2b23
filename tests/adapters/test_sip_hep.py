"""HEP packets: what a copied message says, and which packets are refused."""

from __future__ import annotations

import gzip
import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr_adapters.sip.hep import Copy, CutOffError, HepError, LackingError, is_hep, read_copy
from cdr_adapters.sip.hep_stream import HepStreams
from tests.adapters.sip_bytes import OWN, T0, UPSTREAM, hep2, hep3, invite

INVITE = invite()
V6 = ("2001:db8:b::50", "2001:db8:c::60")


def copied(packet: bytes) -> Copy:
    copy, end = read_copy(packet)
    assert copy is not None
    assert end == len(packet)
    return copy


class TestVersion3:
    def test_addresses_ports_time_and_message_are_those_of_the_copy(self) -> None:
        assert copied(hep3(UPSTREAM, OWN, INVITE, ports=(5080, 5060))) == Copy(T0, UPSTREAM, 5080, OWN, 5060, INVITE)

    def test_ipv6(self) -> None:
        assert (copied(hep3(*V6, INVITE)).src, copied(hep3(*V6, INVITE)).dst) == V6

    @pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
    def test_a_compressed_message(self, compress: object) -> None:
        assert callable(compress)
        packet = hep3(UPSTREAM, OWN, b"", without=[15], extra=[(0, 16, compress(INVITE))])
        assert copied(packet).payload == INVITE

    def test_chunks_of_others_and_unknown_ones_are_passed_over(self) -> None:
        packet = hep3(UPSTREAM, OWN, INVITE, extra=[(0x1234, 3, b"\x01"), (0, 17, b"correlation"), (0, 200, b"?")])
        assert copied(packet).src == UPSTREAM

    def test_the_packet_ends_where_its_length_says(self) -> None:
        packet = hep3(UPSTREAM, OWN, INVITE)
        assert read_copy(b"??" + packet + packet, 2)[1] == 2 + len(packet)

    @pytest.mark.parametrize("kind", [0, 5, 32, 34, 99, 100])
    def test_reports_logs_and_media_are_no_calls(self, kind: int) -> None:
        assert read_copy(hep3(UPSTREAM, OWN, INVITE, kind=kind))[0] is None

    def test_a_packet_without_a_message_is_none(self) -> None:
        assert read_copy(hep3(UPSTREAM, OWN, b"", without=[15]))[0] is None

    @pytest.mark.parametrize(("chunk", "lack"), [(3, "between whom"), (4, "between whom"), (9, "when")])
    def test_one_that_lacks_what_it_must_say_is_refused_as_a_whole(self, chunk: int, lack: str) -> None:
        packet = hep3(UPSTREAM, OWN, INVITE, without=[chunk])
        with pytest.raises(LackingError, match=lack) as refused:
            read_copy(packet)
        assert refused.value.size == len(packet)

    def test_a_time_out_of_all_bounds_is_none(self) -> None:
        with pytest.raises(LackingError, match="when its message passed"):
            read_copy(hep3(UPSTREAM, OWN, INVITE, time_us=1_000_000))

    def test_a_chunk_of_another_size_than_its_type_has_is_refused(self) -> None:
        with pytest.raises(LackingError, match="chunk 7 of a HEP packet has 1 bytes"):
            read_copy(hep3(UPSTREAM, OWN, INVITE, without=[7], extra=[(0, 7, b"\x13")]))

    def test_a_bomb_is_refused(self) -> None:
        bomb = zlib.compress(bytes(30 << 20))
        with pytest.raises(LackingError, match="too long"):
            read_copy(hep3(UPSTREAM, OWN, b"", without=[15], extra=[(0, 16, bomb)]))

    @pytest.mark.parametrize("size", [0, 5, 60000])
    def test_a_chunk_length_that_lies_is_refused(self, size: int) -> None:
        packet = bytearray(hep3(UPSTREAM, OWN, INVITE))
        packet[10:12] = struct.pack(">H", size)
        with pytest.raises(HepError, match="wrong length"):
            read_copy(bytes(packet))

    @pytest.mark.parametrize("cut", [5, 7, 50, -1])
    def test_one_that_is_cut_off_says_so(self, cut: int) -> None:
        with pytest.raises(CutOffError, match="cut off"):
            read_copy(hep3(UPSTREAM, OWN, INVITE)[:cut])


class TestVersions1And2:
    @pytest.mark.parametrize("ends", [(UPSTREAM, OWN), V6])
    @pytest.mark.parametrize("padded", [True, False])
    @pytest.mark.parametrize("order", "<>")
    def test_version_2_has_addresses_and_time(self, ends: tuple[str, str], padded: bool, order: str) -> None:
        copy = copied(hep2(*ends, INVITE, padded=padded, order=order))
        assert copy == Copy(T0, ends[0], 5060, ends[1], 5060, INVITE)

    def test_its_message_ends_with_its_content_length(self) -> None:
        message = invite(body=b"v=0\r\n")
        packet = hep2(UPSTREAM, OWN, message)
        copy, end = read_copy(packet + hep3(UPSTREAM, OWN, INVITE))
        assert (copy and copy.payload, end) == (message, len(packet))

    def test_version_1_never_says_when(self) -> None:
        packet = hep2(UPSTREAM, OWN, INVITE, version=1)
        with pytest.raises(LackingError, match="version 1 doesn't say when") as refused:
            read_copy(packet)
        assert refused.value.size == len(packet)

    def test_a_time_out_of_all_bounds_is_none(self) -> None:
        with pytest.raises(LackingError, match="when its message passed"):
            read_copy(hep2(UPSTREAM, OWN, INVITE, time_us=0))


class TestRecognising:
    @pytest.mark.parametrize(
        "packet",
        [
            hep3(UPSTREAM, OWN, INVITE),
            hep3(*V6, INVITE, kind=5),
            hep2(UPSTREAM, OWN, INVITE),
            hep2(*V6, INVITE),
            hep2(UPSTREAM, OWN, INVITE, version=1),
        ],
    )
    def test_every_version_is_known(self, packet: bytes) -> None:
        assert is_hep(packet)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"HEP3",
            b"HEP3 is a protocol\n",
            b"HEP3,2026-11-22,12025550143\n",
            INVITE,
            b"\x01\x10\x02\x11" + bytes(60),
            b"\x02\x00\x02\x11" + bytes(20) + INVITE,
            hep2(UPSTREAM, OWN, b"not SIP at all"),
        ],
    )
    def test_nothing_else_is(self, data: bytes) -> None:
        assert not is_hep(data)

    @given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda data: b"HEP3" + data)))
    def test_any_bytes_are_read_or_refused(self, data: bytes) -> None:
        is_hep(data)
        with suppress(HepError):
            read_copy(data)

    @given(st.data())
    def test_so_are_damaged_packets(self, data: st.DataObject) -> None:
        packet = bytearray(data.draw(st.sampled_from([hep3(UPSTREAM, OWN, INVITE), hep2(UPSTREAM, OWN, INVITE)])))
        for at in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=8)):
            packet[at] = data.draw(st.integers(0, 255))
        with suppress(HepError):
            _, end = read_copy(bytes(packet))
            assert 0 < end <= len(packet)


class TestStreams:
    PACKETS = tuple(hep3(UPSTREAM, OWN, invite(call_id=f"c{n}")) for n in range(3))

    def test_packets_are_cut_out_of_segments_of_any_size(self) -> None:
        data = b"".join(self.PACKETS)
        for size in (1, 7, 100, 1400, 5000):
            streams = HepStreams()
            parts = [(at, data[at : at + size]) for at in range(0, len(data), size)]
            found = [packet for at, part in parts for packet in streams.feed("s", 2**32 - 300 + at, part)]
            assert tuple(found) == self.PACKETS

    def test_a_segment_sent_again_is_seen_once(self) -> None:
        streams = HepStreams()
        first, second, _ = self.PACKETS
        assert streams.feed("s", 100, first) == [first]
        assert streams.feed("s", 100, first) == []
        assert streams.feed("s", 100, first + second) == [second]

    def test_behind_a_missing_segment_it_goes_on_with_the_next_packet(self) -> None:
        streams = HepStreams()
        first, second, third = self.PACKETS
        assert streams.feed("s", 0, first[:50]) == []
        assert streams.feed("s", len(first) + 50, second[50:] + third) == [third]

    def test_streams_are_told_apart(self) -> None:
        streams = HepStreams()
        first, second, _ = self.PACKETS
        assert streams.feed("a", 0, first[:50]) == []
        assert streams.feed("b", 0, second) == [second]
        assert streams.feed("a", 50, first[50:]) == [first]

    def test_what_never_becomes_a_packet_is_not_kept(self) -> None:
        streams = HepStreams()
        endless = b"HEP3\xff\xff"
        for n in range(200):
            streams.feed("s", n * 4096, endless + bytes(4096 - len(endless)))
        assert len(streams._streams["s"].pending) <= 1 << 16
