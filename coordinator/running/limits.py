"""The bounds of one driver: how much at once, how long an attempt, how patient, how providers are asked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from coordinator.lookups.batching import LaneTerms
from coordinator.tracing.patience import Patience
from protos.identity import ProviderId


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one driver.

    Attributes:
        concurrent: how many tracebacks ask or write at the same time, or nap here. Those whose question is unanswered
            for more than a second are not counted: they hold back nobody.
        most: how many may be here in all.
        attempt_timeout: how long one attempt at a question may take.
        longest_nap: waits up to this are slept through; longer ones leave the traceback to a later claim.
        silence: one whose provider does not answer is kept here for so long in all; None: while its pauses are short.
        lane, lanes: how providers are asked, and those that are asked otherwise.
    """

    concurrent: int = 4000
    attempt_timeout: timedelta = timedelta(seconds=10)
    longest_nap: timedelta = timedelta(seconds=30)
    silence: timedelta | None = None
    most: int = 20_000
    patience: Patience = field(default_factory=Patience)
    lane: LaneTerms = field(default_factory=LaneTerms)
    lanes: tuple[tuple[ProviderId, LaneTerms], ...] = ()
