"""Reads one capture through pyshark and tshark and prints the SIP messages that matter; runs as a process of its own.

    python -m cdr_adapters.sip_capture_worker '{"path": ..., "tshark": ..., ...}'

pyshark can't run inside an event loop, and tshark can crash or hang on hostile input: so neither runs in the agent's
process. Standard output is one JSON array a line (see `sip_capture.decode`): messages, rejects, and at the end, always,
one line that says how the capture ended; without it the worker itself has died.

Fast enough for large captures: the display filter leaves INVITE requests and final responses to INVITE, tshark prints
of those only addresses, ports and the header block as bytes, and pyshark's packet objects, most of its cost, are not
built. tshark reassembles TCP segments and IP fragments and undoes gzip. Tunnels: the innermost addresses count. SIP
quoted inside ICMP errors and HEP copies is no call.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from cdr_adapters.sip_message import Invite, MalformedSipError, parse_message

DISPLAY_FILTER = (
    'sip && !icmp && !icmpv6 && !(frame.protocols contains ":hep") && '
    '(sip.Method == "INVITE" || (sip.Status-Code >= 200 && (sip.CSeq.method == "INVITE" || _ws.short)))'
)
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

# tshark's own words (wiretap/wtap.c, ui/failure_message.c), in the C locale
_BROKEN_OFF = re.compile(r"cut short|damaged or corrupt")


_GENERAL = (b"num", b"len", b"caplen", b"timestamp")
_SOURCE_PORTS = (b"udp.srcport", b"tcp.srcport", b"sctp.srcport")
_DESTINATION_PORTS = (b"udp.dstport", b"tcp.dstport", b"sctp.dstport")
_ADDRESSES = (b"ip.src", b"ip.dst", b"ipv6.src", b"ipv6.dst")
_SHOWN = frozenset({b"num", b"len", b"caplen", *_ADDRESSES, *_SOURCE_PORTS, *_DESTINATION_PORTS})
"""Fields of which the text counts; of the others (`_RAW`) the bytes, in hexadecimal."""
_RAW = (b"timestamp", b"udp.payload", b"sip.Request-Line", b"sip.Status-Line", b"sip.msg_hdr")
_TAG = re.compile(
    rb'<(?:proto name="(ip|ipv6|udp|tcp|sctp|sip)"|field name="(%s)")([^>]*)>'
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
    for packet in capture:
        for record in packet:
            _print(record)
    capture.close()
    return ending(capture.exit_code, capture.complaints.decode("utf-8", "replace").splitlines())


def ending(exit_code: int | None, errors: list[str]) -> list[str]:
    """How the capture ended, from tshark's exit code and complaints: "complete", "broken-off" or "failed", and why."""
    told = [line.strip() for line in errors if not line.startswith("Running as user")]
    detail = re.sub(r'^tshark: (The file "[^"]*" )?', "", " ".join(told))
    if exit_code == 0:
        return ["complete", ""]
    if _BROKEN_OFF.search(detail):
        return ["broken-off", detail]
    how = f"exited with {exit_code}"
    if exit_code is not None and exit_code < 0:
        how = f"was ended by signal {-exit_code} (if it was for want of memory, raise memory_mb, or editcap -c 1000000)"
    return ["failed", f"tshark {how}{f': {detail}' if detail else ''}"]


def open_capture(job: dict[str, Any]) -> Any:
    """A pyshark capture whose packets are lists of records, and which knows how tshark ended."""
    import pyshark
    from pyshark.tshark.output_parser.tshark_xml import TsharkXmlParser

    class Parser(TsharkXmlParser):  # type: ignore[misc]
        def _parse_single_packet(self, packet: bytes) -> list[list[Any]]:
            return list(records(packet))

    class Capture(pyshark.FileCapture):  # type: ignore[misc]
        exit_code: int | None = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.complaints = b""
            super().__init__(*args, **kwargs)

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

    return Capture(
        job["path"],
        keep_packets=False,
        display_filter=DISPLAY_FILTER,
        tshark_path=job["tshark"],
        decode_as=job["decode_as"],
        disable_protocol="sdp",  # it books a conversation for each media stream, more work than all the rest
        override_prefs=_PREFERENCES,
        custom_parameters=["-j", _PROTOCOLS],
    )


def records(packet: bytes) -> Iterator[list[Any]]:
    """The records of one packet as PDML. A frame may hold several SIP messages; each follows the layers around it.

    PDML as tshark prints it escapes <, > and quotes in all values, so that tags can be told without an XML parser, at a
    fifth of the cost.
    """
    about: dict[bytes, bytes] = {}  # of the layers so far; of two of a kind the inner one
    message: dict[bytes, bytes] | None = None
    for tag in _TAG.finditer(packet):
        proto, field, attributes = tag.groups()
        if proto is not None:
            if message is not None:
                yield from _message(message, about)
            message = {} if proto == b"sip" else None
            if proto in (b"ip", b"ipv6"):
                about = {name: value for name, value in about.items() if name in _GENERAL}
        elif (attribute := (_SHOW if field in _SHOWN else _VALUE).search(attributes)) is not None:
            (about if message is None else message)[field] = attribute[1]
    if message is not None:
        yield from _message(message, about)


def _message(message: Mapping[bytes, bytes], about: Mapping[bytes, bytes]) -> Iterator[list[Any]]:
    src, dst = (about.get(b"ip." + end, about.get(b"ipv6." + end, b"")).decode() for end in (b"src", b"dst"))
    frame, src_port, dst_port = (_int(about, *names) for names in ([b"num"], _SOURCE_PORTS, _DESTINATION_PORTS))
    where = [frame, epoch_us(about.get(b"timestamp", b"").decode()), src, src_port, dst, dst_port]
    start = _bytes(message, b"sip.Request-Line") or _bytes(message, b"sip.Status-Line")
    header = _bytes(message, b"sip.msg_hdr")
    cut = ""
    if (length := _int(about, b"len")) != (captured := _int(about, b"caplen")):
        cut = f" (only {captured} of {length} bytes captured: capture whole packets, tcpdump -s 0)"
        if not header:  # tshark takes no header from a packet whose body is cut off
            start, header = _whole_header(_bytes(about, b"udp.payload")) or (start, header)
    yield from _record(start, header, where, cut)


def _whole_header(payload: bytes) -> tuple[bytes, bytes] | None:
    head, blank_line, _ = payload.partition(b"\r\n\r\n")
    start, _, header = head.partition(b"\r\n")
    return (start, header) if blank_line else None


def _record(start: bytes, header: bytes, where: list[Any], cut: str) -> Iterator[list[Any]]:
    try:
        message = parse_message(start, header)
    except MalformedSipError as error:
        raw = (start + b"\r\n" + header)[:_QUARANTINED_BYTES].decode("utf-8", "replace")
        yield ["reject", where[0], f"{error}{cut}", raw]
        return
    if isinstance(message, Invite) and not (where[2] and where[4]):
        yield ["reject", where[0], "INVITE outside IP", ""]
    elif isinstance(message, Invite):
        vias = [[via.sent_by, via.branch] for via in message.vias]
        rest = [message.from_tag, message.called, message.calling, vias, message.attestation]
        yield ["invite", *where, message.call_id, message.cseq, *rest]
    elif message is not None and where[2] and where[4]:
        yield ["final", *where, message.call_id, message.cseq, message.via.sent_by, message.via.branch, message.code]


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
