"""Records in an XML file, one element each, in bounded memory, however the file ends.

A file is searched for the elements that are records, and each is parsed on its own: one that is torn (the file is still
being written, or the disk was full) or malformed is a reject with the line where it begins, and the next one is read.
What comes before the first record is parsed as well: a document type definition that declares an entity is refused, so
that nothing ever expands or reaches out. No record is longer than `MAX_RECORD`, no element nested deeper than
`MAX_DEPTH`. Names of elements are taken without a namespace's prefix.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from cdr_adapters.raw import AdapterError
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.stream import read_blocks

MAX_RECORD = 1 << 20
"""Longest element that can be a record, in bytes."""
MAX_DEPTH = 32
_MAX_FIELDS = 2000
_BLOCK = 1 << 20
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding=[\"']([A-Za-z0-9_.-]{1,40})[\"']")


@dataclass(slots=True)
class Element:
    """An element with what is in it."""

    name: str
    attributes: Mapping[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Torn:
    """A record that can't be read, or bytes that are none."""

    line: int
    detail: str
    raw: str


class _RefusedError(Exception):
    """The parser met something that no record has."""


def _parsed(data: bytes, encoding: str) -> Element:
    """The element that `data` is.

    Raises:
        expat.ExpatError, _RefusedError: it is none, or one that goes beyond the limits.
    """
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    root = Element("", {})
    stack = [root]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) > MAX_DEPTH or count > _MAX_FIELDS:
            raise _RefusedError("too many elements, or nested too deep")
        element = Element(name.rpartition(":")[2], attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text += data

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.Parse(data, True)
    return root.children[0]


def _check_prolog(path: Path, prolog: bytes, encoding: str) -> None:
    """Refuse a document that declares entities."""

    def refuse(*_: object) -> None:
        raise _RefusedError("it declares entities, which no call record needs")

    parser = expat.ParserCreate(encoding)
    parser.EntityDeclHandler = refuse
    parser.UnparsedEntityDeclHandler = refuse
    try:
        parser.Parse(prolog, False)
    except expat.ExpatError:
        return  # a torn beginning; what follows shows itself record by record
    except _RefusedError as error:
        raise AdapterError(f"{path}: {error}") from None


def _encoding_of(path: Path, head: bytes, option: str | None) -> tuple[str, str | None]:
    """The encoding to parse with, and that to decode the file from first, if it isn't read by bytes."""
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-8", "utf-16"
    if option is not None:
        return "utf-8", option
    declared = _DECLARED.search(head[:1024])
    name = declared[1].decode("ascii").lower() if declared else "utf-8"
    if name in ("utf-8", "us-ascii", "iso-8859-1"):
        return name, None
    try:
        "".encode(name)
    except LookupError:
        raise AdapterError(f"{path}: its encoding {name!r} isn't known; set options.encoding") from None
    return "utf-8", name


def _decoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")
    yield decoder.decode(b"", True).encode("utf-8", "replace")


def xml_records(path: Path, tag: str, encoding: str | None = None) -> Iterator[tuple[int, Element] | Torn]:
    """The elements called `tag`, each with the line that it begins in, from 1.

    Raises:
        AdapterError: the file can't be read, declares entities, or its encoding isn't known.
    """
    blocks = read_blocks(path, _BLOCK)
    first = next(blocks, b"")
    parse_as, decode_as = _encoding_of(path, first, encoding)
    rest = _chained(first, blocks)
    scanner = _Scanner(path, tag, parse_as)
    for block in rest if decode_as is None else _decoded(rest, decode_as):
        yield from scanner.feed(block)
    yield from scanner.end()


def _chained(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from blocks


class _Scanner:
    """Finds records in a file's bytes as they come in."""

    def __init__(self, path: Path, tag: str, encoding: str) -> None:
        self._path = path
        self._encoding = encoding
        self._tag = tag
        name = re.escape(tag.encode())
        self._start = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?" + name + rb"(?=[\s/>])")
        self._tag_end = re.compile(rb"[^<>\"']*(?:\"[^\"<]*\"[^<>\"']*|'[^'<]*'[^<>\"']*)*>")
        self._close = re.compile(rb"</(?:[A-Za-z_][\w.-]*:)?" + name + rb"\s*>")
        self._data = b""
        self._line = 1
        self._begun = False

    def feed(self, block: bytes) -> Iterator[tuple[int, Element] | Torn]:
        """The records that are whole with this block."""
        self._data += block
        yield from self._records(last=False)

    def end(self) -> Iterator[tuple[int, Element] | Torn]:
        """What is left when no more comes."""
        yield from self._records(last=True)

    def _records(self, last: bool) -> Iterator[tuple[int, Element] | Torn]:
        data, at = self._data, 0
        while (start := self._start.search(data, at)) is not None:
            if not self._begun:
                self._begun = True
                _check_prolog(self._path, data[: start.start()], self._encoding)
            self._line += data.count(b"\n", at, start.start())
            at = start.start()
            end = self._end_of(data, start.end())
            following = self._start.search(data, start.end(), end if end > 0 else len(data))
            if following is not None:
                yield self._torn(data[at : following.start()], "the record isn't closed")
                end = following.start()
            elif end > 0:
                yield self._record(data[at:end])
            elif last or len(data) - at > MAX_RECORD:
                detail = "the record isn't closed: the file is truncated, or still being written"
                yield self._torn(data[at:], detail if last else "the record is too long")
                end = len(data) if last else at + MAX_RECORD
            else:
                break
            self._line += data.count(b"\n", at, end)
            at = end
        if start is None and not last:
            keep = max(at, len(data) - 4096)  # the beginning of a tag
            if not self._begun and len(data) > MAX_RECORD:
                raise AdapterError(f"{self._path}: no {self._tag} element in its first {MAX_RECORD} bytes")
            keep = keep if self._begun else at
            self._line += data.count(b"\n", at, keep)
            at = keep
        if last and not self._begun and data.strip():
            _check_prolog(self._path, data, self._encoding)
        self._data = b"" if last else data[at:]

    def _end_of(self, data: bytes, after_name: int) -> int:
        """Where the record ends that has its name up to `after_name`; 0 when it doesn't yet."""
        tag_end = self._tag_end.match(data, after_name, after_name + MAX_RECORD)
        if tag_end is not None and data[tag_end.end() - 2 : tag_end.end()] == b"/>":
            return tag_end.end()
        close = self._close.search(data, after_name, after_name + MAX_RECORD)
        return close.end() if close is not None else 0

    def _record(self, data: bytes) -> tuple[int, Element] | Torn:
        try:
            return self._line, _parsed(data, self._encoding)
        except expat.ExpatError as error:
            return self._torn(data, f"the record is no XML: {expat.ErrorString(error.code)}")
        except (_RefusedError, ValueError) as error:
            return self._torn(data, f"the record is refused: {error}")

    def _torn(self, data: bytes, detail: str) -> Torn:
        return Torn(self._line, detail, data[: 4 * RAW_LIMIT].decode("utf-8", "replace")[:RAW_LIMIT])
