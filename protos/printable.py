"""Text from outside, made fit for a terminal: another party's words, values and headings out of files.

Control characters, escape sequences and what looks like nothing become spaces. This says nothing about content:
telephone numbers are for the caller to keep out.
"""

from __future__ import annotations

import unicodedata
from typing import Final

LONGEST: Final = 1000
_STEERS: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str, limit: int = LONGEST) -> str:
    """`text` cut to `limit` characters and without anything that could steer a terminal."""
    clean = "".join(character if character.isprintable() else " " for character in text[:limit])
    return clean if len(text) <= limit else clean + "…"


def is_plain(text: str) -> bool:
    """Whether `text` steers nothing: of control characters and line ends tab and line feed alone, nothing invisible."""
    return text.isprintable() or not any(
        unicodedata.category(character) in _STEERS and character not in "\n\t" for character in text
    )
