"""Reading chains by columns in blocks, without the bytes of questions and answers.

So they can be read of a million tracebacks one after the other, and still after their telephone numbers are gone. Only
the foreign carrier of a call from abroad stands in the answer's bytes alone; it is read from there while they can be
read.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from coordinator.reports.ways import HopFact, Way
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.pages import Place, newer
from coordinator.store.rows import kept
from coordinator.tracing.chain import Problem, Status, Traceback, places
from coordinator.tracing.signed import is_persons
from protos.codec import known_provider_id
from protos.types import Answer, Outcome

BLOCK = 500
_SAID_IN_BYTES = frozenset({Status.GATEWAY_FOUND, Status.REFUSED})
_tracebacks: Any = TracebackRow.__table__
_hops: Any = HopRow.__table__


def ways_of(engine: Engine, ids: Iterable[uuid.UUID]) -> Iterator[Way]:
    """The chains of these tracebacks, in their order; ids that nobody knows are passed over."""
    wanted = iter(ids)
    with engine.connect() as connection:
        while block := list(islice(wanted, BLOCK)):
            found = {way.traceback_id: way for way in _block(connection, block)}
            yield from (found[one] for one in block if one in found)


def ways_between(engine: Engine, since: datetime, until: datetime) -> Iterator[Way]:
    """The chains of the tracebacks submitted from `since` until before `until`, in order of submission."""
    columns = _tracebacks.c
    query = select(columns.id, columns.submitted_at)
    query = query.where(columns.submitted_at >= since, columns.submitted_at < until)
    return ways_by(engine, query, columns.submitted_at, columns.id)


def ways_by(engine: Engine, query: Any, time: Any, identity: Any) -> Iterator[Way]:
    """The chains of the tracebacks whose ids and times `query` gives, in that order, however many.

    `identity` and `time` are these columns. No more than a block is in memory, and no connection is kept over more.
    """
    query, after = query.order_by(time, identity).limit(BLOCK), None
    while True:
        with engine.connect() as connection:
            places = [Place(at, one) for one, at in connection.execute(_from(query, time, identity, after))]
            found = {way.traceback_id: way for way in _block(connection, [place.id for place in places])}
        yield from (found[place.id] for place in places)
        if len(places) < BLOCK:
            return
        after = places[-1]


def _from(query: Any, time: Any, identity: Any, after: Place | None) -> Any:
    return query if after is None else query.where(newer(time, identity, after))


def _block(connection: Connection, ids: Sequence[uuid.UUID]) -> Iterator[Way]:
    hops = _hops.c
    query = select(hops.traceback_id, hops.position, hops.round, hops.provider, hops.question_id, hops.asked_at)
    query = query.add_columns(hops.ended_at, hops.outcome, hops.problem, func.substr(hops.answer, 1, 1).label("form"))
    query = query.add_columns(hops.contested.is_not(None).label("is_contested"))
    query = query.where(hops.traceback_id.in_(ids))
    latest: dict[uuid.UUID, dict[int, HopFact]] = {}
    for row in connection.execute(query.order_by(hops.traceback_id, hops.position, hops.round)):
        latest.setdefault(row.traceback_id, {})[row.position] = HopFact(
            provider=known_provider_id(row.provider),
            question_id=row.question_id,
            asked=row.asked_at,
            ended=row.ended_at,
            outcome=Outcome[row.outcome] if row.outcome else None,
            problem=Problem(row.problem) if row.problem else None,
            rounds=row.round,
            by_person=row.form is not None and is_persons(bytes(row.form)),
            contested=row.is_contested,
        )
    columns = _tracebacks.c
    own = select(columns.id, columns.status, columns.submitted_at, columns.changed_at).where(columns.id.in_(ids))
    for row in connection.execute(own).all():
        status = Status(row.status)
        last = _last_answer(connection, row.id) if status in _SAID_IN_BYTES else None
        found = latest.get(row.id, {})
        facts = tuple(found[position] for position in sorted(found))
        yield Way(
            traceback_id=row.id,
            status=status,
            submitted=row.submitted_at,
            changed=row.changed_at,
            hops=facts,
            places=_places(connection, row.id, facts),
            foreign=last.upstream if last is not None and last.outcome is Outcome.FOREIGN_UPSTREAM else None,
            refusal=last.refusal if last is not None and last.outcome is Outcome.REFUSED else None,
        )


def _places(connection: Connection, traceback_id: uuid.UUID, facts: Sequence[HopFact]) -> tuple[int, ...]:
    """Where each hop stands in the call path; empty where that is simply its position.

    Only where a provider comes again one or two hops on can it have been asked once more about the same call, unless
    that was contested.
    """
    asked = [fact.provider for fact in facts]
    again = any(asked[position] in asked[position + 1 : position + 3] for position in range(len(asked)))
    if not again and not any(fact.contested for fact in facts):
        return ()
    traceback = _traceback(connection, traceback_id)
    return tuple(places(traceback.hops)) if traceback is not None else ()


def _last_answer(connection: Connection, traceback_id: uuid.UUID) -> Answer | None:
    traceback = _traceback(connection, traceback_id)
    return traceback.hops[-1].answer if traceback is not None and traceback.hops else None


def _traceback(connection: Connection, traceback_id: uuid.UUID) -> Traceback | None:
    row = connection.execute(select(_tracebacks).where(_tracebacks.c.id == traceback_id)).mappings().one()
    query = select(_hops).where(_hops.c.traceback_id == traceback_id).order_by(_hops.c.position, _hops.c.round)
    try:
        return kept(row, connection.execute(query).mappings()).traceback
    except ValueError:  # bytes that are not read any more must not keep a report from being made
        return None
