"""SIP captures (pcap, pcapng, compressed or not, a file or a directory of rotated ones), one row per call leg.

Read through pyshark and tshark in a process of its own (`cdr_adapters.sip.capture`): UDP, TCP, SCTP, TLS where
`tls_keys` or the capture itself holds the keys, IPv6, fragments, tunnels, and HEP copies on the way to a collector,
whose inner addresses and times count. Times are the capture's own, UTC, to the microsecond. The columns are those of
`cdr_adapters.sip.calls`.

A capture shows both sides of a call, and `own_addresses` says which is ours. Without it a capture says so itself only
where one machine alone is proven to have passed the calls on (`cdr_adapters.sip.vantage`); else rows have neither
ingress nor egress, and one reject says what to set: an INVITE's sender may be the upstream, or this provider itself.
Who knows that a capture holds only what came in may map `ingress_address = "sent_from"`.

A capture broken off in the middle gives its rows and one reject, and so does TLS on port 5061 without keys. Rotated
files are one capture: a directory is read in order of time, and where files come one at a time (an agent's source),
`rotated = true` looks back into those beside each for the calls that are in progress when it begins, five minutes at
least. A TCP segment or IP fragment that is torn between two files is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.durations import PositiveDuration
from cdr_adapters.raw import AdapterError, Grade, Head, RawBatch
from cdr_adapters.sip.addresses import OwnOption
from cdr_adapters.sip.calls import DEFAULT_COLUMNS, read_calls
from cdr_adapters.sip.capture import Limits, Worker, find_tshark, messages
from cdr_adapters.sip.capture_files import is_capture, ordered

SUMMARY = "SIP signalling captures: pcap or pcapng, a file or a directory of rotated ones (needs tshark)"
GRADE = Grade.REAL_FILES
COLUMNS = DEFAULT_COLUMNS


_Port = Annotated[int, Field(gt=0, lt=65536)]


class Options(raw.Options):
    """Options of a SIP capture.

    `own_addresses`: this provider's signalling addresses, networks, or address:port. `rotated`: the file goes on where
    those beside it in its directory end; they are looked at for calls in progress. `sip_ports`: ports other than 5060
    on which there is SIP. `hep_ports`: those on which HEP copies go to a collector. `tls_keys`: a file of TLS secrets
    in the NSS key log format (SSLKEYLOGFILE). `tshark`: its path. `time_limit`: for one file; by default two minutes
    and a second more for each 100 kB. `memory_mb`: most memory for tshark.
    """

    own_addresses: OwnOption = ()
    rotated: bool = False
    sip_ports: tuple[_Port, ...] = ()
    hep_ports: tuple[_Port, ...] = (9060, 9061)
    tls_keys: Path | None = None
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
    worker = worker_for(options)
    files, others = ordered(path, rotated=options.rotated)
    yield from read_calls(
        files, options.own_addresses, lambda file: messages(file.path, worker), columns, others=others
    )


def worker_for(options: Options) -> Worker:
    """How to start the process that reads captures with these options.

    Raises:
        AdapterError: tshark is missing, or there is no file of keys.
    """
    if options.tls_keys is not None and not options.tls_keys.is_file():
        raise AdapterError(f"option tls_keys: {options.tls_keys} is no file")
    return Worker(
        tshark=find_tshark(options.tshark),
        limits=Limits(
            seconds=None if options.time_limit is None else options.time_limit.total_seconds(),
            memory_bytes=options.memory_mb << 20,
        ),
        sip_ports=options.sip_ports,
        hep_ports=options.hep_ports,
        tls_keys=options.tls_keys,
    )
