"""Finding the legs of a called number in the segments of an index directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.index.coverage import Coverage
from agent.index.keys import Keys
from agent.legs import Leg
from protos.e164 import E164


@dataclass(frozen=True, slots=True)
class Query:
    """One search: the called number, the calling number as a hint, and the interval, aware UTC, ends included."""

    called: E164
    calling: E164 | None
    earliest: datetime
    latest: datetime


class Index:
    """An index directory, open for reading. Safe to share between threads."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        self._directory = directory
        self._keys = keys

    @classmethod
    def open(cls, directory: Path, keys: Keys) -> Index:
        """Open the index; serves at once what was indexed, and later what is indexed while it is open.

        Raises:
            IndexCorruptError, UnknownVersionError, WrongKeyError: see there.
        """
        return cls(directory, keys)

    def find(self, called: E164, calling: E164 | None, earliest: datetime, latest: datetime) -> list[Leg]:
        """All legs of `called` whose seizure interval touches [`earliest`, `latest`], ordered by time.

        Raises:
            IndexUnusableError: the index can't be read; never an empty list then.
            ValueError: a naive time, or `latest` before `earliest`.
        """
        raise NotImplementedError

    def find_many(self, queries: Sequence[Query]) -> list[list[Leg]]:
        """What `find` gives for each query, in their order, at a fraction of the cost."""
        raise NotImplementedError

    def coverage(self) -> Coverage:
        """What the index can answer for, per source."""
        raise NotImplementedError

    def refresh(self) -> bool:
        """Take up what was indexed since; every search does this itself. Returns whether anything changed."""
        raise NotImplementedError
