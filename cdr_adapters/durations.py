"""Durations as configurations write them: a number and its unit, because a bare number's unit would be a guess."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

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
