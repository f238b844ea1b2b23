"""The industry that is simulated: providers with their habits, calls with their true paths. Seeded, pure.

Numbers are fictitious. A path leads from the terminating provider upstream to the originator, or to the gateway.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

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
    NAMES_AN_INNOCENT = "names an innocent"
    DENIES = "denies"
    CLAIMS_ORIGIN = "claims origin"
    NAMES_ITSELF = "names itself"
    LOOPS = "loops"  # names a provider that was asked before


LIARS = frozenset(
    {Habit.NAMES_AN_INNOCENT, Habit.DENIES, Habit.CLAIMS_ORIGIN, Habit.NAMES_ITSELF, Habit.LOOPS},
)
MUTE = frozenset({Habit.SILENT, Habit.NO_AGENT})


@dataclass(frozen=True, slots=True)
class Party:
    """A provider and its habit; `records_from` is when a late one has its records."""

    id: ProviderId
    habit: Habit
    records_from: datetime = BEGIN


@dataclass(frozen=True, slots=True)
class Passage:
    """A call and its true path, terminating provider first."""

    called: E164
    at: datetime
    path: tuple[ProviderId, ...]
    from_abroad: bool


@dataclass(frozen=True)
class World:
    """Who is there and what happened."""

    seed: int
    parties: Mapping[ProviderId, Party]
    passages: tuple[Passage, ...]
    by_number: Mapping[E164, tuple[Passage, ...]] = field(repr=False)

    def passages_of(self, called: E164, at: datetime, window: timedelta) -> list[Passage]:
        """The calls to a number within a window."""
        return [one for one in self.by_number.get(called, ()) if abs(one.at - at) <= window]


@dataclass(frozen=True, slots=True)
class Mix:
    """How many of each kind there are, in parts of a thousand providers; the rest is honest."""

    of: Mapping[Habit, int]


PEACEFUL = Mix({})
USUAL = Mix(
    {
        Habit.SLOW: 60,
        Habit.OVERLOADED: 40,
        Habit.LATE: 30,
        Habit.FLAPPING: 60,
        Habit.SILENT: 30,
        Habit.NO_AGENT: 40,
        Habit.NAMES_AN_INNOCENT: 15,
        Habit.DENIES: 15,
        Habit.CLAIMS_ORIGIN: 15,
        Habit.NAMES_ITSELF: 10,
        Habit.LOOPS: 15,
    }
)


def draw(seed: int, providers: int, calls: int, mix: Mix = USUAL) -> World:
    """An industry of so many providers, and so many calls through it."""
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
        parties[name] = Party(name, habit, BEGIN + late)
    names = list(parties)
    passages = [_passage(chance, names, number) for number in range(calls)]
    by_number: dict[E164, list[Passage]] = {}
    for passage in passages:
        by_number.setdefault(passage.called, []).append(passage)
    return World(seed, parties, tuple(passages), {called: tuple(some) for called, some in by_number.items()})


def _passage(chance: Random, names: list[ProviderId], number: int) -> Passage:
    length = min(chance.choice((1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 9, 12)), len(names))
    path = chance.sample(names, length)
    if length >= 3 and chance.random() < 0.08:  # a second visit: the call crosses a provider again, over another one
        path.insert(chance.randrange(2, length), path[0])
    # Some numbers are called several times, minutes apart: other calls, other paths.
    slot = number // 2 if chance.random() < 0.2 else number
    called = parse_e164(f"+1{2020000000 + slot * 7919 % 7_000_000:010d}")
    at = BEGIN - timedelta(hours=20) + timedelta(seconds=number % 50_000, minutes=10 * (number % 2))
    return Passage(called, at, tuple(path), chance.random() < 0.25)
