"""Orders in SQL: sets, their signatures, and what a traceback needs of them.

A signature that is stored was checked before, against the persons of the configuration of that time; whoever starts a
traceback checks again, against those of his.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, select

from coordinator.ordering.orders import OrdersError, OrderSet, Signature
from coordinator.store.models import BatchRow
from coordinator.store.order_models import OrderRow, OrderSealRow, OrderSetRow
from coordinator.store.writing import writing
from coordinator.tracing.signed import seal_id
from hopback.v1 import evidence_pb2 as pb
from hopback.v1 import hop_pb2
from protos.codec import digest, parse
from protos.orders import Granted, decode_order
from protos.signing import Domain, Proof, Seal

_MOST_AT_ONCE: Final = 500
"""Values in one IN (...): SQLite takes no more than 32,766 parameters, and few are as quick."""
_MOST_ALIKE: Final = 5
"""Of ids that begin alike so many are found: enough to say that it is not one."""


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order as it is kept, with its signatures: `Granted`, before it is read."""

    exact: bytes
    submission: Proof
    approvals: tuple[Seal, ...]

    def read(self) -> Granted:
        """The same, with what the order says."""
        return Granted(decode_order(self.exact), self.exact, self.submission, self.approvals)


@dataclass(frozen=True, slots=True)
class SetSummary:
    """One line of a list of sets."""

    id: uuid.UUID
    size: int
    submitter: str
    drafted_at: datetime


class OrderBook:
    """Implements `coordinator.lookups.asking.Orders` and `coordinator.lookups.asking.Certificates` over an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, orders: OrderSet, at: datetime) -> bool:
        """Keep a set without its signatures; False when it is there already."""
        identity = orders.id
        with writing(self._engine) as connection:
            if _set(connection, identity) is not None:
                return False
            connection.execute(
                insert(OrderSetRow),
                {
                    "id": identity,
                    "root": orders.tree.root,
                    "size": len(orders.orders),
                    "submitter": orders.submitter,
                    "drafted_at": at,
                },
            )
            connection.execute(
                insert(OrderRow),
                [
                    {
                        "sha256": digest(exact),
                        "set_id": identity,
                        "position": index,
                        "order_id": order.order_id,
                        "exact": exact,
                        "path": path,
                        "campaign": order.campaign,
                        "expires": order.expires,
                    }
                    for index, (order, exact, path) in enumerate(
                        zip(orders.orders, orders.exact, orders.tree.paths(), strict=True)
                    )
                ],
            )
        return True

    def sign(self, set_id: uuid.UUID, signature: Signature, person: str, at: datetime) -> None:
        """Keep a signature that was checked; one that is there already stays."""
        row = {
            "set_id": set_id,
            "domain": signature.domain.value,
            "key_id": signature.seal.key_id,
            "person": person,
            "seal": signature.seal.to_message().SerializeToString(deterministic=True),
            "signed_at": at,
        }
        there = select(OrderSealRow.key_id).where(
            OrderSealRow.set_id == set_id,
            OrderSealRow.domain == signature.domain.value,
            OrderSealRow.key_id == signature.seal.key_id,
        )
        with writing(self._engine) as connection:
            if connection.execute(there).first() is None:
                connection.execute(insert(OrderSealRow), row)

    def load(self, set_id: uuid.UUID) -> OrderSet | None:
        """A set with its signatures, None when there is none of this id.

        Raises:
            OrdersError: orders of it are gone, since they expired long ago.
        """
        rows = select(OrderRow.exact).where(OrderRow.set_id == set_id).order_by(OrderRow.position)
        with self._engine.connect() as connection:
            size = _set(connection, set_id)
            if size is None:
                return None
            exact = connection.execute(rows).scalars().all()
            if len(exact) != size:
                raise OrdersError(f"{size - len(exact):,} orders of the set {set_id} were removed: it expired long ago")
            return OrderSet.of(exact, _signatures(connection, [set_id])[set_id])

    def signers(self, set_id: uuid.UUID) -> list[tuple[str, str, datetime]]:
        """Who signed a set, as what (order or approval), and when that was taken in."""
        query = (
            select(OrderSealRow.person, OrderSealRow.domain, OrderSealRow.signed_at)
            .where(OrderSealRow.set_id == set_id)
            .order_by(OrderSealRow.signed_at, OrderSealRow.person)
        )
        with self._engine.connect() as connection:
            return [(person, domain, at) for person, domain, at in connection.execute(query)]

    def recent(self, limit: int) -> list[SetSummary]:
        """The sets drafted last, newest first, without those of which retention has removed orders."""
        query = select(OrderSetRow.id, OrderSetRow.size, OrderSetRow.submitter, OrderSetRow.drafted_at)
        there = select(func.count()).where(OrderRow.set_id == OrderSetRow.id).scalar_subquery()
        query = (
            query.where(there == OrderSetRow.size).order_by(OrderSetRow.drafted_at.desc(), OrderSetRow.id).limit(limit)
        )
        with self._engine.connect() as connection:
            return [SetSummary(*row) for row in connection.execute(query)]

    def find_sets(self, prefix: str) -> list[uuid.UUID]:
        """Ids of sets that begin with `prefix`."""
        return self._find(prefix, OrderSetRow.id)

    def find_orders(self, prefix: str) -> list[bytes]:
        """Digests of orders whose ids begin with `prefix`."""
        ids = self._find(prefix, OrderRow.order_id)
        with self._engine.connect() as connection:
            return list(connection.execute(select(OrderRow.sha256).where(OrderRow.order_id.in_(ids))).scalars())

    def sets_of(self, sha256: bytes) -> list[uuid.UUID]:
        """The set that the order with this digest belongs to; none where there is no such order."""
        query = select(OrderRow.set_id).where(OrderRow.sha256 == sha256)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def _find(self, prefix: str, column: object) -> list[uuid.UUID]:
        digits = "".join(character for character in prefix.lower() if character in "0123456789abcdef")[:32]
        if len(digits) != len(prefix.replace("-", "")) or not digits:
            return []
        low, high = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
        query = select(column).where(column.between(low, high)).order_by(column).limit(_MOST_ALIKE)  # type: ignore[call-overload,attr-defined]
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    # What a traceback needs

    def granted(self, sha256s: Collection[bytes]) -> Mapping[bytes, Granted]:
        """Those of these orders that were submitted, with all their signatures; whether those suffice is not judged."""
        return {sha256: one.read() for sha256, one in self.signed(sha256s).items()}

    def signed(self, sha256s: Collection[bytes]) -> Mapping[bytes, SignedOrder]:
        """The same, for whoever passes them on as they are."""
        wanted, found = list(sha256s), {}
        with self._engine.connect() as connection:
            for start in range(0, len(wanted), _MOST_AT_ONCE):
                found.update(_signed(connection, wanted[start : start + _MOST_AT_ONCE]))
        return found

    def certificate(self, seal: Seal) -> bytes | None:
        """The certificate (DER) that came with the answers of this seal."""
        query = select(BatchRow.received).where(BatchRow.sha256 == seal_id(seal))
        with self._engine.connect() as connection:
            received = connection.execute(query).scalar()
        return None if received is None else hop_pb2.AskResponse.FromString(received).certificate


def _set(connection: Connection, set_id: uuid.UUID) -> int | None:
    return connection.execute(select(OrderSetRow.size).where(OrderSetRow.id == set_id)).scalar()


def _signatures(connection: Connection, set_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[Signature]]:
    found: dict[uuid.UUID, list[Signature]] = {identity: [] for identity in set_ids}
    query = (
        select(OrderSealRow.set_id, OrderSealRow.domain, OrderSealRow.seal)
        .where(OrderSealRow.set_id.in_(set_ids))
        .order_by(OrderSealRow.domain, OrderSealRow.key_id)
    )
    for set_id, domain, seal in connection.execute(query):
        found[set_id].append(Signature(Domain(domain), Seal.of_message(parse(pb.Seal(), seal))))
    return found


def _signed(connection: Connection, sha256s: Collection[bytes]) -> dict[bytes, SignedOrder]:
    query = select(OrderRow.sha256, OrderRow.set_id, OrderRow.position, OrderRow.exact, OrderRow.path)
    rows = connection.execute(query.where(OrderRow.sha256.in_(sha256s))).all()
    signatures = _signatures(connection, {row.set_id for row in rows})
    submissions = {
        set_id: next((one.seal for one in some if one.domain is Domain.ORDER), None)
        for set_id, some in signatures.items()
    }
    approvals = {
        set_id: tuple(one.seal for one in some if one.domain is Domain.APPROVAL) for set_id, some in signatures.items()
    }
    found = {}
    for sha256, set_id, position, exact, path in rows:
        submission = submissions[set_id]
        if submission is not None:
            found[sha256] = SignedOrder(exact, Proof(submission, position, path), approvals[set_id])
    return found


def known_set(book: OrderBook, set_id: uuid.UUID) -> OrderSet:
    """The set of this id.

    Raises:
        OrdersError: there is none.
    """
    known = book.load(set_id)
    if known is None:
        raise OrdersError(f"there is no set of orders {set_id}")
    return known
