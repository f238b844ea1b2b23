"""HEP packets out of TCP segments: version 3 says how long it is, so that a stream of it can be cut.

Segments come in the order of the capture. One that was seen already is passed over; where one is missing, the stream
goes on at the next packet's magic. Version 3 only: the others can't be told apart in a stream. Memory is bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable

from cdr_adapters.sip.hep import LONGEST, MAGIC

_MOST_STREAMS = 1024
_SEQUENCE = 1 << 32


class _Stream:
    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.pending = b""


class HepStreams:
    """The streams of one capture."""

    def __init__(self) -> None:
        self._streams: dict[Hashable, _Stream] = {}

    def feed(self, ends: Hashable, sequence: int, payload: bytes) -> list[bytes]:
        """Take the next segment of the stream between `ends`; return the HEP packets that are whole by now."""
        stream = self._streams.pop(ends, None) or _Stream(sequence)
        self._streams[ends] = stream
        if len(self._streams) > _MOST_STREAMS:
            del self._streams[next(iter(self._streams))]
        ahead = (sequence - stream.expected) % _SEQUENCE
        if ahead > _SEQUENCE // 2:  # behind: sent again
            seen = _SEQUENCE - ahead
            payload = payload[seen:]
        elif ahead:
            stream.pending = b""
            stream.expected = sequence
        stream.expected = (stream.expected + len(payload)) % _SEQUENCE
        stream.pending += payload
        return list(self._whole(stream))

    def _whole(self, stream: _Stream) -> list[bytes]:
        packets = []
        data = stream.pending
        at = 0
        while (at := data.find(MAGIC, at)) >= 0 and at + 6 <= len(data):
            (total,) = struct.unpack_from(">H", data, at + 4)
            if total < 6:
                at += len(MAGIC)
                continue
            if at + total > len(data):
                break
            packets.append(data[at : at + total])
            at += total
        stream.pending = data[at:] if at >= 0 else data[-3:]
        if len(stream.pending) > LONGEST:
            stream.pending = b""
        return packets
