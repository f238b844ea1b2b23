"""From rows to calls: which records are one call, what they say of its time, where it came from and how it fits.

Switches write one call as several rows: legs, failed routes, start and stop. Rows of one call id, ingress and called
number whose times agree are one *instance*; the same call passing twice, or tried over two routes by an upstream, is
two. A call id alone joins nothing: switches use them again. Pure; what the instances come to is decided in
`agent.match`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from agent.legs import Leg
from agent.match_settings import MatchSettings
from agent.trunks import Party, TrunkMap, Unknown
from protos.e164 import E164

_ZERO = timedelta(0)
_NO_INGRESS = (None, None)

EXACT = timedelta(seconds=2)
"""A record that narrows the seizure to this interval knows it; a wider one knows only when the call was answered."""


class Fit(enum.Enum):
    """How a call's egress fits the side that asks."""

    DIRECT = "went to the asking side"
    INSIDE = "went on inside this network"
    UNKNOWN = "where it went is not recorded"
    UNTOLD = "no egress, in records that would show one: perhaps it never left"
    ELSEWHERE = "went to somebody else"
    FAILED_HERE = "failed here, never left"


class Instance(NamedTuple):
    """One call, or one pass of a call, through this provider: all its rows taken together.

    `called_in` is the number as received when it differs from the one asked for; `earliest` and `latest` are what all
    rows together say of the seizure.
    """

    rows: tuple[Leg, ...]
    upstream: Party | Unknown
    called_in: E164 | None
    earliest: datetime
    latest: datetime
    fit: Fit
    calling_matches: bool | None

    @property
    def span(self) -> timedelta:
        """How closely the seizure is known."""
        return self.latest - self.earliest

    def distance(self, at: datetime) -> timedelta:
        """How far the seizure lies from `at`, at least."""
        if self.earliest <= at <= self.latest:
            return _ZERO
        return max(self.earliest - at, at - self.latest, _ZERO)


def instances_of(
    legs: Sequence[Leg], trunks: TrunkMap, wanted: Callable[[Party], bool], settings: MatchSettings
) -> list[Instance]:
    """Rows of one call taken together: same call id, called number and ingress, compatible times."""
    if not legs:
        return []
    if len(legs) == 1:
        return [instance_of(legs[0], trunks, wanted, settings)]
    return _grouped(legs, trunks, wanted, settings)


def instance_of(leg: Leg, trunks: TrunkMap, wanted: Callable[[Party], bool], settings: MatchSettings) -> Instance:
    """The one call that one row is: what `_grouped` makes of it, sooner."""
    at = leg.latest
    upstream = trunks.ingress_party(leg.ingress_trunk, leg.ingress_address, at)
    went_to = trunks.egress_party(leg.egress_trunk, leg.egress_address, at)
    if type(went_to) is Party:
        fit = Fit.DIRECT if wanted(went_to) else Fit.ELSEWHERE
    else:
        fit = _fit((leg,), trunks, at, wanted, settings)
    return Instance((leg,), upstream, leg.called_in, leg.earliest, at, fit, leg.calling_matches)


def _grouped(
    legs: Sequence[Leg], trunks: TrunkMap, wanted: Callable[[Party], bool], settings: MatchSettings
) -> list[Instance]:
    by_call: dict[object, list[Leg]] = {}
    for number, leg in enumerate(legs):
        key: object = number if leg.call_ref is None else (leg.call_ref, leg.called_in)
        by_call.setdefault(key, []).append(leg)
    instances = []
    for rows in (rows for group in by_call.values() for rows in _one_call_each(group)):
        # Trunks are dated: what all rows together say of the time decides whose they were, not each row's own.
        at = min(leg.latest for leg in rows)
        by_ingress: dict[object, list[Leg]] = {}
        upstreams: dict[object, Party | Unknown] = {}
        for leg in rows:
            upstream = trunks.ingress_party(leg.ingress_trunk, leg.ingress_address, at)
            ingress: object = upstream if isinstance(upstream, Party) else (leg.ingress_trunk, leg.ingress_address)
            by_ingress.setdefault(ingress, []).append(leg)
            upstreams[ingress] = upstream
        if len(by_ingress) == 2 and _NO_INGRESS in by_ingress:
            _join_silent(by_ingress, trunks, at)
        for ingress, passing in by_ingress.items():
            instances.append(_instance(passing, upstreams[ingress], _fit(passing, trunks, at, wanted, settings)))
    return instances


def _join_silent(by_ingress: dict[object, list[Leg]], trunks: TrunkMap, at: datetime) -> None:
    """Rows that don't say where the call came in belong to the one pass that is known, if they left where it left.

    So they do where that pass says nothing at all of where it left: then one record holds how the call came and the
    other how it went, as with captures that were rotated, or taken on two sides.
    """

    def left(rows: Sequence[Leg]) -> set[Party | Unknown]:
        return {trunks.egress_party(leg.egress_trunk, leg.egress_address, at) for leg in rows}

    (known,) = by_ingress.keys() - {_NO_INGRESS}
    told = left(by_ingress[known])
    if told == {Unknown.NOT_RECORDED} or left(by_ingress[_NO_INGRESS]) <= told - set(Unknown):
        by_ingress[known] += by_ingress.pop(_NO_INGRESS)


def _one_call_each(rows: Sequence[Leg]) -> list[list[Leg]]:
    """Split rows of one call id where their times say that they can't be one call: switches do reuse call ids.

    Rows that know the setup time part the calls; a row that knows only the answer time belongs to the last setup before
    it.
    """
    if len(rows) == 1:
        return [list(rows)]
    exact = sorted((r for r in rows if r.latest - r.earliest <= EXACT), key=lambda r: (r.earliest, r.latest))
    vague = sorted((r for r in rows if r.latest - r.earliest > EXACT), key=lambda r: (r.latest, r.earliest))
    calls: list[list[Leg]] = []
    for row in exact:
        if calls and row.earliest - max(r.latest for r in calls[-1]) <= EXACT:
            calls[-1].append(row)
        else:
            calls.append([row])
    for row in vague:
        before = [c for c in calls if c[0].earliest <= row.latest and row.earliest <= max(r.latest for r in c)]
        if before:
            before[-1].append(row)
        else:
            calls.append([row])
    return calls


def _instance(rows: Sequence[Leg], upstream: Party | Unknown, fit: Fit) -> Instance:
    if len(rows) == 1:
        (leg,) = rows
        return Instance((leg,), upstream, leg.called_in, leg.earliest, leg.latest, fit, leg.calling_matches)
    earliest, latest = max(leg.earliest for leg in rows), min(leg.latest for leg in rows)
    if earliest > latest:  # a jitter between the rows' clocks
        earliest, latest = latest, earliest
    matches = {leg.calling_matches for leg in rows} - {None}
    return Instance(
        rows=tuple(rows),
        upstream=upstream,
        called_in=rows[0].called_in,
        earliest=earliest,
        latest=latest,
        fit=fit,
        calling_matches=None if not matches else True in matches,
    )


def _fit(
    rows: Sequence[Leg], trunks: TrunkMap, at: datetime, wanted: Callable[[Party], bool], settings: MatchSettings
) -> Fit:
    parties = {trunks.egress_party(leg.egress_trunk, leg.egress_address, at) for leg in rows}
    known = {party for party in parties if isinstance(party, Party)}
    if any(wanted(party) for party in known):
        return Fit.DIRECT
    if Unknown.UNMAPPED in parties:
        return Fit.UNKNOWN
    if known:
        return Fit.ELSEWHERE
    if not any(leg.source_name in settings.sources_with_egress for leg in rows):
        return Fit.UNKNOWN
    dispositions = {leg.disposition for leg in rows} - {None}
    if not dispositions:
        return Fit.UNTOLD
    return Fit.FAILED_HERE if dispositions == {"failed"} else Fit.UNKNOWN  # somebody rang: it did go somewhere
