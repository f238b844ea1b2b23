"""Searches in columns, on rows chosen bit by bit: what lies beside a bucket's rows is never taken for one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.index import segment_format
from agent.index.arena import Arena
from agent.index.batch import Hits, Searches, Table
from agent.index.files import publish
from agent.index.keys import U64
from agent.index.pages import Packed, key_of, tail_of
from agent.index.segment import Segment
from agent.index.segment_format import Content, Dictionary
from tests.index.built import BuiltIndex
from tests.index.calls import UNSYNCED

DAY = 20_779
PER_PAGE = 194


def pseudonyms(*values: int) -> U64:
    return np.array(values, np.uint64)


class Bench:
    """Segments made of rows that are given as pseudonyms and milliseconds, one arena, and a table of them."""

    def __init__(self, directory: Path) -> None:
        self._built = BuiltIndex(directory / "index")
        self.arena = Arena(1 << 33)
        self.by_day: dict[int, list[Segment]] = {}

    def add(self, day: int, pseudonym: U64, ms: U64, *others: U64) -> Segment:
        """A segment; rows are put in order of their keys, with their codes, callings and references when given."""
        key = key_of(pseudonym, ms)
        order = np.argsort(key, kind="stable")
        codes, calling, call_ref = others or [np.zeros(len(key), np.uint64)] * 3
        rows = Packed(
            key=key[order],
            tail=tail_of(pseudonym)[order],
            codes=codes[order],
            calling=calling[order].astype(np.uint32),
            call_ref=call_ref[order].astype(np.uint32),
        )
        self._built.secrets.create(day)
        dictionary = Dictionary([(None, None)], [(None, None)], [(0, 0, 0)])
        content = Content(
            source="acc",
            day=day,
            secret=self._built.secrets.day(day).check,
            rows=rows,
            dictionary=dictionary,
            sealed=b"",
            translated_at=np.empty(0, np.uint32),
            translated=np.empty((0, 16), np.uint8),
            earliest_ms=0,
            latest_ms=0,
            longest_ms=0,
        )
        name = f"{day}-{len(self.by_day)}-{len(self.by_day.get(day, []))}.seg"
        entry, pieces = segment_format.encode(name, content, salt=7)
        path = self._built.directory / name
        publish(UNSYNCED, path, pieces)
        segment = Segment(path, entry, self._built.secrets, self.arena)
        self.by_day.setdefault(day, []).append(segment)
        return segment

    def search(self, day: list[int], pseudonym: U64, low: int, high: int) -> Hits:
        count = len(day)
        times = np.full(count, low), np.full(count, high)
        return Table(self.arena, self.by_day).search(Searches(np.array(day), pseudonym, *times))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


MANY = 500
"""So many searches a day are served segment by segment."""


@pytest.mark.parametrize("times", [1, MANY], ids=["together", "apart"])
class TestBesideABucket:
    def test_words_behind_the_keys_of_a_page_are_no_keys(self, bench: Bench, times: int) -> None:
        # A bucket's window of eight begins four rows before the end of a page and ends among the words of the page;
        # the first of those is made to look like what is sought, and so is what stands where its own word would be.
        sought = 0x8123_4567_89AB_CDEF
        begin = PER_PAGE - 4
        rows = np.arange(begin + 7, dtype=np.uint64)
        pseudonym = rows << np.uint64(40)
        pseudonym[begin:] += np.uint64(0x8100_0000_0000_0000)
        looks_like = int(key_of(pseudonyms(sought), pseudonyms(5))[0])
        tail = (sought >> 11) & 0xFFFF
        pseudonym[0] |= (looks_like >> 48) << 11
        codes, calling, call_ref = (np.zeros_like(rows) for _ in range(3))
        codes[0], calling[0] = (looks_like >> 16) & 0xFFFFFFFF, looks_like & 0xFFFF
        calling[1], call_ref[1] = (tail & 0xFF) << 24, tail >> 8  # the sixth and seventh byte of the first two rests
        segment = bench.add(DAY, pseudonym, np.full(len(rows), 9, np.uint64), codes, calling, call_ref)
        words = bench.arena.words[segment.first_word :]
        assert int(words[PER_PAGE]) == looks_like
        assert int(words[2 * PER_PAGE]) >> 48 == tail
        assert len(bench.search([DAY] * times, pseudonyms(*[sought] * times), 0, 1000).place) == 0

    def test_an_empty_bucket_at_the_end_of_full_pages_has_no_rows(self, bench: Bench, times: int) -> None:
        bench.add(DAY, np.arange(2 * PER_PAGE, dtype=np.uint64) << np.uint64(40), np.zeros(2 * PER_PAGE, np.uint64))
        last = pseudonyms(*[2**64 - 1] * times)
        assert len(bench.search([DAY] * times, last, 0, 1000).place) == 0

    def test_the_greatest_pseudonym_and_the_last_millisecond_are_found_and_the_filling_is_not(
        self, bench: Bench, times: int
    ) -> None:
        bench.add(DAY, pseudonyms(2**64 - 1, 0), pseudonyms(86_399_999, 0))
        hits = bench.search([DAY] * times, pseudonyms(*[2**64 - 1] * times), 0, 86_399_999)
        assert hits.search.tolist() == list(range(times))
        hits = bench.search([DAY] * times, pseudonyms(*[0] * times), 0, 0)
        assert sorted(hits.search.tolist()) == list(range(times))


class TestDays:
    def test_a_search_looks_into_no_other_day_than_its_own(self, bench: Bench) -> None:
        same = pseudonyms(0xAAAA_0000_0000_0000)
        bench.add(DAY, same, pseudonyms(1))
        bench.add(DAY, same, pseudonyms(2))
        bench.add(DAY + 1, same, pseudonyms(3))
        bench.add(DAY + 3, same, pseudonyms(4))
        days = [DAY - 1, DAY, DAY + 1, DAY + 2, DAY + 3, DAY + 4]
        hits = bench.search(days, np.repeat(same, 6), 0, 100)
        ms = bench.arena.words.take(hits.place) & np.uint64(0x7FFFFFF)
        assert sorted(zip(hits.search.tolist(), ms.tolist(), strict=True)) == [(1, 1), (1, 2), (2, 3), (4, 4)]
        many = np.repeat(days, MANY)
        hits = bench.search(many.tolist(), np.repeat(same, len(many)), 0, 100)
        assert np.bincount(hits.search // MANY, minlength=6).tolist() == [0, 2 * MANY, MANY, 0, MANY, 0]


class TestCrowds:
    @pytest.mark.parametrize("count", [8, 9, 31, 32, 33, PER_PAGE - 1, PER_PAGE, PER_PAGE + 1, 2000])
    @pytest.mark.parametrize("offset", [0, 1, 5, PER_PAGE - 4])
    def test_every_row_of_a_crowd_is_found_alone_and_all_are_found_together(
        self, bench: Bench, count: int, offset: int
    ) -> None:
        crowd = np.full(count, 0x8000_0000_0000_0000, np.uint64)
        before = np.arange(offset, dtype=np.uint64) << np.uint64(45)
        ms = np.concatenate([np.zeros(offset, np.uint64), 10 * np.arange(count, dtype=np.uint64)])
        bench.add(DAY, np.concatenate([before, crowd]), ms)
        low = 10 * np.arange(count) - 3
        searches = Searches(np.full(count, DAY), crowd, np.maximum(low, 0), low + 6)
        hits = Table(bench.arena, bench.by_day).search(searches)
        assert sorted(hits.search.tolist()) == list(range(count))
        hits = bench.search([DAY], crowd[:1], 0, 10 * count)
        assert len(hits.place) == len(set(hits.place.tolist())) == count


def test_rows_stay_mapped_as_long_as_they_are_held(bench: Bench) -> None:
    bench.add(DAY, pseudonyms(5), pseudonyms(6))
    hits = bench.search([DAY], pseudonyms(5), 0, 10)
    bench.by_day.clear()
    assert (bench.arena.words.take(hits.place) & np.uint64(0x7FFFFFF)).tolist() == [6]
