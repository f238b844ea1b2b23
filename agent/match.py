"""From the records found for a question to the one call that it means, or to the honest word that none can be told.

Pure: the records come in, a decision goes out. What decides:

1. **The called number** that the asking side saw is the one that went downstream. A record in which another number
   was sent is not the call (unless we terminate it ourselves).
2. **Where the call went.** Who was named by a neighbour: a record that went to somebody else, and only there, is not
   the call. Who terminates it: what reached a subscriber goes before what did not. Rows of one call are one *instance*
   (`agent.instances`).
3. **Time.** The seizure lies in an interval (records may know only the answer time). Every instance that is less than
   `rival_margin` further off than the nearest is as near as that; where the nearest is further off itself, the question
   is off by as much, and tells calls apart accordingly worse.
4. **The calling number**, only to choose, only where it matches: it is a claim. A record far from the asked time, or
   one that hardly knows its own, is the call only if the calling number says so too.

An instance falls only to another for which all speaks that speaks for it, and more. If what remains agrees on the
upstream, that is the answer; if not, AMBIGUOUS. There is no tie-break by order, by size or by likelihood: a wrong hop
accuses somebody who had nothing to do with the call.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from agent.instances import Fit, Instance, instance_of, instances_of
from agent.legs import Leg
from agent.match_settings import MatchSettings
from agent.trunks import Party, PartyKind, TrunkMap, Unknown, ends_here, leads_to
from protos.e164 import E164
from protos.identity import ProviderId
from protos.types import Question

_UNTUNED: Final = MatchSettings()

FindLegs = Callable[[E164], Sequence[Leg]]
"""All legs of a called number around the question's time; used to follow internal trunks."""

_FITS = {Fit.DIRECT: 3, Fit.INSIDE: 3, Fit.UNKNOWN: 2, Fit.UNTOLD: 1, Fit.ELSEWHERE: 0, Fit.FAILED_HERE: 0}
"""How well a call fits the side that asks. 0: not at all; 2: as well as any, for all that its records say."""
_UNFIT = tuple(fit for fit, how_well in _FITS.items() if how_well == 0)


class Verdict(enum.Enum):
    """What a decision comes to, before coverage and policy have their say."""

    FOUND = "found"
    NOT_FOUND = "not found"
    AMBIGUOUS = "ambiguous"


class Considered(NamedTuple):
    """One instance and why it was or was not taken: for the operator's eyes only."""

    instance: Instance
    distance: timedelta
    taken: bool
    why: str


class Decision(NamedTuple):
    """What the records say.

    `upstream` is set when FOUND; `instances` are the calls that remained (several only if they agree on the upstream);
    `handed_over` says whether the records show the handover to the asking side (None: they don't say).
    """

    verdict: Verdict
    considered: tuple[Considered, ...] = ()
    upstream: Party | Unknown | None = None
    called_in: E164 | None = None
    instances: tuple[Instance, ...] = ()
    handed_over: bool | None = None
    via_internal: tuple[Instance, ...] = ()


_NONE_FOUND: Final = Decision(Verdict.NOT_FOUND)


def match(
    question: Question,
    legs: Sequence[Leg],
    trunks: TrunkMap,
    find: FindLegs,
    settings: MatchSettings = _UNTUNED,
) -> Decision:
    """Decide which call the question means and who handed it over.

    `legs` are all records of the called number whose seizure may lie in the question's window, and `longest_setup`
    beyond it; `find` gives those of another number, to follow internal trunks to where the call entered this network.
    """
    if not legs:
        return _NONE_FOUND
    named_by = question.named_by
    wanted = ends_here if named_by is None else leads_to(named_by)
    if len(legs) == 1:
        (leg,) = legs
        if named_by is not None and not leg.sent_as_asked:
            return _NONE_FOUND
        decision = _decide_alone(
            question.at, question.window, instance_of(leg, trunks, wanted, settings), settings, named_by
        )
    else:
        instances = [
            instance
            for instance in instances_of(legs, trunks, wanted, settings)
            if named_by is None or any(leg.sent_as_asked for leg in instance.rows)
        ]
        decision = _decide(question.at, question.window, instances, settings, named_by)
    if not _is_internal(decision.upstream):
        return decision
    return _follow_internal(question, decision, trunks, find, settings)


def _leads_inside(came_from: Party | Unknown | None) -> Callable[[Party], bool]:
    """A leg that came from switch X was not handed on by a leg that went to switch X."""
    return lambda party: party.kind is PartyKind.INTERNAL and party != came_from


def _is_internal(party: Party | Unknown | None) -> bool:
    return isinstance(party, Party) and party.kind is PartyKind.INTERNAL


def _decide(
    at: datetime,
    window: timedelta,
    found: Sequence[Instance],
    settings: MatchSettings,
    named_by: ProviderId | None,
) -> Decision:
    """Choose among instances; `named_by` is the side that asks, None when the call is said to end here.

    Only an instance within the window is an answer; one beyond it may still be the rival of another at its edge.
    """
    if not found:
        return _NONE_FOUND
    if len(found) == 1:
        return _decide_alone(at, window, found[0], settings, named_by)
    return _decide_among(at, window, found, settings, named_by)


def _decide_alone(
    at: datetime,
    window: timedelta,
    instance: Instance,
    settings: MatchSettings,
    named_by: ProviderId | None,
) -> Decision:
    """What `_decide_among` says of one instance, which is what nearly every question meets."""
    away = instance.distance(at)
    if away > window:
        return _NONE_FOUND
    fit = instance.fit
    if named_by is not None and fit in _UNFIT:
        why = Considered(instance, away, False, fit.value)
        return Decision(Verdict.NOT_FOUND, (why,), handed_over=False)
    far = away > settings.trusted_distance
    if not instance.calling_matches and (far or instance.latest - instance.earliest > settings.trusted_span):
        return Decision(Verdict.AMBIGUOUS, (Considered(instance, away, False, _untrusted(far)),))
    return Decision(
        Verdict.FOUND,
        (Considered(instance, away, True, "fits"),),
        instance.upstream,
        instance.called_in,
        (instance,),
        True if fit is Fit.DIRECT else None,
    )


def _untrusted(far: bool) -> str:
    what = "far from the asked time" if far else "its time is hardly known"
    return f"{what}, and the calling number does not speak for it"


def _decide_among(
    at: datetime,
    window: timedelta,
    found: Sequence[Instance],
    settings: MatchSettings,
    named_by: ProviderId | None,
) -> Decision:
    """Choose among any number of instances."""
    away = {id(i): i.distance(at) for i in found}
    instances = [i for i in found if away[id(i)] <= window]
    notes: dict[int, str] = {}

    def considered(taken: Iterable[Instance] = ()) -> tuple[Considered, ...]:
        kept = {id(instance) for instance in taken}
        return tuple(
            Considered(i, away[id(i)], id(i) in kept, notes.get(id(i)) or ("fits" if id(i) in kept else i.fit.value))
            for i in sorted(instances, key=lambda i: away[id(i)])
        )

    # The order says that the call ended here, not how: it may have failed, or gone on. A provider knows what it got.
    least = 0 if named_by is None else 1
    pool = [i for i in instances if _FITS[i.fit] >= least]
    if not pool:
        return Decision(Verdict.NOT_FOUND, considered(), handed_over=False if instances else None)

    furthest = settings.rivals_within(min(away[id(i)] for i in pool))
    beyond = [i for i in found if window < away[id(i)] < furthest and _FITS[i.fit] >= least]
    instances += beyond
    pool += beyond
    near = {id(i) for i in pool if away[id(i)] < furthest}
    rivals = _unbeaten(pool, near, named_by, notes) if len(pool) > 1 else pool

    def trusted(instance: Instance) -> bool:
        near_enough = away[id(instance)] <= settings.trusted_distance
        return bool(instance.calling_matches) or (near_enough and instance.span <= settings.trusted_span)

    if not any(map(trusted, rivals)):
        for instance in rivals:
            notes[id(instance)] = _untrusted(away[id(instance)] > settings.trusted_distance)
        return Decision(Verdict.AMBIGUOUS, considered())

    if len({(i.upstream, i.called_in) for i in rivals}) > 1:
        for instance in rivals:
            notes[id(instance)] = "fits as well as another call with another upstream"
        return Decision(Verdict.AMBIGUOUS, considered())
    first = rivals[0]
    return Decision(
        Verdict.FOUND,
        considered(rivals),
        upstream=first.upstream,
        called_in=first.called_in,
        instances=tuple(rivals),
        handed_over=True if all(i.fit is Fit.DIRECT for i in rivals) else None,
    )


class _Evidence(NamedTuple):
    """What speaks for an instance: it is near in time; where it went, as `_FITS`; its calling number is the claimed."""

    near: bool
    went: int
    spoken_for: bool

    def beats(self, other: _Evidence) -> bool:
        """Whether all that speaks for the other speaks for this one, and more; where they contradict, neither wins.

        That one is known to have gone to the asking side is nothing against another of which that is not known. And a
        call that is near and has the claimed number is not doubted for a distant one that has not.
        """
        if self.near and self.spoken_for and not (other.near or other.spoken_for):
            return True
        as_good = all(mine >= its for mine, its in zip(self, other, strict=True))
        unfit = other.went < self.went and other.went < _FITS[Fit.UNKNOWN]
        return as_good and (self.near > other.near or self.spoken_for > other.spoken_for or unfit)

    def lost_to(self, stronger: _Evidence) -> str:
        """Why the stronger one was taken instead."""
        if stronger.near > self.near:
            return "another call is nearer in time"
        if stronger.spoken_for > self.spoken_for:
            return "the calling number speaks for another call"
        return "another call is known to have gone to the asking side"


def _unbeaten(
    pool: Sequence[Instance], near: Collection[int], named_by: ProviderId | None, notes: dict[int, str]
) -> list[Instance]:
    """The instances that no other one beats; `near` holds the ids of those that time doesn't tell from the nearest."""
    # A call may have come back from the very side that asks, with the calling number that this side gave it.
    came_back = any(i.fit is not Fit.DIRECT and _is_of(i.upstream, named_by) for i in pool if id(i) in near)
    # One that passed twice may have got the number in between: what speaks for one pass speaks for all.
    passed = {leg.call_ref for i in pool if i.calling_matches and id(i) in near for leg in i.rows} - {None}

    def evidence(instance: Instance) -> _Evidence:
        spoken_for = bool(instance.calling_matches) or any(leg.call_ref in passed for leg in instance.rows)
        return _Evidence(id(instance) in near, _FITS[instance.fit], spoken_for and not came_back)

    weighed = [(instance, evidence(instance)) for instance in pool]
    present = sorted({e for _, e in weighed})
    beaten = {e: stronger for e in present for stronger in present if stronger.beats(e)}
    notes |= {id(instance): e.lost_to(beaten[e]) for instance, e in weighed if e in beaten}
    return [instance for instance, e in weighed if e not in beaten]


def _follow_internal(
    question: Question, decision: Decision, trunks: TrunkMap, find: FindLegs, settings: MatchSettings
) -> Decision:
    """Walk back over internal trunks to the leg on which the call entered this provider's network."""
    exit_leg = decision
    seen: set[tuple[str, int]] = {(leg.source, leg.row) for i in decision.instances for leg in i.rows}
    trail: list[Instance] = list(decision.instances)
    called = question.called
    translated: E164 | None = None
    for _ in range(settings.internal_hops):
        if decision.called_in is not None:
            called = translated = decision.called_in
        at = _anchor(decision.instances, question.at)
        hint_holds = _told_by_calling(decision, settings)
        legs = [leg for leg in find(called) if (leg.source, leg.row) not in seen]
        instances = [
            i._replace(fit=Fit.INSIDE, calling_matches=i.calling_matches if hint_holds else None)
            for i in instances_of(legs, trunks, _leads_inside(decision.upstream), settings)
            if i.fit is Fit.DIRECT and any(leg.sent_as_asked for leg in i.rows)
        ]
        decision = _decide(at, question.window, instances, settings, question.named_by)
        if decision.verdict is Verdict.AMBIGUOUS:
            return decision._replace(considered=exit_leg.considered + decision.considered, via_internal=tuple(trail))
        if decision.verdict is Verdict.NOT_FOUND:
            break
        seen |= {(leg.source, leg.row) for i in decision.instances for leg in i.rows}
        if not _is_internal(decision.upstream):
            return decision._replace(
                considered=exit_leg.considered + decision.considered,
                called_in=decision.called_in or translated,
                handed_over=exit_leg.handed_over,
                via_internal=tuple(trail),
            )
        trail += decision.instances
    # It came over an internal trunk from a leg that is not in the records: nobody can be named.
    return exit_leg._replace(upstream=Unknown.UNMAPPED, via_internal=tuple(trail))


def _told_by_calling(decision: Decision, settings: MatchSettings) -> bool:
    """Whether the claimed calling number tells the one leg that was found from all others that came the same way.

    If not, it may have been changed inside this network, or be another call's: then it tells nothing of what came in.
    """
    if len(decision.instances) != 1 or not decision.instances[0].calling_matches:
        return False
    (leg,) = decision.instances
    reach = settings.rivals_within(min(item.distance for item in decision.considered if item.taken))
    return not any(
        item.instance.calling_matches and item.instance.upstream == leg.upstream and item.distance < reach
        for item in decision.considered
        if not item.taken
    )


def _anchor(instances: Sequence[Instance], at: datetime) -> datetime:
    """The time to look for the same call on another leg: `at` moved into what the instances say of the seizure."""
    earliest = min(i.earliest for i in instances)
    latest = max(i.latest for i in instances)
    return min(max(at, earliest), latest)


def _is_of(party: Party | Unknown, provider: ProviderId | None) -> bool:
    return provider is not None and isinstance(party, Party) and leads_to(provider)(party)
