"""A customer's identity, sealed to the coordinator that asked: for what a person at the provider releases, and no more.

HPKE (RFC 9180) in base mode: X25519, HKDF-SHA-256, AES-256-GCM, through `cryptography`. The info binds the sealed text
to provider, coordinator, order and question, so that it can't be shown as an answer to something else. The file says
these four openly, and holds nothing else in the clear.

Refused: other formats, another coordinator's file, altered bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

FORMAT: Final = "hopback-sealed-identity-v1"
LARGEST: Final = 16 * 1024
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealedIdentityError(ValueError):
    """The file is none, or not for this key; the message says why."""


@dataclass(frozen=True, slots=True)
class About:
    """Whose customer, for which coordinator (its URI), under which order and question (digests, in hex)."""

    provider: str
    coordinator: str
    order_sha256: str
    question_sha256: str

    @property
    def info(self) -> bytes:
        """What the sealed text is bound to."""
        return "\n".join((FORMAT, self.provider, self.coordinator, self.order_sha256, self.question_sha256)).encode()


def seal_identity(text: str, about: About, key: bytes) -> bytes:
    """The file that only the holder of the private key to `key` (32 bytes, X25519) can read."""
    sealed = _SUITE.encrypt(text.encode(), X25519PublicKey.from_public_bytes(key), info=about.info)
    document = {
        "format": FORMAT,
        "provider": about.provider,
        "coordinator": about.coordinator,
        "order_sha256": about.order_sha256,
        "question_sha256": about.question_sha256,
        "sealed": base64.b64encode(sealed).decode(),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def open_identity(data: bytes, key: X25519PrivateKey) -> tuple[str, About]:
    """What was sealed, and about what.

    Raises:
        SealedIdentityError: it is no such file, was altered, or was sealed to another key.
    """
    try:
        if len(data) > 2 * LARGEST:
            raise ValueError("too large")  # noqa: TRY301 (one place says it all)
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError("another format")  # noqa: TRY301 (see above)
        names = ("provider", "coordinator", "order_sha256", "question_sha256")
        about = About(*(str(document[name]) for name in names))
        sealed = base64.b64decode(document["sealed"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise SealedIdentityError("it is no sealed identity of this version") from None
    try:
        return _SUITE.decrypt(sealed, key, info=about.info).decode(), about
    except (InvalidTag, ValueError):
        raise SealedIdentityError("it was altered, or sealed to another key") from None
