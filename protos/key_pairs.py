"""A private key and its certificate on disk, renewed as a pair: a crash at any point leaves a pair that fits.

Two files can't be replaced at one stroke. The new key and the new certificate are first written whole beside the old
ones (`NAME.new`, flushed to disk), and only then renamed over them, key first. `recover` finishes what was interrupted:
it is called before the files are read, and does nothing where nothing is left over.

Keys are made here and never leave: what goes out is a signing request (PKCS#10, RFC 2986), which proves possession by
its signature and names nobody, because whoever issues takes the name from elsewhere.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey


class KeyPairError(ValueError):
    """What was handed over is no certificate of the staged key; the message says why."""


def new_tls_key() -> ec.EllipticCurvePrivateKey:
    """A fresh key for TLS: P-256, since gRPC's TLS takes no Ed25519."""
    return ec.generate_private_key(ec.SECP256R1())


def new_evidence_key() -> Ed25519PrivateKey:
    """A fresh key for signing evidence."""
    return Ed25519PrivateKey.generate()


def signing_request(key: PrivateKey) -> bytes:
    """A certificate signing request for `key` (PKCS#10, DER), with an empty subject."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if isinstance(key, Ed25519PrivateKey):
        return builder.sign(key, None).public_bytes(serialization.Encoding.DER)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def key_pem(key: PrivateKey) -> bytes:
    """The key as it stands in a file (PKCS#8, not encrypted)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_whole(path: Path, data: bytes, *, secret: bool) -> None:
    """Write `data` whole and on disk, or not at all; a secret is never readable by others, not even for a moment."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600 if secret else 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        flush_directory(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def flush_directory(directory: Path) -> None:
    """Make what was renamed in `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where a certificate and its key lie."""

    certificate: Path
    key: Path

    def stage(self, key: PrivateKey, certificate: bytes) -> None:
        """Write the new pair beside the old one; `certificate` is a chain (PEM), its own certificate first.

        Raises:
            KeyPairError: the certificate is not of this key. OSError: the disk refuses.
        """
        try:
            leaf = x509.load_pem_x509_certificates(certificate)[0].public_key()
        except ValueError:
            raise KeyPairError("what came is no certificate in PEM form") from None
        if _spki(leaf) != _spki(key.public_key()):
            raise KeyPairError("the certificate that came is of another key")
        write_whole(_new(self.key), key_pem(key), secret=True)
        write_whole(_new(self.certificate), certificate, secret=False)

    def recover(self) -> bool:
        """Put a staged pair in place; True when there was one.

        Raises:
            OSError: the disk refuses.
        """
        new_key, new_certificate = _new(self.key), _new(self.certificate)
        with suppress(FileNotFoundError):
            certificate = new_certificate.read_bytes()
            if _fits(certificate, new_key) or _fits(certificate, self.key):
                # The certificate goes last: while it is staged, whoever comes next finishes what is interrupted here.
                if new_key.exists():
                    new_key.replace(self.key)
                    flush_directory(self.key.parent)
                new_certificate.replace(self.certificate)
                flush_directory(self.certificate.parent)
                return True
            new_certificate.unlink()
        new_key.unlink(missing_ok=True)  # of a renewal that never got its certificate
        return False


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _fits(certificate: bytes, key: Path) -> bool:
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0].public_key()
        private = serialization.load_pem_private_key(key.read_bytes(), password=None).public_key()
    except (OSError, ValueError, TypeError):
        return False
    return _spki(leaf) == _spki(private)


def _spki(key: CertificatePublicKeyTypes | object) -> bytes:
    return key.public_bytes(  # type: ignore[union-attr]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
