"""The coordinator's own services put together from a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from coordinator.api.orders import OrderApi
from coordinator.api.registry import RegistryApi
from coordinator.api.reports import ReportApi
from coordinator.api.rpc import Door, Handlers
from coordinator.api.service import House, TracebackApi
from coordinator.audits.client import AgentAudits
from coordinator.callers import ORDERS, REGISTRY, REPORTS, SERVICE, Role
from coordinator.campaigns.book import CampaignBook
from coordinator.config import LoadedConfig
from coordinator.lookups.transport import Transport
from coordinator.online import notary_of
from coordinator.registry.book import RegistryBook
from coordinator.reports.figures import Improper
from coordinator.reports.views import ReportViews
from coordinator.running.leases import owner_name
from coordinator.runtime import open_store
from coordinator.stir.book import IdentityBook
from coordinator.stir.examiner import Examiner, revoked_of, roots_of
from coordinator.store.engine import engine_for
from coordinator.store.order_views import OrderViews
from coordinator.store.orders import OrderBook
from coordinator.store.views import Views
from coordinator.tasks.desk import TaskDesk
from coordinator.tracing.priorities import Priority, priority_of
from protos.orders import Granted, Purpose


def _now() -> datetime:
    return datetime.now(UTC)


def _priority(granted: Granted) -> Priority:
    order = granted.order
    return priority_of(order.at, _now(), threat_to_life=order.purpose is Purpose.THREAT_TO_LIFE)


def listed(loaded: LoadedConfig) -> dict[Role, frozenset[str]]:
    """The names that count for each role but that of a provider."""
    orders, access = loaded.config.orders, loaded.config.access
    return {
        Role.REQUESTER: frozenset(orders.submitters),
        Role.APPROVER: frozenset(orders.approvers),
        Role.ANALYST: frozenset(access.analysts),
        Role.AUDITOR: frozenset(access.auditors),
    }


@contextmanager
def services_of(
    loaded: LoadedConfig, transport: Transport, revoked: Callable[[int | None], str | None] = lambda _: None
) -> Iterator[dict[str, Handlers]]:
    """The services over this configuration's database, by name; agents are asked for proofs over `transport`.

    `revoked` says why a caller's certificate of this serial number counts no longer, None while it does.

    Raises:
        ConfigError: there is no such database, its tables are not this version's, or roots can't be read.
    """
    orders = loaded.config.orders
    door = Door(listed(loaded), revoked)
    with open_store(loaded) as store, engine_for(loaded.store_url) as engine:
        registry, book = RegistryBook(engine, loaded.config.deadlines), OrderBook(engine)
        house = House(
            name=loaded.config.coordinator.name,
            store=store,
            views=Views(engine),
            book=book,
            tasks=TaskDesk(engine, registry, registry, link_lifetime=loaded.config.tasks.link_lifetime),
            registry=registry,
            persons=orders.persons,
            clock=_now,
            priority_of=_priority,
            owner=owner_name(),
            notary=replace(notary_of(loaded, engine, _now), audits=AgentAudits(transport)),
        )
        order_api = OrderApi(
            door,
            loaded.config.coordinator.name,
            book,
            OrderViews(engine, orders.persons),
            CampaignBook(engine),
            IdentityBook(engine),
            orders.persons,
            _now,
        )
        examiner = Examiner(engine, roots_of(loaded))

        def improper(since: datetime, until: datetime) -> list[Improper]:
            nonlocal examiner
            examiner = examiner.renewed(revoked_of(loaded, _now()))
            return examiner.improper(since, until)

        yield {
            SERVICE: TracebackApi(house, door).methods(),
            REPORTS: ReportApi(door, engine, ReportViews(engine), _now, improper).methods(),
            REGISTRY: RegistryApi(door, registry, _now).methods(),
            ORDERS: order_api.methods(),
        }
