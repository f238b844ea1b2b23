"""A person's answer under an order goes on when an approver attests it: by nobody else, word for word, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from coordinator.evidence.chain_statements import chain_statements
from coordinator.evidence.hop_statements import hops_seen
from coordinator.evidence.signatures import Signatures, Trust
from coordinator.evidence.statements import Standing
from coordinator.evidence.verify import order_seen
from coordinator.present.chains import traceback_json
from coordinator.store.evidence import collect
from coordinator.tasks.attesting import (
    AttestationError,
    Draft,
    attest,
    attester,
    draft,
    from_file,
    question_of,
    to_file,
)
from coordinator.tasks.desk import NotOpenError
from coordinator.tasks.ports import PersonsResult
from coordinator.tasks.task import State
from coordinator.tracing.chain import Status
from coordinator.tracing.events import PersonAnswered
from coordinator.tracing.signed import AttestedAnswer, SignedAnswer
from coordinator.tracing.traceback import advance
from hopback.v1 import hop_pb2 as pb
from protos.orders import Granted, Persons
from protos.signing import Domain, Signer
from protos.types import Outcome, Question
from tests.coordinator.make import ID, NOW, provider, says, upstream
from tests.coordinator.parties import Drawer, InProcess, Parties, order, signed_agents, traceback_of
from tests.coordinator.people import UPSTREAM, People, registry


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


class House(People):
    """ginkgo has an agent, elm has none, alder has one: a chain that a person must carry on, under a real order."""

    def __init__(self, engine: Engine, parties: Parties) -> None:
        [self.granted] = parties.granted(order())
        self.parties = parties
        self.wire = InProcess(
            parties,
            {
                "ginkgo": lambda _: upstream("ginkgo", "elm"),
                "alder": lambda _: says("alder", Outcome.ORIGINATED_HERE),
            },
        )
        super().__init__(engine, signed_agents(parties, self.wire, Drawer(self.granted)), registry(), NOW)
        self.submit(traceback_of(self.granted))

    async def answered(self) -> tuple[PersonsResult, Question]:
        await self.work()
        self.answer(UPSTREAM)
        await self.work()
        result = self.desk.answer_of(self.task().id)
        return result, question_of(self.traceback(), result)

    def take_in(self, held: Draft) -> str:
        result = self.desk.answer_of(self.task().id)
        name = attester(held, result, question_of(self.traceback(), result), self.granted.order, self.parties.persons)
        assert held.kept is not None
        self.desk.attest(result, held.kept, name, NOW)
        return name


@pytest.fixture
def house(either_engine: Engine, parties: Parties) -> Iterator[House]:
    made = House(either_engine, parties)
    yield made
    made.store.close()


class TestAPersonsAnswerUnderAnOrder:
    async def test_waits_until_it_is_attested(self, house: House) -> None:
        await house.answered()
        assert house.traceback().status is Status.AWAITING_PERSON
        assert house.desk.results() == []
        assert house.task().state is State.ANSWERED

    async def test_goes_on_to_the_next_agent_when_an_approver_attests_it(self, house: House) -> None:
        result, question = await house.answered()
        assert house.take_in(attest(draft(result, question), house.parties.people["bob"])) == "bob"
        await house.work()
        traceback = house.traceback()
        assert traceback.status is Status.ORIGIN_FOUND
        assert [hop.provider for hop in traceback.hops] == ["ginkgo", "elm", "alder"]
        kinds = [type(hop.answer) for hop in traceback.hops]
        assert kinds == [SignedAnswer, AttestedAnswer, SignedAnswer]
        told = traceback_json(traceback)["hops"]
        assert [(hop["signed"], hop["word"]) for hop in told] == [
            (True, "agent"),
            (False, "attested"),
            (True, "agent"),
        ]
        sent = pb.AskRequest.FromString(house.wire.envelopes[-1])
        assert [seal.algorithm for seal in sent.seals][-1] == "ed25519-hopback-attestation-v1"

    async def test_that_names_nobody_needs_no_attestation(self, house: House) -> None:
        await house.work()
        house.answer({"outcome": "not_found", "handover": "confirmed"})
        await house.work()
        assert house.traceback().status is not Status.AWAITING_PERSON

    async def test_leads_no_further_by_the_machine_itself_while_it_is_not_signed(self, house: House) -> None:
        result, question = await house.answered()
        assert result.answer is not None
        before = house.traceback()
        assert advance(before, PersonAnswered(question.question_id, result.answer, NOW)) == (before, ())

    async def test_is_taken_once_though_it_is_attested_twice(self, house: House) -> None:
        result, question = await house.answered()
        house.take_in(attest(draft(result, question), house.parties.people["bob"]))
        house.take_in(attest(draft(result, question), house.parties.people["eve"]))
        await house.work()
        held = attest(draft(result, question), house.parties.people["bob"])
        latest = house.desk.answer_of(result.task_id)
        assert held.kept is not None
        with pytest.raises(NotOpenError):
            house.desk.attest(latest, held.kept, "bob", NOW)
        assert len([one for one in house.wire.asked if one.question.target == "alder"]) == 1


class TestAnAttestation:
    @pytest.mark.parametrize("who", ["submitter", "online key", "provider", "nobody's"])
    async def test_by_anybody_but_an_approver_is_refused(self, house: House, who: str) -> None:
        parties = house.parties
        signers: dict[str, Signer] = {
            "submitter": parties.people["ann"],
            "online key": parties.coordinator.signer,
            "provider": parties.of("alder").signer,
            "nobody's": parties.of("mallory").signer,
        }
        result, question = await house.answered()
        with pytest.raises(AttestationError, match="no approver's"):
            house.take_in(attest(draft(result, question), signers[who]))
        assert not await house.work()
        assert house.traceback().status is Status.AWAITING_PERSON

    @pytest.mark.parametrize("name", ["ann", "anna"])
    async def test_by_the_submitter_alone_is_refused_though_she_approves_too(self, house: House, name: str) -> None:
        ann = house.parties.people["ann"]
        persons = Persons({"ann": ann.public}, {name: ann.public})
        result, question = await house.answered()
        with pytest.raises(AttestationError, match="submitted the order"):
            attester(attest(draft(result, question), ann), result, question, house.granted.order, persons)

    async def test_of_another_answer_is_refused(self, house: House) -> None:
        result, question = await house.answered()
        assert result.answer is not None
        other = replace(result, answer=replace(result.answer, upstream=provider("birch")))
        with pytest.raises(AttestationError, match="something else"):
            house.take_in(attest(draft(other, question), house.parties.people["bob"]))

    async def test_of_another_providers_task_is_refused(self, house: House) -> None:
        result, question = await house.answered()
        other = replace(attest(draft(result, question), house.parties.people["bob"]), task_id=ID)
        with pytest.raises(AttestationError, match="another task"):
            house.take_in(other)

    async def test_where_the_agent_holds_the_answer_is_refused(self, house: House) -> None:
        result, _ = await house.answered()
        with pytest.raises(AttestationError, match="released there"):
            question_of(house.traceback(), replace(result, review=True))

    async def test_travels_as_a_file_and_back(self, house: House, tmp_path: Path) -> None:
        result, question = await house.answered()
        away = tmp_path / "attest.json"
        away.write_text(to_file(draft(result, question)))
        away.write_text(to_file(attest(from_file(away.read_text()), house.parties.people["bob"])))
        assert house.take_in(from_file(away.read_text())) == "bob"

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"hopback_attestation": 2}', '{"hopback_attestation": 1}'])
    def test_in_a_file_of_another_kind_is_refused(self, text: str) -> None:
        with pytest.raises(AttestationError):
            from_file(text)


def kept_order(engine: Engine, granted: Granted) -> None:
    from coordinator.ordering.orders import OrderSet, Signature
    from coordinator.store.orders import OrderBook

    book = OrderBook(engine)
    made = OrderSet.of([granted.exact])
    book.add(made, NOW)
    book.sign(made.id, Signature(Domain.ORDER, granted.submission.seal), "ann", NOW)
    book.sign(made.id, Signature(Domain.APPROVAL, granted.approvals[0]), "bob", NOW)


class TestEvidence:
    async def test_says_by_whom_it_is_attested_and_never_that_the_provider_signed(self, house: House) -> None:
        kept_order(house.engine, house.granted)
        result, question = await house.answered()
        house.take_in(attest(draft(result, question), house.parties.people["bob"]))
        await house.work()
        persons = {name: signer.public for name, signer in house.parties.people.items()}
        message = collect(house.engine, ID, coordinator="lab", persons=persons, made=NOW)
        roots = (house.parties.authority.directory / "ca.crt").read_bytes()
        signatures = Signatures(message, Trust(persons=persons), roots)
        statements: list = []  # type: ignore[type-arg]
        seen = hops_seen(signatures, message, order_seen(signatures, message, 1, statements), statements)
        statements += chain_statements(signatures, seen, None)
        [said] = [one for one in statements if one.what.startswith("a person at")]
        assert (said.standing, said.by) == (Standing.PROVEN, "attested by bob, never signed by elm")
        [named] = [one for one in statements if one.what.endswith("was named by elm")]
        assert named.by == "the attestation that a person at elm said so"
        assert not [one for one in statements if one.by.startswith("hopback://provider/elm")]

        place = message.hops[1].answer_proof.seal
        message.seals[place].signature = bytes(64)
        broken: list = []  # type: ignore[type-arg]
        forged = Signatures(message, Trust(persons=persons), roots)
        hops_seen(forged, message, order_seen(forged, message, 1, broken), broken)
        [said] = [one for one in broken if one.what.startswith("a person at")]
        assert said.standing is Standing.BROKEN
