"""A header against a chain: what is found, in words without numbers; never an answer, never a hop."""

from __future__ import annotations

import ast
import json
import uuid
from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ReasonFlags as Reason
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.registry.aliases import Alias, AliasKind
from coordinator.stir.certificates import Grade, Shelf
from coordinator.stir.crosscheck import CrossCheck, Kind, Sister, crosscheck, provider_of
from coordinator.stir.passport import FRESH, parse_identity
from coordinator.stir.revocation import NO_LIST, Revoked, State, read_list
from coordinator.stir.survey import Checked, survey
from coordinator.stir.written import as_json, keep, kept, lasting
from coordinator.tracing.chain import Hop, Status, Traceback
from coordinator.tracing.signed import SaidAnswer
from protos.types import Answer, Handover, Outcome, Question
from tests.coordinator.make import CALLED, CALLING, NOW, T0, TOLL_FREE, call, provider, says, submitted, upstream
from tests.coordinator.stir.sti import ORIGID, diverted, entry, identity, key_of, revocation_list, soon, sti, sti_pa

BIRCH = sti().signer("birch", "709J")
STRANGER = sti("Elsewhere").signer("birch", "709J", key=key_of("stranger"))
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SHELF = Shelf([BIRCH.der, sti().between.der], [sti().root.certificate])
GINKGO_BIRCH = (upstream("ginkgo", "birch"), upstream("birch", "alder", handover=Handover.CONFIRMED))
ORIGIN = (*GINKGO_BIRCH, says("alder", Outcome.ORIGINATED_HERE, handover=Handover.CONFIRMED))


def chain(status: Status, *answers: Answer | str, shifts: Iterable[int] = (), **changes: Any) -> Traceback:
    """A traceback with these answers; a name stands for a provider that has given none."""
    base = Traceback(uuid.UUID(int=7), replace(call(), **changes), status=status)
    hops: list[Hop] = []
    moved = [0, *shifts, *[0] * len(answers)]
    called, named_by = base.call.called, None
    for position, one in enumerate(answers):
        target = provider(one) if isinstance(one, str) else one.provider
        question = Question(
            question_id=uuid.UUID(int=position),
            target=target,
            called=called,
            at=base.call.at + timedelta(seconds=moved[position]),
            window=base.call.window,
            named_by=named_by,
            calling=base.call.calling,
            deadline=NOW,
        )
        answer = None if isinstance(one, str) else one
        hops.append(Hop(question, NOW, ended=NOW, answer=answer))
        called, named_by = (answer.ask_called if answer else None) or called, target
    return replace(base, hops=tuple(hops))


def checked(
    traceback: Traceback,
    signer: str | None = "alder",
    *,
    header: str | None = None,
    shelf: Shelf = SHELF,
    sisters: Iterable[Sister] = (),
    **claims: Any,
) -> CrossCheck:
    read = parse_identity(header or identity(BIRCH, **claims))
    judged = shelf.judge(read.shaken, traceback.call.at)
    vouched = [one for one in read.div if shelf.judge(one).grade is Grade.VERIFIED]
    return crosscheck(read, judged, provider(signer) if signer else None, traceback, sisters, vouched)


def kinds(check: CrossCheck) -> list[Kind]:
    return [one.kind for one in check.findings]


FOUND = chain(Status.ORIGIN_FOUND, *ORIGIN)
NO_ROOT = Shelf([BIRCH.der, sti().between.der])


class TestTheSigner:
    def test_may_be_the_originator_that_was_found(self) -> None:
        check = checked(FOUND, "alder")
        assert kinds(check) == [Kind.SIGNER_IS_ORIGIN]
        assert (check.agrees, check.grade, check.attestation) == (True, Grade.VERIFIED, "A")

    def test_that_passed_the_call_on_attests_a_improperly_by_its_own_answer(self) -> None:
        check = checked(FOUND, "birch")
        assert kinds(check) == [Kind.SIGNER_IN_PATH, Kind.IMPROPER_ATTESTATION]
        place, improper = check.findings
        assert "position 2: the call came to it from alder" in place.words
        assert improper.facts == {
            "signer": "birch",
            "position": "2",
            "upstream": "alder",
            "question": str(uuid.UUID(int=1)),
        }
        assert check.agrees is False

    @pytest.mark.parametrize("level", ["B", "C"])
    def test_that_passed_the_call_on_may_attest_less(self, level: str) -> None:
        check = checked(FOUND, "birch", attestation=level)
        assert kinds(check) == [Kind.SIGNER_IN_PATH]
        assert f"Attestation {level} is plausible" in check.findings[0].words

    @pytest.mark.parametrize(
        "changes",
        [
            {"shelf": NO_ROOT},
            {"issued": soon(61)},
            {"dest": ("12025550188",)},
            {"orig": "12025550188"},
            {"payload": {"dest": {"uri": ["sip:bob@example.com"]}}},
        ],
        ids=["no root", "stale", "another called number", "another calling number", "no called number"],
    )
    def test_is_accused_of_nothing_where_the_header_may_be_another_s_or_of_another_call(
        self, changes: dict[str, Any]
    ) -> None:
        check = checked(FOUND, "birch", **changes)
        assert not check.of(Kind.IMPROPER_ATTESTATION)
        [doubtful] = check.of(Kind.DOUBTFUL_ATTESTATION)
        assert ("no pinned root" if "shelf" in changes else "doesn't fit this call") in doubtful.words

    def test_is_accused_of_nothing_where_the_one_that_it_names_denies_the_call(self) -> None:
        """It may have named it by mistake, and be the originator after all."""
        denial = says("alder", Outcome.NOT_FOUND, handover=Handover.NOT_MINE)
        check = checked(chain(Status.DISPUTED, *GINKGO_BIRCH, denial), "birch")
        assert kinds(check) == [Kind.SIGNER_IN_PATH, Kind.DOUBTFUL_ATTESTATION]
        assert "alder denies that" in check.findings[1].words
        silent = checked(chain(Status.NON_RESPONSIVE, *GINKGO_BIRCH, "alder"), "birch")
        assert kinds(silent) == [Kind.SIGNER_IN_PATH, Kind.IMPROPER_ATTESTATION]

    def test_is_accused_of_nothing_by_what_a_person_said_in_its_place(self) -> None:
        ginkgo, birch = GINKGO_BIRCH
        said = SaidAnswer(**{one.name: getattr(birch, one.name) for one in fields(birch)})
        check = checked(chain(Status.NON_RESPONSIVE, ginkgo, said, "alder"), "birch")
        assert kinds(check) == [Kind.SIGNER_IN_PATH, Kind.DOUBTFUL_ATTESTATION]
        assert "a person's word" in check.findings[1].words

    def test_is_accused_of_nothing_where_nobody_known_says_that_the_call_was_forwarded(self) -> None:
        """Anybody can copy a header and write beside it that its call was forwarded to this number."""
        for by, kind in ((BIRCH, Kind.IMPROPER_ATTESTATION), (STRANGER, Kind.DOUBTFUL_ATTESTATION)):
            forwarded = diverted(by, was="12025550177", now_for=CALLED[1:])
            check = checked(FOUND, "birch", header="\n".join([identity(BIRCH, dest=("12025550177",)), forwarded]))
            assert kinds(check) == [Kind.SIGNER_IN_PATH, kind, Kind.CALLED_FORWARDED]
        assert "said by nobody for whom a pinned root vouches" in check.findings[1].words

    def test_may_hold_a_certificate_that_names_no_provider(self) -> None:
        """RFC 9060: a delegate's is for telephone numbers alone."""
        number = b"12025550199"
        numbers = bytes([0x30, 15, 0xA2, 13, 0x16, 11]) + number
        delegate = sti().signer("delegate", codes=numbers)
        shelf = Shelf([delegate.der, sti().between.der], [sti().root.certificate])
        check = checked(FOUND, None, header=identity(delegate), shelf=shelf)
        assert (kinds(check), check.grade, check.codes) == ([Kind.SIGNER_UNKNOWN], Grade.VERIFIED, ())
        assert "names no provider" in check.findings[0].words

    def test_may_be_the_gateway(self) -> None:
        abroad = chain(Status.GATEWAY_FOUND, upstream("ginkgo", "yew"), says("yew", Outcome.FOREIGN_UPSTREAM))
        assert kinds(checked(abroad, "yew")) == [Kind.SIGNER_IS_GATEWAY, Kind.IMPROPER_ATTESTATION]
        plausible = checked(abroad, "yew", attestation="C")
        assert (kinds(plausible), plausible.agrees) == ([Kind.SIGNER_IS_GATEWAY], True)

    def test_may_not_be_in_the_path_at_all(self) -> None:
        check = checked(FOUND, "oak")
        assert (kinds(check), check.agrees) == ([Kind.SIGNER_NOT_IN_PATH], False)

    def test_may_be_unknown_to_the_registry(self) -> None:
        check = checked(FOUND, None)
        assert (kinds(check), check.agrees, check.codes) == ([Kind.SIGNER_UNKNOWN], None, ("709J",))
        assert "709J" in check.findings[0].words

    def test_that_no_certificate_shows_is_no_finding(self) -> None:
        check = checked(FOUND, None, shelf=Shelf())
        assert (check.findings, check.grade, check.agrees) == ((), Grade.NOT_VERIFIED, None)

    def test_that_was_asked_and_says_nothing_of_where_the_call_came_from_is_in_the_path(self) -> None:
        stopped = chain(Status.AMBIGUOUS, upstream("ginkgo", "birch"), says("birch", Outcome.AMBIGUOUS))
        assert kinds(checked(stopped, "birch")) == [Kind.SIGNER_IN_PATH]
        assert kinds(checked(chain(Status.NO_AGENT, upstream("ginkgo", "birch"), "birch"), "birch")) == [
            Kind.SIGNER_IN_PATH
        ]

    def test_that_the_call_crossed_twice_is_judged_by_its_part_nearest_to_the_origin(self) -> None:
        twice = chain(
            Status.ORIGIN_FOUND,
            upstream("ginkgo", "birch"),
            upstream("birch", "oak"),
            upstream("oak", "birch", ask_called=TOLL_FREE),
            says("birch", Outcome.ORIGINATED_HERE),
        )
        assert kinds(checked(twice, "birch")) == [Kind.SIGNER_IS_ORIGIN]


class TestACertificate:
    def shelf(self, at: datetime, *, listed: bool = True, reason: Reason = Reason.key_compromise) -> Shelf:
        """The list of the day after the call, with birch's certificate as revoked at that time."""
        entries = [entry(BIRCH, at, reason=reason)] if listed else []
        known = read_list(revocation_list(*entries, issued=T0 + DAY), [sti_pa().certificate])
        return Shelf([BIRCH.der, sti().between.der], [sti().root.certificate], Revoked(known, T0 + DAY))

    def test_that_was_revoked_before_the_call_accuses_nobody(self) -> None:
        check = checked(FOUND, "birch", shelf=self.shelf(T0 - DAY))
        assert kinds(check) == [Kind.SIGNER_IN_PATH, Kind.DOUBTFUL_ATTESTATION, Kind.SIGNER_REVOKED]
        assert "was revoked before the call" in check.findings[1].words
        assert check.findings[2].words.endswith("nobody vouches for this signature.")
        assert check.grade is Grade.CHAIN_UNKNOWN

    def test_that_was_revoked_since_as_stolen_accuses_nobody(self) -> None:
        check = checked(FOUND, "birch", shelf=self.shelf(T0 + HOUR))
        assert kinds(check) == [Kind.SIGNER_IN_PATH, Kind.DOUBTFUL_ATTESTATION, Kind.SIGNER_REVOKED_SINCE]
        assert check.findings[2].words.endswith("it may be a thief's.")
        assert check.findings[2].facts == {"stolen": "yes"}

    @pytest.mark.parametrize("reason", [Reason.superseded, Reason.cessation_of_operation, Reason.affiliation_changed])
    def test_that_was_revoked_since_for_another_reason_counted_at_the_call(self, reason: Reason) -> None:
        check = checked(FOUND, "birch", shelf=self.shelf(T0 + HOUR, reason=reason))
        assert kinds(check) == [Kind.SIGNER_IN_PATH, Kind.IMPROPER_ATTESTATION, Kind.SIGNER_REVOKED_SINCE]
        assert check.findings[2].words.endswith("it counted when the call was made.")
        assert (check.grade, check.findings[2].facts) == (Grade.VERIFIED, {"stolen": "no"})

    def test_that_is_not_revoked_or_of_which_nobody_knows_is_no_finding(self) -> None:
        unknown = Shelf([BIRCH.der, sti().between.der], [sti().root.certificate], Revoked(NO_LIST, T0))
        for shelf, state in ((self.shelf(T0, listed=False), State.NOT_REVOKED), (unknown, State.UNKNOWN)):
            check = checked(FOUND, "birch", shelf=shelf)
            assert kinds(check) == [Kind.SIGNER_IN_PATH, Kind.IMPROPER_ATTESTATION]
            assert check.revocation is not None
            assert check.revocation.state is state

    def test_says_in_a_lead_that_the_signature_may_be_another_s(self) -> None:
        stopped = chain(Status.NO_AGENT, upstream("ginkgo", "oak"), "oak")
        [revoked, lead] = checked(stopped, "alder", shelf=self.shelf(T0 - DAY)).findings
        assert (revoked.kind, lead.kind) == (Kind.SIGNER_REVOKED, Kind.LEAD)
        assert "If it did" in lead.words

    def test_is_kept_with_what_was_found(self) -> None:
        for at in (T0 - DAY, T0 + HOUR):
            check = checked(FOUND, "birch", shelf=self.shelf(at))
            assert kept(keep(check)) == check
            assert as_json(check)["revocation"]["state"] == ("revoked_before" if at < T0 else "revoked_since")

    def test_is_read_from_what_was_kept_before_anybody_looked(self) -> None:
        old = as_json(checked(FOUND, "birch"))
        assert old.pop("revocation") is None
        assert kept(json.dumps(old)) == checked(FOUND, "birch")

    def test_is_counted_in_a_survey_of_its_signer(self) -> None:
        some = [
            checked(FOUND, "birch", shelf=self.shelf(at, listed=listed))
            for at, listed in ((T0 - DAY, True), (T0 + HOUR, True), (T0, False), (T0, False))
        ]
        found = survey(Checked(one, provider("alder")) for one in [*some, checked(FOUND, "birch", shelf=NO_ROOT)])
        [birch] = found.signers
        assert birch.revocation == ((State.NOT_REVOKED, 2), (State.REVOKED_BEFORE, 1), (State.REVOKED_SINCE, 1))
        assert (birch.calls, birch.verified) == (5, 3)
        assert dict(found.contradictions)[Kind.SIGNER_REVOKED] == 1


class TestALead:
    @pytest.mark.parametrize(
        ("status", "outcome"),
        [
            (Status.NOT_FOUND, Outcome.NOT_FOUND),
            (Status.REFUSED, Outcome.REFUSED),
            (Status.RECORDS_EXPIRED, Outcome.RECORDS_EXPIRED),
            (Status.AMBIGUOUS, Outcome.AMBIGUOUS),
            (Status.DISPUTED, Outcome.NOT_FOUND),
        ],
    )
    def test_is_the_signer_where_the_chain_ended_without_an_origin(self, status: Status, outcome: Outcome) -> None:
        check = checked(chain(status, upstream("ginkgo", "oak"), says("oak", outcome)), "alder")
        assert kinds(check) == [Kind.LEAD]
        assert check.findings[0].words.startswith("A lead, no hop")
        assert check.agrees is None

    def test_is_there_where_nobody_answers_for_the_next_provider(self) -> None:
        for status in (Status.NO_AGENT, Status.AWAITING_PERSON, Status.NON_RESPONSIVE):
            assert kinds(checked(chain(status, upstream("ginkgo", "oak"), "oak"), "alder")) == [Kind.LEAD]

    def test_says_so_where_the_signature_may_be_another_s(self) -> None:
        stopped = chain(Status.NO_AGENT, upstream("ginkgo", "oak"), "oak")
        assert "If it did" in checked(stopped, "alder", shelf=NO_ROOT).findings[0].words

    def test_is_nobody_who_was_asked_and_nobody_while_it_is_still_traced(self) -> None:
        assert kinds(checked(chain(Status.NO_AGENT, upstream("ginkgo", "alder"), "alder"), "alder")) == [
            Kind.SIGNER_IN_PATH
        ]
        for status in (Status.SUBMITTED, Status.ASKING, Status.RETRYING):
            assert kinds(checked(chain(status, upstream("ginkgo", "oak"), "oak"), "alder")) == []

    def test_is_none_where_the_origin_was_found(self) -> None:
        assert not checked(FOUND, "oak").of(Kind.LEAD)


class TestTheNumbers:
    def test_that_were_signed_may_lack_the_country_code_of_ten_digit_numbers(self) -> None:
        check = checked(FOUND, orig=CALLING[2:], dest=(CALLED[2:],))
        assert kinds(check) == [Kind.SIGNER_IS_ORIGIN]

    def test_that_were_signed_may_differ_from_those_of_the_call(self) -> None:
        check = checked(FOUND, orig="12025550188", dest=("12025550177",))
        assert kinds(check)[1:] == [Kind.CALLING_DIFFERS, Kind.CALLED_DIFFERS]

    def test_can_t_be_compared_where_none_was_displayed_or_signed(self) -> None:
        assert kinds(checked(chain(Status.ORIGIN_FOUND, *ORIGIN, calling=None), orig="12025550188"))[1:] == []
        parties = {"orig": {"uri": "sip:a@example.com"}, "dest": {"uri": ["sip:b@example.com"]}}
        assert kinds(checked(FOUND, payload=parties))[1:] == []

    def test_may_be_those_from_before_a_provider_of_the_chain_translated_them(self) -> None:
        translated = chain(
            Status.ORIGIN_FOUND,
            upstream("ginkgo", "alder", ask_called=TOLL_FREE),
            says("alder", Outcome.ORIGINATED_HERE),
        )
        check = checked(translated, dest=(TOLL_FREE[1:],))
        assert kinds(check) == [Kind.SIGNER_IS_ORIGIN, Kind.CALLED_TRANSLATED]
        assert check.findings[1].facts == {"provider": "ginkgo"}

    def test_may_be_forwarded_as_div_passports_say_step_by_step(self) -> None:
        header = "\n".join(
            [
                identity(BIRCH, dest=("12025550177",)),
                diverted(BIRCH, was="12025550166", now_for=CALLED[1:]),
                diverted(BIRCH, was="12025550177", now_for="12025550166"),
            ]
        )
        assert kinds(checked(FOUND, header=header))[1:] == [Kind.CALLED_FORWARDED]
        broken = "\n".join([identity(BIRCH, dest=("12025550177",)), diverted(BIRCH, "12025550155", CALLED[1:])])
        assert kinds(checked(FOUND, header=broken))[1:] == [Kind.CALLED_DIFFERS]

    def test_may_be_one_of_several(self) -> None:
        check = checked(FOUND, dest=("12025550177", CALLED[1:], "12025550166"))
        assert kinds(check) == [Kind.SIGNER_IS_ORIGIN]
        assert kinds(checked(FOUND, dest=("12025550177", "12025550166")))[1:] == [Kind.CALLED_DIFFERS]

    @pytest.mark.parametrize("kind", ["div", "div-o"])
    def test_are_not_forwarded_by_a_div_passport_of_another_caller(self, kind: str) -> None:
        for orig, found in ((CALLING[1:], Kind.CALLED_FORWARDED), ("12025550155", Kind.CALLED_DIFFERS)):
            step = diverted(BIRCH, was="12025550177", now_for=CALLED[1:], orig=orig, kind=kind)
            header = "\n".join([identity(BIRCH, dest=("12025550177",)), step])
            assert kinds(checked(FOUND, header=header))[1:] == [found]

    def test_that_are_forwarded_say_whether_anybody_vouches_for_who_says_so(self) -> None:
        for by, said in ((BIRCH, "verified"), (STRANGER, "not_verified")):
            step = diverted(by, was="12025550177", now_for=CALLED[1:])
            header = "\n".join([identity(BIRCH, dest=("12025550177",)), step])
            [forwarded] = checked(FOUND, header=header).of(Kind.CALLED_FORWARDED)
            assert forwarded.facts == {"signed": said}
            assert ("no pinned root vouches" in forwarded.words) == (by is STRANGER)

    def test_that_are_forwarded_in_a_circle_come_to_an_end(self) -> None:
        header = "\n".join(
            [
                identity(BIRCH, dest=("12025550177",)),
                diverted(BIRCH, was="12025550177", now_for="12025550166"),
                diverted(BIRCH, was="12025550166", now_for="12025550177"),
            ]
        )
        assert kinds(checked(FOUND, header=header))[1:] == [Kind.CALLED_DIFFERS]


class TestTheTime:
    @settings(max_examples=60, deadline=None)
    @given(st.integers(-400, 400))
    def test_is_fresh_within_a_minute_of_the_call(self, seconds: int) -> None:
        check = checked(FOUND, issued=soon(seconds))
        assert bool(check.of(Kind.NOT_FRESH)) == (abs(seconds) > FRESH.total_seconds())

    @pytest.mark.parametrize(("seconds", "words"), [(-90, "90 s before the call"), (90, "90 s after the call")])
    def test_that_is_off_is_said_with_its_sign(self, seconds: int, words: str) -> None:
        [stale] = checked(FOUND, issued=soon(seconds)).of(Kind.NOT_FRESH)
        assert words in stale.words
        assert stale.facts["seconds"] == str(seconds)

    def test_is_that_of_the_signer_s_own_clock_as_it_was_asked(self) -> None:
        slow = chain(Status.ORIGIN_FOUND, *ORIGIN, shifts=(0, -300))
        assert not checked(slow, "alder", issued=soon(-300)).of(Kind.NOT_FRESH)
        assert checked(slow, "alder", issued=T0).of(Kind.NOT_FRESH)

    def test_is_anybody_s_where_the_signer_was_not_asked(self) -> None:
        slow = chain(Status.ORIGIN_FOUND, *ORIGIN, shifts=(0, -300))
        for seconds in (-300, 0, -150):
            assert not checked(slow, "oak", issued=soon(seconds)).of(Kind.NOT_FRESH)
        assert checked(slow, "oak", issued=soon(-361)).of(Kind.NOT_FRESH)


class TestAnOrigid:
    def test_that_recurs_with_one_originator_agrees(self) -> None:
        others = [Sister(uuid.UUID(int=n), provider("alder")) for n in (1, 2)]
        [agrees] = checked(FOUND, sisters=others).of(Kind.ORIGID_AGREES)
        assert "2 finished sister calls" in agrees.words

    def test_that_recurs_with_others_contradicts(self) -> None:
        others = [Sister(uuid.UUID(int=1), provider("oak"))]
        [contradicts] = checked(FOUND, sisters=others).of(Kind.ORIGID_CONTRADICTS)
        assert contradicts.facts == {"calls": "1", "ends": "alder oak"}

    def test_says_where_sisters_ended_when_this_call_has_not(self) -> None:
        stopped = chain(Status.NO_AGENT, upstream("ginkgo", "oak"), "oak")
        some = [Sister(uuid.UUID(int=n), provider(name)) for n, name in enumerate(["fir", "fir", "elm"])]
        assert checked(stopped, sisters=some[:2]).of(Kind.ORIGID_AGREES)[0].facts["ends"] == "fir"
        assert checked(stopped, sisters=some).of(Kind.ORIGID_CONTRADICTS)

    def test_says_nothing_alone_or_of_calls_that_are_not_finished(self) -> None:
        some = [Sister(FOUND.id, provider("oak")), Sister(uuid.UUID(int=1), None)]
        assert kinds(checked(FOUND, sisters=some)) == [Kind.SIGNER_IS_ORIGIN]


class TestTheRegistry:
    def alias(
        self,
        name: str,
        kind: AliasKind,
        value: str,
        valid_from: datetime | None = None,
        valid_to: datetime | None = None,
    ) -> Alias:
        return Alias(provider(name), kind, value, valid_from, valid_to)

    def test_gives_a_code_to_who_holds_it_when_it_was_signed(self) -> None:
        aliases = [
            self.alias("oak", AliasKind.SPC, "709J", valid_to=T0),
            self.alias("birch", AliasKind.OCN, "709J", valid_from=T0),
            self.alias("elm", AliasKind.FRN, "709J"),
        ]
        assert provider_of(["709J"], aliases, T0) == "birch"
        assert provider_of(["709J"], aliases, T0 - timedelta(seconds=1)) == "oak"
        assert provider_of(["111A"], aliases, T0) is None

    def test_gives_a_code_that_was_entered_after_the_call_to_its_only_holder(self) -> None:
        later = self.alias("birch", AliasKind.SPC, "709J", valid_from=NOW)
        assert provider_of(["709J"], [later], T0) == "birch"
        ended = self.alias("oak", AliasKind.SPC, "709J", valid_to=T0 - timedelta(days=1))
        assert provider_of(["709J"], [later, ended], T0) is None
        other = self.alias("oak", AliasKind.OCN, "709J", valid_from=NOW + timedelta(days=1))
        assert provider_of(["709J"], [later, other], T0) is None

    def test_gives_codes_of_several_to_nobody(self) -> None:
        aliases = [self.alias("oak", AliasKind.SPC, "709J"), self.alias("birch", AliasKind.OCN, "709J")]
        assert provider_of(["709J"], aliases, T0) is None
        assert provider_of(["709J"], [*aliases[:1], self.alias("oak", AliasKind.OCN, "709J")], T0) == "oak"


ENDS = [FOUND, chain(Status.NO_AGENT, upstream("ginkgo", "oak"), "oak"), submitted()]


class TestWhatIsKept:
    @pytest.mark.parametrize("traceback", ENDS)
    @pytest.mark.parametrize("signer", ["alder", "birch", "oak", None])
    @pytest.mark.parametrize("far", [0, 900])
    def test_is_what_was_found_and_holds_no_number(self, traceback: Traceback, signer: str | None, far: int) -> None:
        others = [Sister(uuid.UUID(int=99), provider("fir"))]
        check = checked(traceback, signer, orig="12025550188", dest=("12025550177",), issued=soon(far), sisters=others)
        assert kept(keep(check)) == check
        for text in (keep(check), str(as_json(check))):
            for number in (CALLED, CALLING, "+12025550188", "+12025550177"):
                assert number[2:] not in text

    def test_is_no_origid_that_might_be_a_number(self) -> None:
        assert lasting(ORIGID) == ORIGID
        assert lasting("12025550143") is None
        assert "0143" not in keep(checked(FOUND, origid="cust-12025550143"))

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"attestation": "A"}', "null"])
    def test_that_can_t_be_read_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError):
            kept(text)


class TestASurvey:
    def test_says_who_signs_at_which_level_and_how_often_that_agrees(self) -> None:
        stopped = chain(Status.NO_AGENT, upstream("ginkgo", "oak"), "oak")
        found = survey(
            [
                Checked(checked(FOUND, "alder"), provider("alder")),
                Checked(checked(FOUND, "alder", attestation="B"), provider("alder")),
                Checked(checked(FOUND, "birch"), provider("oak")),
                Checked(checked(stopped, "alder", shelf=NO_ROOT), None),
                Checked(checked(FOUND, None, shelf=Shelf()), provider("alder")),
            ]
        )
        assert (found.headers, found.agrees, found.of) == (5, 2, 3)
        assert found.rate == pytest.approx(2 / 3)
        alder, birch, nobody = found.signers
        assert (alder.signer, alder.calls, alder.verified, alder.agrees, alder.of) == ("alder", 3, 2, 2, 2)
        assert [alder.level(level) for level in "ABC"] == [2, 1, 0]
        assert (birch.signer, birch.agrees, birch.of) == ("birch", 0, 1)
        assert nobody.signer == "not verified"
        assert [(one.signer, one.calls, one.ends) for one in found.recurring] == [("alder", 3, (("alder", 2),))]
        assert found.contradictions == ((Kind.IMPROPER_ATTESTATION, 1),)

    def test_of_nothing_says_nothing(self) -> None:
        assert survey([]).rate is None


MAKING = ("tracing", "lookups", "running")


def test_nothing_that_makes_chains_knows_of_the_cross_check() -> None:
    root = Path(__file__).parents[3] / "coordinator"
    for room in MAKING:
        inside = list((root / room).glob("*.py"))
        assert len(inside) > 5
        for path in inside:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    assert "stir" not in (node.module or ""), path
