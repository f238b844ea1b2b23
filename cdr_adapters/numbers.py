"""Called and calling numbers as switches write them, turned into E.164.

`number_of` says for one text what it means; `number_columns` does the same for columns. `phonenumbers` says how long
numbers of a country are, and is asked for a number only where a trunk prefix may have to go.

What is understood: bare digits, URIs of `sip:`, `sips:` and `tel:` (RFC 3261, RFC 3966), `user@host`, angle brackets
with a display name, visual separators, percent-encoded `+`, `#` and `*`. Parameters such as `;npdi;rn=...` (RFC 4694)
are cut off: a routing number is never taken for the dialled one. A number that begins with `+` is E.164 whatever the
format says, once the tech prefix is gone. Refused, never guessed: a number that does not fit its declared format, a
number without its prefix on a prefixed trunk, an IP address, a decimal of a spreadsheet (`2025550143.0`), local and
service numbers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from protos.e164 import E164, InvalidNumberError, parse_e164

_BRACKETED = re.compile(r"<([^<>]*)>")
_SCHEME = re.compile(r"(sips?|tel):", re.IGNORECASE)
_BARE = re.compile(r"\+?[0-9]+", re.ASCII)
_DOTTED_QUAD = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)
_DECIMAL = re.compile(r"[-+]?[0-9]+\.0*", re.ASCII)
"""What a spreadsheet makes of a number: the last nought is no digit of it."""
_SEPARATORS = re.compile(r"[-. ()\t\u00a0]")
_DIALLED = re.compile(r"[0-9*#]*\+?[0-9*#]+", re.ASCII)
_FOREIGN_CONTEXT = re.compile(r";phone-context=\+(?!1(?:[^0-9]|$))", re.IGNORECASE)

NANP_LENGTH = 11
TEXT_LIMIT = 1024
"""Longer texts are no numbers; nothing looks at them."""


def dialled_digits(text: str) -> str | None:
    """The digits (with `+`, `*`, `#`) that stand for the number in `text`, without any interpretation of prefixes.

    None when the text holds no number: a name, a host, an address.
    """
    if len(text) > TEXT_LIMIT:
        return None
    rest = text.strip()
    if (bracketed := _BRACKETED.search(rest)) is not None:
        rest = bracketed[1].strip()
    scheme = _SCHEME.match(rest)
    rest = rest[scheme.end() :] if scheme else rest
    user, at, _ = rest.partition("@")
    number, _, parameters = user.partition(";")
    if scheme is not None and scheme[1].lower() != "tel" and not at and _BARE.fullmatch(number) is None:
        return None  # a SIP URI without a user part names a host
    if _FOREIGN_CONTEXT.search(";" + parameters):
        return None  # a local number of another country
    number = unquote(number.partition(":")[0]) if at else unquote(number)
    if _DOTTED_QUAD.fullmatch(number) or _DECIMAL.fullmatch(number):
        return None
    number = _SEPARATORS.sub("", number)
    return number if _DIALLED.fullmatch(number) else None


class Country(NamedTuple):
    """What `phonenumbers` knows of a country code, as far as a number is settled by it.

    `lengths`: how long a number without the code may be. `national`: what such a number may begin with that is no
    part of it when dialled from abroad (a trunk prefix); None when there is no such thing.
    """

    lengths: frozenset[int]
    national: re.Pattern[str] | None


@lru_cache(maxsize=1024)
def country(code: str) -> Country | None:
    """The country of a code, None when there is none; +1 is not asked for."""
    import phonenumbers

    region = phonenumbers.region_code_for_country_code(int(code))
    if region == phonenumbers.UNKNOWN_REGION:
        return None
    if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        metadata = phonenumbers.PhoneMetadata.metadata_for_nongeo_region(int(code), None)
    else:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region, None)
    if metadata is None:
        return None
    prefix = metadata.national_prefix_for_parsing
    description = metadata.general_desc
    return Country(
        frozenset(description.possible_length if description is not None else ()),
        None if not prefix else re.compile(prefix, re.ASCII),
    )


def _foreign(digits: str) -> E164 | None:
    """`digits` (country code first) of a number outside +1, if such a number can exist."""
    for width in (1, 2, 3):  # no code begins with another one (ITU-T E.164)
        found = country(digits[:width])
        if found is not None:
            national = digits[width:]
            if found.national is None or found.national.match(national) is None:
                return parse_e164("+" + digits) if len(national) in found.lengths else None
            break
    return _parsed(digits)


@lru_cache(maxsize=65536)
def _parsed(digits: str) -> E164 | None:
    """The same by `phonenumbers` itself, for numbers that have to be understood."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse("+" + digits)
        if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
            return None
        return parse_e164(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
    except (phonenumbers.NumberParseException, InvalidNumberError):
        return None


def _international(digits: str) -> E164 | None:
    """`digits` beginning with the country code, as E.164."""
    if not digits.isdigit() or digits.startswith("0") or not 7 <= len(digits) <= 15:
        return None
    if digits[0] == "1":
        return parse_e164("+" + digits) if len(digits) == NANP_LENGTH else None
    return _foreign(digits)


def _automatic(digits: str) -> E164 | None:
    """`digits` as dialled in the United States; whatever fits two readings is refused."""
    if digits.startswith("011"):
        return _international(digits[3:])
    if digits.startswith("00"):
        return _international(digits[2:])
    if len(digits) == NANP_LENGTH - 1 and digits[0] in "23456789":
        return parse_e164("+1" + digits)
    if len(digits) == NANP_LENGTH and digits[0] == "1" and digits[1] in "23456789":
        return parse_e164("+" + digits)
    return None


def _in_format(number: str, called_format: str) -> E164 | None:
    if number.startswith("+"):
        return _international(number[1:])
    if not number.isdigit():
        return None
    match called_format:
        case "auto":
            return _automatic(number)
        case "10d":
            return parse_e164("+1" + number) if len(number) == NANP_LENGTH - 1 else None
        case "11d":
            return parse_e164("+" + number) if len(number) == NANP_LENGTH and number[0] == "1" else None
        case "e164":
            return _international(number)
        case "00e164" | "011e164":
            access = called_format.removesuffix("e164")
            return _international(number.removeprefix(access)) if number.startswith(access) else None
        case _:
            raise ValueError(f"unknown called format {called_format!r}")


def split_tech(called_format: str) -> tuple[str, str]:
    """The technical prefix of a format, which may be empty, and the format of what follows it."""
    if called_format.startswith("tech:"):
        _, prefix, inner = called_format.split(":", 2)
        return prefix, inner
    return "", called_format


def number_of(text: str, called_format: str) -> E164 | None:
    """The E.164 number that `text` means on a trunk with `called_format`; None when that can't be said for sure."""
    number = dialled_digits(text)
    if number is None:
        return None
    prefix, inner = split_tech(called_format)
    if number.startswith(prefix):
        number = number[len(prefix) :]
    elif not number.startswith("+"):
        return None
    return _in_format(number, inner) if number else None
