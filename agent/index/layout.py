"""Where an index keeps what: names in its directory, and the arithmetic of keys and pages. Pure, no file is touched.

    MANIFEST            which segments count; replaced as a whole
    LOCK                held by the one process that writes
    segments/*.seg      immutable segments, named by first day and the generation that brought them
    rejects/*.jsonl     rows that could not be read, raw, one file per source file
    .new-*              being written; nobody reads it, the next writer removes it

The sort key of a row is one unsigned 64-bit integer: 5 bits day within the segment, 32 bits of the called number's
pseudonym, 27 bits millisecond of the day of the earliest seizure time. The other 32 bits of the pseudonym lie in the
row ("tail"), so that a match is exact in 64 bits and one range of keys is exact in time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

MANIFEST: Final = "MANIFEST"
LOCK: Final = "LOCK"
SEGMENTS: Final = "segments"
REJECTS: Final = "rejects"
HIDDEN: Final = ".new-"

DAY_MS: Final = 86_400_000
PERIOD_DAYS: Final = 32
"""A segment holds rows of one period: 32 days counted from 1970-01-01."""
PAGE: Final = 4096
KEYS_PER_PAGE: Final = PAGE // 8

_TIME_BITS = 27
_DAY_SHIFT = 32 + _TIME_BITS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def floor_ms(time: datetime) -> int:
    """Milliseconds since 1970, rounded down; a naive time is refused with ValueError."""
    if time.tzinfo is None:
        raise ValueError("a naive time: state its zone")
    return (time - _EPOCH) // _MS


def ceil_ms(time: datetime) -> int:
    """Milliseconds since 1970, rounded up; a naive time is refused with ValueError."""
    if time.tzinfo is None:
        raise ValueError("a naive time: state its zone")
    return -((_EPOCH - time) // _MS)


def time_of(ms: int) -> datetime:
    """The aware UTC time of `ms` milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=ms)


def key_base(day_in_segment: int, pseudonym: int) -> int:
    """The least sort key of a pseudonym on a day; add milliseconds of the day."""
    return (day_in_segment << _DAY_SHIFT) | ((pseudonym >> 32) << _TIME_BITS)


def key_time(key: int) -> int:
    """The millisecond of the day in a key."""
    return key & ((1 << _TIME_BITS) - 1)


def padded(size: int) -> int:
    """`size` rounded up to whole pages."""
    return -(-size // PAGE) * PAGE


def segment_name(first_day: int, generation: int, number: int) -> str:
    """The file name of a segment, sorting by time."""
    return f"{_EPOCH + timedelta(days=first_day):%Y%m%d}-g{generation:08d}-{number:04d}.seg"


def rejects_name(generation: int) -> str:
    """The file name for the rejected rows of what `generation` brought."""
    return f"g{generation:08d}.jsonl"


def hidden(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(HIDDEN + path.name)
