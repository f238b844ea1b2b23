"""What came of asking a provider again, in plain words: where the chain forked, and where sister calls were left out.

Pure, and free of telephone numbers. Nobody is accused on one party's word: where both keep to what they said, the
sentence says that the dispute stands.
"""

from __future__ import annotations

from coordinator.tracing.chain import Hop, Phase, Traceback, denies, is_contested, places
from coordinator.tracing.disputes import Fork, Settled, forks
from coordinator.tracing.elimination import sisters_named
from protos.types import Outcome


def explain_forks(traceback: Traceback) -> tuple[str, ...]:
    """A sentence on each fork of the chain, in the order in which it forked."""
    return tuple(_fork(traceback, fork) for fork in forks(traceback))


def _fork(traceback: Traceback, fork: Fork) -> str:
    named, denied, again = (traceback.hops[position] for position in (fork.named, fork.denied, fork.again))
    begun = f"At hop {fork.place + 1} the chain forks: {named.provider} named {denied.provider}, which denies it"
    if fork.settled is Settled.OPEN:
        return f"{begun}; both are asked once more."
    answer = again.answer
    if answer is None:
        return f"{begun}; asked once more, {named.provider} gave no answer, and the dispute stands."
    if answer.upstream is not None and answer.upstream == denied.provider:
        if fork.settled is Settled.CHANGED:
            return f"{begun}; asked once more, {named.provider} named it again, and {denied.provider} now agrees."
        return f"{begun}; asked once more, both keep to what they said, and the dispute stands."
    if fork.settled is Settled.STANDS:
        return f"{begun}; asked once more, {named.provider} names nobody else, and the dispute stands."
    said = f"names {answer.upstream}" if answer.upstream is not None else "names nobody"
    return f"{begun}; asked once more, {named.provider} {said} now, and the chain goes on from there."


def explain_sisters(traceback: Traceback) -> tuple[str, ...]:
    """A sentence on each hop that was asked again without sister calls, in the order of asking."""
    hops = zip(traceback.hops, places(traceback.hops), strict=True)
    return tuple(_without(hop, place) for hop, place in hops if sisters_named(hop.question) and hop.contest is None)


def _without(hop: Hop, place: int) -> str:
    others = ", ".join(str(sister)[:8] for sister in sisters_named(hop.question))
    begun = f"At hop {place + 1} {hop.provider} found several calls; asked again without {others}"
    answer = hop.answer
    if answer is not None and not denies(hop.question, answer):
        if answer.upstream is not None:
            return f"{begun}, which are certainly others, it names {answer.upstream}."
        if answer.outcome is Outcome.ORIGINATED_HERE:
            return f"{begun}, which are certainly others, it says that its own customer placed the call."
    return f"{begun}, it tells nothing more."


def explain_contests(traceback: Traceback) -> tuple[str, ...]:
    """A sentence on each hop that was contested, in the order in which it was; which call did that, none says."""
    hops = zip(traceback.hops, places(traceback.hops), strict=True)
    return tuple(_contest(traceback, hop, place) for hop, place in hops if hop.contest is not None)


def _contest(traceback: Traceback, hop: Hop, place: int) -> str:
    begun = f"At hop {place + 1} the answer of {hop.provider} is contested: {against(hop)}"
    if hop is not traceback.hops[-1]:
        return f"{begun}; it was asked once more, and the chain goes on from its later answer."
    if traceback.status.phase is not Phase.CLOSED:
        return f"{begun}; it is asked once more."
    if is_contested(traceback):
        return f"{begun}. What was found further up is kept, and not claimed."
    return f"{begun}; it was asked once more."


def against(hop: Hop) -> str:
    """What contradicts the answer of a hop that is contested, as far as it may be told."""
    if hop.contest is None or hop.contest.shown is None:
        return "something else that was signed contradicts it, and is not for this order to show"
    return f"one record was given for two calls that {hop.question.named_by} tells apart"
