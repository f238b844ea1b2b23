"""Whose certificate a PASSporT was signed with, and how much that is worth (ATIS-1000080, RFC 8226, RFC 5280).

A certificate is never fetched: people hand it in. That under whose key the signature (ES256: ECDSA on P-256 with
SHA-256, 64 bytes of r and s, RFC 7518 3.4) is good is the signer's; its TNAuthList names the service provider codes
(SPC) that it was issued to. What that proves is one of three grades:

    verified       good, and at the time of signing the certificate led to a root that is pinned here
    chain_unknown  good, but no pinned root vouches for the certificate: anybody can issue one to any code
    not_verified   no certificate at hand makes it good: it is forged or altered, or the certificate isn't here

What a list of the STI-PA says of the certificates of a verified way (`coordinator.stir.revocation`) comes beside the
grade; one that was revoked when the call was made is vouched for by nobody. Where an authority on the way has a
TNAuthList itself, as those of delegates have (RFC 9060), it counts for no code that isn't in it (section 5).

Pure: certificates come as DER, the time is the PASSporT's, and that of the call where one is known.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from coordinator.stir.passport import Passport
from coordinator.stir.revocation import UNREADABLE, Revocation, Revoked, State

TN_AUTH_LIST: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")
DEEPEST: Final = 4
"""Certificates between signer and root at most."""
_BEST: Final = (False, False)


class SignerError(ValueError):
    """A file holds no certificate that could be a signer's; the message says why."""


class Grade(enum.Enum):
    """How much is known of who signed. Values are stable: they are stored, and shown in JSON."""

    VERIFIED = "verified"
    CHAIN_UNKNOWN = "chain_unknown"
    NOT_VERIFIED = "not_verified"


@dataclass(frozen=True, slots=True)
class Signer:
    """What a certificate says of its holder. `codes` are its SPCs; none where it is for telephone numbers alone."""

    sha256: str
    subject: str
    codes: tuple[str, ...]
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """A PASSporT's grade, why it is no better one (empty for the best), and whose certificate made it good.

    `revocation` is there where a way to a pinned root was found, and a list was looked for.
    """

    grade: Grade
    why: str = ""
    signer: Signer | None = None
    revocation: Revocation | None = None


@asn1.sequence
class _Range:
    start: asn1.IA5String
    count: int


@asn1.sequence
class _Wrapped:
    inner: asn1.TLV


@asn1.sequence
class _TnAuthList:
    # TNAuthorizationList is a SEQUENCE OF, RFC 8226 9, with explicit tags; a field of its own lets the library read it.
    entries: list[
        Annotated[asn1.Variant[asn1.IA5String, Literal["spc"]], asn1.Explicit(0)]
        | Annotated[asn1.Variant[_Range, Literal["range"]], asn1.Explicit(1)]
        | Annotated[asn1.Variant[asn1.IA5String, Literal["one"]], asn1.Explicit(2)]
    ]


def codes_of(der: bytes) -> tuple[str, ...]:
    """The service provider codes in a TNAuthList, the value of the extension; each once, in order.

    Raises:
        SignerError: it is none.
    """
    try:
        wrapped = asn1.encode_der(_Wrapped(inner=asn1.decode_der(asn1.TLV, der)))
        entries = asn1.decode_der(_TnAuthList, wrapped).entries
    except ValueError:
        raise SignerError("its TNAuthList is none of RFC 8226") from None
    codes = [one.value.as_str() for one in entries if isinstance(one.value, asn1.IA5String) and one.tag == "spc"]
    if not all(0 < len(code) <= 15 and code.isascii() and code.isalnum() for code in codes):
        raise SignerError("a service provider code in its TNAuthList is none")
    return tuple(dict.fromkeys(code.upper() for code in codes))


def read_pem(pem: bytes) -> list[bytes]:
    """The certificates of a PEM file as DER, each once: signers' with their chains.

    Raises:
        SignerError: there is none, or one is neither an authority's nor one that a PASSporT could be signed with.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        raise SignerError("it holds no certificates in PEM form") from None
    for number, certificate in enumerate(found, start=1):
        try:
            if not _is_authority(certificate):
                signer_of(certificate)
        except SignerError as error:
            raise SignerError(f"certificate {number}: {error}") from None
    return list(dict.fromkeys(certificate.public_bytes(Encoding.DER) for certificate in found))


def pem_of(ders: Iterable[bytes]) -> bytes:
    """These certificates as one PEM file."""
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)


def signer_of(certificate: x509.Certificate) -> Signer:
    """What a signer's certificate says.

    Raises:
        SignerError: no PASSporT could be signed with it.
    """
    try:
        key = certificate.public_key()
        der = _tn_auth_list(certificate)
    except x509.ExtensionNotFound:
        der = None
    except UNREADABLE:
        raise SignerError("it can't be read") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise SignerError("its key is no P-256 key, as ES256 wants it")
    if der is None:
        raise SignerError("it has no TNAuthList: it was issued to no service provider")
    return _described(certificate, codes_of(der))


def described(der: bytes) -> Signer:
    """What a certificate says that `read_pem` has taken, an authority's as well, which has no codes."""
    certificate = x509.load_der_x509_certificate(der)
    return _described(certificate, ()) if _is_authority(certificate) else signer_of(certificate)


class Shelf:
    """The certificates that are at hand, and the roots that are trusted: judges PASSporTs.

    `certificates` are signers' and intermediate ones in any order, DER; those that say nothing are passed over.
    Without `revoked`, revocation is not looked at.
    """

    def __init__(
        self,
        certificates: Iterable[bytes] = (),
        roots: Sequence[x509.Certificate] = (),
        revoked: Revoked | None = None,
    ) -> None:
        self._signers: list[tuple[x509.Certificate, EllipticCurvePublicKey, Signer]] = []
        self._between: list[x509.Certificate] = []
        self._ders: dict[str, bytes] = {}
        self._roots, self._revoked = tuple(roots), revoked
        self._latest: dict[str, int] = {}
        for der in certificates:
            self._put(der)

    def _put(self, der: bytes) -> None:
        try:
            certificate = x509.load_der_x509_certificate(der)
            if _is_authority(certificate):
                self._between.append(certificate)
                return
            signer, key = signer_of(certificate), certificate.public_key()
        except UNREADABLE:
            return
        if isinstance(key, EllipticCurvePublicKey):
            self._signers.append((certificate, key, signer))
            self._ders[signer.sha256] = der

    def look_at(self, revoked: Revoked | None) -> None:
        """Judge by this list from now on."""
        self._revoked = revoked

    def judge(self, passport: Passport, call: datetime | None = None) -> Judged:
        """The PASSporT's grade; of several certificates that make it good, the one that is worth most.

        `call` is when the call was made; without, revocation is judged as of the time that the PASSporT claims.
        """
        latest = self._latest.get(passport.x5u)
        if latest is not None and _is_good(passport, self._signers[latest][1]):
            judged = self._judged(latest, passport, call)
            if _rank(judged) == _BEST:
                return judged
        good = [index for index, (_, key, _) in enumerate(self._signers) if _is_good(passport, key)]
        if not good:
            return Judged(Grade.NOT_VERIFIED, "it is forged or altered, or its signer's certificate is not at hand")
        judged, index = min(((self._judged(one, passport, call), one) for one in good), key=lambda one: _rank(one[0]))
        self._latest[passport.x5u] = index
        return judged

    def _judged(self, index: int, passport: Passport, call: datetime | None) -> Judged:
        """What a good signature by this certificate is worth."""
        (certificate, _, signer), at = self._signers[index], passport.issued
        if not signer.valid_from <= at <= signer.valid_to:
            return Judged(Grade.CHAIN_UNKNOWN, "the signer's certificate was not valid when it signed", signer)
        if not _may_sign(certificate):
            return Judged(Grade.CHAIN_UNKNOWN, "the signer's certificate is not for signatures (key usage)", signer)
        if not self._roots:
            return Judged(Grade.CHAIN_UNKNOWN, "no root of a certification authority is pinned here", signer)
        try:
            chain = _verifier(self._roots, at).verify(certificate, self._between).chain
        except (VerificationError, *UNREADABLE):
            return Judged(Grade.CHAIN_UNKNOWN, "the certificate leads to no root that is pinned here", signer)
        if not all(_may_issue(authority, signer.codes) for authority in chain[1:]):
            why = "an authority on its way to a pinned root was not given its codes, and may not pass them on"
            return Judged(Grade.CHAIN_UNKNOWN, why, signer)
        if self._revoked is None:
            return Judged(Grade.VERIFIED, signer=signer)
        found = self._revoked.of(chain, call or at, "the call" if call else "the time in the header")
        if found.state is State.REVOKED_BEFORE:
            return Judged(Grade.CHAIN_UNKNOWN, found.words, signer, found)
        return Judged(Grade.VERIFIED, "", signer, found)

    def with_chain(self, judged: Judged) -> list[bytes]:
        """The certificate that made a PASSporT good, and every intermediate one at hand that may lead to its root."""
        if judged.signer is None:
            return []
        chain = [self._ders[judged.signer.sha256]]
        last = x509.load_der_x509_certificate(chain[0])
        for _ in range(DEEPEST):
            above = next((one for one in self._between if one.subject == last.issuer and _issued(last, one)), None)
            if above is None or above.public_bytes(Encoding.DER) in chain:
                break
            chain.append(above.public_bytes(Encoding.DER))
            last = above
        return chain


def read_roots(pem: bytes) -> list[x509.Certificate]:
    """The roots in a PEM file.

    Raises:
        SignerError: there is none, or one is no authority's.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        raise SignerError("it holds no certificates in PEM form") from None
    if not all(map(_is_authority, found)):
        raise SignerError("one of its certificates is no certification authority's")
    return found


def _described(certificate: x509.Certificate, codes: tuple[str, ...]) -> Signer:
    try:
        subject = certificate.subject.rfc4514_string()
    except UNREADABLE:
        raise SignerError("its subject can't be read") from None
    return Signer(
        sha256=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        subject="".join(one if one.isprintable() else "?" for one in subject)[:200],
        codes=codes,
        valid_from=certificate.not_valid_before_utc,
        valid_to=certificate.not_valid_after_utc,
    )


def pem_of_roots(roots: Iterable[x509.Certificate]) -> bytes:
    """These roots as one PEM file."""
    return b"".join(root.public_bytes(Encoding.PEM) for root in roots)


def _verifier(roots: Sequence[x509.Certificate], at: datetime) -> x509.verification.ClientVerifier:
    """What leads from a signer to a root; signers are no hosts: they have no alternative names, no extended usage."""
    return (
        PolicyBuilder()
        .store(Store(list(roots)))
        .time(at.astimezone(UTC).replace(tzinfo=None))
        .max_chain_depth(DEEPEST)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )


def _is_good(passport: Passport, key: EllipticCurvePublicKey) -> bool:
    r, s = (int.from_bytes(half, "big") for half in (passport.signature[:32], passport.signature[32:]))
    try:
        key.verify(encode_dss_signature(r, s), passport.signed, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _may_sign(certificate: x509.Certificate) -> bool:
    """Whether its key is for signatures: a key usage that is there must say so (RFC 5280 4.2.1.3)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False


def _may_issue(authority: x509.Certificate, codes: tuple[str, ...]) -> bool:
    """Whether the authority's own TNAuthList, where it has one, holds all of these codes."""
    try:
        held = codes_of(_tn_auth_list(authority))
    except x509.ExtensionNotFound:
        return True
    except (SignerError, *UNREADABLE):
        return False
    return set(codes) <= set(held)


def _tn_auth_list(certificate: x509.Certificate) -> bytes:
    value = certificate.extensions.get_extension_for_oid(TN_AUTH_LIST).value
    return value.value if isinstance(value, x509.UnrecognizedExtension) else value.public_bytes()


def _rank(judged: Judged) -> tuple[bool, bool]:
    """What is worth more sorts first: a way to a root, a certificate that isn't revoked by now."""
    since = judged.revocation is not None and judged.revocation.state is State.REVOKED_SINCE
    return judged.grade is not Grade.VERIFIED, since


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True
