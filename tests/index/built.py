"""An index directory made by hand: segments of chosen sources, days and shapes, and a manifest that names them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from unittest.mock import PropertyMock, patch

from agent.index import segment_format
from agent.index.build import contents
from agent.index.days import DaySecrets
from agent.index.files import publish
from agent.index.keys import Keys
from agent.index.layout import DAY_MS, DAYS, GENERATION, MANIFEST, SEGMENTS, segment_name
from agent.index.manifest import Commit, Manifest, SegmentEntry, encode_commit, encode_header
from agent.index.rows import Routes, rows_of
from agent.index.segment_format import Dictionary
from tests.index.calls import KEYS, UNSYNCED, Call, batch_of

SHAPES = {5: 1, 6: 32, 7: 40, 8: 48}
"""How many bits of a code the ingress must have for rows to have so many bytes of rest."""


class BuiltIndex:
    """A directory to which segments are added and from which they are taken, as a writer does."""

    def __init__(self, directory: Path, keys: Keys = KEYS) -> None:
        self.directory = directory
        self.keys = keys
        self.manifest = Manifest(keys.check.hex())
        for part in (SEGMENTS, DAYS):
            (directory / part).mkdir(parents=True)
        self.secrets = DaySecrets(directory, keys, UNSYNCED)
        publish(UNSYNCED, directory / MANIFEST, [encode_header(self.manifest)])
        self._tell()

    def segments(self, calls: list[Call], source: str = "acc", rest: int = 5) -> list[SegmentEntry]:
        """Write the segments of a source's calls, one for each day; they don't count yet."""
        if not calls:
            return []
        routes = Routes()
        rows = rows_of(batch_of(list(enumerate(calls, 1))), self.keys, routes)
        for day in {call.earliest // DAY_MS for call in calls}:
            self.secrets.create(day)
        entries = []
        bits = PropertyMock(return_value=SHAPES[rest])
        wide = patch.object(Dictionary, "ingress_bits", bits) if rest > min(SHAPES) else patch.dict({})
        with wide:
            for content in contents(rows, routes.all(), source, self.secrets):
                number = sum(1 for _ in (self.directory / SEGMENTS).iterdir())
                name = segment_name(content.day, self.manifest.generation + 1, number)
                entry, pieces = segment_format.encode(name, content, salt=number)
                publish(UNSYNCED, self.directory / SEGMENTS / name, pieces)
                entries.append(entry)
        return entries

    def commit(self, add: Iterable[SegmentEntry] = (), remove: Iterable[str] = ()) -> None:
        """Make these segments count, and those not."""
        commit = Commit(remove_segments=tuple(remove), add_segments=tuple(add))
        with (self.directory / MANIFEST).open("ab") as log:
            log.write(encode_commit(commit))
        self.manifest = self.manifest.after([commit])
        self._tell()

    def put(self, calls: list[Call], source: str = "acc", rest: int = 5) -> list[SegmentEntry]:
        """Write segments and make them count."""
        entries = self.segments(calls, source, rest)
        self.commit(entries)
        return entries

    def path(self, entry: SegmentEntry) -> Path:
        """Where a segment lies."""
        return self.directory / SEGMENTS / entry.name

    def _tell(self) -> None:
        path = self.directory / GENERATION
        with path.open("r+b" if path.exists() else "wb") as word:
            word.write(self.manifest.generation.to_bytes(8, "little"))
