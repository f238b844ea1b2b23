"""How call records of 3GPP TS 32.298 lie in a file: which bytes are one record each, and what to do when they can't be.

Understood, told from the file itself: records one behind the other; the same within a CallEventDataFile of TS 32.005
and 32.205 or any SEQUENCE OF or SET OF around them, with definite or indefinite length; blocks whose ends are filled up
with 00 or FF octets; and TS 32.297 with file header and a header before each record, or the latter alone.

A record that can't be delimited ends the file, after what came before it, unless something says where the next one
begins: the record headers of TS 32.297 do, and blocks do. The rest is never searched for what looks like a record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cdr_adapters.formats._ber import MAX_DEPTH, BerError, element, end_of_contents, header
from cdr_adapters.formats._window import Window
from cdr_adapters.raw import AdapterError
from cdr_adapters.records import RAW_LIMIT

MAX_RECORD = 1 << 20
"""Longest record, in octets; whatever says that it is longer is wrong."""

_FILLED = re.compile(rb"[^\x00\xff]")
_LISTS = (0x30, 0x31)
_FILE_HEADER = 50
_MAX_FILE_HEADER = _FILE_HEADER + 2 + 2 * 0xFFFF + 2
_BER = 1
_UNKNOWN_LENGTH = (0, 0xFFFFFFFF)
_BLOCK = 2048
_MAX_HEADER = 10  # a tag of at most 5 octets, a length of at most 5


@dataclass(frozen=True, slots=True)
class Framed:
    """One record: the element with `tag` whose contents are `data[start:stop]`; `row` is its first octet, from 1."""

    row: int
    tag: int
    data: bytes
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Unframed:
    """Octets that are no record: where they begin (from 1), why, and the octets, as hexadecimal digits."""

    row: int
    detail: str
    raw: str


Piece: TypeAlias = Framed | Unframed


def has_file_header(data: bytes, complete: bool) -> bool:
    """Whether `data` begins with the file header of TS 32.297 6.1.1: two lengths that agree with two others in it."""
    if len(data) < _FILE_HEADER + 4:
        return False
    length, size = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    if not _FILE_HEADER < size <= _MAX_FILE_HEADER or (length < size and length not in _UNKNOWN_LENGTH):
        return False
    at = _FILE_HEADER + int.from_bytes(data[48:50], "big")
    if at + 2 > len(data):
        return False
    at += 2 + int.from_bytes(data[at : at + 2], "big")
    month, day = data[10] >> 4, (int.from_bytes(data[10:12], "big") >> 7) & 0x1F
    return at <= size <= at + 2 and 1 <= month <= 12 and 1 <= day <= 31 and (not complete or size <= len(data))


def has_record_header(data: bytes) -> bool:
    """Whether `data` begins with a record header of TS 32.297 6.1.2 and a BER element exactly as long as it says."""
    if len(data) < 6 or data[3] >> 5 != _BER:
        return False
    size = _record_header(data)
    length = int.from_bytes(data[:2], "big")
    return _element_length(data, size, len(data)) in (length, length - size)


def _record_header(data: bytes, at: int = 0) -> int:
    """Octets of the record header at `at`: five from release 10 on (release identifier 7), four before."""
    return 5 if data[at + 2] >> 5 == 7 else 4


def _element_length(data: bytes, at: int, end: int) -> int | None:
    try:
        return element(data, at, end)[3] - at
    except BerError:
        return None


def pieces(path: Path, blocks: Iterator[bytes], block_size: int | None) -> Iterator[Piece]:
    """The records of a file.

    Args:
        path: what errors call the file.
        blocks: its octets.
        block_size: the size of its blocks, when it is known; else told by where the fillers end.

    Raises:
        AdapterError: the file is cut off, or a record can't be delimited and nothing says where the next one begins.
    """
    window = Window(blocks)
    window.have(_MAX_FILE_HEADER)
    if has_file_header(window.data, False):
        file_length, size = int.from_bytes(window.data[:4], "big"), int.from_bytes(window.data[4:8], "big")
        window.skip(size)
        yield from _with_record_headers(path, window, file_length)
    elif has_record_header(window.data):
        yield from _with_record_headers(path, window, 0)
    else:
        yield from _Bare(path, window, block_size).pieces()


def _with_record_headers(path: Path, window: Window, file_length: int) -> Iterator[Piece]:
    counted: int | None = None  # how much of its own header a record's length includes
    while window.have(1):
        row = window.row
        if not window.have(5):
            raise AdapterError(f"{path}: cut off in the record header at octet {row}")
        size = _record_header(window.data, window.at)
        length = int.from_bytes(window.data[window.at : window.at + 2], "big")
        is_ber = window.data[window.at + 3] >> 5 == _BER
        have_all = window.have(size + length)
        start = window.at + size
        if counted is None and is_ber:
            own = _element_length(window.data, start, min(start + length, len(window.data)))
            counted = 0 if own == length else size if own == length - size else None
        length -= counted or 0
        if not have_all and window.left < size + length:
            raise AdapterError(f"{path}: cut off in the record at octet {row}")
        stop = start + length
        window.at = max(stop, start)
        yield _framed(row, window.data, start, stop, is_ber)
    if file_length not in _UNKNOWN_LENGTH and window.row - 1 < file_length:
        raise AdapterError(
            f"{path}: has {window.row - 1} of the {file_length} octets that its header speaks of: cut off"
        )


def _framed(row: int, data: bytes, start: int, stop: int, is_ber: bool) -> Piece:
    raw = data[start : min(stop, start + RAW_LIMIT // 2)].hex()
    if not is_ber:
        return Unframed(row, "the record header says another encoding than BER", raw)
    try:
        tag, begin, end, after = element(data, start, stop)
    except BerError as error:
        return Unframed(row, str(error), raw)
    if after != stop:
        return Unframed(row, "the record is shorter than its header says", raw)
    return Framed(row, tag, data, begin, end)


class _Bare:
    """Records without headers of their own."""

    def __init__(self, path: Path, window: Window, block_size: int | None) -> None:
        self._path = path
        self._window = window
        self._block_size = block_size
        self._told = block_size is not None
        self._listed = False  # a list of records has begun
        self._list_end = 0  # where the lists that say where they end do so, at the latest
        self._nested = 0  # lists that began since the last record

    def pieces(self) -> Iterator[Piece]:
        window = self._window
        while self._next_octet():
            row = window.row
            window.have(_MAX_HEADER)
            try:
                piece = self._piece(row)
            except BerError as error:
                yield Unframed(row, str(error), window.data[window.at : window.at + RAW_LIMIT // 2].hex())
                if not self._to_next_block(row):
                    raise AdapterError(
                        f"{self._path}: the record at octet {row} can't be delimited ({error}), so that nothing behind "
                        "it can be found; if the file has blocks, set options.block_size"
                    ) from None
                continue
            if piece is not None:
                self._nested = 0
                yield piece
        if window.row <= self._list_end:
            raise AdapterError(f"{self._path}: cut off: its list of records should be longer")

    def _next_octet(self) -> bool:
        """Pass over fillers and the ends of lists; whether anything comes behind them."""
        window = self._window
        filled = False
        while window.have(1):
            if window.data[window.at] not in (0, 0xFF):
                if filled and not self._told:
                    self._learn(window.row - 1)
                return True
            filled = True
            found = _FILLED.search(window.data, window.at)
            window.at = found.start() if found else len(window.data)
        return False

    def _learn(self, position: int) -> None:
        """A filler ended at `position`: that speaks for blocks of the usual size, or against blocks for good."""
        if self._listed or position % _BLOCK:
            self._told, self._block_size = True, None
        else:
            self._block_size = _BLOCK

    def _to_next_block(self, row: int) -> bool:
        if self._block_size is None:
            return False
        behind = (row - 1) // self._block_size * self._block_size + self._block_size
        return self._window.skip(behind - (self._window.row - 1)) or True

    def _piece(self, row: int) -> Piece | None:
        """The record at the window's beginning; None for what stands around records."""
        window = self._window
        data, at = window.data, window.at
        tag, start, length = header(data, at, len(data))
        if tag in _LISTS or (self._listed and self._is_list(tag, start)):
            self._nested += 1
            if self._nested > MAX_DEPTH:
                raise BerError("elements are nested too deep")
            self._listed = True
            self._list_end = max(self._list_end, 0 if length is None else row - 1 + (start - at) + length)
            window.at = start
            return None
        size = start - at
        if length is None:
            stop, after = self._indefinite(start)
        else:
            if length > MAX_RECORD:
                raise BerError("a record says that it is longer than a mebibyte")
            if not window.have(size + length):
                raise BerError("a record is cut off, or says that it is longer than it is")
            stop = after = window.at + size + length
        piece = Framed(row, tag, window.data, window.at + size, stop)
        window.at = after
        return None if self._listed and _is_header_or_trailer(piece) else piece

    def _is_list(self, tag: int, start: int) -> bool:
        """Whether this is the list of records in a CallEventDataFile, and not the record with the same tag."""
        return tag == 0xA1 and self._window.data[start : start + 1] not in (b"", b"\x80", b"\x81", b"\x82", b"\x83")

    def _indefinite(self, start: int) -> tuple[int, int]:
        """Where a record of indefinite length ends: its contents, and it."""
        window = self._window
        size = start - window.at
        for wanted in (1 << 12, 1 << 16, MAX_RECORD):
            whole = window.have(wanted)
            try:
                stop = end_of_contents(window.data, window.at + size, min(len(window.data), window.at + wanted))
            except BerError:
                if not whole or wanted == MAX_RECORD:
                    raise
            else:
                return stop, stop + 2
        raise BerError("a record says that it is longer than a mebibyte")


def _is_header_or_trailer(piece: Framed) -> bool:
    """Whether this is no record but the header or trailer of a CallEventDataFile: it begins with a time of 9 octets."""
    return piece.tag in (0xA0, 0xA2, 0xA3) and (
        piece.data[piece.start : piece.start + 2] == b"\x80\x09" or piece.start == piece.stop
    )
