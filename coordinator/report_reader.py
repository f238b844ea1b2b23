"""Reading what reports are made of: questions to persons, and the names of providers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from coordinator.deadlines.cooperation import RequestFact
from coordinator.deadlines.schedule import Schedule
from coordinator.reports import PersonFact
from coordinator.store.models import ProviderRow
from coordinator.store.task_models import tasks
from coordinator.tasks.task import State
from protos.identity import ProviderId, parse_provider_id
from protos.types import Outcome, RefusalReason

_providers: Any = ProviderRow.__table__


def persons_between(engine: Engine, since: datetime, until: datetime) -> list[PersonFact]:
    """Questions to persons that were put from `since` until before `until`, in order; withdrawn ones don't count."""
    columns = tasks.c
    query = (
        select(tasks)
        .where(columns.received >= since, columns.received < until, columns.state != State.WITHDRAWN.value)
        .order_by(columns.received, columns.id)
    )
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


def provider_names(engine: Engine) -> dict[ProviderId, str]:
    """The registry's names."""
    with engine.connect() as connection:
        rows = connection.execute(select(_providers.c.id, _providers.c.name))
        return {parse_provider_id(row.id): row.name for row in rows}
