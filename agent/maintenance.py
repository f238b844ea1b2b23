"""What an index needs from time to time: what is too old destroyed, small segments merged, broken ones put aside.

Works in short turns, each with the writer's lock of its own, so that indexing waits for seconds at most; whoever else
writes goes first. Every turn leaves a whole index, whenever it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Final
from zlib import crc32

from agent.index.arena import Arena
from agent.index.compaction import MOST_ROWS, merged, worth_merging
from agent.index.errors import IndexBusyError, IndexUnusableError
from agent.index.files import Files
from agent.index.keys import Keys
from agent.index.layout import DAY_MS, MANIFEST, SEGMENTS, floor_ms
from agent.index.manifest import Commit, Loss, SegmentEntry
from agent.index.quarantine import problem_of, set_aside
from agent.index.retention import expiry
from agent.index.segment import Segment
from agent.index.writer import IndexWriter

TURN_S: Final = 5.0
_ADDRESSES: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Maintained:
    """What was done.

    Attributes:
        expired_days: days of which rows were destroyed. expired_files: source files that were forgotten.
        merged: segments that were merged; into: how many they became.
        lost: segments that were found broken and put aside.
        busy: whether somebody else was writing, so that not all was done.
    """

    expired_days: int = 0
    expired_files: int = 0
    merged: int = 0
    into: int = 0
    lost: tuple[Loss, ...] = ()
    busy: bool = False


def maintain(
    directory: Path,
    keys: Keys,
    now: datetime,
    retention: timedelta | None,
    *,
    suspects: Iterable[str] = (),
    scrub: tuple[int, int] | None = None,
    files: Files | None = None,
    patience_s: float = 0.0,
    turn_s: float = TURN_S,
    most_rows: int = MOST_ROWS,
    stop: Callable[[], bool] = lambda: False,
) -> Maintained:
    """Do what is due.

    Args:
        now: aware. retention: records that are older are destroyed; None keeps all.
        suspects: names of segments to be read for broken pages.
        scrub: a share of all segments to be read too, such as the third of 24, always the same ones.
        stop: asked between turns whether to leave the rest for another time.
        files, patience_s: see `IndexWriter`. turn_s: how long the lock is held. most_rows: see `worth_merging`.

    Raises:
        IndexWriteError: the disk refused; the index is whole.
        IndexUnusableError: the index can't be written to.
    """
    if not (directory / MANIFEST).exists():
        return Maintained()
    done = _Done()
    suspects = {*suspects, *_share(directory, scrub)}
    try:
        more = True
        while more and not stop():
            writer = IndexWriter(directory, keys, files, patience_s)
            with writer.writing(), writer:
                _expire(writer, now, retention, done)
                _put_aside(writer, frozenset(suspects), done)
                suspects = ()
                more = _merge(writer, floor_ms(now) // DAY_MS, turn_s, most_rows, done)
    except IndexBusyError:
        done.busy = True
    return Maintained(done.expired_days, done.expired_files, done.merged, done.into, tuple(done.lost), done.busy)


def _share(directory: Path, scrub: tuple[int, int] | None) -> set[str]:
    names = (path.name for path in (directory / SEGMENTS).glob("*.seg")) if scrub is not None else ()
    part, parts = scrub or (1, 1)
    return {name for name in names if crc32(name.encode()) % parts == part - 1}


class _Done:
    def __init__(self) -> None:
        self.expired_days = self.expired_files = self.merged = self.into = 0
        self.lost: list[Loss] = []
        self.busy = False
        self.given_up: set[str] = set()


def _expire(writer: IndexWriter, now: datetime, retention: timedelta | None, done: _Done) -> None:
    commit = None if retention is None else expiry(writer.manifest, floor_ms(now - retention))
    if commit is None:
        return
    done.expired_days += len({writer.manifest.segments[name].day for name in commit.remove_segments})
    done.expired_files += len(commit.remove_files)
    writer.commit(commit)
    writer.require_clean()
    writer.snapshot()  # the names of forgotten files go from the disk, too


def _put_aside(writer: IndexWriter, suspects: frozenset[str], done: _Done) -> None:
    broken = []
    for name in sorted(suspects & writer.manifest.segments.keys()):
        entry = writer.manifest.segments[name]
        problem = problem_of(writer.directory / SEGMENTS / name, entry, writer.secrets)
        if problem is not None:
            broken.append((entry, problem))
    done.lost += set_aside(writer, broken)


def _merge(writer: IndexWriter, today: int, turn_s: float, most_rows: int, done: _Done) -> bool:
    """Merge segments for a turn; whether there is more to merge."""
    until = monotonic() + turn_s
    while True:
        entries = [entry for entry in writer.manifest.segments.values() if entry.name not in done.given_up]
        groups = worth_merging(entries, today, most_rows)
        if not groups:
            return False
        for group in groups:
            if monotonic() > until:
                return True
            _merge_group(writer, group, done)


def _merge_group(writer: IndexWriter, group: tuple[SegmentEntry, ...], done: _Done) -> None:
    arena = Arena(max(_ADDRESSES, 4 * sum(entry.size for entry in group)))
    directory = writer.directory / SEGMENTS
    try:
        segments = [Segment(directory / entry.name, entry, writer.secrets, arena) for entry in group]
        content = merged(segments, writer.secrets)
    except (IndexUnusableError, FileNotFoundError):
        checked = [(entry, problem_of(directory / entry.name, entry, writer.secrets)) for entry in group]
        done.lost += set_aside(writer, [(entry, problem) for entry, problem in checked if problem is not None])
        done.given_up.update(entry.name for entry in group)
        return
    except ValueError:  # too many routes for one segment
        done.given_up.update(entry.name for entry in group)
        return
    entry = writer.write_hidden(content, files={number for part in group for number in part.files})
    try:
        writer.show([entry])
        writer.commit(Commit(remove_segments=tuple(part.name for part in group), add_segments=(entry,)))
    except OSError:
        if writer.can_go_on:
            with suppress(OSError):
                writer.remove_written([entry])
        raise
    done.merged += len(group)
    done.into += 1


def be_humble() -> None:
    """Let everybody else go first, as far as the system knows such manners."""
    with suppress(OSError):
        os.nice(19)
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
