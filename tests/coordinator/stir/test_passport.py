"""Identity headers: the full form of RFC 8224 with SHAKEN's claims is read, everything else is one clear refusal."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.stir.certificates import _is_good
from coordinator.stir.passport import LONGEST, Identity, Passport, PassportError, parse_identity
from tests.coordinator.make import CALLED, CALLING, T0
from tests.coordinator.stir.sti import ORIGID, X5U, diverted, encoded, identity, key_of, signed, sti
from tests.shared import SIPLAB, needs_siplab

RFC8225 = (
    "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9."
    "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEy"
    "In19.VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw"
)
"""Appendix A."""
RFC7515 = (
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
    "fQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
"""Appendix A.3: ES256, and the key that it is signed with."""
RFC7515_KEY = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
RFC8588_HEADER = {
    "alg": "ES256",
    "ppt": "shaken",
    "typ": "passport",
    "x5u": "https://cert.example.org/passport.cer",
}
RFC8588_PAYLOAD = {
    "attest": "A",
    "dest": {"tn": ["12125551213"]},
    "iat": 1443208345,
    "orig": {"tn": "12155551212"},
    "origid": "123e4567-e89b-12d3-a456-426655440000",
}


class TestAHeader:
    def test_of_the_full_form_gives_every_claim(self) -> None:
        read = parse_identity(identity()).shaken
        assert (read.attestation, read.origid, read.issued, read.x5u) == ("A", ORIGID, T0, X5U)
        assert (read.orig, read.dest) == (CALLING[1:], (CALLED[1:],))
        assert len(read.signature) == 64

    @pytest.mark.parametrize("host", ["cr.relay:8443", "identity:8443"])
    def test_without_its_name_keeps_a_port_in_the_url(self, host: str) -> None:
        url = f"https://{host}/sti.pem"
        bare = signed(sti().signer(), RFC8588_HEADER | {"x5u": url}, RFC8588_PAYLOAD)
        assert parse_identity(bare).shaken.x5u == parse_identity(f"y: {bare}").shaken.x5u == url

    def test_as_rfc_8588_writes_it_gives_every_claim(self) -> None:
        read = parse_identity(signed(sti().signer(), RFC8588_HEADER, RFC8588_PAYLOAD)).shaken
        assert (read.attestation, read.orig, read.dest) == ("A", "12155551212", ("12125551213",))
        assert read.issued == datetime(2015, 9, 25, 19, 12, 25, tzinfo=UTC)

    @pytest.mark.parametrize(
        "written",
        [
            "Identity: {}",
            "identity :{}",
            "y: {}\r\n",
            "\n  {}  \n",
            "{}",
        ],
    )
    def test_may_stand_there_with_its_name_or_without(self, written: str) -> None:
        assert parse_identity(written.format(identity())).shaken.attestation == "A"

    def test_may_quote_its_extension_and_bring_parameters_that_nobody_knows(self) -> None:
        text = identity().replace("ppt=shaken", 'ppt="shaken";more=1;flag')
        assert parse_identity(text).shaken.attestation == "A"

    @pytest.mark.parametrize(
        ("written", "otherwise"),
        [
            (f"info=<{X5U}>", f'info="{X5U}"'),
            (f"info=<{X5U}>", f"info={X5U}"),
            (f"info=<{X5U}>", f"INFO = <{X5U}> "),
            ("alg=ES256", 'Alg="es256"'),
            ("ppt=shaken", "PPT=SHAKEN"),
            (";ppt=shaken", ""),
            (";alg=ES256", ""),
        ],
    )
    def test_may_write_its_parameters_as_sip_allows(self, written: str, otherwise: str) -> None:
        text = identity()
        assert written in text
        assert parse_identity(text.replace(written, otherwise)).shaken == parse_identity(text).shaken

    def test_may_write_a_plus_before_its_numbers_all_the_same(self) -> None:
        """RFC 8224 8.3 leaves it out."""
        read = parse_identity(identity(orig=CALLING, dest=(CALLED,))).shaken
        assert (read.orig, read.dest) == (CALLING[1:], (CALLED[1:],))

    def test_may_claim_more_than_is_looked_at(self) -> None:
        rich = identity(payload={"rcd": {"nam": "Birch"}, "crn": "Delivery", "mky": []})
        assert parse_identity(rich).shaken.attestation == "A"

    def test_may_be_folded_over_lines(self) -> None:
        assert parse_identity(identity().replace(";info", "\r\n ;info")).shaken.attestation == "A"

    def test_may_have_forwardings_beside_it_in_lines_or_with_commas(self) -> None:
        div = diverted(sti().signer(), was=CALLED[1:], now_for="12025550188")
        for apart in ("\n", ",", ", ", "\r\nIdentity: "):
            read = parse_identity(identity() + apart + div)
            assert [(one.kind, one.diverted, one.dest) for one in read.div] == [("div", CALLED[1:], ("12025550188",))]
            assert read.text.count("\n") == 1

    def test_may_have_passports_beside_it_that_say_nothing_here(self) -> None:
        rcd = signed(sti().signer(), {"alg": "ES256", "ppt": "rcd", "typ": "passport", "x5u": X5U}, {"rcd": {}})
        assert parse_identity(f"{rcd}\n{identity()}").shaken.attestation == "A"

    def test_may_name_parties_that_are_no_telephone_numbers(self) -> None:
        parties = {"orig": {"uri": "sip:a@example.com"}, "dest": {"uri": ["sip:b@example.com"]}}
        read = parse_identity(identity(payload=parties)).shaken
        assert (read.orig, read.dest) == ("", ())

    def test_read_again_from_what_was_kept_is_the_same(self) -> None:
        read = parse_identity(f"Identity: {identity()}\n{diverted(sti().signer(), '12025550143', '12025550188')}")
        assert parse_identity(read.text) == read

    def test_shows_no_number_where_it_is_printed(self) -> None:
        shown = repr(parse_identity(identity()))
        assert CALLING[1:] not in shown
        assert CALLED[1:] not in shown


def _bent(**payload: Any) -> str:
    return identity(payload=payload)


REFUSED = {
    "nothing": ("", "no header"),
    "only its name": ("Identity:", "no header"),
    "no token": ("sip:alice@example.com", "no PASSporT"),
    "the compact form": (f"..{'A' * 86};info=<{X5U}>;alg=ES256;ppt=shaken", "compact form"),
    "two parts": (f"{encoded({})}.{encoded({})};info=<{X5U}>", "no PASSporT"),
    "letters that are none of base64url": (identity().replace(".", ".+", 1), "no PASSporT"),
    "no JSON": (f"AAAA.AAAA.{'A' * 86};info=<{X5U}>", "header is no JSON"),
    "a list": (f"{encoded([])}.{encoded({})}.{'A' * 86};info=<{X5U}>", "no JSON object"),
    "another algorithm": (identity(header={"alg": "none"}), "alg ES256"),
    "another algorithm beside it": (identity().replace("alg=ES256", "alg=RS256"), "alg is another"),
    "no type": (identity(header={"typ": None}), "typ passport"),
    "no certificate": (identity(header={"x5u": None}), "x5u"),
    "a certificate over http": (identity(x5u="http://sti.example.net/birch.pem"), "https URL"),
    "an extension that must be understood": (identity(header={"crit": ["b64"], "b64": False}), "must be understood"),
    "the original inside a forwarding": (
        diverted(sti().signer(), "12025550143", "12025550188", kind="div-o"),
        "inside a div-o one",
    ),
    "a type in capitals": (identity(header={"ppt": "SHAKEN"}), "ppt is another"),
    "a certificate in a file": (identity(header={"x5u": "file:///etc/passwd"}), "x5u"),
    "another certificate beside it": (identity().replace(f"<{X5U}>", "<https://b.example/c.pem>"), "info must name"),
    "no certificate beside it": (identity().replace(f";info=<{X5U}>", ""), "info must name"),
    "another extension beside it": (identity().replace("ppt=shaken", "ppt=div"), "ppt is another"),
    "a parameter twice": (identity() + ";alg=ES256", "alg stands twice"),
    "no extension at all": (identity(header={"ppt": None}), "none of its PASSporTs is SHAKEN's"),
    "a forwarding alone": (diverted(sti().signer(), "12025550143", "12025550188"), "none of its PASSporTs"),
    "two of SHAKEN": (identity() + "\n" + identity(attestation="B"), "2 of its PASSporTs"),
    "another level": (_bent(attest="D"), "A, B or C"),
    "no level": (_bent(attest=None), "A, B or C"),
    "a list for a level": (_bent(attest=["A"]), "A, B or C"),
    "no origid": (_bent(origid=None), "origid"),
    "an origid with line ends": (_bent(origid="a\nb"), "origid"),
    "no time": (_bent(iat=None), "iat"),
    "truth for a time": (_bent(iat=True), "iat"),
    "a time as text": (_bent(iat="1471375418"), "iat"),
    "a time in no century": (_bent(iat=10**30), "iat"),
    "no calling party": (_bent(orig=None), "orig must be"),
    "a calling party without number": (_bent(orig={}), "orig must be"),
    "a name for a number": (_bent(orig={"tn": "Alice"}), "orig.tn must be"),
    "a number for a number": (_bent(orig={"tn": 12025550143}), "orig.tn must be"),
    "no called party": (_bent(dest=None), "dest must be"),
    "called numbers in an object": (_bent(dest={"tn": {}}), "dest.tn must be a list"),
    "too many called numbers": (_bent(dest={"tn": ["12025550143"] * 51}), "at most"),
    "half a signature": (re.sub(r"\.([\w-]{43})[\w-]{43};", r".\1;", identity()), "64 bytes, not 32"),
    "too much": ("A" * (LONGEST + 1), "too many"),
    "too long a token": ("A" * 9000 + ".A.A", "too long"),
    "too many": ("\n".join([identity()] * 11), "11 headers"),
    "a key twice": (
        f"{encoded(RFC8588_HEADER)}.eyJhdHRlc3QiOiJBIiwiYXR0ZXN0IjoiQyJ9.{'A' * 86}"
        ";info=<https://cert.example.org/passport.cer>",
        "stands twice",
    ),
    "a deep nest": (f"{encoded(RFC8588_HEADER)}.{'W1tb' * 2000}.AA;info=<x>", "no JSON"),
}


class TestWhatIsNone:
    @pytest.mark.parametrize("case", REFUSED)
    def test_is_refused_with_the_reason(self, case: str) -> None:
        text, why = REFUSED[case]
        with pytest.raises(PassportError, match=re.escape(why)):
            parse_identity(text)

    def test_is_refused_without_repeating_a_number(self) -> None:
        with pytest.raises(PassportError) as refused:
            parse_identity(_bent(orig={"tn": "+1 202 555 0199"}))
        assert "0199" not in str(refused.value)

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=400) | st.text('<>",;=\\.eyJ0 \r\n', max_size=200))
    def test_is_refused_whatever_the_text(self, text: str) -> None:
        with pytest.raises(PassportError):
            parse_identity(text)

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_is_read_or_refused_when_a_good_one_is_bent(self, data: st.DataObject) -> None:
        good = identity()
        at = data.draw(st.integers(0, len(good) - 1))
        bent = good[:at] + data.draw(st.characters()) + good[at + data.draw(st.integers(0, 3)) :]
        with contextlib.suppress(PassportError):
            assert isinstance(parse_identity(bent), Identity)

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda some: (
            st.lists(some, max_size=4) | st.dictionaries(st.sampled_from(["tn", "uri", "x"]), some, max_size=3)
        ),
        max_leaves=6,
    )

    @settings(max_examples=100, deadline=None)
    @given(st.dictionaries(st.sampled_from(["attest", "orig", "dest", "iat", "origid", "x"]), json_values))
    def test_is_read_or_refused_whatever_it_claims(self, payload: dict[str, Any]) -> None:
        with contextlib.suppress(PassportError):
            assert isinstance(parse_identity(identity(payload=payload)), Identity)

    @pytest.mark.parametrize("piece", ['"', "<", ";", ",", '\\"', "<;", '";', "\r\n ", "a=", "."])
    def test_is_refused_at_once_however_long(self, piece: str) -> None:
        with pytest.raises(PassportError):
            parse_identity((piece * LONGEST)[:LONGEST])


class TestTheExamplesOfTheStandards:
    def test_that_of_rfc_8225_attests_nothing_and_is_refused_here(self) -> None:
        with pytest.raises(PassportError, match="nothing is attested"):
            parse_identity(f"{RFC8225};info=<https://cert.example.org/passport.cer>;alg=ES256")

    def test_that_of_rfc_7515_has_a_signature_that_is_good(self) -> None:
        x, y = (int.from_bytes(base64.urlsafe_b64decode(one + "="), "big") for one in RFC7515_KEY)
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        covered, _, text = RFC7515.rpartition(".")
        signature = base64.urlsafe_b64decode(text + "==")
        good = Passport("shaken", T0, X5U, signed=covered.encode(), signature=signature)
        assert _is_good(good, key)
        assert not _is_good(good, key_of("another").public_key())
        assert not _is_good(replace(good, signature=signature[32:] + signature[:32]), key)


@needs_siplab
class TestRealCalls:
    def test_every_whole_header_in_the_captures_is_read(self) -> None:
        found = {
            one.decode()
            for file in sorted((SIPLAB / "pcap").iterdir())
            for one in re.findall(rb"^Identity: ([\x20-\x7e]+)\r$", gzip.decompress(file.read_bytes()), re.M)
            if one.count(b";") == 3  # those of TCP streams have packet headers in the middle
        }
        assert len(found) >= 50
        for text in found:
            read = parse_identity(text).shaken
            assert read.attestation in ("A", "B", "C")
            assert (len(read.orig), [len(one) for one in read.dest]) == (11, [11])
            assert read.x5u.startswith("https://cert.example.org/sti/")

    def test_the_traced_calls_say_what_the_headers_say(self) -> None:
        truth = [json.loads(line) for line in Path(SIPLAB / "TRUTH.jsonl").read_text().splitlines()]
        signed_calls = {(one["calling_sent"].lstrip("+"), one["called_dialled"].lstrip("+")) for one in truth}
        content = gzip.decompress((SIPLAB / "pcap" / "alder.pcap.gz").read_bytes())
        headers = {one.decode() for one in re.findall(rb"^Identity: ([\x20-\x7e]+)\r$", content, re.M)}
        read = [parse_identity(one).shaken for one in headers if one.count(";") == 3]
        known = [one for one in read if any(one.orig.endswith(c[-10:]) for c, _ in signed_calls)]
        assert len(known) == len(read) > 0
