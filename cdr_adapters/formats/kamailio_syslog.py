"""Accounting lines that Kamailio, OpenSIPS and their kin write to syslog, among whatever else is logged there.

Three kinds of record, told apart by the column `kind`: `acc` (one line a transaction: `ACC: transaction answered:
timestamp=...;method=INVITE;...`, its wording in the column `event`), `cdr` (one line a dialog: `start_time=...;
end_time=...;...`) and `json` (`... {"...": ...}`). The other columns are those that the operator configured (log_extra,
cdr_extra); `_acc` says which of their names need no mapping, and what `answered_at` and `ended_at` are. The syslog
header's time and host are the columns `syslog_time` and `syslog_host`; that time has no year and no zone and is best
not used. Other lines are skipped and counted. After the Kamailio 5.6 and OpenSIPS 3.x acc modules.

Lines that are cut at the same places go through together, for speed; those that differ are read one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdr_adapters import raw
from cdr_adapters.formats import _acc
from cdr_adapters.formats._line_blocks import Pieces, cut, line_blocks
from cdr_adapters.formats.jsonl import JsonRecordError, fields_of, parse_object
from cdr_adapters.records import RecordBuffer
from cdr_adapters.stream import MAX_LINE, Encoding
from cdr_adapters.text_bytes import is_true

SUMMARY = "Kamailio/OpenSIPS accounting in syslog: ACC and CDR lines, JSON after a syslog header"
GRADE = raw.Grade.REAL_FILES

COLUMNS = _acc.columns(
    seizure={"column": "start_time", "format": "epoch_s"},
    answer={"column": "answered_at", "format": "epoch_s"},
    release={"column": ["ended_at", "end_time"], "format": "epoch_s"},
)
WHERE = _acc.WHERE

_ACC = re.compile(r"\bACC: (?P<event>[a-z ]{1,40}):(?: |$)")
_CDR = re.compile(r"\blog_write_cdr\(\): |(?:^|: )(?=start_time=[0-9.]+; ?end_time=)")
_SYSLOG_HEADER = re.compile(
    r"(?:<[0-9]{1,3}>(?:1 )?)?"
    r"(?P<time>[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[-+][0-9:]{4,6})?)"
    r" (?P<host>\S{1,255}) "
)
_URI = ("sip:", "sips:", "tel:", "<")
_URI_PARAMETERS = frozenset(
    (
        *("rn", "cic", "user", "transport", "phone-context", "rn-context", "cic-context"),
        *("tgrp", "trunk-context", "isub", "ext", "maddr", "postd", "verstat"),
    )
)
"""Parameters of a SIP or tel URI, which has the same separator as the record around it."""

_MAX_FIELDS = 256
_WORTHWHILE = 8
"""So many lines that are alike are read faster together."""

Mask = npt.NDArray[np.bool_]


class Options(raw.Options):
    """Options of accounting in syslog."""

    encoding: Encoding = "utf-8"


def split_fields(payload: str) -> dict[str, str | None] | None:
    """The `key=value` fields of an accounting line; None when there are none.

    Fields stand between semicolons, in old releases between commas. Kamailio does not escape: a piece that can't be a
    field of its own is the rest of the value before it.
    """
    separator = ";" if ";" in payload else ", "
    pieces = payload.split(separator)
    fields: dict[str, str | None] = {}
    for piece in pieces:
        key, equals, value = piece.partition("=")
        name = _own_name(key)
        if name is None or not equals:
            return _split_with_care(pieces, separator)
        fields[name] = value
    return fields


@lru_cache(maxsize=4096)
def _own_name(key: str) -> str | None:
    """The name of a field, when `key` can be nothing else; names are few, and the same in every line."""
    name = key.strip()
    return None if not name or " " in name or name in _URI_PARAMETERS else name


def _split_with_care(pieces: list[str], separator: str) -> dict[str, str | None] | None:
    fields: dict[str, str | None] = {}
    last = ""
    parts: list[str] = []  # of the last field's value; put together once, however many there are
    for piece in pieces:
        key, equals, value = piece.partition("=")
        key = key.strip()
        inside_uri = bool(parts) and parts[0].startswith(_URI) and key in _URI_PARAMETERS
        if not equals or not key or " " in key or inside_uri:
            if not parts:
                return None
            parts.append(piece)
        else:
            if parts:
                fields[last] = separator.join(parts)
            last, parts = key, [value]
    if parts:
        fields[last] = separator.join(parts)
    return fields


def _record(line: str, columns: frozenset[str] | None) -> dict[str, str | None] | None:
    """The fields of an accounting line; None for any other line.

    Raises:
        JsonRecordError: an accounting line without fields.
    """
    if "ACC: " in line and (acc := _ACC.search(line)) is not None:
        fields = split_fields(line[acc.end() :])
        kind: dict[str, str | None] = {"kind": "acc", "event": acc["event"]}
    elif (cdr := _CDR.search(line)) is not None:
        fields = split_fields(line[cdr.end() :])
        kind = {"kind": "cdr"}
    elif line.endswith("}") and (start := line.find("{")) > 0:
        try:
            fields = fields_of(parse_object(line[start:]), columns)
        except JsonRecordError:
            return None
        kind = {"kind": "json"}
        if columns is not None:
            fields = {name: value for name, value in fields.items() if value is not None}
    else:
        return None
    if fields is None:
        raise JsonRecordError("an accounting line without fields")
    if _wants_header(columns):
        header = _SYSLOG_HEADER.match(line)
        if header is not None:
            kind |= {"syslog_time": header["time"], "syslog_host": header["host"]}
    return kind | fields


def _wants_header(columns: frozenset[str] | None) -> bool:
    return columns is None or "syslog_time" in columns or "syslog_host" in columns


_CERTAIN = re.compile(r"\bACC: [a-z ]{1,40}: (?:timestamp=[0-9]+;)?method=[A-Z]+[;,]")


def identify(head: raw.Head) -> bool:
    """At least one accounting line, or JSON after a syslog header."""
    for line in head.lines(200):
        if _CERTAIN.search(line) or _CDR.search(line):
            return True
        if _SYSLOG_HEADER.match(line) and line.endswith("}") and "{" in line:
            try:
                parse_object(line[line.index("{") :])
            except JsonRecordError:
                continue
            return True
    return False


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    wanted = _acc.needed(columns)
    for number, lines in line_blocks(path, options.encoding):
        for batch in _read_block(number, lines, wanted):
            yield _acc.with_outcome(batch, columns)


def _read_block(number: int, lines: pa.StringArray, wanted: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    lines = pc.utf8_rtrim_whitespace(lines)
    short = is_true(pc.less_equal(pc.binary_length(lines), MAX_LINE))
    is_acc, is_cdr = is_true(pc.match_substring(lines, "ACC: ")), is_true(pc.match_substring(lines, "start_time="))
    done: Mask = np.zeros(len(lines), np.bool_)
    if not _wants_header(wanted):
        for kind, marker, chosen in (("acc", "ACC: ", is_acc), ("cdr", "log_write_cdr(): ", is_cdr & ~is_acc)):
            at = np.flatnonzero(chosen & short)
            for pieces, event in _alike(lines.take(pa.array(at)), at, kind, marker):
                batch = _together(number, pieces, event, kind, wanted, done)
                if batch is not None:
                    yield batch
    is_json = is_true(pc.ends_with(lines, "}"))
    single = (is_acc | is_cdr | is_json | is_true(pc.match_substring(lines, "log_write_cdr")) | ~short) & ~done
    filled = is_true(pc.greater(pc.binary_length(lines), 0))
    yield from _one_by_one(
        number, lines, np.flatnonzero(single), int(np.count_nonzero(filled & ~single & ~done)), wanted
    )


def _one_by_one(
    number: int, lines: pa.StringArray, at: npt.NDArray[np.int64], skipped: int, wanted: frozenset[str] | None
) -> Iterator[raw.RawBatch]:
    buffer = RecordBuffer(wanted)
    for row, line in zip(at.tolist(), lines.take(pa.array(at)).to_pylist(), strict=True):
        if len(line) > MAX_LINE:
            buffer.reject(number + row, "the line is too long", line)
            continue
        try:
            record = _record(line, wanted)
        except JsonRecordError as error:
            buffer.reject(number + row, str(error), line)
            continue
        if record is None:
            skipped += 1
        else:
            buffer.add(number + row, record)
    if not buffer.empty or skipped:
        batch = buffer.take()
        yield raw.RawBatch(batch.columns, batch.rows, batch.rejected, skipped)


def _alike(
    lines: pa.StringArray, at: npt.NDArray[np.int64], kind: str, marker: str
) -> Iterator[tuple[Pieces, pa.StringArray | None]]:
    """Lines of the same number of fields, and the event of each (of acc lines)."""
    for marked in cut_once(lines, marker, at):
        before, payload = marked.columns
        marked = marked.where(is_true(pc.or_(pc.equal(before, ""), pc.ends_with(before, " "))))
        payload = marked.columns[1]
        if kind == "cdr":
            yield from ((_placed(fields, marked.at), None) for fields in cut(payload, ";", _MAX_FIELDS))
            continue
        for worded in cut_once(payload, ": ", marked.at):
            worded = worded.where(is_true(pc.match_substring_regex(worded.columns[0], r"^[a-z ]{1,40}$")))
            event, payload = worded.columns
            for fields in cut(payload, ";", _MAX_FIELDS):
                yield _placed(fields, worded.at), event.take(pa.array(fields.at))


def cut_once(lines: pa.StringArray, separator: str, at: npt.NDArray[np.int64]) -> Iterator[Pieces]:
    """`lines` that hold `separator`, in two pieces; `at` is where each line stands."""
    has = is_true(pc.match_substring(lines, separator))
    if has.any():
        flat = pc.split_pattern(lines.filter(pa.array(has)), separator, max_splits=1).flatten()
        halves = [flat.take(pa.array(np.arange(half, len(flat), 2))) for half in (0, 1)]
        yield Pieces(at[has], halves)


def _placed(pieces: Pieces, at: npt.NDArray[np.int64]) -> Pieces:
    return Pieces(at[pieces.at], pieces.columns)


def _together(
    number: int, pieces: Pieces, event: pa.StringArray | None, kind: str, wanted: frozenset[str] | None, done: Mask
) -> raw.RawBatch | None:
    """The records of lines that have the same fields in the same places; `done` gets those that were read."""
    if len(pieces.at) < _WORTHWHILE:
        return None
    fields = _columns_of(pieces)
    if fields is None:
        return None
    alike, values = fields
    done[pieces.at[alike]] = True
    found = {"kind": pa.array([kind] * len(alike), raw.TEXT), **({} if event is None else {"event": event}), **values}
    keep = pa.array(alike)
    table = {name: column.filter(keep) for name, column in found.items() if wanted is None or name in wanted}
    rows = pa.array(pieces.at[alike] + number)
    return raw.RawBatch(raw.string_batch(table, len(rows)), rows)


def _columns_of(pieces: Pieces) -> tuple[Mask, dict[str, pa.StringArray]] | None:
    """The fields, as the first line has them, and which lines have the same ones; None when it must be read with care.

    The same as `split_fields` says of each of these lines.
    """
    alike: Mask = np.ones(len(pieces.at), np.bool_)
    values: dict[str, pa.StringArray] = {}
    last = ""
    for column in pieces.columns:
        key, equals, _ = column[0].as_py().partition("=")
        name = _own_name(key)
        if equals and name is not None and name not in values:
            alike &= is_true(pc.starts_with(column, key + "="))
            values[name] = pc.utf8_slice_codeunits(column, len(key) + 1)
            last = name
        elif last and (not equals or key in _URI_PARAMETERS):
            before = values[last]
            if equals:
                inside = [is_true(pc.starts_with(before, scheme)) for scheme in _URI]
                alike &= is_true(pc.starts_with(column, key + "=")) & np.logical_or.reduce(inside)
            else:
                alike &= ~is_true(pc.match_substring(column, "="))
            values[last] = pc.binary_join_element_wise(before, column, ";")
        else:
            return None
    return alike, values
