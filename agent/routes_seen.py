"""Which trunks and peer addresses the indexed calls came in and went out by, and whom the trunk map names for each.

What the map doesn't know makes every answer about such a call UNMAPPED. It is dated, so a route may be known at one
time and unknown at another: both are told, each with its calls, first and last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from agent.index.census import Calls
from agent.index.keys import I64
from agent.index.layout import ceil_ms, time_of
from agent.trunks import Direction, Party, TrunkMap, Unknown

_Key = tuple[Direction, str | None, str | None, Party | Unknown]


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """A route, and for whom the trunk map takes it at the times of these calls.

    Attributes:
        direction: INGRESS or EGRESS. trunk, address: as recorded; never both None.
        party: who is behind it, or UNMAPPED.
        calls: how many. first, last: earliest seizure times. sources: in which they are recorded.
    """

    direction: Direction
    trunk: str | None
    address: str | None
    party: Party | Unknown
    calls: int
    first: datetime
    last: datetime
    sources: tuple[str, ...]


@dataclass(slots=True)
class _Count:
    calls: int
    first_ms: int
    last_ms: int
    sources: set[str]


def routes_seen(calls: Iterable[Calls], trunks: TrunkMap) -> list[RouteSeen]:
    """All routes, those with the most calls first. Calls whose record says nothing of a side don't count there."""
    changes = _changes(trunks)
    counts: dict[_Key, _Count] = {}
    for some in calls:
        dated = np.searchsorted(changes, some.ms, "right")
        for direction, codes, routes in (
            (Direction.INGRESS, some.ingress, some.dictionary.ingress),
            (Direction.EGRESS, some.egress, some.dictionary.egress),
        ):
            for code, number, first_ms, last_ms in _uses(codes, dated, some.ms):
                trunk, address = routes[code]
                if not trunk and not address:
                    continue
                party = _party(trunks, direction, trunk, address, time_of(first_ms))
                count = counts.setdefault((direction, trunk, address, party), _Count(0, first_ms, last_ms, set()))
                count.calls += number
                count.first_ms, count.last_ms = min(count.first_ms, first_ms), max(count.last_ms, last_ms)
                count.sources.add(some.source)
    found = [
        RouteSeen(*key, count.calls, time_of(count.first_ms), time_of(count.last_ms), tuple(sorted(count.sources)))
        for key, count in counts.items()
    ]
    return sorted(found, key=lambda seen: (-seen.calls, seen.direction.value, seen.trunk or "", seen.address or ""))


def unmapped(seen: Iterable[RouteSeen]) -> list[RouteSeen]:
    """Those that the trunk map doesn't know."""
    return [route for route in seen if route.party is Unknown.UNMAPPED]


def _party(
    trunks: TrunkMap, direction: Direction, trunk: str | None, address: str | None, at: datetime
) -> Party | Unknown:
    if direction is Direction.INGRESS:
        return trunks.ingress_party(trunk, address, at)
    return trunks.egress_party(trunk, address, at)


def _changes(trunks: TrunkMap) -> I64:
    """When the map changes, in ms since 1970, ascending."""
    times = {time for entry in trunks.entries for time in (entry.valid_from, entry.valid_to)}
    return np.array(sorted(map(ceil_ms, times)), np.int64)


def _uses(codes: I64, dated: I64, ms: I64) -> list[tuple[int, int, int, int]]:
    """For every code and period: the code, how many calls, the first and the last time."""
    if not len(codes):
        return []
    order = np.lexsort((ms, dated, codes))
    codes, dated, ms = codes[order], dated[order], ms[order]
    begins = np.flatnonzero(np.concatenate([[True], (codes[1:] != codes[:-1]) | (dated[1:] != dated[:-1])]))
    ends = np.append(begins[1:], len(codes))
    return list(
        zip(codes[begins].tolist(), (ends - begins).tolist(), ms[begins].tolist(), ms[ends - 1].tolist(), strict=True)
    )
