"""Evidence certificates: whose key signs questions or answers (X.509, RFC 5280).

The certificate's one URI says who (`protos.identity`), its key is Ed25519, its extended key usage says that the key
signs evidence, and a pinned root issued it directly. TLS certificates never count: they lack the usage, and gRPC's TLS
takes no Ed25519. Persons have no certificates: the keys of those who submit and approve orders are pinned one by one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protos.signing import PublicKey

EVIDENCE_USAGE: Final = x509.ObjectIdentifier("2.25.220571946317345690352287394513407260017")
"""The extended key usage of keys that sign evidence (an arc made from a UUID, ITU-T X.667)."""

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for certificates that it can't make sense of."""


class CertificateError(ValueError):
    """The certificate proves nothing to us; the message says why."""


@dataclass(frozen=True, slots=True)
class Certified:
    """What an evidence certificate says: this key is that party's, from and until then (aware UTC)."""

    uri: str
    key: PublicKey
    valid_from: datetime
    valid_to: datetime
    serial: int

    def valid_at(self, time: datetime) -> bool:
        """Whether the certificate is valid at `time`."""
        return self.valid_from <= time < self.valid_to


class PinnedRoots:
    """Reads evidence certificates of pinned roots, each distinct one once; the roots may change at any time."""

    def __init__(self, roots: Iterable[x509.Certificate], remembered: int = 4096) -> None:
        self._pinned: tuple[tuple[x509.Certificate, ...], OrderedDict[bytes, Certified]] = tuple(roots), OrderedDict()
        self._remembered = remembered

    @classmethod
    def from_pem(cls, pem: bytes) -> PinnedRoots:
        """The roots in a file of certificates.

        Raises:
            CertificateError: there is none in it.
        """
        try:
            return cls(x509.load_pem_x509_certificates(pem))
        except ValueError:
            raise CertificateError("it holds no certificates in PEM form") from None

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """The roots that count now."""
        return self._pinned[0]

    def pin(self, roots: Iterable[x509.Certificate]) -> None:
        """From now on these count, and no others; what was read under the others is forgotten."""
        self._pinned = tuple(roots), OrderedDict()

    def certified(self, der: bytes) -> Certified:
        """What this certificate says; whether it is valid at some time is a question to the result.

        Raises:
            CertificateError: it is none, not of a pinned root, or not for evidence.
        """
        roots, read = self._pinned
        known = read.get(der)
        if known is None:
            known = read[der] = self._check(der, roots)
            if len(read) > self._remembered:
                read.popitem(last=False)
        return known

    @staticmethod
    def _check(der: bytes, roots: Iterable[x509.Certificate]) -> Certified:
        try:
            leaf = x509.load_der_x509_certificate(der)
            key = leaf.public_key()
            extensions = leaf.extensions
        except _UNREADABLE:
            raise CertificateError("it is no certificate in DER form") from None
        if not any(_issued_by(leaf, root) for root in roots):
            raise CertificateError("no pinned root issued it")
        if not isinstance(key, Ed25519PublicKey):
            raise CertificateError("its key is no Ed25519 key")
        try:
            usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, *_UNREADABLE):
            raise CertificateError("it lacks extended key usage or alternative names") from None
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        if EVIDENCE_USAGE not in list(usages):
            raise CertificateError("it is not for signing evidence")
        if len(uris) != 1:
            raise CertificateError("it does not name one party")
        return Certified(
            uris[0], PublicKey.of(key), leaf.not_valid_before_utc, leaf.not_valid_after_utc, leaf.serial_number
        )


def _issued_by(leaf: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(root)
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (InvalidSignature, x509.ExtensionNotFound, *_UNREADABLE):
        return False
    return constraints.ca
