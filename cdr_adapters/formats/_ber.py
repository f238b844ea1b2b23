"""BER elements of an ASN.1 type, read by tables that come from the ASN.1 text itself.

asn1tools compiles the text; `reader_of` turns a compiled type into a function that reads an element's contents. Unlike
asn1tools' own decoder it passes over unknown members wherever they stand, and takes a third of the time
(docs/adr/0005-ber.md); both give the same values (a test holds them to it).

Bounds: nothing recurses deeper than the type does, whatever the data says; every length must lie within what surrounds
it; indefinite lengths nest at most `MAX_DEPTH` deep; integers have at most eight octets. After ITU-T X.690.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

MAX_DEPTH = 32
"""How deep elements of indefinite length may nest."""

_MAX_LENGTH_OCTETS = 4
_MAX_TAG_OCTETS = 4
_MAX_INTEGER_OCTETS = 8
_CONSTRUCTED = 0x20
_SEGMENT = 0x04

Reader: TypeAlias = Callable[[bytes, int, int], Any]
"""Reads the contents of one element: the data, where the contents begin, where they end."""


class BerError(ValueError):
    """The data is no BER of its type; the message says why, without any of the data."""


def element(data: bytes, at: int, end: int) -> tuple[int, int, int, int]:
    """The element at `at`: its tag (identifier octets as a number), where its contents begin and end, where it ends.

    Raises:
        BerError: it is cut off, says that it is longer than `end`, or is nested too deep.
    """
    tag, start, length = header(data, at, end)
    if length is None:
        contents_end = end_of_contents(data, start, end)
        return tag, start, contents_end, contents_end + 2
    stop = start + length
    if stop > end:
        raise BerError("an element is longer than what it stands in")
    return tag, start, stop, stop


def header(data: bytes, at: int, end: int) -> tuple[int, int, int | None]:
    """Tag, start of contents, and length of the element at `at`; None for an indefinite length.

    Raises:
        BerError: the header is cut off, or no header.
    """
    if at + 2 > end:
        raise BerError("an element is cut off")
    tag = data[at]
    at += 1
    if tag & 0x1F == 0x1F:
        for _ in range(_MAX_TAG_OCTETS):
            octet = data[at] if at < end else 0x80
            tag = tag << 8 | octet
            at += 1
            if octet < 0x80:
                break
        else:
            raise BerError("a tag is too long")
        if at >= end:
            raise BerError("an element is cut off")
    length = data[at]
    at += 1
    if length < 0x80:
        return tag, at, length
    if length == 0x80:
        if not _is_constructed(tag):
            raise BerError("a primitive element has an indefinite length")
        return tag, at, None
    octets = length & 0x7F
    if octets > _MAX_LENGTH_OCTETS:
        raise BerError("a length is too long")
    if at + octets > end:
        raise BerError("an element is cut off")
    return tag, at + octets, int.from_bytes(data[at : at + octets], "big")


def _is_constructed(tag: int) -> bool:
    while tag > 0xFF:
        tag >>= 8
    return bool(tag & _CONSTRUCTED)


def end_of_contents(data: bytes, at: int, end: int) -> int:
    """Where the end-of-contents octets of the element stand whose contents, of indefinite length, begin at `at`.

    Raises:
        BerError: there are none before `end`, or elements nest deeper than `MAX_DEPTH`.
    """
    depth = 1
    while True:
        tag, start, length = header(data, at, end)
        if length is None:
            depth += 1
            if depth > MAX_DEPTH:
                raise BerError("elements are nested too deep")
            at = start
        elif tag == 0:
            if length:
                raise BerError("end-of-contents octets with contents")
            depth -= 1
            if not depth:
                return at
            at = start
        else:
            at = start + length
            if at > end:
                raise BerError("an element is longer than what it stands in")


def _integer(data: bytes, at: int, end: int) -> int:
    if not 0 < end - at <= _MAX_INTEGER_OCTETS:
        raise BerError("an integer of no or of too many octets")
    return int.from_bytes(data[at:end], "big", signed=True)


def _octets(data: bytes, at: int, end: int) -> bytes:
    return data[at:end]


def _segments(whole: Reader) -> Reader:
    """A string in pieces (X.690 8.7.3): its contents are octet strings, here one level of them."""

    def read(data: bytes, at: int, end: int) -> Any:
        pieces = []
        while at < end:
            tag, start, stop, at = element(data, at, end)
            if tag != _SEGMENT:
                raise BerError("a string in pieces that are no octet strings")
            pieces.append(data[start:stop])
        joined = b"".join(pieces)
        return whole(joined, 0, len(joined))

    return read


def _text(encoding: str) -> Reader:
    def read(data: bytes, at: int, end: int) -> str:
        try:
            return data[at:end].decode(encoding)
        except UnicodeDecodeError:
            raise BerError(f"a text that is not {encoding}") from None

    return read


def _enumerated(names: Mapping[int, str]) -> Reader:
    def read(data: bytes, at: int, end: int) -> str | None:
        return names.get(_integer(data, at, end))

    return read


Table: TypeAlias = Mapping[int, tuple[str, Reader]]
"""Members or alternatives of a type by their tag: name, and what reads their contents."""


def members(table: Table) -> Reader:
    """What reads a SET or SEQUENCE: a dict of the members that the table knows; all others are passed over."""
    find = table.get

    def read(data: bytes, at: int, end: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            while at < end:
                # what `element` does, in place for short tags and lengths: most of a file's time is spent here
                begin = at
                tag = data[at]
                length = data[at + 1]
                at += 2
                if tag & 0x1F == 0x1F:
                    tag = tag << 8 | length
                    length = data[at]
                    at += 1
                    if tag & 0x80:
                        tag = tag << 8 | length
                        length = 0xFF if length & 0x80 else data[at]
                        at += 1
                if length > 0x7F:
                    tag, start, stop, at = element(data, begin, end)
                else:
                    start = at
                    stop = at = start + length
                    if stop > end:
                        raise BerError("an element is longer than what it stands in")
                member = find(tag)
                if member is not None:
                    found[member[0]] = member[1](data, start, stop)
        except IndexError:
            raise BerError("an element is cut off") from None
        return found

    return read


def _choice(table: Table) -> Reader:
    """What reads an element that is a CHOICE: name and value of the alternative, None for one that isn't known."""

    def read(data: bytes, at: int, end: int) -> tuple[str, Any] | None:
        tag, start, stop, after = element(data, at, end)
        if after != end:
            raise BerError("something stands behind the alternative of a choice")
        found = table.get(tag)
        return None if found is None else (found[0], found[1](data, start, stop))

    return read


def _list_of_choices(table: Table) -> Reader:
    read_one = _choice(table)

    def read(data: bytes, at: int, end: int) -> list[Any]:
        found = []
        while at < end:
            after = element(data, at, end)[3]
            found.append(read_one(data, at, after))
            at = after
        return found

    return read


def _list_of_members(tag: int, table: Table) -> Reader:
    """A SEQUENCE OF SEQUENCE; a single one without the list around it, as earlier releases had it, is a list of one."""
    read_one = members(table)

    def read(data: bytes, at: int, end: int) -> list[Any]:
        if at < end and element(data, at, end)[0] in table:
            return [read_one(data, at, end)]
        found = []
        while at < end:
            of, start, stop, at = element(data, at, end)
            if of != tag:
                raise BerError("an element of a list has the wrong tag")
            found.append(read_one(data, start, stop))
        return found

    return read


def table_of(compiled: list[Any], instead: Mapping[str, Reader], wanted: frozenset[str] | None) -> Table:
    """The table of compiled members or alternatives.

    Args:
        compiled: asn1tools' compiled members.
        instead: what reads the contents of members of these names, in place of what their type says.
        wanted: which members to read; None for all.
    """
    table: dict[int, tuple[str, Reader]] = {}
    for member in compiled:
        if wanted is not None and member.name not in wanted:
            continue
        reader = instead.get(member.name) or reader_of(member)
        table[int.from_bytes(member.tag, "big")] = (member.name, reader)
        if (in_pieces := getattr(member, "constructed_tag", None)) is not None:
            table[int.from_bytes(in_pieces, "big")] = (member.name, _segments(reader))
    return table


def reader_of(compiled: Any) -> Reader:
    """What reads the contents of elements of a compiled type.

    Raises:
        TypeError: a type that no table needs yet.
    """
    from asn1tools.codecs import ber

    match compiled:
        case ber.Integer():
            return _integer
        case ber.Enumerated():
            return _enumerated(compiled.value_to_data)
        case ber.OctetString():
            return _octets
        case ber.StringType():
            return _text(compiled.ENCODING)
        case ber.Sequence() | ber.Set():
            return members(table_of(compiled.root_members, {}, None))
        case ber.Choice():
            return _choice(table_of(compiled.members, {}, None))
        case ber.ExplicitTag():
            return reader_of(compiled.inner)
        case ber.SequenceOf() | ber.SetOf():
            one = compiled.element_type
            if isinstance(one, ber.Choice):
                return _list_of_choices(table_of(one.members, {}, None))
            return _list_of_members(int.from_bytes(one.tag, "big"), table_of(one.root_members, {}, None))
        case _:
            raise TypeError(f"no reader for {type(compiled).__name__}")
