"""Chains as campaigns and reports look at them: who was asked, when, and what came of it; nothing of the call."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from coordinator.chain import Problem, Status
from protos.identity import ProviderId
from protos.types import Outcome, RefusalReason


@dataclass(frozen=True, slots=True)
class HopFact:
    """What became of one hop: its last round. `rounds` is how often it was asked anew, counted from 1."""

    provider: ProviderId
    question_id: uuid.UUID
    asked: datetime
    ended: datetime | None
    outcome: Outcome | None
    problem: Problem | None
    rounds: int


@dataclass(frozen=True, slots=True)
class Way:
    """One traceback's chain.

    `foreign` handed the call to the gateway; `refusal` is why the last provider refused; both None where there is none.
    """

    traceback_id: uuid.UUID
    status: Status
    submitted: datetime
    changed: datetime
    hops: tuple[HopFact, ...]
    foreign: ProviderId | None = None
    refusal: RefusalReason | None = None

    @property
    def providers(self) -> tuple[ProviderId, ...]:
        """Who takes part, the terminating provider first; who was named and denies the call doesn't."""
        every = tuple(hop.provider for hop in self.hops)
        return every[:-1] if self.status is Status.DISPUTED else every
