"""What is taken from a SIP message, and which messages are refused."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdr_adapters.sip.message import Bye, Final, Invite, MalformedSipError, Message, Via, parse_message, user_of
from tests.adapters.sip_bytes import invite, request, response


def parsed(message: bytes) -> Message | None:
    start, _, rest = message.partition(b"\r\n")
    return parse_message(start, rest.partition(b"\r\n\r\n")[0] + b"\r\n")


def parsed_invite(message: bytes) -> Invite:
    seen = parsed(message)
    assert isinstance(seen, Invite)
    return seen


def calling(from_value: str, *extra: str) -> str:
    return parsed_invite(invite(calling=from_value, extra=extra)).calling


class TestWhichMessagesMatter:
    def test_an_invite_without_to_tag_opens_a_call(self) -> None:
        seen = parsed_invite(invite(called="+12025550143", cseq=7))
        assert (seen.called, seen.call_id, seen.cseq, seen.from_tag) == ("+12025550143", "call-1@203.0.113.21", 7, "a1")

    def test_an_invite_with_to_tag_is_no_new_call(self) -> None:
        assert parsed(invite(to_tag="b2")) is None

    @pytest.mark.parametrize("code", [200, 302, 407, 486, 503, 603])
    def test_a_final_response_to_invite_is_kept(self, code: int) -> None:
        assert parsed(response(code)) == Final("call-1@203.0.113.21", 1, Via("203.0.113.21", "z9hG4bK-1"), code)

    @pytest.mark.parametrize("code", [100, 180, 183])
    def test_a_provisional_response_is_not(self, code: int) -> None:
        assert parsed(response(code)) is None

    def test_a_response_to_another_method_is_not(self) -> None:
        assert parsed(response(200, method="BYE")) is None

    @pytest.mark.parametrize("method", ["ACK", "CANCEL", "OPTIONS", "REGISTER"])
    def test_other_requests_are_not(self, method: str) -> None:
        assert parsed(request(method)) is None

    def test_a_bye_is_kept_with_the_tags_of_its_dialog(self) -> None:
        assert parsed(request("BYE")) == Bye("call-1@203.0.113.21", ("a1", "b2"))

    def test_a_bye_that_cannot_be_read_is_left_out(self) -> None:
        assert parsed(request("BYE").replace(b"Call-ID:", b"X-Gone:")) is None

    @pytest.mark.parametrize("start", [b"", b"INVITE", b"INVITE sip:x SIP/3.0", b"SIP/2.0 abc", b"\xff\xfe"])
    def test_something_else_than_sip_is_nothing(self, start: bytes) -> None:
        assert parse_message(start, b"") is None


class TestHeaders:
    def test_compact_names_are_the_same_headers(self) -> None:
        long = invite(extra=("Identity: a.b.c",))
        short = long
        for name, compact in [("Via", "v"), ("From", "f"), ("To", "t"), ("Call-ID", "i"), ("Identity", "y")]:
            short = short.replace(f"\r\n{name}:".encode(), f"\r\n{compact} :".encode())
        assert short != long
        assert parsed(short) == parsed(long)

    def test_names_are_read_in_any_case(self) -> None:
        assert parsed(invite().replace(b"Call-ID", b"CALL-id").replace(b"CSeq", b"cseq")) == parsed(invite())

    def test_a_folded_header_is_one_line(self) -> None:
        assert parsed(invite().replace(b";tag=a1", b"\r\n\t;tag=a1")) == parsed(invite())

    def test_several_vias_in_one_header_are_several_in_order(self) -> None:
        first, second = (
            "sbc.example.net:5080;branch=z9hG4bK-2",
            "[2001:DB8::5]:5060;received=192.0.2.1;branch=z9hG4bK-1",
        )
        expected = (Via("sbc.example.net:5080", "z9hG4bK-2"), Via("[2001:db8::5]:5060", "z9hG4bK-1"))
        assert parsed_invite(invite(vias=(first, second))).vias == expected
        assert parsed_invite(invite(vias=(f"{first}, SIP / 2.0 / TCP {second}",))).vias == expected

    def test_a_via_without_branch_has_an_empty_one(self) -> None:
        assert parsed_invite(invite(vias=("192.0.2.7",))).vias == (Via("192.0.2.7", ""),)

    def test_a_tag_inside_a_display_name_or_uri_is_no_tag(self) -> None:
        assert parsed_invite(invite(calling='"x;tag=no" <sip:+12125550178@h;tag=no>;tag=yes')).from_tag == "yes"
        assert isinstance(parsed(invite().replace(b"To: <sip:", b'To: ";tag=no" <sip:')), Invite)

    @pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
    def test_an_invite_without_a_mandatory_header_is_refused_by_its_name(self, name: str) -> None:
        with pytest.raises(MalformedSipError, match=f"INVITE without {name.lower()}"):
            parsed(invite().replace(f"\r\n{name}:".encode(), b"\r\nX-Gone:"))

    @pytest.mark.parametrize(
        ("good", "bad", "complaint"),
        [
            (b"CSeq: 1 INVITE", b"CSeq: one INVITE", "unreadable cseq"),
            (b"Via: SIP/2.0/UDP ", b"Via: HTTP/1.1 ", "unreadable via"),
            (b"From: ", b"From: " + b"x" * 5000, "characters of from"),
        ],
    )
    def test_a_header_out_of_all_bounds_is_refused(self, good: bytes, bad: bytes, complaint: str) -> None:
        with pytest.raises(MalformedSipError, match=complaint):
            parsed(invite().replace(good, bad))

    def test_more_vias_than_max_forwards_allows_are_refused(self) -> None:
        with pytest.raises(MalformedSipError, match="71 via values"):
            parsed(invite(vias=["192.0.2.7;branch=z9hG4bK-1"] * 71))

    def test_a_final_response_that_cannot_be_read_is_left_out(self) -> None:
        assert parsed(response(200).replace(b"Via: SIP/2.0/UDP ", b"Via: nonsense ")) is None


class TestNumbers:
    @pytest.mark.parametrize(
        ("uri", "user"),
        [
            ("sip:+12025550143@198.51.100.60:5060;user=phone", "+12025550143"),
            ("sips:2025550143@example.net", "2025550143"),
            ("SIP:2025550143:secret@example.net", "2025550143"),
            ("sip:2025550143;npdi;rn=+12125550100@example.net", "2025550143"),
            ("sip:1234%2312025550143@example.net", "1234#12025550143"),
            ("sip:%2B12025550143@[2001:db8::1]:5060", "+12025550143"),
            ("tel:+1-202-555-0143", "+1-202-555-0143"),
            ("tel:5550143;phone-context=+1202", "5550143;phone-context=+1202"),
            ("sip:example.net", ""),
            ("urn:service:sos", ""),
            ("nonsense", ""),
            ("", ""),
        ],
    )
    def test_the_user_part_of_a_uri(self, uri: str, user: str) -> None:
        assert user_of(uri) == user

    def test_the_caller_is_the_user_of_from(self) -> None:
        assert calling('"Tax Office" <sip:+12125550178@203.0.113.21>;tag=a1') == "+12125550178"
        assert calling("sip:2125550178@203.0.113.21;tag=a1") == "2125550178"
        assert calling("<tel:+12125550178>;tag=a1") == "+12125550178"

    @pytest.mark.parametrize(
        "withheld",
        [
            '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=a1',
            "<sip:Restricted@192.0.2.7>;tag=a1",
            "<sip:+12125550178@anonymous.invalid>;tag=a1",
            "<sip:192.0.2.7>;tag=a1",
        ],
    )
    def test_a_withheld_caller_is_who_the_network_asserts(self, withheld: str) -> None:
        asserted = 'P-Asserted-Identity: "Someone, Else" <sip:+12125550199@192.0.2.7>, <tel:+12125550100>'
        assert calling(withheld, asserted) == "+12125550199"

    def test_a_withheld_caller_whom_nobody_asserts_is_none(self) -> None:
        assert calling("<sip:anonymous@anonymous.invalid>;tag=a1") == ""

    def test_whom_the_network_asserts_goes_before_who_somebody_claims_to_be(self) -> None:
        seen = parsed_invite(
            invite(calling="<sip:2125550178@h>;tag=a1", extra=("P-Asserted-Identity: <sip:+12125550199@h>",))
        )
        assert (seen.calling, seen.callers) == ("+12125550199", ("+12125550199", "2125550178"))

    def test_an_asserted_name_is_no_number(self) -> None:
        assert calling("<sip:2125550178@h>;tag=a1", "P-Asserted-Identity: <sip:anonymous@h>") == "2125550178"

    def test_remote_party_id_is_asked_last(self) -> None:
        party = "Remote-Party-ID: <sip:+12125550199@h>;party=calling;screen=yes"
        assert calling("<sip:2125550178@h>;tag=a1", party) == "2125550178"
        assert calling("<sip:anonymous@anonymous.invalid>;tag=a1", party) == "+12125550199"

    def test_a_name_without_digits_is_no_number_when_one_is_asserted(self) -> None:
        assert calling("<sip:alice@h>;tag=a1", "P-Asserted-Identity: <sip:+12125550199@h>") == "+12125550199"
        assert calling("<sip:alice@h>;tag=a1") == "alice"


class TestRedirection:
    HISTORY = (
        "History-Info: <sip:+18885550100@h>;index=1, <sip:+12025550144@h?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1,"
        " <sip:+12025550143@h>;index=1.1.1;mp=1.1"
    )
    DIVERSION = (
        "Diversion: <sip:+12025550144@h>;reason=no-answer;counter=1",
        'Diversion: "The, Office" <sip:+18885550100@h>;reason=unconditional',
    )

    def test_the_called_number_stays_that_of_the_request_uri(self) -> None:
        assert parsed_invite(invite(called="+12025550143", extra=(self.HISTORY,))).called == "+12025550143"

    @pytest.mark.parametrize("headers", [(HISTORY,), DIVERSION, (HISTORY, *DIVERSION)])
    def test_the_first_number_dialled_and_the_last_that_sent_on_are_kept(self, headers: tuple[str, ...]) -> None:
        seen = parsed_invite(invite(extra=headers))
        assert (seen.first_called, seen.diverted_by) == ("+18885550100", "+12025550144")

    @pytest.mark.parametrize(
        "headers", [(), ("History-Info: <sip:+12025550143@h>;index=1",), ("Diversion: <" + "x" * 5000,)]
    )
    def test_a_call_that_went_straight_has_neither(self, headers: tuple[str, ...]) -> None:
        seen = parsed_invite(invite(extra=headers))
        assert (seen.first_called, seen.diverted_by) == ("", "")


class TestAttestation:
    @staticmethod
    def identity(claims: object) -> str:
        def part(value: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

        return f"Identity: {part({'alg': 'ES256'})}.{part(claims)}.c2ln;info=<https://cert.example.org/a.pem>"

    @pytest.mark.parametrize("level", ["A", "B", "C"])
    def test_the_claimed_level_and_origin_are_read(self, level: str) -> None:
        claims = {"attest": level, "origid": "123e4567-e89b-12d3-a456-426655440000", "orig": {"tn": "12125550178"}}
        seen = parsed_invite(invite(extra=(self.identity(claims),)))
        assert (seen.attestation, seen.origid) == (level, "123e4567-e89b-12d3-a456-426655440000")

    def test_of_several_that_which_attests(self) -> None:
        diverted = self.identity({"ppt": "div", "dest": {"tn": ["12025550143"]}})
        attested = self.identity({"attest": "B", "origid": "o-1"})
        for headers in ((diverted, attested), (f"{diverted}, {attested.removeprefix('Identity: ')}",)):
            seen = parsed_invite(invite(extra=headers))
            assert (seen.attestation, seen.origid) == ("B", "o-1")

    @pytest.mark.parametrize("origid", [7, None, "", "two words", "x" * 200, "\x1b[2J"])
    def test_an_origin_that_is_none_costs_only_itself(self, origid: object) -> None:
        seen = parsed_invite(invite(extra=(self.identity({"attest": "A", "origid": origid}),)))
        assert (seen.attestation, seen.origid) == ("A", "")

    @pytest.mark.parametrize("claims", [{}, {"attest": "Z"}, ["A"], {"attest": ["A"]}, 7])
    def test_an_identity_that_says_no_level_says_nothing(self, claims: object) -> None:
        assert parsed_invite(invite(extra=(self.identity(claims),))).attestation == ""

    @pytest.mark.parametrize("value", ["garbage", "a.b.c", "..", "..c2ln;info=<https://c.example.org>", "a.\xff.c", ""])
    def test_an_identity_that_cannot_be_read_costs_no_call(self, value: str) -> None:
        assert parsed_invite(invite(extra=(f"Identity: {value}",))).attestation == ""

    def test_nor_does_one_that_is_longer_than_any_real_one_or_nested_without_end(self) -> None:
        nested = base64.urlsafe_b64encode(b"[" * 3000).decode()
        for value in ("x" * 9000, f"a.{nested}.c"):
            assert parsed_invite(invite(extra=(f"Identity: {value}",))).attestation == ""

    def test_a_call_without_identity_has_none(self) -> None:
        assert (parsed_invite(invite()).attestation, parsed_invite(invite()).origid) == ("", "")


class TestVerificationStatus:
    def verstat(self, from_value: str, *extra: str) -> str:
        return parsed_invite(invite(calling=from_value, extra=extra)).verstat

    def test_it_is_read_from_the_number_or_the_uri(self) -> None:
        assert self.verstat("<sip:+12125550178;verstat=TN-Validation-Passed@h;user=phone>;tag=a") == (
            "TN-Validation-Passed"
        )
        assert self.verstat("<tel:+12125550178;verstat=No-TN-Validation>;tag=a") == "No-TN-Validation"

    def test_that_of_the_asserted_identity_goes_first(self) -> None:
        asserted = "P-Asserted-Identity: <tel:+12125550178;verstat=TN-Validation-Failed>"
        assert self.verstat("<tel:+12125550178;verstat=No-TN-Validation>;tag=a", asserted) == "TN-Validation-Failed"

    def test_in_a_display_name_it_is_only_a_name(self) -> None:
        assert self.verstat('"x;verstat=TN-Validation-Passed" <sip:+12125550178@h>;tag=a') == ""

    def test_the_number_is_read_without_it(self) -> None:
        assert calling("<sip:+12125550178;verstat=TN-Validation-Passed@h>;tag=a") == "+12125550178"


class TestWhateverComes:
    @given(st.binary(max_size=400), st.binary(max_size=2000))
    def test_any_bytes_are_a_message_nothing_or_refused(self, start: bytes, header: bytes) -> None:
        with suppress(MalformedSipError):
            parse_message(start, header)

    @given(st.data())
    def test_a_damaged_invite_is_a_message_nothing_or_refused(self, data: st.DataObject) -> None:
        message = bytearray(invite(extra=("Identity: a.b.c", "P-Asserted-Identity: <sip:+12125550199@h>")))
        for at in data.draw(st.lists(st.integers(20, len(message) - 1), max_size=8)):
            message[at] = data.draw(st.integers(0, 255))
        start, _, header = bytes(message).partition(b"\r\n")
        with suppress(MalformedSipError):
            parse_message(start, header)

    @pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
    def test_a_refusal_repeats_no_number(self, name: str) -> None:
        message = invite(extra=("P-Asserted-Identity: <sip:+12125550199@h>",))
        with pytest.raises(MalformedSipError) as refused:
            parsed(message.replace(f"\r\n{name}:".encode(), b"\r\nX-Gone:"))
        assert "555" not in str(refused.value)

    @pytest.mark.parametrize("filler", ['"\\', "<", "((", ",", ";tag", '";branch="', " \t"])
    def test_a_header_made_to_take_long_does_not(self, filler: str) -> None:
        value = filler * (8000 // len(filler))
        for name in ("From", "To", "Via", "P-Asserted-Identity"):
            header = f"{name}: {value}\r\nVia: SIP/2.0/UDP h\r\nFrom: x\r\nTo: x\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n"
            with suppress(MalformedSipError):
                parse_message(b"INVITE sip:x@y SIP/2.0", header.encode())
