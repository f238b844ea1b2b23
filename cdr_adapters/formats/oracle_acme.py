"""Local call detail records of Oracle (Acme Packet) session border controllers, releases C6 to 9.x.

One line a record, commas, no header. Columns are named by the RADIUS attributes that the guides give
(`Called-Station-Id`, `Acme-Ingress-Remote-Addr`), whatever the release's order; any can also be asked for by its
position, from "1". Which column is which follows from `options.columns` (the order as the SBC's command
`dump_csv_format` prints it, for each kind of record), `options.release`, an order that is known whole, or the row's own
shape; see `_acme_layouts`. A row whose columns can't be told apart is rejected with what to configure.

Start, stop and interim records are all records of a call; they share `Acct-Session-Id` and the call ids. `outcome` is
put together from disposition, SIP status and connect time: a failed attempt of a call that was routed on (an interim
record, where generate-interim has Unsuccessful-Attempt) is `route-advanced`. Records about the SBC itself are skipped.

Quoting is broken in these files: some columns are quoted, and quoted values hold quotes and commas as they are. A
line is split at every comma first, then with quotes respected, then with quotes closed where they can be: the first
split counts that the anchors prove. Numbers are whole header values, `"NAME"<sip:...@...>;tag=...`; of those the
user part counts, not the name. Times say their zone (`15:54:56.868 PST DEC 18 2017`).

From the accounting guides (S-C6.1.0 to S-CX6.4.0, S-D7.1.0, S-CZ7.1.2, S-Cz8.4.0, S-Cz9.0.0), tried on rows built after
them. STIR/SHAKEN attributes (S-Cz9.1.0 and later) are read where `options.columns` names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from cdr_adapters import raw
from cdr_adapters.formats._acme_layouts import (
    ADDRESS,
    KINDS,
    OTHER_RECORDS,
    TIME,
    Layout,
    ShapeError,
    configured_layout,
    settle,
)
from cdr_adapters.formats._acme_orders import Kind, Release
from cdr_adapters.formats._line_blocks import line_blocks
from cdr_adapters.records import RAW_LIMIT
from cdr_adapters.schema import Rejected, RejectReason
from cdr_adapters.stream import MAX_LINE, Encoding
from cdr_adapters.text_bytes import Mask, is_true

SUMMARY = "Oracle (Acme Packet) SBC local CDR, releases C6 to 9.x: columns found by configuration or the row's shape"
GRADE = raw.Grade.DOCUMENTATION

_USER_PART = ["(?i:sips?):([^@;>\"' ]+)", "(?i:tel):([^;>\"' ]+)", "^[\"' ]*([+]?[0-9*#().-]+)[\"' ]*$"]
_DISPLAY = "^[\"' ]*[+]?([0-9]{7,15})[\"' ]"
_TIMES = ["%H:%M:%S.%f %Z %b %d %Y", "%H:%M:%S %Z %b %d %Y"]

COLUMNS: dict[str, Any] = {
    "called_in": {"column": "Called-Station-Id", "pattern": _USER_PART},
    "called_out": {
        "column": ["Acme-Egress-Final-Routing-Number", "Acme-Primary-Routing-Number"],
        "pattern": _USER_PART,
    },
    "calling": {"column": "Calling-Station-Id", "pattern": [*_USER_PART, _DISPLAY]},
    "seizure": {"column": "h323-setup-time", "format": _TIMES},
    "answer": {"column": "h323-connect-time", "format": _TIMES},
    "release": {"column": "h323-disconnect-time", "format": _TIMES},
    "ingress_trunk": "Acme-Session-Ingress-Realm",
    "ingress_address": "Acme-Ingress-Remote-Addr",
    "egress_trunk": "Acme-Session-Egress-Realm",
    "egress_address": "Acme-Egress-Remote-Addr",
    "call_id": ["Acme-Session-Ingress-CallId", "Acct-Session-Id"],
    "disposition": {"column": "outcome"},
    "attestation": ["Stir-VS-Attest", "Acme-Stir-VS-Attest"],
    "verstat": ["Stir-VS-Verstat", "Acme-Stir-VS-Verstat"],
}

_MAX_COLUMNS = 2000
_POSITION = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_TORN = '(?:^|,)"(?:[^,]*[^",])?(?:,|$)'
"""A piece between commas that opens a quote and doesn't close it."""
_LINES = 16384
_ALONE = 4
"""A run of fewer alike rows isn't worth vector operations."""

Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=_MAX_COLUMNS)]
Positions = npt.NDArray[np.int64]


class Options(raw.Options):
    """Options of Oracle's local CDR.

    `release` names the release whose order of columns to expect. `columns` gives the order itself for each kind of
    record (`start`, `stop`, `interim`), as a list of attribute names from the left; it counts for more than all else.
    """

    release: Release | None = None
    columns: dict[Kind, Names] = Field(default_factory=dict)
    encoding: Encoding = "utf-8"

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _ = self.layouts
        return self

    @cached_property
    def layouts(self) -> Mapping[Kind, Layout]:
        """The orders in `columns`."""
        return {kind: configured_layout(kind, names) for kind, names in self.columns.items()}


# --- one row --------------------------------------------------------------------------------------------------------


def _unquoted(piece: str) -> str:
    return piece.strip("\"' ")


def _splits(line: str) -> Iterator[list[str]]:
    """The ways in which a line can be split, the likeliest first."""
    pieces = line.split(",")
    yield pieces
    if '"' not in line:
        return
    yield _joined(pieces, lambda piece: piece.endswith('"'))
    # a quote closes where the number of quotes becomes even, too
    yield _joined(pieces, lambda piece: piece.endswith('"') and piece.count('"') % 2 == 0)


def _joined(pieces: list[str], is_closed: Callable[[str], bool]) -> list[str]:
    """Pieces of one quoted value put together again: from one that opens a quote to the first that closes it."""
    fields: list[str] = []
    opened: list[str] = []
    for piece in pieces:
        opened.append(piece)
        whole = ",".join(opened) if len(opened) > 1 else piece
        if whole.startswith('"') and not (len(whole) > 1 and is_closed(whole)) and len(opened) < 32:
            continue
        fields.append(whole)
        opened = []
    return fields + opened


def _settled(line: str, options: Options) -> tuple[Layout, list[str]]:
    """A row's layout and its fields.

    Raises:
        ShapeError: no way of splitting it shows a layout.
    """
    if len(line) > MAX_LINE:
        raise ShapeError("the line is too long")
    problem: ShapeError | None = None
    for pieces in _splits(line):
        if len(pieces) > _MAX_COLUMNS:
            raise ShapeError(f"more than {_MAX_COLUMNS} columns")
        fields = [_unquoted(piece) for piece in pieces]
        try:
            return settle(fields, options.layouts, options.release), fields
        except ShapeError as error:
            problem = problem or error
    raise problem or ShapeError("an empty row")


# --- many rows ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """Some rows of a block: their positions in it and their columns."""

    at: Positions
    columns: Mapping[str, pa.StringArray]


def _some(lines: pa.StringArray, at: Positions) -> pa.StringArray:
    return lines if len(at) == len(lines) else lines.take(pa.array(at))


def _fits(values: pa.StringArray, pattern: str) -> Mask:
    return is_true(pc.match_substring_regex(values, f"^(?:{pattern})$"))


def _outcome(kind: Kind, disposition: str, status: str, connected: str, ended: str) -> str | None:
    if connected or disposition == "3":
        return "answered"
    refused = len(status) == 3 and status[0] in "3456"
    if kind == "interim":
        return "route-advanced" if ended or refused else None
    if kind == "start":
        return None
    if status in ("408", "480", "486", "487", "600", "603"):
        return "unanswered"
    if refused:
        return "failed"
    return {"1": "failed", "2": "unanswered"}.get(disposition)


_CODES = tuple(KINDS)


class _Rows:
    """Rows of one width, split at every comma up to the last column that matters."""

    def __init__(self, lines: pa.StringArray, width: int, last: int) -> None:
        self.width = width
        self.count = len(lines)
        self._pieces = min(width, last + 2)  # the last one is all the rest
        self._flat = pc.split_pattern(lines, ",", max_splits=self._pieces - 1).flatten()

    def column(self, index: int, rows: Positions) -> pa.StringArray:
        """One column, which all rows have, of some rows; without quotes and spaces around."""
        return pc.ascii_trim(self._flat.take(pa.array(rows * self._pieces + index)), characters="\"' ")

    def proved(self, layout: Layout) -> Mask:
        """Which rows are proved to have the layout."""
        good: Mask = np.full(self.count, layout.last < self.width, np.bool_)
        rows = np.arange(self.count)
        if not good.all():
            return good
        for index, pattern in layout.fits:
            good &= _fits(self.column(index, rows), pattern)
        for index, pattern in layout.misfits:
            if index < self.width:
                good &= ~_fits(self.column(index, rows), pattern)
        for one, other in layout.twins:
            good &= _fits(self.column(one, rows), "") == _fits(self.column(other, rows), "")
        return good


def _kinds(lines: pa.StringArray) -> tuple[Mask, Positions]:
    """Which rows are about the SBC itself; each row's kind as an index into `_CODES`, -1 for none."""
    heads = pc.split_pattern(pc.utf8_slice_codeunits(lines, 0, 24), ",", max_splits=1)
    offsets = heads.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    codes = pc.utf8_trim(heads.flatten().take(pa.array(offsets[:-1] - offsets[0])), characters="\"' ")
    others = is_true(pc.is_in(codes, value_set=pa.array(sorted(OTHER_RECORDS)))) & (np.diff(offsets) > 1)
    index = pc.fill_null(pc.index_in(codes, value_set=pa.array(_CODES)), -1).to_numpy(zero_copy_only=False)
    return others, index.astype(np.int64)


def _groups(keys: Positions, rows: Positions) -> list[Positions]:
    """`rows` by their keys."""
    ordered = rows[np.argsort(keys[rows], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(keys[ordered])) + 1) if len(ordered) else []


class _Block:
    """The records in some lines, at most `_LINES`."""

    def __init__(self, first: int, lines: pa.StringArray, options: Options, columns: frozenset[str] | None) -> None:
        self._first = first
        self._lines = lines
        self._options = options
        self._wanted = columns
        self._parts: list[_Part] = []
        self._rejected: list[Rejected] = []
        self._skipped = 0

    def read(self) -> raw.RawBatch:
        lines = self._lines
        length: Positions = pc.binary_length(lines).to_numpy(zero_copy_only=False)
        torn = is_true(pc.match_substring_regex(lines, _TORN)) | (length > MAX_LINE)
        plain = np.flatnonzero((length > 0) & ~torn)
        alone = np.flatnonzero((length > 0) & torn).tolist()
        if len(plain):
            alone += self._alike(plain)
        self._one_by_one(sorted(alone))
        return self._batch()

    def _alike(self, at: Positions) -> list[int]:
        """Read the rows that are split at every comma; the positions of those that have to be looked at alone."""
        lines = _some(self._lines, at)
        others, kinds = _kinds(lines)
        self._skipped += int(np.count_nonzero(others))
        widths: Positions = pc.count_substring(lines, ",").to_numpy(zero_copy_only=False).astype(np.int64) + 1
        known = (kinds >= 0) & (widths <= _MAX_COLUMNS)
        alone: list[int] = at[~known & ~others].tolist()
        for group in _groups(widths * len(KINDS) + kinds, np.flatnonzero(known)):
            layout = None if len(group) < _ALONE else self._layout_of(lines, group)
            if layout is None:
                alone += at[group].tolist()
                continue
            places = self._places(layout, int(widths[group[0]]))
            proof = (column for column, _ in (*layout.fits, *layout.misfits))
            rows = _Rows(_some(lines, group), int(widths[group[0]]), max(self._last(layout, places), *proof))
            good = rows.proved(layout)
            self._parts.append(_Part(at[group[good]], self._columns(layout, places, rows, np.flatnonzero(good))))
            alone += at[group[~good]].tolist()
        return alone

    def _layout_of(self, lines: pa.StringArray, group: Positions) -> Layout | None:
        """The layout of the first of some rows of one kind and width that has one."""
        for row in group[:_ALONE]:
            fields = [_unquoted(piece) for piece in lines[int(row)].as_py().split(",")]
            try:
                return settle(fields, self._options.layouts, self._options.release)
            except ShapeError:
                continue
        return None

    def _columns(
        self, layout: Layout, places: Mapping[str, int], rows: _Rows, chosen: Positions
    ) -> dict[str, pa.StringArray]:
        columns = {name: rows.column(index, chosen) for name, index in places.items()}
        if self._wants_outcome:
            texts = {name: rows.column(layout.at[name], chosen) for name in _TELLING if name in layout.at}
            columns["outcome"] = _outcomes(layout.kind, texts, len(chosen))
        return columns

    def _last(self, layout: Layout, places: Mapping[str, int]) -> int:
        """The last column that is asked for."""
        return max([*places.values(), *(layout.at[name] for name in _TELLING if name in layout.at)])

    @property
    def _wants_outcome(self) -> bool:
        return self._wanted is None or "outcome" in self._wanted

    def _places(self, layout: Layout, width: int) -> dict[str, int]:
        """Which columns of a row are asked for, by name."""
        if self._wanted is None:
            return dict(layout.at)
        places = {name: layout.at[name] for name in self._wanted if name in layout.at}
        by_position = (name for name in self._wanted if _POSITION.fullmatch(name) and int(name) <= width)
        return places | {name: int(name) - 1 for name in by_position}

    def _one_by_one(self, alone: list[int]) -> None:
        records: list[dict[str, str | None]] = []
        at: list[int] = []
        for position in alone:
            line = self._lines[position].as_py()
            if not line.strip():
                continue
            try:
                layout, fields = _settled(line, self._options)
            except ShapeError as error:
                detail = str(error)
                self._rejected.append(
                    Rejected(self._first + position, RejectReason.MALFORMED_ROW, detail, line[:RAW_LIMIT])
                )
                continue
            record: dict[str, str | None] = {
                name: fields[index] for name, index in self._places(layout, len(fields)).items()
            }
            if self._wants_outcome:
                record["outcome"] = _outcome_of(layout, fields)
            at.append(position)
            records.append(record)
        names = {name for record in records for name in record}
        columns = {name: pa.array([record.get(name) for record in records], pa.string()) for name in names}
        self._parts.append(_Part(np.array(at, np.int64), columns))

    def _batch(self) -> raw.RawBatch:
        at = np.concatenate([part.at for part in self._parts])
        order = pa.array(np.argsort(at, kind="stable"))
        columns: dict[str, list[str | None] | pa.Array] = {}
        for name in sorted({name for part in self._parts for name in part.columns}):
            pieces = [part.columns.get(name, pa.nulls(len(part.at), pa.string())) for part in self._parts]
            columns[name] = pa.concat_arrays(pieces).take(order)
        return raw.RawBatch(
            raw.string_batch(columns, len(at)),
            pa.array(np.sort(at) + self._first, pa.int64()),
            tuple(self._rejected),
            self._skipped,
        )


_TELLING = ("Acme-Session-Disposition", "Acme-SIP-Status", "h323-connect-time", "h323-disconnect-time")
"""What tells the outcome of a call."""


def _happened(values: pa.StringArray) -> pa.StringArray:
    """ "1" where a time is one, "" where it is empty, 0 or the beginning of 1970."""
    is_time = pc.and_(pc.greater(pc.binary_length(values), 8), pc.invert(pc.match_substring(values, " 1970")))
    return pc.if_else(is_time, "1", "")


def _outcomes(kind: Kind, texts: Mapping[str, pa.StringArray], rows: int) -> pa.StringArray:
    """How each call ended, once per distinct combination of what tells it."""
    empty = pa.array([""] * rows, pa.string())
    disposition, status, connect, disconnect = (texts.get(name, empty) for name in _TELLING)
    told = pc.binary_join_element_wise(disposition, status, _happened(connect), _happened(disconnect), "|")
    encoded = told.dictionary_encode()
    outcomes = []
    for key in encoded.dictionary.to_pylist():
        parts = key.split("|")
        outcomes.append(_outcome(kind, *parts) if len(parts) == len(_TELLING) else None)
    return pa.array(outcomes, pa.string()).take(encoded.indices)


def _outcome_of(layout: Layout, fields: list[str]) -> str | None:
    texts = {name: pa.array([fields[layout.at[name]]], pa.string()) for name in _TELLING if name in layout.at}
    outcome: str | None = _outcomes(layout.kind, texts, 1)[0].as_py()
    return outcome


# --- the file -------------------------------------------------------------------------------------------------------

_SIGN = re.compile(rf"\"?(?:[123]|Start|Stop|Interim-Update)\"?,\"?(?:{ADDRESS})\"?,.*,\"?{TIME}\"?,", re.ASCII)


def identify(head: raw.Head) -> bool:
    """A line that begins with the kind of record and the SBC's address, and has its times further on."""
    lines = head.lines(20)
    signs = sum(1 for line in lines if line.count(",") >= 20 and _SIGN.match(line))
    return signs > 0 and signs * 2 >= len(lines)


def read(path: Path, options: Options, columns: frozenset[str] | None) -> Iterator[raw.RawBatch]:
    """See `raw.ReaderModule.read`."""
    for first, lines in line_blocks(path, options.encoding):
        for start in range(0, len(lines), _LINES):
            yield _Block(first + start, lines.slice(start, _LINES), options, columns).read()
