"""TracebackService put together from a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from coordinator.api.callers import Role
from coordinator.api.service import House, TracebackApi
from coordinator.config import LoadedConfig
from coordinator.leases import owner_name
from coordinator.priorities import Priority, priority_of
from coordinator.registry.book import RegistryBook
from coordinator.runtime import open_store
from coordinator.store.engine import engine_for
from coordinator.store.orders import OrderBook
from coordinator.store.views import Views
from coordinator.tasks.desk import TaskDesk
from protos.orders import Granted, Purpose


def _now() -> datetime:
    return datetime.now(UTC)


def _priority(granted: Granted) -> Priority:
    order = granted.order
    return priority_of(order.at, _now(), threat_to_life=order.purpose is Purpose.THREAT_TO_LIFE)


@contextmanager
def api_of(loaded: LoadedConfig) -> Iterator[TracebackApi]:
    """The service over this configuration's database.

    Raises:
        ConfigError: there is no such database, or its tables are not this version's.
    """
    access = loaded.config.access
    with open_store(loaded) as store, engine_for(loaded.store_url) as engine:
        book = RegistryBook(engine, loaded.config.deadlines)
        house = House(
            name=loaded.config.coordinator.name,
            store=store,
            views=Views(engine),
            book=OrderBook(engine),
            tasks=TaskDesk(engine, book, book, link_lifetime=loaded.config.tasks.link_lifetime),
            persons=loaded.config.orders.persons,
            listed={
                Role.REQUESTER: frozenset(loaded.config.orders.submitters),
                Role.APPROVER: frozenset(loaded.config.orders.approvers),
                Role.ANALYST: frozenset(access.analysts),
                Role.AUDITOR: frozenset(access.auditors),
            },
            clock=_now,
            priority_of=_priority,
            owner=owner_name(),
        )
        yield TracebackApi(house)
