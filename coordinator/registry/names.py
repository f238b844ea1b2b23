"""Company names as tokens, and how alike two of them are. Pure, deterministic, explained.

A name is folded: accents, case and punctuation go, `&` becomes `and`, legal forms (Inc, LLC, GmbH ...) are put aside.
What is left are tokens; words that half of the trade has in its name (telecom, networks, voice ...) weigh little. Two
names are as alike as their tokens' weights in common (Dice), where tokens with a typing error or two count in part;
names that differ in their spacing alone are compared without it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_LEGAL = """
inc incorporated corp corporation co company llc lc ltd limited lp llp lllp pllc pc plc gmbh ag sa sas sarl srl bv
nv oy ab as aps pty pte spa kg kft sro doo the
"""
LEGAL_FORMS = frozenset(_LEGAL.split())
_COMMON = """
telecom telecommunications telecommunication telephone telephony tel communications communication comm wireless
mobile cellular network networks net voice voip cloud services service solutions systems technologies technology
tech group holdings international global usa us america american digital internet broadband cable fiber connect and
of
"""
COMMON_WORDS = frozenset(_COMMON.split())
COMMON_WEIGHT = 0.3
LIKE_ENOUGH = 0.7
"""Tokens less alike than this have nothing in common."""

_LONG_ENOUGH = 4
_WORD = re.compile(r"[a-z0-9]+")
_DOTTED = re.compile(r"\b(?:[a-z]\.){2,}|(?<=\b[a-z])\.(?=[a-z]\b)")
_HYPHEN = re.compile(r"(?<=\b[a-z])-(?=[a-z])")  # T-Mobile
_DBA = re.compile(r"\b(?:d\s*/\s*b\s*/\s*a|d\.b\.a\.|dba|doing business as)\b:?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Folded:
    """A name's tokens in order without legal forms, and the legal forms."""

    tokens: tuple[str, ...]
    legal: frozenset[str]

    @property
    def joined(self) -> str:
        """The tokens without blanks between, nor `and`, so that AT&T is ATT."""
        return "".join(word for word in self.tokens if word != "and") or "".join(self.tokens)

    @property
    def core(self) -> str:
        """The same without the words that half of the trade has."""
        return "".join(token for token in self.tokens if token not in COMMON_WORDS)

    @property
    def numerals(self) -> frozenset[str]:
        """Tokens with digits: Level 3 is not Level 4."""
        return frozenset(token for token in self.tokens if not token.isalpha())


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two names are, from 0 to 1, and why in a few words."""

    score: float
    why: str


@lru_cache(maxsize=65536)
def fold(name: str) -> Folded:
    """The tokens of `name`."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    text = "".join(char for char in plain if not unicodedata.combining(char)).replace("&", " and ").replace("'", "")
    text = _HYPHEN.sub("", text)
    text = _DOTTED.sub(lambda match: match[0].replace(".", ""), text)
    words = _WORD.findall(text)
    legal = frozenset(word for word in words if word in LEGAL_FORMS)
    rest = tuple(word for word in words if word not in LEGAL_FORMS)
    return Folded(rest or tuple(words), legal if rest else frozenset())


def split_dba(text: str) -> tuple[str, ...]:
    """`Acme Inc d/b/a Acme Voice` as its two names; any other text as one."""
    return tuple(part.strip(" ,;()") for part in _DBA.split(text) if part.strip(" ,;()"))


def likeness(one: Folded, other: Folded) -> Likeness:
    """How alike two names are; the same both ways round."""
    if not one.tokens or not other.tokens:
        return Likeness(0.0, "nothing in common")
    if one.tokens == other.tokens:
        same = one.legal == other.legal
        return Likeness(1.0 if same else 0.98, "the same name" if same else "the same but for the legal form")
    if one.joined == other.joined:
        return Likeness(0.97, "the same but for the spacing")
    if len(one.core) >= _LONG_ENOUGH and one.core == other.core:
        return Likeness(0.9, "the same but for spacing and common words")
    shared, pairs = _shared(one.tokens, other.tokens)
    total = sum(map(_weight, one.tokens)) + sum(map(_weight, other.tokens))
    dice = min(2 * shared / total, 0.96)
    if not any(word not in COMMON_WORDS for pair in pairs for word in pair.split("~")):
        dice /= 2  # nothing in common but what half of the trade is called
    whole = 0.95 * _alike(one.core, other.core) if one.core and one.numerals == other.numerals else 0.0
    if whole > dice and whole >= LIKE_ENOUGH:
        return Likeness(round(whole, 4), "written almost the same")
    return Likeness(round(dice, 4), "in common: " + ", ".join(pairs) if pairs else "nothing in common")


def _weight(token: str) -> float:
    return COMMON_WEIGHT if token in COMMON_WORDS else 1.0


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[float, list[str]]:
    """The weight in common, each token used once, best pairs first."""
    pairs = sorted(
        (
            (-_alike(a, b) * min(_weight(a), _weight(b)), min(a, b), max(a, b), i, j)
            for i, a in enumerate(one)
            for j, b in enumerate(other)
            if _alike(a, b) >= LIKE_ENOUGH
        )
    )
    mine: set[int] = set()
    theirs: set[int] = set()
    total, words = 0.0, []
    for value, a, b, i, j in pairs:
        if i not in mine and j not in theirs:
            mine.add(i)
            theirs.add(j)
            total -= value
            words.append(a if a == b else f"{a}~{b}")
    return total, words


@lru_cache(maxsize=262144)
def _alike(one: str, other: str) -> float:
    """1 less the share of edits; short tokens must be equal, for one edit makes another word of them."""
    if one == other:
        return 1.0
    if not other:
        return 0.0
    longest = max(len(one), len(other))
    if min(len(one), len(other)) < 4 or one[0].isdigit() or other[0].isdigit():
        return 0.0
    if 1 - abs(len(one) - len(other)) / longest < LIKE_ENOUGH:
        return 0.0
    return 1 - edits(one, other) / longest


def edits(one: str, other: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        last, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
