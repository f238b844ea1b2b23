"""Batches: what is due together goes together, what comes alone goes alone, one bad answer spoils no other chain."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups.agents import GrpcAgents
from coordinator.lookups.alarms import Alarms
from coordinator.lookups.batching import Asked, Ending, Lanes, LaneTerms, Postponed, Silent
from coordinator.lookups.breaker import BreakerTerms
from coordinator.tracing.events import Started
from coordinator.tracing.ports import AgentClient, BadAnswerError, DeclinedError, Provider, Reply, UnreachableError
from coordinator.tracing.priorities import Priority
from coordinator.tracing.traceback import advance
from protos.codec import decode_answer, digest, encode_answer, encode_question
from protos.codec_batch import decode_answers, decode_questions
from protos.identity import ProviderId
from protos.types import Answer, Outcome, Question
from tests.coordinator.fake_agent import FakeAgent, served
from tests.coordinator.fakes import JumpingClock, ScriptedAgents
from tests.coordinator.make import NOW, provider, says, submitted, upstream

GINKGO = Provider(provider("ginkgo"), "Ginkgo", "192.0.2.1:7443")
BIRCH = Provider(provider("birch"), "Birch", "192.0.2.2:7443")
SOON = timedelta(seconds=5)


def questions(count: int, at: Provider = GINKGO) -> list[Question]:
    """Distinct questions to one provider, each with its own deadline, as a driver asks them."""
    first = advance(submitted(), Started(NOW))[0].hops[-1].question
    return [
        replace(
            first,
            question_id=uuid.UUID(int=number),
            target=at.id,
            deadline=first.deadline + timedelta(milliseconds=number),
        )
        for number in range(count)
    ]


class Gate:
    """A client that holds every message until it is let go, and notes who was asked how many."""

    def __init__(self, error: Exception | None = None) -> None:
        self.messages: list[tuple[str, int]] = []
        self.open = asyncio.Event()
        self.error = error
        self.single_error: Exception | None = None

    async def ask(self, provider: Provider, question: Question, exact: bytes, timeout: timedelta) -> Reply:
        self.messages.append((provider.id, 1))
        await self.open.wait()
        if self.single_error is not None and question.question_id.int == 0:
            raise self.single_error
        answer = says(provider.id, Outcome.ORIGINATED_HERE)
        return Reply(answer, encode_answer(answer, digest(exact)))

    async def ask_many(
        self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
    ) -> list[Reply]:
        self.messages.append((provider.id, len(asked)))
        await self.open.wait()
        if self.error is not None:
            raise self.error
        answer = says(provider.id, Outcome.ORIGINATED_HERE)
        return [Reply(answer, encode_answer(answer, digest(exact))) for _, exact in asked]


class StandingClock(JumpingClock):
    """Nobody's sleep moves it."""

    async def sleep_until(self, time: datetime) -> None:
        while self.now() < time:
            await asyncio.sleep(0)


class Room:
    """Lanes over a client, on a clock that stands still unless a test moves it, or with `jumping` somebody sleeps."""

    def __init__(self, client: AgentClient, *, jumping: bool = True, **terms: Any) -> None:
        self.clock = JumpingClock() if jumping else StandingClock()
        self.defects: list[Exception] = []
        self.back: list[ProviderId] = []
        self.alarms = Alarms(self.clock, self.defects.append)
        self.lanes = Lanes(
            client,
            self.clock,
            self.alarms,
            attempt_timeout=SOON,
            failed=self.defects.append,
            terms=LaneTerms(**terms),
            back=self.back.append,
        )
        self.told: list[tuple[int, Ending]] = []

    def put(self, at: Provider, asked: Sequence[Question], priority: Priority = Priority.REST) -> None:
        for question in asked:
            number = question.question_id.int

            def tell(ending: Ending, at: datetime, number: int = number) -> None:
                self.told.append((number, ending))

            self.lanes.put(at, Asked(question, encode_question(question), priority, tell))

    def outcomes(self) -> list[Ending]:
        return [outcome for _, outcome in sorted(self.told, key=lambda one: one[0])]


async def turns(count: int = 8) -> None:
    """Let whatever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def opened_gate(error: Exception | None = None) -> Gate:
    gate = Gate(error)
    gate.open.set()
    return gate


class TestQuestions:
    async def test_that_are_due_together_go_together(self) -> None:
        gate = opened_gate()
        room = Room(gate)
        room.put(GINKGO, questions(20))
        await turns()
        assert gate.messages == [("ginkgo", 20)]
        assert len(room.told) == 20

    async def test_that_come_alone_go_alone_and_at_once(self) -> None:
        gate = opened_gate()
        Room(gate).put(GINKGO, questions(1))
        await turns()
        assert gate.messages == [("ginkgo", 1)]

    async def test_gather_while_the_provider_is_busy(self) -> None:
        gate = Gate()
        room = Room(gate, in_flight=1)
        room.put(GINKGO, questions(1))
        await turns()
        room.put(GINKGO, questions(7)[1:])
        await turns()
        assert gate.messages == [("ginkgo", 1)]
        gate.open.set()
        await turns()
        assert gate.messages == [("ginkgo", 1), ("ginkgo", 6)]

    async def test_never_make_a_batch_larger_than_the_bound(self) -> None:
        gate = opened_gate()
        Room(gate, largest=8).put(GINKGO, questions(20))
        await turns(20)
        assert sorted(count for _, count in gate.messages) == [4, 8, 8]

    async def test_for_a_provider_that_is_stuck_hold_up_no_other_provider(self) -> None:
        class Stuck(Gate):
            async def ask_many(
                self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
            ) -> list[Reply]:
                if provider.id == "ginkgo":
                    await asyncio.Event().wait()
                return await super().ask_many(provider, asked, timeout)

        stuck = Stuck()
        stuck.open.set()
        room = Room(stuck, in_flight=1)
        room.put(GINKGO, questions(3))
        await turns()
        room.put(BIRCH, questions(3, BIRCH))
        await turns()
        assert len(room.told) == 3
        room.lanes.close()

    async def test_of_more_urgent_tracebacks_go_first(self) -> None:
        gate = Gate()
        room = Room(gate, in_flight=1, largest=2)
        first, *others = questions(6)
        room.put(GINKGO, [first])
        await turns()
        room.put(GINKGO, others[:3])
        room.put(GINKGO, others[3:], Priority.THREAT_TO_LIFE)
        gate.open.set()
        await turns(20)
        assert [number for number, _ in room.told] == [0, 4, 5, 1, 2, 3]

    async def test_whose_time_is_over_are_handed_back(self) -> None:
        gate = opened_gate()
        room = Room(gate)
        room.put(GINKGO, questions(2))
        room.clock.advance(timedelta(hours=1))
        await turns()
        assert gate.messages == []
        assert room.outcomes() == [Postponed(room.clock.now())] * 2

    async def test_whose_time_is_nearly_over_shorten_nobody_elses(self) -> None:
        gate = opened_gate()
        late, *others = questions(4)
        Room(gate).put(GINKGO, [replace(late, deadline=NOW + SOON / 4), *others])
        await turns()
        assert sorted(gate.messages) == [("ginkgo", 1), ("ginkgo", 3)]

    async def test_to_a_client_that_can_not_batch_go_singly_and_together(self) -> None:
        agents = ScriptedAgents(ginkgo=[says("ginkgo", Outcome.NOT_FOUND)])
        Room(agents).put(GINKGO, questions(5))
        await turns()
        assert (len(agents.asked), agents.most_running) == (5, 5)


class TestAProviderThatIsSlow:
    async def test_keeps_no_more_questions_than_there_is_room_for(self) -> None:
        gate = Gate()
        room = Room(gate, in_flight=1, room=3, pause=timedelta(seconds=7))
        room.put(GINKGO, questions(1))
        await turns()
        room.put(GINKGO, questions(6)[1:])
        assert room.told == [(4, Postponed(NOW + timedelta(seconds=7))), (5, Postponed(NOW + timedelta(seconds=7)))]

    async def test_keeps_none_when_its_messages_have_been_unanswered_for_long(self) -> None:
        gate = Gate()
        room = Room(gate, in_flight=1, slow=timedelta(seconds=2), pause=timedelta(seconds=1))
        room.put(GINKGO, questions(1))
        await turns()
        room.clock.advance(timedelta(seconds=2))
        room.put(GINKGO, questions(2)[1:])
        assert room.told == [(1, Postponed(NOW + timedelta(seconds=3)))]


class TestAProviderThatIsDown:
    def down(self, **terms: Any) -> tuple[Gate, Room]:
        gate = opened_gate(UnreachableError("refused"))
        gate.single_error = UnreachableError("refused")
        pauses = BreakerTerms(failures=2, pause=timedelta(seconds=4), scatter=0.0)
        return gate, Room(gate, jumping=False, breaker=pauses, **terms)

    async def fail(self, room: Room, times: int) -> None:
        for _ in range(times):
            room.put(GINKGO, questions(1))
            await turns()

    async def test_is_not_asked_again_before_a_pause_is_over(self) -> None:
        gate, room = self.down()
        await self.fail(room, 2)
        room.told.clear()
        room.put(GINKGO, questions(3))
        await turns()
        assert (len(gate.messages), room.outcomes()) == (2, [])

    async def test_keeps_a_few_to_see_when_it_is_back_and_lets_all_others_rest(self) -> None:
        gate, room = self.down()
        await self.fail(room, 2)
        room.told.clear()
        room.put(GINKGO, questions(1000))
        await turns()
        assert len(gate.messages) == 2
        silent = [one for one in room.outcomes() if isinstance(one, Silent)]
        assert {(one.attempts, one.error.detail) for one in silent} == {(2, "refused")}
        assert len(silent) == len(room.told) == 992
        room.told.clear()
        gate.error = gate.single_error = None
        room.clock.advance(timedelta(seconds=4))
        await turns()
        assert gate.messages[2:] == [("ginkgo", 8)]
        assert [type(one) for one in room.outcomes()] == [Reply] * 8

    async def test_is_said_to_be_back_once_with_the_first_answer_after_each_silence(self) -> None:
        gate, room = self.down()
        await self.fail(room, 2)
        assert room.back == []
        gate.error = gate.single_error = None
        room.put(GINKGO, questions(1))
        room.clock.advance(timedelta(seconds=4))
        await turns()
        await self.fail(room, 3)
        assert room.back == [GINKGO.id]

    async def test_is_then_asked_everything_in_one_message(self) -> None:
        gate, room = self.down(largest=5)
        await self.fail(room, 2)
        room.clock.advance(timedelta(seconds=4))
        room.put(GINKGO, questions(12))
        await turns()
        assert gate.messages[2:] == [("ginkgo", 5)]

    async def test_is_asked_as_before_after_the_first_answer(self) -> None:
        gate, room = self.down()
        await self.fail(room, 2)
        room.clock.advance(timedelta(seconds=4))
        gate.error = gate.single_error = None
        await self.fail(room, 1)
        room.told.clear()
        room.put(GINKGO, questions(3))
        await turns()
        assert [type(outcome) for outcome in room.outcomes()] == [Reply] * 3

    async def test_harms_no_other(self) -> None:
        gate, room = self.down()
        await self.fail(room, 2)
        gate.error = None
        room.told.clear()
        room.put(BIRCH, questions(2, BIRCH))
        await turns()
        assert [type(outcome) for outcome in room.outcomes()] == [Reply] * 2


class TestRateAndBudget:
    async def test_no_more_questions_go_in_a_second_than_the_rate_allows(self) -> None:
        gate = opened_gate()
        room = Room(gate, rate=4.0)
        room.put(GINKGO, questions(10))
        await turns(4)
        assert gate.messages == [("ginkgo", 4)]
        await turns(100)
        assert sum(count for _, count in gate.messages) == 10
        assert room.clock.now() - NOW >= timedelta(seconds=1.5)

    async def test_no_more_questions_go_on_a_day_than_the_budget_allows(self) -> None:
        gate = opened_gate()
        room = Room(gate, budget=3)
        room.put(GINKGO, questions(5))
        await turns(20)
        assert gate.messages == [("ginkgo", 3)]
        midnight = NOW.replace(hour=0) + timedelta(days=1)
        assert room.outcomes()[3:] == [Postponed(midnight)] * 2
        room.clock.advance(midnight - NOW)
        late = [replace(question, deadline=midnight + SOON) for question in questions(2)]
        room.put(GINKGO, late)
        await turns()
        assert gate.messages[1:] == [("ginkgo", 2)]


class TestAFailingBatch:
    @pytest.mark.parametrize("error", [UnreachableError("refused"), DeclinedError("not on the list")])
    async def test_fails_every_question_in_the_same_way(self, error: Exception) -> None:
        room = Room(opened_gate(error))
        room.put(GINKGO, questions(3))
        await turns()
        assert room.outcomes() == [error] * 3

    async def test_is_not_held_in_memory_by_what_it_failed_with(self) -> None:
        room = Room(opened_gate(UnreachableError("refused")))
        room.put(GINKGO, questions(3))
        await turns()
        assert [outcome.__traceback__ for outcome in room.outcomes() if isinstance(outcome, Exception)] == [None] * 3

    async def test_with_a_bad_answer_is_asked_again_in_halves_and_only_the_bad_one_suffers(self) -> None:
        class OneBad(Gate):
            async def ask_many(
                self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
            ) -> list[Reply]:
                replies = await super().ask_many(provider, asked, timeout)
                if any(question.question_id.int == 0 for question, _ in asked):
                    raise BadAnswerError("columns differ")
                return replies

        gate = OneBad()
        gate.single_error = BadAnswerError("not an Answer", b"\xff")
        gate.open.set()
        room = Room(gate)
        room.put(GINKGO, questions(6))
        await turns(20)
        bad, *good = room.outcomes()
        assert gate.messages == [("ginkgo", 6), ("ginkgo", 3), ("ginkgo", 1), ("ginkgo", 2), ("ginkgo", 3)]
        assert isinstance(bad, BadAnswerError)
        assert bad.received == b"\xff"
        assert all(isinstance(reply, Reply) for reply in good)

    async def test_for_a_reason_that_nobody_foresaw_says_so(self) -> None:
        room = Room(opened_gate(ZeroDivisionError()))
        room.put(GINKGO, questions(2))
        await turns()
        assert [type(defect) for defect in room.defects] == [ZeroDivisionError]


class TestOverTheWire:
    async def test_every_answer_belongs_to_its_question_and_comes_with_what_travelled(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        def by_id(question: Question) -> Answer:
            return upstream("ginkgo", f"provider-{question.question_id.int}")

        agent = FakeAgent("ginkgo", by_id)
        asked = [(question, encode_question(question)) for question in questions(5)]
        async with served(agent, authority):
            replies = await agents.ask_many(agent.entry, asked, SOON)
        assert agent.calls == 1
        for number, (reply, (_, exact)) in enumerate(zip(replies, asked, strict=True)):
            assert reply.answer.upstream == f"provider-{number}"
            restated = decode_answer(reply.exact, question_sha256=digest(exact), expected=provider("ginkgo"))
            assert restated == reply.answer
        batch = replies[0].batch
        assert batch is not None
        assert all(reply.batch is batch for reply in replies)
        sent = decode_questions(batch.sent)
        assert [question.question_id for question in sent] == [question.question_id for question, _ in asked]
        answers = decode_answers(batch.received, batch_sha256=digest(batch.sent), expected=provider("ginkgo"), count=5)
        assert answers == [reply.answer for reply in replies]

    async def test_the_earliest_deadline_holds_for_all(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        agent = FakeAgent("ginkgo", says("ginkgo", Outcome.NOT_FOUND))
        asked = [(question, encode_question(question)) for question in questions(3)]
        async with served(agent, authority):
            await agents.ask_many(agent.entry, asked, SOON)
        assert {question.deadline for question in agent.asked} == {asked[0][0].deadline}

    @pytest.mark.parametrize("received", [b"\xff\xff", b"", b"\x0a\x01\x07"])
    async def test_nonsense_is_a_bad_answer(self, agents: GrpcAgents, authority: LabAuthority, received: bytes) -> None:
        agent = FakeAgent("ginkgo", received)
        asked = [(question, encode_question(question)) for question in questions(2)]
        async with served(agent, authority):
            with pytest.raises(BadAnswerError):
                await agents.ask_many(agent.entry, asked, SOON)
