"""Evidence for the zone of local times: a zone in the row, a count of seconds in the row, an hour that can't have been.

A zone is proposed only where the row itself proves it: a column with a zone, or an epoch beside the local time, whose
difference is the offset. Offsets of one season fit many zones; then they are named, and none is chosen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from cdr_adapters.column_specs import EPOCH_FORMATS
from cdr_adapters.kit.proposal.guess import Guess, Sure
from cdr_adapters.kit.proposal.names import word_set, words_of
from cdr_adapters.kit.proposal.profile import Profile
from cdr_adapters.kit.proposal.times import read_as
from cdr_adapters.times import Status
from cdr_adapters.zones import zone_of

ZONES: Final = (
    "UTC",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
    "America/Anchorage",
    "Pacific/Honolulu",
    "America/Puerto_Rico",
    "America/Halifax",
    "America/St_Johns",
    "America/Toronto",
    "America/Mexico_City",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Bucharest",
    "Europe/Moscow",
    "Asia/Dubai",
    "Asia/Karachi",
    "Asia/Kolkata",
    "Asia/Manila",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
)
"""Zones that are tried: those of the trade, one of each kind."""

_QUARTER: Final = timedelta(minutes=15)
_APART: Final = timedelta(minutes=2)
_EMBEDDED_EPOCH: Final = re.compile(r"(?:^|[^0-9])(1[0-9]{9})(?:\.[0-9]+)?(?:$|[^0-9])", re.ASCII)
_ZONE_WORDS: Final = word_set("zone tz timezone offset utcoffset gmtoffset west minuteswest gmt")
_MOSTLY: Final = 0.9


def zone_column(profiles: Sequence[Profile]) -> tuple[Profile, str, Sure, str] | None:
    """A column that holds each row's zone, its unit, how sure that is, and why."""
    for profile in profiles:
        if not profile.distinct or len(profile.distinct) > 40 or profile.filled < _MOSTLY:
            continue
        words = words_of(profile.name)
        named = bool(set(words) & _ZONE_WORDS)
        texts = profile.distinct
        if all(not text.lstrip("+-").isdigit() for text in texts) and all(zone_of(text, "text") for text in texts):
            sure = Sure.SURE if named else Sure.LIKELY
            return profile, "text", sure, f"holds zones, such as {texts[0]!r}"
        if named and profile.integers == 1 and all(abs(int(text)) <= 14 * 60 for text in texts):
            if {"west", "minuteswest"} & set(words):
                return profile, "minutes_west", Sure.LIKELY, "its name says minutes west, its values can be that"
            return profile, "minutes_west", Sure.UNSURE, "holds minutes, east or west; its name doesn't tell"
    return None


def _epochs(profile: Profile) -> list[datetime | None]:
    """Each row's moment, if the column counts from an epoch or holds such a count within an identifier."""
    known = profile.times[0].format if profile.times and profile.times[0].format in EPOCH_FORMATS else None
    moments: list[datetime | None] = []
    for text in profile.values:
        moment = None
        if text and known:
            moment = read_as(text, known)[1]
        elif text and len(text) < 80 and (found := _EMBEDDED_EPOCH.search(text)) is not None:
            moment = datetime.fromtimestamp(int(found[1]), UTC)
        moments.append(moment)
    return moments


def offsets(local: Profile, time_format: str, others: Sequence[Profile]) -> tuple[str, Counter[tuple[int, datetime]]]:
    """What the local times differ by from a count of seconds in the same row, in minutes, for each local time.

    Also the name of the column that proves it; empty where none does.
    """
    readings = [read_as(text, time_format)[1] if text else None for text in local.values]
    for other in others:
        if other is local:
            continue
        moments = _epochs(other)
        both = [(mine, its) for mine, its in zip(readings, moments, strict=True) if mine and its]
        if len(both) * 2 < sum(one is not None for one in readings) or not both:
            continue
        told: Counter[tuple[int, datetime]] = Counter()
        for mine, its in both:
            apart = mine - its
            steps = round(apart / _QUARTER)
            if abs(apart - steps * _QUARTER) <= _APART and abs(steps) <= 14 * 4:
                told[(steps * 15, mine)] += 1
        if told.total() >= _MOSTLY * len(both):
            return other.name, told
    return "", Counter()


def zone_guess(local: Profile, time_format: str, others: Sequence[Profile]) -> Guess:
    """The zone of local times, as far as the file itself tells."""
    name, told = offsets(local, time_format, others)
    if not told:
        return Guess("zone", Sure.UNSURE, _unknown(local, time_format), candidates=("America/New_York", "UTC"))
    fitting = [zone for zone in ZONES if _explains(ZoneInfo(zone), told)]
    minutes = sorted({minute for minute, _ in told})
    said = " and ".join(f"{minute / 60:+g} h" for minute in minutes)
    proof = f"{local.name} is {said} from {name} in the same row"
    if minutes == [0]:
        if fitting[:1] == ["UTC"] and len(fitting) > 1:
            proof += f" (so would {', '.join(fitting[1:])} be, at that time of the year)"
        return Guess("zone", Sure.LIKELY, proof, "UTC")
    if len(minutes) > 1 and len(fitting) == 1:
        return Guess("zone", Sure.LIKELY, f"{proof}, as this zone's clocks change", fitting[0])
    if len(minutes) > 1 and fitting:
        return Guess("zone", Sure.UNSURE, f"{proof}; these zones do that", candidates=tuple(fitting))
    return Guess(
        "zone",
        Sure.UNSURE,
        f"{proof}; zones with that offset then" if fitting else f"{proof}: none of the usual zones",
        candidates=tuple(fitting),
    )


def _explains(zone: ZoneInfo, told: Counter[tuple[int, datetime]]) -> bool:
    """Whether the zone has these offsets at these local times, in nearly all rows."""
    right = 0
    for (minutes, local), count in told.items():
        naive = local.replace(tzinfo=None)
        folds = {naive.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)}
        right += count if timedelta(minutes=minutes) in folds else 0
    return right >= 0.99 * told.total()


def _unknown(local: Profile, time_format: str) -> str:
    ruled_out = [zone for zone in ZONES[1:6] if _skipped(local, time_format, ZoneInfo(zone))]
    text = "nothing in the file says in which zone its times are: ask whoever runs the switch"
    if ruled_out:
        text += f"; it is not {', '.join(ruled_out)}, whose clocks skipped an hour in which there are calls"
    return text


def _skipped(local: Profile, time_format: str, zone: ZoneInfo) -> bool:
    from cdr_adapters.kit.proposal.times import spec_of
    from cdr_adapters.times import time_of

    return any(time_of(text, spec_of(time_format), zone).status is Status.SKIPPED for text in local.distinct)


def as_table(columns: Mapping[str, Any], zone: tuple[Profile, str, Sure, str] | None) -> dict[str, Any]:
    """A time column's table with its zone column, if there is one."""
    table = dict(columns)
    if zone is not None and zone[2] is not Sure.UNSURE:
        table |= {"zone_column": zone[0].name, "zone_unit": zone[1]}
    return table
