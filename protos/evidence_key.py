"""The key with which a party signs evidence, and the certificate that says whose it is, read and checked together.

Refused when they are read, all mistakes at once: a key that others can read, a certificate of another key, of no pinned
root, not for evidence, of another party, or not valid now. One that was valid when it signed stays good for what it
signed: whoever checks an answer asks for the time of signing, so that a renewal needs no second signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from protos.certificates import CertificateError, Certified, PinnedRoots
from protos.signing import KeyFormatError, Signer, read_signer


class EvidenceKeyError(ValueError):
    """The files can't be used; `problems` says of each what is wrong and what to do."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """A signer with its certificate: as DER, and as what that says."""

    signer: Signer = field(repr=False)
    certificate: bytes = field(repr=False)
    certified: Certified


def read_evidence_key(certificate: Path, key: Path, roots: PinnedRoots, uri: str, now: datetime) -> EvidenceKey:
    """The key and certificate of the party `uri`, whose certificate one of `roots` issued.

    Raises:
        EvidenceKeyError: one of the files can't be used.
    """
    problems: list[str] = []
    signer = certified = None
    der = b""
    try:
        signer = read_signer(key)
    except KeyFormatError as error:
        problems.append(str(error))
    try:
        der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
        certified = roots.certified(der)
    except OSError as error:
        problems.append(f"certificate {certificate} can't be read: {error.strerror}")
    except CertificateError as error:
        problems.append(f"certificate {certificate} does not count: {error}")
    except ValueError:
        problems.append(f"certificate {certificate} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    if certified is not None:
        if certified.uri != uri:
            problems.append(f"certificate {certificate} is of {certified.uri}, not of {uri}")
        if not certified.valid_at(now):
            problems.append(
                f"certificate {certificate} is valid from {certified.valid_from:%Y-%m-%dT%H:%M:%SZ} "
                f"to {certified.valid_to:%Y-%m-%dT%H:%M:%SZ}: renew it, or check this machine's clock"
            )
        if signer is not None and signer.public != certified.key:
            problems.append(f"signing key {key} is not the key of certificate {certificate}")
    if problems or signer is None or certified is None:
        raise EvidenceKeyError(problems)
    return EvidenceKey(signer, der, certified)
