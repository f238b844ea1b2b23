"""Where a traceback stands, in plain words: what it means, and what to do next.

Pure, and free of telephone numbers. One entry for every status; the next step names a provider or a command wherever
there is one. "Not found" is never said of a provider that was named: that is a dispute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from coordinator.present.explain_again import against
from coordinator.present.refusals import refusal_in_words
from coordinator.tracing.chain import Hop, Problem, Status, Traceback, eliminates, is_contested, is_second_look
from coordinator.tracing.disputes import forks
from protos.identity import ProviderId
from protos.types import Handover, Outcome, RefusalReason

TITLES: Mapping[Status, str] = {
    Status.SUBMITTED: "submitted",
    Status.ASKING: "asking",
    Status.RETRYING: "trying again",
    Status.NOT_YET_AVAILABLE: "records not in yet",
    Status.AWAITING_PERSON: "waiting for a person",
    Status.ORIGIN_FOUND: "origin found",
    Status.GATEWAY_FOUND: "gateway found",
    Status.NOT_FOUND: "not found",
    Status.RECORDS_EXPIRED: "records expired",
    Status.AMBIGUOUS: "ambiguous",
    Status.UNMAPPED: "unmapped",
    Status.DISPUTED: "disputed",
    Status.NO_AGENT: "no agent",
    Status.NEEDS_HUMAN: "needs a person",
    Status.REFUSED: "refused",
    Status.LOOP: "loop",
    Status.HOP_LIMIT: "hop limit",
    Status.NON_RESPONSIVE: "non-responsive",
    Status.BAD_ANSWER: "bad answer",
    Status.ORDER_EXPIRED: "order expired",
    Status.WINDOW_SPENT: "window spent",
    Status.CANCELLED: "cancelled",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One sentence on what the status means, one on what to do next."""

    title: str
    means: str
    next: str


def explain(traceback: Traceback) -> Explanation:
    """The status of `traceback` in words."""
    means, following = _WORDS[traceback.status](traceback)
    return Explanation(TITLES[traceback.status], means, following)


_Words = tuple[str, str]


def _last(traceback: Traceback) -> Hop:
    return traceback.hops[-1]


def _command(traceback: Traceback, name: str) -> str:
    return f"`hopback-coordinator {name} {str(traceback.id)[:8]}`"


def _submitted(traceback: Traceback) -> _Words:
    return "Nobody has been asked yet.", f"Start it with {_command(traceback, 'resume')}."


def _asking(traceback: Traceback) -> _Words:
    return (
        f"{_last(traceback).provider} is being asked.",
        f"Wait; if the coordinator was stopped, go on with {_command(traceback, 'resume')}.",
    )


def _retrying(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    return (
        f"{hop.provider} has not answered{_since(hop)} ({hop.detail or _how(hop)}); it will be asked again.",
        "`run` and `serve` ask by themselves, and at once when it is back; without them, go on with "
        f"{_command(traceback, 'resume')}.",
    )


def _since(hop: Hop) -> str:
    return f" since {hop.silent_since:%Y-%m-%d %H:%M:%S} UTC" if hop.silent_since else ""


def _not_yet_available(traceback: Traceback) -> _Words:
    due = f" from {traceback.due:%Y-%m-%d %H:%M:%S} UTC on" if traceback.due else ""
    return (
        f"{_last(traceback).provider} does not have its records of that time yet.",
        f"Go on with {_command(traceback, 'resume')}{due}.",
    )


def _awaiting_person(traceback: Traceback) -> _Words:
    due = f"; the answer is due at {traceback.due:%Y-%m-%d %H:%M} UTC" if traceback.due else ""
    denied = _denied(traceback)
    hop = _last(traceback)
    if hop.answer is not None and hop.answer.outcome is Outcome.NEEDS_HUMAN:
        return (
            f"The agent of {hop.provider} holds the answer for its own people, and a task asks them{due}.",
            "Wait: `run` and `serve` ask it again now and then. When they have let the answer go, "
            f"{_command(traceback, 'retry')} asks at once.",
        )
    why = f"once more, because {denied} denies the handover" if denied else "because no agent answers there"
    return (
        f"A person at {hop.provider} is asked{'' if denied else ','} {why}{due}.",
        "Wait; `hopback-coordinator tasks list` shows the clock, and whether an answer is to be matched or attested. "
        f"If it has an agent meanwhile, {_command(traceback, 'retry')}.",
    )


def _denied(traceback: Traceback) -> ProviderId | None:
    """Whom the last provider had named, where it is asked once more because that one denies it."""
    last = len(traceback.hops) - 1
    return traceback.hops[last - 1].provider if is_second_look(traceback.hops, last) else None


def _origin_found(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    provider, named_by = hop.provider, hop.question.named_by
    confirmed = ""
    if named_by and hop.answer is not None and hop.answer.handover is Handover.CONFIRMED:
        confirmed = f" {named_by} and {provider} agree that {provider} handed it over;"
    elif named_by:
        confirmed = f" {named_by} says that {provider} handed it over, {provider} says nothing of that;"
    return (
        f"A customer of {provider} placed the call: {provider} says so itself, and is the originating provider."
        f"{confirmed} that nobody handed it to {provider} rests on its own word.",
        f"Ask {provider} who the customer is; the identity never travels in a traceback.",
    )


def _gateway_found(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    foreign = hop.answer.upstream if hop.answer else None
    return (
        f"The call entered the country at {hop.provider}, the gateway provider, from the foreign carrier {foreign}.",
        f"Hold {hop.provider} to its duties as gateway; tracing abroad takes an agreement with {foreign}.",
    )


def _not_found(traceback: Traceback) -> _Words:
    provider = _last(traceback).provider
    ordered = traceback.call.order_sha256 is not None
    against = f" The order certifies that {provider} delivered it: one of the two is wrong." if ordered else ""
    return (
        f"{provider} has complete records of that time, and this call is not in them.{against}",
        f"Check called number, date, time and zone, and that {provider} really delivered the call; then trace it anew.",
    )


def _records_expired(traceback: Traceback) -> _Words:
    provider = _last(traceback).provider
    return (
        f"The call is older than {provider} keeps its records.",
        "Nothing brings these back: trace a younger call of the same campaign.",
    )


def _ambiguous(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    provider = hop.provider
    if is_contested(traceback):
        asked = "" if hop.problem is Problem.CONTESTED else ", also when asked once more"
        return (
            f"The upstream that {provider} named is not certain: {against(hop)}{asked}. One of its records may be "
            "missing; nobody is accused, and what was found further up is kept, but not claimed.",
            f"Ask {provider} to look whether its records of that time are complete, then "
            f"{_command(traceback, 'retry')}; where its answers agree again, the chain goes on by itself.",
        )
    still = " That is so without the sister calls, too." if eliminates(hop.question) else ""
    return (
        f"Several calls in the records of {provider} fit and came from different providers; it named none of them."
        + still,
        "Trace it anew with a more exact time or the calling number, or trace other calls of the same campaign to this "
        "number: what they settle is asked again by itself.",
    )


def _unmapped(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    provider = hop.provider
    if hop.answer is not None and hop.answer.outcome is Outcome.NOT_RECORDED:
        return (
            f"{provider} has the call, but its records don't say from which provider: the upstream is not recorded.",
            f"Ask {provider} to look in another switch's records and to index those, then "
            f"{_command(traceback, 'retry')}.",
        )
    return (
        f"{provider} has the call, but can't say from which provider: the trunk is not in its map.",
        f"Ask {provider} to complete its trunk map, then {_command(traceback, 'retry')}.",
    )


def _disputed(traceback: Traceback) -> _Words:
    hop, last = _last(traceback), len(traceback.hops) - 1
    looked = [fork for fork in forks(traceback) if last in (fork.again, fork.again + 1)]
    if looked and looked[0].again == last and not (hop.answer is not None and hop.detail):
        hop = traceback.hops[looked[0].denied]  # the second look has not settled it
    named_by, provider = hop.question.named_by, hop.provider
    if hop.detail:  # it contradicts itself, or what it is registered as
        return (
            f"{provider} {hop.detail}. Nobody is accused on one party's word: the answer is kept.",
            f"Ask {provider} to look at this call by hand, then {_command(traceback, 'retry')}.",
        )
    if hop.answer is not None and hop.answer.outcome is Outcome.REFUSED:
        says = f"says that {named_by} is no neighbour of it"
    elif hop.answer is not None and hop.answer.handover is Handover.NOT_MINE:
        says = f"denies having handed it to {named_by}"
    else:
        says = "finds no such call in its complete records"
    return (
        f"{named_by} says that the call came from {provider}; {provider} {says}. One of them is wrong, and nobody is "
        f"accused: {'both were asked once more, and every answer is' if looked else 'both answers are'} kept.",
        f"Ask {named_by} and {provider} to check their records, trunk maps and clocks, then "
        f"{_command(traceback, 'retry')}.",
    )


BY_TASK = (
    "`hopback-coordinator run` puts the task and writes the letters, `hopback-coordinator tasks run` does so at once; "
    "see `hopback-coordinator tasks list`"
)
"""Who asks a person, where no agent answers."""


def _no_agent(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    if hop.problem is Problem.UNREGISTERED:
        return (
            f"{hop.provider} was named, but the registry does not know it.",
            f"Find out who {hop.provider} is, add it with `hopback-coordinator registry import FILE`, then "
            f"{_command(traceback, 'retry')}; or ask it in person.",
        )
    if denied := _denied(traceback):
        return (
            f"{hop.provider} named {denied}, which denies the handover, and has no agent that could look again.",
            f"A person at {hop.provider} is asked once more: {BY_TASK}.",
        )
    return (
        f"{hop.provider} is next, and has no agent that could answer.",
        f"A person at {hop.provider} is asked: {BY_TASK}. If it gets an agent, import its endpoint and "
        f"{_command(traceback, 'retry')}.",
    )


def _needs_human(traceback: Traceback) -> _Words:
    provider = _last(traceback).provider
    return (
        f"{provider} holds its answer until a person there approves it.",
        f"Remind {provider}; when it is approved, {_command(traceback, 'retry')}. When it is held for long, `run` and "
        "`serve` write to its people, and ask again by themselves.",
    )


def _refused(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    retry = _command(traceback, "retry")
    if hop.problem is Problem.DECLINED:
        return (
            f"{hop.provider} does not accept this coordinator ({hop.detail}).",
            f"Ask {hop.provider} to list this coordinator in its configuration, then {retry}.",
        )
    reason = hop.answer.refusal if hop.answer else RefusalReason.UNSPECIFIED
    why, following = refusal_in_words(reason, hop.provider, hop.question.named_by, retry)
    return f"{hop.provider} refuses to answer: it {why}.", following


def _loop(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    upstream = hop.answer.upstream if hop.answer else None
    return (
        f"The answers go in a circle: {hop.provider} names {upstream}, which was already asked the same question.",
        f"Ask {hop.provider} and {upstream} to look at this call by hand; one of them misreads its records.",
    )


def _hop_limit(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    upstream = hop.answer.upstream if hop.answer else None
    return (
        f"The chain has reached its limit of {traceback.call.hop_limit} hops; {upstream} would be next.",
        f"Look at the chain; if it is plausible, trace it anew with a higher --hop-limit, or ask {upstream} in person.",
    )


def _non_responsive(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    if hop.problem not in (Problem.UNREACHABLE, Problem.TIMED_OUT):
        return (
            f"The person at {hop.provider} who was asked did not answer in time.",
            f"A late answer still counts, and the chain goes on from it. Ask {hop.provider} in person; see "
            "`hopback-coordinator tasks list`.",
        )
    return (
        f"{hop.provider} did not answer {hop.failures} attempts{_since(hop)} ({hop.detail or _how(hop)}).",
        f"Check its endpoint in the registry, and tell {hop.provider} that its agent is not answering; later, "
        f"{_command(traceback, 'retry')}.",
    )


def _bad_answer(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    return (
        f"What {hop.provider} sent is no valid answer ({hop.detail}).",
        f"Send {hop.provider} this message and compare versions; once it is mended, {_command(traceback, 'retry')}.",
    )


def _order_expired(traceback: Traceback) -> _Words:
    expires = traceback.call.expires
    when = f" at {expires:%Y-%m-%d %H:%M:%S} UTC" if expires else ""
    why = "".join(f" ({hop.provider}: {hop.detail})" for hop in traceback.hops[-1:] if hop.detail)
    return (
        f"The order under which this call was traced has expired{when}; nobody may be asked any more{why}.",
        "Draft a new order with `hopback-coordinator order new`, have it signed and approved, and trace under it.",
    )


def _window_spent(traceback: Traceback) -> _Words:
    hop = _last(traceback)
    upstream = hop.answer.upstream if hop.answer else None
    window = traceback.call.window // timedelta(seconds=1)
    return (
        f"{upstream} would be next, but the time to ask it for lies {window} s or more from the order's time, outside "
        "what the order allows.",
        "Submit a new order with a more exact time, or with a wider window.",
    )


def _how(hop: Hop) -> str:
    return "no answer in time" if hop.problem is Problem.TIMED_OUT else "not reachable"


def _cancelled(traceback: Traceback) -> _Words:
    asked = "one provider had been asked" if len(traceback.hops) == 1 else f"{len(traceback.hops)} had been asked"
    return f"It was cancelled; {asked}.", "Nothing: what was answered is kept. Submit a new order to trace it again."


_WORDS: Mapping[Status, Callable[[Traceback], _Words]] = {
    Status.SUBMITTED: _submitted,
    Status.ASKING: _asking,
    Status.RETRYING: _retrying,
    Status.NOT_YET_AVAILABLE: _not_yet_available,
    Status.AWAITING_PERSON: _awaiting_person,
    Status.ORIGIN_FOUND: _origin_found,
    Status.GATEWAY_FOUND: _gateway_found,
    Status.NOT_FOUND: _not_found,
    Status.RECORDS_EXPIRED: _records_expired,
    Status.AMBIGUOUS: _ambiguous,
    Status.UNMAPPED: _unmapped,
    Status.DISPUTED: _disputed,
    Status.NO_AGENT: _no_agent,
    Status.NEEDS_HUMAN: _needs_human,
    Status.REFUSED: _refused,
    Status.LOOP: _loop,
    Status.HOP_LIMIT: _hop_limit,
    Status.NON_RESPONSIVE: _non_responsive,
    Status.BAD_ANSWER: _bad_answer,
    Status.ORDER_EXPIRED: _order_expired,
    Status.WINDOW_SPENT: _window_spent,
    Status.CANCELLED: _cancelled,
}
