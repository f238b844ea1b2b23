"""HEP, the Homer Encapsulation Protocol: copies of SIP messages that switches and probes send to a collector.

After the HEP3 network protocol specification of the sipcapture project (generic chunks of vendor 0, a total length of
16 bits), and for versions 1 and 2 the structures that captagent, Kamailio and OpenSIPS exchange: version, header
length, family, protocol, ports, addresses; version 2 adds the time in little-endian order and the probe's number. What
counts is the copied message: its own addresses and the time at which the probe saw it, never who sent the copy to whom
and when.

Refuses a copy that doesn't say between whom or when its message passed; version 1 never says when. Neither RTCP
reports, logs, nor what a probe says of itself (payload types other than SIP) are calls.
"""

from __future__ import annotations

import ipaddress
import re
import struct
import zlib
from dataclasses import dataclass

MAGIC = b"HEP3"
LONGEST = 1 << 16
"""Bytes of the longest HEP packet: its length is a number of 16 bits."""

_V3_HEADER, _CHUNK_HEADER = 6, 6
_SRC4, _DST4, _SRC6, _DST6, _SRC_PORT, _DST_PORT, _SECONDS, _MICROSECONDS, _KIND = 3, 4, 5, 6, 7, 8, 9, 10, 11
_PAYLOAD, _COMPRESSED = 15, 16
_SIP = 1
_SIZES = {_SRC4: 4, _DST4: 4, _SRC6: 16, _DST6: 16, _SRC_PORT: 2, _DST_PORT: 2, _SECONDS: 4, _MICROSECONDS: 4, _KIND: 1}
_LONGEST_MESSAGE = 1 << 20
_LONGEST_HEAD = 80
"""Version 2 over IPv6, and enough of the message to know it by."""
_FAMILIES = {2: 4, 10: 16, 23: 16, 24: 16, 28: 16, 30: 16}
"""AF_INET; AF_INET6 as Linux, Windows and the BSDs number it: bytes of an address."""
_PROTOCOLS = frozenset({6, 17, 22, 132})
"""TCP, UDP, TLS (as Kamailio marks it), SCTP."""
_FIRST_SECOND, _LAST_SECOND = 631_152_000, 4_102_444_800
_START = re.compile(rb"(?:[A-Z]{3,9} [a-z]{3,4}:|SIP/2\.0 [1-6])")
_CONTENT_LENGTH = re.compile(rb"\r\n(?:Content-Length|l)[ \t]*:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)


class HepError(ValueError):
    """No HEP packet begins here, or one that is broken."""


class CutOffError(HepError):
    """A HEP packet begins here and goes on beyond what there is."""


class LackingError(HepError):
    """A whole HEP packet that doesn't say what it must; it ends `size` bytes further on."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True, slots=True)
class Copy:
    """One copied message: when it passed (microseconds since the epoch), between whom, its bytes."""

    time_us: int
    src: str
    src_port: int
    dst: str
    dst_port: int
    payload: bytes


def is_hep(data: bytes) -> bool:
    """Whether a HEP packet begins here, as far as can be seen from its first bytes."""
    if data.startswith(MAGIC):
        if len(data) < _V3_HEADER + _CHUNK_HEADER:
            return False
        total, vendor, kind, size = struct.unpack_from(">HHHH", data, 4)
        return bool(_CHUNK_HEADER <= size <= total - _V3_HEADER and (vendor != 0 or 0 < kind < 256))
    try:
        return _START.match(data, _header_length(data)) is not None
    except HepError:
        return False


def read_copy(data: bytes, at: int = 0) -> tuple[Copy | None, int]:
    """The packet at `at`: the copy in it, None when it holds no SIP, and where the packet ends.

    `data` must reach `2 * LONGEST` bytes beyond `at`, or to the end of what there is.

    Raises:
        CutOffError: it is not all there. LackingError: it lacks addresses or a time. HepError: there is none.
    """
    if data.startswith(MAGIC, at):
        return _version_3(data, at)
    head = data[at : at + _LONGEST_HEAD]
    length = _header_length(head)
    if _START.match(data, at + length) is None:
        raise HepError("no HEP packet")
    end = _end_of_message(data, at + length)
    return _version_2(head, data[at + length : end], end - at), end


def _version_3(data: bytes, at: int) -> tuple[Copy | None, int]:
    if len(data) < at + _V3_HEADER:
        raise CutOffError("a HEP packet is cut off")
    (total,) = struct.unpack_from(">H", data, at + 4)
    end = at + total
    if total < _V3_HEADER:
        raise HepError("a HEP packet has a wrong length")
    if end > len(data):
        raise CutOffError("a HEP packet is cut off, or its length is wrong")
    chunks: dict[int, bytes] = {}
    position = at + _V3_HEADER
    while position < end:
        if position + _CHUNK_HEADER > end:
            raise HepError("a HEP packet ends within a chunk")
        vendor, kind, size = struct.unpack_from(">HHH", data, position)
        if size < _CHUNK_HEADER or position + size > end:
            raise HepError("a chunk of a HEP packet has a wrong length")
        if vendor == 0:
            value = data[position + _CHUNK_HEADER : position + size]
            if len(value) != _SIZES.get(kind, len(value)):
                raise LackingError(f"chunk {kind} of a HEP packet has {len(value)} bytes", total)
            chunks.setdefault(kind, value)
        position += size
    if chunks.get(_KIND, b"\x01") != bytes([_SIP]) or not chunks.keys() & {_PAYLOAD, _COMPRESSED}:
        return None, end
    src, dst = _address(chunks, _SRC4, _SRC6, total), _address(chunks, _DST4, _DST6, total)
    seconds, microseconds = _number(chunks, _SECONDS), _number(chunks, _MICROSECONDS)
    if not _FIRST_SECOND <= seconds < _LAST_SECOND:
        raise LackingError("a HEP packet doesn't say when its message passed", total)
    payload = chunks[_PAYLOAD] if _PAYLOAD in chunks else _inflated(chunks[_COMPRESSED], total)
    time_us = seconds * 1_000_000 + min(microseconds, 999_999)
    return Copy(time_us, src, _number(chunks, _SRC_PORT), dst, _number(chunks, _DST_PORT), payload), end


def _address(chunks: dict[int, bytes], v4: int, v6: int, total: int) -> str:
    packed = chunks.get(v4) or chunks.get(v6)
    if packed is None:
        raise LackingError("a HEP packet doesn't say between whom its message passed", total)
    return str(ipaddress.ip_address(packed))


def _number(chunks: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(chunks.get(kind, b""), "big")


def _inflated(value: bytes, total: int) -> bytes:
    inflate = zlib.decompressobj(wbits=47)  # zlib or gzip
    try:
        payload = inflate.decompress(value, _LONGEST_MESSAGE)
    except zlib.error as error:
        raise LackingError("the compressed message in a HEP packet can't be read", total) from error
    if not inflate.eof:
        raise LackingError("the compressed message in a HEP packet is cut off, or too long", total)
    return payload


def _header_length(head: bytes) -> int:
    """Bytes before the message in a packet of version 1 or 2.

    Raises:
        HepError: it is none.
    """
    if len(head) < 16 or head[0] not in (1, 2) or head[2] not in _FAMILIES or head[3] not in _PROTOCOLS:
        raise HepError("no HEP packet")
    plain = 8 + 2 * _FAMILIES[head[2]]
    # version 2 has the time and the probe's number, without C's padding or with it
    lengths = [plain] if head[0] == 1 else [plain + 10, plain + 12]
    if head[1] not in (plain, *lengths):
        raise HepError("no HEP packet")
    for length in lengths:
        if _START.match(head, length) is not None:
            return length
    return lengths[-1]


def _version_2(head: bytes, payload: bytes, whole: int) -> Copy:
    size = _FAMILIES[head[2]]
    if head[0] == 1:
        raise LackingError("HEP version 1 doesn't say when its message passed: have version 2 or 3 sent", whole)
    src_port, dst_port = struct.unpack_from(">HH", head, 4)
    src, dst = (str(ipaddress.ip_address(head[8 + size * n : 8 + size * (n + 1)])) for n in (0, 1))
    for order in "<>":
        seconds, microseconds = struct.unpack_from(f"{order}II", head, 8 + 2 * size)
        if _FIRST_SECOND <= seconds < _LAST_SECOND and microseconds < 1_000_000:
            return Copy(seconds * 1_000_000 + microseconds, src, src_port, dst, dst_port, payload)
    raise LackingError("a HEP packet doesn't say when its message passed", whole)


def _end_of_message(data: bytes, at: int) -> int:
    """Where a SIP message ends that nothing but its own Content-Length delimits."""
    limit = min(len(data), at + LONGEST)
    blank = data.find(b"\r\n\r\n", at, limit)
    if blank < 0:
        return limit
    body = blank + 4
    length = _CONTENT_LENGTH.search(data, at, blank + 2)
    return min(limit, body + int(length[1])) if length is not None else limit
