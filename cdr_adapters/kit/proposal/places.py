"""Where values stand in lines of fixed width, told from the lines: blanks between them, times that touch others.

Positions at which all lines have a blank part the columns. Values that touch can't be told apart but for a time of
fourteen digits among them: where every line has a plausible one at the same place, it is a column of its own. What is
found is a beginning, never sure: columns that touch, or that are empty in the sample, need the guide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cdr_adapters.kit.proposal.times import read_as

_FEWEST_LINES: Final = 3
_FEWEST_COLUMNS: Final = 3
_ALIKE: Final = 0.8
_TIME: Final = "%Y%m%d%H%M%S"
_TIME_DIGITS: Final = 14
_EARLIEST: Final = 1995


def places_of(lines: Sequence[str], now: datetime) -> dict[str, str] | None:
    """Column names and their places, `from-to` counted from 1; None when the lines don't look like fixed width."""
    lengths = Counter(map(len, lines))
    length, count = lengths.most_common(1)[0] if lengths else (0, 0)
    if count < _FEWEST_LINES or count < _ALIKE * len(lines):
        return None
    rows = [line for line in lines if len(line) == length]
    blank = [all(row[at] == " " for row in rows) for at in range(length)]
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for at, empty in enumerate([*blank, True]):
        if not empty and start is None:
            start = at
        elif empty and start is not None:
            spans += _split(start, at, rows, now)
            start = None
    if len(spans) < _FEWEST_COLUMNS:
        return None
    return {f"c{begin + 1}": f"{begin + 1}-{end}" for begin, end in spans}


def _split(start: int, end: int, rows: Sequence[str], now: datetime) -> list[tuple[int, int]]:
    """The columns in a run without blanks: what stands before a time, the time, what stands after it."""
    for at in range(start, end - _TIME_DIGITS + 1):
        if all(_is_time(row[at : at + _TIME_DIGITS], now) for row in rows):
            after = at + _TIME_DIGITS
            parts = [(start, at), (at, after)]
            return [part for part in parts if part[0] < part[1]] + (
                _split(after, end, rows, now) if after < end else []
            )
    return [(start, end)]


def _is_time(text: str, now: datetime) -> bool:
    if len(text) != _TIME_DIGITS or not (text.isascii() and text.isdecimal()):
        return False
    moment = read_as(text, _TIME)[1]
    return moment is not None and moment.year >= _EARLIEST and moment <= now + timedelta(days=2)
