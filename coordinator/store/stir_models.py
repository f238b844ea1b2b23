"""The tables of the cross-check: Identity headers beside orders and campaigns' calls, and signers' certificates.

A header holds telephone numbers: it goes when those of its order go. What was found with it stays.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKeyConstraint, Index, Integer, LargeBinary, String, Table, Text

from coordinator.store.models import Base, UtcDateTime

order_identities = Table(
    "order_identities",
    Base.metadata,
    Column("order_sha256", LargeBinary(32), primary_key=True, comment="Digest of the order whose call it came with"),
    Column("campaign", String(100), nullable=False, comment="Campaign that the call belongs to"),
    Column("header", Text, comment="The Identity header or headers, one a line; null once old: it holds numbers"),
    Column("origid", String(128), comment="Its origid, as it is searched by; null once old where it is no UUID"),
    Column("found", Text, comment="What was found when the header went, JSON without numbers; null before"),
    Column("taken_at", UtcDateTime, nullable=False, comment="When it was taken in, UTC"),
    Column("taken_by", String(80), comment="Who handed it in, role and name; null where that was at the coordinator"),
    Index("ix_order_identities_origid", "origid"),
    comment="Identity headers that came with the calls of orders",
)

campaign_identities = Table(
    "campaign_identities",
    Base.metadata,
    Column("campaign", String(200), primary_key=True, comment="Name of the campaign"),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="Number of the call in the campaign"),
    Column("header", Text, nullable=False, comment="The Identity header or headers, one a line; gone once old"),
    ForeignKeyConstraint(["campaign", "number"], ["campaign_calls.campaign", "campaign_calls.number"]),
    comment="Identity headers that came with the calls of campaigns",
)

stir_certificates = Table(
    "stir_certificates",
    Base.metadata,
    Column("sha256", LargeBinary(32), primary_key=True, comment="SHA-256 of `certificate`"),
    Column("certificate", LargeBinary, nullable=False, comment="X.509, DER: a signer's, or an authority's in between"),
    Column("added_at", UtcDateTime, nullable=False, comment="When it was imported, UTC"),
    Column("added_by", Text, nullable=False, comment="Who imported it"),
    comment="Certificates that Identity headers are verified with",
)
