"""What must hold, while a run goes on and at its end, compared with the truth where there is one.

While it goes on: every open traceback has a time at which it is due, or a person with a clock.

At the end, of every traceback: it is there, and closed; nobody who had no part in the call, or only passed it on, is
shown as its source; the chain led where the call did; it ended as it should where all told the truth, however late;
every search of an agent is one that was recorded before it was asked for, none was made again after it was answered,
and what the agent said is what is recorded; what people said is in the chain.

Of providers: who answered in time is not labelled as non-cooperative, and who never answered is.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

from sqlalchemy import Engine, select

from coordinator.deadlines.cooperation import DEFAULT_POLICY
from coordinator.reports.figures import scorecards
from coordinator.reports.reader import persons_between
from coordinator.store.models import HopRow, TracebackRow
from coordinator.store.rows import kept
from coordinator.store.sqlite_writer import time_text
from coordinator.tracing.chain import DEFAULT_WINDOW, Phase, Status, Traceback, standing
from coordinator.tracing.signed import decode_question
from protos.identity import ProviderId
from protos.types import Outcome
from tests.simulator.journal import Journal
from tests.simulator.network import Agents
from tests.simulator.people import Taken
from tests.simulator.world import BY_PEOPLE, Habit, Passage, World

CLOSED = frozenset(status for status in Status if status.phase is Phase.CLOSED)
LEFT_FOR = timedelta(hours=1)
"""So long may a traceback be due before somebody should have taken it."""
_LONGEST_CLOCK = timedelta(days=14)
_ASKED_WITHIN = timedelta(days=2)
_WORKED_AT = timedelta(hours=3)
_TRUE_ENDS = frozenset({Status.ORIGIN_FOUND, Status.GATEWAY_FOUND})
_EXCUSED = frozenset({Status.NON_RESPONSIVE, Status.AMBIGUOUS})
"""An agent that is down for long, or whose records fit two calls, has not told anything."""
_ASKED_AGAIN = frozenset({None, Outcome.NOT_YET_AVAILABLE.name, Outcome.NEEDS_HUMAN.name})

_NEVER_DUE = """
SELECT id, status FROM tracebacks
WHERE claimable IS NULL AND status IN ('submitted', 'asking', 'retrying', 'not_yet_available')"""
_LEFT = "SELECT id, status FROM tracebacks WHERE claimable < ?"
_NOBODY = """
SELECT id, status FROM tracebacks WHERE status = 'awaiting_person' AND NOT EXISTS (
    SELECT 1 FROM tasks WHERE traceback_id = tracebacks.id AND position = hop_count - 1
    AND (state IN ('open', 'matching') OR (result_at IS NOT NULL AND taken_at IS NULL)))"""
_UNASKED = "SELECT id, status FROM tracebacks WHERE status IN ('no_agent', 'needs_human') AND changed_at < ?"
_OVERDUE = """
SELECT id, state FROM tasks
WHERE state = 'open' AND (gives_up < ?1 OR julianday(gives_up) > julianday(received) + ?2)"""


def forgotten(engine: Engine, now: datetime) -> list[str]:
    """Of the open tracebacks and tasks at `now`: which have no time and no person, or one that has long passed."""
    looked_for = (
        (_NEVER_DUE, (), "{} is {} and never due"),
        (_LEFT, (time_text(now - LEFT_FOR),), "{} is {}, and nobody takes it though it is due"),
        (_NOBODY, (), "{} is {}, and there is nobody"),
        (_UNASKED, (time_text(now - _ASKED_WITHIN),), "{} is {}, and nobody was asked"),
        (_OVERDUE, (time_text(now - _WORKED_AT), _LONGEST_CLOCK.days), "the task {} is {}, and its clock doesn't end"),
    )
    with engine.connect() as connection:
        return [
            words.format(*row)
            for query, values, words in looked_for
            for row in connection.exec_driver_sql(query, values)
        ]


@dataclass(frozen=True, slots=True)
class Found:
    """A traceback as it is stored, with the rows of all rounds of its hops."""

    traceback: Traceback
    rounds: tuple[Mapping[str, Any], ...]

    @property
    def id(self) -> uuid.UUID:
        """The traceback's."""
        return self.traceback.id


def found(engine: Engine) -> Iterator[Found]:
    """All tracebacks, by id; a few at a time."""
    heads = select(TracebackRow).order_by(TracebackRow.id)
    hops = select(HopRow).order_by(HopRow.traceback_id, HopRow.position, HopRow.round)
    with engine.connect() as one, engine.connect() as other:
        rows = other.execution_options(yield_per=1000).execute(hops).mappings()
        asked = groupby(rows, key=lambda row: row["traceback_id"])
        following = next(asked, None)
        for row in one.execution_options(yield_per=1000).execute(heads).mappings():
            rounds: tuple[Mapping[str, Any], ...] = ()
            if following is not None and following[0] == row["id"]:
                rounds = tuple(following[1])  # type: ignore[arg-type]  # mappings by column name
                following = next(asked, None)
            yield Found(kept(row, rounds).traceback, rounds)


@dataclass(frozen=True)
class Truth:
    """What a run is compared with; `taken` are the answers of people that the desk took, by traceback."""

    world: World
    journal: Journal
    agents: Agents
    taken: Mapping[uuid.UUID, Sequence[Taken]]

    def problems(self, passage: Passage, one: Found) -> Iterator[str]:
        """What must not be, of one traceback; its questions are forgotten then (see `unrecorded`)."""
        traceback = one.traceback
        if traceback.status not in CLOSED:
            yield f"is still {traceback.status.value}"
        if traceback.status in (Status.NO_AGENT, Status.NEEDS_HUMAN):
            yield f"is {traceback.status.value}, and nobody was asked"
        yield from self._wrong(passage, traceback)
        yield from self._untrue(passage, traceback)
        yield from self._searches(one)
        for taken in self.taken.get(traceback.id, ()):
            yield from _unheard(one, taken)

    def _wrong(self, passage: Passage, traceback: Traceback) -> Iterator[str]:
        """Whoever is shown as the source of the call."""
        source = traceback.origin or traceback.gateway
        if source is None:
            return
        asked = tuple(traceback.hops[position].provider for position in standing(traceback.hops))
        if self._is_swapped(passage, asked):
            self.journal.counts["calls that a liar swapped for another that it carried"] += 1
            return
        if source not in passage.path:
            yield f"{source} had no part in the call and is shown as its source"
        elif source != passage.path[-1] and self.world.parties[source].habit is not Habit.CLAIMS_ORIGIN:
            yield f"{source} only passed the call on and is shown as its source"
        if asked != passage.path[: len(asked)]:
            yield f"the chain led over {asked}, the call over {passage.path}"

    def _is_swapped(self, passage: Passage, asked: tuple[ProviderId, ...]) -> bool:
        """Whether a liar led the chain over to another call to the same number that it carried at the same time.

        Nobody can tell that from outside: all that is said afterwards is true, of the other call.
        """
        same = [one == other for one, other in zip(asked, passage.path, strict=False)]
        parting = same.index(False) if False in same else len(same)
        if not 0 < parting < len(asked) or self.world.parties[asked[parting - 1]].tells_the_truth:
            return False
        rest = asked[parting - 1 :]
        others = self.world.passages_of(passage.called, passage.at, 2 * DEFAULT_WINDOW)
        return any(
            other.path[position : position + len(rest)] == rest
            for other in others
            for position in range(len(other.path))
            if other is not passage
        )

    def _untrue(self, passage: Passage, traceback: Traceback) -> Iterator[str]:
        """A wrong end, though all told the truth sooner or later."""
        parties = [self.world.parties[name] for name in passage.path]
        if not all(party.tells_the_truth for party in parties) or traceback.status in _TRUE_ENDS:
            return
        if traceback.status is Status.ORDER_EXPIRED and any(party.habit in BY_PEOPLE for party in parties):
            return
        last = traceback.hops[-1].provider if traceback.hops else None
        by_hand = last is not None and self.world.parties[last].habit is Habit.NO_AGENT
        fits_two = len(self.world.passages_of(passage.called, passage.at, DEFAULT_WINDOW)) > 1
        if by_hand and fits_two and traceback.status is Status.REFUSED:
            return  # a person who finds two calls says nothing of either
        if traceback.status not in _EXCUSED or (by_hand and traceback.call.order_sha256 is None):
            yield f"all told the truth, and it ended {traceback.status.value} at {last}"

    def _searches(self, one: Found) -> Iterator[str]:
        """What agents did, and what is recorded of it."""
        last = {row["position"]: row["round"] for row in one.rounds}
        for row, following in pairwise((*one.rounds, one.rounds[-1])) if one.rounds else ():
            outcome = row["outcome"]
            if row["round"] != last[row["position"]]:
                yield from self._asked_again(row, following)
            known = self.agents.known.pop(row["question_id"], None)
            if known is not None and known.answer is not None and outcome not in (None, known.answer.outcome.name):
                by_person = any(taken.task.asked.position == row["position"] for taken in self.taken.get(one.id, ()))
                if not by_person:
                    yield f"{row['provider']} said {known.answer.outcome.name}, and {outcome} is recorded"

    def _asked_again(self, row: Mapping[str, Any], following: Mapping[str, Any]) -> Iterator[str]:
        """A question under a new id, though there was an answer, or could be: that is a second search."""
        if row["outcome"] not in _ASKED_AGAIN:
            yield f"{row['provider']} was asked again at {row['position']} after {row['outcome']}"
        if row["outcome"] is None and decode_question(row["question"]).deadline > following["asked_at"]:
            yield f"{row['provider']} was asked anew at {row['position']} while the first question lived"


def _unheard(one: Found, taken: Taken) -> Iterator[str]:
    """An answer of a person that doesn't stand where it belongs."""
    asked, status = taken.task.asked, one.traceback.status
    outcomes = [row["outcome"] for row in one.rounds if row["position"] == asked.position]
    if not outcomes or (outcomes[-1] is None and status is not Status.ORDER_EXPIRED):
        yield f"{asked.provider} answered {taken.outcome}, and nothing of it counts: {status.value}"


def unrecorded(agents: Agents) -> Iterator[str]:
    """Questions that reached an agent without being recorded before: whose tracebacks have no such hop."""
    for question_id, known in agents.known.items():
        yield f"the question {question_id} was put {known.sent} times, and nothing of it is recorded"


def mislabelled(engine: Engine, world: World, now: datetime) -> Iterator[str]:
    """Providers that are labelled as non-cooperative and mustn't be, or the other way round."""
    facts = persons_between(engine, now - DEFAULT_POLICY.period, now)
    requests = defaultdict(list)
    for fact in facts:
        requests[fact.provider].append(fact.request)
    for card in scorecards([], facts, now):
        asked, label = requests[card.provider], card.label
        manner = world.parties[card.provider].manner.value
        never = all(request.answered is None for request in asked)
        good = all(
            request.answered is not None and request.answered <= request.plan.due and not request.refused
            for request in asked
        )
        if good and label.non_cooperative:
            yield f"{card.provider} ({manner}) answered in time and is labelled: {label.reason}"
        if never and len(asked) >= DEFAULT_POLICY.least_requests and not label.non_cooperative:
            yield f"{card.provider} ({manner}) never answered and is not labelled: {label.reason}"
