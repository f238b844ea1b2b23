"""Hostile captures: packets and chunks whose lengths lie, times at their limits, messages that go on for ever."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from tests.adapters.hostile.recipes import CAPTURES, Corpus
from tests.adapters.hostile.seeds import seed_of

CAPTURED = Corpus()

NOW = 1795321360
RAW_IP = 101
SENDER, OURS = bytes((192, 0, 2, 9)), bytes((198, 51, 100, 60))


def _pcap(*packets: tuple[int, bytes], snap: int = 262_144, link: int = RAW_IP, magic: int = 0xA1B2C3D4) -> bytes:
    """A pcap of packets, each with the length that its header says."""
    data = struct.pack("<LHHiLLL", magic, 2, 4, 0, 0, snap, link)
    return data + b"".join(struct.pack("<LLLL", NOW, 0, said, said) + packet for said, packet in packets)


def _udp(payload: bytes, said: int | None = None) -> bytes:
    """An IPv4 packet with a UDP datagram from one documentation address to another."""
    length = 8 + len(payload) if said is None else said
    datagram = struct.pack(">HHHH", 5060, 5060, length & 0xFFFF, 0) + payload
    header = struct.pack(">BBHHHBBH", 0x45, 0, (20 + len(datagram)) & 0xFFFF, 0, 0, 64, 17, 0)
    return header + SENDER + OURS + datagram


INVITE = (
    b"INVITE sip:+12025550143@198.51.100.60 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa\r\n"
    b"From: <sip:+12025550199@192.0.2.9>;tag=a\r\nTo: <sip:+12025550143@198.51.100.60>\r\nCall-ID: a@192.0.2.9\r\n"
    b"CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def _sip(*messages: bytes, snap: int = 262_144) -> bytes:
    return _pcap(*((len(packet), packet) for packet in map(_udp, messages)), snap=snap)


@CAPTURED.content("sip_pcap")
def _packet_of_4_gigabytes() -> bytes:
    """It says so, and the file ends."""
    return _pcap((len(_udp(INVITE)), _udp(INVITE)), (0xFFFFFFFF, b"x" * 100))


@CAPTURED.content("sip_pcap")
def _packet_longer_than_the_capture_keeps() -> bytes:
    """200 MB in a capture that keeps 96 bytes of each."""
    return _pcap((200 << 20, b"x" * 1000), snap=96)


@CAPTURED.content("sip_pcap")
def _capture_that_keeps_4_gigabytes_of_each_packet() -> bytes:
    """A reader that allocates what may come has no memory for it."""
    return _sip(INVITE, snap=0xFFFFFFFF)


@CAPTURED.content("sip_pcap")
def _capture_that_is_cut_off_in_a_header() -> bytes:
    """tcpdump was killed."""
    return _sip(INVITE, INVITE)[: -len(_udp(INVITE)) - 7]


@CAPTURED.content("sip_pcap")
def _capture_of_30000_empty_packets() -> bytes:
    """Headers of 16 bytes, and nothing behind them."""
    return _pcap(*[(0, b"")] * 30_000)


@CAPTURED.content("sip_pcap")
def _capture_of_a_link_that_nobody_knows() -> bytes:
    """A link type that is none."""
    return _pcap((len(INVITE), INVITE), link=0xFFFF)


@CAPTURED.content("sip_pcap")
def _capture_of_times_at_their_limits() -> bytes:
    """In 2106, with fractions of more than a second."""
    data = bytearray(_sip(INVITE, INVITE))
    struct.pack_into("<LL", data, 24, 0xFFFFFFFF, 0xFFFFFFFF)
    return bytes(data)


@CAPTURED.content("sip_pcap")
def _datagrams_whose_lengths_lie() -> bytes:
    """UDP says more than there is, or less than its own header."""
    return _pcap(*((len(packet), packet) for said in (0, 3, 9, 0xFFFF) for packet in (_udp(INVITE, said),)))


@CAPTURED.content("sip_pcap")
def _sip_of_10000_headers() -> bytes:
    """As many as a datagram holds, folded, repeated, without names."""
    headers = b"Via: a\r\n \t folded\r\n" * 1500 + b": x\r\n" * 1500 + b"\r" * 100
    return _sip(INVITE[:-2] + headers + b"\r\n", INVITE[:-4] + b"9" * 30_000 + b"\r\n\r\n")


@CAPTURED.content("sip_pcap")
def _sip_that_steers_a_terminal() -> bytes:
    """Escape sequences, NUL and bytes that are no text in every field."""
    return _sip(*(INVITE.replace(b"a@", piece + b"@").replace(b"tag=a", b"tag=" + piece) for piece in _STEERING))


_STEERING = (b"\x1b[2J", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"a\x1b]0;x\x07")


def _block(kind: int, body: bytes, length: int | None = None, trailer: int | None = None) -> bytes:
    padded = body + bytes(-len(body) % 4)
    said = 12 + len(padded) if length is None else length
    return struct.pack("<LL", kind, said) + padded + struct.pack("<L", said if trailer is None else trailer)


SECTION = _block(0x0A0D0D0A, struct.pack("<LHHq", 0x1A2B3C4D, 1, 0, -1))
INTERFACE = _block(1, struct.pack("<HHL", RAW_IP, 0, 0))


def _packet(interface: int = 0, packet: bytes = b"", said: int | None = None) -> bytes:
    packet = packet or _udp(INVITE)
    ticks = NOW * 1_000_000
    length = len(packet) if said is None else said
    return struct.pack("<LLLLL", interface, ticks >> 32, ticks & 0xFFFFFFFF, length, length) + packet


def _pcapng(*blocks: bytes) -> bytes:
    return SECTION + INTERFACE + b"".join(blocks)


@CAPTURED.content("sip_pcap")
def _pcapng_block_of_no_length() -> bytes:
    """A reader that goes on by it never comes further."""
    return _pcapng(_block(6, _packet()), _block(6, _packet(), 0, 0), _block(6, _packet()))


@CAPTURED.content("sip_pcap")
def _pcapng_block_of_4_gigabytes() -> bytes:
    """It says so."""
    return _pcapng(_block(6, _packet(), 0xFFFFFFFC), _block(6, _packet()))


@CAPTURED.content("sip_pcap")
def _pcapng_block_of_an_odd_length() -> bytes:
    """Blocks are multiples of four."""
    return _pcapng(_block(6, _packet(), 13, 13), _block(6, _packet()))


@CAPTURED.content("sip_pcap")
def _pcapng_block_whose_ends_disagree() -> bytes:
    """It begins with one length and ends with another."""
    return _pcapng(_block(6, _packet(), None, 8), _block(6, _packet()))


@CAPTURED.content("sip_pcap")
def _pcapng_packet_of_an_interface_that_is_none() -> bytes:
    """The interface that it names was never described."""
    return SECTION + _block(6, _packet(7)) + INTERFACE + _block(6, _packet(0xFFFFFFFF))


@CAPTURED.content("sip_pcap")
def _pcapng_packet_longer_than_its_block() -> bytes:
    """What is behind the block would be read as the packet."""
    return _pcapng(_block(6, _packet(said=0x7FFFFFFF)), _block(6, _packet()))


@CAPTURED.content("sip_pcap")
def _pcapng_whose_clock_is_absurd() -> bytes:
    """10 to the 127th of a second, 2 to the 127th, and an offset of all ones."""
    options = (
        struct.pack("<HHB3x", 9, 1, 127),
        struct.pack("<HHB3x", 9, 1, 255),
        struct.pack("<HHq", 14, 8, -1 << 63),
        struct.pack("<HH", 9, 0xFFFF),
    )
    return b"".join(
        SECTION + _block(1, struct.pack("<HHL", RAW_IP, 0, 0) + option) + _block(6, _packet()) for option in options
    )


@CAPTURED.content("sip_pcap")
def _pcapng_of_10000_sections() -> bytes:
    """Each begins anew, and none has a packet."""
    return (SECTION + INTERFACE) * 10_000


@CAPTURED.content("sip_pcap")
def _pcapng_of_options_without_end() -> bytes:
    """A comment of 60 kB in each of 50 blocks, and no end of options."""
    return _pcapng(
        *[_block(6, _packet() + bytes(-len(_packet()) % 4) + struct.pack("<HH", 1, 60_000) + b"c" * 60_000)] * 50
    )


@CAPTURED.content(*CAPTURES)
def _captures_of_two_kinds_in_one_file() -> bytes:
    """pcap, pcapng and HEP, joined."""
    return b"".join(sample for name in CAPTURES for sample in seed_of(name).samples) + _pcapng(_block(6, _packet()))


# --- HEP


def _chunk(kind: int, content: bytes, said: int | None = None) -> bytes:
    return struct.pack(">HHH", 0, kind, 6 + len(content) if said is None else said) + content


def _hep(chunks: Sequence[bytes], said: int | None = None) -> bytes:
    body = b"".join(chunks)
    return b"HEP3" + struct.pack(">H", (6 + len(body) if said is None else said) & 0xFFFF) + body


ENDS = (
    _chunk(1, b"\x02"),
    _chunk(2, b"\x11"),
    _chunk(3, SENDER),
    _chunk(4, OURS),
    _chunk(7, struct.pack(">H", 5060)),
    _chunk(8, struct.pack(">H", 5060)),
    _chunk(9, struct.pack(">L", NOW)),
    _chunk(10, struct.pack(">L", 0)),
    _chunk(11, b"\x01"),
    _chunk(12, struct.pack(">L", 1)),
)
RIGHT = _hep((*ENDS, _chunk(15, INVITE)))


@CAPTURED.content("hep")
def _hep_packets_whose_lengths_lie() -> bytes:
    """Too long, too short, nothing, less than their own header."""
    return RIGHT + b"".join(_hep((*ENDS, _chunk(15, INVITE)), said) + RIGHT for said in (0, 1, 5, 6, 20, 0xFFFF))


@CAPTURED.content("hep")
def _hep_chunks_whose_lengths_lie() -> bytes:
    """A chunk of no length is read for ever, one of 64 kB reads the next packets."""
    return RIGHT + b"".join(_hep((*ENDS, _chunk(15, INVITE, said))) + RIGHT for said in (0, 1, 5, 6, 7, 0xFFFF))


@CAPTURED.content("hep")
def _hep_whose_chunks_are_of_other_sizes() -> bytes:
    """Addresses of three bytes, ports of one, times of two."""
    return RIGHT + b"".join(
        _hep((*(chunk[:4] + b"\x00\x07x" for chunk in ENDS), _chunk(15, INVITE))) for _ in range(50)
    )


@CAPTURED.content("hep")
def _hep_payload_that_is_a_bomb() -> bytes:
    """60 kB of zlib, which are 60 MB of blanks, in each of ten packets."""
    packed = zlib.compress(b" " * (60 << 20), 9)[:65_000]
    return RIGHT + _hep((*ENDS, _chunk(16, packed))) * 10


@CAPTURED.content("hep")
def _hep_magic_again_and_again() -> bytes:
    """Half a million beginnings."""
    return RIGHT + b"HEP3" * 500_000


@CAPTURED.content("hep")
def _hep_of_no_version_that_exists() -> bytes:
    """EEP1 is what version 3 was called first; versions 1 and 2 are told apart by two bytes."""
    return b"EEP1" + RIGHT[4:] + b"\x01\x10\x02\x11" + bytes(100) + b"\x02\x10\xff\x11" + bytes(100) + RIGHT


@CAPTURED.content("hep")
def _hep_of_5000_calls_that_never_end() -> bytes:
    """Every INVITE is another call, and none is ever answered: what is in progress must not fill the memory."""
    return b"".join(
        _hep((*ENDS[:6], _chunk(9, struct.pack(">L", NOW + number // 100)), *ENDS[7:], _chunk(15, _invite(number))))
        for number in range(5_000)
    )


def _invite(number: int) -> bytes:
    return INVITE.replace(b"a@192", b"%d@192" % number).replace(b"z9hG4bKa", b"z9hG4bK%d" % number)
