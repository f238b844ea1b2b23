"""Columns of called and calling numbers as E.164: what `numbers.number_of` says of one text, said of a million.

The texts of a column have few shapes (`number_shapes`), and what a shape's digits mean is decided for all its texts by
comparing integers. What is in doubt is read one by one, once per distinct text: texts that have no shape, and numbers
of other countries that may begin with a trunk prefix. Both ways give the same answers (a test holds them to it).

A number is an integer here, its digits with the country code, and 0 is none: integers are what is compared, looked up
and indexed; texts are made of them for those who want texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cdr_adapters import numbers
from cdr_adapters.number_shapes import Words, groups
from cdr_adapters.numbers import NANP_LENGTH, country, split_tech
from cdr_adapters.text_bytes import Mask, TextBytes

Numbers: TypeAlias = Words
"""E.164 numbers as integers, 0 for none."""

_LEAST, _MOST = 7, 15
"""How many digits E.164 numbers have."""
_WORTHWHILE: Final = 32
"""Shorter columns are read one by one."""


def read_numbers(values: pa.StringArray, called_format: str) -> Numbers:
    """A column of numbers; 0 where there is none or it can't be said for sure which one it is.

    `called_format` is one of auto, 10d, 11d, e164, 00e164, 011e164, tech:PREFIX:FORMAT.
    """
    found: Numbers = np.zeros(len(values), np.uint64)
    if len(values) < _WORTHWHILE:
        return _one_by_one(values, called_format)
    octets = TextBytes.of(values)
    settled: Mask = octets.lengths == 0
    for group in groups(octets):
        meant, doubtful = _meant(group.shape.form, group.digits, called_format)
        found[group.rows] = meant
        settled[group.rows] = True if doubtful is None else ~doubtful
    if not settled.all():
        rest = np.flatnonzero(~settled)
        found[rest] = _one_by_one(_taken(values, rest), called_format)
    return found


def normalise(values: pa.StringArray, called_format: str) -> pa.StringArray:
    """The same as texts, null for none."""
    return texts_of_numbers(read_numbers(values, called_format))


def _taken(values: pa.StringArray, rows: npt.NDArray[np.intp]) -> pa.StringArray:
    return values if len(rows) == len(values) else values.take(pa.array(rows))


def _one_by_one(values: pa.StringArray, called_format: str) -> Numbers:
    encoded = values.dictionary_encode()
    texts: Iterator[str] = (text.as_py() for text in encoded.dictionary)
    distinct = [int(numbers.number_of(text, called_format) or 0) for text in texts]
    found: Numbers = np.array([0, *distinct], np.uint64)[
        encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1
    ]
    return found


_Meant: TypeAlias = tuple[Numbers, Mask | None]
"""What digits mean, and for which of them that is in doubt; None when for none."""


def _nothing(digits: Words) -> _Meant:
    return np.zeros(len(digits), np.uint64), None


def _power(exponent: int) -> np.uint64:
    return np.uint64(10**exponent)


def _meant(form: str | None, digits: Words, called_format: str) -> _Meant:
    """What texts mean of which `dialled_digits` makes this form with these digits."""
    if form is None:
        return _nothing(digits)
    prefix, inner = split_tech(called_format)
    if not prefix:
        return _in_format(form, digits, inner)
    without = _in_format(form, digits, inner) if form.startswith("+") else _nothing(digits)
    if form[: len(prefix)] != re.sub("[0-9]", "0", prefix):
        return without
    rest = form[len(prefix) :]
    power = _power(rest.count("0"))
    leads = digits // power == np.uint64(int(re.sub("[^0-9]", "", prefix) or 0))
    within, doubtful = _in_format(rest, digits % power, inner)
    found = np.where(leads, within, without[0])
    if doubtful is None and without[1] is None:
        return found, None
    nobody = np.zeros(len(digits), np.bool_)
    return found, np.where(
        leads, nobody if doubtful is None else doubtful, nobody if without[1] is None else without[1]
    )


def _in_format(form: str, digits: Words, called_format: str) -> _Meant:
    plus = form.startswith("+")
    count = len(form) - plus
    if not count or form.count("0") != count:
        return _nothing(digits)
    if plus:
        return _international(digits, count)
    match called_format:
        case "auto":
            return _automatic(digits, count)
        case "10d":
            return (digits + _power(10), None) if count == NANP_LENGTH - 1 else _nothing(digits)
        case "11d":
            if count != NANP_LENGTH:
                return _nothing(digits)
            return np.where(digits // _power(10) == np.uint64(1), digits, np.uint64(0)), None
        case "e164":
            return _international(digits, count)
        case "00e164" | "011e164":
            access = called_format.removesuffix("e164")
            if count <= len(access):
                return _nothing(digits)
            behind = _power(count - len(access))
            found, doubtful = _international(digits % behind, count - len(access))
            leads = digits // behind == np.uint64(int(access))
            return np.where(leads, found, np.uint64(0)), None if doubtful is None else doubtful & leads
        case _:
            raise ValueError(f"unknown called format {called_format!r}")


def _automatic(digits: Words, count: int) -> _Meant:
    """Digits as dialled in the United States; see `numbers.number_of`."""
    if count == NANP_LENGTH - 1:
        domestic = np.where(digits >= 2 * _power(9), digits + _power(10), np.uint64(0))
    elif count == NANP_LENGTH:
        domestic = np.where((digits >= 12 * _power(9)) & (digits < 2 * _power(10)), digits, np.uint64(0))
    else:
        domestic = np.zeros(len(digits), np.uint64)
    if count <= len("011"):
        return domestic, None
    lead = digits // _power(count - 3)
    nobody: Mask = np.zeros(len(digits), np.bool_)
    doubtful = nobody
    for access, behind in ((lead == np.uint64(11), count - 3), (lead < np.uint64(10), count - 2)):
        if access.any():
            found, unsure = _international(digits % _power(behind), behind)
            domestic = np.where(access, found, domestic)
            if unsure is not None:
                doubtful = doubtful | (unsure & access)
    return domestic, None if doubtful is nobody else doubtful


def _international(digits: Words, count: int) -> _Meant:
    """So many digits beginning with the country code."""
    if not _LEAST <= count <= _MOST:
        return _nothing(digits)
    one, two = _power(count - 1), 2 * _power(count - 1)
    foreign = digits >= two
    if not foreign.any():
        if count != NANP_LENGTH:
            return _nothing(digits)
        return np.where(digits >= one, digits, np.uint64(0)), None
    verdict = _VERDICTS.of(digits, count)
    exists = verdict == _EXISTS
    if count == NANP_LENGTH:
        exists |= (digits >= one) & ~foreign
    doubtful = verdict == _DOUBTFUL
    return np.where(exists, digits, np.uint64(0)), doubtful if doubtful.any() else None


_EXISTS, _DOUBTFUL = 1, 2
_LEAD: Final = 5
_CODE: Final = 3


class _Verdicts:
    """Which numbers outside +1 can exist, by how many digits they have and by their first five."""

    def __init__(self) -> None:
        self._table = np.zeros((_MOST + 1, 10**_LEAD), np.uint8)
        self._known: Mask = np.zeros(10**_CODE, np.bool_)
        self._known[:200] = True  # no country code begins with 0, and +1 is decided elsewhere

    def of(self, digits: Words, count: int) -> npt.NDArray[np.uint8]:
        """`_EXISTS`, `_DOUBTFUL` or 0 for each of these numbers of `count` digits."""
        leads = (digits // _power(count - _LEAD)).astype(np.intp)
        codes = leads // 10 ** (_LEAD - _CODE)
        known = self._known[codes]
        if not known.all():
            for code in np.unique(codes[~known]).tolist():
                self._learn(code)
        verdicts: npt.NDArray[np.uint8] = self._table[count][leads]
        return verdicts

    def _learn(self, code: int) -> None:
        """Fill in what there is to know of numbers that begin with these three digits."""
        begin = code * 10 ** (_LEAD - _CODE)
        for lead in range(begin, begin + 10 ** (_LEAD - _CODE)):
            lengths, surely = _possible(str(lead))
            for count in range(_LEAST, _MOST + 1):
                self._table[count, lead] = (_EXISTS if count in lengths else 0) if surely else _DOUBTFUL
        self._known[code] = True


def _possible(lead: str) -> tuple[frozenset[int], bool]:
    """How many digits numbers can have that begin with `lead`; and whether that is all that is to be known of them."""
    for width in (1, 2, 3):
        found = country(lead[:width])
        if found is None:
            continue
        lengths = frozenset(length + width for length in found.lengths)
        if found.national is None:
            return lengths, True
        if not re.fullmatch("[0-9|]+", found.national.pattern):
            return lengths, False
        national = lead[width:]
        prefixes = found.national.pattern.split("|")
        return lengths, not any(national.startswith(prefix) or prefix.startswith(national) for prefix in prefixes)
    return frozenset(), False


_VERDICTS = _Verdicts()


_HUNDREDS, _TENS, _UNITS = (np.uint64(mask) for mask in (0x0000007F0000007F, 0x000F000F000F000F, 0x3030303030303030))


def _eight_digits(number: Words) -> Words:
    """Integers below 10**8 as words of eight digits in ASCII, the first in the lowest byte."""
    fours = number // _power(4)
    fours = fours | ((number - fours * _power(4)) << np.uint64(32))
    pairs = ((fours * np.uint64(10486)) >> np.uint64(20)) & _HUNDREDS  # that is, divided by 100
    pairs |= (fours - pairs * np.uint64(100)) << np.uint64(16)
    digits = ((pairs * np.uint64(103)) >> np.uint64(10)) & _TENS  # that is, divided by 10
    digits |= (pairs - digits * np.uint64(10)) << np.uint64(8)
    return digits | _UNITS


def array_of_numbers(column: Numbers) -> pa.UInt64Array:
    """The numbers as an array, null for 0."""
    there = column != 0
    valid = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    return pa.UInt64Array.from_buffers(pa.uint64(), len(column), [valid, pa.py_buffer(column)])


def texts_of_numbers(column: Numbers) -> pa.StringArray:
    """The numbers as E.164 texts, null for 0."""
    counts = np.searchsorted(_POWERS, column, side="right").astype(np.int32)
    widths = counts + (counts > 0)
    offsets = np.zeros(len(column) + 1, np.int32)
    np.cumsum(widths, dtype=np.int32, out=offsets[1:])
    data = np.zeros(int(offsets[-1]), np.uint8)
    for count in np.flatnonzero(np.bincount(counts, minlength=1)[1:]) + 1:
        chosen = np.flatnonzero(counts == count)
        digits = column[chosen]
        upper = digits // _power(8)
        words = np.stack((_eight_digits(upper), _eight_digits(digits - upper * _power(8))), axis=1)
        octets = words.view(np.uint8)
        octets[:, _WIDTH - count - 1] = ord("+")
        width = int(count) + 1
        texts = np.ascontiguousarray(octets[:, _WIDTH - width :]).view(f"V{width}").ravel()
        if len(chosen) == len(column):
            data = texts.view(np.uint8)
        else:
            np.ndarray((len(data) - width + 1,), f"V{width}", data, strides=(1,))[offsets[chosen]] = texts
    valid = counts > 0
    return pa.StringArray.from_buffers(
        len(column),
        pa.py_buffer(offsets),
        pa.py_buffer(data),
        None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little")),
    )


_WIDTH: Final = 16
_POWERS: Final = np.array([1, *(10**exponent for exponent in range(1, _MOST + 1))], np.uint64)
