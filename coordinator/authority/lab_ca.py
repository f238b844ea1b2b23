"""A certificate authority for trying hopback out: one directory, one root key, certificates for a lab's parties.

It issues what a real authority would have to issue: P-256 keys (gRPC's TLS library refuses Ed25519 certificates),
X.509 v3 (RFC 5280), the identity as URI and as DNS name (`protos.identity`), good for both ends of mutual TLS; and
Ed25519 keys for signing evidence, which are good for nothing else (`protos.certificates`).
Every certificate says in its subject that it belongs to a lab.

It refuses to overwrite an existing authority, and it is no tool for production: it makes other parties' keys for them,
and there is no enrolment, no revocation, no renewal. `coordinator.authority` has all that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coordinator.authority.issuing import BACKDATED, EVIDENCE_USAGES, TLS_USAGES, leaf, root
from coordinator.authority.issuing_key import Issuer
from protos.identity import (
    ProviderId,
    coordinator_tls_name,
    coordinator_uri,
    parse_provider_id,
    provider_tls_name,
    provider_uri,
)
from protos.key_pairs import PrivateKey, key_pem, new_evidence_key, new_tls_key, write_whole
from protos.signing import PublicKey

LAB_ORGANISATION = "hopback lab, for trying out only"
ROOT_LIFETIME = timedelta(days=365)
LEAF_LIFETIME = timedelta(days=90)
ROOT_CERTIFICATE = "ca.crt"
ROOT_KEY = "ca.key"

Clock = Callable[[], datetime]


class LabAuthorityError(Exception):
    """The authority can't be made or read; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Paths of what one party needs for mutual TLS: its certificate, its private key, and the roots that it trusts."""

    certificate: Path
    key: Path
    roots: Path


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, LAB_ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def make_person_key(path: Path) -> PublicKey:
    """Write a new private key of a person (Ed25519) to `path`, readable by its owner alone; its public key.

    Raises:
        LabAuthorityError: there is a file already.
    """
    if path.exists():
        raise LabAuthorityError(f"{path} exists: what was signed with a key that is overwritten could not be repeated")
    key = new_evidence_key()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, key_pem(key), secret=True)
    return PublicKey.of(key.public_key())


class LabAuthority:
    """A lab's certificate authority, kept in one directory as `ca.crt` and `ca.key`.

    Make one with `create`, or open an existing one with `open`; then issue certificates for parties.
    """

    def __init__(
        self, directory: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, clock: Clock
    ) -> None:
        self.directory = directory
        self._certificate = certificate
        self._key = key
        self._clock = clock

    @classmethod
    def create(cls, directory: Path, *, clock: Clock = _utc_now) -> LabAuthority:
        """Make a new authority in `directory`, which is created where it is missing.

        Raises:
            LabAuthorityError: the directory already holds one.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for name in (ROOT_CERTIFICATE, ROOT_KEY):
            if (directory / name).exists():
                raise LabAuthorityError(
                    f"{directory / name} exists: a new authority would make every certificate issued by it worthless; "
                    "use another directory, or remove both ca.crt and ca.key first"
                )
        key, now = new_tls_key(), clock()
        certificate = root(_name("root"), key, now - BACKDATED, now + ROOT_LIFETIME)
        write_whole(directory / ROOT_KEY, key_pem(key), secret=True)
        write_whole(directory / ROOT_CERTIFICATE, _pem(certificate), secret=False)
        return cls(directory, certificate, key, clock)

    @classmethod
    def open(cls, directory: Path, *, clock: Clock = _utc_now) -> LabAuthority:
        """The authority that `create` left in `directory`.

        Raises:
            LabAuthorityError: there is none, or its files can't be read.
        """
        try:
            certificate = x509.load_pem_x509_certificate((directory / ROOT_CERTIFICATE).read_bytes())
            key = serialization.load_pem_private_key((directory / ROOT_KEY).read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise LabAuthorityError(
                f"no lab authority in {directory} ({ROOT_CERTIFICATE} and {ROOT_KEY}): {error}; "
                "make one with `hopback-coordinator init`"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise LabAuthorityError(f"{directory / ROOT_KEY} is not the key of {directory / ROOT_CERTIFICATE}")
        return cls(directory, certificate, key, clock)

    def issue_provider(self, provider: ProviderId | str, out: Path | None = None) -> Credentials:
        """Issue PROVIDER.crt and PROVIDER.key into `out` (default: the authority's directory), with ca.crt beside them.

        Issuing again replaces the files.

        Raises:
            protos.identity.InvalidIdentityError: `provider` is no provider id.
        """
        checked = parse_provider_id(provider)
        return self._issue(checked, provider_uri(checked), provider_tls_name(checked), out)

    def issue_coordinator(self, name: str, out: Path | None = None) -> Credentials:
        """Issue coordinator-NAME.crt and coordinator-NAME.key for the coordinator `hopback://coordinator/NAME`.

        Raises:
            protos.identity.InvalidIdentityError: `name` doesn't have the form of a provider id.
        """
        return self._issue(f"coordinator-{name}", coordinator_uri(name), coordinator_tls_name(name), out)

    def issue_caller(self, role: str, name: str, out: Path | None = None) -> Credentials:
        """Issue ROLE-NAME.crt and ROLE-NAME.key for somebody who uses the coordinator's own service.

        Raises:
            protos.identity.InvalidIdentityError: `name` doesn't have the form of a provider id.
        """
        checked = parse_provider_id(name)
        return self._issue(
            f"{role}-{checked}", f"hopback://{role}/{checked}", f"{checked}.{role}.hopback.internal", out
        )

    def issue_evidence(self, uri: str, file_stem: str, out: Path | None = None) -> Credentials:
        """Issue FILE_STEM.crt and FILE_STEM.key for signing evidence as the party of `uri`: Ed25519, never for TLS."""
        return self._issue(file_stem, uri, None, out)

    def issue_provider_evidence(self, provider: ProviderId | str, out: Path | None = None) -> Credentials:
        """Issue PROVIDER-evidence.crt and PROVIDER-evidence.key, with which its agent signs answers.

        Raises:
            protos.identity.InvalidIdentityError: `provider` is no provider id.
        """
        checked = parse_provider_id(provider)
        return self.issue_evidence(provider_uri(checked), f"{checked}-evidence", out)

    def issue_coordinator_evidence(self, name: str, out: Path | None = None) -> Credentials:
        """Issue coordinator-NAME-evidence.crt and .key: the online key, with which it signs questions.

        Raises:
            protos.identity.InvalidIdentityError: `name` doesn't have the form of a provider id.
        """
        return self.issue_evidence(coordinator_uri(name), f"coordinator-{name}-evidence", out)

    def _issue(self, file_stem: str, uri: str, tls_name: str | None, out: Path | None) -> Credentials:
        """Certificate and key for TLS, or, without a name for TLS, for signing evidence."""
        directory = out or self.directory
        directory.mkdir(parents=True, exist_ok=True)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        key: PrivateKey
        if tls_name is None:
            key, usages = new_evidence_key(), EVIDENCE_USAGES
        else:
            key, usages = new_tls_key(), TLS_USAGES
            names.append(x509.DNSName(tls_name))
        issuer, now = Issuer(self._certificate, self._key), self._clock()
        subject, lasts = _name(file_stem), (now - BACKDATED, now + LEAF_LIFETIME)
        certificate = leaf(issuer, subject, names, usages, key.public_key(), *lasts)
        credentials = Credentials(
            certificate=directory / f"{file_stem}.crt",
            key=directory / f"{file_stem}.key",
            roots=directory / ROOT_CERTIFICATE,
        )
        write_whole(credentials.key, key_pem(key), secret=True)
        write_whole(credentials.certificate, _pem(certificate), secret=False)
        if directory.resolve() != self.directory.resolve():
            write_whole(credentials.roots, _pem(self._certificate), secret=False)
        return credentials
