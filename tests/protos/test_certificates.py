"""Evidence certificates: whose key it is, by a pinned root, for evidence alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.authority.lab_ca import LEAF_LIFETIME, Credentials, LabAuthority
from protos.certificates import CertificateError, PinnedRoots
from protos.signing import read_signer

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
BIRCH = "hopback://provider/birch"


def der(credentials: Credentials) -> bytes:
    return x509.load_pem_x509_certificate(credentials.certificate.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LabAuthority:
    return LabAuthority.create(tmp_path_factory.mktemp("ca"), clock=lambda: NOW)


@pytest.fixture(scope="module")
def birch(authority: LabAuthority) -> Credentials:
    return authority.issue_evidence(BIRCH, "birch-evidence")


@pytest.fixture
def roots(birch: Credentials) -> PinnedRoots:
    return PinnedRoots.from_pem(birch.roots.read_bytes())


class TestAnEvidenceCertificate:
    def test_says_whose_key_it_is_and_how_long(self, roots: PinnedRoots, birch: Credentials) -> None:
        certified = roots.certified(der(birch))
        assert certified.uri == BIRCH
        assert certified.key == read_signer(birch.key).public
        assert certified.valid_at(NOW)
        assert not certified.valid_at(NOW + LEAF_LIFETIME)
        assert not certified.valid_at(NOW - timedelta(days=1))

    def test_of_another_root_proves_nothing(self, roots: PinnedRoots, tmp_path: Path) -> None:
        other = LabAuthority.create(tmp_path, clock=lambda: NOW).issue_evidence(BIRCH, "birch-evidence")
        with pytest.raises(CertificateError, match="no pinned root"):
            roots.certified(der(other))

    def test_is_none_for_tls(self, roots: PinnedRoots, authority: LabAuthority) -> None:
        with pytest.raises(CertificateError, match="no Ed25519"):
            roots.certified(der(authority.issue_provider("birch")))

    def test_is_not_the_root_itself(self, roots: PinnedRoots, birch: Credentials) -> None:
        root = x509.load_pem_x509_certificate(birch.roots.read_bytes()).public_bytes(Encoding.DER)
        with pytest.raises(CertificateError):
            roots.certified(root)

    def test_issues_none_itself(self, birch: Credentials) -> None:
        own = PinnedRoots.from_pem(birch.certificate.read_bytes())
        with pytest.raises(CertificateError, match="no pinned root"):
            own.certified(der(birch))

    @pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
    @given(st.data())
    @settings(max_examples=300, deadline=None)
    def test_with_any_byte_changed_proves_nothing(self, birch: Credentials, data: st.DataObject) -> None:
        bent = bytearray(der(birch))
        bent[data.draw(st.integers(0, len(bent) - 1))] ^= data.draw(st.integers(1, 255))
        with pytest.raises(CertificateError):
            PinnedRoots.from_pem(birch.roots.read_bytes()).certified(bytes(bent))

    @given(st.binary(max_size=200))
    @settings(max_examples=50, deadline=None)
    def test_of_any_bytes_is_none(self, birch: Credentials, data: bytes) -> None:
        with pytest.raises(CertificateError):
            PinnedRoots.from_pem(birch.roots.read_bytes()).certified(data)

    def test_roots_must_be_there(self) -> None:
        with pytest.raises(CertificateError, match="PEM"):
            PinnedRoots.from_pem(b"nothing")
