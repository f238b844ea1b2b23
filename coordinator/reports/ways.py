"""Chains as campaigns and reports look at them: who was asked, when, and what came of it; nothing of the call."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from coordinator.tracing.chain import Problem, Status, standing_at
from protos.identity import ProviderId
from protos.types import Outcome, RefusalReason


@dataclass(frozen=True, slots=True)
class HopFact:
    """What became of one hop: its last round. `rounds` is how often it was asked anew, counted from 1.

    `by_person` says that the answer is a person's: what it took is counted with what persons were asked; `contested`
    that it was asked because the answer before it was given for another call, too.
    """

    provider: ProviderId
    question_id: uuid.UUID
    asked: datetime
    ended: datetime | None
    outcome: Outcome | None
    problem: Problem | None
    rounds: int
    by_person: bool = False
    contested: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """One traceback's chain.

    `hops` are all that were asked, in order; `places` where each stands in the call path (`tracing.chain.places`).
    `foreign` handed the call to the gateway; `refusal` is why the last provider refused; both None where there is none.
    """

    traceback_id: uuid.UUID
    status: Status
    submitted: datetime
    changed: datetime
    hops: tuple[HopFact, ...]
    foreign: ProviderId | None = None
    refusal: RefusalReason | None = None
    places: tuple[int, ...] = ()

    @property
    def providers(self) -> tuple[ProviderId, ...]:
        """Who takes part, the terminating provider first; who was named and denies the call doesn't."""
        every = self._places
        chain = tuple(self.hops[position].provider for position in standing_at(every))
        left_open = bool(every) and self._is_second_look(len(every) - 1)
        return chain[:-1] if self.status is Status.DISPUTED and not left_open else chain

    @property
    def disputed(self) -> tuple[HopFact, HopFact] | None:
        """Who named whom, and who denies it, where that is how it ended."""
        if self.status is not Status.DISPUTED or len(self.hops) < 2:
            return None
        last = len(self.hops) - 1
        if self._is_second_look(last) and last > 1:
            return self.hops[last], self.hops[last - 1]
        return self.hops[last - 1], self.hops[last]

    @property
    def contested(self) -> HopFact | None:
        """Who gave one record for this call and another, where the chain ended with that."""
        last = self.hops[-1] if self.hops else None
        ended = self.status is Status.AMBIGUOUS and last is not None and last.outcome is not Outcome.AMBIGUOUS
        return last if ended and last is not None and last.contested else None

    def _is_second_look(self, position: int) -> bool:
        every = self._places
        return position > 0 and every[position] < every[position - 1] and not self.hops[position].contested

    @property
    def _places(self) -> tuple[int, ...]:
        return self.places or tuple(range(len(self.hops)))
