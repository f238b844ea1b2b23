"""Signers' certificates: three grades of what is known, codes of a TNAuthList, and what is no signer's certificate."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.stir.certificates import Grade, Judged, Shelf, SignerError, codes_of, pem_of, read_pem, read_roots
from coordinator.stir.passport import Passport, parse_identity
from coordinator.stir.revocation import Revoked
from tests.coordinator.make import T0
from tests.coordinator.stir.sti import FROM, UNTIL, Holder, identity, issue, rsa_key, sti, tn_auth_list

ROOT, BETWEEN = sti().root, sti().between
BIRCH, ALDER = sti().signer(), sti().signer("alder", "111A")
HEADER = parse_identity(identity()).shaken


def shelf(*holders: Holder, roots: tuple[Holder, ...] = (ROOT,)) -> Shelf:
    return Shelf([one.der for one in holders], [one.certificate for one in roots])


def judged(header: Passport = HEADER, *holders: Holder, roots: tuple[Holder, ...] = (ROOT,)) -> Judged:
    return shelf(*(holders or (BIRCH, BETWEEN)), roots=roots).judge(header)


class TestAHeader:
    def test_whose_signer_leads_to_a_pinned_root_is_verified(self) -> None:
        found = judged()
        assert (found.grade, found.why) == (Grade.VERIFIED, "")
        assert found.signer is not None
        assert (found.signer.codes, found.signer.subject) == (("709J",), "CN=SHAKEN birch")

    def test_is_verified_as_well_by_a_root_that_issued_the_signer_itself(self) -> None:
        own = issue("SHAKEN birch", ROOT, codes=tn_auth_list("709J"))
        assert judged(HEADER, own).grade is Grade.VERIFIED

    @pytest.mark.parametrize(
        ("holders", "roots", "why"),
        [
            ((BIRCH, BETWEEN), (), "no root"),
            ((BIRCH, BETWEEN), (sti("Other").root,), "leads to no root"),
            ((BIRCH,), (ROOT,), "leads to no root"),
            ((issue("SHAKEN birch", codes=tn_auth_list("709J")), BETWEEN), (ROOT,), "leads to no root"),
            ((issue("SHAKEN birch", ALDER, codes=tn_auth_list("709J")), ALDER, BETWEEN), (ROOT,), "leads to no root"),
        ],
        ids=["no root", "another root", "no intermediate", "self-issued", "issued by a signer"],
    )
    def test_whose_signature_is_good_and_whose_root_is_unknown_is_a_claim(
        self, holders: tuple[Holder, ...], roots: tuple[Holder, ...], why: str
    ) -> None:
        found = judged(HEADER, *holders, roots=roots)
        assert found.grade is Grade.CHAIN_UNKNOWN
        assert why in found.why
        assert found.signer is not None

    @pytest.mark.parametrize("issued", [FROM - timedelta(seconds=1), UNTIL + timedelta(seconds=1)])
    def test_that_was_signed_when_the_certificate_was_not_valid_is_a_claim(self, issued: object) -> None:
        found = judged(parse_identity(identity(issued=issued)).shaken)
        assert found.grade is Grade.CHAIN_UNKNOWN
        assert "not valid when it signed" in found.why

    def test_that_no_certificate_makes_good_is_not_verified(self) -> None:
        for some in (shelf(), shelf(ALDER, BETWEEN)):
            found = some.judge(HEADER)
            assert (found.grade, found.signer) == (Grade.NOT_VERIFIED, None)
            assert "forged or altered" in found.why

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 63), st.integers(1, 255))
    def test_with_a_bent_signature_is_never_good(self, at: int, by: int) -> None:
        bent = bytearray(HEADER.signature)
        bent[at] ^= by
        passport = Passport("shaken", T0, HEADER.x5u, signed=HEADER.signed, signature=bytes(bent))
        assert judged(passport).grade is Grade.NOT_VERIFIED

    def test_with_bent_claims_is_not_good(self) -> None:
        token = identity().replace(".eyJhdHRlc3QiOiJBIi", ".eyJhdHRlc3QiOiJCIi")
        assert parse_identity(token).shaken.attestation == "B"
        assert judged(parse_identity(token).shaken).grade is Grade.NOT_VERIFIED

    def test_is_a_claim_where_the_signer_s_key_is_not_for_signatures(self) -> None:
        found = judged(HEADER, sti().signer(signs=False), BETWEEN)
        assert found.grade is Grade.CHAIN_UNKNOWN
        assert "not for signatures" in found.why

    def test_is_a_claim_where_an_authority_on_the_way_was_not_given_the_signer_s_codes(self) -> None:
        """RFC 9060 5: who holds a delegating authority's certificate may pass on its own codes, and no others."""
        for held, grade in (
            (None, Grade.VERIFIED),
            (tn_auth_list("709J", "111A"), Grade.VERIFIED),
            (tn_auth_list("111A"), Grade.CHAIN_UNKNOWN),
            (b"\x04\x00", Grade.CHAIN_UNKNOWN),
        ):
            delegating = issue("Alder's own CA", BETWEEN, authority=True, codes=held)
            own = issue("SHAKEN birch", delegating, codes=tn_auth_list("709J"))
            found = judged(HEADER, own, delegating, BETWEEN)
            assert found.grade is grade
            assert ("was not given its codes" in found.why) == (grade is Grade.CHAIN_UNKNOWN)

    def test_finds_its_signer_among_many_also_after_others_of_the_same_url(self) -> None:
        others = [sti().signer(f"other {number}", f"A{number}") for number in range(5)]
        some = shelf(*others, BIRCH, BETWEEN)
        for holder, code in ((BIRCH, "709J"), (others[3], "A3"), (BIRCH, "709J")):
            found = some.judge(parse_identity(identity(holder)).shaken)
            assert found.grade is Grade.VERIFIED
            assert found.signer is not None
            assert found.signer.codes == (code,)

    def test_of_two_certificates_of_one_key_counts_the_better_one(self) -> None:
        own = issue("SHAKEN birch", codes=tn_auth_list("999Z"))
        found = judged(HEADER, own, BIRCH, BETWEEN)
        assert found.grade is Grade.VERIFIED
        assert found.signer is not None
        assert found.signer.codes == ("709J",)

    def test_brings_its_chain_along(self) -> None:
        some = shelf(BIRCH, BETWEEN, sti("Other").between)
        assert some.with_chain(some.judge(HEADER)) == [BIRCH.der, BETWEEN.der]
        assert some.with_chain(Judged(Grade.NOT_VERIFIED)) == []


class TestATnAuthList:
    def test_gives_its_codes_in_capitals_each_once(self) -> None:
        assert codes_of(tn_auth_list("709J")) == ("709J",)
        assert codes_of(tn_auth_list("709j", "1234", "709J")) == ("709J", "1234")

    def test_of_numbers_alone_has_no_codes(self) -> None:
        number = b"12025550143"
        one = bytes([0xA2, len(number) + 2, 0x16, len(number)]) + number
        assert codes_of(bytes([0x30, len(one)]) + one) == ()
        start = bytes([0x16, len(number)]) + number + b"\x02\x01\x0a"
        many = bytes([0xA1, len(start) + 2, 0x30, len(start)]) + start
        assert codes_of(bytes([0x30, len(many)]) + many) == ()

    @pytest.mark.parametrize(
        "der",
        [b"", b"\x30", b"\x04\x00", tn_auth_list("709J") + b"\0", tn_auth_list("7 9"), tn_auth_list("A" * 16)],
    )
    def test_that_is_none_is_refused(self, der: bytes) -> None:
        with pytest.raises(SignerError):
            codes_of(der)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda b: bytes([0x30, len(b)]) + b))
    def test_is_read_or_refused_whatever_the_bytes(self, der: bytes) -> None:
        with contextlib.suppress(SignerError):
            assert all(code.isalnum() for code in codes_of(der))


class TestAFile:
    def test_gives_its_certificates_each_once(self) -> None:
        assert read_pem(BIRCH.pem + BETWEEN.pem + BIRCH.pem) == [BIRCH.der, BETWEEN.der]
        assert read_pem(pem_of([BIRCH.der, BETWEEN.der])) == [BIRCH.der, BETWEEN.der]

    @pytest.mark.parametrize(
        ("pem", "why"),
        [
            (b"", "no certificates"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificates"),
            (BETWEEN.pem + issue("no codes", BETWEEN).pem, "certificate 2: it has no TNAuthList"),
            (issue("bad codes", BETWEEN, codes=b"\x04\x00").pem, "TNAuthList is none"),
            (issue("RSA", BETWEEN, codes=tn_auth_list("1"), key=rsa_key()).pem, "no P-256 key"),
        ],
    )
    def test_without_a_signer_is_refused(self, pem: bytes, why: str) -> None:
        with pytest.raises(SignerError, match=why):
            read_pem(pem)

    def test_of_roots_holds_authorities_alone(self) -> None:
        assert read_roots(ROOT.pem) == [ROOT.certificate]
        for pem in (b"", BIRCH.pem, ROOT.pem + BIRCH.pem):
            with pytest.raises(SignerError):
                read_roots(pem)

    @settings(max_examples=60, deadline=None)
    @given(
        st.binary(max_size=200)
        | st.integers(0, len(BIRCH.pem) - 1).map(lambda at: BIRCH.pem[:at] + BIRCH.pem[at + 1 :])
    )
    def test_is_read_or_refused_whatever_the_bytes(self, pem: bytes) -> None:
        with contextlib.suppress(SignerError):
            assert read_pem(pem)

    @pytest.mark.filterwarnings("ignore")  # of the library, about names and serial numbers that are bent
    @settings(max_examples=80, deadline=None)
    @given(st.data())
    def test_bent_certificates_on_the_shelf_verify_nothing(self, data: st.DataObject) -> None:
        """Neither the signer's nor the authority's: what differs in what is signed leads to no root."""
        ders = [bytearray(BIRCH.der), bytearray(BETWEEN.der)]
        bent = data.draw(st.sampled_from(ders))
        bent[data.draw(st.integers(0, len(bent) - 1))] ^= data.draw(st.integers(1, 255))
        revoked = Revoked("there is none", T0)
        found = Shelf(map(bytes, ders), [ROOT.certificate], revoked).judge(HEADER, T0)
        if found.grade is Grade.VERIFIED:
            signed = [x509.load_der_x509_certificate(bytes(der)).tbs_certificate_bytes for der in ders]
            assert signed == [one.certificate.tbs_certificate_bytes for one in (BIRCH, BETWEEN)]

    def test_certificates_that_say_nothing_are_passed_over_on_the_shelf(self) -> None:
        assert Shelf([b"", b"junk", BETWEEN.der, BIRCH.der]).judge(HEADER).grade is Grade.CHAIN_UNKNOWN
