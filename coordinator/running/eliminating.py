"""Finds ambiguous tracebacks that sister calls of their campaign settle, and has their last provider asked once more.

In rounds, beside the driver or after it: what of this is certain, and how often it is tried, `tracing.elimination`
and the state machine decide. A sister that finishes later is found by the first round after that. Any number of these
may work over one database; what one of them did already changes nothing the second time.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Engine, and_, exists, or_, select

from coordinator.running.rounds import AGAIN, block_by_block, keep_working
from coordinator.store.models import TracebackRow
from coordinator.store.order_models import OrderRow, OrderSetRow
from coordinator.store.steps import Chains, Steps
from coordinator.tracing.chain import Status, Traceback
from coordinator.tracing.elimination import NEAR, sisters_for
from coordinator.tracing.events import SistersKnown
from coordinator.tracing.patience import Patience

MOST_OTHERS: Final = 50
"""Calls to one number that are looked at beside each, nearest in time first."""

_tracebacks: Any = TracebackRow.__table__
_orders: Any = OrderRow.__table__
_sets: Any = OrderSetRow.__table__

log = structlog.get_logger()


class _Place(NamedTuple):
    """An ambiguous traceback, and when its order ends."""

    expires: datetime
    id: uuid.UUID


class Eliminator:
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

    async def round(self) -> list[uuid.UUID]:
        """Look at what changed since the last round; those whose last provider is now to be asked once more.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database failed; another round goes on.
        """
        now = self._now()
        since = None if self._looked is None else self._looked - AGAIN
        taken = await block_by_block(lambda after, most: self._ambiguous(now, since, after, most), self.take)
        self._looked = now
        return taken

    async def take(self, ambiguous: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """The same for these tracebacks."""
        taken = []
        for identity, others in (await asyncio.to_thread(self._with_others, ambiguous)).items():
            found = await asyncio.to_thread(self._load, others)

            def settle(traceback: Traceback, found: Sequence[Traceback] = found) -> SistersKnown | None:
                sisters = sisters_for(traceback, found)
                return SistersKnown(self._now(), sisters) if sisters else None

            if await self._steps.take(identity, settle):
                taken.append(identity)
        return taken

    async def keep_working(self) -> None:
        """Round after round; ends by being cancelled."""
        await keep_working(
            self.round, lambda taken: log.info("sisters_known", asked_again=len(taken)), failed="sisters_failed"
        )

    def _load(self, ids: Sequence[uuid.UUID]) -> list[Traceback]:
        return [kept.traceback for kept in map(self._chains.load, ids) if kept is not None]

    def _ambiguous(self, now: datetime, since: datetime | None, after: _Place | None, most: int) -> list[_Place]:
        """Those under a living order with other calls to the number, one of which or itself changed since then.

        A block of them, in the order in which their orders end; the next one begins after `after`.
        """
        mine, other = _tracebacks.c, _tracebacks.alias("other").c
        near = and_(other.called == mine.called, other.id != mine.id)
        changed = near if since is None else and_(near, or_(other.changed_at >= since, mine.changed_at >= since))
        query = (
            select(mine.expires, mine.id)
            .where(
                mine.status == Status.AMBIGUOUS.value,
                mine.expires > now,
                mine.claimable.is_(None),
                exists().where(changed),
            )
            .order_by(mine.expires, mine.id)
            .limit(most)
        )
        if after is not None:
            later = and_(mine.expires == after.expires, mine.id > after.id)
            query = query.where(or_(mine.expires > after.expires, later))
        with self._engine.connect() as connection:
            return [_Place(*row) for row in connection.execute(query)]

    def _with_others(self, ambiguous: Collection[uuid.UUID]) -> dict[uuid.UUID, list[uuid.UUID]]:
        """Calls of the same campaign and submitter to the same number near in time, for each of these.

        Of another submitter's orders nothing may get into what this one sees, which a sister's naming would.
        """
        found = {}
        with self._engine.connect() as connection:
            for identity in ambiguous:
                own = select(_tracebacks.c.called, _tracebacks.c.at, _orders.c.campaign, _sets.c.submitter).where(
                    _tracebacks.c.id == identity,
                    _orders.c.sha256 == _tracebacks.c.order_sha256,
                    _sets.c.id == _orders.c.set_id,
                )
                row = connection.execute(own).first()
                if row is None:
                    continue  # a trial, which has no sisters
                near = (
                    select(_tracebacks.c.id, _tracebacks.c.at)
                    .join(_orders, _orders.c.sha256 == _tracebacks.c.order_sha256)
                    .join(_sets, _sets.c.id == _orders.c.set_id)
                    .where(
                        _tracebacks.c.called == row.called,
                        _tracebacks.c.at.between(row.at - 2 * NEAR, row.at + 2 * NEAR),
                        _tracebacks.c.id != identity,
                        _orders.c.campaign == row.campaign,
                        _sets.c.submitter == row.submitter,
                    )
                )
                others = sorted(connection.execute(near), key=lambda one: (abs(one.at - row.at), one.id))
                found[identity] = [one.id for one in others[:MOST_OTHERS]]
        return {identity: others for identity, others in found.items() if others}
