"""What people hand in: one call from the command line, or a file of calls; each becomes a `Call` or is refused.

Nothing is guessed. A number must be E.164, a time must carry its zone (or Z), lie in the past and not before 2000, a
window must lie within the protocol's cap, the terminating provider must be in the registry. With a call may come its
Identity header (`coordinator.stir.passport`). All that is wrong with a row is said at once. No message repeats a
telephone number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from coordinator.stir.passport import Identity, PassportError, parse_identity
from coordinator.tracing.chain import DEFAULT_HOP_LIMIT, DEFAULT_WINDOW, Call
from coordinator.tracing.ports import Registry
from protos.e164 import parse_e164
from protos.identity import InvalidIdentityError, ProviderId, parse_provider_id
from protos.types import WINDOW_CAP

T = TypeVar("T")

COLUMNS = ("called", "at", "calling", "terminating", "window", "identity")
_REQUIRED = ("called", "at", "terminating")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)", re.ASCII)
_DIGITS = re.compile(r"[0-9]{5}", re.ASCII)
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


class IntakeError(ValueError):
    """What was handed in can't be traced; `problems` says everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class CallsFileError(Exception):
    """The file as a whole is no file of calls."""


@dataclass(frozen=True, slots=True)
class RejectedCall:
    """A row that can't be traced: its line in the file, from 1, and everything that is wrong with it."""

    line: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Intake:
    """What is needed to judge a call: who is who, and what time it is."""

    registry: Registry
    now: datetime
    window: timedelta = DEFAULT_WINDOW
    hop_limit: int = DEFAULT_HOP_LIMIT

    def call(self, fields: Mapping[str, str]) -> Call:
        """The call that `fields` (see COLUMNS) describe; empty optional fields are as if absent.

        Raises:
            IntakeError: naming all that is wrong.
        """
        problems: list[str] = []
        called = _field("called", fields, problems, parse_e164)
        at = _field("at", fields, problems, self._time)
        terminating = _field("terminating", fields, problems, self._terminating)
        calling = _field("calling", fields, problems, parse_e164) if fields.get("calling") else None
        window = _field("window", fields, problems, parse_window) if fields.get("window") else self.window
        if problems or called is None or at is None or terminating is None or window is None:
            raise IntakeError(problems)
        return Call(called, at, terminating, calling, window, self.hop_limit)

    def reported(self, fields: Mapping[str, str]) -> tuple[Call, Identity | None]:
        """The call, and the Identity header that came with it, None where none did.

        Raises:
            IntakeError: naming all that is wrong with either.
        """
        problems: list[str] = []
        call, identity = None, None
        try:
            call = self.call(fields)
        except IntakeError as error:
            problems += error.problems
        try:
            identity = parse_identity(fields["identity"]) if fields.get("identity") else None
        except PassportError as error:
            problems.append(f"identity: {error}; leave it out to have the call traced without it")
        if problems or call is None:
            raise IntakeError(problems)
        return call, identity

    def _time(self, text: str) -> datetime:
        return parse_time(text, self.now)

    def _terminating(self, text: str) -> ProviderId:
        try:
            provider = parse_provider_id(text)
        except InvalidIdentityError:  # its message repeats the text, which may be a number in the wrong column
            raise ValueError(
                "no provider id: lower case letters, digits and inner hyphens, such as birch-tel"
            ) from None
        if self.registry.provider(provider) is None:
            shown = "this provider" if _DIGITS.search(provider) else repr(provider)
            raise ValueError(
                f"{shown} is not in the registry: see `hopback-coordinator registry list`, "
                "or add it with `hopback-coordinator registry import FILE`"
            )
        return provider


def parse_time(text: str, now: datetime) -> datetime:
    """An aware UTC time in whole milliseconds, from ISO 8601 with a zone.

    Raises:
        ValueError: no such time, no zone, in the future, or before 2000.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("not a time: write it as 2026-11-20T18:03:11Z") from None
    if time.tzinfo is None:
        raise ValueError("the time says no zone: end it with Z for UTC, or with an offset such as -05:00")
    try:
        utc = time.astimezone(UTC)
    except OverflowError:
        raise ValueError("not a time: write it as 2026-11-20T18:03:11Z") from None
    if utc > now:
        raise ValueError(f"the time lies in the future; it is {now:%Y-%m-%dT%H:%M:%SZ} now")
    if utc < _EARLIEST:
        raise ValueError("the time lies before 2000; nobody keeps records that long")
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def parse_duration(text: str) -> timedelta:
    """A duration such as `60s`, `0.5s`, `500ms`, `5m`, `24h`, `2d`.

    Raises:
        ValueError: no such duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("no duration: write it as 60s, 500ms, 5m, 24h or 2d")
    return float(match[1]) * _UNITS[match[2]]


def parse_window(text: str) -> timedelta:
    """A window within the protocol's cap.

    Raises:
        ValueError: no duration, zero, or wider than the cap.
    """
    window = parse_duration(text)
    if window > WINDOW_CAP:
        raise ValueError(f"the window is wider than the {WINDOW_CAP.seconds} s that the protocol allows")
    if window < timedelta(milliseconds=1):
        raise ValueError("the window is empty")
    return window


def read_calls(text: str, intake: Intake) -> Iterator[tuple[int, Call] | RejectedCall]:
    """The calls of a CSV file with a header (columns: see COLUMNS; calling, window, identity optional), line by line.

    Raises:
        CallsFileError: the header lacks a column or has one that is not known, or the file is no CSV.
    """
    for row in read_rows(text):
        if isinstance(row, RejectedCall):
            yield row
            continue
        line, fields = row
        try:
            yield line, intake.call(fields)
        except IntakeError as error:
            yield RejectedCall(line, error.problems)


def read_rows(text: str, more: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]] | RejectedCall]:
    """The rows of a file of calls, by column, with their lines; `more` columns may be there beside COLUMNS.

    Raises:
        CallsFileError: the header lacks a column or has one that is not known, or the file is no CSV.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise CallsFileError(f"line 1 is no CSV: {error}") from None
    missing = [name for name in _REQUIRED if name not in header]
    unknown = [name for name in header if name not in COLUMNS and name not in more]
    if missing or unknown or len(set(header)) != len(header):
        what = f"it lacks {', '.join(missing)}" if missing else f"{', '.join(unknown) or 'a column twice'} is not known"
        optional = "".join(f"[,{name}]" for name in ("calling", "window", "identity", *more))
        raise CallsFileError(f"the first line must name the columns called,at,terminating{optional}: {what}")
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                yield RejectedCall(reader.line_num, (f"{len(cells)} fields where the header names {len(header)}",))
            else:
                yield reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise CallsFileError(f"line {reader.line_num} is no CSV: {error}") from None


def _field(name: str, fields: Mapping[str, str], problems: list[str], parse: Callable[[str], T]) -> T | None:
    text = fields.get(name, "")
    if not text:
        problems.append(f"{name}: missing")
        return None
    try:
        return parse(text)
    except ValueError as error:
        problems.append(f"{name}: {error}")
        return None
