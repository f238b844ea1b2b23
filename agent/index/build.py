"""From rows with plain numbers to what goes into segments: one for each UTC day, pseudonymous and sorted. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from agent.index import pages
from agent.index.keys import I64, U64, DayCiphers
from agent.index.layout import DAY_MS
from agent.index.rows import Route, Rows
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
    rows, called = rows.take(chosen[order]), called[order]
    span = rows.latest - rows.earliest
    dictionary, codes = _coded(rows, span, routes)
    translated_at = np.flatnonzero(rows.came_in)
    sealed = np.frombuffer(cipher.seal_numbers(rows.came_in[translated_at]), np.uint8).reshape(-1, 16)
    return Content(
        source=source,
        day=day,
        secret=cipher.check,
        rows=pages.Packed(
            key=key[order],
            tail=pages.tail_of(called),
            codes=codes,
            calling=cipher.calling_column(rows.calling).astype(np.uint32),
            call_ref=short_refs(rows.call_ref).astype(np.uint32),
        ),
        dictionary=dictionary,
        sealed=cipher.seal_text(dictionary.encode()),
        translated_at=translated_at.astype(np.uint32),
        translated=sealed,
        earliest_ms=int(rows.earliest.min()),
        latest_ms=int(rows.earliest.max()),
        longest_ms=int(span.max()),
    )


def short_refs(refs: U64) -> U64:
    """References of 24 bits, 0 only for none."""
    short = refs & _CALL_REF_MASK
    short[(short == 0) & (refs != 0)] = 1
    return short


def _coded(rows: Rows, span: I64, routes: list[Route]) -> tuple[Dictionary, U64]:
    """The rows' codes, and what they mean."""
    ingress, ingress_code = _distinct(rows.ingress.astype(np.uint64))
    egress, egress_code = _distinct(rows.egress.astype(np.uint64))
    profile: U64 = egress_code << np.uint64(40)
    profile |= rows.flags.astype(np.uint64) << np.uint64(32)
    profile |= span.astype(np.uint64)
    profiles, profile_code = _distinct(profile)
    dictionary = Dictionary(
        ingress=[routes[code] for code in ingress.tolist()],
        egress=[routes[code] for code in egress.tolist()],
        profiles=[(value >> 40, value & 0xFFFFFFFF, value >> 32 & 0xFF) for value in profiles.tolist()],
    )
    return dictionary, ingress_code | (profile_code << np.uint64(dictionary.ingress_bits))


def _distinct(column: U64) -> tuple[U64, U64]:
    """The distinct values, and which of them each row has; by hashing, not by sorting."""
    import pyarrow as pa

    values = pa.UInt64Array.from_buffers(pa.uint64(), len(column), [None, pa.py_buffer(column)])
    encoded = values.dictionary_encode()  # pa.array would import pandas
    return encoded.dictionary.to_numpy(), encoded.indices.to_numpy().astype(np.uint64)
