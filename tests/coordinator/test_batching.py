"""Batches: what is due together goes together, what comes alone goes alone, one bad answer spoils no other chain."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from coordinator.agents import GrpcAgents
from coordinator.batching import BatchingAgents
from coordinator.lab_ca import LabAuthority
from coordinator.ports import BadAnswerError, DeclinedError, Provider, Reply, UnreachableError
from coordinator.traceback import Started, advance
from protos.codec import decode_answer, digest, encode_answer, encode_question
from protos.codec_batch import decode_answers, decode_questions
from protos.types import Answer, Outcome, Question
from tests.coordinator.fake_agent import FakeAgent, served
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


def ask_all(agents: BatchingAgents, at: Provider, asked: list[Question]) -> list[asyncio.Task[Reply]]:
    return [asyncio.create_task(agents.ask(at, question, encode_question(question), SOON)) for question in asked]


async def turns(count: int = 5) -> None:
    """Let whatever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


class TestQuestions:
    async def test_that_are_due_together_go_together(self) -> None:
        gate = Gate()
        gate.open.set()
        replies = await asyncio.gather(*ask_all(BatchingAgents(gate), GINKGO, questions(20)))
        assert gate.messages == [("ginkgo", 20)]
        assert len(replies) == 20

    async def test_that_come_alone_go_alone_and_at_once(self) -> None:
        gate = Gate()
        gate.open.set()
        await asyncio.gather(*ask_all(BatchingAgents(gate), GINKGO, questions(1)))
        assert gate.messages == [("ginkgo", 1)]

    async def test_gather_while_the_provider_is_busy(self) -> None:
        gate = Gate()
        agents = BatchingAgents(gate, in_flight=1)
        tasks = ask_all(agents, GINKGO, questions(1))
        await turns()
        tasks += ask_all(agents, GINKGO, questions(7)[1:])
        await turns()
        assert gate.messages == [("ginkgo", 1)]
        gate.open.set()
        await asyncio.gather(*tasks)
        assert gate.messages == [("ginkgo", 1), ("ginkgo", 6)]

    async def test_never_make_a_batch_larger_than_the_bound(self) -> None:
        gate = Gate()
        gate.open.set()
        await asyncio.gather(*ask_all(BatchingAgents(gate, largest=8), GINKGO, questions(20)))
        assert sorted(count for _, count in gate.messages) == [4, 8, 8]

    async def test_for_a_provider_that_is_stuck_hold_up_no_other_provider(self) -> None:
        class Stuck(Gate):
            async def ask_many(
                self, provider: Provider, asked: Sequence[tuple[Question, bytes]], timeout: timedelta
            ) -> list[Reply]:
                if provider.id == "birch":
                    self.open.set()
                return await super().ask_many(provider, asked, timeout)

        gate = Stuck()
        agents = BatchingAgents(gate, in_flight=1)
        stuck = ask_all(agents, GINKGO, questions(3))
        await turns()
        await asyncio.gather(*ask_all(agents, BIRCH, questions(3, BIRCH)))
        await asyncio.gather(*stuck)

    async def test_that_nobody_waits_for_any_more_are_not_sent(self) -> None:
        gate = Gate()
        agents = BatchingAgents(gate, in_flight=1)
        first = ask_all(agents, GINKGO, questions(1))
        await turns()
        waiting = ask_all(agents, GINKGO, questions(4)[1:])
        await turns()
        waiting[0].cancel()
        await turns()
        gate.open.set()
        await asyncio.gather(*first, *waiting[1:])
        assert gate.messages == [("ginkgo", 1), ("ginkgo", 2)]


class TestAFailingBatch:
    @pytest.mark.parametrize("error", [UnreachableError("refused"), DeclinedError("not on the list")])
    async def test_fails_every_question_in_the_same_way(self, error: Exception) -> None:
        gate = Gate(error)
        gate.open.set()
        results = await asyncio.gather(*ask_all(BatchingAgents(gate), GINKGO, questions(3)), return_exceptions=True)
        assert [(type(result), str(result)) for result in results] == [(type(error), str(error))] * 3
        assert len({id(result) for result in results}) == 3

    async def test_with_a_bad_answer_is_asked_again_one_by_one_and_only_the_bad_one_suffers(self) -> None:
        gate = Gate(BadAnswerError("columns differ"))
        gate.single_error = BadAnswerError("not an Answer", b"\xff")
        gate.open.set()
        bad, *good = await asyncio.gather(*ask_all(BatchingAgents(gate), GINKGO, questions(3)), return_exceptions=True)
        assert gate.messages == [("ginkgo", 3), ("ginkgo", 1), ("ginkgo", 1), ("ginkgo", 1)]
        assert isinstance(bad, BadAnswerError)
        assert bad.received == b"\xff"
        assert all(isinstance(reply, Reply) for reply in good)


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
