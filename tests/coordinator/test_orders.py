"""Orders: who may make one, who may approve it, what a file of them is, what the database keeps, what people type."""

from __future__ import annotations

import json
import sqlite3
import stat
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from coordinator.cli import main
from coordinator.ordering.drafts import Desk, Wording
from coordinator.ordering.intake import Intake, IntakeError, RejectedCall
from coordinator.ordering.orders import (
    OrdersError,
    OrderSet,
    State,
    call_of,
    from_file,
    merged,
    sign,
    signer_of,
    start_problem,
    state_of,
    to_file,
)
from coordinator.store.orders import OrderBook
from protos.codec import digest
from protos.orders import Order, Persons, Purpose, encode_order, grant_problem
from protos.signing import Domain, SealChecker, Signer
from tests.coordinator.fakes import NamedProviders
from tests.coordinator.make import CALLED, CALLING, NOW, T0
from tests.coordinator.parties import Parties, order

AT = "2026-11-20T18:03:11Z"
CALL = {"called": CALLED, "at": AT, "terminating": "ginkgo", "calling": CALLING}
WORDS = Wording(campaign="auto-warranty", evidence="a" * 64, certification="I have listened to the recording.")


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties(tmp_path_factory.mktemp("ca"))


def drafted(count: int = 3, **changes: object) -> OrderSet:
    return OrderSet.of(encode_order(order(**changes)) for _ in range(count))


def submitted(parties: Parties, orders: OrderSet | None = None) -> OrderSet:
    return sign(orders or drafted(), Domain.ORDER, parties.people["ann"])


def approved(parties: Parties, *by: str) -> OrderSet:
    signed = submitted(parties)
    for name in by or ("bob",):
        signed = sign(signed, Domain.APPROVAL, parties.people[name])
    return signed


def standing(orders: OrderSet, persons: Persons) -> State:
    return state_of(orders, persons, SealChecker(), NOW)


class TestASetOfOrders:
    def test_is_a_draft_until_it_is_submitted_then_waits_for_approval(self, parties: Parties) -> None:
        states = [standing(one, parties.persons) for one in (drafted(), submitted(parties), approved(parties))]
        assert states == [State.DRAFT, State.SUBMITTED, State.APPROVED]

    def test_expires_with_the_first_of_its_orders(self, parties: Parties) -> None:
        assert state_of(approved(parties), parties.persons, SealChecker(), order().expires) is State.EXPIRED

    @pytest.mark.parametrize(("by", "state"), [(("bob",), State.SUBMITTED), (("bob", "eve"), State.APPROVED)])
    def test_takes_as_many_approvals_as_are_wanted(self, parties: Parties, by: tuple[str, ...], state: State) -> None:
        assert standing(approved(parties, *by), replace(parties.persons, approvals=2)) is state

    def test_costs_one_signature_a_person_however_many_orders_there_are(self, parties: Parties) -> None:
        signed = sign(submitted(parties, drafted(200)), Domain.APPROVAL, parties.people["bob"])
        assert len(signed.signatures) == 2
        granted = signed.granted()
        assert granted is not None
        assert {grant_problem(one, parties.persons, SealChecker()) for one in granted} == {None}

    def test_signed_twice_by_one_person_is_signed_once(self, parties: Parties) -> None:
        once = submitted(parties)
        assert submitted(parties, once) == once

    @pytest.mark.parametrize(
        ("exact", "why"),
        [
            ([], "1 to 100,000"),
            ([b"\xff"], "is no order"),
            ([encode_order(order()), encode_order(order(submitter="eve"))], "one submitter"),
            ([encode_order(order()), encode_order(order(coordinator="other"))], "one coordinator"),
            ([encode_order(order(order_id=uuid.UUID(int=1)))] * 2, "twice"),
        ],
    )
    def test_is_refused_where_it_is_none(self, exact: list[bytes], why: str) -> None:
        with pytest.raises(OrdersError, match=why):
            OrderSet.of(exact)


class TestASignature:
    def check(self, orders: OrderSet, persons: Persons) -> str:
        return signer_of(orders, orders.signatures[-1], persons, SealChecker())

    def test_counts_as_that_persons_whose_key_is_pinned(self, parties: Parties) -> None:
        assert self.check(submitted(parties), parties.persons) == "ann"
        assert self.check(approved(parties), parties.persons) == "bob"

    def test_by_an_unknown_key_counts_for_nothing(self, parties: Parties) -> None:
        stranger = Signer(Ed25519PrivateKey.generate())
        with pytest.raises(OrdersError, match=r"a key that orders\.submitters"):
            self.check(sign(drafted(), Domain.ORDER, stranger), parties.persons)
        with pytest.raises(OrdersError, match=r"a key that orders\.approvers"):
            self.check(sign(submitted(parties), Domain.APPROVAL, stranger), parties.persons)

    def test_of_the_coordinators_online_key_makes_no_order(self, parties: Parties) -> None:
        online = parties.coordinator.signer
        forged = sign(sign(drafted(), Domain.ORDER, online), Domain.APPROVAL, online)
        assert standing(forged, parties.persons) is State.DRAFT
        with pytest.raises(OrdersError, match="doesn't name"):
            self.check(forged, parties.persons)

    def test_of_the_submitter_never_approves_even_under_another_name(self, parties: Parties) -> None:
        ann = parties.people["ann"]
        both = Persons({"ann": ann.public}, {"ann": ann.public, "also-ann": ann.public})
        signed = sign(submitted(parties), Domain.APPROVAL, ann)
        with pytest.raises(OrdersError, match="another person must approve"):
            self.check(signed, both)
        assert standing(signed, both) is State.SUBMITTED

    def test_of_one_who_may_submit_but_did_not_draft_it_is_refused(self, parties: Parties) -> None:
        persons = Persons({"ann": parties.people["ann"].public, "eve": parties.people["eve"].public}, {})
        with pytest.raises(OrdersError, match="submitted by ann, not by eve"):
            self.check(sign(drafted(), Domain.ORDER, parties.people["eve"]), persons)

    def test_for_other_orders_is_refused(self, parties: Parties) -> None:
        moved = replace(drafted(), signatures=submitted(parties).signatures)
        with pytest.raises(OrdersError, match="another set of orders"):
            self.check(moved, parties.persons)

    def test_that_is_damaged_is_refused(self, parties: Parties) -> None:
        signed = submitted(parties)
        broken = replace(signed.signatures[0], seal=replace(signed.signatures[0].seal, signature=bytes(64)))
        with pytest.raises(OrdersError, match="forged or damaged"):
            self.check(replace(signed, signatures=(broken,)), parties.persons)

    def test_as_submission_is_none_as_approval(self, parties: Parties) -> None:
        one = submitted(parties, drafted(submitter="bob"))
        passed_off = replace(one.signatures[0], domain=Domain.APPROVAL)
        persons = Persons({}, {"ann": parties.people["ann"].public})
        with pytest.raises(OrdersError, match="forged or damaged"):
            self.check(replace(one, signatures=(passed_off,)), persons)


class TestStarting:
    def problem(self, parties: Parties, orders: OrderSet, **changes: Any) -> str | None:
        granted = orders.granted()
        assert granted is not None
        said: dict[str, Any] = {"coordinator": "lab", "now": NOW} | changes
        return start_problem(granted[0], parties.persons, SealChecker(), **said)

    def test_takes_an_approved_order(self, parties: Parties) -> None:
        assert self.problem(parties, approved(parties)) is None

    def test_is_refused_without_approval(self, parties: Parties) -> None:
        assert "lacks approval" in (self.problem(parties, submitted(parties)) or "")

    def test_is_refused_after_the_order_has_expired_and_before_it_counts(self, parties: Parties) -> None:
        assert "expired" in (self.problem(parties, approved(parties), now=order().expires) or "")
        early = order().issued - timedelta(hours=1)
        assert "counts only from" in (self.problem(parties, approved(parties), now=early) or "")

    def test_is_refused_for_another_coordinator(self, parties: Parties) -> None:
        assert "not for elsewhere" in (self.problem(parties, approved(parties), coordinator="elsewhere") or "")

    def test_asks_for_exactly_what_the_order_names(self) -> None:
        one = order(window=timedelta(seconds=30), hop_limit=7)
        call = call_of(one, bytes(32))
        assert (call.called, call.at, call.terminating, call.calling) == (CALLED, T0, "ginkgo", CALLING)
        assert (call.window, call.hop_limit, call.expires) == (timedelta(seconds=30), 7, one.expires)


class TestAFile:
    def test_says_again_what_was_written(self, parties: Parties) -> None:
        signed = approved(parties)
        read = from_file(to_file(signed))
        assert (read.id, read.exact, read.signatures) == (signed.id, signed.exact, signed.signatures)

    def test_brings_back_signatures_that_were_made_elsewhere(self, parties: Parties) -> None:
        """Ann and bob sign copies on machines of their own; both come back."""
        sent = to_file(drafted())
        by_ann = sign(from_file(sent), Domain.ORDER, parties.people["ann"])
        by_bob = sign(from_file(sent), Domain.APPROVAL, parties.people["bob"])
        known = from_file(sent)
        for came in (by_ann, by_bob):
            known = replace(known, signatures=(*known.signatures, *merged(known, from_file(to_file(came)).signatures)))
        assert standing(known, parties.persons) is State.APPROVED

    def change(self, parties: Parties, edit: Callable[[dict[str, Any]], None]) -> str:
        content = json.loads(to_file(approved(parties)))
        edit(content)
        return json.dumps(content)

    @pytest.mark.parametrize(
        ("edit", "why"),
        [
            (lambda c: c.update(format="hopback orders 2"), "its format is not"),
            (lambda c: c.pop("signatures"), "nothing else"),
            (lambda c: c.update(more=1), "nothing else"),
            (lambda c: c.update(orders="x"), "must be lists"),
            (lambda c: c.update(orders=["%%"]), "no base64"),
            (lambda c: c.update(orders=[1]), "no base64"),
            (lambda c: c.update(orders=["AAAA"]), "no order"),
            (lambda c: c["signatures"].append({"kind": "blessing", "seal": ""}), "submission or approval"),
            (lambda c: c["signatures"].append({"kind": "approval", "seal": "/////w=="}), "holds no seal"),
        ],
    )
    def test_that_is_none_is_refused_with_the_reason(
        self, parties: Parties, edit: Callable[[dict[str, Any]], None], why: str
    ) -> None:
        with pytest.raises(OrdersError, match=why):
            from_file(self.change(parties, edit))

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_of_any_content_is_read_or_refused(self, parties: Parties, data: st.DataObject) -> None:
        whole = to_file(approved(parties))
        place = data.draw(st.integers(0, len(whole) - 1))
        text = data.draw(st.one_of(st.text(max_size=80), st.just(whole[:place] + "x" + whole[place + 1 :])))
        try:
            read = from_file(text)
        except OrdersError:
            return
        for one in read.signatures:
            try:
                signer_of(read, one, parties.persons, SealChecker())
            except OrdersError:
                return


class TestADraft:
    def desk(self, directory: Path = Path()) -> Desk:
        intake = Intake(NamedProviders("ginkgo", "elm"), NOW)
        return Desk("lab", "ann", intake, directory)

    def test_says_of_the_call_what_was_handed_in_and_of_the_rest_what_holds_for_all(self) -> None:
        made = self.desk().draft(CALL, WORDS).order
        assert (made.called, made.at, made.terminating, made.calling) == (CALLED, T0, "ginkgo", CALLING)
        assert (made.campaign, made.purpose, made.submitter) == ("auto-warranty", Purpose.UNLAWFUL_ROBOCALLS, "ann")
        assert made.expires - made.issued == timedelta(hours=72)

    def test_takes_from_its_row_what_the_row_says_itself(self) -> None:
        text = (
            "called,at,terminating,purpose,campaign,evidence,certification\n"
            f"{CALLED},{AT},ginkgo,threat-to-life,swatting,{'b' * 64},Heard it.\n"
            f"{CALLED},{AT},elm,,,,\n"
        )
        rows = [row for row in self.desk().drafts(text, WORDS) if not isinstance(row, RejectedCall)]
        first, second = (row.order for row in rows)
        assert (first.purpose, first.campaign, first.certification) == (Purpose.THREAT_TO_LIFE, "swatting", "Heard it.")
        assert first.evidence_sha256 == bytes.fromhex("bb" * 32)
        assert (second.campaign, second.evidence_sha256) == ("auto-warranty", bytes.fromhex("aa" * 32))

    def test_names_evidence_by_the_digest_of_its_file_which_stays_where_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "complaint.wav").write_bytes(b"synthetic recording")
        made = self.desk(tmp_path).draft(CALL, replace(WORDS, evidence="complaint.wav")).order
        assert made.evidence_sha256 == digest(b"synthetic recording")

    def test_is_refused_with_all_that_is_wrong_with_it_and_no_number_in_it(self) -> None:
        with pytest.raises(IntakeError) as caught:
            self.desk().draft(CALL | {"called": "2025550143", "terminating": "oak"}, Wording(purpose="fun"))
        said = [problem.split(":")[0] for problem in caught.value.problems]
        assert said == ["called", "terminating", "purpose", "campaign", "certification", "evidence"]
        assert "2025550143" not in str(caught.value)

    def test_is_no_guess_about_evidence_that_is_not_there(self) -> None:
        with pytest.raises(IntakeError, match="evidence: the file can't be read"):
            self.desk().draft(CALL, replace(WORDS, evidence="nowhere.wav"))

    def test_never_asks_for_more_than_the_protocol_allows(self) -> None:
        with pytest.raises(IntakeError, match="72 hours"):
            replace(self.desk(), life=timedelta(hours=73)).draft(CALL, WORDS)


class TestTheBook:
    def test_gives_back_a_set_as_it_was_signed(self, parties: Parties, either_engine: Engine) -> None:
        book, signed = OrderBook(either_engine), approved(parties)
        assert book.add(signed, NOW)
        assert not book.add(signed, NOW)
        for one in signed.signatures:
            book.sign(signed.id, one, "somebody", NOW)
            book.sign(signed.id, one, "somebody", NOW)
        known = book.load(signed.id)
        assert known is not None
        assert (known.exact, set(known.signatures)) == (signed.exact, set(signed.signatures))
        assert sorted(domain for _, domain, _ in book.signers(signed.id)) == ["approval", "order"]
        assert [summary.size for summary in book.recent(5)] == [3]

    def test_gives_each_order_with_proofs_that_let_it_stand_alone(
        self, parties: Parties, either_engine: Engine
    ) -> None:
        book, signed = OrderBook(either_engine), approved(parties, "bob", "eve")
        book.add(signed, NOW)
        for one in signed.signatures:
            book.sign(signed.id, one, "somebody", NOW)
        found = book.granted([digest(exact) for exact in signed.exact])
        assert len(found) == len(signed.exact)
        for granted in found.values():
            assert grant_problem(granted, replace(parties.persons, approvals=2), SealChecker()) is None

    def test_gives_nothing_that_was_not_submitted(self, parties: Parties, either_engine: Engine) -> None:
        book, signed = OrderBook(either_engine), approved(parties)
        book.add(signed, NOW)
        book.sign(signed.id, signed.signatures[1], "bob", NOW)
        assert book.granted([digest(signed.exact[0])]) == {}
        assert book.granted([bytes(32)]) == {}

    def test_finds_sets_and_orders_by_the_beginning_of_their_ids(self, parties: Parties, sqlite_engine: Engine) -> None:
        book, signed = OrderBook(sqlite_engine), approved(parties)
        book.add(signed, NOW)
        one: Order = signed.orders[0]
        assert book.find_sets(str(signed.id)[:8]) == [signed.id]
        assert book.find_orders(str(one.order_id)) == [digest(signed.exact[0])]
        assert book.sets_of(digest(signed.exact[0])) == [signed.id]
        assert book.find_sets("zz") == []

    def test_waits_for_others_that_write_before_it_reads_anything(
        self, sqlite_engine: Engine, parties: Parties
    ) -> None:
        """SQLite refuses whoever has read, and wants to write after another one has written in between."""
        refused = []

        def another_writes(*read: object) -> None:
            with closing(sqlite3.connect(str(sqlite_engine.url.database), timeout=0)) as other:
                try:
                    other.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    refused.append(read)

        book, signed = OrderBook(sqlite_engine), approved(parties)
        for write in (
            lambda: book.add(signed, NOW),
            lambda: book.sign(signed.id, signed.signatures[0], "ann", NOW),
        ):
            refused.clear()
            event.listen(sqlite_engine, "after_cursor_execute", another_writes)
            write()
            event.remove(sqlite_engine, "after_cursor_execute", another_writes)
            assert len(refused) >= 2
        assert book.load(signed.id) is not None


class Lab:
    """A coordinator as `init` makes it, with one provider."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        assert CliRunner().invoke(main, ["init", str(directory)]).exit_code == 0
        (directory / "registry.csv").write_text("id,name,endpoint\nginkgo,Ginkgo,\n")
        assert self.run("registry", "import", str(directory / "registry.csv")).exit_code == 0

    def run(self, *arguments: str, answers: str = "") -> Result:
        config = {"HOPBACK_COORDINATOR_CONFIG": str(self.directory / "coordinator.toml")}
        return CliRunner().invoke(main, arguments, env=config, input=answers)

    def key(self, name: str) -> str:
        return str(self.directory / "people" / f"{name}.key")

    def draft(self, *more: str) -> Any:
        told = ("--campaign", "auto-warranty", "--evidence", "a" * 64, "--certify", "Heard it.", "--json")
        call = ("--called", CALLED, "--at", AT, "--terminating", "ginkgo", "--calling", CALLING)
        result = self.run("order", "new", *call, *told, *more)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def state(self, name: str) -> str:
        return str(json.loads(self.run("order", "show", name, "--json").stdout)["state"])


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "lab")


class TestTheCommands:
    def test_lead_from_a_draft_to_a_traceback(self, lab: Lab) -> None:
        made = lab.draft()
        assert "1 call" in lab.run("campaign", "show", "auto-warranty").stdout
        assert lab.run("order", "submit", made["set"], "--key", lab.key("ann")).exit_code == 0
        assert lab.run("order", "approve", made["set"], "--key", lab.key("bob"), "--yes").exit_code == 0
        traced = lab.run("trace", "--order", made["orders"][0]["order"][:8], "--json")
        assert traced.exit_code == 0, traced.output
        assert json.loads(traced.stdout)["order_sha256"] == made["orders"][0]["sha256"]
        assert "1 call traced." in lab.run("trace", "--set", made["set"]).stdout

    def test_show_what_is_approved_and_ask(self, lab: Lab) -> None:
        made = lab.draft()
        lab.run("order", "submit", made["set"], "--key", lab.key("ann"))
        refused = lab.run("order", "approve", made["set"], "--key", lab.key("bob"), answers="n\n")
        assert refused.exit_code == 1
        assert "Heard it." in refused.stdout
        assert CALLED[1:] not in refused.stdout
        assert lab.state(made["set"]) == "submitted"
        shown = lab.run("order", "approve", made["set"], "--key", lab.key("bob"), "--show-numbers", answers="y\n")
        assert CALLED in shown.stdout
        assert lab.state(made["set"]) == "approved"

    def test_trace_nothing_before_it_is_approved(self, lab: Lab) -> None:
        made = lab.draft()
        assert "not submitted" in lab.run("trace", "--set", made["set"]).stderr
        lab.run("order", "submit", made["set"], "--key", lab.key("ann"))
        refused = lab.run("trace", "--order", made["orders"][0]["order"])
        assert refused.exit_code == 65
        assert "lacks approval" in refused.stderr
        assert json.loads(lab.run("list", "--json").stdout) == []

    def test_let_nobody_do_both(self, lab: Lab) -> None:
        made = lab.draft()
        lab.run("order", "submit", made["set"], "--key", lab.key("ann"))
        same = lab.run("order", "approve", made["set"], "--key", lab.key("ann"), "--yes")
        assert same.exit_code == 65
        assert lab.state(made["set"]) == "submitted"
        swapped = lab.run("order", "submit", lab.draft()["set"], "--key", lab.key("bob"))
        assert "doesn't name: it is the key of" in swapped.stderr

    def test_refuse_the_online_key(self, lab: Lab) -> None:
        online = str(lab.directory / "coordinator-lab-evidence.key")
        assert lab.run("order", "submit", lab.draft()["set"], "--key", online).exit_code == 65

    def test_sign_on_a_machine_that_knows_nothing_of_the_coordinator(self, lab: Lab, tmp_path: Path) -> None:
        made, file = lab.draft(), tmp_path / "orders.json"
        assert lab.run("order", "export", made["set"], "--out", str(file)).exit_code == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for name, kind in (("ann", "submit"), ("bob", "approve")):
            elsewhere = CliRunner().invoke(
                main, ["order", kind, str(file), "--key", lab.key(name)], input="y\n", env={}
            )
            assert elsewhere.exit_code == 0, elsewhere.output
        assert lab.state(made["set"]) == "draft"
        assert "submitted by ann, approved by bob" in lab.run("order", "import", str(file)).stdout
        assert lab.state(made["set"]) == "approved"
        assert "Nothing new." in lab.run("order", "import", str(file)).stdout

    def test_take_in_no_signature_that_does_not_count(self, lab: Lab, tmp_path: Path) -> None:
        made, file = lab.draft(), tmp_path / "orders.json"
        lab.run("order", "export", made["set"], "--out", str(file))
        stranger = tmp_path / "stranger"
        assert CliRunner().invoke(main, ["init", str(stranger)]).exit_code == 0
        key = str(stranger / "people" / "ann.key")
        assert CliRunner().invoke(main, ["order", "submit", str(file), "--key", key]).exit_code == 0
        refused = lab.run("order", "import", str(file))
        assert refused.exit_code == 65
        assert lab.state(made["set"]) == "draft"

    def test_name_rows_of_a_file_of_which_no_order_can_be_made(self, lab: Lab, tmp_path: Path) -> None:
        file = tmp_path / "calls.csv"
        file.write_text(f"called,at,terminating\n{CALLED},{AT},ginkgo\n2025550143,{AT},ginkgo\n{CALLED},{AT},oak\n")
        told = ("--campaign", "c", "--evidence", "a" * 64, "--certify", "Heard it.")
        result = lab.run("order", "new", "--file", str(file), *told)
        assert result.exit_code == 65
        assert [line.split(":")[1] for line in result.stderr.splitlines()] == ["3", "4"]
        assert "1 order" in result.stdout
        assert "auto" not in lab.run("order", "list").stdout

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (("order", "new"), "name one call"),
            (("order", "new", "--called", CALLED, "--at", AT, "--terminating", "ginkgo"), "--certify: missing"),
            (("order", "new", "--called", CALLED, "--life", "96h"), "72h at most"),
            (("order", "show", "ffffffff"), "order list"),
            (("trace",), "name an approved order"),
            (("trace", "--called", CALLED, "--at", AT, "--terminating", "ginkgo"), "order new"),
            (("trace", "--order", "ffffffff"), "order list"),
            (("trace", "--set", "ffffffff"), "order list"),
        ],
    )
    def test_say_what_is_missing(self, lab: Lab, arguments: tuple[str, ...], why: str) -> None:
        result = lab.run(*arguments)
        assert result.exit_code == 2
        assert why in " ".join(result.stderr.split())


def test_a_person_key_is_never_overwritten(tmp_path: Path) -> None:
    from coordinator.authority.lab_ca import LabAuthorityError, make_person_key

    make_person_key(tmp_path / "ann.key")
    assert stat.S_IMODE((tmp_path / "ann.key").stat().st_mode) == 0o600
    with pytest.raises(LabAuthorityError, match="exists"):
        make_person_key(tmp_path / "ann.key")
