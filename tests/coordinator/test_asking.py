"""The client for signed questions: what an envelope holds, which answers count, what is kept of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.lookups.asking import SignedAgents
from coordinator.lookups.envelope import Packed, encode
from coordinator.tracing.chain import Traceback
from coordinator.tracing.events import Answered, Started
from coordinator.tracing.ports import BadAnswerError, Provider, Reply
from coordinator.tracing.signed import (
    SignedAnswer,
    SignedQuestion,
    decode_answer,
    decode_question,
    encode_question,
    read_kept,
)
from coordinator.tracing.traceback import advance
from hopback.v1 import hop_pb2 as pb
from protos import envelopes, hops
from protos.codec import ContractError, digest
from protos.hops import Named
from protos.merkle import tree_of
from protos.signing import Domain, Seal, SealChecker
from protos.types import Answer, Handover, Outcome, Question, RecordCoverage
from tests.coordinator.make import NOW, provider, says, upstream
from tests.coordinator.parties import Drawer, InProcess, Parties, order, signed_agents, traceback_of

SOON = timedelta(seconds=1)
GINKGO = Provider(provider("ginkgo"), "Ginkgo", "x:1")
BIRCH = Provider(provider("birch"), "Birch", "x:1")


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


class World:
    """A client, agents that name each other, some tracebacks that have begun."""

    def __init__(self, parties: Parties, count: int = 1) -> None:
        self.parties = parties
        self.granted = parties.granted(*(order() for _ in range(count)))
        self.drawer = Drawer(*self.granted)
        self.wires = InProcess(
            parties,
            {
                "ginkgo": lambda _: upstream("ginkgo", "birch", correction_s=-2),
                "birch": lambda _: says("birch", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED),
            },
        )
        self.agents = signed_agents(parties, self.wires, self.drawer)
        self.tracebacks = [
            advance(traceback_of(one, uuid.UUID(int=number)), Started(NOW))[0]
            for number, one in enumerate(self.granted, 1)
        ]

    async def ask(self, entry: Provider = GINKGO, agents: SignedAgents | None = None) -> list[Reply]:
        """Ask all open questions in one envelope."""
        questions = [opened(traceback) for traceback in self.tracebacks]
        asked = [(question, encode_question(question)) for question in questions]
        return await (agents or self.agents).ask_many(entry, asked, SOON)

    async def go_on(self) -> None:
        """Take the answers of ginkgo; birch is to be asked now."""
        replies = await self.ask()
        self.tracebacks = [
            advance(traceback, Answered(opened(traceback).question_id, reply.answer, NOW))[0]
            for traceback, reply in zip(self.tracebacks, replies, strict=True)
        ]


def opened(traceback: Traceback) -> Question:
    assert traceback.open_question is not None
    return traceback.open_question


class TestAnEnvelope:
    async def test_is_what_an_agents_gate_wants_to_see_at_every_hop(self, parties: Parties) -> None:
        """`InProcess` checks orders, namings, certificates and seals as a gate does."""
        world = World(parties, 5)
        await world.go_on()
        await world.ask(BIRCH)
        assert [one.question.target for one in world.wires.asked] == ["ginkgo"] * 5 + ["birch"] * 5

    async def test_shows_the_named_provider_the_naming_and_nothing_else_of_the_answer(self, parties: Parties) -> None:
        world = World(parties)
        await world.go_on()
        await world.ask(BIRCH)
        answer = world.tracebacks[0].hops[0].answer
        assert isinstance(answer, SignedAnswer)
        assert answer.parts.naming in world.wires.envelopes[-1]
        assert answer.parts.finding not in world.wires.envelopes[-1]

    async def test_holds_each_order_and_each_seal_once(self, parties: Parties) -> None:
        world = World(parties, 5)
        await world.go_on()
        await world.ask(BIRCH)
        message = pb.AskRequest.FromString(world.wires.envelopes[-1])
        assert (len(message.orders), len(message.namings)) == (5, 5)
        assert len(message.seals) == 3  # submission, approval, ginkgo's answers
        assert len(message.certificates) == 2  # this coordinator's, ginkgo's

    async def test_is_sealed_by_the_online_key_over_all_questions(self, parties: Parties) -> None:
        world = World(parties, 5)
        await world.ask()
        requests = envelopes.decode_requests(world.wires.envelopes[-1])
        assert requests.seal.root == tree_of(one.exact for one in requests.asked).root
        assert SealChecker().is_good(requests.seal, Domain.QUESTION, parties.coordinator.signer.public)

    async def test_after_a_restart_finds_the_certificate_of_the_naming_where_it_is_kept(self, parties: Parties) -> None:
        world = World(parties)
        await world.go_on()
        answer = world.tracebacks[0].hops[0].answer
        assert isinstance(answer, SignedAnswer)
        anew = signed_agents(parties, world.wires, world.drawer)
        with pytest.raises(BadAnswerError, match="certificate under the answer"):
            await world.ask(BIRCH, anew)
        world.drawer.certificates[answer.proof.seal.key_id] = parties.of("ginkgo").certificate
        assert await world.ask(BIRCH, anew)

    async def test_is_not_made_for_a_call_without_an_order(self, parties: Parties) -> None:
        world = World(parties)
        question = replace(opened(world.tracebacks[0]), authority=None)
        with pytest.raises(BadAnswerError, match="no agent answers without one"):
            await world.agents.ask(GINKGO, question, b"", SOON)
        assert world.wires.envelopes == []

    async def test_is_not_made_for_an_order_that_is_not_in_the_store(self, parties: Parties) -> None:
        world = World(parties)
        world.drawer.orders.clear()
        with pytest.raises(BadAnswerError, match="not in the store"):
            await world.ask()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(count=st.integers(1, 9), approvals=st.integers(1, 2), named=st.booleans(), sets=st.integers(1, 3))
    def test_is_byte_for_byte_what_the_contract_makes(
        self, parties: Parties, count: int, approvals: int, named: bool, sets: int
    ) -> None:
        approvers = ("bob", "eve")[:approvals]
        granted = [
            one for _ in range(sets) for one in parties.granted(*(order() for _ in range(count)), approvers=approvers)
        ]
        proofs = parties.of("ginkgo").signer.prove(Domain.ANSWER, [bytes(64)] * count)
        naming, parts = hops.Naming(bytes(32), provider("ginkgo"), None, None, None), hops.Parts(bytes(256), bytes(256))
        said = upstream("ginkgo", "birch")
        names = [SignedAnswer(said.provider, said.outcome, said.upstream, parts=parts, proof=one) for one in proofs]
        answers = names if named else []
        namings = [Named(naming, parts.naming, digest(parts.finding), one.proof) for one in answers]
        questions = [b"question %d" % number for number in range(count)]
        seal, _ = parties.coordinator.signer.seal(Domain.QUESTION, questions)
        certificates = [parties.coordinator.certificate, parties.of("ginkgo").certificate]
        packed = [Packed(one) for one in granted]
        expected = envelopes.encode_requests(questions, seal, granted, namings, certificates)
        assert encode(questions, seal, packed, answers, certificates) == expected
        back = envelopes.encode_requests(questions, seal, granted[::-1], namings, certificates)
        assert encode(questions, seal, packed[::-1], answers, certificates) == back


class TestAnAnswer:
    async def test_comes_with_the_proof_that_lets_it_stand_alone(self, parties: Parties) -> None:
        world = World(parties, 7)
        for reply in await world.ask():
            assert isinstance(reply.answer, SignedAnswer)
            proof = reply.answer.proof
            assert proof.covers(reply.answer.parts.leaf)
            assert SealChecker().is_good(proof.seal, Domain.ANSWER, parties.of("ginkgo").signer.public)

    async def test_is_kept_with_the_question_so_that_both_are_read_again_as_they_were(self, parties: Parties) -> None:
        world = World(parties, 7)
        before = [opened(one) for one in world.tracebacks]
        for question, reply in zip(before, await world.ask(), strict=True):
            exact = encode_question(question)
            assert decode_question(exact) == question
            assert decode_answer(reply.exact, exact, question) == reply.answer
            kept = read_kept(reply.exact)
            assert isinstance(reply.answer, SignedAnswer)
            assert (kept.parts, kept.proof) == (reply.answer.parts, reply.answer.proof)

    async def test_is_kept_with_what_proves_that_the_coordinator_asked(self, parties: Parties) -> None:
        world = World(parties, 7)
        questions = [encode_question(opened(one)) for one in world.tracebacks]
        for question, reply in zip(questions, await world.ask(), strict=True):
            assert reply.batch is not None
            sent = pb.AskRequest.FromString(reply.batch.sent)
            kept = read_kept(reply.exact)
            proof = replace(kept.proof, seal=Seal.of_message(sent.seal), path=kept.question_path)
            assert proof.covers(question)
            assert list(sent.certificates) == [parties.coordinator.certificate]

    async def test_is_kept_with_the_certificate_and_the_checkpoint_once_an_envelope(self, parties: Parties) -> None:
        world = World(parties, 7)
        replies = await world.ask()
        [batch] = {reply.batch for reply in replies}
        assert batch is not None
        received = pb.AskResponse.FromString(batch.received)
        assert received.certificate == parties.of("ginkgo").certificate
        assert received.checkpoint.checkpoint
        assert not received.answers

    async def test_is_handed_over_with_the_providers_checkpoint_to_whoever_watches(self, parties: Parties) -> None:
        seen: list[tuple[str, bytes]] = []

        class Watch:
            def came(self, name: str, checkpoint: object, certificate: bytes) -> None:
                seen.append((name, certificate))

        world = World(parties, 3)
        world.agents._checkpoints = Watch()
        await world.ask()
        assert seen == [("ginkgo", parties.of("ginkgo").certificate)]

    async def test_says_by_the_registry_whether_the_provider_originates_calls(self, parties: Parties) -> None:
        world = World(parties)
        for role, originates in ((None, True), ("originating", True), ("intermediate", False), ("inbound-only", False)):
            [reply] = await world.ask(replace(GINKGO, role=role))
            assert isinstance(reply.answer, SignedAnswer)
            assert reply.answer.originates is originates

    async def test_after_a_restart_leads_to_the_same_next_question(self, parties: Parties) -> None:
        world = World(parties)
        await world.go_on()
        first, second = world.tracebacks[0].hops[:2]
        assert first.answer is not None
        again = decode_question(encode_question(second.question), (first.question, first.answer))
        assert isinstance(again, SignedQuestion)
        assert isinstance(second.question, SignedQuestion)
        assert (again, again.named) == (second.question, second.question.named)


def altered(change: Callable[[pb.AskResponse], None]) -> Callable[[bytes], bytes]:
    """What changes a response on its way."""

    def bend(data: bytes) -> bytes:
        message = pb.AskResponse.FromString(data)
        change(message)
        return message.SerializeToString()

    return bend


def _swap(message: pb.AskResponse) -> None:
    first, second = message.answers[0].SerializeToString(), message.answers[1].SerializeToString()
    message.answers[0].ParseFromString(second)
    message.answers[1].ParseFromString(first)


class TestWhatIsNoAnswer:
    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda m: setattr(m.seal, "signature", bytes(64)), "not sealed by ginkgo"),
            (lambda m: setattr(m.seal, "root", bytes(32)), "not sealed by ginkgo"),
            (lambda m: setattr(m.seal, "size", 4), "not sealed by ginkgo"),
            (lambda m: setattr(m.seal, "algorithm", Domain.QUESTION.algorithm), "not sealed by ginkgo"),
            (lambda m: setattr(m.answers[0], "naming", bytes(256)), "not sealed by ginkgo"),
            (lambda m: setattr(m.answers[1], "finding", bytes(256)), "not sealed by ginkgo"),
            (_swap, "not sealed by ginkgo"),
            (lambda m: m.answers.pop(), "3 sealed answers expected"),
            (lambda m: setattr(m, "certificate", b"none"), "no certificate in DER form"),
            (lambda m: m.ClearField("seal"), "sealed answers expected"),
            (lambda m: m.ClearField("checkpoint"), "sealed answers expected"),
        ],
    )
    async def test_is_altered_on_its_way(
        self, parties: Parties, change: Callable[[pb.AskResponse], None], why: str
    ) -> None:
        world = World(parties, 3)
        world.wires.bend = altered(change)
        with pytest.raises(BadAnswerError, match=why) as caught:
            await world.ask()
        assert caught.value.received

    async def test_is_signed_with_another_providers_key(self, parties: Parties) -> None:
        world = World(parties)
        world.wires.sealed_by = "birch"
        with pytest.raises(BadAnswerError, match="another party's"):
            await world.ask()

    async def test_is_signed_with_a_key_that_no_pinned_root_certifies(self, parties: Parties, tmp_path: Path) -> None:
        world, stranger = World(parties), Parties(tmp_path)
        world.wires.parties, world.wires.checks = stranger, False
        with pytest.raises(BadAnswerError, match="no pinned root issued it"):
            await world.ask()

    async def test_is_signed_with_a_key_whose_certificate_has_expired(self, parties: Parties) -> None:
        world = World(parties)
        later = signed_agents(parties, world.wires, world.drawer, NOW + timedelta(days=91))
        with pytest.raises(BadAnswerError, match="not valid now"):
            await world.ask(agents=later)

    async def test_is_signed_with_a_key_whose_certificate_is_revoked(self, parties: Parties) -> None:
        world = World(parties)
        world.agents._is_revoked = lambda certified: certified.uri == "hopback://provider/ginkgo"
        with pytest.raises(BadAnswerError, match="revoked"):
            await world.ask()

    async def test_is_to_another_question_though_the_provider_signed_it(self, parties: Parties) -> None:
        """A provider that repeats, under its own seal, what it answered to somebody else."""
        world, other = World(parties), World(parties)
        await other.ask()
        known = envelopes.decode_requests(other.wires.envelopes[0]).asked[0]
        party = parties.of("ginkgo")

        def repeat(data: bytes) -> bytes:
            finding = hops.Finding(RecordCoverage.COMPLETE, bytes(32), NOW)
            answer = upstream("ginkgo", "birch")
            parts = hops.answer_parts(answer, known.question, digest(known.exact), finding, bytes(32))
            seal, _ = party.signer.seal(Domain.ANSWER, [parts.leaf])
            return envelopes.encode_responses(
                [parts], seal, party.certificate, envelopes.decode_responses(data, 1).checkpoint
            )

        world.wires.bend = repeat
        with pytest.raises(BadAnswerError, match="another question"):
            await world.ask()

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    async def test_is_noise_of_any_kind_and_never_anything_but_a_bad_answer(
        self, parties: Parties, data: st.DataObject
    ) -> None:
        world = World(parties)

        def bend(whole: bytes) -> bytes:
            if data.draw(st.booleans()):
                return data.draw(st.binary(max_size=300))
            place = data.draw(st.integers(0, len(whole) - 1))
            return whole[:place] + bytes((whole[place] ^ data.draw(st.integers(1, 255)),)) + whole[place + 1 :]

        world.wires.bend = bend
        try:
            [reply] = await world.ask()
        except BadAnswerError:
            return
        # What changed is the checkpoint, which bears a signature of its own, or bytes that mean nothing.
        assert reply.answer == upstream("ginkgo", "birch", correction_s=-2) or isinstance(reply.answer, SignedAnswer)


class TestWhatIsKept:
    @settings(max_examples=80, deadline=None)
    @given(st.binary(max_size=900))
    def test_is_read_or_refused_as_malformed(self, kept: bytes) -> None:
        try:
            read_kept(kept)
        except ContractError:
            return
        assert kept[:1] == b"\x01"


def test_an_answer_that_is_not_signed_is_none_to_a_question_under_an_order(parties: Parties) -> None:
    [granted] = parties.granted(order())
    asked, _ = advance(traceback_of(granted), Started(NOW))
    unsigned: Answer = upstream("ginkgo", "birch")
    ended, _ = advance(asked, Answered(opened(asked).question_id, unsigned, NOW))
    assert ended.hops[-1].detail == "is not signed"
