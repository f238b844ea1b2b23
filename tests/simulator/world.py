"""The industry that is simulated: providers with their habits, calls with their true paths. Seeded, pure.

Numbers are fictitious. A path leads from the terminating provider upstream to the originator, or to the gateway.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from random import Random
from typing import Protocol

from coordinator.tracing.priorities import Priority
from protos.e164 import E164, parse_e164
from protos.identity import ProviderId, parse_provider_id
from tests.simulator.loop import BEGIN


class Habit(enum.Enum):
    """How a provider's agent behaves."""

    HONEST = "honest"
    SLOW = "slow"
    OVERLOADED = "overloaded"
    LATE = "late"  # records come hours later
    FLAPPING = "flapping"  # down now and then
    SILENT = "silent"
    NO_AGENT = "no agent"
    HOLDS = "holds"  # its people release every answer
    NAMES_AN_INNOCENT = "names an innocent"
    DENIES = "denies"
    CLAIMS_ORIGIN = "claims origin"
    NAMES_ITSELF = "names itself"
    LOOPS = "loops"  # names a provider that was asked before


LIARS = frozenset(
    {Habit.NAMES_AN_INNOCENT, Habit.DENIES, Habit.CLAIMS_ORIGIN, Habit.NAMES_ITSELF, Habit.LOOPS},
)
BY_PEOPLE = frozenset({Habit.NO_AGENT, Habit.HOLDS})
ABROAD = ProviderId("carrier-abroad")


class Manner(enum.Enum):
    """How a provider's people answer, where no agent does it for them."""

    PROMPT = "prompt"
    REMINDED = "reminded"  # by a letter that isn't the first
    LATE = "late"  # when the chain has given the provider up
    TYPES_A_NAME = "types a name"  # wrongly, and an operator finds out who is meant
    BLUNDERS = "blunders"  # hands in what is no answer, then one
    TWICE = "twice"  # answers, and then again
    MISTAKEN = "mistaken"  # names an innocent, until asked again
    REFUSES = "refuses"
    NEVER = "never"


TRUTHFUL = frozenset(
    {Manner.PROMPT, Manner.REMINDED, Manner.LATE, Manner.TYPES_A_NAME, Manner.BLUNDERS, Manner.TWICE},
)


@dataclass(frozen=True, slots=True)
class Party:
    """A provider, its habit, its people's manner; `records_from` is when a late one has its records."""

    id: ProviderId
    habit: Habit
    records_from: datetime = BEGIN
    manner: Manner = Manner.PROMPT
    zone: str = "America/New_York"

    @property
    def tells_the_truth(self) -> bool:
        """Whether it does, sooner or later, if it can be reached."""
        if self.habit in BY_PEOPLE:
            return self.manner in TRUTHFUL
        return self.habit not in LIARS and self.habit is not Habit.SILENT


@dataclass(frozen=True, slots=True)
class Passage:
    """A call and its true path, terminating provider first.

    `waited` is for how long it has been waiting when the run begins; `ordered` says that it is traced under an order.
    """

    called: E164
    at: datetime
    path: tuple[ProviderId, ...]
    from_abroad: bool
    priority: Priority = Priority.REST
    waited: timedelta = timedelta(0)
    ordered: bool = False

    def upstream_of(self, position: int) -> ProviderId | None:
        """Who handed the call to the provider at `position`; None where it came from a customer or from abroad."""
        return self.path[position + 1] if position + 1 < len(self.path) else None


@dataclass(frozen=True)
class World:
    """Who is there and what happened."""

    seed: int
    parties: Mapping[ProviderId, Party]
    passages: tuple[Passage, ...]
    by_number: Mapping[E164, tuple[Passage, ...]] = field(repr=False)
    names: tuple[ProviderId, ...] = field(repr=False)
    lost: frozenset[Passage] = frozenset()
    """Calls of which the second provider has lost its record; the first one tells them from others."""

    def tells_apart(self, provider: ProviderId, called: E164) -> bool:
        """Whether the provider's clock is good enough to tell these calls apart, whatever the others' are."""
        return any(one.called == called and one.path[0] == provider for one in self.lost)

    def passages_of(self, called: E164, at: datetime, window: timedelta) -> list[Passage]:
        """The calls to a number within a window."""
        return [one for one in self.by_number.get(called, ()) if abs(one.at - at) <= window]

    def records_of(self, provider: ProviderId, asked: Asked) -> list[tuple[Passage, int]]:
        """What a provider's records show of such a call: the passages, and its place in each path."""
        found = []
        for passage in self.passages_of(asked.called, asked.at, asked.window):
            for position, name in enumerate(passage.path):
                downstream = passage.path[position - 1] if position else None
                is_lost = position == 1 and passage in self.lost
                if name == provider and downstream == asked.named_by and not is_lost:
                    found.append((passage, position))
        return found

    def innocent(self, passage: Passage, provider: ProviderId) -> ProviderId | None:
        """Somebody who had no part in the call; None where all had."""
        first = Lot(self.seed, passage.called, provider).below(len(self.names))
        everybody = (self.names[(first + more) % len(self.names)] for more in range(len(self.names)))
        return next((name for name in everybody if name not in passage.path), None)


class Asked(Protocol):
    """A question, whether to an agent or to a person."""

    @property
    def called(self) -> E164: ...
    @property
    def at(self) -> datetime: ...
    @property
    def window(self) -> timedelta: ...
    @property
    def named_by(self) -> ProviderId | None: ...


class Lot:
    """Chance that hangs on nothing but what it is drawn for, up to eight draws; cheaper than `random.Random`."""

    __slots__ = ("_at", "_drawn")

    def __init__(self, *of: object) -> None:
        self._drawn = blake2b(" ".join(map(str, of)).encode(), digest_size=64).digest()
        self._at = 0

    def random(self) -> float:
        """Between 0 and 1."""
        self._at += 8
        return int.from_bytes(self._drawn[self._at - 8 : self._at], "big") / (1 << 64)

    def between(self, low: float, high: float) -> float:
        """Evenly between these."""
        return low + (high - low) * self.random()

    def exponential(self, mean: float) -> float:
        """Mostly short, at times long."""
        return -mean * math.log(1 - self.random())

    def below(self, count: int) -> int:
        """A whole number from 0."""
        return int(self.random() * count)


@dataclass(frozen=True, slots=True)
class Mix:
    """How many of each kind there are, in parts of a thousand providers; the rest is honest.

    `ordered` is the share of calls that are traced under an order, by signed questions and answers.
    """

    of: dict[Habit, int]
    ordered: float = 0.25


PEACEFUL = Mix({})
USUAL = Mix(
    {
        Habit.SLOW: 60,
        Habit.OVERLOADED: 40,
        Habit.LATE: 30,
        Habit.FLAPPING: 60,
        Habit.SILENT: 30,
        Habit.NO_AGENT: 40,
        Habit.HOLDS: 20,
        Habit.NAMES_AN_INNOCENT: 15,
        Habit.DENIES: 15,
        Habit.CLAIMS_ORIGIN: 15,
        Habit.NAMES_ITSELF: 10,
        Habit.LOOPS: 15,
    }
)

AGENTS = Mix({habit: few for habit, few in USUAL.of.items() if habit not in BY_PEOPLE})
"""Nobody is asked by hand."""

VAST = Mix(USUAL.of | {Habit.NO_AGENT: 8, Habit.HOLDS: 4}, ordered=0.05)
"""For a great many calls: a person's answer takes ten times as long to simulate as an agent's."""

MANNERS = (*Manner, Manner.PROMPT, Manner.PROMPT, Manner.LATE)
ZONES = ("America/New_York", "America/Chicago", "America/Los_Angeles", "Pacific/Guam")


def draw(seed: int, providers: int, calls: int, mix: Mix = USUAL, twins: int = 0, lost: int = 0) -> World:
    """An industry of so many providers, and so many calls through it; and as many twins as there are to be.

    Of so many of the twins the provider before they part has lost one of its two records.

    Twins are two calls of a campaign to one number within seconds, which part only behind the second provider.
    """
    chance = Random(f"industry {seed}")
    habits = [habit for habit, parts in mix.of.items() for _ in range(round(parts * providers / 1000))]
    # Small industries have some of the rarer kinds, too: by chance, not all of them.
    habits += [habit for habit in mix.of if chance.random() < 0.15]
    habits = habits[:providers] + [Habit.HONEST] * max(0, providers - len(habits))
    chance.shuffle(habits)
    parties = {}
    for number, habit in enumerate(habits):
        name = parse_provider_id(f"tel-{number:04d}")
        late = timedelta(minutes=chance.randrange(10, 90)) if habit is Habit.LATE else timedelta(0)
        parties[name] = Party(name, habit, BEGIN + late, chance.choice(MANNERS), chance.choice(ZONES))
    names = list(parties)
    passages = [_passage(chance, names, number, mix.ordered) for number in range(calls)]
    apart = Random(f"twins {seed}")  # of its own, so that the other calls stay what they are
    pairs = [tuple(_twins(apart, names, number)) for number in range(twins)]
    passages += [one for pair in pairs for one in pair]
    gone = frozenset(apart.choice(pair) for pair in pairs[:lost])
    by_number: dict[E164, list[Passage]] = {}
    for passage in passages:
        by_number.setdefault(passage.called, []).append(passage)
    sorted_out = {called: tuple(some) for called, some in by_number.items()}
    return World(seed, parties, tuple(passages), sorted_out, tuple(names), gone)


def _twins(chance: Random, names: list[ProviderId], number: int) -> Iterator[Passage]:
    path = chance.sample(names, 2)
    rest = [name for name in names if name not in path]
    first, second = chance.sample(rest, 2)
    at = BEGIN - timedelta(hours=30) + timedelta(minutes=number)
    for upstream, seconds in ((first, 0), (second, chance.randrange(2, 10))):
        beyond = chance.sample([name for name in rest if name != upstream], chance.randrange(0, 3))
        yield Passage(
            called=parse_e164(f"+1{3030000000 + number:010d}"),
            at=at + timedelta(seconds=seconds),
            path=(*path, upstream, *beyond),
            from_abroad=chance.random() < 0.25,
            priority=chance.choice(tuple(Priority)),
            waited=timedelta(seconds=chance.randrange(600)),
            ordered=True,
        )


def _passage(chance: Random, names: list[ProviderId], number: int, ordered: float) -> Passage:
    length = min(chance.choice((1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 9, 12)), len(names))
    path = chance.sample(names, length)
    if length >= 3 and chance.random() < 0.08:  # a second visit: the call crosses a provider again, over another one
        path.insert(chance.randrange(2, length), path[0])
    # Some numbers are called several times, minutes apart: other calls, other paths.
    slot = number // 2 if chance.random() < 0.2 else number
    called = parse_e164(f"+1{2020000000 + slot * 7919 % 7_000_000:010d}")
    at = BEGIN - timedelta(hours=20) + timedelta(seconds=number % 50_000, minutes=10 * (number % 2))
    return Passage(
        called=called,
        at=at,
        path=tuple(path),
        from_abroad=chance.random() < 0.25,
        priority=chance.choice(tuple(Priority)),
        waited=timedelta(seconds=chance.randrange(600)),
        ordered=chance.random() < ordered,
    )
