"""What must go because it is older than the retention: days of rows, rejected rows, and what is remembered of files.

A UTC day goes as a whole, once its last moment is too old: its segments are removed and its secret is overwritten, so
that copies of them tell nothing either. Rejected rows hold plain numbers and don't always say their time: they go with
the first record of their file that does, or by the time of indexing. Pure; the writer destroys what is taken out.
"""

from __future__ import annotations

from dataclasses import replace

from agent.index.layout import DAY_MS
from agent.index.manifest import Commit, FileEntry, Manifest, Stated


def first_day_kept(cutoff_ms: int) -> int:
    """The first day, since 1970-01-01, that is not wholly before `cutoff_ms`."""
    return cutoff_ms // DAY_MS


def expiry(manifest: Manifest, cutoff_ms: int) -> Commit | None:
    """What takes out all that is too old when everything before `cutoff_ms` is; None when nothing is."""
    oldest = first_day_kept(cutoff_ms) * DAY_MS
    segments = [entry.name for entry in manifest.segments.values() if (entry.day + 1) * DAY_MS <= oldest]
    losses = [loss.segment for loss in manifest.losses.values() if loss.to_ms < oldest]
    files = [entry for entry in manifest.files.values() if _last_ms(entry) < oldest]
    gone = {entry.number for entry in files}
    bared = [
        replace(entry, rejects=())
        for entry in manifest.files.values()
        if entry.rejects and entry.number not in gone and _first_ms(entry) < oldest
    ]
    if not (segments or losses or files or bared):
        return None
    return Commit(
        remove_segments=tuple(segments),
        remove_losses=tuple(losses),
        remove_files=tuple(sorted(gone)),
        add_files=tuple(bared),
        add_stated=_still_covered(manifest, files, oldest),
    )


def _still_covered(manifest: Manifest, removed: list[FileEntry], oldest: int) -> tuple[Stated, ...]:
    """What a source covered before its oldest files were forgotten it still covers, from the oldest day kept on."""
    stated = []
    for source in sorted({entry.source for entry in removed}):
        known = manifest.stated.get(source, Stated(source, None, None))
        earliest = manifest.extents[source].earliest_ms
        if earliest is not None and earliest < oldest and (known.from_ms is None or known.from_ms > oldest):
            stated.append(replace(known, from_ms=oldest))
    return tuple(stated)


def _last_ms(entry: FileEntry) -> int:
    return entry.indexed_ms if entry.latest_ms is None else entry.latest_ms


def _first_ms(entry: FileEntry) -> int:
    return entry.indexed_ms if entry.earliest_ms is None else entry.earliest_ms
