"""The table of tracebacks whose telephone numbers were taken out."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Table, Uuid

from coordinator.store.models import Base, UtcDateTime

retired_tracebacks = Table(
    "retired_tracebacks",
    Base.metadata,
    Column("traceback_id", Uuid, ForeignKey("tracebacks.id"), primary_key=True, comment="The traceback"),
    Column("retired_at", UtcDateTime, nullable=False, comment="When its numbers were replaced by pseudonyms, UTC"),
    comment="Tracebacks that hold pseudonyms in place of telephone numbers",
)
