"""What each caller's reports are made of, by queries that read nothing else.

An analyst's and an auditor's are made of everything, a requester's of the tracebacks of the orders that he submitted. A
provider's scorecard is made of rows that carry its id and of no others, without looks that somebody else's words
caused, so that nothing that happens elsewhere can change it.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, RowMapping, Select

from coordinator.api.callers import Caller, Role
from coordinator.chain import Problem
from coordinator.report_reader import persons_between
from coordinator.reports import PersonFact
from coordinator.signed import is_persons
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.task_models import tasks
from coordinator.store.views import first_asked, first_looks, own_rows, visible
from coordinator.way_reader import ways_of
from coordinator.ways import HopFact, Way
from protos.identity import parse_provider_id
from protos.types import Outcome

MOST = 100_000
"""Tracebacks in one report: more would take more memory than a process that traces should give."""


class TooMuchError(Exception):
    """The period holds too much for one report."""

    def __init__(self) -> None:
        super().__init__(
            f"the period holds more than {MOST:,} tracebacks: choose a shorter one, "
            "or make the report at the coordinator with `hopback-coordinator report`"
        )


class ReportViews:
    """Reads what reports are made of, for callers, from `since` until before `until`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ways(self, caller: Caller, since: datetime, until: datetime) -> Iterator[Way]:
        """The chains that somebody who is no provider may see, in order of submission.

        Raises:
            TooMuchError: there are too many.
        """
        query = _ids(caller).where(TracebackRow.submitted_at >= since, TracebackRow.submitted_at < until)
        query = query.order_by(TracebackRow.submitted_at, TracebackRow.id).limit(MOST + 1)
        return ways_of(self._engine, self._few(query))

    def persons(self, caller: Caller, since: datetime, until: datetime) -> list[PersonFact]:
        """What became of the questions to persons that belong to such chains; to a provider, of its own."""
        return persons_between(self._engine, since, until, _tasks_of(caller))

    def own_hops(self, caller: Caller, since: datetime, until: datetime) -> list[HopFact]:
        """What became of what this provider was asked first in that time.

        Raises:
            TooMuchError: it is too much.
        """
        query = first_asked(caller.name).where(HopRow.asked_at >= since, HopRow.asked_at < until)
        asked = self._few(query.order_by(HopRow.asked_at, HopRow.traceback_id).limit(MOST + 1))
        rows: dict[uuid.UUID, list[RowMapping]] = defaultdict(list)
        with self._engine.connect() as connection:
            for start in range(0, len(asked), 500):
                some = own_rows(caller.name, asked[start : start + 500])
                for row in connection.execute(some).mappings():
                    rows[row["traceback_id"]].append(row)
        return [_fact(row) for identity in asked for row in first_looks(rows[identity])]

    def _few(self, query: Select[Any]) -> list[uuid.UUID]:
        with self._engine.connect() as connection:
            found = list(connection.execute(query).scalars())
        if len(found) > MOST:
            raise TooMuchError
        return found


def _ids(caller: Caller) -> Select[Any]:
    return visible(caller).with_only_columns(TracebackRow.id, maintain_column_froms=True)


def _tasks_of(caller: Caller) -> ColumnElement[bool] | None:
    match caller.role:
        case Role.ANALYST | Role.AUDITOR:
            return None
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
