"""How records of GR-1100 lie in a file, after GR-1100-CORE (record descriptor word) and GR-1343-CORE (AMADNS header).

A record begins with its length in two octets and two octets of zero; then comes AA, or AB when the switch suspects an
error in it, and the structure code. Records may stand in blocks that begin like a record, with the block's length. The
file may begin with an AMADNS header of 28 octets, which knows when it was made.

GR-1100 counts the descriptor word in a record's length; files are met that leave out two or all four of its octets.
Which of these holds is told by where the second record begins, once for a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cdr_adapters.raw import AdapterError

_DESCRIPTOR = 4
_IDENTIFIERS = (0xAA, 0xAB)
_HEADER = 28
_SMALLEST = 4
_UNCOUNTED = (0, 2, 4)
_AHEAD = 1 << 17  # a record and the beginning of the next
_FILLED = re.compile(rb"[^\x00]")


@dataclass(frozen=True, slots=True)
class AmaRecord:
    """One record: its first octet's position from 1, and its octets behind the descriptor word."""

    row: int
    data: bytes


def header_date(data: bytes) -> date | None:
    """The day on which the file was made, when `data` begins with an AMADNS header; None when it doesn't."""
    if data[:1] != b"\x1c" or begins_records(data, 0) or not begins_records(data, _HEADER):
        return None
    text = f"{int.from_bytes(data[9:13], 'big') & 0xFFFFF:06d}"  # mmddyy, behind 12 bits of hhmm
    try:
        return date(2000 + int(text[4:6]), int(text[:2]), int(text[2:4]))
    except ValueError:
        return None


def begins_records(data: bytes, at: int) -> bool:
    """Whether a record, or a block of records, begins at `at`."""
    if not _is_descriptor(data, at):
        return False
    return _is_record(data, at) or (_is_descriptor(data, at + _DESCRIPTOR) and _is_record(data, at + _DESCRIPTOR))


def _is_descriptor(data: bytes, at: int) -> bool:
    return data[at + 2 : at + 4] == b"\0\0" and int.from_bytes(data[at : at + 2], "big") >= _SMALLEST


def _is_record(data: bytes, at: int) -> bool:
    """Whether the identifier and a structure code stand behind the descriptor word at `at`."""
    code = data[at + 4 : at + 8]
    return len(code) == 4 and code[0] in _IDENTIFIERS and code[1] >> 4 < 10 and code[3] & 15 == 0xC


def records(path: Path, blocks: Iterator[bytes]) -> Iterator[AmaRecord]:
    """The records of a file; what a block's descriptor says is only used to step over it.

    Raises:
        AdapterError: the file is cut off, or something stands where a record should begin.
    """
    data, base, at = b"", 0, 0
    uncounted: int | None = None
    first, more = True, True
    while True:
        while more and len(data) - at < _AHEAD:
            block = next(blocks, b"")
            more = bool(block)
            base += at
            data, at = data[at:] + block, 0
        if first:
            first = False
            at = _HEADER if header_date(data) else 0
        if not _is_descriptor(data, at):
            at = _behind_zeros(data, at)
            if at == len(data):
                if more:
                    continue
                return
            if not begins_records(data, at):
                raise AdapterError(f"{path}: no record of GR-1100 begins at octet {base + at + 1}")
        row = base + at + 1
        if not _is_record(data, at) and begins_records(data, at):
            at += _DESCRIPTOR  # a block's descriptor word
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if uncounted is None:
            uncounted = _uncounted(data, at + length)
            if uncounted is None:
                raise AdapterError(f"{path}: the record at octet {row} doesn't end where another begins")
        stop = at + length + uncounted
        if stop > len(data):
            raise AdapterError(f"{path}: cut off in the record at octet {row}")
        yield AmaRecord(row, data[at + _DESCRIPTOR : stop])
        at = stop


def _behind_zeros(data: bytes, at: int) -> int:
    """Where something else begins than the zeros that fill up blocks; the first octet of a length may be one."""
    found = _FILLED.search(data, at)
    if found is None:
        return len(data)
    return found.start() - 1 if found.start() > at and _is_descriptor(data, found.start() - 1) else found.start()


def _uncounted(data: bytes, stop: int) -> int | None:
    """How many octets a length leaves out, from where the record would end by it; None when nothing fits."""
    for octets in _UNCOUNTED:
        if stop + octets == len(data) or begins_records(data, stop + octets):
            return octets
    filled_up = stop <= len(data) and not data[stop:].strip(b"\0")
    return 0 if filled_up or _is_descriptor(data, stop) else None
