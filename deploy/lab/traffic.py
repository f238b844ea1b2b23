"""A call carried through the industry, in true time: what every switch on its way sees, and where it comes out.

Pure and seeded. A call comes in as a plan (a tree of visits: a switch, what it changes, the carriers it tries in turn).
Every switch that it touches leaves a `Passage`, which knows what that switch could know; what its records make of it is
the business of `deploy.lab.stores`. A failed attempt leaves passages too: the switches that took part wrote records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from deploy.lab.industry import Industry, Provider, Trunk
from deploy.lab.ingredients import Ingredient
from protos.e164 import E164

ANSWERED, TIMEOUT, BUSY, CANCELLED, NO_CIRCUIT = 200, 408, 486, 487, 503
ADVANCES = frozenset({TIMEOUT, NO_CIRCUIT})
"""Failures after which a switch tries the next carrier."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a switch to hand the call on: over which trunk, to which number, and how it ended."""

    trunk: Trunk
    called: E164
    started: datetime
    ended: datetime
    code: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A call's way through one switch, as that switch saw it (in true time).

    `seized` is when the call arrived, `finished` when the final reply went back (answer or failure), `released` when
    an answered call ended. `calling` is None when withheld. `visit` tells several passes of one call apart.
    """

    call: str
    visit: int
    provider: str
    switch: str
    record_id: str
    ingress: Trunk
    called: E164
    calling: E164 | None
    seized: datetime
    attempts: tuple[Attempt, ...]
    code: int
    finished: datetime
    released: datetime | None

    @property
    def closed(self) -> datetime:
        """When the switch was done with the call, and wrote its last record of it."""
        return self.released or self.finished

    @property
    def last(self) -> Attempt | None:
        """The last try: the one that got through, if any did."""
        return self.attempts[-1] if self.attempts else None


@dataclass(frozen=True, slots=True)
class Ride:
    """A call that reached a subscriber's line: what the called person knows, and the true way there.

    `called` and `calling` are as at the terminating side; `way` holds the passages that got through, origin first.
    """

    call: str
    called: E164
    calling: E164 | None
    rang_at: datetime
    way: tuple[Passage, ...]
    ingredients: frozenset[Ingredient]


@dataclass(frozen=True)
class Traffic:
    """Everything that happened: the calls to ask for, and every passage, those of failed attempts too."""

    rides: tuple[Ride, ...]
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """The subscriber's end: how long it rings, what becomes of it, how long they talk."""

    rings: timedelta
    code: int
    talks: timedelta


@dataclass(frozen=True, slots=True)
class Try:
    """One carrier to try: the next switch, the subscriber's line, or None for a peer that never answers."""

    trunk: Trunk
    to: Visit | Line | None


@dataclass(frozen=True, slots=True)
class Visit:
    """A plan for one switch: what it changes, and what it tries in turn. Without tries it rejects the call itself.

    `translate_to` is another called number to send on; `rewrites` replaces the calling number by `calling`, where
    None withholds it.
    """

    provider: Provider
    switch: str
    tries: tuple[Try, ...] = ()
    translate_to: E164 | None = None
    rewrites: bool = False
    calling: E164 | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One call, planned: when it starts, over which trunk, to which number, claimed to be from whom."""

    start: datetime
    entry: Trunk
    dialled: E164
    calling: E164 | None
    first: Visit
    ingredients: frozenset[Ingredient]


@dataclass(slots=True)
class _Outcome:
    """What comes back from further on."""

    finished: datetime
    code: int
    released: datetime | None = None
    rang_at: datetime | None = None
    seen: tuple[E164, E164 | None] | None = None
    way: tuple[Passage, ...] = ()


@dataclass
class Carrier:
    """Carries calls and collects the passages."""

    industry: Industry
    passages: list[Passage] = field(default_factory=list)

    def carry(self, call: str, plan: Plan) -> Ride:
        """Carry one call to its end.

        Raises:
            ValueError: the plan reaches no line; a lab asks only for calls that somebody received.
        """
        rng = Random(f"{self.industry.seed}:{call}")
        visits = iter(range(1000))
        outcome = self._visit(rng, call, visits, plan.first, plan.entry, plan.dialled, plan.calling, plan.start)
        if outcome.rang_at is None or outcome.seen is None:
            raise ValueError(f"call {call} was planned to fail on every route")
        called, calling = outcome.seen
        way = tuple(reversed(outcome.way))
        return Ride(call, called, calling, outcome.rang_at, way, plan.ingredients | self._met(way))

    def _visit(
        self,
        rng: Random,
        call: str,
        visits: Iterator[int],
        visit: Visit,
        entry: Trunk,
        called: E164,
        calling: E164 | None,
        seized: datetime,
    ) -> _Outcome:
        number = next(visits)
        sent = visit.translate_to or called
        claims = visit.calling if visit.rewrites else calling
        time = seized + _ms(rng, 6, 45) + (_ms(rng, 40, 200) if visit.translate_to else timedelta(0))
        outcome = _Outcome(finished=time, code=NO_CIRCUIT)
        attempts = []
        for attempt in visit.tries:
            match attempt.to:
                case None:
                    outcome = _Outcome(finished=time + _ms(rng, 1500, 6000), code=TIMEOUT)
                case Line() as line:
                    outcome = _ring(line, time + _ms(rng, 5, 20), sent, claims)
                case Visit() as onward:
                    arrives = time + _ms(rng, 2, 25)
                    outcome = self._visit(rng, call, visits, onward, attempt.trunk, sent, claims, arrives)
            attempts.append(Attempt(attempt.trunk, sent, time, outcome.finished, outcome.code))
            if outcome.code not in ADVANCES:
                break
            time = outcome.finished + _ms(rng, 5, 40)
        back = _ms(rng, 2, 15)
        passage = Passage(
            call=call,
            visit=number,
            provider=visit.provider.id,
            switch=visit.switch,
            record_id=self._record_id(visit, call, number),
            ingress=entry,
            called=called,
            calling=calling,
            seized=seized,
            attempts=tuple(attempts),
            code=outcome.code,
            finished=outcome.finished + back,
            released=outcome.released + back if outcome.released else None,
        )
        self.passages.append(passage)
        return _Outcome(
            finished=passage.finished,
            code=outcome.code,
            released=passage.released,
            rang_at=outcome.rang_at,
            seen=outcome.seen,
            way=(*outcome.way, passage) if outcome.rang_at else (),
        )

    def _record_id(self, visit: Visit, call: str, number: int) -> str:
        """The switch's own call id. Nobody else's records carry it, so that it leads nowhere beyond this switch."""
        passes = "" if visit.provider.proxy else f":{number}"
        rng = Random(f"{self.industry.seed}:{visit.provider.id}:{visit.switch}:{call}{passes}")
        return f"{rng.getrandbits(64):016x}@{visit.provider.address}"

    def _met(self, way: tuple[Passage, ...]) -> frozenset[Ingredient]:
        """The ingredients that lie in the switches and trunks of the way rather than in the plan."""
        met = set()
        for passage in way:
            provider = self.industry.providers[passage.provider]
            (switch,) = (s for s in provider.switches if s.name == passage.switch)
            trunks = [passage.ingress, *(attempt.trunk for attempt in passage.attempts)]
            if switch.zone != "UTC":
                met.add(Ingredient.LOCAL_TIME)
            if switch.offset or switch.residual:
                met.add(Ingredient.CLOCK_SKEW)
            if any(trunk.called_format != "e164" for trunk in trunks):
                met.add(Ingredient.NUMBER_FORMATS)
            if any(trunk.internal for trunk in trunks):
                met.add(Ingredient.SEVERAL_SWITCHES)
            if len(passage.attempts) > 1:
                met.add(Ingredient.ROUTE_ADVANCE)
            if Ingredient.SEVERAL_ROWS in self.industry.ingredients and provider.proxy:
                met.add(Ingredient.SEVERAL_ROWS)
        return frozenset(met)


def _ring(line: Line, at: datetime, called: E164, calling: E164 | None) -> _Outcome:
    finished = at + line.rings
    released = finished + line.talks if line.code == ANSWERED else None
    return _Outcome(finished, line.code, released, rang_at=at, seen=(called, calling))


def _ms(rng: Random, low: int, high: int) -> timedelta:
    return timedelta(milliseconds=rng.randint(low, high))
