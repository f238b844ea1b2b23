"""Text from outside, made fit for a terminal: another party's words, values and headings out of files.

Control characters, escape sequences and what looks like nothing become spaces. This says nothing about content:
telephone numbers are for the caller to keep out.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = 1000


def printable(text: str, limit: int = LONGEST) -> str:
    """`text` cut to `limit` characters and without anything that could steer a terminal."""
    clean = "".join(character if character.isprintable() else " " for character in text[:limit])
    return clean if len(text) <= limit else clean + "…"
