"""A bundle is verified offline: what is proven, by whom, what is not; and nothing that was altered passes."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from coordinator.evidence import container, readable
from coordinator.evidence.bundle import bundle
from coordinator.evidence.members import MANIFEST, SEAL
from coordinator.evidence.signatures import Trust
from coordinator.evidence.statements import Standing, Statement
from coordinator.evidence.verify import Verdict, verify
from hopback.v1 import audit_pb2 as audit
from hopback.v1 import bundle_pb2 as pb
from hopback.v1 import evidence_pb2 as evidence
from protos import merkle
from protos.codec import digest
from protos.e164 import parse_e164
from protos.hops import decode_naming
from protos.identity import parse_provider_id
from protos.signing import Domain
from protos.types import Answer, Handover, Outcome
from tests.coordinator.evidence.made import NOW, Industry, Maker, industry, whole
from tests.protos.evidence_kit import ANN, BOB, CAROL, ORDER, grant


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Industry:
    return industry(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def good(parties: Industry) -> bytes:
    return bundle(whole(parties), parties.trust, parties.signers["lab"])


def broken(verdict: Verdict) -> list[str]:
    return [f"{s.what}: {s.why}" for s in verdict.statements if s.standing is Standing.BROKEN]


def proven(verdict: Verdict) -> list[str]:
    return [s.what for s in verdict.statements if s.standing is Standing.PROVEN]


def resealed(parties: Industry, change: Callable[[pb.TracebackEvidence], None]) -> Verdict:
    """The verdict on a bundle that a dishonest coordinator made, with its own good seal."""
    message = whole(parties)
    change(message)
    return verify(bundle(message, parties.trust, parties.signers["lab"]), parties.trust)


def _without_birch(message: pb.TracebackEvidence) -> None:
    del message.hops[1]


class TestAWholeBundle:
    def test_proves_order_questions_answers_log_and_chain(self, parties: Industry, good: bytes) -> None:
        verdict = verify(good, parties.trust)
        assert broken(verdict) == []
        assert verdict.standing is Standing.PROVEN
        assert proven(verdict) == [
            "every byte is as it was made",
            "the bundle is what the coordinator made",
            "ann certified the order, and enough others approved it",
            "hop 1 (ginkgo) was asked under the order",
            "hop 1 (ginkgo) answered: the call came from birch",
            "hop 1 (ginkgo) logged the answer",
            "others have seen the log in which hop 1 (ginkgo) holds the answer",
            "hop 2 (birch) was asked under the order",
            "hop 2 (birch) answered: the call came from alder; it did hand the call to the provider that named it",
            "hop 2 (birch) logged the answer",
            "others have seen the log in which hop 2 (birch) holds the answer",
            "hop 3 (alder) was asked under the order",
            "hop 3 (alder) answered: a customer of its own placed the call; "
            "it did hand the call to the provider that named it",
            "hop 3 (alder) logged the answer",
            "others have seen the log in which hop 3 (alder) holds the answer",
            "hop 1 (ginkgo) is the terminating provider of the order, and was asked for its call",
            "hop 2 (birch) was named by ginkgo",
            "hop 3 (alder) was named by birch",
            "the chain ends at hop 3 (alder): a customer of its own placed the call; "
            "it did hand the call to the provider that named it",
        ]

    def test_says_who_signed_and_who_witnessed(self, parties: Industry, good: bytes) -> None:
        by = {s.what: s.by for s in verify(good, parties.trust).statements}
        assert by["ann certified the order, and enough others approved it"] == "ann, bob"
        assert by["hop 2 (birch) was asked under the order"] == "hopback://coordinator/lab"
        assert by["hop 2 (birch) logged the answer"] == "hopback://provider/birch"
        assert by["others have seen the log in which hop 2 (birch) holds the answer"] == "hopback://provider/mallory"

    def test_says_what_no_bundle_proves(self, parties: Industry, good: bytes) -> None:
        unproven = [s.what for s in verify(good, parties.trust).statements if s.standing is Standing.NOT_PROVEN]
        assert unproven == [
            "the providers' records are true",
            "no two neighbours agreed on a false hop",
            "who the customer is",
        ]

    def test_without_trust_of_ones_own_says_so_in_every_statement(self, good: bytes) -> None:
        verdict = verify(good, Trust())
        assert broken(verdict) == []
        by_keys = [
            s for s in verdict.statements if "hopback://" in s.by and "logged" not in s.what and "named" not in s.what
        ]
        assert all("in the bundle itself" in s.by for s in by_keys)
        assert any("as the bundle names them" in s.by for s in verdict.statements)

    def test_is_the_same_bytes_every_time(self, parties: Industry, good: bytes) -> None:
        assert (
            bundle(
                verify(good, parties.trust).evidence or pb.TracebackEvidence(), parties.trust, parties.signers["lab"]
            )
            == good
        )


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # a bent serial number
class TestNothingAlteredPasses:
    def test_no_byte_of_the_file(self, parties: Industry, good: bytes) -> None:
        chance = random.Random(3)
        for at in chance.sample(range(len(good)), 400):
            bent = bytearray(good)
            bent[at] ^= chance.randrange(1, 256)
            verdict = verify(bytes(bent), parties.trust)
            assert verdict.standing is Standing.BROKEN
            assert f"offset {at}" in [s.at for s in verdict.statements]

    def test_no_byte_of_the_evidence_even_with_the_checksums_put_right(self, parties: Industry, good: bytes) -> None:
        chance = random.Random(4)
        members = dict(container.read(good).members)
        for at in chance.sample(range(len(members["evidence.pb"])), 300):
            bent = bytearray(members["evidence.pb"])
            bent[at] ^= chance.randrange(1, 256)
            verdict = verify(container.write({**members, "evidence.pb": bytes(bent)}), parties.trust)
            assert verdict.standing is Standing.BROKEN, at

    @pytest.mark.nightly
    def test_no_byte_at_all(self, parties: Industry, good: bytes) -> None:
        for at in range(len(good)):
            bent = bytearray(good)
            bent[at] ^= 1 + at % 255
            assert verify(bytes(bent), parties.trust).standing is Standing.BROKEN, at

    def test_no_other_coordinators_seal(self, parties: Industry) -> None:
        made = bundle(whole(parties), parties.trust, parties.signers["mallory"])
        assert any("the bundle is what the coordinator made" in line for line in broken(verify(made, parties.trust)))

    def test_no_roots_of_others(self, parties: Industry, good: bytes, tmp_path: Path) -> None:
        other = industry(tmp_path)
        verdict = verify(good, replace(parties.trust, roots=other.roots))
        assert verdict.standing is Standing.BROKEN
        assert not any("answered" in what for what in proven(verdict))

    def test_no_persons_of_others(self, parties: Industry, good: bytes) -> None:
        verdict = verify(good, replace(parties.trust, persons={"ann": CAROL.public, "bob": BOB.public}))
        assert any("ann certified the order" in line for line in broken(verdict))
        verdict = verify(good, replace(parties.trust, approvals=2))
        assert any("ORDER_NOT_APPROVED" in line for line in broken(verdict))

    def test_no_missing_or_strange_member(self, parties: Industry, good: bytes) -> None:
        members = dict(container.read(good).members)
        for name in (MANIFEST, SEAL, "summary.html", "evidence.pb"):
            less = {key: value for key, value in members.items() if key != name}
            assert verify(container.write(less), parties.trust).standing is Standing.BROKEN
        more = container.write({**members, "extra.txt": b"?"})
        assert verify(more, parties.trust).standing is Standing.BROKEN

    @pytest.mark.parametrize("size", [0, 1, 100])
    def test_nothing_of_a_file_that_is_no_bundle(self, size: int) -> None:
        assert verify(bytes(size), Trust()).standing is Standing.BROKEN


class TestADishonestCoordinator:
    """It has its own good key and makes a whole bundle; what others signed still can't be bent."""

    @pytest.mark.parametrize("part", ["question", "naming", "finding"])
    def test_can_not_change_what_was_asked_or_answered(self, parties: Industry, part: str) -> None:
        def change(message: pb.TracebackEvidence) -> None:
            exact = bytearray(getattr(message.hops[1], part))
            exact[40] ^= 1
            setattr(message.hops[1], part, bytes(exact))

        assert broken(resealed(parties, change))

    def test_can_not_put_a_hop_of_another_traceback_in(self, parties: Industry) -> None:
        other = Maker(parties, grant(replace(ORDER, campaign="another")))
        other.hop("ginkgo", Answer(parse_provider_id("ginkgo"), Outcome.ORIGINATED_HERE), None)

        def change(message: pb.TracebackEvidence) -> None:
            foreign = other.message.hops[0]
            offset = len(message.seals)
            message.seals.extend(other.message.seals)
            for proof in (foreign.question_proof, foreign.answer_proof):
                proof.seal += offset
            message.hops[0].CopyFrom(foreign)

        lines = broken(resealed(parties, change))
        assert any("another order" in line for line in lines)

    def test_can_not_leave_a_hop_out(self, parties: Industry) -> None:
        lines = broken(resealed(parties, _without_birch))
        assert any("is not in the bundle" in line for line in lines)

    def test_can_not_show_another_answer_than_the_one_it_went_on_with(self, parties: Industry) -> None:
        twice = Maker(parties)
        answer = Answer(parse_provider_id("ginkgo"), Outcome.UPSTREAM, upstream=parse_provider_id("birch"))
        naming = twice.hop("ginkgo", answer, None, salt="another salt")
        twice.hop("birch", Answer(parse_provider_id("birch"), Outcome.ORIGINATED_HERE), naming)
        other = Maker(parties)
        other.hop("ginkgo", answer, None)
        for part in ("naming", "finding"):
            setattr(twice.message.hops[0], part, getattr(other.message.hops[0], part))
        offset = len(twice.message.seals)
        twice.message.seals.extend(other.message.seals)
        twice.message.hops[0].answer_proof.CopyFrom(other.message.hops[0].answer_proof)
        twice.message.hops[0].answer_proof.seal += offset
        twice.message.hops[0].ClearField("logged")
        verdict = verify(bundle(twice.message, parties.trust, parties.signers["lab"]), parties.trust)
        (line,) = broken(verdict)
        assert line == "hop 2 (birch) was named by ginkgo: the answer that names it is not in the bundle"

    def test_can_not_swap_providers(self, parties: Industry) -> None:
        def change(message: pb.TracebackEvidence) -> None:
            message.hops[2].provider = "mallory"

        assert any("addressed to alder" in line for line in broken(resealed(parties, change)))

    def test_can_not_make_an_order(self, parties: Industry) -> None:
        forged = Maker(parties, grant(ORDER, submitter=parties.signers["lab"], approvers=(parties.signers["lab"],)))
        forged.hop("ginkgo", Answer(parse_provider_id("ginkgo"), Outcome.ORIGINATED_HERE), None)
        verdict = verify(bundle(forged.message, parties.trust, parties.signers["lab"]), parties.trust)
        assert any("ORDER_SIGNATURE" in line for line in broken(verdict))

    def test_can_not_ask_after_the_order_expired(self, parties: Industry) -> None:
        late = Maker(parties, grant(replace(ORDER, expires=ORDER.issued + timedelta(minutes=6))))
        late.hop("ginkgo", Answer(parse_provider_id("ginkgo"), Outcome.ORIGINATED_HERE), None)
        verdict = verify(bundle(late.message, parties.trust, parties.signers["lab"]), parties.trust)
        assert any("expired" in line for line in broken(verdict))

    def test_can_not_begin_elsewhere_than_the_order_says(self, parties: Industry) -> None:
        elsewhere = Maker(parties, grant(replace(ORDER, terminating=parse_provider_id("birch"))))
        elsewhere.hop("ginkgo", Answer(parse_provider_id("ginkgo"), Outcome.ORIGINATED_HERE), None)
        narrow = Maker(parties, grant(replace(ORDER, window=timedelta(seconds=5))))
        narrow.hop("ginkgo", Answer(parse_provider_id("ginkgo"), Outcome.ORIGINATED_HERE), None)
        for maker, why in ((elsewhere, "another provider, number or time"), (narrow, "reaches further")):
            verdict = verify(bundle(maker.message, parties.trust, parties.signers["lab"]), parties.trust)
            assert any(why in line for line in broken(verdict))

    def test_can_not_ask_for_another_number_than_was_named(self, parties: Industry) -> None:
        maker = Maker(parties)
        translated = Answer(
            parse_provider_id("ginkgo"),
            Outcome.UPSTREAM,
            upstream=parse_provider_id("birch"),
            ask_called=parse_e164("+18005550199"),
        )
        naming = maker.hop("ginkgo", translated, None)
        maker.hop("birch", Answer(parse_provider_id("birch"), Outcome.ORIGINATED_HERE), naming)
        verdict = verify(bundle(maker.message, parties.trust, parties.signers["lab"]), parties.trust)
        assert any("another number than that answer says" in line for line in broken(verdict))

    def test_can_move_the_time_inside_the_order_alone(self, parties: Industry) -> None:
        def verdict(window: timedelta) -> Verdict:
            maker = Maker(parties)
            names = Answer(parse_provider_id("ginkgo"), Outcome.UPSTREAM, upstream=parse_provider_id("birch"))
            origin = Answer(parse_provider_id("birch"), Outcome.ORIGINATED_HERE)
            naming = maker.hop("ginkgo", names, None)
            maker.hop("birch", origin, naming, moved=timedelta(seconds=-5), window=window)
            return verify(bundle(maker.message, parties.trust, parties.signers["lab"]), parties.trust)

        inside = ORDER.window - timedelta(seconds=5)
        assert broken(verdict(inside)) == []
        assert any("beyond the time" in line for line in broken(verdict(inside + timedelta(milliseconds=1))))

    def test_can_not_claim_a_log_entry_that_is_none(self, parties: Industry) -> None:
        def change(message: pb.TracebackEvidence) -> None:
            message.hops[1].logged.entries[1].index = 0

        assert any("is not in the log" in line for line in broken(resealed(parties, change)))

        def about_another(message: pb.TracebackEvidence) -> None:
            message.hops[1].logged.CopyFrom(message.hops[0].logged)

        assert any("another provider's" in line for line in broken(resealed(parties, about_another)))


class TestWitnesses:
    """Other providers that signed a state of a provider's log: what they saw is what the bundle shows."""

    WHAT = "others have seen the log in which hop 2 (birch) holds the answer"

    def said(self, verdict: Verdict) -> Statement:
        (statement,) = (one for one in verdict.statements if one.what == self.WHAT)
        return statement

    def changed(self, parties: Industry, *, checkpoint: evidence.SignedCheckpoint, path: bytes = b"") -> Verdict:
        def change(message: pb.TracebackEvidence) -> None:
            message.hops[1].witnessed.checkpoint.CopyFrom(checkpoint)
            message.hops[1].witnessed.path = path

        return resealed(parties, change)

    def test_say_by_when_they_saw_the_log_with_the_answer_in_it(self, parties: Industry, good: bytes) -> None:
        assert self.said(verify(good, parties.trust)).at == NOW.isoformat()
        assert "by a root in the bundle itself" in self.said(verify(good, Trust())).by

    def test_are_not_needed_nothing_is_broken_without_them(self, parties: Industry) -> None:
        verdict = resealed(parties, lambda message: message.hops[1].ClearField("witnessed"))
        assert verdict.standing is Standing.PROVEN
        assert "hop 2 (birch) logged the answer" in proven(verdict)
        assert self.said(verdict).standing is Standing.NOT_PROVEN
        assert "the answer stands without one" in self.said(verdict).why

    def test_may_have_seen_the_very_state_that_is_shown_or_a_later_one(self, parties: Industry) -> None:
        def later_than_shown(message: pb.TracebackEvidence) -> None:
            entries, path = birchs_log(message), message.hops[1].witnessed.path
            hop = message.hops[1]
            hop.logged.checkpoint.CopyFrom(maker.checkpoint("birch", entries[:3]))
            tree = merkle.tree_of(entries[:3])
            for entry in hop.logged.entries:
                entry.path = tree.path(entry.index)
            hop.witnessed.checkpoint.CopyFrom(maker.checkpoint("birch", entries, "mallory"))
            assert path == hop.witnessed.path

        maker, entries = Maker(parties), birchs_log(whole(parties))
        same = self.changed(parties, checkpoint=maker.checkpoint("birch", entries, "mallory", "alder"))
        assert broken(same) == []
        assert self.said(same).by == "hopback://provider/alder, hopback://provider/mallory"
        assert broken(resealed(parties, later_than_shown)) == []

    def test_contradict_a_provider_that_shows_another_log(self, parties: Industry) -> None:
        entries = birchs_log(whole(parties))
        rewritten = Maker(parties).checkpoint("birch", [*entries[:2], entries[0]], "mallory")
        path = whole(parties).hops[1].witnessed.path
        for shown in (path, b"", path[:-1], path[32:]):
            verdict = self.changed(parties, checkpoint=rewritten, path=shown)
            assert self.said(verdict).standing is Standing.BROKEN
            assert "not shown to be the one that holds the answer" in self.said(verdict).why
            assert "hop 2 (birch) logged the answer" in proven(verdict), "what it signed itself still stands"

    def test_who_saw_the_log_before_the_answer_saw_no_answer(self, parties: Industry) -> None:
        entries = birchs_log(whole(parties))
        hashed = list(map(merkle.leaf_hash, entries))
        path = merkle.consistency_path(2, 5, lambda level, at: merkle.Tree(hashed).levels[level][at])
        early = Maker(parties).checkpoint("birch", entries[:2], "mallory")
        verdict = self.changed(parties, checkpoint=early, path=path)
        assert self.said(verdict).why == "the log that they saw had 2 entries, and the answer is entry 2"

    @pytest.mark.parametrize(
        ("witnesses", "why"),
        [
            ((), "nobody but the provider signed"),
            (("birch",), "by no other provider"),
            (("lab",), "by no other provider"),
            (("mallory", "birch"), "by no other provider"),
        ],
    )
    def test_are_other_providers_alone(self, parties: Industry, witnesses: tuple[str, ...], why: str) -> None:
        checkpoint = Maker(parties).checkpoint("birch", birchs_log(whole(parties)), *witnesses)
        assert why in self.said(self.changed(parties, checkpoint=checkpoint)).why

    def test_signed_as_witnesses_exactly_what_is_shown(self, parties: Industry) -> None:
        maker, entries = Maker(parties), birchs_log(whole(parties))
        for bend in (_other_bytes, _other_domain(parties), _other_size):
            checkpoint = maker.checkpoint("birch", entries, "mallory")
            bend(checkpoint)
            statement = self.said(self.changed(parties, checkpoint=checkpoint))
            assert statement.standing is Standing.BROKEN
            assert statement.why.startswith("the seal of mallory: ")

    def test_vouch_for_no_state_that_the_provider_did_not_sign(self, parties: Industry) -> None:
        maker, entries = Maker(parties), birchs_log(whole(parties))
        for of, why in (("alder", "another provider's"), ("birch", "its checkpoint: ")):
            checkpoint = maker.checkpoint(of, entries, "mallory")
            if of == "birch":
                checkpoint.seals[0].CopyFrom(checkpoint.seals[1])
            statement = self.said(self.changed(parties, checkpoint=checkpoint))
            assert statement.standing is Standing.BROKEN
            assert why in statement.why

    def test_a_state_that_is_none_is_broken_and_raises_nothing(self, parties: Industry) -> None:
        for checkpoint in (
            evidence.SignedCheckpoint(),
            evidence.SignedCheckpoint(checkpoint=b"\xff", seals=[evidence.Seal()]),
        ):
            assert self.said(self.changed(parties, checkpoint=checkpoint)).standing is Standing.BROKEN


def birchs_log(message: pb.TracebackEvidence) -> list[bytes]:
    """The five entries of birch's log, as `Maker` makes it."""
    started = [audit.AuditEntry(kind=audit.AUDIT_KIND_STARTED, at_unix_ms=at).SerializeToString() for at in (1, 2, 3)]
    return [started[0], *(shown.entry for shown in message.hops[1].logged.entries), *started[1:]]


def _other_bytes(checkpoint: evidence.SignedCheckpoint) -> None:
    checkpoint.seals[1].root = bytes(32)


def _other_size(checkpoint: evidence.SignedCheckpoint) -> None:
    checkpoint.seals[1].size = 2


def _other_domain(parties: Industry) -> Callable[[evidence.SignedCheckpoint], None]:
    def bend(checkpoint: evidence.SignedCheckpoint) -> None:
        seal, _ = parties.signers["mallory"].seal(Domain.CHECKPOINT, [checkpoint.checkpoint])
        checkpoint.seals[1].CopyFrom(seal.to_message())

    return bend


class TestADispute:
    def test_shows_nobody_as_the_source(self, parties: Industry) -> None:
        maker = Maker(parties)
        naming = maker.hop(
            "ginkgo",
            Answer(parse_provider_id("ginkgo"), Outcome.UPSTREAM, upstream=parse_provider_id("birch")),
            None,
        )
        denial = Answer(parse_provider_id("birch"), Outcome.NOT_FOUND, handover=Handover.NOT_MINE)
        maker.hop("birch", denial, naming, logged=False)
        maker.message.status = "disputed"
        verdict = verify(bundle(maker.message, parties.trust, parties.signers["lab"]), parties.trust)
        assert broken(verdict) == []
        (ending,) = [s for s in verdict.statements if s.what.startswith("the chain ends")]
        assert ending.standing is Standing.NOT_PROVEN
        assert "nobody is shown to be the source" in ending.why
        assert any(
            s.what == "hop 2 (birch) logged the answer" and s.standing is Standing.NOT_PROVEN
            for s in verdict.statements
        )


class TestWhatReadersSee:
    def test_is_the_same_on_the_page_in_json_and_in_the_pdf(self, parties: Industry, good: bytes) -> None:
        members = container.read(good).members
        page, facts = members["summary.html"].decode(), json.loads(members["evidence.json"])
        assert facts["hops"][2]["outcome"] == "ORIGINATED_HERE"
        assert facts["order"]["submitter"] == "ann"
        for text in ("the call came from birch", ORDER.called, "47 U.S.C. 222(d)(2)", "alder"):
            assert text in page
        assert members["summary.pdf"].startswith(b"%PDF-")
        del parties

    def test_is_text_never_markup(self, parties: Industry) -> None:
        message = whole(parties)
        message.hops[0].note = message.status = "<script>alert(1)</script>"
        message.hops[0].naming = b""
        del message.hops[1:]
        verdict = verify(bundle(message, parties.trust, parties.signers["lab"]), parties.trust)
        page = readable.page(verdict)
        assert "&lt;script&gt;" in page
        assert "<script>" not in page


class TestTheVerifier:
    def test_imports_neither_store_nor_network(self) -> None:
        code = (
            "import sys; import coordinator.evidence.verify; "
            "print([m for m in sys.modules if m.split('.')[0] in "
            "('sqlalchemy', 'grpc', 'socket', 'http', 'urllib3', 'requests', 'alembic', 'asyncio')])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert [
            name for name in ast.literal_eval(done.stdout) if name.split(".")[0] in ("sqlalchemy", "grpc", "alembic")
        ] == []

    def test_reads_a_naming_as_the_protocol_has_it(self, parties: Industry) -> None:
        message = whole(parties)
        assert decode_naming(message.hops[0].naming).upstream == "birch"
        assert len(digest(message.hops[0].naming)) == 32
        assert ANN.public != BOB.public


class TestAForkedChain:
    """A provider denied; the one that named it was asked once more, and the chain goes on from there."""

    def test_is_proven_from_the_second_answer_on(self, parties: Industry) -> None:
        ginkgo, birch, alder = (parse_provider_id(name) for name in ("ginkgo", "birch", "alder"))
        maker = Maker(parties)
        naming = maker.hop("ginkgo", Answer(ginkgo, Outcome.UPSTREAM, upstream=birch), None)
        maker.hop("birch", Answer(birch, Outcome.NOT_FOUND, handover=Handover.NOT_MINE), naming)
        again = maker.hop("ginkgo", Answer(ginkgo, Outcome.UPSTREAM, upstream=alder), None, place=0)
        origin = Answer(alder, Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED)
        maker.hop("alder", origin, again, place=1)
        verdict = verify(bundle(maker.message, parties.trust, parties.signers["lab"]), parties.trust)
        assert broken(verdict) == []
        assert any("the chain ends at hop 2 (alder)" in one.what for one in verdict.statements)
