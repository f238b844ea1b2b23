"""Tables of the db_text module of Kamailio and OpenSIPS.

The first line defines the columns, `id(int,auto) method(string) time(int,null) ...`; every other line is a row, its
values between colons, with backslash escapes. An empty value is null. Tables of the acc module (acc, missed_calls,
acc_cdrs) need no mapping where their columns have the customary names (`_acc`); any other table does. After the db_text
module of Kamailio 5.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cdr_adapters import raw
from cdr_adapters.formats import _acc
from cdr_adapters.formats._cdr_tables import names_of
from cdr_adapters.records import RecordBuffer, batches
from cdr_adapters.stream import MAX_LINE, Encoding, read_lines

SUMMARY = "Kamailio/OpenSIPS db_text tables"
GRADE = raw.Grade.DOCUMENTATION

COLUMNS = _acc.columns(
    seizure={"column": ["start_time", "created"], "format": "epoch_s"},
    answer={"column": "answered_at", "format": "epoch_s"},
    release={"column": ["ended_at", "end_time"], "format": "epoch_s"},
)
WHERE = _acc.WHERE

_ACC_TABLES = (frozenset(("method", "callid", "sip_code", "time")), frozenset(("start_time", "end_time", "duration")))

_COLUMN = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_]{0,127})\((?:int|integer|bigint|uint|ubigint|double|float|str|string|blob|time|datetime|bitmap)(?:,[a-z]+)*\)",
    re.ASCII | re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_FIELD = re.compile(r"((?:[^:\\]++|\\.)*+)(:|$)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


class Options(raw.Options):
    """Options of db_text tables."""

    encoding: Encoding = "utf-8"


def columns_of(line: str) -> tuple[str, ...] | None:
    """The column names of a table's first line; None when it is no such line."""
    names = []
    for part in line.split():
        match = _COLUMN.fullmatch(part)
        if match is None:
            return None
        names.append(match["name"])
    return tuple(names) if names and len(set(names)) == len(names) else None


def split_row(line: str) -> list[str] | None:
    """The values of a row; None when it ends within an escape."""
    if "\\" not in line:
        return line.split(":")
    values = []
    position = 0
    while (match := _FIELD.match(line, position)) is not None:
        values.append(_ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), match[1]))
        if not match[2]:
            return values
        position = match.end()
    return None


def identify(head: raw.Head) -> bool:
    """The first line defines columns."""
    lines = head.lines(1)
    return bool(lines) and columns_of(lines[0]) is not None


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    lines = read_lines(path, options.encoding)
    number, first = next(lines, (0, ""))
    if not number:
        return
    names = columns_of(first)
    if names is None:
        raise raw.AdapterError(f"{path}: line 1 defines no db_text columns, such as 'id(int,auto) time(int)'")
    wanted = _acc.needed(columns)
    buffer = RecordBuffer(wanted, names)
    at = [names.index(name) for name in buffer.wanted]
    # of a table of acc, what it might have and has not is empty; of any other it is a mistake of the mapping
    is_acc = any(shape <= set(names) for shape in _ACC_TABLES)
    header = tuple(dict.fromkeys((*names, *sorted(names_of(COLUMNS)), *WHERE))) if is_acc else names

    def steps() -> Iterator[None]:
        for number, line in lines:
            if not line:
                continue
            values = split_row(line) if len(line) <= MAX_LINE else None
            if values is None:
                buffer.reject(number, "the row ends within an escape, or is too long", line)
            elif len(values) != len(names):
                buffer.reject(number, f"{len(values)} values instead of {len(names)}", line)
            else:
                buffer.add_values(number, [values[index] or None for index in at])
            yield

    for batch in batches(buffer, steps):
        yield _acc.with_outcome(replace(batch, header=header), columns) if is_acc else batch
