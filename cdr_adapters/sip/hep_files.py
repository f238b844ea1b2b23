"""The SIP messages in a file of HEP packets, one after the other as a collector or probe wrote them.

White space and zeros between packets are passed over. Behind bytes that are no packet the file goes on at the next
packet of version 3; each such gap is one reject, and so is a packet that doesn't say what it must.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from cdr_adapters.archives import opened
from cdr_adapters.raw import AdapterError
from cdr_adapters.sip.hep import LONGEST, MAGIC, Copy, CutOffError, HepError, LackingError, is_hep, read_copy
from cdr_adapters.sip.legs import Packet
from cdr_adapters.sip.message import MalformedSipError, parse_message, split_message
from cdr_adapters.sip.wire import Damage, Seen, Unreadable

_BLOCK = 1 << 20
_BETWEEN = b"\r\n\t \0"
_PADDING = re.compile(rb"[\r\n\t \0]*")
_QUARANTINED_BYTES = 4096


def begins_as_hep(head: bytes) -> bool:
    """Whether a file with this beginning is one of HEP packets."""
    return is_hep(head.lstrip(_BETWEEN))


def first_time_us(head: bytes) -> int:
    """The time of the first message in microseconds since the epoch; 0 when the beginning doesn't tell."""
    try:
        copy, _ = read_copy(head.lstrip(_BETWEEN))
    except HepError:
        return 0
    return 0 if copy is None else copy.time_us


def messages(path: Path) -> Generator[Seen, None, None]:
    """The messages of the file at `path`, in its order. Frames are numbers of packets, from 1.

    Raises:
        AdapterError: it can't be read, or does not begin with a HEP packet.
    """
    number = 0
    in_gap = False
    with opened(path) as file:
        for found in _found(file):
            if number == 0 and isinstance(found, HepError) and not isinstance(found, LackingError):
                raise AdapterError(f"{path}: no HEP packet at its beginning ({found})")
            match found:
                case CutOffError():
                    yield Damage(number, str(found))
                case LackingError():
                    number += 1
                    yield Unreadable(number, str(found), "")
                case HepError():
                    if not in_gap:
                        yield Unreadable(number + 1, str(found), "")
                case _:
                    number += 1
                    if found is not None:
                        yield from _message(found, number)
            in_gap = isinstance(found, HepError) and not isinstance(found, LackingError)


def _found(file: BinaryIO) -> Iterator[Copy | HepError | None]:
    """Packet after packet: a copied message, None for a packet without one, or why there is none."""
    data = b""
    at_end = False
    while not at_end:
        block = file.read(_BLOCK)
        at_end = not block
        data += block
        at = 0
        while at < len(data) and (at_end or len(data) - at >= 2 * LONGEST):
            at += _blanks(data, at)
            if at == len(data):
                break
            try:
                copy, at = read_copy(data, at)
                yield copy
            except LackingError as error:
                at += error.size
                yield error
            except HepError as error:
                following = data.find(MAGIC, at + 1)
                cut_off = isinstance(error, CutOffError) and following < 0
                yield error if cut_off else HepError(str(error))
                at = following if following >= 0 else len(data) if at_end else max(at, len(data) - len(MAGIC) + 1)
                if following < 0:
                    break
        data = data[at:]


def _blanks(data: bytes, at: int) -> int:
    """How many bytes at `at` are nothing but padding."""
    return len(_PADDING.match(data, at)[0])  # type: ignore[index] # it matches nothing, too


def _message(copy: Copy, number: int) -> Iterator[Seen]:
    try:
        message = parse_message(*split_message(copy.payload))
    except MalformedSipError as error:
        if copy.payload.startswith(b"INVITE "):
            yield Unreadable(number, str(error), copy.payload[:_QUARANTINED_BYTES].decode("utf-8", "replace"))
        return
    if message is not None:
        yield Packet(number, copy.time_us, copy.src, copy.src_port, copy.dst, copy.dst_port), message
