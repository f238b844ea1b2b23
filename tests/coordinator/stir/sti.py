"""Authorities and signers of STIR/SHAKEN for tests (ATIS-1000080), and Identity headers that they make."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from coordinator.stir.certificates import TN_AUTH_LIST
from tests.coordinator.make import CALLED, CALLING, T0

FROM, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
LIST_URL = "https://sti-pa.example.net/crl"
X5U = "https://sti.example.net/birch.pem"
ORIGID = "123e4567-e89b-12d3-a456-426655440000"


def key_of(name: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 key, the same every time."""
    return ec.derive_private_key(int.from_bytes(sha256(name.encode()).digest(), "big") >> 2, ec.SECP256R1())


def tn_auth_list(*codes: str) -> bytes:
    """The DER of a TNAuthList of these codes."""
    entries = b"".join(
        bytes([0xA0, len(code) + 2, 0x16, len(code)]) + code.encode() for code in codes
    )  # [0] EXPLICIT IA5String
    return bytes([0x30, len(entries)]) + entries


@dataclass(frozen=True)
class Holder:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def issue(
    name: str,
    by: Holder | None = None,
    *,
    authority: bool = False,
    codes: bytes | None = None,
    since: datetime = FROM,
    until: datetime = UNTIL,
    key: Any = None,
    told_by: x509.DistributionPoint | None = None,
    signs: bool | None = None,
) -> Holder:
    """A certificate of `name`, by itself where nobody issues it; `codes` is the DER of its TNAuthList.

    `told_by` is where a list would name it; `signs` whether its key is for signatures, as all are but authorities'.
    """
    own = key or key_of(name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = by.certificate.subject if by else subject
    signing = by.key if by else own
    build = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(int.from_bytes(sha256(name.encode()).digest()[:8], "big") >> 1)
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority if signs is None else signs,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if codes is not None:
        build = build.add_extension(x509.UnrecognizedExtension(TN_AUTH_LIST, codes), critical=False)
    if told_by is not None:
        build = build.add_extension(x509.CRLDistributionPoints([told_by]), critical=False)
    return Holder(build.sign(signing, hashes.SHA256()), own)


@cache
def sti_pa() -> Holder:
    """Who signs the list of revoked certificates."""
    return issue("STI-PA CRL", authority=True)


def point(issuer: x509.Name | None = None, url: str | None = LIST_URL) -> x509.DistributionPoint:
    """Where a certificate says that a list would name it: at the STI-PA's."""
    name = issuer or sti_pa().certificate.subject
    full = [x509.UniformResourceIdentifier(url)] if url else None
    return x509.DistributionPoint(full, None, None, [x509.DirectoryName(name)])


def entry(
    of: Holder,
    at: datetime,
    *extensions: x509.ExtensionType,
    by: x509.Name | bool = True,
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise,
    invalid: datetime | None = None,
) -> x509.RevokedCertificate:
    """An entry of a list: this certificate, revoked at that time; `by` False names no issuer."""
    build = x509.RevokedCertificateBuilder(of.certificate.serial_number, at)
    added = list(extensions)
    if by is not False:
        added.append(x509.CertificateIssuer([x509.DirectoryName(of.certificate.issuer if by is True else by)]))
    if reason is not None:
        added.append(x509.CRLReason(reason))
    if invalid is not None:
        added.append(x509.InvalidityDate(invalid))
    for one in added:
        build = build.add_extension(one, critical=not isinstance(one, x509.CRLReason | x509.InvalidityDate))
    return build.build()


def indirect(**changes: Any) -> x509.IssuingDistributionPoint:
    """What the STI-PA's list says of itself."""
    said: dict[str, Any] = {
        "full_name": [x509.UniformResourceIdentifier(LIST_URL)],
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": True,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**said, **changes})


def revocation_list(
    *entries: x509.RevokedCertificate,
    by: Holder | None = None,
    issued: datetime = T0,
    due: datetime | None = None,
    of: x509.IssuingDistributionPoint | None = None,
    further: x509.ExtensionType | None = None,
    algorithm: hashes.SHA224 | None = None,
) -> bytes:
    """The STI-PA's list of these entries, due again after two days (DER)."""
    signing = by or sti_pa()
    build = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signing.certificate.subject)
        .last_update(issued)
        .next_update(due or issued + timedelta(days=2))
        .add_extension(of or indirect(), critical=True)
        .add_extension(x509.CRLNumber(7), critical=False)
    )
    if further is not None:
        build = build.add_extension(further, critical=True)
    for one in entries:
        build = build.add_revoked_certificate(one)
    signed_list = build.sign(signing.key, algorithm or hashes.SHA256())
    return signed_list.public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Sti:
    """A root, an authority under it, and whom it certifies."""

    root: Holder
    between: Holder

    def signer(self, name: str = "birch", code: str = "709J", **changes: Any) -> Holder:
        """The certificate of a service provider."""
        return issue(f"SHAKEN {name}", self.between, **{"codes": tn_auth_list(code), "told_by": point(), **changes})


@cache
def sti(name: str = "STI") -> Sti:
    """An authority of this name."""
    root = issue(f"{name} root", authority=True)
    return Sti(root, issue(f"{name} CA", root, authority=True))


def rsa_key() -> rsa.RSAPrivateKey:
    """A key that no PASSporT can be signed with."""
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Making:
    """What a header is to say; changed by `header` and `payload` entry by entry, None takes one out."""

    attestation: str = "A"
    orig: str = CALLING[1:]
    dest: tuple[str, ...] = (CALLED[1:],)
    issued: datetime = T0
    origid: str = ORIGID
    x5u: str = X5U
    header: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)


def identity(by: Holder | None = None, **changes: Any) -> str:
    """The value of an Identity header that the holder signed."""
    making = Making(**changes)
    payload = {
        "attest": making.attestation,
        "dest": {"tn": list(making.dest)},
        "iat": int(making.issued.timestamp()),
        "orig": {"tn": making.orig},
        "origid": making.origid,
    }
    header = {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": making.x5u}
    return signed(by or sti().signer(), _changed(header, making.header), _changed(payload, making.payload))


def diverted(
    by: Holder, was: str, now_for: str, issued: datetime = T0, orig: str = CALLING[1:], kind: str = "div"
) -> str:
    """The value of an Identity header of a call that was forwarded (RFC 8946)."""
    header = {"alg": "ES256", "ppt": kind, "typ": "passport", "x5u": X5U}
    payload = {
        "dest": {"tn": [now_for]},
        "div": {"tn": was},
        "iat": int(issued.timestamp()),
        "orig": {"tn": orig},
    }
    return signed(by, header, payload)


def signed(by: Holder, header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    """Any header and payload, signed, as the value of an Identity header."""
    covered = f"{encoded(header)}.{encoded(payload)}"
    r, s = decode_dss_signature(by.key.sign(covered.encode(), ec.ECDSA(hashes.SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=").decode()
    ppt = f";ppt={header['ppt']}" if "ppt" in header else ""
    return f"{covered}.{signature};info=<{header.get('x5u')}>;alg=ES256{ppt}"


def encoded(content: Any) -> str:
    """JSON in the one form of RFC 8225 9, in base64url."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _changed(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in ({**content, **changes}).items() if value is not None}


def soon(seconds: float) -> datetime:
    """A time so long after the call."""
    return T0 + timedelta(seconds=seconds)
