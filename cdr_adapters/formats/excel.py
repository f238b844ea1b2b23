"""Sheets of Excel and OpenDocument workbooks: .xlsx, .xlsm, .xlsb, .xls, .ods.

The option `sheet` names the sheet, or gives its number from 1; by default the only one with anything in it. The first
row that holds anything names the columns, or `header_row` does; `header = false` leaves them their letters (A, B, C).
Values are what the cells last showed when the workbook was saved: no formula is worked out. Numbers lose neither digits
nor gain an exponent, dates and times are ISO 8601 without a zone. A record's row is the sheet's; empty rows are none.

A workbook is read into memory. One that unpacks to far more than workbooks do, or whose cells lie too far apart for
that, is refused beforehand.
"""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, cast

from pydantic import Field

from cdr_adapters import raw
from cdr_adapters.archives import real_file
from cdr_adapters.compression import LIMITS, READ_ERRORS, Meter, counted, reported
from cdr_adapters.formats._cells import text_of
from cdr_adapters.records import RecordBuffer
from cdr_adapters.stream import read_head

if TYPE_CHECKING:
    import python_calamine as calamine

SUMMARY = "Excel and OpenDocument sheets"
GRADE = raw.Grade.GENERIC

_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP: Final = b"PK\x03\x04"
_WORKBOOK_OLE: Final = "Workbook".encode("utf-16-le")
_MOST_CELLS: Final = 60_000_000
_BLOCK: Final = 1 << 20
_REFERENCE: Final = re.compile(rb'r="([A-Z]{1,3})([0-9]{1,7})"')
_REFERENCE_SIZE: Final = 16


class Options(raw.Options):
    """Options of workbooks; see the module. `names` names the columns, whatever the header says."""

    sheet: Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=1)] | None = None
    header: bool = True
    header_row: Annotated[int, Field(ge=1)] | None = None
    names: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = None


def identify(head: raw.Head) -> bool:
    """A zip that holds a workbook, or an OLE file that does."""
    data = head.data
    if data.startswith(_ZIP):
        return (b"xl/" in data and b"[Content_Types].xml" in data) or (
            b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet" in data[:200]
        )
    return data.startswith(_OLE) and _WORKBOOK_OLE in data


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    import python_calamine as calamine

    if not read_head(path).data.startswith((_ZIP, _OLE)):
        raise raw.AdapterError(f"{path} is no workbook of Excel or OpenDocument")
    with real_file(path) as file:
        _check_size(path, file)
        try:
            with calamine.CalamineWorkbook.from_path(file) as workbook:
                sheet = _sheet(path, workbook, options)
                rows = sheet.iter_rows()
                yield from _batches(rows, (sheet.start or (0, 0))[1], options, columns)
        except calamine.PasswordError:
            raise raw.AdapterError(f"{path} is protected by a password; save it without one") from None
        except (calamine.CalamineError, *READ_ERRORS) as error:
            raise raw.AdapterError(f"{path} can't be read as a workbook: {error}") from None


def _check_size(path: Path, file: Path) -> None:
    """Refuse a bomb, and cells so far apart that the table between them fills the memory."""
    with reported(path), file.open("rb") as packed:
        if packed.read(len(_ZIP)) != _ZIP:
            return
        meter = Meter(path, file.stat().st_size, LIMITS)
        with zipfile.ZipFile(packed) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as part:
                    rows, width = _extent(counted(cast("BinaryIO", part), meter))
                if rows * width > _MOST_CELLS:
                    raise raw.AdapterError(f"{path}: {entry.filename} spans {rows:,} rows by {width:,} columns")


def _extent(part: io.BufferedReader) -> tuple[int, int]:
    """The last row and column that a part of a workbook refers to, as it does in a sheet."""
    rows, widest, rest = 0, (0, b""), b""
    while block := part.read(_BLOCK):
        for letters, digits in _REFERENCE.findall(rest + block):
            rows = max(rows, int(digits))
            widest = max(widest, (len(letters), letters))
        rest = block[-_REFERENCE_SIZE:]
    return rows, _column_number(widest[1])


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _column_letters(number: int) -> str:
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _sheet(path: Path, workbook: calamine.CalamineWorkbook, options: Options) -> calamine.CalamineSheet:
    names = workbook.sheet_names
    listed = ", ".join(names) or "none"
    if isinstance(options.sheet, int):
        if options.sheet > len(names):
            raise raw.AdapterError(f"{path} has no sheet {options.sheet}; it has {len(names)}: {listed}")
        return workbook.get_sheet_by_index(options.sheet - 1)
    if options.sheet is not None:
        if options.sheet not in names:
            raise raw.AdapterError(f"{path} has no sheet {options.sheet!r}; it has: {listed}")
        return workbook.get_sheet_by_name(options.sheet)
    sheets = [workbook.get_sheet_by_name(name) for name in names]
    filled = [sheet for sheet in sheets if sheet.height] or sheets[:1]
    if len(filled) != 1:
        raise raw.AdapterError(f"{path}: say which sheet, options = {{ sheet = ... }}; there are: {listed}")
    return filled[0]


Row = list[Any]


def _batches(
    rows: Iterator[Row], first_column: int, options: Options, columns: frozenset[str] | None
) -> Iterator[raw.RawBatch]:
    start = options.header_row or 1
    numbered: Iterator[tuple[int, Row]] = (
        (number, row) for number, row in enumerate(rows, 1) if number >= start and any(cell != "" for cell in row)
    )
    first = next(numbered, None)
    if first is None:
        return
    if not options.header:
        numbered = itertools.chain((first,), numbered)
    buffer = RecordBuffer(columns, _header(first[1], first_column, options))
    at = [(buffer.header or ()).index(name) for name in buffer.wanted]
    for number, row in numbered:
        buffer.add_values(number, [text_of(row[index]) if index < len(row) else None for index in at])
        if buffer.full:
            yield buffer.take()
    yield buffer.take()


def _header(row: Row, first_column: int, options: Options) -> tuple[str, ...]:
    """The columns' names: given ones, else the header's, else letters; one that occurs twice gets its letter."""
    header: dict[str, None] = {}
    for index, cell in enumerate(row):
        letters = _column_letters(first_column + index + 1)
        name = (text_of(cell) or "").strip() if options.header else ""
        if options.names is not None and index < len(options.names):
            name = options.names[index]
        name = name or letters
        header[name if name not in header else f"{name}.{letters}"] = None
    return tuple(header)
