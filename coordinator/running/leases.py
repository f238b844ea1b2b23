"""Holding on to what this process drives, until it says that it no longer does or falls silent.

A lease is a promise to the other processes: until then nobody else need care. It is renewed when a third of it is over,
so that two attempts may fail. What was lost all the same (this process slept, or the database did) is given up; a write
that is on its way then is refused by its fence.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from coordinator.tracing.ports import Clock, Kept, Lease, Leases

LENGTH = timedelta(seconds=15)


def owner_name() -> str:
    """A name for this process that no other has had: machine, process, and something by chance."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class Keeper:
    """Renews the leases of one process, and lets go of what it no longer drives."""

    def __init__(self, leases: Leases, clock: Clock, owner: str, length: timedelta = LENGTH) -> None:
        self._leases = leases
        self._clock = clock
        self._owner = owner
        self._length = length
        self._held: deque[tuple[datetime, dict[uuid.UUID, int]]] = deque()  # by the end of their leases
        self._to_free: defaultdict[datetime, dict[uuid.UUID, int]] = defaultdict(dict)

    def lease(self) -> Lease:
        """A lease that begins now."""
        now = self._clock.now()
        return Lease(self._owner, now, now + self._length)

    def hold(self, claimed: Iterable[Kept], lease: Lease) -> None:
        """Renew the leases of these from now on."""
        fences = {kept.traceback.id: kept.fence for kept in claimed}
        if fences:
            self._held.append((lease.until, fences))

    @property
    def next_renewal(self) -> datetime | None:
        """When leases are to be renewed; None where none is held."""
        return self._held[0][0] - self._length * 2 / 3 if self._held else None

    async def renew(self, driven_as: Callable[[uuid.UUID], int | None]) -> list[uuid.UUID]:
        """Renew what is due and still driven, as `driven_as` tells by its fence; gives those that were lost."""
        next_renewal, now = self.next_renewal, self._clock.now()
        if next_renewal is None or next_renewal > now:
            return []
        due: dict[uuid.UUID, int] = {}
        while self._held and self._held[0][0] - self._length * 2 / 3 <= now:
            fences = self._held.popleft()[1]
            due |= {identity: fence for identity, fence in fences.items() if driven_as(identity) == fence}
        if not due:
            return []
        lease = self.lease()
        lost = await self._leases.renew(lease, due)
        self._held.append((lease.until, {identity: fence for identity, fence in due.items() if identity not in lost}))
        return list(lost)

    def free(self, kept: Kept, due: datetime) -> None:
        """Somebody may claim this one from `due` on; told to the store by the next `let_go`."""
        self._to_free[due][kept.traceback.id] = kept.fence

    async def let_go(self) -> None:
        """Tell the store what is nobody's now."""
        while self._to_free:
            due, fences = self._to_free.popitem()
            await self._leases.let_go(fences, due)

    async def let_go_of_all(self, driven: dict[uuid.UUID, int]) -> None:
        """Others may claim at once whatever is driven here."""
        await self.let_go()
        self._held.clear()
        if driven:
            await self._leases.let_go(driven, self._clock.now())
