"""One segment, mapped: from a pseudonym and an interval of time to rows.

A page is checked against its CRC-32 when it is first touched, not when the segment is opened: opening reads the footer
alone, a restart serves at once, and still no byte is used unchecked. A page that does not fit its sum is an error that
names the file, never a miss.

What is mapped can't change under the reader: segments are immutable, and a removed one stays until it is unmapped.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_left
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agent.index import pages
from agent.index.arena import Arena, Lease
from agent.index.errors import IndexCorruptError
from agent.index.keys import I64, U8, DayCiphers, SealBrokenError
from agent.index.layout import PAGE, TIME_BITS
from agent.index.manifest import SegmentEntry
from agent.index.rows import DISPOSITION_SHIFT, DISPOSITIONS, FORM_IN, TRANSLATED, Route
from agent.index.segment_format import (
    TRANSLATED_PER_PAGE,
    Dictionary,
    Footer,
    decode_footer,
    pages_digest,
    translated_on,
)
from protos.e164 import E164, InvalidNumberError, from_int

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("segments are little-endian and mapped as they are; this machine is not little-endian")

Hit = tuple["Segment", int, int, int]
"""A row that was found: where, the place of its key (in words of the arena), its millisecond of the day, its word."""

_SERIAL = count(1)
_WORDS = PAGE // 8
_KEY_MASK = ~((1 << TIME_BITS) - 1) & (2**64 - 1)
_TIME_MASK = (1 << TIME_BITS) - 1
_TAIL_SHIFT = TIME_BITS - pages.TAIL_BITS
_CODES_FROM = 16 + pages.CALL_REF_BITS
_CALL_REFS = (1 << pages.CALL_REF_BITS) - 1


class Record(NamedTuple):
    """What a row says, decoded.

    Attributes:
        span: milliseconds of the seizure interval. calling: pseudonym of 32 bits, call_ref: of 24; None for none.
        translated: whether another number came in. form_in: whether this row is the form that came in.
        position: the row's number in the segment.
    """

    ingress: Route
    egress: Route
    span: int
    disposition: str | None
    translated: bool
    form_in: bool
    calling: int | None
    call_ref: int | None
    position: int


_Meaning = tuple[Route, int, str | None, bool, bool]
"""What a profile says: egress, span, disposition, whether translated, whether the form that came in."""


class Segment:
    """An open segment. Safe to share between threads: all that changes is which pages are known to be good."""

    def __init__(self, path: Path, entry: SegmentEntry, keys: DayCiphers, arena: Arena) -> None:
        """Map the file and check all of it that is held in memory.

        Raises:
            FileNotFoundError: it is not there.
            IndexCorruptError, UnknownVersionError: see there.
            ArenaFullError: no addresses are left for it.
        """
        self.path = path
        self.entry = entry
        self._keys = keys
        footer, self._lease = self._map(arena)
        header = footer.header
        self.header = header
        self.form = pages.shape(header.rest)
        self._per_page, self._gap = self.form.rows, self.form.gap
        self._firsts, self._sealed = footer.firsts, footer.sealed
        self._directory = arena.allocate(4 * ((1 << header.bucket_bits) + 1))
        self.starts_at = self._directory.offset // 4
        footer.starts(arena.halves[self.starts_at : self.starts_at + (1 << header.bucket_bits) + 1])
        self.shift = 64 - header.bucket_bits
        self.first_page = self._lease.offset // PAGE + 1
        self.first_word = self.first_page * _WORDS
        self._octets, self._octet_view = arena.octets, arena.octet_view
        self._words, self._halves, self._checked = arena.word_view, arena.half_view, arena.checked_view
        self._dictionary: Dictionary | None = None
        self._meanings: list[_Meaning | None] = []
        self._ingress: list[Route] = []
        self._ingress_bits, self._rest, self._rests_at = header.ingress_bits, header.rest, self.form.rests_at
        self.serial = next(_SERIAL)

    def _map(self, arena: Arena) -> tuple[Footer, Lease]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:
                raise IndexCorruptError(self.path, "torn: empty")
            lease = arena.map_file(self.path, descriptor, size)
            view = arena.octets[lease.offset : lease.offset + size].data
            return decode_footer(view, self.entry, self.path), lease
        finally:
            os.close(descriptor)

    def _check(self, page: int) -> None:
        """Check a page by its number in the segment; remember that it is whole."""
        at = self.first_page + page
        octets = self._octets[at * PAGE : (at + 1) * PAGE].data
        if not pages.is_whole(octets, page, self.header.salt):
            raise IndexCorruptError(self.path, f"altered: page {page} does not fit its checksum")
        self._checked[at] = 1

    def check_arena_page(self, at: int) -> None:
        """Check the page that lies on page `at` of the arena."""
        self._check(at - self.first_page)

    def search(self, pseudonym: int, low_ms: int, high_ms: int, found: list[Hit]) -> None:
        """Add to `found`, by time, the rows of a pseudonym whose earliest seizure time lies in [`low_ms`, `high_ms`] of
        the segment's day.

        Raises:
            IndexCorruptError: a page that has to be read is not whole.
        """
        bucket = self.starts_at + (pseudonym >> self.shift)
        halves = self._halves
        first, end = halves[bucket], halves[bucket + 1]
        if first == end:
            return
        words, per_page = self._words, self._per_page
        low = pseudonym & _KEY_MASK | low_ms
        page = first // per_page
        if end > (page + 1) * per_page:
            self._search_on(pseudonym, low, high_ms - low_ms, first, end, found)
            return
        if not self._checked[self.first_page + page]:
            self._check(page)
        zero = self.first_word + page * self._gap  # the place of row 0, were all pages like this one
        end += zero
        place = bisect_left(words, low, zero + first, end)
        while place < end:
            key = words[place]
            if key - low > high_ms - low_ms:
                return
            word = words[place + per_page]
            if word >> 48 == pseudonym >> _TAIL_SHIFT & 0xFFFF:
                found.append((self, place, key & _TIME_MASK, word))
            place += 1

    def _search_on(self, pseudonym: int, low: int, width: int, first: int, end: int, found: list[Hit]) -> None:
        """The same where the rows from `first` to `end` are on several pages: keys from `low` to `low` + `width`."""
        words, per_page = self._words, self._per_page
        last = (end - 1) // per_page
        page = self._page_of(low, first // per_page, last)
        while page <= last:
            if not self._checked[self.first_page + page]:
                self._check(page)
            zero = self.first_word + page * self._gap
            limit = end if page == last else (page + 1) * per_page
            place = bisect_left(words, low, zero + max(first, page * per_page), zero + limit)
            limit += zero
            while place < limit:
                key = words[place]
                if key - low > width:
                    return
                word = words[place + per_page]
                if word >> 48 == pseudonym >> _TAIL_SHIFT & 0xFFFF:
                    found.append((self, place, key & _TIME_MASK, word))
                place += 1
            page += 1

    def _page_of(self, key: int, first: int, last: int) -> int:
        """The first page of [`first`, `last`] that may hold `key` or a greater one: by the last keys of pages."""
        while first < last:
            middle = (first + last) // 2
            if not self._checked[self.first_page + middle]:
                self._check(middle)
            if self._words[self.first_word + middle * _WORDS + self.form.rows - 1] < key:
                first = middle + 1
            else:
                last = middle
        return first

    def dictionary(self) -> Dictionary:
        """What the codes mean; unsealed when first asked for.

        Raises:
            IndexCorruptError: it was altered, contradicts the header, or the day's key is gone.
        """
        if self._dictionary is None:
            header = self.header
            try:
                dictionary = Dictionary.decode(self._keys.day(header.day, header.secret).unseal_text(self._sealed))
                more = header.ingress_bits - dictionary.ingress_bits
                rest = pages.rest_for(dictionary.bits + more)
            except (SealBrokenError, ValueError, TypeError, KeyError) as error:
                raise IndexCorruptError(self.path, f"its dictionary can't be read ({error})") from None
            if more < 0 or rest != header.rest:
                raise IndexCorruptError(self.path, "its header and its dictionary contradict each other")
            self._dictionary = dictionary
        return self._dictionary

    def record(self, place: int, word: int) -> Record:
        """What the row says whose key lies at `place` (in words of the arena) and whose word is `word`.

        Raises:
            IndexCorruptError: it contradicts the segment.
        """
        meanings = self._meanings or self._means()
        page = place // _WORDS
        rest = self._rest
        at = page * PAGE + self._rests_at + (place - page * _WORDS) * rest
        rests = int.from_bytes(self._octet_view[at : at + rest], "little")
        codes = word >> 16 & 0xFFFFFFFF | rests >> _CODES_FROM << pages.CODE_BITS
        profile = codes >> self._ingress_bits
        try:
            meaning = meanings[profile]
            ingress = self._ingress[codes - (profile << self._ingress_bits)]
        except IndexError:
            meaning = None
        if meaning is None:
            raise IndexCorruptError(self.path, f"the row at word {place - self.first_word} contradicts it")
        egress, span, disposition, translated, form_in = meaning
        return Record(
            ingress,
            egress,
            span,
            disposition,
            translated,
            form_in,
            word & 0xFFFF | (rests & 0xFFFF) << 16 or None,
            rests >> 16 & _CALL_REFS or None,
            (page - self.first_page) * self._per_page + place - page * _WORDS,
        )

    def _means(self) -> list[_Meaning | None]:
        """What each profile says; None for one that contradicts the dictionary."""
        dictionary = self.dictionary()
        self._ingress = dictionary.ingress
        meanings: list[_Meaning | None] = []
        for egress, span, flags in dictionary.profiles:
            disposition = flags >> DISPOSITION_SHIFT
            if 0 <= egress < len(dictionary.egress) and 0 <= disposition < len(DISPOSITIONS):
                said = bool(flags & TRANSLATED), bool(flags & FORM_IN)
                meanings.append((dictionary.egress[egress], span, DISPOSITIONS[disposition], *said))
            else:
                meanings.append(None)
        self._meanings = meanings
        return meanings

    def position(self, place: int) -> int:
        """The row's number in the segment."""
        page, slot = divmod(place - self.first_word, _WORDS)
        return page * self.form.rows + slot

    def came_in(self, place: int) -> E164:
        """The number that came in, of a row that says that another one was sent.

        Raises:
            IndexCorruptError: it is missing, or was not encrypted under the day's key.
        """
        position = self.position(place)
        number = int(np.searchsorted(self._firsts, position, "right")) - 1
        page = self.header.pages + number
        if number >= 0:
            if not self._checked[self.first_page + page]:
                self._check(page)
            at = (self.first_page + page) * PAGE
            positions, sealed = translated_on(self._octets[at : at + PAGE])
            index = int(np.searchsorted(positions[: self._on_page(number)], position))
            if index < self._on_page(number) and positions[index] == position:
                try:
                    return from_int(self._keys.day(self.header.day, self.header.secret).unseal(sealed[index].tobytes()))
                except (SealBrokenError, InvalidNumberError) as error:
                    raise IndexCorruptError(self.path, f"a translated number can't be read ({error})") from None
        raise IndexCorruptError(self.path, f"the translated number of row {position} is missing")

    def _on_page(self, number: int) -> int:
        return min(self.header.translated - number * TRANSLATED_PER_PAGE, TRANSLATED_PER_PAGE)

    def rows(self) -> pages.Packed:
        """All rows, every page checked.

        Raises:
            IndexCorruptError: naming the first page that is not whole.
        """
        self.verify_pages()
        begin = self.first_page * PAGE
        octets = self._octets[begin : begin + self.header.pages * PAGE].reshape(-1, PAGE)
        return pages.decode(octets, self.header.rows, self.header.rest)

    def translated(self) -> tuple[I64, U8]:
        """All positions that have a translated number, and those numbers, encrypted; pages unchecked."""
        positions, sealed = [np.empty(0, np.int64)], [np.empty((0, 16), np.uint8)]
        for number in range(self.header.translated_pages):
            at = (self.first_page + self.header.pages + number) * PAGE
            on_page, numbers = translated_on(self._octets[at : at + PAGE])
            positions.append(on_page[: self._on_page(number)].astype(np.int64))
            sealed.append(numbers[: self._on_page(number)])
        return np.concatenate(positions), np.concatenate(sealed)

    def verify_pages(self) -> None:
        """Check every page, also those known to be good.

        Raises:
            IndexCorruptError: naming the first page that does not fit.
        """
        total = self.header.pages + self.header.translated_pages
        for page in range(total):
            self._check(page)
        begin = self.first_page * PAGE
        if pages_digest(self._octets[begin : begin + total * PAGE].reshape(-1, PAGE)) != self.header.pages_sha256:
            raise IndexCorruptError(self.path, "altered: its pages are not those that it was written with")
