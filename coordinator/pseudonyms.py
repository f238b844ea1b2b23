"""Pseudonyms of telephone numbers: the same number has the same one, and only who has the key can tell which. Pure.

A pseudonym is the first 39 bits or so of HMAC-SHA-256 under the key, written as a number of country code 999, which
ITU-T E.164 assigns to nobody: so it fits wherever a number stands, is never dialled, and is known for what it is.
Whoever holds the key can try all numbers there are: keep it apart from the database, and destroy it when nobody may
link old calls any more.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from protos.e164 import E164, parse_e164

PREFIX = "+999"
_DIGITS = 12
_FEWEST, _GAP = 7, 3
_LIKE_A_NUMBER = re.compile(rf"[+(]*\d(?:[\W_]{{0,{_GAP}}}\d){{{_FEWEST - 1},}}")
TAKEN_OUT = "(number)"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Pseudonyms under one key of 32 bytes."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")

    def of(self, number: E164) -> E164:
        """The pseudonym of `number`; a pseudonym stays as it is, so that doing it twice is doing it once."""
        if is_pseudonym(number):
            return number
        digest = hmac.digest(self.key, b"hopback retention, number: " + number.encode("ascii"), hashlib.sha256)
        return parse_e164(f"{PREFIX}{int.from_bytes(digest, 'big') % 10**_DIGITS:0{_DIGITS}d}")

    def of_any(self, number: E164 | None) -> E164 | None:
        """The same, None for None."""
        return None if number is None else self.of(number)


def is_pseudonym(number: str) -> bool:
    """Whether `number` stands for one that was taken out."""
    return number.startswith(PREFIX) and len(number) == len(PREFIX) + _DIGITS


def without_numbers(text: str) -> str:
    """What a person wrote, with `(number)` for whatever could be a telephone number.

    That is: seven digits or more of any script, and between two of them no more than three signs that are neither
    letter nor digit; dates go, too.
    """
    return _LIKE_A_NUMBER.sub(TAKEN_OUT, text)


def parse_key(text: str) -> bytes:
    """A key from 64 hexadecimal digits.

    Raises:
        ValueError: they are none.
    """
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("the key must be 64 hexadecimal digits")
    return key
