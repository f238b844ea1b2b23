"""What a mapping may say of one canonical column: the tables within [sources.columns], checked.

Refused here, before any file is opened: unknown keys, a number or time format that doesn't exist, a pattern without a
group, a zone column without its unit, a table without any time or any called number.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cdr_adapters.durations import Duration, PositiveDuration

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

EPOCH_FORMATS = ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "gregorian_s", "julian")
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
            f"{text!r} is no time format: write {', '.join(EPOCH_FORMATS)}, iso8601 or a strptime pattern "
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


def _tuple(value: object) -> object:
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


_Name = Annotated[str, Field(min_length=1)]


class ColumnSpec(_Model):
    """Where a value stands: `column`, or several of which the first that isn't empty wins, or all with `join` between.

    `pattern` cuts the value out by its first group; of several patterns the first that matches.
    """

    column: Annotated[tuple[_Name, ...], BeforeValidator(_tuple), Field(min_length=1)]
    join: str | None = None
    pattern: Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], BeforeValidator(_tuple)] = ()

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return {"column": value} if isinstance(value, (str, list, tuple)) else value

    @property
    def used(self) -> tuple[str, ...]:
        """Every source column that this value needs."""
        return self.column


class TextColumn(ColumnSpec):
    """A text taken as it is, or translated.

    `values` translates it: `"*"` stands for all that isn't named, `""` on the left for no value, `""` on the right
    makes it null; without `"*"`, what isn't named stays.
    """

    values: dict[str, str] = Field(default_factory=dict)


class AttestationColumn(ColumnSpec):
    """Attestation of the call's PASSporT: A, B or C (ATIS-1000074); `values` as in `TextColumn`, others are null."""

    values: dict[str, Literal["A", "B", "C", ""]] = Field(default_factory=dict)


Disposition = Literal["answered", "unanswered", "failed", "route-advanced"]


class DispositionColumn(ColumnSpec):
    """How the call ended; `values` translates the source's words as in `TextColumn`, others are null."""

    values: dict[str, Disposition | Literal[""]] = Field(default_factory=dict)


class AddressColumn(TextColumn):
    """A peer's IP address. `format` says how it is written; `bad` whether what is none rejects the row or is null.

    `auto` is text: IPv4 or IPv6, with or without port, brackets, transport, SIP URI around. `signed_int_le` and
    `int_le` are 32-bit integers whose lowest byte is the address's first one (Cisco), `..._be` those whose highest one
    is; `hex` is eight or 32 hexadecimal digits.
    """

    format: Literal["auto", "signed_int_le", "signed_int_be", "int_le", "int_be", "hex"] = "auto"
    bad: Literal["reject", "null"] = "reject"


class CalledColumn(ColumnSpec):
    """A called number; `trunk` takes the format of the row's ingress (egress) trunk for called_in (called_out)."""

    format: Annotated[str, AfterValidator(_check_column_format)] = "auto"


class CallingColumn(ColumnSpec):
    """A calling number: a hint, so that a bad one becomes null and rejects nothing."""

    format: CalledFormat = "auto"


ZoneUnit = Literal["minutes_west", "minutes_east", "seconds_east", "offset", "iana", "text"]


class TimeColumn(ColumnSpec):
    """A time.

    `format` may be several: each value is read by the first that fits it. `fraction_column` holds the part below a
    second; `shift` is added to every value; `resolution` is how much the clock cuts off (the time lies in
    [t, t + resolution]), by default what the format or the value shows. `abbreviations` gives the offset of each zone
    abbreviation that %Z may meet. `zone_column` holds each row's own zone, written as `zone_unit` says; it goes before
    the source's zone.
    """

    format: Annotated[
        tuple[Annotated[str, AfterValidator(_check_time_format)], ...], BeforeValidator(_tuple), Field(min_length=1)
    ]
    fraction_column: _Name | None = None
    fraction_unit: Literal["ms", "us"] | None = None
    shift: Duration = timedelta(0)
    resolution: PositiveDuration | None = None
    abbreviations: dict[str, Annotated[str, AfterValidator(_check_abbreviation_target)]] = Field(default_factory=dict)
    zone_column: _Name | None = None
    zone_unit: ZoneUnit | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.fraction_column is None) != (self.fraction_unit is None):
            raise ValueError("fraction_column and fraction_unit go together")
        if (self.zone_column is None) != (self.zone_unit is None):
            raise ValueError("zone_column and zone_unit go together")
        if self.abbreviations and not any("%Z" in one for one in self.format):
            raise ValueError("abbreviations are for formats with %Z only")
        return self

    @property
    def used(self) -> tuple[str, ...]:
        """Every source column that this time needs."""
        return (*self.column, *(name for name in (self.fraction_column, self.zone_column) if name is not None))

    @property
    def is_naive(self) -> bool:
        """Whether some values of these formats never say their zone."""
        if self.zone_column is not None:
            return False
        return any(
            one not in (*EPOCH_FORMATS, "iso8601") and "%z" not in one and "%Z" not in one for one in self.format
        )

    @property
    def said_format(self) -> str:
        """The formats, for messages."""
        return " or ".join(repr(one) for one in self.format)


class DurationColumn(ColumnSpec):
    """How long the call took: `unit` of the number (hms: `1:02:03`), and whether it `counts` from seizure or answer.

    `rounded` says what the switch did with what is less than a unit: cut it off (`down`), counted it as a whole one
    (`up`), or took the nearest.
    """

    unit: Literal["s", "ms", "us", "10ms", "hms"]
    counts: Literal["from_seizure", "from_answer"]
    rounded: Literal["down", "up", "nearest"] = "down"


class Columns(_Model):
    """Which source column is what. At least one called number and at least one time."""

    called_in: CalledColumn | None = None
    called_out: CalledColumn | None = None
    calling: CallingColumn | None = None
    seizure: TimeColumn | None = None
    answer: TimeColumn | None = None
    release: TimeColumn | None = None
    duration: DurationColumn | None = None
    ingress_trunk: TextColumn | None = None
    ingress_address: AddressColumn | None = None
    egress_trunk: TextColumn | None = None
    egress_address: AddressColumn | None = None
    call_id: TextColumn | None = None
    leg: TextColumn | None = None
    disposition: DispositionColumn | None = None
    attestation: AttestationColumn | None = None
    origid: TextColumn | None = None
    verstat: TextColumn | None = None

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
