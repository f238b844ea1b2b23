"""What this provider allows at most: windows, hops, budgets, and numbers that are never answered for.

Each limit has a cap of the protocol's. A provider may set less, never more: a limit above its cap is refused when the
configuration is read, so that no agent answers what another party of the protocol takes for impossible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from protos.e164 import E164, InvalidNumberError, parse_e164
from protos.orders import MOST_HOPS
from protos.types import WINDOW_CAP

QUESTIONS_PER_DAY: Final = 1_000_000
SECONDS_PER_NUMBER: Final = 3600
QUESTIONS_PER_CAMPAIGN: Final = 200_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one provider answers. Days are UTC days.

    Attributes:
        window: half-width of a question's interval.
        hop_limit: how far from the terminating provider a question may be asked.
        questions_per_day: questions that are searched in a day.
        seconds_per_number_per_day: how much time of one called number may be looked at in a day: intervals that
            overlap count once.
        questions_per_campaign_per_day: questions of one campaign that are searched in a day.
        denied: called numbers for which nothing is ever answered.

    Raises:
        ValueError: a limit is below 1, or above the protocol's cap.
    """

    window: timedelta = WINDOW_CAP
    hop_limit: int = MOST_HOPS
    questions_per_day: int = QUESTIONS_PER_DAY
    seconds_per_number_per_day: int = SECONDS_PER_NUMBER
    questions_per_campaign_per_day: int = QUESTIONS_PER_CAMPAIGN
    denied: frozenset[E164] = field(default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.window <= WINDOW_CAP:
            raise ValueError(f"the window is at most {WINDOW_CAP.seconds} s")
        for name, value, cap in (
            ("hop_limit", self.hop_limit, MOST_HOPS),
            ("questions_per_day", self.questions_per_day, QUESTIONS_PER_DAY),
            ("seconds_per_number_per_day", self.seconds_per_number_per_day, SECONDS_PER_NUMBER),
            ("questions_per_campaign_per_day", self.questions_per_campaign_per_day, QUESTIONS_PER_CAMPAIGN),
        ):
            if not 1 <= value <= cap:
                raise ValueError(f"{name} is 1 to {cap}")


def read_denied(path: Path) -> frozenset[E164]:
    """The numbers in a file, one a line in E.164 form; lines that begin with "#" are remarks.

    Raises:
        OSError: it can't be read.
        ValueError: a line is no number; the message names the line, not what stands there.
    """
    denied = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            denied.add(parse_e164(text))
        except InvalidNumberError:
            raise ValueError(f"line {number} is no number in E.164 form, such as +12025550143") from None
    return frozenset(denied)
