"""Campaigns in the database: imported calls, and the paths that their tracebacks have found.

A call and its traceback find each other by what the call is (called number, time, terminating provider), so that it
doesn't matter who had it traced, or when. Importing a file again changes nothing but how often its calls were reported.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Integer, Select, and_, case, func, insert, select, update

from coordinator.campaigns.common import Path, path_of
from coordinator.campaigns.files import Distinct, Report, distinct
from coordinator.ordering.orders import OrderSet, call_of
from coordinator.reports.way_reader import ways_of
from coordinator.store.campaign_models import campaign_calls, campaigns
from coordinator.store.models import TracebackRow
from coordinator.store.stir_models import campaign_identities
from coordinator.store.writing import writing
from coordinator.tracing.chain import Call, Status
from protos.codec import digest
from protos.e164 import E164
from protos.identity import parse_provider_id

_MS = timedelta(milliseconds=1)
_tracebacks: Any = TracebackRow.__table__
_SAME_CALL = and_(
    _tracebacks.c.called == campaign_calls.c.called,
    _tracebacks.c.at == campaign_calls.c.at,
    _tracebacks.c.terminating == campaign_calls.c.terminating,
)

_SAME_NUMBER = and_(
    campaign_identities.c.campaign == campaign_calls.c.campaign,
    campaign_identities.c.number == campaign_calls.c.number,
)


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """One campaign of a list. `traced` calls have a traceback, `finished` ones a result, `reports` counts rows."""

    name: str
    description: str
    created_at: datetime
    calls: int
    reports: int
    traced: int
    finished: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What an import made: calls that are new to the campaign, and how many rows reported what was there already."""

    new: tuple[Distinct, ...]
    repeated: int


class CampaignBook:
    """The campaigns of one coordinator."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, name: str, description: str, reports: Iterable[Report], by: str, now: datetime) -> Taken:
        """Add the calls that these rows report to a campaign, which is made when it isn't there; all or nothing."""
        rows = list(reports)
        with writing(self._engine) as connection:
            if connection.execute(select(campaigns.c.name).where(campaigns.c.name == name)).first() is None:
                row = {"name": name, "description": description, "created_at": now, "created_by": by}
                connection.execute(insert(campaigns), row)
            elif description:
                this = update(campaigns).where(campaigns.c.name == name)
                connection.execute(this.values(description=description))
            known = [_call(row) for row in connection.execute(_calls_of(name)).mappings()]
            new, again = distinct(rows, known)
            numbers = {_key(call): number for number, call in enumerate(known, start=1)}
            for one in again:
                connection.execute(
                    update(campaign_calls)
                    .where(campaign_calls.c.campaign == name, campaign_calls.c.number == numbers[_key(one.call)])
                    .values(reports=campaign_calls.c.reports + len(one.lines), calling=one.call.calling)
                )
            if new:
                connection.execute(
                    insert(campaign_calls),
                    [_call_row(name, len(known) + n, one, now) for n, one in enumerate(new, start=1)],
                )
            numbered = [(numbers[_key(one.call)], one) for one in again]
            _keep_identities(connection, name, [*numbered, *enumerate(new, start=len(known) + 1)])
        return Taken(tuple(new), sum(len(one.lines) for one in again) + sum(len(one.lines) - 1 for one in new))

    def take_orders(self, orders: OrderSet, by: str, now: datetime) -> None:
        """Add the calls of these orders to the campaigns that they name; what is known there is not reported anew."""
        reports: dict[str, list[Report]] = defaultdict(list)
        for line, (order, exact) in enumerate(zip(orders.orders, orders.exact, strict=True), start=1):
            reports[order.campaign].append(Report(line, call_of(order, digest(exact))))
        for campaign, rows in reports.items():
            with self._engine.connect() as connection:
                known = {_key(_call(row)) for row in connection.execute(_calls_of(campaign)).mappings()}
            self.take(campaign, "", [row for row in rows if _key(row.call) not in known], by, now)

    def summaries(self) -> list[CampaignSummary]:
        """All campaigns, by name."""
        ended = case((_tracebacks.c.status.in_([Status.ORIGIN_FOUND.value, Status.GATEWAY_FOUND.value]), 1), else_=0)
        per_call = (
            select(
                campaign_calls.c.campaign,
                campaign_calls.c.number,
                campaign_calls.c.reports,
                func.count(_tracebacks.c.id).label("tracebacks"),
                func.max(ended).label("finished"),
            )
            .outerjoin(_tracebacks, _SAME_CALL)
            .group_by(campaign_calls.c.campaign, campaign_calls.c.number, campaign_calls.c.reports)
            .subquery()
        )
        query = (
            select(
                campaigns.c.name,
                campaigns.c.description,
                campaigns.c.created_at,
                func.count(per_call.c.number),
                func.coalesce(func.sum(per_call.c.reports), 0).cast(Integer),
                func.coalesce(func.sum(case((per_call.c.tracebacks > 0, 1), else_=0)), 0).cast(Integer),
                func.coalesce(func.sum(per_call.c.finished), 0).cast(Integer),
            )
            .outerjoin(per_call, per_call.c.campaign == campaigns.c.name)
            .group_by(campaigns.c.name, campaigns.c.description, campaigns.c.created_at)
            .order_by(campaigns.c.name)
        )
        with self._engine.connect() as connection:
            return [CampaignSummary(*row) for row in connection.execute(query)]

    def untraced(self, name: str) -> list[tuple[Call, str]]:
        """The campaign's calls that have no traceback yet, in order of import: each is to be traced, pattern or no.

        Beside each the Identity header that came with it, empty where none did.
        """
        query = (
            select(campaign_calls, campaign_identities.c.header)
            .outerjoin(_tracebacks, _SAME_CALL)
            .outerjoin(campaign_identities, _SAME_NUMBER)
            .where(campaign_calls.c.campaign == name, _tracebacks.c.id.is_(None))
            .order_by(campaign_calls.c.number)
        )
        with self._engine.connect() as connection:
            return [(_call(row), row["header"] or "") for row in connection.execute(query).mappings()]

    def tracebacks(self, name: str) -> list[uuid.UUID]:
        """The tracebacks of the campaign's calls, in the calls' order; of a call that was traced twice the last one."""
        wanted = (
            select(campaign_calls.c.number, _tracebacks.c.id)
            .join(_tracebacks, _SAME_CALL)
            .where(campaign_calls.c.campaign == name)
            .order_by(campaign_calls.c.number, _tracebacks.c.submitted_at, _tracebacks.c.id)
        )
        with self._engine.connect() as connection:
            latest = {row.number: row.id for row in connection.execute(wanted)}
        return list(latest.values())

    def paths(self, name: str) -> list[Path]:
        """What the tracebacks of the campaign's calls have found; of a call that was traced twice the last one."""
        return [path_of(way) for way in ways_of(self._engine, self.tracebacks(name))]


def _calls_of(name: str) -> Select[Any]:
    return select(campaign_calls).where(campaign_calls.c.campaign == name).order_by(campaign_calls.c.number)


def _key(call: Call) -> tuple[str, datetime, str]:
    return call.called, call.at, call.terminating


def _call(row: Any) -> Call:
    return Call(
        called=E164(row["called"]),
        at=row["at"],
        terminating=parse_provider_id(row["terminating"]),
        calling=E164(row["calling"]) if row["calling"] else None,
        window=row["window_ms"] * _MS,
    )


def _keep_identities(connection: Connection, name: str, numbered: Iterable[tuple[int, Distinct]]) -> None:
    """Keep the headers of these calls of a campaign; a call that has one keeps it."""
    came = {number: one.identity.text for number, one in numbered if one.identity is not None}
    if not came:
        return
    mine = select(campaign_identities.c.number).where(campaign_identities.c.campaign == name)
    known = set(connection.execute(mine).scalars())
    rows = [
        {"campaign": name, "number": number, "header": header} for number, header in came.items() if number not in known
    ]
    if rows:
        connection.execute(insert(campaign_identities), rows)


def _call_row(name: str, number: int, one: Distinct, now: datetime) -> dict[str, Any]:
    call = one.call
    return {
        "campaign": name,
        "number": number,
        "called": call.called,
        "at": call.at,
        "terminating": call.terminating,
        "calling": call.calling,
        "window_ms": call.window // _MS,
        "reports": len(one.lines),
        "imported_at": now,
    }
