"""What is true of every call, and how its traceback ought to end. Pure; read by scorers and people, never by an agent.

A call's tracing ends at its origin or gateway, unless something that no software can mend stands in the way. Walking
back from the terminating provider, the first of these decides, and nothing else excuses a traceback that stops:

| what stands in the way | right ending |
|---|---|
| the provider runs no agent | no_agent there |
| the call is older than the provider's retention | records_expired there |
| the provider's records of that time have not come in | not_yet_available there |
| the provider's trunk map lacks the trunk | unmapped there |
| the provider's trunk map names the wrong neighbour | disputed by that neighbour |

Beside that, two calls may be alike in everything that a provider's records hold. Then `ambiguous` at that provider is
right too (and a guess is not). `indistinct` decides it from what that kind of store records at all, and from nothing
that a matcher does: the other call has the same called number there, another upstream, went to the same downstream
(where that is recorded; for a call that crossed two switches of the network, over the same internal trunk), fits the
calling number no worse, and lies within `ALIKE` in time as the records tell time.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.lab.industry import Flaw, Industry, PartyKind
from deploy.lab.ingredients import Ingredient
from deploy.lab.scoring import TrueCall, TrueHop
from deploy.lab.stores import evidence
from deploy.lab.stores.source import MAX_SETUP, Evidence
from deploy.lab.traffic import Passage, Ride, Traffic
from protos.e164 import E164

ALIKE = timedelta(seconds=5)
"""Two calls closer than this are alike in time to a person: two seconds for the watch of the person who asks, one that
it cuts off, two for the clocks; as much as a matcher leaves between rivals."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a traceback ends: a status of the coordinator, and the provider at which it stands."""

    status: str
    provider: str


@dataclass(frozen=True, slots=True)
class Truth:
    """One call: what a person knows of it, the true hops (terminating first), and the right endings.

    `misled` is the provider whose map names the wrong neighbour, where the tracing comes by it; `also` are other right
    endings: AMBIGUOUS where the records can't tell the call from another.
    """

    call: str
    called: E164
    calling: E164 | None
    at: datetime
    terminating: str
    hops: tuple[TrueHop, ...]
    ingredients: tuple[str, ...]
    ending: Ending
    also: frozenset[Ending]
    misled: str | None = None

    @property
    def true_call(self) -> TrueCall:
        """The same for `deploy.lab.scoring`."""
        return TrueCall(self.call, self.ingredients, self.call, self.hops)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A call's way through one provider, all its switches together: where it came in and where it left."""

    entry: Passage
    exit: Passage

    @property
    def provider(self) -> str:
        """Whose network it is."""
        return self.exit.provider

    @property
    def upstream(self) -> tuple[PartyKind, str]:
        """Who handed the call over."""
        return self.entry.ingress.sender.kind, self.entry.ingress.sender.name

    @property
    def answerable(self) -> tuple[str, E164]:
        """What an answer would say: customers are all "originated here"."""
        kind, name = self.upstream
        return (name if kind is not PartyKind.CUSTOMER else ""), self.entry.called


def tell(industry: Industry, traffic: Traffic) -> list[Truth]:
    """The truth of every ride."""
    register = _Register(industry, traffic.passages)
    return [_truth(industry, register, ride) for ride in traffic.rides]


def _truth(industry: Industry, register: _Register, ride: Ride) -> Truth:
    crossings = list(reversed(list(_crossings(ride.way))))
    hops = tuple(TrueHop(c.provider, c.upstream[1], _KINDS[c.upstream[0]]) for c in crossings)
    ending, misled = _ending(industry, crossings)
    reached = next((n for n, c in enumerate(crossings) if c.provider == ending.provider), len(crossings))
    downstreams = [None, *(c.provider for c in crossings)]
    also = {
        Ending("ambiguous", c.provider)
        for number, c in enumerate(crossings[: reached + 1])
        if register.indistinct(c, downstreams[number], ride.calling)
    }
    return Truth(
        call=ride.call,
        called=ride.called,
        calling=ride.calling,
        at=datetime.fromtimestamp(math.floor(ride.rang_at.timestamp()), UTC),
        terminating=crossings[0].provider,
        hops=hops,
        ingredients=tuple(sorted(i.value for i in ride.ingredients)),
        ending=ending,
        also=frozenset(also),
        misled=misled,
    )


_KINDS = {
    PartyKind.PROVIDER: "provider",
    PartyKind.CUSTOMER: "customer",
    PartyKind.FOREIGN: "foreign_carrier",
}


def _crossings(way: Sequence[Passage]) -> Iterator[Crossing]:
    """The way as crossings of providers, origin first; switches joined by internal trunks make one crossing."""
    entry: Passage | None = None
    for passage in way:
        if entry is None or not passage.ingress.internal:
            entry = passage
        if passage.last is None or not passage.last.trunk.internal:
            yield Crossing(entry, passage)


def _ending(industry: Industry, crossings: Sequence[Crossing]) -> tuple[Ending, str | None]:
    """The right ending, and the provider whose map misleads the tracing, if one does."""
    for crossing in crossings:
        provider = industry.providers[crossing.provider]
        stop = _stop(industry, crossing)
        if stop is not None:
            return Ending(stop, provider.id), None
        if crossing.entry.ingress.flaw is Flaw.MISNAMED:
            return Ending("disputed", crossing.entry.ingress.believed or ""), provider.id
    source = crossings[-1]
    found = "gateway_found" if source.upstream[0] is PartyKind.FOREIGN else "origin_found"
    return Ending(found, source.provider), None


def _stop(industry: Industry, crossing: Crossing) -> str | None:
    provider, times = industry.providers[crossing.provider], industry.calendar
    if not provider.has_agent:
        return "no_agent"
    if crossing.exit.seized < times.now - provider.retention:
        return "records_expired"
    if provider.late:
        knows = _evidence(industry, crossing.provider)
        written = crossing.exit.finished if knows.at_reply else crossing.exit.closed
        if written > times.rotated:
            return "not_yet_available"
    return "unmapped" if crossing.entry.ingress.flaw is Flaw.UNMAPPED else None


def _evidence(industry: Industry, provider: str) -> Evidence:
    return evidence(industry.providers[provider].store, several_rows=Ingredient.SEVERAL_ROWS in industry.ingredients)


class _Register:
    """Every crossing of every call and every failed attempt, by provider and by the numbers under which it is found."""

    def __init__(self, industry: Industry, passages: Iterable[Passage]) -> None:
        self._industry = industry
        self._found: dict[tuple[str, E164], list[Crossing]] = defaultdict(list)
        for crossing in _all_crossings(passages):
            numbers = {crossing.entry.called, *(a.called for a in crossing.exit.attempts)}
            for number in numbers:
                self._found[crossing.provider, number].append(crossing)

    def indistinct(self, asked: Crossing, downstream: str | None, calling: E164 | None) -> bool:
        """Whether the provider's records hold another call that they can't tell from `asked`, with another upstream."""
        last = asked.exit.last
        number = last.called if last is not None else asked.entry.called
        knows = _evidence(self._industry, asked.provider)
        return any(
            other.answerable != asked.answerable
            and (_leads_there(other, downstream, number, knows) or _same_inside(asked, other))
            and not _calling_tells(asked, other, calling)
            and _alike_in_time(self._industry, asked, other, knows)
            for other in self._found[asked.provider, number]
            if other.exit is not asked.exit
        )


def _all_crossings(passages: Iterable[Passage]) -> Iterator[Crossing]:
    """Crossings of every passage; a switch that tried another switch in vain makes a crossing of each way taken."""
    entries: dict[tuple[str, str, str], Passage] = {}
    inner: list[Passage] = []
    for passage in passages:
        for attempt in passage.attempts:
            if attempt.trunk.internal:
                entries[passage.call, passage.provider, attempt.trunk.receiver.switch] = passage
        if passage.ingress.internal:
            inner.append(passage)
        elif passage.last is None or not all(a.trunk.internal for a in passage.attempts):
            yield Crossing(passage, passage)
    for passage in inner:
        yield Crossing(entries[passage.call, passage.provider, passage.switch], passage)


def _leads_there(other: Crossing, downstream: str | None, number: E164, knows: Evidence) -> bool:
    """Whether the other call went (as far as recorded) to the side that asks, under the number asked for."""
    tries = [a for a in other.exit.attempts if a.called == number and not a.trunk.internal]
    if not knows.egress:
        return bool(tries) or other.entry.called == number
    if downstream is None:
        return any(a.trunk.receiver.kind is PartyKind.SUBSCRIBERS for a in tries)
    return any(a.trunk.receiver.name == downstream for a in tries)


def _same_inside(asked: Crossing, other: Crossing) -> bool:
    """Whether both crossed the network over the same internal trunk: only time tells which came in from whom."""
    crossed = asked.exit.ingress
    return crossed.internal and any(attempt.trunk == crossed for attempt in other.entry.attempts)


def _calling_tells(asked: Crossing, other: Crossing, calling: E164 | None) -> bool:
    """Whether the calling number that the person saw speaks for the call and not for the other."""
    return calling is not None and asked.exit.calling == calling and other.exit.calling != calling


def _alike_in_time(industry: Industry, asked: Crossing, other: Crossing, knows: Evidence) -> bool:
    seized = asked.exit.seized
    if knows.seizure:
        times = [(other.exit.seized, other.exit.seized)]
    else:
        times = [(other.exit.finished - MAX_SETUP, other.exit.finished)]
    if knows.naive and abs(seized - industry.calendar.fall_back) < timedelta(hours=4):
        hour = timedelta(hours=1)
        times += [(a + shift, b + shift) for a, b in times for shift in (hour, -hour)]
    return any(a - ALIKE <= seized <= b + ALIKE for a, b in times)


def to_json(truth: Truth) -> dict[str, Any]:
    """One line of truth.jsonl."""
    return {
        "call": truth.call,
        "called": truth.called,
        "calling": truth.calling,
        "at": truth.at.isoformat().replace("+00:00", "Z"),
        "terminating": truth.terminating,
        "hops": [{"provider": h.provider, "upstream": h.upstream, "kind": h.kind} for h in truth.hops],
        "ingredients": list(truth.ingredients),
        "ending": {"status": truth.ending.status, "provider": truth.ending.provider},
        "also_right": sorted(({"status": e.status, "provider": e.provider} for e in truth.also), key=str),
        "misled": truth.misled,
    }


def write(path: Path, truths: Iterable[Truth]) -> None:
    """Write truth.jsonl."""
    path.write_text("".join(json.dumps(to_json(truth)) + "\n" for truth in truths), encoding="utf-8")


def endings(truths: Iterable[Truth]) -> Mapping[str, int]:
    """How many calls ought to end how."""
    counts: dict[str, int] = {}
    for truth in truths:
        counts[truth.ending.status] = counts.get(truth.ending.status, 0) + 1
    return dict(sorted(counts.items()))
