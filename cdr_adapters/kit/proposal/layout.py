"""How a file is laid out: its format and the reader's options, told from its beginning.

A format that claims the file goes before any guess. Of delimited text the delimiter is the one by which nearly all
lines have the same number of values; a first line of names is a header when no line below looks like it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cdr_adapters import registry
from cdr_adapters.archives import members
from cdr_adapters.identify import AmbiguousFormatError, claimants
from cdr_adapters.kit.proposal.guess import Guess, Sure
from cdr_adapters.kit.proposal.names import name_says, words_of
from cdr_adapters.raw import AdapterError, Head, RawBatch
from cdr_adapters.stream import read_head

SAMPLE: Final = 5000
"""Of so many records the proposal is made."""
_DELIMITERS: Final = (",", ";", "|", "\t", "^", "~", "\x01", "\x1f", ":", " ")
_MOST_LINES: Final = 200
_ALIKE: Final = 0.8
_NAME: Final = re.compile(r"[A-Za-z_][\w .()/#:-]{0,60}")
_TABLE: Final = re.compile(
    r"(?:^|;)\s*(?:COPY|INSERT\s+(?:IGNORE\s+)?INTO)\s+([\w.\"`\[\]$]+)", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Layout:
    """A file's format and options, with the guesses that led to them; `named` says whether columns have names."""

    format: str
    options: Mapping[str, Any]
    guesses: tuple[Guess, ...]
    named: bool = True


def layout_of(path: Path, wanted_format: str | None, options: Mapping[str, Any]) -> Layout:
    """How the file is laid out.

    Raises:
        AdapterError: it can't be read, several formats claim it, or nothing about it looks like records.
    """
    head = read_head(path)
    if wanted_format is not None:
        guess = Guess("format", Sure.SURE, "given on the command line", wanted_format)
        return _with_options(path, head, wanted_format, options, guess)
    found = claimants(path)
    if len(found) > 1:
        raise AmbiguousFormatError(path, found)
    if found:
        guess = Guess("format", Sure.SURE, "this format alone claims the file", found[0])
        return _with_options(path, head, found[0], options, guess)
    told = _sniffed(head)
    if told is None:
        raise AdapterError(
            f"{path}: no format claims it, and its lines don't split into columns by any usual delimiter. If you know "
            "the format, give --format (hopback-cdr formats lists them); fixed width is read by its positions"
        )
    guess = Guess("format", Sure.LIKELY, "no format claims it; its lines split evenly", "delimited")
    return _delimited(head, options, guess)


def _with_options(path: Path, head: Head, name: str, options: Mapping[str, Any], guess: Guess) -> Layout:
    if name == "delimited":
        return _delimited(head, options, guess)
    if name in ("sqlite", "sqldump") and not {"table", "query"} & options.keys():
        return _of_tables(path, head, name, options, guess)
    written = (Guess("options", Sure.SURE, "given on the command line", dict(options)),) if options else ()
    return Layout(name, options, (guess, *written))


# ---- delimited text


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=False)
    try:
        return list(reader)
    except csv.Error:
        return [line.split(delimiter) for line in lines]


@dataclass(frozen=True, slots=True)
class _Sniffed:
    delimiter: str
    share: float
    width: int
    skip: int
    rows: list[list[str]]


def _sniffed(head: Head, delimiters: Sequence[str] = _DELIMITERS) -> _Sniffed | None:
    """The delimiter by which most lines have the same number of values, three at least."""
    lines = head.lines(_MOST_LINES)
    if not lines or "\x00" in "".join(lines[:5]):
        return None
    best: _Sniffed | None = None
    for delimiter in delimiters:
        rows = _split(lines, delimiter)
        widths = Counter(map(len, rows))
        width, count = widths.most_common(1)[0]
        share = count / len(rows)
        if width < 3 or share < _ALIKE:
            continue
        skip = next(i for i, row in enumerate(rows) if len(row) == width)
        # a comma within values splits fewer lines evenly; a space splits dates in two: it comes last
        if best is None or (share, width * (delimiter not in " :")) > (best.share, best.width):
            best = _Sniffed(delimiter, share, width, skip, [row for row in rows if len(row) == width])
    return best


def _delimited(head: Head, given: Mapping[str, Any], guess: Guess) -> Layout:
    delimiters = (given["delimiter"],) if "delimiter" in given else _DELIMITERS
    told = _sniffed(head, delimiters)
    if told is None:
        raise AdapterError(f"{head.path}: its lines don't split into three values or more, evenly, by any delimiter")
    guesses = [guess]
    options: dict[str, Any] = {}
    if told.delimiter != ",":
        options["delimiter"] = told.delimiter
    guesses.append(
        Guess(
            "options.delimiter",
            Sure.SURE if told.share > 0.98 else Sure.LIKELY,
            f"{int(told.share * 100)}% of the first lines split into {told.width} values by it",
            told.delimiter,
        )
    )
    if told.skip:
        options["skip_lines"] = told.skip
        guesses.append(
            Guess("options.skip_lines", Sure.LIKELY, "these lines split into fewer values than all others", told.skip)
        )
    header, sure, why = _header(told.rows)
    options["header"] = header
    guesses.append(Guess("options.header", sure, why, header))
    padded = sum(value != value.strip() for row in told.rows for value in row)
    if padded * 3 > sum(map(len, told.rows)) or (told.delimiter == "," and _blank_after(told.rows)):
        options["trim"] = True
        guesses.append(Guess("options.trim", Sure.SURE, "values have blanks around them", value=True))
    try:
        head.data.decode("utf-8") if head.complete else head.data[:-4].decode("utf-8")
    except UnicodeDecodeError:
        if head.data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            options["encoding"] = "latin-1"
            guesses.append(
                Guess(
                    "options.encoding", Sure.LIKELY, "there are bytes that are no UTF-8; latin-1 reads any", "latin-1"
                )
            )
    return Layout("delimited", {**options, **given}, tuple(guesses), named=header)


def _blank_after(rows: Sequence[Sequence[str]]) -> bool:
    later = [value for row in rows for value in row[1:] if value]
    return bool(later) and all(value.startswith(" ") for value in later)


def _header(rows: Sequence[Sequence[str]]) -> tuple[bool, Sure, str]:
    first = [value.strip() for value in rows[0]]
    named = [value for value in first if value]
    names = [value for value in named if _NAME.fullmatch(value)]
    known = [value for value in names if name_says(value).roles]
    below = {value.strip() for row in rows[1:] for value in row}
    repeated = sum(value in below for value in named)
    all_names = len(names) == len(named) == len(set(names))
    if all_names and repeated * 3 <= len(named) and len(known) >= 2:
        return (
            True,
            Sure.LIKELY if repeated else Sure.SURE,
            f"the first line holds names, such as {', '.join(known[:3])}",
        )
    if all_names and not repeated and len(names) > len(first) // 2 and len(rows) > 1:
        return True, Sure.LIKELY, "the first line looks like names, and none of them occurs below"
    return False, Sure.LIKELY, 'the first line looks like the lines below: columns go by their position, from "1"'


# ---- databases and dumps


def _of_tables(path: Path, head: Head, name: str, options: Mapping[str, Any], guess: Guess) -> Layout:
    tables = (
        _sqlite_tables(path)
        if name == "sqlite"
        else list(dict.fromkeys(_TABLE.findall(head.data.decode("utf-8", "replace"))))
    )
    ranked = sorted(tables, key=lambda table: -_like_calls(path, name, table))
    if not ranked:
        raise AdapterError(f"{path}: there is no table in it that could be read")
    best = ranked[0].strip('"`[]')
    sure = Sure.SURE if len(ranked) == 1 else Sure.LIKELY
    others = tuple(table.strip('"`[]') for table in ranked[1:6])
    why = "the only table" if len(ranked) == 1 else "its columns look most like those of calls"
    return Layout(name, {**options, "table": best}, (guess, Guess("options.table", sure, why, best, others)))


def _sqlite_tables(path: Path) -> list[str]:
    """The tables' names, from the reader's own word: it lists them when none is chosen."""
    try:
        next(iter(registry.adapter("sqlite").read(path, {}, None)), None)
    except AdapterError as error:
        listed = str(error).rpartition(": ")[2]
        return [table.strip() for table in listed.split(",") if table.strip()]
    return []


def _like_calls(path: Path, name: str, table: str) -> int:
    """How many columns of a table have names that say what of a call they hold."""
    try:
        batch = next(iter(registry.adapter(name).read(path, {"table": table.strip('"`[]')}, None)), None)
    except AdapterError:
        return -1
    if batch is None or not batch.columns.num_rows:
        return 0
    return sum(bool(name_says(column).roles) for column in batch.columns.schema.names)


# ---- a sample of the records


def sample_of(path: Path, layout: Layout) -> tuple[dict[str, list[str | None]], int]:
    """The first records as columns, and how many there are.

    Raises:
        AdapterError: the file can't be read so.
    """
    columns: dict[str, list[str | None]] = {}
    count = 0
    with closing(members(path)) as files:
        first = next(iter(files))
        for batch in islice(_batches(layout, first), 64):
            taken = batch.columns.slice(0, SAMPLE - count)
            for name in taken.schema.names:
                columns.setdefault(name, [None] * count)
            for name, values in columns.items():
                at = taken.schema.get_field_index(name)
                values += [None] * taken.num_rows if at < 0 else taken.column(at).to_pylist()
            count += taken.num_rows
            if count >= SAMPLE:
                break
    return columns, count


def _batches(layout: Layout, path: Path) -> Iterator[RawBatch]:
    return registry.adapter(layout.format).read(path, layout.options, None)


def position_words(name: str) -> bool:
    """Whether a column goes by its position alone."""
    return not words_of(name) or name.isdigit()
