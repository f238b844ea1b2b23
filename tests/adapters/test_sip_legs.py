"""How a provider's call legs are told from the SIP messages that crossed its border, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdr_adapters.sip.addresses import OwnAddressError, OwnAddresses
from cdr_adapters.sip.legs import HORIZON_US, LINGER_US, LONGEST_CALL_US, CallLeg, LegPairing, Packet
from cdr_adapters.sip.message import Bye, Final, Invite, Message, Via
from cdr_adapters.sip.numbers import same_number

US = "198.51.100.60"
US_TOO = "198.51.100.61"
UPSTREAM = "198.51.100.50"
OTHER_UPSTREAM = "198.51.100.40"
DOWNSTREAM = "198.51.100.70"
SECOND_ROUTE = "198.51.100.80"
SUBSCRIBER = "203.0.113.202"
CALLED = "12025550143"
CALLING = "+12125550178"
MS = 1_000
SECOND = 1_000_000


@dataclass
class Border:
    """A provider's border, seen message by message; times in microseconds from the start."""

    pairing: LegPairing = field(default_factory=lambda: LegPairing(OwnAddresses([US, US_TOO])))
    settled: list[CallLeg] = field(default_factory=list)
    frame: int = 0
    now: int = 0

    def invite(
        self,
        src: str,
        dst: str,
        *vias: str,
        called: str = CALLED,
        calling: str = CALLING,
        asserted: str = "",
        call_id: str = "c1",
        cseq: int = 1,
        tag: str = "a1",
        at: int | None = None,
    ) -> None:
        callers = tuple(caller for caller in (asserted, calling) if caller)
        self._see(src, dst, Invite(call_id, cseq, tag, called, callers, tuple(map(via, vias))), at)

    def final(
        self, src: str, dst: str, top: str, code: int, *, call_id: str = "c1", cseq: int = 1, at: int | None = None
    ) -> None:
        self._see(src, dst, Final(call_id, cseq, via(top), code), at)

    def bye(self, src: str, dst: str, *, tag: str = "a1", call_id: str = "c1", at: int | None = None) -> None:
        self._see(src, dst, Bye(call_id, ("other", tag)), at)

    def _see(self, src: str, dst: str, message: Message, at: int | None) -> None:
        self.frame += 1
        self.now = self.now + MS if at is None else at
        self.settled += self.pairing.feed(Packet(self.frame, self.now, src, 5060, dst, 5060), message)

    def legs(self) -> list[CallLeg]:
        self.settled += self.pairing.finish()
        return sorted(self.settled, key=lambda leg: leg.packet.frame)

    def leg(self) -> CallLeg:
        (leg,) = self.legs()
        return leg


def via(text: str) -> Via:
    """`host/branch` as a Via."""
    host, _, branch = text.partition("/")
    return Via(host, branch)


@pytest.fixture
def border() -> Border:
    return Border()


class TestOneCall:
    def test_the_upstream_is_where_the_invite_came_from(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", called="0012025550143", at=7)
        border.invite(US, DOWNSTREAM, "us/2", "up/1", called="2025550143")
        border.final(DOWNSTREAM, US, "us/2", 200)
        border.final(US, UPSTREAM, "up/1", 200)
        assert border.leg() == CallLeg(
            row=1,
            packet=Packet(1, 7, UPSTREAM, 5060, US, 5060),
            invite=Invite("c1", 1, "a1", "0012025550143", (CALLING,), (via("up/1"),)),
            called_in="0012025550143",
            called_out="2025550143",
            ingress_address=UPSTREAM,
            egress_address=DOWNSTREAM,
            call_id_out="c1",
            code=200,
            code_upstream=200,
            answer_us=7 + 3 * MS,
            release_us=None,
            route_advanced=False,
        )

    def test_it_is_never_who_via_says(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "somebody.example.net/1", "203.0.113.99/0")
        assert border.leg().ingress_address == UPSTREAM

    def test_a_call_to_an_own_subscriber_goes_out_to_the_subscriber(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, SUBSCRIBER, "us/2", "up/1", called="line7")
        assert border.leg().egress_address == SUBSCRIBER

    def test_a_retransmission_is_the_same_invite(self, border: Border) -> None:
        for at in (0, 500 * MS, 1500 * MS):
            border.invite(UPSTREAM, US, "up/1", at=at)
        for at in (1501 * MS, 2001 * MS):
            border.invite(US, DOWNSTREAM, "us/2", "up/1", at=at)
        assert (border.leg().packet.frame, border.leg().packet.time_us) == (1, 0)

    @pytest.mark.parametrize("code", [404, 486, 487, 503])
    def test_a_call_that_came_to_nothing_is_kept(self, border: Border, code: int) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/1", code)
        leg = border.leg()
        assert (leg.code, leg.code_upstream, leg.egress_address, leg.called_out) == (code, code, None, None)

    def test_a_call_whose_end_was_not_captured_has_no_code(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, DOWNSTREAM, "us/2", "up/1")
        assert (border.leg().code, border.leg().code_upstream) == (None, None)

    def test_the_first_final_response_counts(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/1", 487)
        border.final(US, UPSTREAM, "up/1", 500)
        assert border.leg().code == 487

    def test_a_response_to_another_transaction_is_not_taken_for_it(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/other", 200)
        border.final(US, UPSTREAM, "up/1", 200, call_id="c2")
        border.final(US, UPSTREAM, "up/1", 200, cseq=2)
        border.final(UPSTREAM, US, "up/1", 200)
        assert border.leg().code is None


class TestChallenge:
    def test_an_invite_sent_again_with_credentials_is_the_same_attempt(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.final(US, UPSTREAM, "up/1", 407)
        border.invite(UPSTREAM, US, "up/2", cseq=2)
        border.invite(US, DOWNSTREAM, "us/3", "up/2", cseq=2)
        border.final(DOWNSTREAM, US, "us/3", 200, cseq=2)
        border.final(US, UPSTREAM, "up/2", 200, cseq=2)
        leg = border.leg()
        assert (leg.packet.frame, leg.packet.time_us, leg.egress_address, leg.code_upstream) == (1, 0, DOWNSTREAM, 200)

    def test_an_invite_that_was_only_challenged_is_kept(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/1", 401)
        assert border.leg().code == 401

    def test_a_challenge_that_went_through_us_is_one_attempt_on_both_sides(self, border: Border) -> None:
        for cseq, code in ((1, 407), (2, 200)):
            border.invite(UPSTREAM, US, f"up/{cseq}", cseq=cseq)
            border.invite(US, DOWNSTREAM, f"us/{cseq}", f"up/{cseq}", cseq=cseq)
            border.final(DOWNSTREAM, US, f"us/{cseq}", code, cseq=cseq)
            border.final(US, UPSTREAM, f"up/{cseq}", code, cseq=cseq)
        assert (border.leg().code, border.leg().packet.frame) == (200, 1)

    def test_a_challenge_that_we_answer_ourselves_is_one_attempt(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, DOWNSTREAM, "us/1", call_id="c1", cseq=90)
        border.final(DOWNSTREAM, US, "us/1", 407, cseq=90)
        border.invite(US, DOWNSTREAM, "us/2", call_id="c1", cseq=91)
        border.final(DOWNSTREAM, US, "us/2", 200, cseq=91)
        assert border.leg().code == 200

    def test_a_challenge_repeated_late_does_not_end_the_second_try(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/1", 407)
        border.invite(UPSTREAM, US, "up/2", cseq=2)
        border.final(US, UPSTREAM, "up/1", 407)
        border.final(US, UPSTREAM, "up/2", 200, cseq=2)
        assert border.leg().code == 200

    def test_an_invite_after_a_real_refusal_is_another_attempt(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/1", 503)
        border.invite(UPSTREAM, US, "up/2", cseq=2)
        border.final(US, UPSTREAM, "up/2", 200, cseq=2)
        assert [leg.code for leg in border.legs()] == [503, 200]

    def test_a_higher_cseq_of_another_client_is_another_call(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", tag="a1")
        border.final(US, UPSTREAM, "up/1", 407)
        border.invite(UPSTREAM, US, "up/2", cseq=2, tag="b7")
        assert len(border.legs()) == 2

    def test_credentials_from_another_neighbour_are_another_call(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/1", 407)
        border.invite(OTHER_UPSTREAM, US, "up/2", cseq=2)
        assert [leg.ingress_address for leg in border.legs()] == [UPSTREAM, OTHER_UPSTREAM]


class TestTwiceThroughTheSameProvider:
    def test_each_passing_of_a_loop_is_a_leg_with_its_own_egress(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", called="8885550143")
        border.invite(US, DOWNSTREAM, "us/2", "up/1", called="18885550143")
        border.invite(OTHER_UPSTREAM, US, "down/3", "us/2", "up/1", called=CALLED)
        border.invite(US, SECOND_ROUTE, "us/4", "down/3", "us/2", "up/1", called=CALLED)
        passings = [(leg.ingress_address, leg.called_in, leg.egress_address, leg.called_out) for leg in border.legs()]
        assert passings == [
            (UPSTREAM, "8885550143", DOWNSTREAM, "18885550143"),
            (OTHER_UPSTREAM, CALLED, SECOND_ROUTE, CALLED),
        ]

    def test_through_a_b2bua_that_keeps_the_call_id_too(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", called="8885550143")
        border.invite(US, DOWNSTREAM, "us/2", called="18885550143")
        border.invite(OTHER_UPSTREAM, US, "down/3", called=CALLED, tag="b")
        border.invite(US, SECOND_ROUTE, "us/4", called=CALLED, tag="b2")
        pairs = [(leg.ingress_address, leg.egress_address) for leg in border.legs()]
        assert pairs == [(UPSTREAM, DOWNSTREAM), (OTHER_UPSTREAM, SECOND_ROUTE)]

    def test_a_route_advance_of_the_first_passing_is_not_put_on_the_second(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, DOWNSTREAM, "us/2")
        border.invite(OTHER_UPSTREAM, US, "down/3", tag="b")
        border.invite(US, SECOND_ROUTE, "us/4", tag="b2")
        border.final(SECOND_ROUTE, US, "us/4", 503)
        border.final(US, OTHER_UPSTREAM, "down/3", 503)
        border.final(DOWNSTREAM, US, "us/2", 503)
        border.invite(US, SUBSCRIBER, "us/5")
        pairs = [(leg.ingress_address, leg.egress_address) for leg in border.legs()]
        assert pairs == [(UPSTREAM, DOWNSTREAM), (UPSTREAM, SUBSCRIBER), (OTHER_UPSTREAM, SECOND_ROUTE)]

    def test_one_call_tried_over_two_routes_through_us_is_two_legs(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/1", 503)
        border.invite(UPSTREAM, US, "up/2")
        border.final(US, UPSTREAM, "up/2", 200)
        assert [leg.code for leg in border.legs()] == [503, 200]


class TestRouteAdvance:
    def test_every_attempt_is_a_row_with_its_own_neighbour_and_code(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=5)
        border.invite(US, DOWNSTREAM, "us/2", "up/1", called="7750112025550143")
        border.final(DOWNSTREAM, US, "us/2", 503)
        border.invite(US, SECOND_ROUTE, "us/3", "up/1", called="+12025550143")
        border.final(SECOND_ROUTE, US, "us/3", 200)
        border.final(US, UPSTREAM, "up/1", 200)
        rows = [
            (leg.packet.frame, leg.packet.time_us, leg.egress_address, leg.called_out, leg.code, leg.code_upstream)
            for leg in border.legs()
        ]
        assert rows == [
            (1, 5, DOWNSTREAM, "7750112025550143", 503, 200),
            (1, 5, SECOND_ROUTE, "+12025550143", 200, 200),
        ]
        assert [leg.route_advanced for leg in border.legs()] == [True, False]

    def test_the_last_failure_is_no_route_advance(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        for branch, to in (("us/2", DOWNSTREAM), ("us/3", SECOND_ROUTE)):
            border.invite(US, to, branch, "up/1")
            border.final(to, US, branch, 503)
        border.final(US, UPSTREAM, "up/1", 503)
        assert [(leg.code, leg.route_advanced) for leg in border.legs()] == [(503, True), (503, False)]

    def test_an_attempt_that_was_never_answered_has_no_code(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, DOWNSTREAM, "us/2", "up/1")
        border.invite(US, SECOND_ROUTE, "us/3", "up/1", at=30 * SECOND)
        border.final(SECOND_ROUTE, US, "us/3", 200)
        border.final(US, UPSTREAM, "up/1", 200)
        assert [leg.code for leg in border.legs()] == [None, 200]

    def test_the_only_attempt_ends_as_the_upstream_was_told(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, DOWNSTREAM, "us/2", "up/1")
        border.final(DOWNSTREAM, US, "us/2", 404)
        border.final(US, UPSTREAM, "up/1", 503)
        assert border.leg().code == 503

    def test_two_contacts_rung_at_once_are_two_attempts(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, SUBSCRIBER, "us/2", "up/1")
        border.invite(US, SUBSCRIBER, "us/3", "up/1")
        border.final(SUBSCRIBER, US, "us/2", 487)
        border.final(SUBSCRIBER, US, "us/3", 200)
        assert [leg.code for leg in border.legs()] == [487, 200]
        assert not any(leg.route_advanced for leg in border.legs())


class TestBackToBackWithANewCallId:
    def test_same_numbers_within_two_seconds_are_the_same_call(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", called="+12025550143", calling="+12125550178", at=0)
        border.invite(US, DOWNSTREAM, "us/2", called="2025550143", calling="12125550178", call_id="x", at=2 * SECOND)
        leg = border.leg()
        assert (leg.ingress_address, leg.egress_address, leg.invite.call_id) == (UPSTREAM, DOWNSTREAM, "c1")

    def test_after_more_than_two_seconds_it_stays_unknown(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.invite(US, DOWNSTREAM, "us/2", call_id="x", at=2 * SECOND + 1)
        assert border.leg().egress_address is None

    def test_with_another_caller_it_is_another_call(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, DOWNSTREAM, "us/2", call_id="x", calling="+12125550111")
        pairs = [(leg.ingress_address, leg.egress_address) for leg in border.legs()]
        assert pairs == [(UPSTREAM, None), (None, DOWNSTREAM)]

    def test_without_a_caller_nothing_is_paired(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", calling="")
        border.invite(US, DOWNSTREAM, "us/2", call_id="x", calling="")
        assert border.legs()[0].egress_address is None

    def test_two_calls_that_look_alike_leave_the_egress_unknown(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", call_id="c1")
        border.invite(OTHER_UPSTREAM, US, "up/2", call_id="c2")
        border.invite(US, DOWNSTREAM, "us/3", call_id="x")
        border.invite(US, SECOND_ROUTE, "us/4", call_id="y")
        pairs = [(leg.ingress_address, leg.egress_address) for leg in border.legs()]
        assert pairs == [(UPSTREAM, None), (OTHER_UPSTREAM, None)]

    def test_a_call_already_paired_by_via_is_no_candidate(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", call_id="c1")
        border.invite(US, DOWNSTREAM, "us/2", "up/1", call_id="c1")
        border.invite(OTHER_UPSTREAM, US, "up/3", call_id="c2")
        border.invite(US, SECOND_ROUTE, "us/4", call_id="x")
        pairs = [(leg.ingress_address, leg.egress_address) for leg in border.legs()]
        assert pairs == [(UPSTREAM, DOWNSTREAM), (OTHER_UPSTREAM, SECOND_ROUTE)]

    def test_an_internal_hop_between_own_machines_is_passed_over(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, US_TOO, "us/2", "up/1")
        border.invite(US_TOO, DOWNSTREAM, "us-too/3", "us/2", "up/1")
        border.final(DOWNSTREAM, US_TOO, "us-too/3", 200)
        border.final(US_TOO, US, "us/2", 200)
        leg = border.leg()
        assert (leg.ingress_address, leg.egress_address, leg.code) == (UPSTREAM, DOWNSTREAM, 200)

    def test_a_caller_that_we_assert_in_place_of_another_is_still_the_same(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", calling=CALLING)
        border.invite(US, DOWNSTREAM, "us/2", call_id="x", asserted="+12125550100", calling=CALLING)
        assert border.leg().egress_address == DOWNSTREAM

    def test_the_egress_call_id_is_told_beside_that_of_the_ingress(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, DOWNSTREAM, "us/2", call_id="x")
        assert (border.leg().invite.call_id, border.leg().call_id_out) == ("c1", "x")


class TestTimes:
    def test_an_answered_call_ends_with_the_first_bye_of_either_side(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.invite(US, DOWNSTREAM, "us/2", "up/1", at=MS)
        border.final(DOWNSTREAM, US, "us/2", 200, at=9 * SECOND)
        border.final(US, UPSTREAM, "up/1", 200, at=9 * SECOND + MS)
        border.bye(DOWNSTREAM, US, at=70 * SECOND)
        border.bye(US, UPSTREAM, at=70 * SECOND + MS)
        assert (border.leg().answer_us, border.leg().release_us) == (9 * SECOND + MS, 70 * SECOND)

    def test_a_bye_of_the_egress_dialog_of_a_b2bua_ends_it_too(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.invite(US, DOWNSTREAM, "us/2", call_id="x", tag="ours")
        border.final(DOWNSTREAM, US, "us/2", 200, call_id="x")
        border.final(US, UPSTREAM, "up/1", 200)
        border.bye(DOWNSTREAM, US, call_id="x", tag="ours", at=60 * SECOND)
        assert border.leg().release_us == 60 * SECOND

    def test_a_bye_of_another_dialog_does_not(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.final(US, UPSTREAM, "up/1", 200)
        border.bye(US, UPSTREAM, tag="b7")
        border.bye(US, UPSTREAM, call_id="c2")
        assert border.leg().release_us is None

    def test_a_bye_before_any_answer_releases_nothing(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.bye(UPSTREAM, US)
        assert border.leg().release_us is None

    def test_an_unanswered_call_ends_with_its_refusal(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.final(US, UPSTREAM, "up/1", 487, at=20 * SECOND)
        assert (border.leg().answer_us, border.leg().release_us) == (None, 20 * SECOND)

    def test_every_attempt_has_its_own(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.invite(US, DOWNSTREAM, "us/2", "up/1", at=MS)
        border.final(DOWNSTREAM, US, "us/2", 503, at=SECOND)
        border.invite(US, SECOND_ROUTE, "us/3", "up/1", at=SECOND + MS)
        border.final(SECOND_ROUTE, US, "us/3", 200, at=5 * SECOND)
        border.final(US, UPSTREAM, "up/1", 200, at=5 * SECOND + MS)
        border.bye(UPSTREAM, US, at=9 * SECOND)
        times = [(leg.answer_us, leg.release_us) for leg in border.legs()]
        assert times == [(None, SECOND), (5 * SECOND + MS, 9 * SECOND)]


class TestWhenNobodySaysWhichAddressesAreOurs:
    @pytest.fixture
    def border(self) -> Border:
        return Border(LegPairing(None))

    def test_an_invite_is_a_row_that_names_no_side(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.final(US, UPSTREAM, "up/1", 200)
        leg = border.leg()
        assert (leg.ingress_address, leg.egress_address, leg.called_in, leg.called_out) == (None, None, CALLED, None)
        assert (leg.packet.src, leg.packet.dst, leg.code) == (UPSTREAM, US, 200)

    def test_both_sides_of_a_call_are_two_such_rows(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(US, DOWNSTREAM, "us/2", "up/1")
        assert [(leg.ingress_address, leg.egress_address) for leg in border.legs()] == [(None, None), (None, None)]

    def test_a_retransmission_is_still_the_same_invite(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1")
        border.invite(UPSTREAM, US, "up/1")
        assert border.leg().packet.frame == 1


class TestEgressWithoutIngress:
    def test_a_call_that_came_in_nowhere_is_a_row_without_ingress(self, border: Border) -> None:
        border.invite(US, DOWNSTREAM, "us/1", called=CALLED, at=9)
        border.final(DOWNSTREAM, US, "us/1", 200)
        leg = border.leg()
        assert (leg.ingress_address, leg.called_in) == (None, None)
        assert (leg.egress_address, leg.called_out, leg.packet.time_us, leg.code) == (DOWNSTREAM, CALLED, 9, 200)

    def test_its_route_advance_is_a_row_more(self, border: Border) -> None:
        border.invite(US, DOWNSTREAM, "us/1")
        border.final(DOWNSTREAM, US, "us/1", 503)
        border.invite(US, SECOND_ROUTE, "us/2")
        assert [leg.egress_address for leg in border.legs()] == [DOWNSTREAM, SECOND_ROUTE]

    def test_a_number_that_no_ingress_leg_bears_can_still_be_found(self, border: Border) -> None:
        for tag in ("a", "b"):
            border.invite(UPSTREAM, US, f"up/{tag}", called="8885550143", tag=tag)
        border.invite(US, DOWNSTREAM, "us/1", called="12025550143")
        assert [(leg.called_in, leg.called_out) for leg in border.legs()] == [
            ("8885550143", None),
            ("8885550143", None),
            (None, "12025550143"),
        ]


class TestOthersCalls:
    def test_a_call_between_others_is_no_leg_of_ours(self, border: Border) -> None:
        border.invite(UPSTREAM, DOWNSTREAM, "up/1")
        assert border.legs() == []
        assert (border.pairing.strangers, border.pairing.ours) == (1, 0)

    def test_a_call_between_our_own_machines_is_internal(self, border: Border) -> None:
        border.invite(US, US_TOO, "us/1")
        assert border.legs() == []
        assert (border.pairing.strangers, border.pairing.ours) == (0, 1)


class TestLongCaptures:
    def test_a_leg_is_given_back_when_it_has_been_silent_long_enough(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.invite(UPSTREAM, US, "up/2", call_id="c2", at=HORIZON_US)
        assert border.settled == []
        border.invite(UPSTREAM, US, "up/3", call_id="c3", at=HORIZON_US + 1)
        assert [leg.invite.call_id for leg in border.settled] == ["c1"]

    def test_a_route_advance_keeps_it_waiting(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.invite(US, DOWNSTREAM, "us/2", "up/1", at=HORIZON_US)
        border.invite(UPSTREAM, US, "up/3", call_id="c3", at=HORIZON_US + SECOND)
        assert border.settled == []

    def test_an_answered_call_waits_for_its_bye(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.final(US, UPSTREAM, "up/1", 200, at=SECOND)
        border.invite(UPSTREAM, US, "up/2", call_id="c2", at=HORIZON_US * 3)
        assert border.settled == []
        border.bye(UPSTREAM, US, at=HORIZON_US * 3 + SECOND)
        border.invite(UPSTREAM, US, "up/3", call_id="c3", at=HORIZON_US * 3 + SECOND + LINGER_US)
        assert border.settled == []
        border.invite(UPSTREAM, US, "up/4", call_id="c4", at=HORIZON_US * 3 + SECOND + LINGER_US + 1)
        assert [(leg.invite.call_id, leg.release_us) for leg in border.settled] == [
            ("c1", HORIZON_US * 3 + SECOND),
        ]

    def test_but_not_for_ever(self, border: Border) -> None:
        border.invite(UPSTREAM, US, "up/1", at=0)
        border.final(US, UPSTREAM, "up/1", 200, at=SECOND)
        border.invite(UPSTREAM, US, "up/2", call_id="c2", at=SECOND + LONGEST_CALL_US + 1)
        assert [(leg.invite.call_id, leg.release_us) for leg in border.settled] == [("c1", None)]

    def test_of_too_many_calls_in_progress_the_oldest_leaves_as_it_stands(self) -> None:
        border = Border(LegPairing(OwnAddresses([US]), most_open=2))
        for n in range(3):
            border.invite(UPSTREAM, US, f"up/{n}", call_id=f"c{n}", at=n)
        assert [leg.invite.call_id for leg in border.settled] == ["c0"]
        assert len(border.legs()) == 3

    def test_nothing_is_remembered_of_legs_given_back(self, border: Border) -> None:
        for n in range(50):
            border.invite(UPSTREAM, US, f"up/{n}", call_id=f"c{n}", at=n)
            border.invite(US, DOWNSTREAM, f"us/{n}", f"up/{n}", call_id=f"c{n}", at=n)
            border.final(US, UPSTREAM, f"up/{n}", 200, call_id=f"c{n}")
        assert len(border.legs()) == 50
        held = vars(border.pairing)
        sizes = [len(getattr(value, "_groups", value)) for name, value in held.items() if name.startswith("_by")]
        assert {*sizes, len(held["_awaiting"]), len(held["_due"]), held["_open"]} == {0}
        assert len(sizes) == 4

    def test_among_too_many_lookalikes_none_is_chosen(self, border: Border) -> None:
        for n in range(80):
            border.invite(UPSTREAM, US, f"up/{n}", tag=f"t{n}")
            if n != 79:
                border.final(US, UPSTREAM, f"up/{n}", 503)
        border.invite(US, DOWNSTREAM, "us/1")
        assert {leg.egress_address for leg in border.legs()} == {None}

    def test_a_flood_of_lookalikes_costs_no_more_than_its_length(self, border: Border) -> None:
        for n in range(3000):
            border.invite(UPSTREAM, US, f"up/{n}", tag=f"t{n}")
            border.invite(US, DOWNSTREAM, f"us/{n}", call_id="x")
        assert len(border.legs()) == 3000


class TestSameNumber:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("+12025550143", "2025550143"),
            ("0012025550143", "12025550143"),
            ("7750112025550143", "0012025550143"),
            ("1234#12025550143", "+1 202 555 0143"),
            ("011442079460123", "+442079460123"),
            ("5550143", "12025550143"),
            ("1001", "1001"),
        ],
    )
    def test_formats_of_one_number(self, one: str, other: str) -> None:
        assert same_number(one, other)
        assert same_number(other, one)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("12025550143", "12025550144"),
            ("", ""),
            ("bob", "bob"),
            ("0143", "12025550143"),
            ("12125550143", "12025550143"),
        ],
    )
    def test_different_numbers(self, one: str, other: str) -> None:
        assert not same_number(one, other)


class TestOwnAddresses:
    @pytest.mark.parametrize(
        ("entry", "address", "port"),
        [
            ("198.51.100.60", "198.51.100.60", 5080),
            ("198.51.100.0/24", "198.51.100.7", 5060),
            ("2001:db8:c::30", "2001:db8:c::30", 5060),
            ("2001:db8:c::/48", "2001:db8:c:1::9", 5060),
            ("127.0.0.1:5060", "127.0.0.1", 5060),
            ("[2001:db8::1]:5061", "2001:db8::1", 5061),
        ],
    )
    def test_an_address_a_network_or_one_port_is_ours(self, entry: str, address: str, port: int) -> None:
        assert OwnAddresses([entry]).include(address, port)

    @pytest.mark.parametrize(
        ("address", "port"), [("198.51.100.61", 5060), ("2001:db8::1", 5060), ("127.0.0.1", 5070), ("", 0), ("x", 1)]
    )
    def test_others_are_not(self, address: str, port: int) -> None:
        assert not OwnAddresses(["198.51.100.60", "127.0.0.1:5060"]).include(address, port)

    @pytest.mark.parametrize(
        "entry", ["", "sbc.example.net", "198.51.100.60/24", "127.0.0.1:0", "127.0.0.1:x", "::1]:5"]
    )
    def test_anything_else_is_refused_with_examples(self, entry: str) -> None:
        with pytest.raises(OwnAddressError, match="write for example"):
            OwnAddresses([entry])

    def test_an_empty_list_is_refused_with_the_reason(self) -> None:
        with pytest.raises(OwnAddressError, match="both sides of every call"):
            OwnAddresses([])


ADDRESSES = st.sampled_from([US, US_TOO, UPSTREAM, OTHER_UPSTREAM, DOWNSTREAM, SUBSCRIBER])
BRANCHES = st.sampled_from(["up/1", "up/2", "us/3", "us/4", "down/5", "down/", "us/"])


@st.composite
def traffic(draw: st.DrawFn) -> list[tuple[Packet, Message]]:
    seen: list[tuple[Packet, Message]] = []
    for frame in range(1, draw(st.integers(1, 30)) + 1):
        time_us = draw(st.integers(0, 3 * HORIZON_US))
        packet = Packet(frame, time_us, draw(ADDRESSES), 5060, draw(ADDRESSES), 5060)
        call_id, cseq = draw(st.sampled_from("cd")), draw(st.integers(1, 3))
        vias = tuple(map(via, draw(st.lists(BRANCHES, min_size=1, max_size=4))))
        kind = draw(st.sampled_from(["invite", "final", "bye"]))
        message: Message
        if kind == "invite":
            called, calling = (
                draw(st.sampled_from([CALLED, "2025550143", "", "bob"])),
                draw(st.sampled_from([CALLING, ""])),
            )
            message = Invite(call_id, cseq, draw(st.sampled_from("ab")), called, (calling,), vias)
        elif kind == "final":
            message = Final(call_id, cseq, vias[0], draw(st.sampled_from([200, 407, 503])))
        else:
            message = Bye(call_id, (draw(st.sampled_from("ab")), "z"))
        seen.append((packet, message))
    return seen


class TestWhateverTheTraffic:
    @settings(max_examples=100, deadline=None)
    @given(traffic())
    def test_every_leg_comes_from_messages_that_were_seen(self, seen: list[tuple[Packet, Message]]) -> None:
        pairing = LegPairing(OwnAddresses([US, US_TOO]))
        legs = [leg for packet, message in seen for leg in pairing.feed(packet, message)] + pairing.finish()
        invites = {p.frame: (p, m) for p, m in seen if isinstance(m, Invite)}
        own = {US, US_TOO}
        came_in = {f for f, (p, _) in invites.items() if p.dst in own and p.src not in own}
        went_out = {(p.dst, m.called) for p, m in invites.values() if p.src in own and p.dst not in own}
        for leg in legs:
            packet, message = invites[leg.packet.frame]
            assert (leg.packet, leg.invite) == (packet, message)
            assert leg.ingress_address == (packet.src if leg.packet.frame in came_in else None)
            assert leg.called_in == (message.called if leg.packet.frame in came_in else None)
            if leg.egress_address is not None:
                assert (leg.egress_address, leg.called_out) in went_out
            assert leg.ingress_address not in own
            assert leg.answer_us is None or (leg.code == 200 and not leg.route_advanced)
        # no neighbour who sent us a call is lost
        assert {(leg.ingress_address, leg.invite.call_id) for leg in legs if leg.ingress_address} == {
            (invites[f][0].src, invites[f][1].call_id) for f in came_in
        }
