"""Files of the db_flatstore modules of Kamailio and OpenSIPS: acc, missed_calls and acc_cdrs, a record a line.

Values stand between `|`, without header, quotes or escapes, in the order in which the acc module writes its columns:
method, from_tag, to_tag, callid, sip_code, sip_reason, time (seconds since 1970), then what the operator added
(db_extra, extra_fields), then, from OpenSIPS 2.2 on, setuptime and created, of whole dialogs also duration and
ms_duration. Kamailio's acc_cdrs begins with start_time, end_time, duration instead.

Only the operator knows the added columns: the option `columns` names them in their order (or all columns, from `method`
or `start_time` on). Without it they are called by their position, from "8" (acc) or "4" (acc_cdrs), for a mapping to
name; there is no default for the called number then. A line is one of these only if its fixed values look it and it has
as many values as `columns` says; any other is rejected. `_acc` says which names need no mapping, and what `answered_at`
and `ended_at` are.

INVITE and BYE of one call stand in lines, often in files, of their own; they have the call id in common. The BYE has no
called number and is skipped by default. After the documentation of db_flatstore in OpenSIPS 2.4 and Kamailio 5.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from cdr_adapters import raw
from cdr_adapters.formats import _acc
from cdr_adapters.formats._line_blocks import Pieces, cut, line_blocks
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding
from cdr_adapters.text_bytes import is_true

SUMMARY = "Kamailio/OpenSIPS db_flatstore files: acc, missed_calls, acc_cdrs"
GRADE = raw.Grade.REAL_FILES

COLUMNS = _acc.columns(
    seizure={"column": ["start_time", "created"], "format": "epoch_s"},
    answer={"column": "answered_at", "format": "epoch_s"},
    release={"column": ["ended_at", "end_time"], "format": "epoch_s"},
)
WHERE = _acc.WHERE

_ACC = ("method", "from_tag", "to_tag", "callid", "sip_code", "sip_reason", "time")
_CDRS = ("start_time", "end_time", "duration")
_DIALOG = ("setuptime", "created", "duration", "ms_duration")
_LIMIT = 512

_EPOCH = r"[0-9]{9,10}(?:\.[0-9]+)?"
_ACC_LINE = re.compile(rf"[A-Z]{{2,16}}\|[^|]*\|[^|]*\|[^|]+\|[1-6][0-9]{{2}}\|[^|]*\|(?:{_EPOCH})?(?:\||$)", re.ASCII)
_CDRS_LINE = re.compile(rf"({_EPOCH})\|({_EPOCH})\|([0-9]+\.[0-9]+)\|[^|]*\|", re.ASCII)

_ANCHORS = {
    "method": r"^[A-Z]{2,16}$",
    "sip_code": r"^[0-9]{3}$",
    "time": rf"^(?:{_EPOCH})?$",
    "start_time": rf"^(?:{_EPOCH})?$",
    "end_time": rf"^(?:{_EPOCH})?$",
    "created": rf"^(?:{_EPOCH}|0)?$",
    "setuptime": r"^[0-9]{0,10}$",
    "ms_duration": r"^[0-9]{0,12}$",
}
"""What the fixed columns must look like, or the columns are not those that were named."""

Name = Annotated[str, Field(min_length=1)]


class Options(raw.Options):
    """Options of flatstore files; `columns` names the operator's own, in their order."""

    columns: Annotated[list[Name], Field(min_length=1)] | None = None
    delimiter: Annotated[str, Field(pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$")] = "|"
    encoding: Encoding = "utf-8"

    @field_validator("columns")
    @classmethod
    def _distinct(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) != len(names):
            raise ValueError("names must differ from each other")
        if names and names[0] in (_ACC[0], _CDRS[0]) and tuple(names[:3]) not in (_ACC[:3], _CDRS):
            raise ValueError(f"a full list begins with {', '.join(_ACC)} or with {', '.join(_CDRS)}")
        return names

    def layouts(self) -> dict[int, tuple[str, ...]]:
        """The columns of lines that begin with a method, by their number."""
        if self.columns is None:
            return {}
        named = tuple(self.columns)
        if named[0] == _CDRS[0]:
            return {}
        whole = named if named[0] == _ACC[0] else _ACC + named
        return {len(whole) + more: whole + _DIALOG[:more] for more in (0, 2, 4) if not set(_DIALOG[:more]) & set(whole)}

    def dialogs(self) -> tuple[str, ...] | None:
        """The columns of lines that begin with a start time; None when they have their positions for names."""
        if self.columns is None or self.columns[0] == _ACC[0]:
            return None
        return tuple(self.columns) if self.columns[0] == _CDRS[0] else (*_CDRS, *self.columns)


def identify(head: raw.Head) -> bool:
    """Nearly all lines begin as the acc module's columns do."""
    lines = head.lines(50)
    return bool(lines) and sum(_is_record(line) for line in lines) * 10 >= len(lines) * 8


def _is_record(line: str) -> bool:
    if _ACC_LINE.match(line):
        return True
    cdrs = _CDRS_LINE.match(line)
    return cdrs is not None and abs(float(cdrs[2]) - float(cdrs[1]) - float(cdrs[3])) <= 2


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    if options.columns is None and columns is not None and not any(name.isdecimal() for name in columns):
        raise raw.AdapterError(
            f"{path}: flatstore files don't name their columns; say those that were added to acc's own (db_extra, "
            "extra_fields), in their order: options = { columns = [...] }"
        )
    wanted = _acc.needed(columns)
    for number, lines in line_blocks(path, options.encoding):
        for batch in _read_block(number, lines, options, wanted):
            yield _acc.with_outcome(batch, columns)


def _read_block(
    number: int, lines: pa.StringArray, options: Options, wanted: frozenset[str] | None
) -> Iterator[raw.RawBatch]:
    filled = is_true(pc.greater(pc.binary_length(lines), 0))
    left = filled & is_true(pc.less_equal(pc.binary_length(lines), MAX_LINE))
    why = np.full(len(lines), f"longer than {MAX_LINE} bytes", object)
    why[left] = f"more than {_LIMIT} values"
    at = np.flatnonzero(left)
    bad = filled.copy()
    for pieces in cut(lines.take(pa.array(at)), options.delimiter, _LIMIT):
        placed = Pieces(at[pieces.at], pieces.columns)
        is_cdrs = is_true(pc.match_substring_regex(placed.columns[0], r"^[0-9]"))
        for part, fixed, names in (
            (placed.where(~is_cdrs), _ACC, _names(placed, _ACC, options)),
            (placed.where(is_cdrs), _CDRS, _names(placed, _CDRS, options)),
        ):
            if not len(part.at):
                continue
            if len(part.columns) < len(fixed) or names is None:
                why[part.at] = f"{len(part.columns)} values: not as many as the option columns says"
                continue
            looks = _looks_right(part, names)
            why[part.at[~looks]] = "the values are not what the columns are called: check the option columns"
            bad[part.at[looks]] = False
            if looks.any():
                yield _batch(number, part.where(looks), names, wanted)
    rejected = tuple(
        Rejected(number + row, RejectReason.MALFORMED_ROW, str(why[row]), lines[row].as_py()[:RAW_LIMIT])
        for row in np.flatnonzero(bad).tolist()
    )
    if rejected:
        yield raw.RawBatch(raw.string_batch({}, 0), pa.array([], pa.int64()), rejected)


def _names(pieces: Pieces, fixed: tuple[str, ...], options: Options) -> tuple[str, ...] | None:
    """The names of so many columns; None when lines of this kind have another number of them."""
    width = len(pieces.columns)
    if options.columns is None:
        return fixed + tuple(str(position) for position in range(len(fixed) + 1, width + 1))
    if fixed is _ACC:
        return options.layouts().get(width)
    names = options.dialogs()
    return names if names is not None and len(names) == width else None


def _looks_right(pieces: Pieces, names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = np.ones(len(pieces.at), np.bool_)
    for name, column in zip(names, pieces.columns, strict=True):
        if name in _ANCHORS:
            right &= is_true(pc.match_substring_regex(column, _ANCHORS[name]))
    return right


def _batch(number: int, pieces: Pieces, names: tuple[str, ...], wanted: frozenset[str] | None) -> raw.RawBatch:
    found = {
        name: column for name, column in zip(names, pieces.columns, strict=True) if wanted is None or name in wanted
    }
    return raw.RawBatch(raw.string_batch(found, len(pieces.at)), pa.array(pieces.at + number))
