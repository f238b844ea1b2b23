"""Whatever step of indexing is the last one before a crash, the old state or the new one is there, and work goes on.

The steps are counted at the seam through which an index changes the disk. A crash is one of: the process is killed
before a step; it is killed in the middle of a write; the power goes, and with it what was not fsynced. A disk that
refuses a step (EIO, ENOSPC) is not a crash: the process lives and says so.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.index import Index
from agent.index.errors import IndexWriteError
from agent.index.files import Files
from agent.ingest import FileStatus, IngestReport, ingest
from tests.index.calls import ALICE, CAROL, FORMATS, KEYS, NOON, NOW, UNSYNCED, Call, at, mapping, reader, write

OLD = [Call(earliest=NOON + number) for number in range(3)]
NEW: list[Call | str] = [*OLD, "bad row", Call(CAROL, ALICE, earliest=NOON + 40)]
OTHER = [Call(earliest=NOON + 50 + number) for number in range(2)]


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, no cleaning up either."""


class FaultyFiles:
    """The operating system's files until step `fatal`; then what `fault` says. Knows what was fsynced."""

    def __init__(self, fatal: int, fault: str) -> None:
        self._os = UNSYNCED
        self._fatal = fatal
        self._fault = fault
        self.steps: list[str] = []
        self.fired = False
        self._names: dict[int, Path] = {}
        self._unsynced: set[Path] = set()
        self._undo: list[tuple[Path, Path | None, Path, bytes | None]] = []

    def _step(self, name: str) -> None:
        if self.fired and self._fault in ("kill", "torn", "power"):
            raise Killed
        self.steps.append(name)
        if len(self.steps) - 1 != self._fatal:
            return
        self.fired = True
        if self._fault in ("EIO", "ENOSPC"):
            number = getattr(errno, self._fault)
            raise OSError(number, self._fault)
        if self._fault != "torn" or name != "write":
            raise Killed

    def create(self, path: Path) -> int:
        self._step("create")
        descriptor = self._os.create(path)
        self._names[descriptor] = path
        self._unsynced.add(path)
        return descriptor

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        self._step("write")
        if self.fired and self._fault == "torn":
            self._os.write(descriptor, data[: len(data) // 2])
            raise Killed
        self._os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._step("fsync")
        self._os.fsync(descriptor)
        self._unsynced.discard(self._names[descriptor])

    def close(self, descriptor: int) -> None:
        self._os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        self._step("rename")
        replaced = new.read_bytes() if new.exists() else None
        self._os.rename(old, new)
        self._undo.append((new.parent, old, new, replaced))
        if old in self._unsynced:
            self._unsynced.remove(old)
            self._unsynced.add(new)

    def fsync_directory(self, directory: Path) -> None:
        self._step("fsync directory")
        self._os.fsync_directory(directory)
        self._undo = [step for step in self._undo if step[0] != directory]

    def unlink(self, path: Path) -> None:
        self._step("unlink")
        if path.exists():
            self._undo.append((path.parent, None, path, path.read_bytes()))
        self._os.unlink(path)

    def make_directory(self, path: Path) -> None:
        self._step("make directory")
        self._os.make_directory(path)

    def power_cut(self) -> None:
        """Take back what was not made durable: names whose directory was not fsynced, content that was not."""
        for path in self._unsynced:
            if path.exists():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        for _, old, new, content in reversed(self._undo):
            if old is not None:
                new.rename(old)
            if content is not None:
                new.write_bytes(content)


class Lab:
    """A source that is indexed, has grown since, and a second file."""

    def __init__(self, directory: Path) -> None:
        self.index = directory / "index"
        self.grown = directory / "a.txt"
        self.other = directory / "b.txt"

    def begin(self) -> None:
        shutil.rmtree(self.index, ignore_errors=True)
        self.other.unlink(missing_ok=True)
        write(self.grown, OLD)
        self.ingest(UNSYNCED)
        write(self.grown, NEW)
        write(self.other, OTHER)

    def ingest(self, files: Files) -> IngestReport:
        paths = [path for path in (self.grown, self.other) if path.exists()]
        return ingest(paths, mapping(), FORMATS, self.index, KEYS, NOW, read=reader(2), files=files, rows_per_run=3)

    def times(self) -> list[int]:
        legs = Index.open(self.index, KEYS).find(ALICE, None, at(NOON), at(NOON + 1000))
        return [(leg.earliest - at(NOON)).microseconds // 1000 for leg in legs]

    def require_whole(self) -> None:
        """The last state, nothing doubled, nothing left over."""
        index = Index.open(self.index, KEYS)
        index.verify()
        assert self.times() == LAST
        (entry,) = [source for source in index.coverage().sources if source.source == "acc"]
        assert (entry.records, entry.files) == (6, 2)
        assert len(list((self.index / "rejects").iterdir())) == 1
        named = self.index.joinpath("MANIFEST").read_text()
        for path in self.index.rglob("*.*"):
            assert path.name in named, f"{path.name} is left over"


FIRST, MIDDLE, LAST = [0, 1, 2], [0, 1, 2, 40], [0, 1, 2, 40, 50, 51]
STATES = (FIRST, MIDDLE, LAST)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def crash(lab: Lab, fatal: int, fault: str) -> FaultyFiles:
    files = FaultyFiles(fatal, fault)
    with suppress(Killed):
        lab.ingest(files)
    if fault == "power" and files.fired:
        files.power_cut()
    return files


def points(lab: Lab, fault: str) -> Iterator[FaultyFiles]:
    """A crash at every step of indexing a grown file and a new one, each from the same beginning."""
    for fatal in range(10_000):
        lab.begin()
        files = crash(lab, fatal, fault)
        if not files.fired:
            assert fatal > 40, "hardly any step was seen"
            return
        yield files


class TestCrash:
    @pytest.mark.parametrize("fault", ["kill", "torn", "power"])
    def test_at_any_step_leaves_a_whole_state_and_the_next_run_completes_it(self, lab: Lab, fault: str) -> None:
        seen = []
        for files in points(lab, fault):
            state = lab.times()
            assert state in STATES, f"after step {len(files.steps)} ({files.steps[-1]})"
            seen.append(STATES.index(state))
            lab.ingest(UNSYNCED)
            lab.require_whole()
        # the very last step makes the last state durable: when the power goes before it, that state goes too
        assert sorted(set(seen)) == ([0, 1] if fault == "power" else [0, 1, 2])
        assert seen == sorted(seen), "a later crash never leaves an earlier state"

    @pytest.mark.parametrize("fault", ["kill", "power"])
    def test_during_recovery_too(self, lab: Lab, fault: str) -> None:
        lab.begin()
        for first in (5, 21, 34, 47):
            for second in range(0, 24, 3):
                lab.begin()
                assert crash(lab, first, fault).fired
                before = lab.times()
                assert crash(lab, second, fault).fired
                assert lab.times() in STATES[STATES.index(before) :]
                lab.ingest(UNSYNCED)
                lab.require_whole()

    @pytest.mark.parametrize("fault", ["kill", "torn", "power"])
    def test_of_the_very_first_run_leaves_an_empty_index_or_a_whole_one(self, lab: Lab, fault: str) -> None:
        for fatal in range(10_000):
            shutil.rmtree(lab.index, ignore_errors=True)
            write(lab.grown, OLD)
            files = crash(lab, fatal, fault)
            assert lab.times() in ([], FIRST)
            if not files.fired:
                break
            lab.ingest(UNSYNCED)
            assert lab.times() == FIRST

    def test_what_was_reported_is_never_lost_when_the_power_goes(self, lab: Lab) -> None:
        lab.begin()
        files = FaultyFiles(10_000, "power")
        lab.ingest(files)
        files.power_cut()
        assert lab.times() == LAST


class TestDiskThatRefuses:
    @pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
    def test_any_step_is_said_and_leaves_a_whole_state(self, lab: Lab, fault: str) -> None:
        for fatal in range(10_000):
            lab.begin()
            files = FaultyFiles(fatal, fault)
            try:
                lab.ingest(files)
            except IndexWriteError as error:
                assert str(lab.index) in str(error)  # noqa: PT017 (only some of the runs fail)
                assert fault in str(error)  # noqa: PT017 (as above)
            else:
                assert not files.fired
                break
            assert lab.times() in STATES
            lab.ingest(UNSYNCED)
            lab.require_whole()

    def test_it_resumes_by_itself_and_says_what_it_did(self, lab: Lab) -> None:
        lab.begin()
        with pytest.raises(IndexWriteError, match="untouched"):
            lab.ingest(FaultyFiles(8, "ENOSPC"))
        assert [file.status for file in lab.ingest(UNSYNCED).files] == [FileStatus.REPLACED, FileStatus.INDEXED]
