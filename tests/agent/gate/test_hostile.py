"""Whoever holds the coordinator's online key gets no data without an order; nor do replays and malformed bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.authority.lab_ca import LabAuthority
from protos.codec import ContractError
from protos.envelopes import decode_requests
from protos.errors import FaultError
from protos.hops import Named
from protos.identity import ProviderId, provider_uri
from protos.orders import Granted
from protos.signing import Signer, read_signer
from protos.types import Outcome, Question, RefusalReason
from tests.agent.authority import LAB, Kit, asked, person
from tests.agent.gate.gated import Clock, Gated
from tests.agent.provider import ALDER, CALL_TIME, CALLED, CEDAR, NOW, OTHER, some_records

FORGED = 10_000
REPLAYS = 1_000
MALFORMED = 5_000

Forgery = tuple[Question, Granted, Named | None, list[bytes]]


class Thief:
    """Has the coordinator's online key, keys of its own for everybody else, and all that it was ever sent."""

    def __init__(self, kit: Kit, directory: Path) -> None:
        self.kit = kit
        self.own = LabAuthority.create(directory / "own", clock=kit.clock)
        self.cedar = self.own.issue_evidence(provider_uri(ProviderId(CEDAR)), "cedar")
        self.cedar_signer = read_signer(self.cedar.key)
        self.own_certificate = _der(self.cedar.certificate.read_bytes())
        self.rng = random.Random(5)
        self.real = kit.granted(terminating="dogwood")  # an order for a call that birch had no part in
        self.elsewhere = kit.name([self.real], by=ProviderId("dogwood"), upstream=ALDER)[0]

    def signer(self) -> Signer:
        return self.rng.choice([self.kit.lab.signer, person("mallory"), self.cedar_signer])

    def forge(self, number: int) -> Forgery:
        """One of many ways, with numbers and times as they come."""
        ways = [self._own_order, self._own_approval, self._own_naming, self._borrowed_order, self._moved_naming]
        return ways[number % len(ways)]()

    def _order(self, **change: Any) -> dict[str, Any]:
        about = {
            "called": self.rng.choice([CALLED, OTHER]),
            "at": CALL_TIME + timedelta(seconds=self.rng.randint(-9, 9)),
        }
        return {**about, **change}

    def _own_order(self) -> Forgery:
        signer = self.signer()
        (granted,) = self.kit.grant([self.kit.order(**self._order())], submitter=signer, approvers=(signer,))
        return self.kit.ask(granted), granted, None, [self.kit.lab.certificate]

    def _own_approval(self) -> Forgery:
        (granted,) = self.kit.grant([self.kit.order(**self._order())], approvers=(self.signer(),))
        return self.kit.ask(granted), granted, None, [self.kit.lab.certificate]

    def _own_naming(self) -> Forgery:
        (named,) = self.kit.name([self.real], by=CEDAR, called=OTHER, signer=self.signer())
        certificate = self.rng.choice([self.own_certificate, self.kit.lab.certificate])
        return self.kit.ask(self.real, named), self.real, named, [self.kit.lab.certificate, certificate]

    def _borrowed_order(self) -> Forgery:
        question = self.kit.ask(self.real, **self._order())
        return question, self.real, None, [self.kit.lab.certificate]

    def _moved_naming(self) -> Forgery:
        question = self.kit.ask(self.real, self.elsewhere, **self._order())
        return question, self.real, self.elsewhere, [self.kit.lab.certificate]


def _der(pem: bytes) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


async def test_ten_thousand_requests_forged_with_a_stolen_online_key_get_no_data(gated: Gated, tmp_path: Path) -> None:
    thief = Thief(gated.kit, tmp_path)
    answered = 0
    for first in range(0, FORGED, 250):
        made = [thief.forge(first + number) for number in range(250)]
        orders = list({granted.sha256: granted for _, granted, _, _ in made}.values())
        namings = list({named.exact: named for _, _, named, _ in made if named is not None}.values())
        certificates = list(dict.fromkeys(one for *_, some in made for one in some))
        questions = [question for question, *_ in made]
        request = gated.kit.envelope(questions, orders, namings, certificates=certificates)
        for answer, _ in gated.check(await gated.send(request), [asked(one) for one in questions]):
            assert answer.outcome is Outcome.REFUSED
            answered += 1
    assert answered == FORGED
    assert gated.records.reads == 0


@pytest.mark.parametrize("way", range(5))
async def test_each_way_of_forging_fails_in_an_envelope_of_its_own(gated: Gated, tmp_path: Path, way: int) -> None:
    thief = Thief(gated.kit, tmp_path)
    for _ in range(20):
        question, granted, named, certificates = thief.forge(way)
        namings = [] if named is None else [named]
        request = gated.kit.envelope([question], [granted], namings, certificates=certificates)
        ((answer, _),) = gated.check(await gated.send(request), [asked(question)])
        assert answer.outcome is Outcome.REFUSED
    assert gated.records.reads == 0


class TestAQuestionThatComesAgain:
    async def test_a_thousand_times_over_restarts_and_clock_jumps_is_searched_once(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        clock = Clock()
        records = some_records()
        gated = Gated(kit, tmp_path / "agent", records, clock=clock)
        granted = kit.granted()
        question = kit.ask(granted, deadline=NOW + timedelta(minutes=10))
        request = kit.envelope([question], [granted])
        first = gated.check(await gated.send(request), [asked(question)])
        rng, same = random.Random(3), 0
        for number in range(1, REPLAYS):
            if number % 50 == 0:
                await gated.close()
                gated = Gated(kit, tmp_path / "agent", records, clock=clock)
            latest = 9 if number < REPLAYS - 50 else 20
            clock.now = NOW + timedelta(minutes=rng.choice([rng.uniform(-5000, latest), rng.uniform(0, latest)]))
            ((answer, finding),) = gated.check(await gated.send(request), [asked(question)])
            if answer.refusal is RefusalReason.LIFETIME:
                assert latest > 9
            else:
                assert [(answer, finding)] == first
                same += 1
        assert records.reads == 1
        assert REPLAYS - 50 < same + 1 < REPLAYS
        await gated.close()

    async def test_after_its_life_is_over_gets_no_life_back_when_the_clock_jumps_back(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        clock = Clock()
        for _ in range(2):  # nor after a restart
            gated = Gated(kit, tmp_path / "agent", clock=clock)
            late = kit.granted()
            question = kit.ask(late)
            clock.now = NOW + timedelta(minutes=5)
            other = kit.ask(late, issued=clock.now, deadline=clock.now + timedelta(minutes=1))
            assert (await gated.ask_one(other, late)).outcome is Outcome.UPSTREAM
            clock.now = NOW
            answer = await gated.ask_one(question, late)
            assert answer.refusal.name == "LIFETIME"
            await gated.close()

    async def test_with_other_bytes_under_the_same_id_is_refused(self, kit: Kit, tmp_path: Path) -> None:
        gated = Gated(kit, tmp_path / "agent")
        granted = kit.granted()
        question = kit.ask(granted)
        assert (await gated.ask_one(question, granted)).outcome is Outcome.UPSTREAM
        for _ in range(2):
            twin = kit.ask(granted, question_id=question.question_id)
            assert (await gated.ask_one(twin, granted)).refusal.name == "REPLAY"
            assert gated.records.reads <= 1
            await gated.close()
            gated = Gated(kit, tmp_path / "agent")
        await gated.close()

    async def test_in_one_envelope_is_searched_once(self, gated: Gated) -> None:
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        answers = await gated.ask([question] * 5, [granted])
        assert {answer.outcome for answer in answers} == {Outcome.UPSTREAM}
        assert gated.records.reads == 1

    async def test_is_searched_again_when_the_records_could_not_be_read(self, gated: Gated) -> None:
        granted = gated.kit.granted()
        question = gated.kit.ask(granted)
        gated.records.broken = OSError("torn")
        with pytest.raises(OSError, match="torn"):
            await gated.ask_one(question, granted)
        gated.records.broken = None
        assert (await gated.ask_one(question, granted)).outcome is Outcome.UPSTREAM


def mutations(good: bytes, rng: random.Random) -> Iterator[bytes]:
    """Bytes that are nearly the good ones."""
    while True:
        at = rng.randrange(len(good))
        kind = rng.randrange(6)
        if kind == 0:
            yield good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :]
        elif kind == 1:
            yield good[:at] + rng.randbytes(rng.randrange(1, 5)) + good[at:]
        elif kind == 2:
            yield good[:at]
        elif kind == 3:
            yield good[:at] + good[at + rng.randrange(1, 40) :]
        elif kind == 4:
            start = rng.randrange(len(good))
            yield good[:at] + good[start : start + rng.randrange(1, 200)] + good[at:]
        else:
            yield rng.randbytes(rng.randrange(0, 400))


async def test_five_thousand_malformed_messages_get_coded_errors_and_no_data(gated: Gated) -> None:
    kit = gated.kit
    orders = kit.grant([kit.order(terminating=CEDAR, called=OTHER), kit.order()])
    (named,) = kit.name(orders[:1])
    questions = [kit.ask(orders[0], named), kit.ask(orders[1])]
    good = kit.envelope(questions, orders, [named])
    meant = decode_requests(good)
    rng = random.Random(11)
    coded = refused = unharmed = 0
    stream = mutations(good, rng)
    for _ in range(MALFORMED):
        bad = next(stream)
        reads = gated.records.reads
        try:
            response = await gated.send(bad)
        except (ContractError, FaultError):
            coded += 1
            assert gated.records.reads == reads
            continue
        requests = decode_requests(bad)
        assert requests.asked == meant.asked  # whatever was altered, the questions are those that were signed
        for (answer, _), one in zip(gated.check(response, requests.asked), requests.asked, strict=True):
            if answer.outcome is Outcome.REFUSED:
                refused += 1
                continue
            # what is answered came with an unharmed order, naming and proofs
            sha256 = one.authority.order_sha256
            assert requests.orders[sha256].exact == meant.orders[sha256].exact
            unharmed += 1
    assert coded > MALFORMED // 2
    assert refused > 0
    assert gated.records.reads <= 2  # each of the two questions was searched once, by a message unharmed in what counts


def test_the_thief_is_the_coordinator_for_all_that_tls_can_tell(kit: Kit) -> None:
    assert kit.lab.uri == LAB
