"""How often and how long a hop is worth asking. Pure.

That a provider is non-responsive is a statement about it, and rests on a time that is stated: not only on attempts in a
row that reached no answer, but on their going on for so long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.tracing.chance import scatter
from protos.hops import QUESTION_LIFE


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a hop is worth asking.

    Attributes:
        attempts, unanswered: a provider is non-responsive after so many attempts in a row without an answer, and at
            least so long after the first of them failed.
        backoff, backoff_cap: pause after the first failed attempt; it doubles from one to the next, up to the cap.
        looked_after: whoever waits for an agent that answers nobody is told when it answers again; so often it looks
            for itself at least, should nobody have told.
        question_lifetime: after this the answer to a question is of no use, and the next attempt is a new question.
        jitter: by which share of itself that pause may be longer, so that what failed together isn't retried together.
        not_yet_pause, not_yet_cap: pause after NOT_YET_AVAILABLE when the provider names none, and the longest one.
    """

    attempts: int = 3
    unanswered: timedelta = timedelta(minutes=15)
    backoff: timedelta = timedelta(milliseconds=500)
    backoff_cap: timedelta = timedelta(seconds=30)
    jitter: float = 0.2
    looked_after: timedelta = timedelta(minutes=5)
    question_lifetime: timedelta = timedelta(minutes=2)
    not_yet_pause: timedelta = timedelta(minutes=15)
    not_yet_cap: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        if self.question_lifetime > QUESTION_LIFE:
            raise ValueError(f"a question lives for {QUESTION_LIFE // timedelta(minutes=1)} minutes at most")

    def is_spent(self, failures: int, silent_since: datetime, at: datetime) -> bool:
        """Whether a provider is non-responsive at `at`, after that many attempts in a row."""
        return failures >= self.attempts and at - silent_since >= self.unanswered

    def looks_again(self, silent_since: datetime, at: datetime, seed: str) -> datetime:
        """When to look after whoever waits for an agent that answers nobody: now and then, and when patience ends."""
        ends = silent_since + self.unanswered
        again = at + self.looked_after * (1 + self.jitter * scatter(seed))
        return again if ends <= at else min(ends, again)

    def pause_after(self, failures: int, seed: str = "") -> timedelta:
        """How long to wait after that many failed attempts in a row; a little differs from `seed` to `seed`."""
        doubled: int = 2 ** min(failures - 1, 30)
        return min(self.backoff * doubled, self.backoff_cap) * (1 + self.jitter * scatter(f"{seed} {failures}"))


DEFAULT_PATIENCE = Patience()
