"""The tables of orders.

    order_sets   1 --- n   orders        what was drafted together is signed together
    order_sets   1 --- n   order_seals   the submitter's signature over the set, and those of approvers

An order is kept in the exact bytes that were signed; columns beside it repeat what has to be searched. A signature
covers a whole set; the path beside each order lets it stand alone. Telephone numbers are in these tables.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from coordinator.store.models import Base, UtcDateTime


class OrderSetRow(Base):
    """Orders that were drafted together."""

    __tablename__ = "order_sets"
    __table_args__ = (
        Index("ix_order_sets_drafted_at", "drafted_at"),
        {"comment": "Orders that were drafted, and are signed, together"},
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, comment="Follows from `root`")
    root: Mapped[bytes] = mapped_column(LargeBinary(32), comment="Root of the Merkle tree of the orders' exact bytes")
    size: Mapped[int] = mapped_column(Integer, comment="Number of orders")
    submitter: Mapped[str] = mapped_column(String(63), comment="Name of the person who is to submit them")
    drafted_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When they were drafted, UTC")


class OrderRow(Base):
    """One call that may be traced once the set is signed."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_set_id_position", "set_id", "position", unique=True),
        Index("ix_orders_order_id", "order_id", unique=True),
        {"comment": "One call that may be traced, once its set is signed by those who must"},
    )

    sha256: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True, comment="SHA-256 of `exact`")
    set_id: Mapped[uuid.UUID] = mapped_column(Uuid, ForeignKey("order_sets.id"), comment="The set it belongs to")
    position: Mapped[int] = mapped_column(Integer, comment="Place in the set, from 0: index of the leaf")
    order_id: Mapped[uuid.UUID] = mapped_column(Uuid, comment="Id in the order")
    exact: Mapped[bytes] = mapped_column(LargeBinary, comment="The exact bytes of hopback.v1.Order")
    path: Mapped[bytes] = mapped_column(LargeBinary, comment="Inclusion path in the set's tree, 32 bytes a node")
    campaign: Mapped[str] = mapped_column(String(100), comment="Campaign that the call belongs to")
    expires: Mapped[datetime] = mapped_column(UtcDateTime, comment="Until when it counts, UTC")


class OrderSealRow(Base):
    """One person's signature over a set."""

    __tablename__ = "order_seals"
    __table_args__ = ({"comment": "One person's signature over a set of orders"},)

    set_id: Mapped[uuid.UUID] = mapped_column(
        Uuid, ForeignKey("order_sets.id"), primary_key=True, comment="The set that is signed"
    )
    domain: Mapped[str] = mapped_column(String(16), primary_key=True, comment="order (submission) or approval")
    key_id: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True, comment="Id of the key that signed")
    person: Mapped[str] = mapped_column(String(63), comment="Whose key it was, by the configuration at that time")
    seal: Mapped[bytes] = mapped_column(LargeBinary, comment="The exact bytes of hopback.v1.Seal")
    signed_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When the signature was taken in, UTC")
