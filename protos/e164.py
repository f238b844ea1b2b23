"""Telephone numbers in E.164 form, as a type that can't hold anything else.

Refuses whatever is not `+`, a country code and at most fifteen digits in all (ITU-T E.164). It does not guess a
country and does not strip prefixes: that is the business of the adapters, which know the trunk a number came over.
"""

from __future__ import annotations

import re
from typing import NewType

E164 = NewType("E164", str)
"""A number such as `+12025550143`. Make one with `parse_e164`, never by a cast."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


class InvalidNumberError(ValueError):
    """The text is no E.164 number. The message does not repeat it: it may be a subscriber's."""


def parse_e164(text: str) -> E164:
    """Return `text` as E164.

    Raises:
        InvalidNumberError: it is not `+` followed by 7 to 15 digits, the first not zero.
    """
    if _E164.fullmatch(text) is None:
        raise InvalidNumberError(
            f"not an E.164 number ({len(text)} characters): write '+', the country code and the number, digits only"
        )
    return E164(text)


def to_int(number: E164) -> int:
    """The digits as an integer below 10**15, the form that travels in packed columns."""
    return int(number[1:])


def from_int(digits: int) -> E164:
    """The inverse of `to_int`.

    Raises:
        InvalidNumberError: the integer is not the digits of an E.164 number.
    """
    return parse_e164(f"+{digits}")


def masked(number: str) -> str:
    """A form for messages and logs at default level: country code area and length, never the subscriber."""
    return f"{number[:2]}…({len(number) - 1} digits)"
