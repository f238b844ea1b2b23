"""One segment, memory-mapped: from a range of keys to legs.

A page is checked against its CRC-32 when it is first touched, not when the segment is opened: opening reads a few
hundred kilobytes whatever the segment's size, a restart serves at once, and still no byte is used unchecked. The
search stays on checked pages too: the sparse directory, checked at opening, says which page a key lies on, and only
within that page is the key searched. A page that does not fit its sum is an error that names the file, never a miss.

What is mapped can't change under the reader: segments are immutable, and a removed one stays until it is unmapped.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import zlib
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.index.errors import IndexCorruptError
from agent.index.keys import I64, U64, Keys, SealBrokenError
from agent.index.layout import DAY_MS, KEYS_PER_PAGE, PAGE, key_base, key_time, time_of
from agent.index.manifest import SegmentEntry
from agent.index.rows import DISPOSITION_SHIFT, DISPOSITIONS, FORM_IN, TRANSLATED, Route
from agent.index.segment_format import decode_footer
from agent.legs import Leg
from protos.e164 import E164, InvalidNumberError, from_int

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("segments are little-endian and mapped as they are; this machine is not little-endian")

Record = tuple[int, int, int, int, int, int, int, int, int]
"""One packed record, in the order of `segment_format.REST_FIELDS`."""

_ROUNDS = [1 << bit for bit in reversed(range(KEYS_PER_PAGE.bit_length() - 1))]


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows that a search of many found: which search, where, the earliest seizure time, the packed records."""

    search: I64
    position: I64
    at_ms: I64
    records: npt.NDArray[Any]


class Segment:
    """An open segment. Safe to share between threads: all that changes is which pages are known to be good."""

    def __init__(self, path: Path, entry: SegmentEntry, keys: Keys) -> None:
        """Map the file and check all of it that is held in memory.

        Raises:
            FileNotFoundError: it is not there.
            IndexCorruptError, UnknownVersionError: see there.
        """
        self.path = path
        self.entry = entry
        self._keys = keys
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:
                raise IndexCorruptError(path, "torn: empty")
            self._map = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        view = memoryview(self._map)
        self._footer, sums = decode_footer(view, entry, path)
        self._sums = memoryview(sums).cast("I")
        self._good = bytearray(self._footer.pages)
        self._good_column = np.frombuffer(self._good, np.uint8)
        self._rows = self._footer.rows
        self._view = view
        self._check_shape()
        offsets, sizes = self._footer.offsets, self._footer.sizes
        key_pages = -(-sizes["key"] // PAGE)
        self._key_page = offsets["key"] // PAGE
        self._key = view[offsets["key"] : offsets["key"] + key_pages * PAGE].cast("Q")
        self._key_column = np.frombuffer(self._map, "<u8", key_pages * KEYS_PER_PAGE, offsets["key"])
        self._record = self._footer.rest_struct()
        self._rest_at = offsets["rest"]
        self._rest_column = np.frombuffer(self._map, self._footer.rest_dtype(), self._rows, self._rest_at)
        self._first = memoryview(self._checked("first")).cast("Q")
        self._first_column = np.frombuffer(self._first, "<u8")
        self._routes, self._sources = self._dictionary()
        self._translated_at: memoryview | None = None

    def _check_shape(self) -> None:
        footer = self._footer
        wanted = {
            "key": 8 * self._rows,
            "first": 8 * -(-self._rows // KEYS_PER_PAGE),
            "rest": footer.rest_struct().size * self._rows,
            "translated": 4 * footer.sizes["translated_at"],
        }
        fits = all(footer.sizes[section] == size for section, size in wanted.items())
        inside = all(
            offset % PAGE == 0 and offset > 0 and offset + footer.sizes[section] <= footer.pages * PAGE
            for section, offset in footer.offsets.items()
        )
        if not fits or not inside or self._rows < 1:
            raise IndexCorruptError(self.path, "its footer contradicts itself")

    def _dictionary(self) -> tuple[list[Route], list[str]]:
        try:
            dictionary = json.loads(self._keys.unseal_text(self._checked("dictionary")))
        except SealBrokenError as error:
            raise IndexCorruptError(self.path, str(error)) from None
        return [(trunk, address) for trunk, address in dictionary["routes"]], list(dictionary["sources"])

    def _checked(self, section: str) -> bytes:
        offset, size = self._footer.offsets[section], self._footer.sizes[section]
        for page in range(offset // PAGE, -(-(offset + size) // PAGE)):
            if not self._good[page]:
                self._check(page)
        return bytes(self._view[offset : offset + size])

    def _check(self, page: int) -> None:
        if zlib.crc32(self._view[page * PAGE : (page + 1) * PAGE]) != self._sums[page]:
            raise IndexCorruptError(self.path, f"altered: page {page} does not fit its checksum")
        self._good[page] = 1

    def _check_pages(self, pages: I64) -> None:
        for page in np.unique(pages[self._good_column[pages] == 0]).tolist():
            self._check(page)

    def verify(self) -> None:
        """Check every page, also those known to be good.

        Raises:
            IndexCorruptError: naming the first page that does not fit.
        """
        for page in range(self._footer.pages):
            self._check(page)

    def search(self, day: int, pseudonym: int, low_ms: int, high_ms: int) -> list[tuple[int, int, Record]]:
        """Rows of a pseudonym on one day whose earliest seizure time lies in [`low_ms`, `high_ms`], within that day.

        Returns:
            position, earliest seizure time and record of each, in order of time.
        """
        base = key_base(day - self._footer.first_day, pseudonym)
        midnight = day * DAY_MS
        low, high = base + low_ms - midnight, base + high_ms - midnight
        tail = pseudonym & 0xFFFFFFFF
        key, good, key_page = self._key, self._good, self._key_page
        page = max(bisect_left(self._first, low) - 1, 0)
        if not good[key_page + page]:
            self._check(key_page + page)
        begin = page * KEYS_PER_PAGE
        position = bisect_left(key, low, begin, min(begin + KEYS_PER_PAGE, self._rows))
        found = []
        while position < self._rows:
            page = key_page + position // KEYS_PER_PAGE
            if not good[page]:
                self._check(page)
            at = key[position]
            if at > high:
                break
            record = self._record_at(position)
            if record[0] == tail:
                found.append((position, midnight + key_time(at), record))
            position += 1
        return found

    def _record_at(self, position: int) -> Record:
        offset = self._rest_at + position * self._record.size
        for page in range(offset // PAGE, (offset + self._record.size - 1) // PAGE + 1):
            if not self._good[page]:
                self._check(page)
        record: Record = self._record.unpack_from(self._view, offset)
        return record

    def search_many(self, days: I64, pseudonyms: U64, low_ms: I64, high_ms: I64) -> Hits:
        """What `search` finds for many; columns of equal length, the days within the segment's period."""
        day_in_segment = (days - self._footer.first_day).astype(np.uint64)
        base = (day_in_segment << np.uint64(59)) | ((pseudonyms >> np.uint64(32)) << np.uint64(27))
        low = base + (low_ms - days * DAY_MS).astype(np.uint64)
        high = base + (high_ms - days * DAY_MS).astype(np.uint64)
        order = np.argsort(low)
        low, high = low[order], high[order]
        start = self._before(low)
        hit = np.flatnonzero(start < self._rows)
        self._check_pages(self._key_page + start[hit] // KEYS_PER_PAGE)
        hit = hit[self._key_column[start[hit]] <= high[hit]]
        start, order = start[hit], order[hit]
        # the first key greater than `high` is the first one not less than high + 1
        counts = self._before(high[hit] + np.uint64(1)) - start
        which = np.repeat(order, counts)
        position = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(start, counts)
        self._check_records(position)
        records = self._rest_column[position]
        exact = records["tail"] == (pseudonyms[which] & np.uint64(0xFFFFFFFF))
        which, position, records = which[exact], position[exact], records[exact]
        at_ms = days[which] * DAY_MS + (self._key_column[position] & np.uint64((1 << 27) - 1)).astype(np.int64)
        return Hits(which, position, at_ms, records)

    def _before(self, key: U64) -> I64:
        """How many rows have a lesser key, for each key."""
        page = np.maximum(np.searchsorted(self._first_column, key, "left") - 1, 0)
        self._check_pages(self._key_page + page)
        position = page * KEYS_PER_PAGE
        # the last page is filled with greatest keys, so that no probe needs a bound
        for half in _ROUNDS:
            position += half * (self._key_column[position + (half - 1)] < key)
        position += self._key_column[position] < key
        rows: I64 = np.minimum(position, self._rows)
        return rows

    def _check_records(self, position: I64) -> None:
        offset = self._rest_at + position * self._record.size
        self._check_pages(offset // PAGE)
        self._check_pages((offset + self._record.size - 1) // PAGE)

    def leg(self, position: int, earliest_ms: int, record: Record, calling: int) -> Leg:
        """The leg in a row that a search found.

        Args:
            calling: pseudonym, on the row's day, of the calling number asked with; 0 for none.
        """
        _, span, row_calling, call_ref, ingress, egress, row, source, flags = record
        try:
            ingress_trunk, ingress_address = self._routes[ingress]
            egress_trunk, egress_address = self._routes[egress]
            return Leg(
                called_in=self._translated(position, earliest_ms // DAY_MS) if flags & TRANSLATED else None,
                sent_as_asked=not flags & FORM_IN,
                calling_matches=None if calling == 0 or row_calling == 0 else calling == row_calling,
                earliest=time_of(earliest_ms),
                latest=time_of(earliest_ms + span),
                ingress_trunk=ingress_trunk,
                ingress_address=ingress_address,
                egress_trunk=egress_trunk,
                egress_address=egress_address,
                call_ref=call_ref or None,
                disposition=DISPOSITIONS[flags >> DISPOSITION_SHIFT],
                source=self._sources[source],
                row=row,
            )
        except (IndexError, SealBrokenError, InvalidNumberError) as error:
            raise IndexCorruptError(self.path, f"row {position} contradicts its segment ({error})") from None

    def _translated(self, position: int, day: int) -> E164:
        if self._translated_at is None:
            self._translated_at = memoryview(self._checked("translated_at")).cast("I")
        index = bisect_left(self._translated_at, position)
        if index == len(self._translated_at) or self._translated_at[index] != position:
            raise SealBrokenError("its translated number is missing")
        # 16 bytes at a multiple of 16 never cross a page
        offset = self._footer.offsets["translated"] + 16 * index
        if not self._good[offset // PAGE]:
            self._check(offset // PAGE)
        return from_int(self._keys.day(day).unseal(bytes(self._view[offset : offset + 16])))
