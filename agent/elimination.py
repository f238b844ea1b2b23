"""Which call a question means, once calls that it certainly does not mean are left out. Pure.

Sister calls are other calls of the campaign to the same number, told apart from this one by the neighbour that named
this provider for all of them, and answered here without doubt (`agent.gate.checks` lets no others through). An answered
call is one to one between neighbours, so what a sister is in these records, this call is not.
docs/adr/0012-elimination.md says what that rests on.

Nothing is left out, so that the answer stays AMBIGUOUS, unless all of this is so:

- the sister's question, decided anew, means one call and leads to the very answer that was given then;
- that call has a call id, and its rows show one handover to the neighbour, answered; no other row under that call id
  may have gone there, for call ids are used again;
- no two sisters are one call here;
- what remains is without doubt by the ordinary rules, and all its calls are of that kind, too, in the same source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from agent.answer import answer
from agent.call_tags import ANSWERED, Call, call_of
from agent.index.coverage import CoverageState
from agent.instances import Instance
from agent.legs import Leg
from agent.match import Decision, FindLegs, Verdict, match
from agent.match_settings import MatchSettings
from agent.trunks import Party, TrunkMap, leads_to
from protos.e164 import E164
from protos.identity import ProviderId
from protos.types import Answer, Question


class Sister(NamedTuple):
    """A sister call: what was asked about it and answered, and the legs that its question finds now."""

    question: Question
    answer: Answer
    legs: Sequence[Leg]
    find: FindLegs


class Terms(NamedTuple):
    """By what is decided."""

    me: ProviderId
    trunks: TrunkMap
    settings: MatchSettings


def eliminate(
    question: Question, legs: Sequence[Leg], find: FindLegs, sisters: Sequence[Sister], terms: Terms
) -> Decision | None:
    """What `question` means once the sisters' calls are left out, where that is certain; else None.

    `legs` and `find` are as in `agent.match.match`; of them the decision was AMBIGUOUS.
    """
    every = {(leg.source, leg.row): leg for some in (legs, *(sister.legs for sister in sisters)) for leg in some}
    once = _Once(every.values(), question.named_by, terms.trunks)
    others = _calls_of(sisters, once, terms)
    if others is None or not others:
        return None
    decision = _without(others, question, legs, find, terms)
    if decision.verdict is not Verdict.FOUND or decision.via_internal:
        return None
    remaining = [call_of(instance) for instance in decision.instances]
    known = [
        call
        for call, instance in zip(remaining, decision.instances, strict=True)
        if call is not None and once.handed_over(call, instance)
    ]
    sources = {call.source for call in (*known, *others)}
    return decision if len(known) == len(remaining) and len(sources) == 1 else None


def _calls_of(sisters: Sequence[Sister], once: _Once, terms: Terms) -> set[Call] | None:
    """The calls that these sisters are here, as far as that is certain; None where two of them are one.

    A sister about which there is doubt may be told by another one about which there is none.
    """
    found: set[Call] = set()
    waiting = list(sisters)
    while True:
        told = [(sister, call) for sister in waiting if (call := _call_of(sister, found, once, terms)) is not None]
        if len({call for _, call in told}) < len(told):
            return None
        if not told:
            return found
        found |= {call for _, call in told}
        waiting = [sister for sister in waiting if all(sister is not one for one, _ in told)]


def _call_of(sister: Sister, others: Collection[Call], once: _Once, terms: Terms) -> Call | None:
    decision = _without(others, sister.question, sister.legs, sister.find, terms)
    if decision.verdict is not Verdict.FOUND or len(decision.instances) != 1 or decision.via_internal:
        return None
    if answer(sister.question, decision, CoverageState.COVERED, terms.me) != sister.answer:
        return None
    (instance,) = decision.instances
    call = call_of(instance)
    return call if call is not None and once.handed_over(call, instance) else None


def _without(
    others: Collection[Call], question: Question, legs: Sequence[Leg], find: FindLegs, terms: Terms
) -> Decision:
    def rest(some: Iterable[Leg]) -> list[Leg]:
        return [leg for leg in some if (leg.source_name, leg.call_ref) not in others]

    def find_rest(called: E164) -> Sequence[Leg]:
        return rest(find(called))

    return match(question, rest(legs), terms.trunks, find_rest, terms.settings)


class _Once:
    """Which calls went to the neighbour exactly once, and were answered there."""

    def __init__(self, legs: Iterable[Leg], neighbour: ProviderId | None, trunks: TrunkMap) -> None:
        self._there: dict[tuple[str, int | None], list[str | None]] = {}
        self._perhaps: dict[tuple[str, int | None], set[tuple[str, int]]] = {}
        wanted = None if neighbour is None else leads_to(neighbour)
        for leg in legs:
            went_to = trunks.egress_party(leg.egress_trunk, leg.egress_address, leg.latest)
            call = leg.source_name, leg.call_ref
            if not isinstance(went_to, Party):
                self._perhaps.setdefault(call, set()).add((leg.source, leg.row))
            elif wanted is not None and wanted(went_to):
                self._there.setdefault(call, []).append(leg.disposition)

    def handed_over(self, call: Call, instance: Instance) -> bool:
        """Whether the rows of this call, which `instance` was found by, show one handover, answered.

        A row that doesn't say where it went may be another call's, under the same call id, unless it is the instance's.
        """
        own = {(leg.source, leg.row) for leg in instance.rows}
        return self._there.get(call) == [ANSWERED] and self._perhaps.get(call, own) <= own
