"""Calls left out because they are certainly others: tags that tell calls apart, and industries against their truth.

In the industry below a number is called several times within seconds. Each call comes to cedar from one of its
upstreams and goes on to elm, perhaps after attempts that failed there or elsewhere, perhaps forked; elm hands it on.
Fir's part of some calls is reported, at times twice, by a watch that is a little off. Elm names cedar for each of
them, cedar is asked, and where it finds several calls it is asked once more, naming the sister calls about which it
had no doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.answer import answer
from agent.call_tags import CallTags
from agent.elimination import Sister, Terms, eliminate
from agent.index.coverage import CoverageState
from agent.legs import Leg
from agent.match import Decision, Verdict, match
from agent.match_settings import MatchSettings
from agent.trunks import TrunkMap
from protos.e164 import E164
from protos.hops import tell_apart
from protos.identity import ProviderId, parse_provider_id
from protos.types import Answer, Handover, Outcome, Question
from tests.agent.calls import CALLED, NOON, TOLL_FREE, TRUNKS, at, leg, question, trunk

CEDAR, ELM, FIR = (parse_provider_id(name) for name in ("cedar", "elm", "fir"))
AT_ELM = TrunkMap.from_entries([trunk("in-cedar", "provider:cedar"), trunk("out-fir", "provider:fir")])
SETTINGS = MatchSettings()
TAGS = CallTags(bytes(range(32)))
OFF_BY = 1.6
"""Seconds by which a clock or a watch is off, at most."""


def nowhere(called: E164) -> list[Leg]:
    """No internal trunk leads on."""
    del called
    return []


def found(*legs: Leg, **change: object) -> Decision:
    """What cedar finds at noon."""
    asked = replace(question(), **change)  # type: ignore[arg-type]
    return match(asked, legs, TRUNKS, lambda called: [leg for leg in legs if called], SETTINGS)


class TestACallTag:
    def test_is_the_same_whatever_was_asked_about_the_call(self) -> None:
        one = leg(0, call=7)
        tags = {TAGS.of("lab", CALLED, found(one, at=at(seconds))) for seconds in (-9, -1, 0, 3, 10)}
        assert len(tags) == 1
        assert None not in tags

    def test_tells_two_calls_of_a_source_apart(self) -> None:
        one, two = (TAGS.of("lab", CALLED, found(leg(0, call=call))) for call in (7, 8))
        assert one is not None
        assert two is not None
        assert tell_apart(one, two) is True

    def test_compares_with_none_of_another_coordinator_number_source_or_key(self) -> None:
        decision = found(leg(0, call=7))
        elsewhere = found(leg(0, call=7)._replace(source="switch-2:today.csv"))
        one = TAGS.of("lab", CALLED, decision)
        assert one is not None
        for other in (
            TAGS.of("lab-2", CALLED, decision),
            TAGS.of("lab", TOLL_FREE, decision),
            TAGS.of("lab", CALLED, elsewhere),
            CallTags(bytes(32)).of("lab", CALLED, decision),
        ):
            assert other is not None
            assert tell_apart(one, other) is None

    def test_is_the_same_in_all_files_of_a_source(self) -> None:
        one, again = (found(leg(0, call=7)._replace(source=f"cdr:{name}.csv")) for name in ("today", "tomorrow"))
        assert TAGS.of("lab", CALLED, one) == TAGS.of("lab", CALLED, again) is not None

    @pytest.mark.parametrize("disposition", ["unanswered", "failed", "route-advanced", None])
    def test_is_not_given_to_a_call_that_was_not_surely_answered(self, disposition: str | None) -> None:
        assert TAGS.of("lab", CALLED, found(leg(0, call=7, disposition=disposition))) is None
        rows = (leg(0, call=7), leg(1, call=7, disposition=disposition))
        assert TAGS.of("lab", CALLED, found(*rows)) is None

    def test_is_not_given_to_rows_without_a_call_id(self) -> None:
        assert TAGS.of("lab", CALLED, found(leg(0)._replace(call_ref=None))) is None

    def test_is_not_given_to_several_calls_that_agree(self) -> None:
        assert TAGS.of("lab", CALLED, found(leg(0, call=7), leg(1, call=8))) is None

    def test_is_not_given_to_rows_in_several_sources(self) -> None:
        assert TAGS.of("lab", CALLED, found(leg(0, call=7), leg(0, call=7)._replace(source="b:file"))) is None

    def test_is_not_given_where_the_number_changed(self) -> None:
        """A queue that answers one call may place several for it."""
        assert TAGS.of("lab", CALLED, found(leg(0, call=7, called_in=TOLL_FREE))) is None

    def test_is_not_given_over_internal_trunks(self) -> None:
        legs = (leg(0, call=7, ingress="in-west"), leg(0, call=8, egress="out-east"))
        decision = found(*legs)
        assert decision.via_internal
        assert TAGS.of("lab", CALLED, decision) is None

    def test_is_not_given_where_nothing_was_found_without_doubt(self) -> None:
        assert TAGS.of("lab", CALLED, found()) is None
        assert TAGS.of("lab", CALLED, found(leg(0, call=7), leg(1, call=8, ingress="in-alder"))) is None


def left_out(legs: Sequence[Leg], sister: float, *, asked: float = 1, said: Answer | None = None) -> Decision | None:
    """What cedar makes of a question at noon + `asked`, without the call that it told at noon + `sister`."""
    terms = Terms(CEDAR, TRUNKS, SETTINGS)
    other = question(sister)
    before = answer(other, match(other, legs, TRUNKS, nowhere, SETTINGS), CoverageState.COVERED, CEDAR)
    return eliminate(question(asked), legs, nowhere, [Sister(other, said or before, legs, nowhere)], terms)


class TestWhatRemains:
    ALDER, BIRCH = leg(0, call=1, ingress="in-alder"), leg(5, call=2)

    def test_is_decided_as_always(self) -> None:
        decision = left_out([self.ALDER, self.BIRCH], 5)
        assert decision is not None
        assert str(decision.upstream) == "provider:alder"

    def test_is_nothing_where_nothing_else_is_there(self) -> None:
        assert left_out([self.BIRCH], 5) is None

    def test_is_nothing_where_it_is_far_from_the_asked_time(self) -> None:
        assert left_out([leg(-11, call=1, ingress="in-alder"), self.BIRCH], 5) is None

    def test_may_be_several_calls_that_agree(self) -> None:
        decision = left_out([self.ALDER, leg(-1, call=3, ingress="in-alder"), self.BIRCH], 5)
        assert decision is not None
        assert len(decision.instances) == 2

    def test_counts_failed_attempts_elsewhere_for_nothing(self) -> None:
        attempt = leg(4.5, call=2, egress="out-fir", disposition="route-advanced")
        assert left_out([self.ALDER, self.BIRCH, attempt], 5) is not None

    @pytest.mark.parametrize("other", [leg(5.5, call=2), leg(60, call=2), leg(5, call=2, disposition="unanswered")])
    def test_is_not_told_by_a_call_that_was_handed_over_more_than_once(self, other: Leg) -> None:
        assert left_out([self.ALDER, self.BIRCH, other], 5) is None

    @pytest.mark.parametrize("egress", [None, "out-nobody-knows"])
    def test_is_not_told_by_a_call_id_that_another_call_may_have_had(self, egress: str | None) -> None:
        """Else the other call, which may be the one meant, would be left out with it."""
        meant = leg(1, call=7, ingress="in-onda", egress=egress)
        told, rival = leg(100, call=7), leg(1, call=8, ingress="in-alder")
        assert left_out([meant, told, rival], 100) is None
        assert left_out([meant._replace(call_ref=9), told, rival], 100) is None
        assert left_out([told, rival], 100) is not None

    def test_may_be_told_by_a_call_one_of_whose_own_rows_doesn_t_say_where_it_went(self) -> None:
        start = leg(5, call=2, egress=None)
        assert left_out([self.ALDER, self.BIRCH, start], 5) is not None

    def test_is_not_told_by_a_call_that_leads_elsewhere_than_was_said(self) -> None:
        said = Answer(CEDAR, Outcome.UPSTREAM, ProviderId("alder"), handover=Handover.CONFIRMED)
        assert left_out([self.ALDER, self.BIRCH], 5, said=said) is None

    def test_is_not_told_by_two_sisters_that_are_one_call_here(self) -> None:
        """They were told apart, so that one of the two answers is wrong."""
        legs = [self.ALDER, self.BIRCH]
        one, two = question(5), question(5.5)
        sisters = [
            Sister(asked, answer(asked, found_, CoverageState.COVERED, CEDAR), legs, nowhere)
            for asked in (one, two)
            for found_ in (match(asked, legs, TRUNKS, nowhere, SETTINGS),)
        ]
        terms = Terms(CEDAR, TRUNKS, SETTINGS)
        assert eliminate(question(1), legs, nowhere, sisters[:1], terms) is not None
        assert eliminate(question(1), legs, nowhere, sisters, terms) is None

    def test_over_internal_trunks_stays_open(self) -> None:
        inside = [leg(0, call=1, ingress="in-west"), leg(0, call=9, ingress="in-alder", egress="out-east"), self.BIRCH]
        assert left_out(inside, 5) is None


# Whole industries


@dataclass(frozen=True)
class Report:
    """A call that was reported: which, when by fir's clock, and whether with its caller ID."""

    call: int
    seconds: float
    caller: bool


@dataclass
class Industry:
    """What happened, and what cedar and elm wrote down of it."""

    upstream: dict[int, str] = field(default_factory=dict)
    at_cedar: list[tuple[Leg, int]] = field(default_factory=list)
    at_elm: list[tuple[Leg, int]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def legs(self, of: Sequence[tuple[Leg, int]], asked: Question, caller: int) -> list[Leg]:
        """The records around the asked time; callers differ from call to call, most show none."""
        reach = asked.window + SETTINGS.longest_setup
        return [
            one if asked.calling is None else one._replace(calling_matches=call == caller)
            for one, call in of
            if abs(one.latest - asked.at) <= reach
        ]


def industry(chance: Random) -> Industry:
    """Some calls to one number within seconds of each other."""
    made = Industry()
    cedars, elms, watch = (chance.uniform(-OFF_BY, OFF_BY) for _ in range(3))
    ids = chance.sample(range(1000, 9999), 60)
    begin = 0.0
    for call in range(chance.randint(2, 4)):
        begin += chance.choice((0.5, 3, 5, 6, 7, 8, 9, 14))
        made.upstream[call] = chance.choice(("alder", "birch", "onda"))
        ingress, own, time = (
            {"elm-2": "in-onda"}.get(made.upstream[call], f"in-{made.upstream[call]}"),
            ids.pop(),
            begin,
        )
        answered = chance.random() < 0.85
        elsewhere = chance.random() < 0.15
        attempts = chance.choice((1, 1, 1, 1, 1, 2, 3))
        if elsewhere:  # the first route was another carrier's
            row = leg(time + cedars, ingress=ingress, egress="out-fir", call=own, disposition="route-advanced")
            made.at_cedar.append((row, call))
            time += chance.uniform(0.2, 2)
        for attempt in range(attempts):  # over elm, again and again until somebody answers
            up = answered and attempt == attempts - 1
            told = "answered" if up else chance.choice(("unanswered", "failed", "route-advanced"))
            made.at_cedar.append((leg(time + cedars, ingress=ingress, call=own, disposition=told), call))
            theirs = ids.pop()
            for branch in range(chance.choice((1, 1, 1, 2))):  # elm may fork, or try fir twice
                fine = "answered" if up and branch == 0 else chance.choice(("unanswered", "failed"))
                seized = time + elms + 0.1 * branch
                row = leg(seized, ingress="in-cedar", egress="out-fir", call=theirs, disposition=fine)
                made.at_elm.append((row, call))
            if chance.random() < 0.8:
                seen = time + watch + chance.uniform(-0.4, 0.4)
                made.reports += [Report(call, seen, chance.random() < 0.25)] * chance.choice((1, 1, 1, 2))
            time += chance.uniform(0.5, 6)
    return made


@dataclass(frozen=True)
class Hop:
    """What came of a report at elm and cedar."""

    report: Report
    elm: Decision
    asked: Question
    said: Answer
    legs: Sequence[Leg]
    tag: bytes | None


def hop(made: Industry, report: Report) -> Hop | None:
    """Elm's answer, if it names cedar, and cedar's."""
    hint = TOLL_FREE if report.caller else None
    first = replace(question(report.seconds, named_by="fir", calling=hint), target=ELM)
    elm = match(first, made.legs(made.at_elm, first, report.call), AT_ELM, nowhere, SETTINGS)
    named = answer(first, elm, CoverageState.COVERED, ELM)
    if named.outcome is not Outcome.UPSTREAM:
        return None
    asked = replace(first, target=CEDAR, named_by=ELM, at=first.at + named.time_correction)
    legs = made.legs(made.at_cedar, asked, report.call)
    said = answer(asked, match(asked, legs, TRUNKS, nowhere, SETTINGS), CoverageState.COVERED, CEDAR)
    return Hop(report, elm, asked, said, legs, TAGS.of("lab", CALLED, elm))


def sisters_of(hops: Sequence[Hop], one: Hop) -> list[Hop]:
    """Those that may be named, nearest first."""
    sisters: list[Hop] = []
    for other in sorted(hops, key=lambda other: abs(other.asked.at - one.asked.at)):
        tags = [mine.tag for mine in (one, *sisters)] + [other.tag]
        sure = other.said.outcome in (Outcome.UPSTREAM, Outcome.FOREIGN_UPSTREAM)
        sure = sure and other.said.handover is Handover.CONFIRMED
        if sure and all(tell_apart(a or b"", b or b"") for a, b in combinations(tags, 2)):
            sisters.append(other)
    return sisters[:4]


def resolved(sisters: Sequence[Hop], one: Hop) -> Answer | None:
    """What cedar says when asked again."""
    told = [Sister(other.asked, other.said, other.legs, nowhere) for other in sisters]
    terms = Terms(CEDAR, TRUNKS, SETTINGS)
    decision = eliminate(one.asked, one.legs, nowhere, told, terms) if told else None
    return None if decision is None else answer(one.asked, decision, CoverageState.COVERED, CEDAR)


def outcomes(made: Industry) -> Counter[str]:
    """How often what became of a report that was ambiguous at cedar, and of the others."""
    hops = [one for one in (hop(made, report) for report in made.reports) if one is not None]
    came: Counter[str] = Counter()
    for one in hops:
        truth = made.upstream[one.report.call]
        truth = {"onda": "onda-es"}.get(truth, truth)
        if one.said.outcome is not Outcome.AMBIGUOUS:
            came["right" if one.said.upstream in (truth, None) else "wrong"] += 1
            continue
        sisters = sisters_of(hops, one)
        said = resolved(sisters, one)
        if said is None:
            came["left, with sisters" if sisters else "left"] += 1
        else:
            came["resolved" if said.upstream == truth else "resolved wrongly"] += 1
    return came


class TestAnIndustry:
    @given(st.integers(0, 2**32))
    @settings(max_examples=100, deadline=None)
    def test_never_has_a_wrong_hop(self, seed: int) -> None:
        came = outcomes(industry(Random(seed)))
        assert came["wrong"] == came["resolved wrongly"] == 0

    def test_has_a_fair_share_of_its_ambiguous_hops_resolved(self) -> None:
        came: Counter[str] = Counter()
        for seed in range(1500):
            came += outcomes(industry(Random(f"industry {seed}")))
        assert came["wrong"] == came["resolved wrongly"] == 0
        assert came["resolved"] >= 10
        assert came["resolved"] > came["left, with sisters"] / 3  # most of these are far away


def test_the_industry_is_at_noon() -> None:
    assert at(0) == NOON
    assert timedelta(seconds=OFF_BY) < SETTINGS.rival_margin
    assert Verdict.FOUND is found(leg(0)).verdict
