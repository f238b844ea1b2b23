"""The file of a bundle: a ZIP archive that any tool opens, of which every byte is determined by its members.

Members are stored uncompressed, in the order given, without dates and extras (APPNOTE 6.3.10, 4.3.7 to 4.3.16). So an
archive can be made again from what was read of it, and whatever differs is broken; where a member's content is, its
CRC-32 tells which byte. Reading never raises: what can't be read is damage with a place.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<4sHHHHIIH")
_VERSION, _MIDNIGHT, _DAY = 20, 0, 0x21  # 2.0; 00:00 on 1 January 1980
_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Damage:
    """Broken bytes: from `offset` up to `end` in the file, and what they belong to."""

    offset: int
    end: int
    what: str


@dataclass(frozen=True, slots=True)
class Container:
    """What a file holds, and what of it is broken."""

    members: Mapping[str, bytes]
    damage: tuple[Damage, ...]


def write(members: Mapping[str, bytes]) -> bytes:
    """The archive of these members, in their order."""
    return _write([(name.encode(), content, zlib.crc32(content)) for name, content in members.items()])


def read(data: bytes, known: Collection[str] = ()) -> Container:
    """The members of an archive that `write` made, and every place where it is not what `write` makes.

    A name stands twice; where the two differ, that which is `known` is believed.
    """
    names = {name.encode() for name in known}
    readings = (_by_directory(data), _in_sequence(data))
    found, rebuilt = min(
        ((entries, _write(entries)) for entries in readings),
        key=lambda pair: (not pair[0], _differences(data, pair[1]), sum(name not in names for name, _, _ in pair[0])),
    )
    if not found:
        return Container({}, (Damage(0, len(data), "no member of an archive can be read"),))
    return Container(
        {name.decode("utf-8", "replace"): content for name, content, _ in found},
        tuple(_damage(data, rebuilt, found)),
    )


_Entry = tuple[bytes, bytes, int]
"""A member's name, its content, and the content's CRC-32."""


def _write(entries: Iterable[_Entry]) -> bytes:
    body, directory, count = bytearray(), bytearray(), 0
    for name, content, crc in entries:
        size, offset = len(content), len(body)
        body += _LOCAL.pack(b"PK\3\4", _VERSION, 0x800, 0, _MIDNIGHT, _DAY, crc, size, size, len(name), 0)
        body += name + content
        directory += _CENTRAL.pack(
            b"PK\1\2", _VERSION, _VERSION, 0x800, 0, _MIDNIGHT, _DAY, crc, size, size, len(name), 0, 0, 0, 0, 0, offset
        )
        directory += name
        count += 1
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def _by_directory(data: bytes) -> list[_Entry]:
    """The members by the directory at the end."""
    place = len(data) - _END.size
    if place < 0:
        return []
    fields = _END.unpack_from(data, place)
    at: int = fields[6]
    entries: list[_Entry] = []
    # Not by the number of entries, which may be what is broken: the directory ends where its end begins.
    while at + _CENTRAL.size <= place and len(entries) < 1000:
        size, name_size, offset = *_CENTRAL.unpack_from(data, at)[9:11], _CENTRAL.unpack_from(data, at)[16]
        name = data[at + _CENTRAL.size : at + _CENTRAL.size + name_size]
        start = offset + _LOCAL.size + name_size
        if start + size > len(data):
            return []
        content = data[start : start + size]
        entries.append((name, content, zlib.crc32(content)))
        at += _CENTRAL.size + name_size
    return entries


def _in_sequence(data: bytes) -> list[_Entry]:
    """The members one after the other, each by its own header."""
    at, entries = 0, list[_Entry]()
    while at + _LOCAL.size <= len(data) and data[at + 2 : at + 4] != b"\1\2" and len(entries) < 1000:
        size, name_size = _LOCAL.unpack_from(data, at)[8:10]
        start = at + _LOCAL.size + name_size
        if start + size > len(data):
            return entries
        content = data[start : start + size]
        entries.append((data[at + _LOCAL.size : start], content, zlib.crc32(content)))
        at = start + size
    return entries


def _differences(data: bytes, rebuilt: bytes) -> int:
    if data == rebuilt:
        return 0
    short = min(len(data), len(rebuilt))
    return abs(len(data) - len(rebuilt)) + sum(a != b for a, b in zip(data[:short], rebuilt[:short], strict=True))


def _damage(data: bytes, rebuilt: bytes, entries: list[_Entry]) -> Iterable[Damage]:
    if data == rebuilt:
        return
    places = _Places(entries)
    short = min(len(data), len(rebuilt))
    wrong = {at for at in range(short) if data[at] != rebuilt[at]}
    for number, (_, content, crc) in enumerate(entries):
        local, central = places.crc_fields(number)
        stored = data[local : local + 4], data[central : central + 4]
        if stored[0] == stored[1] and stored[0] != crc.to_bytes(4, "little"):
            # Both headers agree against the content: the content is what is broken.
            wrong.difference_update(range(local, local + 4), range(central, central + 4))
            start = places.content(number)
            byte = broken_byte(content, int.from_bytes(stored[0], "little"))
            name = places.name(number)
            if byte is None:
                yield Damage(start, start + len(content), f"several bytes of {name}")
            else:
                yield Damage(start + byte, start + byte + 1, f"byte {byte} of {name}")
    for shown, at in enumerate(sorted(wrong)):
        if shown == _MOST_NAMED:
            yield Damage(at, short, "and more")
            break
        yield Damage(at, at + 1, places.of(at))
    if len(data) != len(rebuilt):
        what = "the file is longer than its members" if len(data) > len(rebuilt) else "the end of the file is missing"
        yield Damage(short, max(len(data), len(rebuilt)), what)


class _Places:
    """What lies where in an archive of these members."""

    def __init__(self, entries: list[_Entry]) -> None:
        self._entries = entries
        self._local, at = [], 0
        for name, content, _ in entries:
            self._local.append(at)
            at += _LOCAL.size + len(name) + len(content)
        self._central = []
        for name, _, _ in entries:
            self._central.append(at)
            at += _CENTRAL.size + len(name)
        self._end = at

    def name(self, number: int) -> str:
        return self._entries[number][0].decode("utf-8", "replace")

    def content(self, number: int) -> int:
        return self._local[number] + _LOCAL.size + len(self._entries[number][0])

    def crc_fields(self, number: int) -> tuple[int, int]:
        return self._local[number] + 14, self._central[number] + 16

    def of(self, at: int) -> str:
        if at >= self._end:
            return f"byte {at - self._end} of the end of the directory"
        for number in reversed(range(len(self._entries))):
            if at >= self._central[number]:
                return f"byte {at - self._central[number]} of the directory's entry of {self.name(number)}"
        for number in reversed(range(len(self._entries))):
            if at >= self.content(number):
                return f"byte {at - self.content(number)} of {self.name(number)}"
            if at >= self._local[number]:
                return f"byte {at - self._local[number]} of the header of {self.name(number)}"
        return f"byte {at}"


def broken_byte(content: bytes, crc: int) -> int | None:
    """Which one byte of `content` must be another for its CRC-32 to be `crc`; None when no single one explains it.

    CRC-32 is linear: the difference of two checksums depends on the difference of the contents alone, and that of a
    single byte is found by running the register backwards from the end until only one byte of it is left.
    """
    register = zlib.crc32(content) ^ crc
    for back in range(len(content)):
        if register in _SINGLE:
            return len(content) - 1 - back
        register = _backwards(register)
    return None


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    return table


_TABLE: Final = _table()
_SINGLE: Final = frozenset(_TABLE[1:])
"""What the register holds after one differing byte at the very end."""
_BY_TOP: Final = {value >> 24: index for index, value in enumerate(_TABLE)}


def _backwards(register: int) -> int:
    """The register one byte (of no difference) earlier."""
    index = _BY_TOP[register >> 24]
    return ((register ^ _TABLE[index]) << 8 | index) & 0xFFFFFFFF
