"""Where an index keeps what: names in its directory, and the arithmetic of keys and pages. Pure, no file is touched.

    MANIFEST            which segments count: a log of commits
    GENERATION          the number of the last commit (u64), mapped by readers: a word to look at for news
    LOCK                held by the one process that writes
    segments/*.seg      immutable segments, named by day and the generation that brought them
    days/*.key          the secret of each day, wrapped under the root key; without it the day's rows tell nothing
    rejects/*.jsonl     rows that could not be read, raw, one file per source file
    quarantine/*.seg    segments that were found broken; nothing is read from them
    .new-*              being written; nobody reads it, the next writer removes it

A segment holds rows of one source and one UTC day; `pages` says what a row is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

MANIFEST: Final = "MANIFEST"
GENERATION: Final = "GENERATION"
LOCK: Final = "LOCK"
SEGMENTS: Final = "segments"
DAYS: Final = "days"
REJECTS: Final = "rejects"
QUARANTINE: Final = "quarantine"
HIDDEN: Final = ".new-"

DAY_MS: Final = 86_400_000
PAGE: Final = 4096

TIME_BITS: Final = 27
"""A millisecond of the day fits into so many bits."""
TIME_MASK: Final = (1 << TIME_BITS) - 1

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
    return _EPOCH + ms * _MS


def padded(size: int) -> int:
    """`size` rounded up to whole pages."""
    return -(-size // PAGE) * PAGE


def segment_name(day: int, generation: int, number: int) -> str:
    """The file name of a segment, sorting by time."""
    return f"{_EPOCH + timedelta(days=day):%Y%m%d}-g{generation:08d}-{number:04d}.seg"


def day_key_name(day: int) -> str:
    """The file name of a day's secret."""
    return f"{_EPOCH + timedelta(days=day):%Y%m%d}.key"


def day_of_key_name(name: str) -> int | None:
    """The day whose secret has that file name; None when it is no such name."""
    try:
        return (datetime.strptime(name, "%Y%m%d.key").replace(tzinfo=UTC) - _EPOCH).days
    except ValueError:
        return None


def rejects_name(generation: int, file: int) -> str:
    """The file name for the rejected rows of a source file, by its number, that `generation` brought."""
    return f"g{generation:08d}-f{file:08d}.jsonl"


def hidden(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(HIDDEN + path.name)
