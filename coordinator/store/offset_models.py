"""The table of what answers showed of how far neighbours' clocks are apart."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Uuid

from coordinator.store.models import Base

clock_observations = Table(
    "clock_observations",
    Base.metadata,
    Column("question_id", Uuid, primary_key=True, comment="The question whose answer showed it"),
    Column("named_by", String(63), nullable=False, comment="Id of the provider that named the other"),
    Column("provider", String(63), nullable=False, comment="Id of the provider that answered"),
    Column("seconds", Integer, nullable=False, comment="How far the latter's clock was ahead, in whole seconds"),
    Column("observed_ms", BigInteger, nullable=False, comment="When it answered, milliseconds since 1970"),
    Index("ix_clock_observations_pair", "named_by", "provider", "observed_ms"),
    comment="What answers showed of how far neighbours' clocks are apart; the latest of each pair",
)
