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
from agent.index.layout import DAY_MS
from agent.index.rows import AdapterContractError, Routes, rows_of
from agent.legs import Leg
from protos.e164 import E164, parse_e164
from tests.index.built import SHAPES, BuiltIndex
from tests.index.calls import (
    ALICE,
    BOB,
    CAROL,
    KEYS,
    MIDNIGHT,
    NOON,
    TOLL_FREE,
    Call,
    alike,
    at,
    batch_of,
    scan,
)

MS = timedelta(milliseconds=1)
MANY = 50
"""So many queries are searched for in columns."""


def index_of(directory: Path, *parts: list[Call], rest: int = 5) -> Index:
    """An index with the segments of each part."""
    built = BuiltIndex(directory / "index")
    for calls in parts:
        built.put(calls, rest=rest)
    return Index.open(directory / "index", KEYS)


def find(index: Index, called: E164, first: int, last: int, calling: E164 | None = None) -> list[int]:
    """The earliest seizure times of what is found, relative to noon."""
    legs = index.find(called, calling, at(first), at(last))
    return [(leg.earliest - at(NOON)) // MS for leg in legs]


def one_by_one(index: Index, queries: list[Query]) -> list[list[Leg]]:
    return [index.find(q.called, q.calling, q.earliest, q.latest) for q in queries]


class TestInterval:
    def test_both_ends_belong_to_it(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(span=1000)])
        assert find(index, ALICE, NOON - 9, NOON) == find(index, ALICE, NOON + 1000, NOON + 9999) == [0]
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

    def test_the_first_and_last_millisecond_of_a_day_belong_to_it(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(earliest=MIDNIGHT - 1), Call(earliest=MIDNIGHT)])
        both = [MIDNIGHT - 1 - NOON, MIDNIGHT - NOON]
        assert find(index, ALICE, MIDNIGHT - 1, MIDNIGHT) == both
        assert find(index, ALICE, MIDNIGHT - 1, MIDNIGHT - 1) == both[:1]
        assert find(index, ALICE, MIDNIGHT, MIDNIGHT) == both[1:]

    def test_an_interval_of_days_is_found_on_each(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(earliest=MIDNIGHT, span=40 * DAY_MS), Call(earliest=MIDNIGHT + 3 * DAY_MS)])
        assert find(index, ALICE, MIDNIGHT + 39 * DAY_MS, MIDNIGHT + 39 * DAY_MS) == [MIDNIGHT - NOON]

    def test_one_wider_than_all_records_gives_all_in_order_of_time(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(earliest=NOON + 5), Call(earliest=NOON - 5 * DAY_MS), Call(earliest=NOON)])
        assert find(index, ALICE, NOON - 900 * DAY_MS, NOON + 900 * DAY_MS) == [-5 * DAY_MS, 0, 5]

    def test_one_beyond_the_last_record_of_its_day_is_empty_alone_and_among_many(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(earliest=NOON - 5), Call(earliest=NOON)])
        after, before = Query(ALICE, None, at(NOON + 1), at(NOON + 9)), Query(ALICE, None, at(NOON - 9), at(NOON - 6))
        assert one_by_one(index, [after, before]) == [[], []]
        assert index.find_many(MANY * [after, before]) == MANY * [[], []]

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
        index = index_of(tmp_path, [Call(calling=BOB), Call(calling=None, earliest=NOON + 1)])

        def matches(calling: E164 | None) -> list[bool | None]:
            return [leg.calling_matches for leg in index.find(ALICE, calling, at(NOON), at(NOON + 1))]

        assert (matches(BOB), matches(CAROL), matches(None)) == ([True, None], [False, None], [None, None])


class TestASet:
    def test_equal_records_are_one_leg_in_one_segment_or_many(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(), Call(), Call(disposition="failed")], [Call()])
        query = Query(ALICE, BOB, at(NOON), at(NOON))
        (legs,) = one_by_one(index, [query])
        assert [leg.disposition for leg in legs] == [None, "failed"]
        assert [alike(found) for found in index.find_many(MANY * [query])] == MANY * [alike(legs)]

    def test_equal_records_of_two_sources_are_two_legs(self, tmp_path: Path) -> None:
        built = BuiltIndex(tmp_path / "index")
        built.put([Call()], "east")
        built.put([Call()], "west")
        legs = Index.open(built.directory, KEYS).find(ALICE, None, at(NOON), at(NOON))
        assert [leg.source for leg in legs] == ["east", "west"]

    def test_rows_tell_legs_apart(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(in_trunk=f"T{n}") for n in range(300)], [Call(in_trunk="other")])
        legs = index.find(ALICE, None, at(NOON), at(NOON))
        assert len({leg.row for leg in legs}) == len(legs) == 301

    def test_one_call_id_joins_records_over_midnight_and_segments(self, tmp_path: Path) -> None:
        start = Call(earliest=MIDNIGHT - 1, call_id="a@example.test")
        stop = Call(earliest=MIDNIGHT, call_id="a@example.test")
        legs = index_of(tmp_path, [start], [stop]).find(ALICE, None, at(MIDNIGHT - 1), at(MIDNIGHT))
        assert len(legs) == 2
        assert legs[0].call_ref == legs[1].call_ref is not None


class TestPopularNumber:
    @pytest.fixture(scope="class")
    @staticmethod
    def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
        calls = [Call(earliest=NOON + 10 * number) for number in range(3000)]
        others = [Call(called_in=f"+1312555{number:04d}", earliest=NOON) for number in range(3000)]
        return index_of(tmp_path_factory.mktemp("popular"), calls + others, others[:700] + calls[:700])

    @pytest.mark.parametrize(
        ("first", "last", "count"),
        [
            (0, DAY_MS // 2, 3000),
            (5110, 5130, 3),
            (29_990, DAY_MS // 3, 1),
            (-9, 0, 1),
            (-9, -1, 0),
            (29_991, 30_000, 0),
        ],
    )
    def test_is_found_whole_and_in_parts(self, index: Index, first: int, last: int, count: int) -> None:
        query = Query(ALICE, None, at(NOON + first), at(NOON + last))
        (legs,) = one_by_one(index, [query])
        assert len(legs) == count
        assert [leg.earliest for leg in legs] == sorted(leg.earliest for leg in legs)
        others = [Query(parse_e164(f"+1312555{n:04d}"), None, at(NOON), at(NOON)) for n in range(MANY)]
        found = index.find_many([*others, query])
        assert [len(legs) for legs in found[:MANY]] == MANY * [1]
        assert alike(found[-1]) == alike(legs)

    def test_every_one_of_its_calls_is_found_alone_by_many_searches_a_day(self, index: Index) -> None:
        low = np.arange(NOON, NOON + 30_000, 10)
        hits = index.hits_many(np.full(3000, int(ALICE[1:]), np.uint64), low, low + 9)
        assert np.bincount(hits.search).tolist() == 700 * [2] + 2300 * [1]


class TestPseudonymsThatAgreeInPart:
    def test_are_told_apart_by_the_rest(self, tmp_path: Path) -> None:
        built = BuiltIndex(tmp_path / "index")
        built.secrets.create(NOON // DAY_MS)
        numbers = np.arange(12025550000, 12025550000 + 3_000_000, dtype=np.uint64)
        upper = built.secrets.day(NOON // DAY_MS).called_column(numbers) >> np.uint64(27)
        order = np.argsort(upper)
        (at_pair, *_) = np.flatnonzero(np.diff(upper[order]) == 0).tolist()
        one, other = (parse_e164(f"+{numbers[order[at_pair + step]]}") for step in (0, 1))
        built.put([Call(called_in=one, in_trunk="1"), Call(called_in=other, in_trunk="2")])
        index = Index.open(built.directory, KEYS)
        both = [Query(one, None, at(NOON), at(NOON)), Query(other, None, at(NOON), at(NOON))]
        assert [[leg.ingress_trunk for leg in legs] for legs in one_by_one(index, both)] == [["1"], ["2"]]
        assert [[leg.ingress_trunk for leg in legs] for legs in index.find_many(MANY * both)] == MANY * [["1"], ["2"]]


class TestNothing:
    def test_an_index_that_is_not_there_yet_has_no_sources(self, tmp_path: Path) -> None:
        index = Index.open(tmp_path / "index", KEYS)
        assert index.find(ALICE, None, at(NOON), at(NOON)) == []
        assert index.find_many(MANY * [Query(ALICE, None, at(NOON), at(NOON))]) == MANY * [[]]
        assert index.coverage().sources == ()

    def test_an_empty_batch_is_no_search(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call()])
        assert index.find_many([]) == []
        nothing = np.empty(0, np.int64)
        assert len(index.hits_many(nothing.astype(np.uint64), nothing, nothing).search) == 0

    def test_days_without_records_are_passed_over(self, tmp_path: Path) -> None:
        index = index_of(tmp_path, [Call(), Call(earliest=NOON + 9 * DAY_MS)])
        asked = [Query(ALICE, None, at(NOON + n * DAY_MS), at(NOON + n * DAY_MS)) for n in range(-5, 15)]
        expected = [[n in (0, 9)] for n in range(-5, 15)]
        assert [[bool(legs)] for legs in index.find_many(3 * asked)] == 3 * expected
        assert [[bool(legs)] for legs in one_by_one(index, asked)] == expected


numbers = st.sampled_from([ALICE, BOB, CAROL, TOLL_FREE])
instants = st.one_of(
    st.integers(MIDNIGHT - 200, MIDNIGHT + 200),
    st.integers(MIDNIGHT - 40 * DAY_MS, MIDNIGHT + 2 * DAY_MS),
    st.sampled_from([NOON, NOON + 1, MIDNIGHT - 1, MIDNIGHT]),
)
spans = st.sampled_from([0, 0, 1, 999, 1000, 180_000, DAY_MS, 3 * DAY_MS])
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
asked = st.lists(st.tuples(numbers, st.none() | numbers, instants, spans), min_size=1, max_size=12)
parts = st.lists(
    st.tuples(st.sampled_from(["acc", "sbc"]), st.sampled_from(list(SHAPES)), st.lists(records, max_size=12)),
    min_size=1,
    max_size=6,
)


class TestAgainstALinearScan:
    @settings(max_examples=80, deadline=None)
    @given(parts=parts, asked=asked)
    def test_legs_are_the_same_one_by_one_and_in_columns(
        self, parts: list[tuple[str, int, list[Call]]], asked: list[tuple[E164, E164 | None, int, int]]
    ) -> None:
        with tempfile.TemporaryDirectory() as name:
            built = BuiltIndex(Path(name) / "index")
            for source, rest, calls in parts:
                built.put(calls, source, rest)
            index = Index.open(built.directory, KEYS)
            named = [(source, calls) for source, _, calls in parts]
            queries = [Query(called, calling, at(first), at(first + span)) for called, calling, first, span in asked]
            expected = [scan(named, q.called, q.calling, q.earliest, q.latest) for q in queries]
            singly = one_by_one(index, queries)
            assert [alike(legs) for legs in singly] == expected
            assert list(map(len, singly)) == list(map(len, expected))
            assert [[leg.earliest for leg in legs] for legs in singly] == [
                sorted(leg.earliest for leg in legs) for legs in singly
            ]
            together = index.find_many(MANY * queries)
            assert [alike(legs) for legs in together] == MANY * expected
            assert list(map(len, together)) == MANY * list(map(len, expected))

    @settings(max_examples=60, deadline=None)
    @given(
        seed=st.integers(0, 2**32),
        rests=st.lists(st.sampled_from(list(SHAPES)), min_size=1, max_size=4),
        popular=st.sampled_from([0, 9, 40, 250, 900]),
        size=st.sampled_from([1, 7, 190, 194, 195, 600]),
        searches=st.sampled_from([1, 60, 1000, 2500]),
        days=st.integers(1, 3),
    )
    def test_rows_are_the_same_whatever_the_crowd_the_shapes_and_the_number_of_searches(
        self, seed: int, rests: list[int], popular: int, size: int, searches: int, days: int
    ) -> None:
        random = np.random.default_rng(seed)
        pool = np.arange(12025550000, 12025550000 + 40)
        with tempfile.TemporaryDirectory() as name:
            built = BuiltIndex(Path(name) / "index")
            kept: list[tuple[int, int]] = []
            for rest in rests:
                called = np.concatenate([np.full(popular, pool[0]), random.choice(pool, size)])
                times = MIDNIGHT + random.integers(0, days * DAY_MS, len(called)) // 50_000 * 50_000
                times[random.random(len(times)) < 0.1] = MIDNIGHT + DAY_MS - 1
                calls = [Call(f"+{n}", earliest=t) for n, t in zip(called.tolist(), times.tolist(), strict=True)]
                built.put(calls, rest=rest)
                kept += zip(called.tolist(), times.tolist(), strict=True)
            index = Index.open(built.directory, KEYS)
            wanted = random.choice(pool, searches)
            low = MIDNIGHT + random.integers(-DAY_MS, (days + 1) * DAY_MS, searches) // 50_000 * 50_000
            high = low + random.choice([-1, 0, 50_000, 1_000_000, DAY_MS], searches)
            all_called, all_times = np.array(kept).T
            expected = [
                sorted(all_times[(all_called == n) & (all_times >= a) & (all_times <= b)].tolist())
                for n, a, b in zip(wanted.tolist(), low.tolist(), high.tolist(), strict=True)
            ]
            hits = index.hits_many(wanted.astype(np.uint64), low, high)
            found: list[list[int]] = [[] for _ in expected]
            ms = index.ms_of(hits)
            for number, time in zip(hits.search.tolist(), ms.tolist(), strict=True):
                found[number].append(time)
            assert [sorted(times) for times in found] == expected
            for number in range(min(searches, 100)):
                hit = index.hits(int(wanted[number]), int(low[number]), int(high[number]))
                single = [segment.header.day * DAY_MS + ms for segment, _, ms, _ in hit]
                assert sorted(single) == expected[number]


class TestContract:
    @pytest.mark.parametrize(
        ("call", "problem"),
        [
            (Call(called_in=None), "neither"),
            (Call(span=-1), "ends before"),
            (Call(span=50 * DAY_MS), "49 days"),
            (Call(disposition="lost"), "disposition"),
            (Call(called_in="12025550143"), "no E.164"),
        ],
    )
    def test_rows_that_no_adapter_may_give_are_refused(self, call: Call, problem: str) -> None:
        with pytest.raises(AdapterContractError, match=problem):
            rows_of(batch_of([(1, call)]), KEYS, Routes())
