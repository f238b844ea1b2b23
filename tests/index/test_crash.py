"""Whatever step of writing is the last one before a crash, the old state or the new one is there, and work goes on.

The steps are counted at the seam through which an index changes the disk. A crash is one of: the process is killed
before a step; it is killed in the middle of a write; the power goes, and with it what was not fsynced. A disk that
refuses a step (EIO, ENOSPC), once or from then on, is not a crash: the process lives and says so.

What is written: new files and files that have grown; segments that are merged; days that are destroyed; broken segments
that are put aside; files whose mapping has changed; and the manifest anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from agent.index import Index
from agent.index.errors import IndexUnusableError, IndexWriteError
from agent.index.files import Files
from agent.index.layout import DAY_MS
from agent.index.manifest import Commit, Stated
from agent.index.writer import IndexWriter
from agent.ingest import FileStatus, IngestReport, ingest
from agent.maintenance import maintain
from tests.index.calls import ALICE, CAROL, FORMATS, KEYS, NOON, NOW, UNSYNCED, Call, at, mapping, reader, write
from tests.index.faults import DEADLY, REFUSING, FaultyFiles, Killed

RETENTION = timedelta(days=2)
EXPIRED = NOON - 4 * DAY_MS
OLD: list[Call | str] = [Call(earliest=NOON + number) for number in range(3)]
NEW: list[Call | str] = [*OLD, "bad row", Call(CAROL, ALICE, earliest=NOON + 40)]
OTHER: list[Call | str] = [Call(earliest=NOON + 50 + number) for number in range(2)]
ANCIENT: list[Call | str] = ["bad row of old", *(Call(earliest=EXPIRED + number) for number in range(2))]


class Lab:
    """An index on disk, prepared once and brought back to its beginning before each crash."""

    states: tuple[list[int], ...]
    searched: tuple[tuple[int, int], ...] = ((NOON - 9 * DAY_MS, NOON + 1000),)

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.index = directory / "index"
        self._prepared = directory / "prepared"
        self.prepare()
        shutil.copytree(self.index, self._prepared)

    def begin(self) -> None:
        shutil.rmtree(self.index, ignore_errors=True)
        shutil.copytree(self._prepared, self.index)

    def prepare(self) -> None:
        """Make the beginning."""
        raise NotImplementedError

    def work(self, files: Files) -> object:
        """What is interrupted."""
        raise NotImplementedError

    def ingest(self, paths: list[Path], files: Files = UNSYNCED, **more: object) -> IngestReport:
        return ingest(
            paths,
            mapping(),
            FORMATS,
            self.index,
            KEYS,
            NOW,
            read=reader(2),
            files=files,
            rows_per_run=3,
            files_per_commit=1,
            **more,  # type: ignore[arg-type]
        )

    def file(self, name: str, calls: list[Call | str]) -> Path:
        return write(self.directory / name, calls)

    def times(self) -> list[int]:
        index = Index.open(self.index, KEYS)
        legs = [leg for begin, end in self.searched for leg in index.find(ALICE, None, at(begin), at(end))]
        return [(leg.earliest - at(NOON)) // timedelta(milliseconds=1) for leg in legs]

    def require_whole(self) -> None:
        """The last state, nothing doubled, nothing left over."""
        index = Index.open(self.index, KEYS)
        index.verify()
        assert self.times() == self.states[-1]
        named = (self.index / "MANIFEST").read_text()
        days = {path.name[:8] for path in (self.index / "segments").iterdir()}
        for path in self.index.rglob("*.*"):
            assert path.name in named or path.name in {f"{day}.key" for day in days}, f"{path.name} is left over"


class Ingest(Lab):
    """A file that has grown, and a new one."""

    states: tuple[list[int], ...] = ([0, 1, 2], [0, 1, 2, 40], [0, 1, 2, 40, 50, 51])

    def prepare(self) -> None:
        self.paths = [self.file("a.txt", OLD)]
        self.ingest(self.paths)
        self.paths = [self.file("a.txt", NEW), self.file("b.txt", OTHER)]

    def work(self, files: Files) -> IngestReport:
        return self.ingest(self.paths, files)

    def require_whole(self) -> None:
        super().require_whole()
        (source,) = Index.open(self.index, KEYS).coverage().sources
        assert (source.records, source.files) == (6, 2)
        assert len(list((self.index / "rejects").iterdir())) == 1


class Together(Ingest):
    """The same, when both begin to count together."""

    states = (Ingest.states[0], Ingest.states[-1])

    def work(self, files: Files) -> IngestReport:
        return ingest(self.paths, mapping(), FORMATS, self.index, KEYS, NOW, read=reader(2), files=files)


class Runs(Lab):
    """A file of more rows than memory holds, over two days."""

    states = ([], [*range(-DAY_MS, 4 - DAY_MS), *range(4)])

    def prepare(self) -> None:
        self.ingest([])
        calls: list[Call | str] = [Call(earliest=NOON + n - d * DAY_MS) for n in range(4) for d in (0, 1)]
        self.paths = [self.file("a.txt", calls)]

    def work(self, files: Files) -> IngestReport:
        return self.ingest(self.paths, files)


class Renewal(Ingest):
    """The mapping has changed; the rows of all files are replaced at once."""

    states = ([0, 1, 2, 40, 50, 51], [0, 1, 2, 40, 50, 51])

    def prepare(self) -> None:
        super().prepare()
        self.ingest(self.paths)

    def work(self, files: Files) -> IngestReport:
        changed = mapping(clock_offset="1s")
        return ingest(
            self.paths, changed, FORMATS, self.index, KEYS, NOW, read=reader(2), files=files, files_per_commit=1
        )


class Maintenance(Lab):
    """Segments to merge, a day to destroy with its rejected rows, a broken segment to put aside."""

    kept = (*range(10, 16),)
    searched = ((EXPIRED, EXPIRED + 1000), (NOON, NOON + 1000))  # between them lies the broken segment
    states = ([-4 * DAY_MS, 1 - 4 * DAY_MS, *kept], [*kept])

    def prepare(self) -> None:
        self.ingest([self.file("ancient.txt", ANCIENT)])
        for number in range(6):
            calls: list[Call | str] = [Call(earliest=NOON + 10 + number), Call(earliest=NOON + 10)]
            self.ingest([self.file(f"{number}.txt", calls)])
        self.ingest([self.file("lost.txt", [Call(CAROL, earliest=NOON - DAY_MS)])])
        self.broken = min(
            (path for path in (self.index / "segments").iterdir() if path.name.startswith("20261121")),
            key=lambda path: path.name,
        )
        data = bytearray(self.broken.read_bytes())
        data[4096 + 100] ^= 1
        self.broken.write_bytes(data)

    def work(self, files: Files) -> object:
        done = maintain(self.index, KEYS, NOW, RETENTION, suspects=[self.broken.name], files=files)
        assert not done.busy
        return done

    def require_whole(self) -> None:
        super().require_whole()
        assert len(list((self.index / "segments").iterdir())) == 1
        assert [path.name for path in (self.index / "quarantine").iterdir()] == [self.broken.name]
        assert list((self.index / "rejects").iterdir()) == []
        (source,) = Index.open(self.index, KEYS).coverage().sources
        assert source.lost == ((at(NOON - DAY_MS), at(NOON - DAY_MS)),)


class Snapshot(Ingest):
    """The manifest is written anew after every commit."""

    def work(self, files: Files) -> IngestReport:
        before = IndexWriter.log_may_have
        IndexWriter.log_may_have = 0
        try:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("agent.index.writer._LOG_MAY_GROW", 0)
                return super().work(files)
        finally:
            IndexWriter.log_may_have = before


class First(Lab):
    """The very first run."""

    states = ([], [0, 1, 2])

    def prepare(self) -> None:
        self.index.mkdir()
        self.paths = [self.file("a.txt", OLD)]

    def begin(self) -> None:
        shutil.rmtree(self.index, ignore_errors=True)

    def work(self, files: Files) -> IngestReport:
        return self.ingest(self.paths, files)


LABS: tuple[Callable[[Path], Lab], ...] = (
    Ingest,
    Together,
    Runs,
    Renewal,
    Maintenance,
    Snapshot,
    First,
)
FEWEST_POINTS = 1500


def crash(lab: Lab, fatal: int, fault: str) -> FaultyFiles:
    files = FaultyFiles(fatal, fault)
    with suppress(Killed):
        lab.work(files)
    if fault == "power" and files.fired:
        files.power_cut()
    return files


def points(lab: Lab, fault: str) -> Iterator[FaultyFiles]:
    """A crash at every step, each from the same beginning."""
    for fatal in range(10_000):
        lab.begin()
        files = crash(lab, fatal, fault)
        if not files.fired:
            assert fatal > 15, "hardly any step was seen"
            return
        yield files


@pytest.mark.parametrize("make", LABS)
class TestCrash:
    @pytest.mark.parametrize("fault", DEADLY)
    def test_at_any_step_leaves_a_whole_state_and_the_next_run_completes_it(
        self, tmp_path: Path, make: Callable[[Path], Lab], fault: str
    ) -> None:
        lab = make(tmp_path)
        seen = []
        for files in points(lab, fault):
            state = lab.times()
            assert state in lab.states, f"after step {len(files.steps)} ({files.steps[-1]})"
            seen.append(lab.states.index(state))
            lab.work(UNSYNCED)
            lab.require_whole()
        assert seen == sorted(seen), "a later crash never leaves an earlier state"
        assert seen[0] == 0

    @pytest.mark.parametrize("fault", DEADLY)
    def test_during_recovery_too(self, tmp_path: Path, make: Callable[[Path], Lab], fault: str) -> None:
        lab = make(tmp_path)
        lab.begin()
        files = FaultyFiles(10_000, fault)
        lab.work(files)
        total = len(files.steps)
        for first in range(1, total, max(total // 6, 1)):
            for second in range(0, 16, 3):
                lab.begin()
                assert crash(lab, first, fault).fired
                before = lab.times()
                crash(lab, second, fault)
                assert lab.times() in lab.states[lab.states.index(before) :]
                lab.work(UNSYNCED)
                lab.require_whole()

    @pytest.mark.parametrize("fault", REFUSING)
    def test_of_the_disk_is_said_and_leaves_a_whole_state(
        self, tmp_path: Path, make: Callable[[Path], Lab], fault: str
    ) -> None:
        lab = make(tmp_path)
        for fatal in range(10_000):
            lab.begin()
            files = FaultyFiles(fatal, fault)
            try:
                lab.work(files)
            except IndexWriteError as error:
                assert str(lab.index) in str(error)  # noqa: PT017 (only some of the runs fail)
            else:
                assert not files.fired
                break
            assert files.fired
            assert lab.times() in lab.states
            lab.work(UNSYNCED)
            lab.require_whole()

    def test_after_the_work_was_reported_loses_nothing_of_it(self, tmp_path: Path, make: Callable[[Path], Lab]) -> None:
        lab = make(tmp_path)
        lab.begin()
        files = FaultyFiles(10_000, "power")
        lab.work(files)
        files.power_cut()
        assert lab.times() == lab.states[-1]


def test_the_sweep_goes_over_enough_steps(tmp_path: Path) -> None:
    """The tests above stop the world at every step of each lab, in every way, and see that it stopped."""
    steps = 0
    for number, make in enumerate(LABS):
        (tmp_path / str(number)).mkdir()
        lab = make(tmp_path / str(number))
        lab.begin()
        files = FaultyFiles(10_000, "kill")
        lab.work(files)
        steps += len(files.steps)
    assert steps * len((*DEADLY, *REFUSING)) >= FEWEST_POINTS


class TestDiskThatIsFull:
    def test_is_worked_on_again_by_itself_when_there_is_room(self, tmp_path: Path) -> None:
        lab = Ingest(tmp_path)
        with pytest.raises(IndexWriteError, match="untouched"):
            lab.work(FaultyFiles(12, "ENOSPC"))
        report = lab.work(UNSYNCED)
        assert [file.status for file in report.files] == [FileStatus.REPLACED, FileStatus.INDEXED]

    def test_leaves_nothing_behind_that_takes_room(self, tmp_path: Path) -> None:
        lab = Ingest(tmp_path)
        before = sum(path.stat().st_size for path in lab.index.rglob("*") if path.is_file())
        for fatal in range(12, 30):
            lab.begin()
            with suppress(IndexUnusableError):
                lab.work(FaultyFiles(fatal, "ENOSPC for ever"))
            after = sum(path.stat().st_size for path in lab.index.rglob("*") if path.is_file())
            if lab.times() == lab.states[0]:
                assert after <= before + 8192


class TestManifest:
    def test_a_line_that_could_not_be_written_whole_is_cut_off_before_the_next_one(self, tmp_path: Path) -> None:
        with IndexWriter(tmp_path / "index", KEYS, UNSYNCED):
            pass
        for fatal in range(100):
            files = FaultyFiles(fatal, "ENOSPC")
            with suppress(OSError, IndexUnusableError), IndexWriter(tmp_path / "index", KEYS, files) as writer:
                for until_ms in (1, 2):
                    with suppress(OSError):
                        writer.commit(Commit(add_stated=(Stated("acc", None, NOON + fatal * 10 + until_ms),)))
            Index.open(tmp_path / "index", KEYS)
            if not files.fired:
                return
        raise AssertionError("the writer never came to its end")

    def test_when_nobody_knows_whether_a_line_is_safe_the_writer_stops(self, tmp_path: Path) -> None:
        stopped = 0
        for fatal in range(40):
            files = FaultyFiles(fatal, "EIO")
            with suppress(OSError, IndexUnusableError), IndexWriter(tmp_path / str(fatal), KEYS, files) as writer:
                with suppress(OSError):
                    writer.commit(Commit(add_stated=(Stated("acc", None, NOON),)))
                if not writer.can_go_on:
                    stopped += 1
                    with pytest.raises(OSError, match="does not say whether"):
                        writer.commit(Commit(add_stated=(Stated("acc", None, NOON + 1),)))
        assert stopped == 1
