"""From a decision to what may be disclosed of it: an outcome, the upstream's id, and what the next question needs.

Pure. What never leaves: trunk names, addresses, customers, calling numbers, counts of candidates, exact times. The time
correction is in whole seconds and absent unless the question's time was off by more than a chain can bear, so that an
answer does not say when exactly the call was (docs/adr/0002-time-correction.md). A called number leaves only
when it changed here, because without it the upstream can't be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from agent.index.coverage import CoverageState
from agent.instances import EXACT, Instance
from agent.match import Decision, Verdict
from agent.match_settings import MatchSettings
from agent.trunks import Party, PartyKind, Unknown
from protos.identity import ProviderId
from protos.types import Answer, Handover, Outcome, Question, RefusalReason

_ZERO = timedelta(0)
_SECOND = timedelta(seconds=1)

TOLERATED = timedelta(milliseconds=1500)
"""A question's time may be off by this much without correction: whole seconds, rounded either way, plus transit."""

RETRY_AFTER = timedelta(minutes=15)


def interval_to_cover(question: Question, decision: Decision, settings: MatchSettings) -> tuple[datetime, datetime]:
    """The time that records must cover before the decision counts.

    An absence needs the whole window; a call that was found needs only the time in which a rival could lie.
    """
    if decision.verdict is Verdict.NOT_FOUND:
        return question.at - question.window, question.at + question.window
    instances = decision.instances
    if len(instances) == 1:
        nearest = instances[0].distance(question.at)
    else:
        nearest = min((i.distance(question.at) for i in instances), default=_ZERO)
    reach = min(settings.rivals_within(nearest), question.window + settings.longest_setup)  # as far as was searched
    return question.at - reach, question.at + reach


def answer(
    question: Question,
    decision: Decision,
    coverage: CoverageState,
    me: ProviderId,
    retry_after: timedelta = RETRY_AFTER,
) -> Answer:
    """What this provider says. `coverage` is the state of `interval_to_cover`."""
    if coverage is CoverageState.EXPIRED:
        return Answer(me, Outcome.RECORDS_EXPIRED)
    if coverage is CoverageState.NOT_YET:
        return Answer(me, Outcome.NOT_YET_AVAILABLE, retry_after=retry_after)
    if decision.verdict is Verdict.AMBIGUOUS:
        return Answer(me, Outcome.AMBIGUOUS)
    if decision.verdict is Verdict.NOT_FOUND:
        if coverage is CoverageState.GAP:
            return Answer(me, Outcome.REFUSED, refusal=RefusalReason.RECORDS_GAP)
        return _absent(me, question.named_by is not None)
    return _found(question, decision, me)


def _found(question: Question, decision: Decision, me: ProviderId) -> Answer:
    confirmed = decision.handed_over is True and question.named_by is not None
    handover = Handover.CONFIRMED if confirmed else Handover.UNSPECIFIED
    party = decision.upstream
    if party is Unknown.NOT_RECORDED:
        return Answer(me, Outcome.NOT_RECORDED, handover=handover)
    if not isinstance(party, Party) or party.kind is PartyKind.INTERNAL:
        return Answer(me, Outcome.UNMAPPED, handover=handover)
    if party.kind in (PartyKind.CUSTOMER, PartyKind.SUBSCRIBERS):
        return Answer(me, Outcome.ORIGINATED_HERE, handover=handover)
    foreign, upstream = party.kind is PartyKind.FOREIGN, ProviderId(party.name)
    correction = _correction(question.at, decision.instances)
    if decision.called_in is None and not correction:
        return _named(me, foreign, upstream, confirmed)
    outcome = Outcome.FOREIGN_UPSTREAM if foreign else Outcome.UPSTREAM
    return Answer(me, outcome, upstream, ask_called=decision.called_in, time_correction=correction, handover=handover)


# Answers that many questions get are made once; one with a number or a time in it is one question's own.


@lru_cache(16)
def _absent(me: ProviderId, named: bool) -> Answer:
    return Answer(me, Outcome.NOT_FOUND, handover=Handover.NOT_MINE if named else Handover.UNSPECIFIED)


@lru_cache(4096)
def _named(me: ProviderId, foreign: bool, upstream: ProviderId, confirmed: bool) -> Answer:
    outcome = Outcome.FOREIGN_UPSTREAM if foreign else Outcome.UPSTREAM
    return Answer(me, outcome, upstream, handover=Handover.CONFIRMED if confirmed else Handover.UNSPECIFIED)


def _correction(at: datetime, instances: Sequence[Instance]) -> timedelta:
    """What to add to the question's time, in whole seconds; zero where it serves, or where nobody knows better."""
    if len(instances) != 1:
        return _ZERO
    (call,) = instances
    span = call.latest - call.earliest
    if not span:
        nearest = call.earliest
    else:
        nearest = call.earliest + span / 2 if span <= EXACT else min(max(at, call.earliest), call.latest)
    off = nearest - at
    return _ZERO if abs(off) <= TOLERATED else round(off / _SECOND) * _SECOND
