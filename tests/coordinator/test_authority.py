"""The issuing authority: two operators let a provider in, a token works once, and what is revoked counts no more."""

from __future__ import annotations

import contextlib
import json
import stat
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.authority.authority import MOST_A_DAY, Authority, NotGrantedError
from coordinator.authority.issuing import Purpose, RequestError, issue, requested_key
from coordinator.authority.issuing_key import AuthorityError, read_issuer
from coordinator.authority.ledger import Ledger
from coordinator.authority.operators import Signed, StatementError, Token, from_json, to_json
from coordinator.callers import Role
from protos.certificates import CertificateError, PinnedRoots
from protos.identity import InvalidIdentityError, parse_provider_id
from protos.key_pairs import key_pem, new_evidence_key, new_tls_key, signing_request
from protos.renewal import Life, due_at
from protos.revocation import RevocationError, Revocations, read_revocation_list
from protos.signing import Domain, Signer
from tests.coordinator.authorities import CAROL, DAVE, ERIN, OPERATORS, START, Requests, TestedAuthority, leaf, uris_of

BIRCH = "hopback://provider/birch"


@pytest.fixture
def office(tmp_path: Path) -> TestedAuthority:
    return TestedAuthority(tmp_path / "authority")


def enrol(office: TestedAuthority, token: str) -> tuple[x509.Certificate, x509.Certificate]:
    wants = Requests()
    pair = office.authority.enrol(token, wants.tls, wants.evidence, office.now)
    return leaf(pair.tls), leaf(pair.evidence)


def renew(
    office: TestedAuthority, certificate: x509.Certificate, uris: list[str] | None = None
) -> tuple[x509.Certificate, x509.Certificate]:
    wants = Requests()
    shown = uris_of(certificate) if uris is None else uris
    pair = office.authority.renew(shown, certificate.serial_number, wants.tls, wants.evidence, office.now)
    return leaf(pair.tls), leaf(pair.evidence)


@pytest.mark.parametrize("lifetime", [timedelta(hours=1), timedelta(days=30)])
def test_a_certificate_is_not_due_for_renewal_when_it_is_issued(office: TestedAuthority, lifetime: timedelta) -> None:
    key = Requests().tls_key.public_key()
    made = issue(office.issuer, "hopback://provider/birch", key, Purpose.TLS, office.now, lifetime)
    life = Life(made.not_valid_before_utc, made.not_valid_after_utc)
    assert office.now - timedelta(hours=1) <= life.valid_from < office.now  # clocks that are a little behind take it
    assert due_at([life], Random(1)) >= office.now + lifetime / 4


class TestAToken:
    def test_that_two_operators_granted_gives_certificates_of_that_provider(self, office: TestedAuthority) -> None:
        tls, evidence = enrol(office, office.token("birch"))
        assert uris_of(tls) == uris_of(evidence) == [BIRCH]
        names = tls.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["birch.provider.hopback.internal"]

    def test_is_good_once(self, office: TestedAuthority) -> None:
        token = office.token()
        enrol(office, token)
        with pytest.raises(NotGrantedError, match="used"):
            enrol(office, token)

    def test_is_good_for_600_seconds_at_most(self, office: TestedAuthority) -> None:
        token = office.token()
        office.now += timedelta(seconds=590)
        with pytest.raises(NotGrantedError, match="expired"):
            enrol(office, token)

    def test_that_would_live_longer_is_not_granted(self, office: TestedAuthority) -> None:
        _token, signed = office.invited()
        longer = replace(signed.statement, expires=office.now + timedelta(seconds=601))
        with pytest.raises(NotGrantedError, match="longer than 600 s"):
            office.authority.grant(Signed(longer).by("carol", CAROL).by("dave", DAVE), office.now)

    def test_that_nobody_granted_gives_nothing(self, office: TestedAuthority) -> None:
        token, _ = office.invited()
        with pytest.raises(NotGrantedError, match="nobody granted"):
            enrol(office, token)

    @pytest.mark.parametrize(
        ("signers", "why"),
        [
            ([("carol", CAROL)], "good signatures of different operators: 1"),
            ([("carol", CAROL), ("dave", CAROL)], "good signatures of different operators: 1"),
            ([("carol", CAROL), ("erin", ERIN)], "not among the configured operators: erin"),
            ([("carol", CAROL), ("dave", ERIN)], "good signatures of different operators: 1"),
            ([("carol", DAVE), ("dave", CAROL)], "good signatures of different operators: 0"),
        ],
        ids=["one operator", "one operator twice", "a stranger", "in another's name", "names swapped"],
    )
    def test_needs_two_different_operators(
        self, office: TestedAuthority, signers: list[tuple[str, Signer]], why: str
    ) -> None:
        token, signed = office.invited("birch", *signers)
        with pytest.raises(NotGrantedError, match=why):
            office.authority.grant(signed, office.now)
        with pytest.raises(NotGrantedError):
            enrol(office, token)

    def test_needs_two_keys_whatever_names_they_have(self, office: TestedAuthority) -> None:
        office.authority = Authority(office.issuer, office.ledger, {"carol": CAROL.public, "dave": CAROL.public})
        _, signed = office.invited("birch", ("carol", CAROL), ("dave", CAROL))
        with pytest.raises(NotGrantedError, match="good signatures of different operators: 1"):
            office.authority.grant(signed, office.now)

    def test_is_for_the_provider_that_both_signed_for(self, office: TestedAuthority) -> None:
        _, signed = office.invited("birch")
        other = replace(signed, statement=replace(signed.statement, provider=parse_provider_id("alder")))
        with pytest.raises(NotGrantedError, match="good signatures of different operators: 0"):
            office.authority.grant(other, office.now)

    def test_does_not_count_by_signatures_for_something_else(self, office: TestedAuthority) -> None:
        _token, signed = office.invited("birch", ("carol", CAROL))
        seal, _ = DAVE.seal(Domain.ORDER, [signed.statement.exact])
        forged = replace(signed, signatures=(*signed.signatures, ("dave", seal)))
        with pytest.raises(NotGrantedError):
            office.authority.grant(forged, office.now)

    def test_is_kept_by_its_digest_alone(self, office: TestedAuthority) -> None:
        token = office.token()
        enrol(office, token)
        assert not [file for file in office.directory.iterdir() if token.encode() in file.read_bytes()]

    def test_cannot_be_granted_again(self, office: TestedAuthority) -> None:
        _, signed = office.invited()
        office.authority.grant(signed, office.now)
        with pytest.raises(AuthorityError, match="granted already"):
            office.authority.grant(signed, office.now)

    def test_of_two_who_come_with_it_at_once_one_gets_in(self, office: TestedAuthority) -> None:
        token = office.token()
        other = Authority(office.issuer, Ledger(office.directory / "ledger.db"), OPERATORS)
        wants, granted = Requests(), office.ledger.token
        digest_seen: list[bytes] = []

        def at_the_same_time(digest: bytes) -> object:
            found = granted(digest)
            if not digest_seen:
                digest_seen.append(digest)
                other.enrol(token, wants.tls, wants.evidence, office.now)
            return found

        office.ledger.token = at_the_same_time  # type: ignore[method-assign,assignment]
        with pytest.raises(NotGrantedError, match="used"):
            enrol(office, token)
        assert len(office.ledger.certificates(BIRCH)) == 2


class TestAnInvitationFile:
    def test_reads_as_it_was_written(self, office: TestedAuthority) -> None:
        _, signed = office.invited()
        assert from_json(to_json(signed)) == signed

    @pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"what": "enrolment token"}', '{"sha256": 5}'])
    def test_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(StatementError):
            from_json(text)

    @settings(max_examples=100, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(["what", "provider", "sha256", "expires", "signatures"]),
            st.one_of(
                st.none(), st.text(max_size=20), st.integers(), st.just("enrolment token"), st.just("birch"),
                st.just("00" * 32), st.just("2026-11-22T12:00:00Z"),
                st.lists(st.dictionaries(st.sampled_from(["operator", "seal"]), st.text(max_size=12)), max_size=2),
            ),
        )
    )  # fmt: skip
    def test_holds_a_statement_or_is_refused(self, said: dict[str, object]) -> None:
        with contextlib.suppress(StatementError):
            assert isinstance(from_json(json.dumps(said)).statement, Token)


class TestASigningRequest:
    def test_that_proves_possession_is_granted_its_key(self) -> None:
        wants = Requests()
        assert requested_key(wants.tls, Purpose.TLS) == wants.tls_key.public_key()
        assert requested_key(wants.evidence, Purpose.EVIDENCE) == wants.evidence_key.public_key()

    def test_with_a_bad_signature_is_refused_and_leaves_the_token_good(self, office: TestedAuthority) -> None:
        token, wants = office.token(), Requests()
        altered = bytearray(wants.tls)
        altered[-1] ^= 1
        with pytest.raises(RequestError):
            office.authority.enrol(token, bytes(altered), wants.evidence, office.now)
        assert uris_of(enrol(office, token)[0]) == [BIRCH]

    def test_for_a_key_that_somebody_else_has_is_refused(self) -> None:
        wanted, own = new_tls_key(), new_tls_key()
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(own, hashes.SHA256())
        theirs = wanted.public_key().public_bytes(Encoding.X962, _POINT)
        ours = own.public_key().public_bytes(Encoding.X962, _POINT)
        forged = request.public_bytes(Encoding.DER).replace(ours, theirs)
        with pytest.raises(RequestError, match="not signed with the key"):
            requested_key(forged, Purpose.TLS)

    @pytest.mark.parametrize("purpose", Purpose)
    def test_with_a_key_of_another_kind_is_refused(self, purpose: Purpose) -> None:
        key = new_evidence_key() if purpose is Purpose.TLS else new_tls_key()
        with pytest.raises(RequestError, match="must be"):
            requested_key(signing_request(key), purpose)

    def test_with_another_curve_is_refused(self) -> None:
        with pytest.raises(RequestError, match="P-256"):
            requested_key(signing_request(ec.generate_private_key(ec.SECP384R1())), Purpose.TLS)

    def test_that_names_another_provider_gets_the_tokens_all_the_same(self, office: TestedAuthority) -> None:
        key, wants = new_tls_key(), Requests()
        names = x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier("hopback://provider/alder"), x509.DNSName("alder.example")]
        )
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alder")]))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        token = office.token("birch")
        pair = office.authority.enrol(token, request.public_bytes(Encoding.DER), wants.evidence, office.now)
        got = leaf(pair.tls)
        assert uris_of(got) == [BIRCH]
        assert "alder" not in got.subject.rfc4514_string()
        assert not got.extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(max_size=200), st.integers(0, 400), st.sampled_from(list(Purpose)))
    def test_is_granted_or_refused_whatever_its_bytes(self, junk: bytes, at: int, purpose: Purpose) -> None:
        sound = _SOUND.tls if purpose is Purpose.TLS else _SOUND.evidence
        for hostile in (junk, sound[:at] + junk + sound[at + len(junk) :]):
            with contextlib.suppress(RequestError):
                requested_key(hostile, purpose)


_SOUND = Requests()
_POINT = PublicFormat.UncompressedPoint


class TestACertificate:
    def test_lives_30_days_and_never_longer_than_the_root(self, office: TestedAuthority) -> None:
        tls, evidence = enrol(office, office.token())
        assert tls.not_valid_after_utc == evidence.not_valid_after_utc == START + timedelta(days=30)
        office.now = START + timedelta(days=990)
        tls, _ = enrol(office, office.token())
        assert tls.not_valid_after_utc == office.issuer.certificate.not_valid_after_utc

    def test_for_evidence_counts_as_evidence_and_the_one_for_tls_does_not(self, office: TestedAuthority) -> None:
        tls, evidence = enrol(office, office.token())
        pinned = PinnedRoots([office.issuer.certificate])
        assert pinned.certified(evidence.public_bytes(Encoding.DER)).uri == BIRCH
        with pytest.raises(CertificateError):
            pinned.certified(tls.public_bytes(Encoding.DER))


class TestRenewal:
    def test_gives_new_certificates_of_the_same_party(self, office: TestedAuthority) -> None:
        first, _ = enrol(office, office.token())
        office.now += timedelta(days=15)
        second, evidence = renew(office, first)
        assert uris_of(second) == uris_of(evidence) == [BIRCH]
        assert second.serial_number != first.serial_number

    def test_can_be_repeated_with_the_old_certificate_when_the_answer_was_lost(self, office: TestedAuthority) -> None:
        first, _ = enrol(office, office.token())
        renew(office, first)
        assert uris_of(renew(office, first)[0]) == [BIRCH]

    @pytest.mark.parametrize("uris", [[], ["hopback://provider/alder"], [BIRCH, "hopback://provider/alder"]])
    def test_is_for_the_party_of_the_certificate_alone(self, office: TestedAuthority, uris: list[str]) -> None:
        first, _ = enrol(office, office.token())
        with pytest.raises(NotGrantedError):
            renew(office, first, uris)

    def test_is_refused_to_an_expired_certificate(self, office: TestedAuthority) -> None:
        first, _ = enrol(office, office.token())
        office.now += timedelta(days=30)
        with pytest.raises(NotGrantedError, match="expired"):
            renew(office, first)

    def test_is_refused_to_a_revoked_certificate(self, office: TestedAuthority) -> None:
        first, _ = enrol(office, office.token())
        office.authority.revoke_serial(first.serial_number, "synthetic", office.now)
        with pytest.raises(NotGrantedError, match="revoked"):
            renew(office, first)

    def test_is_refused_when_it_is_revoked_in_the_same_moment(self, office: TestedAuthority) -> None:
        first, _ = enrol(office, office.token())
        note = office.ledger.note

        def after_revocation(*arguments: object, **named: object) -> bool:
            office.ledger.revoke([first.serial_number], "synthetic", office.now)
            return note(*arguments, **named)  # type: ignore[arg-type]

        office.ledger.note = after_revocation  # type: ignore[method-assign]
        with pytest.raises(NotGrantedError, match="revoked"):
            renew(office, first)
        assert len(office.ledger.certificates(BIRCH)) == 2

    def test_is_refused_to_a_certificate_for_evidence(self, office: TestedAuthority) -> None:
        _, evidence = enrol(office, office.token())
        with pytest.raises(NotGrantedError, match="did not issue"):
            renew(office, evidence)

    def test_is_refused_to_another_authoritys_certificate(self, office: TestedAuthority, tmp_path: Path) -> None:
        stranger = TestedAuthority(tmp_path / "stranger")
        first, _ = enrol(stranger, stranger.token())
        with pytest.raises(NotGrantedError, match="did not issue"):
            renew(office, first)

    def test_ends_after_so_many_in_a_day(self, office: TestedAuthority) -> None:
        first, _ = enrol(office, office.token())
        for _ in range(MOST_A_DAY // 2 - 1):
            renew(office, first)
        with pytest.raises(NotGrantedError, match="in a day"):
            renew(office, first)
        office.now += timedelta(days=1, seconds=1)
        renew(office, first)


class TestAPerson:
    def test_is_certified_in_one_role_for_tls_alone_and_it_stands_in_the_ledger(self, office: TestedAuthority) -> None:
        made = leaf(office.authority.certify(Role.ANALYST, "ada", Requests().tls, "carol", office.now))
        assert uris_of(made) == ["hopback://analyst/ada"]
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["ada.analyst.hopback.internal"]
        [noted] = office.ledger.certificates("hopback://analyst/ada", office.now)
        assert (noted.serial, noted.basis, noted.purpose) == (made.serial_number, "operator:carol", Purpose.TLS)

    def test_is_not_certified_as_a_provider_nor_for_a_key_of_another_kind(self, office: TestedAuthority) -> None:
        with pytest.raises(NotGrantedError, match="token"):
            office.authority.certify(Role.PROVIDER, "birch", Requests().tls, "carol", office.now)
        with pytest.raises(RequestError):
            office.authority.certify(Role.ANALYST, "ada", Requests().evidence, "carol", office.now)
        with pytest.raises(InvalidIdentityError):
            office.authority.certify(Role.ANALYST, "Ada/x", Requests().tls, "carol", office.now)
        assert office.ledger.certificates(None, office.now) == []

    def test_gets_no_other_certificate_by_renewing(self, office: TestedAuthority) -> None:
        made = leaf(office.authority.certify(Role.ANALYST, "ada", Requests().tls, "carol", office.now))
        with pytest.raises(NotGrantedError, match="not renewed"):
            renew(office, made)


class TestRevocation:
    def taken(self, office: TestedAuthority) -> Revocations:
        revocations = Revocations([office.issuer.certificate])
        revocations.take(office.authority.revocation_list(office.now), office.now)
        return revocations

    def test_by_serial_number_is_on_the_list_and_nothing_else_is(self, office: TestedAuthority) -> None:
        tls, evidence = enrol(office, office.token())
        assert office.authority.revoke_serial(tls.serial_number, "synthetic", office.now) == 1
        revocations = self.taken(office)
        assert revocations.problem(tls.serial_number, office.now) == "its certificate is revoked"
        assert revocations.problem(evidence.serial_number, office.now) is None

    def test_by_party_covers_all_its_certificates_and_open_tokens(self, office: TestedAuthority) -> None:
        mine, other = enrol(office, office.token()), enrol(office, office.token("alder"))
        renewed, open_token = renew(office, mine[0]), office.token()
        assert office.authority.revoke_party(BIRCH, "synthetic", office.now) == 4
        revocations = self.taken(office)
        assert all(revocations.problem(each.serial_number, office.now) for each in (*mine, *renewed))
        assert not any(revocations.problem(each.serial_number, office.now) for each in other)
        with pytest.raises(NotGrantedError, match="withdrawn"):
            enrol(office, open_token)

    def test_lets_the_party_in_again_by_a_new_token_alone(self, office: TestedAuthority) -> None:
        first, _ = enrol(office, office.token())
        office.authority.revoke_party(BIRCH, "synthetic", office.now)
        with pytest.raises(NotGrantedError):
            renew(office, first)
        again, _ = enrol(office, office.token())
        assert self.taken(office).problem(again.serial_number, office.now) is None

    def test_of_what_was_never_issued_is_an_error(self, office: TestedAuthority) -> None:
        with pytest.raises(AuthorityError, match="issued no certificate"):
            office.authority.revoke_serial(12345, "synthetic", office.now)

    def test_twice_counts_once(self, office: TestedAuthority) -> None:
        tls, _ = enrol(office, office.token())
        office.authority.revoke_serial(tls.serial_number, "synthetic", office.now)
        assert office.authority.revoke_serial(tls.serial_number, "again", office.now) == 0

    def test_list_is_the_same_until_something_changes_or_it_is_old(self, office: TestedAuthority) -> None:
        tls, _ = enrol(office, office.token())
        first = office.authority.revocation_list(office.now)
        assert office.authority.revocation_list(office.now) == first
        office.authority.revoke_serial(tls.serial_number, "synthetic", office.now)
        second = office.authority.revocation_list(office.now)
        office.now += timedelta(hours=6)
        third = office.authority.revocation_list(office.now)
        roots = [office.issuer.certificate]
        assert [read_revocation_list(each, roots).number for each in (first, second, third)] == [1, 2, 3]

    def test_list_forgets_what_has_expired_by_itself(self, office: TestedAuthority) -> None:
        tls, _ = enrol(office, office.token())
        office.authority.revoke_serial(tls.serial_number, "synthetic", office.now)
        office.now += timedelta(days=31)
        listed = read_revocation_list(office.authority.revocation_list(office.now), [office.issuer.certificate])
        assert listed.serials == frozenset()

    def test_list_of_another_authority_does_not_count(self, office: TestedAuthority, tmp_path: Path) -> None:
        stranger = TestedAuthority(tmp_path / "stranger")
        with pytest.raises(RevocationError, match="no pinned root"):
            read_revocation_list(stranger.authority.revocation_list(START), [office.issuer.certificate])


class TestTheIssuingKey:
    def test_is_read_from_a_file_that_nobody_else_can_read(self, office: TestedAuthority) -> None:
        assert read_issuer(office.root_file, office.key_file, START).key.public_key() == office.key.public_key()
        office.key_file.chmod(0o640)
        with pytest.raises(AuthorityError, match="chmod 600"):
            read_issuer(office.root_file, office.key_file, START)

    def test_is_never_the_evidence_key(self, office: TestedAuthority) -> None:
        office.key_file.write_bytes(key_pem(new_evidence_key()))
        with pytest.raises(AuthorityError, match="evidence key"):
            read_issuer(office.root_file, office.key_file, START)

    def test_must_be_that_of_the_root(self, office: TestedAuthority) -> None:
        office.key_file.write_bytes(key_pem(new_tls_key()))
        with pytest.raises(AuthorityError, match="is not the key of"):
            read_issuer(office.root_file, office.key_file, START)

    def test_issues_nothing_by_a_certificate_that_may_not(self, office: TestedAuthority) -> None:
        tls, _ = enrol(office, office.token())
        office.root_file.write_bytes(tls.public_bytes(Encoding.PEM))
        with pytest.raises(AuthorityError, match="may not issue"):
            read_issuer(office.root_file, office.key_file, START)

    def test_issues_nothing_once_the_root_has_expired(self, office: TestedAuthority) -> None:
        with pytest.raises(AuthorityError, match="make a new authority"):
            read_issuer(office.root_file, office.key_file, START + timedelta(days=1001))

    def test_may_be_held_by_a_command_that_signs(self, office: TestedAuthority) -> None:
        issuer = read_issuer(office.root_file, signing_command(office.directory, office.key_file), START)
        office.authority = Authority(issuer, office.ledger, OPERATORS)
        tls, evidence = enrol(office, office.token())
        tls.verify_directly_issued_by(office.issuer.certificate)
        evidence.verify_directly_issued_by(office.issuer.certificate)
        office.authority.revoke_serial(tls.serial_number, "synthetic", START)
        listed = read_revocation_list(office.authority.revocation_list(START), [office.issuer.certificate])
        assert listed.serials == {tls.serial_number}

    def test_of_a_command_that_signs_with_another_key_issues_nothing(self, office: TestedAuthority) -> None:
        other = office.directory / "other.key"
        other.write_bytes(key_pem(new_tls_key()))
        issuer = read_issuer(office.root_file, signing_command(office.directory, other), START)
        office.authority = Authority(issuer, office.ledger, OPERATORS)
        token = office.token()
        with pytest.raises(AuthorityError, match="no signature of the authority's key"):
            enrol(office, token)
        assert office.ledger.certificates() == []

    @pytest.mark.parametrize(
        ("command", "why"),
        [(["/nonexistent/hopback-sign"], "can't be run"), (["false"], "exit code 1"), (["true"], "no signature")],
    )
    def test_of_a_command_that_fails_issues_nothing_and_leaves_the_token_good(
        self, office: TestedAuthority, command: list[str], why: str
    ) -> None:
        token = office.token()
        broken = Authority(read_issuer(office.root_file, command, START), office.ledger, OPERATORS)
        wants = Requests()
        with pytest.raises(AuthorityError, match=why):
            broken.enrol(token, wants.tls, wants.evidence, START)
        assert uris_of(enrol(office, token)[0]) == [BIRCH]


def signing_command(directory: Path, key: Path) -> list[str]:
    """A command as one in front of an HSM would be."""
    script = directory / "sign.py"
    script.write_text(
        "import sys\n"
        "from cryptography.hazmat.primitives import hashes, serialization\n"
        "from cryptography.hazmat.primitives.asymmetric import ec\n"
        "key = serialization.load_pem_private_key(open(sys.argv[1], 'rb').read(), None)\n"
        "sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))\n"
    )
    return [sys.executable, str(script), str(key)]


class TestTheLedger:
    def test_is_private_and_is_not_made_twice(self, office: TestedAuthority) -> None:
        file = office.directory / "ledger.db"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with pytest.raises(AuthorityError, match="can't be made"):
            Ledger.create(file)

    def test_that_is_missing_or_of_another_version_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AuthorityError, match="authority init"):
            Ledger(tmp_path / "none.db")
        (tmp_path / "other.db").write_bytes(b"")
        with pytest.raises(AuthorityError, match="version 0"):
            Ledger(tmp_path / "other.db")

    def test_remembers_by_what_right_everything_was_issued(self, office: TestedAuthority) -> None:
        first, _ = enrol(office, office.token())
        renew(office, first)
        bases = {each.basis.partition(" ")[0] for each in Ledger(office.directory / "ledger.db").certificates(BIRCH)}
        assert bases == {"token", "renewal"}
