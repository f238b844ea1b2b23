"""Fewer segments: which of them are worth merging, and one segment from several. Pure, but for reading what is mapped.

A search looks into every segment of its day. New files bring new segments, so those of one source and day are merged
when there are several of about the same size: each row is rewritten a few times at most, and a day has a handful of
segments however many files it came from. Days that are over get one, and a second one of latecomers until these are
worth it. Rows that say the same are one row afterwards: files that were delivered twice leave no trace.

A merge takes memory for its rows, some 150 bytes each; what would take more than `MOST_ROWS` stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agent.index.errors import IndexCorruptError
from agent.index.keys import I64, U8, U64, DayCiphers
from agent.index.layout import DAY_MS, TIME_MASK
from agent.index.manifest import SegmentEntry
from agent.index.pages import Packed
from agent.index.rows import Route
from agent.index.segment import Segment
from agent.index.segment_format import Content, Dictionary, Profile

ALIKE: Final = 4
"""So many segments of about one size are merged; sizes are alike within this factor, too."""
MOST_ROWS: Final = 4_000_000
_LITTLE: Final = 16

_MIX: Final = tuple(np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


def worth_merging(
    entries: Iterable[SegmentEntry], today: int, most_rows: int = MOST_ROWS
) -> list[tuple[SegmentEntry, ...]]:
    """Segments to be merged with each other, those of the latest days first; each is named once.

    Args:
        entries: all that count. today: days since 1970-01-01. most_rows: that a merge may have.
    """
    groups: dict[tuple[int, str], list[SegmentEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.day, entry.source), []).append(entry)
    chosen = []
    for (day, _), group in sorted(groups.items(), reverse=True):
        group.sort(key=lambda entry: (entry.rows, entry.name))
        merge = _within(group, most_rows)
        if day >= today - 1 or _few_latecomers(merge):
            merge = _within(_alike(group), most_rows)
        if len(merge) > 1:
            chosen.append(tuple(merge))
    return chosen


def _alike(group: Sequence[SegmentEntry]) -> Sequence[SegmentEntry]:
    """The smallest segments up to the last of those that are `ALIKE` in number and size, of a group sorted by size."""
    tiers = [entry.rows.bit_length() // (ALIKE.bit_length() - 1) for entry in group]
    last = max((place for place, tier in enumerate(tiers) if tiers.count(tier) >= ALIKE), default=-1)
    return group[: last + 1]


def _few_latecomers(group: Sequence[SegmentEntry]) -> bool:
    """Whether all but the greatest segment are few, and hold little beside it, of a group sorted by size."""
    return 1 < len(group) <= ALIKE and sum(entry.rows for entry in group[:-1]) * _LITTLE < group[-1].rows


def _within(group: Sequence[SegmentEntry], most_rows: int) -> Sequence[SegmentEntry]:
    """The smallest ones that have no more rows together."""
    total = 0
    for place, entry in enumerate(group):
        total += entry.rows
        if total > most_rows:
            return group[:place]
    return group


def merged(segments: Sequence[Segment], ciphers: DayCiphers) -> Content:
    """What is in these segments of one source and day, each row once.

    Raises:
        IndexCorruptError: one of them is broken. DaySecretError: the day's secret is gone.
        ValueError: they have too many routes for one segment.
    """
    header = segments[0].header
    union = _Union()
    recoded = [union.codes(segment.dictionary()) for segment in segments]
    dictionary = union.dictionary()
    shift = np.uint64(dictionary.ingress_bits)
    rows, came_in, sealed = _all_rows(segments, recoded, shift)
    order = np.argsort(rows.key, kind="stable")  # what is sorted in parts takes little more than reading it
    order = order[_first_of_equals(rows, sealed, came_in, order)]
    came_in = came_in[order]
    translated_at = np.flatnonzero(came_in >= 0)
    rows = _ordered(rows, order)
    del order
    first, last = _ends(rows.key & np.uint64(TIME_MASK))
    used = np.flatnonzero(np.bincount((rows.codes >> shift).astype(np.int64)))
    cipher = ciphers.day(header.day, header.secret)
    return Content(
        source=header.source,
        day=header.day,
        secret=cipher.check,
        rows=rows,
        dictionary=dictionary,
        sealed=cipher.seal_text(dictionary.encode()),
        translated_at=translated_at.astype(np.uint32),
        translated=sealed[came_in[translated_at]],
        earliest_ms=header.day * DAY_MS + first,
        latest_ms=header.day * DAY_MS + last,
        longest_ms=max(dictionary.profiles[code][1] for code in used.tolist()),
    )


def _ends(column: U64) -> tuple[int, int]:
    return int(column.min()), int(column.max())


def _all_rows(
    segments: Sequence[Segment], recoded: Sequence[tuple[U64, U64]], shift: np.uint64
) -> tuple[Packed, npt.NDArray[np.int32], U8]:
    """The rows of all segments, one after the other, with the codes of the union; the numbers of their translated
    numbers, -1 for none; and these. Of the segments themselves one at a time is in memory beside them.
    """
    total = sum(segment.header.rows for segment in segments)
    key, tail, codes = (np.empty(total, np.uint64) for _ in range(3))
    rows = Packed(key, tail, codes, np.empty(total, np.uint32), np.empty(total, np.uint32))
    came_in = np.full(total, -1, np.int32)
    sealed = [np.empty((0, 16), np.uint8)]
    begin = numbers = 0
    for segment, (ingress, profiles) in zip(segments, recoded, strict=True):
        part = segment.rows()
        place = slice(begin, begin + len(part))
        bits = np.uint64(segment.header.ingress_bits)
        rows.key[place], rows.tail[place] = part.key, part.tail
        rows.calling[place], rows.call_ref[place] = part.calling, part.call_ref
        try:
            rows.codes[place] = ingress[part.codes & ((np.uint64(1) << bits) - np.uint64(1))]
            rows.codes[place] |= profiles[part.codes >> bits] << shift
        except IndexError:
            raise IndexCorruptError(segment.path, "a row contradicts its dictionary") from None
        positions, some = segment.translated()
        came_in[begin + positions] = numbers + np.arange(len(positions), dtype=np.int32)
        sealed.append(some)
        begin, numbers = begin + len(part), numbers + len(positions)
    return rows, came_in, np.concatenate(sealed)


def _ordered(rows: Packed, order: I64) -> Packed:
    """The rows in that order, column by column in place of the old ones."""
    for column in (rows.key, rows.tail, rows.codes, rows.calling, rows.call_ref):
        column[: len(order)] = column[order]
    count = len(order)
    return Packed(rows.key[:count], rows.tail[:count], rows.codes[:count], rows.calling[:count], rows.call_ref[:count])


class _Union:
    """One dictionary from several."""

    def __init__(self) -> None:
        self.ingress: dict[Route, int] = {}
        self.egress: dict[Route, int] = {}
        self.profiles: dict[Profile, int] = {}

    def codes(self, other: Dictionary) -> tuple[U64, U64]:
        """What the ingress codes and the profiles of another dictionary are in this one."""
        ingress = [self.ingress.setdefault(route, len(self.ingress)) for route in other.ingress]
        egress = [self.egress.setdefault(route, len(self.egress)) for route in other.egress]
        profiles = [
            self.profiles.setdefault((egress[at], span, flags), len(self.profiles))
            for at, span, flags in other.profiles
        ]
        return np.array(ingress, np.uint64), np.array(profiles, np.uint64)

    def dictionary(self) -> Dictionary:
        return Dictionary(list(self.ingress), list(self.egress), list(self.profiles))


def _first_of_equals(rows: Packed, sealed: U8, came_in: npt.NDArray[np.int32], order: I64) -> npt.NDArray[np.bool_]:
    """Which rows in `order`, that of their keys, to keep so that each is there once; brings equal ones together."""
    key = rows.key[order]
    same = key[1:] == key[:-1]
    keep = np.ones(len(order), np.bool_)
    if not same.any():
        return keep
    tied = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
    numbers = np.zeros((len(tied), 2), np.uint64)
    translated = came_in[order[tied]]
    numbers[translated >= 0] = sealed[translated[translated >= 0]].view("<u8")
    at = order[tied]
    columns: list[npt.NDArray[Any]] = [
        rows.tail[at],
        rows.codes[at],
        rows.calling[at].astype(np.uint64) << np.uint64(32) | rows.call_ref[at],
        numbers[:, 0],
        numbers[:, 1],
    ]
    mixed = np.zeros(len(tied), np.uint64)
    for column, odd in zip(columns, [*_MIX, _MIX[0], _MIX[1]], strict=True):
        mixed = (mixed ^ column) * odd
        mixed ^= mixed >> np.uint64(29)
    by_value = np.lexsort((mixed, key[tied]))
    order[tied] = at[by_value]
    equal = key[tied][by_value][1:] == key[tied][by_value][:-1]
    for column in columns:
        column = column[by_value]
        equal &= column[1:] == column[:-1]
    keep[tied[1:][equal]] = False
    return keep
