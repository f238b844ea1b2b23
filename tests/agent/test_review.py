"""Answers that wait for a person: which, in which mode; what the person sees, decides, releases; what leaves then."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.answering import review_secret
from agent.evidence_config import Mode
from agent.index import Keys
from agent.review.sealed_identity import About, SealedIdentityError, open_identity, seal_identity
from hopback.v1 import audit_pb2 as audit
from protos.orders import Granted
from protos.types import Answer, Outcome, RefusalReason
from tests.agent.authority import Kit, asked
from tests.agent.commandline import agent, provider, said, told
from tests.agent.gate.gated import Gated
from tests.agent.provider import ALDER, CALL_TIME, CALLED, CEDAR, LEG, NOW, OTHER, FakeRecords, some_records

ROOT = Keys.from_root(bytes.fromhex("ab" * 32))
SEALING = X25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(tmp_path_factory.mktemp("authority") / "ca")


class Office:
    """An agent, and the operator's command line beside it."""

    def __init__(self, kit: Kit, directory: Path, mode: Mode, records: FakeRecords | None = None) -> None:
        self.kit = kit
        self.config = provider(directory)
        key = "x25519:" + base64.b64encode(SEALING.public_key().public_bytes_raw()).decode()
        self.config.write_text(self.config.read_text() + f'[disclosure.sealing_keys]\nlab = "{key}"\n')
        self.agent = Gated(
            kit,
            directory / "audit",
            records or some_records(),
            mode=mode,
            review_key=review_secret(ROOT.audit_secret()),
        )

    async def ask(self, granted: Granted) -> Answer:
        return await self.agent.ask_one(self.kit.ask(granted), granted)

    async def ask_onward(self, granted: Granted) -> Answer:
        (named,) = self.kit.name([granted])
        self.named = named
        return await self.agent.ask_one(self.kit.ask(granted, named), granted, named)

    def waiting(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = told("review", "list", self.config)
        return found

    def logged(self) -> list[tuple[str, str]]:
        """Kind and outcome of every entry in the audit log."""
        return [
            (audit.AuditKind.Name(one.kind).removeprefix("AUDIT_KIND_"), one.outcome)
            for one in self.agent.book.recent()
        ]


def office(kit: Kit, directory: Path, mode: Mode, records: FakeRecords | None = None) -> Office:
    return Office(kit, directory, mode, records)


def onward(kit: Kit) -> Granted:
    return kit.granted(terminating=CEDAR, called=OTHER)


def nearly_ambiguous() -> FakeRecords:
    """Two calls to one number from different upstreams, so far apart that the nearer one just counts."""
    later = LEG._replace(
        ingress_trunk="IN-ABROAD",
        earliest=CALL_TIME + timedelta(seconds=7),
        latest=CALL_TIME + timedelta(seconds=8),
        call_ref=0x999,
        row=9,
    )
    return FakeRecords({CALLED: [LEG, later]})


class TestWhatIsHeld:
    async def test_automatic_holds_nothing(self, kit: Kit, tmp_path: Path) -> None:
        here = office(kit, tmp_path, Mode.AUTOMATIC)
        assert (await here.ask(kit.granted())).outcome is Outcome.UPSTREAM
        assert (await here.ask_onward(onward(kit))).outcome is Outcome.ORIGINATED_HERE
        assert here.waiting() == []

    async def test_cautious_holds_what_ones_own_customer_placed(self, kit: Kit, tmp_path: Path) -> None:
        here = office(kit, tmp_path, Mode.CAUTIOUS)
        answer = await here.ask_onward(onward(kit))
        assert answer == Answer(answer.provider, Outcome.NEEDS_HUMAN, retry_after=timedelta(hours=1))
        assert here.waiting()[0]["held_because"] == "a customer of this provider placed the call"

    async def test_cautious_holds_a_campaign_until_a_person_approved_an_answer_of_it(
        self, kit: Kit, tmp_path: Path
    ) -> None:
        here = office(kit, tmp_path, Mode.CAUTIOUS)
        first, second, elsewhere = kit.granted(), kit.granted(), kit.granted(campaign="another")
        for granted in (first, second, elsewhere):
            assert (await here.ask(granted)).outcome is Outcome.NEEDS_HUMAN
        mine = [one["id"] for one in here.waiting() if one["campaign"] == "auto-warranty"]
        assert agent("review", "approve", here.config, str(mine[0])).exit_code == 0
        assert (await here.ask(kit.granted())).outcome is Outcome.UPSTREAM
        assert (await here.ask(kit.granted(campaign="another"))).outcome is Outcome.NEEDS_HUMAN

    async def test_cautious_holds_what_was_nearly_ambiguous(self, kit: Kit, tmp_path: Path) -> None:
        automatic = office(kit, tmp_path, Mode.AUTOMATIC, nearly_ambiguous())
        assert (await automatic.ask(kit.granted())).outcome is Outcome.UPSTREAM
        (tmp_path / "two").mkdir()
        here = office(kit, tmp_path / "two", Mode.CAUTIOUS, nearly_ambiguous())
        assert (await here.ask(kit.granted())).outcome is Outcome.NEEDS_HUMAN
        assert here.waiting()[0]["held_because"] == "another call with another upstream lay nearly as near"

    async def test_cautious_lets_pass_what_names_nobody(self, kit: Kit, tmp_path: Path) -> None:
        here = office(kit, tmp_path, Mode.CAUTIOUS, FakeRecords({}))
        assert (await here.ask(kit.granted())).outcome is Outcome.NOT_FOUND

    async def test_held_holds_also_that_there_is_no_such_call(self, kit: Kit, tmp_path: Path) -> None:
        here = office(kit, tmp_path, Mode.HELD, FakeRecords({}))
        assert (await here.ask(kit.granted())).outcome is Outcome.NEEDS_HUMAN

    @pytest.mark.parametrize("records", [some_records(), FakeRecords({})], ids=["found", "not found"])
    async def test_a_dry_run_discloses_nothing_at_all(self, kit: Kit, tmp_path: Path, records: FakeRecords) -> None:
        here = office(kit, tmp_path, Mode.DRY_RUN, records)
        answer = await here.ask(kit.granted())
        assert answer == Answer(answer.provider, Outcome.REFUSED, refusal=RefusalReason.POLICY)
        assert records.reads == 1
        assert here.waiting() == []

    async def test_says_nothing_of_the_records_while_it_waits(self, kit: Kit, tmp_path: Path) -> None:
        here = office(kit, tmp_path, Mode.HELD)
        granted = kit.granted()
        question = kit.ask(granted)

        ((_, finding),) = here.agent.check(
            await here.agent.send(kit.envelope([question], [granted])), [asked(question)]
        )
        assert finding.coverage.name == "UNSPECIFIED"


class TestWhatAPersonDecides:
    @pytest.fixture
    async def held(self, kit: Kit, tmp_path: Path) -> Office:
        here = office(kit, tmp_path, Mode.HELD)
        self.granted = kit.granted()
        assert (await here.ask(self.granted)).outcome is Outcome.NEEDS_HUMAN
        return here

    def decide(self, here: Office, verb: str, *args: str) -> None:
        (one,) = here.waiting()
        result = agent("review", verb, here.config, str(one["id"]), "--as", "carol", *args)
        assert result.exit_code == 0, said(result)

    async def test_approved_the_next_question_gets_it_without_another_search(self, held: Office) -> None:
        self.decide(held, "approve")
        answer = await held.ask(self.granted)
        assert (answer.outcome, answer.upstream) == (Outcome.UPSTREAM, ALDER)
        assert held.agent.records.reads == 1
        assert ("REVIEWED", "approved: UPSTREAM") in held.logged()

    async def test_approved_it_still_opens_the_commitment_to_the_matched_record(self, held: Office) -> None:
        self.decide(held, "approve")
        await held.ask(self.granted)
        *_, last = [one for one in held.agent.book.recent() if one.kind == audit.AUDIT_KIND_ANSWER]
        assert last.opened is not None
        assert last.opened.record == b"acc:7"

    async def test_until_then_every_question_waits_and_nothing_is_searched_again(self, held: Office) -> None:
        for _ in range(3):
            assert (await held.ask(self.granted)).outcome is Outcome.NEEDS_HUMAN
        assert held.agent.records.reads == 1
        assert len(held.waiting()) == 1

    async def test_corrected_the_persons_answer_leaves(self, held: Office) -> None:
        self.decide(held, "correct", "--upstream", "cedar", "--note", "trunk moved on Monday")
        answer = await held.ask(self.granted)
        assert (answer.outcome, answer.upstream) == (Outcome.UPSTREAM, CEDAR)
        assert ("REVIEWED", "corrected: UPSTREAM") in held.logged()

    async def test_refused_nothing_leaves(self, held: Office) -> None:
        self.decide(held, "refuse", "--note", "wrong date")
        answer = await held.ask(self.granted)
        assert (answer.outcome, answer.refusal) == (Outcome.REFUSED, RefusalReason.POLICY)

    async def test_counts_only_for_that_order_number_time_and_naming(self, held: Office) -> None:
        self.decide(held, "approve")
        assert (await held.ask(held.kit.granted())).outcome is Outcome.NEEDS_HUMAN

    async def test_is_final(self, held: Office) -> None:
        which = str(held.waiting()[0]["id"])
        self.decide(held, "refuse", "--note", "wrong date")
        result = agent("review", "approve", held.config, which)
        assert result.exit_code == 2
        assert "a decision is final" in said(result)

    async def test_stands_after_a_restart(self, held: Office, kit: Kit) -> None:
        self.decide(held, "approve")
        await held.agent.close()
        key = review_secret(ROOT.audit_secret())
        held.agent = Gated(kit, held.agent.directory, mode=Mode.HELD, review_key=key)
        assert (await held.ask(self.granted)).outcome is Outcome.UPSTREAM
        assert held.agent.records.reads == 0

    async def test_about_something_else_is_refused(self, held: Office) -> None:
        for which in ("0000", "", "xyz"):
            assert agent("review", "approve", held.config, which).exit_code == 2

    async def test_is_made_with_the_legal_clock_in_sight(self, held: Office) -> None:
        (one,) = held.waiting()
        assert one["due"] == (NOW + timedelta(hours=24)).isoformat()
        shown = said(agent("review", "list", held.config))
        assert "(alder)" in shown
        assert CALLED in shown

    async def test_is_made_knowing_why_it_was_found(self, held: Office) -> None:
        which = str(held.waiting()[0]["id"])
        explained = told("review", "explain", held.config, which)
        assert explained["explanation"]["calls"][0]["records"][0]["row"] == 7
        assert "what led to it" in said(agent("review", "explain", held.config, which)).lower()

    async def test_keeps_no_number_in_the_clear(self, held: Office) -> None:
        self.decide(held, "approve")
        await held.ask(self.granted)
        contents = {path: path.read_bytes() for path in held.agent.directory.rglob("*") if path.is_file()}
        assert any(contents.values())
        assert [path for path, data in contents.items() if b"2025550143" in data] == []


class TestACustomersIdentity:
    async def approved(self, kit: Kit, directory: Path) -> tuple[Office, str]:
        here = office(kit, directory, Mode.CAUTIOUS)
        await here.ask_onward(onward(kit))
        which = str(here.waiting()[0]["id"])
        (directory / "customer.txt").write_text("Example Dialling Inc., account 7011\n")
        return here, which

    def release(self, here: Office, which: str, directory: Path) -> tuple[int, str]:
        customer, sealed = directory / "customer.txt", directory / "customer.sealed"
        result = agent("review", "release", here.config, which, "--identity", customer, "--out", sealed)
        return result.exit_code, said(result)

    async def test_is_released_sealed_to_the_coordinator_and_logged(self, kit: Kit, tmp_path: Path) -> None:
        here, which = await self.approved(kit, tmp_path)
        assert agent("review", "approve", here.config, which).exit_code == 0
        code, text = self.release(here, which, tmp_path)
        assert code == 0, text
        data = (tmp_path / "customer.sealed").read_bytes()
        assert b"Example Dialling" not in data
        opened, about = open_identity(data, SEALING)
        assert opened == "Example Dialling Inc., account 7011\n"
        assert (about.provider, about.coordinator) == ("birch", "hopback://coordinator/lab")
        here.agent.disclosing.take_decisions()
        assert ("RELEASED", "") in here.logged()

    async def test_never_goes_without_a_persons_approval(self, kit: Kit, tmp_path: Path) -> None:
        here, which = await self.approved(kit, tmp_path)
        code, text = self.release(here, which, tmp_path)
        assert code == 2
        assert "approved" in text
        assert not (tmp_path / "customer.sealed").exists()

    def test_can_be_read_by_nobody_else_and_shown_as_nothing_else(self) -> None:
        about = About("birch", "hopback://coordinator/lab", "00" * 32, "11" * 32)
        sealed = seal_identity("who it was", about, SEALING.public_key().public_bytes_raw())
        with pytest.raises(SealedIdentityError, match="another key"):
            open_identity(sealed, X25519PrivateKey.generate())
        document = json.loads(sealed)
        for name in ("provider", "coordinator", "order_sha256", "question_sha256"):
            with pytest.raises(SealedIdentityError, match="altered"):
                open_identity(json.dumps({**document, name: "other"}).encode(), SEALING)
        for broken in (b"", b"{}", b"[1]", sealed[:40], json.dumps({**document, "format": "x"}).encode()):
            with pytest.raises(SealedIdentityError):
                open_identity(broken, SEALING)
