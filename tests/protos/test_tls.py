"""TLS files are refused before they can fail a handshake, and identity comes from a certificate's URIs alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.lab_ca import Credentials, LabAuthority
from protos.tls import TlsFilesError, peer_uris, read_tls_files

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LabAuthority:
    return LabAuthority.create(tmp_path_factory.mktemp("ca"), clock=lambda: NOW)


@pytest.fixture
def birch(authority: LabAuthority, tmp_path: Path) -> Credentials:
    return authority.issue_provider("birch", tmp_path)


def problems(files: Credentials, now: datetime = NOW) -> str:
    with pytest.raises(TlsFilesError) as caught:
        read_tls_files(files.certificate, files.key, files.roots, now)
    return str(caught.value)


def test_sound_files_say_who_they_are_for_and_until_when(birch: Credentials) -> None:
    files = read_tls_files(birch.certificate, birch.key, birch.roots, NOW)
    assert files.uris == ("hopback://provider/birch",)
    assert files.dns_names == ("birch.provider.hopback.internal",)
    assert files.valid_from < NOW < files.valid_to
    assert "PRIVATE KEY" not in repr(files)


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    text = problems(Credentials(tmp_path / "a.crt", tmp_path / "a.key", tmp_path / "ca.crt"))
    assert all(name in text for name in ("a.crt", "a.key", "ca.crt"))


def test_an_expired_certificate_is_refused(birch: Credentials) -> None:
    assert "expired at" in problems(birch, NOW + timedelta(days=91))


def test_a_certificate_of_the_future_is_refused(birch: Credentials) -> None:
    assert "valid only from" in problems(birch, NOW - timedelta(days=1))


def test_a_key_of_another_certificate_is_refused(authority: LabAuthority, birch: Credentials) -> None:
    other = authority.issue_provider("cedar", birch.key.parent)
    assert "is not the key of" in problems(Credentials(birch.certificate, other.key, birch.roots))


def test_a_key_that_others_can_read_is_refused(birch: Credentials) -> None:
    birch.key.chmod(0o644)
    assert "chmod 600" in problems(birch)


@pytest.mark.parametrize("name", ["certificate", "key", "roots"])
def test_a_file_that_is_no_pem_is_refused(birch: Credentials, name: str) -> None:
    getattr(birch, name).write_bytes(b"nonsense")
    assert "PEM" in problems(birch)


class TestWhoTheOtherSideIs:
    def test_is_what_its_certificate_says_as_uri(self) -> None:
        context = {"peer_uri": [b"hopback://provider/birch"], "ssl_tls_version": [b"TLSv1.3"]}
        assert peer_uris(context) == ["hopback://provider/birch"]

    def test_is_not_what_its_certificate_says_elsewhere(self) -> None:
        uri = b"hopback://coordinator/lab"
        context = {"x509_common_name": [uri], "peer_dns": [uri], "x509_subject_alternative_name": [uri]}
        assert peer_uris(context) == []

    def test_is_nobody_over_an_old_version_of_tls(self) -> None:
        assert peer_uris({"peer_uri": [b"hopback://provider/birch"], "ssl_tls_version": [b"TLSv1.2"]}) == []

    def test_is_nobody_without_a_certificate(self) -> None:
        assert peer_uris({}) == []
