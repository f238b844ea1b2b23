"""SIP messages and captures as bytes, built by hand for tests. All numbers and addresses are fictitious (synthetic)."""

from __future__ import annotations

import gzip
import ipaddress
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

UPSTREAM = "198.51.100.50"
OWN = "198.51.100.60"
DOWNSTREAM = "198.51.100.70"
T0 = 1_795_321_361_847_327
"""Microseconds since the epoch: 2026-11-22T04:22:41.847327Z."""


def invite(
    *,
    called: str = "12025550143",
    calling: str = "<sip:+12125550178@203.0.113.21>;tag=a1",
    call_id: str = "call-1@203.0.113.21",
    cseq: int = 1,
    vias: Sequence[str] = ("203.0.113.21;branch=z9hG4bK-1",),
    to_tag: str = "",
    extra: Sequence[str] = (),
    body: bytes = b"",
    transport: str = "UDP",
) -> bytes:
    """An INVITE; `vias` topmost first, each `sent-by;branch=...`."""
    lines = [
        f"INVITE sip:{called}@198.51.100.60 SIP/2.0",
        *(f"Via: SIP/2.0/{transport} {via}" for via in vias),
        f"From: {calling}",
        f"To: <sip:{called}@198.51.100.60>{f';tag={to_tag}' if to_tag else ''}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} INVITE",
        "Max-Forwards: 70",
        *extra,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def response(
    code: int,
    *,
    call_id: str = "call-1@203.0.113.21",
    cseq: int = 1,
    vias: Sequence[str] = ("203.0.113.21;branch=z9hG4bK-1",),
    method: str = "INVITE",
) -> bytes:
    """A response to what `invite` makes."""
    lines = [
        f"SIP/2.0 {code} Because",
        *(f"Via: SIP/2.0/UDP {via}" for via in vias),
        "From: <sip:+12125550178@203.0.113.21>;tag=a1",
        "To: <sip:12025550143@198.51.100.60>;tag=b2",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        "Content-Length: 0",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def request(method: str, *, call_id: str = "call-1@203.0.113.21", to_tag: str = "b2") -> bytes:
    """A request other than INVITE, in a dialog."""
    return invite(call_id=call_id, to_tag=to_tag).replace(b"INVITE", method.encode())


def udp(src: str, dst: str, payload: bytes, *, ports: tuple[int, int] = (5060, 5060)) -> bytes:
    """An Ethernet frame with one UDP datagram over IPv4 or IPv6."""
    return ip(src, dst, 17, struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload)


def tcp(src: str, dst: str, seq: int, payload: bytes, *, ports: tuple[int, int] = (40000, 5060)) -> bytes:
    """An Ethernet frame with one TCP segment (PSH, ACK) over IPv4 or IPv6."""
    return ip(src, dst, 6, struct.pack(">HHIIBBHHH", *ports, seq, 1, 5 << 4, 0x18, 65535, 0, 0) + payload)


def ip(src: str, dst: str, protocol: int, payload: bytes) -> bytes:
    """An Ethernet frame with one IP packet."""
    if ":" in src:
        header = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
        addresses = ipaddress.IPv6Address(src).packed + ipaddress.IPv6Address(dst).packed
        return bytes(12) + b"\x86\xdd" + header + addresses + payload
    return _ipv4(src, dst, protocol, payload, 0)


def udp_fragments(
    src: str, dst: str, payload: bytes, *, size: int = 512, ports: tuple[int, int] = (5060, 5060)
) -> list[bytes]:
    """The frames of one UDP datagram in IPv4 or IPv6 fragments of `size` bytes."""
    whole = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    frames = []
    for at in range(0, len(whole), size):
        part, more = whole[at : at + size], at + size < len(whole)
        if ":" in src:
            frames.append(ip(src, dst, 44, struct.pack(">BBHI", 17, 0, at | more, 7) + part))
        else:
            frames.append(_ipv4(src, dst, 17, part, (0x2000 if more else 0) | at // 8))
    return frames


def _ipv4(src: str, dst: str, protocol: int, payload: bytes, fragment: int) -> bytes:
    addresses = ipaddress.IPv4Address(src).packed + ipaddress.IPv4Address(dst).packed
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0)
    return bytes(12) + b"\x08\x00" + header + addresses + payload


def pcap(frames: Iterable[tuple[int, bytes]], *, snapshot: int = 262144) -> bytes:
    """A pcap file of (microseconds since the epoch, frame), with at most `snapshot` bytes of each frame."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snapshot, 1)]
    for time_us, frame in frames:
        kept = frame[:snapshot]
        out.append(struct.pack("<IIII", *divmod(time_us, 1_000_000), len(kept), len(frame)) + kept)
    return b"".join(out)


def pcapng(frames: Iterable[tuple[int, bytes]], *, resolution: int = 9) -> bytes:
    """A pcapng file with a time resolution of 10 to the minus `resolution` seconds."""

    def block(kind: int, body: bytes) -> bytes:
        length = struct.pack("<I", 12 + len(body))
        return struct.pack("<I", kind) + length + body + length

    tsresol = struct.pack("<HHB3x", 9, 1, resolution) + struct.pack("<HH", 0, 0)
    out = [
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
        block(1, struct.pack("<HHI", 1, 0, 262144) + tsresol),
    ]
    for time_us, frame in frames:
        ticks = time_us * 10**resolution // 1_000_000
        head = struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
        out.append(block(6, head + frame + bytes(-len(frame) % 4)))
    return b"".join(out)


def hep3(
    src: str,
    dst: str,
    payload: bytes,
    *,
    time_us: int = T0,
    ports: tuple[int, int] = (5060, 5060),
    kind: int = 1,
    without: Sequence[int] = (),
    extra: Sequence[tuple[int, int, bytes]] = (),
) -> bytes:
    """A HEP packet of version 3 with a copy of `payload`; `without` chunk types, with `extra` (vendor, type, value)."""
    v6 = ":" in src
    seconds, microseconds = divmod(time_us, 1_000_000)
    chunks = [
        (0, 1, bytes([10 if v6 else 2])),
        (0, 2, b"\x11"),
        (0, 5 if v6 else 3, ipaddress.ip_address(src).packed),
        (0, 6 if v6 else 4, ipaddress.ip_address(dst).packed),
        (0, 7, struct.pack(">H", ports[0])),
        (0, 8, struct.pack(">H", ports[1])),
        (0, 9, struct.pack(">I", seconds)),
        (0, 10, struct.pack(">I", microseconds)),
        (0, 11, bytes([kind])),
        (0, 12, struct.pack(">I", 2001)),
        (0, 15, payload),
    ]
    kept = [chunk for chunk in chunks if chunk[1] not in without]
    body = b"".join(
        struct.pack(">HHH", vendor, chunk, 6 + len(value)) + value for vendor, chunk, value in (*extra, *kept)
    )
    return b"HEP3" + struct.pack(">H", 6 + len(body)) + body


def hep2(
    src: str, dst: str, payload: bytes, *, time_us: int = T0, version: int = 2, padded: bool = True, order: str = "<"
) -> bytes:
    """A HEP packet of version 2 (or 1, which has no time)."""
    addresses = ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed
    head = struct.pack(">BBBBHH", version, 8 + len(addresses), 10 if ":" in src else 2, 17, 5060, 5060)
    time = struct.pack(f"{order}IIH", *divmod(time_us, 1_000_000), 2001) + bytes(2 * padded)
    return head + addresses + (time if version == 2 else b"") + payload


def write(path: Path, frames: Iterable[tuple[int, bytes]]) -> Path:
    """Write a pcap file, gzipped when the name says so."""
    data = pcap(frames)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
