"""The shapes of texts that hold numbers: `(000) 000-0000`, `sip:+00000000000@`. What one is, all of a shape are.

Of each text the first 24 bytes are three integers, up to its end or its first `@`. A text's shape is these with all
digits made noughts. A column has few shapes; which digits of a shape are the number's is asked of `dialled_digits`, the
one that reads texts one by one, with probes in place of the digits. Then the digits of all texts of the shape are
brought together and read as integers, eight at a time.

Claims only what is beyond doubt. Left to be read one by one: longer texts, other than ASCII, NUL bytes, several
brackets, shapes for which it matters what the digits are (`%2B`, `phone-context=+44`, `2025550143.0`), and texts whose
shape few others have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdr_adapters.numbers import TEXT_LIMIT, dialled_digits
from cdr_adapters.text_bytes import Mask, Octets, Positions, TextBytes

Words: TypeAlias = npt.NDArray[np.uint64]
Rows: TypeAlias = npt.NDArray[np.intp]
"""Positions of rows in a column."""

MOST_DIGITS: Final = 18
"""Numbers of more digits are not read here."""
_WIDTH: Final = 24
_WORDS: Final = _WIDTH // 8


def _each(octet: int) -> np.uint64:
    """A word of eight times the same byte."""
    return np.uint64(int.from_bytes(bytes([octet]) * 8, "little"))


_NOUGHTS, _SEVEN_BITS, _TO_EIGHTH_BIT = _each(ord("0")), _each(0x7F), _each(0x80 - 10)
_EIGHTH_BIT, _ONES, _ATS = _each(0x80), _each(1), _each(ord("@"))
_NONE, _ONE, _THREE, _SEVEN = (np.uint64(number) for number in (0, 1, 3, 7))
_HEAD: Final = np.array(
    [[(1 << 8 * min(max(length - 8 * word, 0), 8)) - 1 for length in range(_WIDTH + 1)] for word in range(_WORDS)],
    np.uint64,
)
"""For each word of a window, by the length of the text: the bytes that are the text's."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What texts of a shape hold.

    Attributes:
        form: what `dialled_digits` makes of it, digits as noughts; None when there is no number in it.
        places: where in the text the digits of the form stand.
    """

    form: str | None
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The texts of one shape: their rows, and the digits of each as one integer."""

    shape: Shape
    rows: Rows
    digits: Words


@dataclass(frozen=True, slots=True)
class _Windows:
    """The first bytes of texts; `whole` are those texts of which they say everything."""

    words: list[Words]
    whole: Mask


def groups(octets: TextBytes) -> Iterator[Group]:
    """The texts, group by group, that lie one after the other in `octets`; none of those that are to be read alone."""
    windows = _windows(octets)
    patterns = [_pattern(word) for word in windows.words]
    mixed = patterns[0].copy()
    for pattern, odd in zip(patterns[1:], _MIX, strict=False):
        mixed ^= pattern * odd
    for rows in _alike(mixed, windows.whole):
        first = rows[0]
        for pattern in patterns:
            same = pattern[rows] == pattern[first]
            if not same.all():  # others that were mixed to the same
                rows = rows[same]
        shape = understood(b"".join(pattern[first].tobytes() for pattern in patterns).rstrip(b"\0"))
        if shape is not None and len(shape.places) <= MOST_DIGITS:
            yield Group(shape, rows, _integers([word[rows] for word in windows.words], shape.places))


_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_MOST_SHAPES: Final = 64
_FEWEST: Final = 8


def _alike(mixed: Words, whole: Mask) -> Iterator[Rows]:
    """Rows that have the same mixed word, the most frequent ones first; what is rare is left out."""
    rows = np.arange(len(whole)) if whole.all() else np.flatnonzero(whole)
    if not len(rows):
        return
    words = mixed if len(rows) == len(mixed) else mixed[rows]
    if (words == words[0]).all():
        yield rows
        return
    array = pa.UInt64Array.from_buffers(pa.uint64(), len(words), [None, pa.py_buffer(words)])
    which = array.dictionary_encode().indices.to_numpy()
    counts = np.bincount(which)
    if len(counts) <= 1 << 8:
        which = which.astype(np.uint8)  # small ones sort faster
    order = np.argsort(which, kind="stable")
    begins = np.cumsum(counts) - counts
    for shape in np.argsort(-counts, kind="stable")[:_MOST_SHAPES].tolist():
        if counts[shape] < _FEWEST:
            return
        yield rows[order[begins[shape] : begins[shape] + counts[shape]]]


def _windows(octets: TextBytes) -> _Windows:
    start, end, odd = octets.start, octets.end, None
    data = octets.data
    if len(octets):
        data = data[int(start[0]) : int(end[-1])]
    if (data == ord("<")).any():
        start, end, odd = _bracketed(octets, data)
    lengths = end - start
    words = _gathered(octets.data, start, lengths)
    whole: Mask = lengths <= _WIDTH
    if (data == ord("@")).any():
        whole = (whole | _cut(words)) & (octets.lengths <= TEXT_LIMIT)
    if odd is not None:
        whole &= ~odd
    if len(data) and not data.all():
        whole[_rows_with(octets, data, 0)] = False
    return _Windows(words, whole)


def _rows_with(octets: TextBytes, data: Octets, octet: int) -> Rows:
    """The row of each place in `data`, which is all texts of `octets`, that has this byte."""
    places = np.flatnonzero(data == octet) + int(octets.start[0])
    return np.searchsorted(octets.end, places, side="right")


def _bracketed(octets: TextBytes, data: Octets) -> tuple[Positions, Positions, Mask]:
    """Start and end of each text, or of what is in its brackets; and which have more brackets than that."""
    start, end = octets.start.copy(), octets.end.copy()
    opening, closing = (_rows_with(octets, data, ord(bracket)) for bracket in "<>")
    opened, closed = (np.bincount(rows, minlength=len(octets)) for rows in (opening, closing))
    pair = (opened == 1) & (closed == 1)
    at = np.flatnonzero(data == ord("<"))[pair[opening]] + int(octets.start[0])
    to = np.flatnonzero(data == ord(">"))[pair[closing]] + int(octets.start[0])
    rows = np.flatnonzero(pair)
    pair[rows] = at < to
    start[pair] = (at + 1)[at < to]
    end[pair] = to[at < to]
    return start, end, (opened > 0) & ~pair


def _gathered(data: Octets, start: Positions, lengths: Positions) -> list[Words]:
    """The first bytes of each text as words, 0 behind its end; no more words than the longest text fills."""
    room = len(data) - _WIDTH
    if room < 0:
        data = np.concatenate((data, np.zeros(-room, np.uint8)))
        room = 0
    every = np.ndarray((room + 1,), f"V{_WIDTH}", data, strides=(1,))
    late = np.flatnonzero(start > room)
    windows = every[np.minimum(start, room)].view(np.uint64).reshape(-1, _WORDS)
    if len(late):  # what follows them is not ours to read
        tail = np.concatenate((data[room:], np.zeros(_WIDTH, np.uint8)))
        last = np.ndarray((_WIDTH + 1,), f"V{_WIDTH}", tail, strides=(1,))
        windows[late] = last[start[late] - room].view(np.uint64).reshape(-1, _WORDS)
    longest = int(lengths.max(initial=1))
    known = np.minimum(lengths, _WIDTH)
    return [windows[:, word] & _HEAD[word].take(known) for word in range(min(_WORDS, -(-max(longest, 1) // 8)))]


def _cut(words: list[Words]) -> Mask:
    """Make all bytes behind the first `@` of each window 0; which windows have one."""
    found: Mask = np.zeros(len(words[0]), np.bool_)
    for number, word in enumerate(words):
        if number:
            word[found] = 0
        there = word ^ _ATS
        there = (there - _ONES) & ~there & _EIGHTH_BIT
        there &= _NONE - there  # the lowest bit
        word &= (there << _ONE) - _ONE
        found |= there != _NONE
    return found


def _pattern(word: Words) -> Words:
    """The word with all digits made noughts."""
    other = word ^ _NOUGHTS
    other |= (other & _SEVEN_BITS) + _TO_EIGHTH_BIT
    digit = ~other & _EIGHTH_BIT
    return word & ~((digit >> _THREE) - (digit >> _SEVEN))


_UNSURE = re.compile(rb"[^\x01-\x7f]|%|context", re.IGNORECASE)
"""Where it may matter which digits there are. That of decimals shows when all digits are noughts."""
_PROBE_BASE: Final = 9


@lru_cache(maxsize=4096)
def understood(pattern: bytes) -> Shape | None:
    """What texts hold that are `pattern` with any digits in place of its noughts; None when that depends on them."""
    if _UNSURE.search(pattern):
        return None
    probes = []
    for power in (1, _PROBE_BASE):
        count = 0
        probe = bytearray(pattern)
        for at, octet in enumerate(pattern):
            if octet == ord("0"):
                probe[at] = ord("1") + count // power % _PROBE_BASE
                count += 1
        probes.append(probe.decode())
    low, high, noughts = (dialled_digits(probe) for probe in (*probes, pattern.decode()))
    if low is None or high is None or noughts is None:
        return Shape(None, ()) if low is high is noughts else None
    places = [at for at, octet in enumerate(pattern) if octet == ord("0")]
    digits = [(low[at], high[at]) for at, mark in enumerate(noughts) if mark == "0"]
    return Shape(noughts, tuple(places[int(a) - 1 + _PROBE_BASE * (int(b) - 1)] for a, b in digits))


_NIBBLE: Final = 0x0F


def _integers(words: list[Words], places: tuple[int, ...]) -> Words:
    """The digits at these places of the windows as one integer each."""
    total: Words = np.zeros(len(words[0]), np.uint64)
    end = len(places)
    weight = 1
    while end > 0:
        begin = max(0, end - 8)
        eight = _digits_together(words, places[begin:end])
        number = _integer_of_eight(eight)
        total = number if weight == 1 else total + number * np.uint64(weight)
        weight *= 10**8
        end = begin
    return total


def _digits_together(words: list[Words], places: tuple[int, ...]) -> Words:
    """Up to eight digits, those of one run at a time, as the last bytes of a word; 0 before them."""
    together: Words = np.zeros(len(words[0]), np.uint64)
    first = 8 - len(places)
    at = 0
    while at < len(places):
        place = places[at]
        run = 1
        while at + run < len(places) and places[at + run] == place + run and (place + run) % 8:
            run += 1
        shift = 8 * (first + at - place % 8)
        word = words[place // 8]
        moved = word << np.uint64(shift) if shift > 0 else word >> np.uint64(-shift) if shift else word
        together |= moved & np.uint64(int.from_bytes(bytes(first + at) + bytes([_NIBBLE]) * run, "little"))
        at += run
    return together


_PAIRS, _FOURS, _EIGHTS = (np.uint64(mask) for mask in (0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF, 0xFFFFFFFF))


def _integer_of_eight(digits: Words) -> Words:
    """Words of eight digits, one a byte, the first in the lowest: pairs, then fours, then all as one."""
    number = digits * np.uint64(10)
    number += digits >> np.uint64(8)
    number &= _PAIRS
    higher = number >> np.uint64(16)
    number *= np.uint64(100)
    number += higher
    number &= _FOURS
    higher = number >> np.uint64(32)
    number *= np.uint64(10_000)
    number += higher
    number &= _EIGHTS
    return number
