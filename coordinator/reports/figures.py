"""Reports over many chains: transparency, participants and refusers, a scorecard for each provider. Pure.

What goes in are chains (`reports.ways.Way`) and what became of questions to persons; no telephone number among
it, so that none can come out. Every figure of a scorecard holds the ids of the questions that make it up, by which
anybody who may can look each of them up and contradict.

Roles follow the answers: the one that placed the call is the originating provider, the one that got it from abroad
the gateway, the first the terminating one, everybody else on the path transit. A provider that denies a call has no
role in it, and a disputed handover counts for both sides, as nobody knows yet who is wrong.
"""

from __future__ import annotations

import uuid
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from coordinator.deadlines.cooperation import DEFAULT_POLICY, CooperationPolicy, Label, RequestFact, label
from coordinator.deadlines.standing import standing
from coordinator.reports.ways import HopFact, Way
from coordinator.tracing.chain import Problem, Status
from protos.identity import ProviderId
from protos.types import Outcome, RefusalReason

FINISHED = frozenset({Status.ORIGIN_FOUND, Status.GATEWAY_FOUND})
NOT_ASKED = frozenset({Problem.NO_AGENT, Problem.UNREGISTERED, Problem.CONTESTED})
_NOTHING = frozenset({Outcome.NEEDS_HUMAN, Outcome.NOT_YET_AVAILABLE})
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PersonFact:
    """What became of a question to a person at a provider."""

    provider: ProviderId
    request: RequestFact
    refusal: RefusalReason | None = None


@dataclass(frozen=True, slots=True)
class Improper:
    """A provider attested A for a call of which it says, asked by that question, that it came from somebody else."""

    provider: ProviderId
    question: str
    traceback_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and the questions behind it."""

    name: str
    facts: tuple[str, ...]
    told: int | None = None

    @property
    def count(self) -> int:
        """How many: what was told by whoever left the questions out."""
        return len(self.facts) if self.told is None else self.told


@dataclass(frozen=True, slots=True)
class Spread:
    """Middle and tail of some durations; None where there are none. Nearest ranks: both are durations that occurred."""

    count: int
    median: timedelta | None
    p95: timedelta | None


def spread(durations: Iterable[timedelta]) -> Spread:
    """Middle and tail of these durations."""
    return _spread(array("q", (one // _US for one in durations)))


def _spread(microseconds: array[int]) -> Spread:
    ranked = sorted(microseconds)
    if not ranked:
        return Spread(0, None, None)
    middle, tail = ranked[(len(ranked) - 1) // 2], ranked[(95 * len(ranked) + 99) // 100 - 1]
    return Spread(len(ranked), middle * _US, tail * _US)


def _durations() -> array[int]:
    """Durations in whole microseconds: there may be millions."""
    return array("q")


@dataclass(frozen=True, slots=True)
class Scorecard:
    """How one provider answered in a period; every figure with its questions, and the label with its metrics."""

    provider: ProviderId
    figures: tuple[Figure, ...]
    latency: Spread
    persons_latency: Spread
    label: Label

    @property
    def counts(self) -> dict[str, int]:
        """The figures as numbers, by name."""
        return {figure.name: figure.count for figure in self.figures}

    def figure(self, name: str) -> Figure:
        """One figure by name."""
        return next(one for one in self.figures if one.name == name)


FIGURES = (
    *("asked", "answered", "not_found", "records_expired", "ambiguous", "unmapped", "refused"),
    *("silent", "declined", "bad_answer", "named_disputed", "denied", "contested", "improper_attestation"),
    *("persons_asked", "persons_answered", "persons_late", "persons_non_responsive", "persons_waiting"),
)
"""Names of the figures: questions to agents, disputes, attestations against answers, questions to persons."""

DISPUTES = frozenset({"named_disputed", "denied", "contested", "improper_attestation"})
"""Figures that rest on what somebody else said."""

_BY_OUTCOME = {
    Outcome.NOT_FOUND: "not_found",
    Outcome.RECORDS_EXPIRED: "records_expired",
    Outcome.AMBIGUOUS: "ambiguous",
    Outcome.UNMAPPED: "unmapped",
    Outcome.NOT_RECORDED: "unmapped",
    Outcome.REFUSED: "refused",
}
_BY_PROBLEM = {
    Problem.UNREACHABLE: "silent",
    Problem.TIMED_OUT: "silent",
    Problem.DECLINED: "declined",
    Problem.BAD_ANSWER: "bad_answer",
}


@dataclass(slots=True)
class _Tally:
    with_facts: bool
    facts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    latencies: array[int] = field(default_factory=_durations)
    persons_latencies: array[int] = field(default_factory=_durations)
    requests: list[RequestFact] = field(default_factory=list)

    def count(self, name: str, question: object) -> None:
        self.counts[name] += 1
        if self.with_facts:
            self.facts[name].append(str(question))

    def figure(self, name: str) -> Figure:
        return Figure(name, tuple(self.facts[name])) if self.with_facts else Figure(name, (), self.counts[name])


def scorecards(
    ways: Iterable[Way],
    persons: Iterable[PersonFact],
    now: datetime,
    policy: CooperationPolicy = DEFAULT_POLICY,
    improper: Iterable[Improper] = (),
    *,
    facts: bool = True,
) -> list[Scorecard]:
    """A scorecard for every provider that was asked or named, by id; without `facts` figures hold no questions.

    What is kept meanwhile are eight bytes an answer, some two hundred a question where its id is kept.
    """
    tallies: dict[ProviderId, _Tally] = defaultdict(lambda: _Tally(facts))
    for way in ways:
        for hop in way.hops:
            _count_hop(tallies[hop.provider], hop)
        if way.disputed is not None:
            naming, denying = way.disputed
            tallies[naming.provider].count("named_disputed", naming.question_id)
            tallies[denying.provider].count("denied", denying.question_id)
        if way.contested is not None:
            tallies[way.contested.provider].count("contested", way.contested.question_id)
    for fact in persons:
        _count_person(tallies[fact.provider], fact.request, now)
    for one in improper:
        tallies[one.provider].count("improper_attestation", one.question)
    return [
        Scorecard(
            provider=provider,
            figures=tuple(map(tally.figure, FIGURES)),
            latency=_spread(tally.latencies),
            persons_latency=_spread(tally.persons_latencies),
            label=label(provider, tally.requests, now, policy),
        )
        for provider, tally in sorted(tallies.items())
    ]


def own_scorecard(
    provider: ProviderId, hops: Iterable[HopFact], persons: Iterable[PersonFact], now: datetime, *, facts: bool = True
) -> Scorecard:
    """The scorecard that a provider sees of itself: from its own hops alone, without what others said of it."""
    alone = (Way(hop.question_id, Status.SUBMITTED, hop.asked, hop.asked, (hop,)) for hop in hops)
    found = {card.provider: card for card in scorecards(alone, persons, now, facts=facts)}
    card = found.get(provider) or Scorecard(
        provider, tuple(Figure(name, ()) for name in FIGURES), spread(()), spread(()), label(provider, (), now)
    )
    return replace(card, figures=tuple(figure for figure in card.figures if figure.name not in DISPUTES))


def _count_hop(tally: _Tally, hop: HopFact) -> None:
    if hop.problem in NOT_ASKED or hop.by_person:
        return
    question = hop.question_id
    tally.count("asked", question)
    if hop.outcome is not None:
        if hop.outcome not in _NOTHING:
            tally.count("answered", question)
        if hop.outcome in _BY_OUTCOME:
            tally.count(_BY_OUTCOME[hop.outcome], question)
        if hop.ended is not None:
            tally.latencies.append(max(hop.ended - hop.asked, timedelta(0)) // _US)
    elif hop.problem in _BY_PROBLEM:
        tally.count(_BY_PROBLEM[hop.problem], question)


def _count_person(tally: _Tally, request: RequestFact, now: datetime) -> None:
    stands = standing(request.plan, request.answered, now)
    tally.requests.append(request)
    tally.count("persons_asked", request.id)
    if stands.answered and request.answered is not None:
        tally.count("persons_answered", request.id)
        tally.persons_latencies.append((request.answered - request.plan.received) // _US)
        if stands.delinquent:
            tally.count("persons_late", request.id)
    elif stands.non_responsive:
        tally.count("persons_non_responsive", request.id)
    else:
        tally.count("persons_waiting", request.id)


@dataclass(frozen=True, slots=True)
class Part:
    """What one provider had to do with the calls of a period, in tracebacks."""

    provider: ProviderId
    originating: int
    gateway: int
    transit: int
    terminating: int
    non_responsive: int
    refused: int
    disputed: int


@dataclass(frozen=True, slots=True)
class Transparency:
    """The public report of a period, from `since` until before `until`.

    `to_completion` is from submission to the result, of finished ones; `foreign` counts carriers abroad.
    """

    since: datetime
    until: datetime
    tracebacks: int
    finished: int
    by_status: tuple[tuple[Status, int], ...]
    to_completion: Spread
    hops: tuple[tuple[int, int], ...]
    parts: tuple[Part, ...]
    foreign: tuple[tuple[ProviderId, int], ...]

    @property
    def mean_hops(self) -> float | None:
        """Providers on a finished path, on average."""
        total = sum(count for _, count in self.hops)
        return sum(hops * count for hops, count in self.hops) / total if total else None


def transparency(
    ways: Iterable[Way], persons: Iterable[PersonFact], since: datetime, until: datetime, now: datetime
) -> Transparency:
    """The report of a period, of tracebacks and questions to persons that were submitted in it, in one pass."""
    statuses: Counter[Status] = Counter()
    lengths: Counter[int] = Counter()
    foreign: Counter[ProviderId] = Counter()
    lasted = _durations()
    counts: dict[ProviderId, Counter[str]] = defaultdict(Counter)
    for way in ways:
        statuses[way.status] += 1
        if way.status in FINISHED:
            lengths[len(way.providers)] += 1
            lasted.append(max(way.changed - way.submitted, timedelta(0)) // _US)
            if way.foreign is not None:
                foreign[way.foreign] += 1
        for provider, role in _roles(way):
            counts[provider][role] += 1
        for provider, what in _failings(way):
            counts[provider][what] += 1
    for fact in persons:
        if standing(fact.request.plan, fact.request.answered, now).non_responsive:
            counts[fact.provider]["non_responsive"] += 1
    columns = ("originating", "gateway", "transit", "terminating", "non_responsive", "refused", "disputed")
    return Transparency(
        since=since,
        until=until,
        tracebacks=statuses.total(),
        finished=len(lasted),
        by_status=tuple(sorted(statuses.items(), key=lambda entry: (-entry[1], entry[0].value))),
        to_completion=_spread(lasted),
        hops=tuple(sorted(lengths.items())),
        parts=tuple(
            Part(provider, *(counter[name] for name in columns)) for provider, counter in sorted(counts.items())
        ),
        foreign=tuple(sorted(foreign.items(), key=lambda entry: (-entry[1], entry[0]))),
    )


def _roles(way: Way) -> Iterable[tuple[ProviderId, str]]:
    """Each provider once, in the most telling of its roles."""
    roles: dict[ProviderId, str] = {}
    for position, provider in enumerate(way.providers):
        roles.setdefault(provider, "transit" if position else "terminating")
    if way.status in FINISHED and way.providers:
        roles[way.providers[-1]] = "originating" if way.status is Status.ORIGIN_FOUND else "gateway"
    return roles.items()


def _failings(way: Way) -> Iterable[tuple[ProviderId, str]]:
    if not way.hops:
        return
    last = way.hops[-1]
    if way.status is Status.NON_RESPONSIVE:
        yield last.provider, "non_responsive"
    if last.outcome is Outcome.REFUSED or last.problem is Problem.DECLINED:
        yield last.provider, "refused"
    if way.status is Status.DISPUTED:
        for hop in way.disputed or way.hops:
            yield hop.provider, "disputed"


@dataclass(frozen=True, slots=True)
class Participant:
    """A provider that was asked: how often it answered, and why it did not, most frequent reason first."""

    provider: ProviderId
    asked: int
    answered: int
    reasons: tuple[tuple[str, int], ...]

    @property
    def takes_part(self) -> bool:
        """Whether it has answered at all."""
        return self.answered > 0


def participants(ways: Iterable[Way], persons: Iterable[PersonFact], now: datetime) -> list[Participant]:
    """Who was asked, by id: participants answered at least once, refusers never; reasons for either."""
    asked: Counter[ProviderId] = Counter()
    answered: Counter[ProviderId] = Counter()
    reasons: dict[ProviderId, Counter[str]] = defaultdict(Counter)
    for way in ways:
        for hop in way.hops:
            if hop.problem in NOT_ASKED or hop.by_person or (hop.outcome is None and hop.problem is None):
                continue
            asked[hop.provider] += 1
            if (reason := _no_answer(way, hop)) is None:
                answered[hop.provider] += 1
            else:
                reasons[hop.provider][reason] += 1
    for fact in persons:
        stands = standing(fact.request.plan, fact.request.answered, now)
        if stands.waiting:
            continue
        asked[fact.provider] += 1
        if stands.non_responsive:
            reasons[fact.provider]["nobody_answered"] += 1
        elif fact.request.refused:
            reasons[fact.provider][_refused(fact.refusal)] += 1
        else:
            answered[fact.provider] += 1
    return [
        Participant(
            provider=provider,
            asked=asked[provider],
            answered=answered[provider],
            reasons=tuple(sorted(reasons[provider].items(), key=lambda entry: (-entry[1], entry[0]))),
        )
        for provider in sorted(asked)
    ]


def _no_answer(way: Way, hop: HopFact) -> str | None:
    """Why a provider that was asked has not answered at this hop; None where it has."""
    if hop.outcome is Outcome.REFUSED:
        return _refused(way.refusal if hop is way.hops[-1] else None)
    if hop.outcome is None:
        return None if hop.problem is None else hop.problem.value
    return hop.outcome.name.lower() if hop.outcome in _NOTHING else None


def _refused(why: RefusalReason | None) -> str:
    return "refused" if why in (None, RefusalReason.UNSPECIFIED) else f"refused: {why.name.lower()}"
