"""Bytes and lines of a file, whatever it is compressed with, in bounded memory.

Understands gzip, bzip2 and xz by their first bytes, never by the file's name. A line longer than `MAX_LINE` is cut; its
reader rejects it. Everything that goes wrong with a file is an `AdapterError` with the file's name.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

from pydantic import AfterValidator

from cdr_adapters.raw import HEAD_SIZE, AdapterError, Head

MAX_LINE = 1 << 20
"""Longest line that can be a record, in bytes or in characters."""

_BLOCK = 1 << 20
_READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)  # unlike codecs.lookup, refuses the codecs that are no text encodings, such as zip
        codecs.getincrementaldecoder(name)
    except LookupError:
        raise ValueError(f"{name!r} is no text encoding: write a name such as 'utf-8', 'latin-1' or 'utf-16'") from None
    return name


Encoding = Annotated[str, AfterValidator(_check_encoding)]
"""The name of a text encoding that this Python knows."""


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        mark = file.read(6)
    if mark.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.open(path, "rb"))
    if mark.startswith(b"BZh"):
        return cast("BinaryIO", bz2.open(path, "rb"))
    if mark == b"\xfd7zXZ\x00":
        return cast("BinaryIO", lzma.open(path, "rb"))
    return path.open("rb")


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except _READ_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AdapterError(f"{path}: can't be read: {reason}") from None


def read_head(path: Path) -> Head:
    """The beginning of a file, for `identify`.

    Raises:
        AdapterError: it can't be opened or decompressed.
    """
    with _reported(path), _opened(path) as file:
        data = file.read(HEAD_SIZE + 1)
        return Head(path, data[:HEAD_SIZE], complete=len(data) <= HEAD_SIZE)


def read_blocks(path: Path, size: int = _BLOCK) -> Iterator[bytes]:
    """The file's decompressed bytes, `size` at a time.

    Raises:
        AdapterError: it can't be opened, read or decompressed to its end.
    """
    with _reported(path), _opened(path) as file:
        while block := file.read(size):
            yield block


def read_text(path: Path, encoding: str = "utf-8", size: int = _BLOCK) -> Iterator[bytes]:
    """The file's text as UTF-8 without byte order mark; undecodable bytes of other encodings become U+FFFD.

    A UTF-16 byte order mark counts for more than `encoding`. Bytes of a UTF-8 file pass as they are, valid or not.
    """
    blocks = read_blocks(path, size)
    first = next(blocks, b"")
    if first[:2] in _UTF16_MARKS:
        encoding = "utf-16"
    if codecs.lookup(encoding).name == "utf-8":
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from blocks
        return
    decoder = codecs.lookup(encoding).incrementaldecoder("replace")
    yield decoder.decode(first).encode("utf-8", "replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")
    yield decoder.decode(b"", True).encode("utf-8", "replace")


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """The file's lines with their numbers, from 1, without line ends; undecodable bytes become U+FFFD.

    A line of more than `MAX_LINE` characters comes cut to one more than that.
    """
    number = 1
    rest = b""
    for block in read_text(path, encoding):
        cut = block.rfind(b"\n")
        if cut < 0:
            rest = rest + block if len(rest) <= MAX_LINE else rest
            continue
        lines = _decoded(rest + block[:cut])
        rest = block[cut + 1 :]
        yield from enumerate(lines, number)
        number += len(lines)
    if rest:
        yield number, _decoded(rest)[0]


def _decoded(text: bytes) -> list[str]:
    """The lines of `text`, decoded together: one at a time would take longer than all that is done with them."""
    lines = text.decode("utf-8", "replace").split("\n")
    if b"\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    if len(text) > MAX_LINE:
        lines = [line[: MAX_LINE + 1] for line in lines]
    return lines
