"""What a certificate says: X.509 v3 (RFC 5280), one identity as URI, for TLS the same as DNS name (`protos.identity`).

TLS certificates have P-256 keys (gRPC's TLS takes no Ed25519) and are good for both ends of mutual TLS; evidence
certificates have Ed25519 keys and are good for nothing else (`protos.certificates`).

Of a signing request (PKCS#10, RFC 2986) only the key counts, and only when the request is signed with it. The names
that stand in it are never read: who it is for, comes from the token or from the present certificate.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from coordinator.authority.issuing_key import SIGNED_WITH, Issuer
from protos.certificates import EVIDENCE_USAGE
from protos.identity import (
    ProviderId,
    coordinator_name,
    coordinator_tls_name,
    coordinators_among,
    provider_tls_name,
    providers_among,
)

ROOT_LIFETIME: Final = timedelta(days=5 * 365)
BACKDATED: Final = timedelta(hours=1)
"""Certificates are valid from an hour ago: the clocks of those who check them may be behind."""
TLS_USAGES: Final[tuple[x509.ObjectIdentifier, ...]] = (
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
)
EVIDENCE_USAGES: Final[tuple[x509.ObjectIdentifier, ...]] = (EVIDENCE_USAGE,)
PublicKey = ec.EllipticCurvePublicKey | Ed25519PublicKey


class Purpose(enum.Enum):
    """What a certificate is good for."""

    TLS = "tls"
    EVIDENCE = "evidence"


class RequestError(ValueError):
    """The signing request can't be granted; the message says why."""


def requested_key(der: bytes, purpose: Purpose) -> PublicKey:
    """The key for which this request (PKCS#10, DER) asks, whoever made it having shown to possess it.

    Raises:
        RequestError: it does not parse, its signature is not by its key, or the key is of the wrong kind.
    """
    try:
        request = x509.load_der_x509_csr(der)
        key, signed = request.public_key(), request.is_signature_valid
    except Exception:
        raise RequestError("the signing request is no PKCS#10 in DER form") from None
    if not signed:
        raise RequestError("the signing request is not signed with the key that it asks for")
    if purpose is Purpose.TLS:
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise RequestError("a key for TLS must be of the curve P-256")
    elif not isinstance(key, Ed25519PublicKey):
        raise RequestError("a key for signing evidence must be an Ed25519 key")
    return key


def issue(
    issuer: Issuer,
    uri: str,
    key: PublicKey,
    purpose: Purpose,
    now: datetime,
    lifetime: timedelta,
    dns_name: str = "",
) -> x509.Certificate:
    """A certificate that `key` is the party's whose URI this is; it never outlives the root.

    `dns_name` is for TLS, where the party is neither a provider nor a coordinator.

    Raises:
        AuthorityError: the key that signs fails.
    """
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    usages = EVIDENCE_USAGES
    if purpose is Purpose.TLS:
        names.append(x509.DNSName(dns_name or tls_name(uri)))
        usages = TLS_USAGES
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uri.rpartition("/")[2])])
    return leaf(issuer, subject, names, usages, key, now - min(BACKDATED, lifetime / 4), now + lifetime)


def tls_name(uri: str) -> str:
    """The DNS name that goes with a party's URI."""
    if providers := providers_among([uri]):
        return provider_tls_name(ProviderId(providers[0]))
    if coordinators_among([uri]):
        return coordinator_tls_name(coordinator_name(uri))
    raise ValueError(f"{uri!r} is the URI of no provider and no coordinator")


def leaf(
    issuer: Issuer,
    subject: x509.Name,
    names: Iterable[x509.GeneralName],
    usages: Iterable[x509.ObjectIdentifier],
    key: PublicKey,
    valid_from: datetime,
    valid_to: datetime,
) -> x509.Certificate:
    """A certificate of a party, which issues none itself."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(valid_from, issuer.certificate.not_valid_before_utc))
        .not_valid_after(min(valid_to, issuer.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
        .sign(issuer.key, SIGNED_WITH)
    )


def root(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, valid_from: datetime, valid_to: datetime
) -> x509.Certificate:
    """A certificate of an authority, signed by itself."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_to)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(issues=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SIGNED_WITH)
    )


def revocation_list(
    issuer: Issuer, number: int, revoked: Iterable[tuple[int, datetime]], now: datetime, lasts: timedelta
) -> bytes:
    """The list (DER) of these serial numbers, each with the time of its revocation.

    Raises:
        AuthorityError: the key that signs fails.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now)
        .next_update(now + lasts)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
    )
    for serial, at in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        )
    return builder.sign(issuer.key, SIGNED_WITH).public_bytes(serialization.Encoding.DER)


def _usage(*, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )
