"""Plans of calls: who dials whom, over which carriers, and what is special about it.

Pure and seeded. What makes a call special is drawn first (its plot), because that decides where, when or over whom it
goes; then the length of its path, the providers on it, and what else happens on the way: translation, forwarding, a
loop, failed attempts, a rewritten calling number, nobody answering. All of these combine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from deploy.lab.dialing import claimed, subscribers, toll_free
from deploy.lab.industry import Industry, PartyKind, Provider, Role, Trunk
from deploy.lab.ingredients import Ingredient
from deploy.lab.traffic import ANSWERED, BUSY, CANCELLED, Carrier, Line, Plan, Ride, Traffic, Try, Visit
from protos.e164 import E164

_LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
_LENGTH_WEIGHTS = (3, 10, 17, 20, 18, 13, 8, 5, 3, 3)

_PLOTS: dict[Ingredient | None, float] = {
    None: 70.0,
    Ingredient.REPEATED_HOUR: 4.0,
    Ingredient.FOREIGN_GATEWAY: 8.0,
    Ingredient.SAME_SECOND: 2.0,
    Ingredient.INDISTINGUISHABLE: 0.6,
    Ingredient.TRUNK_REASSIGNED: 2.5,
    Ingredient.UNMAPPED_TRUNK: 1.2,
    Ingredient.NAMED_BY_MISTAKE: 1.2,
    Ingredient.RECORDS_EXPIRED: 1.2,
    Ingredient.LATE_RECORDS: 1.5,
    Ingredient.NO_AGENT: 1.5,
}
"""Plots and how often they are drawn, in the order of drawing; None is a call without one."""

_SIDE: dict[Ingredient, float] = {
    Ingredient.TOLL_FREE: 0.10,
    Ingredient.FORWARDING: 0.06,
    Ingredient.LOOP: 0.06,
    Ingredient.ROUTE_ADVANCE: 0.15,
    Ingredient.CALLING_REWRITTEN: 0.08,
    Ingredient.CALLING_ANONYMOUS: 0.06,
}
"""What else may happen on the way, and how likely; these combine with plots and with each other."""


def generate(industry: Industry, calls: int) -> Traffic:
    """Plan and carry `calls` calls (the other of a pair, or a second try, counts as one more of them).

    Raises:
        ValueError: fewer than one call.
    """
    if calls < 1:
        raise ValueError("a lab needs a call at least")
    planner = Planner(industry, calls)
    carrier = Carrier(industry)
    rides: list[Ride] = [
        carrier.carry(f"c{number:05d}", plan) for number, plan in enumerate(itertools.islice(planner.plans(), calls))
    ]
    return Traffic(tuple(rides), tuple(sorted(carrier.passages, key=lambda p: (p.seized, p.call, p.visit))))


@dataclass(frozen=True, slots=True)
class _Recipe:
    """A call's path before its trunks: the providers, the number each of them receives, who claims to call.

    `entry` is the trunk of the customer or foreign carrier; `numbers[i]` is what provider i receives; `rewriting` is
    the position that replaces the calling number, -1 none.
    """

    entry: Trunk
    chain: tuple[Provider, ...]
    numbers: tuple[E164, ...]
    called: E164
    calling: E164 | None
    rewriting: int
    rewritten: E164 | None
    plot: Ingredient | None
    side: frozenset[Ingredient]


class Planner:
    """Draws plans, one after the other."""

    def __init__(self, industry: Industry, calls: int) -> None:
        self.industry, self.times = industry, industry.calendar
        self.rng = Random(f"{industry.seed}:plans")
        homes = industry.of_role(Role.TERMINATING)
        self.numbers = subscribers(max(60, calls // 4))
        self.rng.shuffle(self.numbers)
        self.home = {number: homes[i % len(homes)] for i, number in enumerate(self.numbers)}
        self.toll_free: dict[E164, E164] = {}
        self.transits = [p for p in industry.of_role(Role.TRANSIT) if p.has_agent]
        self.plots = {plot: weight for plot, weight in _PLOTS.items() if plot is None or self._possible(plot)}
        self.side = {kind: chance for kind, chance in _SIDE.items() if self._possible(kind)}

    def _possible(self, kind: Ingredient) -> bool:
        providers = self.industry.providers.values()
        purposes = {trunk.purpose for trunk in self.industry.trunks}
        needs = {
            Ingredient.TRUNK_REASSIGNED: kind in purposes,
            Ingredient.UNMAPPED_TRUNK: kind in purposes,
            Ingredient.NAMED_BY_MISTAKE: kind in purposes,
            Ingredient.FOREIGN_GATEWAY: any(p.role is Role.GATEWAY for p in providers),
            Ingredient.RECORDS_EXPIRED: any(p.retention < timedelta(days=60) for p in providers),
            Ingredient.LATE_RECORDS: any(p.late for p in providers),
            Ingredient.NO_AGENT: any(not p.has_agent for p in providers),
            Ingredient.TOLL_FREE: any(p.translates for p in providers),
            Ingredient.FORWARDING: any(p.forwards for p in providers),
        }
        return kind in self.industry.ingredients and needs.get(kind, True)

    def plans(self) -> Iterator[Plan]:
        """Plans without end: a call through every provider at the end of the day first, then the mixture."""
        yield from self._closing_time()
        while True:
            plot = self.rng.choices(list(self.plots), weights=list(self.plots.values()))[0]
            if plot in (Ingredient.SAME_SECOND, Ingredient.INDISTINGUISHABLE):
                yield from self._pair(plot)
            else:
                yield from self._single(plot)

    def _closing_time(self) -> Iterator[Plan]:
        """A call through every provider in the last minutes, so that no store looks as if it had stopped early."""
        for provider in self.industry.providers.values():
            if provider.late or not provider.has_agent:
                continue
            start = self.times.now - timedelta(seconds=self.rng.randint(120, 170))
            own = [number for number in self.numbers if self.home[number] is provider]
            called = self.rng.choice(own or self.numbers)
            chain = (provider,) if own else (provider, self.home[called])
            calling = claimed(self.rng, called, foreign=False)
            entry = self._entry(chain[0], None)
            recipe = _Recipe(entry, chain, (called,) * len(chain), called, calling, -1, None, None, frozenset())
            yield self._plan(start, recipe, Line(_seconds(self.rng, 2, 15), ANSWERED, _seconds(self.rng, 5, 60)))

    def _single(self, plot: Ingredient | None) -> Iterator[Plan]:
        """One call; and where its caller gave up, perhaps the same caller again some seconds later."""
        start = self._start(plot)
        recipe = self._recipe(plot, start, self.rng.choice(self.numbers))
        line = self._line()
        yield self._plan(start, recipe, line)
        if line.code == CANCELLED and self.rng.random() < 0.3:
            again = start + line.rings + _seconds(self.rng, 4, 30)
            if self.rng.random() < 0.5 and recipe.plot is None and not recipe.side:
                other = self._recipe(None, again, recipe.called, first=recipe.chain[0])
                recipe = replace(other, entry=recipe.entry, calling=recipe.calling, rewriting=-1)
            yield self._plan(again, recipe, self._line())

    def _pair(self, plot: Ingredient) -> Iterator[Plan]:
        """Two calls to one number in the same second, from two customers who know nothing of each other."""
        start, called = self._start(plot), self.rng.choice(self.numbers)
        one = self._recipe(plot, start, called)
        other = self._recipe(plot, start, called)
        for _ in range(20):
            if other.chain != one.chain:
                break
            other = self._recipe(plot, start, called)
        if plot is Ingredient.INDISTINGUISHABLE:
            other = replace(other, calling=one.calling)
        later = start + timedelta(milliseconds=self.rng.randint(0, 600))
        yield self._plan(start, one, self._line())
        yield self._plan(later, other, self._line())

    def _start(self, plot: Ingredient | None) -> datetime:
        rng, times = self.rng, self.times
        match plot:
            case Ingredient.REPEATED_HOUR:
                return times.fall_back + timedelta(seconds=rng.uniform(-100 * 60, 100 * 60))
            case Ingredient.RECORDS_EXPIRED:
                return times.long_ago + timedelta(seconds=rng.uniform(0, 6 * 3600))
            case Ingredient.LATE_RECORDS:
                return times.rotated + timedelta(seconds=rng.uniform(60, 40 * 60))
        return times.day_from + timedelta(seconds=rng.uniform(0, (times.day_to - times.day_from).total_seconds()))

    def _line(self) -> Line:
        rng = self.rng
        drawn = rng.random()
        if Ingredient.UNANSWERED not in self.industry.ingredients or drawn < 0.68:
            return Line(_seconds(rng, 1, 25), ANSWERED, _seconds(rng, 3, 120))
        if drawn < 0.94:
            return Line(_seconds(rng, 6, 45), CANCELLED, timedelta(0))
        return Line(_seconds(rng, 0.1, 0.6), BUSY, timedelta(0))

    def _recipe(self, plot: Ingredient | None, start: datetime, called: E164, first: Provider | None = None) -> _Recipe:
        rng = self.rng
        pair = plot in (Ingredient.SAME_SECOND, Ingredient.INDISTINGUISHABLE)
        side = {kind for kind, chance in self.side.items() if rng.random() < chance}
        if pair:
            side -= {Ingredient.ROUTE_ADVANCE, Ingredient.TOLL_FREE, Ingredient.FORWARDING}
        if plot is Ingredient.INDISTINGUISHABLE:
            side -= {Ingredient.CALLING_REWRITTEN, Ingredient.CALLING_ANONYMOUS}
        length = rng.choices(_LENGTHS, weights=_LENGTH_WEIGHTS)[0]
        chain, numbers = self._chain(plot, start, called, side, length, first)
        calling: E164 | None = claimed(rng, called, foreign=plot is Ingredient.FOREIGN_GATEWAY)
        rewriting, rewritten = -1, None
        if len(chain) > 1 and side & {Ingredient.CALLING_REWRITTEN, Ingredient.CALLING_ANONYMOUS}:
            rewriting = rng.randrange(len(chain) - 1)
            if Ingredient.CALLING_REWRITTEN in side:
                rewritten = claimed(rng, called, foreign=False)
                side.discard(Ingredient.CALLING_ANONYMOUS)
        elif Ingredient.CALLING_ANONYMOUS in side:
            calling = None
        if len(chain) == 1:
            side -= {Ingredient.CALLING_REWRITTEN, Ingredient.ROUTE_ADVANCE}
        entry = self._entry(chain[0], plot)
        return _Recipe(entry, chain, numbers, called, calling, rewriting, rewritten, plot, frozenset(side))

    def _chain(
        self,
        plot: Ingredient | None,
        start: datetime,
        called: E164,
        side: set[Ingredient],
        length: int,
        first: Provider | None,
    ) -> tuple[tuple[Provider, ...], tuple[E164, ...]]:
        """The providers of a path and the number that each of them receives; drops from `side` what can't be had."""
        rng, named, home = self.rng, self.industry.providers, self.home[called]
        second: Provider | None = None
        blocks: list[tuple[Provider, ...]] = []
        match plot:
            case Ingredient.FOREIGN_GATEWAY:
                first = rng.choice(self.industry.of_role(Role.GATEWAY))
            case Ingredient.TRUNK_REASSIGNED:
                first, second = named["curlew" if start < self.times.reassigned else "avocet"], named["harrier"]
            case Ingredient.UNMAPPED_TRUNK:
                first, second = named["egret"], named["osprey"]
            case Ingredient.NAMED_BY_MISTAKE:
                blocks.append((named["jackdaw"], named["godwit"]))
            case Ingredient.RECORDS_EXPIRED:
                blocks.append((rng.choice([p for p in named.values() if p.retention < timedelta(days=60)]),))
            case Ingredient.LATE_RECORDS:
                blocks.append((rng.choice([p for p in named.values() if p.late]),))
            case Ingredient.NO_AGENT:
                blocks.append((rng.choice([p for p in named.values() if not p.has_agent]),))
        on_net = first is None and second is None and not blocks and length == 1
        if on_net or first is home:
            side -= {Ingredient.TOLL_FREE, Ingredient.FORWARDING, Ingredient.LOOP}
            return (home,), (called,)
        if first is None:
            first = self._first(home)
        taken = {p.id for p in (first, second, home, *itertools.chain(*blocks)) if p is not None}
        free = [p for p in self.transits if p.id not in taken and not (p.late and start > self.times.rotated)]
        rng.shuffle(free)
        translator = self._add_translator(side, blocks, second, free)
        forwarder = self._add_forwarder(side, blocks, free, home, first)
        if Ingredient.LOOP in side:
            if len(free) >= 2:
                twice, between = free.pop(), free.pop()
                blocks.append((twice, between, twice))
            else:
                side.discard(Ingredient.LOOP)
        short = length - 2 - (second is not None) - sum(map(len, blocks))
        blocks += [(free.pop(),) for _ in range(min(max(short, 0), len(free)))]
        rng.shuffle(blocks)
        middle = [second] if second is not None else []
        middle += itertools.chain(*blocks)
        chain = [first, *middle, home]
        if not self._connected(chain):  # a terminating provider hands calls to transit providers only
            chain.insert(1, free.pop() if free else named["godwit"])
        return tuple(chain), self._numbers(chain, called, translator, forwarder)

    def _first(self, home: Provider) -> Provider:
        """Where the call enters the network: mostly a provider that sells to callers, now and then any other."""
        entry = self.industry.of_role(Role.ORIGINATING)
        others = [*self.transits, *self.industry.of_role(Role.GATEWAY, Role.TERMINATING)]
        chosen = self.rng.choice(entry if self.rng.random() < 0.85 else others)
        return chosen if chosen is not home else self.rng.choice(entry)

    def _add_translator(
        self, side: set[Ingredient], blocks: list[tuple[Provider, ...]], second: Provider | None, free: list[Provider]
    ) -> Provider | None:
        if Ingredient.TOLL_FREE not in side:
            return None
        usable = [p for p in free if p.translates]
        if not usable:
            side.discard(Ingredient.TOLL_FREE)
            return None
        del second
        free.remove(usable[0])
        blocks.append((usable[0],))
        return usable[0]

    def _add_forwarder(
        self,
        side: set[Ingredient],
        blocks: list[tuple[Provider, ...]],
        free: list[Provider],
        home: Provider,
        first: Provider,
    ) -> Provider | None:
        """A terminating provider in the middle, whose subscriber forwards; it hands the call to a transit provider."""
        if Ingredient.FORWARDING not in side:
            return None
        candidates = [p for p in self.industry.of_role(Role.TERMINATING) if p.forwards and p not in (home, first)]
        if not candidates or len(free) < 2:
            side.discard(Ingredient.FORWARDING)
            return None
        chosen = self.rng.choice(candidates)
        blocks.append((free.pop(), chosen, free.pop()))
        return chosen

    def _connected(self, chain: list[Provider]) -> bool:
        return all(self.industry.trunks_between(a.id, b.id) for a, b in itertools.pairwise(chain))

    def _numbers(
        self, chain: list[Provider], called: E164, translator: Provider | None, forwarder: Provider | None
    ) -> tuple[E164, ...]:
        """What each provider of the chain receives: the number changes at the translator and at the forwarder."""
        received: list[E164] = []
        number = called
        for position, provider in reversed(list(enumerate(chain))):
            last = position == len(chain) - 1
            if provider is forwarder and not last:
                number = self.rng.choice([n for n in self.numbers if self.home[n] is provider])
            elif provider is translator and not last:
                number = self.toll_free.setdefault(number, toll_free(self.rng))
            received.append(number)
        return tuple(reversed(received))

    def _plan(self, start: datetime, recipe: _Recipe, line: Line) -> Plan:
        """Choose trunks and failed attempts, from the far end backwards."""
        rng, chain = self.rng, recipe.chain
        trunks = [self._trunk(recipe, position) for position in range(len(chain) - 1)]
        entry = recipe.entry
        advancing = rng.randrange(len(chain) - 1) if Ingredient.ROUTE_ADVANCE in recipe.side else -1
        ahead: Visit | None = None
        for position in range(len(chain) - 1, -1, -1):
            provider = chain[position]
            arrival = trunks[position - 1] if position else entry
            if ahead is None:
                tries = [Try(self.industry.to_subscribers(provider.id), line)]
            else:
                tries = [Try(trunks[position], ahead)]
            if position == advancing:
                tries = self._failing(recipe, position) + tries
            sent = recipe.numbers[position + 1] if position + 1 < len(chain) else recipe.called
            ahead = self._visit(
                provider,
                arrival,
                tries,
                translate_to=sent if sent != recipe.numbers[position] else None,
                rewrites=position == recipe.rewriting,
                calling=recipe.rewritten,
            )
        if ahead is None:
            raise ValueError("a call needs a provider at least")
        ingredients = set(recipe.side)
        if recipe.plot is not None:
            ingredients.add(recipe.plot)
        if entry.sender.kind is PartyKind.FOREIGN:
            ingredients.add(Ingredient.FOREIGN_GATEWAY)
        if line.code != ANSWERED:
            ingredients.add(Ingredient.UNANSWERED)
        return Plan(start, entry, recipe.numbers[0], recipe.calling, ahead, frozenset(ingredients))

    def _entry(self, first: Provider, plot: Ingredient | None) -> Trunk:
        """The trunk on which a customer, or a foreign carrier, hands the call to the first provider."""
        if plot is Ingredient.FOREIGN_GATEWAY and self.industry.foreign:
            return self.rng.choice(self.industry.trunks_between(self.rng.choice(self.industry.foreign), first.id))
        return self.rng.choice(self.industry.customers(first.id))

    def _trunk(self, recipe: _Recipe, position: int) -> Trunk:
        """The trunk from one provider of the chain to the next: a special one where the plot is about it."""
        sender, receiver = recipe.chain[position].id, recipe.chain[position + 1].id
        special = self.industry.trunks_between(sender, receiver, recipe.plot) if recipe.plot is not None else []
        return special[0] if special else self.industry.trunks_between(sender, receiver)[0]

    def _failing(self, recipe: _Recipe, position: int) -> list[Try]:
        """One or two carriers that are tried in vain before the one that gets through."""
        rng, here, number = self.rng, recipe.chain[position], recipe.numbers[position]
        free = [
            p
            for p in self.transits
            if p not in recipe.chain and not p.late and self.industry.trunks_between(here.id, p.id)
        ]
        rng.shuffle(free)
        made = []
        for carrier in free[: rng.choice((1, 1, 2))]:
            trunk = self.industry.trunks_between(here.id, carrier.id)[0]
            drawn = rng.random()
            if drawn < 0.2:
                made.append(Try(trunk, None))
                continue
            further: list[Try] = []
            if drawn < 0.65:
                # It passes the call on to the very provider that gets it in the end, which has no circuit for it.
                beyond = recipe.chain[-1]
                onward = self.industry.trunks_between(carrier.id, beyond.id)[0]
                further.append(Try(onward, Visit(beyond, onward.receiver.switch)))
            made.append(Try(trunk, self._visit(carrier, trunk, further)))
        del number
        return made

    def _visit(
        self,
        provider: Provider,
        arrival: Trunk,
        tries: list[Try],
        *,
        translate_to: E164 | None = None,
        rewrites: bool = False,
        calling: E164 | None = None,
    ) -> Visit:
        """A visit at the switch where the trunk ends; what leaves from another switch goes over an internal trunk."""
        here = arrival.receiver.switch
        inside = []
        for attempt in tries:
            there = attempt.trunk.sender.switch
            if there == here:
                inside.append(attempt)
            else:
                crossing = self.industry.internal(provider.id, here, there)
                inside.append(Try(crossing, Visit(provider, there, (attempt,))))
        return Visit(provider, here, tuple(inside), translate_to, rewrites, calling)


def _seconds(rng: Random, low: float, high: float) -> timedelta:
    return timedelta(milliseconds=round(rng.uniform(low, high) * 1000))
