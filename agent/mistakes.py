"""Mistakes in a configuration, in the words that people need: where, what is wrong, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: the key it lies at, and what is wrong and what to write instead."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ConfigError(Exception):
    """The configuration can't be used; `mistakes` lists everything that is wrong with it."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        super().__init__(f"{source}: " + "; ".join(map(str, self.mistakes)))


def where_is(location: Iterable[str | int], document: Mapping[str, Any]) -> str:
    """The path of a key as people find it: tables of a list counted from 1, with their name beside the count."""
    node: Any = document
    text = ""
    for part in location:
        if isinstance(part, int):
            node = node[part] if isinstance(node, list) and part < len(node) else None
            text += f"[{part + 1}]"
            if isinstance(node, dict) and isinstance(node.get("name"), str):
                text += f"({node['name']})"
        else:
            node = node.get(part) if isinstance(node, dict) else None
            text += f".{part}" if text else part
    return text or "file"


def meant(word: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown word: the known one that was probably meant, else all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": known are {', '.join(known)}" if known else ""
