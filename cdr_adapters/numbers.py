"""Called and calling numbers as switches write them, turned into E.164.

`number_of` says for one text what it means; `normalise` does the same for a column, with the common North American
forms settled by their bytes and everything else by `number_of`, once per distinct text. Both give the same answers (a
test holds them to it). `phonenumbers` says how long numbers of a country are, and is asked for a number only where a
trunk prefix may have to go.

What is understood: bare digits, URIs of `sip:`, `sips:` and `tel:` (RFC 3261, RFC 3966), `user@host`, angle brackets
with a display name, visual separators, percent-encoded `+`, `#` and `*`. Parameters such as `;npdi;rn=...` (RFC 4694)
are cut off: a routing number is never taken for the dialled one. A number that begins with `+` is E.164 whatever the
format says, once the tech prefix is gone. Refused, never guessed: a number that does not fit its declared format, a
number without its prefix on a prefixed trunk, an IP address, local and service numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters.text_bytes import Mask, Octets, TextBytes, texts_of
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


class _Country(NamedTuple):
    """What `phonenumbers` knows of a country code, as far as a number is settled by it.

    `lengths`: how long a number without the code may be. `national`: what such a number may begin with that is no
    part of it when dialled from abroad (a trunk prefix); None when there is no such thing.
    """

    lengths: frozenset[int]
    national: re.Pattern[str] | None


@lru_cache(maxsize=1024)
def _country(code: str) -> _Country | None:
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
    return _Country(
        frozenset(description.possible_length if description is not None else ()),
        None if not prefix else re.compile(prefix, re.ASCII),
    )


def _foreign(digits: str) -> E164 | None:
    """`digits` (country code first) of a number outside +1, if such a number can exist."""
    for width in (1, 2, 3):  # no code begins with another one (ITU-T E.164)
        country = _country(digits[:width])
        if country is not None:
            national = digits[width:]
            if country.national is None or country.national.match(national) is None:
                return parse_e164("+" + digits) if len(national) in country.lengths else None
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


class _Form(NamedTuple):
    """A shape that is settled by its bytes: `lead`, then ten digits of which the first is `least` at least.

    The number is +1 and these ten digits.
    """

    lead: bytes
    least: int


_SUBSCRIBER = 10
_ZERO, _TWO = ord("0"), ord("2")
_PLUS = _Form(b"+1", _ZERO)
_FORMS = {
    "auto": (_Form(b"", _TWO), _Form(b"1", _TWO), _Form(b"001", _ZERO), _Form(b"0111", _ZERO)),
    "10d": (_Form(b"", _ZERO),),
    "11d": (_Form(b"1", _ZERO),),
    "e164": (_Form(b"1", _ZERO),),
    "00e164": (_Form(b"001", _ZERO),),
    "011e164": (_Form(b"0111", _ZERO),),
}
"""The forms of numbers in the North American plan, in each format; +1 goes with all of them."""

_WORTHWHILE = 64
"""From this many texts on, looking for numbers within simple URIs by vector operations pays."""

_Found = tuple[Mask, Octets]
"""Which texts have one of the forms, and the ten digits of each that has."""


def _forms(called_format: str) -> tuple[_Form, ...]:
    prefix, inner = _split_tech(called_format)
    lead = prefix.encode()
    prefixed = tuple(_Form(lead + form.lead, form.least) for form in (*_FORMS[inner], _PLUS))
    return (*prefixed, _PLUS) if prefix else prefixed


def _shaped(octets: TextBytes, forms: tuple[_Form, ...]) -> _Found | None:
    """Which texts have one of the forms, and the ten digits of these; None when none has."""
    lengths = octets.lengths
    wanted = np.zeros(_LONGEST + 1, np.bool_)
    wanted[[min(len(form.lead) + _SUBSCRIBER, _LONGEST) for form in forms]] = True
    wanted[_LONGEST] = False
    right: Mask = wanted[np.minimum(lengths, _LONGEST)]
    if not right.any():
        return None
    if not right.all():
        part = _shaped(TextBytes(octets.data, octets.start[right], octets.end[right]), forms)
        if part is None:
            return None
        found: Mask = np.zeros(len(octets), np.bool_)
        found[right] = part[0]
        return found, part[1]
    digits = octets.matrix(octets.end - np.int32(_SUBSCRIBER), _SUBSCRIBER)
    strange = (digits - np.uint8(_ZERO)) > 9
    all_digits: Mask = np.ones(len(octets), np.bool_)
    if strange.any():
        all_digits = ~np.any(strange, axis=1)
    least, most = int(lengths.min()), int(lengths.max())
    forms = tuple(form for form in forms if least <= len(form.lead) + _SUBSCRIBER <= most)
    fits: Mask = np.zeros(len(octets), np.bool_)
    for form, leads in zip(forms, _leading(octets, forms, least), strict=True):
        rows = leads & all_digits
        if least < most:
            rows &= lengths == len(form.lead) + _SUBSCRIBER
        if form.least > _ZERO:
            rows &= digits[:, 0] >= form.least
        fits |= rows
    if fits.all():
        return fits, digits
    return (fits, digits[fits]) if fits.any() else None


_LONGEST = 64


def _leading(octets: TextBytes, forms: tuple[_Form, ...], least: int) -> list[Mask]:
    """For each form, which texts begin with its lead."""
    if max(len(form.lead) for form in forms) <= least:
        return octets.begin(*(form.lead for form in forms))
    found = []  # a technical prefix longer than the shortest number
    for form in forms:
        rows = np.flatnonzero(octets.lengths >= len(form.lead))
        long = TextBytes(octets.data, octets.start[rows], octets.end[rows])
        leads: Mask = np.zeros(len(octets), np.bool_)
        if len(rows):
            (leads[rows],) = long.begin(form.lead)
        found.append(leads)
    return found


def _settle(values: pa.StringArray, octets: TextBytes, called_format: str) -> pa.StringArray:
    """The numbers among `values`, whose bytes are `octets`, that have one of the common forms; null for all others."""
    shaped = _shaped(octets, _forms(called_format))
    if shaped is None:
        return pa.nulls(len(octets), pa.string())
    fits, digits = shaped
    if fits.all() and (octets.lengths == _NUMBER_WIDTH).all() and (octets.data[octets.start] == ord("+")).all():
        return values  # they are what they mean
    numbers = np.empty((len(digits), _NUMBER_WIDTH), np.uint8)
    numbers[:, 0], numbers[:, 1] = ord("+"), ord("1")
    numbers[:, 2:] = digits
    return texts_of(numbers, _NUMBER_WIDTH, None if fits.all() else fits)


_NUMBER_WIDTH = len("+1") + _SUBSCRIBER

_URI = r"(?:sips?|tel):\+?[0-9]+(?:;npdi|;rn=\+?[0-9]+)*(?:@[^<>]*)?"
_SIMPLE_URI = rf"^(?:{_URI}|<{_URI}>)$"
_SCHEMES = (b"sip:", b"tel:", b"sips:", b"<sip:", b"<tel:", b"<sips:")
_LONGEST_SCHEME = max(map(len, _SCHEMES))


def _users(texts: pa.StringArray) -> TextBytes:
    """What stands for the number in URIs that are beyond doubt; the empty text for all others."""
    octets = TextBytes.of(texts)
    data = octets.data
    start, end = octets.start.copy(), octets.start.copy()
    rows = np.flatnonzero(octets.lengths > _LONGEST_SCHEME)
    if not len(rows):
        return TextBytes(data, start, end)
    chosen = TextBytes(data, start[rows], octets.end[rows])
    known: Mask = np.zeros(len(rows), np.bool_)
    for scheme, fits in zip(_SCHEMES, chosen.begin(*_SCHEMES), strict=True):
        start[rows[fits]] += np.int32(len(scheme))
        known |= fits
    ends = np.append(np.flatnonzero((data == ord("@")) | (data == ord(";")) | (data == ord(">"))), len(data))
    stop = np.minimum(ends[np.searchsorted(ends, start[rows])], octets.end[rows])
    # a parameter before the @, or a bracket, may change what the digits mean
    plain = known & ((stop == octets.end[rows]) | (data[np.minimum(stop, len(data) - 1)] == ord("@")))
    if np.count_nonzero(data == ord("<")) or np.count_nonzero(data == ord(">")):
        plain[:] = False
    doubtful = rows[known & ~plain]
    if len(doubtful):
        simple = pc.match_substring_regex(texts.take(pa.array(doubtful)), _SIMPLE_URI)
        plain[known & ~plain] = simple.to_numpy(zero_copy_only=False)
    end[rows[plain]] = stop[plain]
    return TextBytes(data, start, end)


def _one_by_one(values: pa.StringArray, called_format: str) -> pa.StringArray:
    encoded = values.dictionary_encode()
    distinct: Iterator[str] = (text.as_py() for text in encoded.dictionary)
    numbers = pa.array([number_of(text, called_format) for text in distinct], pa.string())
    return numbers.take(encoded.indices)


def normalise(values: pa.StringArray, called_format: str) -> pa.StringArray:
    """A column of numbers as E.164; null where there is none or it can't be said for sure which one it is.

    `called_format` is one of auto, 10d, 11d, e164, 00e164, 011e164, tech:PREFIX:FORMAT.
    """
    if not len(values):
        return values
    octets = TextBytes.of(values)
    settled = _settle(values, octets, called_format)
    if settled.null_count <= values.null_count:
        return settled
    open_ = pc.and_(pc.is_null(settled), pc.fill_null(pc.greater(pc.binary_length(values), 0), False))
    if open_.true_count == 0:
        return settled
    texts = values.filter(open_)
    if len(texts) >= _WORTHWHILE and pc.match_substring(texts, ":").true_count:
        numbers = _settle(texts, _users(texts), called_format)
        rest = pc.is_null(numbers)
        if rest.true_count:
            numbers = pc.replace_with_mask(numbers, rest, _one_by_one(texts.filter(rest), called_format))
    else:
        numbers = _one_by_one(texts, called_format)
    return pc.replace_with_mask(settled, open_, numbers)
