"""The STI-PA's list: which one counts, whom it names, and what that says of a call of some time."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.stir.certificates import Grade, Judged, Shelf
from coordinator.stir.passport import parse_identity
from coordinator.stir.revocation import (
    LARGEST_LIST,
    NO_LIST,
    ListError,
    Revocation,
    Revoked,
    State,
    StiList,
    read_list,
    read_pinned,
)
from tests.coordinator.make import T0
from tests.coordinator.stir.sti import (
    FROM,
    UNTIL,
    Holder,
    entry,
    identity,
    indirect,
    issue,
    point,
    revocation_list,
    sti,
    sti_pa,
    tn_auth_list,
)

Reason = x509.ReasonFlags
ROOT, BETWEEN, PA = sti().root, sti().between, sti_pa()
BIRCH, ALDER = sti().signer(), sti().signer("alder", "111A")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAMED = entry(BIRCH, T0 - DAY)
GOOD = revocation_list(NAMED, entry(ALDER, T0))


def read(data: bytes, *pinned: Holder) -> StiList:
    return read_list(data, [one.certificate for one in pinned or (PA,)])


def found(
    *entries: x509.RevokedCertificate, of: Holder = BIRCH, at: datetime = T0, now: datetime = T0 + HOUR, **said: object
) -> Revocation:
    """What a list of these entries says of a signer's certificate."""
    known = read(revocation_list(*entries, **said))  # type: ignore[arg-type]
    return Revoked(known, now).of([one.certificate for one in (of, BETWEEN, ROOT)], at)


class TestAList:
    def test_counts_by_the_signature_of_a_pinned_certificate(self) -> None:
        known = read(revocation_list(NAMED), ROOT, PA)
        assert (known.issuer, known.number, known.issued) == (PA.certificate.subject, 7, T0)
        assert known.due == T0 + 2 * DAY
        assert len(known.entries) == 1

    def test_may_be_in_pem_form(self) -> None:
        pem = x509.load_der_x509_crl(revocation_list(NAMED)).public_bytes(Encoding.PEM)
        assert read(pem) == read(revocation_list(NAMED))

    @pytest.mark.parametrize(
        "by",
        [
            ROOT,
            Holder(PA.certificate, ROOT.key),
            issue("STI-PA CRL", codes=tn_auth_list("1")),
            issue("STI-PA CRL", authority=True, until=T0 - HOUR),
        ],
        ids=["another name", "another key", "not to sign lists", "expired"],
    )
    def test_of_nobody_who_is_pinned_for_lists_is_refused(self, by: Holder) -> None:
        pinned = PA if by is ROOT else by
        with pytest.raises(ListError, match="no certificate that is pinned"):
            read(revocation_list(by=by), pinned)

    def test_with_no_pin_is_refused(self) -> None:
        with pytest.raises(ListError, match="no certificate that is pinned"):
            read_list(revocation_list(), [])

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", "no revocation list"),
            (BIRCH.der, "no revocation list"),
            (GOOD.replace(b"\x02\x01\x01", b"\x02\x01\x00", 1), "no revocation list"),
            (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "no revocation list"),
            (b"\x30" * (LARGEST_LIST + 1), "too large"),
            (revocation_list(of=indirect(indirect_crl=False)), "not indirect"),
            (revocation_list(of=indirect(only_contains_ca_certs=True)), "all signers' certificates"),
            (revocation_list(of=indirect(only_contains_attribute_certs=True)), "all signers' certificates"),
            (
                revocation_list(of=indirect(only_some_reasons=frozenset({Reason.key_compromise}))),
                "not of every reason",
            ),
            (revocation_list(further=x509.DeltaCRLIndicator(6)), "a delta"),
            (
                revocation_list(further=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")),
                "critical extension",
            ),
            (
                revocation_list(
                    entry(BIRCH, T0, x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"))
                ),
                "an entry has a critical extension",
            ),
            (revocation_list(entry(BIRCH, T0, reason=Reason.remove_from_crl)), "takes another one back"),
            (
                revocation_list(entry(BIRCH, T0, x509.CertificateIssuer([x509.DNSName("sti.example")]), by=False)),
                "no name",
            ),
        ],
    )
    def test_that_is_none_or_tells_only_a_part_is_refused(self, data: bytes, why: str) -> None:
        with pytest.raises(ListError, match=why):
            read(data)

    def test_by_a_weak_algorithm_is_refused(self) -> None:
        data = revocation_list(algorithm=hashes.SHA224())
        with pytest.raises(ListError, match="no certificate that is pinned"):
            read(data)

    @settings(max_examples=80, deadline=None)
    @given(st.data())
    def test_with_a_bent_byte_is_refused_or_says_the_same(self, data: st.DataObject) -> None:
        """The same: how many bits of the last byte of a signature don't count stands outside what is signed."""
        good = bytearray(GOOD)
        good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
        with contextlib.suppress(ListError):
            assert read(bytes(good)) == read(GOOD)

    @settings(max_examples=80, deadline=None)
    @given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda some: b"-----BEGIN X509 CRL-----\n" + some))
    def test_is_read_or_refused_whatever_the_bytes(self, data: bytes) -> None:
        with pytest.raises(ListError):
            read(data)

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(["2.5.29.21", "2.5.29.24", "2.5.29.27", "2.5.29.29", "2.5.29.46"]), st.binary(max_size=12))
    def test_that_is_signed_is_read_or_refused_whatever_is_in_an_extension(self, oid: str, junk: bytes) -> None:
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), junk)
        for data in (revocation_list(entry(BIRCH, T0, odd, by=False, reason=None)), revocation_list(further=odd)):
            with contextlib.suppress(ListError):
                assert read(data).issuer == PA.certificate.subject


class TestWhoSignsLists:
    def test_is_pinned_in_a_pem_file(self) -> None:
        assert read_pinned(PA.pem + ROOT.pem) == [PA.certificate, ROOT.certificate]

    @pytest.mark.parametrize(("pem", "why"), [(b"", "no certificates"), (PA.pem + BIRCH.pem, "may not sign lists")])
    def test_is_nobody_else(self, pem: bytes, why: str) -> None:
        with pytest.raises(ListError, match=why):
            read_pinned(pem)


class TestAnEntry:
    def test_is_of_the_issuer_that_it_names(self) -> None:
        assert found(NAMED).state is State.REVOKED_BEFORE
        assert found(entry(BIRCH, T0 - DAY, by=ROOT.certificate.subject)).state is State.NOT_REVOKED

    def test_is_of_the_issuer_that_the_nearest_one_above_it_names(self) -> None:
        """RFC 5280 5.3.3: the extension is inherited from entry to entry."""
        other = issue("Other", issue("Other CA", authority=True))
        below = entry(BIRCH, T0 - DAY, by=False)
        assert found(entry(ALDER, T0), below).state is State.REVOKED_BEFORE
        assert found(entry(ALDER, T0), entry(other, T0), below).state is State.NOT_REVOKED
        assert found(entry(other, T0), entry(ALDER, T0), below).state is State.REVOKED_BEFORE

    def test_is_of_the_list_s_own_issuer_where_none_above_it_names_any(self) -> None:
        assert found(entry(BIRCH, T0 - DAY, by=False)).state is State.NOT_REVOKED
        own = issue("SHAKEN birch", PA, codes=tn_auth_list("709J"), told_by=point())
        assert found(entry(own, T0 - DAY, by=False), of=own).state is State.REVOKED_BEFORE

    def test_names_an_issuer_whatever_the_case_and_the_spaces(self) -> None:
        """RFC 5280 7.1."""
        name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, " sti  ca ")])
        assert found(entry(BIRCH, T0 - DAY, by=name)).state is State.REVOKED_BEFORE

    def test_counts_by_the_earliest_where_a_certificate_is_named_twice(self) -> None:
        assert found(entry(BIRCH, T0 + HOUR), entry(BIRCH, T0 - DAY)).state is State.REVOKED_BEFORE


class TestACertificate:
    def test_that_the_list_doesn_t_name_is_not_revoked(self) -> None:
        told = found(entry(ALDER, T0 - DAY))
        assert told.state is State.NOT_REVOKED
        assert told.words == f"the signer's certificate is not revoked, by the list of {T0:%Y-%m-%d %H:%M} UTC"

    @pytest.mark.parametrize("reason", [Reason.key_compromise, Reason.superseded, Reason.certificate_hold, None])
    def test_revoked_before_the_call_says_when_and_why(self, reason: Reason | None) -> None:
        told = found(entry(BIRCH, T0 - HOUR, reason=reason))
        assert told.state is State.REVOKED_BEFORE
        assert "was revoked before the call, on " in told.words
        assert ("key compromise" in told.words) == told.stolen == (reason is Reason.key_compromise)

    def test_revoked_at_the_second_of_the_call_was_revoked_then(self) -> None:
        assert found(entry(BIRCH, T0)).state is State.REVOKED_BEFORE
        assert found(entry(BIRCH, T0 + timedelta(seconds=1))).state is State.REVOKED_SINCE

    def test_revoked_since_counted_when_the_call_was_made(self) -> None:
        told = found(entry(BIRCH, T0 + HOUR, reason=Reason.cessation_of_operation))
        assert (told.state, told.stolen) == (State.REVOKED_SINCE, False)
        assert "was revoked since the call, on " in told.words
        assert "cessation of operation" in told.words

    def test_revoked_since_for_a_stolen_key_may_have_been_a_thief_s_already(self) -> None:
        told = found(entry(BIRCH, T0 + HOUR))
        assert (told.state, told.stolen) == (State.REVOKED_SINCE, True)
        assert told.words.endswith("since when the key was in other hands is not said")

    def test_revoked_since_with_effect_from_before_the_call_was_revoked_then(self) -> None:
        told = found(entry(BIRCH, T0 + HOUR, invalid=T0 - DAY))
        assert (told.state, told.stolen) == (State.REVOKED_BEFORE, True)
        assert f"with effect from {T0 - DAY:%Y-%m-%d %H:%M} UTC, before the call" in told.words

    def test_revoked_since_with_effect_from_after_the_call_was_nobody_else_s_then(self) -> None:
        told = found(entry(BIRCH, T0 + DAY, invalid=T0 + HOUR), now=T0 + DAY)
        assert (told.state, told.stolen) == (State.REVOKED_SINCE, False)
        assert f"with effect from {T0 + HOUR:%Y-%m-%d %H:%M} UTC" in told.words

    def test_counts_no_more_than_the_authority_above_it(self) -> None:
        told = found(entry(BETWEEN, T0 - DAY, reason=Reason.ca_compromise))
        assert told.state is State.REVOKED_BEFORE
        assert "an authority's certificate above the signer's" in told.words

    @settings(max_examples=60, deadline=None)
    @given(st.integers(-300, 300), st.none() | st.integers(-300, 300))
    def test_was_revoked_at_the_call_if_and_only_if_the_revocation_took_effect_by_then(
        self, revoked: int, invalid: int | None
    ) -> None:
        minute = timedelta(minutes=1)
        told = found(
            entry(BIRCH, T0 + revoked * minute, invalid=None if invalid is None else T0 + invalid * minute),
            now=T0 + DAY,
        )
        before = revoked <= 0 or (invalid is not None and invalid <= 0)
        assert told.state is (State.REVOKED_BEFORE if before else State.REVOKED_SINCE)


class TestNobodyKnows:
    def why(self, told: Revocation) -> str:
        assert told.state is State.UNKNOWN
        assert not told.stolen
        return told.words

    def test_without_a_list_that_counts(self) -> None:
        told = Revoked(NO_LIST, T0).of([BIRCH.certificate], T0)
        assert "names no list of revoked certificates" in self.why(told)

    def test_by_an_old_list_what_it_leaves_out_but_what_it_names_stays_revoked(self) -> None:
        late = T0 + 2 * DAY + timedelta(seconds=1)
        assert "is old: the next one was due on" in self.why(found(now=late))
        assert found(now=late - timedelta(seconds=1)).state is State.NOT_REVOKED
        assert found(NAMED, now=late).state is State.REVOKED_BEFORE

    def test_by_a_list_of_the_future(self) -> None:
        for entries in ((), (NAMED,)):
            assert "yet to come" in self.why(found(*entries, now=T0 - timedelta(minutes=6)))
        assert found(now=T0 - timedelta(minutes=4)).state is State.NOT_REVOKED

    @pytest.mark.parametrize(
        "told_by",
        [
            None,
            point(ROOT.certificate.subject),
            point(url="https://elsewhere.example.net/crl"),
            x509.DistributionPoint(
                None, None, frozenset({Reason.superseded}), [x509.DirectoryName(PA.certificate.subject)]
            ),
            x509.DistributionPoint([x509.UniformResourceIdentifier("https://sti.example.net")], None, None, None),
        ],
        ids=["none", "another issuer", "another place", "some reasons", "its own authority"],
    )
    def test_by_a_list_that_the_certificate_doesn_t_name_unless_that_one_names_it(
        self, told_by: x509.DistributionPoint | None
    ) -> None:
        own = sti().signer(told_by=told_by)
        assert "doesn't name the list at hand" in self.why(found(of=own))
        assert found(entry(own, T0 - DAY), of=own).state is State.REVOKED_BEFORE

    def test_by_its_issuer_alone_where_either_says_no_place(self) -> None:
        assert found(of=sti().signer(told_by=point(url=None))).state is State.NOT_REVOKED
        known = read(revocation_list(of=indirect(full_name=None)))
        assert Revoked(known, T0).of([BIRCH.certificate], T0).state is State.NOT_REVOKED

    def test_of_a_certificate_that_had_expired_when_the_list_was_made(self) -> None:
        after = UNTIL + HOUR
        known = read(revocation_list(issued=after), issue("STI-PA CRL", authority=True, until=UNTIL + DAY))
        told = Revoked(known, after).of([BIRCH.certificate], T0)
        assert "had expired" in self.why(told)


class TestAHeader:
    def judged(self, *entries: x509.RevokedCertificate, call: datetime | None = T0, issued: datetime = T0) -> Judged:
        revoked = Revoked(read(revocation_list(*entries, issued=T0 + DAY)), T0 + DAY)
        shelf = Shelf([BIRCH.der, BETWEEN.der], [ROOT.certificate], revoked)
        return shelf.judge(parse_identity(identity(BIRCH, issued=issued)).shaken, call)

    def test_stays_verified_by_a_certificate_that_is_not_revoked_or_only_since(self) -> None:
        for entries, state in (((), State.NOT_REVOKED), ([entry(BIRCH, T0 + HOUR)], State.REVOKED_SINCE)):
            told = self.judged(*entries)
            assert (told.grade, told.why) == (Grade.VERIFIED, "")
            assert told.revocation is not None
            assert told.revocation.state is state

    def test_is_vouched_for_by_nobody_when_the_certificate_was_revoked_then(self) -> None:
        told = self.judged(NAMED)
        assert told.grade is Grade.CHAIN_UNKNOWN
        assert "was revoked before the call" in told.why
        assert told.signer is not None

    def test_is_judged_as_of_the_call_and_not_of_the_time_that_a_thief_writes(self) -> None:
        revoked, backdated = entry(BIRCH, T0 - HOUR), T0 - DAY
        assert self.judged(revoked, issued=backdated).grade is Grade.CHAIN_UNKNOWN
        alone = self.judged(revoked, issued=backdated, call=None)
        assert alone.grade is Grade.VERIFIED
        assert alone.revocation is not None
        assert "since the time in the header" in alone.revocation.words

    def test_says_nothing_of_revocation_where_no_root_vouches_or_nobody_asked(self) -> None:
        passport = parse_identity(identity(BIRCH)).shaken
        revoked = Revoked(read(revocation_list(NAMED)), T0)
        for shelf in (Shelf([BIRCH.der], (), revoked), Shelf([BIRCH.der, BETWEEN.der], [ROOT.certificate])):
            assert shelf.judge(passport, T0).revocation is None

    def test_counts_by_another_certificate_of_the_same_key_that_is_not_revoked(self) -> None:
        renewed = sti().signer("birch 2", key=BIRCH.key)
        for entries, best in (([NAMED], renewed), ([entry(BIRCH, T0 + HOUR)], renewed), ([entry(renewed, T0)], BIRCH)):
            revoked = Revoked(read(revocation_list(*entries)), T0 + HOUR)
            shelf = Shelf([BIRCH.der, renewed.der, BETWEEN.der], [ROOT.certificate], revoked)
            for _ in range(2):
                told = shelf.judge(parse_identity(identity(BIRCH)).shaken, T0)
                assert told.grade is Grade.VERIFIED
                assert told.signer is not None
                assert told.signer.subject == best.certificate.subject.rfc4514_string()


def test_the_times_of_the_tests_lie_within_those_of_the_certificates() -> None:
    assert FROM < T0 - DAY < T0 + DAY < UNTIL
