"""Many records of a RADIUS detail file at once: where each line, name and value lies, and columns cut out of the bytes.

What a line is, is told from its bytes in arrays; only what is odd (escapes, lines of spaces, broken records) is looked
at one by one. `radius_detail` says what a record is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.records import BATCH_ROWS, RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, read_text

Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

MAX_ATTRIBUTES = 2000
_BLOCK = 1 << 21
_BLANK = re.compile(rb"\n[ \t\v\f\r]*\n")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_TAB, _LF, _SPACE, _DOUBLE, _SINGLE, _PLUS, _COLON, _EQUALS = 9, 10, 32, 34, 39, 43, 58, 61
_SPACES = (9, 11, 12, 13, 32)


def blocks(path: Path, encoding: str) -> Iterator[tuple[int, bytes]]:
    """Runs of whole records as valid UTF-8 with `\\n` at line ends, each with the number of its first line.

    A record of more than a block is given up: only its beginning comes.
    """
    rest, number = b"", 1
    dropping = False
    for block in read_text(path, encoding, _BLOCK):
        text = rest + block
        held = b"\r" if text.endswith(b"\r") else b""
        text = text.removesuffix(b"\r").replace(b"\r\n", b"\n") if b"\r" in text else text
        if dropping:
            end = _BLANK.search(text)
            dropping = end is None
            cut = len(text) if end is None else end.end()
            number += text.count(b"\n", 0, cut)
            text = text[cut:]
        cut = _last_blank(text)
        if cut:
            yield number, _decodable(text[:cut])
            number += text.count(b"\n", 0, cut)
        rest = text[cut:] + held
        if len(rest) > _BLOCK:
            yield number, _decodable(rest)
            number += rest.count(b"\n")
            rest, dropping = b"", True
    if rest.strip():
        yield number, _decodable(rest)


def _last_blank(text: bytes) -> int:
    """Where the last empty line ends; 0 when there is none."""
    plain = text.rfind(b"\n\n")
    if plain >= 0:
        return plain + 2
    found = 0
    for match in _BLANK.finditer(text):
        found = match.end()
    return found


def _decodable(text: bytes) -> bytes:
    return text if text.isascii() else text.decode("utf-8", "replace").encode("utf-8")


@dataclass(frozen=True)
class _Lines:
    """Where the lines of a block lie, and where the first equals sign of each (its end when it has none)."""

    data: npt.NDArray[np.uint8]
    starts: Ints
    ends: Ints
    equals: Ints

    @classmethod
    def of(cls, block: bytes) -> _Lines:
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == _LF)
        if not len(ends) or ends[-1] != len(data) - 1:
            ends = np.append(ends, len(data))
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
        signs = np.append(np.flatnonzero(data == _EQUALS), len(data) + 1)
        equals = signs[np.searchsorted(signs, starts)]
        return cls(data, starts, ends, np.minimum(equals, ends))

    def byte(self, at: Ints) -> npt.NDArray[np.uint8]:
        """The bytes at these places; a line feed beyond the block."""
        padded = np.append(self.data, np.uint8(_LF))
        return padded[np.minimum(at, len(self.data))]


class Block:
    """Some whole records.

    Attributes:
        rows: the number of each good record's first line.
    """

    def __init__(self, block: bytes, first: int) -> None:
        self._block = block
        lines = _Lines.of(block)
        padded = np.append(lines.data, np.uint8(_LF))
        begins_with = padded[lines.starts]
        is_inner = np.isin(begins_with, _SPACES)
        blank = lines.ends == lines.starts
        for odd in np.flatnonzero(is_inner & (lines.equals == lines.ends)):
            blank[odd] = not block[lines.starts[odd] : lines.ends[odd]].strip()
        there = ~blank
        opens = there & np.concatenate((np.ones(1, np.bool_), blank[:-1]))
        record = np.cumsum(opens) - 1
        self._heads = np.flatnonzero(opens)
        records = len(self._heads)
        inner = np.flatnonzero(there & ~opens)
        # a name, one of " = ", " := " and " += ", a value
        name_at = lines.starts[inner] + 1
        equals = lines.equals[inner]
        for _ in range(16):
            more = np.isin(padded[name_at], (_TAB, _SPACE))
            if not more.any():
                break
            name_at = name_at + more
        before = padded[np.maximum(equals - 1, 0)]
        operator = np.where((before == _PLUS) | (before == _COLON), 2, 1)
        name_end = equals - operator
        good = (
            is_inner[inner]
            & (equals < lines.ends[inner])
            & (name_end > name_at)
            & (padded[np.maximum(name_end, 0)] == _SPACE)
            & (padded[np.minimum(equals + 1, len(lines.data))] == _SPACE)
            & (lines.ends[inner] - lines.starts[inner] <= MAX_LINE)
        )
        value_at = np.minimum(equals + 2, lines.ends[inner])
        value_end = lines.ends[inner].copy()
        quote = padded[np.minimum(value_at, len(lines.data))]
        quoted = ((quote == _DOUBLE) | (quote == _SINGLE)) & (value_at < value_end)
        closed = (value_end - value_at >= 2) & (padded[np.maximum(value_end - 1, 0)] == quote)
        good &= ~quoted | closed
        value_at, value_end = value_at + (quoted & closed), value_end - (quoted & closed)
        names = self._cut(np.where(good, name_at, 0)[good], np.where(good, name_end, 0)[good]).dictionary_encode()
        known = [name.as_py().decode() for name in names.dictionary]
        is_name = np.array([_NAME.fullmatch(name) is not None for name in known] or [True], np.bool_)
        codes = names.indices.to_numpy(zero_copy_only=False)
        fits = is_name[codes] if len(codes) else np.zeros(0, np.bool_)
        bad = np.zeros(records, np.int64)
        bad[record[inner[~good]]] = 1
        bad[record[inner[good][~fits]]] = 1
        attributes = np.bincount(record[inner], minlength=records)
        bad[attributes == 0] = 2
        bad[attributes > MAX_ATTRIBUTES] = 3
        bad[is_inner[self._heads]] = 4
        too_long = (lines.ends - lines.starts)[self._heads] > MAX_LINE
        bad[too_long] = 1
        self._lines = lines
        self._bad, self._first = bad, first
        self._all_heads = self._heads
        kept = bad == 0
        self.rows = pa.array(self._heads[kept] + first)
        self._heads = self._heads[kept]
        place = np.cumsum(kept) - 1
        use = fits & kept[record[inner[good]]]
        self._record = place[record[inner[good][use]]]
        self._codes = codes[use]
        self._at, self._end = value_at[good][use], value_end[good][use]
        self._quoted = quoted[good][use]
        self._known = {name: code for code, name in enumerate(known)}
        self._cut_values: dict[str, tuple[pa.StringArray, Ints]] = {}

    def rejected(self) -> Iterator[tuple[Rejected, ...]]:
        """The other records, some at a time: a block of nothing else has very many."""
        details = ("", "a line that is no attribute", "no attributes", "too many attributes")
        after = np.append(self._all_heads[1:], len(self._lines.starts))
        every = np.flatnonzero(self._bad)
        for at in range(0, len(every), BATCH_ROWS):
            some = []
            for number in every[at : at + BATCH_ROWS]:
                head, kind = int(self._all_heads[number]), self._bad[number]
                begin, end = self._lines.starts[head], self._lines.ends[after[number] - 1]
                detail = details[kind] if kind < 4 else "attributes without the line with the date before them"
                text = self._block[begin : min(end, begin + RAW_LIMIT)].decode("utf-8", "replace").rstrip("\n")
                some.append(Rejected(head + self._first, RejectReason.MALFORMED_ROW, detail, text))
            yield tuple(some)

    def _cut(self, starts: Ints, ends: Ints) -> pa.BinaryArray:
        """The bytes from each of `starts` to each of `ends`; both rise, and none begins before the last has ended."""
        if not len(starts):
            return pa.array([], pa.binary())
        offsets = np.empty(2 * len(starts), np.int32)
        offsets[0::2], offsets[1::2] = starts, ends
        count = len(offsets) - 1
        pieces = pa.BinaryArray.from_buffers(
            pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(self._block)]
        )
        return pieces.take(pa.array(np.arange(0, count, 2)))

    @cached_property
    def names(self) -> list[str]:
        """The attributes of the good records, in the order of their first occurrence."""
        there = set(np.unique(self._codes).tolist())
        return [name for name, code in self._known.items() if code in there]

    @cached_property
    def headers(self) -> pa.StringArray:
        """The line before the attributes of each record."""
        starts, ends = self._lines.starts[self._heads], self._lines.ends[self._heads]
        return pc.utf8_trim_whitespace(pc.cast(self._cut(starts, ends), pa.string()))

    def values(self, name: str, pair: str | None = None) -> pa.StringArray:
        """An attribute of each record, several values one a line; null where there is none.

        A value that repeats its attribute's name loses it. With `pair`, only values that begin with it and an equals
        sign, without both.
        """
        if name not in self._known:
            return pa.nulls(len(self._heads), pa.string())
        values, records = self._all_values(name)
        prefix = f"{pair or name}="
        repeats = pc.starts_with(values, prefix)
        if pair is not None:
            values, records = values.filter(repeats), records[repeats.to_numpy(zero_copy_only=False)]
            values = pc.utf8_slice_codeunits(values, len(prefix))
        elif repeats.true_count:
            values = pc.if_else(repeats, pc.utf8_slice_codeunits(values, len(prefix)), values)
        count = len(self._heads)
        if len(records) == count and (records == np.arange(count)).all():
            return values
        each = np.bincount(records, minlength=count)
        absent = each == 0
        if not len(records) or each.max() == 1:
            index = np.cumsum(each) - 1
            return values.take(pa.array(index, mask=absent)) if len(values) else pa.nulls(count, pa.string())
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(each)))
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values), "\n")
        return pc.if_else(pa.array(absent), pa.nulls(1, pa.string())[0], joined)

    def _all_values(self, name: str) -> tuple[pa.StringArray, Ints]:
        """Every value of an attribute, and the record that each is of; several columns may be made of them."""
        cached = self._cut_values.get(name)
        if cached is None:
            lines = np.flatnonzero(self._codes == self._known[name])
            values = pc.cast(self._cut(self._at[lines], self._end[lines]), pa.string())
            cached = self._cut_values[name] = (self._unescaped(values, self._quoted[lines]), self._record[lines])
        return cached

    def _unescaped(self, values: pa.StringArray, quoted: Mask) -> pa.StringArray:
        escaped = pc.match_substring(values, "\\")
        if not escaped.true_count:
            return values
        texts = values.to_pylist()
        for at in np.flatnonzero(escaped.to_numpy(zero_copy_only=False) & quoted):
            texts[at] = _ESCAPE.sub(_meaning, texts[at])
        return pa.array(texts, pa.string())


def _meaning(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code, 8)) if len(code) == 3 else _ESCAPED.get(code, code)
