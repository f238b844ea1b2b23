"""Files of HEP packets (Homer Encapsulation Protocol, versions 2 and 3) as collectors and probes write them.

One row per call leg, with the columns of `cdr_adapters.sip.calls`: the same as those of `sip_pcap`, which also reads
HEP on its way through the network. Addresses and times are those of the copied messages, as the probe saw them: UTC, to
the microsecond. Packets follow one another, version 3 by its own length, version 2 by the Content-Length of its SIP
message; a file or a directory of rotated ones; compressed payloads too. Written from the HEP3 network protocol
specification of the sipcapture project and the structures of its open receivers.

HEP version 1 never says when a message passed: such packets are rejected, with what to change. As with any capture,
`own_addresses` says which side is ours; see `sip_pcap` for what is done without.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.raw import Grade, Head, RawBatch
from cdr_adapters.sip.addresses import OwnOption
from cdr_adapters.sip.calls import DEFAULT_COLUMNS, read_calls
from cdr_adapters.sip.capture_files import CaptureKind, ordered
from cdr_adapters.sip.hep_files import begins_as_hep, first_time_us, messages

SUMMARY = "HEP (Homer) packets in files: versions 2 and 3, a file or a directory of rotated ones"
GRADE = Grade.DOCUMENTATION
COLUMNS = DEFAULT_COLUMNS

_HEP = CaptureKind(begins_as_hep, first_time_us)


class Options(raw.Options):
    """Options of a HEP file.

    `own_addresses`: this provider's signalling addresses, networks, or address:port. `rotated`: the file goes on where
    those beside it in its directory end; they are looked at for calls in progress.
    """

    own_addresses: OwnOption = ()
    rotated: bool = False


def identify(head: Head) -> bool:
    """Whether the file begins with a HEP packet."""
    return begins_as_hep(head.data)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[RawBatch]:
    """The call legs of a file, or of all HEP files in a directory.

    Raises:
        AdapterError: a file can't be read, or does not begin with a HEP packet.
    """
    files, others = ordered(path, _HEP, rotated=options.rotated)
    yield from read_calls(files, options.own_addresses, lambda file: messages(file.path), columns, others=others)
