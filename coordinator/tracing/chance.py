"""What looks like chance and can be repeated: numbers that derive from what they are for."""

from __future__ import annotations

import hashlib


def scatter(seed: str) -> float:
    """A number from 0 up to 1, the same for the same `seed`."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6], "big") / 2**48
