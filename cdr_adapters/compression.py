"""The bytes of a file without its compression: gzip, bzip2, xz and zstd, known by their first bytes, never by a name.

Streams may follow one another in a file (several gzip members, bzip2 streams, zstd frames), padded with zeros; anything
else behind them is an error, and so is an end before the end. Memory is bounded whatever the file says: windows of more
than 128 MB are refused. What a file unpacks to is counted over all its layers: far more than records compress to, or
more than a disk holds, is called a bomb and ends the reading.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

from cdr_adapters.raw import AdapterError

BUFFER: Final = 1 << 18
_CHUNK: Final = 1 << 17
_WINDOW: Final = 128 << 20

READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,  # pyarrow's for broken data is one
    RuntimeError,
    NotImplementedError,
    OverflowError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
"""What the libraries raise about broken files."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one source may turn into when it is unpacked.

    Attributes:
        ratio: bytes unpacked for each byte of the file, once `ratio_from` bytes are out. CDRs reach 60, seldom 100.
        total: bytes unpacked, over all layers and members.
        layers: archives and compressions within each other.
        members: files in one archive. listing: bytes of a zip's central directory, or of one header of a tar.
        copy: bytes of a private copy on disk.
    """

    ratio: int = 250
    ratio_from: int = 256 << 20
    total: int = 1 << 40
    layers: int = 6
    members: int = 1_000_000
    listing: int = 128 << 20
    copy: int = 64 << 30


LIMITS = Limits()


class Meter:
    """Counts what one file has been unpacked to, over all its layers and members."""

    def __init__(self, path: Path, size: int, limits: Limits) -> None:
        self.limits = limits
        self.path = path
        self._most = min(limits.total, max(limits.ratio_from, size * limits.ratio))
        self._size = size
        self._out = 0
        self._members = 0

    def add(self, count: int) -> None:
        """`count` more bytes came out.

        Raises:
            AdapterError: that makes too many.
        """
        self._out += count
        if self._out > self._most:
            raise AdapterError(
                f"{self.path} unpacks to more than {self._most >> 20:,} MB from {self._size:,} bytes: this looks like "
                "a decompression bomb; if it isn't one, unpack it first"
            )

    def found(self) -> None:
        """One more member was found.

        Raises:
            AdapterError: that makes too many.
        """
        self._members += 1
        if self._members > self.limits.members:
            raise AdapterError(f"{self.path} holds more than {self.limits.members:,} files; unpack it first")


@contextmanager
def reported(path: Path, doing: str = "can't be read") -> Iterator[None]:
    """Whatever goes wrong with the file's bytes is an `AdapterError` with its name."""
    try:
        yield
    except READ_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise AdapterError(f"{path}: {doing}: {reason}") from None


def open_regular(path: Path) -> BinaryIO:
    """The file at `path`, which must be a regular one: a device may never end, a pipe never begin.

    Raises:
        AdapterError: it is something else. OSError: it can't be opened.
    """
    # a pipe without a writer would keep a blocking open waiting for ever
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb", BUFFER)
    os.close(descriptor)
    kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
    raise AdapterError(f"{path}: can't be read: it is {kind}")


class _Decoder(Protocol):
    """How bz2 and lzma decompress."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decoder, in the manner of the others."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


_DECODERS: tuple[tuple[bytes, Callable[[], _Decoder]], ...] = (
    (b"\x1f\x8b", _Gzip),
    *((b"BZh%d" % level, bz2.BZ2Decompressor) for level in range(1, 10)),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _WINDOW)),
)
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([mark]) + b"\x2a\x4d\x18" for mark in range(0x50, 0x60)))
_MARK_SIZE = 6


def is_compressed(mark: bytes) -> bool:
    """Whether a file that begins with these (at least 6) bytes is compressed."""
    return mark.startswith(_ZSTD) or _decoder(mark) is not None


def _decoder(mark: bytes) -> Callable[[], _Decoder] | None:
    return next((decoder for beginning, decoder in _DECODERS if mark.startswith(beginning)), None)


class _Unpacked(io.RawIOBase):
    """What comes out of a stream of unpacked bytes, counted; fills what it is given, so that a peek sees all of it."""

    def __init__(self, source: BinaryIO, meter: Meter) -> None:
        super().__init__()
        self._source = source
        self._meter = meter
        self._failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer) as view, view.cast("B") as target:
            if self._failure is not None:
                raise self._failure
            filled = 0
            try:
                while filled < len(target) and (data := self._more(len(target) - filled)):
                    target[filled : filled + len(data)] = data
                    filled += len(data)
            except READ_ERRORS as error:
                if not filled:
                    raise
                self._failure = error  # what came before it is right
            self._meter.add(filled)
            return filled

    def _more(self, limit: int) -> bytes:
        """At most `limit` more bytes; nothing at the end."""
        return self._source.read(limit)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


class _Decompressed(_Unpacked):
    """What gzip, bzip2 or xz streams hold, one after the other."""

    def __init__(self, source: BinaryIO, meter: Meter, begin: Callable[[], _Decoder]) -> None:
        super().__init__(source, meter)
        self._begin = begin
        self._decoder = begin()
        self._next = b""
        self._at_end = False

    def _more(self, limit: int) -> bytes:
        while not self._at_end:
            if self._decoder.eof:
                self._next_stream()
                continue
            piece = b""
            if self._decoder.needs_input:
                piece, self._next = self._next or self._source.read(_CHUNK), b""
            if self._decoder.needs_input and not piece:
                raise EOFError("the compressed data ends before its end: the file is cut off")
            if data := self._decoder.decompress(piece, limit):
                return data
        return b""

    def _next_stream(self) -> None:
        rest = self._decoder.unused_data.lstrip(b"\0")
        while not rest:
            if not (piece := self._source.read(_CHUNK)):
                self._at_end = True
                return
            rest = piece.lstrip(b"\0")
        rest += self._source.read(_MARK_SIZE)
        if _decoder(rest) is None:
            raise ValueError("something else follows the compressed data")
        self._decoder, self._next = self._begin(), rest


def unpacked(file: BinaryIO, meter: Meter, layers: int = 0) -> tuple[io.BufferedReader, int]:
    """`file` without its compression, be it compressed several times, and how many layers that is, plus `layers`.

    Raises:
        AdapterError: there are too many layers.
    """
    reader = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", file), BUFFER)
    while True:
        mark = reader.peek(_MARK_SIZE)[:_MARK_SIZE]
        if not is_compressed(mark):
            return reader, layers
        layers += 1
        check_layers(layers, meter)
        reader = io.BufferedReader(_decompressed(reader, mark, meter), BUFFER)


def _decompressed(source: BinaryIO, mark: bytes, meter: Meter) -> io.RawIOBase:
    decoder = _decoder(mark)
    if decoder is not None:
        return _Decompressed(source, meter, decoder)
    import pyarrow as pa

    # in its streaming mode zstd refuses windows of more than 128 MB by itself
    frames = pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd")
    return _Unpacked(cast("BinaryIO", frames), meter)


def counted(source: BinaryIO, meter: Meter) -> io.BufferedReader:
    """What an archive's library unpacks, counted."""
    return io.BufferedReader(_Unpacked(source, meter), BUFFER)


def check_layers(layers: int, meter: Meter) -> None:
    """Refuse what is packed into itself again and again.

    Raises:
        AdapterError: there are too many layers.
    """
    if layers > meter.limits.layers:
        raise AdapterError(f"{meter.path}: more than {meter.limits.layers} archives or compressions within each other")
