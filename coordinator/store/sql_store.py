"""Tracebacks, who drives them, and the registry, in SQL.

Writing, while tracebacks are driven, is done over one connection by a writer of the database's own
(`sqlite_writer`, `postgresql_writer`): what changes together is written together, in one transaction with one flush.
What is written survives the death of the process at any moment. Whatever has a result or a wait in it is flushed to
disk as well, and with it all that came before; so is every group of steps. A single step between two questions is not
flushed by itself (SQLite: synchronous=NORMAL for that transaction; PostgreSQL: synchronous_commit=off), because ten
flushes would make up most of a chain's time: after a power cut such a step may be missing, and is taken again, with the
same question under the same id.

Reading is synchronous, for commands that show things.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Select, exists, func, insert, or_, select, update

from coordinator.store.campaign_models import campaign_calls
from coordinator.store.models import HopRow, ProviderRow, TracebackRow
from coordinator.store.order_models import OrderRow
from coordinator.store.postgresql_writer import PostgresqlWriter
from coordinator.store.rows import Packing, Row, kept
from coordinator.store.sqlite_writer import SqliteWriter
from coordinator.tracing.chain import Phase, Status, Traceback
from coordinator.tracing.ports import Change, Kept, Lease, Provider
from coordinator.tracing.priorities import Priority
from protos.identity import ProviderId, parse_provider_id

T = TypeVar("T")
Q = TypeVar("Q", bound="Select[*tuple[Any, ...]]")

_SINGLE = 1
"""So many changes are written on the spot: a detour over a thread would take longer."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of a list of tracebacks; `found` is the originating or gateway provider."""

    id: uuid.UUID
    called: str
    at: datetime
    terminating: str
    status: Status
    due: datetime | None
    found: str | None
    hop_count: int
    submitted_at: datetime


class Writer(Protocol):
    """Writes in one dialect; never called twice at a time.

    `in_threads`: whether waiting for it is worth a thread. `saving` does of `save` what is not; what it gives does the
    rest.
    """

    @property
    def in_threads(self) -> bool: ...
    def close(self) -> None: ...
    def save(self, changes: Sequence[Change], *, flush: bool) -> set[int]: ...
    def saving(self, changes: Sequence[Change]) -> Callable[[], set[int]]: ...
    def submit(self, rows: Callable[[Packing], Sequence[Row]]) -> None: ...
    def claim(self, lease: Lease, places: int) -> list[Kept]: ...
    def claim_these(self, lease: Lease, ids: Sequence[uuid.UUID], *, closed_too: bool, early: bool) -> list[Kept]: ...
    def renew(self, lease: Lease, fences: Mapping[uuid.UUID, int]) -> set[uuid.UUID]: ...
    def let_go(self, fences: Mapping[uuid.UUID, int], due: datetime) -> None: ...
    def wake(self, provider: ProviderId, now: datetime) -> int: ...
    def next_due(self) -> datetime | None: ...


class SqlStore:
    """Implements `tracing.ports.Store` and `tracing.ports.Leases` over an engine whose tables are current.

    Every method that writes or reads raises `sqlalchemy.exc.SQLAlchemyError` when the database fails; then nothing of
    that call was written.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        writer = SqliteWriter if engine.dialect.name == "sqlite" else PostgresqlWriter
        self._writer: Writer = writer(engine)
        self._intake: Writer = writer(engine)  # a connection of its own: steps may be on their way meanwhile
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    def close(self) -> None:
        """Let the last transaction end, and release the database."""
        self._thread.shutdown(wait=True)
        self._writer.close()
        self._intake.close()
        self._engine.dispose()

    # While tracebacks are driven

    async def save(self, changes: Sequence[Change]) -> set[int]:
        """See `coordinator.tracing.ports.Store`."""
        if len(changes) <= _SINGLE and not self._turn.locked():
            return self._writer.save(changes, flush=any(map(_is_result, changes)))
        async with self._turn:
            return await self._in_a_thread(self._writer.saving(changes))

    async def claim(self, lease: Lease, places: int) -> list[Kept]:
        """See `coordinator.tracing.ports.Leases`."""
        return await self._written(lambda: self._writer.claim(lease, places))

    async def claim_these(
        self, lease: Lease, ids: Sequence[uuid.UUID], *, closed_too: bool = False, early: bool = False
    ) -> list[Kept]:
        """See `coordinator.tracing.ports.Leases`."""
        return await self._written(lambda: self._writer.claim_these(lease, ids, closed_too=closed_too, early=early))

    async def renew(self, lease: Lease, fences: Mapping[uuid.UUID, int]) -> set[uuid.UUID]:
        """See `coordinator.tracing.ports.Leases`."""
        return await self._written(lambda: self._writer.renew(lease, fences))

    async def let_go(self, fences: Mapping[uuid.UUID, int], due: datetime) -> None:
        """See `coordinator.tracing.ports.Leases`."""
        await self._written(lambda: self._writer.let_go(fences, due))

    async def wake(self, provider: ProviderId, now: datetime) -> int:
        """See `coordinator.tracing.ports.Store`."""
        return await self._written(lambda: self._writer.wake(provider, now))

    async def next_due(self) -> datetime | None:
        """See `coordinator.tracing.ports.Leases`."""
        return await self._written(self._writer.next_due)

    async def _written(self, work: Callable[[], T]) -> T:
        """One after the other; in a thread where that lets the event loop go on."""
        async with self._turn:
            return await self._in_a_thread(work) if self._writer.in_threads else work()

    async def _in_a_thread(self, work: Callable[[], T]) -> T:
        # A cancelled task must not give the connection to the next one before the thread is done with it.
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    @property
    def engine(self) -> Engine:
        """Of the database."""
        return self._engine

    # Submitting and reading

    def submit(
        self,
        tracebacks: Iterable[Traceback],
        at: datetime,
        *,
        priority: Callable[[Traceback], Priority] = lambda _: Priority.REST,
        lease: Lease | None = None,
    ) -> list[Kept]:
        """Store new tracebacks, all or none; with `lease` they are claimed at once."""
        fence = 0 if lease is None else 1
        new = [Kept(traceback, 0, fence, priority(traceback)) for traceback in tracebacks]
        owner, claimable = (None, at) if lease is None else (lease.owner, lease.until)
        if new:
            self._intake.submit(
                lambda packing: [
                    packing.submitted(entry.traceback, at, entry.priority, owner, claimable) for entry in new
                ]
            )
        return new

    def load(self, traceback_id: uuid.UUID) -> Kept | None:
        """The traceback with this id, None when there is none."""
        with self._engine.connect() as connection:
            return _load(connection, traceback_id)

    def find(self, prefix: str, limit: int = 10) -> list[uuid.UUID]:
        """Ids that begin with `prefix` (hexadecimal digits and hyphens), at most `limit`."""
        digits = "".join(character for character in prefix.lower() if character in "0123456789abcdef")[:32]
        if len(digits) != len(prefix.replace("-", "")) or not digits:
            return []
        low, high = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
        query = select(TracebackRow.id).where(TracebackRow.id.between(low, high)).order_by(TracebackRow.id).limit(limit)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def recent(self, limit: int, status: Status | None = None, campaign: str = "") -> list[Summary]:
        """The tracebacks submitted last, newest first; where asked, of one status, or of one campaign."""
        columns = [getattr(TracebackRow, name) for name in Summary.__dataclass_fields__]
        query = select(*columns).order_by(TracebackRow.submitted_at.desc(), TracebackRow.id).limit(limit)
        if status is not None:
            query = query.where(TracebackRow.status == status.value)
        with self._engine.connect() as connection:
            rows = connection.execute(_of_campaign(query, campaign)).mappings().all()
        return [Summary(**{**row, "status": Status(row["status"])}) for row in rows]

    def counts(self, campaign: str = "") -> Counter[Status]:
        """How many tracebacks stand where; where asked, of one campaign."""
        query = _of_campaign(select(TracebackRow.status, func.count()).group_by(TracebackRow.status), campaign)
        with self._engine.connect() as connection:
            return Counter({Status(status): count for status, count in connection.execute(query)})

    def open_ids(self) -> list[uuid.UUID]:
        """Those that are not closed, first due first."""
        query = select(TracebackRow.id).where(TracebackRow.claimable.is_not(None)).order_by(TracebackRow.claimable)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    # The registry

    def providers(self) -> list[Provider]:
        """All of the registry, by id."""
        query = select(ProviderRow).order_by(ProviderRow.id)
        with self._engine.connect() as connection:
            return [
                Provider(
                    id=parse_provider_id(row["id"]),
                    name=row["name"],
                    endpoint=row["endpoint"],
                    country=row["country"],
                    role=row["role"],
                )
                for row in connection.execute(query).mappings()
            ]

    def put_providers(self, providers: Iterable[Provider], at: datetime) -> None:
        """Add these to the registry, in the place of those with the same ids, all or none."""
        rows = [
            {
                "id": provider.id,
                "name": provider.name,
                "endpoint": provider.endpoint,
                "country": provider.country,
                "role": provider.role,
                "added_at": at,
            }
            for provider in providers
        ]
        if not rows:
            return
        with self._engine.begin() as connection:
            known = set(connection.execute(select(ProviderRow.id)).scalars())
            for row in rows:  # what else is known of a provider refers to its row, which has to stay
                if row["id"] in known:
                    connection.execute(update(ProviderRow).where(ProviderRow.id == row["id"]).values(row))
            if new := [row for row in rows if row["id"] not in known]:
                connection.execute(insert(ProviderRow), new)


def _is_result(change: Change) -> bool:
    """Whether the change ends in something other than the next question, and must be flushed."""
    return change.after.status.phase is not Phase.ASKING


@contextmanager
def opened(engine: Engine) -> Iterator[SqlStore]:
    """A store that is closed at the end of the block."""
    store = SqlStore(engine)
    try:
        yield store
    finally:
        store.close()


def _of_campaign(query: Q, campaign: str) -> Q:
    """Those under a campaign's orders, and those of calls that were imported into it; all where none is named."""
    if not campaign:
        return query
    call = campaign_calls.c
    ordered = exists().where(OrderRow.sha256 == TracebackRow.order_sha256, OrderRow.campaign == campaign)
    imported = exists().where(
        call.campaign == campaign,
        call.called == TracebackRow.called,
        call.at == TracebackRow.at,
        call.terminating == TracebackRow.terminating,
    )
    return query.where(or_(ordered, imported))


def _load(connection: Connection, traceback_id: uuid.UUID) -> Kept | None:
    row = connection.execute(select(TracebackRow).where(TracebackRow.id == traceback_id)).mappings().first()
    if row is None:
        return None
    query = select(HopRow).where(HopRow.traceback_id == traceback_id).order_by(HopRow.position, HopRow.round)
    return kept(row, connection.execute(query).mappings())
