"""From a question to this provider's answer: may it be answered, what do the records say, what of that may leave.

Before any record is read a question is refused, as an answer that says why, when it comes too late, reaches further
than this provider allows, lies in the future, or names a neighbour that no trunk leads to. What remains is searched,
decided by `agent.match` and disclosed by `agent.answer`; this module only brings the three together. Whoever asks has
been identified before (`agent.server`).

The records stand behind a small protocol, the clock is passed in. Everything that led to an answer is returned with it
as a `Consultation`, for the operator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from agent import elimination
from agent.answer import answer, interval_to_cover
from agent.answered import Answered
from agent.index.coverage import Coverage, CoverageState, SourceCoverage
from agent.index.reader import Query
from agent.legs import Leg, TooMany
from agent.match import Decision, FindLegs, Verdict, match
from agent.match_settings import MatchSettings
from agent.trunks import TrunkMap
from protos.e164 import E164
from protos.identity import ProviderId
from protos.types import Answer, Outcome, Question, RefusalReason
from protos.values import value

if TYPE_CHECKING:
    from agent.stores.threads import LookupThreads

CLOCKS_DIFFER = timedelta(seconds=5)
"""How far the asking side's clock may be ahead of ours before its present is our future."""

Clock = Callable[[], datetime]

SisterAnswers = Mapping[UUID, Sequence[Answered]]
"""By the id of a question, what was answered about other calls that it certainly does not mean."""

_NO_SISTERS: SisterAnswers = {}


class Records(Protocol):
    """Where call legs are found; `agent.index.reader.Index` is one.

    Every method raises `agent.index.errors.IndexUnusableError` when the records can't be read: an empty list means
    that none is there. `TooMany` in place of legs means that there are more than may be read.
    """

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> Sequence[Leg]:
        """All legs of `called` whose seizure may lie in the interval."""
        ...

    def find_many(self, queries: Sequence[Query]) -> Sequence[Sequence[Leg]]:
        """What `find` gives for each query, in order."""
        ...

    def coverage(self) -> Coverage:
        """What time the records cover."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms this provider answers.

    Attributes:
        me: who answers.
        trunks: the dated trunk map.
        matching: how careful a match is.
        window_cap: questions that reach further are refused.
        retention: records older than this count as expired.
        sources: names of the sources that together hold all calls; empty when whatever is indexed does.
    """

    me: ProviderId
    trunks: TrunkMap
    matching: MatchSettings
    window_cap: timedelta
    retention: timedelta
    sources: frozenset[str] = frozenset()


@value
class Consultation:
    """An answer and all that led to it, for the operator's eyes only.

    `decision`, `covered` (the interval that the records had to cover) and `coverage` are None when the question was
    refused before any record was read. `eliminated` says that sister calls were left out of what was found.
    """

    question: Question
    answer: Answer
    decision: Decision | None = None
    covered: tuple[datetime, datetime] | None = None
    coverage: CoverageState | None = None
    eliminated: bool = False


def refusal(question: Question, terms: Terms, neighbours: frozenset[ProviderId], now: datetime) -> RefusalReason | None:
    """Why the question is not answered at `now`, or None when it may be."""
    if question.deadline < now:
        return RefusalReason.DEADLINE_PASSED
    if question.window > terms.window_cap:
        return RefusalReason.WINDOW_TOO_WIDE
    if question.at > now + CLOCKS_DIFFER:
        return RefusalReason.TIME_IN_FUTURE
    if question.named_by is not None and question.named_by not in neighbours:
        return RefusalReason.UNKNOWN_PROVIDER
    return None


def expected_coverage(indexed: Coverage, sources: frozenset[str]) -> Coverage:
    """What the expected sources cover: one that was never indexed covers nothing, a retired one no longer counts."""
    if not sources:
        return indexed
    by_name = {source.source: source for source in indexed.sources}
    nothing = SourceCoverage("", None, None, None, None, records=0, files=0)
    return Coverage(tuple(by_name.get(name, replace(nothing, source=name)) for name in sorted(sources)))


class Desk:
    """Answers questions addressed to this provider.

    Every method raises `IndexUnusableError` when the records can't be read.
    """

    def __init__(self, terms: Terms, records: Records, clock: Clock, threads: LookupThreads | None = None) -> None:
        """`threads` are those that questions must be answered in, None where records never wait for a database."""
        self.threads = threads
        self.terms = terms
        self._records = records
        self.clock = clock
        self._neighbours = terms.trunks.neighbours()
        self._seen = Coverage(()), expected_coverage(Coverage(()), terms.sources)

    def consult(self, question: Question) -> Consultation:
        """Answer one question."""
        now = self.clock()
        reason = refusal(question, self.terms, self._neighbours, now)
        if reason is not None:
            return self._refused(question, reason)
        # Coverage first: what is indexed between the two reads must not make an absence look covered.
        coverage = self._coverage()
        return self._decide(question, self._find(question, question.called), coverage, now)

    def consult_many(self, questions: Sequence[Question]) -> list[Consultation]:
        """Answer questions, in order; records are searched for all of them at once."""
        if len(questions) == 1:
            return [self.consult(questions[0])]
        now = self.clock()
        reasons = [refusal(question, self.terms, self._neighbours, now) for question in questions]
        admitted = [question for question, reason in zip(questions, reasons, strict=True) if reason is None]
        # Coverage first: what is indexed between the two reads must not make an absence look covered.
        coverage = self._coverage() if admitted else Coverage(())
        found = iter(self._search(admitted))
        return [
            self._decide(question, next(found), coverage, now) if reason is None else self._refused(question, reason)
            for question, reason in zip(questions, reasons, strict=True)
        ]

    def search(
        self, questions: Sequence[Question], now: datetime, sisters: SisterAnswers = _NO_SISTERS
    ) -> list[Consultation]:
        """Answer questions that `agent.gate` let pass at `now`, in order; nothing is refused here any more."""
        coverage = self._coverage()
        if len(questions) == 1:
            (question,) = questions
            found: Sequence[Sequence[Leg]] = [self._find(question, question.called)]
        else:
            found = self._search(questions)
        decided = [self._decide(question, legs, coverage, now) for question, legs in zip(questions, found, strict=True)]
        if sisters:
            for number, (question, legs) in enumerate(zip(questions, found, strict=True)):
                told = sisters.get(question.question_id)
                if told and decided[number].answer.outcome is Outcome.AMBIGUOUS:
                    decided[number] = self._eliminate(decided[number], legs, told, coverage, now)
        return decided

    def _refused(self, question: Question, reason: RefusalReason) -> Consultation:
        return Consultation(question, Answer(self.terms.me, Outcome.REFUSED, refusal=reason))

    def _coverage(self) -> Coverage:
        indexed = self._records.coverage()
        seen, expected = self._seen  # both at once: other threads may ask, too
        if indexed is not seen:
            expected = expected_coverage(indexed, self.terms.sources)
            self._seen = indexed, expected
        return expected

    def _search(self, questions: Sequence[Question]) -> Sequence[Sequence[Leg]]:
        return self._records.find_many([Query(q.called, q.calling, *self._interval(q)) for q in questions])

    def _find(self, question: Question, called: E164) -> Sequence[Leg]:
        return self._records.find(called, question.calling, *self._interval(question))

    def _interval(self, question: Question) -> tuple[datetime, datetime]:
        """What to search: the window, and beyond it what may belong to a call inside (`match` takes no other call)."""
        reach = question.window + self.terms.matching.longest_setup
        return question.at - reach, question.at + reach

    def _decide(self, question: Question, legs: Sequence[Leg], coverage: Coverage, now: datetime) -> Consultation:
        terms = self.terms
        try:
            decision = match(
                question, _few(legs), terms.trunks, lambda called: _few(self._find(question, called)), terms.matching
            )
        except _TooManyError:
            decision = Decision(Verdict.AMBIGUOUS)
        covered = interval_to_cover(question, decision, terms.matching)
        state = coverage.state(*covered, now, terms.retention)
        return Consultation(question, answer(question, decision, state, terms.me), decision, covered, state)

    def _eliminate(
        self, ambiguous: Consultation, legs: Sequence[Leg], told: Sequence[Answered], coverage: Coverage, now: datetime
    ) -> Consultation:
        """The answer once sister calls are left out, where that is certain; else the one that there was."""
        question, terms = ambiguous.question, self.terms

        def find(asked: Question) -> FindLegs:
            return lambda called: _few(self._find(asked, called))

        try:
            sisters = [
                elimination.Sister(one.asked.question, one.answer, find(asked)(asked.called), find(asked))
                for one in told
                for asked in (one.asked.question,)
            ]
            by = elimination.Terms(terms.me, terms.trunks, terms.matching)
            decision = elimination.eliminate(question, _few(legs), find(question), sisters, by)
        except _TooManyError:
            return ambiguous
        if decision is None:
            return ambiguous
        covered = interval_to_cover(question, decision, terms.matching)
        state = coverage.state(*covered, now, terms.retention)
        if state is not CoverageState.COVERED:
            return ambiguous
        said = answer(question, decision, state, terms.me)
        return Consultation(question, said, decision, covered, state, eliminated=True)


class _TooManyError(Exception):
    """There are more legs than may be read."""


def _few(legs: Sequence[Leg]) -> Sequence[Leg]:
    if isinstance(legs, TooMany):
        raise _TooManyError
    return legs
