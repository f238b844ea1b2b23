"""Called and calling numbers as switches write them, turned into E.164.

`number_of` says for one text what it means; `normalise` does the same for a column, with the common North American
forms settled by vector operations and everything else by `number_of`, once per distinct text. Both give the same
answers (a test holds them to it).

What is understood: bare digits, URIs of `sip:`, `sips:` and `tel:` (RFC 3261, RFC 3966), `user@host`, angle brackets
with a display name, visual separators, percent-encoded `+`, `#` and `*`. Parameters such as `;npdi;rn=...` (RFC 4694)
are cut off: a routing number is never taken for the dialled one. A number that begins with `+` is E.164 whatever the
format says, once the tech prefix is gone. Refused, never guessed: a number that does not fit its declared format, a
number without its prefix on a prefixed trunk, an IP address, local and service numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from protos.e164 import E164, InvalidNumberError, parse_e164

_BRACKETED = re.compile(r"<([^<>]*)>")
_SCHEME = re.compile(r"(sips?|tel):", re.IGNORECASE)
_BARE = re.compile(r"\+?[0-9]+", re.ASCII)
_DOTTED_QUAD = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)
_SEPARATORS = re.compile(r"[-. ()\t\u00a0]")
_DIALLED = re.compile(r"[0-9*#]*\+?[0-9*#]+", re.ASCII)
_FOREIGN_CONTEXT = re.compile(r";phone-context=\+(?!1(?:[^0-9]|$))", re.IGNORECASE)

_NANP_LENGTH = 11
_TEXT_LIMIT = 1024
"""Longer texts are no numbers; nothing looks at them."""


def dialled_digits(text: str) -> str | None:
    """The digits (with `+`, `*`, `#`) that stand for the number in `text`, without any interpretation of prefixes.

    None when the text holds no number: a name, a host, an address.
    """
    if len(text) > _TEXT_LIMIT:
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
    if _DOTTED_QUAD.fullmatch(number):
        return None
    number = _SEPARATORS.sub("", number)
    return number if _DIALLED.fullmatch(number) else None


@lru_cache(maxsize=65536)
def _foreign(digits: str) -> E164 | None:
    """`digits` (country code first) of a number outside +1, if such a number can exist."""
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
        return parse_e164("+" + digits) if len(digits) == _NANP_LENGTH else None
    return _foreign(digits)


def _automatic(digits: str) -> E164 | None:
    """`digits` as dialled in the United States; whatever fits two readings is refused."""
    if digits.startswith("011"):
        return _international(digits[3:])
    if digits.startswith("00"):
        return _international(digits[2:])
    if len(digits) == _NANP_LENGTH - 1 and digits[0] in "23456789":
        return parse_e164("+1" + digits)
    if len(digits) == _NANP_LENGTH and digits[0] == "1" and digits[1] in "23456789":
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
            return parse_e164("+1" + number) if len(number) == _NANP_LENGTH - 1 else None
        case "11d":
            return parse_e164("+" + number) if len(number) == _NANP_LENGTH and number[0] == "1" else None
        case "e164":
            return _international(number)
        case "00e164" | "011e164":
            access = called_format.removesuffix("e164")
            return _international(number.removeprefix(access)) if number.startswith(access) else None
        case _:
            raise ValueError(f"unknown called format {called_format!r}")


def _split_tech(called_format: str) -> tuple[str, str]:
    if called_format.startswith("tech:"):
        _, prefix, inner = called_format.split(":", 2)
        return prefix, inner
    return "", called_format


def number_of(text: str, called_format: str) -> E164 | None:
    """The E.164 number that `text` means on a trunk with `called_format`; None when that can't be said for sure."""
    number = dialled_digits(text)
    if number is None:
        return None
    prefix, inner = _split_tech(called_format)
    if number.startswith(prefix):
        number = number[len(prefix) :]
    elif not number.startswith("+"):
        return None
    return _in_format(number, inner) if number else None


@dataclass(frozen=True, slots=True)
class _Form:
    """A shape that vector operations settle: `length` characters, digits but for a leading `+`, beginning with `start`.

    The number is `prefix` and the text without its first `cut` characters. Digits compare like the numbers that they
    are, so that "begins with 2 to 9" is "not below 2".
    """

    length: int
    at_least: str
    below: str
    cut: int
    prefix: str


_PLUS = _Form(12, "+1", "+2", 0, "")
_TEN = _Form(10, "", ":", 0, "+1")
_ELEVEN = _Form(11, "1", "2", 0, "+")
_FORMS = {
    "auto": (_Form(10, "2", ":", 0, "+1"), _Form(11, "12", "2", 0, "+"), _PLUS),
    "10d": (_TEN, _PLUS),
    "11d": (_ELEVEN, _PLUS),
    "e164": (_PLUS, _ELEVEN),
    "00e164": (_Form(13, "001", "002", 2, "+"), _PLUS),
    "011e164": (_Form(14, "0111", "0112", 3, "+"), _PLUS),
}
_SIMPLE_URI = r"^(?:(?:sips?|tel):(\+?[0-9]+)(?:@[^<>]*)?|<(?:sips?|tel):(\+?[0-9]+)(?:@[^<>]*)?>)$"
_WORTHWHILE = 64
"""From this many texts on, cutting simple URIs by vector operations pays."""

_NULL = pa.nulls(1, pa.string())[0]  # pa.scalar would import pandas


def _all(*masks: pa.BooleanArray) -> pa.BooleanArray:
    return reduce(pc.and_, masks)


def _shaped(values: pa.StringArray, form: _Form) -> pa.BooleanArray:
    """Which values have the form; null for null."""
    of_length = pc.equal(pc.binary_length(values), form.length)
    if not of_length.true_count:
        return of_length
    digits = pc.utf8_slice_codeunits(values, start=1) if form.at_least.startswith("+") else values
    return _all(
        of_length,
        pc.utf8_is_decimal(digits),
        pc.string_is_ascii(digits),  # other scripts have decimal digits too
        pc.greater_equal(values, form.at_least),
        pc.less(values, form.below),
    )


def _settle(values: pa.StringArray, called_format: str) -> pa.StringArray:
    """The numbers among `values` that have one of the common forms; null for all others."""
    prefix, inner = _split_tech(called_format)
    if prefix:
        cut = pc.utf8_slice_codeunits(values, start=len(prefix))
        values = pc.if_else(pc.starts_with(values, prefix), cut, _NULL)
    settled: pa.StringArray | None = None
    left = len(values) - values.null_count
    for form in _FORMS[inner]:
        if left == 0:
            break
        fits = _shaped(values, form)
        count = fits.true_count
        if count == 0:
            continue
        left -= count
        body = pc.utf8_slice_codeunits(values, start=form.cut) if form.cut else values
        whole = pc.binary_join_element_wise(pa.scalar(form.prefix), body, pa.scalar("")) if form.prefix else body
        if count < len(values):
            whole = pc.if_else(fits, whole, _NULL)
        settled = whole if settled is None else pc.coalesce(settled, whole)
    return pa.nulls(len(values), pa.string()) if settled is None else settled


def _one_by_one(values: pa.StringArray, called_format: str) -> pa.StringArray:
    encoded = values.dictionary_encode()
    distinct: Iterator[str] = (text.as_py() for text in encoded.dictionary)
    numbers = pa.array([number_of(text, called_format) for text in distinct], pa.string())
    return numbers.take(encoded.indices)


def normalise(values: pa.StringArray, called_format: str) -> pa.StringArray:
    """A column of numbers as E.164; null where there is none or it can't be said for sure which one it is.

    `called_format` is one of auto, 10d, 11d, e164, 00e164, 011e164, tech:PREFIX:FORMAT.
    """
    settled = _settle(values, called_format)
    if settled.null_count <= values.null_count:
        return settled
    open_ = pc.and_(pc.is_null(settled), pc.fill_null(pc.greater(pc.binary_length(values), 0), False))
    if open_.true_count == 0:
        return settled
    texts = values.filter(open_)
    if len(texts) >= _WORTHWHILE and pc.starts_with(texts, "<").true_count + pc.match_substring(texts, ":").true_count:
        users = pc.replace_substring_regex(texts, _SIMPLE_URI, r"\1\2")
        numbers = pc.coalesce(_settle(users, called_format), _NULL)
        rest = pc.is_null(numbers)
        if rest.true_count:
            numbers = pc.replace_with_mask(numbers, rest, _one_by_one(texts.filter(rest), called_format))
    else:
        numbers = _one_by_one(texts, called_format)
    return pc.replace_with_mask(settled, open_, numbers)
