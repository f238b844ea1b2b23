"""Delimited text with any delimiter, with or without a header line, compressed or not.

One line is one record, unless `multiline` is set: then quoted values may hold line ends. A line that can't be split,
or that has another number of values than the others, is rejected with its number; empty lines are no records. Blocks of
the file go through pyarrow's parser; a block that it can't take, or in which it would join lines, is read again line by
line.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from cdr_adapters import raw
from cdr_adapters.records import RAW_LIMIT, RecordBuffer
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding, filling

if TYPE_CHECKING:
    from _csv import Reader

SUMMARY = "Delimited text: any delimiter, with or without header"
GRADE = raw.Grade.GENERIC

_BLOCK = 8 << 20
_PARSERS = 2
_MAX_COLUMNS = 5000
_LINE_END = ord("\n")
_LAST_ASCII = 127

Character = Annotated[str, Field(pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$")]


class Options(raw.Options):
    """Options of delimited text.

    `names` names the columns of a file without header, or renames those of one with; without either, columns are
    called by their position, from "1". `quote` and `escape` may be empty. `skip_lines` stand before header and data.
    """

    delimiter: Character = ","
    header: bool = True
    names: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None
    quote: Character | Annotated[str, Field(max_length=0)] = '"'
    escape: Character | Annotated[str, Field(max_length=0)] = ""
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0
    trim: bool = False
    multiline: bool = False
    encoding: Encoding = "utf-8"

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.names is not None and len(set(self.names)) != len(self.names):
            raise ValueError("names must differ from each other")
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark]
        if len(set(marks)) != len(marks):
            raise ValueError("delimiter, quote and escape must differ from each other")
        return self

    def split(self, line: str) -> list[str] | None:
        """The values of one line; None when its quotes don't match."""
        try:
            return next(_csv_reader([line], self), [])
        except csv.Error:
            return None


def _csv_reader(lines: Iterable[str], options: Options) -> Reader:
    return csv.reader(
        lines,
        delimiter=options.delimiter,
        quotechar=options.quote or None,
        quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
        escapechar=options.escape or None,
        doublequote=True,
        strict=True,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the first lines say: the columns, and which of them are wanted."""

    header: tuple[str, ...]
    wanted: tuple[str, ...]


def _layout(options: Options, first: list[str], columns: frozenset[str] | None) -> _Layout:
    names = options.names or (first if options.header else [str(index) for index in range(1, len(first) + 1)])
    header: dict[str, None] = {}
    for index, name in enumerate(names, 1):
        plain = name.strip() or str(index)
        header[plain if plain not in header else f"{plain}.{index}"] = None
    known = tuple(header)
    # one column at least, or the rows could not be counted
    wanted = tuple(name for name in known if columns is None or name in columns) or known[:1]
    return _Layout(known, wanted)


def _blocks(path: Path, options: Options) -> Iterator[memoryview]:
    """The file's text in blocks of whole lines; the last may lack its line end.

    A block is good until `_PARSERS` more are taken. An overlong line has lost its middle; it comes as a block of its
    own, longer than `MAX_LINE`.
    """
    buffers = [bytearray(_BLOCK) for _ in range(_PARSERS + 1)]
    turn = 0
    held = 0  # bytes of an unfinished line at the beginning of the buffer whose turn it is
    is_overlong = False
    with filling(path, options.encoding) as fill:
        while count := fill(memoryview(buffers[turn])[held:]):
            end = held + count
            cut = buffers[turn].find(b"\n", held, end) + 1 if is_overlong else 0
            if is_overlong and not cut:
                continue
            if not cut:
                cut = buffers[turn].rfind(b"\n", held, end) + 1
            while cut:
                yield memoryview(buffers[turn])[:cut]
                turn, end = _rest_to_next(buffers, turn, cut, end), end - cut
                held, is_overlong = 0, False
                cut = buffers[turn].rfind(b"\n", 0, end) + 1
            held = end
            if held > MAX_LINE:
                held, is_overlong = MAX_LINE + 1, True
            if held == len(buffers[turn]):
                buffers[turn] = buffers[turn] + bytes(held)
    if buffers[turn][:held].strip(b"\r\n"):
        yield memoryview(buffers[turn])[:held]


def _rest_to_next(buffers: list[bytearray], turn: int, start: int, end: int) -> int:
    """Copy what follows a block to the beginning of the next buffer; whose turn it is then."""
    following = (turn + 1) % len(buffers)
    if len(buffers[following]) < len(buffers[turn]):
        buffers[following] = bytearray(len(buffers[turn]))
    buffers[following][: end - start] = memoryview(buffers[turn])[start:end]
    return following


def _head(blocks: Iterator[memoryview], options: Options) -> tuple[list[str] | None, int, Iterator[memoryview]]:
    """The values of the header or the first record, how many lines stand before the records, the records' blocks.

    None for the values when there is no line but empty ones.
    """
    line_number = 0
    for block in blocks:
        text = block.tobytes()
        position = 0
        while position < len(block):
            end = text.find(b"\n", position) + 1 or len(block)
            line = text[position:end].decode("utf-8", "replace").rstrip("\r\n")
            line_number += 1
            if line_number > options.skip_lines and line.strip():
                if len(line) > MAX_LINE:
                    raise raw.AdapterError(f"line {line_number} is too long to begin a table")
                values = options.split(line)
                if values is None and (options.header or options.names is None):
                    raise raw.AdapterError(f"line {line_number} can't be split; check the options delimiter and quote")
                if options.header:
                    return values or [], line_number, itertools.chain([block[end:]], blocks)
                return values or [], line_number - 1, itertools.chain([block[position:]], blocks)
            position = end
    return None, line_number, iter(())


def _parse_fast(block: memoryview, layout: _Layout, options: Options) -> raw.RawBatch | None:
    """A block through pyarrow's parser; None when the result would not be one record a line."""
    from pyarrow import csv as arrow_csv

    bytes_ = np.frombuffer(block, np.uint8)
    if len(block) > MAX_LINE and not (bytes_[: MAX_LINE + 1] == _LINE_END).any():
        return None
    if bytes_.max(initial=0) > _LAST_ASCII:
        # bad bytes first, for the parser loses a broken row whose text it can't decode
        block = memoryview(str(block, "utf-8", "replace").encode("utf-8"))
    broken: list[tuple[int, int, str]] = []

    def keep_aside(row: arrow_csv.InvalidRow) -> str:
        broken.append((row.number or 0, row.actual_columns, row.text))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(block)),
            read_options=arrow_csv.ReadOptions(
                column_names=list(layout.header), use_threads=False, block_size=len(block) + 1
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=options.delimiter,
                quote_char=options.quote or False,
                escape_char=options.escape or False,
                newlines_in_values=False,
                ignore_empty_lines=False,
                invalid_row_handler=keep_aside,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(layout.wanted, pa.string()),
                include_columns=list(layout.wanted),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if options.quote and not _is_one_record_a_line(block, options.quote, table.num_rows + len(broken)):
        return None
    columns = table.combine_chunks().to_batches()[0] if table.num_rows else _no_rows(layout)
    if _has_empty_row(columns):
        return None
    if options.trim:
        columns = pa.RecordBatch.from_arrays(
            [pc.utf8_trim_whitespace(column) for column in columns.columns], names=columns.schema.names
        )
    is_record = np.ones(table.num_rows + len(broken), np.bool_)
    is_record[[number - 1 for number, _, _ in broken]] = False
    rejected = tuple(
        Rejected(
            number - 1,
            RejectReason.MALFORMED_ROW,
            f"{width} values instead of {len(layout.header)}",
            text.rstrip("\r\n")[:RAW_LIMIT],
        )
        for number, width, text in broken
    )
    rows = pa.array(np.flatnonzero(is_record))
    return raw.RawBatch(columns, rows, rejected, header=layout.header)


def _is_one_record_a_line(block: memoryview, quote: str, records: int) -> bool:
    """Whether no quoted value can have joined lines of the block."""
    bytes_ = np.frombuffer(block, np.uint8)
    quotes = np.count_nonzero(bytes_ == ord(quote))
    if not quotes:
        return True
    text = block.tobytes()
    if quotes % 2 or text.count(b"\r") != text.count(b"\r\n"):
        return False
    return text.count(b"\n") + (not text.endswith(b"\n")) == records


def _no_rows(layout: _Layout) -> pa.RecordBatch:
    return raw.string_batch({name: [] for name in layout.wanted}, 0)


def _has_empty_row(columns: pa.RecordBatch) -> bool:
    """Whether a row has nothing in any wanted column: it may be an empty line."""
    empty = None
    for column in columns.columns:
        blank = pc.equal(pc.binary_length(column), 0)
        empty = blank if empty is None else pc.and_(empty, blank)
        if not empty.true_count:
            return False
    return empty is not None


def _parse_lines(block: memoryview, layout: _Layout, options: Options) -> tuple[raw.RawBatch, int]:
    """The same line by line: slow, and certain."""
    buffer = RecordBuffer(frozenset(layout.wanted), layout.header)
    at = [layout.header.index(name) for name in buffer.wanted]
    lines = block.tobytes().splitlines()
    for number, line in enumerate(lines):
        if not line:
            continue
        text = line[: MAX_LINE + 1].decode("utf-8", "replace")
        values = options.split(text) if len(line) <= MAX_LINE else None
        if values is None:
            buffer.reject(number, "quotes don't match, or the line is too long", text)
        elif len(values) != len(layout.header):
            buffer.reject(number, f"{len(values)} values instead of {len(layout.header)}", text)
        else:
            buffer.add_values(number, [values[index].strip() if options.trim else values[index] for index in at])
    return buffer.take(), len(lines)


def _read_blocks(
    blocks: Iterator[memoryview], first_row: int, layout: _Layout, options: Options
) -> Iterator[raw.RawBatch]:
    """Parse blocks beside each other and ahead of the consumer, which meanwhile works on those before."""
    pending: deque[Future[tuple[raw.RawBatch, int]]] = deque()
    with ThreadPoolExecutor(_PARSERS, "delimited") as pool:
        for block in blocks:
            pending.append(pool.submit(_parse, block, layout, options))
            if len(pending) > _PARSERS:
                batch, lines = pending.popleft().result()
                yield _numbered(batch, first_row)
                first_row += lines
        while pending:
            batch, lines = pending.popleft().result()
            yield _numbered(batch, first_row)
            first_row += lines


def _parse(block: memoryview, layout: _Layout, options: Options) -> tuple[raw.RawBatch, int]:
    """The records of a block, rows counted from 0, and how many lines it has."""
    batch = _parse_fast(block, layout, options)
    if batch is not None:
        return batch, batch.columns.num_rows + len(batch.rejected)
    return _parse_lines(block, layout, options)


def _numbered(batch: raw.RawBatch, first_row: int) -> raw.RawBatch:
    rejected = tuple(replace(reject, row=first_row + reject.row) for reject in batch.rejected)
    return replace(batch, rows=pc.add(batch.rows, first_row), rejected=rejected)


def _read_multiline(
    blocks: Iterator[memoryview], first_row: int, layout: _Layout, options: Options
) -> Iterator[raw.RawBatch]:
    """Records that may span lines, through the csv module; each has the number of its first line."""
    buffer = RecordBuffer(frozenset(layout.wanted), layout.header)
    at = [layout.header.index(name) for name in buffer.wanted]
    lines = (
        line[: MAX_LINE + 1].decode("utf-8", "replace")
        for block in blocks
        for line in block.tobytes().splitlines(keepends=True)
    )
    reader = _csv_reader(lines, options)
    while True:
        number = first_row + reader.line_num
        try:
            values = next(reader, None)
        except csv.Error as error:
            buffer.reject(number, f"can't be split: {error}", "")
            continue
        if values is None:
            break
        if not values:
            continue
        if len(values) != len(layout.header):
            buffer.reject(
                number, f"{len(values)} values instead of {len(layout.header)}", options.delimiter.join(values)
            )
        else:
            buffer.add_values(number, [values[index].strip() if options.trim else values[index] for index in at])
        if buffer.full:
            yield buffer.take()
    yield buffer.take()


_FOREIGN = re.compile(r"[{\[<]|--|/\*|(?:insert|copy|create|pragma) |\w+\(\w+[,)]", re.IGNORECASE | re.ASCII)
"""How JSON, XML, SQL and db_text begin, which hold delimiters too."""
_GUESSES = (",", ";", "|", "\t")


def identify(head: raw.Head) -> bool:
    """Nearly all lines split into as many values as the first one, and none looks like another notation."""
    lines = head.lines(20)
    if not lines or "\0" in "".join(lines) or _FOREIGN.match(lines[0]):
        return False
    if all(line.endswith("}") and "{" in line for line in lines):  # JSON behind a syslog header
        return False
    return any(_is_table(lines, Options(delimiter=delimiter)) for delimiter in _GUESSES)


def _is_table(lines: list[str], options: Options) -> bool:
    split = [options.split(line) or [] for line in lines]
    width = len(split[0])
    alike = [values for values in split if len(values) == width]
    pairs = sum("=" in value for values in alike for value in values)
    # a broken line now and then is what the reader is for; key=value lines are syslog's
    return width > 2 and len(alike) * 10 >= len(lines) * 8 and pairs * 2 < width * len(alike)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    try:
        first, before, blocks = _head(_blocks(path, options), options)
    except raw.AdapterError as error:
        raise raw.AdapterError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    if first is None:
        return
    layout = _layout(options, first, columns)
    if len(layout.header) > _MAX_COLUMNS:
        raise raw.AdapterError(f"{path}: {len(layout.header)} columns; check the delimiter")
    if options.multiline:
        yield from _read_multiline(blocks, before + 1, layout, options)
    else:
        yield from _read_blocks(blocks, before + 1, layout, options)
