"""From rows with plain numbers to what goes into segments: one for each UTC day, pseudonymous and sorted. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from agent.index import pages
from agent.index.keys import I64, U64, DayCiphers
from agent.index.layout import DAY_MS
from agent.index.rows import U32, Route, Rows
from agent.index.segment_format import Content, Dictionary

_CALL_REF_MASK = np.uint64((1 << pages.CALL_REF_BITS) - 1)


def contents(rows: Rows, routes: list[Route], source: str, keys: DayCiphers) -> Iterator[Content]:
    """The segments that `rows` of a source make, by day; `routes` are what their ingress and egress count in.

    Raises:
        DaySecretError: a day has no secret yet.
    """
    days = rows.earliest // DAY_MS
    first, last = int(days.min()), int(days.max())
    if first == last:
        yield _content(rows, np.arange(len(rows)), first, routes, source, keys)
        return
    order = np.argsort((days - first).astype(np.int16) if last - first < 2**15 else days, kind="stable")
    bounds = np.searchsorted(days[order], np.arange(first, last + 2))
    for day in range(first, last + 1):
        chosen = order[bounds[day - first] : bounds[day - first + 1]]
        if len(chosen):
            yield _content(rows, chosen, day, routes, source, keys)


def _content(
    rows: Rows, chosen: npt.NDArray[np.intp], day: int, routes: list[Route], source: str, keys: DayCiphers
) -> Content:
    """The segment of these rows, all of one day."""
    cipher = keys.day(day)
    called = cipher.called_column(rows.called[chosen])
    key = pages.key_of(called, (rows.earliest[chosen] - day * DAY_MS).astype(np.uint64))
    order = np.argsort(key)  # which of equal keys comes first doesn't matter: an index is a set
    called, at = called[order], chosen[order]
    earliest = rows.earliest[chosen]
    span = rows.latest[chosen] - earliest
    shortest, longest = int(span.min()), int(span.max())
    dictionary, codes = _coded(rows, at, None if shortest == longest else span[order], longest, routes)
    came_in = rows.came_in[at]
    translated_at = np.flatnonzero(came_in)
    sealed = np.frombuffer(cipher.seal_numbers(came_in[translated_at]), np.uint8).reshape(-1, 16)
    return Content(
        source=source,
        day=day,
        secret=cipher.check,
        rows=pages.Packed(
            key=key[order],
            tail=pages.tail_of(called),
            codes=codes,
            calling=cipher.calling_column(rows.calling[at]).astype(np.uint32),
            call_ref=short_refs(rows.call_ref[at]).astype(np.uint32),
        ),
        dictionary=dictionary,
        sealed=cipher.seal_text(dictionary.encode()),
        translated_at=translated_at.astype(np.uint32),
        translated=sealed,
        earliest_ms=int(earliest.min()),
        latest_ms=int(earliest.max()),
        longest_ms=longest,
    )


def short_refs(refs: U64) -> U64:
    """References of 24 bits, 0 only for none."""
    short = refs & _CALL_REF_MASK
    short[(short == 0) & (refs != 0)] = 1
    return short


def _coded(
    rows: Rows, at: npt.NDArray[np.intp], span: I64 | None, longest: int, routes: list[Route]
) -> tuple[Dictionary, U64]:
    """The codes of the rows at these positions, and what they mean; all spans are the longest where there are none."""
    ingress, ingress_code = _used(rows.ingress[at], len(routes))
    egress, egress_code = _used(rows.egress[at], len(routes))
    flags = rows.flags[at]
    if span is None and len(egress) <= _MOST_EGRESS:
        pairs, profile_code = _used((egress_code << np.uint64(8) | flags).astype(np.uint32), len(egress) << 8)
        profiles = [(pair >> 8, longest, pair & 0xFF) for pair in pairs.tolist()]
    else:
        profile: U64 = (egress_code << np.uint64(40)) | (flags.astype(np.uint64) << np.uint64(32))
        profile |= np.uint64(longest) if span is None else span.astype(np.uint64)
        values, profile_code = _distinct(profile)
        profiles = [(value >> 40, value & 0xFFFFFFFF, value >> 32 & 0xFF) for value in values.tolist()]
    dictionary = Dictionary(
        ingress=[routes[code] for code in ingress.tolist()],
        egress=[routes[code] for code in egress.tolist()],
        profiles=profiles,
    )
    return dictionary, ingress_code | (profile_code << np.uint64(dictionary.ingress_bits))


_MOST_EGRESS: Final = 1 << 12


def _used(column: U32, known: int) -> tuple[U32, U64]:
    """Which of so many small numbers there are, and which of those each row has."""
    there = np.zeros(known, np.bool_)
    there[column] = True
    used = np.flatnonzero(there)
    places = np.zeros(known, np.uint64)
    places[used] = np.arange(len(used), dtype=np.uint64)
    return used.astype(np.uint32), places[column]


def _distinct(column: U64) -> tuple[U64, U64]:
    """The distinct values, and which of them each row has; by hashing, not by sorting."""
    import pyarrow as pa

    values = pa.UInt64Array.from_buffers(pa.uint64(), len(column), [None, pa.py_buffer(column)])
    encoded = values.dictionary_encode()  # pa.array would import pandas
    return encoded.dictionary.to_numpy(), encoded.indices.to_numpy().astype(np.uint64)
