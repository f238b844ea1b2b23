"""How numbers are written in a column: ten digits, eleven, with a plus, behind 011, 00 or a technical prefix.

Names the form, never the number; of a prefix it shows the digits that stand before the number, which are a trunk's and
nobody's own. Says nothing about whether a mapping reads them: that is `numbers.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from cdr_adapters.numbers import dialled_digits

EMPTY = "empty"
NO_NUMBER = "no number (a name, a host, an address)"
OTHER = "other forms"
_MOST_FORMS = 40
_LONGEST_PREFIX = 12

_WRAPPED = re.compile(r"\s*(?:\"[^\"]*\"\s*|[^<>\"@]*)<?(?P<scheme>sips?|tel):", re.IGNORECASE)
_NATIONAL = re.compile(r"(?:1)?[2-9][0-9]{2}[2-9][0-9]{6}", re.ASCII)
_WITH_MARKS = re.compile(r"(?P<prefix>[0-9*#]*[*#])(?P<rest>\+?[0-9]{7,15})", re.ASCII)
_RUN_TOGETHER = re.compile(r"(?P<prefix>[0-9]{2,12}?)(?P<rest>1[2-9][0-9]{2}[2-9][0-9]{6})", re.ASCII)


def form_of(text: str | None) -> str:
    """In which form `text` writes a number, in a few words."""
    if text is None or not text.strip():
        return EMPTY
    digits = dialled_digits(text)
    if digits is None:
        return NO_NUMBER
    scheme = _WRAPPED.match(text)
    around = f" in {scheme['scheme'].lower()}: URI" if scheme else " in user@host" if "@" in text else ""
    return _plain(digits) + around


def _plain(digits: str) -> str:
    if digits.startswith("+"):
        return "+1 and 10 digits" if digits.startswith("+1") and len(digits) == 12 else "+, another country's"
    if (marked := _WITH_MARKS.fullmatch(digits)) is not None and len(marked["prefix"]) <= _LONGEST_PREFIX:
        return f"prefix {marked['prefix']} before {_plain(marked['rest'])}"
    if not digits.isdigit():
        return "digits with * or #"
    if _NATIONAL.fullmatch(digits):
        return "10d" if len(digits) == 10 else "11d"
    if digits.startswith("011") and len(digits) >= 10:
        return "011 and country code"
    if digits.startswith("00") and len(digits) >= 10:
        return "00 and country code"
    if len(digits) >= 13 and (joined := _RUN_TOGETHER.fullmatch(digits)) is not None:
        return f"prefix {joined['prefix']} before 11d"
    return f"{len(digits)} digits"


def called_format_of(form: str) -> str | None:
    """The called format that reads a form as `form_of` names it; None where none does for sure."""
    plain = form.partition(" in ")[0]
    if plain.startswith("prefix ") and " before " in plain:
        prefix, _, rest = plain.removeprefix("prefix ").partition(" before ")
        inner = called_format_of(rest)
        return f"tech:{prefix}:{inner}" if inner is not None else None
    return {
        "10d": "10d",
        "11d": "11d",
        "+1 and 10 digits": "e164",
        "+, another country's": "e164",
        "011 and country code": "011e164",
        "00 and country code": "00e164",
    }.get(plain)


class FormCounter:
    """Counts forms in bounded memory: what comes after the first forty distinct ones counts as other."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, texts: Iterable[tuple[str | None, int]]) -> None:
        """Count texts, each with how often it occurs."""
        for text, times in texts:
            form = form_of(text)
            known = form in self.counts or len(self.counts) < _MOST_FORMS
            self.counts[form if known else OTHER] += times
