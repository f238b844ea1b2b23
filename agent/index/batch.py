"""Many searches at once over all segments, as columns: a fixed number of gathers, whatever the number of files.

Every search is one pseudonym on one UTC day. Where there are few searches a day, all days are served together, in
turns: in the first turn every search looks into the first segment of its day, in the second into the second, so that
the number of turns is that of the most divided day. Where there are many, each segment is served by itself, in the
order of its rows: what is worked on then stays near the processor.

The directories say between which rows a key lies. Eight rows are read at once, all on one page; a search that may have
more to find goes on behind them, on the same page or the next. Many rows are passed over by bisection first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.index import pages
from agent.index.arena import Arena
from agent.index.keys import I64, U64
from agent.index.layout import PAGE, TIME_BITS
from agent.index.segment import Segment

_PAGE_SHIFT: Final = (PAGE // 8).bit_length() - 1
_WIDE: Final = 8
"""So many rows are read at once."""
_WIDE_SHIFT: Final = _WIDE.bit_length() - 1
_CROWDED: Final = 4 * _WIDE
"""From so many rows on, those before the first that may fit are passed over by bisection."""
_APART: Final = 400
"""From so many searches a day on, each segment is served by itself."""
_KEY_MASK = np.uint64(~((1 << TIME_BITS) - 1) & (2**64 - 1))
_TAIL_SHIFT = np.uint64(TIME_BITS - pages.TAIL_BITS)
_TAIL = np.uint64(0xFFFF)
_WORD_TAIL = np.uint64(48)
_COLUMNS = np.arange(_WIDE)
_PROCESSORS: Final = len(os.sched_getaffinity(0))


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
    """Rows that were found: which search, which segment (its slot), the place of the key, and the word.

    Places lie in mapped files; `segments`, by slot, keeps them mapped.
    """

    search: I64
    slot: I64
    place: I64
    word: U64
    segments: Sequence[Segment] = ()

    @classmethod
    def none(cls) -> Hits:
        """No rows."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, nothing, np.empty(0, np.uint64))


@dataclass(frozen=True, slots=True)
class _Turn:
    """The segments that are served together, by day: each has pages of the same shape.

    Attributes:
        slot: for each day from the first on, the number of its segment, -1 for none. form: of their pages.
        whole: whether every day has one.
    """

    slot: I64
    form: pages.Shape
    whole: bool


@dataclass(frozen=True, slots=True)
class _Where:
    """The segment of each search, or the one of all of them, when these are no columns but numbers.

    Attributes:
        slot: its number. starts, shift, word: where its directory begins, and how a bucket is got, and where row 0 is.
    """

    slot: Any
    starts: Any
    shift: Any
    word: Any


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
        self._slots: dict[int, list[int]] = {}
        turns: dict[tuple[int, int], I64] = {}
        for day, segments in by_day.items():
            turn_of: dict[int, int] = {}
            for segment in segments:
                turn = turn_of[segment.form.rest] = turn_of.get(segment.form.rest, -1) + 1
                slots = turns.setdefault((segment.form.rest, turn), np.full(self._days, -1, np.int64))
                slots[day - self._first_day] = len(self.segments)
                self._slots.setdefault(day, []).append(len(self.segments))
                self.segments.append(segment)
        self._turns = [
            _Turn(slots, pages.shape(rest), bool((slots >= 0).all())) for (rest, _), slots in sorted(turns.items())
        ]
        self._starts = np.array([segment.starts_at for segment in self.segments], np.int64)
        self._shift = np.array([segment.shift for segment in self.segments], np.uint64)
        self._word = np.array([segment.first_word for segment in self.segments], np.int64)

    def search(self, searches: Searches) -> Hits:
        """All rows that the searches find, in no order.

        Raises:
            IndexCorruptError: a page that has to be read is not whole.
        """
        days = searches.day
        if not len(days):
            return Hits.none()
        found: list[Hits] = []
        if len(days) >= _APART * min(int(days[-1] - days[0]) + 1, len(self._slots)):
            self._apart(searches, found)
        else:
            self._together(searches, found)
        if not found:
            return Hits.none()
        if len(found) == 1:
            (hits,) = found
            return Hits(hits.search, hits.slot, hits.place, hits.word, self.segments)
        return Hits(
            np.concatenate([hits.search for hits in found]),
            np.concatenate([hits.slot for hits in found]),
            np.concatenate([hits.place for hits in found]),
            np.concatenate([hits.word for hits in found]),
            self.segments,
        )

    def _together(self, searches: Searches, found: list[Hits]) -> None:
        at = searches.day - self._first_day
        outside = at[0] < 0 or at[-1] >= self._days
        for turn in self._turns:
            slot = turn.slot.take(at, mode="clip")
            if turn.whole and not outside:
                chosen = None
            else:
                if outside:
                    slot[(at < 0) | (at >= self._days)] = -1
                chosen = np.flatnonzero(slot >= 0)
                if not len(chosen):
                    continue
                slot = slot.take(chosen)
            where = _Where(slot, self._starts.take(slot), self._shift.take(slot), self._word.take(slot))
            found += self._find(turn.form, where, searches, chosen)

    def _apart(self, searches: Searches, found: list[Hits]) -> None:
        """Each segment by itself, its searches in the order of their pseudonyms."""
        days = searches.day
        bounds = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(days)]
        parts = list(pairwise(bounds))
        if len(parts) < 2 or _PROCESSORS < 2:
            self._days_apart(searches, parts, found)
            return
        # half of the time is spent waiting for memory, without the interpreter's lock: two threads wait in parallel
        other: list[Hits] = []
        half = len(parts) // 2
        with ThreadPoolExecutor(1) as helper:
            waiting = helper.submit(self._days_apart, searches, parts[half:], other)
            self._days_apart(searches, parts[:half], found)
            waiting.result()
        found += other

    def _days_apart(self, searches: Searches, parts: Sequence[tuple[int, int]], found: list[Hits]) -> None:
        for begin, end in parts:
            slots = self._slots.get(int(searches.day[begin]), [])
            if not slots:
                continue
            upper = searches.pseudonym[begin:end].view(np.uint16)[3::4]  # little-endian: the upper 16 bits
            chosen = np.argsort(upper, kind="stable") + begin
            for slot in slots:
                where = _Where(np.int64(slot), self._starts[slot], self._shift[slot], self._word[slot])
                found += self._find(self.segments[slot].form, where, searches, chosen)

    def _find(self, form: pages.Shape, where: _Where, searches: Searches, chosen: I64 | None) -> list[Hits]:
        """What the `chosen` searches (None: all) find, each in its segment; a list of one, or none when nothing is."""
        if chosen is None:
            pseudonym, low_ms, high_ms = searches.pseudonym, searches.low, searches.high
        else:
            pseudonym = searches.pseudonym.take(chosen)
            low_ms, high_ms = searches.low.take(chosen), searches.high.take(chosen)
        halves = self._arena.halves
        bucket = (pseudonym >> where.shift).view(np.int64)
        bucket += where.starts
        first = halves.take(bucket, mode="clip").astype(np.int64)
        bucket += 1
        end = halves.take(bucket, mode="clip").astype(np.int64)
        low = pseudonym & _KEY_MASK
        low |= low_ms.view(np.uint64)
        width = (high_ms - low_ms).view(np.uint64)
        search, place = self._rows(form, where, first, end, low, width)
        if not len(search):
            return []
        word = self._arena.words.take(place + form.rows, mode="clip")
        exact = (word >> _WORD_TAIL) == ((pseudonym.take(search) >> _TAIL_SHIFT) & _TAIL)
        if not exact.all():
            search, place, word = search[exact], place[exact], word[exact]
        slot = where.slot.take(search) if where.slot.ndim else np.full(len(search), where.slot)
        return [Hits(search if chosen is None else chosen.take(search), slot, place, word)]

    def _rows(self, form: pages.Shape, where: _Where, first: I64, end: I64, low: U64, width: U64) -> tuple[I64, I64]:
        """Rows from `first` to `end` with keys from `low` to `low` + `width`: which search, and the key's place."""
        base = where.word
        searches: list[I64] = []
        places: list[I64] = []
        active: I64 | None = None
        slot = where.slot
        crowded = np.flatnonzero(end - first > _CROWDED)
        if len(crowded):
            first[crowded] = self._passed(
                form,
                _of(slot, crowded),
                _of(base, crowded),
                first[crowded],
                end[crowded],
                low[crowded],
            )
        while True:
            page = first // form.rows
            count = page + 1
            count *= form.rows
            count -= first  # rows from here to the end of the page
            left = end - first
            np.minimum(count, left, out=count)
            page *= form.gap
            page += first
            page += base
            place = page
            self._require_whole(slot, place, left)
            grid = place[:, None] + _COLUMNS
            keys = self._arena.words.take(grid, mode="clip")
            keys -= low[:, None]
            flat = np.flatnonzero(keys <= width[:, None])
            search = flat >> _WIDE_SHIFT
            inside = (flat & (_WIDE - 1)) < count.take(search)
            if not inside.all():
                flat, search = flat[inside], search[inside]
            found = grid.ravel().take(flat)
            searches.append(search if active is None else active.take(search))
            places.append(found)
            # on go those with rows left whose last one read was not beyond what is sought
            np.minimum(count, _WIDE, out=count)
            more = np.flatnonzero(left > count)
            if len(more):
                read = count.take(more)
                last = keys.ravel().take((more << _WIDE_SHIFT) + (read - 1)).view(np.int64)
                on = last <= width.take(more).view(np.int64)
                more, read = more[on], read[on]
            if not len(more):
                break
            active = more if active is None else active.take(more)
            slot, base = _of(slot, more), _of(base, more)
            first, end, low, width = first.take(more) + read, end.take(more), low.take(more), width.take(more)
        if len(searches) == 1:
            return searches[0], places[0]
        return np.concatenate(searches), np.concatenate(places)

    def _passed(self, form: pages.Shape, slot: Any, base: Any, first: I64, end: I64, low: U64) -> I64:
        """Where to begin among rows from `first` to `end`: at most 8 rows before the first whose key is not less."""
        words = self._arena.words
        left = end - first
        while int(left.max()) > _WIDE:
            half = left >> 1
            row = first + half
            place = row // form.rows * form.gap
            place += row
            place += base
            self._require_whole(slot, place, left)
            less = words.take(place, mode="clip") < low
            less &= left > 0
            first = np.where(less, row + 1, first)
            left = np.where(less, left - half - 1, half)
        return first

    def _require_whole(self, slot: Any, place: I64, left: I64) -> None:
        """Check the pages of these places that were not checked before; those without rows left don't matter."""
        page = place >> _PAGE_SHIFT
        state = self._arena.checked.take(page, mode="clip")
        if state.all():
            return
        fresh = np.flatnonzero((state == 0) & (left > 0))
        slots = np.broadcast_to(slot, len(page))
        for at, number in dict(zip(page[fresh].tolist(), slots[fresh].tolist(), strict=True)).items():
            self.segments[number].check_arena_page(at)


def _of(column: Any, positions: npt.NDArray[np.int64]) -> Any:
    """The values at these positions; the one value when there is but one for all."""
    return column.take(positions) if column.ndim else column
