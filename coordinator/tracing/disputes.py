"""Where signed words contradict each other: what every result says beside its status.

A dispute accuses nobody; it says whose words can't all be true. These are the contradictions that a chain can show:

- a provider says that the call came from another, and that one has no such call, did not hand it over, or has no trunk
  to it at all;
- a provider names itself, or the answers go in a circle;
- a provider claims to be the source of the call, although it is registered as one that is never a source;
- a provider gives one record for two calls that its neighbour tells apart (`coordinator.tracing.contests`);
- the person who submitted the order certifies that a provider delivered the call, and that provider's complete records
  don't have it.

Where one provider denies what another said, the chain forks: the one that named it is asked once more, and both
branches stay, with every signed answer (`forks`). The second answer may settle it, since records come late and trunk
maps are put right; that it was asked twice accuses nobody.

What no chain can show: a provider that may originate calls, and claims a call as its own customer's that it was handed.
Nobody but the one that handed it over could contradict, and that one was not named, so that it is never asked. Whoever
lies in this way accuses itself. Nor can it show what neighbours say who agreed on it beforehand: one names the other,
the other confirms. They can lead the chain to one of themselves or let it end among themselves, never to somebody who
is no part of it: nobody is shown as the source but by its own signed word. docs/threat-model.md says more. And a
provider that may bring in calls from abroad can say so of one that its own customer placed.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import Final

from coordinator.tracing.chain import Phase, Status, Traceback, denies, is_contested, is_second_look, places
from protos.types import Handover, Outcome

THE_ORDER: Final = "the order"
THE_REGISTRY: Final = "the registry"


@dataclass(frozen=True, slots=True)
class Dispute:
    """Whose words can't all be true, and in which way; `position` is the hop at which it showed."""

    position: int
    between: tuple[str, ...]
    what: str


class Settled(enum.Enum):
    """What became of a fork. Values are stable: they are shown in JSON."""

    OPEN = "open"
    STANDS = "stands"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Fork:
    """Where a denial split the chain; all are positions among the hops.

    Attributes:
        place: the place in the call path of the provider that was asked twice, from 0.
        named: its first answer.
        denied: the provider that it named and that denies it.
        again: its second answer.
        settled: whether that names another than before (or nobody any more), or the dispute stands.
    """

    place: int
    named: int
    denied: int
    again: int
    settled: Settled


def forks(traceback: Traceback) -> tuple[Fork, ...]:
    """Where the chain forked, in the order in which it did."""
    hops, every = traceback.hops, places(traceback.hops)
    made = []
    for again in range(2, len(hops)):
        if not is_second_look(hops, again):
            continue
        denied, place = again - 1, every[again]
        named = max(position for position in range(denied) if every[position] == place)
        made.append(Fork(place, named, denied, again, _settled(traceback, named, again)))
    return tuple(made)


def _settled(traceback: Traceback, named: int, again: int) -> Settled:
    before, after = traceback.hops[named].answer, traceback.hops[again].answer
    nothing_yet = Settled.STANDS if traceback.status.phase is Phase.CLOSED else Settled.OPEN
    if before is None or after is None:
        return nothing_yet
    if again == len(traceback.hops) - 1:
        if traceback.status.phase is Phase.CLOSED and traceback.status is not Status.DISPUTED:
            return Settled.CHANGED
        return nothing_yet
    if (before.upstream, before.ask_called) != (after.upstream, after.ask_called):
        return Settled.CHANGED
    following = traceback.hops[again + 1]
    if following.answer is None:
        return nothing_yet
    return Settled.STANDS if denies(following.question, following.answer) else Settled.CHANGED


def disputes(traceback: Traceback) -> tuple[Dispute, ...]:
    """The contradictions in what was said so far, and that nothing has settled."""
    if not traceback.hops:
        return ()
    position = len(traceback.hops) - 1
    if traceback.status is Status.DISPUTED and is_second_look(traceback.hops, position):
        asked_again = traceback.hops[position]
        if not (asked_again.answer is not None and asked_again.detail):
            position -= 1  # the second look has not settled it
    hop = traceback.hops[position]
    provider, named_by, answer = str(hop.provider), hop.question.named_by, hop.answer
    if traceback.status is Status.DISPUTED and answer is not None:
        if answer.upstream == answer.provider:
            return (Dispute(position, (provider,), f"{provider} names itself as its upstream"),)
        if named_by is None or hop.detail:
            return (Dispute(position, (provider, THE_REGISTRY), f"{provider} {hop.detail}"),)
        denial = "finds no such call in its complete records"
        if answer.outcome is Outcome.REFUSED:
            denial = f"has no trunk to {named_by}"
        elif answer.handover is Handover.NOT_MINE:
            denial = "denies having handed it over"
        return (Dispute(position, (str(named_by), provider), f"{named_by} names {provider}, which {denial}"),)
    if is_contested(traceback):
        what = f"{provider} says where the call came from, and what else was signed contradicts it"
        return (Dispute(position, (str(named_by), provider), what),)
    if traceback.status is Status.LOOP and answer is not None:
        return (Dispute(position, (provider, str(answer.upstream)), "the answers go in a circle"),)
    if traceback.status is Status.NOT_FOUND and traceback.call.order_sha256 is not None:
        what = f"the order certifies that {provider} delivered the call, whose complete records don't have it"
        return (Dispute(position, (THE_ORDER, provider), what),)
    return ()


def hop_labels(traceback: Traceback) -> list[str]:
    """What each hop is called: its place from 1, with a letter where the chain forks or it was asked again."""
    every = places(traceback.hops)
    branched = {fork.place for fork in forks(traceback)} | {fork.place + 1 for fork in forks(traceback)}
    branched |= {place for place, times in Counter(every).items() if times > 1}
    seen: Counter[int] = Counter()
    labels = []
    for place in every:
        labels.append(f"{place + 1}{chr(ord('a') + seen[place]) if place in branched else ''}")
        seen[place] += 1
    return labels
