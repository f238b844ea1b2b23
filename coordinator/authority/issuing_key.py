"""The authority's own key: read from a file that nobody else can read, or held by a command that signs.

The issuing key says who is who. The online evidence key says what the coordinator asks. Whoever steals one must not
have the other, so that they are never the same: an Ed25519 key, which evidence is signed with, is refused here.

A command keeps the key out of this process, in an HSM or a KMS: it gets the bytes to be signed on standard input and
writes the signature (ECDSA with SHA-256, DER) to standard output. A signature that does not verify is refused.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

COMMAND_TIMEOUT_S: Final = 10.0


class AuthorityError(Exception):
    """The authority can't do what is asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues: the root's certificate and what signs for it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def read_issuer(certificate: Path, key: Path | Sequence[str], now: datetime) -> Issuer:
    """The authority whose certificate lies there, with its key in a file or, as words, the command that signs with it.

    Raises:
        AuthorityError: a file can't be used, or the two don't belong together.
    """
    try:
        root = x509.load_pem_x509_certificate(certificate.read_bytes())
    except OSError as error:
        raise AuthorityError(f"certificate {certificate} can't be read: {error.strerror}") from None
    except ValueError:
        raise AuthorityError(f"certificate {certificate} holds no certificate in PEM form") from None
    public = _check_root(root, certificate, now)
    if not isinstance(key, Path):
        return Issuer(root, CommandKey(key, public))
    private = _read_key(key)
    if private.public_key() != public:
        raise AuthorityError(f"issuing key {key} is not the key of certificate {certificate}")
    return Issuer(root, private)


def _check_root(root: x509.Certificate, path: Path, now: datetime) -> ec.EllipticCurvePublicKey:
    try:
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
        may = constraints.ca and usage.key_cert_sign and usage.crl_sign
    except x509.ExtensionNotFound:
        may = False
    if not may:
        raise AuthorityError(f"certificate {path} may not issue certificates and revocation lists (RFC 5280, 4.2.1.3)")
    if not root.not_valid_before_utc <= now < root.not_valid_after_utc:
        raise AuthorityError(
            f"certificate {path} is valid from {root.not_valid_before_utc:%Y-%m-%d} to "
            f"{root.not_valid_after_utc:%Y-%m-%d}: make a new authority, and pin both while certificates move over"
        )
    public = root.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise AuthorityError(f"certificate {path} has no elliptic curve key such as P-256; TLS needs one")
    return public


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if path.stat().st_mode & 0o077:
            raise AuthorityError(f"issuing key {path} can be read by others: chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise AuthorityError(f"issuing key {path} can't be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise AuthorityError(f"issuing key {path} holds no unencrypted private key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError(
            f"issuing key {path} is no elliptic curve key: the evidence key, or any other, can't issue certificates"
        )
    return key


class CommandKey(ec.EllipticCurvePrivateKey):
    """A key that is somewhere else: a command signs with it."""

    def __init__(self, command: Sequence[str], public: ec.EllipticCurvePublicKey) -> None:
        self._command, self._public = tuple(command), public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """The command's signature of `data`.

        Raises:
            AuthorityError: the command fails, takes too long, or signs with another key.
        """
        try:
            run = subprocess.run(
                self._command, input=bytes(data), capture_output=True, timeout=COMMAND_TIMEOUT_S, check=True
            )
            self._public.verify(run.stdout, bytes(data), signature_algorithm)
        except subprocess.TimeoutExpired:
            raise AuthorityError(f"{self._command[0]} gave no signature within {COMMAND_TIMEOUT_S:.0f} s") from None
        except subprocess.CalledProcessError as error:
            raise AuthorityError(f"{self._command[0]} failed to sign, with exit code {error.returncode}") from None
        except OSError as error:
            raise AuthorityError(f"{self._command[0]} can't be run: {error.strerror}") from None
        except InvalidSignature:
            raise AuthorityError(f"what {self._command[0]} gave is no signature of the authority's key") from None
        return run.stdout

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The key that verifies."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public.key_size

    def exchange(self, algorithm: object, peer_public_key: object) -> NoReturn:
        """Nothing but signing is done with it."""
        del algorithm, peer_public_key
        raise AuthorityError("an issuing key only signs")

    def private_numbers(self) -> NoReturn:
        """It never leaves."""
        raise AuthorityError("the key is not here")

    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> NoReturn:
        """It never leaves."""
        del encoding, format, encryption_algorithm
        raise AuthorityError("the key is not here")

    def __copy__(self) -> CommandKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CommandKey:
        return self


SIGNED_WITH: Final = hashes.SHA256()
"""The digest in every signature of the authority."""
