"""The bytes of a segment file (ADR 0007). Pure: rows in, pieces of bytes out; bytes in, a checked footer out.

    page 0        what this file is, as text
    rows          pages as `agent.index.pages` says
    translated    pages of 204 positions (u32, ascending) and 204 numbers (16 bytes each, under the key of the day),
                  filled up with zeros, and the page's CRC-32 as that of pages of rows
    footer        histogram    u8 each: how many rows have keys that begin with 0, 1, 2, ...; 255: the header says
                  firsts       u32 each: the first position on every page of translated numbers
                  dictionary   sealed JSON: {"ingress": [[trunk, address], ...], "egress": [[trunk, address], ...],
                               "profiles": [[position in egress, span in ms, flags], ...]}
                  header       JSON: version, counts, times, sizes, SHA-256 of the CRCs of all pages
    trailer       SHA-256 of the footer (32 bytes), length of the header (u32) and of the footer (u64), version (u32),
                  magic (8 bytes)

A reader holds the histogram as running sums: they say between which two rows a key must lie, so that a search touches
one page. The trailer vouches for the footer; every page vouches for itself. CRC-32 finds accidents, not forgery: who
can write here can do anything.

Refuses other versions, torn files, and whatever does not add up.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.index import pages
from agent.index.errors import IndexCorruptError, UnknownVersionError
from agent.index.keys import U8
from agent.index.layout import PAGE
from agent.index.manifest import SegmentEntry
from agent.index.pages import U32, Packed
from agent.index.rows import Route

VERSION: Final = 2
MAGIC: Final = b"hopbkseg"
TRAILER: Final = struct.Struct("<32sIQI8s")
TRANSLATED_PER_PAGE: Final = 204
MOST_ROWS: Final = 2**31

_FIRST_PAGE = b"hopback segment, version 2\nformat: docs/adr/0007-index-at-the-limit.md\n".ljust(PAGE, b"\0")
_ROWS_PER_BUCKET = 6
_MOST_BUCKET_BITS = 24
_FULL = 255

Profile = tuple[int, int, int]
"""Position in the list of egress routes, span of the seizure interval in ms, flags."""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """What the codes of a segment's rows stand for."""

    ingress: list[Route]
    egress: list[Route]
    profiles: list[Profile]

    @property
    def ingress_bits(self) -> int:
        """How many of the lower bits of a code are the ingress."""
        return max(1, (len(self.ingress) - 1).bit_length())

    @property
    def bits(self) -> int:
        """How many bits a code has."""
        return self.ingress_bits + max(1, (len(self.profiles) - 1).bit_length())

    def encode(self) -> bytes:
        """As JSON."""
        said = {"ingress": self.ingress, "egress": self.egress, "profiles": self.profiles}
        return json.dumps(said, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Dictionary:
        """The inverse.

        Raises:
            ValueError, TypeError, KeyError: it is no dictionary.
        """
        said = json.loads(data)
        return cls(
            [(trunk, address) for trunk, address in said["ingress"]],
            [(trunk, address) for trunk, address in said["egress"]],
            [(int(egress), int(span), int(flags)) for egress, span, flags in said["profiles"]],
        )


@dataclass(frozen=True, slots=True)
class Content:
    """All that goes into a segment.

    Attributes:
        source: its name in the configuration. day: days since 1970-01-01. secret: `DayKeys.check` of its keys.
        rows: in order.
        dictionary: what the codes mean; sealed: the same, sealed under the day's key.
        translated_at, translated: positions of rows that have a translated number, ascending, and those numbers,
            encrypted, of shape (n, 16).
        earliest_ms, latest_ms: least and greatest earliest seizure time. longest_ms: the longest seizure interval.
    """

    source: str
    day: int
    secret: str
    rows: Packed
    dictionary: Dictionary
    sealed: bytes
    translated_at: U32
    translated: U8
    earliest_ms: int
    latest_ms: int
    longest_ms: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says of itself; see `Content`, and:

    Attributes:
        rows, pages: how many. rest: bytes of a row's rest. ingress_bits: of a code. salt: of the checksums.
        bucket_bits: bits of a key that choose a bucket of the histogram. crowded: counts of 255 and more by bucket.
        translated: how many rows have a translated number. dictionary: bytes of it.
        pages_sha256: digest, in hex, of the CRCs of all pages, in order.
    """

    source: str
    day: int
    secret: str
    rows: int
    pages: int
    rest: int
    ingress_bits: int
    salt: int
    bucket_bits: int
    crowded: dict[int, int]
    translated: int
    dictionary: int
    earliest_ms: int
    latest_ms: int
    longest_ms: int
    pages_sha256: str

    @property
    def translated_pages(self) -> int:
        """How many pages of translated numbers there are."""
        return -(-self.translated // TRANSLATED_PER_PAGE)

    @property
    def footer_at(self) -> int:
        """Where the footer begins."""
        return PAGE * (1 + self.pages + self.translated_pages)


@dataclass(frozen=True, slots=True)
class Footer:
    """A header and what is kept in memory besides: the histogram, the first positions, the sealed dictionary."""

    header: Header
    histogram: U8
    firsts: U32
    sealed: bytes

    def starts(self, out: npt.NDArray[np.uint32]) -> None:
        """Running sums of the histogram into `out`, which has one place more than there are buckets."""
        out[0] = 0
        if not self.header.crowded:
            np.cumsum(self.histogram, dtype=np.uint32, out=out[1:])
            return
        counts = self.histogram.astype(np.uint32)
        for bucket, count in self.header.crowded.items():
            counts[bucket] = count
        np.cumsum(counts, dtype=np.uint32, out=out[1:])


def bucket_bits(rows: int) -> int:
    """How many bits of a key choose a bucket, so that there are some six rows in each."""
    return min(max(1, round(math.log2(rows / _ROWS_PER_BUCKET))), _MOST_BUCKET_BITS)


def encode(name: str, content: Content, salt: int) -> tuple[SegmentEntry, list[Any]]:
    """A segment file's bytes in pieces, and its line in the manifest."""
    count = len(content.rows)
    if not 0 < count < MOST_ROWS:
        raise ValueError(f"a segment holds 1 to {MOST_ROWS - 1} rows, not {count}")
    rest = pages.rest_for(content.dictionary.bits)
    body = pages.encode(content.rows, rest, salt)
    translated = _translated_pages(content, len(body), salt)
    bits = bucket_bits(count)
    counts = pages.histogram(content.rows.key, bits)
    header = Header(
        source=content.source,
        day=content.day,
        secret=content.secret,
        rows=count,
        pages=len(body),
        rest=rest,
        ingress_bits=content.dictionary.ingress_bits,
        salt=salt,
        bucket_bits=bits,
        crowded={int(bucket): int(counts[bucket]) for bucket in np.flatnonzero(counts >= _FULL)},
        translated=len(content.translated_at),
        dictionary=len(content.sealed),
        earliest_ms=content.earliest_ms,
        latest_ms=content.latest_ms,
        longest_ms=content.longest_ms,
        pages_sha256=pages_digest(body, translated),
    )
    text = json.dumps({"format": "hopback segment", "version": VERSION, **asdict(header)}).encode()
    footer = b"".join(
        (
            np.minimum(counts, _FULL).astype(np.uint8).tobytes(),
            content.translated_at[::TRANSLATED_PER_PAGE].astype("<u4").tobytes(),
            content.sealed,
            text,
        )
    )
    digest = hashlib.sha256(footer)
    trailer = TRAILER.pack(digest.digest(), len(text), len(footer), VERSION, MAGIC)
    pieces = [_FIRST_PAGE, body.data.cast("B")]
    if len(translated):
        pieces.append(translated.data.cast("B"))
    pieces += [footer, trailer]
    entry = SegmentEntry(
        name=name,
        size=sum(map(len, pieces)),
        sha256=digest.hexdigest(),
        source=content.source,
        day=content.day,
        rows=count,
        earliest_ms=content.earliest_ms,
        latest_ms=content.latest_ms,
        longest_ms=content.longest_ms,
    )
    return entry, pieces


def _translated_pages(content: Content, before: int, salt: int) -> npt.NDArray[np.uint8]:
    count = len(content.translated_at)
    total = -(-count // TRANSLATED_PER_PAGE)
    out = np.zeros((total, PAGE), np.uint8)
    if not total:
        return out
    at = np.zeros(total * TRANSLATED_PER_PAGE, "<u4")
    at[:count] = content.translated_at
    sealed = np.zeros((total * TRANSLATED_PER_PAGE, 16), np.uint8)
    sealed[:count] = content.translated
    middle = 4 * TRANSLATED_PER_PAGE
    out[:, :middle] = at.view(np.uint8).reshape(total, -1)
    out[:, middle : middle + 16 * TRANSLATED_PER_PAGE] = sealed.reshape(total, -1)
    for number in range(total):
        pages.seal(out[number], before + number, salt)
    return out


def pages_digest(*parts: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of the checksums of all pages."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(np.ascontiguousarray(part[:, PAGE - pages.CRC :]).tobytes())
    return hasher.hexdigest()


def decode_footer(data: memoryview, entry: SegmentEntry, path: Path) -> Footer:
    """The footer of a segment file, checked; `path` is for messages.

    Raises:
        UnknownVersionError: another format version.
        IndexCorruptError: torn, altered, or not the file that the manifest names.
    """
    if len(data) < PAGE + TRAILER.size:
        raise IndexCorruptError(path, f"torn: {len(data)} bytes of {entry.size}")
    digest, text_length, length, version, magic = TRAILER.unpack(data[-TRAILER.size :])
    if magic != MAGIC:
        raise IndexCorruptError(path, "torn or no segment: it does not end as one")
    if version != VERSION:
        raise UnknownVersionError(path, version, VERSION)
    if len(data) != entry.size:
        raise IndexCorruptError(path, f"torn: {len(data)} bytes, but the manifest says {entry.size}")
    end = len(data) - TRAILER.size
    if not 0 < text_length <= length <= end - PAGE:
        raise IndexCorruptError(path, "altered: its trailer contradicts itself")
    if bytes(data[:PAGE]) != _FIRST_PAGE:
        raise IndexCorruptError(path, "altered: its first page is not what every segment begins with")
    footer = data[end - length : end]
    if hashlib.sha256(footer).digest() != digest:
        raise IndexCorruptError(path, "altered: the checksum of its footer does not fit")
    if digest.hex() != entry.sha256:
        raise IndexCorruptError(path, "another file than the one that the manifest names")
    try:
        header = _header(json.loads(bytes(footer[length - text_length :])))
        buckets = 1 << header.bucket_bits
        sizes = (buckets, 4 * header.translated_pages, header.dictionary, text_length)
        adds_up = sum(sizes) == length and header.footer_at == end - length
        _require(adds_up and _consistent(header, entry), "its sizes do not add up")
        firsts_at, sealed_at = buckets, buckets + sizes[1]
        histogram = np.frombuffer(footer[:buckets], np.uint8)
        firsts = np.frombuffer(bytes(footer[firsts_at:sealed_at]), "<u4")
        found = Footer(header, histogram, firsts, bytes(footer[sealed_at : sealed_at + header.dictionary]))
        full = np.flatnonzero(histogram == _FULL)
        total = int(histogram.sum(dtype=np.uint64)) - _FULL * len(full) + sum(header.crowded.values())
        adds_up = set(full.tolist()) == set(header.crowded) and total == header.rows
        _require(adds_up and min(header.crowded.values(), default=_FULL) >= _FULL, "its histogram does not add up")
    except (ValueError, TypeError, KeyError) as error:
        raise IndexCorruptError(path, f"its footer is not what version {VERSION} says ({error!r})") from None
    return found


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _header(said: dict[str, Any]) -> Header:
    numbers = {
        name: int(said[name])
        for name in [
            "day",
            "rows",
            "pages",
            "rest",
            "ingress_bits",
            "salt",
            "bucket_bits",
            "translated",
            "dictionary",
            "earliest_ms",
            "latest_ms",
            "longest_ms",
        ]
    }
    crowded = {int(bucket): int(count) for bucket, count in said["crowded"].items()}
    return Header(
        source=str(said["source"]),
        secret=str(said["secret"]),
        crowded=crowded,
        pages_sha256=str(said["pages_sha256"]),
        **numbers,
    )


def _consistent(header: Header, entry: SegmentEntry) -> bool:
    return (
        0 < header.rows < MOST_ROWS
        and header.pages == -(-header.rows // pages.shape(header.rest).rows)
        and 0 <= header.translated <= header.rows
        and 1 <= header.ingress_bits <= pages.MOST_CODE_BITS
        and 0 <= header.salt < 2**32
        and 1 <= header.bucket_bits <= _MOST_BUCKET_BITS
        and (header.source, header.day, header.rows) == (entry.source, entry.day, entry.rows)
        and (header.earliest_ms, header.latest_ms, header.longest_ms)
        == (entry.earliest_ms, entry.latest_ms, entry.longest_ms)
    )


def translated_on(page: U8) -> tuple[U32, U8]:
    """The positions and the encrypted numbers on a page of translated numbers that is known to be whole."""
    middle = 4 * TRANSLATED_PER_PAGE
    return page[:middle].view("<u4"), page[middle : middle + 16 * TRANSLATED_PER_PAGE].reshape(-1, 16)
