"""Finding the legs of a called number in an index directory.

A search works on one state of the index, the one that the manifest described when the search began; indexing, in this
or another process, changes nothing under it.

Never answers from a directory that it could not read whole: that raises, and an empty list means that nothing is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic_ns
from typing import Final, TypeVar

import numpy as np

from agent.index.batch import Hits, Searches
from agent.index.coverage import Coverage
from agent.index.errors import DaySecretError
from agent.index.keys import I64, U64, Keys, number_blocks
from agent.index.layout import DAY_MS, TIME_MASK, ceil_ms, floor_ms, time_of
from agent.index.segment import Hit
from agent.index.snapshot import Day, Follower, State
from agent.legs import Leg
from protos.e164 import E164, to_int
from protos.values import value

_FEW: Final = 48
"""Below this many queries, one after the other is faster than columns."""

T = TypeVar("T")


@value
class Query:
    """One search: the called number, the calling number as a hint, and the interval, aware UTC, ends included."""

    called: E164
    calling: E164 | None
    earliest: datetime
    latest: datetime


class Index:
    """An index directory, open for reading. Safe to share between threads."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        self._follower = Follower(directory, keys)

    @classmethod
    def open(cls, directory: Path, keys: Keys) -> Index:
        """Open the index; serves at once what was indexed, and later what is indexed while it is open.

        A directory that is not there yet is an index without sources.

        Raises:
            IndexCorruptError, UnknownVersionError, WrongKeyError: see there.
        """
        index = cls(directory, keys)
        index.refresh()
        return index

    def close(self) -> None:
        """Let go of the files. A later search opens them again."""
        self._follower.close()

    def refresh(self) -> bool:
        """Take up what was indexed since; every search does this itself. Returns whether anything changed.

        Raises:
            IndexUnusableError: the new state can't be read; the old one is not served in its place.
        """
        return self._follower.refresh()

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> list[Leg]:
        """All legs of `called` whose seizure interval touches [`earliest`, `latest`], ordered by time.

        Raises:
            IndexUnusableError: the index can't be read; never an empty list then.
            ValueError: a naive time, or `latest` before `earliest`.
        """
        follower = self._follower
        if follower.word[0] != follower.seen or monotonic_ns() >= follower.look_again:
            follower.refresh()
        try:
            return self._find(follower.state, called, calling, earliest, latest)
        except DaySecretError:
            return self._searched(lambda state: self._find(state, called, calling, earliest, latest))

    def find_many(self, queries: Sequence[Query]) -> list[list[Leg]]:
        """What `find` gives for each query, in their order, at a fraction of the cost, all from one state.

        Raises:
            IndexUnusableError, ValueError: as `find`, for the whole batch.
        """
        if len(queries) < _FEW:
            return self._searched(
                lambda state: [self._find(state, q.called, q.calling, q.earliest, q.latest) for q in queries]
            )
        return self._searched(lambda state: self._find_many(state, queries))

    def hits(self, called: int, low_ms: int, high_ms: int) -> list[Hit]:
        """Rows of a called number (as digits) whose earliest seizure time lies in the interval, ms since 1970.

        Raises:
            IndexUnusableError: the index can't be read.
        """
        follower = self._follower
        if follower.word[0] != follower.seen or monotonic_ns() >= follower.look_again:
            follower.refresh()
        day = low_ms // DAY_MS
        midnight = day * DAY_MS
        if high_ms < midnight + DAY_MS:  # within one day, as nearly always: the short way
            here = follower.state.ciphers.known.get(day)
            if here is not None:
                found: list[Hit] = []
                pseudonym = here[0].called(called)
                for segment in here[1]:
                    segment.search(pseudonym, low_ms - midnight, high_ms - midnight, found)
                return found
        try:
            return self._hits(follower.state, called, low_ms, high_ms)
        except DaySecretError:
            return self._searched(lambda state: self._hits(state, called, low_ms, high_ms))

    def hits_many(self, called: U64, low_ms: I64, high_ms: I64) -> Hits:
        """What `hits` finds for columns of called numbers and intervals, in no order.

        Raises:
            IndexUnusableError: the index can't be read.
        """
        return self._searched(lambda state: self._hits_many(state, called, low_ms, high_ms, reach=False))

    def ms_of(self, hits: Hits) -> I64:
        """The earliest seizure times of rows that were found, ms since 1970."""
        keys = self._follower.arena.words.take(hits.place, mode="clip")
        days = np.array([segment.header.day for segment in hits.segments], np.int64)
        ms: I64 = (keys & np.uint64(TIME_MASK)).astype(np.int64)
        if len(days):
            ms += (days * DAY_MS).take(hits.slot)
        return ms

    def _searched(self, search: Callable[[State], T]) -> T:
        """The result of a search in the present state."""
        self._follower.refresh()
        state = self._follower.state
        try:
            return search(state)
        except DaySecretError:
            # a day that expired under the search: then there is a state without it
            self._follower.look()
            if self._follower.state is state:
                raise
            return search(self._follower.state)

    def _day(self, state: State, day: int) -> Day | None:
        """This thread's ciphers of a day, and the segments with rows of it; None when there are none.

        Raises:
            DaySecretError: the day's rows can't be read.
        """
        known = state.ciphers.known
        if day not in known:
            segments = state.by_day.get(day, ())
            # each is asked for by its own secret, so that none is searched under another one
            ciphers = [self._follower.days.day(day, segment.header.secret) for segment in segments]
            for segment in segments:
                segment.dictionary()  # what its rows mean must be known before any counts as found or absent
            known[day] = (ciphers[0], segments) if segments else None
        return known[day]

    def _hits(self, state: State, called: int, low_ms: int, high_ms: int) -> list[Hit]:
        found: list[Hit] = []
        known = state.ciphers.known
        day = low_ms // DAY_MS
        midnight = day * DAY_MS
        low_ms -= midnight
        high_ms -= midnight
        while low_ms <= high_ms:
            here = known.get(day) or self._day(state, day)
            if here is not None:
                pseudonym = here[0].called(called)
                for segment in here[1]:
                    segment.search(pseudonym, low_ms, high_ms if high_ms < DAY_MS else DAY_MS - 1, found)
            day, low_ms, high_ms = day + 1, 0, high_ms - DAY_MS
        return found

    def _find(
        self, state: State, called: E164, calling: E164 | None, earliest: datetime, latest: datetime
    ) -> list[Leg]:
        # a row has whole milliseconds: it touches the interval when it touches the whole ones within
        from_ms, to_ms = ceil_ms(earliest), floor_ms(latest)
        if latest < earliest:
            raise ValueError("the interval ends before it begins")
        hint = to_int(calling) if calling is not None else 0
        low, high = max(from_ms - state.longest_ms, state.first_ms), min(to_ms, state.last_ms)
        if low > high:
            return []
        number = to_int(called)
        if low // DAY_MS == high // DAY_MS:
            hits = self._hits(state, number, low, high)
        else:
            hits = []
            for day in range(low // DAY_MS, high // DAY_MS + 1):
                # one long interval makes only its own day be searched from so far before
                reach = state.reach.get(day)
                if reach is not None:
                    begin = max(from_ms - reach, day * DAY_MS)
                    hits += self._hits(state, number, begin, min(high, (day + 1) * DAY_MS - 1))
        legs = []
        for hit in hits:
            leg = self._leg(state, hit, hint, from_ms)
            if leg is not None:
                legs.append(leg)
        return legs if len(legs) < 2 else _in_order(legs)

    def _leg(self, state: State, hit: Hit, hint: int, from_ms: int) -> Leg | None:
        """The leg in a row; None when its seizure interval ends before `from_ms`."""
        segment, place, ms, word = hit
        ingress, egress, span, disposition, translated, form_in, called_from, call_ref, position = segment.record(
            place, word
        )
        header = segment.header
        day = header.day
        earliest_ms = day * DAY_MS + ms
        if earliest_ms + span < from_ms:
            return None
        matches = None
        if hint and called_from is not None:
            here = self._day(state, day)
            matches = here is not None and here[0].calling(hint) == called_from
        earliest = time_of(earliest_ms)
        return Leg(
            segment.came_in(place) if translated else None,
            not form_in,
            matches,
            earliest,
            time_of(earliest_ms + span) if span else earliest,
            *ingress,
            *egress,
            call_ref,
            disposition,
            header.source,
            segment.serial << 32 | position,
        )

    def _find_many(self, state: State, queries: Sequence[Query]) -> list[list[Leg]]:
        from_ms = np.array([ceil_ms(query.earliest) for query in queries], np.int64)
        to_ms = np.array([floor_ms(query.latest) for query in queries], np.int64)
        if any(query.latest < query.earliest for query in queries):
            raise ValueError("the interval of a query ends before it begins")
        called = np.array([to_int(query.called) for query in queries], np.uint64)
        hits = self._hits_many(state, called, from_ms, to_ms, reach=True)
        found: list[list[Leg]] = [[] for _ in queries]
        keys = self._follower.arena.words.take(hits.place)
        for number, slot, place, key, word in zip(
            hits.search.tolist(),
            hits.slot.tolist(),
            hits.place.tolist(),
            keys.tolist(),
            hits.word.tolist(),
            strict=True,
        ):
            calling = queries[number].calling
            hint = to_int(calling) if calling is not None else 0
            leg = self._leg(state, (hits.segments[slot], place, key & TIME_MASK, word), hint, int(from_ms[number]))
            if leg is not None:
                found[number].append(leg)
        return [_in_order(legs) for legs in found]

    def _hits_many(self, state: State, called: U64, low_ms: I64, high_ms: I64, reach: bool) -> Hits:
        """Rows that begin in the intervals; with `reach`, also those before that may reach into them."""
        if state.table is None:
            return Hits.none()
        low = np.maximum(low_ms - state.longest_ms if reach else low_ms, state.first_ms)
        high = np.minimum(high_ms, state.last_ms)
        which, days = _days(low // DAY_MS, high // DAY_MS)
        midnight = days * DAY_MS
        low, high = low.take(which), high.take(which)
        if reach and state.longest_ms:
            np.maximum(low, low_ms.take(which) - state.reaches(days), out=low)
        low -= midnight
        high -= midnight
        np.maximum(low, 0, out=low)
        np.minimum(high, DAY_MS - 1, out=high)
        some = low <= high
        if not some.all():
            which, days, low, high = which[some], days[some], low[some], high[some]
        hits = state.table.search(Searches(days, self._pseudonyms(state, days, called.take(which)), low, high))
        return Hits(which.take(hits.search), hits.slot, hits.place, hits.word, hits.segments)

    def _pseudonyms(self, state: State, days: I64, called: U64) -> U64:
        """Pseudonyms of called numbers on their days, which are in ascending order; 0 on days without segments."""
        known = state.ciphers.known
        source = number_blocks(called)
        pseudonyms = np.zeros(2 * len(days) + 2, np.uint64)
        target = pseudonyms.view(np.uint8).data
        changes = np.flatnonzero(days[1:] != days[:-1]) + 1
        begin = 0
        for day, end in zip(
            [*days[:1].tolist(), *days.take(changes).tolist()], [*(16 * changes).tolist(), 16 * len(days)], strict=False
        ):
            here = known.get(day) or self._day(state, day)
            if here is not None:
                here[0].encrypt(source[begin:end], target[begin : end + 15])
            begin = end
        return pseudonyms[:-2:2].copy()

    def coverage(self) -> Coverage:
        """What the index can answer for, per source.

        Raises:
            IndexUnusableError: the index can't be read.
        """
        follower = self._follower
        if follower.word[0] != follower.seen or monotonic_ns() >= follower.look_again:
            follower.refresh()
        return follower.state.coverage

    def verify(self) -> None:
        """Check every byte of every segment, also those that were good before.

        Raises:
            IndexUnusableError: naming the first file that is broken.
        """
        self._follower.refresh()
        state = self._follower.state
        for day in state.by_day:
            self._day(state, day)
        for segment in state.segments.values():
            segment.verify_pages()
            segment.dictionary()


def _days(first: I64, last: I64) -> tuple[I64, I64]:
    """Every day of every query's range of days: which query, and the day; ordered by day."""
    days, which = first, None
    longer = np.flatnonzero(last > first)
    if len(longer):
        more = last.take(longer) - first.take(longer)
        again = np.repeat(longer, more)
        steps = np.arange(1, len(again) + 1) - np.repeat(np.cumsum(more) - more, more)
        days = np.concatenate([first, first.take(again) + steps])
        which = np.concatenate([np.arange(len(first)), again])
    order = _order(days)
    return order if which is None else which.take(order), days.take(order)


def _order(days: I64) -> I64:
    """The order of days, by their distance from the first: a radix sort where that is small."""
    first = int(days.min(initial=0))
    if int(days.max(initial=0)) - first < 2**15:
        return np.argsort((days - first).astype(np.int16), kind="stable")
    return np.argsort(days, kind="stable")


def _in_order(legs: list[Leg]) -> list[Leg]:
    """By time, and each leg once: a record that was delivered again is one record."""
    if len(legs) < 2:
        return legs
    return sorted(
        {leg._replace(row=0): leg for leg in legs}.values(), key=lambda leg: (leg.earliest, leg.latest, leg.source)
    )
