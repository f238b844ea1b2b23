"""Waking those that wait in the store for a silent agent, as soon as it answers anybody here.

Each agent that comes back is one statement to the store, however many wait for it. One that is only being written down
as waiting when its agent comes back is found afterwards: whoever has written it says so (`rests`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from coordinator.tracing.ports import Clock, Store
from protos.identity import ProviderId


class Comebacks:
    """Agents that have come back; `woke` hears when that let anybody go on, `failed` what the store raises."""

    def __init__(
        self, store: Store, clock: Clock, woke: Callable[[], object], failed: Callable[[Exception], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._woke = woke
        self._failed = failed
        self._at: dict[ProviderId, datetime] = {}
        self._waking: dict[ProviderId, asyncio.Task[None]] = {}

    @property
    def under_way(self) -> list[asyncio.Task[None]]:
        """What is being told to the store."""
        return list(self._waking.values())

    def came_back(self, provider: ProviderId) -> None:
        """The agent of `provider` answers: let those go on that wait for it."""
        self._at[provider] = self._clock.now()
        self._wake(provider)

    def rests(self, provider: ProviderId, since: datetime) -> None:
        """One that waits for this agent since then is written down now."""
        back = self._at.get(provider)
        if back is not None and since <= back:
            self._wake(provider)

    def _wake(self, provider: ProviderId) -> None:
        if provider not in self._waking:
            self._waking[provider] = asyncio.create_task(self._tell(provider))

    async def _tell(self, provider: ProviderId) -> None:
        try:
            if await self._store.wake(provider, self._clock.now()):
                self._woke()
        except Exception as error:
            self._failed(error)
        finally:
            del self._waking[provider]
