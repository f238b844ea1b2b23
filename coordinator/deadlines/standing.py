"""How one request to one provider stands: three different things that are never mixed up.

    waiting          no answer, and there is still time before anybody gives up
    delinquent       the answer was not there when it was due (the 24-hour rule), whether or not it came later
    non-responsive   no answer when the coordinator gave up on it

A late answer ends "non-responsive" (it still counts and reopens the chain) and never "delinquent". The label
non-cooperative is none of these: it is of a provider, not of a request; see `coordinator.deadlines.cooperation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from coordinator.deadlines.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Standing:
    """One request at one time."""

    waiting: bool
    answered: bool
    delinquent: bool
    non_responsive: bool

    @property
    def words(self) -> str:
        """The standing in the words of the trade, most telling first."""
        if self.non_responsive:
            return "non-responsive"
        if self.answered:
            return "answered late" if self.delinquent else "answered"
        return "waiting, overdue" if self.delinquent else "waiting"


def standing(plan: Schedule, answered: datetime | None, now: datetime) -> Standing:
    """How a request stands at `now`; an answer that lies after `now` has not come yet."""
    came = answered if answered is not None and answered <= now else None
    end = now if came is None else came
    delinquent = end > plan.due
    given_up = came is None and now > plan.gives_up
    return Standing(
        waiting=came is None and not given_up,
        answered=came is not None,
        delinquent=delinquent,
        non_responsive=given_up,
    )
