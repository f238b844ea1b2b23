"""Reading SIP captures to call legs, against `tshark -T fields` printing a few fields of the same packets.

Two synthetic captures: signalling alone, and signalling with nine times as much RTP, as beside a media gateway. Ours is
the whole way from the file to raw batches: sieve, tshark through pyshark, parsing, pairing of the two sides. The peer
only prints what a script would begin with (times, addresses, Call-ID, numbers), with a display filter that leaves no
more than that.
"""

from __future__ import annotations

import statistics
import struct
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

from rich.console import Console

from benchmarks.measure import Figure
from cdr_adapters.formats import sip_pcap
from cdr_adapters.sip.capture import find_tshark
from tests.adapters.sip_bytes import DOWNSTREAM, OWN, T0, UPSTREAM, invite, pcap, request, response, udp

CALLS = 4_000
MEDIA_CALLS = 400
RTP_A_CALL = 90
RUNS = 5
_FIELDS = ("frame.time_epoch", "ip.src", "ip.dst", "sip.Call-ID", "sip.r-uri.user", "sip.from.user")
_FILTER = 'sip.Method == "INVITE" || sip.Method == "BYE" || (sip.Status-Code >= 200 && sip.CSeq.method == "INVITE")'
_HEADERS = ("Contact: <sip:12125550178@203.0.113.21>", "User-Agent: synthetic", "Content-Type: application/sdp")
_SDP = b"v=0\r\no=- 1 1 IN IP4 203.0.113.21\r\ns=-\r\nc=IN IP4 203.0.113.21\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0\r\n"


def capture_packets_per_s(console: Console) -> Figure:
    """Packets of signalling a second."""
    return _against_tshark(console, CALLS, 0)


def capture_with_media_packets_per_s(console: Console) -> Figure:
    """Packets a second of a capture that is mostly RTP."""
    return _against_tshark(console, MEDIA_CALLS, RTP_A_CALL)


def _against_tshark(console: Console, calls: int, rtp: int) -> Figure:
    ours, peers = [], []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "capture.pcap"
        frames = [frame for number in range(calls) for frame in _call(number, rtp)]
        path.write_bytes(pcap((T0 + 1000 * n, frame) for n, frame in enumerate(frames)))
        for run in range(RUNS):
            start = perf_counter()
            legs = _legs(path)
            middle = perf_counter()
            printed = _printed(path)
            end = perf_counter()
            assert (legs, printed) == (calls, 5 * calls)
            ours.append(len(frames) / (middle - start))
            peers.append(len(frames) / (end - middle))
            console.print(f"run {run + 1}: {ours[-1]:,.0f} packets/s, tshark -T fields {peers[-1]:,.0f}")
    peer = statistics.median(peers)
    value = statistics.median(ours)
    return Figure(
        value, "packets/s", f"tshark -T fields: {peer:,.0f} packets/s ({value / peer:.1f} times)", tuple(ours)
    )


def _call(number: int, rtp: int) -> list[bytes]:
    """An answered call through a proxy, ten messages, and `rtp` packets of its media."""
    ours, theirs = f"{OWN};branch=z9hG4bK-9{number}", f"203.0.113.21;branch=z9hG4bK-1{number}"
    call_id = f"call-{number}@203.0.113.21"
    media = struct.pack(">BBHII", 0x80, 0, 1, 160, 7) + bytes(160)

    def setup(*vias: str) -> bytes:
        return invite(vias=vias, call_id=call_id, called=f"1202555{number % 10000:04}", extra=_HEADERS, body=_SDP)

    return [
        udp(UPSTREAM, OWN, setup(theirs)),
        udp(OWN, UPSTREAM, response(100, vias=(theirs,), call_id=call_id)),
        udp(OWN, DOWNSTREAM, setup(ours, theirs)),
        udp(DOWNSTREAM, OWN, response(180, vias=(ours, theirs), call_id=call_id)),
        udp(OWN, UPSTREAM, response(180, vias=(theirs,), call_id=call_id)),
        udp(DOWNSTREAM, OWN, response(200, vias=(ours, theirs), call_id=call_id)),
        udp(OWN, UPSTREAM, response(200, vias=(theirs,), call_id=call_id)),
        udp(UPSTREAM, OWN, request("ACK", call_id=call_id)),
        *[udp("203.0.113.30", "203.0.113.31", media, ports=(20000 + 2 * (number % 5000), 30000))] * rtp,
        udp(UPSTREAM, OWN, request("BYE", call_id=call_id)),
        udp(OWN, UPSTREAM, response(200, vias=(theirs,), call_id=call_id, method="BYE")),
    ]


def _legs(path: Path) -> int:
    options = sip_pcap.Options(own_addresses=(OWN,))
    return sum(batch.columns.num_rows for batch in sip_pcap.read(path, options, None))


def _printed(path: Path) -> int:
    fields = [argument for name in _FIELDS for argument in ("-e", name)]
    command = [find_tshark(), "-n", "-r", str(path), "-Y", _FILTER, "-T", "fields", *fields]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return run.stdout.count(b"\n")
