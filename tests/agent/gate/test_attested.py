"""A naming that a person said, and an approver attested: taken as this provider wants it, never as another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.gate.checks import AttestedNamings
from protos.hops import Named
from protos.orders import Granted, Persons
from protos.signing import Domain, Signer
from protos.types import Answer, Outcome, RefusalReason
from tests.agent.authority import ANN, BOB, CAROL, Kit, asked, person
from tests.agent.gate.gated import Gated
from tests.agent.gate.test_checks import onward
from tests.agent.provider import ALDER, BIRCH, CEDAR


def attested(kit: Kit, granted: Granted, signer: Signer = BOB, domain: Domain = Domain.ATTESTATION) -> Named:
    """Cedar has no agent; its person said that the call came from birch, and `signer` attests it."""
    (named,) = kit.name([granted])
    (proof,) = signer.prove(domain, [named.leaf])
    return replace(named, proof=proof)


async def answer_of(gated: Gated, granted: Granted, named: Named, *, certificates: tuple[bytes, ...] = ()) -> Answer:
    kit = gated.kit
    question = kit.ask(granted, named)
    request = kit.envelope([question], [granted], [named], certificates=[kit.lab.certificate, *certificates])
    ((answer, _),) = gated.check(await gated.send(request), [asked(question)])
    return answer


@pytest.fixture
async def accepting(kit: Kit, tmp_path: Path) -> AsyncIterator[Gated]:
    """Birch's agent, which takes attested namings as they are."""
    agent = Gated(kit, tmp_path / "accepting", attested=AttestedNamings.ACCEPT)
    yield agent
    await agent.close()


class TestAnAttestedNaming:
    async def test_is_held_for_a_person_unless_this_provider_says_otherwise(self, gated: Gated) -> None:
        granted = onward(gated.kit)
        answer = await answer_of(gated, granted, attested(gated.kit, granted))
        assert (answer.outcome, answer.upstream) == (Outcome.NEEDS_HUMAN, None)
        assert len(gated.reviews.keys()) == 1

    async def test_is_answered_where_this_provider_accepts_it(self, accepting: Gated) -> None:
        granted = onward(accepting.kit)
        answer = await answer_of(accepting, granted, attested(accepting.kit, granted))
        assert answer.outcome is not Outcome.REFUSED
        assert accepting.records.reads == 1

    async def test_is_refused_where_this_provider_refuses_it(self, kit: Kit, tmp_path: Path) -> None:
        gated = Gated(kit, tmp_path / "refusing", attested=AttestedNamings.REFUSE)
        granted = onward(kit)
        answer = await answer_of(gated, granted, attested(kit, granted))
        assert (answer.refusal, gated.records.reads) == (RefusalReason.POLICY, 0)
        await gated.close()

    @pytest.mark.parametrize("who", ["coordinator", "submitter", "another provider", "nobody's"])
    async def test_counts_by_a_pinned_approver_alone(self, accepting: Gated, who: str) -> None:
        kit = accepting.kit
        signers = {
            "coordinator": kit.lab.signer,
            "submitter": ANN,
            "another provider": kit.provider(ALDER).signer,
            "nobody's": person("mallory"),
        }
        granted = onward(kit)
        answer = await answer_of(accepting, granted, attested(kit, granted, signers[who]))
        assert (answer.refusal, accepting.records.reads) == (RefusalReason.NAMING_SIGNATURE, 0)

    async def test_by_the_submitter_does_not_count_though_she_may_approve_other_orders(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        both = Persons({"ann": ANN.public}, {"ann": ANN.public, "bob": BOB.public})
        renamed = Persons({"ann": ANN.public}, {"anna": ANN.public, "bob": BOB.public})
        for number, persons in enumerate((both, renamed)):
            gated = Gated(kit, tmp_path / f"n{number}", persons=persons, attested=AttestedNamings.ACCEPT)
            granted = onward(kit)
            answer = await answer_of(gated, granted, attested(kit, granted, ANN))
            assert (answer.refusal, gated.records.reads) == (RefusalReason.NAMING_SIGNATURE, 0)
            await gated.close()

    async def test_counts_by_an_approver_who_did_not_approve_this_order(self, accepting: Gated) -> None:
        granted = onward(accepting.kit)
        answer = await answer_of(accepting, granted, attested(accepting.kit, granted, CAROL))
        assert answer.outcome is not Outcome.REFUSED

    @pytest.mark.parametrize("domain", [Domain.APPROVAL, Domain.ORDER, Domain.ANSWER])
    async def test_is_a_signature_of_its_own_domain(self, accepting: Gated, domain: Domain) -> None:
        granted = onward(accepting.kit)
        named = attested(accepting.kit, granted, BOB, domain)
        pretended = replace(
            named, proof=replace(named.proof, seal=replace(named.proof.seal, algorithm=Domain.ATTESTATION.algorithm))
        )
        answer = await answer_of(accepting, granted, pretended)
        assert (answer.refusal, accepting.records.reads) == (RefusalReason.NAMING_SIGNATURE, 0)

    async def test_never_stands_for_a_provider_that_is_seen_to_have_a_key(self, accepting: Gated) -> None:
        kit = accepting.kit
        granted = onward(kit)
        certificate = kit.provider(CEDAR).certificate
        answer = await answer_of(accepting, granted, attested(kit, granted), certificates=(certificate,))
        assert (answer.refusal, accepting.records.reads) == (RefusalReason.NAMING_SIGNATURE, 0)

    async def test_never_makes_anybody_the_terminating_provider(self, accepting: Gated) -> None:
        kit = accepting.kit
        granted = onward(kit)
        question = kit.ask(granted)
        request = kit.envelope([question], [granted], [attested(kit, granted)], certificates=[kit.lab.certificate])
        ((answer, _),) = accepting.check(await accepting.send(request), [asked(question)])
        assert (answer.provider, answer.refusal) == (BIRCH, RefusalReason.NOT_NAMED)

    async def test_of_another_order_does_not_count(self, accepting: Gated) -> None:
        kit = accepting.kit
        granted, other = onward(kit), onward(kit)
        named = attested(kit, other)
        question = kit.ask(granted, named)
        request = kit.envelope([question], [granted], [named], certificates=[kit.lab.certificate])
        ((answer, _),) = accepting.check(await accepting.send(request), [asked(question)])
        assert answer.refusal is RefusalReason.NOT_NAMED
