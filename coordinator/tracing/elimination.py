"""Which sister calls settle what a provider found several calls for: certainly, by what was signed. Pure.

Two calls of a campaign to one number passed the same two neighbours. The one that was asked first told them apart,
signed, as two answered calls (`protos.hops.tell_apart`). About the sister call the other one answered without doubt,
and the upstream that it named confirmed the handover. Then the sister is certainly not the call that it found several
for, and it can be asked once more with the sister named; what it makes of that is for its agent to decide
(docs/adr/0012-elimination.md). Where the two tags are equal, it may be one call that was reported twice: then nothing
follows.

What patterns of sister calls suggest is another matter, and never an answer (`coordinator.tracing.sisters`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from coordinator.tracing.chain import Hop, Status, Traceback, denies, eliminates, is_contested, places, standing
from coordinator.tracing.signed import AttestedAnswer, SignedAnswer, SignedQuestion, SisterNaming
from protos.hops import MOST_SISTERS, decode_naming, tell_apart
from protos.types import Handover, Outcome, Question

NEAR: Final = timedelta(minutes=5)
"""Sister calls further from the call than this can't be what it was taken for: no question reaches so far."""
MOST_ATTEMPTS: Final = 3
"""So often is one place asked with sister calls, each time with others."""


@dataclass(frozen=True, slots=True)
class Sister:
    """A sister call's part at the same two providers, and when it was there; `tag` is what tells it from others."""

    naming: SisterNaming
    at: datetime
    tag: bytes


def sisters_for(ambiguous: Traceback, others: Iterable[Traceback]) -> tuple[SisterNaming, ...]:
    """The sister calls to name when the last provider of `ambiguous` is asked once more, nearest in time first.

    None where there is none, or nothing that was not tried. `others` are calls of the same campaign.
    """
    question = _ambiguous_question(ambiguous)
    own = tag_of(question)
    if question is None or not own:
        return ()
    chosen: list[Sister] = []
    for one in sorted(_passed(ambiguous, question, others), key=lambda one: (abs(one.at - question.at), one.tag)):
        if all(tell_apart(tag, one.tag) for tag in (own, *(known.tag for known in chosen))):
            chosen.append(one)
    named = tuple(one.naming for one in chosen[:MOST_SISTERS])
    return named if may_be_asked(ambiguous, named) else ()


def repeated(traceback: Traceback, others: Iterable[Traceback]) -> tuple[uuid.UUID, ...]:
    """Tracebacks of the campaign that may be about the very same call: a neighbour gives both the same tag."""
    own = {tag for hop in traceback.hops if (tag := tag_of(hop.question))}
    same = (
        other.id
        for other in others
        if other.id != traceback.id and not own.isdisjoint(tag_of(hop.question) for hop in other.hops)
    )
    return tuple(same)


def sisters_named(question: Question) -> tuple[uuid.UUID, ...]:
    """The tracebacks of the sister calls that a question names."""
    return tuple(one.traceback_id for one in question.sisters) if isinstance(question, SignedQuestion) else ()


def may_be_asked(ambiguous: Traceback, sisters: Sequence[SisterNaming]) -> bool:
    """Whether the last provider may be asked once more with these: it was not yet, nor too often with others."""
    if ambiguous.status is not Status.AMBIGUOUS or not 0 < len(sisters) <= MOST_SISTERS:
        return False
    hops, every = ambiguous.hops, places(ambiguous.hops)
    if denies(hops[-1].question, hops[-1].answer) or is_contested(ambiguous):
        return False
    here = (hop for hop, place in zip(hops, every, strict=True) if place == every[-1] and hop.contest is None)
    tried = [_named(hop.question) for hop in here]
    tried = [named for named in tried if named]
    return len(tried) < MOST_ATTEMPTS and frozenset(one.sister.naming_sha256 for one in sisters) not in tried


def _named(question: Question) -> frozenset[bytes]:
    if not eliminates(question) or question.authority is None:
        return frozenset()
    return frozenset(sister.naming_sha256 for sister in question.authority.sisters)


def _ambiguous_question(traceback: Traceback) -> SignedQuestion | None:
    """The question that can be asked once more."""
    if traceback.status is not Status.AMBIGUOUS or not traceback.hops:
        return None
    question = traceback.hops[-1].question
    return question if isinstance(question, SignedQuestion) and question.named_by is not None else None


def tag_of(question: Question | None) -> bytes:
    """By what the neighbour that named the provider tells the call from others; empty where it doesn't."""
    named = question.named if isinstance(question, SignedQuestion) else None
    if named is None or isinstance(named, AttestedAnswer):
        return b""
    return decode_naming(named.parts.naming).call_tag


def _passed(ambiguous: Traceback, question: Question, others: Iterable[Traceback]) -> Iterator[Sister]:
    """The parts of other calls at the same provider, about which it had no doubt and its upstream agreed."""
    for other in others:
        if other.id == ambiguous.id:
            continue
        chain = [other.hops[position] for position in standing(other.hops)]
        for hop, following in pairwise(chain):
            asked = hop.question
            same = (asked.target, asked.named_by, asked.called) == (question.target, question.named_by, question.called)
            if same and abs(asked.at - question.at) <= NEAR and _agreed(hop, following):
                yield from _sister(other.id, asked)


def _agreed(hop: Hop, following: Hop) -> bool:
    answer, confirmed = hop.answer, following.answer
    return (
        isinstance(answer, SignedAnswer)
        and not isinstance(answer, AttestedAnswer)
        and answer.outcome is Outcome.UPSTREAM
        and answer.handover is Handover.CONFIRMED
        and confirmed is not None
        and confirmed.handover is Handover.CONFIRMED
        and not denies(following.question, confirmed)
    )


def _sister(traceback_id: uuid.UUID, asked: Question) -> Iterator[Sister]:
    tag = tag_of(asked)
    named = asked.named if isinstance(asked, SignedQuestion) else None
    if named is not None and tag:
        yield Sister(SisterNaming(traceback_id, asked.question_id, named.parts, named.proof), asked.at, tag)
