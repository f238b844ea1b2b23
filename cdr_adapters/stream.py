"""Bytes and lines of a file, whatever it is packed with, in bounded memory.

Sees through compression (`compression`) and archives (`archives`). A line longer than `MAX_LINE` is cut; its reader
rejects it. Everything that goes wrong with a file is an `AdapterError` with the file's name.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from cdr_adapters.archives import opened
from cdr_adapters.raw import HEAD_SIZE, AdapterError, Head

MAX_LINE = 1 << 20
"""Longest line that can be a record, in bytes or in characters."""

_BLOCK = 1 << 20
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


def read_head(path: Path) -> Head:
    """The beginning of a file, or of the first file that isn't empty in an archive, for `identify`.

    Text that a byte order mark shows to be UTF-16 comes as UTF-8, so that it looks to `identify` as it does to readers.

    Raises:
        AdapterError: it can't be opened or unpacked.
    """
    with opened(path, beginning=True) as file:
        data = file.read(HEAD_SIZE + 1)
    complete = len(data) <= HEAD_SIZE
    if data[:2] in _UTF16_MARKS:
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        data = decoder.decode(data[:HEAD_SIZE], complete).encode("utf-8", "replace")
    return Head(path, data[:HEAD_SIZE], complete)


def read_blocks(path: Path, size: int = _BLOCK) -> Iterator[bytes]:
    """The unpacked bytes of a file, or of the only file in an archive, `size` at a time.

    Raises:
        AdapterError: it can't be opened, or read and unpacked to its end.
    """
    with opened(path) as file:
        while block := file.read(size):
            yield block


def read_text(path: Path, encoding: str = "utf-8", size: int = _BLOCK) -> Iterator[bytes]:
    """The file's text as UTF-8 without byte order mark; undecodable bytes of other encodings become U+FFFD.

    A UTF-16 byte order mark counts for more than `encoding`. Bytes of a UTF-8 file pass as they are, valid or not.

    Raises:
        AdapterError: it can't be read, or not in this encoding.
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
    try:
        yield decoder.decode(first).encode("utf-8", "replace")
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "replace")
        yield decoder.decode(b"", True).encode("utf-8", "replace")
    except UnicodeError as error:  # UTF-16 without a mark, or an encoding that replaces nothing
        raise AdapterError(f"{path}: its text is not {encoding}: {error}; see the option encoding") from None


@contextmanager
def filling(path: Path, encoding: str = "utf-8") -> Iterator[Callable[[memoryview], int]]:
    """The text that `read_text` gives, to be read into a buffer again and again.

    Gives a function that fills (part of) a buffer with what comes next and says how many bytes that were; 0 at the end.
    """
    with opened(path) as file:
        mark = file.peek(len(codecs.BOM_UTF8))
        if codecs.lookup(encoding).name == "utf-8" and mark[:2] not in _UTF16_MARKS:
            if mark.startswith(codecs.BOM_UTF8):
                file.read(len(codecs.BOM_UTF8))
            yield file.readinto
            return
    pieces = read_text(path, encoding)
    rest = memoryview(b"")

    def fill(buffer: memoryview) -> int:
        nonlocal rest
        while not rest:
            piece = next(pieces, None)
            if piece is None:
                return 0
            rest = memoryview(piece)
        count = min(len(rest), len(buffer))
        buffer[:count] = rest[:count]
        rest = rest[count:]
        return count

    yield fill


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
