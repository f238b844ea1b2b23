"""The lab's certificate authority: good for mutual TLS, named as protos.identity says, marked as a lab's."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from coordinator.authority.lab_ca import LAB_ORGANISATION, LabAuthority, LabAuthorityError
from protos.identity import InvalidIdentityError

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> LabAuthority:
    return LabAuthority.create(tmp_path / "ca", clock=lambda: NOW)


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_providers_certificate_carries_its_id_as_uri_and_as_dns_name(authority: LabAuthority) -> None:
    names = (
        _load(authority.issue_provider("birch").certificate)
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["hopback://provider/birch"]
    assert names.get_values_for_type(x509.DNSName) == ["birch.provider.hopback.internal"]


def test_a_coordinators_certificate_carries_its_name_as_uri_and_as_dns_name(authority: LabAuthority) -> None:
    names = (
        _load(authority.issue_coordinator("lab").certificate)
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["hopback://coordinator/lab"]
    assert names.get_values_for_type(x509.DNSName) == ["lab.coordinator.hopback.internal"]


def test_a_certificate_serves_both_ends_of_mutual_tls_and_signs_no_others(authority: LabAuthority) -> None:
    extensions = _load(authority.issue_provider("birch").certificate).extensions
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_every_certificate_is_signed_by_the_root_and_says_that_it_is_a_labs(authority: LabAuthority) -> None:
    issued = authority.issue_provider("birch")
    leaf, root = _load(issued.certificate), _load(issued.roots)
    leaf.verify_directly_issued_by(root)
    assert LAB_ORGANISATION in leaf.subject.rfc4514_string().replace("\\", "")
    assert LAB_ORGANISATION in root.subject.rfc4514_string().replace("\\", "")


def test_a_certificate_ends_within_ninety_days(authority: LabAuthority) -> None:
    leaf = _load(authority.issue_provider("birch").certificate)
    assert leaf.not_valid_before_utc < NOW < leaf.not_valid_after_utc <= NOW + timedelta(days=90)


def test_private_keys_are_readable_by_their_owner_alone(authority: LabAuthority) -> None:
    issued = authority.issue_provider("birch")
    for key in (issued.key, authority.directory / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_certificates_issued_elsewhere_come_with_the_root_but_never_with_its_key(
    authority: LabAuthority, tmp_path: Path
) -> None:
    authority.issue_provider("birch", tmp_path / "birch")
    assert sorted(path.name for path in (tmp_path / "birch").iterdir()) == ["birch.crt", "birch.key", "ca.crt"]


def test_an_authority_that_was_opened_again_issues_under_the_same_root(authority: LabAuthority) -> None:
    again = LabAuthority.open(authority.directory, clock=lambda: NOW)
    issued = again.issue_provider("elm")
    _load(issued.certificate).verify_directly_issued_by(_load(authority.directory / "ca.crt"))


def test_a_second_authority_in_one_directory_is_refused(authority: LabAuthority) -> None:
    with pytest.raises(LabAuthorityError, match="exists"):
        LabAuthority.create(authority.directory)


def test_opening_an_authority_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LabAuthorityError, match="hopback-coordinator init"):
        LabAuthority.open(tmp_path)


def test_a_root_key_that_does_not_fit_its_certificate_is_refused(authority: LabAuthority, tmp_path: Path) -> None:
    other = LabAuthority.create(tmp_path / "other")
    (authority.directory / "ca.key").write_bytes((other.directory / "ca.key").read_bytes())
    with pytest.raises(LabAuthorityError, match="not the key"):
        LabAuthority.open(authority.directory)


@pytest.mark.parametrize("name", ["", "UPPER", "../etc", "a", "x_y"])
def test_a_name_that_is_no_id_gets_no_certificate(authority: LabAuthority, name: str) -> None:
    with pytest.raises(InvalidIdentityError):
        authority.issue_provider(name)
    with pytest.raises(InvalidIdentityError):
        authority.issue_coordinator(name)
