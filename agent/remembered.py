"""Which files of other hosts were read, and what they were like, over a restart: so that they are not fetched again.

Kept in the index directory, since it is true of that index alone: `FETCHED`, JSON, a table for each source with the
digest of its mapping. When it is lost or can't be read, or a mapping has changed, files are fetched once more, and what
is in them is recognised by their content.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final

from agent.index.files import Files, OsFiles

FETCHED: Final = "FETCHED"


class Remembered:
    """The file `FETCHED` of an index directory. One process writes it."""

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        self._path = directory / FETCHED
        self._files = files or OsFiles()
        self._said = self._read()

    def _read(self) -> dict[str, Any]:
        try:
            said = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def read_before(self, source: str, mapping: str) -> dict[str, Hashable]:
        """The stamps of files of a source that were read by a mapping of this digest, by URL."""
        said = self._said.get(source)
        if not isinstance(said, dict) or said.get("mapping") != mapping or not isinstance(said.get("files"), dict):
            return {}
        return {
            url: (stamp[0], stamp[1])
            for url, stamp in said["files"].items()
            if isinstance(stamp, list) and len(stamp) == 2
        }

    def remember(self, source: str, mapping: str, files: Mapping[str, Hashable]) -> None:
        """Keep the stamps of all files of a source that need not be read again.

        Raises:
            OSError: the disk refuses; what was kept before stays.
        """
        said = {"mapping": mapping, "files": dict(files)}
        changed = json.loads(json.dumps(said))
        if self._said.get(source) == changed:
            return
        after = self._said | {source: changed}
        # not hidden as the index's own files are: a writer that begins removes those
        part = self._path.with_name(f"{FETCHED}.part")
        descriptor = self._files.create(part)
        try:
            self._files.write(descriptor, json.dumps(after).encode())
            self._files.fsync(descriptor)
        finally:
            self._files.close(descriptor)
        self._files.rename(part, self._path)
        self._said = after
