"""Many searches at once over all segments, as columns: a fixed number of gathers, whatever the number of files.

Every search is one pseudonym on one UTC day. Where there are few searches a day, all days are served together, in
turns: in the first turn every search looks into the first segment of its day, in the second into the second, so that
the number of turns is that of the most divided day. Where there are many, each segment is served by itself, in the
order of its rows: what is worked on then stays near the processor. Threads were tried and brought nothing: most of the
time is spent in steps too short to be worth handing over the interpreter's lock.

The directories say between which rows a key lies. Eight rows are read at once, all on one page; the few searches that
may have more to find go on behind them, on the same page or the next, those of all segments together. Many rows are
passed over by bisection first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from agent.index import pages
from agent.index.arena import Arena
from agent.index.keys import I64, U64
from agent.index.layout import PAGE, TIME_BITS
from agent.index.segment import Segment

_PAGE_SHIFT: Final = (PAGE // 8).bit_length() - 1
_WIDE: Final = 8
"""So many rows are read at once."""
_WIDE_SHIFT: Final = _WIDE.bit_length() - 1
_FAR: Final = 4 * _WIDE
"""So many of a search that goes on; where there are more, those before the first that may fit are passed over."""
_APART: Final = 400
"""From so many searches a day on, each segment is served by itself."""
_KEY_MASK = np.uint64(~((1 << TIME_BITS) - 1) & (2**64 - 1))
_TAIL_SHIFT = np.uint64(TIME_BITS - pages.TAIL_BITS)
_TAIL = np.uint64(0xFFFF)
_WORD_TAIL = np.uint64(48)
_COLUMNS = np.arange(_WIDE)


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


@dataclass(frozen=True, slots=True)
class _Rest:
    """Searches that have rows to read, as columns of equal length.

    Attributes:
        search: which they are; None for all, in order. slot, base: of their segments: its number, and the place of row
            0 were all pages like the first; columns, or one number for all.
        first, left: the next row to read, and how many there are from it on.
        low, width: keys from `low` to `low` + `width` are sought.
    """

    search: I64 | None
    slot: Any
    base: Any
    first: I64
    left: I64
    low: U64
    width: U64

    @classmethod
    def of(cls, parts: Sequence[_Rest]) -> _Rest:
        """All of several, with columns for their segments."""
        columns = zip(*((p.search, p.slot, p.base, p.first, p.left, p.low, p.width) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def go_on(self, positions: I64, read: I64 | int, rest: list[_Rest]) -> None:
        """Put the searches at these positions, of whose rows so many were read, among the rest."""
        if len(positions):
            rest.append(
                _Rest(
                    _of(self.search, positions),
                    _each(self.slot, positions),
                    _each(self.base, positions),
                    self.first.take(positions) + read,
                    self.left.take(positions) - read,
                    self.low.take(positions),
                    self.width.take(positions),
                )
            )


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
            rest: list[_Rest] = []
            self._begin(turn.form, where, searches, chosen, found, rest)
            self._go_on(turn.form, searches, rest, found)

    def _apart(self, searches: Searches, found: list[Hits]) -> None:
        """Each segment by itself, its searches in the order of their pseudonyms."""
        days = searches.day
        rest: dict[int, list[_Rest]] = {}
        for begin, end in pairwise([0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(days)]):
            slots = self._slots.get(int(days[begin]), [])
            if not slots:
                continue
            upper = searches.pseudonym[begin:end].view(np.uint16)[3::4]  # little-endian: the upper 16 bits
            chosen = np.argsort(upper, kind="stable") + begin
            for slot in slots:
                form = self.segments[slot].form
                where = _Where(np.int64(slot), self._starts[slot], self._shift[slot], self._word[slot])
                self._begin(form, where, searches, chosen, found, rest.setdefault(form.rest, []))
        for width, some in rest.items():
            self._go_on(pages.shape(width), searches, some, found)

    def _begin(
        self,
        form: pages.Shape,
        where: _Where,
        searches: Searches,
        chosen: I64 | None,
        found: list[Hits],
        rest: list[_Rest],
    ) -> None:
        """The first eight rows of what the `chosen` searches (None: all) may find, each in its segment."""
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
        left = halves.take(bucket, mode="clip").astype(np.int64)
        left -= first
        low = pseudonym & _KEY_MASK
        low |= low_ms.view(np.uint64)
        width = (high_ms - low_ms).view(np.uint64)
        self._read(form, _Rest(chosen, where.slot, where.word, first, left, low, width), pseudonym, found, rest)

    def _go_on(self, form: pages.Shape, searches: Searches, rest: list[_Rest], found: list[Hits]) -> None:
        """What is left of searches in segments whose pages have that form: few, so all of them together."""
        while rest:
            some = rest[0] if len(rest) == 1 else _Rest.of(rest)
            rest = []
            crowded = np.flatnonzero(some.left > _FAR)
            if len(crowded):
                self._pass_over(form, some, crowded)
            pseudonym = searches.pseudonym if some.search is None else searches.pseudonym.take(some.search)
            self._read_far(form, some, pseudonym, found, rest)

    def _read(self, form: pages.Shape, some: _Rest, pseudonym: U64, found: list[Hits], rest: list[_Rest]) -> None:
        """Read eight rows of each search, as far as they are on one page; who may have more to find goes on."""
        first, left, low, width = some.first, some.left, some.low, some.width
        page = first // form.rows
        count = page + 1
        count *= form.rows
        count -= first  # rows from here to the end of the page
        np.minimum(count, left, out=count)
        page *= form.gap
        page += first
        page += some.base
        place = page
        self._require_whole(some.slot, place, left)
        keys = self._arena.eights[place].view(np.uint64).reshape(-1, _WIDE)
        keys -= low[:, None]
        flat = np.flatnonzero(keys <= width[:, None])
        search = flat >> _WIDE_SHIFT
        flat &= _WIDE - 1
        inside = flat < count.take(search)
        if not inside.all():
            flat, search = flat[inside], search[inside]
        if len(search):
            flat += place.take(search)
            self._find(form, some, pseudonym, search, flat, found)
        # on go those with rows left whose last one read was not beyond what is sought
        np.minimum(count, _WIDE, out=count)
        more = np.flatnonzero(left > count)
        if len(more):
            read = count.take(more)
            last = keys.ravel().take((more << _WIDE_SHIFT) + (read - 1)).view(np.int64)
            on = last <= width.take(more).view(np.int64)
            some.go_on(more[on], read[on], rest)

    def _read_far(self, form: pages.Shape, some: _Rest, pseudonym: U64, found: list[Hits], rest: list[_Rest]) -> None:
        """Read up to 32 rows of each search, on whichever pages they are; who may have more to find goes on."""
        first, left, low, width = some.first, some.left, some.low, some.width
        far = min(_FAR, int(left.max()))
        columns = np.arange(far)
        row = np.minimum(columns, (left - 1)[:, None])
        row += first[:, None]
        place = row // form.rows
        place *= form.gap
        place += row
        place += some.base[:, None]
        self._require_whole(some.slot[:, None], place, left[:, None])
        keys = self._arena.words.take(place, mode="clip")
        keys -= low[:, None]
        fits = keys <= width[:, None]
        fits &= columns < left[:, None]
        flat = np.flatnonzero(fits)
        if len(flat):
            self._find(form, some, pseudonym, flat // far, place.ravel().take(flat), found)
        more = np.flatnonzero((left > far) & (keys[:, -1].view(np.int64) <= width.view(np.int64)))
        some.go_on(more, far, rest)

    def _find(self, form: pages.Shape, some: _Rest, pseudonym: U64, search: I64, place: I64, found: list[Hits]) -> None:
        """Take up rows whose key fits, at `place`, where the rest of the pseudonym fits, too."""
        word = self._arena.words.take(place + form.rows, mode="clip")
        exact = (word >> _WORD_TAIL) == ((pseudonym.take(search) >> _TAIL_SHIFT) & _TAIL)
        if not exact.all():
            search, place, word = search[exact], place[exact], word[exact]
        found.append(Hits(_of(some.search, search), _each(some.slot, search), place, word))

    def _pass_over(self, form: pages.Shape, some: _Rest, crowded: I64) -> None:
        """Where there are many rows, begin at most 8 rows before the first whose key is not less, by bisection."""
        words = self._arena.words
        slot, base = _each(some.slot, crowded), _each(some.base, crowded)
        first, left, low = some.first.take(crowded), some.left.take(crowded), some.low.take(crowded)
        end = first + left
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
        some.first[crowded] = first
        some.left[crowded] = end - first

    def _require_whole(self, slot: Any, place: I64, left: I64) -> None:
        """Check the pages of these places that were not checked before; those without rows left don't matter."""
        page = place >> _PAGE_SHIFT
        state = self._arena.checked.take(page, mode="clip")
        if state.all():
            return
        fresh = (state == 0) & (left > 0)
        slots = np.broadcast_to(slot, page.shape)
        for at, number in dict(zip(page[fresh].tolist(), slots[fresh].tolist(), strict=True)).items():
            self.segments[number].check_arena_page(at)


def _of(chosen: I64 | None, positions: I64) -> I64:
    """What was chosen at these positions; the positions themselves where all were."""
    return positions if chosen is None else chosen.take(positions)


def _each(column: Any, positions: I64) -> I64:
    """The values at these positions; the one value as often when there is but one for all."""
    if column.ndim:
        values: I64 = column.take(positions)
        return values
    return np.full(len(positions), column)
