"""Formats that are delimited tables with columns known beforehand: a header that gives them away, or fixed positions.

A format's module says which header names are its own (`Headed`), or what stands at which position and how a row proves
it (`Positional`); reading is done here and by the delimited reader. Header names are compared without regard to case,
spaces and punctuation, columns may stand in any order, and columns that nobody knows are let through under their own
names. So a column has one stable name, whatever the release writes: the name that the format's module declares.

Refused: a table in which two columns could be the one that is asked for, and a file without a line that could be the
header. What a format knows and an export leaves out (many portals let people choose columns) is null, not an error.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.formats import delimited
from cdr_adapters.formats.delimited import Character
from cdr_adapters.records import RecordBuffer
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines

_HEADER_LINES = 50
"""How far down a header may stand: reports begin with a title, a period, an empty line."""
_MAX_COLUMNS = 5000
_POSITION = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


class Options(raw.Options):
    """Options of a table with a known header; what is left out is as the format writes it.

    `names` names the columns of a file that lost its header; `skip_lines` stand before the header (or the data);
    without it the header is looked for.
    """

    delimiter: Character | None = None
    quote: Character | Annotated[str, Field(max_length=0)] | None = None
    escape: Character | Annotated[str, Field(max_length=0)] | None = None
    names: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    skip_lines: Annotated[int, Field(ge=0, le=900)] | None = None
    multiline: bool = False
    encoding: Encoding = "utf-8"


def fold(name: str) -> str:
    """A column's name without case, spaces and punctuation: what two spellings of one name have in common."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name.strip()


@dataclass(frozen=True, slots=True)
class _Header:
    """Where the header is and what it says; `line` lines stand before the records."""

    names: tuple[str, ...]
    line: int
    delimiter: str


@dataclass(frozen=True, slots=True)
class Derived:
    """A column that the file hasn't got, made of those that it has; what is missing comes as nulls."""

    columns: tuple[str, ...]
    make: Callable[..., pa.StringArray]


@dataclass(frozen=True)
class Headed:
    """A table whose header gives it away.

    Attributes:
        signature: what the header must hold to be claimed; of several spellings of one name, one.
        known: the format's columns under their stable names. One that a file lacks is null.
        absent: names that another format's header has beside the same signature.
        refused: names of columns that show that the file holds something else, and what: such a file is claimed, so
            that it can be refused with the reason.
        derived: columns that are made of others, by name.
        delimiters: those that are tried, in this order.
        quote, escape: as the delimited reader takes them.
        below: whether a line right below the header is still no record (a row of types, of dashes).
    """

    signature: Sequence[str | tuple[str, ...]]
    known: Sequence[str] = ()
    absent: Sequence[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)
    delimiters: str = ",;\t|"
    quote: str = '"'
    escape: str = ""
    below: Callable[[list[str]], bool] = field(default=lambda _: False)

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a header with these names is this format's."""
        there = {fold(name) for name in names}
        wanted = ((part,) if isinstance(part, str) else part for part in self.signature)
        return all(any(fold(name) in there for name in names_of_one) for names_of_one in wanted) and not any(
            fold(name) in there for name in self.absent
        )

    def identify(self, head: raw.Head) -> bool:
        """One of the first lines is a header of this format."""
        lines = head.lines(_HEADER_LINES)
        return any(self._split(line, Options()) is not None for line in lines if len(line) <= MAX_LINE)

    def read(self, path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        """See `raw.ReaderModule.read`."""
        header = self._header(path, options)
        if header is None:
            return
        there = {fold(name) for name in header.names}
        for name, reason in self.refused.items():
            if fold(name) in there:
                raise raw.AdapterError(f"{path}: the header has {name}: {reason}")
        made = {name: one for name, one in self.derived.items() if columns is not None and name in columns}
        needed = None if columns is None else columns.union(*(one.columns for one in made.values())) - made.keys()
        plan = self._plan(path, header.names, needed)
        shown = tuple(dict.fromkeys((*self._plan(path, header.names, None), *plan, *self.known, *self.derived)))
        source = delimited.Options(
            delimiter=header.delimiter,
            header=False,
            names=list(header.names),
            quote=self.quote if options.quote is None else options.quote,
            escape=self.escape if options.escape is None else options.escape,
            skip_lines=header.line,
            trim=True,
            multiline=options.multiline,
            encoding=options.encoding,
        )
        for batch in delimited.read(path, source, frozenset(plan.values())):
            rows = batch.columns.num_rows
            found = {name: batch.columns.column(at) for name, at in plan.items()}
            for name, one in made.items():
                found[name] = one.make(*(found.get(of, pa.nulls(rows, pa.string())) for of in one.columns))
            found = {name: values for name, values in found.items() if columns is None or name in columns}
            yield replace(batch, columns=raw.string_batch(found, rows), header=shown)

    def _plan(self, path: Path, names: Sequence[str], columns: frozenset[str] | None) -> dict[str, str]:
        """Which column of the file each wanted column is, by the name that it is wanted under."""
        of_fold: dict[str, list[str]] = {}
        for name in names:
            of_fold.setdefault(fold(name), []).append(name)
        if columns is None:
            known = {fold(name): name for name in reversed(self.known)}
            return {known.get(fold(name), name) if len(of_fold[fold(name)]) == 1 else name: name for name in names}
        plan = {}
        for name in sorted(columns):
            found = [name] if name in names else of_fold.get(fold(name), [])
            if len(found) > 1:
                raise raw.AdapterError(
                    f"{path}: columns {' and '.join(found)} could both be {name!r}: name one of them"
                )
            if found:
                plan[name] = found[0]
        return plan

    def _header(self, path: Path, options: Options) -> _Header | None:
        """The header as the options say, or else the first line that fits; None when there are no lines at all."""
        skip = options.skip_lines or 0
        lines = [
            (number, line)
            for number, line in islice(read_lines(path, options.encoding), skip + _HEADER_LINES)
            if number > skip and line.strip() and len(line) <= MAX_LINE
        ]
        if not lines:
            return None
        if options.names is not None:
            return _Header(_distinct(options.names), skip, options.delimiter or self.delimiters[0])
        first = [lines[0]] if options.skip_lines is not None else lines
        found = next(((number, fit) for number, line in first if (fit := self._split(line, options)) is not None), None)
        if found is None:
            # a person named the format: a header with another choice of columns is one still
            found = next(((n, fit) for n, line in first if (fit := self._some_known(line, options)) is not None), None)
        if found is None:
            wanted = ", ".join(part if isinstance(part, str) else " or ".join(part) for part in self.signature)
            raise raw.AdapterError(
                f"{path}: no line of the first {_HEADER_LINES} is a header of this format (expected: {wanted}); "
                "if the file has none, give the option names; if its words differ, read it as delimited with a mapping"
            )
        number, (values, delimiter) = found
        at, following = next(((at, line) for at, line in lines if at > number), (number, None))
        is_below = following is not None and self.below(self._values(following, delimiter, options) or [])
        return _Header(_distinct(values), at if is_below else number, delimiter)

    def _values(self, line: str, delimiter: str, options: Options) -> list[str] | None:
        quote = self.quote if options.quote is None else options.quote
        escape = self.escape if options.escape is None else options.escape
        if delimiter in (quote, escape):
            return None
        return delimited.Options(delimiter=delimiter, quote=quote, escape=escape).split(line)

    def _split(self, line: str, options: Options) -> tuple[list[str], str] | None:
        """The names in a header line and what stands between them; None when it is no header of this format."""
        return self._first_split(line, options, self.fits)

    def _some_known(self, line: str, options: Options) -> tuple[list[str], str] | None:
        known = {fold(name) for name in self.known}
        return self._first_split(line, options, lambda names: len(known & {fold(name) for name in names}) >= 2)

    def _first_split(
        self, line: str, options: Options, fits: Callable[[list[str]], bool]
    ) -> tuple[list[str], str] | None:
        for delimiter in options.delimiter or self.delimiters:
            values = self._values(line, delimiter, options)
            if values is not None and fits(values):
                return values, delimiter
        return None


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Every column's own name: one without a name, or with one that stood before, has its position in it."""
    distinct: dict[str, None] = {}
    for index, name in enumerate(names, 1):
        plain = name.strip() or str(index)
        distinct[plain if plain not in distinct else f"{plain}.{index}"] = None
    return tuple(distinct)


class PositionalOptions(raw.Options):
    """Options of a table without header whose columns have fixed positions.

    `names` replaces the positions that the format knows, for a release that has others.
    """

    names: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    encoding: Encoding = "utf-8"


SKIP = ""
"""What a `Check` says of a row that is known to be no call at all (an audit record)."""

Check = Callable[[Sequence[str]], str | None]
"""Whether a row proves its layout: None when it does, `SKIP`, or else what is wrong and what to configure."""


@dataclass(frozen=True)
class Positional:
    """A table without header, read one line a record.

    Rows may be longer than the layout (a later release) and shorter by the columns that `at_least` leaves over (null).
    Any column can be asked for by its position too, from "1".

    Attributes:
        names: the columns from the left.
        at_least: how many columns every record has.
        prove: gives the `Check` of a layout, from where its columns are (by name, from 0): a type marker, a time where
            a time belongs. A row too short for it is rejected.
        check: the `Check` itself, for a layout whose columns keep their places whatever they are called.
        skip: whether a line is none of the layout's rows and no call (a checksum, a comment), however short.
        delimiter, quote: one character each; an empty quote means that quotes are text.
    """

    names: Sequence[str]
    at_least: int
    prove: Callable[[Mapping[str, int]], Check] | None = None
    check: Check = field(default=lambda _: None)
    skip: Callable[[Sequence[str]], bool] = field(default=lambda _: False)
    delimiter: str = ","
    quote: str = '"'

    def split(self, line: str) -> list[str] | None:
        """The values of one line, without spaces around them; None when its quotes don't match."""
        if not self.quote or self.quote not in line:
            values = line.split(self.delimiter)
        else:
            try:
                values = next(csv.reader([line], delimiter=self.delimiter, quotechar=self.quote, strict=True), [])
            except csv.Error:
                return None
        if " " in line and (f" {self.delimiter}" in line or f"{self.delimiter} " in line or line.strip() != line):
            values = [value.strip() for value in values]
        return values

    def identify(self, head: raw.Head) -> bool:
        """Most of the first lines are rows of this layout, and one at least is a record."""
        lines = [line for line in head.lines(20) if len(line) <= MAX_LINE]
        check = self._check_of(self.names)
        found = [self._problem(self.split(line), check) for line in lines]
        # a broken line now and then is what the reader is for
        return None in found and sum(not problem for problem in found) * 10 >= len(found) * 8

    def read(self, path: Path, options: PositionalOptions, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
        """See `raw.ReaderModule.read`."""
        names = _distinct(options.names or self.names)
        try:
            check = self._check_of(names)
        except KeyError as missing:
            raise raw.AdapterError(
                f"option names lacks {missing.args[0]!r}, by which rows prove their layout"
            ) from None
        buffer = RecordBuffer(columns)
        pick: _Pick | None = None
        for number, line in read_lines(path, options.encoding):
            if not line or line.isspace():
                continue
            values = self.split(line) if len(line) <= MAX_LINE else None
            problem = self._problem(values, check)
            if problem is None and values is not None:
                if pick is None:
                    buffer.header = _header(names, len(values), columns)
                    pick = _Pick(names, buffer.wanted)
                buffer.add_values(number, pick(values))
            elif problem == SKIP:
                buffer.skip()
            else:
                buffer.reject(number, problem or "", line)
            if buffer.full:
                yield buffer.take()
        if pick is None:
            buffer.header = _header(names, 0, columns)
        yield buffer.take()

    def _check_of(self, names: Sequence[str]) -> Check:
        return self.check if self.prove is None else self.prove(_positions(names))

    def _problem(self, values: Sequence[str] | None, check: Check) -> str | None:
        if values is None:
            return "quotes don't match, or the line is too long"
        if self.skip(values):
            return SKIP
        if len(values) < self.at_least:
            return f"{len(values)} values instead of {self.at_least} at least"
        try:
            return check(values)
        except IndexError:
            return f"{len(values)} values are too few for this layout"


def _positions(names: Sequence[str]) -> Mapping[str, int]:
    return {name: at for at, name in enumerate(names)}


def _header(names: tuple[str, ...], width: int, columns: frozenset[str] | None) -> tuple[str, ...]:
    """The columns of a table as wide as its first row, and those that are asked for by their place."""
    beyond = (str(at) for at in range(len(names) + 1, min(width, _MAX_COLUMNS) + 1))
    by_place = sorted(name for name in columns or () if _POSITION.fullmatch(name))
    return tuple(dict.fromkeys((*names, *beyond, *by_place)))


class _Pick:
    """Takes the wanted values out of a row; null beyond its end."""

    def __init__(self, names: tuple[str, ...], wanted: Sequence[str]) -> None:
        at = _positions(names)
        self._places = [at[name] if name in at else int(name) - 1 for name in wanted]
        self._most = max(self._places, default=-1) + 1
        self._get = itemgetter(*self._places) if len(self._places) > 1 else None

    def __call__(self, values: Sequence[str]) -> Sequence[str | None]:
        if len(values) < self._most:
            return [values[place] if place < len(values) else None for place in self._places]
        found: Sequence[str] = [values[place] for place in self._places] if self._get is None else self._get(values)
        return found
