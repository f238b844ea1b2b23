"""Reading what reports are made of: questions to persons, and the names of providers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, select

from coordinator.deadlines.cooperation import RequestFact
from coordinator.deadlines.schedule import Schedule
from coordinator.reports.figures import PersonFact
from coordinator.store.models import ProviderRow
from coordinator.store.task_models import tasks
from coordinator.tasks.task import State
from protos.identity import ProviderId, parse_provider_id
from protos.types import Outcome, RefusalReason

_providers: Any = ProviderRow.__table__
_FEW = 500
"""Ids in one IN (...); for more the whole registry is read."""


def persons_between(
    engine: Engine, since: datetime, until: datetime, only: ColumnElement[bool] | None = None
) -> list[PersonFact]:
    """Questions to persons that were put from `since` until before `until`, in order; withdrawn ones don't count.

    `only` is a condition on the table of tasks.
    """
    columns = tasks.c
    query = (
        select(tasks)
        .where(columns.received >= since, columns.received < until, columns.state != State.WITHDRAWN.value)
        .order_by(columns.received, columns.id)
    )
    if only is not None:
        query = query.where(only)
    with engine.connect() as connection:
        return [
            PersonFact(
                provider=parse_provider_id(row["provider"]),
                request=RequestFact(
                    id=str(row["id"]),
                    plan=Schedule(row["received"], row["counts_from"], row["due"], (), (), row["gives_up"]),
                    answered=row["answered_at"],
                    refused=row["outcome"] == Outcome.REFUSED.name,
                ),
                refusal=RefusalReason[row["refusal"]] if row["refusal"] else None,
            )
            for row in connection.execute(query).mappings()
        ]


def provider_names(engine: Engine, ids: Sequence[ProviderId] | None = None) -> dict[ProviderId, str]:
    """The registry's names: of these providers, or of all."""
    query = select(_providers.c.id, _providers.c.name)
    if ids is not None and len(ids) <= _FEW:
        query = query.where(_providers.c.id.in_(ids))
    with engine.connect() as connection:
        return {parse_provider_id(row.id): row.name for row in connection.execute(query)}
