"""A file that holds several files, read as its files one after another: zip and tar, compressed or not, in each other.

Known by content, never by name. Every regular file in an archive is a `Member`, a path that can be opened for reading
like any other and is named `ARCHIVE!NAME` in messages; directories, links, devices, hidden files and those that macOS
adds are none. Names in an archive serve messages only: nothing is ever written under them. Office documents are zip
files, but one file of records each, and stay whole.

A damaged or cut archive is an error, for its readable members would look like all there is. So are encrypted members,
and what `compression` calls a bomb.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path, PosixPath
from typing import Any, BinaryIO, Final, cast

from cdr_adapters.compression import (
    BUFFER,
    LIMITS,
    Limits,
    Meter,
    check_layers,
    counted,
    open_regular,
    reported,
    unpacked,
)
from cdr_adapters.raw import AdapterError

_COPY_BLOCK: Final = 1 << 20
_IN_MEMORY: Final = 1 << 20
_TAR_BLOCK: Final = 512


class Member(PosixPath):
    """A file in an archive, as a path for readers; it can be opened until the next one is asked for."""

    name_in_archive: str
    meter: Meter
    layers: int
    _opener: Callable[[], BinaryIO]

    @classmethod
    def of(cls, archive: Path, name: str, layers: int, meter: Meter, opener: Callable[[], BinaryIO]) -> Member:
        """The member `name` of `archive`, `layers` deep, opened by `opener`."""
        member = cls(f"{archive}!{name}".replace("\0", "\ufffd"))
        outer = archive.name_in_archive if isinstance(archive, Member) else ""
        member.name_in_archive = f"{outer}!{name}" if outer else name
        member.meter = meter
        member.layers = layers
        member._opener = opener
        return member

    def open(self, mode: str = "r", *_: Any, **__: Any) -> Any:
        """Its bytes; only for reading them."""
        if mode != "rb":
            raise AdapterError(f"{self}: a file in an archive can be opened for reading bytes only")
        return self._opener()

    def is_file(self, **_: Any) -> bool:
        """Whether there are bytes to read: yes."""
        return True


def members(path: Path, limits: Limits = LIMITS) -> Generator[Path]:
    """The files in the archive at `path`, and in archives within it, in their order; `path` itself when it is none.

    A member is good until the next one is asked for. A directory is left to those who read whole directories.

    Raises:
        AdapterError: it can't be opened, or is damaged; an archive holds no files, or too much.
    """
    if not isinstance(path, Member) and path.is_dir():
        yield path
        return
    found = False
    for found_path in _files(path, limits):
        found = True
        yield found_path
    if not found:
        raise AdapterError(f"{path}: this archive holds no files")


@contextmanager
def opened(path: Path, limits: Limits = LIMITS, *, beginning: bool = False) -> Iterator[io.BufferedReader]:
    """The bytes of the file at `path`, or of the only one in the archive there, without compression.

    Args:
        beginning: take the first file of an archive that isn't empty, whether or not there are more.

    Raises:
        AdapterError: it can't be opened or unpacked. At the end of the block: there are more files in the archive.
    """
    with closing(members(path, limits)) as files:
        for member in files:
            with _reader(member, limits) as reader:
                if beginning and member is not path and not reader.peek(1):
                    continue
                yield reader
            break
        else:
            yield _slice(io.BytesIO(), 0, 0)
        if not beginning and next(files, None) is not None:
            raise AdapterError(f"{path}: this archive holds several files; they can only be read one after another")


@contextmanager
def _reader(member: Path, limits: Limits) -> Iterator[io.BufferedReader]:
    with reported(member):
        packed, layers, meter = _source(member, limits)
        with closing(packed), closing(unpacked(packed, meter, layers)[0]) as reader:
            yield reader


@contextmanager
def real_file(path: Path, limits: Limits = LIMITS) -> Iterator[Path]:
    """`path` for those who can only read a real file: itself, or a private copy of what it holds, removed afterwards.

    Raises:
        AdapterError: it can't be opened or unpacked, or there is no room for the copy.
    """
    if not isinstance(path, Member):
        with reported(path), open_regular(path) as file:
            plain = unpacked(file, Meter(path, 0, limits))[1] == 0 and next(_files(path, limits), None) is path
        if plain:
            yield path
            return
    with tempfile.TemporaryDirectory(prefix="hopback-") as directory:
        copy = Path(directory) / "records"
        with opened(path, limits) as source, reported(path, "can't be unpacked"), copy.open("xb") as target:
            _copy(source, target, path, limits)
        yield copy


def _copy(source: BinaryIO, target: BinaryIO, path: Path, limits: Limits) -> int:
    """Copy all of `source`; how many bytes that were."""
    size = 0
    while block := source.read(_COPY_BLOCK):
        size += len(block)
        if size > limits.copy:
            raise AdapterError(f"{path}: its copy would take more than {limits.copy >> 20:,} MB; unpack it first")
        target.write(block)
    target.flush()
    return size


def _source(path: Path, limits: Limits) -> tuple[BinaryIO, int, Meter]:
    """The bytes of a path as they lie, how deep in archives they lie, and what counts them."""
    if isinstance(path, Member):
        return path.open("rb"), path.layers, path.meter
    file = open_regular(path)
    return file, 0, Meter(path, os.fstat(file.fileno()).st_size, limits)


def _files(path: Path, limits: Limits) -> Generator[Path]:
    with reported(path):
        file, layers, meter = _source(path, limits)
        with closing(file):
            reader, layers = unpacked(file, meter, layers)
            with closing(reader):
                start = reader.peek(_TAR_BLOCK)[:_TAR_BLOCK]
                if _is_tar(start):
                    found = _tar_members(path, reader, layers + 1, meter)
                elif start.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
                    found = _zip_members(path, reader, layers + 1, meter)
                else:
                    found = None
                if found is not None and (yield from _nested(path, found, layers + 1, meter)):
                    return
    yield path


def _nested(path: Path, found: Generator[Path], layers: int, meter: Meter) -> Generator[Path, None, bool]:
    """The members that were found, and those in them; False when `path` turns out to be no archive."""
    check_layers(layers, meter)
    with closing(found):
        for member in found:
            if member is path:
                return False
            meter.found()
            yield from _files(member, meter.limits)
    return True


def _counts(name: str) -> bool:
    """Whether a member of this name may hold records: not what is hidden, not what macOS puts beside every file."""
    parts = name.replace("\\", "/").split("/")
    return not parts[-1].startswith(".") and "__MACOSX" not in parts


class _Slice(io.RawIOBase):
    """A part of a file that others read, too."""

    def __init__(self, base: BinaryIO, offset: int, size: int) -> None:
        super().__init__()
        self._base, self._offset, self._size = base, offset, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer) as view, view.cast("B") as target:
            wanted = max(min(len(target), self._size - self._at), 0)
            if not wanted:
                return 0
            self._base.seek(self._offset + self._at)
            data = self._base.read(wanted)
            if not data:
                raise EOFError("the archive ends within this file: it is cut off")
            target[: len(data)] = data
            self._at += len(data)
            return len(data)


def _slice(base: BinaryIO, offset: int, size: int) -> io.BufferedReader:
    return io.BufferedReader(_Slice(base, offset, size), BUFFER)


@contextmanager
def _spooled(source: BinaryIO, path: Path, limits: Limits) -> Iterator[tuple[BinaryIO, int]]:
    """All of `source` in a nameless file that can be sought in, and its size."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="hopback-") as spool:
        file = cast("BinaryIO", spool)
        with reported(path, "can't be unpacked"):
            size = _copy(source, file, path, limits)
            file.seek(0)
        yield file, size


# --- tar


def _is_tar(block: bytes) -> bool:
    """Whether a block is the header of a tar: its checksum is right, whatever kind of tar it is."""
    if len(block) < _TAR_BLOCK or not block.strip(b"\0"):
        return False
    try:
        stated = tarfile.nti(block[148:156])  # type: ignore[attr-defined]
    except tarfile.TarError:
        return False
    return stated in tarfile.calc_chksums(block)  # type: ignore[attr-defined]


class _TarStream:
    """What tarfile reads from: forwards only, never much at a time, and the last block can be looked at again."""

    def __init__(self, source: BinaryIO, most: int) -> None:
        self._source = source
        self._seekable = source.seekable()
        self._most = most
        self._at = 0
        self.last = b""

    def read(self, size: int) -> bytes:
        if size > self._most:
            raise tarfile.ReadError("a header of it says that it is immensely long")
        if self._seekable:  # those who read a member have moved it
            self._source.seek(self._at)
        self.last = self._source.read(size)
        self._at += len(self.last)
        if len(self.last) < size and (self.last or size != _TAR_BLOCK):
            raise EOFError("the archive ends before its end: it is cut off")
        return self.last

    def rest(self) -> Iterator[bytes]:
        """What follows the last block."""
        if self._seekable:
            self._source.seek(self._at)
        while block := self._source.read(_COPY_BLOCK):
            yield block

    def tell(self) -> int:
        return self._at

    def seek(self, position: int) -> None:
        if position < self._at:
            raise tarfile.ReadError("a header of it says that it has a negative length")
        if self._seekable:
            self._at = position
        while self._at < position and self.read(min(position - self._at, _COPY_BLOCK)):
            pass


def _tar_members(path: Path, reader: BinaryIO, layers: int, meter: Meter) -> Generator[Path]:
    seekable = reader.seekable()
    stream = _TarStream(reader, meter.limits.listing)
    with tarfile.open(fileobj=cast("Any", stream), mode="r:") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            if not info.isreg() or not _counts(info.name):
                continue
            whole = not info.issparse()
            if seekable and whole:
                offset, size = info.offset_data, info.size
                yield Member.of(path, info.name, layers, meter, partial(_slice, reader, offset, size))
                continue
            contents = cast("BinaryIO", archive.extractfile(info))
            with _spooled(contents if whole else counted(contents, meter), path, meter.limits) as (spool, size):
                yield Member.of(path, info.name, layers, meter, partial(_slice, spool, 0, size))
        _check_end(stream)


def _check_end(stream: _TarStream) -> None:
    """Refuse a tar that tarfile has left for another reason than its end: blocks of zeros, and nothing behind them."""
    if len(stream.last) != _TAR_BLOCK:
        raise EOFError("the archive has no end: it is cut off")
    for block in chain((stream.last,), stream.rest()):
        if block.strip(b"\0"):
            raise tarfile.ReadError("something that is no file of the archive stands in it or behind it")


# --- zip


def _zip_members(path: Path, reader: BinaryIO, layers: int, meter: Meter) -> Generator[Path]:
    """The members of a zip; `path` itself when it is an office document."""
    if not reader.seekable():
        with _spooled(reader, path, meter.limits) as (spool, _):
            yield from _zip_members(path, spool, layers, meter)
        return
    if _listing_size(reader) > meter.limits.listing:
        raise zipfile.BadZipFile("it lists far too many files")
    with zipfile.ZipFile(reader) as archive:
        entries = archive.infolist()
        if _is_document(archive, entries):
            yield path
            return
        for info in entries:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or kind not in (0, stat.S_IFREG) or not _counts(info.filename):
                continue
            if info.flag_bits & 1:
                raise AdapterError(f"{path}: {info.filename} is encrypted; unpack it first")

            def content(info: zipfile.ZipInfo = info) -> BinaryIO:
                return counted(cast("BinaryIO", archive.open(info)), meter)

            yield Member.of(path, info.filename, layers, meter, content)


def _is_document(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> bool:
    """Whether a zip is an office document: Office Open XML [ECMA-376 part 2] or OpenDocument [part 2, section 3.3]."""
    if any(info.filename == "[Content_Types].xml" for info in entries[:1000]):
        return True
    if not entries or entries[0].filename != "mimetype" or entries[0].file_size > 100:
        return False
    with archive.open(entries[0]) as file:
        return file.read(100).startswith(b"application/vnd.oasis.opendocument")


_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_END_64_MARK = b"PK\x06\x06"


def _listing_size(file: BinaryIO) -> int:
    """How long the list of a zip's members says that it is; zipfile would read it whole, whatever that is."""
    length = file.seek(0, os.SEEK_END)
    start = max(length - (1 << 16) - _END.size - _LOCATOR.size - _END_64.size, 0)
    file.seek(start)
    tail = file.read(length - start)
    file.seek(0)
    sizes = list(_sizes(tail, _END_MARK, _END, 5))
    if not sizes:
        raise zipfile.BadZipFile("the list of its files is missing: it is cut off")
    sizes += _sizes(tail, _END_64_MARK, _END_64, 8)
    # a size of all ones stands for: see the 64-bit record
    return max((size for size in sizes if size != 0xFFFFFFFF), default=0)


def _sizes(tail: bytes, mark: bytes, record: struct.Struct, field: int) -> Iterator[int]:
    for found in re.finditer(re.escape(mark), tail):
        if found.start() + record.size <= len(tail):
            yield record.unpack_from(tail, found.start())[field]
