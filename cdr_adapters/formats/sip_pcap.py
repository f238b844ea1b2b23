"""SIP captures (pcap, pcapng, gzipped or not, a file or a directory of rotated ones), one row per call leg.

Read through pyshark and tshark in a process of its own (`sip_capture`); legs are told by `sip_legs`. Times are the
capture's own, UTC, to the microsecond. Refuses to say anything without `own_addresses`: a capture shows both sides of a
call, and nothing else says which is ours.

Columns (text; null when not known): `called_in`, `called_out` (user part of the Request-URI as received, as sent on),
`calling` (From, else P-Asserted-Identity), `time` (epoch seconds of the first ingress INVITE), `ingress_address`,
`egress_address` (IP of the neighbour), `call_id` (of the ingress), `sip_code` (final response of this attempt),
`sip_code_upstream` (final response sent back), `attestation` (A, B, C or ? from an Identity header, not verified).
A row's number is the frame number; in a directory, a thousand million for each earlier file is added to it.

A capture broken off in the middle gives its rows and one reject. Calls that go on in the next rotated file of a
directory are followed; a TCP segment or IP fragment that does is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from pydantic import AfterValidator, Field

from cdr_adapters import raw
from cdr_adapters.mapping import PositiveDuration
from cdr_adapters.raw import Grade, Head, RawBatch
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.sip_addresses import OwnAddresses
from cdr_adapters.sip_capture import Damage, Limits, Unreadable, Worker, find_tshark, messages
from cdr_adapters.sip_capture_files import CaptureFile, in_time_order, is_capture, ordered
from cdr_adapters.sip_legs import CallLeg, LegPairing

SUMMARY = "SIP signalling captures: pcap or pcapng, gzipped or not, a file or a directory (needs tshark)"
GRADE = Grade.REAL_FILES
COLUMNS = {
    "called_in": {"column": "called_in", "format": "trunk"},
    "called_out": {"column": "called_out", "format": "trunk"},
    "calling": "calling",
    "seizure": {"column": "time", "format": "epoch_s"},
    "ingress_address": "ingress_address",
    "egress_address": "egress_address",
    "call_id": "call_id",
    "disposition": {
        "column": "sip_code",
        "values": {"200": "answered", "480": "unanswered", "486": "unanswered", "487": "unanswered", "*": "failed"},
    },
}

_BATCH = 8192
_FRAMES_IN_A_FILE = 1_000_000_000

_COLUMNS: Mapping[str, Callable[[CallLeg], str | None]] = {
    "called_in": lambda leg: leg.called_in,
    "called_out": lambda leg: leg.called_out,
    "calling": lambda leg: leg.calling,
    "time": lambda leg: f"{leg.time_us // 1_000_000}.{leg.time_us % 1_000_000:06d}",
    "ingress_address": lambda leg: leg.ingress_address,
    "egress_address": lambda leg: leg.egress_address,
    "call_id": lambda leg: leg.call_id,
    "sip_code": lambda leg: _code(leg.code),
    "sip_code_upstream": lambda leg: _code(leg.code_upstream),
    "attestation": lambda leg: leg.attestation,
}
COLUMN_NAMES = tuple(_COLUMNS)


def _check_own(entries: tuple[str, ...]) -> tuple[str, ...]:
    OwnAddresses(entries)
    return entries


class Options(raw.Options):
    """Options of a SIP capture.

    `own_addresses`: this provider's signalling addresses, networks, or address:port. `sip_ports`: ports other than 5060
    on which there is SIP. `tshark`: its path. `time_limit`: for one file; by default two minutes and a second more for
    each 100 kB. `memory_mb`: most memory for tshark.
    """

    own_addresses: Annotated[tuple[str, ...], AfterValidator(_check_own), Field(validate_default=True)] = ()
    sip_ports: tuple[Annotated[int, Field(gt=0, lt=65536)], ...] = ()
    tshark: str | None = None
    time_limit: PositiveDuration | None = None
    memory_mb: Annotated[int, Field(ge=256)] = 4096


def identify(head: Head) -> bool:
    """Whether the file begins as a pcap or pcapng file does."""
    return is_capture(head.data)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[RawBatch]:
    """The call legs of a capture, or of all captures in a directory.

    Raises:
        AdapterError: tshark is missing, or a file can't be read as a capture.
    """
    worker = Worker(
        tshark=find_tshark(options.tshark),
        limits=Limits(
            seconds=None if options.time_limit is None else options.time_limit.total_seconds(),
            memory_bytes=options.memory_mb << 20,
        ),
        decode_as={f"{kind}.port=={port}": "sip" for port in options.sip_ports for kind in ("udp", "tcp")},
    )
    files, others = ordered(path)
    names = [name for name in COLUMN_NAMES if columns is None or name in columns]
    pairing = LegPairing(OwnAddresses(options.own_addresses))
    legs: list[CallLeg] = []
    rejected: list[Rejected] = []
    with closing(in_time_order(files, lambda file: messages(file.path, worker))) as stream:
        for file, seen in stream:
            if isinstance(seen, tuple):
                packet, message = seen
                placed = replace(packet, frame=_row(file, packet.frame)) if file.number else packet
                legs.extend(pairing.feed(placed, message))
            else:
                rejected.append(_rejected(file, seen))
            if len(legs) + len(rejected) >= _BATCH:
                yield _batch(legs, rejected, names)
                legs, rejected = [], []
    legs.extend(pairing.finish())
    if pairing.strangers and not pairing.ours:
        reason = (
            f"none of the {pairing.strangers} INVITEs in {path.name} was to or from own_addresses "
            f"({', '.join(options.own_addresses)}); is the list right?"
        )
        rejected.append(Rejected(0, RejectReason.MALFORMED_ROW, reason, ""))
    yield _batch(legs, rejected, names, skipped=others + pairing.strangers)


def _row(file: CaptureFile, frame: int) -> int:
    return file.number * _FRAMES_IN_A_FILE + frame


def _rejected(file: CaptureFile, seen: Unreadable | Damage) -> Rejected:
    row = _row(file, seen.frame)
    if isinstance(seen, Unreadable):
        return Rejected(row, RejectReason.MALFORMED_ROW, seen.reason, seen.raw)
    detail = f"{file.path.name} breaks off after frame {seen.frame}: {seen.detail}"
    return Rejected(row, RejectReason.MALFORMED_ROW, detail, "")


def _batch(legs: list[CallLeg], rejected: list[Rejected], names: list[str], skipped: int = 0) -> RawBatch:
    columns = {name: [_COLUMNS[name](leg) or None for leg in legs] for name in names}
    return RawBatch(
        columns=raw.string_batch(columns, len(legs)),
        rows=pa.array([leg.frame for leg in legs], pa.int64()),
        rejected=tuple(rejected),
        skipped=skipped,
        header=COLUMN_NAMES,
    )


def _code(code: int | None) -> str | None:
    return None if code is None else str(code)
