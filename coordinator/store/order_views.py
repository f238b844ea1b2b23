"""Which sets of orders each caller may see, by queries that read nothing else.

An analyst and an auditor see all, a requester those that he is to submit. An approver sees those that wait for a
decision of his, submitted by somebody else, not expired and not approved by enough others yet, and those that he
approved.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, and_, exists, func, or_, select

from coordinator.callers import Caller, Role
from coordinator.store.order_models import OrderRow, OrderSealRow, OrderSetRow
from coordinator.store.pages import DEFAULT_PAGE, Place, older, place_of, token_of
from protos.orders import Persons
from protos.signing import Domain


@dataclass(frozen=True, slots=True)
class SetSeen:
    """A set that a caller may see, without its orders."""

    id: uuid.UUID
    size: int
    submitter: str
    drafted_at: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class Signed:
    """A person's signature, its domain by name; `seal` are the exact bytes of hopback.v1.Seal."""

    person: str
    domain: str
    at: datetime
    seal: bytes


class OrderViews:
    """Reads which sets callers may see; by `persons`, the approvals of whom count, and how many it takes."""

    def __init__(self, engine: Engine, persons: Persons) -> None:
        self._engine = engine
        self._persons = persons

    def get(self, caller: Caller, set_id: uuid.UUID, now: datetime) -> SetSeen | None:
        """One set; None where there is none that this caller may see."""
        query = self._visible(caller, now).where(OrderSetRow.id == set_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else SetSeen(*row)

    def page(self, caller: Caller, now: datetime, *, size: int = 0, token: str = "") -> tuple[list[SetSeen], str]:
        """A page of sets, the one drafted last first; and the token of the next page, empty on the last one.

        Raises:
            coordinator.store.pages.BadPageError: `token` is none.
        """
        size, after = size or DEFAULT_PAGE, place_of(token)
        query = self._visible(caller, now).order_by(OrderSetRow.drafted_at.desc(), OrderSetRow.id)
        if after is not None:
            query = query.where(older(OrderSetRow.drafted_at, OrderSetRow.id, after))
        with self._engine.connect() as connection:
            found = [SetSeen(*row) for row in connection.execute(query.limit(size))]
        last = Place(found[-1].drafted_at, found[-1].id) if len(found) == size else None
        return found, token_of(last)

    def first_order(self, set_id: uuid.UUID) -> bytes:
        """The digest of the first order of a set that is still there."""
        query = select(OrderRow.sha256).where(OrderRow.set_id == set_id).order_by(OrderRow.position).limit(1)
        with self._engine.connect() as connection:
            return bytes(connection.execute(query).scalar_one())

    def signed(self, set_id: uuid.UUID) -> list[Signed]:
        """Who signed a set, in the order in which that was taken in."""
        row = OrderSealRow
        query = select(row.person, row.domain, row.signed_at, row.seal).where(row.set_id == set_id)
        with self._engine.connect() as connection:
            return [Signed(*found) for found in connection.execute(query.order_by(row.signed_at, row.person))]

    def campaigns(self, set_id: uuid.UUID, most: int = 3) -> list[str]:
        """Names of a set's campaigns, most frequent first."""
        query = select(OrderRow.campaign).where(OrderRow.set_id == set_id).group_by(OrderRow.campaign)
        query = query.order_by(func.count().desc(), OrderRow.campaign).limit(most)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def campaigns_of(self, caller: Caller, sha256s: Collection[bytes], now: datetime) -> dict[bytes, str]:
        """The campaigns of those of these orders that the caller may see, by digest."""
        seen = self._visible(caller, now).with_only_columns(OrderSetRow.id, maintain_column_froms=True)
        query = select(OrderRow.sha256, OrderRow.campaign).where(
            OrderRow.sha256.in_(sha256s), OrderRow.set_id.in_(seen)
        )
        with self._engine.connect() as connection:
            return {bytes(sha256): campaign for sha256, campaign in connection.execute(query)}

    def _visible(self, caller: Caller, now: datetime) -> Any:
        expires = select(func.min(OrderRow.expires)).where(OrderRow.set_id == OrderSetRow.id).scalar_subquery()
        query: Any = select(OrderSetRow.id, OrderSetRow.size, OrderSetRow.submitter, OrderSetRow.drafted_at, expires)
        match caller.role:
            case Role.ANALYST | Role.AUDITOR:
                return query
            case Role.REQUESTER:
                return query.where(OrderSetRow.submitter == caller.name)
            case Role.APPROVER:
                seal, approval = OrderSealRow, OrderSealRow.domain == Domain.APPROVAL.value
                mine = exists().where(seal.set_id == OrderSetRow.id, approval, seal.person == caller.name)
                submitted = exists().where(seal.set_id == OrderSetRow.id, seal.domain == Domain.ORDER.value)
                counts = and_(seal.set_id == OrderSetRow.id, approval, seal.person.in_(self._persons.approvers))
                approved = select(func.count()).where(counts).scalar_subquery()
                waits = and_(
                    OrderSetRow.submitter != caller.name, submitted, expires > now, approved < self._persons.approvals
                )
                return query.where(or_(mine, waits))
            case _:
                raise ValueError(f"{caller.role} sees no orders")
