"""Finds hops whose record was given for two calls, and takes the chains back to there.

In rounds, beside the driver or after it: what is contested and what settles it, `tracing.contests` and the state
machine decide. Looked at is what stopped since the last round, together with the other calls to its number: whichever
of two answers was stored second, both chains are found, by whichever process. What rests is taken back at once; what
somebody drives when it has come to rest. What one process did already changes nothing the second time.

Calls are compared whoever ordered them, for a chain must not be claimed that is contradicted. What contradicts it is
kept with it only where both are of one campaign and one submitter.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Engine, and_, exists, or_, select, text

from coordinator.running.rounds import AGAIN, BLOCK, block_by_block, keep_working
from coordinator.store.models import STOPPED, TracebackRow
from coordinator.store.order_models import OrderRow, OrderSetRow
from coordinator.store.steps import Chains, Steps
from coordinator.tracing.chain import Traceback
from coordinator.tracing.contests import Other, contested
from coordinator.tracing.events import Contested
from coordinator.tracing.patience import Patience
from protos.types import WINDOW_CAP

MOST_OTHERS: Final = 200
"""Calls to one number that are looked at beside each, nearest in time first."""
NEAR: Final = 2 * WINDOW_CAP
"""No record lies in the windows of two orders that are further apart."""

_tracebacks: Any = TracebackRow.__table__
_orders: Any = OrderRow.__table__
_sets: Any = OrderSetRow.__table__

log = structlog.get_logger()


class _Place(NamedTuple):
    """A traceback, and when it stopped."""

    changed: datetime
    id: uuid.UUID


class Contester:
    """Works over one database."""

    def __init__(
        self,
        engine: Engine,
        chains: Chains,
        now: Callable[[], datetime],
        owner: str,
        *,
        lease: timedelta = timedelta(seconds=15),
        patience: Patience | None = None,
    ) -> None:
        self._engine = engine
        self._chains = chains
        self._now = now
        self._steps = Steps(chains, now, owner, lease, patience or Patience())
        self._looked: datetime | None = None
        self._left: set[uuid.UUID] = set()  # somebody had them when they were to be taken back

    async def round(self) -> list[uuid.UUID]:
        """Look at what stopped since the last round; the chains that were changed by that.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database failed; another round goes on.
        """
        now = self._now()
        since = None if self._looked is None else self._looked - AGAIN
        taken = await self.take(self._left)
        taken += await block_by_block(lambda after, most: self._stopped(since, after, most), self.take)
        self._looked = now
        return taken

    async def take(self, stopped: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """The same for these tracebacks, and the other calls to their numbers."""
        found = await asyncio.to_thread(self._found, list(stopped))
        self._left.difference_update(stopped)
        taken = []
        for identity, others in found.items():

            def event(traceback: Traceback, others: Sequence[Other] = others) -> Contested | None:
                return _event(traceback, others, self._now())

            moved = await self._steps.take(identity, event)
            if moved:
                taken.append(identity)
            elif moved is None:
                self._left.add(identity)
        return taken

    def with_others(self, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        """Those to whose number there is another call: what they end with may be contested."""
        mine, other = _tracebacks.c, _tracebacks.alias("other").c
        found: set[uuid.UUID] = set()
        with self._engine.connect() as connection:
            for first in range(0, len(ids), BLOCK):
                several = exists().where(other.called == mine.called, other.id != mine.id)
                query = select(mine.id).where(mine.id.in_(ids[first : first + BLOCK]), several)
                found.update(connection.execute(query).scalars())
        return found

    async def keep_working(self) -> None:
        """Round after round; ends by being cancelled."""
        await keep_working(
            self.round,
            lambda taken: log.warning("contested", tracebacks=[str(one) for one in taken]),
            failed="contests_failed",
        )

    def _found(self, stopped: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Other]]:
        """Those for which something is to be done, each with the calls beside which that shows."""
        loaded: dict[uuid.UUID, Traceback | None] = {}
        looked: set[uuid.UUID] = set()
        found = {}

        def load(identity: uuid.UUID) -> Traceback | None:
            if identity not in loaded:
                kept = self._chains.load(identity)
                loaded[identity] = None if kept is None else kept.traceback
            return loaded[identity]

        with self._engine.connect() as connection:
            waiting = list(stopped)
            for at, identity in enumerate(waiting):
                if identity in looked:
                    continue
                looked.add(identity)
                near = _near(connection, identity)
                if at < len(stopped):
                    waiting += near
                mine = load(identity) if near else None
                if mine is None or not mine.status.phase.rests:
                    continue
                others = [Other(one, shown) for other, shown in near.items() if (one := load(other)) is not None]
                if _event(mine, others, self._now()) is not None:
                    found[identity] = others
        return found

    def _stopped(self, since: datetime | None, after: _Place | None, most: int) -> list[_Place]:
        """A block of those that stopped since then, and to whose number there is another call; by when they did."""
        mine, other = _tracebacks.c, _tracebacks.alias("other").c
        query = (
            select(mine.changed_at, mine.id)
            .where(
                text("tracebacks." + STOPPED),
                mine.hop_count > 1,
                mine.order_sha256.is_not(None),
                exists().where(other.called == mine.called, other.id != mine.id),
            )
            .order_by(mine.changed_at, mine.id)
            .limit(most)
        )
        if since is not None:
            query = query.where(mine.changed_at >= since)
        if after is not None:
            later = and_(mine.changed_at == after.changed, mine.id > after.id)
            query = query.where(or_(mine.changed_at > after.changed, later))
        with self._engine.connect() as connection:
            return [_Place(*row) for row in connection.execute(query)]


def _event(traceback: Traceback, others: Sequence[Other], at: datetime) -> Contested | None:
    finding = contested(traceback, others)
    return None if finding is None else Contested(at, finding.contest, finding.sisters)


def _near(connection: Any, identity: uuid.UUID) -> dict[uuid.UUID, bool]:
    """Calls to the same number near in time, nearest first; and whether they are of the same campaign and submitter."""
    with_order = _tracebacks.join(_orders, _orders.c.sha256 == _tracebacks.c.order_sha256).join(
        _sets, _sets.c.id == _orders.c.set_id
    )
    columns = _tracebacks.c.id, _tracebacks.c.called, _tracebacks.c.at, _orders.c.campaign, _sets.c.submitter
    own = connection.execute(select(*columns).select_from(with_order).where(_tracebacks.c.id == identity)).first()
    if own is None:
        return {}  # a trial: nothing of it is signed
    near = (
        select(*columns)
        .select_from(with_order)
        .where(
            _tracebacks.c.called == own.called,
            _tracebacks.c.at.between(own.at - NEAR, own.at + NEAR),
            _tracebacks.c.id != identity,
        )
    )
    rows = sorted(connection.execute(near), key=lambda row: (abs(row.at - own.at), row.id))
    mine = own.campaign, own.submitter
    return {row.id: (row.campaign, row.submitter) == mine for row in rows[:MOST_OTHERS]}
