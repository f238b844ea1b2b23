"""A key and its certificate change as a pair: whatever moment a crash comes in, what lies on disk fits together."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protos.key_pairs import KeyPair, KeyPairError, PrivateKey, new_evidence_key, new_tls_key, signing_request

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISSUER = new_tls_key()


def certificate(key: PrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "synthetic")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(ISSUER, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def pair(tmp_path: Path) -> KeyPair:
    made = KeyPair(tmp_path / "birch.crt", tmp_path / "birch.key")
    key = new_tls_key()
    made.stage(key, certificate(key))
    made.recover()
    return made


def fits(pair: KeyPair) -> bool:
    public = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).public_key()
    private = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return private.public_key() == public


class TestANewPair:
    def test_is_in_place_after_recovery_and_not_before(self, pair: KeyPair) -> None:
        before, key = pair.certificate.read_bytes(), new_tls_key()
        pair.stage(key, certificate(key))
        assert pair.certificate.read_bytes() == before
        assert pair.recover()
        assert pair.certificate.read_bytes() != before
        assert fits(pair)
        assert sorted(file.name for file in pair.key.parent.iterdir()) == ["birch.crt", "birch.key"]

    def test_has_a_key_that_nobody_else_can_read(self, pair: KeyPair) -> None:
        assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600

    def test_of_a_certificate_for_another_key_is_refused(self, pair: KeyPair) -> None:
        before = pair.certificate.read_bytes(), pair.key.read_bytes()
        with pytest.raises(KeyPairError, match="another key"):
            pair.stage(new_tls_key(), certificate(new_tls_key()))
        with pytest.raises(KeyPairError, match="PEM"):
            pair.stage(new_tls_key(), b"nonsense")
        assert not pair.recover()
        assert (pair.certificate.read_bytes(), pair.key.read_bytes()) == before

    def test_that_was_never_certified_is_thrown_away(self, pair: KeyPair) -> None:
        pair.key.with_name("birch.key.new").write_bytes(b"half a key")
        assert not pair.recover()
        assert fits(pair)
        assert not pair.key.with_name("birch.key.new").exists()

    def test_recovery_twice_does_nothing_more(self, pair: KeyPair) -> None:
        assert not pair.recover()
        assert fits(pair)


class CrashError(BaseException):
    """The power goes."""


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """`[n]`: the n-th operation on the disk does not happen any more, nor does anything after it."""
    budget = [10**9]

    def spend() -> None:
        budget[0] -= 1
        if budget[0] < 0:
            raise CrashError

    fsync, replace = os.fsync, Path.replace

    def counted_fsync(descriptor: int) -> None:
        spend()
        fsync(descriptor)

    def counted_replace(self: Path, target: Path) -> Path:
        spend()
        return replace(self, target)

    monkeypatch.setattr("protos.key_pairs.os.fsync", counted_fsync)
    monkeypatch.setattr(Path, "replace", counted_replace)
    yield budget
    budget[0] = 10**9


def test_a_crash_at_any_operation_leaves_a_pair_that_fits(pair: KeyPair, crashing: list[int]) -> None:
    old = pair.certificate.read_bytes()
    outcomes = []
    for operations in range(100):
        key = new_tls_key()
        new = certificate(key)
        crashing[0] = operations
        try:
            pair.stage(key, new)
            pair.recover()
            finished = True
        except CrashError:
            finished = False
        crashing[0] = 10**9
        pair.recover()  # the next start
        assert fits(pair)
        now = pair.certificate.read_bytes()
        assert now in (old, new)
        outcomes.append((finished, now == new))
        old = now
        if finished:
            break
    crashed = [put for finished, put in outcomes if not finished]
    assert len(crashed) >= 8  # each operation was one at which it ended
    assert crashed[0] is False
    assert crashed[-1] is True
    assert crashed == sorted(crashed)  # from some point on the new pair is what counts, and never again the old one
    assert outcomes[-1] == (True, True)


def test_a_signing_request_proves_possession_and_names_nobody() -> None:
    for key in (new_tls_key(), new_evidence_key()):
        request = x509.load_der_x509_csr(signing_request(key))
        assert request.is_signature_valid
        assert list(request.subject) == []
        assert list(request.extensions) == []
