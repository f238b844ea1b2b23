"""What must hold before records are read: for each check a question that passes and one that falls, and its reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.gate.checks import CHECKS
from agent.gate.limits import Limits
from coordinator.authority.lab_ca import LEAF_LIFETIME, LabAuthority
from protos.codec import ContractError
from protos.e164 import parse_e164
from protos.identity import ProviderId, coordinator_uri, provider_uri
from protos.orders import Granted, Persons
from protos.signing import read_signer
from protos.types import ErrorReason, Outcome, RefusalReason
from tests.agent.authority import ANN, BOB, CAROL, LAB, PERSONS, Kit, asked, person
from tests.agent.gate.gated import Gated
from tests.agent.provider import ALDER, BIRCH, CALL_TIME, CALLED, CALLING, CEDAR, NOW, OTHER

PROTOCOL = Path(__file__).parents[3] / "docs/protocol.md"
SECOND = timedelta(seconds=1)


class Refused:
    """Asks and expects a refusal before any record is read."""

    def __init__(self, gated: Gated) -> None:
        self.gated = gated

    async def because(self, reason: RefusalReason, granted: Granted, *args: object, **change: object) -> None:
        named = args[0] if args else None
        question = self.gated.kit.ask(granted, named, **change)  # type: ignore[arg-type]
        answer = await self.gated.ask_one(question, granted, named)  # type: ignore[arg-type]
        assert (answer.outcome, answer.refusal) == (Outcome.REFUSED, reason)
        assert answer.upstream is None
        assert self.gated.records.reads == 0


@pytest.fixture
def refused(gated: Gated) -> Refused:
    return Refused(gated)


def onward(kit: Kit, **change: object) -> Granted:
    """An order for a call that ended at cedar; the records have OTHER as handed on to cedar."""
    return kit.granted(**{"terminating": CEDAR, "called": OTHER, **change})


class TestAProperQuestion:
    async def test_of_the_terminating_provider_is_answered(self, gated: Gated) -> None:
        granted = gated.kit.granted()
        answer = await gated.ask_one(gated.kit.ask(granted), granted)
        assert (answer.outcome, answer.upstream) == (Outcome.UPSTREAM, ALDER)
        assert gated.records.reads == 1

    async def test_of_a_provider_that_was_named_is_answered_and_the_handover_confirmed(self, gated: Gated) -> None:
        granted = onward(gated.kit)
        (named,) = gated.kit.name([granted])
        answer = await gated.ask_one(gated.kit.ask(granted, named), granted, named)
        assert (answer.outcome, answer.handover.name) == (Outcome.ORIGINATED_HERE, "CONFIRMED")

    async def test_may_ask_for_the_number_and_time_that_the_naming_gives(self, gated: Gated) -> None:
        granted = onward(gated.kit, called=parse_e164("+18005550199"), at=CALL_TIME - 3 * SECOND)
        (named,) = gated.kit.name([granted], called=OTHER, correction=3 * SECOND)
        question = gated.kit.ask(granted, named)
        assert (question.called, question.at, question.window) == (OTHER, CALL_TIME, timedelta(seconds=57))
        assert (await gated.ask_one(question, granted, named)).outcome is Outcome.ORIGINATED_HERE

    async def test_may_move_the_time_that_the_naming_gives_as_far_as_the_order_reaches(self, gated: Gated) -> None:
        """Clocks differ; what the coordinator knows of that, it may use inside the order."""
        granted = onward(gated.kit)
        (named,) = gated.kit.name([granted])
        moved = gated.kit.ask(granted, named, at=CALL_TIME - 5 * SECOND, window=55 * SECOND)
        assert (await gated.ask_one(moved, granted, named)).outcome is Outcome.ORIGINATED_HERE

    async def test_may_not_move_it_beyond(self, gated: Gated, refused: Refused) -> None:
        granted = onward(gated.kit)
        (named,) = gated.kit.name([granted])
        beyond = {"at": CALL_TIME - 5 * SECOND, "window": 55 * SECOND + timedelta(milliseconds=1)}
        await refused.because(RefusalReason.OUTSIDE_ORDER, granted, named, **beyond)


class TestTheOrder:
    async def test_must_have_come_with_the_question(self, gated: Gated) -> None:
        one, other = gated.kit.granted(), gated.kit.granted()
        (answer,) = await gated.ask([gated.kit.ask(one)], [other])
        assert answer.refusal is RefusalReason.ORDER_MISSING

    async def test_must_be_for_the_coordinator_that_asks(self, gated: Gated, refused: Refused) -> None:
        await refused.because(RefusalReason.ORDER_INVALID, gated.kit.granted(coordinator="other"))

    @pytest.mark.parametrize("submitter", ["mallory", "bob"])
    async def test_must_be_of_a_submitter_who_is_pinned(self, gated: Gated, refused: Refused, submitter: str) -> None:
        (granted,) = gated.kit.grant([gated.kit.order(submitter=submitter)], submitter=person(submitter))
        await refused.because(RefusalReason.ORDER_SIGNATURE, granted)

    async def test_must_be_signed_by_whom_it_names(self, gated: Gated, refused: Refused) -> None:
        (granted,) = gated.kit.grant([gated.kit.order()], submitter=person("mallory"))
        await refused.because(RefusalReason.ORDER_SIGNATURE, granted)

    async def test_must_be_approved(self, gated: Gated, refused: Refused) -> None:
        (granted,) = gated.kit.grant([gated.kit.order()], approvers=(person("mallory"),))
        await refused.because(RefusalReason.ORDER_NOT_APPROVED, granted)

    async def test_is_not_approved_by_its_submitters_own_key(self, kit: Kit, tmp_path: Path) -> None:
        both = Persons({"ann": ANN.public}, {"ann": ANN.public, "bob": BOB.public})
        gated = Gated(kit, tmp_path / "agent", persons=both)
        (granted,) = kit.grant([kit.order()], approvers=(ANN,))
        await Refused(gated).because(RefusalReason.ORDER_NOT_APPROVED, granted)
        await gated.close()

    async def test_needs_as_many_approvals_as_this_provider_demands(self, kit: Kit, tmp_path: Path) -> None:
        gated = Gated(kit, tmp_path / "agent", persons=replace(PERSONS, approvals=2))
        (one,) = kit.grant([kit.order()], approvers=(BOB,))
        await Refused(gated).because(RefusalReason.ORDER_NOT_APPROVED, one)
        (twice,) = kit.grant([kit.order()], approvers=(BOB, BOB))
        await Refused(gated).because(RefusalReason.ORDER_NOT_APPROVED, twice)
        (two,) = kit.grant([kit.order()], approvers=(BOB, CAROL))
        assert (await gated.ask_one(kit.ask(two), two)).outcome is Outcome.UPSTREAM
        await gated.close()

    async def test_is_not_made_by_the_online_key(self, gated: Gated, refused: Refused) -> None:
        online = gated.kit.lab.signer
        (granted,) = gated.kit.grant([gated.kit.order()], submitter=online, approvers=(online,))
        await refused.because(RefusalReason.ORDER_SIGNATURE, granted)

    async def test_must_not_have_expired(self, gated: Gated, refused: Refused) -> None:
        granted = gated.kit.granted(issued=NOW - timedelta(hours=72), expires=NOW)
        await refused.because(RefusalReason.ORDER_EXPIRED, granted)

    async def test_must_not_lie_in_the_future(self, gated: Gated, refused: Refused) -> None:
        granted = gated.kit.granted(issued=NOW + 6 * SECOND, expires=NOW + timedelta(hours=1))
        await refused.because(RefusalReason.ORDER_EXPIRED, granted)

    async def test_may_be_a_little_ahead_because_clocks_differ(self, gated: Gated) -> None:
        granted = gated.kit.granted(issued=NOW + 5 * SECOND, expires=NOW + timedelta(hours=1))
        assert (await gated.ask_one(gated.kit.ask(granted), granted)).outcome is Outcome.UPSTREAM


class TestTheQuestionsLife:
    @pytest.mark.parametrize(
        "change",
        [
            {"issued": NOW + 6 * SECOND},
            {"deadline": NOW},
            {"deadline": NOW + timedelta(minutes=10, milliseconds=1)},
            {"issued": NOW - timedelta(minutes=9), "deadline": NOW + timedelta(minutes=1, milliseconds=1)},
            {"issued": NOW + 2 * SECOND, "deadline": NOW + SECOND},
        ],
        ids=["from the future", "over", "too long", "too long from its issue", "over before it began"],
    )
    async def test_must_be_now_and_short(self, gated: Gated, refused: Refused, change: dict[str, object]) -> None:
        await refused.because(RefusalReason.LIFETIME, gated.kit.granted(), **change)

    async def test_may_be_ten_minutes(self, gated: Gated) -> None:
        granted = gated.kit.granted()
        question = gated.kit.ask(granted, deadline=NOW + timedelta(minutes=10))
        assert (await gated.ask_one(question, granted)).outcome is Outcome.UPSTREAM

    async def test_ends_no_later_than_the_orders(self, gated: Gated, refused: Refused) -> None:
        granted = gated.kit.granted(expires=NOW + timedelta(minutes=1))
        await refused.because(RefusalReason.LIFETIME, granted, deadline=NOW + timedelta(minutes=1, milliseconds=1))
        question = gated.kit.ask(granted, deadline=NOW + timedelta(minutes=1))
        assert (await gated.ask_one(question, granted)).outcome is Outcome.UPSTREAM


class TestTheTerminatingProvider:
    async def test_is_the_one_that_the_order_names(self, gated: Gated, refused: Refused) -> None:
        await refused.because(RefusalReason.NOT_NAMED, onward(gated.kit))

    async def test_is_asked_first(self, gated: Gated, refused: Refused) -> None:
        await refused.because(RefusalReason.NOT_NAMED, gated.kit.granted(), position=1)

    async def test_was_named_by_nobody(self, gated: Gated, refused: Refused) -> None:
        await refused.because(RefusalReason.NOT_NAMED, gated.kit.granted(), named_by=CEDAR)


class TestTheNaming:
    async def test_must_have_come_with_the_question(self, gated: Gated) -> None:
        granted = onward(gated.kit)
        (named,) = gated.kit.name([granted])
        (answer,) = await gated.ask([gated.kit.ask(granted, named)], [granted])
        assert answer.refusal is RefusalReason.NOT_NAMED

    async def test_must_be_under_the_same_order(self, gated: Gated, refused: Refused) -> None:
        granted = onward(gated.kit)
        (named,) = gated.kit.name([onward(gated.kit)])
        await refused.because(RefusalReason.NOT_NAMED, granted, named)

    async def test_must_name_this_provider(self, gated: Gated, refused: Refused) -> None:
        granted = onward(gated.kit)
        (named,) = gated.kit.name([granted], upstream=ALDER)
        await refused.because(RefusalReason.NOT_NAMED, granted, named)

    async def test_that_names_nobody_names_not_this_provider(self, gated: Gated, refused: Refused) -> None:
        granted = onward(gated.kit)
        (named,) = gated.kit.name([granted], upstream=None)
        await refused.because(RefusalReason.NOT_NAMED, granted, named)

    @pytest.mark.parametrize(
        "change",
        [{"called": CALLED}, {"named_by": ALDER}, {"position": 0}],
        ids=["another number", "by another", "at the first hop"],
    )
    async def test_must_say_what_the_question_says(
        self, gated: Gated, refused: Refused, change: dict[str, object]
    ) -> None:
        granted = onward(gated.kit)
        (named,) = gated.kit.name([granted])
        await refused.because(RefusalReason.NOT_NAMED, granted, named, **change)

    @pytest.mark.parametrize("who", ["coordinator", "another provider", "nobody's"])
    async def test_must_be_signed_by_the_provider_that_it_says(self, gated: Gated, refused: Refused, who: str) -> None:
        kit = gated.kit
        signers = {
            "coordinator": kit.lab.signer,
            "another provider": kit.provider(ALDER).signer,
            "nobody's": person("mallory"),
        }
        granted = onward(kit)
        (named,) = kit.name([granted], signer=signers[who])
        question = kit.ask(granted, named)
        certificates = [kit.lab.certificate, kit.provider(ALDER).certificate]
        request = kit.envelope([question], [granted], [named], certificates=certificates)
        ((answer, _),) = gated.check(await gated.send(request), [asked(question)])
        assert answer.refusal is RefusalReason.NAMING_SIGNATURE
        assert gated.records.reads == 0

    async def test_must_not_be_by_a_certificate_that_was_revoked(self, gated: Gated, refused: Refused) -> None:
        granted = onward(gated.kit)
        (named,) = gated.kit.name([granted])
        gated.revoked.add(gated.kit.roots.certified(gated.kit.provider(CEDAR).certificate).serial)
        await refused.because(RefusalReason.NAMING_SIGNATURE, granted, named)

    @pytest.mark.parametrize(
        ("ran_out", "counts"),
        [(timedelta(minutes=6), False), (timedelta(minutes=4), True)],
        ids=["before the order", "since the order"],
    )
    async def test_counts_though_its_certificate_ran_out_if_that_was_since_the_order(
        self, gated: Gated, tmp_path: Path, ran_out: timedelta, counts: bool
    ) -> None:
        kit = gated.kit
        back_then = LabAuthority.open(kit.authority.directory, clock=lambda: NOW - ran_out - LEAF_LIFETIME)
        files = back_then.issue_evidence(provider_uri(CEDAR), "old-cedar", tmp_path)
        granted = onward(kit)
        (named,) = kit.name([granted], signer=read_signer(files.key))
        question = kit.ask(granted, named)
        old = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_bytes(Encoding.DER)
        request = kit.envelope([question], [granted], [named], certificates=[kit.lab.certificate, old])
        ((answer, _),) = gated.check(await gated.send(request), [asked(question)])
        assert answer.refusal is (RefusalReason.UNSPECIFIED if counts else RefusalReason.NAMING_SIGNATURE)
        assert gated.records.reads == int(counts)

    async def test_must_be_by_a_neighbour(self, gated: Gated, refused: Refused) -> None:
        granted = onward(gated.kit, terminating="dogwood")
        (named,) = gated.kit.name([granted], by=ProviderId("dogwood"))
        await refused.because(RefusalReason.UNKNOWN_PROVIDER, granted, named)

    async def test_by_this_provider_itself_is_by_no_neighbour(self, gated: Gated, refused: Refused) -> None:
        granted = onward(gated.kit, terminating="dogwood")
        (named,) = gated.kit.name([granted], by=BIRCH)
        await refused.because(RefusalReason.UNKNOWN_PROVIDER, granted, named)


class TestInsideTheOrder:
    @pytest.mark.parametrize(
        "change",
        [
            {"called": OTHER},
            {"window": timedelta(milliseconds=60_001)},
            {"at": CALL_TIME + SECOND},
            {"at": CALL_TIME - timedelta(milliseconds=1)},
            {"calling": parse_e164("+12025550111")},
        ],
        ids=["another number", "a wider window", "beyond its end", "before its beginning", "another calling number"],
    )
    async def test_lies_the_whole_question(self, gated: Gated, refused: Refused, change: dict[str, object]) -> None:
        await refused.because(RefusalReason.OUTSIDE_ORDER, gated.kit.granted(calling=CALLING), **change)

    async def test_a_part_of_the_interval_may_be_asked_for(self, gated: Gated) -> None:
        granted = gated.kit.granted(calling=CALLING)
        question = gated.kit.ask(granted, at=CALL_TIME + SECOND, window=59 * SECOND, calling=None)
        assert (await gated.ask_one(question, granted)).outcome is Outcome.UPSTREAM

    async def test_the_chain_is_no_longer_than_it_says(self, gated: Gated, refused: Refused) -> None:
        granted = onward(gated.kit, hop_limit=4)
        (named,) = gated.kit.name([granted])
        await refused.because(RefusalReason.OUTSIDE_ORDER, granted, named, position=4)
        question = gated.kit.ask(granted, named, position=3)
        assert (await gated.ask_one(question, granted, named)).outcome is Outcome.ORIGINATED_HERE


class TestThisProvidersOwnLimits:
    async def agent(self, kit: Kit, tmp_path: Path, limits: Limits) -> Gated:
        return Gated(kit, tmp_path / "agent", limits=limits)

    async def test_may_be_a_narrower_window(self, kit: Kit, tmp_path: Path) -> None:
        gated = await self.agent(kit, tmp_path, Limits(window=timedelta(seconds=30)))
        await Refused(gated).because(RefusalReason.WINDOW_TOO_WIDE, kit.granted())
        granted = kit.granted()
        question = kit.ask(granted, window=timedelta(seconds=30))
        assert (await gated.ask_one(question, granted)).outcome is Outcome.UPSTREAM

    async def test_may_be_a_shorter_chain(self, kit: Kit, tmp_path: Path) -> None:
        gated = await self.agent(kit, tmp_path, Limits(hop_limit=2))
        granted = onward(kit)
        (named,) = kit.name([granted])
        await Refused(gated).because(RefusalReason.POLICY, granted, named, position=2)

    async def test_may_be_numbers_that_are_never_answered_for(self, kit: Kit, tmp_path: Path) -> None:
        gated = await self.agent(kit, tmp_path, Limits(denied=frozenset([CALLED])))
        await Refused(gated).because(RefusalReason.DENIED, kit.granted())
        granted = onward(kit, called=CALLED)
        (named,) = kit.name([granted], called=OTHER)
        await Refused(gated).because(RefusalReason.DENIED, granted, named)

    @pytest.mark.parametrize(
        "limits",
        [
            {"window": timedelta(seconds=301)},
            {"hop_limit": 33},
            {"questions_per_day": 1_000_001},
            {"seconds_per_number_per_day": 3601},
            {"questions_per_campaign_per_day": 200_001},
            {"hop_limit": 0},
        ],
    )
    def test_never_loosen_the_protocols(self, limits: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"at most|is 1 to"):
            Limits(**limits)  # type: ignore[arg-type]


async def test_a_time_to_come_is_refused(gated: Gated, refused: Refused) -> None:
    await refused.because(RefusalReason.TIME_IN_FUTURE, gated.kit.granted(at=NOW + timedelta(minutes=1)))


async def test_a_time_before_retention_is_answered_without_looking(kit: Kit, tmp_path: Path) -> None:
    gated = Gated(kit, tmp_path / "agent", retention=timedelta(days=1))
    granted = kit.granted()
    assert (await gated.ask_one(kit.ask(granted), granted)).outcome is Outcome.RECORDS_EXPIRED
    assert gated.records.reads == 0
    await gated.close()


class TestTheEnvelope:
    async def fails(self, gated: Gated, reason: ErrorReason, request: bytes, uris: tuple[str, ...] = (LAB,)) -> None:
        with pytest.raises(ContractError) as caught:
            await gated.send(request, uris)
        assert caught.value.reason is reason
        assert gated.records.reads == 0
        assert gated.log.size == 0

    async def test_must_be_sealed_by_the_coordinator_whose_connection_it_is(self, gated: Gated) -> None:
        kit, granted = gated.kit, gated.kit.granted()
        other = kit.party(coordinator_uri("other"))
        await self.fails(gated, ErrorReason.SIGNATURE, kit.envelope([kit.ask(granted)], [granted], by=other))
        request = kit.envelope([kit.ask(granted)], [granted])
        await self.fails(gated, ErrorReason.SIGNATURE, request, (other.uri,))

    async def test_is_not_a_providers_to_seal(self, gated: Gated) -> None:
        kit, granted = gated.kit, gated.kit.granted()
        provider = kit.provider(ALDER)
        request = kit.envelope([kit.ask(granted)], [granted], by=provider)
        await self.fails(gated, ErrorReason.SIGNATURE, request, (provider.uri,))

    async def test_must_hold_no_question_to_another_provider(self, gated: Gated) -> None:
        kit, granted = gated.kit, gated.kit.granted()
        request = kit.envelope([kit.ask(granted), kit.ask(granted, target=CEDAR)], [granted])
        await self.fails(gated, ErrorReason.WRONG_TARGET, request)

    async def test_must_not_be_by_a_certificate_that_was_revoked(self, gated: Gated) -> None:
        kit, granted = gated.kit, gated.kit.granted()
        gated.revoked.add(kit.roots.certified(kit.lab.certificate).serial)
        await self.fails(gated, ErrorReason.REVOKED, kit.envelope([kit.ask(granted)], [granted]))

    async def test_must_not_be_by_a_certificate_that_is_not_valid_now(self, gated: Gated) -> None:
        kit = gated.kit
        granted = kit.granted()
        request = kit.envelope([kit.ask(granted)], [granted])
        gated.clock.now = NOW + timedelta(days=365)
        await self.fails(gated, ErrorReason.SIGNATURE, request)

    async def test_holds_no_more_certificates_than_its_questions_can_need(self, gated: Gated) -> None:
        kit, granted = gated.kit, gated.kit.granted()
        certificates = [kit.lab.certificate, kit.provider(CEDAR).certificate]
        request = kit.envelope([kit.ask(granted)], [granted], certificates=certificates)
        await self.fails(gated, ErrorReason.INVALID_FIELD, request)


def test_the_protocol_shows_every_check_in_its_order() -> None:
    rows = [
        f"| {number} | {check.holds} | {', '.join(f'`{reason.name}`' for reason in check.reasons)} |"
        for number, check in enumerate(CHECKS, 1)
    ]
    assert "\n".join(rows) in PROTOCOL.read_text("utf-8")
