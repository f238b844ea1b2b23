"""The tables of campaigns: their names, and the distinct calls that were reported.

A call of a campaign and its traceback find each other by what the call is: called number, time, terminating provider.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from coordinator.store.models import Base, UtcDateTime

campaigns = Table(
    "campaigns",
    Base.metadata,
    Column("name", String(200), primary_key=True, comment="Name, as orders call it"),
    Column("description", Text, nullable=False, comment="What is said in these calls; may be empty"),
    Column("created_at", UtcDateTime, nullable=False, comment="When it was first imported, UTC"),
    Column("created_by", Text, nullable=False, comment="Who imported it first"),
    comment="Named sets of calls with the same script",
)

campaign_calls = Table(
    "campaign_calls",
    Base.metadata,
    Column("campaign", String(200), ForeignKey("campaigns.name"), primary_key=True, comment="Name of the campaign"),
    Column("number", Integer, primary_key=True, autoincrement=False, comment="Counted from 1 within the campaign"),
    Column("called", String(16), nullable=False, comment="E.164 of the called number; a pseudonym once old"),
    Column("at", UtcDateTime, nullable=False, comment="Seizure time, UTC, whole ms"),
    Column("terminating", String(63), nullable=False, comment="Id of the terminating provider"),
    Column("calling", String(16), comment="E.164 shown as caller ID; null if none; a pseudonym once old"),
    Column("window_ms", Integer, nullable=False, comment="How far from `at` records may lie, either side, in ms"),
    Column("reports", Integer, nullable=False, comment="How many rows reported it"),
    Column("imported_at", UtcDateTime, nullable=False, comment="When it was first imported, UTC"),
    Index("ix_campaign_calls_called_at", "called", "at"),
    comment="The distinct calls of a campaign",
)
