"""CSV files of Asterisk's cdr_csv (Master.csv, a file an account) and cdr_custom.

cdr_csv writes accountcode, src, dst, dcontext, clid, channel, dstchannel, lastapp, lastdata, start, answer, end,
duration, billsec, disposition, amaflags, then, each if cdr.conf says so, uniqueid (loguniqueid), userfield
(loguserfield), and peeraccount, linkedid and sequence (newcdrcolumns). Which of them a line has, its width and its
values show; two of these settings may change within a file. cdr_custom writes what its mapping says: the option
`template` takes the mapping's text, or a list of names like `fields`. The mapping of Asterisk's own sample
configuration, clid, src, dst, ..., is known by itself: its times stand one column further to the left. A line that has
its times in neither place is rejected; so is one whose quotes don't match.

Times are local: the source needs a zone, "UTC" where cdr.conf has usegmtime = yes. `_asterisk` says what the columns
mean. After cdr_csv.c and cdr_custom.conf.sample of Asterisk 1.4 to 22.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import raw
from cdr_adapters.formats import _asterisk
from cdr_adapters.formats._asterisk_template import TemplateOptions
from cdr_adapters.formats._line_blocks import Pieces, line_blocks
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE
from cdr_adapters.text_bytes import is_true

SUMMARY = "Asterisk cdr_csv and cdr_custom files"
GRADE = raw.Grade.REAL_FILES
COLUMNS = _asterisk.columns(["start"])

_CHANNELS = ("channel", "dstchannel", "lastapp", "lastdata")
_REST = ("start", "answer", "end", "duration", "billsec", "disposition", "amaflags")
_PLAIN = ("accountcode", "src", "dst", "dcontext", "clid", *_CHANNELS, *_REST)
_NEWER = ("peeraccount", "linkedid", "sequence")
_CUSTOM = ("clid", "src", "dst", "dcontext", *_CHANNELS, *_REST, "accountcode", "uniqueid", "userfield", "sequence")

_LAYOUTS: dict[int, tuple[tuple[str, ...], ...]] = {
    16: (_PLAIN,),
    17: ((*_PLAIN, "uniqueid"), (*_PLAIN, "userfield")),
    18: ((*_PLAIN, "uniqueid", "userfield"), _CUSTOM[:18]),
    19: ((*_PLAIN, *_NEWER), _CUSTOM),
    20: ((*_PLAIN, "uniqueid", *_NEWER), (*_PLAIN, "userfield", *_NEWER)),
    21: ((*_PLAIN, "uniqueid", "userfield", *_NEWER),),
}
"""The layouts of each width, the first that fits being it."""

HEADER = tuple(dict.fromkeys((*_PLAIN, "uniqueid", "userfield", *_NEWER)))

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_UNIQUE = r"(?:[^\s,]+-)?[0-9]{9,10}\.[0-9]+"
_ANCHORS = {
    "start": f"^{_DATE}$",
    "answer": f"^(?:{_DATE})?$",
    "end": f"^(?:{_DATE})?$",
    "duration": r"^[0-9]+(?:\.[0-9]+)?$",
    "billsec": r"^[0-9]+(?:\.[0-9]+)?$",
    "uniqueid": f"^{_UNIQUE}$",
    "linkedid": f"^(?:{_UNIQUE})?$",
    "sequence": "^[0-9]*$",
}
"""What tells the layouts apart; a uniqueid is the system's name, a dash, the second, a dot and a number."""


class Options(TemplateOptions):
    """Options of Asterisk's CSV: `template` is cdr_custom's mapping, with its separator and quote."""

    def split(self, lines: Sequence[str]) -> list[list[str]]:
        """The values of each line.

        Raises:
            csv.Error: one of them has quotes that don't match.
        """
        return list(csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=True))


def layout_of(values: Sequence[str]) -> tuple[str, ...] | None:
    """The layout of one line; None when it has none that is known."""
    for layout in _LAYOUTS.get(len(values), ()):
        anchored = ((value, _ANCHORS[name]) for name, value in zip(layout, values, strict=True) if name in _ANCHORS)
        if all(re.search(pattern, value) for value, pattern in anchored):
            return layout
    return None


def identify(head: raw.Head) -> bool:
    """Nearly all lines have a layout of cdr_csv or of cdr_custom's sample."""
    lines = [line for line in head.lines(20) if len(line) <= MAX_LINE]
    return bool(lines) and sum(_is_record(line) for line in lines) * 10 >= len(lines) * 8


def _is_record(line: str) -> bool:
    # of a line that breaks off in its last value, the others show whose it is
    for text in (line, line + '"'):
        try:
            [values] = Options().split([text])
        except (csv.Error, ValueError):
            continue
        if layout_of(values) is not None:
            return True
    return False


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    names = options.names()
    header = HEADER if names is None else tuple(dict.fromkeys((*names, *HEADER)))
    for number, lines in line_blocks(path, options.encoding):
        yield from _read_block(number, lines, options, names, header, columns)


def _read_block(
    number: int,
    lines: pa.StringArray,
    options: Options,
    names: tuple[str, ...] | None,
    header: tuple[str, ...],
    wanted: frozenset[str] | None,
) -> Iterator[raw.RawBatch]:
    texts: list[str] = lines.to_pylist()
    why: dict[int, str] = {}
    by_width: dict[int, tuple[list[int], list[list[str]]]] = {}
    records = list(_split(texts, options, why))
    widths = {len(values) for _, values in records}
    if len(widths) == 1:
        by_width[widths.pop()] = ([at for at, _ in records], [values for _, values in records])
        records = []
    for at, values in records:
        rows, found = by_width.setdefault(len(values), ([], []))
        rows.append(at)
        found.append(values)
    for width, (rows, found) in by_width.items():
        layouts = _LAYOUTS.get(width, ()) if names is None else (names,) if len(names) == width else ()
        left = Pieces(np.array(rows, np.int64), [pa.array(column, raw.TEXT) for column in zip(*found, strict=True)])
        for layout in layouts:
            fits = _fits(left, layout) if names is None else np.ones(len(left.at), np.bool_)
            if fits.any():
                yield _batch(number, left.where(fits), layout, header, wanted)
            left = left.where(~fits)
        why |= dict.fromkeys(left.at.tolist(), _misfit(width, names))
    if why:
        rejected = tuple(
            Rejected(number + at, RejectReason.MALFORMED_ROW, why[at], texts[at][:RAW_LIMIT]) for at in sorted(why)
        )
        yield raw.RawBatch(raw.string_batch({}, 0), pa.array([], pa.int64()), rejected, header=header)


def _misfit(width: int, names: tuple[str, ...] | None) -> str:
    if names is not None:
        return f"{width} values instead of the {len(names)} of the option template"
    return (
        f"{width} values, not in an order of cdr_csv or of cdr_custom's sample: "
        "give the mapping of cdr_custom.conf as the option template"
    )


def _split(texts: list[str], options: Options, why: dict[int, str]) -> Iterator[tuple[int, list[str]]]:
    """The values of all lines that hold any; all at once, or one by one where some line's quotes don't match."""
    try:
        together = options.split(texts) if max(map(len, texts), default=0) <= MAX_LINE else []
    except csv.Error:
        together = []
    if len(together) == len(texts):
        yield from ((at, values) for at, values in enumerate(together) if values)
        return
    for at, text in enumerate(texts):
        if len(text) > MAX_LINE:
            why[at] = "longer than a record can be"
            continue
        try:
            values = next(iter(options.split([text])), [])
        except csv.Error:
            why[at] = "quotes don't match"
            continue
        if values:
            yield at, values


def _fits(pieces: Pieces, layout: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    fits: npt.NDArray[np.bool_] = np.ones(len(pieces.at), np.bool_)
    for name, column in zip(layout, pieces.columns, strict=True):
        if name in _ANCHORS:
            fits &= is_true(pc.match_substring_regex(column, _ANCHORS[name]))
    return fits


def _batch(
    number: int, pieces: Pieces, layout: tuple[str, ...], header: tuple[str, ...], wanted: frozenset[str] | None
) -> raw.RawBatch:
    found = {n: column for n, column in zip(layout, pieces.columns, strict=True) if wanted is None or n in wanted}
    return raw.RawBatch(raw.string_batch(found, len(pieces.at)), pa.array(pieces.at + number), header=header)
