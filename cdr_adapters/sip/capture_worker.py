"""Reads one capture through pyshark and tshark and prints the SIP messages that matter; runs as a process of its own.

    python -m cdr_adapters.sip.capture_worker '{"path": ..., "tshark": ..., ...}'

pyshark can't run inside an event loop, and tshark can crash or hang on hostile input: so neither runs in the agent's
process. Standard output is one JSON array a line (see `wire`): messages, rejects, and at the end, always, one line that
says how the capture ended; without it the worker itself has died.

Fast enough for large captures: `sieve` leaves out what is no call's packet before tshark sees it, the display filter
leaves INVITE and BYE requests and final responses to INVITE, tshark prints of those only addresses, ports and the
header block as bytes, and pyshark's packet objects, most of its cost, are not built. tshark reassembles TCP segments
and IP fragments and decrypts TLS with the keys that it is given. Tunnels: the innermost addresses count; so they do in
HEP copies, which tshark doesn't know and `hep` reads. SIP quoted inside ICMP errors is no call.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cdr_adapters.archives import opened
from cdr_adapters.raw import AdapterError
from cdr_adapters.sip.hep import HepError, read_copy
from cdr_adapters.sip.hep_stream import HepStreams
from cdr_adapters.sip.legs import Packet
from cdr_adapters.sip.message import Invite, MalformedSipError, parse_message, split_message
from cdr_adapters.sip.sieve import Sieve
from cdr_adapters.sip.wire import Seen, Unreadable, encode

_SIP_FILTER = (
    '(sip && !icmp && !icmpv6 && !(frame.protocols contains ":hep") && (sip.Method == "INVITE" || sip.Method == "BYE"'
    ' || (sip.Status-Code >= 200 && (sip.CSeq.method == "INVITE" || _ws.short))))'
)
_TLS_FILTER = "(tls.handshake.type == 1 && tcp.dstport == 5061)"
_PROTOCOLS = "ip ipv6 udp tcp sctp sip"
_PREFERENCES = {  # the first group: nothing may be lost; the second: time and memory that nobody uses
    "tcp.desegment_tcp_streams": "TRUE",
    "tcp.reassemble_out_of_order": "TRUE",
    "ip.defragment": "TRUE",
    "ipv6.defragment": "TRUE",
    "sip.desegment_headers": "TRUE",
    "sip.desegment_body": "TRUE",
    "udp.calculate_timestamps": "FALSE",
    "ip.use_geoip": "FALSE",
}
_QUARANTINED_BYTES = 4096
_LAST_WORDS = 4096
_BLOCK = 1 << 20

# tshark's own words (wiretap/wtap.c, ui/failure_message.c), in the C locale
_BROKEN_OFF = re.compile(r"cut short|damaged or corrupt")


_GENERAL = (b"num", b"len", b"caplen", b"timestamp")
_SOURCE_PORTS = (b"udp.srcport", b"tcp.srcport", b"sctp.srcport")
_DESTINATION_PORTS = (b"udp.dstport", b"tcp.dstport", b"sctp.dstport")
_ADDRESSES = (b"ip.src", b"ip.dst", b"ipv6.src", b"ipv6.dst")
_SHOWN = frozenset({b"num", b"len", b"caplen", b"tcp.seq_raw", *_ADDRESSES, *_SOURCE_PORTS, *_DESTINATION_PORTS})
"""Fields of which the text counts; of the others (`_RAW`) the bytes, in hexadecimal."""
_RAW = (b"timestamp", b"udp.payload", b"tcp.payload", b"sip.Request-Line", b"sip.Status-Line", b"sip.msg_hdr")
_TAG = re.compile(
    rb'<(?:proto name="(ip|ipv6|udp|tcp|sctp|tls|sip)"|field name="(%s)")([^>]*)>'
    % b"|".join(re.escape(name) for name in (*sorted(_SHOWN), *_RAW))
)
_SHOW, _VALUE = re.compile(rb' show="([^"]*)"'), re.compile(rb' value="([^"]*)"')


def main() -> int:
    """Read the capture that the one argument describes. The exit code is 0 whenever a last line was printed."""
    job = json.loads(sys.argv[1])
    _limit(job["memory_bytes"])
    try:
        end = _run(job)
    except BrokenPipeError:
        return 1  # nobody listens any more
    except Exception as error:
        end = ["failed", f"{type(error).__name__}: {error}"]
    _print(["end", *end])
    sys.stdout.flush()
    return 0


def _limit(memory_bytes: int) -> None:
    """Bounds for this process and for tshark below it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or most > memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _print(record: list[Any]) -> None:
    sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")


def _run(job: dict[str, Any]) -> list[str]:
    capture = open_capture(job)
    reader = PacketReader(capture.sieve, frozenset(job["hep_ports"]))
    for packet in capture:
        for seen in reader.seen_in(packet):
            _print(encode(seen))
    capture.close()
    for seen in reader.left_over(keys_given=job["tls_keys"] is not None):
        _print(encode(seen))
    if capture.unpacking_failed:
        return ["broken-off", capture.unpacking_failed]
    return ending(capture.exit_code, capture.complaints.decode("utf-8", "replace").splitlines())


def display_filter(hep_ports: list[int]) -> str:
    """What tshark is to print: calls, HEP copies on these ports, and the beginning of TLS that may hide calls."""
    parts = [_SIP_FILTER, _TLS_FILTER]
    if hep_ports:
        ports = ", ".join(map(str, hep_ports))
        parts.append(f"(udp.dstport in {{{ports}}} || (tcp.dstport in {{{ports}}} && tcp.len > 0))")
    return " || ".join(parts)


def ending(exit_code: int | None, errors: list[str]) -> list[str]:
    """How the capture ended, from tshark's exit code and complaints: "complete", "broken-off" or "failed", and why."""
    told = [line.strip() for line in errors if not line.startswith("Running as user")]
    detail = re.sub(r'^tshark: ((The file "[^"]*"|The standard input) )?', "", " ".join(told))
    if exit_code == 0:
        return ["complete", ""]
    if _BROKEN_OFF.search(detail):
        return ["broken-off", detail]
    how = f"exited with {exit_code}"
    if exit_code is not None and exit_code < 0:
        how = f"was ended by signal {-exit_code} (if it was for want of memory, raise memory_mb, or editcap -c 1000000)"
    return ["failed", f"tshark {how}{f': {detail}' if detail else ''}"]


def _blocks(path: Path) -> Iterator[bytes]:
    """The capture's bytes, unpacked; all that come before an end before the end."""
    with opened(path) as file:
        while block := file.read1(_BLOCK):
            yield block


def open_capture(job: dict[str, Any]) -> Any:
    """A pyshark capture whose packets are bytes of PDML, and which knows how tshark ended."""
    import pyshark
    from pyshark.tshark.output_parser.tshark_xml import TsharkXmlParser

    class Parser(TsharkXmlParser):  # type: ignore[misc]
        def _parse_single_packet(self, packet: bytes) -> bytes:
            return packet

    class Capture(pyshark.FileCapture):  # type: ignore[misc]
        exit_code: int | None = None
        unpacking_failed = ""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.complaints = b""
            self.sieve = Sieve()
            super().__init__(*args, **kwargs)

        def get_parameters(self, packet_count: int | None = None) -> list[str]:
            *parameters, _ = super().get_parameters(packet_count)
            return [*parameters, "-"]

        async def _get_tshark_process(self, packet_count: int | None = None, stdin: Any = None) -> Any:
            del stdin
            outlet, inlet = os.pipe()
            try:
                return await super()._get_tshark_process(packet_count, stdin=outlet)
            finally:
                os.close(outlet)
                # a daemon: nothing is left to do for it once tshark has ended
                threading.Thread(target=self._pour, args=(inlet,), daemon=True).start()

        def _pour(self, inlet: int) -> None:
            """Give tshark the capture, unpacked and sieved."""
            with os.fdopen(inlet, "wb", buffering=0) as pipe, contextlib.suppress(BrokenPipeError):
                try:
                    for block in self.sieve.through(_blocks(Path(job["path"]))):
                        pipe.write(block)
                except AdapterError as error:
                    self.unpacking_failed = str(error).removeprefix(f"{job['path']}: ")

        def _setup_tshark_output_parser(self) -> Parser:
            return Parser()

        async def _handle_process_stderr_forever(self, stderr: asyncio.StreamReader) -> None:
            while chunk := await stderr.read(65536):
                self.complaints = (self.complaints + chunk)[-_LAST_WORDS:]

        async def _cleanup_subprocess(self, process: asyncio.subprocess.Process) -> None:
            # pyshark kills a tshark that has just closed its output, and its exit code is lost
            if not self._eof_reached:
                await super()._cleanup_subprocess(process)
                return
            await asyncio.gather(*self._stderr_handling_tasks)
            self.exit_code = await process.wait()

    keys = {} if job["tls_keys"] is None else {"tls.keylog_file": job["tls_keys"]}
    ports = job["sip_ports"]
    return Capture(
        job["path"],
        keep_packets=False,
        display_filter=display_filter(job["hep_ports"]),
        tshark_path=job["tshark"],
        decode_as={f"{kind}.port=={port}": "sip" for port in ports for kind in ("udp", "tcp")},
        disable_protocol="sdp",  # it books a conversation for each media stream, more work than all the rest
        override_prefs=_PREFERENCES | keys,
        custom_parameters=["-j", _PROTOCOLS],
    )


class PacketReader:
    """What is seen in packets as tshark prints them (PDML), one after the other."""

    def __init__(self, sieve: Sieve, hep_ports: frozenset[int]) -> None:
        self._sieve = sieve
        self._hep_ports = hep_ports
        self._hep_streams = HepStreams()
        self._first_hello = 0
        self._decrypted = False

    def seen_in(self, packet: bytes) -> Iterator[Seen]:
        """What is seen in one packet. A frame may hold several SIP messages; each follows the layers around it.

        PDML as tshark prints it escapes <, > and quotes in all values, so that tags can be told without an XML parser,
        at a fifth of the cost.
        """
        about: dict[bytes, bytes] = {}  # of the layers so far; of two of a kind the inner one
        message: dict[bytes, bytes] | None = None
        protocols = set()
        for tag in _TAG.finditer(packet):
            proto, field, attributes = tag.groups()
            if proto is not None:
                protocols.add(proto)
                if message is not None:
                    yield from self._message(message, about)
                message = {} if proto == b"sip" else None
                if proto in (b"ip", b"ipv6"):
                    about = {name: value for name, value in about.items() if name in _GENERAL}
            elif (attribute := (_SHOW if field in _SHOWN else _VALUE).search(attributes)) is not None:
                (about if message is None else message)[field] = attribute[1]
        if message is not None:
            yield from self._message(message, about)
        if b"sip" in protocols:
            self._decrypted |= b"tls" in protocols
        elif _int(about, *_DESTINATION_PORTS) in self._hep_ports:
            yield from self._copies(about)
        elif b"tls" in protocols:
            self._first_hello = self._first_hello or self._frame(about)

    def left_over(self, *, keys_given: bool) -> Iterator[Seen]:
        """What can only be said at the end."""
        if self._first_hello and not self._decrypted:
            cure = "tls_keys has no keys for it" if keys_given else "set tls_keys to a file of its keys (SSLKEYLOGFILE)"
            yield Unreadable(self._first_hello, f"TLS on port 5061 could not be read: {cure}", "")

    def _frame(self, about: Mapping[bytes, bytes]) -> int:
        return self._sieve.frame(_int(about, b"num"))

    def _message(self, message: Mapping[bytes, bytes], about: Mapping[bytes, bytes]) -> Iterator[Seen]:
        src, dst = (about.get(b"ip." + end, about.get(b"ipv6." + end, b"")).decode() for end in (b"src", b"dst"))
        time_us = epoch_us(about.get(b"timestamp", b"").decode())
        src_port, dst_port = (_int(about, *names) for names in (_SOURCE_PORTS, _DESTINATION_PORTS))
        packet = Packet(self._frame(about), time_us, src, src_port, dst, dst_port)
        start = _bytes(message, b"sip.Request-Line") or _bytes(message, b"sip.Status-Line")
        header = _bytes(message, b"sip.msg_hdr")
        cut = ""
        if (length := _int(about, b"len")) != (captured := _int(about, b"caplen")):
            cut = f" (only {captured} of {length} bytes captured: capture whole packets, tcpdump -s 0)"
            if not header:  # tshark takes no header from a packet whose body is cut off
                with contextlib.suppress(MalformedSipError):
                    start, header = split_message(_bytes(about, b"udp.payload"))
        yield from _read(start, header, packet, cut)

    def _copies(self, about: Mapping[bytes, bytes]) -> Iterator[Seen]:
        frame = self._frame(about)
        if (payload := _bytes(about, b"udp.payload")) or not about.get(b"tcp.payload"):
            packets = [payload]
        else:
            ends = tuple(about.get(name, b"") for name in (*_ADDRESSES, b"tcp.srcport", b"tcp.dstport"))
            packets = self._hep_streams.feed(ends, _int(about, b"tcp.seq_raw"), _bytes(about, b"tcp.payload"))
        for packet in packets:
            try:
                copy, _ = read_copy(packet)
                if copy is not None:
                    start, header = split_message(copy.payload)
                    where = Packet(frame, copy.time_us, copy.src, copy.src_port, copy.dst, copy.dst_port)
                    yield from _read(start, header, where)
            except HepError as error:
                if packet.startswith((b"HEP", b"\x01", b"\x02")):
                    yield Unreadable(frame, str(error), "")
            except MalformedSipError as error:
                if copy is not None and copy.payload.startswith(b"INVITE "):
                    yield Unreadable(frame, str(error), _quarantined(copy.payload))


def _read(start: bytes, header: bytes, packet: Packet, cut: str = "") -> Iterator[Seen]:
    try:
        message = parse_message(start, header)
    except MalformedSipError as error:
        yield Unreadable(packet.frame, f"{error}{cut}", _quarantined(start + b"\r\n" + header))
        return
    if message is None:
        return
    if packet.src and packet.dst:
        yield packet, message
    elif isinstance(message, Invite):
        yield Unreadable(packet.frame, "INVITE outside IP", "")


def _quarantined(message: bytes) -> str:
    return message[:_QUARANTINED_BYTES].decode("utf-8", "replace")


def epoch_us(text: str) -> int:
    """Microseconds of a time in decimal seconds, such as `1795321361.847327008`, cut off below; 0 for anything else."""
    match = re.fullmatch(r"([0-9]{1,12})(?:\.([0-9]{1,12}))?", text, re.ASCII)
    return int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0")[:6]) if match else 0


def _int(fields: Mapping[bytes, bytes], *names: bytes) -> int:
    """The first of the fields that is there; 0 without any."""
    return next((int(fields[name]) for name in names if fields.get(name, b"").isdigit()), 0)


def _bytes(fields: Mapping[bytes, bytes], name: bytes) -> bytes:
    try:
        return bytes.fromhex(fields.get(name, b"").decode())
    except ValueError:
        return b""


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # pyshark's event loop and tshark's pipes need no farewell
