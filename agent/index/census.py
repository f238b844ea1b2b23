"""All rows of an index, day by day and source by source, to be counted: each call once, whatever forms it is found by.

Rows that say the same are one row, so the segments of one source and day are merged as they are read; where that would
take too much memory they are taken as they lie, and what was delivered twice counts twice until it is merged on disk.
Every page is checked; memory holds one piece at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent.index import pages
from agent.index.arena import Arena
from agent.index.compaction import MOST_ROWS, merged
from agent.index.keys import I64, U64
from agent.index.layout import DAY_MS, PAGE, TIME_MASK
from agent.index.pages import Packed
from agent.index.rows import FORM_IN
from agent.index.segment import Segment
from agent.index.segment_format import Dictionary
from agent.index.snapshot import Follower

_PAGES_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one source and day, as columns of equal length.

    Attributes:
        source, day: whose, when (days since 1970-01-01).
        ms: earliest seizure times, ms since 1970.
        ingress, egress: positions in the dictionary's lists of routes.
    """

    source: str
    day: int
    ms: I64
    ingress: I64
    egress: I64
    dictionary: Dictionary


def calls_of(follower: Follower, most_rows: int = MOST_ROWS) -> Iterator[Calls]:
    """All calls of the state that `follower` has taken up; at most `most_rows` are merged at once.

    Raises:
        IndexUnusableError: a segment is broken, or a day's secret is gone.
    """
    groups: dict[tuple[int, str], list[Segment]] = {}
    for segment in follower.state.segments.values():
        groups.setdefault((segment.header.day, segment.header.source), []).append(segment)
    for (day, source), group in sorted(groups.items()):
        for rows, dictionary in _pieces(group, follower, most_rows):
            yield _calls(source, day, rows, dictionary)


def _pieces(group: Sequence[Segment], follower: Follower, most_rows: int) -> Iterator[tuple[Packed, Dictionary]]:
    if sum(segment.header.rows for segment in group) <= most_rows:
        try:
            content = merged(group, follower.days)
        except ValueError:
            pass  # more routes than one segment can have
        else:
            yield content.rows, content.dictionary
            return
    for segment in group:
        yield from ((rows, segment.dictionary()) for rows in _rows(segment, follower.arena))


def _rows(segment: Segment, arena: Arena) -> Iterator[Packed]:
    segment.verify_pages()
    header, per_page = segment.header, segment.form.rows
    for first in range(0, header.pages, _PAGES_AT_ONCE):
        count = min(_PAGES_AT_ONCE, header.pages - first)
        begin = (segment.first_page + first) * PAGE
        octets = arena.octets[begin : begin + count * PAGE].reshape(-1, PAGE)
        yield pages.decode(octets, min(header.rows - first * per_page, count * per_page), header.rest)


def _calls(source: str, day: int, rows: Packed, dictionary: Dictionary) -> Calls:
    bits = np.uint64(dictionary.ingress_bits)
    profiles: U64 = rows.codes >> bits
    flags = np.array([flags for _, _, flags in dictionary.profiles], np.uint8)
    egress = np.array([egress for egress, _, _ in dictionary.profiles], np.int64)
    once = np.flatnonzero(flags[profiles] & FORM_IN == 0)
    return Calls(
        source,
        day,
        day * DAY_MS + (rows.key[once] & np.uint64(TIME_MASK)).astype(np.int64),
        (rows.codes[once] & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64),
        egress[profiles[once]],
        dictionary,
    )
