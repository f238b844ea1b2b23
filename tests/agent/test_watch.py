"""Following sources: growing and rotated files, broken ones, a full disk, watermarks; with real files and real ingest.

Time stands still but for what a test lets pass.
"""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.following import Following, Seen
from agent.index import Index
from agent.index.coverage import CoverageState
from agent.index.errors import IndexCorruptError
from agent.index.layout import LOCK
from agent.index.writer import IndexWriter
from agent.ingest import IngestReport, ingest
from agent.places import Here, Place, PlaceError
from agent.slices import heading_lines
from agent.watch import Clocks, Followed, StoppedError, Watch
from cdr_adapters.mapping import SourceMapping
from cdr_adapters.read import read_source
from protos.e164 import parse_e164
from tests.index.calls import FORMATS, KEYS, UnsyncedFiles

HEAD = "dnis,start,in_tg\n"
COLUMNS = {
    "called_in": {"column": "dnis", "format": "e164"},
    "seizure": {"column": "start", "format": "epoch_s"},
    "ingress_trunk": {"column": "in_tg"},
}
RETENTION = timedelta(days=30)
BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)


def line(number: int, seconds: float = 0) -> str:
    return f"+12025550{number:03d},{int(BEGIN.timestamp() + seconds)},IN-{number}\n"


class FullDisk(UnsyncedFiles):
    """A disk that has room, or none."""

    def __init__(self) -> None:
        self.is_full = False

    def create(self, path: Path) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return super().create(path)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, data)


class Told:
    """What was logged."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **values: object) -> None:
        self.events.append((event, values))

    warning = info

    def named(self, event: str) -> list[dict[str, object]]:
        return [values for name, values in self.events if name == event]


class Lab:
    """Sources in directories, an index, and a watch whose clock is moved by hand."""

    def __init__(self, directory: Path, *names: str, lag: timedelta | None = None) -> None:
        self.directory = directory
        self.index = directory / "index"
        self.files = FullDisk()
        self.told = Told()
        self.now_s = 1_000.0
        self.watched_from = datetime.now(UTC)
        self.taken: list[tuple[str, list[str], datetime | None]] = []
        self.stop_at = -1
        self.followed = [self.follow(name, lag) for name in names or ("acc",)]
        self.watch = Watch(self.followed, self.take, self.told, Clocks(self.now, lambda: self.now_s))

    def now(self) -> datetime:
        return self.watched_from + timedelta(seconds=self.now_s - 1_000)

    def follow(self, name: str, lag: timedelta | None, place: Place | None = None) -> Followed:
        (self.directory / name).mkdir()
        source = SourceMapping.model_validate(
            {"name": name, "path": str(self.directory / name / "*"), "format": "delimited", "columns": COLUMNS}
        )
        in_lines = heading_lines(source) is not None
        return Followed(source, place or Here(source), Following(in_lines=in_lines, every_s=10, rest_s=10), 10, lag)

    def take(self, source: SourceMapping, paths: Sequence[Path], complete_until: datetime | None) -> IngestReport:
        self.taken.append((source.name, [path.name for path in paths], complete_until))
        return ingest(
            paths,
            source,
            FORMATS,
            self.index,
            KEYS,
            self.now(),
            complete_until=complete_until,
            following=True,
            read=read_source,
            files=self.files,
        )

    def path(self, name: str, source: str = "acc") -> Path:
        return self.directory / source / name

    def append(self, name: str, text: str, source: str = "acc") -> None:
        path = self.path(name, source)
        with path.open("a") as file:
            if not path.stat().st_size:
                file.write(HEAD)
            file.write(text)

    def after(self, seconds: float) -> None:
        """Let time pass, then look."""
        self.now_s += seconds
        self.watch.round()

    def found(self, number: int) -> int:
        """How many calls to a number there are."""
        called = parse_e164(f"+12025550{number:03d}")
        return len(Index.open(self.index, KEYS).find(called, None, BEGIN, BEGIN + timedelta(hours=2)))

    def state(self, at: datetime) -> CoverageState:
        return Index.open(self.index, KEYS).coverage().state(at, at, self.now(), RETENTION)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


class TestAGrowingFile:
    def test_is_indexed_line_by_line_and_nothing_twice(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))
        lab.after(0)
        lab.after(1)
        assert lab.found(1) == 1
        lab.append("a.csv", line(2, 10))
        lab.after(1)
        assert lab.found(2) == 0  # not so soon again
        lab.after(10)
        assert (lab.found(1), lab.found(2)) == (1, 1)
        assert [told["calls"] for told in lab.told.named("indexed")] == [1, 1]

    def test_may_end_in_half_a_line_that_waits_for_its_end(self, lab: Lab) -> None:
        whole = line(2, 10)
        lab.append("a.csv", line(1) + whole[:-9])
        lab.after(0)
        lab.after(1)
        assert (lab.found(1), lab.found(2)) == (1, 0)
        lab.append("a.csv", whole[-9:])
        lab.after(0)
        lab.after(10)
        assert (lab.found(1), lab.found(2)) == (1, 1)

    def test_is_one_file_when_it_is_rotated_and_packed(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))
        lab.after(1)
        lab.append("a.csv", line(2, 10))
        lab.path("a.csv").rename(lab.path("a.csv.1"))
        lab.append("a.csv", line(3, 20))
        lab.after(0)
        lab.after(11)
        assert [lab.found(number) for number in (1, 2, 3)] == [1, 1, 1]
        content = lab.path("a.csv.1").read_bytes()
        lab.path("a.csv.1.gz").write_bytes(gzip.compress(content))
        lab.path("a.csv.1").unlink()
        lab.after(0)
        lab.after(11)
        assert [lab.found(number) for number in (1, 2, 3)] == [1, 1, 1]
        coverage = Index.open(lab.index, KEYS).coverage().sources[0]
        assert (coverage.records, coverage.files) == (3, 2)
        assert lab.told.named("file-gone-unread") == []

    def test_that_goes_away_unread_is_told(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))
        lab.after(0)
        lab.path("a.csv").unlink()
        lab.after(1)
        assert lab.told.named("file-gone-unread") == [{"source": "acc", "file": "a.csv"}]


class TestAfterARestart:
    def test_what_is_indexed_is_not_read_again(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))
        lab.after(0)
        lab.after(1)
        following = Following(in_lines=True, every_s=10, rest_s=10)
        followed = Followed(lab.followed[0].source, lab.followed[0].place, following, 10)
        again = Watch([followed], lab.take, lab.told, Clocks(lab.now, lambda: lab.now_s))
        before = len(lab.told.named("indexed"))
        again.round()
        lab.now_s += 5
        again.round()
        assert len(lab.told.named("indexed")) == before
        assert again.unread == 0
        assert lab.found(1) == 1


class TestAFileThatCannotBeRead:
    def test_is_told_and_keeps_no_other_from_being_indexed(self, lab: Lab) -> None:
        lab.append("b.csv", line(2))
        lab.path("a.csv").write_text("quite,different\n1,2\n")
        lab.after(0)
        lab.after(1)
        assert lab.found(2) == 1
        (told,) = lab.told.named("file-not-indexed")
        assert "a.csv" in str(told["problem"])
        assert (lab.watch.unread, lab.watch.failed) == (1, 1)

    def test_is_tried_again_without_a_word_and_indexed_once_it_is_whole(self, lab: Lab) -> None:
        lab.path("a.csv").write_text("quite,different\n1,2\n")
        lab.after(1)
        for _ in range(4):
            lab.after(20)
        assert len(lab.told.named("file-not-indexed")) == 1
        lab.path("a.csv").write_text(HEAD + line(1))
        lab.after(0)
        lab.after(11)
        assert lab.found(1) == 1
        assert lab.watch.failed == 0

    def test_keeps_no_other_source_from_being_followed(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path, "bad", "good")
        lab.path("a.csv", "bad").write_text("quite,different\n1,2\n")
        lab.append("b.csv", line(2), "good")
        lab.after(0)
        lab.after(1)
        assert lab.found(2) == 1


class Nowhere:
    """A place that can't be reached, or from which no file can be had."""

    def __init__(self, inner: Place) -> None:
        self.inner = inner
        self.is_down = self.is_dumb = False

    def listing(self, now_s: float) -> Mapping[str, Seen]:
        if self.is_down:
            raise PlaceError("sftp://switch/cdr/: it can't be reached: no answer")
        return self.inner.listing(now_s)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        if self.is_dumb:
            raise PlaceError(f"{name}: access denied")
        with self.inner.file(name) as path:
            yield path


class TestAPlaceThatCannotBeReached:
    def test_is_told_once_and_followed_again_by_itself(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path, "far", "near", lag=timedelta(minutes=5))
        far = Nowhere(lab.followed[0].place)
        lab.followed[0].place = far
        far.is_down = True
        lab.append("a.csv", line(1), "far")
        lab.append("b.csv", line(2), "near")
        for _ in range(3):
            lab.after(20)
        assert lab.found(2) == 1
        assert [told["source"] for told in lab.told.named("source-unreachable")] == ["far"]
        assert lab.watch.troubles
        assert {name for name, _, until in lab.taken if until is not None} == {"near"}
        far.is_down = False
        lab.after(20)
        assert lab.found(1) == 1
        assert len(lab.told.named("source-reachable")) == 1
        assert lab.watch.troubles == ()

    def test_from_which_a_file_cannot_be_had_is_tried_again(self, lab: Lab) -> None:
        far = Nowhere(lab.followed[0].place)
        lab.followed[0].place = far
        far.is_dumb = True
        lab.append("a.csv", line(1))
        lab.after(0)
        lab.after(1)
        assert "access denied" in str(lab.told.named("file-not-indexed"))
        assert lab.taken == []
        far.is_dumb = False
        lab.after(30)
        assert lab.found(1) == 1


class TestAFullDisk:
    def test_is_told_once_answers_go_on_and_indexing_does_by_itself(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))
        lab.after(0)
        lab.after(1)
        lab.files.is_full = True
        lab.append("a.csv", line(2, 3600))
        for _ in range(6):
            lab.after(70)
            assert lab.found(1) == 1
        (told,) = lab.told.named("disk-refuses")
        assert "No space left on device" in str(told["problem"])
        assert lab.state(BEGIN + timedelta(seconds=3600)) is CoverageState.NOT_YET
        assert lab.watch.troubles
        lab.files.is_full = False
        lab.after(70)
        assert lab.found(2) == 1
        assert lab.state(BEGIN + timedelta(seconds=3600)) is CoverageState.COVERED
        assert len(lab.told.named("indexing-resumed")) == 1
        assert lab.watch.troubles == ()

    def test_is_not_asked_again_and_again(self, lab: Lab) -> None:
        lab.files.is_full = True
        lab.append("a.csv", line(1))
        lab.after(5)
        tried = len(lab.taken)
        for _ in range(4):
            lab.after(1)
        assert len(lab.taken) == tried
        assert lab.watch.idle_s() == pytest.approx(1)


class TestAnotherWriter:
    def test_is_waited_for(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))
        lab.after(0)
        with IndexWriter(lab.index, KEYS, UnsyncedFiles()):
            lab.after(1)
        (told,) = lab.told.named("index-busy")
        assert LOCK in str(told["problem"])
        lab.after(60)
        assert lab.found(1) == 1


class TestAnIndexThatCannotBeWrittenTo:
    def test_ends_all(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))
        lab.after(1)
        (lab.index / "MANIFEST").write_text("nonsense\n")
        lab.append("a.csv", line(2))
        lab.after(20)
        with pytest.raises(IndexCorruptError):
            lab.after(20)


class TestTheWatermark:
    def test_is_that_of_the_last_record_when_nobody_says_more(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))
        lab.after(0)
        lab.after(1)
        assert lab.state(BEGIN) is CoverageState.COVERED
        assert lab.state(BEGIN + timedelta(seconds=2)) is CoverageState.NOT_YET

    def test_goes_on_in_a_quiet_hour_when_it_is_said_how_late_records_are(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path, lag=timedelta(minutes=5))
        lab.append("a.csv", line(1))
        lab.after(0)
        lab.after(1)
        lab.after(20)
        looked = lab.followed[0].looked
        assert looked is not None
        assert lab.state(looked - timedelta(minutes=5, seconds=1)) is CoverageState.COVERED
        assert lab.state(looked - timedelta(minutes=4)) is CoverageState.NOT_YET

    def test_is_not_said_anew_all_the_time(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path, lag=timedelta(minutes=5))
        for _ in range(30):
            lab.after(1)
        assert len(lab.taken) == 2

    def test_stands_still_while_a_file_waits_or_cannot_be_read(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path, lag=timedelta(minutes=5))
        lab.append("a.csv", line(1))
        lab.after(0)
        assert lab.taken == []
        lab.after(1)
        lab.path("b.csv").write_text("quite,different\n1,2\n")
        lab.after(30)
        said = [until for _, _, until in lab.taken if until is not None]
        lab.after(600)
        assert [until for _, _, until in lab.taken if until is not None] == said
        lab.path("b.csv").unlink()
        lab.after(60)
        assert len([until for _, _, until in lab.taken if until is not None]) == len(said) + 1

    def test_stands_still_while_the_disk_is_full(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path, lag=timedelta(minutes=5))
        lab.append("a.csv", line(1))
        lab.after(1)
        before = lab.followed[0].stated
        lab.files.is_full = True
        for _ in range(5):
            lab.after(100)
        assert lab.followed[0].stated == before
        lab.files.is_full = False
        lab.after(100)
        assert lab.followed[0].stated != before


class TestGoingOn:
    def test_waits_until_something_is_due_and_ends_when_asked(self, lab: Lab) -> None:
        waits: list[float] = []
        lab.append("a.csv", line(1))

        def wait(seconds: float) -> None:
            waits.append(seconds)
            lab.now_s += seconds

        looks: list[int] = []
        lab.watch.run(wait, lambda: len(waits) >= 3, lambda: looks.append(lab.watch.unread))
        assert waits[0] == pytest.approx(0.5, abs=0.5)
        assert looks[-1] == 0
        assert lab.found(1) == 1
        assert waits[-1] <= 10

    def test_ends_between_files_when_asked(self, tmp_path: Path) -> None:
        lab = Lab(tmp_path)
        lab.followed[0].files_at_once = 1
        for number in range(3):
            lab.append(f"{number}.csv", line(number))
        lab.watch.round()
        lab.now_s += 1
        with pytest.raises(StoppedError):
            lab.watch.round(lambda: len(lab.taken) == 2)
        assert [names for _, names, _ in lab.taken] == [["0.csv"], ["1.csv"]]
        lab.after(20)
        assert [lab.found(number) for number in range(3)] == [1, 1, 1]

    def test_catches_up_with_what_comes_to_rest(self, lab: Lab) -> None:
        lab.append("a.csv", line(1))

        def wait(seconds: float) -> None:
            lab.now_s += seconds

        assert lab.watch.catch_up(wait, lambda: False, 13) is True
        assert lab.found(1) == 1
        lab.path("b.csv").write_text("quite,different\n1,2\n")
        assert lab.watch.catch_up(wait, lambda: False, 13) is False


def test_files_of_other_formats_are_read_at_rest(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.followed[0].following = Following(in_lines=False, every_s=10, rest_s=10)
    lab.append("a.csv", line(1))
    lab.after(0)
    lab.append("a.csv", line(2))
    lab.after(6)
    lab.after(6)
    assert lab.taken == []
    lab.after(6)
    assert (lab.found(1), lab.found(2)) == (1, 1)
