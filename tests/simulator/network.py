"""The network and the agents at its other end: slow, lossy, doubling, half open; honest, mute, lying.

What happens to a message is drawn from the seed, the provider, the questions in it and how often they were sent, so
that it doesn't depend on what else goes on. Agents hold to the protocol: the same id with the same bytes gets the
stored answer without a search, and other bytes under a known id are a defect that ends the simulation.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from uuid import UUID

from coordinator.ports import AttemptTimedOutError, Provider, Reply, UnreachableError
from protos.codec import digest, encode_answer
from protos.identity import ProviderId
from protos.types import Answer, Handover, Outcome, Question
from tests.simulator.loop import VirtualClock
from tests.simulator.world import Habit, Passage, World


class BrokenRuleError(AssertionError):
    """The coordinator did what it must never do."""


class Fate(enum.Enum):
    """What becomes of a message."""

    ARRIVES = "arrives"
    LOST = "lost"
    ANSWER_LOST = "answer lost"
    RESET = "reset"
    HALF_OPEN = "half open"
    DOUBLED = "doubled"


_FATES = ((Fate.LOST, 0.03), (Fate.ANSWER_LOST, 0.03), (Fate.RESET, 0.03), (Fate.HALF_OPEN, 0.02), (Fate.DOUBLED, 0.05))


@dataclass(slots=True)
class Searched:
    """What an agent remembers of a question."""

    exact: bytes
    answer: Answer
    searches: int = 1


class Agents:
    """All agents of the industry. Implements `coordinator.ports.BatchClient`."""

    def __init__(self, world: World, *, calm_after: timedelta) -> None:
        """After `calm_after` nothing goes wrong on the network any more; providers keep their habits."""
        self._world = world
        self._clock = VirtualClock()
        self._calm_after = calm_after.total_seconds()
        self._sent: Counter[tuple[ProviderId, UUID]] = Counter()
        self._load: Counter[tuple[ProviderId, int]] = Counter()
        self.memory: dict[tuple[ProviderId, UUID], Searched] = {}
        self.fates: Counter[Fate] = Counter()
        self.trace = hashlib.sha256()

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        """See `coordinator.ports.AgentClient`."""
        (reply,) = await self.ask_many(provider, [(question, exact)], timeout)
        return reply

    async def ask_many(
        self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
    ) -> list[Reply]:
        """See `coordinator.ports.BatchClient`."""
        limit = timeout.total_seconds()
        party = self._world.parties[provider.id]
        first = asked[0][0].question_id
        self._sent[provider.id, first] += 1
        chance = Random(f"{self._world.seed} {provider.id} {first} {len(asked)} {self._sent[provider.id, first]}")
        fate = self._fate(chance)
        self.fates[fate] += 1
        self._note(f"{asyncio.get_running_loop().time():.6f} {provider.id} {fate.value} {len(asked)} {first}")
        if party.habit is Habit.SILENT or fate in (Fate.LOST, Fate.HALF_OPEN):
            return await self._never(limit)
        if fate is Fate.RESET or (party.habit is Habit.FLAPPING and self._is_down(provider.id)):
            await asyncio.sleep(chance.uniform(0.001, 0.2))
            raise UnreachableError("connection reset")
        if party.habit is Habit.OVERLOADED and self._is_too_much(provider.id, len(asked)):
            await asyncio.sleep(0.01)
            raise UnreachableError("the agent can't answer now")
        delay = chance.uniform(1.0, 14.0) if party.habit is Habit.SLOW else chance.expovariate(1 / 0.03)
        if delay >= limit:
            return await self._never(limit, after=lambda: self._answers(provider.id, asked))
        await asyncio.sleep(delay)
        answers = self._answers(provider.id, asked)
        if fate is Fate.DOUBLED:
            answers = self._answers(provider.id, asked)
        if fate is Fate.ANSWER_LOST:
            return await self._never(limit - delay)
        return [
            Reply(answer, encode_answer(answer, digest(exact)))
            for answer, (_, exact) in zip(answers, asked, strict=True)
        ]

    async def _never(self, limit: float, after: object = None) -> list[Reply]:
        await asyncio.sleep(limit)
        if callable(after):
            after()  # the agent answers into nothing
        raise AttemptTimedOutError("no answer in time")

    def _fate(self, chance: Random) -> Fate:
        if asyncio.get_running_loop().time() > self._calm_after:
            return Fate.ARRIVES
        drawn = chance.random()
        for fate, share in _FATES:
            if drawn < share:
                return fate
            drawn -= share
        return Fate.ARRIVES

    def _is_down(self, provider: ProviderId) -> bool:
        slot = int(asyncio.get_running_loop().time() // 40)
        calm = asyncio.get_running_loop().time() > self._calm_after
        return not calm and Random(f"{self._world.seed} {provider} down {slot}").random() < 0.4

    def _is_too_much(self, provider: ProviderId, questions: int) -> bool:
        second = int(asyncio.get_running_loop().time())
        self._load[provider, second] += questions
        return self._load[provider, second] > 5 and asyncio.get_running_loop().time() <= self._calm_after

    def _answers(self, provider: ProviderId, asked: Sequence[tuple[Question, bytes]]) -> list[Answer]:
        return [self._answered(provider, question, exact) for question, exact in asked]

    def _answered(self, provider: ProviderId, question: Question, exact: bytes) -> Answer:
        """The agent's own part: at most one search an id."""
        if question.target != provider:
            raise BrokenRuleError(f"{provider} was asked what {question.target} was to be asked")
        known = self.memory.get((provider, question.question_id))
        if known is not None:
            if known.exact != exact:
                raise BrokenRuleError(f"two questions to {provider} have one id")
            return known.answer
        answer = self._decide(provider, question)
        self.memory[provider, question.question_id] = Searched(exact, answer)
        self._note(f"{provider} answers {question.question_id} {answer.outcome.name} {answer.upstream}")
        return answer

    def _decide(self, provider: ProviderId, question: Question) -> Answer:
        party = self._world.parties[provider]
        if party.habit is Habit.LATE and self._clock.now() < party.records_from:
            return Answer(provider, Outcome.NOT_YET_AVAILABLE, retry_after=timedelta(minutes=20))
        found = self._found(provider, question)
        named = question.named_by is not None
        if not found:
            return Answer(provider, Outcome.NOT_FOUND, handover=_handover(named, mine=False))
        passage, position = found[0]
        if len({_next(one, place) for one, place in found}) > 1:
            return Answer(provider, Outcome.AMBIGUOUS, handover=_handover(named, mine=True))
        return self._said(party.habit, provider, question, passage, position)

    def _said(self, habit: Habit, provider: ProviderId, question: Question, passage: Passage, position: int) -> Answer:
        named = question.named_by is not None
        handover = _handover(named, mine=True)
        upstream = _next(passage, position)
        match habit:
            case Habit.DENIES:
                return Answer(provider, Outcome.NOT_FOUND, handover=_handover(named, mine=False))
            case Habit.CLAIMS_ORIGIN:
                return Answer(provider, Outcome.ORIGINATED_HERE, handover=handover)
            case Habit.NAMES_ITSELF:
                return Answer(provider, Outcome.UPSTREAM, upstream=provider, handover=handover)
            case Habit.LOOPS if question.named_by is not None:
                return Answer(provider, Outcome.UPSTREAM, upstream=question.named_by, handover=handover)
            case Habit.NAMES_AN_INNOCENT:
                innocents = [name for name in self._world.parties if name not in passage.path]
                if innocents:
                    innocent = Random(f"{self._world.seed} {passage.called} {provider}").choice(innocents)
                    return Answer(provider, Outcome.UPSTREAM, upstream=innocent, handover=handover)
        if upstream is None:
            if passage.from_abroad:
                abroad = ProviderId("carrier-abroad")
                return Answer(provider, Outcome.FOREIGN_UPSTREAM, upstream=abroad, handover=handover)
            return Answer(provider, Outcome.ORIGINATED_HERE, handover=handover)
        return Answer(provider, Outcome.UPSTREAM, upstream=upstream, handover=handover)

    def _found(self, provider: ProviderId, question: Question) -> list[tuple[Passage, int]]:
        """Where the provider's records show such a call: the passages, and its place in each path."""
        found = []
        for passage in self._world.passages_of(question.called, question.at, question.window):
            for position, name in enumerate(passage.path):
                downstream = passage.path[position - 1] if position else None
                if name == provider and downstream == question.named_by:
                    found.append((passage, position))
        return found

    def _note(self, line: str) -> None:
        self.trace.update(line.encode() + b"\n")


def _next(passage: Passage, position: int) -> ProviderId | None:
    return passage.path[position + 1] if position + 1 < len(passage.path) else None


def _handover(named: bool, *, mine: bool) -> Handover:
    if not named:
        return Handover.UNSPECIFIED
    return Handover.CONFIRMED if mine else Handover.NOT_MINE
