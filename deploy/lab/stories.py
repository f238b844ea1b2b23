"""The demonstration's stories: which calls of a lab to trace, what happened to each, and what it shows. Pure.

A story is told from the truth, so that a newcomer knows beforehand what the tracing has to find out; the tracing itself
knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.lab.ingredients import Ingredient
from deploy.lab.traffic import Ride, Traffic
from deploy.lab.truth import Truth

_EVERYWHERE = frozenset(
    {
        Ingredient.LOCAL_TIME.value,
        Ingredient.CLOCK_SKEW.value,
        Ingredient.NUMBER_FORMATS.value,
        Ingredient.SEVERAL_ROWS.value,
        Ingredient.SEVERAL_SWITCHES.value,
    }
)
"""What lies in the switches and trunks rather than in the call; every story has some of it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of story: what a call needs for it, how long its path is, its title and its moral."""

    title: str
    needs: frozenset[str]
    lengths: range
    tell: Callable[[Truth, Ride], str]
    moral: str
    alike: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """One call to trace, with what to say about it before and after."""

    title: str
    happened: str
    moral: str
    truth: Truth


def _way(truth: Truth) -> str:
    return " → ".join(hop.provider for hop in reversed(truth.hops))


def _ordinary(truth: Truth, ride: Ride) -> str:
    del ride
    return (
        f"A customer of {truth.hops[-1].provider} placed a robocall. It went {_way(truth)} to the phone that rang. "
        f"The caller ID it showed was made up."
    )


def _toll_free(truth: Truth, ride: Ride) -> str:
    change = next(p for p in ride.way if p.last and p.last.called != p.called)
    return (
        f"The robocaller dialled the toll-free number {change.called}; on the way, {change.provider} translated it to "
        f"the line it stands for, {change.last.called if change.last else ''}. Before that provider nobody ever saw "
        f"the line's number, after it nobody the toll-free one. ({_way(truth)})"
    )


def _advanced(truth: Truth, ride: Ride) -> str:
    passage = next(p for p in ride.way if len(p.attempts) > 1)
    failed = [a.trunk.receiver.name for a in passage.attempts[:-1]]
    got_through = passage.attempts[-1].trunk.receiver.name
    return (
        f"{passage.provider} offered the call to {', then to '.join(failed)}, in vain, and got it through over "
        f"{got_through}. The failed tries left records too. ({_way(truth)})"
    )


def _foreign(truth: Truth, ride: Ride) -> str:
    del ride
    return (
        f"The call came from abroad: the foreign carrier {truth.hops[-1].upstream} handed it to "
        f"{truth.hops[-1].provider}, the first provider in this country. ({_way(truth)})"
    )


def _alike(truth: Truth, ride: Ride) -> str:
    del ride
    return (
        "Two robocalls rang this phone within the same second, with the same caller ID, over different providers. "
        f"This one came {_way(truth)}; nothing in the records tells it from the other."
    )


def _misled(truth: Truth, ride: Ride) -> str:
    del ride
    true = next(hop.upstream for hop in truth.hops if hop.provider == truth.misled)
    return (
        f"{truth.misled} has a mistake in its own trunk map: for this trunk it names {truth.ending.provider}, though "
        f"the call came from {true}. ({_way(truth)})"
    )


def _no_agent(truth: Truth, ride: Ride) -> str:
    del ride
    return f"One provider on the way, {truth.ending.provider}, has not installed an agent yet. ({_way(truth)})"


KINDS = (
    Kind(
        "An ordinary robocall",
        frozenset(),
        range(4, 6),
        _ordinary,
        "Each provider said only who handed the call to it. Together that is the way back to the source.",
    ),
    Kind(
        "A call to a toll-free number",
        frozenset({Ingredient.TOLL_FREE.value}),
        range(4, 6),
        _toll_free,
        "Where the number changed, the answer carried the number to ask for next: else the trail would end there.",
    ),
    Kind(
        "A call that did not get through at once",
        frozenset({Ingredient.ROUTE_ADVANCE.value}),
        range(3, 6),
        _advanced,
        "Each agent answers for the way that led to the provider which asked; failed tries lead nobody astray.",
    ),
    Kind(
        "A call from abroad",
        frozenset({Ingredient.FOREIGN_GATEWAY.value}),
        range(3, 6),
        _foreign,
        "The gateway provider let it into the country; beyond it no agent can be asked.",
    ),
    Kind(
        "Two calls that nothing tells apart",
        frozenset({Ingredient.INDISTINGUISHABLE.value}),
        range(2, 6),
        _alike,
        "A guess would accuse somebody who may have nothing to do with it. So the agent names nobody, and says why.",
        alike=True,
    ),
    Kind(
        "A provider that names the wrong one",
        frozenset({Ingredient.NAMED_BY_MISTAKE.value}),
        range(3, 6),
        _misled,
        "The one that was named looked, and denied it. Nobody is accused on one party's word: both answers are kept.",
    ),
    Kind(
        "A provider without an agent",
        frozenset({Ingredient.NO_AGENT.value}),
        range(3, 6),
        _no_agent,
        "Half-deployed is normal: the chain waits here for a person at that provider.",
    ),
)


def choose(truths: Sequence[Truth], traffic: Traffic) -> list[Story]:
    """One call for every kind that the lab has: the plainest of its kind, so that one thing is shown at a time."""
    rides = {ride.call: ride for ride in traffic.rides}
    told = []
    for kind in KINDS:
        fitting = [truth for truth in truths if _fits(truth, kind)]
        if fitting:
            plainest = min(fitting, key=lambda t: (t.calling is None, -_wait(rides[t.call]), t.call))
            told.append(Story(kind.title, kind.tell(plainest, rides[plainest.call]), kind.moral, plainest))
    return told


def _wait(ride: Ride) -> int:
    """Seconds that failed tries cost before the phone rang: the more, the more there is to see."""
    return int((ride.rang_at - ride.way[0].seized).total_seconds())


def _fits(truth: Truth, kind: Kind) -> bool:
    special = set(truth.ingredients) - _EVERYWHERE
    if special != kind.needs or len(truth.hops) not in kind.lengths:
        return False
    return bool(truth.also) == kind.alike
