"""Which hops are contested: one record was given for two calls that the neighbour tells apart. Pure.

A provider lost one of its records of two calls that a campaign made to one number within seconds. Its other record fits
both questions, so that both get the upstream of the one that is left, and that upstream confirms both. One of the two
chains is wrong from there on, and nothing in either of them shows it.

Beside each other they do. The neighbour that named the provider for both says, signed, that these are two answered
calls (`protos.hops.tell_apart`), and between neighbours an answered call is one. The provider's own namings carry
*equal* tags: one record. Both can't be true, so neither hop is claimed any more, and nothing that was found further up
(docs/adr/0014-one-record-for-two-calls.md). Each provider is asked once more; a hop stands again only if the provider
has given two records for the two calls by then.

Nothing is contested where the neighbour's tags are equal, too (one call, reported twice), or don't compare; where no
answer carries a tag; or where the provider denies the handover of the other call.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from coordinator.tracing.chain import Hop, Status, Traceback, denies, is_contested, places, standing
from coordinator.tracing.signed import AttestedAnswer, Contest, Kept, SignedAnswer, SignedQuestion, SisterNaming
from protos.e164 import E164
from protos.hops import decode_naming, tell_apart
from protos.identity import ProviderId
from protos.types import Answer, Handover, Outcome

MOST_LOOKS: Final = 3
"""So often is one place asked because it is contested."""

_ASSERTS: Final = frozenset({Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM, Outcome.ORIGINATED_HERE})


@dataclass(frozen=True, slots=True)
class Other:
    """Another call to the number; `shown` says that it is of the same campaign and submitter."""

    traceback: Traceback
    shown: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What contests a hop, and the sister call by which its provider can be asked, where it can."""

    contest: Contest
    sisters: tuple[SisterNaming, ...] = ()


@dataclass(frozen=True, slots=True)
class _Word:
    """What a provider said of a call that a neighbour told it to have handed over: which record it is."""

    place: int
    about: tuple[ProviderId, ProviderId, E164]
    told: bytes
    """By what the neighbour tells the call from others."""
    given: bytes
    """The same of the provider's record; empty where it found several calls."""
    named: SignedAnswer
    answer: SignedAnswer
    question_id: uuid.UUID


def contested(traceback: Traceback, others: Iterable[Other]) -> Finding | None:
    """What speaks against the first hop of the chain that another call contests; None where nothing new does.

    Where the chain ends contested, it is new that something else was said of the call that did that.
    """
    own = {word.given: word for word in _words(traceback, standing(traceback.hops)) if word.given}
    theirs = [
        (other, word) for other in others if other.traceback.id != traceback.id for word in _last_words(other.traceback)
    ]
    against = [(own[word.given], other, word) for other, word in theirs if word.given in own]
    against = [one for one in against if _two_calls(one[0], one[2])]
    found = [_finding(mine.place, other, word) for mine, other, word in against]
    if not found and is_contested(traceback):
        last = traceback.hops[-1]
        about = last.question.target, last.question.named_by, last.question.called
        place = places(traceback.hops)[-1]
        found = [_finding(place, other, word) for other, word in theirs if word.about == about]
    new = [one for one in found if may_be_contested(traceback, one.contest)]
    return min(new, key=lambda one: (one.contest.place, one.contest.shown is None, one.contest.other), default=None)


def may_be_contested(traceback: Traceback, contest: Contest) -> bool:
    """Whether the chain asserts what speaks against it; or ended there, and something else is said by now."""
    chain = standing(traceback.hops)
    if traceback.status is Status.CANCELLED or contest.place >= len(chain):
        return False
    known = traceback.hops[-1].contest
    if known is not None and is_contested(traceback) and contest.place == known.place:
        return contest.other == known.other and contest.tag != known.tag and may_be_asked_again(traceback, contest)
    return any(word.given == contest.tag for word in _words(traceback, [chain[contest.place]]))


def may_be_asked_again(traceback: Traceback, contest: Contest) -> bool:
    """Whether the provider may be asked once more because of it: it was not yet, or not too often."""
    before = sum(hop.contest is not None and hop.contest.place == contest.place for hop in traceback.hops)
    return before < MOST_LOOKS


def given_for_another(answer: Answer, contest: Contest) -> bool:
    """Whether an answer that asserts something may be of the record that was given for the other call.

    Where none is given for that any more, because several fit, any one record will do.
    """
    given = _tag_given(answer)
    apart = tell_apart(given, contest.tag) if contest.tag else bool(given)
    return answer.outcome in _ASSERTS and not apart


def _two_calls(one: _Word, other: _Word) -> bool:
    return one.about == other.about and tell_apart(one.told, other.told) is True


def _finding(place: int, other: Other, word: _Word) -> Finding:
    shown: tuple[Kept, Kept] | None = None
    sisters: tuple[SisterNaming, ...] = ()
    if other.shown:
        shown = _kept(word.named), _kept(word.answer)
        if word.answer.outcome is Outcome.UPSTREAM and word.answer.handover is Handover.CONFIRMED:
            sisters = (SisterNaming(other.traceback.id, word.question_id, word.named.parts, word.named.proof),)
    return Finding(Contest(place, other.traceback.id, word.given, shown), sisters)


def _kept(answer: SignedAnswer) -> Kept:
    return Kept(answer.parts, answer.proof, answer.proof.path)


def _last_words(traceback: Traceback) -> Iterator[_Word]:
    """What was last said at each place of the chain: it counts until something else is said there."""
    every = places(traceback.hops)
    last = {
        place: position
        for position, (place, hop) in enumerate(zip(every, traceback.hops, strict=True))
        if hop.answer is not None and place <= every[-1]
    }
    return _words(traceback, last.values())


def _words(traceback: Traceback, positions: Iterable[int]) -> Iterator[_Word]:
    hops = traceback.hops
    every = places(hops)
    for position in positions:
        word = _word(hops[position], every[position])
        if word is not None:
            yield word


def _word(hop: Hop, place: int) -> _Word | None:
    question, answer = hop.question, hop.answer
    if not isinstance(question, SignedQuestion) or question.named_by is None or question.named is None:
        return None
    if not isinstance(answer, SignedAnswer) or denies(question, answer):
        return None
    told, given = _tag_given(question.named), _tag_given(answer)
    if not told or not (given or answer.outcome is Outcome.AMBIGUOUS):
        return None
    about = question.target, question.named_by, question.called
    return _Word(place, about, told, given, question.named, answer, question.question_id)


def _tag_given(answer: Answer) -> bytes:
    """By what who answered tells the call from others; empty where it doesn't."""
    if not isinstance(answer, SignedAnswer) or isinstance(answer, AttestedAnswer):
        return b""
    return decode_naming(answer.parts.naming).call_tag
