"""Every search equals a linear scan; what the index gives is all there is, and nothing else."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.index import Index, Query
from agent.ingest import ingest
from protos.e164 import E164, parse_e164
from tests.index.calls import (
    ALICE,
    BOB,
    CAROL,
    FORMATS,
    KEYS,
    MIDNIGHT,
    NOON,
    NOW,
    TOLL_FREE,
    UNSYNCED,
    Call,
    at,
    mapping,
    reader,
    scan,
    write,
)

DAY = 86_400_000
MS = timedelta(milliseconds=1)
MANY = 50
"""So many queries are searched for in columns."""


def index_of(directory: Path, *files: list[Call], rows_per_run: int = 1000) -> Index:
    paths = [write(directory / f"f{number}.txt", calls) for number, calls in enumerate(files)]
    ingest(
        paths,
        mapping(),
        FORMATS,
        directory / "index",
        KEYS,
        NOW,
        read=reader(500),
        files=UNSYNCED,
        rows_per_run=rows_per_run,
    )
    return Index.open(directory / "index", KEYS)


def find(index: Index, called: E164, first: int, last: int, calling: E164 | None = None) -> list[tuple[str, int]]:
    return [(leg.source, leg.row) for leg in index.find(called, calling, at(first), at(last))]


class TestInterval:
    def test_both_ends_belong_to_it(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(span=1000)])
        assert find(index, ALICE, NOON - 9, NOON) == find(index, ALICE, NOON + 1000, NOON + 9999) == [("acc:f0.txt", 1)]
        assert find(index, ALICE, NOON - 9, NOON - 1) == find(index, ALICE, NOON + 1001, NOON + 9999) == []

    def test_microseconds_beyond_a_record_miss_it(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call()])
        micro = timedelta(microseconds=1)
        assert index.find(ALICE, None, at(NOON) - micro, at(NOON) + micro)
        assert not index.find(ALICE, None, at(NOON) + micro, at(NOON) + MS)
        assert not index.find(ALICE, None, at(NOON) - MS, at(NOON) - micro)

    def test_a_seizure_interval_over_midnight_is_found_from_both_days(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(earliest=MIDNIGHT - 90_000, span=180_000)])
        assert find(index, ALICE, MIDNIGHT - 10, MIDNIGHT - 5)
        assert find(index, ALICE, MIDNIGHT + 5, MIDNIGHT + 10)

    def test_an_interval_of_days_is_found_on_each(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(earliest=MIDNIGHT, span=40 * DAY), Call(earliest=MIDNIGHT + 3 * DAY)])
        assert find(index, ALICE, MIDNIGHT + 39 * DAY, MIDNIGHT + 39 * DAY) == [("acc:f0.txt", 1)]

    def test_one_wider_than_all_records_gives_all_in_order_of_time(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(earliest=NOON + 5), Call(earliest=NOON - 5 * DAY), Call(earliest=NOON)])
        assert [row for _, row in find(index, ALICE, NOON - 900 * DAY, NOON + 900 * DAY)] == [2, 3, 1]

    def test_naive_or_reversed_is_refused(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call()])
        naive = datetime(2026, 11, 22)  # noqa: DTZ001
        with pytest.raises(ValueError, match="naive"):
            index.find(ALICE, None, naive, at(NOON))
        with pytest.raises(ValueError, match="naive"):
            index.find_many(MANY * [Query(ALICE, None, at(NOON), naive)])
        with pytest.raises(ValueError, match="ends before"):
            index.find(ALICE, None, at(NOON + 1), at(NOON))
        with pytest.raises(ValueError, match="ends before"):
            index.find_many(MANY * [Query(ALICE, None, at(NOON + 1), at(NOON))])


class TestForms:
    def test_a_translated_number_is_found_by_both_forms(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(called_in=TOLL_FREE, called_out=CAROL)])
        (sent,) = index.find(CAROL, None, at(NOON), at(NOON))
        (received,) = index.find(TOLL_FREE, None, at(NOON), at(NOON))
        assert (sent.called_in, sent.sent_as_asked) == (TOLL_FREE, True)
        assert (received.called_in, received.sent_as_asked) == (None, False)

    @pytest.mark.parametrize(
        "call", [Call(ALICE, None), Call(ALICE, ALICE), Call(None, ALICE)], ids=["in", "same", "out"]
    )
    def test_one_form_gives_one_leg(self, tmp_path: Path, call: Call) -> None:
        (leg,) = index_of(tmp_path, [call]).find(ALICE, None, at(NOON), at(NOON))
        assert (leg.called_in, leg.sent_as_asked) == (None, True)


class TestCallingNumber:
    def test_is_compared_and_unknown_when_either_is(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(calling=BOB), Call(calling=None)])
        assert [leg.calling_matches for leg in index.find(ALICE, BOB, at(NOON), at(NOON))] == [True, None]
        assert [leg.calling_matches for leg in index.find(ALICE, CAROL, at(NOON), at(NOON))] == [False, None]
        assert [leg.calling_matches for leg in index.find(ALICE, None, at(NOON), at(NOON))] == [None, None]


class TestDuplicates:
    def test_equal_records_of_one_file_are_two_legs(self, tmp_path: Path) -> None:
        assert len(find(index_of(tmp_path, [Call(), Call()]), ALICE, NOON, NOON)) == 2

    def test_one_call_id_joins_records_over_midnight_and_files(self, tmp_path: Path) -> None:
        start, stop = (
            Call(earliest=MIDNIGHT - 1, call_id="a@example.test"),
            Call(earliest=MIDNIGHT, call_id="a@example.test"),
        )
        legs = index_of(tmp_path, [start], [stop]).find(ALICE, None, at(MIDNIGHT - 1), at(MIDNIGHT))
        assert len(legs) == 2
        assert legs[0].call_ref == legs[1].call_ref is not None


class TestPopularNumber:
    def test_with_more_records_than_a_page_holds_is_found_whole_and_in_parts(self, tmp_path: Path) -> None:
        calls = [Call(earliest=NOON + 10 * number) for number in range(1500)]
        others = [Call(called_in=f"+1312555{number:04d}", earliest=NOON) for number in range(1000)]
        index = index_of(tmp_path, calls + others, rows_per_run=10_000)
        queries = [
            Query(ALICE, None, at(NOON), at(NOON + DAY)),
            Query(ALICE, None, at(NOON + 5110), at(NOON + 5130)),
            Query(ALICE, None, at(NOON + 14_990), at(NOON + DAY)),
        ]
        assert [len(legs) for legs in index.find_many(MANY * queries)] == MANY * [1500, 3, 1]
        assert index.find_many(MANY * queries) == MANY * [
            index.find(q.called, q.calling, q.earliest, q.latest) for q in queries
        ]


class TestPseudonymsThatAgreeInPart:
    def test_are_told_apart_by_the_rest(self, tmp_path: Path) -> None:
        numbers = np.arange(12025550000, 12025550000 + 400_000, dtype=np.uint64)
        upper = KEYS.day(NOON // DAY).called_column(numbers) >> np.uint64(32)
        order = np.argsort(upper)
        (at_pair, *_) = np.flatnonzero(np.diff(upper[order]) == 0).tolist()
        one, other = (parse_e164(f"+{numbers[order[at_pair + step]]}") for step in (0, 1))
        index = index_of(tmp_path, [Call(called_in=one), Call(called_in=other)])
        assert find(index, one, NOON, NOON) == [("acc:f0.txt", 1)]
        assert find(index, other, NOON, NOON) == [("acc:f0.txt", 2)]
        both = [Query(one, None, at(NOON), at(NOON)), Query(other, None, at(NOON), at(NOON))]
        assert [[leg.row for leg in legs] for legs in index.find_many(MANY * both)] == MANY * [[1], [2]]


class TestNothing:
    def test_an_index_that_is_not_there_yet_has_no_sources(self, tmp_path: Path) -> None:
        index = Index.open(tmp_path / "index", KEYS)
        assert index.find(ALICE, None, at(NOON), at(NOON)) == []
        assert index.find_many(MANY * [Query(ALICE, None, at(NOON), at(NOON))]) == MANY * [[]]
        assert index.coverage().sources == ()

    def test_an_empty_batch_is_no_search(self, tmp_path: Path) -> None:
        assert index_of(tmp_path, [Call()]).find_many([]) == []


numbers = st.sampled_from([ALICE, BOB, CAROL, TOLL_FREE])
instants = st.one_of(
    st.integers(MIDNIGHT - 200, MIDNIGHT + 200),
    st.integers(MIDNIGHT - 40 * DAY, MIDNIGHT + 2 * DAY),
    st.sampled_from([NOON, NOON + 1, MIDNIGHT - 1, MIDNIGHT]),
)
spans = st.sampled_from([0, 0, 1, 999, 1000, 180_000, DAY])
records = st.builds(
    Call,
    called_in=st.none() | numbers,
    called_out=numbers,
    calling=st.none() | numbers,
    earliest=instants,
    span=spans,
    in_trunk=st.sampled_from([None, "TGIN1", "TGIN2"]),
    in_address=st.sampled_from([None, "192.0.2.1", "2001:db8::1"]),
    out_trunk=st.sampled_from([None, "TGOUT1"]),
    out_address=st.sampled_from([None, "192.0.2.9"]),
    call_id=st.sampled_from([None, "a", "b"]),
    disposition=st.sampled_from([None, "answered", "unanswered", "failed"]),
) | st.builds(Call, called_in=numbers, earliest=instants, span=spans)
queries = st.lists(st.tuples(numbers, st.none() | numbers, instants, spans), min_size=1, max_size=12)


class TestAgainstALinearScan:
    @settings(max_examples=80, deadline=None)
    @given(files=st.lists(st.lists(records, max_size=12), min_size=1, max_size=3), asked=queries, run=st.integers(1, 9))
    def test_find_and_find_many_give_the_same(
        self, files: list[list[Call]], asked: list[tuple[E164, E164 | None, int, int]], run: int
    ) -> None:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            # a comment line makes every file's content its own, so that none counts as delivered twice
            for number, calls in enumerate(files):
                write(directory / f"f{number}.txt", [*calls, f"skip {number}"])
            paths = [directory / f"f{number}.txt" for number in range(len(files))]
            ingest(
                paths,
                mapping(),
                FORMATS,
                directory / "index",
                KEYS,
                NOW,
                read=reader(),
                files=UNSYNCED,
                rows_per_run=run,
            )
            index = Index.open(directory / "index", KEYS)
            labelled = [(f"acc:f{number}.txt", calls) for number, calls in enumerate(files)]
            wanted = [Query(called, calling, at(first), at(first + span)) for called, calling, first, span in asked]
            expected = [scan(labelled, q.called, q.calling, q.earliest, q.latest) for q in wanted]
            assert [index.find(q.called, q.calling, q.earliest, q.latest) for q in wanted] == expected
            assert index.find_many(wanted) == expected
            assert index.find_many(MANY * wanted) == MANY * expected
