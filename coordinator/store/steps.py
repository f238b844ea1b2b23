"""One step of a traceback that rests, taken by somebody who doesn't drive it: claimed under a lease, saved, let go of.

What the step leads to is for whoever drives what is due: the question that a step opens is asked by them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from coordinator.tracing.chain import Traceback
from coordinator.tracing.events import Event
from coordinator.tracing.patience import Patience
from coordinator.tracing.ports import Change, Kept, Lease, Leases, Store
from coordinator.tracing.traceback import advance


class Chains(Store, Leases, Protocol):
    """The store of tracebacks, as far as it is needed here; `coordinator.store.sql_store.SqlStore` is one."""

    def load(self, traceback_id: uuid.UUID) -> Kept | None:
        """The traceback with this id, None when there is none."""
        ...


class Steps:
    """Takes steps in the name of `owner`."""

    def __init__(
        self, chains: Chains, now: Callable[[], datetime], owner: str, lease: timedelta, patience: Patience
    ) -> None:
        """`lease` is for how long a traceback is claimed while it takes its step."""
        self._chains = chains
        self._now = now
        self._owner = owner
        self._lease = lease
        self._patience = patience

    async def take(
        self,
        identity: uuid.UUID,
        event_of: Callable[[Traceback], Event | None],
        bytes_of: Callable[[Traceback], bytes | None] = lambda traceback: None,  # noqa: ARG005
    ) -> bool | None:
        """Whether the traceback changed by what happened to it, None where another process has it just now.

        `event_of` says what happened to the traceback as it stands, None for nothing; `bytes_of` what is kept of an
        answer.
        """
        kept = self._chains.load(identity)
        if kept is None:
            return False
        if not kept.traceback.status.phase.rests:
            return None
        if self._after(kept.traceback, event_of) is kept.traceback:
            return False
        now = self._now()
        lease = Lease(self._owner, now, now + self._lease)
        claimed = await self._chains.claim_these(lease, [identity], closed_too=True)
        if not claimed:
            return None
        kept = claimed[0]
        before = kept.traceback
        after = self._after(before, event_of)
        received = None if after is before else bytes_of(before)
        if await self._chains.save([Change(before, after, kept.version, now, received, fence=kept.fence)]):
            return None
        if not after.status.phase.rests:
            await self._chains.let_go({identity: kept.fence}, after.due or now)
        return after is not before

    def _after(self, traceback: Traceback, event_of: Callable[[Traceback], Event | None]) -> Traceback:
        event = event_of(traceback)
        return traceback if event is None else advance(traceback, event, self._patience)[0]
