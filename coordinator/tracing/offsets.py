"""How far two neighbours' clocks are apart, learned from the corrections in their answers. Pure.

Where a provider is asked about a call that its downstream neighbour named, and its records have the call at another
time, its answer says by how many whole seconds (docs/adr/0002-time-correction.md). One such correction says little: a
clock was read late, a record was rounded. Many that agree say how the clocks of the two differ, and the next question
for that pair can ask for the right time at once, so that another call to the same number is less easily nearer.

What is learned is used with care: the median of the latest `LATEST` observations counts when there are `FEWEST` at
least, when three quarters of them lie within `SPREAD` of it, and when it is no more than `FARTHEST`. A clock that is
further off is for its owner to put right, not for others to work around. Only observations whose handover both sides
agree on are fed in. A provider can distort no pair but those in which it answers itself, and by that nothing but where
in its own records it is asked to look; the order bounds that in any case (`coordinator.tracing.traceback`).
"""

from __future__ import annotations

import uuid
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median_low
from typing import Final

from coordinator.tracing.chain import Traceback, place_before
from protos.identity import ProviderId
from protos.types import Handover, Outcome

LATEST: Final = 50
"""So many observations of a pair count, the latest ones."""
FEWEST: Final = 10
"""With fewer nothing is learned."""
SPREAD: Final = timedelta(seconds=1)
"""Three quarters of the observations lie within this of the median, or nothing is learned."""
FARTHEST: Final = timedelta(seconds=30)
"""A difference beyond this is not worked around."""
SMALLEST: Final = timedelta(seconds=2)
"""A difference below this is within what an answer leaves uncorrected."""

_ZERO: Final = timedelta(0)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Offset:
    """What is known of one pair.

    Attributes:
        shift: by how much the time of a question to the upstream is moved; zero where nothing is to be used.
        median, spread: of the observations; zero without any. Three quarters lie within `spread` of it.
        observed: how many there were.
        why: in words, why `shift` is what it is.
    """

    shift: timedelta
    median: timedelta
    spread: timedelta
    observed: int
    why: str


@dataclass(frozen=True, slots=True)
class Observation:
    """The clock of `provider` against that of `named_by`, which named it: ahead where `seconds` is above zero."""

    named_by: ProviderId
    provider: ProviderId
    seconds: int


def offset(seconds: Sequence[int]) -> Offset:
    """What these observations of one pair, oldest first, teach."""
    latest = seconds[-LATEST:]
    if not latest:
        return Offset(_ZERO, _ZERO, _ZERO, 0, "no call of this pair was seen yet")
    middle = median_low(latest)
    median, count = middle * _SECOND, len(latest)
    spread = sorted(abs(one - middle) for one in latest)[-(-3 * count // 4) - 1] * _SECOND

    def nothing(why: str) -> Offset:
        return Offset(_ZERO, median, spread, count, why)

    if count < FEWEST:
        return nothing(f"{count} calls are too few to learn from; {FEWEST} are needed")
    if spread > SPREAD:
        return nothing(f"the last {count} calls disagree: a quarter by {spread // _SECOND} s or more")
    if abs(median) > FARTHEST:
        return nothing(
            f"the clocks are {abs(middle)} s apart, more than {FARTHEST // _SECOND} s: one must be put right"
        )
    if abs(median) < SMALLEST:
        return nothing(f"the clocks agree, over the last {count} calls")
    side = "ahead" if middle > 0 else "behind"
    why = (
        f"the upstream's clock is {abs(middle)} s {side}, over the last {count} calls, to within {spread // _SECOND} s"
    )
    return Offset(median, median, spread, count, why)


def observation(traceback: Traceback, position: int) -> Observation | None:
    """What the answer of the hop at `position` shows of the two clocks, None where it shows nothing.

    Only a provider that names an upstream compares the question's time with its records.
    """
    hop = traceback.hops[position]
    answer, before = hop.answer, place_before(traceback.hops, position)
    if answer is None or before is None or before.answer is None or answer.handover is not Handover.CONFIRMED:
        return None
    if answer.outcome not in (Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM):
        return None
    named_at = before.question.at + before.answer.time_correction
    apart = hop.question.at + answer.time_correction - named_at
    return Observation(before.provider, hop.provider, round(apart / _SECOND))


class Offsets:
    """What is known of all pairs, as long as this lives. Implements `coordinator.tracing.ports.Clocks`."""

    def __init__(self) -> None:
        self._seen: dict[tuple[ProviderId, ProviderId], deque[int]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._known: dict[tuple[ProviderId, ProviderId], Offset] = {}

    def offset(self, named_by: ProviderId, provider: ProviderId) -> Offset:
        """What is known of this pair."""
        pair = named_by, provider
        known = self._known.get(pair)
        if known is None:
            known = self._known[pair] = offset(tuple(self._seen.get(pair, ())))
        return known

    def shift(self, named_by: ProviderId, provider: ProviderId) -> timedelta:
        """See `coordinator.tracing.ports.Clocks`."""
        return self.offset(named_by, provider).shift

    def observed(self, question_id: uuid.UUID, seen: Observation, at: datetime) -> None:
        """See `coordinator.tracing.ports.Clocks`."""
        del question_id, at
        self.learn(seen)

    def learn(self, seen: Observation) -> None:
        """One more, the latest."""
        pair = seen.named_by, seen.provider
        self._seen[pair].append(seen.seconds)
        self._known.pop(pair, None)
