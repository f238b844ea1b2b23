"""Several records as one: the embedded index and any number of stores, side by side.

Each is asked, what they find is put together in order of time, and each counts for itself in the coverage. One that
can't be read makes the whole lookup fail: what it would have said might have been another call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import TypeVar

from agent.index.coverage import Coverage
from agent.index.reader import Query
from agent.legs import Leg, TooMany
from agent.service import Records
from protos.e164 import E164

T = TypeVar("T")


class Merged:
    """Records in several places. Safe to share between threads if its parts are.

    `executor` asks all parts at once; it must not be the one that calls this.
    """

    def __init__(self, parts: Sequence[Records], executor: Executor | None = None) -> None:
        self._parts = tuple(parts)
        self._executor = executor

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> Sequence[Leg]:
        """All legs in all parts; see `Records.find`."""
        return _together(self._each(lambda part: part.find(called, calling, earliest, latest)))

    def find_many(self, queries: Sequence[Query]) -> list[Sequence[Leg]]:
        """What `find` gives for each query, in order."""
        found = self._each(lambda part: part.find_many(queries))
        return [_together(legs) for legs in zip(*found, strict=True)]

    def coverage(self) -> Coverage:
        """What each source in each part covers."""
        sources = [source for part in self._each(lambda part: part.coverage()) for source in part.sources]
        return Coverage(tuple(sorted(sources, key=lambda source: source.source)))

    def _each(self, ask: Callable[[Records], T]) -> list[T]:
        if self._executor is None or len(self._parts) == 1:
            return [ask(part) for part in self._parts]
        others = [self._executor.submit(ask, part) for part in self._parts[1:]]
        try:
            first = ask(self._parts[0])
        except BaseException:
            for other in others:
                other.cancel()
            raise
        return [first, *(other.result() for other in others)]


def _together(found: Sequence[Sequence[Leg]]) -> Sequence[Leg]:
    if any(isinstance(legs, TooMany) for legs in found):
        return TooMany()
    some = [legs for legs in found if legs]
    if len(some) < 2:
        return some[0] if some else ()
    return sorted((leg for legs in some for leg in legs), key=lambda leg: (leg.earliest, leg.latest, leg.source))
