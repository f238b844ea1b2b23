"""Many searches at once over all segments, as columns: a fixed number of gathers, whatever the number of files.

Every search is one pseudonym on one UTC day. Segments of a day are served in turns: in the first turn every search looks
into the first segment of its day, in the second into the second, so that the number of turns is that of the most
divided day. In a turn the directories say between which rows a key lies; where these are few, all of them are read at
once; the others are bisected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.index import pages
from agent.index.arena import Arena
from agent.index.keys import I64, U64
from agent.index.layout import PAGE, TIME_BITS
from agent.index.segment import Segment

_PAGE_SHIFT = (PAGE // 8).bit_length() - 1
_WIDE = 8
"""So many rows of a bucket are read at once."""
_SORTED_FROM = 4096
"""Above so many searches, reading in the order of places is faster by more than the sorting costs."""
_KEY_MASK = np.uint64(~((1 << TIME_BITS) - 1) & (2**64 - 1))
_TAIL_SHIFT = np.uint64(TIME_BITS - pages.TAIL_BITS)
_TAIL = np.uint64(0xFFFF)
_WORD_TAIL = np.uint64(48)
_COLUMNS = np.arange(_WIDE)
_PIVOTS = np.arange(1, _WIDE + 1)


@dataclass(frozen=True, slots=True)
class Searches:
    """Searches as columns of equal length, in the order of their days.

    Attributes:
        day: days since 1970-01-01. pseudonym: of the called number on that day, 64 bits.
        low, high: the first and last millisecond of the day at which the seizure may begin.
    """

    day: I64
    pseudonym: U64
    low: I64
    high: I64


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows that were found: which search, which segment (its slot), the place of the key, and the word."""

    search: I64
    slot: I64
    place: I64
    word: U64


@dataclass(frozen=True, slots=True)
class _Turn:
    """The segments that are served together, by day: each has pages of the same shape.

    Attributes:
        slot: for each day from `first_day` on, the number of its segment, -1 for none. form: of their pages.
    """

    slot: I64
    form: pages.Shape


class Table:
    """The segments of one state of an index, as columns to search in.

    Attributes:
        segments: by slot.
    """

    def __init__(self, arena: Arena, by_day: Mapping[int, Sequence[Segment]]) -> None:
        self._arena = arena
        self._first_day = min(by_day, default=0)
        self._days = max(by_day, default=-1) - self._first_day + 1
        self.segments: list[Segment] = []
        turns: dict[tuple[int, int], I64] = {}
        for day, segments in by_day.items():
            turn_of: dict[int, int] = {}
            for segment in segments:
                turn = turn_of[segment.form.rest] = turn_of.get(segment.form.rest, -1) + 1
                slots = turns.setdefault((segment.form.rest, turn), np.full(self._days, -1, np.int64))
                slots[day - self._first_day] = len(self.segments)
                self.segments.append(segment)
        self._turns = [_Turn(slots, pages.shape(rest)) for (rest, _), slots in sorted(turns.items())]
        self._starts = np.array([segment.starts_at for segment in self.segments], np.int64)
        self._shift = np.array([segment.shift for segment in self.segments], np.uint64)
        self._word = np.array([segment.first_word for segment in self.segments], np.int64)

    def search(self, searches: Searches) -> Hits:
        """All rows that the searches find, in no order.

        Raises:
            IndexCorruptError: a page that has to be read is not whole.
        """
        found = []
        at = searches.day - self._first_day
        outside = (at < 0) | (at >= self._days)
        some_outside = bool(outside.any())
        for turn in self._turns:
            slot = turn.slot.take(at, mode="clip")
            if some_outside:
                slot[outside] = -1
            chosen = np.flatnonzero(slot >= 0)
            if not len(chosen):
                continue
            if len(chosen) == len(slot):
                hits = self._turn(turn.form, slot, searches.pseudonym, searches.low, searches.high)
                found.append(hits)
            else:
                part = self._turn(
                    turn.form,
                    slot[chosen],
                    searches.pseudonym[chosen],
                    searches.low[chosen],
                    searches.high[chosen],
                )
                found.append(Hits(chosen[part.search], part.slot, part.place, part.word))
        if len(found) == 1:
            return found[0]
        if not found:
            nothing = np.empty(0, np.int64)
            return Hits(nothing, nothing, nothing, np.empty(0, np.uint64))
        return Hits(
            np.concatenate([hits.search for hits in found]),
            np.concatenate([hits.slot for hits in found]),
            np.concatenate([hits.place for hits in found]),
            np.concatenate([hits.word for hits in found]),
        )

    def _turn(self, form: pages.Shape, slot: I64, pseudonym: U64, low_ms: I64, high_ms: I64) -> Hits:
        words, halves = self._arena.words, self._arena.halves
        bucket = self._starts[slot] + (pseudonym >> self._shift[slot]).view(np.int64)
        order: I64 | None = None
        if len(slot) > _SORTED_FROM:
            order = np.argsort(bucket)
            bucket, slot, pseudonym = bucket[order], slot[order], pseudonym[order]
            low_ms, high_ms = low_ms[order], high_ms[order]
        first = halves.take(bucket, mode="clip").astype(np.int64)
        size = halves.take(bucket + 1, mode="clip").astype(np.int64) - first
        low = (pseudonym & _KEY_MASK) | low_ms.view(np.uint64)
        width = (high_ms - low_ms).view(np.uint64)
        word = self._word[slot]
        rows = first[:, None] + _COLUMNS
        place = rows + rows // form.rows * form.gap
        place += word[:, None]
        some = np.flatnonzero(size)
        self._require_whole(slot[some], place[some, 0])
        self._require_whole(slot[some], place[some, np.minimum(size[some], _WIDE) - 1])
        keys = words.take(place, mode="clip")
        keys -= low[:, None]
        search, column = np.nonzero(keys <= width[:, None])
        inside = column < size[search]
        if not inside.all():
            search, column = search[inside], column[inside]
        found = place[search, column]
        crowded = np.flatnonzero(size > _WIDE)
        if len(crowded):
            more_search, more = self._crowded(
                form,
                slot[crowded],
                first[crowded] + _WIDE,
                size[crowded] - _WIDE,
                low[crowded],
                width[crowded],
                word[crowded],
            )
            if len(more):
                search, found = np.concatenate([search, crowded[more_search]]), np.concatenate([found, more])
        word_of = words.take(found + form.rows)
        exact = (word_of >> _WORD_TAIL) == ((pseudonym[search] >> _TAIL_SHIFT) & _TAIL)
        if not exact.all():
            search, found, word_of = search[exact], found[exact], word_of[exact]
        return Hits(search if order is None else order[search], slot[search], found, word_of)

    def _crowded(
        self, form: pages.Shape, slot: I64, first: I64, size: I64, low: U64, width: U64, word: I64
    ) -> tuple[I64, I64]:
        """Rows with keys from `low` to `low` + `width` among `size` rows (one at least) from `first` on.

        What lies before `low` is passed over in rounds, each of which reads eight rows and leaves a ninth.
        """
        words = self._arena.words
        end = first + size
        last = (end - 1)[:, None]
        least = low[:, None]
        begin, left = first, size

        def places(rows: I64) -> I64:
            """Where the keys of rows lie, on pages that are whole; beyond the end, that of the last."""
            rows = np.minimum(rows, last)
            rows += rows // form.rows * form.gap
            rows += word[:, None]
            self._require_whole(slot, rows)
            return rows

        while left.any():
            step = left // (_WIDE + 1) + 1
            offset = step[:, None] * _PIVOTS - 1
            less = words.take(places(begin[:, None] + offset), mode="clip") < least
            less &= offset < left[:, None]
            passed = np.count_nonzero(less, axis=1) * step
            begin = begin + passed
            left = np.minimum(step - 1, left - passed)
        searches, found = [], []
        active = np.arange(len(slot))
        while len(active):
            rows = begin[:, None] + _COLUMNS
            place = places(rows)
            fits = words.take(place, mode="clip") - least <= width[:, None]
            fits &= rows <= last
            search, column = np.nonzero(fits)
            searches.append(active[search])
            found.append(place[search, column])
            more = np.flatnonzero(fits[:, -1])
            active, begin, slot, width, word = active[more], begin[more] + _WIDE, slot[more], width[more], word[more]
            last, least = last[more], least[more]
        return np.concatenate(searches), np.concatenate(found)

    def _require_whole(self, slot: I64, place: I64) -> None:
        """Check the pages of these places, a row of them for each slot, that were not checked before."""
        page = place >> _PAGE_SHIFT
        state = self._arena.checked.take(page, mode="clip")
        if state.all():
            return
        fresh = np.nonzero(state == 0)
        for at, number in dict(zip(page[fresh].tolist(), slot[fresh[0]].tolist(), strict=True)).items():
            self.segments[number].check_arena_page(at)
