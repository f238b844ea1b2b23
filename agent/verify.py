"""Whether an index is sound, re-derived from its files alone: nothing is taken on the word of who wrote it.

Every line of the manifest's log; every byte of every segment that counts: pages against their checksums, keys in order,
the histogram, the dictionary and the numbers that came in decrypted, counts, times and the longest interval as stated;
the secret of every day that has rows; the files of rejected rows; and whether the files on disk are those that are
named. What is broken is told by file, with the source files that have to be indexed again.

Only reads, and takes no lock: indexing and answering go on. A segment that was merged away meanwhile is no longer
asked for. What nobody names is told but breaks nothing: the next writer removes it, or one is at work now.

Can't tell: whether the rows are those of the source files (index them again to know), and whether somebody who has the
root key and the directory has written another index that is sound in itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from agent.index import manifest as manifests
from agent.index.arena import Arena
from agent.index.days import DaySecrets
from agent.index.errors import DaySecretError, IndexCorruptError, UnknownVersionError
from agent.index.keys import Keys
from agent.index.layout import (
    DAY_MS,
    DAYS,
    GENERATION,
    HIDDEN,
    LOCK,
    MANIFEST,
    QUARANTINE,
    REJECTS,
    SEGMENTS,
    day_key_name,
    time_of,
)
from agent.index.manifest import Loss, Manifest, SegmentEntry
from agent.index.quarantine import problem_of
from agent.index.segment import Segment

Progress = Callable[[int, int], None]
"""Told after every segment: bytes that were read, and bytes in all."""

_ADDRESSES: Final = 1 << 32
_BLOCK: Final = 4 << 20
_PARTS: Final = (SEGMENTS, DAYS, REJECTS, QUARANTINE)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is broken.

    Attributes:
        file: where, relative to the index directory. what: what is wrong with it.
        remedy: what to do.
        source: whose rows are concerned, None when all may be. earliest, latest: the time that they touch, if known.
        read_again: source and name of the source files to index again.
    """

    file: str
    what: str
    remedy: str
    source: str | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    read_again: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something to know about a file that keeps nothing from being right."""

    file: str
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        directory: of the index. generation: the number of the last commit that was read.
        segments, days, rows, bytes: what was read of it, and counts. problems: what is broken. notes: what is not.
    """

    directory: Path
    generation: int = 0
    segments: int = 0
    days: int = 0
    rows: int = 0
    bytes: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems


@dataclass(slots=True)
class _Found:
    """What is found on the way."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    segments: int = 0
    days: set[int] = field(default_factory=set)


def verify(directory: Path, keys: Keys, progress: Progress | None = None) -> Verdict:
    """Read all of an index.

    Raises:
        WrongKeyError: it was made with another root key.
        UnknownVersionError: its manifest is of a version that this release does not read.
    """
    found = _Found()
    word = _word(directory / GENERATION)  # before the manifest: it must never be ahead of that
    manifest = _manifest(directory / MANIFEST, keys, found)
    if manifest is None:
        return Verdict(directory, problems=tuple(found.problems), notes=tuple(found.notes))
    is_log_whole = not found.problems
    if is_log_whole:
        _check_word(word, manifest, found)
    secrets = DaySecrets(directory, keys)
    lacking = _check_days(manifest, directory, secrets, found)
    _check_segments(manifest, directory, secrets, lacking, found, progress or _silent)
    found.problems += [_loss(loss, manifest, directory) for loss in manifest.losses.values()]
    _check_rejects(manifest, directory, found)
    if is_log_whole:
        _note_strays(directory, keys, found)
    return Verdict(
        directory,
        manifest.generation,
        found.segments,
        len(found.days),
        found.rows,
        found.bytes,
        tuple(found.problems),
        tuple(found.notes),
    )


def _silent(done: int, of: int) -> None:
    del done, of


# --- the manifest


def _manifest(path: Path, keys: Keys, found: _Found) -> Manifest | None:
    """What the log says as far as it can be read; None when nothing can."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if any((path.parent / SEGMENTS).glob("*.seg")):
            found.problems.append(Problem(MANIFEST, "missing, though there are segments", manifests.REMEDY))
        else:
            found.problems.append(
                Problem(MANIFEST, "missing: there is no index in this directory", "check [index] directory, or index")
            )
        return None
    except OSError as error:
        found.problems.append(Problem(MANIFEST, f"can't be read ({error.strerror})", "put the disk right"))
        return None
    try:
        taken = manifests.decode(data, path)
    except UnknownVersionError:
        raise
    except IndexCorruptError:
        return _as_far_as_whole(data, path, keys, found)
    taken.manifest.require_key(keys, path)
    if taken.length < len(data):
        torn = len(data) - taken.length
        found.notes.append(Note(MANIFEST, f"its last {torn} bytes break off: being written, or cut by the next writer"))
    return taken.manifest


def _as_far_as_whole(data: bytes, path: Path, keys: Keys, found: _Found) -> Manifest | None:
    """The state before the first line that is broken, which is named."""
    lines = data.splitlines(keepends=True)
    manifest = None
    for number, line in enumerate(lines, 1):
        try:
            if manifest is None:
                manifest = manifests.decode(line, path).manifest
            else:
                # a line that follows makes a broken last one an altered one, not one that breaks off
                manifest = manifests.decode_more(manifest, line, path).manifest
        except IndexCorruptError as error:
            where = f"line {number} of {len(lines)}: {error.problem}"
            found.problems.append(Problem(MANIFEST, where, manifests.REMEDY))
            break
    if manifest is not None:
        manifest.require_key(keys, path)
    return manifest


def _word(path: Path) -> int | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return int.from_bytes(data, "little") if len(data) == 8 else -1


def _check_word(word: int | None, manifest: Manifest, found: _Found) -> None:
    """The word for readers: never ahead of the log, or commits that were made are not there any more."""
    if word is None:
        found.notes.append(Note(GENERATION, "missing: readers look at the manifest instead; the next writer makes it"))
    elif word < 0:
        found.notes.append(Note(GENERATION, "torn: readers look at the manifest instead; the next writer makes it"))
    elif word > manifest.generation:
        lost = word - manifest.generation
        what = f"its last {lost} commits are gone: it ends with number {manifest.generation}, but {word} were made"
        found.problems.append(Problem(MANIFEST, what, "index the files that came last again"))


# --- days and segments


def _check_days(manifest: Manifest, directory: Path, secrets: DaySecrets, found: _Found) -> set[int]:
    """The days whose secrets can't be used."""
    lacking = set()
    by_day: dict[int, list[SegmentEntry]] = {}
    for entry in manifest.segments.values():
        by_day.setdefault(entry.day, []).append(entry)
    for day, entries in sorted(by_day.items()):
        try:
            secrets.day(day)
        except DaySecretError as error:
            if day not in {e.day for e in _now(directory, manifest).segments.values()}:
                continue  # expired meanwhile
            lacking.add(day)
            numbers = {number for entry in entries for number in entry.files}
            found.problems.append(
                Problem(
                    f"{DAYS}/{day_key_name(day)}",
                    error.problem,
                    "restore it from a copy, or index the source files of that day again",
                    earliest=time_of(min(entry.earliest_ms for entry in entries)),
                    latest=time_of(max(entry.latest_ms + entry.longest_ms for entry in entries)),
                    read_again=_names(numbers, manifest),
                )
            )
    return lacking


def _check_segments(
    manifest: Manifest,
    directory: Path,
    secrets: DaySecrets,
    lacking: set[int],
    found: _Found,
    progress: Progress,
) -> None:
    """Read the segments that count, and those that take their places while they are read."""
    done: set[str] = set()
    doubtful: list[tuple[SegmentEntry, str]] = []
    waiting = list(manifest.segments.values())
    for _ in range(3):  # what is merged again and again meanwhile is left to the next time
        total = found.bytes + sum(entry.size for entry in waiting)
        for entry in sorted(waiting, key=lambda entry: entry.name):
            done.add(entry.name)
            problem = _problem(directory / SEGMENTS / entry.name, entry, secrets, entry.day in lacking)
            if problem is not None:
                doubtful.append((entry, problem))
                continue
            found.segments += 1
            found.rows += entry.rows
            found.bytes += entry.size
            found.days.add(entry.day)
            progress(found.bytes, total)
        now = _now(directory, manifest)
        waiting = [entry for entry in now.segments.values() if entry.name not in done]
        if not waiting:
            break
    for entry, problem in doubtful:
        if entry.name in now.segments or now.generation == manifest.generation:
            found.problems.append(_broken(entry, problem, manifest))


def _problem(path: Path, entry: SegmentEntry, secrets: DaySecrets, is_sealed: bool) -> str | None:
    """What is wrong with a segment; when its day's secret is missing, as far as that can be told without."""
    try:
        _read(path)  # an error of the disk comes as one here, and would end the process where the file is mapped
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    midnight = entry.day * DAY_MS
    if not midnight <= entry.earliest_ms <= entry.latest_ms < midnight + DAY_MS:
        return "the manifest's times of it are not those of its day"
    if is_sealed:
        return _pages_problem(path, entry, secrets)
    return problem_of(path, entry, secrets)


def _pages_problem(path: Path, entry: SegmentEntry, secrets: DaySecrets) -> str | None:
    """What is wrong with a segment that can be seen without its day's secret."""
    problem = problem_of(path, entry, secrets, thorough=False)
    if problem is None:
        try:
            Segment(path, entry, secrets, Arena(max(_ADDRESSES, 4 * entry.size))).verify_pages()
        except IndexCorruptError as error:
            return error.problem
    return problem


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(_BLOCK):
            pass


def _broken(entry: SegmentEntry, problem: str, manifest: Manifest) -> Problem:
    return Problem(
        f"{SEGMENTS}/{entry.name}",
        problem,
        "index these source files again: what is broken is then put aside and made anew",
        entry.source,
        time_of(entry.earliest_ms),
        time_of(entry.latest_ms + entry.longest_ms),
        read_again=_names(entry.files, manifest),
    )


def _loss(loss: Loss, manifest: Manifest, directory: Path) -> Problem:
    where = f"{QUARANTINE}/{loss.segment}"
    return Problem(
        where if (directory / where).exists() else f"{SEGMENTS}/{loss.segment}",
        f"put aside ({loss.reason}); its time counts as not covered",
        "index these source files again",
        loss.source,
        time_of(loss.from_ms),
        time_of(loss.to_ms),
        read_again=_names(loss.files, manifest),
    )


def _names(numbers: Iterable[int], manifest: Manifest) -> tuple[tuple[str, str], ...]:
    entries = (manifest.files[number] for number in sorted(set(numbers)) if number in manifest.files)
    return tuple(dict.fromkeys((entry.source, entry.file) for entry in entries))


# --- what lies beside


def _check_rejects(manifest: Manifest, directory: Path, found: _Found) -> None:
    """The rows that were kept aside: their files must be there, and every line must be what a person can look at."""
    for entry in manifest.files.values():
        for name in entry.rejects:
            try:
                problem = _rejects_problem(directory / REJECTS / name)
            except FileNotFoundError:
                now = _now(directory, manifest).files.get(entry.number)
                if now is None or name not in now.rejects:
                    continue
                problem = "missing"
            except OSError as error:
                problem = f"can't be read ({error.strerror})"
            if problem is not None:
                remedy = "index this file with --again, if its rejected rows are still wanted"
                found.problems.append(
                    Problem(
                        f"{REJECTS}/{name}", problem, remedy, entry.source, read_again=((entry.source, entry.file),)
                    )
                )


def _rejects_problem(path: Path) -> str | None:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            if not line.endswith(b"\n") or not isinstance(said, dict) or not {"row", "reason", "raw"} <= said.keys():
                return f"line {number} is torn or altered"
    return None


def _note_strays(directory: Path, keys: Keys, found: _Found) -> None:
    """Files that nobody names: left by a writer that was interrupted, or being written at this moment."""
    before = {part: _listed(directory / part) for part in ("", *_PARTS)}
    manifest = _now(directory, Manifest(keys.check.hex()))
    days = {entry.day for entry in manifest.segments.values()}
    named = {
        "": {MANIFEST, GENERATION, LOCK, *_PARTS},
        SEGMENTS: {*manifest.segments, *manifest.losses},
        DAYS: {day_key_name(day) for day in days},
        REJECTS: {name for entry in manifest.files.values() for name in entry.rejects},
        QUARANTINE: set(manifest.losses),
    }
    for part, names in before.items():
        for name in sorted(names - named[part]):
            if part == "" and not name.startswith(HIDDEN):
                continue  # no business of ours
            what = "counts for nothing: left by a writer that was interrupted, or being written now"
            if part == DAYS and not name.startswith(HIDDEN):
                what = "a secret of a day without rows: left by a writer that was interrupted, or about to be used"
            found.notes.append(Note(f"{part}/{name}" if part else name, what))


def _listed(directory: Path) -> set[str]:
    try:
        return set(os.listdir(directory))  # noqa: PTH208 - names are all that is wanted
    except FileNotFoundError:
        return set()


def _now(directory: Path, before: Manifest) -> Manifest:
    """What the manifest says at this moment; what it said before when it can't be read now."""
    path = directory / MANIFEST
    try:
        return manifests.decode(path.read_bytes(), path).manifest
    except (OSError, IndexCorruptError, UnknownVersionError):
        return before


def exit_code(verdict: Verdict) -> int:
    """0 for a sound index, 1 for a broken one."""
    return 0 if verdict.is_sound else 1


def read_again(problems: Sequence[Problem]) -> dict[str, list[str]]:
    """The source files to index again, by source."""
    files: dict[str, dict[str, None]] = {}
    for problem in problems:
        for source, file in problem.read_again:
            files.setdefault(source, {})[file] = None
    return {source: list(names) for source, names in sorted(files.items())}
