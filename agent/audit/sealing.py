"""What only the provider can read of its log: AES-256-GCM under a key derived from the index's root key.

A sealed part is a nonce of 12 random bytes and the encrypted items: a tag of one byte, a length of two (big-endian),
the value; unknown tags are passed over. It is bound to its entry's kind and question, so that it can't be moved to
another one. Random nonces serve for 2^32 entries under one key (NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protos.part_bytes import PART_SIZE

_NONCE: Final = 12
QUESTION, NAMING, FINDING, SALT, RECORD, NOTE = range(1, 7)


class SealBrokenError(ValueError):
    """The sealed part was altered, belongs to another entry, or was sealed under another key."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a sealed part holds; empty where it holds nothing of that.

    Attributes:
        question: the exact bytes of the Question.
        naming, finding: the exact parts of the answer.
        salt, record: what opens the answer's commitment: SHA-256 of salt followed by record.
        note: words of an operator, or of the agent.
    """

    question: bytes = b""
    naming: bytes = b""
    finding: bytes = b""
    salt: bytes = b""
    record: bytes = b""
    note: str = ""


def item(tag: int, value: bytes) -> bytes:
    """One item of what is to be sealed."""
    return b"%c%b%b" % (tag, len(value).to_bytes(2, "big"), value)


class AuditKey:
    """Seals and opens. `secret` is 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(secret)
        self.encrypt = self._cipher.encrypt

    def __repr__(self) -> str:
        return "AuditKey(…)"

    def seal(self, plain: bytes, kind: int, question_sha256: bytes) -> bytes:
        """The sealed part of an entry."""
        nonce = os.urandom(_NONCE)
        return nonce + self.encrypt(nonce, plain, bound_to(kind, question_sha256))

    def open(self, sealed: bytes, kind: int, question_sha256: bytes) -> Opened:
        """What a sealed part holds.

        Raises:
            SealBrokenError: altered, of another entry, or sealed under another key.
        """
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to(kind, question_sha256))
        except (InvalidTag, ValueError):
            raise SealBrokenError("the sealed part was altered, or sealed under another root key") from None
        return _items(plain)


def bound_to(kind: int, question_sha256: bytes) -> bytes:
    """What a sealed part is bound to."""
    return b"%c%b" % (kind, question_sha256)


def _padded(part: bytes | None) -> bytes:
    """A part of an answer with the zeros that fill it up to its size, which are not sealed."""
    return b"" if part is None else part.ljust(PART_SIZE, b"\0")


def _items(plain: bytes) -> Opened:
    values: dict[int, bytes] = {}
    at = 0
    while at < len(plain):
        length = int.from_bytes(plain[at + 1 : at + 3], "big")
        if at + 3 + length > len(plain):
            raise SealBrokenError("the sealed part is not what this version seals")
        values[plain[at]] = plain[at + 3 : at + 3 + length]
        at += 3 + length
    return Opened(
        question=values.get(QUESTION, b""),
        naming=_padded(values.get(NAMING)),
        finding=_padded(values.get(FINDING)),
        salt=values.get(SALT, b""),
        record=values.get(RECORD, b""),
        note=values.get(NOTE, b"").decode("utf-8", "replace"),
    )
