"""Times of a fixed layout, read from their bytes: `2026-11-21 23:23:27`, `15:54:56.868 PST DEC 18 2017` and the like.

A strptime pattern and a length of text give layouts: which field begins at which byte. Reading is arithmetic on whole
columns of bytes. It claims only what is beyond doubt; whatever doesn't fit a layout byte by byte is left to the slow
way (`times.time_of`), which decides what it is: one-digit days, several blanks, month names in full, %j.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from cdr_adapters.text_bytes import Mask, Octets

Milliseconds: TypeAlias = npt.NDArray[np.int64]

_DAY_S: Final = 86_400
_FIRST_YEAR, _LAST_YEAR = 1989, 2101

_WIDTHS: Final = {
    "Y": (4,),
    "y": (2,),
    "m": (2, 1),
    "d": (2, 1),
    "e": (2, 1),
    "H": (2, 1),
    "I": (2, 1),
    "M": (2,),
    "S": (2,),
    "b": (3,),
    "a": (3,),
    "p": (2,),
    "f": (6, 3, 1, 2, 4, 5),
    "z": (1, 6, 5),
    "Z": (3, 4, 1, 2, 5, 6),
}
"""Fields by the letter of their directive, and the widths that are tried."""

_MOST_LAYOUTS: Final = 64


@dataclass(frozen=True, slots=True)
class Layout:
    """Fields and literal bytes at their positions; `T` in `literals` may also be a blank when `iso`."""

    fields: tuple[tuple[str, int, int], ...]
    literals: tuple[tuple[int, int], ...]
    iso: bool = False

    @property
    def directives(self) -> frozenset[str]:
        """The letters of the fields."""
        return frozenset(name for name, _, _ in self.fields)


@dataclass(frozen=True, slots=True)
class LocalTimes:
    """What the rows of a matrix say: `local` (ms since 1970 by the clock on the wall) where `fits`.

    `offset` is what was said of the zone, in ms east, None when the layout has no %z; `zone_at` is where in the text
    the zone's abbreviation stands, if the layout has one.
    """

    fits: Mask
    local: Milliseconds
    offset: Milliseconds | None
    zone_at: tuple[int, int] | None


@lru_cache(maxsize=1024)
def layouts(pattern: str, length: int) -> tuple[Layout, ...]:
    """The layouts in which texts of this length may fit the pattern; none for patterns with other directives."""
    parts = re.findall(r"%.|[^%]", pattern, re.DOTALL)
    if not pattern.isascii() or any(part[0] == "%" and part[1] not in _WIDTHS for part in parts):
        return ()
    names = [part[1] for part in parts if part[0] == "%"]
    if any(sum(name in one_of for name in names) != 1 for one_of in ("Yy", "mb", "de", "HI")):
        return ()
    if len(set(names)) < len(names) or ("I" in names and "p" not in names):
        return ()
    if "Z" in names and not _stands_alone(parts, parts.index("%Z"), str.isalpha):
        return ()
    choices = [list(_widths(parts, index)) for index in range(len(parts))]
    found = []
    for widths in product(*choices):
        if sum(widths) == length:
            found.append(_layout(parts, widths))
            if len(found) == _MOST_LAYOUTS:
                break
    return tuple(found)


def _widths(parts: list[str], index: int) -> Iterator[int]:
    """The widths that a part may have: one digit only where what stands around shows that it is one."""
    if parts[index][0] != "%":
        yield 1
        return
    name = parts[index][1]
    alone = name in "fzZ" or _stands_alone(parts, index, str.isdigit)
    yield from _WIDTHS[name] if alone else _WIDTHS[name][:1]


def _stands_alone(parts: list[str], index: int, like: Callable[[str], bool]) -> bool:
    """Whether a part has no field and nothing that is `like` it beside it."""
    beside = [parts[at] for at in (index - 1, index + 1) if 0 <= at < len(parts)]
    return not any(part[0] == "%" or like(part) for part in beside)


def _layout(parts: list[str], widths: tuple[int, ...]) -> Layout:
    fields, literals, at = [], [], 0
    for part, width in zip(parts, widths, strict=True):
        if part[0] == "%":
            fields.append((part[1], at, width))
        else:
            literals.append((at, ord(part)))
        at += width
    return Layout(tuple(fields), tuple(literals))


_ISO_PATTERNS: Final = tuple(f"%Y-%m-%dT%H:%M:%S{fraction}{zone}" for fraction in ("", ".%f") for zone in ("", "%z"))


@lru_cache(maxsize=64)
def iso_layouts(length: int) -> tuple[Layout, ...]:
    """The layouts of ISO 8601 in its extended form, of this length, `T` or a blank between date and time."""
    return tuple(
        Layout(layout.fields, layout.literals, iso=True)
        for pattern in _ISO_PATTERNS
        for layout in layouts(pattern, length)
        if all(width > 1 or name in "fz" for name, _, width in layout.fields)
    )


def _table(names: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """From three letters (five bits each) to the position of the name that they are, from 1; 0 for no name."""
    table = np.zeros(1 << 15, np.uint8)
    for number, name in enumerate(names, 1):
        one, two, three = (ord(letter) & 31 for letter in name)
        table[one << 10 | two << 5 | three] = number
    return table


_MONTHS: Final = _table(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
_WEEKDAYS: Final = _table(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))

_MONTH_BEGINS: Final = (
    np.arange(f"{_FIRST_YEAR}-01", f"{_LAST_YEAR + 1}-02", dtype="datetime64[M]")
    .astype("datetime64[D]")
    .astype(np.int64)
)
_MONTH_DAYS: Final = np.diff(_MONTH_BEGINS).astype(np.uint8)


class _Reader:
    """Reads fields from the columns of a matrix; `bad` collects the rows that don't fit."""

    def __init__(self, matrix: Octets) -> None:
        self.matrix = matrix
        self.bad: Mask = np.zeros(len(matrix), np.bool_)

    def digit(self, at: int) -> Octets:
        value: Octets = self.matrix[:, at] - np.uint8(48)
        self.bad |= value > 9
        return value

    def number(self, at: int, width: int) -> Octets:
        """One or two digits."""
        if width == 1:
            return self.digit(at)
        return self.digit(at) * np.uint8(10) + self.digit(at + 1)

    def day(self, at: int, width: int) -> Octets:
        """One or two digits, or a blank and one."""
        if width == 1:
            return self.digit(at)
        tens = self.matrix[:, at]
        tens = np.where(tens == 32, np.uint8(48), tens) - np.uint8(48)
        self.bad |= tens > 9
        return tens * np.uint8(10) + self.digit(at + 1)

    def name(self, at: int, table: npt.NDArray[np.uint8]) -> Octets:
        """Three letters, as a position in the table's names."""
        key = np.zeros(len(self.matrix), np.uint16)
        for offset in range(3):
            letter = self.matrix[:, at + offset] | np.uint8(32)
            self.bad |= (letter - np.uint8(97)) > 25
            key = (key << np.uint16(5)) | (letter & np.uint8(31))
        found: Octets = table[key]
        self.bad |= found == 0
        return found

    def literal(self, at: int, octet: int, or_blank: bool) -> None:
        there = self.matrix[:, at]
        self.bad |= (there != octet) & (there != 32) if or_blank else there != octet


def read_layout(matrix: Octets, layout: Layout) -> LocalTimes:
    """The times in the rows of a matrix of texts."""
    reader = _Reader(matrix)
    for at, octet in layout.literals:
        reader.literal(at, octet, layout.iso and octet == ord("T"))
    place = {name: (at, width) for name, at, width in layout.fields}
    days = _days(reader, place, layout.iso)
    seconds = _seconds(reader, place)
    if "a" in place:
        reader.name(place["a"][0], _WEEKDAYS)
    local = (days * _DAY_S + seconds) * 1000
    if "f" in place:
        local += _fraction(reader, *place["f"])
    offset = _offset(reader, *place["z"]) if "z" in place else None
    if "Z" in place:
        at, width = place["Z"]
        for column in range(at, at + width):
            reader.bad |= ((matrix[:, column] | np.uint8(32)) - np.uint8(97)) > 25
    return LocalTimes(~reader.bad, local, offset, place.get("Z"))


def _days(reader: _Reader, place: dict[str, tuple[int, int]], iso: bool) -> Milliseconds:
    """Days since 1970."""
    if "Y" in place:
        at, _ = place["Y"]
        year = reader.number(at, 2).astype(np.int32) * 100 + reader.number(at + 2, 2)
    else:
        short = reader.number(*place["y"]).astype(np.int32)
        year = short + np.where(short < 69, 2000, 1900)
    reader.bad |= (year < _FIRST_YEAR) | (year > _LAST_YEAR)
    month = reader.name(place["b"][0], _MONTHS) if "b" in place else reader.number(*place["m"])
    reader.bad |= (month < 1) | (month > 12)
    at_day = place["d"] if "d" in place else place["e"]
    day = reader.number(*at_day) if iso else reader.day(*at_day)
    index = np.where(reader.bad, 0, (year - _FIRST_YEAR) * 12 + month.astype(np.int32) - 1)
    reader.bad |= (day < 1) | (day > _MONTH_DAYS[index])
    days: Milliseconds = _MONTH_BEGINS[index] + day - 1
    return days


def _seconds(reader: _Reader, place: dict[str, tuple[int, int]]) -> npt.NDArray[np.int32]:
    """Seconds since midnight."""
    if "H" in place:
        hour = reader.number(*place["H"])
        reader.bad |= hour > 23
    else:
        hour = reader.number(*place["I"])
        reader.bad |= (hour < 1) | (hour > 12)
        hour = hour % np.uint8(12)
    if "p" in place:
        at, _ = place["p"]
        half = reader.matrix[:, at] | np.uint8(32)
        reader.bad |= (half != ord("a")) & (half != ord("p"))
        reader.bad |= (reader.matrix[:, at + 1] | np.uint8(32)) != ord("m")
        if "I" in place:
            hour = hour + np.where(half == ord("p"), np.uint8(12), np.uint8(0))
    seconds = hour.astype(np.int32) * 3600
    for name, unit in (("M", 60), ("S", 1)):
        if name in place:
            value = reader.number(*place[name])
            reader.bad |= value > 59
            seconds += value.astype(np.int32) * unit
    return seconds


def _fraction(reader: _Reader, at: int, width: int) -> npt.NDArray[np.int32]:
    """Milliseconds, of up to six digits; what is below is cut off."""
    ms = np.zeros(len(reader.matrix), np.int32)
    for offset in range(width):
        digit = reader.digit(at + offset)
        if offset < 3:
            ms += digit.astype(np.int32) * (100, 10, 1)[offset]
    return ms


def _offset(reader: _Reader, at: int, width: int) -> Milliseconds:
    """Milliseconds east, of Z, +hh:mm or +hhmm."""
    sign = reader.matrix[:, at]
    if width == 1:
        reader.bad |= sign != ord("Z")
        return np.zeros(len(sign), np.int64)
    reader.bad |= (sign != ord("+")) & (sign != ord("-"))
    if width == 6:
        reader.literal(at + 3, ord(":"), False)
    hours, minutes = reader.number(at + 1, 2), reader.number(at + width - 2, 2)
    reader.bad |= (hours > 23) | (minutes > 59)
    east = (hours.astype(np.int64) * 60 + minutes) * 60_000
    return np.where(sign == ord("-"), -east, east)
