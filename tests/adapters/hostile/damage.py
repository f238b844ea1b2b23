"""Damage to right files of every format: cut off, stretched, doubled, turned around, filled with limits."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator

_STRETCH = 900_000
"""Nearly as long as a line may be."""
_STRETCHED = (*(bytes([octet]) for octet in b"9 \t,;=&%\\\"'<[{("), b"a=", b"%2", b"sip:")
_FEW = ((1, b" "), (1, b"="), (3, b" "), (3, b";"), (3, b"["), (5, b'"'))
"""In which seventh of the file what comes again and again."""


def cuts(sample: bytes, parts: int) -> Iterator[bytes]:
    """The file cut off at so many places."""
    for part in range(1, parts + 1):
        yield sample[: len(sample) * part // (parts + 1)]
    yield sample[:-1]


def packed_cuts(sample: bytes, parts: int) -> Iterator[bytes]:
    """The compressed file cut off at so many places."""
    yield from cuts(gzip.compress(sample), parts)


def stretches(sample: bytes, many: bool) -> Iterator[bytes]:
    """Somewhere in the file something comes again and again, for a megabyte: what searches in it, searches long."""
    everywhere = ((part, piece) for part in range(1, 7) for piece in _STRETCHED)
    for part, piece in everywhere if many else _FEW:
        place = len(sample) * part // 7
        yield sample[:place] + piece * (_STRETCH // len(piece)) + sample[place:]


def rewritten(sample: bytes) -> Iterator[bytes]:
    """The file in its shape, with other contents."""
    yield re.sub(rb"\d", b"9", sample)
    yield re.sub(rb"\d", b"0", sample)
    yield re.sub(rb"\d+", b"", sample)
    yield re.sub(rb"\d+", b"99999999999999999999999999", sample)
    yield re.sub(rb"\d+", b"-1", sample)
    yield re.sub(rb"[0-9]", "\u0663".encode(), sample)
    yield re.sub(rb"[A-Za-z]", b"\x1b", sample)
    yield re.sub(rb"[A-Za-z]{3,}", lambda word: word[0][::-1], sample)
    yield re.sub(rb"[:.@/-]", lambda mark: mark[0] + b"\x1b[2J", sample)
    yield sample.swapcase()
    yield sample.replace(b"\n", b"\r")
    yield sample.replace(b"\n", b"\n\n\x00\n")
    yield sample.replace(b"\n", b"")
    yield sample.replace(b'"', b"'")


def rearranged(sample: bytes) -> Iterator[bytes]:
    """The file's own parts in another order, or too often."""
    yield sample + sample
    yield sample[len(sample) // 2 :] + sample[: len(sample) // 2]
    yield b"".join(reversed(sample.splitlines(keepends=True)))
    yield sample[::-1]
    yield b"".join(bytes((octet, 0)) for octet in sample)
    yield b"\xff\xfe" + b"".join(bytes((octet, 0)) for octet in sample)[:-1]
    yield sample[: len(sample) // 2] * 500
    yield bytes(1000) + sample
    yield sample + b"\x1a" + bytes(1000)


def damaged(sample: bytes, *, many: bool = False) -> Iterator[bytes]:
    """All damage to a file; with `many` at every place that there is."""
    yield from cuts(sample, min(len(sample), 1500) if many else 6)
    yield from packed_cuts(sample, 100 if many else 2)
    yield from rewritten(sample)
    yield from rearranged(sample)
    yield from stretches(sample, many)
