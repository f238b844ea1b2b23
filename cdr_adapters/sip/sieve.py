"""Leaves out of a capture the packets that surely set up no call and end none, before anything expensive looks at them.

A capture taken beside a media gateway is nearly all RTP; much of the rest is registrations, keep-alives, provisional
responses and ACKs. A packet is left out only where its bytes prove it: it is UDP, no fragment, and its payload begins
as RTP or RTCP (version 2: RFC 3550 5.1), or as a SIP message that opens, answers or ends no call. All else passes as it
stands: TCP, fragments, tunnels, link layers not known here, a response of which a part is missing.

Knows pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng) as far as records go. Where lengths make no
sense everything from there on passes, so that whoever reads the capture finds the damage that is in it.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator

_MARKS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _NAMES, _STATISTICS, _PACKET, _SECRETS = 1, 2, 3, 4, 5, 6, 10
_NO_PACKETS = frozenset({_INTERFACE, _NAMES, _STATISTICS, _SECRETS, 0x0A0D0D0A})
_LONGEST_RECORD = 1 << 24

_ETHERNET, _SLL, _SLL2 = 1, 113, 276
_BARE_IP = frozenset({12, 14, 101, 228, 229})
_VLAN = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_UDP = 17

_OTHER_METHODS = "ACK CANCEL INFO MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER SUBSCRIBE UPDATE"
_BEGINS_NO_CALL = (b"SIP/2.0 1", *(f"{method} ".encode() for method in _OTHER_METHODS.split()))
_RESPONSE, _INVITE = b"SIP/2.0 ", b"INVITE"
_TUNNELS = frozenset({1701, 2152, 3544, 4341, 4500, 4789, 6081, 6635, 8472})
"""UDP ports of protocols that carry other packets: what these begin with is no payload's beginning."""


class Sieve:
    """One capture on its way through. Keeps the numbers of what it let pass: 4 bytes a packet."""

    def __init__(self) -> None:
        self._passed = array("I")
        self._frames = 0
        self._blind_from = 0

    def frame(self, number: int) -> int:
        """The frame number in the capture of the `number`th packet that passed, both from 1."""
        if number <= len(self._passed):
            return self._passed[number - 1]
        return self._blind_from + number - len(self._passed)

    def through(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The capture in `blocks`, without what is left out."""
        source = iter(blocks)
        data = b""
        for block in source:
            data += block
            if len(data) >= 28:
                break
        if data[:4] in _MARKS and len(data) >= 24:
            yield from self._pcap(data, source)
        elif data[:4] == _SECTION and data[8:12] in _ORDERS:
            yield from self._pcapng(data, source)
        else:
            yield data
            yield from source

    def _pcap(self, data: bytes, source: Iterator[bytes]) -> Iterator[bytes]:
        order = _MARKS[data[:4]]
        lengths = struct.Struct(f"{order}II").unpack_from
        (network,) = struct.unpack_from(f"{order}I", data, 20)
        link = network & 0x0FFFFFFF
        at = 24
        passed_from = 0
        while True:
            end = len(data)
            while at + 16 <= end:
                captured, original = lengths(data, at + 8)
                following = at + 16 + captured
                if captured > _LONGEST_RECORD:
                    yield from self._unread(data[passed_from:], source)
                    return
                if following > end:
                    break
                self._frames += 1
                if not original or _sets_up_no_call(data, at + 16, following, link):
                    if passed_from < at:
                        yield data[passed_from:at]
                    passed_from = following
                else:
                    self._passed.append(self._frames & 0xFFFFFFFF)
                at = following
            if passed_from < at:
                yield data[passed_from:at]
            block = next(source, b"")
            data = data[at:] + block
            at = passed_from = 0
            if not block:
                yield from self._unread(data, source)
                return

    def _unread(self, rest: bytes, source: Iterator[bytes]) -> Iterator[bytes]:
        """What is passed on unseen: from where the capture can't be read on, and what is left at its end."""
        self._blind_from = self._frames
        yield rest
        yield from source

    def _pcapng(self, data: bytes, source: Iterator[bytes]) -> Iterator[bytes]:
        order = "<"
        links: list[int] = []
        at = 0
        while True:
            end = len(data)
            passed_from = at
            while at + 32 <= end:  # the shortest packet block that could be left out is longer
                if data[at : at + 4] == _SECTION:
                    order, links = _ORDERS.get(data[at + 8 : at + 12], ""), []
                kind, length = struct.unpack_from(f"{order or '<'}II", data, at)
                if not order or length < 12 or length % 4 or length > _LONGEST_RECORD or not _known(kind):
                    yield from self._unread(data[passed_from:], source)
                    return
                following = at + length
                if following > end:
                    break
                if kind == _INTERFACE:
                    links.append(struct.unpack_from(f"{order}H", data, at + 8)[0])
                if kind in _NO_PACKETS:
                    at = following
                    continue
                self._frames += 1
                if kind == _PACKET and self._left_out(data, at, following, order, links):
                    if passed_from < at:
                        yield data[passed_from:at]
                    passed_from = following
                else:
                    self._passed.append(self._frames & 0xFFFFFFFF)
                at = following
            if passed_from < at:
                yield data[passed_from:at]
            block = next(source, b"")
            data = data[at:] + block
            at = 0
            if not block:
                yield from self._unread(data, source)
                return

    @staticmethod
    def _left_out(data: bytes, at: int, following: int, order: str, links: list[int]) -> bool:
        interface, _, _, captured = struct.unpack_from(f"{order}IIII", data, at + 8)
        start = at + 28
        if interface >= len(links) or start + captured > following - 4:
            return False
        return data[following - 4 : following] == data[at + 4 : at + 8] and _sets_up_no_call(
            data, start, start + captured, links[interface]
        )


def _known(kind: int) -> bool:
    return kind in _NO_PACKETS or kind in (_PACKET, _SIMPLE_PACKET, _OLD_PACKET)


def _sets_up_no_call(data: bytes, at: int, end: int, link: int) -> bool:
    """Whether what was captured of a packet, `data[at:end]`, proves that it sets up no call and ends none."""
    if link == _ETHERNET:
        kind, at = data[at + 12 : at + 14], at + 14
        while kind in _VLAN:
            kind, at = data[at + 2 : at + 4], at + 4
    elif link == _SLL:
        kind, at = data[at + 14 : at + 16], at + 16
    elif link == _SLL2:
        kind, at = data[at : at + 2], at + 20
    elif link in _BARE_IP and at < end:
        kind = _IPV6 if data[at] >> 4 == 6 else _IPV4
    else:
        return False
    if kind == _IPV4:
        if at + 28 >= end or data[at] >> 4 != 4 or data[at + 9] != _UDP or data[at + 6] & 0x3F or data[at + 7]:
            return False
        at += (data[at] & 15) * 4
    elif kind == _IPV6:
        if at + 48 >= end or data[at + 6] != _UDP:
            return False
        at += 40
    else:
        return False
    payload = at + 8
    if payload >= end:
        return False
    if 0x80 <= data[payload] < 0xC0:
        ports = (data[at] << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3])
        return _TUNNELS.isdisjoint(ports)
    if data.startswith(_BEGINS_NO_CALL, payload, end):
        return True
    whole = payload < at + (data[at + 4] << 8 | data[at + 5]) <= end
    return whole and data.startswith(_RESPONSE, payload, end) and data.find(_INVITE, payload, end) < 0
