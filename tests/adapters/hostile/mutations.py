"""Damage to a good file: bits flipped, parts cut, repeated, put in, or taken from another file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

PIECES: Final = (
    b"\x00",
    b"\n",
    b"\r\n",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80",
    b"\x80\x00\x00\x00",
    b"\x30\x80",
    b'"',
    b"'",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b";",
    b",",
    b"(",
    b"[" * 40,
    b"{",
    b"<",
    b"</",
    b"&#0;",
    b"&x;",
    b"]]>",
    b"%00",
    b"%",
    b"=",
    b"-",
    b"-1",
    b"99999999999999999999",
    b"1e999",
    b"NaN",
    b"0000-00-00 00:00:00",
    b"9999-12-31 23:59:59",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    "\u202e\u2028١٢٣".encode(),
    b"\x1b[2J",
    b"null",
    b"NULL",
)
"""What breaks parsers: ends of strings and records, lengths and numbers at their limits, text that is none."""


@st.composite
def damaged(draw: st.DrawFn, samples: Sequence[bytes], others: Sequence[bytes] = ()) -> bytes:
    """One of `samples` after one to six damages; parts may come from `others`."""
    data = draw(st.sampled_from(samples))
    for damage in draw(st.lists(st.sampled_from(_DAMAGES), min_size=1, max_size=6)):
        data = damage(draw, data, [*samples, *others])
    return data


def _span(draw: st.DrawFn, data: bytes, longest: int | None = None) -> slice:
    begin = draw(st.integers(0, len(data)))
    most = len(data) - begin
    return slice(begin, begin + draw(st.integers(0, most if longest is None else min(most, longest))))


def _flip(draw: st.DrawFn, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = draw(st.integers(0, len(data) - 1))
    return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]


def _cut(draw: st.DrawFn, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _remove(draw: st.DrawFn, data: bytes, _: Sequence[bytes]) -> bytes:
    span = _span(draw, data, 64)
    return data[: span.start] + data[span.stop :]


def _insert(draw: st.DrawFn, data: bytes, _: Sequence[bytes]) -> bytes:
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from(PIECES) | st.binary(max_size=8)) + data[at:]


def _overwrite(draw: st.DrawFn, data: bytes, _: Sequence[bytes]) -> bytes:
    at = draw(st.integers(0, len(data)))
    piece = draw(st.sampled_from(PIECES))
    return data[:at] + piece + data[at + len(piece) :]


def _repeat(draw: st.DrawFn, data: bytes, _: Sequence[bytes]) -> bytes:
    span = _span(draw, data, 400)
    return data[: span.stop] + data[span] * draw(st.integers(1, 20)) + data[span.stop :]


def _splice(draw: st.DrawFn, data: bytes, others: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(others))
    at = draw(st.integers(0, len(data)))
    return data[:at] + other[_span(draw, other)] + data[at:]


def _move(draw: st.DrawFn, data: bytes, _: Sequence[bytes]) -> bytes:
    span = _span(draw, data, 400)
    rest = data[: span.start] + data[span.stop :]
    at = draw(st.integers(0, len(rest)))
    return rest[:at] + data[span] + rest[at:]


_DAMAGES = (_flip, _flip, _cut, _remove, _insert, _insert, _overwrite, _overwrite, _repeat, _splice, _move)
