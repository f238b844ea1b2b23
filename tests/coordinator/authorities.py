"""An issuing authority with two operators, for tests: synthetic keys, a clock that stands where the test puts it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from coordinator.authority.authority import Authority, token_digest
from coordinator.authority.issuing import root
from coordinator.authority.issuing_key import Issuer
from coordinator.authority.ledger import Ledger
from coordinator.authority.operators import Signed, Token
from protos.identity import parse_provider_id
from protos.key_pairs import key_pem, new_evidence_key, new_tls_key, signing_request, write_whole
from protos.renewal import Obtained, Places, check_certificates
from protos.signing import Signer

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
CAROL, DAVE, ERIN = (Signer(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2, 3))
OPERATORS = {"carol": CAROL.public, "dave": DAVE.public}


@dataclass
class Requests:
    """Keys and signing requests of one who wants certificates."""

    tls_key: ec.EllipticCurvePrivateKey = field(default_factory=new_tls_key)
    evidence_key: Ed25519PrivateKey = field(default_factory=new_evidence_key)

    @property
    def tls(self) -> bytes:
        return signing_request(self.tls_key)

    @property
    def evidence(self) -> bytes:
        return signing_request(self.evidence_key)


@dataclass
class TestedAuthority:
    """An authority in a directory, and its clock."""

    __test__ = False

    directory: Path
    now: datetime = START
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_tls_key)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "synthetic authority")])
        certificate = root(name, self.key, self.now - timedelta(days=1), self.now + timedelta(days=1000))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.root_file, self.key_file = self.directory / "root.crt", self.directory / "root.key"
        write_whole(self.root_file, certificate.public_bytes(Encoding.PEM), secret=False)
        write_whole(self.key_file, key_pem(self.key), secret=True)
        self.issuer = Issuer(certificate, self.key)
        self.ledger = Ledger.create(self.directory / "ledger.db")
        self.authority = Authority(self.issuer, self.ledger, OPERATORS)

    def clock(self) -> datetime:
        return self.now

    def invited(self, provider: str = "birch", *signers: tuple[str, Signer]) -> tuple[str, Signed]:
        """A token, and what the operators signed for it."""
        token = secrets.token_urlsafe(32)
        signed = Signed(Token(parse_provider_id(provider), token_digest(token), self.now + timedelta(seconds=590)))
        for name, signer in signers or (("carol", CAROL), ("dave", DAVE)):
            signed = signed.by(name, signer)
        return token, signed

    def token(self, provider: str = "birch") -> str:
        """A token that may be used."""
        token, signed = self.invited(provider)
        self.authority.grant(signed, self.now)
        return token

    def enrolled(self, directory: Path, uri: str) -> Places:
        """The places of a party, with certificates in them."""
        places = places_in(directory)
        write_whole(places.roots, self.authority.roots, secret=False)
        wants = Requests()
        pair = self.authority.issue(uri, wants.tls, wants.evidence, "test", self.now)
        check_certificates(uri, places, Obtained(pair.tls, pair.evidence))
        places.tls.stage(wants.tls_key, pair.tls)
        places.evidence.stage(wants.evidence_key, pair.evidence)
        places.recover()
        return places


def places_in(directory: Path) -> Places:
    from protos.key_pairs import KeyPair

    directory.mkdir(parents=True, exist_ok=True)
    tls = KeyPair(directory / "tls.crt", directory / "tls.key")
    evidence = KeyPair(directory / "evidence.crt", directory / "evidence.key")
    return Places(tls, directory / "roots.crt", evidence, directory / "roots.crt")


def leaf(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


def uris_of(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)
