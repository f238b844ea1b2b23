"""Reads one capture through pyshark and tshark and prints the SIP messages that matter; runs as a process of its own.

    python -m cdr_adapters.sip_capture_worker '{"path": ..., "tshark": ..., ...}'

pyshark can't run inside an event loop, and tshark can crash or hang on hostile input: so neither runs in the agent's
process. Standard output is one JSON array a line (see `sip_capture.decode`): messages, rejects, and at the end, always,
one line that says how the capture ended; without it the worker itself has died.

Fast enough for large captures: the display filter leaves INVITE requests and final responses to INVITE, tshark prints
of those only the addresses and the header block as bytes (ports only when own addresses need them), and pyshark's
packet objects, most of its cost, are not built. tshark reassembles TCP segments and IP fragments and undoes gzip.
Tunnels: the innermost addresses count. SIP quoted inside ICMP errors and HEP copies is no call.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
from collections.abc import Iterator
from typing import Any

from cdr_adapters.sip_message import Invite, MalformedSipError, parse_message

DISPLAY_FILTER = (
    'sip && !icmp && !icmpv6 && !(frame.protocols contains ":hep") && '
    '(sip.Method == "INVITE" || (sip.CSeq.method == "INVITE" && sip.Status-Code >= 200))'
)
_PROTOCOLS = "ip ipv6 sip"
_TRANSPORTS = " udp tcp sctp"
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
        custom_parameters=["-j", _PROTOCOLS + (_TRANSPORTS if job["ports"] else "")],
    )


def records(packet: bytes) -> Iterator[list[Any]]:
    """The records of one packet as PDML. A frame may hold several SIP messages; each follows the layers around it."""
    from lxml import etree  # type: ignore[import-untyped]  # ships no types

    parser = etree.XMLParser(recover=True, huge_tree=True, resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(packet, parser)
    except etree.XMLSyntaxError:
        return
    if root is None:
        return
    frame, time_us, src, dst = 0, 0, "", ""
    src_port = dst_port = 0
    for proto in root.iterfind("proto"):
        name = proto.get("name")
        if name == "geninfo":
            frame = int(_show(proto, "num") or 0)
            time_us = epoch_us(_value(proto, "timestamp") or "")
        elif name in ("ip", "ipv6"):
            src, dst = _show(proto, f"{name}.src") or "", _show(proto, f"{name}.dst") or ""
        elif name in ("udp", "tcp", "sctp"):
            src_port, dst_port = int(_show(proto, f"{name}.srcport") or 0), int(_show(proto, f"{name}.dstport") or 0)
        elif name == "sip":
            yield from _message(proto, [frame, time_us, src, src_port, dst, dst_port])


def _message(proto: Any, where: list[Any]) -> Iterator[list[Any]]:
    start = _bytes(proto, "sip.Request-Line") or _bytes(proto, "sip.Status-Line")
    header = _bytes(proto, "sip.msg_hdr")
    try:
        message = parse_message(start, header)
    except MalformedSipError as error:
        raw = (start + b"\r\n" + header)[:_QUARANTINED_BYTES].decode("utf-8", "replace")
        yield ["reject", where[0], str(error), raw]
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


def _field(proto: Any, name: str) -> Any:
    for field in proto.iterfind("field"):
        if field.get("name") == name:
            return field
    return None


def _show(proto: Any, name: str) -> str | None:
    field = _field(proto, name)
    return None if field is None else field.get("show")


def _value(proto: Any, name: str) -> str | None:
    field = _field(proto, name)
    return None if field is None else field.get("value")


def _bytes(proto: Any, name: str) -> bytes:
    try:
        return bytes.fromhex(_value(proto, name) or "")
    except ValueError:
        return b""


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # pyshark's event loop and tshark's pipes need no farewell
