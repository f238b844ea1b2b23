"""The client of the agents, over real mutual TLS: a checked answer or one of four errors, whatever comes."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.authority.lab_ca import LabAuthority
from coordinator.lookups.agents import GrpcAgents
from coordinator.tracing.events import Started
from coordinator.tracing.ports import (
    AttemptTimedOutError,
    BadAnswerError,
    DeclinedError,
    Provider,
    Reply,
    UnreachableError,
)
from coordinator.tracing.traceback import advance
from hopback.v1 import lookup_pb2 as pb
from protos.codec import digest, encode_answer, encode_question
from protos.errors import Fault
from protos.types import ErrorReason, Outcome, Question
from tests.coordinator.fake_agent import Behaviour, FakeAgent, never, served, tls
from tests.coordinator.make import NOW, provider, says, submitted, upstream

QUESTION = advance(submitted(), Started(NOW))[0].hops[-1].question
EXACT = encode_question(QUESTION)
ANSWER = upstream("ginkgo", "birch", correction_s=-2)
PATIENT = timedelta(seconds=10)


async def ask(
    agents: GrpcAgents,
    authority: LabAuthority,
    behaviour: Behaviour,
    *,
    timeout: timedelta = PATIENT,
    certificate_of: str | None = None,
) -> Reply:
    agent = FakeAgent("ginkgo", behaviour)
    async with served(agent, authority, certificate_of=certificate_of):
        return await agents.ask(agent.entry, QUESTION, EXACT, timeout)


def response(answer: bytes) -> bytes:
    return pb.LookupResponse(answer=answer).SerializeToString()


class TestAnAnswer:
    async def test_comes_with_the_exact_bytes_in_which_it_travelled(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        assert await ask(agents, authority, ANSWER) == Reply(ANSWER, encode_answer(ANSWER, digest(EXACT)))

    async def test_is_to_the_very_question_that_was_sent(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        agent = FakeAgent("ginkgo", ANSWER)
        async with served(agent, authority):
            await agents.ask(agent.entry, QUESTION, EXACT, PATIENT)
        assert agent.asked == [QUESTION]

    async def test_after_an_answer_needs_no_second_connection_until_the_endpoint_moves(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        first, moved = FakeAgent("ginkgo", ANSWER), FakeAgent("ginkgo", ANSWER)
        async with served(first, authority), served(moved, authority):
            for entry in (first.entry, first.entry, moved.entry):
                await agents.ask(entry, QUESTION, EXACT, PATIENT)
        assert (first.calls, moved.calls) == (2, 1)


class TestNonsense:
    @pytest.mark.parametrize(
        ("received", "why"),
        [
            (b"\xff\xff\xff", "don't parse"),
            (b"", "answer"),
            (response(b"\x07"), "don't parse"),
            (response(encode_answer(ANSWER, digest(b"another question"))), "another question"),
            (response(encode_answer(upstream("birch", "alder"), digest(EXACT))), "another provider"),
            (response(pb.Answer(question_sha256=digest(EXACT), provider="ginkgo").SerializeToString()), "outcome"),
            (
                response(
                    pb.Answer(
                        question_sha256=digest(EXACT), provider="ginkgo", outcome=pb.OUTCOME_UPSTREAM
                    ).SerializeToString()
                ),
                "contradicts",
            ),
            (
                response(
                    pb.Answer(
                        question_sha256=digest(EXACT),
                        provider="ginkgo",
                        outcome=pb.OUTCOME_NOT_FOUND,
                        upstream="birch",
                    ).SerializeToString()
                ),
                "contradicts",
            ),
        ],
    )
    async def test_is_told_from_an_answer_and_kept(
        self, agents: GrpcAgents, authority: LabAuthority, received: bytes, why: str
    ) -> None:
        with pytest.raises(BadAnswerError, match=why) as caught:
            await ask(agents, authority, received)
        assert caught.value.received is not None

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(received=st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(response)))
    async def test_of_any_kind_is_a_bad_answer_and_never_anything_else(
        self, agents: GrpcAgents, authority: LabAuthority, received: bytes
    ) -> None:
        with pytest.raises(BadAnswerError):
            await ask(agents, authority, received)

    async def test_is_a_server_that_speaks_grpc_but_not_this_contract(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        agent = FakeAgent("ginkgo", ANSWER)
        async with served(agent, authority, service="another.Service"):
            with pytest.raises(BadAnswerError, match=r"not hopback\.v1"):
                await agents.ask(agent.entry, QUESTION, EXACT, PATIENT)


class TestAnAgentInTrouble:
    async def test_that_is_down_is_unreachable(self, agents: GrpcAgents) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            endpoint = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=endpoint):
            await agents.ask(Provider(provider("ginkgo"), "Ginkgo", endpoint), QUESTION, EXACT, PATIENT)

    async def test_whose_endpoint_leads_to_something_else_says_so_in_plain_words(self, agents: GrpcAgents) -> None:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", 0) as web:
            endpoint = "127.0.0.1:{1}".format(*web.sockets[0].getsockname())
            with pytest.raises(UnreachableError, match=f"{endpoint} does not speak TLS"):
                await agents.ask(Provider(provider("ginkgo"), "Ginkgo", endpoint), QUESTION, EXACT, PATIENT)

    async def test_that_is_slower_than_the_attempt_times_out(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        with pytest.raises(AttemptTimedOutError, match=r"within 0\.2 s"):
            await ask(agents, authority, never, timeout=timedelta(milliseconds=200))

    async def test_that_crashes_on_the_question_may_be_asked_again(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        def crash(question: Question) -> None:
            raise RuntimeError("synthetic")

        with pytest.raises(UnreachableError, match="the agent failed"):
            await ask(agents, authority, crash)  # type: ignore[arg-type]

    async def test_whose_records_can_not_be_read_now_may_be_asked_again(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        with pytest.raises(UnreachableError, match="STORE_UNAVAILABLE"):
            await ask(agents, authority, Fault(ErrorReason.STORE_UNAVAILABLE, "disk is gone"))

    async def test_that_does_not_accept_the_coordinator_declines(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        with pytest.raises(DeclinedError, match="not on the list"):
            await ask(agents, authority, Fault(ErrorReason.NOT_A_COORDINATOR, "not on the list"))

    async def test_that_can_not_take_the_question_gives_a_bad_answer(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        with pytest.raises(BadAnswerError, match="INVALID_FIELD"):
            await ask(agents, authority, Fault(ErrorReason.INVALID_FIELD, "window_ms", ("window_ms",)))

    async def test_can_not_steer_the_operators_terminal(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        with pytest.raises(DeclinedError) as caught:
            await ask(agents, authority, Fault(ErrorReason.NOT_A_COORDINATOR, "\x1b[2J cleared" + "x" * 5000))
        assert caught.value.detail.isprintable()
        assert len(caught.value.detail) < 500

    async def test_can_not_make_a_number_appear_in_the_operators_log(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        with pytest.raises(UnreachableError) as caught:
            await ask(agents, authority, Fault(ErrorReason.STORE_UNAVAILABLE, "no record of +12025550143 here"))
        assert "2025550143" not in caught.value.detail

    async def test_is_reached_again_once_it_is_back(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        agent = FakeAgent("ginkgo", says("ginkgo", Outcome.ORIGINATED_HERE))
        async with served(agent, authority):
            await agents.ask(agent.entry, QUESTION, EXACT, PATIENT)
        with pytest.raises(UnreachableError):
            await agents.ask(agent.entry, QUESTION, EXACT, PATIENT)
        async with served(agent, authority):
            await agents._channels._lines[provider("ginkgo")].lines[0].connection.channel.channel_ready()
            assert (await agents.ask(agent.entry, QUESTION, EXACT, PATIENT)).answer.provider == "ginkgo"


def both(*agents: FakeAgent) -> Provider:
    return replace(agents[0].entry, endpoint=" ".join(agent.endpoint for agent in agents))


class TestSeveralAgentsOfOneProvider:
    """They look into the same records: any of them may answer."""

    async def test_are_asked_in_turn(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        one, other = FakeAgent("ginkgo", ANSWER), FakeAgent("ginkgo", ANSWER)
        async with served(one, authority), served(other, authority):
            for _ in range(6):
                await agents.ask(both(one, other), QUESTION, EXACT, PATIENT)
        assert (one.calls, other.calls) == (3, 3)

    async def test_answer_for_each_other_when_one_is_away(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        one, other = FakeAgent("ginkgo", ANSWER), FakeAgent("ginkgo", ANSWER)
        async with served(other, authority):
            async with served(one, authority):
                await agents.ask(both(one, other), QUESTION, EXACT, PATIENT)
            for _ in range(5):
                assert (await agents.ask(both(one, other), QUESTION, EXACT, PATIENT)).answer == ANSWER
        assert other.calls == 5

    async def test_answer_for_each_other_when_one_cannot_read_its_records(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        broken = FakeAgent("ginkgo", Fault(ErrorReason.STORE_UNAVAILABLE, "the records can't be read now"))
        sound = FakeAgent("ginkgo", ANSWER)
        async with served(broken, authority), served(sound, authority):
            for _ in range(4):
                assert (await agents.ask(both(broken, sound), QUESTION, EXACT, PATIENT)).answer == ANSWER
        assert (broken.calls, sound.calls) == (1, 4)  # one that failed rests

    async def test_are_unreachable_when_all_are_away(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        one, other = FakeAgent("ginkgo", ANSWER), FakeAgent("ginkgo", ANSWER)
        async with served(one, authority), served(other, authority):
            pass
        with pytest.raises(UnreachableError, match=other.endpoint.rpartition(":")[2]):
            await agents.ask(both(one, other), QUESTION, EXACT, PATIENT)

    async def test_do_not_outvote_an_answer(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        """What one of them says, good or bad, is what the provider says: nobody shops for a better answer."""
        liar, honest = FakeAgent("ginkgo", b"\xff\xff"), FakeAgent("ginkgo", ANSWER)
        async with served(liar, authority), served(honest, authority):
            with pytest.raises(BadAnswerError):
                await agents.ask(both(liar, honest), QUESTION, EXACT, PATIENT)
        assert honest.calls == 0

    async def test_must_each_prove_to_be_the_provider(self, agents: GrpcAgents, authority: LabAuthority) -> None:
        impostor, real = FakeAgent("ginkgo", ANSWER), FakeAgent("ginkgo", ANSWER)
        async with served(impostor, authority, certificate_of="birch"), served(real, authority):
            for _ in range(3):
                await agents.ask(both(impostor, real), QUESTION, EXACT, PATIENT)
        assert (impostor.calls, real.calls) == (0, 3)


class TestACertificate:
    async def test_of_another_provider_is_refused_before_anything_is_asked(
        self, agents: GrpcAgents, authority: LabAuthority
    ) -> None:
        agent = FakeAgent("ginkgo", ANSWER)
        async with served(agent, authority, certificate_of="birch"):
            with pytest.raises(UnreachableError, match="not that of ginkgo"):
                await agents.ask(agent.entry, QUESTION, EXACT, PATIENT)
        assert agent.calls == 0

    async def test_of_another_authority_is_refused_before_anything_is_asked(
        self, agents: GrpcAgents, tmp_path: Path
    ) -> None:
        agent = FakeAgent("ginkgo", ANSWER)
        async with served(agent, LabAuthority.create(tmp_path)):
            with pytest.raises(UnreachableError, match="no root that this coordinator trusts"):
                await agents.ask(agent.entry, QUESTION, EXACT, PATIENT)
        assert agent.calls == 0

    async def test_of_a_coordinator_that_the_agent_has_no_root_for_reaches_nobody(
        self, authority: LabAuthority, tmp_path: Path
    ) -> None:
        stranger = LabAuthority.create(tmp_path)
        files = tls(stranger.issue_coordinator("lab"))
        trusting = replace(files, roots=(authority.directory / "ca.crt").read_bytes())
        agent = FakeAgent("ginkgo", ANSWER)
        async with GrpcAgents(trusting) as agents, served(agent, authority):
            with pytest.raises(UnreachableError):
                await agents.ask(agent.entry, QUESTION, EXACT, PATIENT)
        assert agent.calls == 0
