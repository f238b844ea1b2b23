"""Zones that a record states itself: abbreviations such as EST, and columns that hold an offset or a zone's name.

Understood: minutes west of UTC (Sansay VSX), minutes or seconds east, offsets (`-05:00`, `-0500`, `UTC-5`), IANA names,
and the names of switches (`GMT-08:00-Pacific(US)`, Ribbon). Such a name means the zone with its daylight saving: the
offset in it is that of winter, and an hour wrong in summer. An offset without a region is an offset.

Refused: an abbreviation that the configured zone uses at another time of the year, or that means another offset in
another country, a region that isn't known, an offset that contradicts its region.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cdr_adapters.column_specs import ZoneUnit

_UNIVERSAL: Final = {"UTC": 0, "GMT": 0, "Z": 0}
_AMERICAN: Final = {
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "AKST": -9,
    "AKDT": -8,
    "HST": -10,
}
_AMERICAS: Final = ("America/", "US/", "Canada/", "Pacific/Honolulu", "Etc/", "UTC", "GMT")

_REGIONS: Final = {
    "eastern": "America/New_York",
    "central": "America/Chicago",
    "mountain": "America/Denver",
    "pacific": "America/Los_Angeles",
    "alaska": "America/Anchorage",
    "hawaii": "Pacific/Honolulu",
    "arizona": "America/Phoenix",
    "indiana": "America/Indiana/Indianapolis",
    "atlantic": "America/Halifax",
    "newfoundland": "America/St_Johns",
    "saskatchewan": "America/Regina",
}
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?\s*([-+])(\d{1,2})(?::?([0-5]\d))?(?::?00)?", re.ASCII | re.IGNORECASE)
_NAMED: Final = re.compile(
    r"\(?(?:UTC|GMT)(?:([-+])(\d{1,2}):?([0-5]\d)?)?\)?[-_ ]+([A-Za-z]+)[-_ ]*\(?(?:US|USA|US & Canada|Canada)?\)?",
    re.ASCII | re.IGNORECASE,
)
_MINUTES: Final = re.compile(r"[-+]?\d{1,6}", re.ASCII)
_FURTHEST: Final = 14 * 60
_WINTER: Final = datetime(2026, 1, 15, 12, tzinfo=UTC)


@lru_cache(maxsize=64)
def _uses(zone: ZoneInfo, name: str) -> bool:
    """Whether the zone's clocks bear this abbreviation in some month of these years."""
    months = (datetime(year, month, 15, 12, tzinfo=UTC) for year in range(2000, 2031) for month in range(1, 13))
    return any(month.astimezone(zone).tzname() == name for month in months)


def offset_of_abbreviation(name: str, zone: ZoneInfo | None) -> timedelta | None:
    """What an abbreviation means beyond all doubt, given the source's zone; None for those that have two meanings.

    The North American ones count only where the source has no zone, or one over there: CST is China's, too.
    """
    if name in _UNIVERSAL:
        return timedelta(0)
    if name not in _AMERICAN:
        return None
    if zone is not None and (not zone.key.startswith(_AMERICAS) or _uses(zone, name)):
        return None
    return timedelta(hours=_AMERICAN[name])


def _fixed(minutes: int) -> tzinfo | None:
    return timezone(timedelta(minutes=minutes)) if abs(minutes) <= _FURTHEST else None


def _iana(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _minutes(sign: str | None, hours: str | None, minutes: str | None) -> int:
    return (-1 if sign == "-" else 1) * (int(hours or 0) * 60 + int(minutes or 0))


def _by_name(text: str) -> tzinfo | None:
    if text.upper() in _UNIVERSAL:
        return UTC
    if (plain := _OFFSET.fullmatch(text)) is not None:
        return _fixed(_minutes(*plain.groups()))
    if (named := _NAMED.fullmatch(text)) is not None:
        zone = _iana(_REGIONS.get(named[4].lower(), ""))
        if zone is None or named[1] is None:
            return zone
        return (
            zone if _WINTER.astimezone(zone).utcoffset() == timedelta(minutes=_minutes(*named.groups()[:3])) else None
        )
    return _iana(text) if "/" in text else None


@lru_cache(maxsize=4096)
def zone_of(text: str, unit: ZoneUnit) -> tzinfo | None:
    """The zone that a record's own zone column means; None when it can't be said."""
    text = text.strip()
    if len(text) > 64:
        return None
    match unit:
        case "minutes_west" | "minutes_east" | "seconds_east":
            if _MINUTES.fullmatch(text) is None:
                return None
            number = int(text)
            if unit == "seconds_east":
                return _fixed(number // 60) if number % 60 == 0 else None
            return _fixed(-number if unit == "minutes_west" else number)
        case "offset":
            if text.upper() in _UNIVERSAL:
                return UTC
            match = _OFFSET.fullmatch(text)
            return None if match is None else _fixed(_minutes(*match.groups()))
        case "iana":
            return _iana(text)
        case "text":
            return _by_name(text)
