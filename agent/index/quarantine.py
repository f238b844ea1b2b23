"""Segments that are broken: found by reading every byte of them, moved aside, and their time told as lost.

A broken segment must not keep the rest of an index from being served, nor may its rows be missing without a word: the
time that it spanned counts as not covered until the files that its rows came from are read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from agent.index import pages
from agent.index.arena import Arena
from agent.index.errors import IndexCorruptError, IndexUnusableError
from agent.index.keys import DayCiphers
from agent.index.layout import DAY_MS, TIME_MASK
from agent.index.manifest import Commit, Loss, SegmentEntry
from agent.index.rows import TRANSLATED
from agent.index.segment import Segment
from agent.index.writer import IndexWriter

_ADDRESSES: Final = 1 << 32


def check_segment(path: Path, entry: SegmentEntry, ciphers: DayCiphers) -> None:
    """Read all of a segment and hold it against itself and against the manifest.

    Raises:
        FileNotFoundError: it is not there.
        IndexCorruptError: something in it contradicts something else. DaySecretError: its day's secret is gone.
    """
    arena = Arena(max(_ADDRESSES, 4 * entry.size))
    segment = Segment(path, entry, ciphers, arena)
    header, rows, dictionary = segment.header, segment.rows(), segment.dictionary()
    bits = np.uint64(header.ingress_bits)
    if (rows.key[1:] < rows.key[:-1]).any():
        raise IndexCorruptError(path, "its keys are not in order")
    starts = arena.halves[segment.starts_at : segment.starts_at + (1 << header.bucket_bits) + 1]
    if (np.diff(starts) != pages.histogram(rows.key, header.bucket_bits)).any():
        raise IndexCorruptError(path, "its histogram does not count its rows")
    ingress, profiles = rows.codes & ((np.uint64(1) << bits) - np.uint64(1)), rows.codes >> bits
    if (
        int(ingress.max()) >= len(dictionary.ingress)
        or int(profiles.max()) >= len(dictionary.profiles)
        or any(egress >= len(dictionary.egress) for egress, _, _ in dictionary.profiles)
    ):
        raise IndexCorruptError(path, "a row contradicts its dictionary")
    ms = rows.key & np.uint64(TIME_MASK)
    longest = max(dictionary.profiles[code][1] for code in np.unique(profiles).tolist())
    midnight = header.day * DAY_MS
    told = (header.earliest_ms, header.latest_ms, header.longest_ms)
    if (midnight + int(ms.min()), midnight + int(ms.max()), longest) != told:
        raise IndexCorruptError(path, "its times are not those of its rows")
    flags = np.array([flags for _, _, flags in dictionary.profiles], np.uint8)
    positions, sealed = segment.translated()
    if not np.array_equal(positions, np.flatnonzero(flags[profiles] & TRANSLATED)):
        raise IndexCorruptError(path, "its translated numbers are not those of its rows")
    ciphers.day(header.day, header.secret).unseal_numbers(sealed.tobytes())


def problem_of(path: Path, entry: SegmentEntry, ciphers: DayCiphers, *, thorough: bool = True) -> str | None:
    """What is wrong with a segment that should be at `path`; None when nothing is found.

    Unless it is to be thorough, only what is held in memory is looked at: a torn file is found, a flipped bit is not.
    """
    try:
        if thorough:
            check_segment(path, entry, ciphers)
        else:
            Segment(path, entry, ciphers, Arena(max(_ADDRESSES, 4 * entry.size)))
    except FileNotFoundError:
        return "missing"
    except (IndexUnusableError, ValueError) as error:
        return str(getattr(error, "problem", error))
    return None


def set_aside(writer: IndexWriter, broken: Iterable[tuple[SegmentEntry, str]]) -> tuple[Loss, ...]:
    """Take broken segments out of the index and tell what is lost with them.

    Raises:
        OSError: the disk refuses.
    """
    losses = tuple(
        Loss(
            segment=entry.name,
            source=entry.source,
            from_ms=entry.earliest_ms,
            to_ms=entry.latest_ms + entry.longest_ms,
            files=entry.files,
            reason=reason,
        )
        for entry, reason in broken
    )
    if losses:
        writer.commit(Commit(remove_segments=tuple(loss.segment for loss in losses), add_losses=losses))
    return losses
