"""What a verification says: statements that are proven, not proven, or broken."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Standing(enum.Enum):
    """What becomes of a statement."""

    PROVEN = "proven"
    NOT_PROVEN = "not proven"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that the bundle says; `by` is whose signature shows it, `why` what is missing or broken."""

    standing: Standing
    what: str
    by: str = ""
    why: str = ""
    at: str = ""


def proven(what: str, by: str) -> Statement:
    """It is shown, by whom."""
    return Statement(Standing.PROVEN, what, by=by)


def unproven(what: str, why: str) -> Statement:
    """It is not shown, and why not."""
    return Statement(Standing.NOT_PROVEN, what, why=why)


def broken(what: str, why: str) -> Statement:
    """It should hold, and doesn't."""
    return Statement(Standing.BROKEN, what, why=why)
