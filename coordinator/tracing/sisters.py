"""Where a provider named nobody for a call: what the campaign's other calls say of that hop, if that is certain. Pure.

Sister calls are finished calls of the same campaign. A provider that answers AMBIGUOUS has several calls that fit, and
rightly names none. Its own answers about sister calls may leave one upstream alone: then that upstream is *suggested*,
with the facts, to an analyst, who may ask that provider by hand. Nothing follows by itself: a suggestion is no answer,
nobody signed it, no chain goes on from it, and no report counts it; a wrong hop is the worst that there is. Nor can it
be more: a provider that spreads one customer's calls over several upstreams may happen to have used one for all others.

It is certain only if all of these hold; else nothing is suggested, and `Doubt` says which one failed:

- at least `FEWEST` sister calls passed the provider, named by the same neighbour, within `NEAR` of this call;
- they show the same calling number as this one, and it shows one;
- every one of them went to the same upstream, which confirmed the handover: no other upstream, no origin, no dispute;
- some of them were before this call and some after, so that no change of routes lies between.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coordinator.tracing.chain import Status, Traceback, denies, standing
from protos.e164 import E164
from protos.identity import ProviderId
from protos.types import Handover, Outcome

FEWEST: Final = 10
"""So many sister calls must agree."""
NEAR: Final = timedelta(minutes=30)
"""Sister calls count up to this long before or after the call."""

_FINISHED: Final = frozenset({Status.ORIGIN_FOUND, Status.GATEWAY_FOUND})


class Doubt(enum.Enum):
    """Why nothing is suggested."""

    NOT_AMBIGUOUS = "the chain doesn't end at a provider that found several calls"
    NO_CALLING_NUMBER = "the call shows no calling number by which sister calls could be told"
    TOO_FEW = "too few sister calls passed this provider near that time"
    DISAGREE = "the sister calls came to this provider from different upstreams"
    ONE_SIDED = "the sister calls were all before this call, or all after it"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What an analyst may look into; `facts` are the sister calls that it rests on, oldest first."""

    traceback_id: uuid.UUID
    provider: ProviderId
    upstream: ProviderId
    facts: tuple[Fact, ...]

    @property
    def words(self) -> str:
        """For the analyst."""
        minutes = NEAR // timedelta(minutes=1)
        return (
            f"{self.provider} found several calls and named nobody. All {len(self.facts)} sister calls with the same "
            f"calling number that it passed within {minutes} minutes came from {self.upstream}. This is no answer: ask "
            f"{self.provider} about this call before anything is made of it."
        )


@dataclass(frozen=True, slots=True)
class Fact:
    """A sister call's part at the provider: which traceback, when by its time there, and whom it named."""

    traceback_id: uuid.UUID
    at: datetime
    upstream: ProviderId | None


def suggest(ambiguous: Traceback, sisters: Iterable[Traceback]) -> Suggestion | Doubt:
    """The upstream that `sisters`, calls of the same campaign, leave for the last hop of `ambiguous`, or the doubt."""
    hop = ambiguous.hops[-1] if ambiguous.hops else None
    if ambiguous.status is not Status.AMBIGUOUS or hop is None:
        return Doubt.NOT_AMBIGUOUS
    calling = ambiguous.call.calling
    if calling is None:
        return Doubt.NO_CALLING_NUMBER
    question = hop.question
    facts = [
        fact
        for sister in sisters
        if sister.id != ambiguous.id and _same_calling(sister, calling)
        for fact in _passed(sister, question.target, question.named_by)
        if abs(fact.at - question.at) <= NEAR
    ]
    facts.sort(key=lambda fact: (fact.at, fact.traceback_id))
    upstreams = {fact.upstream for fact in facts}
    if len(upstreams) > 1 or None in upstreams:
        return Doubt.DISAGREE
    if len({fact.traceback_id for fact in facts}) < FEWEST:
        return Doubt.TOO_FEW
    if not facts[0].at < question.at < facts[-1].at:
        return Doubt.ONE_SIDED
    (upstream,) = upstreams
    if upstream is None:  # excluded above
        return Doubt.DISAGREE
    return Suggestion(ambiguous.id, question.target, upstream, tuple(facts))


def _same_calling(sister: Traceback, calling: E164) -> bool:
    return sister.call.calling == calling


def _passed(sister: Traceback, provider: ProviderId, named_by: ProviderId | None) -> Iterable[Fact]:
    """This call's parts at `provider`; the upstream is None wherever it is not agreed on by both sides.

    Calls whose tracing is not finished count, too, where they contradict; they never support.
    """
    chain = [sister.hops[position] for position in standing(sister.hops)]
    for place, hop in enumerate(chain):
        if hop.provider != provider or hop.question.named_by != named_by or hop.answer is None:
            continue
        if hop.answer.outcome in (Outcome.AMBIGUOUS, Outcome.NOT_FOUND, Outcome.REFUSED, Outcome.RECORDS_EXPIRED):
            continue  # says nothing of where calls come from
        following = chain[place + 1] if place + 1 < len(chain) else None
        agreed = (
            sister.status in _FINISHED
            and hop.answer.outcome is Outcome.UPSTREAM
            and following is not None
            and following.answer is not None
            and following.answer.handover is Handover.CONFIRMED
            and not denies(following.question, following.answer)
        )
        yield Fact(sister.id, hop.question.at, hop.answer.upstream if agreed else None)
