"""Tokens of links: 256 random bits, known to the letter alone; what is stored is their SHA-256.

A token is high in entropy, so that a plain digest can't be searched; looking it up by digest leaks nothing by timing.
It answers one task for one provider, once, until it expires.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable

TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def new_token(random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new token, safe in a URL: 43 characters."""
    return base64.urlsafe_b64encode(random(TOKEN_BYTES)).rstrip(b"=").decode("ascii")


def token_digest(token: str) -> bytes | None:
    """What is stored of `token`, 32 bytes; None where the text can't be one."""
    if _TOKEN.fullmatch(token) is None:
        return None
    try:
        random = base64.urlsafe_b64decode(token + "=")
    except binascii.Error:  # pragma: no cover  the pattern admits nothing else
        return None
    return hashlib.sha256(random).digest()
