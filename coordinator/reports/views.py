"""What each caller's reports are made of, by queries that read nothing else.

An analyst's and an auditor's are made of everything, a requester's of the tracebacks of the orders that he submitted. A
provider's scorecard is made of rows that carry its id and of no others, without looks that somebody else's words
caused, so that nothing that happens elsewhere can change it.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, RowMapping, Select, and_, exists, true

from coordinator.callers import Caller, Role
from coordinator.reports.figures import PersonFact
from coordinator.reports.reader import persons_between
from coordinator.reports.way_reader import BLOCK, ways_by
from coordinator.reports.ways import HopFact, Way
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.pages import Place, newer
from coordinator.store.task_models import tasks
from coordinator.store.views import first_asked, first_looks, own_rows, visible
from coordinator.tracing.chain import Problem
from coordinator.tracing.signed import is_persons
from protos.identity import parse_provider_id
from protos.types import Outcome


class ReportViews:
    """Reads what reports are made of, for callers, from `since` until before `until`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ways(self, caller: Caller, since: datetime, until: datetime, provider: str = "") -> Iterator[Way]:
        """The chains that somebody who is no provider may see, in order of submission.

        With a `provider` only those in which it was asked, in the order of that.
        """
        time, identity = TracebackRow.submitted_at, TracebackRow.id
        query: Any = _ids(caller).add_columns(time)
        if provider:
            time, identity = HopRow.asked_at, HopRow.traceback_id
            own, asked = _ids(caller).subquery(), first_asked(provider).where(HopRow.asked_at >= since)
            query = asked.join(TracebackRow, TracebackRow.id == HopRow.traceback_id)
            query = query.where(exists().where(own.c.id == TracebackRow.id))
        within = query.where(TracebackRow.submitted_at >= since, TracebackRow.submitted_at < until)
        return ways_by(self._engine, within, time, identity)

    def seen(self, caller: Caller, ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Those of these tracebacks that somebody who is no provider may see."""
        wanted, found = list(ids), set[uuid.UUID]()
        with self._engine.connect() as connection:
            for start in range(0, len(wanted), BLOCK):
                query = _ids(caller).where(TracebackRow.id.in_(wanted[start : start + BLOCK]))
                found.update(connection.execute(query).scalars())
        return found

    def persons(self, caller: Caller, since: datetime, until: datetime, provider: str = "") -> list[PersonFact]:
        """What became of the questions to persons that belong to such chains; to a provider, of its own."""
        every, own = _tasks_of(caller), tasks.c.provider == provider
        return persons_between(self._engine, since, until, and_(every, own) if provider else every)

    def own_hops(self, caller: Caller, since: datetime, until: datetime) -> Iterator[HopFact]:
        """What became of what this provider was asked first in that time, however much."""
        query = first_asked(caller.name).where(HopRow.asked_at >= since, HopRow.asked_at < until)
        query, after = query.order_by(HopRow.asked_at, HopRow.traceback_id).limit(BLOCK), None
        while True:
            here = query if after is None else query.where(newer(HopRow.asked_at, HopRow.traceback_id, after))
            rows: dict[uuid.UUID, list[RowMapping]] = defaultdict(list)
            with self._engine.connect() as connection:
                asked = [Place(at, identity) for identity, at in connection.execute(here)]
                for row in connection.execute(own_rows(caller.name, [one.id for one in asked])).mappings():
                    rows[row["traceback_id"]].append(row)
            for one in asked:
                yield from map(_fact, first_looks(rows[one.id]))
            if len(asked) < BLOCK:
                return
            after = asked[-1]


def _ids(caller: Caller) -> Select[Any]:
    return visible(caller).with_only_columns(TracebackRow.id, maintain_column_froms=True)


def _tasks_of(caller: Caller) -> ColumnElement[bool]:
    match caller.role:
        case Role.ANALYST | Role.AUDITOR:
            return true()
        case Role.PROVIDER:
            return tasks.c.provider == caller.name
        case _:
            return tasks.c.traceback_id.in_(_ids(caller))


def _fact(row: RowMapping) -> HopFact:
    return HopFact(
        provider=parse_provider_id(row["provider"]),
        question_id=row["question_id"],
        asked=row["asked_at"],
        ended=row["ended_at"],
        outcome=Outcome[row["outcome"]] if row["outcome"] else None,
        problem=Problem(row["problem"]) if row["problem"] else None,
        rounds=row["round"],
        by_person=is_persons((row["answer"] or b"")[:1]),
    )
