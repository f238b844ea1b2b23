"""Pages of a segment: what a row is in bytes, and how a page proves that it is whole. Pure.

A page has 4096 bytes and holds some 190 rows as columns, so that all that a search wants of a row lies on one page:

    keys    u64 each, ascending: upper 37 bits of the called number's pseudonym, millisecond of the UTC day (27 bits)
    words   u64 each: 16 more bits of the pseudonym, 32 bits of codes, the lower half of the calling number's pseudonym
    rests   5 to 8 bytes each: the upper half of that (u16), the call's reference (24 bits), more bits of codes
    CRC-32  u32, of the segment's salt, the page's number and all before it

`codes` are two numbers side by side, ingress below and profile above; how many bits the ingress has is said by the
segment. A page has as many bytes of rest as the codes of the segment need: 5 where they fit into 32 bits, one more for
every 8 bits beyond. The last page is filled with greatest keys.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.index.keys import U8, U64
from agent.index.layout import PAGE, TIME_BITS

U32 = npt.NDArray[np.uint32]

TAIL_BITS: Final = 16
CODE_BITS: Final = 32
CALL_REF_BITS: Final = 24
LEAST_REST: Final = 5
MOST_REST: Final = 8
MOST_CODE_BITS: Final = CODE_BITS + 8 * (MOST_REST - LEAST_REST)
CRC: Final = 4
NO_KEY: Final = 2**64 - 1

_WORDS_PER_PAGE: Final = PAGE // 8
_TAIL_SHIFT: Final = TIME_BITS - TAIL_BITS
_ONE: Final = np.uint64(1)


@dataclass(frozen=True, slots=True)
class Shape:
    """How rows lie on a page.

    Attributes:
        rest: bytes of a row's rest. rows: rows on a page.
        gap: what to add, for each page before it, to a row's number to get its key's place, both in words of 8 bytes.
    """

    rest: int
    rows: int
    gap: int

    @property
    def rests_at(self) -> int:
        """Where the rests begin on a page, in bytes."""
        return 16 * self.rows


@cache
def shape(rest: int) -> Shape:
    """The shape of pages whose rows have `rest` bytes of rest."""
    if not LEAST_REST <= rest <= MOST_REST:
        raise ValueError(f"a row has {LEAST_REST} to {MOST_REST} bytes of rest, not {rest}")
    rows = (PAGE - CRC) // (16 + rest)
    return Shape(rest, rows, _WORDS_PER_PAGE - rows)


def rest_for(code_bits: int) -> int:
    """How many bytes of rest rows need whose codes have so many bits.

    Raises:
        ValueError: more than a row can hold.
    """
    rest = LEAST_REST + max(0, -(-(code_bits - CODE_BITS) // 8))
    if rest > MOST_REST:
        raise ValueError(f"codes of {code_bits} bits: a segment has too many routes")
    return rest


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows of one segment as columns of equal length, in the order of `key`; what is asked for is on no page as such.

    Attributes:
        key: see above. tail: 16 bits of the pseudonym. codes: ingress and profile. calling: 32 bits, 0 for none.
        call_ref: 24 bits, 0 for none.
    """

    key: U64
    tail: U64
    codes: U64
    calling: U32
    call_ref: U32

    def __len__(self) -> int:
        return len(self.key)


def key_of(pseudonyms: U64, ms_of_day: U64) -> U64:
    """Keys from pseudonyms of 64 bits and milliseconds of the day."""
    key: U64 = (pseudonyms >> np.uint64(TIME_BITS) << np.uint64(TIME_BITS)) | ms_of_day
    return key


def tail_of(pseudonyms: U64) -> U64:
    """What of a pseudonym stands in the word: the bits below those in the key."""
    tail: U64 = (pseudonyms >> np.uint64(_TAIL_SHIFT)) & np.uint64(0xFFFF)
    return tail


def encode(rows: Packed, rest: int, salt: int) -> npt.NDArray[np.uint8]:
    """The pages of a segment, as an array of bytes of shape (pages, 4096)."""
    form = shape(rest)
    pages = -(-len(rows) // form.rows)
    out = np.zeros((pages, PAGE), np.uint8)
    words = out.view("<u8")
    words[:, : form.rows] = _paged(rows.key, pages, form.rows, NO_KEY)
    calling = rows.calling.astype(np.uint64)
    word = (
        (rows.tail << np.uint64(48))
        | ((rows.codes & np.uint64(0xFFFFFFFF)) << np.uint64(16))
        | (calling & np.uint64(0xFFFF))
    )
    words[:, form.rows : 2 * form.rows] = _paged(word, pages, form.rows, 0)
    rests = (
        (calling >> np.uint64(16))
        | (rows.call_ref.astype(np.uint64) << np.uint64(16))
        | ((rows.codes >> np.uint64(CODE_BITS)) << np.uint64(16 + CALL_REF_BITS))
    )
    octets = _paged(rests, pages, form.rows, 0).reshape(-1).view(np.uint8).reshape(pages, form.rows, 8)
    out[:, form.rests_at : form.rests_at + form.rows * rest] = octets[:, :, :rest].reshape(pages, -1)
    for number in range(pages):
        seal(out[number], number, salt)
    return out


def seal(page: U8, number: int, salt: int) -> None:
    """Write a page's checksum into its last bytes."""
    page[PAGE - CRC :] = np.frombuffer(checksum(page, number, salt).to_bytes(CRC, "little"), np.uint8)


def _paged(column: U64, pages: int, rows: int, fill: int) -> U64:
    whole = np.full(pages * rows, fill, np.uint64)
    whole[: len(column)] = column
    return whole.reshape(pages, rows)


def checksum(page: Any, number: int, salt: int) -> int:
    """What the last four bytes of a page must be; the salt and the number tell pages that were swapped."""
    seed = zlib.crc32(((salt << 32) | number).to_bytes(12, "little"))
    return zlib.crc32(memoryview(page)[: PAGE - CRC], seed)


def is_whole(page: memoryview, number: int, salt: int) -> bool:
    """Whether a page is as it was written, where it was written."""
    return checksum(page, number, salt) == int.from_bytes(page[PAGE - CRC : PAGE], "little")


def words_fields(words: U64) -> tuple[U64, U64, U64]:
    """The tails, the lower 32 bits of codes, and the lower halves of callings."""
    return words >> np.uint64(48), (words >> np.uint64(16)) & np.uint64(0xFFFFFFFF), words & np.uint64(0xFFFF)


def decode(pages: U8, rows: int, rest: int) -> Packed:
    """The rows on pages of bytes of shape (pages, 4096), which are known to be whole; `rows` of them in all."""
    form = shape(rest)
    words = pages.view("<u8")
    key = words[:, : form.rows].reshape(-1)[:rows]
    word = words[:, form.rows : 2 * form.rows].reshape(-1)[:rows]
    octets = np.zeros((len(pages) * form.rows, 8), np.uint8)
    octets[:, :rest] = pages[:, form.rests_at : form.rests_at + form.rows * rest].reshape(-1, rest)
    rests = octets.view("<u8").reshape(-1)[:rows]
    tail, codes, low = words_fields(word)
    return Packed(
        key=key,
        tail=tail,
        codes=codes | ((rests >> np.uint64(16 + CALL_REF_BITS)) << np.uint64(CODE_BITS)),
        calling=(low | ((rests & np.uint64(0xFFFF)) << np.uint64(16))).astype(np.uint32),
        call_ref=((rests >> np.uint64(16)) & np.uint64((1 << CALL_REF_BITS) - 1)).astype(np.uint32),
    )


def histogram(key: U64, bits: int) -> U32:
    """How many keys begin with each value of their first `bits` bits; keys ascend."""
    edges = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(64 - bits) if bits else np.empty(0, np.uint64)
    starts = np.concatenate([[0], np.searchsorted(key, edges), [len(key)]])
    counts: U32 = np.diff(starts).astype(np.uint32)
    return counts
