"""Revocation lists count by their signature, never go back, and stop counting when they are too old."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.authority.issuing import revocation_list
from protos.list_keeper import ListKeeper
from protos.renewal import RenewalError
from protos.revocation import (
    LARGEST_LIST,
    REFUSE_AFTER,
    WARN_AFTER,
    ListAge,
    RevocationError,
    Revocations,
    read_revocation_list,
)
from tests.coordinator.authorities import START, TestedAuthority

SERIAL = 0x1234567890ABCDEF
HOURS = timedelta(hours=1)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> TestedAuthority:
    return TestedAuthority(tmp_path_factory.mktemp("authority"))


def made(office: TestedAuthority, number: int, *serials: int, at: datetime = START) -> bytes:
    return revocation_list(office.issuer, number, [(serial, at) for serial in serials], at, 12 * HOURS)


@pytest.fixture
def revocations(office: TestedAuthority) -> Revocations:
    return Revocations([office.issuer.certificate])


class TestAList:
    def test_of_a_pinned_root_keeps_out_whom_it_names(self, office: TestedAuthority, revocations: Revocations) -> None:
        assert revocations.take(made(office, 1, SERIAL), START)
        assert revocations.problem(SERIAL, START) == "its certificate is revoked"
        assert revocations.problem(SERIAL + 1, START) is None
        assert revocations.problem(None, START) is not None

    def test_with_a_byte_changed_does_not_count(self, office: TestedAuthority, revocations: Revocations) -> None:
        sound = made(office, 1, SERIAL)
        for at in range(0, len(sound), 3):
            altered = bytearray(sound)
            altered[at] ^= 0x41
            with pytest.raises(RevocationError):
                revocations.take(bytes(altered), START)
        assert revocations.age(START) is ListAge.NONE

    def test_of_another_root_does_not_count(self, revocations: Revocations, tmp_path: Path) -> None:
        with pytest.raises(RevocationError, match="no pinned root"):
            revocations.take(made(TestedAuthority(tmp_path), 1), START)

    def test_of_a_root_that_may_not_sign_lists_does_not_count(self, office: TestedAuthority) -> None:
        usage = x509.KeyUsage(**{name: name == "key_cert_sign" for name in _USAGES})
        certificate = office.issuer.certificate
        without = (
            x509.CertificateBuilder()
            .subject_name(certificate.subject)
            .issuer_name(certificate.subject)
            .public_key(certificate.public_key())
            .serial_number(5)
            .not_valid_before(START)
            .not_valid_after(START + timedelta(days=9))
            .add_extension(usage, critical=True)
            .sign(office.key, hashes.SHA256())
        )
        with pytest.raises(RevocationError, match="no pinned root"):
            read_revocation_list(made(office, 1), [without])

    def test_without_a_number_does_not_count(self, office: TestedAuthority) -> None:
        builder = x509.CertificateRevocationListBuilder().issuer_name(office.issuer.certificate.subject)
        crl = builder.last_update(START).next_update(START + HOURS).sign(office.key, hashes.SHA256())
        with pytest.raises(RevocationError, match="no number"):
            read_revocation_list(crl.public_bytes(serialization.Encoding.DER), [office.issuer.certificate])

    def test_that_is_too_large_is_not_read(self, office: TestedAuthority) -> None:
        with pytest.raises(RevocationError, match="too large"):
            read_revocation_list(b"\x30" * (LARGEST_LIST + 1), [office.issuer.certificate])

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=400))
    def test_is_read_or_refused_whatever_its_bytes(self, data: bytes) -> None:
        with pytest.raises(RevocationError):
            read_revocation_list(data, [])

    def test_never_goes_back_to_an_older_one(self, office: TestedAuthority, revocations: Revocations) -> None:
        revocations.take(made(office, 2, SERIAL, at=START + HOURS), START + HOURS)
        for number, at in ((1, START), (2, START + 2 * HOURS), (3, START)):
            with pytest.raises(RevocationError, match="older than list 2"):
                revocations.take(made(office, number, at=at), START + 3 * HOURS)
        assert revocations.problem(SERIAL, START + HOURS) is not None

    def test_that_is_in_use_already_changes_nothing(self, office: TestedAuthority, revocations: Revocations) -> None:
        first = made(office, 1)
        assert revocations.take(first, START)
        assert not revocations.take(first, START)

    def test_of_the_future_is_refused(self, office: TestedAuthority, revocations: Revocations) -> None:
        with pytest.raises(RevocationError, match="yet to come"):
            revocations.take(made(office, 1, at=START + HOURS), START)

    def test_of_each_of_several_roots_counts(self, office: TestedAuthority, tmp_path: Path) -> None:
        other = TestedAuthority(tmp_path)
        both = Revocations([office.issuer.certificate, other.issuer.certificate])
        both.take(made(office, 2, SERIAL), START)
        both.take(made(other, 1, SERIAL + 1), START)
        assert both.count == 2
        both.take(made(office, 3), START)
        assert [both.problem(each, START) is None for each in (SERIAL, SERIAL + 1)] == [True, False]


_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class TestAnOldList:
    def test_counts_then_is_warned_of_then_lets_nobody_pass(
        self, office: TestedAuthority, revocations: Revocations
    ) -> None:
        revocations.take(made(office, 1), START)
        ages = {
            after: revocations.age(START + after) for after in (WARN_AFTER, WARN_AFTER + HOURS, REFUSE_AFTER + HOURS)
        }
        assert list(ages.values()) == [ListAge.FRESH, ListAge.OLD, ListAge.TOO_OLD]
        assert revocations.problem(7, START + REFUSE_AFTER) is None
        assert "too old" in (revocations.problem(7, START + REFUSE_AFTER + HOURS) or "")

    def test_lets_nobody_pass_before_the_first_one_came(self, revocations: Revocations) -> None:
        assert "missing" in (revocations.problem(7, START) or "")

    def test_counts_for_ever_where_that_is_chosen(self, office: TestedAuthority) -> None:
        lenient = Revocations([office.issuer.certificate], refuse_after=None)
        assert lenient.problem(7, START) is None
        lenient.take(made(office, 1, SERIAL), START)
        assert lenient.problem(7, START + timedelta(days=900)) is None
        assert lenient.problem(SERIAL, START + timedelta(days=900)) is not None


class TestTheKeeper:
    def keeper(
        self, revocations: Revocations, file: Path, *fetched: bytes | Exception, at: datetime = START
    ) -> ListKeeper:
        left = list(fetched)

        async def fetch() -> bytes:
            got = left.pop(0)
            if isinstance(got, Exception):
                raise got
            return got

        return ListKeeper(revocations, file, fetch if fetched else None, lambda: at, HOURS)

    async def test_keeps_what_it_fetched_for_the_next_start(self, office: TestedAuthority, tmp_path: Path) -> None:
        file, roots = tmp_path / "revoked.crl", [office.issuer.certificate]
        await self.keeper(Revocations(roots), file, made(office, 1, SERIAL)).update()
        again = Revocations(roots)
        self.keeper(again, file).read()
        assert again.problem(SERIAL, START) is not None

    @pytest.mark.parametrize("bad", [b"nonsense", RenewalError("away")])
    async def test_stays_with_what_it_has_when_nothing_good_comes(
        self, office: TestedAuthority, revocations: Revocations, tmp_path: Path, bad: bytes | Exception
    ) -> None:
        file = tmp_path / "revoked.crl"
        keeper = self.keeper(revocations, file, made(office, 1, SERIAL), bad)
        await keeper.update()
        kept = file.read_bytes()
        await keeper.update()
        assert file.read_bytes() == kept
        assert revocations.problem(SERIAL, START) is not None

    async def test_sees_a_file_that_somebody_replaced(
        self, office: TestedAuthority, revocations: Revocations, tmp_path: Path
    ) -> None:
        file = tmp_path / "revoked.crl"
        keeper = self.keeper(revocations, file)
        await keeper.update()
        assert revocations.age(START) is ListAge.NONE
        file.write_bytes(made(office, 1, SERIAL))
        await keeper.update()
        assert revocations.problem(SERIAL, START) is not None

    async def test_tells_of_each_list_that_is_new(self, office: TestedAuthority, revocations: Revocations) -> None:
        told = []
        lists = [made(office, 1), made(office, 2, SERIAL)]
        lists.insert(1, lists[0])

        async def fetch() -> bytes:
            return lists.pop(0)

        keeper = ListKeeper(revocations, None, fetch, lambda: START, HOURS, changed=lambda: told.append(1))
        for _ in range(3):
            await keeper.update()
        assert told == [1, 1]

    async def test_that_finds_the_disk_full_uses_the_list_all_the_same(
        self, office: TestedAuthority, revocations: Revocations, tmp_path: Path
    ) -> None:
        keeper = self.keeper(revocations, tmp_path / "no" / "such" / "revoked.crl", made(office, 1, SERIAL))
        await keeper.update()
        assert revocations.problem(SERIAL, START) is not None
