"""What one source of call records is: the [[sources]] table of an agent's configuration, checked.

Configuration, not code, says which column is what, in which zone, with which clock offset and which number format.
Refused here, before any file is opened: unknown keys, a number or time format that doesn't exist, naive times without
a zone, a pattern without a group, a source without any time or any called number.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator


class MappingError(ValueError):
    """A mapping file is wrong; the message names the file and the key."""


_DURATION = re.compile(r"(?P<sign>[-+]?)(?P<value>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)", re.ASCII)
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: object) -> timedelta:
    """`47s`, `0.5s`, `-9s`, `5m`, `548d`, `250ms` as a timedelta.

    Raises:
        ValueError: anything else, a bare number too: its unit would be a guess.
    """
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is no duration: write a number and a unit, such as '47s', '250ms', '5m' or '548d'")
    try:
        value = timedelta(seconds=float(match["value"]) * _UNIT[match["unit"]])
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None
    return -value if match["sign"] == "-" else value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("must not be negative")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[timedelta, BeforeValidator(parse_duration), AfterValidator(_not_negative)]

_PLAIN_FORMATS = ("auto", "10d", "11d", "e164", "00e164", "011e164")
_PREFIX = re.compile(r"[0-9*#]{1,32}", re.ASCII)


def check_called_format(text: str) -> str:
    """`text`, if it is a way in which called numbers are written.

    Raises:
        ValueError: it is none of auto, 10d, 11d, e164, 00e164, 011e164, tech:PREFIX:FORMAT.
    """
    parts = text.split(":", 2)
    if text in _PLAIN_FORMATS:
        return text
    if len(parts) == 3 and parts[0] == "tech" and _PREFIX.fullmatch(parts[1]) and parts[2] in _PLAIN_FORMATS:
        return text
    raise ValueError(
        f"{text!r} is no called format: write one of {', '.join(_PLAIN_FORMATS)}, or tech:PREFIX:FORMAT "
        "with a prefix of digits, * or #"
    )


def _check_column_format(text: str) -> str:
    return text if text == "trunk" else check_called_format(text)


CalledFormat = Annotated[str, AfterValidator(check_called_format)]
"""How called numbers are written on a trunk."""


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: write an IANA name such as 'America/New_York' or 'UTC'") from None
    return name


Zone = Annotated[str, AfterValidator(_check_zone)]

EPOCH_FORMATS = ("epoch_s", "epoch_ms", "epoch_us", "julian")
"""Time formats that are UTC by definition."""

_OFFSET = re.compile(r"[-+](?:0\d|1[0-4]):[0-5]\d", re.ASCII)


def _check_abbreviation_target(text: str) -> str:
    if _OFFSET.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no offset from UTC: write it as '-07:00'")
    return text


def _check_time_format(text: str) -> str:
    if text in (*EPOCH_FORMATS, "iso8601"):
        return text
    directives = re.findall(r"%(.)", text)
    unknown = sorted(set(directives) - set("YymdbBaAHIpMSfjzZ%e"))
    if not directives:
        raise ValueError(
            f"{text!r} is no time format: write epoch_s, epoch_ms, epoch_us, julian, iso8601 or a strptime pattern "
            "such as '%Y-%m-%d %H:%M:%S'"
        )
    if unknown:
        raise ValueError(f"time format {text!r}: unknown directive %{unknown[0]}")
    has_date = {"Y", "y"} & set(directives) and ({"d", "e"} & set(directives) or "j" in directives)
    if not has_date or not {"H", "I"} & set(directives):
        raise ValueError(f"time format {text!r} must have a year, a day and an hour")
    if "I" in directives and "p" not in directives:
        raise ValueError(f"time format {text!r} has %I without %p: morning or afternoon would be a guess")
    return text


def _columns(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"pattern {text!r}: {error}") from None
    if groups < 1:
        raise ValueError(f"pattern {text!r} has no group: put parentheses around the part that is the value")
    return text


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnSpec(_Model):
    """Where a value stands: `column`, or several of which the first that isn't empty wins; `pattern` cuts it out."""

    column: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_columns), Field(min_length=1)]
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return {"column": value} if isinstance(value, (str, list)) else value

    @property
    def used(self) -> tuple[str, ...]:
        """Every source column that this value needs."""
        return self.column


class CalledColumn(ColumnSpec):
    """A called number; `trunk` takes the format of the row's ingress (egress) trunk for called_in (called_out)."""

    format: Annotated[str, AfterValidator(_check_column_format)] = "auto"


class CallingColumn(ColumnSpec):
    """A calling number: a hint, so that a bad one becomes null and rejects nothing."""

    format: CalledFormat = "auto"


class TimeColumn(ColumnSpec):
    """A time.

    `fraction_column` holds the part below a second; `shift` is added to every value; `resolution` is how much the
    clock cuts off (the time lies in [t, t + resolution]), by default what the format or the value shows.
    `abbreviations` gives the offset of each zone abbreviation that %Z may meet.
    """

    format: Annotated[str, AfterValidator(_check_time_format)]
    fraction_column: Annotated[str, Field(min_length=1)] | None = None
    fraction_unit: Literal["ms", "us"] | None = None
    shift: Duration = timedelta(0)
    resolution: PositiveDuration | None = None
    abbreviations: dict[str, Annotated[str, AfterValidator(_check_abbreviation_target)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.fraction_column is None) != (self.fraction_unit is None):
            raise ValueError("fraction_column and fraction_unit go together")
        if self.abbreviations and "%Z" not in self.format:
            raise ValueError("abbreviations are for formats with %Z only")
        return self

    @property
    def used(self) -> tuple[str, ...]:
        """Every source column that this time needs."""
        return self.column if self.fraction_column is None else (*self.column, self.fraction_column)

    @property
    def may_be_naive(self) -> bool:
        """Whether values of this format may come without a zone of their own."""
        return self.format not in EPOCH_FORMATS and "%z" not in self.format and not self.abbreviations

    @property
    def is_naive(self) -> bool:
        """Whether values of this format never say their zone."""
        return self.may_be_naive and self.format != "iso8601"


Disposition = Literal["answered", "unanswered", "failed"]


class DispositionColumn(ColumnSpec):
    """How the call ended; `values` translates the source's words, `*` stands for all others."""

    values: dict[str, Disposition] = Field(default_factory=dict)


class Columns(_Model):
    """Which source column is what. At least one called number and at least one time."""

    called_in: CalledColumn | None = None
    called_out: CalledColumn | None = None
    calling: CallingColumn | None = None
    seizure: TimeColumn | None = None
    answer: TimeColumn | None = None
    release: TimeColumn | None = None
    ingress_trunk: ColumnSpec | None = None
    ingress_address: ColumnSpec | None = None
    egress_trunk: ColumnSpec | None = None
    egress_address: ColumnSpec | None = None
    call_id: ColumnSpec | None = None
    disposition: DispositionColumn | None = None

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.called_in is None and self.called_out is None:
            raise ValueError("map called_in or called_out: without a called number no record can be found")
        if not self.times:
            raise ValueError("map at least one of seizure, answer and release")
        return self

    @property
    def times(self) -> tuple[TimeColumn, ...]:
        """The times that are mapped."""
        return tuple(time for time in (self.seizure, self.answer, self.release) if time is not None)

    @property
    def specs(self) -> dict[str, ColumnSpec]:
        """What is mapped, by canonical name."""
        return {name: spec for name in type(self).model_fields if (spec := getattr(self, name)) is not None}


class SourceMapping(_Model):
    """One [[sources]] table. `path` is a file or glob, relative to the configuration file's directory."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    path: Annotated[str, Field(min_length=1)]
    format: Annotated[str, Field(min_length=1)]
    options: dict[str, Any] = Field(default_factory=dict)
    where: dict[str, str | list[str]] = Field(default_factory=dict)
    zone: Zone | None = None
    clock_offset: Duration = timedelta(0)
    max_setup: PositiveDuration = timedelta(seconds=180)
    columns: Columns | None = None

    @model_validator(mode="after")
    def _zone_where_needed(self) -> Self:
        for time in self.columns.times if self.columns else ():
            if time.is_naive and self.zone is None:
                raise ValueError(
                    f"times of format {time.format!r} don't say their zone: set zone, such as 'America/New_York'"
                )
        return self


@dataclass(frozen=True, slots=True)
class TrunkFormats:
    """How called numbers are written on each trunk: trunk group name, address or network -> called format."""

    ingress: Mapping[str, str] = field(default_factory=dict)
    egress: Mapping[str, str] = field(default_factory=dict)


def describe(error: ValidationError) -> str:
    """pydantic's findings as one line a finding: which key, what is wrong."""
    findings = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        findings.append(f"{key}: {message}" if key else message)
    return "; ".join(findings)


class _TrunkFormatTables(_Model):
    ingress: dict[str, CalledFormat] = Field(default_factory=dict)
    egress: dict[str, CalledFormat] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping on its own, for work with single files: the source, and the formats of its trunks."""

    source: SourceMapping
    formats: TrunkFormats


def load_mapping(path: Path) -> MappingFile:
    """Read a TOML file with the keys of one [[sources]] table at top level; `name` and `path` may be left out.

    [trunk_formats.ingress] and [trunk_formats.egress] may give the called format of each trunk.

    Raises:
        MappingError: the file can't be read, is no TOML, or breaks a rule.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MappingError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{path} is no TOML: {error}") from None
    trunk_formats = table.pop("trunk_formats", {})
    table.setdefault("name", re.sub(r"[^A-Za-z0-9._-]", "_", path.stem).lstrip("._-")[:64] or "source")
    table.setdefault("path", "*")
    try:
        tables = _TrunkFormatTables.model_validate(trunk_formats)
        source = SourceMapping.model_validate(table)
    except ValidationError as error:
        raise MappingError(f"{path}: {describe(error)}") from None
    return MappingFile(source, TrunkFormats(tables.ingress, tables.egress))
