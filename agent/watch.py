"""`hopback-agent watch`: follows every source of the configuration and keeps the index up with it.

Round by round: what files there are, which of them are to be read (`agent.following`), reading them (`agent.ingest`,
which knows contents whatever their names), and saying until when a source is complete. A file that can't be read
doesn't stop the others, a place that can't be reached doesn't stop the other sources. A disk that refuses, most often
because it is full, is said once; questions go on being answered from what is indexed, their coverage ends where it
ended, and indexing goes on by itself once the disk takes bytes again.

A source whose records are written some time after the call at the latest (`[watch.lag]`) is complete until that long
before the last look at it, if everything that was there then is indexed: so a quiet hour is told from a broken line.
Without it, a source is complete until its last record, as ever.

One process writes to an index at a time; this one takes the lock for each batch of files and waits for its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from agent.following import Following
from agent.index.errors import IndexBusyError, IndexWriteError
from agent.intake_report import FileStatus, IngestReport
from agent.places import Place, PlaceError

if TYPE_CHECKING:
    from cdr_adapters.mapping import SourceMapping

_STATED_EVERY: Final = timedelta(seconds=15)
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 60.0
_LONGEST_LOOK_S: Final = 600.0


class StoppedError(Exception):
    """Somebody wants this process to end; what was being read is read again by the next one."""


class Take(Protocol):
    """How files of a source are indexed, as by `agent.ingest.ingest`."""

    def __call__(self, source: SourceMapping, paths: Sequence[Path], complete_until: datetime | None) -> IngestReport:
        """Index them.

        Raises:
            IndexWriteError: the disk refuses. IndexBusyError: another process has been writing for long.
            IndexUnusableError: the index can't be written to at all.
        """
        ...


class Log(Protocol):
    """Where things are told, with a stable name each."""

    def info(self, event: str, **values: object) -> object:
        """Tell of something that went as it should."""
        ...

    def warning(self, event: str, **values: object) -> object:
        """Tell of something that somebody should look at."""
        ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time it is (aware), and seconds that only go forward."""

    now: Callable[[], datetime]
    seconds: Callable[[], float]


@dataclass(slots=True)
class Followed:
    """A source that is followed.

    Attributes:
        source, place: what its records mean, where its files are. following: what is known of these.
        look_every_s: how often the place is looked at. files_at_once: so many are had at the same time; None for all.
        lag: its records are there at the latest so long after their call; None when nobody says so.
        remember: is given the stamps of all files that need not be read again, after some were read.
    """

    source: SourceMapping
    place: Place
    following: Following
    look_every_s: float
    lag: timedelta | None = None
    files_at_once: int | None = None
    remember: Callable[[Mapping[str, Hashable]], None] | None = None
    failures: int = 0
    look_at_s: float = float("-inf")
    looked: datetime | None = None
    trouble: str = ""
    stated: datetime | None = None

    @property
    def is_far(self) -> bool:
        """Whether looking at the place takes so long that it is done no more often than it must."""
        return self.remember is not None


class Watch:
    """Follows sources. Not for use by several threads."""

    def __init__(self, followed: Sequence[Followed], take: Take, log: Log, clocks: Clocks) -> None:
        self._followed = tuple(followed)
        self._take = take
        self._log = log
        self._clocks = clocks
        self._pause_s = 0.0
        self._paused_until_s = float("-inf")
        self._refusal = ""

    def run(self, wait: Callable[[float], None], stop: Callable[[], bool], looked: Callable[[], None]) -> None:
        """Go on until `stop` says so; `looked` is told after every round, `wait` is given how long nothing is due.

        Raises:
            IndexUnusableError: the index can't be written to, for another reason than the disk or another writer.
        """
        while not stop():
            try:
                self.round(stop)
            except StoppedError:
                return
            looked()
            if not stop():
                wait(self.idle_s())

    def catch_up(self, wait: Callable[[float], None], stop: Callable[[], bool], for_s: float) -> bool:
        """Index what is there, waiting up to `for_s` for what was just written to come to rest; whether all went well.

        Raises:
            IndexUnusableError: see `run`.
        """
        until_s = self._clocks.seconds() + for_s
        while not stop():
            try:
                self.round(stop)
            except StoppedError:
                break
            if self.unread == self.failed or self.troubles or self._clocks.seconds() >= until_s:
                break
            wait(min(self.idle_s(), max(0.0, until_s - self._clocks.seconds())))
        return not self.failed and not self.troubles

    def idle_s(self) -> float:
        """For how many seconds there is nothing to do unless something changes."""
        now_s = self._clocks.seconds()
        if now_s < self._paused_until_s:
            return self._paused_until_s - now_s
        return max(0.0, min(min(f.look_at_s, f.following.next_s()) for f in self._followed) - now_s)

    @property
    def unread(self) -> int:
        """How many files wait to be read."""
        return sum(followed.following.unread for followed in self._followed)

    @property
    def failed(self) -> int:
        """How many of these could not be read."""
        return sum(followed.following.refused_now for followed in self._followed)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What keeps sources or the whole from being followed now."""
        return tuple(t for t in (self._refusal, *(followed.trouble for followed in self._followed)) if t)

    def round(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Look at every source once and index what is due.

        Raises:
            StoppedError: `stop` said so between files.
            IndexUnusableError: see `run`.
        """
        for followed in self._followed:
            self._look(followed)
            if self._clocks.seconds() < self._paused_until_s:
                continue
            try:
                self._index(followed, stop)
                self._state(followed)
            except (IndexWriteError, IndexBusyError) as error:
                self._pause(error)

    def _look(self, followed: Followed) -> None:
        now, now_s = self._clocks.now(), self._clocks.seconds()
        if followed.is_far and now_s < followed.look_at_s:
            return
        followed.look_at_s = now_s + followed.look_every_s
        name = followed.source.name
        try:
            listing = followed.place.listing(now.timestamp())
        except PlaceError as error:
            followed.looked = None
            followed.failures += 1
            if followed.is_far:  # others wait while it is waited for
                often = followed.look_every_s * 2.0 ** min(followed.failures - 1, 10)
                followed.look_at_s = self._clocks.seconds() + min(often, max(_LONGEST_LOOK_S, followed.look_every_s))
            if followed.trouble != str(error):
                followed.trouble = str(error)
                self._log.warning("source-unreachable", source=name, problem=followed.trouble)
            return
        if followed.trouble:
            followed.trouble = ""
            self._log.info("source-reachable", source=name)
        followed.looked, followed.failures = now, 0
        for lost in followed.following.notice(listing, now_s):
            self._log.warning("file-gone-unread", source=name, file=Path(lost).name)

    def _index(self, followed: Followed, stop: Callable[[], bool]) -> None:
        for names in _batches(followed.following.due(self._clocks.seconds()), followed.files_at_once):
            if stop():
                raise StoppedError
            with ExitStack() as stack:
                paths: dict[Path, str] = {}
                for name in names:
                    try:
                        paths[stack.enter_context(followed.place.file(name))] = name
                    except PlaceError as error:
                        self._refused(followed, name, str(error), set())
                if not paths:
                    continue
                report = self._taken(followed, list(paths), None)
            self._report(followed, report, paths)
            if followed.remember is not None:
                followed.remember(followed.following.read())

    def _report(self, followed: Followed, report: IngestReport, names: dict[Path, str]) -> None:
        now_s = self._clocks.seconds()
        said: set[str] = set()
        for file in report.files:
            if file.status is FileStatus.FAILED:
                self._refused(followed, names[file.path], file.problem, said)
                continue
            followed.following.taken(names[file.path], now_s)
            if file.status is not FileStatus.ALREADY_INDEXED:
                self._log.info(
                    "indexed",
                    source=followed.source.name,
                    file=file.path.name,
                    calls=file.calls,
                    rejected=sum(file.rejected.values()),
                    until=None if file.latest is None else file.latest.isoformat(),
                )

    def _refused(self, followed: Followed, name: str, problem: str, said: set[str]) -> None:
        """Told when it is new; what is `said` of other files of the batch in the same words is told once."""
        if followed.following.refused(name, self._clocks.seconds()) and problem not in said:
            said.add(problem)
            self._log.warning("file-not-indexed", source=followed.source.name, problem=problem)

    def _state(self, followed: Followed) -> None:
        """Say until when the source is complete: everything that was there when it was looked at is indexed."""
        if followed.lag is None or followed.looked is None or followed.following.unread:
            return
        until = followed.looked - followed.lag
        if followed.stated is None or until - followed.stated >= _STATED_EVERY:
            self._taken(followed, [], until)
            followed.stated = until

    def _taken(self, followed: Followed, paths: Sequence[Path], until: datetime | None) -> IngestReport:
        report = self._take(followed.source, paths, until)
        if self._refusal:
            self._refusal, self._pause_s = "", 0.0
            self._log.info("indexing-resumed", waiting=self.unread)
        return report

    def _pause(self, error: IndexWriteError | IndexBusyError) -> None:
        """Leave the disk, or whoever writes, in peace for a while; said once for each reason."""
        self._pause_s = min(2 * self._pause_s or _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._paused_until_s = self._clocks.seconds() + self._pause_s
        if self._refusal != str(error):
            self._refusal = str(error)
            event = "index-busy" if isinstance(error, IndexBusyError) else "disk-refuses"
            self._log.warning(event, problem=self._refusal)


def _batches(names: Sequence[str], size: int | None) -> Iterator[list[str]]:
    size = size or len(names)
    rest = iter(names)
    while some := list(islice(rest, size)):
        yield some
