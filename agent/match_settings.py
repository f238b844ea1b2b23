"""What the operator may tune of how a question finds its call: distances in time, and what the sources record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class MatchSettings:
    """What the operator may tune.

    Attributes:
        rival_margin: a rival with another upstream less than this further from the asked time makes it AMBIGUOUS. By
            default two seconds for the watch of the person who asks, one that it cuts off, two for the clocks.
        trusted_distance: a record further from the asked time than this counts as the call only if the calling number
            is the claimed one; else nothing but the called number speaks for it, and the call itself may be missing.
        trusted_span: a record that knows its seizure less closely than this (it has only the end of an answered call)
            counts as the call only if the calling number is the claimed one: it would fit any time of the day.
        internal_hops: how many internal trunks are followed at most inside this provider.
        longest_setup: how far apart the rows of one call may lie: records must be searched this much beyond the window,
            or its edge tears a call's rows apart and a row that knows least stands alone.
        sources_with_egress: sources whose records say where a call went, so that an empty egress means: nowhere.
    """

    rival_margin: timedelta = timedelta(seconds=5)
    trusted_distance: timedelta = timedelta(seconds=10)
    trusted_span: timedelta = timedelta(minutes=10)
    internal_hops: int = 8
    longest_setup: timedelta = timedelta(seconds=180)
    sources_with_egress: frozenset[str] = frozenset()

    def rivals_within(self, nearest: timedelta) -> timedelta:
        """How near a call must be to be a rival of one that is `nearest` away.

        If that one is meant, the question is off by `nearest`; it can't tell calls apart that differ by no more.
        """
        return nearest + max(self.rival_margin, nearest)
