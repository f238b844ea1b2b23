"""The manifest: which source files are indexed, in which segments, and under which root key. Encoding is pure.

Text, one JSON object a line: a header, one line per indexed source file, and as the last line the SHA-256 of all
before it. It is replaced as a whole, so it always describes one moment; what no manifest names does not count.

Refuses an unknown version before anything else, then any content that its checksum does not fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from agent.index.coverage import Coverage, SourceCoverage
from agent.index.errors import IndexCorruptError, UnknownVersionError, WrongKeyError
from agent.index.keys import Keys
from agent.index.layout import time_of

FORMAT: Final = "hopback index"
VERSION: Final = 1
REMEDY: Final = "delete the index directory and index the sources again"


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment that counts.

    Attributes:
        name: file name within the segments' directory.
        size: bytes of the file.
        sha256: digest of its footer, in hex; the footer in turn vouches for every page.
        source: name of the source that its rows are of. day: their UTC day, as days since 1970-01-01.
        rows: index rows in it.
        earliest_ms, latest_ms: least and greatest earliest seizure time of its rows.
        longest_ms: the longest seizure interval of its rows.
    """

    name: str
    size: int
    sha256: str
    source: str
    day: int
    rows: int
    earliest_ms: int
    latest_ms: int
    longest_ms: int


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source file that is indexed.

    Attributes:
        source: name of the source in the configuration; file: name of the file when it was indexed.
        size: bytes of it; content: keyed name of its content.
        mapping: digest of the mapping by which it was read.
        superseded: contents that this one begins with and took the place of, the last ones.
        indexed_ms: when.
        records: call legs in it; earliest_ms, latest_ms: first and last possible seizure time, None without records.
        complete_from_ms, complete_until_ms: what the operator stated.
        skipped: records skipped by the mapping's own rule; rejected: counts by reason.
        rejects: name of the file of rejected rows, None without any.
        segments: where its rows are.
    """

    source: str
    file: str
    size: int
    content: str
    mapping: str
    indexed_ms: int
    records: int
    earliest_ms: int | None
    latest_ms: int | None
    superseded: tuple[str, ...] = ()
    complete_from_ms: int | None = None
    complete_until_ms: int | None = None
    skipped: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    rejects: str | None = None
    segments: tuple[SegmentEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The state of an index at one moment; `generation` counts the states.

    `lines` are the entries as they stand in the file, so that a new state costs one new line and not all of them.
    """

    key_check: str
    generation: int = 0
    entries: tuple[SourceEntry, ...] = ()
    lines: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def require_key(self, keys: Keys, path: Path) -> None:
        """Refuse other keys than those that the index was made with.

        Raises:
            WrongKeyError: naming the manifest's `path`.
        """
        if self.key_check != keys.check.hex():
            raise WrongKeyError(path)

    def successor(self, removed: tuple[SourceEntry, ...], added: SourceEntry | None) -> Manifest:
        """The next state: without `removed`, with `added`."""
        kept = [(e, line) for e, line in zip(self.entries, self.lines, strict=True) if not removed or e not in removed]
        if added is not None:
            kept.append((added, json.dumps(asdict(added))))
        return replace(
            self,
            generation=self.generation + 1,
            entries=tuple(entry for entry, _ in kept),
            lines=tuple(line for _, line in kept),
        )

    def segments(self) -> tuple[SegmentEntry, ...]:
        """All segments that count."""
        return tuple(segment for entry in self.entries for segment in entry.segments)

    def coverage(self) -> Coverage:
        """What the sources cover, see `Coverage`."""
        by_source: dict[str, list[SourceEntry]] = {}
        for entry in self.entries:
            by_source.setdefault(entry.source, []).append(entry)
        return Coverage(tuple(_coverage(name, entries) for name, entries in sorted(by_source.items())))


def _coverage(name: str, entries: list[SourceEntry]) -> SourceCoverage:
    first = [e.earliest_ms for e in entries if e.earliest_ms is not None]
    last = [e.latest_ms for e in entries if e.latest_ms is not None]
    start = first + [e.complete_from_ms for e in entries if e.complete_from_ms is not None]
    until = last + [e.complete_until_ms for e in entries if e.complete_until_ms is not None]
    return SourceCoverage(
        source=name,
        earliest=time_of(min(first)) if first else None,
        latest=time_of(max(last)) if last else None,
        covered_from=time_of(min(start)) if start else None,
        watermark=time_of(max(until)) if until else None,
        records=sum(e.records for e in entries),
        files=len(entries),
    )


def encode(manifest: Manifest) -> bytes:
    """The bytes of a manifest file."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "generation": manifest.generation,
        "key_check": manifest.key_check,
        "entries": len(manifest.entries),
    }
    body = ("\n".join([json.dumps(header), *manifest.lines]) + "\n").encode()
    return body + hashlib.sha256(body).hexdigest().encode() + b"\n"


def decode(data: bytes, path: Path) -> Manifest:
    """The manifest in `data`; `path` is for messages.

    Raises:
        UnknownVersionError: another format version.
        IndexCorruptError: anything else that `encode` would not have written.
    """
    head, _, _ = data.partition(b"\n")
    try:
        header: Any = json.loads(head)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT or not isinstance(header.get("version"), int):
        raise IndexCorruptError(path, "not a manifest of an index", REMEDY)
    if header["version"] != VERSION:
        raise UnknownVersionError(path, header["version"], VERSION)
    body, checksum = data[:-65], data[-65:]
    if hashlib.sha256(body).hexdigest().encode() + b"\n" != checksum:
        raise IndexCorruptError(path, "torn or altered: its checksum does not fit", REMEDY)
    try:
        lines = tuple(body.decode().split("\n")[1:-1])
        entries = tuple(_entry(json.loads(line)) for line in lines)
        return Manifest(str(header["key_check"]), int(header["generation"]), entries, lines)
    except (ValueError, TypeError, KeyError) as error:
        raise IndexCorruptError(path, f"its content is not what version {VERSION} says ({error})", REMEDY) from None


def _entry(line: dict[str, Any]) -> SourceEntry:
    segments = tuple(SegmentEntry(**segment) for segment in line.pop("segments"))
    return SourceEntry(segments=segments, superseded=tuple(line.pop("superseded")), **line)
