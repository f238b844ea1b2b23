"""Whatever holds the records, a search gives what a linear scan over them gives: the same legs, no more, no less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.index.reader import Index, Query
from agent.ingest import ingest
from agent.legs import Leg
from agent.stores.store import Store
from protos.e164 import E164
from tests.stores.loaded import NOW, adapted, store
from tests.stores.tables import CALLERS, CHANGE, FORMATS, KEYS, NUMBERS, Table, plain, scanned, tables
from tests.stores.tables import moments as times

PLACES = ("in_postgresql", "in_mariadb", "in_clickhouse", "in_chdb", "in_parquet", "in_s3")
KINDS = ("instants", "walls", "epochs", "texts")


@dataclass
class Case:
    """A filled table, its store, and the truth about it."""

    table: Table
    store: Store
    scan: Callable[[Query], list[Leg]]


RECORDED = {
    (table.name, fractions): times(table) for fractions in (True, False) for table in tables(fractions=fractions)
}
"""When the records of each kind of table were made."""
_CASES: dict[tuple[str, str], Case] = {}


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    for case in _CASES.values():
        case.store.close()
    _CASES.clear()


@pytest.fixture(params=[(place, kind) for place in PLACES for kind in KINDS], ids=lambda pair: "-".join(pair))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name, kind = request.param
    if (name, kind) not in _CASES:
        place = request.getfixturevalue(name)
        table = _table(kind, name != "in_clickhouse")
        made = place.fill(table)
        engine = None
        if name == "in_chdb":
            from agent.stores.clickhouse import ClickHouse
            from tests.stores.loaded import ChdbTransport

            engine = ClickHouse(made, None, ChdbTransport)
        directory = tmp_path_factory.mktemp("scan")
        there = adapted(table, {"in_clickhouse": "clickhouse", "in_chdb": "chdb"}.get(name, ""))
        _CASES[name, kind] = Case(table, store(made, engine), scanned(there, directory))
    return _CASES[name, kind]


@cache
def _table(kind: str, fractions: bool) -> Table:
    return next(table for table in tables(fractions=fractions) if table.name == kind)


moments = st.one_of(
    st.integers(-5400, 5400).map(lambda seconds: CHANGE + timedelta(seconds=seconds)),
    st.integers(-130_000, 130_000).map(lambda seconds: CHANGE + timedelta(seconds=seconds)),
    st.integers(-7_000_000, 7_000_000).map(lambda ms: CHANGE + timedelta(milliseconds=ms)),
)
near = st.builds(
    lambda kind, fractions, which, ms: RECORDED[kind, fractions][which] + timedelta(milliseconds=ms),
    st.sampled_from(KINDS),
    st.booleans(),
    st.integers(0, 150),
    st.one_of(st.integers(-3, 3), st.integers(-2500, 2500), st.sampled_from([-1000, 999, 1000, 1001, -7000, 7000])),
)
moments = st.one_of(near, near, moments)
queries = st.builds(
    lambda called, calling, begin, length: Query(called, calling, begin, begin + length),
    st.sampled_from((*NUMBERS, E164("+12025550188"))),
    st.sampled_from(CALLERS).map(lambda text: None if text is None else E164(text)),
    moments,
    st.one_of(
        st.integers(0, 3).map(lambda ms: timedelta(milliseconds=ms)),
        st.integers(0, 600).map(lambda seconds: timedelta(seconds=seconds)),
        st.integers(0, 200_000).map(lambda seconds: timedelta(seconds=seconds)),
    ),
)
thorough = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@thorough
@given(query=queries)
def test_a_search_equals_a_linear_scan(case: Case, query: Query) -> None:
    found = case.store.find(query.called, query.calling, query.earliest, query.latest)
    assert plain(found) == plain(case.scan(query))


@settings(thorough, max_examples=10)
@given(some=st.lists(queries, max_size=40))
def test_a_batch_gives_what_each_search_gives(case: Case, some: list[Query]) -> None:
    assert [plain(legs) for legs in case.store.find_many(some)] == [plain(case.scan(query)) for query in some]


def test_the_ends_of_every_seizure_belong_to_it_and_nothing_beyond(case: Case) -> None:
    everything = [
        (number, leg)
        for number in NUMBERS
        for leg in case.scan(Query(number, None, CHANGE - 9 * DAY, CHANGE + 9 * DAY))[:40]
    ]
    borders = [
        Query(number, None, time, time)
        for number, leg in everything
        for time in (leg.earliest - MS, leg.earliest, leg.latest, leg.latest + MS)
    ]
    for query, legs in zip(borders, case.store.find_many(borders), strict=True):
        assert plain(legs) == plain(case.scan(query))
    for query in borders[:: len(borders) // 41]:  # alone, its bounds are its own
        found = case.store.find(query.called, None, query.earliest, query.latest)
        assert plain(found) == plain(case.scan(query))


def test_every_record_is_found_by_what_it_says(case: Case) -> None:
    rows, calls, again = case.store.sample(datetime.fromisoformat("2026-11-22T12:00:00+00:00"))
    assert rows == 50
    assert calls >= 25
    assert again == calls


def test_coverage_is_from_the_oldest_call_to_the_newest(case: Case) -> None:
    (covered,) = case.store.coverage().sources
    everything = [
        leg for number in NUMBERS for leg in case.scan(Query(number, None, CHANGE - 9 * DAY, CHANGE + 9 * DAY))
    ]
    assert covered.source == case.table.name
    assert covered.earliest is not None
    assert covered.watermark is not None
    assert min(leg.earliest for leg in everything) <= covered.earliest < min(leg.latest for leg in everything) + DAY
    assert max(leg.earliest for leg in everything) - DAY < covered.watermark <= max(leg.latest for leg in everything)


DAY, MS = timedelta(days=1), timedelta(milliseconds=1)


def test_the_same_rows_have_the_same_names_in_every_answer(case: Case) -> None:
    first, second = (case.store.find(NUMBERS[0], None, CHANGE - DAY, CHANGE + DAY) for _ in range(2))
    assert [leg.row for leg in first] == [leg.row for leg in second]
    assert len({leg.row for leg in first}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_embedded_index_gives_the_same(kind: str, tmp_path: Path) -> None:
    table = _table(kind, True)
    ingest([table.file(tmp_path)], table.source(), FORMATS, tmp_path / "index", KEYS, NOW)
    index, scan = Index.open(tmp_path / "index", KEYS), scanned(table, tmp_path)

    @settings(max_examples=100, deadline=None)
    @given(query=queries)
    def same(query: Query) -> None:
        assert plain(index.find(query.called, query.calling, query.earliest, query.latest)) == plain(scan(query))

    same()
