"""The bytes of a segment file (ADR 0003). Pure: rows in, pieces of bytes out; bytes in, a checked footer out.

    page 0      what this file is, as text
    sections    each beginning on a page of 4096 bytes and filled up to one, all integers little-endian:
      key            u64, ascending: day in segment (5 bits), pseudonym (upper 32 bits), ms of the day (27 bits)
      first          u64: the first key of every page of `key`; held in memory by the reader
      rest           packed records, one per key; fields and widths as the footer says
      translated_at  u32, ascending: positions of the rows that have a translated number
      translated     16 bytes each: those numbers, encrypted under the key of the row's day
      dictionary     sealed JSON: {"routes": [[trunk, address], ...], "sources": [...]}
    sums        u32 CRC-32 of every page before it
    footer      JSON: version, counts, times, sections, SHA-256 of sums
    trailer     SHA-256 of the footer (32 bytes), its length (u32), version (u32), magic (8 bytes)

So the trailer vouches for the footer, the footer for the sums, the sums for every page: no byte is used unchecked, and
a lookup checks only the pages that it touches. CRC-32 finds accidents, not forgery: who can write here can do anything.

Refuses other versions, torn files, and whatever does not add up.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.index.errors import IndexCorruptError, UnknownVersionError
from agent.index.keys import U64, Keys
from agent.index.layout import DAY_MS, KEYS_PER_PAGE, PAGE, PERIOD_DAYS, padded
from agent.index.manifest import SegmentEntry
from agent.index.rows import Route, Rows

VERSION: Final = 1
MAGIC: Final = b"hopbkseg"
TRAILER: Final = struct.Struct("<32sII8s")
SECTIONS: Final = ("key", "first", "rest", "translated_at", "translated", "dictionary")
REST_FIELDS: Final = ("tail", "span", "calling", "call_ref", "ingress", "egress", "row", "source", "flags")

_PREAMBLE = b"hopback segment, version 1\nformat: docs/adr/0003-index-format.md\n"
_WIDTHS = {"|u1": "B", "<u2": "H", "<u4": "I", "<u8": "Q"}
_MOST_ROWS = 2**31
_KEY_END = b"\xff"


@dataclass(frozen=True, slots=True)
class Footer:
    """What a segment says of itself.

    Attributes:
        rows, first_day, earliest_ms, latest_ms, longest_ms: as in `SegmentEntry`; `first_day` is day 0 of the keys.
        offsets, sizes: begin and length in bytes of every section.
        rest: field names and numpy types of the packed records.
        pages: pages that `sums` vouches for. sums_sha256: digest of `sums`, in hex.
    """

    rows: int
    first_day: int
    earliest_ms: int
    latest_ms: int
    longest_ms: int
    offsets: dict[str, int]
    sizes: dict[str, int]
    rest: tuple[tuple[str, str], ...]
    pages: int
    sums_sha256: str

    def rest_dtype(self) -> np.dtype[Any]:
        """The packed records as numpy sees them."""
        return np.dtype(list(self.rest))

    def rest_struct(self) -> struct.Struct:
        """The packed records as struct sees them."""
        return struct.Struct("<" + "".join(_WIDTHS[kind] for _, kind in self.rest))


def _narrow(column: npt.NDArray[Any], *widths: str) -> npt.NDArray[Any]:
    """The column in the first of these types that holds its greatest value."""
    greatest = int(column.max()) if len(column) else 0
    kind = next(w for w in widths if greatest <= np.iinfo(np.dtype(w)).max)
    return column.astype(kind)


def periods(rows: Rows) -> Iterator[tuple[int, Rows]]:
    """The rows split by the periods that segments have, each with the period's first day."""
    first_days = rows.earliest // DAY_MS // PERIOD_DAYS * PERIOD_DAYS
    for first_day in np.unique(first_days).tolist():
        chosen = np.flatnonzero(first_days == first_day)
        yield first_day, rows if len(chosen) == len(rows) else rows.take(chosen)


def _pseudonymise(rows: Rows, days: npt.NDArray[np.int64], keys: Keys) -> tuple[U64, U64]:
    called, calling = np.empty(len(rows), np.uint64), np.empty(len(rows), np.uint64)
    for day in np.unique(days).tolist():
        at = np.flatnonzero(days == day)
        cipher = keys.day(day)
        called[at] = cipher.called_column(rows.called[at])
        calling[at] = cipher.calling_column(rows.calling[at])
    return called, calling


def _seal_translated(came_in: U64, days: npt.NDArray[np.int64], keys: Keys) -> bytes:
    sealed = np.empty((len(came_in), 16), np.uint8)
    for day in np.unique(days).tolist():
        at = np.flatnonzero(days == day)
        sealed[at] = np.frombuffer(keys.day(day).seal_numbers(came_in[at]), np.uint8).reshape(-1, 16)
    return sealed.tobytes()


def encode(
    name: str, first_day: int, rows: Rows, routes: list[Route], source: str, keys: Keys
) -> tuple[SegmentEntry, list[bytes]]:
    """A segment file's bytes in pieces, and its line in the manifest; `rows` are some, and lie in one period."""
    if not 0 < len(rows) < _MOST_ROWS:
        raise ValueError(f"a segment holds 1 to {_MOST_ROWS - 1} rows, not {len(rows)}")
    days = rows.earliest // DAY_MS
    called, calling = _pseudonymise(rows, days, keys)
    key = (
        ((days - first_day).astype(np.uint64) << np.uint64(59))
        | ((called >> np.uint64(32)) << np.uint64(27))
        | (rows.earliest - days * DAY_MS).astype(np.uint64)
    )
    order = np.argsort(key, kind="stable")
    key, rows, days = key[order], rows.take(order), days[order]
    used, codes = np.unique(np.concatenate([rows.ingress, rows.egress]), return_inverse=True)
    columns: dict[str, npt.NDArray[Any]] = {
        "tail": called[order].astype("<u4"),
        "span": (rows.latest - rows.earliest).astype("<u4"),
        "calling": calling[order].astype("<u8"),
        "call_ref": rows.call_ref.astype("<u8"),
        "ingress": _narrow(codes[: len(rows)], "<u2", "<u4"),
        "egress": _narrow(codes[len(rows) :], "<u2", "<u4"),
        "row": _narrow(rows.row, "<u4", "<u8"),
        "source": np.zeros(len(rows), "<u2"),
        "flags": rows.flags,
    }
    rest_fields = [(field, columns[field].dtype.str) for field in REST_FIELDS]
    rest = np.empty(len(rows), np.dtype(rest_fields))
    for field in REST_FIELDS:
        rest[field] = columns[field]
    translated_at = np.flatnonzero(rows.came_in)
    sections = {
        "key": key.astype("<u8").tobytes(),
        "first": key[::KEYS_PER_PAGE].astype("<u8").tobytes(),
        "rest": rest.tobytes(),
        "translated_at": translated_at.astype("<u4").tobytes(),
        "translated": _seal_translated(rows.came_in[translated_at], days[translated_at], keys),
        "dictionary": keys.seal_text(
            json.dumps({"routes": [routes[code] for code in used.tolist()], "sources": [source]}).encode()
        ),
    }
    earliest_ms, latest_ms = int(rows.earliest.min()), int(rows.earliest.max())
    longest_ms = int((rows.latest - rows.earliest).max())
    about = {
        "rows": len(rows),
        "first_day": first_day,
        "earliest_ms": earliest_ms,
        "latest_ms": latest_ms,
        "longest_ms": longest_ms,
        "rest": rest_fields,
    }
    pieces, digest = _assemble(sections, about)
    size = sum(map(len, pieces))
    return SegmentEntry(name, size, digest, len(rows), earliest_ms, latest_ms, longest_ms), pieces


def _assemble(sections: dict[str, bytes], about: dict[str, Any]) -> tuple[list[bytes], str]:
    pieces = [_PREAMBLE.ljust(PAGE, b"\0")]
    offset, offsets = PAGE, {}
    for section in SECTIONS:
        data = sections[section]
        offsets[section] = offset
        fill = _KEY_END if section == "key" else b"\0"
        pieces.append(data + fill * (padded(len(data)) - len(data)))
        offset += len(pieces[-1])
    sums = b"".join(
        zlib.crc32(memoryview(piece)[at : at + PAGE]).to_bytes(4, "little")
        for piece in pieces
        for at in range(0, len(piece), PAGE)
    )
    footer = json.dumps(
        {
            "format": "hopback segment",
            "version": VERSION,
            **about,
            "sections": {s: {"offset": offsets[s], "size": len(sections[s])} for s in SECTIONS},
            "pages": offset // PAGE,
            "sums_sha256": hashlib.sha256(sums).hexdigest(),
        }
    ).encode()
    digest = hashlib.sha256(footer)
    return [*pieces, sums, footer, TRAILER.pack(digest.digest(), len(footer), VERSION, MAGIC)], digest.hexdigest()


def decode_footer(data: memoryview, entry: SegmentEntry, path: Path) -> tuple[Footer, bytes]:
    """The footer of a segment file and its sums, both checked; `path` is for messages.

    Raises:
        UnknownVersionError: another format version.
        IndexCorruptError: torn, altered, or not the file that the manifest names.
    """
    if len(data) < PAGE + TRAILER.size:
        raise IndexCorruptError(path, f"torn: {len(data)} bytes of {entry.size}")
    digest, length, version, magic = TRAILER.unpack(data[-TRAILER.size :])
    if magic != MAGIC:
        raise IndexCorruptError(path, "torn or no segment: it does not end as one")
    if version != VERSION:
        raise UnknownVersionError(path, version, VERSION)
    if len(data) != entry.size:
        raise IndexCorruptError(path, f"torn: {len(data)} bytes, but the manifest says {entry.size}")
    end = len(data) - TRAILER.size
    text = bytes(data[max(0, end - length) : end])
    if hashlib.sha256(text).digest() != digest:
        raise IndexCorruptError(path, "altered: the checksum of its footer does not fit")
    if digest.hex() != entry.sha256:
        raise IndexCorruptError(path, "another file than the one that the manifest names")
    try:
        footer = _footer(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise IndexCorruptError(path, f"its footer is not what version {VERSION} says ({error!r})") from None
    sums = bytes(data[footer.pages * PAGE : end - length])
    if hashlib.sha256(sums).hexdigest() != footer.sums_sha256 or len(sums) != 4 * footer.pages:
        raise IndexCorruptError(path, "altered: the digest of its page checksums does not fit")
    return footer, sums


def _footer(said: dict[str, Any]) -> Footer:
    rest = tuple((str(name), str(kind)) for name, kind in said["rest"])
    if tuple(name for name, _ in rest) != REST_FIELDS or not {kind for _, kind in rest} <= set(_WIDTHS):
        raise ValueError("unknown fields")
    return Footer(
        rows=int(said["rows"]),
        first_day=int(said["first_day"]),
        earliest_ms=int(said["earliest_ms"]),
        latest_ms=int(said["latest_ms"]),
        longest_ms=int(said["longest_ms"]),
        offsets={section: int(said["sections"][section]["offset"]) for section in SECTIONS},
        sizes={section: int(said["sections"][section]["size"]) for section in SECTIONS},
        rest=rest,
        pages=int(said["pages"]),
        sums_sha256=str(said["sums_sha256"]),
    )
