"""The network and the agents at its other end: slow, lossy, doubling, half open; honest, mute, lying, held for review.

What happens to a message is drawn from the seed, the provider, the questions in it and how often they were sent, so
that it doesn't depend on what else goes on. Agents hold to the protocol: the same id with the same bytes gets the
stored answer without a search. They say so when the coordinator does what it must never do: put other bytes under a
known id, ask one provider for what another was to be asked, ask somebody whom nobody named.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from coordinator.tracing.ports import AttemptTimedOutError, Provider, Reply, UnreachableError
from coordinator.tracing.signed import SignedAnswer, SignedQuestion, keep, signed_answer
from protos import hops
from protos.codec import digest, encode_answer
from protos.e164 import E164
from protos.identity import ProviderId
from protos.signing import Domain, Proof
from protos.types import Answer, Handover, Outcome, Question, RecordCoverage, RefusalReason
from tests.simulator.journal import Journal
from tests.simulator.keys import Keys
from tests.simulator.loop import VirtualClock
from tests.simulator.world import ABROAD, Asked, Habit, Lot, Manner, Passage, World


class Fate(enum.Enum):
    """What becomes of a message."""

    ARRIVES = "arrives"
    LOST = "lost"
    ANSWER_LOST = "answer lost"
    RESET = "reset"
    HALF_OPEN = "half open"
    DOUBLED = "doubled"


_FATES = ((Fate.LOST, 0.03), (Fate.ANSWER_LOST, 0.03), (Fate.RESET, 0.03), (Fate.HALF_OPEN, 0.02), (Fate.DOUBLED, 0.05))
_ASK_AGAIN = timedelta(minutes=20)
_HELD_FOR = timedelta(hours=6)
_HOUR_S = 3600.0

Held = tuple[ProviderId, E164, ProviderId | None]
"""An answer that is held for review: whose, about which number, asked by whose naming."""


@dataclass(slots=True)
class Known:
    """What there is of a question: how often messages began with it; when it arrived, its bytes and the answer."""

    sent: int = 0
    exact: bytes = b""
    answer: Answer | None = None
    meant: Passage | None = None
    """The one call that the answer is about, where the agent could tell."""


class Agents:
    """All agents of the industry. Implements `coordinator.tracing.ports.BatchClient`."""

    def __init__(self, world: World, journal: Journal, keys: Keys, *, calm_after: timedelta) -> None:
        """After `calm_after` nothing goes wrong on the network any more; providers keep their habits."""
        self._world = world
        self._journal = journal
        self._keys = keys
        self._clock = VirtualClock()
        self._calm_after = calm_after.total_seconds()
        self._load: Counter[ProviderId] = Counter()
        self._loaded_at = 0
        self._named: set[tuple[ProviderId, ProviderId, E164]] = set()
        self._reviewed: dict[Held, bool | None] = {}
        self.known: dict[UUID, Known] = {}
        self.fates: Counter[Fate] = Counter()

    def named(self, by: ProviderId, upstream: ProviderId, called: E164) -> None:
        """Somebody at `by`, agent or person, has said that the call came from `upstream`."""
        self._named.add((by, upstream, called))

    def release(self, provider: ProviderId, asked: Asked, *, denied: bool = False) -> None:
        """The provider's people have looked at the answer that its agent holds."""
        self._reviewed[provider, asked.called, asked.named_by] = not denied

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        """See `coordinator.tracing.ports.AgentClient`."""
        (reply,) = await self.ask_many(provider, [(question, exact)], timeout)
        return reply

    async def ask_many(
        self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
    ) -> list[Reply]:
        """See `coordinator.tracing.ports.BatchClient`."""
        limit = timeout.total_seconds()
        habit = self._world.parties[provider.id].habit
        first = self._known(asked[0][0].question_id)
        first.sent += 1
        lot = Lot(self._world.seed, provider.id, asked[0][0].question_id.hex, len(asked), first.sent)
        fate = self._fate(lot)
        self.fates[fate] += 1
        self._journal.note(f"{provider.id} {fate.value} {len(asked)} {asked[0][0].question_id.hex}")
        if habit is Habit.SILENT or fate in (Fate.LOST, Fate.HALF_OPEN):
            return await _never(limit)
        if fate is Fate.RESET or (habit is Habit.FLAPPING and self._is_down(provider.id)):
            await asyncio.sleep(lot.between(0.001, 0.2))
            raise UnreachableError("connection reset")
        if habit is Habit.OVERLOADED and self._is_too_much(provider.id, len(asked)):
            await asyncio.sleep(0.01)
            raise UnreachableError("the agent can't answer now")
        delay = lot.between(1.0, 14.0) if habit is Habit.SLOW else lot.exponential(0.03)
        if delay >= limit:
            return await _never(limit, after=lambda: self._answers(provider.id, asked))
        await asyncio.sleep(delay)
        answers = self._answers(provider.id, asked)
        if fate is Fate.DOUBLED:
            answers = self._answers(provider.id, asked)
        if fate is Fate.ANSWER_LOST:
            return await _never(limit - delay)
        return [self._reply(question, exact, answer) for answer, (question, exact) in zip(answers, asked, strict=True)]

    def _known(self, question_id: UUID) -> Known:
        known = self.known.get(question_id)
        if known is None:
            known = self.known[question_id] = Known()
        return known

    # The network

    def _fate(self, lot: Lot) -> Fate:
        if asyncio.get_running_loop().time() > self._calm_after:
            return Fate.ARRIVES
        drawn = lot.random()
        for fate, share in _FATES:
            if drawn < share:
                return fate
            drawn -= share
        return Fate.ARRIVES

    def _is_down(self, provider: ProviderId) -> bool:
        now = asyncio.get_running_loop().time()
        return now <= self._calm_after and Lot(self._world.seed, provider, "down", int(now // 40)).random() < 0.4

    def _is_too_much(self, provider: ProviderId, questions: int) -> bool:
        now = asyncio.get_running_loop().time()
        if int(now) != self._loaded_at:
            self._loaded_at = int(now)
            self._load.clear()
        self._load[provider] += questions
        return self._load[provider] > 5 and now <= self._calm_after

    # The agents

    def _answers(self, provider: ProviderId, asked: Sequence[tuple[Question, bytes]]) -> list[Answer]:
        return [self._answered(provider, question, exact) for question, exact in asked]

    def _answered(self, provider: ProviderId, question: Question, exact: bytes) -> Answer:
        """The agent's own part: at most one search an id."""
        known, sent = self._known(question.question_id), digest(exact)
        if known.answer is not None:
            if known.exact != sent:
                self._journal.breaks(f"two questions to {provider} have one id, {question.question_id}")
            return known.answer
        if question.target != provider:
            self._journal.breaks(f"{provider} was asked what {question.target} was to be asked")
        by = question.named_by
        if by is not None and (by, provider, question.called) not in self._named:
            self._journal.breaks(f"{provider} was asked, and {by}, as whose upstream it was asked, has not named it")
        self._check_evidence(provider, question)
        self._check_sisters(provider, question)
        answer, meant = self._decide(provider, question)
        if answer.upstream is not None and answer.handover is not Handover.NOT_MINE:
            self.named(provider, answer.upstream, question.called)
        known.exact, known.answer, known.meant = sent, answer, meant
        self._journal.note(f"{provider} answers {question.question_id.hex} {answer.outcome.name} {answer.upstream}")
        return answer

    def _check_evidence(self, provider: ProviderId, question: Question) -> None:
        """Under an order an agent wants to see the signed answer that names it."""
        if question.authority is None or question.named_by is None:
            return
        naming = question.named if isinstance(question, SignedQuestion) else None
        if not isinstance(naming, SignedAnswer) or naming.upstream != provider or naming.provider != question.named_by:
            self._journal.breaks(f"{provider} was asked under an order without a signed answer that names it")

    def _check_sisters(self, provider: ProviderId, question: Question) -> None:
        """What it names of other calls it must have been told here, by the same neighbour, about the same number."""
        named = question.sisters if isinstance(question, SignedQuestion) else ()
        said = question.authority.sisters if question.authority else ()
        if tuple(one.sister for one in named) != said:
            self._journal.breaks(f"{provider} was asked with sister calls, and without what proves them")
        for sister in said:
            known = self.known.get(sister.question_id)
            if known is None or known.answer is None or known.answer.provider != provider or known.meant is None:
                self._journal.breaks(
                    f"{provider} was asked with a sister call about which it has not told whose it was"
                )

    def _tag(self, provider: ProviderId, question: Question) -> bytes:
        """By what a provider tells calls to one number apart, where it could tell which one was meant."""
        meant = self.known[question.question_id].meant
        if meant is None:
            return b""
        return digest(f"{provider} {meant.called}".encode())[:8] + digest(f"{meant.at} {meant.path}".encode())[:8]

    def _reply(self, question: Question, exact: bytes, answer: Answer) -> Reply:
        if question.authority is None:
            return Reply(answer, encode_answer(answer, digest(exact)))
        now = self._clock.now().replace(microsecond=0)
        finding = hops.Finding(RecordCoverage.COMPLETE, digest(exact), now)
        tag = self._tag(answer.provider, question)
        parts = hops.answer_parts(answer, question, digest(exact), finding, digest(b"salts" + exact), tag)
        seal, tree = self._keys.agents.seal(Domain.ANSWER, [parts.leaf])
        proof = Proof(seal, 0, tree.path(0))
        asked = hops.Asked(exact, question, question.authority)
        return Reply(signed_answer(parts, proof, asked), keep(parts, proof, b""))

    def _decide(self, provider: ProviderId, question: Question) -> tuple[Answer, Passage | None]:
        """The answer, and the one call that it is about, where that can be told."""
        found = self._meant(provider, question)
        meant = {passage for passage, _ in found}
        return self._answer_about(provider, question, found), next(iter(meant)) if len(meant) == 1 else None

    def _meant(self, provider: ProviderId, question: Question) -> list[tuple[Passage, int]]:
        """What the records show; some clocks are good enough to tell calls apart, and sister calls are left out."""
        found = self._world.records_of(provider, question)
        if len({passage for passage, _ in found}) > 1:
            sisters = question.authority.sisters if question.authority else ()
            others = [self.known[sister.question_id].meant for sister in sisters]
            if sisters:
                self._journal.counts["calls told by their sisters"] += 1
            elif (
                self._world.tells_apart(provider, question.called)
                or Lot(self._world.seed, provider, question.called, question.at).random() < 0.5
            ):
                others = [passage for passage, _ in found if passage.at != question.at]
            return [one for one in found if one[0] not in others] or found
        return found

    def _answer_about(self, provider: ProviderId, question: Question, found: list[tuple[Passage, int]]) -> Answer:
        party = self._world.parties[provider]
        named = question.named_by is not None
        if party.habit is Habit.LATE and self._clock.now() < party.records_from:
            return Answer(provider, Outcome.NOT_YET_AVAILABLE, retry_after=_ASK_AGAIN)
        if not found:
            return Answer(provider, Outcome.NOT_FOUND, handover=_handover(named, mine=False))
        if party.habit is Habit.HOLDS:
            released = self._review(provider, question, party.manner)
            if released is None:
                return Answer(provider, Outcome.NEEDS_HUMAN, retry_after=_HELD_FOR)
            if not released:
                return Answer(provider, Outcome.REFUSED, refusal=RefusalReason.POLICY)
        passage, position = found[0]
        if len({one.upstream_of(place) for one, place in found}) > 1:
            return Answer(provider, Outcome.AMBIGUOUS, handover=_handover(named, mine=True))
        return self._said(party.habit, provider, question, passage, position)

    def _review(self, provider: ProviderId, question: Question, manner: Manner) -> bool | None:
        """What the provider's people decided; half of the quick ones do so without a letter."""
        key = (provider, question.called, question.named_by)
        if key not in self._reviewed:
            self._reviewed[key] = None
            lot = Lot(self._world.seed, "review", *key)
            if manner in (Manner.PROMPT, Manner.REFUSES) and lot.random() < 0.5:
                after = lot.between(0.2, 6.0) * _HOUR_S
                denied = manner is Manner.REFUSES
                asyncio.get_running_loop().call_later(after, lambda: self.release(provider, question, denied=denied))
        return self._reviewed[key]

    def _said(self, habit: Habit, provider: ProviderId, question: Question, passage: Passage, position: int) -> Answer:
        named = question.named_by is not None
        handover = _handover(named, mine=True)
        upstream = passage.upstream_of(position)
        match habit:
            case Habit.DENIES:
                denied = _handover(named, mine=False)
                aside = self._world.innocent(passage, provider) if named else None
                if aside is not None and Lot(self._world.seed, provider, passage.called).random() < 0.5:
                    return Answer(provider, Outcome.UPSTREAM, upstream=aside, handover=denied)
                return Answer(provider, Outcome.NOT_FOUND, handover=denied)
            case Habit.CLAIMS_ORIGIN:
                return Answer(provider, Outcome.ORIGINATED_HERE, handover=handover)
            case Habit.NAMES_ITSELF:
                return Answer(provider, Outcome.UPSTREAM, upstream=provider, handover=handover)
            case Habit.LOOPS if question.named_by is not None:
                return Answer(provider, Outcome.UPSTREAM, upstream=question.named_by, handover=handover)
            case Habit.NAMES_AN_INNOCENT:
                innocent = self._world.innocent(passage, provider)
                if innocent is not None:
                    return Answer(provider, Outcome.UPSTREAM, upstream=innocent, handover=handover)
        if upstream is not None:
            return Answer(provider, Outcome.UPSTREAM, upstream=upstream, handover=handover)
        if passage.from_abroad:
            return Answer(provider, Outcome.FOREIGN_UPSTREAM, upstream=ABROAD, handover=handover)
        return Answer(provider, Outcome.ORIGINATED_HERE, handover=handover)


async def _never(limit: float, after: Callable[[], object] = lambda: None) -> list[Reply]:
    """No answer comes in time; what happens `after` that is of no use to anybody."""
    await asyncio.sleep(limit)
    after()
    raise AttemptTimedOutError("no answer in time")


def _handover(named: bool, *, mine: bool) -> Handover:
    if not named:
        return Handover.UNSPECIFIED
    return Handover.CONFIRMED if mine else Handover.NOT_MINE
