"""Calls in bulk: CSV, JSON lines or Parquet, every row a call or rejected with its reason; one call is taken once.

Columns: called, at, terminating, and if you like calling, window, identity; see `ordering.intake`. In Parquet, `at`
may be a timestamp with a zone. A column that is not known is refused: a misspelt one would silently lose what it says.

Two rows report one call where the called number and the terminating provider are the same, the times lie no further
apart than the smaller of their windows, and the caller IDs don't contradict (a report without one fits any). The
earliest stands for all of them: of three at 0 s, 50 s and 100 s with a window of 60 s the third is another call. Rows
are compared in order of time, so that the same rows give the same calls in whatever order they come. A caller ID or
an Identity header that only a later report has is kept.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from coordinator.ordering.intake import COLUMNS, CallsFileError, Intake, IntakeError, RejectedCall, read_rows
from coordinator.stir.passport import Identity
from coordinator.tracing.chain import Call
from protos.types import WINDOW_CAP

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_REQUIRED = ("called", "at", "terminating")
_LONGEST = 65_536
"""Characters of a value in Parquet, in which a file of a few bytes can repeat one as often as it likes."""
Row = tuple[int, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Report:
    """A call as a row of a file reports it; `line` is the line, of Parquet the row, from 1."""

    line: int
    call: Call
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Distinct:
    """A call, the lines that report it, the one that stands for it first, and an Identity header if one came."""

    call: Call
    lines: tuple[int, ...]
    identity: Identity | None = None


def read_reports(file: Path, intake: Intake, form: str | None = None) -> Iterator[Report | RejectedCall]:
    """The calls of a file; its form is told by its ending unless it is given.

    Raises:
        CallsFileError: the file as a whole is no file of calls.
    """
    form = form or FORMATS.get(file.suffix.lower())
    readers = {"csv": _csv, "jsonl": _json_lines, "parquet": _parquet}
    if form not in readers:
        raise CallsFileError(f"its ending tells no form: name one of {', '.join(readers)}")
    for row in readers[form](file):
        if isinstance(row, RejectedCall):
            yield row
            continue
        line, fields = row
        try:
            yield Report(line, *intake.reported(fields))
        except IntakeError as error:
            yield RejectedCall(line, error.problems)


def _csv(file: Path) -> Iterator[Row | RejectedCall]:
    return read_rows(_text(file))


def _json_lines(file: Path) -> Iterator[Row | RejectedCall]:
    for line, text in enumerate(_text(file).removeprefix("\ufeff").split("\n"), start=1):
        if not text.strip():
            continue
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            yield RejectedCall(line, ("no JSON",))
            continue
        if not isinstance(entry, dict):
            yield RejectedCall(line, ("no object",))
            continue
        problems = [f"{_shown(name)}: no such field" for name in entry if name not in COLUMNS]
        problems += [f"{name}: must be text" for name in COLUMNS if not isinstance(entry.get(name), str | type(None))]
        if problems:
            yield RejectedCall(line, tuple(problems))
        else:
            yield line, {name: (entry.get(name) or "").strip() for name in COLUMNS}


def _parquet(file: Path) -> Iterator[Row | RejectedCall]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
        names = schema.names
        texts = [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]
        source = pq.ParquetFile(file, read_dictionary=texts)  # a value that is repeated is in memory once
    except (pa.ArrowException, OSError) as error:
        raise CallsFileError(f"it is no Parquet: {str(error)[:200]}") from None
    unknown = [name for name in names if name not in COLUMNS]
    missing = [name for name in _REQUIRED if name not in names]
    if unknown or missing or len(set(names)) != len(names):
        what = (
            f"lacks {', '.join(missing)}" if missing else f"has {', '.join(map(_shown, unknown)) or 'a column twice'}"
        )
        raise CallsFileError(f"the columns are called,at,terminating[,calling][,window][,identity]: it {what}")
    line = 0
    try:
        for batch in source.iter_batches(batch_size=4096):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if pa.types.is_dictionary(column.type) and any(map(_too_long, column.dictionary)):
                    raise CallsFileError(f"{name}: a value is longer than {_LONGEST:,} characters")
            for values in batch.to_pylist():
                line += 1
                yield _parquet_row(line, values)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CallsFileError(f"row {line + 1} and what follows can't be read: {str(error)[:200]}") from None


def _too_long(value: Any) -> bool:
    text = value.as_py()
    return isinstance(text, str) and len(text) > _LONGEST


def _parquet_row(line: int, values: Mapping[str, Any]) -> Row | RejectedCall:
    fields: dict[str, str] = {}
    problems = []
    for name, value in values.items():
        if isinstance(value, datetime):
            fields[name] = value.isoformat()
        elif value is None or isinstance(value, str):
            fields[name] = (value or "").strip()
        else:
            problems.append(f"{name}: must be text")
    return RejectedCall(line, tuple(problems)) if problems else (line, fields)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CallsFileError(f"it can't be read as UTF-8 text: {error}") from None


def _shown(name: str) -> str:
    return repr(name[:40])


def same_call(one: Call, other: Call) -> bool:
    """Whether two reports are of one call."""
    return (
        one.called == other.called
        and one.terminating == other.terminating
        and abs(one.at - other.at) <= min(one.window, other.window)
        and (one.calling is None or other.calling is None or one.calling == other.calling)
    )


def distinct(reports: Iterable[Report], known: Iterable[Call] = ()) -> tuple[list[Distinct], list[Distinct]]:
    """The calls that the reports make, in order of time, and those of `known` that are reported again."""
    stands: dict[tuple[str, str], list[_Stand]] = defaultdict(list)
    made = [_stand(stands, call, old=True) for call in known]
    for report in sorted(reports, key=lambda one: (one.call.at, one.call.calling or "~", one.line)):
        near = stands[report.call.called, report.call.terminating]
        first = bisect_left(near, report.call.at - WINDOW_CAP, key=_time)
        last = bisect_right(near, report.call.at + WINDOW_CAP, key=_time)
        stand = next((one for one in near[first:last] if same_call(one.call, report.call)), None)
        if stand is None:
            stand = _stand(stands, report.call, old=False)
            made.append(stand)
        if stand.call.calling is None:
            stand.call = replace(stand.call, calling=report.call.calling)
        stand.identity = stand.identity or report.identity
        stand.lines.append(report.line)
    new = [one.distinct for one in made if not one.old]
    return new, [one.distinct for one in made if one.old and one.lines]


@dataclass(slots=True)
class _Stand:
    """A call that stands for its reports."""

    call: Call
    old: bool
    lines: list[int] = field(default_factory=list)
    identity: Identity | None = None

    @property
    def distinct(self) -> Distinct:
        return Distinct(self.call, tuple(self.lines), self.identity)


def _stand(stands: dict[tuple[str, str], list[_Stand]], call: Call, *, old: bool) -> _Stand:
    stand = _Stand(call, old)
    insort(stands[call.called, call.terminating], stand, key=_time)
    return stand


def _time(stand: _Stand) -> datetime:
    return stand.call.at
