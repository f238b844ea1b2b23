"""The tables. SQLite and PostgreSQL; made and changed by the migrations alone, never by `create_all`.

    tracebacks   1 --- n   hops        one row a hop and round; a hop that is asked anew gets another round
    batches      1 --- n   hops        the bytes of many questions that travelled together
    providers                          the registry

Questions and answers are kept as the exact bytes that travelled, because they are evidence; the columns beside them
repeat what has to be searched. Every column says what it holds; PostgreSQL keeps these comments.

Who drives a traceback stands in its row: a process claims it by raising `fence` and setting `owner` and `claimable`,
and every later write names the fence. What belongs to other matters has modules of its own, `*_models.py`, over this
`Base`; `all_tables` knows of every one.
"""

from __future__ import annotations

import importlib
import pkgutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite gives naive ones back, so that the zone is checked going in and put back coming out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time can't be stored: it says nothing without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        aware: datetime = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC)


class Base(DeclarativeBase):
    """Names of constraints follow one pattern, so that migrations can name them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


FOR_PEOPLE = "status IN ('no_agent', 'needs_human')"
"""The chains that ended where a person may have to be asked: as their index has it, which is used where a query says
the very same."""


STOPPED = "status NOT IN ('submitted', 'asking')"
"""The chains that rest or wait, by when they came to: as their index has it."""


class TracebackRow(Base):
    """One call to trace, and where its tracing stands. Transitions of `status`: `coordinator.tracing.traceback`."""

    __tablename__ = "tracebacks"
    __table_args__ = (
        Index("ix_tracebacks_claimable", "claimable"),
        Index("ix_tracebacks_priority_claimable", "priority", "claimable"),
        Index("ix_tracebacks_submitted_at", "submitted_at"),
        Index("ix_tracebacks_called_at", "called", "at"),
        Index(
            "ix_tracebacks_ambiguous",
            "expires",
            sqlite_where=text("status = 'ambiguous'"),
            postgresql_where=text("status = 'ambiguous'"),
        ),
        Index(
            "ix_tracebacks_stopped",
            "changed_at",
            sqlite_where=text(STOPPED),
            postgresql_where=text(STOPPED),
        ),
        Index(
            "ix_tracebacks_for_people",
            "submitted_at",
            sqlite_where=text(FOR_PEOPLE),
            postgresql_where=text(FOR_PEOPLE),
        ),
        Index(
            "ix_tracebacks_waits_for",
            "waits_for",
            "claimable",
            sqlite_where=text("waits_for IS NOT NULL"),
            postgresql_where=text("waits_for IS NOT NULL"),
        ),
        {"comment": "One call to trace, and where its tracing stands"},
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, comment="Random; every question id derives from it")
    called: Mapped[str] = mapped_column(String(16), comment="E.164 of the called number at the terminating provider")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="Seizure time at the terminating provider, UTC, whole ms")
    terminating: Mapped[str] = mapped_column(String(63), comment="Id of the provider that is asked first")
    calling: Mapped[str | None] = mapped_column(String(16), comment="E.164 shown as caller ID: a claim; null if none")
    window_ms: Mapped[int] = mapped_column(Integer, comment="How far from `at` records may lie, either side, in ms")
    hop_limit: Mapped[int] = mapped_column(Integer, comment="How many providers may be asked at most")
    order_sha256: Mapped[bytes | None] = mapped_column(
        LargeBinary(32), comment="Digest of the order that it stands under; null in a trial"
    )
    expires: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="Until when that order counts, UTC; null in a trial"
    )
    status: Mapped[str] = mapped_column(String(24), comment="coordinator.tracing.chain.Status")
    due: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When to ask again; set while waiting alone")
    found: Mapped[str | None] = mapped_column(String(63), comment="Id of the originating or gateway provider, if found")
    hop_count: Mapped[int] = mapped_column(Integer, comment="Number of hops so far")
    version: Mapped[int] = mapped_column(Integer, comment="Number of changes; a writer must name the present one")
    submitted_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When it was submitted, UTC")
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When it last changed, UTC")
    priority: Mapped[int] = mapped_column(
        SmallInteger, server_default="3", comment="coordinator.tracing.priorities.Priority; 0 comes first"
    )
    owner: Mapped[str | None] = mapped_column(
        String(128), comment="Process that drives it, until `claimable`; null if none does"
    )
    claimable: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="From when any process may claim it: when due, or when its lease ends; null when closed"
    )
    waits_for: Mapped[str | None] = mapped_column(
        String(63), comment="Id of the provider whose agent does not answer; null where it waits for none"
    )
    fence: Mapped[int] = mapped_column(
        Integer, server_default="0", comment="Number of claims; a writer must name the present one"
    )


class HopRow(Base):
    """One question to one provider, and what came of it. Rows of earlier rounds stay as they were."""

    __tablename__ = "hops"
    __table_args__ = (
        Index("ix_hops_provider_asked_at", "provider", "asked_at"),
        {"comment": "One question to one provider, and what came of it"},
    )

    traceback_id: Mapped[uuid.UUID] = mapped_column(
        Uuid, ForeignKey("tracebacks.id"), primary_key=True, comment="The traceback that it belongs to"
    )
    position: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, comment="Place in the chain; 0 is the terminating provider"
    )
    round: Mapped[int] = mapped_column(
        Integer, primary_key=True, autoincrement=False, comment="How often the hop was asked anew, counted from 1"
    )
    question_id: Mapped[uuid.UUID] = mapped_column(Uuid, comment="Id in the question; derives from the key of this row")
    provider: Mapped[str] = mapped_column(String(63), comment="Id of the provider that was asked")
    question: Mapped[bytes] = mapped_column(
        LargeBinary, comment="The exact bytes of hopback.v1.Question, as sent; restated where it travelled in a batch"
    )
    answer: Mapped[bytes | None] = mapped_column(
        LargeBinary,
        comment="The exact bytes that came back, also where no hopback.v1.Answer; restated if they came in a batch",
    )
    batch: Mapped[bytes | None] = mapped_column(
        ForeignKey("batches.sha256"), comment="The batch whose bytes are the evidence; null if asked singly"
    )
    outcome: Mapped[str | None] = mapped_column(
        String(24), comment="protos.types.Outcome of an accepted answer; null where there is none"
    )
    problem: Mapped[str | None] = mapped_column(
        String(24), comment="coordinator.tracing.chain.Problem; null where nothing went wrong"
    )
    detail: Mapped[str] = mapped_column(Text, comment="The problem in words; holds no number of a subscriber")
    failures: Mapped[int] = mapped_column(Integer, comment="Attempts in a row that reached no answer")
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When it was first asked, UTC")
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When it was answered or last failed, UTC")
    silent_since: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="When the first attempt of those in a row failed, UTC; stays when the answer came"
    )
    sisters: Mapped[bytes | None] = mapped_column(
        LargeBinary,
        comment="Namings of sister calls that the question names, with proofs; null where there are none",
    )
    contested: Mapped[bytes | None] = mapped_column(
        LargeBinary,
        comment="coordinator.tracing.signed.Contest: why it was asked once more; "
        "null where no answer before was contested",
    )


class BatchRow(Base):
    """A batch of questions and its answers, as they travelled."""

    __tablename__ = "batches"
    __table_args__ = ({"comment": "A batch of questions and its answers, as they travelled"},)

    sha256: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True, comment="SHA-256 of `sent`")
    provider: Mapped[str] = mapped_column(String(63), comment="Id of the provider that was asked")
    sent: Mapped[bytes] = mapped_column(LargeBinary, comment="The exact bytes of hopback.v1.QuestionBatch")
    received: Mapped[bytes] = mapped_column(LargeBinary, comment="The exact bytes of hopback.v1.AnswerBatch")


class ProviderRow(Base):
    """A provider of the registry."""

    __tablename__ = "providers"
    __table_args__ = ({"comment": "The registry"},)

    id: Mapped[str] = mapped_column(String(63), primary_key=True, comment="Internal id, as in its certificate")
    name: Mapped[str] = mapped_column(Text, comment="Name for people")
    endpoint: Mapped[str | None] = mapped_column(Text, comment="host:port of its agent; null where it has none")
    country: Mapped[str | None] = mapped_column(String(2), comment="ISO 3166-1 alpha-2 code; null if not stated")
    role: Mapped[str | None] = mapped_column(String(32), comment="What it says it does; null if not stated")
    added_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When it was added or replaced, UTC")


def all_tables() -> MetaData:
    """Every table that the code knows, whichever module of this package declares it."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.endswith("_models"):
            importlib.import_module(f"{__package__}.{module.name}")
    return Base.metadata
