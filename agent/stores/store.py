"""One store as `agent.service.Records`: questions in, call legs out, and until when its rows are complete.

A lookup that can't be carried out raises; it never gives an empty list for a database that is away, slow or another
than it was. A question that brings more rows than may be read gives `TooMany`, which is answered AMBIGUOUS.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agent.index.coverage import Coverage, SourceCoverage
from agent.index.layout import floor_ms
from agent.index.reader import Query
from agent.legs import Leg, TooMany
from agent.stores.engine import Engine, Table
from agent.stores.errors import StoreError, TooManyRowsError
from agent.stores.found import distinct, legs_of, mapped
from agent.stores.plan import Plan, TimeKey, plan
from protos.e164 import E164

if TYPE_CHECKING:
    from agent.index.keys import Keys
    from agent.stores.settings import StoreTable
    from cdr_adapters.columns import ColumnMapper
    from cdr_adapters.mapping import TrunkFormats

Clock = Callable[[], datetime]

COVERAGE_EVERY: Final = timedelta(seconds=5)
"""So old may be what is said of a table's newest row: it can only be newer."""
_OLDEST_EVERY: Final = timedelta(minutes=10)
_LOOK_BACK: Final = (timedelta(minutes=10), timedelta(hours=6), timedelta(days=2), timedelta(days=40))
"""Where the newest row is looked for first: partitions and blocks of older rows need not be read then."""
_AT_THE_END: Final = 5
"""Rows that are looked at for the oldest and the newest call: some may be none."""
_SAMPLED: Final = 50

log = structlog.get_logger()


class Store:
    """A table in a database. Safe to share between threads; a call blocks for as long as the database takes."""

    def __init__(self, settings: StoreTable, formats: TrunkFormats, keys: Keys, engine: Engine, clock: Clock) -> None:
        from cdr_adapters.columns import ColumnMapper

        self.settings = settings
        self.name = settings.name
        self.engine = engine
        self._mapping = settings.mapping()
        self._formats = formats
        self._mapper: ColumnMapper = ColumnMapper(self._mapping, formats)
        self._keys = keys
        self._clock = clock
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._coverage: tuple[datetime, Coverage] | None = None
        self._oldest: tuple[datetime, datetime | None] | None = None
        self._told: set[str] = set()

    def plan(self) -> Plan:
        """What the table is asked for; made from its columns when first needed.

        Raises:
            StoreError: the table can't be looked at, or not be searched as the mapping says.
        """
        made = self._plan
        if made is None:
            columns = self.engine.columns()
            made = plan(
                self._mapping,
                self._formats,
                {str(name): some for name, some in self.settings.written.items()},
                self._mapper.used,
                columns,
            )
            self._plan = made
        return made

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> Sequence[Leg]:
        """All legs of `called` whose seizure interval touches [`earliest`, `latest`], ordered by time.

        Raises:
            StoreError: the records can't be read now.
            ValueError: a naive time, or an interval that ends before it begins.
        """
        (legs,) = self.find_many([Query(called, calling, earliest, latest)])
        return legs

    def find_many(self, queries: Sequence[Query]) -> list[Sequence[Leg]]:
        """What `find` gives for each, in order; many questions share a statement.

        Raises:
            StoreError, ValueError: as `find`, for all of them.
        """
        if any(query.latest < query.earliest for query in queries):
            raise ValueError("the interval of a query ends before it begins")
        # neighbours in time share blocks and partitions, and bounds that fit them
        order = sorted(range(len(queries)), key=lambda number: queries[number].earliest)
        found: list[Sequence[Leg]] = [()] * len(queries)
        for begin in range(0, len(order), self.engine.batch):
            some = order[begin : begin + self.engine.batch]
            for number, legs in zip(some, self._found([queries[number] for number in some]), strict=True):
                found[number] = legs
        return found

    def _found(self, queries: list[Query]) -> list[Sequence[Leg]]:
        made = self.plan()
        try:
            table = self.engine.rows(made.select, made.sought(queries), self.settings.max_rows)
        except TooManyRowsError:
            if len(queries) == 1:
                log.warning("too_many_rows", store=self.name, most=self.settings.max_rows)
                return [TooMany()]
            half = len(queries) // 2
            return self._found(queries[:half]) + self._found(queries[half:])
        return list(self._legs(table, queries))

    def _legs(self, table: Table, queries: Sequence[Query]) -> list[list[Leg]]:
        rows = distinct(table)
        if not rows:
            return [[] for _ in queries]
        batch = mapped(list(table), rows, self._mapper)
        self._tell(Counter(rejected.detail for rejected in batch.rejected))
        return legs_of(self.name, batch, rows, queries, self._keys)

    def _tell(self, rejected: Counter[str]) -> None:
        """Say once of each kind of row that can't be read that there is one; nothing of the row itself."""
        for detail in rejected.keys() - self._told:
            self._told.add(detail)
            log.warning("row_not_read", store=self.name, reason=detail)

    def coverage(self) -> Coverage:
        """What time the table covers; at most `COVERAGE_EVERY` old.

        Raises:
            StoreError: the table can't be read now.
        """
        now = self._clock()
        with self._lock:
            if self._coverage is None or not timedelta(0) <= now - self._coverage[0] < COVERAGE_EVERY:
                self._coverage = now, Coverage((self._covers(now),))
            return self._coverage[1]

    def _covers(self, now: datetime) -> SourceCoverage:
        said = self.settings
        oldest = said.complete_from
        if oldest is None:
            oldest = self._first(now)
        if said.retention is not None and oldest is not None:
            oldest = max(oldest, now - said.retention)
        if said.lag is not None:
            self.plan()
            newest: datetime | None = now - said.lag
        else:
            newest = self._last(now)
        return SourceCoverage(
            source=self.name,
            earliest=oldest,
            latest=newest,
            covered_from=oldest,
            watermark=newest,
            records=self.engine.estimate(),
            files=0,
        )

    def _first(self, now: datetime) -> datetime | None:
        if self._oldest is None or self._oldest[1] is None or now - self._oldest[0] > _OLDEST_EVERY:
            self._oldest = now, self._extreme(self._lowest)
        return self._oldest[1]

    def _last(self, now: datetime) -> datetime | None:
        """The newest row's time; one in the future, of a clock that is wrong, says nothing beyond now."""
        newest = self._extreme(lambda key: self._highest(key, now))
        return None if newest is None else min(newest, now)

    def _extreme(self, of: Callable[[TimeKey], datetime | None]) -> datetime | None:
        """By the time that most rows have: the first one that is recorded at all."""
        return next((time for key in self._by_time() if (time := of(key)) is not None), None)

    def _by_time(self) -> list[TimeKey]:
        return [key for key in self.plan().times if key.axis.searchable]

    def _lowest(self, key: TimeKey) -> datetime | None:
        table = self.engine.oldest(self.plan().select, key.axis.column, _AT_THE_END, key.axis.never)
        return min((max(readings) for readings in self._seizures(table, "seizure_earliest")), default=None)

    def _highest(self, key: TimeKey, now: datetime) -> datetime | None:
        table = self._newest(key, _AT_THE_END, now)
        return max((min(readings) for readings in self._seizures(table, "seizure_latest")), default=None)

    def _newest(self, key: TimeKey, count: int, now: datetime, look_back: Sequence[timedelta] = _LOOK_BACK) -> Table:
        bounds = [key.axis.bounds(floor_ms(now - back), 0)[0] for back in look_back]
        some = [bound for bound in bounds if bound is not None]
        return self.engine.newest(self.plan().select, key.axis.column, count, some)

    def _seizures(self, table: Table, name: str) -> list[list[datetime]]:
        """For each row that is a call, when it was seized: two times where the clock on the wall showed it twice."""
        rows = distinct(table)
        readings: dict[int, list[datetime]] = {}
        if rows:
            calls = mapped(list(table), rows, self._mapper).calls
            for row, time in zip(calls.column("row").to_pylist(), calls.column(name).to_pylist(), strict=True):
                readings.setdefault(row, []).append(time)
        return list(readings.values())

    def sample(self, now: datetime) -> tuple[int, int, int]:
        """Look up some of the newest rows by what they say: rows, of these read as calls, of these found again.

        Raises:
            StoreError: the table can't be read now.
        """
        by = next(iter(self._by_time()), None)
        if by is None:
            return 0, 0, 0
        table = self._newest(by, _SAMPLED, now)
        rows = distinct(table)
        for begin in range(1, len(_LOOK_BACK) + 1):
            if len(rows) >= _SAMPLED or not rows:
                break
            try:
                rows = distinct(self._newest(by, _SAMPLED, now, _LOOK_BACK[begin:]))
            except StoreError:
                break  # so far back it takes too long: fewer do
        if not rows:
            return 0, 0, 0
        batch = mapped(list(table), rows, self._mapper)
        queries = []
        for call in batch.calls.to_pylist():
            called = call["called_out"] or call["called_in"]
            earliest, latest = call["seizure_earliest"], call["seizure_latest"]
            queries.append(Query(E164(called), None, earliest, latest))
        found = self.find_many(queries)
        again = sum(
            isinstance(legs, TooMany)
            or any(leg.earliest == query.earliest and leg.latest == query.latest for leg in legs)
            for query, legs in zip(queries, found, strict=True)
        )
        return len(rows), len(queries), again

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.close()
